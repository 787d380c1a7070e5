//! `rate`, `increase`, `delta` with extrapolation.

use std::sync::Arc;

use cupola_histogram::FloatHistogram;
use cupola_storage::{SampleValue, Samples};

use super::histograms::{Neighbours, any_between};
use super::starts::{Started, knows_starts};
use super::{About, Kernel, MixedWindow, Window};
use crate::column::Column;

/// What is computed from first and last sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateKind {
    /// Per second, counter resets made good.
    Rate,
    /// Over the range, counter resets made good.
    Increase,
    /// Over the range, of a gauge.
    Delta,
}

impl RateKind {
    pub(crate) fn is_counter(self) -> bool {
        self != Self::Delta
    }
}

// The first and the last sample of a window, of `count` ones.
#[derive(Clone, Copy)]
struct Ends {
    first_t: i64,
    last_t: i64,
    count: usize,
}

/// `rate`, `increase`, `delta`: the difference of a window's ends, extrapolated to its edges.
///
/// Costs O(1) per window beside the counter resets inside it: these are found once per series.
pub(crate) struct Extrapolated {
    kind: RateKind,
    range_seconds: f64,
    // Positions of samples that are lower than the one before, or known to have started after it, ascending.
    resets: Vec<usize>,
    next_reset: usize,
    // Positions of floats whose start overlaps the sample in front of them, ascending.
    overlaps: Vec<usize>,
    histograms: Neighbours,
    last: Drawn,
}

// The gaps of a window, and how many samples it has.
#[derive(Debug, Clone, Copy, Default)]
struct Gaps {
    before: i64,
    within: i64,
    behind: i64,
    count: usize,
}

impl Gaps {
    // In registers: comparing what was just written to memory as a whole waits for it.
    #[inline(always)]
    fn differs(self, other: Self) -> bool {
        let differs = (self.before ^ other.before) | (self.within ^ other.within) | (self.behind ^ other.behind);
        differs != 0 || self.count != other.count
    }
}

// How far the line of a window is drawn on to both sides. Steps and scrapes are regular, so one window is like the next.
#[derive(Debug, Clone, Copy, Default)]
struct Drawn {
    // From the left edge to the first sample, from that to the last, and on to the right edge, milliseconds.
    gaps: Gaps,
    // Seconds between the samples, before and behind them.
    sampled: f64,
    to_start: f64,
    to_end: f64,
    // By what the difference is multiplied.
    factor: f64,
}

impl Extrapolated {
    pub(crate) fn new(kind: RateKind, range_ms: i64) -> Self {
        Self {
            kind,
            range_seconds: range_ms as f64 / 1000.0,
            resets: Vec::new(),
            next_reset: 0,
            overlaps: Vec::new(),
            histograms: Neighbours::default(),
            last: Drawn::default(),
        }
    }

    // By what the difference of a window's ends, `grown` from `first`, is multiplied. A counter was never below zero.
    fn factor(&mut self, ends: Ends, window: &Window, first: f64, grown: f64) -> f64 {
        let gaps = Gaps {
            before: ends.first_t - window.start,
            within: ends.last_t - ends.first_t,
            behind: window.end - ends.last_t,
            count: ends.count,
        };
        if self.last.gaps.differs(gaps) {
            self.last = self.drawn(gaps);
        }
        let Drawn {
            sampled,
            to_start,
            to_end,
            factor,
            ..
        } = self.last;
        // Whether it began less than `to_start` ago; a little more is looked at closely, for the sake of the last digit.
        let is_young = grown > 0.0 && first >= 0.0 && first * sampled <= to_start * grown * 1.000_001;
        if self.kind.is_counter() && is_young {
            let to_start = to_start.min(sampled * (first / grown));
            return self.per_range((sampled + to_start + to_end) / sampled);
        }
        factor
    }

