//! `promtool query analyze`: how the buckets of histograms change, as Prometheus 3.14's promtool tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use clap::Args;
use cupola_config::alertmanager::go_duration;
use cupola_model::go_quote;
use serde_json::Value;

use super::api::ApiServer;
use super::query::{list, metric, moment, now, query_error, text_of};

const CLASSIC: &str = "classichistograms";
const NATIVE: &str = "nativehistograms";

/// Which histograms are looked at, and when.
#[derive(Debug, Args)]
pub(super) struct AnalyzeArgs {
    /// The server.
    #[arg(long, value_name = "URL")]
    pub(super) server: String,
    /// What kind of metric it is: classichistograms or nativehistograms.
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    /// How far back.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    duration: Duration,
    /// Until when: RFC 3339, or seconds since the epoch. Default: now.
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// A selector; may be given several times. Of classic histograms it names the series that end in _sum.
    #[arg(long = "match", value_name = "SELECTOR", required = true)]
    matchers: Vec<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    go_duration(text).ok_or_else(|| "is not a duration such as 1h".to_owned())
}

/// Asks for the series and tells one line of each, then the numbers of all together.
///
/// # Errors
/// What the server refuses, and what the answer lacks.
pub(super) fn ask(args: &AnalyzeArgs, server: &mut ApiServer) -> Result<String, String> {
    let is_native = match args.kind.as_str() {
        NATIVE => true,
        CLASSIC => false,
        other => return Err(format!("analyze type is {other}, must be '{CLASSIC}' or '{NATIVE}'")),
    };
    let at = match &args.time {
        None => now(),
        Some(text) => moment("analyze", Some(text), 0.0).map_err(|_| {
            format!(
                "error parsing time '{text}': cannot parse {} to a valid timestamp",
                go_quote(text)
            )
        })?,
    };
    if !is_native && let Some(bad) = args.matchers.iter().find(|matcher| sum_suffixes(matcher).is_empty()) {
        return Err(format!(
            "every classic histogram matcher must have a '_sum' suffix in the metric name, but the matcher '{bad}' does not"
        ));
    }
    let mut asking = Asking {
        server,
        at: at.to_string(),
        range: go_text(args.duration),
        out: String::new(),
        all: Totals::default(),
        changes: BTreeMap::new(),
    };
    for matcher in &args.matchers {
        if is_native {
            asking.native(matcher)?;
        } else {
            asking.classic(matcher)?;
        }
    }
    Ok(format!("{}{}\n{}\n", asking.out, asking.all, go_map(&asking.changes)))
}

struct Asking<'a> {
    server: &'a mut ApiServer,
    at: String,
    range: String,
    out: String,
    all: Totals,
    // How often how many buckets changed from one sample to the next.
    changes: BTreeMap<usize, u64>,
}

impl Asking<'_> {
    fn query(&mut self, query: &str, kind: &str, otherwise: &str) -> Result<Vec<Value>, String> {
        let answer = self
            .server
            .post("/api/v1/query", &[("query", query), ("time", &self.at)]);
        let answer = answer.map_err(query_error)?;
        let data = answer.get("data");
        if data.and_then(|data| data.get("resultType")).map(text_of) != Some(kind) {
            return Err(otherwise.to_owned());
        }
        Ok(list(data.and_then(|data| data.get("result"))).to_vec())
    }

    fn samples(&mut self, selector: &str) -> Result<Vec<Value>, String> {
        self.query(selector, "matrix", "query of buckets resulted in non-Matrix")
    }

    fn native(&mut self, matcher: &str) -> Result<(), String> {
        let found = self.samples(&format!("{matcher}[{}]", self.range))?;
        for series in &found {
            let name = metric(series.get("metric").unwrap_or(&Value::Null));
            self.tell(&name, native_counts(series));
        }
        Ok(())
    }

    fn classic(&mut self, matcher: &str) -> Result<(), String> {
        let query = format!("last_over_time({matcher}[{}])", self.range);
        let found = self.query(&query, "vector", "query for metrics resulted in non-Vector")?;
        for sum in &found {
            let selector = bucket_selector(sum.get("metric").unwrap_or(&Value::Null), &self.range);
            let buckets = self.samples(&selector)?;
            let counts = classic_counts(&buckets)?;
            self.tell(&selector, counts);
        }
        Ok(())
    }

    // With fewer than two samples there is nothing to tell.
    fn tell(&mut self, name: &str, series: Buckets) {
        if series.samples.len() < 2 {
            return;
        }
        let stats = Stats::of(&series, &mut self.changes);
        self.out += &format!("{name}={stats}\n");
        self.all.add(&stats);
    }
}

// A bucket: its place among the others, or its bounds as the API tells them.
type Bucket = String;

// What is in each bucket, sample after sample; a bucket that is not named has nothing.
#[derive(Default)]
struct Buckets {
    samples: Vec<BTreeMap<Bucket, f64>>,
    total: usize,
}

