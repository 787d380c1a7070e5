//! `remote_write:` and `remote_read:`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cupola_model::{Labels, go_quote};

use super::tracing::read_headers;
use crate::common::{HttpClientConfig, NameScheme, Secret, SigV4Config};
use crate::http::read_http_fields;
use crate::read::{Reader, Section};
use crate::relabel::{RelabelConfig, read_relabel_configs};
use crate::yaml::Node;

/// One entry of `remote_write:`.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteWriteConfig {
    /// Where samples are sent, as written; never empty.
    pub url: String,
    /// For one request; default 30s.
    pub remote_timeout: Duration,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// Applied to each sample's labels, after the external labels were added.
    pub write_relabel_configs: Vec<RelabelConfig>,
    /// Unique where it is given; `None` leaves the choice to the sender.
    pub name: Option<String>,
    /// Send exemplars, too.
    pub send_exemplars: bool,
    /// Send native histograms, too.
    pub send_native_histograms: bool,
    /// Spread connections over all addresses of the host's name.
    pub round_robin_dns: bool,
    /// How to speak to the peer. HTTP/2 is off unless asked for.
    pub http: HttpClientConfig,
    /// Authentication that only remote write has; excludes `http.auth`.
    pub auth: Option<RemoteAuth>,
    /// How samples wait and are sent.
    pub queue: QueueConfig,
    /// How metadata is sent, with the first version of the protocol.
    pub metadata: MetadataConfig,
    /// Version of the protocol.
    pub message: RemoteWriteMessage,
}

/// `protobuf_message`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum RemoteWriteMessage {
    /// `prometheus.WriteRequest`
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`
    V2,
}

impl RemoteWriteMessage {
    /// The name configuration and the header `Content-Type` use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }
}

/// `queue_config:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// Samples that one shard holds before reading of the log waits. Default 10000.
    pub capacity: u64,
    /// Never less than `min_shards`. Default 50.
    pub max_shards: u64,
    /// At least 1. Default 1.
    pub min_shards: u64,
    /// At least 1. Default 2000.
    pub max_samples_per_send: u64,
    /// How long a sample waits for its batch to fill. Default 5s.
    pub batch_send_deadline: Duration,
    /// First pause after a failure, doubled each time. Default 30ms.
    pub min_backoff: Duration,
    /// Never less than `min_backoff`. Default 5s.
    pub max_backoff: Duration,
    /// Send again after status 429, too.
    pub retry_on_http_429: bool,
    /// Samples older than this are dropped; zero drops none.
    pub sample_age_limit: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            max_shards: 50,
            min_shards: 1,
            max_samples_per_send: 2_000,
            batch_send_deadline: Duration::from_secs(5),
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
            retry_on_http_429: false,
            sample_age_limit: Duration::ZERO,
        }
    }
}

/// `metadata_config:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataConfig {
    /// Whether it is sent. Default true.
    pub send: bool,
    /// Default 1m.
    pub send_interval: Duration,
    /// Default 2000.
    pub max_samples_per_send: u64,
}

impl Default for MetadataConfig {
    fn default() -> Self {
        Self {
            send: true,
            send_interval: Duration::from_secs(60),
            max_samples_per_send: 2_000,
        }
    }
}

/// Ways to authenticate that only remote write has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteAuth {
    /// `sigv4`
    SigV4(SigV4Config),
    /// `azuread`
    AzureAd(AzureAdConfig),
    /// `google_iam`; the file with the credentials, `None` for those of the environment.
    GoogleIam(Option<PathBuf>),
}

/// `azuread:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureAdConfig {
    /// `AzurePublic`, `AzureChina` or `AzureGovernment`.
    pub cloud: String,
    /// Scope of the token; empty means the cloud's.
    pub scope: String,
    /// The one kind that is configured.
    pub credentials: AzureCredentials,
}

/// How a token of Azure is obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AzureCredentials {
    /// `managed_identity`; an empty id is the system's identity.
    ManagedIdentity {
        /// UUID of the identity.
        client_id: String,
    },
    /// `oauth`
    OAuth {
        /// UUID of the application.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
        /// UUID of the tenant.
        tenant_id: String,
    },
    /// `workload_identity`
    WorkloadIdentity {
        /// UUID of the application.
        client_id: String,
        /// UUID of the tenant.
        tenant_id: String,
        /// File with the federated token.
        token_file: PathBuf,
    },
    /// `sdk`; an empty tenant is the environment's.
    Sdk {
        /// UUID of the tenant.
        tenant_id: String,
    },
}

