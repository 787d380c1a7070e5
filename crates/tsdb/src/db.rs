//! The database as a whole: opening, reading over blocks and head, cutting and merging blocks, retention, deletion.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use cupola_block::{Block, BlockMeta, Ulid};
use cupola_env::{Clock, Vfs};
use cupola_metrics::{Kind, Registry};
use cupola_model::{Labels, Matcher};
use cupola_storage::{
    Appendable, Appender, Changes, Coarse, Hints, Metadata, Queryable, Selection, Series, SeriesExemplars,
    StorageError, TierUse, Version, merge_series,
};
use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;
use tracing::warn;

use crate::head::{Cardinality, Head, HeadStats, RefusedSeries};
use crate::lock::{FolderLock, LockError};
use crate::metrics::Metrics;
use crate::options::{Options, SeriesLimits};
use crate::wal::{Backlog, Wal};

mod compact;
mod convert;
mod cut;
mod import;
mod layers;
mod log_only;
mod plan;
mod read_only;
mod replay;
mod retention;
mod spans;
mod tail;
mod thin;
mod tiers;

pub use convert::{Conversion, ConvertError, Converted, convert};
use cut::{block_info, open_blocks};
use import::Imported;
use log_only::Ages;
pub use read_only::ReadOnly;
use replay::Progress;
pub use replay::ReplayProgress;
use tail::Tails;
use tiers::Tier;

const LOG_FOLDER: &str = "cupola-wal";
// The hint of blocks that were cut for samples that came out of order.
const OUT_OF_ORDER_HINT: &str = "from-out-of-order";

// The hint of blocks past the retention, of which only series that a rule keeps longer are left.
const PARTIAL_HINT: &str = "cupola-kept-by-rule";

/// Why a data folder cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("data folder {0}: another process holds it (is another cupola or prometheus running on it?)")]
    Held(PathBuf),
    /// It cannot be made, read or written.
    #[error("data folder {dir}: {what}: {source}")]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// One block, for status pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its ULID.
    pub ulid: String,
    /// Oldest sample, milliseconds.
    pub mint: i64,
    /// One past the newest sample, milliseconds.
    pub maxt: i64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Number of series.
    pub series: u64,
    /// Number of samples.
    pub samples: u64,
    /// How often its samples were merged, plus one.
    pub level: u32,
}

/// An open database. Cloning shares it.
#[derive(Clone)]
pub struct Tsdb {
    inner: Arc<Inner>,
}

// How long samples stay, and how much of them; 0 for no limit.
#[derive(Debug, Clone, Copy)]
struct Retention {
    ms: i64,
    bytes: u64,
    percent: f64,
}

struct Inner {
    options: Options,
    clock: Arc<dyn Clock>,
    vfs: Arc<dyn Vfs>,
    head: Arc<Head>,
    blocks: ArcSwap<Vec<Arc<Block>>>,
    // The finest first.
    tiers: Vec<Tier>,
    // Of reading the log. Whoever needs the head whole waits for it first.
    replay: Progress,
    // Held while blocks are cut, merged or deleted, so that maintenance never runs twice at once.
    maintenance: Mutex<()>,
    // Blocks that could not be merged, and when that was, milliseconds.
    unmergeable: Mutex<BTreeMap<Ulid, i64>>,
    // Folders of blocks that nobody sees any more and that could not be deleted.
    undeleted: Mutex<Vec<PathBuf>>,
    // As the options say at first.
    retention: Mutex<Retention>,
    // How many limits of retention each block was looked at for.
    ruled: Mutex<BTreeMap<Ulid, usize>>,
    // The log still has what blocks have by now.
    checkpoint_due: AtomicBool,
    // The log may have what blocks have: from the start on, and while one is cut.
    log_overlaps: AtomicBool,
    // What was taken over of Prometheus's log, until it is noted that it is not to be read again.
    imported: Mutex<Option<Imported>>,
    // Some of Prometheus's log may be in the head although reading it failed, and it is read again at the next start.
    is_half_imported: AtomicBool,
    // Merging ends early, and so does reading logs.
    closing: AtomicBool,
    // Who reads along with the log.
    tails: Tails,
    // Where there is only a log.
    ages: Ages,
    metrics: Arc<Metrics>,
    _lock: FolderLock,
}

