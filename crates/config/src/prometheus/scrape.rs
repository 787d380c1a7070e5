//! Reading `global`, `scrape_configs` and `static_configs`.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_model::{Labels, LabelsBuilder, go_quote};

use super::discovery::read_discovery;
use super::{EscapingScheme, GlobalConfig, Limits, ScrapeConfig, ScrapeDefaults, ScrapeProtocol, TargetGroup};
use crate::common::{NameScheme, Scheme};
use crate::http::read_http_fields;
use crate::read::{Reader, Section};
use crate::relabel::read_relabel_configs;
use crate::yaml::Node;

/// Looks up an environment variable; `None` where it is not set.
pub(super) type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

const ESCAPING: &str = "must be one of 'allow-utf-8', 'underscores', 'dots', or 'values'";
const UTF8_CONFLICT: &str = "utf8 metric names requested but validation scheme is not set to UTF8";

/// Reads `global`; the section may be absent.
/// With `protobuf_first` as if it asked for protobuf before text where it does not say what to ask for.
pub(super) fn read_global(section: Section<'_>, env: Env<'_>, protobuf_first: bool) -> GlobalConfig {
    let scrape_interval = section.nonzero_duration("scrape_interval").unwrap_or(DEFAULT_INTERVAL);
    let scrape_timeout = section
        .nonzero_duration("scrape_timeout")
        .unwrap_or(DEFAULT_TIMEOUT.min(scrape_interval));
    if scrape_timeout > scrape_interval {
        section.error_at("scrape_timeout", "global scrape timeout greater than scrape interval");
    }
    let rule_query_offset = section.duration("rule_query_offset").unwrap_or_default();
    let evaluation_interval = section
        .nonzero_duration("evaluation_interval")
        .unwrap_or(DEFAULT_INTERVAL);
    let query_log_file = section.path("query_log_file");
    let external_labels = section.get("external_labels").map_or_else(Labels::empty, |node| {
        let mut labels = LabelsBuilder::default();
        for (name, value) in &section.reader.labels(node) {
            labels.set(name, &expand_env(value, env));
        }
        labels.build()
    });
    let mut scrape = read_defaults(&section, None, "global config");
    if protobuf_first && !scrape.has_own_protocols {
        (scrape.scrape_protocols, scrape.has_own_protocols) = (default_protocols(true), true);
    }
    section.finish();
    GlobalConfig {
        scrape_interval,
        scrape_timeout,
        evaluation_interval,
        rule_query_offset,
        external_labels,
        query_log_file,
        scrape,
    }
}

