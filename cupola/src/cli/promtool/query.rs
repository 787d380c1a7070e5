//! `promtool query`: a server's answers as text or JSON, in the forms of Prometheus's promtool.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use cupola_config::alertmanager::go_duration;
use cupola_env::{Clock as _, SystemClock};
use cupola_model::go_quote;
use serde_json::Value;

use super::analyze::AnalyzeArgs;
use super::api::{ApiServer, HttpArgs};
use super::push::pair;
use super::{FAILURE, Io, analyze};

// As upstream.
const TIMEOUT: Duration = Duration::from_secs(120);
// How far upstream looks for series in both directions where no times are given.
const FAR: f64 = 9999.0 * 3600.0;

/// What is asked, and how the answer looks.
#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// How the answer looks.
    #[arg(short = 'o', long, global = true, value_enum, default_value = "promql")]
    format: Format,
    #[command(flatten)]
    http: HttpArgs,
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Promql,
    /// As the API answers it.
    Json,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Run a query for one moment.
    Instant {
        /// The moment: RFC 3339, or seconds since the epoch. Default: now.
        #[arg(long, value_name = "TIME")]
        time: Option<String>,
        /// A header of the request. May be given several times.
        #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
        headers: Vec<(String, String)>,
        /// The server.
        server: String,
        /// The query, as one argument: put it in quotes.
        #[arg(allow_hyphen_values = true)]
        expr: String,
    },
    /// Run a query over a range of time.
    Range {
        /// The first moment: RFC 3339, or seconds since the epoch. Default: five minutes before the end.
        #[arg(long, value_name = "TIME")]
        start: Option<String>,
        /// The last moment. Default: now.
        #[arg(long, value_name = "TIME")]
        end: Option<String>,
        /// The step, such as 15s. Default: a 250th of the range, at least a second.
        #[arg(long, value_name = "DURATION")]
        step: Option<String>,
        /// A header of the request. May be given several times.
        #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
        headers: Vec<(String, String)>,
        /// The server.
        server: String,
        /// The query, as one argument: put it in quotes.
        #[arg(allow_hyphen_values = true)]
        expr: String,
    },
    /// List the series that selectors find.
    Series {
        /// A selector; may be given several times.
        #[arg(long = "match", value_name = "SELECTOR", required = true)]
        matchers: Vec<String>,
        #[command(flatten)]
        times: Times,
        /// The server.
        server: String,
    },
    /// List the values of a label.
    Labels {
        /// A selector; may be given several times.
        #[arg(long = "match", value_name = "SELECTOR")]
        matchers: Vec<String>,
        #[command(flatten)]
        times: Times,
        /// The server.
        server: String,
        /// The label.
        name: String,
    },
    /// Tell how the buckets of histograms change.
    Analyze(AnalyzeArgs),
}

#[derive(Debug, Args)]
struct Times {
    /// Where to begin: RFC 3339, or seconds since the epoch.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Where to end.
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
}

impl Question {
    fn server(&self) -> &str {
        match self {
            Self::Instant { server, .. }
            | Self::Range { server, .. }
            | Self::Series { server, .. }
            | Self::Labels { server, .. } => server,
            Self::Analyze(args) => &args.server,
        }
    }
}

/// Asks and prints.
pub(super) fn run(args: &QueryArgs, io: &mut Io<'_>) -> io::Result<u8> {
    let told = match connect(args, io) {
        Ok(mut server) => ask(args, &mut server, io)?,
        Err(error) => Err(error),
    };
    match told {
        Ok(text) => {
            io.out.write_all(text.as_bytes())?;
            Ok(0)
        }
        Err(error) => {
            writeln!(io.err, "{error}")?;
            Ok(FAILURE)
        }
    }
}

fn connect(args: &QueryArgs, io: &Io<'_>) -> Result<ApiServer, String> {
    let server = args.question.server();
    let url = match server.contains("://") {
        true => server.to_owned(),
        false => format!("http://{server}"),
    };
    let server = args.http.server(&url, TIMEOUT, io.files);
    let mut server = server.map_err(|error| format!("error creating API client: {error}"))?;
    if let Question::Instant { headers, .. } | Question::Range { headers, .. } = &args.question {
        server.add_headers(headers)?;
    }
    Ok(server)
}

fn ask(args: &QueryArgs, server: &mut ApiServer, io: &mut Io<'_>) -> io::Result<Result<String, String>> {
    Ok(match &args.question {
        Question::Instant { time, expr, .. } => instant(time.as_deref(), server, expr, args.format),
        Question::Range {
            start, end, step, expr, ..
        } => Range::new(start.as_deref(), end.as_deref(), step.as_deref())
            .and_then(|range| range.ask(server, expr, args.format)),
        Question::Series { matchers, times, .. } => series(matchers, times, server, args.format),
        Question::Labels {
            matchers, times, name, ..
        } => labels(matchers, times, server, name, args.format, io)?,
        Question::Analyze(args) => analyze::ask(args, server),
    })
}

pub(super) fn now() -> f64 {
    SystemClock.now_ms() as f64 / 1000.0
}

