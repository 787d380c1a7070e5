use cupola_config::matchers::MatcherMode;
use cupola_config::parse_alertmanager;
use cupola_env::{Clock, ManualClock, SimDisk, Vfs};
use cupola_metrics::Registry;
use cupola_model::MatchOp;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::Options;

const HOUR: i64 = 3_600_000;
// Thursday, 2026-11-26 12:00 UTC.
const NOON: i64 = 1_795_694_400_000;

fn start(vfs: &Arc<dyn Vfs>, clock: &Arc<ManualClock>) -> Alertmanager {
    let yaml = "route: {receiver: r}\nreceivers: [{name: r}]\n";
    let config = parse_alertmanager(yaml, std::path::Path::new("a.yml"), MatcherMode::Fallback).unwrap();
    let options = Options {
        state: Some((vfs.clone(), "/am".into())),
        ..Options::default()
    };
    let clock: Arc<dyn Clock> = clock.clone();
    Alertmanager::new(
        config,
        &[],
        options,
        clock,
        &Registry::default(),
        CancellationToken::new(),
    )
    .unwrap()
}

fn schedule(days: [bool; 7], from: u16, to: u16) -> Schedule {
    Schedule {
        days,
        from,
        to,
        time_zone: "UTC".to_owned(),
        starts_at: 0,
        ends_at: NOON + 60 * 24 * HOUR,
    }
}

fn request(schedule: Schedule) -> RecurringRequest {
    RecurringRequest {
        id: String::new(),
        matchers: vec![("job".to_owned(), MatchOp::Equal, "backup".to_owned())],
        schedule,
        created_by: "ops".to_owned(),
        comment: "nightly backup".to_owned(),
    }
}

