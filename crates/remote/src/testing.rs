//! A database for the tests of this crate.

use std::path::Path;
use std::sync::Arc;

use cupola_env::{ManualClock, RealFs};
use cupola_metrics::Registry;
use cupola_model::{Labels, METRIC_NAME, MatchOp, Matcher};
use cupola_storage::{Queryable, Samples, Selection};
use cupola_tsdb::{Options, Tsdb};

pub(crate) fn open(dir: &Path, now: i64) -> Tsdb {
    open_with(dir, now, |options| options.start_timestamps = true)
}

/// One that puts zeros where series begin to count.
pub(crate) fn open_with_zeros(dir: &Path, now: i64) -> Tsdb {
    open_with(dir, now, |options| options.start_zeros = true)
}

fn open_with(dir: &Path, now: i64, change: impl FnOnce(&mut Options)) -> Tsdb {
    let mut options = Options::new(dir.join("data"));
    change(&mut options);
    options.max_exemplars = 1000;
    Tsdb::open(
        options,
        Arc::new(ManualClock::new(now)),
        Arc::new(RealFs),
        &Registry::default(),
    )
    .unwrap()
}

/// The series of a name, sorted by labels, with their samples.
pub(crate) fn series(db: &dyn Queryable, name: &str) -> Vec<(Labels, Samples)> {
    let matcher = Matcher::new(METRIC_NAME, MatchOp::Equal, name).unwrap();
    let selection = Selection {
        matchers: &[matcher],
        mint: i64::MIN,
        maxt: i64::MAX,
    };
    let read = |series: cupola_storage::Series| {
        let mut out = Samples::default();
        series.source.read(i64::MIN, i64::MAX, &mut out).unwrap();
        (series.labels, out)
    };
    let mut all: Vec<_> = db.select(&selection).unwrap().into_iter().map(read).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

pub(crate) fn samples(db: &dyn Queryable, name: &str) -> Vec<Samples> {
    series(db, name).into_iter().map(|(_, samples)| samples).collect()
}
