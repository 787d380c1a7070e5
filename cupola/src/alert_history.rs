//! What happened to alerts, on disk: read at the start, written every second.

use std::sync::Arc;
use std::time::Duration;

use cupola_env::{Clock, RealFs};
use cupola_rules::AlertHistory;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::cli::Settings;

const FOLDER: &str = "cupola-alert-history";
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// The history that an earlier process left, where there is one. Without its folder it is in memory alone.
pub(crate) async fn open(settings: &Settings) -> AlertHistory {
    let history = AlertHistory::default();
    history.keep_for(settings.history_retention_ms);
    // An agent has no rules.
    if settings.history_retention_ms <= 0 || settings.agent.is_some() {
        return history;
    }
    let (opened, dir) = (history.clone(), settings.data.join(FOLDER));
    let place = dir.display().to_string();
    let done = tokio::task::spawn_blocking(move || opened.open(Arc::new(RealFs), dir)).await;
    if let Ok(Err(error)) = done {
        warn!(dir = place, %error, "the history of alerts cannot be opened; it is in memory alone");
    }
    history
}

/// Writes what is new until `stop`, and once more then.
pub(crate) async fn keep(history: AlertHistory, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(WRITE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_last = tokio::select! {
            () = stop.cancelled() => true,
            _ = tick.tick() => false,
        };
        let (history, now) = (history.clone(), clock.now_ms());
        // A panic there is told where it happens; the next turn comes all the same.
        let _ = tokio::task::spawn_blocking(move || history.write(now)).await;
        if is_last {
            return;
        }
    }
}
