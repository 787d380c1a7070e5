//! Remote read between Cupola and Debian's Prometheus, in both directions, and between two Cupolas.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::SocketAddr;

use cupola_tests::{FakeServer, FakeTarget, Home, Prometheus, Reply, Server, eventually, get, now_ms, url_encode};
use serde_json::Value;

// Series of the last two minutes before `time`, sorted by labels.
fn matrix(address: SocketAddr, query: &str, time: f64) -> (Vec<Value>, Value) {
    let path = format!("/api/v1/query?query={}&time={time}", url_encode(query));
    let mut json = get(address, &path).unwrap().json();
    assert_eq!(json["status"], "success", "{json}");
    let warnings = json["warnings"].take();
    let mut all: Vec<Value> = serde_json::from_value(json["data"]["result"].take()).unwrap();
    all.sort_by_key(|series| series["metric"].to_string());
    (all, warnings)
}

fn target() -> FakeTarget {
    FakeTarget::computed(|n| format!("made_up_total{{a=\"x\"}} {n}\nmade_up_total{{a=\"y\"}} {}.125\n", n * 3))
}

fn scraping(target: &FakeTarget) -> String {
    format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, external_labels: {{from: source}}}}\n\
         scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['{}']}}]\n",
        target.address()
    )
}

// The time of the tenth sample, so that nothing of what is compared is still on its way.
fn ten_samples(address: SocketAddr) -> f64 {
    eventually(30, "there are ten samples", || {
        let now = now_ms() as f64 / 1000.0;
        let (all, _) = matrix(address, "made_up_total{a=\"x\"}[2m]", now);
        let values = all.first()?["values"].as_array()?.clone();
        values.get(9)?[0].as_f64()
    })
}

fn asking(address: SocketAddr, more: &str) -> String {
    format!("remote_read:\n- url: http://{address}/api/v1/read\n  read_recent: true\n{more}")
}

// What the asker has of `made_up_total`; each series says where it comes from.
fn assert_same(source: SocketAddr, asker: SocketAddr) {
    let time = ten_samples(source);
    let (mut expected, _) = matrix(source, "made_up_total[2m]", time);
    for series in &mut expected {
        series["metric"]["from"] = "source".into();
    }
    expected.sort_by_key(|series| series["metric"].to_string());
    let (found, warnings) = matrix(asker, "made_up_total[2m]", time);
    assert_eq!(warnings, Value::Null);
    let key = |all: &[Value]| all.iter().map(|series| series["values"].clone()).collect::<Vec<_>>();
    assert_eq!(key(&found), key(&expected));
    assert!(
        found.iter().all(|series| series["metric"]["from"] == "source"),
        "{found:?}"
    );
    assert_eq!(found.len(), 2);
    // The label that is not stored there may be asked for.
    let (found, _) = matrix(asker, "rate(made_up_total{from=\"source\"}[1m])", time);
    assert_eq!(found.len(), 2);
    let (found, _) = matrix(asker, "made_up_total{from=\"elsewhere\"}", time);
    assert!(found.is_empty());
}

#[test]
fn prometheus_reads_what_is_here() {
    let home = Home::new();
    let target = target();
    let config = home.write("prometheus.yml", &scraping(&target));
    let server = Server::prometheus(&home, &config, &[]);
    let yaml = asking(server.address(), "");
    let Some(prometheus) = Prometheus::with_config(Home::new(), &yaml, &[]) else {
        return;
    };
    assert_same(server.address(), prometheus.address());
}

#[test]
fn what_prometheus_has_is_read() {
    let target = target();
    let Some(prometheus) = Prometheus::with_config(Home::new(), &scraping(&target), &[]) else {
        return;
    };
    let home = Home::new();
    let config = home.write("prometheus.yml", &asking(prometheus.address(), ""));
    let server = Server::prometheus(&home, &config, &[]);
    assert_same(prometheus.address(), server.address());
}

#[test]
fn only_who_is_to_be_asked_is_and_who_fails_costs_a_warning() {
    let target = target();
    let home = Home::new();
    let config = home.write("prometheus.yml", &scraping(&target));
    let source = Server::prometheus(&home, &config, &[]);
    let broken = FakeServer::start(|_| Reply::status(503));
    let asker_home = Home::new();
    let yaml = asking(source.address(), "  required_matchers: {a: x}\n");
    let config = asker_home.write("prometheus.yml", &yaml);
    let asker = Server::prometheus(&asker_home, &config, &[]);
    let time = ten_samples(source.address());
    let (found, _) = matrix(asker.address(), "made_up_total", time);
    assert!(found.is_empty(), "the matcher is missing: {found:?}");
    let (found, warnings) = matrix(asker.address(), "made_up_total{a=\"x\"}", time);
    assert_eq!((found.len(), warnings), (1, Value::Null));
    // One more, which fails.
    let yaml = format!(
        "{yaml}- url: {}\n  name: broken\n  read_recent: true\n",
        broken.url("/read")
    );
    asker_home.write("prometheus.yml", &yaml);
    asker.hang_up();
    eventually(20, "the answer is there, with a warning", || {
        let (found, warnings) = matrix(asker.address(), "made_up_total{a=\"x\"}", time);
        assert_eq!(found.len(), 1);
        let warning = warnings.get(0)?.as_str()?.to_owned();
        assert!(warning.contains("remote_read: broken: remote server"), "{warning}");
        Some(())
    });
    assert!(broken.requests("/read").iter().all(|request| request.method == "POST"));
}
