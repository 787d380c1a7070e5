//! Executes the commands of a script.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_model::{Labels, fmt_f64_g};
use cupola_promql::{At, Expr, ExprKind, ParseOptions};
use cupola_storage::{SampleValue, Samples};

use super::classic::from_classic;
use super::compare::{check_sorted, compare_matrix, compare_rows, compare_scalar};
use super::parse::{Command, Eval, Expectation, Level, Mode, ScriptError, parse};
use super::series::SeriesLine;
use super::store::MemoryStore;
use crate::{Engine, EngineOptions, Query, QueryResult, QueryValue};

const MINUTE_MS: i64 = 60_000;

/// Functions whose result depends on the evaluation time even under `@`.
const NOT_STEP_INVARIANT: [&str; 15] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

/// The settings scripts are written for: everything experimental is on.
#[must_use]
pub fn script_options() -> EngineOptions {
    EngineOptions {
        max_samples: 10_000,
        timeout: Duration::from_secs(100),
        default_subquery_step_ms: MINUTE_MS,
        parse: ParseOptions::all(),
        delayed_name_removal: true,
        use_start_timestamps: true,
        ..EngineOptions::default()
    }
}

/// One evaluation that did not give what was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its line in the script.
    pub line: usize,
    /// The query.
    pub query: String,
    /// What was wrong.
    pub message: String,
}

/// The outcome of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many evaluations gave what was wanted.
    pub passed: usize,
    /// The others.
    pub failures: Vec<Failure>,
}

/// Runs scripts, each over an empty store.
pub struct Runner {
    engine: Engine,
    store: MemoryStore,
}

