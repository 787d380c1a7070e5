//! Operators between two expressions.

mod matching;
mod set;

use cupola_promql::{Binary, BinaryOp, Expr};

use crate::column::{Scalar, Value, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;

/// The result of an arithmetic operator, or 1 and 0 for a comparison.
fn number(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        _ => f64::from(u8::from(holds(op, a, b))),
    }
}

/// Whether a comparison holds.
fn holds(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Lt => a < b,
        BinaryOp::Le => a <= b,
        BinaryOp::Gt => a > b,
        BinaryOp::Ge => a >= b,
        _ => false,
    }
}

/// What an operator gives for two numbers of vectors: a filter keeps the left one or nothing.
fn element(op: BinaryOp, return_bool: bool, a: f64, b: f64) -> Option<f64> {
    if op.is_comparison() && !return_bool {
        holds(op, a, b).then_some(a)
    } else {
        Some(number(op, a, b))
    }
}

/// Whether the operator makes another metric of its operands.
fn changes_metric(op: BinaryOp) -> bool {
    !op.is_comparison() && !op.is_set() && !is_trim(op)
}

fn is_trim(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper)
}

impl Evaluator<'_> {
    /// Evaluates an operator.
    pub(crate) fn binary(&mut self, expr: &Expr, binary: &Binary, grid: Grid) -> Result<Value, QueryError> {
        let lhs = self.eval(&binary.lhs, grid)?;
        let rhs = self.eval(&binary.rhs, grid)?;
        match (lhs, rhs) {
            (Value::Scalar(a), Value::Scalar(b)) => {
                Ok(Value::Scalar(a.zip(&b, grid.len(), |a, b| number(binary.op, a, b))))
            }
            (Value::Vector(vector), Value::Scalar(scalar)) => self
                .with_scalar(expr, binary, vector, &scalar, false)
                .map(Value::Vector),
            (Value::Scalar(scalar), Value::Vector(vector)) => {
                self.with_scalar(expr, binary, vector, &scalar, true).map(Value::Vector)
            }
            (Value::Vector(left), Value::Vector(right)) => {
                let matching = binary.matching.as_ref();
                if binary.op.is_set() {
                    self.set_operator(binary.op, matching, left, right).map(Value::Vector)
                } else if is_trim(binary.op) {
                    // Trimming is for native histograms; floats drop out.
                    if !left.rows.is_empty() && !right.rows.is_empty() {
                        self.notes
                            .incompatible_types("float", binary.op.as_str(), "float", expr.span);
                    }
                    Ok(Value::Vector(Vector::default()))
                } else {
                    self.match_vectors(binary, left, right, grid).map(Value::Vector)
                }
            }
            _ => Err(QueryError::BadData(
                "binary expression must contain only scalar and instant vector types".into(),
            )),
        }
    }

    fn with_scalar(
        &mut self,
        expr: &Expr,
        binary: &Binary,
        mut vector: Vector,
        scalar: &Scalar,
        scalar_is_left: bool,
    ) -> Result<Vector, QueryError> {
        let (op, return_bool) = (binary.op, binary.return_bool);
        if is_trim(op) {
            if !vector.rows.is_empty() {
                self.notes.incompatible_types("float", op.as_str(), "float", expr.span);
            }
            return Ok(Vector::default());
        }
        for row in &mut vector.rows {
            if op.is_comparison() && !return_bool {
                // A filter keeps the vector's value on whichever side it stands.
                row.column.filter_map(|step, value| {
                    let other = scalar.at(step);
                    let (a, b) = if scalar_is_left { (other, value) } else { (value, other) };
                    holds(op, a, b).then_some(value)
                });
            } else {
                row.column.filter_map(|step, value| {
                    let other = scalar.at(step);
                    let (a, b) = if scalar_is_left { (other, value) } else { (value, other) };
                    Some(number(op, a, b))
                });
            }
            self.budget.work(row.column.values().len())?;
        }
        let vector = vector.without_empty();
        if changes_metric(op) || return_bool {
            self.drop_names(vector)
        } else {
            Ok(vector)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_on_numbers() {
        for (op, a, b, expected) in [
            (BinaryOp::Mod, -7.0, 3.0, -1.0),
            (BinaryOp::Pow, 2.0, 0.5, std::f64::consts::SQRT_2),
            (BinaryOp::Div, 1.0, 0.0, f64::INFINITY),
            (BinaryOp::Ge, 1.0, 1.0, 1.0),
            (BinaryOp::Ne, f64::NAN, f64::NAN, 1.0),
            (BinaryOp::Atan2, 1.0, 1.0, std::f64::consts::FRAC_PI_4),
        ] {
            assert_eq!(number(op, a, b), expected, "{a} {} {b}", op.as_str());
        }
        assert!(number(BinaryOp::Mod, 1.0, 0.0).is_nan());
    }

    #[test]
    fn a_filter_keeps_the_left_value() {
        assert_eq!(element(BinaryOp::Gt, false, 3.0, 2.0), Some(3.0));
        assert_eq!(element(BinaryOp::Gt, false, 1.0, 2.0), None);
        assert_eq!(element(BinaryOp::Gt, true, 1.0, 2.0), Some(0.0));
    }
}