/// One entry of `remote_read:`.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteReadConfig {
    /// Where samples are read, as written; never empty.
    pub url: String,
    /// Unique where it is given.
    pub name: Option<String>,
    /// For one request; default 1m.
    pub remote_timeout: Duration,
    /// Bytes of one frame of a streamed answer; default 50,000,000.
    pub chunked_read_limit: u64,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// Read also for times that the own storage covers.
    pub read_recent: bool,
    /// How to speak to the peer.
    pub http: HttpClientConfig,
    /// Only queries with all of these equality matchers are asked.
    pub required_matchers: Labels,
    /// Add the external labels to the selectors. Default true.
    pub filter_external_labels: bool,
}

const AUTHORIZATION: &str = "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread or google_iam parameter";

/// Reads `remote_write`.
pub(super) fn read_remote_writes(section: &Section<'_>, scheme: NameScheme) -> Vec<RemoteWriteConfig> {
    let empty = "empty or null remote write config section";
    let mut configs: Vec<RemoteWriteConfig> = Vec::new();
    for node in section.items("remote_write", "[]*config.RemoteWriteConfig", empty) {
        let config = read_remote_write(section.reader, node, scheme);
        if config.name.is_some() && configs.iter().any(|other| other.name == config.name) {
            repeated(section.reader, node, "write", config.name.as_deref());
        }
        configs.push(config);
    }
    configs
}

/// Reads `remote_read`.
pub(super) fn read_remote_reads(section: &Section<'_>) -> Vec<RemoteReadConfig> {
    let empty = "empty or null remote read config section";
    let mut configs: Vec<RemoteReadConfig> = Vec::new();
    for node in section.items("remote_read", "[]*config.RemoteReadConfig", empty) {
        let config = read_remote_read(section.reader, node);
        if config.name.is_some() && configs.iter().any(|other| other.name == config.name) {
            repeated(section.reader, node, "read", config.name.as_deref());
        }
        configs.push(config);
    }
    configs
}

fn repeated(reader: &Reader<'_>, node: &Node, what: &str, name: Option<&str>) {
    let name = go_quote(name.unwrap_or_default());
    let message = format!("found multiple remote {what} configs with job name {name}");
    reader.error(node.pos, message);
}

fn read_url(section: &Section<'_>, whose: &str) -> String {
    // A URL may hold a password.
    if let Some(node) = section.get("url")
        && section.reader.text(node).is_some_and(|url| url.contains('@'))
    {
        section.reader.mark_secret(node);
    }
    section.filled_text("url").unwrap_or_else(|| {
        section.error_at("url", format!("url for {whose} is empty"));
        String::new()
    })
}

fn read_remote_write(reader: &Reader<'_>, node: &Node, scheme: NameScheme) -> RemoteWriteConfig {
    let section = reader.section(node, "config.plain");
    let mut http = read_http_fields(&section);
    http.enable_http2 = section.bool("enable_http2").unwrap_or(false);
    let auth = read_remote_auth(&section, http.auth.is_some());
    let message = match section.filled_text("protobuf_message").as_deref() {
        None | Some("prometheus.WriteRequest") => RemoteWriteMessage::V1,
        Some("io.prometheus.write.v2.Request") => RemoteWriteMessage::V2,
        Some(other) => {
            let message = format!(
                "invalid protobuf_message value: unknown type for remote write protobuf message {other}, supported: \
                 prometheus.WriteRequest, io.prometheus.write.v2.Request"
            );
            section.error_at("protobuf_message", message);
            RemoteWriteMessage::default()
        }
    };
    let config = RemoteWriteConfig {
        url: read_url(&section, "remote_write"),
        remote_timeout: section
            .nonzero_duration("remote_timeout")
            .unwrap_or(Duration::from_secs(30)),
        headers: read_headers(&section, "headers", AUTHORIZATION),
        write_relabel_configs: read_relabel_configs(
            &section,
            "write_relabel_configs",
            "empty or null relabeling rule in remote write config",
            scheme,
        ),
        name: section.filled_text("name"),
        send_exemplars: section.bool("send_exemplars").unwrap_or(false),
        send_native_histograms: section.bool("send_native_histograms").unwrap_or(false),
        round_robin_dns: section.bool("round_robin_dns").unwrap_or(false),
        http,
        auth,
        queue: section
            .get("queue_config")
            .map(|node| read_queue(reader, node))
            .unwrap_or_default(),
        metadata: section
            .get("metadata_config")
            .map(|node| read_metadata(reader, node))
            .unwrap_or_default(),
        message,
    };
    section.finish();
    config
}

