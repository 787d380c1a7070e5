//! Reading along with the log while it is written.
//!
//! A reader first goes through the checkpoint and the segments before its place, for the labels of series; but for one that
//! begins where this process's log does, which names all series again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cupola_env::{Vfs, VfsRead};
use cupola_model::Labels;
use cupola_storage::{LogBatch, LogPosition, LogSample, LogValue, StorageError};
use foldhash::HashMap;
use tracing::warn;

use super::codec::{Codec, Entry};
use super::held::{checkpoint_of, segment_of};
use super::{CHECKPOINT, frame};

// So much is read at once.
const PIECE: usize = 256 << 10;

/// The log's files.
pub(crate) struct LogFolder {
    pub vfs: Arc<dyn Vfs>,
    pub dir: PathBuf,
}

impl LogFolder {
    /// Whether no segment holds anything between these places, as far as that can be seen.
    pub(crate) fn is_empty_between(&self, from: LogPosition, to: LogPosition) -> bool {
        let Ok(names) = self.vfs.list(&self.dir) else {
            return false;
        };
        names.iter().all(|name| {
            let Some(segment) = segment_of(name) else { return true };
            let is_within = from.segment <= segment && segment < to.segment;
            let begin = if segment == from.segment { from.offset } else { 0 };
            !is_within || self.vfs.len(&self.dir.join(name)).is_ok_and(|bytes| bytes <= begin)
        })
    }
}

/// Reads along.
pub(crate) struct Tail {
    folder: LogFolder,
    // From where on records are given whole.
    from: LogPosition,
    file: Option<Records>,
    // Of `file`; of the segment to come where there is none.
    segment: u64,
    // Of checkpoints: files with no place of their own.
    is_checkpoint: bool,
    codec: Codec,
    lost: u64,
}

impl Tail {
    /// Begins at `from`. What lies before it is read for labels where `names_series`, and else only its own segment.
    ///
    /// # Errors
    /// Where the folder cannot be listed.
    pub(crate) fn open(folder: LogFolder, from: LogPosition, names_series: bool) -> io::Result<Self> {
        let mut tail = Self {
            folder,
            from,
            file: None,
            segment: from.segment,
            is_checkpoint: false,
            codec: Codec::default(),
            lost: 0,
        };
        if names_series {
            let names = tail.folder.vfs.list(&tail.folder.dir)?;
            let checkpoints = names.iter().filter_map(|name| checkpoint_of(name));
            let first = names.iter().filter_map(|name| segment_of(name)).min();
            // The newest one that does not stand for what is to be read; where there is none, the log names its series,
            // or has lost them.
            match checkpoints.filter(|number| *number <= from.segment).max() {
                Some(number) => {
                    tail.segment = number;
                    tail.is_checkpoint = tail.open_file(&format!("{CHECKPOINT}{number:08}"));
                }
                None => tail.segment = first.map_or(from.segment, |first| first.min(from.segment)),
            }
        }
        Ok(tail)
    }

