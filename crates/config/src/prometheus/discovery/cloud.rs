//! The clouds that the server asks for machines (Prometheus 3.14, `discovery/aws`, `discovery/openstack`).

use std::time::Duration;

use super::typed::{DiscoveryConfig, every};
use super::{NO_FILTER_VALUES, checks};
use crate::common::{HttpClientConfig, Secret, TlsConfig};
use crate::http::{read_http_fields, read_tls};
use crate::read::Section;

/// A condition that EC2 applies; any of the values suffices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2Filter {
    /// For example `tag:team`.
    pub name: String,
    /// At least one.
    pub values: Vec<String>,
}

/// `ec2_sd_configs`: the instances of Amazon's EC2.
#[derive(Debug, Clone, PartialEq)]
pub struct Ec2SdConfig {
    /// The URL to ask instead of the region's own; empty for that.
    pub endpoint: String,
    /// Empty for the environment's.
    pub region: String,
    /// Empty for the profile's or the environment's.
    pub access_key: String,
    /// The key of `access_key`.
    pub secret_key: Option<Secret>,
    /// A profile of the shared credentials; empty for none.
    pub profile: String,
    /// A role to assume; empty for none.
    pub role_arn: String,
    /// Told when the role is assumed; empty for none.
    pub external_id: String,
    /// Which instances are listed.
    pub filters: Vec<Ec2Filter>,
    /// The port of the targets; default 80.
    pub port: u64,
    /// Default 1m.
    pub refresh_interval: Duration,
    /// How to speak to EC2. What authenticates stands in here and has no effect: requests are signed.
    pub http: HttpClientConfig,
}

/// What of an OpenStack becomes targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenStackRole {
    /// `instance`: the addresses of Nova's machines.
    Instance,
    /// `hypervisor`: the hosts that the machines run on.
    Hypervisor,
    /// `loadbalancer`: Octavia's load balancers that have a listener of the protocol `PROMETHEUS`.
    LoadBalancer,
}

impl OpenStackRole {
    /// As written in a configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Hypervisor => "hypervisor",
            Self::LoadBalancer => "loadbalancer",
        }
    }
}

/// Which of a service's addresses is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// `public`
    Public,
    /// `internal`
    Internal,
    /// `admin`
    Admin,
}

impl Availability {
    /// As written in a configuration, and in Keystone's catalogue.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }
}

/// `openstack_sd_configs`: what runs in an OpenStack.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenStackSdConfig {
    /// Keystone's URL; where it is empty, it and everything that identifies come from the environment (`OS_AUTH_URL`, …).
    pub identity_endpoint: String,
    /// Comes with a domain.
    pub username: String,
    /// Instead of `username` and domain.
    pub user_id: String,
    /// Of the user.
    pub password: Option<Secret>,
    /// The project to look into, by name, which comes with a domain.
    pub project_name: String,
    /// The project to look into.
    pub project_id: String,
    /// Of user and project.
    pub domain_name: String,
    /// Of user and project.
    pub domain_id: String,
    /// Comes with a user.
    pub application_credential_name: String,
    /// Instead of a user.
    pub application_credential_id: String,
    /// Of the application credential.
    pub application_credential_secret: Option<Secret>,
    /// What becomes a target.
    pub role: OpenStackRole,
    /// Whose addresses of the catalogue are asked.
    pub region: String,
    /// Whether the machines of all projects are listed; needs an administrator.
    pub all_tenants: bool,
    /// Default `public`.
    pub availability: Availability,
    /// The port of the targets, but for load balancers, which have their own; default 80.
    pub port: u64,
    /// Default 1m.
    pub refresh_interval: Duration,
    /// TLS towards all services.
    pub tls: TlsConfig,
}

pub(super) fn ec2(section: &Section<'_>) -> DiscoveryConfig {
    let text = |name| section.text(name).unwrap_or_default();
    let mut filters = Vec::new();
    for node in section.items("filters", "[]EC2Filter", "empty or null filter") {
        let filter = section.reader.section(node, "EC2Filter");
        let values = filter.texts("values");
        if values.is_empty() {
            filter.error_at("values", NO_FILTER_VALUES);
        }
        filters.push(Ec2Filter {
            name: filter.text("name").unwrap_or_default(),
            values,
        });
        filter.finish();
    }
    DiscoveryConfig::Ec2(Box::new(Ec2SdConfig {
        endpoint: text("endpoint"),
        region: text("region"),
        access_key: text("access_key"),
        secret_key: section.secret("secret_key"),
        profile: text("profile"),
        role_arn: text("role_arn"),
        external_id: text("external_id"),
        filters,
        port: section.count("port").unwrap_or(80),
        refresh_interval: every(section, 60),
        http: read_http_fields(section),
    }))
}

pub(super) fn openstack(section: &Section<'_>) -> DiscoveryConfig {
    checks::openstack(section);
    let text = |name| section.text(name).unwrap_or_default();
    DiscoveryConfig::OpenStack(Box::new(OpenStackSdConfig {
        identity_endpoint: text("identity_endpoint"),
        username: text("username"),
        user_id: text("userid"),
        password: section.secret("password"),
        project_name: text("project_name"),
        project_id: text("project_id"),
        domain_name: text("domain_name"),
        domain_id: text("domain_id"),
        application_credential_name: text("application_credential_name"),
        application_credential_id: text("application_credential_id"),
        application_credential_secret: section.secret("application_credential_secret"),
        role: match text("role").as_str() {
            "hypervisor" => OpenStackRole::Hypervisor,
            "loadbalancer" => OpenStackRole::LoadBalancer,
            _ => OpenStackRole::Instance,
        },
        region: text("region"),
        all_tenants: section.bool("all_tenants").unwrap_or(false),
        availability: match text("availability").as_str() {
            "internal" => Availability::Internal,
            "admin" => Availability::Admin,
            _ => Availability::Public,
        },
        port: section.count("port").unwrap_or(80),
        refresh_interval: every(section, 60),
        tls: section
            .get("tls_config")
            .map(|node| read_tls(section.reader, node))
            .unwrap_or_default(),
    }))
}
