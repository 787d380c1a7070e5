//! What arrives where something fails between an alert and its receiver. `docs/delivery-faults.md` lists the faults.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cupola_tests::{
    Clock, FakeServer, Home, Reply, Request, Server, alertmanager, binary, eventually, free_address, request, run, skip,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

// The status and the text of the answer.
fn send(server: &Server, path: &str, body: &Value) -> (u16, String) {
    let headers = [("Content-Type", "application/json")];
    let answer = request(server.address(), "POST", path, &headers, body.to_string().as_bytes()).unwrap();
    (answer.status, answer.text())
}

// An alert of each team.
fn fire(server: &Server, teams: &[&str]) {
    let alerts: Vec<Value> = teams
        .iter()
        .map(|team| json!({"labels": {"alertname": "A", "team": team}}))
        .collect();
    assert_eq!(send(server, "/api/v2/alerts", &json!(alerts)).0, 200);
}

// What happened to the team's alert, the oldest first.
fn history(server: &Server, team: &str) -> Vec<Value> {
    let events = server.get(&format!("/api/v2/history?filter=team%3D{team}")).json();
    events.as_array().unwrap().iter().rev().cloned().collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["event"].as_str()).collect()
}

// Waits until the team's message has arrived, and returns what happened.
fn arrived(server: &Server, team: &str) -> Vec<Value> {
    eventually(60, &format!("team {team} is told"), || {
        Some(history(server, team)).filter(|events| names(events).contains(&"sent"))
    })
}

// One receiver for each team, its webhook at that URL.
fn teams(urls: &[(&str, String)]) -> String {
    let mut routes = String::new();
    let mut receivers = String::new();
    for (team, url) in urls {
        routes.push_str(&format!("  - {{receiver: {team}, matchers: ['team={team}']}}\n"));
        receivers.push_str(&format!("- name: {team}\n  webhook_configs: [{{url: '{url}'}}]\n"));
    }
    format!(
        "route:\n  receiver: none\n  group_by: [alertname]\n  group_wait: 50ms\n  group_interval: 1s\n\
         \x20 repeat_interval: 1h\n  routes:\n{routes}receivers:\n- name: none\n{receivers}"
    )
}

// A receiver that answers each connection's request with the next of these bytes, the last of them for ever, and closes
// it; and how many requests came.
fn raw(answers: &'static [&'static [u8]]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (mut request, mut part) = (Vec::new(), [0; 4096]);
            // All of them are small, and their body ends the JSON.
            while !request.ends_with(b"}\n") {
                match stream.read(&mut part) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => request.extend_from_slice(&part[..n]),
                }
            }
            if request.is_empty() {
                continue;
            }
            let turn = counted.fetch_add(1, Ordering::SeqCst);
            let answer = answers.get(turn).or(answers.last()).copied().unwrap_or_default();
            // Whoever does not want it has gone.
            let _ = stream.write_all(answer);
        }
    });
    (address, count)
}

