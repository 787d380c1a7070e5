//! Accumulators of one group over all steps.

use cupola_model::{STALE_NAN, is_stale_nan};

use super::histograms::Treatment;
use crate::column::Column;
use crate::numeric::{Mean, kahan_add};

/// Takes in columns of numbers, gives one. Steps that no column has a value at are absent.
pub(crate) trait Accumulator {
    /// What becomes of native histograms.
    const HISTOGRAMS: Treatment;
    fn new(steps: usize) -> Self;
    /// Adds the numbers of one series.
    fn add(&mut self, column: &Column);
    /// Whether a number came at `step`; asked where histograms are summed up beside them.
    fn has(&self, _step: usize) -> bool {
        false
    }
    /// Takes a histogram at `step` for a value like any other.
    fn note(&mut self, _step: usize) {}
    /// The group's values.
    fn finish(self) -> Column;
}

/// `sum`, compensated.
pub(crate) struct Sums {
    sums: Vec<f64>,
    compensations: Vec<f64>,
}

impl Accumulator for Sums {
    const HISTOGRAMS: Treatment = Treatment::Sum;

    fn new(steps: usize) -> Self {
        Self {
            sums: vec![STALE_NAN; steps],
            compensations: vec![0.0; steps],
        }
    }

    fn add(&mut self, column: &Column) {
        for ((value, sum), c) in column.values().iter().zip(&mut self.sums).zip(&mut self.compensations) {
            if is_stale_nan(*value) {
                continue;
            }
            if is_stale_nan(*sum) {
                *sum = *value;
            } else {
                (*sum, *c) = kahan_add(*value, *sum, *c);
            }
        }
    }

    fn has(&self, step: usize) -> bool {
        self.sums.get(step).is_some_and(|sum| !is_stale_nan(*sum))
    }

    fn finish(mut self) -> Column {
        for (sum, c) in self.sums.iter_mut().zip(&self.compensations) {
            if !is_stale_nan(*sum) {
                *sum += c;
            }
        }
        Column::of(self.sums)
    }
}

/// `avg`.
pub(crate) struct Means(Vec<Option<Mean>>);

impl Accumulator for Means {
    const HISTOGRAMS: Treatment = Treatment::Mean;

    fn new(steps: usize) -> Self {
        Self(vec![None; steps])
    }

    fn add(&mut self, column: &Column) {
        for (value, mean) in column.values().iter().zip(&mut self.0) {
            if !is_stale_nan(*value) {
                match mean {
                    Some(mean) => mean.add(*value),
                    None => *mean = Some(Mean::first(*value)),
                }
            }
        }
    }

    fn has(&self, step: usize) -> bool {
        self.0.get(step).is_some_and(Option::is_some)
    }

    fn finish(self) -> Column {
        Column::of(
            self.0
                .iter()
                .map(|mean| mean.map_or(STALE_NAN, |mean| mean.value()))
                .collect(),
        )
    }
}

/// `max`, or `min` where `SMALLEST`; NaN only where there is nothing else.
pub(crate) struct Largest<const SMALLEST: bool>(Vec<f64>);

impl<const SMALLEST: bool> Accumulator for Largest<SMALLEST> {
    const HISTOGRAMS: Treatment = Treatment::Ignored;

    fn new(steps: usize) -> Self {
        Self(vec![STALE_NAN; steps])
    }

    fn add(&mut self, column: &Column) {
        for (value, best) in column.values().iter().zip(&mut self.0) {
            let better = if SMALLEST { *value < *best } else { *value > *best };
            // The marker of an absent step is a NaN too, and gives way to any value.
            if !is_stale_nan(*value) && (better || best.is_nan()) {
                *best = *value;
            }
        }
    }

    fn finish(self) -> Column {
        Column::of(self.0)
    }
}

/// `count`.
pub(crate) struct Counts(Vec<u32>);

impl Accumulator for Counts {
    const HISTOGRAMS: Treatment = Treatment::Present;

    fn new(steps: usize) -> Self {
        Self(vec![0; steps])
    }

    fn add(&mut self, column: &Column) {
        for (value, count) in column.values().iter().zip(&mut self.0) {
            *count += u32::from(!is_stale_nan(*value));
        }
    }

