//! Programs of other people on either side of a scrape: Python's client library and the blackbox exporter as targets,
//! Debian's Prometheus that federates, VictoriaMetrics' agent that sends.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::SocketAddr;

use cupola_tests::{
    FakeServer, FakeTarget, Home, Neighbour, Prometheus, Reply, Server, eventually, get, now_ms, python_client,
    url_encode,
};
use serde_json::Value;

// One metric of each kind; the port that was free is told on standard output.
const CLIENT: &str = r#"
import sys, time
from prometheus_client import Counter, Enum, Gauge, Histogram, Info, Summary, start_http_server

sold = Counter("sold_things", "What was sold.", ["kind"])
sold.labels("x").inc(5, {"trace_id": "abc123"})
Gauge("queue_length", "Who waits.").set(-3)
took = Histogram("took_seconds", "How long it took.", buckets=[0.5, 2])
for value in (0.1, 1.0, 9.0):
    took.observe(value, {"trace_id": "t%d" % value})
Summary("size_bytes", "How large it was.").observe(12)
Info("build", "What runs.").info({"version": "1.2.3"})
Enum("mood", "How it is.", states=["good", "bad"]).state("bad")
Gauge("room.level", "With a dot.").set(21.5)
server, thread = start_http_server(0, addr="127.0.0.1")
print("port", server.server_port, flush=True)
thread.join()
"#;

#[test]
fn what_pythons_client_library_shows_is_stored_with_exemplars_and_metadata() {
    let Some((_client, address)) = python_client(CLIENT) else {
        return;
    };
    let home = Home::new();
    let config = home.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nscrape_configs:\n\
             - job_name: open\n  static_configs: [{{targets: ['{address}']}}]\n\
             - job_name: text\n  scrape_protocols: [PrometheusText0.0.4]\n  static_configs: [{{targets: ['{address}']}}]\n\
             - job_name: legacy\n  metric_name_validation_scheme: legacy\n  static_configs: [{{targets: ['{address}']}}]\n\
             - job_name: custom\n  convert_classic_histograms_to_nhcb: true\n  static_configs: [{{targets: ['{address}']}}]\n"
        ),
    );
    let server = Server::prometheus(&home, &config, &["--enable-feature=exemplar-storage"]);
    eventually(30, "all jobs were scraped", || {
        server.value("sum(up)").filter(|up| *up == 4.0)
    });
    for job in ["open", "text", "legacy"] {
        let of = |series: &str| server.value(&format!("sum({series})").replace("JOB", &format!("job=\"{job}\"")));
        assert_eq!(of("sold_things_total{kind=\"x\",JOB}"), Some(5.0), "{job}");
        assert_eq!(of("queue_length{JOB}"), Some(-3.0), "{job}");
        assert_eq!(of("took_seconds_bucket{le=\"2.0\",JOB}"), Some(2.0), "{job}");
        assert_eq!(of("took_seconds_bucket{le=\"+Inf\",JOB}"), Some(3.0), "{job}");
        assert_eq!(of("size_bytes_sum{JOB}"), Some(12.0), "{job}");
        assert_eq!(of("build_info{version=\"1.2.3\",JOB}"), Some(1.0), "{job}");
        assert_eq!(of("mood{mood=\"bad\",JOB}"), Some(1.0), "{job}");
    }
    // Who takes names as they are gets them so; who does not gets them with underscores.
    assert_eq!(server.value("{\"room.level\", job=\"open\"}"), Some(21.5));
    assert_eq!(server.value("room_level{job=\"legacy\"}"), Some(21.5));
    assert!(server.query("{\"room.level\", job=\"legacy\"}").is_empty());
    // The histogram as one series.
    let bound = server.value("histogram_count(took_seconds{job=\"custom\"})");
    assert_eq!(bound, Some(3.0));
    assert_eq!(server.value("histogram_sum(took_seconds{job=\"custom\"})"), Some(10.1));
    assert!(server.query("took_seconds_bucket{job=\"custom\"}").is_empty());

    let now = now_ms() / 1000;
    let exemplars = |query: &str| {
        let (start, end) = ((now - 3600).to_string(), (now + 60).to_string());
        server.api(
            "/api/v1/query_exemplars",
            &[("query", query), ("start", &start), ("end", &end)],
        )
    };
    let found = exemplars("sold_things_total{job=\"open\"}");
    assert_eq!(found[0]["exemplars"][0]["labels"]["trace_id"], "abc123", "{found}");
    let found = exemplars("took_seconds_bucket{job=\"open\"}");
    let traces: Vec<&str> = (found.as_array().unwrap().iter())
        .filter_map(|series| series["exemplars"][0]["labels"]["trace_id"].as_str())
        .collect();
    assert_eq!(traces.len(), 3, "{found}");
    let families = server.api("/api/v1/metadata", &[("metric", "took_seconds")]);
    assert_eq!(families["took_seconds"][0]["type"], "histogram", "{families}");
}

