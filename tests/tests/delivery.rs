//! Alerts reach people: grouped, delivered, tried again, and told when they are over.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cupola_tests::{Background, FakeServer, FakeTarget, Home, Reply, Request, Server, eventually, neighbour, now_ms};
use serde_json::Value;

const DISCORD_FIRING: u64 = 0x99_2D22;
const DISCORD_RESOLVED: u64 = 0x2E_CC71;

/// A target whose `load` decides which alerts fire, and the files that make Cupola watch it.
struct Stage {
    home: Home,
    target: FakeTarget,
    config: String,
}

impl Stage {
    fn new(more_config: &str) -> Self {
        let target = FakeTarget::start(&load(0, 0));
        let home = Home::new();
        home.write(
            "rules.yml",
            r#"
groups:
- name: load
  interval: 250ms
  rules:
  - alert: Overload
    expr: load > 10
    labels: {severity: critical}
    annotations: {summary: 'Load of {{ $labels.host }} is {{ $value }}', runbook_url: 'http://127.0.0.1/runbook'}
"#,
        );
        let text = format!(
            "global:\n  scrape_interval: 250ms\n  scrape_timeout: 250ms\n  external_labels: {{region: north}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n- job_name: load\n  static_configs: [{{targets: ['{}']}}]\n{more_config}",
            target.address()
        );
        let config = format!("--config.file={}", home.write("prometheus.yml", &text).display());
        Self { home, target, config }
    }

    /// `cupola up` with these receivers; only Overload goes to `team`.
    fn up(&self, group_by: &str, receivers: &str) -> Server {
        let text = format!(
            "route:\n  receiver: nobody\n  routes:\n  - receiver: team\n    matchers: [alertname=\"Overload\"]\n\
            \x20   group_by: [{group_by}]\n    group_wait: 500ms\n    group_interval: 1s\n    repeat_interval: 1h\n\
             receivers:\n- name: nobody\n- name: team\n{receivers}"
        );
        let path = self.home.write("alertmanager.yml", &text);
        Server::up(
            &self.home,
            &[&self.config, &format!("--alertmanager.config.file={}", path.display())],
        )
    }
}

fn load(a: u32, b: u32) -> String {
    format!("load{{host=\"a\"}} {a}\nload{{host=\"b\"}} {b}\n")
}

// The messages at `path` so far, with that status.
fn messages(sink: &FakeServer, path: &str, status: &str) -> Vec<Value> {
    sink.requests(path)
        .iter()
        .map(Request::json)
        .filter(|m| m["status"] == status)
        .collect()
}

