//! The Alertmanager: what comes in, which groups it falls into, and what a new configuration changes (Alertmanager 0.34).

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use cupola_cluster::Cluster;
use cupola_config::AlertmanagerConfig;
use cupola_env::{Clock, Vfs};
use cupola_metrics::Registry;
use cupola_model::{Alert, AlertSink, Labels};
use cupola_notify::{Integration, Saying, TemplateError, Templates, Tested, try_receiver};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::acks::Acks;
use crate::deliver::{Channel, Delivery};
use crate::events::{Event, EventLog, Happening, Suppression};
use crate::group::{self, Group, ms};
use crate::inhibit::Inhibitor;
use crate::metrics::Metrics;
use crate::nflog::{NotificationLog, alert_hash};
use crate::recurring::Recurring;
use crate::replicate;
use crate::route::Tree;
use crate::silences::{SilenceLimits, Silences};
use crate::state::{Disk, StateError};
use crate::store::{Store, StoredAlert};

/// Messages kept for the pages.
pub(crate) const HISTORY: usize = 200;

// How long an integration that is tried out may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A route's place in the tree and the labels that make the group.
pub(crate) type GroupId = (usize, Labels);

/// Why a configuration cannot be used although it parses, or the state of an earlier process.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A template file or text is broken.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What an Alertmanager is told beside its configuration. The defaults are Alertmanager's.
#[derive(Clone)]
pub struct Options {
    /// For links back, without a slash at its end.
    pub external_url: String,
    /// Where silences, alerts and what was told survive the process; `None` keeps them in memory alone.
    pub state: Option<(Arc<dyn Vfs>, PathBuf)>,
    /// How long expired silences and entries of the notification log stay.
    pub retention: Duration,
    /// How often the state's files are written anew.
    pub maintenance_interval: Duration,
    /// How often resolved alerts are forgotten.
    pub gc_interval: Duration,
    /// How many silences, and how large.
    pub silence_limits: SilenceLimits,
    /// The most alerts of one name; 0 is no limit.
    pub per_alertname_limit: usize,
    /// Nothing is told before this has passed since the start.
    pub start_delay: Duration,
    /// Only label names that Prometheus 2 knew (`classic-mode`).
    pub legacy_names: bool,
    /// How long it can be asked why something was told.
    pub history_retention: Duration,
    /// The other members; none, unless it is one of several.
    pub cluster: Option<Cluster>,
    /// What becomes of silences is told in the log.
    pub log_silences: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            external_url: String::new(),
            state: None,
            retention: Duration::from_secs(120 * 3600),
            maintenance_interval: Duration::from_secs(15 * 60),
            gc_interval: Duration::from_secs(30 * 60),
            silence_limits: SilenceLimits::default(),
            per_alertname_limit: 0,
            start_delay: Duration::ZERO,
            legacy_names: false,
            history_retention: Duration::from_secs(120 * 3600),
            cluster: None,
            log_silences: false,
        }
    }
}

/// A configuration with everything made from it.
pub(crate) struct Loaded {
    pub config: AlertmanagerConfig,
    pub tree: Tree,
    pub integrations: HashMap<String, Vec<Channel>>,
    templates: Arc<Templates>,
}

