//! The newest exemplars: a ring of fixed size for all series together (upstream's `CircularExemplarStorage`).

use std::cmp::Ordering;

use cupola_model::{Labels, Matcher};
use cupola_storage::{Exemplar, ExemplarError, SeriesExemplars};
use foldhash::HashMap;

// Characters that an exemplar's labels may have together, names and values.
const MAX_LABEL_CHARS: usize = 128;

/// Takes no memory before the first exemplar.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    capacity: usize,
    slots: Vec<Slot>,
    // The slot that is written next once all are taken.
    next: usize,
    by_series: HashMap<Labels, Chain>,
}

#[derive(Debug)]
struct Slot {
    series: Labels,
    exemplar: Exemplar,
    // The same series' next one.
    later: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Chain {
    oldest: usize,
    newest: usize,
}

impl Ring {
    /// One for so many exemplars; 0 keeps none.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many series have exemplars.
    pub(crate) fn series_count(&self) -> usize {
        self.by_series.len()
    }

    /// Makes room for so many; where there are more, the newest stay.
    pub(crate) fn resize(&mut self, capacity: usize) {
        if capacity == self.capacity {
            return;
        }
        let mut resized = Self::new(capacity);
        let too_many = self.len().saturating_sub(capacity);
        for (series, exemplar) in self.iter().skip(too_many) {
            resized.add(series, exemplar.clone());
        }
        *self = resized;
    }

    /// Time of the exemplar that is overwritten next, in milliseconds.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.iter().next().map(|(_, exemplar)| exemplar.ts)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the series may get this one. `Ok(false)`: it is the newest one, again, or none are kept.
    pub(crate) fn check(&self, series: &Labels, exemplar: &Exemplar) -> Result<bool, ExemplarError> {
        if self.capacity == 0 {
            return Ok(false);
        }
        let chars = |(name, value): (&str, &str)| name.chars().count() + value.chars().count();
        if exemplar.labels.iter().map(chars).sum::<usize>() > MAX_LABEL_CHARS {
            return Err(ExemplarError::TooLong);
        }
        let newest = self
            .by_series
            .get(series)
            .and_then(|chain| self.slots.get(chain.newest));
        // Upstream orders those of one moment by value and then by a hash of the labels.
        let order = newest.map(|newest| {
            let newest = &newest.exemplar;
            let by_value = exemplar.value.total_cmp(&newest.value);
            let by_time = exemplar.ts.cmp(&newest.ts);
            by_time.then(by_value).then_with(|| exemplar.labels.cmp(&newest.labels))
        });
        match order {
            Some(Ordering::Less) => Err(ExemplarError::OutOfOrder),
            Some(Ordering::Equal) => Ok(false),
            None | Some(Ordering::Greater) => Ok(true),
        }
    }

    /// Adds one that `check` allowed, in the place of the oldest one of all where the ring is full.
    pub(crate) fn add(&mut self, series: &Labels, exemplar: Exemplar) {
        let slot = Slot {
            series: series.clone(),
            exemplar,
            later: None,
        };
        let at = if self.slots.len() < self.capacity {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            let at = self.next;
            let Some(place) = self.slots.get_mut(at) else { return };
            let gone = std::mem::replace(place, slot);
            self.forget(&gone);
            self.next = (at + 1) % self.capacity;
            at
        };
        match self.by_series.get_mut(series) {
            Some(chain) => {
                let before = std::mem::replace(&mut chain.newest, at);
                if let Some(before) = self.slots.get_mut(before) {
                    before.later = Some(at);
                }
            }
            None => {
                let chain = Chain { oldest: at, newest: at };
                self.by_series.insert(series.clone(), chain);
            }
        }
    }

    // What is overwritten is its series' oldest one, because the ring is written in turn.
    fn forget(&mut self, gone: &Slot) {
        match (gone.later, self.by_series.get_mut(&gone.series)) {
            (Some(later), Some(chain)) => chain.oldest = later,
            (None, Some(_)) => drop(self.by_series.remove(&gone.series)),
            (_, None) => {}
        }
    }

    /// The exemplars between two times, both inclusive, of series that satisfy all matchers of one of `sets`, sorted by
    /// the series' labels.
    pub(crate) fn select(&self, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Vec<SeriesExemplars> {
        let mut found = Vec::new();
        for (labels, chain) in &self.by_series {
            let matches = |matcher: &Matcher| matcher.matches(labels.value(matcher.name()));
            if !sets.iter().any(|set| set.iter().all(matches)) {
                continue;
            }
            let mut exemplars = Vec::new();
            let mut at = Some(chain.oldest);
            while let Some(slot) = at.and_then(|at| self.slots.get(at)) {
                if (mint..=maxt).contains(&slot.exemplar.ts) {
                    exemplars.push(slot.exemplar.clone());
                }
                at = slot.later;
            }
            if !exemplars.is_empty() {
                found.push(SeriesExemplars {
                    labels: labels.clone(),
                    exemplars,
                });
            }
        }
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        found
    }

    /// All of them in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Labels, &Exemplar)> {
        let (newer, older) = self.slots.split_at_checked(self.next).unwrap_or_default();
        let all = older.iter().chain(newer);
        all.map(|slot| (&slot.series, &slot.exemplar))
    }

    /// Puts those of an earlier process before these.
    pub(crate) fn put_before(&mut self, mut past: Self) {
        past.resize(self.capacity);
        for (series, exemplar) in self.iter() {
            if past.check(series, exemplar) == Ok(true) {
                past.add(series, exemplar.clone());
            }
        }
        *self = past;
    }
}

#[cfg(test)]
mod tests {
    use cupola_model::MatchOp;

    use super::*;

    fn labels(name: &str) -> Labels {
        Labels::from_pairs([("__name__", name)])
    }

