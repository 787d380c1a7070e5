//! Range functions: two pointers walk a series once and mark each step's window; a kernel turns windows into values.

mod extended;
mod histograms;
mod over_time;
mod rate;
mod regression;

use std::sync::Arc;

use cupola_histogram::FloatHistogram;
use cupola_model::{Labels, STALE_NAN};
use cupola_promql::Span;
use cupola_storage::Samples;

use crate::annotations::Annotations;
use crate::column::Column;
use crate::grid::Grid;

pub(crate) use extended::{Anchor, ExtendedKind, ExtendedRate, between};
pub(crate) use histograms::{WithHistograms, outermost};
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

/// The samples of one step of a series that has native histograms: either part may be empty, not both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MixedWindow {
    /// The floats, and the edges.
    pub(crate) floats: Window,
    /// The histograms are those at `lo..hi` of the histograms' own columns.
    pub(crate) lo: usize,
    pub(crate) hi: usize,
}

impl MixedWindow {
    pub(crate) fn histograms<'s>(&self, samples: &'s Samples) -> &'s [Arc<FloatHistogram>] {
        samples.histograms.values.get(self.lo..self.hi).unwrap_or_default()
    }

    pub(crate) fn histogram_times<'s>(&self, samples: &'s Samples) -> &'s [i64] {
        samples.histograms.ts.get(self.lo..self.hi).unwrap_or_default()
    }

    /// How many samples of either kind.
    pub(crate) fn len(&self) -> usize {
        self.floats.len() + (self.hi - self.lo)
    }
}

/// What a kernel's remarks are about.
pub(crate) struct About<'a, 'q> {
    /// Where remarks go.
    pub(crate) notes: &'a mut Annotations<'q>,
    /// The labels of the series at work, with its name.
    pub(crate) labels: &'a Labels,
    /// The range vector in the query.
    pub(crate) span: Span,
}

impl<'a> About<'a, '_> {
    /// The name of the metric.
    pub(crate) fn metric(&self) -> &'a str {
        self.labels.metric_name()
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
    out.extend(windows(ts, ends, reach).filter(|window| window.len() > 0));
}

/// As [`mark`], for a series that has native histograms.
pub(crate) fn mark_mixed(
    samples: &Samples,
    ends: impl Iterator<Item = i64> + Clone,
    reach: Reach,
    out: &mut Vec<MixedWindow>,
) {
    out.clear();
    let floats = windows(&samples.ts, ends.clone(), reach);
    let histograms = windows(&samples.histograms.ts, ends, reach);
    let pairs = floats.zip(histograms).map(|(floats, histograms)| MixedWindow {
        floats,
        lo: histograms.lo,
        hi: histograms.hi,
    });
    out.extend(pairs.filter(|window| window.len() > 0));
}

fn windows(ts: &[i64], ends: impl Iterator<Item = i64>, reach: Reach) -> impl Iterator<Item = Window> {
    let (mut lo, mut hi) = (0, 0);
    ends.enumerate().map(move |(step, end)| {
        let start = end.saturating_sub(reach.range);
        let first = start.saturating_sub(reach.before);
        let last = end.saturating_add(reach.after);
        while ts.get(hi).is_some_and(|t| *t <= last) {
            hi += 1;
        }
        while lo < hi && ts.get(lo).is_some_and(|t| *t <= first) {
            lo += 1;
        }
        Window {
            lo,
            hi,
            start,
            end,
            step,
        }
    })
}

/// Turns the windows of one series into values. `begin` is called once per series, then `run` with consecutive parts
/// of its windows.
pub(crate) trait Kernel {
    /// Looks at a new series.
    fn begin(&mut self, _samples: &Samples) {}

    /// Writes the value of each window to `out` at its step; leaves out what has no value.
    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]);

    /// As [`Kernel::run`], for a series that has native histograms.
    fn run_mixed(&mut self, samples: &Samples, windows: &[MixedWindow], out: &mut Column, about: &mut About<'_, '_>) {
        let _ = about;
        floats_only(self, samples, windows, out);
    }
}

/// What a kernel makes of the floats alone; steps without floats stay absent.
pub(crate) fn floats_only<K: Kernel + ?Sized>(
    kernel: &mut K,
    samples: &Samples,
    windows: &[MixedWindow],
    out: &mut Column,
) {
    let floats: Vec<Window> = windows
        .iter()
        .map(|window| window.floats)
        .filter(|floats| floats.len() > 0)
        .collect();
    kernel.run(samples, &floats, out.values_mut());
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
    if samples.values.iter().any(|v| v.to_bits() == stale) {
        let keep: Vec<bool> = samples.values.iter().map(|v| v.to_bits() != stale).collect();
        retain(&mut samples.values, &keep);
        retain(&mut samples.ts, &keep);
        retain(&mut samples.starts, &keep);
    }
    let histograms = &mut samples.histograms;
    if histograms.values.iter().any(|h| h.sum.to_bits() == stale) {
        let keep: Vec<bool> = histograms.values.iter().map(|h| h.sum.to_bits() != stale).collect();
        retain(&mut histograms.values, &keep);
        retain(&mut histograms.ts, &keep);
        retain(&mut histograms.starts, &keep);
    }
}

fn retain<T>(column: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter();
    column.retain(|_| keep.next().copied().unwrap_or(true));
}

/// The times windows end at: those of `grid`, or one fixed time for every step.
pub(crate) fn window_ends(grid: Grid, fixed: Option<i64>, offset: i64) -> impl Iterator<Item = i64> + Clone {
    grid.times().map(move |t| fixed.unwrap_or(t).saturating_sub(offset))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn samples(pairs: &[(i64, f64)]) -> Samples {
        Samples::floats(pairs.iter().map(|p| p.0).collect(), pairs.iter().map(|p| p.1).collect())
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
