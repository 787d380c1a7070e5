//! Writing a chunk.

use cupola_histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, HistogramRef, NativeHistogram, Span};

use super::field::{Window, Writer};
use super::layout::{Layout, are_possible};
use super::read::{HEADER_BYTES, HistogramCursor, hint_to_header};
use super::spans::{Difference, Kind, compare, merge, num_buckets, spread};
use super::state::{State, Words};
use crate::{ChunkError, Encoding, num_samples};

const GROW_BYTES: usize = 128;

// A chunk is cut once it is this long, unless it has next to no samples.
const TARGET_BYTES: usize = 1024;
const LEAST_SAMPLES: u16 = 10;
const MOST_SAMPLES: u16 = 120;

/// What became of a histogram that was to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It stands behind the others, whose bytes are as before.
    InPlace,
    /// It brought new buckets: the whole chunk was encoded anew with them.
    Recoded,
    /// It does not fit in this chunk, which is as before: the next chunk begins with it, see [`HistogramAppender::cut`].
    Cut(CounterResetHint),
}

/// Grows a chunk of native histograms sample by sample. After every append [`HistogramAppender::bytes`] is a whole,
/// valid chunk.
///
/// The first histogram decides whether it is a chunk of integers or of floats, and whether of gauges. Which later ones
/// fit is upstream's rule: a chunk has one schema, zero threshold and set of bounds, counters only ever grow in it, and
/// behind a staleness marker there is nothing but markers.
#[derive(Debug, Clone)]
pub struct HistogramAppender {
    bytes: Vec<u8>,
    // Unused low bits of the last byte; 8 where it is empty.
    free: u8,
    state: State,
}

impl Default for HistogramAppender {
    fn default() -> Self {
        Self::new()
    }
}

impl HistogramAppender {
    /// An empty chunk of which nothing is known about a reset before it.
    #[must_use]
    pub fn new() -> Self {
        Self::with_header(CounterResetHint::Unknown)
    }

    /// An empty chunk; `header` tells what is known of a reset between the chunk before and this one, which is what
    /// [`Appended::Cut`] or [`HistogramAppender::header_of_next`] said.
    #[must_use]
    pub fn with_header(header: CounterResetHint) -> Self {
        Self {
            bytes: vec![0, 0, hint_to_header(header)],
            free: 0,
            state: State::new(Kind::Integer),
        }
    }

    /// An appender that goes on where the chunk `bytes` ends, as after a restart. It then writes what the appender that
    /// made `bytes` would have written.
    ///
    /// Costs one decoding of the chunk.
    ///
    /// # Errors
    /// [`ChunkError`] where `bytes` are no valid chunk of encoding 2 or 3; [`ChunkError::Unsupported`] for the others.
    pub fn resume(encoding: Encoding, mut bytes: Vec<u8>) -> Result<Self, ChunkError> {
        if !matches!(encoding, Encoding::Histogram | Encoding::FloatHistogram) {
            return Err(ChunkError::Unsupported(encoding));
        }
        let mut cursor = HistogramCursor::new(encoding, &bytes)?;
        while cursor.next_sample()?.is_some() {}
        let (state, pos) = cursor.into_end();
        if state.slots.is_empty() {
            bytes.truncate(HEADER_BYTES);
            return Ok(Self { bytes, free: 0, state });
        }
        // Only bits behind the last sample are cleared; a valid chunk has zeros there anyway.
        let free = (bytes.len() * 8 - pos) as u8;
        if let Some(last) = bytes.last_mut() {
            *last &= (0xff_u16 << free) as u8;
        }
        Ok(Self { bytes, free, state })
    }