impl Tsdb {
    /// Opens the folder: takes its lock, opens its blocks, replays the log.
    ///
    /// A block or log segment that is damaged is reported and left as it is; the rest is served.
    ///
    /// # Errors
    /// [`OpenError`] where another process holds the folder, or it cannot be made, read or written.
    pub fn open(
        options: Options,
        clock: Arc<dyn Clock>,
        vfs: Arc<dyn Vfs>,
        registry: &Registry,
    ) -> Result<Self, OpenError> {
        let (tsdb, backlog) = Self::open_log(options, clock, vfs, registry)?;
        tsdb.inner.replay(&backlog);
        Ok(tsdb)
    }

    /// As [`Tsdb::open`], but a thread replays the log. Until it is done ([`Tsdb::replay_progress`]), samples are taken
    /// and questions answered, from blocks and what is new: see [`Queryable::incomplete`]. Whatever needs the whole head
    /// (maintenance, deletion, a snapshot) waits.
    ///
    /// # Errors
    /// As [`Tsdb::open`], and where no thread can be started.
    pub fn open_in_background(
        options: Options,
        clock: Arc<dyn Clock>,
        vfs: Arc<dyn Vfs>,
        registry: &Registry,
    ) -> Result<Self, OpenError> {
        let dir = options.dir.clone();
        let (tsdb, backlog) = Self::open_log(options, clock, vfs, registry)?;
        let inner = tsdb.inner.clone();
        tsdb.inner
            .replay
            .run(move || inner.replay(&backlog))
            .map_err(|source| OpenError::Io {
                dir,
                what: "no thread can be started to read its write-ahead log",
                source,
            })?;
        Ok(tsdb)
    }

    fn open_log(
        options: Options,
        clock: Arc<dyn Clock>,
        vfs: Arc<dyn Vfs>,
        registry: &Registry,
    ) -> Result<(Self, Backlog), OpenError> {
        let dir = options.dir.clone();
        let io = |what| {
            let dir = dir.clone();
            move |source| OpenError::Io { dir, what, source }
        };
        vfs.create_dir_all(&dir).map_err(io("cannot be made"))?;
        let lock = if options.no_lockfile {
            FolderLock::none()
        } else {
            lock(&dir)?
        };
        let metrics = Arc::new(Metrics::new(registry));
        let mut blocks = open_blocks(&dir, &vfs, &metrics.blocks_left_out).map_err(io("cannot be listed"))?;
        let mut superseded = compact::take_superseded(&mut blocks);
        let mut tiers = Vec::new();
        for (tier, gone) in tiers::open_tiers(&dir, &options.tiers, &vfs, &metrics.blocks_left_out)
            .map_err(io("its tiers cannot be listed"))?
        {
            superseded.extend(gone);
            tiers.push(tier);
        }
        let (failed, seconds) = (metrics.fsync_failed.clone(), metrics.fsync_seconds.clone());
        let (wal, backlog) = Wal::open(vfs.clone(), &dir.join(LOG_FOLDER), failed, seconds)
            .map_err(io("its write-ahead log cannot be opened"))?;
        let head = Head::new(Some(wal), written_until(&blocks), &options, metrics.clone());
        let inner = Inner {
            ages: Ages::default(),
            tails: Tails::new(&options, head.log_end().unwrap_or_default(), registry),
            retention: Mutex::new(Retention {
                ms: options.retention_ms,
                bytes: options.retention_bytes,
                percent: options.retention_percent,
            }),
            options,
            clock,
            vfs,
            head: Arc::new(head),
            replay: Progress::of(&backlog),
            blocks: ArcSwap::from_pointee(blocks),
            tiers,
            maintenance: Mutex::new(()),
            unmergeable: Mutex::default(),
            undeleted: Mutex::default(),
            ruled: Mutex::default(),
            checkpoint_due: AtomicBool::new(false),
            log_overlaps: AtomicBool::new(true),
            imported: Mutex::default(),
            is_half_imported: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            metrics,
            _lock: lock,
        };
        match compact::sync_names(&*inner.vfs, &inner.options.dir) {
            Ok(()) => inner.delete_blocks(&superseded, "merged into another"),
            Err(error) => {
                warn!(%error, "cannot sync the data folder; blocks that were merged are deleted later");
                let dirs = superseded.iter().map(|block| block.dir().to_path_buf());
                inner.undeleted.lock().extend(dirs);
            }
        }
        let tsdb = Self { inner: Arc::new(inner) };
        tsdb.register(registry);
        if tsdb.inner.options.log_only.is_some() {
            log_only::register(&tsdb.inner, registry);
        }
        Ok((tsdb, backlog))
    }

