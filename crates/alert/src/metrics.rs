//! What is counted, under Alertmanager's names.

use cupola_metrics::{Counter, CounterVec, Gauge, Histogram, HistogramVec, Registry, Summary};

/// Alertmanager's integrations. Their series are there from the start, so that a rate of failures sees the first one.
pub(crate) const INTEGRATIONS: [&str; 18] = [
    "discord",
    "email",
    "incidentio",
    "jira",
    "mattermost",
    "msteams",
    "msteamsv2",
    "opsgenie",
    "pagerduty",
    "pushover",
    "rocketchat",
    "slack",
    "sns",
    "telegram",
    "victorops",
    "webex",
    "webhook",
    "wechat",
];
const FAILURE_REASONS: [&str; 7] = [
    "authError",
    "clientError",
    "contextCanceled",
    "contextDeadlineExceeded",
    "other",
    "rateLimited",
    "serverError",
];
// The Go client's default.
const QUERY_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const LATENCY_SECONDS: &[f64] = &[1.0, 5.0, 10.0, 15.0, 20.0];

#[derive(Clone)]
pub(crate) struct Metrics {
    pub received: CounterVec,
    pub invalid: Counter,
    pub limited: Counter,
    pub notifications: CounterVec,
    pub failed: CounterVec,
    pub requests: CounterVec,
    pub requests_failed: CounterVec,
    pub latency: HistogramVec,
    pub suppressed: CounterVec,
    pub processing: Summary,
    pub flushes: Counter,
    pub receivers: Gauge,
    pub integrations: Gauge,
    pub inhibition_rules: Gauge,
    pub silences: StateMetrics,
    pub nflog: StateMetrics,
}

/// Of the silences or the notification log.
#[derive(Clone)]
pub(crate) struct StateMetrics {
    pub gc_seconds: Summary,
    pub snapshot_seconds: Summary,
    pub snapshot_bytes: Gauge,
    pub queries: Counter,
    pub query_errors: Counter,
    pub query_seconds: Histogram,
    pub maintenance: Counter,
    pub maintenance_errors: Counter,
    /// What came from other members, was news, and was passed on.
    pub propagated: Counter,
}

impl StateMetrics {
    fn new(registry: &Registry, part: &str, what: &str) -> Self {
        let name = |rest: &str| format!("alertmanager_{part}_{rest}");
        let counter = |rest: &str, help: String| registry.counter(&name(rest), &help);
        let summary = |rest: &str, help: String| registry.summary(&name(rest), &help, &[]);
        Self {
            gc_seconds: summary(
                "gc_duration_seconds",
                format!("Duration of the last {what} garbage collection cycle."),
            ),
            snapshot_seconds: summary(
                "snapshot_duration_seconds",
                format!("Duration of the last {what} snapshot."),
            ),
            snapshot_bytes: registry.gauge(
                &name("snapshot_size_bytes"),
                &format!("Size of the last {what} snapshot in bytes."),
            ),
            queries: counter("queries_total", format!("Number of {what} queries were received.")),
            query_errors: counter(
                "query_errors_total",
                format!("Number of {what} queries that did not succeed."),
            ),
            query_seconds: registry.native_histogram(
                &name("query_duration_seconds"),
                &format!("Duration of {what} query evaluation."),
                QUERY_SECONDS,
            ),
            maintenance: counter(
                "maintenance_total",
                format!("How many maintenances were executed for {part}."),
            ),
            maintenance_errors: counter(
                "maintenance_errors_total",
                format!("How many maintenances were executed for {part} that failed."),
            ),
            propagated: counter(
                "gossip_messages_propagated_total",
                "Number of received gossip messages that have been further gossiped.".to_owned(),
            ),
        }
    }
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let vec = |name: &str, help: &str, labels| registry.counter_vec(&format!("alertmanager_{name}"), help, labels);
        let gauge = |name: &str, help: &str| registry.gauge(&format!("alertmanager_{name}"), help);
        let invalid = vec(
            "alerts_invalid_total",
            "The total number of received alerts that were invalid.",
            &["version"],
        );
        let metrics = Self {
            received: vec(
                "alerts_received_total",
                "The total number of received alerts.",
                &["status", "version"],
            ),
            invalid: invalid.with(&["v2"]),
            limited: registry.counter(
                "alertmanager_alerts_limited_total",
                "The total number of alerts that were dropped due to the per-alertname limit.",
            ),
            notifications: vec(
                "notifications_total",
                "The total number of attempted notifications.",
                &["integration"],
            ),
            failed: vec(
                "notifications_failed_total",
                "The total number of failed notifications.",
                &["integration", "reason"],
            ),
            requests: vec(
                "notification_requests_total",
                "The total number of attempted notification requests.",
                &["integration"],
            ),
            requests_failed: vec(
                "notification_requests_failed_total",
                "The total number of failed notification requests.",
                &["integration"],
            ),
            latency: registry.native_histogram_vec(
                "alertmanager_notification_latency_seconds",
                "The latency of notifications in seconds.",
                &["integration"],
                LATENCY_SECONDS,
            ),
            suppressed: vec(
                "notifications_suppressed_total",
                "The total number of notifications suppressed for being silenced, inhibited, outside of active time intervals or within muted time intervals.",
                &["reason"],
            ),
            processing: registry.summary(
                "alertmanager_dispatcher_alert_processing_duration_seconds",
                "Summary of latencies for the processing of alerts.",
                &[],
            ),
            flushes: registry.counter(
                "cupola_alertmanager_group_flushes_total",
                "Total number of group flushes.",
            ),
            receivers: gauge("receivers", "Number of configured receivers."),
            integrations: gauge("integrations", "Number of configured integrations."),
            inhibition_rules: gauge("inhibition_rules", "Number of configured inhibition rules."),
            silences: StateMetrics::new(registry, "silences", "silence"),
            nflog: StateMetrics::new(registry, "nflog", "notification log"),
        };
        for status in ["firing", "resolved"] {
            let _ = metrics.received.with(&[status, "v2"]);
        }
        for kind in INTEGRATIONS {
            let _ = metrics.notifications.with(&[kind]);
            let _ = metrics.requests.with(&[kind]);
            let _ = metrics.requests_failed.with(&[kind]);
            let _ = metrics.latency.with(&[kind]);
            for reason in FAILURE_REASONS {
                let _ = metrics.failed.with(&[kind, reason]);
            }
        }
        for reason in ["silence", "inhibition", "mute_time_interval", "active_time_interval"] {
            let _ = metrics.suppressed.with(&[reason]);
        }
        metrics
    }
}