impl Loaded {
    fn new(
        config: AlertmanagerConfig,
        template_files: &[(String, String)],
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, LoadError> {
        let clock = clock.clone();
        let templates = Arc::new(Templates::new(template_files, move || clock.now_ms())?);
        let channels = |integrations: Vec<Integration>| integrations.into_iter().map(|i| Channel::Real(Box::new(i)));
        let integrations = config
            .receivers
            .iter()
            .map(|r| (r.name.clone(), channels(Integration::of(r, &templates)).collect()))
            .collect();
        Ok(Self {
            tree: Tree::new(&config.route),
            config,
            integrations,
            templates,
        })
    }

    /// Whether the time alone keeps a group quiet.
    pub(crate) fn muting(&self, group: &Group, now: i64) -> Option<Suppression> {
        muting(&self.config, &group.active, &group.mute, now)
    }
}

/// Whether the time alone keeps alerts of a route with these active and mute time intervals quiet.
pub(crate) fn muting(
    config: &AlertmanagerConfig,
    active: &Arc<[String]>,
    mute: &Arc<[String]>,
    now: i64,
) -> Option<Suppression> {
    let inside = |name: &&String| {
        let named = config.time_intervals.iter().find(|t| t.name == **name);
        named.is_some_and(|t| t.intervals.iter().any(|i| i.contains(now.div_euclid(1000))))
    };
    if !active.is_empty() && !active.iter().any(|name| inside(&name)) {
        return Some(Suppression::Inactive(active.clone()));
    }
    let muting: Vec<String> = mute.iter().filter(inside).cloned().collect();
    (!muting.is_empty()).then(|| Suppression::Muted(muting.into()))
}

/// Alerts and the groups they are in.
pub(crate) struct State {
    pub store: Store,
    pub groups: HashMap<GroupId, Arc<Group>>,
    pub inhibitor: Inhibitor,
    /// Resolved alerts whose end was noted.
    pub ended: HashSet<u64>,
}

impl State {
    /// The alert that mutes this one, and the rule's name.
    pub(crate) fn inhibiting(&self, alert: &StoredAlert, now: i64) -> Option<(u64, &str)> {
        if self.inhibitor.is_empty() {
            return None;
        }
        let firing = |id| {
            let source = self.store.get(id).filter(|source| !source.is_resolved(now));
            source.map(|source| &source.labels)
        };
        self.inhibitor.inhibiting(alert.fingerprint, &alert.labels, firing)
    }
}

pub(crate) struct Inner {
    pub loaded: Mutex<Arc<Loaded>>,
    // Lock order: state, then `loaded`, a group's alerts or the log; a group's alerts, then what is suppressed of them;
    // changing silences, then these, then the disk's journal. Only `changing_silences` is held while the disk is waited for.
    pub state: Mutex<State>,
    pub silences: Mutex<Silences>,
    // Held from the plan of a change until it is made.
    pub changing_silences: Mutex<()>,
    pub nflog: Mutex<NotificationLog>,
    pub disk: Option<Disk>,
    pub cluster: Option<Cluster>,
    pub events: EventLog,
    pub acks: Acks,
    pub recurring: Recurring,
    pub history: Mutex<VecDeque<Delivery>>,
    pub sending: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub external_url: String,
    pub retention_ms: i64,
    pub runtime: Handle,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    // Nothing is told before.
    tell_from: Instant,
}

/// Routes, groups and delivers alerts. Cloning shares it.
#[derive(Clone)]
pub struct Alertmanager {
    pub(crate) inner: Arc<Inner>,
}

impl Alertmanager {
    /// An Alertmanager that runs on the current tokio runtime until `stop` is cancelled. It goes on where the process
    /// before it ended, also where that was killed.
    ///
    /// `template_files` are names and contents of the files that the configuration's `templates` found.
    ///
    /// # Errors
    /// [`LoadError`] where a template is broken or the state cannot be read.
    pub fn new(
        config: AlertmanagerConfig,
        template_files: &[(String, String)],
        options: Options,
        clock: Arc<dyn Clock>,
        registry: &Registry,
        stop: CancellationToken,
    ) -> Result<Self, LoadError> {
        let loaded = Loaded::new(config, template_files, &clock)?;
        let (disk, found) = match options.state.clone() {
            None => (None, None),
            Some((vfs, dir)) => {
                let (disk, found) = Disk::open(vfs, dir)?;
                (Some(disk), Some(found))
            }
        };
        let retention_ms = ms(options.retention);
        let state = State {
            store: Store::default(),
            groups: HashMap::new(),
            inhibitor: Inhibitor::new(&loaded.config.inhibit_rules),
            ended: HashSet::new(),
        };
        let inner = Inner {
            loaded: Mutex::new(Arc::new(loaded)),
            state: Mutex::new(state),
            changing_silences: Mutex::default(),
            silences: Mutex::new(Silences::new(
                retention_ms,
                options.silence_limits,
                options.legacy_names,
            )),
            nflog: Mutex::default(),
            disk,
            cluster: options.cluster.clone(),
            events: EventLog::new(ms(options.history_retention)),
            acks: Acks::new(retention_ms, options.cluster.is_some()),
            recurring: Recurring::default(),
            history: Mutex::default(),
            sending: Mutex::default(),
            clock,
            metrics: Metrics::new(registry),
            external_url: options.external_url.clone(),
            retention_ms,
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            stop,
            tell_from: Instant::now() + options.start_delay,
        };
        inner.state.lock().store.limit = options.per_alertname_limit;
        let manager = Self { inner: Arc::new(inner) };
        manager.inner.count_parts();
        manager.inner.register(registry);
        if let Some(found) = found {
            manager.inner.restore(found);
            manager.inner.make_recurring();
        }
        if options.log_silences {
            let now = manager.now_ms();
            manager.inner.silences.lock().log_changes(now);
        }
        manager.inner.spawn_upkeep(&options);
        if let Some(cluster) = &options.cluster {
            replicate::join(cluster, &manager.inner);
        }
        Ok(manager)
    }

