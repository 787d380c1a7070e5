//! Every kind of receiver that speaks HTTP, each with every fault that `docs/delivery-faults.md` has for receivers: what
//! arrives, and when. (Pushover's address cannot be changed, so it is not among them; it sends by the same code. Mail is in
//! `mail.rs`.)

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use cupola_tests::{Home, Server, eventually};
use parking_lot::Mutex;
use serde_json::{Value, json};

// What the first request meets.
const FAULTS: [&str; 6] = ["refused", "limited", "busy", "garbled", "closed", "hanging"];

// The fields of a kind that is reached at `url`; `secret` is what nobody may see of them.
fn fields(kind: &str, url: &str) -> String {
    let secret = format!("'{url}?key=hunter-1'");
    let url = format!("'{url}/'");
    match kind {
        "webhook" => format!("url: {secret}"),
        "discord" | "mattermost" | "msteams" | "msteamsv2" => format!("webhook_url: {secret}"),
        "slack" => format!("api_url: {secret}, channel: c"),
        "incidentio" => format!("url: {secret}, alert_source_token: hunter-1"),
        "telegram" => format!("api_url: {url}, bot_token: hunter-1, chat_id: 1"),
        "victorops" => format!("api_url: {url}, api_key: hunter-1, routing_key: r"),
        "opsgenie" => format!("api_url: {url}, api_key: hunter-1"),
        "pagerduty" => format!("url: {url}, routing_key: hunter-1"),
        "rocketchat" => format!("api_url: {url}, channel: c, token: hunter-1, token_id: hunter-1"),
        "wechat" => format!("api_url: {url}, api_secret: hunter-1, corp_id: c, to_user: u"),
        "webex" => format!("api_url: {url}, room_id: r, http_config: {{authorization: {{credentials: hunter-1}}}}"),
        "jira" => format!(
            "api_url: {url}, project: p, issue_type: t, http_config: {{basic_auth: {{username: u, password: hunter-1}}}}"
        ),
        "sns" => {
            format!("api_url: {url}, topic_arn: t, sigv4: {{region: r, access_key: AK, secret_key: hunter-1}}")
        }
        other => panic!("{other}"),
    }
}

const KINDS: [&str; 16] = [
    "discord",
    "incidentio",
    "jira",
    "mattermost",
    "msteams",
    "msteamsv2",
    "opsgenie",
    "pagerduty",
    "rocketchat",
    "slack",
    "sns",
    "telegram",
    "victorops",
    "webex",
    "webhook",
    "wechat",
];

// What each kind takes for a success.
fn success(kind: &str, path: &str) -> (&'static str, &'static str) {
    match kind {
        "slack" => ("text/plain", "ok"),
        "rocketchat" => ("application/json", "{\"success\":true}"),
        "wechat" if path.contains("gettoken") => ("application/json", "{\"access_token\":\"hunter-1\",\"errcode\":0}"),
        "wechat" => ("application/json", "{\"errcode\":0}"),
        "jira" if path.contains("search") => ("application/json", "{\"issues\":[]}"),
        "jira" => ("application/json", "{\"key\":\"OPS-1\"}"),
        _ => ("text/plain", ""),
    }
}

/// How often each `fault/kind` was asked.
type Asked = Arc<Mutex<BTreeMap<String, usize>>>;

fn receivers() -> (SocketAddr, Asked) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Asked::default();
    let kept = asked.clone();
    std::thread::spawn(move || {
        // Those that are never answered stay open.
        let hanging = Arc::new(Mutex::new(Vec::new()));
        for stream in listener.incoming().map_while(Result::ok) {
            let (kept, hanging) = (kept.clone(), hanging.clone());
            std::thread::spawn(move || {
                if let Some(stream) = serve(stream, &kept) {
                    hanging.lock().push(stream);
                }
            });
        }
    });
    (address, asked)
}

