//! Rules: an alert's whole life, recorded series, and the built-in group.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use cupola_tests::{FakeTarget, Home, Server, eventually, free_address};
use serde_json::Value;

fn alerts(server: &Server, name: &str) -> Vec<Value> {
    let mut data = server.api("/api/v1/alerts", &[]);
    let all: Vec<Value> = serde_json::from_value(data["alerts"].take()).unwrap();
    all.into_iter().filter(|a| a["labels"]["alertname"] == name).collect()
}

fn groups(server: &Server) -> Vec<Value> {
    let mut data = server.api("/api/v1/rules", &[]);
    serde_json::from_value(data["groups"].take()).unwrap()
}

#[test]
fn an_alert_is_pending_then_firing_then_resolved() {
    let target = FakeTarget::start("temperature{room=\"cellar\"} 20\n");
    let home = Home::new();
    home.write(
        "rules.yml",
        r#"
groups:
- name: climate
  interval: 250ms
  rules:
  - record: room:temperature:max
    expr: max by (room) (temperature)
    labels: {source: rule}
  - alert: TooHot
    expr: room:temperature:max > 30
    for: 1s
    labels: {severity: page, room_again: '{{ $labels.room }}'}
    annotations: {summary: 'It is {{ $value }} degrees in the {{ $labels.room }}'}
  - alert: AtOnce
    expr: temperature > 30
    for: 0s
"#,
    );
    let text = format!(
        "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\nrule_files: [rules.yml]\n\
         scrape_configs:\n- job_name: climate\n  static_configs: [{{targets: ['{}']}}]\n",
        target.address()
    );
    let config = home.write("prometheus.yml", &text);
    let server = Server::up(&home, &[&format!("--config.file={}", config.display())]);

    let recorded = "room:temperature:max{room=\"cellar\", source=\"rule\"}";
    eventually(20, "the recorded series", || {
        server.value(recorded).filter(|v| *v == 20.0)
    });
    assert!(alerts(&server, "TooHot").is_empty());

    target.set("temperature{room=\"cellar\"} 41.5\n");
    let pending = eventually(20, "the alert is pending", || alerts(&server, "TooHot").pop());
    let firing = eventually(20, "the alert fires", || {
        alerts(&server, "TooHot").pop().filter(|a| a["state"] == "firing")
    });
    assert_eq!(pending["state"], "pending", "an alert with `for` must not fire at once");
    assert_eq!(firing["activeAt"], pending["activeAt"]);
    assert_eq!(firing["labels"]["severity"], "page");
    assert_eq!(firing["labels"]["room_again"], "cellar");
    assert_eq!(firing["annotations"]["summary"], "It is 41.5 degrees in the cellar");
    assert_eq!(firing["value"], "4.15e+01");
    let series = "ALERTS{alertname=\"TooHot\", alertstate=\"firing\", room=\"cellar\", severity=\"page\"}";
    eventually(20, "the ALERTS series", || server.value(series).filter(|v| *v == 1.0));
    assert_eq!(alerts(&server, "AtOnce").pop().unwrap()["state"], "firing");

    let rule = |name: &str| {
        let group = groups(&server).into_iter().find(|g| g["name"] == "climate").unwrap();
        group["rules"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["name"] == name)
            .unwrap()
            .clone()
    };
    let too_hot = rule("TooHot");
    assert_eq!(
        (&too_hot["type"], &too_hot["state"]),
        (&"alerting".into(), &"firing".into())
    );
    assert_eq!((&too_hot["health"], &too_hot["duration"]), (&"ok".into(), &1.into()));
    assert_eq!(too_hot["alerts"].as_array().unwrap().len(), 1);
    assert_eq!(rule("room:temperature:max")["type"], "recording");

    target.set("temperature{room=\"cellar\"} 19\n");
    eventually(20, "the alert is resolved", || {
        alerts(&server, "TooHot").is_empty().then_some(())
    });
    eventually(20, "the ALERTS series have ended", || {
        server.query("ALERTS{alertname=\"TooHot\"}").is_empty().then_some(())
    });
    assert_eq!(rule("TooHot")["state"], "inactive");

    // The history shows both states in their order, and that the alert was pending as long as `for` says.
    let first = |state: &str| {
        let expr =
            format!("min_over_time(timestamp(ALERTS{{alertname=\"TooHot\", alertstate=\"{state}\"}})[5m:250ms])");
        server.value(&expr).unwrap()
    };
    let waited = first("firing") - first("pending");
    assert!((0.5..10.0).contains(&waited), "it was pending for {waited} s");
    // A rule without `for` is never pending.
    assert!(
        server
            .query("last_over_time(ALERTS{alertname=\"AtOnce\", alertstate=\"pending\"}[5m])")
            .is_empty()
    );
}

