//! prometheus.yml (Prometheus 3.14).

mod discovery;
mod marshal;
mod read;
mod remote;
mod scrape;
mod sections;
mod tracing;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cupola_model::Labels;

use crate::common::{ByteSize, HttpClientConfig, NameScheme, Scheme};
use crate::error::{ConfigError, ConfigWarning};
use crate::relabel::RelabelConfig;

pub use discovery::{
    Availability, ConsulSdConfig, DiscoveryConfig, DnsRecord, DnsSdConfig, DockerFilter, DockerSdConfig,
    DockerSwarmSdConfig, Ec2Filter, Ec2SdConfig, FileSdConfig, HttpSdConfig, OpenStackRole, OpenStackSdConfig,
    SwarmRole, parse_target_groups,
};
pub use read::{
    load_prometheus, load_prometheus_as, load_prometheus_with, parse_prometheus, parse_prometheus_as,
    parse_prometheus_with_env,
};
pub use remote::{
    AzureAdConfig, AzureCredentials, MetadataConfig, QueueConfig, RemoteAuth, RemoteReadConfig, RemoteWriteConfig,
    RemoteWriteMessage,
};
pub use tracing::{TracingClient, TracingConfig};

/// As what the configuration is to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerMode {
    /// The whole server.
    #[default]
    Server,
    /// `--agent`: scrapes and sends on, and has neither rules nor queries.
    Agent,
}

/// A whole prometheus.yml, defaults applied, included scrape files merged.
#[derive(Debug, Clone, PartialEq)]
pub struct PrometheusConfig {
    /// Settings for everything.
    pub global: GlobalConfig,
    /// `runtime.gogc`, kept for the status page only: there is no garbage collector here.
    pub gogc: u32,
    /// Rule files as glob patterns, joined to the configuration file's folder. A pattern without a match is fine.
    pub rule_files: Vec<PathBuf>,
    /// Further files with `scrape_configs:`, as glob patterns. [`load_prometheus`] has already read them.
    pub scrape_config_files: Vec<PathBuf>,
    /// What to scrape; job names are unique. Those of included files follow those of the main file.
    pub scrape_configs: Vec<ScrapeConfig>,
    /// Where alerts go.
    pub alerting: AlertingConfig,
    /// How samples are kept.
    pub storage: StorageConfig,
    /// How OTLP metrics are translated.
    pub otlp: OtlpConfig,
    /// Where samples are sent; names that are given are unique.
    pub remote_write: Vec<RemoteWriteConfig>,
    /// Where further samples are read; names that are given are unique.
    pub remote_read: Vec<RemoteReadConfig>,
    /// Where traces of this program go.
    pub tracing: Option<TracingConfig>,
    /// Settings that are valid and that this version does not act on, each with its place. A server must not start
    /// with them, since it would silently lose data or targets; a check of the file passes.
    pub not_yet: Vec<ConfigError>,
    /// Accepted settings without effect in this version, each with its place.
    pub warnings: Vec<ConfigWarning>,
    /// What is in force, secrets replaced by `<secret>`, without the jobs of included files.
    pub(crate) shown_text: String,
}

impl PrometheusConfig {
    /// The configuration for `/api/v1/status/config`, as Prometheus 3.14 writes it: what is in force, with defaults and
    /// what jobs inherit, secrets shown as `<secret>`. Jobs of included files are not in it. What this version does not
    /// have a type for (see [`PrometheusConfig::not_yet`]) is left out.
    #[must_use]
    pub fn to_yaml(&self) -> &str {
        &self.shown_text
    }
}

/// `global:`
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalConfig {
    /// Default 1m.
    pub scrape_interval: Duration,
    /// Default 10s, or the interval where that is shorter.
    pub scrape_timeout: Duration,
    /// Default 1m.
    pub evaluation_interval: Duration,
    /// How far rules look back from their evaluation time. Default 0.
    pub rule_query_offset: Duration,
    /// Labels for everything that leaves this server; `$VAR` and `${VAR}` are already expanded.
    pub external_labels: Labels,
    /// Where queries are logged.
    pub query_log_file: Option<PathBuf>,
    /// What scrape configurations inherit.
    pub scrape: ScrapeDefaults,
}

