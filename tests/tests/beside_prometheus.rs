//! The same questions to Debian's Prometheus and to us: what is in force, and addresses and methods that do not exist.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::SocketAddr;

use cupola_tests::{Home, Prometheus, Server, eventually, get, request};

// What Prometheus 2.42 does not have.
const NEW: [&str; 14] = [
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
    // A slip of 2.42's: a field without a name, of which nobody reads.
    "outofordertimewindow",
];

// Without the fields of `NEW` and what stands below them.
fn older(text: &str) -> String {
    let mut out = String::new();
    let mut left_out: Option<usize> = None;
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        let is_below =
            left_out.is_some_and(|outer| depth > outer || (depth == outer && line.trim_start().starts_with('-')));
        if is_below {
            continue;
        }
        left_out = None;
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

const QUEUE: &str =
    "queue_config: {capacity: 5, max_shards: 3, max_samples_per_send: 7, min_backoff: 1s, max_backoff: 1m}";

fn files() -> Vec<String> {
    let job = |fields: &str| format!("scrape_configs: [{{job_name: j, {fields}}}]\n");
    let mut files = vec![
        String::new(),
        "global: {scrape_interval: 15s, evaluation_interval: 1h30m, external_labels: {b: x, a: 'y', c: \"1.5\", d: 'it''s: so'}}\n".to_owned(),
        "rule_files: [rules/*.yml, /abs/x.yml]\n".to_owned(),
        "storage: {tsdb: {out_of_order_time_window: 90m}, exemplars: {max_exemplars: 5}}\n".to_owned(),
        "alerting:\n  alert_relabel_configs: [{regex: x, action: labeldrop}]\n  alertmanagers:\n  - {static_configs: [{targets: ['a:1', 'b:2']}], path_prefix: /am, timeout: 3s, scheme: https, basic_auth: {username: u, password: p}}\n  - {dns_sd_configs: [{names: [x], type: A, port: 5}], relabel_configs: [{source_labels: [a, b], target_label: c}]}\n".to_owned(),
        format!("remote_write:\n- {{url: 'http://u:pw@h/w', name: n, headers: {{a: b}}, send_exemplars: true, enable_http2: true, {QUEUE}, metadata_config: {{max_samples_per_send: 9}}, write_relabel_configs: [{{source_labels: [a], regex: b, action: drop}}]}}\n- {{url: 'http://h/w', enable_http2: true, {QUEUE}, metadata_config: {{send: false, max_samples_per_send: 9}}}}\n"),
        "remote_read:\n- {url: 'http://h/r', name: r, required_matchers: {a: b}, read_recent: true, remote_timeout: 3s}\n".to_owned(),
        "scrape_configs:\n- {job_name: 'a b: c', scrape_interval: 1m, scrape_timeout: 5s, metrics_path: /x, scheme: https, honor_labels: true, honor_timestamps: false, params: {m: [x, '1'], a: ['']}, follow_redirects: false}\n- job_name: b\n  static_configs:\n  - {targets: ['x:1'], labels: {l: 'true', m: \"2\"}}\n  - {targets: []}\n".to_owned(),
    ];
    for fields in [
        "authorization: {type: T, credentials: c}",
        "authorization: {credentials_file: f}",
        "bearer_token: x",
        "basic_auth: {username: u, password_file: f}",
        "oauth2: {client_id: i, client_secret: s, token_url: 'http://t/x', scopes: [a, b], endpoint_params: {a: b}, tls_config: {server_name: x}}",
        "oauth2: {client_id: i, client_secret_file: f, token_url: 'http://t/x'}",
        "tls_config: {ca_file: ca, cert_file: c, key_file: /k, insecure_skip_verify: true, min_version: TLS12}",
        "body_size_limit: 1500KB, sample_limit: 5, target_limit: 6, label_limit: 7, label_name_length_limit: 8, label_value_length_limit: 9",
        "file_sd_configs: [{files: [a.json, 'b/*.yml'], refresh_interval: 1m}]",
        "http_sd_configs: [{url: 'http://127.0.0.1:1/x', basic_auth: {username: u, password: p}}]",
        "dns_sd_configs: [{names: [a, b]}, {names: [c], type: AAAA, port: 9, refresh_interval: 5s}]",
        "relabel_configs: [{source_labels: [a, b], regex: 'x y', target_label: 'y', replacement: 'z-${1}', separator: ','}, {action: labelmap, regex: 'a_(.+)'}, {source_labels: [a], modulus: 8, target_label: h, action: hashmod}, {action: keep, source_labels: [__x], regex: ''}, {action: drop, source_labels: [n], regex: '1'}]",
        "metric_relabel_configs: [{source_labels: [__name__], regex: '(go|process)_.*', action: drop}, {action: labelkeep, regex: '[a-z]+|\"x\"'}, {action: lowercase, source_labels: [a], target_label: b}]",
    ] {
        files.push(job(fields));
    }
    files
}

fn yaml(address: SocketAddr) -> String {
    get(address, "/api/v1/status/config").unwrap().json()["data"]["yaml"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn what_is_in_force_is_told_as_debians_prometheus_tells_it() {
    let (home, theirs) = (Home::new(), Home::new());
    let their_file = theirs.path().join("prometheus.yml");
    let their_dir = format!("{}/", theirs.path().display());
    let Some(theirs) = Prometheus::with_config(theirs, "", &["--web.enable-lifecycle"]) else {
        return;
    };
    let config = home.write("prometheus.yml", "");
    let ours = Server::prometheus(&home, &config, &["--web.enable-lifecycle"]);
    let our_dir = format!("{}/", home.path().display());
    let reload = |address| request(address, "POST", "/-/reload", &[], b"").unwrap();
    for file in files() {
        std::fs::write(&their_file, &file).unwrap();
        home.write("prometheus.yml", &file);
        for address in [theirs.address(), ours.address()] {
            let reloaded = reload(address);
            assert_eq!(reloaded.status, 200, "{file}: {}", reloaded.text());
        }
        let mut their_text = yaml(theirs.address()).replace(&their_dir, "");
        // What it does not read as it has written it.
        for (told, meant) in [
            ("min_version: 771", "min_version: TLS12"),
            ("regex: null", "regex: \"\""),
        ] {
            their_text = their_text.replace(told, meant);
        }
        let our_text = yaml(ours.address()).replace(&our_dir, "");
        assert_eq!(older(&our_text), older(&their_text), "{file}");
        assert!(!our_text.contains("pw@"), "{our_text}");
    }
    // What is told is a configuration that Cupola takes.
    let told = yaml(ours.address());
    home.write("prometheus.yml", &told);
    assert_eq!(reload(ours.address()).status, 200);
    eventually(20, "the same is in force", || {
        (yaml(ours.address()) == told).then_some(())
    });
}

const ODD: [(&str, &str); 32] = [
    ("DELETE", "/api/v1/query"),
    ("PUT", "/api/v1/query_range"),
    ("PATCH", "/api/v1/labels"),
    ("POST", "/api/v1/rules"),
    ("POST", "/api/v1/label/x/values"),
    ("POST", "/api/v1/status/config"),
    ("DELETE", "/api/v1/series"),
    ("DELETE", "/api/v1/series?match[]=up"),
    ("PUT", "/api/v1/series?match[]=up"),
    ("GET", "/api/v1/write"),
    ("GET", "/api/v1/read"),
    ("GET", "/api/v1/admin/tsdb/snapshot"),
    ("PUT", "/api/v1/admin/tsdb/snapshot"),
    ("GET", "/api/v1/nope"),
    ("POST", "/api/v1/nope"),
    ("GET", "/api/v1/"),
    ("GET", "/api/v2/x"),
    ("GET", "/api"),
    ("DELETE", "/nope"),
    ("POST", "/"),
    ("POST", "/metrics"),
    ("POST", "/federate"),
    ("POST", "/-/healthy"),
    ("PUT", "/-/ready"),
    ("GET", "/-/reload"),
    ("GET", "/-/quit"),
    ("HEAD", "/api/v1/query?query=up"),
    ("HEAD", "/api/v1/nope"),
    ("HEAD", "/metrics"),
    ("HEAD", "/federate?match[]=up"),
    ("HEAD", "/-/healthy"),
    ("OPTIONS", "/api/v1/query"),
];

#[test]
fn odd_requests_get_the_answers_of_debians_prometheus() {
    let args = ["--web.enable-lifecycle", "--web.enable-remote-write-receiver"];
    let Some(theirs) = Prometheus::start(Home::new(), &args) else {
        return;
    };
    let home = Home::new();
    let config = home.write("prometheus.yml", "");
    let ours = Server::prometheus(&home, &config, &args);
    for (method, uri) in ODD {
        let ask = |address| {
            let reply = request(address, method, uri, &[], b"").unwrap();
            let head = |name: &str| reply.header(name).to_owned();
            (reply.status, head("allow"), head("content-type"), reply.text())
        };
        let (mut ours, theirs) = (ask(ours.address()), ask(theirs.address()));
        if theirs.1.is_empty() {
            // RFC 9110 wants it with every 405; theirs leaves it out where it names the methods in words.
            ours.1.clear();
        }
        if method == "HEAD" {
            // Go guesses the type of a body, and here is none.
            ours.2.clone_from(&theirs.2);
        }
        assert_eq!(ours, theirs, "{method} {uri}");
    }
}
