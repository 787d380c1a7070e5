//! What the storage counts, under the names Prometheus 3.14 gives.

use cupola_metrics::{Counter, Gauge, Histogram, Registry, Summary};
use cupola_storage::SeriesScope;

// Prometheus's own bounds, in seconds.
const COMPACTION_SECONDS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
];
const CLEANUP_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What became of samples that came out of order.
pub(crate) struct OfKind {
    pub out_of_order: Counter,
    pub out_of_bounds: Counter,
    pub too_old: Counter,
    pub late_appended: Counter,
}

pub(crate) struct Metrics {
    pub samples_appended: Counter,
    pub histograms_appended: Counter,
    pub series_created: Counter,
    pub series_removed: Counter,
    /// Of floats, and of native histograms.
    pub floats: OfKind,
    pub histograms: OfKind,
    pub exemplars_appended: Counter,
    pub exemplars_out_of_order: Counter,
    pub wal_failed: Counter,
    pub wal_corruptions: Counter,
    pub compactions: Counter,
    pub compactions_failed: Counter,
    pub vertical_compactions: Counter,
    pub checkpoints: Counter,
    pub checkpoints_failed: Counter,
    pub truncations: Counter,
    pub time_retentions: Counter,
    pub size_retentions: Counter,
    pub rule_retentions: Counter,
    pub tier_blocks_made: Counter,
    pub replay_seconds: Gauge,
    pub fsync_failed: Counter,
    pub blocks_left_out: Gauge,
    pub reloads: Counter,
    pub reloads_failed: Counter,
    pub compactions_triggered: Counter,
    pub compaction_seconds: Histogram,
    pub tombstone_seconds: Histogram,
    pub truncate_seconds: Summary,
    pub log_truncations: Counter,
    pub log_truncations_failed: Counter,
    pub log_truncate_seconds: Summary,
    pub fsync_seconds: Summary,
    // In the order of `SeriesScope`.
    refused: [Counter; 3],
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let appended = registry.counter_vec(
            "prometheus_tsdb_head_samples_appended_total",
            "Total number of appended samples.",
            &["type"],
        );
        let out_of_order = registry.counter_vec(
            "prometheus_tsdb_out_of_order_samples_total",
            "Total number of out of order samples ingestion failed attempts.",
            &["type"],
        );
        let out_of_bounds = registry.counter_vec(
            "prometheus_tsdb_out_of_bound_samples_total",
            "Total number of out of bound samples ingestion failed attempts.",
            &["type"],
        );
        let too_old = registry.counter_vec(
            "prometheus_tsdb_too_old_samples_total",
            "Total number of out of order samples ingestion failed attempts with out of support enabled, but sample outside of time window.",
            &["type"],
        );
        let out_of_order_appended = registry.counter_vec(
            "prometheus_tsdb_head_out_of_order_samples_appended_total",
            "Total number of appended out of order samples.",
            &["type"],
        );
        let of_kind = |kind| OfKind {
            out_of_order: out_of_order.with(&[kind]),
            out_of_bounds: out_of_bounds.with(&[kind]),
            too_old: too_old.with(&[kind]),
            late_appended: out_of_order_appended.with(&[kind]),
        };
        let refused = registry.counter_vec(
            "cupola_tsdb_series_refused_total",
            "Total number of samples of new series that were refused because of a limit on series.",
            &["limit"],
        );
        let counter = |name: &str, help: &str| registry.counter(&format!("prometheus_tsdb_{name}"), help);
        Self {
            samples_appended: appended.with(&["float"]),
            histograms_appended: appended.with(&["histogram"]),
            series_created: counter(
                "head_series_created_total",
                "Total number of series created in the head.",
            ),
            series_removed: counter(
                "head_series_removed_total",
                "Total number of series removed in the head.",
            ),
            floats: of_kind("float"),
            histograms: of_kind("histogram"),
            exemplars_appended: counter(
                "exemplar_exemplars_appended_total",
                "Total number of appended exemplars.",
            ),
            exemplars_out_of_order: counter(
                "exemplar_out_of_order_exemplars_total",
                "Total number of out of order exemplar ingestion failed attempts.",
            ),
            wal_failed: counter(
                "wal_writes_failed_total",
                "Total number of write log writes that failed.",
            ),
            wal_corruptions: counter("wal_corruptions_total", "Total number of write log corruptions."),
            compactions: counter("compactions_total", "Total number of compactions that were executed."),
            compactions_failed: counter("compactions_failed_total", "Total number of compactions that failed."),
            vertical_compactions: counter(
                "vertical_compactions_total",
                "Total number of compactions done on overlapping blocks.",
            ),
            checkpoints: counter(
                "checkpoint_creations_total",
                "Total number of checkpoint creations attempted.",
            ),
            checkpoints_failed: counter(
                "checkpoint_creations_failed_total",
                "Total number of checkpoint creations that failed.",
            ),
            truncations: counter("head_truncations_total", "Total number of head truncations attempted."),
            time_retentions: counter(
                "time_retentions_total",
                "The number of times that blocks were deleted because the maximum time limit was exceeded.",
            ),
            size_retentions: counter(
                "size_retentions_total",
                "The number of times that blocks were deleted because the maximum number of bytes was exceeded.",
            ),
            rule_retentions: registry.counter(
                "cupola_tsdb_rule_retentions_total",
                "The number of times that a block was written anew without series that a rule or the retention ended.",
            ),
            tier_blocks_made: registry.counter(
                "cupola_tsdb_tier_blocks_made_total",
                "Total number of blocks of downsampled tiers that were made from samples.",
            ),
            replay_seconds: registry.gauge(
                "prometheus_tsdb_data_replay_duration_seconds",
                "Time taken to replay the data on disk.",
            ),
            blocks_left_out: registry.gauge(
                "cupola_tsdb_blocks_left_out",
                "Number of block folders that could not be opened at the start: their samples are missing in answers.",
            ),
            fsync_failed: registry.counter(
                "cupola_tsdb_wal_fsync_failed_total",
                "Total number of failed attempts to bring the write-ahead log to the device.",
            ),
            reloads: counter(
                "reloads_total",
                "Number of times the list of blocks that are read changed: a block came, or went.",
            ),
            reloads_failed: counter(
                "reloads_failures_total",
                "Number of times a block that was just written could not be opened.",
            ),
            compactions_triggered: counter(
                "compactions_triggered_total",
                "Total number of times it was looked whether blocks are to be cut or merged.",
            ),
            compaction_seconds: registry.histogram(
                "prometheus_tsdb_compaction_duration_seconds",
                "Duration of compaction runs.",
                COMPACTION_SECONDS,
            ),
            tombstone_seconds: registry.histogram(
                "prometheus_tsdb_tombstone_cleanup_seconds",
                "The time taken to recompact blocks to remove tombstones.",
                CLEANUP_SECONDS,
            ),
            truncate_seconds: registry.summary(
                "prometheus_tsdb_head_gc_duration_seconds",
                "Runtime of garbage collection in the head block.",
                &[],
            ),
            log_truncations: counter(
                "wal_truncations_total",
                "Total number of write log truncations attempted.",
            ),
            log_truncations_failed: counter(
                "wal_truncations_failed_total",
                "Total number of write log truncations that failed.",
            ),
            log_truncate_seconds: registry.summary(
                "prometheus_tsdb_wal_truncate_duration_seconds",
                "Duration of write log truncation.",
                &[],
            ),
            fsync_seconds: registry.summary(
                "prometheus_tsdb_wal_fsync_duration_seconds",
                "Duration of write log fsync.",
                &[0.5, 0.9, 0.99],
            ),
            refused: ["total", "metric", "job"].map(|limit| refused.with(&[limit])),
        }
    }

    /// Samples refused because of this limit.
    pub(crate) fn refused(&self, scope: SeriesScope) -> &Counter {
        let [total, metric, job] = &self.refused;
        match scope {
            SeriesScope::All => total,
            SeriesScope::Metric => metric,
            SeriesScope::Job => job,
        }
    }
}
