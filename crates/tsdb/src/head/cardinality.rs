//! Who has how many series.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use cupola_model::METRIC_NAME;

use super::index::Index;

/// Names with a count each, largest first; of equal ones the first by name.
pub type Counts = Vec<(String, u64)>;

/// Who has how many series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Series by metric name.
    pub by_metric: Counts,
    /// Series by value of the label `job`.
    pub by_job: Counts,
    /// Values by label name.
    pub values_by_label: Counts,
    /// Bytes of values by label name.
    pub bytes_by_label: Counts,
    /// Series by `name=value`.
    pub by_pair: Counts,
    /// Series by metric name that began within the hour before the newest sample, since the start.
    pub new_by_metric: Counts,
    /// The same by value of the label `job`.
    pub new_by_job: Counts,
}

// The largest of what was offered. There may be millions of pairs, so nothing is kept or written out but what is shown.
struct Largest<T> {
    limit: usize,
    // The smallest on top.
    kept: BinaryHeap<Reverse<(u64, Reverse<T>)>>,
}

impl<T: Ord> Largest<T> {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: BinaryHeap::new(),
        }
    }

    fn offer(&mut self, count: u64, name: T) {
        let offered = Reverse((count, Reverse(name)));
        if self.kept.len() < self.limit {
            self.kept.push(offered);
        } else if self.kept.peek().is_some_and(|smallest| offered < *smallest) {
            self.kept.pop();
            self.kept.push(offered);
        }
    }

    fn take(self, text: impl Fn(T) -> String) -> Counts {
        let sorted = self.kept.into_sorted_vec().into_iter();
        sorted
            .map(|Reverse((count, Reverse(name)))| (text(name), count))
            .collect()
    }
}

/// The `limit` largest of `counts`.
pub(super) fn largest_of<'a>(counts: impl Iterator<Item = (&'a str, u64)>, limit: usize) -> Counts {
    let mut most = Largest::new(limit);
    counts.for_each(|(name, count)| most.offer(count, name));
    most.take(str::to_owned)
}

/// The `limit` largest names, labels and pairs of `index`. Costs a look at every pair.
pub(super) fn largest(index: &Index, limit: usize) -> Cardinality {
    let of = |name: &str| {
        let values = index.label_values(name);
        largest_of(values.map(|(value, series)| (value, series as u64)), limit)
    };
    let mut pairs = Largest::new(limit);
    let mut values = Largest::new(limit);
    let mut bytes = Largest::new(limit);
    for name in index.label_names() {
        let (mut count, mut length) = (0, 0);
        for (value, series) in index.label_values(name) {
            count += 1;
            length += value.len() as u64;
            pairs.offer(series as u64, (name, value));
        }
        values.offer(count, name);
        bytes.offer(length, name);
    }
    Cardinality {
        by_metric: of(METRIC_NAME),
        by_job: of("job"),
        values_by_label: values.take(str::to_owned),
        bytes_by_label: bytes.take(str::to_owned),
        by_pair: pairs.take(|(name, value)| format!("{name}={value}")),
        ..Cardinality::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_and_the_first_of_equals() {
        let all = [("c", 1), ("a", 5), ("d", 5), ("b", 5), ("e", 0)];
        for (limit, expected) in [
            (0, &[][..]),
            (2, &[("a", 5), ("b", 5)]),
            (9, &[("a", 5), ("b", 5), ("d", 5), ("c", 1), ("e", 0)]),
        ] {
            let expected: Counts = expected
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect();
            assert_eq!(largest_of(all.into_iter(), limit), expected);
        }
    }
}
