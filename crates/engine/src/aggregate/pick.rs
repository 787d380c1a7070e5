//! Aggregations that let some of the series through whatever their values are: `limitk`, `limit_ratio`.

use cupola_model::fmt_f64_g;
use cupola_promql::{Aggregate, AggregateOp};
use cupola_storage::SampleValue;

use super::{Groups, bounds, xxhash};
use crate::column::{Column, Scalar, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::plan::unwrap_parens;

impl Evaluator<'_> {
    pub(crate) fn pick(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<Vector, QueryError> {
        let param = self.parameter(aggregate, grid)?;
        let vector = self.eval_vector(&aggregate.expr, grid)?;
        let values: Vec<f64> = param.values(grid.len()).collect();
        if aggregate.op == AggregateOp::LimitRatio {
            return self.limit_ratio(aggregate, &param, &values, vector, grid);
        }
        check_counts(&values)?;
        let groups = Groups::of(&vector, aggregate);
        self.limitk(&param, &groups, vector, grid)
    }

    // The first k of each group, in the order of labels.
    fn limitk(&mut self, k: &Scalar, groups: &Groups, vector: Vector, grid: Grid) -> Result<Vector, QueryError> {
        let mut picked: Vec<Column> = vector.rows.iter().map(|_| Column::absent(grid.len())).collect();
        let mut taken = vec![0_usize; grid.len()];
        for mut members in groups.members() {
            let labels = |at: &usize| vector.rows.get(*at).map(|row| &row.labels);
            members.sort_by(|a, b| labels(a).cmp(&labels(b)));
            taken.fill(0);
            for at in members {
                let (Some(row), Some(out)) = (vector.rows.get(at), picked.get_mut(at)) else {
                    continue;
                };
                for (step, taken) in taken.iter_mut().enumerate() {
                    if row.column.has(step) && *taken < count_at(k, step) {
                        *taken += 1;
                        out.set(step, row.column.value(step));
                    }
                }
                self.budget.work(grid.len())?;
            }
        }
        Ok(replace_columns(vector, picked))
    }

    // A series is in or out by the hash of its labels, so the same ones are taken everywhere.
    fn limit_ratio(
        &mut self,
        aggregate: &Aggregate,
        ratio: &Scalar,
        values: &[f64],
        mut vector: Vector,
        grid: Grid,
    ) -> Result<Vector, QueryError> {
        if values.iter().any(|ratio| ratio.is_nan()) {
            return Err(QueryError::execution("Ratio value is NaN"));
        }
        let (smallest, largest) = bounds(values);
        if let Some(param) = aggregate.param.as_ref().map(unwrap_parens) {
            if largest > 1.0 {
                self.notes.invalid_ratio(largest, 1.0, param.span);
            }
            if smallest < -1.0 {
                self.notes.invalid_ratio(smallest, -1.0, param.span);
            }
        }
        for row in &mut vector.rows {
            let position = xxhash::hash_labels(&row.labels) as f64 / u64::MAX as f64;
            let is_inside = |step| {
                let ratio = ratio.at(step).clamp(-1.0, 1.0);
                let inside = if ratio >= 0.0 {
                    position < ratio
                } else {
                    position >= 1.0 + ratio
                };
                inside && ratio != 0.0
            };
            row.column.filter_map(|step, value| is_inside(step).then_some(value));
            row.column
                .map_histograms(|step, histogram| is_inside(step).then_some(SampleValue::Histogram(histogram)));
            self.budget.work(grid.len())?;
        }
        Ok(vector.without_empty())
    }
}

fn replace_columns(mut vector: Vector, columns: Vec<Column>) -> Vector {
    for (row, column) in vector.rows.iter_mut().zip(columns) {
        row.column = column;
    }
    vector.without_empty()
}

/// Whether these can be the k of `topk` and its like.
pub(super) fn check_counts(values: &[f64]) -> Result<(), QueryError> {
    if values.iter().any(|k| k.is_nan()) {
        return Err(QueryError::execution("Parameter value is NaN"));
    }
    let (smallest, largest) = bounds(values);
    if largest < 1.0 {
        return Ok(());
    }
    // The bounds of a signed 64-bit integer as floats.
    if smallest <= i64::MIN as f64 {
        return Err(QueryError::execution(format!(
            "Scalar value {} underflows int64",
            fmt_f64_g(smallest)
        )));
    }
    if largest >= i64::MAX as f64 {
        return Err(QueryError::execution(format!(
            "Scalar value {} overflows int64",
            fmt_f64_g(largest)
        )));
    }
    Ok(())
}

/// How many to take at a step.
pub(super) fn count_at(k: &Scalar, step: usize) -> usize {
    let k = k.at(step);
    if k < 1.0 { 0 } else { k as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_must_be_numbers_that_fit() {
        let text = |values: &[f64]| check_counts(values).map_err(|e| e.to_string());
        assert_eq!(text(&[1.0, 5.0]), Ok(()));
        assert_eq!(text(&[f64::NAN]), Err("Parameter value is NaN".to_owned()));
        assert_eq!(text(&[1e20]), Err("Scalar value 1e+20 overflows int64".to_owned()));
        assert_eq!(text(&[-1e30]), Ok(()));
    }
}
