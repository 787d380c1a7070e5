//! What rules select again and again: which series, and their labels.
//!
//! Finding the series of a selector and writing out their labels is a third of what a rule's evaluation costs, and gives the
//! same each time, until a series of the selector's metric appears or goes. Selectors that do not name their metric are not
//! kept.

use std::sync::Arc;

use cupola_model::{Labels, MatchOp, Matcher};
use hashbrown::HashMap;

use super::Inner;

type Random = foldhash::fast::RandomState;

/// Slots of series, ascending, with their labels.
pub(super) type Picked = Arc<[(u32, Labels)]>;

// What is kept takes at most about so much. Rules that select more find their series each time.
const MOST_BYTES: usize = 32 << 20;

/// Selections, by metric.
#[derive(Default)]
pub(super) struct Picks {
    metrics: HashMap<u32, Metric, Random>,
    bytes: usize,
}

// The selections of one metric.
#[derive(Default)]
struct Metric {
    // When the metric's series had last changed, as the index counts.
    changed: u64,
    selections: HashMap<Box<[u8]>, Selected, Random>,
    // Of series in slots, with the slots' generations: several selections share them, and they outlive a change.
    labels: HashMap<u32, (u32, Labels), Random>,
}

struct Selected {
    picked: Picked,
    // Since the last sweep.
    is_used: bool,
}

impl Picks {
    /// The series that satisfy all matchers; `None` where that is not to be kept.
    pub(super) fn find(&mut self, inner: &Inner, matchers: &[Matcher]) -> Option<Picked> {
        let (pair, changed, count) = inner.index.metric_of(matchers)?;
        let key = key(matchers);
        let metric = self.metrics.entry(pair).or_default();
        if metric.changed != changed {
            metric.changed = changed;
            self.bytes -= metric
                .selections
                .drain()
                .map(|(key, old)| old.bytes(&key))
                .sum::<usize>();
            // Not at each change: pods come and go.
            if metric.labels.len() > 2 * count {
                self.bytes -= metric.forget_gone(inner);
            }
        }
        if let Some(known) = metric.selections.get_mut(key.as_slice()) {
            known.is_used = true;
            return Some(known.picked.clone());
        }
        if self.bytes > MOST_BYTES {
            return None;
        }
        let (mut grown, mut freed) = (0, 0);
        let mut labels_of = |slot: u32| {
            let entry = inner.slots.get(slot as usize)?;
            let series = entry.series.as_ref()?;
            if let Some((generation, labels)) = metric.labels.get(&slot)
                && *generation == entry.generation
            {
                return Some((slot, labels.clone()));
            }
            let labels = inner.labels(series);
            grown += labels_bytes(&labels);
            let gone = metric.labels.insert(slot, (entry.generation, labels.clone()));
            freed += gone.map_or(0, |(_, labels)| labels_bytes(&labels));
            Some((slot, labels))
        };
        let slots = inner.index.select(matchers);
        let picked: Picked = slots.into_iter().filter_map(&mut labels_of).collect();
        let selected = Selected {
            picked: picked.clone(),
            is_used: true,
        };
        self.bytes = self.bytes + grown + selected.bytes(&key) - freed;
        metric.selections.insert(key.into(), selected);
        Some(picked)
    }

    /// Forgets what nobody asked for since the last time, and the labels of series that are gone.
    pub(super) fn sweep(&mut self, inner: &Inner) {
        self.bytes = 0;
        self.metrics.retain(|_, metric| {
            metric
                .selections
                .retain(|_, selected| std::mem::take(&mut selected.is_used));
            if metric.selections.is_empty() {
                return false;
            }
            metric.forget_gone(inner);
            let selections = metric.selections.iter().map(|(key, selected)| selected.bytes(key));
            let labels = metric.labels.values().map(|(_, labels)| labels_bytes(labels));
            self.bytes += selections.sum::<usize>() + labels.sum::<usize>();
            true
        });
    }
}

impl Metric {
    // Drops the labels of series that are gone; returns how many bytes they took.
    fn forget_gone(&mut self, inner: &Inner) -> usize {
        let mut freed = 0;
        self.labels.retain(|slot, (generation, labels)| {
            let entry = inner.slots.get(*slot as usize);
            let is_there = entry.is_some_and(|entry| entry.generation == *generation && entry.series.is_some());
            if !is_there {
                freed += labels_bytes(labels);
            }
            is_there
        });
        freed
    }
}

impl Selected {
    fn bytes(&self, key: &[u8]) -> usize {
        size_of::<(Box<[u8]>, Self)>() + key.len() + self.picked.len() * size_of::<(u32, Labels)>()
    }
}

fn labels_bytes(labels: &Labels) -> usize {
    size_of::<(u32, (u32, Labels))>() + labels.heap_size()
}

// The matchers as bytes; no text has the byte 0xff.
fn key(matchers: &[Matcher]) -> Vec<u8> {
    let mut key = Vec::with_capacity(128);
    for matcher in matchers {
        key.extend_from_slice(matcher.name().as_bytes());
        key.push(0xff);
        key.push(match matcher.op() {
            MatchOp::Equal => 0,
            MatchOp::NotEqual => 1,
            MatchOp::Regex => 2,
            MatchOp::NotRegex => 3,
        });
        key.extend_from_slice(matcher.value().as_bytes());
        key.push(0xff);
    }
    key
}
