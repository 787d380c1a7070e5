//! Exemplars beside their series: refused, found, logged, and bounded in number.

use cupola_model::{MatchOp, Matcher};
use cupola_storage::{Exemplar, ExemplarError};
use tempfile::TempDir;

use super::tests::{HOUR, MINUTE, name, open, open_with};
use super::*;

fn exemplar(n: i64) -> Exemplar {
    Exemplar {
        labels: Labels::from_pairs([("trace_id", n.to_string())]),
        value: n as f64,
        ts: n * MINUTE,
    }
}

fn write(tsdb: &Tsdb, series: &str, n: i64) -> Result<(), ExemplarError> {
    let mut appender = tsdb.appender();
    let series = appender.append(None, &name(series), n * MINUTE, n as f64).unwrap();
    let outcome = appender.append_exemplar(series, exemplar(n));
    appender.commit().unwrap();
    outcome
}

// The numbers of a series' exemplars.
fn found(tsdb: &Tsdb, series: &str) -> Vec<i64> {
    let matcher = Matcher::new("__name__", MatchOp::Equal, series).unwrap();
    let all = tsdb.exemplars(&[vec![matcher]], i64::MIN, i64::MAX).unwrap();
    let exemplars = all.into_iter().flat_map(|series| series.exemplars);
    let number = |found: Exemplar| {
        let n = found.ts / MINUTE;
        assert_eq!(found, exemplar(n));
        n
    };
    exemplars.map(number).collect()
}

#[test]
fn exemplars_survive_a_crash_and_a_checkpoint() {
    let dir = TempDir::new().unwrap();
    let mut tsdb = open(&dir);
    for n in 1..=5 {
        write(&tsdb, "a", n).unwrap();
        write(&tsdb, "b", n).unwrap();
    }
    assert_eq!(found(&tsdb, "a"), [1, 2, 3, 4, 5]);
    drop(tsdb);
    tsdb = open(&dir);
    assert_eq!(found(&tsdb, "a"), [1, 2, 3, 4, 5]);
    tsdb.close();
    drop(tsdb);
    tsdb = open(&dir);
    assert_eq!(found(&tsdb, "b"), [1, 2, 3, 4, 5]);
    write(&tsdb, "b", 5).unwrap();
    write(&tsdb, "b", 6).unwrap();
    assert_eq!(found(&tsdb, "b"), [1, 2, 3, 4, 5, 6]);
    // Behind a cut the exemplars of the ring are still there.
    write(&tsdb, "a", 4 * HOUR / MINUTE).unwrap();
    tsdb.maintain();
    drop(tsdb);
    assert_eq!(found(&open(&dir), "a"), [1, 2, 3, 4, 5, 240]);
}

#[test]
fn exemplars_are_seen_with_their_batch_and_bounded_in_number() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with(&dir, Arc::new(cupola_env::RealFs), |options| options.max_exemplars = 3).unwrap();
    let mut appender = tsdb.appender();
    let series = appender.append(None, &name("a"), MINUTE, 1.0).unwrap();
    appender.append_exemplar(series, exemplar(1)).unwrap();
    assert_eq!(found(&tsdb, "a"), [0; 0]);
    appender.commit().unwrap();
    assert_eq!(found(&tsdb, "a"), [1]);
    for n in 2..10 {
        write(&tsdb, "a", n).unwrap();
    }
    assert_eq!(found(&tsdb, "a"), [7, 8, 9]);
    tsdb.set_max_exemplars(2);
    assert_eq!(found(&tsdb, "a"), [8, 9]);
    tsdb.set_max_exemplars(4);
    for n in 10..13 {
        write(&tsdb, "a", n).unwrap();
    }
    assert_eq!(found(&tsdb, "a"), [9, 10, 11, 12]);
    let mut appender = tsdb.appender();
    assert_eq!(
        appender.append_exemplar(series, exemplar(3)),
        Err(ExemplarError::OutOfOrder)
    );
    let unknown = cupola_model::SeriesRef(u64::MAX);
    assert_eq!(
        appender.append_exemplar(unknown, exemplar(3)),
        Err(ExemplarError::UnknownSeries)
    );
    drop(tsdb.appender());
    drop(appender);
    drop(tsdb);
    let tsdb = open_with(&dir, Arc::new(cupola_env::RealFs), |options| options.max_exemplars = 0).unwrap();
    write(&tsdb, "a", 20).unwrap();
    assert_eq!(found(&tsdb, "a"), [0; 0]);
}
