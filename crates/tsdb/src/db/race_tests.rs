//! What may come between two steps of something: each of these lost an acknowledged sample, or showed a deleted one.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_block::BlockSpec;
use cupola_env::{FaultyFs, ManualClock, RealFs};
use cupola_histogram::{Histogram, NativeHistogram};
use cupola_metrics::Registry;
use cupola_model::{MatchOp, Matcher};
use cupola_storage::{AppendError, Appendable as _, Samples};
use tempfile::TempDir;

use super::start_tests::fragment;
use super::tests::{HOUR, MINUTE, dump, name, open, open_with, write};
use super::*;

fn with_window(dir: &TempDir, window_ms: i64) -> Tsdb {
    open_with(dir, Arc::new(RealFs), |options| {
        options.out_of_order_window_ms = window_ms
    })
    .expect("a database")
}

fn matcher(name: &str) -> Vec<Matcher> {
    vec![Matcher::new("__name__", MatchOp::Equal, name).expect("a matcher")]
}

// One sample a minute of something else, so that time goes on.
fn advance(tsdb: &Tsdb, minutes: std::ops::Range<i64>) {
    for minute in minutes {
        write(tsdb, &name("clock"), minute * MINUTE, 0.0).expect("written");
    }
}

fn times(tsdb: &Tsdb, series: &str) -> Vec<i64> {
    let samples = dump(tsdb).remove(&name(series)).unwrap_or_default();
    samples.into_iter().map(|(ts, _)| ts).collect()
}

// Of floats and of histograms.
fn all_times(tsdb: &Tsdb, series: &str) -> Vec<i64> {
    let matcher = Matcher::new("__name__", MatchOp::Equal, series).unwrap();
    let selection = Selection {
        matchers: &[matcher],
        mint: i64::MIN,
        maxt: i64::MAX,
    };
    let mut samples = Samples::default();
    for series in tsdb.select(&selection).unwrap() {
        series.source.read(i64::MIN, i64::MAX, &mut samples).unwrap();
    }
    samples.iter().map(|(ts, _, _)| ts).collect()
}

#[test]
fn a_series_that_a_batch_has_samples_of_is_not_forgotten_before_the_commit() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    write(&tsdb, &name("old"), 0, 1.0).unwrap();
    advance(&tsdb, 0..600);
    let mut batch = tsdb.appender();
    batch.append(None, &name("new"), 599 * MINUTE, 1.0).unwrap();
    batch.append(None, &name("old"), 599 * MINUTE, 1.0).unwrap();
    let mut given_up = tsdb.appender();
    given_up.append(None, &name("never"), 599 * MINUTE, 1.0).unwrap();
    tsdb.maintain();
    assert!(!tsdb.blocks().is_empty());
    batch.commit().unwrap();
    drop(given_up);
    assert_eq!(times(&tsdb, "new"), [599 * MINUTE]);
    assert_eq!(times(&tsdb, "old"), [0, 599 * MINUTE]);
    // Held no longer, all are forgotten in their time.
    advance(&tsdb, 600..1200);
    tsdb.maintain();
    assert_eq!(tsdb.head_stats().series, 1);
    drop(tsdb);
    let tsdb = open(&dir);
    assert_eq!(times(&tsdb, "new"), [599 * MINUTE]);
    assert_eq!(times(&tsdb, "old"), [0, 599 * MINUTE]);
}

#[test]
fn a_batch_collected_before_a_block_was_cut_is_not_lost_by_it() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    advance(&tsdb, 0..1);
    let mut batch = tsdb.appender();
    batch.append(None, &name("a"), MINUTE, 1.0).unwrap();
    batch.append(None, &name("a"), 2 * MINUTE, 2.0).unwrap();
    advance(&tsdb, 1..600);
    tsdb.maintain();
    assert!(!tsdb.blocks().is_empty());
    batch.commit().unwrap();
    assert_eq!(times(&tsdb, "a"), [MINUTE, 2 * MINUTE]);
    drop(tsdb);
    let tsdb = open(&dir);
    assert_eq!(times(&tsdb, "a"), [MINUTE, 2 * MINUTE]);
    // They get their block.
    advance(&tsdb, 600..900);
    tsdb.maintain();
    assert_eq!(times(&tsdb, "a"), [MINUTE, 2 * MINUTE]);
    drop(tsdb);
    std::fs::remove_dir_all(dir.path().join(LOG_FOLDER)).unwrap();
    assert_eq!(times(&open(&dir), "a"), [MINUTE, 2 * MINUTE]);
}

