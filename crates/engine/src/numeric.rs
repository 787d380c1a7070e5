//! Sums, means and quantiles as Prometheus computes them.

/// Adds `inc` to `sum` with Neumaier's compensation `c`. An infinite sum has no compensation.
///
/// Knuth's form, which gives the same error without asking which of the two is larger.
#[inline]
pub(crate) fn kahan_add(inc: f64, sum: f64, c: f64) -> (f64, f64) {
    let total = sum + inc;
    if total.is_infinite() {
        return (total, 0.0);
    }
    (total, c + lost(inc, sum, total))
}

// What was lost when `inc` was added to `sum`.
#[inline(always)]
fn lost(inc: f64, sum: f64, total: f64) -> f64 {
    let added = total - sum;
    (sum - (total - added)) + (inc - added)
}

/// Several compensated sums at once, of as many terms each time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sums<const N: usize> {
    sums: [f64; N],
    compensations: [f64; N],
}

impl<const N: usize> Sums<N> {
    pub(crate) fn new() -> Self {
        Self {
            sums: [0.0; N],
            compensations: [0.0; N],
        }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, terms: [f64; N]) {
        for ((sum, c), term) in self.sums.iter_mut().zip(&mut self.compensations).zip(terms) {
            let total = *sum + term;
            *c += lost(term, *sum, total);
            *sum = total;
        }
    }

    /// What [`kahan_add`] gives, term by term. An infinite sum stays so, or becomes NaN.
    pub(crate) fn values(self) -> [f64; N] {
        let mut values = self.sums;
        for (value, c) in values.iter_mut().zip(self.compensations) {
            if !value.is_infinite() {
                *value += c;
            }
        }
        values
    }
}

/// A running mean: direct as long as the sum does not overflow, incremental afterwards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mean {
    sum: f64,
    c: f64,
    mean: f64,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub(crate) fn first(value: f64) -> Self {
        Self {
            sum: value,
            c: 0.0,
            mean: 0.0,
            count: 1.0,
            incremental: false,
        }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let (sum, c) = kahan_add(value, self.sum, self.c);
            if !sum.is_infinite() {
                (self.sum, self.c) = (sum, c);
                return;
            }
            self.incremental = true;
            self.mean = self.sum / (self.count - 1.0);
            self.c /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        (self.mean, self.c) = kahan_add(value / self.count, share * self.mean, share * self.c);
    }

    pub(crate) fn value(&self) -> f64 {
        if self.incremental {
            self.mean + self.c
        } else {
            self.sum / self.count + self.c / self.count
        }
    }
}

/// The `q`-quantile, interpolated between neighbours; sorts `values`, NaN counts as the smallest.
///
/// NaN where there are no values or `q` is NaN, -Inf below 0, +Inf above 1.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor();
    let weight = rank - lower;
    let at = (lower as usize).min(values.len() - 1);
    // Only the two neighbours of the rank need to be in place, not the whole order.
    let (_, low, above) = values.select_nth_unstable_by(at, nan_first);
    let low = *low;
    let high = above.iter().copied().min_by(nan_first).unwrap_or(low);
    low * (1.0 - weight) + high * weight
}

/// Ascending, NaN before everything.
pub(crate) fn nan_first(a: &f64, b: &f64) -> std::cmp::Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// Go's `math.Max`: NaN if either is, but +Inf wins over NaN.
pub(crate) fn go_max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// Go's `math.Min`: NaN if either is, but -Inf wins over NaN.
pub(crate) fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}

/// Whether all values are whole and their sums stay below 2^53, so that plain sums of any part are exact.
pub(crate) fn sums_exactly(values: &[f64]) -> bool {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    let mut total = 0.0;
    for value in values {
        // NaN and infinities fail both comparisons.
        if value.trunc() != *value || (*value == 0.0 && value.is_sign_negative()) {
            return false;
        }
        total += value.abs();
        if total >= LIMIT || total.is_nan() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_are_those_of_neumaier(terms in proptest::collection::vec(prop_oneof![
            any::<f64>(), -1e3..1e3, Just(1e100), Just(-1e100), Just(f64::INFINITY), Just(f64::NAN), Just(f64::MAX)
        ], 0..30)) {
            let (mut sum, mut c) = (0.0_f64, 0.0);
            let (mut ours, mut many) = ((0.0, 0.0), Sums::<2>::new());
            for term in terms {
                let total = sum + term;
                if total.is_infinite() {
                    c = 0.0;
                } else if sum.abs() >= term.abs() {
                    c += (sum - total) + term;
                } else {
                    c += (term - total) + sum;
                }
                sum = total;
                ours = kahan_add(term, ours.0, ours.1);
                many.add([term, 1.0]);
            }
            let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            prop_assert!(same(ours.0 + ours.1, sum + c), "{ours:?} {sum} {c}");
            prop_assert!(same(many.values()[0], sum + c), "{many:?} {sum} {c}");
        }
    }

    #[test]
    fn sums_survive_large_values_that_cancel() {
        let (mut sum, mut c) = (0.0, 0.0);
        for value in [1.0, 1e100, 1.0, -1e100] {
            (sum, c) = kahan_add(value, sum, c);
        }
        assert_eq!(sum + c, 2.0);
    }

    #[test]
    fn a_mean_does_not_overflow() {
        let big = f64::MAX / 1.8;
        let mut mean = Mean::first(big);
        (0..3).for_each(|_| mean.add(big));
        assert!((mean.value() / big - 1.0).abs() < 1e-12);
    }

    #[test]
    fn quantiles_interpolate_and_take_nan_as_the_smallest() {
        assert!((quantile(0.8, &mut [4.0, 0.0, 1.0]) - 2.8).abs() < 1e-12);
        assert_eq!(quantile(0.5, &mut [1.0]), 1.0);
        assert!((quantile(0.8, &mut [0.0, 1.0, f64::NAN]) - 0.6).abs() < 1e-12);
        assert!(quantile(0.2, &mut [0.0, 1.0, f64::NAN]).is_nan());
        assert_eq!(quantile(2.0, &mut [1.0]), f64::INFINITY);
        assert!(quantile(0.5, &mut []).is_nan());
    }

    #[test]
    fn only_whole_numbers_sum_exactly() {
        assert!(sums_exactly(&[1.0, 2.0, -3.0]));
        for values in [
            [0.5, 1.0],
            [f64::NAN, 1.0],
            [f64::INFINITY, 1.0],
            [9e15, 9e15],
            [-0.0, 1.0],
        ] {
            assert!(!sums_exactly(&values), "{values:?}");
        }
    }
}
