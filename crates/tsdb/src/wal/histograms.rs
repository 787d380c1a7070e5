//! Native histograms in the log: each as what changed since the series' last one in the file.
//!
//! A histogram is its layout (resolution and where the buckets lie) and its numbers, one after the other. The layout is
//! written where it is another than before, which is seldom; the numbers as differences, most of which are small or 0.

use std::sync::Arc;

use cupola_histogram::{
    CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Histogram, HistogramRef, NativeHistogram, Span,
};
use foldhash::HashMap;

use super::codec::{CodecError, LoggedHistogram, Reader, put_uvarint, put_varint};

// Flags before each histogram.
const IS_FLOAT: u8 = 1;
const HAS_LAYOUT: u8 = 2;
const HINT_SHIFT: u8 = 2;

/// How many spans without a bucket each side may have; a chunk does not hold more.
pub(crate) const MAX_EMPTY_SPANS: usize = 64;

pub(crate) fn empty_spans(spans: &[Span]) -> usize {
    spans.iter().filter(|span| span.length == 0).count()
}

/// Remembers each series' last histogram within one segment. Writer and reader hold one each.
#[derive(Debug, Default)]
pub(super) struct HistogramCodec {
    last: HashMap<u64, Numbers>,
}

/// What the numbers mean: resolution, and where the buckets lie.
#[derive(Debug, Clone, Default)]
struct Layout {
    schema: i32,
    zero_threshold: u64,
    positive: Vec<Span>,
    negative: Vec<Span>,
    bounds: Arc<[f64]>,
}

/// A histogram as it is written: count, zero count, sum, positive buckets, negative buckets, 64 bits each.
#[derive(Debug, Clone, Default)]
struct Numbers {
    is_float: bool,
    layout: Layout,
    words: Vec<u64>,
}

// Which of the words is a float in either kind.
const SUM: usize = 2;
const HEAD: usize = 3;

impl Layout {
    fn of(h: HistogramRef<'_>) -> Self {
        Self {
            schema: h.schema(),
            zero_threshold: h.zero_threshold().to_bits(),
            positive: h.positive_spans().to_vec(),
            negative: h.negative_spans().to_vec(),
            bounds: Arc::clone(h.custom_values()),
        }
    }

    // By the bits, so that everything comes back as it was.
    fn is_same(&self, other: &Self) -> bool {
        let bits = |bounds: &Arc<[f64]>| bounds.iter().map(|bound| bound.to_bits()).collect::<Vec<_>>();
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && self.positive == other.positive
            && self.negative == other.negative
            && (Arc::ptr_eq(&self.bounds, &other.bounds) || bits(&self.bounds) == bits(&other.bounds))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, i64::from(self.schema));
        out.extend_from_slice(&self.zero_threshold.to_le_bytes());
        for spans in [&self.positive, &self.negative] {
            put_uvarint(out, spans.len() as u64);
            for span in spans {
                put_varint(out, i64::from(span.offset));
                put_uvarint(out, u64::from(span.length));
            }
        }
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            put_uvarint(out, self.bounds.len() as u64);
            for bound in self.bounds.iter() {
                out.extend_from_slice(&bound.to_bits().to_le_bytes());
            }
        }
    }

    fn decode(rest: &mut Reader<'_>) -> Result<Self, CodecError> {
        let schema = rest.varint("a schema")?;
        let schema = i32::try_from(schema).map_err(|_| CodecError::Range("schema"))?;
        let zero_threshold = rest.word("a zero threshold")?;
        let positive = decode_spans(rest)?;
        let negative = decode_spans(rest)?;
        let mut bounds = Vec::new();
        if schema == CUSTOM_BUCKETS_SCHEMA {
            for _ in 0..rest.uvarint("a number of bounds")? {
                bounds.push(f64::from_bits(rest.word("a bound")?));
            }
        }
        Ok(Self {
            schema,
            zero_threshold,
            positive,
            negative,
            bounds: bounds.into(),
        })
    }

    fn num_words(&self) -> (u64, u64) {
        let count = |spans: &[Span]| spans.iter().map(|span| u64::from(span.length)).sum();
        (count(&self.positive), count(&self.negative))
    }
}

fn decode_spans(rest: &mut Reader<'_>) -> Result<Vec<Span>, CodecError> {
    let mut spans = Vec::new();
    for _ in 0..rest.uvarint("a number of spans")? {
        let offset = rest.varint("a span")?;
        let length = rest.uvarint("a span")?;
        spans.push(Span {
            offset: i32::try_from(offset).map_err(|_| CodecError::Range("span"))?,
            length: u32::try_from(length).map_err(|_| CodecError::Range("span"))?,
        });
    }
    // A chunk does not hold more; each histogram read takes memory for them.
    if empty_spans(&spans) > MAX_EMPTY_SPANS {
        return Err(CodecError::Range("number of empty spans"));
    }
    Ok(spans)
}

impl Numbers {
    fn of(h: HistogramRef<'_>) -> Self {
        let (is_float, words) = match h {
            HistogramRef::Integer(h) => {
                let head = [h.count, h.zero_count, h.sum.to_bits()];
                let buckets = h.positive_buckets.iter().chain(&h.negative_buckets);
                (false, head.into_iter().chain(buckets.map(|b| *b as u64)).collect())
            }
            HistogramRef::Float(h) => {
                let head = [h.count, h.zero_count, h.sum];
                let buckets = h.positive_buckets.iter().chain(&h.negative_buckets);
                let floats = head.iter().chain(buckets);
                (true, floats.map(|float| float.to_bits()).collect())
            }
        };
        Self {
            is_float,
            layout: Layout::of(h),
            words,
        }
    }

