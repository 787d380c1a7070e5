use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cupola_config::parse_rules;
use cupola_config::rules::RuleOptions;
use cupola_engine::{Engine, EngineOptions};
use cupola_env::{Clock, ManualClock, RealFs};
use cupola_histogram::Histogram;
use cupola_metrics::Registry;
use cupola_model::{Alert, AlertSink, is_stale_nan};
use cupola_storage::{Appendable, Queryable, Samples, Selection};
use cupola_tsdb::{Options, Tsdb};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;
use crate::alerting::{ActiveAlert, AlertState};
use crate::manager::Parts;

mod agree;
mod jumps;
mod reload;

#[derive(Default)]
struct Recorder(Mutex<Vec<Alert>>);

impl AlertSink for Recorder {
    fn post(&self, alerts: &[Alert]) {
        self.0.lock().extend_from_slice(alerts);
    }
}

struct Bench {
    ctx: Arc<Context>,
    tsdb: Tsdb,
    sent: Arc<Recorder>,
    _dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with_clock(Arc::new(ManualClock::new(0)))
    }

    fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let dir = TempDir::new().unwrap();
        let registry = Registry::default();
        let options = Options::new(dir.path().to_path_buf());
        let tsdb = Tsdb::open(options, clock.clone(), Arc::new(RealFs), &registry).unwrap();
        let sent = Arc::new(Recorder::default());
        let parts = Parts {
            queryable: Arc::new(tsdb.clone()),
            storage: Arc::new(tsdb.clone()),
            engine: Arc::new(Engine::new(EngineOptions::default())),
            clock,
            alerts: sent.clone(),
            external_url: "http://localhost".into(),
            external_labels: Labels::from_pairs([("cluster", "c")]),
        };
        Self {
            ctx: Arc::new(Context::new(parts, &registry)),
            tsdb,
            sent,
            _dir: dir,
        }
    }

    fn source(rules: &str) -> RuleGroup {
        let text = format!("groups: [{{name: g, rules: {rules}}}]");
        let file = parse_rules(&text, std::path::Path::new("r.yml"), RuleOptions::default()).unwrap();
        file.groups.into_iter().next().unwrap()
    }

    fn group(rules: &str) -> Group {
        Group::new("r.yml", Self::source(rules), 1000, 0)
    }

    fn write(&self, name: &str, job: &str, ts: i64, value: f64) {
        let mut appender = self.tsdb.appender();
        let labels = Labels::from_pairs([(METRIC_NAME, name), ("job", job)]);
        appender.append(None, &labels, ts, value).unwrap();
        appender.commit().unwrap();
    }

    // All samples of the series with this name, as `labels: values`, `x` for a staleness marker.
    fn series(&self, name: &str) -> Vec<String> {
        let matchers = [cupola_model::Matcher::equal(METRIC_NAME, name)];
        let selection = Selection {
            matchers: &matchers,
            mint: i64::MIN,
            maxt: i64::MAX,
        };
        let mut out = Vec::new();
        for series in self.tsdb.select(&selection).unwrap() {
            let mut samples = Samples::default();
            series.source.read(i64::MIN, i64::MAX, &mut samples).unwrap();
            let text = |v: &f64| {
                if is_stale_nan(*v) {
                    "x".to_owned()
                } else {
                    v.to_string()
                }
            };
            let values: Vec<String> = samples.values.iter().map(text).collect();
            out.push(format!("{}: {}", series.labels.without_name(), values.join(" ")));
        }
        out.sort();
        out
    }
}

