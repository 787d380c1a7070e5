//! One series of the head: its sealed chunks and the one that grows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cupola_chunk::{Encoding, HistogramAppender, NativeValue, XorAppender, columnar, remove_native, sort_native};
use cupola_histogram::{CounterResetHint, HistogramRef, NativeHistogram};
use cupola_model::is_stale_nan;
use cupola_storage::{AppendError, SampleSource, Samples, Starts, StorageError};

use super::histograms::{self, HistogramChunk};
use super::index::PairIds;
use super::source::{ChunkRef, HeadSource, OpenCopy, corrupt, decode, decode_columnar};
use super::times::{SharedTimes, TimeColumns};
use crate::wal::{LoggedChunk, Packing};

// As Prometheus: a chunk is sealed at this many samples.
const SAMPLES_PER_CHUNK: usize = 120;

/// A chunk that no longer changes.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub mint: i64,
    pub maxt: i64,
    pub chunk: SealedChunk,
}

/// Its bytes. Both kinds take the room of one.
#[derive(Debug, Clone)]
pub(crate) enum SealedChunk {
    /// Floats in our columnar encoding: a third to a half of the XOR chunk, and faster to read.
    Floats(Arc<[u8]>),
    Boxed(Arc<BoxedChunk>),
}

/// What is not a run of bytes alone.
#[derive(Debug)]
pub(crate) enum BoxedChunk {
    /// Floats as well, but the times are shared with chunks of other series.
    SharedTimes(SharedTimes),
    /// Prometheus's.
    Histograms(HistogramChunk),
}

/// The chunk that grows: of the kind of the newest sample. Histograms are boxed, floats do not pay for them.
enum Open {
    /// Empty after a chunk was sealed; it knows the newest sample then.
    Floats(XorAppender),
    Histograms(Box<HistogramAppender>),
}

pub(crate) struct MemSeries {
    /// Its labels, as the index knows them.
    pub labels: PairIds,
    /// Oldest first; there are a handful of them.
    pub sealed: Box<[Sealed]>,
    open: Open,
    // Its oldest sample, where it has one.
    open_mint: i64,
    // Since when its samples count, where that is known; never empty.
    starts: Option<Arc<Starts>>,
    /// Whether the log holds this series' labels.
    pub logged: bool,
    // Samples of batches that are not committed yet.
    held: AtomicU32,
}

impl MemSeries {
    pub(crate) fn new(labels: PairIds) -> Self {
        Self {
            labels,
            sealed: Box::default(),
            open: Open::Floats(XorAppender::unallocated()),
            open_mint: 0,
            starts: None,
            logged: false,
            held: AtomicU32::new(0),
        }
    }

    /// Keeps the series from being forgotten until a sample that a batch has of it is committed or given up.
    pub(crate) fn hold(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    /// One sample less is on its way.
    pub(crate) fn release(&mut self) {
        let held = self.held.get_mut();
        *held = held.saturating_sub(1);
    }

    /// As [`MemSeries::release`], beside others.
    pub(crate) fn release_shared(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether samples of it are on their way.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed) > 0
    }

    /// Since when its samples count, where that is known.
    pub(crate) fn starts(&self) -> Option<&Arc<Starts>> {
        self.starts.as_ref()
    }

    /// Says since when its newest sample counts, which was added just now; 0 where that is not known.
    pub(crate) fn note_start(&mut self, ts: i64, start: i64) {
        if start != 0 || self.starts.is_some() {
            Arc::make_mut(self.starts.get_or_insert_default()).push(ts, start);
        }
    }

    /// As [`MemSeries::note_start`], for a sample that may have others behind it.
    ///
    /// # Errors
    /// Where the chunk with the sample behind it cannot be decoded.
    pub(crate) fn set_start(&mut self, ts: i64, start: i64) -> Result<(), StorageError> {
        if start != 0 || self.starts.is_some() {
            let next = self.next_time(ts)?;
            let starts = self.starts.get_or_insert_default();
            Arc::make_mut(starts).set(ts, start, next);
            self.starts.take_if(|starts| starts.is_empty());
        }
        Ok(())
    }

