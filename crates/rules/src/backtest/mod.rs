//! What rules would have done: their true state machine replayed over stored samples.
//!
//! Expressions are evaluated as range queries, a day of steps at a time, rule by rule in the order in which they need each
//! other; what they give goes through the same [`Alerts`] that live rules have. What recording rules (and alerts, as
//! `ALERTS`) give within the time of the backtest is kept in front of the storage, so that rules that were never loaded
//! can be tried together, and so that a changed rule is not answered with what its old version recorded. Of each series
//! only as much of that is kept as any rule looks back at it.
//!
//! Evaluations lie where the server's would: at the group's slot of its interval.

mod alerts;
mod json;
mod overlay;
mod plan;
mod recording;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cupola_config::rules::{Rule, RuleKind};
use cupola_engine::{Cancel, Engine, Query, QueryValue, SourceResolution};
use cupola_model::Labels;
use cupola_promql::{At, DurationExpr, DurationKind, Expr, ExprKind, Modifiers};
use cupola_storage::{Queryable, SampleValue, Samples};
use parking_lot::Mutex;

use crate::group::{self, ms};
use crate::manager::GroupSource;
use crate::slots::Slots;
use alerts::AlertRun;
use overlay::{Overlay, Replayed};
use plan::{Stage, stages};

pub use alerts::AlertLife;
pub use json::ReportsJson;

// Steps of one range query. A day at an interval of a minute; few in tests, so that these go over several.
const STEPS_AT_ONCE: i64 = if cfg!(test) { 17 } else { 1_440 };
// How many queries a window may be cut into to find the steps that fail.
const QUERIES_FOR_FAILURES: usize = 256;

/// What is to be replayed.
#[derive(Debug, Clone)]
pub struct BacktestOptions {
    /// The first moment, milliseconds since the epoch.
    pub start: i64,
    /// The last moment.
    pub end: i64,
    /// Of groups that have none, milliseconds; `global.evaluation_interval`.
    pub interval_ms: i64,
    /// Of groups that have none, milliseconds; `global.rule_query_offset`.
    pub query_offset_ms: i64,
    /// For templates of labels, without a slash at its end.
    pub external_url: String,
    /// For templates of labels.
    pub external_labels: Labels,
    /// Stops it from outside.
    pub cancel: Cancel,
}

/// What one rule would have done.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleReport {
    /// The file it is from.
    pub file: String,
    /// Its group.
    pub group: String,
    /// The name of the series or the alert.
    pub name: String,
    /// The expression as Prometheus would print it.
    pub query: String,
    /// The rule's own labels.
    pub labels: BTreeMap<String, String>,
    /// How often it would have been evaluated.
    pub evaluations: u64,
    /// How many of these would have failed.
    pub failures: u64,
    /// The first that failed: when, and why.
    pub first_failure: Option<(i64, String)>,
    /// What it would have made.
    pub made: Made,
}

/// What a rule would have made.
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    /// Series and samples that would have been written.
    Recording {
        /// How many series.
        series: usize,
        /// How many samples, staleness markers not among them.
        samples: u64,
    },
    /// Alerts, by the time at which they began.
    Alerting {
        /// Milliseconds the expression must hold.
        hold_ms: i64,
        /// Milliseconds an alert fires on after it held no more.
        keep_firing_ms: i64,
        /// Each from pending to resolved.
        lives: Vec<AlertLife>,
    },
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BacktestError {
    /// `end` is before `start`.
    #[error("the end is before the start")]
    Times,
    /// It was cancelled from outside.
    #[error("the backtest was stopped")]
    Stopped,
}

