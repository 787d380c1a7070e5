//! Whether files have changed: by what they hold, so that neither clocks nor links matter.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

// How long what was read counts as what there is.
const FRESH: Duration = Duration::from_millis(100);
// Configuration, certificates and keys are a few KiB.
const LARGEST_FILE: u64 = 4 << 20;

/// Files as they were read, each with what came of it.
#[derive(Default)]
pub(super) struct Snapshot(Vec<(PathBuf, Result<Vec<u8>, String>)>);

impl Snapshot {
    /// Reads a file and notes it.
    pub(super) fn read(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let bytes = read(path);
        self.0.push((path.to_path_buf(), bytes.clone()));
        bytes
    }

    /// Whether all of them would read the same now.
    pub(super) fn is_current(&self) -> bool {
        self.0.iter().all(|(path, seen)| read(path) == *seen)
    }
}

// The text of an error as Go has it.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let open = || {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    match open() {
        Ok(bytes) if bytes.len() as u64 > LARGEST_FILE => Err(format!("{}: is larger than 4 MiB", path.display())),
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            let text = error.to_string();
            let reason = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
            Err(format!("open {}: {reason}", path.display()))
        }
    }
}

/// Says when it is time to look, and holds what was seen last.
pub(super) struct Watch {
    seen: Mutex<Snapshot>,
    looked: Mutex<Instant>,
    is_looking: Arc<AtomicBool>,
}

/// Whoever holds it may look; nobody else does meanwhile.
pub(super) struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Watch {
    pub(super) fn new(seen: Snapshot) -> Self {
        Self {
            seen: Mutex::new(seen),
            looked: Mutex::new(Instant::now()),
            is_looking: Arc::default(),
        }
    }

    /// The right to look, where it is time and nobody does.
    pub(super) fn turn(&self) -> Option<Turn> {
        let mut looked = self.looked.lock();
        if looked.elapsed() < FRESH || self.is_looking.swap(true, Ordering::AcqRel) {
            return None;
        }
        *looked = Instant::now();
        Some(Turn(self.is_looking.clone()))
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Snapshot> {
        self.seen.lock()
    }
}
