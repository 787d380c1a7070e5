//! Why an alert fires, or does not: what happened to each alert of each rule, in the order in which it happened, until it
//! was sent to an Alertmanager. What that one makes of it, its own history says.
//!
//! Everything that decides about an alert notes an [`AlertEvent`]. The list is bounded by number and age and goes on after
//! a restart where it has a folder. Prometheus has no such thing.

mod lines;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use cupola_env::Vfs;
use cupola_model::Labels;
use parking_lot::Mutex;

use crate::alerting::{ActiveAlert, Change, Changed};
use lines::Lines;

// Of all alerts together. One takes about two hundred bytes.
const MOST_EVENTS: usize = 100_000;
// So many answers of Alertmanagers are remembered, so that only what has changed is noted.
const MOST_SENDINGS: usize = 100_000;
// So many events are copied to be written.
const EVENTS_AT_ONCE: usize = 2_000;
// 120 h, as Alertmanager keeps what it knows.
const KEEP_MS: i64 = 120 * 3_600_000;

/// Where a rule stands and what it asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleName {
    /// The file.
    pub file: String,
    /// The group.
    pub group: String,
    /// The alert's name.
    pub name: String,
    /// The expression as Prometheus would print it.
    pub query: String,
}

/// One thing that happened to one alert.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertEvent {
    /// When, milliseconds since the epoch; of what an evaluation did, the evaluation's time.
    pub at: i64,
    /// The alert's labels, as the rule makes them.
    pub labels: Labels,
    /// Its rule; `None` for what happened when it was sent.
    pub rule: Option<Arc<RuleName>>,
    /// What.
    pub what: Happened,
}

/// What can happen to an alert. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// The expression gives it, with this value.
    Pending {
        /// The expression's value.
        value: f64,
    },
    /// It fires.
    Firing {
        /// The expression's value.
        value: f64,
        /// Since when the expression gives it.
        since: i64,
    },
    /// The expression does not give it any more; it fires on for as long as `keep_firing_for` says.
    Kept,
    /// The expression gives it again while it was kept.
    Given {
        /// The expression's value.
        value: f64,
    },
    /// It fires no more.
    Resolved,
    /// It ended before `for` was over; nobody was told.
    Ended,
    /// After a restart it goes on where it was.
    Restored {
        /// Since when the expression gives it.
        since: i64,
    },
    /// The rule gave more alerts than the group's `limit`: all of them are forgotten.
    Forgotten {
        /// The rule's error.
        error: String,
    },
    /// It was sent, or was to be sent.
    Sent {
        /// To whom: a URL, or a name for the Alertmanager in this process. Empty where there is nobody.
        to: Arc<str>,
        /// Whether it was sent as resolved.
        is_resolved: bool,
        /// Fingerprint of its labels as they were sent.
        sent_as: u64,
        /// What became of that.
        outcome: Sending,
    },
}

/// What became of an alert that was to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sending {
    /// The Alertmanager has it.
    Taken,
    /// It was not taken, and is sent again with the next resend delay as long as it fires.
    Failed(String),
    /// Relabelling dropped it.
    Dropped,
    /// It waited and was given up, because the queue was full or the server stopped; sent again as above.
    Lost(String),
    /// There is no Alertmanager.
    Nobody,
}

// What was last noted of a sending: whether it was resolved, and the kind of the outcome.
type LastSending = (bool, std::mem::Discriminant<Sending>);

#[derive(Default)]
struct State {
    events: VecDeque<AlertEvent>,
    // So many at the end are not on disk yet.
    unwritten: usize,
    sendings: HashMap<(u64, Arc<str>), LastSending>,
}

struct Inner {
    state: Mutex<State>,
    // Lock order: this one, then `state`.
    lines: Mutex<Option<Lines>>,
    keep_ms: AtomicI64,
}

/// The latest events. Cloning shares it.
#[derive(Clone)]
pub struct AlertHistory {
    inner: Arc<Inner>,
}

