//! The same questions over the same block, asked of Debian's Prometheus (2.42) and of Cupola.
//!
//! Where 3.x changed the meaning of an expression, it stands in [`expressions::CHANGED`] with the reason, and the test
//! insists that the answers do differ. Everything else has to agree: instant and range, values within a millionth, the
//! same labels, the same kind of refusal. All samples lie 377 ms after a whole second and all questions at whole ones,
//! because the windows of 2.x included their left edge.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

mod data;
mod expressions;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use cupola_tests::{Home, Prometheus, Response, Server, get, neighbour, run, url_encode};
use expressions::{CHANGED, Change, LANGUAGE, REAL};
use serde_json::Value;

/// Every sample of an answer by its labels and its time, or the kind of refusal.
type Answer = Result<BTreeMap<(String, String), f64>, String>;

/// The instants: five seconds after a multiple of ten, so that no step of a subquery stands on an edge either.
const INSTANTS: [i64; 3] = [1_805, 3_725, 6_605];
/// The range: start, end, step. No window of a counter begins before the data: 3.x carries such counters back otherwise.
const RANGE: (i64, i64, i64) = (1_905, 6_705, 240);

struct Both {
    prometheus: Prometheus,
    cupola: Server,
    // Gone after the servers.
    _ours: Home,
}

impl Both {
    // `None` where Debian's programs are not installed.
    fn start() -> Option<Self> {
        let promtool = neighbour("promtool")?;
        let home = Home::new();
        let text = home.write("samples.om", &data::open_metrics());
        let blocks = home.path().join("blocks");
        std::fs::create_dir(&blocks).unwrap();
        let mut command = Command::new(promtool);
        command
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .arg(&text)
            .arg(&blocks);
        let done = run(&mut command, b"");
        assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);

        let (theirs, ours) = (Home::new(), Home::new());
        for home in [&theirs, &ours] {
            copy(&blocks, &home.data());
        }
        let config = ours.write("prometheus.yml", "global: {evaluation_interval: 1m}\n");
        let cupola = Server::prometheus(&ours, &config, &["--storage.tsdb.retention.time=100y"]);
        let prometheus = Prometheus::start(theirs, &["--storage.tsdb.retention.time=100y"])?;
        Some(Self {
            prometheus,
            cupola,
            _ours: ours,
        })
    }

    // The answers of Prometheus and of Cupola.
    fn ask(&self, path: &str, params: &[(&str, String)]) -> (Response, Response) {
        let params: Vec<String> = params
            .iter()
            .map(|(name, value)| format!("{name}={}", url_encode(value)))
            .collect();
        let path = format!("{path}?{}", params.join("&"));
        let of = |address: SocketAddr| match get(address, &path) {
            Ok(response) => response,
            Err(error) => panic!("{path}: {error}"),
        };
        (of(self.prometheus.address()), of(self.cupola.address()))
    }

    fn instant(&self, expr: &str, time: &str) -> (Response, Response) {
        self.ask(
            "/api/v1/query",
            &[("query", expr.to_owned()), ("time", time.to_owned())],
        )
    }

    fn range(&self, expr: &str) -> (Response, Response) {
        let (start, end, step) = RANGE;
        self.ask(
            "/api/v1/query_range",
            &[
                ("query", expr.to_owned()),
                ("start", (data::BEGIN + start).to_string()),
                ("end", (data::BEGIN + end).to_string()),
                ("step", step.to_string()),
            ],
        )
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn answer(response: &Response) -> Answer {
    let json = response.json();
    if json["status"] != "success" {
        return Err(format!("{} {}", response.status, json["errorType"]));
    }
    let mut out = BTreeMap::new();
    let mut add = |labels: &Value, point: &Value| {
        let labels: BTreeMap<String, String> = serde_json::from_value(labels.clone()).unwrap();
        let key = (format!("{labels:?}"), format!("{:.3}", point[0].as_f64().unwrap()));
        let twice = out.insert(key, number(&point[1]));
        assert_eq!(twice, None, "one sample came twice: {labels:?} {point}");
    };
    let result = &json["data"]["result"];
    if json["data"]["resultType"] == "scalar" {
        add(&serde_json::json!({}), result);
        return Ok(out);
    }
    for series in result.as_array().unwrap() {
        match series["values"].as_array() {
            Some(points) => points.iter().for_each(|point| add(&series["metric"], point)),
            None => add(&series["metric"], &series["value"]),
        }
    }
    Ok(out)
}

// The values of an instant answer in their order.
fn sequence(response: &Response) -> Vec<f64> {
    let json = response.json();
    let rows = json["data"]["result"].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| number(&row["value"][1])).collect()
}

