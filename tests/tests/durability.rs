//! What was shown once is there again, whatever ended the process.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cupola_tests::{FakeTarget, Home, Server, cupola, eventually, now_ms, run};
use rustix::process::Signal;
use serde_json::Value;

/// Fifty series of every kind of number that a float can be.
fn busy_target() -> FakeTarget {
    FakeTarget::computed(|n| {
        let n = n as f64;
        let mut text = "odd{kind=\"nan\"} NaN\nodd{kind=\"inf\"} +Inf\nodd{kind=\"minus\"} -Inf\n".to_owned();
        text.push_str(&format!(
            "odd{{kind=\"tiny\"}} {:e}\nodd{{kind=\"zero\"}} -0\n",
            5e-324 * (n + 1.0)
        ));
        for i in 0..45 {
            let value = (n + f64::from(i) / 7.0).sin() * 10f64.powi(i - 20);
            text.push_str(&format!("thing_total{{i=\"{i}\"}} {value:e}\n"));
        }
        text
    })
}

fn config(home: &Home, target: &FakeTarget) -> PathBuf {
    let text = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
         scrape_configs:\n- job_name: busy\n  static_configs: [{{targets: ['{}']}}]\n",
        target.address()
    );
    home.write("prometheus.yml", &text)
}

type Samples = BTreeSet<(String, String, String)>;

/// All samples up to `at_ms`: series, timestamp, value, each exactly as the API wrote it.
fn samples(server: &Server, at_ms: i64) -> Samples {
    let at = format!("{:.3}", at_ms as f64 / 1000.0);
    let data = server.api("/api/v1/query", &[("query", "{job=\"busy\"}[10m]"), ("time", &at)]);
    assert_eq!(data["resultType"], "matrix");
    let mut found = BTreeSet::new();
    for series in data["result"].as_array().unwrap() {
        let labels: BTreeMap<String, Value> = serde_json::from_value(series["metric"].clone()).unwrap();
        for point in series["values"].as_array().unwrap() {
            found.insert((
                format!("{labels:?}"),
                point[0].to_string(),
                point[1].as_str().unwrap().to_owned(),
            ));
        }
    }
    found
}

fn wait_for_more(target: &FakeTarget, scrapes: u64) {
    let then = target.scrapes();
    eventually(20, "the target is scraped", || {
        (target.scrapes() >= then + scrapes).then_some(())
    });
}

#[test]
fn kill_9_loses_no_sample_that_was_shown() {
    let target = busy_target();
    let home = Home::new();
    let config = config(&home, &target);
    let mut shown = Samples::new();
    // Each round also proves that what an earlier one left is not harmed by the next.
    for round in 0..4 {
        let mut server = Server::prometheus(&home, &config, &[]);
        wait_for_more(&target, 5);
        let now = now_ms();
        let before = samples(&server, now);
        let lost: Vec<_> = shown.difference(&before).take(5).collect();
        assert!(
            lost.is_empty(),
            "round {round}: shown before kill -9 and gone after it: {lost:?}"
        );
        assert!(before.len() > shown.len(), "round {round}: nothing new was stored");
        let params = [
            (
                "query",
                "sum by (i) (thing_total) + on () group_left () max(odd{kind=\"tiny\"})",
            ),
            ("start", &*format!("{:.3}", (now - 3000) as f64 / 1000.0)),
            ("end", &*format!("{:.3}", (now - 1000) as f64 / 1000.0)),
            ("step", "0.1"),
        ];
        let range = server.api("/api/v1/query_range", &params);
        server.kill();

        let mut server = Server::prometheus(&home, &config, &[]);
        assert_eq!(server.api("/api/v1/query_range", &params), range, "round {round}");
        let after = samples(&server, now);
        let lost: Vec<_> = before.difference(&after).take(5).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
        assert!(
            !server.log().iter().any(|l| l.contains("level=ERROR")),
            "{:?}",
            server.log()
        );
        shown = after;
        server.kill();
    }
    // No series came twice: each timestamp of a series has one value.
    let points: BTreeSet<_> = shown.iter().map(|(series, ts, _)| (series, ts)).collect();
    assert_eq!(points.len(), shown.len(), "a sample has two values");
}