/// Settings that `global` and each scrape configuration have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapeDefaults {
    /// Formats to ask for, most wanted first.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// Whether these were said, here or where it is inherited from.
    pub has_own_protocols: bool,
    /// Where failed scrapes are logged.
    pub scrape_failure_log_file: Option<PathBuf>,
    /// What one scrape may bring.
    pub limits: Limits,
    /// Which names are valid.
    pub name_scheme: NameScheme,
    /// How invalid names are asked for.
    pub name_escaping: EscapingScheme,
    /// Ask for native histograms.
    pub scrape_native_histograms: bool,
    /// Store classic histograms as native ones with custom buckets.
    pub convert_classic_histograms_to_nhcb: bool,
    /// Store classic histograms beside native ones.
    pub always_scrape_classic_histograms: bool,
    /// Write `scrape_timeout_seconds`, `scrape_sample_limit`, `scrape_body_size_bytes`.
    pub extra_scrape_metrics: bool,
}

/// What one scrape may bring; 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of a body after decompression; more fails the scrape.
    pub body_size_limit: ByteSize,
    /// Samples left after relabelling; more fails the scrape.
    pub sample_limit: u64,
    /// Labels of one sample; more fails the scrape.
    pub label_limit: u64,
    /// Bytes of a label name; more fails the scrape.
    pub label_name_length_limit: u64,
    /// Bytes of a label value; more fails the scrape.
    pub label_value_length_limit: u64,
    /// Targets of a job after relabelling; more fails all of them.
    pub target_limit: u64,
    /// How many dropped targets are remembered for the targets page.
    pub keep_dropped_targets: u64,
}

/// Formats of a scrape, as `scrape_protocols` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    /// `PrometheusProto`
    PrometheusProto,
    /// `PrometheusText0.0.4`
    PrometheusText004,
    /// `PrometheusText1.0.0`
    PrometheusText100,
    /// `OpenMetricsText0.0.1`
    OpenMetricsText001,
    /// `OpenMetricsText1.0.0`
    OpenMetricsText100,
}

/// How names outside the legacy alphabet are written in a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EscapingScheme {
    /// `allow-utf-8`: as they are.
    AllowUtf8,
    /// `underscores`
    Underscores,
    /// `dots`
    Dots,
    /// `values`
    Values,
}

/// One entry of `scrape_configs:`, with everything inherited from `global` filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapeConfig {
    /// Unique; becomes the label `job`.
    pub job_name: String,
    /// Never zero.
    pub scrape_interval: Duration,
    /// At most `scrape_interval`.
    pub scrape_timeout: Duration,
    /// The format to assume where a target names none; `None` fails the scrape then.
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// Default `/metrics`.
    pub metrics_path: String,
    /// Default `http`.
    pub scheme: Scheme,
    /// URL parameters; several values of one name are all sent.
    pub params: BTreeMap<String, Vec<String>>,
    /// Keep the labels of the scraped data where they collide with the target's.
    pub honor_labels: bool,
    /// Keep timestamps of the scraped data.
    pub honor_timestamps: bool,
    /// Write staleness markers for series with own timestamps, too.
    pub track_timestamps_staleness: bool,
    /// Ask for compressed bodies.
    pub enable_compression: bool,
    /// Buckets of one native histogram; more are merged. 0 means no limit.
    pub native_histogram_bucket_limit: u64,
    /// Smallest growth factor between buckets of a native histogram; 0 means no limit.
    pub native_histogram_min_bucket_factor: f64,
    /// Inherited or own.
    pub defaults: ScrapeDefaults,
    /// How to speak to the targets.
    pub http: HttpClientConfig,
    /// The targets that stand in the file.
    pub static_configs: Vec<TargetGroup>,
    /// Where further targets are found.
    pub discovery: Vec<DiscoveryConfig>,
    /// Applied to each target's labels.
    pub relabel_configs: Vec<RelabelConfig>,
    /// Applied to each sample's labels.
    pub metric_relabel_configs: Vec<RelabelConfig>,
}

/// Targets that are found together and share labels: one entry of `static_configs:`, or what discovery finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroup {
    /// The labels of each target, `__address__` (`host:port`) among them. They go over those of the group.
    pub targets: Vec<Labels>,
    /// Labels of all of them.
    pub labels: Labels,
    /// Tells the groups of one list or provider apart, as upstream names the source: a static group's index, a file
    /// with an index, a service.
    pub source: String,
}

