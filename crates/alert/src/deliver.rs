//! One message to one integration: attempts, waiting between them, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use cupola_env::Clock;
use cupola_model::Labels;
use cupola_notify::{Integration, Notification, SendError, watched};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
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
    /// The requests of the attempt and what came back: `POST chat.example.org: 200`. Empty where none was answered, and
    /// for e-mail.
    pub answer: String,
}

/// A way out: an integration, or what stands for one in a test.
pub(crate) enum Channel {
    Real(Box<Integration>),
    #[cfg(test)]
    Fake(tests::Fake),
}

impl Channel {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Real(integration) => integration.kind(),
            #[cfg(test)]
            Self::Fake(_) => "webhook",
        }
    }

    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Real(integration) => integration.index(),
            #[cfg(test)]
            Self::Fake(fake) => fake.index,
        }
    }

    pub(crate) fn send_resolved(&self) -> bool {
        match self {
            Self::Real(integration) => integration.send_resolved(),
            #[cfg(test)]
            Self::Fake(fake) => fake.send_resolved,
        }
    }

    /// See [`Integration::notes`].
    pub(crate) fn notes(&self, group_key: &str) -> Option<Vec<(String, String)>> {
        match self {
            Self::Real(integration) => integration.notes(group_key),
            #[cfg(test)]
            Self::Fake(_) => None,
        }
    }

    /// See [`Integration::recall`].
    pub(crate) fn recall(&self, group_key: &str, notes: &[(String, String)]) {
        match self {
            Self::Real(integration) => integration.recall(group_key, notes),
            #[cfg(test)]
            Self::Fake(_) => {}
        }
    }

    // And the requests that it took, in words.
    async fn send(&self, notification: &Notification, timeout: Duration) -> (Result<(), SendError>, String) {
        match self {
            Self::Real(integration) => watched(integration.send(notification, timeout)).await,
            #[cfg(test)]
            Self::Fake(fake) => (fake.send(notification), String::new()),
        }
    }
}

/// What a delivery needs beside its message.
pub(crate) struct Context<'a> {
    /// No attempt begins after it.
    pub deadline: Instant,
    /// No further attempt begins once it is cancelled; the one that is running goes on.
    pub stop: &'a CancellationToken,
    pub clock: &'a Arc<dyn Clock>,
    pub metrics: &'a Metrics,
    /// Hears of every attempt.
    pub report: &'a (dyn Fn(Delivery) + Send + Sync),
}

/// Sends until it works, it cannot work, or there is no more time.
pub(crate) async fn deliver(integration: &Channel, notification: &Notification, context: &Context<'_>) -> bool {
    let Context {
        deadline,
        stop,
        clock,
        metrics,
        report,
    } = *context;
    let kind = integration.kind();
    let firing = notification.alerts.iter().filter(|a| a.ends_at.is_none()).count();
    let told = |outcome, error: String, attempts, answer: &str| Delivery {
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
        answer: answer.to_owned(),
    };
    metrics.notifications.with(&[kind]).inc();
    let mut wait = FIRST_WAIT;
    for attempt in 1.. {
        metrics.requests.with(&[kind]).inc();
        let begin = Instant::now();
        let left = deadline.saturating_duration_since(begin);
        let (sent, answer) = integration.send(notification, left).await;
        metrics.latency.with(&[kind]).observe(begin.elapsed().as_secs_f64());
        let error = match sent {
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
                report(told(Outcome::Sent, String::new(), attempt, &answer));
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
            report(told(Outcome::Failed, error.to_string(), attempt, &answer));
            return false;
        }
        report(told(Outcome::Retrying, error.to_string(), attempt, &answer));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {
                metrics.failed.with(&[kind, "contextCanceled"]).inc();
                let error = format!("given up, as the server stops or reloads: {error}");
                report(told(Outcome::Failed, error, attempt, &answer));
                return false;
            }
        }
        wait = (wait * 3 / 2).min(LONGEST_WAIT);
    }
    false
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::VecDeque;
    use std::sync::mpsc::Sender;

    use parking_lot::Mutex;

    use super::*;

    /// Stands for a webhook: answers with status codes in turn, then with 200, and hands on what it was sent.
    pub(crate) struct Fake {
        pub index: usize,
        pub send_resolved: bool,
        pub codes: Mutex<VecDeque<u16>>,
        pub sent: Sender<(Notification, u16)>,
    }

    impl Fake {
        pub(super) fn send(&self, notification: &Notification) -> Result<(), SendError> {
            let code = self.codes.lock().pop_front().unwrap_or(200);
            let _ = self.sent.send((notification.clone(), code));
            if code < 300 {
                return Ok(());
            }
            Err(SendError {
                message: format!("unexpected status code {code}"),
                retry: code >= 500,
                retry_after: None,
                reason: if code >= 500 { "serverError" } else { "clientError" },
            })
        }
    }
}
