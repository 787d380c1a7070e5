//! Samples that come out of order, within the window.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_env::{ManualClock, RealFs};
use cupola_metrics::Registry;
use cupola_model::{Labels, Matcher};
use cupola_storage::{AppendError, Appendable as _, Selection};
use proptest::prelude::*;
use tempfile::TempDir;

use super::tests::{HOUR, MINUTE, dump, name, open_with, write};
use super::*;

fn open(dir: &TempDir, window_ms: i64) -> Tsdb {
    open_with(dir, Arc::new(RealFs), |options| {
        options.out_of_order_window_ms = window_ms
    })
    .expect("a database")
}

#[test]
fn a_late_sample_finds_its_place_within_the_window_and_is_refused_beyond_it() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir, 0);
    write(&tsdb, &name("a"), 10 * HOUR, 1.0).unwrap();
    let refused = |tsdb: &Tsdb, ts| tsdb.appender().append(None, &name("a"), ts, 2.0).unwrap_err();
    assert_eq!(refused(&tsdb, 10 * HOUR - 1), AppendError::OutOfOrder);
    assert_eq!(refused(&tsdb, 8 * HOUR), AppendError::OutOfBounds);
    tsdb.set_out_of_order_window(3 * HOUR);
    for ts in [10 * HOUR - 1, 8 * HOUR, 7 * HOUR] {
        write(&tsdb, &name("a"), ts, 2.0).unwrap();
    }
    // A new series may begin late, too.
    write(&tsdb, &name("b"), 8 * HOUR, 3.0).unwrap();
    assert_eq!(refused(&tsdb, 7 * HOUR - 1), AppendError::TooOld);
    assert_eq!(refused(&tsdb, 10 * HOUR), AppendError::Duplicate);
    let expected = BTreeMap::from([
        (name("a"), vec![7 * HOUR, 8 * HOUR, 10 * HOUR - 1, 10 * HOUR]),
        (name("b"), vec![8 * HOUR]),
    ]);
    let times = |tsdb: &Tsdb| -> BTreeMap<Labels, Vec<i64>> {
        let times = |samples: Vec<(i64, u64)>| samples.into_iter().map(|(ts, _)| ts).collect();
        dump(tsdb)
            .into_iter()
            .map(|(labels, samples)| (labels, times(samples)))
            .collect()
    };
    assert_eq!(times(&tsdb), expected);
    let old = Selection {
        matchers: &[],
        mint: 0,
        maxt: 9 * HOUR,
    };
    assert_eq!(tsdb.series(&old).unwrap(), [name("a"), name("b")]);
    drop(tsdb);
    // After a crash, whatever the window is by then, and after a clean stop.
    let tsdb = open(&dir, 0);
    assert_eq!(times(&tsdb), expected);
    tsdb.close();
    drop(tsdb);
    assert_eq!(times(&open(&dir, 0)), expected);
}

#[test]
fn a_series_does_not_end_behind_what_goes_on_with_it_even_where_samples_may_come_late() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir, HOUR);
    let mut appender = tsdb.appender();
    let series = appender.append(None, &name("a"), 10 * HOUR, 1.0).unwrap();
    appender.commit().unwrap();
    let end = |ts| {
        let mut appender = tsdb.appender();
        let ended = appender.append_end(series, ts);
        appender.commit().unwrap();
        ended
    };
    assert_eq!(end(10 * HOUR - MINUTE), Err(AppendError::OutOfOrder));
    assert_eq!(end(10 * HOUR), Err(AppendError::Duplicate));
    assert_eq!(end(10 * HOUR + MINUTE), Ok(true));
    let times: Vec<i64> = dump(&tsdb)[&name("a")].iter().map(|(ts, _)| *ts).collect();
    assert_eq!(times, [10 * HOUR, 10 * HOUR + MINUTE]);
    let nobody = cupola_model::SeriesRef(u64::MAX);
    assert_eq!(tsdb.appender().append_end(nobody, 11 * HOUR), Ok(false));
}

