//! `openstack_sd_configs`: machines, hypervisors and load balancers of an OpenStack (Prometheus 3.14,
//! `discovery/openstack`).
//!
//! Each look asks Keystone for a token and the catalogue of services, and then the services. Lists come in pages; they
//! are asked for one after the other, each within the refresh interval.

mod keystone;

use std::collections::{BTreeMap, HashMap, HashSet};

use cupola_config::prometheus::{OpenStackRole, OpenStackSdConfig, TargetGroup};
use cupola_model::{Labels, LabelsBuilder};
use serde::Deserialize;
use serde_json::Value;
use tracing::debug;

use crate::labels::{host_port, or_default, set_all};
use crate::provider::{Look, Updates};
use keystone::{Cloud, Session};

const META: &str = "__meta_openstack_";

#[derive(Debug, Deserialize)]
struct Machine {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(default, deserialize_with = "or_default")]
    tenant_id: String,
    #[serde(default, deserialize_with = "or_default")]
    user_id: String,
    #[serde(default, deserialize_with = "or_default")]
    flavor: BTreeMap<String, Value>,
    // The empty text where the machine was started from a volume.
    #[serde(default)]
    image: Value,
    #[serde(default, deserialize_with = "or_default")]
    metadata: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    addresses: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Hypervisor {
    // A number, or a text since version 2.53 of the API.
    #[serde(default)]
    id: Value,
    #[serde(default, deserialize_with = "or_default")]
    hypervisor_hostname: String,
    #[serde(default, deserialize_with = "or_default")]
    host_ip: String,
    #[serde(default, deserialize_with = "or_default")]
    hypervisor_type: String,
    #[serde(default, deserialize_with = "or_default")]
    state: String,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
}

#[derive(Debug, Deserialize)]
struct Port {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    device_id: String,
}

#[derive(Debug, Deserialize)]
struct FloatingIp {
    #[serde(default, deserialize_with = "or_default")]
    port_id: String,
    #[serde(default, deserialize_with = "or_default")]
    fixed_ip_address: String,
    #[serde(default, deserialize_with = "or_default")]
    floating_ip_address: String,
    #[serde(default, deserialize_with = "or_default")]
    tenant_id: String,
}

#[derive(Debug, Deserialize)]
struct LoadBalancer {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    operating_status: String,
    #[serde(default, deserialize_with = "or_default")]
    provisioning_status: String,
    #[serde(default, deserialize_with = "or_default")]
    availability_zone: String,
    #[serde(default, deserialize_with = "or_default")]
    vip_address: String,
    #[serde(default, deserialize_with = "or_default")]
    vip_port_id: String,
    #[serde(default, deserialize_with = "or_default")]
    provider: String,
    #[serde(default, deserialize_with = "or_default")]
    project_id: String,
    #[serde(default, deserialize_with = "or_default")]
    tags: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Listener {
    #[serde(default, deserialize_with = "or_default")]
    protocol: String,
    #[serde(default, deserialize_with = "or_default")]
    protocol_port: u64,
    #[serde(default, deserialize_with = "or_default")]
    loadbalancers: Vec<Id>,
}

#[derive(Debug, Deserialize)]
struct Id {
    id: String,
}

pub(crate) async fn run(config: OpenStackSdConfig, updates: Updates) {
    let place = OpenStack {
        cloud: Cloud::new(&config),
        config,
    };
    updates.refresh(place.config.refresh_interval, place).await;
}

struct OpenStack {
    config: OpenStackSdConfig,
    cloud: Cloud,
}

impl Look for OpenStack {
    async fn look(&mut self) -> Result<Vec<TargetGroup>, String> {
        let session = self.cloud.authenticate().await;
        let session = session.map_err(|e| format!("could not authenticate to OpenStack: {e}"))?;
        let targets = match self.config.role {
            OpenStackRole::Instance => self.instances(&session).await?,
            OpenStackRole::Hypervisor => self.hypervisors(&session).await?,
            OpenStackRole::LoadBalancer => self.load_balancers(&session).await?,
        };
        Ok(vec![TargetGroup {
            targets,
            labels: Labels::empty(),
            source: format!("OS_{}", self.config.region),
        }])
    }
}

impl OpenStack {
    async fn instances(&mut self, session: &Session) -> Result<Vec<Labels>, String> {
        let compute = session.endpoint("compute", "compute")?;
        let network = session.endpoint("network", "network")?;
        let ports = format!("{network}v2.0/ports");
        let ports: Vec<Port> = self.cloud.list(session, "network", &ports, "ports").await?;
        let floating = format!("{network}v2.0/floatingips");
        let floating: Vec<FloatingIp> = self.cloud.list(session, "network", &floating, "floatingips").await?;
        let all = if self.config.all_tenants {
            "?all_tenants=true"
        } else {
            ""
        };
        let servers = format!("{compute}servers/detail{all}");
        let machines: Vec<Machine> = self.cloud.list(session, "compute", &servers, "servers").await?;
        Ok(instances(self.config.port, &machines, &ports, &floating))
    }

