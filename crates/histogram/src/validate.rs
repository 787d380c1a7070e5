//! Whether the parts of a histogram belong together (upstream `Validate`), in upstream's words.

use cupola_model::fmt_f64_g;

use crate::float::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Span};
use crate::integer::{Histogram, populations};

/// What is wrong with a histogram.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// The schema is none that exists.
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema {0}"
    )]
    Schema(i32),
    /// A flaw of the positive buckets.
    #[error("positive side: {0}")]
    Positive(Flaw),
    /// A flaw of the negative buckets.
    #[error("negative side: {0}")]
    Negative(Flaw),
    /// A flaw of custom buckets or their bounds.
    #[error("custom buckets: {0}")]
    Custom(Flaw),
    /// The zero bucket holds less than nothing.
    #[error("zero bucket has observation count of {}: histogram has a bucket whose observation count is negative", fmt_f64_g(*.0))]
    ZeroCount(f64),
    /// There are less than no observations.
    #[error("observation count is  {}: histogram's observation count is negative", fmt_f64_g(*.0))]
    Count(f64),
    /// Bounds are listed although the schema has its own.
    #[error("histogram with exponential schema must not have custom bounds")]
    UnusedBounds,
    /// The buckets of an integer histogram hold more or less than it says it observed.
    #[error(
        "{found} observations found in buckets, but the Count field is {count}: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)"
    )]
    CountMismatch {
        /// How many the buckets hold.
        found: u64,
        /// How many it says there are.
        count: u64,
    },
    /// The same where the sum is NaN: the buckets hold more than was observed.
    #[error(
        "{found} observations found in buckets, but the Count field is {count}: histogram's observation count should be at least the number of observations found in the buckets"
    )]
    CountTooSmall {
        /// How many the buckets hold.
        found: u64,
        /// How many it says there are.
        count: u64,
    },
}

/// What is wrong with buckets, spans or bounds.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Flaw {
    /// A span, counted from 1, begins before the end of the one before it.
    #[error("span number {0} with offset {1}: histogram has a span whose offset is negative")]
    SpanOffset(usize, i32),
    /// Spans and buckets do not agree.
    #[error(
        "spans need {0} buckets, have {1} buckets: histogram spans specify different number of buckets than provided"
    )]
    BucketNumber(u64, usize),
    /// A bucket, counted from 1, holds less than nothing.
    #[error("bucket number {0} has observation count of {count}: histogram has a bucket whose observation count is negative", count = fmt_f64_g(*.1))]
    BucketCount(usize, f64),
    /// A bucket of an integer histogram, counted from 1, holds less than nothing.
    #[error(
        "bucket number {0} has observation count of {1}: histogram has a bucket whose observation count is negative"
    )]
    IntegerBucketCount(usize, i64),
    /// A bound is no number.
    #[error("histogram custom bounds must not be NaN")]
    BoundNan,
    /// Bounds do not ascend.
    #[error("previous bound is {} and current is {}: histogram custom bounds must be in strictly increasing order", six(*.0), six(*.1))]
    BoundOrder(f64, f64),
    /// The bound at infinity is listed.
    #[error("last +Inf bound must not be explicitly defined: histogram custom bounds must be finite")]
    BoundInfinite,
    /// Buckets lie behind the last bound.
    #[error(
        "only {0} custom bounds defined which is insufficient to cover total span length of {1}: histogram custom bounds are too few"
    )]
    BoundNumber(usize, i64),
    /// There is a zero count.
    #[error("must have zero count of 0")]
    ZeroCount,
    /// There is a zero threshold.
    #[error("must have zero threshold of 0")]
    ZeroThreshold,
    /// There are negative spans.
    #[error("must not have negative spans")]
    NegativeSpans,
    /// There are negative buckets.
    #[error("must not have negative buckets")]
    NegativeBuckets,
}

// Go's %f.
fn six(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.6}")
    } else {
        fmt_f64_g(value)
    }
}

impl FloatHistogram {
    /// Checks that schema, spans, buckets, bounds and counts can be one histogram. The count may differ from what the
    /// buckets hold: rounding does that.
    ///
    /// # Errors
    /// The first thing found, worded as upstream words it.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self.schema {
            CUSTOM_BUCKETS_SCHEMA => self.check_custom().map_err(Invalid::Custom)?,
            -4..=8 => self.check_exponential()?,
            schema => return Err(Invalid::Schema(schema)),
        }
        if self.count < 0.0 {
            return Err(Invalid::Count(self.count));
        }
        check_buckets(&self.positive_buckets).map_err(Invalid::Positive)
    }

    fn check_exponential(&self) -> Result<(), Invalid> {
        check_spans(&self.positive_spans, self.positive_buckets.len()).map_err(Invalid::Positive)?;
        check_spans(&self.negative_spans, self.negative_buckets.len()).map_err(Invalid::Negative)?;
        check_buckets(&self.negative_buckets).map_err(Invalid::Negative)?;
        if self.zero_count < 0.0 {
            return Err(Invalid::ZeroCount(self.zero_count));
        }
        if !self.custom_values.is_empty() {
            return Err(Invalid::UnusedBounds);
        }
        Ok(())
    }

    fn check_custom(&self) -> Result<(), Flaw> {
        check_bounds(&self.custom_values, &self.positive_spans, self.positive_buckets.len())?;
        check_only_positive(
            (self.zero_count != 0.0, self.zero_threshold),
            &self.negative_spans,
            self.negative_buckets.len(),
        )
    }
}