pub(super) fn moment(what: &str, text: Option<&str>, default: f64) -> Result<f64, String> {
    let Some(text) = text else { return Ok(default) };
    if let Ok(seconds) = text.parse::<f64>()
        && seconds.is_finite()
    {
        return Ok(seconds);
    }
    let parsed = text.parse::<jiff::Timestamp>();
    parsed.map(|time| time.as_millisecond() as f64 / 1000.0).map_err(|_| {
        format!(
            "error parsing {what} time: cannot parse {} to a valid timestamp",
            go_quote(text)
        )
    })
}

fn instant(time: Option<&str>, server: &mut ApiServer, expr: &str, format: Format) -> Result<String, String> {
    let time = moment("evaluation", time, now())?.to_string();
    let answer = server.post("/api/v1/query", &[("query", expr), ("time", &time)]);
    value(&answer.map_err(query_error)?, format)
}

pub(super) fn query_error(error: String) -> String {
    format!("query error: {error}")
}

struct Range {
    start: f64,
    end: f64,
    step: f64,
}

impl Range {
    fn new(start: Option<&str>, end: Option<&str>, step: Option<&str>) -> Result<Self, String> {
        let end = moment("end", end, now())?;
        let start = moment("start", start, end - 300.0)?;
        if start >= end {
            return Err("start time is not before end time".to_owned());
        }
        let step = match step {
            None => ((end - start) / 250.0).floor().max(1.0),
            Some(text) => match go_duration(text) {
                Some(step) if !step.is_zero() => step.as_secs_f64(),
                _ => {
                    return Err(format!(
                        "promtool: error: --step: {text:?} is not a duration such as 15s"
                    ));
                }
            },
        };
        Ok(Self { start, end, step })
    }

    fn ask(&self, server: &mut ApiServer, expr: &str, format: Format) -> Result<String, String> {
        let [start, end, step] = [self.start, self.end, self.step].map(|seconds| seconds.to_string());
        let form = [("query", expr), ("start", &start), ("end", &end), ("step", &step)];
        let answer = server.post("/api/v1/query_range", &form);
        value(&answer.map_err(query_error)?, format)
    }
}

impl Times {
    // Both ends as the API takes them.
    fn ends(&self) -> Result<[String; 2], String> {
        let start = moment("start", self.start.as_deref(), now() - FAR)?;
        let end = moment("end", self.end.as_deref(), now() + FAR)?;
        Ok([start.to_string(), end.to_string()])
    }

    fn form<'a>(ends: &'a [String; 2], matchers: &'a [String]) -> Vec<(&'a str, &'a str)> {
        let mut form = vec![("start", ends[0].as_str()), ("end", ends[1].as_str())];
        form.extend(matchers.iter().map(|matcher| ("match[]", matcher.as_str())));
        form
    }
}

fn series(matchers: &[String], times: &Times, server: &mut ApiServer, format: Format) -> Result<String, String> {
    let ends = times.ends()?;
    let answer = server.post("/api/v1/series", &Times::form(&ends, matchers));
    let answer = answer.map_err(query_error)?;
    let found = list(answer.get("data"));
    Ok(match format {
        Format::Json => json_list(found, metric_json) + "\n",
        Format::Promql => lines(found.iter().map(label_set)),
    })
}

// Warnings are told at once; they are no failure.
fn labels(
    matchers: &[String],
    times: &Times,
    server: &mut ApiServer,
    name: &str,
    format: Format,
    io: &mut Io<'_>,
) -> io::Result<Result<String, String>> {
    let asked = times.ends().and_then(|ends| {
        let path = format!("/api/v1/label/{}/values", cupola_model::query_escape(name));
        let answer = server.get(&path, &Times::form(&ends, matchers));
        answer.map_err(query_error)
    });
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error)),
    };
    for warning in list(answer.get("warnings")) {
        writeln!(io.err, "query warning: {}", text_of(warning))?;
    }
    let found = list(answer.get("data"));
    Ok(Ok(match format {
        Format::Json => json_list(found, |value| go_json(text_of(value))) + "\n",
        Format::Promql => lines(found.iter().map(|value| text_of(value).to_owned())),
    }))
}

pub(super) fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

// Each on a line of its own.
fn lines(texts: impl Iterator<Item = String>) -> String {
    texts.map(|text| text + "\n").collect()
}

// The labels of a metric, sorted.
fn pairs(metric: &Value) -> BTreeMap<&str, &str> {
    let pairs = metric.as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.as_str(), text_of(value))).collect()
}

// A text as Go's JSON encoder writes it, which takes care of HTML.
fn go_json(text: &str) -> String {
    let mut out = Value::from(text).to_string();
    for (plain, escaped) in [
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ] {
        if out.contains(plain) {
            out = out.replace(plain, escaped);
        }
    }
    out
}

