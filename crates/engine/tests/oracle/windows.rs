//! Functions of one window of samples.

use super::eval::Windows;
use super::numbers::{Compensated, mean, quantile, window_variance};

/// What `name` makes of `points`, which are not empty; `t` is the time of evaluation, `param` the scalar argument.
pub fn over_window(name: &str, points: &[(i64, f64)], edges: &Windows, t: i64, param: f64, second: f64) -> Option<f64> {
    let values = || points.iter().map(|(_, value)| *value);
    let pairs = || points.iter().zip(&points[1..]).map(|((_, a), (_, b))| (*a, *b));
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let count = points.len() as f64;
    Some(match name {
        "rate" | "increase" | "delta" => return extrapolated(name, points, edges),
        "irate" | "idelta" => {
            let [.., (t1, a), (t2, b)] = points else { return None };
            if name == "idelta" {
                b - a
            } else {
                (if b < a { *b } else { b - a }) / seconds(t2 - t1)
            }
        }
        "sum_over_time" => values().fold(Compensated::new(0.0), Compensated::plus).total(),
        "avg_over_time" => mean(&values().collect::<Vec<_>>()),
        "min_over_time" => values().reduce(|low, v| if v < low || low.is_nan() { v } else { low })?,
        "max_over_time" => values().reduce(|top, v| if v > top || top.is_nan() { v } else { top })?,
        "count_over_time" => count,
        "present_over_time" => 1.0,
        "first_over_time" => points.first()?.1,
        "last_over_time" => points.last()?.1,
        "stdvar_over_time" => window_variance(&values().collect::<Vec<_>>()),
        "stddev_over_time" => window_variance(&values().collect::<Vec<_>>()).sqrt(),
        "quantile_over_time" => quantile(param, values().collect()),
        "mad_over_time" if values().any(f64::is_nan) => f64::NAN,
        "mad_over_time" => {
            let median = quantile(0.5, values().collect());
            quantile(0.5, values().map(|v| (v - median).abs()).collect())
        }
        "changes" => pairs().filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64,
        "resets" => pairs().filter(|(a, b)| b < a).count() as f64,
        "deriv" => line(points, points.first()?.0)?.0,
        "predict_linear" => {
            let (slope, now) = line(points, t)?;
            slope * param + now
        }
        "double_exponential_smoothing" => return smoothed(points, param, second),
        "ts_of_first_over_time" => seconds(points.first()?.0),
        "ts_of_last_over_time" => seconds(points.last()?.0),
        // Of equal extremes the last one counts.
        "ts_of_min_over_time" => seconds(extreme(points, |v, low| v <= low)?),
        "ts_of_max_over_time" => seconds(extreme(points, |v, top| v >= top)?),
        other => panic!("the generator writes no {other}()"),
    })
}

fn extreme(points: &[(i64, f64)], better: impl Fn(f64, f64) -> bool) -> Option<i64> {
    let found = points.iter().copied().reduce(|best, next| {
        if better(next.1, best.1) || best.1.is_nan() {
            next
        } else {
            best
        }
    });
    found.map(|(at, _)| at)
}

// The growth inside the window, spread to its edges where the samples come close enough to them.
fn extrapolated(name: &str, points: &[(i64, f64)], edges: &Windows) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < 2 {
        return None;
    }
    let is_counter = name != "delta";
    let mut growth = last.1 - first.1;
    if is_counter {
        for ((_, before), (_, after)) in points.iter().zip(&points[1..]) {
            if after < before {
                growth += before;
            }
        }
    }
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let sampled = seconds(last.0 - first.0);
    let average = sampled / (points.len() - 1) as f64;
    let near = |gap: f64| if gap >= average * 1.1 { average / 2.0 } else { gap };
    let mut to_start = near(seconds(first.0 - edges.from));
    let to_end = near(seconds(edges.to - last.0));
    // A counter was not below zero.
    if is_counter && growth > 0.0 && first.1 >= 0.0 {
        to_start = to_start.min(sampled * (first.1 / growth));
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if name == "rate" {
        factor /= seconds(edges.to - edges.from);
    }
    Some(growth * factor)
}

// Least squares: the slope, and the line's value at `origin`.
fn line(points: &[(i64, f64)], origin: i64) -> Option<(f64, f64)> {
    let first = points.first()?.1;
    if points.len() < 2 {
        return None;
    }
    if points.iter().all(|(_, y)| *y == first) {
        return Some(if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        });
    }
    let sum = |of: &dyn Fn(f64, f64) -> f64| {
        let terms = points.iter().map(|(t, y)| of((t - origin) as f64 / 1000.0, *y));
        terms.fold(Compensated::new(0.0), Compensated::plus).total()
    };
    let n = points.len() as f64;
    let (x, y) = (sum(&|x, _| x), sum(&|_, y| y));
    let covariance = sum(&|x, y| x * y) - x * y / n;
    let spread = sum(&|x, _| x * x) - x * x / n;
    let slope = covariance / spread;
    Some((slope, y / n - slope * x / n))
}

fn smoothed(points: &[(i64, f64)], factor: f64, trend_factor: f64) -> Option<f64> {
    let [(_, first), (_, second), ..] = points else {
        return None;
    };
    let (mut level, mut trend) = (*first, second - first);
    for (_, value) in &points[1..] {
        let before = level;
        level = factor * value + (1.0 - factor) * (level + trend);
        trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
    }
    Some(level)
}
