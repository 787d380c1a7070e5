//! Downsampled tiers: a few numbers of each window of 5 minutes or an hour, kept when the samples are gone.
//!
//! A tier is ordinary blocks in `<data>/cupola-tiers/<resolution>/<ULID>`, which Prometheus does not look at. Their series
//! carry one more label, [`AGGREGATE_LABEL`]; [`thin`](super::thin) says what is kept. They are made from raw blocks once
//! these are final, in stretches of at least [`WINDOWS`] windows, and at the latest before the raw blocks go. What is
//! made is told by the ranges of the blocks alone: a crash in between leaves an unfinished folder, which is removed at
//! the next start, and the stretch is made again. Blocks of a tier are merged by the same plan as others.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use cupola_block::{Block, BlockError, BlockFormat, BlockMeta, BlockSpec, BlockWriter, NewChunk};
use cupola_env::Vfs;
use cupola_metrics::Gauge;
use cupola_model::{Labels, format_duration};
use cupola_storage::{
    AGGREGATE_LABEL, Aggregate, Queryable as _, Samples, Selection, Series, StorageError, merge_series,
};
use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::compact::{self, Place, RETRY_AFTER_MS, longest_block};
use super::cut::{CutError, open_blocks};
use super::plan::ranges;
use super::spans::Spans;
use super::thin::{Chunk, Thinned, encode, is_named_counter, thin};
use super::{Inner, is_partial, written_until};
use crate::options::TierOptions;

/// The folder of all tiers in the data folder.
pub(super) const DIR_NAME: &str = "cupola-tiers";

// So many windows are in a block of a tier at least, or it would be an index without samples.
const WINDOWS: i64 = 24;

// Encoded chunks of series that come several times in the new block, bytes. What does not fit is computed again.
const HELD_BYTES: usize = 64 << 20;

/// One tier.
pub(super) struct Tier {
    pub(super) options: TierOptions,
    pub(super) dir: PathBuf,
    pub(super) blocks: ArcSwap<Vec<Arc<Block>>>,
    // Stretches that raw blocks cover and that no sample is in.
    barren: Mutex<Spans>,
    // After a failure it is not tried again before this time, milliseconds.
    retry_at: AtomicI64,
}

impl Tier {
    /// Opens what is there of the tier; no folder is made.
    pub(super) fn open(
        data: &Path,
        options: TierOptions,
        vfs: &Arc<dyn Vfs>,
        left_out: &Gauge,
    ) -> io::Result<(Self, Vec<Arc<Block>>)> {
        let dir = data.join(DIR_NAME).join(format_duration(options.resolution_ms));
        let mut blocks = match vfs.list(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            _ => open_blocks(&dir, vfs, left_out)?,
        };
        let superseded = compact::take_superseded(&mut blocks);
        let tier = Self {
            options,
            dir,
            blocks: ArcSwap::from_pointee(blocks),
            barren: Mutex::default(),
            retry_at: AtomicI64::new(i64::MIN),
        };
        Ok((tier, superseded))
    }

    /// The times that it has windows of.
    pub(super) fn cover(&self) -> Spans {
        let blocks = self.blocks.load();
        Spans::of(
            blocks
                .iter()
                .map(|block| (block.meta().min_time, block.meta().max_time)),
        )
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.blocks.load().iter().map(|block| block.size_bytes()).sum()
    }

    fn floor(&self, ts: i64) -> i64 {
        let resolution = self.options.resolution_ms;
        ts.div_euclid(resolution).saturating_mul(resolution)
    }

    fn ceil(&self, ts: i64) -> i64 {
        self.floor(ts.saturating_add(self.options.resolution_ms - 1))
    }

    /// The deletion of these samples in the tier: of all windows that have a part in it.
    pub(super) fn widen(&self, mint: i64, maxt: i64) -> (i64, i64) {
        (self.floor(mint), self.ceil(maxt.saturating_add(1)).saturating_sub(1))
    }

