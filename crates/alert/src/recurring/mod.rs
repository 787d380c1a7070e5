//! Silences that come back every week. Alertmanager has no such thing.
//!
//! What somebody asks for is kept beside the silences, and ordinary silences are made of it ahead of time: the one that is
//! on and the next one. So whatever knows silences sees them: the API, amtool, the pages, other members of a cluster. One
//! that somebody ends by hand stays ended; the next window makes another.
//!
//! Members of a cluster share the definitions, and each makes the silences: all of one window are the same to the byte,
//! so whoever is there makes it, and it is never there twice.

mod definition;
mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cupola_model::Matcher;
use parking_lot::Mutex;
use tracing::warn;

use crate::dispatch::{Alertmanager, Inner};
use crate::replicate;
use crate::silences::{self, RawMatcher, Silence, SilenceError, SilenceRequest, SilenceState};
use crate::state::Disk;
use cupola_wire::{Fields, Message, WireError};

pub(crate) use definition::Definition;
use definition::{Definitions, Removed};
pub use schedule::Schedule;

/// The annotation of a silence that names the recurring silence it was made of.
pub const RECURRING_ANNOTATION: &str = "recurring_silence";
// Which shape of it.
const REVISION_ANNOTATION: &str = "recurring_silence_revision";
// So many are made ahead.
const AHEAD: usize = 2;
// By so much another member's clock may be ahead of this one's without being wrong.
const OTHER_CLOCKS_MS: i64 = 24 * 3_600_000;
// Of all together.
const MOST: usize = 1000;

/// A silence that comes back. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct RecurringSilence {
    /// A UUID.
    pub id: Arc<str>,
    /// At least one.
    pub matchers: Vec<Matcher>,
    /// When.
    pub schedule: Schedule,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// When it was made or changed.
    pub updated_at: i64,
    /// Grows with every change; of two shapes the one with the larger revision counts.
    revision: u64,
    /// The begin of the latest window of which a silence was made.
    made_until: i64,
}

// The id of the recurring silence of which one was made.
fn maker(silence: &Silence) -> Option<&str> {
    silence.annotations.get(RECURRING_ANNOTATION).map(String::as_str)
}

/// What somebody asks for: a new one, or another shape of one that exists.
#[derive(Debug, Clone)]
pub struct RecurringRequest {
    /// Empty for a new one.
    pub id: String,
    /// Name, operator and value of each matcher.
    pub matchers: Vec<RawMatcher>,
    /// When.
    pub schedule: Schedule,
    /// Who asks.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

impl RecurringSilence {
    /// The window that is on at `now`, if one is, and those that follow within about a week.
    #[must_use]
    pub fn windows(&self, now: i64) -> Vec<(i64, i64)> {
        self.schedule.windows(now)
    }

    // The silence of one window. All of it follows from what it is made of, so that it cannot be made twice, not by another
    // member of a cluster either; and whatever is done to it later is younger.
    fn silence(&self, (starts_at, ends_at): (i64, i64)) -> Silence {
        let name = format!("{}/{}/{starts_at}", self.id, self.revision);
        let annotations = [
            (RECURRING_ANNOTATION.to_owned(), self.id.to_string()),
            (REVISION_ANNOTATION.to_owned(), self.revision.to_string()),
        ];
        Silence {
            id: silences::named_uuid(&name).into(),
            matchers: self.matchers.clone(),
            further_sets: Vec::new(),
            starts_at: starts_at.max(self.updated_at),
            ends_at,
            updated_at: self.updated_at,
            created_by: self.created_by.clone(),
            comment: self.comment.clone(),
            annotations: BTreeMap::from(annotations),
        }
    }

    // Up to the begin of which window silences were made. What lies beyond what is made at `now` was made by a clock that was
    // ahead, and says nothing of the windows before it: their silences are made, none of them twice, as each has an id.
    fn made_until(&self, now: i64) -> i64 {
        let last = self.windows(now).into_iter().take(AHEAD).next_back();
        match last {
            Some((begin, _)) if self.made_until > begin.saturating_add(OTHER_CLOCKS_MS) => 0,
            _ => self.made_until,
        }
    }

