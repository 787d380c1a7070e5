//! Events on disk: files that are only appended to, the oldest deleted first.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_env::{Vfs, VfsFile};
use cupola_model::Labels;
use tracing::warn;

use super::journal::{self, Kind, MAGIC};
use crate::acks::Acknowledgement;
use crate::deliver::Outcome;
use crate::events::{self, Event, Happening, Suppression};
use cupola_wire::{Fields, Message, WireError, pair};

const NAME: &str = "cupola-history-";
// A file is closed at this size, and so many bytes stay in all.
const FILE_BYTES: u64 = 8 << 20;
const ALL_BYTES: u64 = 64 << 20;

// One file: its number, its size, and the moment of its youngest event.
struct Part {
    number: u64,
    bytes: u64,
    last_at: i64,
}

/// The files.
pub(super) struct History {
    dir: PathBuf,
    file: Option<Box<dyn VfsFile>>,
    parts: Vec<Part>,
    is_broken: bool,
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{NAME}{number:08}"))
}

impl History {
    /// Reads what is there, oldest first. What cannot be read is left out: nothing depends on it.
    pub(super) fn open(vfs: &dyn Vfs, dir: &Path) -> io::Result<(Self, Vec<Event>)> {
        let mut numbers: Vec<u64> = vfs
            .list(dir)?
            .iter()
            .filter_map(|name| name.strip_prefix(NAME)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        let mut events = Vec::new();
        let mut parts = Vec::new();
        for number in numbers {
            let path = path(dir, number);
            let bytes = vfs.read(&path)?;
            let before = events.len();
            let rest = journal::replay(&bytes, |kind, message| {
                if kind == Kind::Event
                    && let Some(event) = decode(message).map_err(|e| e.to_string())?
                {
                    events.push(event);
                }
                Ok(())
            });
            if let Some((at, reason)) = rest {
                warn!(file = %path.display(), at, reason, "the history ends early; what follows is not shown");
            }
            let new = events.get(before..).unwrap_or_default();
            parts.push(Part {
                number,
                bytes: bytes.len() as u64,
                last_at: new.iter().map(|e| e.at).max().unwrap_or(0),
            });
        }
        let history = Self {
            dir: dir.to_owned(),
            file: None,
            parts,
            is_broken: false,
        };
        Ok((history, events))
    }

    /// Appends events and deletes files whose events are all before `keep_from`, or that are too many. Where it fails the
    /// events are in memory alone; that is told once.
    pub(super) fn append(&mut self, vfs: &dyn Vfs, events: &[Event], keep_from: i64) {
        let done = self.try_append(vfs, events).and_then(|()| self.forget(vfs, keep_from));
        if let Err(error) = &done
            && !self.is_broken
        {
            warn!(dir = %self.dir.display(), %error, "the history cannot be written; it goes on in memory");
        }
        self.is_broken = done.is_err();
    }

    fn try_append(&mut self, vfs: &dyn Vfs, events: &[Event]) -> io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        if self.parts.last().is_some_and(|part| part.bytes >= FILE_BYTES) {
            self.file = None;
        }
        if self.file.is_none() {
            let number = self.parts.last().map_or(0, |part| part.number) + 1;
            let begun = journal::begin(vfs, &path(&self.dir, number));
            if begun.is_ok() || journal::is_there(&begun) {
                self.parts.push(Part {
                    number,
                    bytes: MAGIC.len() as u64,
                    last_at: 0,
                });
            }
            self.file = Some(begun?);
        }
        let (Some(file), Some(part)) = (&mut self.file, self.parts.last_mut()) else {
            return Ok(());
        };
        let messages: Vec<Vec<u8>> = events.iter().map(encode).collect();
        let records = journal::records(messages.iter().map(|m| (Kind::Event, m.as_slice())));
        if let Err(error) = file.append(&records) {
            if file.truncate(part.bytes).is_err() {
                self.file = None;
            }
            return Err(error);
        }
        part.bytes += records.len() as u64;
        part.last_at = events.iter().map(|e| e.at).fold(part.last_at, i64::max);
        Ok(())
    }