    async fn hypervisors(&mut self, session: &Session) -> Result<Vec<Labels>, String> {
        let compute = session.endpoint("compute", "compute")?;
        let url = format!("{compute}os-hypervisors/detail");
        let all: Vec<Hypervisor> = self.cloud.list(session, "compute", &url, "hypervisors").await?;
        Ok(all
            .iter()
            .map(|hypervisor| of_hypervisor(self.config.port, hypervisor))
            .collect())
    }

    async fn load_balancers(&mut self, session: &Session) -> Result<Vec<Labels>, String> {
        let octavia = session.endpoint("load-balancer", "load balancer")?;
        let octavia = octavia.replace("v2.0/", "");
        let network = session.endpoint("network", "network")?;
        let url = format!("{octavia}v2.0/lbaas/loadbalancers");
        let balancers: Vec<LoadBalancer> = self.cloud.list(session, "load-balancer", &url, "loadbalancers").await?;
        let url = format!("{octavia}v2.0/lbaas/listeners");
        let listeners: Vec<Listener> = self.cloud.list(session, "load-balancer", &url, "listeners").await?;
        let url = format!("{network}v2.0/floatingips");
        let floating: Vec<FloatingIp> = self.cloud.list(session, "network", &url, "floatingips").await?;
        Ok(load_balancers(&balancers, &listeners, &floating))
    }
}

fn set(labels: &mut LabelsBuilder, name: &str, value: &str) {
    labels.set(&format!("{META}{name}"), value);
}

// A target for each address of a machine that is not a floating one; that is a label of the address it leads to.
fn instances(port: u64, machines: &[Machine], ports: &[Port], floating: &[FloatingIp]) -> Vec<Labels> {
    let device_of: HashMap<&str, &str> = ports
        .iter()
        .map(|port| (port.id.as_str(), port.device_id.as_str()))
        .collect();
    let mut leading_to: HashMap<(&str, &str, &str), &str> = HashMap::new();
    let mut floating_ips: HashSet<&str> = HashSet::new();
    for ip in floating {
        if ip.port_id.is_empty() || ip.fixed_ip_address.is_empty() {
            continue;
        }
        let Some(device) = device_of.get(ip.port_id.as_str()) else {
            debug!(port = ip.port_id, "no such port of a floating IP");
            continue;
        };
        leading_to.insert((&ip.tenant_id, device, &ip.fixed_ip_address), &ip.floating_ip_address);
        floating_ips.insert(&ip.floating_ip_address);
    }
    let mut targets = Vec::new();
    for machine in machines {
        // The name is only told from version 2.47 of the API on, and then there is no ID.
        let flavor = ["original_name", "id"]
            .iter()
            .find_map(|name| machine.flavor.get(*name)?.as_str());
        let Some(flavor) = flavor else {
            debug!(machine = machine.id, "no flavor");
            continue;
        };
        let mut common = LabelsBuilder::default();
        set_all(&mut common, &format!("{META}tag_"), &machine.metadata);
        set(&mut common, "instance_id", &machine.id);
        set(&mut common, "instance_status", &machine.status);
        set(&mut common, "instance_name", &machine.name);
        set(&mut common, "project_id", &machine.tenant_id);
        set(&mut common, "user_id", &machine.user_id);
        set(&mut common, "instance_flavor", flavor);
        if let Some(image) = machine.image.get("id").and_then(Value::as_str) {
            set(&mut common, "instance_image", image);
        }
        for (pool, addresses) in &machine.addresses {
            let addresses = addresses.as_array().into_iter().flatten();
            for address in addresses.filter_map(|address| address.get("addr")?.as_str()) {
                if floating_ips.contains(address) {
                    continue;
                }
                let mut labels = common.clone();
                set(&mut labels, "address_pool", pool);
                set(&mut labels, "private_ip", address);
                let key = (machine.tenant_id.as_str(), machine.id.as_str(), address);
                if let Some(public) = leading_to.get(&key) {
                    set(&mut labels, "public_ip", public);
                }
                labels.set("__address__", &host_port(address, port));
                targets.push(labels.build());
            }
        }
    }
    targets
}

fn of_hypervisor(port: u64, hypervisor: &Hypervisor) -> Labels {
    let mut labels = LabelsBuilder::default();
    labels.set("__address__", &host_port(&hypervisor.host_ip, port));
    let id = match &hypervisor.id {
        Value::String(id) => id.clone(),
        Value::Null => String::new(),
        id => id.to_string(),
    };
    set(&mut labels, "hypervisor_id", &id);
    set(&mut labels, "hypervisor_hostname", &hypervisor.hypervisor_hostname);
    set(&mut labels, "hypervisor_host_ip", &hypervisor.host_ip);
    set(&mut labels, "hypervisor_status", &hypervisor.status);
    set(&mut labels, "hypervisor_state", &hypervisor.state);
    set(&mut labels, "hypervisor_type", &hypervisor.hypervisor_type);
    labels.build()
}

// Those that have a listener for Prometheus; the first one is the port.
fn load_balancers(balancers: &[LoadBalancer], listeners: &[Listener], floating: &[FloatingIp]) -> Vec<Labels> {
    let mut port_of: HashMap<&str, u64> = HashMap::new();
    for listener in listeners.iter().filter(|listener| listener.protocol == "PROMETHEUS") {
        for balancer in &listener.loadbalancers {
            port_of.entry(&balancer.id).or_insert(listener.protocol_port);
        }
    }
    let floating: HashMap<&str, &str> = floating
        .iter()
        .filter(|ip| !ip.port_id.is_empty())
        .map(|ip| (ip.port_id.as_str(), ip.floating_ip_address.as_str()))
        .collect();
    let mut targets = Vec::new();
    for balancer in balancers {
        let Some(port) = port_of.get(balancer.id.as_str()) else {
            continue;
        };
        let mut labels = LabelsBuilder::default();
        labels.set("__address__", &host_port(&balancer.vip_address, *port));
        for (name, value) in [
            ("id", &balancer.id),
            ("name", &balancer.name),
            ("operating_status", &balancer.operating_status),
            ("provisioning_status", &balancer.provisioning_status),
            ("availability_zone", &balancer.availability_zone),
            ("vip", &balancer.vip_address),
            ("provider", &balancer.provider),
        ] {
            set(&mut labels, &format!("loadbalancer_{name}"), value);
        }
        set(&mut labels, "project_id", &balancer.project_id);
        if !balancer.tags.is_empty() {
            set(&mut labels, "loadbalancer_tags", &balancer.tags.join(","));
        }
        if let Some(floating) = floating.get(balancer.vip_port_id.as_str()) {
            set(&mut labels, "loadbalancer_floating_ip", floating);
        }
        targets.push(labels.build());
    }
    targets
}

#[cfg(test)]
mod tests;
