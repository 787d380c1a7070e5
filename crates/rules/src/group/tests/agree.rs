//! What rules write is what the same query answers a user at that moment, bit for bit. Rules have ways of their own to their
//! samples: picked series that are kept, the newest sample as the head holds it, references of the series they write.

use cupola_engine::{Query, QueryValue};
use cupola_histogram::Span;
use cupola_model::Matcher;
use cupola_testkit::Mutator;

use super::*;

const STEP: i64 = 15_000;
const STEPS: i64 = 50;
const BEGIN: i64 = 1_700_000_000_000;
const SEEDS: u64 = 16;

// Numbers that a seed determines.
struct Rng(Mutator);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound as usize) as u64
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }
}

// A random expression. `earlier` are names that rules before this one record.
fn expr(rng: &mut Rng, earlier: &[String], depth: u64) -> String {
    let window = rng.of(&["30s", "1m", "2m30s", "5m"]);
    if depth == 0 || rng.one_in(6) {
        let recorded: Vec<&str> = earlier.iter().map(String::as_str).collect();
        let at = rng.of(&["", "", "", " offset 1m", " offset -15s", " @ 1700000300"]);
        // Floats, counters, both kinds of histograms, and series that are now this and now that.
        let any = rng.of(&["g", "g", "g", "c", "h", "n", "x", "x"]);
        return match rng.below(if recorded.is_empty() { 5 } else { 6 }) {
            0 => format!("{any}{at}"),
            1 => format!("g{{job=~\"a|b\", i!=\"0\"}}{at}"),
            2 => format!("{{__name__=~\"c|g\", i=\"1\"}}{at}"),
            3 => format!(
                "{}({any}[{window}]{at})",
                rng.of(&[
                    "sum_over_time",
                    "avg_over_time",
                    "max_over_time",
                    "min_over_time",
                    "stddev_over_time",
                    "count_over_time",
                    "last_over_time",
                    "present_over_time",
                    "changes",
                    "deriv",
                    "delta",
                    "idelta",
                    "mad_over_time",
                ])
            ),
            4 => {
                let counter = rng.of(&["c", "c", "n", "x"]);
                format!(
                    "{}({counter}[{window}]{at})",
                    rng.of(&["rate", "increase", "irate", "resets"])
                )
            }
            _ => rng.of(&recorded).to_owned(),
        };
    }
    let inner = |rng: &mut Rng| expr(rng, earlier, depth - 1);
    match rng.below(12) {
        0 | 1 => {
            let by = rng.of(&["", " by (job)", " without (i)", " by (job, i)"]);
            let op = rng.of(&["sum", "avg", "min", "max", "count", "stddev", "group"]);
            format!("{op}{by} ({})", inner(rng))
        }
        2 => format!("{}(2, {})", rng.of(&["topk", "bottomk"]), inner(rng)),
        3 => format!("quantile by (job) (0.7, {})", inner(rng)),
        4 => {
            let op = rng.of(&["+", "-", "*", "/", "%", "> bool", "and", "or", "unless", "<"]);
            format!(
                "(sum by (job, i) ({}) {op} sum by (job, i) ({}))",
                inner(rng),
                inner(rng)
            )
        }
        5 => format!(
            "({} {} {})",
            inner(rng),
            rng.of(&["*", "+", ">", "^"]),
            rng.of(&["2", "0.1", "-1"])
        ),
        6 => format!(
            "{}(({})[2m:{}])",
            rng.of(&["max_over_time", "sum_over_time"]),
            inner(rng),
            rng.of(&["15s", "20s"])
        ),
        7 => format!(
            "histogram_quantile(0.{}, sum by (job, le) (rate(b_bucket[{window}])))",
            1 + rng.below(9)
        ),
        8 => {
            let of = rng.of(&["h", "n"]);
            format!("histogram_quantile(0.{}, rate({of}[{window}]))", 1 + rng.below(9))
        }
        9 => format!(
            "{}({}[{window}])",
            rng.of(&["rate", "increase", "sum_over_time", "avg_over_time", "last_over_time"]),
            rng.of(&["h", "n", "x"])
        ),
        10 => rng
            .of(&[
                "sum(h)",
                "h",
                "sum by (job) (n)",
                "avg(n)",
                "sum(x)",
                "count_values(\"v\", x)",
                "histogram_fraction(0, 2, n)",
                "n + on (job, i) n offset 1m",
                "x * 2",
                "histogram_count(h)",
                "absent(g{i=\"1\"})",
                "timestamp(g)",
                "time()",
            ])
            .to_owned(),
        _ => format!(
            "{}({})",
            rng.of(&["abs", "ceil", "-", "sort", "scalar", "timestamp"]),
            inner(rng)
        ),
    }
}

