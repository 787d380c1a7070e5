//! Evaluates a tree: every node once for the whole grid of steps.

use std::sync::Arc;

use cupola_model::{Labels, METRIC_NAME, MatchOp, Matcher};
use cupola_promql::{BinaryOp, Expr, ExprKind};
use cupola_storage::{Queryable, SampleValue};

use crate::annotations::Annotations;
use crate::budget::Budget;
use crate::column::{Row, Scalar, Value, Vector, is_metadata_label, without_metadata};
use crate::error::QueryError;
use crate::functions::range::{is_range_function, keeps_name};
use crate::grid::Grid;
use crate::options::EngineOptions;
use crate::plan::{Plan, unwrap_parens};
use crate::query::SourceResolution;
use crate::select::{Sink, Take};

/// One running query.
pub(crate) struct Evaluator<'q> {
    pub(crate) storage: &'q dyn Queryable,
    pub(crate) options: &'q EngineOptions,
    pub(crate) plan: Plan,
    pub(crate) lookback_ms: i64,
    pub(crate) budget: Budget<'q>,
    pub(crate) notes: Annotations<'q>,
    pub(crate) source_resolution: SourceResolution,
    /// The same is asked again and again, as rules are.
    pub(crate) repeats: bool,
    /// Of subqueries that name none.
    pub(crate) subquery_step_ms: i64,
}

impl<'q> Evaluator<'q> {
    /// Evaluates `expr` at every step of `grid`.
    pub(crate) fn eval(&mut self, expr: &Expr, grid: Grid) -> Result<Value, QueryError> {
        self.budget.check()?;
        let held = self.budget.enter(expr.span);
        let value = if grid.len() > 1 && self.plan.is_invariant(expr) {
            let before = self.budget.queryable();
            let once = self.node(expr, Grid::single(grid.start()))?;
            self.budget.repeat_queryable(before, grid.len());
            self.budget.room(once.rows(), grid.len())?;
            once.broadcast(grid.len())
        } else {
            self.node(expr, grid)?
        };
        // What the arguments held is gone by now; only the result remains.
        self.budget
            .settle(held, value.count(), (value.rows(), grid.len()), value.extra_bytes())?;
        Ok(value)
    }

    fn node(&mut self, expr: &Expr, grid: Grid) -> Result<Value, QueryError> {
        match &expr.kind {
            ExprKind::Number(number) => Ok(Value::Scalar(Scalar::Constant(number.value))),
            ExprKind::String(text) => Ok(Value::Text(text.clone())),
            ExprKind::VectorSelector(selector) => Ok(Value::Vector(self.select(selector, grid, expr.span)?)),
            ExprKind::MatrixSelector { .. } | ExprKind::Subquery(_) => Err(QueryError::BadData(
                "a range vector can only be an argument of a function".to_owned(),
            )),
            ExprKind::Unary { op, expr } => self.unary(*op, expr, grid),
            ExprKind::Binary(binary) => self.binary(expr, binary, grid),
            ExprKind::Aggregate(aggregate) => Ok(Value::Vector(self.aggregate(aggregate, expr.span, grid)?)),
            ExprKind::Call(call) => self.call(expr, call, grid),
            ExprKind::Paren(inner) => self.node(inner, grid),
        }
    }

    fn unary(&mut self, op: BinaryOp, expr: &Expr, grid: Grid) -> Result<Value, QueryError> {
        let value = self.eval(expr, grid)?;
        if op != BinaryOp::Sub {
            return Ok(value);
        }
        match value {
            Value::Scalar(scalar) => Ok(Value::Scalar(scalar.map(|v| -v))),
            Value::Vector(mut vector) => {
                for row in &mut vector.rows {
                    row.column.map(|v| -v);
                    row.column.map_histograms(|_, mut histogram| {
                        Arc::make_mut(&mut histogram).neg();
                        Some(SampleValue::Histogram(histogram))
                    });
                }
                Ok(Value::Vector(self.drop_names(vector)?))
            }
            text @ Value::Text(_) => Ok(text),
        }
    }

    /// Evaluates an argument that the parser made sure is an instant vector.
    pub(crate) fn eval_vector(&mut self, expr: &Expr, grid: Grid) -> Result<Vector, QueryError> {
        match self.eval(expr, grid)? {
            Value::Vector(vector) => Ok(vector),
            _ => Err(QueryError::BadData("expected an instant vector".to_owned())),
        }
    }

