//! One series of the head: its sealed chunks and the one that grows.

use std::sync::Arc;

use cupola_chunk::{ChunkError, XorAppender, columnar};
use cupola_storage::{AppendError, SampleSource, Samples, StorageError};

use super::index::PairIds;
use crate::wal::{LoggedChunk, Packing};

// As Prometheus: a chunk is sealed at this many samples.
const SAMPLES_PER_CHUNK: usize = 120;

/// A chunk that no longer changes, in our columnar encoding: a third to a half of the XOR chunk, and faster to read.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub mint: i64,
    pub maxt: i64,
    pub bytes: Arc<[u8]>,
}

pub(crate) struct MemSeries {
    /// Its labels, as the index knows them.
    pub labels: PairIds,
    /// Oldest first; there are a handful of them.
    pub sealed: Box<[Sealed]>,
    // The chunk that grows, empty after one was sealed, and the newest sample.
    open: XorAppender,
    // Its oldest sample, where it has one.
    open_mint: i64,
    /// Whether the log holds this series' labels.
    pub logged: bool,
}

impl MemSeries {
    pub(crate) fn new(labels: PairIds) -> Self {
        Self {
            labels,
            sealed: Box::default(),
            open: XorAppender::new(),
            open_mint: 0,
            logged: false,
        }
    }

    /// A series that another one, which has the labels, stands for.
    pub(crate) fn unlabelled() -> Self {
        Self::new(Box::default())
    }

    fn has_open(&self) -> bool {
        self.open.num_samples() > 0
    }

    // Time of the newest sample.
    fn last(&self) -> Option<i64> {
        self.open.last_ts()
    }

    /// Whether a sample may follow the newest one. `Ok(false)`: it is the newest one, again.
    pub(crate) fn check(&self, ts: i64, value: f64) -> Result<bool, AppendError> {
        let (Some(last_ts), Some(last)) = (self.open.last_ts(), self.open.last_value()) else {
            return Ok(true);
        };
        if ts > last_ts {
            Ok(true)
        } else if ts < last_ts {
            Err(AppendError::OutOfOrder)
        } else if last.to_bits() == value.to_bits() {
            Ok(false)
        } else {
            Err(AppendError::Duplicate)
        }
    }

    /// Adds a sample that `check` allowed; 1 where it begins a chunk, otherwise 0.
    pub(crate) fn push(&mut self, ts: i64, value: f64) -> usize {
        let begins = !self.has_open();
        if begins {
            self.open_mint = ts;
        }
        let appended = self.open.append(ts, value);
        debug_assert!(appended.is_ok(), "a chunk is sealed long before it is full");
        self.seal(SAMPLES_PER_CHUNK);
        usize::from(begins)
    }

    /// Adds a sample in its place, wherever that is. `Ok(false)`: there is one of that time, which stays.
    ///
    /// # Errors
    /// Where the chunk it belongs into cannot be decoded; nothing is added.
    pub(crate) fn insert(&mut self, ts: i64, value: f64) -> Result<bool, StorageError> {
        match self.check(ts, value) {
            Ok(true) => {
                self.push(ts, value);
                return Ok(true);
            }
            Ok(false) | Err(AppendError::Duplicate) => return Ok(false),
            Err(_) => {}
        }
        let in_open = self.has_open() && (self.sealed.is_empty() || ts >= self.open_mint);
        let after = self.sealed.partition_point(|chunk| chunk.mint <= ts);
        let at = after.saturating_sub(1);
        let mut samples = Samples::default();
        match self.sealed.get(at) {
            Some(chunk) if !in_open => decode_sealed(&chunk.bytes, i64::MIN, i64::MAX, &mut samples)?,
            _ => decode(self.open.bytes(), i64::MIN, i64::MAX, &mut samples)?,
        }
        let Err(place) = samples.ts.binary_search(&ts) else {
            return Ok(false);
        };
        samples.ts.insert(place, ts);
        samples.values.insert(place, value);
        if in_open {
            let last = self.last();
            let mut open = XorAppender::new();
            for (ts, value) in samples.ts.iter().zip(&samples.values) {
                let appended = open.append(*ts, *value);
                debug_assert!(
                    appended.is_ok() && *ts <= last.unwrap_or(*ts),
                    "one more than there were, in order"
                );
            }
            (self.open, self.open_mint) = (open, samples.ts.first().copied().unwrap_or(ts));
            self.seal(SAMPLES_PER_CHUNK);
            return Ok(true);
        }
        let parts = if samples.ts.len() < 2 * SAMPLES_PER_CHUNK { 1 } else { 2 };
        let size = samples.ts.len().div_ceil(parts);
        let mut anew = Vec::with_capacity(parts);
        for (ts, values) in samples.ts.chunks(size).zip(samples.values.chunks(size)) {
            let mut bytes = Vec::new();
            columnar::encode(ts, values, &mut bytes).map_err(|e| corrupt(&e))?;
            if let (Some(mint), Some(maxt)) = (ts.first(), ts.last()) {
                anew.push(Sealed {
                    mint: *mint,
                    maxt: *maxt,
                    bytes: bytes.into(),
                });
            }
        }
        let mut all = std::mem::take(&mut self.sealed).into_vec();
        all.splice(at..=at, anew);
        self.sealed = all.into();
        Ok(true)
    }