fn histogram(rng: &mut Rng, before: u64) -> (NativeHistogram, u64) {
    let count = if rng.one_in(12) {
        rng.below(3)
    } else {
        before + rng.below(5)
    };
    let offset = if rng.one_in(4) { 1 } else { 0 };
    let histogram = Histogram {
        schema: 1,
        count: count * 3,
        sum: count as f64 * 1.5,
        zero_count: count,
        zero_threshold: 0.01,
        positive_spans: vec![Span { offset, length: 2 }],
        positive_buckets: vec![count as i64, 0],
        ..Histogram::default()
    };
    (NativeHistogram::Integer(histogram), count)
}

// With custom buckets, whose bounds change now and then.
fn custom(rng: &mut Rng, before: u64) -> (NativeHistogram, u64) {
    let count = if rng.one_in(12) {
        rng.below(3)
    } else {
        before + rng.below(5)
    };
    let bounds = if rng.one_in(5) { [1.0, 5.0] } else { [1.0, 2.5] };
    let histogram = Histogram {
        schema: cupola_histogram::CUSTOM_BUCKETS_SCHEMA,
        count: count * 2,
        sum: count as f64 * 1.5,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![count as i64, 0],
        custom_values: bounds.to_vec().into(),
        ..Histogram::default()
    };
    (NativeHistogram::Integer(histogram), count)
}

// Series with one value each.
type Rows = Vec<(Labels, SampleValue)>;

/// A world whose samples come step by step.
struct World {
    rng: Rng,
    bench: Bench,
    values: HashMap<Labels, u64>,
}

impl World {
    fn labels(name: &str, job: &str, i: u64, le: Option<&str>) -> Labels {
        let i = i.to_string();
        let mut pairs = vec![(METRIC_NAME, name), ("job", job), ("i", &i)];
        pairs.extend(le.map(|le| ("le", le)));
        Labels::from_pairs(pairs)
    }

