//! Service discovery between the configuration and those who take what is found: scraping, and sending alerts.

use std::sync::Arc;
use std::time::Duration;

use cupola_alert::AlertmanagerClients;
use cupola_config::PrometheusConfig;
use cupola_discovery::{DiscoveryManager, DiscoveryMetrics, DiscoverySet, Sink, UPDATE_EVERY};
use cupola_env::Clock;
use cupola_metrics::Registry;
use cupola_scrape::ScrapeManager;
use tokio_util::sync::CancellationToken;

/// Finds targets and Alertmanagers.
pub(crate) struct Discovery {
    scrape: DiscoveryManager,
    notify: DiscoveryManager,
}

impl Discovery {
    /// Finds nothing yet. What is found goes to `scrape`, at most every `interval`, and to `remote`.
    pub(crate) fn new(
        registry: &Registry,
        clock: &Arc<dyn Clock>,
        scrape: ScrapeManager,
        remote: AlertmanagerClients,
        stop: &CancellationToken,
        interval: Duration,
    ) -> Self {
        remote.count_discovered(scrape.discovered_gauge());
        let metrics = DiscoveryMetrics::new(registry);
        let manager = |name, sink, interval| {
            DiscoveryManager::new(name, metrics.clone(), clock.clone(), sink, stop.child_token(), interval)
        };
        let to_scrape: Sink = Arc::new(move |updates| {
            for update in updates {
                scrape.update(&update.set, update.changes);
            }
        });
        let to_notify: Sink = Arc::new(move |updates| {
            for update in updates {
                remote.update(&update.set, update.changes);
            }
        });
        Self {
            scrape: manager("scrape", to_scrape, interval),
            notify: manager("notify", to_notify, UPDATE_EVERY),
        }
    }

    /// Looks where `config` says. Those who take what is found must have `config` already.
    pub(crate) fn apply(&self, config: &PrometheusConfig) {
        let jobs = config.scrape_configs.iter().map(|job| DiscoverySet {
            name: job.job_name.clone(),
            configs: job.discovery.clone(),
        });
        self.scrape.apply(&jobs.collect::<Vec<_>>());
        let alertmanagers = config.alerting.alertmanagers.iter().enumerate();
        let groups = alertmanagers.map(|(index, group)| DiscoverySet {
            name: AlertmanagerClients::set_name(index),
            configs: group.discovery.clone(),
        });
        self.notify.apply(&groups.collect::<Vec<_>>());
    }

    /// Both managers, for those who show what they know.
    pub(crate) fn managers(&self) -> Vec<DiscoveryManager> {
        vec![self.scrape.clone(), self.notify.clone()]
    }

    /// Ends when all tasks have ended.
    pub(crate) async fn stopped(&self) {
        self.scrape.stopped().await;
        self.notify.stopped().await;
    }
}
