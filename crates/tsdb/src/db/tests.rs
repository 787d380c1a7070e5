use std::collections::BTreeMap;

use cupola_env::{FaultyFs, ManualClock, RealFs};
use cupola_model::{MatchOp, Matcher, STALE_NAN};
use cupola_storage::{AppendError, CommitError, Samples};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

pub(super) const MINUTE: i64 = 60_000;
pub(super) const HOUR: i64 = 60 * MINUTE;

pub(super) fn open_with(
    dir: &TempDir,
    vfs: Arc<dyn Vfs>,
    change: impl FnOnce(&mut Options),
) -> Result<Tsdb, OpenError> {
    let mut options = Options::new(dir.path().to_path_buf());
    change(&mut options);
    Tsdb::open(options, Arc::new(ManualClock::new(0)), vfs, &Registry::default())
}

pub(super) fn open(dir: &TempDir) -> Tsdb {
    open_with(dir, Arc::new(RealFs), |_| {}).unwrap()
}

pub(super) fn name(text: &str) -> Labels {
    Labels::from_pairs([("__name__", text)])
}

pub(super) fn write(tsdb: &Tsdb, labels: &Labels, ts: i64, value: f64) -> Result<(), CommitError> {
    let mut appender = tsdb.appender();
    appender.append(None, labels, ts, value).unwrap();
    appender.commit()
}

pub(super) fn all() -> Selection<'static> {
    Selection {
        matchers: &[],
        mint: i64::MIN,
        maxt: i64::MAX,
    }
}

// Everything stored, values as bits so that NaN compares.
pub(super) fn dump(tsdb: &Tsdb) -> BTreeMap<Labels, Vec<(i64, u64)>> {
    let mut out = BTreeMap::new();
    for series in tsdb.select(&all()).unwrap() {
        let mut samples = Samples::default();
        series.source.read(i64::MIN, i64::MAX, &mut samples).unwrap();
        if !samples.is_empty() {
            let pairs = samples
                .ts
                .into_iter()
                .zip(samples.values.into_iter().map(f64::to_bits))
                .collect();
            out.insert(series.labels, pairs);
        }
    }
    out
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash() {
    let dir = TempDir::new().unwrap();
    let before = {
        let tsdb = open(&dir);
        for minute in 0..300 {
            write(&tsdb, &name("a"), minute * MINUTE, minute as f64).unwrap();
            write(&tsdb, &name("b"), minute * MINUTE, 7.0).unwrap();
        }
        write(&tsdb, &name("b"), 300 * MINUTE, STALE_NAN).unwrap();
        dump(&tsdb)
        // Dropped without `close`, as kill -9 does.
    };
    assert_eq!(before[&name("a")].len(), 300);
    assert_eq!(dump(&open(&dir)), before);
    // And a third time, now with two runs' segments.
    let tsdb = open(&dir);
    write(&tsdb, &name("a"), 400 * MINUTE, 1.0).unwrap();
    drop(tsdb);
    assert_eq!(dump(&open(&dir))[&name("a")].len(), 301);
}

#[test]
fn a_checkpoint_stands_for_the_log() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    for minute in 0..150 {
        write(&tsdb, &name("a"), minute * MINUTE, minute as f64).unwrap();
    }
    let before = dump(&tsdb);
    tsdb.close();
    assert!(matches!(
        write(&tsdb, &name("a"), HOUR * 9, 1.0),
        Err(CommitError::Closed)
    ));
    drop(tsdb);
    let names = RealFs.list(&dir.path().join("cupola-wal")).unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].starts_with("checkpoint-"));
    let tsdb = open(&dir);
    assert_eq!(dump(&tsdb), before);
    write(&tsdb, &name("a"), 150 * MINUTE, 150.0).unwrap();
    drop(tsdb);
    assert_eq!(dump(&open(&dir))[&name("a")].len(), 151);
}

