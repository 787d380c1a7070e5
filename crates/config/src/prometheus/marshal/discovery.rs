//! Where targets come from: `static_configs` first, then the kinds of discovery by name, as upstream writes them.

use super::http::{client, hidden, tls};
use super::yaml::{Map, Yaml};
use super::{duration, path, shown_url, texts};
use crate::common::{Secret, TlsConfig};
use crate::prometheus::{
    DiscoveryConfig, DnsRecord, DockerFilter, Ec2SdConfig, OpenStackSdConfig, SwarmRole, TargetGroup,
};

/// All lists of a job, or of a group of Alertmanagers.
pub(super) fn lists(groups: &[TargetGroup], configs: &[DiscoveryConfig]) -> Map {
    let mut map = Map::default();
    map.list("static_configs", groups.iter().map(group).collect());
    let kinds = [
        "consul",
        "dns",
        "docker",
        "dockerswarm",
        "ec2",
        "file",
        "http",
        "openstack",
    ];
    for kind in kinds {
        let those = configs.iter().filter(|config| config.mechanism() == kind);
        map.list(
            &format!("{kind}_sd_configs"),
            those.map(|one| Yaml::Map(entry(one))).collect(),
        );
    }
    map
}

fn group(group: &TargetGroup) -> Yaml {
    let mut map = Map::default();
    let addresses = group
        .targets
        .iter()
        .map(|target| target.get("__address__").unwrap_or_default());
    map.put("targets", Yaml::texts(addresses));
    let labels = group
        .labels
        .iter()
        .map(|(name, value)| (name, Yaml::Text(value.to_owned())));
    map.map("labels", labels.collect());
    Yaml::Map(map)
}

fn filters(all: &[DockerFilter]) -> Yaml {
    let one = |filter: &DockerFilter| {
        let mut map = Map::default();
        map.text("name", &filter.name)
            .put("values", Yaml::texts(&filter.values));
        Yaml::Map(map)
    };
    Yaml::List(all.iter().map(one).collect())
}

fn entry(config: &DiscoveryConfig) -> Map {
    let mut map = Map::default();
    match config {
        DiscoveryConfig::File(file) => {
            map.put("files", Yaml::texts(file.files.iter().map(|file| path(file))));
            map.text("refresh_interval", &duration(file.refresh_interval));
        }
        DiscoveryConfig::Http(http) => {
            map.inline(client(&http.http));
            map.text("refresh_interval", &duration(http.refresh_interval));
            map.text("url", &shown_url(&http.url));
        }
        DiscoveryConfig::Dns(dns) => {
            map.put("names", Yaml::texts(&dns.names));
            map.text("refresh_interval", &duration(dns.refresh_interval));
            let record = match dns.record {
                DnsRecord::A => "A",
                DnsRecord::Aaaa => "AAAA",
                DnsRecord::Srv => "SRV",
                DnsRecord::Mx => "MX",
                DnsRecord::Ns => "NS",
            };
            map.text("type", record).raw("port", dns.port);
        }
        DiscoveryConfig::Consul(consul) => {
            map.filled("server", &consul.server);
            map.filled("path_prefix", &consul.path_prefix);
            if consul.token.is_some() {
                map.put("token", hidden());
            }
            map.filled("datacenter", &consul.datacenter);
            map.filled("namespace", &consul.namespace);
            map.filled("partition", &consul.partition);
            map.filled("tag_separator", &consul.tag_separator);
            map.text("scheme", consul.scheme.as_str());
            map.raw("allow_stale", consul.allow_stale);
            map.text("refresh_interval", &duration(consul.refresh_interval));
            let list = |all: &[String]| all.iter().map(|text| Yaml::Text(text.clone())).collect();
            map.list("services", list(&consul.services));
            map.list("tags", list(&consul.tags));
            map.map("node_meta", texts(&consul.node_meta));
            map.filled("filter", &consul.filter);
            map.filled("health_filter", &consul.health_filter);
            map.inline(client(&consul.http));
        }
        DiscoveryConfig::Docker(docker) => {
            map.inline(client(&docker.http));
            map.text("host", &shown_url(&docker.host)).raw("port", docker.port);
            map.put("filters", filters(&docker.filters));
            map.text("host_networking_host", &docker.host_networking_host);
            map.text("refresh_interval", &duration(docker.refresh_interval));
            map.raw("match_first_network", docker.match_first_network);
        }
        DiscoveryConfig::DockerSwarm(swarm) => {
            map.inline(client(&swarm.http));
            let role = match swarm.role {
                SwarmRole::Services => "services",
                SwarmRole::Tasks => "tasks",
                SwarmRole::Nodes => "nodes",
            };
            map.text("host", &shown_url(&swarm.host)).text("role", role);
            map.raw("port", swarm.port).put("filters", filters(&swarm.filters));
            map.text("refresh_interval", &duration(swarm.refresh_interval));
        }
        DiscoveryConfig::Ec2(config) => return ec2(config),
        DiscoveryConfig::OpenStack(config) => return openstack(config),
    }
    map
}

fn ec2(config: &Ec2SdConfig) -> Map {
    let mut map = Map::default();
    map.text("endpoint", &config.endpoint).text("region", &config.region);
    map.filled("access_key", &config.access_key);
    if config.secret_key.is_some() {
        map.put("secret_key", hidden());
    }
    map.filled("profile", &config.profile)
        .filled("role_arn", &config.role_arn)
        .filled("external_id", &config.external_id);
    map.text("refresh_interval", &duration(config.refresh_interval));
    let filters = config.filters.iter().map(|filter| {
        let mut map = Map::default();
        map.text("name", &filter.name)
            .put("values", Yaml::texts(&filter.values));
        Yaml::Map(map)
    });
    map.raw("port", config.port)
        .put("filters", Yaml::List(filters.collect()));
    map.inline(client(&config.http));
    map
}

fn openstack(config: &OpenStackSdConfig) -> Map {
    let mut map = Map::default();
    // A secret that is not given is written as null, not left out.
    let secret = |secret: &Option<Secret>| match secret {
        Some(_) => hidden(),
        None => Yaml::Raw("null".to_owned()),
    };
    map.text("identity_endpoint", &shown_url(&config.identity_endpoint));
    map.text("username", &config.username).text("userid", &config.user_id);
    map.put("password", secret(&config.password));
    map.text("project_name", &config.project_name)
        .text("project_id", &config.project_id)
        .text("domain_name", &config.domain_name)
        .text("domain_id", &config.domain_id)
        .text("application_credential_name", &config.application_credential_name)
        .text("application_credential_id", &config.application_credential_id)
        .put(
            "application_credential_secret",
            secret(&config.application_credential_secret),
        );
    map.text("role", config.role.as_str()).text("region", &config.region);
    map.text("refresh_interval", &duration(config.refresh_interval));
    map.raw("port", config.port).raw("all_tenants", config.all_tenants);
    let mut shown = tls(&config.tls);
    if config.tls == TlsConfig::default() {
        shown.raw("insecure_skip_verify", false);
    }
    map.map("tls_config", shown);
    map.text("availability", config.availability.as_str());
    map
}
