//! `changes` and `resets`.

use cupola_storage::{SampleValue, Samples};

use super::starts::{Started, knows_starts};
use super::{About, Kernel, MixedWindow, Window};
use crate::column::Column;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Changes,
    Resets,
}

/// `changes` and `resets`: counts the neighbours in the window that differ in the wanted way.
pub(crate) struct Counted {
    kind: Kind,
    // How many of the first n samples differ from the one before.
    prefix: Vec<u32>,
    // The times of all samples, where these are not all floats.
    times: Vec<i64>,
}

fn changed(before: f64, after: f64) -> bool {
    after != before && !(after.is_nan() && before.is_nan())
}

// Whether two neighbours of any kind differ. A float next to a histogram always does.
fn differ(kind: Kind, before: &(i64, SampleValue, i64), after: &(i64, SampleValue, i64)) -> bool {
    let started = |(t, _, start): &(i64, SampleValue, i64)| Started { t: *t, start: *start };
    let restarted = || started(after).is_reset_after(started(before));
    match (kind, &before.1, &after.1) {
        (Kind::Changes, SampleValue::Float(before), SampleValue::Float(after)) => changed(*before, *after),
        (Kind::Changes, SampleValue::Histogram(before), SampleValue::Histogram(after)) => !after.equals(before),
        (Kind::Resets, SampleValue::Float(before), SampleValue::Float(after)) => after < before || restarted(),
        (Kind::Resets, SampleValue::Histogram(before), SampleValue::Histogram(after)) => {
            restarted() || after.detect_reset(before)
        }
        _ => true,
    }
}

impl Counted {
    pub(crate) fn changes() -> Self {
        Self::of(Kind::Changes)
    }

    pub(crate) fn resets() -> Self {
        Self::of(Kind::Resets)
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            prefix: Vec::new(),
            times: Vec::new(),
        }
    }

    // Differences after sample `lo` up to and including sample `hi - 1`.
    fn between(&self, lo: usize, hi: usize) -> Option<f64> {
        Some(f64::from(self.prefix.get(hi)? - self.prefix.get(lo + 1)?))
    }

    fn count(&mut self, values: &[f64], differ: impl Fn(f64, f64) -> bool) {
        let mut total = 0;
        self.prefix.extend(values.windows(2).map(|pair| {
            total += u32::from(differ(pair[0], pair[1]));
            total
        }));
    }
}

impl Kernel for Counted {
    fn begin(&mut self, samples: &Samples) {
        self.prefix.clear();
        self.prefix.extend([0, 0]);
        self.times.clear();
        if samples.histograms.is_empty() && !knows_starts(samples) {
            match self.kind {
                Kind::Changes => self.count(&samples.values, changed),
                Kind::Resets => self.count(&samples.values, |before, after| after < before),
            }
            return;
        }
        let (mut total, mut before) = (0, None);
        for sample in samples.iter() {
            self.times.push(sample.0);
            if let Some(before) = &before {
                total += u32::from(differ(self.kind, before, &sample));
                self.prefix.push(total);
            }
            before = Some(sample);
        }
    }

    fn run(&mut self, _samples: &Samples, windows: &[Window], out: &mut [f64]) {
        for window in windows {
            if let (Some(value), Some(slot)) = (self.between(window.lo, window.hi), out.get_mut(window.step)) {
                *slot = value;
            }
        }
    }

    fn run_mixed(&mut self, _: &Samples, windows: &[MixedWindow], out: &mut Column, _: &mut About<'_, '_>) {
        for window in windows {
            let (lo, hi) = merged(window);
            out.set(window.floats.step, self.between(lo, hi).map(SampleValue::Float));
        }
    }
}

// Where a window's samples lie among those of both kinds in the order of time.
fn merged(window: &MixedWindow) -> (usize, usize) {
    (window.floats.lo + window.lo, window.floats.hi + window.hi)
}

/// [`Counted`] over an anchored range: the last sample at or before the left edge takes part as the first.
pub(crate) struct CountedAnchored(Counted);

/// Wraps `counted` for anchored ranges.
pub(crate) fn counted_anchored(counted: Counted) -> CountedAnchored {
    CountedAnchored(counted)
}

impl CountedAnchored {
    // `times` are those of the samples from `lo` to `hi`.
    fn value(&self, times: &[i64], lo: usize, hi: usize, start: i64) -> Option<f64> {
        if *times.last()? <= start {
            return None;
        }
        let before = times.partition_point(|t| *t <= start).saturating_sub(1);
        self.0.between(lo + before, hi)
    }
}

impl Kernel for CountedAnchored {
    fn begin(&mut self, samples: &Samples) {
        self.0.begin(samples);
    }

    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]) {
        for window in windows {
            let value = self.value(window.times(samples), window.lo, window.hi, window.start);
            if let (Some(value), Some(slot)) = (value, out.get_mut(window.step)) {
                *slot = value;
            }
        }
    }

    fn run_mixed(&mut self, _: &Samples, windows: &[MixedWindow], out: &mut Column, _: &mut About<'_, '_>) {
        for window in windows {
            let (lo, hi) = merged(window);
            let times = self.0.times.get(lo..hi).unwrap_or_default();
            let value = self.value(times, lo, hi, window.floats.start);
            out.set(window.floats.step, value.map(SampleValue::Float));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reach;
    use super::super::testing::{float, histogram, mixed, run_mixed};
    use super::*;
    use crate::grid::Grid;

    fn check(mut kernel: impl Kernel, samples: &Samples, reach: Reach, expected: &[Option<f64>]) {
        let (column, notes) = run_mixed(&mut kernel, samples, Grid::range(20, 40, 10), reach);
        let got: Vec<_> = (0..column.len()).map(|step| column.get(step)).collect();
        assert_eq!(got, expected);
        assert_eq!(notes, (vec![], vec![]));
    }

    #[test]
    fn a_float_beside_a_histogram_is_a_change_and_a_reset() {
        let samples = mixed([
            (5, float(1.0)),
            (12, histogram(3.0)),
            (15, histogram(3.0)),
            (22, histogram(2.0)),
            (35, float(2.0)),
            (36, float(2.0)),
        ]);
        let reach = |before| Reach {
            range: 15,
            before,
            after: 0,
        };
        // The windows are (5, 20], (15, 30], (25, 40].
        check(
            Counted::changes(),
            &samples,
            reach(0),
            &[Some(0.0), Some(0.0), Some(0.0)],
        );
        let anchored = [Some(1.0), Some(1.0), Some(1.0)];
        check(counted_anchored(Counted::changes()), &samples, reach(20), &anchored);
        check(counted_anchored(Counted::resets()), &samples, reach(20), &anchored);
        // An anchor further back than the lookback is none.
        check(
            counted_anchored(Counted::resets()),
            &samples,
            reach(2),
            &[Some(1.0), Some(1.0), Some(0.0)],
        );
    }

    #[test]
    fn a_start_between_samples_is_a_reset_but_no_change() {
        let mut samples = mixed([(5, float(1.0))]);
        samples.push_started(12, 1.0, 8);
        samples.push_started(18, 1.0, 8);
        let reach = Reach {
            range: 20,
            before: 0,
            after: 0,
        };
        check(Counted::resets(), &samples, reach, &[Some(1.0), Some(0.0), None]);
        check(Counted::changes(), &samples, reach, &[Some(0.0), Some(0.0), None]);
    }
}
