//! OAuth 2: a token is fetched with the client's own credentials, or with an assertion, and sent until it is about to
//! expire. What is sent and how answers are read is golang.org/x/oauth2's, on which upstream stands.

mod answer;
mod assertion;
mod google;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use cupola_config::common::{GrantType, HttpClientConfig, OAuth2Config, Secret};
use cupola_model::query_escape;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Uri};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::peer::secret_value;
use crate::{NetError, Peer, Request, expose};
use answer::Fetched;
pub(crate) use google::{Google, find as google};

// A token is given up that long before it expires.
const BEFORE_EXPIRY: Duration = Duration::from_secs(10);
// A token that a peer refuses is fetched anew, but not more often than this.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(60);
// Elsewhere than on a machine of Google's nobody answers at its address.
const LONGEST_OF_MACHINE: Duration = Duration::from_secs(5);
// As Go's client.
const MAX_ANSWER: usize = 1 << 20;
// Beyond it the oldest are forgotten of which no peer knows any more.
const KEPT_SOURCES: usize = 64;

// A token belongs to a client's id and not to a connection: thousands of targets of a job share one, and a receiver, which
// is a new peer with each message, finds the last one's again.
static SOURCES: Mutex<Vec<Arc<TokenSource>>> = Mutex::new(Vec::new());

/// Fetches and keeps the token of one `oauth2:` section.
#[derive(Debug)]
pub(crate) struct TokenSource {
    config: OAuth2Config,
    // One fetches, the others wait.
    turn: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    // What the token was fetched with; another secret makes another token.
    secret: String,
    // How this server wants to be told who we are, once that is known.
    style: Option<Style>,
    // How often it was tried, and how the last time ended.
    tries: u64,
    failed: Option<String>,
}

/// A token that was fetched.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// The value of `Authorization`.
    pub value: HeaderValue,
    fetched: Instant,
    expires: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    InHeader,
    InBody,
}

impl TokenSource {
    /// The source of this section, the same for all that have it.
    pub(crate) fn shared(config: &OAuth2Config) -> Arc<Self> {
        let mut sources = SOURCES.lock();
        if let Some(found) = sources.iter().find(|source| source.config == *config) {
            return found.clone();
        }
        let source = Arc::new(Self {
            config: config.clone(),
            turn: Semaphore::new(1),
            state: Mutex::default(),
        });
        if sources.len() >= KEPT_SOURCES
            && let Some(at) = sources.iter().position(|source| Arc::strong_count(source) == 1)
        {
            sources.remove(at);
        }
        sources.push(source.clone());
        source
    }

    /// A token that is valid for a while, fetched if need be. Whoever calls sets the deadline; `agent` is the caller's.
    ///
    /// # Errors
    /// [`NetError::Token`]; all that have waited for one try get its error.
    pub(crate) async fn token(&self, agent: Option<&HeaderValue>, timeout: Duration) -> Result<Token, NetError> {
        let secret = self.secret()?;
        let before = {
            let state = self.state.lock();
            if let Some(token) = state.valid(&secret) {
                return Ok(token);
            }
            state.tries
        };
        let _turn = self
            .turn
            .acquire()
            .await
            .map_err(|error| self.failed(error.to_string()))?;
        let style = {
            let state = self.state.lock();
            if let Some(token) = state.valid(&secret) {
                return Ok(token);
            }
            if let Some(reason) = state.failed.clone().filter(|_| state.tries != before) {
                return Err(self.failed(reason));
            }
            state.style
        };
        let fetched = self.fetch(&secret, style, agent, timeout).await;
        let mut state = self.state.lock();
        state.tries += 1;
        state.secret = secret;
        match fetched {
            Ok((token, style)) => {
                state.token = Some(token.clone());
                state.style = Some(style);
                state.failed = None;
                Ok(token)
            }
            Err(reason) => {
                state.failed = Some(reason.clone());
                Err(self.failed(reason))
            }
        }
    }