    fn register(&self, registry: &Registry) {
        // The registry outlives nothing of ours: a weak handle keeps the data folder's lock from living on in it.
        let gauge = |name: &str, help: &str, read: fn(&Inner) -> f64| {
            let inner = Arc::downgrade(&self.inner);
            let name = format!("prometheus_tsdb_{name}");
            registry.computed(&name, help, Kind::Gauge, move || {
                inner.upgrade().map_or(f64::NAN, |inner| read(&inner))
            });
        };
        gauge("head_series", "Total number of series in the head block.", |i| {
            i.head.stats().series as f64
        });
        gauge("head_chunks", "Total number of chunks in the head block.", |i| {
            i.head.stats().chunks as f64
        });
        gauge(
            "head_min_time",
            "Minimum time bound of the head block, in milliseconds.",
            |i| i.head.mint().unwrap_or(0) as f64,
        );
        gauge(
            "head_max_time",
            "Maximum timestamp of the head block, in milliseconds.",
            |i| i.head.maxt().max(0) as f64,
        );
        gauge("head_min_time_seconds", "Minimum time bound of the head block.", |i| {
            i.head.mint().unwrap_or(0) as f64 / 1000.0
        });
        gauge("head_max_time_seconds", "Maximum timestamp of the head block.", |i| {
            i.head.maxt().max(0) as f64 / 1000.0
        });
        gauge("blocks_loaded", "Number of currently loaded data blocks.", |i| {
            i.blocks.load().len() as f64
        });
        gauge(
            "storage_blocks_bytes",
            "The number of bytes that are currently used for local storage by all blocks.",
            |i| i.blocks.load().iter().map(|b| b.size_bytes()).sum::<u64>() as f64,
        );
        gauge(
            "exemplar_exemplars_in_storage",
            "Number of exemplars currently in circular storage.",
            |i| i.head.exemplar_stats().0 as f64,
        );
        gauge(
            "exemplar_series_with_exemplars_in_storage",
            "Number of series with exemplars currently in circular storage.",
            |i| i.head.exemplar_stats().1 as f64,
        );
        gauge(
            "exemplar_last_exemplars_timestamp_seconds",
            "The timestamp of the oldest exemplar that is stored: how far back exemplars reach.",
            |i| i.head.oldest_exemplar().unwrap_or(0) as f64 / 1000.0,
        );
        gauge(
            "exemplar_max_exemplars",
            "Total number of exemplars the exemplar storage can store, resizeable.",
            |i| i.head.exemplar_stats().2 as f64,
        );
        gauge(
            "lowest_timestamp_seconds",
            "Lowest timestamp value stored in the database.",
            |i| {
                let blocks = i.blocks.load().iter().map(|b| b.meta().min_time).min();
                blocks.or(i.head.mint()).unwrap_or(0) as f64 / 1000.0
            },
        );
        gauge(
            "lowest_timestamp",
            "Lowest timestamp value stored in the database, in milliseconds.",
            |i| {
                let blocks = i.blocks.load().iter().map(|b| b.meta().min_time).min();
                blocks.or(i.head.mint()).unwrap_or(0) as f64
            },
        );
        gauge(
            "retention_limit_bytes",
            "Max number of bytes to be retained in the tsdb blocks, configured 0 means disabled.",
            |i| i.retention.lock().bytes as f64,
        );
        gauge(
            "retention_limit_percentage",
            "Max percentage of total storage space to be retained in the tsdb blocks, configured 0 means disabled.",
            |i| i.retention.lock().percent,
        );
        gauge(
            "retention_limit_seconds",
            "How long to retain samples in storage.",
            |i| i.retention.lock().ms as f64 / 1000.0,
        );
        gauge(
            "wal_segment_current",
            "Write log segment index that TSDB is currently writing to.",
            |i| i.head.wal_segment() as f64,
        );
        let inner = Arc::downgrade(&self.inner);
        registry.computed(
            "cupola_tsdb_wal_in_doubt",
            "Whether what was acknowledged may be missing after a power cut because syncing the log failed: 1 until a checkpoint makes up for it.",
            Kind::Gauge,
            move || inner.upgrade().map_or(f64::NAN, |inner| f64::from(u8::from(inner.head.is_in_doubt()))),
        );
        gauge("wal_storage_size_bytes", "Size of the write log directory.", |i| {
            wal_size(&*i.vfs, &i.options.dir.join(LOG_FOLDER)) as f64
        });
        let inner = Arc::downgrade(&self.inner);
        registry.computed(
            "cupola_tsdb_tier_bytes",
            "The number of bytes that are currently used by all blocks of downsampled tiers.",
            Kind::Gauge,
            move || {
                let tiers = |inner: Arc<Inner>| inner.tiers.iter().map(Tier::size_bytes).sum::<u64>();
                inner.upgrade().map_or(f64::NAN, |inner| tiers(inner) as f64)
            },
        );
        let inner = Arc::downgrade(&self.inner);
        registry.computed(
            "cupola_tsdb_wal_written_bytes_total",
            "Total number of bytes appended to the write-ahead log.",
            Kind::Counter,
            move || inner.upgrade().map_or(f64::NAN, |inner| inner.head.wal_bytes() as f64),
        );
    }

