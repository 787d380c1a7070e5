//! Native histograms as remote write carries them: `prometheus.Histogram`.

use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FloatHistogram, Histogram, NativeHistogram, Span};

use cupola_wire::{Fields, Value, WireError, doubles, sint, sints};

const COUNT_INT: u64 = 1;
const COUNT_FLOAT: u64 = 2;
const SUM: u64 = 3;
const SCHEMA: u64 = 4;
const ZERO_THRESHOLD: u64 = 5;
const ZERO_COUNT_INT: u64 = 6;
const ZERO_COUNT_FLOAT: u64 = 7;
const NEGATIVE_SPANS: u64 = 8;
const NEGATIVE_DELTAS: u64 = 9;
const NEGATIVE_COUNTS: u64 = 10;
const POSITIVE_SPANS: u64 = 11;
const POSITIVE_DELTAS: u64 = 12;
const POSITIVE_COUNTS: u64 = 13;
const RESET_HINT: u64 = 14;
const TIMESTAMP: u64 = 15;
const CUSTOM_VALUES: u64 = 16;
const START: u64 = 17;
const SPAN_OFFSET: u64 = 1;
const SPAN_LENGTH: u64 = 2;

/// Reads one message; its parts need not belong together, which the storage checks.
///
/// # Errors
/// [`WireError`] where it is no message.
pub(crate) fn read_histogram(message: &[u8]) -> Result<(i64, NativeHistogram), WireError> {
    // Upstream tells the kinds apart by the field of the count alone.
    let mut is_float = false;
    let mut ts = 0;
    let mut integer = Histogram::default();
    let mut float = FloatHistogram::default();
    let mut custom_values = Vec::new();
    for field in Fields(message) {
        match field? {
            (COUNT_INT, Value::Varint(count)) => (integer.count, is_float) = (count, false),
            (COUNT_FLOAT, Value::Fixed64(bits)) => (float.count, is_float) = (f64::from_bits(bits), true),
            (SUM, Value::Fixed64(bits)) => integer.sum = f64::from_bits(bits),
            (SCHEMA, Value::Varint(schema)) => integer.schema = sint(schema) as i32,
            (ZERO_THRESHOLD, Value::Fixed64(bits)) => integer.zero_threshold = f64::from_bits(bits),
            (ZERO_COUNT_INT, Value::Varint(count)) => integer.zero_count = count,
            (ZERO_COUNT_FLOAT, Value::Fixed64(bits)) => float.zero_count = f64::from_bits(bits),
            (NEGATIVE_SPANS, Value::Bytes(span)) => integer.negative_spans.push(read_span(span)?),
            (NEGATIVE_DELTAS, value) => sints(value, &mut integer.negative_buckets)?,
            (NEGATIVE_COUNTS, value) => doubles(value, &mut float.negative_buckets)?,
            (POSITIVE_SPANS, Value::Bytes(span)) => integer.positive_spans.push(read_span(span)?),
            (POSITIVE_DELTAS, value) => sints(value, &mut integer.positive_buckets)?,
            (POSITIVE_COUNTS, value) => doubles(value, &mut float.positive_buckets)?,
            (RESET_HINT, Value::Varint(hint)) => {
                integer.counter_reset_hint = match hint {
                    1 => CounterResetHint::CounterReset,
                    2 => CounterResetHint::NotCounterReset,
                    3 => CounterResetHint::Gauge,
                    _ => CounterResetHint::Unknown,
                }
            }
            (TIMESTAMP, Value::Varint(value)) => ts = value as i64,
            (CUSTOM_VALUES, value) => doubles(value, &mut custom_values)?,
            _ => {}
        }
    }
    integer.custom_values = Arc::from(custom_values);
    if !is_float {
        return Ok((ts, NativeHistogram::Integer(integer)));
    }
    let histogram = FloatHistogram {
        counter_reset_hint: integer.counter_reset_hint,
        schema: integer.schema,
        zero_threshold: integer.zero_threshold,
        sum: integer.sum,
        positive_spans: integer.positive_spans,
        negative_spans: integer.negative_spans,
        custom_values: integer.custom_values,
        ..float
    };
    Ok((ts, NativeHistogram::Float(histogram)))
}

/// Since when a histogram of the second version counts, in milliseconds; 0 where it does not say.
///
/// # Errors
/// As [`read_histogram`].
pub(crate) fn histogram_start(message: &[u8]) -> Result<i64, WireError> {
    let mut start = 0;
    for field in Fields(message) {
        if let (START, Value::Varint(value)) = field? {
            start = value as i64;
        }
    }
    Ok(start)
}

fn read_span(message: &[u8]) -> Result<Span, WireError> {
    let mut span = Span::default();
    for field in Fields(message) {
        match field? {
            (SPAN_OFFSET, Value::Varint(offset)) => span.offset = sint(offset) as i32,
            (SPAN_LENGTH, Value::Varint(length)) => span.length = length as u32,
            _ => {}
        }
    }
    Ok(span)
}