#[test]
fn the_blackbox_exporter_probes_what_the_usual_relabelling_names() {
    let home = Home::new();
    let modules = home.write(
        "blackbox.yml",
        "modules:\n  http_2xx: {prober: http, timeout: 2s, http: {preferred_ip_protocol: ip4}}\n",
    );
    let Some(exporter) = Neighbour::start("prometheus-blackbox-exporter", "/-/healthy", |address| {
        vec![
            format!("--web.listen-address={address}"),
            format!("--config.file={}", modules.display()),
        ]
    }) else {
        return;
    };
    let good = FakeServer::start(|_| Reply::Body(200, "text/plain", "hello\n".to_owned()));
    let bad = FakeServer::start(|_| Reply::status(503));
    let config = home.write(
        "prometheus.yml",
        &format!(
            r#"
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: blackbox
  metrics_path: /probe
  params: {{module: [http_2xx]}}
  static_configs:
  - targets: ['{}', '{}']
  relabel_configs:
  - {{source_labels: [__address__], target_label: __param_target}}
  - {{source_labels: [__param_target], target_label: instance}}
  - {{target_label: __address__, replacement: '{}'}}
"#,
            good.url("/"),
            bad.url("/"),
            exporter.address()
        ),
    );
    let server = Server::prometheus(&home, &config, &[]);
    eventually(30, "both were probed", || {
        (server.query("probe_success").len() == 2).then_some(())
    });
    let of = |series: &str, server_url: String| server.value(&format!("{series}{{instance=\"{server_url}\"}}"));
    assert_eq!(of("probe_success", good.url("/")), Some(1.0));
    assert_eq!(of("probe_http_status_code", good.url("/")), Some(200.0));
    assert_eq!(of("probe_success", bad.url("/")), Some(0.0));
    assert_eq!(of("probe_http_status_code", bad.url("/")), Some(503.0));
    // The exporter answers for both: they are up, whatever it found.
    assert_eq!(server.value("sum(up)"), Some(2.0));
}

// An instant query to any server with Prometheus's API; the values.
fn ask(address: SocketAddr, query: &str) -> Vec<f64> {
    let path = format!("/api/v1/query?query={}", url_encode(query));
    let Ok(answer) = get(address, &path) else {
        return Vec::new();
    };
    let json: Value = answer.json();
    let found = json["data"]["result"].as_array().cloned().unwrap_or_default();
    found
        .iter()
        .map(|series| series["value"][1].as_str().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn debians_prometheus_federates_from_us() {
    let target = FakeTarget::start("# TYPE thing gauge\nthing{a=\"b\"} 7\nother 1\n");
    let home = Home::new();
    let config = home.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, external_labels: {{region: eu}}}}\nscrape_configs:\n\
             - job_name: inner\n  static_configs: [{{targets: ['{}'], labels: {{instance: one}}}}]\n",
            target.address()
        ),
    );
    let server = Server::prometheus(&home, &config, &[]);
    eventually(20, "the target is up", || server.value("up").filter(|up| *up == 1.0));
    let yaml = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: outer\n  honor_labels: true\n  \
         metrics_path: /federate\n  params: {{'match[]': ['thing', 'up{{job=\"inner\"}}']}}\n  static_configs: [{{targets: ['{}']}}]\n",
        server.address()
    );
    let Some(prometheus) = Prometheus::with_config(Home::new(), &yaml, &[]) else {
        return;
    };
    eventually(30, "Debian's Prometheus has what we have", || {
        let found = ask(
            prometheus.address(),
            "thing{a=\"b\",job=\"inner\",instance=\"one\",region=\"eu\"}",
        );
        (found == [7.0]).then_some(())
    });
    assert_eq!(ask(prometheus.address(), "up{job=\"inner\"}"), [1.0]);
    assert_eq!(ask(prometheus.address(), "up{job=\"outer\"}"), [1.0]);
    assert!(ask(prometheus.address(), "other").is_empty());
}

