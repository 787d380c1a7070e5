//! One configured way out, and how sending can fail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cupola_config::alertmanager::Receiver;
use cupola_config::common::{Auth, HttpClientConfig, SecretSource};
use cupola_model::query_escape;
use cupola_net::{NetError, Peer, Request, Response};
use http::header::{CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, StatusCode, Uri};
use thiserror::Error;

use crate::data::Notification;
use crate::discord::Discord;
use crate::kinds;
use crate::rehearsal::note;
use crate::templates::Templates;
use crate::webhook::Webhook;

// A receiver's answer is read for its error text only.
pub(crate) const MAX_ANSWER: usize = 64 << 10;
const SHORTEST_SECRET: usize = 4;
const SHORTEST_TOKEN: usize = 8;
/// The [`SendError::reason`] of what took too long.
pub(crate) const TIMED_OUT: &str = "contextDeadlineExceeded";

/// Why a notification did not arrive.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct SendError {
    /// What happened, without secrets.
    pub message: String,
    /// Whether trying again can help.
    pub retry: bool,
    /// How long the receiver asks to wait before that.
    pub retry_after: Option<Duration>,
    /// The class that `alertmanager_notifications_failed_total` counts: `clientError`, `serverError`,
    /// `contextDeadlineExceeded`, `rateLimited`, `other`.
    pub reason: &'static str,
}

impl SendError {
    pub(crate) fn last(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retry: false,
            retry_after: None,
            reason: "other",
        }
    }

    pub(crate) fn of_net(error: &NetError) -> Self {
        let reason = if matches!(error, NetError::Timeout(_)) {
            TIMED_OUT
        } else {
            "other"
        };
        // A certificate or URL that cannot be used does not get better by itself, but files may be replaced.
        Self {
            message: error.to_string(),
            retry: true,
            retry_after: None,
            reason,
        }
    }

    pub(crate) fn of_status(status: StatusCode, response: &Response) -> Self {
        let text = String::from_utf8_lossy(&response.body);
        let text: String = text.trim().chars().take(300).collect();
        let told = if text.is_empty() {
            String::new()
        } else {
            format!(": {text}")
        };
        let limited = status == StatusCode::TOO_MANY_REQUESTS;
        Self {
            message: format!("unexpected status code {}{told}", status.as_u16()),
            retry: status.is_server_error() || limited,
            retry_after: asked_to_wait(&response.headers, &response.body),
            reason: match status {
                _ if limited => "rateLimited",
                _ if status.is_client_error() => "clientError",
                _ if status.is_server_error() => "serverError",
                _ => "other",
            },
        }
    }
}

