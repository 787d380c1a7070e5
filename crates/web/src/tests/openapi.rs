//! The OpenAPI document against the routes there are, and against real answers.

use super::living::RULES;
use super::*;
use crate::api::openapi::document;
use cupola_alert::Alertmanager;
use cupola_config::rules::RuleOptions;
use cupola_config::{MatcherMode, parse_alertmanager, parse_prometheus, parse_rules};
use cupola_discovery::DiscoverySet;
use cupola_remote::WriteReceiver;
use cupola_rules::GroupSource;
use cupola_scrape::LocalTarget;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

// What each address is asked. The first of its methods is used.
const ASKED: &[(&str, &[&str])] = &[
    (
        "/api/v1/query",
        &[
            "?query=requests_total&stats=all",
            "?query=requests_total[1m]&stats=sum",
            "?query=1",
            "?query=\"x\"",
            "?query=rate(requests_total[5m])&limit=1",
            "?query=nothing",
        ],
    ),
    (
        "/api/v1/query_range",
        &[
            "?query=requests_total&start=999700&end=1000000&step=15&stats=all",
            "?query=histogram_quantile(0.9, requests_total)&start=999700&end=1000000&step=15",
        ],
    ),
    (
        "/api/v1/query_exemplars",
        &["?query=requests_total&start=0&end=2000000"],
    ),
    ("/api/v1/format_query", &["?query=a%2Bb"]),
    ("/api/v1/parse_query", &["?query=sum(rate(a[5m]))"]),
    ("/api/v1/series", &["?match[]=temp&match[]=requests_total&limit=2"]),
    ("/api/v1/labels", &["", "?limit=1"]),
    (
        "/api/v1/label/{name}/values",
        &["/api/v1/label/job/values", "/api/v1/label/U__room_2e_name/values"],
    ),
    ("/api/v1/targets", &["", "?state=active", "?state=dropped&scrapePool=a"]),
    ("/api/v1/metadata", &["", "?limit=1"]),
    ("/api/v1/targets/metadata", &["", "?metric=up"]),
    (
        "/api/v1/targets/relabel_steps",
        &["?scrapePool=api&labels={\"a\":\"x\"}"],
    ),
    ("/api/v1/scrape_pools", &[""]),
    ("/api/v2/status", &[""]),
    ("/api/v2/receivers", &["", "?receiver_matchers=a=b"]),
    ("/api/v2/alerts", &["", "?active=true&filter=alertname=X&receiver=team"]),
    ("/api/v2/alerts/groups", &["", "?silenced=false"]),
    ("/api/v2/silences", &["", "?filter=a=b&expired=false"]),
    ("/api/v2/history", &["", "?limit=1"]),
    ("/api/v2/notifications", &["", "?limit=1&outcome=sent"]),
    ("/api/v2/acknowledgements", &[""]),
    ("/api/v2/recurring-silences", &[""]),
    ("/api/v1/alertmanagers", &[""]),
    ("/api/v1/rules", &["", "?type=alert&group_limit=1"]),
    (
        "/api/v1/rules/backtest",
        &[
            "?start=999000&end=1000000",
            "?start=999000&end=1000000&interval=15s&rules=groups: [{name: g, rules: [{record: r, expr: 'sum(requests_total)'}, {alert: A, expr: 'r > 1'}, {alert: B, expr: 'temp %2B on(x) group_left temp'}]}]",
            "?start=999000&end=1000000&alertmanager_config=route: {receiver: r}%0Areceivers: [{name: r, webhook_configs: [{url: 'http://x/'}]}]",
        ],
    ),
    ("/api/v1/rules/dead", &[""]),
    ("/api/v1/alerts", &[""]),
    ("/api/v1/alerts/history", &["", "?match[]={alertname!=\"x\"}&limit=2"]),
    ("/api/v1/status/config", &[""]),
    ("/api/v1/status/flags", &[""]),
    ("/api/v1/status/runtimeinfo", &[""]),
    ("/api/v1/status/buildinfo", &[""]),
    ("/api/v1/status/tsdb", &["?limit=5"]),
    ("/api/v1/status/tsdb/blocks", &[""]),
    ("/api/v1/status/walreplay", &[""]),
    ("/api/v1/status/self_metrics", &[""]),
    ("/api/v1/status/discovery", &[""]),
    ("/api/v1/features", &[""]),
    ("/api/v1/notifications", &[""]),
    ("/api/v1/openapi.yaml", &[""]),
    ("/api/v1/admin/tsdb/delete_series", &["?match[]=gone"]),
    ("/api/v1/admin/tsdb/clean_tombstones", &[""]),
    ("/api/v1/admin/tsdb/snapshot", &[""]),
    ("/federate", &["?match[]=temp"]),
    ("/metrics", &[""]),
    ("/metrics/node", &[""]),
    ("/version", &[""]),
];

