//! Files of a data folder.

use std::io;
use std::path::Path;

/// One file open for appending.
pub trait VfsFile: Send {
    /// Appends all of `bytes` or fails; after a failure a part may be there.
    ///
    /// # Errors
    /// What the system says: no space, read-only, I/O.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Waits until what was appended is on the device (`fdatasync`).
    ///
    /// # Errors
    /// What the system says.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to `len` bytes; used to take back a torn append.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// The file operations a storage needs; `RealFs` does them, `FaultyFs` fails them on purpose.
pub trait Vfs: Send + Sync {
    /// Opens `path` for appending; creates it where it is absent.
    ///
    /// # Errors
    /// What the system says.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;

    /// The whole content.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The names in a folder, ascending.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// The bytes of a file.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// Moves `from` to `to`, replacing it, and syncs the folder.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder and all in it.
    ///
    /// # Errors
    /// What the system says.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// How many bytes the file system that holds `dir` has in all, used ones included.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::Unsupported`] where there is no such thing.
    fn capacity(&self, dir: &Path) -> io::Result<u64> {
        let _ = dir;
        Err(io::ErrorKind::Unsupported.into())
    }
}
