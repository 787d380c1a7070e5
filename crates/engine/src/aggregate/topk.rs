//! `topk` and `bottomk`: rows come one by one, and each step of each group keeps only what may still be among its best.

use std::cmp::Ordering;

use cupola_model::{Labels, is_stale_nan};
use cupola_promql::{Aggregate, AggregateOp, Span};

use super::grouping_key;
use super::pick::{check_counts, count_at};
use crate::column::{Column, Row, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::functions::compare_values;
use crate::grid::Grid;
use crate::keys::KeyIndex;

// A value, and the number of its row.
type Candidate = (f64, u32);

// The series that had a candidate, by number.
#[derive(Default)]
struct Rows(Vec<(Labels, bool)>);

impl Rows {
    fn labels(&self, row: u32) -> Option<&Labels> {
        self.0.get(row as usize).map(|(labels, _)| labels)
    }

    // Best first; equal values by labels.
    fn compare(&self, a: &Candidate, b: &Candidate, largest: bool) -> Ordering {
        compare_values(a.0, b.0, largest).then_with(|| self.labels(a.1).cmp(&self.labels(b.1)))
    }
}

// One step of a group: up to twice as many candidates as are asked for.
#[derive(Clone, Default)]
struct Best {
    candidates: Vec<Candidate>,
    // The last of the best `k` so far, once there are so many.
    last: Option<Candidate>,
}

impl Best {
    // Whether `value` may be among the best, as far as values alone tell.
    #[inline]
    fn may_take(&self, value: f64, largest: bool) -> bool {
        match self.last {
            Some((last, _)) if last.is_nan() => true,
            Some((last, _)) if largest => value >= last,
            Some((last, _)) => value <= last,
            None => true,
        }
    }

    // Returns how many bytes more are needed.
    fn take(&mut self, candidate: Candidate, k: usize, rows: &Rows, largest: bool) -> usize {
        if let Some(last) = &self.last
            && rows.compare(&candidate, last, largest).is_ge()
        {
            return 0;
        }
        let before = self.candidates.capacity();
        self.candidates.push(candidate);
        let len = self.candidates.len();
        if (len == k && self.last.is_none()) || len >= k.saturating_mul(2) {
            self.cut(k, rows, largest);
        }
        (self.candidates.capacity() - before) * size_of::<Candidate>()
    }

    fn cut(&mut self, k: usize, rows: &Rows, largest: bool) {
        if k > self.candidates.len() || k == 0 {
            return;
        }
        let order = |a: &Candidate, b: &Candidate| rows.compare(a, b, largest);
        let (_, last, _) = self.candidates.select_nth_unstable_by(k - 1, order);
        self.last = Some(*last);
        self.candidates.truncate(k);
    }
}

impl Evaluator<'_> {
    /// `place` is the whole aggregation's.
    pub(crate) fn topk(&mut self, aggregate: &Aggregate, place: Span, grid: Grid) -> Result<Vector, QueryError> {
        let largest = aggregate.op == AggregateOp::Topk;
        let k = self.parameter(aggregate, grid)?;
        check_counts(&k.values(grid.len()).collect::<Vec<_>>())?;
        let counts: Vec<usize> = (0..grid.len()).map(|step| count_at(&k, step)).collect();
        let mut index = KeyIndex::new(grouping_key(aggregate));
        let mut groups: Vec<Vec<Best>> = Vec::new();
        let mut rows = Rows::default();
        let mut has_ignored = false;
        self.each_row(&aggregate.expr, grid, &mut |this, row| {
            let group = index.id(&row.labels);
            if group == groups.len() {
                this.budget.charge(grid.len() * size_of::<Best>())?;
                groups.push(vec![Best::default(); grid.len()]);
            }
            let mut histograms = row.column.histograms();
            has_ignored |= histograms.any(|(step, _)| counts.get(step).is_some_and(|k| *k > 0));
            drop(histograms);
            this.budget.work(grid.len())?;
            let Some(steps) = groups.get_mut(group) else {
                return Ok(());
            };
            // More than 2^32 series do not fit in memory.
            let number = u32::try_from(rows.0.len()).unwrap_or(u32::MAX);
            let mut grown = 0;
            let mut is_known = false;
            for ((value, best), k) in row.column.values().iter().zip(steps).zip(&counts) {
                if is_stale_nan(*value) || *k == 0 || !best.may_take(*value, largest) {
                    continue;
                }
                if !is_known {
                    rows.0.push((row.labels.clone(), row.drop_name));
                    grown += size_of::<(Labels, bool)>();
                    is_known = true;
                }
                grown += best.take((*value, number), *k, &rows, largest);
            }
            this.budget.charge(grown)
        })?;
        if has_ignored {
            self.notes.ignored_histograms(aggregate.op.as_str(), place);
        }
        self.best_rows(groups, &counts, rows, grid, largest)
    }

    // The columns of what was picked.
    fn best_rows(
        &mut self,
        groups: Vec<Vec<Best>>,
        counts: &[usize],
        rows: Rows,
        grid: Grid,
        largest: bool,
    ) -> Result<Vector, QueryError> {
        let mut columns: Vec<Option<Column>> = vec![None; rows.0.len()];
        let mut number = 0;
        // The order of an instant query's answer: group by group, best first.
        let mut order = Vec::new();
        for group in groups {
            self.budget.work(grid.len())?;
            for (step, (mut best, k)) in group.into_iter().zip(counts).enumerate() {
                best.cut(*k, &rows, largest);
                if grid.len() == 1 {
                    best.candidates.sort_by(|a, b| rows.compare(a, b, largest));
                    order.extend(best.candidates.iter().map(|(_, row)| *row as usize));
                }
                for (value, row) in &best.candidates {
                    let Some(column) = columns.get_mut(*row as usize) else {
                        continue;
                    };
                    if column.is_none() {
                        number += 1;
                        self.budget.room(number, grid.len())?;
                    }
                    let column = column.get_or_insert_with(|| Column::absent(grid.len()));
                    if let Some(slot) = column.values_mut().get_mut(step) {
                        *slot = *value;
                    }
                }
            }
        }
        let all = rows.0.into_iter().zip(columns).map(|((labels, drop_name), column)| {
            column.map(|column| Row {
                labels,
                drop_name,
                column,
            })
        });
        if grid.len() != 1 {
            return Ok(Vector::of(all.flatten().collect()));
        }
        let mut all: Vec<Option<Row>> = all.collect();
        let rows = order.into_iter().filter_map(|at| all.get_mut(at)?.take()).collect();
        Ok(Vector { rows, ordered: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What is best of `values` for each k, by taking one after the other.
    fn best(values: &[f64], k: usize, largest: bool) -> Vec<f64> {
        let labels = |n: usize| Labels::from_pairs([("n", &*n.to_string())]);
        let rows = Rows((0..values.len()).map(|n| (labels(n), false)).collect());
        let mut best = Best::default();
        for (row, value) in (0_u32..).zip(values) {
            if best.may_take(*value, largest) {
                best.take((*value, row), k, &rows, largest);
            }
            assert!(best.candidates.len() < (2 * k).max(2));
        }
        best.cut(k, &rows, largest);
        best.candidates.sort_by(|a, b| rows.compare(a, b, largest));
        best.candidates.iter().map(|(value, _)| *value).collect()
    }

    #[test]
    fn the_best_are_those_of_a_sorted_list() {
        // 7 and 61 are prime to each other: a list in no order, with equal values.
        let values: Vec<f64> = (0..183_u32).map(|n| f64::from(n * 7 % 61)).collect();
        for largest in [true, false] {
            let mut sorted = values.clone();
            sorted.sort_by(|a, b| compare_values(*a, *b, largest));
            for k in [1, 2, 3, 10, 182, 183, 500] {
                let expected = sorted.get(..k.min(sorted.len())).unwrap_or_default();
                assert_eq!(best(&values, k, largest), expected, "k {k}, largest {largest}");
            }
        }
    }

    #[test]
    fn nan_gives_way_to_any_number() {
        let nan = f64::NAN;
        assert_eq!(best(&[nan, 1.0, nan, 2.0], 2, true), [2.0, 1.0]);
        assert_eq!(best(&[nan, nan, nan, 2.0, 1.0], 2, false), [1.0, 2.0]);
        assert!(best(&[nan, nan], 1, true)[0].is_nan());
    }

    #[test]
    fn equal_values_are_taken_by_their_labels() {
        let labels = |n: &str| Labels::from_pairs([("n", n)]);
        let rows = Rows(["c", "b", "d", "a"].map(|n| (labels(n), false)).to_vec());
        let mut best = Best::default();
        for row in 0..4 {
            best.take((1.0, row), 2, &rows, true);
        }
        best.cut(2, &rows, true);
        best.candidates.sort_by_key(|(_, row)| *row);
        assert_eq!(best.candidates, [(1.0, 1), (1.0, 3)]);
    }
}