fn native_counts(series: &Value) -> Buckets {
    let mut seen = BTreeSet::new();
    let histograms = list(series.get("histograms")).iter();
    let samples = histograms.map(|pair| {
        let buckets = list(pair.get(1).and_then(|histogram| histogram.get("buckets")));
        let counts = buckets.iter().map(|bucket| {
            let text = |index: usize| bucket.get(index).map(text_of).unwrap_or_default();
            let rule = bucket.get(0).and_then(Value::as_u64).unwrap_or_default();
            (
                format!("{rule} {} {}", text(1), text(2)),
                text(3).parse().unwrap_or_default(),
            )
        });
        counts.collect::<BTreeMap<_, _>>()
    });
    let samples: Vec<_> = samples.inspect(|counts| seen.extend(counts.keys().cloned())).collect();
    Buckets {
        samples,
        total: seen.len(),
    }
}

fn classic_counts(matrix: &[Value]) -> Result<Buckets, String> {
    let le = |series: &Value| {
        let le = series.get("metric").and_then(|metric| metric.get("le")).map(text_of);
        le.and_then(|le| le.parse::<f64>().ok()).unwrap_or_default()
    };
    let Some(first) = matrix.first() else {
        return Ok(Buckets::default());
    };
    let length = list(first.get("values")).len();
    let mut sorted: Vec<&Value> = matrix.iter().collect();
    sorted.sort_by(|a, b| le(a).total_cmp(&le(b)));
    let mut samples = Vec::with_capacity(length);
    for at in 0..length {
        let mut counts = BTreeMap::new();
        let (mut before, mut time) = (0.0, None);
        for (place, series) in sorted.iter().enumerate() {
            let pair = list(series.get("values")).get(at);
            let now = pair.and_then(|pair| pair.get(0)).and_then(Value::as_f64);
            let count = pair.and_then(|pair| pair.get(1)).map(text_of).unwrap_or_default();
            if now.is_none() || *time.get_or_insert(now) != now {
                return Err("matrix result is not time aligned".to_owned());
            }
            let count = count.parse::<f64>().unwrap_or_default();
            counts.insert(format!("{place:09}"), (count - before).trunc());
            before = count;
        }
        samples.push(counts);
    }
    Ok(Buckets {
        samples,
        total: matrix.len(),
    })
}

// Of one number that differs from sample to sample.
#[derive(Clone, Copy)]
struct Spread {
    min: u64,
    max: u64,
    sum: u64,
}

impl Spread {
    const NONE: Self = Self {
        min: i64::MAX as u64,
        max: 0,
        sum: 0,
    };

    fn add(&mut self, number: u64) {
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        self.sum = self.sum.saturating_add(number);
    }
}

struct Stats {
    changed: Spread,
    delta: Spread,
    populated: Spread,
    steps: usize,
    total: usize,
}

impl Stats {
    fn of(series: &Buckets, changes: &mut BTreeMap<usize, u64>) -> Self {
        let mut stats = Self {
            changed: Spread::NONE,
            delta: Spread::NONE,
            populated: Spread::NONE,
            steps: series.samples.len().saturating_sub(1),
            total: series.total,
        };
        for pair in series.samples.windows(2) {
            let [before, now] = pair else { continue };
            let names: BTreeSet<&Bucket> = before.keys().chain(now.keys()).collect();
            let (mut changed, mut delta) = (0_usize, 0_u64);
            for name in names {
                let (was, is) = (before.get(name), now.get(name));
                let (was, is, was_known) = (
                    was.copied().unwrap_or(0.0),
                    is.copied().unwrap_or(0.0),
                    was.is_some() == is.is_some(),
                );
                if was != is || !was_known {
                    changed += 1;
                    delta = delta.saturating_add((was - is).abs() as u64);
                }
            }
            *changes.entry(changed).or_default() += 1;
            stats.changed.add(changed as u64);
            stats.delta.add(delta);
            stats
                .populated
                .add(now.values().filter(|count| **count != 0.0).count() as u64);
        }
        stats
    }

    fn average(&self, spread: Spread) -> f64 {
        spread.sum as f64 / self.steps.max(1) as f64
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |spread: Spread| format!("{}/{:.3}/{}", spread.min, self.average(spread), spread.max);
        write!(
            f,
            "Bucket stats (min/avg/max) - number of buckets changed: {} total delta of changed buckets: {} number of populated buckets: {}. total number of buckets: {}",
            of(self.changed),
            of(self.delta),
            of(self.populated),
            self.total
        )
    }
}

// The same number of many series.
#[derive(Clone, Copy)]
struct Distribution {
    spread: Spread,
    count: u64,
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let average = self.spread.sum as f64 / self.count.max(1) as f64;
        write!(f, "min/avg/max: {}/{average:.3}/{}", self.spread.min, self.spread.max)
    }
}

// Ten numbers of each series, in the order in which upstream tells them.
struct Totals([Distribution; 10]);

impl Default for Totals {
    fn default() -> Self {
        let none = Distribution {
            spread: Spread::NONE,
            count: 0,
        };
        Self([none; 10])
    }
}

