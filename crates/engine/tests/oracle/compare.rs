//! Asks engine and oracle the same and tells the first difference.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cupola_engine::script::MemoryStore;
use cupola_engine::{Engine, EngineOptions, ErrorKind, Query, QueryError, QueryValue};
use cupola_model::{Labels, fmt_f64, is_stale_nan};
use cupola_promql::{Aggregate, AggregateOp, Expr, ExprKind, ParseOptions};
use cupola_storage::{SampleValue, Samples};

use super::eval::{Oracle, Outcome, Points, Row, Value, bare, keep_labels};
use super::generate::When;

/// One question over some data.
pub struct Case {
    pub text: String,
    pub expr: Expr,
    pub data: Vec<(Labels, Points)>,
    pub when: When,
    engine: Engine,
    store: MemoryStore,
}

/// What an expression gives at one step: the rows in the order of the answer. A scalar has no labels.
type Step = Vec<Row>;
type Answer = Result<BTreeMap<i64, Step>, ErrorKind>;

const SUBQUERY_STEP_MS: i64 = 20_000;

impl Case {
    /// `None` where the parser refuses the text: a comparison of scalars without `bool`, say.
    pub fn new(text: String, data: Vec<(Labels, Points)>, when: When) -> Option<Self> {
        let engine = Engine::new(EngineOptions {
            default_subquery_step_ms: SUBQUERY_STEP_MS,
            parse: ParseOptions::all(),
            ..EngineOptions::default()
        });
        let mut store = MemoryStore::default();
        for (labels, points) in &data {
            let mut samples = Samples::default();
            for (at, value) in points {
                samples.push(*at, *value);
            }
            store.add(labels, &samples);
        }
        let expr = engine.parse(&text).ok()?;
        Some(Self {
            text,
            expr,
            data,
            when,
            engine,
            store,
        })
    }

    pub fn times(&self) -> impl Iterator<Item = i64> + use<> {
        let When { start, end, step, .. } = self.when;
        (0..)
            .map(move |index| start + index * step)
            .take_while(move |at| *at <= end)
    }

    /// Whether `@ start()` or `@ end()` makes a range query another question than its instants.
    pub fn knows_its_range(&self) -> bool {
        self.text.contains("start()") || self.text.contains("end()")
    }

