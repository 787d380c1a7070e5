//! The text of each refusal.

use super::*;
use std::time::Duration;

#[track_caller]
fn check(server: &Server, uri: &str, status: u16, kind: &str, text: &str) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let reply = server.get(uri).await;
        let json = reply.json();
        assert_eq!(json["status"], "error", "{place}");
        assert_eq!(
            (
                reply.status.as_u16(),
                json["errorType"].as_str().unwrap(),
                json["error"].as_str().unwrap()
            ),
            (status, kind, text),
            "{place}: {uri}"
        );
        assert_eq!(reply.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn wrong_parameters_of_queries() {
    let server = start(|_| {});
    let range = "/api/v1/query_range?query=up";
    for (uri, text) in [
        (
            "/api/v1/query?query=sum(",
            "invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis",
        ),
        (
            "/api/v1/query",
            "invalid parameter \"query\": 1:1: parse error: no expression found in input",
        ),
        (
            "/api/v1/format_query",
            "invalid parameter \"query\": 1:1: parse error: no expression found in input",
        ),
        (
            "/api/v1/parse_query?query=x[5m",
            "invalid parameter \"query\": 1:5: parse error: unclosed left bracket",
        ),
        (
            "/api/v1/query?query=up&time=abc",
            "invalid parameter \"time\": invalid time value for 'time': cannot parse \"abc\" to a valid timestamp",
        ),
        (
            "/api/v1/query?query=up&timeout=x",
            "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration",
        ),
        (
            "/api/v1/query?query=up&limit=x",
            "invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "/api/v1/query?query=up&limit=-1",
            "invalid parameter \"limit\": limit must be non-negative",
        ),
        (
            "/api/v1/query?query=up&lookback_delta=x",
            "error parsing lookback delta duration: cannot parse \"x\" to a valid duration",
        ),
        (
            "/api/v1/query?query=up&max_source_resolution=x",
            "invalid parameter \"max_source_resolution\": cannot parse \"x\" to a valid duration",
        ),
        (
            range,
            "invalid parameter \"start\": cannot parse \"\" to a valid timestamp",
        ),
        (
            &format!("{range}&start=0&end=x"),
            "invalid parameter \"end\": cannot parse \"x\" to a valid timestamp",
        ),
        (
            &format!("{range}&start=0&end=1"),
            "invalid parameter \"step\": cannot parse \"\" to a valid duration",
        ),
        (
            &format!("{range}&start=0&end=1&step=0"),
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive \
             integer",
        ),
        (
            &format!("{range}&start=2&end=1&step=1"),
            "invalid parameter \"end\": end timestamp must not be before start time",
        ),
        (
            &format!("{range}&start=0&end=11001&step=1"),
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution \
             (?step=XX)",
        ),
        (
            "/api/v1/query_range?query=up[5m]&start=0&end=1&step=1",
            "invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or \
             instant Vector",
        ),
        (
            "/api/v1/query_range?query=\"x\"&start=0&end=1&step=1",
            "invalid parameter \"query\": invalid expression type \"string\" for range query, must be Scalar or instant \
             Vector",
        ),
    ] {
        check(&server, uri, 400, "bad_data", text).await;
    }
    // 11,000 steps are allowed.
    assert_eq!(
        server.get(&format!("{range}&start=0&end=11000&step=1")).await.status,
        200
    );
}

#[tokio::test]
async fn wrong_parameters_of_lists() {
    let server = start(|_| {});
    for (uri, text) in [
        ("/api/v1/series", "no match[] parameter provided"),
        (
            "/api/v1/series?match[]={job=~\".*\"}",
            "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher",
        ),
        (
            "/api/v1/labels?match[]={job=\"\"}",
            "match[] must contain at least one non-empty matcher",
        ),
        (
            "/api/v1/label/job/values?match[]={job=\"\"}",
            "match[] must contain at least one non-empty matcher",
        ),
        (
            "/api/v1/labels?start=x",
            "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp",
        ),
        (
            "/api/v1/series?match[]=up&end=x",
            "invalid parameter \"end\": invalid time value for 'end': cannot parse \"x\" to a valid timestamp",
        ),
        ("/api/v1/label/U__/values", "invalid label name: \"\""),
        (
            "/api/v1/rules?type=x",
            "invalid parameter \"type\": not supported value \"x\"",
        ),
        ("/api/v1/status/tsdb?limit=0", "limit must be a positive number"),
        ("/api/v1/status/tsdb?limit=x", "limit must be a positive number"),
        ("/api/v1/status/tsdb?limit=10001", "limit must not exceed 10000"),
    ] {
        check(&server, uri, 400, "bad_data", text).await;
    }
}

#[tokio::test]
async fn queries_that_fail_say_of_what_kind_they_are() {
    let server = start(|_| {});
    let text = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
    check(
        &server,
        "/api/v1/query?query=requests_total / on(job) sum by(job)(requests_total)",
        422,
        "execution",
        text,
    )
    .await;
    let text = "query timed out in query queue";
    let reply = server.get("/api/v1/query?query=requests_total&timeout=0").await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["errorType"], "timeout");
    assert!(["query timed out in expression evaluation", text].contains(&reply.json()["error"].as_str().unwrap()));

    let small = EngineOptions {
        max_samples: 1,
        timeout: Duration::from_secs(120),
        ..EngineOptions::default()
    };
    let server = start(|app| app.engine = Arc::new(Engine::new(small)));
    let text = "query processing would load too many samples into memory in query execution";
    check(
        &server,
        "/api/v1/query?query=requests_total[5m]",
        422,
        "execution",
        text,
    )
    .await;
}