// Hours from noon of those that are not over, in their order.
fn coming(manager: &Alertmanager) -> Vec<(i64, i64)> {
    let now = manager.now_ms();
    let mut all: Vec<_> = manager
        .silences(&[])
        .iter()
        .filter(|s| s.state(now) != SilenceState::Expired)
        .map(|s| ((s.starts_at - NOON) / HOUR, (s.ends_at - NOON) / HOUR))
        .collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn silences_are_made_ahead_once_and_go_on_after_a_restart() {
    let vfs = SimDisk::new(3).mount();
    let clock = Arc::new(ManualClock::new(NOON));
    let manager = start(&vfs, &clock);
    // Every day from 11 to 13 o'clock: one is on.
    let made = manager
        .set_recurring_silence(request(schedule([true; 7], 660, 780)))
        .unwrap();
    assert_eq!(coming(&manager), [(0, 1), (23, 25)]);
    let silence = manager.silences(&[])[0].clone();
    assert_eq!(silence.annotations[RECURRING_ANNOTATION], *made.id);
    assert_eq!(
        (silence.created_by.as_str(), silence.comment.as_str()),
        ("ops", "nightly backup")
    );
    manager.inner.make_recurring();
    assert_eq!(manager.silences(&[]).len(), 2);
    // The process is killed: neither is made again, and the next one comes when its turn is there.
    let manager = start(&vfs, &clock);
    assert_eq!(coming(&manager), [(0, 1), (23, 25)]);
    clock.set(NOON + 2 * HOUR);
    manager.inner.make_recurring();
    assert_eq!(coming(&manager), [(23, 25), (47, 49)]);
    // Away over one whole window and into the next: that one is on at once, and says since when it should have been.
    clock.set(NOON + 72 * HOUR);
    let manager = start(&vfs, &clock);
    assert_eq!(coming(&manager), [(71, 73), (95, 97)]);
    assert_eq!(manager.recurring_silences().len(), 1);
}

#[tokio::test]
async fn they_go_on_after_the_clock_was_ahead_for_a_while() {
    for days in [5, 30] {
        let vfs = SimDisk::new(8).mount();
        let clock = Arc::new(ManualClock::new(NOON));
        let manager = start(&vfs, &clock);
        manager
            .set_recurring_silence(request(schedule([true; 7], 660, 780)))
            .unwrap();
        clock.set(NOON + days * 24 * HOUR);
        manager.inner.make_recurring();
        clock.set(NOON + 24 * HOUR);
        manager.inner.make_recurring();
        let ahead = days * 24;
        let of_the_time_ahead = [(ahead - 1, ahead + 1), (ahead + 23, ahead + 25)];
        assert_eq!(coming(&manager), [[(23, 25), (47, 49)], of_the_time_ahead].concat());
        // From here on as ever: what is ended by hand stays so.
        for silence in manager.silences(&[]) {
            manager.expire_silence(&silence.id).unwrap();
        }
        manager.inner.make_recurring();
        assert_eq!(coming(&manager), []);
        clock.set(NOON + 26 * HOUR);
        manager.inner.make_recurring();
        assert_eq!(coming(&manager), [(71, 73)]);
    }
}

// Else each member would tell the others of it for ever.
#[test]
fn what_a_member_whose_clock_is_ahead_has_made_is_no_news() {
    let one = |made_until| {
        Definition::There(RecurringSilence {
            id: "id".into(),
            matchers: vec![Matcher::equal("a", "b")],
            schedule: schedule([true; 7], 660, 780),
            created_by: "x".to_owned(),
            comment: "y".to_owned(),
            updated_at: 7,
            revision: 1,
            made_until,
        })
    };
    let (right, ahead) = (one(NOON + 23 * HOUR), one(NOON + 31 * 24 * HOUR));
    let mut all = Definitions::default();
    assert!(all.merge(right.clone(), NOON));
    assert!(!all.merge(ahead.clone(), NOON));
    // Before it was known here it is, but not for what it has made.
    let mut all = Definitions::default();
    assert!(all.merge(ahead.clone(), NOON));
    assert!(all.merge(right.clone(), NOON));
    assert!(!all.merge(ahead.clone(), NOON));
    // Whose clock was ahead listens to the others once it is right.
    let mut all = Definitions::default();
    assert!(all.merge(ahead, NOON + 30 * 24 * HOUR));
    assert!(all.merge(right.clone(), NOON));
    assert!(!all.merge(right, NOON));
}

#[tokio::test]
async fn what_was_ended_by_hand_stays_ended() {
    let vfs = SimDisk::new(4).mount();
    let clock = Arc::new(ManualClock::new(NOON));
    let manager = start(&vfs, &clock);
    manager
        .set_recurring_silence(request(schedule([true; 7], 660, 780)))
        .unwrap();
    for silence in manager.silences(&[]) {
        manager.expire_silence(&silence.id).unwrap();
    }
    manager.inner.make_recurring();
    let manager = start(&vfs, &clock);
    assert_eq!(coming(&manager), []);
    clock.set(NOON + 2 * HOUR);
    manager.inner.make_recurring();
    assert_eq!(coming(&manager), [(47, 49)]);
}

#[tokio::test]
async fn a_change_ends_the_silences_of_the_older_shape_and_deletion_all() {
    let vfs = SimDisk::new(5).mount();
    let clock = Arc::new(ManualClock::new(NOON));
    let manager = start(&vfs, &clock);
    let other = SilenceRequest {
        matchers: vec![("a".to_owned(), MatchOp::Equal, "b".to_owned())],
        ends_at: NOON + HOUR,
        ..SilenceRequest::default()
    };
    manager.set_silence(other).unwrap();
    let made = manager
        .set_recurring_silence(request(schedule([true; 7], 660, 780)))
        .unwrap();
    clock.set(NOON + 1);
    let mut changed = request(schedule([true; 7], 1200, 1260));
    changed.id = made.id.to_string();
    let again = manager.set_recurring_silence(changed).unwrap();
    assert_eq!(again.id, made.id);
    assert_eq!(coming(&manager), [(0, 1), (8, 9), (32, 33)]);
    let manager = start(&vfs, &clock);
    manager.delete_recurring_silence(&made.id).unwrap();
    assert_eq!(coming(&manager), [(0, 1)]);
    assert_eq!(manager.delete_recurring_silence(&made.id), Err(SilenceError::NotFound));
    assert!(start(&vfs, &clock).recurring_silences().is_empty());
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let vfs = SimDisk::new(6).mount();
    let manager = start(&vfs, &Arc::new(ManualClock::new(NOON)));
    let refused = |change: fn(&mut RecurringRequest)| {
        let mut bad = request(schedule([true; 7], 660, 780));
        change(&mut bad);
        manager.set_recurring_silence(bad).unwrap_err().to_string()
    };
    assert!(refused(|r| r.matchers.clear()).contains("at least one matcher"));
    assert!(refused(|r| r.matchers[0].2.clear()).contains("empty string"));
    assert!(refused(|r| r.matchers[0] = ("a".into(), MatchOp::Regex, "(".into())).contains("regular expression"));
    assert!(refused(|r| r.schedule.time_zone = "Nowhere".into()).contains("no time zone"));
    assert!(refused(|r| r.schedule.ends_at = NOON).contains("over already"));
    assert!(refused(|r| r.comment = " ".into()).contains("why"));
    assert!(refused(|r| r.id = "x".into()).contains("not found"));
    assert!(manager.recurring_silences().is_empty() && manager.silences(&[]).is_empty());
}

proptest! {
    #[test]
    fn they_come_back_as_they_were_written(
        days in any::<[bool; 7]>(),
        from in 0_u16..1440,
        to in 0_u16..=1440,
        times in (0_i64..1 << 45, 1_i64..1 << 40, any::<u64>()),
        comment in ".{0,20}",
        regex in any::<bool>(),
    ) {
        prop_assume!(days.contains(&true));
        let op = if regex { MatchOp::Regex } else { MatchOp::NotEqual };
        let (starts_at, length, revision) = times;
        let one = RecurringSilence {
            id: "id".into(),
            matchers: vec![Matcher::new_no_newline("a", op, "b|").unwrap()],
            schedule: Schedule { starts_at, ends_at: starts_at + length, ..schedule(days, from, to) },
            created_by: "x".to_owned(),
            comment,
            updated_at: 7,
            revision,
            made_until: -5,
        };
        prop_assert_eq!(RecurringSilence::decode(&one.encode()).unwrap().unwrap(), one);
    }
}

#[test]
fn foreign_bytes_do_no_harm() {
    let one = RecurringSilence {
        id: "id".into(),
        matchers: vec![Matcher::equal("a", "b")],
        schedule: schedule([true; 7], 1, 2),
        created_by: "x".to_owned(),
        comment: "y".to_owned(),
        updated_at: 7,
        revision: 1,
        made_until: 0,
    };
    cupola_testkit::fuzz(20_000, &[one.encode()], &["Europe/Berlin"], |bytes| {
        if let Ok(Ok(read)) = RecurringSilence::decode(bytes) {
            let _ = read.windows(NOON).len();
        }
    });
}