    fn oracle(&self, start: i64, end: i64) -> Oracle<'_> {
        Oracle {
            data: &self.data,
            start,
            end,
            lookback: self.when.lookback,
            subquery_step: SUBQUERY_STEP_MS,
        }
    }

    pub fn engine_instant(&self, at: i64) -> Answer {
        self.ask(&Query::instant(&self.text, &self.expr, at))
    }

    pub fn engine_range(&self) -> Answer {
        let When { start, end, step, .. } = self.when;
        self.ask(&Query::range(&self.text, &self.expr, start, end, step))
    }

    fn ask(&self, query: &Query<'_>) -> Answer {
        let query = Query {
            lookback_delta_ms: Some(self.when.lookback),
            ..query.clone()
        };
        let answer = self.engine.query(&self.store, &query);
        answer
            .map(|result| steps_of(result.value))
            .map_err(|error: QueryError| error.kind())
    }

    /// Compares instant queries at some of the steps.
    pub fn check_instants(&self) -> Result<(), String> {
        for at in self.times().step_by(7) {
            let oracle = self.oracle(at, at);
            let expected = oracle.eval(&self.expr, at);
            self.check(
                &format!("instant at {at}"),
                &oracle,
                &[(at, expected)],
                self.engine_instant(at),
                true,
            )?;
        }
        Ok(())
    }

    /// Compares the range query.
    pub fn check_range(&self) -> Result<(), String> {
        let oracle = self.oracle(self.when.start, self.when.end);
        let expected: Vec<_> = self.times().map(|at| (at, oracle.eval(&self.expr, at))).collect();
        self.check("range", &oracle, &expected, self.engine_range(), false)
    }

    fn check(
        &self,
        what: &str,
        oracle: &Oracle<'_>,
        expected: &[(i64, Outcome<Value>)],
        got: Answer,
        is_ordered: bool,
    ) -> Result<(), String> {
        let times: Vec<i64> = expected.iter().map(|(at, _)| *at).collect();
        let first_error = expected
            .iter()
            .find_map(|(at, value)| Some((at, value.as_ref().err()?)));
        let mut got = match (first_error, got) {
            (Some(_), Err(ErrorKind::Execution)) => return Ok(()),
            (Some((at, error)), got) => {
                return Err(self.difference(what, *at, &format!("error: {error}"), &format!("{got:?}")));
            }
            (None, Err(ErrorKind::Execution)) if oracle.fails_as_a_whole(&self.expr, &times) => return Ok(()),
            (None, Err(kind)) => return Err(self.difference(what, 0, "no error", &format!("{kind:?}"))),
            (None, Ok(got)) => got,
        };
        let tolerance = Tolerance::of(&self.text);
        for (at, value) in expected {
            let expected = match value.as_ref().expect("errors are told above") {
                Value::Scalar(value) => vec![(Labels::empty(), *value)],
                Value::Vector(rows) => rows.clone(),
                Value::Text(text) => panic!("the generator writes no text: {text}"),
            };
            let got = got.remove(at).unwrap_or_default();
            let told = match &bare(&self.expr).kind {
                ExprKind::Aggregate(aggregate) if is_pick(aggregate) => {
                    let from = oracle.vector(&aggregate.expr, *at)?;
                    same_pick(tolerance, aggregate, &expected, &got, &from)
                }
                ExprKind::Call(call) if is_ordered && call.function.name.starts_with("sort") => {
                    same_order(tolerance, &expected, &got).and_then(|()| same_rows(tolerance, &expected, &got))
                }
                _ => same_rows(tolerance, &expected, &got),
            };
            told.map_err(|why| self.difference(&format!("{what}: {why}"), *at, &show(&expected), &show(&got)))?;
        }
        match got.keys().next() {
            None => Ok(()),
            Some(at) => Err(self.difference(what, *at, "no such step", "one")),
        }
    }

    /// Compares the engine's range query with its own instant queries.
    pub fn check_engine_agrees_with_itself(&self) -> Result<(), String> {
        let whole = self.engine_range();
        let single: Vec<_> = self.times().map(|at| (at, self.engine_instant(at))).collect();
        let failed = single.iter().find_map(|(_, answer)| answer.as_ref().err());
        let mut whole = match (whole, failed) {
            (Err(whole), Some(single)) if whole == *single => return Ok(()),
            (Ok(whole), None) => whole,
            (Err(ErrorKind::Execution), None) if self.fails_as_a_whole() => return Ok(()),
            (whole, failed) => {
                return Err(self.difference(
                    "error of range and instants",
                    0,
                    &format!("{failed:?}"),
                    &format!("{whole:?}"),
                ));
            }
        };
        let tolerance = Tolerance::of(&self.text);
        for (at, answer) in single {
            let single = answer.unwrap_or_default().remove(&at).unwrap_or_default();
            let whole = whole.remove(&at).unwrap_or_default();
            // Which of equal values are picked may depend on the steps before.
            let told = if let ExprKind::Aggregate(aggregate) = &bare(&self.expr).kind
                && is_pick(aggregate)
            {
                same_pick(tolerance, aggregate, &single, &whole, &[])
            } else {
                same_rows(tolerance, &single, &whole)
            };
            told.map_err(|why| {
                self.difference(&format!("instant and range: {why}"), at, &show(&single), &show(&whole))
            })?;
        }
        Ok(())
    }

    fn fails_as_a_whole(&self) -> bool {
        let times: Vec<i64> = self.times().collect();
        self.oracle(self.when.start, self.when.end)
            .fails_as_a_whole(&self.expr, &times)
    }

    fn difference(&self, what: &str, at: i64, expected: &str, got: &str) -> String {
        let When {
            start,
            end,
            step,
            lookback,
        } = self.when;
        let mut out = format!(
            "{what}\nquery:    {}\nrange:    {start} to {end} step {step}, lookback {lookback}\nat:       {at}\n\
             expected: {expected}\ngot:      {got}\n",
            self.text
        );
        for (labels, points) in &self.data {
            let _ = write!(out, "{labels}:");
            for (at, value) in points {
                let value = if is_stale_nan(*value) {
                    "stale".to_owned()
                } else {
                    fmt_f64(*value)
                };
                let _ = write!(out, " {}@{}", value, at - super::generate::BASE);
            }
            out.push('\n');
        }
        out
    }
}

