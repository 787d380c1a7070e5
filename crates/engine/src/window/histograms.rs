//! What range functions make of native histograms, as Prometheus 3.14 does.

use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FloatHistogram, HistogramMean, HistogramSum, Incompatible, Reconciled};
use cupola_storage::{HistogramSamples, SampleValue, Samples};

use super::starts::Started;
use super::{About, Kernel, MixedWindow, Window};
use crate::column::Column;

/// A kernel whose values for series with native histograms come from `mixed`.
pub(crate) struct WithHistograms<K, F> {
    pub(crate) floats: K,
    pub(crate) mixed: F,
}

impl<K: Kernel, F: FnMut(&Samples, &MixedWindow) -> Option<SampleValue>> Kernel for WithHistograms<K, F> {
    fn begin(&mut self, samples: &Samples) {
        self.floats.begin(samples);
    }

    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]) {
        self.floats.run(samples, windows, out);
    }

    fn run_mixed(&mut self, samples: &Samples, windows: &[MixedWindow], out: &mut Column, _: &mut About<'_, '_>) {
        for window in windows {
            let value = (self.mixed)(samples, window);
            out.set(window.floats.step, value);
        }
    }
}

/// The newest sample of a window, of either kind; the oldest where `first`.
pub(crate) fn outermost(samples: &Samples, window: &MixedWindow, first: bool) -> Option<SampleValue> {
    let end = |len: usize| if first { 0 } else { len.wrapping_sub(1) };
    let (floats, histograms) = (window.floats.times(samples), window.histogram_times(samples));
    let float_t = floats.get(end(floats.len()));
    let histogram_t = histograms.get(end(histograms.len()));
    let is_float = match (float_t, histogram_t) {
        (Some(float), Some(histogram)) => (float < histogram) == first,
        (float, _) => float.is_some(),
    };
    if is_float {
        let value = window.floats.values(samples).get(end(floats.len()))?;
        return Some(SampleValue::Float(*value));
    }
    let value = window.histograms(samples).get(end(histograms.len()))?;
    Some(SampleValue::Histogram(Arc::clone(value)))
}

/// Floats by `kernel`, histograms by `combine`; a window with both has no value, which is told.
pub(crate) fn unmixed<K: Kernel + ?Sized>(
    kernel: &mut K,
    samples: &Samples,
    windows: &[MixedWindow],
    out: &mut Column,
    about: &mut About<'_, '_>,
    mut combine: impl FnMut(&[Arc<FloatHistogram>], &MixedWindow, &mut About<'_, '_>) -> Option<FloatHistogram>,
) {
    let mut floats = Vec::new();
    for window in windows {
        match (window.floats.len(), window.histograms(samples)) {
            (_, []) => floats.push(window.floats),
            (0, histograms) => {
                let value = combine(histograms, window, about);
                let value = value.map(|histogram| SampleValue::Histogram(Arc::new(histogram)));
                out.set(window.floats.step, value);
            }
            _ => about.notes.mixed_floats_and_histograms(about.metric(), about.span),
        }
    }
    kernel.run(samples, &floats, out.values_mut());
}

// Tells what combining the histograms of a window met; of layouts that cannot be combined nothing but that.
fn tell(told: Result<Reconciled, Incompatible>, operation: &str, about: &mut About<'_, '_>) -> Option<()> {
    let Ok(told) = told else {
        about.notes.mixed_bucket_schemas(about.metric(), about.span);
        return None;
    };
    if told.counter_reset_collision {
        about.notes.conflicting_resets(operation, about.span);
    }
    if told.bounds_reconciled {
        about.notes.reconciled_bounds(operation, about.span);
    }
    Some(())
}

// The first histogram, and what adding the others to it met.
fn fold<A>(
    histograms: &[Arc<FloatHistogram>],
    new: fn(&FloatHistogram) -> A,
    add: fn(&mut A, &FloatHistogram) -> Result<Reconciled, Incompatible>,
    about: &mut About<'_, '_>,
) -> Option<A> {
    let (first, rest) = histograms.split_first()?;
    let mut sum = new(first);
    let mut told = Ok(Reconciled::default());
    for histogram in rest {
        told = told.and_then(|told| Ok(told.or(add(&mut sum, histogram)?)));
    }
    tell(told, "aggregation", about)?;
    Some(sum)
}

/// `sum_over_time` of histograms; `None`, with a warning, where they cannot be added.
pub(crate) fn sum_of(histograms: &[Arc<FloatHistogram>], about: &mut About<'_, '_>) -> Option<FloatHistogram> {
    Some(fold(histograms, HistogramSum::new, HistogramSum::add, about)?.value())
}

/// `avg_over_time` of histograms; `None`, with a warning, where they cannot be added.
pub(crate) fn mean_of(histograms: &[Arc<FloatHistogram>], about: &mut About<'_, '_>) -> Option<FloatHistogram> {
    Some(fold(histograms, HistogramMean::new, HistogramMean::add, about)?.value())
}

