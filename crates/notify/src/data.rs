//! What a receiver is told: the data of templates and of the webhook's JSON (Alertmanager 0.34, `template.Data`).

use std::collections::BTreeMap;

use cupola_model::Labels;
use serde::{Serialize, Serializer};

use crate::kinds::go_json;

/// One alert of a notification. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct NotifiedAlert {
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// Since when it fires.
    pub starts_at: i64,
    /// When it ended; `None` while it fires.
    pub ends_at: Option<i64>,
    /// Where its expression can be looked at.
    pub generator_url: String,
    /// Whether the integration was not told of it as it is now; for `.NewAlerts` in templates.
    pub is_new: bool,
}

/// One message about one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// The receiver's name.
    pub receiver: String,
    /// The alerts, ordered by job, instance, then the other labels.
    pub alerts: Vec<NotifiedAlert>,
    /// The labels that make the group.
    pub group_labels: Labels,
    /// For links back to the alerts.
    pub external_url: String,
    /// Names the group: route and labels.
    pub group_key: String,
    /// Why it is sent now, in Alertmanager's words.
    pub reason: &'static str,
    /// Labels of the route.
    pub route_labels: BTreeMap<String, String>,
}

impl Notification {
    /// Whether any alert fires.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.alerts.iter().any(|a| a.ends_at.is_none())
    }

    /// `firing` or `resolved`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        status(self.is_firing())
    }

    /// The receiver's name as messages carry it: quoted as a regular expression (Go's `regexp.QuoteMeta`).
    pub(crate) fn quoted_receiver(&self) -> String {
        let mut out = String::with_capacity(self.receiver.len());
        for c in self.receiver.chars() {
            if r"\.+*?()|[]{}^$".contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
        out
    }

    /// The labels that all alerts share.
    #[must_use]
    pub fn common_labels(&self) -> Labels {
        common(self.alerts.iter().map(|a| &a.labels))
    }

    /// The annotations that all alerts share.
    #[must_use]
    pub fn common_annotations(&self) -> Labels {
        common(self.alerts.iter().map(|a| &a.annotations))
    }

    /// The webhook's JSON, with at most `max_alerts` alerts; 0 means all.
    pub(crate) fn webhook_body(&self, max_alerts: usize) -> Vec<u8> {
        let shown = if max_alerts == 0 {
            self.alerts.len()
        } else {
            self.alerts.len().min(max_alerts)
        };
        // What is said of all alerts is said of those that are shown, as in Alertmanager.
        let told = Self {
            alerts: self.alerts.iter().take(shown).cloned().collect(),
            ..self.clone()
        };
        let body = Body {
            receiver: self.quoted_receiver(),
            status: told.status(),
            alerts: told.alerts.iter().map(AlertBody::of).collect(),
            group_labels: Pairs(&self.group_labels),
            common_labels: Pairs(&told.common_labels()),
            common_annotations: Pairs(&told.common_annotations()),
            external_url: &self.external_url,
            notification_reason: self.reason,
            route_labels: &self.route_labels,
            version: "4",
            group_key: &self.group_key,
            truncated_alerts: self.alerts.len() - shown,
        };
        // Only maps with keys that are no texts could fail here.
        go_json(&body).unwrap_or_default()
    }
}

fn status(firing: bool) -> &'static str {
    if firing { "firing" } else { "resolved" }
}

fn common<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Labels {
    let Some(first) = sets.next() else {
        return Labels::empty();
    };
    let mut shared: Vec<(&str, &str)> = first.iter().collect();
    for set in sets {
        shared.retain(|(name, value)| set.get(name) == Some(value));
    }
    Labels::from_pairs(shared)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    receiver: String,
    status: &'static str,
    alerts: Vec<AlertBody<'a>>,
    group_labels: Pairs<'a>,
    common_labels: Pairs<'a>,
    common_annotations: Pairs<'a>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    #[serde(rename = "notification_reason")]
    notification_reason: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    route_labels: &'a BTreeMap<String, String>,
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertBody<'a> {
    status: &'static str,
    labels: Pairs<'a>,
    annotations: Pairs<'a>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

impl<'a> AlertBody<'a> {
    fn of(alert: &'a NotifiedAlert) -> Self {
        Self {
            status: status(alert.ends_at.is_none()),
            labels: Pairs(&alert.labels),
            annotations: Pairs(&alert.annotations),
            starts_at: rfc3339(Some(alert.starts_at)),
            ends_at: rfc3339(alert.ends_at),
            generator_url: &alert.generator_url,
            fingerprint: format!("{:016x}", alert.labels.fingerprint()),
        }
    }
}

/// Labels as the JSON object that Alertmanager's interfaces carry.
#[derive(Debug)]
pub struct Pairs<'a>(pub &'a Labels);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0)
    }
}

/// A moment as Go writes it in JSON; its zero time stands for "no end yet".
#[must_use]
pub fn rfc3339(ms: Option<i64>) -> String {
    let time = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |t| t.to_string())
}

#[cfg(test)]
pub(crate) fn example(firing: bool) -> Notification {
    Notification {
        receiver: "team".into(),
        alerts: vec![NotifiedAlert {
            is_new: true,
            labels: Labels::from_pairs([("alertname", "Down"), ("instance", "a"), ("severity", "critical")]),
            annotations: Labels::from_pairs([("summary", "a is down")]),
            starts_at: 1_000,
            ends_at: (!firing).then_some(61_500),
            generator_url: "http://localhost/graph".into(),
        }],
        group_labels: Labels::from_pairs([("alertname", "Down")]),
        external_url: "http://localhost".into(),
        group_key: "{}:{alertname=\"Down\"}".into(),
        reason: "first notification",
        route_labels: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_webhook_body_is_alertmanagers() {
        let json: serde_json::Value = serde_json::from_slice(&example(false).webhook_body(0)).unwrap();
        let expected = serde_json::json!({
            "receiver": "team",
            "status": "resolved",
            "alerts": [{
                "status": "resolved",
                "labels": {"alertname": "Down", "instance": "a", "severity": "critical"},
                "annotations": {"summary": "a is down"},
                "startsAt": "1970-01-01T00:00:01Z",
                "endsAt": "1970-01-01T00:01:01.5Z",
                "generatorURL": "http://localhost/graph",
                "fingerprint": format!("{:016x}", example(true).alerts[0].labels.fingerprint()),
            }],
            "groupLabels": {"alertname": "Down"},
            "commonLabels": {"alertname": "Down", "instance": "a", "severity": "critical"},
            "commonAnnotations": {"summary": "a is down"},
            "externalURL": "http://localhost",
            "notification_reason": "first notification",
            "version": "4",
            "groupKey": "{}:{alertname=\"Down\"}",
            "truncatedAlerts": 0,
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_firing_alert_has_gos_zero_time_as_its_end() {
        let json: serde_json::Value = serde_json::from_slice(&example(true).webhook_body(0)).unwrap();
        assert_eq!(json["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
        assert_eq!(json["status"], "firing");
    }

    #[test]
    fn more_alerts_than_wanted_are_counted_not_sent() {
        let mut notification = example(true);
        notification.alerts.extend(example(false).alerts);
        let json: serde_json::Value = serde_json::from_slice(&notification.webhook_body(1)).unwrap();
        assert_eq!(
            (json["alerts"].as_array().unwrap().len(), &json["truncatedAlerts"]),
            (1, &1.into())
        );
    }
}
