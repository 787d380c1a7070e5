//! `rate_limit`: a bucket of permits, as Go's `rate.Limiter` keeps it.

use std::time::{Duration, Instant};

use cupola_config::web::RateLimit;
use parking_lot::Mutex;

/// A bucket; full at first.
pub(super) struct Bucket {
    limit: RateLimit,
    // What it held at a time, each permit worth an interval; at first it is full.
    held: Mutex<Option<(Duration, Instant)>>,
}

impl Bucket {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            held: Mutex::new(None),
        }
    }

    pub(super) fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Takes a permit, where there is one.
    pub(super) fn take(&self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> bool {
        let RateLimit { interval, burst } = self.limit;
        let full = interval.saturating_mul(u32::try_from(burst).unwrap_or(u32::MAX));
        let mut held = self.held.lock();
        let now_held = match *held {
            None => full,
            Some((held, at)) => held.saturating_add(now.saturating_duration_since(at)).min(full),
        };
        let Some(left) = now_held.checked_sub(interval) else {
            return false;
        };
        *held = Some((left, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_each_interval() {
        let interval = Duration::from_secs(10);
        let bucket = Bucket::new(RateLimit { interval, burst: 3 });
        let start = Instant::now();
        let take = |seconds: u64| bucket.take_at(start + Duration::from_secs(seconds));
        assert_eq!([take(0), take(0), take(0), take(0)], [true, true, true, false]);
        assert_eq!([take(9), take(10), take(10), take(19)], [false, true, false, false]);
        assert_eq!([take(20), take(20)], [true, false]);
        // However long nobody asks, it holds no more than the burst.
        assert_eq!([take(900), take(900), take(900), take(900)], [true, true, true, false]);
    }

    #[test]
    fn without_a_burst_nothing_passes() {
        let bucket = Bucket::new(RateLimit {
            interval: Duration::from_secs(1),
            burst: 0,
        });
        assert!(!bucket.take());
    }
}
