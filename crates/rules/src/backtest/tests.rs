use cupola_config::rules::{RuleOptions, parse_rules};
use cupola_engine::EngineOptions;
use cupola_engine::script::MemoryStore;
use cupola_env::ManualClock;
use cupola_histogram::{FloatHistogram, NativeHistogram};
use cupola_metrics::Registry;
use cupola_model::{Alert, AlertSink, SeriesRef};
use cupola_storage::{AppendError, Appendable, Appender, CommitError, Selection, Series, StorageError};
use parking_lot::RwLock;
use proptest::prelude::*;

use super::*;
use crate::history::{AlertHistory, Happened};
use crate::manager::{Context, Parts};
use crate::rehearsal::Rehearsal;

const MINUTE: i64 = 60_000;
// Far from 0, on a full hour.
const BEGIN: i64 = 1_700_000_000_000 / 3_600_000 * 3_600_000;

#[derive(Clone, Default)]
struct Store(Arc<RwLock<MemoryStore>>);

impl Queryable for Store {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        self.0.read().select(selection)
    }

    fn label_names(&self, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        self.0.read().label_names(selection)
    }

    fn label_values(&self, name: &str, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        self.0.read().label_values(name, selection)
    }
}

impl Appendable for Store {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(self.clone())
    }
}

impl Appender for Store {
    fn append(
        &mut self,
        _known: Option<SeriesRef>,
        labels: &Labels,
        ts: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        self.0.write().push(labels, ts, SampleValue::Float(value));
        Ok(SeriesRef(0))
    }

    fn append_known(&mut self, _series: SeriesRef, _ts: i64, _value: f64) -> Result<bool, AppendError> {
        Ok(false)
    }

    fn append_histogram(
        &mut self,
        _known: Option<SeriesRef>,
        labels: &Labels,
        ts: i64,
        histogram: NativeHistogram,
    ) -> Result<SeriesRef, AppendError> {
        let histogram = match histogram {
            NativeHistogram::Float(histogram) => histogram,
            NativeHistogram::Integer(histogram) => histogram.to_float(),
        };
        histogram
            .validate()
            .map_err(|invalid| AppendError::InvalidHistogram(Box::new(invalid)))?;
        let value = SampleValue::Histogram(Arc::new(histogram));
        self.0.write().push(labels, ts, value);
        Ok(SeriesRef(0))
    }

    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        Ok(())
    }
}

struct Nobody;

impl AlertSink for Nobody {
    fn post(&self, _alerts: &[Alert]) {}
}

fn groups(text: &str) -> Vec<GroupSource> {
    let file = parse_rules(text, std::path::Path::new("r.yml"), RuleOptions::default()).expect("good rules");
    let groups = file.groups.into_iter();
    groups
        .map(|group| GroupSource {
            file: "r.yml".to_owned(),
            group,
        })
        .collect()
}

fn engine() -> Arc<Engine> {
    Arc::new(Engine::new(EngineOptions::default()))
}

fn options(minutes: i64) -> BacktestOptions {
    BacktestOptions {
        start: BEGIN,
        end: BEGIN + minutes * MINUTE - 1,
        interval_ms: MINUTE,
        query_offset_ms: 0,
        external_url: "http://x".to_owned(),
        external_labels: Labels::empty(),
        cancel: Cancel::new(),
    }
}

fn replayed(store: &Store, rules: &str, minutes: i64) -> Vec<RuleReport> {
    backtest(Arc::new(store.clone()), engine(), &groups(rules), &options(minutes)).expect("a report")
}

// A letter a minute: a number is the value, `.` is nothing.
fn feed(store: &Store, series: &[(&str, &str)]) {
    for (labels, values) in series {
        let (labels, _) = cupola_engine::script::parse_labels(labels).expect("a series");
        for (minute, letter) in values.chars().enumerate() {
            if let Some(value) = letter.to_digit(10) {
                // In the middle between evaluations of whatever slot.
                let ts = BEGIN + minute as i64 * MINUTE - MINUTE / 2;
                store.0.write().push(&labels, ts, SampleValue::Float(f64::from(value)));
            }
        }
    }
}

// Where the group's evaluations lie within each minute.
fn slot() -> i64 {
    Slots::new("r.yml;g", MINUTE).last(BEGIN + MINUTE) - BEGIN
}

