//! The journal: records in the order of their writing, each with a checksum.

use std::io;
use std::path::Path;

use cupola_env::{Vfs, VfsFile};

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
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Silence => 1,
            Self::Entry => 2,
            Self::Alert => 3,
            Self::Event => 4,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Silence, Self::Entry, Self::Alert, Self::Event]
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

/// The file that is written to, and those that a snapshot has not replaced yet.
pub(super) struct Journal {
    file: Option<Box<dyn VfsFile>>,
    bytes: u64,
    is_dirty: bool,
    is_broken: bool,
    number: u64,
    replaceable: Vec<u64>,
}

impl Journal {
    /// The first append makes a file behind those of `numbers`.
    pub(super) fn new(numbers: Vec<u64>) -> Self {
        Self {
            file: None,
            bytes: 0,
            is_dirty: false,
            is_broken: false,
            number: numbers.last().copied().unwrap_or(0),
            replaceable: numbers,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the last append failed.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    pub(super) fn append(&mut self, vfs: &dyn Vfs, dir: &Path, records: &[u8]) -> io::Result<()> {
        let appended = self.try_append(vfs, dir, records);
        self.is_broken = appended.is_err();
        appended
    }

    fn try_append(&mut self, vfs: &dyn Vfs, dir: &Path, records: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            let begun = begin(vfs, &journal_path(dir, self.number + 1));
            if begun.is_ok() || is_there(&begun) {
                self.number += 1;
                self.replaceable.push(self.number);
            }
            self.file = Some(begun?);
            // Before anything else can fail: what is torn later is cut off behind so many bytes.
            self.bytes = MAGIC.len() as u64;
            vfs.sync_dir(dir)?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if let Err(error) = file.append(records) {
            // What follows a torn record would not be read: it is taken back, or a new file is begun.
            if file.truncate(self.bytes).is_err() {
                self.file = None;
            }
            return Err(error);
        }
        self.bytes += records.len() as u64;
        self.is_dirty = true;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file
            && self.is_dirty
        {
            file.sync()?;
            self.is_dirty = false;
        }
        Ok(())
    }

    /// From now on a new file is written to; returns those that a snapshot made after this replaces.
    pub(super) fn rotate(&mut self) -> Vec<u64> {
        self.file = None;
        self.bytes = 0;
        self.is_dirty = false;
        self.replaceable.clone()
    }

    pub(super) fn forget(&mut self, number: u64) {
        self.replaceable.retain(|n| *n != number);
    }
}
