//! Acknowledgements: somebody has seen an alert and looks after it. Alertmanager has no such thing.
//!
//! An alert that is acknowledged is told as ever when it is new and when it is over. Reminders after `repeat_interval` are
//! left out while all firing alerts of a group are acknowledged. An acknowledgement ends with its alert, at the moment it
//! names, or when somebody takes it back; then a reminder that is due comes with the next flush.
//!
//! Members of a cluster share them, and that they were taken back or that their alert has ended; a member that does not know
//! of one sends the reminder. An end at one member is an end at all, as the end of the alert has been told then.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cupola_model::Labels;
use parking_lot::Mutex;
use thiserror::Error;
use tracing::{error, warn};

use crate::dispatch::{Alertmanager, Inner};
use crate::events::{Event, Happening};
use crate::replicate;
use crate::state::Disk;
use cupola_wire::{Fields, Message, WireError, pair};

// Of a name and of a note, in bytes.
const LONGEST_NAME: usize = 256;
const LONGEST_NOTE: usize = 4096;
// So many are taken from other members.
const MOST: usize = 100_000;

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

/// What was last said of an alert: that somebody looks after it, or that nobody does any more. Members of a cluster share
/// it; of two the younger one counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    /// Where nobody does any more: by whom it was taken back, or nobody's where the alert has ended.
    ack: Arc<Acknowledgement>,
    updated_at: i64,
    // From then on it may be forgotten; who knows that the alert fires moves it on.
    expires_at: i64,
    is_over: bool,
    // That its time is up has been noted.
    is_noted: bool,
}

impl Said {
    fn is_on(&self, now: i64) -> bool {
        !self.is_over && self.ack.is_on(now)
    }

    // The same for every member, also where two were said in one millisecond.
    fn is_younger(&self, other: &Self) -> bool {
        let rank = |said: &Self| (said.updated_at, said.is_over, said.ack.encode());
        rank(self) > rank(other)
    }

    fn taken_back(&self, by: &str, now: i64, retention_ms: i64) -> Self {
        let ack = Acknowledgement {
            by: by.to_owned(),
            note: String::new(),
            // Whoever does not know of taking back sees one that is over.
            ends_at: Some(now),
            ..Acknowledgement::clone(&self.ack)
        };
        Self {
            ack: Arc::new(ack),
            updated_at: now.max(self.updated_at.saturating_add(1)),
            expires_at: self.expires_at.max(now.saturating_add(retention_ms)),
            is_over: true,
            is_noted: true,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Message(self.ack.encode());
        out.time(6, self.updated_at);
        out.time(7, self.expires_at);
        out.number(8, u64::from(self.is_over));
        out.0
    }

    /// The times are 0 where an older version wrote it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let ack = Arc::new(Acknowledgement::decode(bytes)?);
        let mut said = Self {
            updated_at: ack.at,
            expires_at: 0,
            is_over: false,
            is_noted: false,
            ack,
        };
        for field in Fields(bytes) {
            match field? {
                (6, value) => said.updated_at = value.time(6)?,
                (7, value) => said.expires_at = value.time(7)?,
                (8, value) => said.is_over = value.number(8)? != 0,
                _ => {}
            }
        }
        Ok(said)
    }

    // What nobody may say.
    fn fault(&self) -> Option<&'static str> {
        if self.ack.labels.is_empty() {
            return Some("it names no alert");
        }
        (self.ack.by.len() > LONGEST_NAME || self.ack.note.len() > LONGEST_NOTE).then_some("it is too long")
    }
}

/// All of them, by the alert's fingerprint. Lock order: writing, then the state.
pub(crate) struct Acks {
    state: Mutex<State>,
    // Held while the file is written, which the state is not: what looks at acknowledgements does not wait for the disk.
    writing: Mutex<()>,
    retention_ms: i64,
    // Whether other members of a cluster have to hear what is taken back, and may know of alerts before this one does.
    is_shared: bool,
}

