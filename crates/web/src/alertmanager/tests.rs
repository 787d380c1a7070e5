//! The transcripts of Alertmanager 0.25, and what is ours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use cupola_alert::{Alertmanager, Options};
use cupola_config::matchers::MatcherMode;
use cupola_config::parse_alertmanager;
use cupola_env::{Clock, ManualClock};
use cupola_metrics::Registry;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{AlertmanagerApp, alertmanager_router};
use crate::app::Readiness;

const YAML: &str = "route: {receiver: r, group_by: [alertname]}\nreceivers: [{name: r}]\n";
const NOW: i64 = 1_795_000_000_000;

struct Server {
    router: Router,
    clock: Arc<ManualClock>,
    _stop: tokio_util::sync::DropGuard,
}

struct Reply {
    status: u16,
    kind: String,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
}

fn start(yaml: &str, mode: MatcherMode, prefix: &str, reload: Result<(), String>) -> Server {
    let clock = Arc::new(ManualClock::new(NOW));
    let stop = CancellationToken::new();
    let registry = Registry::default();
    let config = parse_alertmanager(yaml, std::path::Path::new("a.yml"), mode).unwrap();
    let options = Options {
        legacy_names: mode == MatcherMode::Classic,
        ..Options::default()
    };
    let own: Arc<dyn Clock> = clock.clone();
    let alertmanager = Alertmanager::new(config, &[], options, own, &registry, stop.clone()).unwrap();
    let ready = Readiness::default();
    ready.set_ready();
    let router = alertmanager_router(AlertmanagerApp {
        alertmanager,
        version: "0.1.0".into(),
        started_ms: NOW,
        route_prefix: prefix.into(),
        matcher_mode: mode,
        registry,
        reload: Arc::new(move || reload.clone()),
        ready,
        get_concurrency: 0,
        timeout: Duration::ZERO,
    });
    Server {
        router,
        clock,
        _stop: stop.drop_guard(),
    }
}

impl Server {
    async fn request(&self, method: &str, path: &str, kind: &str, body: &str) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status.as_u16(),
            kind: parts
                .headers
                .get("content-type")
                .map_or("", |v| v.to_str().unwrap())
                .to_owned(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, "", "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.request("POST", path, "application/json", &body.to_string()).await
    }
}

fn ms(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(|t| t.as_millisecond())
}