    fn drawn(&self, gaps: Gaps) -> Drawn {
        let sampled = seconds(gaps.within);
        let between = sampled / (gaps.count - 1) as f64;
        // A gap of up to 1.1 intervals is taken for regular; beyond it the series is assumed to begin or end half an
        // interval outside its samples.
        let drawn = |gap: f64| if gap >= between * 1.1 { between / 2.0 } else { gap };
        let (to_start, to_end) = (drawn(seconds(gaps.before)), drawn(seconds(gaps.behind)));
        Drawn {
            gaps,
            sampled,
            to_start,
            to_end,
            factor: self.per_range((sampled + to_start + to_end) / sampled),
        }
    }

    // As `factor`, where the counter is known to have been zero at `start`, within the window.
    fn started_factor(&self, ends: Ends, window: &Window, start: i64) -> f64 {
        // One sample does not say how far apart they are; then nothing is added at the end.
        let between = match ends.count {
            0 | 1 => 0.0,
            count => seconds(ends.last_t - ends.first_t) / (count - 1) as f64,
        };
        let sampled = seconds(ends.last_t - start);
        self.per_range((sampled + to_end(ends, window, between)) / sampled)
    }

    fn per_range(&self, factor: f64) -> f64 {
        if self.kind == RateKind::Rate {
            factor / self.range_seconds
        } else {
            factor
        }
    }

    // The start of the window's first sample, if it lies in the window.
    fn start_within(&self, first: Option<Started>, window: &Window) -> Option<i64> {
        first
            .filter(|_| self.kind.is_counter())
            .and_then(|first| first.within(window.start))
    }

    fn histogram(
        &mut self,
        samples: &Samples,
        window: &MixedWindow,
        about: &mut About<'_, '_>,
    ) -> Option<FloatHistogram> {
        let (histograms, times) = (window.histograms(samples), window.histogram_times(samples));
        let (first, is_counter) = (histograms.first()?, self.kind.is_counter());
        let ends = Ends {
            first_t: *times.first()?,
            last_t: *times.last()?,
            count: histograms.len(),
        };
        let known = &samples.histograms;
        let start = self.start_within(Started::at(&known.ts, &known.starts, window.lo), &window.floats);
        let mut result = if let [only] = histograms {
            // One is enough if it is known since when it counts.
            start?;
            (**only).clone()
        } else {
            let mut difference = self.histograms.difference(samples, window, is_counter, about)?;
            if self.histograms.overlap_in(window) {
                about.notes.overlapping_start(about.metric(), about.span);
            }
            if start.is_some() {
                let Ok(told) = difference.add(first) else {
                    about.notes.mixed_bucket_schemas(about.metric(), about.span);
                    return None;
                };
                if told.bounds_reconciled {
                    about.notes.reconciled_bounds("addition", about.span);
                }
            }
            difference
        };
        let factor = match start {
            Some(start) => self.started_factor(ends, &window.floats, start),
            None => self.factor(ends, &window.floats, first.count, result.count),
        };
        result.mul(factor);
        Some(result)
    }

    // The difference of a window's ends with what was lost at resets in between.
    fn corrected(&mut self, difference: f64, samples: &Samples, window: &Window) -> f64 {
        let mut result = difference;
        // A window never starts before the one of an earlier step.
        while self.resets.get(self.next_reset).is_some_and(|at| *at <= window.lo) {
            self.next_reset += 1;
        }
        for at in self
            .resets
            .iter()
            .skip(self.next_reset)
            .take_while(|at| **at < window.hi)
        {
            result += samples.values.get(at - 1).copied().unwrap_or(0.0);
        }
        result
    }

    fn value(&mut self, samples: &Samples, window: &Window) -> Option<f64> {
        let (values, times) = (window.values(samples), window.times(samples));
        let (first, last) = (*values.first()?, *values.last()?);
        let (first_t, last_t) = (*times.first()?, *times.last()?);
        if values.len() < 2 {
            return None;
        }
        let mut result = last - first;
        if self.kind.is_counter() {
            result = self.corrected(result, samples, window);
        }

        let ends = Ends {
            first_t,
            last_t,
            count: values.len(),
        };
        Some(result * self.factor(ends, window, first, result))
    }

