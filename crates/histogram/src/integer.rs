//! Histograms as programs expose them: populations are whole numbers.

use std::sync::Arc;

use crate::combine::same_bounds;
use crate::float::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span};
use crate::validate::Invalid;

/// A native histogram whose populations are whole numbers; the buckets are listed as differences, which compress well.
///
/// Schemas, spans and bounds mean what they mean in a [`FloatHistogram`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
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
    /// Their sum. The staleness marker in it makes the whole histogram one.
    pub sum: f64,
    /// Where the positive buckets lie.
    pub positive_spans: Vec<Span>,
    /// Where the negative buckets lie.
    pub negative_spans: Vec<Span>,
    /// The first is the population of the first positive bucket, each other one the difference from the bucket before.
    pub positive_buckets: Vec<i64>,
    /// The negative buckets in the same way.
    pub negative_buckets: Vec<i64>,
    /// Upper bounds of custom buckets, ascending, without infinity; shared by a series' histograms.
    pub custom_values: Arc<[f64]>,
}

impl Histogram {
    /// Whether it marks the end of its series: the sum has the bits of the staleness marker.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        cupola_model::is_stale_nan(self.sum)
    }

    /// Whether its bucket bounds are listed rather than exponential.
    #[must_use]
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// The same histogram with floats. Populations above 2^53 are rounded.
    #[must_use]
    pub fn to_float(&self) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint: self.counter_reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count as f64,
            count: self.count as f64,
            sum: self.sum,
            positive_spans: self.positive_spans.clone(),
            negative_spans: self.negative_spans.clone(),
            positive_buckets: populations(&self.positive_buckets).map(|n| n as f64).collect(),
            negative_buckets: populations(&self.negative_buckets).map(|n| n as f64).collect(),
            custom_values: Arc::clone(&self.custom_values),
        }
    }

    /// Whether the two hold the same data (upstream `Equals`): as [`FloatHistogram::equals`], buckets may be cut into
    /// spans differently, NaN sums are compared by their bits, hints do not count.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.count == other.count
            && self.zero_count == other.zero_count
            && self.sum.to_bits() == other.sum.to_bits()
            && self.zero_threshold == other.zero_threshold
            && (!self.uses_custom_buckets() || same_bounds(&self.custom_values, &other.custom_values))
            && self.positive_buckets == other.positive_buckets
            && self.negative_buckets == other.negative_buckets
            && same_spans(&self.positive_spans, &other.positive_spans)
            && same_spans(&self.negative_spans, &other.negative_spans)
    }

    /// Checks that schema, spans, buckets, bounds and counts can be one histogram, and that the buckets hold as many
    /// observations as there are: at most as many where the sum is NaN, because an observed NaN is in no bucket.
    ///
    /// # Errors
    /// The first thing found, worded as upstream words it.
    pub fn validate(&self) -> Result<(), Invalid> {
        crate::validate::check_integer(self)
    }
}

/// The populations that differences tell; sums wrap where they exceed 64 bits, which no valid histogram does.
pub(crate) fn populations(deltas: &[i64]) -> impl Iterator<Item = i64> + '_ {
    let mut population = 0_i64;
    deltas.iter().map(move |delta| {
        population = population.wrapping_add(*delta);
        population
    })
}

// Whether two layouts name the same buckets, however they are cut into spans.
fn same_spans(a: &[Span], b: &[Span]) -> bool {
    a == b || runs(a) == runs(b)
}

// Ranges of buckets, joined where they touch.
fn runs(spans: &[Span]) -> Vec<(i64, i64)> {
    let mut runs: Vec<(i64, i64)> = Vec::with_capacity(spans.len());
    let mut end = 0_i64;
    for span in spans {
        let start = end.saturating_add(i64::from(span.offset));
        end = start.saturating_add(i64::from(span.length));
        match runs.last_mut() {
            _ if span.length == 0 => {}
            Some(last) if last.1 == start => last.1 = end,
            _ => runs.push((start, end)),
        }
    }
    runs
}

