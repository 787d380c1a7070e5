//! Files, and what of them is named in errors: the only module that calls [`Vfs`].

use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_env::{Vfs, VfsFile, VfsRead};

use crate::BlockError;
use crate::bytes::Fault;
use crate::error::Place;

// One write call per this many bytes.
const WRITE_BYTES: usize = 256 << 10;

fn io_error(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> BlockError {
    move |source| BlockError::Io {
        what: format!("{doing} {}", path.display()),
        source,
    }
}

/// The file system that a block lies on.
#[derive(Clone)]
pub(crate) struct Disk(Arc<dyn Vfs>);

impl Disk {
    pub(crate) fn new(vfs: &Arc<dyn Vfs>) -> Self {
        Self(vfs.clone())
    }

    pub(crate) fn shared(&self) -> &Arc<dyn Vfs> {
        &self.0
    }
}

impl Deref for Disk {
    type Target = dyn Vfs;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

/// A new file that grows; keeps count of its bytes and a running checksum.
pub(crate) struct Growing {
    path: PathBuf,
    file: Box<dyn VfsFile>,
    buf: Vec<u8>,
    pos: u64,
    crc: u32,
}

impl fmt::Debug for Growing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growing")
            .field("path", &self.path)
            .field("pos", &self.pos)
            .finish_non_exhaustive()
    }
}

