//! The journal: records in the order of their writing, each with a checksum.

use std::io;
use std::path::Path;
use std::sync::Arc;

use cupola_env::{Vfs, VfsFile};
use parking_lot::Mutex;

use super::journal_path;

/// How a file begins.
pub(super) const MAGIC: &[u8; 8] = b"CUPALJ01";
// Length and checksum.
const HEAD: usize = 8;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `silencepb.MeshSilence`
    Silence,
    /// `nflogpb.MeshEntry`
    Entry,
    /// An alert, as `cupola-alerts` holds it.
    Alert,
    /// What happened to an alert; only in the history.
    Event,
    /// A silence that stands before it in a journal and was refused after all, as it could not be synced.
    Withdrawn,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Silence => 1,
            Self::Entry => 2,
            Self::Alert => 3,
            Self::Event => 4,
            Self::Withdrawn => 5,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Silence, Self::Entry, Self::Alert, Self::Event, Self::Withdrawn]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// Records as they are appended.
pub(super) fn records<'a>(all: impl IntoIterator<Item = (Kind, &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, message) in all {
        let begin = out.len();
        out.extend_from_slice(&[0; HEAD]);
        out.push(kind.byte());
        out.extend_from_slice(message);
        let payload = out.get(begin + HEAD..).unwrap_or_default();
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let sum = crc32c::crc32c(payload);
        if let Some(head) = out.get_mut(begin..begin + HEAD) {
            head[..4].copy_from_slice(&length.to_le_bytes());
            head[4..].copy_from_slice(&sum.to_le_bytes());
        }
    }
    out
}

/// A new file with nothing in it yet. Where it cannot be begun none is left, so that a full disk is not filled with names.
pub(super) fn begin(vfs: &dyn Vfs, path: &Path) -> io::Result<Box<dyn VfsFile>> {
    let mut file = vfs.create_new(path)?;
    if let Err(error) = file.append(MAGIC) {
        // If that fails, too, there is an empty file, which is read as such.
        let _ = vfs.remove_file(path);
        return Err(error);
    }
    Ok(file)
}

/// Whether a file could not be begun as there is one of that name: what is left of an attempt on a disk that failed.
pub(super) fn is_there<T>(begun: &io::Result<T>) -> bool {
    begun
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
}

/// Hands on every whole record. Where something cannot be read, returns its place and what is wrong; an empty file is
/// one that was never written to.
pub(super) fn replay(bytes: &[u8], mut take: impl FnMut(Kind, &[u8]) -> Result<(), String>) -> Option<(usize, String)> {
    if bytes.is_empty() {
        return None;
    }
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        return Some((0, "it does not begin as a journal does".to_owned()));
    };
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let torn = || Some((at, "a record is not whole".to_owned()));
        let Some((head, behind)) = rest.split_first_chunk::<HEAD>() else {
            return torn();
        };
        let [a, b, c, d, sum @ ..] = *head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let Some((payload, behind)) = behind.split_at_checked(length) else {
            return torn();
        };
        if crc32c::crc32c(payload) != u32::from_le_bytes(sum) {
            return Some((at, "a record's checksum is wrong".to_owned()));
        }
        let Some((kind, message)) = payload.split_first() else {
            return torn();
        };
        // A kind of a newer version is passed over.
        if let Some(kind) = Kind::of(*kind)
            && let Err(reason) = take(kind, message)
        {
            return Some((at, reason));
        }
        rest = behind;
    }
    None
}

/// How far a journal was when something had been appended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    // Of all that was ever appended, in bytes.
    end: u64,
    failed_syncs: u64,
}

/// What has to be brought to the device, so that it can be done while others append.
pub(super) struct Pending {
    files: Vec<Syncer>,
    // Names of journals are new in the folder.
    has_names: bool,
    end: u64,
}

// A second handle of a file: appending does not wait for it.
type Syncer = Arc<Mutex<Box<dyn VfsFile>>>;

/// The file that is written to, and those that a snapshot has not replaced yet.
pub(super) struct Journal {
    file: Option<(Box<dyn VfsFile>, Syncer)>,
    bytes: u64,
    is_broken: bool,
    number: u64,
    replaceable: Vec<u64>,
    // Whether the file holds what was not synced.
    is_dirty: bool,
    // Files that were left before they were synced.
    left: Vec<Syncer>,
    has_new_names: bool,
    // How much was ever appended, and how much of it is on the device.
    appended: u64,
    synced: u64,
    // How many syncs failed, and how many of these a snapshot has made up for.
    failed_syncs: u64,
    made_up: u64,
}