/// Replays `groups` over what `storage` has. Works on as many threads as there are cores and blocks until it is done.
///
/// # Errors
/// [`BacktestError`]. A rule that fails is told in its report and stops no other.
pub fn backtest(
    storage: Arc<dyn Queryable>,
    engine: Arc<Engine>,
    groups: &[GroupSource],
    options: &BacktestOptions,
) -> Result<Vec<RuleReport>, BacktestError> {
    if options.end < options.start {
        return Err(BacktestError::Times);
    }
    let runs: Vec<Mutex<Run<'_>>> = groups
        .iter()
        .flat_map(|source| source.group.rules.iter().map(move |rule| (source, rule)))
        .map(|(source, rule)| Mutex::new(Run::new(source, rule, options)))
        .collect();
    let rules: Vec<&Rule> = groups.iter().flat_map(|source| &source.group.rules).collect();
    let plan = stages(&rules);
    let overlay = Arc::new(Overlay::new(&rules, plan.wanted(), options.start));
    let replay = Replay {
        overlay: overlay.clone(),
        asker: Asker {
            engine,
            queryable: Arc::new(Replayed::new(storage, overlay)),
        },
        options,
    };
    let longest = runs.iter().map(|run| run.lock().interval_ms).max().unwrap_or(1);
    let window_ms = longest.saturating_mul(STEPS_AT_ONCE);
    let mut from = options.start;
    while from <= options.end {
        let to = from.saturating_add(window_ms - 1).min(options.end);
        for stage in &plan.stages {
            match stage {
                Stage::Whole(rules) => replay.whole(&runs, rules, from, to)?,
                Stage::Stepwise(rules) => replay.stepwise(&runs, rules, from, to)?,
            }
        }
        replay
            .overlay
            .truncate(|name| to.saturating_sub(plan.keeps_ms.get(name).copied().unwrap_or(plan.least_ms)));
        from = to.saturating_add(1);
    }
    Ok(runs.into_iter().map(|run| run.into_inner().report()).collect())
}

/// One rule on its way through time.
struct Run<'a> {
    source: &'a GroupSource,
    rule: &'a Rule,
    interval_ms: i64,
    offset_ms: i64,
    slots: Slots,
    evaluations: u64,
    failures: u64,
    first_failure: Option<(i64, String)>,
    recording: recording::RecordingRun,
    alerts: AlertRun,
}

/// What an expression gave at the steps of a window.
struct Given {
    /// Series with their values, at the times of the evaluations.
    rows: Vec<(Labels, Samples)>,
    /// Steps at which it failed.
    failed: BTreeSet<i64>,
}

impl<'a> Run<'a> {
    fn new(source: &'a GroupSource, rule: &'a Rule, options: &BacktestOptions) -> Self {
        let interval_ms = source.group.interval.map_or(options.interval_ms, ms).max(1);
        let key = group::key(&source.file, &source.group.name);
        Self {
            source,
            rule,
            interval_ms,
            offset_ms: source.group.query_offset.map_or(options.query_offset_ms, ms),
            slots: Slots::new(&key, interval_ms),
            evaluations: 0,
            failures: 0,
            first_failure: None,
            recording: recording::RecordingRun::default(),
            alerts: AlertRun::default(),
        }
    }

    // The evaluations between two moments, both inclusive: the first and the last; `None` where there is none.
    fn steps(&self, from: i64, to: i64) -> Option<(i64, i64)> {
        let (first, last) = (self.slots.next(from - 1), self.slots.last(to));
        (first <= last).then_some((first, last))
    }

    fn failed(&mut self, ts: i64, steps: u64, error: &str) {
        self.failures += steps;
        if self.first_failure.as_ref().is_none_or(|(first, _)| ts < *first) {
            self.first_failure = Some((ts, error.to_owned()));
        }
    }

    fn report(self) -> RuleReport {
        RuleReport {
            file: self.source.file.clone(),
            group: self.source.group.name.clone(),
            name: self.rule.name().to_owned(),
            query: self.rule.expr.to_string(),
            labels: self.rule.labels.clone(),
            evaluations: self.evaluations,
            failures: self.failures,
            first_failure: self.first_failure,
            made: match &self.rule.kind {
                RuleKind::Recording { .. } => self.recording.made(),
                RuleKind::Alerting {
                    hold, keep_firing_for, ..
                } => Made::Alerting {
                    hold_ms: ms(*hold),
                    keep_firing_ms: ms(*keep_firing_for),
                    lives: self.alerts.into_lives(),
                },
            },
        }
    }
}

