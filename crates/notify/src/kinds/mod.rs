//! The receivers of the table (`cupola_config::alertmanager::IntegrationConfig`), a file each. What each sends and how it
//! reads the answer is Alertmanager 0.34's, unless it says otherwise.

mod chat;
mod incidentio;
mod jira;
mod mail;
mod mattermost;
mod opsgenie;
mod pagerduty;
mod pushover;
mod rocketchat;
mod slack;
mod sns;
mod teams;
mod telegram;
mod victorops;
mod wechat;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cupola_config::alertmanager::{IntegrationConfig, Item};
use cupola_config::common::{HttpClientConfig, SecretSource};
use cupola_net::{NetError, Request, Response};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Uri};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::data::Notification;
use crate::integration::{MAX_ANSWER, SendError, TIMED_OUT, exchange, expose, user_agent};
use crate::templates::Templates;
use crate::text::truncate;

/// One entry of a receiver.
#[derive(Debug)]
pub(crate) struct Way {
    config: IntegrationConfig,
    templates: Arc<Templates>,
    wechat: wechat::Token,
    slack: slack::Sent,
}

/// One message on its way out.
struct Message<'a> {
    config: &'a IntegrationConfig,
    templates: &'a Templates,
    notification: &'a Notification,
    /// For all that it takes, from `begun` on.
    timeout: Duration,
    begun: Instant,
}

impl Way {
    pub(crate) fn new(config: IntegrationConfig, templates: Arc<Templates>) -> Self {
        Self {
            config,
            templates,
            wechat: wechat::Token::default(),
            slack: slack::Sent::default(),
        }
    }

    pub(crate) fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        self.config.secrets()
    }

    pub(crate) fn http(&self) -> &HttpClientConfig {
        &self.config.http
    }

    /// See [`crate::Integration::notes`].
    pub(crate) fn notes(&self, group_key: &str) -> Option<Vec<(String, String)>> {
        self.updates().then(|| self.slack.notes(&id_of(group_key)))
    }

    /// See [`crate::Integration::recall`].
    pub(crate) fn recall(&self, group_key: &str, notes: &[(String, String)]) {
        if self.updates() {
            self.slack.recall(&id_of(group_key), notes);
        }
    }

    fn updates(&self) -> bool {
        self.config.kind == "slack" && self.config.flag("update_message")
    }

    pub(crate) async fn send(&self, notification: &Notification, timeout: Duration) -> Result<(), SendError> {
        let own = self.config.timeout;
        let message = Message {
            config: &self.config,
            templates: &self.templates,
            notification,
            timeout: if own.is_zero() { timeout } else { timeout.min(own) },
            begun: Instant::now(),
        };
        match self.config.kind {
            "email" => mail::send(&message).await,
            "incidentio" => incidentio::send(&message).await,
            "jira" => jira::send(&message).await,
            "mattermost" => mattermost::send(&message).await,
            "msteams" => teams::send(&message).await,
            "msteamsv2" => teams::send_card(&message).await,
            "opsgenie" => opsgenie::send(&message).await,
            "pagerduty" => pagerduty::send(&message).await,
            "pushover" => pushover::send(&message).await,
            "rocketchat" => rocketchat::send(&message).await,
            "slack" => slack::send(&message, &self.slack).await,
            "sns" => sns::send(&message).await,
            "telegram" => telegram::send(&message).await,
            "victorops" => victorops::send(&message).await,
            "webex" => chat::send_webex(&message).await,
            "wechat" => wechat::send(&message, &self.wechat).await,
            other => Err(SendError::last(format!(
                "receivers of kind {other} are not supported by this version"
            ))),
        }
    }
}

