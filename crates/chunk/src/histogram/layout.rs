//! What all samples of a chunk share: resolution and where the buckets lie.

use std::sync::Arc;

use cupola_histogram::{CUSTOM_BUCKETS_SCHEMA, HistogramRef, Span};

use super::field::{Reader, Writer};
use super::spans::num_buckets;

/// Bounds up to this many thousandths take at most 4 bytes, upstream's choice.
const LARGEST_SHORT_BOUND: f64 = 33_554_430.0;

/// Spans may be empty, which upstream allows; a chunk that holds little else is refused, because each sample read from
/// it would take far more memory than the chunk.
const EMPTY_SPANS: usize = 64;

#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) positive_spans: Vec<Span>,
    pub(super) negative_spans: Vec<Span>,
    pub(super) custom_values: Arc<[f64]>,
}

impl Layout {
    /// That of `h`; a stale histogram has an empty one.
    pub(super) fn of(h: HistogramRef<'_>) -> Self {
        if h.is_stale() {
            return Self::default();
        }
        Self {
            schema: h.schema(),
            zero_threshold: h.zero_threshold(),
            positive_spans: h.positive_spans().to_vec(),
            negative_spans: h.negative_spans().to_vec(),
            // Bounds of an exponential schema are not written.
            custom_values: match h.schema() {
                CUSTOM_BUCKETS_SCHEMA => Arc::clone(h.custom_values()),
                _ => Arc::default(),
            },
        }
    }

    pub(super) fn write(&self, to: &mut Writer<'_>) {
        write_threshold(to, self.zero_threshold);
        to.varbit_int(i64::from(self.schema));
        for spans in [&self.positive_spans, &self.negative_spans] {
            to.varbit_uint(spans.len() as u64);
            for span in spans {
                to.varbit_uint(u64::from(span.length));
                to.varbit_int(i64::from(span.offset));
            }
        }
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            to.varbit_uint(self.custom_values.len() as u64);
            for bound in self.custom_values.iter() {
                write_bound(to, *bound);
            }
        }
    }

    /// Never allocates more than a small multiple of the bytes that are left.
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        let zero_threshold = read_threshold(from);
        let schema = from.varbit_int();
        // Those in use are -4 to 8 and -53; the others are reserved, and finer ones are read as 8.
        let schema = i32::try_from(schema)
            .ok()
            .filter(|schema| *schema == CUSTOM_BUCKETS_SCHEMA || (-9..=52).contains(schema))
            .ok_or("unknown schema")?;
        let positive_spans = read_spans(from)?;
        let negative_spans = read_spans(from)?;
        let mut bounds = Vec::new();
        if schema == CUSTOM_BUCKETS_SCHEMA {
            let count = from.varbit_uint();
            // A bound takes 5 bits at least.
            if count > from.left() as u64 / 5 {
                return Err("number of bounds");
            }
            for _ in 0..count {
                bounds.push(read_bound(from));
            }
        }
        Ok(Self {
            schema,
            zero_threshold,
            positive_spans,
            negative_spans,
            custom_values: Arc::from(bounds),
        })
    }
}

/// Whether a chunk may have these spans: no offset but the first is below zero, and few of them are empty.
pub(super) fn are_possible(spans: &[Span]) -> bool {
    let ascending = spans.iter().skip(1).all(|span| span.offset >= 0);
    ascending && spans.iter().filter(|span| span.length == 0).count() <= EMPTY_SPANS
}

fn read_spans(from: &mut Reader<'_>) -> Result<Vec<Span>, &'static str> {
    let count = from.varbit_uint();
    // A span takes 2 bits at least.
    if count > from.left() as u64 / 2 {
        return Err("number of spans");
    }
    let mut spans = Vec::new();
    for _ in 0..count {
        let length = u32::try_from(from.varbit_uint()).map_err(|_| "length of a span")?;
        let offset = i32::try_from(from.varbit_int()).map_err(|_| "offset of a span")?;
        spans.push(Span { offset, length });
    }
    // Each bucket takes a bit at least in the first sample.
    if num_buckets(&spans) > from.left() as u64 {
        return Err("number of buckets");
    }
    if !are_possible(&spans) {
        return Err("spans");
    }
    Ok(spans)
}

// One byte for zero and for the usual powers of two (2^-243 to 2^10), else 255 and the float.
fn write_threshold(to: &mut Writer<'_>, threshold: f64) {
    let bits = threshold.to_bits();
    let (exponent, mantissa) = ((bits >> 52) as i64, bits & ((1 << 52) - 1));
    // The byte of 2^-243 is 1; its exponent is stored as 780. A sign would exceed the range.
    let short = exponent - 779;
    if threshold == 0.0 {
        to.bits(0, 8);
    } else if mantissa == 0 && (1..=254).contains(&short) {
        to.bits(short as u64, 8);
    } else {
        to.bits(255, 8);
        to.bits(bits, 64);
    }
}

fn read_threshold(from: &mut Reader<'_>) -> f64 {
    match from.bits(8) {
        0 => 0.0,
        255 => f64::from_bits(from.bits(64)),
        short => f64::from_bits((short + 779) << 52),
    }
}

// Thousandths that are whole become a number from 1 on, others a 0 bit and the float.
fn write_bound(to: &mut Writer<'_>, bound: f64) {
    let thousandths = bound * 1000.0;
    let rounded = thousandths.round();
    let is_short = (0.0..=LARGEST_SHORT_BOUND).contains(&thousandths) && bound == rounded / 1000.0;
    if is_short {
        to.varbit_uint(rounded as u64 + 1);
    } else {
        to.bits(0, 1);
        to.bits(bound.to_bits(), 64);
    }
}

fn read_bound(from: &mut Reader<'_>) -> f64 {
    match from.varbit_uint() {
        0 => f64::from_bits(from.bits(64)),
        number => (number - 1) as f64 / 1000.0,
    }
}