    // Ends the open chunk where it has `least` samples.
    fn seal(&mut self, least: usize) {
        let Some(maxt) = self.last().filter(|_| usize::from(self.open.num_samples()) >= least) else {
            return;
        };
        let mut bytes = Vec::new();
        let mut samples = Samples::default();
        let decoded = decode(self.open.bytes(), i64::MIN, i64::MAX, &mut samples);
        let encoded = columnar::encode(&samples.ts, &samples.values, &mut bytes);
        if decoded.is_err() || encoded.is_err() {
            debug_assert!(false, "what was appended a moment ago can be read");
            // It stays open: nothing is lost.
            return;
        }
        self.open.take();
        self.add_sealed(Sealed {
            mint: self.open_mint,
            maxt,
            bytes: bytes.into(),
        });
    }

    fn add_sealed(&mut self, chunk: Sealed) {
        let mut all = std::mem::take(&mut self.sealed).into_vec();
        all.reserve_exact(1);
        all.push(chunk);
        self.sealed = all.into();
    }

    /// Takes over a chunk of a checkpoint, unless it is there already; chunks come oldest first.
    pub(crate) fn restore(&mut self, chunk: &LoggedChunk) -> Result<bool, StorageError> {
        if self.last().is_some_and(|last| chunk.mint <= last) {
            return Ok(false);
        }
        if chunk.packing == Packing::Columnar {
            let mut samples = Samples::default();
            decode_sealed(&chunk.bytes, i64::MIN, i64::MAX, &mut samples)?;
            let (Some(ts), Some(value)) = (samples.ts.last(), samples.values.last()) else {
                return Ok(false);
            };
            self.seal(1);
            self.open = XorAppender::after(*ts, *value);
            self.add_sealed(Sealed {
                mint: chunk.mint,
                maxt: chunk.maxt,
                bytes: chunk.bytes.as_slice().into(),
            });
            return Ok(true);
        }
        // Going on where the chunk ends costs its decoding, which tells whether it can be read.
        let open = XorAppender::resume(chunk.bytes.clone()).map_err(|e| corrupt(&e))?;
        if open.num_samples() == 0 {
            return Ok(false);
        }
        self.seal(1);
        (self.open, self.open_mint) = (open, chunk.mint);
        self.seal(SAMPLES_PER_CHUNK);
        Ok(true)
    }

    /// Puts what an earlier process had of this series before what it has now. Whether the two overlapped in time; then
    /// they are merged, and of two samples of one time the earlier process's stays.
    ///
    /// # Errors
    /// Where chunks cannot be decoded; the series keeps what it has now.
    pub(crate) fn put_before(&mut self, mut past: Self) -> Result<bool, StorageError> {
        let mut now = Samples::default();
        self.read_all(&mut now)?;
        let overlap = match (past.last(), now.ts.first()) {
            (Some(last), Some(first)) => *first <= last,
            _ => false,
        };
        if overlap {
            let mut before = Samples::default();
            past.read_all(&mut before)?;
            past = Self::unlabelled();
            let before = before.ts.into_iter().zip(before.values);
            let now = std::mem::take(&mut now);
            let mut all: Vec<(i64, f64)> = before.chain(now.ts.into_iter().zip(now.values)).collect();
            // Stable, so the earlier process's sample comes first.
            all.sort_by_key(|(ts, _)| *ts);
            all.dedup_by_key(|(ts, _)| *ts);
            for (ts, value) in all {
                past.push(ts, value);
            }
        }
        for (ts, value) in now.ts.iter().zip(&now.values) {
            past.push(*ts, *value);
        }
        past.labels = std::mem::take(&mut self.labels);
        past.logged = self.logged;
        *self = past;
        Ok(overlap)
    }

    /// The times of all samples.
    pub(crate) fn times(&self) -> Result<Vec<i64>, StorageError> {
        let mut samples = Samples::default();
        self.read_all(&mut samples)?;
        Ok(samples.ts)
    }

    fn read_all(&self, out: &mut Samples) -> Result<(), StorageError> {
        for chunk in &self.sealed {
            decode_sealed(&chunk.bytes, i64::MIN, i64::MAX, out)?;
        }
        if self.has_open() {
            decode(self.open.bytes(), i64::MIN, i64::MAX, out)?;
        }
        Ok(())
    }

    /// Adds the samples of a chunk of a checkpoint, each in its place.
    ///
    /// # Errors
    /// Where the chunk, or one that a sample belongs into, cannot be decoded.
    pub(crate) fn add(&mut self, chunk: &LoggedChunk) -> Result<(), StorageError> {
        let mut samples = Samples::default();
        match chunk.packing {
            Packing::Xor => decode(&chunk.bytes, i64::MIN, i64::MAX, &mut samples)?,
            Packing::Columnar => decode_sealed(&chunk.bytes, i64::MIN, i64::MAX, &mut samples)?,
        }
        for (ts, value) in samples.ts.iter().zip(&samples.values) {
            self.insert(*ts, *value)?;
        }
        Ok(())
    }

