//! Series that were written before, by a hash of their labels' bytes.

use std::hash::{BuildHasher as _, Hasher as _};

use cupola_model::SeriesRef;
use foldhash::HashMap;
use parking_lot::RwLock;

/// Labels' bytes, hashed twice with keys of this process: two of a million are the same with a probability of 10^-27.
pub(crate) type LabelsHash = (u64, u64);

#[derive(Default)]
pub(crate) struct Known {
    hashers: (foldhash::quality::RandomState, foldhash::quality::RandomState),
    maps: RwLock<Maps>,
}

// Whatever is asked for goes from `old` to `new`; when everything in `new` has been asked for a few times, `old` is
// forgotten and `new` becomes old. So what nobody writes any more is gone after a while.
#[derive(Default)]
struct Maps {
    new: HashMap<LabelsHash, SeriesRef>,
    old: HashMap<LabelsHash, SeriesRef>,
    asked: usize,
}

const ASKED_TIMES: usize = 16;
const ASKED_LEAST: usize = 100_000;

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

    pub(crate) fn get(&self, hash: LabelsHash) -> Option<SeriesRef> {
        let maps = self.maps.read();
        maps.new.get(&hash).or_else(|| maps.old.get(&hash)).copied()
    }

    /// Remembers what one message has written.
    pub(crate) fn note(&self, written: &[(LabelsHash, SeriesRef)]) {
        let is_noted = {
            let maps = self.maps.read();
            written.iter().all(|(hash, series)| maps.new.get(hash) == Some(series))
        };
        let mut maps = self.maps.write();
        if !is_noted {
            maps.new.extend(written.iter().copied());
        }
        maps.asked += written.len();
        if maps.asked > ASKED_TIMES * maps.new.len() + ASKED_LEAST {
            maps.old = std::mem::take(&mut maps.new);
            maps.asked = 0;
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
                assert_eq!(known.get(hash(n)), Some(SeriesRef(n.into())));
                note(n);
            }
        }
        assert!((500..1000).all(|n| known.get(hash(n)).is_none()));
        let maps = known.maps.read();
        assert!(maps.new.len() + maps.old.len() <= 1000);
    }

    #[test]
    fn labels_that_are_cut_elsewhere_are_others() {
        let known = Known::default();
        let hash = |parts: &[&'static [u8]]| known.hash(parts.iter().copied());
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_eq!(hash(&[b"ab", b"c"]), hash(&[b"ab", b"c"]));
    }
}
