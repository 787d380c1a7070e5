//! `deriv` and `predict_linear` over many windows of a series: running sums that every window is a difference of.
//!
//! Windows overlap, and looking at each by itself costs their whole length every time. Sums from the beginning of the
//! series lose digits where two of them are subtracted; kept exactly (times are whole numbers) or with twice the digits
//! of a float (values), what is left is more precise than [`linear_regression`], which is upstream's way.

use cupola_storage::Samples;

use super::{Kernel, Window, linear_regression};

// Running sums are worth it where windows hold each sample so many times.
const WORTH: usize = 8;
// 64 bytes for each sample; longer series are done window by window.
const MOST_SAMPLES: usize = 64 * 1024;
// Beyond, products and their errors leave the range of floats.
const LARGEST_VALUE: f64 = 1e100;
// About two years in milliseconds; squares of these, summed up, stay far inside of 128 bits.
const LONGEST_MS: i64 = 1 << 36;

/// A line through each window: `at` says at which time its value is wanted, `None` the first sample's; `take` makes the
/// result of slope per second and value.
pub(crate) struct Lines<A, T> {
    at: A,
    take: T,
    sums: Vec<Running>,
    is_ready: bool,
}

// Sums of the samples before one: of times in milliseconds since the first, of values, of products.
#[derive(Debug, Clone, Copy, Default)]
struct Running {
    x: i64,
    xx: i128,
    y: Wide,
    xy: Wide,
    // Where the run of equal values begins that the sample before belongs to.
    same_from: usize,
}

impl<A, T> Lines<A, T>
where
    A: Fn(&Window) -> Option<i64>,
    T: Fn(&Window, f64, f64) -> f64,
{
    pub(crate) fn new(at: A, take: T) -> Self {
        Self {
            at,
            take,
            sums: Vec::new(),
            is_ready: false,
        }
    }

    // Whether the running sums can be used for these windows; they are there then.
    fn prepare(&mut self, samples: &Samples, windows: &[Window]) -> bool {
        if self.is_ready {
            return true;
        }
        let (Some(first), Some(last)) = (samples.ts.first(), samples.ts.last()) else {
            return false;
        };
        let (Some(first_window), Some(last_window)) = (windows.first(), windows.last()) else {
            return false;
        };
        let held: usize = windows.iter().map(Window::len).sum();
        let spanned = last_window.hi - first_window.lo;
        let fits = samples.len() <= MOST_SAMPLES && last.saturating_sub(*first) < LONGEST_MS;
        let is_tame = |value: &f64| value.abs() < LARGEST_VALUE;
        if !fits || held < spanned * WORTH || !samples.values.iter().all(is_tame) {
            return false;
        }
        self.sums.clear();
        self.sums.reserve(samples.len() + 1);
        let mut sum = Running::default();
        self.sums.push(sum);
        let mut before = f64::NAN;
        for (at, (t, y)) in samples.ts.iter().zip(&samples.values).enumerate() {
            let x = t - first;
            if *y != before {
                (sum.same_from, before) = (at, *y);
            }
            sum.x += x;
            sum.xx += i128::from(x) * i128::from(x);
            sum.y = sum.y.plus(Wide::of(*y));
            sum.xy = sum.xy.plus(Wide::product(x as f64, *y));
            self.sums.push(sum);
        }
        self.is_ready = true;
        true
    }

    // As `linear_regression`.
    fn line(&self, samples: &Samples, window: &Window) -> Option<(f64, f64)> {
        let (from, to) = (self.sums.get(window.lo)?, self.sums.get(window.hi)?);
        let count = i64::try_from(window.len()).ok().filter(|count| *count >= 2)?;
        let (first_t, t) = (samples.ts.first()?, samples.ts.get(window.lo)?);
        if to.same_from <= window.lo {
            return Some((0.0, *samples.values.get(window.lo)?));
        }
        // Times since `origin`.
        let origin = (self.at)(window).unwrap_or(*t).checked_sub(*first_t)?;
        if origin.abs() >= LONGEST_MS {
            return linear_regression(samples, window, (self.at)(window));
        }
        let x = to.x - from.x - count * origin;
        let (n, d) = (i128::from(count), i128::from(origin));
        let xx = to.xx - from.xx - 2 * d * i128::from(to.x - from.x) + n * d * d;
        let y = to.y.minus(from.y);
        let xy = to.xy.minus(from.xy).minus(y.times(origin as f64));
        let spread = (n * xx - i128::from(x) * i128::from(x)) as f64;
        let slope = xy.times(count as f64).minus(y.times(x as f64)).value() / spread;
        let value = (y.value() - slope * x as f64) / count as f64;
        Some((slope * 1000.0, value))
    }
}

impl<A, T> Kernel for Lines<A, T>
where
    A: Fn(&Window) -> Option<i64>,
    T: Fn(&Window, f64, f64) -> f64,
{
    fn begin(&mut self, _samples: &Samples) {
        self.is_ready = false;
    }

    fn run(&mut self, samples: &Samples, windows: &[Window], out: &mut [f64]) {
        let quickly = self.prepare(samples, windows);
        for window in windows {
            let line = if quickly {
                self.line(samples, window)
            } else {
                linear_regression(samples, window, (self.at)(window))
            };
            if let (Some((slope, value)), Some(slot)) = (line, out.get_mut(window.step)) {
                *slot = (self.take)(window, slope, value);
            }
        }
    }
}

