//! `cupola alertmanager` in Alertmanager's place: amtool asks it, Prometheus sends to it, and it is killed.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use cupola_tests::{
    FakeServer, FakeTarget, Finished, Home, Prometheus, Reply, Request, Server, cupola, eventually, neighbour, request,
    run,
};
use rustix::process::Signal;
use serde_json::{Value, json};

fn config(home: &Home, sink: &FakeServer) -> std::path::PathBuf {
    let yaml = format!(
        "route: {{receiver: r, group_by: [alertname], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers:\n- name: r\n  webhook_configs: [{{url: '{}'}}]\n",
        sink.url("/hook")
    );
    home.write("alertmanager.yml", &yaml)
}

// `status: alertname/i alertname/i` of each message so far.
fn told(sink: &FakeServer) -> Vec<String> {
    let one = |message: Value| {
        let alerts = message["alerts"].as_array().unwrap().iter();
        let names = alerts.map(|a| {
            format!(
                "{}/{}",
                a["labels"]["alertname"].as_str().unwrap(),
                a["status"].as_str().unwrap()
            )
        });
        names.collect::<Vec<_>>().join(" ")
    };
    sink.requests("/hook").iter().map(Request::json).map(one).collect()
}

fn amtool(program: &Path, server: &Server, args: &[&str]) -> Finished {
    let mut command = Command::new(program);
    command.arg(format!("--alertmanager.url={}", server.url())).args(args);
    run(&mut command, b"")
}

#[test]
fn amtool_makes_finds_and_expires_silences() {
    let Some(program) = neighbour("amtool") else { return };
    let (home, sink) = (Home::new(), FakeServer::sink());
    let server = Server::alertmanager(&home, &config(&home, &sink), &[]);
    let ok = |args: &[&str]| {
        let done = amtool(&program, &server, args);
        assert_eq!(done.code, Some(0), "{args:?}: {}{}", done.stdout, done.stderr);
        done.stdout
    };
    ok(&["alert", "add", "alertname=Disk", "host=a", "--annotation=summary=full"]);
    ok(&["alert", "add", "alertname=Disk", "host=b"]);
    let alerts: Value = serde_json::from_str(&ok(&["alert", "query", "-o", "json", "alertname=Disk"])).unwrap();
    assert_eq!(alerts.as_array().unwrap().len(), 2);
    let id = ok(&[
        "silence",
        "add",
        "alertname=Disk",
        "host=~a|c",
        "-c",
        "work",
        "-a",
        "me",
        "-d",
        "2h",
    ]);
    let id = id.trim();
    assert_eq!(id.len(), 36, "{id}");
    let silenced = ok(&["alert", "query", "-o", "json", "--silenced"]);
    let silenced: Value = serde_json::from_str(&silenced).unwrap();
    assert_eq!(silenced[0]["status"]["silencedBy"][0], *id);
    assert_eq!(silenced[0]["labels"]["host"], "a");
    let silences = ok(&["silence", "query", "-o", "json"]);
    assert!(ok(&["silence", "query"]).contains("work"));
    ok(&["silence", "update", "--comment=still", "-d", "3h", id]);
    let active: Value = serde_json::from_str(&ok(&["silence", "query", "-o", "json"])).unwrap();
    assert_eq!(active[0]["comment"], "still");
    ok(&["silence", "expire", active[0]["id"].as_str().unwrap()]);
    assert_eq!(ok(&["silence", "query", "-q"]).trim(), "");
    // What was exported comes back under new ids.
    ok(&[
        "silence",
        "import",
        home.write("silences.json", &silences).to_str().unwrap(),
    ]);
    assert_eq!(ok(&["silence", "query", "-q"]).trim().len(), 36);
    let config = ok(&["config", "show"]);
    assert!(config.contains("receiver: r"), "{config}");
    ok(&["cluster", "show"]);
    assert_ne!(
        amtool(
            &program,
            &server,
            &["silence", "expire", "11111111-1111-1111-1111-111111111111"]
        )
        .code,
        Some(0)
    );
}

