//! Data points of OpenTelemetry's metrics, read where they lie.

use cupola_histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, Histogram, Span};
use cupola_model::{Labels, STALE_NAN};
use cupola_storage::Exemplar;

use super::values::{attribute, id, text};
use cupola_wire::{Fields, Value, WireError, doubles, sint, uints};

const NO_RECORDED_VALUE: u64 = 1;
// As upstream, where the sender does not say: half the width of the zero bucket.
const ZERO_THRESHOLD: f64 = 1e-128;
const COARSEST_SCALE: i32 = -4;
const FINEST_SCALE: i32 = 8;
// A gap of empty buckets up to this is written out, as client_golang does.
const SMALL_GAP: i64 = 2;
// OpenMetrics' limit; the attributes of an exemplar stay away where they would exceed it.
const EXEMPLAR_CHARS: usize = 128;

/// A point of any kind; what its kind does not have is empty.
#[derive(Clone, Default)]
pub(super) struct Point {
    pub attributes: Vec<(String, String)>,
    /// Milliseconds; 0 where it is not told.
    pub start: i64,
    /// Milliseconds.
    pub ts: i64,
    pub exemplars: Vec<Exemplar>,
    pub flags: u64,
    pub value: f64,
    pub count: u64,
    pub sum: Option<f64>,
    pub counts: Vec<u64>,
    pub bounds: Vec<f64>,
    pub scale: i32,
    pub zero_count: u64,
    pub zero_threshold: f64,
    pub positive: Buckets,
    pub negative: Buckets,
    pub quantiles: Vec<(f64, f64)>,
}

/// A dense run of buckets of an exponential histogram.
#[derive(Clone, Default)]
pub(super) struct Buckets {
    /// The place of the first.
    pub offset: i32,
    pub counts: Vec<u64>,
}

fn ms(nanoseconds: u64) -> i64 {
    (nanoseconds / 1_000_000) as i64
}

fn fixed64s(value: Value<'_>, out: &mut Vec<u64>) -> Result<(), WireError> {
    match value {
        Value::Fixed64(bits) => out.push(bits),
        Value::Bytes(packed) => {
            let (words, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(WireError::Short);
            }
            out.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
        }
        _ => {}
    }
    Ok(())
}

impl Point {
    pub(super) fn number(message: &[u8]) -> Result<Self, WireError> {
        let mut point = Self::default();
        for field in Fields(message) {
            match field? {
                (7, Value::Bytes(pair)) => point.attributes.push(attribute(pair)?),
                (2, Value::Fixed64(time)) => point.start = ms(time),
                (3, Value::Fixed64(time)) => point.ts = ms(time),
                (4, Value::Fixed64(bits)) => point.value = f64::from_bits(bits),
                (6, Value::Fixed64(bits)) => point.value = bits as i64 as f64,
                (5, Value::Bytes(exemplar)) => point.exemplars.push(read_exemplar(exemplar)?),
                (8, Value::Varint(flags)) => point.flags = flags,
                _ => {}
            }
        }
        Ok(point)
    }

    pub(super) fn histogram(message: &[u8]) -> Result<Self, WireError> {
        let mut point = Self::default();
        for field in Fields(message) {
            match field? {
                (9, Value::Bytes(pair)) => point.attributes.push(attribute(pair)?),
                (2, Value::Fixed64(time)) => point.start = ms(time),
                (3, Value::Fixed64(time)) => point.ts = ms(time),
                (4, Value::Fixed64(count)) => point.count = count,
                (5, Value::Fixed64(bits)) => point.sum = Some(f64::from_bits(bits)),
                (6, counts) => fixed64s(counts, &mut point.counts)?,
                (7, bounds) => doubles(bounds, &mut point.bounds)?,
                (8, Value::Bytes(exemplar)) => point.exemplars.push(read_exemplar(exemplar)?),
                (10, Value::Varint(flags)) => point.flags = flags,
                _ => {}
            }
        }
        Ok(point)
    }

    pub(super) fn exponential(message: &[u8]) -> Result<Self, WireError> {
        let mut point = Self::default();
        for field in Fields(message) {
            match field? {
                (1, Value::Bytes(pair)) => point.attributes.push(attribute(pair)?),
                (2, Value::Fixed64(time)) => point.start = ms(time),
                (3, Value::Fixed64(time)) => point.ts = ms(time),
                (4, Value::Fixed64(count)) => point.count = count,
                (5, Value::Fixed64(bits)) => point.sum = Some(f64::from_bits(bits)),
                (6, Value::Varint(scale)) => point.scale = sint(scale) as i32,
                (7, Value::Fixed64(count)) => point.zero_count = count,
                (8, Value::Bytes(buckets)) => point.positive = read_buckets(buckets)?,
                (9, Value::Bytes(buckets)) => point.negative = read_buckets(buckets)?,
                (10, Value::Varint(flags)) => point.flags = flags,
                (11, Value::Bytes(exemplar)) => point.exemplars.push(read_exemplar(exemplar)?),
                (14, Value::Fixed64(bits)) => point.zero_threshold = f64::from_bits(bits),
                _ => {}
            }
        }
        Ok(point)
    }

