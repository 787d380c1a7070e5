//! What start timestamps tell of counters: since when they count, so that a reset shows even where no value fell.

use cupola_storage::Samples;

/// A sample's time and since when its counter counts, 0 where that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) t: i64,
    pub(crate) start: i64,
}

impl Started {
    /// The sample at `at` of two columns, the second of which may be shorter.
    pub(crate) fn at(ts: &[i64], starts: &[i64], at: usize) -> Option<Self> {
        let start = starts.get(at).copied().unwrap_or(0);
        ts.get(at).map(|t| Self { t: *t, start })
    }

    /// Whether the counter was reset between `before` and this sample.
    ///
    /// It was where it started after `before`. Where it started at `before`, samples are deltas, unless it is not known
    /// when `before` started: then they are a counter whose start nobody knows. A start at or after the sample itself
    /// says nothing.
    pub(crate) fn is_reset_after(self, before: Self) -> bool {
        if self.start == 0 || self.start >= self.t || self.start < before.t {
            return false;
        }
        self.start > before.t || (before.start != 0 && before.start < before.t)
    }

    /// Whether the counter is said to count since before the sample in front of it, but not since when that one does.
    pub(crate) fn overlaps(self, before: Self) -> bool {
        self.start != 0 && self.start < before.t && self.start != before.start
    }

    /// The start, if it lies in a window that begins at `window_start`: the counter was zero there.
    pub(crate) fn within(self, window_start: i64) -> Option<i64> {
        (self.start != 0 && self.start > window_start && self.start < self.t).then_some(self.start)
    }
}

/// Whether any start is known.
pub(crate) fn knows_starts(samples: &Samples) -> bool {
    !(samples.starts.is_empty() && samples.histograms.starts.is_empty())
}

/// Forgets the starts.
pub(crate) fn drop_starts(samples: &mut Samples) {
    samples.starts.clear();
    samples.histograms.starts.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(before: (i64, i64), after: (i64, i64)) -> (Started, Started) {
        let started = |(t, start)| Started { t, start };
        (started(before), started(after))
    }

    #[test]
    fn a_start_between_two_samples_is_a_reset() {
        for (before, after, reset) in [
            ((100, 0), (200, 150), true),
            ((100, 50), (200, 50), false),
            // Deltas; and counters of which nobody knows when they started.
            ((100, 50), (200, 100), true),
            ((100, 0), (200, 100), false),
            ((100, 100), (200, 100), false),
            ((100, 150), (200, 100), false),
            // Starts that make no sense.
            ((100, 50), (200, 200), false),
            ((100, 50), (200, 250), false),
            ((100, 50), (200, 0), false),
        ] {
            let (b, a) = pair(before, after);
            assert_eq!(a.is_reset_after(b), reset, "{before:?} {after:?}");
        }
    }

    #[test]
    fn starts_overlap_where_they_differ_and_lie_before_the_sample_in_front() {
        for (before, after, overlap) in [
            ((100, 50), (200, 50), false),
            ((100, 50), (200, 100), false),
            ((100, 50), (200, 60), true),
            ((100, 0), (200, 60), true),
            ((100, 50), (200, 0), false),
        ] {
            let (b, a) = pair(before, after);
            assert_eq!(a.overlaps(b), overlap, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_start_on_the_left_edge_is_outside() {
        let sample = Started { t: 100, start: 50 };
        assert_eq!((sample.within(49), sample.within(50)), (Some(50), None));
        assert_eq!(Started { t: 100, start: 100 }.within(0), None);
        assert_eq!(Started { t: 100, start: 0 }.within(-50), None);
    }
}
