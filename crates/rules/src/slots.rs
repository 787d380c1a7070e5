//! When a group is evaluated: at its own slot of each interval, whatever the clock does meanwhile.
//!
//! Waiting goes by a clock that does not jump and that stands still while the machine sleeps; the slots are moments of the
//! wall clock. So each time a wait is over the wall clock is asked anew what is due.

use cupola_model::Labels;

// A machine that sleeps has timers that sleep, too: a group of a long interval looks at the clock now and then.
const LOOK_AGAIN_MS: i64 = 60_000;

/// The moments at which one group is evaluated. All times are milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slots {
    slot_ms: i64,
    interval_ms: i64,
}

/// What a group is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Wait so many milliseconds and ask again.
    Wait(i64),
    /// Evaluate at `ts`; so many slots before it were missed.
    Evaluate { ts: i64, missed: i64 },
}

impl Slots {
    /// Of the group of this key: not all groups wake at once, so its slot is a hash of that, as upstream.
    pub(crate) fn new(key: &str, interval_ms: i64) -> Self {
        let interval_ms = interval_ms.max(1);
        let labels = Labels::from_pairs([("group", key)]);
        Self {
            slot_ms: (labels.fingerprint() % interval_ms.unsigned_abs()) as i64,
            interval_ms,
        }
    }

    /// The last slot that is not after `now`.
    pub(crate) fn last(self, now: i64) -> i64 {
        (now - self.slot_ms).div_euclid(self.interval_ms) * self.interval_ms + self.slot_ms
    }

    /// The first slot after `now`.
    pub(crate) fn next(self, now: i64) -> i64 {
        self.last(now) + self.interval_ms
    }

    /// What is to be done at `now` by who waits for the slot `planned`.
    ///
    /// Where the clock was put forward, or the machine or this process stood still, the slots that passed are missed and the
    /// last of them is evaluated, as in Prometheus (3.14, `Group.run`); so it is where the clock was turned back by more than an
    /// interval. By less, no slot is evaluated twice. Nothing is evaluated at a time that is still to come.
    pub(crate) fn step(self, planned: i64, now: i64) -> Step {
        let is_turned_back = planned - now > 2 * self.interval_ms;
        if planned <= now || is_turned_back {
            let ts = self.last(now);
            let missed = (ts - planned).max(0) / self.interval_ms;
            return Step::Evaluate { ts, missed };
        }
        Step::Wait((planned - now).min(LOOK_AGAIN_MS))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slots(slot_ms: i64, interval_ms: i64) -> Slots {
        Slots { slot_ms, interval_ms }
    }

    #[test]
    fn slots_that_passed_are_missed_and_the_last_is_evaluated() {
        let slots = slots(7, 100);
        assert_eq!(slots.step(1007, 1006), Step::Wait(1));
        assert_eq!(slots.step(1007, 1007), Step::Evaluate { ts: 1007, missed: 0 });
        assert_eq!(slots.step(1007, 1106), Step::Evaluate { ts: 1007, missed: 0 });
        assert_eq!(slots.step(1007, 1107), Step::Evaluate { ts: 1107, missed: 1 });
        // A year later no slot of the year is gone through.
        let year = 365 * 24 * 3_600_000;
        let late = Step::Evaluate {
            ts: 1007 + year,
            missed: year / 100,
        };
        assert_eq!(slots.step(1007, 1050 + year), late);
    }

    #[test]
    fn a_clock_that_is_turned_back_leaves_no_group_asleep_and_repeats_no_slot_for_a_moment() {
        let slots = slots(7, 100);
        // By a moment after 1007 was evaluated: it is not evaluated again.
        assert_eq!(slots.step(1107, 1002), Step::Wait(105));
        assert_eq!(slots.step(1107, 907), Step::Wait(200));
        let evaluate = |ts| Step::Evaluate { ts, missed: 0 };
        assert_eq!(slots.step(1107, 906), evaluate(807));
        assert_eq!(slots.step(86_400_007, 50), evaluate(7));
        // Also to before the epoch.
        assert_eq!(slots.step(1107, -50), evaluate(-93));
    }

    #[test]
    fn a_long_interval_looks_at_the_clock_now_and_then() {
        let slots = slots(0, 86_400_000);
        assert_eq!(slots.step(86_400_000, 5), Step::Wait(60_000));
    }

    proptest! {
        // A group lives through waits, long evaluations, sleep of the machine and jumps of the clock.
        #[test]
        fn a_group_is_evaluated_in_every_interval_whatever_the_clock_does(
            interval in 1..200_000_i64,
            slot in 0..200_000_i64,
            begin in 0..4_000_000_000_000_i64,
            happens in prop::collection::vec((0..5_u8, 0..400_000_i64, 0..1_000_000_i64, any::<bool>()), 1..60),
        ) {
            let slots = slots(slot % interval, interval);
            // The wall clock, and how long nothing was evaluated by one that does not jump.
            let (mut now, mut idle) = (begin, 0);
            let mut planned = slots.next(now);
            let mut last = slots.last(now);
            for (kind, passes, jump, is_long) in happens {
                let jump = if is_long { jump * 31_536 } else { jump };
                match kind {
                    0 => now += jump,
                    1 => now -= jump,
                    // The process stood still.
                    2 => (now, idle) = (now + passes, idle + passes),
                    _ => {}
                }
                for _ in 0..100 {
                    match slots.step(planned, now) {
                        Step::Wait(ms) => {
                            prop_assert!(0 < ms && ms <= LOOK_AGAIN_MS.min(2 * interval), "{ms}");
                            (now, idle) = (now + ms, idle + ms);
                        }
                        Step::Evaluate { ts, missed } => {
                            prop_assert_eq!(slots.last(now), ts);
                            prop_assert!(ts <= now && now - ts < interval);
                            let turned_back = kind == 1 && jump > interval;
                            prop_assert!(ts == planned + missed * interval || turned_back && missed == 0);
                            prop_assert!(missed >= 0);
                            // A slot comes again only where the clock was turned back by more than an interval.
                            prop_assert!(ts > last || turned_back, "{ts} after {last}");
                            let stood_still = if kind == 2 { passes } else { 0 };
                            prop_assert!(idle <= 3 * interval + stood_still, "nothing for {idle} of {interval}");
                            (last, planned, idle) = (ts, ts + interval, 0);
                            break;
                        }
                    }
                }
                prop_assert_eq!(idle, 0);
            }
        }
    }
}
