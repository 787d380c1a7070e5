//! `consul_sd_configs`: services in Consul's catalogue, by blocking queries (Prometheus 3.14, `discovery/consul`).
//!
//! One query watches the list of services, and one each watches a service's instances: Consul answers it when something
//! has changed. Each has a connection of its own, since it waits on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cupola_config::prometheus::{ConsulSdConfig, TargetGroup};
use cupola_model::{Labels, LabelsBuilder, query_escape};
use cupola_net::{Peer, Request};
use http::header::{HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, StatusCode, Uri};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::groups::MAX_BYTES;
use crate::http::AGENT;
use crate::labels::{host_port, or_default, set_all};
use crate::provider::Updates;
use crate::restart::keep_running;

// How long Consul may hold an answer back, and how much longer ours to wait.
const WAIT: Duration = Duration::from_secs(120);
const GRACE: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 15 });
// More services than anybody watches one by one; each costs a connection.
const MOST_SERVICES: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    node: Node,
    service: Service,
    #[serde(default, deserialize_with = "or_default")]
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default, deserialize_with = "or_default")]
    node: String,
    #[serde(default, deserialize_with = "or_default")]
    address: String,
    #[serde(default, deserialize_with = "or_default")]
    meta: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    tagged_addresses: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID", default, deserialize_with = "or_default")]
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    address: String,
    #[serde(default, deserialize_with = "or_default")]
    port: u64,
    #[serde(default, deserialize_with = "or_default")]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    meta: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    namespace: String,
    #[serde(default, deserialize_with = "or_default")]
    partition: String,
}

