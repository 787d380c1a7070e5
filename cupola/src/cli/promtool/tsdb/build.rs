//! Samples gathered series by series and written as a block, cut into chunks as Prometheus's head cuts them.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;

use cupola_block::{BlockError, BlockMeta, BlockSpec, BlockWriter, NewChunk, Ulid};
use cupola_chunk::{Encoding, XorAppender};
use cupola_env::{Clock as _, RealFs, SystemClock};
use cupola_model::Labels;

/// Two hours, Prometheus's shortest block, in milliseconds.
pub(super) const SHORTEST_MS: i64 = 2 * 3_600_000;

const SAMPLES_PER_CHUNK: u16 = 120;
// Prometheus 3 ends a chunk of floats here, whatever it holds.
const CHUNK_BYTES: usize = 1024 - 19;
// Samples that Prometheus's importer appends before it commits; what is out of order within them is left out silently
// there, what is out of order with those before is an error.
const BATCH: usize = 5_000;

/// How long blocks are that may be `max_ms` long: 2 hours, 20 or 200.
pub(super) fn block_ms(max_ms: i64) -> i64 {
    let ranges = [SHORTEST_MS, 10 * SHORTEST_MS, 100 * SHORTEST_MS];
    ranges
        .into_iter()
        .rfind(|range| *range <= max_ms)
        .unwrap_or(SHORTEST_MS)
}

/// Why a sample cannot be taken; the texts are Prometheus's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    OutOfOrder,
    Duplicate,
}

impl Refused {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::OutOfOrder => "out of order sample",
            Self::Duplicate => "duplicate sample for timestamp",
        }
    }
}

/// The samples of one block, compressed.
#[derive(Debug)]
pub(super) struct Gathered {
    window_ms: i64,
    by_labels: HashMap<Labels, usize>,
    runs: Vec<(Labels, Run)>,
    batch: Batch,
    range: Option<(i64, i64)>,
    left_out: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Batch {
    number: u64,
    samples: usize,
}

#[derive(Debug)]
struct Run {
    chunks: Vec<Chunk>,
    open: XorAppender,
    // First sample of the open chunk, and the time at which it ends at the latest.
    mint: i64,
    end: i64,
    last: Option<(i64, u64)>,
    // The last sample of earlier batches, and the batch of `last`.
    committed: Option<(i64, u64)>,
    batch: u64,
}

#[derive(Debug)]
struct Chunk {
    mint: i64,
    maxt: i64,
    bytes: Vec<u8>,
}

impl Gathered {
    /// For a block of `block_ms`.
    pub(super) fn new(block_ms: i64) -> Self {
        Self {
            // As upstream, which pretends that the block is twice as long, so that chunks go to its end.
            window_ms: 2 * block_ms,
            by_labels: HashMap::new(),
            runs: Vec::new(),
            batch: Batch::default(),
            range: None,
            left_out: 0,
        }
    }

    /// The number of a series, for [`Gathered::add`].
    pub(super) fn series(&mut self, labels: &Labels) -> usize {
        if let Some(number) = self.by_labels.get(labels) {
            return *number;
        }
        let number = self.runs.len();
        self.by_labels.insert(labels.clone(), number);
        self.runs.push((
            labels.clone(),
            Run {
                chunks: Vec::new(),
                open: XorAppender::new(),
                mint: 0,
                end: 0,
                last: None,
                committed: None,
                batch: 0,
            },
        ));
        number
    }

    /// Adds a sample. One that is not newer than the one before it is left out where that came with the same batch,
    /// and refused where it did not.
    pub(super) fn add(&mut self, series: usize, ts: i64, value: f64) -> Result<(), Refused> {
        let Some((_, run)) = self.runs.get_mut(series) else {
            return Ok(());
        };
        if run.batch != self.batch.number {
            run.batch = self.batch.number;
            run.committed = run.last;
        }
        match run.committed {
            Some((last, _)) if ts < last => return Err(Refused::OutOfOrder),
            Some((last, bits)) if ts == last && bits != value.to_bits() => return Err(Refused::Duplicate),
            _ => {}
        }
        match run.last {
            // The same sample twice is nothing lost.
            Some(last) if last == (ts, value.to_bits()) => {}
            Some((last, _)) if ts <= last => self.left_out += 1,
            _ => {
                run.push(ts, value, self.window_ms);
                let (mint, maxt) = self.range.unwrap_or((ts, ts));
                self.range = Some((mint.min(ts), maxt.max(ts)));
            }
        }
        self.batch.samples += 1;
        if self.batch.samples == BATCH {
            self.batch = Batch {
                number: self.batch.number + 1,
                samples: 0,
            };
        }
        Ok(())
    }

