//! The cache of results: whatever happens to the storage, a kept answer is the one an evaluation would give.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_engine::{Engine, EngineOptions, Query, QueryError, QueryResult, QueryValue};
use cupola_env::{ManualClock, RealFs};
use cupola_metrics::Registry;
use cupola_model::{Labels, STALE_NAN};
use cupola_promql::ParseOptions;
use cupola_storage::{
    Appendable, ChangeLog, Changes, Queryable, SampleSource, Samples, Selection, Series, StorageError, Version,
};
use cupola_tsdb::{Options, Tsdb};
use parking_lot::RwLock;
use proptest::prelude::*;
use tempfile::TempDir;

// A storage that can be changed, also where nothing should change any more.
trait Changeable: Queryable {
    fn append(&self, labels: &Labels, ts: i64, value: f64);

    // Removes samples, or whatever else may happen to old ones.
    fn disturb(&self, labels: &Labels, from: i64, to: i64);
}

type AllSeries = BTreeMap<Labels, BTreeMap<i64, f64>>;

// Samples in memory that come and go anywhere.
#[derive(Default)]
struct Fickle {
    state: RwLock<(AllSeries, ChangeLog)>,
}

struct Held(Samples);

impl SampleSource for Held {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        for (ts, value) in self.0.ts.iter().zip(&self.0.values) {
            if (mint..=maxt).contains(ts) {
                out.push(*ts, *value);
            }
        }
        Ok(())
    }
}

impl Queryable for Fickle {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        let state = self.state.read();
        let matching = state.0.iter().filter(|(labels, samples)| {
            let in_range = samples.range(selection.mint..=selection.maxt).next().is_some();
            in_range && selection.matchers.iter().all(|matcher| matcher.matches_labels(labels))
        });
        let series = matching.map(|(labels, samples)| Series {
            labels: labels.clone(),
            source: Box::new(Held(Samples::floats(
                samples.keys().copied().collect(),
                samples.values().copied().collect(),
            ))),
        });
        Ok(series.collect())
    }

    fn label_names(&self, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn changes(&self, since: &Version) -> Option<Changes> {
        Some(self.state.read().1.since(since))
    }
}

impl Changeable for Fickle {
    fn append(&self, labels: &Labels, ts: i64, value: f64) {
        let mut state = self.state.write();
        state.0.entry(labels.clone()).or_default().insert(ts, value);
        state.1.note(ts);
    }

    fn disturb(&self, labels: &Labels, from: i64, to: i64) {
        let mut state = self.state.write();
        if let Some(samples) = state.0.get_mut(labels) {
            samples.retain(|ts, _| !(from..=to).contains(ts));
        }
        state.1.note(from);
    }
}

impl Changeable for Tsdb {
    fn append(&self, labels: &Labels, ts: i64, value: f64) {
        let mut batch = self.appender();
        // What comes too late is refused.
        if batch.append(None, labels, ts, value).is_ok() {
            batch.commit().expect("the batch is written");
        }
    }

    fn disturb(&self, _: &Labels, _: i64, _: i64) {
        self.maintain();
    }
}

fn series() -> Vec<Labels> {
    let plain = [
        ("a", "0"),
        ("a", "1"),
        ("a", "2"),
        ("b", "0"),
        ("b", "1"),
        ("target_info", "0"),
    ];
    let mut all: Vec<Labels> = plain
        .map(|(name, i)| Labels::from_pairs([("__name__", name), ("i", i), ("job", "j"), ("instance", i)]))
        .into();
    all.extend(["1", "2", "+Inf"].map(|le| Labels::from_pairs([("__name__", "h_bucket"), ("le", le)])));
    all
}

const QUERIES: [&str; 34] = [
    "a",
    "sum(a)",
    "avg by (job) (a)",
    "rate(a[30s])",
    "sum by (i) (rate(a[50s]))",
    "max_over_time(a[40s:10s])",
    "sum_over_time(rate(a[30s])[60s:7s] offset 20s)",
    "a offset -20s",
    "a offset 15s",
    "sum_over_time((a offset -20s)[30s:10s] offset -10s)",
    "absent(a{i=\"1\"})",
    "absent_over_time(a[20s])",
    "a + on (i) b",
    "a and on (i) b > 3",
    "a or b",
    "topk(1, a)",
    "limitk(1, a)",
    "quantile(0.3, a)",
    "count_values(\"v\", a)",
    "timestamp(a)",
    "count_over_time(a[35s] offset -10s)",
    "a smoothed",
    "increase(a[40s] smoothed)",
    "increase(a[40s] anchored)",
    "scalar(a{i=\"0\"}) + time()",
    "predict_linear(a[60s], 30)",
    "label_replace(a, \"x\", \"$1\", \"i\", \"(.*)\")",
    "sort(a)",
    "info(a)",
    "histogram_quantile(0.5, h_bucket)",
    "a @ 100",
    "a * end() + start()",
    "avg_over_time(a[range()])",
    "rate(a[step() * 3])",
];

