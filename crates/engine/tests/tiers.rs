//! Queries that downsampled tiers answer, compared with the answers from samples.

use std::sync::Arc;

use cupola_engine::{Asker, Engine, EngineOptions, Query, QueryResult, QueryValue, SourceResolution};
use cupola_env::{ManualClock, RealFs};
use cupola_metrics::Registry;
use cupola_model::Labels;
use cupola_storage::{Appendable, SampleValue};
use cupola_tsdb::{Options, TierOptions, Tsdb};
use tempfile::TempDir;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

struct Server {
    tsdb: Tsdb,
    engine: Engine,
    _dir: TempDir,
}

fn series(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("job", "j")])
}

fn random(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*seed >> 33) % below
}

// Days of samples once a minute; `raw` is how long they stay.
fn server(days: i64, raw: i64) -> Server {
    let dir = TempDir::new().expect("a folder");
    let mut options = Options::new(dir.path().to_path_buf());
    options.retention_ms = raw;
    options.tiers = [5 * MINUTE, HOUR]
        .map(|resolution_ms| TierOptions {
            resolution_ms,
            retention_ms: 0,
        })
        .to_vec();
    let clock = Arc::new(ManualClock::new(0));
    let tsdb = Tsdb::open(options, clock.clone(), Arc::new(RealFs), &Registry::default()).expect("a database");
    let (mut seed, mut counter) = (1, 0.0);
    for hour in 0..days * 24 {
        let mut batch = tsdb.appender();
        for minute in 0..60 {
            let ts = hour * HOUR + minute * MINUTE + 10_000;
            counter = match random(&mut seed, 300) {
                0 => 0.0,
                _ => counter + 100.0 + random(&mut seed, 10) as f64,
            };
            let gauge = random(&mut seed, 1000) as f64;
            for (name, value) in [("c_total", counter), ("gauge", gauge)] {
                batch.append(None, &series(name), ts, value).expect("a sample");
            }
        }
        batch.commit().expect("the batch is written");
        clock.set((hour + 1) * HOUR);
        tsdb.maintain();
    }
    Server {
        tsdb,
        engine: Engine::new(EngineOptions::default()),
        _dir: dir,
    }
}

impl Server {
    fn range(&self, text: &str, start: i64, end: i64, step: i64, source: SourceResolution) -> QueryResult {
        let expr = self.engine.parse(text).expect("a query");
        let query = Query {
            source_resolution: source,
            ..Query::range(text, &expr, start, end, step)
        };
        self.engine.query(&self.tsdb, &query).expect("an answer")
    }

    fn instant(&self, text: &str, at: i64) -> QueryResult {
        let expr = self.engine.parse(text).expect("a query");
        let query = Query {
            asked_by: Asker::Rule,
            ..Query::instant(text, &expr, at)
        };
        self.engine.query(&self.tsdb, &query).expect("an answer")
    }
}

// The points of the only series.
fn points(result: &QueryResult) -> Vec<(i64, f64)> {
    let QueryValue::Matrix(series) = &result.value else {
        return Vec::new();
    };
    assert!(series.len() <= 1, "{series:?}");
    let samples = series.first().map(|(_, samples)| samples.clone()).unwrap_or_default();
    samples.ts.into_iter().zip(samples.values).collect()
}

const TOLD_5M: &str = "answered from samples of 5m resolution";
const TOLD_1H: &str = "answered from samples of 1h resolution";