/// Answers questions about what is stored and what rules gave.
#[derive(Clone)]
struct Asker {
    engine: Arc<Engine>,
    queryable: Arc<Replayed>,
}

struct Replay<'a> {
    overlay: Arc<Overlay>,
    asker: Asker,
    options: &'a BacktestOptions,
}

impl Replay<'_> {
    // Rules that need nothing of each other.
    fn whole(&self, runs: &[Mutex<Run<'_>>], rules: &[usize], from: i64, to: i64) -> Result<(), BacktestError> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), BacktestError> {
            while let Some(rule) = rules.get(next.fetch_add(1, Ordering::Relaxed)) {
                let Some(run) = runs.get(*rule) else { continue };
                // Nobody else has this rule.
                let mut run = run.lock();
                if let Some((first, last)) = run.steps(from, to) {
                    let given = self.evaluate(&mut run, first, last)?;
                    self.take(&mut run, first, last, given);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(rules.len())).map(|_| scope.spawn(work)).collect();
            let mut outcome = work();
            for other in others {
                outcome = outcome.and(other.join().unwrap_or(Err(BacktestError::Stopped)));
            }
            outcome
        })
    }

    // Rules that need what they gave themselves, or each other in a circle: evaluation after evaluation.
    fn stepwise(&self, runs: &[Mutex<Run<'_>>], rules: &[usize], from: i64, to: i64) -> Result<(), BacktestError> {
        let mut at = from;
        loop {
            let due = |rule: &usize| runs.get(*rule)?.lock().steps(at, to).map(|(first, _)| first);
            let Some(ts) = rules.iter().filter_map(due).min() else {
                return Ok(());
            };
            for run in rules.iter().filter_map(|rule| runs.get(*rule)) {
                let mut run = run.lock();
                if run.steps(ts, ts).is_some() {
                    let given = self.evaluate(&mut run, ts, ts)?;
                    self.take(&mut run, ts, ts, given);
                }
            }
            at = ts + 1;
        }
    }

    fn take(&self, run: &mut Run<'_>, first: i64, last: i64, given: Given) {
        match &run.rule.kind {
            RuleKind::Recording { record } => recording::take(run, record, first, last, given, &self.overlay),
            RuleKind::Alerting { .. } => alerts::take(run, first, last, given, self),
        }
    }

    // What the rule's expression gives from the evaluation at `first` to that at `last`.
    fn evaluate(&self, run: &mut Run<'_>, first: i64, last: i64) -> Result<Given, BacktestError> {
        let steps = (last - first) / run.interval_ms + 1;
        run.evaluations += steps.unsigned_abs();
        let mut given = Given {
            rows: Vec::new(),
            failed: BTreeSet::new(),
        };
        let mut queries = 0;
        let mut pending = vec![(first, last)];
        if at_the_edge(&run.rule.expr) {
            // `@ start()` is another moment in each evaluation.
            pending = (0..steps)
                .map(|step| first + step * run.interval_ms)
                .map(|ts| (ts, ts))
                .rev()
                .collect();
        }
        let mut parts: Vec<Vec<(Labels, Samples)>> = Vec::new();
        while let Some((from, to)) = pending.pop() {
            if self.options.cancel.is_cancelled() {
                return Err(BacktestError::Stopped);
            }
            queries += 1;
            match self.query(run, from, to) {
                Ok(rows) => parts.push(rows),
                Err(_) if self.options.cancel.is_cancelled() => return Err(BacktestError::Stopped),
                Err(_) if from < to && queries < QUERIES_FOR_FAILURES => {
                    // Which steps fail is found by halves.
                    let half = (to - from) / run.interval_ms / 2 * run.interval_ms;
                    pending.push((from + half + run.interval_ms, to));
                    pending.push((from, from + half));
                }
                Err(error) => {
                    let failed = (0..=(to - from) / run.interval_ms).map(|step| from + step * run.interval_ms);
                    given.failed.extend(failed);
                    run.failed(from, ((to - from) / run.interval_ms + 1).unsigned_abs(), &error);
                }
            }
        }
        given.rows = joined(parts);
        Ok(given)
    }

    fn query(&self, run: &Run<'_>, from: i64, to: i64) -> Result<Vec<(Labels, Samples)>, String> {
        let rule = run.rule;
        let (from_ts, to_ts) = (from - run.offset_ms, to - run.offset_ms);
        let query = Query {
            cancel: self.options.cancel.clone(),
            // What a tier has is not what the rule saw.
            source_resolution: SourceResolution::UpTo(0),
            ..if from == to {
                Query::instant(&rule.expr_text, &rule.expr, from_ts)
            } else {
                Query::range(&rule.expr_text, &rule.expr, from_ts, to_ts, run.interval_ms)
            }
        };
        let asker = &self.asker;
        let result = asker
            .engine
            .query(&*asker.queryable, &query)
            .map_err(|e| e.to_string())?;
        let one = |labels: Labels, value: SampleValue| {
            let mut samples = Samples::default();
            samples.push_value(from, value, 0);
            (labels, samples)
        };
        match result.value {
            QueryValue::Matrix(mut rows) => {
                for (_, samples) in &mut rows {
                    let times = samples.ts.iter_mut().chain(&mut samples.histograms.ts);
                    times.for_each(|ts| *ts += run.offset_ms);
                }
                Ok(rows)
            }
            QueryValue::Vector(rows) => Ok(rows.into_iter().map(|(labels, _, value)| one(labels, value)).collect()),
            QueryValue::Scalar(_, value) => Ok(vec![one(Labels::empty(), SampleValue::Float(value))]),
            QueryValue::String(..) => Err("rule result is not a vector or scalar".to_owned()),
        }
    }
}

