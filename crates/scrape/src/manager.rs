//! All jobs and their targets.

use std::sync::Arc;

use cupola_config::prometheus::{ScrapeConfig, TargetGroup};
use cupola_env::Clock;
use cupola_metrics::Registry;
use cupola_model::Labels;
use cupola_net::Peer;
use cupola_storage::{Appendable, Metadata};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::metadata::MetadataCell;
use crate::metrics::Metrics;
use crate::runner::{Runner, Source};
use crate::status::{StatusCell, TargetStatus};
use crate::target::{DroppedTarget, Target, targets};

/// A target in this process: gives its metrics in text format 0.0.4 without a network between.
pub trait LocalTarget: Send + Sync {
    /// Collects; may take a while, it runs where blocking is allowed.
    fn collect(&self) -> Vec<u8>;
}

/// A job whose one target is in this process.
#[derive(Clone)]
pub struct LocalJob {
    /// As for any job; `static_configs` name the one address, for labels and pages.
    pub config: ScrapeConfig,
    /// What is asked.
    pub target: Arc<dyn LocalTarget>,
}

struct Running {
    target: Target,
    config: Arc<ScrapeConfig>,
    status: Arc<StatusCell>,
    metadata: Arc<MetadataCell>,
    stop: CancellationToken,
    end_series: CancellationToken,
}

#[derive(Default)]
struct State {
    running: Vec<Running>,
    dropped: Vec<DroppedTarget>,
    pools: Vec<String>,
}

/// Scrapes. Cloning shares it.
#[derive(Clone)]
pub struct ScrapeManager {
    state: Arc<Mutex<State>>,
    storage: Arc<dyn Appendable>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl ScrapeManager {
    /// A manager without targets; all its tasks end when `stop` is cancelled.
    #[must_use]
    pub fn new(
        storage: Arc<dyn Appendable>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
        stop: CancellationToken,
    ) -> Self {
        let metrics = Metrics::new(registry);
        Self {
            state: Arc::default(),
            storage,
            clock,
            metrics,
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// Scrapes exactly the targets of `jobs` and `local`. A target whose labels, URL and configuration have not changed
    /// goes on undisturbed; the series of targets that are gone are ended.
    pub fn apply(&self, jobs: &[ScrapeConfig], local: &[LocalJob]) {
        let mut state = self.state.lock();
        let mut old = std::mem::take(&mut *state);
        for pool in &old.pools {
            self.metrics.targets.remove(&[pool]);
        }
        let with_source = local.iter().map(|job| (&job.config, Some(&job.target)));
        for (config, source) in with_source.chain(jobs.iter().map(|config| (config, None))) {
            self.add_pool(&mut state, &mut old, config, source);
        }
        for gone in old.running {
            gone.end_series.cancel();
            gone.stop.cancel();
        }
        info!(
            pools = state.pools.len(),
            targets = state.running.len(),
            "targets loaded"
        );
    }

    fn add_pool(
        &self,
        state: &mut State,
        old: &mut State,
        config: &ScrapeConfig,
        source: Option<&Arc<dyn LocalTarget>>,
    ) {
        let job = &config.job_name;
        self.metrics.pools.inc();
        state.pools.push(job.clone());
        let groups: &[TargetGroup] = &config.static_configs;
        let mut found = targets(config, groups);
        for (labels, error) in &found.failed {
            warn!(pool = job, labels = %labels, %error, "cannot make a target");
        }
        let discovered: usize = groups.iter().map(|g| g.targets.len()).sum();
        self.metrics.discovered.with(&["scrape", job]).set(discovered as f64);
        let limit = config.defaults.limits.target_limit;
        if limit > 0 && found.active.len() as u64 > limit {
            warn!(
                pool = job,
                targets = found.active.len(),
                limit,
                "target_limit exceeded: the pool is not scraped"
            );
            found.active.clear();
        }
        self.metrics.targets.with(&[job]).set(found.active.len() as f64);
        state.dropped.append(&mut found.dropped);
        let config = Arc::new(config.clone());
        for target in found.active {
            let same = old
                .running
                .iter()
                .position(|r| r.target == target && same_scraping(&r.config, &config));
            let running = match same {
                Some(at) => old.running.swap_remove(at),
                None => self.start(&config, target, source),
            };
            state.running.push(running);
        }
    }

    fn start(&self, config: &Arc<ScrapeConfig>, target: Target, source: Option<&Arc<dyn LocalTarget>>) -> Running {
        let running = Running {
            target: target.clone(),
            config: config.clone(),
            status: Arc::default(),
            metadata: Arc::default(),
            stop: self.stop.child_token(),
            end_series: CancellationToken::new(),
        };
        let runner = Runner {
            config: config.clone(),
            target,
            status: running.status.clone(),
            metadata: running.metadata.clone(),
            storage: self.storage.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            source: match source {
                Some(local) => Source::Local(local.clone()),
                None => Source::Http(Box::new(Peer::new(&config.http))),
            },
            stop: running.stop.clone(),
            end_series: running.end_series.clone(),
        };
        self.tasks.spawn(runner.run());
        running
    }

    /// All targets that are scraped, in the configuration's order.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        let state = self.state.lock();
        let status = |running: &Running| {
            let last = running.status.get();
            TargetStatus {
                discovered_labels: running.target.discovered.clone(),
                labels: running.target.labels.clone(),
                scrape_pool: running.config.job_name.clone(),
                scrape_url: running.target.url.to_string(),
                last_error: last.error,
                last_scrape: last.at,
                last_scrape_duration: last.seconds,
                last_samples: last.samples,
                health: last.health,
                interval_ms: running.target.interval_ms,
                timeout_ms: running.target.timeout_ms,
            }
        };
        state.running.iter().map(status).collect()
    }

    /// What each target says about its metric families, by the target's labels, families by name.
    #[must_use]
    pub fn metadata(&self) -> Vec<(Labels, Vec<(String, Metadata)>)> {
        let state = self.state.lock();
        state
            .running
            .iter()
            .map(|r| (r.target.labels.clone(), r.metadata.get()))
            .collect()
    }

    /// What relabelling dropped.
    #[must_use]
    pub fn dropped(&self) -> Vec<DroppedTarget> {
        self.state.lock().dropped.clone()
    }

    /// The names of all jobs, sorted.
    #[must_use]
    pub fn pools(&self) -> Vec<String> {
        let mut pools = self.state.lock().pools.clone();
        pools.sort();
        pools
    }

    /// Ends when all tasks have ended; cancel the token given to [`ScrapeManager::new`] first.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

// Whether a target of `a` is scraped just as one of `b`: the list of targets itself does not matter.
fn same_scraping(a: &ScrapeConfig, b: &ScrapeConfig) -> bool {
    let without_targets = |config: &ScrapeConfig| ScrapeConfig {
        static_configs: Vec::new(),
        ..config.clone()
    };
    without_targets(a) == without_targets(b)
}
