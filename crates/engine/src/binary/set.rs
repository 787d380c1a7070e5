//! `and`, `or`, `unless`.

use cupola_model::is_stale_nan;
use cupola_promql::{BinaryOp, VectorMatching};
use cupola_storage::SampleValue;

use super::matching::match_key;
use crate::column::{Column, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::keys::KeyIndex;

// Which steps each match group has a value at.
struct Presence {
    steps: Vec<bool>,
    per_group: usize,
}

impl Presence {
    fn new(groups: usize, steps: usize) -> Self {
        Self {
            steps: vec![false; groups * steps],
            per_group: steps,
        }
    }

    fn of(&self, group: usize) -> &[bool] {
        self.steps
            .get(group * self.per_group..(group + 1) * self.per_group)
            .unwrap_or_default()
    }

    fn add(&mut self, group: usize, column: &Column) {
        let range = group * self.per_group..(group + 1) * self.per_group;
        let steps = self.steps.get_mut(range).unwrap_or_default();
        for (present, value) in steps.iter_mut().zip(column.values()) {
            *present |= !is_stale_nan(*value);
        }
        for (step, _) in column.histograms() {
            if let Some(present) = steps.get_mut(step) {
                *present = true;
            }
        }
    }
}

impl Evaluator<'_> {
    pub(crate) fn set_operator(
        &mut self,
        op: BinaryOp,
        matching: Option<&VectorMatching>,
        left: Vector,
        right: Vector,
    ) -> Result<Vector, QueryError> {
        let mut index = KeyIndex::new(match_key(matching));
        let ids = |vector: &Vector, index: &mut KeyIndex| -> Vec<usize> {
            vector.rows.iter().map(|row| index.id(&row.labels)).collect()
        };
        let (left_ids, right_ids) = (ids(&left, &mut index), ids(&right, &mut index));
        self.budget.work(left_ids.len() + right_ids.len())?;
        // `or` masks the right side by the left one, the others the left side by the right one.
        if op == BinaryOp::Or {
            let masked = self.mask(right, &right_ids, &left, &left_ids, index.len(), false)?;
            let mut rows = left.rows;
            rows.extend(masked.rows);
            // The same series may come from either side at different steps.
            return Vector::of(rows).merged();
        }
        self.mask(left, &left_ids, &right, &right_ids, index.len(), op == BinaryOp::And)
    }

    // Keeps the values of `vector` at the steps where the same group of `other` has one, or where it has none.
    fn mask(
        &mut self,
        mut vector: Vector,
        ids: &[usize],
        other: &Vector,
        other_ids: &[usize],
        groups: usize,
        keep_present: bool,
    ) -> Result<Vector, QueryError> {
        let steps = vector.rows.first().map_or(0, |row| row.column.values().len());
        let mut presence = Presence::new(groups, steps);
        for (row, id) in other.rows.iter().zip(other_ids) {
            presence.add(*id, &row.column);
            self.budget.work(steps)?;
        }
        for (row, id) in vector.rows.iter_mut().zip(ids) {
            let present = presence.of(*id);
            let is_kept = |step: usize| present.get(step).copied().unwrap_or(false) == keep_present;
            row.column.filter_map(|step, value| is_kept(step).then_some(value));
            row.column
                .map_histograms(|step, histogram| is_kept(step).then_some(SampleValue::Histogram(histogram)));
            self.budget.work(steps)?;
        }
        Ok(vector.without_empty())
    }
}