// As cAdvisor's: a container's series carry its time, which is never at a fixed interval.
#[test]
fn series_that_share_irregular_times_lose_none_by_kill_checkpoint_or_cutting() {
    let dir = TempDir::new().unwrap();
    let mut ts = 0;
    let mut expected = BTreeMap::new();
    let mut tsdb = open(&dir);
    for round in 0..700_i64 {
        ts += 10_000 + round * 7919 % 10_007;
        let mut appender = tsdb.appender();
        for (number, text) in ["a", "b", "c"].into_iter().enumerate() {
            let value = (round * (number as i64 + 1)) as f64 * 0.1;
            appender.append(None, &name(text), ts, value).unwrap();
            let samples: &mut Vec<(i64, u64)> = expected.entry(name(text)).or_default();
            samples.push((ts, value.to_bits()));
        }
        appender.commit().unwrap();
        match round {
            // Killed, and ended.
            250 | 600 => {
                drop(tsdb);
                tsdb = open(&dir);
            }
            400 => {
                tsdb.close();
                drop(tsdb);
                tsdb = open(&dir);
            }
            _ => {}
        }
    }
    assert!(dump(&tsdb) == expected);
    tsdb.delete_series(
        &[vec![Matcher::new("__name__", MatchOp::Equal, "b").unwrap()]],
        0,
        ts / 2,
    )
    .unwrap();
    expected.get_mut(&name("b")).unwrap().retain(|(at, _)| *at > ts / 2);
    assert!(dump(&tsdb) == expected);
    write(&tsdb, &name("d"), ts + 2 * HOUR, 1.0).unwrap();
    expected.insert(name("d"), vec![(ts + 2 * HOUR, 1.0_f64.to_bits())]);
    tsdb.maintain();
    assert!(!tsdb.blocks().is_empty());
    assert!(dump(&tsdb) == expected);
}

#[test]
fn a_torn_record_at_the_end_costs_only_itself() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    for minute in 0..10 {
        write(&tsdb, &name("a"), minute * MINUTE, minute as f64).unwrap();
    }
    drop(tsdb);
    let segment = dir.path().join("cupola-wal/00000001");
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &bytes[..bytes.len() - 3]).unwrap();
    let tsdb = open(&dir);
    assert_eq!(dump(&tsdb)[&name("a")].len(), 9);
    write(&tsdb, &name("a"), 20 * MINUTE, 1.0).unwrap();
    drop(tsdb);
    // What follows the damage lies in a segment of its own and is read; the damaged file was left as it was.
    assert_eq!(dump(&open(&dir))[&name("a")].len(), 10);
    assert_eq!(std::fs::read(&segment).unwrap().len(), bytes.len() - 3);
}

#[test]
fn a_full_disk_refuses_writes_answers_queries_and_recovers() {
    let dir = TempDir::new().unwrap();
    let vfs = FaultyFs::default();
    let tsdb = open_with(&dir, Arc::new(vfs.clone()), |_| {}).unwrap();
    write(&tsdb, &name("a"), MINUTE, 1.0).unwrap();
    vfs.set_budget(Some(5));
    for minute in 2..5 {
        assert!(matches!(
            write(&tsdb, &name("a"), minute * MINUTE, 2.0),
            Err(CommitError::Log(_))
        ));
        assert!(matches!(
            write(&tsdb, &name("new"), minute * MINUTE, 2.0),
            Err(CommitError::Log(_))
        ));
    }
    // What was refused is invisible, now and later.
    let expected = BTreeMap::from([(name("a"), vec![(MINUTE, 1.0_f64.to_bits())])]);
    assert_eq!(dump(&tsdb), expected);
    vfs.set_budget(None);
    write(&tsdb, &name("a"), 6 * MINUTE, 6.0).unwrap();
    write(&tsdb, &name("new"), 6 * MINUTE, 6.0).unwrap();
    let before = dump(&tsdb);
    assert_eq!(before[&name("a")].len(), 2);
    drop(tsdb);
    assert_eq!(dump(&open(&dir)), before);
}

#[test]
fn a_checkpoint_that_finds_no_room_gives_back_what_it_took() {
    let dir = TempDir::new().unwrap();
    let vfs = FaultyFs::default();
    let tsdb = open_with(&dir, Arc::new(vfs.clone()), |_| {}).unwrap();
    for minute in 0..300 {
        write(&tsdb, &name("a"), minute * MINUTE, (minute as f64).sqrt()).unwrap();
    }
    let before = dump(&tsdb);
    vfs.set_budget(Some(100));
    assert!(!tsdb.inner.checkpoint());
    let names = RealFs.list(&dir.path().join(LOG_FOLDER)).unwrap();
    assert_eq!(names, ["00000001"]);
    vfs.set_budget(None);
    assert!(tsdb.inner.checkpoint());
    drop(tsdb);
    assert_eq!(dump(&open(&dir)), before);
}

#[test]
fn only_one_process_may_have_the_folder() {
    let dir = TempDir::new().unwrap();
    let first = open(&dir);
    let error = open_with(&dir, Arc::new(RealFs), |_| {}).err().unwrap();
    assert!(error.to_string().contains("another process holds it"), "{error}");
    drop(first);
    open(&dir);
}

