//! This machine's metrics, compared with what Debian's node exporter says at the same time, and Cupola's own.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::{BTreeMap, BTreeSet};

use cupola_tests::{Home, NodeExporter, Server, eventually, get, tell};

/// What alert rules and dashboards of the field read of a host.
const ESSENTIAL: &[&str] = &[
    "node_boot_time_seconds",
    "node_context_switches_total",
    "node_cpu_seconds_total",
    "node_disk_io_time_seconds_total",
    "node_disk_io_time_weighted_seconds_total",
    "node_disk_read_bytes_total",
    "node_disk_read_time_seconds_total",
    "node_disk_reads_completed_total",
    "node_disk_write_time_seconds_total",
    "node_disk_writes_completed_total",
    "node_disk_written_bytes_total",
    "node_filefd_allocated",
    "node_filefd_maximum",
    "node_filesystem_avail_bytes",
    "node_filesystem_files",
    "node_filesystem_files_free",
    "node_filesystem_free_bytes",
    "node_filesystem_readonly",
    "node_filesystem_size_bytes",
    "node_forks_total",
    "node_intr_total",
    "node_load1",
    "node_load15",
    "node_load5",
    "node_memory_Buffers_bytes",
    "node_memory_Cached_bytes",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemFree_bytes",
    "node_memory_MemTotal_bytes",
    "node_memory_Slab_bytes",
    "node_memory_SwapFree_bytes",
    "node_memory_SwapTotal_bytes",
    "node_netstat_TcpExt_TCPSynRetrans",
    "node_netstat_Tcp_OutSegs",
    "node_netstat_Tcp_RetransSegs",
    "node_network_receive_bytes_total",
    "node_network_receive_drop_total",
    "node_network_receive_errs_total",
    "node_network_receive_packets_total",
    "node_network_transmit_bytes_total",
    "node_network_transmit_drop_total",
    "node_network_transmit_errs_total",
    "node_network_transmit_packets_total",
    "node_network_up",
    "node_nf_conntrack_entries",
    "node_nf_conntrack_entries_limit",
    "node_pressure_cpu_waiting_seconds_total",
    "node_pressure_io_stalled_seconds_total",
    "node_pressure_io_waiting_seconds_total",
    "node_pressure_memory_stalled_seconds_total",
    "node_pressure_memory_waiting_seconds_total",
    "node_procs_blocked",
    "node_procs_running",
    "node_scrape_collector_duration_seconds",
    "node_scrape_collector_success",
    "node_time_seconds",
    "node_uname_info",
    "node_vmstat_pgmajfault",
];

/// Families of node_exporter's collectors that Cupola does not have yet.
const NOT_YET: &[&str] = &["node_timex_", "node_textfile_"];

/// Ours has no branch, revision and Go version to show, and a label `tags` that 1.5 had not.
const ITS_OWN: &str = "node_exporter_build_info";

/// What old releases (Debian 12 has 1.5) show of /proc/meminfo, and newer ones with their fixed list of keys do not.
const NO_LONGER: &[&str] = &[
    "node_memory_Balloon_bytes",
    "node_memory_FileHugePages_bytes",
    "node_memory_FilePmdMapped_bytes",
    "node_memory_Hugetlb_bytes",
    "node_memory_KReclaimable_bytes",
    "node_memory_SecPageTables_bytes",
];

#[test]
fn the_host_speaks_node_exporters_names_and_labels() {
    let Some(exporter) = NodeExporter::start() else { return };
    let home = Home::new();
    let server = Server::up(&home, &[]);
    let theirs = label_names(&lines(&get(exporter.address(), "/metrics").unwrap().text()));
    eventually(20, "the host was scraped", || {
        server.value("up{job=\"node-exporter\"}").filter(|up| *up == 1.0)
    });
    let mut ours: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sample in server.query("{job=\"node-exporter\", __name__=~\"node_.*\"}") {
        assert!(!sample.label("instance").is_empty(), "{sample:?}");
        let names = ours.entry(sample.label("__name__").to_owned()).or_default();
        names.extend(
            sample
                .labels
                .keys()
                .filter(|n| !matches!(n.as_str(), "__name__" | "job" | "instance"))
                .cloned(),
        );
    }

    let essential: Vec<&&str> = ESSENTIAL.iter().filter(|name| theirs.contains_key(**name)).collect();
    assert!(
        essential.len() >= 40,
        "the neighbour itself shows only {} essential families",
        essential.len()
    );
    let lacking: Vec<_> = essential.iter().filter(|name| !ours.contains_key(***name)).collect();
    assert!(lacking.is_empty(), "essential families are missing: {lacking:?}");

    let known = |name: &String| {
        NOT_YET.iter().any(|prefix| name.starts_with(prefix)) || NO_LONGER.contains(&name.as_str()) || name == ITS_OWN
    };
    let expected = theirs.keys().filter(|name| !known(name));
    let missing: Vec<_> = expected.clone().filter(|name| !ours.contains_key(*name)).collect();
    let more: Vec<_> = ours.keys().filter(|name| !theirs.contains_key(*name)).collect();
    tell(&format!(
        "node_* families: theirs {}, ours {}, only ours {more:?}",
        theirs.len(),
        ours.len()
    ));
    assert!(
        missing.is_empty(),
        "families of the neighbour that are missing: {missing:?}"
    );

    let other_labels: Vec<String> = expected
        .filter(|name| !theirs[*name].is_subset(&ours[*name]))
        .map(|name| format!("{name}: theirs {:?}, ours {:?}", theirs[name], ours[name]))
        .collect();
    assert!(other_labels.is_empty(), "labels differ: {other_labels:#?}");
}

