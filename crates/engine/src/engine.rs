//! Runs queries.

use std::time::Instant;

use cupola_model::Labels;
use cupola_promql::{Expr, ExprKind, ValueType, parse_with, render_errors};
use cupola_storage::{Queryable, Samples};

use crate::annotations::Annotations;
use crate::budget::Budget;
use crate::column::{Row, Scalar, Value, Vector, without_metadata};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::gate::Gate;
use crate::grid::Grid;
use crate::options::EngineOptions;
use crate::plan::{Plan, unwrap_parens};
use crate::query::{Query, QueryResult, QueryTimings, QueryValue};

/// Evaluates queries over any storage, a bounded number at once.
pub struct Engine {
    options: EngineOptions,
    gate: Gate,
}

impl Engine {
    /// An engine with these settings.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        let gate = Gate::new(options.max_concurrency);
        Self { options, gate }
    }

    /// Its settings.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Parses a query with the experimental parts that the engine allows.
    ///
    /// # Errors
    /// [`QueryError::BadData`] with the first mistake and its place: `1:5: parse error: unclosed left parenthesis`.
    pub fn parse(&self, text: &str) -> Result<Expr, QueryError> {
        parse_with(text, &self.options.parse).map_err(|errors| QueryError::BadData(render_errors(text, &errors)))
    }

    /// Evaluates `query` over `storage`. Waits for a place first; blocks the calling thread throughout.
    ///
    /// # Errors
    /// [`QueryError`]; its kind says whose fault it is.
    pub fn query(&self, storage: &dyn Queryable, query: &Query<'_>) -> Result<QueryResult, QueryError> {
        let begin = Instant::now();
        let value_type = type_of(query.expr);
        // What is wrong with the query itself is told without waiting.
        let grid = steps_of(query, value_type)?;
        let cancel = query.cancel.no_later_than(begin.checked_add(self.options.timeout));
        let _place = self.gate.enter(&cancel)?;
        let queue = begin.elapsed();
        let is_range = query.step_ms.is_some();
        let mut evaluator = Evaluator {
            storage,
            options: &self.options,
            plan: Plan::new(query.expr, grid, query.step_ms.unwrap_or(0), is_range, query.end),
            lookback_ms: query
                .lookback_delta_ms
                .filter(|ms| *ms > 0)
                .unwrap_or(self.options.lookback_delta_ms),
            budget: Budget::new(&cancel, self.options.max_samples),
            notes: Annotations::new(query.text),
        };
        evaluator.budget.room(1, grid.len())?;
        let prepared = begin.elapsed();
        let raw = if evaluator.plan.height() > SHALLOW {
            on_tall_stack(|| evaluator.evaluate(query.expr, grid, value_type))?
        } else {
            evaluator.evaluate(query.expr, grid, value_type)?
        };
        let evaluated = begin.elapsed();
        let value = finish(raw, grid, is_range)?;
        let mut stats = evaluator.budget.stats();
        let total = begin.elapsed();
        stats.timings = QueryTimings {
            queue,
            preparation: prepared.saturating_sub(queue),
            evaluation: evaluated.saturating_sub(prepared),
            result: total.saturating_sub(evaluated),
            total,
        };
        let (warnings, infos) = evaluator.notes.into_texts();
        Ok(QueryResult {
            value,
            warnings,
            infos,
            stats,
        })
    }
}

// The steps of a query that makes sense.
fn steps_of(query: &Query<'_>, value_type: ValueType) -> Result<Grid, QueryError> {
    let bad = |text: &str| Err(QueryError::BadData(text.to_owned()));
    let Some(step) = query.step_ms else {
        return Ok(Grid::single(query.start));
    };
    if !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
        return Err(QueryError::BadData(format!(
            "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
            value_type.documented()
        )));
    }
    if step <= 0 {
        return bad("zero or negative query resolution step widths are not accepted. Try a positive integer");
    }
    if query.end < query.start {
        return bad("end timestamp must not be before start time");
    }
    Ok(Grid::range(query.start, query.end, step))
}

// Trees up to this height are evaluated on the caller's stack, higher ones on a thread of their own: threads of a pool
// have 2 MiB, and a sum of a thousand terms is a tree of height 1,000.
const SHALLOW: usize = 100;
const TALL_STACK_BYTES: usize = 64 << 20;

