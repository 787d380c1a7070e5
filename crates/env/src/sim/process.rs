//! The simulated disk as one process sees it.

use std::io;
use std::path::{Path, PathBuf};

use parking_lot::MutexGuard;

use super::tree::{Ino, Tree};
use super::{SimDisk, State};
use crate::{Vfs, VfsFile, VfsRead};

pub(super) struct SimFs {
    disk: SimDisk,
    process: u64,
}

struct SimFile {
    fs: SimFs,
    path: PathBuf,
    ino: Ino,
}

fn dead() -> io::Error {
    io::Error::other("this process of the simulation is dead")
}

fn failing() -> io::Error {
    io::Error::other("simulated input/output error")
}

/// How far a write gets.
enum Fate {
    Whole,
    // The process dies in it.
    Part,
}

impl SimFs {
    pub(super) fn new(disk: SimDisk, process: u64) -> Self {
        Self { disk, process }
    }

    fn again(&self) -> Self {
        Self::new(self.disk.clone(), self.process)
    }

    fn look(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.process == self.process {
            Ok(state)
        } else {
            Err(dead())
        }
    }

    // Begins a write.
    fn begin(&self, doing: &'static str, path: &Path) -> io::Result<(MutexGuard<'_, State>, Fate)> {
        let hook = self.look()?.hook.take();
        if let Some(mut hook) = hook {
            hook(doing, path);
            let mut state = self.look()?;
            if state.hook.is_none() {
                state.hook = Some(hook);
            }
        }
        let mut state = self.look()?;
        let fate = if state.dies_at == Some(state.writes) {
            state.end_process();
            Fate::Part
        } else {
            Fate::Whole
        };
        state.writes += 1;
        // There is nothing to bring to a device that cannot be written.
        if state.faults.read_only && !doing.starts_with("sync") {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let undeletable = state.faults.undeletable.as_ref();
        if matches!(doing, "remove" | "rename")
            && undeletable.is_some_and(|part| path.to_string_lossy().contains(part.as_str()))
        {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok((state, fate))
    }

    // A write of names or lengths: in its part it happens or not, and is not acknowledged.
    fn write<T>(
        &self,
        doing: &'static str,
        path: &Path,
        needs_room: bool,
        write: impl FnOnce(&mut Tree) -> io::Result<T>,
    ) -> io::Result<T> {
        let (mut state, fate) = self.begin(doing, path)?;
        if needs_room && state.faults.room == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match fate {
            Fate::Whole => write(&mut state.tree),
            Fate::Part => {
                if state.rng.below(2) == 0 {
                    // Nobody is left to be told of an error.
                    let _ = write(&mut state.tree);
                }
                Err(dead())
            }
        }
    }

    // Waits while reading `path` is held.
    fn look_at(&self, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.look()?;
        let path = path.to_string_lossy();
        while state.held.as_ref().is_some_and(|part| path.contains(part.as_str())) {
            self.disk.shared.changed.wait(&mut state);
            if state.process != self.process {
                return Err(dead());
            }
        }
        if state
            .faults
            .unreadable
            .as_ref()
            .is_some_and(|part| path.contains(part.as_str()))
        {
            return Err(failing());
        }
        Ok(state)
    }

    fn file(&self, path: &Path, ino: Ino) -> SimFile {
        SimFile {
            fs: self.again(),
            path: path.to_path_buf(),
            ino,
        }
    }
}

impl VfsFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut state, fate) = self.fs.begin("append", &self.path)?;
        let State { rng, tree, faults, .. } = &mut *state;
        let mut len = bytes.len();
        let mut outcome = Ok(());
        if let Some(room) = &mut faults.room {
            if (*room as usize) < len {
                len = *room as usize;
                outcome = Err(io::ErrorKind::StorageFull.into());
            }
            *room -= len as u64;
        }
        if faults.failing_writes || matches!(fate, Fate::Part) {
            len = rng.below(len.max(1));
            outcome = Err(failing());
        }
        tree.append(self.ino, bytes.get(..len).unwrap_or(bytes))?;
        outcome
    }

    fn sync(&mut self) -> io::Result<()> {
        let (mut state, fate) = self.fs.begin("sync", &self.path)?;
        if matches!(fate, Fate::Part) {
            return Err(dead());
        }
        if state.faults.failing_syncs {
            state.tree.fail_sync(self.ino)?;
            return Err(failing());
        }
        state.tree.sync(self.ino)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let ino = self.ino;
        self.fs
            .write("truncate", &self.path, false, |tree| tree.truncate(ino, len))
    }
}

impl VfsRead for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.fs.look()?.tree.bytes(self.ino)?.len() as u64)
    }

    fn read_exact_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        let state = self.fs.look_at(&self.path)?;
        let bytes = state.tree.bytes(self.ino)?;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let end = at.saturating_add(out.len());
        out.copy_from_slice(bytes.get(at..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Vfs for SimFs {
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let there = self.look()?.tree.find(path);
        let is_read_only = self.look()?.faults.read_only;
        let ino = match there {
            Ok(_) if is_read_only => return Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Ok(ino) => ino,
            Err(_) => self.write("create", path, true, |tree| tree.create_file(path))?,
        };
        Ok(Box::new(self.file(path, ino)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let ino = self.write("create", path, true, |tree| tree.create_file(path))?;
        Ok(Box::new(self.file(path, ino)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn VfsRead>> {
        let ino = {
            let state = self.look_at(path)?;
            let ino = state.tree.find(path)?;
            state.tree.bytes(ino)?;
            ino
        };
        Ok(Box::new(self.file(path, ino)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.look_at(path)?;
        Ok(state.tree.bytes(state.tree.find(path)?)?.to_vec())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.look()?.tree.list(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.look().is_ok_and(|state| state.tree.is_dir(path))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let state = self.look()?;
        Ok(state.tree.bytes(state.tree.find(path)?)?.len() as u64)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.write("link", to, true, |tree| tree.link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.write("rename", to, false, |tree| tree.rename(from, to))?;
        to.parent().map_or(Ok(()), |dir| self.sync_dir(dir))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.write("remove", path, false, |tree| tree.remove(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        for name in self.list(path)? {
            let path = path.join(name);
            if self.is_dir(&path) {
                self.remove_dir_all(&path)?;
            } else {
                self.remove_file(&path)?;
            }
        }
        self.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.write("create", path, true, |tree| tree.create_dir(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if self.look()?.tree.is_dir(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.create_dir_all(parent)?;
        }
        self.create_dir(path)?;
        path.parent().map_or(Ok(()), |parent| self.sync_dir(parent))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut state, fate) = self.begin("sync folder", dir)?;
        match fate {
            Fate::Whole => state.tree.sync_dir(dir),
            Fate::Part => Err(dead()),
        }
    }
}