fn id_of(group_key: &str) -> String {
    let hash = Sha256::digest(group_key.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Message<'_> {
    /// How long it may still take. All requests together have one time, as Alertmanager's have one context.
    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.begun.elapsed())
    }

    /// A field of the configuration, expanded.
    fn field(&self, name: &str) -> Result<String, SendError> {
        self.expand(self.config.text(name))
    }

    fn expand(&self, text: &str) -> Result<String, SendError> {
        self.templates.render(text, self.notification)
    }

    /// A field, cut to so many characters.
    fn cut(&self, name: &str, limit: usize) -> Result<String, SendError> {
        Ok(truncate(&self.field(name)?, limit))
    }

    /// A field of a list of maps, expanded; empty where it is missing.
    fn part(&self, item: &Item, name: &str) -> Result<String, SendError> {
        item.get(name).map_or(Ok(String::new()), |text| self.expand(text))
    }

    fn secret(&self, name: &str) -> Result<String, SendError> {
        match self.config.secret(name) {
            Some(source) => expose(source),
            None => Err(SendError::last(format!("{name} is not configured"))),
        }
    }

    /// What other systems call the group by: the same for all messages about it.
    fn id(&self) -> String {
        id_of(&self.notification.group_key)
    }

    async fn post(
        &self,
        url: &str,
        body: &impl Serialize,
        headers: &[(HeaderName, String)],
    ) -> Result<Response, SendError> {
        self.request(Method::POST, url, Some(go_json(body)?), headers).await
    }

    /// Sends one request; an answer that is not a success is an error.
    async fn request(
        &self,
        method: Method,
        url: &str,
        body: Option<Vec<u8>>,
        more: &[(HeaderName, String)],
    ) -> Result<Response, SendError> {
        self.request_with(&self.config.http, method, url, body, more).await
    }

    /// The same, spoken to as `http` says.
    async fn request_with(
        &self,
        http: &HttpClientConfig,
        method: Method,
        url: &str,
        body: Option<Vec<u8>>,
        more: &[(HeaderName, String)],
    ) -> Result<Response, SendError> {
        let response = self.exchange_with(http, method, url, body, more).await?;
        if response.status.is_success() {
            Ok(response)
        } else {
            Err(SendError::of_status(response.status, &response))
        }
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        body: Option<Vec<u8>>,
        more: &[(HeaderName, String)],
    ) -> Result<Response, SendError> {
        self.exchange_with(&self.config.http, method, url, body, more).await
    }

    async fn exchange_with(
        &self,
        http: &HttpClientConfig,
        method: Method,
        url: &str,
        body: Option<Vec<u8>>,
        more: &[(HeaderName, String)],
    ) -> Result<Response, SendError> {
        let url = url.trim().parse::<Uri>().ok().filter(|url| url.host().is_some());
        let bad = || SendError::last("the receiver's URL is not a URL (it is not shown, as it may hold a secret)");
        let url = url.ok_or_else(bad)?;
        let mut headers = HeaderMap::new();
        headers.insert(http::header::USER_AGENT, user_agent());
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in more {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| SendError::last(format!("the value of the header {name} is none")))?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
        let request = Request {
            method,
            url: &url,
            headers,
            body: Bytes::from(body.unwrap_or_default()),
            timeout: self.left(),
            max_body: MAX_ANSWER,
            gzip: false,
            follow_redirects: false,
        };
        exchange(http, request).await.map_err(|error| match error.reason {
            // What was left of it says nothing to people.
            TIMED_OUT => SendError::of_net(&NetError::Timeout(self.timeout)),
            _ => error,
        })
    }
}

/// JSON as Go's encoder writes it: characters of HTML escaped, a line end behind it.
pub(crate) fn go_json(body: &impl Serialize) -> Result<Vec<u8>, SendError> {
    let text = serde_json::to_string(body).map_err(|e| SendError::last(format!("message: {e}")))?;
    // Outside of texts there is none of these.
    let mut out = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out.push('\n');
    Ok(out.into_bytes())
}

fn is_empty<T: AsRef<str>>(text: &T) -> bool {
    text.as_ref().is_empty()
}

/// A yes or no as configurations write it.
fn is_true(text: &str) -> bool {
    matches!(text, "true" | "yes" | "on" | "True" | "TRUE")
}

#[cfg(test)]
mod tests;