    pub(super) fn summary(message: &[u8]) -> Result<Self, WireError> {
        // A sum that is not told is 0 here.
        let mut point = Self {
            sum: Some(0.0),
            ..Self::default()
        };
        for field in Fields(message) {
            match field? {
                (7, Value::Bytes(pair)) => point.attributes.push(attribute(pair)?),
                (2, Value::Fixed64(time)) => point.start = ms(time),
                (3, Value::Fixed64(time)) => point.ts = ms(time),
                (4, Value::Fixed64(count)) => point.count = count,
                (5, Value::Fixed64(bits)) => point.sum = Some(f64::from_bits(bits)),
                (6, Value::Bytes(quantile)) => {
                    let (mut q, mut value) = (0.0, 0.0);
                    for field in Fields(quantile) {
                        match field? {
                            (1, Value::Fixed64(bits)) => q = f64::from_bits(bits),
                            (2, Value::Fixed64(bits)) => value = f64::from_bits(bits),
                            _ => {}
                        }
                    }
                    point.quantiles.push((q, value));
                }
                (8, Value::Varint(flags)) => point.flags = flags,
                _ => {}
            }
        }
        Ok(point)
    }

    /// The same without attributes and exemplars.
    pub(super) fn without_labels(&self) -> Self {
        Self {
            attributes: Vec::new(),
            exemplars: Vec::new(),
            ..self.clone()
        }
    }

    // What the point says, or that there is nothing to say any more.
    fn or_stale(&self, value: f64) -> f64 {
        if self.is_stale() { STALE_NAN } else { value }
    }

    /// Whether it only says that there is nothing to say any more.
    pub(super) fn is_stale(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }

    pub(super) fn value(&self) -> f64 {
        self.or_stale(self.value)
    }

    pub(super) fn count(&self) -> f64 {
        self.or_stale(self.count as f64)
    }

    /// `None` where a histogram does not tell it.
    pub(super) fn sum(&self) -> Option<f64> {
        self.sum.map(|sum| self.or_stale(sum))
    }

    /// The quantiles of a summary with their values.
    pub(super) fn quantiles(&self) -> impl Iterator<Item = (f64, f64)> {
        self.quantiles.iter().map(|(q, value)| (*q, self.or_stale(*value)))
    }

    /// The upper bounds of buckets and how many observations lie below; the last bound is infinite.
    pub(super) fn cumulative(&self) -> Vec<(f64, f64)> {
        let mut below = 0_u64;
        let mut all = Vec::with_capacity(self.bounds.len() + 1);
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            below = below.saturating_add(*count);
            all.push((*bound, self.or_stale(below as f64)));
        }
        all.push((f64::INFINITY, self.count()));
        all
    }

    /// An exponential histogram as a native one.
    ///
    /// # Errors
    /// Why there is none; the text is Prometheus's.
    pub(super) fn native(&self, is_delta: bool) -> Result<Histogram, String> {
        if self.scale < COARSEST_SCALE {
            return Err(format!(
                "cannot convert exponential to native histogram. Scale must be >= -4, was {}",
                self.scale
            ));
        }
        let down = self.scale.saturating_sub(FINEST_SCALE).clamp(0, 31);
        // Bucket 0 ends at the base there and at 1 here.
        let place = |buckets: &Buckets| spans(&buckets.counts, |at| ((i64::from(buckets.offset) + at) >> down) + 1);
        let (positive_spans, positive_buckets) = place(&self.positive)?;
        let (negative_spans, negative_buckets) = place(&self.negative)?;
        Ok(self.whole(Histogram {
            schema: self.scale.min(FINEST_SCALE),
            zero_threshold: match self.zero_threshold {
                told if told > 0.0 => told,
                _ => ZERO_THRESHOLD,
            },
            zero_count: self.zero_count,
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            ..self.hinted(is_delta)
        }))
    }

    /// A histogram with bounds of its own as a native one.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn custom(&self, is_delta: bool) -> Result<Histogram, String> {
        let (positive_spans, positive_buckets) = spans(&self.counts, |at| at)?;
        Ok(self.whole(Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            positive_spans,
            positive_buckets,
            custom_values: self.bounds.clone().into(),
            ..self.hinted(is_delta)
        }))
    }

    // Deltas go up and down. Of the others nothing is promised: the storage looks for resets.
    fn hinted(&self, is_delta: bool) -> Histogram {
        Histogram {
            counter_reset_hint: match is_delta {
                true => CounterResetHint::Gauge,
                false => CounterResetHint::Unknown,
            },
            count: self.count,
            sum: self.sum.unwrap_or(0.0),
            ..Histogram::default()
        }
    }

    fn whole(&self, histogram: Histogram) -> Histogram {
        if self.is_stale() {
            return Histogram {
                sum: STALE_NAN,
                ..Histogram::default()
            };
        }
        histogram
    }
}