// What is asked in its own tests: a stream that does not end, and a body in protocol buffers.
const NOT_ASKED: [&str; 9] = [
    "/api/v1/notifications/live",
    "/api/v1/write",
    "/api/v1/read",
    "/api/v1/otlp/v1/metrics",
    "/api/v2/silence/{id}",
    "/api/v2/receivers/test",
    "/api/v2/acknowledgement/{id}",
    "/api/v2/recurring-silence/{id}",
    "/api/v2/silences/preview",
];

// Requests that are refused.
const REFUSED: &[&str] = &[
    "/api/v1/query",
    "/api/v1/query_range?query=up&start=1",
    "/api/v1/series",
    "/api/v1/label/a%00b%FF/values",
    "/api/v1/rules?type=x",
    "/api/v1/rules/backtest?start=2&end=1",
    "/api/v1/rules/backtest?start=1&end=2&rules=groups: 1",
    "/api/v1/rules/backtest?start=1&end=2&notifications=maybe",
    "/api/v1/rules/backtest?start=1&end=2&alertmanager_config=route: 1",
    "/api/v1/status/tsdb?limit=0",
    "/api/v1/targets/relabel_steps",
    "/api/v1/query?query=requests_total&timeout=0",
    "/api/v1/alerts/history?match[]={",
    "/api/v1/alerts/history?format=xml",
];

struct Host;

impl LocalTarget for Host {
    fn collect(&self) -> Vec<u8> {
        b"node_load1 1\n".to_vec()
    }
}

// A small part of JSON schema, as much as the document uses; what it does not know is a mistake of the document.
pub(super) fn hold(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(schema) = schema.as_object() else {
        return if schema == &Value::Bool(true) {
            Ok(())
        } else {
            Err(format!("{at}: no schema: {schema}"))
        };
    };
    for (word, rule) in schema {
        let holds = match word.as_str() {
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => {
                let kinds = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                kinds.iter().any(|kind| match kind.as_str().unwrap() {
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.as_f64().is_some_and(|v| v.fract() == 0.0),
                    "boolean" => value.is_boolean(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    "null" => value.is_null(),
                    other => panic!("{at}: type {other}"),
                })
            }
            "minItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    hold(rule, item, &format!("{at}[{i}]"))?;
                }
                true
            }
            "prefixItems" => {
                let items = value.as_array().into_iter().flatten();
                for (i, (item, rule)) in items.zip(rule.as_array().unwrap()).enumerate() {
                    hold(rule, item, &format!("{at}[{i}]"))?;
                }
                true
            }
            "required" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|name| value.get(name.as_str().unwrap()).is_some()),
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        hold(rule, value, &format!("{at}.{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, value) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(name)) {
                        continue;
                    }
                    if rule == &Value::Bool(false) {
                        return Err(format!("{at}: {name} is not described"));
                    }
                    hold(rule, value, &format!("{at}.{name}"))?;
                }
                true
            }
            "oneOf" => {
                let rules = rule.as_array().unwrap();
                let failed: Vec<String> = rules.iter().filter_map(|rule| hold(rule, value, at).err()).collect();
                if failed.len() + 1 != rules.len() {
                    return Err(format!("{at}: not one of them: {failed:?}"));
                }
                true
            }
            other => panic!("{at}: the word {other}"),
        };
        if !holds {
            return Err(format!("{at}: not {word} {rule}: {value}"));
        }
    }
    Ok(())
}