    /// A peer has answered that `token` is not good. Upstream goes on sending it until it expires.
    pub(crate) fn refused(&self, token: &Token) {
        let mut state = self.state.lock();
        let is_same = state.token.as_ref().is_some_and(|kept| kept.value == token.value);
        if is_same && token.fetched.elapsed() >= BETWEEN_REFUSALS {
            state.token = None;
        }
    }

    fn secret(&self) -> Result<String, NetError> {
        let (source, what) = match self.config.grant_type {
            GrantType::ClientCredentials
            | GrantType::OfMachine
            | GrantType::RefreshToken
            | GrantType::OfGoogleMachine => (&self.config.client_secret, "client secret"),
            GrantType::ClientAssertion => (&self.config.client_secret, "client assertion"),
            GrantType::JwtBearer | GrantType::ServiceAccount => {
                (&self.config.client_certificate_key, "client certificate key")
            }
        };
        let text = source.as_ref().map(expose).transpose();
        text.map(Option::unwrap_or_default)
            .map_err(|error| self.failed(format!("unable to read oauth2 {what}: {error}")))
    }

    /// No token, and why.
    pub(crate) fn failed(&self, reason: String) -> NetError {
        let url = self.config.token_url.split(['?', '#']).next().unwrap_or_default();
        let url = match url.split_once("://") {
            Some((scheme, rest)) => match rest.split_once('/') {
                Some((host, path)) => format!("{scheme}://{}/{path}", after_user(host)),
                None => format!("{scheme}://{}", after_user(rest)),
            },
            None => url.to_owned(),
        };
        NetError::Token { url, reason }
    }

    async fn fetch(
        &self,
        secret: &str,
        known: Option<Style>,
        agent: Option<&HeaderValue>,
        timeout: Duration,
    ) -> Result<(Token, Style), String> {
        let config = &self.config;
        let signed;
        let more: Option<Vec<(&str, &str)>> = match config.grant_type {
            GrantType::ClientCredentials => None,
            GrantType::JwtBearer | GrantType::ServiceAccount => {
                signed = assertion::signed(config, secret)?;
                Some(vec![("assertion", &signed)])
            }
            GrantType::ClientAssertion => Some(vec![
                ("client_id", &config.client_id),
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
                ("client_assertion", secret),
            ]),
            GrantType::RefreshToken => Some(vec![
                ("client_id", &config.client_id),
                ("client_secret", secret),
                (
                    "refresh_token",
                    config.refresh_token.as_ref().map_or("", Secret::expose),
                ),
            ]),
            GrantType::OfMachine | GrantType::OfGoogleMachine => Some(Vec::new()),
        };
        if let Some(more) = more {
            let token = self.post(self.form(&more)?, None, agent, timeout).await;
            let told = |failure: Failure| match (failure, config.grant_type) {
                (Failure::Other(reason), GrantType::OfGoogleMachine) => format!("{reason}{}", google::NOWHERE_ELSE),
                (failure, _) => failure.told(),
            };
            return Ok((token.map_err(told)?, Style::InBody));
        }
        // RFC 6749 wants both escaped before they become basic authentication.
        let pair = format!("{}:{}", query_escape(&config.client_id), query_escape(secret));
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        let plain = self.form(&[])?;
        if known != Some(Style::InBody) {
            match self.post(plain, Some(&basic), agent, timeout).await {
                Ok(token) => return Ok((token, Style::InHeader)),
                // Some servers want it in the body; which, only an answer can tell.
                Err(Failure::Answer(_)) if known.is_none() => {}
                Err(failure) => return Err(failure.told()),
            }
        }
        let mut who = vec![("client_id", config.client_id.as_str())];
        if !secret.is_empty() {
            who.push(("client_secret", secret));
        }
        let token = self.post(self.form(&who)?, None, agent, timeout).await;
        token.map(|token| (token, Style::InBody)).map_err(Failure::told)
    }