// What differs between the recorded run and ours without meaning anything: moments, ids, and what 0.25 had not yet.
fn plain(value: &mut Value, ids: &BTreeMap<String, String>, shift: i64) {
    match value {
        Value::Object(map) => {
            for new in ["mutedBy", "routeLabels"] {
                map.remove(new);
            }
            for (key, value) in map.iter_mut() {
                plain(value, ids, shift);
                if let Value::String(text) = value
                    && matches!(key.as_str(), "updatedAt" | "startsAt" | "endsAt")
                    && let Some(ms) = ms(text)
                {
                    // The recorded calls took a few milliseconds each, ours are made at their seconds.
                    *value = Value::from((ms + shift).div_euclid(2_000));
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|v| plain(v, ids, shift)),
        Value::String(text) => {
            if let Some(id) = ids.get(text) {
                text.clone_from(id);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_recorded_calls_get_the_recorded_answers() {
    let Some(dir) = cupola_testkit::conformance_dir("alertmanager/recorded") else {
        return;
    };
    let yaml = std::fs::read_to_string(dir.join("rec2.yml"))
        .unwrap()
        .replace("bogus: 1", "");
    let text = std::fs::read_to_string(dir.join("api_v2.json")).unwrap();
    let recorded: Vec<Value> = serde_json::from_str(&text).unwrap();
    // 0.25 read matchers and names the classic way.
    let server = start(&yaml, MatcherMode::Classic, "", Ok(()));
    let begin = ms("2026-11-22T10:54:42.143Z").unwrap();
    // Silences of the recorded run and ours.
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let mut compared = 0;
    for (index, call) in recorded.iter().enumerate() {
        let (asked, answered) = (&call["request"], &call["response"]);
        let method = asked["method"].as_str().unwrap();
        let mut path = asked["path"].as_str().unwrap().to_owned();
        let mut body = match &asked["body"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        // The second part was recorded two seconds later.
        server.clock.set(begin + if index >= 28 { 2_085 } else { 0 });
        for (theirs, ours) in &ids {
            path = path.replace(theirs, ours);
            body = body.replace(theirs, ours);
        }
        let kind = if index == 38 { "text/plain" } else { "application/json" };
        let reply = server.request(method, &path, kind, &body).await;
        if let Some(id) = answered["json"]["silenceID"].as_str() {
            ids.insert(id.to_owned(), reply.json()["silenceID"].as_str().unwrap().to_owned());
        }
        let status = answered["status"].as_u64().unwrap();
        let expected = match index {
            // Newer versions know the address no more, say 404 for a silence that is not there, and refuse v1.
            67 => 404,
            73 => 410,
            // The refused reload is tested with the binary.
            79 => 200,
            _ => status,
        };
        assert_eq!(
            u64::from(reply.status),
            expected,
            "{index} {method} {path}: {}",
            reply.text
        );
        let theirs = &answered["json"];
        // 2 tells of the other program; 22 has words that are newer.
        if theirs.is_null() || expected != status || index == 2 || index == 22 {
            continue;
        }
        compared += 1;
        assert_eq!(reply.kind, "application/json", "{index}");
        let mut ours = reply.json();
        match theirs {
            Value::Array(_) => {}
            Value::String(text) => {
                let text = text.replace("silence invalid:", "invalid silence:");
                // The prefix of Go's messages about regular expressions shows the anchors since 0.27.
                let ours = ours.as_str().unwrap().replace("`^(?:()$`", "`(`");
                assert_eq!(ours, text.replace("`^(?:()$`", "`(`"), "{index}");
                continue;
            }
            Value::Object(map) if map.contains_key("code") => {
                assert_eq!(ours["code"], theirs["code"], "{index}");
                // What Go says of bytes that are no JSON, and the order of methods, are Go's.
                let is_gos = theirs["message"].as_str().unwrap().contains("because") || ours["code"] == 405;
                if !is_gos {
                    assert_eq!(ours["message"], theirs["message"], "{index}");
                }
                continue;
            }
            _ => {}
        }
        let mut theirs = theirs.clone();
        plain(&mut theirs, &ids, 0);
        if index == 3 {
            // Receivers have labels since 0.33.
            for receiver in ours.as_array_mut().unwrap() {
                assert_eq!(receiver["labels"]["name"], receiver["name"]);
                receiver.as_object_mut().unwrap().remove("labels");
            }
        }
        let is_silence = path.starts_with("/api/v2/silence");
        if is_silence {
            let all = match &mut ours {
                Value::Array(all) => all.iter_mut().collect(),
                one => vec![one],
            };
            for silence in all.into_iter().filter_map(Value::as_object_mut) {
                silence.remove("annotations");
            }
        }
        plain(&mut ours, &BTreeMap::new(), 0);
        assert_eq!(ours, theirs, "{index} {method} {path}");
    }
    assert!(compared >= 55, "only {compared} answers compared");
}

#[tokio::test]
async fn merged_alerts_are_as_alertmanager_shows_them() {
    let Some(dir) = cupola_testkit::conformance_dir("alertmanager/merge") else {
        return;
    };
    let text = std::fs::read_to_string(dir.join("cases.json")).unwrap();
    let cases: Value = serde_json::from_str(&text).unwrap();
    let at = |offset: &Value| {
        let ms = NOW + (offset.as_f64()? * 1000.0) as i64;
        Some(jiff::Timestamp::from_millisecond(ms).unwrap().to_string())
    };
    for case in cases["cases"].as_array().unwrap() {
        let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
        for (index, post) in case["posts"].as_array().unwrap().iter().enumerate() {
            server.clock.set(NOW + index as i64);
            let mut alert = serde_json::json!({"labels": {"alertname": "A"}});
            for name in ["startsAt", "endsAt"] {
                if let Some(time) = at(&post[format!("{name}_offset_s")]) {
                    alert[name] = time.into();
                }
            }
            let reply = server.post("/api/v2/alerts", &Value::from(vec![alert])).await;
            assert_eq!(
                Value::from(reply.status),
                case["statuses"][index],
                "{case}: {}",
                reply.text
            );
        }
        let shown = server.get("/api/v2/alerts").await.json();
        let expected = case["visible"].as_array().unwrap();
        assert_eq!(shown.as_array().unwrap().len(), expected.len(), "{case}: {shown}");
        for (shown, expected) in shown.as_array().unwrap().iter().zip(expected) {
            for name in ["startsAt", "endsAt"] {
                let offset = ms(shown[name].as_str().unwrap()).unwrap() - NOW;
                let wanted = (expected[format!("{name}_offset_s")].as_f64().unwrap() * 1000.0) as i64;
                assert!(offset.abs_diff(wanted) <= 5, "{case}: {shown}");
            }
            assert_eq!(shown["status"]["state"], expected["state"], "{case}");
        }
    }
}

#[tokio::test]
async fn the_server_has_alertmanagers_other_addresses() {
    let server = start(YAML, MatcherMode::Fallback, "/foo", Err("a.yml:1:1: no".into()));
    for (method, path, status, part) in [
        ("GET", "/foo/-/healthy", 200, "OK"),
        ("GET", "/foo/-/ready", 200, "OK"),
        ("GET", "/foo/api/v2/status", 200, "\"version\":\"0.34.0\""),
        ("GET", "/foo/api/v1/alerts", 410, "\"status\":\"deprecated\""),
        ("POST", "/foo/-/reload", 500, "failed to reload config: a.yml:1:1: no"),
        ("GET", "/foo/-/reload", 405, "Method Not Allowed"),
        ("GET", "/", 302, ""),
        ("GET", "/api/v2/status", 404, ""),
        ("GET", "/foo/metrics", 200, "alertmanager_alerts{state=\"active\"} 0"),
    ] {
        let reply = server.request(method, path, "", "").await;
        assert_eq!(reply.status, status, "{method} {path}");
        assert!(reply.text.contains(part), "{method} {path}: {}", reply.text);
    }
}

#[tokio::test]
async fn names_since_0_27_may_be_any_text() {
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    let alert = serde_json::json!([{"labels": {"foo Σ": "bar🙂"}}]);
    assert_eq!(server.post("/api/v2/alerts", &alert).await.status, 200);
    let silence = serde_json::json!({
        "matchers": [{"name": "foo Σ", "value": "bar🙂", "isRegex": false}], "createdBy": "a", "comment": "b",
        "annotations": {"ticket": "1"}, "startsAt": "0001-01-01T00:00:00.000Z", "endsAt": "2027-01-01T00:00:00Z",
    });
    assert_eq!(server.post("/api/v2/silences", &silence).await.status, 200);
    let query = "filter=%22foo%20%CE%A3%22%3D%22bar%F0%9F%99%82%22";
    let silences = server.get(&format!("/api/v2/silences?{query}")).await.json();
    assert_eq!(silences[0]["annotations"]["ticket"], "1");
    for state in ["expired", "pending"] {
        let none = format!("/api/v2/silences?{query}&active=false&{state}=true");
        assert_eq!(server.get(&none).await.text, "[]");
    }
    let alerts = server.get(&format!("/api/v2/alerts?{query}")).await.json();
    assert_eq!(alerts[0]["status"]["silencedBy"][0], silences[0]["id"]);
    assert_eq!(server.get("/api/v2/alerts?silenced=false").await.text, "[]");
    // Why it is quiet, from the beginning.
    let events = server.get(&format!("/api/v2/history?{query}")).await.json();
    let names: Vec<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["grouped", "fired"]);
    assert_eq!(server.get("/api/v2/history?limit=x").await.status, 422);
}

#[tokio::test]
async fn a_long_list_is_whole_and_sorted() {
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    let alerts: Vec<Value> = (0..3_000)
        .map(|i| serde_json::json!({"labels": {"alertname": "A", "i": i.to_string()}, "annotations": {"text": "x".repeat(100)}}))
        .collect();
    assert_eq!(server.post("/api/v2/alerts", &alerts.into()).await.status, 200);
    let shown = server.get("/api/v2/alerts").await;
    assert!(shown.text.len() > 1 << 20, "long enough to be sent in pieces");
    let shown = shown.json();
    let prints: Vec<&str> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["fingerprint"].as_str().unwrap())
        .collect();
    assert_eq!(prints.len(), 3_000);
    assert!(prints.is_sorted());
    let groups = server.get("/api/v2/alerts/groups?filter=i%3D~%221.%2A%22").await.json();
    assert_eq!(groups.as_array().unwrap().len(), 1);
    assert_eq!(groups[0]["alerts"].as_array().unwrap().len(), 1_111);
    assert_eq!(server.get("/api/v2/alerts?filter=i%3Dx").await.text, "[]");
}

#[tokio::test]
async fn bad_bodies_are_refused_and_never_panic() {
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    let corpus: Vec<Vec<u8>> = [
        r#"[{"labels":{"a":"b"},"annotations":{"x":"\u00e9"},"startsAt":"2026-11-22T10:54:34.222Z","generatorURL":"http://x"}]"#,
        r#"{"matchers":[{"name":"a","value":"b","isRegex":true}],"createdBy":"","comment":"","startsAt":"","endsAt":"2027-01-01T00:00:00Z"}"#,
    ]
    .map(|s| s.as_bytes().to_vec())
    .to_vec();
    cupola_testkit::fuzz(5_000, &corpus, &["null", "\"", "0001-01-01"], |bytes| {
        let _ = super::posted::alerts(bytes, NOW, false);
        let _ = super::posted::silence(bytes, NOW);
    });
    for (body, code) in [("", 602), ("[{\"labels\":null}]", 602), ("{", 400)] {
        let reply = server.request("POST", "/api/v2/alerts", "application/json", body).await;
        assert_eq!(reply.json()["code"], code, "{body}: {}", reply.text);
    }
    let reply = server.get("/api/v2/alerts?filter=%7Ba%3D%22b%22%7D").await;
    assert_eq!(reply.json(), "unexpected open or close brace: {a=\"b\"}");
    assert_eq!(reply.status, StatusCode::BAD_REQUEST.as_u16());
}

mod own;

#[tokio::test]
async fn methods_that_do_not_exist_make_no_series_each() {
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    for method in ["AAA", "AAB", "GET"] {
        server.request(method, "/api/v2/status", "", "").await;
    }
    let metrics = server.get("/metrics").await.text;
    assert!(!metrics.contains("aaa") && !metrics.contains("AAB"), "{metrics}");
    let unknown = "alertmanager_http_request_duration_seconds_count{handler=\"/api/v2/status\",method=\"unknown\",code=\"405\"} 2";
    assert!(metrics.contains(unknown), "{metrics}");
}

#[tokio::test]
async fn a_client_that_goes_away_is_no_longer_counted_as_in_flight() {
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    let asking = Box::pin(server.get("/metrics"));
    // It is asked, waits for another thread, and is dropped.
    tokio::select! {
        biased;
        _ = asking => panic!("answered at once"),
        () = std::future::ready(()) => {}
    }
    let metrics = server.get("/metrics").await.text;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("alertmanager_http_requests_in_flight"));
    assert_eq!(line, Some("alertmanager_http_requests_in_flight{method=\"get\"} 1"));
}

struct NeverComes;

impl hyper::body::Body for NeverComes {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_holds_no_connection_for_ever() {
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    for path in ["/api/v2/alerts", "/api/v2/silences", "/api/v2/receivers/test"] {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(Body::new(NeverComes))
            .unwrap();
        let response = server.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("did not come within 60s"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn posted_bodies_share_memory_and_wait_no_longer_than_their_time() {
    let budget = cupola_net::BodyBudget::new("posted bodies", 4 << 10);
    let read = async |bytes: usize| {
        let request = Request::post("/api/v2/alerts").header("content-type", "application/json");
        let (parts, body) = request.body(Body::from(vec![b' '; bytes])).unwrap().into_parts();
        let read = super::body_of(&budget, &parts, body, "alerts").await;
        match read {
            Ok((body, room)) => Ok((body.len(), room)),
            Err(refusal) => {
                let text = refusal.into_response().into_body().collect().await.unwrap().to_bytes();
                Err(String::from_utf8_lossy(&text).into_owned())
            }
        }
    };
    let too_large = read(2049).await.unwrap_err();
    assert!(
        too_large.contains("half of what posted bodies may take together"),
        "{too_large}"
    );
    let first = read(2048).await.unwrap();
    let second = read(2048).await.unwrap();
    assert_eq!((first.0, second.0, budget.used()), (2048, 2048, 4096));
    let third = read(1).await.unwrap_err();
    assert!(third.contains("others took all memory for bodies"), "{third}");
    drop((first, second));
    assert_eq!(budget.used(), 0);
    assert!(read(2048).await.is_ok());
}

#[tokio::test]
async fn null_labels_and_a_slash_behind_the_address_were_refused() {
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    let alerts = r#"[{"labels": {"alertname": "A", "x": null}, "annotations": {"summary": null}}]"#;
    let posted = server
        .request("POST", "/api/v2/alerts/", "application/json", alerts)
        .await;
    assert_eq!(posted.status, 200, "{}", posted.text);
    let shown = server.get("/api/v2/alerts/").await.json();
    assert_eq!(shown[0]["labels"], serde_json::json!({"alertname": "A"}));
    assert_eq!(shown[0]["annotations"], serde_json::json!({}));
    for path in ["status/", "receivers/", "alerts/groups/", "silences/"] {
        assert_eq!(server.get(&format!("/api/v2/{path}")).await.status, 200, "{path}");
    }
    assert_eq!(server.get("/api/v2/nothing/").await.status, 404);
    let none = server
        .request(
            "POST",
            "/api/v2/alerts",
            "application/json",
            r#"[{"labels": {"a": null}}]"#,
        )
        .await;
    assert_eq!(none.text.trim_end(), "\"at least one label pair required\"");
}

#[tokio::test]
async fn the_metrics_are_alertmanagers() {
    let Some(dir) = cupola_testkit::conformance_dir("alertmanager/recorded") else {
        return;
    };
    let text = std::fs::read_to_string(dir.join("metrics_exposition_0_25.json")).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    server.get("/api/v2/alerts").await;
    let ours = server.get("/metrics").await.text;
    // What Go's runtime and its libraries say is Go's; these the program adds, and cluster_* the cluster.
    let is_elsewhere = |name: &str| {
        !name.starts_with("alertmanager_")
            || name.starts_with("alertmanager_config_")
            || name.starts_with("alertmanager_cluster_")
    };
    let mut compared = 0;
    for line in recorded["text"]
        .as_str()
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
    {
        let name = line.split(' ').nth(2).unwrap();
        if !is_elsewhere(name) {
            assert!(ours.lines().any(|one| one == line), "{line}");
            compared += 1;
        }
    }
    assert!(compared >= 25, "only {compared} families");
}
