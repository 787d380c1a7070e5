//! The `*_over_time` functions.

use std::collections::VecDeque;

use cupola_storage::Samples;

use super::histograms::{mean_of, sum_of, unmixed};
use super::{About, Kernel, MixedWindow, Window};
use crate::column::Column;
use crate::numeric::{self, Mean, kahan_add, sums_exactly};

/// `sum_over_time`. Constant per window where all values are whole and small, else a compensated sum of each.
#[derive(Default)]
pub(crate) struct Sum {
    prefix: Prefix,
}

/// `avg_over_time`, as [`Sum`].
#[derive(Default)]
pub(crate) struct Average {
    prefix: Prefix,
}

// Sums of the first n values, kept only where they are exact.
#[derive(Default)]
struct Prefix {
    sums: Vec<f64>,
}

impl Prefix {
    fn begin(&mut self, samples: &Samples) {
        self.sums.clear();
        if sums_exactly(&samples.values) {
            let mut total = 0.0;
            self.sums.push(total);
            self.sums.extend(samples.values.iter().map(|value| {
                total += value;
                total
            }));
        }
    }

    fn sum(&self, window: &Window) -> Option<f64> {
        Some(self.sums.get(window.hi)? - self.sums.get(window.lo)?)
    }
}

fn compensated_sum(values: &[f64]) -> f64 {
    let (mut sum, mut c) = (0.0, 0.0);
    for value in values {
        (sum, c) = kahan_add(*value, sum, c);
    }
    if sum.is_infinite() { sum } else { sum + c }
}

fn mean(values: &[f64]) -> Option<f64> {
    let (first, rest) = values.split_first()?;
    let mut mean = Mean::first(*first);
    rest.iter().for_each(|value| mean.add(*value));
    Some(mean.value())
}

impl Kernel for Sum {
    fn run_mixed(&mut self, samples: &Samples, windows: &[MixedWindow], out: &mut Column, about: &mut About<'_, '_>) {
        unmixed(self, samples, windows, out, about, |histograms, _, about| {
            sum_of(histograms, about)
        });
    }

    fn begin(&mut self, samples: &Samples) {
        self.prefix.begin(samples);
    }

    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]) {
        for window in windows {
            if let Some(slot) = out.get_mut(window.step) {
                *slot = self
                    .prefix
                    .sum(window)
                    .unwrap_or_else(|| compensated_sum(window.values(samples)));
            }
        }
    }
}

impl Kernel for Average {
    fn run_mixed(&mut self, samples: &Samples, windows: &[MixedWindow], out: &mut Column, about: &mut About<'_, '_>) {
        unmixed(self, samples, windows, out, about, |histograms, _, about| {
            mean_of(histograms, about)
        });
    }

    fn begin(&mut self, samples: &Samples) {
        self.prefix.begin(samples);
    }

    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]) {
        for window in windows {
            let exact = self.prefix.sum(window).map(|sum| sum / window.len() as f64);
            if let (Some(value), Some(slot)) =
                (exact.or_else(|| mean(window.values(samples))), out.get_mut(window.step))
            {
                *slot = value;
            }
        }
    }
}

/// `max_over_time`, `min_over_time` and the functions that give the time of the extreme: a queue of candidates, so
/// that every sample is looked at once however long the windows are.
pub(crate) struct Extreme {
    sign: f64,
    want_time: bool,
    // Positions; their values fall (times `sign`) from front to back.
    queue: VecDeque<usize>,
    seen: usize,
}

impl Extreme {
    /// `largest` or smallest; `want_time` gives the time in seconds of the last of equal extremes.
    pub(crate) fn new(largest: bool, want_time: bool) -> Self {
        Self {
            sign: if largest { 1.0 } else { -1.0 },
            want_time,
            queue: VecDeque::new(),
            seen: 0,
        }
    }

    fn take(&mut self, samples: &Samples, upto: usize) {
        while self.seen < upto {
            let value = samples.values[self.seen] * self.sign;
            // NaN is no candidate: it counts only where there is nothing else.
            if !value.is_nan() {
                let want_time = self.want_time;
                let beaten = |at: &usize| {
                    let other = samples.values[*at] * self.sign;
                    // Of equal extremes the time of the last is wanted, but the value of the first.
                    other < value || (want_time && other == value)
                };
                while self.queue.back().is_some_and(&beaten) {
                    self.queue.pop_back();
                }
                self.queue.push_back(self.seen);
            }
            self.seen += 1;
        }
    }
}

impl Kernel for Extreme {
    fn begin(&mut self, _samples: &Samples) {
        self.queue.clear();
        self.seen = 0;
    }

    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]) {
        for window in windows {
            self.take(samples, window.hi);
            while self.queue.front().is_some_and(|at| *at < window.lo) {
                self.queue.pop_front();
            }
            // Only NaN: the comparison upstream moves on to each later one, so the last counts.
            let at = self.queue.front().copied().unwrap_or(window.hi - 1);
            if let Some(slot) = out.get_mut(window.step) {
                *slot = if self.want_time {
                    samples.ts[at] as f64 / 1000.0
                } else {
                    samples.values[at]
                };
            }
        }
    }
}