#[test]
fn old_samples_become_blocks_and_nothing_is_lost_on_the_way() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    let mut before = BTreeMap::new();
    for minute in 0..(7 * 60) {
        for metric in ["a", "b"] {
            write(&tsdb, &name(metric), minute * MINUTE, minute as f64).unwrap();
        }
        tsdb.maintain();
        before = dump(&tsdb);
        assert_eq!(before[&name("a")].len() as i64, minute + 1, "at minute {minute}");
    }
    assert_eq!(
        tsdb.blocks().iter().map(|b| (b.mint, b.maxt)).collect::<Vec<_>>(),
        [(0, 2 * HOUR), (2 * HOUR, 4 * HOUR),]
    );
    assert_eq!(tsdb.head_stats().mint, 4 * HOUR);
    drop(tsdb);
    let tsdb = open(&dir);
    assert_eq!(dump(&tsdb), before);
    // The past is closed.
    let mut appender = tsdb.appender();
    assert_eq!(
        appender.append(None, &name("c"), 3 * HOUR, 1.0),
        Err(AppendError::OutOfBounds)
    );
}

#[test]
fn series_that_ended_give_their_memory_back() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    write(&tsdb, &name("ended"), 0, 1.0).unwrap();
    for minute in 0..(4 * 60) {
        write(&tsdb, &name("a"), minute * MINUTE, 1.0).unwrap();
    }
    tsdb.maintain();
    assert_eq!(tsdb.head_stats().series, 1);
    assert_eq!(tsdb.label_values("__name__", &all()).unwrap(), ["a", "ended"]);
    let matcher = [Matcher::new("__name__", MatchOp::Regex, "end.*").unwrap()];
    let selection = Selection {
        matchers: &matcher,
        ..all()
    };
    assert_eq!(tsdb.series(&selection).unwrap(), [name("ended")]);
}

#[test]
fn blocks_past_the_retention_are_deleted() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with(&dir, Arc::new(RealFs), |o| o.retention_ms = 3 * HOUR).unwrap();
    for quarter in 0..(10 * 4) {
        write(&tsdb, &name("a"), quarter * 15 * MINUTE, 1.0).unwrap();
    }
    tsdb.maintain();
    assert_eq!(tsdb.blocks().iter().map(|b| b.mint).collect::<Vec<_>>(), [6 * HOUR]);
    let left = RealFs.list(dir.path()).unwrap();
    assert_eq!(left.iter().filter(|n| n.len() == 26).count(), 1, "{left:?}");
}

#[test]
fn a_retention_that_changes_while_the_database_is_open_counts_from_then_on() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with(&dir, Arc::new(RealFs), |o| o.retention_ms = 0).unwrap();
    for quarter in 0..(10 * 4) {
        write(&tsdb, &name("a"), quarter * 15 * MINUTE, 1.0).unwrap();
    }
    tsdb.maintain();
    assert_eq!(tsdb.blocks().first().map(|block| block.mint), Some(0));
    tsdb.set_retention(3 * HOUR, 1 << 40, 0.0);
    assert_eq!(tsdb.retention(), (3 * HOUR, 1 << 40));
    tsdb.maintain();
    assert_eq!(tsdb.blocks().iter().map(|b| b.mint).collect::<Vec<_>>(), [6 * HOUR]);
    // What is configured to be without a limit is from then on, too.
    tsdb.set_retention(0, 0, 0.0);
    assert_eq!(tsdb.retention(), (0, 0));
}

#[test]
fn samples_out_of_order_are_refused_and_equal_ones_accepted() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    write(&tsdb, &name("a"), MINUTE, 1.0).unwrap();
    let mut appender = tsdb.appender();
    assert_eq!(appender.append(None, &name("a"), 0, 1.0), Err(AppendError::OutOfOrder));
    assert_eq!(
        appender.append(None, &name("a"), MINUTE, 2.0),
        Err(AppendError::Duplicate)
    );
    assert!(appender.append(None, &name("a"), MINUTE, 1.0).is_ok());
    assert_eq!(
        appender.append(None, &Labels::empty(), MINUTE, 1.0),
        Err(AppendError::InvalidLabels)
    );
}

#[test]
fn one_sample_of_1970_does_not_make_blocks_of_fifty_years() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with(&dir, Arc::new(RealFs), |o| o.retention_ms = 0).unwrap();
    let now = 50 * 365 * 24 * HOUR;
    write(&tsdb, &name("a"), 0, 1.0).unwrap();
    for minute in 0..10 {
        write(&tsdb, &name("a"), now + minute * MINUTE, 2.0).unwrap();
    }
    let before = dump(&tsdb);
    // Two hours at a time it would take a quarter of a million turns.
    tsdb.maintain();
    assert_eq!(
        tsdb.blocks().iter().map(|b| (b.mint, b.samples)).collect::<Vec<_>>(),
        [(0, 1)]
    );
    assert_eq!(dump(&tsdb), before);
}

