//! Folders, files and disks.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::neighbours::skip;

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    // As cargo tells it when the test runs (.cargo/config.toml): checkouts may share what was compiled.
    std::env::var_os("CUPOLA_ROOT").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// A folder or file of the shared conformance data, below `$CUPOLA_CONFORMANCE`, else beside the repository. A plain
/// clone does not have it: then the test is skipped, and says so.
///
/// # Panics
/// In CI, where it must be there.
#[track_caller]
#[must_use]
pub fn conformance(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("CUPOLA_CONFORMANCE")
        .map_or_else(|| repository().join("../shared/conformance"), PathBuf::from);
    let path = root.join(name);
    if !path.exists() {
        skip(&format!("no conformance data at {}", path.display()));
        return None;
    }
    Some(path)
}

/// The binary under test.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CUPOLA_BINARY") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "CUPOLA_BINARY={}: no such file", path.display());
        return path;
    }
    // The tests lie in TARGET/debug/deps.
    let tests = std::env::current_exe().expect("a test knows its own path");
    let target = tests.ancestors().nth(3).expect("a test lies deep in the target folder");
    let path = target.join("release/cupola");
    assert!(
        path.is_file(),
        "no binary to test at {}: run `cargo build --release -p cupola`, or name one with CUPOLA_BINARY",
        path.display()
    );
    path
}

/// A temporary folder that holds configuration files and data; gone at the end.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
}

impl Home {
    /// # Panics
    /// Where no folder can be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it touches the disk")]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("cupola-e2e-").tempdir();
        Self {
            dir: dir.expect("a temporary folder can be made"),
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where a server of this home keeps its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Writes a file in one step, so that a reload never sees half of it.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        let beside = self.path().join(format!("{name}.new"));
        std::fs::write(&beside, text).expect("a file in the temporary folder can be written");
        std::fs::rename(&beside, &path).expect("a file in the temporary folder can be put in place");
        path
    }
}

/// A file system of its own, so small that it can be filled.
#[derive(Debug)]
pub struct TinyDisk {
    home: Home,
}

impl TinyDisk {
    /// Mounts one of `kib` KiB; `None` where that is not permitted.
    #[must_use]
    pub fn mount(kib: u32) -> Option<Self> {
        let home = Home::new();
        let options = format!("size={kib}k,mode=0755");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "cupola-e2e"])
            .arg(home.path())
            .output();
        status.is_ok_and(|out| out.status.success()).then_some(Self { home })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// Makes it read-only or writable.
    ///
    /// # Panics
    /// Where the system refuses.
    pub fn set_read_only(&self, read_only: bool) {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        let out = Command::new("mount")
            .args(["-o", options])
            .arg(self.path())
            .output()
            .expect("mount can be run");
        assert!(
            out.status.success(),
            "mount -o {options}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }

    /// Writes into a file named `filler` until nothing more fits.
    ///
    /// # Panics
    /// Where the file cannot be made.
    pub fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.path().join("filler")).expect("the filler can be made");
        // Large steps first, so that the last bytes are taken as well.
        for step in [64 * 1024, 4096, 1] {
            let zeros = vec![0; step];
            while file.write_all(&zeros).is_ok() {}
        }
    }

    /// Removes what [`TinyDisk::fill`] wrote.
    ///
    /// # Panics
    /// Where it cannot be removed.
    pub fn free(&self) {
        std::fs::remove_file(self.path().join("filler")).expect("the filler can be removed");
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        // Lazily: a process that a failed test left may still hold it for a moment.
        let out = Command::new("umount").arg("-l").arg(self.home.path()).output();
        if !out.is_ok_and(|out| out.status.success()) {
            eprintln!("cannot unmount {}", self.home.path().display());
        }
    }
}
