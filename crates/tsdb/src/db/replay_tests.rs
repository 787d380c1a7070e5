//! The database while its log is being read.

use cupola_env::{FaultyFs, ManualClock, RealFs};
use cupola_storage::AppendError;
use tempfile::TempDir;

use super::race_tests::leave_prometheus_log;
use super::tests::{HOUR, MINUTE, all, dump, name, open, write};
use super::*;

fn open_in_background(dir: &TempDir, vfs: &FaultyFs) -> Tsdb {
    open_limited(dir, vfs, 0)
}

fn open_limited(dir: &TempDir, vfs: &FaultyFs, most_series: usize) -> Tsdb {
    let mut options = Options::new(dir.path().to_path_buf());
    options.limits.total = most_series;
    let clock = Arc::new(ManualClock::new(0));
    Tsdb::open_in_background(options, clock, Arc::new(vfs.clone()), &Registry::default()).expect("a database")
}

// Closes it while `slow` keeps the replay from what it reads.
fn close_during_replay<T>(tsdb: &Tsdb, slow: T) {
    let closing = {
        let tsdb = tsdb.clone();
        std::thread::spawn(move || tsdb.close())
    };
    while !tsdb.inner.closing.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
    drop(slow);
    closing.join().expect("closed");
    assert!(!tsdb.replay_progress().done);
}

// Two series of ten hours, of which the oldest four are in blocks; what a crash leaves of it.
fn crashed() -> (TempDir, BTreeMap<Labels, Vec<(i64, u64)>>) {
    let dir = TempDir::new().expect("a folder");
    let tsdb = open(&dir);
    for minute in 0..600 {
        write(&tsdb, &name("a"), minute * MINUTE, minute as f64).expect("written");
        write(&tsdb, &name("b"), minute * MINUTE, 7.0).expect("written");
        if minute == 450 {
            tsdb.maintain();
        }
    }
    assert!(!tsdb.blocks().is_empty());
    let all = dump(&tsdb);
    (dir, all)
}

#[test]
fn while_the_log_is_read_samples_are_taken_and_questions_answered() {
    let (dir, mut expected) = crashed();
    let vfs = FaultyFs::default();
    let slow = vfs.hold_reads("cupola-wal");
    let tsdb = open_in_background(&dir, &vfs);
    let progress = tsdb.replay_progress();
    assert!(!progress.done && 0 < progress.min && progress.min <= progress.max);
    let warning = tsdb.incomplete().unwrap();
    assert!(warning.contains("still being read"), "{warning}");
    // A known series, a new one, and one whose clock runs behind what the log holds.
    write(&tsdb, &name("a"), 600 * MINUTE, 600.0).unwrap();
    write(&tsdb, &name("c"), 600 * MINUTE, 1.0).unwrap();
    let during = dump(&tsdb);
    assert_eq!(during[&name("a")].last(), Some(&(600 * MINUTE, 600_f64.to_bits())));
    assert_eq!(during[&name("c")].len(), 1);
    assert!((2..500).contains(&during[&name("a")].len()), "blocks are answered from");
    let version = tsdb.changes(&Version::default()).unwrap().version;
    let id = {
        let mut appender = tsdb.appender();
        appender.append(None, &name("a"), 601 * MINUTE, 601.0).unwrap()
    };
    drop(slow);
    tsdb.wait_for_replay();
    assert!(tsdb.replay_progress().done);
    assert_eq!(tsdb.incomplete(), None);
    for (series, ts, value) in [("a", 600, 600_f64), ("c", 600, 1.0)] {
        expected
            .entry(name(series))
            .or_default()
            .push((ts * MINUTE, value.to_bits()));
    }
    assert_eq!(dump(&tsdb), expected);
    let changes = tsdb.changes(&version).unwrap();
    assert!(
        changes.oldest_touched.is_some_and(|oldest| oldest < 600 * MINUTE),
        "kept answers are given up"
    );
    // References from before the end of the replay are still good.
    let mut appender = tsdb.appender();
    assert_eq!(appender.append_known(id, 601 * MINUTE, 601.0), Ok(true));
    appender.commit().unwrap();
    expected
        .get_mut(&name("a"))
        .unwrap()
        .push((601 * MINUTE, 601_f64.to_bits()));
    // And after another crash, and another.
    drop(tsdb);
    for _ in 0..2 {
        assert_eq!(dump(&open(&dir)), expected);
    }
}