    /// Takes a new configuration: all groups are made anew, what was told is remembered.
    ///
    /// # Errors
    /// [`LoadError`]; the old configuration goes on.
    pub fn reload(&self, config: AlertmanagerConfig, template_files: &[(String, String)]) -> Result<(), LoadError> {
        let inner = &self.inner;
        let loaded = Arc::new(Loaded::new(config, template_files, &inner.clock)?);
        let now = inner.clock.now_ms();
        // The inhibitor knows its sources before the first of the new groups tells anything.
        let mut inhibitor = Inhibitor::new(&loaded.config.inhibit_rules);
        let alerts: Vec<Arc<StoredAlert>> = {
            let mut state = inner.state.lock();
            *inner.loaded.lock() = loaded;
            for (_, group) in state.groups.drain() {
                group.stop.cancel();
            }
            for alert in state.store.iter().filter(|a| !a.is_resolved(now)) {
                inhibitor.insert(alert.fingerprint, &alert.labels);
            }
            state.inhibitor = inhibitor;
            state.store.iter().cloned().collect()
        };
        inner.route(&alerts, now, Timing::New);
        inner.count_parts();
        info!("alertmanager configuration loaded");
        Ok(())
    }

    /// Sends one message through all integrations of a receiver, past routes, groups and silences; nothing of it is
    /// remembered. `None` where there is no such receiver. Alertmanager has no such thing.
    pub async fn test_receiver(&self, name: &str, saying: Saying) -> Option<Vec<Tested>> {
        let inner = &self.inner;
        let loaded = inner.loaded.lock().clone();
        let receiver = loaded.config.receivers.iter().find(|receiver| receiver.name == name)?;
        let now = inner.clock.now_ms();
        let tried = try_receiver(receiver, &loaded.templates, &inner.external_url, saying, now, PATIENCE);
        Some(tried.await)
    }

    /// Ends when all groups have ended and the state is on disk; cancel the token given to [`Alertmanager::new`] first.
    /// Messages that are on their way get a few seconds to arrive; the other members are told what arrived, and goodbye.
    pub async fn stopped(&self) {
        self.inner.tasks.close();
        let _ = tokio::time::timeout(group::LAST_WORDS, self.inner.tasks.wait()).await;
        let inner = self.inner.clone();
        let write = move || {
            // What has ended is over for the next process, too.
            inner.sweep();
            inner.write_events();
            inner.write_state();
        };
        let written = tokio::task::spawn_blocking(write);
        if let Some(cluster) = &self.inner.cluster {
            cluster.leave().await;
        }
        let _ = written.await;
    }
}

impl AlertSink for Alertmanager {
    fn post(&self, alerts: &[Alert]) {
        self.inner.put(alerts.iter().filter(|a| !a.labels.is_empty()));
    }
}

/// When the groups that are made begin to tell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timing {
    /// As Alertmanager has it.
    New,
    /// Those that were told something before the restart go on in their rhythm.
    Restored,
}

