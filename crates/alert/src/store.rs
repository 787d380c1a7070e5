//! The alerts that are known, by fingerprint.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cupola_model::{ALERTNAME, Alert, Labels};

use cupola_wire::{Fields, Message, WireError, pair};

/// One alert as it is known now. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAlert {
    /// What names it.
    pub labels: Labels,
    /// Texts for people.
    pub annotations: Labels,
    /// Since when it fires.
    pub starts_at: i64,
    /// When it ends, or has ended.
    pub ends_at: i64,
    /// When it was last posted.
    pub updated_at: i64,
    /// Where its expression can be looked at.
    pub generator_url: Box<str>,
    /// Whether its end is only a guess: nobody named one.
    pub timeout: bool,
    /// Of its labels.
    pub fingerprint: u64,
    /// When it ends by what was last written of it.
    pub(crate) written_until: i64,
}

impl StoredAlert {
    /// Whether it is over at `now`, or was by the clock of then.
    #[must_use]
    pub fn is_resolved(&self, now: i64) -> bool {
        self.ends_at <= now || self.is_ended()
    }

    /// Whether its end has been taken note of: it was posted as over, or nobody posted it again. That stays so where the
    /// clock is put back to before its end, and for the next process.
    pub(crate) fn is_ended(&self) -> bool {
        self.ends_at <= self.updated_at
    }

    /// `self`, the younger, and an older one that overlaps it, as Alertmanager's `Alert.Merge` joins them.
    fn merged(mut self, old: &Self, now: i64) -> Self {
        self.starts_at = self.starts_at.min(old.starts_at);
        if self.is_resolved(now) {
            if old.is_resolved(now) {
                // Not later than this post, where the clock was ahead at the other.
                self.ends_at = self.ends_at.max(old.ends_at.min(self.updated_at));
            }
        } else if old.ends_at > self.ends_at && !old.timeout && !old.is_ended() {
            self.ends_at = old.ends_at;
        }
        self
    }

    /// As a protobuf message, see `docs/format/alertmanager.md`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut message = Message::default();
        for (name, value) in &self.labels {
            message.pair(1, name, value);
        }
        for (name, value) in &self.annotations {
            message.pair(2, name, value);
        }
        message.time(3, self.starts_at);
        message.time(4, self.ends_at);
        message.time(5, self.updated_at);
        message.bytes(6, self.generator_url.as_bytes());
        message.number(7, u64::from(self.timeout));
        message.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (mut labels, mut annotations) = (Vec::new(), Vec::new());
        let mut stored = Self {
            labels: Labels::empty(),
            annotations: Labels::empty(),
            starts_at: 0,
            ends_at: 0,
            updated_at: 0,
            generator_url: Box::default(),
            timeout: false,
            fingerprint: 0,
            written_until: 0,
        };
        for field in Fields(bytes) {
            let (number, value) = field?;
            match number {
                1 => labels.push(pair(value, number)?),
                2 => annotations.push(pair(value, number)?),
                3 => stored.starts_at = value.time(number)?,
                4 => stored.ends_at = value.time(number)?,
                5 => stored.updated_at = value.time(number)?,
                6 => stored.generator_url = value.text(number)?.into(),
                7 => stored.timeout = value.number(number)? != 0,
                _ => {}
            }
        }
        stored.labels = Labels::from_pairs(labels);
        stored.annotations = Labels::from_pairs(annotations);
        stored.fingerprint = stored.labels.fingerprint();
        stored.written_until = stored.ends_at;
        Ok(stored)
    }
}

/// What became of a posted alert.
pub(crate) struct Put {
    pub alert: Arc<StoredAlert>,
    /// Whether it has to be written: more has changed than that it fires for longer, or the next process would take it
    /// for over long before it is.
    pub is_news: bool,
    /// Whether it fired before.
    pub was_firing: bool,
}

/// All alerts, by fingerprint of their labels.
#[derive(Debug, Default)]
pub(crate) struct Store {
    alerts: HashMap<u64, Arc<StoredAlert>>,
    // By alertname; kept only where there is a limit.
    counts: HashMap<String, usize>,
    // Those that are over and only stay because a group has still to tell of them: no new one is refused for them.
    uncounted: HashSet<u64>,
    /// The most alerts of one name; 0 is no limit.
    pub limit: usize,
}

