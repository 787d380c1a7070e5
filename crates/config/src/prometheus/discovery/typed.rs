//! The kinds of service discovery that the server does (Prometheus 3.14, `discovery/*`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::checks;
use super::cloud::{self, Ec2SdConfig, OpenStackSdConfig};
use crate::common::{Auth, HttpClientConfig, Scheme, Secret, SecretSource};
use crate::http::read_http_fields;
use crate::read::Section;

/// One entry of any `*_sd_configs` list that the server does.
#[derive(Debug, Clone, PartialEq)]
pub enum DiscoveryConfig {
    /// `file_sd_configs`
    File(FileSdConfig),
    /// `http_sd_configs`
    Http(Box<HttpSdConfig>),
    /// `dns_sd_configs`
    Dns(DnsSdConfig),
    /// `consul_sd_configs`
    Consul(Box<ConsulSdConfig>),
    /// `docker_sd_configs`
    Docker(Box<DockerSdConfig>),
    /// `dockerswarm_sd_configs`
    DockerSwarm(Box<DockerSwarmSdConfig>),
    /// `ec2_sd_configs`
    Ec2(Box<Ec2SdConfig>),
    /// `openstack_sd_configs`
    OpenStack(Box<OpenStackSdConfig>),
}

impl DiscoveryConfig {
    /// The mechanism as metrics name it: `file`, `http`, `dns`, `consul`, `docker`,
    /// `dockerswarm`, `ec2`, `openstack`.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Http(_) => "http",
            Self::Dns(_) => "dns",
            Self::Consul(_) => "consul",
            Self::Docker(_) => "docker",
            Self::DockerSwarm(_) => "dockerswarm",
            Self::Ec2(_) => "ec2",
            Self::OpenStack(_) => "openstack",
        }
    }
}

/// `file_sd_configs`: targets in files that are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSdConfig {
    /// Glob patterns, joined to the configuration file's folder; they end in json, yml or yaml.
    pub files: Vec<PathBuf>,
    /// How often everything is read again, changed or not; default 5m.
    pub refresh_interval: Duration,
}

/// `http_sd_configs`: targets that a server lists as JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSdConfig {
    /// What is asked; http or https.
    pub url: String,
    /// Default 1m.
    pub refresh_interval: Duration,
    /// How to speak to the server.
    pub http: HttpClientConfig,
}

/// The DNS records that name targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsRecord {
    /// `A`: addresses of IPv4.
    A,
    /// `AAAA`: addresses of IPv6.
    Aaaa,
    /// `SRV`: hosts with ports.
    Srv,
    /// `MX`: hosts that take mail.
    Mx,
    /// `NS`: name servers.
    Ns,
}

/// `dns_sd_configs`: targets that DNS records name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSdConfig {
    /// The names that are asked for.
    pub names: Vec<String>,
    /// Default `SRV`.
    pub record: DnsRecord,
    /// The port of the targets; SRV records bring their own.
    pub port: u64,
    /// Default 30s.
    pub refresh_interval: Duration,
}

/// `consul_sd_configs`: services in Consul's catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsulSdConfig {
    /// `host:port`; default `localhost:8500`.
    pub server: String,
    /// Goes before `/v1/`; empty by default.
    pub path_prefix: String,
    /// Sent as `X-Consul-Token`.
    pub token: Option<Secret>,
    /// Empty for the agent's own.
    pub datacenter: String,
    /// Enterprise only; empty for none.
    pub namespace: String,
    /// Enterprise only; empty for none.
    pub partition: String,
    /// Between tags in the label of all tags, and around them; default `,`.
    pub tag_separator: String,
    /// Default `http`.
    pub scheme: Scheme,
    /// Whether any server may answer, also one that lags behind; default true.
    pub allow_stale: bool,
    /// The services wanted; all where empty.
    pub services: Vec<String>,
    /// Tags that a service must have, all of them.
    pub tags: Vec<String>,
    /// Metadata that a service's node must have, all of them.
    pub node_meta: BTreeMap<String, String>,
    /// An expression of Consul's filter language for the catalogue of services; empty for none.
    pub filter: String,
    /// An expression of Consul's filter language for the instances of a service; empty for none.
    pub health_filter: String,
    /// At most this often the list of services and each service's instances are read; default 30s.
    pub refresh_interval: Duration,
    /// How to speak to Consul. `username` and `password` are in here.
    pub http: HttpClientConfig,
}