    fn exemplar(id: &str, value: f64, ts: i64) -> Exemplar {
        Exemplar {
            labels: Labels::from_pairs([("trace_id", id)]),
            value,
            ts,
        }
    }

    fn put(ring: &mut Ring, series: &str, exemplar: Exemplar) -> Result<bool, ExemplarError> {
        let checked = ring.check(&labels(series), &exemplar);
        if checked == Ok(true) {
            ring.add(&labels(series), exemplar);
        }
        checked
    }

    fn ids(ring: &Ring, matcher: &str, mint: i64, maxt: i64) -> Vec<String> {
        let matcher = Matcher::new("__name__", MatchOp::Regex, matcher).unwrap();
        let found = ring.select(&[vec![matcher]], mint, maxt);
        let told = |series: &SeriesExemplars| {
            let ids: Vec<_> = series
                .exemplars
                .iter()
                .map(|e| e.labels.value("trace_id").to_owned())
                .collect();
            format!("{}: {}", series.labels.metric_name(), ids.join(" "))
        };
        found.iter().map(told).collect()
    }

    #[test]
    fn the_oldest_goes_when_the_ring_is_full() {
        let mut ring = Ring::new(4);
        for (ts, series) in (0..).zip(["a", "b", "a", "a", "b", "a", "a"]) {
            assert_eq!(put(&mut ring, series, exemplar(&ts.to_string(), 1.0, ts)), Ok(true));
        }
        assert_eq!(ids(&ring, "a|b", 0, 100), ["a: 3 5 6", "b: 4"]);
        assert_eq!(ids(&ring, "a|b", 4, 5), ["a: 5", "b: 4"]);
        assert_eq!(ids(&ring, "b", 5, 9), [""; 0]);
        let all: Vec<_> = ring.iter().map(|(_, e)| e.ts).collect();
        assert_eq!(all, [3, 4, 5, 6]);
        assert_eq!(put(&mut ring, "a", exemplar("7", 1.0, 7)), Ok(true));
        assert_eq!(put(&mut ring, "a", exemplar("8", 1.0, 8)), Ok(true));
        assert_eq!((ids(&ring, "b", 0, 9), ring.series_count(), ring.len()), (vec![], 1, 4));
    }

    #[test]
    fn a_ring_that_is_resized_keeps_the_newest_in_their_order() {
        let filled = || {
            let mut ring = Ring::new(4);
            for (ts, series) in (0..).zip(["a", "b", "a", "a", "b", "a"]) {
                assert_eq!(put(&mut ring, series, exemplar(&ts.to_string(), 1.0, ts)), Ok(true));
            }
            ring
        };
        for (capacity, kept, oldest) in [
            (4, vec!["a: 2 3 5", "b: 4"], Some(2)),
            (2, vec!["a: 5", "b: 4"], Some(4)),
            (1, vec!["a: 5"], Some(5)),
            (0, vec![], None),
            (9, vec!["a: 2 3 5", "b: 4"], Some(2)),
        ] {
            let mut ring = filled();
            ring.resize(capacity);
            assert_eq!(ids(&ring, "a|b", 0, 100), kept, "{capacity}");
            assert_eq!((ring.oldest(), ring.capacity()), (oldest, capacity));
            // It goes on in turn.
            for ts in 10..20 {
                assert_eq!(
                    put(&mut ring, "c", exemplar(&ts.to_string(), 1.0, ts)),
                    Ok(capacity > 0)
                );
            }
            assert_eq!(ring.len(), capacity);
            assert_eq!(ring.oldest().is_some(), capacity > 0);
        }
        // One that was read with another capacity.
        let mut now = Ring::new(2);
        now.put_before(filled());
        assert_eq!(
            (ids(&now, "a|b", 0, 9), now.capacity()),
            (vec!["a: 5".to_owned(), "b: 4".to_owned()], 2)
        );
    }

    #[test]
    fn what_is_refused_is_what_upstream_refuses() {
        let mut ring = Ring::new(10);
        assert_eq!(put(&mut ring, "a", exemplar("x", 1.0, 10)), Ok(true));
        assert_eq!(put(&mut ring, "a", exemplar("x", 1.0, 10)), Ok(false));
        assert_eq!(
            put(&mut ring, "a", exemplar("y", 1.0, 9)),
            Err(ExemplarError::OutOfOrder)
        );
        assert_eq!(
            put(&mut ring, "a", exemplar("x", 0.5, 10)),
            Err(ExemplarError::OutOfOrder)
        );
        assert_eq!(put(&mut ring, "a", exemplar("x", 1.5, 10)), Ok(true));
        assert_eq!(put(&mut ring, "b", exemplar("y", 1.0, 9)), Ok(true));
        // Characters count, not bytes; the name has 8.
        assert_eq!(put(&mut ring, "c", exemplar(&"ä".repeat(120), 1.0, 1)), Ok(true));
        assert_eq!(
            put(&mut ring, "c", exemplar(&"a".repeat(121), 1.0, 2)),
            Err(ExemplarError::TooLong)
        );
        assert_eq!(put(&mut Ring::new(0), "a", exemplar("x", 1.0, 10)), Ok(false));
    }

    #[test]
    fn those_of_an_earlier_process_come_first() {
        let (mut past, mut now) = (Ring::new(3), Ring::new(3));
        for (ring, times) in [(&mut past, [1, 2]), (&mut now, [3, 4])] {
            for ts in times {
                assert_eq!(put(ring, "a", exemplar(&ts.to_string(), 1.0, ts)), Ok(true));
            }
        }
        now.put_before(past);
        assert_eq!(ids(&now, "a", 0, 9), ["a: 2 3 4"]);
    }
}