fn read_buckets(message: &[u8]) -> Result<Buckets, WireError> {
    let mut buckets = Buckets::default();
    for field in Fields(message) {
        match field? {
            (1, Value::Varint(offset)) => buckets.offset = sint(offset) as i32,
            (2, counts) => uints(counts, &mut buckets.counts)?,
            _ => {}
        }
    }
    Ok(buckets)
}

// Dense populations as spans and differences; `place` tells the bucket of the one at a position, ascending.
pub(super) fn spans(counts: &[u64], place: impl Fn(i64) -> i64) -> Result<(Vec<Span>, Vec<i64>), String> {
    let too_far = || "the buckets of a histogram lie too far apart".to_owned();
    let mut spans: Vec<Span> = Vec::new();
    let mut deltas = Vec::new();
    // The last bucket written: its place and population.
    let mut last: Option<(i64, u64)> = None;
    let mut all = (0_i64..).zip(counts).map(|(at, count)| (place(at), *count)).peekable();
    while let Some((place, mut count)) = all.next() {
        while let Some((_, more)) = all.next_if(|(next, _)| *next == place) {
            count = count.checked_add(more).ok_or_else(too_far)?;
        }
        if count == 0 {
            continue;
        }
        // The first bucket of all begins a span, as does one behind a long gap. A short gap is filled.
        let (gap, before) = match last {
            Some((before, count)) => (place - before - 1, count),
            None => (place, 0),
        };
        let begins = last.is_none() || gap > SMALL_GAP;
        if begins {
            spans.push(Span {
                offset: i32::try_from(gap).map_err(|_| too_far())?,
                length: 0,
            });
        }
        let empty = if begins { 0 } else { gap };
        let mut before = before as i64;
        let filled = (0..empty).map(|_| 0).chain([count as i64]);
        for count in filled {
            if let Some(span) = spans.last_mut() {
                span.length += 1;
            }
            deltas.push(count.wrapping_sub(before));
            before = count;
        }
        last = Some((place, count));
    }
    Ok((spans, deltas))
}

fn read_exemplar(message: &[u8]) -> Result<Exemplar, WireError> {
    let (mut ids, mut attributes) = (Vec::new(), Vec::new());
    let (mut ts, mut value) = (0, 0.0);
    for field in Fields(message) {
        match field? {
            (7, Value::Bytes(pair)) => attributes.push(attribute(pair)?),
            (2, Value::Fixed64(time)) => ts = ms(time),
            (3, Value::Fixed64(bits)) => value = f64::from_bits(bits),
            (6, Value::Fixed64(bits)) => value = bits as i64 as f64,
            (4, Value::Bytes(span)) => ids.extend(id(span).map(|id| ("span_id".to_owned(), id))),
            (5, Value::Bytes(trace)) => ids.extend(id(trace).map(|id| ("trace_id".to_owned(), id))),
            _ => {}
        }
    }
    let chars = |(name, value): &(String, String)| name.chars().count() + value.chars().count();
    let are_short = ids.iter().chain(&attributes).map(chars).sum::<usize>() <= EXEMPLAR_CHARS;
    let labels = Labels::from_pairs(ids.into_iter().chain(attributes.into_iter().filter(|_| are_short)));
    Ok(Exemplar { labels, value, ts })
}

/// What measured: its name, version and attributes.
#[derive(Default)]
pub(super) struct Scope {
    pub name: String,
    pub version: String,
    pub schema_url: String,
    pub attributes: Vec<(String, String)>,
}

impl Scope {
    pub(super) fn read(&mut self, message: &[u8]) -> Result<(), WireError> {
        for field in Fields(message) {
            match field? {
                (1, Value::Bytes(name)) => self.name = text(name),
                (2, Value::Bytes(version)) => self.version = text(version),
                (3, Value::Bytes(pair)) => self.attributes.push(attribute(pair)?),
                _ => {}
            }
        }
        Ok(())
    }
}
