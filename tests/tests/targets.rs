//! Targets of a prometheus.yml: foreign ones, broken ones, and what a reload does to them.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::SocketAddr;

use cupola_tests::{FakeServer, FakeTarget, Home, NodeExporter, Reply, Server, eventually, free_address};
use serde_json::Value;

fn yml(job: &str, address: SocketAddr) -> String {
    format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\n\
         scrape_configs:\n- job_name: {job}\n  static_configs: [{{targets: ['{address}']}}]\n"
    )
}

fn active(server: &Server) -> Vec<Value> {
    let mut data = server.api("/api/v1/targets", &[("state", "active")]);
    serde_json::from_value(data["activeTargets"].take()).unwrap()
}

fn of_job<'a>(targets: &'a [Value], job: &str) -> Option<&'a Value> {
    targets.iter().find(|t| t["labels"]["job"] == job)
}

#[test]
fn debians_node_exporter_is_scraped_as_a_foreign_target_by_up_and_by_prometheus() {
    let Some(exporter) = NodeExporter::start() else { return };
    let home = Home::new();
    let config = home.write("prometheus.yml", &yml("foreign", exporter.address()));
    let path = format!("--config.file={}", config.display());
    let other = Home::new();
    let servers = [Server::up(&home, &[&path]), Server::prometheus(&other, &config, &[])];
    for server in &servers {
        eventually(20, "the foreign target is up", || {
            server.value("up{job=\"foreign\"}").filter(|up| *up == 1.0)
        });
        let instance = server.query("up{job=\"foreign\"}")[0].label("instance").to_owned();
        assert_eq!(instance, exporter.address().to_string());
        assert!(server.value("count({job=\"foreign\", __name__=~\"node_.*\"})").unwrap() > 300.0);
        assert!(server.value("node_memory_MemTotal_bytes{job=\"foreign\"}").unwrap() > 0.0);
        // go_* have histograms, summaries and exponents: what a foreign exporter writes and our own does not.
        assert!(server.value("count(go_gc_duration_seconds{job=\"foreign\"})").unwrap() >= 5.0);
        let scraped = server.value("scrape_samples_scraped{job=\"foreign\"}").unwrap();
        let stored = server.value("count({job=\"foreign\"})").unwrap();
        // Behind them stand up and four samples about the scrape; optional ones may follow.
        assert!(
            stored >= scraped + 5.0,
            "{scraped} samples were scraped, {stored} series are stored"
        );
        let targets = active(server);
        let target = of_job(&targets, "foreign").unwrap();
        assert_eq!(target["health"], "up");
        assert_eq!(target["scrapeUrl"], format!("http://{}/metrics", exporter.address()));
        assert_eq!(target["lastError"], "");
    }
    let [up, prometheus] = &servers;
    assert!(
        of_job(&active(up), "node-exporter").is_some(),
        "up lost its built-in target"
    );
    assert_eq!(
        active(prometheus).len(),
        1,
        "prometheus scrapes what it was not told to"
    );
}

