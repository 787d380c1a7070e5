//! A disk that fails when a test says so.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::{RealFs, Vfs, VfsFile};

/// The real file system with a budget of bytes: once it is used up, appends are torn at the budget and fail as a full
/// disk does, until the test gives more.
#[derive(Debug, Clone, Default)]
pub struct FaultyFs {
    // Bytes that may still be appended; None is no limit.
    budget: Arc<Mutex<Option<u64>>>,
    // Held while whole files are read.
    reading: Arc<Mutex<()>>,
}

impl FaultyFs {
    /// Whoever reads a whole file waits until what is returned here is dropped: a disk that is slow.
    #[must_use]
    pub fn hold_reads(&self) -> impl Drop + '_ {
        self.reading.lock()
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

impl Vfs for FaultyFs {
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        if *self.budget.lock() == Some(0) && RealFs.len(path).is_err() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Box::new(FaultyFile {
            inner: RealFs.open_append(path)?,
            budget: self.budget.clone(),
        }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let _slow = self.reading.lock();
        RealFs.read(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFs.list(dir)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        RealFs.len(path)
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

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir_all(path)
    }
}