impl Runner {
    /// A runner with these settings; see [`script_options`].
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        Self {
            engine: Engine::new(options),
            store: MemoryStore::default(),
        }
    }

    /// Runs a script.
    ///
    /// # Errors
    /// [`ScriptError`] where it cannot be read; a failed evaluation is part of the report.
    pub fn run(&mut self, script: &str) -> Result<Report, ScriptError> {
        self.store.clear();
        let mut report = Report::default();
        for command in parse(script)? {
            match command {
                Command::Clear => self.store.clear(),
                Command::Load {
                    step_ms,
                    with_nhcb,
                    series,
                } => self.load(step_ms, with_nhcb, series),
                Command::Eval(eval) => match self.check(&eval) {
                    Ok(()) => report.passed += 1,
                    Err(message) => {
                        report.failures.push(Failure {
                            line: eval.line,
                            query: eval.query.clone(),
                            message,
                        });
                    }
                },
            }
        }
        Ok(report)
    }

    fn load(&mut self, step_ms: i64, with_nhcb: bool, series: Vec<SeriesLine>) {
        // Of several lines with the same labels the last one counts.
        let lines: BTreeMap<Labels, SeriesLine> = series.into_iter().map(|line| (line.labels.clone(), line)).collect();
        let loaded: Vec<(Labels, Samples)> = lines
            .into_values()
            .map(|line| (line.labels.clone(), line.samples(step_ms)))
            .collect();
        for (labels, samples) in &loaded {
            self.store.add(labels, samples);
        }
        if with_nhcb {
            for (labels, samples) in from_classic(&loaded) {
                self.store.add(&labels, &samples);
            }
        }
    }

    fn query(&self, eval: &Eval, expr: &Expr, mode: Mode) -> Result<QueryResult, String> {
        let query = match mode {
            Mode::Instant(at) => Query::instant(&eval.query, expr, at),
            Mode::Range { start, end, step_ms } => Query::range(&eval.query, expr, start, end, step_ms),
        };
        self.engine
            .query(&self.store, &query)
            .map_err(|error| error.to_string())
    }

    fn check(&self, eval: &Eval) -> Result<(), String> {
        let parsed = self.engine.parse(&eval.query).map_err(|error| error.to_string());
        let result = parsed.and_then(|expr| Ok((self.query(eval, &expr, eval.mode)?, expr)));
        let wanted_failure = eval.expectations.iter().find_map(|e| match e {
            Expectation::Fail(wanted) => Some(wanted),
            _ => None,
        });
        let (result, expr) = match (result, wanted_failure) {
            (Err(text), Some(wanted)) if wanted.accepts(&text) => return Ok(()),
            (Err(text), Some(wanted)) => return Err(format!("failed with {text:?} instead of {wanted:?}")),
            (Err(text), None) => return Err(format!("failed: {text}")),
            (Ok(_), Some(_)) => return Err("expected to fail, but did not".to_owned()),
            (Ok(found), None) => found,
        };
        check_notes(eval, &result)?;
        self.check_value(eval, &result.value)?;
        if let Mode::Instant(at) = eval.mode {
            self.check_other_ways(eval, &expr, at)?;
        }
        Ok(())
    }

    fn check_value(&self, eval: &Eval, value: &QueryValue) -> Result<(), String> {
        for expectation in &eval.expectations {
            match expectation {
                Expectation::Text(wanted) => {
                    return match value {
                        QueryValue::String(_, got) if got == wanted => Ok(()),
                        other => Err(format!("expected the text {wanted:?}, got {other:?}")),
                    };
                }
                Expectation::RangeVector { start, step_ms, .. } => {
                    return match value {
                        QueryValue::Matrix(rows) => compare_matrix(rows, &eval.series, *start, *step_ms),
                        other => Err(format!("expected a range vector, got a {}", other.type_name())),
                    };
                }
                _ => {}
            }
        }
        if let Some(wanted) = eval.scalar {
            return compare_scalar(value, wanted);
        }
        match (eval.mode, value) {
            (Mode::Instant(_), QueryValue::Vector(rows)) => {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|(labels, _, value)| (labels.clone(), value.clone()))
                    .collect();
                compare_rows(&rows, &eval.series, is_ordered(eval))
            }
            (Mode::Range { start, step_ms, .. }, QueryValue::Matrix(rows)) => {
                compare_matrix(rows, &eval.series, start, step_ms)
            }
            (_, QueryValue::Scalar(_, value)) => Err(format!("unexpected scalar {}", fmt_f64_g(*value))),
            (_, other) => Err(format!("unexpected {}", other.type_name())),
        }
    }

    // The same query in the middle of a range, and with every selector fixed to the same time.
    fn check_other_ways(&self, eval: &Eval, expr: &Expr, at: i64) -> Result<(), String> {
        let special = eval.expectations.iter().any(|e| {
            matches!(
                e,
                Expectation::Text(_) | Expectation::RangeVector { .. } | Expectation::Ordered
            )
        });
        let text = &eval.query;
        let by_query = ["start()", "end()", "range()", "step()"]
            .iter()
            .any(|call| text.contains(call));
        if !special && !by_query {
            self.check_in_range(eval, expr, at)
                .map_err(|message| format!("within a range query: {message}"))?;
        }
        if special && !is_ordered(eval) || calls_any(expr, &NOT_STEP_INVARIANT) {
            return Ok(());
        }
        let mut fixed = expr.clone();
        fix_time(&mut fixed, at);
        let times = if at == 0 {
            vec![-1000, 0, 1000]
        } else {
            vec![-10 * at, 0, at / 5, at, 10 * at]
        };
        for time in times {
            let mode = Mode::Instant(time);
            let there = |message: String| format!("with @ {at} ms at {time} ms: {message}");
            let result = self.query(eval, &fixed, mode).map_err(there)?;
            check_notes(eval, &result).map_err(there)?;
            self.check_value(eval, &result.value).map_err(there)?;
            if !special && !by_query {
                self.check_in_range(eval, &fixed, time).map_err(there)?;
            }
        }
        Ok(())
    }

    fn check_in_range(&self, eval: &Eval, expr: &Expr, at: i64) -> Result<(), String> {
        let mode = Mode::Range {
            start: at - MINUTE_MS,
            end: at + MINUTE_MS,
            step_ms: MINUTE_MS,
        };
        let QueryValue::Matrix(series) = self.query(eval, expr, mode)?.value else {
            return Err("a range query must give a matrix".to_owned());
        };
        check_sorted(&series)?;
        let rows: Vec<(Labels, SampleValue)> = series
            .into_iter()
            .filter_map(|(labels, samples)| {
                let (_, value, _) = samples.iter().find(|(time, ..)| *time == at)?;
                Some((labels, value))
            })
            .collect();
        match eval.scalar {
            Some(wanted) => {
                let got = match rows.first() {
                    Some((_, SampleValue::Float(value))) => *value,
                    _ => f64::NAN,
                };
                compare_scalar(&QueryValue::Scalar(at, got), wanted)
            }
            None => compare_rows(&rows, &eval.series, false),
        }
    }
}

