//! All jobs and their targets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use cupola_config::prometheus::{GroupChange, ScrapeConfig};
use cupola_env::Clock;
use cupola_metrics::{GaugeVec, Kind, Registry, SeriesValue};
use cupola_model::{Labels, format_duration};
use cupola_net::{BodyBudget, Peer};
use cupola_storage::{Appendable, Metadata};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use crate::metadata::MetadataSize;
use crate::metrics::Metrics;
use crate::misses::Misses;
use crate::pool::{Pool, Running};
use crate::runner::{Runner, Source};
use crate::status::TargetStatus;
use crate::target::{DroppedTarget, Target};

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

/// What taking over a change meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Synced {
    /// Targets that were relabelled.
    pub relabelled: usize,
    /// Targets that were not scraped before.
    pub started: usize,
    /// Targets that are not scraped any more.
    pub ended: usize,
}

#[derive(Default)]
struct State {
    // In the configuration's order, those in this process first.
    pools: Vec<Pool>,
}

const TOLERANCE_MS: i64 = 2;

/// Scrapes. Cloning shares it.
#[derive(Clone)]
pub struct ScrapeManager {
    state: Arc<Mutex<State>>,
    storage: Arc<dyn Appendable>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    misses: Arc<Misses>,
    bodies: Option<BodyBudget>,
    types: bool,
    starts: bool,
    tolerance_ms: i64,
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
        let (metrics, state) = (Metrics::new(registry), Arc::default());
        register_metadata(registry, &state);
        let tasks = TaskTracker::new();
        let misses = Misses::new(storage.clone(), metrics.clone(), tasks.clone());
        Self {
            state,
            storage,
            clock,
            metrics,
            misses,
            bodies: None,
            types: false,
            starts: false,
            tolerance_ms: TOLERANCE_MS,
            tasks,
            stop,
        }
    }

    /// The same, whose scrapes may hold no more than `bytes` of bodies at a time, from the first byte read to the last sample
    /// stored, and one of them at most half. A body waits for room within the scrape's own timeout. To be called before
    /// there are targets.
    #[must_use]
    pub fn with_body_budget(self, bytes: usize, registry: &Registry) -> Self {
        let budget = BodyBudget::new("the bodies of all scrapes", bytes);
        register_budget(registry, &budget);
        Self {
            bodies: Some(budget),
            ..self
        }
    }

    /// Series tell their type and unit in the labels `__type__` and `__unit__` where `wanted`, as Prometheus's do with
    /// the feature `type-and-unit-labels`. For targets that begin from now on.
    #[must_use]
    pub fn with_types(mut self, wanted: bool) -> Self {
        self.types = wanted;
        self
    }

    /// `_created` lines of OpenMetrics say since when series count, and are none, where `wanted`, as with Prometheus's
    /// features `created-timestamp-zero-ingestion` and `st-storage`. For targets that begin from now on.
    #[must_use]
    pub fn with_starts(mut self, wanted: bool) -> Self {
        self.starts = wanted;
        self
    }

    /// A scrape that begins within so many milliseconds of the moment it was meant for, and within a hundredth of its
    /// interval, is stamped with that moment, so that the distances between samples are equal and compress well; 2 where
    /// nothing is said, 0 stamps all with the time they began (Prometheus: `--scrape.timestamp-tolerance`,
    /// `--scrape.adjust-timestamps`). For targets that begin from now on.
    #[must_use]
    pub fn with_timestamp_tolerance(mut self, tolerance_ms: i64) -> Self {
        self.tolerance_ms = tolerance_ms;
        self
    }

    /// Scrapes exactly the targets of `jobs` and `local`, and what discovery tells of `jobs`. A target whose labels, URL
    /// and configuration have not changed goes on undisturbed, and so do discovered targets of a job that stays; the
    /// series of targets that are gone are ended.
    pub fn apply(&self, jobs: &[ScrapeConfig], local: &[LocalJob]) {
        let mut state = self.state.lock();
        let mut old = std::mem::take(&mut state.pools);
        let with_source = local.iter().map(|job| (&job.config, Some(&job.target)));
        for (config, source) in with_source.chain(jobs.iter().map(|config| (config, None))) {
            let known = old
                .iter()
                .position(|pool| pool.name() == config.job_name && pool.source.is_some() == source.is_some());
            let mut pool = match known {
                Some(at) => {
                    self.metrics.pool_reloads.inc();
                    old.swap_remove(at)
                }
                None => {
                    self.metrics.pools.inc();
                    Pool::new(config, source.cloned())
                }
            };
            let begun = Instant::now();
            self.timed(&mut pool, |pool, starter| pool.reload(config, starter));
            if known.is_some() {
                let interval = format_duration(config.scrape_interval.as_millis() as i64);
                let seconds = begun.elapsed().as_secs_f64();
                self.metrics.reload_seconds.with(&[&interval]).observe(seconds);
            }
            state.pools.push(pool);
        }
        for gone in old {
            gone.end(&self.metrics);
        }
        let targets: usize = state.pools.iter().map(|pool| pool.running().count()).sum();
        info!(pools = state.pools.len(), targets, "targets loaded");
    }

    /// Takes over what discovery found for the job `pool`. Costs what the groups cost that changed; all other targets
    /// are left alone. A job that is not there takes nothing over.
    pub fn update(&self, pool: &str, changes: Vec<GroupChange>) -> Synced {
        let mut state = self.state.lock();
        let Some(pool) = state.pools.iter_mut().find(|p| p.source.is_none() && p.name() == pool) else {
            return Synced::default();
        };
        let changes = changes.into_iter().map(|c| ((c.provider, c.source), c.group)).collect();
        let synced = self.timed(pool, |pool, starter| pool.sync(changes, starter));
        if synced.started + synced.ended > 0 {
            debug!(
                pool = pool.name(),
                started = synced.started,
                ended = synced.ended,
                "targets changed"
            );
        }
        synced
    }

    fn timed(&self, pool: &mut Pool, sync: impl FnOnce(&mut Pool, &Starter<'_>) -> Synced) -> Synced {
        let started = Instant::now();
        // There from the start, so that the first failure is an increase.
        drop(self.metrics.sync_failed.with(&[pool.name()]));
        let starter = Starter {
            manager: self,
            metrics: &self.metrics,
        };
        let synced = sync(pool, &starter);
        let seconds = started.elapsed().as_secs_f64();
        self.metrics.sync_seconds.with(&[pool.name()]).observe(seconds);
        self.metrics.syncs.with(&[pool.name()]).inc();
        synced
    }

    /// All targets that are scraped, jobs in the configuration's order.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        let state = self.state.lock();
        let status = |pool: &Pool, running: &Running| {
            let last = running.status.get();
            TargetStatus {
                discovered_labels: running.target.discovered.clone(),
                labels: running.target.labels.clone(),
                scrape_pool: pool.name().to_owned(),
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
        let of_pool = |pool| Pool::running(pool).map(move |running| status(pool, running));
        state.pools.iter().flat_map(of_pool).collect()
    }

    /// What each target says about its metric families, by the target's labels, families by name.
    #[must_use]
    pub fn metadata(&self) -> Vec<(Labels, Vec<(String, Metadata)>)> {
        let state = self.state.lock();
        state
            .pools
            .iter()
            .flat_map(Pool::running)
            .map(|r| (r.target.labels.clone(), r.metadata.get()))
            .collect()
    }

    /// What relabelling dropped, of each job at most its `keep_dropped_targets`.
    #[must_use]
    pub fn dropped(&self) -> Vec<DroppedTarget> {
        let state = self.state.lock();
        let of_pool = |pool| {
            Pool::dropped(pool).map(move |labels| DroppedTarget {
                discovered: labels.clone(),
                scrape_pool: pool.name().to_owned(),
            })
        };
        state.pools.iter().flat_map(of_pool).collect()
    }

    /// How many targets relabelling dropped, by job; also those that are not kept.
    #[must_use]
    pub fn dropped_counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for pool in &self.state.lock().pools {
            *counts.entry(pool.name().to_owned()).or_default() += pool.dropped_count();
        }
        counts
    }

    /// The gauge of targets found, by manager and job; who finds others counts them in it, too.
    #[must_use]
    pub fn discovered_gauge(&self) -> GaugeVec {
        self.metrics.discovered.clone()
    }

    /// The names of all jobs, sorted.
    #[must_use]
    pub fn pools(&self) -> Vec<String> {
        let mut pools: Vec<String> = self.state.lock().pools.iter().map(|p| p.name().to_owned()).collect();
        pools.sort();
        pools
    }

    /// Ends when all tasks have ended; cancel the token given to [`ScrapeManager::new`] first.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

// What targets say about their families takes memory, which is told by job.
fn register_metadata(registry: &Registry, state: &Arc<Mutex<State>>) {
    let figures = [
        (
            "prometheus_target_metadata_cache_entries",
            "Total number of metric metadata entries in the cache",
            (|size| size.entries) as fn(MetadataSize) -> usize,
        ),
        (
            "prometheus_target_metadata_cache_bytes",
            "The number of bytes that are currently used for storing metric metadata in the cache",
            |size| size.bytes,
        ),
    ];
    for (name, help, figure) in figures {
        let state = state.clone();
        registry.add(name, help, Kind::Gauge, move || {
            let of_pool = |pool: &Pool| {
                let sum: usize = pool.running().map(|running| figure(running.metadata.size())).sum();
                let label = ("scrape_job".to_owned(), pool.name().to_owned());
                (vec![label], SeriesValue::Number(sum as f64))
            };
            state.lock().pools.iter().map(of_pool).collect()
        });
    }
}

fn register_budget(registry: &Registry, budget: &BodyBudget) {
    let figures = [
        (
            "cupola_scrape_body_bytes",
            "Memory that the bodies of scrapes take now, from the first byte read to the last sample stored.",
            Kind::Gauge,
            (|budget| budget.used() as f64) as fn(&BodyBudget) -> f64,
        ),
        (
            "cupola_scrape_body_limit_bytes",
            "Memory that the bodies of all scrapes may take together.",
            Kind::Gauge,
            |budget| budget.limit() as f64,
        ),
        (
            "cupola_scrape_body_waits_total",
            "How often the body of a scrape had to wait for memory that other bodies took.",
            Kind::Counter,
            |budget| budget.waits() as f64,
        ),
        (
            "cupola_scrape_bodies_refused_total",
            "Scrapes that failed because there was no memory for their body in time, or because it is larger than one may be.",
            Kind::Counter,
            |budget| budget.refused() as f64,
        ),
    ];
    for (name, help, kind, figure) in figures {
        let budget = budget.clone();
        registry.computed(name, help, kind, move || figure(&budget));
    }
}

/// Begins the tasks of targets.
pub(crate) struct Starter<'m> {
    manager: &'m ScrapeManager,
    pub metrics: &'m Metrics,
}

