//! How many messages alerts of the past would have become: routes, groups, timing, inhibition and time intervals of a
//! configuration under a clock that goes from event to event. It decides with the parts that the dispatcher has: the
//! route tree, the inhibitor, and what is news to whom.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use cupola_config::AlertmanagerConfig;
use cupola_model::Labels;
use cupola_notify::{Integration, TemplateError, Templates};
use serde_json::{Value, json};

use crate::dedup::{self, News};
use crate::dispatch::{Alertmanager, GroupId, muting};
use crate::group::ms;
use crate::inhibit::Inhibitor;
use crate::nflog::{Entry, NotificationLog, alert_hash};
use crate::route::{Node, Tree};

// Groups with the most messages that are told.
const BUSIEST: usize = 10;
// Until when an alert fires that has no end.
const FOREVER: i64 = i64::MAX;

/// An alert from its first moment to its last, milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct PastAlert {
    /// As the Alertmanager is sent them.
    pub labels: Labels,
    /// When it began to fire.
    pub fired_at: i64,
    /// When it ended; `None` where it fires on.
    pub ended_at: Option<i64>,
}

/// What would have been told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rehearsed {
    /// Each integration of each receiver, in the configuration's order; one without a name of a receiver that tells nobody.
    pub integrations: Vec<RehearsedIntegration>,
    /// How many groups there were.
    pub groups: usize,
    /// Alerts that were in no message: they ended before their group's first flush, or something kept them quiet.
    pub never_told: usize,
    /// How many of these were left out by inhibition or a time interval.
    pub kept_quiet: usize,
    /// Groups with the most messages: receiver, key, messages of all its integrations.
    pub busiest: Vec<(String, String, u64)>,
}

/// The messages of one integration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RehearsedIntegration {
    /// Its receiver's name.
    pub receiver: String,
    /// `webhook[0]`; empty where the receiver has none.
    pub integration: String,
    /// How many messages.
    pub messages: u64,
    /// How many for which reason, in Alertmanager's words.
    pub reasons: BTreeMap<&'static str, u64>,
}

/// Tells `alerts` until `end` by the routes of `config`. Every message is taken at once; there are no silences.
///
/// # Errors
/// [`TemplateError`] where the integrations cannot be made; with the built-in templates alone they can.
pub fn rehearse(config: &AlertmanagerConfig, alerts: &[PastAlert], end: i64) -> Result<Rehearsed, TemplateError> {
    let templates = Arc::new(Templates::new(&[], || 0)?);
    let mut world = World {
        config,
        tree: Tree::new(&config.route),
        inhibitor: Inhibitor::new(&config.inhibit_rules),
        channels: HashMap::new(),
        integrations: Vec::new(),
        known: HashMap::new(),
        groups: HashMap::new(),
        log: NotificationLog::default(),
        due: BinaryHeap::new(),
        told: HashSet::new(),
        left_out: HashSet::new(),
        by_group: BTreeMap::new(),
    };
    for receiver in &config.receivers {
        let mut channels = Vec::new();
        for integration in Integration::of(receiver, &templates) {
            channels.push(Channel {
                kind: integration.kind(),
                index: integration.index(),
                send_resolved: integration.send_resolved(),
                place: world.integrations.len(),
            });
            world.integrations.push(RehearsedIntegration {
                receiver: receiver.name.clone(),
                integration: format!("{}[{}]", integration.kind(), integration.index()),
                ..RehearsedIntegration::default()
            });
        }
        if channels.is_empty() {
            world.integrations.push(RehearsedIntegration {
                receiver: receiver.name.clone(),
                ..RehearsedIntegration::default()
            });
        }
        world.channels.insert(&receiver.name, channels);
    }
    for (life, alert) in alerts.iter().enumerate() {
        world.due.push(Reverse(Due {
            at: alert.fired_at,
            what: What::Fires(life),
        }));
        if let Some(ended_at) = alert.ended_at {
            world.due.push(Reverse(Due {
                at: ended_at,
                what: What::Ends(life),
            }));
        }
    }
    while let Some(Reverse(Due { at, what })) = world.due.pop() {
        if at > end {
            break;
        }
        match what {
            What::Fires(life) => world.change(alerts, life, at, true),
            What::Ends(life) => world.change(alerts, life, at, false),
            What::Flush(id) => world.flush(id, at),
        }
    }
    Ok(world.rehearsed(alerts, end))
}