impl Inner {
    pub(crate) fn put<'a>(self: &Arc<Self>, alerts: impl Iterator<Item = &'a Alert>) {
        let begin = std::time::Instant::now();
        let now = self.clock.now_ms();
        let resolve_timeout = ms(self.loaded.lock().config.resolve_timeout);
        let mut put = Vec::new();
        let mut news = Vec::new();
        let mut events = Vec::new();
        let mut over = Vec::new();
        let (mut firing, mut resolved) = (0_u32, 0_u32);
        {
            let mut state = self.state.lock();
            for alert in alerts {
                let is_over = alert.is_resolved(now);
                *(if is_over { &mut resolved } else { &mut firing }) += 1;
                let event = |what| Event {
                    at: now,
                    fingerprint: alert.labels.fingerprint(),
                    labels: alert.labels.clone(),
                    what,
                };
                let Some(done) = state.store.put(alert, now, resolve_timeout) else {
                    self.metrics.limited.inc();
                    events.push(event(Happening::Refused));
                    continue;
                };
                let (id, is_over) = (done.alert.fingerprint, done.alert.is_resolved(now));
                if is_over && state.ended.insert(id) {
                    over.push(id);
                    state.inhibitor.remove(id, &done.alert.labels);
                    if done.was_firing {
                        events.push(event(Happening::Resolved { by_timeout: false }));
                    }
                } else if !is_over && !done.was_firing {
                    state.ended.remove(&id);
                    state.inhibitor.insert(id, &done.alert.labels);
                    events.push(event(Happening::Fired));
                }
                if done.is_news {
                    news.push(done.alert.clone());
                }
                put.push(done.alert);
            }
        }
        self.metrics.received.with(&["firing", "v2"]).add(f64::from(firing));
        self.metrics.received.with(&["resolved", "v2"]).add(f64::from(resolved));
        if !over.is_empty() {
            self.end_acknowledgements(over, now);
        }
        self.events.note(events);
        // In memory first: a snapshot that begins now has them, and what goes to the journal later comes once more.
        if let Some(disk) = &self.disk {
            disk.keep_alerts(news.iter().map(AsRef::as_ref));
        }
        self.route(&put, now, Timing::New);
        self.metrics.processing.observe(begin.elapsed().as_secs_f64());
    }

    /// Puts alerts into the group of each route that they take; makes groups that do not exist yet.
    pub(crate) fn route(self: &Arc<Self>, alerts: &[Arc<StoredAlert>], now: i64, timing: Timing) {
        let mut events = Vec::new();
        let mut state = self.state.lock();
        // Not before the state is held: a reload changes both together.
        let loaded = self.loaded.lock().clone();
        for alert in alerts {
            for at in loaded.tree.taken(&alert.labels) {
                let Some(node) = loaded.tree.node(at) else { continue };
                let id = (at, node.group_labels(&alert.labels));
                if let Some(group) = state.groups.get(&id) {
                    // One that was resolved long ago is nothing new for the group after a restart.
                    let is_over = alert.is_resolved(now);
                    if timing == Timing::Restored && is_over && !self.is_believed_firing(group, alert) {
                        continue;
                    }
                    let is_first = group.alerts.lock().insert(alert.fingerprint, alert.clone()).is_none();
                    if is_first {
                        events.push(grouped(alert, group, now));
                    }
                    continue;
                }
                let group = self.new_group(at, node, &id.1, alert, now, timing);
                if alert.is_resolved(now) && !self.is_believed_firing(&group.0, alert) {
                    // Nobody was told that it fired, so nobody needs to hear that it does not.
                    continue;
                }
                let (group, wait) = group;
                events.push(grouped(alert, &group, now));
                state.groups.insert(id.clone(), group.clone());
                self.tasks
                    .spawn_on(group::run(self.clone(), group, id, wait), &self.runtime);
            }
        }
        drop(state);
        self.events.note(events);
    }

    fn is_believed_firing(&self, group: &Group, alert: &StoredAlert) -> bool {
        let log = self.nflog.lock();
        log.believes_firing(&group.key, &group.receiver, alert_hash(&alert.labels))
    }

    fn new_group(
        &self,
        at: usize,
        node: &crate::route::Node,
        labels: &Labels,
        alert: &Arc<StoredAlert>,
        now: i64,
        timing: Timing,
    ) -> (Arc<Group>, Duration) {
        let key: Arc<str> = format!("{}:{labels}", node.key).into();
        // An alert that has waited elsewhere is not made to wait again.
        let has_waited = alert.starts_at.saturating_add(ms(node.group_wait)) < now;
        let mut wait = if has_waited { Duration::ZERO } else { node.group_wait };
        if timing == Timing::Restored
            && let Some(told) = self.nflog.lock().last_told(&key, &node.receiver)
        {
            let due = told.saturating_add(ms(node.group_interval)).saturating_sub(now);
            wait = Duration::from_millis(due.max(0).unsigned_abs()).min(node.group_interval);
        }
        wait = wait.max(self.tell_from.saturating_duration_since(Instant::now()));
        let group = Group {
            node: at,
            key,
            labels: labels.clone(),
            receiver: node.receiver.clone(),
            interval: node.group_interval,
            repeat_ms: ms(node.repeat_interval),
            mute: node.mute.clone(),
            active: node.active.clone(),
            route_labels: node.labels.clone(),
            alerts: Mutex::new(HashMap::from([(alert.fingerprint, alert.clone())])),
            suppressed: Mutex::default(),
            next_flush: AtomicI64::new(now.saturating_add(ms(wait))),
            held_at: AtomicI64::new(i64::MIN),
            stop: self.stop.child_token(),
        };
        (Arc::new(group), wait)
    }

    fn count_parts(&self) {
        let loaded = self.loaded.lock().clone();
        self.metrics.receivers.set(loaded.config.receivers.len() as f64);
        let integrations: usize = loaded.integrations.values().map(Vec::len).sum();
        self.metrics.integrations.set(integrations as f64);
        self.metrics
            .inhibition_rules
            .set(loaded.config.inhibit_rules.len() as f64);
    }
}

fn grouped(alert: &StoredAlert, group: &Group, now: i64) -> Event {
    Event {
        at: now,
        fingerprint: alert.fingerprint,
        labels: alert.labels.clone(),
        what: Happening::Grouped {
            receiver: group.receiver.clone(),
            group_key: group.key.clone(),
            flush_at: group.next_flush.load(Ordering::Relaxed),
        },
    }
}

#[cfg(test)]
mod tests;