    // One scrape's samples, which are on time, late, missing, or ends of series.
    fn step(&mut self, ts: i64) {
        let Self { rng, bench, values } = self;
        let mut appender = bench.tsdb.appender();
        for job in ["a", "b", "c"] {
            // A job that is down for a while.
            if rng.one_in(9) {
                continue;
            }
            for i in 0..3 {
                let jitter = rng.below(STEP as u64 / 3) as i64;
                // Late ones may be refused where there is one of that time.
                let late = if rng.one_in(8) { rng.below(120_000) as i64 } else { 0 };
                let at = ts - jitter - late;
                for name in ["c", "g"] {
                    let labels = Self::labels(name, job, i, None);
                    if rng.one_in(6) {
                        continue;
                    }
                    let value = values.entry(labels.clone()).or_default();
                    *value = if name == "g" || rng.one_in(15) {
                        rng.below(40)
                    } else {
                        *value + rng.below(9)
                    };
                    let value = match rng.below(24) {
                        0 => STALE_NAN,
                        1 if name == "g" => f64::NAN,
                        2 if name == "g" => f64::INFINITY,
                        _ => *value as f64 * 0.1,
                    };
                    let _ = appender.append(None, &labels, at, value);
                }
                let mut count = values
                    .get(&Self::labels("b_bucket", job, i, Some("1")))
                    .copied()
                    .unwrap_or_default();
                count = if rng.one_in(20) { 0 } else { count + rng.below(6) };
                for (le, times) in [("1", 1), ("2.5", 2), ("+Inf", 3)] {
                    let labels = Self::labels("b_bucket", job, i, Some(le));
                    values.insert(labels.clone(), count);
                    let _ = appender.append(None, &labels, at, (count * times) as f64);
                }
                for name in ["h", "n", "x"] {
                    let labels = Self::labels(name, job, i, None);
                    let before = values.get(&labels).copied().unwrap_or_default();
                    let is_custom = name == "n" || name == "x" && rng.one_in(3);
                    let (value, count) = if is_custom {
                        custom(rng, before)
                    } else {
                        histogram(rng, before)
                    };
                    values.insert(labels.clone(), count);
                    if rng.one_in(6) {
                        continue;
                    }
                    if name == "x" && !rng.one_in(3) {
                        let _ = appender.append(None, &labels, at, count as f64);
                    } else {
                        let _ = appender.append_histogram(None, &labels, at, value);
                    }
                }
            }
        }
        appender.commit().unwrap();
    }

    // What a user is answered: by the labels that the rule `record` would give it.
    fn asked(&self, text: &str, record: &str, ts: i64) -> Result<Rows, String> {
        let expr = cupola_promql::parse(text).map_err(|error| format!("{error:?}"))?;
        let engine = Engine::new(EngineOptions::default());
        let query = Query::instant(text, &expr, ts);
        let result = engine
            .query(&self.bench.tsdb, &query)
            .map_err(|error| error.to_string())?;
        let named = |labels: Labels| labels.overlaid(|_| true, &[(METRIC_NAME, record)]);
        Ok(match result.value {
            QueryValue::Vector(rows) => rows
                .into_iter()
                .map(|(labels, _, value)| (named(labels), value))
                .collect(),
            QueryValue::Scalar(_, value) => vec![(named(Labels::empty()), SampleValue::Float(value))],
            _ => return Err("rule result is not a vector or scalar".to_owned()),
        })
    }

    // What is stored of a name at exactly this time.
    fn stored(&self, record: &str, ts: i64) -> Rows {
        let matchers = [Matcher::equal(METRIC_NAME, record)];
        let selection = Selection {
            matchers: &matchers,
            mint: ts,
            maxt: ts,
        };
        let mut out = Vec::new();
        for series in self.bench.tsdb.select(&selection).unwrap() {
            let mut samples = Samples::default();
            series.source.read(ts, ts, &mut samples).unwrap();
            out.extend(samples.iter().map(|(_, value, _)| (series.labels.clone(), value)));
        }
        out
    }
}

// Whether it is a staleness marker.
fn is_end(value: &SampleValue) -> bool {
    is_stale_nan(match value {
        SampleValue::Float(value) => *value,
        SampleValue::Histogram(histogram) => histogram.sum,
    })
}

fn can_be_stored(value: &SampleValue) -> bool {
    match value {
        SampleValue::Float(_) => true,
        SampleValue::Histogram(histogram) => {
            let mut all = histogram.positive_buckets.iter().chain(&histogram.negative_buckets);
            !(histogram.zero_count < 0.0 || histogram.count < 0.0 || all.any(|bucket| *bucket < 0.0))
        }
    }
}

fn labels(all: &[(Labels, SampleValue)]) -> Vec<Labels> {
    all.iter().map(|one| one.0.clone()).collect()
}