    fn note(&mut self, step: usize) {
        if let Some(count) = self.0.get_mut(step) {
            *count += 1;
        }
    }

    fn finish(self) -> Column {
        Column::of(
            self.0
                .iter()
                .map(|n| if *n == 0 { STALE_NAN } else { f64::from(*n) })
                .collect(),
        )
    }
}

/// `group`.
pub(crate) struct Ones(Vec<f64>);

impl Accumulator for Ones {
    const HISTOGRAMS: Treatment = Treatment::Present;

    fn new(steps: usize) -> Self {
        Self(vec![STALE_NAN; steps])
    }

    fn add(&mut self, column: &Column) {
        for (value, one) in column.values().iter().zip(&mut self.0) {
            if !is_stale_nan(*value) {
                *one = 1.0;
            }
        }
    }

    fn note(&mut self, step: usize) {
        if let Some(one) = self.0.get_mut(step) {
            *one = 1.0;
        }
    }

    fn finish(self) -> Column {
        Column::of(self.0)
    }
}

#[derive(Clone, Copy)]
struct Welford {
    count: f64,
    mean: f64,
    squares: f64,
}

/// `stdvar`, or `stddev` where `ROOT`, by Welford's method.
pub(crate) struct Spreads<const ROOT: bool>(Vec<Welford>);

impl<const ROOT: bool> Accumulator for Spreads<ROOT> {
    const HISTOGRAMS: Treatment = Treatment::Ignored;

    fn new(steps: usize) -> Self {
        Self(vec![
            Welford {
                count: 0.0,
                mean: 0.0,
                squares: 0.0
            };
            steps
        ])
    }

    fn add(&mut self, column: &Column) {
        for (value, state) in column.values().iter().zip(&mut self.0) {
            if is_stale_nan(*value) {
                continue;
            }
            state.count += 1.0;
            if state.count == 1.0 {
                state.mean = *value;
                state.squares = if value.is_finite() { 0.0 } else { f64::NAN };
                continue;
            }
            let delta = value - state.mean;
            state.mean += delta / state.count;
            state.squares += delta * (value - state.mean);
        }
    }

    fn finish(self) -> Column {
        let value = |state: &Welford| {
            if state.count == 0.0 {
                return STALE_NAN;
            }
            let variance = state.squares / state.count;
            if ROOT { variance.sqrt() } else { variance }
        };
        Column::of(self.0.iter().map(value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<A: Accumulator>(columns: &[&[f64]], expected: &[Option<f64>]) {
        let mut accumulator = A::new(expected.len());
        for values in columns {
            accumulator.add(&Column::of(values.to_vec()));
        }
        let column = accumulator.finish();
        for (step, expected) in expected.iter().enumerate() {
            let got = column.get(step);
            let same = match (got, *expected) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-9 || a == b || (a.is_nan() && b.is_nan()),
                (a, b) => a == b,
            };
            assert!(same, "step {step}: {got:?} instead of {expected:?}");
        }
    }

    #[test]
    fn absent_steps_do_not_take_part() {
        let columns: [&[f64]; 3] = [
            &[1.0, STALE_NAN, STALE_NAN],
            &[2.0, 5.0, STALE_NAN],
            &[6.0, f64::NAN, STALE_NAN],
        ];
        let nan = Some(f64::NAN);
        check::<Sums>(&columns, &[Some(9.0), nan, None]);
        check::<Means>(&columns, &[Some(3.0), nan, None]);
        check::<Largest<false>>(&columns, &[Some(6.0), Some(5.0), None]);
        check::<Largest<true>>(&columns, &[Some(1.0), Some(5.0), None]);
        check::<Counts>(&columns, &[Some(3.0), Some(2.0), None]);
        check::<Ones>(&columns, &[Some(1.0), Some(1.0), None]);
        check::<Spreads<false>>(&columns, &[Some(14.0 / 3.0), nan, None]);
    }

    #[test]
    fn infinity_has_no_spread() {
        check::<Spreads<true>>(&[&[f64::INFINITY]], &[Some(f64::NAN)]);
        check::<Spreads<true>>(&[&[1.0], &[f64::INFINITY]], &[Some(f64::NAN)]);
    }
}