// What is to be done at one moment: what is posted comes before what is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Ends(usize),
    Fires(usize),
    Flush(GroupId),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: i64,
    what: What,
}

struct Channel {
    kind: &'static str,
    index: usize,
    send_resolved: bool,
    // In the list of integrations.
    place: usize,
}

// An alert as it is known now.
struct Known {
    labels: Labels,
    hash: u64,
    life: usize,
    ends_at: i64,
}

struct World<'a> {
    config: &'a AlertmanagerConfig,
    tree: Tree,
    inhibitor: Inhibitor,
    channels: HashMap<&'a str, Vec<Channel>>,
    integrations: Vec<RehearsedIntegration>,
    // By fingerprint.
    known: HashMap<u64, Known>,
    // Fingerprints of the alerts of each group.
    groups: HashMap<GroupId, BTreeSet<u64>>,
    log: NotificationLog,
    due: BinaryHeap<Reverse<Due>>,
    // Lives that were in a message, and those that were left out of a flush.
    told: HashSet<usize>,
    left_out: HashSet<usize>,
    // Messages by receiver and key.
    by_group: BTreeMap<(String, String), u64>,
}

fn key(node: &Node, labels: &Labels) -> Arc<str> {
    format!("{}:{labels}", node.key).into()
}

impl World<'_> {
    fn change(&mut self, alerts: &[PastAlert], life: usize, now: i64, fires: bool) {
        let Some(alert) = alerts.get(life) else { return };
        let id = alert.labels.fingerprint();
        if !fires && self.known.get(&id).is_some_and(|known| known.life != life) {
            // A later life has begun already.
            return;
        }
        let hash = alert_hash(&alert.labels);
        self.known.insert(
            id,
            Known {
                labels: alert.labels.clone(),
                hash,
                life,
                ends_at: if fires { FOREVER } else { now },
            },
        );
        if fires {
            self.inhibitor.insert(id, &alert.labels);
        } else {
            self.inhibitor.remove(id, &alert.labels);
        }
        for at in self.tree.taken(&alert.labels) {
            let Some(node) = self.tree.node(at) else { continue };
            let group = (at, node.group_labels(&alert.labels));
            if let Some(members) = self.groups.get_mut(&group) {
                members.insert(id);
                continue;
            }
            // Nobody was told that it fired, so nobody needs to hear that it does not.
            if !fires && !self.log.believes_firing(&key(node, &group.1), &node.receiver, hash) {
                continue;
            }
            self.due.push(Reverse(Due {
                at: now.saturating_add(ms(node.group_wait)),
                what: What::Flush(group.clone()),
            }));
            self.by_group
                .entry((node.receiver.to_string(), key(node, &group.1).to_string()))
                .or_default();
            self.groups.insert(group, BTreeSet::from([id]));
        }
    }

    // As the dispatcher's flush: what nothing keeps quiet is told to each integration to which it is news.
    fn flush(&mut self, group: GroupId, now: i64) {
        let Some(node) = self.tree.node(group.0) else { return };
        let Some(members) = self.groups.get(&group) else { return };
        let group_key = key(node, &group.1);
        let by_time = muting(self.config, &node.active, &node.mute, now).is_some();
        let (mut firing, mut resolved, mut heard, mut over) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for id in members {
            let Some(alert) = self.known.get(id) else { continue };
            let is_over = alert.ends_at <= now;
            if is_over {
                over.push(*id);
            }
            let source = |id| {
                let source = self.known.get(&id).filter(|source| source.ends_at > now);
                source.map(|source| &source.labels)
            };
            if by_time || self.inhibitor.inhibiting(*id, &alert.labels, source).is_some() {
                self.left_out.insert(alert.life);
                continue;
            }
            if is_over {
                resolved.push(alert.hash);
            } else {
                firing.push(alert.hash);
                heard.push(alert.life);
            }
        }
        firing.sort_unstable();
        resolved.sort_unstable();
        let repeat_ms = ms(node.repeat_interval);
        let channels = self
            .channels
            .get(&*node.receiver)
            .filter(|_| !firing.is_empty() || !resolved.is_empty());
        for channel in channels.into_iter().flatten() {
            let known = self.log.get(&group_key, &node.receiver, channel.kind, channel.index);
            let news = News {
                now,
                firing: &firing,
                resolved: &resolved,
                send_resolved: channel.send_resolved,
                repeat_ms,
            };
            let Some(reason) = dedup::reason(known.as_deref(), &news) else {
                continue;
            };
            if channel.send_resolved || !firing.is_empty() {
                if let Some(integration) = self.integrations.get_mut(channel.place) {
                    integration.messages += 1;
                    *integration.reasons.entry(reason).or_default() += 1;
                }
                let name = (node.receiver.to_string(), group_key.to_string());
                *self.by_group.entry(name).or_default() += 1;
                self.told.extend(heard.iter().copied());
            }
            let entry = Entry {
                group_key: group_key.clone(),
                receiver: node.receiver.clone(),
                integration: channel.kind.to_owned(),
                index: u32::try_from(channel.index).unwrap_or(u32::MAX),
                at: now,
                firing: firing.clone(),
                resolved: resolved.clone(),
                expires_at: now.saturating_add(repeat_ms.saturating_mul(2)),
                receiver_data: Vec::new(),
            };
            self.log.record(entry, repeat_ms);
        }
        let next = now.saturating_add(ms(node.group_interval));
        let Some(members) = self.groups.get_mut(&group) else {
            return;
        };
        for id in over {
            members.remove(&id);
        }
        if members.is_empty() {
            self.groups.remove(&group);
        } else {
            self.due.push(Reverse(Due {
                at: next,
                what: What::Flush(group),
            }));
        }
    }

    fn rehearsed(self, alerts: &[PastAlert], end: i64) -> Rehearsed {
        let begun = (0..alerts.len()).filter(|life| alerts.get(*life).is_some_and(|alert| alert.fired_at <= end));
        let untold: Vec<usize> = begun.filter(|life| !self.told.contains(life)).collect();
        let mut busiest: Vec<(String, String, u64)> = self
            .by_group
            .iter()
            .filter(|(_, messages)| **messages > 0)
            .map(|((receiver, key), messages)| (receiver.clone(), key.clone(), *messages))
            .collect();
        busiest.sort_by_key(|(.., messages)| Reverse(*messages));
        busiest.truncate(BUSIEST);
        Rehearsed {
            integrations: self.integrations,
            groups: self.by_group.len(),
            never_told: untold.len(),
            kept_quiet: untold.iter().filter(|life| self.left_out.contains(life)).count(),
            busiest,
        }
    }
}

impl Alertmanager {
    /// As [`rehearse`], by the configuration that is in force.
    ///
    /// # Errors
    /// As [`rehearse`].
    pub fn rehearse(&self, alerts: &[PastAlert], end: i64) -> Result<Rehearsed, TemplateError> {
        let loaded = self.inner.loaded.lock().clone();
        rehearse(&loaded.config, alerts, end)
    }
}

impl Rehearsed {
    /// Messages of all integrations.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.integrations.iter().map(|integration| integration.messages).sum()
    }

    /// As the API and the command give it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let integrations: Vec<Value> = self
            .integrations
            .iter()
            .map(|one| {
                json!({
                    "receiver": one.receiver,
                    "integration": one.integration,
                    "messages": one.messages,
                    "reasons": one.reasons,
                })
            })
            .collect();
        let busiest: Vec<Value> = self
            .busiest
            .iter()
            .map(|(receiver, key, messages)| json!({"receiver": receiver, "groupKey": key, "messages": messages}))
            .collect();
        json!({
            "messages": self.messages(),
            "integrations": integrations,
            "groups": self.groups,
            "neverTold": self.never_told,
            "keptQuiet": self.kept_quiet,
            "busiestGroups": busiest,
        })
    }
}

#[cfg(test)]
mod tests;