#[test]
fn a_histogram_that_a_cut_has_overtaken_is_kept() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    advance(&tsdb, 0..170);
    let histogram = NativeHistogram::Integer(Histogram::default());
    let mut batch = tsdb.appender();
    batch
        .append_histogram(None, &name("h"), 115 * MINUTE, histogram)
        .unwrap();
    batch.append(None, &name("f"), 169 * MINUTE, 1.0).unwrap();
    advance(&tsdb, 170..300);
    tsdb.maintain();
    batch.commit().unwrap();
    let both = |tsdb: &Tsdb| (all_times(tsdb, "h"), times(tsdb, "f"));
    let expected = (vec![115 * MINUTE], vec![169 * MINUTE]);
    assert_eq!(both(&tsdb), expected);
    drop(tsdb);
    let tsdb = open(&dir);
    assert_eq!(both(&tsdb), expected);
    advance(&tsdb, 300..900);
    tsdb.maintain();
    drop(tsdb);
    std::fs::remove_dir_all(dir.path().join(LOG_FOLDER)).unwrap();
    assert_eq!(both(&open(&dir)), expected);
}

#[test]
fn samples_out_of_order_within_one_batch_are_there_after_a_crash_whatever_the_window_is() {
    let dir = TempDir::new().unwrap();
    let tsdb = with_window(&dir, HOUR);
    let mut batch = tsdb.appender();
    for ts in [10, 5, 20, 7] {
        batch.append(None, &name("a"), ts, 1.0).unwrap();
    }
    batch.commit().unwrap();
    assert_eq!(times(&tsdb, "a"), [5, 7, 10, 20]);
    drop(tsdb);
    assert_eq!(times(&with_window(&dir, 0), "a"), [5, 7, 10, 20]);
}

#[test]
fn a_batch_with_samples_that_became_late_is_logged_whole_or_refused_whole() {
    let mut outcomes = [0, 0];
    for budget in (0..150).step_by(5) {
        let dir = TempDir::new().unwrap();
        let vfs = FaultyFs::default();
        let window = |options: &mut Options| options.out_of_order_window_ms = HOUR;
        let tsdb = open_with(&dir, Arc::new(vfs.clone()), window).unwrap();
        let mut slow = tsdb.appender();
        slow.append(None, &name("a"), 10, 1.0).unwrap();
        slow.append(None, &name("b"), 10, 1.0).unwrap();
        write(&tsdb, &name("a"), 20, 2.0).unwrap();
        vfs.set_budget(Some(budget));
        let outcome = slow.commit();
        vfs.set_budget(None);
        let (a, b) = match outcome {
            Ok(()) => (vec![10, 20], vec![10]),
            Err(_) => (vec![20], vec![]),
        };
        outcomes[usize::from(outcome.is_ok())] += 1;
        assert_eq!(
            (times(&tsdb, "a"), times(&tsdb, "b")),
            (a.clone(), b.clone()),
            "{budget}"
        );
        drop(tsdb);
        let tsdb = open(&dir);
        assert_eq!((times(&tsdb, "a"), times(&tsdb, "b")), (a, b), "{budget}");
    }
    assert!(outcomes.iter().all(|count| *count > 3), "{outcomes:?}");
}

