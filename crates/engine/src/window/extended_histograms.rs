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