#[test]
fn debians_prometheus_sends_its_alerts() {
    let (home, sink) = (Home::new(), FakeServer::sink());
    let server = Server::alertmanager(&home, &config(&home, &sink), &[]);
    let target = FakeTarget::start("load 1\n");
    let other = Home::new();
    let rules = "groups:\n- name: g\n  interval: 250ms\n  rules:\n  - alert: Load\n    expr: load > 10\n    annotations: {summary: 'it is {{ $value }}'}\n";
    let rules = other.write("rules.yml", rules);
    let yaml = format!(
        "global: {{scrape_interval: 250ms, evaluation_interval: 250ms}}\nrule_files: ['{}']\n\
         alerting:\n  alertmanagers:\n  - static_configs: [{{targets: ['{}']}}]\n\
         scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['{}']}}]\n",
        rules.display(),
        server.address(),
        target.address()
    );
    let Some(_prometheus) = Prometheus::with_config(other, &yaml, &["--rules.alert.resend-delay=1s"]) else {
        return;
    };
    target.set("load 20\n");
    eventually(30, "Prometheus's alert is told", || {
        told(&sink).contains(&"Load/firing".to_owned()).then_some(())
    });
    let alerts = server.get("/api/v2/alerts").json();
    assert_eq!(alerts[0]["annotations"]["summary"], "it is 20");
    target.set("load 1\n");
    eventually(30, "its end is told", || {
        told(&sink).contains(&"Load/resolved".to_owned()).then_some(())
    });
    // The answer of the receiver is noted right after it.
    eventually(20, "the history tells of it all", || {
        let history = server.get("/api/v2/history?filter=alertname%3DLoad").json();
        let events = history.as_array().unwrap().iter().rev();
        let events: Vec<&str> = events.map(|e| e["event"].as_str().unwrap()).collect();
        (events == ["fired", "grouped", "sent", "resolved", "sent"]).then_some(())
    });
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains("alertmanager_notifications_total{integration=\"webhook\"} 2"),
        "{metrics}"
    );
}

#[test]
fn killed_and_started_again_it_goes_on_where_it_was() {
    let (home, sink) = (Home::new(), FakeServer::sink());
    let config = config(&home, &sink);
    let mut server = Server::alertmanager(&home, &config, &[]);
    server.post(
        "/api/v2/alerts",
        &json!([{"labels": {"alertname": "A"}}, {"labels": {"alertname": "B"}}]),
    );
    eventually(20, "both are told", || (told(&sink).len() == 2).then_some(()));
    // The answer of the receiver is noted right after it.
    eventually(20, "both are noted", || {
        let history = server.get("/api/v2/history").json();
        let sent = history
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| e["event"] == "sent")
            .count();
        (sent == 2).then_some(())
    });
    let silence = json!({
        "matchers": [{"name": "alertname", "value": "C", "isRegex": false}], "createdBy": "a", "comment": "b",
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z",
    });
    let id = server.post("/api/v2/silences", &silence).json()["silenceID"].clone();
    // What happened is written within a second, unlike the rest.
    eventually(20, "the history is on disk", || {
        let text = std::fs::read(home.data().join("cupola-history-00000001")).ok()?;
        (String::from_utf8_lossy(&text).matches("webhook[0]").count() == 2).then_some(())
    });
    server.kill();

    let mut server = Server::alertmanager(&home, &config, &[]);
    assert_eq!(server.get("/api/v2/silences").json()[0]["id"], id);
    assert_eq!(server.get("/api/v2/alerts").json().as_array().unwrap().len(), 2);
    let over = "2020-01-01T00:00:01Z";
    server.post("/api/v2/alerts",
        &json!([
            {"labels": {"alertname": "A"}, "endsAt": over}, {"labels": {"alertname": "B"}}, {"labels": {"alertname": "C"}},
        ]),
    );
    eventually(20, "the end of A is told", || {
        told(&sink).contains(&"A/resolved".to_owned()).then_some(())
    });
    let mut all = told(&sink);
    all.sort();
    assert_eq!(
        all,
        ["A/firing", "A/resolved", "B/firing"],
        "nothing twice, and C is silenced"
    );

    // What happened is told from the beginning, that of the killed process included.
    eventually(20, "the history tells of both processes", || {
        let history = server.get("/api/v2/history?filter=alertname%3DA").json();
        let events: Vec<String> = history.as_array()?.iter().map(|e| e["event"].to_string()).collect();
        (events
            == [
                "\"sent\"",
                "\"resolved\"",
                "\"grouped\"",
                "\"sent\"",
                "\"grouped\"",
                "\"fired\"",
            ])
        .then_some(())
    });

    // Stopped in order it leaves the files that Alertmanager knows.
    assert!(server.stop(Signal::TERM).success());
    for name in ["silences", "nflog"] {
        assert!(home.data().join(name).metadata().unwrap().len() > 50, "{name}");
    }
}

