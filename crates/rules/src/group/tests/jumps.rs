//! Groups while the clock is put forward and turned back.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::alerting::Changed;
use crate::manager::{GroupSource, RuleManager};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const INTERVAL: i64 = 15_000;
const BEGIN: i64 = 1_700_000_000_000;

/// A wall clock that goes with the runtime's, which does not jump.
struct Wall {
    begun: tokio::time::Instant,
    set_to: AtomicI64,
}

impl Wall {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: tokio::time::Instant::now(),
            set_to: AtomicI64::new(BEGIN),
        })
    }

    fn jump(&self, ms: i64) {
        self.set_to.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Wall {
    fn now_ms(&self) -> i64 {
        self.set_to.load(Ordering::SeqCst) + i64::try_from(self.begun.elapsed().as_millis()).unwrap()
    }
}

/// A manager with the group `rules`, each evaluation of which sends all that fires.
struct Live {
    wall: Arc<Wall>,
    manager: RuleManager,
    metrics: crate::metrics::Metrics,
    sent: Arc<Recorder>,
    stop: CancellationToken,
    _dir: TempDir,
}

impl Live {
    fn new(rules: &str) -> Self {
        let wall = Wall::new();
        let bench = Bench::with_clock(wall.clone());
        let mut ctx = Arc::into_inner(bench.ctx).unwrap();
        ctx.resend_delay_ms = 0;
        let stop = CancellationToken::new();
        let metrics = ctx.metrics.clone();
        let manager = RuleManager::new(ctx, stop.clone());
        let source = GroupSource {
            file: "r.yml".to_owned(),
            group: Bench::source(rules),
        };
        manager.apply(
            vec![source],
            Duration::from_millis(INTERVAL.unsigned_abs()),
            Duration::ZERO,
        );
        Self {
            wall,
            manager,
            metrics,
            sent: bench.sent,
            stop,
            _dir: bench._dir,
        }
    }

    fn missed(&self) -> i64 {
        self.metrics.missed.with(&["r.yml;g"]).get() as i64
    }

    fn iterations(&self) -> i64 {
        self.metrics.iterations.with(&["r.yml;g"]).get() as i64
    }

    // Lets an interval pass, in which there must be one evaluation; its time, and how long ago that was.
    async fn evaluation(&self) -> (i64, i64) {
        sleep(Duration::from_millis(INTERVAL.unsigned_abs())).await;
        let sent = std::mem::take(&mut *self.sent.0.lock());
        let [alert] = &sent[..] else {
            panic!("{} evaluations in an interval", sent.len())
        };
        // It counts for four intervals.
        let ts = alert.ends_at.unwrap() - 4 * INTERVAL;
        (ts, self.wall.now_ms() - ts)
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_goes_on_in_its_rhythm_when_the_clock_is_put_forward_and_turned_back() {
    let live = Live::new("[{alert: A, expr: vector(1)}]");
    let (mut last, age) = live.evaluation().await;
    let mut evaluations = 1;
    assert!((0..INTERVAL).contains(&age), "{age}");
    // By some hours, days, a year; by a part of an interval; to before the first evaluation.
    for jump in [
        8 * HOUR,
        -24 * HOUR,
        24 * 365 * HOUR,
        0,
        -24 * 400 * HOUR,
        37 * HOUR + 1,
        -17 * MINUTE,
    ] {
        let (missed, iterations) = (live.missed(), live.iterations());
        live.wall.jump(jump);
        for evaluation in 0..5 {
            let (ts, age) = live.evaluation().await;
            // Neither in the future nor long ago, and in the group's own slot.
            assert!((0..INTERVAL).contains(&age), "{jump}: {evaluation}, {age}");
            assert_eq!((ts - last) % INTERVAL, 0, "{jump}");
            assert!(evaluation == 0 || ts == last + INTERVAL, "{jump}: {ts} after {last}");
            last = ts;
            evaluations += 1;
        }
        let expected = jump.max(0) / INTERVAL;
        let missed = live.missed() - missed;
        assert!(
            (expected - 1..=expected + 1).contains(&missed),
            "{jump}: {missed} missed"
        );
        assert_eq!(live.iterations() - iterations, missed + 5, "{jump}");
    }
    let metrics = &live.metrics;
    assert_eq!(metrics.evaluations.with(&["r.yml;g"]).get() as i64, evaluations);
    // It tells when the last one was by the clock that counts now.
    let told = metrics.last_evaluation.with(&["r.yml;g"]).get() * 1000.0;
    assert!((live.wall.now_ms() as f64 - told).abs() <= INTERVAL as f64, "{told}");
    live.stop.cancel();
    live.manager.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_turned_back_by_a_moment_repeats_no_evaluation() {
    let live = Live::new("[{alert: A, expr: vector(1)}]");
    let (mut last, _) = live.evaluation().await;
    for _ in 0..50 {
        live.wall.jump(-INTERVAL / 3);
        sleep(Duration::from_millis(INTERVAL.unsigned_abs() * 2)).await;
        for alert in std::mem::take(&mut *live.sent.0.lock()) {
            let ts = alert.ends_at.unwrap() - 4 * INTERVAL;
            assert_eq!(ts, last + INTERVAL);
            last = ts;
        }
        assert!(live.wall.now_ms() - last < 2 * INTERVAL);
    }
    assert_eq!(live.missed(), 0);
    live.stop.cancel();
    live.manager.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_group_leaves_no_metrics() {
    let live = Live::new("[{alert: A, expr: vector(1)}]");
    live.evaluation().await;
    assert_eq!(live.metrics.rules.with(&["r.yml;g"]).get(), 1.0);
    live.manager.apply(Vec::new(), Duration::from_secs(15), Duration::ZERO);
    sleep(Duration::from_secs(120)).await;
    // Asked for it begins anew.
    assert_eq!(live.metrics.rules.with(&["r.yml;g"]).get(), 0.0);
    assert_eq!(live.iterations(), 0);
    live.stop.cancel();
    live.manager.stopped().await;
}

// Evaluates at each of these seconds. What was sent then: `f` as firing, `r` as resolved, since when, and until when it
// counts; and the state at the end of each.
fn told(bench: &Bench, group: &mut Group, seconds: &[i64]) -> Vec<(i64, Option<AlertState>, String)> {
    let mut out = Vec::new();
    for second in seconds {
        bench.sent.0.lock().clear();
        group.evaluate(&bench.ctx, second * 1000);
        let sent = bench.sent.0.lock();
        let texts = sent.iter().map(|alert| {
            let end = alert.ends_at.unwrap() / 1000;
            let what = if end <= *second { "r" } else { "f" };
            format!("{what} {}", alert.starts_at / 1000)
        });
        let RuleDetail::Alerting { alerts, .. } = &group.status().rules[0].detail else {
            panic!("no alerting rule")
        };
        out.push((
            *second,
            alerts.first().map(|alert| alert.state),
            texts.collect::<Vec<_>>().join(" "),
        ));
    }
    out
}

const PENDING: Option<AlertState> = Some(AlertState::Pending);
const FIRING: Option<AlertState> = Some(AlertState::Firing);

#[test]
fn an_alert_fires_is_sent_and_resolved_although_the_clock_was_turned_back() {
    let bench = Bench::new();
    for (seconds, value) in [(1..=4, 5.0), (5..=7, 9.0), (8..=9, 0.0), (5000..=5002, 9.0)] {
        for second in seconds {
            bench.write("m", "a", second * 1000, value);
        }
    }
    let mut group = Bench::group("[{alert: A, expr: 'm > 5', for: 2s}]");
    let got = told(&bench, &mut group, &[5000, 5001, 5, 6, 8]);
    let expected = [
        (5000, PENDING, ""),
        (5001, PENDING, ""),
        // Two seconds have passed, whatever the clock says; Prometheus waits for more than an hour.
        (5, FIRING, "f 5"),
        (6, FIRING, ""),
        (8, None, "r 5"),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(at, state, sent)| (at, state, sent.to_owned()))
        .collect();
    assert_eq!(got, expected);
    // Forward it is as in Prometheus: `for` is over by the new time.
    let mut group = Bench::group("[{alert: A, expr: 'm > 5', for: 1h}]");
    let got = told(&bench, &mut group, &[5, 6, 5000]);
    let states: Vec<_> = got.iter().map(|(_, state, _)| *state).collect();
    assert_eq!(states, [PENDING, PENDING, FIRING]);
}

#[test]
fn keep_firing_for_goes_on_where_it_was_when_the_clock_is_turned_back() {
    let bench = Bench::new();
    for (second, value) in [(10, 0.0), (11, 0.0), (12, 0.0), (2000, 9.0), (2001, 0.0), (2002, 0.0)] {
        bench.write("m", "a", second * 1000, value);
    }
    let mut group = Bench::group("[{alert: A, expr: 'm > 5', keep_firing_for: 3s}]");
    let got = told(&bench, &mut group, &[2000, 2001, 2002, 10, 11]);
    let states: Vec<_> = got.iter().map(|(_, state, _)| *state).collect();
    // It was resolved after three seconds, and fires since ten seconds less three.
    assert_eq!(states, [FIRING, FIRING, FIRING, FIRING, None]);
    assert_eq!(got[4].2, "r 7");
}

#[test]
fn a_restart_after_the_clock_was_put_right_waits_for_all_of_for_or_goes_on() {
    let bench = Bench::new();
    // Right at first, then a day ahead, then right again after a restart.
    let written = |minutes: std::ops::RangeInclusive<i64>| {
        minutes.for_each(|minute| bench.write("m", "a", minute * MINUTE, 5.0));
    };
    let rules = "[{alert: A, expr: 'm > 0', for: 30m}]";
    let evaluated = |group: &mut Group, minutes: std::ops::RangeInclusive<i64>| {
        minutes.for_each(|minute| assert!(group.evaluate(&bench.ctx, minute * MINUTE) > 0));
    };
    let restarted = |minute: i64| {
        let mut group = Bench::group(rules);
        group.restore_in = Some(1);
        group.evaluate(&bench.ctx, minute * MINUTE);
        crate::restore::restore(&bench.ctx, &mut group, minute * MINUTE);
        group.restore_in = None;
        let RuleDetail::Alerting { alerts, .. } = &group.status().rules[0].detail else {
            panic!("no alerting rule")
        };
        alerts[0].active_at / MINUTE
    };
    let mut group = Bench::group(rules);
    written(0..=30);
    evaluated(&mut group, 0..=10);
    written(24 * 60..=24 * 60 + 20);
    evaluated(&mut group, 24 * 60..=24 * 60 + 15);
    // What stands at the time that is still to come says nothing; before it 10 of 30 minutes had passed at the last sight.
    assert_eq!(restarted(11), 1);
    // By the clock that is ahead it has fired by now.
    assert_eq!(restarted(24 * 60 + 16), 0);
}

proptest! {
    // Whether the clock is turned back or not makes no difference but to what the times are called.
    #[test]
    fn alerts_live_on_as_they_would_have_when_the_clock_is_turned_back(
        hold in 0..5_i64,
        keep in 0..5_i64,
        steps in prop::collection::vec((any::<bool>(), prop::option::weighted(0.2, 1..100_000_i64)), 1..60),
    ) {
        let labels = Labels::from_pairs([(ALERTNAME, "A")]);
        let hits = |is_hit: bool| {
            let hit = Hit { labels: labels.clone(), annotations: Labels::empty(), value: 1.0 };
            if is_hit { vec![hit] } else { Vec::new() }
        };
        let (mut straight, mut turned) = (Alerts::default(), Alerts::default());
        let mut offset = 0;
        for (step, (is_hit, back)) in steps.into_iter().enumerate() {
            let ts = step as i64 * MINUTE;
            if let Some(minutes) = back {
                turned.turn_back(minutes * MINUTE);
                offset += minutes * MINUTE;
            }
            let mut expected = straight.step(ts, hold * MINUTE, keep * MINUTE, hits(is_hit));
            for change in &mut expected {
                if let Changed::Firing(_, since) = &mut change.what {
                    *since -= offset;
                }
            }
            prop_assert_eq!(turned.step(ts - offset, hold * MINUTE, keep * MINUTE, hits(is_hit)), expected);
            let sent = |alerts: &mut Alerts, ts: i64, offset: i64| {
                let due = alerts.take_due(ts, MINUTE, 4 * MINUTE, String::new).into_iter();
                due.map(|alert| (alert.starts_at + offset, alert.ends_at.map(|at| at + offset))).collect::<Vec<_>>()
            };
            prop_assert_eq!(sent(&mut turned, ts - offset, offset), sent(&mut straight, ts, 0));
        }
    }
}