    /// Adds one histogram. `ts` is in milliseconds; the order is the caller's affair, and decoding a range relies on it.
    ///
    /// Costs one comparison of the buckets, and one decoding and encoding of the chunk where there are new ones.
    ///
    /// # Errors
    /// [`ChunkError::Full`] at 65,535 samples, [`ChunkError::Layout`] where spans and buckets do not belong together,
    /// which [`cupola_histogram::Histogram::validate`] tells in more words; the chunk is as before.
    pub fn append<'h>(&mut self, ts: i64, histogram: impl Into<HistogramRef<'h>>) -> Result<Appended, ChunkError> {
        let h = histogram.into();
        let words = Words::of(h);
        check(h, &words)?;
        let count = self.num_samples();
        let next = count.checked_add(1).ok_or(ChunkError::Full)?;
        if count == 0 {
            self.begin(h);
            self.write(ts, &words, next);
            return Ok(Appended::InPlace);
        }
        match self.plan(h, &words)? {
            Plan::Cut(header) => Ok(Appended::Cut(header)),
            Plan::InPlace => {
                self.write(ts, &words, next);
                Ok(Appended::InPlace)
            }
            Plan::Widen => {
                let words = self.widened(h, &words);
                self.write(ts, &words, next);
                Ok(Appended::InPlace)
            }
            Plan::Recode { positive, negative } => {
                let mut recoded = self.recoded(positive, negative)?;
                let words = recoded.widened(h, &words);
                recoded.write(ts, &words, next);
                *self = recoded;
                Ok(Appended::Recoded)
            }
        }
    }

    /// Whether a reset lies between the newest sample and `histogram`, as the header of a next chunk that begins with it
    /// tells: for chunks that are cut because they are long enough.
    #[must_use]
    pub fn header_of_next<'h>(&self, histogram: impl Into<HistogramRef<'h>>) -> CounterResetHint {
        let h = histogram.into();
        if let hint @ (CounterResetHint::Gauge | CounterResetHint::CounterReset) = h.counter_reset_hint() {
            return hint;
        }
        if self.num_samples() == 0 || kind_of(h) != self.state.kind {
            return CounterResetHint::Unknown;
        }
        match (self.compare_counter(h, &Words::of(h)), self.state.kind) {
            (Ok(_), _) => CounterResetHint::NotCounterReset,
            (Err(header), Kind::Integer) | (Err(header @ CounterResetHint::CounterReset), _) => header,
            // Upstream says so of floats although a change of the schema may hide a reset.
            (Err(_), Kind::Float) => CounterResetHint::NotCounterReset,
        }
    }

    /// Hands out the chunk so far and goes on with an empty one, see [`HistogramAppender::with_header`].
    pub fn cut(&mut self, header: CounterResetHint) -> Vec<u8> {
        std::mem::replace(self, Self::with_header(header)).bytes
    }

    /// How the chunk is encoded: 2 or 3. Of an empty one the first histogram decides.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        match self.state.kind {
            Kind::Integer => Encoding::Histogram,
            Kind::Float => Encoding::FloatHistogram,
        }
    }

    /// How many samples the chunk holds.
    #[must_use]
    pub fn num_samples(&self) -> u16 {
        num_samples(&self.bytes).unwrap_or(0)
    }

    /// What the chunk says of a reset before it, and whether it holds gauges.
    #[must_use]
    pub fn header(&self) -> CounterResetHint {
        super::counter_reset_header(self.encoding(), &self.bytes).unwrap_or_default()
    }

    /// Whether the chunk is as long as upstream lets one become (`TargetBytesPerHistogramChunk`): the next sample is to
    /// begin another, see [`HistogramAppender::header_of_next`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        let samples = self.num_samples();
        samples >= MOST_SAMPLES || (samples >= LEAST_SAMPLES && self.bytes.len() >= TARGET_BYTES)
    }

    /// Time of the newest sample, `None` before the first.
    #[must_use]
    pub fn last_ts(&self) -> Option<i64> {
        (self.num_samples() > 0).then_some(self.state.ts)
    }

    /// The newest sample, `None` before the first; it may have more empty buckets than it came with.
    #[must_use]
    pub fn last(&self) -> Option<NativeHistogram> {
        let hint = match (self.header(), self.num_samples()) {
            (_, 0) => return None,
            (CounterResetHint::Gauge, _) => CounterResetHint::Gauge,
            (_, 1) => CounterResetHint::Unknown,
            _ => CounterResetHint::NotCounterReset,
        };
        Some(self.state.to_native(hint))
    }

    /// The chunk so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The finished chunk.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Heap memory it takes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let layout = &self.state.layout;
        self.bytes.capacity()
            + self.state.slots.capacity() * size_of::<super::state::Slot>()
            + (layout.positive_spans.capacity() + layout.negative_spans.capacity()) * size_of::<Span>()
            + size_of_val(&*layout.custom_values)
    }

    // An empty chunk takes its layout from its first histogram.
    fn begin(&mut self, h: HistogramRef<'_>) {
        let header = match h.counter_reset_hint() {
            hint @ (CounterResetHint::Gauge | CounterResetHint::CounterReset) => hint,
            _ => self.header(),
        };
        *self = Self::with_header(header);
        self.state.kind = kind_of(h);
        self.lay_out(Layout::of(h));
    }

    fn lay_out(&mut self, layout: Layout) {
        let mut to = Writer {
            bytes: &mut self.bytes,
            free: &mut self.free,
        };
        layout.write(&mut to);
        self.state.layout = layout;
    }

    // Whether and how the next histogram fits in (upstream `appendable`, `appendableGauge` and what is done with them).
    fn plan(&self, h: HistogramRef<'_>, words: &Words) -> Result<Plan, ChunkError> {
        if kind_of(h) != self.state.kind {
            return Ok(Plan::Cut(match h.counter_reset_hint() {
                CounterResetHint::NotCounterReset => CounterResetHint::Unknown,
                hint => hint,
            }));
        }
        let is_gauge = h.counter_reset_hint() == CounterResetHint::Gauge;
        let fits = if is_gauge {
            self.compare_gauge(h, words)
        } else {
            self.compare_counter(h, words)
        };
        let [positive, negative] = match fits {
            Ok(differences) => differences,
            Err(header) => return Ok(Plan::Cut(header)),
        };
        let is_narrower = positive.is_narrower || negative.is_narrower;
        if !positive.is_wider && !negative.is_wider {
            return Ok(if is_narrower { Plan::Widen } else { Plan::InPlace });
        }
        // Upstream keeps the spans as the histogram cuts them where nothing has to be added to them.
        let layout = &self.state.layout;
        let target = |own: &[Span], new: &[Span], side: Difference| {
            if side.is_narrower || (is_gauge && is_narrower) {
                merge(own, new)
            } else {
                Ok(new.to_vec())
            }
        };
        let positive = target(&layout.positive_spans, h.positive_spans(), positive)?;
        let negative = target(&layout.negative_spans, h.negative_spans(), negative)?;
        if !are_possible(&positive) || !are_possible(&negative) {
            return Err(ChunkError::Layout);
        }
        Ok(Plan::Recode { positive, negative })
    }

    // The differences of both sides, or the header of the chunk to cut.
    fn compare_counter(&self, h: HistogramRef<'_>, words: &Words) -> Result<[Difference; 2], CounterResetHint> {
        let state = &self.state;
        if self.header() == CounterResetHint::Gauge {
            return Err(match state.kind {
                Kind::Integer => CounterResetHint::NotCounterReset,
                Kind::Float => CounterResetHint::Unknown,
            });
        }
        if h.counter_reset_hint() == CounterResetHint::CounterReset {
            return Err(CounterResetHint::CounterReset);
        }
        if h.is_stale() {
            return Ok(<[Difference; 2]>::default());
        }
        if state.is_stale() {
            return Err(CounterResetHint::Unknown);
        }
        let fell = |at: usize, word: Option<&u64>| match (state.kind, state.word(at), word.copied().unwrap_or(0)) {
            (Kind::Integer, before, now) => now < before,
            (Kind::Float, before, now) => f64::from_bits(now) < f64::from_bits(before),
        };
        if fell(0, words.head.first()) {
            return Err(CounterResetHint::CounterReset);
        }
        if !self.has_resolution_of(h) {
            return Err(CounterResetHint::Unknown);
        }
        if !self.has_bounds_of(h) || fell(1, words.head.get(1)) {
            return Err(CounterResetHint::CounterReset);
        }
        self.compare_sides(h, words, false)
            .ok_or(CounterResetHint::CounterReset)
    }

    fn compare_gauge(&self, h: HistogramRef<'_>, words: &Words) -> Result<[Difference; 2], CounterResetHint> {
        if self.header() != CounterResetHint::Gauge {
            return Err(CounterResetHint::Gauge);
        }
        if h.is_stale() {
            return Ok(<[Difference; 2]>::default());
        }
        if self.state.is_stale() || !self.has_resolution_of(h) || !self.has_bounds_of(h) {
            return Err(CounterResetHint::Gauge);
        }
        self.compare_sides(h, words, true).ok_or(CounterResetHint::Gauge)
    }

    fn has_resolution_of(&self, h: HistogramRef<'_>) -> bool {
        let layout = &self.state.layout;
        h.schema() == layout.schema && h.zero_threshold() == layout.zero_threshold
    }

    fn has_bounds_of(&self, h: HistogramRef<'_>) -> bool {
        h.schema() != CUSTOM_BUCKETS_SCHEMA || h.custom_values() == &self.state.layout.custom_values
    }

    fn compare_sides(&self, h: HistogramRef<'_>, words: &Words, is_gauge: bool) -> Option<[Difference; 2]> {
        let state = &self.state;
        let positive = compare(
            state.kind,
            is_gauge,
            (&state.layout.positive_spans, state.positive()),
            (h.positive_spans(), words.positive.iter().copied()),
        )?;
        let negative = compare(
            state.kind,
            is_gauge,
            (&state.layout.negative_spans, state.negative()),
            (h.negative_spans(), words.negative.iter().copied()),
        )?;
        Some([positive, negative])
    }

    // The words of a histogram in the chunk's layout, which has all its buckets.
    fn widened(&self, h: HistogramRef<'_>, words: &Words) -> Words {
        let state = &self.state;
        let side = |from, words: &[u64], to| spread(state.kind, (from, words.iter().copied()), to);
        Words {
            head: words.head,
            positive: side(h.positive_spans(), &words.positive, &state.layout.positive_spans),
            negative: side(h.negative_spans(), &words.negative, &state.layout.negative_spans),
        }
    }

    // The same chunk with wider spans.
    fn recoded(&self, positive: Vec<Span>, negative: Vec<Span>) -> Result<Self, ChunkError> {
        let mut recoded = Self::with_header(self.header());
        recoded.state.kind = self.state.kind;
        recoded.lay_out(Layout {
            positive_spans: positive,
            negative_spans: negative,
            ..self.state.layout.clone()
        });
        let mut cursor = HistogramCursor::new(self.encoding(), &self.bytes)?;
        let mut count = 0;
        while let Some(ts) = cursor.next_sample()? {
            count += 1;
            let words = {
                let (old, new) = (cursor.state(), &recoded.state.layout);
                Words {
                    head: [old.word(0), old.word(1), old.word(2)],
                    positive: spread(
                        old.kind,
                        (&old.layout.positive_spans, old.positive()),
                        &new.positive_spans,
                    ),
                    negative: spread(
                        old.kind,
                        (&old.layout.negative_spans, old.negative()),
                        &new.negative_spans,
                    ),
                }
            };
            recoded.write(ts, &words, count);
        }
        Ok(recoded)
    }

    // Writes a sample whose words are in the chunk's layout, and its number, from 1.
    fn write(&mut self, ts: i64, words: &Words, number: u16) {
        if self.bytes.capacity() - self.bytes.len() < GROW_BYTES / 2 {
            // Open chunks are most of what a database keeps in memory: they grow in steps, not by doubling.
            self.bytes.reserve_exact(GROW_BYTES);
        }
        let (kind, state) = (self.state.kind, &mut self.state);
        let mut to = Writer {
            bytes: &mut self.bytes,
            free: &mut self.free,
        };
        if number == 1 {
            to.varbit_int(ts);
            state.slots = Vec::with_capacity(words.iter().count());
            for (at, word) in words.iter().enumerate() {
                match (kind, at) {
                    (Kind::Integer, 0 | 1) => to.varbit_uint(word),
                    (Kind::Integer, 3..) => to.varbit_int(word as i64),
                    _ => to.bits(word, 64),
                }
                state.slots.push(State::first(kind, at, word));
            }
        } else {
            let delta = ts.wrapping_sub(state.ts);
            to.varbit_int(delta.wrapping_sub(state.delta));
            state.delta = delta;
            let is_stale = words.is_stale();
            for ((at, word), slot) in words.iter().enumerate().zip(state.slots.iter_mut()) {
                if State::is_xor(kind, at) {
                    let mut window = Window::from_word(slot.more);
                    to.xor(slot.value, word, &mut window);
                    slot.more = window.to_word();
                } else if is_stale {
                    // Upstream writes no change of the counts of a stale integer histogram.
                    to.varbit_int(0);
                    continue;
                } else {
                    let delta = word.wrapping_sub(slot.value);
                    to.varbit_int(delta.wrapping_sub(slot.more) as i64);
                    slot.more = delta;
                }
                slot.value = word;
            }
        }
        state.ts = ts;
        if let Some(head) = self.bytes.first_chunk_mut::<2>() {
            *head = number.to_be_bytes();
        }
    }
}

enum Plan {
    Cut(CounterResetHint),
    InPlace,
    // In place, with the empty buckets that it lacks.
    Widen,
    Recode { positive: Vec<Span>, negative: Vec<Span> },
}

fn kind_of(h: HistogramRef<'_>) -> Kind {
    match h {
        HistogramRef::Integer(_) => Kind::Integer,
        HistogramRef::Float(_) => Kind::Float,
    }
}

fn check(h: HistogramRef<'_>, words: &Words) -> Result<(), ChunkError> {
    let belong = |spans: &[Span], words: &[u64]| num_buckets(spans) == words.len() as u64 && are_possible(spans);
    let is_known = h.schema() == CUSTOM_BUCKETS_SCHEMA || (-9..=52).contains(&h.schema());
    let belong = is_known && belong(h.positive_spans(), &words.positive) && belong(h.negative_spans(), &words.negative);
    if belong || h.is_stale() {
        Ok(())
    } else {
        Err(ChunkError::Layout)
    }
}
