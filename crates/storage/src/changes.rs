//! What changed in a storage since somebody looked: for those who keep answers.
//!
//! A storage tells the oldest time that any change since then may have touched; everything before it is as it was. It
//! never tells less than what changed, but it may tell more: the log is bounded, and what is long ago is folded.

use std::sync::atomic::{AtomicU64, Ordering};

// Changes whose times are this close are told as one; milliseconds.
const GRAIN_MS: i64 = 1000;

// How many different times a log keeps, and how coarse they may become: this part of their age.
const CAPACITY: usize = 512;
const FOLD: i64 = 8;

/// The state of one storage or of several at a moment. The default one is that of no storage: everything has changed
/// since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    // The number of each storage in this process, and how many changes it had seen.
    parts: Vec<(u64, u64)>,
}

impl Version {
    /// Whether both are states of the same storages, so that what changed between them can be told.
    #[must_use]
    pub fn is_of_same_storage(&self, other: &Self) -> bool {
        let numbers = |version: &Self| version.parts.iter().map(|(storage, _)| *storage).collect::<Vec<_>>();
        numbers(self) == numbers(other)
    }

    fn seen(&self, storage: u64) -> Option<u64> {
        let part = self.parts.iter().find(|(number, _)| *number == storage);
        part.map(|(_, count)| *count)
    }
}

/// What changed between an earlier state and now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The state now.
    pub version: Version,
    /// No sample older than this was added, replaced or removed since the earlier state; `None` where nothing changed
    /// at all. Milliseconds since the epoch.
    pub oldest_touched: Option<i64>,
}

impl Changes {
    /// What changed in either of two storages.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.version.parts.extend(other.version.parts);
        self.oldest_touched = match (self.oldest_touched, other.oldest_touched) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self
    }
}

/// The changes of one storage, for [`crate::Queryable::changes`].
///
/// The caller guards it. A change has to be noted under the lock that makes it visible to readers: noted earlier, a
/// reader could keep old samples as new ones; noted later, it could join an answer from before the change with one
/// from after it.
///
/// Noting costs a few comparisons, and now and then a pass over at most 512 numbers.
#[derive(Debug)]
pub struct ChangeLog {
    storage: u64,
    count: u64,
    // Ascending in both fields: a change makes all earlier ones with later times meaningless, as whoever looked before
    // them is told of the older time anyway. So a steady stream of new samples is one slot per grain of time.
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    // The newest change in it.
    upto: u64,
    oldest: i64,
}

impl Default for ChangeLog {
    fn default() -> Self {
        static STORAGES: AtomicU64 = AtomicU64::new(1);
        Self {
            storage: STORAGES.fetch_add(1, Ordering::Relaxed),
            count: 0,
            slots: Vec::new(),
        }
    }
}

impl ChangeLog {
    /// Notes one change; `oldest` is the oldest time of all samples added, replaced or removed by it, in milliseconds.
    pub fn note(&mut self, oldest: i64) {
        self.count += 1;
        let upto = self.count;
        while self.slots.last().is_some_and(|slot| slot.oldest >= oldest) {
            self.slots.pop();
        }
        match self.slots.last_mut() {
            Some(slot) if oldest.saturating_sub(slot.oldest) < GRAIN_MS => slot.upto = upto,
            _ => self.slots.push(Slot { upto, oldest }),
        }
        if self.slots.len() >= CAPACITY {
            self.fold();
        }
    }

    /// What changed since `earlier`; everything, where that is no state of this storage.
    #[must_use]
    pub fn since(&self, earlier: &Version) -> Changes {
        let oldest_touched = match earlier.seen(self.storage) {
            None => Some(i64::MIN),
            Some(seen) => {
                let first = self.slots.partition_point(|slot| slot.upto <= seen);
                self.slots.get(first).map(|slot| slot.oldest)
            }
        };
        Changes {
            version: Version {
                parts: vec![(self.storage, self.count)],
            },
            oldest_touched,
        }
    }

