//! Merging blocks, and what an operator asks for: deleting series, clearing up after deletions, snapshots.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arc_swap::ArcSwap;
use cupola_block::{Block, BlockError, BlockFormat, BlockMeta, BlockSpec, Merging, Ulid, merge_blocks_with};
use cupola_env::Vfs;
use cupola_model::Matcher;
use cupola_storage::StorageError;
use tracing::{error, info, warn};

use super::plan::{plan, ranges};
use super::tiers::{self, Tier};
use super::{Inner, Tsdb};
use crate::options::Options;

// Upstream's longest block, where the retention does not make it shorter.
const MAX_BLOCK_MS: i64 = 31 * 24 * 3_600_000;

// Blocks that could not be merged are left alone for so long: reading a month of data in vain once a minute helps nobody.
pub(super) const RETRY_AFTER_MS: i64 = 10 * 60_000;

/// A set of blocks: the raw ones, or those of one tier.
pub(super) struct Place<'a> {
    pub(super) dir: &'a Path,
    pub(super) blocks: &'a ArcSwap<Vec<Arc<Block>>>,
    // Whether chunks are short and become longer by merging.
    pub(super) joins_chunks: bool,
    // What merged blocks are written as.
    pub(super) format: BlockFormat,
}

impl Place<'_> {
    fn merging(&self) -> Merging<'static> {
        Merging {
            joins_chunks: self.joins_chunks,
            ..Merging::default()
        }
    }
}

/// How long a merged block may become: what was asked for, else a tenth of the retention.
pub(super) fn longest_block(asked_ms: i64, retention_ms: i64) -> i64 {
    match (asked_ms, retention_ms) {
        (1.., _) => asked_ms,
        (_, 1..) => MAX_BLOCK_MS.min(retention_ms / 10),
        _ => MAX_BLOCK_MS,
    }
}

