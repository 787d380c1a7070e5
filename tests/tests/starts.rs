//! Since when series count: Python's client library as target, Debian's Prometheus beside us, and Debian's promtool.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::process::Command;

use cupola_tests::{Home, Prometheus, Server, eventually, get, neighbour, now_ms, python_client, run, url_encode};
use serde_json::Value;

// One metric of each kind that counts, and a gauge; the port that was free is told on standard output.
const CLIENT: &str = r#"
from prometheus_client import Counter, Gauge, Histogram, Summary, start_http_server

sold = Counter("sold_things", "What was sold.", ["kind"])
sold.labels("x").inc(5)
sold.labels("y").inc(7)
Gauge("queue_length", "Who waits.").set(3)
took = Histogram("took_seconds", "How long it took.", buckets=[0.5, 2])
for value in (0.1, 1.0, 9.0):
    took.observe(value)
Summary("size_bytes", "How large it was.").observe(12)
server, thread = start_http_server(0, addr="127.0.0.1")
print("port", server.server_port, flush=True)
thread.join()
"#;

// The samples of one series within the last hour: milliseconds and values.
fn samples(server: &Server, series: &str) -> Vec<(i64, f64)> {
    let found = server.api("/api/v1/query", &[("query", &format!("{series}[1h]"))]);
    let all = found["result"].as_array().unwrap();
    assert_eq!(all.len(), 1, "{series}: {found}");
    let pairs = all[0]["values"].as_array().unwrap();
    let pair = |pair: &Value| {
        let ms = (pair[0].as_f64().unwrap() * 1000.0).round() as i64;
        (ms, pair[1].as_str().unwrap().parse().unwrap())
    };
    pairs.iter().map(pair).collect()
}

// What Debian's Prometheus has of a series that has one value.
fn theirs(prometheus: &Prometheus, series: &str) -> Option<f64> {
    let path = format!("/api/v1/query?query={}", url_encode(series));
    let json: Value = get(prometheus.address(), &path).ok()?.json();
    json["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

const COUNTING: [&str; 7] = [
    "sold_things_total{kind=\"x\",job=\"open\"}",
    "sold_things_total{kind=\"y\",job=\"open\"}",
    "took_seconds_bucket{le=\"0.5\",job=\"open\"}",
    "took_seconds_count{job=\"open\"}",
    "took_seconds_sum{job=\"open\"}",
    "size_bytes_count{job=\"open\"}",
    "size_bytes_sum{job=\"open\"}",
];

#[test]
fn what_pythons_client_library_counts_begins_with_a_zero_where_that_is_asked_for() {
    let Some((_client, address)) = python_client(CLIENT) else {
        return;
    };
    let interval = "global: {scrape_interval: 250ms, scrape_timeout: 250ms}";
    let job =
        |name: &str, more: &str| format!("- job_name: {name}\n{more}  static_configs: [{{targets: ['{address}']}}]\n");
    let open = format!("{interval}\nscrape_configs:\n{}", job("open", ""));
    let Some(prometheus) = Prometheus::with_config(Home::new(), &open, &[]) else {
        return;
    };
    let started = |feature: &str| {
        let home = Home::new();
        let nhcb = job("custom", "  convert_classic_histograms_to_nhcb: true\n");
        let config = home.write("prometheus.yml", &format!("{open}{nhcb}"));
        let flag = format!("--enable-feature={feature},use-start-timestamps");
        let server = Server::prometheus(&home, &config, &[&flag]);
        eventually(30, "both jobs were scraped twice", || {
            server.value("min(count_over_time(up[1h])) > 3")
        });
        (server, home)
    };
    let created = |series: &str| {
        let seconds = eventually(30, "Debian's Prometheus has the series", || theirs(&prometheus, series));
        (seconds * 1000.0) as i64
    };
    let since = [
        created("sold_things_created{kind=\"x\"}"),
        created("sold_things_created{kind=\"y\"}"),
        created("took_seconds_created"),
        created("size_bytes_created"),
    ];
    let since_of = |series: &str| match series {
        x if x.contains("kind=\"x\"") => since[0],
        y if y.contains("kind=\"y\"") => since[1],
        took if took.starts_with("took") => since[2],
        _ => since[3],
    };

    // Without a feature they are series here as there.
    let (plain, _home) = started("promql-per-step-stats");
    for (at, name) in ["sold_things_created{kind=\"x\"", "sold_things_created{kind=\"y\""]
        .iter()
        .enumerate()
    {
        let seconds = plain.value(&format!("{name},job=\"open\"}}")).unwrap();
        assert_eq!((seconds * 1000.0) as i64, since[at]);
    }
    assert_eq!(samples(&plain, COUNTING[0])[0].1, 5.0);

    let (zeros, home) = started("created-timestamp-zero-ingestion");
    for series in COUNTING {
        let found = samples(&zeros, series);
        assert_eq!(found[0], (since_of(series), 0.0), "{series}");
        assert!(found[1..].iter().all(|(_, value)| *value > 0.0), "{series}: {found:?}");
        assert!(found[1].0 > now_ms() - 600_000, "{series}: {found:?}");
    }
    assert!(
        samples(&zeros, "queue_length{job=\"open\"}")
            .iter()
            .all(|(_, value)| *value == 3.0)
    );
    assert!(zeros.query("{__name__=~\".+_created\"}").is_empty());
    // The converted histogram begins with one in which nothing is counted.
    let counts = "min_over_time(histogram_count(took_seconds{job=\"custom\"})[1h:100ms])";
    assert_eq!(zeros.value(counts), Some(0.0));
    if let Some(program) = neighbour("promtool") {
        let least = "min_over_time(sold_things_total{kind=\"x\",job=\"open\"}[1h])";
        let done = run(
            Command::new(program).args(["query", "instant", &zeros.url(), least]),
            b"",
        );
        assert!(done.stdout.contains("=> 0 @"), "{} {}", done.stdout, done.stderr);
    }
    // The zero stands once, also after a restart.
    drop(zeros);
    let config = home.path().join("prometheus.yml");
    let zeros = Server::prometheus(&home, &config, &["--enable-feature=created-timestamp-zero-ingestion"]);
    let before = now_ms();
    let since_restart = format!(
        "count_over_time(up{{job=\"open\"}}[1h]) and timestamp(up{{job=\"open\"}}) > {}",
        before / 1000 + 1
    );
    eventually(30, "it goes on", || zeros.value(&since_restart));
    let found = samples(&zeros, COUNTING[0]);
    assert_eq!(found.iter().filter(|(_, value)| *value == 0.0).count(), 1, "{found:?}");

    // The start itself: the increase since then is known although nothing has happened while we looked.
    let (stored, _home) = started("st-storage");
    assert!(stored.query("{__name__=~\".+_created\"}").is_empty());
    assert_eq!(samples(&stored, COUNTING[0])[0].1, 5.0);
    let increase = stored.value(&format!("increase({}[1h])", COUNTING[0])).unwrap();
    assert!(increase > 4.9, "{increase}");
    assert_eq!(plain.value(&format!("increase({}[1h])", COUNTING[0])), Some(0.0));
}
