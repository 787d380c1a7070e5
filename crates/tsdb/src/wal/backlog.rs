//! What lay in the log when it was opened, read once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use cupola_env::Vfs;

use super::codec::{Codec, Entry};
use super::{CHECKPOINT, frame};

/// The checkpoint and the segments after it, in the order they are read.
pub(crate) struct Backlog {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    checkpoint: Option<u64>,
    segments: Vec<u64>,
}

/// What reading found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub segments: usize,
    pub records: usize,
    pub damage: Vec<Damage>,
    /// It ended before everything was read, as it was told to.
    pub stopped: bool,
}

/// A file of which something could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    pub file: String,
    /// Which file, where, why, and how much is not read.
    pub text: String,
}

// So many bytes of records are handed over at once, and so many times before the reader waits.
const BATCH_BYTES: usize = 32 << 10;
const BATCHES: usize = 16;

// What was read and not handed over yet.
struct Ahead {
    batch: Vec<Entry>,
    bytes: usize,
    // None once nobody listens any more.
    to: Option<SyncSender<Vec<Entry>>>,
}

impl Ahead {
    fn has_read(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= BATCH_BYTES {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        self.to = self.to.take().filter(|to| to.send(batch).is_ok());
    }
}

impl Backlog {
    /// Lists what there is.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn list(vfs: Arc<dyn Vfs>, dir: &Path) -> io::Result<Self> {
        let names = vfs.list(dir)?;
        let checkpoint = names
            .iter()
            .filter_map(|n| n.strip_prefix(CHECKPOINT)?.parse::<u64>().ok())
            .max();
        let mut segments: Vec<u64> = names.iter().filter_map(|n| n.parse().ok()).collect();
        segments.retain(|n| *n >= checkpoint.unwrap_or(0));
        segments.sort_unstable();
        Ok(Self {
            vfs,
            dir: dir.to_path_buf(),
            checkpoint,
            segments,
        })
    }

    /// The names of the segments.
    pub(super) fn files(&self) -> impl Iterator<Item = String> {
        self.segments.iter().map(|number| format!("{number:08}"))
    }

    /// The number of the next segment. No checkpoint has it: the next one must not take the place of one that may be
    /// damaged, nor two processes give series references of the same generation.
    pub(super) fn next(&self) -> u64 {
        let after = |last: Option<u64>| last.map_or(1, |last| last + 1);
        after(self.segments.last().copied()).max(after(self.checkpoint))
    }

    /// The number between the checkpoint and the next segment of which there is none: after a clean end.
    pub(super) fn skipped(&self) -> Option<u64> {
        self.checkpoint.filter(|_| self.segments.is_empty())
    }

    /// The first and the last segment that are to be read; `(0, 0)` where there is none.
    pub(crate) fn range(&self) -> (u64, u64) {
        let ends = self.segments.first().zip(self.segments.last());
        ends.map_or((0, 0), |(first, last)| (*first, *last))
    }

    /// The file with chunks: a chunk that cannot be decoded lies there.
    pub(crate) fn checkpoint(&self) -> Option<String> {
        self.checkpoint.map(checkpoint_name)
    }

    /// Gives everything to `each`; before each segment its number to `at`. Ends soon after `go_on` said `false`.
    ///
    /// Files are read and unpacked on a thread of their own, which is a little ahead.
    ///
    /// A file that cannot be read, or only up to some byte, is told in [`Replayed::damage`]; the others are read.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub(crate) fn read(
        &self,
        each: &mut dyn FnMut(Entry),
        at: &(dyn Fn(u64) + Sync),
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> io::Result<Replayed> {
        let (to, from) = sync_channel(BATCHES);
        std::thread::scope(|scope| {
            let reader = std::thread::Builder::new().name("replay-log".to_owned());
            let reader = reader.spawn_scoped(scope, move || {
                let mut ahead = Ahead {
                    batch: Vec::new(),
                    bytes: 0,
                    to: Some(to),
                };
                let replayed = self.read_all(&mut ahead, at, go_on);
                ahead.hand_over();
                replayed
            })?;
            for batch in from {
                batch.into_iter().for_each(&mut *each);
            }
            reader.join().or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn read_all(&self, ahead: &mut Ahead, at: &dyn Fn(u64), go_on: &dyn Fn() -> bool) -> Replayed {
        let mut replayed = Replayed::default();
        let mut codec = Codec::default();
        if let Some(number) = self.checkpoint {
            self.read_file(&checkpoint_name(number), &mut codec, ahead, go_on, &mut replayed);
        }
        let mut expected = self.checkpoint;
        for number in &self.segments {
            if replayed.stopped {
                break;
            }
            let name = format!("{number:08}");
            if let Some(missing) = expected.filter(|expected| expected < number) {
                let text = format!(
                    "{}: the segments from {missing:08} to {:08} are missing; their samples are lost unless they are put back",
                    self.dir.display(),
                    number - 1,
                );
                replayed.damage.push(Damage {
                    file: format!("{missing:08}"),
                    text,
                });
            }
            expected = Some(number + 1);
            at(*number);
            self.read_file(&name, &mut codec, ahead, go_on, &mut replayed);
            replayed.segments += 1;
        }
        replayed
    }

    fn read_file(
        &self,
        name: &str,
        codec: &mut Codec,
        ahead: &mut Ahead,
        go_on: &dyn Fn() -> bool,
        replayed: &mut Replayed,
    ) {
        let path = self.dir.join(name);
        let mut damaged = |text: String| {
            let file = name.to_owned();
            replayed.damage.push(Damage { file, text });
        };
        let bytes = match self.vfs.read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                damaged(format!(
                    "{}: {error}; nothing of it is read, it is left as it is",
                    path.display()
                ));
                return;
            }
        };
        let mut rest = bytes.as_slice();
        let mut reader = frame::Reader::default();
        codec.reset();
        loop {
            if !go_on() || ahead.to.is_none() {
                replayed.stopped = true;
                return;
            }
            let broken = match reader.take(rest) {
                frame::Frame::End => return,
                frame::Frame::Record(record, used) => {
                    rest = &rest[used..];
                    replayed.records += 1;
                    let decoded = codec.decode(&record, &mut |entry| ahead.batch.push(entry));
                    ahead.has_read(record.len());
                    match decoded {
                        Ok(()) => continue,
                        Err(error) => error.to_string(),
                    }
                }
                frame::Frame::Broken(why) => why.to_owned(),
            };
            damaged(format!(
                "{}: {broken} at byte {} of {}; the {} bytes from there on are not read and left as they are",
                path.display(),
                bytes.len() - rest.len(),
                bytes.len(),
                rest.len()
            ));
            return;
        }
    }
}

fn checkpoint_name(number: u64) -> String {
    format!("{CHECKPOINT}{number:08}")
}
