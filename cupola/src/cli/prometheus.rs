//! The flags of Prometheus 3.14, read as kingpin reads them: `--flag=value`, `--flag value`, `--flag`, `--no-flag`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cupola_alert::PostingOptions;
use cupola_config::ByteSize;
use cupola_discovery::UPDATE_EVERY;
use cupola_model::parse_duration;
use cupola_tsdb::SeriesLimits;

use super::agent::{self, Agent};
use super::flags::{self, Given, is_switch};
use super::remote::write_messages;
use super::{Command, Exit, Memory, Mode, RemoteSettings, Settings, retention};
use crate::logging::LogFormat;

/// What a flag does here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// What it says.
    Done,
    /// It is accepted and told in the log.
    Ignored,
}

use Effect::{Done, Ignored};

// Name, default (`true` and `false` mark a switch), what it does here, and what it is for.
type Flag = (&'static str, &'static str, Effect, &'static str);

const FLAGS: &[Flag] = &[
    (
        "config.file",
        "prometheus.yml",
        Done,
        "Prometheus configuration file path.",
    ),
    (
        "web.listen-address",
        "0.0.0.0:9090",
        Done,
        "Address to listen on for UI, API, and telemetry. Repeatable.",
    ),
    (
        "web.config.file",
        "",
        Done,
        "Path to configuration file that can enable TLS or authentication.",
    ),
    (
        "web.external-url",
        "",
        Done,
        "The URL under which Prometheus is externally reachable.",
    ),
    (
        "web.route-prefix",
        "",
        Done,
        "Prefix for the internal routes of web endpoints. Defaults to path of --web.external-url.",
    ),
    ("web.enable-lifecycle", "false", Done, "Enable reload via HTTP request."),
    (
        "web.cors.origin",
        ".*",
        Done,
        "Regex for CORS origin. It is fully anchored.",
    ),
    (
        "web.max-connections",
        "512",
        Done,
        "Maximum number of simultaneous connections.",
    ),
    (
        "web.enable-admin-api",
        "false",
        Done,
        "Enable API endpoints for admin control actions.",
    ),
    (
        "web.enable-remote-write-receiver",
        "false",
        Done,
        "Enable API endpoint accepting remote write requests.",
    ),
    (
        "web.remote-write-receiver.accepted-protobuf-messages",
        "prometheus.WriteRequest,io.prometheus.write.v2.Request",
        Done,
        "List of the remote write protobuf messages to accept when receiving the remote writes. Repeatable.",
    ),
    (
        "web.enable-otlp-receiver",
        "false",
        Done,
        "Enable API endpoint accepting OTLP write requests.",
    ),
    ("storage.tsdb.path", "data/", Done, "Base path for metrics storage."),
    (
        "storage.tsdb.retention.time",
        "15d",
        Done,
        "How long to retain samples in storage.",
    ),
    (
        "storage.tsdb.retention.size",
        "0",
        Done,
        "Maximum number of bytes that can be stored for blocks.",
    ),
    (
        "storage.tsdb.retention.percentage",
        "0",
        Done,
        "Maximum percent of the disk that blocks can take up, in the place of the number of bytes. 0 is no limit.",
    ),
    (
        "storage.tsdb.retention.rule",
        "",
        Done,
        "How long samples of some series stay: SELECTOR=DURATION, such as {__name__=~\"debug_.*\"}=3d, 0 for ever. Repeatable, the first that matches counts. Not in Prometheus.",
    ),
    (
        "storage.tsdb.tier",
        "",
        Done,
        "A downsampled tier to keep, and for how long: RESOLUTION:RETENTION, such as 5m:90d, 0 for ever. Repeatable. Not in Prometheus.",
    ),
    (
        "storage.tsdb.no-lockfile",
        "false",
        Done,
        "Do not create lockfile in data directory.",
    ),
    (
        "storage.tsdb.max-series",
        "0",
        Done,
        "Maximum number of series in memory; samples of new ones beyond it are refused. 0 is no limit. Not in Prometheus.",
    ),
    (
        "storage.tsdb.max-series-per-metric",
        "0",
        Done,
        "Maximum number of series in memory with the same metric name. 0 is no limit. Not in Prometheus.",
    ),
    (
        "storage.tsdb.max-series-per-job",
        "0",
        Done,
        "Maximum number of series in memory with the same job. 0 is no limit. Not in Prometheus.",
    ),
    (
        "query.lookback-delta",
        "5m",
        Done,
        "The maximum lookback duration for retrieving metrics during expression evaluations and federation.",
    ),
    (
        "query.timeout",
        "2m",
        Done,
        "Maximum time a query may take before being aborted.",
    ),
    (
        "query.max-concurrency",
        "20",
        Done,
        "Maximum number of queries executed concurrently.",
    ),
    (
        "query.max-samples",
        "50000000",
        Done,
        "Maximum number of samples a single query can load into memory.",
    ),
    (
        "query.max-memory",
        "auto",
        Done,
        "Maximum memory a single query can use, such as 512MB. auto is a quarter of what there is, 0 is no limit. Not in Prometheus.",
    ),
    (
        "query.max-memory-total",
        "auto",
        Done,
        "Maximum memory all queries can use together. auto is half of what there is, 0 is no limit. Not in Prometheus.",
    ),
    (
        "rules.alert.resend-delay",
        "1m",
        Done,
        "Minimum amount of time to wait before resending an alert to Alertmanager.",
    ),
    (
        "rules.alert.for-grace-period",
        "10m",
        Done,
        "Minimum duration between alert and restored \"for\" state.",
    ),
    (
        "rules.alert.for-outage-tolerance",
        "1h",
        Done,
        "Max time to tolerate prometheus outage for restoring \"for\" state of alert.",
    ),
    (
        "rules.alert.history-retention",
        "120h",
        Done,
        "How long /api/v1/alerts/history can tell what happened to an alert; 0 keeps nothing. Not in Prometheus.",
    ),
    ("enable-feature", "", Done, "Comma separated feature names to enable."),
    (
        "log.level",
        "info",
        Done,
        "Only log messages with the given severity or above: debug, info, warn, error.",
    ),
    (
        "log.format",
        "logfmt",
        Done,
        "Output format of log messages: logfmt, json.",
    ),
    ("config.auto-reload", "false", Ignored, ""),
    (
        "config.auto-reload-interval",
        "30s",
        Done,
        "How often to look whether files of the configuration have changed; with --enable-feature=auto-reload-config.",
    ),
    (
        "web.read-timeout",
        "5m",
        Done,
        "Maximum duration before timing out read of the request, and closing idle connections.",
    ),
    (
        "web.max-notifications-subscribers",
        "16",
        Done,
        "Limits the maximum number of subscribers that can concurrently receive live notifications.",
    ),
    ("web.user-assets", "", Ignored, ""),
    ("web.console.templates", "consoles", Ignored, ""),
    ("web.console.libraries", "console_libraries", Ignored, ""),
    (
        "web.page-title",
        "",
        Done,
        "Document title of the pages, in the place of their own.",
    ),
    ("web.search.max-limit", "10000", Ignored, ""),
    ("storage.tsdb.head-chunks-write-queue-size", "0", Ignored, ""),
    ("storage.tsdb.delay-compact-file.path", "", Ignored, ""),
    (
        "storage.tsdb.min-block-duration",
        "2h",
        Done,
        "Minimum duration of a data block before being persisted.",
    ),
    (
        "storage.tsdb.max-block-duration",
        "",
        Done,
        "Maximum duration compacted blocks may span (defaults to 10% of the retention period). As long as the minimum: nothing is merged.",
    ),
    (
        "storage.tsdb.block-format",
        "native",
        Done,
        "Format of blocks: native takes a fraction of the disk, prometheus is what Prometheus opens; where minimum and maximum duration are the same all are prometheus.",
    ),
    ("storage.tsdb.max-block-chunk-segment-size", "", Ignored, ""),
    ("storage.tsdb.wal-segment-size", "", Ignored, ""),
    ("storage.tsdb.wal-compression", "true", Ignored, ""),
    ("storage.tsdb.wal-compression-type", "snappy", Ignored, ""),
    ("storage.tsdb.samples-per-chunk", "120", Ignored, ""),
    ("storage.tsdb.allow-overlapping-compaction", "true", Ignored, ""),
    ("storage.tsdb.delayed-compaction.max-percent", "10", Ignored, ""),
    ("storage.tsdb.block-reload-interval", "1m", Ignored, ""),
    ("agent", "false", Done, "Run Prometheus in 'Agent mode'."),
    (
        "storage.agent.path",
        "data-agent/",
        Done,
        "Base path for metrics storage. Use with agent mode only.",
    ),
    (
        "storage.agent.retention.min-time",
        "5m",
        Done,
        "Minimum age samples may be before being considered for deletion when the WAL is truncated. Use with agent mode only.",
    ),
    (
        "storage.agent.retention.max-time",
        "4h",
        Done,
        "Maximum age samples may be before being forcibly deleted when the WAL is truncated. Use with agent mode only.",
    ),
    (
        "storage.agent.wal-truncate-frequency",
        "2h",
        Done,
        "The frequency at which to truncate the WAL and remove old data. Use with agent mode only.",
    ),
    (
        "storage.agent.no-lockfile",
        "false",
        Done,
        "Do not create lockfile in data directory. Use with agent mode only.",
    ),
    ("storage.agent.wal-compression", "true", Ignored, ""),
    ("storage.agent.wal-compression-type", "snappy", Ignored, ""),
    ("storage.agent.wal-segment-size", "", Ignored, ""),
    (
        "storage.remote.backlog-size",
        "16GB",
        Done,
        "Maximum number of bytes of the write-ahead log that are kept while a remote write destination has not taken them. Not in Prometheus.",
    ),
    (
        "storage.remote.flush-deadline",
        "1m",
        Done,
        "How long to wait flushing sample on shutdown. What is not sent by then is sent after the next start.",
    ),
    (
        "storage.remote.read-sample-limit",
        "50000000",
        Done,
        "Maximum overall number of samples to return via the remote read interface, in a single query. 0 means no limit. Streamed answers are not limited.",
    ),
    (
        "storage.remote.read-concurrent-limit",
        "10",
        Done,
        "Maximum number of concurrent remote read calls. 0 means no limit.",
    ),
    (
        "storage.remote.read-max-bytes-in-frame",
        "1048576",
        Done,
        "About how many bytes a frame of a streamed answer to a remote read has.",
    ),
    (
        "rules.max-concurrent-evals",
        "4",
        Ignored,
        "Groups are evaluated side by side, the rules of one always one after the other.",
    ),
    (
        "alertmanager.notification-queue-capacity",
        "10000",
        Done,
        "How many alerts wait for one Alertmanager; where there are more, the oldest are dropped.",
    ),
    (
        "alertmanager.notification-batch-size",
        "256",
        Done,
        "How many alerts are posted to an Alertmanager at once.",
    ),
    (
        "alertmanager.drain-notification-queue-on-shutdown",
        "true",
        Done,
        "Post the alerts that wait when the server stops.",
    ),
    (
        "scrape.adjust-timestamps",
        "true",
        Done,
        "Stamp a scrape with the moment it was meant for, where it begins close to that.",
    ),
    (
        "scrape.timestamp-tolerance",
        "2ms",
        Done,
        "How close that is; at most a hundredth of the scrape interval.",
    ),
    (
        "scrape.discovery-reload-interval",
        "5s",
        Done,
        "How often at most discovered targets are handed on to the scrapers. What a new configuration finds first is not held back.",
    ),
    ("auto-gomaxprocs", "true", Ignored, ""),
    ("auto-gomemlimit", "true", Ignored, ""),
    ("auto-gomemlimit.ratio", "0.9", Ignored, ""),
];

// Features that change something here; the rest of Prometheus's, and unknown names, are told in the log (as upstream does
// with unknown ones).
const FEATURES: &[&str] = &[
    "agent",
    "auto-reload-config",
    "promql-experimental-functions",
    "promql-extended-range-selectors",
    "promql-binop-fill-modifiers",
    "promql-duration-expr",
    "promql-delayed-name-removal",
    "promql-per-step-stats",
    "type-and-unit-labels",
    "otlp-native-delta-ingestion",
    "st-storage",
    "created-timestamp-zero-ingestion",
    "use-start-timestamps",
    "otlp-deltatocumulative",
];

// Blocks of seconds would be folders by the thousand.
const SHORTEST_BLOCK_MS: i64 = 60_000;

/// Reads the flags of `cupola prometheus`.
pub(super) fn parse(args: &[String]) -> Result<Command, Exit> {
    let find = |name: &str| FLAGS.iter().find(|f| f.0 == name).map(|f| (f.0, f.1));
    let version = format!("prometheus, version 3.14.0 (cupola {})\n", env!("CARGO_PKG_VERSION"));
    let given = flags::read(args, find, help, version)?;
    settings(given).map(|s| Command::Serve(Box::new(s)))
}

fn settings(given: Given) -> Result<Settings, Exit> {
    let text = |name: &str| {
        let default = FLAGS.iter().find(|f| f.0 == name).map_or("", |f| f.1);
        given
            .get(name)
            .and_then(|v| v.last())
            .map_or(default, String::as_str)
            .to_owned()
    };
    let bad =
        |name: &str, reason: &dyn std::fmt::Display| Exit::mistake(format_args!("--{name}={}: {reason}", text(name)));
    let ms = |name: &str| parse_duration(&text(name)).map_err(|e| bad(name, &e));
    let number = |name: &str| text(name).parse::<usize>().map_err(|e| bad(name, &e));
    let memory = |name: &str| Memory::parse(&text(name)).map(|m| m.0).map_err(|e| bad(name, &e));
    let switch = |name: &str| text(name).parse::<bool>().map_err(|e| bad(name, &e));
    let optional = |name: &str| Some(text(name)).filter(|t| !t.is_empty());
    let default = vec![text("web.listen-address")];
    let addresses = given.get("web.listen-address").unwrap_or(&default).iter();
    let addresses = addresses.map(|address| {
        let parsed = listen_address(address);
        parsed.ok_or_else(|| Exit::mistake(format_args!("--web.listen-address={address}: is not ADDRESS:PORT")))
    });
    let listen = addresses.collect::<Result<Vec<_>, _>>()?;
    let size = match text("storage.tsdb.retention.size").as_str() {
        "0" => 0,
        text => {
            ByteSize::parse(text)
                .ok_or_else(|| bad("storage.tsdb.retention.size", &"is not a size such as 512MB"))?
                .0
        }
    };
    let log_format = match text("log.format").as_str() {
        "logfmt" => LogFormat::Logfmt,
        "json" => LogFormat::Json,
        _ => return Err(bad("log.format", &"use logfmt or json")),
    };
    let percent = text("storage.tsdb.retention.percentage");
    let percent = match percent.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => percent,
        _ => {
            return Err(bad(
                "storage.tsdb.retention.percentage",
                &"must be in the range [0, 100]",
            ));
        }
    };
    // As upstream: a limit on the size alone leaves the age without one.
    let is_given = |name: &str| given.contains_key(name);
    let retention_ms = if is_given("storage.tsdb.retention.time") || (size == 0 && percent == 0.0) {
        ms("storage.tsdb.retention.time")?
    } else {
        0
    };
    let retention_rules = each(&given, "storage.tsdb.retention.rule", retention::rule)?;
    let tiers = each(&given, "storage.tsdb.tier", retention::tier)?;
    retention::check_tiers(&tiers).map_err(|e| Exit::mistake(format_args!("--storage.tsdb.tier: {e}")))?;
    let mut flags: BTreeMap<String, String> = FLAGS.iter().map(|f| (f.0.to_owned(), text(f.0))).collect();
    for repeatable in ["storage.tsdb.retention.rule", "storage.tsdb.tier"] {
        if let Some(values) = given.get(repeatable) {
            flags.insert(repeatable.to_owned(), values.join(", "));
        }
    }
    for repeatable in ["web.listen-address", "enable-feature"] {
        if let Some(values) = given.get(repeatable) {
            flags.insert(repeatable.to_owned(), values.join(","));
        }
    }
    let features = given
        .get("enable-feature")
        .into_iter()
        .flatten()
        .flat_map(|v| v.split(','));
    let features: Vec<String> = features.filter(|f| !f.is_empty()).map(str::to_owned).collect();
    let both = ["otlp-deltatocumulative", "otlp-native-delta-ingestion"];
    if both.iter().all(|name| features.iter().any(|feature| feature == name)) {
        let text = "cannot enable otlp-deltatocumulative and otlp-native-delta-ingestion features at the same time";
        return Err(Exit::mistake(text));
    }
    let without_effect = features.iter().filter(|f| !FEATURES.contains(&f.as_str()));
    let ignored = FLAGS.iter().filter(|f| f.2 == Ignored && given.contains_key(f.0));
    let mut ignored: Vec<String> = ignored.map(|f| f.0.to_owned()).collect();
    ignored.extend(without_effect.map(|f| format!("enable-feature={f}")));
    let is_agent = switch("agent")? || features.iter().any(|feature| feature == "agent");
    agent::check(is_agent, given.keys().copied())?;
    let agent = match is_agent {
        true => Some(Agent {
            min_ms: ms("storage.agent.retention.min-time")?,
            max_ms: ms("storage.agent.retention.max-time")?,
            truncate_every: Duration::from_millis(ms("storage.agent.wal-truncate-frequency")?.unsigned_abs()),
        }),
        false => None,
    };
    let of_mode = |server: &'static str, agent: &'static str| if is_agent { agent } else { server };
    Ok(Settings {
        mode: Mode::Prometheus,
        listen,
        agent,
        data: PathBuf::from(text(of_mode("storage.tsdb.path", "storage.agent.path"))),
        config_file: Some(PathBuf::from(text("config.file"))),
        alertmanager_config_file: None,
        log_level: text("log.level"),
        log_format,
        external_url: optional("web.external-url"),
        route_prefix: optional("web.route-prefix"),
        page_title: optional("web.page-title"),
        web_config_file: optional("web.config.file").map(PathBuf::from),
        enable_lifecycle: switch("web.enable-lifecycle")?,
        cors_origin: optional("web.cors.origin"),
        admin_api: switch("web.enable-admin-api")?,
        remote_write_receiver: switch("web.enable-remote-write-receiver")?,
        remote: RemoteSettings {
            write_messages: {
                let name = "web.remote-write-receiver.accepted-protobuf-messages";
                let given = given.get(name).map_or_else(|| text(name), |all| all.join(","));
                write_messages(&given).map_err(|e| bad(name, &e))?
            },
            otlp_receiver: switch("web.enable-otlp-receiver")?,
            read_sample_limit: number("storage.remote.read-sample-limit")?,
            read_concurrent_limit: number("storage.remote.read-concurrent-limit")?,
            read_max_bytes_in_frame: number("storage.remote.read-max-bytes-in-frame")?,
        },
        max_connections: number("web.max-connections")?,
        read_timeout: Duration::from_millis(ms("web.read-timeout")?.unsigned_abs()),
        max_listeners: number("web.max-notifications-subscribers")?,
        retention_ms,
        retention_bytes: size,
        retention_percent: percent,
        retention_rules,
        tiers,
        min_block_ms: match ms("storage.tsdb.min-block-duration")? {
            ms if ms >= SHORTEST_BLOCK_MS => ms,
            _ => return Err(bad("storage.tsdb.min-block-duration", &"must be at least 1m")),
        },
        max_block_ms: match text("storage.tsdb.max-block-duration").as_str() {
            "" => 0,
            _ => ms("storage.tsdb.max-block-duration")?,
        },
        block_format: text("storage.tsdb.block-format")
            .parse()
            .map_err(|e| bad("storage.tsdb.block-format", &e))?,
        no_lockfile: switch(of_mode("storage.tsdb.no-lockfile", "storage.agent.no-lockfile"))?,
        flush_deadline: Duration::from_millis(ms("storage.remote.flush-deadline")?.unsigned_abs()),
        max_backlog_bytes: match ByteSize::parse(&text("storage.remote.backlog-size")) {
            Some(size) => size.0,
            None => return Err(bad("storage.remote.backlog-size", &"is not a size such as 512MB")),
        },
        series_limits: SeriesLimits {
            total: number("storage.tsdb.max-series")?,
            per_metric: number("storage.tsdb.max-series-per-metric")?,
            per_job: number("storage.tsdb.max-series-per-job")?,
        },
        lookback_ms: ms("query.lookback-delta")?,
        query_timeout: Duration::from_millis(ms("query.timeout")?.unsigned_abs()),
        query_max_concurrency: number("query.max-concurrency")?.max(1),
        query_max_samples: number("query.max-samples")?,
        query_max_memory: memory("query.max-memory")?,
        query_max_memory_total: memory("query.max-memory-total")?,
        posting: PostingOptions {
            queue_capacity: number("alertmanager.notification-queue-capacity")?,
            batch: number("alertmanager.notification-batch-size")?,
            drain: switch("alertmanager.drain-notification-queue-on-shutdown")?,
        },
        // As upstream: zero is the default.
        discovery_interval: match ms("scrape.discovery-reload-interval")? {
            0 => UPDATE_EVERY,
            interval => Duration::from_millis(interval.unsigned_abs()),
        },
        scrape_tolerance_ms: match switch("scrape.adjust-timestamps")? {
            true => ms("scrape.timestamp-tolerance")?,
            false => 0,
        },
        resend_delay_ms: ms("rules.alert.resend-delay")?,
        grace_period_ms: ms("rules.alert.for-grace-period")?,
        outage_tolerance_ms: ms("rules.alert.for-outage-tolerance")?,
        history_retention_ms: ms("rules.alert.history-retention")?,
        // As upstream: no oftener than every second.
        auto_reload: match features.iter().any(|feature| feature == "auto-reload-config") {
            true => Some(Duration::from_millis(
                ms("config.auto-reload-interval")?.max(1000).unsigned_abs(),
            )),
            false => None,
        },
        features,
        ignored,
        flags,
    })
}