// How long the other side asks to wait, less than a day. Discord (`retry_after`) and Telegram (`parameters.retry_after`)
// say it to the millisecond in their JSON, and rounded in the header, which can also be a moment.
fn asked_to_wait(headers: &HeaderMap, body: &[u8]) -> Option<Duration> {
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let in_body = body.and_then(|body| {
        let said = body
            .get("retry_after")
            .or_else(|| body.get("parameters")?.get("retry_after"))?;
        said.as_f64()
    });
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let in_header = || {
        let said = text(RETRY_AFTER)?.trim();
        let moment = |text: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
        // By their clock: ours may be another.
        let until = || Some(moment(said)?.as_second() - moment(text(DATE)?)?.as_second());
        said.parse::<f64>()
            .ok()
            .or_else(|| until().map(|seconds| seconds.max(0) as f64))
    };
    let seconds = in_body.or_else(in_header)?;
    (0.0..86_400.0)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

/// One entry of a receiver: `webhook[0]`, `discord[1]`.
#[derive(Debug)]
pub struct Integration {
    kind: &'static str,
    index: usize,
    send_resolved: bool,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Webhook(Webhook),
    Discord(Discord),
    Other(Box<kinds::Way>),
}

impl Integration {
    /// All integrations of a receiver, in the order of Alertmanager's kinds.
    #[must_use]
    pub fn of(receiver: &Receiver, templates: &Arc<Templates>) -> Vec<Self> {
        let discords = receiver.discord_configs.iter().enumerate().map(|(index, config)| Self {
            kind: "discord",
            index,
            send_resolved: config.send_resolved,
            way: Way::Discord(Discord::new(config.clone(), templates.clone())),
        });
        let webhooks = receiver.webhook_configs.iter().enumerate().map(|(index, config)| Self {
            kind: "webhook",
            index,
            send_resolved: config.send_resolved,
            way: Way::Webhook(Webhook::new(config.clone(), templates.clone())),
        });
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        let others = receiver.integrations.iter().map(|config| {
            let count = counts.entry(config.kind).or_default();
            *count += 1;
            Self {
                kind: config.kind,
                index: *count - 1,
                send_resolved: config.send_resolved,
                way: Way::Other(Box::new(kinds::Way::new(config.clone(), templates.clone()))),
            }
        });
        discords.chain(webhooks).chain(others).collect()
    }

    /// `webhook`, `discord`, `email` ..., as metrics and the notification log name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its place among those of its kind.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether it wants to be told of resolved alerts.
    #[must_use]
    pub fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    /// What it has to know of a group for its next message and does not keep itself, by name: where Slack's message is
    /// that `update_message` changes. `None` where it needs nothing.
    #[must_use]
    pub fn notes(&self, group_key: &str) -> Option<Vec<(String, String)>> {
        match &self.way {
            Way::Other(way) => way.notes(group_key),
            Way::Webhook(_) | Way::Discord(_) => None,
        }
    }

    /// Gives back the notes of an earlier process; what it knows already stays.
    pub fn recall(&self, group_key: &str, notes: &[(String, String)]) {
        if let Way::Other(way) = &self.way {
            way.recall(group_key, notes);
        }
    }

    /// Makes one attempt that takes at most `timeout`.
    ///
    /// # Errors
    /// [`SendError`] says whether another attempt can help.
    pub async fn send(&self, notification: &Notification, timeout: Duration) -> Result<(), SendError> {
        let sent = match &self.way {
            Way::Webhook(webhook) => webhook.send(notification, timeout).await,
            Way::Discord(discord) => discord.send(notification, timeout).await,
            Way::Other(way) => way.send(notification, timeout).await,
        };
        sent.map_err(|error| SendError {
            message: hidden(&error.message, &self.secrets()),
            ..error
        })
    }

    /// Its secrets as they stand now, and as they stand in a URL: what a receiver answers may repeat them, as many a web
    /// server repeats the path that it does not know.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let (own, http): (Vec<&SecretSource>, _) = match &self.way {
            Way::Webhook(webhook) => (vec![webhook.url()], webhook.http()),
            Way::Discord(discord) => (vec![discord.url()], discord.http()),
            Way::Other(way) => (way.secrets().collect(), way.http()),
        };
        let own = own.into_iter().cloned();
        let mut all = Vec::new();
        for secret in own.chain(of_http(http)) {
            let Ok(secret) = expose(&secret) else { continue };
            let secret = secret.trim();
            all.extend([secret.to_owned(), query_escape(secret)]);
            let url = secret.parse::<Uri>().ok().filter(|url| url.host().is_some());
            if let Some(path) = url.as_ref().and_then(Uri::path_and_query) {
                all.extend([path.as_str().to_owned(), path.path().to_owned()]);
                // The token is the last part, mostly, or what a parameter says.
                let last = path.path().rsplit('/').next();
                let values = path.query().unwrap_or_default().split('&');
                let values = values.filter_map(|pair| Some(pair.split_once('=')?.1));
                let tokens = last
                    .into_iter()
                    .chain(values)
                    .filter(|token| token.len() >= SHORTEST_TOKEN);
                all.extend(tokens.map(str::to_owned));
            }
        }
        // What is as short as this is no secret, and is in every other text.
        all.retain(|secret| secret.len() >= SHORTEST_SECRET);
        // The longest first: a URL has its path in it.
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all.dedup();
        all
    }
}

