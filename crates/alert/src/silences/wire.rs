//! Silences as Alertmanager keeps them on disk and gossips them (`silencepb.MeshSilence`).

use std::collections::BTreeMap;

use cupola_model::{MatchOp, Matcher};

use super::{RawMatcher, Silence};
use cupola_wire::{Fields, Message, Value, WireError, pair};

/// A silence as it was read: its matchers may not be usable.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Raw {
    pub id: String,
    pub matchers: Vec<RawMatcher>,
    pub further_sets: Vec<Vec<RawMatcher>>,
    pub starts_at: i64,
    pub ends_at: i64,
    pub updated_at: i64,
    pub created_by: String,
    pub comment: String,
    pub annotations: BTreeMap<String, String>,
}

impl Raw {
    /// The silence, or why one of its matchers cannot be used.
    pub(crate) fn silence(self) -> Result<Silence, String> {
        if self.id.is_empty() {
            return Err("it has no id".to_owned());
        }
        let further_sets = self.further_sets.into_iter().map(compiled);
        Ok(Silence {
            id: self.id.into(),
            matchers: compiled(self.matchers)?,
            further_sets: further_sets.collect::<Result<_, _>>()?,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            updated_at: self.updated_at,
            created_by: self.created_by,
            comment: self.comment,
            annotations: self.annotations,
        })
    }
}

fn compiled(set: Vec<RawMatcher>) -> Result<Vec<Matcher>, String> {
    let matchers = set.into_iter().map(|(name, op, value)| {
        let shown = format!("{name}{}{value}", op.as_str());
        Matcher::new_no_newline(name, op, value).map_err(|e| format!("matcher {shown}: {e}"))
    });
    matchers.collect()
}

/// A `MeshSilence`: the silence and when it may be forgotten.
pub(crate) fn encode(silence: &Silence, expires_at: i64) -> Vec<u8> {
    let mut inner = Message::default();
    inner.bytes(1, silence.id.as_bytes());
    for matcher in &silence.matchers {
        inner.message(2, &encode_matcher(matcher));
    }
    inner.time(3, silence.starts_at);
    inner.time(4, silence.ends_at);
    inner.time(5, silence.updated_at);
    inner.bytes(8, silence.created_by.as_bytes());
    inner.bytes(9, silence.comment.as_bytes());
    for (name, value) in &silence.annotations {
        inner.pair(10, name, value);
    }
    // All sets, also the first, as newer Alertmanagers write them; older ones know the first alone. One set says nothing
    // that field 2 does not.
    if !silence.further_sets.is_empty() {
        for set in silence.sets() {
            let mut message = Message::default();
            for matcher in set {
                message.message(1, &encode_matcher(matcher));
            }
            inner.message(11, &message.0);
        }
    }
    let mut outer = Message::default();
    outer.message(1, &inner.0);
    outer.time(2, expires_at);
    outer.0
}

/// A `Matcher`.
pub(crate) fn encode_matcher(matcher: &Matcher) -> Vec<u8> {
    let mut out = Message::default();
    let kind = match matcher.op() {
        MatchOp::Equal => 0,
        MatchOp::Regex => 1,
        MatchOp::NotEqual => 2,
        MatchOp::NotRegex => 3,
    };
    out.number(1, kind);
    out.bytes(2, matcher.name().as_bytes());
    out.bytes(3, matcher.value().as_bytes());
    out.0
}

/// Reads a `MeshSilence`: the silence and when it may be forgotten.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Raw, i64), WireError> {
    let (mut raw, mut expires_at) = (Raw::default(), 0);
    for field in Fields(bytes) {
        match field? {
            (1, value) => raw = decode_silence(value.bytes(1)?)?,
            (2, value) => expires_at = value.time(2)?,
            _ => {}
        }
    }
    Ok((raw, expires_at))
}

fn decode_silence(bytes: &[u8]) -> Result<Raw, WireError> {
    let mut raw = Raw::default();
    let mut sets = Vec::new();
    for field in Fields(bytes) {
        let (number, value) = field?;
        match number {
            1 => raw.id = value.text(number)?,
            2 => raw.matchers.push(decode_matcher(value, number)?),
            3 => raw.starts_at = value.time(number)?,
            4 => raw.ends_at = value.time(number)?,
            5 => raw.updated_at = value.time(number)?,
            // Before 0.5 a silence had a list of comments; the last one counts, where there is no other.
            7 if raw.comment.is_empty() => {
                let (author, comment) = pair(value, number)?;
                (raw.created_by, raw.comment) = (author, comment);
            }
            8 => raw.created_by = value.text(number)?,
            9 => raw.comment = value.text(number)?,
            10 => {
                let (name, value) = pair(value, number)?;
                raw.annotations.insert(name, value);
            }
            11 => sets.push(decode_set(value, number)?),
            _ => {}
        }
    }
    // Newer versions write sets in place of the list to disk, and beside it for others, whose list is the first set then.
    // An empty set would mute everything, which nobody can have asked for.
    sets.retain(|set: &Vec<RawMatcher>| !set.is_empty());
    let mut sets = sets.into_iter();
    if let Some(first) = sets.next() {
        raw.matchers = first;
        raw.further_sets = sets.collect();
    }
    Ok(raw)
}

fn decode_set(value: Value<'_>, number: u64) -> Result<Vec<RawMatcher>, WireError> {
    let mut set = Vec::new();
    for field in Fields(value.bytes(number)?) {
        if let (1, value) = field? {
            set.push(decode_matcher(value, 1)?);
        }
    }
    Ok(set)
}

/// Reads a `Matcher`.
pub(crate) fn decode_matcher(value: Value<'_>, number: u64) -> Result<RawMatcher, WireError> {
    let mut matcher = (String::new(), MatchOp::Equal, String::new());
    for field in Fields(value.bytes(number)?) {
        match field? {
            (1, value) => {
                matcher.1 = match value.number(1)? {
                    1 => MatchOp::Regex,
                    2 => MatchOp::NotEqual,
                    3 => MatchOp::NotRegex,
                    _ => MatchOp::Equal,
                };
            }
            (2, value) => matcher.0 = value.text(2)?,
            (3, value) => matcher.2 = value.text(3)?,
            _ => {}
        }
    }
    Ok(matcher)
}
