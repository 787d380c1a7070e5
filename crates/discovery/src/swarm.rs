//! `dockerswarm_sd_configs`: services, tasks or nodes of a Docker swarm (Prometheus 3.14, `discovery/moby`).

use std::collections::{BTreeMap, HashMap};

use cupola_config::prometheus::{DockerSwarmSdConfig, SwarmRole, TargetGroup};
use cupola_model::{Labels, LabelsBuilder};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::labels::{host_port, or_default, set_all};
use crate::moby::{Daemon, Network, filters, network_labels};
use crate::provider::{Look, Updates};

const PREFIX: &str = "__meta_dockerswarm_";

type LabelMap = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    spec: NodeSpec,
    #[serde(default, deserialize_with = "or_default")]
    description: Description,
    #[serde(default, deserialize_with = "or_default")]
    status: NodeStatus,
    manager_status: Option<ManagerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeSpec {
    role: String,
    availability: String,
    #[serde(deserialize_with = "or_default")]
    labels: LabelMap,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Description {
    hostname: String,
    platform: Platform,
    engine: EngineInfo,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Platform {
    architecture: String,
    #[serde(rename = "OS")]
    os: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct EngineInfo {
    engine_version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeStatus {
    state: String,
    addr: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ManagerStatus {
    leader: bool,
    reachability: String,
    addr: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    spec: ServiceSpec,
    #[serde(default, deserialize_with = "or_default")]
    endpoint: Endpoint,
    update_status: Option<State>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceSpec {
    name: String,
    #[serde(deserialize_with = "or_default")]
    labels: LabelMap,
    task_template: TaskSpec,
    mode: Mode,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskSpec {
    container_spec: Option<ContainerSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerSpec {
    hostname: String,
    image: String,
    #[serde(deserialize_with = "or_default")]
    labels: LabelMap,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mode {
    global: Option<Value>,
    replicated: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    state: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Endpoint {
    #[serde(deserialize_with = "or_default")]
    ports: Vec<Port>,
    #[serde(rename = "VirtualIPs", deserialize_with = "or_default")]
    addresses: Vec<VirtualIp>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Port {
    name: String,
    protocol: String,
    published_port: u64,
    publish_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VirtualIp {
    #[serde(rename = "NetworkID")]
    network: String,
    addr: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Task {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ServiceID", default)]
    service: String,
    #[serde(rename = "NodeID", default)]
    node: String,
    #[serde(default)]
    slot: i64,
    #[serde(default)]
    desired_state: String,
    #[serde(default)]
    status: TaskStatus,
    #[serde(default)]
    spec: TaskSpec,
    #[serde(default, deserialize_with = "or_default")]
    networks_attachments: Vec<Attachment>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskStatus {
    state: String,
    container_status: Option<ContainerStatus>,
    #[serde(deserialize_with = "or_default")]
    port_status: Endpoint,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    #[serde(rename = "ContainerID")]
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Attachment {
    network: NetworkId,
    #[serde(deserialize_with = "or_default")]
    addresses: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NetworkId {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    config: Option<ContainerSpec>,
}

pub(crate) async fn run(config: DockerSwarmSdConfig, updates: Updates) {
    let swarm = Swarm {
        daemon: Daemon::new(&config.host, &config.http, config.refresh_interval),
        config,
    };
    updates.refresh(swarm.config.refresh_interval, swarm).await;
}

struct Swarm {
    config: DockerSwarmSdConfig,
    daemon: Daemon,
}

/// What is known of a swarm; what the role does not need stays empty.
#[derive(Debug, Default)]
struct Found {
    nodes: Vec<Node>,
    services: Vec<Service>,
    tasks: Vec<Task>,
    networks: Vec<Network>,
    /// Labels by container, of those that this daemon can inspect.
    containers: HashMap<String, LabelMap>,
}

impl Look for Swarm {
    async fn look(&mut self) -> Result<Vec<TargetGroup>, String> {
        let chosen = filters(&self.config.filters);
        let chosen = |role| if self.config.role == role { chosen.as_str() } else { "" };
        let daemon = &mut self.daemon;
        let told = |what: &'static str| move |error: String| format!("error while listing swarm {what}: {error}");
        let mut found = Found::default();
        if self.config.role == SwarmRole::Tasks {
            let path = format!("/tasks{}", chosen(SwarmRole::Tasks));
            found.tasks = daemon.get(&path).await.map_err(told("tasks"))?;
        }
        if self.config.role != SwarmRole::Nodes {
            let path = format!("/services{}", chosen(SwarmRole::Services));
            found.services = daemon.get(&path).await.map_err(told("services"))?;
            found.networks = daemon.get("/networks").await.map_err(told("networks"))?;
        }
        if self.config.role != SwarmRole::Services {
            let path = format!("/nodes{}", chosen(SwarmRole::Nodes));
            found.nodes = daemon.get(&path).await.map_err(told("nodes"))?;
        }
        // Labels of images. Containers of other nodes cannot be inspected here; they go without, as upstream.
        let end = Instant::now() + self.config.refresh_interval;
        for task in &found.tasks {
            let id = task
                .status
                .container_status
                .as_ref()
                .map_or("", |container| &container.id);
            let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
            if !is_id || found.containers.contains_key(id) || Instant::now() >= end {
                continue;
            }
            let inspected = daemon.get::<Inspected>(&format!("/containers/{id}/json")).await;
            let labels = inspected
                .ok()
                .and_then(|inspected| inspected.config)
                .map(|config| config.labels);
            found.containers.insert(id.to_owned(), labels.unwrap_or_default());
        }
        Ok(vec![TargetGroup {
            targets: targets(&self.config, &found)?,
            labels: Labels::empty(),
            source: "DockerSwarm".to_owned(),
        }])
    }
}

fn targets(config: &DockerSwarmSdConfig, found: &Found) -> Result<Vec<Labels>, String> {
    match config.role {
        SwarmRole::Nodes => {
            let target = |node: &Node| {
                let mut labels = of_node(node, true);
                labels.set("__address__", &host_port(&node.status.addr, config.port));
                labels.build()
            };
            Ok(found.nodes.iter().map(target).collect())
        }
        SwarmRole::Services => services(config, found),
        SwarmRole::Tasks => tasks(config, found),
    }
}

fn set(labels: &mut LabelsBuilder, name: &str, value: &str) {
    labels.set(&format!("{PREFIX}{name}"), value);
}

fn add(labels: &mut LabelsBuilder, more: Option<&Labels>) {
    for (name, value) in more.into_iter().flatten() {
        labels.set(name, value);
    }
}

// Tasks carry fewer labels of their node than a node itself.
fn of_node(node: &Node, is_whole: bool) -> LabelsBuilder {
    let mut labels = LabelsBuilder::default();
    set_all(&mut labels, &format!("{PREFIX}node_label_"), &node.spec.labels);
    let description = &node.description;
    for (name, value) in [
        ("node_id", &node.id),
        ("node_role", &node.spec.role),
        ("node_availability", &node.spec.availability),
        ("node_hostname", &description.hostname),
        ("node_platform_architecture", &description.platform.architecture),
        ("node_platform_os", &description.platform.os),
        ("node_status", &node.status.state),
        ("node_address", &node.status.addr),
    ] {
        set(&mut labels, name, value);
    }
    if is_whole {
        set(&mut labels, "node_engine_version", &description.engine.engine_version);
        if let Some(manager) = &node.manager_status {
            set(&mut labels, "node_manager_leader", &manager.leader.to_string());
            set(&mut labels, "node_manager_reachability", &manager.reachability);
            set(&mut labels, "node_manager_address", &manager.addr);
        }
    }
    labels
}

fn of_service(service: &Service) -> LabelsBuilder {
    let mut labels = LabelsBuilder::default();
    set_all(&mut labels, &format!("{PREFIX}service_label_"), &service.spec.labels);
    set(&mut labels, "service_id", &service.id);
    set(&mut labels, "service_name", &service.spec.name);
    let mode = match &service.spec.mode {
        mode if mode.global.is_some() => "global",
        mode if mode.replicated.is_some() => "replicated",
        _ => "",
    };
    set(&mut labels, "service_mode", mode);
    labels
}

// The address of `10.0.0.2/24`.
fn without_mask(address: &str) -> Result<&str, String> {
    let ip = address.split_once('/').map(|(ip, _)| ip);
    let ip = ip.filter(|ip| ip.parse::<std::net::IpAddr>().is_ok());
    ip.ok_or_else(|| format!("error while parsing address {address}: invalid CIDR address"))
}

fn services(config: &DockerSwarmSdConfig, found: &Found) -> Result<Vec<Labels>, String> {
    let networks = network_labels(&found.networks, PREFIX);
    let mut targets = Vec::new();
    for service in &found.services {
        let mut common = of_service(service);
        if let Some(container) = &service.spec.task_template.container_spec {
            set(&mut common, "service_task_container_hostname", &container.hostname);
            set(&mut common, "service_task_container_image", &container.image);
        }
        if let Some(update) = &service.update_status {
            set(&mut common, "service_updating_status", &update.state);
        }
        for address in &service.endpoint.addresses {
            let ip = without_mask(&address.addr)?;
            let mut common = common.clone();
            add(&mut common, networks.get(address.network.as_str()));
            let before = targets.len();
            for port in service.endpoint.ports.iter().filter(|port| port.protocol == "tcp") {
                let mut labels = common.clone();
                set(&mut labels, "service_endpoint_port_name", &port.name);
                set(&mut labels, "service_endpoint_port_publish_mode", &port.publish_mode);
                labels.set("__address__", &host_port(ip, port.published_port));
                targets.push(labels.build());
            }
            if targets.len() == before {
                common.set("__address__", &host_port(ip, config.port));
                targets.push(common.build());
            }
        }
    }
    Ok(targets)
}

fn tasks(config: &DockerSwarmSdConfig, found: &Found) -> Result<Vec<Labels>, String> {
    let networks = network_labels(&found.networks, PREFIX);
    let nodes: HashMap<&str, Labels> = found
        .nodes
        .iter()
        .map(|n| (n.id.as_str(), of_node(n, false).build()))
        .collect();
    let services: HashMap<&str, (&Service, Labels)> = found
        .services
        .iter()
        .map(|s| (s.id.as_str(), (s, of_service(s).build())))
        .collect();
    let container_label = format!("{PREFIX}container_label_");
    let mut targets = Vec::new();
    for task in &found.tasks {
        let mut common = LabelsBuilder::default();
        let container = task.status.container_status.as_ref();
        if let Some(spec) = &task.spec.container_spec {
            let inspected = container.and_then(|container| found.containers.get(&container.id));
            for labels in inspected.into_iter().chain([&spec.labels]) {
                set_all(&mut common, &container_label, labels);
            }
        }
        set(&mut common, "task_id", &task.id);
        set(&mut common, "task_desired_state", &task.desired_state);
        set(&mut common, "task_state", &task.status.state);
        set(&mut common, "task_slot", &task.slot.to_string());
        set(
            &mut common,
            "task_container_id",
            container.map_or("", |container| &container.id),
        );
        let service = services.get(task.service.as_str());
        add(&mut common, service.map(|(_, labels)| labels));
        add(&mut common, nodes.get(task.node.as_str()));
        let tcp = |ports: &[Port]| {
            ports
                .iter()
                .filter(|port| port.protocol == "tcp")
                .cloned()
                .collect::<Vec<_>>()
        };
        for port in tcp(&task.status.port_status.ports) {
            let mut labels = common.clone();
            let node = labels.get(&format!("{PREFIX}node_address")).to_owned();
            set(&mut labels, "task_port_publish_mode", &port.publish_mode);
            labels.set("__address__", &host_port(&node, port.published_port));
            targets.push(labels.build());
        }
        let ports = service
            .map(|(service, _)| tcp(&service.endpoint.ports))
            .unwrap_or_default();
        for attachment in &task.networks_attachments {
            for address in &attachment.addresses {
                let ip = without_mask(address)?;
                let mut labels = common.clone();
                add(&mut labels, networks.get(attachment.network.id.as_str()));
                if ports.is_empty() {
                    labels.set("__address__", &host_port(ip, config.port));
                    targets.push(labels.build());
                }
                for port in &ports {
                    let mut labels = labels.clone();
                    set(&mut labels, "task_port_publish_mode", &port.publish_mode);
                    labels.set("__address__", &host_port(ip, port.published_port));
                    targets.push(labels.build());
                }
            }
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests;