/// A condition that Docker applies; any of the values suffices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerFilter {
    /// For example `label`.
    pub name: String,
    /// For example `com.example.team=a`.
    pub values: Vec<String>,
}

/// `docker_sd_configs`: the containers of a Docker daemon.
#[derive(Debug, Clone, PartialEq)]
pub struct DockerSdConfig {
    /// `unix:///var/run/docker.sock`, `tcp://host:2375`, `http://…` or `https://…`.
    pub host: String,
    /// Which containers are listed.
    pub filters: Vec<DockerFilter>,
    /// The port of containers that publish none; default 80.
    pub port: u64,
    /// The host of containers in the host's network; default `localhost`.
    pub host_networking_host: String,
    /// Only the first network of a container that is in several; default true.
    pub match_first_network: bool,
    /// Default 1m.
    pub refresh_interval: Duration,
    /// How to speak to the daemon where it is not a socket.
    pub http: HttpClientConfig,
}

/// What of a swarm becomes targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwarmRole {
    /// `services`: the services' virtual addresses.
    Services,
    /// `tasks`: the addresses of the tasks.
    Tasks,
    /// `nodes`: the nodes.
    Nodes,
}

/// `dockerswarm_sd_configs`: what runs in a Docker swarm.
#[derive(Debug, Clone, PartialEq)]
pub struct DockerSwarmSdConfig {
    /// As [`DockerSdConfig::host`].
    pub host: String,
    /// What becomes a target.
    pub role: SwarmRole,
    /// Which of them are listed.
    pub filters: Vec<DockerFilter>,
    /// The port of nodes, and of services and tasks that publish none; default 80.
    pub port: u64,
    /// Default 1m.
    pub refresh_interval: Duration,
    /// How to speak to the daemon where it is not a socket.
    pub http: HttpClientConfig,
}