    /// The next record; `None` where there is none yet. `newest` is the segment that is written, asked before each look at
    /// a file.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn next(&mut self, newest: &dyn Fn() -> u64) -> Result<Option<LogBatch>, StorageError> {
        loop {
            let newest = newest();
            if self.file.is_none() {
                let name = format!("{:08}", self.segment);
                if !self.open_file(&name) && !self.find_segment(newest)? {
                    return Ok(None);
                }
            }
            let Some(file) = self.file.as_mut() else {
                return Ok(None);
            };
            let at = LogPosition {
                segment: self.segment,
                offset: file.offset(),
            };
            match file.next().map_err(|source| self.failed(source))? {
                Found::Record(record) => return self.decode(at, &record),
                // It may still be written.
                _ if !self.is_checkpoint && newest <= self.segment => return Ok(None),
                Found::End => {}
                Found::Broken(why, left) => self.damaged(at, why, left),
            }
            self.leave();
        }
    }

    fn decode(&mut self, at: LogPosition, record: &[u8]) -> Result<Option<LogBatch>, StorageError> {
        let mut batch = LogBatch {
            at,
            ..LogBatch::default()
        };
        let mut starts = HashMap::default();
        let decoded = self
            .codec
            .decode(record, &mut |entry| take(&mut batch, &mut starts, entry));
        if self.is_checkpoint || at < self.from {
            batch.samples = Vec::new();
            batch.exemplars = Vec::new();
            batch.metadata = Vec::new();
        }
        if let Err(error) = decoded {
            // Values are differences to those before: nothing that follows in this file can be understood.
            self.damaged(at, &error.to_string(), 0);
            self.leave();
        }
        Ok(Some(batch))
    }

    // On to the next file.
    fn leave(&mut self) {
        self.file = None;
        self.codec.reset();
        if !std::mem::take(&mut self.is_checkpoint) {
            self.segment += 1;
        }
    }

    fn damaged(&mut self, at: LogPosition, why: &str, left: u64) {
        self.lost += 1;
        warn!(
            segment = format!("{:08}", at.segment),
            byte = at.offset,
            why,
            left,
            "the write-ahead log is damaged; what follows in this segment is not sent on"
        );
    }

    fn failed(&self, source: io::Error) -> StorageError {
        StorageError::Io {
            what: format!("read segment {:08} of {}", self.segment, self.folder.dir.display()),
            source,
        }
    }

    fn open_file(&mut self, name: &str) -> bool {
        self.codec.reset();
        let opened = self.folder.vfs.open_read(&self.folder.dir.join(name));
        self.file = opened.ok().map(Records::new);
        self.file.is_some()
    }

    // The segment of this number is not there: not yet, or not any more.
    fn find_segment(&mut self, newest: u64) -> Result<bool, StorageError> {
        if newest <= self.segment {
            return Ok(false);
        }
        let names = self.folder.vfs.list(&self.folder.dir).map_err(|e| self.failed(e))?;
        let segments = names.iter().filter_map(|name| segment_of(name));
        let Some(next) = segments.filter(|segment| *segment >= self.segment).min() else {
            return Ok(false);
        };
        let missing = next - self.segment;
        // Those that were to name series only lose nothing that is to be given.
        let lost = missing.min(next.saturating_sub(self.from.segment));
        if lost > 0 && self.folder.vfs.len(&self.path(next)).is_ok() {
            self.lost += lost;
            warn!(
                from = format!("{:08}", self.segment),
                to = format!("{:08}", next - 1),
                "segments of the write-ahead log are gone before they were read; what they held is not sent on"
            );
        }
        self.segment = next;
        Ok(self.open_file(&format!("{next:08}")))
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.folder.dir.join(format!("{segment:08}"))
    }

    /// Where the next record begins.
    pub(crate) fn position(&self) -> LogPosition {
        let offset = self.file.as_ref().map_or(0, Records::offset);
        let here = LogPosition {
            segment: self.segment,
            offset,
        };
        if self.is_checkpoint {
            self.from
        } else {
            here.max(self.from)
        }
    }

    /// Segments that were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

// `starts` is what was told of the samples that come next, by series and time.
fn take(batch: &mut LogBatch, starts: &mut HashMap<(u64, i64), i64>, entry: Entry) {
    let start_of = |series, ts| starts.get(&(series, ts)).copied().unwrap_or(0);
    match entry {
        Entry::Series(id, labels) => batch.series.push((id, labels)),
        Entry::SeriesTable(table) => batch.series.extend(table.iter().map(|(id, places)| {
            let pairs = places.iter().filter_map(|place| table.pair(*place));
            (id, Labels::from_pairs(pairs))
        })),
        Entry::Samples(samples) | Entry::LateSamples(samples) => {
            batch.samples.extend(samples.iter().map(|sample| LogSample {
                series: sample.series,
                ts: sample.ts,
                start: start_of(sample.series, sample.ts),
                value: LogValue::Float(sample.value),
            }));
        }
        Entry::Histograms(histograms) | Entry::LateHistograms(histograms) => {
            batch.samples.extend(histograms.into_iter().map(|logged| LogSample {
                series: logged.series,
                ts: logged.ts,
                start: start_of(logged.series, logged.ts),
                value: LogValue::Histogram(Arc::new(logged.value)),
            }));
        }
        Entry::Exemplars(exemplars) => {
            let exemplars = exemplars.into_iter().map(|logged| (logged.series, logged.exemplar));
            batch.exemplars.extend(exemplars);
        }
        Entry::Metadata(all) => batch.metadata.extend(all),
        Entry::Start(told) => {
            starts.clear();
            starts.extend(told.into_iter().map(|start| ((start.series, start.ts), start.start)));
        }
        // In checkpoints, of which only the series count here; and what is deleted here is not deleted elsewhere.
        Entry::Chunk(_) | Entry::Starts(_) | Entry::Deletion(_) => {}
    }
}

enum Found {
    Record(Vec<u8>),
    End,
    // Why, and how many bytes are left.
    Broken(&'static str, u64),
}

/// The records of a file that may grow.
struct Records {
    file: Box<dyn VfsRead>,
    frames: frame::Reader,
    buffer: Vec<u8>,
    // Of the buffer's begin in the file.
    begin: u64,
    // Within the buffer.
    at: usize,
}

impl Records {
    fn new(file: Box<dyn VfsRead>) -> Self {
        Self {
            file,
            frames: frame::Reader::default(),
            buffer: Vec::new(),
            begin: 0,
            at: 0,
        }
    }

