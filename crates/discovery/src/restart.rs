//! What must never end, and begins anew where it breaks off.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::error;

use crate::provider::Updates;

// The pause after something broke off, doubled each time, up to the second; what has run longer than that begins with the
// first again.
const FIRST_PAUSE: Duration = if cfg!(test) {
    Duration::from_millis(5)
} else {
    Duration::from_secs(1)
};
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Runs what `begin` makes, as a task of its own, and makes and runs another one when it breaks off or ends: both is told and
/// counted as a failure of the provider, and what it has found stays. `what` names it for people. Dropping the future ends the
/// task.
pub(crate) async fn keep_running<F>(updates: Updates, what: String, begin: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let running = AbortOnDropHandle::new(updates.tasks().spawn(begin()));
        let why = match running.await {
            Ok(()) => "it ended".to_owned(),
            Err(broken) => broken.to_string(),
        };
        if began.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        error!(what, error = why, again_in = ?pause, "a part of service discovery broke off");
        updates.failed(&format!("{what} broke off: {why}"));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