    fn form(&self, more: &[(&str, &str)]) -> Result<String, String> {
        let grant = match self.config.grant_type {
            GrantType::ClientCredentials
            | GrantType::ClientAssertion
            | GrantType::OfMachine
            | GrantType::OfGoogleMachine => "client_credentials",
            GrantType::RefreshToken => "refresh_token",
            GrantType::JwtBearer | GrantType::ServiceAccount => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        };
        let scope = self.config.scopes.join(" ");
        let mut fields = BTreeMap::from([("grant_type", grant)]);
        // The assertion has it already.
        let is_asserted = matches!(self.config.grant_type, GrantType::JwtBearer | GrantType::ServiceAccount);
        if !scope.is_empty() && !is_asserted {
            fields.insert("scope", &scope);
        }
        for (name, value) in &self.config.endpoint_params {
            // The grant may be written over, for servers that call it otherwise.
            if fields.insert(name, value).is_some() && name != "grant_type" {
                return Err(format!("endpoint_params cannot overwrite {name:?}"));
            }
        }
        fields.extend(more.iter().copied());
        let fields = fields
            .iter()
            .map(|(k, v)| format!("{}={}", query_escape(k), query_escape(v)));
        Ok(fields.collect::<Vec<String>>().join("&"))
    }

    async fn post(
        &self,
        form: String,
        basic: Option<&str>,
        agent: Option<&HeaderValue>,
        timeout: Duration,
    ) -> Result<Token, Failure> {
        let no_url = || Failure::Other("token_url is no URL".to_owned());
        let url: Uri = self.config.token_url.trim().parse().map_err(|_| no_url())?;
        let mut headers = HeaderMap::new();
        let mut timeout = timeout;
        // What a GET carries shows that no proxy and no redirect has led here.
        let is_get = match self.config.grant_type {
            GrantType::OfMachine => {
                headers.insert("metadata", HeaderValue::from_static("true"));
                true
            }
            GrantType::OfGoogleMachine => {
                headers.insert("metadata-flavor", HeaderValue::from_static("Google"));
                timeout = timeout.min(LONGEST_OF_MACHINE);
                true
            }
            _ => {
                let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert(CONTENT_TYPE, form_type);
                false
            }
        };
        if let Some(agent) = agent {
            headers.insert(USER_AGENT, agent.clone());
        }
        if let Some(basic) = basic.and_then(secret_value) {
            headers.insert(AUTHORIZATION, basic);
        }
        let http = HttpClientConfig {
            tls: self.config.tls.clone(),
            proxy: self.config.proxy.clone(),
            enable_http2: false,
            follow_redirects: !is_get,
            ..HttpClientConfig::default()
        };
        let request = Request {
            method: if is_get { Method::GET } else { Method::POST },
            url: &url,
            headers,
            body: if is_get { Bytes::new() } else { form.into() },
            timeout,
            max_body: MAX_ANSWER,
            gzip: false,
            follow_redirects: !is_get,
        };
        let mut peer = Peer::new(&http);
        let asked = Instant::now();
        // A peer with a token of its own would ask its own source: a circle that the configuration cannot make.
        let response = Box::pin(peer.send(request)).await;
        let response = response.map_err(|error| Failure::Other(error.to_string()))?;
        let Fetched { value, expires_in } = answer::read(&response).map_err(Failure::Answer)?;
        let value = secret_value(&value).ok_or_else(|| Failure::Answer("the token is no header value".to_owned()))?;
        Ok(Token {
            value,
            fetched: asked,
            expires: expires_in.and_then(|seconds| asked.checked_add(Duration::from_secs(seconds))),
        })
    }
}

impl State {
    fn valid(&self, secret: &str) -> Option<Token> {
        let token = self.token.as_ref().filter(|_| self.secret == secret)?;
        let is_valid = token.expires.is_none_or(|at| Instant::now() + BEFORE_EXPIRY < at);
        is_valid.then(|| token.clone())
    }
}

enum Failure {
    // The server has answered, but with no token.
    Answer(String),
    Other(String),
}

impl Failure {
    fn told(self) -> String {
        match self {
            Self::Answer(reason) | Self::Other(reason) => reason,
        }
    }
}

fn after_user(host: &str) -> &str {
    host.rsplit('@').next().unwrap_or(host)
}

#[cfg(test)]
mod tests;
