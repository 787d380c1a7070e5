//! Acknowledgements: somebody has seen an alert and looks after it. Alertmanager has no such thing.
//!
//! An alert that is acknowledged is told as ever when it is new and when it is over. Reminders after `repeat_interval` are
//! left out while all firing alerts of a group are acknowledged. An acknowledgement ends with its alert, at the moment it
//! names, or when somebody takes it back; then a reminder that is due comes with the next flush.

use std::collections::HashMap;
use std::sync::Arc;

use cupola_model::Labels;
use parking_lot::Mutex;
use thiserror::Error;

use crate::dispatch::{Alertmanager, Inner};
use crate::events::{Event, Happening};
use crate::state::Disk;
use cupola_wire::{Fields, Message, WireError, pair};

// Of a name and of a note, in bytes.
const LONGEST_NAME: usize = 256;
const LONGEST_NOTE: usize = 4096;

/// Somebody looks after an alert. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Of the alert's labels.
    pub fingerprint: u64,
    /// The alert's.
    pub labels: Labels,
    /// Who.
    pub by: String,
    /// What he says; may be empty.
    pub note: String,
    /// Since when.
    pub at: i64,
    /// Until when; `None` is as long as the alert fires.
    pub ends_at: Option<i64>,
}

impl Acknowledgement {
    fn is_on(&self, now: i64) -> bool {
        self.ends_at.is_none_or(|end| now < end)
    }

    /// `docs/format/alertmanager.md` has the fields.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Message::default();
        for (name, value) in &self.labels {
            out.pair(1, name, value);
        }
        out.bytes(2, self.by.as_bytes());
        out.bytes(3, self.note.as_bytes());
        out.time(4, self.at);
        if let Some(end) = self.ends_at {
            out.time(5, end);
        }
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut labels = Vec::new();
        let (mut by, mut note, mut at, mut ends_at) = (String::new(), String::new(), 0, None);
        for field in Fields(bytes) {
            let (number, value) = field?;
            match number {
                1 => labels.push(pair(value, number)?),
                2 => by = value.text(number)?,
                3 => note = value.text(number)?,
                4 => at = value.time(number)?,
                5 => ends_at = Some(value.time(number)?),
                _ => {}
            }
        }
        let labels = Labels::from_pairs(labels);
        Ok(Self {
            fingerprint: labels.fingerprint(),
            labels,
            by,
            note,
            at,
            ends_at,
        })
    }
}

/// Why an alert is not acknowledged. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AcknowledgeError {
    /// There is nothing to look after.
    #[error("no alert with fingerprint {0:016x} fires")]
    NotFiring(u64),
    /// Nobody has acknowledged it.
    #[error("the alert with fingerprint {0:016x} is not acknowledged")]
    NotAcknowledged(u64),
    /// It says nothing that can be used.
    #[error("invalid acknowledgement: {0}")]
    Invalid(String),
    /// It could not be written.
    #[error("the acknowledgement cannot be kept: {0}")]
    Disk(String),
}

/// All of them, by the alert's fingerprint.
#[derive(Default)]
pub(crate) struct Acks {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    all: HashMap<u64, Arc<Acknowledgement>>,
    // Some have ended since they were written.
    is_dirty: bool,
}

impl State {
    // Writes what would be there with or without one alert's; nothing has changed yet.
    fn keep(&self, disk: Option<&Disk>, without: u64, with: Option<&Acknowledgement>) -> Result<(), AcknowledgeError> {
        let Some(disk) = disk else { return Ok(()) };
        let others = self.all.values().filter(|ack| ack.fingerprint != without);
        let all: Vec<Vec<u8>> = others
            .map(AsRef::as_ref)
            .chain(with)
            .map(Acknowledgement::encode)
            .collect();
        disk.write_acknowledgements(&all)
            .map_err(|error| AcknowledgeError::Disk(error.to_string()))
    }
}

impl Acks {
    /// Takes what an earlier process left; `fires` says which alerts still do.
    pub(crate) fn restore(&self, found: Vec<Acknowledgement>, now: i64, fires: impl Fn(u64) -> bool) {
        let mut state = self.state.lock();
        for ack in found {
            if ack.is_on(now) && fires(ack.fingerprint) {
                state.all.insert(ack.fingerprint, Arc::new(ack));
            } else {
                state.is_dirty = true;
            }
        }
    }

    /// Those that are on, if all of `alerts` have one; empty else.
    pub(crate) fn of_all(&self, alerts: impl Iterator<Item = u64>, now: i64) -> Vec<Arc<Acknowledgement>> {
        let state = self.state.lock();
        if state.all.is_empty() {
            return Vec::new();
        }
        let one = |id| state.all.get(&id).filter(|ack| ack.is_on(now)).cloned();
        alerts.map(one).collect::<Option<_>>().unwrap_or_default()
    }

    /// Forgets those of alerts that have ended.
    pub(crate) fn end(&self, alerts: impl IntoIterator<Item = u64>) {
        let mut state = self.state.lock();
        for id in alerts {
            state.is_dirty |= state.all.remove(&id).is_some();
        }
    }

