//! Remote write from Cupola to others: Debian's Prometheus, VictoriaMetrics, and receivers that fail in every way.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use cupola_tests::{
    FakeServer, FakeTarget, Home, Prometheus, Reply, Server, VictoriaMetrics, eventually, get, now_ms, request,
    url_encode,
};
use rustix::process::Signal;
use serde_json::Value;

fn target() -> FakeTarget {
    FakeTarget::computed(|n| {
        let mut text = String::from("# HELP made_up_total Of nothing.\n# TYPE made_up_total counter\n");
        for series in 0..20 {
            text.push_str(&format!("made_up_total{{a=\"{series}\"}} {}.125\n", n * 3 + series));
        }
        // Every other time, so that there are staleness markers.
        if n % 2 == 0 {
            text.push_str("# TYPE dropped gauge\ndropped 1\n# TYPE sometimes gauge\nsometimes 7\n");
        }
        text
    })
}

fn config(home: &Home, target: &FakeTarget, url: &str, more: &str) -> PathBuf {
    let yaml = format!(
        "global: {{scrape_interval: 100ms, scrape_timeout: 100ms, external_labels: {{from: cupola}}}}\n\
         scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['{}']}}]\n\
         remote_write:\n- url: {url}\n  name: r\n{more}  \
         write_relabel_configs: [{{source_labels: [__name__], regex: dropped, action: drop}}]\n",
        target.address(),
    );
    home.write("prometheus.yml", &yaml)
}

// Often small messages, so that much can go wrong in a short time.
const QUICK: &str = "  queue_config: {batch_send_deadline: 50ms, max_samples_per_send: 30, min_shards: 4, capacity: 200, max_backoff: 100ms}\n";

// All samples of the last minutes before `time`, sorted by labels.
fn matrix(address: SocketAddr, query: &str, time: i64) -> Vec<Value> {
    let seconds = time as f64 / 1000.0;
    let path = format!("/api/v1/query?query={}&time={seconds:.3}", url_encode(query));
    let mut json = get(address, &path).unwrap().json();
    let mut all: Vec<Value> = serde_json::from_value(json["data"]["result"].take()).unwrap();
    all.sort_by_key(|series| series["metric"].to_string());
    all
}

// What was sent to a receiver: ours with the labels that sending adds, and without what it drops.
fn sent(address: SocketAddr, time: i64) -> Vec<Value> {
    let mut all = matrix(address, "{job=\"j\",__name__!=\"dropped\"}[10m]", time);
    for series in &mut all {
        let labels = series["metric"].as_object_mut().unwrap();
        labels.insert("from".to_owned(), "cupola".into());
    }
    all.sort_by_key(|series| series["metric"].to_string());
    all
}

fn count(all: &[Value]) -> usize {
    let values = all.iter().map(|series| series["values"].as_array().map_or(0, Vec::len));
    values.sum()
}

#[track_caller]
fn assert_arrives(server: &Server, receiver: SocketAddr, least: usize) {
    let now = eventually(60, "enough is scraped", || {
        let now = now_ms();
        (count(&sent(server.address(), now)) >= least).then_some(now)
    });
    let expected = sent(server.address(), now);
    let mut last = Vec::new();
    let arrived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(60, "everything has arrived", || {
            last = matrix(receiver, "{job=\"j\"}[10m]", now);
            (last == expected).then_some(())
        });
    }));
    if arrived.is_err() {
        for (ours, theirs) in expected.iter().zip(&last) {
            assert_eq!(
                ours,
                theirs,
                "{} of {} samples have arrived",
                count(&last),
                count(&expected)
            );
        }
        panic!("{} of {} series have arrived", last.len(), expected.len());
    }
}

fn receiver() -> Option<Prometheus> {
    Prometheus::start(Home::new(), &["--web.enable-remote-write-receiver"])
}

#[test]
fn prometheus_gets_what_was_scraped() {
    let Some(prometheus) = receiver() else { return };
    let (home, target) = (Home::new(), target());
    let url = format!("http://{}/api/v1/write", prometheus.address());
    let more = format!("{QUICK}  metadata_config: {{send_interval: 200ms}}\n");
    let server = Server::prometheus(&home, &config(&home, &target, &url, &more), &[]);
    assert_arrives(&server, prometheus.address(), 500);
    let metric = |name: &str| server.own_metric(&format!("prometheus_remote_storage_{name}")).unwrap();
    assert_eq!(metric("samples_failed_total"), 0.0);
    assert!(metric("samples_total") >= 500.0);
    assert!(metric("samples_dropped_total") >= 1.0);
    assert_eq!(
        (metric("shards"), metric("shards_min"), metric("shards_max")),
        (4.0, 4.0, 50.0)
    );
    assert_eq!(
        (metric("shard_capacity"), metric("max_samples_per_send")),
        (200.0, 30.0)
    );
    eventually(30, "metadata is sent", || {
        (metric("metadata_total") > 0.0).then_some(())
    });
    let behind = metric("highest_timestamp_in_seconds") - metric("queue_highest_sent_timestamp_seconds");
    assert!(behind < 30.0, "{behind}");
}