#[tokio::test]
async fn addresses_that_do_not_exist() {
    let server = start(|_| {});
    for (method, path) in [
        ("GET", "/api/v1/nope"),
        ("HEAD", "/api/v1/nope"),
        ("GET", "/api/v2/alerts"),
        ("POST", "/nope"),
    ] {
        let reply = server.request(method, path, &[], "").await;
        let text = if method == "HEAD" { "" } else { "404 page not found\n" };
        assert_eq!(
            (reply.status.as_u16(), reply.text().as_str()),
            (404, text),
            "{method} {path}"
        );
    }
    let reply = server.request("DELETE", "/api/v1/series", &[], "").await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["error"].as_str()),
        (500, Some("not implemented"))
    );
    for (method, path, allow) in [
        ("DELETE", "/api/v1/query", "GET, OPTIONS, POST"),
        ("HEAD", "/api/v1/query?query=1", "GET, OPTIONS, POST"),
        ("POST", "/api/v1/rules", "GET, OPTIONS"),
        ("GET", "/api/v1/admin/tsdb/snapshot", "OPTIONS, POST, PUT"),
        ("HEAD", "/metrics", "GET, OPTIONS"),
        ("POST", "/-/healthy", "GET, HEAD, OPTIONS"),
    ] {
        let reply = server.request(method, path, &[], "").await;
        let text = if method == "HEAD" { "" } else { "Method Not Allowed\n" };
        let answer = (reply.status.as_u16(), reply.text(), reply.header("allow"));
        assert_eq!(answer, (405, text.to_owned(), allow), "{method} {path}");
    }
}

#[tokio::test]
async fn a_form_that_is_too_large_is_refused() {
    let server = start(|_| {});
    let reply = server
        .post_form("/api/v1/query", &format!("query={}", "1".repeat(10 << 20)))
        .await;
    assert_eq!(reply.status, 400);
    assert!(
        reply.json()["error"]
            .as_str()
            .unwrap()
            .starts_with("error parsing form values: http: request body too large")
    );
}

#[tokio::test]
async fn before_it_is_ready_the_api_refuses() {
    let server = start(|app| app.ready = Readiness::default());
    let reply = server.get("/api/v1/query?query=1").await;
    assert_eq!(
        (reply.status.as_u16(), reply.text().as_str()),
        (503, "Service Unavailable")
    );
    assert_eq!(reply.header("x-prometheus-stopping"), "false");
    assert_eq!(server.get("/-/ready").await.status, 503);
    assert_eq!(server.get("/-/healthy").await.status, 200);
    assert_eq!(server.get("/api/v1/status/walreplay").await.status, 200);
    assert!(server.get("/metrics").await.text().contains("\nprometheus_ready 0\n"));
    let server = start(|app| app.ready.set_stopping());
    assert_eq!(server.get("/-/ready").await.header("x-prometheus-stopping"), "true");
}
