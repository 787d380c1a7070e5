use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use cupola_config::matchers::MatcherMode;
use cupola_config::parse_alertmanager;

use super::*;

// Wall time that goes with tokio's.
struct TokioClock {
    begin: Instant,
}

impl Clock for TokioClock {
    fn now_ms(&self) -> i64 {
        1_795_000_000_000 + ms(self.begin.elapsed())
    }
}

// A receiver on loopback that answers with the given status codes in turn, the last one for ever, and hands on bodies.
fn sink(codes: &'static [u16]) -> (String, mpsc::Receiver<serde_json::Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for turn in 0.. {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = Vec::new();
            let mut part = [0; 4096];
            let body = loop {
                let Ok(n) = stream.read(&mut part) else { return };
                request.extend_from_slice(&part[..n]);
                let text = String::from_utf8_lossy(&request).into_owned();
                if let Some((_, body)) = text.split_once("\r\n\r\n")
                    && let Ok(json) = serde_json::from_str(body)
                {
                    break json;
                }
                if n == 0 {
                    return;
                }
            };
            let code = codes.get(turn).or(codes.last()).copied().unwrap_or(200);
            let _ = write!(
                stream,
                "HTTP/1.1 {code} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            if sender.send(body).is_err() {
                return;
            }
        }
    });
    (url, receiver)
}

fn parsed(yaml: &str) -> AlertmanagerConfig {
    parse_alertmanager(yaml, std::path::Path::new("a.yml"), MatcherMode::Fallback).unwrap()
}

fn manager(yaml: &str) -> Alertmanager {
    start(yaml, Options::default())
}

fn start(yaml: &str, options: Options) -> Alertmanager {
    start_at(yaml, options, Instant::now())
}

// With a clock that began then.
fn start_at(yaml: &str, options: Options, begin: Instant) -> Alertmanager {
    let clock = Arc::new(TokioClock { begin });
    let stop = CancellationToken::new();
    Alertmanager::new(parsed(yaml), &[], options, clock, &Registry::default(), stop).unwrap()
}

fn alert(manager: &Alertmanager, pairs: &[(&str, &str)], resolved: bool) -> Alert {
    let now = manager.inner.clock.now_ms();
    Alert {
        labels: Labels::from_pairs(pairs.iter().copied()),
        annotations: Labels::empty(),
        starts_at: now,
        ends_at: Some(if resolved { now } else { now + 3_600_000 }),
        generator_url: String::new(),
    }
}

