//! How many shards a destination should have: Prometheus's calculation (3.14, `calculateDesiredShards`).

use std::time::Duration;

// How much each ten seconds count against those before.
const WEIGHT: f64 = 0.2;
// How much of what waits is to be made up for in a second.
const CATCH_UP: f64 = 0.05;
// Within this share of the current number nothing changes.
const TOLERANCE: f64 = 0.3;

/// Counted since the last time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Read from the log, dropped ones included.
    pub read: u64,
    /// Read and not to be sent.
    pub dropped: u64,
    /// Sent.
    pub sent: u64,
    /// How long sending took, all shards together.
    pub sending: Duration,
}

/// Rates a second, smoothed.
#[derive(Debug, Default)]
pub(super) struct Rates {
    read: f64,
    dropped: f64,
    sent: f64,
    sending: f64,
    has_begun: bool,
}

impl Rates {
    /// Takes in what was seen in the time since.
    pub(super) fn note(&mut self, seen: Seen, since: Duration) {
        let since = since.as_secs_f64().max(0.001);
        let weight = if std::mem::replace(&mut self.has_begun, true) {
            WEIGHT
        } else {
            1.0
        };
        let smooth = |rate: &mut f64, amount: f64| *rate += (amount / since - *rate) * weight;
        smooth(&mut self.read, seen.read as f64);
        smooth(&mut self.dropped, seen.dropped as f64);
        smooth(&mut self.sent, seen.sent as f64);
        smooth(&mut self.sending, seen.sending.as_secs_f64());
    }

    /// How many shards there should be, in place of `now`; `delay` is how much older the newest sample that was sent is than
    /// the newest one there is. The number that would do, and the number to have.
    pub(super) fn desired(&self, now: u64, delay: Duration, min: u64, max: u64) -> (f64, u64) {
        if self.sent <= 0.0 {
            return (now as f64, now);
        }
        let kept = (self.sent / (self.sent + self.dropped)).min(1.0);
        let waiting = delay.as_secs_f64() * self.read * kept;
        let per_sample = self.sending / self.sent;
        let desired = per_sample * (self.read * kept + CATCH_UP * waiting);
        let now_f = now as f64;
        if (now_f * (1.0 - TOLERANCE)..=now_f * (1.0 + TOLERANCE)).contains(&desired) {
            return (desired, now);
        }
        let number = (desired.ceil().max(0.0) as u64).clamp(min, max);
        // Fewer only where nothing waits.
        if number < now && delay > Duration::from_secs(10) {
            return (desired, now);
        }
        (desired, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(read: u64, sent: u64, sending: u64) -> Rates {
        let mut rates = Rates::default();
        let seen = Seen {
            read,
            dropped: 0,
            sent,
            sending: Duration::from_secs(sending),
        };
        rates.note(seen, Duration::from_secs(10));
        rates
    }

    #[test]
    fn there_are_as_many_as_sending_takes() {
        let second = Duration::from_secs(1);
        // Ten seconds of sending in ten seconds: one shard is busy all the time.
        assert_eq!(rates(1000, 1000, 10).desired(1, second, 1, 50).1, 1);
        // Four come for each that is sent.
        assert_eq!(rates(4000, 1000, 10).desired(1, second, 1, 50).1, 5);
        assert_eq!(rates(4000, 1000, 10).desired(1, second, 1, 3).1, 3);
        // What waits adds to it.
        assert_eq!(rates(1000, 1000, 10).desired(1, Duration::from_secs(200), 1, 50).1, 11);
        // Fewer, but not while something waits.
        assert_eq!(rates(1000, 1000, 1).desired(10, second, 1, 50).1, 1);
        assert_eq!(rates(1000, 1000, 1).desired(10, second, 2, 50).1, 2);
        assert_eq!(rates(1000, 1000, 1).desired(10, Duration::from_secs(11), 1, 50).1, 10);
        // Nothing is known while nothing is sent.
        assert_eq!(rates(1000, 0, 10).desired(7, second, 1, 50).1, 7);
    }

    #[test]
    fn a_moment_does_not_change_everything() {
        let mut rates = rates(1000, 1000, 10);
        let burst = Seen {
            read: 1200,
            dropped: 0,
            sent: 1200,
            sending: Duration::from_secs(12),
        };
        rates.note(burst, Duration::from_secs(10));
        assert_eq!(rates.desired(1, Duration::from_secs(1), 1, 50).1, 1);
    }
}