impl Store {
    /// Takes in a posted alert. `None` where there are too many of its name.
    pub(crate) fn put(&mut self, alert: &Alert, now: i64, resolve_timeout_ms: i64) -> Option<Put> {
        let fingerprint = alert.labels.fingerprint();
        let mut stored = StoredAlert {
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at: alert.starts_at,
            ends_at: alert.ends_at.unwrap_or_else(|| now.saturating_add(resolve_timeout_ms)),
            updated_at: now,
            generator_url: alert.generator_url.as_str().into(),
            timeout: alert.ends_at.is_none(),
            fingerprint,
            written_until: 0,
        };
        let old = self.alerts.get(&fingerprint);
        if let Some(old) = old {
            let overlap = (stored.ends_at > old.starts_at && stored.ends_at < old.ends_at)
                || (stored.starts_at > old.starts_at && stored.starts_at < old.ends_at);
            if overlap {
                stored = stored.merged(old, now);
            }
            // One allocation for what both have in common.
            if stored.labels == old.labels {
                stored.labels = old.labels.clone();
            }
            if stored.annotations == old.annotations {
                stored.annotations = old.annotations.clone();
            }
        }
        if self.limit > 0 && (old.is_none() || self.uncounted.contains(&fingerprint)) {
            let name = alert.labels.value(ALERTNAME);
            let count = self.counts.entry(name.to_owned()).or_default();
            if *count >= self.limit {
                return None;
            }
            *count += 1;
            self.uncounted.remove(&fingerprint);
        }
        let was_firing = old.is_some_and(|old| !old.is_resolved(now));
        // After a restart an alert gets the resolve timeout in any case: only what is posted more seldom needs more.
        let lasting = stored.ends_at.saturating_sub(now);
        let is_news = old.is_none_or(|old| {
            stored.is_resolved(now)
                || !was_firing
                || lasting > resolve_timeout_ms && old.written_until.saturating_sub(now) < lasting / 2
                || stored.starts_at != old.starts_at
                || stored.annotations != old.annotations
                || stored.generator_url != old.generator_url
        });
        stored.written_until = match old {
            Some(old) if !is_news => old.written_until,
            _ => stored.ends_at,
        };
        let alert = Arc::new(stored);
        self.alerts.insert(fingerprint, alert.clone());
        Some(Put {
            alert,
            is_news,
            was_firing,
        })
    }

    /// Takes in an alert of an earlier process as it was.
    pub(crate) fn restore(&mut self, alert: StoredAlert) {
        if self.limit > 0 && !self.alerts.contains_key(&alert.fingerprint) {
            *self.counts.entry(alert.labels.value(ALERTNAME).to_owned()).or_default() += 1;
        }
        self.alerts.insert(alert.fingerprint, Arc::new(alert));
    }

    /// Takes note that an alert has ended as nobody posted it again. Returns it as it is to be written.
    pub(crate) fn end(&mut self, fingerprint: u64) -> Option<Arc<StoredAlert>> {
        let alert = Arc::make_mut(self.alerts.get_mut(&fingerprint)?);
        alert.updated_at = alert.ends_at.max(alert.updated_at);
        alert.written_until = alert.ends_at;
        self.alerts.get(&fingerprint).cloned()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<StoredAlert>> + Clone {
        self.alerts.values()
    }

    pub(crate) fn get(&self, fingerprint: u64) -> Option<&Arc<StoredAlert>> {
        self.alerts.get(&fingerprint)
    }

    /// Forgets alerts that ended before `before`, but those that are needed. Returns which.
    pub(crate) fn forget_resolved(&mut self, before: i64, is_needed: impl Fn(u64) -> bool) -> Vec<Arc<StoredAlert>> {
        let (mut gone, mut needed) = (Vec::new(), Vec::new());
        self.alerts.retain(|id, alert| {
            // One that ended by a clock that was ahead goes at once.
            if alert.ends_at >= before && !alert.is_ended() {
                return true;
            }
            let is_needed = is_needed(*id);
            let which = if is_needed { &mut needed } else { &mut gone };
            which.push(alert.clone());
            is_needed
        });
        if self.limit > 0 {
            let counted = gone.iter().filter(|alert| !self.uncounted.remove(&alert.fingerprint));
            let mut over: Vec<_> = counted.cloned().collect();
            over.extend(
                needed
                    .into_iter()
                    .filter(|alert| self.uncounted.insert(alert.fingerprint)),
            );
            for alert in over {
                let name = alert.labels.value(ALERTNAME);
                if let Some(count) = self.counts.get_mut(name) {
                    *count -= 1;
                    if *count == 0 {
                        self.counts.remove(name);
                    }
                }
            }
        }
        // After a storm the table gives its room back.
        if self.alerts.capacity() > 4 * self.alerts.len() + 64 {
            self.alerts.shrink_to_fit();
        }
        gone
    }
}