fn read_queue(reader: &Reader<'_>, node: &Node) -> QueueConfig {
    let section = reader.section(node, "config.plain");
    let default = QueueConfig::default();
    let positive = |name: &'static str, default: u64| match section.count(name) {
        Some(0) => {
            section.error_at(name, format!("remote write queue {name} must be positive"));
            default
        }
        count => count.unwrap_or(default),
    };
    let queue = QueueConfig {
        capacity: section.count("capacity").unwrap_or(default.capacity),
        max_shards: positive("max_shards", default.max_shards),
        min_shards: positive("min_shards", default.min_shards),
        max_samples_per_send: positive("max_samples_per_send", default.max_samples_per_send),
        batch_send_deadline: section
            .nonzero_duration("batch_send_deadline")
            .unwrap_or(default.batch_send_deadline),
        min_backoff: section.nonzero_duration("min_backoff").unwrap_or(default.min_backoff),
        max_backoff: section.nonzero_duration("max_backoff").unwrap_or(default.max_backoff),
        retry_on_http_429: section.bool("retry_on_http_429").unwrap_or(false),
        sample_age_limit: section.duration("sample_age_limit").unwrap_or_default(),
    };
    if queue.min_shards > queue.max_shards {
        let message = "remote write queue min_shards must not be greater than max_shards";
        section.error_at("min_shards", message);
    }
    if queue.max_backoff < queue.min_backoff {
        section.error_at(
            "max_backoff",
            "remote write queue max_backoff must not be less than min_backoff",
        );
    }
    section.finish();
    queue
}

fn read_metadata(reader: &Reader<'_>, node: &Node) -> MetadataConfig {
    let section = reader.section(node, "config.MetadataConfig");
    let default = MetadataConfig::default();
    let config = MetadataConfig {
        send: section.bool("send").unwrap_or(default.send),
        send_interval: section
            .nonzero_duration("send_interval")
            .unwrap_or(default.send_interval),
        max_samples_per_send: section
            .count("max_samples_per_send")
            .filter(|count| *count > 0)
            .unwrap_or(default.max_samples_per_send),
    };
    section.finish();
    config
}

fn read_remote_read(reader: &Reader<'_>, node: &Node) -> RemoteReadConfig {
    let section = reader.section(node, "config.plain");
    let config = RemoteReadConfig {
        url: read_url(&section, "remote_read"),
        name: section.filled_text("name"),
        remote_timeout: section
            .nonzero_duration("remote_timeout")
            .unwrap_or(Duration::from_secs(60)),
        chunked_read_limit: section
            .count("chunked_read_limit")
            .filter(|bytes| *bytes > 0)
            .unwrap_or(50_000_000),
        headers: read_headers(&section, "headers", AUTHORIZATION),
        read_recent: section.bool("read_recent").unwrap_or(false),
        http: read_http_fields(&section),
        required_matchers: section
            .get("required_matchers")
            .map_or_else(Labels::empty, |node| reader.labels(node)),
        filter_external_labels: section.bool("filter_external_labels").unwrap_or(true),
    };
    section.finish();
    config
}

