//! Where entries stand: by key, within a number of bytes, the least recently used leaving first.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Entry;
use crate::query::SourceResolution;

/// What a query has to have in common with a kept one. All other settings are the engine's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The text as written, not as printed: warnings name places in it.
    pub(crate) text: Box<str>,
    pub(crate) step_ms: i64,
    /// The start modulo the step: which of the interleaved grids.
    pub(crate) phase_ms: i64,
    pub(crate) lookback_ms: i64,
    pub(crate) source_resolution: SourceResolution,
    pub(crate) subquery_step_ms: i64,
}

impl Key {
    pub(crate) fn bytes(&self) -> usize {
        // With what the two maps need for it, about.
        2 * size_of::<Self>() + self.text.len()
    }
}

pub(crate) struct Shelf {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: HashMap<Arc<Key>, Slot>,
    // Least recently used first.
    by_use: BTreeMap<u64, Arc<Key>>,
    uses: u64,
    bytes: usize,
    evictions: u64,
}

struct Slot {
    entry: Arc<Entry>,
    bytes: usize,
    used: u64,
}

impl Shelf {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
        }
    }

    /// The entry of `key`, which is now the most recently used one.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        let mut state = self.state.lock();
        let State {
            slots, by_use, uses, ..
        } = &mut *state;
        let slot = slots.get_mut(key)?;
        *uses += 1;
        if let Some(key) = by_use.remove(&slot.used) {
            by_use.insert(*uses, key);
        }
        slot.used = *uses;
        Some(Arc::clone(&slot.entry))
    }

    /// Puts an entry in the place of an older one, and drops others until there is room.
    pub(crate) fn put(&self, key: Key, entry: Entry, bytes: usize) {
        // Large entries are freed without the lock.
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        gone.extend(state.remove(&key));
        state.uses += 1;
        let used = state.uses;
        let key = Arc::new(key);
        state.by_use.insert(used, Arc::clone(&key));
        let entry = Arc::new(entry);
        state.slots.insert(key, Slot { entry, bytes, used });
        state.bytes += bytes;
        while state.bytes > self.limit {
            let Some((_, oldest)) = state.by_use.first_key_value() else {
                break;
            };
            let oldest = Arc::clone(oldest);
            gone.extend(state.remove(&oldest));
            state.evictions += 1;
        }
        drop(state);
    }

    /// Entries, bytes, and how many were dropped for want of room.
    pub(crate) fn figures(&self) -> (usize, usize, u64) {
        let state = self.state.lock();
        (state.slots.len(), state.bytes, state.evictions)
    }
}

impl State {
    fn remove(&mut self, key: &Key) -> Option<Arc<Entry>> {
        let slot = self.slots.remove(key)?;
        self.by_use.remove(&slot.used);
        self.bytes -= slot.bytes;
        Some(slot.entry)
    }
}