// What stands between the two.
const FORWARD: u8 = 0;
const FAIL: u8 = 1;
const TOO_MANY: u8 = 2;
const HANG: u8 = 3;
// It arrives, but that is not told.
const FORWARD_AND_FAIL: u8 = 4;

fn between(to: SocketAddr, mode: &Arc<AtomicU8>) -> FakeServer {
    let mode = mode.clone();
    FakeServer::start(move |asked| {
        let forward = || {
            let headers: Vec<(&str, &str)> = asked
                .headers
                .iter()
                .filter(|(name, _)| name.starts_with("content-") && name != "content-length")
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            match request(to, "POST", &asked.path, &headers, &asked.body) {
                Ok(response) => Reply::Body(response.status, "text/plain", response.text()),
                Err(_) => Reply::status(503),
            }
        };
        match mode.load(Ordering::SeqCst) {
            FORWARD => forward(),
            FORWARD_AND_FAIL => {
                let _ = forward();
                Reply::status(500)
            }
            FAIL => Reply::status(500),
            TOO_MANY => Reply::Headers(429, &["Retry-After: 0"]),
            _ => Reply::Hang,
        }
    })
}

#[test]
fn nothing_is_lost_while_the_receiver_fails_and_the_process_is_killed() {
    let Some(prometheus) = receiver() else { return };
    let mode = Arc::new(AtomicU8::new(FAIL));
    let relay = between(prometheus.address(), &mode);
    let (home, target) = (Home::new(), target());
    let more = format!(
        "{}  remote_timeout: 1s\n",
        QUICK.replace("capacity", "retry_on_http_429: true, capacity")
    );
    let config = config(&home, &target, &relay.url("/api/v1/write"), &more);
    let mut server = Server::prometheus(&home, &config, &[]);
    let path = "/api/v1/write";
    for (round, bad) in [FAIL, TOO_MANY, HANG, FORWARD_AND_FAIL, FORWARD]
        .into_iter()
        .enumerate()
    {
        mode.store(bad, Ordering::SeqCst);
        let (asked, scraped) = (relay.requests(path).len(), target.scrapes());
        eventually(60, "it is tried, and scraped meanwhile", || {
            let enough = relay.requests(path).len() > asked + 3 && target.scrapes() > scraped + 10;
            enough.then_some(())
        });
        if round % 2 == 0 {
            server.kill();
        } else {
            assert!(server.stop(Signal::TERM).success());
        }
        server = Server::prometheus(&home, &config, &[]);
        mode.store(FORWARD, Ordering::SeqCst);
        let asked = relay.requests(path).len();
        eventually(60, "it goes on", || {
            (relay.requests(path).len() > asked + 10).then_some(())
        });
    }
    assert_arrives(&server, prometheus.address(), 1000);
}

#[test]
fn what_is_refused_is_dropped_and_counted() {
    let refuser = FakeServer::start(|_| Reply::Body(400, "text/plain", "not that".to_owned()));
    let (home, target) = (Home::new(), target());
    let server = Server::prometheus(&home, &config(&home, &target, &refuser.url("/w"), QUICK), &[]);
    let metric = |name: &str| server.own_metric(&format!("prometheus_remote_storage_{name}")).unwrap();
    eventually(30, "samples are refused", || {
        (metric("samples_failed_total") >= 200.0).then_some(())
    });
    assert_eq!((metric("samples_total"), metric("samples_retried_total")), (0.0, 0.0));
    let log = server.log();
    let told = log.iter().find(|line| line.contains("the receiver refuses samples"));
    assert!(
        told.is_some_and(|line| line.contains("not that") && line.contains("remote_name=r")),
        "{told:?}"
    );
    for asked in refuser.requests("/w") {
        assert_eq!(asked.header("content-encoding"), "snappy");
        assert_eq!(asked.header("content-type"), "application/x-protobuf");
        assert_eq!(asked.header("x-prometheus-remote-write-version"), "0.1.0");
        assert!(asked.header("user-agent").starts_with("Prometheus/"), "{asked:?}");
        assert_eq!(asked.header("retry-attempt"), "");
    }
}

