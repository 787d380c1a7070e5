//! Blocks out of the head.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cupola_block::{Block, BlockError, BlockFormat, BlockMeta, BlockSpec, BlockWriter, Entry, Ulid, list_blocks};
use cupola_chunk::{EncodedChunk, Encoding, HistogramChunks, NativeValue, sort_native};
use cupola_env::Vfs;
use cupola_metrics::Gauge;
use cupola_storage::{SampleSource as _, Samples, Starts, StorageError};
use thiserror::Error;
use tracing::{error, info, warn};

use super::compact::{longest_block, sort, sync_names};
use super::{BlockInfo, Inner, OUT_OF_ORDER_HINT};
use crate::head::{ChunkRef, HeadSource};
use crate::options::Options;

/// Why a block could not be cut; the head keeps everything then.
#[derive(Debug, Error)]
pub(super) enum CutError {
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error("the log could not be synced, nor a checkpoint be written")]
    InDoubt,
    #[error("reading the head: {0}")]
    Head(#[from] StorageError),
}

impl From<CutError> for StorageError {
    fn from(error: CutError) -> Self {
        match error {
            CutError::Block(error) => error.into(),
            CutError::Head(error) => error,
            CutError::InDoubt => StorageError::Io {
                what: "cut a block".to_owned(),
                source: io::Error::other(error.to_string()),
            },
        }
    }
}

impl Inner {
    /// Cuts blocks while the head spans more than one and a half block lengths (Prometheus's rule), so that late samples
    /// still find their place in the head.
    pub(super) fn cut_due_blocks(&self) {
        let length = self.options.block_ms;
        while let Some(mint) = self.head.mint() {
            if self.head.maxt().saturating_sub(mint) <= length + length / 2 {
                break;
            }
            let step = mint.div_euclid(length);
            let (begin, end) = (step.saturating_mul(length), (step + 1).saturating_mul(length));
            self.metrics.compactions.inc();
            let started = Instant::now();
            let cut = self.cut(begin, end);
            self.metrics.compaction_seconds.observe(started.elapsed().as_secs_f64());
            match cut {
                Ok(()) => self.checkpoint_due.store(true, Ordering::Relaxed),
                Err(error) => {
                    self.metrics.compactions_failed.inc();
                    error!(%error, "cannot cut a block; the head keeps its samples, it is tried again");
                    break;
                }
            }
        }
        if self.checkpoint_due.load(Ordering::Relaxed) {
            let all_cut = self.cut_late();
            self.checkpoint();
            if !all_cut {
                self.checkpoint_due.store(true, Ordering::Relaxed);
            }
        }
    }

    // Writes blocks for late samples of times that were cut before. Whether that worked.
    fn cut_late(&self) -> bool {
        let length = self.options.block_ms;
        let outcome = self
            .head
            .late_ranges(length)
            .map_err(CutError::from)
            .and_then(|ranges| {
                for begin in ranges {
                    self.metrics.compactions.inc();
                    self.cut_late_range(begin, begin.saturating_add(length).min(self.head.floor()))?;
                }
                Ok(())
            });
        if let Err(error) = &outcome {
            self.metrics.compactions_failed.inc();
            error!(%error, "cannot cut a block of samples that came out of order; the head keeps them, it is tried again");
        }
        outcome.is_ok()
    }

    fn cut_late_range(&self, begin: i64, end: i64) -> Result<(), CutError> {
        let dir = &self.options.dir;
        let mut spec = BlockSpec::new(self.new_ulid(), begin, end).in_format(self.cut_format());
        spec.compaction.hints.push(OUT_OF_ORDER_HINT.to_owned());
        self.log_overlaps.store(true, Ordering::Relaxed);
        self.head.freeze_late();
        let written = self.write_block(dir, spec).and_then(|meta| match meta {
            Some(meta) => Ok(Some(self.open_new(&meta.dir_in(dir))?)),
            None => Ok(None),
        });
        match written {
            Ok(Some(block)) => {
                self.add_block(block);
                Ok(self.head.thaw_late(begin, end)?)
            }
            Ok(None) => Ok(self.head.thaw_late(0, 0)?),
            Err(error) => {
                self.head.thaw_late(0, 0)?;
                Err(error)
            }
        }
    }