#[test]
fn a_sample_that_is_an_hour_late_is_refused() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    write(&tsdb, &name("a"), 2 * HOUR, 1.0).unwrap();
    let mut appender = tsdb.appender();
    assert_eq!(
        appender.append(None, &name("b"), HOUR - 1, 1.0),
        Err(AppendError::OutOfBounds)
    );
    assert!(appender.append(None, &name("b"), HOUR, 1.0).is_ok());
}

#[test]
fn a_dropped_batch_leaves_no_samples() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    let mut appender = tsdb.appender();
    appender.append(None, &name("a"), MINUTE, 1.0).unwrap();
    drop(appender);
    assert!(dump(&tsdb).is_empty());
}

#[test]
fn labels_are_found_with_and_without_matchers() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    for (job, metric) in [("x", "up"), ("y", "up"), ("x", "down")] {
        write(
            &tsdb,
            &Labels::from_pairs([("__name__", metric), ("job", job)]),
            MINUTE,
            1.0,
        )
        .unwrap();
    }
    assert_eq!(tsdb.label_names(&all()).unwrap(), ["__name__", "job"]);
    let down = vec![Matcher::equal("__name__", "down")];
    let selection = Selection {
        matchers: &down,
        ..all()
    };
    assert_eq!(tsdb.label_values("job", &selection).unwrap(), ["x"]);
    assert_eq!(tsdb.cardinality(1).by_metric, [("up".to_owned(), 2)]);
}

// What a run may do to the database.
#[derive(Debug, Clone)]
enum Step {
    Write { series: usize, gap: i64, bits: u64 },
    Crash,
    Close,
    Maintain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..4_usize, 1..40_i64, any::<u64>())
            .prop_map(|(series, gap, bits)| Step::Write { series, gap: gap * MINUTE, bits }),
        1 => Just(Step::Crash),
        1 => Just(Step::Close),
        1 => Just(Step::Maintain),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_run_with_crashes_keeps_exactly_what_was_acknowledged(steps in steps()) {
        let dir = TempDir::new().unwrap();
        let mut tsdb = Some(open(&dir));
        let mut model: BTreeMap<Labels, Vec<(i64, u64)>> = BTreeMap::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Write { series, gap, bits } => {
                    now += gap;
                    let labels = name(&format!("m{series}"));
                    write(tsdb.as_ref().unwrap(), &labels, now, f64::from_bits(bits)).unwrap();
                    model.entry(labels).or_default().push((now, bits));
                }
                Step::Crash => {
                    drop(tsdb.take());
                    tsdb = Some(open(&dir));
                }
                Step::Close => {
                    tsdb.take().unwrap().close();
                    tsdb = Some(open(&dir));
                }
                Step::Maintain => tsdb.as_ref().unwrap().maintain(),
            }
            prop_assert_eq!(&dump(tsdb.as_ref().unwrap()), &model);
        }
    }
}

#[test]
fn selecting_stops_when_nobody_waits_for_it() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    let mut batch = tsdb.appender();
    for n in 0..5000 {
        let labels = Labels::from_pairs([("__name__", "x"), ("n", n.to_string().as_str())]);
        batch.append(None, &labels, 1000, 1.0).unwrap();
    }
    batch.commit().unwrap();
    let asked = std::cell::Cell::new(0);
    let go_on = || {
        asked.set(asked.get() + 1);
        asked.get() < 3
    };
    let stopped = tsdb.select_while(&all(), &go_on);
    assert!(matches!(stopped, Err(StorageError::Stopped)));
    assert_eq!(asked.get(), 3);
    assert_eq!(tsdb.select(&all()).unwrap().len(), 5000);
}