#[test]
fn the_second_version_counts_what_the_receiver_says() {
    let taker = FakeServer::start(|_| {
        Reply::Headers(
            204,
            &[
                "X-Prometheus-Remote-Write-Samples-Written: 1",
                "X-Prometheus-Remote-Write-Histograms-Written: 0",
            ],
        )
    });
    let (home, target) = (Home::new(), target());
    let more = format!("{QUICK}  protobuf_message: io.prometheus.write.v2.Request\n");
    let server = Server::prometheus(&home, &config(&home, &target, &taker.url("/w"), &more), &[]);
    let metric = |name: &str| server.own_metric(&format!("prometheus_remote_storage_{name}")).unwrap();
    eventually(30, "messages are sent", || {
        (metric("samples_total") >= 10.0).then_some(())
    });
    assert!(metric("samples_failed_total") > metric("samples_total"));
    let requests = taker.requests("/w");
    let asked = requests.first().unwrap();
    let kind = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    assert_eq!(asked.header("content-type"), kind);
    assert_eq!(asked.header("x-prometheus-remote-write-version"), "2.0.0");
}

#[test]
fn a_receiver_that_hangs_costs_no_memory_and_no_reload_disturbs_it() {
    let hanging = FakeServer::start(|_| Reply::Hang);
    let (home, target) = (Home::new(), target());
    let path = config(&home, &target, &hanging.url("/w"), QUICK);
    let server = Server::prometheus(&home, &path, &[]);
    eventually(30, "it is asked by all shards", || {
        (hanging.requests("/w").len() >= 3).then_some(())
    });
    let metric = |name: &str| server.own_metric(&format!("prometheus_remote_storage_{name}")).unwrap();
    let scraped = target.scrapes();
    eventually(60, "more is scraped than queues hold", || {
        (target.scrapes() > scraped + 80).then_some(())
    });
    // Four queues of 200, four messages of 30, and one reading of 10,000 at most that waits for room.
    assert!(metric("samples_pending") < 11_000.0);
    let asked = hanging.requests("/w").len();
    server.hang_up();
    let loaded = |line: &String| line.contains("configuration loaded");
    eventually(30, "it has reloaded", || server.log().iter().any(loaded).then_some(()));
    assert_eq!(hanging.requests("/w").len(), asked);
    // A destination that is gone takes its metrics and its place along.
    let yaml = std::fs::read_to_string(&path).unwrap();
    let (before, _) = yaml.split_once("remote_write:").unwrap();
    home.write("prometheus.yml", before);
    server.hang_up();
    eventually(30, "its metrics are gone", || {
        let is_gone = server.own_metric("prometheus_remote_storage_shards").is_none();
        let folder = std::fs::read_dir(home.data().join("cupola-remote-write"));
        (is_gone && folder.ok()?.next().is_none()).then_some(())
    });
}

#[test]
fn victoria_metrics_gets_what_was_scraped() {
    let Some(victoria) = VictoriaMetrics::start() else {
        return;
    };
    let (home, target) = (Home::new(), target());
    let url = format!("http://{}/api/v1/write", victoria.address());
    let server = Server::prometheus(&home, &config(&home, &target, &url, QUICK), &[]);
    let time = eventually(60, "enough is scraped", || {
        let now = now_ms();
        (count(&sent(server.address(), now)) >= 500).then_some(now)
    });
    let values = |address, query: &str| {
        let all = matrix(address, query, time);
        let mut all: Vec<String> = all
            .iter()
            .map(|series| format!("{} {}", series["metric"]["a"], series["values"]))
            .collect();
        all.sort();
        all
    };
    let query = "made_up_total{job=\"j\"}[10m]";
    let expected = values(server.address(), query);
    assert_eq!(expected.len(), 20);
    eventually(60, "everything can be asked for", || {
        (values(victoria.address(), query) == expected).then_some(())
    });
}

fn uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn label(name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    field(&mut out, 1, name.as_bytes());
    field(&mut out, 2, value.as_bytes());
    out
}

fn double(out: &mut Vec<u8>, number: u8, value: f64) {
    out.push(number << 3 | 1);
    out.extend(value.to_le_bytes());
}

fn number(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    uvarint(out, value);
}