impl Asker {
    // For templates of labels.
    fn ask(&self, text: &str, ts: i64) -> Result<Vec<(Labels, f64)>, String> {
        let expr = cupola_promql::parse(text).map_err(|e| cupola_promql::render_errors(text, &e))?;
        let result = self
            .engine
            .query(&*self.queryable, &Query::instant(text, &expr, ts))
            .map_err(|e| e.to_string())?;
        Ok(match result.value {
            QueryValue::Vector(rows) => rows
                .into_iter()
                .map(|(labels, _, value)| match value {
                    SampleValue::Float(value) => (labels, value),
                    SampleValue::Histogram(_) => (labels, 0.0),
                })
                .collect(),
            QueryValue::Scalar(_, value) => vec![(Labels::empty(), value)],
            _ => return Err("rule result is not a vector or scalar".to_owned()),
        })
    }
}

// Whether the expression asks for the beginning, the end or the step of the query.
fn at_the_edge(expr: &Expr) -> bool {
    let moved = |modifiers: &Modifiers| {
        matches!(modifiers.at, Some(At::Start | At::End)) || modifiers.offset.as_ref().is_some_and(of_query)
    };
    expr.walk().any(|expr| match &expr.kind {
        ExprKind::VectorSelector(selector) => moved(&selector.modifiers),
        ExprKind::MatrixSelector { selector, range, .. } => moved(&selector.modifiers) || of_query(range),
        ExprKind::Subquery(subquery) => {
            moved(&subquery.modifiers) || of_query(&subquery.range) || subquery.step.as_ref().is_some_and(of_query)
        }
        _ => false,
    })
}

fn of_query(duration: &DurationExpr) -> bool {
    match &duration.kind {
        DurationKind::Literal(_) | DurationKind::Seconds(_) => false,
        DurationKind::Step | DurationKind::Range => true,
        DurationKind::Unary { expr, .. } | DurationKind::Paren(expr) => of_query(expr),
        DurationKind::Binary { lhs, rhs, .. } | DurationKind::Choice { lhs, rhs, .. } => of_query(lhs) || of_query(rhs),
    }
}

// The series of windows that follow each other.
fn joined(mut parts: Vec<Vec<(Labels, Samples)>>) -> Vec<(Labels, Samples)> {
    if parts.len() <= 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut all: BTreeMap<Labels, Samples> = BTreeMap::new();
    for (labels, samples) in parts.into_iter().flatten() {
        all.entry(labels).or_default().append(&samples);
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests;
