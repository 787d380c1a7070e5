//! What histograms know of counter resets, where that has to be found or forgotten.

use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FloatHistogram};
use cupola_storage::Samples;

/// Finds for every histogram but the first whether its counter was reset since the one before, where its hint does not
/// say so already.
///
/// Queries that want counts and sums only (`histogram_count`, `histogram_sum`, `histogram_avg`) read their histograms so
/// (upstream's `HistogramStatsIterator`); it shows in warnings about hints that contradict each other.
pub(crate) fn detect_hints(samples: &mut Samples) {
    let mut before: Option<Arc<FloatHistogram>> = None;
    for histogram in &mut samples.histograms.values {
        if histogram.is_stale() {
            continue;
        }
        let current = Arc::clone(histogram);
        if let (CounterResetHint::Unknown, Some(before)) = (histogram.counter_reset_hint, &before) {
            let hint = if histogram.detect_reset(before) {
                CounterResetHint::CounterReset
            } else {
                CounterResetHint::NotCounterReset
            };
            Arc::make_mut(histogram).counter_reset_hint = hint;
        }
        before = Some(current);
    }
}

/// Forgets what a histogram says of the one before it: in the points of a subquery that is not the one before.
pub(crate) fn forget_hint(histogram: &mut Arc<FloatHistogram>) {
    let hint = histogram.counter_reset_hint;
    if matches!(hint, CounterResetHint::CounterReset | CounterResetHint::NotCounterReset) {
        Arc::make_mut(histogram).counter_reset_hint = CounterResetHint::Unknown;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{histogram_of, mixed};
    use super::*;
    use cupola_storage::SampleValue;

    #[test]
    fn hints_are_found_but_never_replaced() {
        use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
        let all = [
            (1.0, Unknown),
            (2.0, Unknown),
            (1.0, Unknown),
            (5.0, CounterReset),
            (4.0, Gauge),
        ];
        let numbered = all.iter().enumerate();
        let mut samples = mixed(numbered.map(|(i, (count, hint))| {
            let mut histogram = histogram_of(*count);
            Arc::make_mut(&mut histogram).counter_reset_hint = *hint;
            (i as i64, SampleValue::Histogram(histogram))
        }));
        detect_hints(&mut samples);
        let hints = samples.histograms.values.iter().map(|h| h.counter_reset_hint);
        assert_eq!(
            hints.collect::<Vec<_>>(),
            [Unknown, NotCounterReset, CounterReset, CounterReset, Gauge]
        );
        samples.histograms.values.iter_mut().for_each(forget_hint);
        let hints = samples.histograms.values.iter().map(|h| h.counter_reset_hint);
        assert_eq!(hints.collect::<Vec<_>>(), [Unknown, Unknown, Unknown, Unknown, Gauge]);
    }
}
