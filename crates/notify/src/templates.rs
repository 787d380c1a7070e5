//! The templates of notifications: Alertmanager's defaults, then the configuration's files.

#[cfg(test)]
use std::sync::Arc;

use cupola_gotemplate::{Alert, Alerts, Data, Kv, ParseError, Set, Time, Value, notification_set};
use thiserror::Error;

use crate::data::{Notification, NotifiedAlert};
use crate::integration::SendError;

/// A template file that is broken.
#[derive(Debug, Error)]
#[error("template file {file}:{}:{}: {}", .source.line, .source.column, .source.message)]
pub struct TemplateError {
    /// Its name.
    pub file: String,
    /// Where and why.
    #[source]
    pub source: ParseError,
}

/// All templates that notifications may use.
pub struct Templates {
    set: Set,
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Templates")
    }
}

impl Templates {
    /// The defaults and `files`, pairs of name and text; a later definition replaces an earlier one. `now_ms` tells the
    /// time to templates that ask for it.
    ///
    /// # Errors
    /// [`TemplateError`] for the first file that is broken.
    pub fn new(
        files: &[(String, String)],
        now_ms: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Result<Self, TemplateError> {
        let now = move || Time::from_unix_ms(now_ms());
        let mut set = notification_set(now).map_err(|source| TemplateError {
            file: "default.tmpl".into(),
            source,
        })?;
        for (file, text) in files {
            set.add(file, text).map_err(|source| TemplateError {
                file: file.clone(),
                source,
            })?;
        }
        Ok(Self { set })
    }

    /// Expands `text` with the data of a notification.
    pub(crate) fn render(&self, text: &str, notification: &Notification) -> Result<String, SendError> {
        let all: Vec<&NotifiedAlert> = notification.alerts.iter().collect();
        self.render_some(text, notification, &all)
    }

    /// As [`Templates::render`], as if there were only these of the notification's alerts; what is said of all alerts
    /// together is said of all of them nevertheless.
    pub(crate) fn render_some(
        &self,
        text: &str,
        notification: &Notification,
        alerts: &[&NotifiedAlert],
    ) -> Result<String, SendError> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let data = Value::object(data(notification, alerts));
        self.set
            .execute_text(text, &data)
            .map_err(|e| SendError::last(format!("template: {e}")))
    }
}

impl Templates {
    /// As [`Templates::render`], for a text that is HTML: values are escaped by where they stand.
    pub(crate) fn render_html(&self, text: &str, notification: &Notification) -> Result<String, SendError> {
        let all: Vec<&NotifiedAlert> = notification.alerts.iter().collect();
        let data = Value::object(data(notification, &all));
        self.set
            .execute_html(text, &data)
            .map_err(|e| SendError::last(format!("template: {e}")))
    }
}

fn data(notification: &Notification, alerts: &[&NotifiedAlert]) -> Data {
    let alerts = alerts.iter().map(|alert| Alert {
        status: if alert.ends_at.is_none() { "firing" } else { "resolved" }.to_owned(),
        labels: Kv::new(&alert.labels),
        annotations: Kv::new(&alert.annotations),
        starts_at: Time::from_unix_ms(alert.starts_at),
        ends_at: alert.ends_at.map_or_else(Time::zero, Time::from_unix_ms),
        generator_url: alert.generator_url.clone(),
        fingerprint: format!("{:016x}", alert.labels.fingerprint()),
        is_new: alert.is_new,
    });
    Data {
        receiver: notification.quoted_receiver(),
        status: notification.status().to_owned(),
        alerts: Alerts::new(alerts.collect()),
        group_labels: Kv::new(&notification.group_labels),
        common_labels: Kv::new(&notification.common_labels()),
        common_annotations: Kv::new(&notification.common_annotations()),
        external_url: notification.external_url.clone(),
        notification_reason: notification.reason.to_owned(),
        route_labels: Kv::new(&notification.route_labels),
    }
}

#[cfg(test)]
impl Templates {
    /// Alertmanager's defaults, for tests.
    pub(crate) fn defaults() -> Arc<Self> {
        Arc::new(Self::new(&[], || 0).expect("the defaults parse"))
    }
}