#[test]
fn a_sample_taken_during_a_replay_that_did_not_end_is_there_after_the_next() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    advance(&tsdb, 0..60);
    drop(tsdb);
    for round in 1..4 {
        let vfs = FaultyFs::default();
        let slow = vfs.hold_reads(LOG_FOLDER);
        let options = Options::new(dir.path().to_path_buf());
        let clock = Arc::new(ManualClock::new(0));
        let tsdb = Tsdb::open_in_background(options, clock, Arc::new(vfs.clone()), &Registry::default()).unwrap();
        // Older than what the log holds, which nobody knows yet.
        write(&tsdb, &name("clock"), 30 * MINUTE + round, 1.0).unwrap();
        // Nothing is written at the end of a process that is killed.
        tsdb.inner.closing.store(true, Ordering::Relaxed);
        drop(slow);
        tsdb.wait_for_replay();
        assert!(!tsdb.replay_progress().done);
    }
    let tsdb = open(&dir);
    let all = times(&tsdb, "clock");
    assert_eq!(all.len(), 63, "{all:?}");
    assert!((1..4).all(|round| all.contains(&(30 * MINUTE + round))));
    tsdb.close();
    drop(tsdb);
    assert_eq!(times(&open(&dir), "clock"), all);
}

#[test]
fn kept_answers_are_given_up_when_the_oldest_late_samples_are_deleted() {
    let dir = TempDir::new().unwrap();
    let tsdb = with_window(&dir, 6 * HOUR);
    write(&tsdb, &name("a"), 10 * HOUR, 1.0).unwrap();
    write(&tsdb, &name("a"), 5 * HOUR, 1.0).unwrap();
    let version = tsdb.changes(&Version::default()).unwrap().version;
    tsdb.delete_series(&[matcher("a")], i64::MIN, 6 * HOUR).unwrap();
    let touched = tsdb.changes(&version).unwrap().oldest_touched;
    assert!(touched.is_some_and(|oldest| oldest <= 5 * HOUR), "{touched:?}");
}

#[test]
fn deleted_late_samples_stay_deleted_where_a_checkpoint_could_not_be_written() {
    let dir = TempDir::new().unwrap();
    let tsdb = with_window(&dir, 20 * HOUR);
    advance(&tsdb, 0..600);
    write(&tsdb, &name("a"), 10 * MINUTE, 1.0).unwrap();
    write(&tsdb, &name("b"), 10 * MINUTE, 1.0).unwrap();
    let in_the_way = dir.path().join(LOG_FOLDER).join("checkpoint.tmp");
    std::fs::create_dir(&in_the_way).unwrap();
    tsdb.maintain();
    assert!(!tsdb.blocks().is_empty());
    assert_eq!(times(&tsdb, "a"), [10 * MINUTE]);
    // What it would leave in the log would come back.
    let refused = tsdb.delete_series(&[matcher("a")], i64::MIN, i64::MAX).unwrap_err();
    assert!(refused.to_string().contains("checkpoint"), "{refused}");
    assert_eq!(times(&tsdb, "a"), [10 * MINUTE]);
    std::fs::remove_dir(&in_the_way).unwrap();
    tsdb.delete_series(&[matcher("a")], i64::MIN, i64::MAX).unwrap();
    drop(tsdb);
    let tsdb = with_window(&dir, 20 * HOUR);
    assert_eq!(times(&tsdb, "a"), [0; 0]);
    assert_eq!(times(&tsdb, "b"), [10 * MINUTE]);
}

#[test]
fn a_sample_at_the_beginning_of_all_time_does_not_keep_the_head_from_being_cut() {
    for first in [-HOUR, i64::MIN + 1, i64::MIN] {
        let dir = TempDir::new().unwrap();
        let open = || open_with(&dir, Arc::new(RealFs), |options| options.retention_ms = 0).unwrap();
        let tsdb = open();
        write(&tsdb, &name("a"), first, 1.0).unwrap();
        advance(&tsdb, 0..600);
        tsdb.maintain();
        assert!(tsdb.head_stats().mint >= 0, "{:?}", tsdb.head_stats());
        assert_eq!(times(&tsdb, "a"), [first], "{first}");
        assert_eq!(times(&tsdb, "clock").len(), 600);
        drop(tsdb);
        assert_eq!(times(&open(), "a"), [first]);
    }
}

