//! The generic webhook (Alertmanager 0.34): the group as JSON, version "4".

use std::sync::Arc;
use std::time::Duration;

use cupola_config::alertmanager::WebhookConfig;
use cupola_config::common::{HttpClientConfig, SecretSource};

use crate::anything::expand_all;
use crate::data::Notification;
use crate::integration::{SendError, expose, post_json, secret_url};
use crate::kinds::go_json;
use crate::templates::Templates;

#[derive(Debug)]
pub(crate) struct Webhook {
    config: WebhookConfig,
    templates: Arc<Templates>,
}

impl Webhook {
    pub(crate) fn new(config: WebhookConfig, templates: Arc<Templates>) -> Self {
        Self { config, templates }
    }

    pub(crate) fn url(&self) -> &SecretSource {
        &self.config.url
    }

    pub(crate) fn http(&self) -> &HttpClientConfig {
        &self.config.http
    }

    pub(crate) async fn send(&self, notification: &Notification, timeout: Duration) -> Result<(), SendError> {
        let text = expose(&self.config.url)?;
        // Only a URL that stands in the configuration is a template.
        let text = match self.config.url {
            SecretSource::Inline(_) => self.templates.render(&text, notification)?,
            SecretSource::File(_) => text,
        };
        let url = secret_url(&text)?;
        let limit = usize::try_from(self.config.max_alerts).unwrap_or(usize::MAX);
        let body = match &self.config.payload {
            Some(payload) => {
                let mut shown = notification.clone();
                if limit > 0 {
                    shown.alerts.truncate(limit);
                }
                let expand = |text: &str| self.templates.render(text, &shown);
                go_json(&expand_all(payload, &expand)?)?
            }
            None => notification.webhook_body(limit),
        };
        let timeout = if self.config.timeout.is_zero() {
            timeout
        } else {
            timeout.min(self.config.timeout)
        };
        post_json(&self.config.http, &url, body, timeout).await
    }
}
