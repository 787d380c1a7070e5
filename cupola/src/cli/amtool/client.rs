//! Alertmanager's API v2, asked.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cupola_config::common::HttpClientConfig;
use cupola_config::{Files, load_http_config};
use cupola_model::{parse_duration, query_escape};
use cupola_net::{Peer, Request};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Uri};
use serde_json::Value;

const DEFAULT_URL: &str = "http://localhost:9093/";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 1 << 30;

/// One Alertmanager. Nothing is opened before it is asked.
pub(super) struct Client {
    // With name and password, where the URL has them.
    base: String,
    timeout: Duration,
    peer: Peer,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    pub(super) fn new(
        url: Option<String>,
        timeout: Option<String>,
        http_config: Option<&Path>,
        files: &dyn Files,
    ) -> Result<Self, String> {
        let timeout = match timeout {
            Some(text) => {
                let ms = parse_duration(&text).map_err(|error| format!("--timeout: {error}"))?;
                Duration::from_millis(ms.unsigned_abs())
            }
            None => DEFAULT_TIMEOUT,
        };
        let config = match http_config {
            Some(path) => load_http_config(path, files).map_err(|errors| errors.to_string())?,
            None => HttpClientConfig::default(),
        };
        let url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            base: url.trim_end_matches('/').to_owned(),
            timeout,
            peer: Peer::new(&config),
            runtime: runtime.map_err(|error| error.to_string())?,
        })
    }

    /// Asks for something. The text is as the server wrote it.
    pub(super) fn get(&mut self, path: &str, query: &[(&str, String)]) -> Result<String, String> {
        let mut pairs: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", query_escape(value)))
            .collect();
        pairs.sort();
        let url = match pairs.is_empty() {
            true => path.to_owned(),
            false => format!("{path}?{}", pairs.join("&")),
        };
        let (status, body) = self.send(&Method::GET, &url, None)?;
        match status {
            200 => Ok(body),
            _ => Err(refused("GET", path, status, &body)),
        }
    }

    pub(super) fn get_json(&mut self, path: &str, query: &[(&str, String)]) -> Result<Value, String> {
        let body = self.get(path, query)?;
        serde_json::from_str(&body).map_err(|error| format!("the answer of {} is no JSON: {error}", shown(&self.base)))
    }

    /// Asks for something outside of Alertmanager's API, which this server may have, or the one at `base`.
    ///
    /// # Errors
    /// Why there is no such thing.
    pub(super) fn get_beside(
        &mut self,
        base: Option<&str>,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Value, String> {
        let pairs: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{}={}", query_escape(name), query_escape(value)))
            .collect();
        let base = base.map_or(self.base.as_str(), |base| base.trim_end_matches('/'));
        let url = format!("{base}{path}?{}", pairs.join("&"));
        let (status, body) = self.send_to(&Method::GET, &url, None)?;
        if status != 200 {
            return Err(format!("{} answers {status}", shown(&url)));
        }
        serde_json::from_str(&body).map_err(|error| format!("{} answers no JSON: {error}", shown(&url)))
    }

    pub(super) fn post(&mut self, path: &str, body: &Value) -> Result<Value, String> {
        let (status, answer) = self.send(&Method::POST, path, Some(body.to_string()))?;
        match status {
            200 => Ok(serde_json::from_str(&answer).unwrap_or_default()),
            _ => Err(refused("POST", path, status, &answer)),
        }
    }

    /// Deletes a silence; the status where that is refused.
    pub(super) fn delete_silence(&mut self, id: &str) -> Result<(), String> {
        let (status, answer) = self.send(&Method::DELETE, &format!("/silence/{id}"), None)?;
        match status {
            200 => Ok(()),
            _ => Err(refused("DELETE", "/silence/{silenceID}", status, &answer)),
        }
    }

    fn send(&mut self, method: &Method, path: &str, body: Option<String>) -> Result<(u16, String), String> {
        self.send_to(method, &format!("{}/api/v2{path}", self.base), body)
    }

    fn send_to(&mut self, method: &Method, url: &str, body: Option<String>) -> Result<(u16, String), String> {
        let word = match *method {
            Method::GET => "Get",
            Method::POST => "Post",
            _ => "Delete",
        };
        let told = shown(url);
        let uri: Uri = url.parse().map_err(|error| format!("{word} \"{told}\": {error}"))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request = Request {
            method: method.clone(),
            url: &uri,
            headers,
            body: Bytes::from(body.unwrap_or_default()),
            timeout: self.timeout,
            max_body: MAX_ANSWER,
            gzip: true,
            follow_redirects: true,
        };
        let sent = self.runtime.block_on(self.peer.send(request));
        let response = sent.map_err(|error| format!("{word} \"{told}\": {error}"))?;
        let text = String::from_utf8_lossy(&response.body).into_owned();
        Ok((response.status.as_u16(), text))
    }
}

// A URL without its name and password.
fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

// As the client that is generated from the API's description tells it.
fn refused(method: &str, path: &str, status: u16, body: &str) -> String {
    let operation = match (method, path) {
        ("GET", "/alerts") => "getAlerts",
        ("POST", "/alerts") => "postAlerts",
        ("GET", "/silences") => "getSilences",
        ("POST", "/silences") => "postSilences",
        ("DELETE", _) => "deleteSilence",
        ("GET", "/status") => "getStatus",
        _ => "getSilence",
    };
    let kind = match status {
        400 => "BadRequest",
        404 => "NotFound",
        500 => "InternalServerError",
        _ => return format!("[{method} {path}][{status}] {operation} default  {}", body.trim()),
    };
    let told = serde_json::from_str::<String>(body).unwrap_or_else(|_| body.trim().to_owned());
    format!("[{method} {path}][{status}] {operation}{kind}  {told}")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use cupola_config::DiskFiles;

    use super::*;

    // They were sent as they stand in the URL, and the password ended at the first `@`.
    #[test]
    fn a_name_and_password_of_the_url_are_decoded_and_not_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut told = String::new();
            while let Some(Ok(line)) = lines
                .next()
                .filter(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
            {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("authorization: ") {
                    told = line.get(line.len() - value.len()..).unwrap_or_default().to_owned();
                }
            }
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len());
            (&stream).write_all(answer.as_bytes()).unwrap();
        });
        let url = format!("http://me:a%40b%3Ac@{address}/am/");
        let mut client = Client::new(Some(url), Some("20s".to_owned()), None, &DiskFiles).unwrap();
        // `me:a@b:c`
        assert_eq!(client.get("/status", &[]).unwrap(), "Basic bWU6YUBiOmM=");
        server.join().unwrap();
        let refused = client.get_json("/status", &[]).unwrap_err();
        assert!(
            refused.contains(&format!("http://{address}/am/api/v2/status")),
            "{refused}"
        );
        assert!(!refused.contains("a%40b") && !refused.contains("me:"), "{refused}");
        assert_eq!(shown("http://h/x@y"), "http://h/x@y");
    }
}