// As `feed`, of histograms with so many observations.
fn feed_histograms(store: &Store, labels: &str, counts: &str) {
    let (labels, _) = cupola_engine::script::parse_labels(labels).expect("a series");
    for (minute, letter) in counts.chars().enumerate() {
        let Some(count) = letter.to_digit(10).map(f64::from) else {
            continue;
        };
        let histogram = FloatHistogram {
            count,
            sum: count * 2.0,
            zero_count: count,
            zero_threshold: 0.1,
            ..FloatHistogram::default()
        };
        let ts = BEGIN + minute as i64 * MINUTE - MINUTE / 2;
        let value = SampleValue::Histogram(Arc::new(histogram));
        store.0.write().push(&labels, ts, value);
    }
}

// A server with these rules over what is stored.
fn server(store: &Store, rules: &str) -> (Rehearsal, AlertHistory) {
    let parts = Parts {
        queryable: Arc::new(store.clone()),
        storage: Arc::new(store.clone()),
        engine: engine(),
        clock: Arc::new(ManualClock::new(BEGIN)),
        alerts: Arc::new(Nobody),
        external_url: "http://x".to_owned(),
        external_labels: Labels::empty(),
    };
    let context = Context::new(parts, &Registry::default());
    let history = context.history.clone();
    (Rehearsal::new(context, groups(rules), MINUTE), history)
}

// Which alerts fire at each evaluation, as a server would have it.
fn lived(store: &Store, rules: &str, names: &[&str], minutes: i64) -> Vec<BTreeSet<Labels>> {
    let (mut rehearsal, _) = server(store, rules);
    let slot = slot();
    let evaluate = |minute: i64| {
        rehearsal.evaluate(BEGIN + minute * MINUTE + slot);
        let firing = names.iter().flat_map(|name| rehearsal.firing(name));
        firing.map(|alert| alert.labels).collect()
    };
    (0..minutes).map(evaluate).collect()
}

fn told(reports: &[RuleReport], minutes: i64) -> Vec<BTreeSet<Labels>> {
    let lives = || {
        reports.iter().filter_map(|report| match &report.made {
            Made::Alerting { lives, .. } => Some(lives),
            Made::Recording { .. } => None,
        })
    };
    let slot = slot();
    let at = |minute: i64| {
        let ts = BEGIN + minute * MINUTE + slot;
        let fires =
            |life: &&AlertLife| life.fired_at.is_some_and(|at| at <= ts) && life.ended_at.is_none_or(|at| at > ts);
        let firing = lives().flatten().filter(fires);
        firing.map(|life| life.labels.clone()).collect()
    };
    (0..minutes).map(at).collect()
}

const RULES: &str = r#"
groups:
- name: g
  rules:
  - {alert: Late, expr: 'job:x:sum > 3', for: 2m}
  - {record: 'job:x:sum', expr: 'sum by (job) (x)', labels: {kind: sum}}
  - {alert: Many, expr: 'x > 1', for: 1m, keep_firing_for: 3m, labels: {level: '{{ if gt $value 4.0 }}high{{ else }}low{{ end }}'}}
  - {alert: Self, expr: 'x > 5 or ALERTS{alertname="Self"} * 0 + 1 unless x < 3'}
  - {alert: Gone, expr: 'absent(y)', for: 1m}
  - {alert: Twice, expr: 'label_replace(x, "i", "", "", "") > 0'}
  - {alert: Fails, expr: 'x * on(job) group_left y'}
  - {alert: Start, expr: 'x > (x @ start() - 1)', for: 1m}
"#;
const NAMES: [&str; 7] = ["Late", "Many", "Self", "Gone", "Twice", "Fails", "Start"];