    /// How many samples were left out.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Writes the block to the data folder `dir`; `None` where there are no samples.
    pub(super) fn write(self, dir: &Path) -> Result<Option<BlockMeta>, BlockError> {
        let Some((mint, maxt)) = self.range else {
            return Ok(None);
        };
        let ulid = Ulid::new(SystemClock.now_ms(), random() << 64 | random());
        let mut writer = BlockWriter::create(
            &RealFs::shared(),
            dir,
            BlockSpec::new(ulid, mint, maxt.saturating_add(1)),
        )?;
        let mut runs = self.runs;
        runs.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (labels, mut run) in runs {
            run.cut();
            if run.chunks.is_empty() {
                continue;
            }
            let chunks = run.chunks.iter().map(|chunk| NewChunk {
                mint: chunk.mint,
                maxt: chunk.maxt,
                encoding: Encoding::Xor,
                bytes: &chunk.bytes,
            });
            writer.add_series(&labels, chunks)?;
        }
        writer.finish().map(Some)
    }
}

impl Run {
    fn push(&mut self, ts: i64, value: f64, window_ms: i64) {
        let count = self.open.num_samples();
        if count == SAMPLES_PER_CHUNK / 4 {
            let last = self.last.map_or(self.mint, |(last, _)| last);
            self.end = chunk_end(self.mint, last, self.end);
        }
        let is_full = count >= 2 * SAMPLES_PER_CHUNK || self.open.bytes().len() > CHUNK_BYTES;
        if count > 0 && (is_full || ts >= self.end) {
            self.cut();
        }
        if self.open.num_samples() == 0 {
            self.mint = ts;
            self.end = ts.div_euclid(window_ms).saturating_add(1).saturating_mul(window_ms);
        }
        // It fails at 65,535 samples only, and a chunk ends long before.
        let _ = self.open.append(ts, value);
        self.last = Some((ts, value.to_bits()));
    }

    fn cut(&mut self) {
        if self.open.num_samples() == 0 {
            return;
        }
        self.chunks.push(Chunk {
            mint: self.mint,
            maxt: self.last.map_or(self.mint, |(last, _)| last),
            bytes: self.open.take(),
        });
    }
}

// When a chunk that is a quarter full ends, so that those up to `end` are equally full.
fn chunk_end(mint: i64, last: i64, end: i64) -> i64 {
    let chunks = (end.saturating_sub(mint)) as f64 / ((last.saturating_sub(mint) + 1) as f64 * 4.0);
    if chunks <= 1.0 {
        return end;
    }
    (mint as f64 + end.saturating_sub(mint) as f64 / chunks.floor()) as i64
}

// 64 random bits: the keys of a new hasher are.
fn random() -> u128 {
    u128::from(RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_long_as_they_may_be() {
        for (max_hours, hours) in [(0, 2), (2, 2), (19, 2), (20, 20), (199, 20), (200, 200), (9_999, 200)] {
            assert_eq!(block_ms(max_hours * 3_600_000), hours * 3_600_000, "{max_hours} h");
        }
    }

    #[test]
    fn chunks_end_where_prometheus_ends_them() {
        // Every 15 s: a quarter of a chunk takes 435 s, so that 8 chunks fill 4 hours.
        assert_eq!(chunk_end(0, 435_000, 14_400_000), 1_800_000);
        assert_eq!(chunk_end(0, 3_600_000, 14_400_000), 14_400_000);
        let mut gathered = Gathered::new(SHORTEST_MS);
        let series = gathered.series(&Labels::from_pairs([("__name__", "a")]));
        for n in 0..480 {
            gathered.add(series, n * 15_000, 1.0).unwrap();
        }
        let (_, run) = &gathered.runs[0];
        let starts: Vec<i64> = run.chunks.iter().map(|chunk| chunk.mint).collect();
        assert_eq!(starts, [0, 1_800_000, 3_600_000]);
    }

    #[test]
    fn what_is_out_of_order_is_left_out_or_refused() {
        let mut gathered = Gathered::new(SHORTEST_MS);
        let series = gathered.series(&Labels::from_pairs([("__name__", "a")]));
        for (ts, value, left_out) in [(5, 1.0, 0), (5, 1.0, 0), (5, 2.0, 1), (4, 1.0, 2)] {
            assert_eq!(gathered.add(series, ts, value), Ok(()));
            assert_eq!(gathered.left_out(), left_out);
        }
        for ts in 6..5_002 {
            gathered.add(series, ts, 1.0).unwrap();
        }
        assert_eq!(gathered.add(series, 5_000, 1.0), Err(Refused::OutOfOrder));
        assert_eq!(gathered.add(series, 5_001, 3.0), Err(Refused::Duplicate));
        assert_eq!(gathered.add(series, 5_001, 1.0), Ok(()));
        assert_eq!(gathered.left_out(), 2);
    }
}
