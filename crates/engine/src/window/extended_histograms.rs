//! `anchored` and `smoothed` over native histograms.

use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FloatHistogram};
use cupola_storage::{SampleValue, Samples};

use super::extended::{Anchor, ExtendedKind, ExtendedRate, between};
use super::rate::RateKind;
use super::{About, MixedWindow};
use crate::column::Column;
use crate::grid::Grid;

// A histogram and its time.
#[derive(Clone, Copy)]
struct Point<'h> {
    t: i64,
    histogram: &'h Arc<FloatHistogram>,
}

// Tells that exponential and custom buckets do not go together.
fn incompatible<T>(about: &mut About<'_, '_>) -> Option<T> {
    about.notes.mixed_bucket_schemas(about.metric(), about.span);
    None
}

fn add(sum: &mut FloatHistogram, other: &FloatHistogram, about: &mut About<'_, '_>) -> Option<()> {
    match sum.add(other) {
        Ok(told) if told.bounds_reconciled => about.notes.reconciled_bounds("addition", about.span),
        Ok(_) => {}
        Err(_) => return incompatible(about),
    }
    Some(())
}

fn subtract(difference: &mut FloatHistogram, other: &FloatHistogram, about: &mut About<'_, '_>) -> Option<()> {
    match difference.sub(other) {
        Ok(told) if told.bounds_reconciled => about.notes.reconciled_bounds("subtraction", about.span),
        Ok(_) => {}
        Err(_) => return incompatible(about),
    }
    Some(())
}

// The histogram at `t` between two others: on the line between them, of a counter that was reset on the one from zero.
fn interpolate(
    a: Point<'_>,
    b: Point<'_>,
    t: i64,
    is_counter: bool,
    about: &mut About<'_, '_>,
) -> Option<FloatHistogram> {
    if t == a.t {
        return Some((**a.histogram).clone());
    }
    let mut result = (**b.histogram).clone();
    if t == b.t {
        return Some(result);
    }
    let fraction = (t - a.t) as f64 / (b.t - a.t) as f64;
    if is_counter && b.histogram.detect_reset(a.histogram) {
        result.mul(fraction);
        return Some(result);
    }
    subtract(&mut result, a.histogram, about)?;
    result.mul(fraction);
    add(&mut result, a.histogram, about)?;
    Some(result)
}

impl ExtendedRate {
    /// As for floats: the difference of the histograms at the edges, resets in between made good.
    pub(crate) fn histogram(
        &self,
        samples: &Samples,
        window: &MixedWindow,
        about: &mut About<'_, '_>,
    ) -> Option<FloatHistogram> {
        let (histograms, times) = (window.histograms(samples), window.histogram_times(samples));
        let (start, end) = (window.floats.start, window.floats.end);
        let is_counter = self.rate.is_counter();
        let smoothed = self.extended == ExtendedKind::Smoothed;
        let point = |at: usize| {
            Some(Point {
                t: *times.get(at)?,
                histogram: histograms.get(at)?,
            })
        };
        let newest = histograms.len().checked_sub(1)?;
        let older = times.get(..newest)?;
        let first = older.partition_point(|t| *t <= start).saturating_sub(1);
        let last = if smoothed {
            older.partition_point(|t| *t < end)
        } else {
            newest
        };
        let (first_point, last_point) = (point(first)?, point(last)?);
        if last_point.t <= start || smoothed && first_point.t > end {
            return None;
        }
        check(histograms.get(first..=last)?, is_counter, about)?;

        let left = match point(first + 1) {
            Some(next) if smoothed && first_point.t < start => {
                interpolate(first_point, next, start, is_counter, about)?
            }
            _ => (**first_point.histogram).clone(),
        };
        let right = match last.checked_sub(1).and_then(point) {
            Some(before) if smoothed && last_point.t > end => interpolate(before, last_point, end, is_counter, about)?,
            _ => (**last_point.histogram).clone(),
        };
        let gauge = CounterResetHint::Gauge;
        if !is_counter && (left.counter_reset_hint != gauge || right.counter_reset_hint != gauge) {
            about.notes.histogram_not_gauge(about.metric(), about.span);
        }
        let mut result = right.clone();
        subtract(&mut result, &left, about)?;
        if is_counter {
            // A reset that the left edge was found across is in it already; what follows is compared with what was
            // after the reset. The last sample is in the right edge, with its hint.
            let across = smoothed
                && first_point.t < start
                && point(first + 1).is_some_and(|next| next.histogram.detect_reset(first_point.histogram));
            let from = first + 1 + usize::from(across);
            let mut before: &FloatHistogram = if across { histograms.get(first + 1)? } else { &left };
            if from <= last {
                let inner = histograms.get(from..last)?.iter().map(|histogram| &**histogram);
                let mut correction: Option<FloatHistogram> = None;
                for histogram in inner.chain([&right]) {
                    if histogram.detect_reset(before) {
                        match &mut correction {
                            Some(sum) => add(sum, before, about)?,
                            None => correction = Some(before.clone()),
                        }
                    }
                    before = histogram;
                }
                if let Some(correction) = correction {
                    add(&mut result, &correction, about)?;
                }
            }
        }
        if self.rate == RateKind::Rate {
            result.div(self.range_seconds);
        }
        result.counter_reset_hint = gauge;
        result.compact(0);
        Some(result)
    }
}