fn read_remote_auth(section: &Section<'_>, has_other: bool) -> Option<RemoteAuth> {
    let reader = section.reader;
    let sigv4 = section
        .get("sigv4")
        .map(|node| RemoteAuth::SigV4(read_sigv4(reader, node)));
    let azure = section.get("azuread").map(|node| read_azuread(reader, node));
    let google = section.get("google_iam").map(|node| {
        let section = reader.section(node, "googleiam.Config");
        let file = section.path("credentials_file");
        section.finish();
        RemoteAuth::GoogleIam(file)
    });
    let given = [sigv4.is_some(), azure.is_some(), google.is_some(), has_other];
    if given.into_iter().filter(|is_given| *is_given).count() > 1 {
        let names = ["sigv4", "azuread", "google_iam"];
        let name = names.into_iter().find(|name| section.get(name).is_some());
        let message =
            "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured";
        section.error_at(name.unwrap_or_default(), message);
    }
    sigv4.or(azure.flatten().map(RemoteAuth::AzureAd)).or(google)
}

pub(super) fn read_sigv4(reader: &Reader<'_>, node: &Node) -> SigV4Config {
    let section = reader.section(node, "sigv4.plain");
    let config = SigV4Config {
        region: section.text("region").unwrap_or_default(),
        access_key: section.text("access_key").unwrap_or_default(),
        secret_key: section.secret("secret_key"),
        profile: section.text("profile").unwrap_or_default(),
        role_arn: section.text("role_arn").unwrap_or_default(),
        external_id: section.text("external_id").unwrap_or_default(),
        use_fips_sts_endpoint: section.bool("use_fips_sts_endpoint").unwrap_or(false),
        service_name: section.text("service_name").unwrap_or_default(),
    };
    if config.access_key.is_empty() != config.secret_key.is_none() {
        let message =
            "must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 config";
        reader.error(section.pos, message);
    }
    section.finish();
    config
}

fn read_azuread(reader: &Reader<'_>, node: &Node) -> Option<AzureAdConfig> {
    let section = reader.section(node, "azuread.plain");
    let cloud = section.filled_text("cloud").unwrap_or_else(|| "AzurePublic".to_owned());
    if !["AzurePublic", "AzureChina", "AzureGovernment"].contains(&cloud.as_str()) {
        let message = "must provide a cloud in the Azure AD config";
        let pos = section.key_pos("cloud");
        reader.error_hint(pos, message, "one of AzurePublic, AzureChina, AzureGovernment");
    }
    let kinds = ["managed_identity", "oauth", "workload_identity", "sdk"];
    let mut given: Vec<AzureCredentials> = kinds
        .into_iter()
        .filter_map(|kind| {
            Some(read_azure_credentials(
                kind,
                reader.section(section.get(kind)?, "azuread.plain"),
            ))
        })
        .collect();
    let scope = section.text("scope").unwrap_or_default();
    if given.len() > 1 {
        reader.error(
            section.pos,
            "cannot provide multiple authentication methods in the Azure AD config",
        );
    }
    let credentials = given.pop();
    if credentials.is_none() {
        let message = "must provide an Azure Managed Identity, Azure OAuth, Azure Workload Identity or Azure SDK in the \
                       Azure AD config";
        reader.error(section.pos, message);
    }
    section.finish();
    Some(AzureAdConfig {
        cloud,
        scope,
        credentials: credentials?,
    })
}

fn read_azure_credentials(kind: &str, section: Section<'_>) -> AzureCredentials {
    let required = |name: &'static str| {
        section.filled_text(name).unwrap_or_else(|| {
            section.error_at(
                name,
                format!("must provide an Azure {kind} {name} in the Azure AD config"),
            );
            String::new()
        })
    };
    let credentials = match kind {
        "oauth" => AzureCredentials::OAuth {
            client_id: required("client_id"),
            client_secret: section.secret("client_secret").unwrap_or_else(|| {
                let message = "must provide an Azure oauth client_secret in the Azure AD config";
                section.error_at("client_secret", message);
                Secret::default()
            }),
            tenant_id: required("tenant_id"),
        },
        "workload_identity" => AzureCredentials::WorkloadIdentity {
            client_id: required("client_id"),
            tenant_id: required("tenant_id"),
            token_file: section
                .path("token_file_path")
                .unwrap_or_else(|| PathBuf::from("/var/run/secrets/azure/tokens/azure-identity-token")),
        },
        "sdk" => AzureCredentials::Sdk {
            tenant_id: section.text("tenant_id").unwrap_or_default(),
        },
        _ => AzureCredentials::ManagedIdentity {
            client_id: section.text("client_id").unwrap_or_default(),
        },
    };
    section.finish();
    credentials
}
