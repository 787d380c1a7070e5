//! The life of an alert as one list: from the rule whose expression gave it to the message, over a restart.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::path::Path;

use cupola_tests::{FakeServer, FakeTarget, Finished, Home, Server, cupola, eventually, run};
use serde_json::Value;

fn load(value: u32) -> String {
    format!("load{{host=\"a\"}} {value}\n")
}

// A prometheus.yml that watches `target` and knows when it is overloaded.
fn config(home: &Home, target: &FakeTarget, more: &str) -> std::path::PathBuf {
    home.write(
        "rules.yml",
        "groups:\n- name: load\n  interval: 250ms\n  rules:\n  - alert: Overload\n    expr: load > 10\n    for: 1s\n",
    );
    let text = format!(
        "global:\n  scrape_interval: 250ms\n  scrape_timeout: 250ms\n  external_labels: {{region: north}}\n\
         rule_files: [rules.yml]\nscrape_configs:\n- job_name: load\n  static_configs: [{{targets: ['{}']}}]\n{more}",
        target.address()
    );
    home.write("prometheus.yml", &text)
}

fn events(server: &Server) -> Vec<Value> {
    let data = server.api("/api/v1/alerts/history", &[("match[]", "{alertname=\"Overload\"}")]);
    data["events"].as_array().unwrap().iter().rev().cloned().collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["event"].as_str()).collect()
}

fn explained(server: &Server, what: &str) -> Finished {
    run(
        cupola(["promtool", "explain", "alert", &server.url(), what]).env("TZ", "UTC"),
        b"",
    )
}

// Where each of `parts` begins in `text`; they must come in this order.
#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut from = 0;
    for part in parts {
        let at = text[from..].find(part);
        assert!(at.is_some(), "{part:?} is not where it should be:\n{text}");
        from += at.unwrap() + part.len();
    }
}

