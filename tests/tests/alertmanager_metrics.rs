//! Every series that Alertmanager was recorded to have (`recorded/metrics_exposition_0_25.json`, `timing_metrics.json`) is
//! one of ours, by name and labels; values are of the run.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::BTreeSet;
use std::path::Path;

use cupola_tests::{Home, Server, conformance};
use serde_json::Value;

fn series(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .filter(|name| name.starts_with("alertmanager_"))
        .collect()
}

// How newer versions begin the series; nothing where they have it no more.
fn newer(series: &str) -> Option<String> {
    if series.starts_with("alertmanager_build_info{") {
        return Some("alertmanager_build_info{".to_owned());
    }
    // There is no version 1 of the API any more.
    if series.contains("version=\"v1\"") {
        return None;
    }
    // Failures are counted by their reason, too, and requests by their status.
    if series.starts_with("alertmanager_notifications_failed_total{") {
        return Some(series.replace('}', ",reason=\""));
    }
    if series.starts_with("alertmanager_http_request_duration_seconds") {
        return Some(series.replace("method=\"get\"", "method=\"get\",code=\"200\""));
    }
    Some(series.to_owned())
}

fn json(dir: &Path, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(dir.join(name)).unwrap()).unwrap()
}

#[test]
fn every_recorded_series_of_alertmanager_is_there() {
    let Some(dir) = conformance("alertmanager/recorded") else {
        return;
    };
    let exposition = json(&dir, "metrics_exposition_0_25.json");
    let mut recorded = series(exposition["text"].as_str().unwrap());
    for line in json(&dir, "timing_metrics.json").as_array().unwrap() {
        recorded.extend(series(line.as_str().unwrap()));
    }
    let home = Home::new();
    let server = Server::alertmanager(&home, &dir.join("rec1.yml"), &[]);
    // Requests are counted by their address; the recorded one was asked this.
    assert_eq!(server.get("/-/ready").status, 200);
    let ours = series(&server.get("/metrics").text());
    let wanted: BTreeSet<String> = recorded.iter().filter_map(|one| newer(one)).collect();
    let is_there = |wanted: &str| match wanted.ends_with(['{', '"']) {
        true => ours.iter().any(|one| one.starts_with(wanted)),
        false => ours.contains(wanted),
    };
    let missing: Vec<&String> = wanted.iter().filter(|wanted| !is_there(wanted)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(wanted.len() >= 200, "only {} series", wanted.len());
}
