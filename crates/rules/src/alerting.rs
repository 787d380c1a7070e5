//! The life of an alert: pending, firing, resolved (Prometheus 3.14, `rules/alerting.go`).

use std::collections::HashMap;

use cupola_model::{ALERTNAME, Alert, Labels, METRIC_NAME};

/// The series that says since when an alert fires only because of `keep_firing_for`, in seconds; ours, for restarts.
pub(crate) const KEEP_FIRING_STATE: &str = "ALERTS_KEEP_FIRING_STATE";

// A resolved alert is kept and sent again for this long, so that an Alertmanager that was away learns of it.
const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// The expression does not hold any more.
    Inactive,
    /// It holds, not yet for long enough.
    Pending,
    /// It fires.
    Firing,
}

impl AlertState {
    /// As the API and the `ALERTS` series write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// One alert of one rule. Times are milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveAlert {
    /// Where it stands.
    pub state: AlertState,
    /// Its name: the series' labels, the rule's labels, `alertname`.
    pub labels: Labels,
    /// Expanded annotations.
    pub annotations: Labels,
    /// The expression's value at the last evaluation that gave one.
    pub value: f64,
    /// First evaluation that gave it.
    pub active_at: i64,
    /// When it began to fire.
    pub fired_at: Option<i64>,
    /// When it was resolved.
    pub resolved_at: Option<i64>,
    /// Since when it fires only because of `keep_firing_for`.
    pub keep_firing_since: Option<i64>,
    last_sent_at: Option<i64>,
}

impl ActiveAlert {
    fn needs_sending(&self, ts: i64, resend_delay_ms: i64) -> bool {
        match (self.state, self.last_sent_at) {
            (AlertState::Pending, _) => false,
            (_, None) => true,
            // A resolved alert is sent at once.
            (_, Some(sent)) if self.resolved_at.is_some_and(|resolved| resolved > sent) => true,
            (_, Some(sent)) => sent + resend_delay_ms < ts,
        }
    }
}

/// What one result of the expression became before the state machine sees it.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    pub labels: Labels,
    pub annotations: Labels,
    pub value: f64,
}

/// How an evaluation changed an alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub labels: Labels,
    pub what: Changed,
}

/// What changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Changed {
    /// The expression gives it, with this value.
    Pending(f64),
    /// It fires; the value, and since when the expression gives it.
    Firing(f64, i64),
    /// The expression does not give it any more; it fires on for `keep_firing_for`.
    Kept,
    /// The expression gives it again while it was kept.
    Given(f64),
    /// It fires no more.
    Resolved,
    /// It ended before it fired.
    Ended,
}

/// When an alert that is kept firing was what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeptTimes {
    pub active_at: i64,
    pub fired_at: i64,
    /// Since when the expression does not give it.
    pub since: i64,
}

/// The alerts of one rule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alerts {
    active: HashMap<Labels, ActiveAlert>,
}