#[derive(Default)]
struct State {
    all: HashMap<u64, Said>,
    // What is on disk is older.
    is_dirty: bool,
    // The last attempt to write it failed.
    is_failing: bool,
}

impl State {
    fn take_back(&mut self, id: u64, by: &str, now: i64, acks: &Acks) -> Option<Said> {
        let said = self.all.get_mut(&id).filter(|said| !said.is_over)?;
        let over = said.taken_back(by, now, acks.retention_ms);
        if acks.is_shared {
            *said = over.clone();
        } else {
            self.all.remove(&id);
        }
        self.is_dirty = true;
        Some(over)
    }
}

/// What a sweep has found.
#[derive(Default)]
struct Swept {
    // Their time is up.
    over: Vec<Arc<Acknowledgement>>,
    // The other members have to hear of it.
    news: Vec<Vec<u8>>,
}

impl Acks {
    pub(crate) fn new(retention_ms: i64, is_shared: bool) -> Self {
        Self {
            state: Mutex::default(),
            writing: Mutex::default(),
            retention_ms,
            is_shared,
        }
    }

    // When what is said now of an alert may be forgotten.
    fn expires_at(&self, ends_at: Option<i64>, now: i64) -> i64 {
        ends_at.unwrap_or(now).max(now).saturating_add(self.retention_ms)
    }

