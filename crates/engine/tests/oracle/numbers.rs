//! Sums, means and quantiles, as the documentation tells them.

/// A sum that remembers what rounding took away (Neumaier).
#[derive(Clone, Copy)]
pub struct Compensated {
    sum: f64,
    lost: f64,
}

impl Compensated {
    pub fn new(first: f64) -> Self {
        Self { sum: first, lost: 0.0 }
    }

    pub fn plus(self, value: f64) -> Self {
        let sum = self.sum + value;
        if sum.is_infinite() {
            return Self { sum, lost: 0.0 };
        }
        let lost = if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        Self {
            sum,
            lost: self.lost + lost,
        }
    }

    pub fn total(self) -> f64 {
        self.sum + self.lost
    }
}

/// The mean; sums that overflow are avoided by keeping a running mean.
pub fn mean(values: &[f64]) -> f64 {
    let mut sum = Compensated::new(values[0]);
    for (done, value) in values.iter().enumerate().skip(1) {
        let next = sum.plus(*value);
        if next.sum.is_infinite() {
            return running_mean(sum, done, &values[done..]);
        }
        sum = next;
    }
    let count = values.len() as f64;
    sum.sum / count + sum.lost / count
}

fn running_mean(sum: Compensated, done: usize, rest: &[f64]) -> f64 {
    let scale = |sum: Compensated, by: f64| Compensated {
        sum: sum.sum * by,
        lost: sum.lost * by,
    };
    let mut mean = scale(sum, 1.0 / done as f64);
    for (index, value) in rest.iter().enumerate() {
        let count = (done + index + 1) as f64;
        mean = scale(mean, (count - 1.0) / count).plus(value / count);
    }
    mean.total()
}

/// The population variance of aggregations (Welford).
pub fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (0.0, 0.0);
    for (index, value) in values.iter().enumerate() {
        let from_old = value - mean;
        mean += from_old / (index + 1) as f64;
        squares += from_old * (value - mean);
    }
    squares / values.len() as f64
}

/// The population variance of a window: the same with compensated sums.
pub fn window_variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Compensated::new(0.0), Compensated::new(0.0));
    for (index, value) in values.iter().enumerate() {
        let from_old = value - mean.total();
        mean = mean.plus(from_old / (index + 1) as f64);
        squares = squares.plus(from_old * (value - mean.total()));
    }
    squares.total() / values.len() as f64
}

/// The `q`-quantile, between the two nearest ranks; NaN counts as the smallest.
pub fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| {
        let nan_first = b.is_nan().cmp(&a.is_nan());
        nan_first.then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
    });
    let rank = q * (values.len() - 1) as f64;
    let below = rank.floor() as usize;
    let above = (below + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[below] * (1.0 - weight) + values[above] * weight
}

/// Orders values with NaN at the end.
pub fn ascending(a: f64, b: f64) -> std::cmp::Ordering {
    let nan_last = a.is_nan().cmp(&b.is_nan());
    nan_last.then(a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal))
}

/// The other way round, NaN at the end, too.
pub fn descending(a: f64, b: f64) -> std::cmp::Ordering {
    let nan_last = a.is_nan().cmp(&b.is_nan());
    nan_last.then(b.partial_cmp(&a).unwrap_or(std::cmp::Ordering::Equal))
}
