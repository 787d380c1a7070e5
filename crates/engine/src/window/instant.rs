//! `irate` and `idelta`: from the last two samples of the window.

use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FloatHistogram};
use cupola_storage::{SampleValue, Samples};

use super::starts::Started;
use super::{About, Kernel, MixedWindow, Window};
use crate::column::Column;

/// `irate` (`per_second`, of counters) and `idelta` (of gauges).
pub(crate) struct InstantRate {
    pub(crate) is_rate: bool,
}

impl InstantRate {
    // `None` where both samples have the same time.
    fn seconds(before: i64, last: i64) -> Option<f64> {
        (last != before).then(|| (last - before) as f64 / 1000.0)
    }

    fn floats(&self, before: f64, last: f64, restarted: bool, seconds: f64) -> f64 {
        // After a reset a counter has counted from zero.
        let result = if self.is_rate && (restarted || last < before) {
            last
        } else {
            last - before
        };
        if self.is_rate { result / seconds } else { result }
    }

    fn value(&self, samples: &Samples, window: &Window) -> Option<f64> {
        let ([.., before, last], [.., before_t, last_t]) = (window.values(samples), window.times(samples)) else {
            return None;
        };
        let seconds = Self::seconds(*before_t, *last_t)?;
        Some(self.floats(*before, *last, false, seconds))
    }

    fn histograms(
        &self,
        before: &FloatHistogram,
        last: &FloatHistogram,
        restarted: bool,
        about: &mut About<'_, '_>,
    ) -> Option<FloatHistogram> {
        let gauges = [before, last].map(|h| h.counter_reset_hint == CounterResetHint::Gauge);
        if self.is_rate && gauges.contains(&true) {
            about.notes.histogram_not_counter(about.metric(), about.span);
        }
        if !self.is_rate && gauges.contains(&false) {
            about.notes.histogram_not_gauge(about.metric(), about.span);
        }
        let mut result = last.clone();
        if !self.is_rate || !(restarted || last.detect_reset(before)) {
            let Ok(told) = result.sub(before) else {
                about.notes.mixed_bucket_schemas(about.metric(), about.span);
                return None;
            };
            if told.bounds_reconciled {
                about.notes.reconciled_bounds("subtraction", about.span);
            }
        }
        result.counter_reset_hint = CounterResetHint::Gauge;
        result.compact(0);
        Some(result)
    }

    fn mixed(&self, samples: &Samples, window: &MixedWindow, about: &mut About<'_, '_>) -> Option<SampleValue> {
        let [before, last] = last_two(samples, window)?;
        let seconds = Self::seconds(before.0.t, last.0.t)?;
        let restarted = last.0.is_reset_after(before.0);
        match (before.1, last.1) {
            (SampleValue::Float(before), SampleValue::Float(last)) => {
                Some(SampleValue::Float(self.floats(before, last, restarted, seconds)))
            }
            (SampleValue::Histogram(before), SampleValue::Histogram(last)) => {
                let mut result = self.histograms(&before, &last, restarted, about)?;
                if self.is_rate {
                    result.div(seconds);
                }
                Some(SampleValue::Histogram(Arc::new(result)))
            }
            _ => {
                about.notes.mixed_floats_and_histograms(about.metric(), about.span);
                None
            }
        }
    }
}

// The newest two samples of either kind.
fn last_two(samples: &Samples, window: &MixedWindow) -> Option<[(Started, SampleValue); 2]> {
    let mut newest = Vec::with_capacity(4);
    let floats = window.floats;
    for at in floats.hi.saturating_sub(2).max(floats.lo)..floats.hi {
        let started = Started::at(&samples.ts, &samples.starts, at)?;
        newest.push((started, SampleValue::Float(*samples.values.get(at)?)));
    }
    let histograms = &samples.histograms;
    for at in window.hi.saturating_sub(2).max(window.lo)..window.hi {
        let started = Started::at(&histograms.ts, &histograms.starts, at)?;
        let value = Arc::clone(histograms.values.get(at)?);
        newest.push((started, SampleValue::Histogram(value)));
    }
    newest.sort_by_key(|(started, _)| started.t);
    let (last, before) = (newest.pop()?, newest.pop()?);
    Some([before, last])
}

impl Kernel for InstantRate {
    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]) {
        for window in windows {
            if let (Some(value), Some(slot)) = (self.value(samples, window), out.get_mut(window.step)) {
                *slot = value;
            }
        }
    }

    fn run_mixed(&mut self, samples: &Samples, windows: &[MixedWindow], out: &mut Column, about: &mut About<'_, '_>) {
        for window in windows {
            let value = self.mixed(samples, window, about);
            out.set(window.floats.step, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reach;
    use super::super::testing::{float, histogram, mixed, run, run_mixed, samples};
    use super::*;
    use crate::grid::Grid;

    const REACH: Reach = Reach {
        range: 10_000,
        before: 0,
        after: 0,
    };

    #[test]
    fn instant_rates_take_the_last_two() {
        let all = samples(&[(0, 1.0), (1000, 3.0), (3000, 1.0)]);
        let value = |is_rate: bool, at: i64| run(&mut InstantRate { is_rate }, &all, Grid::single(at), REACH)[0];
        assert_eq!((value(true, 3000), value(false, 3000)), (0.5, -2.0));
        assert_eq!(value(true, 1000), 2.0);
        assert!(cupola_model::is_stale_nan(value(true, 0)));
    }

    #[test]
    fn a_known_start_is_a_reset() {
        let mut all = samples(&[(1000, 1.0)]);
        all.push_started(3000, 5.0, 2000);
        let (column, _) = run_mixed(&mut InstantRate { is_rate: true }, &all, Grid::single(3000), REACH);
        assert_eq!(column.get(0), Some(2.5));
        let (column, _) = run_mixed(&mut InstantRate { is_rate: false }, &all, Grid::single(3000), REACH);
        assert_eq!(column.get(0), Some(4.0));
    }

    #[test]
    fn only_the_last_two_must_be_of_one_kind() {
        let all = mixed([
            (1000, float(1.0)),
            (2000, histogram(1.0)),
            (4000, histogram(5.0)),
            (5000, float(1.0)),
        ]);
        let mut kernel = InstantRate { is_rate: true };
        let (column, notes) = run_mixed(&mut kernel, &all, Grid::single(4000), REACH);
        assert_eq!(column.histogram(0).map(|h| h.count), Some(2.0));
        assert_eq!(notes, (vec![], vec![]));
        let (column, notes) = run_mixed(&mut kernel, &all, Grid::single(5000), REACH);
        assert!(column.is_empty());
        assert_eq!(
            notes.0,
            ["PromQL warning: encountered a mix of histograms and floats for metric name \"m\" (1:1)"]
        );
    }
}