impl Inner {
    pub(super) fn raw(&self) -> Place<'_> {
        Place {
            dir: &self.options.dir,
            blocks: &self.blocks,
            joins_chunks: false,
            format: self.options.block_format,
        }
    }

    /// Merges blocks, also those of tiers, until the plan has nothing left. A set that cannot be merged is logged and
    /// stays as it is; others go on, and it is tried again later.
    pub(super) fn compact_blocks(&self) {
        let Options {
            max_block_ms,
            retention_ms,
            block_ms,
            ..
        } = self.options;
        let longest = longest_block(max_block_ms, retention_ms);
        self.compact(&self.raw(), &ranges(block_ms.max(1), longest));
        for tier in &self.tiers {
            self.compact(&tier.place(), &tier.ranges(block_ms));
        }
    }

    fn compact(&self, place: &Place<'_>, ranges: &[i64]) {
        while !self.closing.load(Ordering::Relaxed) {
            let now = self.clock.now_ms();
            let blocks = place.blocks.load_full();
            let mut failed = self.unmergeable.lock();
            // A clock that was set back makes nobody wait for longer.
            failed.retain(|_, at| (0..RETRY_AFTER_MS).contains(&now.saturating_sub(*at)));
            // A block that a Prometheus made of samples out of order may be newer than the floor. Merged with others it would
            // pass for one that has everything up to its end, and what the log has of these times would not be read again.
            let floor = self.head.floor();
            let metas: Vec<BlockMeta> = blocks
                .iter()
                .filter(|block| block.meta().max_time <= floor)
                .map(|block| {
                    let mut meta = block.meta().clone();
                    meta.compaction.failed |= failed.contains_key(&meta.ulid);
                    meta
                })
                .collect();
            drop(failed);
            let planned = plan(&metas, ranges);
            if planned.is_empty() {
                break;
            }
            // In the order in which they are read, so that of samples of one moment the same stays.
            let sources: Vec<Arc<Block>> = blocks
                .iter()
                .filter(|b| planned.contains(&b.meta().ulid))
                .cloned()
                .collect();
            self.metrics.compactions.inc();
            let merged = |ulid, metas: &[&BlockMeta]| BlockSpec::merged(ulid, metas).in_format(place.format);
            match self.replace(place, &sources, merged, &place.merging()) {
                Ok(_) => {}
                Err(BlockError::Stopped) => break,
                Err(error) => {
                    self.metrics.compactions_failed.inc();
                    let blocks = names(&sources);
                    error!(%error, blocks, "cannot merge blocks; they stay as they are, it is tried again");
                    self.unmergeable
                        .lock()
                        .extend(planned.into_iter().map(|ulid| (ulid, now)));
                }
            }
            // Merging a month takes a while; the head is not to grow meanwhile.
            self.cut_due_blocks();
        }
    }

    /// Puts one block, merged of `sources`, in their place and gives its name; none where nothing is left of them.
    pub(super) fn replace(
        &self,
        place: &Place<'_>,
        sources: &[Arc<Block>],
        spec: impl FnOnce(Ulid, &[&BlockMeta]) -> BlockSpec,
        merging: &Merging<'_>,
    ) -> Result<Option<Ulid>, BlockError> {
        let metas: Vec<&BlockMeta> = sources.iter().map(|block| block.meta()).collect();
        let mut end = i64::MIN;
        let mut overlaps = false;
        for meta in &metas {
            overlaps |= meta.min_time < end;
            end = end.max(meta.max_time);
        }
        if overlaps {
            self.metrics.vertical_compactions.inc();
        }
        let dir = place.dir;
        let spec = spec(self.new_ulid(), &metas);
        let refs: Vec<&Block> = sources.iter().map(|block| &**block).collect();
        let keep_going = || !self.closing.load(Ordering::Relaxed);
        let begin = Instant::now();
        let written = merge_blocks_with(&refs, &self.vfs, dir, spec, &keep_going, merging);
        self.metrics.compaction_seconds.observe(begin.elapsed().as_secs_f64());
        let merged = match written? {
            Some(meta) => Some(self.open_new(&meta.dir_in(dir))?),
            None => None,
        };
        let gone: BTreeSet<Ulid> = metas.iter().map(|meta| meta.ulid).collect();
        let name = merged.as_ref().map(|block| block.meta().ulid);
        let blocks = names(sources);
        match name {
            Some(into) => info!(blocks, %into, "blocks written anew as one"),
            None => info!(blocks, "nothing is left of blocks"),
        }
        let rest = place.blocks.load();
        let rest = rest.iter().filter(|b| !gone.contains(&b.meta().ulid)).cloned();
        set_blocks(place, rest.chain(merged.map(Arc::new)).collect());
        self.delete_blocks(sources, "merged into another");
        Ok(name)
    }

    /// Opens the block that was just written. One that cannot be opened goes, or it would be there at the next start.
    pub(super) fn open_new(&self, dir: &Path) -> Result<Block, BlockError> {
        let opened = Block::open(&self.vfs, dir);
        match &opened {
            Ok(_) => self.metrics.reloads.inc(),
            Err(_) => {
                self.metrics.reloads_failed.inc();
                self.delete_folder(dir, "written and cannot be read");
            }
        }
        opened
    }

    /// Shows these raw blocks to readers.
    pub(super) fn set_blocks(&self, blocks: Vec<Arc<Block>>) {
        set_blocks(&self.raw(), blocks);
    }

    /// Deletes the folders of blocks that readers do not see any more. What cannot be deleted is logged and tried again.
    pub(super) fn delete_blocks(&self, blocks: &[Arc<Block>], why: &'static str) {
        for block in blocks {
            self.delete_folder(block.dir(), why);
        }
    }

    fn delete_folder(&self, dir: &Path, why: &'static str) {
        match remove_block(&*self.vfs, dir) {
            Ok(()) => info!(block = %dir.display(), why, "block deleted"),
            Err(error) => {
                warn!(block = %dir.display(), why, %error, "cannot delete a block; it is tried again");
                self.undeleted.lock().push(dir.to_path_buf());
            }
        }
    }

    /// Deletes what could not be deleted before.
    pub(super) fn delete_again(&self) -> io::Result<()> {
        let mut undeleted = self.undeleted.lock();
        if !undeleted.is_empty() {
            sync_names(&*self.vfs, &self.options.dir)?;
        }
        while let Some(dir) = undeleted.last() {
            remove_block(&*self.vfs, dir)?;
            info!(block = %dir.display(), "block deleted at last");
            undeleted.pop();
        }
        Ok(())
    }

    fn delete_series(&self, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Result<(), StorageError> {
        if self.is_half_imported.load(Ordering::Relaxed) {
            return Err(StorageError::Io {
                what: "delete what Prometheus's log may have".to_owned(),
                source: io::Error::other(
                    "it could not be read to its end and is read again at the next start, which would bring back what is deleted: \
                     make its files readable or move them away, and start again",
                ),
            });
        }
        // The log must not have what blocks have: read again, it would bring back what is deleted of them. So would
        // Prometheus's, which is read behind it as long as it is not noted that it was taken over.
        let has_imported = || self.imported.lock().is_some();
        let is_due = self.log_overlaps.load(Ordering::Relaxed) || has_imported();
        if is_due && (!self.checkpoint() || has_imported()) {
            return Err(StorageError::Io {
                what: "write a checkpoint before deleting".to_owned(),
                source: io::Error::other("see the log of the server for the reason"),
            });
        }
        // Nor must there be a block that nobody sees until the next start.
        self.delete_again().map_err(|source| StorageError::Io {
            what: "delete a block that was replaced".to_owned(),
            source,
        })?;
        let of_blocks = self.delete_in(&self.raw(), sets, mint, maxt);
        let mut of_tiers = Ok(());
        for tier in &self.tiers {
            let (mint, maxt) = tier.widen(mint, maxt);
            of_tiers = of_tiers.and(self.delete_in(&tier.place(), sets, mint, maxt));
        }
        let of_head = self.head.delete(sets, mint, maxt).and_then(|()| {
            self.head.sync().map_err(|source| StorageError::Io {
                what: "sync the log of a deletion".to_owned(),
                source,
            })?;
            // Deleted again after it failed, it finds nothing left in the head, while the log of it is in doubt.
            if self.head.is_in_doubt() && !self.checkpoint() {
                return Err(StorageError::Io {
                    what: "write the checkpoint that makes up for a failed sync".to_owned(),
                    source: io::Error::other("see the log of the server for the reason"),
                });
            }
            Ok(())
        });
        of_blocks.and(of_tiers).and(of_head)
    }

    fn delete_in(&self, place: &Place<'_>, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Result<(), StorageError> {
        let mut first_error = None;
        let mut blocks: Vec<Arc<Block>> = Vec::new();
        let mut oldest: Option<i64> = None;
        for block in place.blocks.load().iter() {
            match block.delete(sets, mint, maxt) {
                Ok(Some(anew)) => {
                    let touched = mint.max(block.meta().min_time);
                    oldest = Some(oldest.map_or(touched, |oldest| oldest.min(touched)));
                    blocks.push(Arc::new(anew));
                }
                Ok(None) => blocks.push(block.clone()),
                Err(error) => {
                    error!(block = %block.meta().ulid, %error, "cannot delete series of a block");
                    first_error.get_or_insert(error);
                    blocks.push(block.clone());
                }
            }
        }
        set_blocks(place, blocks);
        if let Some(oldest) = oldest {
            self.head.note_change(oldest);
        }
        first_error.map_or(Ok(()), |error| Err(error.into()))
    }

    fn clean_tombstones(&self) -> Result<(), StorageError> {
        let mut first_error = None;
        let tiers = self.tiers.iter().map(Tier::place);
        for place in std::iter::once(self.raw()).chain(tiers) {
            for block in place.blocks.load_full().iter().filter(|b| !b.tombstones().is_empty()) {
                let rewritten = |ulid, _: &[&BlockMeta]| BlockSpec::rewritten(ulid, block.meta());
                match self.replace(&place, std::slice::from_ref(block), rewritten, &place.merging()) {
                    Ok(_) => {}
                    Err(BlockError::Stopped) => return Err(BlockError::Stopped.into()),
                    Err(error) => {
                        error!(block = %block.meta().ulid, %error, "cannot rewrite a block without what is deleted");
                        first_error.get_or_insert(error);
                    }
                }
            }
        }
        first_error.map_or(Ok(()), |error| Err(error.into()))
    }
}