#[test]
fn a_stopped_alertmanagers_state_is_taken_over_and_given_back() {
    let Some(program) = neighbour("prometheus-alertmanager") else {
        return;
    };
    let (home, sink) = (Home::new(), FakeServer::sink());
    let config = config(&home, &sink);
    let theirs = |count: usize| {
        let mut other = Alertmanager::start(&program, &home, &config);
        let silences = other.get("/api/v2/silences");
        assert_eq!(silences.as_array().unwrap().len(), count, "{silences}");
        other.post(&json!([{"labels": {"alertname": "A"}}]));
        eventually(30, "A is told once", || (!told(&sink).is_empty()).then_some(()));
        let silence = json!({
            "matchers": [{"name": "x", "value": format!("theirs{count}"), "isRegex": true}], "createdBy": "a",
            "comment": "b", "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z",
        });
        other.silence(&silence);
        other.stop();
    };
    theirs(0);
    let mut server = Server::alertmanager(&home, &config, &[]);
    assert_eq!(
        server.get("/api/v2/silences").json()[0]["matchers"][0]["value"],
        "theirs0"
    );
    server.post(
        "/api/v2/alerts",
        &json!([{"labels": {"alertname": "A"}}, {"labels": {"alertname": "B"}}]),
    );
    eventually(20, "B is told", || {
        told(&sink).contains(&"B/firing".to_owned()).then_some(())
    });
    let silence = json!({
        "matchers": [{"name": "y", "value": "ours", "isRegex": false}], "createdBy": "a", "comment": "b",
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z",
    });
    server.post("/api/v2/silences", &silence);
    assert!(server.stop(Signal::TERM).success());
    // Both silences are there for them, and A is not told again.
    theirs(2);
    assert_eq!(
        told(&sink).iter().filter(|t| *t == "A/firing").count(),
        1,
        "{:?}",
        told(&sink)
    );
}

#[test]
fn a_receiver_that_fails_or_hangs_is_told_in_the_end_and_delays_no_other() {
    let home = Home::new();
    let count = AtomicUsize::new(0);
    let sink = FakeServer::start(move |request| match request.path.as_str() {
        "/hang" => Reply::Hang,
        _ if count.fetch_add(1, Ordering::SeqCst) < 2 => Reply::status(500),
        _ => Reply::status(200),
    });
    let yaml = format!(
        "route:\n  receiver: hangs\n  group_wait: 50ms\n  group_interval: 1s\n  routes:\n\
         \x20 - {{receiver: r, matchers: ['team=b']}}\n\
         receivers:\n- name: hangs\n  webhook_configs: [{{url: '{}'}}]\n- name: r\n  webhook_configs: [{{url: '{}'}}]\n",
        sink.url("/hang"),
        sink.url("/hook")
    );
    let mut server = Server::alertmanager(&home, &home.write("alertmanager.yml", &yaml), &[]);
    server.post(
        "/api/v2/alerts",
        &json!([
            {"labels": {"alertname": "A"}}, {"labels": {"alertname": "B", "team": "b"}},
        ]),
    );
    eventually(20, "B is told in the end", || (told(&sink).len() >= 3).then_some(()));
    eventually(20, "that is known", || {
        let history = server.get("/api/v2/history?filter=team%3Db").json();
        let sent = history
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["event"] == "sent")?
            .clone();
        assert_eq!(sent["attempts"], 3);
        Some(())
    });
    let metrics = server.get("/metrics").text();
    for line in [
        "alertmanager_notification_requests_failed_total{integration=\"webhook\"} 2",
        "alertmanager_notifications_failed_total{integration=\"webhook\",reason=\"serverError\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    // A reload that fails is told, and the old configuration goes on.
    home.write("alertmanager.yml", "route: {receiver: x}\nbogus: 1\n");
    let refused = request(server.address(), "POST", "/-/reload", &[], b"").unwrap();
    assert_eq!(refused.status, 500);
    assert!(
        refused.text().starts_with("failed to reload config: "),
        "{}",
        refused.text()
    );
    assert!(refused.text().contains("bogus"), "{}", refused.text());
    assert!(
        server
            .get("/metrics")
            .text()
            .contains("alertmanager_config_last_reload_successful 0")
    );
    home.write("alertmanager.yml", &yaml);
    assert_eq!(
        request(server.address(), "POST", "/-/reload", &[], b"").unwrap().status,
        200
    );
    // Although one receiver hangs, it ends in time.
    assert!(server.stop(Signal::TERM).success());
}

