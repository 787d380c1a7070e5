//! `label_replace` and `label_join`: they look at labels only.

use cupola_goregex::Regex;
use cupola_model::{METRIC_NAME, is_valid_label_name};
use cupola_promql::{Call, Expr};

use super::argument;
use crate::column::{Row, Vector};
use crate::error::QueryError;
use crate::eval::{Evaluator, invalid_label_literal, text_of};
use crate::grid::Grid;

fn set(row: &mut Row, name: &str, value: &str) {
    let mut builder = row.labels.to_builder();
    builder.set(name, value);
    row.labels = builder.build();
    // A name given on purpose stays.
    if name == METRIC_NAME {
        row.drop_name = false;
    }
}

impl Evaluator<'_> {
    fn is_label(&self, expr: &Expr, name: &str) -> bool {
        is_valid_label_name(name) && invalid_label_literal(self.notes.query(), expr).is_none()
    }

    pub(crate) fn label_replace(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let text = |index| text_of(argument(call, index)?);
        let (target, replacement, source, pattern) = (text(1)?, text(2)?, text(3)?, text(4)?);
        let regex = Regex::anchored_text(pattern)
            .map_err(|_| QueryError::execution(format!("invalid regular expression in label_replace(): {pattern}")))?;
        if !self.is_label(argument(call, 1)?, target) {
            return Err(QueryError::execution(format!(
                "invalid destination label name in label_replace(): {target}"
            )));
        }
        let mut vector = self.vector_arg(call, 0, grid)?;
        let mut value = String::new();
        for row in &mut vector.rows {
            self.budget.work(1)?;
            let replaced = match regex.captures(row.labels.value(source)) {
                Some(captures) => {
                    value.clear();
                    captures.expand(replacement, &mut value);
                    true
                }
                None => false,
            };
            if replaced {
                set(row, target, &value);
            }
        }
        vector.merged()
    }

    pub(crate) fn label_join(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let text = |index| text_of(argument(call, index)?);
        let (target, separator) = (text(1)?, text(2)?);
        let sources = (3..call.args.len()).map(text).collect::<Result<Vec<_>, _>>()?;
        if let Some(source) = sources.iter().find(|source| !is_valid_label_name(source)) {
            return Err(QueryError::execution(format!(
                "invalid source label name in label_join(): {source}"
            )));
        }
        if !self.is_label(argument(call, 1)?, target) {
            return Err(QueryError::execution(format!(
                "invalid destination label name in label_join(): {target}"
            )));
        }
        let mut vector = self.vector_arg(call, 0, grid)?;
        for row in &mut vector.rows {
            self.budget.work(1)?;
            let values: Vec<&str> = sources.iter().map(|source| row.labels.value(source)).collect();
            let value = values.join(separator);
            set(row, target, &value);
        }
        vector.merged()
    }
}