    /// The format of blocks that are cut: that of merged ones. Where none are merged a sidecar ships what is cut (Thanos asks
    /// for a shortest block as long as the longest), and that is Prometheus's.
    fn cut_format(&self) -> BlockFormat {
        let Options {
            max_block_ms,
            retention_ms,
            block_ms,
            block_format,
            ..
        } = self.options;
        match longest_block(max_block_ms, retention_ms) > block_ms {
            true => block_format,
            false => BlockFormat::Prometheus,
        }
    }

    fn add_block(&self, block: Block) {
        let meta = block.meta();
        info!(ulid = %meta.ulid, series = meta.stats.num_series, samples = meta.stats.num_samples, "block written");
        let begin = meta.min_time;
        let mut blocks: Vec<Arc<Block>> = self.blocks.load().iter().cloned().collect();
        blocks.push(Arc::new(block));
        self.set_blocks(blocks);
        // The block holds the same samples; answers are made from it once all the same.
        self.head.note_change(begin);
    }

    /// A name for a new block.
    pub(super) fn new_ulid(&self) -> Ulid {
        new_ulid(self.clock.now_ms())
    }

    /// Writes what the head holds of the times in `spec` as a block in `dir`; `None`, and no block, where that is nothing.
    pub(super) fn write_block(&self, dir: &Path, spec: BlockSpec) -> Result<Option<BlockMeta>, CutError> {
        let (begin, end) = (spec.min_time, spec.max_time);
        let mut writer = BlockWriter::create(&self.vfs, dir, spec)?;
        let mut chunks = Chunks::default();
        for (labels, sources) in &self.head.sources(begin, end - 1) {
            chunks.read(sources, begin, end - 1, &mut writer)?;
            if !chunks.done.is_empty() {
                writer.add_entries(labels, &chunks.done)?;
                if let Some(starts) = starts(sources, begin, end - 1)? {
                    writer.add_starts(&starts);
                }
            }
        }
        if writer.series_count() == 0 {
            return Ok(None);
        }
        Ok(Some(writer.finish()?))
    }

    // Makes the block of `begin..end` and lets the head forget it.
    fn cut(&self, begin: i64, end: i64) -> Result<(), CutError> {
        self.log_overlaps.store(true, Ordering::Relaxed);
        // A batch may have been collected when these times were newer. What it has of them is late from now on.
        self.head.open_from(end);
        // What the block has of a batch must not be there without the rest of it after a power cut.
        self.head.sync_or_doubt();
        if self.head.is_in_doubt() && !self.checkpoint() {
            return Err(CutError::InDoubt);
        }
        self.head.freeze_late();
        let outcome = self.cut_in_order(begin, end);
        let (begin, end) = if outcome.is_ok() { (begin, end) } else { (0, 0) };
        let thawed = self.head.thaw_late(begin, end).map_err(CutError::from);
        outcome.and(thawed)
    }

    fn cut_in_order(&self, begin: i64, end: i64) -> Result<(), CutError> {
        let dir = &self.options.dir;
        let spec = BlockSpec::new(self.new_ulid(), begin, end).in_format(self.cut_format());
        let Some(meta) = self.write_block(dir, spec)? else {
            // Nothing was scraped in these two hours, and perhaps not in many after them: on to the next sample.
            let length = self.options.block_ms;
            let next = || -> Result<i64, StorageError> {
                let next = self.head.first_sample_from(end)?.unwrap_or(end);
                // Samples that are half a block late are still taken in order.
                let next = next.min(self.head.maxt().saturating_sub(length / 2)).max(end);
                Ok(next.div_euclid(length).saturating_mul(length))
            };
            let until = next()?;
            self.head.open_from(until);
            // Older samples may have been let in meanwhile.
            let until = until.min(next()?);
            self.truncate(until);
            return Ok(());
        };
        self.add_block(self.open_new(&meta.dir_in(dir))?);
        self.truncate(end);
        Ok(())
    }

