//! What the server tells of its own state, and stopping it.

use super::*;
use crate::app::FailedReload;
use expect_test::expect;
use std::time::Duration;

#[tokio::test]
async fn each_relabelling_step_is_told() {
    let server = start(|_| {});
    let uri = "/api/v1/targets/relabel_steps?scrapePool=api&labels={\"a\":\"x\",\"b\":\"y\"}";
    server
        .check(
            uri,
            200,
            expect![[r#"{"status":"success","data":{"steps":[{"rule":{"sourceLabels":["a","b"],"separator":"-","regex":"(.*)","targetLabel":"c","replacement":"$1","action":"replace"},"output":{"a":"x","b":"y","c":"x-y"},"keep":true},{"rule":{"sourceLabels":["a"],"separator":";","regex":"(.*)","modulus":4,"targetLabel":"shard","replacement":"$1","action":"hashmod"},"output":{"a":"x","b":"y","c":"x-y","shard":"2"},"keep":true},{"rule":{"sourceLabels":["c"],"separator":";","regex":"x.*","replacement":"$1","action":"keep"},"output":{"a":"x","b":"y","c":"x-y","shard":"2"},"keep":true},{"rule":{"separator":";","regex":"a","replacement":"$1","action":"labeldrop"},"output":{"b":"y","c":"x-y","shard":"2"},"keep":true}]}}"#]],
        )
        .await;
    // What is dropped has no labels any more, at that step and after it.
    let dropped = server
        .get("/api/v1/targets/relabel_steps?scrapePool=api&labels={\"a\":\"z\"}")
        .await;
    let steps = dropped.json()["data"]["steps"].clone();
    let kept: Vec<_> = steps.as_array().unwrap().iter().map(|s| s["keep"] == true).collect();
    assert_eq!(kept, [true, true, false, false]);
    assert_eq!(steps[3]["output"], serde_json::json!({}));
    for (query, text) in [
        ("", "no scrapePool parameter provided"),
        ("?scrapePool=api", "no labels parameter provided"),
        (
            "?scrapePool=x&labels={}",
            "error retrieving scrape config: unknown scrape pool \"x\"",
        ),
        (
            "?scrapePool=api&labels=[",
            "error parsing labels: EOF while parsing a value at line 1 column 1",
        ),
    ] {
        let reply = server.get(&format!("/api/v1/targets/relabel_steps{query}")).await;
        assert_eq!(reply.status, 400, "{query}");
        assert_eq!(reply.json()["errorType"], "bad_data", "{query}");
        if !query.ends_with('[') {
            assert_eq!(reply.json()["error"], text, "{query}");
        }
    }
}

fn break_configuration(server: &Server, failed_ms: Option<i64>) {
    let mut view = ConfigView::clone(&server.ctx.app.config.load());
    view.failed_reload = failed_ms.map(|at_ms| FailedReload {
        at_ms,
        error: "p.yml:3:1: unknown field \"x\"".to_owned(),
    });
    server.ctx.app.config.store(Arc::new(view));
}

#[tokio::test]
async fn a_configuration_that_does_not_load_is_a_notification() {
    let server = start(|_| {});
    server
        .check(
            "/api/v1/notifications",
            200,
            expect![[r#"{"status":"success","data":[]}"#]],
        )
        .await;
    break_configuration(&server, Some(NOW - 1_000));
    server
        .check(
            "/api/v1/notifications",
            200,
            expect![[
                r#"{"status":"success","data":[{"text":"Configuration reload has failed.","date":"1970-01-12T13:46:39.000Z","detail":"p.yml:3:1: unknown field \"x\"","active":true}]}"#
            ]],
        )
        .await;
}

#[tokio::test]
async fn notifications_come_as_they_happen_until_the_server_stops() {
    let server = start(|_| {});
    let request = || {
        Request::builder()
            .uri("/api/v1/notifications/live")
            .body(Body::empty())
            .unwrap()
    };
    let response = server.router.clone().oneshot(request()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut next = async || {
        let frame = tokio::time::timeout(Duration::from_secs(60), body.frame())
            .await
            .unwrap();
        frame.map(|f| String::from_utf8(f.unwrap().into_data().unwrap().to_vec()).unwrap())
    };
    break_configuration(&server, Some(NOW));
    let event = next().await.unwrap();
    let failed = r#"data: {"text":"Configuration reload has failed.","date":"1970-01-12T13:46:40.000Z","detail":"p.yml:3:1: unknown field \"x\"","active""#;
    assert_eq!(event, format!("{failed}:true}}\n\n"));
    break_configuration(&server, None);
    assert_eq!(next().await.unwrap(), format!("{failed}:false}}\n\n"));
    server.ctx.app.ready.set_stopping();
    assert!(next().await.unwrap().contains("shutting down"));
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn who_listens_is_sent_something_also_where_nothing_happens_so_that_the_dead_are_noticed() {
    let server = start(|_| {});
    let request = Request::builder().uri("/api/v1/notifications/live");
    let request = request.body(Body::empty()).unwrap();
    let mut body = server.router.clone().oneshot(request).await.unwrap().into_body();
    for _ in 0..2 {
        let frame = tokio::time::timeout(Duration::from_secs(60), body.frame())
            .await
            .unwrap();
        // A comment, which browsers pass over.
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), ": still here\n\n");
    }
}

#[tokio::test]
async fn no_more_listen_than_may() {
    let server = start(|_| {});
    let mut held = Vec::new();
    for _ in 0..16 {
        let request = Request::builder()
            .uri("/api/v1/notifications/live")
            .body(Body::empty())
            .unwrap();
        let response = server.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        held.push(response);
    }
    assert_eq!(server.get("/api/v1/notifications/live").await.status, 204);
    held.pop();
    let request = Request::builder()
        .uri("/api/v1/notifications/live")
        .body(Body::empty())
        .unwrap();
    assert_eq!(server.router.clone().oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn features_and_own_metrics_are_json() {
    let server = start(|app| {
        app.admin_api = true;
        let enabled = "st-storage,created-timestamp-zero-ingestion".to_owned();
        app.flags.insert("enable-feature".to_owned(), enabled);
    });
    let features = server.get("/api/v1/features").await.json()["data"].clone();
    assert_eq!(features["api"]["admin"], true);
    assert_eq!(features["api"]["remote_write_receiver"], false);
    assert_eq!(features["scrape"]["start_timestamp_zero_ingestion"], true);
    assert_eq!(features["scrape"]["type_and_unit_labels"], false);
    assert_eq!(features["promql_functions"]["rate"], true);
    assert_eq!(features["promql_functions"]["mad_over_time"], false);
    server
        .check(
            "/api/v1/status/self_metrics?metric_name_pattern=prometheus_read.*",
            200,
            expect![[
                r#"{"status":"success","data":[{"name":"prometheus_ready","help":"Whether Prometheus startup was fully completed and the server is ready for normal operation.","type":"GAUGE","metric":[{"label":[],"gauge":{"value":1}}]}]}"#
            ]],
        )
        .await;
    server.get("/-/healthy").await;
    let uri = "/api/v1/status/self_metrics?metric_name_pattern=prometheus_http_request_duration_seconds";
    let metric = server.get(uri).await.json()["data"][0]["metric"][0]["histogram"].clone();
    assert!(metric["sampleCount"].is_string());
    let last = metric["bucket"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["upperBound"], "Infinity");
    assert_eq!(
        server
            .get("/api/v1/status/self_metrics?metric_name_pattern=(")
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn the_server_stops_on_request_where_that_is_allowed() {
    let server = start(|_| {});
    let refused = server.request("POST", "/-/quit", &[], "").await;
    assert_eq!(
        (refused.status.as_u16(), refused.text().as_str()),
        (403, "Lifecycle API is not enabled.")
    );
    let get = server.get("/-/quit").await;
    assert_eq!(
        (get.status.as_u16(), get.text().as_str()),
        (405, "Only POST or PUT requests allowed")
    );
    let token = CancellationToken::new();
    let server = start(|app| app.quit = Some(token.clone()));
    let foreign = [("sec-fetch-site", "cross-site")];
    assert_eq!(server.request("POST", "/-/quit", &foreign, "").await.status, 403);
    assert!(!token.is_cancelled());
    let reply = server.request("PUT", "/-/quit", &[], "").await;
    assert_eq!(
        (reply.status.as_u16(), reply.text().as_str()),
        (200, "Requesting termination... Goodbye!")
    );
    assert!(token.is_cancelled());
}

#[tokio::test]
async fn what_only_a_go_program_has_is_a_clear_404() {
    let server = start(|_| {});
    for uri in ["/debug/pprof", "/debug/pprof/heap?seconds=1", "/consoles/index.html"] {
        let reply = server.get(uri).await;
        assert_eq!(reply.status, 404, "{uri}");
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8", "{uri}");
    }
}

// Families that stock rules and dashboards ask of Prometheus and that this crate's test server cannot have: other parts
// register them (`alert`), or nothing here does them yet.
const NOT_HERE: &[&str] = &[
    "prometheus_notifications_",
    "prometheus_remote_storage_",
    "prometheus_sd_kubernetes_",
    "prometheus_tsdb_reloads_failures_total",
    "prometheus_wal_watcher_",
    "prometheus_config_",
    // Of Go's runtime.
    "go_",
];

#[tokio::test]
async fn what_stock_rules_and_dashboards_ask_of_prometheus_is_registered() {
    let Some(dir) = cupola_testkit::conformance_dir("required-metrics.json") else {
        return;
    };
    let text = std::fs::read_to_string(dir).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let server = start(|_| {});
    let registered: Vec<String> = server.ctx.app.registry.snapshot().into_iter().map(|f| f.name).collect();
    let has = |name: &str| registered.iter().any(|r| r == name);
    let mut missing = Vec::new();
    let mut asked = 0;
    for (name, metric) in all["metrics"].as_object().unwrap() {
        let producers = metric["producers"].as_array().unwrap();
        if !producers.iter().any(|p| p == "prometheus") || NOT_HERE.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        asked += 1;
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        if !has(name) && !base.is_some_and(has) {
            missing.push(name.as_str());
        }
    }
    assert!(asked > 15, "only {asked} are asked for");
    assert_eq!(missing, Vec::<&str>::new());
}
