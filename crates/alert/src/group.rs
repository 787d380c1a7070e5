//! One group: its timer, and what it tells when it is time (Alertmanager 0.34, `dispatch` and `notify`).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use cupola_model::Labels;
use cupola_notify::{Notification, NotifiedAlert};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::acks::Acknowledgement;
use crate::dedup::{self, News};
use crate::deliver::{Channel, Context, deliver};
use crate::dispatch::{GroupId, Inner, Loaded};
use crate::events::{Event, Happening, Message, Suppression};
use crate::nflog::{Entry, alert_hash, note};
use crate::order::by_labels;
use crate::replicate;
use crate::store::StoredAlert;

// A flush may take the group's interval, but at least this.
const SHORTEST_FLUSH: Duration = Duration::from_secs(10);
/// How long messages that are on their way may take when the process ends.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(3);
// A group of so many alerts is looked at without another thread, which would have to be woken for it.
const PLANNED_AT_ONCE: usize = 32;
// So many locks are kept before those that nobody needs are looked for.
const SENDING_SWEEP: usize = 1024;

/// Alerts that are told together.
pub(crate) struct Group {
    pub node: usize,
    pub key: Arc<str>,
    pub labels: Labels,
    pub receiver: Arc<str>,
    pub interval: Duration,
    pub repeat_ms: i64,
    pub mute: Arc<[String]>,
    pub active: Arc<[String]>,
    pub route_labels: Arc<BTreeMap<String, String>>,
    pub alerts: Mutex<HashMap<u64, Arc<StoredAlert>>>,
    /// Those that were left out of the last flush, and why.
    pub suppressed: Mutex<HashMap<u64, Suppression>>,
    pub next_flush: AtomicI64,
    /// When it was last noted that a reminder was left out.
    pub held_at: AtomicI64,
    pub stop: CancellationToken,
}

/// What a group has to say at one moment, to whomever it may be new.
struct Plan {
    now: i64,
    heard: Vec<Arc<StoredAlert>>,
    firing: Vec<u64>,
    resolved: Vec<u64>,
    /// Fingerprints and times of resolved alerts, told or suppressed, that are done with once all is sent.
    over: HashMap<u64, i64>,
    /// Of the alerts that fire, where all of them are acknowledged.
    acks: Vec<Arc<Acknowledgement>>,
    /// Whether other members of a cluster had the time to tell it.
    has_waited: bool,
}

impl Plan {
    fn news(&self, channel: &Channel, repeat_ms: i64) -> News<'_> {
        News {
            now: self.now,
            firing: &self.firing,
            resolved: &self.resolved,
            send_resolved: channel.send_resolved(),
            repeat_ms,
        }
    }

    // Whether everything that fires was told at some time, be it that it does or that it does no more.
    fn is_covered_by(&self, told: Option<&Entry>) -> bool {
        let Some(told) = told else { return false };
        let mut firing = self.heard.iter().filter(|a| !a.is_resolved(self.now));
        firing.all(|alert| {
            let hash = alert_hash(&alert.labels);
            let knows = |hashes: &[u64]| hashes.binary_search(&hash).is_ok();
            told.at >= alert.starts_at && (knows(&told.firing) || knows(&told.resolved))
        })
    }
}

/// Lives as long as the group.
pub(crate) async fn run(inner: Arc<Inner>, group: Arc<Group>, id: GroupId, wait: Duration) {
    let mut next = Instant::now() + wait;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        group
            .next_flush
            .store(inner.clock.now_ms() + ms(left), Ordering::Relaxed);
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
            // After a reload another one may be in its place.
            if state.groups.get(&id).is_some_and(|known| Arc::ptr_eq(known, &group)) {
                state.groups.remove(&id);
            }
            return;
        }
    }
}

// Of those alerts, ascending.
fn hashes(alerts: &[Arc<StoredAlert>], is_meant: impl Fn(&StoredAlert) -> bool) -> Vec<u64> {
    let some = alerts.iter().filter(|alert| is_meant(alert));
    let mut hashes: Vec<u64> = some.map(|alert| alert_hash(&alert.labels)).collect();
    hashes.sort_unstable();
    hashes
}