#[test]
fn targets_and_metrics_are_relabelled_before_they_are_stored() {
    let target = FakeTarget::start(
        "# TYPE kept gauge\nkept{secret=\"1\",shard=\"a\"} 1\nkept{secret=\"2\",shard=\"b\"} 2\ndropped 3\nold_name 4\n",
    );
    let home = Home::new();
    let config = home.write(
        "prometheus.yml",
        &format!(
            r#"
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
- job_name: relabelled
  metrics_path: /some/path
  params: {{mode: [quick]}}
  static_configs:
  - targets: ['{0}', '{0}0']
    labels: {{team: blue}}
  relabel_configs:
  - source_labels: [__address__]
    regex: '.*{1}0'
    action: drop
  - source_labels: [team]
    regex: '(.)(.*)'
    target_label: colour
    replacement: '$1-$2'
  - {{action: labeldrop, regex: team}}
  metric_relabel_configs:
  - {{source_labels: [__name__], regex: dropped, action: drop}}
  - {{source_labels: [__name__], regex: old_(.*), target_label: __name__, replacement: new_$1}}
  - {{action: labeldrop, regex: secret}}
"#,
            target.address(),
            target.address().port(),
        ),
    );
    let server = Server::prometheus(&home, &config, &[]);
    eventually(20, "the target is up", || server.value("up").filter(|up| *up == 1.0));
    assert_eq!(
        server.value("up{job=\"relabelled\", colour=\"b-lue\", team=\"\"}"),
        Some(1.0)
    );
    assert_eq!(server.query("kept{secret=\"\"}").len(), 2);
    assert_eq!(server.value("kept{shard=\"b\"}"), Some(2.0));
    assert_eq!(server.query("dropped").len(), 0);
    assert_eq!(server.query("old_name").len(), 0);
    assert_eq!(server.value("new_name"), Some(4.0));
    assert_eq!(server.value("scrape_samples_scraped"), Some(4.0));
    assert_eq!(server.value("scrape_samples_post_metric_relabeling"), Some(3.0));
    let asked = target.requests("/some/path?mode=quick");
    assert!(
        asked.len() as u64 == target.scrapes() && !asked.is_empty(),
        "the path or its parameters are wrong"
    );
    assert!(
        asked[0].header("accept").contains("text/plain"),
        "{:?}",
        asked[0].headers
    );
    assert_eq!(asked[0].header("x-prometheus-scrape-timeout-seconds"), "0.5");
    let dropped = server.api("/api/v1/targets", &[("state", "dropped")]);
    assert_eq!(dropped["droppedTargets"].as_array().unwrap().len(), 1, "{dropped}");
}

#[test]
fn a_target_that_is_down_or_talks_nonsense_says_why_and_harms_no_other() {
    let good = FakeTarget::start("good 1\n");
    let garbage = FakeServer::start(|_| Reply::Body(200, "text/plain", "<html>no metrics { here\n".to_owned()));
    let failing = FakeServer::start(|_| Reply::status(503));
    let hanging = FakeServer::start(|_| Reply::Hang);
    let closed = free_address();
    let home = Home::new();
    let mut text = yml("good", good.address());
    for (job, address) in [
        ("garbage", garbage.address()),
        ("failing", failing.address()),
        ("hanging", hanging.address()),
        ("closed", closed),
    ] {
        text.push_str(&format!(
            "- job_name: {job}\n  static_configs: [{{targets: ['{address}']}}]\n"
        ));
    }
    let config = home.write("prometheus.yml", &text);
    let server = Server::prometheus(&home, &config, &[]);
    eventually(20, "all targets were scraped", || {
        (server.query("up").len() == 5).then_some(())
    });
    assert_eq!(server.value("sum(up)"), Some(1.0));
    assert_eq!(server.value("good"), Some(1.0));
    let targets = active(&server);
    for (job, reason) in [
        ("garbage", "<html>"),
        ("failing", "503"),
        ("hanging", "deadline exceeded"),
        ("closed", "refused"),
    ] {
        let target = of_job(&targets, job).unwrap();
        assert_eq!(target["health"], "down", "{job}");
        let told = target["lastError"].as_str().unwrap();
        assert!(
            told.to_lowercase().contains(reason),
            "{job}: {told:?} does not tell of {reason:?}"
        );
    }
    assert_eq!(of_job(&targets, "good").unwrap()["health"], "up");
}

#[test]
fn series_of_a_target_that_stops_answering_end_and_come_back() {
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = broken.clone();
    let target = FakeServer::start(move |_| match seen.load(std::sync::atomic::Ordering::SeqCst) {
        true => Reply::status(500),
        false => Reply::Body(200, "text/plain; version=0.0.4", "thing 7\n".to_owned()),
    });
    let home = Home::new();
    let config = home.write("prometheus.yml", &yml("moody", target.address()));
    let server = Server::prometheus(&home, &config, &[]);
    eventually(20, "the series is there", || server.value("thing"));
    broken.store(true, std::sync::atomic::Ordering::SeqCst);
    // Far sooner than the look-back of five minutes: the staleness marker ends it.
    eventually(20, "the series has ended", || {
        server.query("thing").is_empty().then_some(())
    });
    assert_eq!(server.value("up"), Some(0.0));
    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    eventually(20, "the series is back", || server.value("thing"));
}

