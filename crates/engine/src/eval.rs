//! Evaluates a tree: every node once for the whole grid of steps.

use cupola_model::Labels;
use cupola_promql::{BinaryOp, Expr, ExprKind};
use cupola_storage::Queryable;

use crate::annotations::Annotations;
use crate::budget::Budget;
use crate::column::{Row, Scalar, Value, Vector, without_metadata};
use crate::error::QueryError;
use crate::grid::Grid;
use crate::options::EngineOptions;
use crate::plan::{Plan, unwrap_parens};

/// One running query.
pub(crate) struct Evaluator<'q> {
    pub(crate) storage: &'q dyn Queryable,
    pub(crate) options: &'q EngineOptions,
    pub(crate) plan: Plan,
    pub(crate) lookback_ms: i64,
    pub(crate) budget: Budget<'q>,
    pub(crate) notes: Annotations<'q>,
}

impl Evaluator<'_> {
    /// Evaluates `expr` at every step of `grid`.
    pub(crate) fn eval(&mut self, expr: &Expr, grid: Grid) -> Result<Value, QueryError> {
        self.budget.check()?;
        let held = self.budget.held();
        let value = if grid.len() > 1 && self.plan.is_invariant(expr) {
            self.node(expr, Grid::single(grid.start()))?.broadcast(grid.len())
        } else {
            self.node(expr, grid)?
        };
        // What the arguments held is gone by now; only the result remains.
        self.budget.release_to(held);
        self.budget.hold(value.count())?;
        Ok(value)
    }

    fn node(&mut self, expr: &Expr, grid: Grid) -> Result<Value, QueryError> {
        match &expr.kind {
            ExprKind::Number(number) => Ok(Value::Scalar(Scalar::Constant(number.value))),
            ExprKind::String(text) => Ok(Value::Text(text.clone())),
            ExprKind::VectorSelector(selector) => Ok(Value::Vector(self.select(selector, grid)?)),
            ExprKind::MatrixSelector { .. } | ExprKind::Subquery(_) => Err(QueryError::BadData(
                "a range vector can only be an argument of a function".to_owned(),
            )),
            ExprKind::Unary { op, expr } => self.unary(*op, expr, grid),
            ExprKind::Binary(binary) => self.binary(expr, binary, grid),
            ExprKind::Aggregate(aggregate) => Ok(Value::Vector(self.aggregate(aggregate, grid)?)),
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
                vector.rows.iter_mut().for_each(|row| row.column.map(|v| -v));
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
