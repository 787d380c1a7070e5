//! Runs queries.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cupola_model::Labels;
use cupola_promql::{Expr, ExprKind, ValueType, parse_with, render_errors};
use cupola_storage::{Queryable, Samples};
use parking_lot::RwLock;

use crate::annotations::Annotations;
use crate::budget::Budget;
use crate::cache::{Ask, Piece, ResultCache, ResultCacheStatus, look_ahead};
use crate::column::{Row, Scalar, Value, Vector, without_metadata};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::gate::Gate;
use crate::grid::Grid;
use crate::ledger::{Account, Ledger};
use crate::options::EngineOptions;
use crate::order::sort;
use crate::plan::{Plan, unwrap_parens};
use crate::query::{Asker, Query, QueryLog, QueryResult, QueryStats, QueryTimings, QueryValue};
use crate::range::points_of;
use crate::turns::Turns;

/// Evaluates queries over any storage, a bounded number at once.
pub struct Engine {
    options: EngineOptions,
    // As the options say at first.
    subquery_step_ms: AtomicI64,
    gate: Gate,
    rule_gate: Gate,
    turns: Turns,
    ledger: Arc<Ledger>,
    running: AtomicUsize,
    cache: ResultCache,
    observer: OnceLock<Observer>,
    log: RwLock<Option<Arc<dyn QueryLog>>>,
    log_failures: AtomicU64,
}

/// What the engine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineStatus {
    /// Queries that were asked and not answered yet, waiting ones included.
    pub running: usize,
    /// Those of them that wait to compute.
    pub waiting: usize,
    /// How often one query made way for another so far.
    pub handovers: u64,
    /// Bytes that queries and answers not yet sent have reserved.
    pub memory: usize,
    /// The most they may reserve; `usize::MAX` for no limit.
    pub memory_limit: usize,
    /// Queries refused for the limit of one query so far.
    pub refused_for_query: u64,
    /// Queries refused for the limit of all together so far.
    pub refused_for_total: u64,
    /// Whether queries are logged.
    pub is_logged: bool,
    /// Queries that could not be logged so far.
    pub log_failures: u64,
}

// Who is told what queries used.
type Observer = Box<dyn Fn(&QueryStats) + Send + Sync>;

// Rules have at least so many places, however few users have.
const RULE_PLACES: usize = 4;

// Counts a query from its asking to its answer.
struct Running<'e>(&'e AtomicUsize);

