//! What lies on the simulated disk: as a process sees it, and as the device has it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use super::Rng;

pub(super) type Ino = u64;

const ROOT: Ino = 0;

/// A change of names in one folder that is on the device whole or not at all: names, and what they stand for then.
type NameChange = Vec<(String, Option<Ino>)>;

#[derive(Debug)]
enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Debug, Default)]
struct FileNode {
    live: Vec<u8>,
    // So many bytes were synced.
    synced: usize,
    // What a failed sync left in doubt: the system believes it written, the device may lack it.
    doubtful: Vec<Range<usize>>,
}

#[derive(Debug, Default)]
struct DirNode {
    live: BTreeMap<String, Ino>,
    durable: BTreeMap<String, Ino>,
    // What separates the two, in order.
    pending: Vec<NameChange>,
}

#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<Ino, Node>,
    next: Ino,
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Tree {
    pub(super) fn new() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Dir(DirNode::default()))]),
            next: ROOT + 1,
        }
    }

    fn dir(&self, ino: Ino) -> io::Result<&DirNode> {
        match self.nodes.get(&ino) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(not_found()),
        }
    }

    fn file(&self, ino: Ino) -> io::Result<&FileNode> {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(not_found()),
        }
    }

    fn file_mut(&mut self, ino: Ino) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(not_found()),
        }
    }

    /// What `path` stands for.
    pub(super) fn find(&self, path: &Path) -> io::Result<Ino> {
        let mut at = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                let name = name.to_string_lossy();
                at = *self.dir(at)?.live.get(&*name).ok_or_else(not_found)?;
            }
        }
        Ok(at)
    }

    // The folder of `path` and its name there.
    fn place(&self, path: &Path) -> io::Result<(Ino, String)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = self.find(path.parent().unwrap_or(Path::new("/")))?;
        self.dir(parent)?;
        Ok((parent, name.to_string_lossy().into_owned()))
    }

    fn change(&mut self, dir: Ino, change: NameChange) -> io::Result<()> {
        let Some(Node::Dir(node)) = self.nodes.get_mut(&dir) else {
            return Err(not_found());
        };
        apply(&mut node.live, &change);
        node.pending.push(change);
        Ok(())
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<Ino> {
        let (parent, name) = self.place(path)?;
        if self.dir(parent)?.live.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, node);
        self.change(parent, vec![(name, Some(ino))])?;
        Ok(ino)
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<Ino> {
        self.add(path, Node::File(FileNode::default()))
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.add(path, Node::Dir(DirNode::default())).map(|_| ())
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        self.find(path).is_ok_and(|ino| self.dir(ino).is_ok())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        Ok(self.dir(self.find(path)?)?.live.keys().cloned().collect())
    }

    pub(super) fn bytes(&self, ino: Ino) -> io::Result<&[u8]> {
        Ok(&self.file(ino)?.live)
    }

    pub(super) fn append(&mut self, ino: Ino, bytes: &[u8]) -> io::Result<()> {
        self.file_mut(ino)?.live.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn truncate(&mut self, ino: Ino, len: u64) -> io::Result<()> {
        let file = self.file_mut(ino)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        file.live.truncate(len);
        file.synced = file.synced.min(len);
        file.doubtful.retain(|range| range.end <= len);
        Ok(())
    }

    pub(super) fn sync(&mut self, ino: Ino) -> io::Result<()> {
        let file = self.file_mut(ino)?;
        file.synced = file.live.len();
        Ok(())
    }

    /// A sync that fails: later ones do not try these bytes again.
    pub(super) fn fail_sync(&mut self, ino: Ino) -> io::Result<()> {
        let file = self.file_mut(ino)?;
        let unsynced = file.synced..file.live.len();
        if !unsynced.is_empty() {
            file.doubtful.push(unsynced);
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.find(path)?;
        match self.nodes.get_mut(&ino) {
            Some(Node::Dir(dir)) => {
                dir.pending.clear();
                dir.durable = dir.live.clone();
                Ok(())
            }
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ino = self.find(from)?;
        self.file(ino)?;
        let (parent, name) = self.place(to)?;
        if self.dir(parent)?.live.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(parent, vec![(name, Some(ino))])
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ino = self.find(from)?;
        let ((from_dir, from), (to_dir, to)) = (self.place(from)?, self.place(to)?);
        if let Some(there) = self.dir(to_dir)?.live.get(&to) {
            match (self.nodes.get(there), self.nodes.get(&ino)) {
                (Some(Node::Dir(dir)), Some(Node::Dir(_))) if dir.live.is_empty() => {}
                (Some(Node::File(_)), Some(Node::File(_))) => {}
                _ => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
            }
        }
        if from_dir == to_dir {
            self.change(from_dir, vec![(from, None), (to, Some(ino))])
        } else {
            self.change(to_dir, vec![(to, Some(ino))])?;
            self.change(from_dir, vec![(from, None)])
        }
    }

    /// Removes a file or an empty folder.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        if let Some(Node::Dir(dir)) = self.nodes.get(&self.find(path)?)
            && !dir.live.is_empty()
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (parent, name) = self.place(path)?;
        self.change(parent, vec![(name, None)])
    }

    /// Replaces a file's bytes, on the device as well.
    pub(super) fn edit(&mut self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let file = self.file_mut(self.find(path)?)?;
        edit(&mut file.live);
        file.synced = file.live.len();
        file.doubtful.clear();
        Ok(())
    }

    /// All files below `path` with their bytes.
    pub(super) fn files(&self, path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut out = BTreeMap::new();
        if let Ok(ino) = self.find(path) {
            self.gather(path, ino, &mut out);
        }
        out
    }

    fn gather(&self, path: &Path, ino: Ino, out: &mut BTreeMap<PathBuf, Vec<u8>>) {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => {
                out.insert(path.to_path_buf(), file.live.clone());
            }
            Some(Node::Dir(dir)) => {
                for (name, ino) in &dir.live {
                    self.gather(&path.join(name), *ino, out);
                }
            }
            None => {}
        }
    }

    /// Leaves what a power cut leaves: all that was synced, and of the rest whatever `rng` says.
    pub(super) fn cut_power(&mut self, rng: &mut Rng) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.cut_power(rng),
                Node::Dir(dir) => dir.cut_power(rng),
            }
        }
        self.forget_unreachable();
    }

    /// Frees what no name leads to any more; no process may have a file open.
    pub(super) fn forget_unreachable(&mut self) {
        let (mut reached, mut next) = (BTreeSet::from([ROOT]), vec![ROOT]);
        while let Some(ino) = next.pop() {
            if let Some(Node::Dir(dir)) = self.nodes.get(&ino) {
                let pending = dir.pending.iter().flatten().filter_map(|(_, ino)| *ino);
                let named = dir.live.values().chain(dir.durable.values()).copied();
                next.extend(named.chain(pending).filter(|ino| reached.insert(*ino)));
            }
        }
        self.nodes.retain(|ino, _| reached.contains(ino));
    }
}

