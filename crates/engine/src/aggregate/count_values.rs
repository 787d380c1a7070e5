//! `count_values`: the values become labels.

use cupola_model::{Labels, fmt_f64, go_quote, is_stale_nan, is_valid_label_name};
use cupola_promql::Aggregate;
use hashbrown::HashMap;

use super::Groups;
use crate::column::{Column, Row, Vector};
use crate::error::QueryError;
use crate::eval::{Evaluator, invalid_label_literal, text_of};
use crate::grid::Grid;

impl Evaluator<'_> {
    pub(crate) fn count_values(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<Vector, QueryError> {
        let missing = || QueryError::BadData("missing parameter of count_values".to_owned());
        let param = aggregate.param.as_ref().ok_or_else(missing)?;
        let label = text_of(param)?;
        if let Some(written) = invalid_label_literal(self.notes.query(), param) {
            return Err(QueryError::execution(format!("invalid label name {written}")));
        }
        if !is_valid_label_name(label) {
            return Err(QueryError::execution(format!("invalid label name {}", go_quote(label))));
        }
        let vector = self.eval_vector(&aggregate.expr, grid)?;
        let groups = Groups::of(&vector, aggregate);
        // A label that `without` names goes away after it was set.
        let label = (!(aggregate.without && aggregate.grouping.iter().any(|name| name == label))).then_some(label);
        let mut counted = Counted {
            groups: &groups,
            label,
            steps: grid.len(),
            rows: Vec::new(),
            by_labels: HashMap::new(),
            by_value: HashMap::new(),
        };
        for (row, group) in vector.rows.iter().zip(&groups.of_row) {
            for (step, value) in row.column.present() {
                counted.count(*group, step, value);
                // Every new value is a row of all steps: a gauge of many values would fill the memory.
                self.budget.room(counted.rows.len(), grid.len())?;
            }
            for (step, histogram) in row.column.histograms() {
                let (text, known) = (histogram.to_string(), counted.rows.len());
                let at = counted.row(*group, &text);
                counted.add(at, step);
                if at == known {
                    // Such a label is long.
                    self.budget.charge(text.len())?;
                    self.budget.room(counted.rows.len(), grid.len())?;
                }
            }
            self.budget.work(grid.len())?;
        }
        Ok(Vector::of(counted.rows))
    }
}

// The rows so far.
struct Counted<'g> {
    groups: &'g Groups,
    label: Option<&'g str>,
    steps: usize,
    rows: Vec<Row>,
    by_labels: HashMap<Labels, usize>,
    by_value: HashMap<(usize, u64), usize>,
}

impl Counted<'_> {
    fn count(&mut self, group: usize, step: usize, value: f64) {
        let key = (group, value.to_bits());
        let at = match self.by_value.get(&key) {
            Some(at) => *at,
            None => {
                let at = self.row(group, &fmt_f64(value));
                self.by_value.insert(key, at);
                at
            }
        };
        self.add(at, step);
    }

    // The row of a value in a group.
    fn row(&mut self, group: usize, value: &str) -> usize {
        let base = self.groups.labels.get(group).cloned().unwrap_or_default();
        let labels = match self.label {
            Some(label) => {
                let mut builder = base.to_builder();
                builder.set(label, value);
                builder.build()
            }
            None => base,
        };
        let rows = &mut self.rows;
        let steps = self.steps;
        *self.by_labels.entry(labels).or_insert_with_key(|labels| {
            rows.push(Row {
                labels: labels.clone(),
                drop_name: false,
                column: Column::absent(steps),
            });
            rows.len() - 1
        })
    }

    fn add(&mut self, row: usize, step: usize) {
        if let Some(count) = self
            .rows
            .get_mut(row)
            .and_then(|row| row.column.values_mut().get_mut(step))
        {
            *count = if is_stale_nan(*count) { 1.0 } else { *count + 1.0 };
        }
    }
}