pub(super) fn full() -> Server {
    full_with(|_| {})
}

// One with something behind every address.
pub(super) fn full_with(change: impl FnOnce(&mut App)) -> Server {
    let config = "
scrape_configs:
- job_name: b
  static_configs: [{targets: ['127.0.0.1:9']}]
- job_name: a
  static_configs: [{targets: ['x:1', 'y:1']}]
  relabel_configs: [{source_labels: [__address__], regex: 'y:1', action: drop}]
";
    start(|app| {
        app.admin_api = true;
        app.host = Some(Arc::new(Host));
        app.remote_write = Some(Arc::new(WriteReceiver::new(&app.registry)));
        let jobs = parse_prometheus(config, Path::new("p.yml")).unwrap().scrape_configs;
        app.scrape.apply(&jobs, &[]);
        let files = "scrape_configs: [{job_name: b, file_sd_configs: [{files: [/nonexistent/*.json]}]}]";
        let mut jobs = parse_prometheus(files, Path::new("p.yml")).unwrap().scrape_configs;
        app.discovery[0].apply(&[DiscoverySet {
            name: "b".into(),
            configs: jobs.remove(0).discovery,
        }]);
        let groups = parse_rules(RULES, Path::new("r.yml"), RuleOptions::default())
            .unwrap()
            .groups;
        let source = |group| GroupSource {
            file: "r.yml".into(),
            group,
        };
        let groups = groups.into_iter().map(source).collect();
        app.rules.apply(groups, Duration::from_secs(60), Duration::ZERO);
        app.alertmanager = Some(within(app));
        change(app);
    })
}

// One with something of everything that is ours.
fn within(app: &App) -> Alertmanager {
    let text = "route: {receiver: team}\nreceivers: [{name: team}]\n";
    let config = parse_alertmanager(text, Path::new("am.yml"), MatcherMode::default()).unwrap();
    let options = cupola_alert::Options::default();
    let stop = CancellationToken::new();
    let within = Alertmanager::new(config, &[], options, app.clock.clone(), &app.registry, stop).unwrap();
    let labels = Labels::from_pairs([("alertname", "X"), ("job", "api")]);
    within.post(&[cupola_model::Alert {
        labels: labels.clone(),
        annotations: Labels::empty(),
        starts_at: NOW,
        ends_at: None,
        generator_url: String::new(),
    }]);
    within
        .acknowledge(labels.fingerprint(), "ada", "on it", Some(NOW + 1))
        .unwrap();
    let schedule = cupola_alert::Schedule {
        days: [true; 7],
        from: 0,
        to: 60,
        time_zone: "UTC".into(),
        starts_at: 0,
        ends_at: NOW * 2,
    };
    within
        .set_recurring_silence(cupola_alert::RecurringRequest {
            id: String::new(),
            matchers: vec![("a".into(), cupola_model::MatchOp::Equal, "b".into())],
            schedule,
            created_by: "ada".into(),
            comment: "nights".into(),
        })
        .unwrap();
    within
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_as_described() {
    let server = full();
    let alerts = async || {
        server.get("/api/v1/alerts").await.json()["data"]["alerts"]
            .as_array()
            .unwrap()
            .len()
    };
    let began = std::time::Instant::now();
    while alerts().await == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "no alert fires");
        // Rules wait until the clock says so.
        server.clock.advance(1);
        tokio::task::yield_now().await;
    }
    let document = document("0", "");
    for (path, queries) in ASKED {
        let operations = document["paths"][path]
            .as_object()
            .unwrap_or_else(|| panic!("{path} is not described"));
        let (method, operation) = operations.iter().next().unwrap();
        for query in *queries {
            let uri = if query.starts_with('/') {
                (*query).to_owned()
            } else {
                format!("{path}{query}")
            };
            let reply = server.request(&method.to_uppercase(), &uri, &[], "").await;
            let described = &operation["responses"][reply.status.as_str()];
            assert!(
                !described.is_null(),
                "{uri}: {} is not described: {}",
                reply.status,
                reply.text()
            );
            let Some(content) = described["content"].as_object() else {
                assert_eq!(reply.body, b"", "{uri}");
                continue;
            };
            let kind = reply.header("content-type").split(';').next().unwrap();
            let schema = &content
                .get(kind)
                .unwrap_or_else(|| panic!("{uri}: {kind} is not described"))["schema"];
            let value = if kind == "application/json" {
                reply.json()
            } else {
                Value::from(reply.text())
            };
            hold(schema, &value, &uri).unwrap_or_else(|e| panic!("{e}"));
        }
    }
    let refusal =
        &document["paths"]["/api/v1/query"]["get"]["responses"]["default"]["content"]["application/json"]["schema"];
    for uri in REFUSED {
        let reply = server.get(uri).await;
        assert!(!reply.status.is_success(), "{uri}");
        hold(refusal, &reply.json(), uri).unwrap_or_else(|e| panic!("{e}"));
    }
}

