//! A file, and those that it names, read again when they change: by what they hold, so that neither clocks nor links matter.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use cupola_config::ConfigErrors;
use parking_lot::Mutex;

// How long what was read counts as what there is.
const FRESH: Duration = Duration::from_millis(100);
// Configuration, certificates and keys are a few KiB.
const LARGEST_FILE: u64 = 4 << 20;
// A file that was written in this time is perhaps not yet whole.
const SETTLE: Duration = Duration::from_millis(20);
// A disk that hangs delays whoever asks by this much, and nobody after that.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Files as they were read, each with what came of it.
#[derive(Default)]
pub struct Snapshot(Vec<(PathBuf, Result<Vec<u8>, String>)>);

impl Snapshot {
    /// Reads a file and notes it.
    ///
    /// # Errors
    /// As Go words it, with the file's name.
    pub fn read(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let bytes = read(path);
        self.0.push((path.to_path_buf(), bytes.clone()));
        bytes
    }

    // Whether all of them would read the same now.
    fn is_current(&self) -> bool {
        self.0.iter().all(|(path, seen)| read(path) == *seen)
    }
}

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

/// Makes something of a file, and of those it names, all of which it reads through the snapshot. What is in force, if
/// anything is, may limit what can take its place.
pub type ReadInto<T> = fn(&Path, &mut Snapshot, Option<&T>) -> Result<T, ConfigErrors>;

/// Hears what came of a change: once, and not again before something changes.
pub type Told<T> = Box<dyn Fn(&Path, Result<&T, &ConfigErrors>) + Send + Sync>;

/// What was made of a file, made anew when that or one that it names changes. Where the new content cannot be used the old
/// one stays in force. Cloning shares it.
pub struct Watched<T>(Arc<Inner<T>>);

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Inner<T> {
    path: PathBuf,
    read: ReadInto<T>,
    told: Told<T>,
    current: ArcSwap<T>,
    seen: Mutex<Snapshot>,
    looked: Mutex<Instant>,
    is_looking: AtomicBool,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the file. It touches the disk.
    ///
    /// # Errors
    /// What `read` says.
    pub fn load(path: &Path, read: ReadInto<T>, told: Told<T>) -> Result<Self, ConfigErrors> {
        let mut snapshot = Snapshot::default();
        let first = read(path, &mut snapshot, None)?;
        Ok(Self(Arc::new(Inner {
            path: path.to_path_buf(),
            read,
            told,
            current: ArcSwap::from_pointee(first),
            seen: Mutex::new(snapshot),
            looked: Mutex::new(Instant::now()),
            is_looking: AtomicBool::new(false),
        })))
    }

    /// What was in force the last time anybody looked.
    #[must_use]
    pub fn last(&self) -> Arc<T> {
        self.0.current.load_full()
    }

    /// What is in force. The files are looked at, on the blocking pool, no oftener than ten times a second.
    pub async fn current(&self) -> Arc<T> {
        if self.0.may_look() {
            let inner = self.0.clone();
            let looking = tokio::task::spawn_blocking(move || {
                let _turn = Turn(&inner.is_looking);
                inner.look(|| std::thread::sleep(SETTLE));
            });
            // Where it takes longer it goes on by itself, and nobody looks meanwhile.
            let _ = tokio::time::timeout(LONGEST_LOOK, looking).await;
        }
        self.last()
    }

    /// Looks at the files now, for tests; `settle` lets some time pass.
    pub fn look(&self, settle: impl FnOnce()) {
        self.0.look(settle);
    }

    /// Whether the files are as they were seen last.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.0.seen.lock().is_current()
    }
}

// Whoever holds it looks; nobody else does meanwhile.
struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<T> Inner<T> {
    // Whether it is time, and nobody else looks. Whoever hears so has to.
    fn may_look(&self) -> bool {
        let mut looked = self.looked.lock();
        if looked.elapsed() < FRESH || self.is_looking.swap(true, Ordering::AcqRel) {
            return false;
        }
        *looked = Instant::now();
        true
    }

    // Half a file may be a valid one, which asks for less: only what stays as it is counts.
    fn look(&self, settle: impl FnOnce()) {
        let mut seen = self.seen.lock();
        if seen.is_current() {
            return;
        }
        let old = self.current.load_full();
        let mut snapshot = Snapshot::default();
        let read = (self.read)(&self.path, &mut snapshot, Some(&old));
        settle();
        if !snapshot.is_current() {
            return;
        }
        *seen = snapshot;
        match read {
            Ok(new) => {
                (self.told)(&self.path, Ok(&new));
                self.current.store(Arc::new(new));
            }
            Err(mistakes) => (self.told)(&self.path, Err(&mistakes)),
        }
    }
}
