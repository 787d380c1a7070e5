//! Sets of times: what raw blocks cover, what a tier covers, and what is missing.

/// Stretches of time in milliseconds: half open, ascending, apart from each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spans(Vec<(i64, i64)>);

impl Spans {
    /// All times that lie in one of `stretches`; those that end before they begin hold none.
    pub(super) fn of(stretches: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut all: Vec<(i64, i64)> = stretches.into_iter().filter(|(from, to)| from < to).collect();
        all.sort_unstable();
        let mut out: Vec<(i64, i64)> = Vec::with_capacity(all.len());
        for (from, to) in all {
            match out.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => out.push((from, to)),
            }
        }
        Self(out)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.0.iter().copied()
    }

    /// The times that are in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let pairs = self.iter().flat_map(|(from, to)| {
            let others = other.iter();
            others.map(move |(begin, end)| (from.max(begin), to.min(end)))
        });
        Self::of(pairs)
    }

    /// The times that are not in `other`.
    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut out = Vec::new();
        for (from, to) in self.iter() {
            let mut rest = from;
            for (begin, end) in other.iter().filter(|(begin, end)| *begin < to && *end > from) {
                out.push((rest, begin));
                rest = rest.max(end);
            }
            out.push((rest, to));
        }
        Self::of(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // As one bit per time.
    fn bits(spans: &Spans) -> u64 {
        (0..64)
            .filter(|t| spans.iter().any(|(from, to)| (from..to).contains(t)))
            .fold(0, |bits, t| bits | 1 << t)
    }

    fn stretches() -> impl Strategy<Value = Vec<(i64, i64)>> {
        prop::collection::vec((0_i64..64, 0_i64..64), 0..8)
    }

    proptest! {
        #[test]
        fn sets_of_times_are_sets(a in stretches(), b in stretches()) {
            let (a, b) = (Spans::of(a), Spans::of(b));
            prop_assert_eq!(bits(&a.and(&b)), bits(&a) & bits(&b));
            prop_assert_eq!(bits(&a.minus(&b)), bits(&a) & !bits(&b));
            for spans in [&a, &a.and(&b), &a.minus(&b)] {
                prop_assert!(spans.0.iter().all(|(from, to)| from < to));
                prop_assert!(spans.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
        }
    }
}
