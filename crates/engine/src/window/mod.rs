//! Range functions: two pointers walk a series once and mark each step's window; a kernel turns windows into values.

mod counted;
mod extended;
mod extended_histograms;
mod hints;
mod histograms;
mod instant;
#[cfg(test)]
mod likeness;
mod lines;
mod over_time;
mod rate;
mod regression;
mod starts;

use std::sync::Arc;

use cupola_histogram::FloatHistogram;
use cupola_model::{Labels, STALE_NAN};
use cupola_promql::Span;
use cupola_storage::Samples;

use crate::annotations::Annotations;
use crate::column::{Column, weight};
use crate::grid::Grid;
use crate::walk::Walk;

pub(crate) use counted::{Counted, counted_anchored};
pub(crate) use extended::{Anchor, ExtendedKind, ExtendedRate, between};
pub(crate) use extended_histograms::fill_smoothed_mixed;
pub(crate) use hints::{detect_hints, forget_hint};
pub(crate) use histograms::{WithHistograms, outermost};
pub(crate) use instant::InstantRate;
pub(crate) use lines::Lines;
pub(crate) use over_time::{Average, Extreme, Sum, mad, quantile_over_time, spread};
pub(crate) use rate::{Extrapolated, RateKind};
pub(crate) use regression::{Smoothing, linear_regression};
pub(crate) use starts::{drop_starts, knows_starts};

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
    /// As how many samples the histograms count.
    pub(crate) weight: usize,
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

    /// As how many samples it counts against limits: histograms by their size.
    pub(crate) fn weighed(&self) -> usize {
        self.floats.len() + self.weight
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

/// How many samples windows hold.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    /// Those of the fullest one.
    pub(crate) widest: usize,
    /// Those of all.
    pub(crate) total: usize,
}

impl Held {
    fn add(&mut self, count: usize) {
        self.widest = self.widest.max(count);
        self.total += count;
    }
}

/// Where the window of one step begins and ends; the same for every series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edges {
    // As in `Window`.
    start: i64,
    end: i64,
    // Samples after the first time and up to the last are taken.
    first: i64,
    last: i64,
}

/// The edges of the windows that end at `ends`, which must not fall.
pub(crate) fn edges(ends: impl Iterator<Item = i64>, reach: Reach) -> Vec<Edges> {
    let edges = |end: i64| {
        let start = end.saturating_sub(reach.range);
        Edges {
            start,
            end,
            first: start.saturating_sub(reach.before),
            last: end.saturating_add(reach.after),
        }
    };
    ends.map(edges).collect()
}

/// Marks the window of every step; steps without samples are left out.
pub(crate) fn mark(ts: &[i64], steps: &[Edges], out: &mut Vec<Window>) -> Held {
    out.clear();
    out.reserve(steps.len());
    let mut held = Held::default();
    for window in windows(ts, steps) {
        if window.len() > 0 {
            held.add(window.len());
            out.push(window);
        }
    }
    held
}

/// As [`mark`], for a series that has native histograms.
pub(crate) fn mark_mixed(samples: &Samples, steps: &[Edges], out: &mut Vec<MixedWindow>) -> Held {
    out.clear();
    let mut total = 0;
    let mut weights = vec![0];
    weights.extend(samples.histograms.values.iter().map(|histogram| {
        total += weight(histogram);
        total
    }));
    let upto = |at: usize| weights.get(at).copied().unwrap_or(total);
    let floats = windows(&samples.ts, steps);
    let histograms = windows(&samples.histograms.ts, steps);
    let pairs = floats.zip(histograms).map(|(floats, histograms)| MixedWindow {
        floats,
        lo: histograms.lo,
        hi: histograms.hi,
        weight: upto(histograms.hi) - upto(histograms.lo),
    });
    let mut held = Held::default();
    out.extend(pairs.filter(|window| {
        held.add(window.weighed());
        window.len() > 0
    }));
    held
}

fn windows(ts: &[i64], steps: &[Edges]) -> impl Iterator<Item = Window> {
    let (mut lo, mut hi) = (Walk::default(), Walk::default());
    steps.iter().enumerate().map(move |(step, edges)| Window {
        lo: lo.up_to(ts, edges.first),
        hi: hi.up_to(ts, edges.last),
        start: edges.start,
        end: edges.end,
        step,
    })
}