/// The variance of a window, by Welford's method with compensated sums.
pub(crate) fn spread(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let (mut mean, mut mean_c) = (0.0, 0.0);
    let (mut aux, mut aux_c) = (0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - (mean + mean_c);
        (mean, mean_c) = kahan_add(delta / count, mean, mean_c);
        (aux, aux_c) = kahan_add(delta * (value - (mean + mean_c)), aux, aux_c);
    }
    (aux + aux_c) / count
}

/// The `q`-quantile of a window; `scratch` is reused.
pub(crate) fn quantile_over_time(q: f64, values: &[f64], scratch: &mut Vec<f64>) -> f64 {
    scratch.clear();
    scratch.extend_from_slice(values);
    numeric::quantile(q, scratch)
}

/// The median of the distances from the median; NaN if any value is.
pub(crate) fn mad(values: &[f64], scratch: &mut Vec<f64>) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let median = quantile_over_time(0.5, values, scratch);
    scratch.clear();
    scratch.extend(values.iter().map(|value| (value - median).abs()));
    numeric::quantile(0.5, scratch)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{run, samples};
    use super::super::{Counted, PerWindow, Reach};
    use super::*;
    use crate::grid::Grid;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-20_i32..20).prop_map(f64::from),
            2 => -1e6_f64..1e6,
            1 => Just(f64::NAN),
            1 => Just(f64::INFINITY),
            1 => Just(1e300),
        ]
    }

    fn series() -> impl Strategy<Value = Samples> {
        prop::collection::vec((1_i64..30, value()), 0..60).prop_map(|steps| {
            let mut out = Samples::default();
            let mut t = 0;
            for (gap, value) in steps {
                t += gap;
                out.push(t, value);
            }
            out
        })
    }

    fn same(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len()
            && a.iter().zip(b).all(|(x, y)| {
                x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-9 * x.abs().max(y.abs())
            })
    }

    // What the documentation says, window by window.
    fn naive(name: &str, values: &[f64]) -> f64 {
        match name {
            "sum" => compensated_sum(values),
            "avg" => mean(values).unwrap(),
            "max" => values.iter().copied().fold(f64::NAN, f64::max),
            "min" => values.iter().copied().fold(f64::NAN, f64::min),
            "resets" => values.windows(2).filter(|p| p[1] < p[0]).count() as f64,
            _ => values
                .windows(2)
                .filter(|p| p[1] != p[0] && !(p[0].is_nan() && p[1].is_nan()))
                .count() as f64,
        }
    }

    proptest! {
        #[test]
        fn kernels_agree_with_a_naive_evaluation(all in series(), range in 1_i64..200, step in 1_i64..50) {
            let grid = Grid::range(0, 600, step);
            let reach = Reach { range, before: 0, after: 0 };
            let kernels: [(&str, Box<dyn Kernel>); 6] = [
                ("sum", Box::new(Sum::default())),
                ("avg", Box::new(Average::default())),
                ("max", Box::new(Extreme::new(true, false))),
                ("min", Box::new(Extreme::new(false, false))),
                ("resets", Box::new(Counted::resets())),
                ("changes", Box::new(Counted::changes())),
            ];
            for (name, mut kernel) in kernels {
                let got = run(kernel.as_mut(), &all, grid, reach);
                let mut slow = PerWindow(|all: &Samples, window: &Window| Some(naive(name, window.values(all))));
                let expected = run(&mut slow, &all, grid, reach);
                prop_assert!(same(&got, &expected), "{name}: {got:?} instead of {expected:?}");
            }
        }
    }

    #[test]
    fn the_time_of_an_extreme_is_that_of_the_last_equal_one() {
        let all = samples(&[(1000, 1.0), (2000, 6.0), (3000, 6.0), (4000, 0.0)]);
        let reach = Reach {
            range: 4000,
            before: 0,
            after: 0,
        };
        assert_eq!(
            run(&mut Extreme::new(true, true), &all, Grid::single(4000), reach),
            [3.0]
        );
        assert_eq!(
            run(&mut Extreme::new(false, true), &all, Grid::single(4000), reach),
            [4.0]
        );
    }

    #[test]
    fn spread_of_equal_values_is_zero() {
        assert_eq!(spread(&[1.599_050_563_727_786_8; 3]), 0.0);
        assert!((spread(&[0.0, 8.0, 8.0, 2.0, 3.0]) - 10.56).abs() < 1e-12);
    }

    #[test]
    fn mad_is_the_median_distance() {
        let mut scratch = Vec::new();
        assert_eq!(mad(&[4.0, 6.0, 2.0, 1.0, 999.0, 1.0, 2.0], &mut scratch), 1.0);
        assert!(mad(&[1.0, 2.0, f64::NAN, 4.0], &mut scratch).is_nan());
    }
}
