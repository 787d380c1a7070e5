//! Aggregations: every series is given a group number once, then whole columns go into the groups' accumulators.

mod accumulate;
mod count_values;
mod histograms;
mod pick;
#[cfg(test)]
mod tests;
mod topk;
mod xxhash;

use cupola_model::Labels;
use cupola_promql::{Aggregate, AggregateOp, Span};

use crate::column::{Column, Row, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::keys::{KeyIndex, LabelKey};
use crate::plan::unwrap_parens;
use accumulate::{Accumulator, Counts, Largest, Means, Ones, Spreads, Sums};
use histograms::{Blend, Treatment};

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

// One group in the making.
struct Gathered<A> {
    numbers: A,
    histograms: Option<Box<Blend>>,
    drop_name: bool,
}

impl<A: Accumulator> Gathered<A> {
    // Takes the histograms of a series; returns how many bytes more the group needs.
    fn add_histograms(&mut self, row: &Row, evaluator: &mut Evaluator<'_>, steps: usize, place: Span) -> usize {
        match A::HISTOGRAMS {
            Treatment::Ignored => 0,
            Treatment::Present => {
                row.column.histograms().for_each(|(step, _)| self.numbers.note(step));
                0
            }
            treatment @ (Treatment::Sum | Treatment::Mean) => {
                let mut slots = 0;
                let blend = self.histograms.get_or_insert_with(|| {
                    slots = steps * size_of::<usize>();
                    Box::new(Blend::new(treatment, steps))
                });
                let numbers = &self.numbers;
                slots + blend.add(row, |step| numbers.has(step), &mut evaluator.notes, place)
            }
        }
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
    /// Evaluates an aggregation, which is at `place` in the query.
    pub(crate) fn aggregate(&mut self, aggregate: &Aggregate, place: Span, grid: Grid) -> Result<Vector, QueryError> {
        match aggregate.op {
            AggregateOp::CountValues => self.count_values(aggregate, grid),
            AggregateOp::Topk | AggregateOp::Bottomk => self.topk(aggregate, place, grid),
            AggregateOp::Limitk | AggregateOp::LimitRatio => self.pick(aggregate, grid),
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
        let place = unwrap_parens(&aggregate.expr).span;
        let mut index = KeyIndex::new(grouping_key(aggregate));
        let mut groups: Vec<Gathered<A>> = Vec::new();
        let mut has_ignored = false;
        self.each_row(&aggregate.expr, grid, &mut |this, row| {
            let id = index.id(&row.labels);
            if id == groups.len() {
                this.budget.room(id + 1, grid.len())?;
                groups.push(Gathered {
                    numbers: A::new(grid.len()),
                    histograms: None,
                    drop_name: false,
                });
            }
            if let Some(group) = groups.get_mut(id) {
                group.numbers.add(&row.column);
                group.drop_name |= row.drop_name;
                if row.column.has_histograms() || group.histograms.is_some() {
                    has_ignored |= A::HISTOGRAMS == Treatment::Ignored && row.column.histograms().next().is_some();
                    let grown = group.add_histograms(&row, this, grid.len(), place);
                    this.budget.charge(grown)?;
                }
            }
            this.budget.work(grid.len())
        })?;
        if has_ignored {
            self.notes.ignored_histograms(aggregate.op.as_str(), place);
        }
        let mut rows = Vec::with_capacity(groups.len());
        for (labels, group) in index.into_labels().into_iter().zip(groups) {
            let mut column = group.numbers.finish();
            if let Some(histograms) = group.histograms {
                histograms.finish(&mut column, &mut self.notes, place);
                self.budget.check()?;
            }
            rows.push(Row {
                labels,
                drop_name: group.drop_name,
                column,
            });
        }
        Ok(Vector::of(rows).without_empty())
    }

    fn quantile(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<Vector, QueryError> {
        let q = self.parameter(aggregate, grid)?;
        let vector = self.eval_vector(&aggregate.expr, grid)?;
        if let Some(param) = aggregate.param.as_ref().map(unwrap_parens) {
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
        if vector.rows.iter().any(|row| row.column.histograms().next().is_some()) {
            let place = unwrap_parens(&aggregate.expr).span;
            self.notes.ignored_histograms(aggregate.op.as_str(), place);
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