    // Joins neighbours where the joined slot reaches over a small part of its age, so that a log of any length has a few
    // hundred slots.
    fn fold(&mut self) {
        let newest = self.slots.last().map_or(0, |slot| slot.oldest);
        self.fold_where(|begin, end| end.saturating_sub(begin) <= newest.saturating_sub(end).max(0) / FOLD);
        if self.slots.len() > CAPACITY * 3 / 4 {
            // Times spread over ages of the earth: whatever lies beside each other.
            let mut joins = false;
            self.fold_where(|_, _| {
                joins = !joins;
                joins
            });
        }
    }

    // Joins a slot with the one before where `joins` says so of the times at which the joined one begins and ends.
    fn fold_where(&mut self, mut joins: impl FnMut(i64, i64) -> bool) {
        let all = std::mem::take(&mut self.slots);
        self.slots.reserve_exact(CAPACITY);
        for (at, slot) in all.iter().enumerate() {
            match (self.slots.last_mut(), all.get(at + 1)) {
                (Some(before), Some(next)) if joins(before.oldest, next.oldest) => before.upto = slot.upto,
                _ => self.slots.push(*slot),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oldest(log: &ChangeLog, since: &Version) -> Option<i64> {
        log.since(since).oldest_touched
    }

    fn now(log: &ChangeLog) -> Version {
        log.since(&Version::default()).version
    }

    #[test]
    fn the_oldest_time_of_later_changes_is_told() {
        let mut log = ChangeLog::default();
        let empty = now(&log);
        assert_eq!(oldest(&log, &empty), None);
        log.note(100_000);
        let one = now(&log);
        log.note(200_000);
        let two = now(&log);
        log.note(150_000);
        let three = now(&log);
        assert_eq!(oldest(&log, &empty), Some(100_000));
        assert_eq!(oldest(&log, &one), Some(150_000));
        assert_eq!(oldest(&log, &two), Some(150_000));
        assert_eq!(oldest(&log, &three), None);
        log.note(i64::MIN);
        assert_eq!(oldest(&log, &three), Some(i64::MIN));
    }

    #[test]
    fn a_state_of_another_storage_is_no_state() {
        let (log, other) = (ChangeLog::default(), ChangeLog::default());
        assert_eq!(oldest(&log, &now(&other)), Some(i64::MIN));
        assert_eq!(oldest(&log, &Version::default()), Some(i64::MIN));
        assert!(!now(&log).is_of_same_storage(&now(&other)));
        let both = log.since(&now(&log)).and(other.since(&now(&other)));
        assert_eq!(both.oldest_touched, None);
        assert!(!both.version.is_of_same_storage(&now(&log)));
        assert_eq!(oldest(&other, &both.version), None);
    }

    // Against a list of all changes: never too late, and not much too early.
    #[test]
    fn folding_tells_more_than_changed_never_less() {
        let mut log = ChangeLog::default();
        let mut all: Vec<(Version, i64)> = Vec::new();
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for second in 0..40_000_i64 {
            let late = if random(500) == 0 { random(60_000) } else { random(900) };
            let ts = second * 1000 - late as i64;
            all.push((now(&log), ts));
            log.note(ts);
            assert!(log.slots.len() <= CAPACITY);
        }
        let end = 40_000_000;
        let mut true_oldest = i64::MAX;
        for (version, ts) in all.iter().rev() {
            true_oldest = true_oldest.min(*ts);
            let told = oldest(&log, version).unwrap();
            assert!(told <= true_oldest, "{told} is later than {true_oldest}");
            let slack = 2 * GRAIN_MS + (end - true_oldest) / FOLD;
            assert!(true_oldest - told <= slack, "{told} is much earlier than {true_oldest}");
        }
    }

    #[test]
    fn times_of_any_size_stay_within_bounds() {
        let mut log = ChangeLog::default();
        for step in 0..10_000_i64 {
            log.note(i64::MIN + step * 900_000_000_000_000);
            log.note(i64::MAX);
            assert!(log.slots.len() <= CAPACITY);
        }
    }
}