    /// Takes what an earlier process left; `fires` says which alerts still do.
    pub(crate) fn restore(&self, found: Vec<Said>, now: i64, fires: impl Fn(u64) -> bool) {
        let mut state = self.state.lock();
        for mut said in found {
            let id = said.ack.fingerprint;
            if said.expires_at == 0 {
                said.expires_at = self.expires_at(said.ack.ends_at, now);
            }
            said.is_noted = !said.is_on(now);
            let is_of_use = if self.is_shared {
                said.expires_at > now
            } else {
                said.is_on(now) && fires(id)
            };
            if is_of_use {
                state.all.insert(id, said);
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
        let one = |id| state.all.get(&id).filter(|said| said.is_on(now));
        let one = |id| one(id).map(|said| said.ack.clone());
        alerts.map(one).collect::<Option<_>>().unwrap_or_default()
    }

    // Takes back those of alerts that have ended. Returns what the other members have to hear.
    fn end(&self, alerts: impl IntoIterator<Item = u64>, now: i64) -> Vec<Vec<u8>> {
        let mut state = self.state.lock();
        let over = alerts.into_iter().filter_map(|id| state.take_back(id, "", now, self));
        over.map(|said| said.encode()).collect()
    }

    // Looks after all: whose time is up, whose alert has ended without that it was noticed, what can be forgotten.
    // `ends_at` tells the end of an alert that is known.
    fn sweep(&self, now: i64, ends_at: impl Fn(u64) -> Option<i64>) -> Swept {
        let mut state = self.state.lock();
        let mut swept = Swept::default();
        let ids: Vec<u64> = state.all.keys().copied().collect();
        for id in ids {
            let Some(said) = state.all.get_mut(&id) else { continue };
            let end = ends_at(id);
            let fires = end.is_some_and(|end| end > now);
            let is_on = said.is_on(now);
            if fires && !is_on && !said.is_noted {
                swept.over.push(said.ack.clone());
            }
            said.is_noted |= !is_on;
            let is_of_use = match self.is_shared {
                true => said.expires_at > now,
                false => is_on && fires,
            };
            if !is_of_use {
                state.all.remove(&id);
                state.is_dirty = true;
            } else if is_on && fires && said.expires_at.saturating_sub(now) < self.retention_ms / 2 {
                said.expires_at = self.expires_at(said.ack.ends_at, now);
                swept.news.push(said.encode());
                state.is_dirty = true;
            } else if is_on && end.is_some_and(|end| end <= now && said.ack.at < end) {
                // One that is younger than the end is for the next time, of which another member has heard already.
                swept
                    .news
                    .extend(state.take_back(id, "", now, self).map(|said| said.encode()));
            }
        }
        swept
    }

    // Writes what there is with something else said of one alert, and then takes it for what is said; `None` is that nothing
    // is. Where it fails nothing has changed.
    fn say(
        &self,
        disk: Option<&Disk>,
        id: u64,
        plan: impl FnOnce(&State) -> Result<(Said, bool), AcknowledgeError>,
    ) -> Result<Said, AcknowledgeError> {
        let _one = self.writing.lock();
        let (said, stays, all) = {
            let mut state = self.state.lock();
            let (said, stays) = plan(&state)?;
            let others = state
                .all
                .iter()
                .filter(|(other, _)| **other != id)
                .map(|(_, said)| said);
            let all: Vec<Vec<u8>> = others.chain(stays.then_some(&said)).map(Said::encode).collect();
            // What others say meanwhile marks it again.
            state.is_dirty = false;
            (said, stays, all)
        };
        let written = disk.map_or(Ok(()), |disk| disk.write_acknowledgements(&all));
        let mut state = self.state.lock();
        if let Err(error) = written {
            // It may be there all the same, so what is true is written again.
            state.is_dirty = true;
            return Err(AcknowledgeError::Disk(error.to_string()));
        }
        state.is_failing = false;
        // Another member may have said something younger meanwhile.
        let is_latest = state.all.get(&id).is_none_or(|now| said.is_younger(now));
        match stays {
            true if is_latest => drop(state.all.insert(id, said.clone())),
            true => {}
            false => drop(state.all.remove(&id)),
        }
        Ok(said)
    }

    // Writes what there is, where that is not on disk. Where it fails it is tried again at the next sweep.
    fn write(&self, disk: Option<&Disk>) {
        let _one = self.writing.lock();
        let all: Vec<Vec<u8>> = {
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.is_dirty) {
                return;
            }
            state.all.values().map(Said::encode).collect()
        };
        let written = disk.map_or(Ok(()), |disk| disk.write_acknowledgements(&all));
        let mut state = self.state.lock();
        if let Err(error) = &written
            && !state.is_failing
        {
            error!(%error, "what was said of alerts is in memory alone; it is tried again");
        }
        state.is_failing = written.is_err();
        state.is_dirty |= written.is_err();
    }

    // Takes what another member says. Returns what is news, each with what was known before.
    fn merge(&self, found: Vec<(usize, Said)>, now: i64) -> Vec<(usize, Said, Option<Said>)> {
        let mut state = self.state.lock();
        let mut news = Vec::new();
        for (place, mut said) in found {
            let id = said.ack.fingerprint;
            let old = state.all.get(&id);
            let is_longer = |old: &Said| {
                let is_same = old.ack == said.ack && (old.updated_at, old.is_over) == (said.updated_at, said.is_over);
                is_same && said.expires_at > old.expires_at
            };
            let is_news = match old {
                Some(old) => said.is_younger(old) || is_longer(old),
                None => state.all.len() < MOST,
            };
            if said.expires_at <= now || !is_news {
                continue;
            }
            said.is_noted = !said.is_on(now);
            let old = state.all.insert(id, said.clone());
            news.push((place, said, old));
        }
        state.is_dirty |= !news.is_empty();
        news
    }

    /// All of them, also what was taken back, as members of a cluster send them.
    pub(crate) fn snapshot(&self) -> Vec<Vec<u8>> {
        self.state.lock().all.values().map(Said::encode).collect()
    }
}

impl Inner {
    /// Takes back the acknowledgements of alerts that have ended.
    pub(crate) fn end_acknowledgements(&self, alerts: Vec<u64>, now: i64) {
        for message in self.acks.end(alerts, now) {
            self.share(replicate::ACKNOWLEDGEMENTS, &message);
        }
    }