// Whether a difference can be made of these, and whether it should.
fn check(histograms: &[Arc<FloatHistogram>], is_counter: bool, about: &mut About<'_, '_>) -> Option<()> {
    let custom = histograms.first()?.uses_custom_buckets();
    for histogram in histograms {
        if histogram.uses_custom_buckets() != custom {
            return incompatible(about);
        }
        if is_counter && histogram.counter_reset_hint == CounterResetHint::Gauge {
            about.notes.histogram_not_counter(about.metric(), about.span);
        }
    }
    Some(())
}

/// The values of a smoothed instant selector for a series that has native histograms. Where the samples within the
/// lookback before and after a step are of both kinds, there is none, which is told.
pub(crate) fn fill_smoothed_mixed(
    samples: &Samples,
    look: Grid,
    lookback: i64,
    out: &mut Column,
    about: &mut About<'_, '_>,
) {
    let histograms = &samples.histograms;
    for (step, t) in look.times().enumerate() {
        let (from, to) = (t.saturating_sub(lookback), t.saturating_add(lookback));
        let within = |ts: &[i64]| ts.partition_point(|ts| *ts <= from)..ts.partition_point(|ts| *ts <= to);
        let (floats, points) = (within(&samples.ts), within(&histograms.ts));
        let value = match (floats.is_empty(), points.is_empty()) {
            (false, false) => {
                about.notes.mixed_floats_and_histograms(about.metric(), about.span);
                None
            }
            (false, true) => {
                let sample = |at: usize| {
                    Some(Anchor {
                        t: *samples.ts.get(at)?,
                        value: *samples.values.get(at)?,
                    })
                };
                smoothed_pair(floats, t, &samples.ts, sample, |a, b| Some(between(a, b, t, false)))
                    .map(|value| SampleValue::Float(value.unwrap_or_else(|a| a.value)))
            }
            (true, false) => {
                let point = |at: usize| {
                    Some(Point {
                        t: *histograms.ts.get(at)?,
                        histogram: histograms.values.get(at)?,
                    })
                };
                let value = smoothed_pair(points, t, &histograms.ts, point, |a, b| {
                    smoothed_histogram(a, b, t, about)
                });
                value.map(|value| match value {
                    Ok(histogram) => SampleValue::Histogram(Arc::new(histogram)),
                    Err(newest) => SampleValue::Histogram(carried(newest, t)),
                })
            }
            (true, true) => None,
        };
        out.set(step, value);
    }
}