fn number(value: &Value) -> f64 {
    match value.as_str().expect("a sample is a string") {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().expect("a sample is a number"),
    }
}

fn same(a: f64, b: f64) -> bool {
    let near = (a - b).abs() <= 1e-6 * a.abs().max(b.abs()) && a.is_finite() && b.is_finite();
    a == b || (a.is_nan() && b.is_nan()) || near
}

// What the two answers differ in.
fn difference(theirs: &Answer, ours: &Answer) -> Option<String> {
    let (theirs, ours) = match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => (theirs, ours),
        (Err(a), Err(b)) if a == b => return None,
        (theirs, ours) => return Some(format!("Prometheus {theirs:?}\n  Cupola {ours:?}")),
    };
    for (key, a) in theirs {
        match ours.get(key) {
            None => return Some(format!("only Prometheus has {key:?} {a}")),
            Some(b) if !same(*a, *b) => return Some(format!("{key:?}: Prometheus {a}, Cupola {b}")),
            Some(_) => {}
        }
    }
    let more = ours.iter().find(|(key, _)| !theirs.contains_key(*key));
    more.map(|(key, value)| format!("only Cupola has {key:?} {value}"))
}

#[test]
fn cupola_answers_as_prometheus_2_42_where_3_did_not_change_the_meaning() {
    let Some(both) = Both::start() else { return };
    let (mut wrong, mut empty, mut refused) = (Vec::new(), Vec::new(), 0);
    let expressions = || REAL.iter().chain(LANGUAGE);
    for expr in expressions() {
        let mut samples = 0;
        let mut compare = |what: &str, (theirs, ours): (Response, Response)| {
            let (theirs, ours) = (answer(&theirs), answer(&ours));
            samples += theirs.as_ref().map_or(1, BTreeMap::len);
            refused += usize::from(theirs.is_err());
            if let Some(difference) = difference(&theirs, &ours) {
                wrong.push(format!("{what}: {expr}\n  {difference}"));
            }
        };
        for second in INSTANTS {
            let at = (data::BEGIN + second).to_string();
            compare(&format!("at {second}"), both.instant(expr, &at));
        }
        compare("range", both.range(expr));
        if samples == 0 {
            empty.push(*expr);
        }
    }
    for expr in [
        "sort(node_load1)",
        "sort_desc(wild)",
        "topk(3, node_load1)",
        "bottomk(4, node_cpu_seconds_total)",
    ] {
        let (theirs, ours) = both.instant(expr, &(data::BEGIN + INSTANTS[0]).to_string());
        let (theirs, ours) = (sequence(&theirs), sequence(&ours));
        if theirs.len() != ours.len() || !theirs.iter().zip(&ours).all(|(a, b)| same(*a, *b)) {
            wrong.push(format!("order of {expr}\n  Prometheus {theirs:?}\n  Cupola {ours:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} answers differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // The list proves something: it is long, most of it finds samples, and some of it is refused.
    assert!(
        expressions().count() >= 120,
        "only {} expressions",
        expressions().count()
    );
    assert!(refused >= 20, "only {refused} refusals");
    let may_be_empty = ["nothing_at_all", "rate(lonely[1s])", "clamp(tilt, 5, -5)"];
    empty.retain(|expr| !may_be_empty.contains(expr));
    assert!(
        empty.is_empty(),
        "these find nothing, so they prove nothing: {empty:#?}"
    );
}

#[test]
fn what_3_changed_differs_as_listed() {
    let Some(both) = Both::start() else { return };
    for (expr, second, change, why) in CHANGED {
        let at = data::BEGIN as f64 + second + data::OFFSET_MS as f64 / 1000.0;
        let (theirs, ours) = both.instant(expr, &format!("{at:.3}"));
        let (theirs, ours) = (answer(&theirs), answer(&ours));
        let seen = match (&theirs, &ours) {
            (Ok(_), Ok(_)) => Some(Change::Answer).filter(|_| difference(&theirs, &ours).is_some()),
            (Err(_), Ok(found)) => Some(Change::NewlyAllowed).filter(|_| !found.is_empty()),
            (Ok(found), Err(_)) => Some(Change::NewlyRefused).filter(|_| !found.is_empty()),
            (Err(_), Err(_)) => None,
        };
        assert_eq!(
            seen,
            Some(*change),
            "{expr}: {why}\n  Prometheus {theirs:?}\n  Cupola {ours:?}"
        );
    }
}