fn values(len: usize) -> impl Strategy<Value = String> {
    let run = prop_oneof![Just("."), Just("0"), Just("2"), Just("4"), Just("7")];
    prop::collection::vec((run, 1..9_usize), 1..8).prop_map(move |runs| {
        let all: String = runs.iter().map(|(letter, count)| letter.repeat(*count)).collect();
        all.chars().cycle().take(len).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_backtest_tells_what_a_server_would_have_done(a in values(50), b in values(50), y in values(50)) {
        let store = Store::default();
        feed(&store, &[("x{job=\"j\",i=\"a\"}", &a), ("x{job=\"j\",i=\"b\"}", &b), ("y{job=\"j\",i=\"a\"}", &y)]);
        // Another y of the same job makes one of the rules fail now and then.
        feed(&store, &[("y{job=\"j\",i=\"b\"}", &b)]);
        // The rules' own order, as a server goes through them: recorded one evaluation later than needed.
        let reports = replayed(&store, RULES, 50);
        let server = Store(Arc::new(RwLock::new(store.0.read().clone())));
        let in_order = RULES.replacen("  - {alert: Late, expr: 'job:x:sum > 3', for: 2m}\n", "", 1)
            + "  - {alert: Late, expr: 'job:x:sum > 3', for: 2m}\n";
        let lived = lived(&server, &in_order, &NAMES, 50);
        let told = told(&reports, 50);
        for (minute, (lived, told)) in lived.iter().zip(&told).enumerate() {
            prop_assert_eq!(lived, told, "minute {}", minute);
        }
    }
}

// What became of each alert of a rule, as the history of a server tells it, and the rules' failures by name.
fn remembered(store: &Store, rules: &str, minutes: i64) -> (BTreeMap<String, Vec<AlertLife>>, BTreeMap<String, u64>) {
    let (mut rehearsal, history) = server(store, rules);
    let mut failures: BTreeMap<String, u64> = BTreeMap::new();
    for minute in 0..minutes {
        for (name, _) in rehearsal.evaluate(BEGIN + minute * MINUTE + slot()) {
            *failures.entry(name).or_default() += 1;
        }
    }
    let mut lives: BTreeMap<String, Vec<AlertLife>> = BTreeMap::new();
    // By which value an alert was pending before it fired.
    let mut pending: BTreeMap<Labels, f64> = BTreeMap::new();
    for event in history.latest(usize::MAX, |_| true).into_iter().rev() {
        let lives = lives.entry(event.labels.value("alertname").to_owned()).or_default();
        let (at, labels) = (event.at, event.labels);
        let open = lives.iter_mut().rev().find(|life| life.labels == labels);
        match (event.what, open) {
            (Happened::Pending { value }, _) => lives.push(AlertLife {
                labels,
                active_at: at,
                fired_at: None,
                ended_at: None,
                value,
            }),
            (Happened::Firing { value, .. }, Some(life)) => {
                pending.insert(life.labels.clone(), life.value);
                (life.fired_at, life.value) = (Some(at), value);
            }
            (Happened::Resolved | Happened::Ended, Some(life)) => life.ended_at = Some(at),
            (Happened::Forgotten { .. }, Some(life)) => {
                life.ended_at = Some(at);
                // Nobody was told.
                if life.fired_at == Some(at) {
                    life.fired_at = None;
                    life.value = pending.get(&life.labels).copied().unwrap_or(life.value);
                }
            }
            _ => {}
        }
    }
    for lives in lives.values_mut() {
        lives.retain(|life| life.ended_at != Some(life.active_at));
        lives.sort_by(|a, b| (a.active_at, &a.labels).cmp(&(b.active_at, &b.labels)));
    }
    lives.retain(|_, lives| !lives.is_empty());
    (lives, failures)
}

// A rule's expression: what is looked at, and when it is too much.
fn expression() -> impl Strategy<Value = String> {
    let of = prop_oneof![
        Just("x"),
        Just("job:x:sum"),
        Just("sum by (i) (x)"),
        Just("max_over_time(x[3m])"),
        Just("x * on (job, i) y"),
        Just("x offset 2m"),
        Just("rate(x[4m]) * 60"),
        Just("label_replace(x, \"i\", \"\", \"\", \"\")"),
        Just("avg_over_time(job:x:sum[5m:1m])"),
        // Of histograms that are there, that are negative now and then, and of those and numbers.
        Just("histogram_count(job:h)"),
        Just("histogram_sum(rate(job:h[4m]))"),
        Just("count(job:h or x)"),
        Just("count_over_time(job:h[3m])"),
    ];
    (of, 0..8_u8).prop_map(|(of, bound)| format!("{of} > {bound}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    // Alert by alert: since when it was pending, when it fired, when it ended, by which value; and how often a rule failed.
    #[test]
    fn a_backtest_lists_what_a_servers_history_would(
        a in values(60), b in values(60), y in values(60),
        rules in prop::collection::vec((expression(), 0..6_u8, 0..6_u8, any::<bool>()), 1..4),
        limit in 0..4_u8,
        offset in prop_oneof![Just(0), Just(1), Just(90), Just(200)],
    ) {
        let store = Store::default();
        feed(&store, &[("x{job=\"j\",i=\"a\"}", &a), ("x{job=\"j\",i=\"b\"}", &b), ("y{job=\"j\",i=\"a\"}", &y)]);
        feed_histograms(&store, "h{job=\"j\"}", &b);
        let mut text = format!(
            "groups:\n- name: g\n  limit: {limit}\n  query_offset: {offset}s\n  labels: {{team: t, level: none}}\n  rules:\n  \
             - {{record: 'job:x:sum', expr: 'sum by (job, i) (x) * 2'}}\n  \
             - {{record: 'job:h', expr: 'h * on (job) group_left () (y - 3)'}}\n"
        );
        for (at, (expr, hold, keep, has_template)) in rules.iter().enumerate() {
            let level = if *has_template { "{{ if gt $value 4.0 }}high{{ else }}low{{ end }}" } else { "fixed" };
            text += &format!(
                "  - {{alert: A{at}, expr: '{expr}', for: {hold}m, keep_firing_for: {keep}m, labels: {{level: '{level}'}}}}\n"
            );
        }
        let reports = replayed(&store, &text, 60);
        let live = Store(Arc::new(RwLock::new(store.0.read().clone())));
        let (lives, failures) = remembered(&live, &text, 60);
        for report in &reports {
            prop_assert_eq!(report.evaluations, 60);
            // A server says of what the storage refuses, too, but does not count it as failed.
            prop_assert!(report.name == "job:h" || Some(report.failures).filter(|count| *count > 0) == failures.get(&report.name).copied());
            if let Made::Alerting { lives: told, .. } = &report.made {
                let lived = lives.get(&report.name).cloned().unwrap_or_default();
                prop_assert_eq!(told, &lived, "{}", report.name);
            }
        }
    }
}

#[test]
fn rules_are_replayed_after_what_they_need() {
    let groups = groups(RULES);
    let rules: Vec<&Rule> = groups.iter().flat_map(|source| &source.group.rules).collect();
    let plan = stages(&rules);
    assert_eq!(
        plan.stages,
        [
            Stage::Whole(vec![1, 2, 4, 5, 6, 7]),
            Stage::Whole(vec![0]),
            Stage::Stepwise(vec![3])
        ]
    );
}

#[test]
fn what_an_older_version_recorded_is_not_taken_for_the_new_ones() {
    let store = Store::default();
    feed(&store, &[("x", "11111111"), ("r", "99999999")]);
    let rules = "groups:\n- name: g\n  rules:\n  - {record: r, expr: 'x'}\n  - {alert: A, expr: 'r > 5'}\n";
    let reports = replayed(&store, rules, 8);
    assert_eq!(reports[0].made, Made::Recording { series: 1, samples: 8 });
    assert!(
        matches!(&reports[1].made, Made::Alerting { lives, .. } if lives.is_empty()),
        "{reports:?}"
    );
    let alone = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'r > 5'}\n";
    let reports = replayed(&store, alone, 8);
    assert!(
        matches!(&reports[0].made, Made::Alerting { lives, .. } if lives.len() == 1),
        "{reports:?}"
    );
}

#[test]
fn failures_are_counted_where_they_are() {
    let store = Store::default();
    feed(
        &store,
        &[
            ("x{job=\"j\"}", "11111111111111111111"),
            ("y{job=\"j\",i=\"a\"}", "11111111111111111111"),
            ("y{job=\"j\",i=\"b\"}", ".......1"),
        ],
    );
    let rules = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'x + on(job) y'}\n";
    let report = &replayed(&store, rules, 20)[0];
    // A sample counts for five minutes.
    assert_eq!((report.evaluations, report.failures), (20, 5));
    let (at, error) = report.first_failure.clone().expect("a failure");
    assert_eq!((at - BEGIN) / MINUTE, 7);
    assert!(error.contains("many-to-many") || error.contains("duplicate"), "{error}");
    let Made::Alerting { lives, .. } = &report.made else {
        panic!("an alert")
    };
    // It fires on through them, as it would in a server.
    assert_eq!((lives.len(), lives[0].ended_at), (1, None));
}

#[test]
fn a_rule_that_looks_back_a_month_keeps_only_what_it_looks_at() {
    const HOUR: i64 = 60 * MINUTE;
    let rules = "groups:\n- name: g\n  rules:\n  - {record: a, expr: 'x'}\n  - {record: b, expr: 'x'}\n  \
                 - {record: unseen, expr: 'x'}\n  - {alert: Long, expr: 'avg_over_time(a[30d]) > 1'}\n  \
                 - {alert: Short, expr: 'b > 1'}\n";
    let groups_of = groups(rules);
    let rules_of: Vec<&Rule> = groups_of.iter().flat_map(|source| &source.group.rules).collect();
    let plan = stages(&rules_of);
    let keeps = BTreeMap::from([("a".to_owned(), 30 * 24 * HOUR + HOUR), ("b".to_owned(), HOUR)]);
    assert_eq!((&plan.keeps_ms, plan.least_ms), (&keeps, 0));
    assert_eq!(plan.wanted(), Some(BTreeSet::from(["a".to_owned(), "b".to_owned()])));
    // What a template asks is not known: all is kept as long as anybody looks back.
    let asks = groups(&rules.replace("'b > 1'", "'b > 1', labels: {l: '{{ query `unseen` | len }}'}"));
    let asks: Vec<&Rule> = asks.iter().flat_map(|source| &source.group.rules).collect();
    let plan = stages(&asks);
    assert_eq!((plan.wanted(), plan.least_ms), (None, 30 * 24 * HOUR + HOUR));
    // Counted all the same.
    let store = Store::default();
    feed(&store, &[("x", "11111111")]);
    let reports = replayed(&store, rules, 8);
    assert_eq!(reports[2].made, Made::Recording { series: 1, samples: 8 });
}

#[test]
fn a_rate_of_what_is_recorded_sees_the_resets_that_its_source_had_not() {
    let store = Store::default();
    feed(&store, &[("f", "4141414141")]);
    feed_histograms(&store, "h", "2222222222");
    let rules = "groups:\n- name: g\n  rules:\n  - {record: r, expr: 'h * on() f'}\n  \
                 - {alert: A, expr: 'histogram_sum(rate(r[4m])) > 0'}\n";
    let report = &replayed(&store, rules, 10)[1];
    let Made::Alerting { lives, .. } = &report.made else {
        panic!("an alert")
    };
    assert_eq!((lives.len(), lives[0].ended_at), (1, None), "{lives:?}");
}

#[test]
fn a_report_lists_all_alerts_or_the_latest_that_fired() {
    let store = Store::default();
    feed(&store, &[("x", "100000010000001000000")]);
    let rules = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'x > 0'}\n  - {alert: B, expr: 'x > 0', for: 1h}\n";
    let reports = replayed(&store, rules, 21);
    let json = |latest| {
        let json = ReportsJson {
            reports: &reports,
            start: BEGIN,
            end: BEGIN + 21 * MINUTE,
            latest,
            notifications: None,
            against: None,
        };
        serde_json::to_value(&json).expect("JSON")
    };
    let begins = |json: &serde_json::Value, rule: usize| -> Vec<f64> {
        let lives = json["rules"][rule]["alerts"].as_array().expect("alerts");
        lives.iter().filter_map(|life| life["activeAt"].as_f64()).collect()
    };
    let (all, one) = (json(None), json(Some(1)));
    assert_eq!((begins(&all, 0).len(), begins(&all, 1).len()), (3, 3), "{all}");
    assert_eq!(
        (begins(&one, 0), begins(&one, 1).len()),
        (begins(&all, 0)[2..].to_vec(), 0)
    );
    for (name, count) in [("fired", 3), ("pendingOnly", 0)] {
        assert_eq!(one["rules"][0][name], count);
    }
    // An alert that comes again is held once.
    let Made::Alerting { lives, .. } = &reports[0].made else {
        panic!("an alert")
    };
    assert!(lives.windows(2).all(|pair| pair[0].labels == pair[1].labels));
}