// A native histogram with an exemplar, and a float with one, as remote write sends them: snappy without compression.
fn histogram_and_exemplars(ts: i64) -> Vec<u8> {
    let mut histogram = Vec::new();
    number(&mut histogram, 1, 12);
    double(&mut histogram, 3, 17.5);
    number(&mut histogram, 4, 1 << 1);
    double(&mut histogram, 5, 0.001);
    number(&mut histogram, 6, 2);
    field(&mut histogram, 11, &[1 << 3, 2 << 1, 2 << 3, 3]);
    // 3, 6 and 1.
    field(&mut histogram, 12, &[6, 6, 9]);
    number(&mut histogram, 15, ts as u64);
    let mut sample = Vec::new();
    double(&mut sample, 1, 4.0);
    number(&mut sample, 2, ts as u64);
    let mut message = Vec::new();
    for (name, kind, value) in [("native", 4, &histogram), ("plain", 2, &sample)] {
        let mut exemplar = Vec::new();
        field(&mut exemplar, 1, &label("trace_id", name));
        double(&mut exemplar, 2, 0.25);
        number(&mut exemplar, 3, ts as u64);
        let mut series = Vec::new();
        field(&mut series, 1, &label("__name__", name));
        field(&mut series, 1, &label("job", "j"));
        field(&mut series, kind, value);
        field(&mut series, 3, &exemplar);
        field(&mut message, 1, &series);
    }
    let mut packed = Vec::new();
    uvarint(&mut packed, message.len() as u64);
    packed.push(61 << 2);
    packed.extend((message.len() as u16 - 1).to_le_bytes());
    packed.extend(message);
    packed
}

