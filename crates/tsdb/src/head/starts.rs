//! Since when the samples of a batch count.

use cupola_histogram::HistogramRef;
use cupola_model::is_stale_nan;

use super::Head;
use crate::wal::{LoggedHistogram, LoggedSample, LoggedStart, ToldStarts};

/// What a batch says of its samples.
pub(super) struct BatchStarts {
    // By series and time.
    told: ToldStarts,
    // Whether it matters: it says something, or series in the head have starts which would go on.
    matters: bool,
}

impl BatchStarts {
    pub(super) fn of_batch(told: &[LoggedStart], head: &Head) -> Self {
        let told: ToldStarts = told.iter().map(|told| ((told.series, told.ts), told.start)).collect();
        let matters = !told.is_empty() || head.inner.read().has_starts;
        Self { told, matters }
    }

    /// What it says, for the log.
    pub(super) fn told(&self) -> &ToldStarts {
        &self.told
    }

    /// The start of a sample; 0 where it is not known.
    pub(super) fn of(&self, series: u64, ts: i64) -> i64 {
        self.told.get(&(series, ts)).copied().unwrap_or(0)
    }

    /// The start of a float behind all others of its series; `None` where it has that of the one before it.
    pub(super) fn of_float(&self, sample: &LoggedSample) -> Option<i64> {
        self.of_newest(sample.series, sample.ts, || is_stale_nan(sample.value))
    }

    /// As [`BatchStarts::of_float`].
    pub(super) fn of_histogram(&self, logged: &LoggedHistogram) -> Option<i64> {
        self.of_newest(logged.series, logged.ts, || {
            HistogramRef::from(&logged.value).is_stale()
        })
    }

    fn of_newest(&self, series: u64, ts: i64, is_stale: impl FnOnce() -> bool) -> Option<i64> {
        if !self.matters {
            return None;
        }
        let told = self.told.get(&(series, ts)).copied();
        // A marker counts nothing, and ends nothing.
        told.or_else(|| (!is_stale()).then_some(0))
    }
}