#[derive(Debug, Deserialize)]
struct Check {
    #[serde(rename = "CheckID", default, deserialize_with = "or_default")]
    id: String,
    #[serde(rename = "Status", default, deserialize_with = "or_default")]
    status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Agent {
    config: AgentConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AgentConfig {
    datacenter: String,
}

/// One connection to Consul.
struct Client {
    config: Arc<ConsulSdConfig>,
    peer: Peer,
    updates: Updates,
}

impl Client {
    fn new(config: &Arc<ConsulSdConfig>, updates: &Updates) -> Self {
        Self {
            config: config.clone(),
            peer: Peer::new(&config.http),
            updates: updates.clone(),
        }
    }

    // Asks, and gives the answer with Consul's index of it; what goes wrong is counted and told.
    async fn get<T: DeserializeOwned>(
        &mut self,
        (path, query, call): (&str, &str, &str),
        index: u64,
    ) -> Result<(T, u64), String> {
        let started = Instant::now();
        let answer = self.ask(path, query, index).await;
        let metrics = self.updates.metrics();
        if let Some((endpoint, call)) = call.split_once('/') {
            let seconds = metrics.consul_seconds.with(&[endpoint, call]);
            seconds.observe(started.elapsed().as_secs_f64());
        }
        if let Err(error) = &answer {
            metrics.consul_failures.inc();
            self.updates.failed(error);
        }
        answer
    }

    async fn ask<T: DeserializeOwned>(&mut self, path: &str, query: &str, index: u64) -> Result<(T, u64), String> {
        let config = &self.config;
        let server = config.server.trim_end_matches('/');
        let (scheme, host) = server.split_once("://").unwrap_or((config.scheme.as_str(), server));
        let prefix = config.path_prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        let url = format!("{scheme}://{host}{slash}{prefix}/v1/{path}{}", self.query(query, index));
        let uri: Uri = url.parse().map_err(|e| format!("{url:?}: {e}"))?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, AGENT);
        if let Some(token) = &config.token {
            let mut value = HeaderValue::from_str(token.expose()).map_err(|_| "token: is no header value")?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-consul-token"), value);
        }
        let request = Request {
            method: Method::GET,
            url: &uri,
            headers,
            body: Bytes::new(),
            timeout: WAIT + GRACE,
            max_body: MAX_BYTES,
            gzip: true,
            follow_redirects: true,
        };
        let response = self.peer.send(request).await.map_err(|e| format!("Get {url:?}: {e}"))?;
        if response.status != StatusCode::OK {
            let text: String = String::from_utf8_lossy(&response.body).chars().take(300).collect();
            return Err(format!(
                "Get {url:?}: unexpected response code {}: {}",
                response.status,
                text.trim()
            ));
        }
        let index = response.headers.get("x-consul-index").and_then(|v| v.to_str().ok());
        let index = index.and_then(|v| v.parse().ok()).unwrap_or(0);
        let value = serde_json::from_slice(&response.body).map_err(|e| format!("Get {url:?}: {e}"))?;
        Ok((value, index))
    }

    fn query(&self, more: &str, index: u64) -> String {
        let config = &self.config;
        let mut pairs: Vec<String> = Vec::new();
        for (name, value) in [
            ("dc", &config.datacenter),
            ("ns", &config.namespace),
            ("partition", &config.partition),
        ] {
            if !value.is_empty() {
                pairs.push(format!("{name}={}", query_escape(value)));
            }
        }
        if config.allow_stale {
            pairs.push("stale=".to_owned());
        }
        if index > 0 {
            pairs.push(format!("index={index}"));
        }
        pairs.push(format!("wait={}ms", WAIT.as_millis()));
        for (name, value) in &config.node_meta {
            pairs.push(format!("node-meta={}", query_escape(&format!("{name}:{value}"))));
        }
        if !more.is_empty() {
            pairs.push(more.to_owned());
        }
        format!("?{}", pairs.join("&"))
    }
}

pub(crate) async fn run(config: ConsulSdConfig, updates: Updates) {
    let config = Arc::new(config);
    let mut client = Client::new(&config, &updates);
    let datacenter = loop {
        if !config.datacenter.is_empty() {
            break config.datacenter.clone();
        }
        match client.get::<Agent>(("agent/self", "", ""), 0).await {
            Ok((agent, _)) => break agent.config.datacenter,
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    };
    let mut watch = Watch {
        config: config.clone(),
        updates: updates.clone(),
        datacenter: datacenter.into(),
        tasks: JoinSet::new(),
        services: HashMap::new(),
    };
    if !config.services.is_empty() && config.tags.is_empty() {
        // All that is wanted is known by name.
        for name in &config.services {
            watch.begin(name);
        }
        std::future::pending::<()>().await;
    }
    let mut index = 0;
    loop {
        let next = Instant::now() + config.refresh_interval;
        let more = filter(&config.filter);
        let asked = ("catalog/services", more.as_str(), "catalog/services");
        match client.get::<BTreeMap<String, Vec<String>>>(asked, index).await {
            Ok((services, new)) => {
                updates.worked();
                // The same index: the query timed out and nothing has changed.
                if new != index || new == 0 {
                    watch.take_over(&services);
                }
                index = following(index, new);
            }
            Err(_) => {
                // Who answers next may count from elsewhere.
                index = 0;
                tokio::time::sleep(RETRY).await;
            }
        }
        tokio::time::sleep_until(next).await;
    }
}

fn filter(expression: &str) -> String {
    if expression.is_empty() {
        String::new()
    } else {
        format!("filter={}", query_escape(expression))
    }
}

// The index to wait for; one that went backwards is begun anew, as Consul asks for.
fn following(old: u64, new: u64) -> u64 {
    if new < old { 0 } else { new }
}

/// The services that are watched.
struct Watch {
    config: Arc<ConsulSdConfig>,
    updates: Updates,
    datacenter: Arc<str>,
    // Dropping it ends them all.
    tasks: JoinSet<()>,
    services: HashMap<String, Watched>,
}

struct Watched {
    task: AbortHandle,
    // Held while its instances are told: a service that is gone tells nothing any more.
    is_wanted: Arc<Mutex<bool>>,
}

impl Watch {
    fn take_over(&mut self, services: &BTreeMap<String, Vec<String>>) {
        let config = self.config.clone();
        let is_wanted = |name: &String, tags: &[String]| {
            (config.services.is_empty() || config.services.contains(name))
                && config.tags.iter().all(|tag| tags.contains(tag))
        };
        let mut gone = Vec::new();
        self.services.retain(|name, watched| {
            let stays = services.get(name).is_some_and(|tags| is_wanted(name, tags));
            if !stays {
                *watched.is_wanted.lock() = false;
                watched.task.abort();
                gone.push(empty(name));
            }
            stays
        });
        // Those of services that are gone.
        while self.tasks.try_join_next().is_some() {}
        let is_first = self.services.is_empty();
        for (name, tags) in services {
            if is_wanted(name, tags) && !self.services.contains_key(name) {
                self.begin(name);
            }
        }
        if !gone.is_empty() || (is_first && self.services.is_empty()) {
            self.updates.set(gone);
        }
    }

    fn begin(&mut self, name: &str) {
        if self.services.len() >= MOST_SERVICES {
            let error =
                format!("more than {MOST_SERVICES} services; {name} is not watched (choose with services or tags)");
            self.updates.failed(&error);
            return;
        }
        let is_wanted = Arc::new(Mutex::new(true));
        let (config, updates, datacenter) = (self.config.clone(), self.updates.clone(), self.datacenter.clone());
        let (service, still_wanted) = (name.to_owned(), is_wanted.clone());
        let begin = move || {
            let client = Client::new(&config, &updates);
            watch_service(client, service.clone(), datacenter.clone(), still_wanted.clone())
        };
        let what = format!("watching the service {name:?}");
        let task = self.tasks.spawn(keep_running(self.updates.clone(), what, begin));
        self.services.insert(name.to_owned(), Watched { task, is_wanted });
    }
}

fn empty(name: &str) -> TargetGroup {
    TargetGroup {
        targets: Vec::new(),
        labels: Labels::empty(),
        source: name.to_owned(),
    }
}

async fn watch_service(mut client: Client, name: String, datacenter: Arc<str>, is_wanted: Arc<Mutex<bool>>) {
    let config = client.config.clone();
    let mut more: Vec<String> = config
        .tags
        .iter()
        .map(|tag| format!("tag={}", query_escape(tag)))
        .collect();
    if !config.health_filter.is_empty() {
        more.push(filter(&config.health_filter));
    }
    let more = more.join("&");
    let path = format!("health/service/{}", query_escape(&name).replace('+', "%20"));
    let mut index = 0;
    loop {
        let next = Instant::now() + config.refresh_interval;
        match client
            .get::<Vec<Instance>>((&path, &more, "catalog/service"), index)
            .await
        {
            Ok((instances, new)) => {
                client.updates.worked();
                if new != index || new == 0 {
                    let group = group(&config, &name, &datacenter, &instances);
                    let is_wanted = is_wanted.lock();
                    if *is_wanted {
                        client.updates.set(vec![group]);
                    }
                }
                index = following(index, new);
            }
            Err(_) => {
                // Who answers next may count from elsewhere.
                index = 0;
                tokio::time::sleep(RETRY).await;
            }
        }
        tokio::time::sleep_until(next).await;
    }
}

fn group(config: &ConsulSdConfig, name: &str, datacenter: &str, instances: &[Instance]) -> TargetGroup {
    let target = |instance: &Instance| {
        let (node, service) = (&instance.node, &instance.service);
        let host = if service.address.is_empty() {
            &node.address
        } else {
            &service.address
        };
        let separator = &config.tag_separator;
        let tags = format!("{separator}{}{separator}", service.tags.join(separator));
        let mut labels = LabelsBuilder::default();
        set_all(&mut labels, "__meta_consul_metadata_", &node.meta);
        set_all(&mut labels, "__meta_consul_service_metadata_", &service.meta);
        set_all(&mut labels, "__meta_consul_tagged_address_", &node.tagged_addresses);
        labels
            .set("__address__", &host_port(host, service.port))
            .set("__meta_consul_address", &node.address)
            .set("__meta_consul_node", &node.node)
            .set("__meta_consul_namespace", &service.namespace)
            .set("__meta_consul_partition", &service.partition)
            .set("__meta_consul_tags", &tags)
            .set("__meta_consul_service_address", &service.address)
            .set("__meta_consul_service_port", &service.port.to_string())
            .set("__meta_consul_service_id", &service.id)
            .set("__meta_consul_health", health(&instance.checks));
        labels.build()
    };
    TargetGroup {
        targets: instances.iter().map(target).collect(),
        labels: Labels::from_pairs([("__meta_consul_service", name), ("__meta_consul_dc", datacenter)]),
        source: name.to_owned(),
    }
}

// The worst of all checks (Consul's client: `AggregatedStatus`).
fn health(checks: &[Check]) -> &'static str {
    let is_maintained =
        |check: &Check| check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:");
    let has = |status: &str| checks.iter().any(|check| check.status == status);
    if checks.iter().any(is_maintained) {
        "maintenance"
    } else if has("critical") {
        "critical"
    } else if has("warning") {
        "warning"
    } else {
        "passing"
    }
}

#[cfg(test)]
mod tests;