#[test]
fn changes_tell_the_oldest_time_that_was_touched() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with(&dir, Arc::new(RealFs), |options| {
        options.block_ms = 10 * MINUTE;
        options.retention_ms = 30 * MINUTE;
    })
    .unwrap();
    let version = |tsdb: &Tsdb| tsdb.changes(&Version::default()).unwrap().version;
    let oldest = |since: &Version| tsdb.changes(since).unwrap().oldest_touched;
    let before = version(&tsdb);
    assert_eq!(oldest(&before), None);
    let mut batch = tsdb.appender();
    batch.append(None, &name("a"), 9 * MINUTE, 1.0).unwrap();
    batch.append(None, &name("b"), 5 * MINUTE, STALE_NAN).unwrap();
    assert_eq!(oldest(&before), None, "not committed yet");
    batch.commit().unwrap();
    assert_eq!(oldest(&before), Some(5 * MINUTE));
    let first = version(&tsdb);
    write(&tsdb, &name("a"), 9 * MINUTE, 1.0).unwrap();
    assert_eq!(oldest(&first), None, "the same sample again changes nothing");
    write(&tsdb, &name("c"), 8 * MINUTE, 1.0).unwrap();
    write(&tsdb, &name("a"), 21 * MINUTE, 2.0).unwrap();
    assert_eq!(oldest(&first), Some(8 * MINUTE));
    // A block is cut, and much later deleted.
    let appended = version(&tsdb);
    tsdb.maintain();
    assert_eq!(tsdb.blocks().len(), 1);
    assert_eq!(oldest(&appended), Some(0));
    write(&tsdb, &name("a"), 50 * MINUTE, 3.0).unwrap();
    let written = version(&tsdb);
    tsdb.maintain();
    assert!(tsdb.blocks().iter().all(|block| block.mint > 0));
    assert_eq!(oldest(&written), Some(0));
    // After a restart nothing is known of what was before.
    let last = version(&tsdb);
    drop(tsdb);
    assert_eq!(open(&dir).changes(&last).unwrap().oldest_touched, Some(i64::MIN));
}

// Metric `name_N` and job `jM`.
fn of_job(name: usize, job: usize) -> Labels {
    Labels::from_pairs([("__name__", format!("name_{name}")), ("job", format!("j{job}"))])
}

#[test]
fn limits_refuse_new_series_and_keep_known_ones() {
    use cupola_storage::{SeriesLimit, SeriesScope};
    for (limits, scope, limit, refused, name) in [
        ((3, 0, 0), SeriesScope::All, 3, (2, 9), "j9"),
        ((0, 2, 0), SeriesScope::Metric, 2, (0, 9), "name_0"),
        ((0, 0, 2), SeriesScope::Job, 2, (9, 0), "j0"),
    ] {
        let dir = TempDir::new().unwrap();
        let (total, per_metric, per_job) = limits;
        let limits = crate::SeriesLimits {
            total,
            per_metric,
            per_job,
        };
        let tsdb = open_with(&dir, Arc::new(RealFs), |options| options.limits = limits).unwrap();
        let known = [of_job(0, 0), of_job(0, 1), of_job(1, 0)];
        let reached = SeriesLimit { scope, limit };
        for ts in [1000, 2000] {
            let mut appender = tsdb.appender();
            for labels in &known {
                appender.append(None, labels, ts, 1.0).unwrap();
            }
            let error = appender
                .append(None, &of_job(refused.0, refused.1), ts, 1.0)
                .unwrap_err();
            assert_eq!(error, AppendError::TooManySeries(reached));
            appender.commit().unwrap();
        }
        assert_eq!(dump(&tsdb).len(), 3);
        let seen: Vec<_> = tsdb
            .refused_series()
            .into_iter()
            .map(|r| (r.limit, r.name, r.count))
            .collect();
        assert_eq!(seen, [(reached, name.to_owned(), 2)]);
    }
}

#[test]
fn the_heads_figures_are_those_of_its_series() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    let seen = |tsdb: &Tsdb| {
        let stats = tsdb.head_stats();
        (stats.series, stats.chunks, stats.label_pairs, stats.mint, stats.maxt)
    };
    assert_eq!(seen(&tsdb), (0, 0, 0, i64::MAX, i64::MIN));
    for minute in 0..250 {
        write(&tsdb, &of_job(0, 0), minute * MINUTE, minute as f64).unwrap();
        if minute < 10 {
            write(&tsdb, &of_job(1, 0), minute * MINUTE + 1, 1.0).unwrap();
        }
    }
    assert_eq!(seen(&tsdb), (2, 4, 3, 0, 249 * MINUTE));
    drop(tsdb);
    let tsdb = open(&dir);
    assert_eq!(seen(&tsdb), (2, 4, 3, 0, 249 * MINUTE));
    tsdb.maintain();
    // The first two hours are in a block, and the series that ended in them is gone.
    assert_eq!(tsdb.blocks().len(), 1);
    let (series, chunks, pairs, mint, maxt) = seen(&tsdb);
    assert_eq!(
        (series, chunks, pairs, mint, maxt),
        (1, 2, 2, 120 * MINUTE, 249 * MINUTE)
    );
    tsdb.close();
    drop(tsdb);
    assert_eq!(seen(&open(&dir)), (1, 2, 2, 120 * MINUTE, 249 * MINUTE));
}
