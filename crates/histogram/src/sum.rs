//! Sums and means that keep what floats lose: Neumaier's compensated summation, for every number of a histogram.

use crate::arithmetic::{Incompatible, Reconciled};
use crate::combine::{Extra, combine};
use crate::float::{CounterResetHint, FloatHistogram};

/// One step of a compensated sum (upstream `kahansum.Inc`): the new sum, and the new part that it could not hold.
#[inline]
pub(crate) fn add_to(sum: f64, rest: f64, value: f64) -> (f64, f64) {
    let new = sum + value;
    let rest = if new.is_infinite() {
        0.0
    } else if sum.abs() >= value.abs() {
        rest + ((sum - new) + value)
    } else {
        rest + ((value - new) + sum)
    };
    (new, rest)
}

/// What the floats of a running sum lost; bucket for bucket as in the sum.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rest {
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) zero_count: f64,
    pub(crate) positive: Vec<f64>,
    pub(crate) negative: Vec<f64>,
}

impl Rest {
    fn scale(&mut self, with: impl Fn(f64) -> f64) {
        self.count = with(self.count);
        self.sum = with(self.sum);
        self.zero_count = with(self.zero_count);
        for rest in self.positive.iter_mut().chain(&mut self.negative) {
            *rest = with(*rest);
        }
    }

    // Folds what was lost back in (upstream's last `Add` of the compensation).
    fn flush_into(&self, h: &mut FloatHistogram) {
        h.count += self.count;
        h.sum += self.sum;
        h.zero_count += self.zero_count;
        for (count, rest) in h.positive_buckets.iter_mut().zip(&self.positive) {
            *count += rest;
        }
        for (count, rest) in h.negative_buckets.iter_mut().zip(&self.negative) {
            *count += rest;
        }
    }
}

/// Which hints the histograms of an aggregation had; both at once is worth a warning, in whatever order they came.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    reset: bool,
    no_reset: bool,
}

impl Seen {
    fn note(&mut self, hint: CounterResetHint) {
        self.reset |= hint == CounterResetHint::CounterReset;
        self.no_reset |= hint == CounterResetHint::NotCounterReset;
    }

    fn collides(self) -> bool {
        self.reset && self.no_reset
    }
}

/// The sum of many histograms (upstream `KahanAdd`, as `sum` and `sum_over_time` use it).
#[derive(Debug, Clone)]
pub struct HistogramSum {
    sum: FloatHistogram,
    rest: Rest,
    seen: Seen,
}

impl HistogramSum {
    /// Starts with one histogram.
    #[must_use]
    pub fn new(first: &FloatHistogram) -> Self {
        let mut seen = Seen::default();
        seen.note(first.counter_reset_hint);
        Self {
            sum: first.clone(),
            rest: Rest::default(),
            seen,
        }
    }

    /// Adds one; see [`FloatHistogram::add`]. A collision of reset hints is told when any two of all histograms so far
    /// contradict each other, as upstream's aggregations count it.
    ///
    /// # Errors
    /// [`Incompatible`]; the sum is unchanged then.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Reconciled, Incompatible> {
        let mut told = combine(&mut self.sum, &mut Extra::Rest(&mut self.rest), other, 1.0)?;
        self.seen.note(other.counter_reset_hint);
        told.counter_reset_collision |= self.seen.collides();
        Ok(told)
    }

    /// The sum. Its layout is as additions left it: `sum` compacts it afterwards, `sum_over_time` does not.
    #[must_use]
    pub fn value(&self) -> FloatHistogram {
        let mut sum = self.sum.clone();
        self.rest.flush_into(&mut sum);
        sum
    }
}

/// The mean of many histograms (upstream `avg` and `avg_over_time`): a sum that is divided in the end, or, once that sum
/// leaves the range of floats, a mean that is carried along.
#[derive(Debug, Clone)]
pub struct HistogramMean {
    sum: HistogramSum,
    // Number of histograms so far.
    number: f64,
    // Whether `sum` is the mean already.
    incremental: bool,
}

impl HistogramMean {
    /// Starts with one histogram.
    #[must_use]
    pub fn new(first: &FloatHistogram) -> Self {
        Self {
            sum: HistogramSum::new(first),
            number: 1.0,
            incremental: false,
        }
    }

    /// Takes one more; see [`HistogramSum::add`].
    ///
    /// # Errors
    /// [`Incompatible`]; the mean is unchanged then.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Reconciled, Incompatible> {
        if self.sum.sum.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(Incompatible);
        }
        let number = self.number + 1.0;
        if !self.incremental {
            // Only near the end of the range a copy is needed to go back to.
            let before = may_overflow(&self.sum.sum, other).then(|| self.sum.clone());
            let told = self.sum.add(other)?;
            match before {
                Some(before) if has_overflow(&self.sum.sum) => {
                    self.sum = before;
                    self.incremental = true;
                    self.sum.sum.div(self.number);
                    let divisor = self.number;
                    self.sum.rest.scale(|rest| rest / divisor);
                }
                _ => {
                    self.number = number;
                    return Ok(told);
                }
            }
        }
        let weight = (number - 1.0) / number;
        self.sum.sum.mul(weight);
        self.sum.rest.scale(|rest| rest * weight);
        let mut part = other.clone();
        part.div(number);
        self.number = number;
        self.sum.add(&part)
    }

    /// The mean. Its layout is as additions left it: `avg` compacts it afterwards, `avg_over_time` does not.
    #[must_use]
    pub fn value(&self) -> FloatHistogram {
        if self.incremental {
            return self.sum.value();
        }
        let mut mean = self.sum.sum.clone();
        mean.div(self.number);
        let mut rest = self.sum.rest.clone();
        rest.scale(|rest| rest / self.number);
        rest.flush_into(&mut mean);
        mean
    }
}

fn numbers(h: &FloatHistogram) -> impl Iterator<Item = f64> + '_ {
    let buckets = h.positive_buckets.iter().chain(&h.negative_buckets).copied();
    [h.count, h.sum, h.zero_count].into_iter().chain(buckets)
}

/// Whether a number of it is infinite (upstream `HasOverflow`).
fn has_overflow(h: &FloatHistogram) -> bool {
    numbers(h).any(f64::is_infinite)
}

/// Whether adding the two, in whatever layout, can reach infinity: no number can grow beyond the sum of all.
fn may_overflow(a: &FloatHistogram, b: &FloatHistogram) -> bool {
    let known = numbers(a).chain(numbers(b)).filter(|number| !number.is_nan());
    known.map(f64::abs).sum::<f64>() >= f64::MAX / 4.0
}