    /// Brings what was appended to the device. To be called about once a second; it bounds what a power cut may cost.
    /// Whether all that was acknowledged so far is there: once syncing has failed it is in doubt until [`Tsdb::maintain`]
    /// could write a checkpoint.
    pub fn sync(&self) -> bool {
        self.inner.head.sync_or_doubt();
        !self.inner.head.is_in_doubt()
    }

    /// Cuts blocks that are due, makes what tiers lack, deletes what is older than the retention, and merges blocks. To be
    /// called about once a minute; takes seconds when there is something to do, minutes when much is merged.
    pub fn maintain(&self) {
        let _running = self.inner.begin_maintenance();
        if !self.inner.replay.is_done() {
            // Reading the log broke off. What is only there must not be taken for older than the head.
            return;
        }
        if let Some(only) = &self.inner.options.log_only {
            self.inner.maintain_log(only);
            return;
        }
        if let Err(error) = self.inner.delete_again() {
            warn!(%error, "a block that was replaced can still not be deleted");
        }
        self.inner.metrics.compactions_triggered.inc();
        self.inner.cut_due_blocks();
        if self.inner.head.is_in_doubt() {
            self.inner.checkpoint();
        }
        self.inner.release_log();
        self.inner.make_tiers(None);
        self.inner.apply_retention();
        self.inner.compact_blocks();
    }

    /// Writes a checkpoint and ends writing. Reading goes on as long as a clone lives.
    pub fn close(&self) {
        self.inner.closing.store(true, Ordering::Relaxed);
        let _running = self.inner.begin_maintenance();
        self.inner.checkpoint();
        self.sync();
        self.inner.head.close();
    }

    /// How far reading the log is.
    #[must_use]
    pub fn replay_progress(&self) -> ReplayProgress {
        self.inner.replay.get()
    }

