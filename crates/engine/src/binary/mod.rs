//! Operators between two expressions.

mod elements;
mod matching;
mod set;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use cupola_model::go_quote;
use cupola_promql::{Binary, BinaryOp, Expr};
use cupola_storage::SampleValue;

use crate::column::{Scalar, Value, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use elements::{Finding, Findings, takes_number, with_number};

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
            (Value::Scalar(_), Value::Scalar(_)) if is_trim(binary.op) => Err(QueryError::execution(format!(
                "operator {} not allowed for Scalar operations",
                go_quote(binary.op.as_str())
            ))),
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
                } else {
                    self.match_vectors(expr, binary, left, right, grid).map(Value::Vector)
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
        let mut findings = Findings::default();
        let kinds = |kind| {
            if scalar_is_left {
                ("float", kind)
            } else {
                (kind, "float")
            }
        };
        for (order, row) in (0_u64..).zip(&mut vector.rows) {
            if is_trim(op) {
                row.column.filter_map(|step, _| {
                    findings.note(step, order, Finding::Types("float", "float"));
                    None
                });
            } else if op.is_comparison() && !return_bool {
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
            if row.column.has_histograms() {
                row.column.map_histograms(|step, mut histogram| {
                    if !takes_number(op, scalar_is_left) {
                        let (left, right) = kinds("histogram");
                        findings.note(step, order, Finding::Types(left, right));
                        return None;
                    }
                    with_number(op, Arc::make_mut(&mut histogram), scalar.at(step));
                    Some(SampleValue::Histogram(histogram))
                });
                self.budget.charge(row.column.histogram_bytes())?;
            }
            self.budget.work(row.column.values().len())?;
        }
        findings.tell(op, &mut self.notes, expr.span);
        let vector = vector.without_empty();
        if changes_metric(op) || return_bool {
            self.drop_names(vector)
        } else {
            Ok(vector)
        }
    }
}