#[test]
fn a_clean_stop_and_a_start_continue_the_series() {
    let target = busy_target();
    let home = Home::new();
    let config = config(&home, &target);
    let mut server = Server::prometheus(&home, &config, &[]);
    wait_for_more(&target, 4);
    let now = now_ms();
    let before = samples(&server, now);
    assert_eq!(server.stop(Signal::TERM).code(), Some(0));
    let server = Server::prometheus(&home, &config, &[]);
    assert!(before.is_subset(&samples(&server, now)), "a clean stop lost samples");
    eventually(20, "new samples of the same series", || {
        let found = server.query("count_over_time(thing_total{i=\"3\"}[1m])");
        (found.len() == 1 && found[0].value > 5.0).then_some(())
    });
}

#[test]
fn a_torn_record_costs_that_record_and_nothing_else() {
    let target = busy_target();
    let home = Home::new();
    let config = config(&home, &target);
    let mut server = Server::prometheus(&home, &config, &[]);
    wait_for_more(&target, 6);
    let now = now_ms();
    let before = samples(&server, now);
    server.kill();

    // As a power cut may leave it: the last record is cut off in its middle.
    let segment = last_segment(&home.data());
    let len = std::fs::metadata(&segment).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.set_len(len - 3).unwrap();

    let mut server = Server::prometheus(&home, &config, &[]);
    assert_eq!(server.own_metric("prometheus_tsdb_wal_corruptions_total"), Some(1.0));
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(
        server.log().iter().any(|l| l.contains("damage") && l.contains(name)),
        "{:?}",
        server.log()
    );
    let after = samples(&server, now);
    let lost: BTreeSet<&String> = before.difference(&after).map(|(_, ts, _)| ts).collect();
    // The cut record may be one that came after the query; a scrape is one record.
    assert!(lost.len() <= 1, "samples of several scrapes are gone: {lost:?}");
    // What is written behind the damage survives as well.
    wait_for_more(&target, 4);
    let now = now_ms();
    let before = samples(&server, now);
    assert!(before.len() > after.len());
    server.kill();
    let server = Server::prometheus(&home, &config, &[]);
    assert!(
        before.is_subset(&samples(&server, now)),
        "samples behind a damage are gone"
    );
}

#[test]
fn noise_in_the_log_ends_one_segment_only() {
    let target = busy_target();
    let home = Home::new();
    let config = config(&home, &target);
    let mut server = Server::prometheus(&home, &config, &[]);
    wait_for_more(&target, 4);
    let now = now_ms();
    let before = samples(&server, now);
    server.kill();
    let segment = last_segment(&home.data());
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes.extend((0..10_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    std::fs::write(&segment, bytes).unwrap();
    let server = Server::prometheus(&home, &config, &[]);
    assert!(
        before.is_subset(&samples(&server, now)),
        "noise behind the records cost records"
    );
    assert_eq!(server.own_metric("prometheus_tsdb_wal_corruptions_total"), Some(1.0));
}

#[test]
fn a_second_instance_on_the_same_folder_is_refused_and_the_first_unharmed() {
    let target = busy_target();
    let home = Home::new();
    let config = config(&home, &target);
    let server = Server::prometheus(&home, &config, &[]);
    let data = home.data().display().to_string();
    for args in [
        vec![
            "up".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--data={data}"),
        ],
        vec![
            "prometheus".to_owned(),
            "--web.listen-address=127.0.0.1:0".to_owned(),
            format!("--storage.tsdb.path={data}"),
            format!("--config.file={}", config.display()),
        ],
    ] {
        let second = run(cupola(&args).current_dir(home.path()), b"");
        assert_eq!(second.code, Some(1), "{args:?}: {}", second.stderr);
        assert!(
            second.stderr.contains("another process holds it"),
            "{args:?}: {}",
            second.stderr
        );
        assert!(second.stderr.contains(&data), "{args:?}: {}", second.stderr);
        assert!(!second.stderr.contains("panicked"), "{args:?}: {}", second.stderr);
    }
    wait_for_more(&target, 3);
    eventually(20, "the first one still stores", || {
        server.value("up").filter(|up| *up == 1.0)
    });
}

fn last_segment(data: &Path) -> PathBuf {
    let names = std::fs::read_dir(data.join("cupola-wal"))
        .unwrap()
        .flatten()
        .map(|e| e.path());
    let segments = names.filter(|p| p.file_name().unwrap().to_str().unwrap().parse::<u64>().is_ok());
    segments.max().expect("there is a segment")
}