#[test]
fn the_window_of_an_empty_head_ends_where_the_blocks_do() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    advance(&tsdb, 0..600);
    tsdb.maintain();
    drop(tsdb);
    std::fs::remove_dir_all(dir.path().join(LOG_FOLDER)).unwrap();
    let tsdb = with_window(&dir, HOUR);
    let end = tsdb.blocks().iter().map(|block| block.maxt).max().unwrap();
    let mut batch = tsdb.appender();
    assert_eq!(
        batch.append(None, &name("a"), end - HOUR - 1, 1.0),
        Err(AppendError::TooOld)
    );
    assert!(batch.append(None, &name("a"), end - HOUR, 1.0).is_ok());
}

#[test]
fn a_block_of_late_samples_that_is_newer_than_the_others_is_not_merged_into_them() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    // As Prometheus leaves it: its blocks of samples out of order reach into what is in no other block yet.
    advance(&tsdb, 0..900);
    tsdb.maintain();
    let end = tsdb.blocks().iter().map(|block| block.maxt).max().unwrap();
    assert_eq!(end, 12 * HOUR);
    let mut spec = BlockSpec::new(tsdb.inner.new_ulid(), end, end + 6 * HOUR);
    spec.compaction.hints.push(OUT_OF_ORDER_HINT.to_owned());
    tsdb.inner.write_block(dir.path(), spec).unwrap();
    drop(tsdb);
    for round in 0..2 {
        let tsdb = open(&dir);
        advance(&tsdb, 900 + round..901 + round);
        assert_eq!(tsdb.inner.head.floor(), end);
        tsdb.maintain();
    }
    // Samples of these times that only the log has are still read.
    let tsdb = open(&dir);
    let expected: BTreeMap<_, _> = dump(&tsdb)
        .into_iter()
        .map(|(labels, all)| (labels, all.len()))
        .collect();
    assert_eq!(expected, BTreeMap::from([(name("clock"), 902)]));
    assert_eq!(tsdb.inner.head.floor(), end + 2 * HOUR);
}

// `a` has a late sample that is newer than all else that the head has of it, and than all it has at all.
fn newest_is_late(dir: &TempDir) -> Tsdb {
    let tsdb = with_window(dir, 3 * HOUR);
    write(&tsdb, &name("a"), 0, 1.0).unwrap();
    write(&tsdb, &name("x"), 150 * MINUTE, 1.0).unwrap();
    write(&tsdb, &name("a"), 10 * MINUTE, 1.0).unwrap();
    tsdb.delete_series(&[matcher("x")], i64::MIN, i64::MAX).unwrap();
    tsdb
}

#[test]
fn a_sample_between_a_series_newest_in_order_and_a_late_one_is_there_after_a_crash() {
    // Also where nothing is to come late any more.
    for window in [3 * HOUR, 0] {
        let dir = TempDir::new().unwrap();
        let tsdb = newest_is_late(&dir);
        tsdb.set_out_of_order_window(window);
        write(&tsdb, &name("a"), 5 * MINUTE, 1.0).unwrap();
        let mut batch = tsdb.appender();
        for minute in [7, 12] {
            let histogram = NativeHistogram::Integer(Histogram::default());
            batch
                .append_histogram(None, &name("a"), minute * MINUTE, histogram)
                .unwrap();
        }
        batch.commit().unwrap();
        let expected = [0, 5, 7, 10, 12].map(|minute| minute * MINUTE);
        assert_eq!(all_times(&tsdb, "a"), expected, "{window}");
        drop(tsdb);
        assert_eq!(all_times(&with_window(&dir, window), "a"), expected, "{window}");
    }
}