    /// Evaluates an instant vector and hands its rows on one at a time: what selects and what looks at ranges never
    /// has all its rows in memory then.
    pub(crate) fn each_row(&mut self, expr: &Expr, grid: Grid, sink: Sink<'_, 'q>) -> Result<(), QueryError> {
        let inner = unwrap_parens(expr);
        if !self.streams(inner, grid) {
            for row in self.eval_vector(expr, grid)?.rows {
                sink(self, row)?;
            }
            return Ok(());
        }
        self.budget.check()?;
        let delayed = self.options.delayed_name_removal;
        match &inner.kind {
            ExprKind::VectorSelector(selector) => self.newest_rows(selector, grid, Take::Value, inner.span, sink),
            ExprKind::Call(call) if keeps_name(call.function.name) => self.range_call_rows(call, grid, sink),
            ExprKind::Call(call) => {
                // Series that differ in type or unit only are the same without; they wait for each other.
                let mut held = Vec::new();
                self.range_call_rows(call, grid, &mut |this, mut row| {
                    if delayed {
                        row.drop_name = true;
                        return sink(this, row);
                    }
                    let typed = row
                        .labels
                        .iter()
                        .any(|(name, _)| name != METRIC_NAME && is_metadata_label(name));
                    row.labels = without_metadata(&row.labels);
                    if typed {
                        this.keep(row, &mut held)
                    } else {
                        sink(this, row)
                    }
                })?;
                let rows = Vector::of(held).merged()?.rows;
                rows.into_iter().try_for_each(|row| sink(self, row))
            }
            _ => Err(QueryError::Internal(
                "this expression has no rows of its own".to_owned(),
            )),
        }
    }

    // Whether rows can be handed on before the last one is known.
    fn streams(&self, expr: &Expr, grid: Grid) -> bool {
        if grid.len() > 1 && self.plan.is_invariant(expr) {
            return false;
        }
        match &expr.kind {
            ExprKind::VectorSelector(selector) => selector.extended.is_none(),
            ExprKind::Call(call) if is_range_function(call) => call.args.iter().any(|arg| {
                // Without their names two series may be the same; that must be seen. One metric has no such pair.
                let ExprKind::MatrixSelector { selector, .. } = &unwrap_parens(arg).kind else {
                    return false;
                };
                let one_metric = |m: &Matcher| m.name() == METRIC_NAME && m.op() == MatchOp::Equal;
                self.options.delayed_name_removal
                    || keeps_name(call.function.name)
                    || selector.matchers.iter().any(one_metric)
            }),
            _ => false,
        }
    }

    /// Evaluates an argument that the parser made sure is a scalar.
    pub(crate) fn eval_scalar(&mut self, expr: &Expr, grid: Grid) -> Result<Scalar, QueryError> {
        match self.eval(expr, grid)? {
            Value::Scalar(scalar) => Ok(scalar),
            _ => Err(QueryError::BadData("expected a scalar".to_owned())),
        }
    }

    /// The names are not those of the results any more: removes them, or marks them to be removed at the end.
    pub(crate) fn drop_names(&mut self, mut vector: Vector) -> Result<Vector, QueryError> {
        if self.options.delayed_name_removal {
            vector.rows.iter_mut().for_each(|row| row.drop_name = true);
            return Ok(vector);
        }
        for row in &mut vector.rows {
            row.labels = without_metadata(&row.labels);
        }
        vector.merged()
    }

    /// A vector of one series without labels.
    pub(crate) fn single_row(column: crate::column::Column) -> Vector {
        Vector::of(vec![Row {
            labels: Labels::empty(),
            drop_name: false,
            column,
        }])
    }
}

/// How the text of a literal that names a label is written in an error, if the bytes it stands for are not UTF-8.
///
/// Such bytes can be escaped in a literal (`"a\xc5z"`); the parser puts the replacement character in their place.
pub(crate) fn invalid_label_literal(query: &str, expr: &Expr) -> Option<String> {
    let expr = unwrap_parens(expr);
    let ExprKind::String(text) = &expr.kind else {
        return None;
    };
    let written = query.get(expr.span.start..expr.span.end).unwrap_or_default();
    let meant = written.contains('\u{fffd}') || written.to_ascii_lowercase().contains("\\ufffd");
    (text.contains('\u{fffd}') && !meant).then(|| written.to_owned())
}

/// The text of a string argument.
pub(crate) fn text_of(expr: &Expr) -> Result<&str, QueryError> {
    match &unwrap_parens(expr).kind {
        ExprKind::String(text) => Ok(text),
        _ => Err(QueryError::BadData("expected a string literal".to_owned())),
    }
}
