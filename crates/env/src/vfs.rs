//! Files of a data folder.

use std::io;
use std::path::Path;

/// One file open for appending.
pub trait VfsFile: Send + Sync {
    /// Appends all of `bytes` or fails; after a failure a part may be there.
    ///
    /// # Errors
    /// What the system says: no space, read-only, I/O.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Waits until what was appended is on the device (`fdatasync`). The file's name is there after a power cut only
    /// once its folder was synced, too.
    ///
    /// # Errors
    /// What the system says. What was appended since the last sync is then perhaps never written, even where a later
    /// sync succeeds.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to `len` bytes; used to take back a torn append.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// One file open for reading by position. Stays readable when its name is removed.
pub trait VfsRead: Send + Sync {
    /// Bytes in the file.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> io::Result<u64>;

    /// Fills `out` with the bytes from `at` on.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` where the file ends before.
    fn read_exact_at(&self, out: &mut [u8], at: u64) -> io::Result<()>;
}

/// The file operations a storage needs; `RealFs` does them, `FaultyFs` and `SimFs` fail them on purpose.
///
/// What a power cut leaves of names: those in a folder that was synced after they came or went. `rename` syncs.
pub trait Vfs: Send + Sync {
    /// Opens `path` for appending; creates it where it is absent.
    ///
    /// # Errors
    /// What the system says.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;

    /// Creates `path`, which must be absent, for appending.
    ///
    /// # Errors
    /// What the system says; `AlreadyExists` where there is something of that name.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;

    /// Opens a file for reading by position.
    ///
    /// # Errors
    /// What the system says.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn VfsRead>>;

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

    /// Whether `path` is a folder, or links to one. What cannot be looked at is none.
    fn is_dir(&self, path: &Path) -> bool;

    /// The bytes of a file.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// Gives a file a second name, which must be absent.
    ///
    /// # Errors
    /// What the system says.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Moves `from` to `to`, replacing a file there, and syncs the folder of `to`.
    ///
    /// # Errors
    /// What the system says. The new name may be there all the same, where only the syncing failed.
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

    /// Makes one folder, which must be absent.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder and those above it, where they are absent, and syncs the folders in which it made one.
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

    /// Waits until the names in a folder are on the device.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}
