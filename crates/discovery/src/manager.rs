//! Which providers run, and when what they found is handed on.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cupola_config::prometheus::{DiscoveryConfig, GroupChange, TargetGroup};
use cupola_env::Clock;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::metrics::DiscoveryMetrics;
use crate::provider::{Provider, ProviderStatus, Updates, run};
use crate::restart::keep_running;

/// Changes are handed on at most this often, unless somebody asks for another interval; as upstream does (`updatert`).
pub const UPDATE_EVERY: Duration = Duration::from_secs(5);
// What a provider finds first is handed on after so much: several that start together are one update.
const SETTLE: Duration = Duration::from_millis(50);

/// One consumer's set of providers: a scrape job, or a group of Alertmanagers.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoverySet {
    /// Unique within a manager.
    pub name: String,
    /// What finds its targets.
    pub configs: Vec<DiscoveryConfig>,
}

/// What changed in one set.
#[derive(Debug, Clone, PartialEq)]
pub struct SetUpdate {
    /// The set's name.
    pub set: String,
    /// The groups that are new, other than before, or gone.
    pub changes: Vec<GroupChange>,
}

/// Takes what changed. It is called where blocking is allowed, one call at a time.
pub type Sink = Arc<dyn Fn(Vec<SetUpdate>) + Send + Sync>;

type Key = (u64, Arc<str>);

#[derive(Default)]
struct State {
    providers: Vec<Provider>,
    next_id: u64,
    // The groups of each set that the sink has not been told of.
    pending: BTreeMap<String, HashSet<Key>>,
    // Whether something waits that should not wait for the next regular update.
    is_urgent: bool,
    // Until when changes are held back unless they are urgent.
    hold_until: Option<Instant>,
}

pub(crate) struct Inner {
    name: &'static str,
    state: Mutex<State>,
    // Held while the sink is called.
    delivering: Mutex<()>,
    changed: Notify,
    sink: Sink,
    interval: Duration,
    pub(crate) metrics: DiscoveryMetrics,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: TaskTracker,
    stop: CancellationToken,
}

/// Runs providers and hands on what they find. Cloning shares it.
#[derive(Clone)]
pub struct DiscoveryManager(Arc<Inner>);