    /// Waits until the log is replayed, or [`Tsdb::close`] ended that.
    pub fn wait_for_replay(&self) {
        self.inner.replay.wait();
    }

    /// The data folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.options.dir
    }

    /// Sets how much older than the newest sample one that comes out of order may be; milliseconds, 0 refuses all. For a
    /// changed configuration.
    pub fn set_out_of_order_window(&self, window_ms: i64) {
        self.inner.head.set_out_of_order_window(window_ms);
    }

    /// Sets how many exemplars are kept, the newest; 0 keeps none. For a changed configuration.
    pub fn set_max_exemplars(&self, max: usize) {
        self.inner.head.set_max_exemplars(max);
    }

    /// Figures of the head.
    #[must_use]
    pub fn head_stats(&self) -> HeadStats {
        self.inner.head.stats()
    }

    /// Which series were refused under which limit, most refusals first.
    #[must_use]
    pub fn refused_series(&self) -> Vec<RefusedSeries> {
        self.inner.head.refused()
    }

    /// The `limit` largest names and labels of the head.
    #[must_use]
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        self.inner.head.cardinality(limit)
    }

    /// How many series there may be.
    #[must_use]
    pub fn series_limits(&self) -> SeriesLimits {
        self.inner.options.limits
    }

    /// Bytes of the write-ahead log, its checkpoint included.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        wal_size(&*self.inner.vfs, &self.inner.options.dir.join(LOG_FOLDER))
    }

    /// All blocks, oldest first.
    #[must_use]
    pub fn blocks(&self) -> Vec<BlockInfo> {
        self.inner.blocks.load().iter().map(|block| block_info(block)).collect()
    }

    /// How long samples stay: milliseconds and bytes, 0 for no limit.
    #[must_use]
    pub fn retention(&self) -> (i64, u64) {
        let retention = *self.inner.retention.lock();
        (retention.ms, retention.bytes)
    }

    /// Sets how long samples stay, how many bytes blocks may occupy, and how many percent of the disk; 0 for no limit. For
    /// a changed configuration; what is past it goes with the next [`Tsdb::maintain`]. How long merged blocks may become
    /// stays as it was when the database was opened, as upstream.
    pub fn set_retention(&self, ms: i64, bytes: u64, percent: f64) {
        *self.inner.retention.lock() = Retention { ms, bytes, percent };
    }

    /// The most percent of the disk that blocks may occupy, 0 for no limit.
    #[must_use]
    pub fn retention_percent(&self) -> f64 {
        self.inner.retention.lock().percent
    }

    fn overlapping(&self, selection: &Selection<'_>) -> Vec<Arc<Block>> {
        let blocks = self.inner.blocks.load();
        let in_range = |b: &&Arc<Block>| b.meta().min_time <= selection.maxt && b.meta().max_time > selection.mint;
        blocks.iter().filter(in_range).cloned().collect()
    }
}

fn lock(dir: &Path) -> Result<FolderLock, OpenError> {
    FolderLock::take(dir).map_err(|error| match error {
        LockError::Held => OpenError::Held(dir.to_path_buf()),
        LockError::Io(source) => OpenError::Io {
            dir: dir.to_path_buf(),
            what: "its lock file cannot be written",
            source,
        },
    })
}

// Up to when all samples that came in order are in blocks. Those of samples that came out of order say nothing of that.
fn written_until(blocks: &[Arc<Block>]) -> i64 {
    let is_in_order = |block: &&Arc<Block>| {
        let mut hints = block.meta().compaction.hints.iter();
        !hints.any(|hint| hint == OUT_OF_ORDER_HINT)
    };
    let ends = blocks.iter().filter(is_in_order).map(|block| block.meta().max_time);
    ends.max().unwrap_or(i64::MIN)
}

// Whether only some series of its time are left in a block.
fn is_partial(meta: &BlockMeta) -> bool {
    meta.compaction.hints.iter().any(|hint| hint == PARTIAL_HINT)
}