#[test]
fn an_alerts_life_is_told_from_its_expression_to_the_message() {
    let sink = FakeServer::sink();
    let target = FakeTarget::start(&load(0));
    let home = Home::new();
    let config = config(&home, &target, "");
    let yaml = format!(
        "route:\n  receiver: nobody\n  routes:\n  - receiver: team\n    matchers: [alertname=Overload]\n    group_wait: 100ms\n\
         \x20   group_interval: 1s\nreceivers:\n- name: nobody\n- name: team\n  webhook_configs: [{{url: '{}'}}]\n",
        sink.url("/hook")
    );
    let alertmanager = home.write("alertmanager.yml", &yaml);
    let args = [
        format!("--config.file={}", config.display()),
        format!("--alertmanager.config.file={}", alertmanager.display()),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut server = Server::up(&home, &args);
    target.set(&load(20));
    eventually(30, "the message", || sink.requests("/hook").pop());
    let told = eventually(20, "the history has it all", || {
        let told = events(&server);
        (names(&told) == ["pending", "firing", "sent"]).then_some(told)
    });
    assert_eq!(
        (&told[0]["value"], &told[0]["rule"]["query"]),
        (&"20".into(), &"load > 10".into())
    );
    assert_eq!(told[1]["since"], told[0]["at"]);
    assert!(told[1]["at"].as_f64().unwrap() - told[0]["at"].as_f64().unwrap() >= 1.0);
    assert_eq!(told[0]["labels"]["host"], "a");
    assert_eq!(told[0]["labels"].get("region"), None, "the rule's own labels");
    target.set(&load(0));
    eventually(30, "the end is told", || {
        (sink.requests("/hook").len() == 2).then_some(())
    });

    // One list, although the Alertmanager knows the alert by one label more.
    let parts = [
        "alertname=\"Overload\" host=\"a\"",
        "pending: load > 10 gives 20 (group load in ",
        "fires with value 20, pending since ",
        "sent to the Alertmanager in this process\n",
        "Alertmanager: fired",
        "Alertmanager: grouped for team",
        "Alertmanager: sent to team by webhook[0] (first notification",
        "resolved: its expression does not give it any more",
        "sent to the Alertmanager in this process as resolved",
        "Alertmanager: resolved",
        "Alertmanager: sent to team by webhook[0] (all alerts resolved",
    ];
    let text = eventually(20, "the whole life", || {
        let finished = explained(&server, "Overload");
        let is_whole = finished.stdout.contains("(all alerts resolved");
        is_whole.then_some(finished.stdout)
    });
    in_order(&text, &parts);
    assert_eq!(text.matches("\nalertname=").count(), 1, "{text}");
    let mut amtool = cupola(["amtool", "why", "Overload"]);
    amtool.arg(format!("--alertmanager.url={}", server.url()));
    in_order(&run(&mut amtool, b"").stdout, &parts);
    // As JSON both halves, as each says it, newest first.
    let whole: Value = serde_json::from_str(&run(amtool.args(["-o", "json"]), b"").stdout).unwrap();
    let half = |half: &str| -> Vec<String> {
        let all = whole[half].as_array().unwrap().iter().rev();
        all.map(|event| event["event"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(half("rules"), ["pending", "firing", "sent", "resolved", "sent"]);
    assert_eq!(half("alertmanager"), ["fired", "grouped", "sent", "resolved", "sent"]);
    assert_eq!(explained(&server, "{alertname=\"Overload\",host!=\"a\"}").code, Some(1));

    // As lines, for a file; written within a second, so that a crash leaves them.
    let lines = |server: &Server| -> Vec<Value> {
        let answer = server.ask(
            "/api/v1/alerts/history",
            &[("format", "jsonl"), ("match[]", "{host=\"a\"}")],
        );
        let text = answer.text();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let before = lines(&server);
    assert_eq!(names(&before), ["pending", "firing", "sent", "resolved", "sent"]);
    let file = home.data().join("cupola-alert-history/alerts-00000001.jsonl");
    eventually(20, "it is on disk", || {
        let text = std::fs::read_to_string(&file).ok()?;
        (text.matches("\"host\":\"a\"").count() == before.len()).then_some(())
    });
    let theirs = home.data().join("alertmanager/cupola-history-00000001");
    eventually(20, "the Alertmanager's part, too", || {
        let text = std::fs::read(&theirs).ok()?;
        String::from_utf8_lossy(&text)
            .contains("all alerts resolved")
            .then_some(())
    });
    server.kill();
    let server = Server::up(&home, &args);
    assert_eq!(lines(&server), before);
    in_order(&explained(&server, "Overload").stdout, &parts);
}

#[test]
fn amtool_joins_what_the_rules_of_one_process_and_the_alertmanager_of_another_know() {
    let sink = FakeServer::sink();
    let target = FakeTarget::start(&load(20));
    let (home, other) = (Home::new(), Home::new());
    other.write(
        "alertmanager.yml",
        &format!(
            "route: {{receiver: team, group_wait: 100ms, group_interval: 1s}}\n\
             receivers:\n- name: team\n  webhook_configs: [{{url: '{}'}}]\n",
            sink.url("/hook")
        ),
    );
    let alertmanager = Server::alertmanager(&other, "alertmanager.yml".as_ref(), &[]);
    let alertmanagers = format!(
        "alerting:\n  alertmanagers:\n  - static_configs: [{{targets: ['{}']}}]\n",
        alertmanager.address()
    );
    let config = config(&home, &target, &alertmanagers);
    let prometheus = Server::prometheus(&home, &config, &[]);
    eventually(30, "the message", || sink.requests("/hook").pop());
    target.set(&load(0));
    eventually(30, "the end is told", || {
        (sink.requests("/hook").len() == 2).then_some(())
    });

    let why = |args: &[&str]| -> Finished {
        let mut command = cupola(["amtool", "why", "Overload"]);
        command
            .arg(format!("--alertmanager.url={}", alertmanager.url()))
            .args(args);
        run(command.env("HOME", other.path()), b"")
    };
    let of_prometheus = format!("--prometheus.url={}", prometheus.url());
    // Each half in its order; when a message arrived and when it was sent may be the same millisecond.
    let of_the_target = format!(
        "alertname=\"Overload\" host=\"a\" instance=\"{}\" job=\"load\"",
        target.address()
    );
    let by_rules = [
        &format!("{of_the_target}\n"),
        "pending: load > 10 gives 20 (group load in ",
        "fires with value 20, pending since ",
        &format!("sent to {}/api/v2/alerts\n", alertmanager.url()),
        "resolved: its expression does not give it any more",
        &format!("sent to {}/api/v2/alerts as resolved", alertmanager.url()),
    ];
    let by_alertmanager = [
        "fires with value 20, pending since ",
        "Alertmanager: fired",
        "Alertmanager: grouped for team",
        "Alertmanager: sent to team by webhook[0] (first notification",
        "Alertmanager: resolved",
        "Alertmanager: sent to team by webhook[0] (all alerts resolved",
    ];
    let whole = eventually(20, "the whole life", || {
        let told = why(&[&of_prometheus]).stdout;
        (told.contains("(all alerts resolved") && told.contains(" as resolved")).then_some(told)
    });
    in_order(&whole, &by_rules);
    in_order(&whole, &by_alertmanager);
    // One alert, although the Alertmanager knows it by a label more.
    assert_eq!(whole.matches("\nalertname=").count(), 0, "{whole}");

    // Who does not say where the rules are hears the Alertmanager's half, under the labels that it knows.
    let half = why(&[]);
    assert_eq!(half.code, Some(0), "{}", half.stderr);
    assert!(
        half.stdout.starts_with(&format!("{of_the_target} region=\"north\"\n")),
        "{}",
        half.stdout
    );
    in_order(&half.stdout, &["  fired\n", "  grouped for team", "  resolved\n"]);
    assert!(!half.stdout.contains("pending: "), "{}", half.stdout);
    // Where it was said, and nobody is there or has no such history, that is a mistake.
    let nobody = format!("--prometheus.url=http://{}", cupola_tests::free_address());
    for (url, part) in [
        (nobody, "Connection refused"),
        (format!("--prometheus.url={}", alertmanager.url()), "answers 410"),
    ] {
        let told = why(&[&url]);
        assert_eq!((told.code, told.stdout.as_str()), (Some(1), ""), "{url}");
        assert!(
            told.stderr.contains("what the rules did is not known: "),
            "{}",
            told.stderr
        );
        assert!(
            told.stderr.to_lowercase().contains(&part.to_lowercase()),
            "{}",
            told.stderr
        );
    }
    // amtool's configuration file may say it.
    std::fs::create_dir_all(other.path().join(".config/amtool")).unwrap();
    other.write(
        ".config/amtool/config.yml",
        &format!("prometheus.url: {}\n", prometheus.url()),
    );
    assert_eq!(why(&[]).stdout, whole);
}

#[test]
fn to_whom_an_alert_was_sent_is_told_and_who_did_not_take_it() {
    let takes = FakeServer::sink();
    let away = FakeServer::sink().address();
    let target = FakeTarget::start(&load(20));
    let home = Home::new();
    let alertmanagers = format!(
        "alerting:\n  alertmanagers:\n  - static_configs: [{{targets: ['{}', '{away}']}}]\n\
         \x20 - static_configs: [{{targets: ['unwanted.example:9093']}}]\n\
         \x20   alert_relabel_configs: [{{source_labels: [alertname], regex: Overload, action: drop}}]\n",
        takes.address()
    );
    let config = config(&home, &target, &alertmanagers);
    let server = Server::prometheus(&home, &config, &["--rules.alert.resend-delay=500ms"]);
    let told = eventually(30, "all of them are asked", || {
        let told = events(&server);
        (told.len() >= 5).then_some(told)
    });
    // Although it is sent twice a second, what does not change is told once.
    eventually(30, "it is sent again and again", || {
        (takes.requests("/api/v2/alerts").len() > 3).then_some(())
    });
    assert_eq!(events(&server).len(), told.len());
    let to = |event: &str| {
        let found = told.iter().filter(|one| one["event"] == event);
        found
            .map(|one| one["alertmanager"].as_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(to("sent"), [takes.url("/api/v2/alerts")]);
    assert_eq!(to("sendFailed"), [format!("http://{away}/api/v2/alerts")]);
    assert_eq!(to("dropped"), ["http://unwanted.example:9093/api/v2/alerts"]);
    let text = explained(&server, "Overload").stdout;
    for part in [
        format!("sent to {}\n", takes.url("/api/v2/alerts")),
        format!("not taken by http://{away}/api/v2/alerts: "),
        "not sent to http://unwanted.example:9093/api/v2/alerts: alert_relabel_configs drops it".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?}: {text}");
    }
    drop(server);

    // Where there is no Alertmanager, that is told.
    let path: &Path = &config;
    let lonely = std::fs::read_to_string(path).unwrap();
    let lonely = home.write("prometheus.yml", lonely.split("alerting:").next().unwrap());
    let server = Server::prometheus(&home, &lonely, &["--rules.alert.history-retention=1h"]);
    eventually(30, "nobody is told", || {
        let finished = explained(&server, "Overload");
        finished
            .stdout
            .contains("not sent: there is no Alertmanager")
            .then_some(())
    });
}

#[test]
fn an_alert_that_a_full_queue_lost_is_told() {
    let away = FakeServer::sink().address();
    let target = FakeTarget::start("load{host=\"a\"} 20\nload{host=\"b\"} 30\n");
    let home = Home::new();
    let alertmanagers = format!("alerting:\n  alertmanagers:\n  - static_configs: [{{targets: ['{away}']}}]\n");
    let config = config(&home, &target, &alertmanagers);
    let server = Server::prometheus(&home, &config, &["--alertmanager.notification-queue-capacity=1"]);
    // The rule gives both at once, and one of them can wait.
    let lost = eventually(30, "one is lost", || {
        let told = events(&server);
        told.into_iter().find(|event| event["event"] == "lost")
    });
    assert_eq!(
        (lost["alertmanager"].as_str(), lost["error"].as_str()),
        (
            Some(&*format!("http://{away}/api/v2/alerts")),
            Some("newer alerts filled the queue (--alertmanager.notification-queue-capacity=1)")
        )
    );
    let text = explained(&server, "Overload").stdout;
    assert!(text.contains("lost on its way to http://"), "{text}");
    let metrics = server.ask("/metrics", &[]).text();
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    assert_eq!(value("prometheus_notifications_queue_capacity "), 1.0);
    assert!(value("prometheus_notifications_dropped_total{") >= 1.0);
}
