//! `docker_sd_configs`: the containers of a Docker daemon (Prometheus 3.14, `discovery/moby`).

use std::collections::{BTreeMap, HashMap};

use cupola_config::prometheus::{DockerSdConfig, TargetGroup};
use cupola_model::{Labels, LabelsBuilder};
use serde::Deserialize;

use crate::labels::{host_port, or_default, set_all};
use crate::moby::{Daemon, Network, filters, network_labels};
use crate::provider::{Look, Updates};

const CONTAINER: &str = "__meta_docker_container_";
const NETWORK: &str = "__meta_docker_network_";
const PORT: &str = "__meta_docker_port_";
// A chain of containers that share networks is not longer; a longer one is a circle.
const MOST_LINKS: usize = 32;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    ports: Vec<Port>,
    #[serde(default, deserialize_with = "or_default")]
    host_config: HostConfig,
    #[serde(default, deserialize_with = "or_default")]
    network_settings: NetworkSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default, deserialize_with = "or_default")]
    network_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default, deserialize_with = "or_default")]
    networks: BTreeMap<String, Option<Endpoint>>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    #[serde(rename = "NetworkID", default, deserialize_with = "or_default")]
    network: String,
    #[serde(rename = "IPAddress", default, deserialize_with = "or_default")]
    address: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(rename = "IP", default, deserialize_with = "or_default")]
    ip: String,
    #[serde(default, deserialize_with = "or_default")]
    private_port: u64,
    #[serde(default, deserialize_with = "or_default")]
    public_port: u64,
    #[serde(rename = "Type", default, deserialize_with = "or_default")]
    kind: String,
}

pub(crate) async fn run(config: DockerSdConfig, updates: Updates) {
    let docker = Docker {
        daemon: Daemon::new(&config.host, &config.http, config.refresh_interval),
        config,
    };
    updates.refresh(docker.config.refresh_interval, docker).await;
}

struct Docker {
    config: DockerSdConfig,
    daemon: Daemon,
}

impl Look for Docker {
    async fn look(&mut self) -> Result<Vec<TargetGroup>, String> {
        let filters = filters(&self.config.filters);
        let containers: Vec<Container> = self
            .daemon
            .get(&format!("/containers/json{filters}"))
            .await
            .map_err(|e| format!("error while listing containers: {e}"))?;
        let networks: Vec<Network> = self
            .daemon
            .get("/networks")
            .await
            .map_err(|e| format!("error while computing network labels: {e}"))?;
        Ok(vec![group(&self.config, &containers, &networks)])
    }
}

fn group(config: &DockerSdConfig, containers: &[Container], networks: &[Network]) -> TargetGroup {
    let by_id: HashMap<&str, &Container> = containers.iter().map(|c| (c.id.as_str(), c)).collect();
    let network_labels = network_labels(networks, "__meta_docker_");
    let mut targets = Vec::new();
    for container in containers {
        let Some(name) = container.names.first() else {
            continue;
        };
        let mode = &container.host_config.network_mode;
        let mut common = LabelsBuilder::default();
        set_all(&mut common, &format!("{CONTAINER}label_"), &container.labels);
        common
            .set(&format!("{CONTAINER}id"), &container.id)
            .set(&format!("{CONTAINER}name"), name)
            .set(&format!("{CONTAINER}network_mode"), mode);
        let mut endpoints: Vec<&Endpoint> = networks_of(container, &by_id).values().flatten().collect();
        if config.match_first_network {
            // They are sorted by the network's name.
            endpoints.truncate(1);
        }
        for endpoint in endpoints {
            let mut labels = common.clone();
            labels.set(&format!("{NETWORK}ip"), &endpoint.address);
            for (name, value) in network_labels.get(endpoint.network.as_str()).into_iter().flatten() {
                labels.set(name, value);
            }
            let before = targets.len();
            for port in container.ports.iter().filter(|port| port.kind == "tcp") {
                let mut labels = labels.clone();
                labels
                    .set(&format!("{PORT}private"), &port.private_port.to_string())
                    .set("__address__", &host_port(&endpoint.address, port.private_port));
                if port.public_port > 0 {
                    labels
                        .set(&format!("{PORT}public"), &port.public_port.to_string())
                        .set(&format!("{PORT}public_ip"), &port.ip);
                }
                targets.push(labels.build());
            }
            if targets.len() == before {
                let address = if mode == "host" {
                    config.host_networking_host.clone()
                } else {
                    host_port(&endpoint.address, config.port)
                };
                labels.set("__address__", &address);
                targets.push(labels.build());
            }
        }
    }
    TargetGroup {
        targets,
        labels: Labels::empty(),
        source: "Docker".to_owned(),
    }
}

// The container's networks, or those of the container whose network it shares.
fn networks_of<'c>(
    container: &'c Container,
    by_id: &HashMap<&str, &'c Container>,
) -> &'c BTreeMap<String, Option<Endpoint>> {
    let mut at = container;
    for _ in 0..MOST_LINKS {
        let mode = &at.host_config.network_mode;
        match mode.strip_prefix("container:").and_then(|id| by_id.get(id)) {
            Some(next) if at.network_settings.networks.is_empty() => at = next,
            _ => break,
        }
    }
    &at.network_settings.networks
}

#[cfg(test)]
mod tests;