impl Tsdb {
    /// Deletes the samples from `mint` to `maxt` (milliseconds, both inclusive) of each series that satisfies all
    /// matchers of one of `sets`. They are in no answer from then on, also after a crash; [`Tsdb::clean_tombstones`] or
    /// merging frees the space that they take in blocks. Of downsampled tiers goes each window that has a part in it. Waits for running maintenance.
    ///
    /// # Errors
    /// The first [`StorageError`], where a block cannot be read or its tombstones cannot be written; the other blocks
    /// are done all the same. Deleting again is harmless.
    pub fn delete_series(&self, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Result<(), StorageError> {
        let _running = self.inner.begin_maintenance();
        self.inner.delete_series(sets, mint, maxt)
    }

    /// Rewrites all blocks of which something is deleted, so that it is gone from the disk. Waits for running
    /// maintenance.
    ///
    /// # Errors
    /// The first [`StorageError`], where a block cannot be read or written; it stays as it is, the others are done all
    /// the same. [`StorageError::Stopped`] where the database is being closed.
    pub fn clean_tombstones(&self) -> Result<(), StorageError> {
        let _running = self.inner.begin_maintenance();
        let begin = Instant::now();
        let cleaned = self.inner.clean_tombstones();
        self.inner
            .metrics
            .tombstone_seconds
            .observe(begin.elapsed().as_secs_f64());
        cleaned
    }

    /// Makes a copy of all blocks, those of tiers included, in `dir`, by hard links, and with `with_head` of what is in the
    /// head as one more block. `dir` is a data folder afterwards that [`Tsdb::open`] opens, and Prometheus where no block
    /// is native; it is made if it is not there, and must be on the same file system. Waits for running maintenance.
    ///
    /// # Errors
    /// [`StorageError`] where a block cannot be linked or the head cannot be written; what was copied so far stays. With
    /// `with_head` also where the log could not be read to its end, as the head lacks what is only there; nothing is copied.
    pub fn snapshot(&self, dir: &Path, with_head: bool) -> Result<(), StorageError> {
        let inner = &self.inner;
        let _running = inner.begin_maintenance();
        if with_head && !inner.replay.is_done() {
            return Err(StorageError::Io {
                what: "copy the head".to_owned(),
                source: io::Error::other("the write-ahead log was not read to its end"),
            });
        }
        inner.vfs.create_dir_all(dir).map_err(|source| StorageError::Io {
            what: format!("create folder {}", dir.display()),
            source,
        })?;
        if with_head && let Some(mint) = inner.head.mint().into_iter().chain(inner.head.late_mint()).min() {
            let spec = BlockSpec::new(inner.new_ulid(), mint, inner.head.maxt().saturating_add(1));
            inner.write_block(dir, spec)?;
        }
        for block in inner.blocks.load().iter() {
            block.link_into(dir)?;
        }
        for tier in &inner.tiers {
            let to = dir
                .join(super::tiers::DIR_NAME)
                .join(tier.dir.file_name().unwrap_or_default());
            for block in tier.blocks.load().iter() {
                block.link_into(&to)?;
            }
        }
        Ok(())
    }
}

/// Opens a block that was just written. One that cannot be opened goes, or it would take its sources' place at the next
/// start.
pub(super) fn open_new(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Block, BlockError> {
    Block::open(vfs, dir).inspect_err(|_| {
        if let Err(error) = remove_block(&**vfs, dir) {
            warn!(dir = %dir.display(), %error, "cannot remove a block that was written and cannot be read");
        }
    })
}

/// Deletes a block's folder, or the rest of it; renames it first, so that an interrupted deletion leaves no half block under a block's name.
pub(super) fn remove_block(vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
    let doomed = dir.with_extension("tmp-for-deletion");
    if vfs.is_dir(dir) {
        vfs.rename(dir, &doomed)?;
    }
    if vfs.is_dir(&doomed) {
        vfs.remove_dir_all(&doomed)?;
    }
    Ok(())
}

/// Brings the names of all blocks to the device, before what they stand for is removed: the process that gave a block its
/// name may have died before it did so.
pub(super) fn sync_names(vfs: &dyn Vfs, data: &Path) -> io::Result<()> {
    let mut folders = [BlockFormat::Prometheus, BlockFormat::Native]
        .map(|f| f.folder(data))
        .to_vec();
    let tiers = data.join(tiers::DIR_NAME);
    // There are none where they cannot be listed.
    folders.extend(vfs.list(&tiers).unwrap_or_default().iter().map(|name| tiers.join(name)));
    for folder in folders {
        if vfs.is_dir(&folder) {
            vfs.sync_dir(&folder)?;
        }
    }
    Ok(())
}

fn set_blocks(place: &Place<'_>, mut blocks: Vec<Arc<Block>>) {
    sort(&mut blocks);
    place.blocks.store(Arc::new(blocks));
}

/// The order in which blocks are read.
pub(super) fn sort(blocks: &mut [Arc<Block>]) {
    blocks.sort_by_key(|b| (b.meta().min_time, b.meta().max_time, b.meta().ulid));
}

/// Takes the blocks out of `blocks` that were merged into another of them: an interrupted run did not get to deleting
/// them. Gives them.
pub(super) fn take_superseded(blocks: &mut Vec<Arc<Block>>) -> Vec<Arc<Block>> {
    let merged = superseded(blocks.iter().map(|block| block.meta()));
    let (gone, kept) = std::mem::take(blocks)
        .into_iter()
        .partition(|block| merged.contains(&block.meta().ulid));
    *blocks = kept;
    gone
}

/// What was merged into these blocks or rewritten as one of them.
pub(super) fn superseded<'a>(blocks: impl Iterator<Item = &'a BlockMeta>) -> BTreeSet<Ulid> {
    let parents_of = |meta: &'a BlockMeta| {
        let parents = meta.compaction.parents.iter().map(|parent| parent.ulid);
        parents.filter(|ulid| *ulid != meta.ulid)
    };
    blocks.flat_map(parents_of).collect()
}

fn names(blocks: &[Arc<Block>]) -> String {
    let names: Vec<String> = blocks.iter().map(|block| block.meta().ulid.to_string()).collect();
    names.join(" ")
}
