//! What the server says about itself, beside what Debian's Prometheus says: every family of its has one of ours with the
//! same name and type, or a reason why not.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cupola_tests::{FakeServer, FakeTarget, Home, Prometheus, Server, eventually, get};

/// Beginnings of names, and why there is no such family.
const NOT_OURS: &[(&str, &str)] = &[
    ("go_", "Go's runtime"),
    ("promhttp_", "Go's handler of /metrics"),
    ("net_conntrack_", "Go's connections, counted by a library"),
    ("prometheus_sd_azure_", "no such discovery"),
    ("prometheus_treecache_", "no discovery by ZooKeeper"),
    (
        "prometheus_remote_storage_string_interner_",
        "labels are not interned for sending",
    ),
    (
        "prometheus_tsdb_isolation_",
        "readers need no isolation: a batch is shown in one step",
    ),
    (
        "prometheus_tsdb_head_active_appenders",
        "batches are not open in the head",
    ),
    (
        "prometheus_tsdb_head_series_not_found_total",
        "a log without its series is a corruption",
    ),
    (
        "prometheus_tsdb_head_chunks_created_total",
        "chunks in memory are not counted one by one",
    ),
    (
        "prometheus_tsdb_head_chunks_removed_total",
        "chunks in memory are not counted one by one",
    ),
    (
        "prometheus_tsdb_head_truncations_failed_total",
        "truncating touches no disk",
    ),
    (
        "prometheus_tsdb_mmap_chunk_corruptions_total",
        "no chunks of the head lie in mapped files",
    ),
    (
        "prometheus_tsdb_snapshot_replay_error_total",
        "no snapshots of the head",
    ),
    ("prometheus_tsdb_symbol_table_size_bytes", "not measured"),
    ("prometheus_tsdb_clean_start", "the lock file needs no cleaning"),
    (
        "prometheus_tsdb_compaction_chunk_",
        "native blocks have no chunks of single series",
    ),
    (
        "prometheus_tsdb_compaction_populating_block",
        "a block is told when it is there",
    ),
    (
        "prometheus_tsdb_compactions_skipped_total",
        "compactions are not skipped by count",
    ),
    (
        "prometheus_tsdb_checkpoint_deletions_",
        "a checkpoint replaces the one before in one step",
    ),
    ("prometheus_tsdb_wal_completed_pages_total", "the log has no pages"),
    ("prometheus_tsdb_wal_page_flushes_total", "the log has no pages"),
];

fn families(address: SocketAddr) -> BTreeMap<String, String> {
    let text = get(address, "/metrics").unwrap().text();
    let types = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[test]
fn every_family_of_debians_prometheus_is_ours_too_or_has_a_reason() {
    let target = FakeTarget::start("thing 1\n");
    let alertmanager = FakeServer::sink();
    let yaml = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [rules.yml]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]}}\n\
         scrape_configs:\n- job_name: a\n  static_configs: [{{targets: ['{}']}}]\n",
        alertmanager.address(),
        target.address()
    );
    let rules = "groups: [{name: g, rules: [{record: r, expr: thing}, {alert: A, expr: thing, labels: {l: '{{ $value }}'}}]}]\n";
    let (home, other) = (Home::new(), Home::new());
    home.write("rules.yml", rules);
    other.write("rules.yml", rules);
    let config = home.write("prometheus.yml", &yaml);
    let server = Server::prometheus(&home, &config, &[]);
    let Some(prometheus) = Prometheus::with_config(other, &yaml, &[]) else {
        return;
    };
    let addresses = [server.address(), prometheus.address()];
    for address in addresses {
        // Some families begin with the first thing that they count.
        eventually(30, "rules were evaluated", || {
            get(address, "/federate?match[]=r")
                .ok()
                .filter(|r| r.text().contains("r{"))
        });
        for path in ["/api/v1/query?query=thing", "/api/v1/targets", "/metrics"] {
            assert_eq!(get(address, path).unwrap().status, 200, "{path}");
        }
        eventually(30, "targets are scraped twice, alerts are sent", || {
            let text = get(address, "/metrics").ok()?.text();
            let has = |name: &str| text.lines().any(|line| line.starts_with(name));
            (has("prometheus_target_interval_length_seconds{") && has("prometheus_notifications_sent_total{"))
                .then_some(())
        });
    }
    let [ours, theirs] = addresses.map(families);
    let reason = |name: &str| NOT_OURS.iter().find(|(begin, _)| name.starts_with(begin));
    let missing: Vec<&String> = (theirs.keys())
        .filter(|name| !ours.contains_key(*name) && reason(name).is_none())
        .collect();
    assert!(missing.is_empty(), "without a reason we do not have {missing:#?}");
    // No reason without something that is missing.
    for (begin, why) in NOT_OURS {
        let is_missing = theirs
            .keys()
            .any(|name| name.starts_with(begin) && !ours.contains_key(name));
        assert!(is_missing, "{begin}: {why}: we have all of them");
    }
    let other_kind: Vec<String> = (theirs.iter())
        .filter_map(|(name, kind)| {
            let own = ours.get(name)?;
            (own != kind).then(|| format!("{name} is a {own}, not a {kind}"))
        })
        .collect();
    assert!(other_kind.is_empty(), "{other_kind:#?}");
}

// Whoever asks for protobuf first gets histograms with native buckets; everything else as in the text format.
#[test]
fn our_metrics_come_as_protobuf_to_us_and_to_debians_prometheus() {
    let home = Home::new();
    let config = home.write("prometheus.yml", "scrape_configs: []\n");
    let server = Server::prometheus(&home, &config, &[]);
    assert_eq!(get(server.address(), "/api/v1/labels").unwrap().status, 200);
    let yaml = |more: &str| {
        format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms{more}}}\n\
             scrape_configs:\n- job_name: own\n  static_configs: [{{targets: ['{}']}}]\n",
            server.address()
        )
    };
    let other = Home::new();
    let protobuf = ", scrape_native_histograms: true, scrape_protocols: [PrometheusProto, PrometheusText0.0.4]";
    let config = other.write("prometheus.yml", &yaml(protobuf));
    let ours = Server::prometheus(&other, &config, &[]);
    let features = ["--enable-feature=native-histograms"];
    let theirs = Prometheus::with_config(Home::new(), &yaml(""), &features);
    let scrapers = std::iter::once(ours.address()).chain(theirs.iter().map(Prometheus::address));
    for scraper in scrapers {
        let ask = |query: &str| {
            let path = format!("/api/v1/query?query={}", cupola_tests::url_encode(query));
            let answer = get(scraper, &path).ok()?.json();
            let value = answer["data"]["result"][0]["value"][1].as_str()?.parse::<f64>();
            value.ok()
        };
        eventually(30, "a native histogram of requests is scraped", || {
            ask("histogram_count(prometheus_http_request_duration_seconds{handler=\"/metrics\"}) > 0")
        });
        assert!(ask("histogram_sum(prometheus_http_request_duration_seconds{handler=\"/metrics\"}) > 0").is_some());
        assert_eq!(ask("min_over_time(up[1m])"), Some(1.0));
        let count = "prometheus_http_requests_total{handler=\"/api/v1/labels\",code=\"200\"}";
        assert_eq!(ask(count), Some(1.0));
        assert!(ask("prometheus_http_response_size_bytes_bucket{handler=\"/metrics\",le=\"+Inf\"}").is_some());
        assert!(ask("prometheus_engine_query_duration_seconds{slice=\"inner_eval\",quantile=\"0.9\"}").is_some());
        assert!(ask("process_start_time_seconds > 1e9").is_some());
    }
}
