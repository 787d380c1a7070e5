//! Who began new series within the last hour: what comes and goes costs memory long after it has gone.

use cupola_model::{Labels, METRIC_NAME};
use foldhash::HashMap;

use super::cardinality::{Counts, largest_of};

// So many metrics and jobs are told apart; others are counted together.
const MOST_NAMES: usize = 1000;
const OTHERS: &str = "(others)";
// An hour in steps of ten minutes: the one that is under way, and six before it.
const STEP_MS: i64 = 600_000;
const STEPS: usize = 7;

/// New series by metric name and by job. Time is that of the samples that began them.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    pub by_metric: Names,
    pub by_job: Names,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    recent: HashMap<Box<str>, Recent>,
    // When names without new series were forgotten last.
    swept: i64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Recent {
    // The newest step, the last one in `counts`.
    step: i64,
    counts: [u32; STEPS],
}

impl Newcomers {
    pub(super) fn note(&mut self, labels: &Labels, ts: i64) {
        let step = ts.div_euclid(STEP_MS);
        self.by_metric.note(labels.value(METRIC_NAME), step);
        self.by_job.note(labels.value("job"), step);
    }
}

impl Names {
    fn note(&mut self, name: &str, step: i64) {
        if let Some(recent) = self.recent.get_mut(name) {
            recent.note(step);
            return;
        }
        if self.recent.len() >= MOST_NAMES && self.swept < step {
            self.swept = step;
            self.recent.retain(|_, recent| recent.count(step) > 0);
        }
        let name = if self.recent.len() < MOST_NAMES { name } else { OTHERS };
        self.recent.entry(name.into()).or_default().note(step);
    }

    /// The `limit` names with the most new series within the hour before `newest_ts`.
    pub(super) fn largest(&self, newest_ts: i64, limit: usize) -> Counts {
        let step = newest_ts.div_euclid(STEP_MS);
        let counts = self.recent.iter().map(|(name, recent)| (&**name, recent.count(step)));
        largest_of(counts.filter(|(_, count)| *count > 0), limit)
    }
}

impl Recent {
    fn note(&mut self, step: i64) {
        let ahead = step.saturating_sub(self.step);
        if ahead > 0 {
            let by = usize::try_from(ahead).unwrap_or(STEPS).min(STEPS);
            self.counts.rotate_left(by);
            if let Some(begun) = self.counts.get_mut(STEPS - by..) {
                begun.fill(0);
            }
            self.step = step;
        }
        let back = usize::try_from(self.step.saturating_sub(step)).unwrap_or(STEPS);
        let at = (STEPS - 1).checked_sub(back);
        if let Some(count) = at.and_then(|at| self.counts.get_mut(at)) {
            *count = count.saturating_add(1);
        }
    }

    // Those from six steps before `step` on.
    fn count(&self, step: i64) -> u64 {
        let gone = usize::try_from(step.saturating_sub(self.step)).unwrap_or(0).min(STEPS);
        let kept = self.counts.iter().skip(gone);
        kept.map(|count| u64::from(*count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn series(name: &str, job: &str) -> Labels {
        Labels::from_pairs([("__name__", name), ("job", job)])
    }

    #[test]
    fn new_series_count_for_an_hour() {
        let mut new = Newcomers::default();
        for (name, minute) in [("a", 3), ("a", 25), ("b", 25), ("a", 61), ("a", 24)] {
            new.note(&series(name, "x"), minute * MINUTE);
        }
        for (minute, a, b) in [(61, 4, 1), (69, 4, 1), (75, 3, 1), (92, 1, 0), (500, 0, 0)] {
            let counts = new.by_metric.largest(minute * MINUTE, 10);
            let of = |name: &str| counts.iter().find(|(n, _)| n == name).map_or(0, |(_, count)| *count);
            assert_eq!((of("a"), of("b")), (a, b), "at minute {minute}");
        }
        assert_eq!(new.by_job.largest(61 * MINUTE, 1), [("x".to_owned(), 5)]);
    }

    #[test]
    fn names_are_bounded_and_old_ones_make_room() {
        let mut new = Newcomers::default();
        for n in 0..MOST_NAMES + 5 {
            new.note(&series(&format!("m{n}"), "x"), 0);
        }
        assert_eq!(new.by_metric.largest(0, 1), [("(others)".to_owned(), 5)]);
        new.note(&series("late", "x"), 90 * MINUTE);
        assert_eq!(new.by_metric.largest(90 * MINUTE, 9), [("late".to_owned(), 1)]);
        assert_eq!(new.by_metric.recent.len(), 1);
    }
}
