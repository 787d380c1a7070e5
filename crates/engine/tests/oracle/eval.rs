//! The plainest evaluator that can be written: one step at a time, everything looked up again, every rule as the
//! documentation of Prometheus 3.14 tells it. It shares the parser with the engine and nothing else.
//!
//! Metric names are removed at once (the engine's default), floats only.

use std::collections::{BTreeMap, HashSet};

use cupola_model::{Labels, METRIC_NAME, is_stale_nan};
use cupola_promql::{
    AggregateOp, At, BinaryOp, Call, DurationExpr, DurationKind, Expr, ExprKind, Modifiers, Subquery, VectorSelector,
};

/// Samples of one series, ascending in time.
pub type Points = Vec<(i64, f64)>;

/// One series' value at a step.
pub type Row = (Labels, f64);

/// What an expression gives at one step.
#[derive(Debug, Clone)]
pub enum Value {
    Scalar(f64),
    Text(String),
    Vector(Vec<Row>),
}

/// One window of one series.
pub struct Window {
    pub labels: Labels,
    pub points: Points,
}

/// A range vector at one step: the windows that hold anything, and their common edges.
pub struct Windows {
    pub series: Vec<Window>,
    /// Exclusive.
    pub from: i64,
    /// Inclusive.
    pub to: i64,
}

/// Why there is no answer; always an execution error.
pub type Outcome<T> = Result<T, String>;

/// Evaluates over a list of series.
pub struct Oracle<'d> {
    pub data: &'d [(Labels, Points)],
    /// Start and end of the whole query, for `@ start()` and `@ end()`.
    pub start: i64,
    pub end: i64,
    pub lookback: i64,
    pub subquery_step: i64,
}

pub const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

pub fn without_name(labels: &Labels) -> Labels {
    keep_labels(labels, |name| name != METRIC_NAME)
}

pub fn keep_labels(labels: &Labels, keep: impl Fn(&str) -> bool) -> Labels {
    Labels::from_pairs(labels.iter().filter(|(name, _)| keep(name)))
}

/// `labels` with `name` set to `value`, or without it where `value` is empty.
pub fn with_label(labels: &Labels, name: &str, value: &str) -> Labels {
    let mut pairs: BTreeMap<&str, &str> = labels.iter().collect();
    pairs.remove(name);
    if !value.is_empty() {
        pairs.insert(name, value);
    }
    Labels::from_pairs(pairs)
}

pub fn unique(rows: Vec<Row>) -> Outcome<Vec<Row>> {
    let mut seen = HashSet::new();
    if rows.iter().all(|(labels, _)| seen.insert(labels.clone())) {
        Ok(rows)
    } else {
        Err(SAME_LABELS.to_owned())
    }
}

pub fn bare(mut expr: &Expr) -> &Expr {
    while let ExprKind::Paren(inner) = &expr.kind {
        expr = inner;
    }
    expr
}

fn milliseconds(duration: &DurationExpr) -> i64 {
    match &duration.kind {
        DurationKind::Literal(ms) => *ms,
        DurationKind::Paren(inner) => milliseconds(inner),
        other => panic!("the generator writes no such duration: {other:?}"),
    }
}

