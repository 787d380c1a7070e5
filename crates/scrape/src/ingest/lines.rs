//! The lines of a target, as they are remembered between scrapes.

use std::hash::BuildHasher as _;

use cupola_exposition::Layout;
use cupola_model::SeriesRef;
use hashbrown::HashTable;

use super::created::Created;

// A line as it is remembered: its labels are the storage's affair, and found anew from the line where it forgot them.
pub(super) struct Known {
    hash: LineHash,
    // Its series; `None` is told by `has_series`, which takes 8 bytes less.
    series: SeriesRef,
    has_series: bool,
    // The last scrape that had the line, and the one before that: a body that breaks off has marked some lines as seen
    // although nothing of it counts.
    pub(super) seen: u32,
    seen_before: u32,
    // Whether relabelling drops the line.
    pub(super) is_dropped: bool,
    // Whether it was no series, but said since when others count.
    pub(super) is_created: bool,
    // Whether its sample came without an own timestamp.
    pub(super) is_tracked: bool,
}

impl Known {
    pub(super) fn new(hash: LineHash, is_dropped: bool) -> Self {
        Self {
            hash,
            series: SeriesRef(0),
            has_series: false,
            seen: 0,
            seen_before: 0,
            is_dropped,
            is_created: false,
            is_tracked: false,
        }
    }

    pub(super) fn series(&self) -> Option<SeriesRef> {
        self.has_series.then_some(self.series)
    }

    pub(super) fn set_series(&mut self, series: SeriesRef) {
        (self.series, self.has_series) = (series, true);
    }

    pub(super) fn see(&mut self, scrape: u32) {
        if self.seen != scrape {
            self.seen_before = std::mem::replace(&mut self.seen, scrape);
        }
    }

    // Whether the line was last seen in `good`, leaving out what a later body that broke off had.
    pub(super) fn is_missing_since(&self, good: u32, broken: Option<u32>) -> bool {
        self.seen == good || (broken == Some(self.seen) && self.seen_before == good)
    }
}

// A line's name and labels, hashed twice with keys of this process: 16 bytes instead of a hundred or more. Two of a
// million lines are the same with a probability of 10^-27.
pub(super) type LineHash = (u64, u64);

/// The lines of a target, in the order in which they were seen first.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) all: Vec<Known>,
    by_hash: HashTable<u32>,
    hashers: (foldhash::quality::RandomState, foldhash::quality::RandomState),
    // Behind the line that was found last: bodies keep their order.
    next: usize,
    /// The last body's series, and which line each of them is: a body that is laid out like it needs no hashes.
    pub(super) layout: Layout,
    pub(super) order: Vec<u32>,
    /// Whether each line of the layout was a series of its own, taken by the storage.
    pub(super) is_distinct: bool,
}

impl Lines {
    pub(super) fn hash(&self, raw: &[u8]) -> LineHash {
        (self.hashers.0.hash_one(raw), self.hashers.1.hash_one(raw))
    }

    /// Where the line is.
    pub(super) fn find(&mut self, hash: LineHash) -> Option<usize> {
        if self.all.get(self.next).is_none_or(|known| known.hash != hash) {
            let is_it = |at: &u32| self.all.get(*at as usize).is_some_and(|known| known.hash == hash);
            self.next = *self.by_hash.find(hash.0, is_it)? as usize;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// Gives its place. A body has fewer lines than fit in 32 bits: it is limited in bytes.
    pub(super) fn insert(&mut self, known: Known) -> usize {
        let (all, at) = (&self.all, self.all.len());
        let hash_of = |at: &u32| all.get(*at as usize).map_or(0, |known| known.hash.0);
        self.by_hash.insert_unique(known.hash.0, at as u32, hash_of);
        self.next = at + 1;
        self.all.push(known);
        at
    }

    /// Forgets the layout of the last body.
    pub(super) fn forget_layout(&mut self) {
        self.layout.truncate(0);
        self.order.clear();
        self.is_distinct = false;
    }

    /// Notes that a body has the line, which is no series but says since when others count.
    pub(super) fn see_created(&mut self, at: usize, scrape: u32) {
        if let Some(known) = self.all.get_mut(at) {
            (known.is_created, known.is_dropped) = (true, true);
            // One that was a series is missing now.
            if known.series().is_none() {
                known.see(scrape);
            }
        }
    }

    /// Notes that the line is a series. Returns whether it was none so far, under another type.
    #[inline]
    pub(super) fn see_series(&mut self, at: usize) -> bool {
        let turned = self.all.get_mut(at).filter(|known| known.is_created);
        turned.is_some_and(|known| {
            (known.is_created, known.is_dropped) = (false, false);
            true
        })
    }

    /// As [`Lines::see_series`], of all lines: the target answers in another format, where nothing is known of the next body.
    pub(super) fn see_all_as_series(&mut self) {
        for at in 0..self.all.len() {
            self.see_series(at);
        }
        self.forget_layout();
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Known) -> bool, created: Option<&mut Created>) {
        let mut kept = 0_u32;
        let moved: Vec<Option<u32>> = (self.all.iter())
            .map(|known| {
                let at = keep(known).then_some(kept);
                kept += u32::from(at.is_some());
                at
            })
            .collect();
        if (kept as usize) < self.all.len() {
            self.all.retain(keep);
            if let Some(created) = created {
                created.retain(|at| moved.get(at).copied().flatten().is_some());
            }
            self.by_hash.clear();
            for (at, known) in self.all.iter().enumerate() {
                self.by_hash.insert_unique(known.hash.0, at as u32, |at| {
                    self.all.get(*at as usize).map_or(0, |known| known.hash.0)
                });
            }
            self.by_hash
                .shrink_to_fit(|at| self.all.get(*at as usize).map_or(0, |known| known.hash.0));
            let order: Option<Vec<u32>> = (self.order.iter())
                .map(|at| moved.get(*at as usize).copied().flatten())
                .collect();
            match order {
                Some(order) => self.order = order,
                // Lines of the last body are forgotten only where the target has been away for long.
                None => self.forget_layout(),
            }
        }
        self.all.shrink_to_fit();
        self.order.shrink_to_fit();
    }
}
