//! Sorting that looks at the deadline: a million label sets take a second to sort.

use std::cmp::Ordering;

use crate::budget::Budget;
use crate::error::QueryError;

// Runs of this size are sorted at a go: some milliseconds.
const RUN: usize = 8192;

/// Sorts `items`; equal ones keep their order.
pub(crate) fn sort<T>(
    budget: &mut Budget<'_>,
    items: Vec<T>,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, QueryError> {
    let mut items = items;
    if items.len() <= RUN {
        items.sort_by(compare);
        budget.work(items.len())?;
        return Ok(items);
    }
    // Sorts places, not items: runs first, then pairs of runs are merged until there is one.
    let mut order: Vec<usize> = (0..items.len()).collect();
    let at = |a: &usize, b: &usize| match (items.get(*a), items.get(*b)) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Ordering::Equal,
    };
    for run in order.chunks_mut(RUN) {
        run.sort_by(at);
        budget.work(run.len())?;
    }
    let mut run = RUN;
    while run < order.len() {
        let mut merged = Vec::with_capacity(order.len());
        for pair in order.chunks(run * 2) {
            let (left, right) = pair.split_at(run.min(pair.len()));
            merge(budget, left, right, at, &mut merged)?;
        }
        order = merged;
        run *= 2;
    }
    let mut slots: Vec<Option<T>> = items.into_iter().map(Some).collect();
    let sorted = order.iter().filter_map(|at| slots.get_mut(*at)?.take());
    Ok(sorted.collect())
}

fn merge(
    budget: &mut Budget<'_>,
    mut left: &[usize],
    mut right: &[usize],
    at: impl Fn(&usize, &usize) -> Ordering,
    out: &mut Vec<usize>,
) -> Result<(), QueryError> {
    while let (Some((a, left_rest)), Some((b, right_rest))) = (left.split_first(), right.split_first()) {
        if at(a, b) == Ordering::Greater {
            out.push(*b);
            right = right_rest;
        } else {
            out.push(*a);
            left = left_rest;
        }
        budget.work(1)?;
    }
    out.extend_from_slice(left);
    out.extend_from_slice(right);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::ledger::{Account, Ledger};
    use crate::query::Asker;
    use crate::turns::Turns;
    use std::sync::Arc;

    fn sorted(count: u64, cancel: &Cancel) -> Result<Vec<(u64, u64)>, QueryError> {
        let (turns, ledger) = (Turns::new(1), Arc::new(Ledger::new(usize::MAX)));
        let turn = turns.enter(Asker::Rule, cancel)?;
        let account = Account::new(&ledger, Asker::Rule, usize::MAX);
        let mut budget = Budget::new(cancel, "", 1, account, turn);
        let items = (0..count)
            .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1000, n))
            .collect();
        sort(&mut budget, items, |a: &(u64, u64), b| a.0.cmp(&b.0))
    }

    #[test]
    fn long_lists_are_sorted_as_short_ones_are() {
        for count in [0, 1, 8192, 8193, 16_384, 50_000] {
            let sorted = sorted(count, &Cancel::new()).unwrap();
            assert_eq!(sorted.len() as u64, count);
            assert!(sorted.is_sorted(), "{count}: by value, and where equal as they came");
        }
    }

    #[test]
    fn a_cancelled_query_does_not_sort_to_the_end() {
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(sorted(50_000, &cancel).is_err());
    }
}