#[test]
fn the_built_in_group_watches_the_host_and_all_targets() {
    let closed = free_address();
    let home = Home::new();
    let text = format!(
        "scrape_configs:\n- job_name: gone\n  scrape_interval: 1s\n  static_configs: [{{targets: ['{closed}']}}]\n"
    );
    let config = home.write("prometheus.yml", &text);
    let server = Server::up(&home, &[&format!("--config.file={}", config.display())]);
    let group = groups(&server)
        .into_iter()
        .find(|g| g["name"] == "cupola-host")
        .unwrap();
    assert_eq!(group["file"], "built-in");
    let names: Vec<&str> = group["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|r| r["name"].as_str())
        .collect();
    for name in [
        "TargetDown",
        "HostFilesystemFillingUp",
        "HostFilesystemSpaceLow",
        "HostMemoryPressure",
        "HostCpuSaturated",
        "Watchdog",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let watchdog = eventually(40, "the watchdog fires", || alerts(&server, "Watchdog").pop());
    assert_eq!(watchdog["state"], "firing");
    let down = eventually(40, "the missing target is noticed", || {
        alerts(&server, "TargetDown").pop()
    });
    assert_eq!(down["labels"]["job"], "gone");
    assert!(matches!(down["state"].as_str(), Some("pending" | "firing")), "{down}");
    for rule in groups(&server).iter().flat_map(|g| g["rules"].as_array().unwrap()) {
        assert_ne!(rule["health"], "err", "{rule}");
    }
}

#[test]
fn a_pending_alert_goes_on_after_a_restart() {
    let target = FakeTarget::start("temperature 50\n");
    let home = Home::new();
    home.write(
        "rules.yml",
        "groups:\n- name: slow\n  interval: 250ms\n  rules:\n  - {alert: Slow, expr: temperature > 30, for: 15m}\n",
    );
    let text = format!(
        "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\nrule_files: [rules.yml]\n\
         scrape_configs:\n- job_name: climate\n  static_configs: [{{targets: ['{}']}}]\n",
        target.address()
    );
    let config = home.write("prometheus.yml", &text);
    let flags = ["--rules.alert.for-grace-period=1m"];
    let mut server = Server::prometheus(&home, &config, &flags);
    let active_at = eventually(20, "the alert is pending", || {
        let alert = alerts(&server, "Slow").pop()?;
        Some(alert["activeAt"].as_str().unwrap().to_owned())
    });
    eventually(20, "its state is stored", || {
        server.value("ALERTS_FOR_STATE{alertname=\"Slow\"}")
    });
    server.kill();
    let server = Server::prometheus(&home, &config, &flags);
    // Stored in whole seconds, as Prometheus does; what counts is that the clock of `for` did not begin anew.
    eventually(20, "the alert is pending since the same time", || {
        let alert = alerts(&server, "Slow").pop()?;
        (alert["activeAt"].as_str().unwrap()[..18] == active_at[..18]).then_some(())
    });
}

#[test]
fn rules_change_with_sighup_and_running_groups_keep_their_alerts() {
    let home = Home::new();
    let rules = |extra: &str| {
        format!(
            "groups:\n- name: kept\n  interval: 250ms\n  rules:\n  - {{alert: Always, expr: vector(1)}}\n\
             - name: changing\n  interval: 250ms\n  rules:\n  - {{record: changing, expr: vector({extra})}}\n"
        )
    };
    home.write("rules.yml", &rules("1"));
    let config = home.write("prometheus.yml", "rule_files: ['rul*.yml']\n");
    let server = Server::prometheus(&home, &config, &[]);
    eventually(20, "the first rule", || server.value("changing").filter(|v| *v == 1.0));
    let before = eventually(20, "the alert fires", || alerts(&server, "Always").pop());
    home.write("rules.yml", &rules("2"));
    server.hang_up();
    eventually(20, "the new rule", || server.value("changing").filter(|v| *v == 2.0));
    let after = alerts(&server, "Always")
        .pop()
        .expect("the alert of the unchanged group is still there");
    assert_eq!(after["activeAt"], before["activeAt"]);
    home.write("rules.yml", "groups: []\n");
    server.hang_up();
    eventually(20, "all groups are gone", || groups(&server).is_empty().then_some(()));
    eventually(20, "the recorded series has ended", || {
        server.query("changing").is_empty().then_some(())
    });
}

#[test]
fn a_reload_changes_external_labels_of_templates_the_step_of_subqueries_and_the_retention() {
    let home = Home::new();
    home.write(
        "rules.yml",
        "groups:\n- name: g\n  interval: 250ms\n  rules:\n  - {alert: Where, expr: vector(1), annotations: {at: '{{ \
         $externalLabels.region }}'}}\n",
    );
    let text = |region: &str, interval: &str, retention: &str| {
        format!(
            "global: {{evaluation_interval: {interval}, external_labels: {{region: {region}}}}}\n\
             storage: {{tsdb: {{retention: {{time: {retention}}}}}}}\nrule_files: ['rules.yml']\n"
        )
    };
    let config = home.write("prometheus.yml", &text("north", "30s", "3d"));
    let server = Server::prometheus(&home, &config, &[]);
    let at = |region: &str| {
        let alert = alerts(&server, "Where").pop()?;
        (alert["annotations"]["at"] == region).then_some(())
    };
    let steps = || server.value("count_over_time(vector(1)[1m:] @ 600)");
    let retention = || server.api("/api/v1/status/runtimeinfo", &[])["storageRetention"].clone();
    eventually(20, "the alert has the label", || at("north"));
    assert_eq!((steps(), retention()), (Some(2.0), "3d".into()));
    home.write("prometheus.yml", &text("south", "10s", "5d"));
    server.hang_up();
    eventually(20, "the alert has the new label", || at("south"));
    assert_eq!((steps(), retention()), (Some(6.0), "5d".into()));
}

#[test]
fn a_group_that_moves_to_another_file_leaves_no_hole_in_its_series() {
    let home = Home::new();
    let rules = "groups:\n- name: g\n  interval: 2s\n  rules:\n  - {record: moved, expr: vector(1)}\n";
    home.write("a.yml", rules);
    let config = home.write("prometheus.yml", "rule_files: ['?.yml']\n");
    let server = Server::prometheus(&home, &config, &[]);
    let evaluated = || groups(&server).first()?["lastEvaluation"].as_str().map(str::to_owned);
    let first = eventually(20, "the series is there", || {
        server.value("moved")?;
        evaluated()
    });
    // Right behind an evaluation, so that there is time until the next one.
    eventually(20, "it is evaluated once more", || {
        evaluated().filter(|now| *now != first)
    });
    home.write("b.yml", rules);
    home.write("a.yml", "groups: []\n");
    server.hang_up();
    let of_new = || {
        let all = groups(&server);
        let group = all
            .first()
            .filter(|group| group["file"].as_str().is_some_and(|file| file.ends_with("b.yml")))?;
        group["lastEvaluation"].as_str().map(str::to_owned)
    };
    eventually(20, "the group has moved", of_new);
    // Longer than the server waits to see whether somebody goes on with the series.
    let mut seen = std::collections::BTreeSet::new();
    eventually(30, "the group was evaluated some times where it is now", || {
        assert!(
            !server.query("moved").is_empty(),
            "the series has ended although its rule goes on"
        );
        seen.extend(of_new());
        (seen.len() > 4).then_some(())
    });
}

#[test]
fn a_process_that_stood_still_misses_evaluations_and_goes_on_in_the_present() {
    let home = Home::new();
    home.write(
        "rules.yml",
        "groups:\n- name: g\n  interval: 250ms\n  rules:\n  - {record: steady, expr: vector(1)}\n  \
         - {alert: Always, expr: vector(1)}\n",
    );
    let config = home.write("prometheus.yml", "rule_files: ['rul*.yml']\n");
    let server = Server::prometheus(&home, &config, &[]);
    // It tells the time meanwhile.
    let other_home = Home::new();
    other_home.write(
        "rules.yml",
        &std::fs::read_to_string(home.path().join("rules.yml")).unwrap(),
    );
    let other = Server::prometheus(
        &other_home,
        &other_home.write("prometheus.yml", "rule_files: ['rul*.yml']\n"),
        &[],
    );
    let iterations = |server: &Server| {
        server
            .own_metric("prometheus_rule_group_iterations_total")
            .unwrap_or_default()
    };
    let missed = || {
        let missed = server.own_metric("prometheus_rule_group_iterations_missed_total");
        missed.expect("it is there from the start") as i64
    };
    eventually(20, "both evaluate", || {
        (iterations(&server) >= 4.0 && iterations(&other) >= 4.0).then_some(())
    });
    let before = missed();
    server.set_stopped(true);
    let begun = iterations(&other);
    eventually(60, "twelve evaluations pass elsewhere", || {
        (iterations(&other) >= begun + 12.0).then_some(())
    });
    server.set_stopped(false);
    let counted = eventually(20, "what was missed is counted", || {
        Some(missed()).filter(|missed| *missed >= before + 9)
    });
    let went_on = iterations(&server);
    eventually(20, "it goes on", || {
        (iterations(&server) >= went_on + 4.0).then_some(())
    });
    let data = server.api("/api/v1/query", &[("query", "steady[5m]")]);
    let times: Vec<f64> = data["result"][0]["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair[0].as_f64().unwrap())
        .collect();
    let gaps: Vec<i64> = times
        .windows(2)
        .map(|pair| ((pair[1] - pair[0]) * 1000.0).round() as i64)
        .collect();
    // Each in its slot, none twice; of those in which it stood still none was made up for.
    assert!(gaps.iter().all(|gap| *gap > 0 && gap % 250 == 0), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap >= 9 * 250), "{gaps:?}");
    let skipped: i64 = gaps.iter().map(|gap| gap / 250 - 1).sum();
    assert!((counted..=missed()).contains(&skipped), "{counted} counted: {gaps:?}");
    let always = alerts(&server, "Always").pop().expect("it fires on");
    assert_eq!(always["state"], "firing");
}
