//! `promtool push metrics`: metrics in the text format, sent to a receiver of remote write. For trying things out.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use cupola_config::alertmanager::go_duration;
use cupola_env::{Clock as _, SystemClock};
use cupola_exposition::{Entry, Format, Parser};
use cupola_model::{LabelsBuilder, METRIC_NAME, MetricType};
use cupola_remote::PushedMetrics;
use cupola_storage::Metadata;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, StatusCode};

use super::api::HttpArgs;
use super::metrics::family_of;
use super::{FAILURE, Io};

/// What is pushed.
#[derive(Debug, Subcommand)]
pub(super) enum Push {
    /// Push metrics in the text format to a receiver of remote write, for trying things out.
    Metrics(PushArgs),
}

/// Which metrics, and where to.
#[derive(Debug, Args)]
pub(super) struct PushArgs {
    /// The receiver, such as http://localhost:9090/api/v1/write. Without a path it is /api/v1/write.
    #[arg(value_name = "URL")]
    url: String,
    /// The files; standard input where none is named.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A label that all series get. May be given several times.
    #[arg(long = "label", value_name = "NAME=VALUE", default_value = "job=promtool", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// A header of the request. May be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// How long an answer may take.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// The message to send: prometheus.WriteRequest or io.prometheus.write.v2.Request.
    #[arg(long = "protobuf_message", value_name = "MESSAGE", default_value = V1, value_parser = [V1, V2])]
    protobuf_message: String,
    /// The path to push to, instead of the URL's.
    #[arg(long = "remote-write.path", value_name = "PATH")]
    path: Option<String>,
    #[command(flatten)]
    http: HttpArgs,
}

const V1: &str = "prometheus.WriteRequest";
const V2: &str = "io.prometheus.write.v2.Request";
const PATH: &str = "/api/v1/write";

// Where to push: the path that was asked for, else the URL's, else the usual one.
fn address(url: &str, path: Option<&str>) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let (base, own) = match url.get(after_scheme..).and_then(|rest| rest.find('/')) {
        Some(at) => url.split_at(after_scheme + at),
        None => (url, ""),
    };
    let path = path.unwrap_or(if own.trim_matches('/').is_empty() { PATH } else { own });
    format!("{base}/{}", path.trim_start_matches('/'))
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    // As kingpin: a colon does, too.
    let split = text.split_once(['=', ':']);
    let (name, value) = split.ok_or_else(|| format!("expected KEY=VALUE got '{text}'"))?;
    Ok((name.to_owned(), value.to_owned()))
}

fn duration(text: &str) -> Result<Duration, String> {
    go_duration(text).ok_or_else(|| "is not a duration such as 30s".to_owned())
}

/// Pushes all of it, a message for each file. What fails is told; the other files are pushed all the same.
pub(super) fn run(Push::Metrics(args): &Push, io: &mut Io<'_>) -> io::Result<u8> {
    if io.tell_missing(&args.files)? {
        return Ok(FAILURE);
    }
    let mut code = 0;
    let mut tell = |pushed: Result<(), String>, success: String, io: &mut Io<'_>| match pushed {
        Ok(()) => writeln!(io.out, "  SUCCESS: {success} pushed to remote write."),
        Err(error) => {
            code = FAILURE;
            writeln!(io.err, "  FAILED: {error}")
        }
    };
    if args.files.is_empty() {
        let mut body = Vec::new();
        let read = io.input.read_to_end(&mut body).map_err(|error| error.to_string());
        writeln!(io.out, "Parsing standard input")?;
        let pushed = read.and_then(|_| push(args, &body, io));
        tell(pushed, "metrics".to_owned(), io)?;
    }
    for file in &args.files {
        writeln!(io.out, "Parsing metrics file {}", file.display())?;
        let read = super::read(file, io);
        let pushed = read.and_then(|text| push(args, text.as_bytes(), io));
        tell(pushed, format!("metrics file {}", file.display()), io)?;
    }
    Ok(code)
}

fn push(args: &PushArgs, body: &[u8], io: &Io<'_>) -> Result<(), String> {
    let parsed = parse(body, &args.labels, SystemClock.now_ms())?;
    let is_v2 = args.protobuf_message == V2;
    let message = if is_v2 {
        parsed.to_write_request_v2()
    } else {
        parsed.to_write_request()
    };
    let (kind, written) = if is_v2 {
        ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0")
    } else {
        ("application/x-protobuf", "0.1.0")
    };
    let mut headers = HeaderMap::new();
    let version = concat!("promtool/", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        (CONTENT_ENCODING, "snappy"),
        (CONTENT_TYPE, kind),
        (USER_AGENT, version),
        (HeaderName::from_static("x-prometheus-remote-write-version"), written),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let mut server = args
        .http
        .server(&address(&args.url, args.path.as_deref()), args.timeout, io.files)?;
    server.add_headers(&args.headers)?;
    let (status, answer) = server.post_raw(headers, message)?;
    if status.is_success() {
        return Ok(());
    }
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.lines().next().unwrap_or_default();
    Err(format!("server returned HTTP status {}: {line}", shown(status)))
}

// `400 Bad Request`
fn shown(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default())
}