impl<'e> Running<'e> {
    fn begin(count: &'e AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// An engine with these settings.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        Self {
            gate: Gate::new(options.max_concurrency),
            rule_gate: Gate::new(options.max_concurrency.max(RULE_PLACES)),
            turns: Turns::new(options.cpu_slots),
            ledger: Arc::new(Ledger::new(options.max_memory_total)),
            running: AtomicUsize::new(0),
            cache: ResultCache::new(options.result_cache_bytes),
            observer: OnceLock::new(),
            log: RwLock::new(None),
            log_failures: AtomicU64::new(0),
            subquery_step_ms: AtomicI64::new(options.default_subquery_step_ms),
            options,
        }
    }

    /// From now on `observer` is told what each answered query used, on the thread that evaluated it. Only the first
    /// observer counts.
    pub fn on_answer(&self, observer: impl Fn(&QueryStats) + Send + Sync + 'static) {
        // A second one is dropped, as said above.
        let _ = self.observer.set(Box::new(observer));
    }

    /// From now on `log` is told of queries, and whoever was told before no more. For a changed configuration.
    pub fn set_query_log(&self, log: Option<Arc<dyn QueryLog>>) {
        *self.log.write() = log;
    }

    /// Sets the step of subqueries that name none, in milliseconds. For a changed configuration.
    pub fn set_default_subquery_step(&self, step_ms: i64) {
        self.subquery_step_ms.store(step_ms, Ordering::Relaxed);
    }

    /// Its settings.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        let (handovers, waiting) = self.turns.counts();
        let (refused_for_query, refused_for_total) = self.ledger.refused();
        EngineStatus {
            running: self.running.load(Ordering::Relaxed),
            waiting,
            handovers,
            memory: self.ledger.held(),
            memory_limit: self.ledger.limit(),
            refused_for_query,
            refused_for_total,
            is_logged: self.log.read().is_some(),
            log_failures: self.log_failures.load(Ordering::Relaxed),
        }
    }

    /// What its cache of results has done.
    #[must_use]
    pub fn result_cache(&self) -> ResultCacheStatus {
        self.cache.status()
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
        let result = self.answer(storage, query, begin);
        // Not while it is held: whoever writes may have to wait for the disk.
        let log = self.log.read().clone();
        if let Some(log) = log {
            self.tell(&*log, query, &result, begin);
        }
        result
    }

    fn tell(&self, log: &dyn QueryLog, query: &Query<'_>, result: &Result<QueryResult, QueryError>, begin: Instant) {
        let logged = match result {
            Ok(result) => log.log(query, &result.stats, None),
            Err(QueryError::Timeout(_)) if query.tried_until.is_some_and(|until| Instant::now() >= until) => return,
            Err(error) => {
                let mut stats = QueryStats::default();
                stats.timings.total = begin.elapsed();
                log.log(query, &stats, Some(error))
            }
        };
        if logged.is_err() {
            self.log_failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn answer(&self, storage: &dyn Queryable, query: &Query<'_>, begin: Instant) -> Result<QueryResult, QueryError> {
        let value_type = type_of(query.expr);
        // What is wrong with the query itself is told without waiting.
        let grid = steps_of(query, value_type)?;
        let cancel = query.cancel.no_later_than(begin.checked_add(self.options.timeout));
        let _running = Running::begin(&self.running);
        let _place = match query.asked_by {
            Asker::User => self.gate.enter(&cancel)?,
            Asker::Rule => self.rule_gate.enter(&cancel)?,
        };
        let turn = self.turns.enter(query.asked_by, &cancel)?;
        let account = Account::new(&self.ledger, query.asked_by, self.options.max_memory);
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
            budget: Budget::new(&cancel, query.text, self.options.max_samples, account, turn),
            notes: Annotations::new(query.text),
            source_resolution: query.source_resolution,
            repeats: query.asked_by == Asker::Rule,
            subquery_step_ms: self.subquery_step_ms.load(Ordering::Relaxed).max(1),
        };
        if self.counts_steps(query) {
            evaluator.budget.count_steps(grid.len());
        }
        let held = evaluator.budget.held();
        evaluator.budget.room(1, grid.len())?;
        evaluator.budget.release_to(held);
        let prepared = begin.elapsed();
        let ask = self.ask_cache(query, grid, &evaluator);
        let mut evaluate = |grid| evaluator.piece(query, grid, value_type);
        let answer = match &ask {
            Some(ask) => self.cache.answer(ask, storage, &mut evaluate)?,
            None => evaluate(grid)?,
        };
        // Kept samples count as if they had been computed.
        evaluator.budget.hold(answer.reused)?;
        let memory = evaluator.budget.keep(answer.value.bytes())?;
        let mut stats = evaluator.budget.stats();
        let total = begin.elapsed();
        stats.timings = QueryTimings {
            queue,
            preparation: prepared.saturating_sub(queue),
            evaluation: answer.evaluation,
            result: total.saturating_sub(prepared).saturating_sub(answer.evaluation),
            total,
        };
        if let Some(observer) = self.observer.get() {
            observer(&stats);
        }
        Ok(QueryResult {
            value: answer.value,
            warnings: answer.warnings,
            infos: answer.infos,
            stats,
            memory,
        })
    }

    fn counts_steps(&self, query: &Query<'_>) -> bool {
        query.per_step_stats && self.options.per_step_stats
    }

    // The query as the cache knows it, if its answer may be kept.
    fn ask_cache<'q>(&self, query: &Query<'q>, grid: Grid, evaluator: &Evaluator<'_>) -> Option<Ask<'q>> {
        // Counts per step are those of a whole evaluation.
        if !self.cache.takes(grid) || self.counts_steps(query) {
            return None;
        }
        let lookback_ms = evaluator.lookback_ms;
        Some(Ask {
            text: query.text,
            grid,
            step_ms: query.step_ms?,
            lookback_ms,
            source_resolution: query.source_resolution,
            subquery_step_ms: evaluator.subquery_step_ms,
            ahead_ms: look_ahead(query.expr, &evaluator.plan, lookback_ms)?,
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

    // The answer over `grid`, which may be a part of the query's where the plan is the same for all of them.
    fn piece(&mut self, query: &Query<'_>, grid: Grid, value_type: ValueType) -> Result<Piece, QueryError> {
        let begin = Instant::now();
        let raw = if self.plan.height() > SHALLOW {
            on_tall_stack(|| self.evaluate(query.expr, grid, value_type))?
        } else {
            self.evaluate(query.expr, grid, value_type)?
        };
        let evaluation = begin.elapsed();
        let value = finish(raw, grid, query.step_ms.is_some(), &mut self.budget)?;
        let none = Annotations::new(self.notes.query());
        let notes = std::mem::replace(&mut self.notes, none);
        let names_steps = notes.names_steps();
        let (warnings, infos) = notes.into_texts();
        Ok(Piece {
            value,
            warnings,
            infos,
            names_steps,
            evaluation,
            reused: 0,
        })
    }
}

fn finish(raw: Raw, grid: Grid, is_range: bool, budget: &mut Budget<'_>) -> Result<QueryValue, QueryError> {
    Ok(match raw {
        Raw::Series(series) => {
            let named = series.into_iter().map(|(row, samples)| (final_labels(&row), samples));
            let out = sort(budget, named.collect(), |a: &(Labels, _), b| a.0.cmp(&b.0))?;
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
                matrix_of(vector, grid, budget)?
            } else {
                vector_of(vector, grid.start(), budget)?
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
    Samples::floats(
        grid.times().collect(),
        (0..grid.len()).map(|step| scalar.at(step)).collect(),
    )
}

fn matrix_of(vector: Vector, grid: Grid, budget: &mut Budget<'_>) -> Result<QueryValue, QueryError> {
    let rows = sort(budget, vector.rows, |a: &Row, b| a.labels.cmp(&b.labels))?;
    let mut series = Vec::with_capacity(rows.len());
    for row in rows {
        let count = row.column.present().count();
        let mut samples = Samples::floats(Vec::with_capacity(count), Vec::with_capacity(count));
        points_of(&row.column, grid, &mut samples);
        // The column, 8 bytes per step, goes; times and values, 16 bytes, come.
        budget.charge(count * size_of::<f64>())?;
        budget.work(count)?;
        if !samples.is_empty() {
            series.push((row.labels, samples));
        }
    }
    Ok(QueryValue::Matrix(series))
}

fn vector_of(mut vector: Vector, at: i64, budget: &mut Budget<'_>) -> Result<QueryValue, QueryError> {
    if !vector.ordered {
        vector.rows = sort(budget, vector.rows, |a, b| a.labels.cmp(&b.labels))?;
    }
    let rows = vector
        .rows
        .into_iter()
        .filter_map(|row| row.column.value(0).map(|value| (row.labels, at, value)));
    Ok(QueryValue::Vector(rows.collect()))
}
