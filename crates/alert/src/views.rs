//! What the API and the pages are told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cupola_cluster::{Cluster, ClusterStatus};
use cupola_goregex::Regex;
use cupola_model::{Alert, Labels, Matcher};

use crate::deliver::Delivery;
use crate::dispatch::{Alertmanager, Inner, Loaded};
use crate::events::{Event, Suppression};
use crate::order::{by_labels, by_size};
use crate::replicate;
use crate::silences::{Silence, SilenceError, SilenceRequest, Silences};
use crate::store::StoredAlert;

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

/// An alert that fires, as API v2 shows it.
#[derive(Debug, Clone)]
pub struct AlertStatus {
    /// The alert.
    pub alert: Arc<StoredAlert>,
    /// Names of the receivers of its routes, in the tree's order.
    pub receivers: Arc<[Arc<str>]>,
    /// Ids of active silences.
    pub silenced_by: Vec<Arc<str>>,
    /// Fingerprint of an alert that mutes it.
    pub inhibited_by: Option<u64>,
    /// Names of the time intervals that mute its group; only where it is shown in one.
    pub muted_by: Arc<[String]>,
}

impl AlertStatus {
    /// Whether it is not told.
    #[must_use]
    pub fn is_suppressed(&self) -> bool {
        !self.silenced_by.is_empty() || self.inhibited_by.is_some() || !self.muted_by.is_empty()
    }
}

/// A group, as API v2 shows it.
#[derive(Debug, Clone)]
pub struct GroupStatus {
    /// The labels that make it.
    pub labels: Labels,
    /// Its receiver's name.
    pub receiver: Arc<str>,
    /// Labels of its route (0.34).
    pub route_labels: Arc<BTreeMap<String, String>>,
    /// Those that fire.
    pub alerts: Vec<AlertStatus>,
}

/// Which alerts are wanted. The default is all.
#[derive(Debug, Clone)]
pub struct AlertFilter {
    /// Those that nothing suppresses, too.
    pub active: bool,
    /// Silenced ones, too.
    pub silenced: bool,
    /// Inhibited ones, too.
    pub inhibited: bool,
    /// Groups that time mutes, too.
    pub muted: bool,
    /// All must match the labels.
    pub matchers: Vec<Matcher>,
    /// Must match the name of a receiver.
    pub receiver: Option<Regex>,
    /// All must match the labels of one receiver.
    pub receiver_matchers: Vec<Matcher>,
}

impl Default for AlertFilter {
    fn default() -> Self {
        Self {
            active: true,
            silenced: true,
            inhibited: true,
            muted: true,
            matchers: Vec::new(),
            receiver: None,
            receiver_matchers: Vec::new(),
        }
    }
}

impl AlertFilter {
    fn wants_labels(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|m| m.matches_labels(labels))
    }

    fn wants(&self, status: &AlertStatus) -> bool {
        let is_active = status.silenced_by.is_empty() && status.inhibited_by.is_none();
        (self.active || !is_active)
            && (self.silenced || status.silenced_by.is_empty())
            && (self.inhibited || status.inhibited_by.is_none())
    }

    fn wants_receiver(&self, loaded: &Loaded, name: &str) -> bool {
        self.receiver.as_ref().is_none_or(|regex| regex.is_match(name))
            && (self.receiver_matchers.is_empty() || {
                let labels = receiver_labels(loaded, name);
                self.receiver_matchers.iter().all(|m| m.matches_labels(&labels))
            })
    }
}

// Those of the configuration, and its name.
fn receiver_labels(loaded: &Loaded, name: &str) -> Labels {
    let own = loaded.config.receiver(name).map(|r| &r.labels);
    let own = own.into_iter().flatten().map(|(n, v)| (n.as_str(), v.as_str()));
    Labels::from_pairs(own.chain([("name", name)]))
}

impl Alertmanager {
    /// The names of all receivers.
    #[must_use]
    pub fn receivers(&self) -> Vec<String> {
        let loaded = self.inner.loaded.lock().clone();
        loaded.config.receivers.iter().map(|r| r.name.clone()).collect()
    }