/// Go's `os.Expand` with the environment: `$NAME`, `${NAME}`, `$$`; what is not set becomes empty.
fn expand_env(text: &str, env: Env<'_>) -> String {
    let is_special = |c: char| "*#$@!?-0123456789".contains(c);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let lookup = |name: &str| {
        if name == "$" {
            "$".to_owned()
        } else {
            env(name).unwrap_or_default()
        }
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(inner) = after.strip_prefix('{') {
            match inner.split_once('}') {
                // Go eats what it cannot make sense of.
                None => rest = inner,
                Some((name, after)) => {
                    if !name.is_empty() {
                        out.push_str(&lookup(name));
                    }
                    rest = after;
                }
            }
            continue;
        }
        let len = match after.chars().next() {
            Some(c) if is_special(c) => 1,
            _ => after.find(|c| !is_name(c)).unwrap_or(after.len()),
        };
        let (name, after) = after.split_at(len);
        if name.is_empty() {
            out.push('$');
        } else {
            out.push_str(&lookup(name));
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Reads the settings that `global` and scrape configurations share; `inherited` is what `global` has.
fn read_defaults(section: &Section<'_>, inherited: Option<&ScrapeDefaults>, whose: &str) -> ScrapeDefaults {
    let switch = |name: &'static str, of: fn(&ScrapeDefaults) -> bool| {
        section.bool(name).unwrap_or_else(|| inherited.is_some_and(of))
    };
    let scrape_native_histograms = switch("scrape_native_histograms", |d| d.scrape_native_histograms);
    let convert_classic_histograms_to_nhcb = switch("convert_classic_histograms_to_nhcb", |d| {
        d.convert_classic_histograms_to_nhcb
    });
    let always_scrape_classic_histograms = switch("always_scrape_classic_histograms", |d| {
        d.always_scrape_classic_histograms
    });
    let log_file = section.path("scrape_failure_log_file");
    let (name_scheme, name_escaping) = read_name_schemes(section, inherited);
    // What `global` says counts also where the job alone asks for native histograms, as upstream.
    let protocols = read_protocols(section, whose).or_else(|| {
        let inherited = inherited.filter(|inherited| inherited.has_own_protocols)?;
        Some(inherited.scrape_protocols.clone())
    });
    ScrapeDefaults {
        has_own_protocols: protocols.is_some(),
        scrape_protocols: protocols.unwrap_or_else(|| default_protocols(scrape_native_histograms)),
        scrape_failure_log_file: log_file.or_else(|| inherited.and_then(|d| d.scrape_failure_log_file.clone())),
        limits: read_limits(section, inherited.map(|d| d.limits).unwrap_or_default()),
        name_scheme,
        name_escaping,
        scrape_native_histograms,
        convert_classic_histograms_to_nhcb,
        always_scrape_classic_histograms,
        extra_scrape_metrics: switch("extra_scrape_metrics", |d| d.extra_scrape_metrics),
    }
}

fn read_limits(section: &Section<'_>, inherited: Limits) -> Limits {
    // Zero counts as "not given": upstream cannot tell the two apart.
    let count = |name: &'static str, inherited: u64| section.count(name).filter(|n| *n > 0).unwrap_or(inherited);
    Limits {
        body_size_limit: section
            .size("body_size_limit")
            .filter(|s| s.0 > 0)
            .unwrap_or(inherited.body_size_limit),
        sample_limit: count("sample_limit", inherited.sample_limit),
        label_limit: count("label_limit", inherited.label_limit),
        label_name_length_limit: count("label_name_length_limit", inherited.label_name_length_limit),
        label_value_length_limit: count("label_value_length_limit", inherited.label_value_length_limit),
        target_limit: count("target_limit", inherited.target_limit),
        keep_dropped_targets: count("keep_dropped_targets", inherited.keep_dropped_targets),
    }
}

fn read_name_schemes(section: &Section<'_>, inherited: Option<&ScrapeDefaults>) -> (NameScheme, EscapingScheme) {
    let scheme = match section.filled_text("metric_name_validation_scheme").as_deref() {
        None => None,
        Some("utf8") => Some(NameScheme::Utf8),
        Some("legacy") => Some(NameScheme::Legacy),
        Some(other) => {
            let pos = section.key_pos("metric_name_validation_scheme");
            let message = format!("unrecognized ValidationScheme: {}", go_quote(other));
            section.reader.error_hint(pos, message, "one of utf8, legacy");
            None
        }
    };
    let scheme = scheme.or(inherited.map(|d| d.name_scheme)).unwrap_or_default();
    let kind = if inherited.is_some() { "scrape config" } else { "global" };
    let escaping = match section.filled_text("metric_name_escaping_scheme").as_deref() {
        None => None,
        Some("allow-utf-8") => Some(EscapingScheme::AllowUtf8),
        Some("underscores") => Some(EscapingScheme::Underscores),
        Some("dots") => Some(EscapingScheme::Dots),
        Some("values") => Some(EscapingScheme::Values),
        Some(other) => {
            let message = format!(
                "unknown {kind} name escaping method specified, {ESCAPING}, got {}",
                go_quote(other)
            );
            section.error_at("metric_name_escaping_scheme", message);
            None
        }
    };
    // Without an own escaping, one that fits the own scheme: a legacy job below a UTF-8 global escapes.
    let inherited_escaping = inherited.filter(|d| d.name_scheme == scheme).map(|d| d.name_escaping);
    let escaping = escaping.or(inherited_escaping).unwrap_or(match scheme {
        NameScheme::Utf8 => EscapingScheme::AllowUtf8,
        NameScheme::Legacy => EscapingScheme::Underscores,
    });
    if scheme == NameScheme::Legacy && escaping == EscapingScheme::AllowUtf8 {
        section.error_at("metric_name_escaping_scheme", UTF8_CONFLICT);
    }
    (scheme, escaping)
}

impl ScrapeProtocol {
    const ALL: [Self; 5] = [
        Self::OpenMetricsText001,
        Self::OpenMetricsText100,
        Self::PrometheusProto,
        Self::PrometheusText004,
        Self::PrometheusText100,
    ];

    /// The name configuration uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrometheusProto => "PrometheusProto",
            Self::PrometheusText004 => "PrometheusText0.0.4",
            Self::PrometheusText100 => "PrometheusText1.0.0",
            Self::OpenMetricsText001 => "OpenMetricsText0.0.1",
            Self::OpenMetricsText100 => "OpenMetricsText1.0.0",
        }
    }

    fn parse(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.as_str() == name)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|protocol| protocol.as_str()).collect();
                format!("unknown scrape protocol {name}, supported: [{}]", names.join(" "))
            })
    }
}