    fn into_histogram(self, hint: CounterResetHint) -> NativeHistogram {
        let Self {
            is_float,
            layout,
            words,
        } = self;
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        let (positive, negative) = words
            .get(HEAD..)
            .unwrap_or_default()
            .split_at_checked(layout.num_words().0 as usize)
            .unwrap_or_default();
        let zero_threshold = f64::from_bits(layout.zero_threshold);
        let sum = f64::from_bits(word(SUM));
        if is_float {
            let floats = |words: &[u64]| words.iter().map(|word| f64::from_bits(*word)).collect();
            return NativeHistogram::Float(FloatHistogram {
                counter_reset_hint: hint,
                schema: layout.schema,
                zero_threshold,
                zero_count: f64::from_bits(word(1)),
                count: f64::from_bits(word(0)),
                sum,
                positive_buckets: floats(positive),
                negative_buckets: floats(negative),
                positive_spans: layout.positive,
                negative_spans: layout.negative,
                custom_values: layout.bounds,
            });
        }
        let integers = |words: &[u64]| words.iter().map(|word| *word as i64).collect();
        NativeHistogram::Integer(Histogram {
            counter_reset_hint: hint,
            schema: layout.schema,
            zero_threshold,
            zero_count: word(1),
            count: word(0),
            sum,
            positive_buckets: integers(positive),
            negative_buckets: integers(negative),
            positive_spans: layout.positive,
            negative_spans: layout.negative,
            custom_values: layout.bounds,
        })
    }
}

fn hint_to_bits(hint: CounterResetHint) -> u8 {
    match hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::CounterReset => 1,
        CounterResetHint::NotCounterReset => 2,
        CounterResetHint::Gauge => 3,
    }
}

fn hint_from_bits(bits: u8) -> Result<CounterResetHint, CodecError> {
    Ok(match bits {
        0 => CounterResetHint::Unknown,
        1 => CounterResetHint::CounterReset,
        2 => CounterResetHint::NotCounterReset,
        3 => CounterResetHint::Gauge,
        _ => return Err(CodecError::Range("flags of a histogram")),
    })
}

impl HistogramCodec {
    pub(super) fn clear(&mut self) {
        self.last.clear();
    }

    pub(super) fn encode(&mut self, out: &mut Vec<u8>, base: i64, histograms: &[LoggedHistogram]) {
        let mut before = 0_u64;
        for LoggedHistogram { series, ts, value } in histograms {
            put_varint(out, series.wrapping_sub(before) as i64);
            before = *series;
            put_varint(out, ts.wrapping_sub(base));
            let h = HistogramRef::from(value);
            let now = Numbers::of(h);
            let last = self.last.entry(*series).or_default();
            let is_same = !last.words.is_empty() && last.is_float == now.is_float && last.layout.is_same(&now.layout);
            let flags = if now.is_float { IS_FLOAT } else { 0 } | if is_same { 0 } else { HAS_LAYOUT };
            out.push(flags | hint_to_bits(h.counter_reset_hint()) << HINT_SHIFT);
            if !is_same {
                now.layout.encode(out);
                last.words.clear();
            }
            for (at, word) in now.words.iter().enumerate() {
                let old = last.words.get(at).copied().unwrap_or(0);
                if now.is_float || at == SUM {
                    let xor = word ^ old;
                    let zeros = if xor == 0 { 0 } else { xor.trailing_zeros() as u8 };
                    out.push(zeros);
                    put_uvarint(out, xor >> zeros);
                } else {
                    put_varint(out, word.wrapping_sub(old) as i64);
                }
            }
            *last = now;
        }
    }

    pub(super) fn decode(
        &mut self,
        count: u64,
        base: i64,
        rest: &mut Reader<'_>,
    ) -> Result<Vec<LoggedHistogram>, CodecError> {
        let mut histograms = Vec::new();
        let mut series = 0_u64;
        for _ in 0..count {
            series = series.wrapping_add(rest.varint("a series id")? as u64);
            let ts = base.wrapping_add(rest.varint("a time")?);
            let flags = rest.byte("a histogram")?;
            let hint = hint_from_bits(flags >> HINT_SHIFT)?;
            let last = self.last.entry(series).or_default();
            let is_float = flags & IS_FLOAT != 0;
            if flags & HAS_LAYOUT != 0 {
                *last = Numbers {
                    is_float,
                    layout: Layout::decode(rest)?,
                    words: Vec::new(),
                };
                // Each number takes a byte at least: more than are left are garbage and must not allocate.
                let (positive, negative) = last.layout.num_words();
                let words = usize::try_from(positive + negative)
                    .ok()
                    .filter(|words| *words <= rest.0.len())
                    .ok_or(CodecError::Range("number of buckets"))?;
                last.words = vec![0; HEAD + words];
            } else if last.words.is_empty() || last.is_float != is_float {
                return Err(CodecError::Range("layout of a histogram"));
            }
            for (at, word) in last.words.iter_mut().enumerate() {
                if is_float || at == SUM {
                    let zeros = rest.byte("a number")?;
                    let middle = rest.uvarint("a number")?;
                    let shifted = middle.checked_shl(u32::from(zeros));
                    *word ^= shifted.ok_or(CodecError::Range("number shift"))?;
                } else {
                    *word = word.wrapping_add(rest.varint("a number")? as u64);
                }
            }
            let value = last.clone().into_histogram(hint);
            histograms.push(LoggedHistogram { series, ts, value });
        }
        Ok(histograms)
    }
}