/// Turns the windows of one series into values. `begin` is called once per series, then `run` with consecutive parts
/// of its windows.
pub(crate) trait Kernel {
    /// Looks at a new series.
    fn begin(&mut self, _samples: &Samples) {}

    /// Writes the value of each window to `out` at its step; leaves out what has no value.
    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]);

    /// As [`Kernel::run`], for a series that has native histograms or known start timestamps.
    ///
    /// Most functions are of numbers: windows of histograms alone have no value, in others the histograms are ignored,
    /// which is told.
    fn run_mixed(&mut self, samples: &Samples, windows: &[MixedWindow], out: &mut Column, about: &mut About<'_, '_>) {
        self.run_floats(samples, windows, out, about);
    }

    /// What [`Kernel::run_mixed`] does for functions of numbers.
    fn run_floats(&mut self, samples: &Samples, windows: &[MixedWindow], out: &mut Column, about: &mut About<'_, '_>) {
        let mut floats = Vec::with_capacity(windows.len());
        for window in windows.iter().filter(|window| window.floats.len() > 0) {
            if window.lo < window.hi {
                about.notes.ignored_in_mixed_range(about.metric(), about.span);
            }
            floats.push(window.floats);
        }
        self.run(samples, &floats, out.values_mut());
    }
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
    // Without a way out, so that several are looked at at once.
    let has_nan = samples.values.iter().fold(false, |has, value| has | value.is_nan());
    if has_nan && samples.values.iter().any(|v| v.to_bits() == stale) {
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
pub(crate) fn window_ends(grid: Grid, fixed: Option<i64>, offset: i64) -> impl Iterator<Item = i64> {
    grid.times().map(move |t| fixed.unwrap_or(t).saturating_sub(offset))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use cupola_storage::SampleValue;

    pub(crate) fn samples(pairs: &[(i64, f64)]) -> Samples {
        Samples::floats(pairs.iter().map(|p| p.0).collect(), pairs.iter().map(|p| p.1).collect())
    }

    pub(crate) fn histogram_of(count: f64) -> Arc<FloatHistogram> {
        Arc::new(FloatHistogram {
            count,
            sum: count,
            positive_spans: vec![cupola_histogram::Span { offset: 0, length: 1 }],
            positive_buckets: vec![count],
            ..FloatHistogram::default()
        })
    }

    pub(crate) fn histogram(count: f64) -> SampleValue {
        SampleValue::Histogram(histogram_of(count))
    }

    pub(crate) fn float(value: f64) -> SampleValue {
        SampleValue::Float(value)
    }

    pub(crate) fn mixed(all: impl IntoIterator<Item = (i64, SampleValue)>) -> Samples {
        let mut samples = Samples::default();
        for (t, value) in all {
            samples.push_value(t, value, 0);
        }
        samples
    }

    /// Warnings and infos.
    pub(crate) type Notes = (Vec<String>, Vec<String>);

    /// What `f` gives for the metric `m`, and its remarks.
    pub(crate) fn about<T>(f: impl FnOnce(&mut About<'_, '_>) -> T) -> (T, Notes) {
        let mut notes = Annotations::new("m");
        let labels = Labels::from_pairs([("__name__", "m")]);
        let mut about = About {
            notes: &mut notes,
            labels: &labels,
            span: Span::default(),
        };
        let got = f(&mut about);
        (got, notes.into_texts())
    }

    /// What a kernel gives over a grid for a series that has native histograms or starts.
    pub(crate) fn run_mixed(kernel: &mut dyn Kernel, samples: &Samples, grid: Grid, reach: Reach) -> (Column, Notes) {
        let mut windows = Vec::new();
        mark_mixed(samples, &edges(grid.times(), reach), &mut windows);
        kernel.begin(samples);
        about(|about| {
            let mut out = Column::absent(grid.len());
            kernel.run_mixed(samples, &windows, &mut out, about);
            out
        })
    }

    /// The values a kernel gives over a grid; windows are fed in two parts, as the engine may do.
    pub(crate) fn run(kernel: &mut dyn Kernel, samples: &Samples, grid: Grid, reach: Reach) -> Vec<f64> {
        let mut windows = Vec::new();
        mark(&samples.ts, &edges(grid.times(), reach), &mut windows);
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
        mark(
            &[0, 5, 10, 15, 20],
            &edges([10, 20, 40].into_iter(), reach),
            &mut windows,
        );
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
        mark(&[0, 5, 10, 15, 20], &edges([10, 20].into_iter(), reach), &mut windows);
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