pub(super) fn default_protocols(native_histograms: bool) -> Vec<ScrapeProtocol> {
    let mut protocols = vec![
        ScrapeProtocol::OpenMetricsText100,
        ScrapeProtocol::OpenMetricsText001,
        ScrapeProtocol::PrometheusText100,
        ScrapeProtocol::PrometheusText004,
    ];
    if native_histograms {
        protocols.insert(0, ScrapeProtocol::PrometheusProto);
    }
    protocols
}

fn read_protocols(section: &Section<'_>, whose: &str) -> Option<Vec<ScrapeProtocol>> {
    let node = section.get("scrape_protocols")?;
    let names = section.reader.texts(node);
    if names.is_empty() {
        section.error_at(
            "scrape_protocols",
            format!("scrape_protocols cannot be empty for {whose}"),
        );
    }
    let mut protocols = Vec::new();
    for name in &names {
        match ScrapeProtocol::parse(name) {
            Ok(protocol) if protocols.contains(&protocol) => {
                let message = format!(
                    "duplicated protocol in scrape_protocols, got [{}] for {whose}",
                    names.join(" ")
                );
                section.error_at("scrape_protocols", message);
            }
            Ok(protocol) => protocols.push(protocol),
            Err(message) => section.error_at("scrape_protocols", format!("scrape_protocols: {message} for {whose}")),
        }
    }
    Some(protocols)
}

/// Reads one entry of `scrape_configs`. `None` where it has no usable job name.
pub(super) fn read_scrape_config(reader: &Reader<'_>, node: &Node, global: &GlobalConfig) -> Option<ScrapeConfig> {
    let section = reader.section(node, "config.plain");
    let job_name = section.filled_text("job_name");
    if job_name.is_none() {
        section.error_at("job_name", "job_name is empty");
    }
    let job_name = job_name.unwrap_or_default();
    let job = go_quote(&job_name);
    let scrape_interval = section
        .nonzero_duration("scrape_interval")
        .unwrap_or(global.scrape_interval);
    let scrape_timeout = section
        .nonzero_duration("scrape_timeout")
        .unwrap_or(global.scrape_timeout.min(scrape_interval));
    if scrape_timeout > scrape_interval {
        let message = format!("scrape timeout greater than scrape interval for scrape config with job name {job}");
        section.error_at("scrape_timeout", message);
    }
    let fallback_scrape_protocol = section.filled_text("fallback_scrape_protocol").and_then(|name| {
        let parsed = ScrapeProtocol::parse(&name);
        parsed
            .map_err(|error| {
                let message =
                    format!("invalid fallback_scrape_protocol for scrape config with job name {job}: {error}");
                section.error_at("fallback_scrape_protocol", message);
            })
            .ok()
    });
    let defaults = read_defaults(
        &section,
        Some(&global.scrape),
        &format!("scrape config with job name {job}"),
    );
    let relabel_configs = read_relabel_configs(
        &section,
        "relabel_configs",
        "empty or null target relabeling rule in scrape config",
        defaults.name_scheme,
    );
    let metric_relabel_configs = read_relabel_configs(
        &section,
        "metric_relabel_configs",
        "empty or null metric relabeling rule in scrape config",
        defaults.name_scheme,
    );
    let config = ScrapeConfig {
        scrape_interval,
        scrape_timeout,
        fallback_scrape_protocol,
        metrics_path: section
            .filled_text("metrics_path")
            .unwrap_or_else(|| "/metrics".to_owned()),
        scheme: read_scheme(&section),
        params: read_params(&section),
        honor_labels: section.bool("honor_labels").unwrap_or(false),
        honor_timestamps: section.bool("honor_timestamps").unwrap_or(true),
        track_timestamps_staleness: section.bool("track_timestamps_staleness").unwrap_or(false),
        enable_compression: section.bool("enable_compression").unwrap_or(true),
        native_histogram_bucket_limit: section.count("native_histogram_bucket_limit").unwrap_or(0),
        native_histogram_min_bucket_factor: section.float("native_histogram_min_bucket_factor").unwrap_or(0.0),
        http: read_http_fields(&section),
        static_configs: read_static_configs(&section, relabel_configs.is_empty()),
        discovery: read_discovery(&section),
        relabel_configs,
        metric_relabel_configs,
        defaults,
        job_name,
    };
    section.finish();
    Some(config)
}

