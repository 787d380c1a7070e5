//! One job: the groups of targets it was given, and the targets that are scraped.
//!
//! A target may be in several groups; it is scraped once, for as long as any of them has it. What changes costs what
//! changed: one group that is told anew is relabelled anew, the others are not looked at.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cupola_config::prometheus::{ScrapeConfig, TargetGroup};
use cupola_model::Labels;
use cupola_net::Peer;
use http::{HeaderMap, Uri};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::manager::{LocalTarget, Starter, Synced};
use crate::metadata::MetadataCell;
use crate::metrics::Metrics;
use crate::runner::headers;
use crate::status::{ForcedError, StatusCell};
use crate::target::{Derived, Histograms, Target, derive};

/// The provider of groups that stand in the configuration; those of discovery have numbers above it.
pub(crate) const STATIC: u64 = 0;

/// Provider and source.
pub(crate) type GroupKey = (u64, Arc<str>);

/// What makes two targets the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TargetKey {
    labels: Labels,
    url: Uri,
    socket: Option<PathBuf>,
    interval_ms: i64,
    timeout_ms: i64,
    histograms: Histograms,
}

impl TargetKey {
    fn of(target: &Target) -> Self {
        Self {
            labels: target.labels.clone(),
            url: target.url.clone(),
            socket: target.socket.clone(),
            interval_ms: target.interval_ms,
            timeout_ms: target.timeout_ms,
            histograms: target.histograms,
        }
    }
}

/// A target that is scraped.
pub(crate) struct Running {
    pub target: Target,
    pub status: Arc<StatusCell>,
    pub metadata: Arc<MetadataCell>,
    pub stop: CancellationToken,
    pub end_series: CancellationToken,
}

impl Running {
    fn end(&self) {
        self.end_series.cancel();
        self.stop.cancel();
    }
}

// How many groups have a target, and where it is in the order.
struct Place {
    at: u64,
    holders: usize,
}

struct Held {
    group: Arc<TargetGroup>,
    targets: Vec<TargetKey>,
    dropped: Vec<Labels>,
    dropped_count: usize,
}

pub(crate) struct Pool {
    pub config: Arc<ScrapeConfig>,
    pub source: Option<Arc<dyn LocalTarget>>,
    /// How its targets are spoken to.
    pub peer: Peer,
    // What requests say of us to targets with the same timeout, which nearly all have.
    headers: Mutex<Option<(i64, Arc<HeaderMap>)>>,
    groups: BTreeMap<GroupKey, Held>,
    places: HashMap<TargetKey, Place>,
    // In the order in which they were found.
    running: BTreeMap<u64, Running>,
    next: u64,
    discovered: usize,
    pub forced: Arc<ForcedError>,
}

