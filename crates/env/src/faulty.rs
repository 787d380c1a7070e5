//! A disk that fails when a test says so.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::{RealFs, Vfs, VfsFile, VfsRead};

/// The real file system with a budget of bytes: once it is used up, appends are torn at the budget and fail as a full
/// disk does, until the test gives more.
#[derive(Debug, Clone, Default)]
pub struct FaultyFs {
    // Bytes that may still be appended; None is no limit.
    budget: Arc<Mutex<Option<u64>>>,
    // Which files are read slowly, and what is held meanwhile.
    slow: Arc<Mutex<String>>,
    reading: Arc<Mutex<()>>,
    // How large the disk is; None is not known.
    capacity: Arc<Mutex<Option<u64>>>,
    // Whether syncing a folder fails.
    failing_folders: Arc<AtomicBool>,
}

impl FaultyFs {
    /// Whoever reads a whole file whose path contains `part` waits until what is returned here is dropped: a disk that
    /// is slow.
    #[must_use]
    pub fn hold_reads(&self, part: &str) -> impl Drop + '_ {
        part.clone_into(&mut self.slow.lock());
        self.reading.lock()
    }

    /// Says how large the disk is, in bytes; nothing comes of it otherwise. Not known at first.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        *self.capacity.lock() = bytes;
    }

    /// Lets syncing folders fail, or not any more.
    pub fn set_failing_folder_syncs(&self, fail: bool) {
        self.failing_folders.store(fail, Ordering::Release);
    }

    /// Lets `bytes` more be appended, then fails; `None` lifts the limit.
    pub fn set_budget(&self, bytes: Option<u64>) {
        *self.budget.lock() = bytes;
    }
}

struct FaultyFile {
    inner: Box<dyn VfsFile>,
    budget: Arc<Mutex<Option<u64>>>,
}

impl VfsFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut budget = self.budget.lock();
        let Some(left) = budget.as_mut() else {
            return self.inner.append(bytes);
        };
        let fits = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        *left -= fits as u64;
        self.inner.append(&bytes[..fits])?;
        if fits < bytes.len() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)
    }
}

impl FaultyFs {
    fn faulty(&self, inner: Box<dyn VfsFile>) -> Box<dyn VfsFile> {
        let budget = self.budget.clone();
        Box::new(FaultyFile { inner, budget })
    }

    // A new name takes room, too.
    fn room_for_a_name(&self) -> io::Result<()> {
        match *self.budget.lock() {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl Vfs for FaultyFs {
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        if RealFs.len(path).is_err() {
            self.room_for_a_name()?;
        }
        Ok(self.faulty(RealFs.open_append(path)?))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        self.room_for_a_name()?;
        Ok(self.faulty(RealFs.create_new(path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn VfsRead>> {
        RealFs.open_read(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let is_slow = path.to_string_lossy().contains(&*self.slow.lock());
        let _slow = is_slow.then(|| self.reading.lock());
        RealFs.read(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFs.list(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        RealFs.is_dir(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        RealFs.len(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.room_for_a_name()?;
        RealFs.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealFs.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFs.remove_dir_all(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.room_for_a_name()?;
        RealFs.create_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir_all(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.failing_folders.load(Ordering::Acquire) {
            return Err(io::Error::other("the folder cannot be synced"));
        }
        RealFs.sync_dir(dir)
    }

    fn capacity(&self, _: &Path) -> io::Result<u64> {
        self.capacity.lock().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}
