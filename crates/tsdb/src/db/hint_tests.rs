//! Selections of which more is said find what all others find.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_env::RealFs;
use cupola_model::{Labels, MatchOp, Matcher, STALE_NAN};
use cupola_storage::{Appendable as _, Hints, Samples, Selection};
use proptest::prelude::*;
use tempfile::TempDir;

use super::tests::{HOUR, MINUTE, open_with, write};
use super::*;

// Begins behind the first blocks.
const BEGIN: i64 = 10 * HOUR;

fn labels(number: usize) -> Labels {
    let (name, pod, zone) = (
        format!("m{}", number % 2),
        format!("p{number}"),
        format!("z{}", number % 3),
    );
    Labels::from_pairs([("__name__", name), ("pod", pod), ("zone", zone)])
}

fn selectors() -> Vec<Vec<Matcher>> {
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).expect("a matcher");
    let metric = |value: &str| matcher("__name__", MatchOp::Equal, value);
    vec![
        vec![metric("m0")],
        vec![metric("m1"), matcher("zone", MatchOp::NotEqual, "z1")],
        vec![matcher("pod", MatchOp::Regex, "p[0-5]"), metric("m0")],
        vec![metric("m0"), matcher("pod", MatchOp::NotRegex, "p[0-5]")],
        vec![metric("m0"), matcher("zone", MatchOp::Equal, "")],
        vec![matcher("zone", MatchOp::Equal, "z1")],
        vec![metric("nothing")],
        vec![metric(""), matcher("zone", MatchOp::Equal, "z1")],
    ]
}

// By labels, values as bits; of each series the newest sample, or all of them.
fn read(series: Vec<Series>, selection: &Selection<'_>, newest: bool) -> BTreeMap<Labels, Vec<(i64, u64)>> {
    let mut out = BTreeMap::new();
    for series in series {
        let mut samples = Samples::default();
        let read = series.source.read(selection.mint, selection.maxt, &mut samples);
        read.expect("samples in memory");
        let values = samples.values.iter().map(|value| value.to_bits());
        let all: Vec<_> = samples.ts.iter().copied().zip(values).collect();
        let skipped = if newest { all.len().saturating_sub(1) } else { 0 };
        let samples: Vec<_> = all.into_iter().skip(skipped).collect();
        if !samples.is_empty() {
            assert_eq!(out.insert(series.labels, samples), None);
        }
    }
    out
}

fn check(tsdb: &Tsdb, now: i64) {
    for matchers in selectors() {
        for (mint, maxt) in [
            (now - 5 * MINUTE + 1, now),
            (now - 5 * MINUTE, now - MINUTE),
            (0, i64::MAX),
        ] {
            let selection = Selection {
                matchers: &matchers,
                mint,
                maxt,
            };
            for newest in [false, true] {
                let expected = read(tsdb.select(&selection).expect("an answer"), &selection, newest);
                for repeats in [false, true] {
                    let hints = Hints { newest, repeats };
                    let series = tsdb.select_hinted(&selection, hints, &|| true).expect("an answer");
                    assert_eq!(
                        read(series, &selection, newest),
                        expected,
                        "{matchers:?} {hints:?} {mint} {maxt}"
                    );
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    // A sample of each of these series, a while later; or its end.
    Write(Vec<usize>, bool),
    // Behind what there is.
    Late(usize, i64),
    Delete(usize, i64),
    // What is older goes into a block, series that have nothing newer go, their slots are used again.
    Cut,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (prop::collection::vec(0_usize..12, 1..6), prop::bool::weighted(0.1)).prop_map(|(s, end)| Step::Write(s, end)),
        1 => (0_usize..12, 1_i64..20).prop_map(|(series, ago)| Step::Late(series, ago)),
        2 => (0_usize..12, 0_i64..10).prop_map(|(series, ago)| Step::Delete(series, ago)),
        1 => Just(Step::Cut),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn hints_change_no_answer_whatever_comes_and_goes(steps in steps(), window in prop::bool::ANY) {
        let dir = TempDir::new().expect("a folder");
        let open = || {
            open_with(&dir, Arc::new(RealFs), |options| {
                options.out_of_order_window_ms = if window { HOUR } else { 0 };
            })
            .expect("a database")
        };
        let mut tsdb = open();
        let mut now = BEGIN;
        for step in steps {
            match step {
                Step::Write(series, is_end) => {
                    now += MINUTE;
                    for number in series {
                        let value = if is_end { STALE_NAN } else { (now / MINUTE) as f64 + number as f64 };
                        let mut appender = tsdb.appender();
                        appender.append(None, &labels(number), now, value).expect("a sample in order");
                        appender.commit().expect("a disk that works");
                    }
                }
                Step::Late(series, ago) => {
                    let mut appender = tsdb.appender();
                    // Refused where it is no window, or where there is one of the time.
                    let _ = appender.append(None, &labels(series), now - ago * MINUTE, -1.0);
                    appender.commit().expect("a disk that works");
                }
                Step::Delete(series, ago) => {
                    let labels = labels(series);
                    let matchers: Vec<Matcher> = labels.iter().map(|(n, v)| Matcher::equal(n, v)).collect();
                    tsdb.delete_series(&[matchers], now - ago * MINUTE, i64::MAX).expect("a disk that works");
                }
                Step::Cut => {
                    now += 4 * HOUR;
                    write(&tsdb, &labels(0), now, 0.5).expect("a disk that works");
                    tsdb.maintain();
                }
                Step::Restart => {
                    drop(tsdb);
                    tsdb = open();
                }
            }
            check(&tsdb, now);
        }
    }
}
