//! What happens beside alerts: going on where the last process ended, forgetting, writing the state, counting.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cupola_metrics::{Kind, Registry, SeriesValue};
use tokio::time::MissedTickBehavior;
use tracing::{error, info};

use crate::dispatch::{Inner, Options, Timing};
use crate::events::{Event, Happening};
use crate::group::ms;
use crate::nflog::alert_hash;
use crate::silences::SilenceState;
use crate::state::{Found, SnapshotSizes};
use crate::store::StoredAlert;

// How often the journal is brought to the device: what a power cut may cost.
const SYNC_EVERY: Duration = Duration::from_secs(1);
// So many events are copied to be written.
const EVENTS_AT_ONCE: usize = 2_000;
// The same for alerts.
const ALERTS_AT_ONCE: usize = 2_000;
// How soon the state is written anew, once a sync of the journal has failed; and how often it is tried.
const WRITE_AGAIN_AFTER: Duration = Duration::from_secs(10);
// How often it is noted which alerts have ended without a word.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

impl Inner {
    /// Takes in what an earlier process left.
    pub(crate) fn restore(self: &Arc<Self>, found: Found) {
        self.events.restore(found.events);
        let now = self.clock.now_ms();
        let (silences, entries, alerts) = (found.silences.len(), found.entries.len(), found.alerts.len());
        {
            let mut all = self.silences.lock();
            for (silence, expires_at) in found.silences {
                all.merge(silence, expires_at, now);
            }
        }
        {
            let mut log = self.nflog.lock();
            for entry in found.entries {
                log.restore(entry, now);
            }
        }
        self.recurring.restore(found.recurring, now);
        let timeout = ms(self.loaded.lock().config.resolve_timeout);
        let ends_told = self.nflog.lock().ends_told();
        // What was told after the end is of that end: whoever posts it again later ends later.
        let is_told = |alert: &StoredAlert| {
            let told = ends_told.get(&alert_hash(&alert.labels));
            alert.is_resolved(now) && told.is_some_and(|at| *at >= alert.ends_at)
        };
        let mut restored = Vec::new();
        {
            let mut state = self.state.lock();
            // Later ones replace earlier ones, whatever the clock was then.
            for alert in found.alerts {
                state.store.restore(alert);
            }
            let all: Vec<_> = state.store.iter().cloned().collect();
            for alert in all {
                let mut alert = StoredAlert::clone(&alert);
                if alert.is_ended() {
                    state.ended.insert(alert.fingerprint);
                } else if !is_told(&alert) {
                    // Nobody could say that it goes on while there was no process: whoever posts it gets the time for it
                    // that it had.
                    let lease = (alert.ends_at - alert.updated_at).min(timeout);
                    alert.ends_at = alert.ends_at.max(now.saturating_add(lease));
                    state.inhibitor.insert(alert.fingerprint, &alert.labels);
                }
                let alert = Arc::new(alert);
                state.store.restore(StoredAlert::clone(&alert));
                restored.push(alert);
            }
        }
        {
            let state = self.state.lock();
            let fires = |id| state.store.get(id).is_some_and(|alert| !alert.is_resolved(now));
            self.acks.restore(found.acks, now, fires);
        }
        // Those that fire make the groups first, so that the others find them.
        restored.sort_by_key(|alert| alert.is_resolved(now));
        self.route(&restored, now, Timing::Restored);
        if silences + entries + alerts > 0 {
            info!(silences, entries, alerts, "alertmanager state read");
        }
    }