    fn forget(&mut self, vfs: &dyn Vfs, keep_from: i64) -> io::Result<()> {
        let mut bytes: u64 = self.parts.iter().map(|part| part.bytes).sum();
        // The one that is written to stays.
        while self.parts.len() > 1
            && let Some(first) = self.parts.first()
            && (first.last_at < keep_from || bytes > ALL_BYTES)
        {
            match vfs.remove_file(&path(&self.dir, first.number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            bytes -= first.bytes;
            self.parts.remove(0);
        }
        Ok(())
    }
}

/// `docs/format/alertmanager.md` has the fields.
pub(super) fn encode(event: &Event) -> Vec<u8> {
    let mut out = Message::default();
    out.time(1, event.at);
    for (name, value) in &event.labels {
        out.pair(2, name, value);
    }
    let text = |out: &mut Message, field, text: &str| out.bytes(field, text.as_bytes());
    match &event.what {
        Happening::Fired => out.number(3, 1),
        Happening::Refused => out.number(3, 2),
        Happening::Resolved { by_timeout } => out.number(3, if *by_timeout { 4 } else { 3 }),
        Happening::Grouped {
            receiver,
            group_key,
            flush_at,
        } => {
            out.number(3, 5);
            text(&mut out, 4, receiver);
            text(&mut out, 5, group_key);
            out.time(10, *flush_at);
        }
        Happening::Released { group_key } => {
            out.number(3, 6);
            text(&mut out, 5, group_key);
        }
        Happening::Suppressed { group_key, by } => {
            let (kind, names): (u64, Vec<&str>) = match by {
                Suppression::Inhibition(..) => (7, Vec::new()),
                Suppression::Inactive(names) => (8, names.iter().map(String::as_str).collect()),
                Suppression::Muted(names) => (9, names.iter().map(String::as_str).collect()),
                Suppression::Silence(ids) => (10, ids.iter().map(|id| &**id).collect()),
            };
            out.number(3, kind);
            text(&mut out, 5, group_key);
            if let Suppression::Inhibition(id, rule) = by {
                out.number(12, *id);
                text(&mut out, 13, rule);
            }
            for name in names {
                out.message(11, name.as_bytes());
            }
        }
        Happening::Told(message) => {
            let kind = match message.outcome {
                Outcome::Sent => 11,
                Outcome::Retrying => 12,
                Outcome::Failed => 13,
            };
            out.number(3, kind);
            text(&mut out, 4, &message.receiver);
            text(&mut out, 5, &message.group_key);
            text(&mut out, 6, &message.integration);
            text(&mut out, 7, &message.reason);
            text(&mut out, 8, &message.error);
            out.number(9, u64::from(message.attempts));
            text(&mut out, 14, &message.answer);
            out.number(15, message.firing as u64);
            out.number(16, message.resolved as u64);
        }
        Happening::Acknowledged(ack) => {
            out.number(3, 20);
            out.message(17, &ack.encode());
        }
        Happening::Unacknowledged { by } => {
            out.number(3, 21);
            text(&mut out, 4, by);
        }
        Happening::Held { group_key, by } => {
            out.number(3, 22);
            text(&mut out, 4, by);
            text(&mut out, 5, group_key);
        }
    }
    out.0
}

/// Reads an event; `None` where it is of a kind that a newer version writes.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Event>, WireError> {
    let (mut at, mut kind, mut attempts, mut flush_at, mut by) = (0, 0, 0, 0, 0);
    let mut labels = Vec::new();
    let mut names = Vec::new();
    let mut texts: [String; 15] = Default::default();
    let (mut firing, mut resolved, mut ack) = (0, 0, None);
    for field in Fields(bytes) {
        let (number, value) = field?;
        match number {
            1 => at = value.time(number)?,
            2 => labels.push(pair(value, number)?),
            3 => kind = value.number(number)?,
            9 => attempts = value.number(number)?,
            10 => flush_at = value.time(number)?,
            11 => names.push(value.text(number)?),
            12 => by = value.number(number)?,
            15 => firing = value.number(number)?,
            16 => resolved = value.number(number)?,
            17 => ack = Some(Acknowledgement::decode(value.bytes(number)?)?),
            4..=8 | 13 | 14 => {
                if let Some(text) = texts.get_mut(number as usize) {
                    *text = value.text(number)?;
                }
            }
            _ => {}
        }
    }
    let [
        _,
        _,
        _,
        _,
        receiver,
        group_key,
        integration,
        reason,
        error,
        _,
        _,
        _,
        _,
        rule,
        answer,
    ] = texts;
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (receiver, group_key): (Arc<str>, Arc<str>) = (receiver.into(), group_key.into());
    let suppressed = |by| Happening::Suppressed {
        group_key: group_key.clone(),
        by,
    };
    let told = |outcome| {
        Happening::Told(Arc::new(events::Message {
            receiver: receiver.clone(),
            integration,
            group_key: group_key.clone(),
            reason: Cow::Owned(reason),
            outcome,
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            error,
            firing: count(firing),
            resolved: count(resolved),
            answer,
        }))
    };
    let what = match kind {
        1 => Happening::Fired,
        2 => Happening::Refused,
        3 | 4 => Happening::Resolved { by_timeout: kind == 4 },
        5 => Happening::Grouped {
            receiver,
            group_key,
            flush_at,
        },
        6 => Happening::Released { group_key },
        7 => suppressed(Suppression::Inhibition(by, rule.into())),
        8 => suppressed(Suppression::Inactive(names.into())),
        9 => suppressed(Suppression::Muted(names.into())),
        10 => suppressed(Suppression::Silence(names.into_iter().map(Into::into).collect())),
        11 => told(Outcome::Sent),
        12 => told(Outcome::Retrying),
        13 => told(Outcome::Failed),
        20 => match ack {
            Some(ack) => Happening::Acknowledged(Arc::new(ack)),
            None => return Ok(None),
        },
        21 => Happening::Unacknowledged {
            by: receiver.to_string(),
        },
        22 => Happening::Held {
            group_key,
            by: receiver.to_string(),
        },
        _ => return Ok(None),
    };
    let labels = Labels::from_pairs(labels);
    Ok(Some(Event {
        at,
        fingerprint: labels.fingerprint(),
        labels,
        what,
    }))
}
