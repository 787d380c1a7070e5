//! Stops a running query from outside: a flag and a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::{QueryError, Stage};

/// Shared between a query and whoever may stop it. Cloning shares the flag.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Cancel {
    /// One that never stops by itself.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that stops at `deadline`, or earlier when cancelled.
    #[must_use]
    pub fn with_deadline(deadline: Instant) -> Self {
        Self {
            flag: Arc::default(),
            deadline: Some(deadline),
        }
    }

    /// Asks the query to stop; it does so within a few thousand samples.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether the query has to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// When it stops by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The same flag with the earlier of its own deadline and `other`.
    #[must_use]
    pub fn no_later_than(&self, other: Option<Instant>) -> Self {
        let deadline = match (self.deadline, other) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self {
            flag: Arc::clone(&self.flag),
            deadline,
        }
    }

    /// Fails once the query has to stop.
    ///
    /// # Errors
    /// [`QueryError::Canceled`] after [`Cancel::cancel`], [`QueryError::Timeout`] past the deadline.
    pub fn check(&self, stage: Stage) -> Result<(), QueryError> {
        if self.flag.load(Ordering::Relaxed) {
            return Err(QueryError::Canceled(stage));
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(QueryError::Timeout(stage)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_clone_sees_the_flag_and_the_earlier_deadline_wins() {
        let cancel = Cancel::new();
        let other = cancel.no_later_than(None);
        assert!(other.check(Stage::Evaluation).is_ok());
        cancel.cancel();
        let text = other.check(Stage::Evaluation).unwrap_err().to_string();
        assert_eq!(text, "query was canceled in expression evaluation");

        let now = Instant::now();
        let late = Cancel::with_deadline(now + Duration::from_secs(3600)).no_later_than(Some(now));
        assert_eq!(
            late.check(Stage::Queue).unwrap_err().to_string(),
            "query timed out in query queue"
        );
    }
}