fn is_same(a: &SampleValue, b: &SampleValue) -> bool {
    match (a, b) {
        (SampleValue::Float(a), SampleValue::Float(b)) => a.to_bits() == b.to_bits(),
        // Empty buckets at the edges are not stored.
        (SampleValue::Histogram(a), SampleValue::Histogram(b)) => {
            let compact = |histogram: &cupola_histogram::FloatHistogram| {
                let mut histogram = histogram.clone();
                histogram.compact(0);
                histogram
            };
            compact(a).equals(&compact(b))
        }
        _ => false,
    }
}

fn sorted(mut all: Rows) -> Rows {
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

impl World {
    fn new(seed: u64) -> Self {
        let world = Self {
            rng: Rng(Mutator::new(seed)),
            bench: Bench::new(),
            values: HashMap::new(),
        };
        world.bench.tsdb.set_out_of_order_window(3_600_000);
        world
    }

    // Random expressions that can be parsed; the grammar also makes what the types forbid.
    fn texts(&mut self, count: usize, may_look_at_others: bool) -> Vec<(String, String)> {
        let mut texts: Vec<(String, String)> = Vec::new();
        while texts.len() < count {
            let earlier = texts.iter().filter(|_| may_look_at_others);
            let earlier: Vec<String> = earlier.map(|(name, _)| name.clone()).collect();
            let text = expr(&mut self.rng, &earlier, 3);
            if cupola_promql::parse(&text).is_ok() {
                texts.push((format!("r{}", texts.len()), text));
            }
        }
        texts
    }

    // Lets time pass until the next evaluation, which it answers: now and then hours; the head is cut into blocks, series are
    // deleted, or the rules are loaded anew.
    fn pass(&mut self, ts: i64, rules: &str, group: &mut Group) -> i64 {
        let ts = ts
            + match self.rng.below(20) {
                0 => 2 * 3_600_000,
                _ => STEP,
            };
        self.step(ts);
        match self.rng.below(12) {
            0 => self.bench.tsdb.maintain(),
            1 => {
                let job = self.rng.of(&["a", "b", "c"]);
                let gone = vec![vec![Matcher::equal("job", job), Matcher::equal(METRIC_NAME, "g")]];
                self.bench.tsdb.delete_series(&gone, i64::MIN, i64::MAX).unwrap();
            }
            2 => {
                let mut next = Bench::group(rules);
                (next.offset_ms, next.source.limit) = (group.offset_ms, group.source.limit);
                next.adopt(group);
                *group = next;
            }
            _ => {}
        }
        ts
    }

    // As `stored`, without and only with the ends of series, each in order.
    fn stored_and_ended(&self, name: &str, ts: i64) -> (Rows, Rows) {
        let all = self.stored(name, ts).into_iter();
        let (stored, ended) = all.partition(|(_, value)| !is_end(value));
        (sorted(stored), sorted(ended))
    }
}

#[test]
fn what_rules_write_is_what_a_user_is_answered() {
    let mut compared = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        let texts = world.texts(14, true);
        let rules: Vec<String> = texts
            .iter()
            .map(|(name, text)| format!("{{record: {name}, expr: '{text}'}}"))
            .collect();
        let rules = format!("[{}]", rules.join(", "));
        let mut group = Bench::group(&rules);
        group.offset_ms = [0, 0, STEP, 90_000][seed as usize % 4];
        let mut before: HashMap<String, Vec<Labels>> = HashMap::new();
        let mut ts = BEGIN;
        for step in 0..STEPS {
            ts = world.pass(ts, &rules, &mut group);
            group.evaluate(&world.bench.ctx, ts);
            let at = ts - group.offset_ms;
            for ((name, text), status) in texts.iter().zip(group.status().rules) {
                let place = || format!("seed {seed}, step {step}, {name}: {text}");
                let asked = world.asked(text, name, at);
                let (written, ended) = world.stored_and_ended(name, at);
                match (asked, &status.last_error) {
                    (Ok(asked), error) if error.as_ref().is_none_or(|error| error.contains("were refused: ")) => {
                        // As upstream, a histogram with negative buckets can be had and not be stored: its series ends.
                        let (asked, refused): (Vec<_>, Vec<_>) =
                            sorted(asked).into_iter().partition(|one| can_be_stored(&one.1));
                        assert_eq!(error.is_some(), !refused.is_empty(), "{}: {error:?}", place());
                        let all = labels(&asked);
                        assert_eq!(labels(&written), all, "{}", place());
                        for ((labels, written), (_, asked)) in written.iter().zip(&asked) {
                            assert!(is_same(written, asked), "{}: {labels}: {written:?}, {asked:?}", place());
                        }
                        let gone = before.insert(name.clone(), all.clone()).unwrap_or_default();
                        let gone: Vec<Labels> = gone.into_iter().filter(|one| !all.contains(one)).collect();
                        assert_eq!(labels(&ended), gone, "{}", place());
                        compared.0 += written.len();
                        compared.1 += ended.len();
                        let custom = |(_, value): &&(Labels, SampleValue)| match value {
                            SampleValue::Float(_) => false,
                            SampleValue::Histogram(histogram) => histogram.uses_custom_buckets(),
                        };
                        compared.3 += written.iter().filter(custom).count();
                    }
                    // What the rule's own labels make of two series is no query's mistake.
                    (Ok(asked), Some(error)) if error.contains("same labelset") => {
                        let asked = sorted(asked);
                        assert!(asked.windows(2).any(|pair| pair[0].0 == pair[1].0), "{}", place());
                        assert!(written.is_empty() && ended.is_empty(), "{}", place());
                    }
                    (Err(asked), Some(error)) => {
                        assert_eq!(&asked, error, "{}", place());
                        assert!(written.is_empty() && ended.is_empty(), "{}", place());
                        compared.2 += 1;
                    }
                    (asked, error) => panic!("{}: {asked:?}, {error:?}", place()),
                }
            }
        }
    }
    // Enough of everything, so that the grammar does not fall asleep.
    assert!(
        compared.0 > 20_000 && compared.1 > 200 && compared.2 > 20 && compared.3 > 1_000,
        "{compared:?}"
    );
}

