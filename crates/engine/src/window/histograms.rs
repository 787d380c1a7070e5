//! What range functions make of native histograms, as Prometheus 3.14 does.

use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FloatHistogram};
use cupola_storage::{SampleValue, Samples};

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

/// The difference of a window's last and first histogram as a gauge, resets made good where it is a counter.
///
/// `None`, with a warning where it needs one, if the histograms cannot be subtracted from each other.
pub(crate) fn difference(
    histograms: &[Arc<FloatHistogram>],
    is_counter: bool,
    about: &mut About<'_, '_>,
) -> Option<FloatHistogram> {
    let (first, last) = (histograms.first()?, histograms.last()?);
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == CounterResetHint::Gauge;
    if is_counter {
        if histograms.iter().any(|histogram| is_gauge(histogram)) {
            about.notes.histogram_not_counter(about.metric(), about.span);
        }
    } else if !is_gauge(first) || !is_gauge(last) {
        about.notes.histogram_not_gauge(about.metric(), about.span);
    }
    // What lies before a reset right at the beginning does not matter, nor does its layout.
    let second = histograms.get(1)?;
    let nothing;
    let mut before: &FloatHistogram = if is_counter && second.detect_reset(first) {
        nothing = FloatHistogram {
            schema: second.schema,
            custom_values: Arc::clone(&second.custom_values),
            ..FloatHistogram::default()
        };
        &nothing
    } else {
        first
    };
    let custom = before.uses_custom_buckets();
    let relevant = histograms
        .iter()
        .skip(1)
        .filter(|histogram| is_counter || Arc::ptr_eq(histogram, last));
    if relevant
        .clone()
        .any(|histogram| histogram.uses_custom_buckets() != custom)
    {
        about.notes.mixed_bucket_schemas(about.metric(), about.span);
        return None;
    }
    let schema = relevant.map(|histogram| histogram.schema).fold(before.schema, i32::min);
    let mut result = last.copy_to_schema(schema);
    let mut reconciled = result.sub(before).ok()?.bounds_reconciled;
    if is_counter {
        for histogram in histograms.iter().skip(1) {
            if histogram.detect_reset(before) {
                reconciled |= result.add(before).ok()?.bounds_reconciled;
            }
            before = histogram;
        }
    }
    if reconciled {
        about.notes.bounds_reconciled(about.span);
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    result.compact(0);
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotations::Annotations;
    use cupola_histogram::Span;

    fn histogram(count: f64) -> Arc<FloatHistogram> {
        Arc::new(FloatHistogram {
            count,
            sum: count,
            positive_spans: vec![Span { offset: 0, length: 1 }],
            positive_buckets: vec![count],
            ..FloatHistogram::default()
        })
    }

    #[test]
    fn resets_are_made_good() {
        let mut notes = Annotations::new("x");
        let labels = cupola_model::Labels::empty();
        let mut about = About {
            notes: &mut notes,
            labels: &labels,
            span: cupola_promql::Span::default(),
        };
        for (counts, difference_of_counts) in [
            (&[1.0, 5.0, 9.0][..], 8.0),
            (&[1.0, 5.0, 2.0, 4.0], 8.0),
            // The first one is not needed after a reset.
            (&[9.0, 2.0, 4.0], 4.0),
        ] {
            let all: Vec<_> = counts.iter().copied().map(histogram).collect();
            let got = difference(&all, true, &mut about).unwrap();
            assert_eq!(
                (got.count, got.positive_buckets),
                (difference_of_counts, vec![difference_of_counts])
            );
        }
        assert!(difference(&[histogram(1.0)], true, &mut about).is_none());
        assert_eq!(notes.into_texts().0, [""; 0]);
    }
}
