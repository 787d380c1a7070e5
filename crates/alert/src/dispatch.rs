//! Groups and their timers (Alertmanager 0.34, `dispatch`).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cupola_config::AlertmanagerConfig;
use cupola_env::Clock;
use cupola_metrics::Registry;
use cupola_model::{ALERTNAME, Alert, AlertSink, Labels};
use cupola_notify::{Integration, Notification, NotifiedAlert, TemplateError, Templates};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::dedup::{self, Told};
use crate::deliver::{Delivery, deliver};
use crate::inhibit::Inhibitor;
use crate::metrics::Metrics;
use crate::route::{self, RouteId};
use crate::store::{Store, Stored};

// Messages kept for the pages.
const HISTORY: usize = 200;
// Resolved alerts are forgotten after this; a group keeps its own copy until it has told of them.
const KEEP_RESOLVED_MS: i64 = 30 * 60_000;
// A flush may take the group's interval, but at least this.
const SHORTEST_FLUSH: Duration = Duration::from_secs(10);

/// Why a configuration cannot be used although it parses.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A template file or text is broken.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// One group at one moment, for the pages.
#[derive(Debug, Clone)]
pub struct GroupView {
    /// The receiver's name.
    pub receiver: String,
    /// Route and labels.
    pub key: String,
    /// The labels that make the group.
    pub labels: Labels,
    /// When it next looks for news, milliseconds.
    pub next_flush: i64,
    /// Its alerts.
    pub alerts: Vec<ViewedAlert>,
}

/// One alert of a group, for the pages.
#[derive(Debug, Clone)]
pub struct ViewedAlert {
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// Since when, milliseconds.
    pub starts_at: i64,
    /// When it ended; `None` while it fires.
    pub ends_at: Option<i64>,
}

// A configuration with everything made from it.
struct Loaded {
    config: AlertmanagerConfig,
    integrations: HashMap<String, Vec<Integration>>,
}

