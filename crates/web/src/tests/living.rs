//! Rules, targets and an Alertmanager that really run.

use super::*;
use cupola_alert::Alertmanager;
use cupola_config::rules::RuleOptions;
use cupola_config::{MatcherMode, parse_alertmanager, parse_prometheus, parse_rules};
use cupola_rules::GroupSource;
use cupola_scrape::{LocalJob, LocalTarget};
use std::path::Path;
use std::time::Duration;

pub(super) const RULES: &str = "
groups:
- name: g
  interval: 10ms
  rules:
  - record: job:requests:sum
    expr: sum by (job) (requests_total)
  - alert: Many
    expr: requests_total > 50
    labels: {severity: page}
    annotations: {summary: 'many on {{ $labels.instance }}'}
";

// Other tasks run until `uri` answers as `done` wants.
async fn until(server: &Server, uri: &str, done: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let json = server.get(uri).await.json();
            if done(&json) {
                return json;
            }
            // Rules wait until the clock says so.
            server.clock.advance(1);
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_and_alerts_are_shown() {
    let server = start(|app| {
        let file = parse_rules(RULES, Path::new("r.yml"), RuleOptions::default()).unwrap();
        let groups = file
            .groups
            .into_iter()
            .map(|group| GroupSource {
                file: "r.yml".into(),
                group,
            })
            .collect();
        app.rules.apply(groups, Duration::from_secs(60), Duration::ZERO);
    });
    let alerts = until(&server, "/api/v1/alerts", |json| {
        !json["data"]["alerts"].as_array().unwrap().is_empty()
    })
    .await;
    let alert = &alerts["data"]["alerts"][0];
    assert_eq!(alert["state"], "firing");
    assert_eq!(alert["value"], "8e+01");
    assert_eq!(alert["labels"]["alertname"], "Many");
    assert_eq!(alert["labels"]["severity"], "page");
    assert_eq!(alert["annotations"]["summary"], "many on b:1");
    assert!(alert.get("keepFiringSince").is_none());
    let rules = server.get("/api/v1/rules").await.json();
    let group = &rules["data"]["groups"][0];
    assert_eq!(
        (group["name"].as_str(), group["file"].as_str()),
        (Some("g"), Some("r.yml"))
    );
    assert_eq!(group["rules"][0]["type"], "recording");
    assert_eq!(group["rules"][1]["state"], "firing");
    assert_eq!(group["rules"][1]["alerts"][0]["value"], "8e+01");
    let without = server.get("/api/v1/rules?exclude_alerts=true&type=alert").await.json();
    assert_eq!(
        without["data"]["groups"][0]["rules"][0]["alerts"],
        serde_json::json!([])
    );
    assert_eq!(without["data"]["groups"][0]["rules"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn targets_are_shown() {
    let config = "
scrape_configs:
- job_name: b
  static_configs: [{targets: ['127.0.0.1:9']}]
- job_name: a
  static_configs: [{targets: ['x:1', 'y:1']}]
  relabel_configs: [{source_labels: [__address__], regex: 'y:1', action: drop}]
";
    let server = start(|app| {
        app.scrape.apply(
            &parse_prometheus(config, Path::new("p.yml")).unwrap().scrape_configs,
            &[],
        );
    });
    let all = server.get("/api/v1/targets").await.json();
    let active = all["data"]["activeTargets"].as_array().unwrap();
    assert_eq!(
        active
            .iter()
            .map(|t| t["scrapePool"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(active[0]["labels"], serde_json::json!({"instance": "x:1", "job": "a"}));
    assert_eq!(active[1]["scrapeUrl"], "http://127.0.0.1:9/metrics");
    assert_eq!(active[1]["globalUrl"], "http://mon:9/metrics");
    assert_eq!(
        all["data"]["droppedTargets"][0]["discoveredLabels"]["__address__"],
        "y:1"
    );
    assert_eq!(all["data"]["droppedTargetCounts"], serde_json::json!({"a": 1, "b": 0}));
    let dropped = server.get("/api/v1/targets?state=dropped&scrapePool=a").await.json();
    assert_eq!(dropped["data"]["activeTargets"], serde_json::json!([]));
    assert_eq!(dropped["data"]["droppedTargetCounts"], serde_json::json!({"a": 1}));
    let active = server.get("/api/v1/targets?state=active&scrapePool=b").await.json();
    assert_eq!(active["data"]["activeTargets"].as_array().unwrap().len(), 1);
    assert_eq!(active["data"]["droppedTargets"], serde_json::json!([]));
    let pools = server.get("/api/v1/scrape_pools").await.json();
    assert_eq!(pools["data"]["scrapePools"], serde_json::json!(["a", "b"]));
}

#[tokio::test]
async fn the_alertmanager_within_is_shown() {
    let text = "route: {receiver: team, group_by: [alertname]}\nreceivers: [{name: team, webhook_configs: [{url: 'http://127.0.0.1:9/'}]}]\n";
    let config = parse_alertmanager(text, Path::new("am.yml"), MatcherMode::default()).unwrap();
    let server = start(|app| {
        let (clock, stop) = (app.clock.clone(), CancellationToken::new());
        let options = cupola_alert::Options::default();
        let within = Alertmanager::new(config, &[], options, clock, &app.registry, stop).unwrap();
        within.post(&[Alert {
            labels: Labels::from_pairs([("alertname", "X"), ("job", "api")]),
            annotations: Labels::from_pairs([("summary", "s")]),
            starts_at: NOW,
            ends_at: None,
            generator_url: String::new(),
        }]);
        app.alertmanager = Some(within);
    });
    let bootstrap = server.get("/api/ui/bootstrap").await.json();
    assert_eq!(
        bootstrap["alertmanager"],
        serde_json::json!({"configured": true, "receivers": ["team"], "running": true})
    );
    let alerting = server.get("/api/ui/alerting").await.json();
    assert_eq!(alerting["configured"], true);
    let group = &alerting["groups"][0];
    assert_eq!(group["receiver"], "team");
    assert_eq!(group["groupLabels"], serde_json::json!({"alertname": "X"}));
    assert_eq!(group["alerts"][0]["status"], "firing");
    assert_eq!(group["alerts"][0]["endsAt"], serde_json::Value::Null);
}

struct Described;

impl LocalTarget for Described {
    fn collect(&self) -> Vec<u8> {
        b"# HELP a what \"it\" is\n# TYPE a counter\na 1\n# TYPE b gauge\nb 2\n".to_vec()
    }
}

#[tokio::test]
async fn what_targets_say_about_their_metrics_is_shown() {
    let config = "scrape_configs: [{job_name: a, static_configs: [{targets: ['x:1']}]}]";
    let config = parse_prometheus(config, Path::new("p.yml"))
        .unwrap()
        .scrape_configs
        .remove(0);
    let server = start(|app| {
        app.scrape.apply(
            &[],
            &[LocalJob {
                config,
                target: Arc::new(Described),
            }],
        );
    });
    let expected = serde_json::json!({
        "a": [{"type": "counter", "help": "what \"it\" is", "unit": ""}],
        "b": [{"type": "gauge", "help": "", "unit": ""}],
    });
    until(&server, "/api/v1/metadata", |json| json["data"] == expected).await;
    let one = server.get("/api/v1/metadata?metric=b&limit=1").await.json();
    assert_eq!(one["data"].as_object().unwrap().len(), 1);
    let of_target = "/api/v1/targets/metadata?match_target=%7Bjob%3D%22a%22%7D&metric=b";
    assert_eq!(
        server.get(of_target).await.json()["data"],
        serde_json::json!([{"target": {"instance": "x:1", "job": "a"}, "type": "gauge", "help": "", "unit": ""}])
    );
    let none = server
        .get("/api/v1/targets/metadata?match_target=%7Bjob%3D%22z%22%7D")
        .await
        .json();
    assert_eq!(none["data"], serde_json::json!([]));
    let bad = server.get("/api/v1/metadata?limit=x").await.json();
    assert_eq!(bad["error"], "limit must be a number");
}
