//! Lists of series refs, ascending, and what sets do with them.

use crate::bytes::{Dec, Parsed};

/// Reads the body of a list, which begins at `base` in the file, and adds it to `out`.
pub(crate) fn parse(body: &[u8], base: u64, out: &mut Vec<u32>) -> Parsed<()> {
    let mut dec = Dec::new(body, base);
    let count = dec.be32()? as usize;
    let refs = dec.rest();
    if refs.len() != count * 4 {
        return dec.fault(format!("list of {count} series in {} bytes", refs.len()));
    }
    let start = out.len();
    // `as_chunks` leaves no rest: the length is a multiple of 4.
    out.extend(refs.as_chunks::<4>().0.iter().map(|r| u32::from_be_bytes(*r)));
    if out.get(start..).is_some_and(|added| added.is_sorted_by(|a, b| a < b)) {
        return Ok(());
    }
    dec.fault("list is out of order")
}

/// Keeps in `set` what is also in `other`.
pub(crate) fn intersect(set: &mut Vec<u32>, other: &[u32]) {
    retain(set, other, true);
}

/// Keeps in `set` what is not in `other`.
pub(crate) fn subtract(set: &mut Vec<u32>, other: &[u32]) {
    retain(set, other, false);
}

fn retain(set: &mut Vec<u32>, mut other: &[u32], keep_common: bool) {
    set.retain(|r| {
        other = other.get(gallop(other, *r)..).unwrap_or_default();
        (other.first() == Some(r)) == keep_common
    });
}

// The first position whose ref is not below `r`; steps double, so that a short list passes quickly over a long one.
fn gallop(list: &[u32], r: u32) -> usize {
    let mut step = 1;
    while list.get(step - 1).is_some_and(|x| *x < r) {
        step *= 2;
    }
    let from = step / 2;
    let near = list.get(from..(step - 1).min(list.len())).unwrap_or_default();
    from + near.partition_point(|x| *x < r)
}

/// Makes a set of several lists put behind each other.
pub(crate) fn unite(lists: &mut Vec<u32>) {
    if !lists.is_sorted_by(|a, b| a < b) {
        // It is made of ascending runs, which the stable sort merges.
        lists.sort();
        lists.dedup();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn sets_behave_as_sets(
            a in prop::collection::btree_set(0_u32..500, 0..60),
            b in prop::collection::btree_set(0_u32..500, 0..300),
        ) {
            let (list_a, list_b): (Vec<_>, Vec<_>) = (a.iter().copied().collect(), b.iter().copied().collect());
            let mut both = list_a.clone();
            intersect(&mut both, &list_b);
            prop_assert_eq!(both, a.intersection(&b).copied().collect::<Vec<_>>());
            let mut only = list_a.clone();
            subtract(&mut only, &list_b);
            prop_assert_eq!(only, a.difference(&b).copied().collect::<Vec<_>>());
            let mut all = [list_b, list_a].concat();
            unite(&mut all);
            prop_assert_eq!(all, a.union(&b).copied().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_list_out_of_order_or_of_another_length_is_refused() {
        let mut out = vec![9];
        parse(&[0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 5], 0, &mut out).unwrap();
        assert_eq!(out, [9, 1, 5]);
        assert!(parse(&[0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 5], 0, &mut out).is_err());
        assert!(parse(&[0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 5], 0, &mut out).is_err());
        assert!(parse(&[0, 0, 0], 0, &mut out).is_err());
    }
}