fn metric_json(metric: &Value) -> String {
    let pairs: Vec<String> = pairs(metric)
        .into_iter()
        .map(|(name, value)| format!("{}:{}", go_json(name), go_json(value)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

fn json_list(values: &[Value], one: impl Fn(&Value) -> String) -> String {
    let all: Vec<String> = values.iter().map(one).collect();
    format!("[{}]", all.join(","))
}

// `{a="b", c="d"}`
fn label_set(metric: &Value) -> String {
    let pairs: Vec<String> = pairs(metric)
        .into_iter()
        .map(|(name, value)| format!("{name}={}", go_quote(value)))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

// `name{a="b", c="d"}`
pub(super) fn metric(value: &Value) -> String {
    let mut pairs = pairs(value);
    let name = pairs.remove("__name__").unwrap_or_default();
    if pairs.is_empty() && !name.is_empty() {
        return name.to_owned();
    }
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={}", go_quote(value)))
        .collect();
    format!("{name}{{{}}}", pairs.join(", "))
}

// The result of a query; an empty one is an empty line, as in promtool.
fn value(answer: &Value, format: Format) -> Result<String, String> {
    let data = answer.get("data");
    let kind = data.and_then(|data| data.get("resultType")).map(text_of);
    let result = data.and_then(|data| data.get("result"));
    let (Some(kind), Some(result)) = (kind, result) else {
        return Err("query error: the answer has no result; is this the address of a Prometheus server?".to_owned());
    };
    let text = match (format, kind) {
        (Format::Json, "vector" | "matrix") => json_list(list(Some(result)), element_json),
        (Format::Json, "string") => pair_json(result, go_json),
        (Format::Json, _) => point_json(result),
        (Format::Promql, "scalar") => format!("scalar: {}", point(result)),
        (Format::Promql, "string") => text_of(result.get(1).unwrap_or(&Value::Null)).to_owned(),
        (Format::Promql, _) => joined(list(Some(result)).iter().map(element)),
    };
    Ok(text + "\n")
}

fn joined(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join("\n")
}

fn element(element: &Value) -> String {
    let name = metric(element.get("metric").unwrap_or(&Value::Null));
    if let Some(one) = element.get("value").or_else(|| element.get("histogram")) {
        return format!("{name} => {}", point(one));
    }
    let points = list(element.get("values"))
        .iter()
        .chain(list(element.get("histograms")));
    format!("{name} =>\n{}", joined(points.map(point)))
}

// `1 @[1700000000.5]`
fn point(pair: &Value) -> String {
    let time = pair.get(0).and_then(Value::as_f64).unwrap_or_default();
    let value = match pair.get(1) {
        Some(Value::String(text)) => plain(text),
        Some(histogram) => histogram_text(histogram),
        None => String::new(),
    };
    format!("{value} @[{time}]")
}

// `Count: 3.000000, Sum: 2.500000, Buckets: [(0.5,1]:2 (1,2]:1]`
fn histogram_text(histogram: &Value) -> String {
    let number = |name: &str| {
        let text = histogram.get(name).map(text_of).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => format!("{number:.6}"),
            _ => text.to_owned(),
        }
    };
    let buckets: Vec<String> = list(histogram.get("buckets")).iter().map(bucket_text).collect();
    format!(
        "Count: {}, Sum: {}, Buckets: [{}]",
        number("count"),
        number("sum"),
        buckets.join(" ")
    )
}

fn bucket_text(bucket: &Value) -> String {
    let boundaries = bucket.get(0).and_then(Value::as_u64).unwrap_or_default();
    let text = |index: usize| bucket.get(index).map(text_of).unwrap_or_default();
    let bound = |index: usize| {
        let text = text(index);
        text.parse::<f64>()
            .map_or_else(|_| text.to_owned(), cupola_model::fmt_f64_g)
    };
    let left = if matches!(boundaries, 1 | 3) { '[' } else { '(' };
    let right = if matches!(boundaries, 0 | 3) { ']' } else { ')' };
    format!("{left}{},{}{right}:{}", bound(1), bound(2), text(3))
}

fn element_json(element: &Value) -> String {
    let mut out = format!(
        "{{\"metric\":{}",
        metric_json(element.get("metric").unwrap_or(&Value::Null))
    );
    for name in ["value", "histogram"] {
        if let Some(pair) = element.get(name) {
            out += &format!(",\"{name}\":{}", point_json(pair));
        }
    }
    for name in ["values", "histograms"] {
        if let Some(pairs) = element.get(name) {
            out += &format!(",\"{name}\":{}", json_list(list(Some(pairs)), point_json));
        }
    }
    out.push('}');
    out
}

fn point_json(pair: &Value) -> String {
    pair_json(pair, |text| go_json(&plain(text)))
}

fn pair_json(pair: &Value, text_json: impl Fn(&str) -> String) -> String {
    let time = pair.get(0).and_then(Value::as_f64).unwrap_or_default();
    let value = match pair.get(1) {
        Some(Value::String(text)) => text_json(text),
        Some(histogram) => histogram.to_string(),
        None => String::new(),
    };
    format!("[{time},{value}]")
}

// A number without exponent, as promtool prints all of them.
fn plain(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => number.to_string(),
        _ => text.to_owned(),
    }
}