#[derive(Default)]
struct Family {
    metadata: Metadata,
    samples: Vec<(cupola_model::Labels, i64, f64)>,
}

// What the text says, family by family. `job` of the text gives way to the one that is attached, as where a target is
// scraped.
fn parse(body: &[u8], attached: &[(String, String)], now_ms: i64) -> Result<PushedMetrics, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for entry in Parser::new(Format::Text, body) {
        let entry = entry.map_err(|error| format!("text format parsing error in {error}"))?;
        match entry {
            Entry::Help { name, text } => {
                families.entry(name.into_owned()).or_default().metadata.help = text.into_owned();
            }
            Entry::Type { name, kind } => families.entry(name.into_owned()).or_default().metadata.kind = kind,
            Entry::Sample(sample) => {
                let mut pairs = Vec::new();
                sample.series.labels_into(false, &mut pairs);
                let name = pairs.iter().find(|(label, _)| label == METRIC_NAME);
                let name = name.map(|(_, name)| name.clone().into_owned()).unwrap_or_default();
                let kind_of = |name: &str| families.get(name).map(|family| family.metadata.kind);
                let family = family_of(&name, kind_of).to_owned();
                let family = families.entry(family).or_default();
                let mut labels = LabelsBuilder::default();
                for (label, value) in attached {
                    labels.set(label, value);
                }
                for (label, value) in &pairs {
                    let is_bound = match family.metadata.kind {
                        MetricType::Histogram => label == "le",
                        MetricType::Summary => label == "quantile",
                        _ => false,
                    };
                    match label.as_ref() {
                        "job" => labels.set("exported_job", value),
                        label if is_bound => labels.set(label, &bound(value)),
                        label => labels.set(label, value),
                    };
                }
                let ts = sample.timestamp_ms.filter(|ts| *ts != 0).unwrap_or(now_ms);
                family.samples.push((labels.build(), ts, sample.value));
            }
            Entry::Unit { .. } | Entry::Comment(_) => {}
        }
    }
    let mut pushed = PushedMetrics::default();
    for (name, family) in families.into_iter().filter(|(_, family)| !family.samples.is_empty()) {
        pushed.metadata.push((name, family.metadata));
        pushed.samples.extend(family.samples);
    }
    Ok(pushed)
}

// As Go prints a number: `1.0` becomes `1`.
fn bound(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && (number == 0.0 || (1e-4..1e21).contains(&number.abs())) => {
            cupola_model::fmt_f64(number)
        }
        Ok(number) if number.is_finite() => cupola_model::fmt_f64_e(number),
        Ok(number) if number == f64::INFINITY => "+Inf".to_owned(),
        Ok(number) if number == f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_asked_for_comes_first_and_the_usual_one_last() {
        for (url, path, expected) in [
            ("http://a:1", None, "http://a:1/api/v1/write"),
            ("http://a:1/", None, "http://a:1/api/v1/write"),
            ("http://a:1/x/push", None, "http://a:1/x/push"),
            ("http://a:1/x/push", Some("/y"), "http://a:1/y"),
            ("http://a:1", Some("y/z"), "http://a:1/y/z"),
        ] {
            assert_eq!(address(url, path), expected, "{url} {path:?}");
        }
    }

    #[test]
    fn labels_are_attached_and_bounds_are_numbers() {
        let text = "# HELP h Sizes.\n# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\nb{job=\"x\"} 5 7\n";
        let pushed = parse(text.as_bytes(), &[("job".into(), "me".into())], 42).unwrap();
        let shown: Vec<String> = pushed
            .samples
            .iter()
            .map(|(labels, ts, value)| format!("{labels} {value} @{ts}"))
            .collect();
        assert_eq!(
            shown,
            [
                "{__name__=\"b\", exported_job=\"x\", job=\"me\"} 5 @7",
                "{__name__=\"h_bucket\", job=\"me\", le=\"1\"} 1 @42",
                "{__name__=\"h_bucket\", job=\"me\", le=\"+Inf\"} 2 @42",
                "{__name__=\"h_sum\", job=\"me\"} 3 @42",
                "{__name__=\"h_count\", job=\"me\"} 2 @42",
            ]
        );
        let names: Vec<&str> = pushed.metadata.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "h"]);
        assert_eq!(pushed.metadata[1].1.help, "Sizes.");
        assert!(parse(b"b{", &[], 0).is_err());
    }
}
