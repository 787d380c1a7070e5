//! One series of the head: its sealed chunks and the one that grows.

use std::sync::Arc;

use cupola_chunk::XorAppender;
use cupola_storage::{AppendError, SampleSource, Samples, StorageError};

use super::index::PairIds;
use crate::wal::LoggedChunk;

// As Prometheus: a chunk is sealed at this many samples.
const SAMPLES_PER_CHUNK: usize = 120;

/// A chunk that no longer changes.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub mint: i64,
    pub maxt: i64,
    pub bytes: Arc<[u8]>,
}

pub(crate) struct MemSeries {
    /// Its labels, as the index knows them.
    pub labels: PairIds,
    pub sealed: Vec<Sealed>,
    open: Option<Open>,
    // Time and bits of the newest sample, where there is one.
    last_ts: i64,
    last_bits: u64,
    has_last: bool,
    /// Whether the log holds this series' labels.
    pub logged: bool,
}

struct Open {
    mint: i64,
    appender: XorAppender,
}

impl MemSeries {
    pub(crate) fn new(labels: PairIds) -> Self {
        Self {
            labels,
            sealed: Vec::new(),
            open: None,
            last_ts: 0,
            last_bits: 0,
            has_last: false,
            logged: false,
        }
    }

    // Time of the newest sample.
    fn last(&self) -> Option<i64> {
        self.has_last.then_some(self.last_ts)
    }

    fn set_last(&mut self, ts: i64, bits: u64) {
        (self.last_ts, self.last_bits, self.has_last) = (ts, bits, true);
    }

    /// Whether a sample may follow the newest one. `Ok(false)`: it is the newest one, again.
    pub(crate) fn check(&self, ts: i64, value: f64) -> Result<bool, AppendError> {
        match self.last() {
            Some(last) if ts < last => Err(AppendError::OutOfOrder),
            Some(last) if ts == last && self.last_bits == value.to_bits() => Ok(false),
            Some(last) if ts == last => Err(AppendError::Duplicate),
            _ => Ok(true),
        }
    }

    /// Adds a sample that `check` allowed.
    pub(crate) fn push(&mut self, ts: i64, value: f64) {
        let open = self.open.get_or_insert_with(|| Open {
            mint: ts,
            appender: XorAppender::new(),
        });
        let appended = open.appender.append(ts, value);
        debug_assert!(appended.is_ok(), "a chunk is sealed long before it is full");
        let is_full = usize::from(open.appender.num_samples()) >= SAMPLES_PER_CHUNK;
        self.set_last(ts, value.to_bits());
        if is_full {
            self.seal();
        }
    }

    fn seal(&mut self) {
        let Some(open) = self.open.take() else { return };
        self.add_sealed(Sealed {
            mint: open.mint,
            maxt: self.last_ts,
            bytes: open.appender.bytes().into(),
        });
    }

    fn add_sealed(&mut self, chunk: Sealed) {
        // There are a handful of them: room for more is not made in advance.
        self.sealed.reserve_exact(1);
        self.sealed.push(chunk);
    }

    /// Takes over a chunk of a checkpoint; chunks come oldest first.
    pub(crate) fn restore(&mut self, chunk: &LoggedChunk) -> Result<(), StorageError> {
        let mut samples = Samples::default();
        decode(&chunk.bytes, i64::MIN, i64::MAX, &mut samples)?;
        let (Some(ts), Some(value)) = (samples.ts.last(), samples.values.last()) else {
            return Ok(());
        };
        if self.last().is_some_and(|last| chunk.mint <= last) {
            return Ok(());
        }
        self.set_last(*ts, value.to_bits());
        self.add_sealed(Sealed {
            mint: chunk.mint,
            maxt: chunk.maxt,
            bytes: chunk.bytes.as_slice().into(),
        });
        Ok(())
    }

    /// Oldest and newest sample.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        let first = self
            .sealed
            .first()
            .map(|c| c.mint)
            .or(self.open.as_ref().map(|o| o.mint))?;
        Some((first, self.last()?))
    }

    /// Number of chunks, the open one included.
    pub(crate) fn chunk_count(&self) -> usize {
        self.sealed.len() + usize::from(self.open.is_some())
    }

    /// Forgets chunks that end before `mint`. True where nothing is left.
    pub(crate) fn truncate(&mut self, mint: i64) -> bool {
        self.sealed.retain(|chunk| chunk.maxt >= mint);
        self.sealed.shrink_to_fit();
        if self.last().is_some_and(|last| last < mint) {
            self.open = None;
        }
        self.sealed.is_empty() && self.open.is_none()
    }

    /// All chunks as a checkpoint keeps them, oldest first.
    pub(crate) fn chunks(&self, series: u64) -> Vec<LoggedChunk> {
        let mut all: Vec<LoggedChunk> = self
            .sealed
            .iter()
            .map(|c| LoggedChunk {
                series,
                mint: c.mint,
                maxt: c.maxt,
                bytes: c.bytes.to_vec(),
            })
            .collect();
        if let Some(open) = &self.open {
            all.push(LoggedChunk {
                series,
                mint: open.mint,
                maxt: self.last_ts,
                bytes: open.appender.bytes().to_vec(),
            });
        }
        all
    }

    /// What a reader of `mint..=maxt` needs, detached from the head: sealed chunks are shared, the open one is copied.
    pub(crate) fn snapshot(&self, mint: i64, maxt: i64) -> Option<HeadSource> {
        let mut chunks: Vec<Sealed> = self
            .sealed
            .iter()
            .filter(|c| c.maxt >= mint && c.mint <= maxt)
            .cloned()
            .collect();
        if let Some(open) = &self.open
            && self.last_ts >= mint
            && open.mint <= maxt
        {
            chunks.push(Sealed {
                mint: open.mint,
                maxt: self.last_ts,
                bytes: open.appender.bytes().into(),
            });
        }
        (!chunks.is_empty()).then_some(HeadSource { chunks, floor: mint })
    }
}

/// The samples of one series as they were when it was selected.
pub(crate) struct HeadSource {
    chunks: Vec<Sealed>,
    // Samples older than this are a block's.
    floor: i64,
}

impl SampleSource for HeadSource {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let mint = mint.max(self.floor);
        for chunk in self.chunks.iter().filter(|c| c.maxt >= mint && c.mint <= maxt) {
            decode(&chunk.bytes, mint, maxt, out)?;
        }
        Ok(())
    }

    fn span(&self) -> (i64, i64) {
        let first = self
            .chunks
            .first()
            .map_or(self.floor, |chunk| chunk.mint.max(self.floor));
        (first, self.chunks.last().map_or(first, |chunk| chunk.maxt))
    }
}

fn decode(bytes: &[u8], mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
    cupola_chunk::decode_into(bytes, mint, maxt, &mut out.ts, &mut out.values)
        .map_err(|e| StorageError::Corrupt(format!("head chunk: {e}")))
}