#[test]
fn cupola_up_has_the_api_beside_prometheuss() {
    let home = Home::new();
    let mut server = Server::up(&home, &[]);
    server.post("/api/v2/alerts", &json!([{"labels": {"alertname": "Mine"}}]));
    let alerts = server.get("/api/v2/alerts?filter=alertname%3DMine").json();
    assert_eq!(alerts[0]["receivers"], json!([{"name": "nobody"}]));
    assert_eq!(server.get("/api/v1/alerts").json()["status"], "success");
    server.kill();
    let server = Server::up(&home, &[]);
    let alerts = server.get("/api/v2/alerts?filter=alertname%3DMine").json();
    assert_eq!(alerts[0]["labels"]["alertname"], "Mine", "it survives");
}

/// Debian's Alertmanager.
struct Alertmanager {
    child: cupola_tests::Background,
    address: std::net::SocketAddr,
}

impl Alertmanager {
    fn start(program: &Path, home: &Home, config: &Path) -> Self {
        let address = cupola_tests::free_address();
        let mut command = Command::new(program);
        command.args([
            format!("--web.listen-address={address}"),
            format!("--config.file={}", config.display()),
            format!("--storage.path={}", home.data().display()),
            "--cluster.listen-address=".to_owned(),
        ]);
        let mut child = cupola_tests::Background::start("prometheus-alertmanager", &mut command);
        eventually(30, "alertmanager is ready", || {
            assert!(child.ended().is_none(), "alertmanager ended");
            cupola_tests::get(address, "/-/ready").ok().filter(|r| r.status == 200)
        });
        Self { child, address }
    }

    fn get(&self, path: &str) -> Value {
        cupola_tests::get(self.address, path).unwrap().json()
    }