#[test]
fn what_does_not_change_has_the_neighbours_values() {
    let Some(exporter) = NodeExporter::start() else { return };
    let home = Home::new();
    let server = Server::up(&home, &[]);
    eventually(20, "the host was scraped", || {
        server.value("up{job=\"node-exporter\"}").filter(|up| *up == 1.0)
    });
    let text = get(exporter.address(), "/metrics").unwrap().text();
    for (name, tolerance) in [
        ("node_memory_MemTotal_bytes", 0.0),
        ("node_memory_SwapTotal_bytes", 0.0),
        ("node_memory_CommitLimit_bytes", 0.0),
        ("node_filefd_maximum", 0.0),
        // The kernel computes it from two clocks.
        ("node_boot_time_seconds", 1.0),
        ("node_time_seconds", 30.0),
    ] {
        let theirs = text
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok())
            .unwrap();
        let ours = server.value(name).unwrap();
        assert!(
            (ours - theirs).abs() <= tolerance,
            "{name}: ours {ours}, theirs {theirs}"
        );
    }
    let cpus = std::thread::available_parallelism().unwrap().get() as f64;
    assert!(server.value("count(node_cpu_seconds_total{mode=\"idle\"})").unwrap() >= cpus);
    assert_eq!(server.value("count(node_uname_info{sysname=\"Linux\"})"), Some(1.0));
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(server.query("node_uname_info")[0].label("release"), release.trim());
    let nonsense = server.query("node_filesystem_avail_bytes > node_filesystem_size_bytes");
    assert!(nonsense.is_empty(), "more space is free than there is: {nonsense:?}");
    let failed = server.query("node_scrape_collector_success == 0");
    let theirs: Vec<&str> = text
        .lines()
        .filter(|l| l.starts_with("node_scrape_collector_success"))
        .collect();
    for sample in failed {
        // A collector without a source on this machine fails in node_exporter as well.
        let same = format!(
            "node_scrape_collector_success{{collector=\"{}\"}} 0",
            sample.label("collector")
        );
        assert!(theirs.contains(&same.as_str()), "{sample:?} failed only here");
    }
}

#[test]
fn every_counter_lies_between_two_looks_of_the_neighbour() {
    let Some(exporter) = NodeExporter::start() else { return };
    let look = || get(exporter.address(), "/metrics").unwrap().text();
    let home = Home::new();
    let before_text = look();
    let before = lines(&before_text);
    let server = Server::up(&home, &[]);
    eventually(20, "the host was scraped", || {
        server.value("up{job=\"node-exporter\"}").filter(|up| *up == 1.0)
    });
    let at_first = format!(
        "{:.3}",
        server.value("min(timestamp(up{job=\"node-exporter\"}))").unwrap()
    );
    let after = lines(&look());
    let kind = |name: &str| {
        before_text
            .lines()
            .find_map(|l| l.strip_prefix("# TYPE ")?.strip_prefix(name)?.strip_prefix(' '))
            .unwrap_or("")
    };

    let mut ours = server.query_at("{job=\"node-exporter\", __name__=~\"node_.*\"}", &at_first);
    let (mut counters, mut wrong) = (0, Vec::new());
    for low in before.iter().filter(|l| kind(&l.name) == "counter") {
        let Some(high) = after.iter().find(|l| (&l.name, &l.labels) == (&low.name, &low.labels)) else {
            continue;
        };
        let same = ours.iter_mut().find(|s| {
            let own = |n: &&String| !matches!(n.as_str(), "__name__" | "job" | "instance");
            s.label("__name__") == low.name
                && s.labels.keys().filter(own).count() == low.labels.len()
                && low.labels.iter().all(|(n, v)| s.label(n) == v)
        });
        let Some(same) = same else {
            wrong.push(format!("{} {:?} is missing", low.name, low.labels));
            continue;
        };
        counters += 1;
        // The idle time of a processor is computed anew at each look and may step back by a tick.
        let slack = if low.name == "node_cpu_seconds_total" {
            0.05
        } else {
            1e-6 * high.value.abs()
        };
        if same.value < low.value - slack || same.value > high.value + slack {
            wrong.push(format!(
                "{} {:?}: {} not in {}..{}",
                low.name, low.labels, same.value, low.value, high.value
            ));
        }
    }
    // Newer node exporters leave out compressed memory by default, as they always did other memory disks.
    wrong.retain(|w| !NOT_YET.iter().any(|prefix| w.starts_with(prefix)) && !w.contains("\"zram"));
    assert!(wrong.is_empty(), "{} of {counters} counters: {wrong:#?}", wrong.len());
    assert!(counters > 60, "only {counters} counters were compared");
    tell(&format!(
        "{counters} counters of the host lie between two looks of Debian's node exporter"
    ));
}