    // Whether a silence was made of this one, in this shape or an older one.
    fn made(&self, silence: &Silence) -> bool {
        maker(silence).is_some_and(|id| *id == *self.id)
    }

    fn is_stale(&self, silence: &Silence) -> bool {
        let revision = silence.annotations.get(REVISION_ANNOTATION);
        let revision = revision.and_then(|text| text.parse::<u64>().ok());
        self.made(silence) && revision.is_some_and(|revision| revision < self.revision)
    }

    /// `docs/format/alertmanager.md` has the fields.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Message::default();
        out.bytes(1, self.id.as_bytes());
        for matcher in &self.matchers {
            out.message(2, &silences::encode_matcher(matcher));
        }
        let Schedule {
            days,
            from,
            to,
            time_zone,
            starts_at,
            ends_at,
        } = &self.schedule;
        let bits = days.iter().rev().fold(0, |bits, day| bits << 1 | u64::from(*day));
        out.number(3, bits);
        out.number(4, u64::from(*from));
        out.number(5, u64::from(*to));
        out.bytes(6, time_zone.as_bytes());
        out.time(7, *starts_at);
        out.time(8, *ends_at);
        out.bytes(9, self.created_by.as_bytes());
        out.bytes(10, self.comment.as_bytes());
        out.time(11, self.updated_at);
        out.number(12, self.revision);
        out.time(13, self.made_until);
        out.0
    }

    /// Reads one; what is inside may be of no use.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Result<Self, String>, WireError> {
        let mut matchers = Vec::new();
        let (mut id, mut time_zone, mut created_by, mut comment) =
            (String::new(), String::new(), String::new(), String::new());
        let (mut bits, mut from, mut to, mut revision) = (0, 0, 0, 0);
        let (mut starts_at, mut ends_at, mut updated_at, mut made_until) = (0, 0, 0, 0);
        for field in Fields(bytes) {
            let (number, value) = field?;
            match number {
                1 => id = value.text(number)?,
                2 => matchers.push(silences::decode_matcher(value, number)?),
                3 => bits = value.number(number)?,
                4 => from = value.number(number)?,
                5 => to = value.number(number)?,
                6 => time_zone = value.text(number)?,
                7 => starts_at = value.time(number)?,
                8 => ends_at = value.time(number)?,
                9 => created_by = value.text(number)?,
                10 => comment = value.text(number)?,
                11 => updated_at = value.time(number)?,
                12 => revision = value.number(number)?,
                13 => made_until = value.time(number)?,
                _ => {}
            }
        }
        if id.is_empty() {
            return Ok(Err("it has no id".to_owned()));
        }
        let matchers = matchers
            .into_iter()
            .map(|(name, op, value)| Matcher::new_no_newline(name, op, value).map_err(|error| error.to_string()));
        let matchers = match matchers.collect::<Result<Vec<_>, _>>() {
            Ok(matchers) => matchers,
            Err(reason) => return Ok(Err(reason)),
        };
        let minutes = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        let mut days = [false; 7];
        for (index, day) in days.iter_mut().enumerate() {
            *day = bits >> index & 1 == 1;
        }
        let schedule = Schedule {
            days,
            from: minutes(from),
            to: minutes(to),
            time_zone,
            starts_at,
            ends_at,
        };
        if let Some(fault) = schedule.fault() {
            return Ok(Err(fault));
        }
        Ok(Ok(Self {
            id: Arc::from(String::as_str(&id)),
            matchers,
            schedule,
            created_by,
            comment,
            updated_at,
            revision,
            made_until,
        }))
    }
}

/// All of them. Whoever changes them works at a copy and writes it, which may take as long as the disk likes; whoever looks
/// sees what was there before.
#[derive(Default)]
pub(crate) struct Recurring {
    /// Held by who changes them. Lock order: this, then what changes silences.
    changing: Mutex<()>,
    /// Held for moments.
    all: Mutex<Definitions>,
}

impl Recurring {
    /// Takes what an earlier process left.
    pub(crate) fn restore(&self, found: Vec<Definition>, now: i64) {
        let _alone = self.changing.lock();
        let mut all = self.all.lock();
        for one in found {
            all.merge(one, now);
        }
    }

    /// All of them, also those that were deleted, as members of a cluster send them.
    pub(crate) fn snapshot(&self) -> Vec<Vec<u8>> {
        self.copy().encode()
    }

