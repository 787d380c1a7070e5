//! Service discovery (Prometheus 3.14, `discovery/*`): the kinds that the server does have types of their own
//! (`typed`); the others are read and checked, and listed as what this version does not do yet.
//!
//! Each of the latter is a row: its fields, whether those of an HTTP client stand among them, and what else must hold.
//! Whoever builds a kind takes its row out and reads it into a type of its own.

mod checks;
mod cloud;
mod groups;
mod kubernetes;
mod typed;

pub use cloud::{Availability, Ec2Filter, Ec2SdConfig, OpenStackRole, OpenStackSdConfig};
pub use groups::parse_target_groups;
pub use typed::{
    ConsulSdConfig, DiscoveryConfig, DnsRecord, DnsSdConfig, DockerFilter, DockerSdConfig, DockerSwarmSdConfig,
    FileSdConfig, HttpSdConfig, SwarmRole,
};

use crate::http::{read_http_fields, read_tls};
use crate::read::Section;

/// How a field is read.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Text,
    Secret,
    Texts,
    Bool,
    Count,
    Duration,
    Tls,
    /// `[{name, values}]`; the text where values are missing, empty where that is allowed.
    Filters(&'static str),
    /// Read by the row's check.
    Checked,
}

struct Kind {
    /// The field of a scrape job.
    name: &'static str,
    /// The type in upstream's messages.
    type_name: &'static str,
    fields: &'static [(&'static str, Field)],
    has_http: bool,
    check: fn(&Section<'_>),
}

use Field::{Bool, Checked, Count, Duration, Filters, Secret, Text, Texts, Tls};

const EVERY: (&str, Field) = ("refresh_interval", Duration);
const PORT: (&str, Field) = ("port", Count);
const NO_FILTER_VALUES: &str = "EC2 SD configuration filter values cannot be empty";

const fn kind(
    name: &'static str,
    type_name: &'static str,
    has_http: bool,
    check: fn(&Section<'_>),
    fields: &'static [(&'static str, Field)],
) -> Kind {
    Kind {
        name,
        type_name,
        fields,
        has_http,
        check,
    }
}

