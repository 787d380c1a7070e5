//! The cache by itself, over an evaluation that is counted: the value at step `t` is the newest sample at `t` or before.

use std::cell::RefCell;

use parking_lot::Mutex;

use cupola_storage::{ChangeLog, Selection, Series, StorageError};

use super::*;

// One series of points, of which only the changes are asked.
#[derive(Default)]
struct Points {
    state: Mutex<(Vec<(i64, f64)>, ChangeLog)>,
}

impl Points {
    fn add(&self, ts: i64, value: f64) {
        let mut state = self.state.lock();
        state.0.push((ts, value));
        state.0.sort_by_key(|(ts, _)| *ts);
        state.1.note(ts);
    }

    fn over(&self, grid: Grid) -> Vec<(Labels, Samples)> {
        let state = self.state.lock();
        let mut samples = Samples::default();
        for t in grid.times() {
            if let Some((_, value)) = state.0.iter().rfind(|(ts, _)| *ts <= t) {
                samples.push(t, *value);
            }
        }
        vec![(Labels::from_pairs([("a", "b")]), samples)]
    }
}

impl Queryable for Points {
    fn select(&self, _: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        Ok(Vec::new())
    }

    fn label_names(&self, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn changes(&self, since: &Version) -> Option<Changes> {
        Some(self.state.lock().1.since(since))
    }
}

fn ask(text: &str, start: i64, end: i64) -> Ask<'_> {
    Ask {
        text,
        grid: Grid::range(start, end, 10_000),
        step_ms: 10_000,
        lookback_ms: 300_000,
        source_resolution: SourceResolution::Auto,
        subquery_step_ms: 60_000,
        ahead_ms: 0,
    }
}

// Asks the cache and compares with an evaluation; the ranges that were evaluated, in seconds.
#[track_caller]
fn evaluated(cache: &ResultCache, points: &Points, ask: &Ask<'_>) -> Vec<(i64, i64)> {
    let (piece, grids) = told(cache, points, ask, |_| Vec::new());
    assert_eq!(piece.value, QueryValue::Matrix(points.over(ask.grid)));
    grids
}

fn told(
    cache: &ResultCache,
    points: &Points,
    ask: &Ask<'_>,
    texts: impl Fn(Grid) -> Vec<String>,
) -> (Piece, Vec<(i64, i64)>) {
    let grids = RefCell::new(Vec::new());
    let mut evaluate = |grid: Grid| {
        grids.borrow_mut().push((grid.start() / 1000, grid.end() / 1000));
        Ok(Piece {
            value: QueryValue::Matrix(points.over(grid)),
            warnings: Vec::new(),
            infos: texts(grid),
            names_steps: false,
            evaluation: Duration::ZERO,
            reused: 0,
        })
    };
    let piece = cache.answer(ask, points, &mut evaluate).unwrap();
    (piece, grids.into_inner())
}

fn filled() -> (ResultCache, Points) {
    let points = Points::default();
    for second in (0..=1000).step_by(15) {
        points.add(second * 1000, second as f64);
    }
    (ResultCache::new(1 << 20), points)
}

#[test]
fn only_what_is_missing_is_evaluated() {
    let (cache, points) = filled();
    let check = |start: i64, end: i64| evaluated(&cache, &points, &ask("x", start * 1000, end * 1000));
    assert_eq!(check(100, 900), [(100, 900)]);
    assert_eq!(check(100, 900), []);
    assert_eq!(check(110, 910), [(910, 910)]);
    // The step that left is gone.
    assert_eq!(check(100, 920), [(100, 100), (920, 920)]);
    // A part, and a part that is too small to be worth while.
    assert_eq!(check(300, 600), []);
    assert_eq!(check(880, 1100), [(880, 1100)]);
    let status = cache.status();
    assert_eq!(
        (status.hits, status.partial_hits, status.misses, status.entries),
        (2, 2, 2, 1)
    );
}

#[test]
fn grids_settings_and_texts_are_kept_apart() {
    let (cache, points) = filled();
    let whole = |ask: &Ask<'_>| evaluated(&cache, &points, ask).len();
    let one = ask("x", 100_000, 900_000);
    assert_eq!((whole(&one), whole(&one)), (1, 0));
    assert_eq!(whole(&ask("x ", 100_000, 900_000)), 1);
    assert_eq!(whole(&ask("x", 101_000, 901_000)), 1);
    let other = Ask {
        lookback_ms: 1,
        ..ask("x", 100_000, 900_000)
    };
    assert_eq!(whole(&other), 1);
    let raw = Ask {
        source_resolution: SourceResolution::UpTo(0),
        ..ask("x", 100_000, 900_000)
    };
    assert_eq!((whole(&raw), whole(&raw)), (1, 0));
    assert_eq!(whole(&one), 0);
    // Another storage, the same query.
    let (_, others) = filled();
    assert_eq!(evaluated(&cache, &others, &one).len(), 1);
    assert!(!cache.takes(Grid::range(0, 19, 1)));
    assert!(cache.takes(Grid::range(0, 20, 1)));
    assert!(!ResultCache::new(0).takes(Grid::range(0, 20, 1)));
}