#[test]
fn tiers_answer_as_samples_do_and_read_fewer() {
    let server = server(8, 100 * DAY);
    // Windows end before their edge, PromQL's ranges on it.
    let (start, end) = (2 * DAY - 1, 7 * DAY - 1);
    let both = |text: &str, step: i64| {
        let auto = server.range(text, start, end, step, SourceResolution::Auto);
        let raw = server.range(text, start, end, step, SourceResolution::UpTo(0));
        assert_eq!((&raw.infos, &raw.warnings), (&vec![], &vec![]), "{text}");
        assert_eq!(auto.warnings, [""; 0], "{text}");
        (auto, raw)
    };
    for function in ["min", "max", "sum", "count", "avg", "last", "present"] {
        for (range, step, told, fewer) in [("1h", HOUR, TOLD_5M, 4), ("6h", 6 * HOUR, TOLD_1H, 25)] {
            let text = format!("{function}_over_time(gauge[{range}])");
            let (auto, raw) = both(&text, step);
            assert_eq!(points(&auto).len(), points(&raw).len(), "{text}");
            for (got, expected) in points(&auto).iter().zip(points(&raw)) {
                assert!((got.1 - expected.1).abs() < 1e-9, "{text}: {got:?} {expected:?}");
            }
            assert_eq!(
                auto.infos,
                [format!("PromQL info: {told} (1:{})", function.len() + 12)],
                "{text}"
            );
            let (few, many) = (auto.stats.samples_read, raw.stats.samples_read);
            // An average reads two series, the last samples are a few more.
            let fewer = if matches!(function, "avg" | "last") {
                fewer / 3
            } else {
                fewer
            };
            assert!(few * fewer <= many, "{text}: {few} of {many}");
        }
    }
    // What was counted is the same but for what lies at the edges: two scrapes' worth at most at each.
    for (text, step, told) in [
        ("increase(c_total[6h])", 6 * HOUR, TOLD_1H),
        ("increase(c_total[1h])", HOUR, TOLD_5M),
        ("rate(c_total[1d])", DAY, TOLD_1H),
    ] {
        let (auto, raw) = both(text, step);
        assert!(auto.infos[0].contains(told), "{text}: {:?}", auto.infos);
        assert_eq!(points(&auto).len(), points(&raw).len());
        for (got, expected) in points(&auto).iter().zip(points(&raw)) {
            let scrapes: f64 = 3.0 * 110.0 / if text.starts_with("rate") { 86_400.0 } else { 1.0 };
            assert!(
                (got.1 - expected.1).abs() < scrapes.max(expected.1 * 0.02),
                "{text}: {got:?} {expected:?}"
            );
        }
        // Over days nothing adds up.
        let sum = |result: &QueryResult| points(result).iter().map(|p| p.1).sum::<f64>();
        assert!(
            (sum(&auto) / sum(&raw) - 1.0).abs() < 0.05,
            "{text}: {} {}",
            sum(&auto),
            sum(&raw)
        );
    }
    let (auto, raw) = both("resets(c_total[1d])", DAY);
    assert_eq!(points(&auto), points(&raw));
    // The newest sample is up to a window old, and always there.
    let (auto, raw) = both("gauge", 30 * MINUTE);
    assert!(auto.infos[0].contains(TOLD_5M));
    assert_eq!(points(&auto), points(&raw));
    let text = "timestamp(gauge)";
    let result = server.range(text, start + 7 * MINUTE, end, 47 * MINUTE, SourceResolution::Auto);
    assert!(result.infos[0].contains(TOLD_5M));
    assert_eq!(points(&result).len() as i64, (5 * DAY - 7 * MINUTE) / (47 * MINUTE) + 1);
    let age = |(t, ts): &(i64, f64)| *t as f64 / 1000.0 - ts;
    assert!(points(&result).iter().all(|point| (0.0..=360.0).contains(&age(point))));
}

