//! A server whose API a tool asks.

use std::time::Duration;

use cupola_model::{go_quote, query_escape};
use cupola_net::{Connection, Request, Tls, TlsOptions};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Uri};
use serde_json::Value;

const MAX_ANSWER: usize = 2 << 30;

/// One server and the connection to it.
pub(super) struct ApiServer {
    base: String,
    timeout: Duration,
    connection: Connection,
    runtime: tokio::runtime::Runtime,
}

impl ApiServer {
    /// A server by its URL, which is not asked yet. An answer has `timeout`.
    ///
    /// # Errors
    /// Where the URL is none, or TLS cannot be set up.
    pub(super) fn new(base: &str, timeout: Duration) -> Result<Self, String> {
        let url: Uri = base
            .parse()
            .map_err(|error| format!("invalid URL {}: {error}", go_quote(base)))?;
        let tls = match url.scheme_str() {
            Some("https") => Some(Tls::new(&TlsOptions::default()).map_err(|error| error.to_string())?),
            _ => None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            timeout,
            connection: Connection::new(tls),
            runtime: runtime.map_err(|error| error.to_string())?,
        })
    }

    /// Posts a form to `path` and gives the whole answer. The API's own errors are told as its clients tell them.
    pub(super) fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("{}{path}", self.base);
        let uri: Uri = url
            .parse()
            .map_err(|error| format!("invalid URL {}: {error}", go_quote(&url)))?;
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let form: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", query_escape(value)))
            .collect();
        let request = Request {
            method: Method::POST,
            url: &uri,
            headers,
            body: form.join("&").into_bytes().into(),
            timeout: self.timeout,
            max_body: MAX_ANSWER,
            gzip: true,
            follow_redirects: false,
        };
        let sent = self.runtime.block_on(self.connection.send(&request));
        let response = sent.map_err(|error| format!("Post \"{url}\": {error}"))?;
        let status = response.status;
        let answer: Value = serde_json::from_slice(&response.body)
            .map_err(|error| format!("Post \"{url}\": {status}, and no JSON: {error}"))?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("status") == "success" {
            Ok(answer)
        } else {
            Err(format!("{}: {}", text("errorType"), text("error")))
        }
    }
}
