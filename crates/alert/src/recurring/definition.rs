//! The definitions of recurring silences and which of them were deleted, which members of a cluster merge.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_wire::{Fields, Message, WireError};

use super::{MOST, RecurringSilence};

// So many deleted ones are remembered.
const MOST_REMOVED: usize = 10_000;

/// One of which it is only known that it was deleted, so that no other member brings it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removed {
    /// As that of a change.
    pub revision: u64,
    pub updated_at: i64,
    /// Then it may be forgotten.
    pub until: i64,
}

impl Removed {
    /// `docs/format/alertmanager.md` has the fields. Whoever does not know of deletion sees one without days, and passes it
    /// over.
    pub(super) fn encode(self, id: &str) -> Vec<u8> {
        let mut out = Message::default();
        out.bytes(1, id.as_bytes());
        out.time(8, self.until);
        out.time(11, self.updated_at);
        out.number(12, self.revision);
        out.number(14, 1);
        out.0
    }
}

/// A definition, or that it was deleted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Definition {
    There(RecurringSilence),
    Removed(Arc<str>, Removed),
}

impl Definition {
    /// Reads one; what is inside may be of no use.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Result<Self, String>, WireError> {
        let (mut id, mut is_removed) = (String::new(), false);
        let mut removed = Removed {
            revision: 0,
            updated_at: 0,
            until: 0,
        };
        for field in Fields(bytes) {
            match field? {
                (1, value) => id = value.text(1)?,
                (8, value) => removed.until = value.time(8)?,
                (11, value) => removed.updated_at = value.time(11)?,
                (12, value) => removed.revision = value.number(12)?,
                (14, value) => is_removed = value.number(14)? != 0,
                _ => {}
            }
        }
        match (is_removed, id.is_empty()) {
            (true, true) => Ok(Err("it has no id".to_owned())),
            (true, false) => Ok(Ok(Self::Removed(id.into(), removed))),
            (false, _) => Ok(RecurringSilence::decode(bytes)?.map(Self::There)),
        }
    }
}

/// All definitions, and which were deleted.
#[derive(Debug, Clone, Default)]
pub(super) struct Definitions {
    there: BTreeMap<Arc<str>, Arc<RecurringSilence>>,
    removed: BTreeMap<Arc<str>, Removed>,
    /// What is on disk is older.
    pub is_dirty: bool,
}

impl Definitions {
    pub(super) fn get(&self, id: &str) -> Option<&Arc<RecurringSilence>> {
        self.there.get(id)
    }

    pub(super) fn is_removed(&self, id: &str) -> bool {
        self.removed.contains_key(id)
    }

    /// How many there are, without those that were deleted.
    pub(super) fn len(&self) -> usize {
        self.there.len()
    }

    /// Whether nothing is known, not even of deleted ones.
    pub(super) fn is_empty(&self) -> bool {
        self.there.is_empty() && self.removed.is_empty()
    }

    pub(super) fn there(&self) -> impl Iterator<Item = &Arc<RecurringSilence>> {
        self.there.values()
    }

    pub(super) fn there_mut(&mut self) -> impl Iterator<Item = &mut Arc<RecurringSilence>> {
        self.there.values_mut()
    }

    /// Takes one of this member's own.
    pub(super) fn insert(&mut self, one: Arc<RecurringSilence>) {
        self.there.insert(one.id.clone(), one);
    }

    /// Deletes one; `removed` is what is remembered of it.
    pub(super) fn remove(&mut self, id: &Arc<str>, removed: Option<Removed>) {
        self.there.remove(id);
        if let Some(removed) = removed {
            self.removed.insert(id.clone(), removed);
        }
    }

    /// Takes one from elsewhere: from disk, or from another member. The one with the larger revision stays; of two shapes of
    /// one revision any, but everywhere the same. Returns whether it is news.
    pub(super) fn merge(&mut self, one: Definition, now: i64) -> bool {
        match one {
            Definition::There(one) => self.merge_there(one, now),
            Definition::Removed(id, removed) => {
                let is_news = removed.until > now
                    && self.removed.get(&id).is_none_or(|old| old.revision < removed.revision)
                    && self.there.get(&id).is_none_or(|old| old.revision <= removed.revision);
                if is_news {
                    self.remove(&id, Some(removed));
                }
                is_news
            }
        }
    }

    fn merge_there(&mut self, mut one: RecurringSilence, now: i64) -> bool {
        let id = one.id.clone();
        if self
            .removed
            .get(&id)
            .is_some_and(|removed| removed.revision >= one.revision)
        {
            return false;
        }
        let rank = |one: &RecurringSilence| {
            let shape = RecurringSilence {
                made_until: 0,
                ..one.clone()
            };
            (one.revision, shape.encode(), one.made_until(now))
        };
        let is_news = match self.there.get(&id) {
            Some(old) => rank(&one) > rank(old),
            None => self.there.len() < MOST,
        };
        if is_news {
            one.made_until = one.made_until(now);
            self.removed.remove(&id);
            self.there.insert(id, Arc::new(one));
        }
        is_news
    }

    /// Forgets which were deleted long ago. Returns whether there were any.
    pub(super) fn forget(&mut self, now: i64) -> bool {
        let before = self.removed.len();
        self.removed.retain(|_, removed| removed.until > now);
        while self.removed.len() > MOST_REMOVED {
            let oldest = self
                .removed
                .iter()
                .min_by_key(|(id, removed)| (removed.updated_at, (*id).clone()));
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            self.removed.remove(&oldest);
        }
        self.removed.len() != before
    }

    /// All of them, for the disk and for other members.
    pub(super) fn encode(&self) -> Vec<Vec<u8>> {
        let there = self.there.values().map(|one| one.encode());
        there
            .chain(self.removed.iter().map(|(id, one)| one.encode(id)))
            .collect()
    }
}