#[test]
fn samples_answer_where_the_difference_could_be_seen() {
    let server = server(4, 100 * DAY);
    let told = |text: &str, step: i64, source: SourceResolution| {
        let result = server.range(text, DAY, 3 * DAY, step, source);
        let mut told = result.infos;
        told.extend(result.warnings);
        told.retain(|text| text.contains("answered from"));
        told
    };
    for (text, step) in [
        ("gauge", 24 * MINUTE),
        ("sum_over_time(gauge[1d])", 24 * MINUTE),
        ("sum_over_time(gauge[24m])", HOUR),
        ("changes(gauge[6h])", 6 * HOUR),
        ("stddev_over_time(gauge[6h])", 6 * HOUR),
        ("quantile_over_time(0.5, gauge[6h])", 6 * HOUR),
        ("irate(c_total[6h])", 6 * HOUR),
        ("gauge @ 100000", 6 * HOUR),
        ("max_over_time(gauge[6h:1m])", 6 * HOUR),
    ] {
        assert_eq!(told(text, step, SourceResolution::Auto), [""; 0], "{text}");
    }
    // The step of a subquery is that of its selector.
    let subquery = told(
        "max_over_time(sum_over_time(gauge[1h])[6h:1h])",
        60_000 * 7,
        SourceResolution::Auto,
    );
    assert!(subquery.len() == 1 && subquery[0].contains(TOLD_5M), "{subquery:?}");
    // Asked for, whatever the step; asked not to, whatever the step.
    let up_to = |ms| SourceResolution::UpTo(ms);
    assert!(told("sum_over_time(gauge[1d])", MINUTE * 7, up_to(HOUR))[0].contains(TOLD_1H));
    assert!(told("sum_over_time(gauge[1d])", DAY, up_to(5 * MINUTE))[0].contains(TOLD_5M));
    assert_eq!(told("sum_over_time(gauge[1d])", DAY, up_to(0)), [""; 0]);
    // Rules are instant queries.
    for text in [
        "gauge",
        "sum_over_time(gauge[1d])",
        "increase(c_total[3d])",
        "gauge[10m]",
    ] {
        let result = server.instant(text, 3 * DAY);
        assert!(
            result.infos.is_empty() && result.warnings.is_empty(),
            "{text}: {:?}",
            result.infos
        );
    }
    // What was asked for with one resolution is no answer to another.
    let sum = |source| server.range("sum(gauge)", DAY, 3 * DAY, HOUR, source).infos.len();
    assert_eq!(
        (sum(SourceResolution::Auto), sum(up_to(0)), sum(SourceResolution::Auto)),
        (1, 0, 1)
    );
}

#[test]
fn years_after_the_samples_are_gone_a_query_reads_little() {
    const DAYS: i64 = 30;
    let server = server(DAYS, DAY);
    let result = server.range("avg_over_time(gauge[1d])", DAY, DAYS * DAY, DAY, SourceResolution::Auto);
    let answer = points(&result);
    assert_eq!(answer.len() as i64, DAYS);
    assert!(
        answer.iter().all(|(_, value)| (400.0..600.0).contains(value)),
        "{answer:?}"
    );
    // Of 43,200 samples: two numbers an hour, and the samples of the last day, twice.
    assert!(
        result.stats.samples_read <= 2 * (DAYS as u64 * 24 + 2 * 1440),
        "{:?}",
        result.stats
    );
    let result = server.range(
        "increase(c_total[7d])",
        8 * DAY,
        DAYS * DAY,
        DAY,
        SourceResolution::Auto,
    );
    assert!(
        result.stats.samples_read < DAYS as u64 * 24 * 2 + 2 * 1440,
        "{:?}",
        result.stats
    );
    // 100 to 109 each minute, less what is lost at resets.
    let week = 7.0 * 1440.0 * 104.5;
    assert!(
        points(&result)
            .iter()
            .all(|(_, value)| (value / week - 1.0).abs() < 0.05)
    );
    // What needs the samples themselves is answered from true ones, and told.
    let text = "stddev_over_time(gauge[1d])";
    let result = server.range(text, 2 * DAY, 9 * DAY, DAY, SourceResolution::Auto);
    assert_eq!(points(&result).len(), 8);
    assert_eq!(result.warnings, [format!("PromQL warning: {TOLD_5M} (1:18)")]);
    // A rule over the past has the finest there is.
    let result = server.instant("gauge", 10 * DAY - 1);
    assert_eq!(result.infos, [format!("PromQL info: {TOLD_5M} (1:1)")]);
    let rows = match &result.value {
        QueryValue::Vector(rows) => rows.as_slice(),
        _ => &[],
    };
    assert!(
        matches!(rows, [(labels, _, SampleValue::Float(_))] if *labels == series("gauge")),
        "{rows:?}"
    );
    // A range of less than a window answers what it can.
    let result = server.range(
        "count_over_time(gauge[10m])",
        10 * DAY,
        11 * DAY,
        10 * MINUTE,
        SourceResolution::Auto,
    );
    assert_eq!(result.warnings, [format!("PromQL warning: {TOLD_5M} (1:17)")]);
    assert!(points(&result).iter().all(|(_, count)| *count == 10.0));
    // Without tiers there is nothing.
    let text = "gauge";
    let result = server.range(text, 10 * DAY, 11 * DAY, HOUR, SourceResolution::UpTo(0));
    assert_eq!((points(&result), result.infos), (vec![], vec![]));
}