    /// The length of its shortest blocks: whole windows, and whole raw blocks.
    fn block_ms(&self, raw_block_ms: i64) -> i64 {
        let windows = self.options.resolution_ms.saturating_mul(WINDOWS);
        let raw = raw_block_ms.max(1);
        let length = windows.saturating_add(raw - 1) / raw * raw;
        if length % self.options.resolution_ms == 0 {
            length
        } else {
            windows
        }
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place {
            dir: &self.dir,
            blocks: &self.blocks,
            joins_chunks: true,
            format: BlockFormat::Prometheus,
        }
    }

    /// The lengths its blocks grow through.
    pub(super) fn ranges(&self, raw_block_ms: i64) -> Vec<i64> {
        ranges(self.block_ms(raw_block_ms), longest_block(0, self.options.retention_ms))
    }

    /// What it is to have, of what raw blocks cover, and has not, up to `end`, in pieces of a block each.
    fn missing(&self, raw: &[Arc<Block>], newest: i64, end: i64, raw_block_ms: i64) -> Vec<(i64, i64)> {
        let begin = match self.options.retention_ms {
            0 => i64::MIN,
            retention => self.floor(newest.saturating_sub(retention)),
        };
        let whole = raw.iter().filter(|block| !is_partial(block.meta()));
        let widened = whole.map(|block| (self.floor(block.meta().min_time), self.ceil(block.meta().max_time)));
        let wanted = Spans::of(widened).and(&Spans::of([(begin, end)]));
        let missing = wanted.minus(&self.cover()).minus(&self.barren.lock());
        let longest = self.ranges(raw_block_ms).pop().unwrap_or(i64::MAX);
        let mut pieces = Vec::new();
        for (from, to) in missing.iter() {
            let mut from = from;
            while from < to {
                let next = from
                    .div_euclid(longest)
                    .saturating_add(1)
                    .saturating_mul(longest)
                    .min(to);
                pieces.push((from, next));
                from = next;
            }
        }
        pieces
    }
}

/// Opens all tiers, the finest first, and what is to be deleted of them because it was merged.
pub(super) fn open_tiers(
    data: &Path,
    options: &[TierOptions],
    vfs: &Arc<dyn Vfs>,
    left_out: &Gauge,
) -> io::Result<Vec<(Tier, Vec<Arc<Block>>)>> {
    let mut options = options.to_vec();
    options.sort_by_key(|tier| tier.resolution_ms);
    let tiers: io::Result<Vec<_>> = options
        .into_iter()
        .map(|tier| Tier::open(data, tier, vfs, left_out))
        .collect();
    let tiers = tiers?;
    for name in vfs.list(&data.join(DIR_NAME)).unwrap_or_default() {
        if !tiers.iter().any(|(tier, _)| tier.dir.ends_with(&name)) {
            warn!(tier = name, "a tier that no flag names is left as it is and not used");
        }
    }
    Ok(tiers)
}

impl Inner {
    /// Makes what the tiers lack of the raw blocks that are final. With `doomed`, the end of raw blocks that are about to
    /// go, everything up to there, however short. What fails is logged and tried again later.
    pub(super) fn make_tiers(&self, doomed: Option<i64>) {
        for tier in &self.tiers {
            let now = self.clock.now_ms();
            let wait = tier.retry_at.load(Ordering::Relaxed).saturating_sub(now);
            // A clock that was set back makes nobody wait for longer.
            if doomed.is_none() && (1..=RETRY_AFTER_MS).contains(&wait) {
                continue;
            }
            let raw = self.blocks.load_full();
            let block_ms = tier.block_ms(self.options.block_ms);
            // Late samples may come for what is newer.
            let finished = written_until(&raw).saturating_sub(self.options.out_of_order_window_ms.max(0));
            let end = match doomed {
                Some(end) => tier.ceil(end),
                None => finished.div_euclid(block_ms).saturating_mul(block_ms),
            };
            for (from, to) in tier.missing(&raw, self.newest(&raw), end, self.options.block_ms) {
                match self.make_tier_block(tier, &raw, from, to) {
                    // A month of samples takes a while; the head is not to grow meanwhile.
                    Ok(()) => self.cut_due_blocks(),
                    Err(CutError::Block(BlockError::Stopped) | CutError::Head(StorageError::Stopped)) => return,
                    Err(error) => {
                        self.metrics.compactions_failed.inc();
                        error!(%error, tier = %tier.dir.display(), "cannot make a block of a downsampled tier; it is tried again");
                        tier.retry_at
                            .store(now.saturating_add(RETRY_AFTER_MS), Ordering::Relaxed);
                        break;
                    }
                }
            }
        }
    }

