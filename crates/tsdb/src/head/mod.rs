//! The head: the newest samples, in memory, in front of the log.
//!
//! One lock guards series and index. A batch is logged first, then applied under the write lock, so a reader sees all
//! of it or nothing; a reader holds the read lock only while it collects references to chunks, and decodes without it.
//!
//! Lock order: log, then head.

mod append;
mod cardinality;
mod exemplars;
mod histograms;
mod index;
mod late;
mod limits;
mod metadata;
mod newcomers;
mod past;
mod picks;
mod replay;
mod select;
mod series;
mod source;
mod starts;
mod times;

use std::collections::BTreeSet;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use cupola_model::{Labels, Matcher};
use cupola_storage::{
    ChangeLog, Changes, Hints, LogPosition, Metadata, Samples, Selection, Series, SeriesExemplars, Starts,
    StorageError, Version,
};
use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};
use tracing::warn;

use crate::metrics::Metrics;
use crate::options::{Options, SeriesLimits};
use crate::pieces::Pieces;
use crate::wal::{Held, LoggedChunk, LoggedDeletion, LoggedExemplar, LoggedStarts, Released, Wal};
use append::HeadAppender;
pub use cardinality::{Cardinality, Counts};
use exemplars::Ring;
use index::Index;
use late::Late;
use limits::Refusals;
pub use limits::RefusedSeries;
use metadata::Families;
use newcomers::Newcomers;
use picks::Picks;
pub(crate) use replay::Replay;
use series::MemSeries;
pub(crate) use source::{ChunkRef, HeadSource};
use times::TimeColumns;

pub(crate) struct Head {
    inner: RwLock<Inner>,
    wal: Mutex<Option<Wal>>,
    /// Samples older than this belong to blocks.
    floor: AtomicI64,
    /// Samples older than this are late, whatever their series holds. Not below the floor; changed under the log's lock,
    /// so that no batch is between its logging and its showing.
    open_from: AtomicI64,
    /// Until the end of the replay; changed under the log's lock.
    is_replaying: AtomicBool,
    /// Until the replay has ended, in whatever way: limits on series wait for it.
    is_log_awaited: AtomicBool,
    /// A sample this much older than the newest one is refused (Prometheus: half a block), so that one target with a
    /// wrong clock cannot stretch the head over years.
    late_ms: i64,
    /// How much older than the newest sample one that comes out of order may be, milliseconds; 0 refuses all.
    window_ms: AtomicI64,
    limits: SeriesLimits,
    /// Whether start timestamps are kept.
    keeps_starts: bool,
    /// Whether zeros are added where series begin to count.
    adds_zeros: bool,
    refusals: Mutex<Refusals>,
    newcomers: Mutex<Newcomers>,
    /// Locked after the head, or alone.
    picks: Mutex<Picks>,
    /// Locked after the head, or alone.
    exemplars: Mutex<Ring>,
    /// Locked after the head, or alone.
    families: Mutex<Families>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Inner {
    // A slot is a series' number here; it is free again once the series is gone. A reference carries the slot and a
    // generation, so that a stale one finds nothing.
    slots: Pieces<Slot>,
    free: Vec<u32>,
    // No two processes that write one log give a series the same reference: a log with a hole could mix them up.
    first_generation: u32,
    by_labels: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    index: Index,
    late: Late,
    times: TimeColumns,
    // Whether any series has starts.
    has_starts: bool,
    changes: ChangeLog,
    series: usize,
    chunks: usize,
    // No sample in order is older, none at all is newer; `i64::MAX` and `i64::MIN` where there is none.
    mint: i64,
    maxt: i64,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    // Of the series' labels: the table of all grows without looking at them.
    hash: u32,
    series: Option<MemSeries>,
}

/// Figures for status pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadStats {
    /// Series in memory.
    pub series: usize,
    /// Chunks in memory.
    pub chunks: usize,
    /// Different name and value pairs.
    pub label_pairs: usize,
    /// Oldest sample, milliseconds; `i64::MAX` where there is none.
    pub mint: i64,
    /// Newest sample, milliseconds; `i64::MIN` where there is none.
    pub maxt: i64,
}

