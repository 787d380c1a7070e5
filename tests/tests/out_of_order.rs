//! Samples that come out of order: in Debian's Prometheus and then in Cupola, and the other way, and while Cupola still
//! reads its log.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::SocketAddr;
use std::process::Command;

use cupola_tests::{FakeTarget, Home, Prometheus, Server, cupola, eventually, get, now_ms, request, run, url_encode};
use rustix::process::Signal;
use serde_json::Value;

fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

// A field of a protobuf message that has a length.
fn put_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

// One series of a `prometheus.WriteRequest` in snappy's block format, without compression.
fn message(name: &str, samples: &[(i64, f64)]) -> Vec<u8> {
    let mut label = Vec::new();
    put_field(&mut label, 1, b"__name__");
    put_field(&mut label, 2, name.as_bytes());
    let mut series = Vec::new();
    put_field(&mut series, 1, &label);
    for (ts, value) in samples {
        let mut sample = vec![1 << 3 | 1];
        sample.extend_from_slice(&value.to_le_bytes());
        sample.push(2 << 3);
        put_uvarint(&mut sample, *ts as u64);
        put_field(&mut series, 2, &sample);
    }
    let mut plain = Vec::new();
    put_field(&mut plain, 1, &series);
    let mut out = Vec::new();
    put_uvarint(&mut out, plain.len() as u64);
    for part in plain.chunks(60) {
        out.push((part.len() as u8 - 1) << 2);
        out.extend_from_slice(part);
    }
    out
}

fn write(address: SocketAddr, name: &str, samples: &[(i64, f64)]) -> u16 {
    let headers = [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
    ];
    let body = message(name, samples);
    let response = request(address, "POST", "/api/v1/write", &headers, &body).unwrap();
    response.status
}

fn samples(address: SocketAddr, time: i64) -> Vec<Value> {
    let time = format!("{}.{:03}", time / 1000, time % 1000);
    let path = format!(
        "/api/v1/query?query={}&time={time}",
        url_encode("{__name__=~\"late_.*\"}[1h]")
    );
    let mut json = get(address, &path).unwrap().json();
    let mut all: Vec<Value> = serde_json::from_value(json["data"]["result"].take()).unwrap();
    all.sort_by_key(|series| series["metric"].to_string());
    all
}

// Three series, in three orders, each within 25 minutes: forth, back, and first the second half. More than one chunk of
// samples out of order, of which a Prometheus takes 32. All are written one message a sample, as a queue does at worst.
fn write_all(address: SocketAddr, now: i64) {
    let at = |n: i64| (now - n * 10_000, n as f64 / 8.0);
    for n in (0..150).rev() {
        assert!(matches!(write(address, "late_not", &[at(n)]), 200 | 204));
    }
    for n in 0..150 {
        assert!(matches!(write(address, "late_all", &[at(n)]), 200 | 204), "{n}");
    }
    for n in (0..75).rev().chain((75..150).rev()) {
        assert!(matches!(write(address, "late_half", &[at(n)]), 200 | 204), "{n}");
    }
}

const QUIET: &str = "global: {scrape_interval: 1m}\n";
const WINDOW: &str = "global: {scrape_interval: 1m}\nstorage: {tsdb: {out_of_order_time_window: 30m}}\n";
const RECEIVER: &str = "--web.enable-remote-write-receiver";

fn check_take_over(end: impl Fn(Prometheus) -> Home) {
    let Some(prometheus) = Prometheus::with_config(Home::new(), WINDOW, &[RECEIVER]) else {
        return;
    };
    let now = now_ms();
    write_all(prometheus.address(), now);
    let theirs = samples(prometheus.address(), now);
    let counts: Vec<usize> = theirs
        .iter()
        .map(|series| series["values"].as_array().unwrap().len())
        .collect();
    assert_eq!(counts, [150; 3]);
    let home = end(prometheus);
    // Whatever the window is by then.
    let config = home.write("quiet.yml", QUIET);
    for round in 0..3 {
        let mut server = Server::prometheus(&home, &config, &[]);
        assert_eq!(samples(server.address(), now), theirs, "start {round}");
        match round {
            0 => server.kill(),
            _ => drop(server.stop(Signal::TERM)),
        }
    }
}

#[test]
fn samples_out_of_order_of_a_prometheus_that_was_killed_are_served() {
    check_take_over(Prometheus::kill);
}

#[test]
fn samples_out_of_order_of_a_prometheus_that_ended_by_itself_are_served() {
    check_take_over(Prometheus::stop);
}