/// A native histogram of either kind.
#[derive(Debug, Clone, PartialEq)]
pub enum NativeHistogram {
    /// Populations are whole numbers.
    Integer(Histogram),
    /// Populations are floats.
    Float(FloatHistogram),
}

impl NativeHistogram {
    /// The histogram as one of floats, which is what queries use.
    #[must_use]
    pub fn to_float(&self) -> FloatHistogram {
        match self {
            Self::Integer(h) => h.to_float(),
            Self::Float(h) => h.clone(),
        }
    }

    /// Whether it marks the end of its series.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        HistogramRef::from(self).is_stale()
    }

    /// Whether the two are of one kind and hold the same data.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.equals(b),
            (Self::Float(a), Self::Float(b)) => a.equals(b),
            _ => false,
        }
    }

    /// As [`Histogram::validate`] and [`FloatHistogram::validate`].
    ///
    /// # Errors
    /// The first thing found, worded as upstream words it.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self {
            Self::Integer(h) => h.validate(),
            Self::Float(h) => h.validate(),
        }
    }
}

/// A native histogram of either kind, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HistogramRef<'a> {
    /// Populations are whole numbers.
    Integer(&'a Histogram),
    /// Populations are floats.
    Float(&'a FloatHistogram),
}

impl<'a> HistogramRef<'a> {
    /// What is known of a reset before it.
    #[must_use]
    pub fn counter_reset_hint(self) -> CounterResetHint {
        match self {
            Self::Integer(h) => h.counter_reset_hint,
            Self::Float(h) => h.counter_reset_hint,
        }
    }

    /// Resolution, see [`FloatHistogram::schema`].
    #[must_use]
    pub fn schema(self) -> i32 {
        match self {
            Self::Integer(h) => h.schema,
            Self::Float(h) => h.schema,
        }
    }

    /// Half the width of the zero bucket.
    #[must_use]
    pub fn zero_threshold(self) -> f64 {
        match self {
            Self::Integer(h) => h.zero_threshold,
            Self::Float(h) => h.zero_threshold,
        }
    }

    /// Sum of the observations.
    #[must_use]
    pub fn sum(self) -> f64 {
        match self {
            Self::Integer(h) => h.sum,
            Self::Float(h) => h.sum,
        }
    }

    /// Where the positive buckets lie.
    #[must_use]
    pub fn positive_spans(self) -> &'a [Span] {
        match self {
            Self::Integer(h) => &h.positive_spans,
            Self::Float(h) => &h.positive_spans,
        }
    }

    /// Where the negative buckets lie.
    #[must_use]
    pub fn negative_spans(self) -> &'a [Span] {
        match self {
            Self::Integer(h) => &h.negative_spans,
            Self::Float(h) => &h.negative_spans,
        }
    }

    /// Upper bounds of custom buckets.
    #[must_use]
    pub fn custom_values(self) -> &'a Arc<[f64]> {
        match self {
            Self::Integer(h) => &h.custom_values,
            Self::Float(h) => &h.custom_values,
        }
    }

    /// Whether it marks the end of its series.
    #[must_use]
    pub fn is_stale(self) -> bool {
        cupola_model::is_stale_nan(self.sum())
    }
}

impl<'a> From<&'a Histogram> for HistogramRef<'a> {
    fn from(h: &'a Histogram) -> Self {
        Self::Integer(h)
    }
}

impl<'a> From<&'a FloatHistogram> for HistogramRef<'a> {
    fn from(h: &'a FloatHistogram) -> Self {
        Self::Float(h)
    }
}