#[cfg(test)]
pub(crate) fn series_bytes() -> usize {
    size_of::<MemSeries>()
}

/// A hash table takes the place from the low bits and a tag from the highest ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

fn series_ref(slot: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(slot)
}

fn series_mut(slots: &mut Pieces<Slot>, id: u64) -> Option<&mut MemSeries> {
    let slot = slots.get_mut(id as u32 as usize)?;
    if u64::from(slot.generation) == id >> 32 {
        slot.series.as_mut()
    } else {
        None
    }
}

impl Inner {
    fn get(&self, id: u64) -> Option<&MemSeries> {
        let slot = self.slots.get(id as u32 as usize)?;
        if u64::from(slot.generation) == id >> 32 {
            slot.series.as_ref()
        } else {
            None
        }
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut MemSeries> {
        series_mut(&mut self.slots, id)
    }

    fn find(&self, labels: &Labels) -> Option<u64> {
        let ids = self.index.find(labels)?;
        self.find_ids(&ids, spread(self.hash(&ids)))
    }

    fn find_ids(&self, ids: &[u32], hash: u64) -> Option<u64> {
        let has = |slot: &u32| {
            let entry = self.slots.get(*slot as usize);
            let series = entry.and_then(|entry| entry.series.as_ref());
            series.is_some_and(|series| *series.labels == *ids)
        };
        let slot = *self.by_labels.find(hash, has)?;
        Some(series_ref(slot, self.slots.get(slot as usize)?.generation))
    }

    fn hash(&self, ids: &[u32]) -> u32 {
        self.hasher.hash_one(ids) as u32
    }

    fn labels(&self, series: &MemSeries) -> Labels {
        self.index.labels(&series.labels)
    }

    fn hold(&self, id: u64) {
        if let Some(series) = self.get(id) {
            series.hold();
        }
    }

    fn create(&mut self, labels: &Labels) -> u64 {
        let ids = self.index.intern(labels);
        self.create_of(&ids)
    }

    // The series with these pairs, made where it is new.
    fn create_of(&mut self, ids: &[u32]) -> u64 {
        let hash = self.hash(ids);
        if let Some(id) = self.find_ids(ids, spread(hash)) {
            return id;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: self.first_generation,
                ..Slot::default()
            });
            (self.slots.len() - 1) as u32
        });
        let entry = self
            .slots
            .get_mut(slot as usize)
            .expect("a slot that was free or is new");
        let id = series_ref(slot, entry.generation);
        self.series += 1;
        self.index.insert(slot, ids);
        entry.hash = hash;
        entry.series = Some(MemSeries::new(ids.into()));
        let hash_of = |slot: &u32| self.slots.get(*slot as usize).map_or(0, |slot| spread(slot.hash));
        self.by_labels.insert_unique(spread(hash), slot, hash_of);
        id
    }

    // Deletes samples of a series; whether there were any.
    fn delete(&mut self, id: u64, mint: i64, maxt: i64) -> Result<bool, StorageError> {
        let Some(series) = self.get_mut(id) else {
            return Ok(false);
        };
        let before = series.chunk_count();
        let deleted = series.delete(mint, maxt);
        let after = series.chunk_count();
        self.chunks = self.chunks + after - before;
        self.late.delete(id, mint, maxt)?;
        deleted
    }

    // The newest sample, looked for in all series and among the late ones.
    fn newest(&self) -> i64 {
        let series = self.slots.iter().filter_map(|slot| slot.series.as_ref());
        let newest = series.filter_map(|series| Some(series.bounds()?.1)).max();
        newest.max(self.late.maxt()).unwrap_or(i64::MIN)
    }

    // Notes samples between two times, and chunks that were begun for them.
    fn count(&mut self, mint: i64, maxt: i64, chunks: usize) {
        self.mint = self.mint.min(mint);
        self.maxt = self.maxt.max(maxt);
        self.chunks += chunks;
    }
}