impl Pool {
    /// A pool without targets yet.
    pub(crate) fn new(config: &ScrapeConfig, source: Option<Arc<dyn LocalTarget>>) -> Self {
        Self {
            config: Arc::new(config.clone()),
            peer: Peer::new(&config.http),
            headers: Mutex::default(),
            source,
            groups: BTreeMap::new(),
            places: HashMap::new(),
            running: BTreeMap::new(),
            next: 0,
            discovered: 0,
            forced: Arc::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.job_name
    }

    /// What each request to a target with this timeout says of us.
    pub(crate) fn headers(&self, timeout_ms: i64) -> Arc<HeaderMap> {
        let mut kept = self.headers.lock();
        match &*kept {
            Some((timeout, headers)) if *timeout == timeout_ms => headers.clone(),
            _ => {
                let made = Arc::new(headers(&self.config, Duration::from_millis(timeout_ms.unsigned_abs())));
                *kept = Some((timeout_ms, made.clone()));
                made
            }
        }
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Running> {
        self.running.values()
    }

    /// The labels of what relabelling dropped, at most `keep_dropped_targets`; all where that is 0.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = &Labels> {
        self.groups
            .values()
            .flat_map(|held| &held.dropped)
            .take(self.keep_dropped())
    }

    pub(crate) fn dropped_count(&self) -> usize {
        self.groups.values().map(|held| held.dropped_count).sum()
    }

    fn keep_dropped(&self) -> usize {
        match self.config.defaults.limits.keep_dropped_targets {
            0 => usize::MAX,
            keep => usize::try_from(keep).unwrap_or(usize::MAX),
        }
    }

    /// Takes `config` as its configuration and the groups that stand in it; those of discovery stay. Targets that are
    /// scraped in the same way as before go on.
    pub(crate) fn reload(&mut self, config: &ScrapeConfig, starter: &Starter<'_>) -> Synced {
        let is_same = same_scraping(&self.config, config);
        let is_derived_anew = !is_same
            || self.config.relabel_configs != config.relabel_configs
            || self.config.defaults.limits.keep_dropped_targets != config.defaults.limits.keep_dropped_targets;
        self.config = Arc::new(config.clone());
        self.peer = Peer::new(&config.http);
        self.headers = Mutex::default();
        if !is_same {
            self.places.clear();
            self.groups.values_mut().for_each(|held| held.targets.clear());
            let gone = std::mem::take(&mut self.running);
            gone.values().for_each(Running::end);
        }
        let mut changes: Vec<(GroupKey, Option<Arc<TargetGroup>>)> = Vec::new();
        let own: HashMap<GroupKey, &TargetGroup> = config
            .static_configs
            .iter()
            .map(|group| ((STATIC, Arc::from(group.source.as_str())), group))
            .collect();
        for (key, held) in &self.groups {
            if key.0 == STATIC && !own.contains_key(key) {
                changes.push((key.clone(), None));
            } else if is_derived_anew && key.0 != STATIC {
                changes.push((key.clone(), Some(held.group.clone())));
            }
        }
        for group in &config.static_configs {
            let key: GroupKey = (STATIC, group.source.as_str().into());
            if is_derived_anew || self.groups.get(&key).is_none_or(|held| *held.group != *group) {
                changes.push((key, Some(Arc::new(group.clone()))));
            }
        }
        self.sync(changes, starter)
    }

    /// Takes over what changed: begins and ends targets, and leaves all others alone.
    pub(crate) fn sync(&mut self, changes: Vec<(GroupKey, Option<Arc<TargetGroup>>)>, starter: &Starter<'_>) -> Synced {
        let mut synced = Synced::default();
        let mut left: Vec<TargetKey> = Vec::new();
        for (key, group) in changes {
            let held = group.map(|group| self.hold(group, starter, &mut synced));
            self.discovered += held.as_ref().map_or(0, |held| held.group.targets.len());
            let old = match held {
                Some(held) => self.groups.insert(key, held),
                None => self.groups.remove(&key),
            };
            if let Some(old) = old {
                self.discovered -= old.group.targets.len();
                left.extend(old.targets);
            }
        }
        // Only now: a target that moved from one group to another goes on.
        for key in left {
            let Some(place) = self.places.get_mut(&key) else {
                continue;
            };
            place.holders -= 1;
            if place.holders == 0 {
                if let Some(gone) = self.running.remove(&place.at) {
                    gone.end();
                    synced.ended += 1;
                }
                self.places.remove(&key);
            }
        }
        self.check_limit(starter.metrics);
        let name = self.name();
        starter.metrics.targets.with(&[name]).set(self.running.len() as f64);
        starter
            .metrics
            .discovered
            .with(&["scrape", name])
            .set(self.discovered as f64);
        synced
    }

    fn hold(&mut self, group: Arc<TargetGroup>, starter: &Starter<'_>, synced: &mut Synced) -> Held {
        let Derived {
            active,
            mut dropped,
            failed,
        } = derive(&self.config, &group);
        synced.relabelled += group.targets.len();
        for (labels, error) in &failed {
            starter.metrics.sync_failed.with(&[self.name()]).inc();
            warn!(pool = self.name(), labels = %labels, %error, "cannot make a target");
        }
        let mut targets = Vec::with_capacity(active.len());
        for target in active {
            let key = TargetKey::of(&target);
            match self.places.get_mut(&key) {
                Some(place) => {
                    place.holders += 1;
                    if let Some(running) = self.running.get_mut(&place.at) {
                        running.target.discovered = target.discovered;
                    }
                }
                None => {
                    self.next += 1;
                    let place = Place {
                        at: self.next,
                        holders: 1,
                    };
                    let running = starter.start(self, target);
                    self.running.insert(place.at, running);
                    self.places.insert(key.clone(), place);
                    synced.started += 1;
                }
            }
            targets.push(key);
        }
        let dropped_count = dropped.len();
        dropped.truncate(self.keep_dropped());
        Held {
            group,
            targets,
            dropped,
            dropped_count,
        }
    }

    // More targets than may be: each scrape fails with the reason, as upstream, so that it is seen.
    fn check_limit(&self, metrics: &Metrics) {
        let (limit, count) = (self.config.defaults.limits.target_limit, self.running.len());
        metrics.target_limit.with(&[self.name()]).set(limit as f64);
        if limit == 0 || count as u64 <= limit {
            self.forced.set(None);
            return;
        }
        metrics.exceeded_target_limit.inc();
        let error = format!("target_limit exceeded (number of targets: {count}, limit: {limit})");
        if self.forced.set(Some(error.clone())) {
            warn!(pool = self.name(), error, "no target of the pool is scraped");
        }
    }

    /// Ends all targets.
    pub(crate) fn end(&self, metrics: &Metrics) {
        self.running.values().for_each(Running::end);
        metrics.forget_pool(self.name());
    }
}

// Whether a target of `a` is scraped just as one of `b`: how targets are found does not matter.
fn same_scraping(a: &ScrapeConfig, b: &ScrapeConfig) -> bool {
    let without_targets = |config: &ScrapeConfig| {
        let mut config = ScrapeConfig {
            static_configs: Vec::new(),
            discovery: Vec::new(),
            relabel_configs: Vec::new(),
            ..config.clone()
        };
        config.defaults.limits.target_limit = 0;
        config.defaults.limits.keep_dropped_targets = 0;
        config
    };
    without_targets(a) == without_targets(b)
}