// Waits for the next message, a bounded number of turns.
async fn message(receiver: &mpsc::Receiver<serde_json::Value>) -> serde_json::Value {
    for _ in 0..20_000 {
        if let Ok(body) = receiver.try_recv() {
            return body;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no message came");
}

fn config(url: &str) -> String {
    format!(
        "route: {{receiver: r, group_by: [alertname], group_wait: 10s, group_interval: 1m, repeat_interval: 1h}}\n\
         receivers:\n- name: r\n  webhook_configs: [{{url: '{url}'}}]\n"
    )
}

#[tokio::test]
async fn a_group_is_told_when_it_fires_and_when_it_is_over() {
    let (url, messages) = sink(&[200]);
    let yaml = config(&url).replace("10s", "10ms").replace("1m", "50ms");
    let manager = manager(&yaml);
    let (a, b) = (
        [("alertname", "Down"), ("instance", "a")],
        [("alertname", "Down"), ("instance", "b")],
    );
    manager.post(&[alert(&manager, &a, false), alert(&manager, &b, false)]);
    let first = message(&messages).await;
    assert_eq!(
        (first["status"].as_str(), first["alerts"].as_array().unwrap().len()),
        (Some("firing"), 2)
    );
    assert_eq!(first["groupKey"], "{}:{alertname=\"Down\"}");
    assert_eq!(first["notification_reason"], "first notification");
    manager.post(&[alert(&manager, &a, true)]);
    let second = message(&messages).await;
    assert_eq!(second["notification_reason"], "some alerts resolved");
    manager.post(&[alert(&manager, &b, true)]);
    let third = message(&messages).await;
    assert_eq!(
        (third["status"].as_str(), third["alerts"].as_array().unwrap().len()),
        (Some("resolved"), 1)
    );
    // What was sent is written down once it is answered.
    for _ in 0..1000 {
        if manager.history().len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let history = manager.history();
    assert_eq!(
        history.iter().map(|d| d.status).collect::<Vec<_>>(),
        ["resolved", "firing", "firing"]
    );
}

#[tokio::test]
async fn a_server_error_is_tried_again_a_client_error_is_not() {
    let (url, messages) = sink(&[500, 200]);
    let manager = manager(&config(&url).replace("10s", "10ms"));
    manager.post(&[alert(&manager, &[("alertname", "A")], false)]);
    assert_eq!(
        message(&messages).await,
        message(&messages).await,
        "the same message twice"
    );
    let (url, messages) = sink(&[400]);
    let manager = super::tests::manager(&config(&url).replace("10s", "10ms"));
    manager.post(&[alert(&manager, &[("alertname", "A")], false)]);
    message(&messages).await;
    for _ in 0..1000 {
        if manager
            .history()
            .first()
            .is_some_and(|d| d.outcome == crate::Outcome::Failed)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not given up: {:?}", manager.history());
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    // Accepts and never answers.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, messages) = sink(&[200]);
    let yaml = format!(
        "route:\n  receiver: hangs\n  group_wait: 10ms\n  routes:\n  - {{receiver: works, matchers: ['team=b']}}\n\
         receivers:\n- name: hangs\n  webhook_configs: [{{url: 'http://{}/'}}, {{url: '{url}'}}]\n\
         - name: works\n  webhook_configs: [{{url: '{url}'}}]\n",
        hanging.local_addr().unwrap()
    );
    let manager = manager(&yaml);
    manager.post(&[
        alert(&manager, &[("alertname", "A"), ("team", "a")], false),
        alert(&manager, &[("alertname", "B"), ("team", "b")], false),
    ]);
    let mut receivers = [message(&messages).await, message(&messages).await];
    receivers.sort_by_key(|m| m["receiver"].as_str().unwrap().to_owned());
    assert_eq!(
        receivers
            .iter()
            .map(|m| m["receiver"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["hangs", "works"]
    );
}

#[tokio::test]
async fn a_reload_tells_nobody_twice() {
    let (url, messages) = sink(&[200]);
    let yaml = config(&url).replace("10s", "10ms").replace("1m", "20ms");
    let manager = manager(&yaml);
    manager.post(&[alert(&manager, &[("alertname", "A")], false)]);
    message(&messages).await;
    for _ in 0..1000 {
        if !manager.history().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    manager.reload(parsed(&yaml), &[]).unwrap();
    let flushes = manager.inner.metrics.flushes.get();
    // Several flushes of the new group go by in silence.
    for _ in 0..1000 {
        if manager.inner.metrics.flushes.get() > flushes + 3.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(manager.inner.metrics.flushes.get() > flushes + 3.0);
    assert!(messages.try_recv().is_err());
}

#[tokio::test]
async fn an_inhibited_alert_is_not_told() {
    let (url, messages) = sink(&[200]);
    let rule = "inhibit_rules:\n- {source_matchers: ['severity=critical'], target_matchers: ['severity=warning'], equal: [instance]}\n";
    let manager = manager(&format!(
        "{}{rule}",
        config(&url).replace("10s", "50ms").replace("[alertname]", "[]")
    ));
    let labels = |name, severity, instance| [("alertname", name), ("severity", severity), ("instance", instance)];
    manager.post(&[
        alert(&manager, &labels("A", "critical", "x"), false),
        alert(&manager, &labels("B", "warning", "x"), false),
        alert(&manager, &labels("C", "warning", "y"), false),
    ]);
    let body = message(&messages).await;
    let names: Vec<_> = body["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["labels"]["alertname"].clone())
        .collect();
    assert_eq!(names, ["A", "C"]);
}

#[tokio::test]
async fn a_resolved_alert_that_nobody_knew_is_no_news() {
    let manager = manager(&config("http://127.0.0.1:1/"));
    manager.post(&[alert(&manager, &[("alertname", "A")], true)]);
    assert!(manager.groups().is_empty());
}

mod acknowledged;
mod cluster;
mod disk;
mod faults;
mod rehearsed;
mod scenarios;
mod timing;
