//! What a notification template gets: the group and its alerts.

use super::{Kv, Time};
use crate::value::{Field, Object, Value};

/// One alert of a notification (Alertmanager's `template.Alert`).
#[derive(Debug, Clone)]
pub struct Alert {
    /// `firing` or `resolved`.
    pub status: String,
    /// The alert's labels.
    pub labels: Kv,
    /// The alert's annotations.
    pub annotations: Kv,
    /// Since when it fires.
    pub starts_at: Time,
    /// When it ended; [`Time::zero`] while it fires.
    pub ends_at: Time,
    /// The page of the rule that made it.
    pub generator_url: String,
    /// Its labels' hash, 16 hexadecimal digits.
    pub fingerprint: String,
    /// Whether this is the first message that tells of it as it is now. Templates find such alerts in `.NewAlerts`.
    pub is_new: bool,
}

impl Object for Alert {
    fn type_name(&self) -> &str {
        "template.Alert"
    }

    fn fields(&self) -> &[Field] {
        const FIELDS: [Field; 7] = [
            Field {
                name: "Status",
                json: "status",
            },
            Field {
                name: "Labels",
                json: "labels",
            },
            Field {
                name: "Annotations",
                json: "annotations",
            },
            Field {
                name: "StartsAt",
                json: "startsAt",
            },
            Field {
                name: "EndsAt",
                json: "endsAt",
            },
            Field {
                name: "GeneratorURL",
                json: "generatorURL",
            },
            Field {
                name: "Fingerprint",
                json: "fingerprint",
            },
        ];
        &FIELDS
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Status" => Value::from(self.status.as_str()),
            "Labels" => Value::object(self.labels.clone()),
            "Annotations" => Value::object(self.annotations.clone()),
            "StartsAt" => Value::object(self.starts_at.clone()),
            "EndsAt" => Value::object(self.ends_at.clone()),
            "GeneratorURL" => Value::from(self.generator_url.as_str()),
            "Fingerprint" => Value::from(self.fingerprint.as_str()),
            _ => return None,
        })
    }
}

/// The alerts of a notification (Alertmanager's `template.Alerts`).
#[derive(Debug, Clone)]
pub struct Alerts {
    firing: Value,
    resolved: Value,
    all: Value,
    // Those that are new; `None` where these are they.
    fresh: Option<Box<Alerts>>,
}

impl Alerts {
    /// In the order given.
    #[must_use]
    pub fn new(alerts: Vec<Alert>) -> Self {
        let kinds: Vec<(bool, bool)> = alerts
            .iter()
            .map(|alert| (alert.status == "firing", alert.is_new))
            .collect();
        let all = Value::objects("template.Alert", alerts);
        let only = |wanted: &dyn Fn(bool, bool) -> bool| {
            all.filtered(|i, _| kinds.get(i).is_some_and(|(firing, fresh)| wanted(*firing, *fresh)))
        };
        let fresh = Self {
            firing: only(&|firing, fresh| firing && fresh),
            resolved: only(&|firing, fresh| !firing && fresh),
            all: only(&|_, fresh| fresh),
            fresh: None,
        };
        Self {
            firing: only(&|firing, _| firing),
            resolved: only(&|firing, _| !firing),
            all,
            fresh: Some(Box::new(fresh)),
        }
    }
}

impl Object for Alerts {
    fn type_name(&self) -> &str {
        "template.Alerts"
    }

    fn underlying(&self) -> Option<Value> {
        Some(self.all.clone())
    }

    fn methods(&self) -> &[(&'static str, usize)] {
        &[("Firing", 0), ("Resolved", 0)]
    }

    fn call(&self, name: &str, _: &[Value]) -> Result<Value, String> {
        Ok(if name == "Firing" {
            self.firing.clone()
        } else {
            self.resolved.clone()
        })
    }
}

/// The dot of a notification template (Alertmanager's `template.Data`).
#[derive(Debug, Clone)]
pub struct Data {
    /// The receiver's name, as Alertmanager gives it: quoted as a regular expression.
    pub receiver: String,
    /// `firing` where any alert fires, else `resolved`.
    pub status: String,
    /// The alerts of the group.
    pub alerts: Alerts,
    /// The labels the group is grouped by.
    pub group_labels: Kv,
    /// The labels all alerts share.
    pub common_labels: Kv,
    /// The annotations all alerts share.
    pub common_annotations: Kv,
    /// Where this Alertmanager is reached, without a slash at the end.
    pub external_url: String,
    /// Why the notification is sent (since Alertmanager 0.32); may be empty.
    pub notification_reason: String,
    /// The labels of the route (since Alertmanager 0.34).
    pub route_labels: Kv,
}

impl Object for Data {
    fn type_name(&self) -> &str {
        "template.Data"
    }

    // Ours: of the whole group, which Alertmanager sends again with each change, only what has changed.
    fn methods(&self) -> &[(&'static str, usize)] {
        &[("NewAlerts", 0)]
    }

    fn call(&self, _: &str, _: &[Value]) -> Result<Value, String> {
        let fresh = self.alerts.fresh.as_deref().unwrap_or(&self.alerts);
        Ok(Value::object(fresh.clone()))
    }

    fn fields(&self) -> &[Field] {
        const FIELDS: [Field; 9] = [
            Field {
                name: "Receiver",
                json: "receiver",
            },
            Field {
                name: "Status",
                json: "status",
            },
            Field {
                name: "Alerts",
                json: "alerts",
            },
            Field {
                name: "NotificationReason",
                json: "notification_reason",
            },
            Field {
                name: "GroupLabels",
                json: "groupLabels",
            },
            Field {
                name: "CommonLabels",
                json: "commonLabels",
            },
            Field {
                name: "CommonAnnotations",
                json: "commonAnnotations",
            },
            Field {
                name: "ExternalURL",
                json: "externalURL",
            },
            Field {
                name: "RouteLabels",
                json: "routeLabels",
            },
        ];
        &FIELDS
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Receiver" => Value::from(self.receiver.as_str()),
            "Status" => Value::from(self.status.as_str()),
            "Alerts" => Value::object(self.alerts.clone()),
            "GroupLabels" => Value::object(self.group_labels.clone()),
            "CommonLabels" => Value::object(self.common_labels.clone()),
            "CommonAnnotations" => Value::object(self.common_annotations.clone()),
            "ExternalURL" => Value::from(self.external_url.as_str()),
            "NotificationReason" => Value::from(self.notification_reason.as_str()),
            "RouteLabels" => Value::object(self.route_labels.clone()),
            _ => return None,
        })
    }
}
