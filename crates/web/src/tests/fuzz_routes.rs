//! Every address that the description knows, with mutated parameters and bodies: none may panic, and none may be
//! answered with 500 where the request is at fault.

use super::openapi::full_with;
use super::*;
use crate::api::openapi::document;
use cupola_remote::{OtlpDeltas, OtlpOptions, OtlpReceiver, PushedMetrics};
use cupola_testkit::Mutator;

const WORDS: &[&str] = &[
    "&",
    "=",
    "%",
    "%00",
    "NaN",
    "Inf",
    "-1",
    "9e15",
    "[5m]",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "null",
    "0",
    ":",
    ",",
    "true",
    "match[]=",
    "limit=",
    "1970-01-01T00:00:00Z",
    "=~\"(\"",
];

// A message in snappy's block format, all of it one literal.
pub(super) fn snappy(message: &[u8]) -> Vec<u8> {
    let length = message.len() as u8;
    [&[length, (length - 1) << 2][..], message].concat()
}

// What is posted: the address, the content type and a body that is good.
fn bodies() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let pushed = PushedMetrics {
        samples: vec![(Labels::from_pairs([("__name__", "pushed"), ("a", "b")]), NOW, 1.0)],
        ..PushedMetrics::default()
    };
    let query = [&[10, 11, 8, 0, 16, 5, 26, 5, 18, 1][..], b"a", &[26, 0]].concat();
    let otlp = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":"1000000000000000","asInt":"7"}]}}]}]}]}"#;
    let point = [
        &[25][..],
        &1_000_000_000_000_000_u64.to_le_bytes(),
        &[49],
        &7_u64.to_le_bytes(),
    ]
    .concat();
    let gauge = [&[10, 29, 18, 27, 18, 25, 10, 1, b'm', 42, 20, 10, 18][..], &point].concat();
    let silence = br#"{"matchers":[{"name":"a","value":"b","isRegex":false,"isEqual":true}],"startsAt":"1970-01-12T13:46:40Z","endsAt":"1970-01-13T13:46:40Z","createdBy":"me","comment":"c"}"#;
    let alerts = br#"[{"labels":{"alertname":"A","job":"x"},"annotations":{"s":"t"},"startsAt":"1970-01-12T13:46:40Z","endsAt":"1970-01-12T14:46:40Z","generatorURL":"http://x/"}]"#;
    let recurring = br#"{"matchers":[{"name":"a","value":"b","isRegex":false}],"days":["monday"],"from":"01:00","to":"02:00","timeZone":"UTC","startsAt":"1970-01-12T13:46:40Z","endsAt":"1970-02-12T13:46:40Z","createdBy":"me","comment":"c"}"#;
    let json = "application/json";
    let protobuf = "application/x-protobuf";
    vec![
        ("/api/v1/write", protobuf, pushed.to_write_request()),
        ("/api/v1/read", protobuf, snappy(&query)),
        ("/api/v1/otlp/v1/metrics", json, otlp.to_vec()),
        ("/api/v1/otlp/v1/metrics", protobuf, gauge),
        ("/api/v2/alerts", json, alerts.to_vec()),
        ("/api/v2/silences", json, silence.to_vec()),
        ("/api/v2/silences/preview", json, silence.to_vec()),
        ("/api/v2/recurring-silences", json, recurring.to_vec()),
        (
            "/api/v2/acknowledgements",
            json,
            br#"{"fingerprint":"00000000000000ff","by":"me","note":"n","endsAt":"1970-02-12T13:46:40Z"}"#.to_vec(),
        ),
        (
            "/api/v2/receivers/test",
            json,
            br#"{"receiver":"team","labels":{"a":"b"},"annotations":{}}"#.to_vec(),
        ),
    ]
}

fn everything() -> Server {
    full_with(|app| {
        app.engine = Arc::new(Engine::new(EngineOptions {
            timeout: std::time::Duration::from_secs(1),
            max_samples: 1_000_000,
            ..EngineOptions::default()
        }));
        let options = OtlpOptions {
            lookback_ms: 300_000,
            deltas: OtlpDeltas::Summed,
            type_and_unit_labels: true,
        };
        app.otlp = Some(Arc::new(OtlpReceiver::new(&app.registry, options)));
    })
}

fn runs(some: usize) -> usize {
    let told = std::env::var("CUPOLA_FUZZ_RUNS").ok().and_then(|n| n.parse().ok());
    told.unwrap_or(some)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_takes_mutated_parameters() {
    let server = everything();
    let mut mutator = Mutator::new(11);
    let document = document("0", "");
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        // A stream that does not end.
        if path.ends_with("/live") {
            continue;
        }
        for (method, operation) in operations.as_object().unwrap() {
            let parameters = operation["parameters"].as_array();
            let names = parameters.into_iter().flatten().filter(|p| p["in"] == "query");
            let query: Vec<String> = names
                .map(|parameter| {
                    let value = match parameter["name"].as_str().unwrap() {
                        "query" | "match[]" | "match_target" => "temp",
                        "labels" => "{\"a\":\"b\"}",
                        "rules" => "groups: [{name: g, rules: [{record: r, expr: up}]}]",
                        "filter[]" | "receiver_matchers[]" => "a=b",
                        "end" => "1000000",
                        "start" => "999000",
                        _ => "15",
                    };
                    format!("{}={value}", parameter["name"].as_str().unwrap())
                })
                .collect();
            let corpus = [format!("{path}?{}", query.join("&")).into_bytes()];
            for _ in 0..runs(30) {
                let input = mutator.mutate(&corpus, WORDS);
                let text = String::from_utf8_lossy(&input).replace("/live", "/life");
                let uri = encoded(&text);
                let request = Request::builder().method(method.to_uppercase().as_str()).uri(&uri);
                let Ok(request) = request.body(Body::empty()) else {
                    continue;
                };
                let reply = server.send(request).await;
                assert_ne!(reply.status, 500, "{method} {uri}: {}", reply.text());
                asked += 1;
            }
        }
    }
    assert!(asked > runs(30) * 20, "{asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_takes_mutated_bodies() {
    let server = everything();
    let mut mutator = Mutator::new(13);
    for (path, kind, body) in bodies() {
        let mut inputs = vec![body.clone()];
        inputs.extend((0..runs(300)).map(|_| mutator.mutate(std::slice::from_ref(&body), WORDS)));
        for (at, input) in inputs.into_iter().enumerate() {
            let request = Request::builder().method("POST").uri(path).header("content-type", kind);
            let request = request.header(
                "content-encoding",
                if path.ends_with("/write") || path.ends_with("/read") {
                    "snappy"
                } else {
                    ""
                },
            );
            let reply = server.send(request.body(Body::from(input.clone())).unwrap()).await;
            let text = reply.text();
            if at == 0 {
                let is_fine = reply.status.is_success() || path == "/api/v2/acknowledgements";
                assert!(is_fine, "{path}: {}: {text}", reply.status);
            }
            // As in Prometheus: what OTLP has and cannot be translated counts as the server's fault.
            let is_untranslated = path.contains("otlp") && !text.contains("the server made a mistake");
            assert!(
                reply.status != 500 || is_untranslated,
                "{path}: {text}: {}",
                String::from_utf8_lossy(&input)
            );
        }
    }
}