impl TargetGroup {
    /// A group of targets of which only the addresses are known.
    #[must_use]
    pub fn of_addresses(source: String, addresses: impl IntoIterator<Item = String>, labels: Labels) -> Self {
        let target = |address: String| Labels::from_pairs([("__address__", address)]);
        Self {
            targets: addresses.into_iter().map(target).collect(),
            labels,
            source,
        }
    }
}

/// One group that discovery found anew, found changed, or does not find any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupChange {
    /// Which provider found it; no two that ever run in one process share the number.
    pub provider: u64,
    /// The group's source, unique within its provider.
    pub source: Arc<str>,
    /// The whole group as it is now; `None` where it is gone.
    pub group: Option<Arc<TargetGroup>>,
}

/// `alerting:`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlertingConfig {
    /// Applied to each alert's labels before it is sent to any Alertmanager.
    pub alert_relabel_configs: Vec<RelabelConfig>,
    /// Groups of Alertmanagers.
    pub alertmanagers: Vec<AlertmanagersConfig>,
}

/// One entry of `alerting.alertmanagers:`.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertmanagersConfig {
    /// Default `http`.
    pub scheme: Scheme,
    /// Goes before `/api/v2/alerts`. Empty by default.
    pub path_prefix: String,
    /// For one delivery; default 10s.
    pub timeout: Duration,
    /// How to speak to them.
    pub http: HttpClientConfig,
    /// Where they are.
    pub static_configs: Vec<TargetGroup>,
    /// Where further ones are found.
    pub discovery: Vec<DiscoveryConfig>,
    /// Applied to each Alertmanager's labels.
    pub relabel_configs: Vec<RelabelConfig>,
    /// Applied to alerts sent to this group only, after the global ones.
    pub alert_relabel_configs: Vec<RelabelConfig>,
}

/// `storage:`
#[derive(Debug, Clone, PartialEq)]
pub struct StorageConfig {
    /// How old a sample may be relative to its series' newest and still be accepted. 0 accepts none.
    pub out_of_order_time_window: Duration,
    /// Share of stale series that triggers an early compaction; 0 never does.
    pub stale_series_compaction_threshold: f64,
    /// `storage.tsdb.chunk_encoding.floats`
    pub float_chunk_encoding: Option<FloatChunkEncoding>,
    /// When old data is removed; fields that are `None` leave the command line's value.
    pub retention: RetentionConfig,
    /// `storage.exemplars.max_exemplars`; `None` where the section is absent (100000 then).
    pub max_exemplars: Option<u64>,
}

/// How chunks of float samples are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatChunkEncoding {
    /// `xor`
    Xor,
    /// `xor2`
    Xor2,
}

/// `storage.tsdb.retention:`
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RetentionConfig {
    /// Data older than this goes.
    pub time: Option<Duration>,
    /// Blocks beyond this total go, oldest first.
    pub size: Option<ByteSize>,
    /// As `size`, in percent of the disk, 0 to 100.
    pub percentage: Option<f64>,
}

/// `otlp:`. Without effect unless the OTLP receiver runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpConfig {
    /// Resource attributes that become labels.
    pub promote_resource_attributes: Vec<String>,
    /// All of them become labels.
    pub promote_all_resource_attributes: bool,
    /// Except these; only together with `promote_all_resource_attributes`.
    pub ignore_resource_attributes: Vec<String>,
    /// How names are translated.
    pub translation_strategy: TranslationStrategy,
    /// Keep `service.name`, `service.namespace`, `service.instance.id` in `target_info`.
    pub keep_identifying_resource_attributes: bool,
    /// Store histograms as native ones with custom buckets.
    pub convert_histograms_to_nhcb: bool,
    /// Scope metadata becomes labels.
    pub promote_scope_metadata: bool,
    /// Put `key_` before label names that start with an underscore.
    pub label_name_underscore_sanitization: bool,
    /// Keep runs of underscores.
    pub label_name_preserve_multiple_underscores: bool,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            promote_resource_attributes: Vec::new(),
            promote_all_resource_attributes: false,
            ignore_resource_attributes: Vec::new(),
            translation_strategy: TranslationStrategy::default(),
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
        }
    }
}

/// `otlp.translation_strategy`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names are the configuration's")]
pub enum TranslationStrategy {
    #[default]
    UnderscoreEscapingWithSuffixes,
    NoUtf8EscapingWithSuffixes,
    UnderscoreEscapingWithoutSuffixes,
    NoTranslation,
}