fn anything(_: &Section<'_>) {}

#[rustfmt::skip]
const KINDS: &[Kind] = &[
    kind("aws_sd_configs", "aws.plain", true, anything, &[
        ("role", Text), ("region", Text), ("endpoint", Text), ("access_key", Text), ("secret_key", Secret), ("profile", Text),
        ("role_arn", Text), ("external_id", Text), ("clusters", Texts), ("filters", Filters(NO_FILTER_VALUES)), EVERY, PORT,
    ]),
    kind("azure_sd_configs", "azure.plain", true, checks::azure, &[
        ("environment", Text), ("authentication_method", Checked), ("subscription_id", Checked), ("tenant_id", Checked),
        ("client_id", Checked), ("client_secret", Secret), ("resource_group", Text), EVERY, PORT,
    ]),
    kind("digitalocean_sd_configs", "digitalocean.plain", true, anything, &[EVERY, PORT]),
    kind("eureka_sd_configs", "eureka.plain", true, checks::eureka, &[("server", Checked), EVERY]),
    kind("gce_sd_configs", "gce.plain", false, checks::gce, &[
        ("project", Checked), ("zone", Checked), ("filter", Text), ("tag_separator", Text), EVERY, PORT,
    ]),
    kind("hetzner_sd_configs", "hetzner.plain", true, checks::hetzner, &[
        ("role", Checked), ("label_selector", Text), EVERY, PORT,
    ]),
    kind("ionos_sd_configs", "ionos.plain", true, checks::ionos, &[("datacenter_id", Checked), EVERY, PORT]),
    kind("kubernetes_sd_configs", "kubernetes.plain", true, kubernetes::check, &[
        ("api_server", Checked), ("role", Checked), ("kubeconfig_file", Checked), ("namespaces", Checked),
        ("selectors", Checked), ("attach_metadata", Checked),
    ]),
    kind("kuma_sd_configs", "xds.plainKumaConf", true, checks::kuma, &[
        ("server", Checked), ("client_id", Text), ("fetch_timeout", Duration), EVERY,
    ]),
    kind("lightsail_sd_configs", "aws.plain", true, anything, &[
        ("endpoint", Text), ("region", Text), ("access_key", Text), ("secret_key", Secret), ("profile", Text), ("role_arn", Text),
        ("external_id", Text), EVERY, PORT,
    ]),
    kind("linode_sd_configs", "linode.plain", true, anything, &[("tag_separator", Text), ("region", Text), EVERY, PORT]),
    kind("marathon_sd_configs", "marathon.plain", true, checks::marathon, &[
        ("servers", Checked), ("auth_token", Secret), ("auth_token_file", Text), EVERY,
    ]),
    kind("nerve_sd_configs", "zookeeper.plain", false, checks::nerve, &[
        ("servers", Checked), ("paths", Checked), ("timeout", Duration),
    ]),
    kind("nomad_sd_configs", "nomad.plain", true, checks::nomad, &[
        ("server", Checked), ("allow_stale", Bool), ("namespace", Text), ("region", Text), ("tag_separator", Text), EVERY,
    ]),
    kind("oci_sd_configs", "oci.plain", true, checks::oci, &[
        ("auth", Checked), ("region", Text), ("tenancy", Text), ("user", Text), ("fingerprint", Text), ("key_file", Text),
        ("key_passphrase", Secret), ("compartments", Texts), EVERY, PORT,
    ]),
    kind("outscale_sd_configs", "outscale.plain", true, anything, &[
        ("endpoint", Text), ("region", Text), ("access_key", Text), ("secret_key", Secret), ("secret_key_file", Text), EVERY, PORT,
    ]),
    kind("ovhcloud_sd_configs", "ovhcloud.plain", false, checks::ovhcloud, &[
        ("endpoint", Text), ("application_key", Text), ("application_secret", Secret), ("consumer_key", Secret),
        ("service", Checked), EVERY,
    ]),
    kind("puppetdb_sd_configs", "puppetdb.plain", true, checks::puppetdb, &[
        ("url", Checked), ("query", Checked), ("include_parameters", Bool), EVERY, PORT,
    ]),
    kind("scaleway_sd_configs", "scaleway.plain", true, checks::scaleway, &[
        ("project_id", Checked), ("api_url", Text), ("zone", Text), ("access_key", Checked), ("secret_key", Secret),
        ("secret_key_file", Text), ("tags_filter", Texts), ("name_filter", Text), ("role", Checked), EVERY, PORT,
    ]),
    kind("serverset_sd_configs", "zookeeper.plain", false, checks::serverset, &[
        ("servers", Checked), ("paths", Checked), ("timeout", Duration),
    ]),
    kind("stackit_sd_configs", "stackit.plain", true, checks::stackit, &[
        ("project", Text), ("region", Text), ("endpoint", Checked), ("service_account_key", Secret),
        ("service_account_key_path", Text), ("private_key", Secret), ("private_key_path", Text),
        ("credentials_file_path", Text), EVERY, PORT,
    ]),
    kind("triton_sd_configs", "triton.plain", false, checks::triton, &[
        ("account", Checked), ("role", Checked), ("dns_suffix", Checked), ("endpoint", Checked), ("groups", Texts),
        ("version", Checked), ("tls_config", Tls), EVERY, PORT,
    ]),
    kind("uyuni_sd_configs", "uyuni.plain", true, checks::uyuni, &[
        ("server", Checked), ("username", Checked), ("password", Secret), ("entitlement", Text), ("separator", Text), EVERY,
    ]),
    kind("vultr_sd_configs", "vultr.plain", true, anything, &[EVERY, PORT]),
];

const EMPTY: &str = "empty or null section in service discovery";

/// Reads all kinds in a scrape job or in `alertmanagers`; gives those that the server does. The others are mistakes
/// where they are given badly; where they are given well, whoever starts the server refuses them.
pub(super) fn read_discovery(section: &Section<'_>) -> Vec<DiscoveryConfig> {
    for kind in KINDS {
        for node in section.items(kind.name, "[]discovery.Config", EMPTY) {
            let config = section.reader.section(node, kind.type_name);
            kind.read(config);
        }
        section.not_yet(kind.name);
    }
    let mut configs = Vec::new();
    for (name, type_name, read) in typed::TYPED {
        for node in section.items(name, "[]discovery.Config", EMPTY) {
            let kind = section.reader.section(node, type_name);
            configs.push(read(&kind));
            kind.finish();
        }
    }
    configs
}

impl Kind {
    fn read(&self, section: Section<'_>) {
        for (name, field) in self.fields {
            field.read(&section, name);
        }
        if self.has_http {
            read_http_fields(&section);
        }
        (self.check)(&section);
        section.finish();
    }
}

impl Field {
    fn read(self, section: &Section<'_>, name: &'static str) {
        match self {
            Self::Text => _ = section.text(name),
            Self::Secret => _ = section.secret(name),
            Self::Texts => _ = section.texts(name),
            Self::Bool => _ = section.bool(name),
            Self::Count => _ = section.count(name),
            Self::Duration => _ = section.duration(name),
            Self::Tls => {
                if let Some(node) = section.get(name) {
                    read_tls(section.reader, node);
                }
            }
            Self::Filters(no_values) => {
                for node in section.items(name, "[]Filter", "empty or null filter") {
                    let filter = section.reader.section(node, "Filter");
                    filter.text("name");
                    if filter.texts("values").is_empty() && !no_values.is_empty() {
                        filter.error_at("values", no_values);
                    }
                    filter.finish();
                }
            }
            Self::Checked => _ = section.get(name),
        }
    }
}