#[test]
fn sighup_adds_and_removes_targets_and_leaves_the_others_alone() {
    let (stays, goes, comes) = (
        FakeTarget::start("x 1\n"),
        FakeTarget::start("x 2\n"),
        FakeTarget::start("x 3\n"),
    );
    let home = Home::new();
    let text = |second: SocketAddr| {
        let more = format!("- job_name: second\n  static_configs: [{{targets: ['{second}']}}]\n");
        yml("first", stays.address()) + &more
    };
    let config = home.write("prometheus.yml", &text(goes.address()));
    let server = Server::prometheus(&home, &config, &[]);
    eventually(20, "both targets are up", || {
        server.value("sum(up)").filter(|up| *up == 2.0)
    });
    assert_eq!(server.own_metric("prometheus_config_last_reload_successful"), Some(1.0));

    home.write("prometheus.yml", &text(comes.address()));
    server.hang_up();
    eventually(20, "the new target is up", || server.value("x == 3"));
    eventually(20, "the removed target's series have ended", || {
        server.query("x == 2").is_empty().then_some(())
    });
    assert_eq!(active(&server).len(), 2);
    assert_eq!(server.value("sum(up)"), Some(2.0));
    let asked = goes.scrapes();
    let then = stays.scrapes();
    eventually(20, "the target that stayed is still scraped", || {
        (stays.scrapes() > then + 2).then_some(())
    });
    assert_eq!(goes.scrapes(), asked, "the removed target is still scraped");
    let gaps = server.query("changes(up{job=\"first\"}[5m]) > 0");
    assert!(gaps.is_empty(), "the target that stayed was disturbed: {gaps:?}");
}

#[test]
fn a_reload_that_changes_a_jobs_settings_leaves_no_hole_in_its_series() {
    let target = FakeTarget::start("x 1\n");
    let home = Home::new();
    let text = |timeout: &str| {
        yml("first", target.address()).replace(
            "scrape_interval: 500ms, scrape_timeout: 500ms",
            &format!("scrape_interval: 2s, scrape_timeout: {timeout}"),
        )
    };
    let config = home.write("prometheus.yml", &text("1s"));
    let server = Server::prometheus(&home, &config, &[]);
    eventually(20, "the series is there", || server.value("x"));
    // Right behind a scrape, so that there is time until the next one.
    let before = target.scrapes();
    let before = eventually(20, "the target is scraped once more", || {
        Some(target.scrapes()).filter(|scrapes| *scrapes > before)
    });
    home.write("prometheus.yml", &text("700ms"));
    server.hang_up();
    let has_changed = || active(&server)[0]["scrapeTimeout"] == "700ms";
    eventually(20, "the settings have changed", || has_changed().then_some(()));
    // Longer than the server waits to see whether the target goes on.
    eventually(30, "the target was scraped with the new settings", || {
        for series in ["x", "up{job=\"first\"}"] {
            assert!(
                !server.query(series).is_empty(),
                "{series} has ended although its target goes on"
            );
        }
        (target.scrapes() > before + 4).then_some(())
    });
}

#[test]
fn a_bad_configuration_on_sighup_is_refused_whole_and_told() {
    let target = FakeTarget::start("x 1\n");
    let home = Home::new();
    let good = yml("first", target.address());
    let config = home.write("prometheus.yml", &good);
    let server = Server::prometheus(&home, &config, &[]);
    eventually(20, "the target is up", || server.value("up").filter(|up| *up == 1.0));

    home.write(
        "prometheus.yml",
        &good
            .replace("first", "renamed")
            .replace("scrape_timeout: 500ms", "nonsense: 1"),
    );
    server.hang_up();
    eventually(20, "the failure is counted", || {
        server
            .own_metric("prometheus_config_last_reload_successful")
            .filter(|ok| *ok == 0.0)
    });
    assert_eq!(
        of_job(&active(&server), "first").map(|t| t["health"].clone()),
        Some("up".into())
    );
    assert!(
        server
            .log()
            .iter()
            .any(|l| l.contains("prometheus.yml:1:") && l.contains("nonsense")),
        "{:?}",
        server.log()
    );
    let then = target.scrapes();
    eventually(20, "the old configuration still works", || {
        (target.scrapes() > then).then_some(())
    });

    home.write("prometheus.yml", &good);
    server.hang_up();
    eventually(20, "the success is counted", || {
        server
            .own_metric("prometheus_config_last_reload_successful")
            .filter(|ok| *ok == 1.0)
    });
}