// What is sent with each request and must not be shown.
fn of_http(http: &HttpClientConfig) -> Vec<SecretSource> {
    let mut all = Vec::new();
    match &http.auth {
        Some(Auth::Basic { username, password }) => {
            // A name that stands in the configuration is no secret.
            let name = username.iter().filter(|name| matches!(name, SecretSource::File(_)));
            all.extend(name.chain(password).cloned());
        }
        Some(Auth::Authorization { credentials, .. }) => all.extend(credentials.clone()),
        _ => {}
    }
    for header in http.http_headers.values() {
        all.extend(header.secrets.iter().cloned().map(SecretSource::Inline));
        all.extend(header.files.iter().cloned().map(SecretSource::File));
    }
    all
}

/// The text without these.
pub(crate) fn hidden(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| {
        text.replace(secret.as_str(), "<secret>")
    })
}

/// The URL of a receiver. It often holds a token, so no error shows it.
pub(crate) fn secret_url(text: &str) -> Result<Uri, SendError> {
    let url = text.trim().parse::<Uri>().ok().filter(|u| u.host().is_some());
    url.ok_or_else(|| SendError::last("the receiver's URL is not a URL (it is not shown, as it may hold a secret)"))
}

/// The text of a secret, from its file where it lies in one.
pub(crate) fn expose(source: &SecretSource) -> Result<String, SendError> {
    cupola_net::expose(source).map_err(|e| SendError {
        retry: true,
        ..SendError::last(e.to_string())
    })
}

/// How we call ourselves to receivers.
pub(crate) fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("Alertmanager/0.34.0 (Cupola/", env!("CARGO_PKG_VERSION"), ")"))
}

/// Sends a request; whatever is answered is an answer.
pub(crate) async fn exchange(http: &HttpClientConfig, request: Request<'_>) -> Result<Response, SendError> {
    let (method, url, body) = (request.method.clone(), request.url, request.body.clone());
    let mut peer = Peer::new(http);
    // Its status says whether the message was taken, whatever becomes of the rest.
    peer.cut_bodies();
    let response = peer.send(request).await.map_err(|e| SendError::of_net(&e))?;
    note(&method, url, &body, response.status.as_u16(), &response.body);
    Ok(response)
}

/// Posts `body` as JSON; any 2xx is success.
pub(crate) async fn post_json(
    http: &HttpClientConfig,
    url: &Uri,
    body: Vec<u8>,
    timeout: Duration,
) -> Result<(), SendError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, user_agent());
    let request = Request {
        method: Method::POST,
        url,
        headers,
        body: Bytes::from(body),
        timeout,
        max_body: MAX_ANSWER,
        gzip: false,
        follow_redirects: false,
    };
    let response = exchange(http, request).await?;
    if response.status.is_success() {
        Ok(())
    } else {
        Err(SendError::of_status(response.status, &response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_says_in_its_json_or_its_header_how_long_to_wait() {
        let asked = |headers: &[(&'static str, &'static str)], body: &str| {
            let headers = headers.iter().map(|(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            asked_to_wait(&headers.collect(), body.as_bytes()).map(|wait| wait.as_millis())
        };
        let discord = r#"{"message": "You are being rate limited.", "retry_after": 0.312, "global": false}"#;
        assert_eq!(asked(&[("retry-after", "1")], discord), Some(312));
        let telegram = r#"{"ok":false,"error_code":429,"parameters":{"retry_after":7}}"#;
        assert_eq!(asked(&[], telegram), Some(7_000));
        assert_eq!(asked(&[("retry-after", "2.5")], "slow down"), Some(2_500));
        let moment = ("retry-after", "Thu, 26 Nov 2026 18:00:09 GMT");
        let before = ("date", "Thu, 26 Nov 2026 18:00:00 GMT");
        assert_eq!(asked(&[moment, before], ""), Some(9_000));
        assert_eq!(asked(&[("retry-after", before.1), ("date", moment.1)], ""), Some(0));
        for nonsense in ["-1", "1e9", "NaN", "soon", ""] {
            assert_eq!(asked(&[("retry-after", nonsense)], "[]"), None, "{nonsense}");
        }
        assert_eq!(asked(&[moment], r#"{"retry_after": "x"}"#), None, "by whose clock?");
    }
}
