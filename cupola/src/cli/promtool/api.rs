//! A server whose API a tool asks.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use cupola_config::common::HttpClientConfig;
use cupola_config::{Files, load_http_config};
use cupola_model::{go_quote, query_escape};
use cupola_net::{Peer, Request};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;

const MAX_ANSWER: usize = 2 << 30;

/// How to speak to a server.
#[derive(Debug, Args)]
pub(super) struct HttpArgs {
    /// A file that is an <http_config>: credentials, TLS, headers.
    #[arg(long = "http.config.file", global = true, value_name = "FILE")]
    http_config_file: Option<PathBuf>,
}

impl HttpArgs {
    /// A server that is spoken to as the file says, see [`ApiServer::new`].
    ///
    /// # Errors
    /// Every mistake of the file, and as [`ApiServer::new`].
    pub(super) fn server(&self, base: &str, timeout: Duration, files: &dyn Files) -> Result<ApiServer, String> {
        let config = match &self.http_config_file {
            Some(path) => load_http_config(path, files).map_err(|errors| errors.to_string())?,
            None => HttpClientConfig::default(),
        };
        ApiServer::with_config(base, timeout, &config)
    }
}

/// One server and the connection to it.
pub(super) struct ApiServer {
    base: String,
    timeout: Duration,
    // Go with every request.
    headers: HeaderMap,
    // Boxed: tools hold a server beside much smaller things.
    peer: Box<Peer>,
    runtime: tokio::runtime::Runtime,
}

impl ApiServer {
    /// A server by its URL, which is not asked yet. An answer has `timeout`.
    ///
    /// # Errors
    /// Where the URL is none.
    pub(super) fn new(base: &str, timeout: Duration) -> Result<Self, String> {
        Self::with_config(base, timeout, &HttpClientConfig::default())
    }

    fn with_config(base: &str, timeout: Duration, config: &HttpClientConfig) -> Result<Self, String> {
        let _: Uri = base
            .parse()
            .map_err(|error| format!("invalid URL {}: {error}", go_quote(base)))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            timeout,
            headers: HeaderMap::new(),
            peer: Box::new(Peer::new(config)),
            runtime: runtime.map_err(|error| error.to_string())?,
        })
    }

    /// Headers for every request from now on.
    ///
    /// # Errors
    /// The first pair that makes no header.
    pub(super) fn add_headers(&mut self, pairs: &[(String, String)]) -> Result<(), String> {
        for (name, value) in pairs {
            let told = || format!("--header: {} is no header", go_quote(&format!("{name}={value}")));
            let name = HeaderName::try_from(name.as_str()).map_err(|_| told())?;
            let value = HeaderValue::try_from(value.as_str()).map_err(|_| told())?;
            self.headers.insert(name, value);
        }
        Ok(())
    }

    /// Posts a form to `path` and gives the whole answer. The API's own errors are told as its clients tell them.
    pub(super) fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("{}{path}", self.base);
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let (status, body) = self.send("Post", &url, headers, form_text(form).into_bytes())?;
        answer(&format!("Post \"{url}\""), status, &body)
    }

    /// Gets `path` with parameters and gives the whole answer, as [`Self::post`] does.
    pub(super) fn get(&mut self, path: &str, params: &[(&str, &str)]) -> Result<Value, String> {
        let mut url = format!("{}{path}", self.base);
        if !params.is_empty() {
            url = format!("{url}?{}", form_text(params));
        }
        let (status, body) = self.send("Get", &url, HeaderMap::new(), Vec::new())?;
        answer(&format!("Get \"{url}\""), status, &body)
    }

    /// Gets `path`, whatever is answered: the status and the body.
    pub(super) fn get_raw(&mut self, path: &str) -> Result<(StatusCode, Vec<u8>), String> {
        let url = format!("{}{path}", self.base);
        self.send("Get", &url, HeaderMap::new(), Vec::new())
    }

    /// Posts `body` to the server's URL itself, whatever is answered: the status and the body.
    pub(super) fn post_raw(&mut self, headers: HeaderMap, body: Vec<u8>) -> Result<(StatusCode, Vec<u8>), String> {
        let url = self.base.clone();
        self.send("Post", &url, headers, body)
    }

    // `word` is the method as Go's client tells it in errors.
    fn send(
        &mut self,
        word: &str,
        url: &str,
        mut headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let uri: Uri = url
            .parse()
            .map_err(|error| format!("invalid URL {}: {error}", go_quote(url)))?;
        headers.extend(self.headers.clone());
        let is_post = word == "Post";
        let request = Request {
            method: if is_post { Method::POST } else { Method::GET },
            url: &uri,
            headers,
            body: body.into(),
            timeout: self.timeout,
            max_body: MAX_ANSWER,
            gzip: true,
            follow_redirects: !is_post,
        };
        let sent = self.runtime.block_on(self.peer.send(request));
        let response = sent.map_err(|error| format!("{word} \"{url}\": {error}"))?;
        Ok((response.status, response.body))
    }
}

fn form_text(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", query_escape(name), query_escape(value)))
        .collect();
    pairs.join("&")
}

fn answer(what: &str, status: StatusCode, body: &[u8]) -> Result<Value, String> {
    let answer: Value =
        serde_json::from_slice(body).map_err(|error| format!("{what}: {status}, and no JSON: {error}"))?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("status") == "success" {
        Ok(answer)
    } else {
        Err(format!("{}: {}", text("errorType"), text("error")))
    }
}