// An alert as the documentation has it: since when it is there, whether it fires, and since when it only goes on firing.
#[derive(Clone, Copy)]
struct Believed {
    since: i64,
    fires: bool,
    kept: Option<i64>,
}

// What is believed after the expression gave `hits` at `ts`.
fn believe(alerts: &mut BTreeMap<Labels, Believed>, hits: &[Labels], ts: i64, hold: i64, keep: i64) {
    alerts.retain(|labels, alert| {
        if hits.contains(labels) {
            alert.kept = None;
            return true;
        }
        alert.fires && keep > 0 && ts - *alert.kept.get_or_insert(ts) < keep
    });
    for labels in hits {
        alerts.entry(labels.clone()).or_insert(Believed {
            since: ts,
            fires: false,
            kept: None,
        });
    }
    for alert in alerts.values_mut() {
        alert.fires |= ts - alert.since >= hold;
    }
}

#[test]
fn what_alerts_are_written_is_what_follows_from_a_users_answers() {
    let mut compared = (0, 0, 0, 0);
    for seed in 0..SEEDS / 2 {
        let mut world = World::new(1000 + seed);
        let texts = world.texts(5, false);
        let times: Vec<(i64, i64)> = texts
            .iter()
            .map(|_| (STEP * world.rng.below(4) as i64, STEP * world.rng.below(4) as i64))
            .collect();
        let rules = texts.iter().zip(&times).map(|((name, text), (hold, keep))| {
            format!("{{alert: {name}, expr: '{text}', for: {hold}ms, keep_firing_for: {keep}ms}}")
        });
        let rules = format!("[{}]", rules.collect::<Vec<_>>().join(", "));
        let mut group = Bench::group(&rules);
        group.offset_ms = [0, STEP, 90_000][seed as usize % 3];
        group.source.limit = [0, 0, 0, 5][seed as usize % 4];
        let mut believed: Vec<BTreeMap<Labels, Believed>> = vec![BTreeMap::new(); texts.len()];
        let mut before: Vec<Vec<Labels>> = vec![Vec::new(); texts.len()];
        let mut ts = BEGIN;
        for step in 0..STEPS {
            ts = world.pass(ts, &rules, &mut group);
            group.evaluate(&world.bench.ctx, ts);
            let at = ts - group.offset_ms;
            let (written, ended) = world.stored_and_ended("ALERTS", at);
            let (since, _) = world.stored_and_ended("ALERTS_FOR_STATE", at);
            for (rule, ((name, text), status)) in texts.iter().zip(group.status().rules).enumerate() {
                let place = || format!("seed {seed}, step {step}, {name}: {text}");
                let of_rule = |all: &[(Labels, SampleValue)]| {
                    let all = all.iter().filter(|(labels, _)| labels.value(ALERTNAME) == name);
                    all.cloned().collect::<Vec<_>>()
                };
                let (written, ended, since) = (of_rule(&written), labels(&of_rule(&ended)), of_rule(&since));
                let asked = world.asked(text, "", at);
                let hits = asked.map(|rows| {
                    let named =
                        |(labels, _): (Labels, _)| labels.without_name().overlaid(|_| true, &[(ALERTNAME, name)]);
                    rows.into_iter().map(named).collect::<Vec<_>>()
                });
                let error = status.last_error.unwrap_or_default();
                let hits = match hits {
                    Err(asked) => {
                        assert_eq!(asked, error, "{}", place());
                        None
                    }
                    Ok(hits) if hits.iter().collect::<std::collections::BTreeSet<_>>().len() < hits.len() => {
                        assert!(
                            error.contains("same labelset after applying alert labels"),
                            "{}: {error}",
                            place()
                        );
                        None
                    }
                    Ok(hits) => Some(hits),
                };
                let Some(hits) = hits else {
                    assert!(
                        written.is_empty() && ended.is_empty() && since.is_empty(),
                        "{}",
                        place()
                    );
                    compared.2 += 1;
                    continue;
                };
                let (alerts, (hold, keep)) = (&mut believed[rule], times[rule]);
                believe(alerts, &hits, ts, hold, keep);
                let limit = group.source.limit;
                if limit > 0 && alerts.len() as u64 > limit {
                    let told = format!("exceeded limit of {limit} with {} alerts", alerts.len());
                    assert_eq!(error, told, "{}", place());
                    assert!(written.is_empty() && ended.is_empty(), "{}", place());
                    alerts.clear();
                    compared.3 += 1;
                    continue;
                }
                assert_eq!(error, "", "{}", place());
                let as_written = |(labels, alert): (&Labels, &Believed)| {
                    let state = if alert.fires { "firing" } else { "pending" };
                    labels.overlaid(|_| true, &[(METRIC_NAME, "ALERTS"), ("alertstate", state)])
                };
                let mut expected: Vec<Labels> = alerts.iter().map(as_written).collect();
                expected.sort();
                assert_eq!(labels(&written), expected, "{}", place());
                let seconds = since.iter().map(|(labels, value)| (labels.without_name(), value));
                for (labels, value) in seconds {
                    let expected = SampleValue::Float((alerts[&labels].since / 1000) as f64);
                    assert!(is_same(value, &expected), "{}: {labels}", place());
                }
                assert_eq!(since.len(), alerts.len(), "{}", place());
                let gone = std::mem::replace(&mut before[rule], expected.clone());
                let gone: Vec<Labels> = gone.into_iter().filter(|one| !expected.contains(one)).collect();
                assert_eq!(ended, gone, "{}", place());
                compared.0 += written.len();
                compared.1 += alerts.values().filter(|alert| alert.kept.is_some()).count();
            }
        }
    }
    assert!(
        compared.0 > 2_000 && compared.1 > 200 && compared.2 > 10 && compared.3 > 10,
        "{compared:?}"
    );
}