/// Somebody reads the log; see [`Head::await_log`].
pub(crate) struct LogAwaited<'a>(&'a Head);

impl Drop for LogAwaited<'_> {
    fn drop(&mut self) {
        self.0.is_log_awaited.store(false, Ordering::Release);
    }
}

impl Head {
    /// Whoever replays the log holds this. What is new is refused for no limit until then; where reading breaks off the limits
    /// hold again, as nothing else bounds the head.
    pub(crate) fn await_log(&self) -> LogAwaited<'_> {
        LogAwaited(self)
    }

    /// An empty head in front of `wal`; without one it takes no samples. Those older than `floor` are in blocks.
    pub(crate) fn new(wal: Option<Wal>, floor: i64, options: &Options, metrics: Arc<Metrics>) -> Self {
        let inner = Inner {
            mint: i64::MAX,
            maxt: i64::MIN,
            // A slot is used again less often than that while a process lives.
            first_generation: wal.as_ref().map_or(0, |wal| (wal.segment() as u32).wrapping_shl(12)),
            ..Inner::default()
        };
        Self {
            inner: RwLock::new(inner),
            wal: Mutex::new(wal),
            floor: AtomicI64::new(floor),
            open_from: AtomicI64::new(floor),
            is_replaying: AtomicBool::new(true),
            is_log_awaited: AtomicBool::new(true),
            late_ms: options.block_ms / 2,
            window_ms: AtomicI64::new(options.out_of_order_window_ms),
            limits: options.limits,
            keeps_starts: options.start_timestamps,
            adds_zeros: options.start_zeros,
            refusals: Mutex::default(),
            exemplars: Mutex::new(Ring::new(options.max_exemplars)),
            families: Mutex::default(),
            newcomers: Mutex::default(),
            picks: Mutex::default(),
            metrics,
        }
    }

    pub(crate) fn appender(self: &Arc<Self>) -> HeadAppender {
        HeadAppender::new(self.clone())
    }

    /// Sets how old samples that come out of order may be; milliseconds, 0 refuses all.
    pub(crate) fn set_out_of_order_window(&self, window_ms: i64) {
        self.window_ms.store(window_ms, Ordering::Relaxed);
    }

    fn window(&self) -> Option<i64> {
        Some(self.window_ms.load(Ordering::Relaxed)).filter(|window| *window > 0)
    }

    // The oldest time of which samples are taken out of order; `None` where none are.
    fn oldest_late(&self, inner: &Inner) -> Option<i64> {
        // An empty head is as new as what blocks have.
        let newest = inner.maxt.max(self.floor());
        self.window().map(|window| newest.saturating_sub(window))
    }

    /// Lets no more samples in that are older than `ts` but as late ones. What was let in before can be selected.
    pub(crate) fn open_from(&self, ts: i64) {
        let _log = self.wal.lock();
        self.open_from.fetch_max(ts, Ordering::AcqRel);
    }

    pub(crate) fn select(&self, selection: &Selection<'_>) -> Vec<Series> {
        self.select_hinted(selection, Hints::default(), &|| true)
            .unwrap_or_default()
    }

    /// All series with samples in the range and what holds them, sorted by labels: first what came in order, then what
    /// did not.
    pub(crate) fn sources(&self, mint: i64, maxt: i64) -> Vec<(Labels, Vec<HeadSource>)> {
        let floor = self.floor();
        let inner = self.inner.read();
        let mut found = Vec::new();
        for (slot, entry) in inner.slots.iter().enumerate() {
            let Some(series) = &entry.series else { continue };
            let late = inner
                .late
                .snapshots(series_ref(slot as u32, entry.generation), mint, maxt);
            let sources: Vec<HeadSource> = series.snapshot(mint.max(floor), maxt).into_iter().chain(late).collect();
            if !sources.is_empty() {
                found.push((inner.labels(series), sources));
            }
        }
        drop(inner);
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    /// The label sets of matching series with samples in the range.
    pub(crate) fn label_sets(&self, selection: &Selection<'_>) -> Vec<Labels> {
        let inner = self.inner.read();
        let series = self.in_range(&inner, selection);
        series.map(|series| inner.labels(series)).collect()
    }

    fn in_range<'a>(&self, inner: &'a Inner, selection: &Selection<'_>) -> impl Iterator<Item = &'a MemSeries> {
        let (mint, maxt) = (selection.mint.max(self.floor.load(Ordering::Acquire)), selection.maxt);
        let slots = inner.index.select(selection.matchers).into_iter();
        let late_mint = selection.mint;
        slots.filter_map(move |slot| {
            let entry = inner.slots.get(slot as usize)?;
            let series = entry.series.as_ref()?;
            let within = |bounds: Option<(i64, i64)>, mint| bounds.is_some_and(|(a, b)| b >= mint && a <= maxt);
            let late = || inner.late.bounds(series_ref(slot, entry.generation));
            (within(series.bounds(), mint) || within(late(), late_mint)).then_some(series)
        })
    }

    /// Label names of matching series. Without matchers all there are, whatever the range.
    pub(crate) fn label_names(&self, selection: &Selection<'_>) -> Vec<String> {
        let inner = self.inner.read();
        if selection.matchers.is_empty() {
            return inner.index.label_names().map(str::to_owned).collect();
        }
        let series = self.in_range(&inner, selection);
        let names: BTreeSet<&str> = series.flat_map(|series| inner.index.names_of(&series.labels)).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// Values of a label on matching series. Without matchers all there are, whatever the range.
    pub(crate) fn label_values(&self, name: &str, selection: &Selection<'_>) -> Vec<String> {
        let inner = self.inner.read();
        if selection.matchers.is_empty() {
            let values = inner.index.label_values(name);
            return values.map(|(value, _)| value.to_owned()).collect();
        }
        let series = self.in_range(&inner, selection);
        let values: BTreeSet<&str> = series
            .filter_map(|series| inner.index.value(&series.labels, name))
            .collect();
        values.into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn stats(&self) -> HeadStats {
        let inner = self.inner.read();
        HeadStats {
            series: inner.series,
            chunks: inner.chunks,
            label_pairs: inner.index.pair_count(),
            mint: inner.mint,
            maxt: inner.maxt,
        }
    }

    /// Which series were refused under which limit, most refusals first.
    pub(crate) fn refused(&self) -> Vec<RefusedSeries> {
        self.refusals.lock().list()
    }

    pub(crate) fn cardinality(&self, limit: usize) -> Cardinality {
        let inner = self.inner.read();
        let mut most = cardinality::largest(&inner.index, limit);
        let newest = inner.maxt;
        drop(inner);
        let newcomers = self.newcomers.lock();
        most.new_by_metric = newcomers.by_metric.largest(newest, limit);
        most.new_by_job = newcomers.by_job.largest(newest, limit);
        most
    }

    // Those that still may follow are seen from now on.
    fn add_exemplars(&self, inner: &Inner, exemplars: &[LoggedExemplar]) {
        if exemplars.is_empty() {
            return;
        }
        let mut ring = self.exemplars.lock();
        for LoggedExemplar { series, exemplar } in exemplars {
            let Some(series) = inner.get(*series) else { continue };
            let labels = inner.labels(series);
            if ring.check(&labels, exemplar) == Ok(true) {
                ring.add(&labels, exemplar.clone());
                self.metrics.exemplars_appended.inc();
            }
        }
    }

    /// As [`cupola_storage::Queryable::exemplars`].
    pub(crate) fn select_exemplars(&self, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Vec<SeriesExemplars> {
        self.exemplars.lock().select(sets, mint, maxt)
    }

    /// As [`cupola_storage::Queryable::metadata`].
    pub(crate) fn metadata(&self) -> Vec<(String, Metadata)> {
        self.families.lock().list()
    }

    /// Keeps at most so many exemplars from now on.
    pub(crate) fn set_max_exemplars(&self, max: usize) {
        self.exemplars.lock().resize(max);
    }

    /// Time of the oldest exemplar, in milliseconds.
    pub(crate) fn oldest_exemplar(&self) -> Option<i64> {
        self.exemplars.lock().oldest()
    }

    /// How many exemplars there are, of how many series, and how many there may be.
    pub(crate) fn exemplar_stats(&self) -> (usize, usize, usize) {
        let ring = self.exemplars.lock();
        (ring.len(), ring.series_count(), ring.capacity())
    }

    // All exemplars of series that are still in the head, in the order in which they came.
    fn logged_exemplars(&self) -> Vec<LoggedExemplar> {
        let inner = self.inner.read();
        let ring = self.exemplars.lock();
        let logged = ring.iter().filter_map(|(labels, exemplar)| {
            let series = inner.find(labels)?;
            let exemplar = exemplar.clone();
            Some(LoggedExemplar { series, exemplar })
        });
        logged.collect()
    }

    /// What changed since the state `since`.
    pub(crate) fn changes(&self, since: &Version) -> Changes {
        self.inner.read().changes.since(since)
    }

    /// Notes that samples from `oldest` on may read differently now: blocks came or went.
    pub(crate) fn note_change(&self, oldest: i64) {
        self.inner.write().changes.note(oldest);
    }

    /// Newest sample; `i64::MIN` where there is none.
    pub(crate) fn maxt(&self) -> i64 {
        self.inner.read().maxt
    }

    /// Samples older than this are in blocks.
    pub(crate) fn floor(&self) -> i64 {
        self.floor.load(Ordering::Acquire)
    }

    /// The oldest sample that came late; it may be older than the floor.
    pub(crate) fn late_mint(&self) -> Option<i64> {
        self.inner.read().late.mint()
    }

    /// The times in steps of `length` that are over for the head, and of which late samples came all the same.
    pub(crate) fn late_ranges(&self, length: i64) -> Result<BTreeSet<i64>, StorageError> {
        self.inner.read().late.ranges(length, self.floor())
    }

    /// Sets the late samples aside while a block is written, so that it is known which of them the block has.
    pub(crate) fn freeze_late(&self) {
        self.inner.write().late.freeze();
    }

    /// Ends setting aside: what lies between two times, the second exclusive, is in a block and forgotten.
    pub(crate) fn thaw_late(&self, begin: i64, end: i64) -> Result<(), StorageError> {
        self.inner.write().late.thaw(begin, end)
    }

    /// Oldest sample at or after the floor.
    pub(crate) fn mint(&self) -> Option<i64> {
        let floor = self.floor.load(Ordering::Acquire);
        let mint = self.inner.read().mint;
        (mint != i64::MAX).then(|| mint.max(floor))
    }

    /// The oldest sample at or after `ts`. Decodes chunks, so it is only for when [`Head::mint`] is not exact enough.
    pub(crate) fn first_sample_from(&self, ts: i64) -> Result<Option<i64>, StorageError> {
        let selection = Selection {
            matchers: &[],
            mint: ts,
            maxt: i64::MAX,
        };
        let mut samples = Samples::default();
        let mut first = None;
        for series in self.select(&selection) {
            samples.clear();
            series.source.read(ts, i64::MAX, &mut samples)?;
            let histogram = samples.histograms.ts.first();
            first = samples
                .ts
                .first()
                .into_iter()
                .chain(histogram)
                .copied()
                .chain(first)
                .min();
        }
        Ok(first)
    }

    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.wal.lock().as_mut().map_or(Ok(()), Wal::sync)
    }

    pub(crate) fn wal_segment(&self) -> u64 {
        self.wal.lock().as_ref().map_or(0, Wal::segment)
    }

    /// Where the next batch is logged; `None` where nothing is logged any more.
    pub(crate) fn log_end(&self) -> Option<LogPosition> {
        self.wal.lock().as_ref().map(Wal::end)
    }

    /// The labels of a series that was not forgotten yet.
    pub(crate) fn labels_of(&self, id: u64) -> Option<Labels> {
        let inner = self.inner.read();
        inner.get(id).map(|series| inner.labels(series))
    }

    pub(crate) fn is_known(&self, id: u64) -> bool {
        self.inner.read().get(id).is_some()
    }

    pub(crate) fn wal_bytes(&self) -> u64 {
        self.wal.lock().as_ref().map_or(0, Wal::bytes_written)
    }

    /// Forgets what is older than `mint`, which a block holds by now, and series of which nothing is left.
    pub(crate) fn truncate(&self, mint: i64) -> usize {
        self.open_from(mint);
        self.floor.fetch_max(mint, Ordering::AcqRel);
        let mut guard = self.inner.write();
        let inner = &mut *guard;
        let mut removed = Vec::new();
        let (mut oldest, mut chunks) = (i64::MAX, 0);
        for (slot, entry) in inner.slots.iter_mut().enumerate() {
            let Some(series) = entry.series.as_mut() else { continue };
            series.truncate(mint);
            chunks += series.chunk_count();
            if let Some((first, _)) = series.bounds() {
                oldest = oldest.min(first);
            } else if inner.late.contains(series_ref(slot as u32, entry.generation)) {
                // Its late samples are not in blocks yet.
            } else if series.is_held() {
                // A batch that is not committed yet has samples of it.
            } else if let Some(series) = entry.series.take() {
                entry.generation = entry.generation.wrapping_add(1);
                removed.push((slot as u32, series.labels));
            }
        }
        (inner.mint, inner.chunks) = (oldest, chunks);
        inner.series -= removed.len();
        inner.index.remove(&removed);
        for (slot, labels) in &removed {
            let hash = spread(inner.hash(labels));
            if let Ok(entry) = inner.by_labels.find_entry(hash, |s| s == slot) {
                entry.remove();
            }
            inner.free.push(*slot);
        }
        if !removed.is_empty() {
            self.families.lock().retain(&inner.index);
        }
        self.picks.lock().sweep(inner);
        self.metrics.series_removed.add(removed.len() as f64);
        removed.len()
    }

    /// Deletes the samples from `mint` to `maxt`, both inclusive, of each series that satisfies all matchers of one of
    /// `sets`: in the log first, then in memory.
    pub(crate) fn delete(&self, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Result<(), StorageError> {
        let io = |source| StorageError::Io {
            what: "log a deletion".to_owned(),
            source,
        };
        let mut wal = self.wal.lock();
        let closed = || io(std::io::Error::other("the storage is closed"));
        let wal = wal.as_mut().ok_or_else(closed)?;
        self.log_labels_again(wal.ready().map_err(io)?);
        let mut deletion = LoggedDeletion {
            series: Vec::new(),
            mint,
            maxt,
        };
        let mut fresh = Vec::new();
        {
            let inner = self.inner.read();
            let slots: BTreeSet<u32> = sets.iter().flat_map(|matchers| inner.index.select(matchers)).collect();
            for slot in slots {
                let Some(entry) = inner.slots.get(slot as usize) else {
                    continue;
                };
                let Some(series) = &entry.series else { continue };
                let in_range = |(first, last)| first <= maxt && mint <= last;
                let id = series_ref(slot, entry.generation);
                if series.bounds().is_some_and(in_range) || inner.late.bounds(id).is_some_and(in_range) {
                    deletion.series.push(id);
                    if !series.logged {
                        fresh.push((id, inner.labels(series)));
                    }
                }
            }
        }
        if deletion.series.is_empty() {
            return Ok(());
        }
        wal.delete(&fresh, &deletion).map_err(io)?;
        let mut inner = self.inner.write();
        for (id, _) in &fresh {
            if let Some(series) = inner.get_mut(*id) {
                series.logged = true;
            }
        }
        // Before they are deleted: what is kept of older answers is given up.
        let oldest = inner.late.mint().unwrap_or(i64::MAX).min(inner.mint);
        // What cannot be decoded cannot be deleted, nor read; the others are deleted all the same.
        let mut outcome = Ok(());
        for id in &deletion.series {
            outcome = outcome.and(inner.delete(*id, mint, maxt).map(|_| ()));
        }
        if mint <= inner.maxt && inner.maxt <= maxt {
            // Samples of a clock that ran ahead are gone: what comes now is not too old any more.
            inner.maxt = inner.newest();
        }
        inner.changes.note(oldest.max(mint));
        outcome
    }

    // Where the log may have lost labels, the next batch of each series brings them again.
    fn log_labels_again(&self, has_lost_labels: bool) {
        if has_lost_labels {
            let mut inner = self.inner.write();
            let all = inner.slots.iter_mut().filter_map(|slot| slot.series.as_mut());
            all.for_each(|series| series.logged = false);
        }
    }

    /// Writes a checkpoint of everything in the head, so that a restart reads it instead of the log so far, which goes but
    /// for what is held.
    pub(crate) fn checkpoint(&self, held: &dyn Fn() -> Held) -> std::io::Result<Released> {
        let mut checkpoint = match self.wal.lock().as_mut() {
            Some(wal) => wal.checkpoint()?,
            None => return Ok(Released::default()),
        };
        // Slot by slot, so that no lock is held while the disk is written.
        let slots = self.inner.read().slots.len();
        for slot in 0..slots {
            let entry: Option<(u64, Labels, Vec<LoggedChunk>, Vec<LoggedStarts>)> = {
                let inner = self.inner.read();
                inner.slots.get(slot).and_then(|entry| {
                    let series = entry.series.as_ref()?;
                    let id = series_ref(slot as u32, entry.generation);
                    let mut chunks = series.chunks(id);
                    let mut starts = Vec::new();
                    let mut add = |of: &MemSeries, is_late| {
                        starts.extend(of.starts().map(|starts| LoggedStarts {
                            series: id,
                            is_late,
                            starts: Starts::clone(starts),
                        }));
                    };
                    add(series, false);
                    for late in inner.late.of(id) {
                        add(late, true);
                        let late = late.chunks(id).into_iter();
                        chunks.extend(late.map(|chunk| LoggedChunk { is_late: true, ..chunk }));
                    }
                    Some((id, inner.labels(series), chunks, starts))
                })
            };
            if let Some((id, labels, chunks, starts)) = entry {
                checkpoint.add(id, &labels, &chunks, &starts)?;
            }
        }
        checkpoint.add_exemplars(&self.logged_exemplars())?;
        checkpoint.add_metadata(&self.metadata())?;
        // It may hold parts of batches that were logged meanwhile. After a power cut the log must have the rest of them.
        self.sync()?;
        let failed_syncs = checkpoint.failed_syncs;
        let released = checkpoint.finish(&held())?;
        if let Some(wal) = self.wal.lock().as_mut() {
            wal.made_up_for(failed_syncs);
        }
        Ok(released)
    }

    /// Brings the log to the device. Where that fails, a checkpoint makes up for it later.
    pub(crate) fn sync_or_doubt(&self) {
        if let Err(error) = self.sync() {
            warn!(%error, "cannot sync the write-ahead log; a checkpoint makes up for it as soon as one can be written");
        }
    }

    /// Whether what was acknowledged may be missing after a power cut because syncing failed.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.wal.lock().as_ref().is_some_and(Wal::is_in_doubt)
    }

    /// Notes that something of this file of the log could not be read: no checkpoint removes it.
    pub(crate) fn keep_damaged(&self, file: String) {
        if let Some(wal) = self.wal.lock().as_mut() {
            wal.keep(file);
        }
    }

    /// Ends writing: later commits fail with [`cupola_storage::CommitError::Closed`].
    pub(crate) fn close(&self) {
        self.wal.lock().take();
    }
}