#[test]
fn what_a_receiver_answers_decides_when_its_message_arrives() {
    let asked: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let seen = asked.clone();
    let sink = FakeServer::start(move |request| {
        let turn = {
            let mut seen = seen.lock();
            seen.push((request.path.clone(), Instant::now()));
            seen.iter().filter(|(path, _)| *path == request.path).count()
        };
        match (request.path.as_str(), turn) {
            ("/bad-secret", 1 | 2) => Reply::Body(400, "text/plain", "no such channel".to_owned()),
            ("/limited-secret", 1) => Reply::Headers(429, &["Retry-After: 2"]),
            ("/busy-secret", 1) => Reply::status(503),
            ("/hangs-secret", 1) => Reply::Hang,
            _ => Reply::status(200),
        }
    });
    let (garbage, garbled) = raw(&[
        b"\x00\xff\x16 this is no HTTP\r\n\r\n",
        b"HTTP/1.1 9999 What\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ]);
    let (broken, broken_off) = raw(&[b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"]);
    let (nothing, unanswered) = raw(&[
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ]);
    // A port at which nobody listens.
    let closed = free_address();
    let home = Home::new();
    let yaml = teams(&[
        ("bad", sink.url("/bad-secret")),
        ("limited", sink.url("/limited-secret")),
        ("busy", sink.url("/busy-secret")),
        ("hangs", sink.url("/hangs-secret")),
        ("garbage", format!("http://{garbage}/garbage-secret")),
        ("broken", format!("http://{broken}/broken-secret")),
        ("nothing", format!("http://{nothing}/nothing-secret")),
        ("closed", format!("http://{closed}/closed-secret")),
        ("well", sink.url("/well-secret")),
    ]);
    let server = Server::alertmanager(&home, &home.write("alertmanager.yml", &yaml), &[]);
    let all = [
        "bad", "limited", "busy", "hangs", "garbage", "broken", "nothing", "closed", "well",
    ];
    fire(&server, &all);

    // None of the others holds it up.
    let events = arrived(&server, "well");
    assert_eq!(names(&events), ["fired", "grouped", "sent"]);

    // Refused: not tried again at once, but with each flush of the group, so that a receiver put right is told.
    let events = arrived(&server, "bad");
    assert_eq!(names(&events), ["fired", "grouped", "failed", "failed", "sent"]);
    for event in &events[2..4] {
        assert_eq!(event["attempts"], 1);
        assert_eq!(event["error"], "unexpected status code 400: no such channel");
    }
    assert_eq!(events[4]["reason"], "first notification");

    let events = arrived(&server, "limited");
    assert_eq!(names(&events), ["fired", "grouped", "retrying", "sent"]);
    assert_eq!(events[3]["attempts"], 2);
    let times: Vec<Instant> = {
        let asked = asked.lock();
        let of = asked.iter().filter(|(path, _)| path == "/limited-secret");
        of.map(|(_, at)| *at).collect()
    };
    assert!(
        times[1] - times[0] >= Duration::from_secs(2),
        "Retry-After is not obeyed"
    );

    let events = arrived(&server, "busy");
    assert_eq!(names(&events), ["fired", "grouped", "retrying", "sent"]);
    let events = arrived(&server, "garbage");
    assert_eq!(names(&events), ["fired", "grouped", "retrying", "retrying", "sent"]);
    assert_eq!(garbled.load(Ordering::SeqCst), 3);
    // It has taken the message, whatever became of the rest of its answer.
    let events = arrived(&server, "broken");
    assert_eq!(names(&events), ["fired", "grouped", "sent"]);
    assert_eq!(broken_off.load(Ordering::SeqCst), 1);
    let events = arrived(&server, "nothing");
    assert_eq!(names(&events), ["fired", "grouped", "retrying", "sent"]);
    assert_eq!(unanswered.load(Ordering::SeqCst), 2);

    // One that hangs is given up when the flush ends, after ten seconds, and told with the next one.
    let events = arrived(&server, "hangs");
    assert_eq!(names(&events), ["fired", "grouped", "failed", "sent"]);

    eventually(30, "nobody listens there, and that is told", || {
        let events = history(&server, "closed");
        let told = events.iter().find(|event| event["event"] == "retrying")?;
        assert!(told["error"].as_str().unwrap().contains("refused"), "{told}");
        Some(())
    });
    let metrics = server.get("/metrics").text();
    for (reason, least) in [
        ("clientError", 2.0),
        ("contextDeadlineExceeded", 1.0),
        ("serverError", 0.0),
    ] {
        let name = format!("alertmanager_notifications_failed_total{{integration=\"webhook\",reason=\"{reason}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        assert!(line.parse::<f64>().unwrap() >= least, "{name}{line}");
    }
    // What is secret in a receiver's URL is nowhere.
    for path in ["/api/v2/history", "/api/v2/status", "/metrics"] {
        assert!(!server.get(path).text().contains("-secret"), "{path} shows a secret");
    }
    assert!(!server.log().join("\n").contains("-secret"), "the log shows a secret");
}

#[test]
fn a_name_that_cannot_be_resolved_is_tried_until_it_can() {
    let sink = FakeServer::sink();
    let home = Home::new();
    let port = sink.address().port();
    let url = format!("http://receiver.example:{port}");
    let yaml = teams(&[("named", format!("{url}/hook")), ("well", sink.url("/well"))]);
    // Other kinds go the same way, mail goes another.
    let route = "  - {receiver: others, matchers: ['team=others']}\n  - {receiver: mailed, matchers: ['team=mailed']}\nreceivers:\n";
    let yaml = yaml.replace("receivers:\n", route);
    let yaml = format!(
        "{yaml}- name: others\n  discord_configs: [{{webhook_url: '{url}/discord'}}]\n\
         - name: mailed\n  email_configs: [{{to: a@b, from: a@b, smarthost: 'receiver.example:{port}', require_tls: false}}]\n"
    );
    let config = home.write("alertmanager.yml", &yaml);
    // A name service of our own: nobody answers, and the list of hosts is ours.
    let hosts = home.write("hosts", "127.0.0.1 localhost\n");
    let resolver = home.write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    let script = format!(
        "mount --bind {} /etc/hosts && mount --bind {} /etc/resolv.conf && exec \"$@\"",
        hosts.display(),
        resolver.display()
    );
    let mut probe = Command::new("unshare");
    probe.args(["-m", "sh", "-c", &script, "sh", "true"]);
    if !probe.output().is_ok_and(|output| output.status.success()) {
        skip("no file may be mounted here, so names cannot be made to fail");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script, "sh"]);
    command
        .arg(binary())
        .args(alertmanager(&home, &config).get_args())
        .current_dir(home.path());
    let server = Server::start_reading(&mut command);
    let unknown = ["named", "others", "mailed"];
    fire(&server, &[&unknown[..], &["well"]].concat());
    arrived(&server, "well");
    for team in unknown {
        eventually(30, "the failure is told", || {
            let events = history(&server, team);
            let told = events.iter().find(|event| event["event"] == "retrying")?;
            assert!(told["error"].as_str().unwrap().contains("receiver.example"), "{told}");
            Some(())
        });
    }
    assert!(sink.requests("/hook").is_empty() && sink.requests("/discord").is_empty());
    // Into the file itself: it is mounted.
    std::fs::write(&hosts, "127.0.0.1 localhost receiver.example\n").unwrap();
    let events = arrived(&server, "named");
    assert_eq!(sink.requests("/hook").len(), 1, "{events:?}");
    arrived(&server, "others");
    assert_eq!(sink.requests("/discord").len(), 1);
    // Who is there now is no mail server, but it was found.
    eventually(60, "the mail goes to where the name leads", || {
        let events = history(&server, "mailed");
        let found = |event: &&Value| {
            event["error"]
                .as_str()
                .is_some_and(|error| !error.contains("receiver.example"))
        };
        events.iter().find(found).map(drop)
    });
}

#[test]
fn a_template_that_fails_costs_its_own_message_alone() {
    let sink = FakeServer::sink();
    let home = Home::new();
    let yaml = format!(
        "templates: ['*.tmpl']\n\
         route: {{receiver: r, group_by: [alertname], group_wait: 50ms, group_interval: 1s}}\n\
         receivers:\n- name: r\n\
         \x20 discord_configs:\n\
         \x20 - {{webhook_url: '{0}', message: '{{{{ template \"nosuch\" . }}}}'}}\n\
         \x20 - {{webhook_url: '{0}', title: '{{{{ .Nosuch }}}}'}}\n\
         \x20 - {{webhook_url: '{0}', title: '{{{{ range .Alerts }}}}'}}\n\
         \x20 webhook_configs: [{{url: '{1}'}}]\n",
        sink.url("/discord"),
        sink.url("/hook"),
    );
    let config = home.write("alertmanager.yml", &yaml);
    let server = Server::alertmanager(&home, &config, &[]);
    fire(&server, &["a"]);
    arrived(&server, "a");
    assert_eq!(sink.requests("/hook").len(), 1);
    let failed = |integration: &str, why: &str| {
        eventually(20, &format!("{integration} fails, and why is told"), || {
            let events = history(&server, "a");
            let of = |event: &&Value| event["integration"] == integration;
            let told = events
                .iter()
                .filter(of)
                .find(|event| event["event"] == "failed")?
                .clone();
            assert_eq!(told["attempts"], 1, "another attempt does not help: {told}");
            let error = told["error"].as_str().unwrap();
            assert!(error.starts_with("template: ") && error.contains(why), "{told}");
            Some(())
        });
    };
    failed("discord[0]", "nosuch");
    failed("discord[1]", "Nosuch");
    failed("discord[2]", "");
    assert!(sink.requests("/discord").is_empty());

    // A file that does not parse: the configuration is not loaded, the old one goes on.
    home.write("broken.tmpl", "{{ define \"a\" }}\n  {{ if }}\n{{ end }}\n");
    let (status, text) = send(&server, "/-/reload", &json!(null));
    assert_eq!(status, 500, "{text}");
    assert!(text.contains("broken.tmpl:2:"), "{text}");
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains("alertmanager_config_last_reload_successful 0"),
        "{metrics}"
    );
    fire(&server, &["b"]);
    arrived(&server, "b");
    // Nothing starts with it.
    let refused = run(&mut alertmanager(&home, &config), b"");
    assert!(
        refused.code != Some(0) && refused.stderr.contains("broken.tmpl:2:"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_silence_with_a_broken_regex_is_refused_and_keeps_nobody_quiet() {
    let sink = FakeServer::sink();
    let home = Home::new();
    let config = home.write("alertmanager.yml", &teams(&[("a", sink.url("/hook"))]));
    let server = Server::alertmanager(&home, &config, &[]);
    let silence = json!({
        "matchers": [{"name": "team", "value": "a(", "isRegex": true}], "createdBy": "a", "comment": "b",
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z",
    });
    let (status, text) = send(&server, "/api/v2/silences", &silence);
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("a("), "{text}");
    assert_eq!(server.get("/api/v2/silences").json(), json!([]));
    fire(&server, &["a"]);
    assert_eq!(names(&arrived(&server, "a")), ["fired", "grouped", "sent"]);
}

#[test]
fn killed_while_a_message_is_on_its_way_it_is_told_once_more_and_not_twice_more() {
    let home = Home::new();
    let turn = AtomicUsize::new(0);
    // The first message arrives, but its answer does not come before the process ends.
    let sink = FakeServer::start(move |_| match turn.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Hang,
        _ => Reply::status(200),
    });
    let config = home.write("alertmanager.yml", &teams(&[("a", sink.url("/hook"))]));
    let mut server = Server::alertmanager(&home, &config, &[]);
    fire(&server, &["a"]);
    eventually(20, "the message is on its way", || sink.requests("/hook").pop());
    server.kill();
    let server = Server::alertmanager(&home, &config, &[]);
    arrived(&server, "a");
    let over = json!([{"labels": {"alertname": "A", "team": "a"}, "endsAt": "2020-01-01T00:00:01Z"}]);
    assert_eq!(send(&server, "/api/v2/alerts", &over).0, 200);
    let told = |request: &Request| request.json()["status"].as_str().unwrap().to_owned();
    eventually(20, "the end is told", || {
        sink.requests("/hook")
            .iter()
            .map(told)
            .find(|status| status == "resolved")
    });
    let all: Vec<Request> = sink.requests("/hook");
    assert_eq!(
        all.iter().map(told).collect::<Vec<_>>(),
        ["firing", "firing", "resolved"]
    );
    let (first, again) = (all[0].json(), all[1].json());
    assert_eq!(first["groupKey"], again["groupKey"]);
    assert_eq!(first["alerts"][0]["fingerprint"], again["alerts"][0]["fingerprint"]);
    assert_eq!(first["alerts"][0]["startsAt"], again["alerts"][0]["startsAt"]);
}

#[test]
fn slacks_message_is_changed_by_the_process_after_a_kill_too() {
    let home = Home::new();
    let sink = FakeServer::start(|_| {
        let answer = "{\"ok\":true,\"ts\":\"1700000000.000100\",\"channel\":\"C024BE91L\"}";
        Reply::Body(200, "application/json", answer.to_owned())
    });
    let yaml = format!(
        "route: {{receiver: r, group_by: [alertname], group_wait: 50ms, group_interval: 1s}}\n\
         receivers:\n- name: r\n  slack_configs:\n\
         \x20 - {{app_url: '{}', app_token: t, channel: c, update_message: true, send_resolved: true}}\n",
        sink.url("/api/chat.postMessage")
    );
    let config = home.write("alertmanager.yml", &yaml);
    let mut server = Server::alertmanager(&home, &config, &[]);
    fire(&server, &["a"]);
    arrived(&server, "a");
    server.kill();
    let server = Server::alertmanager(&home, &config, &[]);
    let over = json!([{"labels": {"alertname": "A", "team": "a"}, "endsAt": "2020-01-01T00:00:01Z"}]);
    assert_eq!(send(&server, "/api/v2/alerts", &over).0, 200);
    let change = eventually(20, "the message is changed", || sink.requests("/api/chat.update").pop());
    let change = change.json();
    assert_eq!(
        (&change["ts"], &change["channel"]),
        (&"1700000000.000100".into(), &"C024BE91L".into())
    );
    assert_eq!(sink.requests("/api/chat.postMessage").len(), 1);
}

#[test]
fn a_clock_that_jumps_neither_loses_nor_repeats_what_is_posted_again() {
    let (home, sink) = (Home::new(), FakeServer::sink());
    let Some(clock) = Clock::new(&home) else { return };
    let config = home.write(
        "alertmanager.yml",
        &teams(&[("a", sink.url("/a")), ("b", sink.url("/b"))]),
    );
    let mut command = alertmanager(&home, &config);
    clock.give_to(&mut command);
    let server = Server::start_reading(&mut command);
    let told = |path: &str| -> Vec<String> {
        let status = |request: &Request| request.json()["status"].as_str().unwrap().to_owned();
        sink.requests(path).iter().map(status).collect()
    };
    let is_told = |path: &str, expected: &[&str]| {
        eventually(30, &format!("{path}: {expected:?}"), || {
            (told(path) == expected).then_some(())
        });
    };
    // The groups look several times.
    let look = || {
        let queries = || server.own_metric("alertmanager_nflog_queries_total").unwrap();
        let before = queries();
        eventually(30, "the groups look several times", || {
            (queries() >= before + 6.0).then_some(())
        });
    };
    fire(&server, &["a"]);
    is_told("/a", &["firing"]);
    // By less than the five minutes for which an alert lasts that nobody posts again: forth, back, and forth again.
    for ahead in [120, -120, 100] {
        clock.is_ahead_by(ahead);
        fire(&server, &["a"]);
        look();
        is_told("/a", &["firing"]);
    }
    fire(&server, &["b"]);
    is_told("/b", &["firing"]);
    let over = json!([{"labels": {"alertname": "A", "team": "a"}, "endsAt": "2020-01-01T00:00:01Z"}]);
    assert_eq!(send(&server, "/api/v2/alerts", &over).0, 200);
    is_told("/a", &["firing", "resolved"]);
    // By more: nobody has posted it for so long, by this clock. It is told anew once somebody does.
    clock.is_ahead_by(3_600);
    is_told("/b", &["firing", "resolved"]);
    fire(&server, &["b"]);
    is_told("/b", &["firing", "resolved", "firing"]);
    assert_eq!(told("/a").len(), 2);
}
