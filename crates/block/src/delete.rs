//! What is done to a block that exists: deleting samples of it, and linking it into another folder.

use std::path::Path;

use cupola_model::Matcher;

use crate::list::read_meta;
use crate::starts;
use crate::store::segment_kinds;
use crate::tombstones::{self, Interval};
use crate::{Block, BlockError, file, write_tombstones};

impl Block {
    /// Deletes the samples from `mint` to `maxt` (milliseconds, both inclusive) of each series that satisfies all
    /// matchers of one of `sets`: notes them in the block's tombstones, beside those already there. Gives the block
    /// opened anew, or `None` where it holds none of these samples; this handle goes on with the old tombstones.
    ///
    /// After a crash at any moment either the old or the new tombstones are there.
    ///
    /// # Errors
    /// [`BlockError`] where the index cannot be read or the files cannot be written.
    pub fn delete(&self, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Result<Option<Self>, BlockError> {
        if mint > maxt || !self.meta().overlaps(mint, maxt) {
            return Ok(None);
        }
        let mut tombstones = self.tombstones().clone();
        for matchers in sets {
            self.for_each_series(matchers, |series, chunks| {
                // As upstream: the interval is cut to the time of the series in this block, and a series that has no
                // chunk in it is left alone.
                let times = chunks.iter().filter(|c| c.mint <= maxt && mint <= c.maxt);
                let first = times.clone().map(|c| c.mint).min();
                if let Some((first, last)) = first.zip(times.map(|c| c.maxt).max()) {
                    let deleted = Interval {
                        mint: mint.max(first),
                        maxt: maxt.min(last),
                    };
                    tombstones.add(series, deleted);
                }
            })?;
        }
        if tombstones == *self.tombstones() {
            return Ok(None);
        }
        write_tombstones(&**self.disk(), self.dir(), &tombstones)?;
        // From the disk: others may have changed it.
        let mut meta = read_meta(&**self.disk(), self.dir())?;
        meta.stats.num_tombstones = tombstones.len() as u64;
        let json = meta.to_json().map_err(|e| BlockError::Meta {
            block: meta.ulid.to_string().into(),
            reason: format!("cannot be written: {e}"),
        })?;
        file::replace(&**self.disk(), &self.dir().join("meta.json"), &json)?;
        Self::open(self.disk().shared(), self.dir()).map(Some)
    }

    /// Makes a second block of the same name in the data folder `dir` out of hard links: costs no space, and stays when
    /// this one is deleted. `dir` is made if it is not there; it must be on the same file system.
    ///
    /// # Errors
    /// [`BlockError::Io`]; also where the block is already there.
    pub fn link_into(&self, dir: &Path) -> Result<(), BlockError> {
        let name = self.meta().ulid.to_string();
        let vfs = &**self.disk();
        let home = self.meta().format().folder(dir);
        let (temporary, target) = (home.join(format!("{name}.tmp-for-creation")), home.join(&name));
        file::create_dir_all(vfs, &home)?;
        file::sync_dir(vfs, dir)?;
        file::create_dir(vfs, &temporary)?;
        let linked = self
            .link_files(&temporary)
            .and_then(|()| file::rename(vfs, &temporary, &target));
        if linked.is_err() {
            // The folder is ours and unfinished; what went wrong is told by the first error.
            let _ = file::remove_dir_all(vfs, &temporary);
        }
        linked
    }

    fn link_files(&self, to: &Path) -> Result<(), BlockError> {
        let vfs = &**self.disk();
        for name in ["meta.json", "index", tombstones::FILE_NAME, starts::FILE_NAME] {
            let from = self.dir().join(name);
            // A block without tombstones may lack their file, and most have no starts.
            let is_optional = [tombstones::FILE_NAME, starts::FILE_NAME].contains(&name);
            if !is_optional || file::len_if_there(vfs, &from) > 0 {
                file::link(vfs, &from, &to.join(name))?;
            }
        }
        for kind in segment_kinds(self.meta().format()) {
            let (from, to_segments) = (self.dir().join(kind.folder), to.join(kind.folder));
            file::create_dir(vfs, &to_segments)?;
            for (name, is_dir) in file::list(vfs, &from)? {
                if !is_dir {
                    file::link(vfs, &from.join(&name), &to_segments.join(&name))?;
                }
            }
            file::sync_dir(vfs, &to_segments)?;
        }
        file::sync_dir(vfs, to)
    }
}
