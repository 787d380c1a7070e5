//! A group that is larger than a Discord message, told to a server that refuses what Discord refuses.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use cupola_tests::{FakeServer, Home, Reply, Request, Server, eventually};
use parking_lot::Mutex;
use serde_json::{Value, json};

const LIMITED: &str = r#"{"message": "You are being rate limited.", "retry_after": 1.25, "global": false}"#;
const TOO_LARGE: &str = r#"{"embeds": ["Embed size exceeds maximum size of 6000"]}"#;

fn characters(value: &Value) -> usize {
    value.as_str().map_or(0, |text| text.chars().count())
}

// What Discord's documentation says of the size of a message with embeds.
fn is_taken(message: &Value) -> bool {
    let embeds = message["embeds"].as_array().unwrap();
    let fits = |embed: &Value| characters(&embed["title"]) <= 256 && characters(&embed["description"]) <= 4096;
    let size = |embed: &Value| characters(&embed["title"]) + characters(&embed["description"]);
    characters(&message["content"]) <= 2000
        && embeds.len() <= 10
        && embeds.iter().all(fits)
        && embeds.iter().map(size).sum::<usize>() <= 6000
}

#[test]
fn a_large_group_is_one_message_within_discords_limits_that_waits_as_long_as_it_is_asked_to() {
    let asked: Arc<Mutex<Vec<(Instant, u16)>>> = Arc::default();
    let kept = asked.clone();
    let sink = FakeServer::start(move |request: &Request| {
        let mut asked = kept.lock();
        let reply = match (asked.is_empty(), is_taken(&request.json())) {
            (true, _) => Reply::Json(429, &["Retry-After: 2", "X-RateLimit-Reset-After: 1.25"], LIMITED),
            (_, true) => Reply::status(204),
            (_, false) => Reply::Json(400, &[], TOO_LARGE),
        };
        let code = match &reply {
            Reply::Json(code, ..) | Reply::Body(code, ..) => *code,
            _ => 0,
        };
        asked.push((Instant::now(), code));
        reply
    });
    let home = Home::new();
    let yaml = format!(
        "route: {{receiver: r, group_by: [alertname], group_wait: 300ms, group_interval: 30s}}\n\
         receivers:\n- name: r\n  discord_configs: [{{webhook_url: '{}'}}]\n",
        sink.url("/api/webhooks/1/token")
    );
    let config = home.write("alertmanager.yml", &yaml);
    let flags = [
        "--web.external-url=http://alertmanager.example/",
        "--web.route-prefix=/",
    ];
    let server = Server::alertmanager(&home, &config, &flags);
    let alerts: Vec<Value> = (0..200)
        .map(|n| {
            json!({
                "labels": {"alertname": "Full", "instance": format!("node-{n:03}")},
                "annotations": {"description": format!("Ä disk is full. {}", "ö".repeat(200))},
            })
        })
        .collect();
    server.post("/api/v2/alerts", &Value::from(alerts));
    let [(refused, 429), (taken, 204)] = *eventually(30, "the message is taken", || {
        let asked = asked.lock().clone();
        (asked.len() > 1).then_some(asked)
    }) else {
        panic!("{:?}", asked.lock());
    };
    let waited = taken - refused;
    assert!(waited >= Duration::from_millis(1250), "{waited:?}");
    let message = sink.requests("/api/webhooks/1/token").remove(1).json();
    let embeds = message["embeds"].as_array().unwrap();
    assert!(embeds.len() > 1, "{message}");
    assert!(
        embeds[0]["title"].as_str().unwrap().starts_with("[FIRING:200] Full"),
        "{message}"
    );
    let texts: Vec<&str> = embeds.iter().map(|e| e["description"].as_str().unwrap()).collect();
    let text = texts.join("\n");
    let told = text.matches("instance = node-").count();
    assert!((10..60).contains(&told), "{told}");
    let last = format!(
        "…and {} more firing: http://alertmanager.example/#/alerts?receiver=r",
        200 - told
    );
    assert_eq!(text.lines().last(), Some(last.as_str()));
}
