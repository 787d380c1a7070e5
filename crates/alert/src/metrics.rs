//! What is counted, under Alertmanager's names.

use cupola_metrics::{Counter, CounterVec, Registry};

#[derive(Clone)]
pub(crate) struct Metrics {
    pub received: CounterVec,
    pub notifications: CounterVec,
    pub failed: CounterVec,
    pub requests: CounterVec,
    pub requests_failed: CounterVec,
    pub suppressed: CounterVec,
    pub flushes: Counter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let vec = |name: &str, help: &str, labels| registry.counter_vec(&format!("alertmanager_{name}"), help, labels);
        Self {
            received: vec(
                "alerts_received_total",
                "The total number of received alerts.",
                &["status", "version"],
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
            suppressed: vec(
                "notifications_suppressed_total",
                "The total number of notifications suppressed for being silenced, inhibited, outside of active time intervals or within muted time intervals.",
                &["reason"],
            ),
            flushes: registry.counter(
                "cupola_alertmanager_group_flushes_total",
                "Total number of group flushes.",
            ),
        }
    }
}
