//! Scaling, adding, subtracting: upstream `Mul`, `Div`, `Add`, `Sub`, `ReduceResolution`, `Compact`.

use crate::combine::{Extra, combine};
use crate::float::{CounterResetHint, FloatHistogram};
use crate::layout::{SpanBuilder, Walk, coarser, compact, steps};

/// What an addition or subtraction had to bring together and a query tells its user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// One side says that the counter was reset, the other that it was not.
    pub counter_reset_collision: bool,
    /// The custom bounds differed; the result has those that both sides know.
    pub bounds_reconciled: bool,
}

impl Reconciled {
    /// What either of two operations met.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            counter_reset_collision: self.counter_reset_collision || other.counter_reset_collision,
            bounds_reconciled: self.bounds_reconciled || other.bounds_reconciled,
        }
    }
}

/// One histogram has exponential, the other custom buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct Incompatible;

impl CounterResetHint {
    /// The hint of a sum or difference, and whether the two contradict each other (upstream `adjustCounterReset`).
    #[must_use]
    pub fn merge(self, other: Self) -> (Self, bool) {
        match (self, other) {
            (a, b) if a == b => (a, false),
            (Self::Gauge, _) | (_, Self::Gauge) => (Self::Gauge, false),
            (Self::Unknown, _) | (_, Self::Unknown) => (Self::Unknown, false),
            _ => (Self::Unknown, true),
        }
    }
}

impl FloatHistogram {
    /// Multiplies all populations and the sum. A negative factor makes a gauge.
    pub fn mul(&mut self, factor: f64) {
        self.scale(|value| value * factor);
        if factor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    /// Divides all populations and the sum. A negative divisor makes a gauge; 0 removes all buckets, and count, sum and
    /// zero count become infinite or NaN.
    pub fn div(&mut self, divisor: f64) {
        if divisor == 0.0 {
            self.positive_spans.clear();
            self.negative_spans.clear();
            self.positive_buckets.clear();
            self.negative_buckets.clear();
        }
        self.scale(|value| value / divisor);
        if divisor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    /// The unary minus of PromQL: a multiplication with -1.
    pub fn neg(&mut self) {
        self.mul(-1.0);
    }

    #[inline]
    fn scale(&mut self, with: impl Fn(f64) -> f64) {
        self.zero_count = with(self.zero_count);
        self.count = with(self.count);
        self.sum = with(self.sum);
        for count in self.positive_buckets.iter_mut().chain(&mut self.negative_buckets) {
            *count = with(*count);
        }
    }

    /// Adds `other`: schemas, zero buckets and custom bounds are brought to what both can express, hints are merged.
    ///
    /// The layout may keep empty buckets; [`FloatHistogram::compact`] drops them. Where both have the same schema, zero
    /// threshold and spans, nothing is allocated.
    ///
    /// # Errors
    /// [`Incompatible`]; `self` is unchanged then.
    pub fn add(&mut self, other: &Self) -> Result<Reconciled, Incompatible> {
        combine(self, &mut Extra::None, other, 1.0)
    }

    /// Subtracts `other`, otherwise as [`FloatHistogram::add`]. PromQL's `-` sets the hint to gauge afterwards.
    ///
    /// # Errors
    /// [`Incompatible`]; `self` is unchanged then.
    pub fn sub(&mut self, other: &Self) -> Result<Reconciled, Incompatible> {
        combine(self, &mut Extra::None, other, -1.0)
    }

    /// Merges buckets so that the schema becomes `schema`. Nothing happens with custom buckets or where the histogram is
    /// that coarse already (upstream's `ReduceResolution` has errors there, `CopyToSchema` panics).
    pub fn reduce_resolution(&mut self, schema: i32) {
        if self.uses_custom_buckets() || schema >= self.schema || schema == crate::CUSTOM_BUCKETS_SCHEMA {
            return;
        }
        let steps = steps(self.schema, schema);
        let (positive, negative) = (&mut self.positive_spans, &mut self.negative_spans);
        coarsen(positive, &mut self.positive_buckets, None, steps);
        coarsen(negative, &mut self.negative_buckets, None, steps);
        self.schema = schema;
    }

    /// A copy with the schema `schema`; see [`FloatHistogram::reduce_resolution`].
    #[must_use]
    pub fn copy_to_schema(&self, schema: i32) -> Self {
        let mut copy = self.clone();
        copy.reduce_resolution(schema);
        copy
    }

    /// Drops empty buckets at the ends of spans, joins spans at most `max_empty_buckets` apart, cuts spans with more
    /// empty buckets than that in a row. 0 gives the normal form.
    pub fn compact(&mut self, max_empty_buckets: usize) {
        let none = &mut Vec::new();
        compact(
            &mut self.positive_spans,
            &mut self.positive_buckets,
            none,
            max_empty_buckets,
        );
        none.clear();
        compact(
            &mut self.negative_spans,
            &mut self.negative_buckets,
            none,
            max_empty_buckets,
        );
    }
}

/// Brings one side to a schema that is `steps` coarser, in place. With `rest` the sums are compensated.
pub(crate) fn coarsen(
    spans: &mut Vec<crate::Span>,
    buckets: &mut Vec<f64>,
    mut rest: Option<&mut Vec<f64>>,
    steps: u32,
) {
    if steps == 0 {
        return;
    }
    let mut built = SpanBuilder::with_capacity(spans.len());
    let mut counts: Vec<f64> = Vec::with_capacity(buckets.len());
    let mut rests: Vec<f64> = Vec::new();
    let mut current = None;
    for (position, (index, count)) in Walk::new(spans, buckets).enumerate() {
        let more = rest
            .as_ref()
            .and_then(|rest| rest.get(position))
            .copied()
            .unwrap_or(0.0);
        let index = coarser(index, steps);
        match counts.last_mut() {
            Some(sum) if current == Some(index) => match rests.last_mut() {
                Some(kept) if rest.is_some() => {
                    (*sum, *kept) = crate::sum::add_to(*sum, *kept, count);
                    (*sum, *kept) = crate::sum::add_to(*sum, *kept, more);
                }
                _ => *sum += count,
            },
            _ => {
                built.push(index);
                counts.push(count);
                rests.push(more);
                current = Some(index);
            }
        }
    }
    *spans = built.finish();
    *buckets = counts;
    if let Some(rest) = rest.as_mut() {
        **rest = rests;
    }
}