/// Reads `scheme`.
pub(super) fn read_scheme(section: &Section<'_>) -> Scheme {
    match section.filled_text("scheme").as_deref() {
        None | Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        Some(other) => {
            section.error_at(
                "scheme",
                format!("unsupported scheme {}, must be http or https", go_quote(other)),
            );
            Scheme::Http
        }
    }
}

fn read_params(section: &Section<'_>) -> BTreeMap<String, Vec<String>> {
    let Some(node) = section.get("params") else {
        return BTreeMap::new();
    };
    let entries = section.reader.entries(node, "url.Values");
    entries
        .iter()
        .map(|entry| (entry.key.clone(), section.reader.texts(&entry.value)))
        .collect()
}

/// Reads `static_configs`. Where nothing relabels the targets (`check_addresses`), addresses that are URLs are refused.
pub(super) fn read_static_configs(section: &Section<'_>, check_addresses: bool) -> Vec<TargetGroup> {
    let reader = section.reader;
    let mut groups = Vec::new();
    let items = section.items(
        "static_configs",
        "[]*targetgroup.Group",
        "empty or null section in static_configs",
    );
    for (index, node) in items.into_iter().enumerate() {
        let group = reader.section(node, "targetgroup.Group");
        let targets = group.texts("targets");
        if check_addresses {
            for item in group.items("targets", "[]string", "") {
                if let Some(target) = reader.text(item).filter(|target| target.contains('/')) {
                    let message = format!("{} is not a valid hostname", go_quote(&target));
                    reader.error_hint(
                        item.pos,
                        message,
                        "targets are host:port; scheme and metrics_path are separate settings",
                    );
                }
            }
        }
        let labels = group
            .get("labels")
            .map_or_else(Labels::empty, |node| reader.labels(node));
        group.finish();
        groups.push(TargetGroup::of_addresses(index.to_string(), targets, labels));
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::expand_env;

    #[test]
    fn the_environment_is_expanded_as_go_does() {
        let env = |name: &str| (name == "TEST").then(|| "value".to_owned());
        for (text, expanded) in [
            ("bar", "bar"),
            ("${TEST}", "value"),
            ("$TEST", "value"),
            ("a-${TEST}-b", "a-value-b"),
            ("$TEST_x", ""),
            ("$$", "$"),
            ("foo${MISSING}bar", "foobar"),
            ("100%$", "100%$"),
            ("$-x", "x"),
            ("a$ b", "a$ b"),
            ("${}", ""),
            ("${", ""),
        ] {
            assert_eq!(expand_env(text, &env), expanded, "{text}");
        }
    }
}
