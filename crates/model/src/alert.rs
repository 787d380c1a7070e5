//! An alert on its way from a rule to whoever routes it.

use crate::Labels;

/// What a rule manager posts to an Alertmanager.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Names the alert, `alertname` included.
    pub labels: Labels,
    /// Texts for people.
    pub annotations: Labels,
    /// Since when it fires, milliseconds.
    pub starts_at: i64,
    /// When it ends: in the past, it is resolved; in the future, it ends then unless it is posted again. `None`: the
    /// receiver's own timeout applies.
    pub ends_at: Option<i64>,
    /// Where its expression can be looked at.
    pub generator_url: String,
}

impl Alert {
    /// Whether it is over at `now`.
    #[must_use]
    pub fn is_resolved(&self, now: i64) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }
}

/// Takes alerts; must not block for long.
pub trait AlertSink: Send + Sync {
    /// Takes a batch. Firing ones come again as long as they fire.
    fn post(&self, alerts: &[Alert]);
}