#[test]
fn what_metrics_mean_is_told_by_the_metadata() {
    let home = Home::new();
    let server = Server::up(&home, &[]);
    eventually(20, "both targets were scraped", || {
        server.value("sum(up)").filter(|up| *up == 2.0)
    });
    let data = server.api("/api/v1/metadata", &[]);
    for (name, kind) in [
        ("node_cpu_seconds_total", "counter"),
        ("node_memory_MemTotal_bytes", "gauge"),
        ("prometheus_tsdb_head_series", "gauge"),
    ] {
        assert_eq!(data[name][0]["type"], kind, "{name}: {}", data[name]);
        assert!(
            !data[name][0]["help"].as_str().unwrap().is_empty(),
            "{name} has no help"
        );
    }
    let one = server.api("/api/v1/metadata", &[("metric", "node_load1")]);
    assert_eq!(one.as_object().unwrap().len(), 1, "{one}");
}

#[test]
fn cupola_tells_of_itself_under_prometheus_own_names() {
    let home = Home::new();
    let server = Server::up(&home, &[]);
    eventually(20, "Cupola was scraped by itself", || {
        server.value("up{job=\"prometheus\"}").filter(|up| *up == 1.0)
    });
    for name in [
        "prometheus_build_info",
        "prometheus_config_last_reload_successful",
        "prometheus_config_last_reload_success_timestamp_seconds",
        "prometheus_notifications_alertmanagers_discovered",
        "prometheus_rule_group_interval_seconds",
        "prometheus_target_scrape_pools_total",
        "prometheus_target_scrape_pool_targets",
        "prometheus_tsdb_head_series",
        "prometheus_tsdb_head_chunks",
        "prometheus_tsdb_head_samples_appended_total",
        "prometheus_tsdb_lowest_timestamp",
        "prometheus_tsdb_wal_corruptions_total",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "scrape_duration_seconds",
        "scrape_samples_scraped",
        "scrape_samples_post_metric_relabeling",
        "scrape_series_added",
        "up",
    ] {
        let found = server.query(&format!("{name}{{job=\"prometheus\"}}"));
        assert!(!found.is_empty(), "{name} is missing");
        assert!(
            server.own_metric(name).is_some() || name == "up" || name.starts_with("scrape_"),
            "{name} in /metrics"
        );
    }
    let memory = server
        .value("process_resident_memory_bytes{job=\"prometheus\"}")
        .unwrap();
    assert!((4e6..1e9).contains(&memory), "resident memory of {memory} bytes");
    let series = server.own_metric("prometheus_tsdb_head_series").unwrap();
    let counted = server.value("count({__name__!=\"\"})").unwrap();
    assert!(series >= counted, "the head says {series}, a query finds {counted}");
}

/// One `node_*` sample of an exposition. Empty labels are left out: an empty label is none.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

// Fit for what a node exporter writes: no timestamps, and no `="` within a value.
fn lines(text: &str) -> Vec<Line> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("node_")) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let mut parts = labels.split("=\"");
        let mut label = parts.next().unwrap();
        let mut map = BTreeMap::new();
        for part in parts {
            let (value, next) = part.rsplit_once('"').unwrap();
            if !value.is_empty() {
                map.insert(label.to_owned(), value.replace("\\\"", "\"").replace("\\\\", "\\"));
            }
            label = next.trim_start_matches(',');
        }
        found.push(Line {
            name: name.to_owned(),
            labels: map,
            value: value.parse().unwrap(),
        });
    }
    found
}

// The names in an exposition, and all label names of each.
fn label_names(lines: &[Line]) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in lines {
        found
            .entry(line.name.clone())
            .or_default()
            .extend(line.labels.keys().cloned());
    }
    found
}

#[test]
fn an_exposition_is_read_line_by_line() {
    let text = "# HELP x\nnode_a{b=\"1\",c=\"x,y\",empty=\"\",z=\"\\\"\"} 2\nnode_d 1e3\n";
    let labels = [("b", "1"), ("c", "x,y"), ("z", "\"")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    let first = Line {
        name: "node_a".to_owned(),
        labels: labels.into(),
        value: 2.0,
    };
    let second = Line {
        name: "node_d".to_owned(),
        labels: BTreeMap::new(),
        value: 1000.0,
    };
    assert_eq!(lines(text), [first, second]);
}