#[test]
fn a_webhook_gets_the_firing_and_the_resolved_message_in_version_4() {
    let sink = FakeServer::sink();
    let stage = Stage::new("");
    let receivers = format!("  webhook_configs: [{{url: '{}'}}]\n", sink.url("/hook"));
    let server = stage.up("alertname", &receivers);
    stage.target.set(&load(20, 30));
    let firing = eventually(30, "both alerts in one message", || {
        messages(&sink, "/hook", "firing")
            .into_iter()
            .find(|m| m["alerts"].as_array().unwrap().len() == 2)
    });
    let request = &sink.requests("/hook")[0];
    assert_eq!(request.method, "POST");
    assert!(
        request.header("content-type").starts_with("application/json"),
        "{:?}",
        request.headers
    );
    assert!(!request.header("user-agent").is_empty());
    assert_eq!(firing["version"], "4");
    assert_eq!(firing["receiver"], "team");
    assert_eq!(firing["truncatedAlerts"], 0);
    assert_eq!(firing["groupLabels"], serde_json::json!({"alertname": "Overload"}));
    assert_eq!(firing["commonLabels"]["severity"], "critical");
    assert_eq!(firing["commonLabels"]["region"], "north", "external labels are missing");
    assert_eq!(
        firing["commonLabels"].get("host"),
        None,
        "a label that differs is not common"
    );
    assert_eq!(
        firing["commonAnnotations"],
        serde_json::json!({"runbook_url": "http://127.0.0.1/runbook"})
    );
    assert_eq!(firing["externalURL"], server.url());
    assert!(
        firing["groupKey"]
            .as_str()
            .unwrap()
            .ends_with("{alertname=\"Overload\"}"),
        "{}",
        firing["groupKey"]
    );
    let alert = firing["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|a| a["labels"]["host"] == "a")
        .unwrap();
    assert_eq!(alert["status"], "firing");
    assert_eq!(alert["annotations"]["summary"], "Load of a is 20");
    assert_eq!(alert["fingerprint"].as_str().unwrap().len(), 16);
    assert!(
        alert["generatorURL"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{}/graph?g0.expr=", server.url())),
        "{alert}"
    );
    let started = alert["startsAt"].as_str().unwrap().to_owned();

    // One of two is over: the message is still a firing one and tells of both.
    stage.target.set(&load(0, 30));
    eventually(30, "one alert of the group is resolved", || {
        messages(&sink, "/hook", "firing").into_iter().find(|m| {
            let states: Vec<_> = m["alerts"]
                .as_array()
                .unwrap()
                .iter()
                .map(|a| a["status"].clone())
                .collect();
            states.contains(&"resolved".into()) && states.contains(&"firing".into())
        })
    });
    stage.target.set(&load(0, 0));
    let resolved = eventually(30, "the resolved message", || {
        messages(&sink, "/hook", "resolved").pop()
    });
    let alert = &resolved["alerts"][0];
    assert_eq!(
        (&alert["status"], &alert["labels"]["host"]),
        (&"resolved".into(), &"b".into())
    );
    assert!(alert["endsAt"].as_str().unwrap() > started.as_str(), "{alert}");
    assert_eq!(resolved["groupKey"], firing["groupKey"]);

    // Nothing is told twice: with an hour between reminders, each message is a change.
    let all = sink.requests("/hook");
    assert!(all.len() <= 5, "{} messages for four changes", all.len());
    let shown = server.get("/api/ui/alerting").json();
    let sent = shown["notifications"].as_array().unwrap();
    assert_eq!(sent.len(), all.len(), "{shown}");
    assert!(
        sent.iter()
            .all(|n| n["outcome"] == "sent" && n["integration"] == "webhook[0]"),
        "{shown}"
    );
    assert_eq!(sent[0]["status"], "resolved", "{shown}");
}

#[test]
fn discord_gets_coloured_embeds() {
    let sink = FakeServer::start(|_| Reply::status(204));
    let stage = Stage::new("");
    let receivers = format!(
        "  discord_configs: [{{webhook_url: '{}'}}]\n",
        sink.url("/discord/token")
    );
    let server = stage.up("alertname, host", &receivers);
    stage.target.set(&load(20, 0));
    let firing = eventually(30, "the firing message", || {
        sink.requests("/discord/token").first().cloned()
    });
    assert!(firing.header("content-type").starts_with("application/json"));
    let embed = &firing.json()["embeds"][0];
    assert_eq!(embed["color"], DISCORD_FIRING);
    assert!(
        embed["title"].as_str().unwrap().starts_with("[FIRING:1] Overload"),
        "{embed}"
    );
    assert!(
        embed["description"]
            .as_str()
            .unwrap()
            .contains("summary = Load of a is 20"),
        "{embed}"
    );
    stage.target.set(&load(0, 0));
    let resolved = eventually(30, "the resolved message", || {
        sink.requests("/discord/token").get(1).cloned()
    });
    let embed = &resolved.json()["embeds"][0];
    assert_eq!(embed["color"], DISCORD_RESOLVED);
    assert!(
        embed["title"].as_str().unwrap().starts_with("[RESOLVED] Overload"),
        "{embed}"
    );
    // The URL is a secret.
    for path in [
        "/api/ui/alerting",
        "/api/ui/bootstrap",
        "/metrics",
        "/api/v1/status/config",
    ] {
        assert!(
            !server.get(path).text().contains("discord/token"),
            "{path} shows the secret URL"
        );
    }
    assert!(
        !server.log().iter().any(|l| l.contains("discord/token")),
        "the log shows the secret URL"
    );
}

#[test]
fn a_receiver_that_fails_is_tried_again_until_it_takes_the_message() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let sink = FakeServer::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Reply::Body(503, "text/plain", "try later".to_owned()),
        _ => Reply::status(200),
    });
    let stage = Stage::new("");
    let server = stage.up(
        "alertname",
        &format!("  webhook_configs: [{{url: '{}'}}]\n", sink.url("/hook")),
    );
    stage.target.set(&load(20, 0));
    eventually(30, "the third attempt", || {
        (asked.load(Ordering::SeqCst) >= 3).then_some(())
    });
    let told = messages(&sink, "/hook", "firing");
    assert_eq!(told[0]["alerts"][0]["fingerprint"], told[2]["alerts"][0]["fingerprint"]);
    let sent = eventually(30, "the outcome is shown", || {
        let shown = server.get("/api/ui/alerting").json();
        shown["notifications"]
            .as_array()
            .unwrap()
            .iter()
            .find(|n| n["outcome"] == "sent")
            .cloned()
    });
    assert_eq!(sent["attempts"], 3, "{sent}");
    stage.target.set(&load(0, 0));
    eventually(30, "the resolved message", || {
        messages(&sink, "/hook", "resolved").pop()
    });
    assert_eq!(
        asked.load(Ordering::SeqCst),
        4,
        "a message that was taken is not sent again"
    );
}

