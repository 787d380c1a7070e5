//! Pages, headers, management addresses, metrics.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn every_page_is_the_one_page() {
    let server = start(|_| {});
    for uri in [
        "/",
        "/dashboards",
        "/d/node",
        "/d/node/node-host",
        "/explore",
        "/query",
        "/graph?g0.expr=up&g0.tab=1",
        "/alerts",
        "/rules",
        "/targets?search=node",
        "/status",
        "/config",
        "/flags",
        "/tsdb-status",
        "/service-discovery",
        "/alertmanager-discovery",
    ] {
        let reply = server.get(uri).await;
        assert_eq!(reply.status, 200, "{uri}");
        assert!(reply.text().contains("<title>Cupola"), "{uri}");
        assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
    }
    let unknown = server.get("/no/such/page").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("<title>Cupola"));
    assert_eq!(server.request("POST", "/no/such/page", &[], "").await.status, 404);
    let head = server.request("HEAD", "/", &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn files_are_served_and_missing_ones_are_no_page() {
    let server = start(|_| {});
    let script = server.get("/assets/app-1a2b.js").await;
    assert_eq!(script.text(), "let page");
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(server.get("/robots.txt").await.text(), "User-agent: *");
    let missing = server.get("/assets/app-0000.js").await;
    assert_eq!(
        (missing.status.as_u16(), missing.text().as_str()),
        (404, "404 page not found\n")
    );
    assert_eq!(server.get("/assets/../index.html").await.status, 404);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let server = start(|_| {});
    for uri in [
        "/",
        "/api/v1/query?query=1",
        "/api/v1/nope",
        "/metrics",
        "/-/ready",
        "/assets/x",
        "/robots.txt",
    ] {
        let reply = server.get(uri).await;
        assert!(
            reply
                .header("content-security-policy")
                .starts_with("default-src 'none'; script-src 'self'"),
            "{uri}"
        );
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("referrer-policy"), "same-origin");
        assert_eq!(reply.header("cross-origin-opener-policy"), "same-origin");
    }
}

#[tokio::test]
async fn other_origins_read_the_api_only_where_that_is_allowed() {
    let origin = [("origin", "https://grafana.example.org")];
    let open = start(|_| {});
    let reply = open.get_with("/api/v1/query?query=1", &origin).await;
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert_eq!(reply.header("access-control-allow-methods"), "GET, POST, OPTIONS");
    assert_eq!(
        reply.header("access-control-allow-headers"),
        "Accept, Authorization, Content-Type, Origin"
    );
    assert_eq!(reply.header("access-control-expose-headers"), "Date");
    let preflight = open.request("OPTIONS", "/api/v1/query", &origin, "").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert_eq!(
        open.get("/api/v1/query?query=1")
            .await
            .header("access-control-allow-origin"),
        ""
    );
    assert_eq!(
        open.get_with("/", &origin).await.header("access-control-allow-origin"),
        ""
    );

    let same = start(|app| app.cors_origin = Some(Regex::anchored("https://.*[.]example[.]org").unwrap()));
    let reply = same.get_with("/api/v1/query?query=1", &origin).await;
    assert_eq!(
        reply.header("access-control-allow-origin"),
        "https://grafana.example.org"
    );
    let one = start(|app| app.cors_origin = Some(Regex::anchored("https://other").unwrap()));
    assert_eq!(
        one.get_with("/api/v1/query?query=1", &origin)
            .await
            .header("access-control-allow-origin"),
        ""
    );
    let closed = start(|app| app.cors_origin = None);
    let reply = closed.get_with("/api/v1/query?query=1", &origin).await;
    assert!(!reply.headers.contains_key("access-control-allow-origin"));
    assert!(!reply.headers.contains_key("access-control-allow-methods"));
}

#[tokio::test]
async fn foreign_names_are_refused_where_that_is_on() {
    let server = start(|app| app.guard_host = true);
    for (host, status) in [
        ("127.0.0.1:9090", 200),
        ("localhost:9090", 200),
        ("mon:9090", 200),
        ("db1", 200),
        ("evil.example:9090", 403),
    ] {
        let reply = server.get_with("/api/v1/query?query=1", &[("host", host)]).await;
        assert_eq!(reply.status, status, "{host}");
    }
    let refused = server.get_with("/", &[("host", "evil.example")]).await;
    assert!(
        refused.text().contains("\"evil.example\" is not a name of this server"),
        "{}",
        refused.text()
    );
    let server = start(|_| {});
    assert_eq!(server.get_with("/", &[("host", "evil.example")]).await.status, 200);
}

#[tokio::test]
async fn health_and_readiness() {
    let server = start(|_| {});
    assert_eq!(server.get("/-/healthy").await.text(), "Prometheus Server is Healthy.\n");
    assert_eq!(server.get("/-/ready").await.text(), "Prometheus Server is Ready.\n");
    for uri in ["/-/healthy", "/-/ready"] {
        let head = server.request("HEAD", uri, &[], "").await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    }
}