    // As `value`, for a window whose samples may be known to have started in it.
    fn started_value(&mut self, samples: &Samples, window: &Window, about: &mut About<'_, '_>) -> Option<f64> {
        if any_between(&self.overlaps, window.lo, window.hi) {
            about.notes.overlapping_start(about.metric(), about.span);
        }
        let first = Started::at(&samples.ts, &samples.starts, window.lo);
        let Some(start) = self.start_within(first, window) else {
            return self.value(samples, window);
        };
        let (values, times) = (window.values(samples), window.times(samples));
        let ends = Ends {
            first_t: *times.first()?,
            last_t: *times.last()?,
            count: values.len(),
        };
        let (first, last) = (*values.first()?, *values.last()?);
        let result = self.corrected(last - first, samples, window) + first;
        Some(result * self.started_factor(ends, window, start))
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

// How far the line is drawn on at the right edge.
fn to_end(ends: Ends, window: &Window, between: f64) -> f64 {
    let to_end = seconds(window.end - ends.last_t);
    if to_end >= between * 1.1 { between / 2.0 } else { to_end }
}

impl Kernel for Extrapolated {
    fn begin(&mut self, samples: &Samples) {
        self.resets.clear();
        self.next_reset = 0;
        self.overlaps.clear();
        if !samples.histograms.is_empty() {
            self.histograms.begin(&samples.histograms, self.kind.is_counter());
        }
        if self.kind.is_counter() && knows_starts(samples) {
            for (at, pair) in samples.values.windows(2).enumerate() {
                let started = |at| Started::at(&samples.ts, &samples.starts, at);
                let (Some(before), Some(after)) = (started(at), started(at + 1)) else {
                    continue;
                };
                if pair[1] < pair[0] || after.is_reset_after(before) {
                    self.resets.push(at + 1);
                }
                if after.overlaps(before) {
                    self.overlaps.push(at + 1);
                }
            }
        } else if self.kind.is_counter() {
            let pairs = || samples.values.iter().zip(samples.values.iter().skip(1));
            // Without a way out, so that several are looked at at once; most counters never fall.
            if pairs().fold(false, |falls, (before, after)| falls | (after < before)) {
                let falls = pairs().enumerate().filter(|(_, (before, after))| after < before);
                self.resets.extend(falls.map(|(at, _)| at + 1));
            }
        }
    }

    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]) {
        for window in windows {
            if let (Some(value), Some(slot)) = (self.value(samples, window), out.get_mut(window.step)) {
                *slot = value;
            }
        }
    }