    fn copy(&self) -> Definitions {
        self.all.lock().clone()
    }
}

fn write(disk: Option<&Disk>, all: &Definitions) -> Result<(), SilenceError> {
    let Some(disk) = disk else { return Ok(()) };
    disk.write_recurring(&all.encode())
        .map_err(|error| SilenceError::Disk(error.to_string()))
}

impl Inner {
    /// Makes the silences that are due, and ends those of older shapes and of recurring silences that were deleted. What
    /// cannot be done now is tried again.
    pub(crate) fn make_recurring(&self) {
        let _alone = self.recurring.changing.lock();
        let mut all = self.recurring.copy();
        let now = self.clock.now_ms();
        let mut changed = all.forget(now);
        if all.is_empty() {
            return;
        }
        let is_over = |silence: &Silence| silence.state(now) == SilenceState::Expired;
        let is_orphan = |silence: &Silence| maker(silence).is_some_and(|id| all.is_removed(id)) && !is_over(silence);
        for id in self.silences_that(is_orphan) {
            if let Err(error) = self.end_silence(&id, now) {
                warn!(%id, %error, "the silence of a recurring silence that was deleted cannot be ended");
            }
        }
        for one in all.there_mut() {
            let stale = self.silences_that(|s| one.is_stale(s) && !is_over(s));
            let ended = stale.iter().try_for_each(|id| self.end_silence(id, now));
            let due = one.windows(now).into_iter().take(AHEAD);
            let made_until = one.made_until(now);
            let due: Vec<_> = due.filter(|(begin, _)| *begin > made_until).collect();
            let mut until = one.made_until;
            let made = due.into_iter().try_for_each(|window| {
                self.change_silences(|silences| Ok(((), silences.planned_making(one.silence(window))?)))?;
                until = window.0;
                Ok::<_, SilenceError>(())
            });
            if until != one.made_until {
                Arc::make_mut(one).made_until = until;
                // After the silences, so that whoever hears it has them.
                self.share(replicate::RECURRING, &one.encode());
                changed = true;
            }
            if let Err(error) = ended.and(made) {
                warn!(id = %one.id, %error, "the silences of a recurring silence cannot be made");
            }
        }
        if changed || all.is_dirty {
            self.write_recurring(all);
        }
    }

    // Ids.
    fn silences_that(&self, is_so: impl Fn(&Silence) -> bool) -> Vec<Arc<str>> {
        let silences = self.silences.lock();
        let found = silences.iter().filter(|silence| is_so(silence));
        found.map(|silence| silence.id.clone()).collect()
    }

    // Takes what has happened already, so that everybody sees it before the disk has it. Where writing fails, the ids of the
    // silences keep them from being made again, and the next turn tries it again.
    fn write_recurring(&self, all: Definitions) {
        *self.recurring.all.lock() = all.clone();
        let written = write(self.disk.as_ref(), &all);
        if let Err(error) = &written
            && !all.is_dirty
        {
            warn!(%error, "the recurring silences cannot be written; it is tried again");
        }
        self.recurring.all.lock().is_dirty = written.is_err();
    }

    /// Takes definitions of another member, and makes what follows from them. Returns the places of those that are news.
    pub(crate) fn merge_recurring(&self, messages: &[Bytes]) -> Vec<usize> {
        let mut found = Vec::new();
        for (place, message) in messages.iter().enumerate() {
            match Definition::decode(message) {
                Ok(Ok(definition)) => found.push((place, definition)),
                Ok(Err(reason)) => warn!(reason, "a recurring silence of another member cannot be used"),
                Err(error) => warn!(%error, "a recurring silence of another member cannot be read"),
            }
        }
        let now = self.clock.now_ms();
        let alone = self.recurring.changing.lock();
        let mut all = self.recurring.copy();
        let news = found
            .into_iter()
            .filter_map(|(place, one)| all.merge(one, now).then_some(place));
        let news: Vec<usize> = news.collect();
        if !news.is_empty() {
            self.write_recurring(all);
        }
        drop(alone);
        if !news.is_empty() {
            self.make_recurring();
        }
        news
    }
}

