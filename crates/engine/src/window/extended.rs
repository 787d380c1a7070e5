//! Ranges with `anchored` and `smoothed`: windows that know what was at their edges.

use cupola_storage::Samples;

use super::histograms::unmixed;
use super::{About, Kernel, MixedWindow, RateKind, Window};
use crate::column::Column;

/// How the value at an edge is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExtendedKind {
    /// The last sample at or before the left edge; the last one within.
    Anchored,
    /// On the line between the samples around each edge.
    Smoothed,
}

/// One sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anchor {
    pub(crate) t: i64,
    pub(crate) value: f64,
}

/// The value at `t` on the line between two samples. Between the samples of a counter reset it starts from zero.
pub(crate) fn between(a: Anchor, b: Anchor, t: i64, is_counter: bool) -> f64 {
    let from = if is_counter && b.value < a.value { 0.0 } else { a.value };
    from + (b.value - from) * (t - a.t) as f64 / (b.t - a.t) as f64
}

/// `rate`, `increase`, `delta` over an extended range: no extrapolation, the edges are known.
#[derive(Clone, Copy)]
pub(crate) struct ExtendedRate {
    pub(crate) extended: ExtendedKind,
    pub(crate) rate: RateKind,
    pub(crate) range_seconds: f64,
}

impl ExtendedRate {
    fn value(&self, samples: &Samples, window: &Window) -> Option<f64> {
        let (values, times) = (window.values(samples), window.times(samples));
        let is_counter = self.rate.is_counter();
        let smoothed = self.extended == ExtendedKind::Smoothed;
        let sample = |at: usize| {
            Some(Anchor {
                t: *times.get(at)?,
                value: *values.get(at)?,
            })
        };

        let newest = values.len().checked_sub(1)?;
        // The search upstream leaves the newest sample out.
        let older = times.get(..newest)?;
        let first = older.partition_point(|t| *t <= window.start).saturating_sub(1);
        let last = if smoothed {
            older.partition_point(|t| *t < window.end)
        } else {
            newest
        };
        let (first_sample, last_sample) = (sample(first)?, sample(last)?);
        if last_sample.t <= window.start || first_sample.t > window.end {
            return None;
        }
        let left = match sample(first + 1) {
            Some(next) if smoothed && first_sample.t < window.start => {
                between(first_sample, next, window.start, is_counter)
            }
            _ => first_sample.value,
        };
        let right = match last.checked_sub(1).and_then(sample) {
            Some(before) if smoothed && last_sample.t > window.end => {
                between(before, last_sample, window.end, is_counter)
            }
            _ => last_sample.value,
        };
        let mut result = right - left;
        if is_counter {
            // Samples at or beyond the edges already went into left and right.
            let lo = first + usize::from(first_sample.t <= window.start);
            let hi = last + usize::from(last_sample.t < window.end);
            let mut before = left;
            for value in values.get(lo..hi).unwrap_or_default() {
                if *value < before {
                    result += before;
                }
                before = *value;
            }
            if right < before {
                result += before;
            }
        }
        Some(if self.rate == RateKind::Rate {
            result / self.range_seconds
        } else {
            result
        })
    }
}

impl Kernel for ExtendedRate {
    fn run_mixed(&mut self, samples: &Samples, windows: &[MixedWindow], out: &mut Column, about: &mut About<'_, '_>) {
        let of_histograms = *self;
        unmixed(self, samples, windows, out, about, |_, window, about| {
            of_histograms.histogram(samples, window, about)
        });
    }

    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]) {
        for window in windows {
            if let (Some(value), Some(slot)) = (self.value(samples, window), out.get_mut(window.step)) {
                *slot = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{run, samples};
    use super::super::{Reach, Window};
    use super::*;
    use crate::grid::Grid;

    const LOOKBACK: i64 = 300_000;

    fn check(extended: ExtendedKind, at: i64, expected: f64) {
        let all: Vec<(i64, f64)> = (0..5)
            .map(|i| (i * 15_000, 1.0 + i as f64))
            .chain((5..10).map(|i| (i * 15_000, 4.0 + i as f64)))
            .collect();
        let after = if extended == ExtendedKind::Smoothed {
            LOOKBACK
        } else {
            0
        };
        let reach = Reach {
            range: 60_000,
            before: LOOKBACK,
            after,
        };
        let mut kernel = ExtendedRate {
            extended,
            rate: RateKind::Increase,
            range_seconds: 60.0,
        };
        let got = run(&mut kernel, &samples(&all), Grid::single(at), reach);
        assert!(
            (got[0] - expected).abs() < 1e-9,
            "at {at}: {} instead of {expected}",
            got[0]
        );
    }

    #[test]
    fn increases_of_the_reference_data() {
        for (at, anchored, smoothed) in [
            (5_000, 0.0, 1.0 / 3.0),
            (50_000, 3.0, 10.0 / 3.0),
            (80_000, 7.0, 7.0),
            (125_000, 7.0, 6.0),
        ] {
            check(ExtendedKind::Anchored, at, anchored);
            check(ExtendedKind::Smoothed, at, smoothed);
        }
    }

    #[test]
    fn a_window_with_only_older_samples_has_no_value() {
        let kernel = ExtendedRate {
            extended: ExtendedKind::Anchored,
            rate: RateKind::Increase,
            range_seconds: 60.0,
        };
        let window = Window {
            lo: 0,
            hi: 2,
            start: 100,
            end: 200,
            step: 0,
        };
        assert_eq!(kernel.value(&samples(&[(10, 1.0), (100, 2.0)]), &window), None);
    }
}
