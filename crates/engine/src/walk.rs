//! Walks along the times of a series while the steps of a query go on.

/// Finds how far a series has come at each of a row of times that do not fall.
///
/// Scrapes and steps are regular, so it guesses that the series goes on by as many samples as last time: a step over
/// eight samples costs two looks instead of eight.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Walk {
    at: usize,
    stride: usize,
}

impl Walk {
    /// How many of `ts` are not after `t`.
    #[inline]
    pub(crate) fn up_to(&mut self, ts: &[i64], t: i64) -> usize {
        let is_passed = |at: usize| ts.get(at).is_some_and(|ts| *ts <= t);
        let begin = self.at;
        let mut at = (begin + self.stride).min(ts.len());
        while at > begin && !is_passed(at - 1) {
            at -= 1;
        }
        while is_passed(at) {
            at += 1;
        }
        self.stride = at - begin;
        self.at = at;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn guesses_change_nothing(
            mut ts in proptest::collection::vec(-50_i64..50, 0..40),
            mut times in proptest::collection::vec(-60_i64..60, 0..20),
        ) {
            ts.sort_unstable();
            times.sort_unstable();
            let mut walk = Walk::default();
            for t in times {
                prop_assert_eq!(walk.up_to(&ts, t), ts.partition_point(|ts| *ts <= t));
            }
        }
    }
}