fn apply(names: &mut BTreeMap<String, Ino>, change: &NameChange) {
    for (name, ino) in change {
        match ino {
            Some(ino) => names.insert(name.clone(), *ino),
            None => names.remove(name),
        };
    }
}

impl FileNode {
    fn cut_power(&mut self, rng: &mut Rng) {
        let unsynced = self.live.len() - self.synced;
        let kept = self.synced + rng.below(unsynced + 1);
        match rng.below(4) {
            0 => self.live.truncate(self.synced),
            1 => {}
            2 => self.live.truncate(kept),
            // The length reached the device, not all of the bytes.
            _ => self.live[kept..].fill(0),
        }
        for range in std::mem::take(&mut self.doubtful) {
            if rng.below(2) == 0
                && let Some(lost) = self.live.get_mut(range)
            {
                lost.fill(0);
            }
        }
        self.synced = self.live.len();
    }
}

impl DirNode {
    fn cut_power(&mut self, rng: &mut Rng) {
        let pending = std::mem::take(&mut self.pending);
        // A journal keeps the order; other file systems do not.
        let in_order = rng.below(2) == 0;
        let kept = rng.below(pending.len() + 1);
        for (at, change) in pending.iter().enumerate() {
            if if in_order { at < kept } else { rng.below(2) == 0 } {
                apply(&mut self.durable, change);
            }
        }
        self.live = self.durable.clone();
    }
}