    /// Drops from the head what is older than `until`.
    pub(super) fn truncate(&self, until: i64) {
        let begin = Instant::now();
        self.metrics.truncations.inc();
        self.head.truncate(until);
        self.metrics.truncate_seconds.observe(begin.elapsed().as_secs_f64());
    }

    /// Writes a checkpoint; whether that worked. None is written as long as the log was not read to its end: what was not
    /// read is there and nowhere else.
    pub(super) fn checkpoint(&self) -> bool {
        if !self.replay.is_done() {
            return false;
        }
        // A checkpoint stands for the log before it, which goes with it.
        let begin = Instant::now();
        self.metrics.checkpoints.inc();
        self.metrics.log_truncations.inc();
        // What blocks have it leaves out.
        let named = sync_names(&*self.vfs, &self.options.dir);
        let outcome = named.and_then(|()| self.head.checkpoint(&|| self.tails.held()));
        let outcome = outcome.map(|released| self.tails.note(released));
        self.metrics.log_truncate_seconds.observe(begin.elapsed().as_secs_f64());
        self.log_overlaps.fetch_and(outcome.is_err(), Ordering::Relaxed);
        if let Err(error) = &outcome {
            self.metrics.checkpoints_failed.inc();
            self.metrics.log_truncations_failed.inc();
            warn!(%error, "cannot write a checkpoint; the log stays longer than needed, it is tried again");
        } else {
            let is_noted = self.note_imported();
            self.checkpoint_due.store(!is_noted, Ordering::Relaxed);
        }
        outcome.is_ok()
    }
}

/// Since when the samples between two times, both inclusive, count; `None` where nobody said it.
fn starts(sources: &[HeadSource], mint: i64, maxt: i64) -> Result<Option<Starts>, StorageError> {
    if sources.iter().all(|source| source.starts().is_none()) {
        return Ok(None);
    }
    if let [source] = sources {
        return Ok(source.starts().map(|starts| starts.between(mint, maxt)));
    }
    let mut all = Vec::new();
    for source in sources {
        let mut samples = Samples::default();
        source.read(mint, maxt, &mut samples)?;
        all.extend(samples.iter().map(|(ts, _, start)| (ts, start)));
    }
    // Stable: of samples of one moment the first source's stays.
    all.sort_by_key(|(ts, _)| *ts);
    all.dedup_by_key(|(ts, _)| *ts);
    Ok(Some(Starts::of(all)))
}

/// A name for a block that is made now.
pub(super) fn new_ulid(now_ms: i64) -> Ulid {
    // The random part tells blocks of one millisecond apart; the hasher's keys are the system's randomness.
    let random = || u128::from(RandomState::new().hash_one(now_ms));
    Ulid::new(now_ms, random() << 64 | random())
}

/// Chunks of one series for a block.
#[derive(Default)]
struct Chunks {
    floats: Samples,
    done: Vec<Entry>,
}

impl Chunks {
    // Floats are encoded anew from wherever they begin; chunks of histograms stay as they are where they lie in the range.
    fn read(&mut self, sources: &[HeadSource], mint: i64, maxt: i64, writer: &mut BlockWriter) -> Result<(), CutError> {
        self.done.clear();
        let [source] = sources else {
            return self.merge(sources, mint, maxt, writer);
        };
        let mint = mint.max(source.floor());
        for (first, last, chunk) in source
            .chunks()
            .filter(|(first, last, _)| *first <= maxt && mint <= *last)
        {
            match chunk {
                ChunkRef::Columnar(_) | ChunkRef::SharedTimes(_) | ChunkRef::Prometheus(Encoding::Xor, _) => {
                    chunk.read(mint, maxt, &mut self.floats)?;
                }
                ChunkRef::Prometheus(encoding, bytes) => {
                    self.end_floats(writer)?;
                    if mint <= first && last <= maxt {
                        let chunk = EncodedChunk {
                            mint: first,
                            maxt: last,
                            encoding,
                            bytes: bytes.to_vec(),
                        };
                        self.done.push(chunk.into());
                    } else {
                        self.cut_histograms(&chunk, mint, maxt)?;
                    }
                }
            }
        }
        self.end_floats(writer)
    }