    /// Names and labels of the receivers whose labels all matchers match; `name` is one of them.
    #[must_use]
    pub fn labelled_receivers(&self, matchers: &[Matcher]) -> Vec<(String, Labels)> {
        let loaded = self.inner.loaded.lock().clone();
        let all = loaded.config.receivers.iter();
        let all = all.map(|r| (r.name.clone(), receiver_labels(&loaded, &r.name)));
        all.filter(|(_, labels)| matchers.iter().all(|m| m.matches_labels(labels)))
            .collect()
    }

    /// The configuration as text, secrets hidden.
    #[must_use]
    pub fn config_yaml(&self) -> String {
        self.inner.loaded.lock().config.to_whole_yaml().to_owned()
    }

    /// Now, by the clock that everything here goes by.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }

    /// Whether any receiver tells anybody: one without integrations swallows what it gets.
    #[must_use]
    pub fn delivers(&self) -> bool {
        let loaded = self.inner.loaded.lock().clone();
        loaded.integrations.values().any(|all| !all.is_empty())
    }

    /// Takes alerts and counts those that were refused before they came here.
    pub fn receive(&self, alerts: &[Alert], refused: usize) {
        self.inner.metrics.invalid.add(refused as f64);
        self.inner.put(alerts.iter());
    }

    /// All groups, by receiver and labels.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupView> {
        let now = self.inner.clock.now_ms();
        let groups: Vec<_> = self.inner.state.lock().groups.values().cloned().collect();
        let mut views: Vec<GroupView> = groups
            .iter()
            .map(|group| {
                let mut alerts: Vec<_> = group.alerts.lock().values().cloned().collect();
                alerts.sort_by(|a, b| by_labels(&a.labels, &b.labels));
                GroupView {
                    receiver: group.receiver.to_string(),
                    key: group.key.to_string(),
                    labels: group.labels.clone(),
                    next_flush: group.next_flush.load(Ordering::Relaxed),
                    alerts: alerts
                        .iter()
                        .map(|a| ViewedAlert {
                            ends_at: a.is_resolved(now).then_some(a.ends_at),
                            labels: a.labels.clone(),
                            annotations: a.annotations.clone(),
                            starts_at: a.starts_at,
                        })
                        .collect(),
                }
            })
            .collect();
        views.sort_by(|a, b| (&a.receiver, &a.labels, &a.key).cmp(&(&b.receiver, &b.labels, &b.key)));
        views
    }

    /// The alerts that fire, by fingerprint.
    #[must_use]
    pub fn alert_statuses(&self, filter: &AlertFilter) -> Vec<AlertStatus> {
        let inner = &self.inner;
        let now = inner.clock.now_ms();
        let loaded = inner.loaded.lock().clone();
        let mut receivers = ReceiverLists::default();
        let nobody: Arc<[String]> = Arc::default();
        let mut all: Vec<AlertStatus> = Vec::new();
        let firing: Vec<Arc<StoredAlert>> = {
            let state = inner.state.lock();
            let firing = state.store.iter().filter(|a| !a.is_resolved(now));
            firing.filter(|a| filter.wants_labels(&a.labels)).cloned().collect()
        };
        for alert in firing {
            let (names, is_wanted) = receivers.of(&loaded, &alert.labels, filter);
            if is_wanted {
                all.push(AlertStatus {
                    alert,
                    receivers: names,
                    silenced_by: Vec::new(),
                    inhibited_by: None,
                    muted_by: nobody.clone(),
                });
            }
        }
        inner.look(&mut all, now);
        all.retain(|status| filter.wants(status));
        all.sort_unstable_by_key(|status| status.alert.fingerprint);
        all
    }

    /// The groups with alerts that fire, by labels and receiver.
    #[must_use]
    pub fn group_statuses(&self, filter: &AlertFilter) -> Vec<GroupStatus> {
        let inner = &self.inner;
        let now = inner.clock.now_ms();
        let loaded = inner.loaded.lock().clone();
        let groups: Vec<_> = inner.state.lock().groups.values().cloned().collect();
        let mut receivers: HashMap<u64, Vec<(usize, Arc<str>)>> = HashMap::new();
        let mut parts = Vec::new();
        let mut all: Vec<AlertStatus> = Vec::new();
        for group in groups {
            if !filter.wants_receiver(&loaded, &group.receiver) {
                continue;
            }
            let muted_by = match loaded.muting(&group, now) {
                Some(Suppression::Inactive(names) | Suppression::Muted(names)) => names,
                _ => Arc::default(),
            };
            if !filter.muted && !muted_by.is_empty() {
                continue;
            }
            let mut alerts: Vec<_> = group.alerts.lock().values().cloned().collect();
            alerts.retain(|a| !a.is_resolved(now) && filter.wants_labels(&a.labels));
            alerts.sort_by(|a, b| by_labels(&a.labels, &b.labels));
            let count = alerts.len();
            for alert in alerts {
                let names = receivers.entry(alert.fingerprint).or_default();
                names.push((group.node, group.receiver.clone()));
                all.push(AlertStatus {
                    alert,
                    receivers: Arc::default(),
                    silenced_by: Vec::new(),
                    inhibited_by: None,
                    muted_by: muted_by.clone(),
                });
            }
            parts.push((group, count));
        }
        inner.look(&mut all, now);
        for names in receivers.values_mut() {
            names.sort_unstable();
        }
        let lists: HashMap<u64, Arc<[Arc<str>]>> = receivers
            .into_iter()
            .map(|(id, names)| (id, names.into_iter().map(|(_, name)| name).collect()))
            .collect();
        let mut statuses = all.into_iter();
        let mut views = Vec::new();
        for (group, count) in parts {
            let mut alerts: Vec<AlertStatus> = statuses.by_ref().take(count).collect();
            alerts.retain(|status| filter.wants(status));
            if alerts.is_empty() {
                continue;
            }
            for status in &mut alerts {
                status.receivers = lists.get(&status.alert.fingerprint).cloned().unwrap_or_default();
            }
            views.push(GroupStatus {
                labels: group.labels.clone(),
                receiver: group.receiver.clone(),
                route_labels: group.route_labels.clone(),
                alerts,
            });
        }
        views.sort_by(|a, b| by_size(&a.labels, &b.labels).then_with(|| a.receiver.cmp(&b.receiver)));
        views
    }

    /// The latest messages, newest first.
    #[must_use]
    pub fn history(&self) -> Vec<Delivery> {
        self.inner.history.lock().iter().cloned().collect()
    }

    /// What happened to alerts that all matchers match, newest first.
    #[must_use]
    pub fn events(&self, matchers: &[Matcher], limit: usize) -> Vec<Event> {
        let wanted = |event: &Event| matchers.iter().all(|m| m.matches_labels(&event.labels));
        self.inner.events.latest(limit, wanted)
    }

    /// The cluster that it is a member of, if it is.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterStatus> {
        self.inner.cluster.as_ref().map(Cluster::status)
    }

    /// All silences that have exactly these matchers among those of one set: active ones by their end, pending ones by their begin,
    /// expired ones by their end, the latest first.
    #[must_use]
    pub fn silences(&self, matchers: &[Matcher]) -> Vec<Arc<Silence>> {
        let metrics = &self.inner.metrics.silences;
        metrics.queries.inc();
        let begin = std::time::Instant::now();
        let now = self.now_ms();
        let mut all: Vec<Arc<Silence>> = {
            let silences = self.inner.silences.lock();
            let has_all = |set: &[Matcher]| matchers.iter().all(|m| set.contains(m));
            let wanted = |s: &&Arc<Silence>| s.sets().any(has_all);
            silences.iter().filter(wanted).cloned().collect()
        };
        all.sort_by_cached_key(|silence| {
            use crate::SilenceState::{Active, Expired, Pending};
            let state = silence.state(now);
            let time = match state {
                Active => silence.ends_at,
                Pending => silence.starts_at,
                Expired => -silence.ends_at,
            };
            (state, time, silence.id.clone())
        });
        metrics.query_seconds.observe(begin.elapsed().as_secs_f64());
        all
    }

    /// The silence of this id.
    #[must_use]
    pub fn silence(&self, id: &str) -> Option<Arc<Silence>> {
        self.inner.silences.lock().get(id)
    }

    /// Makes or changes a silence and returns its id, a new one where the old one could not simply be changed. It is on
    /// the device when this returns, so this blocks.
    ///
    /// # Errors
    /// [`SilenceError`]; then nothing has changed.
    pub fn set_silence(&self, request: SilenceRequest) -> Result<Arc<str>, SilenceError> {
        let now = self.now_ms();
        self.inner.change_silences(|silences| silences.planned(request, now))
    }

    /// Ends a silence now; one that is over stays as it is. Blocks as [`Alertmanager::set_silence`].
    ///
    /// # Errors
    /// [`SilenceError::NotFound`], and [`SilenceError::Disk`]; then nothing has changed.
    pub fn expire_silence(&self, id: &str) -> Result<(), SilenceError> {
        let now = self.now_ms();
        self.inner.end_silence(id, now)
    }
}