impl Journal {
    /// The first append makes a file behind those of `numbers`.
    pub(super) fn new(numbers: Vec<u64>) -> Self {
        Self {
            file: None,
            bytes: 0,
            is_broken: false,
            number: numbers.last().copied().unwrap_or(0),
            replaceable: numbers,
            is_dirty: false,
            left: Vec::new(),
            has_new_names: false,
            appended: 0,
            synced: 0,
            failed_syncs: 0,
            made_up: 0,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the last append failed.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether a sync failed since what a snapshot has replaced: what lies in the files is in doubt.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.failed_syncs > self.made_up
    }

    pub(super) fn append(&mut self, vfs: &dyn Vfs, dir: &Path, records: &[u8]) -> io::Result<Mark> {
        let appended = self.try_append(vfs, dir, records);
        self.is_broken = appended.is_err();
        appended
    }

    fn try_append(&mut self, vfs: &dyn Vfs, dir: &Path, records: &[u8]) -> io::Result<Mark> {
        if self.file.is_none() {
            let path = journal_path(dir, self.number + 1);
            let begun = begin(vfs, &path);
            if begun.is_ok() || is_there(&begun) {
                self.number += 1;
                self.replaceable.push(self.number);
            }
            let file = begun?;
            self.has_new_names = true;
            let syncer = vfs.open_append(&path).inspect_err(|_| {
                // If that fails, too, there is a file without records.
                let _ = vfs.remove_file(&path);
            })?;
            self.file = Some((file, Arc::new(Mutex::new(syncer))));
            // Before anything else can fail: what is torn later is cut off behind so many bytes.
            self.bytes = MAGIC.len() as u64;
        }
        if let Some((file, _)) = &mut self.file {
            if let Err(error) = file.append(records) {
                // What follows a torn record would not be read: it is taken back, or a new file is begun.
                if file.truncate(self.bytes).is_err() {
                    self.leave();
                }
                return Err(error);
            }
            self.bytes += records.len() as u64;
            self.appended += records.len() as u64;
            self.is_dirty = true;
        }
        Ok(Mark {
            end: self.appended,
            failed_syncs: self.failed_syncs,
        })
    }

    // The next append begins a new file.
    fn leave(&mut self) {
        if let Some((_, syncer)) = self.file.take()
            && self.is_dirty
        {
            self.left.push(syncer);
        }
        self.bytes = 0;
        self.is_dirty = false;
    }

    /// Whether what was appended up to `mark` is on the device; an error where that is in doubt.
    pub(super) fn has_synced(&self, mark: Mark) -> io::Result<bool> {
        if self.synced >= mark.end && self.failed_syncs == mark.failed_syncs {
            return Ok(true);
        }
        if self.failed_syncs != mark.failed_syncs {
            return Err(io::Error::other("the journal could not be synced a moment ago"));
        }
        Ok(false)
    }

    /// What is to be synced; `None` where there is nothing. Whoever takes it says by [`Journal::note`] what came of it.
    pub(super) fn take_pending(&mut self) -> Option<Pending> {
        let mut files = std::mem::take(&mut self.left);
        if let Some((_, syncer)) = &self.file
            && std::mem::take(&mut self.is_dirty)
        {
            files.push(syncer.clone());
        }
        let has_names = std::mem::take(&mut self.has_new_names);
        (has_names || !files.is_empty()).then_some(Pending {
            files,
            has_names,
            end: self.appended,
        })
    }

    /// Takes note of a sync that is over.
    pub(super) fn note(&mut self, pending: &Pending, outcome: &io::Result<()>) {
        if outcome.is_ok() {
            self.synced = self.synced.max(pending.end);
            return;
        }
        // A later sync of the same file may succeed though the bytes are not there: it is left, and a snapshot is to
        // replace it.
        self.failed_syncs += 1;
        self.has_new_names |= pending.has_names;
        self.leave();
    }

    /// From now on a new file is written to; returns those that a snapshot made after this replaces, and what
    /// [`Journal::make_up`] has to be told once it is made.
    pub(super) fn rotate(&mut self) -> (Vec<u64>, u64) {
        self.leave();
        (self.replaceable.clone(), self.failed_syncs)
    }

    /// A snapshot holds all that was in doubt after so many failed syncs.
    pub(super) fn make_up(&mut self, failed_syncs: u64) {
        self.made_up = self.made_up.max(failed_syncs);
    }

    pub(super) fn forget(&mut self, number: u64) {
        self.replaceable.retain(|n| *n != number);
    }
}

impl Pending {
    /// Brings it to the device. May take as long as the device likes.
    pub(super) fn sync(&self, vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
        for file in &self.files {
            file.lock().sync()?;
        }
        if self.has_names {
            vfs.sync_dir(dir)?;
        }
        Ok(())
    }
}
