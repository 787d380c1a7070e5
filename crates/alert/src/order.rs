//! Alertmanager's orders: of the alerts of a message, and of label sets in lists.

use std::cmp::Ordering;

use cupola_model::Labels;

/// By job, then instance, each absent one last; then as [`by_size`].
pub(crate) fn by_labels(a: &Labels, b: &Labels) -> Ordering {
    for name in ["job", "instance"] {
        let order = match (a.get(name), b.get(name)) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => a.cmp(b),
        };
        if order.is_ne() {
            return order;
        }
    }
    by_size(a, b)
}

/// Smaller sets first; among equally large ones the first name that only one of them has, or whose values differ, decides
/// (common/model, `LabelSet.Before`).
pub(crate) fn by_size(a: &Labels, b: &Labels) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| {
        for ((name, value), (other_name, other_value)) in a.iter().zip(b) {
            // Whoever lacks the lower of two names comes first.
            let order = other_name.cmp(name).then_with(|| value.cmp(other_value));
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_and_instances_come_first_then_small_sets() {
        let l = |text: &str| Labels::from_pairs(text.split(' ').filter_map(|pair| pair.split_once('=')));
        let sorted = [
            "job=a instance=1 z=1",
            "job=a instance=2",
            "job=b instance=1",
            "job=b",
            "instance=1",
            "",
            "b=1",
            "b=2",
            "a=1",
            "a=1 b=1",
        ];
        let mut sets: Vec<Labels> = sorted.iter().rev().map(|t| l(t)).collect();
        sets.sort_by(by_labels);
        assert_eq!(sets, sorted.map(l));
    }
}
