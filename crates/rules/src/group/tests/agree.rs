//! What rules write is what the same query answers a user at that moment, bit for bit. Rules have ways of their own to their
//! samples: picked series that are kept, the newest sample as the head holds it, references of the series they write.

use cupola_engine::{Query, QueryValue};
use cupola_histogram::Span;
use cupola_model::Matcher;
use cupola_testkit::Mutator;

use super::*;

const STEP: i64 = 15_000;
const STEPS: i64 = 60;
const BEGIN: i64 = 1_700_000_000_000;
const SEEDS: u64 = 24;

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
        return match rng.below(if recorded.is_empty() { 5 } else { 6 }) {
            0 => format!("g{at}"),
            1 => format!("g{{job=~\"a|b\", i!=\"0\"}}{at}"),
            2 => format!("{{__name__=~\"c|g\", i=\"1\"}}{at}"),
            3 => format!(
                "{}(g[{window}]{at})",
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
            4 => format!("{}(c[{window}]{at})", rng.of(&["rate", "increase", "irate", "resets"])),
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
        8 => format!("histogram_quantile(0.{}, rate(h[{window}]))", 1 + rng.below(9)),
        9 => format!(
            "{}(h[{window}])",
            rng.of(&["rate", "increase", "sum_over_time", "last_over_time"])
        ),
        10 => rng
            .of(&[
                "sum(h)",
                "h",
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
                let labels = Self::labels("h", job, i, None);
                let before = values.get(&labels).copied().unwrap_or_default();
                let (value, count) = histogram(rng, before);
                values.insert(labels.clone(), count);
                if !rng.one_in(6) {
                    let _ = appender.append_histogram(None, &labels, at, value);
                }
            }
        }
        appender.commit().unwrap();
    }

    // What a user is answered: by the labels that the rule `record` would give it.
    fn asked(&self, text: &str, record: &str, ts: i64) -> Result<Vec<(Labels, SampleValue)>, String> {
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
    fn stored(&self, record: &str, ts: i64) -> Vec<(Labels, SampleValue)> {
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

fn sorted(mut all: Vec<(Labels, SampleValue)>) -> Vec<(Labels, SampleValue)> {
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn what_rules_write_is_what_a_user_is_answered() {
    let mut compared = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut world = World {
            rng: Rng(Mutator::new(seed)),
            bench: Bench::new(),
            values: HashMap::new(),
        };
        world.bench.tsdb.set_out_of_order_window(3_600_000);
        let mut texts: Vec<(String, String)> = Vec::new();
        while texts.len() < 14 {
            let earlier: Vec<String> = texts.iter().map(|(name, _)| name.clone()).collect();
            let text = expr(&mut world.rng, &earlier, 3);
            // The grammar also makes what the types forbid.
            if cupola_promql::parse(&text).is_ok() {
                texts.push((format!("r{}", texts.len()), text));
            }
        }
        let rules: Vec<String> = texts
            .iter()
            .map(|(name, text)| format!("{{record: {name}, expr: '{text}'}}"))
            .collect();
        let rules = format!("[{}]", rules.join(", "));
        let mut group = Bench::group(&rules);
        let mut before: HashMap<String, Vec<Labels>> = HashMap::new();
        let mut ts = BEGIN;
        for step in 0..STEPS {
            // Now and then hours pass, the head is cut into blocks, series are deleted, or the rules are loaded anew.
            ts += match world.rng.below(20) {
                0 => 2 * 3_600_000,
                _ => STEP,
            };
            world.step(ts);
            match world.rng.below(12) {
                0 => world.bench.tsdb.maintain(),
                1 => {
                    let job = world.rng.of(&["a", "b", "c"]);
                    let gone = vec![vec![Matcher::equal("job", job), Matcher::equal(METRIC_NAME, "g")]];
                    world.bench.tsdb.delete_series(&gone, i64::MIN, i64::MAX).unwrap();
                }
                2 => {
                    let mut next = Bench::group(&rules);
                    next.adopt(&mut group);
                    group = next;
                }
                _ => {}
            }
            group.evaluate(&world.bench.ctx, ts);
            for ((name, text), status) in texts.iter().zip(group.status().rules) {
                let place = || format!("seed {seed}, step {step}, {name}: {text}");
                let asked = world.asked(text, name, ts);
                let (written, ended): (Vec<_>, Vec<_>) = world
                    .stored(name, ts)
                    .into_iter()
                    .partition(|(_, value)| !is_end(value));
                let (written, ended) = (sorted(written), sorted(ended));
                match (asked, &status.last_error) {
                    (Ok(asked), error) if error.as_ref().is_none_or(|error| error.contains("were refused: ")) => {
                        let asked = sorted(asked);
                        let all = labels(&asked);
                        // As upstream, a histogram with negative buckets can be had and not be stored.
                        let (asked, refused): (Vec<_>, Vec<_>) =
                            asked.into_iter().partition(|one| can_be_stored(&one.1));
                        assert_eq!(error.is_some(), !refused.is_empty(), "{}: {error:?}", place());
                        assert_eq!(labels(&written), labels(&asked), "{}", place());
                        for ((labels, written), (_, asked)) in written.iter().zip(&asked) {
                            assert!(is_same(written, asked), "{}: {labels}: {written:?}, {asked:?}", place());
                        }
                        let gone = before.insert(name.clone(), all.clone()).unwrap_or_default();
                        let gone: Vec<Labels> = gone.into_iter().filter(|one| !all.contains(one)).collect();
                        assert_eq!(labels(&ended), gone, "{}", place());
                        compared.0 += written.len();
                        compared.1 += ended.len();
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
        compared.0 > 20_000 && compared.1 > 200 && compared.2 > 20,
        "{compared:?}"
    );
}
