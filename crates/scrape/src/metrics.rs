//! What scraping counts, under the names Prometheus 3.14 gives.

use cupola_metrics::{Counter, GaugeVec, Registry};

#[derive(Clone)]
pub(crate) struct Metrics {
    pub duplicate: Counter,
    pub out_of_order: Counter,
    pub out_of_bounds: Counter,
    pub exemplar_out_of_order: Counter,
    pub sample_limit: Counter,
    pub body_limit: Counter,
    pub pools: Counter,
    pub targets: GaugeVec,
    pub discovered: GaugeVec,
    pub commit_failed: Counter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| registry.counter(&format!("prometheus_target_{name}"), help);
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
            commit_failed: registry.counter(
                "cupola_scrape_commits_failed_total",
                "Total number of scrapes whose samples the storage could not take.",
            ),
        }
    }
}
