//! `http_sd_configs`: a server lists the targets as JSON (Prometheus 3.14, `discovery/http`).

use bytes::Bytes;
use cupola_config::prometheus::{HttpSdConfig, TargetGroup};
use cupola_metrics::Counter;
use cupola_net::{Peer, Request};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::groups::{MAX_BYTES, read_json};
use crate::provider::{Look, Updates};

/// As all our requests name their sender.
pub(crate) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("Prometheus/3.14.0 (Cupola/", env!("CARGO_PKG_VERSION"), ")"));

pub(crate) async fn run(config: HttpSdConfig, updates: Updates) {
    let server = Server {
        peer: Peer::new(&config.http),
        failures: updates.metrics().http_failures.clone(),
        config,
    };
    updates.refresh(server.config.refresh_interval, server).await;
}

struct Server {
    config: HttpSdConfig,
    peer: Peer,
    failures: Counter,
}

impl Look for Server {
    async fn look(&mut self) -> Result<Vec<TargetGroup>, String> {
        let found = match self.config.url.parse::<Uri>() {
            Ok(url) => look(&self.config, &url, &mut self.peer).await,
            Err(error) => Err(format!("{:?}: {error}", self.config.url)),
        };
        if found.is_err() {
            self.failures.inc();
        }
        found
    }
}

async fn look(config: &HttpSdConfig, url: &Uri, peer: &mut Peer) -> Result<Vec<TargetGroup>, String> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, AGENT);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let seconds = config.refresh_interval.as_secs_f64().to_string();
    if let Ok(seconds) = HeaderValue::from_str(&seconds) {
        headers.insert(
            HeaderName::from_static("x-prometheus-refresh-interval-seconds"),
            seconds,
        );
    }
    let request = Request {
        method: Method::GET,
        url,
        headers,
        body: Bytes::new(),
        timeout: config.refresh_interval,
        max_body: MAX_BYTES,
        gzip: true,
        follow_redirects: true,
    };
    let response = peer
        .send(request)
        .await
        .map_err(|error| format!("Get {:?}: {error}", config.url))?;
    if response.status != StatusCode::OK {
        return Err(format!("server returned HTTP status {}", response.status));
    }
    let kind = response
        .headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    if !is_json(kind) {
        return Err(format!("unsupported content type {kind:?}"));
    }
    // A long list takes a while to read.
    let place = config.url.clone();
    let read = tokio::task::spawn_blocking(move || read_json(&response.body, "__meta_url", &place));
    read.await.map_err(|broken| format!("reading broke off: {broken}"))?
}

// `application/json`, with the charset utf-8 or none.
fn is_json(kind: &str) -> bool {
    let kind = kind.trim().to_ascii_lowercase();
    let Some(rest) = kind.strip_prefix("application/json") else {
        return false;
    };
    let charset = rest.strip_prefix(';').map(str::trim_start);
    rest.is_empty() || matches!(charset, Some("charset=utf-8" | "charset=\"utf-8\""))
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn only_json_in_utf_8_is_read() {
        for kind in [
            "application/json",
            " Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(is_json(kind), "{kind}");
        }
        for kind in [
            "",
            "text/plain",
            "application/jsonx",
            "application/json; charset=latin1",
            "application/json; x",
        ] {
            assert!(!is_json(kind), "{kind}");
        }
    }
}