#[test]
fn a_snapshot_has_late_samples_that_are_newer_than_all_others() {
    let check = |tsdb: &Tsdb| {
        let copy = TempDir::new().unwrap();
        tsdb.snapshot(copy.path(), true).unwrap();
        assert_eq!(dump(&open(&copy)), dump(tsdb));
    };
    let dir = TempDir::new().unwrap();
    let tsdb = newest_is_late(&dir);
    assert_eq!(times(&tsdb, "a"), [0, 10 * MINUTE]);
    check(&tsdb);
    // And where the head has nothing else.
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    advance(&tsdb, 0..600);
    tsdb.maintain();
    drop(tsdb);
    std::fs::remove_dir_all(dir.path().join(LOG_FOLDER)).unwrap();
    let tsdb = with_window(&dir, HOUR);
    let end = tsdb.blocks().iter().map(|block| block.maxt).max().unwrap();
    write(&tsdb, &name("a"), end - HOUR, 1.0).unwrap();
    assert_eq!(times(&tsdb, "a"), [end - HOUR]);
    check(&tsdb);
}

// The log of a stopped Prometheus, with one sample of the series `a`.
pub(super) fn leave_prometheus_log(dir: &TempDir) {
    let wal = dir.path().join("wal");
    std::fs::create_dir(&wal).expect("a folder");
    let mut series = vec![1];
    series.extend(1_u64.to_be_bytes());
    series.extend([1, 8]);
    series.extend(b"__name__");
    series.extend([1, b'a']);
    let mut samples = vec![2];
    samples.extend(1_u64.to_be_bytes());
    samples.extend(MINUTE.to_be_bytes());
    samples.extend([0, 0]);
    samples.extend(1.0_f64.to_bits().to_be_bytes());
    let log = [fragment(&series), fragment(&samples)].concat();
    std::fs::write(wal.join("00000000"), log).expect("written");
}

#[test]
fn what_was_taken_over_and_deleted_does_not_come_back_where_the_note_of_it_failed() {
    for in_the_way in ["checkpoint.tmp", "imported.tmp"] {
        let dir = TempDir::new().unwrap();
        leave_prometheus_log(&dir);
        let in_the_way = dir.path().join(LOG_FOLDER).join(in_the_way);
        std::fs::create_dir_all(&in_the_way).unwrap();
        let tsdb = open(&dir);
        assert_eq!(times(&tsdb, "a"), [MINUTE]);
        let delete = || tsdb.delete_series(&[matcher("a")], i64::MIN, i64::MAX);
        let refused = delete().unwrap_err();
        assert!(refused.to_string().contains("checkpoint"), "{refused}");
        assert_eq!(times(&tsdb, "a"), [MINUTE]);
        std::fs::remove_dir(&in_the_way).unwrap();
        delete().unwrap();
        drop(tsdb);
        assert_eq!(times(&open(&dir), "a"), [0; 0], "{}", in_the_way.display());
    }
}

#[test]
fn what_was_taken_over_in_part_is_not_deleted_as_it_would_come_back() {
    let dir = TempDir::new().unwrap();
    leave_prometheus_log(&dir);
    // No file that can be read.
    let broken = dir.path().join("wbl/00000000");
    std::fs::create_dir_all(&broken).unwrap();
    let tsdb = open(&dir);
    assert_eq!(times(&tsdb, "a"), [MINUTE]);
    let refused = tsdb.delete_series(&[matcher("a")], i64::MIN, i64::MAX).unwrap_err();
    assert!(refused.to_string().contains("Prometheus"), "{refused}");
    tsdb.maintain();
    drop(tsdb);
    std::fs::remove_dir(&broken).unwrap();
    let tsdb = open(&dir);
    tsdb.delete_series(&[matcher("a")], i64::MIN, i64::MAX).unwrap();
    drop(tsdb);
    assert_eq!(times(&open(&dir), "a"), [0; 0]);
}

#[test]
fn that_prometheus_log_was_taken_over_is_noted_as_soon_as_it_can_be() {
    let dir = TempDir::new().unwrap();
    leave_prometheus_log(&dir);
    let in_the_way = dir.path().join(LOG_FOLDER).join("checkpoint.tmp");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let tsdb = open(&dir);
    tsdb.maintain();
    let note = dir.path().join(LOG_FOLDER).join("imported");
    assert!(!note.exists());
    std::fs::remove_dir(&in_the_way).unwrap();
    tsdb.maintain();
    assert!(note.exists());
    assert_eq!(times(&tsdb, "a"), [MINUTE]);
}