fn is_ordered(eval: &Eval) -> bool {
    eval.expectations.iter().any(|e| matches!(e, Expectation::Ordered))
}

fn check_notes(eval: &Eval, result: &QueryResult) -> Result<(), String> {
    for (level, got) in [(Level::Warn, &result.warnings), (Level::Info, &result.infos)] {
        let wanted: Vec<_> = eval
            .expectations
            .iter()
            .filter_map(|e| match e {
                Expectation::Note(l, wanted) if *l == level => Some(wanted),
                _ => None,
            })
            .collect();
        let none = eval
            .expectations
            .iter()
            .any(|e| matches!(e, Expectation::NoNote(l) if *l == level));
        if none && !got.is_empty() {
            return Err(format!("unexpected {level:?} {got:?}"));
        }
        if wanted.is_empty() {
            continue;
        }
        if let Some(missing) = wanted
            .iter()
            .find(|wanted| !got.iter().any(|text| wanted.accepts(text)))
        {
            return Err(format!("expected {level:?} {missing:?}, got {got:?}"));
        }
        if let Some(extra) = got
            .iter()
            .find(|text| !wanted.iter().any(|wanted| wanted.accepts(text)))
        {
            return Err(format!("unexpected {level:?} {extra:?}"));
        }
    }
    Ok(())
}

fn calls_any(expr: &Expr, names: &[&str]) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::VectorSelector(_) | ExprKind::MatrixSelector { .. } => {
            false
        }
        ExprKind::Subquery(subquery) => calls_any(&subquery.expr, names),
        ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => calls_any(expr, names),
        ExprKind::Binary(binary) => calls_any(&binary.lhs, names) || calls_any(&binary.rhs, names),
        ExprKind::Aggregate(aggregate) => {
            calls_any(&aggregate.expr, names) || aggregate.param.as_ref().is_some_and(|p| calls_any(p, names))
        }
        ExprKind::Call(call) => {
            names.contains(&call.function.name) || call.args.iter().any(|arg| calls_any(arg, names))
        }
    }
}

// Adds `@` to every selector and outermost subquery without one.
fn fix_time(expr: &mut Expr, at: i64) {
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector { selector, .. } => {
            selector.modifiers.at.get_or_insert(At::Time(at));
        }
        // What is inside follows the subquery.
        ExprKind::Subquery(subquery) => {
            subquery.modifiers.at.get_or_insert(At::Time(at));
        }
        ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => fix_time(expr, at),
        ExprKind::Binary(binary) => {
            fix_time(&mut binary.lhs, at);
            fix_time(&mut binary.rhs, at);
        }
        ExprKind::Aggregate(aggregate) => {
            fix_time(&mut aggregate.expr, at);
            if let Some(param) = &mut aggregate.param {
                fix_time(param, at);
            }
        }
        ExprKind::Call(call) => call.args.iter_mut().for_each(|arg| fix_time(arg, at)),
    }
}