    /// Takes over what a checkpoint says of its samples.
    pub(crate) fn restore_starts(&mut self, starts: Starts) {
        match &mut self.starts {
            // A series that was gone and came back is in a checkpoint twice, the older one first.
            Some(held) => {
                if let Some((first, _)) = starts.steps().first() {
                    Arc::make_mut(held).follow(&starts, *first);
                }
            }
            None => self.starts = (!starts.is_empty()).then(|| Arc::new(starts)),
        }
    }

    // The time of the first sample behind `ts`.
    fn next_time(&self, ts: i64) -> Result<Option<i64>, StorageError> {
        let Some(after) = ts.checked_add(1).filter(|_| self.last().is_some_and(|last| last > ts)) else {
            return Ok(None);
        };
        let source = self.snapshot(after, i64::MAX);
        let chunk = source.as_ref().and_then(|source| source.chunks().next());
        let Some((_, maxt, chunk)) = chunk else { return Ok(None) };
        let mut samples = Samples::default();
        chunk.read(after, maxt, &mut samples)?;
        Ok(samples
            .ts
            .first()
            .into_iter()
            .chain(samples.histograms.ts.first())
            .copied()
            .min())
    }

    // Those of all samples once `past` stands before what there is.
    fn starts_behind(&self, past: &Self, overlap: bool) -> Result<Option<Arc<Starts>>, StorageError> {
        let first = self.bounds().map(|(first, _)| first);
        let (Some(first), true) = (first, self.starts.is_some() || past.starts.is_some()) else {
            return Ok(past.starts.clone());
        };
        let of = |series: &Self| series.starts.as_deref().cloned().unwrap_or_default();
        let (mut joined, now) = (of(past), of(self));
        if overlap {
            let mut all: BTreeMap<i64, i64> = self.times()?.into_iter().map(|ts| (ts, now.at(ts))).collect();
            // Of two samples of one time that of the past stays.
            all.extend(past.times()?.into_iter().map(|ts| (ts, joined.at(ts))));
            joined = Starts::of(all);
        } else {
            joined.follow(&now, first);
        }
        Ok((!joined.is_empty()).then(|| Arc::new(joined)))
    }

    /// A series that another one, which has the labels, stands for.
    pub(crate) fn unlabelled() -> Self {
        Self::new(Box::default())
    }

    fn has_open(&self) -> bool {
        self.open.num_samples() > 0
    }

    /// Time of the newest sample.
    pub(crate) fn last(&self) -> Option<i64> {
        match &self.open {
            Open::Floats(open) => open.last_ts(),
            Open::Histograms(open) => open.last_ts(),
        }
    }

    /// The newest sample, where it is a number in the open chunk.
    pub(crate) fn newest_float(&self) -> Option<(i64, f64)> {
        match &self.open {
            // An appender knows the newest sample also where its chunk is gone.
            Open::Floats(open) if open.num_samples() > 0 => open.last_ts().zip(open.last_value()),
            _ => None,
        }
    }

    /// Whether a sample may follow the newest one. `Ok(false)`: it is the newest one, again.
    pub(crate) fn check(&self, ts: i64, value: f64) -> Result<bool, AppendError> {
        self.check_order(ts, || match &self.open {
            Open::Floats(open) => open.last_value().is_some_and(|last| last.to_bits() == value.to_bits()),
            Open::Histograms(open) => is_stale_nan(value) && open.last().is_some_and(|last| last.is_stale()),
        })
    }

    /// As [`MemSeries::check`], for a histogram.
    pub(crate) fn check_histogram(&self, ts: i64, histogram: HistogramRef<'_>) -> Result<bool, AppendError> {
        self.check_order(ts, || match &self.open {
            Open::Floats(_) => false,
            Open::Histograms(open) => histograms::is_newest(open, histogram),
        })
    }

    fn check_order(&self, ts: i64, is_newest: impl FnOnce() -> bool) -> Result<bool, AppendError> {
        match self.last() {
            Some(last) if ts < last => Err(AppendError::OutOfOrder),
            Some(last) if ts > last => Ok(true),
            Some(_) if is_newest() => Ok(false),
            Some(_) => Err(AppendError::Duplicate),
            None => Ok(true),
        }
    }

