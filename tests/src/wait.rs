//! Waiting for a state instead of for time.

use std::time::{Duration, Instant};

// Short against everything the tests wait for, long enough to leave the two cores to those who work.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// Asks `probe` until it gives something, and returns that.
///
/// # Panics
/// With `what` when nothing came within `seconds`.
#[track_caller]
pub fn eventually<T>(seconds: u64, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        std::thread::sleep(POLL_EVERY);
    }
}

/// Milliseconds since the epoch, by the system's clock: the one that the binary uses.
#[must_use]
pub fn now_ms() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests live outside the process whose clock is injected"
    )]
    let now = std::time::SystemTime::now();
    let since = now
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the clock stands after 1970");
    i64::try_from(since.as_millis()).expect("the year is below 292 million")
}
