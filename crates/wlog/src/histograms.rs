//! Native histograms in the log: whole, each by itself.

use cupola_histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span};
use cupola_model::is_stale_nan;

use crate::bytes::{Dec, Fault, Parsed};

/// A native histogram with whole numbers, as it was scraped.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IntegerHistogram {
    /// What is known of a reset before it.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution: -4 to 8, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Half the width of the zero bucket.
    pub zero_threshold: f64,
    /// Population of the zero bucket.
    pub zero_count: u64,
    /// How many observations there are.
    pub count: u64,
    /// Their sum; the staleness marker here makes the whole histogram one.
    pub sum: f64,
    /// Where the positive buckets lie.
    pub positive_spans: Vec<Span>,
    /// Where the negative buckets lie.
    pub negative_spans: Vec<Span>,
    /// The first positive bucket's population, then what each has more than the one before.
    pub positive_deltas: Vec<i64>,
    /// The same of the negative buckets.
    pub negative_deltas: Vec<i64>,
    /// Upper bounds of custom buckets, without infinity.
    pub custom_values: Vec<f64>,
}

/// A native histogram of either kind.
#[derive(Debug, Clone, PartialEq)]
pub enum LoggedHistogram {
    /// Whole numbers.
    Integer(IntegerHistogram),
    /// Floats, as recording rules and some clients make them.
    Float(FloatHistogram),
}

impl LoggedHistogram {
    /// Whether it marks the end of its series.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        is_stale_nan(match self {
            Self::Integer(histogram) => histogram.sum,
            Self::Float(histogram) => histogram.sum,
        })
    }

    fn schema(&self) -> i32 {
        match self {
            Self::Integer(histogram) => histogram.schema,
            Self::Float(histogram) => histogram.schema,
        }
    }

    /// Whether buckets of this schema mean something to us. Upstream reserves -9 to -5 and 9 to 52 for later versions.
    pub(crate) fn has_known_schema(&self) -> bool {
        matches!(self.schema(), -4..=8 | CUSTOM_BUCKETS_SCHEMA)
    }

    /// Reads one; `is_float` by the kind of the record.
    pub(crate) fn decode(dec: &mut Dec<'_>, is_float: bool) -> Parsed<Self> {
        if is_float {
            float(dec).map(Self::Float)
        } else {
            integer(dec).map(Self::Integer)
        }
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

fn integer(dec: &mut Dec<'_>) -> Parsed<IntegerHistogram> {
    let counter_reset_hint = hint(dec.byte()?);
    let schema = schema(dec)?;
    Ok(IntegerHistogram {
        counter_reset_hint,
        schema,
        zero_threshold: dec.float()?,
        zero_count: dec.uvarint()?,
        count: dec.uvarint()?,
        sum: dec.float()?,
        positive_spans: spans(dec)?,
        negative_spans: spans(dec)?,
        positive_deltas: deltas(dec)?,
        negative_deltas: deltas(dec)?,
        custom_values: custom_values(dec, schema)?,
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
