//! The happy answer of each API address.

use super::*;
use cupola_histogram::{Histogram, NativeHistogram};
use expect_test::expect;

#[tokio::test]
async fn instant_queries() {
    let server = start(|_| {});
    server.check("/api/v1/query?query=requests_total", 200, expect![[r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"requests_total","instance":"a:1","job":"api"},"value":[1000000,"40"]},{"metric":{"__name__":"requests_total","instance":"b:1","job":"api"},"value":[1000000,"80"]}]}}"#]]).await;
    server.check("/api/v1/query?query=sum(requests_total)&time=999999.5", 200, expect![[r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[999999.5,"117"]}]}}"#]]).await;
    server
        .check(
            "/api/v1/query?query=1%2B1&time=1970-01-01T00:00:01.5Z",
            200,
            expect![[r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"2"]}}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/query?query=\"a b\"&time=1",
            200,
            expect![[r#"{"status":"success","data":{"resultType":"string","result":[1,"a b"]}}"#]],
        )
        .await;
    server.check("/api/v1/query?query=temp[30s]", 200, expect![[r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"temp","room.name":"hall"},"values":[[999985,"21.5"],[1000000,"21.5"]]}]}}"#]]).await;
    // What has ended is not there.
    server
        .check(
            "/api/v1/query?query=gone",
            200,
            expect![[r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#]],
        )
        .await;
    server.check("/api/v1/query?query=requests_total&limit=1", 200, expect![[r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"requests_total","instance":"a:1","job":"api"},"value":[1000000,"40"]}]},"warnings":["results truncated due to limit"]}"#]]).await;
    server.check("/api/v1/query?query=rate(temp[1m])", 200, expect![[r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"room.name":"hall"},"value":[1000000,"0"]}]},"infos":["PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"temp\" (1:6)"]}"#]]).await;
}

