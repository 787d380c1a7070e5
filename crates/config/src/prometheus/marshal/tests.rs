use super::*;
use crate::prometheus::parse_prometheus;

const FILE: &str = r#"
global: {scrape_interval: 15s, external_labels: {z: "1", a: b}, query_log_file: q.log}
rule_files: [r/*.yml]
alerting:
  alert_relabel_configs: [{regex: x, action: labeldrop}]
  alertmanagers:
  - static_configs: [{targets: ['a:1']}]
    path_prefix: /am
    basic_auth: {username: u, password: p}
remote_write:
- url: http://u:pw@x/w
  name: n
  headers: {a: b}
  write_relabel_configs: [{source_labels: [a], regex: b, action: drop}]
  queue_config: {capacity: 2500, max_shards: 200, max_samples_per_send: 500}
  metadata_config: {max_samples_per_send: 500}
- url: http://x/w2
  oauth2: {client_id: i, client_secret: s, token_url: 'http://t', scopes: [a], endpoint_params: {a: b}, tls_config: {server_name: x}}
  queue_config: {capacity: 2500, max_shards: 200, max_samples_per_send: 500}
  metadata_config: {max_samples_per_send: 500}
remote_read:
- {url: http://x/r, required_matchers: {a: b}, read_recent: true}
storage: {exemplars: {max_exemplars: 5}, tsdb: {out_of_order_time_window: 30m}}
scrape_configs:
- job_name: a
  params: {m: [x, "1"]}
  static_configs:
  - targets: ['x:1']
    labels: {l: "true"}
  - targets: []
  authorization: {type: T, credentials: c}
  tls_config: {ca_file: ca, cert_file: c, key_file: k, insecure_skip_verify: true}
  body_size_limit: 15MB
  sample_limit: 5
  relabel_configs:
  - {source_labels: [a, b], regex: 'x y', target_label: "y", replacement: 'z'}
  - {action: labelmap, regex: 'a_(.+)'}
  - {source_labels: [a], modulus: 8, target_label: h, action: hashmod}
- job_name: "b c: d"
  scheme: https
  proxy_url: http://u:secretpw@p:1
  follow_redirects: false
  file_sd_configs: [{files: [a.json]}]
  http_sd_configs: [{url: 'http://h/x', basic_auth: {username: u, password_file: f}}]
  dns_sd_configs: [{names: [a, b]}]
"#;

// As Debian's Prometheus 2.42 writes it; but for what is put behind `follow_redirects` now (`proxy_url`), for HTTP/2 of
// remote write, which has become false, and for `outofordertimewindow`, a slip of theirs that nobody reads.
const THEIRS: &str = r#"global:
  scrape_interval: 15s
  scrape_timeout: 10s
  evaluation_interval: 1m
  query_log_file: q.log
  external_labels:
    a: b
    z: "1"
alerting:
  alert_relabel_configs:
  - separator: ;
    regex: x
    replacement: $1
    action: labeldrop
  alertmanagers:
  - basic_auth:
      username: u
      password: <secret>
    follow_redirects: true
    enable_http2: true
    scheme: http
    path_prefix: /am
    timeout: 10s
    api_version: v2
    static_configs:
    - targets:
      - a:1
rule_files:
- r/*.yml
scrape_configs:
- job_name: a
  honor_timestamps: true
  params:
    m:
    - x
    - "1"
  scrape_interval: 15s
  scrape_timeout: 10s
  metrics_path: /metrics
  scheme: http
  body_size_limit: 15MiB
  sample_limit: 5
  authorization:
    type: T
    credentials: <secret>
  tls_config:
    ca_file: ca
    cert_file: c
    key_file: k
    insecure_skip_verify: true
  follow_redirects: true
  enable_http2: true
  relabel_configs:
  - source_labels: [a, b]
    separator: ;
    regex: x y
    target_label: "y"
    replacement: z
    action: replace
  - separator: ;
    regex: a_(.+)
    replacement: $1
    action: labelmap
  - source_labels: [a]
    separator: ;
    regex: (.*)
    modulus: 8
    target_label: h
    replacement: $1
    action: hashmod
  static_configs:
  - targets:
    - x:1
    labels:
      l: "true"
  - targets: []
- job_name: 'b c: d'
  honor_timestamps: true
  scrape_interval: 15s
  scrape_timeout: 10s
  metrics_path: /metrics
  scheme: https
  follow_redirects: false
  enable_http2: true
  proxy_url: http://u:xxxxx@p:1
  dns_sd_configs:
  - names:
    - a
    - b
    refresh_interval: 30s
    type: SRV
    port: 0
  file_sd_configs:
  - files:
    - a.json
    refresh_interval: 5m
  http_sd_configs:
  - basic_auth:
      username: u
      password_file: f
    follow_redirects: true
    enable_http2: true
    refresh_interval: 1m
    url: http://h/x
storage:
  tsdb:
    out_of_order_time_window: 30m
  exemplars:
    max_exemplars: 5
remote_write:
- url: http://u:xxxxx@x/w
  remote_timeout: 30s
  headers:
    a: b
  write_relabel_configs:
  - source_labels: [a]
    separator: ;
    regex: b
    replacement: $1
    action: drop
  name: "n"
  follow_redirects: true
  enable_http2: false
  queue_config:
    capacity: 2500
    max_shards: 200
    min_shards: 1
    max_samples_per_send: 500
    batch_send_deadline: 5s
    min_backoff: 30ms
    max_backoff: 5s
  metadata_config:
    send: true
    send_interval: 1m
    max_samples_per_send: 500
- url: http://x/w2
  remote_timeout: 30s
  oauth2:
    client_id: i
    client_secret: <secret>
    client_secret_file: ""
    scopes:
    - a
    token_url: http://t
    endpoint_params:
      a: b
    tls_config:
      server_name: x
      insecure_skip_verify: false
  follow_redirects: true
  enable_http2: false
  queue_config:
    capacity: 2500
    max_shards: 200
    min_shards: 1
    max_samples_per_send: 500
    batch_send_deadline: 5s
    min_backoff: 30ms
    max_backoff: 5s
  metadata_config:
    send: true
    send_interval: 1m
    max_samples_per_send: 500
remote_read:
- url: http://x/r
  remote_timeout: 1m
  read_recent: true
  follow_redirects: true
  enable_http2: true
  required_matchers:
    a: b
  filter_external_labels: true
"#;

// What 3.x added.
const NEW: [&str; 18] = [
    "runtime",
    "otlp",
    "scrape_protocols",
    "track_timestamps_staleness",
    "scrape_native_histograms",
    "always_scrape_classic_histograms",
    "convert_classic_histograms_to_nhcb",
    "enable_compression",
    "metric_name_validation_scheme",
    "metric_name_escaping_scheme",
    "extra_scrape_metrics",
    "protobuf_message",
    "chunked_read_limit",
    "gogc",
    "translation_strategy",
    "label_name_underscore_sanitization",
    "label_name_preserve_multiple_underscores",
    "promote_scope_metadata",
];

// Without the fields of `NEW` and what stands below them.
fn older(text: &str) -> String {
    let mut out = String::new();
    let mut left_out: Option<usize> = None;
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        if let Some(out_of) = left_out {
            if depth > out_of || (depth == out_of && line.trim_start().starts_with('-')) {
                continue;
            }
            left_out = None;
        }
        let key = line.trim_start().split(':').next().unwrap_or_default();
        if NEW.contains(&key) {
            left_out = Some(depth);
            continue;
        }
        out += line;
        out.push('\n');
    }
    out
}

#[test]
fn what_is_in_force_is_written_as_prometheus_writes_it() {
    let config = parse_prometheus(FILE, Path::new("p.yml")).unwrap();
    assert_eq!(older(config.to_yaml()), THEIRS);
    for secret in ["pw", "secretpw"] {
        assert!(!config.to_yaml().contains(secret));
    }
    // It is a configuration again, and the same.
    let again = parse_prometheus(config.to_yaml(), Path::new("p.yml")).unwrap();
    assert_eq!(again.to_yaml(), config.to_yaml());
}

#[test]
fn nothing_configured_is_what_is_in_force_all_the_same() {
    let config = parse_prometheus("", Path::new("p.yml")).unwrap();
    let expected = "global:\n  scrape_interval: 1m\n  scrape_timeout: 10s\n  evaluation_interval: 1m\n  \
                    metric_name_validation_scheme: utf8\n  scrape_native_histograms: false\nruntime:\n  gogc: 75\notlp:\n  \
                    translation_strategy: UnderscoreEscapingWithSuffixes\n  label_name_underscore_sanitization: true\n  \
                    label_name_preserve_multiple_underscores: true\n";
    assert_eq!(config.to_yaml(), expected);
}

#[test]
fn jobs_have_what_they_inherit() {
    let text = "global: {sample_limit: 5, body_size_limit: 1536B, scrape_native_histograms: true}\nscrape_configs: [{job_name: a}]\n";
    let config = parse_prometheus(text, Path::new("p.yml")).unwrap();
    let job = config.to_yaml().split("scrape_configs:\n").nth(1).unwrap_or_default();
    for line in [
        "  sample_limit: 5\n",
        "  body_size_limit: 1KiB512B\n",
        "  - PrometheusProto\n",
        "  scrape_timeout: 10s\n",
    ] {
        assert!(job.contains(line), "{line}: {job}");
    }
}

#[test]
fn the_widest_example_is_written_and_read_again() {
    let Some(dir) = cupola_testkit::conformance_dir("config") else {
        return;
    };
    let table = std::fs::read_to_string(dir.join("expected.tsv")).unwrap();
    let mut written = 0;
    for line in table.lines() {
        let mut fields = line.split('\t');
        let (Some(file), Some("ok")) = (fields.next(), fields.next()) else {
            continue;
        };
        // What is left of `$$` would be expanded when it is read again, in Prometheus, too.
        if file.starts_with("external_labels") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(dir.join(file)) else {
            continue;
        };
        let Ok(config) = parse_prometheus(&text, &dir.join(file)) else {
            continue;
        };
        let again = parse_prometheus(config.to_yaml(), &dir.join(file))
            .unwrap_or_else(|errors| panic!("{file}: {errors}\n{}", config.to_yaml()));
        for (line, (a, b)) in again.to_yaml().lines().zip(config.to_yaml().lines()).enumerate() {
            assert_eq!(a, b, "{file}, line {line}");
        }
        assert_eq!(again.to_yaml().len(), config.to_yaml().len(), "{file}");
        written += 1;
    }
    assert!(written > 35, "{written}");
}