    fn make_tier_block(&self, tier: &Tier, raw: &[Arc<Block>], from: i64, to: i64) -> Result<(), CutError> {
        let before = from.saturating_sub(tier.options.resolution_ms);
        let sources: Vec<&Arc<Block>> = raw.iter().filter(|block| block.meta().overlaps(from, to - 1)).collect();
        let selection = Selection {
            matchers: &[],
            mint: before,
            maxt: to - 1,
        };
        let go_on = || !self.closing.load(Ordering::Relaxed);
        let mut parts = Vec::new();
        for block in raw.iter().filter(|block| block.meta().overlaps(before, to - 1)) {
            parts.push(block.select_while(&selection, &go_on)?);
        }
        let mut spec = BlockSpec::new(self.new_ulid(), from, to);
        let origins = sources.iter().flat_map(|block| &block.meta().compaction.sources);
        spec.compaction.sources = origins.copied().collect();
        spec.compaction.sources.sort_unstable();
        spec.compaction.sources.dedup();
        let mut thinner = Thinner {
            series: merge_series(parts),
            resolution_ms: tier.options.resolution_ms,
            from,
            to,
            samples: Samples::default(),
            thinned: Thinned::default(),
            held: BTreeMap::new(),
            held_bytes: 0,
        };
        let Some(meta) = thinner.write(&self.vfs, &tier.dir, spec, &go_on)? else {
            let mut barren = tier.barren.lock();
            *barren = Spans::of(barren.iter().chain([(from, to)]).collect::<Vec<_>>());
            return Ok(());
        };
        let block = self.open_new(&tier.dir.join(meta.ulid.to_string()))?;
        let mut blocks: Vec<Arc<Block>> = tier.blocks.load().iter().cloned().collect();
        blocks.push(Arc::new(block));
        compact::sort(&mut blocks);
        tier.blocks.store(Arc::new(blocks));
        // Coarse answers are made of it from now on.
        self.head.note_change(from);
        self.metrics.tier_blocks_made.inc();
        info!(
            ulid = %meta.ulid,
            tier = format_duration(tier.options.resolution_ms),
            series = meta.stats.num_series,
            samples = meta.stats.num_samples,
            "block of a downsampled tier written"
        );
        Ok(())
    }
}

// The chunks of one series, for each aggregate that is not written yet.
type Pending = [Option<Vec<Chunk>>; 5];

/// Thins all series and writes them in the order of their labels.
struct Thinner {
    series: Vec<Series>,
    resolution_ms: i64,
    from: i64,
    to: i64,
    samples: Samples,
    thinned: Thinned,
    held: BTreeMap<usize, Pending>,
    held_bytes: usize,
}

// In the order of their names.
const BY_NAME: [Aggregate; 5] = [
    Aggregate::Count,
    Aggregate::Last,
    Aggregate::Max,
    Aggregate::Min,
    Aggregate::Sum,
];

