//! Alertmanager's recorded restart (`recorded/restart.json`, `rec4.yml`) with our process: an alert is told, the process
//! stops and starts on the same folder, the alert is posted again; and the same with the files that the recorded process
//! left, their times moved to now, as all of them ended in 2026.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::path::Path;
use std::process::Command;

use cupola_tests::{FakeServer, Home, Request, Server, conformance, eventually, now_ms, run};
use rustix::process::Signal;
use serde_json::{Value, json};

// Seconds of the recorded moments and what is around them.
const RECORDED: std::ops::Range<u64> = 1_795_000_000..1_797_000_000;

struct Recorded {
    json: Value,
    yaml: String,
}

impl Recorded {
    fn read(sink: &FakeServer) -> Option<Self> {
        let dir = conformance("alertmanager/recorded")?;
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        let yaml = read("rec4.yml").replace("http://127.0.0.1:19099", &sink.url(""));
        assert!(yaml.contains(&sink.url("/w/restart")), "{yaml}");
        Some(Self {
            json: serde_json::from_str(&read("restart.json")).unwrap(),
            yaml,
        })
    }

    // The message without what is of the run: times, and what versions after 0.25 say besides.
    fn message(mut json: Value) -> Value {
        for name in ["notification_reason", "routeLabels"] {
            json.as_object_mut().unwrap().remove(name);
        }
        for alert in json["alerts"].as_array_mut().unwrap() {
            assert!(alert["startsAt"].take().as_str().is_some_and(|at| at.starts_with("20")));
        }
        json
    }

    // The same of a silence.
    fn silence(mut json: Value) -> Value {
        let silence = json.as_object_mut().unwrap();
        assert_eq!(silence.remove("annotations").unwrap_or_else(|| json!({})), json!({}));
        for name in ["id", "updatedAt", "startsAt", "endsAt"] {
            assert!(
                silence
                    .insert(name.to_owned(), "".into())
                    .is_some_and(|was| was.is_string())
            );
        }
        json
    }
}

fn start(home: &Home) -> Server {
    let flags = [
        "--web.external-url=http://alertmanager.example:9093/",
        "--web.route-prefix=/",
    ];
    Server::alertmanager(home, "rec4.yml".as_ref(), &flags)
}

fn fire(server: &Server, name: &str) {
    server.post("/api/v2/alerts", &json!([{"labels": {"alertname": name}}]));
}

// Another alert of another group is told, and after it the group of R1 has had its turns.
fn nothing_more_is_told_of_it(server: &Server, sink: &FakeServer) {
    fire(server, "R1");
    fire(server, "R2");
    let asked = |server: &Server| server.own_metric("alertmanager_nflog_queries_total").unwrap();
    eventually(30, "the groups were looked at, several times", || {
        (asked(server) >= 6.0).then_some(())
    });
    let all: Vec<String> = sink
        .requests("/w/restart")
        .iter()
        .map(|told| told.json()["groupLabels"]["alertname"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(all.iter().filter(|name| *name == "R2").count(), 1, "{all:?}");
}

#[test]
fn the_recorded_restart_tells_an_alert_once_and_keeps_the_silence() {
    let sink = FakeServer::sink();
    let Some(recorded) = Recorded::read(&sink) else { return };
    let home = Home::new();
    home.write("rec4.yml", &recorded.yaml);
    let mut server = start(&home);
    fire(&server, "R1");
    let told = || sink.requests("/w/restart");
    eventually(30, "R1 is told", || told().pop());
    let silence = json!({
        "matchers": [{"name": "x", "value": "y", "isRegex": false}], "createdBy": "a", "comment": "b",
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z",
    });
    server.post("/api/v2/silences", &silence);
    let before = server.get("/api/v2/silences").json();
    assert!(server.stop(Signal::TERM).success());

    let server = start(&home);
    nothing_more_is_told_of_it(&server, &sink);
    let messages: Vec<Value> = told().iter().map(Request::json).collect();
    let of_it: Vec<Value> = messages
        .into_iter()
        .filter(|message| message["groupLabels"]["alertname"] == "R1")
        .map(Recorded::message)
        .collect();
    let theirs = recorded.json["notifications"].as_array().unwrap().iter();
    let theirs: Vec<Value> = theirs.map(|told| Recorded::message(told["json"].clone())).collect();
    assert_eq!(of_it, theirs);
    let after = server.get("/api/v2/silences").json();
    assert_eq!(after, before);
    let theirs = &recorded.json["silences_after"]["response"]["json"];
    assert_eq!(after.as_array().unwrap().len(), theirs.as_array().unwrap().len());
    assert_eq!(
        Recorded::silence(after[0].clone()),
        Recorded::silence(theirs[0].clone())
    );
}

// Protocol buffers write the seconds of a moment as field 1, in five bytes.
fn moved(bytes: &mut [u8], by: u64) -> usize {
    let mut count = 0;
    for at in 0..bytes.len().saturating_sub(5) {
        let place = at + 1..at + 6;
        let seconds: u64 = (0..5).map(|i| u64::from(bytes[at + 1 + i] & 0x7f) << (7 * i)).sum();
        let is_last = bytes[at + 5] & 0x80 == 0;
        if bytes[at] == 0x08 && is_last && RECORDED.contains(&seconds) {
            for (i, byte) in bytes[place].iter_mut().enumerate() {
                let more = if i < 4 { 0x80 } else { 0 };
                *byte = ((seconds + by) >> (7 * i) & 0x7f) as u8 | more;
            }
            count += 1;
        }
    }
    count
}

fn unpacked(home: &Home, base64: &str) -> Vec<u8> {
    let file = home.path().join("unpacked");
    let script = format!("base64 -d > '{}'", file.display());
    let done = run(Command::new("sh").args(["-c", &script]), base64.as_bytes());
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    std::fs::read(file).unwrap()
}

#[test]
fn the_files_of_the_recorded_alertmanager_are_gone_on_with() {
    let sink = FakeServer::sink();
    let Some(recorded) = Recorded::read(&sink) else { return };
    let home = Home::new();
    home.write("rec4.yml", &recorded.yaml);
    std::fs::create_dir_all(home.data()).unwrap();
    let shown = &recorded.json["silences_after"]["response"]["json"][0];
    let began: jiff::Timestamp = shown["startsAt"].as_str().unwrap().parse().unwrap();
    // As if it had been a minute ago.
    let by = (now_ms() / 1000 - began.as_second() - 60).unsigned_abs();
    for (name, moments) in [("nflog", 2), ("silences", 4)] {
        let text = recorded.json["snapshot_base64"][name].as_str().unwrap();
        let mut bytes = unpacked(&home, text);
        assert_eq!(
            bytes.len() as u64,
            recorded.json["snapshot_files_bytes"][name].as_u64().unwrap()
        );
        assert_eq!(moved(&mut bytes, by), moments, "{name}");
        write(&home.data().join(name), &bytes);
    }
    let server = start(&home);
    let silences = server.get("/api/v2/silences").json();
    assert_eq!(silences[0]["id"], shown["id"]);
    assert_eq!(Recorded::silence(silences[0].clone()), Recorded::silence(shown.clone()));
    nothing_more_is_told_of_it(&server, &sink);
    assert_eq!(
        sink.requests("/w/restart").len(),
        1,
        "R1 was told by the recorded process"
    );
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}
