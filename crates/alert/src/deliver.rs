//! One message to one integration: attempts, waiting between them, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use cupola_env::Clock;
use cupola_model::Labels;
use cupola_notify::{Integration, Notification};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::metrics::Metrics;

// Between attempts: half a second, then one and a half times as long each time, at most a minute (Alertmanager's
// backoff).
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Sent,
    /// An attempt failed, another follows.
    Retrying,
    /// It was given up; the group's next flush tries again.
    Failed,
}

impl Outcome {
    /// As the pages name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
        }
    }
}

/// One message in the history.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// When its outcome was known, milliseconds.
    pub at: i64,
    /// The receiver's name.
    pub receiver: String,
    /// `webhook[0]`.
    pub integration: String,
    /// The group's key.
    pub group_key: String,
    /// The group's labels.
    pub group_labels: Labels,
    /// `firing` or `resolved`.
    pub status: &'static str,
    /// Alerts that fired.
    pub firing: usize,
    /// Alerts that were resolved.
    pub resolved: usize,
    /// What became of it.
    pub outcome: Outcome,
    /// Empty where it was sent.
    pub error: String,
    /// Attempts so far.
    pub attempts: u32,
    /// Why it was sent.
    pub reason: &'static str,
}

/// Sends until it works, it cannot work, or `deadline` is over. `report` hears of every turn.
pub(crate) async fn deliver(
    integration: &Integration,
    notification: &Notification,
    deadline: Instant,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
    report: &(dyn Fn(Delivery) + Send + Sync),
) -> bool {
    let kind = integration.kind();
    let firing = notification.alerts.iter().filter(|a| a.ends_at.is_none()).count();
    let told = |outcome, error: String, attempts| Delivery {
        at: clock.now_ms(),
        receiver: notification.receiver.clone(),
        integration: format!("{kind}[{}]", integration.index()),
        group_key: notification.group_key.clone(),
        group_labels: notification.group_labels.clone(),
        status: notification.status(),
        firing,
        resolved: notification.alerts.len() - firing,
        outcome,
        error,
        attempts,
        reason: notification.reason,
    };
    metrics.notifications.with(&[kind]).inc();
    let mut wait = FIRST_WAIT;
    for attempt in 1.. {
        metrics.requests.with(&[kind]).inc();
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match integration.send(notification, left).await {
            Ok(()) => {
                info!(
                    receiver = notification.receiver,
                    integration = kind,
                    group = notification.group_key,
                    firing,
                    resolved = notification.alerts.len() - firing,
                    attempt,
                    "notification sent"
                );
                report(told(Outcome::Sent, String::new(), attempt));
                return true;
            }
            Err(error) => error,
        };
        metrics.requests_failed.with(&[kind]).inc();
        let pause = error.retry_after.unwrap_or_default().max(wait);
        let again = error.retry && Instant::now() + pause < deadline;
        // The first failure and giving up are news; what lies between is in the history.
        if attempt == 1 || !again {
            warn!(
                receiver = notification.receiver,
                integration = kind,
                group = notification.group_key,
                attempt,
                error = %error,
                again,
                "notification failed"
            );
        }
        if !again {
            metrics.failed.with(&[kind, error.reason]).inc();
            report(told(Outcome::Failed, error.to_string(), attempt));
            return false;
        }
        report(told(Outcome::Retrying, error.to_string(), attempt));
        tokio::time::sleep(pause).await;
        wait = (wait * 3 / 2).min(LONGEST_WAIT);
    }
    false
}
