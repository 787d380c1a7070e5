//! Cupola in the place of a Prometheus that was stopped, on its data folder.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use cupola_tests::{FakeTarget, Home, Prometheus, Server, eventually, get, url_encode};
use rustix::process::Signal;
use serde_json::Value;

// All samples before `time`, by labels.
fn samples(address: SocketAddr, time: &Value) -> BTreeMap<String, Value> {
    let path = format!("/api/v1/query?query={}&time={time}", url_encode("{job=\"j\"}[5m]"));
    let mut json = get(address, &path).unwrap().json();
    let all: Vec<Value> = serde_json::from_value(json["data"]["result"].take()).unwrap();
    all.into_iter()
        .map(|series| (series["metric"].to_string(), series["values"].clone()))
        .collect()
}

// Every file below a folder with its size.
fn files(dir: &Path) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                out.insert(entry.path().display().to_string(), entry.metadata().unwrap().len());
            }
        }
    }
    out
}

fn check(end: impl Fn(Prometheus) -> Home) {
    let target = FakeTarget::computed(|n| format!("made_up_total{{a=\"x\"}} {n}\nmade_up{{a=\"y\"}} {}.125\n", n * 3));
    let yaml = format!(
        "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\n\
         scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['{}']}}]\n",
        target.address()
    );
    let Some(prometheus) = Prometheus::with_config(Home::new(), &yaml, &[]) else {
        return;
    };
    // More than a chunk of 120 samples would take too long; crates/wlog has that.
    let last = eventually(30, "twenty samples", || {
        let path = format!("/api/v1/query?query={}", url_encode("made_up_total[5m]"));
        let json = get(prometheus.address(), &path).ok()?.json();
        let values = json["data"]["result"].get(0)?["values"].as_array()?;
        values.last().filter(|_| values.len() >= 20)?.get(0).cloned()
    });
    let theirs = samples(prometheus.address(), &last);
    assert!(theirs.len() >= 7, "{theirs:?}");
    let home = end(prometheus);
    let wal = files(&home.data().join("wal"));
    // Its own configuration would scrape on.
    let config = home.write("quiet.yml", "global: {scrape_interval: 1m}\n");
    for round in 0..3 {
        let mut server = Server::prometheus(&home, &config, &[]);
        assert_eq!(samples(server.address(), &last), theirs, "start {round}");
        let read = server
            .log()
            .iter()
            .any(|line| line.contains("Prometheus's log was taken over"));
        assert_eq!(read, round == 0, "it is read once");
        match round {
            0 => server.kill(),
            _ => drop(server.stop(Signal::TERM)),
        }
    }
    assert_eq!(files(&home.data().join("wal")), wal, "its files stay as they are");
}

#[test]
fn the_folder_of_a_prometheus_that_was_killed_is_served() {
    check(Prometheus::kill);
}

#[test]
fn the_folder_of_a_prometheus_that_ended_by_itself_is_served() {
    check(Prometheus::stop);
}