#[tokio::test]
async fn the_lookback_can_be_given() {
    let server = start(|_| {});
    let count = async |query: &str| {
        server.get(query).await.json()["data"]["result"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(count("/api/v1/query?query=temp&time=1000100").await, 1);
    assert_eq!(
        count("/api/v1/query?query=temp&time=1000100&lookback_delta=1m").await,
        0
    );
    assert_eq!(count("/api/v1/query?query=temp&time=1000400").await, 0);
    assert_eq!(
        count("/api/v1/query?query=temp&time=1000400&lookback_delta=600").await,
        1
    );
}

#[tokio::test]
async fn exemplars_of_what_a_query_selects() {
    let server = start(|_| {});
    server.check("/api/v1/query_exemplars?query=sum(rate(requests_total{job=\"api\"}[5m]))&start=999500&end=999900", 200, expect![[r#"{"status":"success","data":[{"seriesLabels":{"__name__":"requests_total","instance":"a:1","job":"api"},"exemplars":[{"labels":{"trace_id":"t10"},"value":"2.5","timestamp":999550.125},{"labels":{"trace_id":"t20"},"value":"5","timestamp":999700.125},{"labels":{"trace_id":"t30"},"value":"7.5","timestamp":999850.125}]}]}"#]]).await;
    server
        .check(
            "/api/v1/query_exemplars?query=temp*2",
            200,
            expect![[r#"{"status":"success","data":[]}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/query_exemplars?query=up&start=2&end=1",
            400,
            expect![[r#"{"status":"error","errorType":"bad_data","error":"end timestamp must not be before start timestamp"}"#]],
        )
        .await;
}

#[tokio::test]
async fn range_queries() {
    let server = start(|_| {});
    server.check("/api/v1/query_range?query=sum(requests_total)&start=999970&end=1000000&step=15", 200, expect![[r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[999970,"114"],[999985,"117"],[1000000,"120"]]}]}}"#]]).await;
    server.check("/api/v1/query_range?query=1&start=0&end=1&step=500ms", 200, expect![[r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[0.5,"1"],[1,"1"]]}]}}"#]]).await;
    let reply = server
        .get("/api/v1/query_range?query=requests_total&start=999970&end=1000000&step=15&limit=1")
        .await;
    assert_eq!(reply.json()["data"]["result"].as_array().unwrap().len(), 1);
    assert_eq!(reply.json()["warnings"][0], "results truncated due to limit");
}

#[tokio::test]
async fn a_form_asks_as_the_url_does() {
    let server = start(|_| {});
    let asked = server.get("/api/v1/query?query=sum(requests_total)").await;
    let posted = server.post_form("/api/v1/query", "query=sum%28requests_total%29").await;
    assert_eq!((posted.status, posted.text()), (asked.status, asked.text()));
    let both = server
        .post_form("/api/v1/query?query=wrong(", "query=sum%28requests_total%29")
        .await;
    assert_eq!(both.text(), asked.text());
    let series = server.post_form("/api/v1/series", "match%5B%5D=temp").await;
    assert_eq!(series.json()["data"][0]["room.name"], "hall");
    // A body that is no form is not read.
    let reply = server
        .request(
            "POST",
            "/api/v1/query?query=1",
            &[("content-type", "text/plain")],
            "query=2",
        )
        .await;
    assert_eq!(reply.json()["data"]["result"][1], "1");
}

#[tokio::test]
async fn statistics_come_when_asked_for() {
    let server = start(|_| {});
    let with = server.get("/api/v1/query?query=requests_total&stats=true").await.json();
    assert_eq!(with["data"]["stats"]["samples"]["totalQueryableSamples"], 2);
    assert!(with["data"]["stats"]["timings"]["execTotalTime"].as_f64().unwrap() > 0.0);
    assert!(
        server.get("/api/v1/query?query=requests_total").await.json()["data"]
            .get("stats")
            .is_none()
    );
}

#[tokio::test]
async fn queries_are_formatted() {
    let server = start(|_| {});
    server
        .check(
            "/api/v1/format_query?query=sum  by(job)(rate( x[5m]))",
            200,
            expect![[r#"{"status":"success","data":"sum by (job) (rate(x[5m]))"}"#]],
        )
        .await;
}

#[tokio::test]
async fn queries_are_shown_as_trees() {
    let server = start(|_| {});
    server
        .check(
            "/api/v1/parse_query?query=-up{job=\"a\"} @ start()",
            200,
            expect![[r#"{"status":"success","data":{"type":"unaryExpr","op":"-","expr":{"type":"vectorSelector","name":"up","matchers":[{"name":"job","type":"=","value":"a"},{"name":"__name__","type":"=","value":"up"}],"offset":0,"timestamp":null,"startOrEnd":"start","anchored":false,"smoothed":false}}}"#]],
        )
        .await;
    let posted = server.post_form("/api/v1/parse_query", "query=1").await;
    assert_eq!(posted.json()["data"]["type"], "numberLiteral");
}

#[tokio::test]
async fn what_is_stored_is_listed() {
    let server = start(|_| {});
    server.check("/api/v1/series?match[]=temp&match[]=requests_total{instance=\"a:1\"}&match[]=temp", 200, expect![[r#"{"status":"success","data":[{"__name__":"requests_total","instance":"a:1","job":"api"},{"__name__":"temp","room.name":"hall"}]}"#]]).await;
    server.check("/api/v1/series?match[]={__name__=~\".%2B\"}&limit=1", 200, expect![[r#"{"status":"success","data":[{"__name__":"gone","job":"old"}],"warnings":["results truncated due to limit"]}"#]]).await;
    server
        .check(
            "/api/v1/labels",
            200,
            expect![[r#"{"status":"success","data":["__name__","instance","job","room.name"]}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/labels?match[]=temp",
            200,
            expect![[r#"{"status":"success","data":["__name__","room.name"]}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/labels?match[]=temp&match[]=gone&limit=2",
            200,
            expect![[
                r#"{"status":"success","data":["__name__","job"],"warnings":["results truncated due to limit"]}"#
            ]],
        )
        .await;
    server
        .check(
            "/api/v1/label/job/values",
            200,
            expect![[r#"{"status":"success","data":["api","old"]}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/label/job/values?match[]=gone",
            200,
            expect![[r#"{"status":"success","data":["old"]}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/label/U__room_2e_name/values",
            200,
            expect![[r#"{"status":"success","data":["hall"]}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/label/room.name/values",
            200,
            expect![[r#"{"status":"success","data":["hall"]}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/label/nope/values",
            200,
            expect![[r#"{"status":"success","data":[]}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/labels?start=-292273086-05-16T16:47:06Z&end=292277025-08-18T07:12:54.999999999Z&limit=1",
            200,
            expect![[r#"{"status":"success","data":["__name__"],"warnings":["results truncated due to limit"]}"#]],
        )
        .await;
}

#[tokio::test]
async fn a_server_without_jobs_and_rules_says_so() {
    let server = start(|_| {});
    server
        .check(
            "/api/v1/targets",
            200,
            expect![[
                r#"{"status":"success","data":{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}}"#
            ]],
        )
        .await;
    server
        .check(
            "/api/v1/scrape_pools",
            200,
            expect![[r#"{"status":"success","data":{"scrapePools":[]}}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/rules",
            200,
            expect![[r#"{"status":"success","data":{"groups":[]}}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/alerts",
            200,
            expect![[r#"{"status":"success","data":{"alerts":[]}}"#]],
        )
        .await;
    server.check("/api/v1/alertmanagers", 200, expect![[r#"{"status":"success","data":{"activeAlertmanagers":[{"url":"http://am:9093/api/v2/alerts"}],"droppedAlertmanagers":[{"url":"http://old:9093/api/v2/alerts"}]}}"#]]).await;
    server
        .check(
            "/api/ui/alerting",
            200,
            expect![[r#"{"configured":false,"groups":[],"notifications":[]}"#]],
        )
        .await;
}

#[tokio::test]
async fn the_server_tells_of_itself() {
    let server = start(|_| {});
    server
        .check(
            "/api/v1/status/config",
            200,
            expect![[r#"{"status":"success","data":{"yaml":"global:\n  scrape_interval: 15s\n"}}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/status/flags",
            200,
            expect![[r#"{"status":"success","data":{"query.timeout":"2m"}}"#]],
        )
        .await;
    server.check("/api/v1/status/buildinfo", 200, expect![[r#"{"status":"success","data":{"version":"3.14.0","revision":"cupola-0.1.0","branch":"","buildUser":"","buildDate":"","goVersion":""}}"#]]).await;
    server.check("/version", 200, expect![[r#"{"version":"3.14.0","revision":"cupola-0.1.0","branch":"","buildUser":"","buildDate":"","goVersion":""}"#]]).await;
    server
        .check(
            "/api/v1/status/tsdb/blocks",
            200,
            expect![[r#"{"status":"success","data":{"blocks":[]}}"#]],
        )
        .await;
    server
        .check(
            "/api/v1/status/walreplay",
            200,
            expect![[r#"{"status":"success","data":{"min":0,"max":0,"current":0,"done":true}}"#]],
        )
        .await;
    server.check("/api/ui/bootstrap", 200, expect![[r#"{"version":"0.1.0","hostname":"db1.example.org","mode":"up","startTime":"1970-01-12T12:46:40.000Z","scrapeInterval":"15s","alertmanager":{"configured":false,"receivers":[],"running":false}}"#]]).await;
    let runtime = server.get("/api/v1/status/runtimeinfo").await.json();
    assert_eq!(runtime["data"]["startTime"], "1970-01-12T12:46:40.000Z");
    assert_eq!(runtime["data"]["serverTime"], "1970-01-12T13:46:40.000Z");
    assert_eq!(runtime["data"]["lastConfigTime"], "1970-01-12T13:45:40.000Z");
    assert_eq!(runtime["data"]["reloadConfigSuccess"], true);
    let text = server.get("/api/v1/status/runtimeinfo").await.text();
    assert!(text.contains("\"corruptionCount\":0,"), "{text}");
    assert_eq!(runtime["data"]["storageRetention"], "15d");
    assert_eq!(runtime["data"]["hostname"], "db1.example.org");
}

#[tokio::test]
async fn the_heads_largest_names_are_told() {
    let server = start(|_| {});
    let status = server.get("/api/v1/status/tsdb").await.json();
    assert_eq!(status["data"]["headStats"]["numSeries"], 4);
    assert_eq!(status["data"]["headStats"]["maxTime"], NOW);
    assert_eq!(status["data"]["seriesCountByMetricName"][0]["name"], "requests_total");
    assert_eq!(status["data"]["seriesCountByMetricName"][0]["value"], 2);
    for (name, first) in [
        ("seriesCountByJob", serde_json::json!({"name": "api", "value": 2})),
        ("newSeriesByJob", serde_json::json!({"name": "api", "value": 2})),
        (
            "newSeriesByMetricName",
            serde_json::json!({"name": "requests_total", "value": 2}),
        ),
    ] {
        assert_eq!(status["data"][name][0], first, "{name}");
    }
    let limits = serde_json::json!({"total": 0, "metric": 0, "job": 0});
    assert_eq!(status["data"]["seriesLimits"], limits);
    let storage = &status["data"]["storage"];
    assert!(storage["logBytes"].as_u64().unwrap() > 0 && storage["memoryBytes"].as_u64().unwrap() > 0);
    assert_eq!(
        (&storage["blockBytes"], &storage["retention"]),
        (&0.into(), &"15d".into())
    );
    let one = server.get("/api/v1/status/tsdb?limit=1").await.json();
    assert_eq!(one["data"]["seriesCountByMetricName"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn series_are_deleted_and_snapshots_made_only_where_that_is_enabled() {
    let post = |path: &str| format!("/api/v1/admin/tsdb/{path}");
    let paths = ["delete_series?match[]=temp", "clean_tombstones", "snapshot"].map(post);
    let closed = start(|_| {});
    for path in &paths {
        let reply = closed.request("POST", path, &[], "").await;
        assert_eq!(reply.status, 500);
        assert_eq!(reply.json()["errorType"], "unavailable");
        assert_eq!(reply.json()["error"], "admin APIs disabled");
    }
    let server = start(|app| app.admin_api = true);
    let count = || async {
        server.get("/api/v1/series?match[]={__name__=~\".%2B\"}").await.json()["data"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(count().await, 4);
    // A browser lets any page post a form.
    let origin = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    for path in &paths {
        assert_eq!(server.request("POST", path, &origin, "").await.status, 403, "{path}");
    }
    let named = start(|app| {
        app.admin_api = true;
        app.cors_origin = Some(cupola_goregex::Regex::anchored("https://tools[.]example").unwrap());
    });
    let origin = [("origin", "https://tools.example"), ("sec-fetch-site", "cross-site")];
    assert_eq!(named.request("POST", &paths[0], &origin, "").await.status, 204);
    assert_eq!(count().await, 4);
    for path in &paths[..2] {
        let reply = server.request("PUT", path, &[], "").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (204, String::new()));
        assert_eq!(count().await, 3);
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let path = post("delete_series");
    let reply = server.request("PUT", &path, &form, "match[]=gone").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (204, String::new()));
    assert_eq!(count().await, 2);
    let reply = server.request("POST", &paths[2], &[], "").await;
    let name = reply.json()["data"]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("19700112T134640Z-"), "{name}");
    let dir = server.ctx.app.tsdb.dir().join("snapshots").join(&name);
    assert_eq!(
        std::fs::read_dir(dir).unwrap().count(),
        1,
        "the head is a block of the snapshot"
    );
    for (path, error) in [
        ("delete_series", "no match[] parameter provided"),
        (
            "delete_series?match[]=a{",
            "invalid parameter \"match[]\": 1:3: parse error: unexpected end of input inside braces",
        ),
        (
            "snapshot?skip_head=maybe",
            "invalid parameter \"skip_head\": unable to parse boolean: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        ),
    ] {
        let reply = server.request("POST", &post(path), &[], "").await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["error"], error);
    }
    assert_eq!(server.get(&paths[2]).await.status, 405);
}

#[tokio::test]
async fn who_was_refused_new_series_is_told() {
    let dir = TempDir::new().unwrap();
    let mut options = Options::new(PathBuf::from(dir.path()));
    options.limits.per_metric = 1;
    let clock = Arc::new(ManualClock::new(NOW));
    let tsdb = Tsdb::open(options, clock, Arc::new(RealFs), &Registry::default()).unwrap();
    let mut appender = tsdb.appender();
    for pod in ["a", "b", "c"] {
        let labels = Labels::from_pairs([("__name__", "up"), ("pod", pod)]);
        let appended = appender.append(None, &labels, NOW, 1.0);
        assert_eq!(appended.is_ok(), pod == "a");
    }
    appender.commit().unwrap();
    let server = start(|app| app.tsdb = tsdb.clone());
    let status = server.get("/api/v1/status/tsdb").await.json();
    assert_eq!(status["data"]["headStats"]["numSeries"], 1);
    let refused = serde_json::json!([{
        "limit": "metric", "most": 1, "name": "up", "value": 2,
        "firstTime": NOW, "lastTime": NOW, "example": {"__name__": "up", "pod": "c"},
    }]);
    assert_eq!(status["data"]["refusedSeries"], refused);
    assert_eq!(status["data"]["seriesLimits"]["metric"], 1);
}

#[tokio::test]
async fn federation_gives_the_newest_samples() {
    let server = start(|_| {});
    let reply = server
        .get("/federate?match[]=temp&match[]=requests_total&match[]=gone")
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    expect![[r#"
        # TYPE requests_total untyped
        requests_total{instance="a:1",job="api",dc="eu"} 40 1000000000
        requests_total{instance="b:1",job="api",dc="eu"} 80 1000000000
        # TYPE temp untyped
        temp{"room.name"="hall",dc="eu",instance=""} 21.5 1000000000
    "#]]
    .assert_eq(&reply.text());
    // What has become a histogram is none of the format's, until it is a number again.
    let labels = Labels::from_pairs([("__name__", "sometimes")]);
    for (step, is_histogram) in [(0, false), (1, true), (2, false), (3, true)] {
        let ts = NOW - 60_000 + step * 15_000;
        let mut batch = server.ctx.app.tsdb.appender();
        match is_histogram {
            true => batch.append_histogram(None, &labels, ts, NativeHistogram::Integer(Histogram::default())),
            false => batch.append(None, &labels, ts, 2.5),
        }
        .unwrap();
        batch.commit().unwrap();
        let text = server.get("/federate?match[]=sometimes").await.text();
        let expected = match is_histogram {
            true => String::new(),
            false => format!("# TYPE sometimes untyped\nsometimes{{dc=\"eu\",instance=\"\"}} 2.5 {ts}\n"),
        };
        assert_eq!(text, expected, "{step}");
    }
    server.clock.advance(301_000);
    assert_eq!(server.get("/federate?match[]=temp").await.text(), "");
    server
        .check(
            "/federate?match[]=temp{",
            400,
            expect![[r#"
        1:6: parse error: unexpected end of input inside braces
    "#]],
        )
        .await;
}

#[tokio::test]
async fn dashboards_are_offered_as_grafana_does() {
    let server = start(|_| {});
    let found = server.get("/api/search").await.json();
    for dashboard in found.as_array().unwrap() {
        let uid = dashboard["uid"].as_str().unwrap();
        let one = server.get(&format!("/api/dashboards/uid/{uid}")).await.json();
        assert_eq!(one["meta"]["provisioned"], true);
        assert_eq!(one["dashboard"]["title"], dashboard["title"]);
        let slug = one["meta"]["slug"].as_str().unwrap();
        assert_eq!(dashboard["url"], format!("/d/{uid}/{slug}"));
    }
    server
        .check("/api/search?query=no dashboard has this title", 200, expect!["[]"])
        .await;
    server
        .check(
            "/api/dashboards/uid/nope",
            404,
            expect![[r#"{"message":"Dashboard not found"}"#]],
        )
        .await;
}
