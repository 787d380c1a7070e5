//! A disk in memory on which tests let processes die, power fail and writes go wrong, the same way for the same seed.

mod process;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::Vfs;
use process::SimFs;
use tree::Tree;

/// Numbers that a seed determines (splitmix64).
#[derive(Debug)]
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    // Below `bound`, which is at least 1.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// What goes wrong at the moment; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// So many bytes may still be appended; then the disk is full, and no name can be added either.
    pub room: Option<u64>,
    /// Nothing can be changed.
    pub read_only: bool,
    /// Appending fails after a part was written.
    pub failing_writes: bool,
    /// Syncing a file fails. What it was to bring to the device is then in doubt, whatever later syncs say.
    pub failing_syncs: bool,
    /// Files whose path contains this cannot be read.
    pub unreadable: Option<String>,
    /// What has this in its path cannot be removed, and nothing can be given such a path by renaming it.
    pub undeletable: Option<String>,
}

type Hook = Box<dyn FnMut(&'static str, &Path) + Send>;

struct State {
    rng: Rng,
    tree: Tree,
    faults: Faults,
    // Even while a process lives. Handles of an earlier one are dead.
    process: u64,
    writes: u64,
    dies_at: Option<u64>,
    hook: Option<Hook>,
    // Reading files whose path contains this waits.
    held: Option<String>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The disk, as the test has it: it outlives processes. Cloning shares it.
///
/// A write is one call that changes something; `remove_dir_all` is one for each name. Synced is what [`crate::VfsFile::sync`]
/// and [`Vfs::sync_dir`] say; a power cut keeps that and, of all else, what the seed says: nothing, all, a part, or the
/// length without the bytes; of names some, in order or not.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("SimDisk")
            .field("writes", &state.writes)
            .field("faults", &state.faults)
            .finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: Rng(seed),
            tree: Tree::new(),
            faults: Faults::default(),
            process: 1,
            writes: 0,
            dies_at: None,
            hook: None,
            held: None,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// The files for a process that starts now. What an earlier process holds is dead: each call fails.
    #[must_use]
    pub fn mount(&self) -> Arc<dyn Vfs> {
        let mut state = self.state();
        state.end_process();
        state.process += 1;
        let process = state.process;
        drop(state);
        self.shared.changed.notify_all();
        Arc::new(SimFs::new(self.clone(), process))
    }

    /// The files for another process beside the one that lives; it dies with it.
    #[must_use]
    pub fn beside(&self) -> Arc<dyn Vfs> {
        let process = self.state().process;
        Arc::new(SimFs::new(self.clone(), process))
    }

    /// The process dies, as by `kill -9`: what it has written stays.
    pub fn kill(&self) {
        let mut state = self.state();
        state.end_process();
        state.tree.forget_unreachable();
        drop(state);
        self.shared.changed.notify_all();
    }

    /// The machine loses power: what was not synced may be gone.
    pub fn cut_power(&self) {
        let mut state = self.state();
        state.end_process();
        let State { rng, tree, .. } = &mut *state;
        tree.cut_power(rng);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// The process dies in the write that many from now on (0 is the next one), which is done in part. `None`: it lives.
    pub fn die_in(&self, writes: Option<u64>) {
        let mut state = self.state();
        state.dies_at = writes.map(|n| state.writes + n);
    }

    /// Writes so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Whether the process that was mounted last has died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        !self.state().process.is_multiple_of(2)
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// What goes wrong at the moment.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.state().faults.clone()
    }

    /// Calls `hook` before each write with what is to be done (`append`, `sync`, `truncate`, `create`, `link`, `rename`,
    /// `remove`, `sync folder`) and its path. Writes that the hook itself makes do not call it.
    pub fn before_each_write(&self, hook: Option<Hook>) {
        self.state().hook = hook;
    }

    /// Lets reading files wait whose path contains `part`, until this is called with `None` or the process dies.
    pub fn hold_reads(&self, part: Option<&str>) {
        self.state().held = part.map(str::to_owned);
        self.shared.changed.notify_all();
    }

    /// All files below `path` with their bytes.
    #[must_use]
    pub fn files(&self, path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        self.state().tree.files(path)
    }

    /// Changes a file behind the back of every process.
    ///
    /// # Errors
    /// Where there is no such file.
    pub fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.state().tree.edit(path, edit)
    }

    /// Removes a file behind the back of every process.
    ///
    /// # Errors
    /// Where there is no such file.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().tree.remove(path)
    }
}

impl State {
    fn end_process(&mut self) {
        self.process += 1 - self.process % 2;
        self.dies_at = None;
        self.hook = None;
        self.held = None;
    }
}

#[cfg(test)]
mod tests;