/// [`Histogram::validate`].
pub(crate) fn check_integer(h: &Histogram) -> Result<(), Invalid> {
    let mut found = h.zero_count;
    match h.schema {
        CUSTOM_BUCKETS_SCHEMA => {
            check_bounds(&h.custom_values, &h.positive_spans, h.positive_buckets.len())
                .and_then(|()| {
                    check_only_positive(
                        (h.zero_count != 0, h.zero_threshold),
                        &h.negative_spans,
                        h.negative_buckets.len(),
                    )
                })
                .map_err(Invalid::Custom)?;
        }
        -4..=8 => {
            check_spans(&h.positive_spans, h.positive_buckets.len()).map_err(Invalid::Positive)?;
            check_spans(&h.negative_spans, h.negative_buckets.len()).map_err(Invalid::Negative)?;
            let negative = count_buckets(&h.negative_buckets).map_err(Invalid::Negative)?;
            found = found.wrapping_add(negative);
            if !h.custom_values.is_empty() {
                return Err(Invalid::UnusedBounds);
            }
        }
        schema => return Err(Invalid::Schema(schema)),
    }
    let positive = count_buckets(&h.positive_buckets).map_err(Invalid::Positive)?;
    found = found.wrapping_add(positive);
    let count = h.count;
    if h.sum.is_nan() {
        if found > count {
            return Err(Invalid::CountTooSmall { found, count });
        }
    } else if found != count {
        return Err(Invalid::CountMismatch { found, count });
    }
    Ok(())
}

fn check_bounds(bounds: &[f64], spans: &[Span], buckets: usize) -> Result<(), Flaw> {
    if bounds.iter().any(|bound| bound.is_nan()) {
        return Err(Flaw::BoundNan);
    }
    for (&previous, &current) in bounds.iter().zip(bounds.iter().skip(1)) {
        if current <= previous {
            return Err(Flaw::BoundOrder(previous, current));
        }
    }
    if bounds.last() == Some(&f64::INFINITY) {
        return Err(Flaw::BoundInfinite);
    }
    if let Some((at, span)) = (1..).zip(spans).find(|(_, span)| span.offset < 0) {
        return Err(Flaw::SpanOffset(at, span.offset));
    }
    check_spans(spans, buckets)?;
    let covered = spans
        .iter()
        .map(|span| i64::from(span.offset) + i64::from(span.length))
        .sum::<i64>();
    if usize::try_from(covered).is_ok_and(|covered| covered > bounds.len() + 1) {
        return Err(Flaw::BoundNumber(bounds.len(), covered));
    }
    Ok(())
}

// Custom buckets know neither a zero bucket nor a negative side. `zero` tells whether there is a zero count, and the
// threshold.
fn check_only_positive(zero: (bool, f64), spans: &[Span], buckets: usize) -> Result<(), Flaw> {
    if zero.0 {
        return Err(Flaw::ZeroCount);
    }
    if zero.1 != 0.0 {
        return Err(Flaw::ZeroThreshold);
    }
    if !spans.is_empty() {
        return Err(Flaw::NegativeSpans);
    }
    if buckets != 0 {
        return Err(Flaw::NegativeBuckets);
    }
    Ok(())
}

fn check_spans(spans: &[Span], buckets: usize) -> Result<(), Flaw> {
    if let Some((at, span)) = (1..).zip(spans).skip(1).find(|(_, span)| span.offset < 0) {
        return Err(Flaw::SpanOffset(at, span.offset));
    }
    let needed = spans.iter().map(|span| u64::from(span.length)).sum::<u64>();
    if needed != buckets as u64 {
        return Err(Flaw::BucketNumber(needed, buckets));
    }
    Ok(())
}

fn check_buckets(buckets: &[f64]) -> Result<(), Flaw> {
    match (1..).zip(buckets).find(|&(_, &count)| count < 0.0) {
        Some((at, &count)) => Err(Flaw::BucketCount(at, count)),
        None => Ok(()),
    }
}

// How many observations the buckets of one side hold; sums wrap as upstream's do.
fn count_buckets(deltas: &[i64]) -> Result<u64, Flaw> {
    let mut count = 0_u64;
    for (at, population) in (1..).zip(populations(deltas)) {
        let population = u64::try_from(population).map_err(|_| Flaw::IntegerBucketCount(at, population))?;
        count = count.wrapping_add(population);
    }
    Ok(count)
}