#[test]
fn a_recording_rule_keeps_native_histograms_and_an_alert_counts_them_as_zero() {
    let bench = Bench::new();
    let mut group =
        Bench::group("[{record: 'r', expr: 'sum(h)'}, {alert: A, expr: 'h', annotations: {v: '{{ $value }}'}}]");
    for (ts, count) in [(1000, 1), (2000, 3)] {
        let mut appender = bench.tsdb.appender();
        for job in ["a", "b"] {
            let histogram = Histogram {
                count,
                sum: 2.0,
                zero_count: count,
                zero_threshold: 0.1,
                ..Histogram::default()
            };
            let labels = Labels::from_pairs([(METRIC_NAME, "h"), ("job", job)]);
            let histogram = NativeHistogram::Integer(histogram);
            appender.append_histogram(None, &labels, ts, histogram).unwrap();
        }
        appender.commit().unwrap();
        assert_eq!(group.evaluate(&bench.ctx, ts), 5);
    }
    let matchers = [cupola_model::Matcher::equal(METRIC_NAME, "r")];
    let selection = Selection {
        matchers: &matchers,
        mint: 0,
        maxt: 5000,
    };
    let mut samples = Samples::default();
    let found = bench.tsdb.select(&selection).unwrap();
    found[0].source.read(0, 5000, &mut samples).unwrap();
    let counts: Vec<f64> = samples.histograms.values.iter().map(|h| h.count).collect();
    assert_eq!((found.len(), counts, samples.values), (1, vec![2.0, 6.0], vec![]));
    let sent = bench.sent.0.lock();
    assert_eq!(sent[0].annotations.value("v"), "0");
}

#[test]
fn a_rate_of_a_recorded_histogram_sees_the_resets_that_its_source_had_not() {
    let bench = Bench::new();
    let mut group =
        Bench::group("[{record: r, expr: 'h * scalar(f)'}, {record: q, expr: 'histogram_sum(rate(r[4s]))'}]");
    for second in 1..=12 {
        let mut appender = bench.tsdb.appender();
        let histogram = Histogram {
            count: 2,
            sum: 4.0,
            zero_count: 2,
            zero_threshold: 0.1,
            ..Histogram::default()
        };
        let (labels, histogram) = (
            Labels::from_pairs([(METRIC_NAME, "h")]),
            NativeHistogram::Integer(histogram),
        );
        appender
            .append_histogram(None, &labels, second * 1000, histogram)
            .unwrap();
        appender.commit().unwrap();
        let factor = if second % 2 == 0 { 1.0 } else { 4.0 };
        bench.write("f", "a", second * 1000, factor);
        group.evaluate(&bench.ctx, second * 1000);
    }
    let rates = bench.series("q").concat();
    let rates: Vec<f64> = rates
        .trim_start_matches("{}: ")
        .split(' ')
        .map(|rate| rate.parse().unwrap())
        .collect();
    assert!(rates.len() == 11 && rates.iter().all(|rate| *rate > 0.0), "{rates:?}");
}

