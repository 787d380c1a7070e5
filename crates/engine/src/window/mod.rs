//! Range functions: two pointers walk a series once and mark each step's window; a kernel turns windows into values.

mod extended;
mod over_time;
mod rate;
mod regression;

use cupola_model::STALE_NAN;
use cupola_storage::Samples;

use crate::grid::Grid;

pub(crate) use extended::{Anchor, ExtendedKind, ExtendedRate, between};
pub(crate) use over_time::{Average, Counted, Extreme, Sum, counted_anchored, mad, quantile_over_time, spread};
pub(crate) use rate::{Extrapolated, RateKind, instant_rate};
pub(crate) use regression::{linear_regression, smoothing};

/// The samples of one step: those at `lo..hi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) lo: usize,
    pub(crate) hi: usize,
    /// Left edge, exclusive, in milliseconds. With extended ranges `lo` may lie before it.
    pub(crate) start: i64,
    /// Right edge, inclusive.
    pub(crate) end: i64,
    /// Which step it is.
    pub(crate) step: usize,
}

impl Window {
    pub(crate) fn len(&self) -> usize {
        self.hi - self.lo
    }

    pub(crate) fn values<'s>(&self, samples: &'s Samples) -> &'s [f64] {
        samples.values.get(self.lo..self.hi).unwrap_or_default()
    }

    pub(crate) fn times<'s>(&self, samples: &'s Samples) -> &'s [i64] {
        samples.ts.get(self.lo..self.hi).unwrap_or_default()
    }
}

/// How far windows reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    /// Length of the range.
    pub(crate) range: i64,
    /// How much further back samples are taken (`anchored`, `smoothed`).
    pub(crate) before: i64,
    /// How much further ahead (`smoothed`).
    pub(crate) after: i64,
}

/// Marks the window of every step of `ends`; the times of `ends` must not fall. Steps without samples are left out.
pub(crate) fn mark(ts: &[i64], ends: impl Iterator<Item = i64>, reach: Reach, out: &mut Vec<Window>) {
    out.clear();
    let (mut lo, mut hi) = (0, 0);
    for (step, end) in ends.enumerate() {
        let start = end.saturating_sub(reach.range);
        let first = start.saturating_sub(reach.before);
        let last = end.saturating_add(reach.after);
        while ts.get(hi).is_some_and(|t| *t <= last) {
            hi += 1;
        }
        while lo < hi && ts.get(lo).is_some_and(|t| *t <= first) {
            lo += 1;
        }
        if lo < hi {
            out.push(Window {
                lo,
                hi,
                start,
                end,
                step,
            });
        }
    }
}

/// Turns the windows of one series into values. `begin` is called once per series, then `run` with consecutive parts
/// of its windows.
pub(crate) trait Kernel {
    /// Looks at a new series.
    fn begin(&mut self, _samples: &Samples) {}

    /// Writes the value of each window to `out` at its step; leaves out what has no value.
    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]);
}

/// A kernel that looks at each window by itself.
pub(crate) struct PerWindow<F>(pub(crate) F);

impl<F: FnMut(&Samples, &Window) -> Option<f64>> Kernel for PerWindow<F> {
    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]) {
        for window in windows {
            if let (Some(value), Some(slot)) = ((self.0)(samples, window), out.get_mut(window.step)) {
                *slot = value;
            }
        }
    }
}

/// Forgets staleness markers: a range does not see them.
pub(crate) fn drop_stale(samples: &mut Samples) {
    let stale = STALE_NAN.to_bits();
    if !samples.values.iter().any(|v| v.to_bits() == stale) {
        return;
    }
    let mut kept = 0;
    for i in 0..samples.len() {
        if samples.values[i].to_bits() != stale {
            samples.values[kept] = samples.values[i];
            samples.ts[kept] = samples.ts[i];
            kept += 1;
        }
    }
    samples.values.truncate(kept);
    samples.ts.truncate(kept);
}

/// The times windows end at: those of `grid`, or one fixed time for every step.
pub(crate) fn window_ends(grid: Grid, fixed: Option<i64>, offset: i64) -> impl Iterator<Item = i64> {
    grid.times().map(move |t| fixed.unwrap_or(t).saturating_sub(offset))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn samples(pairs: &[(i64, f64)]) -> Samples {
        Samples {
            ts: pairs.iter().map(|p| p.0).collect(),
            values: pairs.iter().map(|p| p.1).collect(),
        }
    }

    /// The values a kernel gives over a grid; windows are fed in two parts, as the engine may do.
    pub(crate) fn run(kernel: &mut dyn Kernel, samples: &Samples, grid: Grid, reach: Reach) -> Vec<f64> {
        let mut windows = Vec::new();
        mark(&samples.ts, grid.times(), reach, &mut windows);
        let mut out = vec![STALE_NAN; grid.len()];
        kernel.begin(samples);
        let (first, second) = windows.split_at(windows.len() / 2);
        kernel.run(samples, first, &mut out);
        kernel.run(samples, second, &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_open_at_the_left() {
        let mut windows = Vec::new();
        let reach = Reach {
            range: 10,
            before: 0,
            after: 0,
        };
        mark(&[0, 5, 10, 15, 20], [10, 20, 40].into_iter(), reach, &mut windows);
        assert_eq!(
            windows,
            [
                Window {
                    lo: 1,
                    hi: 3,
                    start: 0,
                    end: 10,
                    step: 0
                },
                Window {
                    lo: 3,
                    hi: 5,
                    start: 10,
                    end: 20,
                    step: 1
                },
            ]
        );
    }

    #[test]
    fn extended_windows_reach_further() {
        let mut windows = Vec::new();
        let reach = Reach {
            range: 10,
            before: 6,
            after: 5,
        };
        mark(&[0, 5, 10, 15, 20], [10, 20].into_iter(), reach, &mut windows);
        assert_eq!((windows[0].lo, windows[0].hi), (0, 4));
        assert_eq!((windows[1].lo, windows[1].hi), (1, 5));
    }

    #[test]
    fn stale_markers_are_not_seen() {
        let mut all = testing::samples(&[(1, 1.0), (2, STALE_NAN), (3, 3.0)]);
        drop_stale(&mut all);
        assert_eq!(all, testing::samples(&[(1, 1.0), (3, 3.0)]));
    }
}
