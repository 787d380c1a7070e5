//! What operators make of two samples, of either kind.

use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FloatHistogram};
use cupola_model::is_stale_nan;
use cupola_promql::{Binary, BinaryOp, Span};
use cupola_storage::SampleValue;

use super::{element, is_trim};
use crate::annotations::Annotations;
use crate::column::{Column, weight};

/// What is to be told about a pair of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// The operator does not exist for these kinds; the pair gives nothing.
    Types(&'static str, &'static str),
    /// Exponential buckets met custom ones; the pair gives nothing.
    Layout,
    /// One counter was reset, the other was not; upstream drops the result.
    Resets,
    /// Custom bounds differed; there is a result.
    Bounds,
}

/// The last finding of each step: upstream tells no other.
#[derive(Debug, Default)]
pub(super) struct Findings {
    last: Vec<Option<(u64, Finding)>>,
}

impl Findings {
    /// Notes what is found at `step` with the pair that upstream looks at as number `order`.
    pub(super) fn note(&mut self, step: usize, order: u64, finding: Finding) {
        if self.last.len() <= step {
            self.last.resize(step + 1, None);
        }
        if let Some(slot) = self.last.get_mut(step)
            && slot.is_none_or(|(latest, _)| latest <= order)
        {
            *slot = Some((order, finding));
        }
    }

    /// Tells each different one.
    pub(super) fn tell(self, op: BinaryOp, notes: &mut Annotations<'_>, place: Span) {
        let mut told = Vec::new();
        for (_, finding) in self.last.into_iter().flatten() {
            if told.contains(&finding) {
                continue;
            }
            told.push(finding);
            let operation = if op == BinaryOp::Sub { "subtraction" } else { "addition" };
            match finding {
                Finding::Types(left, right) => notes.incompatible_types(left, op.as_str(), right, place),
                Finding::Layout => notes.incompatible_layout(op.as_str(), place),
                Finding::Resets => notes.conflicting_resets(operation, place),
                Finding::Bounds => notes.reconciled_bounds(operation, place),
            }
        }
    }
}

/// A result, if any, and what is to be told beside it; or why the pair has none and counts as not matched.
pub(super) type Outcome<T> = Result<(Option<T>, Option<Finding>), Finding>;

/// A sample an operator is applied to. Vectors of numbers alone are worked on without a thought of histograms.
pub(super) trait Operand<'c>: Copy {
    /// Whether there are numbers only.
    const ARE_NUMBERS: bool;
    type Output;
    /// The sample of `column` at `step`.
    fn at(column: &'c Column, step: usize) -> Option<Self>;
    /// A fill value.
    fn number(value: f64) -> Self;
    fn apply(binary: &Binary, a: Self, b: Self) -> Outcome<Self::Output>;
    /// Puts a result; gives the bytes it takes besides the step's number, or `None` if the step has a value already.
    fn put(column: &mut Column, step: usize, value: Self::Output) -> Option<usize>;
}

impl<'c> Operand<'c> for f64 {
    const ARE_NUMBERS: bool = true;
    type Output = f64;

    #[inline]
    fn at(column: &'c Column, step: usize) -> Option<Self> {
        column.get(step)
    }

    #[inline]
    fn number(value: f64) -> Self {
        value
    }

    #[inline]
    fn apply(binary: &Binary, a: Self, b: Self) -> Outcome<f64> {
        Ok((element(binary.op, binary.return_bool, a, b), None))
    }

    #[inline]
    fn put(column: &mut Column, step: usize, value: f64) -> Option<usize> {
        let slot = column.values_mut().get_mut(step)?;
        if !is_stale_nan(*slot) {
            return None;
        }
        *slot = value;
        Some(0)
    }
}

/// A sample of either kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Element<'c> {
    Number(f64),
    Histogram(&'c Arc<FloatHistogram>),
}

impl Element<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Number(_) => "float",
            Self::Histogram(_) => "histogram",
        }
    }
}

impl<'c> Operand<'c> for Element<'c> {
    const ARE_NUMBERS: bool = false;
    type Output = SampleValue;

    fn at(column: &'c Column, step: usize) -> Option<Self> {
        let number = column.get(step).map(Self::Number);
        number.or_else(|| column.histogram(step).map(Self::Histogram))
    }

    fn number(value: f64) -> Self {
        Self::Number(value)
    }

    fn apply(binary: &Binary, a: Self, b: Self) -> Outcome<SampleValue> {
        let op = binary.op;
        let (histogram, number, number_is_left) = match (a, b) {
            (Self::Number(a), Self::Number(b)) if !is_trim(op) => {
                let value = element(op, binary.return_bool, a, b);
                return Ok((value.map(SampleValue::Float), None));
            }
            (Self::Histogram(a), Self::Histogram(b)) => return of_histograms(binary, a, b),
            (Self::Number(number), Self::Histogram(histogram)) => (histogram, number, true),
            (Self::Histogram(histogram), Self::Number(number)) => (histogram, number, false),
            (Self::Number(_), Self::Number(_)) => return Err(Finding::Types(a.kind(), b.kind())),
        };
        if !takes_number(op, number_is_left) {
            return Err(Finding::Types(a.kind(), b.kind()));
        }
        let mut result = FloatHistogram::clone(histogram);
        with_number(op, &mut result, number);
        Ok((Some(SampleValue::Histogram(result.into())), None))
    }

    fn put(column: &mut Column, step: usize, value: SampleValue) -> Option<usize> {
        if column.has(step) {
            return None;
        }
        let bytes = match &value {
            SampleValue::Float(_) => 0,
            SampleValue::Histogram(histogram) => weight(histogram) * 16,
        };
        column.set(step, Some(value));
        Some(bytes)
    }
}

/// Whether the operator exists between a histogram and a number, which may stand on the left.
pub(super) fn takes_number(op: BinaryOp, number_is_left: bool) -> bool {
    op == BinaryOp::Mul || (!number_is_left && (op == BinaryOp::Div || is_trim(op)))
}

/// Applies an operator that [`takes_number`].
pub(super) fn with_number(op: BinaryOp, histogram: &mut FloatHistogram, number: f64) {
    match op {
        BinaryOp::Mul => histogram.mul(number),
        BinaryOp::Div => histogram.div(number),
        BinaryOp::TrimUpper => histogram.trim(number, true),
        _ => histogram.trim(number, false),
    }
    histogram.compact(0);
}

fn of_histograms(binary: &Binary, a: &Arc<FloatHistogram>, b: &Arc<FloatHistogram>) -> Outcome<SampleValue> {
    let op = binary.op;
    match op {
        BinaryOp::Add | BinaryOp::Sub => {
            let mut result = FloatHistogram::clone(a);
            let told = if op == BinaryOp::Add {
                result.add(b)
            } else {
                result.sub(b)
            };
            let told = told.map_err(|_| Finding::Layout)?;
            if told.counter_reset_collision {
                return Err(Finding::Resets);
            }
            if op == BinaryOp::Sub {
                result.counter_reset_hint = CounterResetHint::Gauge;
            }
            result.compact(0);
            let finding = told.bounds_reconciled.then_some(Finding::Bounds);
            Ok((Some(SampleValue::Histogram(result.into())), finding))
        }
        BinaryOp::Eq | BinaryOp::Ne => {
            let holds = a.equals(b) == (op == BinaryOp::Eq);
            let value = if binary.return_bool {
                Some(SampleValue::Float(f64::from(u8::from(holds))))
            } else {
                holds.then(|| SampleValue::Histogram(Arc::clone(a)))
            };
            Ok((value, None))
        }
        _ => Err(Finding::Types("histogram", "histogram")),
    }
}