/// A kind that is read into a type: the field of a scrape job, the type in upstream's messages, the reader.
type Typed = (&'static str, &'static str, fn(&Section<'_>) -> DiscoveryConfig);

pub(super) const TYPED: &[Typed] = &[
    ("consul_sd_configs", "consul.plain", consul),
    ("dns_sd_configs", "dns.plain", dns),
    ("docker_sd_configs", "moby.plain", docker),
    ("dockerswarm_sd_configs", "moby.plain", dockerswarm),
    ("ec2_sd_configs", "aws.plain", cloud::ec2),
    ("file_sd_configs", "file.plain", file),
    ("http_sd_configs", "http.plain", http),
    ("openstack_sd_configs", "openstack.plain", cloud::openstack),
];

pub(super) fn every(section: &Section<'_>, default: u64) -> Duration {
    // Zero would ask without a pause; Go cannot tell it from absent in most places.
    section
        .nonzero_duration("refresh_interval")
        .unwrap_or(Duration::from_secs(default))
}

fn file(section: &Section<'_>) -> DiscoveryConfig {
    checks::file(section);
    let files = section.texts("files");
    DiscoveryConfig::File(FileSdConfig {
        files: files.iter().map(|file| section.reader.resolve(file)).collect(),
        refresh_interval: every(section, 300),
    })
}

fn http(section: &Section<'_>) -> DiscoveryConfig {
    checks::http(section);
    DiscoveryConfig::Http(Box::new(HttpSdConfig {
        url: section.text("url").unwrap_or_default(),
        refresh_interval: every(section, 60),
        http: read_http_fields(section),
    }))
}

fn dns(section: &Section<'_>) -> DiscoveryConfig {
    checks::dns(section);
    let record = section.filled_text("type").unwrap_or_default();
    DiscoveryConfig::Dns(DnsSdConfig {
        names: section.texts("names"),
        record: match record.to_uppercase().as_str() {
            "A" => DnsRecord::A,
            "AAAA" => DnsRecord::Aaaa,
            "MX" => DnsRecord::Mx,
            "NS" => DnsRecord::Ns,
            _ => DnsRecord::Srv,
        },
        port: section.count("port").unwrap_or(0),
        refresh_interval: every(section, 30),
    })
}

fn consul(section: &Section<'_>) -> DiscoveryConfig {
    let mut http = read_http_fields(section);
    let (username, password) = (section.filled_text("username"), section.secret("password"));
    checks::consul(section);
    if (username.is_some() || password.is_some()) && http.auth.is_none() {
        http.auth = Some(Auth::Basic {
            username: username.map(|name| SecretSource::Inline(Secret::new(name))),
            password: password.map(SecretSource::Inline),
        });
    }
    let scheme = match section.filled_text("scheme").as_deref() {
        Some("https") => Scheme::Https,
        // TLS settings alone do not make it https, as in Consul's own client.
        _ => Scheme::Http,
    };
    DiscoveryConfig::Consul(Box::new(ConsulSdConfig {
        server: section
            .filled_text("server")
            .unwrap_or_else(|| "localhost:8500".to_owned()),
        path_prefix: section.text("path_prefix").unwrap_or_default(),
        token: section.secret("token"),
        datacenter: section.text("datacenter").unwrap_or_default(),
        namespace: section.text("namespace").unwrap_or_default(),
        partition: section.text("partition").unwrap_or_default(),
        tag_separator: section.text("tag_separator").unwrap_or_else(|| ",".to_owned()),
        scheme,
        allow_stale: section.bool("allow_stale").unwrap_or(true),
        services: section.texts("services"),
        tags: section.texts("tags"),
        node_meta: section.text_map("node_meta"),
        filter: section.text("filter").unwrap_or_default(),
        health_filter: section.text("health_filter").unwrap_or_default(),
        refresh_interval: every(section, 30),
        http,
    }))
}

fn docker(section: &Section<'_>) -> DiscoveryConfig {
    checks::docker(section);
    DiscoveryConfig::Docker(Box::new(DockerSdConfig {
        host: section.text("host").unwrap_or_default(),
        filters: docker_filters(section),
        port: section.count("port").unwrap_or(80),
        host_networking_host: section
            .text("host_networking_host")
            .unwrap_or_else(|| "localhost".to_owned()),
        match_first_network: section.bool("match_first_network").unwrap_or(true),
        refresh_interval: every(section, 60),
        http: read_http_fields(section),
    }))
}

fn dockerswarm(section: &Section<'_>) -> DiscoveryConfig {
    checks::dockerswarm(section);
    DiscoveryConfig::DockerSwarm(Box::new(DockerSwarmSdConfig {
        host: section.text("host").unwrap_or_default(),
        role: match section.text("role").as_deref() {
            Some("services") => SwarmRole::Services,
            Some("nodes") => SwarmRole::Nodes,
            _ => SwarmRole::Tasks,
        },
        filters: docker_filters(section),
        port: section.count("port").unwrap_or(80),
        refresh_interval: every(section, 60),
        http: read_http_fields(section),
    }))
}

fn docker_filters(section: &Section<'_>) -> Vec<DockerFilter> {
    let mut filters = Vec::new();
    for node in section.items("filters", "[]Filter", "empty or null filter") {
        let filter = section.reader.section(node, "Filter");
        filters.push(DockerFilter {
            name: filter.text("name").unwrap_or_default(),
            values: filter.texts("values"),
        });
        filter.finish();
    }
    filters
}