    fn send(&self, path: &str, body: &Value) {
        let headers = [("Content-Type", "application/json")];
        let answer = request(self.address, "POST", path, &headers, body.to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    fn post(&self, alerts: &Value) {
        self.send("/api/v2/alerts", alerts);
    }

    fn silence(&self, silence: &Value) {
        self.send("/api/v2/silences", silence);
    }

    fn stop(&mut self) {
        self.child.signal(Signal::TERM);
        self.child.wait(30);
    }
}

#[test]
fn debians_amtool_sees_a_weekly_silence_and_a_kill_loses_neither_it_nor_an_acknowledgement() {
    let Some(program) = neighbour("amtool") else { return };
    let (home, sink) = (Home::new(), FakeServer::sink());
    let config = config(&home, &sink);
    let mut server = Server::alertmanager(&home, &config, &[]);
    let alerts = json!([{"labels": {"alertname": "Old", "job": "backup"}}, {"labels": {"alertname": "Disk"}}]);
    server.post("/api/v2/alerts", &alerts);
    // The whole week, so that one is on whenever the test runs.
    let days = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let weekly = json!({
        "matchers": [{"name": "job", "value": "backup", "isRegex": false}], "days": days, "from": "00:00",
        "to": "24:00", "timeZone": "America/New_York", "endsAt": "2100-01-01T00:00:00Z", "createdBy": "ada",
        "comment": "backups rest",
    });
    let weekly = server.post("/api/v2/recurring-silences", &weekly).json()["id"].clone();
    let disk = server.get("/api/v2/alerts?filter=alertname%3DDisk").json()[0]["fingerprint"].clone();
    let ack = json!({"fingerprint": disk, "by": "ada", "note": "on it"});
    server.post("/api/v2/acknowledgements", &ack);
    let seen = |server: &Server| -> Vec<String> {
        let done = amtool(&program, server, &["silence", "query", "-o", "json", "job=backup"]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        let silences: Value = serde_json::from_str(&done.stdout).unwrap();
        let all = silences.as_array().unwrap().iter();
        all.map(|s| {
            assert_eq!(
                (&s["comment"], &s["createdBy"]),
                (&json!("backups rest"), &json!("ada"))
            );
            s["id"].as_str().unwrap().to_owned()
        })
        .collect()
    };
    // amtool shows what is on and what is to come.
    let before = seen(&server);
    assert_eq!(before.len(), 2, "{before:?}");
    let silenced = amtool(&program, &server, &["alert", "query", "-o", "json", "--silenced"]);
    let silenced: Value = serde_json::from_str(&silenced.stdout).unwrap();
    assert_eq!(silenced[0]["labels"]["alertname"], "Old");
    eventually(20, "the alerts are on disk", || {
        let text = std::fs::read(home.data().join("cupola-journal-00000001")).ok()?;
        text.windows(4).any(|part| part == b"Disk").then_some(())
    });
    // What happened is written within a second, unlike the rest.
    eventually(20, "the history is on disk", || {
        let text = std::fs::read(home.data().join("cupola-history-00000001")).ok()?;
        text.windows(5).any(|part| part == b"on it").then_some(())
    });
    server.kill();

    let server = Server::alertmanager(&home, &config, &[]);
    assert_eq!(seen(&server), before, "made again, or lost");
    assert_eq!(server.get("/api/v2/recurring-silences").json()[0]["id"], weekly);
    let acks = server.get("/api/v2/acknowledgements").json();
    assert_eq!((&acks[0]["fingerprint"], &acks[0]["note"]), (&disk, &json!("on it")));
    // Ours says why it is quiet.
    let why = amtool_of_ours(&server, &["why", "alertname=Disk"]);
    assert!(why.contains("acknowledged by ada: on it"), "{why}");
    // amtool ends one; it stays ended.
    let done = amtool(&program, &server, &["silence", "expire", &before[0]]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(seen(&server), before[1..]);
}

fn amtool_of_ours(server: &Server, args: &[&str]) -> String {
    let url = format!("--alertmanager.url={}", server.url());
    let mut command = cupola(["amtool", &url]);
    let done = run(command.args(args), b"");
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    done.stdout
}

// `varint` of a length, and a field of bytes, as protobuf has them.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

fn moment(seconds: u64) -> Vec<u8> {
    let mut out = vec![1 << 3];
    let mut rest = seconds;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out
}

#[test]
fn a_silence_of_several_sets_is_taken_over_from_the_file_of_a_newer_alertmanager() {
    let (home, sink) = (Home::new(), FakeServer::sink());
    let id = "b9a6d8d0-5c1f-4c7c-9c0e-0e6a5d1c8f11";
    let matcher = |name: &str, value: &str| [field(2, name.as_bytes()), field(3, value.as_bytes())].concat();
    let set = |pairs: &[(&str, &str)]| {
        let matchers = pairs.iter().map(|(name, value)| field(1, &matcher(name, value)));
        field(11, &matchers.collect::<Vec<_>>().concat())
    };
    // To disk it writes the sets alone.
    let silence = [
        field(1, id.as_bytes()),
        field(3, &moment(1_700_000_000)),
        field(4, &moment(4_000_000_000)),
        field(5, &moment(1_700_000_000)),
        field(8, b"ada"),
        field(9, b"both"),
        set(&[("alertname", "Disk"), ("host", "a")]),
        set(&[("alertname", "Cpu")]),
    ]
    .concat();
    let mesh = [field(1, &silence), field(2, &moment(4_000_432_000))].concat();
    std::fs::create_dir_all(home.data()).unwrap();
    // The file's records have their length before them, like a field without its number.
    std::fs::write(home.data().join("silences"), &field(1, &mesh)[1..]).unwrap();
    let mut server = Server::alertmanager(&home, &config(&home, &sink), &["--log.silences"]);
    let alerts = json!([
        {"labels": {"alertname": "Disk", "host": "a"}},
        {"labels": {"alertname": "Disk", "host": "b"}},
        {"labels": {"alertname": "Cpu", "host": "b"}},
    ]);
    server.post("/api/v2/alerts", &alerts);
    let quiet: Value = server.get("/api/v2/alerts?active=false").json();
    assert_eq!(quiet.as_array().unwrap().len(), 2, "{quiet}");
    let shown = server.get("/api/v2/silences?filter=alertname%3D%22Cpu%22").json();
    assert_eq!(shown[0]["id"], id, "{shown}");
    assert_eq!(shown[0]["matchers"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(shown[0]["matcherSets"][1][0]["value"], "Cpu", "{shown}");
    // Whoever changes it sends back what was shown; the id shows that it is the same silence still.
    let done = amtool_of_ours(&server, &["silence", "update", "-c", "longer", "-d", "50000h", id]);
    assert!(done.contains(id), "{done}");
    assert!(
        done.contains("alertname=\"Disk\" host=\"a\" or alertname=\"Cpu\""),
        "{done}"
    );
    let mut mixed = shown[0].clone();
    mixed["matchers"][0]["value"] = "Other".into();
    let headers = [("Content-Type", "application/json")];
    let refused = request(
        server.address(),
        "POST",
        "/api/v2/silences",
        &headers,
        mixed.to_string().as_bytes(),
    )
    .unwrap();
    assert_eq!(refused.status, 422, "{}", refused.text());
    // What becomes of it is in the log, but not that it was read.
    amtool_of_ours(&server, &["silence", "expire", id]);
    let told: Vec<String> = eventually(20, "the log tells both", || {
        let lines: Vec<String> = server
            .log()
            .into_iter()
            .filter(|line| line.contains("event=set"))
            .collect();
        (lines.len() == 2).then_some(lines)
    });
    assert!(
        told[0].contains("state=active") && told[0].contains("created_by=ada"),
        "{told:?}"
    );
    assert!(
        told[1].contains("state=expired") && told[1].contains(" or "),
        "{told:?}"
    );
    // A restart keeps all of it.
    server.stop(Signal::TERM);
    let server = Server::alertmanager(&home, &home.path().join("alertmanager.yml"), &[]);
    let again = server.get("/api/v2/silences").json();
    assert_eq!(again[0]["matcherSets"], shown[0]["matcherSets"]);
    assert_eq!(again[0]["status"]["state"], "expired");
}

#[test]
fn sockets_that_systemd_has_opened_are_used() {
    let (home, sink) = (Home::new(), FakeServer::sink());
    let config = config(&home, &sink);
    let flags = [
        "--cluster.listen-address=".to_owned(),
        "--web.systemd-socket".to_owned(),
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", home.data().display()),
    ];
    // As systemd does: from descriptor 3 on, and for this process alone.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
    let given = listener.as_raw_fd();
    let mut command = Command::new("bash");
    command.args([
        "-c",
        &format!("exec 3<&{given}; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\""),
        "bash",
    ]);
    command.arg(cupola_tests::binary()).arg("alertmanager").args(&flags);
    let server = Server::start_reading(&mut command);
    drop(listener);
    assert_eq!(server.address(), address);
    assert_eq!(server.get("/api/v2/status").status, 200);
    drop(server);
    let alone = run(cupola(["alertmanager"]).args(&flags), b"");
    assert_eq!(alone.code, Some(1), "{}", alone.stderr);
    assert!(
        alone.stderr.contains("no socket activation file descriptors found"),
        "{}",
        alone.stderr
    );
}