impl Growing {
    /// Creates `path`; it must not exist.
    pub(crate) fn create(vfs: &dyn Vfs, path: PathBuf) -> Result<Self, BlockError> {
        let file = vfs.create_new(&path).map_err(io_error("create", &path))?;
        Ok(Self {
            path,
            file,
            buf: Vec::new(),
            pos: 0,
            crc: 0,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.pos += bytes.len() as u64;
        self.buf.extend_from_slice(bytes);
        if self.buf.len() >= WRITE_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Bytes written so far.
    pub(crate) fn pos(&self) -> u64 {
        self.pos
    }

    /// Begins a checksum.
    pub(crate) fn begin_crc(&mut self) {
        self.crc = 0;
    }

    /// Writes the checksum of everything since [`Growing::begin_crc`].
    pub(crate) fn write_crc(&mut self) -> Result<(), BlockError> {
        self.write(&self.crc.to_be_bytes())
    }

    /// Writes zeros up to a multiple of `align`, at most 64.
    pub(crate) fn pad(&mut self, align: u64) -> Result<(), BlockError> {
        let missing = self.pos.next_multiple_of(align) - self.pos;
        self.write([0; 64].get(..missing as usize).unwrap_or_default())
    }

    /// Hands everything to the system, without waiting for the device.
    pub(crate) fn flush(&mut self) -> Result<(), BlockError> {
        self.file.append(&self.buf).map_err(io_error("write", &self.path))?;
        self.buf.clear();
        Ok(())
    }

    /// Waits until everything is on the device, and closes.
    pub(crate) fn finish(mut self) -> Result<(), BlockError> {
        self.flush()?;
        self.file.sync().map_err(io_error("sync", &self.path))
    }
}

/// A file that does not change any more, read by position. Stays readable when its folder is removed.
pub(crate) struct Sealed {
    block: Arc<str>,
    // As messages call it: `index`, `chunk segment 000001`.
    name: String,
    file: Box<dyn VfsRead>,
    len: u64,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("block", &self.block)
            .field("name", &self.name)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Sealed {
    pub(crate) fn open(vfs: &dyn Vfs, path: &Path, block: Arc<str>, name: String) -> Result<Self, BlockError> {
        let failed = |doing: &str, source| BlockError::Io {
            what: format!("block {block}: {doing} {name}"),
            source,
        };
        let file = vfs.open_read(path).map_err(|e| failed("open", e))?;
        let len = file.size().map_err(|e| failed("stat", e))?;
        Ok(Self { block, name, file, len })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn place(&self, section: Option<&'static str>) -> Place<'_> {
        Place {
            block: &self.block,
            file: &self.name,
            section,
        }
    }

    /// Reads `len` bytes from `at` on into `out`, which is replaced. Nothing is allocated for bytes that are not there.
    pub(crate) fn read(
        &self,
        at: u64,
        len: u64,
        section: Option<&'static str>,
        out: &mut Vec<u8>,
    ) -> Result<(), BlockError> {
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            let reason = format!("{len} bytes expected, but the file has {}", self.len);
            return Err(self.place(section).corrupt(Fault::new(at, reason)));
        }
        out.resize(usize::try_from(len).unwrap_or(0), 0);
        self.file.read_exact_at(out, at).map_err(|source| BlockError::Io {
            what: format!("block {}: read {len} bytes at byte {at} of {}", self.block, self.name),
            source,
        })
    }
}

/// A part of a [`Sealed`] file in memory. Grows while what is asked for lies close by, so that a walk over many
/// neighbours takes few reads and a single look-up reads little.
#[derive(Debug)]
pub(crate) struct Window {
    buf: Vec<u8>,
    start: u64,
    ahead: u64,
    near: u64,
    most: u64,
}

const WINDOW_MIN: u64 = 1 << 10;
pub(crate) const WINDOW_MAX: u64 = 256 << 10;
// What a walk over most of a file takes for near.
const WINDOW_NEAR: u64 = WINDOW_MAX / 4;

impl Default for Window {
    fn default() -> Self {
        Self::new(WINDOW_NEAR, WINDOW_MAX)
    }
}

impl Window {
    /// Neighbours are what lies no more than `near` bytes behind what was read last; `most` bytes are read ahead.
    pub(crate) fn new(near: u64, most: u64) -> Self {
        Self {
            buf: Vec::new(),
            start: 0,
            ahead: 0,
            near,
            most,
        }
    }

    /// The bytes from `at` on: at least `need`, fewer only where the file ends; `hint` is how many more will be asked
    /// for next.
    pub(crate) fn get(
        &mut self,
        file: &Sealed,
        at: u64,
        need: u64,
        hint: u64,
        section: Option<&'static str>,
    ) -> Result<&[u8], BlockError> {
        let end = self.start + self.buf.len() as u64;
        let need = need.min(file.len().saturating_sub(at));
        if at < self.start || at + need > end {
            let is_near = at >= self.start && at <= end + self.near;
            self.ahead = if is_near {
                (self.ahead * 4).clamp(WINDOW_MIN, self.most)
            } else {
                WINDOW_MIN
            };
            let want = need.max(self.ahead.max(hint.min(WINDOW_MAX)));
            let want = want.min(file.len().saturating_sub(at));
            // A failed read must not leave old bytes under a new position.
            self.start = 0;
            let read = file.read(at, want, section, &mut self.buf);
            if read.is_err() {
                self.buf.clear();
            }
            read?;
            self.start = at;
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(self.buf.get(from..).unwrap_or_default())
    }

    /// Forgets what it holds; for another file.
    pub(crate) fn clear(&mut self) {
        self.buf.clear();
        self.start = 0;
        self.ahead = 0;
    }
}

/// A whole small file; `None` where there is none.
pub(crate) fn read_if_there(vfs: &dyn Vfs, path: &Path) -> Result<Option<Vec<u8>>, BlockError> {
    match vfs.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

/// Size of a file, 0 where there is none.
pub(crate) fn len_if_there(vfs: &dyn Vfs, path: &Path) -> u64 {
    vfs.len(path).unwrap_or(0)
}

/// Writes a whole small file, in the place of one that is there, and waits until it is on the device.
pub(crate) fn write_whole(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> Result<(), BlockError> {
    let file = match vfs.create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove_file(vfs, path)?;
            vfs.create_new(path)
        }
        created => created,
    };
    let mut file = file.map_err(io_error("create", path))?;
    file.append(bytes).map_err(io_error("write", path))?;
    file.sync().map_err(io_error("sync", path))
}

/// Writes a whole small file in the place of another, safely against a crash at any moment.
pub(crate) fn replace(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> Result<(), BlockError> {
    let temporary = path.with_extension("tmp");
    write_whole(vfs, &temporary, bytes)?;
    rename(vfs, &temporary, path)
}

/// Gives a file a second name.
pub(crate) fn link(vfs: &dyn Vfs, from: &Path, to: &Path) -> Result<(), BlockError> {
    vfs.link(from, to).map_err(io_error("link", from))
}

/// Makes one new folder.
pub(crate) fn create_dir(vfs: &dyn Vfs, path: &Path) -> Result<(), BlockError> {
    vfs.create_dir(path).map_err(io_error("create folder", path))
}

/// Makes a folder and those above it.
pub(crate) fn create_dir_all(vfs: &dyn Vfs, path: &Path) -> Result<(), BlockError> {
    vfs.create_dir_all(path).map_err(io_error("create folder", path))
}

/// Waits until the names in a folder are on the device.
pub(crate) fn sync_dir(vfs: &dyn Vfs, path: &Path) -> Result<(), BlockError> {
    vfs.sync_dir(path).map_err(io_error("sync folder", path))
}

/// Moves `from` to `to`, replacing a file there, and syncs the folder.
pub(crate) fn rename(vfs: &dyn Vfs, from: &Path, to: &Path) -> Result<(), BlockError> {
    vfs.rename(from, to).map_err(io_error("rename", from))
}

pub(crate) fn remove_file(vfs: &dyn Vfs, path: &Path) -> Result<(), BlockError> {
    vfs.remove_file(path).map_err(io_error("remove", path))
}

pub(crate) fn remove_dir_all(vfs: &dyn Vfs, path: &Path) -> Result<(), BlockError> {
    vfs.remove_dir_all(path).map_err(io_error("remove folder", path))
}

/// The names in a folder, ascending, and whether each is a folder itself, or a link to one: a data folder may link to
/// blocks elsewhere.
pub(crate) fn list(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<(String, bool)>, BlockError> {
    let names = vfs.list(dir).map_err(io_error("list", dir))?;
    let with_kind = names.into_iter().map(|name| {
        let is_dir = vfs.is_dir(&dir.join(&name));
        (name, is_dir)
    });
    Ok(with_kind.collect())
}

#[cfg(test)]
mod tests {
    use cupola_env::RealFs;

    use super::*;

    // How many reads a walk in steps of `step` takes.
    fn reads(near: u64, first: u64, step: u64, count: u64) -> usize {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_whole(&RealFs, &path, &vec![7; 1 << 20]).unwrap();
        let file = Sealed::open(&RealFs, &path, "block".into(), "file".to_owned()).unwrap();
        let mut window = Window::new(near, WINDOW_MAX);
        let (mut reads, mut start) = (0, None);
        for n in 0..count {
            let bytes = window.get(&file, first + n * step, 10, 0, None).unwrap();
            assert_eq!(bytes.get(..10), Some(&[7; 10][..]));
            if start != Some(window.start) {
                start = Some(window.start);
                reads += 1;
            }
        }
        reads
    }

    #[test]
    fn a_walk_that_begins_near_the_beginning_of_the_file_reads_ahead() {
        for first in [1, 100, 50_000, 200_000] {
            let reads = reads(WINDOW_NEAR, first, 100, 5_000);
            assert!(reads < 10, "{reads} reads from {first} on");
        }
    }

    #[test]
    fn what_lies_far_apart_is_read_by_itself() {
        assert_eq!(reads(1000, 1, 20_000, 50), 50);
    }
}