// All values of a flag that may come several times.
fn each<T>(given: &Given, name: &str, read: fn(&str) -> Result<T, String>) -> Result<Vec<T>, Exit> {
    let values = given.get(name).into_iter().flatten();
    let read = |value: &String| read(value).map_err(|e| Exit::mistake(format_args!("--{name}={value}: {e}")));
    values.map(read).collect()
}

/// `:9090` listens on all addresses, as in Go.
pub(super) fn listen_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}").parse().ok(),
        None => text.replace("localhost:", "127.0.0.1:").parse().ok(),
    }
}

fn help() -> String {
    let mut out = String::from(
        "The Prometheus monitoring server, as Cupola is one.\n\nUsage: cupola prometheus [FLAGS]\n\nFlags:\n",
    );
    for (name, default, _, what) in FLAGS.iter().filter(|f| f.2 == Done) {
        let value = if is_switch(default) {
            String::new()
        } else {
            format!("={default:?}")
        };
        out.push_str(&format!("  --{name}{value}\n      {what}\n"));
    }
    let ignored = || FLAGS.iter().filter(|f| f.2 == Ignored);
    let names: Vec<&str> = ignored().map(|f| f.0).collect();
    out.push_str(&format!(
        "\nAccepted without effect in this version:\n  {}\n",
        names.join(" ")
    ));
    for (name, _, _, why) in ignored().filter(|f| !f.3.is_empty()) {
        out.push_str(&format!("  --{name}: {why}\n"));
    }
    out
}