pub(crate) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Inner {
    // Tells a group's receiver what is new. True where everything due was delivered.
    async fn flush(self: &Arc<Self>, group: &Arc<Group>) -> bool {
        self.metrics.flushes.inc();
        if let Some(cluster) = &self.cluster {
            // Before it is known who else is there, and what they have told, everything would be told again.
            cluster.settled().await;
        }
        let loaded = self.loaded.lock().clone();
        let Some(mut plan) = self.planned(group, &loaded).await else {
            return false;
        };
        if let Some(cluster) = &self.cluster {
            if self.rests(group, &loaded, &plan).await {
                Self::forget(group, &plan);
                return true;
            }
            // Whoever comes before this member tells, and lets it know; where nothing comes this one tells.
            let begin = Instant::now();
            cluster.turn().await;
            plan.has_waited = begin.elapsed() > Duration::ZERO;
        }
        let plan = Arc::new(plan);
        let deadline = Instant::now() + group.interval.max(SHORTEST_FLUSH);
        let mut turns = Vec::new();
        // Where all are muted there is nothing to say, not even that it is over.
        if !plan.heard.is_empty() {
            let integrations = loaded.integrations.get(&*group.receiver).map_or(0, Vec::len);
            // Side by side: one integration that hangs holds up none of the others.
            for index in 0..integrations {
                let turn = self
                    .clone()
                    .turn(group.clone(), loaded.clone(), plan.clone(), index, deadline);
                turns.push(self.tasks.spawn_on(turn, &self.runtime));
            }
        }
        let mut all_sent = true;
        for turn in turns {
            all_sent &= turn.await.unwrap_or(false);
        }
        if all_sent {
            Self::forget(group, &plan);
        }
        all_sent
    }

    // Resolved and told: forgotten, unless it was posted again meanwhile.
    fn forget(group: &Group, plan: &Plan) {
        let mut alerts = group.alerts.lock();
        alerts.retain(|id, alert| plan.over.get(id) != Some(&alert.updated_at));
        group.suppressed.lock().retain(|id, _| alerts.contains_key(id));
    }

    // Whether there is nothing to tell, so that no turn has to be waited for. What comes up meanwhile has not been waited
    // for: told at the end of this wait it might come beside the message of another member.
    async fn rests(self: &Arc<Self>, group: &Group, loaded: &Loaded, plan: &Plan) -> bool {
        let channels = match plan.heard.is_empty() {
            true => &[][..],
            false => loaded.integrations.get(&*group.receiver).map_or(&[][..], Vec::as_slice),
        };
        let mut held = Vec::new();
        for channel in channels {
            let log = self.nflog.lock();
            let told = log.get(&group.key, &group.receiver, channel.kind(), channel.index());
            drop(log);
            let current = told.as_deref().and_then(|told| self.current(plan, told));
            let news = current.as_ref().unwrap_or(plan).news(channel, group.repeat_ms);
            let reason = dedup::reason(told.as_deref(), &news);
            match (reason, told) {
                (None, _) => {}
                (Some(dedup::REMINDER), Some(told)) if !plan.acks.is_empty() => held.push(told),
                _ => return false,
            }
        }
        self.metrics.nflog.queries.add(channels.len() as f64);
        for told in held {
            self.hold(group, plan, &told).await;
        }
        true
    }

    // Sorting and matching thousands of alerts is no work for a thread that serves sockets.
    async fn planned(self: &Arc<Self>, group: &Arc<Group>, loaded: &Arc<Loaded>) -> Option<Plan> {
        if group.alerts.lock().len() <= PLANNED_AT_ONCE {
            return Some(self.plan(group, loaded));
        }
        let (inner, group, loaded) = (self.clone(), group.clone(), loaded.clone());
        let planning = move || inner.plan(&group, &loaded);
        self.runtime.spawn_blocking(planning).await.ok()
    }

    fn plan(&self, group: &Group, loaded: &Loaded) -> Plan {
        let now = self.clock.now_ms();
        let mut alerts: Vec<Arc<StoredAlert>> = group.alerts.lock().values().cloned().collect();
        alerts.sort_by(|a, b| by_labels(&a.labels, &b.labels));
        let over = alerts.iter().filter(|a| a.is_resolved(now));
        let over = over.map(|a| (a.fingerprint, a.updated_at)).collect();
        let heard = self.heard(loaded, group, &alerts, now);
        let firing = heard.iter().filter(|a| !a.is_resolved(now));
        let acks = self.acks.of_all(firing.map(|a| a.fingerprint), now);
        Plan {
            now,
            firing: hashes(&heard, |a| !a.is_resolved(now)),
            resolved: hashes(&heard, |a| a.is_resolved(now)),
            heard,
            over,
            acks,
            has_waited: false,
        }
    }

    // The plan without alerts of which another member has told the end since they were posted here the last time: it knows
    // more than this one, which stood still or was out of reach. Whoever has them posts them again if they fire; where
    // nobody has said anything for as long as an alert lasts, they are told all the same. `None` where there are none.
    fn current(&self, plan: &Plan, told: &Entry) -> Option<Plan> {
        self.cluster.as_ref()?;
        let now = self.clock.now_ms();
        let knows = |all: &[u64], alert: &StoredAlert| all.binary_search(&alert_hash(&alert.labels)).is_ok();
        let is_outdated = |alert: &StoredAlert| {
            !alert.is_resolved(plan.now)
                && alert.updated_at < told.at
                && knows(&told.resolved, alert)
                && !knows(&told.firing, alert)
        };
        if !plan.heard.iter().any(|alert| is_outdated(alert)) {
            return None;
        }
        // A time that is still to come is that of another clock.
        let lasting = ms(self.loaded.lock().config.resolve_timeout);
        if told.at > now || now - told.at > lasting {
            return None;
        }
        let (outdated, heard): (Vec<_>, Vec<_>) = plan.heard.iter().cloned().partition(|alert| is_outdated(alert));
        let firing = heard.iter().filter(|a| !a.is_resolved(plan.now));
        let mut resolved = plan.resolved.clone();
        // So that the log goes on saying so.
        resolved.extend(hashes(&outdated, |_| true));
        resolved.sort_unstable();
        Some(Plan {
            now: plan.now,
            firing: hashes(&heard, |a| !a.is_resolved(plan.now)),
            resolved,
            over: plan.over.clone(),
            acks: self.acks.of_all(firing.map(|a| a.fingerprint), plan.now),
            has_waited: plan.has_waited,
            heard,
        })
    }

    // Those that nothing keeps quiet; what keeps the others is counted and noted.
    fn heard(&self, loaded: &Loaded, group: &Group, alerts: &[Arc<StoredAlert>], now: i64) -> Vec<Arc<StoredAlert>> {
        let by: Vec<Option<Suppression>> = self.suppressions(loaded, group, alerts, now);
        let mut events = Vec::new();
        let mut known = group.suppressed.lock();
        for (alert, by) in alerts.iter().zip(&by) {
            let event = |what| Event {
                at: now,
                fingerprint: alert.fingerprint,
                labels: alert.labels.clone(),
                what,
            };
            let group_key = group.key.clone();
            match by {
                None => {
                    if known.remove(&alert.fingerprint).is_some() {
                        events.push(event(Happening::Released { group_key }));
                    }
                }
                Some(by) => {
                    let reason = match by {
                        Suppression::Inhibition(..) => "inhibition",
                        Suppression::Inactive(_) => "active_time_interval",
                        Suppression::Muted(_) => "mute_time_interval",
                        Suppression::Silence(_) => "silence",
                    };
                    self.metrics.suppressed.with(&[reason]).inc();
                    if known.get(&alert.fingerprint) != Some(by) {
                        known.insert(alert.fingerprint, by.clone());
                        let by = by.clone();
                        events.push(event(Happening::Suppressed { group_key, by }));
                    }
                }
            }
        }
        drop(known);
        self.events.note(events);
        let both = alerts.iter().zip(by);
        both.filter(|(_, by)| by.is_none())
            .map(|(alert, _)| alert.clone())
            .collect()
    }

    // In Alertmanager's order: inhibition, active and mute intervals, silences.
    fn suppressions(
        &self,
        loaded: &Loaded,
        group: &Group,
        alerts: &[Arc<StoredAlert>],
        now: i64,
    ) -> Vec<Option<Suppression>> {
        let mut by: Vec<Option<Suppression>> = {
            let state = self.state.lock();
            let of = |alert: &Arc<StoredAlert>| state.inhibiting(alert, now);
            alerts
                .iter()
                .map(|a| of(a).map(|(id, rule)| Suppression::Inhibition(id, rule.into())))
                .collect()
        };
        let by_time = loaded.muting(group, now);
        let mut silences = self.silences.lock();
        for (alert, by) in alerts.iter().zip(&mut by).filter(|(_, by)| by.is_none()) {
            *by = by_time.clone().or_else(|| {
                let ids = silences.silencing(alert.fingerprint, &alert.labels, now);
                (!ids.is_empty()).then_some(Suppression::Silence(ids))
            });
        }
        by
    }

    // One integration's part of a flush.
    async fn turn(
        self: Arc<Self>,
        group: Arc<Group>,
        loaded: Arc<Loaded>,
        plan: Arc<Plan>,
        index: usize,
        deadline: Instant,
    ) -> bool {
        let Some(channel) = loaded.integrations.get(&*group.receiver).and_then(|all| all.get(index)) else {
            return false;
        };
        let (kind, index) = (channel.kind(), channel.index());
        // After a reload a message of the group before may still be on its way: what it tells must be known first.
        let lock = self.sending(&format!("{}\0{kind}\0{index}\0{}", group.receiver, group.key));
        let Ok(_turn) = tokio::time::timeout_at(deadline, lock.lock()).await else {
            return false;
        };
        self.metrics.nflog.queries.inc();
        let begin = std::time::Instant::now();
        let told = self.nflog.lock().get(&group.key, &group.receiver, kind, index);
        self.metrics.nflog.query_seconds.observe(begin.elapsed().as_secs_f64());
        if told.is_none() {
            // Alertmanager counts what it does not find as failed.
            self.metrics.nflog.query_errors.inc();
        }
        let reason = |plan: &Plan| dedup::reason(told.as_deref(), &plan.news(channel, group.repeat_ms));
        let current = |plan: Arc<Plan>| match told.as_deref().and_then(|told| self.current(&plan, told)) {
            Some(current) => Arc::new(current),
            None => plan,
        };
        let mut plan = current(plan);
        let Some(mut reason_of) = reason(&plan) else {
            return true;
        };
        let is_held = |plan: &Plan, reason| reason == dedup::REMINDER && !plan.acks.is_empty();
        if is_held(&plan, reason_of)
            && let Some(told) = &told
        {
            // See `rests`; here another integration has had something to tell.
            self.hold(&group, &plan, told).await;
            return true;
        }
        if plan.has_waited
            && let Some(fresh) = self.planned(&group, &loaded).await
        {
            // Whoever told meanwhile, or by a clock that is ahead, may know better than the plan from before the wait.
            // Alertmanager sticks to that, and tells once more that something fires of which the end has been told.
            let fresh = current(Arc::new(fresh));
            match reason(&fresh) {
                Some(now) => (plan, reason_of) = (fresh, now),
                None if plan.is_covered_by(told.as_deref()) => return true,
                // It was over before this member's turn came, and nobody has told of it.
                None => {}
            }
        }
        let reason = reason_of;
        if is_held(&plan, reason)
            && let Some(told) = &told
        {
            self.hold(&group, &plan, told).await;
            return true;
        }
        let notification = self.notification(&group, &plan, reason, channel.send_resolved(), told.as_deref());
        let report = |delivery| self.remember(&group, &plan.heard, delivery);
        let context = Context {
            deadline,
            stop: &group.stop,
            clock: &self.clock,
            metrics: &self.metrics,
            report: &report,
        };
        let notes = told.as_ref().map(|told| told.notes()).unwrap_or_default();
        channel.recall(&group.key, &notes);
        let sent = match notification.alerts.is_empty() {
            true => {
                // Of ends that its receiver does not want; Alertmanager counts it, too.
                self.metrics.notifications.with(&[kind]).inc();
                true
            }
            false => deliver(channel, &notification, &context).await,
        };
        if sent {
            let keep_ms = self.retention_ms.min(group.repeat_ms.saturating_mul(2));
            let entry = Entry {
                group_key: group.key.clone(),
                receiver: group.receiver.clone(),
                integration: kind.to_owned(),
                index: u32::try_from(index).unwrap_or(u32::MAX),
                at: plan.now,
                firing: plan.firing.clone(),
                resolved: plan.resolved.clone(),
                expires_at: self.clock.now_ms().saturating_add(keep_ms),
                receiver_data: match channel.notes(&group.key) {
                    Some(notes) => notes.iter().map(|(name, value)| note(name, value)).collect(),
                    // Of another Alertmanager, for a receiver that we do not need it for: handed back as it came.
                    None => told.map(|told| told.receiver_data.clone()).unwrap_or_default(),
                },
            };
            self.record(entry, group.repeat_ms).await;
        } else if let Some(told) = &told {
            self.prolong(&group, plan.now, told).await;
        }
        sent
    }

    async fn record(self: &Arc<Self>, entry: Entry, repeat_ms: i64) {
        let inner = self.clone();
        let keeping = move || {
            let entry = inner.nflog.lock().record(entry, repeat_ms);
            inner.keep_and_share(&entry);
        };
        // A panic there would have been told; the message has been sent all the same.
        let _ = self.runtime.spawn_blocking(keeping).await;
    }

    fn keep_and_share(&self, entry: &Entry) {
        if let Some(disk) = &self.disk {
            disk.keep_entry(entry);
        }
        self.share(replicate::NFLOG, &entry.encode());
    }

    // What was told must not be forgotten while nothing else is: what fires would be told as something new, and its end to
    // nobody.
    async fn prolong(self: &Arc<Self>, group: &Group, now: i64, told: &Entry) {
        let keep_ms = self.retention_ms.min(group.repeat_ms.saturating_mul(2));
        if told.expires_at.saturating_sub(now) < keep_ms / 2 {
            let (inner, told, until) = (self.clone(), told.clone(), now.saturating_add(keep_ms));
            let keeping = move || {
                if let Some(entry) = inner.nflog.lock().prolong(&told, until) {
                    inner.keep_and_share(&entry);
                }
            };
            let _ = self.runtime.spawn_blocking(keeping).await;
        }
    }

    // Leaves out a reminder, as all that fires is acknowledged.
    async fn hold(self: &Arc<Self>, group: &Group, plan: &Plan, told: &Entry) {
        self.prolong(group, plan.now, told).await;
        let held_at = group.held_at.load(Ordering::Relaxed);
        if plan.now.saturating_sub(held_at) >= group.repeat_ms {
            group.held_at.store(plan.now, Ordering::Relaxed);
            self.events.note(plan.acks.iter().map(|ack| Event {
                at: plan.now,
                fingerprint: ack.fingerprint,
                labels: ack.labels.clone(),
                what: Happening::Held {
                    group_key: group.key.clone(),
                    by: ack.by.clone(),
                },
            }));
        }
    }

    // One lock for each integration and group, also over a reload; gone when nobody holds it.
    fn sending(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.sending.lock();
        if let Some(lock) = all.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        if all.len() >= SENDING_SWEEP && all.len().is_power_of_two() {
            all.retain(|_, lock| lock.strong_count() > 0);
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        all.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }

    fn notification(
        &self,
        group: &Group,
        plan: &Plan,
        reason: &'static str,
        send_resolved: bool,
        before: Option<&Entry>,
    ) -> Notification {
        let now = plan.now;
        let is_new = |alert: &StoredAlert| {
            before.is_none_or(|before| {
                let told = if alert.is_resolved(now) {
                    &before.resolved
                } else {
                    &before.firing
                };
                told.binary_search(&alert_hash(&alert.labels)).is_err()
            })
        };
        let told = plan.heard.iter().filter(|a| send_resolved || !a.is_resolved(now));
        let alerts = told.map(|a| NotifiedAlert {
            labels: a.labels.clone(),
            annotations: a.annotations.clone(),
            starts_at: a.starts_at,
            ends_at: a.is_resolved(now).then_some(a.ends_at),
            generator_url: a.generator_url.to_string(),
            is_new: is_new(a),
        });
        Notification {
            receiver: group.receiver.to_string(),
            alerts: alerts.collect(),
            group_labels: group.labels.clone(),
            external_url: self.external_url.clone(),
            group_key: group.key.to_string(),
            reason,
            route_labels: BTreeMap::clone(&group.route_labels),
        }
    }

    fn remember(&self, group: &Group, alerts: &[Arc<StoredAlert>], delivery: crate::Delivery) {
        let message = Arc::new(Message {
            receiver: group.receiver.clone(),
            integration: delivery.integration.clone(),
            group_key: group.key.clone(),
            reason: delivery.reason.into(),
            outcome: delivery.outcome,
            attempts: delivery.attempts,
            error: delivery.error.clone(),
            firing: delivery.firing,
            resolved: delivery.resolved,
            answer: delivery.answer.clone(),
        });
        self.events.note(alerts.iter().map(|alert| Event {
            at: delivery.at,
            fingerprint: alert.fingerprint,
            labels: alert.labels.clone(),
            what: Happening::Told(message.clone()),
        }));
        let mut history = self.history.lock();
        history.push_front(delivery);
        history.truncate(crate::dispatch::HISTORY);
    }
}
