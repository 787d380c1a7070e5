//! Native histograms in the log: whole, each by itself.

use cupola_histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Histogram, NativeHistogram, Span};

use crate::bytes::{Dec, Fault, Parsed};

/// Whether buckets of this schema mean something to us. Upstream reserves -9 to -5 and 9 to 52 for later versions.
pub(crate) fn has_known_schema(histogram: &NativeHistogram) -> bool {
    let schema = match histogram {
        NativeHistogram::Integer(histogram) => histogram.schema,
        NativeHistogram::Float(histogram) => histogram.schema,
    };
    matches!(schema, -4..=8 | CUSTOM_BUCKETS_SCHEMA)
}

/// Reads one; `is_float` by the kind of the record.
pub(crate) fn decode(dec: &mut Dec<'_>, is_float: bool) -> Parsed<NativeHistogram> {
    if is_float {
        float(dec).map(NativeHistogram::Float)
    } else {
        integer(dec).map(NativeHistogram::Integer)
    }
}

fn hint(byte: u8) -> CounterResetHint {
    match byte {
        1 => CounterResetHint::CounterReset,
        2 => CounterResetHint::NotCounterReset,
        3 => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    }
}

fn schema(dec: &mut Dec<'_>) -> Parsed<i32> {
    i32::try_from(dec.varint()?).map_err(|_| Fault::new("schema of more than 32 bits"))
}

fn spans(dec: &mut Dec<'_>) -> Parsed<Vec<Span>> {
    let count = dec.count(2)?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = i32::try_from(dec.varint()?).map_err(|_| Fault::new("span offset of more than 32 bits"))?;
        let length = u32::try_from(dec.uvarint()?).map_err(|_| Fault::new("span length of more than 32 bits"))?;
        spans.push(Span { offset, length });
    }
    Ok(spans)
}

fn deltas(dec: &mut Dec<'_>) -> Parsed<Vec<i64>> {
    (0..dec.count(1)?).map(|_| dec.varint()).collect()
}

fn floats(dec: &mut Dec<'_>) -> Parsed<Vec<f64>> {
    (0..dec.count(8)?).map(|_| dec.float()).collect()
}

fn custom_values(dec: &mut Dec<'_>, schema: i32) -> Parsed<Vec<f64>> {
    if schema == CUSTOM_BUCKETS_SCHEMA {
        floats(dec)
    } else {
        Ok(Vec::new())
    }
}

fn integer(dec: &mut Dec<'_>) -> Parsed<Histogram> {
    let counter_reset_hint = hint(dec.byte()?);
    let schema = schema(dec)?;
    Ok(Histogram {
        counter_reset_hint,
        schema,
        zero_threshold: dec.float()?,
        zero_count: dec.uvarint()?,
        count: dec.uvarint()?,
        sum: dec.float()?,
        positive_spans: spans(dec)?,
        negative_spans: spans(dec)?,
        positive_buckets: deltas(dec)?,
        negative_buckets: deltas(dec)?,
        custom_values: custom_values(dec, schema)?.into(),
    })
}

fn float(dec: &mut Dec<'_>) -> Parsed<FloatHistogram> {
    let counter_reset_hint = hint(dec.byte()?);
    let schema = schema(dec)?;
    Ok(FloatHistogram {
        counter_reset_hint,
        schema,
        zero_threshold: dec.float()?,
        zero_count: dec.float()?,
        count: dec.float()?,
        sum: dec.float()?,
        positive_spans: spans(dec)?,
        negative_spans: spans(dec)?,
        positive_buckets: floats(dec)?,
        negative_buckets: floats(dec)?,
        custom_values: custom_values(dec, schema)?.into(),
    })
}