#[test]
fn a_receiver_that_hangs_delays_no_other() {
    let hanging = FakeServer::start(|_| Reply::Hang);
    let sink = FakeServer::sink();
    let stage = Stage::new("");
    let receivers = format!(
        "  webhook_configs: [{{url: '{}'}}, {{url: '{}'}}]\n",
        hanging.url("/hang"),
        sink.url("/hook")
    );
    let _server = stage.up("alertname", &receivers);
    stage.target.set(&load(20, 0));
    eventually(15, "the firing message at the receiver that works", || {
        messages(&sink, "/hook", "firing").pop()
    });
    eventually(15, "the other one was asked as well", || {
        hanging.requests("/hang").pop()
    });
    stage.target.set(&load(0, 0));
    eventually(15, "the resolved message at the receiver that works", || {
        messages(&sink, "/hook", "resolved").pop()
    });
}

#[test]
fn a_changed_alertmanager_yml_takes_effect_with_sighup_and_a_bad_one_does_not() {
    let (old, new) = (FakeServer::sink(), FakeServer::sink());
    let stage = Stage::new("");
    let server = stage.up(
        "alertname",
        &format!("  webhook_configs: [{{url: '{}'}}]\n", old.url("/hook")),
    );
    let path = stage.home.path().join("alertmanager.yml");
    let good = std::fs::read_to_string(&path).unwrap();
    stage
        .home
        .write("alertmanager.yml", &good.replace("receiver: team", "receiver: nosuch"));
    server.hang_up();
    eventually(20, "the failure is counted", || {
        server
            .own_metric("prometheus_config_last_reload_successful")
            .filter(|ok| *ok == 0.0)
    });
    // What is wrong stands in the API, from where the overview has it, until a configuration loads.
    let told = || server.get("/api/v1/notifications").json()["data"].clone();
    let notice = told();
    assert_eq!(notice[0]["text"], "Configuration reload has failed.");
    let detail = notice[0]["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("alertmanager.yml") && detail.contains("nosuch"),
        "{notice}"
    );
    stage.target.set(&load(20, 0));
    eventually(30, "the old receiver is told", || {
        messages(&old, "/hook", "firing").pop()
    });
    stage
        .home
        .write("alertmanager.yml", &good.replace(&old.url("/hook"), &new.url("/hook")));
    server.hang_up();
    eventually(20, "nothing is wrong any more", || {
        Some(told()).filter(|told| *told == serde_json::json!([]))
    });
    stage.target.set(&load(20, 20));
    eventually(30, "the new receiver is told", || {
        messages(&new, "/hook", "firing").pop()
    });
}

const ALERTMANAGERS: &str = "alerting:\n  alertmanagers:\n  - static_configs: [{targets: ['ADDRESS']}]\n";