    // Of a series with samples out of order; of those of one moment the first source's stays.
    fn merge(
        &mut self,
        sources: &[HeadSource],
        mint: i64,
        maxt: i64,
        writer: &mut BlockWriter,
    ) -> Result<(), CutError> {
        let mut samples = Vec::new();
        for source in sources {
            let mut some = Vec::new();
            source.read_native(&mut some)?;
            some.retain(|(ts, _)| (mint.max(source.floor())..=maxt).contains(ts));
            samples.append(&mut some);
        }
        sort_native(&mut samples);
        let mut histograms = HistogramChunks::default();
        for (ts, value) in &samples {
            match value {
                NativeValue::Float(value) => {
                    histograms.finish();
                    self.done.extend(histograms.done.drain(..).map(Entry::from));
                    self.floats.push(*ts, *value);
                }
                NativeValue::Histogram(histogram) => {
                    self.end_floats(writer)?;
                    let pushed = histograms.push(*ts, histogram);
                    pushed.map_err(|error| StorageError::Corrupt(format!("head chunk: {error}")))?;
                }
            }
        }
        histograms.finish();
        self.done.extend(histograms.done.into_iter().map(Entry::from));
        self.end_floats(writer)
    }

    fn cut_histograms(&mut self, chunk: &ChunkRef<'_>, mint: i64, maxt: i64) -> Result<(), StorageError> {
        let mut samples = Vec::new();
        chunk.read_native(&mut samples)?;
        let mut chunks = HistogramChunks::default();
        for (ts, value) in &samples {
            if let NativeValue::Histogram(histogram) = value
                && (mint..=maxt).contains(ts)
            {
                let pushed = chunks.push(*ts, histogram);
                pushed.map_err(|error| StorageError::Corrupt(format!("head chunk: {error}")))?;
            }
        }
        chunks.finish();
        self.done.extend(chunks.done.into_iter().map(Entry::from));
        Ok(())
    }

    fn end_floats(&mut self, writer: &mut BlockWriter) -> Result<(), CutError> {
        writer.encode(&self.floats.ts, &self.floats.values, &mut self.done)?;
        self.floats.clear();
        Ok(())
    }
}

/// Opens all blocks of a folder; one that cannot be opened is reported, counted and left as it is.
pub(super) fn open_blocks(dir: &Path, vfs: &Arc<dyn Vfs>, left_out: &Gauge) -> io::Result<Vec<Arc<Block>>> {
    let list = list_blocks(&**vfs, dir).map_err(io::Error::other)?;
    for broken in &list.broken {
        left_out.add(1.0);
        error!(dir = %broken.dir.display(), error = %broken.error, "block cannot be read and is left out");
    }
    for leftover in &list.leftovers {
        let dir = leftover.display();
        // Unfinished blocks, whose samples are still where they were taken from, and half deleted ones. Prometheus removes
        // both as well; else each interrupted merge would cost the disk of a block.
        let is_ours = leftover
            .extension()
            .is_some_and(|e| e == "tmp-for-creation" || e == "tmp-for-deletion");
        match is_ours.then(|| vfs.remove_dir_all(leftover)) {
            Some(Ok(())) => info!(%dir, "removed a folder that an interrupted run left"),
            Some(Err(error)) => warn!(%dir, %error, "cannot remove a folder that an interrupted run left"),
            None => warn!(%dir, "an interrupted run left this folder; it is not used and may be deleted"),
        }
    }
    let mut blocks = Vec::new();
    for (dir, _) in &list.blocks {
        match Block::open(vfs, dir) {
            Ok(block) => blocks.push(Arc::new(block)),
            Err(error) => {
                left_out.add(1.0);
                error!(dir = %dir.display(), %error, "block cannot be opened and is left out");
            }
        }
    }
    sort(&mut blocks);
    Ok(blocks)
}

pub(super) fn block_info(block: &Block) -> BlockInfo {
    let meta = block.meta();
    BlockInfo {
        ulid: meta.ulid.to_string(),
        mint: meta.min_time,
        maxt: meta.max_time,
        bytes: block.size_bytes(),
        series: meta.stats.num_series,
        samples: meta.stats.num_samples,
        level: meta.compaction.level,
    }
}