impl Inner {
    /// Plans a change of silences, writes it, makes it, and tells the other members of the cluster. What looks at silences
    /// meanwhile, as the flushes do, does not wait for the disk and sees those of before.
    ///
    /// # Errors
    /// What the plan says, and the disk; then nothing has changed.
    pub(crate) fn change_silences<T>(
        &self,
        plan: impl FnOnce(&Silences) -> Result<(T, Vec<Silence>), SilenceError>,
    ) -> Result<T, SilenceError> {
        let _one = self.changing_silences.lock();
        let (planned, changes, messages) = {
            let silences = self.silences.lock();
            let (planned, changes) = plan(&silences)?;
            let messages = silences.encoded(&changes);
            (planned, changes, messages)
        };
        if changes.is_empty() {
            return Ok(planned);
        }
        if let Some(disk) = &self.disk {
            disk.keep_silences(&messages).map_err(SilenceError::Disk)?;
        }
        self.silences.lock().change(changes);
        for message in &messages {
            self.share(replicate::SILENCES, message);
        }
        Ok(planned)
    }

    /// Ends a silence; one that is over stays as it is.
    ///
    /// # Errors
    /// [`SilenceError::NotFound`], and [`SilenceError::Disk`]; then nothing has changed.
    pub(crate) fn end_silence(&self, id: &str, now: i64) -> Result<(), SilenceError> {
        self.change_silences(|silences| Ok(((), silences.planned_end(id, now)?)))
    }

