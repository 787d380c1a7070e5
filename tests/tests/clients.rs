//! How targets, receivers and others are spoken to: what an `<http_config>` asks for, seen from the other side.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use cupola_tests::{FakeServer, Home, Reply, Server, eventually};

const TEXT: &str = "text/plain; version=0.0.4";

#[test]
fn targets_are_scraped_and_receivers_notified_through_a_proxy() {
    // Names that no resolver knows: whoever does not go through the proxy gets nowhere.
    let proxy = FakeServer::start(|request| match request.path.as_str() {
        "http://target.invalid:9100/metrics" => Reply::Body(200, TEXT, "way 1\n".to_owned()),
        "http://receiver.invalid/hook" => Reply::status(200),
        _ => Reply::status(404),
    });
    let home = Home::new();
    home.write(
        "rules.yml",
        "groups: [{name: g, interval: 250ms, rules: [{alert: Way, expr: way == 1}]}]",
    );
    let via = format!("http://me:p%40ss@{}", proxy.address());
    let config = home.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\nrule_files: [rules.yml]\n\
             scrape_configs:\n- job_name: far\n  proxy_url: {via}\n  static_configs: [{{targets: ['target.invalid:9100']}}]\n\
             - job_name: excepted\n  proxy_url: {via}\n  no_proxy: .invalid\n  \
             static_configs: [{{targets: ['target.invalid:9100']}}]\n"
        ),
    );
    let receivers = home.write(
        "alertmanager.yml",
        &format!(
            "route: {{receiver: nobody, routes: [{{receiver: far, matchers: ['alertname=\"Way\"'], group_wait: 0s}}]}}\n\
             receivers:\n- name: nobody\n- name: far\n  webhook_configs:\n  - url: http://receiver.invalid/hook\n    \
             http_config: {{proxy_url: '{via}'}}\n"
        ),
    );
    let server = Server::up(
        &home,
        &[
            &format!("--config.file={}", config.display()),
            &format!("--alertmanager.config.file={}", receivers.display()),
        ],
    );
    eventually(20, "the target is up", || {
        server.value("way{job=\"far\"}").filter(|v| *v == 1.0)
    });
    let told = eventually(20, "the receiver is told", || {
        proxy.requests("http://receiver.invalid/hook").first().cloned()
    });
    assert_eq!(told.method, "POST");
    assert_eq!(told.json()["commonLabels"]["alertname"], "Way");
    assert_eq!(told.header("host"), "receiver.invalid");
    let asked = proxy.requests("http://target.invalid:9100/metrics");
    for request in asked.iter().chain([&told]) {
        // The base64 of `me:p@ss`.
        assert_eq!(request.header("proxy-authorization"), "Basic bWU6cEBzcw==");
    }
    eventually(20, "the exception is asked directly", || {
        server.value("up{job=\"excepted\"}").filter(|up| *up == 0.0)
    });
    let targets = server.api("/api/v1/targets", &[]);
    let failed = targets["activeTargets"].as_array().unwrap().iter();
    let failed = failed.filter(|t| t["labels"]["job"] == "excepted");
    for target in failed {
        let error = target["lastError"].as_str().unwrap();
        assert!(error.contains("lookup target.invalid"), "{error}");
    }
    assert!(!server.get("/api/v1/status/config").text().contains("p%40ss"));
}