    /// Starts what runs by the clock.
    pub(crate) fn spawn_upkeep(self: &Arc<Self>, options: &Options) {
        let weak = Arc::downgrade(self);
        let stop = self.stop.clone();
        let (gc, write) = (options.gc_interval, options.maintenance_interval);
        self.tasks.spawn_on(
            async move {
                let mut sync = tokio::time::interval(SYNC_EVERY);
                sync.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let (mut swept, mut collected, mut written) = (Instant::now(), Instant::now(), Instant::now());
                let mut doubted = Instant::now();
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        _ = sync.tick() => {}
                    }
                    let Some(inner) = Weak::upgrade(&weak) else { return };
                    let due = |since: &mut Instant, interval: Duration| {
                        let is_due = since.elapsed() >= interval;
                        if is_due {
                            *since = Instant::now();
                        }
                        is_due
                    };
                    let (sweep, gc) = (due(&mut swept, SWEEP_EVERY), due(&mut collected, gc));
                    let write = due(&mut written, write)
                        || inner.disk.as_ref().is_some_and(|disk| disk.is_large())
                        || inner.disk.as_ref().is_some_and(|disk| disk.is_in_doubt())
                            && due(&mut doubted, WRITE_AGAIN_AFTER);
                    if !sweep && !gc && !write && inner.disk.is_none() {
                        continue;
                    }
                    let work = move || {
                        if sweep {
                            inner.silences.lock().log_passing(inner.clock.now_ms());
                            inner.sweep();
                            inner.sweep_acknowledgements();
                            inner.make_recurring();
                        }
                        if gc {
                            inner.forget_alerts();
                        }
                        inner.write_events();
                        if write {
                            inner.write_state();
                        } else if let Some(disk) = &inner.disk {
                            disk.sync();
                        }
                    };
                    // A panic there is told where it happens; the next turn comes all the same.
                    let _ = tokio::task::spawn_blocking(work).await;
                }
            },
            &self.runtime,
        );
    }

    // Notes which alerts have ended because nobody posted them again, for the next process, too.
    pub(crate) fn sweep(&self) {
        let now = self.clock.now_ms();
        let (mut events, mut noted) = (Vec::new(), Vec::new());
        let mut state = self.state.lock();
        let ended = state.store.iter().filter(|a| a.is_resolved(now));
        let ended: Vec<_> = ended
            .filter(|a| !state.ended.contains(&a.fingerprint))
            .cloned()
            .collect();
        for alert in ended {
            state.ended.insert(alert.fingerprint);
            state.inhibitor.remove(alert.fingerprint, &alert.labels);
            events.push(Event {
                at: alert.ends_at,
                fingerprint: alert.fingerprint,
                labels: alert.labels.clone(),
                what: Happening::Resolved { by_timeout: true },
            });
            noted.extend(state.store.end(alert.fingerprint));
        }
        drop(state);
        self.events.note(events);
        let Some(disk) = &self.disk else { return };
        for some in noted.chunks(ALERTS_AT_ONCE) {
            disk.keep_alerts(some.iter().map(AsRef::as_ref));
            // What was posted meanwhile may have been written before its end: the later record counts.
            let posted: Vec<_> = {
                let state = self.state.lock();
                let now = some
                    .iter()
                    .filter_map(|noted| Some((noted, state.store.get(noted.fingerprint)?)));
                let posted = now.filter(|(noted, now)| !Arc::ptr_eq(noted, now));
                posted.map(|(_, now)| now.clone()).collect()
            };
            disk.keep_alerts(posted.iter().map(AsRef::as_ref));
        }
    }

    // Forgets resolved alerts, but those that a group has still to tell of: a reload, or the next process, has them from here.
    pub(crate) fn forget_alerts(&self) {
        self.sweep();
        let now = self.clock.now_ms();
        let known: HashSet<u64> = {
            let mut state = self.state.lock();
            let mut untold = HashSet::new();
            for group in state.groups.values() {
                untold.extend(group.alerts.lock().keys().copied());
            }
            for gone in state.store.forget_resolved(now, |id| untold.contains(&id)) {
                state.ended.remove(&gone.fingerprint);
                state.inhibitor.remove(gone.fingerprint, &gone.labels);
            }
            state.store.iter().map(|a| a.fingerprint).collect()
        };
        self.silences.lock().forget_alerts(|id| known.contains(&id));
    }

    /// Writes the events that are new.
    pub(crate) fn write_events(&self) {
        let Some(disk) = &self.disk else { return };
        let keep_from = self.clock.now_ms().saturating_sub(self.events.keep_ms);
        loop {
            // Not all of a storm's at once: they are copied for this.
            let events = self.events.take_unwritten(EVENTS_AT_ONCE);
            disk.keep_events(&events, keep_from);
            if events.len() < EVENTS_AT_ONCE {
                return;
            }
        }
    }

    /// Forgets what is past its time and writes the state's files.
    pub(crate) fn write_state(&self) {
        let now = self.clock.now_ms();
        let begin = Instant::now();
        self.silences.lock().collect_garbage(now);
        let silences_gc = begin.elapsed();
        self.nflog.lock().collect_garbage(now);
        let (silences, nflog) = (&self.metrics.silences, &self.metrics.nflog);
        silences.gc_seconds.observe(silences_gc.as_secs_f64());
        nflog.gc_seconds.observe((begin.elapsed() - silences_gc).as_secs_f64());
        silences.maintenance.inc();
        nflog.maintenance.inc();
        let Some(disk) = &self.disk else { return };
        let begin = Instant::now();
        let written = disk.snapshot(
            || {
                // What a change has written already is to be among them.
                let _none = self.changing_silences.lock();
                self.silences.lock().snapshot()
            },
            || self.nflog.lock().snapshot(),
            || self.state.lock().store.iter().map(|a| a.encode()).collect(),
        );
        match written {
            Ok(SnapshotSizes { silences: s, nflog: n }) => {
                let took = begin.elapsed().as_secs_f64();
                silences.snapshot_seconds.observe(took);
                nflog.snapshot_seconds.observe(took);
                silences.snapshot_bytes.set(s as f64);
                nflog.snapshot_bytes.set(n as f64);
            }
            Err(error) => {
                silences.maintenance_errors.inc();
                nflog.maintenance_errors.inc();
                error!(%error, "alertmanager state cannot be written; the journal goes on");
            }
        }
    }

    /// Registers what is counted when it is asked for.
    pub(crate) fn register(self: &Arc<Self>, registry: &Registry) {
        let weak = Arc::downgrade(self);
        let by_state = move |counts: Vec<(&'static str, usize)>| {
            let series = counts.into_iter().map(|(state, count)| {
                let labels = vec![("state".to_owned(), state.to_owned())];
                (labels, SeriesValue::Number(count as f64))
            });
            series.collect::<Vec<_>>()
        };
        let inner = weak.clone();
        let alerts = move || {
            let counts = inner.upgrade().map(|inner| inner.alert_counts()).unwrap_or_default();
            by_state(vec![("active", counts.0), ("suppressed", counts.1), ("unprocessed", 0)])
        };
        registry.add(
            "alertmanager_alerts",
            "How many alerts by state.",
            Kind::Gauge,
            alerts.clone(),
        );
        registry.add(
            "alertmanager_marked_alerts",
            "How many alerts by state are currently marked in the Alertmanager regardless of their expiry.",
            Kind::Gauge,
            alerts,
        );
        let inner = weak.clone();
        registry.add(
            "alertmanager_silences",
            "How many silences by state.",
            Kind::Gauge,
            move || {
                let states = [SilenceState::Active, SilenceState::Expired, SilenceState::Pending];
                let Some(inner) = inner.upgrade() else {
                    return Vec::new();
                };
                let now = inner.clock.now_ms();
                let silences = inner.silences.lock();
                let count = |state| silences.iter().filter(|s| s.state(now) == state).count();
                by_state(states.into_iter().map(|s| (s.as_str(), count(s))).collect())
            },
        );
        registry.computed(
            "alertmanager_dispatcher_aggregation_groups",
            "Number of active aggregation groups",
            Kind::Gauge,
            move || {
                weak.upgrade()
                    .map_or(0.0, |inner| inner.state.lock().groups.len() as f64)
            },
        );
    }

    // Active and suppressed ones.
    fn alert_counts(&self) -> (usize, usize) {
        let now = self.clock.now_ms();
        let firing: Vec<(Arc<StoredAlert>, bool)> = {
            let state = self.state.lock();
            let firing = state.store.iter().filter(|a| !a.is_resolved(now));
            firing
                .map(|a| (a.clone(), state.inhibiting(a, now).is_some()))
                .collect()
        };
        let mut silences = self.silences.lock();
        let mut suppressed = 0;
        for (alert, is_inhibited) in &firing {
            let is_quiet = *is_inhibited || !silences.silencing(alert.fingerprint, &alert.labels, now).is_empty();
            suppressed += usize::from(is_quiet);
        }
        (firing.len() - suppressed, suppressed)
    }
}