fn smoothed_histogram(a: Point<'_>, b: Point<'_>, t: i64, about: &mut About<'_, '_>) -> Option<FloatHistogram> {
    if a.histogram.uses_custom_buckets() != b.histogram.uses_custom_buckets() {
        return incompatible(about);
    }
    let gauge = |point: Point<'_>| point.histogram.counter_reset_hint == CounterResetHint::Gauge;
    interpolate(a, b, t, !(gauge(a) && gauge(b)), about)
}

// The last histogram, where there is none after it: its hint is about the one before it, not about the step.
fn carried(newest: Point<'_>, t: i64) -> Arc<FloatHistogram> {
    let mut histogram = Arc::clone(newest.histogram);
    if newest.t != t && histogram.counter_reset_hint != CounterResetHint::Unknown {
        Arc::make_mut(&mut histogram).counter_reset_hint = CounterResetHint::Unknown;
    }
    histogram
}

// What lies at `t` among the samples at `within`: what `line` gives for the two around it, or, as an error, the one at
// `t` or the last before it.
fn smoothed_pair<P: Copy, V>(
    within: std::ops::Range<usize>,
    t: i64,
    ts: &[i64],
    sample: impl Fn(usize) -> Option<P>,
    line: impl FnOnce(P, P) -> Option<V>,
) -> Option<Result<V, P>> {
    let next = within.start + ts.get(within.clone())?.partition_point(|ts| *ts <= t);
    let newest = next.checked_sub(1).filter(|newest| *newest >= within.start)?;
    let before = sample(newest)?;
    if ts.get(newest) == Some(&t) || next >= within.end {
        return Some(Err(before));
    }
    line(before, sample(next)?).map(Ok)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Notes, about, histogram_of, mixed, run_mixed};
    use super::super::{ExtendedKind, Reach};
    use super::*;

    fn gauge(count: f64) -> SampleValue {
        let mut histogram = histogram_of(count);
        Arc::make_mut(&mut histogram).counter_reset_hint = CounterResetHint::Gauge;
        SampleValue::Histogram(histogram)
    }

    fn custom(bounds: &[f64], count: f64) -> SampleValue {
        SampleValue::Histogram(Arc::new(FloatHistogram {
            schema: cupola_histogram::CUSTOM_BUCKETS_SCHEMA,
            custom_values: bounds.into(),
            ..(*histogram_of(count)).clone()
        }))
    }

    fn of(rate: RateKind, extended: ExtendedKind, samples: &Samples, at: i64) -> (Option<f64>, Notes) {
        let reach = Reach {
            range: 20_000,
            before: 60_000,
            after: if extended == ExtendedKind::Smoothed { 60_000 } else { 0 },
        };
        let mut kernel = ExtendedRate {
            extended,
            rate,
            range_seconds: 20.0,
        };
        let (column, notes) = run_mixed(&mut kernel, samples, Grid::single(at), reach);
        (column.histogram(0).map(|histogram| histogram.count), notes)
    }

    #[test]
    fn increases_are_those_of_the_same_floats() {
        // As counts they rise by 1 every 15 s, with a reset to 9 at 75 s.
        let counts: Vec<f64> = (0..5)
            .map(|i| 11.0 + f64::from(i))
            .chain((5..10).map(|i| 4.0 + f64::from(i)))
            .collect();
        let times = (0..).map(|i| i * 15_000);
        let all = mixed(
            times
                .clone()
                .zip(counts.iter().map(|c| SampleValue::Histogram(histogram_of(*c)))),
        );
        let floats = mixed(times.zip(counts.iter().map(|c| SampleValue::Float(*c))));
        for at in (-10..200).map(|second| second * 1000) {
            for extended in [ExtendedKind::Anchored, ExtendedKind::Smoothed] {
                for rate in [RateKind::Rate, RateKind::Increase] {
                    let (got, notes) = of(rate, extended, &all, at);
                    let reach = Reach {
                        range: 20_000,
                        before: 60_000,
                        after: if extended == ExtendedKind::Smoothed { 60_000 } else { 0 },
                    };
                    let mut kernel = ExtendedRate {
                        extended,
                        rate,
                        range_seconds: 20.0,
                    };
                    let expected = run_mixed(&mut kernel, &floats, Grid::single(at), reach).0.get(0);
                    let near = match (got, expected) {
                        (Some(got), Some(expected)) => (got - expected).abs() < 1e-9,
                        (got, expected) => got == expected,
                    };
                    assert!(near, "{extended:?} {rate:?} at {at}: {got:?} instead of {expected:?}");
                    assert_eq!(notes, (vec![], vec![]));
                }
            }
        }
    }

    #[test]
    fn layouts_are_checked_within_the_window_only() {
        let all = mixed([
            (10_000, SampleValue::Histogram(histogram_of(1.0))),
            (20_000, SampleValue::Histogram(histogram_of(2.0))),
            (30_000, SampleValue::Histogram(histogram_of(3.0))),
            (50_000, custom(&[1.0], 9.0)),
        ]);
        let (got, notes) = of(RateKind::Increase, ExtendedKind::Smoothed, &all, 30_000);
        assert_eq!((got, notes), (Some(2.0), (vec![], vec![])));
        let (got, notes) = of(RateKind::Increase, ExtendedKind::Smoothed, &all, 35_000);
        assert_eq!(got, None);
        assert!(notes.0[0].contains("a mix of histograms with exponential and custom buckets"));
    }

    #[test]
    fn gauges_are_told_from_counters_at_the_edges() {
        let all = mixed([(10_000, gauge(5.0)), (20_000, gauge(3.0)), (30_000, gauge(1.0))]);
        let (got, notes) = of(RateKind::Delta, ExtendedKind::Anchored, &all, 30_000);
        assert_eq!((got, notes), (Some(-4.0), (vec![], vec![])));
        let (_, notes) = of(RateKind::Rate, ExtendedKind::Anchored, &all, 30_000);
        assert_eq!(
            notes.0,
            ["PromQL warning: this native histogram metric is not a counter: \"m\" (1:1)"]
        );
    }

    #[test]
    fn smoothed_selectors_look_no_further_than_the_lookback() {
        let all = mixed([
            (10, SampleValue::Histogram(histogram_of(1.0))),
            (20, SampleValue::Histogram(histogram_of(3.0))),
            (60, custom(&[1.0, 2.0], 1.0)),
            (70, custom(&[1.0, 3.0], 3.0)),
            (100, SampleValue::Float(1.0)),
            (110, SampleValue::Float(2.0)),
        ]);
        let fill = |at: i64| {
            let (column, notes) = about(|about| {
                let mut column = Column::absent(1);
                fill_smoothed_mixed(&all, Grid::single(at), 20, &mut column, about);
                column
            });
            (column.get(0).or(column.histogram(0).map(|h| h.count)), notes)
        };
        let quiet = || (vec![], vec![]);
        assert_eq!(fill(5), (None, quiet()));
        assert_eq!(fill(15), (Some(2.0), quiet()));
        assert_eq!(fill(39), (Some(3.0), quiet()));
        assert_eq!(fill(40), (None, quiet()));
        assert_eq!(fill(105), (Some(1.5), quiet()));
        assert_eq!(fill(129), (Some(2.0), quiet()));
        assert_eq!(fill(130), (None, quiet()));
        // Bounds that only one of them knows are lost, which is told of both operations.
        let (value, notes) = fill(65);
        assert_eq!(value, Some(2.0));
        assert_eq!(
            notes.1,
            ["subtraction", "addition"]
                .map(|op| format!("PromQL info: mismatched custom buckets were reconciled during {op} (1:1)"))
        );
        let (value, notes) = fill(80);
        assert_eq!(value, None);
        assert!(notes.0[0].contains("a mix of histograms and floats"));
    }
}