#[test]
fn prometheus_posts_its_alerts_to_the_configured_alertmanagers() {
    let sink = FakeServer::sink();
    let stage = Stage::new(&ALERTMANAGERS.replace("ADDRESS", &sink.address().to_string()));
    let config = stage.home.path().join("prometheus.yml");
    let server = Server::prometheus(&stage.home, &config, &["--rules.alert.resend-delay=1s"]);
    let listed = server.api("/api/v1/alertmanagers", &[]);
    assert_eq!(
        listed["activeAlertmanagers"][0]["url"],
        sink.url("/api/v2/alerts"),
        "{listed}"
    );
    stage.target.set(&load(20, 0));
    let firing = eventually(30, "the alert arrives", || sink.requests("/api/v2/alerts").pop());
    assert_eq!(firing.method, "POST");
    assert!(firing.header("content-type").starts_with("application/json"));
    let alert = &firing.json()[0];
    let labels = serde_json::json!({
        "alertname": "Overload", "host": "a", "instance": stage.target.address().to_string(), "job": "load",
        "region": "north", "severity": "critical",
    });
    assert_eq!(alert["labels"], labels);
    assert_eq!(alert["annotations"]["summary"], "Load of a is 20");
    assert!(
        alert["generatorURL"].as_str().unwrap().contains("/graph?g0.expr=load"),
        "{alert}"
    );
    // The end is in the future as long as it fires: an Alertmanager that hears no more forgets the alert by itself.
    assert!(alert["endsAt"].as_str().unwrap() > alert["startsAt"].as_str().unwrap());
    let then = sink.requests("/api/v2/alerts").len();
    eventually(30, "it is sent again", || {
        (sink.requests("/api/v2/alerts").len() > then + 1).then_some(())
    });

    stage.target.set(&load(0, 0));
    eventually(20, "the alert is gone here", || {
        server.query("ALERTS").is_empty().then_some(())
    });
    eventually(30, "the resolved alert arrives", || {
        let last = sink.requests("/api/v2/alerts").pop()?.json();
        // Over means: it ended when the rule saw it end, not some minutes ahead.
        let ended = rfc3339_seconds(last[0]["endsAt"].as_str().unwrap());
        (ended <= now_ms() as f64 / 1000.0).then_some(())
    });
}

#[test]
fn debians_alertmanager_understands_our_alerts() {
    let Some(program) = neighbour("prometheus-alertmanager") else {
        return;
    };
    let home = Home::new();
    let config = home.write(
        "alertmanager.yml",
        "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n",
    );
    // It cannot be asked for a free port, so take one that was free a moment ago.
    let address = FakeServer::sink().address();
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", home.path().join("alertmanager").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--cluster.listen-address=");
    let mut theirs = Background::start("prometheus-alertmanager", &mut command);
    eventually(30, "the Alertmanager is ready", || {
        assert!(theirs.ended().is_none(), "the Alertmanager ended");
        cupola_tests::get(address, "/-/ready").ok().filter(|r| r.status == 200)
    });
    let stage = Stage::new(&ALERTMANAGERS.replace("ADDRESS", &address.to_string()));
    let config = stage.home.path().join("prometheus.yml");
    let _server = Server::prometheus(&stage.home, &config, &["--rules.alert.resend-delay=1s"]);
    let known = || {
        cupola_tests::get(address, "/api/v2/alerts")
            .unwrap()
            .json()
            .as_array()
            .unwrap()
            .clone()
    };
    stage.target.set(&load(20, 30));
    let alerts = eventually(30, "both alerts are known there", || {
        Some(known()).filter(|a| a.len() == 2)
    });
    assert!(
        alerts
            .iter()
            .all(|a| a["status"]["state"] == "active" && a["labels"]["region"] == "north"),
        "{alerts:?}"
    );
    stage.target.set(&load(0, 30));
    let left = eventually(30, "one of them is over", || Some(known()).filter(|a| a.len() == 1));
    assert_eq!(left[0]["labels"]["host"], "b");
}

// Seconds since the epoch of `2026-01-02T03:04:05.678Z`.
fn rfc3339_seconds(text: &str) -> f64 {
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().unwrap();
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    // Days from civil: years begin in March, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds: f64 = text[17..].trim_end_matches('Z').parse().unwrap();
    (days * 86_400 + number(11, 13) * 3600 + number(14, 16) * 60) as f64 + seconds
}

#[test]
fn times_are_read_as_rfc_3339_writes_them() {
    assert_eq!(rfc3339_seconds("1970-01-01T00:00:01.5Z"), 1.5);
    assert_eq!(rfc3339_seconds("2001-09-09T01:46:40Z"), 1e9);
}