#[test]
fn steps_from_a_touched_time_on_are_evaluated_again() {
    let (cache, points) = filled();
    let check = |start: i64, end: i64| evaluated(&cache, &points, &ask("x", start * 1000, end * 1000));
    // The end lies in the future.
    assert_eq!(check(100, 2000), [(100, 2000)]);
    points.add(1_005_000, 1.0);
    assert_eq!(check(100, 2000), [(1010, 2000)]);
    points.add(1_500_000, 2.0);
    points.add(1_700_000, 3.0);
    assert_eq!(check(110, 2010), [(1500, 2010)]);
    // Late: touches the past. Exactly at a step counts for that step.
    points.add(990_000, 4.0);
    assert_eq!(check(120, 2020), [(990, 2020)]);
    // So far back that all is evaluated.
    points.add(130_000, 5.0);
    assert_eq!(check(120, 2020), [(120, 2020)]);
    points.add(2_020_001, 6.0);
    assert_eq!(check(120, 2020), []);
}

#[test]
fn who_looks_ahead_is_touched_earlier() {
    let (cache, points) = filled();
    let ask = Ask {
        ahead_ms: 60_000,
        ..ask("x", 100_000, 900_000)
    };
    assert_eq!(evaluated(&cache, &points, &ask).len(), 1);
    points.add(961_001, 1.0);
    assert_eq!(evaluated(&cache, &points, &ask), []);
    points.add(960_000, 1.0);
    assert_eq!(evaluated(&cache, &points, &ask), [(900, 900)]);
}

#[test]
fn a_commit_during_an_evaluation_is_in_all_of_the_answer_or_in_none() {
    let (cache, points) = filled();
    assert_eq!(evaluated(&cache, &points, &ask("x", 100_000, 900_000)), [(100, 900)]);
    let mut grids = Vec::new();
    let mut evaluate = |grid: Grid| {
        if grids.is_empty() {
            points.add(800_000, 7.0);
        }
        grids.push((grid.start() / 1000, grid.end() / 1000));
        Ok(Piece {
            value: QueryValue::Matrix(points.over(grid)),
            warnings: Vec::new(),
            infos: Vec::new(),
            names_steps: false,
            evaluation: Duration::ZERO,
            reused: 0,
        })
    };
    let next = ask("x", 110_000, 910_000);
    let piece = cache.answer(&next, &points, &mut evaluate).unwrap();
    assert_eq!(piece.value, QueryValue::Matrix(points.over(next.grid)));
    assert_eq!(grids, [(910, 910), (110, 910)]);
    assert_eq!(evaluated(&cache, &points, &next), []);
}

#[test]
fn texts_are_told_while_the_steps_they_may_come_from_are_asked_for() {
    let (cache, points) = filled();
    let early = |grid: Grid| {
        if grid.start() < 500_000 {
            vec!["early".to_owned()]
        } else {
            Vec::new()
        }
    };
    let late = |grid: Grid| {
        let mut texts = early(grid);
        texts.push("always".to_owned());
        texts
    };
    let check = |start: i64, end: i64, texts: &dyn Fn(Grid) -> Vec<String>| {
        told(&cache, &points, &ask("x", start * 1000, end * 1000), texts)
            .0
            .infos
    };
    assert_eq!(check(100, 600, &early), ["early"]);
    assert_eq!(check(200, 700, &late), ["early", "always"]);
    assert_eq!(check(300, 800, &late), ["early", "always"]);
    assert_eq!(check(600, 1000, &early), ["early", "always"]);
    assert_eq!(check(610, 1010, &early), ["always"]);
    assert_eq!(check(800, 1200, &early), ["always"]);
    assert_eq!(check(810, 1210, &early), [""; 0]);
}

#[test]
fn errors_and_texts_about_steps_are_not_kept() {
    let (cache, points) = filled();
    let ask = ask("x", 100_000, 900_000);
    let refused = cache.answer(&ask, &points, &mut |_| Err(QueryError::TooManySamples));
    assert!(refused.is_err());
    let mut evaluate = |grid: Grid| {
        Ok(Piece {
            value: QueryValue::Matrix(points.over(grid)),
            warnings: Vec::new(),
            infos: Vec::new(),
            names_steps: true,
            evaluation: Duration::ZERO,
            reused: 0,
        })
    };
    cache.answer(&ask, &points, &mut evaluate).unwrap();
    assert_eq!(cache.status().entries, 0);
}

#[test]
fn what_was_not_used_for_long_makes_room() {
    let (_, points) = filled();
    // An answer of 81 steps takes about a kilobyte; a quarter is the largest that is taken.
    let cache = ResultCache::new(4500);
    let whole = |text: &str, end| evaluated(&cache, &points, &ask(text, 100_000, end)).len();
    for text in ["a", "b", "c"] {
        assert_eq!(whole(text, 900_000), 1);
    }
    assert_eq!(whole("a", 900_000), 0);
    for text in ["d", "e", "f"] {
        assert_eq!(whole(text, 900_000), 1);
    }
    assert_eq!(whole("f", 900_000), 0);
    assert_eq!(whole("b", 900_000), 1);
    let status = cache.status();
    assert!(
        status.bytes <= 4500 && status.entries >= 3 && status.evictions >= 3,
        "{status:?}"
    );
    // Too large: not kept, and nothing else leaves for it.
    assert_eq!(whole("large", 9_000_000), 1);
    assert_eq!(whole("large", 9_000_000), 1);
    assert_eq!(cache.status().entries, status.entries);
}