    // Finds out what suppresses each.
    fn look(&self, all: &mut [AlertStatus], now: i64) {
        {
            let state = self.state.lock();
            for status in all.iter_mut() {
                status.inhibited_by = state.inhibiting(&status.alert, now).map(|(id, _)| id);
            }
        }
        let mut silences = self.silences.lock();
        for status in all {
            status.silenced_by = silences.silencing(status.alert.fingerprint, &status.alert.labels, now);
        }
    }
}

// The names of receivers, and whether the filter wants one of them.
type Receivers = (Arc<[Arc<str>]>, bool);

// Receivers by the routes that alerts take; most alerts take one of few ways.
#[derive(Default)]
struct ReceiverLists {
    by_nodes: HashMap<Vec<usize>, Receivers>,
}

impl ReceiverLists {
    fn of(&mut self, loaded: &Loaded, labels: &Labels, filter: &AlertFilter) -> Receivers {
        let nodes = loaded.tree.taken(labels);
        if let Some(known) = self.by_nodes.get(&nodes) {
            return known.clone();
        }
        let names = nodes.iter().filter_map(|at| loaded.tree.node(*at));
        let names: Arc<[Arc<str>]> = names.map(|node| node.receiver.clone()).collect();
        let is_wanted = names.iter().any(|name| filter.wants_receiver(loaded, name));
        self.by_nodes.insert(nodes, (names.clone(), is_wanted));
        (names, is_wanted)
    }
}
