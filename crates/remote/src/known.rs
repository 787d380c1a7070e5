//! Series that were written before, by a hash of their labels' bytes.

use std::hash::{BuildHasher as _, Hasher as _};

use cupola_model::SeriesRef;
use hashbrown::HashTable;
use parking_lot::RwLock;

/// Labels' bytes, hashed twice with keys of this process: two of a million are the same with a probability of 10^-27.
pub(crate) type LabelsHash = (u64, u64);

#[derive(Default)]
pub(crate) struct Known {
    hashers: (foldhash::quality::RandomState, foldhash::quality::RandomState),
    tables: RwLock<Tables>,
}

// Whatever is asked for goes from `old` to `new`; when everything in `new` has been asked for a few times, `old` is
// forgotten and `new` becomes old. So what nobody writes any more is gone after a while.
#[derive(Default)]
struct Tables {
    new: Table,
    old: Table,
    asked: usize,
}

/// Series in the order in which they were first written. Senders write theirs in the same order again and again, so the
/// one after the last is tried first: no search, and no memory far away.
#[derive(Default)]
struct Table {
    series: Vec<(LabelsHash, SeriesRef)>,
    places: HashTable<u32>,
}

/// Where the next series of a message is looked for first.
#[derive(Default)]
pub(crate) struct Cursor(usize);

const ASKED_TIMES: usize = 16;
const ASKED_LEAST: usize = 100_000;

impl Table {
    fn get(&self, hash: LabelsHash, next: &mut Cursor) -> Option<SeriesRef> {
        let tried = self.series.get(next.0).filter(|(there, _)| *there == hash);
        let found = match tried {
            Some(found) => found,
            None => {
                next.0 = self.place(hash)?;
                self.series.get(next.0)?
            }
        };
        next.0 += 1;
        Some(found.1)
    }

    fn place(&self, hash: LabelsHash) -> Option<usize> {
        let is_it = |place: &u32| {
            self.series
                .get(*place as usize)
                .is_some_and(|(there, _)| *there == hash)
        };
        Some(*self.places.find(hash.0, is_it)? as usize)
    }

    fn put(&mut self, hash: LabelsHash, series: SeriesRef) {
        if let Some(there) = self.place(hash).and_then(|place| self.series.get_mut(place)) {
            there.1 = series;
            return;
        }
        let place = self.series.len() as u32;
        self.series.push((hash, series));
        let all = &self.series;
        self.places.insert_unique(hash.0, place, |place| {
            all.get(*place as usize).map_or(0, |(hash, _)| hash.0)
        });
    }
}

impl Known {
    pub(crate) fn hash<'a>(&self, labels: impl Iterator<Item = &'a [u8]>) -> LabelsHash {
        let (mut a, mut b) = (self.hashers.0.build_hasher(), self.hashers.1.build_hasher());
        for label in labels {
            for hasher in [&mut a, &mut b] {
                hasher.write_usize(label.len());
                hasher.write(label);
            }
        }
        (a.finish(), b.finish())
    }

    /// The series with this hash; `next` is the message's own.
    pub(crate) fn get(&self, hash: LabelsHash, next: &mut Cursor) -> Option<SeriesRef> {
        let tables = self.tables.read();
        let found = tables.new.get(hash, next);
        found.or_else(|| tables.old.get(hash, &mut Cursor(usize::MAX)))
    }

    /// Remembers what one message has written.
    pub(crate) fn note(&self, written: &[(LabelsHash, SeriesRef)]) {
        let is_noted = {
            let tables = self.tables.read();
            let mut next = Cursor::default();
            let mut written = written.iter();
            written.all(|(hash, series)| tables.new.get(*hash, &mut next) == Some(*series))
        };
        let mut tables = self.tables.write();
        if !is_noted {
            for (hash, series) in written {
                tables.new.put(*hash, *series);
            }
        }
        tables.asked += written.len();
        if tables.asked > ASKED_TIMES * tables.new.series.len() + ASKED_LEAST {
            tables.old = std::mem::take(&mut tables.new);
            tables.asked = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_writes_any_more_is_forgotten_and_the_rest_stays_known() {
        let known = Known::default();
        let hash = |n: u32| known.hash([&n.to_le_bytes()[..]].into_iter());
        let note = |n: u32| known.note(&[(hash(n), SeriesRef(n.into()))]);
        (0..1000).for_each(note);
        for _ in 0..1000 {
            for n in 0..500 {
                assert_eq!(known.get(hash(n), &mut Cursor::default()), Some(SeriesRef(n.into())));
                note(n);
            }
        }
        assert!((500..1000).all(|n| known.get(hash(n), &mut Cursor::default()).is_none()));
        let tables = known.tables.read();
        assert!(tables.new.series.len() + tables.old.series.len() <= 1000);
    }

    #[test]
    fn series_are_found_in_any_order_and_with_any_cursor() {
        let known = Known::default();
        let hash = |n: u32| known.hash([&n.to_le_bytes()[..]].into_iter());
        let all: Vec<_> = (0..100).map(|n| (hash(n), SeriesRef(n.into()))).collect();
        known.note(&all);
        known.note(&[(hash(7), SeriesRef(700))]);
        let mut next = Cursor::default();
        for n in (0..100).chain((0..100).rev()).chain([5, 5, 200, 6]) {
            let expected = match n {
                7 => Some(SeriesRef(700)),
                200 => None,
                n => Some(SeriesRef(n.into())),
            };
            assert_eq!(known.get(hash(n), &mut next), expected, "{n}");
        }
    }

    #[test]
    fn labels_that_are_cut_elsewhere_are_others() {
        let known = Known::default();
        let hash = |parts: &[&'static [u8]]| known.hash(parts.iter().copied());
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_eq!(hash(&[b"ab", b"c"]), hash(&[b"ab", b"c"]));
    }
}