    fn run_mixed(&mut self, samples: &Samples, windows: &[MixedWindow], out: &mut Column, about: &mut About<'_, '_>) {
        for window in windows {
            let value = match (window.floats.len(), window.histograms(samples).len()) {
                (_, 0) => {
                    let value = self.started_value(samples, &window.floats, about);
                    value.map(SampleValue::Float)
                }
                (0, _) => {
                    let histogram = self.histogram(samples, window, about);
                    histogram.map(|histogram| SampleValue::Histogram(Arc::new(histogram)))
                }
                _ => {
                    about.notes.mixed_floats_and_histograms(about.metric(), about.span);
                    None
                }
            };
            out.set(window.floats.step, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{run, run_mixed, samples};
    use super::super::{PerWindow, Reach};
    use super::*;
    use crate::grid::Grid;

    const MINUTE: i64 = 60_000;

    fn check(kind: RateKind, every: i64, values: &[f64], at: i64, range: i64, expected: f64) {
        let pairs: Vec<_> = values.iter().enumerate().map(|(i, v)| (i as i64 * every, *v)).collect();
        let reach = Reach {
            range,
            before: 0,
            after: 0,
        };
        let got = run(
            &mut Extrapolated::new(kind, range),
            &samples(&pairs),
            Grid::single(at),
            reach,
        );
        assert!((got[0] - expected).abs() < 1e-9, "{} instead of {expected}", got[0]);
    }

    #[test]
    fn increase_extrapolates_to_the_edges_but_not_below_zero() {
        let ten: Vec<f64> = (0..11).map(|i| f64::from(i) * 10.0).collect();
        check(RateKind::Increase, 5 * MINUTE, &ten, 50 * MINUTE, 50 * MINUTE, 100.0);
        let dings: Vec<f64> = ten.iter().map(|v| v + 10.0).collect();
        check(RateKind::Increase, 5 * MINUTE, &dings, 50 * MINUTE, 100 * MINUTE, 105.0);
        let bumms: Vec<f64> = ten.iter().map(|v| v + 1.0).collect();
        check(RateKind::Increase, 5 * MINUTE, &bumms, 50 * MINUTE, 100 * MINUTE, 101.0);
    }

    #[test]
    fn a_reset_counts_from_zero() {
        check(
            RateKind::Increase,
            5 * MINUTE,
            &[0.0, 1.0, 2.0, 3.0, 2.0, 3.0, 4.0],
            30 * MINUTE,
            30 * MINUTE,
            7.0,
        );
        check(
            RateKind::Delta,
            5 * MINUTE,
            &[200.0, 150.0, 100.0, 50.0, 0.0],
            20 * MINUTE,
            20 * MINUTE,
            -200.0,
        );
    }

    #[test]
    fn resets_are_found_in_every_window_that_holds_them() {
        let all = samples(&[(0, 5.0), (10, 1.0), (20, 2.0), (30, 0.0), (40, 1.0)]);
        let reach = Reach {
            range: 21,
            before: 0,
            after: 0,
        };
        let grid = Grid::range(10, 50, 10);
        let got = run(&mut Extrapolated::new(RateKind::Increase, 21), &all, grid, reach);
        let mut slow = PerWindow(|all: &Samples, window: &Window| {
            // The same with fresh state for each window.
            let mut one = Extrapolated::new(RateKind::Increase, 21);
            one.begin(all);
            one.value(all, window)
        });
        let expected = run(&mut slow, &all, grid, reach);
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&got), bits(&expected));
    }

    #[test]
    fn a_start_in_the_window_is_a_sample_of_zero() {
        let all = |every: i64, start: i64| {
            let mut all = Samples::default();
            for i in 1..4 {
                all.push_started(i * every, i as f64 * 10.0, start);
            }
            all
        };
        let increase = |samples: &Samples, at: i64, range: i64| {
            let reach = Reach {
                range,
                before: 0,
                after: 0,
            };
            let mut kernel = Extrapolated::new(RateKind::Increase, range);
            run_mixed(&mut kernel, samples, Grid::single(at), reach).0.get(0)
        };
        // From 20 s on 30 in 160 s; nothing is added at the left, and at the right up to the edge.
        assert_eq!(increase(&all(60_000, 20_000), 196_000, 190_000), Some(33.0));
        // One sample is enough, and then nothing is added.
        assert_eq!(increase(&all(60_000, 20_000), 90_000, 80_000), Some(10.0));
        // On the edge or before it the start is not in the window.
        assert_eq!(increase(&all(60_000, 20_000), 90_000, 70_000), None);
        // A gauge has no start.
        let reach = Reach {
            range: 190_000,
            before: 0,
            after: 0,
        };
        let mut delta = Extrapolated::new(RateKind::Delta, 190_000);
        let (column, notes) = run_mixed(&mut delta, &all(60_000, 20_000), Grid::single(180_000), reach);
        assert_eq!(column.get(0), Some(25.0));
        assert_eq!(notes, (vec![], vec![]));
    }
}
