//! Classic histograms as native ones with custom buckets.

use crate::float::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram};
use crate::layout::SpanBuilder;

impl FloatHistogram {
    /// Converts the series of a classic histogram at one time (upstream `convertnhcb`).
    ///
    /// `bounds` are the `le` values and `cumulative` the populations up to each, in any order; of the bounds NaN and -Inf
    /// are left out, +Inf is the last bucket. Without `count` the population of the highest bucket counts, without the
    /// bucket at +Inf its population is `count`; without `sum` it is 0. The result is compact.
    #[must_use]
    pub fn from_classic(bounds: &[f64], cumulative: &[f64], count: Option<f64>, sum: Option<f64>) -> Self {
        let mut buckets: Vec<(f64, f64)> = bounds
            .iter()
            .copied()
            .zip(cumulative.iter().copied())
            .filter(|&(bound, _)| bound > f64::NEG_INFINITY)
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        // 0 and -0 are one bound.
        buckets.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = later.1;
            }
            same
        });
        let highest = buckets.last().copied();
        let count = count.or(highest.map(|(_, count)| count)).unwrap_or(0.0);
        if highest.is_none_or(|(bound, _)| bound != f64::INFINITY) {
            buckets.push((f64::INFINITY, count));
        }
        let mut spans = SpanBuilder::default();
        let mut populations = Vec::new();
        let mut below = 0.0;
        for (index, &(_, up_to)) in (0_i64..).zip(&buckets) {
            if up_to - below != 0.0 {
                spans.push(index);
                populations.push(up_to - below);
            }
            below = up_to;
        }
        Self {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: sum.unwrap_or(0.0),
            positive_spans: spans.finish(),
            positive_buckets: populations,
            custom_values: buckets
                .iter()
                .map(|&(bound, _)| bound)
                .filter(|bound| bound.is_finite())
                .collect(),
            ..Self::default()
        }
    }
}