// Everything that can happen to an alert, as the history writes it.
fn happenings() -> Vec<cupola_alert::Happening> {
    use cupola_alert::{Acknowledgement, Happening, Message, Outcome, Suppression};
    let labels = Labels::from_pairs([("alertname", "X")]);
    let ack = |ends_at| {
        Happening::Acknowledged(Arc::new(Acknowledgement {
            fingerprint: 1,
            labels: labels.clone(),
            by: "ada".into(),
            note: "on it".into(),
            at: NOW,
            ends_at,
        }))
    };
    let told = |outcome, error: &str, answer: &str| {
        Happening::Told(Arc::new(Message {
            receiver: "team".into(),
            integration: "webhook[0]".into(),
            group_key: "{}:{}".into(),
            reason: "first notification".into(),
            outcome,
            attempts: 2,
            error: error.into(),
            firing: 1,
            resolved: 0,
            answer: answer.into(),
        }))
    };
    let quiet = |by| Happening::Suppressed {
        group_key: "{}:{}".into(),
        by,
    };
    vec![
        Happening::Fired,
        Happening::Refused,
        Happening::Resolved { by_timeout: false },
        Happening::Resolved { by_timeout: true },
        Happening::Grouped {
            receiver: "team".into(),
            group_key: "{}:{}".into(),
            flush_at: NOW,
        },
        quiet(Suppression::Inhibition(7, "".into())),
        quiet(Suppression::Inactive(Arc::from(["work".to_owned()]))),
        quiet(Suppression::Muted(Arc::from(["nights".to_owned()]))),
        quiet(Suppression::Silence(vec!["id".into()])),
        Happening::Released {
            group_key: "{}:{}".into(),
        },
        told(Outcome::Sent, "", "POST x: 200"),
        told(Outcome::Retrying, "no answer", ""),
        told(Outcome::Failed, "refused", "POST x: 400"),
        ack(None),
        ack(Some(NOW)),
        Happening::Unacknowledged { by: String::new() },
        Happening::Held {
            group_key: "{}:{}".into(),
            by: "ada".into(),
        },
    ]
}