// Answers one request; one that is to hang is given back.
fn serve(stream: TcpStream, asked: &Mutex<BTreeMap<String, usize>>) -> Option<TcpStream> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut head, mut length) = (String::new(), 0);
    reader.read_line(&mut head).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok()?;
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    let path = head.split(' ').nth(1)?;
    let mut parts = path.split(['/', '?']).skip(1);
    let (fault, kind) = (parts.next()?, parts.next()?);
    let turn = {
        let mut asked = asked.lock();
        let count = asked.entry(format!("{fault}/{kind}")).or_default();
        *count += 1;
        *count
    };
    let answer = |status: &str, kind: &str, text: &str| {
        let length = text.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n");
        // Whoever does not want it has gone.
        let _ = (&stream).write_all(format!("{head}Connection: close\r\n\r\n{text}").as_bytes());
    };
    match fault {
        _ if turn > 1 => {
            let (kind, text) = success(kind, path);
            answer("200 OK", kind, text);
        }
        // Many say of which path they know nothing.
        "refused" => answer(
            "400 Bad Request",
            "text/plain",
            &format!("Cannot POST {path} (hunter-1)"),
        ),
        "limited" => answer("429 Too Many Requests", "text/plain", ""),
        "busy" => answer("503 Service Unavailable", "text/html", "<h1>hunter-1 is down</h1>"),
        "garbled" => drop((&stream).write_all(b"\x00\xff\x16 this is no HTTP\r\n\r\n")),
        "closed" => {}
        "hanging" => return Some(stream),
        other => panic!("{other}"),
    }
    None
}

#[test]
fn every_kind_of_receiver_gets_its_message_after_each_fault() {
    let (address, asked) = receivers();
    let (mut routes, mut receivers, mut alerts) = (String::new(), String::new(), Vec::new());
    for kind in KINDS {
        for fault in FAULTS {
            let team = format!("{kind}-{fault}");
            let fields = fields(kind, &format!("http://{address}/{fault}/{kind}"));
            routes.push_str(&format!("  - {{receiver: {team}, matchers: ['team={team}']}}\n"));
            receivers.push_str(&format!("- name: {team}\n  {kind}_configs: [{{{fields}}}]\n"));
            alerts.push(json!({"labels": {"alertname": "A", "team": team}}));
        }
    }
    let home = Home::new();
    let yaml = format!(
        "route:\n  receiver: none\n  group_by: [alertname]\n  group_wait: 50ms\n  group_interval: 1s\n\
         \x20 repeat_interval: 1h\n  routes:\n{routes}receivers:\n- name: none\n{receivers}"
    );
    let config = home.write("alertmanager.yml", &yaml);
    let server = Server::alertmanager(&home, &config, &[]);
    server.post("/api/v2/alerts", &Value::from(alerts));

    for kind in KINDS {
        for fault in FAULTS {
            let events = eventually(90, &format!("{kind} is told, {fault} at first"), || {
                let events = server
                    .get(&format!("/api/v2/history?filter=team%3D{kind}-{fault}"))
                    .json();
                let events: Vec<Value> = events.as_array()?.iter().rev().cloned().collect();
                events.iter().any(|event| event["event"] == "sent").then_some(events)
            });
            let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
            let then = match (fault, kind) {
                // As in Alertmanager, whatever the bot's API says, it is asked again.
                ("refused", "telegram") => "retrying",
                // With the next flush.
                ("refused" | "hanging", _) => "failed",
                _ => "retrying",
            };
            assert_eq!(
                names,
                ["fired", "grouped", then, "sent"],
                "{kind}, {fault}: {events:#?}"
            );
            let error = events[2]["error"].as_str().unwrap();
            let part = match fault {
                "refused" => "400: Cannot POST",
                "limited" => "429",
                "busy" => "503",
                "hanging" => "context deadline exceeded",
                "closed" => "EOF",
                _ => "",
            };
            assert!(error.contains(part), "{kind}, {fault}: {error}");
            let count = asked.lock()[&format!("{fault}/{kind}")];
            // A token and a search are requests of their own.
            let expected = if matches!(kind, "jira" | "wechat") { 3 } else { 2 };
            assert_eq!(count, expected, "{kind}, {fault}");
        }
    }
    for path in ["/api/v2/history", "/api/v2/notifications", "/api/v2/status", "/metrics"] {
        assert!(!server.get(path).text().contains("hunter"), "{path} shows a secret");
    }
    assert!(!server.log().join("\n").contains("hunter"), "the log shows a secret");
}
