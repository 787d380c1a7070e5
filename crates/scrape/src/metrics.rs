//! What scraping counts, under the names Prometheus 3.14 gives.

use cupola_metrics::{Counter, CounterVec, GaugeVec, Registry, Summary, SummaryVec};
use cupola_model::format_duration;

#[derive(Clone)]
pub(crate) struct Metrics {
    pub duplicate: Counter,
    pub out_of_order: Counter,
    pub out_of_bounds: Counter,
    pub exemplar_out_of_order: Counter,
    pub sample_limit: Counter,
    pub body_limit: Counter,
    pub bucket_limit: Counter,
    pub label_limits: Counter,
    pub failure_log_failed: Counter,
    pub pools: Counter,
    pub targets: GaugeVec,
    pub discovered: GaugeVec,
    pub target_limit: GaugeVec,
    pub exceeded_target_limit: Counter,
    pub sync_failed: CounterVec,
    pub syncs: CounterVec,
    pub sync_seconds: SummaryVec,
    pub pool_reloads: Counter,
    pub reload_seconds: SummaryVec,
    pub commit_failed: Counter,
    intervals: SummaryVec,
}

const QUANTILES: [f64; 5] = [0.01, 0.05, 0.5, 0.9, 0.99];

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| registry.counter(&format!("prometheus_target_{name}"), help);
        // What cannot happen here: a pool is checked before it is made, and what is remembered of a failing target is
        // forgotten bit by bit. Stock rules ask for them.
        for (name, help) in [
            (
                "scrape_pools_failed_total",
                "Total number of scrape pool creations that failed.",
            ),
            (
                "scrape_pool_reloads_failed_total",
                "Total number of failed scrape pool reloads.",
            ),
            (
                "scrapes_cache_flush_forced_total",
                "How many times a scrape cache was flushed due to getting big while scrapes are failing.",
            ),
        ] {
            drop(counter(name, help));
        }
        Self {
            duplicate: counter(
                "scrapes_sample_duplicate_timestamp_total",
                "Total number of samples rejected due to duplicate timestamps but different values.",
            ),
            out_of_order: counter(
                "scrapes_sample_out_of_order_total",
                "Total number of samples rejected due to not being out of the expected order.",
            ),
            exemplar_out_of_order: counter(
                "scrapes_exemplar_out_of_order_total",
                "Total number of exemplar rejected due to not being out of the expected order.",
            ),
            out_of_bounds: counter(
                "scrapes_sample_out_of_bounds_total",
                "Total number of samples rejected due to timestamp falling outside of the time bounds.",
            ),
            sample_limit: counter(
                "scrapes_exceeded_sample_limit_total",
                "Total number of scrapes that hit the sample limit and were rejected.",
            ),
            body_limit: counter(
                "scrapes_exceeded_body_size_limit_total",
                "Total number of scrapes that hit the body size limit",
            ),
            bucket_limit: counter(
                "scrapes_exceeded_native_histogram_bucket_limit_total",
                "Total number of scrapes that hit the native histogram bucket limit and were rejected.",
            ),
            label_limits: counter(
                "scrape_pool_exceeded_label_limits_total",
                "Total number of times scrape pools hit the label limits, during sync or config reload.",
            ),
            failure_log_failed: registry.counter(
                "cupola_scrape_failure_log_failed_total",
                "Total number of failed scrapes that could not be written to scrape_failure_log_file.",
            ),
            intervals: registry.summary_vec(
                "prometheus_target_interval_length_seconds",
                "Actual intervals between scrapes.",
                &["interval"],
                &QUANTILES,
            ),
            pools: counter("scrape_pools_total", "Total number of scrape pool creation attempts."),
            targets: registry.gauge_vec(
                "prometheus_target_scrape_pool_targets",
                "Current number of targets in this scrape pool.",
                &["scrape_job"],
            ),
            discovered: registry.gauge_vec(
                "prometheus_sd_discovered_targets",
                "Current number of discovered targets.",
                &["name", "config"],
            ),
            target_limit: registry.gauge_vec(
                "prometheus_target_scrape_pool_target_limit",
                "Maximum number of targets allowed in this scrape pool.",
                &["scrape_job"],
            ),
            exceeded_target_limit: counter(
                "scrape_pool_exceeded_target_limit_total",
                "Total number of times scrape pools hit the target limit, during sync or config reload.",
            ),
            sync_failed: registry.counter_vec(
                "prometheus_target_sync_failed_total",
                "Total number of target sync failures.",
                &["scrape_job"],
            ),
            syncs: registry.counter_vec(
                "prometheus_target_scrape_pool_sync_total",
                "Total number of syncs that were executed on a scrape pool.",
                &["scrape_job"],
            ),
            sync_seconds: registry.summary_vec(
                "prometheus_target_sync_length_seconds",
                "Actual interval to sync the scrape pool.",
                &["scrape_job"],
                &QUANTILES,
            ),
            reload_seconds: registry.summary_vec(
                "prometheus_target_reload_length_seconds",
                "Actual interval to reload the scrape pool with a given configuration.",
                &["interval"],
                &QUANTILES,
            ),
            pool_reloads: counter("scrape_pool_reloads_total", "Total number of scrape pool reloads."),
            commit_failed: registry.counter(
                "cupola_scrape_commits_failed_total",
                "Total number of scrapes whose samples the storage could not take.",
            ),
        }
    }

    /// The summary of the distances between scrapes with this interval, in milliseconds.
    pub(crate) fn interval_of(&self, interval_ms: i64) -> Summary {
        self.intervals.with(&[&format_duration(interval_ms)])
    }

    /// The series of a pool that is gone end.
    pub(crate) fn forget_pool(&self, name: &str) {
        self.targets.remove(&[name]);
        self.target_limit.remove(&[name]);
        self.sync_failed.remove(&[name]);
        self.syncs.remove(&[name]);
        self.sync_seconds.remove(&[name]);
        self.discovered.remove(&["scrape", name]);
    }
}