#[test]
fn everything_that_can_happen_to_an_alert_is_described() {
    let document = document("0", "");
    let content = &document["paths"]["/api/v2/history"]["get"]["responses"]["200"]["content"];
    let schema = &content["application/json"]["schema"];
    let mut written = BTreeSet::new();
    for what in happenings() {
        let mut text = String::new();
        let event = cupola_alert::Event {
            at: NOW,
            fingerprint: 1,
            labels: Labels::from_pairs([("alertname", "X")]),
            what,
        };
        crate::alertmanager::write_event(&mut text, &event);
        let value: Value = serde_json::from_str(&text).unwrap();
        written.insert(value["event"].as_str().unwrap().to_owned());
        hold(schema, &json!([value]), "history").unwrap_or_else(|e| panic!("{e}: {text}"));
    }
    let kinds = schema["items"]["oneOf"].as_array().unwrap().iter();
    let described: BTreeSet<String> = kinds
        .flat_map(|kind| kind["properties"]["event"]["enum"].as_array().unwrap())
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(written, described);
    let lacking = json!([{ "at": "", "fingerprint": "", "labels": {}, "event": "grouped", "groupKey": "" }]);
    assert!(hold(schema, &lacking, "history").is_err());
}

#[test]
fn what_is_routed_is_described_and_what_is_described_is_routed() {
    let sources = [
        include_str!("../api/prometheus/mod.rs"),
        include_str!("../alertmanager/mod.rs"),
        include_str!("../alertmanager/own.rs"),
    ];
    let routed: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.split(".route(").skip(1))
        .filter_map(|rest| rest.split('"').nth(1))
        // What there is not.
        .filter(|path| !path.ends_with("{*rest}"))
        .collect();
    let document = document("0", "");
    let described: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(described, routed);
    assert!(routed.len() > 30);
    let asked: BTreeSet<&str> = ASKED.iter().map(|(path, _)| *path).chain(NOT_ASKED).collect();
    assert_eq!(asked, described);
}

#[tokio::test]
async fn the_methods_that_are_described_are_the_ones_there_are() {
    let server = full();
    let document = document("0", "");
    for (path, operations) in document["paths"].as_object().unwrap() {
        let uri = path.replace("{name}", "job").replace("{id}", "1");
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let is_described = operations.get(method.to_lowercase()).is_some();
            // One does not end, the other is there and does nothing.
            if (path.ends_with("/live") && is_described) || (method == "DELETE" && path == "/api/v1/series") {
                continue;
            }
            let status = server.request(method, &uri, &[], "").await.status;
            assert_eq!(status != 405, is_described, "{method} {uri}: {status}");
        }
    }
}

#[tokio::test]
async fn the_document_is_yaml_and_knows_its_prefix() {
    let server = start(|app| app.route_prefix = "/prom".into());
    let reply = server.get("/prom/api/v1/openapi.yaml").await;
    assert_eq!(reply.header("content-type"), "application/yaml; charset=utf-8");
    let text = reply.text();
    assert!(
        text.starts_with("\"openapi\": \"3.1.0\"\n\"info\":\n  \"title\": \"Cupola: the Prometheus API\"\n"),
        "{text}"
    );
    assert!(text.contains("\"servers\":\n  - \"url\": \"/prom\"\n"), "{text}");
    assert_eq!(document("1", "")["servers"], json!([{ "url": "/" }]));
}

#[test]
fn answers_that_are_not_as_described_are_found() {
    let schema = json!({
        "type": "object",
        "properties": { "a": { "type": "integer" }, "b": { "type": "array", "items": { "enum": ["x", "y"] } } },
        "required": ["a"],
        "additionalProperties": false,
    });
    for (value, expected) in [
        (json!({ "a": 1, "b": ["x"] }), None),
        (json!({ "a": 1.5 }), Some(".a: not type \"integer\": 1.5")),
        (json!({ "b": [] }), Some(": not required [\"a\"]: {\"b\":[]}")),
        (
            json!({ "a": 1, "b": ["x", "z"] }),
            Some(".b[1]: not enum [\"x\",\"y\"]: \"z\""),
        ),
        (json!({ "a": 1, "c": 1 }), Some(": c is not described")),
        (json!([]), Some(": not type \"object\": []")),
    ] {
        assert_eq!(hold(&schema, &value, "").err().as_deref(), expected, "{value}");
    }
}