impl DiscoveryManager {
    /// A manager without providers; all its tasks end when `stop` is cancelled. `name` is the label of its metrics:
    /// `scrape` or `notify`. Changes are handed on at most every `interval`. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(
        name: &'static str,
        metrics: DiscoveryMetrics,
        clock: Arc<dyn Clock>,
        sink: Sink,
        stop: CancellationToken,
        interval: Duration,
    ) -> Self {
        // There from the start, so that the first of each is an increase.
        for counter in [&metrics.received, &metrics.sent, &metrics.delayed] {
            drop(counter.with(&[name]));
        }
        metrics.failed_configs.with(&[name]).set(0.0);
        let inner = Arc::new(Inner {
            name,
            state: Mutex::default(),
            delivering: Mutex::default(),
            changed: Notify::new(),
            sink,
            interval,
            metrics,
            clock,
            tasks: TaskTracker::new(),
            stop,
        });
        inner.tasks.spawn(inner.clone().hand_on());
        Self(inner)
    }

    /// Runs exactly the providers of `sets`. A provider whose configuration has not changed goes on, whichever sets
    /// have it now; sets that are new get what it has found already. Groups of providers that are gone are told as gone,
    /// together with what the new ones find first.
    ///
    /// Blocks while the sink is being called. Must be called within a tokio runtime.
    pub fn apply(&self, sets: &[DiscoverySet]) {
        // What the sink is told after this is of these sets.
        let _quiet = self.0.delivering.lock();
        let mut state = self.0.state.lock();
        let state = &mut *state;
        let mut old = std::mem::take(&mut state.providers);
        let mut before: Vec<(u64, Vec<String>)> = old.iter_mut().map(|p| (p.id, std::mem::take(&mut p.sets))).collect();
        let mut started = Vec::new();
        for set in sets {
            for config in &set.configs {
                let known = state.providers.iter().position(|p| p.config == *config);
                let at = known.unwrap_or_else(|| {
                    let provider = match old.iter().position(|p| p.config == *config) {
                        Some(at) => old.swap_remove(at),
                        None => {
                            state.next_id += 1;
                            started.push(state.next_id);
                            let stop = self.0.stop.child_token();
                            Provider::new(state.next_id, config.clone(), set.name.clone(), stop)
                        }
                    };
                    state.providers.push(provider);
                    state.providers.len() - 1
                });
                if let Some(provider) = state.providers.get_mut(at)
                    && !provider.sets.contains(&set.name)
                {
                    provider.sets.push(set.name.clone());
                }
            }
        }
        // What is waiting for sets that are gone is of no use to anybody.
        state.pending.retain(|name, _| sets.iter().any(|set| set.name == *name));
        let (mut has_losses, mut has_gains) = (false, false);
        for provider in state.providers.iter().chain(&old) {
            let at = before.iter().position(|(id, _)| *id == provider.id);
            let had = at.map(|at| before.swap_remove(at).1).unwrap_or_default();
            let mut tell = |names: &[String], others: &[String]| {
                let mut has_told = false;
                for name in names.iter().filter(|name| !others.contains(name)) {
                    if sets.iter().any(|set| set.name == *name) && !provider.groups.is_empty() {
                        let keys = provider.groups.keys().map(|source| (provider.id, source.clone()));
                        state.pending.entry(name.clone()).or_default().extend(keys);
                        has_told = true;
                    }
                }
                has_told
            };
            has_losses |= tell(&had, &provider.sets);
            has_gains |= tell(&provider.sets, &had);
        }
        for gone in old {
            gone.stop.cancel();
            let labels = [gone.config.mechanism(), &gone.label];
            if !state
                .providers
                .iter()
                .any(|p| [p.config.mechanism(), &p.label] == labels)
            {
                self.0.metrics.refresh_failures.remove(&labels);
            }
        }
        for provider in state.providers.iter().filter(|p| started.contains(&p.id)) {
            self.start(provider);
        }
        if has_losses && !started.is_empty() {
            state.hold_until = Some(Instant::now() + self.0.interval);
        }
        state.is_urgent |= has_gains || (has_losses && started.is_empty());
        if has_gains || has_losses {
            self.0.changed.notify_one();
        }
    }

    fn start(&self, provider: &Provider) {
        let updates = Updates::new(self.0.clone(), provider);
        let (config, stop) = (provider.config.clone(), provider.stop.clone());
        self.0.tasks.spawn(async move {
            let what = format!("the provider {}", config.mechanism());
            let begin = || run(config.clone(), updates.clone());
            tokio::select! {
                () = stop.cancelled() => {}
                () = keep_running(updates.clone(), what, begin) => {}
            }
        });
    }

    /// `scrape` or `notify`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// All providers, in the order of their sets.
    #[must_use]
    pub fn status(&self) -> Vec<ProviderStatus> {
        self.0.state.lock().providers.iter().map(Provider::status).collect()
    }

    /// Ends when all tasks have ended; cancel the token given to [`DiscoveryManager::new`] first.
    pub async fn stopped(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Inner {
    /// Takes what a provider found; groups that are as before change nothing.
    pub(crate) fn received(&self, id: u64, groups: Vec<TargetGroup>, is_all: bool) {
        self.metrics.received.with(&[self.name]).inc();
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(provider) = state.providers.iter_mut().find(|p| p.id == id) else {
            return;
        };
        let mut changed: Vec<Arc<str>> = Vec::new();
        let mut named: HashSet<Arc<str>> = HashSet::new();
        for group in groups {
            let source: Arc<str> = group.source.as_str().into();
            named.insert(source.clone());
            if group.targets.is_empty() {
                if provider.groups.remove(&source).is_some() {
                    changed.push(source);
                }
            } else if provider.groups.get(&source).is_none_or(|known| **known != group) {
                provider.groups.insert(source.clone(), Arc::new(group));
                changed.push(source);
            }
        }
        if is_all {
            provider.groups.retain(|source, _| {
                let stays = named.contains(source);
                if !stays {
                    changed.push(source.clone());
                }
                stays
            });
        }
        // Also where it found nothing: who waits for the first answer waits no longer.
        let is_first = !std::mem::replace(&mut provider.has_told, true);
        let is_awaited = is_first && !state.pending.is_empty();
        if changed.is_empty() && !is_awaited {
            return;
        }
        for set in &provider.sets {
            let keys = changed.iter().map(|source| (id, source.clone()));
            state.pending.entry(set.clone()).or_default().extend(keys);
        }
        state.is_urgent |= is_first;
        self.changed.notify_one();
    }

    /// Calls `change` with the provider, where it still runs.
    pub(crate) fn with(&self, id: u64, change: impl FnOnce(&mut Provider)) {
        if let Some(provider) = self.state.lock().providers.iter_mut().find(|p| p.id == id) {
            change(provider);
        }
    }

    async fn hand_on(self: Arc<Self>) {
        let mut last: Option<Instant> = None;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.changed.notified() => {}
            }
            let mut soon: Option<Instant> = None;
            let mut is_delayed = false;
            loop {
                let (is_urgent, hold) = {
                    let state = self.state.lock();
                    (state.is_urgent, state.hold_until)
                };
                let now = Instant::now();
                let regular = last.map(|last| last + self.interval).max(hold).unwrap_or(now);
                if is_urgent {
                    soon.get_or_insert(now + SETTLE);
                }
                let due = soon.unwrap_or(regular);
                if due <= now {
                    break;
                }
                if !is_urgent && !std::mem::replace(&mut is_delayed, true) {
                    self.metrics.delayed.with(&[self.name]).inc();
                }
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                }
            }
            let inner = self.clone();
            if let Err(broken) = tokio::task::spawn_blocking(move || inner.deliver()).await {
                error!(error = %broken, "handing on discovered targets broke off");
            }
            last = Some(Instant::now());
        }
    }

    fn deliver(&self) {
        let _one = self.delivering.lock();
        let updates: Vec<SetUpdate> = {
            let mut state = self.state.lock();
            state.is_urgent = false;
            state.hold_until = None;
            let pending = std::mem::take(&mut state.pending);
            let find = |set: &str, (id, source): &Key| {
                let provider = state.providers.iter().find(|p| p.id == *id)?;
                let is_wanted = provider.sets.iter().any(|s| s == set);
                provider.groups.get(source).filter(|_| is_wanted).cloned()
            };
            let change = |set: &str, key: Key| GroupChange {
                group: find(set, &key),
                provider: key.0,
                source: key.1,
            };
            pending
                .into_iter()
                .filter(|(_, keys)| !keys.is_empty())
                .map(|(set, keys)| SetUpdate {
                    changes: keys.into_iter().map(|key| change(&set, key)).collect(),
                    set,
                })
                .collect()
        };
        if updates.is_empty() {
            return;
        }
        self.metrics.sent.with(&[self.name]).inc();
        (self.sink)(updates);
    }
}

#[cfg(test)]
mod tests;
