//! One process per data folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

// A process that is just ending, or one that another is about to become (between fork and exec it has all files of its
// parent), lets go within moments.
const TRIES: u32 = 20;
const WAIT: Duration = Duration::from_millis(10);

/// Held as long as the database is open. The lock ends with the process, also after `kill -9`; the file stays, as
/// Prometheus leaves it.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: Option<File>,
}

/// Why the folder cannot be had.
#[derive(Debug)]
pub(crate) enum LockError {
    Held,
    Io(io::Error),
}

impl FolderLock {
    pub(crate) fn take(dir: &Path) -> Result<Self, LockError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"));
        let file = match file {
            // Where nothing can be written, nobody writes; a process that was there before may still hold the lock.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => match File::open(dir.join("lock")) {
                Ok(file) => file,
                Err(_) => return Ok(Self::none()),
            },
            opened => opened.map_err(LockError::Io)?,
        };
        for waited in 0.. {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: Some(file) }),
                Err(TryLockError::WouldBlock) if waited < TRIES => std::thread::sleep(WAIT),
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
            }
        }
        Err(LockError::Held)
    }

    pub(crate) fn none() -> Self {
        Self { _file: None }
    }
}
