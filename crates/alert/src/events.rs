//! Why something was told, or was not: what happened to each alert, in the order in which it happened.
//!
//! Everything that decides about an alert hands an [`Event`] to the one [`EventLog`]. It is bounded by number and age.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use cupola_model::Labels;
use parking_lot::Mutex;

use crate::acks::Acknowledgement;
use crate::deliver::Outcome;

// Of all alerts together. One takes about a hundred bytes.
const MOST_EVENTS: usize = 100_000;

/// One thing that happened to one alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, milliseconds since the epoch.
    pub at: i64,
    /// The alert's.
    pub fingerprint: u64,
    /// The alert's.
    pub labels: Labels,
    /// What.
    pub what: Happening,
}

/// What can happen to an alert.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// It was posted and did not fire before.
    Fired,
    /// It was refused: there are too many alerts of its name.
    Refused,
    /// It ended.
    Resolved {
        /// Nobody said so: it was not posted again in time.
        by_timeout: bool,
    },
    /// A route took it.
    Grouped {
        /// The route's receiver.
        receiver: Arc<str>,
        /// The matchers on the way to the route, and the labels that make the group.
        group_key: Arc<str>,
        /// When the group next tells what is new.
        flush_at: i64,
    },
    /// Its group had something to say, and it was left out.
    Suppressed {
        /// Which group.
        group_key: Arc<str>,
        /// Why.
        by: Suppression,
    },
    /// It is no longer left out.
    Released {
        /// Of which group.
        group_key: Arc<str>,
    },
    /// It was in a message.
    Told(Arc<Message>),
    /// Somebody looks after it.
    Acknowledged(Arc<Acknowledgement>),
    /// Nobody looks after it any more, though it fires.
    Unacknowledged {
        /// Who took the acknowledgement back; empty where its time was up.
        by: String,
    },
    /// A reminder was due and left out, as all of the group's alerts are acknowledged.
    Held {
        /// Which group.
        group_key: Arc<str>,
        /// Who looks after this alert.
        by: String,
    },
}

/// What keeps an alert quiet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suppression {
    /// An alert with this fingerprint, by the rule of this name, which may be empty.
    Inhibition(u64, Arc<str>),
    /// The route has active time intervals, and it is none of them.
    Inactive(Arc<[String]>),
    /// A mute time interval of the route.
    Muted(Arc<[String]>),
    /// Silences with these ids.
    Silence(Vec<Arc<str>>),
}

/// A message that somebody was sent, or was to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The receiver's name.
    pub receiver: Arc<str>,
    /// `webhook[0]`.
    pub integration: String,
    /// The group's key.
    pub group_key: Arc<str>,
    /// Why it was due.
    pub reason: Cow<'static, str>,
    /// What became of it.
    pub outcome: Outcome,
    /// How many attempts it took so far.
    pub attempts: u32,
    /// Empty where it was sent.
    pub error: String,
    /// How many of its alerts fired.
    pub firing: usize,
    /// How many were resolved.
    pub resolved: usize,
    /// The requests of the attempt and what came back, `POST chat.example.org: 200`; empty where none was answered, and
    /// for e-mail.
    pub answer: String,
}

/// The latest events.
#[derive(Debug)]
pub(crate) struct EventLog {
    state: Mutex<State>,
    /// How long they stay.
    pub keep_ms: i64,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    // So many at the end are not on disk yet.
    unwritten: usize,
}

impl EventLog {
    /// Keeps events for at most `keep_ms`.
    pub(crate) fn new(keep_ms: i64) -> Self {
        Self {
            state: Mutex::default(),
            keep_ms,
        }
    }

    pub(crate) fn note(&self, events: impl IntoIterator<Item = Event>) {
        let mut state = self.state.lock();
        for event in events {
            let all = &mut state.events;
            while all.len() >= MOST_EVENTS
                || all
                    .front()
                    .is_some_and(|e| e.at < event.at.saturating_sub(self.keep_ms))
            {
                all.pop_front();
            }
            all.push_back(event);
            state.unwritten = (state.unwritten + 1).min(state.events.len());
        }
    }

    /// Takes in the events of an earlier process, oldest first.
    pub(crate) fn restore(&self, events: Vec<Event>) {
        let skipped = events.len().saturating_sub(MOST_EVENTS);
        self.note(events.into_iter().skip(skipped));
        self.state.lock().unwritten = 0;
    }

    /// The oldest `most` of those that are not on disk yet; from now on they count as written.
    pub(crate) fn take_unwritten(&self, most: usize) -> Vec<Event> {
        let mut state = self.state.lock();
        let written = state.events.len().saturating_sub(state.unwritten);
        let taken: Vec<Event> = state.events.range(written..).take(most).cloned().collect();
        state.unwritten -= taken.len();
        taken
    }

    /// Hands on events, newest first, until `take` has enough.
    pub(crate) fn walk(&self, mut take: impl FnMut(&Event) -> ControlFlow<()>) {
        let state = self.state.lock();
        // Whether it was broken off is of no interest.
        let _ = state.events.iter().rev().try_for_each(&mut take);
    }

    /// The latest `limit` events that `wanted` wants, newest first.
    pub(crate) fn latest(&self, limit: usize, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let state = self.state.lock();
        state
            .events
            .iter()
            .rev()
            .filter(|e| wanted(e))
            .take(limit)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_by_age() {
        let log = EventLog::new(100);
        let event = |at| Event {
            at,
            fingerprint: 1,
            labels: Labels::empty(),
            what: Happening::Fired,
        };
        log.note([event(0), event(50), event(101)]);
        let times: Vec<i64> = log.latest(10, |_| true).iter().map(|e| e.at).collect();
        assert_eq!(times, [101, 50]);
        log.note((0..MOST_EVENTS as i64 + 5).map(|_| event(102)));
        assert_eq!(log.state.lock().events.len(), MOST_EVENTS);
        assert_eq!(log.take_unwritten(10).len(), 10);
        assert_eq!(log.take_unwritten(usize::MAX).len(), MOST_EVENTS - 10);
        log.note([event(103)]);
        assert_eq!(log.take_unwritten(10), [event(103)]);
        assert!(log.take_unwritten(10).is_empty());
    }
}