/// What is known of a series' histograms before its windows are looked at.
#[derive(Default)]
pub(crate) struct Neighbours {
    // Positions of histograms before which their counter was reset, ascending.
    resets: Vec<usize>,
    // Positions of those whose start overlaps the sample in front of them, ascending.
    overlaps: Vec<usize>,
    // Whether all are of counters and have the same schema.
    uniform: bool,
}

fn is_gauge(histogram: &FloatHistogram) -> bool {
    histogram.counter_reset_hint == CounterResetHint::Gauge
}

impl Neighbours {
    /// Looks at a new series.
    pub(crate) fn begin(&mut self, histograms: &HistogramSamples, is_counter: bool) {
        self.resets.clear();
        self.overlaps.clear();
        let all = &histograms.values;
        self.uniform = all.iter().all(|histogram| !is_gauge(histogram))
            && all.windows(2).all(|pair| pair[0].schema == pair[1].schema);
        for (at, pair) in all.windows(2).enumerate().filter(|_| is_counter) {
            let started = |at| Started::at(&histograms.ts, &histograms.starts, at);
            let starts = started(at).zip(started(at + 1));
            // Starts first: they are cheaper to look at.
            if starts.is_some_and(|(before, after)| after.is_reset_after(before)) || pair[1].detect_reset(&pair[0]) {
                self.resets.push(at + 1);
            }
            if starts.is_some_and(|(before, after)| after.overlaps(before)) {
                self.overlaps.push(at + 1);
            }
        }
    }

    /// Whether a start within the window overlaps the sample in front of it.
    pub(crate) fn overlap_in(&self, window: &MixedWindow) -> bool {
        any_between(&self.overlaps, window.lo, window.hi)
    }

    fn resets_in(&self, window: &MixedWindow) -> &[usize] {
        let from = self.resets.partition_point(|at| *at <= window.lo);
        let to = self.resets.partition_point(|at| *at < window.hi);
        self.resets.get(from..to).unwrap_or_default()
    }

    /// The difference of a window's last and first histogram as a gauge, resets made good where it is a counter.
    ///
    /// `None`, with a warning where it needs one, if there is one histogram only or they cannot be subtracted from each
    /// other.
    pub(crate) fn difference(
        &self,
        samples: &Samples,
        window: &MixedWindow,
        is_counter: bool,
        about: &mut About<'_, '_>,
    ) -> Option<FloatHistogram> {
        let histograms = window.histograms(samples);
        let (first, last) = (histograms.first()?, histograms.last()?);
        let second = histograms.get(1)?;
        let mut resets = self.resets_in(window);
        // What lies before a reset right at the beginning does not matter, nor does its layout.
        let nothing;
        let mut before: &FloatHistogram = first;
        if let Some((_, rest)) = resets.split_first().filter(|(at, _)| **at == window.lo + 1) {
            nothing = FloatHistogram {
                schema: second.schema,
                custom_values: Arc::clone(&second.custom_values),
                ..FloatHistogram::default()
            };
            before = &nothing;
            resets = rest;
        }
        let custom = before.uses_custom_buckets();
        if last.uses_custom_buckets() != custom {
            if is_counter && (is_gauge(first) || is_gauge(last)) {
                about.notes.histogram_not_counter(about.metric(), about.span);
            }
            about.notes.mixed_bucket_schemas(about.metric(), about.span);
            return None;
        }
        let between = histograms.get(1..histograms.len() - 1);
        let between = between.filter(|_| is_counter && !self.uniform).unwrap_or_default();
        if between
            .iter()
            .any(|histogram| histogram.uses_custom_buckets() != custom)
        {
            about.notes.mixed_bucket_schemas(about.metric(), about.span);
            return None;
        }
        let schemas = between.iter().map(|histogram| histogram.schema);
        let schema = schemas.fold(before.schema.min(last.schema), i32::min);
        let mut result = last.copy_to_schema(schema);
        let mut combined = result.sub(before);
        let subtracted = combined.unwrap_or_default();
        let mut added = Reconciled::default();
        for at in resets {
            combined = combined.and_then(|_| result.add(samples.histograms.values.get(at - 1).unwrap_or(last)));
            added = added.or(combined.unwrap_or_default());
        }
        if combined.is_err() {
            about.notes.mixed_bucket_schemas(about.metric(), about.span);
            return None;
        }
        if is_counter && !self.uniform && histograms.iter().any(|histogram| is_gauge(histogram)) {
            about.notes.histogram_not_counter(about.metric(), about.span);
        }
        if !is_counter && (!is_gauge(first) || !is_gauge(last)) {
            about.notes.histogram_not_gauge(about.metric(), about.span);
        }
        for (told, operation) in [(subtracted, "subtraction"), (added, "addition")] {
            if told.bounds_reconciled {
                about.notes.reconciled_bounds(operation, about.span);
            }
        }
        result.counter_reset_hint = CounterResetHint::Gauge;
        result.compact(0);
        Some(result)
    }
}

