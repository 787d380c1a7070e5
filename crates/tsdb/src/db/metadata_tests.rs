//! What is said of metric families: kept once, logged when it changes, forgotten with the last series.

use cupola_model::MetricType;
use cupola_storage::Metadata;
use tempfile::TempDir;

use super::tests::{MINUTE, name, open};
use super::*;

fn said(help: &str) -> Metadata {
    Metadata {
        kind: MetricType::Counter,
        help: help.to_owned(),
        unit: "s".to_owned(),
    }
}

fn write(tsdb: &Tsdb, series: &str, ts: i64, described: &[(&str, &str)]) {
    let mut appender = tsdb.appender();
    appender.append(None, &name(series), ts, 1.0).unwrap();
    for (metric, help) in described {
        appender.describe(metric, &said(help));
    }
    appender.commit().unwrap();
}

fn known(tsdb: &Tsdb) -> Vec<(String, Metadata)> {
    tsdb.metadata()
}

#[test]
fn what_is_said_of_families_survives_a_crash_and_a_checkpoint_and_goes_with_their_series() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    write(&tsdb, "a_total", MINUTE, &[("a", "old"), ("b", "b")]);
    write(&tsdb, "b", MINUTE, &[("a", "new")]);
    let logged = tsdb.inner.head.wal_bytes();
    // Nothing is new.
    let mut appender = tsdb.appender();
    appender.describe("a", &said("new"));
    appender.commit().unwrap();
    assert_eq!(tsdb.inner.head.wal_bytes(), logged);
    let both = vec![("a".to_owned(), said("new")), ("b".to_owned(), said("b"))];
    assert_eq!(known(&tsdb), both);
    drop(tsdb);
    let tsdb = open(&dir);
    assert_eq!(known(&tsdb), both);
    tsdb.close();
    drop(tsdb);
    let tsdb = open(&dir);
    assert_eq!(known(&tsdb), both);
    // The series of `b` ends; a block is cut.
    for minute in 2..600 {
        write(&tsdb, "a_total", minute * MINUTE, &[]);
    }
    tsdb.maintain();
    let only = vec![("a".to_owned(), said("new"))];
    assert_eq!(known(&tsdb), only);
    drop(tsdb);
    assert_eq!(known(&open(&dir)), only);
}
