//! `deriv`, `predict_linear`, `double_exponential_smoothing`.

use cupola_storage::Samples;

use super::{About, Kernel, MixedWindow, Window};
use crate::column::{Column, Scalar};
use crate::numeric::Sums;

/// The least-squares line through the window: its slope per second and its value at `at_ms`. `None` below two samples.
pub(crate) fn linear_regression(samples: &Samples, window: &Window, at_ms: Option<i64>) -> Option<(f64, f64)> {
    let (values, times) = (window.values(samples), window.times(samples));
    let ([first, rest @ ..], Some(first_t)) = (values, times.first()) else {
        return None;
    };
    if rest.is_empty() {
        return None;
    }
    if rest.iter().all(|value| value == first) {
        return Some(if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, *first)
        });
    }
    // A reference near the samples keeps the squares small.
    let reference = at_ms.unwrap_or(*first_t);
    let n = values.len() as f64;
    let mut sums = Sums::new();
    for (t, y) in times.iter().zip(values) {
        let x = (t - reference) as f64 / 1000.0;
        sums.add([x, *y, x * y, x * x]);
    }
    let [x, y, xy, xx] = sums.values();
    let slope = (xy - x * y / n) / (xx - x * x / n);
    Some((slope, y / n - slope * x / n))
}

/// `double_exponential_smoothing`.
pub(crate) struct Smoothing {
    factor: Scalar,
    trend: Scalar,
    // The first factor outside of its limits that a window was to be smoothed with.
    wrong: Option<(&'static str, &'static str, f64)>,
}

impl Smoothing {
    pub(crate) fn new(factor: Scalar, trend: Scalar) -> Self {
        Self {
            factor,
            trend,
            wrong: None,
        }
    }

    /// What was wrong with the factors.
    pub(crate) fn error(&self) -> Option<String> {
        let (name, short, value) = self.wrong?;
        Some(format!(
            "invalid {name} factor. Expected: 0 < {short} < 1, got: {}",
            if value.is_finite() {
                format!("{value:.6}")
            } else {
                cupola_model::fmt_f64_g(value)
            }
        ))
    }

    fn check(&mut self, step: usize) {
        let outside = |value: f64| value <= 0.0 || value >= 1.0;
        let (factor, trend) = (self.factor.at(step), self.trend.at(step));
        if outside(factor) {
            self.wrong.get_or_insert(("smoothing", "sf", factor));
        } else if outside(trend) {
            self.wrong.get_or_insert(("trend", "tf", trend));
        }
    }
}

impl Kernel for Smoothing {
    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]) {
        for window in windows {
            self.check(window.step);
            let value = smoothing(
                window.values(samples),
                self.factor.at(window.step),
                self.trend.at(window.step),
            );
            if let (Some(value), Some(slot)) = (value, out.get_mut(window.step)) {
                *slot = value;
            }
        }
    }

    fn run_mixed(&mut self, samples: &Samples, windows: &[MixedWindow], out: &mut Column, about: &mut About<'_, '_>) {
        // The factors must be right even where there is nothing to smooth.
        for window in windows {
            self.check(window.floats.step);
        }
        self.run_floats(samples, windows, out, about);
    }
}

/// Holt's double exponential smoothing of the window. `None` below two samples.
fn smoothing(values: &[f64], smoothing: f64, trend: f64) -> Option<f64> {
    let [first, second, ..] = values else { return None };
    let (mut before, mut level, mut slope) = (0.0, *first, second - first);
    for (i, value) in values.iter().skip(1).enumerate() {
        if i > 0 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + slope);
        (before, level) = (level, next);
    }
    Some(level)
}

#[cfg(test)]
mod tests {
    use super::super::Reach;
    use super::super::testing::{histogram, mixed, run_mixed, samples};
    use super::*;
    use crate::grid::Grid;

    #[test]
    fn a_straight_line_is_found() {
        let all = samples(&[(0, 0.0), (300_000, 80.0), (600_000, 160.0)]);
        let window = Window {
            lo: 0,
            hi: 3,
            start: -1,
            end: 600_000,
            step: 0,
        };
        let (slope, at_end) = linear_regression(&all, &window, Some(600_000)).unwrap();
        assert!((slope - 80.0 / 300.0).abs() < 1e-12 && (at_end - 160.0).abs() < 1e-9);
        assert_eq!(linear_regression(&all, &Window { lo: 2, ..window }, None), None);
    }

    #[test]
    fn a_constant_has_no_slope_and_infinity_has_no_answer() {
        let flat = samples(&[(0, 3.0), (1000, 3.0)]);
        let window = Window {
            lo: 0,
            hi: 2,
            start: -1,
            end: 1000,
            step: 0,
        };
        assert_eq!(linear_regression(&flat, &window, None), Some((0.0, 3.0)));
        let inf = samples(&[(0, f64::INFINITY), (1000, f64::INFINITY)]);
        assert!(linear_regression(&inf, &window, None).unwrap().0.is_nan());
    }

    #[test]
    fn factors_must_be_right_even_where_there_are_only_histograms() {
        let all = mixed([(1000, histogram(1.0)), (2000, histogram(2.0))]);
        let reach = Reach {
            range: 5000,
            before: 0,
            after: 0,
        };
        for (factor, trend, error) in [
            (0.5, 0.5, None),
            (
                0.0,
                2.0,
                Some("invalid smoothing factor. Expected: 0 < sf < 1, got: 0.000000"),
            ),
            (
                0.5,
                1.0,
                Some("invalid trend factor. Expected: 0 < tf < 1, got: 1.000000"),
            ),
        ] {
            let mut kernel = Smoothing::new(Scalar::Constant(factor), Scalar::Constant(trend));
            let (column, _) = run_mixed(&mut kernel, &all, Grid::single(2000), reach);
            assert!(column.is_empty());
            assert_eq!(kernel.error().as_deref(), error);
        }
    }

    #[test]
    fn smoothing_follows_a_straight_line() {
        let line: Vec<f64> = (0..10).map(|i| f64::from(i) * 10.0).collect();
        assert!((smoothing(&line, 0.01, 0.1).unwrap() - 90.0).abs() < 1e-9);
        assert_eq!(smoothing(&[1.0], 0.5, 0.5), None);
    }
}
