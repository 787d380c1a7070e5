//! The alerts that are known, by fingerprint.

use std::collections::HashMap;

use cupola_model::{Alert, Labels};

/// One alert as it is known now. Times are milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub labels: Labels,
    pub annotations: Labels,
    pub starts_at: i64,
    pub ends_at: i64,
    pub updated_at: i64,
    pub generator_url: String,
}

impl Stored {
    pub(crate) fn is_resolved(&self, now: i64) -> bool {
        self.ends_at <= now
    }
}

/// All alerts, by fingerprint of their labels.
#[derive(Debug, Default)]
pub(crate) struct Store {
    alerts: HashMap<u64, Stored>,
}

impl Store {
    /// Takes in a posted alert; where it overlaps the one that is known, the earlier start stays.
    pub(crate) fn put(&mut self, alert: &Alert, now: i64, resolve_timeout_ms: i64) -> Stored {
        let fingerprint = alert.labels.fingerprint();
        let ends_at = alert.ends_at.unwrap_or(now + resolve_timeout_ms);
        let mut stored = Stored {
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at: alert.starts_at,
            ends_at,
            updated_at: now,
            generator_url: alert.generator_url.clone(),
        };
        if let Some(old) = self.alerts.get(&fingerprint) {
            let overlap = stored.starts_at <= old.ends_at && stored.ends_at >= old.starts_at;
            if overlap {
                stored.starts_at = stored.starts_at.min(old.starts_at);
            }
        }
        self.alerts.insert(fingerprint, stored.clone());
        stored
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stored> + Clone {
        self.alerts.values()
    }

    pub(crate) fn get(&self, fingerprint: u64) -> Option<&Stored> {
        self.alerts.get(&fingerprint)
    }

    /// Forgets alerts that ended before `before`.
    pub(crate) fn forget_resolved(&mut self, before: i64) {
        self.alerts.retain(|_, alert| alert.ends_at >= before);
    }
}
