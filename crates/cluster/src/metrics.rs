//! What is counted, under Alertmanager's names.

use std::sync::Weak;

use cupola_metrics::{Counter, CounterVec, HistogramVec, Kind, Registry, SeriesValue};

use crate::cluster::Inner;

// The Go client's default.
const PING_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// From this size on Alertmanager's gossip does not fit into a packet, in bytes. Nothing here goes by packets; it is
/// counted for dashboards.
pub(crate) const OVERSIZED: usize = 700;

#[derive(Clone)]
pub(crate) struct Metrics {
    pub received: CounterVec,
    pub received_bytes: CounterVec,
    pub sent: CounterVec,
    pub sent_bytes: CounterVec,
    pub pruned: Counter,
    pub joined: Counter,
    pub left: Counter,
    pub updated: Counter,
    pub reconnections: Counter,
    pub reconnections_failed: Counter,
    pub refreshed: Counter,
    pub refresh_failed: Counter,
    pub refused: Counter,
    pub pings: HistogramVec,
    pub oversized_sent: CounterVec,
    pub oversized_dropped: CounterVec,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry, keys: &[&'static str]) -> Self {
        let counter = |name: &str, help: &str| registry.counter(&format!("alertmanager_cluster_{name}"), help);
        let by_type =
            |name: &str, help: &str| registry.counter_vec(&format!("alertmanager_cluster_{name}"), help, &["msg_type"]);
        let by_key = |name: &str, help: &str| {
            registry.counter_vec(&format!("alertmanager_oversized_gossip_message_{name}"), help, &["key"])
        };
        let metrics = Self {
            received: by_type("messages_received_total", "Total number of cluster messages received."),
            received_bytes: by_type("messages_received_size_total", "Total size of cluster messages received."),
            sent: by_type("messages_sent_total", "Total number of cluster messages sent."),
            sent_bytes: by_type("messages_sent_size_total", "Total size of cluster messages sent."),
            pruned: counter(
                "messages_pruned_total",
                "Total number of cluster messages pruned; the whole state is sent in their place.",
            ),
            joined: counter("peers_joined_total", "A counter of the number of peers that have joined."),
            left: counter("peers_left_total", "A counter of the number of peers that have left."),
            updated: counter(
                "peers_update_total",
                "A counter of the number of peers that have updated metadata.",
            ),
            reconnections: counter(
                "reconnections_total",
                "A counter of the number of cluster peer reconnections.",
            ),
            reconnections_failed: counter(
                "reconnections_failed_total",
                "A counter of the number of failed cluster peer reconnection attempts.",
            ),
            refreshed: counter(
                "refresh_join_total",
                "A counter of the number of cluster peer joined via refresh.",
            ),
            refresh_failed: counter(
                "refresh_join_failed_total",
                "A counter of the number of failed cluster peer joined attempts via refresh.",
            ),
            refused: registry.counter(
                "cupola_cluster_connections_refused_total",
                "Connections of others that were ended before they became members: another label or protocol, a name that is taken.",
            ),
            pings: registry.histogram_vec(
                "alertmanager_cluster_pings_seconds",
                "Histogram of latencies for ping messages.",
                &["peer"],
                PING_SECONDS,
            ),
            oversized_sent: by_key("sent_total", "Number of oversized gossip message sent."),
            oversized_dropped: by_key(
                "dropped_total",
                "Number of oversized gossip messages that were dropped due to a full message queue.",
            ),
        };
        for kind in ["full_state", "update"] {
            for counters in [
                &metrics.received,
                &metrics.received_bytes,
                &metrics.sent,
                &metrics.sent_bytes,
            ] {
                let _ = counters.with(&[kind]);
            }
        }
        for key in keys {
            let _ = metrics.oversized_sent.with(&[key]);
            let _ = metrics.oversized_dropped.with(&[key]);
        }
        metrics
    }
}

/// Registers what is counted when it is asked for.
pub(crate) fn register(registry: &Registry, inner: &Weak<Inner>, name: &str) {
    let gauge = |name: &str, help: &str, read: fn(&Inner) -> usize| {
        let inner = inner.clone();
        registry.computed(name, help, Kind::Gauge, move || {
            inner.upgrade().map_or(0.0, |inner| read(&inner) as f64)
        });
    };
    gauge(
        "alertmanager_cluster_members",
        "Number indicating current number of members in cluster.",
        |inner| inner.table.lock().alive().len(),
    );
    gauge(
        "alertmanager_cluster_failed_peers",
        "Number indicating the current number of failed peers in the cluster.",
        |inner| inner.table.lock().failed(),
    );
    gauge(
        "alertmanager_cluster_health_score",
        "Health score of the cluster. Lower values are better and zero means 'totally healthy'.",
        |inner| inner.table.lock().unlinked(),
    );
    gauge(
        "alertmanager_cluster_messages_queued",
        "Number of cluster messages which are queued.",
        |inner| inner.table.lock().outboxes().map(|outbox| outbox.waiting()).sum(),
    );
    gauge(
        "alertmanager_peer_position",
        "Position the Alertmanager instance believes it's in. The position determines a peer's behavior in the cluster.",
        |inner| inner.table.lock().position(),
    );
    let labels = vec![("peer".to_owned(), name.to_owned())];
    registry.add(
        "alertmanager_cluster_peer_info",
        "A metric with a constant '1' value labeled by peer name.",
        Kind::Gauge,
        move || vec![(labels.clone(), SeriesValue::Number(1.0))],
    );
}