#[test]
fn a_sample_taken_during_the_replay_that_is_older_than_the_log_survives_the_next_crash() {
    let (dir, mut expected) = crashed();
    let vfs = FaultyFs::default();
    let slow = vfs.hold_reads("cupola-wal");
    let tsdb = open_in_background(&dir, &vfs);
    let between = 590 * MINUTE + 1;
    write(&tsdb, &name("a"), between, -1.0).unwrap();
    // The log has another value for this time; the one that was acknowledged first stays.
    write(&tsdb, &name("a"), 595 * MINUTE, -1.0).unwrap();
    drop(slow);
    tsdb.wait_for_replay();
    let samples = expected.get_mut(&name("a")).unwrap();
    samples.push((between, (-1_f64).to_bits()));
    samples.sort_unstable();
    assert_eq!(dump(&tsdb), expected);
    let mut appender = tsdb.appender();
    let late = appender.append(None, &name("a"), between + 1, 0.0);
    assert_eq!(late, Err(AppendError::OutOfOrder));
    drop(appender);
    drop(tsdb);
    assert_eq!(dump(&open(&dir)), expected);
}

#[test]
fn stopping_during_the_replay_loses_nothing() {
    let (dir, mut expected) = crashed();
    let vfs = FaultyFs::default();
    let slow = vfs.hold_reads("cupola-wal");
    let tsdb = open_in_background(&dir, &vfs);
    write(&tsdb, &name("a"), 600 * MINUTE, 600.0).unwrap();
    close_during_replay(&tsdb, slow);
    let names = RealFs.list(&dir.path().join("cupola-wal")).unwrap();
    assert!(names.len() >= 2, "the log is left as it was: {names:?}");
    drop(tsdb);
    expected
        .get_mut(&name("a"))
        .unwrap()
        .push((600 * MINUTE, 600_f64.to_bits()));
    assert_eq!(dump(&open(&dir)), expected);
}

#[test]
fn deleting_waits_for_the_replay() {
    let (dir, _) = crashed();
    let vfs = FaultyFs::default();
    let slow = vfs.hold_reads("cupola-wal");
    let tsdb = open_in_background(&dir, &vfs);
    let deleting = {
        let tsdb = tsdb.clone();
        std::thread::spawn(move || {
            let matchers =
                cupola_model::Matcher::new("__name__", cupola_model::MatchOp::Equal, "a").expect("a matcher");
            tsdb.delete_series(&[vec![matchers]], i64::MIN, i64::MAX)
                .expect("deleted");
        })
    };
    drop(slow);
    deleting.join().unwrap();
    assert_eq!(dump(&tsdb).keys().cloned().collect::<Vec<_>>(), [name("b")]);
    drop(tsdb);
    assert_eq!(dump(&open(&dir)).keys().cloned().collect::<Vec<_>>(), [name("b")]);
}

#[test]
fn a_damaged_segment_is_kept_when_a_checkpoint_stands_for_it() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    for minute in 0..10 {
        write(&tsdb, &name("a"), minute * MINUTE, minute as f64).unwrap();
    }
    drop(tsdb);
    let log = dir.path().join("cupola-wal");
    let mut bytes = std::fs::read(log.join("00000001")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(log.join("00000001"), &bytes).unwrap();
    let tsdb = open(&dir);
    let left = dump(&tsdb);
    assert!((1..10).contains(&left[&name("a")].len()));
    tsdb.close();
    drop(tsdb);
    assert_eq!(RealFs.list(&log).unwrap(), ["checkpoint-00000002", "damaged-00000001"]);
    assert_eq!(std::fs::read(log.join("damaged-00000001")).unwrap(), bytes);
    assert_eq!(dump(&open(&dir)), left);
}

#[test]
fn a_missing_segment_is_told_and_the_others_are_read() {
    let dir = TempDir::new().unwrap();
    for run in 0..3 {
        let tsdb = open(&dir);
        write(&tsdb, &name("a"), run * HOUR, run as f64).unwrap();
    }
    std::fs::remove_file(dir.path().join("cupola-wal/00000002")).unwrap();
    let registry = Registry::default();
    let options = Options::new(dir.path().to_path_buf());
    let tsdb = Tsdb::open(options, Arc::new(ManualClock::new(0)), Arc::new(RealFs), &registry).unwrap();
    assert_eq!(dump(&tsdb)[&name("a")].len(), 2);
    assert_eq!(tsdb.inner.metrics.wal_corruptions.get(), 1.0);
    assert_eq!(tsdb.select(&all()).unwrap().len(), 1);
}

#[test]
fn a_damaged_checkpoint_is_kept_where_the_next_one_is_written_at_once() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    for minute in 0..10 {
        write(&tsdb, &name("a"), minute * MINUTE, minute as f64).unwrap();
    }
    tsdb.close();
    drop(tsdb);
    let log = dir.path().join("cupola-wal");
    let checkpoint = log.join("checkpoint-00000002");
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&checkpoint, &bytes).unwrap();
    // Nothing is logged before the end.
    open(&dir).close();
    assert_eq!(
        RealFs.list(&log).unwrap(),
        ["checkpoint-00000003", "damaged-checkpoint-00000002"]
    );
    assert_eq!(std::fs::read(log.join("damaged-checkpoint-00000002")).unwrap(), bytes);
}

