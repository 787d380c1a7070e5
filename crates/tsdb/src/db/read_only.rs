//! A data folder as it lies there, for tools: its blocks, its log and what a Prometheus left, without taking the lock and
//! without writing, moving or removing anything.

use std::io;
use std::path::Path;
use std::sync::Arc;

use cupola_block::{Block, BlockFormat, list_blocks};
use cupola_env::Vfs;
use cupola_metrics::Registry;
use cupola_storage::{Selection, Series, StorageError, merge_series};

use super::{LOG_FOLDER, OpenError, compact, import, written_until};
use crate::head::{Head, Replay};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::wal::Backlog;

// A server may work on the folder meanwhile: what it moved from the log to a block would be seen in neither.
const ATTEMPTS: usize = 3;

/// What a data folder holds, read once.
pub struct ReadOnly {
    blocks: Vec<Arc<Block>>,
    head: Arc<Head>,
    broken_blocks: Vec<String>,
    damage: Vec<String>,
}

impl ReadOnly {
    /// Reads the folder, which another process may hold. Memory is that of a server with its log.
    ///
    /// # Errors
    /// [`OpenError::Io`] where the folder or a log in it cannot be read at all.
    pub fn open(dir: &Path, vfs: Arc<dyn Vfs>) -> Result<Self, OpenError> {
        let io = |what| {
            move |source| OpenError::Io {
                dir: dir.to_path_buf(),
                what,
                source,
            }
        };
        let names = || names(&*vfs, dir).map_err(io("cannot be listed"));
        let mut before = names()?;
        for _ in 1..ATTEMPTS {
            let read = Self::read(dir, &vfs).map_err(io("cannot be read"))?;
            let after = names()?;
            if before == after {
                return Ok(read);
            }
            before = after;
        }
        let mut read = Self::read(dir, &vfs).map_err(io("cannot be read"))?;
        if before != names()? {
            read.damage
                .push("the folder changed while it was read; samples may be missing".to_owned());
        }
        Ok(read)
    }

    fn read(dir: &Path, vfs: &Arc<dyn Vfs>) -> io::Result<Self> {
        let list = list_blocks(&**vfs, dir).map_err(io::Error::other)?;
        let mut broken_blocks: Vec<String> = list.broken.iter().map(|broken| broken.error.to_string()).collect();
        let mut blocks = Vec::new();
        for (path, _) in &list.blocks {
            match Block::open(vfs, path) {
                Ok(block) => blocks.push(Arc::new(block)),
                Err(error) => broken_blocks.push(error.to_string()),
            }
        }
        // Those that were merged say the same as the block made of them.
        compact::take_superseded(&mut blocks);

        let log = dir.join(LOG_FOLDER);
        let options = Options::new(dir.to_path_buf());
        let metrics = Arc::new(Metrics::new(&Registry::default()));
        let head = Arc::new(Head::new(None, written_until(&blocks), &options, metrics));
        let mut replay = Replay::new(head.clone())?;
        let mut damage = Vec::new();
        if vfs.list(&log).is_ok() {
            let replayed =
                Backlog::list(vfs.clone(), &log)?.read(&mut |entry| replay.entry(entry), &|_| {}, &|| true)?;
            damage.extend(replayed.damage.into_iter().map(|damage| damage.text));
        }
        if let Some(imported) = import::import(&**vfs, dir, &log, head.floor(), &|| true, &mut replay)? {
            damage.extend(imported.restored.replayed.damage.iter().map(ToString::to_string));
        }
        damage.extend(replay.finish().1);
        Ok(Self {
            blocks,
            head,
            broken_blocks,
            damage,
        })
    }

    /// Blocks that cannot be opened, each with the reason.
    #[must_use]
    pub fn broken_blocks(&self) -> &[String] {
        &self.broken_blocks
    }

    /// What of the logs could not be read.
    #[must_use]
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// The series with samples in the range.
    ///
    /// # Errors
    /// What a block says.
    pub fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        let mut parts = vec![self.head.select(selection)];
        for block in &self.blocks {
            parts.push(cupola_storage::Queryable::select(&**block, selection)?);
        }
        Ok(merge_series(parts))
    }
}

// What comes and goes when a server cuts or merges blocks or writes a checkpoint.
fn names(vfs: &dyn Vfs, dir: &Path) -> io::Result<Vec<String>> {
    let mut names = vfs.list(dir)?;
    for folder in [dir.join(LOG_FOLDER), BlockFormat::Native.folder(dir)] {
        names.extend(vfs.list(&folder).unwrap_or_default());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use cupola_env::RealFs;
    use cupola_storage::{Samples, Selection};
    use tempfile::TempDir;

    use super::super::tests::{MINUTE, dump, name, open, write};
    use super::*;

    // Every file below a folder with its bytes.
    fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                all.extend(files(&path));
            } else {
                let bytes = std::fs::read(&path).expect("a file");
                all.insert(path, bytes);
            }
        }
        all
    }

    fn samples(read: &ReadOnly) -> usize {
        let selection = Selection {
            matchers: &[],
            mint: i64::MIN,
            maxt: i64::MAX,
        };
        let mut samples = Samples::default();
        for series in read.select(&selection).expect("series") {
            let mut one = Samples::default();
            series
                .source
                .read(i64::MIN, i64::MAX, &mut one)
                .expect("samples that can be read");
            samples.ts.extend(one.ts);
        }
        samples.ts.len()
    }

    #[test]
    fn a_folder_that_is_in_use_is_read_and_nothing_changes() {
        let dir = TempDir::new().unwrap();
        let tsdb = open(&dir);
        for minute in 0..600 {
            write(&tsdb, &name("a"), minute * MINUTE, minute as f64).unwrap();
            write(&tsdb, &name("b"), minute * MINUTE, 7.0).unwrap();
            if minute == 450 {
                tsdb.maintain();
            }
        }
        assert!(!tsdb.blocks().is_empty());
        // What an interrupted run left is the server's to remove.
        std::fs::create_dir(dir.path().join("01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp-for-creation")).unwrap();
        let before = files(dir.path());
        let read = ReadOnly::open(dir.path(), Arc::new(RealFs)).unwrap();
        let expected: usize = dump(&tsdb).values().map(Vec::len).sum();
        assert_eq!((samples(&read), expected), (1200, 1200));
        assert!(read.broken_blocks().is_empty() && read.damage().is_empty());
        assert_eq!(files(dir.path()), before);
        assert!(dir.path().join("01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp-for-creation").is_dir());
    }

    #[test]
    fn a_torn_log_is_read_up_to_the_damage_which_is_told() {
        let dir = TempDir::new().unwrap();
        let tsdb = open(&dir);
        for minute in 0..10 {
            write(&tsdb, &name("a"), minute * MINUTE, minute as f64).unwrap();
        }
        let log = dir.path().join(LOG_FOLDER);
        let segment = std::fs::read_dir(&log).unwrap().flatten().next().unwrap().path();
        let bytes = std::fs::read(&segment).unwrap();
        std::fs::write(&segment, &bytes[..bytes.len() - 3]).unwrap();
        let read = ReadOnly::open(dir.path(), Arc::new(RealFs)).unwrap();
        assert_eq!(samples(&read), 9);
        assert_eq!(read.damage().len(), 1, "{:?}", read.damage());
    }
}