impl Totals {
    fn add(&mut self, stats: &Stats) {
        let three = |spread: Spread| [spread.min, stats.average(spread) as u64, spread.max];
        let numbers = [three(stats.changed), three(stats.delta), three(stats.populated)];
        let numbers = numbers.into_iter().flatten().chain([stats.total as u64]);
        for (distribution, number) in self.0.iter_mut().zip(numbers) {
            distribution.spread.add(number);
            distribution.count += 1;
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 10] = [
            "minChanged",
            "avgChanged",
            "maxChanged",
            "minDelta",
            "avgDelta",
            "maxDelta",
            "minPop",
            "avgPop",
            "maxPop",
            "total",
        ];
        for (name, distribution) in NAMES.iter().zip(&self.0) {
            writeln!(f, "{name} - {distribution}")?;
        }
        write!(f, "count - {}", self.0.first().map_or(0, |first| first.count))
    }
}

// As Go prints a pointer to a struct that holds a map.
fn go_map(changes: &BTreeMap<usize, u64>) -> String {
    let pairs: Vec<String> = changes
        .iter()
        .map(|(changed, count)| format!("{changed}:{count}"))
        .collect();
    format!("&{{map[{}]}}", pairs.join(" "))
}

// Where `_sum` ends a word.
fn sum_suffixes(text: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let found = text.match_indices("_sum");
    found
        .filter(|(at, suffix)| !text[at + suffix.len()..].starts_with(is_word))
        .map(|(at, _)| at)
        .collect()
}

// The buckets beside a `_sum`.
fn bucket_selector(sum: &Value, range: &str) -> String {
    let name = sum.get("__name__").map(text_of).unwrap_or_default();
    let mut bucket = String::new();
    let mut from = 0;
    for at in sum_suffixes(name) {
        bucket += &name[from..at];
        bucket += "_bucket";
        from = at + "_sum".len();
    }
    bucket += &name[from..];
    let labels = sum.as_object().into_iter().flatten();
    let labels: BTreeMap<&str, &str> = labels.map(|(name, value)| (name.as_str(), text_of(value))).collect();
    let labels = labels.into_iter().filter(|(name, _)| *name != "__name__");
    let labels: Vec<String> = labels
        .map(|(name, value)| format!("{name}={}", go_quote(value)))
        .collect();
    format!("{bucket}{{{}}}[{range}]", labels.join(","))
}

// `1h0m0s`, as Go prints a duration of at least a second.
fn go_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match duration.subsec_millis() {
        0 if hours > 0 => format!("{hours}h{minutes}m{rest}s"),
        0 if minutes > 0 => format!("{minutes}m{rest}s"),
        0 => format!("{rest}s"),
        // Such a fraction PromQL does not read.
        millis => format!("{seconds}s{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn buckets_that_change_are_counted() {
        let bucket = |le: &str, values: [&str; 3]| {
            let values: Vec<Value> = values.iter().enumerate().map(|(at, v)| json!([at, v])).collect();
            json!({"metric": {"le": le}, "values": values})
        };
        // Not in the order of `le`.
        let matrix = [
            bucket("+Inf", ["3", "5", "5"]),
            bucket("1", ["1", "1", "1"]),
            bucket("5", ["2", "3", "3"]),
        ];
        let series = classic_counts(&matrix).unwrap();
        let mut changes = BTreeMap::new();
        let stats = Stats::of(&series, &mut changes);
        expect!["Bucket stats (min/avg/max) - number of buckets changed: 0/1.000/2 total delta of changed buckets: 0/1.000/2 number of populated buckets: 3/3.000/3. total number of buckets: 3"].assert_eq(&stats.to_string());
        assert_eq!(go_map(&changes), "&{map[0:1 2:1]}");
        let late = json!({"metric": {"le": "9"}, "values": [[0, "1"], [5, "1"], [6, "1"]]});
        let error = classic_counts(&[matrix[0].clone(), late]).map(|_| ()).unwrap_err();
        assert_eq!(error, "matrix result is not time aligned");
    }

    #[test]
    fn buckets_of_native_histograms_come_and_go() {
        let at = |buckets: Value| json!([1, {"count": "1", "sum": "1", "buckets": buckets}]);
        let series = json!({"histograms": [
            at(json!([[0, "1", "2", "3"], [0, "2", "4", "1"]])),
            at(json!([[0, "1", "2", "5"], [0, "4", "8", "7"]])),
        ]});
        let stats = Stats::of(&native_counts(&series), &mut BTreeMap::new());
        expect!["Bucket stats (min/avg/max) - number of buckets changed: 3/3.000/3 total delta of changed buckets: 10/10.000/10 number of populated buckets: 2/2.000/2. total number of buckets: 3"].assert_eq(&stats.to_string());
    }

    #[test]
    fn a_sum_leads_to_its_buckets() {
        let sum = json!({"__name__": "a_sum", "z": "1", "b": "\""});
        assert_eq!(bucket_selector(&sum, "1h0m0s"), "a_bucket{b=\"\\\"\",z=\"1\"}[1h0m0s]");
        assert_eq!(sum_suffixes("a_sum{x=\"b_sum\"}").len(), 2);
        assert!(sum_suffixes("a_summary").is_empty());
        assert_eq!(go_text(Duration::from_secs(90)), "1m30s");
    }
}
