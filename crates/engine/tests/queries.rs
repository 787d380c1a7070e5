//! What callers rely on: kinds of error, limits, stopping, and that a range query is many instant queries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use cupola_engine::script::MemoryStore;
use cupola_engine::{Cancel, Engine, EngineOptions, ErrorKind, Query, QueryError, QueryResult, QueryValue};
use cupola_model::{Labels, STALE_NAN, is_stale_nan};
use cupola_storage::{Queryable, SampleSource, SampleValue, Samples, Selection, Series, StorageError};
use proptest::prelude::*;

// These stores hold no histograms.
fn number(value: &SampleValue) -> f64 {
    match value {
        SampleValue::Float(value) => *value,
        SampleValue::Histogram(histogram) => unreachable!("a histogram: {histogram}"),
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn counter(store: &mut MemoryStore, pairs: &[(&str, &str)], step_ms: i64, values: &[f64]) {
    let mut samples = Samples::default();
    for (i, value) in values.iter().enumerate() {
        samples.push(i as i64 * step_ms, *value);
    }
    store.add(&labels(pairs), &samples);
}

fn store() -> MemoryStore {
    let mut store = MemoryStore::default();
    let ten: Vec<f64> = (0..11).map(f64::from).collect();
    counter(
        &mut store,
        &[("__name__", "a_total"), ("job", "x"), ("le", "1")],
        60_000,
        &ten,
    );
    counter(
        &mut store,
        &[("__name__", "a_total"), ("job", "y"), ("le", "2")],
        60_000,
        &ten,
    );
    counter(
        &mut store,
        &[("__name__", "b"), ("job", "x")],
        60_000,
        &[1.0, f64::NAN, 3.0, STALE_NAN, 5.0, 2.0],
    );
    store
}

fn instant(engine: &Engine, store: &dyn Queryable, text: &str, at: i64) -> Result<QueryResult, QueryError> {
    let expr = engine.parse(text)?;
    engine.query(store, &Query::instant(text, &expr, at))
}

fn range(engine: &Engine, store: &dyn Queryable, text: &str, end: i64, step: i64) -> Result<QueryResult, QueryError> {
    let expr = engine.parse(text)?;
    engine.query(store, &Query::range(text, &expr, 0, end, step))
}

#[track_caller]
fn rows(value: QueryValue) -> Vec<(String, f64)> {
    match value {
        QueryValue::Vector(rows) => rows
            .into_iter()
            .map(|(labels, _, value)| (labels.to_string(), number(&value)))
            .collect(),
        other => unreachable!("not a vector: {other:?}"),
    }
}

#[test]
fn names_go_at_once_unless_their_removal_is_delayed() {
    let engine = Engine::new(EngineOptions::default());
    let got = rows(
        instant(&engine, &store(), "rate(a_total[5m]) * 60", 600_000)
            .unwrap()
            .value,
    );
    assert_eq!(
        got,
        [
            (r#"{job="x", le="1"}"#.to_owned(), 1.0),
            (r#"{job="y", le="2"}"#.to_owned(), 1.0)
        ]
    );
    let got = rows(
        instant(&engine, &store(), r#"sum by (__name__) (abs(a_total))"#, 60_000)
            .unwrap()
            .value,
    );
    assert_eq!(got, [("{}".to_owned(), 2.0)]);
}

#[test]
fn errors_tell_whose_fault_they_are() {
    let engine = Engine::new(EngineOptions::default());
    for (text, kind, message) in [
        (
            "sum(",
            ErrorKind::BadData,
            "1:5: parse error: unclosed left parenthesis",
        ),
        ("limitk(1, b)", ErrorKind::BadData, ""),
        (
            "a_total + on() b",
            ErrorKind::Execution,
            "multiple matches for labels: many-to-one matching must be \
          explicit (group_left/group_right)",
        ),
        (
            "b + on() a_total",
            ErrorKind::Execution,
            "found duplicate series for the match group {} on the right \
          hand-side of the operation: [{__name__=\"a_total\", job=\"y\", le=\"2\"}, {__name__=\"a_total\", \
          job=\"x\", le=\"1\"}];many-to-many matching not allowed: matching labels must be unique on one side",
        ),
        (
            "label_replace(a_total, \"le\", \"\", \"\", \"\") or label_replace(a_total, \"job\", \"z\", \"\", \"\")",
            ErrorKind::Execution,
            "",
        ),
        ("start_timestamp(b)", ErrorKind::BadData, ""),
    ] {
        let result = instant(&engine, &store(), text, 60_000);
        if text.starts_with("label_replace") {
            // Both sides differ in their labels: nothing is wrong with it.
            assert!(result.is_ok(), "{text}");
            continue;
        }
        let error = result.unwrap_err();
        assert_eq!(error.kind(), kind, "{text}: {error}");
        if !message.is_empty() {
            assert_eq!(error.to_string(), message);
        }
    }
    let error = range(&engine, &store(), "a_total[5m]", 60_000, 60_000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadData);
    assert_eq!(
        error.to_string(),
        "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"
    );
}

#[test]
fn the_steps_of_a_subquery_end_with_time_itself() {
    let engine = Engine::new(EngineOptions::default());
    for text in [
        "sum_over_time((b offset -290y)[1h:1m] @ 9223372036854775)",
        "sum_over_time((b offset -290y)[1h:1m] @ -9223372036854775)",
        "sum_over_time((b offset 290y)[1h:1m] @ -9223372036854775)",
        "sum_over_time(b[1h:1m] @ 9223372036854775 offset -290y)",
        "sum_over_time(rate(b[5m] offset -290y)[1h:1m] @ 9223372036854775)",
        "sum_over_time(sum_over_time(b[1h:1m] offset -290y)[1h:1m] @ 9223372036854775)",
    ] {
        let found = instant(&engine, &store(), text, 0).unwrap();
        assert_eq!(rows(found.value), [], "{text}");
    }
}

#[test]
fn a_query_may_not_hold_too_many_samples() {
    let engine = Engine::new(EngineOptions {
        max_samples: 20,
        ..EngineOptions::default()
    });
    let error = range(&engine, &store(), "a_total", 600_000, 60_000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Execution);
    assert_eq!(
        error.to_string(),
        "query processing would load too many samples into memory in query execution"
    );
    // Two series of eleven steps do not fit, one does; a sum of both does not either while they are read.
    assert!(range(&engine, &store(), "a_total{job=\"x\"}", 600_000, 60_000).is_ok());
    let error = range(&engine, &store(), "a_total[1y:1ms] ", 0, 1000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadData);
    let error = instant(&engine, &store(), "sum_over_time(a_total[1y:1ms])", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Execution);
}

#[test]
fn what_was_used_is_counted() {
    let engine = Engine::new(EngineOptions::default());
    let stats = range(&engine, &store(), "sum(rate(a_total[5m]))", 600_000, 60_000)
        .unwrap()
        .stats;
    assert_eq!(stats.samples_read, 22);
    // Windows of 1, 2, 3, 4, 5, 5, ... samples, two series.
    assert_eq!(stats.total_queryable_samples, 2 * (1 + 2 + 3 + 4 + 7 * 5));
    // One series at a time is summed up; without the sum both results of eleven and ten steps are held.
    assert!((10..20).contains(&stats.peak_samples), "{stats:?}");
    let stats = range(&engine, &store(), "rate(a_total[5m])", 600_000, 60_000)
        .unwrap()
        .stats;
    assert!(stats.peak_samples >= 20, "{stats:?}");
}

#[test]
fn the_lookback_can_be_set_per_query() {
    let engine = Engine::new(EngineOptions::default());
    let expr = engine.parse("a_total").unwrap();
    let mut query = Query::instant("a_total", &expr, 630_000);
    assert_eq!(rows(engine.query(&store(), &query).unwrap().value).len(), 2);
    query.lookback_delta_ms = Some(30_000);
    assert!(rows(engine.query(&store(), &query).unwrap().value).is_empty());
}

// Many series; cancels the query when a certain number was read.
struct Endless {
    read: Arc<AtomicUsize>,
    cancel: Option<Cancel>,
}

struct Endlessly(Arc<AtomicUsize>, Option<Cancel>);

impl SampleSource for Endlessly {
    fn read(&self, mint: i64, _: i64, out: &mut Samples) -> Result<(), StorageError> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        if let (10, Some(cancel)) = (number, &self.1) {
            cancel.cancel();
        }
        for i in 0..1000 {
            out.push(mint + i, i as f64);
        }
        Ok(())
    }
}

impl Queryable for Endless {
    fn select(&self, _: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        let cancel = self.cancel.clone();
        let series = (0..5000).map(|i| Series {
            labels: labels(&[("__name__", "x"), ("i", &i.to_string())]),
            source: Box::new(Endlessly(Arc::clone(&self.read), cancel.clone())),
        });
        Ok(series.collect())
    }

    fn label_names(&self, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }
}

#[test]
fn a_cancelled_query_stops_within_a_few_thousand_samples() {
    let engine = Engine::new(EngineOptions::default());
    for text in ["sum(x)", "sum(rate(x[10m]))", "quantile_over_time(0.5, x[10m])"] {
        let read = Arc::new(AtomicUsize::new(0));
        let expr = engine.parse(text).unwrap();
        let mut query = Query::range(text, &expr, 0, 600_000, 60_000);
        query.cancel = Cancel::new();
        let storage = Endless {
            read: Arc::clone(&read),
            cancel: Some(query.cancel.clone()),
        };
        let error = engine.query(&storage, &query).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Canceled, "query was canceled in expression evaluation")
        );
        assert!(read.load(Ordering::Relaxed) < 20, "{text}: {read:?} series were read");
    }
}

#[test]
fn a_deadline_stops_a_query() {
    let engine = Engine::new(EngineOptions::default());
    let expr = engine.parse("sum(x)").unwrap();
    let mut query = Query::instant("sum(x)", &expr, 0);
    query.cancel = Cancel::with_deadline(Instant::now());
    let storage = Endless {
        read: Arc::default(),
        cancel: None,
    };
    let error = engine.query(&storage, &query).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "query timed out in expression evaluation");
}

#[test]
fn the_highest_tree_that_parses_does_not_overflow_the_stack() {
    let engine = Engine::new(EngineOptions::default());
    let sum = vec!["b"; cupola_promql::MAX_HEIGHT - 1].join(" + ");
    let deep = format!("{}b{}", "abs(".repeat(200), ")".repeat(200));
    for text in [sum, deep] {
        assert!(engine.parse(&text).is_ok());
        assert!(instant(&engine, &store(), &text, 0).is_ok());
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        5 => (0_i32..50).prop_map(f64::from),
        1 => -10.0_f64..10.0,
        1 => Just(f64::NAN),
        1 => Just(STALE_NAN),
    ]
}

fn any_store() -> impl Strategy<Value = MemoryStore> {
    prop::collection::vec(prop::collection::vec((1_i64..90, value()), 0..25), 5).prop_map(|series| {
        let mut store = MemoryStore::default();
        for (i, steps) in series.iter().enumerate() {
            let mut samples = Samples::default();
            let mut t = 0;
            for (gap, value) in steps {
                t += gap * 1000;
                samples.push(t, *value);
            }
            let name = if i < 3 { "x_total" } else { "y" };
            let (job, le) = ((i % 2).to_string(), i.to_string());
            store.add(&labels(&[("__name__", name), ("job", &job), ("le", &le)]), &samples);
        }
        store
    })
}

const EXPRESSIONS: [&str; 34] = [
    "x_total",
    "-x_total offset 45s",
    "x_total @ 300",
    "rate(x_total[2m])",
    "increase(x_total[90s] offset 10s)",
    "irate(x_total[5m])",
    "delta({le!=\"\"}[2m] @ 200)",
    "resets(x_total[3m]) + changes(x_total[3m])",
    "avg_over_time(y[4m])",
    "max_over_time(x_total[3m]) - ignoring(le) group_left min_over_time(y{le=\"3\"}[3m])",
    "quantile_over_time(0.3, x_total[3m])",
    "stddev_over_time(x_total[3m])",
    "deriv(x_total[3m])",
    "predict_linear(x_total[3m], 60)",
    "last_over_time(x_total[1m])",
    "absent(y{le=\"4\"})",
    "absent_over_time(y[1m])",
    "sum by (job) (x_total)",
    "avg without (le) ({le!=\"\"})",
    "stddev(x_total)",
    "quantile by (job) (0.4, x_total)",
    "count_values(\"v\", x_total)",
    "topk(2, x_total)",
    "bottomk by (job) (1, x_total)",
    "x_total > on(job, le) group_left y or x_total < 10",
    "x_total and on(job) y",
    "y unless on(job) x_total",
    "sum_over_time(x_total[4m:30s])",
    "max_over_time(rate(x_total[1m])[3m:20s])",
    "scalar(y{le=\"3\"}) + time()",
    "clamp(x_total, 3, 20) > bool 5 or vector(1)",
    "histogram_quantile(0.5, x_total)",
    "timestamp(x_total) + timestamp(abs(y)) * 0 or on(le) label_join(y, \"z\", \"-\", \"job\", \"le\")",
    "hour(x_total * 1000) + day_of_week()",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_range_query_is_many_instant_queries(store in any_store(), step in 7_000_i64..50_000) {
        let engine = Engine::new(EngineOptions { lookback_delta_ms: 60_000, ..EngineOptions::default() });
        let end = 600_000;
        for text in EXPRESSIONS {
            let expr = engine.parse(text).unwrap();
            let whole = engine.query(&store, &Query::range(text, &expr, 0, end, step));
            let mut failed = false;
            for at in (0..=end).step_by(step as usize) {
                let one = match engine.query(&store, &Query::instant(text, &expr, at)) {
                    Ok(result) => result.value,
                    Err(_) => {
                        failed = true;
                        continue;
                    }
                };
                let Ok(QueryResult { value: QueryValue::Matrix(series), .. }) = &whole else { continue };
                let in_range: Vec<(Labels, f64)> = series
                    .iter()
                    .filter_map(|(labels, samples)| {
                        let i = samples.ts.iter().position(|t| *t == at)?;
                        Some((labels.clone(), samples.values[i]))
                    })
                    .collect();
                let mut alone: Vec<(Labels, f64)> = match one {
                    QueryValue::Vector(rows) => rows.into_iter().map(|(labels, _, value)| (labels, number(&value))).collect(),
                    QueryValue::Scalar(_, value) => vec![(Labels::empty(), value)],
                    other => panic!("{other:?}"),
                };
                alone.sort_by(|a, b| a.0.cmp(&b.0));
                prop_assert_eq!(in_range.len(), alone.len(), "{} at {}: {:?} {:?}", text, at, in_range, alone);
                for ((la, va), (lb, vb)) in in_range.iter().zip(&alone) {
                    prop_assert_eq!(la, lb);
                    let same = va == vb || (va.is_nan() && vb.is_nan()) || (va - vb).abs() <= 1e-9 * va.abs().max(vb.abs());
                    prop_assert!(same && !is_stale_nan(*va), "{} at {}: {} and {}", text, at, va, vb);
                }
            }
            prop_assert_eq!(whole.is_err(), failed, "{}", text);
        }
    }
}

#[test]
fn every_expression_of_the_property_parses() {
    let engine = Engine::new(EngineOptions::default());
    for text in EXPRESSIONS {
        if let Err(error) = engine.parse(text) {
            panic!("{text}: {error}");
        }
    }
}
