//! The requests of Alertmanager 0.25, recorded: ours are the same, byte for byte.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cupola_config::alertmanager::Receiver;
use cupola_config::{MatcherMode, parse_alertmanager};
use cupola_model::Labels;
use parking_lot::Mutex;
use serde_json::Value;

use crate::data::{Notification, NotifiedAlert};
use crate::templates::Templates;
use crate::{Integration, SendError};

/// What a sink got: method and path, the headers that matter, the body.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Got {
    to: String,
    authorization: String,
    body: String,
}

/// A server on loopback that takes everything. It ends with the process.
struct Sink {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Sink {
    // `answer` gives status line and body for a path.
    fn start(answer: fn(&str) -> (&'static str, &'static str)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let kept = got.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(stream, answer, &kept);
            }
        });
        Self { address, got }
    }

    fn take(&self) -> Vec<Got> {
        std::mem::take(&mut *self.got.lock())
    }
}

fn serve(stream: TcpStream, answer: fn(&str) -> (&'static str, &'static str), got: &Mutex<Vec<Got>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace();
    let (method, path) = (
        words.next().unwrap_or("").to_owned(),
        words.next().unwrap_or("").to_owned(),
    );
    let (mut len, mut authorization) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => len = value.parse().unwrap(),
            "authorization" => authorization = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    let (status, text) = answer(&path);
    let kind = if text.starts_with('{') {
        "application/json"
    } else {
        "text/plain"
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    got.lock().push(Got {
        to: format!("{method} {path}"),
        authorization,
        body: String::from_utf8(body).unwrap(),
    });
    let _ = (&stream).write_all(head.as_bytes());
}

fn well(path: &str) -> (&'static str, &'static str) {
    match path {
        path if path.starts_with("/cgi-bin/gettoken") => ("200 OK", "{\"access_token\":\"tok\",\"errcode\":0}"),
        path if path.starts_with("/cgi-bin/") => ("200 OK", "{\"errcode\":0}"),
        path if path.starts_with("/slack/") => ("200 OK", "ok"),
        _ => ("202 Accepted", "{}"),
    }
}

fn labels(json: &Value) -> Labels {
    let pairs = json.as_object().into_iter().flatten();
    Labels::from_pairs(pairs.map(|(name, value)| (name, value.as_str().unwrap())))
}

fn time(json: &Value) -> i64 {
    let time: jiff::Timestamp = json.as_str().unwrap().parse().unwrap();
    time.as_millisecond()
}

// The alerts of the recording, as they are told: firing, or ended when the recording says.
pub(super) fn notification(record: &Value, ended: Option<&Value>) -> Notification {
    let alerts = record["input"][0]["request"]["body"].as_array().unwrap();
    let alerts = alerts.iter().enumerate().map(|(at, alert)| NotifiedAlert {
        is_new: true,
        labels: labels(&alert["labels"]),
        annotations: labels(&alert["annotations"]),
        starts_at: time(&alert["startsAt"]),
        ends_at: ended.map(|body| time(&body["alerts"][at]["endsAt"])),
        generator_url: alert["generatorURL"].as_str().unwrap().to_owned(),
    });
    let group = [("alertname", "KubePodCrashLooping"), ("namespace", "dome")];
    Notification {
        receiver: "all".to_owned(),
        alerts: alerts.collect(),
        group_labels: Labels::from_pairs(group),
        external_url: "http://alertmanager.example:9093".to_owned(),
        group_key: "{}:{alertname=\"KubePodCrashLooping\", namespace=\"dome\"}".to_owned(),
        reason: "first notification",
        route_labels: BTreeMap::new(),
    }
}

fn receiver(yaml: &str) -> Receiver {
    let config = parse_alertmanager(yaml, Path::new("a.yml"), MatcherMode::Fallback).unwrap();
    config.receivers.into_iter().next().unwrap()
}

async fn send_all(all: &[Integration], notification: &Notification, is_wanted: impl Fn(&Integration) -> bool) {
    for integration in all {
        if is_wanted(integration) {
            let sent = integration.send(notification, Duration::from_secs(20)).await;
            sent.unwrap_or_else(|error| panic!("{} {}: {error}", integration.kind(), integration.index()));
        }
    }
}

// What newer versions say besides, taken out.
fn of_0_25(body: &str) -> Value {
    let mut body: Value = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    if let Some(body) = body.as_object_mut() {
        body.remove("notification_reason");
        if let Some(details) = body
            .get_mut("payload")
            .and_then(|payload| payload["custom_details"].as_object_mut())
        {
            // Texts until 0.29.
            for name in ["firing", "resolved", "num_firing", "num_resolved"] {
                details.remove(name);
            }
        }
    }
    body
}

#[tokio::test]
async fn requests_are_those_of_alertmanager() {
    let Some(dir) = cupola_testkit::conformance_dir("alertmanager/recorded") else {
        return;
    };
    let record: Value =
        serde_json::from_str(&std::fs::read_to_string(dir.join("receivers_all.json")).unwrap()).unwrap();
    let sink = Sink::start(well);
    let yaml = std::fs::read_to_string(dir.join("rec1.yml")).unwrap();
    let receiver = receiver(&yaml.replace("127.0.0.1:19099", &sink.address.to_string()));
    let integrations = Integration::of(&receiver, &Templates::defaults());
    let mut count = 0;
    for phase in ["firing", "resolved"] {
        let recorded = record[phase].as_array().unwrap();
        let webhook = recorded.iter().find(|request| request["path"] == "/webhook").unwrap();
        let webhook: Value = serde_json::from_str(webhook["body"].as_str().unwrap()).unwrap();
        let notification = notification(&record, (phase == "resolved").then_some(&webhook));
        let firing = phase == "firing";
        send_all(&integrations, &notification, |one| {
            one.kind() != "email" && (firing || one.send_resolved())
        })
        .await;
        let mut expected: Vec<Got> = recorded
            .iter()
            .map(|request| Got {
                to: format!(
                    "{} {}",
                    request["method"].as_str().unwrap(),
                    request["path"].as_str().unwrap()
                ),
                authorization: request["headers"]["Authorization"].as_str().unwrap_or("").to_owned(),
                body: request["body"].as_str().unwrap().to_owned(),
            })
            .collect();
        let mut got = sink.take();
        expected.sort();
        got.sort();
        // Resolved messages find WeChat's token still there, in either.
        for (got, expected) in got.iter().zip(&expected) {
            assert_eq!((&got.to, &got.authorization), (&expected.to, &expected.authorization));
            assert_eq!(of_0_25(&got.body), of_0_25(&expected.body), "{phase} {}", got.to);
            if !got.to.contains("/webhook") && !got.to.contains("/pd/") {
                assert_eq!(got.body, expected.body, "{phase} {}", got.to);
            }
        }
        assert_eq!(got.len(), expected.len(), "{phase}");
        count += got.len();
    }
    assert!(count >= 25, "{count}");
}

fn one(kind: &str, fields: &str, globals: &str) -> Integration {
    let yaml = format!(
        "global: {{{globals}}}\nroute: {{receiver: all}}\nreceivers:\n- name: all\n  {kind}_configs: [{{{fields}}}]\n"
    );
    let receiver = receiver(&yaml);
    Integration::of(&receiver, &Templates::defaults()).remove(0)
}

async fn sent(integration: &Integration) -> Result<(), SendError> {
    integration
        .send(&crate::data::example(true), Duration::from_secs(20))
        .await
}

#[tokio::test]
async fn what_was_not_recorded_is_sent_as_documented() {
    let sink = Sink::start(|path| {
        if path.contains("rocket") {
            ("200 OK", "{\"success\":true}")
        } else {
            well(path)
        }
    });
    let at = |path: &str| format!("'http://{}/{path}'", sink.address);
    let body = |got: &[Got]| -> Value { serde_json::from_str(&got[0].body).unwrap() };
    sent(&one("msteams", &format!("webhook_url: {}", at("teams")), ""))
        .await
        .unwrap();
    let got = body(&sink.take());
    assert_eq!(
        (&got["type"], &got["themeColor"]),
        (&"MessageCard".into(), &"8C1A1A".into())
    );
    sent(&one("msteamsv2", &format!("webhook_url: {}", at("teams")), ""))
        .await
        .unwrap();
    let got = body(&sink.take());
    assert_eq!(got["attachments"][0]["content"]["body"][0]["color"], "Attention");
    sent(&one(
        "mattermost",
        &format!(
            "webhook_url: {}, props: {{card: c}}, priority: {{priority: urgent}}",
            at("mm")
        ),
        "",
    ))
    .await
    .unwrap();
    let got = body(&sink.take());
    assert_eq!(
        (&got["props"]["card"], &got["priority"]["priority"]),
        (&"c".into(), &"urgent".into())
    );
    assert!(
        got["text"].as_str().is_some_and(|text| !text.is_empty()) || !got["attachments"][0].is_null(),
        "{got}"
    );
    let fields = format!("api_url: {}, channel: '#a', token: t, token_id: i", at("rocket"));
    sent(&one("rocketchat", &fields, "")).await.unwrap();
    let got = sink.take();
    assert_eq!(got[0].to, "POST /rocket/api/v1/chat.postMessage");
    assert_eq!(body(&got)["channel"], "#a");
    let fields = format!("url: {}, alert_source_token: tok, metadata: {{team: a}}", at("inc"));
    sent(&one("incidentio", &fields, "")).await.unwrap();
    let got = sink.take();
    assert_eq!(
        (got[0].authorization.as_str(), &body(&got)["metadata"]["team"]),
        ("Bearer tok", &"a".into())
    );
    let token = format!("app_token: xoxb, app_url: {}, channel: c", at("api"));
    let refused = Sink::start(|_| ("200 OK", "{\"ok\":false,\"error\":\"channel_not_found\"}"));
    let token = token.replace(&sink.address.to_string(), &refused.address.to_string());
    let error = sent(&one("slack", &token, "")).await.unwrap_err();
    assert!(error.message.contains("channel_not_found") && !error.retry, "{error}");
    assert_eq!(refused.take()[0].authorization, "Bearer xoxb");
}

#[tokio::test]
async fn statuses_say_whether_another_attempt_helps_and_no_error_shows_a_secret() {
    for (answer, retry, reason) in [
        ("400 Bad Request", false, "clientError"),
        ("404 Not Found", false, "clientError"),
        ("429 Too Many Requests", true, "rateLimited"),
        ("500 Internal Server Error", true, "serverError"),
        ("503 Service Unavailable", true, "serverError"),
    ] {
        let sink = match answer {
            "400 Bad Request" => Sink::start(|_| ("400 Bad Request", "no")),
            "404 Not Found" => Sink::start(|_| ("404 Not Found", "no")),
            "429 Too Many Requests" => Sink::start(|_| ("429 Too Many Requests", "no")),
            "500 Internal Server Error" => Sink::start(|_| ("500 Internal Server Error", "no")),
            _ => Sink::start(|_| ("503 Service Unavailable", "no")),
        };
        let base = format!("http://{}/hunter", sink.address);
        for (kind, fields) in [
            ("slack", format!("api_url: '{base}', channel: c")),
            ("pagerduty", format!("url: '{base}', routing_key: hunter")),
            ("opsgenie", format!("api_url: '{base}', api_key: hunter")),
            (
                "victorops",
                format!("api_url: '{base}', api_key: hunter, routing_key: r"),
            ),
            (
                "webex",
                format!("api_url: '{base}', room_id: r, http_config: {{authorization: {{credentials: hunter}}}}"),
            ),
            ("msteamsv2", format!("webhook_url: '{base}'")),
            ("mattermost", format!("webhook_url: '{base}'")),
        ] {
            let error = sent(&one(kind, &fields, "")).await.unwrap_err();
            assert_eq!((error.retry, error.reason), (retry, reason), "{kind} {answer}");
            assert!(!error.to_string().contains("hunter"), "{kind}: {error}");
        }
    }
    let closed = cupola_testkit::free_address();
    let error = sent(&one(
        "slack",
        &format!("api_url: 'http://{closed}/hunter', channel: c"),
        "",
    ))
    .await
    .unwrap_err();
    assert!(error.retry && !error.to_string().contains("hunter"), "{error}");
}

mod refusals;
mod tickets;