impl Alertmanager {
    /// All recurring silences, the latest first; those that are over, too.
    #[must_use]
    pub fn recurring_silences(&self) -> Vec<Arc<RecurringSilence>> {
        let mut all: Vec<_> = self.inner.recurring.all.lock().there().cloned().collect();
        all.sort_by(|a, b| (b.updated_at, &b.id).cmp(&(a.updated_at, &a.id)));
        all
    }

    /// Makes or changes a recurring silence, and the silences of its first windows; those of its older shape that are not
    /// over end. It is on the device when this returns, so this blocks.
    ///
    /// # Errors
    /// [`SilenceError`]; then nothing has changed.
    pub fn set_recurring_silence(&self, request: RecurringRequest) -> Result<Arc<RecurringSilence>, SilenceError> {
        let inner = &self.inner;
        let now = self.now_ms();
        if let Some(fault) = request.schedule.fault() {
            return Err(SilenceError::Invalid(fault));
        }
        if request.schedule.windows(now).is_empty() && request.schedule.ends_at <= now {
            return Err(SilenceError::Invalid("it would be over already".to_owned()));
        }
        if request.comment.trim().is_empty() || request.created_by.trim().is_empty() {
            let fault = "it must say who makes it and why, as it will act when nobody remembers it";
            return Err(SilenceError::Invalid(fault.to_owned()));
        }
        let checked = SilenceRequest {
            matchers: request.matchers,
            ends_at: now,
            created_by: request.created_by.clone(),
            comment: request.comment.clone(),
            ..SilenceRequest::default()
        };
        let matchers = inner.silences.lock().checked(checked, now)?.matchers;
        let made = {
            let _alone = inner.recurring.changing.lock();
            let mut all = inner.recurring.copy();
            let old = match request.id.as_str() {
                "" => None,
                id => Some(all.get(id).ok_or(SilenceError::NotFound)?.clone()),
            };
            if old.is_none() && all.len() >= MOST {
                return Err(SilenceError::TooMany(all.len(), MOST));
            }
            let made = Arc::new(RecurringSilence {
                id: old
                    .as_ref()
                    .map_or_else(|| silences::new_uuid().into(), |old| old.id.clone()),
                matchers,
                schedule: request.schedule,
                created_by: request.created_by,
                comment: request.comment,
                updated_at: now,
                revision: revision(old.as_ref().map(|old| old.revision), now),
                made_until: 0,
            });
            let sample = made.silence((now, now));
            inner.silences.lock().check_size(&sample)?;
            all.insert(made.clone());
            write(inner.disk.as_ref(), &all)?;
            *inner.recurring.all.lock() = all;
            inner.share(replicate::RECURRING, &made.encode());
            made
        };
        inner.make_recurring();
        Ok(made)
    }

    /// Forgets a recurring silence and ends its silences. Blocks as [`Alertmanager::set_recurring_silence`].
    ///
    /// # Errors
    /// [`SilenceError::NotFound`], and [`SilenceError::Disk`]; then it is still there, and may be deleted again.
    pub fn delete_recurring_silence(&self, id: &str) -> Result<(), SilenceError> {
        let inner = &self.inner;
        let now = self.now_ms();
        let _alone = inner.recurring.changing.lock();
        let mut all = inner.recurring.copy();
        let old = all.get(id).ok_or(SilenceError::NotFound)?.clone();
        let is_over = |silence: &Silence| silence.state(now) == SilenceState::Expired;
        for id in inner.silences_that(|s| old.made(s) && !is_over(s)) {
            inner.end_silence(&id, now)?;
        }
        let removed = Removed {
            revision: revision(Some(old.revision), now),
            updated_at: now,
            until: old.schedule.ends_at.max(now).saturating_add(inner.retention_ms),
        };
        all.remove(&old.id, inner.cluster.is_some().then_some(removed));
        write(inner.disk.as_ref(), &all)?;
        *inner.recurring.all.lock() = all;
        inner.share(replicate::RECURRING, &removed.encode(&old.id));
        Ok(())
    }
}

// What is changed at two members at once has two revisions, unless that is in one millisecond.
fn revision(old: Option<u64>, now: i64) -> u64 {
    old.map_or(1, |old| old.saturating_add(1)).max(now.unsigned_abs())
}

#[cfg(test)]
mod tests;
