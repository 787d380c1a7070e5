//! Numbers series by a part of their labels: the groups of aggregations, the match groups of operators.

use std::hash::BuildHasher as _;
use std::ops::Range;

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

    // Writes the labels of the key one after the other; no text has the byte 0xff.
    fn write(&self, labels: &Labels, out: &mut Vec<u8>) {
        out.clear();
        if self.keep && self.names.is_empty() {
            return;
        }
        for (name, value) in labels {
            if self.includes(name) {
                out.extend_from_slice(name.as_bytes());
                out.push(0xff);
                out.extend_from_slice(value.as_bytes());
                out.push(0xff);
            }
        }
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

// So many bytes of keys are kept to be compared with. Keys beyond are compared by their labels: most keys are few, and
// many that are long would take more room than the series.
const KEPT: usize = 256 * 1024;

/// Gives each different key a number, from 0 on. Walks the labels of each series once, builds no label set.
pub(crate) struct KeyIndex {
    key: LabelKey,
    state: foldhash::fast::FixedState,
    table: HashTable<u32>,
    first: Vec<First>,
    kept: Vec<u8>,
    // The key of the series looked at, as `LabelKey::write` writes it.
    written: Vec<u8>,
}

// The first series of a key.
struct First {
    labels: Labels,
    hash: u64,
    // Where its key lies among those kept.
    kept: Option<Range<usize>>,
}

impl KeyIndex {
    pub(crate) fn new(key: LabelKey) -> Self {
        Self {
            key,
            state: foldhash::fast::FixedState::default(),
            table: HashTable::new(),
            first: Vec::new(),
            kept: Vec::new(),
            written: Vec::new(),
        }
    }

    /// The number of the key of `labels`; a new one if it was not seen before.
    pub(crate) fn id(&mut self, labels: &Labels) -> usize {
        self.key.write(labels, &mut self.written);
        let hash = self.state.hash_one(self.written.as_slice());
        if let Some(found) = self.find_hashed(labels, hash) {
            return found;
        }
        let id = self.first.len();
        let kept = (self.kept.len() + self.written.len() <= KEPT).then(|| {
            let begin = self.kept.len();
            self.kept.extend_from_slice(&self.written);
            begin..self.kept.len()
        });
        self.first.push(First {
            labels: labels.clone(),
            hash,
            kept,
        });
        let first = &self.first;
        // More than 2^32 keys do not fit in memory.
        let stored = u32::try_from(id).unwrap_or(u32::MAX);
        self.table
            .insert_unique(hash, stored, |id| first.get(*id as usize).map_or(0, |first| first.hash));
        id
    }

    fn find_hashed(&self, labels: &Labels, hash: u64) -> Option<usize> {
        let same = |id: &u32| {
            let Some(first) = self.first.get(*id as usize).filter(|first| first.hash == hash) else {
                return false;
            };
            match &first.kept {
                Some(kept) => self.kept.get(kept.clone()) == Some(self.written.as_slice()),
                None => self.key.same(&first.labels, labels),
            }
        };
        self.table.find(hash, same).map(|id| *id as usize)
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.first.len()
    }

    /// The labels of each key, by number.
    pub(crate) fn into_labels(self) -> Vec<Labels> {
        self.first.iter().map(|first| self.key.labels(&first.labels)).collect()
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
    fn keys_too_many_to_be_kept_are_told_apart_all_the_same() {
        let labels = |n: usize, x: &str| {
            let value = format!("{n}-{}", "y".repeat(1000));
            Labels::from_pairs([("a", value.as_str()), ("x", x)])
        };
        let mut index = KeyIndex::new(LabelKey::only(&["a".to_owned()]));
        for x in ["1", "2"] {
            for n in 0..400 {
                assert_eq!(index.id(&labels(n, x)), n);
            }
        }
        assert!(index.kept.len() <= KEPT && index.len() == 400);
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