#[test]
fn debians_prometheus_federates_native_histograms_from_us() {
    let home = Home::new();
    let config = home.write(
        "prometheus.yml",
        "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n- job_name: self\n  \
         scrape_native_histograms: true\n  file_sd_configs: [{files: ['self.json']}]\n",
    );
    let server = Server::prometheus(&home, &config, &[]);
    home.write("self.json", &format!("[{{\"targets\": [\"{}\"]}}]", server.address()));
    let metric = "prometheus_http_request_duration_seconds";
    let count = format!("histogram_count({metric}{{handler=\"/metrics\"}})");
    eventually(60, "our own histograms are there", || {
        server.value(&count).filter(|count| *count > 2.0)
    });
    let yaml = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: outer\n  honor_labels: true\n  \
         metrics_path: /federate\n  params: {{'match[]': ['{metric}', 'up']}}\n  static_configs: [{{targets: ['{}']}}]\n",
        server.address()
    );
    let Some(prometheus) = Prometheus::with_config(Home::new(), &yaml, &["--enable-feature=native-histograms"]) else {
        return;
    };
    let theirs = eventually(30, "Debian's Prometheus has the histogram", || {
        ask(prometheus.address(), &count).first().copied()
    });
    assert!(theirs > 2.0 && theirs <= server.value(&count).unwrap(), "{theirs}");
    assert_eq!(ask(prometheus.address(), "up{job=\"self\"}"), [1.0]);
}

#[test]
fn victoriametrics_agent_scrapes_and_writes_to_us() {
    let target = FakeTarget::computed(|n| format!("# TYPE rounds counter\nrounds{{a=\"b\"}} {n}\nstill 3\n"));
    let home = Home::new();
    let config = home.write("prometheus.yml", "global: {scrape_interval: 1s}\n");
    let server = Server::prometheus(&home, &config, &["--web.enable-remote-write-receiver"]);
    let scrape = home.write(
        "vmagent.yml",
        &format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: agent\n  static_configs: [{{targets: ['{}']}}]\n",
            target.address()
        ),
    );
    let queue = home.path().join("vmagent");
    let Some(agent) = Neighbour::start("vmagent", "/health", |address| {
        vec![
            format!("-httpListenAddr={address}"),
            format!("-promscrape.config={}", scrape.display()),
            format!("-remoteWrite.url={}/api/v1/write", server.url()),
            format!("-remoteWrite.tmpDataPath={}", queue.display()),
            "-remoteWrite.flushInterval=1s".to_owned(),
        ]
    }) else {
        return;
    };
    eventually(40, "the agent's samples arrive and go on", || {
        let rounds = server.value("rounds{a=\"b\",job=\"agent\"}")?;
        (rounds >= 3.0).then_some(())
    });
    assert_eq!(server.value("still{job=\"agent\"}"), Some(3.0), "{:?}", agent.log());
    assert_eq!(server.value("up{job=\"agent\"}"), Some(1.0));
    assert_eq!(server.value("increase(rounds[1m]) > bool 0"), Some(1.0));
}