    /// Notes which acknowledgements are over, and writes the others where that has changed.
    pub(crate) fn sweep_acknowledgements(&self) {
        {
            let state = self.acks.state.lock();
            if state.all.is_empty() && !state.is_dirty {
                return;
            }
        }
        let now = self.clock.now_ms();
        let known: HashMap<u64, i64> = {
            let state = self.state.lock();
            state.store.iter().map(|a| (a.fingerprint, a.ends_at)).collect()
        };
        let swept = self.acks.sweep(now, |id| known.get(&id).copied());
        self.events.note(swept.over.into_iter().map(|ack| Event {
            at: ack.ends_at.unwrap_or(now),
            fingerprint: ack.fingerprint,
            labels: ack.labels.clone(),
            what: Happening::Unacknowledged { by: String::new() },
        }));
        for message in swept.news {
            self.share(replicate::ACKNOWLEDGEMENTS, &message);
        }
        // A restart looks at the alerts itself.
        self.acks.write(self.disk.as_ref());
    }

    /// Takes what another member says of alerts. Returns the places of what is news.
    pub(crate) fn merge_acknowledgements(&self, messages: &[Bytes]) -> Vec<usize> {
        let mut found = Vec::new();
        for (place, message) in messages.iter().enumerate() {
            match Said::decode(message).map(|said| (said.fault(), said)) {
                Ok((None, said)) => found.push((place, said)),
                Ok((Some(reason), _)) => warn!(reason, "an acknowledgement of another member cannot be used"),
                Err(error) => warn!(%error, "an acknowledgement of another member cannot be read"),
            }
        }
        let now = self.clock.now_ms();
        let news = self.acks.merge(found, now);
        if !news.is_empty() {
            self.acks.write(self.disk.as_ref());
        }
        let events = news.iter().filter_map(|(_, said, old)| {
            let what = match (said.is_on(now), old) {
                (true, Some(old)) if old.ack == said.ack => return None,
                (true, _) => Happening::Acknowledged(said.ack.clone()),
                (false, Some(old)) if old.is_on(now) => Happening::Unacknowledged {
                    by: said.ack.by.clone(),
                },
                _ => return None,
            };
            Some(Event {
                at: now,
                fingerprint: said.ack.fingerprint,
                labels: said.ack.labels.clone(),
                what,
            })
        });
        self.events.note(events.collect::<Vec<_>>());
        news.into_iter().map(|(place, _, _)| place).collect()
    }
}

impl Alertmanager {
    /// The acknowledgements that are on, the latest first.
    #[must_use]
    pub fn acknowledgements(&self) -> Vec<Arc<Acknowledgement>> {
        let now = self.now_ms();
        let state = self.inner.acks.state.lock();
        let on = state.all.values().filter(|said| said.is_on(now));
        let mut all: Vec<_> = on.map(|said| said.ack.clone()).collect();
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
        let said = inner.acks.say(inner.disk.as_ref(), fingerprint, |state| {
            let old = state.all.get(&fingerprint).map(|old| old.updated_at);
            let said = Said {
                ack: ack.clone(),
                updated_at: old.map_or(now, |old| now.max(old.saturating_add(1))),
                expires_at: inner.acks.expires_at(ends_at, now),
                is_over: false,
                is_noted: false,
            };
            Ok((said, true))
        })?;
        inner.share(replicate::ACKNOWLEDGEMENTS, &said.encode());
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
        let (now, by) = (self.now_ms(), by.trim());
        if by.len() > LONGEST_NAME {
            return Err(AcknowledgeError::Invalid(
                "the name is longer than 256 bytes".to_owned(),
            ));
        }
        let over = inner.acks.say(inner.disk.as_ref(), fingerprint, |state| {
            let old = state.all.get(&fingerprint).filter(|old| old.is_on(now));
            let old = old.ok_or(AcknowledgeError::NotAcknowledged(fingerprint))?;
            // Whoever is alone has nobody to tell, and forgets it.
            Ok((old.taken_back(by, now, inner.acks.retention_ms), inner.acks.is_shared))
        })?;
        inner.share(replicate::ACKNOWLEDGEMENTS, &over.encode());
        inner.events.note([Event {
            at: now,
            fingerprint,
            labels: over.ack.labels.clone(),
            what: Happening::Unacknowledged { by: by.to_owned() },
        }]);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