// A number of about 32 digits: the sum of two floats, the second far smaller than the first (Dekker, 1971).
#[derive(Debug, Clone, Copy, Default)]
struct Wide {
    high: f64,
    low: f64,
}

impl Wide {
    fn of(value: f64) -> Self {
        Self { high: value, low: 0.0 }
    }

    // The sum of two floats, exactly.
    fn sum(a: f64, b: f64) -> Self {
        let high = a + b;
        let added = high - a;
        let low = (a - (high - added)) + (b - added);
        Self { high, low }
    }

    // The product of two floats, exactly, as long as it is far inside of their range.
    fn product(a: f64, b: f64) -> Self {
        let (a_high, a_low) = halves(a);
        let (b_high, b_low) = halves(b);
        let high = a * b;
        let low = ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low;
        Self { high, low }
    }

    fn plus(self, other: Self) -> Self {
        let sum = Self::sum(self.high, other.high);
        Self::sum(sum.high, sum.low + (self.low + other.low))
    }

    fn minus(self, other: Self) -> Self {
        self.plus(Self {
            high: -other.high,
            low: -other.low,
        })
    }

    fn times(self, factor: f64) -> Self {
        let product = Self::product(self.high, factor);
        Self::sum(product.high, product.low + self.low * factor)
    }

    fn value(self) -> f64 {
        self.high + self.low
    }
}

// A float as the sum of two with half of the digits each (Veltkamp).
fn halves(value: f64) -> (f64, f64) {
    let scaled = value * 134_217_729.0;
    let high = scaled - (scaled - value);
    (high, value - high)
}

#[cfg(test)]
mod tests {
    use super::super::Reach;
    use super::super::testing::{run, samples};
    use super::*;
    use crate::grid::Grid;
    use proptest::prelude::*;

    fn lines() -> impl Kernel {
        Lines::new(
            |window: &Window| Some(window.end),
            |_: &Window, slope: f64, value: f64| slope * 3600.0 + value,
        )
    }

    // Every window by itself.
    fn one_by_one(all: &Samples, grid: Grid, reach: Reach) -> Vec<f64> {
        grid.times()
            .map(|t| run(&mut lines(), all, Grid::single(t), reach)[0])
            .collect()
    }

    proptest! {
        #[test]
        fn running_sums_give_what_each_window_gives(
            pairs in proptest::collection::vec((1_i64..40_000, prop_oneof![
                -1e3..1e3, 1e10..1.001e10, Just(5.0), Just(5.0), Just(0.0)
            ]), 30..300),
            start in prop_oneof![Just(0_i64), Just(1_700_000_000_000)],
        ) {
            let mut t = start;
            let all: Vec<(i64, f64)> = pairs.into_iter().map(|(gap, value)| { t += gap; (t, value) }).collect();
            let all = samples(&all);
            let reach = Reach { range: 900_000, before: 0, after: 0 };
            let grid = Grid::range(start, t, 7_000);
            let got = run(&mut lines(), &all, grid, reach);
            for (got, expected) in got.iter().zip(one_by_one(&all, grid, reach)) {
                let scale = expected.abs().max(1e-3);
                prop_assert!(
                    got.to_bits() == expected.to_bits() || (got - expected).abs() <= 1e-7 * scale,
                    "{got} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn running_sums_are_used_and_do_not_lose_what_is_small_beside_the_values() {
        // A disk of 20 TB that loses a kilobyte every quarter of an hour; and only what it loses.
        let times = (0..2000).map(|i| 1_700_000_000_000 + i * 15_000);
        let losses = (0..2000).map(|i| f64::from(i / 60) * -1024.0);
        let small = samples(&times.zip(losses).collect::<Vec<_>>());
        let mut large = small.clone();
        large.values.iter_mut().for_each(|value| *value += 2e13);
        let reach = Reach {
            range: 3_600_000,
            before: 0,
            after: 0,
        };
        let grid = Grid::range(1_700_000_000_000, 1_700_030_000_000, 60_000);
        let mut kernel = Lines::new(|_: &Window| None, |_: &Window, slope: f64, _: f64| slope);
        let got = run(&mut kernel, &large, grid, reach);
        assert!(kernel.is_ready);
        let end = grid.at(grid.len() - 1);
        let window = Window {
            lo: small.ts.partition_point(|t| *t <= end - reach.range),
            hi: small.len(),
            start: end - reach.range,
            end,
            step: 0,
        };
        let (slope, _) = linear_regression(&small, &window, None).unwrap();
        let last = got.last().copied().unwrap();
        assert!((last - slope).abs() < 1e-9, "{last} instead of {slope}");
    }

    #[test]
    fn what_is_not_finite_goes_the_slow_way() {
        let mut all: Vec<(i64, f64)> = (0..200).map(|i| (i * 1000, i as f64)).collect();
        all[100].1 = f64::INFINITY;
        let all = samples(&all);
        let reach = Reach {
            range: 50_000,
            before: 0,
            after: 0,
        };
        let grid = Grid::range(0, 199_000, 1000);
        let got = run(&mut lines(), &all, grid, reach);
        assert!(got[120].is_nan());
        assert!((got[60] - (60.0 + 3600.0)).abs() < 1e-6, "{}", got[60]);
    }
}