// One step: a batch of samples, or something that must not change any answer.
#[derive(Debug, Clone)]
enum Step {
    Write { series: u8, minutes_back: i64, count: u8 },
    Advance(i64),
    Maintain,
    Crash,
    Close,
    Delete { series: u8, minutes_back: i64 },
    // Of what is newer than all others, so that late samples are the newest.
    DeleteClock,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..4, 0_i64..700, 1_u8..20).prop_map(|(series, minutes_back, count)| Step::Write { series, minutes_back, count }),
        3 => (1_i64..120).prop_map(Step::Advance),
        2 => Just(Step::Maintain),
        1 => Just(Step::Crash),
        1 => Just(Step::Close),
        1 => (0_u8..4, 0_i64..900).prop_map(|(series, minutes_back)| Step::Delete { series, minutes_back }),
        1 => Just(Step::DeleteClock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_run_with_late_samples_keeps_exactly_what_was_acknowledged(steps in prop::collection::vec(step(), 1..60)) {
        const WINDOW: i64 = 600;
        let dir = TempDir::new().unwrap();
        let mut tsdb = open(&dir, WINDOW * MINUTE);
        let mut model: BTreeMap<Labels, BTreeMap<i64, u64>> = BTreeMap::new();
        let mut now = 10_000_i64;
        // Something newer than all that is written, so that the window is known.
        write(&tsdb, &name("clock"), now * MINUTE, 0.0).unwrap();
        model.entry(name("clock")).or_default().insert(now * MINUTE, 0);
        for step in steps {
            let has_clock = model.contains_key(&name("clock"));
            match step {
                Step::Write { series, minutes_back, count } => {
                    let labels = name(&format!("s{series}"));
                    let mut appender = tsdb.appender();
                    for n in 0..i64::from(count) {
                        let minute = now - minutes_back + n;
                        if minute > now {
                            break;
                        }
                        // The same whenever it is written: which of two samples of one time stays is nobody's promise.
                        let value = minute as f64;
                        let appended = appender.append(None, &labels, minute * MINUTE, value);
                        let samples = model.entry(labels.clone()).or_default();
                        // Without the clock the window may end anywhere before.
                        if has_clock && minute < now - WINDOW && samples.keys().next_back().is_none_or(|last| *last > minute * MINUTE) {
                            prop_assert_eq!(appended, Err(AppendError::TooOld));
                        } else if appended.is_ok() {
                            samples.insert(minute * MINUTE, value.to_bits());
                        } else {
                            prop_assert!(matches!(appended, Err(AppendError::Duplicate | AppendError::TooOld)), "{appended:?}");
                        }
                    }
                    appender.commit().unwrap();
                }
                Step::Advance(minutes) => {
                    now += minutes;
                    write(&tsdb, &name("clock"), now * MINUTE, 0.0).unwrap();
                    model.entry(name("clock")).or_default().insert(now * MINUTE, 0);
                }
                Step::Maintain => tsdb.maintain(),
                Step::Crash | Step::Close => {
                    if matches!(step, Step::Close) {
                        tsdb.close();
                    }
                    drop(tsdb);
                    tsdb = open(&dir, WINDOW * MINUTE);
                }
                Step::DeleteClock => {
                    let clock = Matcher::equal("__name__", "clock");
                    tsdb.delete_series(&[vec![clock]], i64::MIN, i64::MAX).unwrap();
                    model.remove(&name("clock"));
                }
                Step::Delete { series, minutes_back } => {
                    let labels = name(&format!("s{series}"));
                    let matcher = Matcher::new("__name__", cupola_model::MatchOp::Equal, format!("s{series}")).unwrap();
                    let until = (now - minutes_back) * MINUTE;
                    tsdb.delete_series(&[vec![matcher]], i64::MIN, until).unwrap();
                    model.entry(labels).or_default().retain(|ts, _| *ts > until);
                }
            }
            model.retain(|_, samples| !samples.is_empty());
            let got: BTreeMap<Labels, BTreeMap<i64, u64>> =
                dump(&tsdb).into_iter().map(|(labels, samples)| (labels, samples.into_iter().collect())).collect();
            prop_assert_eq!(&got, &model);
        }
        let options = Options::new(dir.path().to_path_buf());
        drop(tsdb);
        let tsdb = Tsdb::open(options, Arc::new(ManualClock::new(0)), Arc::new(RealFs), &Registry::default()).unwrap();
        prop_assert_eq!(dump(&tsdb).len(), model.len());
    }
}