#[test]
fn changed_files_are_loaded_without_being_asked_and_a_bad_change_is_told_once() {
    let target = FakeTarget::start("x 1\n");
    let home = Home::new();
    let config = home.write(
        "prometheus.yml",
        &(yml("first", target.address()) + "rule_files: ['*.rules.yml']\n"),
    );
    let flags = [
        "--enable-feature=auto-reload-config",
        "--config.auto-reload-interval=1s",
    ];
    let server = Server::prometheus(&home, &config, &flags);
    eventually(20, "the target is up", || server.value("up").filter(|up| *up == 1.0));
    let rules = |record: &str| {
        format!("groups: [{{name: g, interval: 1s, rules: [{{record: '{record}', expr: vector(1)}}]}}]\n")
    };

    // In one step: a look that comes while a file is half written would see two changes.
    let put = |text: &str| std::fs::rename(home.write("next", text), home.path().join("a.rules.yml")).unwrap();
    put(&rules("from_a_new_file"));
    eventually(20, "the new file's rule is evaluated", || {
        server.value("from_a_new_file")
    });
    let logged = |text: &str| server.log().iter().filter(|line| line.contains(text)).count();
    assert_eq!(logged("configuration loaded"), 1, "{:?}", server.log());

    put("groups: nonsense\n");
    let ok = "prometheus_config_last_reload_successful";
    eventually(20, "the failure is counted", || {
        server.own_metric(ok).filter(|ok| *ok == 0.0)
    });
    let then = target.scrapes();
    eventually(20, "more looks have gone by", || {
        (target.scrapes() > then + 6).then_some(())
    });
    assert_eq!(logged("the old one stays in force"), 1, "{:?}", server.log());
    assert!(server.value("from_a_new_file").is_some(), "the old rule is gone");

    put(&rules("repaired"));
    eventually(20, "the repaired rule is evaluated", || server.value("repaired"));
    assert_eq!(server.own_metric(ok), Some(1.0));
}

#[test]
fn the_configuration_in_force_is_shown_without_its_secrets() {
    let target = FakeTarget::start("x 1\n");
    let home = Home::new();
    let text = yml("secretive", target.address()) + "  basic_auth: {username: me, password: hunter2-hunter2}\n";
    let config = home.write("prometheus.yml", &text);
    let server = Server::prometheus(&home, &config, &[]);
    eventually(20, "the target is up", || server.value("up").filter(|up| *up == 1.0));
    assert!(
        target.requests("/metrics")[0]
            .header("authorization")
            .starts_with("Basic ")
    );
    for path in [
        "/api/v1/status/config",
        "/api/v1/status/flags",
        "/api/v1/targets",
        "/metrics",
        "/api/ui/bootstrap",
    ] {
        assert!(!server.get(path).text().contains("hunter2"), "{path} shows a password");
    }
    assert!(
        server.api("/api/v1/status/config", &[])["yaml"]
            .as_str()
            .unwrap()
            .contains("secretive")
    );
    assert!(
        !server.log().iter().any(|l| l.contains("hunter2")),
        "the log shows a password"
    );
}

#[test]
fn series_tell_type_and_unit_with_the_feature_of_that_name() {
    let target = FakeTarget::start("# TYPE load gauge\nload 1\n# TYPE sold_total counter\nsold_total 2\n");
    let home = Home::new();
    let config = home.write("prometheus.yml", &yml("typed", target.address()));
    let server = Server::prometheus(&home, &config, &["--enable-feature=type-and-unit-labels"]);
    eventually(20, "the labels are there", || {
        server.value("load{__type__=\"gauge\"} + on() sold_total{__type__=\"counter\"}")
    });
    // What is said of a scrape has none, as upstream.
    assert_eq!(server.value("count(up{__type__=\"\"})"), Some(1.0));
}