impl Starter<'_> {
    pub(crate) fn start(&self, pool: &Pool, target: Target) -> Running {
        let manager = self.manager;
        let socket = target.socket.clone();
        let running = Running {
            target: target.clone(),
            status: Arc::default(),
            metadata: Arc::default(),
            stop: manager.stop.child_token(),
            end_series: CancellationToken::new(),
        };
        let runner = Runner {
            config: pool.config.clone(),
            target,
            status: running.status.clone(),
            forced: pool.forced.clone(),
            metadata: running.metadata.clone(),
            storage: manager.storage.clone(),
            clock: manager.clock.clone(),
            metrics: manager.metrics.clone(),
            misses: manager.misses.clone(),
            types: manager.types,
            starts: manager.starts,
            tolerance_ms: manager.tolerance_ms,
            headers: pool.headers(running.target.timeout_ms),
            interval: manager.metrics.interval_of(running.target.interval_ms),
            source: match &pool.source {
                Some(local) => Source::Local(local.clone()),
                None => {
                    let mut peer = match socket {
                        Some(socket) => Peer::over_socket(&pool.config.http, socket),
                        None => pool.peer.another(),
                    };
                    manager.bodies.iter().for_each(|budget| peer.set_budget(budget.clone()));
                    Source::Http(Box::new(peer))
                }
            },
            stop: running.stop.clone(),
            shutdown: manager.stop.clone(),
            end_series: running.end_series.clone(),
        };
        manager.tasks.spawn(runner.run());
        running
    }
}

#[cfg(test)]
mod tests;
