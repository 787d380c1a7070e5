//! The value.

use std::sync::Arc;

/// The schema of histograms whose bucket bounds are listed (`custom_values`): converted classic histograms.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// What is known of a counter reset between a histogram and the one before it in its series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CounterResetHint {
    /// Nothing; it has to be found by looking at the buckets.
    #[default]
    Unknown,
    /// The counter was reset.
    CounterReset,
    /// It was not.
    NotCounterReset,
    /// The histogram is a gauge, resets mean nothing.
    Gauge,
}

/// A run of buckets that follow each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// How many buckets lie between the end of the previous span and this one; of the first span the index of its
    /// first bucket.
    pub offset: i32,
    /// How many buckets.
    pub length: u32,
}

/// A native histogram whose populations are floats: what queries compute with.
///
/// With an exponential schema (-4 to 8), the positive bucket of index `i` covers
/// `(2^((i-1) * 2^-schema), 2^(i * 2^-schema)]`, the negative one its mirror image. With
/// [`CUSTOM_BUCKETS_SCHEMA`], bucket `i` ends at `custom_values[i]`, the last one at infinity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FloatHistogram {
    /// What is known of a reset before it.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution: -4 to 8, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Half the width of the zero bucket: it covers `[-zero_threshold, zero_threshold]`.
    pub zero_threshold: f64,
    /// Population of the zero bucket.
    pub zero_count: f64,
    /// How many observations there are. The staleness marker in `sum` makes the whole histogram one.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// Where the positive buckets lie.
    pub positive_spans: Vec<Span>,
    /// Where the negative buckets lie.
    pub negative_spans: Vec<Span>,
    /// Populations of the positive buckets, not cumulative.
    pub positive_buckets: Vec<f64>,
    /// Populations of the negative buckets.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of custom buckets, ascending, without infinity; shared by a series' histograms.
    pub custom_values: Arc<[f64]>,
}

impl FloatHistogram {
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

    /// Bytes it takes in Prometheus's memory (upstream `Size`). Query limits count a histogram as a sixteenth of that in
    /// samples.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        const STRUCT: usize = 168;
        let eights = self.positive_spans.len()
            + self.negative_spans.len()
            + self.positive_buckets.len()
            + self.negative_buckets.len()
            + self.custom_values.len();
        STRUCT + 8 * eights
    }
}