fn on_tall_stack<T: Send>(run: impl FnOnce() -> Result<T, QueryError> + Send) -> Result<T, QueryError> {
    let no_thread = |error: std::io::Error| QueryError::Internal(format!("cannot start a thread: {error}"));
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("promql-deep".to_owned())
            .stack_size(TALL_STACK_BYTES);
        let running = thread.spawn_scoped(scope, run).map_err(no_thread)?;
        running
            .join()
            .unwrap_or_else(|_| Err(QueryError::Internal("evaluation panicked".to_owned())))
    })
}

fn type_of(expr: &Expr) -> ValueType {
    match &expr.kind {
        ExprKind::Number(_) => ValueType::Scalar,
        ExprKind::String(_) => ValueType::String,
        ExprKind::VectorSelector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
        ExprKind::MatrixSelector { .. } | ExprKind::Subquery(_) => ValueType::Matrix,
        ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => type_of(expr),
        ExprKind::Binary(binary) => match (type_of(&binary.lhs), type_of(&binary.rhs)) {
            (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
            _ => ValueType::Vector,
        },
        ExprKind::Call(call) => call.function.returns,
    }
}

// A result before names are removed and rows are ordered.
enum Raw {
    Value(Value),
    Series(Vec<(Row, Samples)>),
}

impl Evaluator<'_> {
    fn evaluate(&mut self, expr: &Expr, grid: Grid, value_type: ValueType) -> Result<Raw, QueryError> {
        if value_type == ValueType::Matrix {
            let range = self.range_of(unwrap_parens(expr))?;
            return self.matrix(&range, grid.start()).map(Raw::Series);
        }
        self.eval(expr, grid).map(Raw::Value)
    }
}

fn finish(raw: Raw, grid: Grid, is_range: bool) -> Result<QueryValue, QueryError> {
    Ok(match raw {
        Raw::Series(series) => {
            let named = series.into_iter().map(|(row, samples)| (final_labels(&row), samples));
            let mut out: Vec<_> = named.collect();
            out.sort_by(|a, b| a.0.cmp(&b.0));
            if out.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return Err(QueryError::same_labelset());
            }
            QueryValue::Matrix(out)
        }
        Raw::Value(Value::Text(text)) => QueryValue::String(grid.start(), text),
        Raw::Value(Value::Scalar(scalar)) if is_range => {
            QueryValue::Matrix(vec![(Labels::empty(), scalar_samples(&scalar, grid))])
        }
        Raw::Value(Value::Scalar(scalar)) => QueryValue::Scalar(grid.start(), scalar.at(0)),
        Raw::Value(Value::Vector(vector)) => {
            let vector = remove_names(vector)?;
            if is_range {
                matrix_of(vector, grid)
            } else {
                vector_of(vector, grid.start())
            }
        }
    })
}

fn final_labels(row: &Row) -> Labels {
    if row.drop_name {
        without_metadata(&row.labels)
    } else {
        row.labels.clone()
    }
}

// Removes the names that were marked for it.
fn remove_names(mut vector: Vector) -> Result<Vector, QueryError> {
    for row in &mut vector.rows {
        if row.drop_name {
            row.labels = without_metadata(&row.labels);
        }
    }
    vector.merged()
}

fn scalar_samples(scalar: &Scalar, grid: Grid) -> Samples {
    Samples {
        ts: grid.times().collect(),
        values: (0..grid.len()).map(|step| scalar.at(step)).collect(),
    }
}

fn matrix_of(mut vector: Vector, grid: Grid) -> QueryValue {
    vector.rows.sort_by(|a, b| a.labels.cmp(&b.labels));
    let series = vector.rows.into_iter().filter_map(|row| {
        let mut samples = Samples::default();
        for (step, value) in row.column.present() {
            samples.push(grid.at(step), value);
        }
        (!samples.is_empty()).then_some((row.labels, samples))
    });
    QueryValue::Matrix(series.collect())
}

fn vector_of(mut vector: Vector, at: i64) -> QueryValue {
    if !vector.ordered {
        vector.rows.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    let rows = vector
        .rows
        .into_iter()
        .filter_map(|row| row.column.get(0).map(|value| (row.labels, at, value)));
    QueryValue::Vector(rows.collect())
}