// Samples of one process would be taken for those of another's series, where a damage hides their labels.
#[test]
fn no_two_processes_give_a_series_the_same_reference() {
    let dir = TempDir::new().unwrap();
    let mut refs = BTreeSet::new();
    for run in 0..4 {
        let tsdb = open(&dir);
        let mut appender = tsdb.appender();
        let series = appender.append(None, &name("a"), run * HOUR, 1.0).unwrap();
        assert!(refs.insert(series.0), "run {run}: {refs:?}");
        match run {
            0 => appender.commit().unwrap(),
            _ => drop(appender),
        }
        tsdb.close();
    }
}

#[test]
fn a_log_that_goes_on_after_a_clean_end_has_no_hole() {
    let dir = TempDir::new().unwrap();
    for run in 0..6 {
        let tsdb = open(&dir);
        assert_eq!(tsdb.inner.metrics.wal_corruptions.get(), 0.0, "run {run}");
        assert_eq!(dump(&tsdb).values().map(Vec::len).sum::<usize>(), run);
        if run == 4 {
            assert!(tsdb.inner.checkpoint());
        }
        write(&tsdb, &name("a"), run as i64 * HOUR, 1.0).unwrap();
        if run % 2 == 1 {
            tsdb.close();
        }
    }
}

#[test]
fn a_snapshot_without_what_is_only_in_the_log_is_refused() {
    let (dir, expected) = crashed();
    let vfs = FaultyFs::default();
    let slow = vfs.hold_reads("cupola-wal");
    let tsdb = open_in_background(&dir, &vfs);
    // As when the thread that reads it breaks off.
    tsdb.inner.closing.store(true, Ordering::Relaxed);
    drop(slow);
    let copy = TempDir::new().unwrap();
    let refused = tsdb.snapshot(copy.path(), true).unwrap_err();
    assert!(refused.to_string().contains("not read to its end"), "{refused}");
    // Blocks are whole.
    tsdb.snapshot(copy.path(), false).unwrap();
    drop(tsdb);
    let found = dump(&open(&copy));
    assert!(
        !found.is_empty()
            && found
                .iter()
                .all(|(labels, samples)| expected[labels].starts_with(samples))
    );
}

#[test]
fn limits_refuse_no_series_that_the_log_knows() {
    let (dir, before) = crashed();
    let vfs = FaultyFs::default();
    let slow = vfs.hold_reads("cupola-wal");
    let tsdb = open_limited(&dir, &vfs, before.len());
    // Two new ones are first.
    for series in ["c", "d", "a", "b"] {
        write(&tsdb, &name(series), 600 * MINUTE, 1.0).unwrap();
    }
    drop(slow);
    tsdb.wait_for_replay();
    for series in ["a", "b", "c", "d"] {
        write(&tsdb, &name(series), 601 * MINUTE, 1.0).unwrap();
    }
    let refused = tsdb.appender().append(None, &name("e"), 601 * MINUTE, 1.0);
    assert!(matches!(refused, Err(AppendError::TooManySeries(_))), "{refused:?}");
    assert_eq!(tsdb.head_stats().series, 4);
}

#[test]
fn limits_hold_although_the_log_could_not_be_read_to_its_end() {
    let (dir, before) = crashed();
    let vfs = FaultyFs::default();
    let slow = vfs.hold_reads("cupola-wal");
    let tsdb = open_limited(&dir, &vfs, before.len());
    // As when the thread that reads it breaks off.
    tsdb.inner.closing.store(true, Ordering::Relaxed);
    drop(slow);
    tsdb.wait_for_replay();
    assert!(!tsdb.replay_progress().done);
    for series in ["c", "d"] {
        write(&tsdb, &name(series), 600 * MINUTE, 1.0).unwrap();
    }
    let refused = tsdb.appender().append(None, &name("e"), 600 * MINUTE, 1.0);
    assert!(matches!(refused, Err(AppendError::TooManySeries(_))), "{refused:?}");
}

#[test]
fn stopping_does_not_wait_until_prometheus_log_is_taken_over() {
    let dir = TempDir::new().unwrap();
    leave_prometheus_log(&dir);
    let vfs = FaultyFs::default();
    let slow = vfs.hold_reads("/wal/");
    let tsdb = open_in_background(&dir, &vfs);
    close_during_replay(&tsdb, slow);
    assert!(!dir.path().join("cupola-wal/imported").exists());
    drop(tsdb);
    assert_eq!(dump(&open(&dir))[&name("a")].len(), 1);
}
