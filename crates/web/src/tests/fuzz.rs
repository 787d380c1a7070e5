//! Mutated requests: none may panic, none may be answered with 500.

use super::*;
use cupola_testkit::Mutator;

const CORPUS: &[&str] = &[
    "/api/v1/query?query=sum(rate(requests_total[5m])) by (job)&time=1000000&timeout=1s&limit=5&stats=all",
    "/api/v1/query?query=temp offset -5m @ 1000000&lookback_delta=1h&time=1970-01-12T13:46:40Z",
    "/api/v1/query?query=topk(2,requests_total) / ignoring(x) group_left temp",
    "/api/v1/query_range?query=requests_total&start=999000&end=1000000&step=15&max_source_resolution=5m",
    "/api/v1/query_range?query=max_over_time(temp[5m:15s])&start=0&end=1e4&step=1m30s",
    "/api/v1/format_query?query=a + on(b) c",
    "/api/v1/parse_query?query=sum by (a) (rate(x[5m] offset 1m)) > bool on(b) group_left y",
    "/api/v1/series?match[]=temp&match[]={job=~\"a.*\"}&start=0&end=2000000&limit=3",
    "/api/v1/labels?match[]=temp&start=-9e15&end=9e15",
    "/api/v1/label/U__room_2e_name/values?match[]=temp&limit=1",
    "/api/v1/targets?state=active&scrapePool=x",
    "/api/v1/rules?type=alert&rule_name[]=a&match[]={a=\"b\"}&exclude_alerts=true",
    "/api/v1/status/tsdb?limit=3",
    "/federate?match[]={__name__=~\".%2B\"}",
    "/api/v1/targets/relabel_steps?scrapePool=api&labels={\"a\":\"x\",\"__address__\":\"y:1\"}",
    "/api/v1/targets/metadata?match_target={job=\"a\"}&metric=up&limit=2",
    "/api/v1/metadata?limit=3&limit_per_metric=1",
    "/api/v1/rules?group_limit=2&group_next_token=00ff",
    "/api/v1/status/self_metrics?metric_name_pattern=prometheus_.*",
    "/api/v1/query_exemplars?query=requests_total{job=\"api\"}&start=0&end=2e6",
    "/api/v1/admin/tsdb/delete_series?match[]=nothing&start=1&end=2",
    "/api/v1/features",
    "/api/v1/notifications",
    "/api/v1/write?x",
    "/api/search?query=n",
    "/api/dashboards/uid/node",
    "/d/a/b?var-x=1",
    "/assets/../../x%2fy",
];
// Most requests are of the first.
const METHODS: [&str; 8] = ["GET", "GET", "GET", "GET", "POST", "PUT", "DELETE", "OPTIONS"];
const WORDS: &[&str] = &[
    "&",
    "=",
    "?",
    "/",
    "%",
    "%7B",
    "%22",
    "+",
    "NaN",
    "Inf",
    "-1",
    "1e300",
    "9e15",
    "[5m]",
    "[1y:1ms]",
    "time()",
    "{",
    "}",
    "rate(",
    ")",
    "by (job)",
    "@ end()",
    "offset 1000y",
    "U__",
    "match[]=",
    "start=",
    "step=",
    "query=",
    "limit=",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_requests_are_answered() {
    let options = EngineOptions {
        // A mutated query may be a heavy one; it must not hold up the test.
        timeout: std::time::Duration::from_secs(1),
        max_samples: 1_000_000,
        ..EngineOptions::default()
    };
    let server = start(|app| {
        app.engine = Arc::new(Engine::new(options));
        // What is switched off is answered with 500, as in Prometheus.
        app.admin_api = true;
        app.remote_write = Some(Arc::new(cupola_remote::WriteReceiver::new(&app.registry)));
    });
    let corpus: Vec<Vec<u8>> = CORPUS.iter().map(|uri| uri.as_bytes().to_vec()).collect();
    let runs = std::env::var("CUPOLA_FUZZ_RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3_000);
    let mut mutator = Mutator::new(7);
    let mut answered = 0;
    let mut inputs = corpus.clone();
    inputs.extend((0..runs).map(|_| mutator.mutate(&corpus, WORDS)));
    for input in inputs {
        let uri = encoded(&String::from_utf8_lossy(&input));
        // What stands behind the question mark is the body of a POST.
        let method = METHODS.get(mutator.below(METHODS.len())).copied().unwrap_or("GET");
        let (uri, body) = match uri.split_once('?') {
            Some((path, form)) if method == "POST" => (path.to_owned(), form.to_owned()),
            _ => (uri, String::new()),
        };
        let kind = "application/x-www-form-urlencoded";
        let request = Request::builder().method(method).uri(&uri).header("content-type", kind);
        let Ok(request) = request.header("accept-encoding", "br").body(Body::from(body)) else {
            continue;
        };
        let reply = server.send(request).await;
        let is_unimplemented = method == "DELETE" && reply.text().contains("not implemented");
        assert!(
            reply.status != 500 || is_unimplemented,
            "{method} {uri}: {}",
            reply.text()
        );
        if reply.header("content-type") == "application/json" && !reply.body.is_empty() {
            reply.json();
        }
        answered += 1;
    }
    assert!(answered > runs / 2, "only {answered} of {runs} inputs were requests");
}