#[test]
fn a_recording_rule_writes_its_result_and_ends_what_is_gone() {
    let bench = Bench::new();
    let mut group = Bench::group("[{record: 'r', expr: 'm > 1', labels: {extra: e}}]");
    bench.write("m", "a", 1000, 5.0);
    bench.write("m", "b", 1000, 6.0);
    assert_eq!(group.evaluate(&bench.ctx, 1000), 2);
    bench.write("m", "b", 2000, 0.0);
    group.evaluate(&bench.ctx, 2000);
    assert_eq!(
        bench.series("r"),
        [r#"{extra="e", job="a"}: 5 5"#, r#"{extra="e", job="b"}: 6 x"#]
    );
}

#[test]
fn a_rule_that_fails_does_not_stop_its_neighbours() {
    let bench = Bench::new();
    let mut group = Bench::group(
        "[{record: bad, expr: 'label_replace(m, \"job\", \"same\", \"\", \"\")'}, {record: good, expr: 'count(m)'}]",
    );
    bench.write("m", "a", 1000, 5.0);
    bench.write("m", "b", 1000, 6.0);
    group.evaluate(&bench.ctx, 1000);
    let status = group.status();
    assert_eq!(
        (status.rules[0].health, status.rules[1].health),
        (RuleHealth::Err, RuleHealth::Ok)
    );
    assert!(
        status.rules[0].last_error.as_ref().unwrap().contains("same labelset"),
        "{status:?}"
    );
    assert_eq!(bench.series("good"), ["{}: 2"]);
}

#[test]
fn an_alert_is_pending_then_fires_then_is_resolved_and_each_is_told() {
    let bench = Bench::new();
    let mut group = Bench::group(
        "[{alert: High, expr: 'm > 1', for: 2s, labels: {team: 't-{{ $labels.job }}'}, \
          annotations: {summary: '{{ $labels.job }} is {{ $value }} in {{ $externalLabels.cluster }}'}}]",
    );
    let mut states = Vec::new();
    for (second, value) in [(1, 5.0), (2, 5.0), (3, 5.0), (4, 0.0)] {
        bench.write("m", "a", second * 1000, value);
        group.evaluate(&bench.ctx, second * 1000);
        let RuleDetail::Alerting { alerts, .. } = &group.status().rules[0].detail else {
            panic!("no alerting rule")
        };
        states.push(alerts.first().map(|a| a.state));
    }
    let (pending, firing) = (Some(AlertState::Pending), Some(AlertState::Firing));
    assert_eq!(states, [pending, pending, firing, None]);
    let sent = bench.sent.0.lock();
    let told: Vec<_> = sent.iter().map(|a| (a.starts_at, a.is_resolved(4000))).collect();
    assert_eq!(told, [(3000, false), (3000, true)]);
    assert_eq!(sent[0].labels.to_string(), r#"{alertname="High", job="a", team="t-a"}"#);
    assert_eq!(sent[0].annotations.to_string(), r#"{summary="a is 5 in c"}"#);
    assert_eq!(sent[0].generator_url, "http://localhost/graph?g0.expr=m+%3E+1&g0.tab=1");
    assert_eq!(
        bench.series("ALERTS"),
        [
            r#"{alertname="High", alertstate="firing", job="a", team="t-a"}: 1 x"#,
            r#"{alertname="High", alertstate="pending", job="a", team="t-a"}: 1 1 x"#,
        ]
    );
    assert_eq!(
        bench.series("ALERTS_FOR_STATE"),
        [r#"{alertname="High", job="a", team="t-a"}: 1 1 1 x"#]
    );
}

#[test]
fn templates_ask_at_the_evaluation_and_an_empty_label_takes_one_away() {
    let bench = Bench::new();
    let mut group = Bench::group(
        "[{alert: A, expr: m, labels: {job: '', of: '{{ $labels.job }}'}, \
           annotations: {v: '{{ $value }} {{ with query `m` }}{{ . | first | value }}{{ end }} {{ now }}'}}, \
          {record: r, expr: m, labels: {job: ''}}]",
    );
    group.offset_ms = 10_000;
    bench.write("m", "a", 20_000, 1.0);
    bench.write("m", "a", 30_000, 2.0);
    group.evaluate(&bench.ctx, 30_000);
    let sent = bench.sent.0.lock();
    assert_eq!(sent[0].labels.to_string(), r#"{alertname="A", of="a"}"#);
    assert_eq!(sent[0].annotations.value("v"), "1 2 30");
    assert_eq!(bench.series("r"), ["{}: 1"]);
}

#[test]
fn a_group_that_is_stopped_goes_on_with_no_further_rule_and_ends_nothing() {
    let bench = Bench::new();
    let mut group = Bench::group("[{record: r, expr: vector(1)}]");
    assert_eq!(group.evaluate(&bench.ctx, 1000), 1);
    group.stop.cancel();
    assert_eq!(group.evaluate(&bench.ctx, 2000), 0);
    assert_eq!(bench.series("r"), ["{}: 1"]);
}

#[test]
fn rules_of_one_name_keep_their_state_in_order() {
    let bench = Bench::new();
    let rule = |expr: &str| format!("{{alert: A, expr: '{expr}', for: 1h}}");
    let mut old = Bench::group(&format!("[{}, {}]", rule("m"), rule("n")));
    bench.write("m", "a", 1000, 1.0);
    bench.write("n", "a", 2000, 1.0);
    old.evaluate(&bench.ctx, 1000);
    old.evaluate(&bench.ctx, 2000);
    let mut new = Bench::group(&format!("[{}, {}, {}]", rule("m > 0"), rule("n > 0"), rule("n")));
    new.adopt(&mut old);
    new.evaluate(&bench.ctx, 3000);
    let since: Vec<i64> = new
        .alerting()
        .flat_map(|(_, _, alerts)| alerts.active().map(|alert| alert.active_at).collect::<Vec<_>>())
        .collect();
    assert_eq!(since, [1000, 2000, 3000]);
}

#[test]
fn a_rule_over_its_limit_fails_and_writes_nothing() {
    let bench = Bench::new();
    let mut group = Bench::group("[{record: 'r', expr: m}]");
    group.source.limit = 1;
    bench.write("m", "a", 1000, 5.0);
    bench.write("m", "b", 1000, 6.0);
    group.evaluate(&bench.ctx, 1000);
    assert_eq!(
        group.status().rules[0].last_error.as_deref(),
        Some("exceeded limit of 1 with 2 series")
    );
    assert!(bench.series("r").is_empty());
}

#[test]
fn a_changed_group_keeps_the_alerts_of_rules_that_stayed() {
    let bench = Bench::new();
    let mut old = Bench::group("[{alert: A, expr: m, for: 10s}, {record: gone, expr: m}]");
    bench.write("m", "a", 1000, 5.0);
    old.evaluate(&bench.ctx, 1000);
    let mut new = Bench::group("[{alert: A, expr: 'm > 0', for: 10s}]");
    new.adopt(&mut old);
    bench.write("m", "a", 2000, 5.0);
    new.evaluate(&bench.ctx, 2000);
    let RuleDetail::Alerting { alerts, .. } = &new.status().rules[0].detail else {
        panic!("no alerting rule")
    };
    assert_eq!(alerts[0].active_at, 1000);
    assert_eq!(bench.series("gone"), [r#"{job="a"}: 5 x"#]);
}

#[test]
fn an_alert_that_waited_before_a_restart_goes_on_waiting() {
    let bench = Bench::new();
    let minute = 60_000;
    let rules = "[{alert: A, expr: 'm > 0', for: 30m}]";
    let mut before = Bench::group(rules);
    for at in 0..=20 {
        bench.write("m", "a", at * minute, 5.0);
        before.evaluate(&bench.ctx, at * minute);
    }
    let mut after = Bench::group(rules);
    after.restore_in = Some(1);
    bench.write("m", "a", 21 * minute, 5.0);
    after.evaluate(&bench.ctx, 21 * minute);
    crate::restore::restore(&bench.ctx, &mut after, 21 * minute);
    let RuleDetail::Alerting { alerts, .. } = &after.status().rules[0].detail else {
        panic!("no alerting rule")
    };
    // Twenty minutes had passed at the last sight; ten are left, from now on.
    assert_eq!(alerts[0].active_at, minute);
}

// Counts how often it is asked for series.
struct Counting(Tsdb, AtomicUsize);

impl Queryable for Counting {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<cupola_storage::Series>, cupola_storage::StorageError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.select(selection)
    }

    fn label_names(&self, selection: &Selection<'_>) -> Result<Vec<String>, cupola_storage::StorageError> {
        self.0.label_names(selection)
    }

    fn label_values(&self, name: &str, selection: &Selection<'_>) -> Result<Vec<String>, cupola_storage::StorageError> {
        self.0.label_values(name, selection)
    }
}

#[test]
fn restoring_many_alerts_of_a_rule_asks_the_storage_once() {
    let bench = Bench::new();
    let minute = 60_000;
    let rules = "[{alert: A, expr: 'm > 0', for: 30m}, {alert: B, expr: 'm > 2', for: 30m}]";
    let mut before = Bench::group(rules);
    let jobs: Vec<String> = (0..300).map(|job| job.to_string()).collect();
    for at in 0..=3 {
        jobs.iter().for_each(|job| bench.write("m", job, at * minute, 5.0));
        before.evaluate(&bench.ctx, at * minute);
    }
    let counting = Arc::new(Counting(bench.tsdb.clone(), AtomicUsize::new(0)));
    let mut ctx = Arc::into_inner(bench.ctx).unwrap();
    ctx.queryable = counting.clone();
    let ctx = Arc::new(ctx);
    let mut after = Bench::group(rules);
    after.restore_in = Some(1);
    after.evaluate(&ctx, 5 * minute);
    counting.1.store(0, Ordering::Relaxed);
    crate::restore::restore(&ctx, &mut after, 5 * minute);
    assert_eq!(counting.1.load(Ordering::Relaxed), 2);
    for (_, _, alerts) in after.alerting() {
        // Three of thirty minutes had passed.
        assert_eq!(
            alerts.active().filter(|alert| alert.active_at == 2 * minute).count(),
            300
        );
    }
}

#[test]
fn an_alert_fires_on_after_a_restart_as_keep_firing_for_says() {
    let bench = Bench::new();
    let minute = 60_000;
    let rules =
        "[{alert: A, expr: 'm > 5', keep_firing_for: 10m, labels: {severity: page}, annotations: {v: '{{ $value }}'}}]";
    let mut before = Bench::group(rules);
    before.interval_ms = minute;
    // The first stops to hold before the restart, the second during it, the third holds on.
    for at in 1..=10 {
        for (job, last) in [("a", 7), ("b", 99), ("c", 99)] {
            let value = if at <= last { 6.0 + at as f64 } else { 0.0 };
            bench.write("m", job, at * minute, value);
        }
        before.evaluate(&bench.ctx, at * minute);
    }
    let mut after = Bench::group(rules);
    after.interval_ms = minute;
    after.restore_in = Some(1);
    for at in 12..=25 {
        for (job, value) in [("a", 0.0), ("b", 0.0), ("c", 9.0)] {
            bench.write("m", job, at * minute, value);
        }
        bench.sent.0.lock().clear();
        after.evaluate(&bench.ctx, at * minute);
        if at == 12 {
            crate::restore::restore(&bench.ctx, &mut after, at * minute);
            after.restore_in = None;
        }
        let firing: Vec<String> = after
            .alerting()
            .flat_map(|(_, _, alerts)| {
                alerts
                    .active()
                    .map(|alert| alert.labels.value("job").to_owned())
                    .collect::<Vec<_>>()
            })
            .collect();
        let has = |job: &str| firing.iter().any(|firing| firing == job);
        // Since the evaluation at 8 and since 10, when it was seen last, for ten minutes each.
        assert_eq!(
            (has("a"), has("b"), has("c")),
            (at < 18, at < 20, true),
            "{at} {firing:?}"
        );
        if at == 13 {
            let sent = bench.sent.0.lock();
            let a = sent.iter().find(|alert| alert.labels.value("job") == "a").unwrap();
            // What it last said, and since when it fires.
            assert_eq!((a.annotations.value("v"), a.starts_at), ("13", minute));
        }
    }
}

#[test]
fn a_restart_leaves_kept_alerts_to_the_rule_that_keeps_them() {
    let bench = Bench::new();
    let rules = "[{alert: X, expr: 'm > 5', keep_firing_for: 1h}, {alert: X, expr: 'n > 5', keep_firing_for: 1h}]";
    let group = || {
        let mut group = Bench::group(rules);
        group.interval_ms = MINUTE;
        group
    };
    let mut before = group();
    for at in 1..=8 {
        bench.write("m", "a", at * MINUTE, if at <= 4 { 9.0 } else { 0.0 });
        before.evaluate(&bench.ctx, at * MINUTE);
    }
    let mut after = group();
    after.restore_in = Some(1);
    after.evaluate(&bench.ctx, 9 * MINUTE);
    crate::restore::restore(&bench.ctx, &mut after, 9 * MINUTE);
    let active: Vec<usize> = after.alerting().map(|(_, _, alerts)| alerts.active().count()).collect();
    assert_eq!(active, [1, 0]);
}

#[test]
fn a_restart_takes_over_no_alerts_of_another_rule_of_the_same_name() {
    let bench = Bench::new();
    let minute = 60_000;
    let rules =
        "[{alert: X, expr: 'm > 5', labels: {severity: critical}}, {alert: X, expr: 'n > 5', keep_firing_for: 2m}]";
    let mut before = Bench::group(rules);
    before.interval_ms = minute;
    for at in 1..=5 {
        bench.write("m", "a", at * minute, 9.0);
        before.evaluate(&bench.ctx, at * minute);
    }
    let mut after = Bench::group(rules);
    after.interval_ms = minute;
    after.restore_in = Some(1);
    bench.sent.0.lock().clear();
    for at in 6..=10 {
        bench.write("m", "a", at * minute, 9.0);
        after.evaluate(&bench.ctx, at * minute);
        if at == 6 {
            crate::restore::restore(&bench.ctx, &mut after, at * minute);
            after.restore_in = None;
        }
        let active: Vec<usize> = after.alerting().map(|(_, _, alerts)| alerts.active().count()).collect();
        assert_eq!(active, [1, 0], "{at}");
    }
    let sent = bench.sent.0.lock();
    assert!(
        !sent.is_empty() && sent.iter().all(|alert| alert.ends_at > Some(9 * minute)),
        "{sent:?}"
    );
}

const MINUTE: i64 = 60_000;

// What is kept, with its annotation and since when the expression does not give it, by a process that goes on after `before`.
fn kept_after(bench: &Bench, before: impl FnOnce(&mut Group)) -> Vec<(String, Option<i64>)> {
    let rules = "[{alert: A, expr: 'm > 5', keep_firing_for: 10m, annotations: {v: '{{ $value }}'}}]";
    let group = || {
        let mut group = Bench::group(rules);
        group.interval_ms = MINUTE;
        group
    };
    before(&mut group());
    let mut after = group();
    after.restore_in = Some(1);
    after.evaluate(&bench.ctx, 9 * MINUTE);
    crate::restore::restore(&bench.ctx, &mut after, 9 * MINUTE);
    let of = |alert: &ActiveAlert| (alert.annotations.value("v").to_owned(), alert.keep_firing_since);
    let kept = after.alerting();
    kept.flat_map(|(_, _, alerts)| alerts.active().map(of).collect::<Vec<_>>())
        .collect()
}

#[test]
fn an_alert_fires_on_after_a_restart_although_an_evaluation_was_missed_before_it_ended() {
    let bench = Bench::new();
    let kept = kept_after(&bench, |before| {
        for at in 1..=8 {
            bench.write("m", "a", at * MINUTE, if at <= 5 { 9.0 } else { 0.0 });
            // The one that would have seen it end first.
            if at != 6 {
                before.evaluate(&bench.ctx, at * MINUTE);
            }
        }
    });
    assert_eq!(kept, [("9".to_owned(), Some(7 * MINUTE))]);
}

#[test]
fn an_alert_fires_on_after_a_restart_although_the_sample_that_ended_it_came_late() {
    let bench = Bench::new();
    let kept = kept_after(&bench, |before| {
        for at in 1..=8 {
            before.evaluate(&bench.ctx, at * MINUTE);
            // Of half a minute before.
            bench.write("m", "a", at * MINUTE - 30_000, if at <= 4 { 9.0 } else { 0.0 });
        }
    });
    assert_eq!(kept, [("9".to_owned(), Some(6 * MINUTE))]);
}

#[test]
fn who_asks_for_a_slow_group_is_told_how_it_was_and_waits_for_no_evaluation() {
    let bench = Bench::new();
    let shared = Arc::new(crate::shared::Shared::new(Bench::group(
        "[{record: r, expr: vector(1)}]",
    )));
    let ask = || {
        let (sender, told) = std::sync::mpsc::channel();
        let asked = shared.clone();
        std::thread::spawn(move || sender.send(asked.status().last_evaluation));
        told.recv_timeout(std::time::Duration::from_secs(60))
    };
    let mut group = shared.lock();
    assert_eq!(ask(), Ok(None), "it waits for the first evaluation");
    group.evaluate(&bench.ctx, 1000);
    group.last_seconds = 5.0;
    shared.evaluated(&group);
    // As during the next evaluation: another thread asks meanwhile.
    group.last_evaluation = Some(2000);
    assert_eq!(ask(), Ok(Some(0)), "it waits, or tells of what is not over");
    drop(group);
    assert_eq!(shared.status().last_evaluation, Some(2000));
}
