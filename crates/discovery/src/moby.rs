//! A Docker daemon's API, as far as discovery asks it (Prometheus 3.14, `discovery/moby`).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use cupola_config::common::HttpClientConfig;
use cupola_config::prometheus::DockerFilter;
use cupola_model::{Labels, LabelsBuilder, query_escape};
use cupola_net::{Peer, Request, Response};
use http::header::USER_AGENT;
use http::{HeaderMap, Method, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::groups::MAX_BYTES;
use crate::http::AGENT;
use crate::labels::{or_default, set_all};

/// One connection to a daemon, or its socket.
pub(crate) struct Daemon {
    host: String,
    peer: Peer,
    timeout: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Network {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    scope: String,
    #[serde(default, deserialize_with = "or_default")]
    internal: bool,
    #[serde(default, deserialize_with = "or_default")]
    ingress: bool,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

impl Daemon {
    pub(crate) fn new(host: &str, http: &HttpClientConfig, timeout: Duration) -> Self {
        Self {
            host: host.to_owned(),
            peer: match host.strip_prefix("unix://") {
                Some(socket) => Peer::over_socket(http, socket.trim_end_matches('/').into()),
                None => Peer::new(http),
            },
            timeout,
        }
    }

    /// The JSON of a page.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, String> {
        let response = self.send(path).await?;
        if response.status != StatusCode::OK {
            let text: String = String::from_utf8_lossy(&response.body).chars().take(300).collect();
            return Err(format!(
                "daemon returned HTTP status {}: {}",
                response.status,
                text.trim()
            ));
        }
        serde_json::from_slice(&response.body).map_err(|e| e.to_string())
    }

    async fn send(&mut self, path: &str) -> Result<Response, String> {
        let host = self.host.trim_end_matches('/');
        let base = match host.starts_with("unix://") {
            true => "http://localhost".to_owned(),
            // As Docker's own client: tcp is HTTP.
            false => host.replacen("tcp://", "http://", 1),
        };
        let url: Uri = format!("{base}{path}").parse().map_err(|e| format!("{base:?}: {e}"))?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, AGENT);
        let request = Request {
            method: Method::GET,
            url: &url,
            headers,
            body: Bytes::new(),
            timeout: self.timeout,
            max_body: MAX_BYTES,
            gzip: false,
            follow_redirects: false,
        };
        self.peer.send(request).await.map_err(|e| e.to_string())
    }
}

/// `?filters={"label":{"a":true}}`, or nothing.
pub(crate) fn filters(filters: &[DockerFilter]) -> String {
    let mut all: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    for filter in filters {
        let values = filter.values.iter().map(|value| (value.as_str(), true));
        all.entry(&filter.name).or_default().extend(values);
    }
    all.retain(|_, values| !values.is_empty());
    match serde_json::to_string(&all) {
        Ok(json) if !all.is_empty() => format!("?filters={}", query_escape(&json)),
        _ => String::new(),
    }
}

/// The labels of each network by its ID; `prefix` goes before `network_`.
pub(crate) fn network_labels<'n>(networks: &'n [Network], prefix: &str) -> HashMap<&'n str, Labels> {
    let of_network = |network: &Network| {
        let mut labels = LabelsBuilder::default();
        set_all(&mut labels, &format!("{prefix}network_label_"), &network.labels);
        let mut set = |name: &str, value: &str| _ = labels.set(&format!("{prefix}network_{name}"), value);
        set("id", &network.id);
        set("name", &network.name);
        set("scope", &network.scope);
        set("internal", &network.internal.to_string());
        set("ingress", &network.ingress.to_string());
        labels.build()
    };
    networks
        .iter()
        .map(|network| (network.id.as_str(), of_network(network)))
        .collect()
}
