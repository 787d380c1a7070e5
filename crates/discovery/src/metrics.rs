//! What discovery counts, under the names Prometheus 3.14 gives.

use cupola_metrics::{Counter, CounterVec, GaugeVec, Registry, Summary, SummaryVec};

/// Counters of all discovery managers of one server; they are registered once. Cloning shares them.
#[derive(Debug, Clone)]
pub struct DiscoveryMetrics {
    pub(crate) received: CounterVec,
    pub(crate) sent: CounterVec,
    pub(crate) delayed: CounterVec,
    pub(crate) failed_configs: GaugeVec,
    pub(crate) refresh_failures: CounterVec,
    pub(crate) refresh_seconds: SummaryVec,
    pub(crate) file_read_errors: Counter,
    pub(crate) file_watch_errors: Counter,
    pub(crate) file_scan_seconds: Summary,
    pub(crate) file_mtime: GaugeVec,
    pub(crate) http_failures: Counter,
    pub(crate) dns_lookups: Counter,
    pub(crate) dns_failures: Counter,
    pub(crate) consul_failures: Counter,
    pub(crate) consul_seconds: SummaryVec,
}

impl DiscoveryMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let vec = |name: &str, help: &str| registry.counter_vec(&format!("prometheus_sd_{name}"), help, &["name"]);
        let counter = |name: &str, help: &str| registry.counter(&format!("prometheus_sd_{name}"), help);
        Self {
            received: vec(
                "received_updates_total",
                "Total number of update events received from the SD providers.",
            ),
            sent: vec(
                "updates_total",
                "Total number of update events sent to the SD consumers.",
            ),
            delayed: vec(
                "updates_delayed_total",
                "Total number of update events that couldn't be sent immediately.",
            ),
            failed_configs: registry.gauge_vec(
                "prometheus_sd_failed_configs",
                "Current number of service discovery configurations that failed to load.",
                &["name"],
            ),
            refresh_failures: registry.counter_vec(
                "prometheus_sd_refresh_failures_total",
                "Number of refresh failures for the given SD mechanism.",
                &["mechanism", "config"],
            ),
            refresh_seconds: registry.summary_vec(
                "prometheus_sd_refresh_duration_seconds",
                "The duration of a refresh in seconds for the given SD mechanism.",
                &["mechanism"],
                &[0.5, 0.9, 0.99],
            ),
            file_read_errors: counter("file_read_errors_total", "The number of File-SD read errors."),
            file_watch_errors: counter(
                "file_watcher_errors_total",
                "The number of File-SD errors caused by filesystem watch failures.",
            ),
            file_scan_seconds: registry.summary(
                "prometheus_sd_file_scan_duration_seconds",
                "The duration of the File-SD scan in seconds.",
                &[0.5, 0.9, 0.99],
            ),
            file_mtime: registry.gauge_vec(
                "prometheus_sd_file_mtime_seconds",
                "Timestamp (mtime) of files read by FileSD. Timestamp is set at read time.",
                &["filename"],
            ),
            http_failures: counter(
                "http_failures_total",
                "Number of HTTP service discovery refresh failures.",
            ),
            dns_lookups: counter("dns_lookups_total", "The number of DNS-SD lookups."),
            dns_failures: counter("dns_lookup_failures_total", "The number of DNS-SD lookup failures."),
            consul_failures: counter("consul_rpc_failures_total", "The number of Consul RPC call failures."),
            consul_seconds: registry.summary_vec(
                "prometheus_sd_consul_rpc_duration_seconds",
                "The duration of a Consul RPC call in seconds.",
                &["endpoint", "call"],
                &[0.5, 0.9, 0.99],
            ),
        }
    }
}