// The only place that knows how the engine answers.
fn steps_of(value: QueryValue) -> BTreeMap<i64, Step> {
    let mut steps: BTreeMap<i64, Step> = BTreeMap::new();
    match value {
        QueryValue::Scalar(at, value) => steps.entry(at).or_default().push((Labels::empty(), value)),
        QueryValue::Vector(rows) => {
            for (labels, at, value) in rows {
                steps.entry(at).or_default().push((labels, float(&value)));
            }
        }
        QueryValue::Matrix(series) => {
            for (labels, samples) in series {
                assert!(samples.histograms.is_empty(), "there is no histogram in the data");
                for (at, value) in samples.ts.iter().zip(&samples.values) {
                    steps.entry(*at).or_default().push((labels.clone(), *value));
                }
            }
        }
        QueryValue::String(..) => panic!("the generator writes no text"),
    }
    steps
}

fn float(value: &SampleValue) -> f64 {
    match value {
        SampleValue::Float(value) => *value,
        SampleValue::Histogram(_) => panic!("there is no histogram in the data"),
    }
}

fn is_pick(aggregate: &Aggregate) -> bool {
    matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk)
}

/// How far two numbers may lie apart, relative to the larger one.
#[derive(Clone, Copy)]
struct Tolerance(f64);

impl Tolerance {
    // A billionth, except for spreads of numbers that are large against them, such as times: these depend on the order
    // in which rows come, which is nobody's promise.
    fn of(text: &str) -> Self {
        Self(if text.contains("stddev") || text.contains("stdvar") {
            1e-6
        } else {
            1e-9
        })
    }

    // NaN equals NaN.
    fn same(self, a: f64, b: f64) -> bool {
        let near = || (a - b).abs() <= self.0 * a.abs().max(b.abs()) && a.is_finite() && b.is_finite();
        a == b || (a.is_nan() && b.is_nan()) || near()
    }
}

fn same_rows(tolerance: Tolerance, expected: &[Row], got: &[Row]) -> Result<(), String> {
    let by_labels = |rows: &[Row]| -> BTreeMap<Labels, f64> { rows.iter().cloned().collect() };
    let (left, right) = (by_labels(expected), by_labels(got));
    if right.len() != got.len() {
        return Err("equal labels".to_owned());
    }
    if !left.keys().eq(right.keys()) {
        return Err("other labels".to_owned());
    }
    match left
        .iter()
        .zip(right.values())
        .find(|((_, a), b)| !tolerance.same(**a, **b))
    {
        None => Ok(()),
        Some(((labels, a), b)) => Err(format!("other value of {labels}: {a:?} and {b:?}")),
    }
}

fn same_order(tolerance: Tolerance, expected: &[Row], got: &[Row]) -> Result<(), String> {
    let same = expected.len() == got.len() && expected.iter().zip(got).all(|(a, b)| tolerance.same(a.1, b.1));
    if same { Ok(()) } else { Err("other order".to_owned()) }
}

// The same values in every group, and each row one of `from` (unless that is empty).
fn same_pick(
    tolerance: Tolerance,
    aggregate: &Aggregate,
    expected: &[Row],
    got: &[Row],
    from: &[Row],
) -> Result<(), String> {
    let groups = |rows: &[Row]| {
        let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
        for (labels, value) in rows {
            let listed = |name: &str| aggregate.grouping.iter().any(|label| label == name);
            let key = keep_labels(labels, |name| {
                if aggregate.without {
                    name != "__name__" && !listed(name)
                } else {
                    listed(name)
                }
            });
            groups.entry(key).or_default().push(*value);
        }
        for values in groups.values_mut() {
            values.sort_by(|a, b| super::numbers::ascending(*a, *b));
        }
        groups
    };
    let (left, right) = (groups(expected), groups(got));
    let values = |groups: &BTreeMap<Labels, Vec<f64>>| -> Vec<f64> { groups.values().flatten().copied().collect() };
    let sizes = |groups: &BTreeMap<Labels, Vec<f64>>| -> Vec<(Labels, usize)> {
        groups
            .iter()
            .map(|(labels, values)| (labels.clone(), values.len()))
            .collect()
    };
    if sizes(&left) != sizes(&right)
        || values(&left)
            .iter()
            .zip(values(&right))
            .any(|(a, b)| !tolerance.same(*a, b))
    {
        return Err("other values are picked".to_owned());
    }
    let known = |row: &Row| {
        from.iter()
            .any(|(labels, value)| *labels == row.0 && tolerance.same(*value, row.1))
    };
    match got.iter().find(|row| !from.is_empty() && !known(row)) {
        None => Ok(()),
        Some((labels, value)) => Err(format!("picked what is not there: {labels} {value}")),
    }
}

fn show(rows: &[Row]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|(labels, value)| format!("{labels} {value:?}"))
        .collect();
    format!("[{}]", rows.join(", "))
}