    fn offset(&self) -> u64 {
        self.begin + self.at as u64
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    // Whether so many bytes are there from the current place on; where the file has more, a whole piece is read.
    fn has(&mut self, count: usize, size: &mut Option<u64>) -> io::Result<bool> {
        if self.rest().len() >= count {
            return Ok(true);
        }
        let size = match size {
            Some(size) => *size,
            none => *none.insert(self.file.size()?),
        };
        let offset = self.offset();
        let there = size.saturating_sub(offset);
        if there < count as u64 {
            // What is there of a frame may be taken back and written anew.
            self.buffer.clear();
            (self.begin, self.at) = (offset, 0);
            return Ok(false);
        }
        let wanted = there.min(count.max(PIECE) as u64) as usize;
        self.buffer.clear();
        self.buffer.resize(wanted, 0);
        (self.begin, self.at) = (offset, 0);
        let read = self.file.read_exact_at(&mut self.buffer, offset);
        if read.is_err() {
            self.buffer.clear();
        }
        read.map(|()| true)
    }

    fn next(&mut self) -> io::Result<Found> {
        let mut size = None;
        let left = |records: &Self, size: Option<u64>| {
            let end = size.unwrap_or_else(|| records.begin + records.buffer.len() as u64);
            end.saturating_sub(records.offset())
        };
        if !self.has(frame::HEADER, &mut size)? {
            return Ok(match left(self, size) {
                0 => Found::End,
                left => Found::Broken("frame header is cut off", left),
            });
        }
        let length = self
            .rest()
            .first_chunk()
            .map_or(0, |bytes: &[u8; 4]| u32::from_le_bytes(*bytes));
        if !self.has(frame::HEADER + length as usize, &mut size)? {
            return Ok(Found::Broken("frame is cut off", left(self, size)));
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        Ok(match self.frames.take(rest) {
            frame::Frame::Record(record, used) => {
                self.at += used;
                Found::Record(record)
            }
            frame::Frame::End => Found::End,
            frame::Frame::Broken(why) => Found::Broken(why, left(self, size)),
        })
    }
}

#[cfg(test)]
mod tests {
    use cupola_env::RealFs;
    use cupola_metrics::{Counter, Summary};

    use super::super::{LoggedSample, Part, Wal};
    use super::*;

    fn logged(dir: &std::path::Path) -> Vec<u8> {
        let (mut wal, _) = Wal::open(Arc::new(RealFs), dir, Counter::default(), Summary::new([].into())).unwrap();
        for n in 0..20_u64 {
            let fresh = [(n, Labels::from_pairs([("__name__", format!("m{n}"))]))];
            let samples: Vec<LoggedSample> = (0..=n)
                .map(|series| LoggedSample {
                    series,
                    ts: n as i64,
                    value: n as f64,
                })
                .collect();
            wal.ready().unwrap();
            wal.append(&fresh, &[Part::Samples(&samples)], &Default::default())
                .unwrap();
        }
        std::fs::read(dir.join("00000001")).unwrap()
    }

    fn tail(dir: &std::path::Path, offset: u64) -> Tail {
        let folder = LogFolder {
            vfs: Arc::new(RealFs),
            dir: dir.to_path_buf(),
        };
        Tail::open(folder, LogPosition { segment: 1, offset }, true).unwrap()
    }

    #[test]
    fn every_place_between_two_records_is_a_place_to_go_on_from() {
        let dir = tempfile::tempdir().unwrap();
        logged(dir.path());
        let mut whole = tail(dir.path(), 0);
        let mut all = Vec::new();
        while let Some(batch) = whole.next(&|| 1).unwrap() {
            assert!(whole.position() > batch.at);
            all.push(batch);
        }
        assert_eq!(all.len(), 20);
        for (n, first) in all.iter().enumerate() {
            let mut rest = tail(dir.path(), first.at.offset);
            let mut got = Vec::new();
            while let Some(batch) = rest.next(&|| 1).unwrap() {
                got.push(batch);
            }
            assert!(got[n..].iter().eq(&all[n..]), "{n}");
            assert!(
                got[..n]
                    .iter()
                    .all(|batch| batch.samples.is_empty() && !batch.series.is_empty())
            );
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_read_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = logged(dir.path());
        let name = dir.path().join("00000001");
        cupola_testkit::fuzz(500, &[bytes], &[], |bytes| {
            std::fs::write(&name, bytes).unwrap();
            let mut tail = tail(dir.path(), 0);
            let mut records = 0;
            let mut last = LogPosition::default();
            while let Some(batch) = tail.next(&|| 2).unwrap() {
                assert!(batch.at >= last && tail.position() > batch.at);
                last = batch.at;
                records += 1;
            }
            assert!(records <= bytes.len());
            // A segment that may still grow is waited for; one that is over is left.
            assert_eq!(tail.position().segment, 2);
        });
    }
}