impl Alerts {
    /// Moves every alert on to `ts`, given what the expression gave there; each label set comes once. Returns what changed,
    /// of each alert in order.
    pub(crate) fn step(&mut self, ts: i64, hold_ms: i64, keep_firing_ms: i64, hits: Vec<Hit>) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut changed = |labels: &Labels, what| {
            changes.push(Change {
                labels: labels.clone(),
                what,
            });
        };
        let mut hit: HashMap<Labels, Hit> = hits.into_iter().map(|h| (h.labels.clone(), h)).collect();
        let mut ended = Vec::new();
        for (labels, alert) in &mut self.active {
            if let Some(hit) = hit.remove(labels) {
                alert.value = hit.value;
                alert.annotations = hit.annotations;
                if alert.keep_firing_since.take().is_some() {
                    changed(labels, Changed::Given(alert.value));
                }
                if alert.state == AlertState::Inactive {
                    changed(labels, Changed::Pending(alert.value));
                    // It comes back after it was resolved: a new life.
                    alert.state = AlertState::Pending;
                    alert.active_at = ts;
                    alert.fired_at = None;
                    alert.resolved_at = None;
                    alert.last_sent_at = None;
                }
                continue;
            }
            if alert.state == AlertState::Firing && keep_firing_ms > 0 {
                let since = *alert.keep_firing_since.get_or_insert_with(|| {
                    changed(labels, Changed::Kept);
                    ts
                });
                if ts - since < keep_firing_ms {
                    continue;
                }
            }
            match alert.state {
                AlertState::Firing => {
                    alert.state = AlertState::Inactive;
                    alert.resolved_at = Some(ts);
                    alert.keep_firing_since = None;
                    changed(labels, Changed::Resolved);
                }
                AlertState::Pending => {
                    changed(labels, Changed::Ended);
                    ended.push(labels.clone());
                }
                AlertState::Inactive => {}
            }
        }
        // A pending alert that ends was never told to anybody.
        for labels in ended {
            self.active.remove(&labels);
        }
        self.active.retain(|_, alert| match alert.state {
            AlertState::Inactive => alert.resolved_at.is_some_and(|at| ts - at <= RESOLVED_RETENTION_MS),
            AlertState::Pending | AlertState::Firing => true,
        });
        for (labels, hit) in hit {
            changed(&labels, Changed::Pending(hit.value));
            let alert = ActiveAlert {
                state: AlertState::Pending,
                labels: hit.labels,
                annotations: hit.annotations,
                value: hit.value,
                active_at: ts,
                fired_at: None,
                resolved_at: None,
                keep_firing_since: None,
                last_sent_at: None,
            };
            self.active.insert(labels, alert);
        }
        for alert in self.active.values_mut() {
            if alert.state == AlertState::Pending && ts - alert.active_at >= hold_ms {
                alert.state = AlertState::Firing;
                alert.fired_at = Some(ts);
                changed(&alert.labels, Changed::Firing(alert.value, alert.active_at));
            }
        }
        changes
    }

    /// Moves all times back by so many milliseconds, as the clock was: what has passed of `for`, `keep_firing_for` and the
    /// resend delay stays passed.
    ///
    /// Prometheus leaves them where they were: an alert neither begins to fire nor is sent again, as resolved neither, until
    /// the clock is back there.
    pub(crate) fn turn_back(&mut self, by_ms: i64) {
        for alert in self.active.values_mut() {
            alert.active_at -= by_ms;
            let times = [
                &mut alert.fired_at,
                &mut alert.resolved_at,
                &mut alert.keep_firing_since,
                &mut alert.last_sent_at,
            ];
            times.into_iter().flatten().for_each(|at| *at -= by_ms);
        }
    }

    /// When an alert changes at the latest without the expression giving anything else; `None` where none does.
    pub(crate) fn next_due(&self, hold_ms: i64, keep_firing_ms: i64) -> Option<i64> {
        let due = self.active.values().filter_map(|alert| match alert.state {
            AlertState::Pending => Some(alert.active_at.saturating_add(hold_ms)),
            AlertState::Firing => Some(alert.keep_firing_since?.saturating_add(keep_firing_ms)),
            AlertState::Inactive => None,
        });
        due.min()
    }

    /// Pending and firing alerts, in no order.
    pub(crate) fn active(&self) -> impl Iterator<Item = &ActiveAlert> {
        self.active.values().filter(|a| a.state != AlertState::Inactive)
    }

    pub(crate) fn active_mut(&mut self) -> impl Iterator<Item = &mut ActiveAlert> {
        self.active.values_mut().filter(|a| a.state != AlertState::Inactive)
    }

    /// Lets an alert of before a restart go on firing that the expression does not give any more; nothing where there is one
    /// of these labels. Times are milliseconds.
    pub(crate) fn keep_firing(&mut self, labels: Labels, annotations: Labels, value: f64, times: KeptTimes) {
        let KeptTimes {
            active_at,
            fired_at,
            since,
        } = times;
        self.active.entry(labels.clone()).or_insert(ActiveAlert {
            state: AlertState::Firing,
            labels,
            annotations,
            value,
            active_at,
            fired_at: Some(fired_at),
            resolved_at: None,
            keep_firing_since: Some(since),
            last_sent_at: None,
        });
    }

    /// Forgets everything, as upstream does when a rule exceeds its limit.
    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    /// The series `ALERTS` and `ALERTS_FOR_STATE` at this evaluation.
    pub(crate) fn series(&self, name: &str) -> Vec<(Labels, f64)> {
        let mut out = Vec::new();
        for alert in self.active() {
            let mut labels = alert.labels.to_builder();
            labels
                .set(METRIC_NAME, "ALERTS")
                .set(ALERTNAME, name)
                .set("alertstate", alert.state.as_str());
            out.push((labels.build(), 1.0));
            labels.set(METRIC_NAME, "ALERTS_FOR_STATE").remove("alertstate");
            out.push((labels.build(), (alert.active_at / 1000) as f64));
            if let Some(since) = alert.keep_firing_since {
                labels.set(METRIC_NAME, KEEP_FIRING_STATE);
                out.push((labels.build(), since as f64 / 1000.0));
            }
        }
        out
    }

    /// The alerts that are due to be sent at `ts`, marked as sent; `url` is asked for where there is one.
    ///
    /// `valid_ms` is how long a firing alert counts without being sent again: four times the longer of interval and
    /// resend delay (upstream), so that one lost message resolves nothing.
    pub(crate) fn take_due(
        &mut self,
        ts: i64,
        resend_delay_ms: i64,
        valid_ms: i64,
        url: impl Fn() -> String,
    ) -> Vec<Alert> {
        let mut due = Vec::new();
        let mut text = None;
        for alert in self
            .active
            .values_mut()
            .filter(|a| a.needs_sending(ts, resend_delay_ms))
        {
            alert.last_sent_at = Some(ts);
            due.push(Alert {
                labels: alert.labels.clone(),
                annotations: alert.annotations.clone(),
                starts_at: alert.fired_at.unwrap_or(alert.active_at),
                ends_at: Some(alert.resolved_at.unwrap_or(ts + valid_ms)),
                generator_url: text.get_or_insert_with(&url).clone(),
            });
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn hit() -> Vec<Hit> {
        let labels = Labels::from_pairs([(ALERTNAME, "A"), ("instance", "x")]);
        vec![Hit {
            labels,
            annotations: Labels::empty(),
            value: 1.0,
        }]
    }

    // One letter a minute: x the expression holds, . it does not. Answers one letter a minute: p, f, r (resolved, still
    // kept), . (nothing).
    #[track_caller]
    fn check(hold: i64, keep: i64, input: &str, expected: &str) {
        let mut alerts = Alerts::default();
        let mut got = String::new();
        for (minute, c) in input.chars().enumerate() {
            let ts = minute as i64 * MINUTE;
            alerts.step(ts, hold * MINUTE, keep * MINUTE, if c == 'x' { hit() } else { vec![] });
            got.push(match alerts.active.values().next().map(|a| a.state) {
                None => '.',
                Some(AlertState::Pending) => 'p',
                Some(AlertState::Firing) => 'f',
                Some(AlertState::Inactive) => 'r',
            });
        }
        assert_eq!(got, expected);
    }

    #[test]
    fn without_for_an_alert_fires_at_once() {
        check(0, 0, ".xx..", ".ffrr");
    }

    #[test]
    fn for_must_be_over_before_it_fires() {
        check(2, 0, ".xxxx.", ".ppffr");
        check(2, 0, ".xx.xxx", ".pp.ppf");
    }

    #[test]
    fn keep_firing_for_holds_a_firing_alert() {
        check(0, 2, ".x...x", ".fffrf");
        check(0, 2, ".x.x...", ".fffffr");
    }

    #[test]
    fn a_resolved_alert_is_kept_for_fifteen_minutes() {
        check(0, 0, "x.................", "frrrrrrrrrrrrrrrr.");
    }

    #[test]
    fn an_alert_that_comes_back_begins_a_new_life() {
        let mut alerts = Alerts::default();
        alerts.step(0, 0, 0, hit());
        assert_eq!(alerts.take_due(0, MINUTE, MINUTE, String::new).len(), 1);
        alerts.step(MINUTE, 0, 0, vec![]);
        let resolved = alerts.take_due(MINUTE, MINUTE, MINUTE, String::new);
        assert_eq!(resolved[0].ends_at, Some(MINUTE));
        alerts.step(2 * MINUTE, 0, 0, hit());
        let again = alerts.take_due(2 * MINUTE, MINUTE, MINUTE, String::new);
        assert_eq!((again[0].starts_at, again[0].ends_at), (2 * MINUTE, Some(3 * MINUTE)));
    }

    #[test]
    fn firing_alerts_are_sent_again_after_the_resend_delay_only() {
        let mut alerts = Alerts::default();
        alerts.step(0, 0, 0, hit());
        assert_eq!(alerts.take_due(0, MINUTE, MINUTE, String::new).len(), 1);
        assert_eq!(alerts.take_due(MINUTE, MINUTE, MINUTE, String::new).len(), 0);
        assert_eq!(alerts.take_due(MINUTE + 1, MINUTE, MINUTE, String::new).len(), 1);
    }

    #[test]
    fn each_change_is_told_once() {
        let mut alerts = Alerts::default();
        let mut told = Vec::new();
        // Minutes at which the expression holds: `for` two minutes, kept for three.
        for (minute, c) in "x.xxxx.x.....x".chars().enumerate() {
            let hits = if c == 'x' { hit() } else { vec![] };
            let changes = alerts.step(minute as i64 * MINUTE, 2 * MINUTE, 3 * MINUTE, hits);
            told.extend(changes.into_iter().map(|change| (minute, change.what)));
        }
        let expected = [
            (0, Changed::Pending(1.0)),
            (1, Changed::Ended),
            (2, Changed::Pending(1.0)),
            (4, Changed::Firing(1.0, 2 * MINUTE)),
            (6, Changed::Kept),
            (7, Changed::Given(1.0)),
            (8, Changed::Kept),
            (11, Changed::Resolved),
            (13, Changed::Pending(1.0)),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn pending_alerts_are_not_sent() {
        let mut alerts = Alerts::default();
        alerts.step(0, MINUTE, 0, hit());
        assert!(alerts.take_due(0, MINUTE, MINUTE, String::new).is_empty());
        assert_eq!(alerts.series("A").len(), 2);
    }
}