impl Default for AlertHistory {
    fn default() -> Self {
        let inner = Inner {
            state: Mutex::default(),
            lines: Mutex::default(),
            keep_ms: AtomicI64::new(KEEP_MS),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl AlertHistory {
    /// Keeps events for at most `ms` milliseconds (120 h where nothing is said); with 0 none are noted.
    pub fn keep_for(&self, ms: i64) {
        self.inner.keep_ms.store(ms, Ordering::Relaxed);
    }

    /// From now on [`AlertHistory::write`] writes to `dir`, which is made where it is absent; what an earlier process left
    /// there is read. Blocks.
    ///
    /// # Errors
    /// What the system says; then the history is in memory alone.
    pub fn open(&self, vfs: Arc<dyn Vfs>, dir: PathBuf) -> io::Result<()> {
        let (lines, events) = Lines::open(vfs, dir)?;
        let mut place = self.inner.lines.lock();
        let skipped = events.len().saturating_sub(MOST_EVENTS);
        self.note(events.into_iter().skip(skipped));
        self.inner.state.lock().unwritten = 0;
        *place = Some(lines);
        Ok(())
    }

    /// Writes the events that are new, and deletes files all of whose events are too old at `now`. Blocks. What cannot be
    /// written is told once in the log and stays in memory.
    pub fn write(&self, now: i64) {
        let mut lines = self.inner.lines.lock();
        let Some(lines) = &mut *lines else { return };
        let keep_from = now.saturating_sub(self.inner.keep_ms.load(Ordering::Relaxed));
        loop {
            let events = self.take_unwritten();
            lines.append(&events, keep_from);
            if events.len() < EVENTS_AT_ONCE {
                return;
            }
        }
    }

    fn take_unwritten(&self) -> Vec<AlertEvent> {
        let mut state = self.inner.state.lock();
        let written = state.events.len().saturating_sub(state.unwritten);
        let taken: Vec<AlertEvent> = state.events.range(written..).take(EVENTS_AT_ONCE).cloned().collect();
        state.unwritten -= taken.len();
        taken
    }

    fn note(&self, events: impl IntoIterator<Item = AlertEvent>) {
        let keep_ms = self.inner.keep_ms.load(Ordering::Relaxed);
        if keep_ms <= 0 {
            return;
        }
        let mut state = self.inner.state.lock();
        for event in events {
            let all = &mut state.events;
            let keep_from = event.at.saturating_sub(keep_ms);
            while all.len() >= MOST_EVENTS || all.front().is_some_and(|oldest| oldest.at < keep_from) {
                all.pop_front();
            }
            all.push_back(event);
            state.unwritten = (state.unwritten + 1).min(state.events.len());
        }
    }

    /// Notes what an evaluation changed.
    pub(crate) fn changed(&self, rule: &Arc<RuleName>, ts: i64, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.note(changes.into_iter().map(|change| AlertEvent {
            at: ts,
            labels: change.labels,
            rule: Some(rule.clone()),
            what: match change.what {
                Changed::Pending(value) => Happened::Pending { value },
                Changed::Firing(value, since) => Happened::Firing { value, since },
                Changed::Kept => Happened::Kept,
                Changed::Given(value) => Happened::Given { value },
                Changed::Resolved => Happened::Resolved,
                Changed::Ended => Happened::Ended,
            },
        }));
    }

    pub(crate) fn restored(&self, rule: &Arc<RuleName>, ts: i64, labels: &Labels, since: i64) {
        self.note([AlertEvent {
            at: ts,
            labels: labels.clone(),
            rule: Some(rule.clone()),
            what: Happened::Restored { since },
        }]);
    }

    pub(crate) fn forgotten<'a>(
        &self,
        rule: &Arc<RuleName>,
        ts: i64,
        alerts: impl Iterator<Item = &'a ActiveAlert>,
        error: &str,
    ) {
        self.note(alerts.map(|alert| AlertEvent {
            at: ts,
            labels: alert.labels.clone(),
            rule: Some(rule.clone()),
            what: Happened::Forgotten {
                error: error.to_owned(),
            },
        }));
    }

    /// Notes what became of an alert that was to be sent to `to`: `labels` are those of the rule, `sent_as` is the
    /// fingerprint of those that were sent. An alert is sent again and again; only what has changed since is noted.
    pub fn sent(&self, at: i64, labels: &Labels, to: &Arc<str>, is_resolved: bool, sent_as: u64, outcome: Sending) {
        {
            let mut state = self.inner.state.lock();
            if state.sendings.len() >= MOST_SENDINGS {
                // Forgotten all at once: what goes on is noted once more.
                state.sendings.clear();
            }
            let now = (is_resolved, std::mem::discriminant(&outcome));
            if state.sendings.insert((labels.fingerprint(), to.clone()), now) == Some(now) {
                return;
            }
        }
        self.note([AlertEvent {
            at,
            labels: labels.clone(),
            rule: None,
            what: Happened::Sent {
                to: to.clone(),
                is_resolved,
                sent_as,
                outcome,
            },
        }]);
    }

    /// The latest `limit` events that `wanted` wants, newest first.
    #[must_use]
    pub fn latest(&self, limit: usize, wanted: impl Fn(&AlertEvent) -> bool) -> Vec<AlertEvent> {
        let state = self.inner.state.lock();
        let found = state.events.iter().rev().filter(|event| wanted(event));
        found.take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
