//! Limits on the number of series: what is known goes on, what is new beyond them is refused and remembered, so that it
//! can be told who is to blame. Until the log is read nobody knows what is known, and nothing is refused.

use std::fmt;

use cupola_model::{Labels, METRIC_NAME};
use cupola_storage::{SeriesLimit, SeriesScope};
use foldhash::HashMap;
use tracing::warn;

use super::index::Index;
use crate::options::SeriesLimits;

/// Series that were refused under one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSeries {
    /// Which limit.
    pub limit: SeriesLimit,
    /// The metric, for [`SeriesScope::Metric`], otherwise the job.
    pub name: String,
    /// How often a sample of a new series was refused since the start: once per scrape and series.
    pub count: u64,
    /// Time of the first sample that was refused, milliseconds.
    pub first_ts: i64,
    /// Time of the last one so far.
    pub last_ts: i64,
    /// The series that was refused last.
    pub example: Labels,
}

// So many metrics and jobs are remembered; of others only how many there were.
const MOST_NAMES: usize = 1000;
const OTHERS: &str = "(others)";

/// Who was refused.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<(SeriesScope, Box<str>), RefusedSeries>);

impl SeriesLimits {
    /// Which limit stands in the way of one more series with these labels.
    pub(super) fn check(self, series: usize, index: &Index, labels: &Labels) -> Result<(), SeriesLimit> {
        let of = |name: &str| index.series_with(name, labels.value(name));
        for (scope, limit, count) in [
            (SeriesScope::All, self.total, &(|| series) as &dyn Fn() -> usize),
            (SeriesScope::Metric, self.per_metric, &|| of(METRIC_NAME)),
            (SeriesScope::Job, self.per_job, &|| of("job")),
        ] {
            if limit > 0 && count() >= limit {
                return Err(SeriesLimit { scope, limit });
            }
        }
        Ok(())
    }
}

impl Refusals {
    pub(super) fn note(&mut self, limit: SeriesLimit, labels: &Labels, ts: i64) {
        let name = match limit.scope {
            SeriesScope::Metric => labels.metric_name(),
            SeriesScope::All | SeriesScope::Job => labels.value("job"),
        };
        let is_known = self.0.contains_key(&(limit.scope, name.into()));
        let name = if is_known || self.0.len() < MOST_NAMES {
            name
        } else {
            OTHERS
        };
        let refused = self.0.entry((limit.scope, name.into())).or_insert_with(|| {
            warn!(limit = %Words(limit.scope), most = limit.limit, name, example = %labels,
                "new series are refused; those that are known go on (/api/v1/status/tsdb says who has how many)");
            RefusedSeries {
                limit,
                name: name.to_owned(),
                count: 0,
                first_ts: ts,
                last_ts: ts,
                example: Labels::empty(),
            }
        });
        refused.count += 1;
        refused.last_ts = ts;
        refused.example = labels.clone();
    }

    /// Most refusals first.
    pub(super) fn list(&self) -> Vec<RefusedSeries> {
        let mut all: Vec<_> = self.0.values().cloned().collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        all
    }
}

struct Words(SeriesScope);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            SeriesScope::All => "series in the head",
            SeriesScope::Metric => "series of one metric",
            SeriesScope::Job => "series of one job",
        })
    }
}