    /// Forgets those whose time is up, and those of alerts that do not fire. Returns the first.
    fn sweep(&self, now: i64, fires: impl Fn(u64) -> bool) -> Vec<Arc<Acknowledgement>> {
        let mut state = self.state.lock();
        let mut over = Vec::new();
        let before = state.all.len();
        state.all.retain(|id, ack| {
            let is_firing = fires(*id);
            if is_firing && !ack.is_on(now) {
                over.push(ack.clone());
            }
            is_firing && ack.is_on(now)
        });
        state.is_dirty |= state.all.len() != before;
        over
    }
}

impl Inner {
    /// Notes which acknowledgements are over, and writes the others where that has changed.
    pub(crate) fn sweep_acknowledgements(&self) {
        {
            let state = self.acks.state.lock();
            if state.all.is_empty() && !state.is_dirty {
                return;
            }
        }
        let now = self.clock.now_ms();
        let firing: std::collections::HashSet<u64> = {
            let state = self.state.lock();
            let firing = state.store.iter().filter(|a| !a.is_resolved(now));
            firing.map(|a| a.fingerprint).collect()
        };
        let over = self.acks.sweep(now, |id| firing.contains(&id));
        self.events.note(over.into_iter().map(|ack| Event {
            at: ack.ends_at.unwrap_or(now),
            fingerprint: ack.fingerprint,
            labels: ack.labels.clone(),
            what: Happening::Unacknowledged { by: String::new() },
        }));
        let mut state = self.acks.state.lock();
        // Where it fails it is tried again at the next sweep; a restart looks at the alerts itself.
        if state.is_dirty && state.keep(self.disk.as_ref(), 0, None).is_ok() {
            state.is_dirty = false;
        }
    }
}

impl Alertmanager {
    /// The acknowledgements that are on, the latest first.
    #[must_use]
    pub fn acknowledgements(&self) -> Vec<Arc<Acknowledgement>> {
        let now = self.now_ms();
        let state = self.inner.acks.state.lock();
        let mut all: Vec<_> = state.all.values().filter(|ack| ack.is_on(now)).cloned().collect();
        drop(state);
        all.sort_by_key(|ack| (std::cmp::Reverse(ack.at), ack.fingerprint));
        all
    }

    /// Acknowledges an alert that fires, in the place of what somebody said of it before. It is on the device when this
    /// returns, so this blocks.
    ///
    /// # Errors
    /// [`AcknowledgeError`]; then nothing has changed.
    pub fn acknowledge(
        &self,
        fingerprint: u64,
        by: &str,
        note: &str,
        ends_at: Option<i64>,
    ) -> Result<Arc<Acknowledgement>, AcknowledgeError> {
        let now = self.now_ms();
        let refuse = |why: &str| Err(AcknowledgeError::Invalid(why.to_owned()));
        let (by, note) = (by.trim(), note.trim());
        if by.is_empty() {
            return refuse("it does not say who looks after the alert");
        }
        if by.len() > LONGEST_NAME {
            return refuse("the name is longer than 256 bytes");
        }
        if note.len() > LONGEST_NOTE {
            return refuse("the note is longer than 4096 bytes");
        }
        if ends_at.is_some_and(|end| end <= now) {
            return refuse("its end is in the past");
        }
        let inner = &self.inner;
        let alert = inner.state.lock().store.get(fingerprint).cloned();
        let Some(alert) = alert.filter(|alert| !alert.is_resolved(now)) else {
            return Err(AcknowledgeError::NotFiring(fingerprint));
        };
        let ack = Arc::new(Acknowledgement {
            fingerprint,
            labels: alert.labels.clone(),
            by: by.to_owned(),
            note: note.to_owned(),
            at: now,
            ends_at,
        });
        {
            let mut state = inner.acks.state.lock();
            state.keep(inner.disk.as_ref(), fingerprint, Some(&ack))?;
            state.is_dirty = false;
            state.all.insert(fingerprint, ack.clone());
        }
        inner.events.note([Event {
            at: now,
            fingerprint,
            labels: alert.labels.clone(),
            what: Happening::Acknowledged(ack.clone()),
        }]);
        Ok(ack)
    }

    /// Takes an acknowledgement back; `by` is who does, and may be empty. Blocks as [`Alertmanager::acknowledge`].
    ///
    /// # Errors
    /// [`AcknowledgeError::NotAcknowledged`], and [`AcknowledgeError::Disk`]; then nothing has changed.
    pub fn unacknowledge(&self, fingerprint: u64, by: &str) -> Result<(), AcknowledgeError> {
        let inner = &self.inner;
        let old = {
            let mut state = inner.acks.state.lock();
            if !state.all.contains_key(&fingerprint) {
                return Err(AcknowledgeError::NotAcknowledged(fingerprint));
            }
            state.keep(inner.disk.as_ref(), fingerprint, None)?;
            state.is_dirty = false;
            state.all.remove(&fingerprint)
        };
        inner.events.note(old.map(|old| Event {
            at: self.now_ms(),
            fingerprint,
            labels: old.labels.clone(),
            what: Happening::Unacknowledged {
                by: by.trim().to_owned(),
            },
        }));
        Ok(())
    }
}