    /// Oldest and newest sample.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        let open = self.has_open().then_some(self.open_mint);
        let first = self.sealed.first().map(|chunk| chunk.mint).or(open)?;
        Some((first, self.last()?))
    }

    /// Number of chunks, the open one included.
    pub(crate) fn chunk_count(&self) -> usize {
        self.sealed.len() + usize::from(self.has_open())
    }

    /// Forgets chunks that end before `mint`.
    pub(crate) fn truncate(&mut self, mint: i64) {
        if self.sealed.first().is_some_and(|chunk| chunk.maxt < mint) {
            let kept = std::mem::take(&mut self.sealed).into_iter();
            self.sealed = kept.filter(|chunk| chunk.maxt >= mint).collect();
        }
        if self.last().is_some_and(|last| last < mint) {
            self.open.take();
        }
    }

    /// Deletes the samples from `mint` to `maxt`, both inclusive; whether there were any.
    pub(crate) fn delete(&mut self, mint: i64, maxt: i64) -> Result<bool, StorageError> {
        if self.bounds().is_none_or(|(first, last)| last < mint || maxt < first) {
            return Ok(false);
        }
        let mut samples = Samples::default();
        self.read_all(&mut samples)?;
        let mut left = Self::new(std::mem::take(&mut self.labels));
        left.logged = self.logged;
        for (ts, value) in samples.ts.iter().zip(&samples.values) {
            if !(mint..=maxt).contains(ts) {
                left.push(*ts, *value);
            }
        }
        *self = left;
        Ok(true)
    }

    /// All chunks as a checkpoint keeps them, oldest first.
    pub(crate) fn chunks(&self, series: u64) -> Vec<LoggedChunk> {
        let mut all: Vec<LoggedChunk> = self
            .sealed
            .iter()
            .map(|c| LoggedChunk {
                series,
                packing: Packing::Columnar,
                mint: c.mint,
                maxt: c.maxt,
                bytes: c.bytes.to_vec(),
                is_late: false,
            })
            .collect();
        if self.has_open() {
            all.push(LoggedChunk {
                series,
                packing: Packing::Xor,
                mint: self.open_mint,
                maxt: self.last().unwrap_or(self.open_mint),
                bytes: self.open.bytes().to_vec(),
                is_late: false,
            });
        }
        all
    }

    /// What a reader of `mint..=maxt` needs, detached from the head: sealed chunks are shared, the open one is copied.
    pub(crate) fn snapshot(&self, mint: i64, maxt: i64) -> Option<HeadSource> {
        let sealed = self.sealed.iter().filter(|c| c.maxt >= mint && c.mint <= maxt);
        let sealed: Vec<Sealed> = sealed.cloned().collect();
        let open = self.last().filter(|last| self.has_open() && *last >= mint);
        let open = open.filter(|_| self.open_mint <= maxt).map(|last| Open {
            mint: self.open_mint,
            maxt: last,
            bytes: self.open.bytes().into(),
        });
        (!sealed.is_empty() || open.is_some()).then_some(HeadSource {
            sealed,
            open,
            floor: mint,
        })
    }
}

/// The samples of one series as they were when it was selected.
pub(crate) struct HeadSource {
    sealed: Vec<Sealed>,
    open: Option<Open>,
    // Samples older than this are a block's.
    floor: i64,
}

// A copy of the open chunk, XOR.
struct Open {
    mint: i64,
    maxt: i64,
    bytes: Box<[u8]>,
}

impl SampleSource for HeadSource {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let mint = mint.max(self.floor);
        for chunk in self.sealed.iter().filter(|c| c.maxt >= mint && c.mint <= maxt) {
            decode_sealed(&chunk.bytes, mint, maxt, out)?;
        }
        match &self.open {
            Some(open) if open.maxt >= mint && open.mint <= maxt => decode(&open.bytes, mint, maxt, out),
            _ => Ok(()),
        }
    }

    fn span(&self) -> (i64, i64) {
        let sealed = self.sealed.iter().map(|chunk| (chunk.mint, chunk.maxt));
        let all = sealed.chain(self.open.iter().map(|open| (open.mint, open.maxt)));
        let span = all.reduce(|(first, _), (_, last)| (first, last));
        let (first, last) = span.unwrap_or((self.floor, self.floor));
        (first.max(self.floor), last)
    }
}

fn decode(bytes: &[u8], mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
    cupola_chunk::decode_into(bytes, mint, maxt, &mut out.ts, &mut out.values).map_err(|e| corrupt(&e))
}

fn decode_sealed(bytes: &[u8], mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
    columnar::decode(bytes, mint, maxt, &mut out.ts, &mut out.values).map_err(|e| corrupt(&e))
}

fn corrupt(error: &ChunkError) -> StorageError {
    StorageError::Corrupt(format!("head chunk: {error}"))
}