impl Thinner {
    fn write(
        &mut self,
        vfs: &Arc<dyn Vfs>,
        dir: &Path,
        spec: BlockSpec,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<BlockMeta>, CutError> {
        let mut writer = BlockWriter::create(vfs, dir, spec)?;
        for (at, aggregate) in self.order() {
            if !go_on() {
                return Err(BlockError::Stopped.into());
            }
            let chunks = self.chunks(at, aggregate)?;
            let named = self.series.get(at).zip(BY_NAME.get(aggregate));
            let Some((series, aggregate)) = named.filter(|_| !chunks.is_empty()) else {
                continue;
            };
            let new = chunks.iter().map(|chunk| NewChunk {
                mint: chunk.mint,
                maxt: chunk.maxt,
                encoding: chunk.encoding,
                bytes: &chunk.bytes,
            });
            writer.add_series(&tagged(&series.labels, *aggregate), new)?;
        }
        if writer.series_count() == 0 {
            return Ok(None);
        }
        Ok(Some(writer.finish()?))
    }

    // Which series with which aggregate (by its place in `BY_NAME`) follow each other in a block.
    fn order(&mut self) -> Vec<(usize, usize)> {
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        let all = (0..BY_NAME.len()).flat_map(|aggregate| (0..self.series.len()).map(move |at| (at, aggregate)));
        let mut all: Vec<(usize, usize)> = all.collect();
        // Labels are compared pair by pair. Where ours is the first one of all series, their order stays.
        let is_first = |series: &Series| {
            series
                .labels
                .iter()
                .next()
                .is_none_or(|(name, _)| name > AGGREGATE_LABEL)
        };
        if !self.series.iter().all(is_first) {
            all.sort_by_cached_key(|(at, aggregate)| {
                let named = self.series.get(*at).zip(BY_NAME.get(*aggregate));
                named.map(|(series, aggregate)| tagged(&series.labels, *aggregate))
            });
        }
        all
    }

    // A series comes once for each aggregate. It is read and thinned once, as long as the others' chunks find room.
    fn chunks(&mut self, at: usize, aggregate: usize) -> Result<Vec<Chunk>, CutError> {
        let mut pending = match self.held.remove(&at) {
            Some(pending) => {
                self.held_bytes -= size(&pending);
                pending
            }
            None => self.thin(at)?,
        };
        let chunks = pending.get_mut(aggregate).and_then(Option::take);
        let bytes = size(&pending);
        if bytes > 0 && self.held_bytes + bytes <= HELD_BYTES {
            self.held_bytes += bytes;
            self.held.insert(at, pending);
        }
        Ok(chunks.unwrap_or_default())
    }

    fn thin(&mut self, at: usize) -> Result<Pending, CutError> {
        let Some(series) = self.series.get(at) else {
            return Ok(Pending::default());
        };
        self.samples.clear();
        let before = self.from.saturating_sub(self.resolution_ms);
        series.source.read(before, self.to - 1, &mut self.samples)?;
        let is_counter = is_named_counter(&series.labels);
        thin(
            &self.samples,
            self.from,
            self.resolution_ms,
            is_counter,
            &mut self.thinned,
        );
        let mut out = Pending::default();
        for (slot, aggregate) in out.iter_mut().zip(BY_NAME) {
            let encoded = encode(self.thinned.of(aggregate));
            let chunks = encoded.map_err(|e| StorageError::Corrupt(format!("series {}: {e}", series.labels)))?;
            *slot = Some(chunks);
        }
        Ok(out)
    }
}

fn size(pending: &Pending) -> usize {
    let chunks = pending.iter().flatten();
    // An empty list occupies its slot.
    chunks
        .map(|chunks| {
            64 + chunks
                .iter()
                .map(|chunk| size_of::<Chunk>() + chunk.bytes.len())
                .sum::<usize>()
        })
        .sum()
}

fn tagged(labels: &Labels, aggregate: Aggregate) -> Labels {
    let mut builder = labels.to_builder();
    builder.set(AGGREGATE_LABEL, aggregate.as_str());
    builder.build()
}

/// The labels of a tier's series as those of the series it was made from.
pub(super) fn untagged(labels: &Labels) -> Labels {
    labels.filtered(|name| name != AGGREGATE_LABEL)
}