#[test]
fn a_reload_opens_the_window_and_prometheus_reads_what_came_through_it() {
    let home = Home::new();
    let config = home.write("prometheus.yml", QUIET);
    let args = [RECEIVER, "--web.enable-admin-api"];
    let mut server = Server::prometheus(&home, &config, &args);
    let now = now_ms();
    let first = [(now, 0.0)];
    assert!(matches!(write(server.address(), "late_all", &first), 200 | 204));
    assert_eq!(write(server.address(), "late_all", &[(now - 60_000, 0.75)]), 400);
    home.write("prometheus.yml", WINDOW);
    server.hang_up();
    eventually(20, "the window is open", || {
        let status = write(server.address(), "late_all", &[(now - 60_000, 0.75)]);
        matches!(status, 200 | 204).then_some(())
    });
    write_all(server.address(), now);
    assert_eq!(write(server.address(), "late_all", &[(now - 31 * 60_000, 1.0)]), 400);
    let ours = samples(server.address(), now);
    let counts: Vec<usize> = ours
        .iter()
        .map(|series| series["values"].as_array().unwrap().len())
        .collect();
    assert_eq!(counts, [150; 3]);
    server.kill();
    // Closed again, which changes nothing of what was taken.
    home.write("prometheus.yml", QUIET);
    let server = Server::prometheus(&home, &config, &args);
    assert_eq!(samples(server.address(), now), ours);
    let snapshot = request(server.address(), "POST", "/api/v1/admin/tsdb/snapshot", &[], b"").unwrap();
    let name = snapshot.json()["data"]["name"].as_str().unwrap().to_owned();
    let theirs = Home::new();
    let copy = home.data().join("snapshots").join(name);
    std::fs::rename(copy, theirs.data()).unwrap();
    if let Some(prometheus) = Prometheus::start(theirs, &[]) {
        assert_eq!(samples(prometheus.address(), now), ours);
    }
}

#[test]
fn a_server_that_is_killed_again_and_again_while_it_reads_its_log_loses_nothing() {
    let target = FakeTarget::computed(|n| format!("late_scraped {n}\n"));
    let home = Home::new();
    home.write(
        "rules.yml",
        "groups:\n- name: g\n  interval: 100ms\n  rules: [{record: recorded, expr: vector(1)}]\n",
    );
    let yaml = format!(
        "global: {{scrape_interval: 100ms, scrape_timeout: 100ms}}\nrule_files: [rules.yml]\n\
         scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['{}']}}]\n",
        target.address()
    );
    let config = home.write("prometheus.yml", &yaml);
    let mut server = Server::prometheus(&home, &config, &[RECEIVER]);
    let now = now_ms();
    for n in (0..20).rev() {
        assert!(matches!(
            write(server.address(), "late_a", &[(now - n * 1000, n as f64)]),
            200 | 204
        ));
    }
    server.kill();
    // Reading this segment takes until somebody has written it.
    let slow = home.data().join("cupola-wal/00000005");
    let made = run(Command::new("mkfifo").arg(&slow), b"");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let start = || {
        let mut command = cupola(["prometheus", "--web.listen-address=127.0.0.1:0", RECEIVER]);
        command.arg(format!("--storage.tsdb.path={}", home.data().display()));
        command.arg(format!("--config.file={}", config.display()));
        Server::start_reading(command.current_dir(home.path()))
    };
    let warnings = |server: &Server| server.ask("/api/v1/query", &[("query", "late_a")]).json()["warnings"].to_string();
    for round in 0..3 {
        let mut server = start();
        let progress = server.api("/api/v1/status/walreplay", &[]);
        assert_eq!(
            (&progress["done"], &progress["max"]),
            (&Value::from(false), &Value::from(5 + round)),
            "{progress}"
        );
        assert!(warnings(&server).contains("still being read"), "{}", warnings(&server));
        // Older than what the log holds, which the server cannot know yet.
        assert!(matches!(
            write(server.address(), "late_a", &[(now - 4500 + round, -1.0)]),
            200 | 204
        ));
        let scraped = target.scrapes();
        eventually(20, "the target is scraped", || {
            (target.scrapes() > scraped + 4).then_some(())
        });
        assert_eq!(
            server.query("recorded"),
            [],
            "no rule is evaluated on half of the samples"
        );
        server.kill();
    }
    let mut server = start();
    drop(std::fs::OpenOptions::new().write(true).open(&slow).unwrap());
    server.wait_for_replay();
    assert_eq!(warnings(&server), "null");
    let count = || {
        server
            .query("count_over_time(late_a[1h])")
            .first()
            .map(|sample| sample.value)
    };
    assert_eq!(count(), Some(23.0));
    let evaluated = format!("timestamp(recorded) > {}", now_ms() / 1000);
    eventually(20, "rules are evaluated", || server.value(&evaluated));
    assert_eq!(server.stop(Signal::TERM).code(), Some(0));
    let server = Server::prometheus(&home, &config, &[RECEIVER]);
    assert_eq!(server.value("count_over_time(late_a[1h])"), Some(23.0));
}
