//! Numbers series by a part of their labels: the groups of aggregations, the match groups of operators.

use std::hash::{BuildHasher, Hasher};

use cupola_model::{Labels, METRIC_NAME};
use hashbrown::HashTable;

/// Which labels make the key.
#[derive(Debug, Clone)]
pub(crate) struct LabelKey {
    names: Vec<String>,
    keep: bool,
}

impl LabelKey {
    /// Only these labels (`by`, `on`).
    pub(crate) fn only(names: &[String]) -> Self {
        Self {
            names: names.to_vec(),
            keep: true,
        }
    }

    /// All but these and the metric name (`without`, `ignoring`).
    pub(crate) fn all_but(names: &[String]) -> Self {
        Self {
            names: names.to_vec(),
            keep: false,
        }
    }

    fn includes(&self, name: &str) -> bool {
        let named = self.names.iter().any(|n| n == name);
        if self.keep {
            named
        } else {
            !named && name != METRIC_NAME
        }
    }

    /// The labels of the key.
    pub(crate) fn labels(&self, labels: &Labels) -> Labels {
        if self.keep && self.names.is_empty() {
            Labels::empty()
        } else {
            labels.filtered(|name| self.includes(name))
        }
    }

    fn hash(&self, labels: &Labels, state: &foldhash::fast::FixedState) -> u64 {
        let mut hasher = state.build_hasher();
        if !(self.keep && self.names.is_empty()) {
            for (name, value) in labels {
                if self.includes(name) {
                    hasher.write(name.as_bytes());
                    hasher.write_u8(0xff);
                    hasher.write(value.as_bytes());
                    hasher.write_u8(0xff);
                }
            }
        }
        hasher.finish()
    }

    fn same(&self, a: &Labels, b: &Labels) -> bool {
        let mut left = a.iter().filter(|(name, _)| self.includes(name));
        let mut right = b.iter().filter(|(name, _)| self.includes(name));
        loop {
            match (left.next(), right.next()) {
                (None, None) => return true,
                (l, r) if l == r => {}
                _ => return false,
            }
        }
    }
}

/// Gives each different key a number, from 0 on. Hashes each series once, builds no label set.
pub(crate) struct KeyIndex {
    key: LabelKey,
    state: foldhash::fast::FixedState,
    table: HashTable<u32>,
    // The first series of each key, and its hash.
    first: Vec<(Labels, u64)>,
}

impl KeyIndex {
    pub(crate) fn new(key: LabelKey) -> Self {
        Self {
            key,
            state: foldhash::fast::FixedState::default(),
            table: HashTable::new(),
            first: Vec::new(),
        }
    }

    /// The number of the key of `labels`; a new one if it was not seen before.
    pub(crate) fn id(&mut self, labels: &Labels) -> usize {
        let hash = self.key.hash(labels, &self.state);
        if let Some(found) = self.find_hashed(labels, hash) {
            return found;
        }
        let id = self.first.len();
        self.first.push((labels.clone(), hash));
        let first = &self.first;
        // More than 2^32 keys do not fit in memory.
        let stored = u32::try_from(id).unwrap_or(u32::MAX);
        self.table
            .insert_unique(hash, stored, |id| first.get(*id as usize).map_or(0, |(_, hash)| *hash));
        id
    }

    fn find_hashed(&self, labels: &Labels, hash: u64) -> Option<usize> {
        let same = |id: &u32| {
            self.first
                .get(*id as usize)
                .is_some_and(|(first, _)| self.key.same(first, labels))
        };
        self.table.find(hash, same).map(|id| *id as usize)
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.first.len()
    }

    /// The labels of each key, by number.
    pub(crate) fn into_labels(self) -> Vec<Labels> {
        self.first.iter().map(|(labels, _)| self.key.labels(labels)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_by_the_labels_that_count() {
        let a = Labels::from_pairs([("__name__", "x"), ("a", "1"), ("b", "1")]);
        let b = Labels::from_pairs([("__name__", "y"), ("a", "1"), ("b", "2")]);
        let mut by = KeyIndex::new(LabelKey::only(&["a".to_owned()]));
        assert_eq!((by.id(&a), by.id(&b)), (0, 0));
        let mut without = KeyIndex::new(LabelKey::all_but(&["a".to_owned()]));
        assert_eq!((without.id(&a), without.id(&b), without.id(&a)), (0, 1, 0));
        assert_eq!(without.into_labels()[1].to_string(), r#"{b="2"}"#);
    }

    #[test]
    fn names_and_values_do_not_run_together() {
        // Regression of Prometheus: a missing separator grouped these two.
        let a = Labels::from_pairs([("a", "aa"), ("b", "bb")]);
        let b = Labels::from_pairs([("a", "a"), ("b", "abb")]);
        let mut index = KeyIndex::new(LabelKey::only(&["a".to_owned(), "b".to_owned()]));
        assert_ne!(index.id(&a), index.id(&b));
    }
}