impl Loaded {
    fn new(
        config: AlertmanagerConfig,
        template_files: &[(String, String)],
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, LoadError> {
        let clock = clock.clone();
        let templates = Arc::new(Templates::new(template_files, move || clock.now_ms())?);
        let integrations = config
            .receivers
            .iter()
            .map(|r| (r.name.clone(), Integration::of(r, &templates)))
            .collect();
        Ok(Self { config, integrations })
    }
}

struct Group {
    key: String,
    labels: Labels,
    receiver: String,
    wait_ms: i64,
    interval: Duration,
    repeat_ms: i64,
    mute: Vec<String>,
    active: Vec<String>,
    route_labels: BTreeMap<String, String>,
    alerts: Mutex<HashMap<u64, Stored>>,
    next_flush: AtomicI64,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    store: Store,
    groups: HashMap<(RouteId, Labels), Arc<Group>>,
    told: HashMap<(String, String, &'static str, usize), Told>,
}

struct Inner {
    loaded: Mutex<Arc<Loaded>>,
    // Lock order: state before a group's alerts.
    state: Mutex<State>,
    history: Mutex<VecDeque<Delivery>>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    external_url: String,
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Routes, groups and delivers alerts. Cloning shares it.
#[derive(Clone)]
pub struct Alertmanager {
    inner: Arc<Inner>,
}

impl Alertmanager {
    /// An Alertmanager that runs on the current tokio runtime until `stop` is cancelled.
    ///
    /// `template_files` are names and contents of the files that the configuration's `templates` found.
    ///
    /// # Errors
    /// [`LoadError`] where a template is broken.
    pub fn new(
        config: AlertmanagerConfig,
        template_files: &[(String, String)],
        external_url: String,
        clock: Arc<dyn Clock>,
        registry: &Registry,
        stop: CancellationToken,
    ) -> Result<Self, LoadError> {
        let loaded = Mutex::new(Arc::new(Loaded::new(config, template_files, &clock)?));
        let inner = Inner {
            loaded,
            state: Mutex::default(),
            history: Mutex::default(),
            clock,
            metrics: Metrics::new(registry),
            external_url,
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            stop,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes a new configuration: all groups are made anew, what was told is remembered.
    ///
    /// # Errors
    /// [`LoadError`]; the old configuration goes on.
    pub fn reload(&self, config: AlertmanagerConfig, template_files: &[(String, String)]) -> Result<(), LoadError> {
        *self.inner.loaded.lock() = Arc::new(Loaded::new(config, template_files, &self.inner.clock)?);
        let stored: Vec<Stored> = {
            let mut state = self.inner.state.lock();
            for (_, group) in state.groups.drain() {
                group.stop.cancel();
            }
            state.store.iter().cloned().collect()
        };
        let now = self.inner.clock.now_ms();
        for alert in stored.into_iter().filter(|a| !a.is_resolved(now)) {
            self.inner.route(&alert);
        }
        info!("alertmanager configuration loaded");
        Ok(())
    }

    /// The names of all receivers.
    #[must_use]
    pub fn receivers(&self) -> Vec<String> {
        self.inner
            .loaded
            .lock()
            .config
            .receivers
            .iter()
            .map(|r| r.name.clone())
            .collect()
    }

    /// Whether any receiver tells anybody: one without integrations swallows what it gets.
    #[must_use]
    pub fn delivers(&self) -> bool {
        self.inner
            .loaded
            .lock()
            .integrations
            .values()
            .any(|all| !all.is_empty())
    }

    /// All groups, by receiver and labels.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupView> {
        let now = self.inner.clock.now_ms();
        let state = self.inner.state.lock();
        let mut views: Vec<GroupView> = state
            .groups
            .values()
            .map(|group| {
                let alerts = sorted(group.alerts.lock().values().cloned().collect());
                GroupView {
                    receiver: group.receiver.clone(),
                    key: group.key.clone(),
                    labels: group.labels.clone(),
                    next_flush: group.next_flush.load(Ordering::Relaxed),
                    alerts: alerts
                        .into_iter()
                        .map(|a| ViewedAlert {
                            ends_at: a.is_resolved(now).then_some(a.ends_at),
                            labels: a.labels,
                            annotations: a.annotations,
                            starts_at: a.starts_at,
                        })
                        .collect(),
                }
            })
            .collect();
        views.sort_by(|a, b| (&a.receiver, &a.labels, &a.key).cmp(&(&b.receiver, &b.labels, &b.key)));
        views
    }

    /// The latest messages, newest first.
    #[must_use]
    pub fn history(&self) -> Vec<Delivery> {
        self.inner.history.lock().iter().cloned().collect()
    }

    /// Ends when all groups have ended; cancel the token given to [`Alertmanager::new`] first.
    pub async fn stopped(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl AlertSink for Alertmanager {
    fn post(&self, alerts: &[Alert]) {
        let inner = &self.inner;
        let now = inner.clock.now_ms();
        let resolve_timeout = ms(inner.loaded.lock().config.resolve_timeout);
        for alert in alerts.iter().filter(|a| !a.labels.is_empty()) {
            let status = if alert.is_resolved(now) { "resolved" } else { "firing" };
            inner.metrics.received.with(&[status, "v2"]).inc();
            let stored = {
                let mut state = inner.state.lock();
                state.store.forget_resolved(now - KEEP_RESOLVED_MS);
                state.store.put(alert, now, resolve_timeout)
            };
            inner.route(&stored);
        }
    }
}

impl Inner {
    // Puts an alert into the group of each route that it takes; makes groups that do not exist yet.
    fn route(self: &Arc<Self>, alert: &Stored) {
        let loaded = self.loaded.lock().clone();
        let mut state = self.state.lock();
        for taken in route::taken(&loaded.config.route, &alert.labels) {
            let labels = route::group_labels(taken.route, &alert.labels);
            let fingerprint = alert.labels.fingerprint();
            if let Some(group) = state.groups.get(&(taken.id.clone(), labels.clone())) {
                group.alerts.lock().insert(fingerprint, alert.clone());
                continue;
            }
            let now = self.clock.now_ms();
            if alert.is_resolved(now) {
                // Nobody was told that it fired, so nobody needs to hear that it does not.
                continue;
            }
            let route = taken.route;
            // An alert that has waited elsewhere is not made to wait again.
            let waited = alert.starts_at + ms(route.group_wait) < now;
            let group = Arc::new(Group {
                key: format!("{}:{labels}", taken.key),
                labels: labels.clone(),
                receiver: route.receiver.clone(),
                wait_ms: if waited { 0 } else { ms(route.group_wait) },
                interval: route.group_interval,
                repeat_ms: ms(route.repeat_interval),
                mute: route.mute_time_intervals.clone(),
                active: route.active_time_intervals.clone(),
                route_labels: route.labels.clone(),
                alerts: Mutex::new(HashMap::from([(fingerprint, alert.clone())])),
                next_flush: AtomicI64::new(now),
                stop: self.stop.child_token(),
            });
            let id = (taken.id, labels);
            state.groups.insert(id.clone(), group.clone());
            self.tasks.spawn_on(run(self.clone(), group, id), &self.runtime);
        }
    }

    // Tells a group's receiver what is new. True where everything due was delivered.
    async fn flush(self: &Arc<Self>, group: &Arc<Group>) -> bool {
        self.metrics.flushes.inc();
        let now = self.clock.now_ms();
        let loaded = self.loaded.lock().clone();
        let alerts = sorted(group.alerts.lock().values().cloned().collect());
        let heard = self.unmuted(&loaded, group, &alerts, now);
        let firing: BTreeSet<u64> = heard
            .iter()
            .filter(|a| !a.is_resolved(now))
            .map(|a| a.labels.fingerprint())
            .collect();
        let resolved: BTreeSet<u64> = heard
            .iter()
            .filter(|a| a.is_resolved(now))
            .map(|a| a.labels.fingerprint())
            .collect();
        // Where all are muted there is nothing to say, not even that it is over.
        let due_to_speak = !heard.is_empty();
        let deadline = Instant::now() + group.interval.max(SHORTEST_FLUSH);
        let integrations = loaded.integrations.get(&group.receiver).map_or(&[][..], Vec::as_slice);
        // Side by side: one integration that hangs holds up none of the others.
        let mut turns = Vec::new();
        for (index, integration) in integrations.iter().enumerate() {
            let name = (
                group.key.clone(),
                group.receiver.clone(),
                integration.kind(),
                integration.index(),
            );
            let told = self.state.lock().told.get(&name).cloned();
            let due = dedup::reason(
                told.as_ref(),
                now,
                &firing,
                &resolved,
                integration.send_resolved(),
                group.repeat_ms,
            );
            let Some(reason) = due.filter(|_| due_to_speak) else {
                continue;
            };
            let notification = notification(self, group, &heard, now, reason, integration.send_resolved());
            let told = Told {
                at: now,
                firing: firing.clone(),
                resolved: resolved.clone(),
            };
            let (inner, loaded, receiver) = (self.clone(), loaded.clone(), group.receiver.clone());
            turns.push(tokio::spawn(async move {
                let Some(integration) = loaded.integrations.get(&receiver).and_then(|all| all.get(index)) else {
                    return false;
                };
                let report = |delivery| inner.remember(delivery);
                let sent = notification.alerts.is_empty()
                    || deliver(
                        integration,
                        &notification,
                        deadline,
                        &inner.clock,
                        &inner.metrics,
                        &report,
                    )
                    .await;
                if sent {
                    inner.state.lock().told.insert(name, told);
                }
                sent
            }));
        }
        let mut all_sent = true;
        for turn in turns {
            all_sent &= turn.await.unwrap_or(false);
        }
        if all_sent {
            let heard: HashMap<u64, i64> = alerts
                .iter()
                .filter(|a| a.is_resolved(now))
                .map(|a| (a.labels.fingerprint(), a.updated_at))
                .collect();
            // Resolved and told: forgotten, unless it was posted again meanwhile.
            group
                .alerts
                .lock()
                .retain(|id, alert| heard.get(id) != Some(&alert.updated_at));
        }
        all_sent
    }

    fn unmuted(&self, loaded: &Loaded, group: &Group, alerts: &[Stored], now: i64) -> Vec<Stored> {
        let inside = |name: &String| {
            let named = loaded.config.time_intervals.iter().find(|t| t.name == *name);
            named.is_some_and(|t| t.intervals.iter().any(|i| i.contains(now / 1000)))
        };
        let inactive = !group.active.is_empty() && !group.active.iter().any(inside);
        if inactive || group.mute.iter().any(inside) {
            let reason = if inactive {
                "active_time_interval"
            } else {
                "mute_time_interval"
            };
            self.metrics.suppressed.with(&[reason]).add(alerts.len() as f64);
            return Vec::new();
        }
        if loaded.config.inhibit_rules.is_empty() {
            return alerts.to_vec();
        }
        let state = self.state.lock();
        let firing = state.store.iter().filter(|a| !a.is_resolved(now)).map(|a| &a.labels);
        let inhibitor = Inhibitor::new(&loaded.config.inhibit_rules, firing);
        let labels_of = |id| state.store.get(id).map(|a| a.labels.clone());
        let (muted, heard): (Vec<_>, Vec<_>) = alerts
            .iter()
            .cloned()
            .partition(|a| inhibitor.inhibits(&a.labels, labels_of));
        self.metrics.suppressed.with(&["inhibition"]).add(muted.len() as f64);
        heard
    }

    fn remember(&self, delivery: Delivery) {
        let mut history = self.history.lock();
        history.push_front(delivery);
        history.truncate(HISTORY);
    }
}

fn notification(
    inner: &Inner,
    group: &Group,
    heard: &[Stored],
    now: i64,
    reason: &'static str,
    send_resolved: bool,
) -> Notification {
    let told = heard.iter().filter(|a| send_resolved || !a.is_resolved(now));
    let alerts = told.map(|a| NotifiedAlert {
        labels: a.labels.clone(),
        annotations: a.annotations.clone(),
        starts_at: a.starts_at,
        ends_at: a.is_resolved(now).then_some(a.ends_at),
        generator_url: a.generator_url.clone(),
    });
    Notification {
        receiver: group.receiver.clone(),
        alerts: alerts.collect(),
        group_labels: group.labels.clone(),
        external_url: inner.external_url.clone(),
        group_key: group.key.clone(),
        reason,
        route_labels: group.route_labels.clone(),
    }
}

async fn run(inner: Arc<Inner>, group: Arc<Group>, id: (RouteId, Labels)) {
    let mut next = Instant::now() + Duration::from_millis(group.wait_ms.max(0).unsigned_abs());
    loop {
        let wait = next.saturating_duration_since(Instant::now());
        group
            .next_flush
            .store(inner.clock.now_ms() + ms(wait), Ordering::Relaxed);
        tokio::select! {
            () = group.stop.cancelled() => return,
            () = tokio::time::sleep_until(next) => {}
        }
        // The timer is set before the flush, so that a slow receiver does not shift the group's rhythm.
        next = Instant::now() + group.interval;
        group
            .next_flush
            .store(inner.clock.now_ms() + ms(group.interval), Ordering::Relaxed);
        tokio::select! {
            () = group.stop.cancelled() => return,
            _ = inner.flush(&group) => {}
        }
        let mut state = inner.state.lock();
        if group.alerts.lock().is_empty() {
            state.groups.remove(&id);
            return;
        }
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

// By job, then instance, then all labels: the order of a message.
fn sorted(mut alerts: Vec<Stored>) -> Vec<Stored> {
    let place = |a: &Stored| {
        let value = |name| a.labels.value(name).to_owned();
        (value("job"), value("instance"), value(ALERTNAME))
    };
    alerts.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.labels.cmp(&b.labels)));
    alerts
}

#[cfg(test)]
mod tests;
