//! A map from series references to small things, as dense as references are.

use foldhash::HashMap;

/// A reference's low half is the number of a slot, given out from 0 on; its high half the slot's generation. What was
/// announced lies in a vector by slot. A reference that was not (bytes from disk may hold any) is kept all the same, in a
/// hash table, so that no number makes the vector long.
///
/// What is the type's default counts as absent.
#[derive(Debug, Default)]
pub(crate) struct BySlot<T> {
    // The generation and its value.
    dense: Vec<(u32, T)>,
    sparse: HashMap<u64, T>,
    announced: usize,
}

// How much longer than the number of announced references the vector may be: a head has free slots.
const SLACK: usize = 1024;

impl<T: Copy + Default + PartialEq> BySlot<T> {
    /// Makes room for a reference that others will follow.
    pub(crate) fn announce(&mut self, reference: u64) {
        self.announced += 1;
        let slot = reference as u32 as usize;
        if slot >= self.dense.len() && slot < 4 * self.announced + SLACK {
            self.dense.resize(slot + 1, Default::default());
        }
    }

    pub(crate) fn get(&self, reference: u64) -> T {
        match self.dense.get(reference as u32 as usize) {
            Some((generation, value)) if u64::from(*generation) == reference >> 32 && *value != T::default() => *value,
            // Also where the slot got its place in the vector later.
            _ if self.sparse.is_empty() => T::default(),
            _ => self.sparse.get(&reference).copied().unwrap_or_default(),
        }
    }

    /// Sets the value of a reference and gives what was there.
    pub(crate) fn replace(&mut self, reference: u64, value: T) -> T {
        let before = self.get(reference);
        let (slot, generation) = (reference as u32, (reference >> 32) as u32);
        let Some(place) = self.dense.get_mut(slot as usize) else {
            self.sparse.insert(reference, value);
            return before;
        };
        let old = std::mem::replace(place, (generation, value));
        if !self.sparse.is_empty() {
            self.sparse.remove(&reference);
        }
        if old.0 != generation && old.1 != T::default() {
            // The slot is used again; the old reference stays what it was.
            self.sparse.insert(u64::from(old.0) << 32 | u64::from(slot), old.1);
        }
        before
    }

    /// Forgets all values, keeps the room.
    pub(crate) fn clear(&mut self) {
        self.dense.fill(Default::default());
        self.sparse.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_reference_makes_it_long() {
        let mut map = BySlot::default();
        map.announce(3);
        map.announce(u64::MAX);
        for reference in [3, u64::MAX, 7 << 32, 5_000_000] {
            assert_eq!(map.replace(reference, reference), 0);
        }
        assert_eq!(map.dense.len(), 4);
        map.clear();
        assert_eq!((map.get(3), map.get(5_000_000), map.dense.len()), (0, 0, 4));
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_map(steps in proptest::collection::vec((0..3_u8, 0..6_u64, 0..3_u64, 1..9_u64), 0..200)) {
            let (mut map, mut oracle) = (BySlot::default(), HashMap::default());
            for (what, slot, generation, value) in steps {
                let reference = (generation << 32) | if slot == 5 { 1 << 30 } else { slot };
                if what == 0 {
                    map.announce(reference);
                }
                let before = oracle.insert(reference, value).unwrap_or_default();
                prop_assert_eq!(map.replace(reference, value), before);
                for (reference, value) in &oracle {
                    prop_assert_eq!(map.get(*reference), *value);
                }
            }
        }
    }
}