impl Oracle<'_> {
    /// The value of `expr` at `t`.
    pub fn eval(&self, expr: &Expr, t: i64) -> Outcome<Value> {
        Ok(match &expr.kind {
            ExprKind::Number(number) => Value::Scalar(number.value),
            ExprKind::String(text) => Value::Text(text.clone()),
            ExprKind::Paren(inner) => self.eval(inner, t)?,
            ExprKind::VectorSelector(selector) => Value::Vector(
                self.newest(selector, t)
                    .into_iter()
                    .map(|(labels, (_, value))| (labels, value))
                    .collect(),
            ),
            ExprKind::Unary { op, expr } => match (self.eval(expr, t)?, op) {
                (value, BinaryOp::Add) => value,
                (Value::Scalar(value), _) => Value::Scalar(-value),
                (Value::Vector(rows), _) => {
                    Value::Vector(unique(rows.into_iter().map(|(l, v)| (without_name(&l), -v)).collect())?)
                }
                (Value::Text(_), _) => panic!("the parser lets no text be negated"),
            },
            ExprKind::Binary(binary) => self.binary(binary, t)?,
            ExprKind::Aggregate(aggregate) => Value::Vector(self.aggregate(aggregate, t)?),
            ExprKind::Call(call) => self.call(call, t)?,
            ExprKind::MatrixSelector { .. } | ExprKind::Subquery(_) => {
                panic!("the generator puts range vectors into calls only")
            }
        })
    }

    pub fn vector(&self, expr: &Expr, t: i64) -> Outcome<Vec<Row>> {
        match self.eval(expr, t)? {
            Value::Vector(rows) => Ok(rows),
            other => panic!("not a vector: {other:?}"),
        }
    }

    pub fn scalar(&self, expr: &Expr, t: i64) -> Outcome<f64> {
        match self.eval(expr, t)? {
            Value::Scalar(value) => Ok(value),
            other => panic!("not a scalar: {other:?}"),
        }
    }

    pub fn argument_vector(&self, call: &Call, index: usize, t: i64) -> Outcome<Vec<Row>> {
        self.vector(&call.args[index], t)
    }

    fn moved(&self, modifiers: &Modifiers, t: i64) -> i64 {
        let fixed = match modifiers.at {
            None => t,
            Some(At::Time(ms)) => ms,
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
        };
        fixed - modifiers.offset.as_ref().map_or(0, milliseconds)
    }

    fn selected(&self, selector: &VectorSelector) -> impl Iterator<Item = &(Labels, Points)> {
        self.data.iter().filter(move |(labels, _)| {
            let mut matchers = selector.matchers.iter();
            matchers.all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or("")))
        })
    }

    /// Of every selected series the newest sample within the lookback, unless it says that the series has ended.
    pub fn newest(&self, selector: &VectorSelector, t: i64) -> Vec<(Labels, (i64, f64))> {
        let to = self.moved(&selector.modifiers, t);
        let newest = |points: &Points| {
            let mut seen = points.iter().filter(|(at, _)| *at <= to && *at > to - self.lookback);
            seen.next_back().copied().filter(|(_, value)| !is_stale_nan(*value))
        };
        let found = self.selected(selector);
        found
            .filter_map(|(labels, points)| Some((labels.clone(), newest(points)?)))
            .collect()
    }

    /// The windows of a range vector at `t`.
    pub fn windows(&self, expr: &Expr, t: i64) -> Outcome<Windows> {
        match &bare(expr).kind {
            ExprKind::MatrixSelector { selector, range, .. } => {
                let to = self.moved(&selector.modifiers, t);
                let from = to - milliseconds(range);
                let inside = |(at, value): &(i64, f64)| *at > from && *at <= to && !is_stale_nan(*value);
                let series = self.selected(selector).map(|(labels, points)| Window {
                    labels: labels.clone(),
                    points: points.iter().copied().filter(inside).collect(),
                });
                let series = series.filter(|window| !window.points.is_empty()).collect();
                Ok(Windows { series, from, to })
            }
            ExprKind::Subquery(subquery) => self.subquery(subquery, t),
            other => panic!("not a range vector: {other:?}"),
        }
    }

    fn subquery(&self, subquery: &Subquery, t: i64) -> Outcome<Windows> {
        let to = self.moved(&subquery.modifiers, t);
        let from = to - milliseconds(&subquery.range);
        let mut series: BTreeMap<Labels, Points> = BTreeMap::new();
        for at in self.subquery_times(subquery, from, to) {
            let rows = match self.eval(&subquery.expr, at)? {
                Value::Vector(rows) => rows,
                Value::Scalar(value) => vec![(Labels::empty(), value)],
                Value::Text(_) => panic!("the parser lets no text be a subquery"),
            };
            for (labels, value) in rows {
                series.entry(labels).or_default().push((at, value));
            }
        }
        let series = series.into_iter().map(|(labels, points)| Window { labels, points });
        Ok(Windows {
            series: series.collect(),
            from,
            to,
        })
    }

    // The multiples of the step in `(from, to]`.
    fn subquery_times(&self, subquery: &Subquery, from: i64, to: i64) -> Vec<i64> {
        let step = subquery.step.as_ref().map_or(self.subquery_step, milliseconds);
        let first = from.div_euclid(step) + 1;
        let times = (first..).map(|index| index * step);
        times.take_while(|at| *at <= to).collect()
    }

    /// Whether a range query over `times` fails though none of its steps does alone. As in Prometheus, a subquery is
    /// evaluated from the first window's begin to the last window's end, also where the windows leave gaps; and a
    /// number of rows to pick that is far below zero only matters where another step picks something.
    pub fn fails_as_a_whole(&self, expr: &Expr, times: &[i64]) -> bool {
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return false;
        };
        if let ExprKind::Subquery(subquery) = &expr.kind {
            let from = self.moved(&subquery.modifiers, *first) - milliseconds(&subquery.range);
            let inner = self.subquery_times(subquery, from, self.moved(&subquery.modifiers, *last));
            return inner.iter().any(|at| self.eval(&subquery.expr, *at).is_err())
                || self.fails_as_a_whole(&subquery.expr, &inner);
        }
        if let ExprKind::Aggregate(aggregate) = &expr.kind
            && let (AggregateOp::Topk | AggregateOp::Bottomk, Some(k)) = (aggregate.op, &aggregate.param)
        {
            let counts: Vec<f64> = times.iter().filter_map(|at| self.scalar(k, *at).ok()).collect();
            if counts.contains(&f64::NEG_INFINITY) && counts.iter().any(|k| *k >= 1.0) {
                return true;
            }
        }
        children(expr)
            .into_iter()
            .any(|child| self.fails_as_a_whole(child, times))
    }
}

fn children(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => vec![expr],
        ExprKind::Binary(binary) => vec![&binary.lhs, &binary.rhs],
        ExprKind::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
        ExprKind::Call(call) => call.args.iter().collect(),
        _ => Vec::new(),
    }
}
