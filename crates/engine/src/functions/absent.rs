//! `absent` and `absent_over_time`.

use cupola_model::{Labels, METRIC_NAME, MatchOp, is_stale_nan};
use cupola_promql::{Call, Expr, ExprKind};
use cupola_storage::{SampleValue, Samples};

use super::argument;
use super::range::check_extended;
use crate::column::{Column, Row, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::plan::unwrap_parens;
use crate::window::{MixedWindow, PerWindow, Window, WithHistograms};

// What the series would be called: the labels that the selector fixes to one value each.
fn labels_of(expr: &Expr) -> Labels {
    let selector = match &unwrap_parens(expr).kind {
        ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector { selector, .. } => selector,
        _ => return Labels::empty(),
    };
    let mut out = cupola_model::LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector.matchers.iter().filter(|m| m.name() != METRIC_NAME) {
        // A label that is named twice is left out, even with the same value: upstream's behaviour.
        if matcher.op() == MatchOp::Equal && !seen.contains(&matcher.name()) {
            out.set(matcher.name(), matcher.value());
            seen.push(matcher.name());
        } else {
            out.remove(matcher.name());
        }
    }
    out.build()
}

// One series that is there wherever `vector` has no value of either kind.
fn absence(vector: &Vector, labels: Labels, steps: usize) -> Vector {
    let mut column = Column::constant(steps, 1.0);
    for row in &vector.rows {
        for (value, slot) in row.column.values().iter().zip(column.values_mut()) {
            if !is_stale_nan(*value) {
                *slot = cupola_model::STALE_NAN;
            }
        }
        for (step, _) in row.column.histograms() {
            column.set(step, None);
        }
    }
    Vector::of(vec![Row {
        labels,
        drop_name: false,
        column,
    }])
    .without_empty()
}

impl Evaluator<'_> {
    pub(crate) fn absent(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let vector = self.vector_arg(call, 0, grid)?;
        self.budget.work(vector.rows.len() * grid.len())?;
        Ok(absence(&vector, labels_of(argument(call, 0)?), grid.len()))
    }

    pub(crate) fn absent_over_time(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let range = self.range_of(argument(call, 0)?)?;
        check_extended(&range, call.function.name)?;
        let range = self.tiered_range(range, call, grid);
        let mut present = WithHistograms {
            floats: PerWindow(|_: &Samples, _: &Window| Some(1.0)),
            mixed: |_: &Samples, _: &MixedWindow| Some(SampleValue::Float(1.0)),
        };
        let vector = self.over_range(&range, grid, &mut present)?;
        Ok(absence(&vector, labels_of(argument(call, 0)?), grid.len()))
    }
}