// What cannot be read counts nothing.
fn wal_size(vfs: &dyn Vfs, dir: &Path) -> u64 {
    let names = vfs.list(dir).unwrap_or_default();
    names.iter().filter_map(|name| vfs.len(&dir.join(name)).ok()).sum()
}

impl Inner {
    // Waits for the replay and for other maintenance.
    fn begin_maintenance(&self) -> MutexGuard<'_, ()> {
        self.replay.wait();
        self.maintenance.lock()
    }
}

impl Queryable for Tsdb {
    // In every answer the head comes first: while a block is put in place both have its samples, and a reader that asked
    // the blocks first could miss what moves in between.

    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        self.select_while(selection, &|| true)
    }

    fn select_while(&self, selection: &Selection<'_>, go_on: &dyn Fn() -> bool) -> Result<Vec<Series>, StorageError> {
        self.select_hinted(selection, Hints::default(), go_on)
    }

    fn select_hinted(
        &self,
        selection: &Selection<'_>,
        hints: Hints,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Series>, StorageError> {
        let mut parts = vec![self.inner.head.select_hinted(selection, hints, go_on)?];
        for block in self.overlapping(selection) {
            parts.push(block.select_while(selection, go_on)?);
        }
        Ok(merge_series(parts))
    }

    fn series(&self, selection: &Selection<'_>) -> Result<Vec<Labels>, StorageError> {
        let mut sets = self.inner.head.label_sets(selection);
        for block in self.overlapping(selection) {
            sets.extend(block.series(selection)?);
        }
        sets.extend(self.label_sets_of_tiers(selection)?);
        // Sorted parts, which the stable sort merges.
        sets.sort();
        sets.dedup();
        Ok(sets)
    }

    fn label_names(&self, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        let mut names: BTreeSet<String> = self.inner.head.label_names(selection).into_iter().collect();
        for block in self.overlapping(selection) {
            names.extend(block.label_names(selection)?);
        }
        for labels in self.label_sets_of_tiers(selection)? {
            names.extend(labels.iter().map(|(name, _)| name.to_owned()));
        }
        Ok(names.into_iter().collect())
    }

    fn label_values(&self, name: &str, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        let mut values: BTreeSet<String> = self.inner.head.label_values(name, selection).into_iter().collect();
        for block in self.overlapping(selection) {
            values.extend(block.label_values(name, selection)?);
        }
        for labels in self.label_sets_of_tiers(selection)? {
            values.extend(labels.get(name).map(str::to_owned));
        }
        Ok(values.into_iter().collect())
    }

    fn exemplars(&self, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Result<Vec<SeriesExemplars>, StorageError> {
        Ok(self.inner.head.select_exemplars(sets, mint, maxt))
    }

    fn metadata(&self) -> Vec<(String, Metadata)> {
        self.inner.head.metadata()
    }

    fn tiers(&self, mint: i64, maxt: i64, coarse: &Coarse) -> Option<TierUse> {
        self.tier_use(mint, maxt, coarse)
    }

    fn select_coarse(
        &self,
        selection: &Selection<'_>,
        coarse: &Coarse,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Series>, StorageError> {
        self.layers(selection, coarse, go_on)
    }

    fn incomplete(&self) -> Option<String> {
        let progress = self.inner.replay.get();
        (!progress.done).then(|| {
            format!(
                "the write-ahead log is still being read (segment {} of {} to {}); the newest samples before the start \
                 are missing here until that is done",
                progress.current, progress.min, progress.max
            )
        })
    }

    fn changes(&self, since: &Version) -> Option<Changes> {
        Some(self.inner.head.changes(since))
    }
}

impl Appendable for Tsdb {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(self.inner.head.appender())
    }
}

#[cfg(test)]
mod compact_tests;
#[cfg(test)]
mod convert_tests;
#[cfg(test)]
mod exemplar_tests;
#[cfg(test)]
mod hint_tests;
#[cfg(test)]
mod histogram_tests;
#[cfg(test)]
mod late_tests;
#[cfg(test)]
mod metadata_tests;
#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod start_tests;
#[cfg(test)]
mod tail_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tier_tests;