#[tokio::test]
async fn the_configuration_is_reloaded_only_when_allowed() {
    let server = start(|_| {});
    let refused = server.request("POST", "/-/reload", &[], "").await;
    assert_eq!(
        (refused.status.as_u16(), refused.text().as_str()),
        (403, "Lifecycle API is not enabled.")
    );
    let wrong = server.get("/-/reload").await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.text().as_str()),
        (405, "Only POST or PUT requests allowed")
    );

    let reloads = Arc::new(AtomicUsize::new(0));
    let count = reloads.clone();
    let server = start(move |app| {
        app.reload = Some(Arc::new(move || {
            if count.fetch_add(1, Ordering::Relaxed) == 0 {
                Ok(())
            } else {
                Err("a.yml:3:1: no".to_owned())
            }
        }));
    });
    let foreign = [("host", "localhost:9090"), ("origin", "https://evil.example")];
    assert_eq!(server.request("POST", "/-/reload", &foreign, "").await.status, 403);
    assert_eq!(
        server
            .request("POST", "/-/reload", &[("sec-fetch-site", "cross-site")], "")
            .await
            .status,
        403
    );
    assert_eq!(reloads.load(Ordering::Relaxed), 0);
    assert_eq!(server.request("POST", "/-/reload", &[], "").await.status, 200);
    let failed = server.request("PUT", "/-/reload", &[], "").await;
    assert_eq!(
        (failed.status.as_u16(), failed.text().as_str()),
        (500, "failed to reload config: a.yml:3:1: no\n")
    );
}

#[tokio::test]
async fn metrics_count_requests_by_handler() {
    let server = start(|_| {});
    server.get("/api/v1/query?query=1").await;
    server.get("/api/v1/query?query=(").await;
    server.get("/api/v1/label/job/values").await;
    server.get("/nope").await;
    server.get("/assets/x").await;
    let reply = server.get("/metrics").await;
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = reply.text();
    for line in [
        "prometheus_http_requests_total{handler=\"/api/v1/query\",code=\"200\"} 1",
        "prometheus_http_requests_total{handler=\"/api/v1/query\",code=\"400\"} 1",
        "prometheus_http_requests_total{handler=\"/api/v1/label/:name/values\",code=\"200\"} 1",
        "prometheus_http_requests_total{handler=\"other\",code=\"404\"} 1",
        "prometheus_http_requests_total{handler=\"/assets/*filepath\",code=\"404\"} 1",
        "prometheus_http_request_duration_seconds_count{handler=\"/api/v1/query\"} 2",
        "prometheus_http_response_size_bytes_count{handler=\"/api/v1/query\"} 2",
        "prometheus_tsdb_head_series 4",
        "prometheus_ready 1",
        "process_start_time_seconds 996400",
        "cupola_build_info{version=\"0.1.0\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    for name in [
        "prometheus_build_info{",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_max_fds ",
        "process_virtual_memory_bytes ",
    ] {
        assert!(text.lines().any(|l| l.starts_with(name)), "{name}");
    }
    let parser = cupola_exposition::Parser::new(cupola_exposition::Format::Text, text.as_bytes());
    let parsed = parser
        .filter(|entry| matches!(entry.as_ref().unwrap(), cupola_exposition::Entry::Sample(_)))
        .count();
    assert!(parsed > 50, "{parsed}");
}

#[tokio::test]
async fn large_answers_are_packed() {
    let server = start(|_| {});
    let plain = server.get("/metrics").await;
    assert!(plain.headers.get("content-encoding").is_none());
    let packed = server
        .get_with("/metrics", &[("accept-encoding", "gzip, deflate")])
        .await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() < plain.body.len() / 3);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed.body[..]), &mut text).unwrap();
    assert!(text.contains("# TYPE prometheus_http_requests_total counter"));
    let small = server
        .get_with("/api/v1/query?query=1", &[("accept-encoding", "gzip")])
        .await;
    assert!(small.headers.get("content-encoding").is_none());
}

#[tokio::test]
async fn below_a_prefix_everything_moves_there() {
    let server = start(|app| app.route_prefix = "/prom".into());
    for uri in ["/prom", "/prom/", "/prom/alerts"] {
        let page = server.get(uri).await;
        assert_eq!(page.status, 200, "{uri}");
        assert!(page.text().contains("<base href=\"/prom/\" />"), "{uri}");
    }
    assert_eq!(
        server.get("/prom/api/v1/query?query=1").await.json()["data"]["result"][1],
        "1"
    );
    assert_eq!(server.get("/prom/assets/app-1a2b.js").await.text(), "let page");
    let root = server.get("/").await;
    assert_eq!((root.status.as_u16(), root.header("location")), (302, "/prom/"));
    for uri in ["/api/v1/query?query=1", "/promx", "/alerts"] {
        assert_eq!(server.get(uri).await.status, 404, "{uri}");
    }
    let text = server.get("/prom/metrics").await.text();
    assert!(
        text.contains("prometheus_http_requests_total{handler=\"/api/v1/query\",code=\"200\"} 1"),
        "{text}"
    );
}