#[test]
fn native_histograms_and_exemplars_are_sent_on() {
    let features = "--enable-feature=native-histograms,exemplar-storage";
    let args = ["--web.enable-remote-write-receiver", features];
    let Some(prometheus) = Prometheus::start(Home::new(), &args) else {
        return;
    };
    let (home, target) = (Home::new(), target());
    let url = format!("http://{}/api/v1/write", prometheus.address());
    let more = format!("{QUICK}  send_exemplars: true\n  send_native_histograms: true\n");
    let server = Server::prometheus(
        &home,
        &config(&home, &target, &url, &more),
        &["--web.enable-remote-write-receiver"],
    );
    let now = now_ms();
    let headers = [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
    ];
    let body = histogram_and_exemplars(now);
    let answer = request(server.address(), "POST", "/api/v1/write", &headers, &body).unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
    let number = |address, query: &str| {
        let all = matrix(address, query, now);
        all.first()
            .map(|series| series["value"][1].as_str().unwrap().parse::<f64>().unwrap())
    };
    for query in [
        "histogram_count(native)",
        "histogram_sum(native)",
        "histogram_quantile(1, native)",
    ] {
        let expected = number(server.address(), query).unwrap();
        let arrived = eventually(30, query, || number(prometheus.address(), query));
        assert_eq!(arrived, expected, "{query}");
    }
    // What lies in which bucket: boundaries' kind, both boundaries, population.
    let buckets = |address| {
        let all = matrix(address, "native", now);
        let numbers = all[0]["histogram"][1]["buckets"].as_array().unwrap().clone();
        let numbers = numbers.into_iter().map(|bucket| {
            let parts = bucket.as_array().unwrap().clone();
            let parse = |part: Value| match part {
                Value::String(text) => text.parse().unwrap(),
                other => other.as_f64().unwrap(),
            };
            parts.into_iter().map(parse).collect::<Vec<f64>>()
        });
        numbers.collect::<Vec<_>>()
    };
    let expected = buckets(server.address());
    assert_eq!((expected.len(), &buckets(prometheus.address())), (4, &expected));
    let exemplars = |address| {
        let seconds = now as f64 / 1000.0;
        let path = format!(
            "/api/v1/query_exemplars?query={}&start={:.3}&end={:.3}",
            url_encode("{job=\"j\"}"),
            seconds - 60.0,
            seconds + 60.0
        );
        let json = get(address, &path).unwrap().json();
        let mut all: Vec<String> = json["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["exemplars"].to_string())
            .collect();
        all.sort();
        all
    };
    let expected = exemplars(server.address());
    assert_eq!(expected.len(), 2, "{expected:?}");
    eventually(30, "exemplars arrive", || {
        (exemplars(prometheus.address()) == expected).then_some(())
    });
    let metric = |name: &str| server.own_metric(&format!("prometheus_remote_storage_{name}")).unwrap();
    assert_eq!((metric("histograms_total"), metric("exemplars_total")), (1.0, 2.0));
    assert_eq!(
        (metric("histograms_in_total"), metric("histograms_pending")),
        (1.0, 0.0)
    );
}

#[test]
fn what_waits_for_a_message_to_fill_is_sent_before_the_end() {
    let Some(prometheus) = receiver() else { return };
    let (home, target) = (Home::new(), target());
    let url = format!("http://{}/api/v1/write", prometheus.address());
    let slow = "  queue_config: {batch_send_deadline: 1h, max_samples_per_send: 100000, capacity: 1000000}\n";
    let mut server = Server::prometheus(&home, &config(&home, &target, &url, slow), &[]);
    let now = eventually(60, "enough is scraped", || {
        let now = now_ms();
        (count(&sent(server.address(), now)) >= 300).then_some(now)
    });
    let expected = sent(server.address(), now);
    assert_eq!(server.own_metric("prometheus_remote_storage_samples_total"), Some(0.0));
    assert!(server.stop(Signal::TERM).success());
    assert_eq!(matrix(prometheus.address(), "{job=\"j\"}[10m]", now), expected);
}

#[test]
fn samples_past_their_age_are_dropped_and_the_rest_is_sent() {
    let Some(prometheus) = receiver() else { return };
    let mode = Arc::new(AtomicU8::new(FAIL));
    let relay = between(prometheus.address(), &mode);
    let (home, target) = (Home::new(), target());
    let more = QUICK.replace("capacity", "sample_age_limit: 1s, capacity");
    let server = Server::prometheus(&home, &config(&home, &target, &relay.url("/api/v1/write"), &more), &[]);
    let dropped = "prometheus_remote_storage_samples_dropped_total";
    let old = |server: &Server| {
        let text = server.get("/metrics").text();
        let line = text
            .lines()
            .find(|line| line.starts_with(dropped) && line.contains("reason=\"too_old\""));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    eventually(60, "samples become too old", || (old(&server) >= 100.0).then_some(()));
    mode.store(FORWARD, Ordering::SeqCst);
    eventually(60, "the rest arrives", || {
        let newest = matrix(prometheus.address(), "count(made_up_total)", now_ms());
        (newest.first()?["value"][1] == "20").then_some(())
    });
    assert_eq!(
        server.own_metric("prometheus_remote_storage_samples_failed_total"),
        Some(0.0)
    );
}

#[test]
fn stock_alerts_about_remote_write_have_what_they_ask_for() {
    let mode = Arc::new(AtomicU8::new(FAIL));
    let answer = mode.clone();
    let failing = FakeServer::start(move |_| match answer.load(Ordering::SeqCst) {
        FAIL => Reply::status(500),
        _ => Reply::status(400),
    });
    let (home, target) = (Home::new(), target());
    let path = config(&home, &target, &failing.url("/w"), QUICK);
    let server = Server::prometheus(&home, &path, &[]);
    // It watches itself, too.
    let yaml = std::fs::read_to_string(&path).unwrap().replacen(
        "scrape_configs:\n",
        &format!(
            "scrape_configs:\n- job_name: own\n  static_configs: [{{targets: ['{}']}}]\n",
            server.address()
        ),
        1,
    );
    home.write("prometheus.yml", &yaml);
    server.hang_up();
    // PrometheusRemoteWriteBehind without its limit.
    let behind = "max_over_time(prometheus_remote_storage_queue_highest_timestamp_seconds{job=\"own\"}[5m]) \
                  - max_over_time(prometheus_remote_storage_queue_highest_sent_timestamp_seconds{job=\"own\"}[5m])";
    eventually(60, "it is behind", || {
        let found = server.query(behind);
        let one = found.first()?;
        (one.label("remote_name") == "r" && one.label("url") == failing.url("/w") && one.value > 1.0).then_some(())
    });
    // PrometheusRemoteWriteDesiredShards the other way round.
    let shards = "max_over_time(prometheus_remote_storage_shards_desired{job=\"own\"}[5m]) \
                  <= max_over_time(prometheus_remote_storage_shards_max{job=\"own\"}[5m])";
    assert_eq!(server.query(shards).len(), 1);
    mode.store(FORWARD, Ordering::SeqCst);
    // PrometheusRemoteStorageFailures.
    let failures = "(rate(prometheus_remote_storage_failed_samples_total{job=\"own\"}[5m]) \
                    or rate(prometheus_remote_storage_samples_failed_total{job=\"own\"}[5m])) \
                    / ((rate(prometheus_remote_storage_failed_samples_total{job=\"own\"}[5m]) \
                    or rate(prometheus_remote_storage_samples_failed_total{job=\"own\"}[5m])) \
                    + (rate(prometheus_remote_storage_succeeded_samples_total{job=\"own\"}[5m]) \
                    or rate(prometheus_remote_storage_samples_total{job=\"own\"}[5m]))) * 100 > 1";
    eventually(60, "failures are seen", || {
        (server.value(failures)? == 100.0).then_some(())
    });
}