impl<'a> From<&'a NativeHistogram> for HistogramRef<'a> {
    fn from(h: &'a NativeHistogram) -> Self {
        match h {
            NativeHistogram::Integer(h) => Self::Integer(h),
            NativeHistogram::Float(h) => Self::Float(h),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(list: &[(i32, u32)]) -> Vec<Span> {
        list.iter().map(|&(offset, length)| Span { offset, length }).collect()
    }

    fn latency() -> Histogram {
        Histogram {
            zero_threshold: 0.001,
            zero_count: 2,
            count: 12,
            sum: 7.5,
            positive_spans: spans(&[(-1, 2), (1, 1)]),
            positive_buckets: vec![3, -1, 2],
            negative_spans: spans(&[(4, 1)]),
            negative_buckets: vec![1],
            ..Histogram::default()
        }
    }

    #[test]
    fn floats_are_the_populations() {
        let float = latency().to_float();
        assert_eq!(float.positive_buckets, [3.0, 2.0, 4.0]);
        assert_eq!(float.negative_buckets, [1.0]);
        assert_eq!((float.count, float.zero_count, float.sum), (12.0, 2.0, 7.5));
        assert_eq!(float.validate(), Ok(()));
        assert_eq!(NativeHistogram::Integer(latency()).to_float(), float);
    }

    #[test]
    fn spans_may_be_cut_differently() {
        let mut other = latency();
        other.positive_spans = spans(&[(0, 0), (-1, 1), (0, 1), (1, 1)]);
        assert!(latency().equals(&other) && latency() != other);
        other.positive_spans = spans(&[(-1, 1), (1, 1), (0, 1)]);
        assert!(!latency().equals(&other));
        let nan = |bits| Histogram {
            sum: f64::from_bits(bits),
            ..latency()
        };
        assert!(nan(f64::NAN.to_bits()).equals(&nan(f64::NAN.to_bits())));
        assert!(!nan(f64::NAN.to_bits()).equals(&nan(cupola_model::STALE_NAN_BITS)));
        assert!(nan(cupola_model::STALE_NAN_BITS).is_stale() && !latency().is_stale());
    }

    #[test]
    fn flaws_are_told_in_upstreams_words() {
        #[track_caller]
        fn check(change: impl Fn(&mut Histogram), expected: &str) {
            let mut histogram = latency();
            change(&mut histogram);
            let told = histogram
                .validate()
                .map_or_else(|flaw| flaw.to_string(), |()| "valid".to_owned());
            assert_eq!(told, expected);
        }
        check(|_| {}, "valid");
        check(
            |h| h.count = 13,
            "12 observations found in buckets, but the Count field is 13: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)",
        );
        check(|h| (h.count, h.sum) = (13, f64::NAN), "valid");
        check(
            |h| (h.count, h.sum) = (11, f64::NAN),
            "12 observations found in buckets, but the Count field is 11: histogram's observation count should be at least the number of observations found in the buckets",
        );
        check(
            |h| h.positive_buckets = vec![1, -2, 2],
            "positive side: bucket number 2 has observation count of -1: histogram has a bucket whose observation count is negative",
        );
        check(
            |h| h.negative_buckets.clear(),
            "negative side: spans need 1 buckets, have 0 buckets: histogram spans specify different number of buckets than provided",
        );
        check(
            |h| h.positive_spans[1].offset = -1,
            "positive side: span number 2 with offset -1: histogram has a span whose offset is negative",
        );
        check(
            |h| h.custom_values = Arc::from([1.0]),
            "histogram with exponential schema must not have custom bounds",
        );
        check(
            |h| h.schema = -53,
            "custom buckets: span number 1 with offset -1: histogram has a span whose offset is negative",
        );
        check(
            |h| h.schema = 9,
            "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema 9",
        );
        check(
            |h| {
                *h = Histogram {
                    schema: -53,
                    count: 3,
                    positive_spans: spans(&[(0, 2)]),
                    positive_buckets: vec![1, 1],
                    custom_values: Arc::from([0.5]),
                    ..Histogram::default()
                };
            },
            "valid",
        );
    }
}