    /// Adds a sample that `check` allowed; how many chunks it begins. A staleness marker behind a histogram becomes one
    /// of histograms, as upstream.
    pub(crate) fn push(&mut self, ts: i64, value: f64) -> usize {
        if let Open::Histograms(open) = &self.open {
            if is_stale_nan(value) {
                let marker = histograms::stale_marker(open);
                return self.push_histogram(ts, HistogramRef::from(&marker));
            }
            self.seal(1);
        }
        let begins = !self.has_open();
        if begins {
            self.open_mint = ts;
        }
        if let Open::Floats(open) = &mut self.open {
            let appended = open.append(ts, value);
            debug_assert!(appended.is_ok(), "a chunk is sealed long before it is full");
            if usize::from(open.num_samples()) >= SAMPLES_PER_CHUNK {
                self.seal(SAMPLES_PER_CHUNK);
            }
        }
        usize::from(begins)
    }

    /// As [`MemSeries::push`], for a histogram that `check_histogram` allowed.
    pub(crate) fn push_histogram(&mut self, ts: i64, histogram: HistogramRef<'_>) -> usize {
        let mut next = match &self.open {
            Open::Floats(_) => Some(CounterResetHint::Unknown),
            Open::Histograms(open) if open.is_full() => Some(open.header_of_next(histogram)),
            Open::Histograms(_) => None,
        };
        let mut begun = 0;
        // Once where it fits into the open chunk, twice where it turns out that it does not.
        for _ in 0..2 {
            if let Some(header) = next.take() {
                self.seal(1);
                self.open = Open::Histograms(Box::new(HistogramAppender::with_header(header)));
                self.open_mint = ts;
                begun = 1;
            }
            if let Open::Histograms(open) = &mut self.open {
                next = histograms::append(open, ts, histogram);
            }
            if next.is_none() {
                return begun;
            }
        }
        debug_assert!(false, "an empty chunk takes every histogram that was checked");
        begun
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
        let (in_open, at) = self.place_of(ts);
        if self.is_histograms(in_open, at) {
            return self.insert_native(ts, NativeValue::Float(value));
        }
        let mut samples = Samples::default();
        match self.sealed.get(at) {
            Some(sealed) if !in_open => sealed.chunk.as_ref().read(i64::MIN, i64::MAX, &mut samples)?,
            _ => decode(
                self.open.encoding(),
                self.open.bytes(),
                i64::MIN,
                i64::MAX,
                &mut samples,
            )?,
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
            let open = Open::Floats(open);
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
                    chunk: SealedChunk::Floats(bytes.into()),
                });
            }
        }
        let mut all = std::mem::take(&mut self.sealed).into_vec();
        all.splice(at..=at, anew);
        self.sealed = all.into();
        Ok(true)
    }

    /// As [`MemSeries::insert`], for a histogram that can be kept.
    ///
    /// # Errors
    /// As [`MemSeries::insert`].
    pub(crate) fn insert_histogram(&mut self, ts: i64, histogram: &NativeHistogram) -> Result<bool, StorageError> {
        let newest = HistogramRef::from(histogram);
        match self.check_histogram(ts, newest) {
            Ok(true) => {
                self.push_histogram(ts, newest);
                Ok(true)
            }
            Ok(false) | Err(AppendError::Duplicate) => Ok(false),
            Err(_) => self.insert_native(ts, NativeValue::Histogram(histogram.clone())),
        }
    }

    // Whether a sample older than the newest one belongs into the open chunk, and else into which sealed one.
    fn place_of(&self, ts: i64) -> (bool, usize) {
        // Never behind the last sample of a chunk: what the next one says of a reset before it would be wrong then.
        let at = self.sealed.partition_point(|chunk| chunk.maxt < ts);
        let newest = self.sealed.len().saturating_sub(1);
        (self.has_open() && at == self.sealed.len(), at.min(newest))
    }

    fn is_histograms(&self, in_open: bool, at: usize) -> bool {
        match self.sealed.get(at) {
            Some(sealed) if !in_open => sealed.chunk.is_histograms(),
            _ => matches!(self.open, Open::Histograms(_)),
        }
    }

    // Of either kind, into a chunk of either kind, which is made anew.
    fn insert_native(&mut self, ts: i64, value: NativeValue) -> Result<bool, StorageError> {
        let (in_open, at) = self.place_of(ts);
        let mut samples = Vec::new();
        match self.sealed.get(at) {
            Some(sealed) if !in_open => sealed.chunk.as_ref().read_native(&mut samples)?,
            _ => ChunkRef::Prometheus(self.open.encoding(), self.open.bytes()).read_native(&mut samples)?,
        }
        if samples.binary_search_by_key(&ts, |(ts, _)| *ts).is_ok() {
            return Ok(false);
        }
        samples.push((ts, value));
        sort_native(&mut samples);
        let of = |samples: &[(i64, NativeValue)]| {
            let mut series = Self::unlabelled();
            for (ts, value) in samples {
                series.push_value(*ts, value);
            }
            series
        };
        let mut all = std::mem::take(&mut self.sealed).into_vec();
        if in_open {
            let anew = of(&samples);
            all.extend(anew.sealed);
            (self.open, self.open_mint) = (anew.open, anew.open_mint);
        } else {
            let sealed = |samples: &[(i64, NativeValue)]| {
                let mut series = of(samples);
                series.seal(1);
                series.sealed
            };
            let whole = sealed(&samples);
            let is_one_kind = samples
                .iter()
                .all(|(_, value)| matches!(value, NativeValue::Histogram(_)));
            // One that is full is cut in the middle: at its end, each further sample would become a chunk.
            let anew = if whole.len() > 1 && is_one_kind {
                let (older, newer) = samples.split_at(samples.len() / 2);
                [sealed(older), sealed(newer)].concat()
            } else {
                whole.into_vec()
            };
            all.splice(at..=at, anew);
        }
        self.sealed = all.into();
        Ok(true)
    }

    // Ends the open chunk where it has `least` samples.
    fn seal(&mut self, least: usize) {
        let Some(maxt) = self.last().filter(|_| usize::from(self.open.num_samples()) >= least) else {
            return;
        };
        let chunk = match &mut self.open {
            Open::Floats(open) => {
                let mut bytes = Vec::new();
                let mut samples = Samples::default();
                let decoded = decode(Encoding::Xor, open.bytes(), i64::MIN, i64::MAX, &mut samples);
                let encoded = columnar::encode(&samples.ts, &samples.values, &mut bytes);
                if decoded.is_err() || encoded.is_err() {
                    debug_assert!(false, "what was appended a moment ago can be read");
                    // It stays open: nothing is lost.
                    return;
                }
                open.take();
                SealedChunk::Floats(bytes.into())
            }
            Open::Histograms(open) => {
                let chunk = histograms::sealed(std::mem::take(&mut **open));
                // A sample follows at once; until then the newest one is known by its time.
                self.open = Open::Floats(XorAppender::after(maxt, f64::NAN));
                SealedChunk::Boxed(Arc::new(BoxedChunk::Histograms(chunk)))
            }
        };
        self.add_sealed(Sealed {
            mint: self.open_mint,
            maxt,
            chunk,
        });
    }

    /// Where its newest sample made a chunk full: lets it share its times with chunks of other series.
    pub(crate) fn share_times(&mut self, columns: &mut TimeColumns) {
        if self.has_open() {
            return;
        }
        let newest = self.sealed.last_mut().map(|sealed| &mut sealed.chunk);
        if let Some(chunk) = newest
            && let SealedChunk::Floats(bytes) = chunk
            && let Some(shared) = columns.share(bytes)
        {
            *chunk = SealedChunk::Boxed(Arc::new(BoxedChunk::SharedTimes(shared)));
        }
    }

    fn add_sealed(&mut self, chunk: Sealed) {
        let mut all = std::mem::take(&mut self.sealed).into_vec();
        all.reserve_exact(1);
        all.push(chunk);
        self.sealed = all.into();
    }

    // Takes over a chunk behind what is there.
    fn follow(&mut self, chunk: &LoggedChunk) -> Result<(), StorageError> {
        let Packing::Prometheus(encoding) = chunk.packing else {
            let mut samples = Samples::default();
            decode_columnar(&chunk.bytes, i64::MIN, i64::MAX, &mut samples)?;
            let (Some(ts), Some(value)) = (samples.ts.last(), samples.values.last()) else {
                return Ok(());
            };
            self.seal(1);
            self.open = Open::Floats(XorAppender::after(*ts, *value));
            self.add_sealed(Sealed {
                mint: chunk.mint,
                maxt: chunk.maxt,
                chunk: SealedChunk::Floats(chunk.bytes.as_slice().into()),
            });
            return Ok(());
        };
        // Going on where the chunk ends costs its decoding, which tells whether it can be read.
        let bytes = chunk.bytes.clone();
        let open = match encoding {
            Encoding::Xor => XorAppender::resume(bytes).map(Open::Floats),
            _ => HistogramAppender::resume(encoding, bytes).map(|open| Open::Histograms(Box::new(open))),
        };
        let open = open.map_err(|e| corrupt(&e))?;
        if open.num_samples() == 0 {
            return Ok(());
        }
        self.seal(1);
        (self.open, self.open_mint) = (open, chunk.mint);
        if matches!(self.open, Open::Floats(_)) {
            self.seal(SAMPLES_PER_CHUNK);
        }
        Ok(())
    }

    /// Takes over a chunk that may overlap with what is there.
    ///
    /// # Errors
    /// Where it, or what is there, cannot be decoded; nothing is added.
    pub(crate) fn restore(&mut self, chunk: &LoggedChunk) -> Result<(), StorageError> {
        if self.last().is_some_and(|last| chunk.mint <= last) {
            let mut other = Self::unlabelled();
            other.follow(chunk)?;
            self.put_before(other)?;
        } else {
            self.follow(chunk)?;
        }
        Ok(())
    }

    /// Puts what an earlier process had of this series before what it has now. Whether the two overlapped in time; then
    /// they are merged, and of two samples of one time the earlier process's stays.
    ///
    /// # Errors
    /// Where chunks cannot be decoded; the series keeps what it has now.
    pub(crate) fn put_before(&mut self, mut past: Self) -> Result<bool, StorageError> {
        let first = self.bounds().map(|(first, _)| first);
        let overlap = past.last().zip(first).is_some_and(|(last, first)| first <= last);
        let starts = self.starts_behind(&past, overlap)?;
        if !overlap && !self.has_histograms() {
            // A million series have a few floats each.
            let mut now = Samples::default();
            if let Some(source) = self.snapshot(i64::MIN, i64::MAX) {
                source.read(i64::MIN, i64::MAX, &mut now)?;
            }
            for (ts, value) in now.ts.iter().zip(&now.values) {
                past.push(*ts, *value);
            }
        } else {
            let mut now = Vec::new();
            if overlap {
                past.read_all(&mut now)?;
                past = Self::unlabelled();
            }
            self.read_all(&mut now)?;
            // Stable, so the earlier process's sample comes first.
            sort_native(&mut now);
            for (ts, value) in &now {
                past.push_value(*ts, value);
            }
        }
        past.labels = std::mem::take(&mut self.labels);
        past.logged = self.logged;
        past.held = std::mem::take(&mut self.held);
        past.starts = starts;
        *self = past;
        Ok(overlap)
    }

    fn has_histograms(&self) -> bool {
        let is_histogram = |sealed: &Sealed| sealed.chunk.is_histograms();
        matches!(self.open, Open::Histograms(_)) || self.sealed.iter().any(is_histogram)
    }

    /// The times of all samples.
    pub(crate) fn times(&self) -> Result<Vec<i64>, StorageError> {
        let mut samples = Vec::new();
        self.read_all(&mut samples)?;
        Ok(samples.into_iter().map(|(ts, _)| ts).collect())
    }

    // All samples, as they were written.
    fn read_all(&self, out: &mut Vec<(i64, NativeValue)>) -> Result<(), StorageError> {
        let source = self.snapshot(i64::MIN, i64::MAX);
        source.map_or(Ok(()), |source| source.read_native(out))
    }

    fn push_value(&mut self, ts: i64, value: &NativeValue) -> usize {
        match value {
            NativeValue::Float(value) => self.push(ts, *value),
            NativeValue::Histogram(histogram) => self.push_histogram(ts, HistogramRef::from(histogram)),
        }
    }

    /// Adds the samples of a chunk of a checkpoint, each in its place.
    ///
    /// # Errors
    /// Where the chunk, or one that a sample belongs into, cannot be decoded.
    pub(crate) fn add(&mut self, chunk: &LoggedChunk) -> Result<(), StorageError> {
        let mut samples = Vec::new();
        match chunk.packing {
            Packing::Prometheus(encoding) => ChunkRef::Prometheus(encoding, &chunk.bytes).read_native(&mut samples)?,
            Packing::Columnar => ChunkRef::Columnar(&chunk.bytes).read_native(&mut samples)?,
        }
        for (ts, value) in &samples {
            match value {
                NativeValue::Float(value) => self.insert(*ts, *value)?,
                NativeValue::Histogram(histogram) => self.insert_histogram(*ts, histogram)?,
            };
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
        if let Some(starts) = &mut self.starts {
            Arc::make_mut(starts).truncate(mint);
        }
        self.starts.take_if(|starts| starts.is_empty());
        if self.sealed.first().is_some_and(|chunk| chunk.maxt < mint) {
            let kept = std::mem::take(&mut self.sealed).into_iter();
            self.sealed = kept.filter(|chunk| chunk.maxt >= mint).collect();
        }
        if self.last().is_some_and(|last| last < mint) {
            match &mut self.open {
                Open::Floats(open) => drop(open.take()),
                // Nothing is left of the series, which is forgotten.
                Open::Histograms(_) => self.open = Open::Floats(XorAppender::unallocated()),
            }
        }
    }

    /// Deletes the samples from `mint` to `maxt`, both inclusive; whether there were any.
    pub(crate) fn delete(&mut self, mint: i64, maxt: i64) -> Result<bool, StorageError> {
        if self.bounds().is_none_or(|(first, last)| last < mint || maxt < first) {
            return Ok(false);
        }
        let mut samples = Vec::new();
        self.read_all(&mut samples)?;
        remove_native(&mut samples, |ts| (mint..=maxt).contains(&ts));
        let mut left = Self::new(std::mem::take(&mut self.labels));
        left.logged = self.logged;
        left.held = std::mem::take(&mut self.held);
        left.starts = self.starts.take();
        for (ts, value) in &samples {
            left.push_value(*ts, value);
        }
        *self = left;
        Ok(true)
    }

    /// All chunks as a checkpoint keeps them, oldest first.
    pub(crate) fn chunks(&self, series: u64) -> Vec<LoggedChunk> {
        let mut all: Vec<LoggedChunk> = self
            .sealed
            .iter()
            .map(|c| {
                let (packing, bytes) = c.chunk.packed();
                LoggedChunk {
                    series,
                    packing,
                    mint: c.mint,
                    maxt: c.maxt,
                    bytes,
                    is_late: false,
                }
            })
            .collect();
        if self.has_open() {
            all.push(LoggedChunk {
                series,
                packing: Packing::Prometheus(self.open.encoding()),
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
        let open = open.filter(|_| self.open_mint <= maxt).map(|last| OpenCopy {
            mint: self.open_mint,
            maxt: last,
            encoding: self.open.encoding(),
            bytes: self.open.bytes().into(),
        });
        (!sealed.is_empty() || open.is_some()).then_some(HeadSource {
            sealed,
            open,
            starts: self.starts.clone(),
            floor: mint,
        })
    }
}

impl SealedChunk {
    fn is_histograms(&self) -> bool {
        matches!(self, Self::Boxed(chunk) if matches!(**chunk, BoxedChunk::Histograms(_)))
    }

    // As a checkpoint keeps it.
    fn packed(&self) -> (Packing, Vec<u8>) {
        match self {
            Self::Floats(bytes) => (Packing::Columnar, bytes.to_vec()),
            Self::Boxed(chunk) => match &**chunk {
                BoxedChunk::SharedTimes(chunk) => (Packing::Columnar, chunk.to_vec()),
                BoxedChunk::Histograms(chunk) => (Packing::Prometheus(chunk.encoding), chunk.bytes.to_vec()),
            },
        }
    }
}

impl Open {
    fn num_samples(&self) -> u16 {
        match self {
            Self::Floats(open) => open.num_samples(),
            Self::Histograms(open) => open.num_samples(),
        }
    }

    fn encoding(&self) -> Encoding {
        match self {
            Self::Floats(_) => Encoding::Xor,
            Self::Histograms(open) => open.encoding(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Floats(open) => open.bytes(),
            Self::Histograms(open) => open.bytes(),
        }
    }
}
