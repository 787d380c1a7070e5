//! Aggregations: every series is given a group number once, then whole columns go into the groups' accumulators.

mod accumulate;
mod count_values;
mod pick;
mod xxhash;

use cupola_model::Labels;
use cupola_promql::{Aggregate, AggregateOp};

use crate::column::{Column, Row, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::keys::{KeyIndex, LabelKey};
use accumulate::{Accumulator, Counts, Largest, Means, Ones, Spreads, Sums};

/// Which group each row belongs to, and the groups' labels.
pub(crate) struct Groups {
    of_row: Vec<usize>,
    labels: Vec<Labels>,
}

impl Groups {
    fn of(vector: &Vector, aggregate: &Aggregate) -> Self {
        let mut index = KeyIndex::new(grouping_key(aggregate));
        let of_row = vector.rows.iter().map(|row| index.id(&row.labels)).collect();
        Self {
            of_row,
            labels: index.into_labels(),
        }
    }

    /// The rows of each group.
    fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.labels.len()];
        for (row, group) in self.of_row.iter().enumerate() {
            if let Some(members) = members.get_mut(*group) {
                members.push(row);
            }
        }
        members
    }

    /// One row per group; the name is marked for removal if any member's is.
    fn rows(self, vector: &Vector, columns: Vec<Column>) -> Vector {
        let mut drop_name = vec![false; self.labels.len()];
        for (row, group) in vector.rows.iter().zip(&self.of_row) {
            if let Some(flag) = drop_name.get_mut(*group) {
                *flag |= row.drop_name;
            }
        }
        let rows = self.labels.into_iter().zip(drop_name).zip(columns);
        Vector::of(
            rows.map(|((labels, drop_name), column)| Row {
                labels,
                drop_name,
                column,
            })
            .collect(),
        )
        .without_empty()
    }
}

fn grouping_key(aggregate: &Aggregate) -> LabelKey {
    if aggregate.without {
        LabelKey::all_but(&aggregate.grouping)
    } else {
        LabelKey::only(&aggregate.grouping)
    }
}

impl Evaluator<'_> {
    /// Evaluates an aggregation.
    pub(crate) fn aggregate(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<Vector, QueryError> {
        match aggregate.op {
            AggregateOp::CountValues => self.count_values(aggregate, grid),
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => {
                self.pick(aggregate, grid)
            }
            AggregateOp::Quantile => self.quantile(aggregate, grid),
            AggregateOp::Sum => self.accumulate::<Sums>(aggregate, grid),
            AggregateOp::Avg => self.accumulate::<Means>(aggregate, grid),
            AggregateOp::Min => self.accumulate::<Largest<true>>(aggregate, grid),
            AggregateOp::Max => self.accumulate::<Largest<false>>(aggregate, grid),
            AggregateOp::Count => self.accumulate::<Counts>(aggregate, grid),
            AggregateOp::Group => self.accumulate::<Ones>(aggregate, grid),
            AggregateOp::Stddev => self.accumulate::<Spreads<true>>(aggregate, grid),
            AggregateOp::Stdvar => self.accumulate::<Spreads<false>>(aggregate, grid),
        }
    }

    // Rows go into their group's accumulator one by one, so that a sum over many series holds only its groups.
    fn accumulate<A: Accumulator>(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<Vector, QueryError> {
        let mut index = KeyIndex::new(grouping_key(aggregate));
        let mut groups: Vec<(A, bool)> = Vec::new();
        self.each_row(&aggregate.expr, grid, &mut |this, row| {
            let id = index.id(&row.labels);
            if id == groups.len() {
                this.budget.room(id + 1, grid.len())?;
                groups.push((A::new(grid.len()), false));
            }
            if let Some((accumulator, drop_name)) = groups.get_mut(id) {
                accumulator.add(&row.column);
                *drop_name |= row.drop_name;
            }
            this.budget.work(grid.len())
        })?;
        let rows = index.into_labels().into_iter().zip(groups);
        Ok(Vector::of(
            rows.map(|(labels, (accumulator, drop_name))| Row {
                labels,
                drop_name,
                column: accumulator.finish(),
            })
            .collect(),
        )
        .without_empty())
    }

    fn quantile(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<Vector, QueryError> {
        let q = self.parameter(aggregate, grid)?;
        let vector = self.eval_vector(&aggregate.expr, grid)?;
        if let Some(param) = &aggregate.param {
            let values: Vec<f64> = q.values(grid.len()).collect();
            let (smallest, largest) = bounds(&values);
            if values.iter().any(|q| q.is_nan()) {
                self.notes.invalid_quantile(f64::NAN, param.span);
            }
            if largest > 1.0 {
                self.notes.invalid_quantile(largest, param.span);
            }
            if smallest < 0.0 {
                self.notes.invalid_quantile(smallest, param.span);
            }
        }
        let groups = Groups::of(&vector, aggregate);
        let mut values = Vec::new();
        let mut columns = Vec::with_capacity(groups.labels.len());
        for members in groups.members() {
            let mut column = Column::absent(grid.len());
            for (step, slot) in column.values_mut().iter_mut().enumerate() {
                values.clear();
                values.extend(members.iter().filter_map(|row| vector.rows.get(*row)?.column.get(step)));
                if !values.is_empty() {
                    *slot = crate::numeric::quantile(q.at(step), &mut values);
                }
                self.budget.work(members.len())?;
            }
            columns.push(column);
        }
        Ok(groups.rows(&vector, columns))
    }

    /// The argument before the vector.
    fn parameter(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<crate::column::Scalar, QueryError> {
        let missing = || QueryError::BadData(format!("missing parameter of {}", aggregate.op.as_str()));
        self.eval_scalar(aggregate.param.as_ref().ok_or_else(missing)?, grid)
    }
}

/// Smallest and largest, NaN left out.
fn bounds(values: &[f64]) -> (f64, f64) {
    let numbers = values.iter().copied().filter(|v| !v.is_nan());
    numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    })
}