fn engine(bytes: usize) -> Engine {
    Engine::new(EngineOptions {
        lookback_delta_ms: 40_000,
        result_cache_bytes: bytes,
        parse: ParseOptions::all(),
        ..EngineOptions::default()
    })
}

fn ask(
    engine: &Engine,
    storage: &dyn Queryable,
    text: &str,
    (start, end, step): (i64, i64, i64),
) -> Result<QueryResult, QueryError> {
    let expr = engine.parse(text)?;
    engine.query(storage, &Query::range(text, &expr, start, end, step))
}

fn matrix(result: &QueryResult) -> &[(Labels, Samples)] {
    match &result.value {
        QueryValue::Matrix(rows) => rows,
        other => unreachable!("not a matrix: {other:?}"),
    }
}

// Sums may be rounded in another order where series come from blocks.
fn is_close(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

// The first difference.
fn difference(kept: &QueryResult, evaluated: &QueryResult) -> Option<String> {
    let (kept_rows, evaluated_rows) = (matrix(kept), matrix(evaluated));
    let names = |rows: &[(Labels, Samples)]| rows.iter().map(|(labels, _)| labels.to_string()).collect::<Vec<_>>();
    if names(kept_rows) != names(evaluated_rows) {
        return Some(format!("{:?} is not {:?}", names(kept_rows), names(evaluated_rows)));
    }
    for ((labels, kept), (_, evaluated)) in kept_rows.iter().zip(evaluated_rows) {
        let same_values = kept.values.iter().zip(&evaluated.values).all(|(a, b)| is_close(*a, *b));
        if kept.ts != evaluated.ts || !same_values {
            return Some(format!("{labels}: {kept:?} is not {evaluated:?}"));
        }
    }
    // A text may live on a little; none may be missing.
    let missing = evaluated.infos.iter().find(|text| !kept.infos.contains(text));
    let missing = missing.or(evaluated.warnings.iter().find(|text| !kept.warnings.contains(text)));
    missing.map(|text| format!("not told: {text}"))
}

#[derive(Debug, Clone)]
enum Event {
    Append {
        series: usize,
        late_ms: i64,
        value: f64,
    },
    Disturb {
        series: usize,
        before_ms: i64,
        length_ms: i64,
    },
    Ask {
        query: usize,
        steps: i64,
        future_ms: i64,
    },
    // All recent queries again, moved on to the present.
    Refresh,
}

fn event() -> impl Strategy<Value = Event> {
    let series = 0..series().len();
    let value = prop_oneof![4 => (0..20_i32).prop_map(f64::from), 1 => Just(STALE_NAN)];
    let late = prop_oneof![6 => 0..3_000_i64, 2 => 0..90_000_i64];
    prop_oneof![
        12 => (series.clone(), late, value).prop_map(|(series, late_ms, value)| Event::Append { series, late_ms, value }),
        1 => (series, 0..300_000_i64, 0..60_000_i64)
            .prop_map(|(series, before_ms, length_ms)| Event::Disturb { series, before_ms, length_ms }),
        3 => (0..QUERIES.len(), 21..40_i64, prop_oneof![0..1_i64, 0..60_000_i64])
            .prop_map(|(query, steps, future_ms)| Event::Ask { query, steps, future_ms }),
        4 => Just(Event::Refresh),
    ]
}

const STEP: i64 = 10_000;

fn check(storage: &dyn Changeable, events: &[Event]) -> Result<(), TestCaseError> {
    let (keeping, plain) = (engine(1 << 20), engine(0));
    let series = series();
    let mut recent: Vec<(usize, i64, i64)> = Vec::new();
    let mut now = 400_000;
    for event in events {
        now += 1_700;
        let mut asked = Vec::new();
        match event {
            Event::Append {
                series: at,
                late_ms,
                value,
            } => storage.append(&series[*at], now - late_ms, *value),
            Event::Disturb {
                series: at,
                before_ms,
                length_ms,
            } => {
                storage.disturb(&series[*at], now - before_ms, now - before_ms + length_ms);
            }
            Event::Ask {
                query,
                steps,
                future_ms,
            } => {
                recent.retain(|(known, ..)| known != query);
                recent.push((*query, *steps, *future_ms));
                asked.extend(recent.last());
            }
            Event::Refresh => asked.clone_from(&recent),
        }
        for (query, steps, future_ms) in asked {
            let text = QUERIES[query];
            let end = (now + future_ms).div_euclid(STEP) * STEP;
            let range = (end - steps * STEP, end, STEP);
            let kept = ask(&keeping, storage, text, range);
            let evaluated = ask(&plain, storage, text, range);
            match (&kept, &evaluated) {
                (Ok(kept), Ok(evaluated)) => {
                    let difference = difference(kept, evaluated);
                    prop_assert!(
                        difference.is_none(),
                        "{text} over {range:?}: {}",
                        difference.unwrap_or_default()
                    );
                }
                (Err(kept), Err(evaluated)) => prop_assert_eq!(kept.to_string(), evaluated.to_string()),
                _ => prop_assert!(false, "{text}: {kept:?} is not {evaluated:?}"),
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn kept_answers_are_those_of_an_evaluation(events in prop::collection::vec(event(), 1..150)) {
        check(&Fickle::default(), &events)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn kept_answers_are_those_of_an_evaluation_of_the_database(events in prop::collection::vec(event(), 1..300)) {
        let dir = TempDir::new().unwrap();
        let mut options = Options::new(dir.path().to_path_buf());
        options.block_ms = 60_000;
        options.retention_ms = 200_000;
        let clock = Arc::new(ManualClock::new(0));
        let tsdb = Tsdb::open(options, clock, Arc::new(RealFs), &Registry::default()).unwrap();
        check(&tsdb, &events)?;
    }
}

#[test]
fn a_refresh_reads_only_what_is_new() {
    let storage = Fickle::default();
    let labels = &series()[0];
    for second in (0..=7200).step_by(10) {
        storage.append(labels, second * 1000, second as f64);
    }
    let (keeping, plain) = (engine(1 << 20), engine(0));
    let (start, end, step) = (0, 3_600_000, 60_000);
    let first = ask(&keeping, &storage, "sum(rate(a[2m]))", (start, end, step)).unwrap();
    assert!(first.stats.samples_read > 360);
    let moved = (start + step, end + step, step);
    let second = ask(&keeping, &storage, "sum(rate(a[2m]))", moved).unwrap();
    assert_eq!(second.stats.samples_read, 12);
    assert_eq!(
        second.value,
        ask(&plain, &storage, "sum(rate(a[2m]))", moved).unwrap().value
    );
    assert_eq!(second.infos, first.infos);
    assert_eq!(first.infos.len(), 1, "{:?}", first.infos);
    // The very same again: nothing is read.
    let third = ask(&keeping, &storage, "sum(rate(a[2m]))", moved).unwrap();
    assert_eq!((third.stats.samples_read, third.value), (0, second.value));
    let status = keeping.result_cache();
    assert_eq!(
        (status.hits, status.partial_hits, status.misses, status.entries),
        (1, 1, 1, 1)
    );
    assert!(status.bytes > 0);
    assert_eq!(plain.result_cache(), cupola_engine::ResultCacheStatus::default());
}

#[test]
fn what_a_storage_does_not_tell_is_not_kept() {
    let mut storage = cupola_engine::script::MemoryStore::default();
    storage.add(&series()[0], &Samples::floats(vec![0, 60_000], vec![1.0, 2.0]));
    let keeping = engine(1 << 20);
    for _ in 0..2 {
        let read = ask(&keeping, &storage, "a", (0, 600_000, 10_000))
            .unwrap()
            .stats
            .samples_read;
        assert_eq!(read, 2);
    }
    assert_eq!(keeping.result_cache(), cupola_engine::ResultCacheStatus::default());
}

#[test]
fn kept_samples_count_against_the_limit() {
    let storage = Fickle::default();
    for series in &series()[..3] {
        (0..=200).for_each(|second| storage.append(series, second * 1000, 1.0));
    }
    let small = Engine::new(EngineOptions {
        max_samples: 300,
        ..EngineOptions::default()
    });
    assert!(ask(&small, &storage, "a", (0, 90_000, 1000)).is_ok());
    assert!(ask(&small, &storage, "a", (0, 95_000, 1000)).is_ok());
    let error = ask(&small, &storage, "a", (0, 105_000, 1000)).unwrap_err();
    assert!(matches!(error, QueryError::TooManySamples), "{error}");
}