/// Whether one of the ascending positions lies after `lo` and before `hi`.
pub(crate) fn any_between(positions: &[usize], lo: usize, hi: usize) -> bool {
    let next = positions.partition_point(|at| *at <= lo);
    positions.get(next).is_some_and(|at| *at < hi)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{about, histogram_of};
    use super::*;

    fn counts(counts: &[f64]) -> Vec<Arc<FloatHistogram>> {
        counts.iter().copied().map(histogram_of).collect()
    }

    // Every ten milliseconds one, with its start.
    fn difference(
        all: &[Arc<FloatHistogram>],
        starts: &[i64],
        is_counter: bool,
    ) -> (Option<FloatHistogram>, super::super::testing::Notes) {
        let mut samples = Samples::default();
        for (at, histogram) in all.iter().enumerate() {
            let start = starts.get(at).copied().unwrap_or(0);
            samples
                .histograms
                .push(10 * (at as i64 + 1), Arc::clone(histogram), start);
        }
        let window = MixedWindow {
            floats: Window {
                lo: 0,
                hi: 0,
                start: 0,
                end: 100,
                step: 0,
            },
            lo: 0,
            hi: all.len(),
            weight: 0,
        };
        let mut known = Neighbours::default();
        known.begin(&samples.histograms, is_counter);
        about(|about| known.difference(&samples, &window, is_counter, about))
    }

    fn custom(bounds: &[f64]) -> Arc<FloatHistogram> {
        Arc::new(FloatHistogram {
            schema: cupola_histogram::CUSTOM_BUCKETS_SCHEMA,
            custom_values: bounds.into(),
            ..(*histogram_of(1.0)).clone()
        })
    }

    fn hinted(count: f64, hint: CounterResetHint) -> Arc<FloatHistogram> {
        let mut histogram = histogram_of(count);
        Arc::make_mut(&mut histogram).counter_reset_hint = hint;
        histogram
    }

    #[test]
    fn resets_are_made_good() {
        for (all, difference_of_counts) in [
            (&[1.0, 5.0, 9.0][..], 8.0),
            (&[1.0, 5.0, 2.0, 4.0], 8.0),
            // The first one is not needed after a reset.
            (&[9.0, 2.0, 4.0], 4.0),
        ] {
            let (got, notes) = difference(&counts(all), &[], true);
            let got = got.unwrap();
            assert_eq!(
                (got.count, got.positive_buckets),
                (difference_of_counts, vec![difference_of_counts])
            );
            assert_eq!(notes, (vec![], vec![]));
        }
        let (got, _) = difference(&counts(&[1.0]), &[], true);
        assert!(got.is_none());
    }

    #[test]
    fn starts_are_resets_too() {
        let starts = [5, 5, 25];
        let (got, _) = difference(&counts(&[1.0, 2.0, 3.0]), &starts, true);
        assert_eq!(got.unwrap().count, 4.0);
        let (got, _) = difference(&counts(&[1.0, 2.0, 3.0]), &starts, false);
        assert_eq!(got.unwrap().count, 2.0);
    }

    #[test]
    fn layouts_that_cannot_be_subtracted_are_told_alone() {
        let gauge = hinted(1.0, CounterResetHint::Gauge);
        let mixed = "PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for \
                     metric name \"m\" (1:1)";
        let no_counter = "PromQL warning: this native histogram metric is not a counter: \"m\" (1:1)";
        // In the middle of the window the hint of the first one is not told, at its end it is.
        let all = [gauge.clone(), histogram_of(2.0), custom(&[1.0]), histogram_of(3.0)];
        let (got, notes) = difference(&all, &[], true);
        assert!(got.is_none());
        assert_eq!(notes.0, [mixed]);
        let (got, notes) = difference(&[gauge, histogram_of(2.0), custom(&[1.0])], &[], true);
        assert!(got.is_none());
        assert_eq!(notes.0, [no_counter, mixed]);
    }

    #[test]
    fn sums_and_means_tell_of_hints_and_bounds() {
        use CounterResetHint::{CounterReset, NotCounterReset};
        let all = [
            hinted(1.0, CounterReset),
            hinted(2.0, NotCounterReset),
            histogram_of(3.0),
        ];
        let conflict = "PromQL warning: conflicting counter resets during histogram aggregation (1:1)";
        let (sum, notes) = about(|about| sum_of(&all, about));
        assert_eq!((sum.unwrap().count, notes.0), (6.0, vec![conflict.to_owned()]));
        let (mean, notes) = about(|about| mean_of(&all, about));
        assert_eq!((mean.unwrap().count, notes.0), (2.0, vec![conflict.to_owned()]));

        let (sum, notes) = about(|about| sum_of(&[custom(&[1.0, 2.0]), custom(&[1.0, 3.0])], about));
        assert_eq!(&*sum.unwrap().custom_values, [1.0]);
        let reconciled = "PromQL info: mismatched custom buckets were reconciled during aggregation (1:1)";
        assert_eq!(notes, (vec![], vec![reconciled.to_owned()]));

        // What cannot be added is told alone.
        let all = [hinted(1.0, CounterReset), hinted(2.0, NotCounterReset), custom(&[1.0])];
        let (sum, notes) = about(|about| sum_of(&all, about));
        assert!(sum.is_none());
        assert_eq!(notes.0.len(), 1);
        assert!(notes.0[0].contains("a mix of histograms with exponential and custom"));
    }
}
