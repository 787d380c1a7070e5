//! The configuration as Prometheus 3.14 writes it for `/api/v1/status/config`: what is in force, defaults included, in
//! the order of its structs. Secrets are not in the text: the types do not give them to anybody who prints.

mod discovery;
mod http;
mod remote;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cupola_model::{Labels, format_duration};

use super::{
    AlertmanagersConfig, EscapingScheme, FloatChunkEncoding, GlobalConfig, Limits, OtlpConfig, PrometheusConfig,
    ScrapeConfig, ScrapeProtocol, StorageConfig, TracingClient, TracingConfig, TranslationStrategy,
};
use crate::common::{Auth, ByteSize, NameScheme};
use crate::relabel::RelabelConfig;
use yaml::{Map, Yaml};

/// The whole text. Jobs of included files stand in it, too, where they were read before.
pub(super) fn marshal(config: &PrometheusConfig) -> String {
    let mut map = Map::default();
    map.put("global", Yaml::Map(global(&config.global)));
    let mut runtime = Map::default();
    runtime.raw("gogc", config.gogc);
    map.map("runtime", runtime);
    let mut alerting = Map::default();
    alerting.list(
        "alert_relabel_configs",
        relabel_all(&config.alerting.alert_relabel_configs),
    );
    let groups = config.alerting.alertmanagers.iter();
    alerting.list(
        "alertmanagers",
        groups.map(|group| Yaml::Map(alertmanagers(group))).collect(),
    );
    map.map("alerting", alerting);
    let paths = |all: &[std::path::PathBuf]| all.iter().map(|file| Yaml::Text(path(file))).collect();
    map.list("rule_files", paths(&config.rule_files));
    map.list("scrape_config_files", paths(&config.scrape_config_files));
    let jobs = config.scrape_configs.iter();
    map.list("scrape_configs", jobs.map(|job| Yaml::Map(scrape(job))).collect());
    map.map("storage", storage(&config.storage));
    if let Some(config) = &config.tracing {
        map.map("tracing", tracing(config));
    }
    let writes = config.remote_write.iter();
    map.list(
        "remote_write",
        writes.map(|one| Yaml::Map(remote::write(one))).collect(),
    );
    let reads = config.remote_read.iter();
    map.list("remote_read", reads.map(|one| Yaml::Map(remote::read(one))).collect());
    map.map("otlp", otlp(&config.otlp));
    map.document()
}

fn duration(duration: Duration) -> String {
    format_duration(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn texts(all: &BTreeMap<String, String>) -> Map {
    all.iter()
        .map(|(name, value)| (name.as_str(), Yaml::Text(value.clone())))
        .collect()
}

fn labels(all: &Labels) -> Map {
    all.iter()
        .map(|(name, value)| (name, Yaml::Text(value.to_owned())))
        .collect()
}

/// A URL without its password.
fn shown_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => {
            let name = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{name}:xxxxx@{host}{tail}")
        }
        // Alone it may be a token. Upstream shows it.
        Some((_, host)) => format!("{scheme}://xxxxx@{host}{tail}"),
        None => url.to_owned(),
    }
}

// `1KiB512B`, as Go's `units.Base2Bytes` shows it.
fn size(size: ByteSize) -> String {
    let mut out = String::new();
    let mut rest = size.0;
    for (shift, unit) in [
        (60, "EiB"),
        (50, "PiB"),
        (40, "TiB"),
        (30, "GiB"),
        (20, "MiB"),
        (10, "KiB"),
        (0, "B"),
    ] {
        let whole = rest >> shift;
        if whole > 0 {
            out += &format!("{whole}{unit}");
            rest -= whole << shift;
        }
    }
    if out.is_empty() { "0B".to_owned() } else { out }
}

fn protocol(protocol: ScrapeProtocol) -> &'static str {
    match protocol {
        ScrapeProtocol::PrometheusProto => "PrometheusProto",
        ScrapeProtocol::PrometheusText004 => "PrometheusText0.0.4",
        ScrapeProtocol::PrometheusText100 => "PrometheusText1.0.0",
        ScrapeProtocol::OpenMetricsText001 => "OpenMetricsText0.0.1",
        ScrapeProtocol::OpenMetricsText100 => "OpenMetricsText1.0.0",
    }
}

fn name_scheme(scheme: NameScheme) -> &'static str {
    match scheme {
        NameScheme::Utf8 => "utf8",
        NameScheme::Legacy => "legacy",
    }
}

fn escaping(scheme: EscapingScheme) -> &'static str {
    match scheme {
        EscapingScheme::AllowUtf8 => "allow-utf-8",
        EscapingScheme::Underscores => "underscores",
        EscapingScheme::Dots => "dots",
        EscapingScheme::Values => "values",
    }
}

fn limits(map: &mut Map, limits: &Limits) {
    if limits.body_size_limit.0 > 0 {
        map.text("body_size_limit", &size(limits.body_size_limit));
    }
    map.count("sample_limit", limits.sample_limit);
    map.count("target_limit", limits.target_limit);
    map.count("label_limit", limits.label_limit);
    map.count("label_name_length_limit", limits.label_name_length_limit);
    map.count("label_value_length_limit", limits.label_value_length_limit);
}

fn global(config: &GlobalConfig) -> Map {
    let mut map = Map::default();
    let inherited = &config.scrape;
    map.text("scrape_interval", &duration(config.scrape_interval));
    map.text("scrape_timeout", &duration(config.scrape_timeout));
    // What a job takes where neither says anything is not said here either.
    if inherited.has_own_protocols {
        let names = inherited.scrape_protocols.iter().map(|one| protocol(*one));
        map.put("scrape_protocols", Yaml::texts(names));
    }
    map.text("evaluation_interval", &duration(config.evaluation_interval));
    if !config.rule_query_offset.is_zero() {
        map.text("rule_query_offset", &duration(config.rule_query_offset));
    }
    if let Some(file) = &config.query_log_file {
        map.text("query_log_file", &path(file));
    }
    if let Some(file) = &inherited.scrape_failure_log_file {
        map.text("scrape_failure_log_file", &path(file));
    }
    map.map("external_labels", labels(&config.external_labels));
    limits(&mut map, &inherited.limits);
    map.count("keep_dropped_targets", inherited.limits.keep_dropped_targets);
    map.text("metric_name_validation_scheme", name_scheme(inherited.name_scheme));
    let is_usual = match inherited.name_scheme {
        NameScheme::Utf8 => inherited.name_escaping == EscapingScheme::AllowUtf8,
        NameScheme::Legacy => inherited.name_escaping == EscapingScheme::Underscores,
    };
    if !is_usual {
        map.text("metric_name_escaping_scheme", escaping(inherited.name_escaping));
    }
    map.raw("scrape_native_histograms", inherited.scrape_native_histograms);
    map.yes(
        "convert_classic_histograms_to_nhcb",
        inherited.convert_classic_histograms_to_nhcb,
    );
    map.yes(
        "always_scrape_classic_histograms",
        inherited.always_scrape_classic_histograms,
    );
    map.yes("extra_scrape_metrics", inherited.extra_scrape_metrics);
    map
}

fn scrape(config: &ScrapeConfig) -> Map {
    let mut map = Map::default();
    let own = &config.defaults;
    map.text("job_name", &config.job_name);
    map.yes("honor_labels", config.honor_labels);
    map.raw("honor_timestamps", config.honor_timestamps);
    map.raw("track_timestamps_staleness", config.track_timestamps_staleness);
    let params = config.params.iter();
    map.map(
        "params",
        params
            .map(|(name, values)| (name.as_str(), Yaml::texts(values)))
            .collect(),
    );
    map.text("scrape_interval", &duration(config.scrape_interval));
    map.text("scrape_timeout", &duration(config.scrape_timeout));
    map.put(
        "scrape_protocols",
        Yaml::texts(own.scrape_protocols.iter().map(|one| protocol(*one))),
    );
    if let Some(fallback) = config.fallback_scrape_protocol {
        map.text("fallback_scrape_protocol", protocol(fallback));
    }
    map.raw("scrape_native_histograms", own.scrape_native_histograms);
    map.raw("always_scrape_classic_histograms", own.always_scrape_classic_histograms);
    map.raw(
        "convert_classic_histograms_to_nhcb",
        own.convert_classic_histograms_to_nhcb,
    );
    if let Some(file) = &own.scrape_failure_log_file {
        map.text("scrape_failure_log_file", &path(file));
    }
    map.filled("metrics_path", &config.metrics_path);
    map.text("scheme", config.scheme.as_str());
    map.raw("enable_compression", config.enable_compression);
    limits(&mut map, &own.limits);
    map.count("native_histogram_bucket_limit", config.native_histogram_bucket_limit);
    if config.native_histogram_min_bucket_factor > 0.0 {
        let factor = cupola_model::fmt_f64_g(config.native_histogram_min_bucket_factor);
        map.raw("native_histogram_min_bucket_factor", factor);
    }
    map.count("keep_dropped_targets", own.limits.keep_dropped_targets);
    map.text("metric_name_validation_scheme", name_scheme(own.name_scheme));
    map.text("metric_name_escaping_scheme", escaping(own.name_escaping));
    map.raw("extra_scrape_metrics", own.extra_scrape_metrics);
    map.inline(http::client(&config.http));
    map.list("relabel_configs", relabel_all(&config.relabel_configs));
    map.list("metric_relabel_configs", relabel_all(&config.metric_relabel_configs));
    map.inline(discovery::lists(&config.static_configs, &config.discovery));
    map
}

fn alertmanagers(config: &AlertmanagersConfig) -> Map {
    let mut map = http::client(&config.http);
    if let Some(Auth::SigV4(config)) = &config.http.auth {
        map.put("sigv4", Yaml::Map(http::sigv4(config)));
    }
    map.text("scheme", config.scheme.as_str());
    map.filled("path_prefix", &config.path_prefix);
    map.text("timeout", &duration(config.timeout));
    map.text("api_version", "v2");
    map.list("relabel_configs", relabel_all(&config.relabel_configs));
    map.list("alert_relabel_configs", relabel_all(&config.alert_relabel_configs));
    map.inline(discovery::lists(&config.static_configs, &config.discovery));
    map
}

fn relabel_all(all: &[RelabelConfig]) -> Vec<Yaml> {
    all.iter().map(|one| Yaml::Map(relabel(one))).collect()
}

fn relabel(config: &RelabelConfig) -> Map {
    let mut map = Map::default();
    if !config.source_labels.is_empty() {
        map.put("source_labels", Yaml::Flow(config.source_labels.clone()));
    }
    map.filled("separator", &config.separator);
    // Also an empty one, which is not the default.
    map.text("regex", config.regex.pattern());
    map.count("modulus", config.modulus);
    map.filled("target_label", &config.target_label);
    map.filled("replacement", &config.replacement);
    map.text("action", config.action.as_str());
    map
}

fn storage(config: &StorageConfig) -> Map {
    let mut tsdb = Map::default();
    if !config.out_of_order_time_window.is_zero() {
        tsdb.text("out_of_order_time_window", &duration(config.out_of_order_time_window));
    }
    if config.stale_series_compaction_threshold > 0.0 {
        let threshold = cupola_model::fmt_f64_g(config.stale_series_compaction_threshold);
        tsdb.raw("stale_series_compaction_threshold", threshold);
    }
    if let Some(encoding) = config.float_chunk_encoding {
        let mut floats = Map::default();
        floats.text(
            "floats",
            match encoding {
                FloatChunkEncoding::Xor => "xor",
                FloatChunkEncoding::Xor2 => "xor2",
            },
        );
        tsdb.map("chunk_encoding", floats);
    }
    let mut retention = Map::default();
    if let Some(time) = config.retention.time {
        retention.text("time", &duration(time));
    }
    if let Some(bytes) = config.retention.size {
        retention.text("size", &size(bytes));
    }
    if let Some(percentage) = config.retention.percentage {
        retention.raw("percentage", cupola_model::fmt_f64_g(percentage));
    }
    tsdb.map("retention", retention);
    let mut map = Map::default();
    map.map("tsdb", tsdb);
    if let Some(most) = config.max_exemplars {
        let mut exemplars = Map::default();
        exemplars.count("max_exemplars", most);
        map.put("exemplars", Yaml::Map(exemplars));
    }
    map
}

fn tracing(config: &TracingConfig) -> Map {
    let mut map = Map::default();
    map.text(
        "client_type",
        match config.client_type {
            TracingClient::Grpc => "grpc",
            TracingClient::Http => "http",
        },
    );
    map.text("endpoint", &shown_url(&config.endpoint));
    if config.sampling_fraction > 0.0 {
        map.raw("sampling_fraction", cupola_model::fmt_f64_g(config.sampling_fraction));
    }
    map.yes("insecure", config.insecure);
    map.map("tls_config", http::tls(&config.tls));
    map.map("headers", texts(&config.headers));
    map.filled("compression", if config.is_compressed { "gzip" } else { "" });
    map.text("timeout", &duration(config.timeout));
    map
}

fn otlp(config: &OtlpConfig) -> Map {
    let mut map = Map::default();
    let list = |all: &[String]| all.iter().map(|text| Yaml::Text(text.clone())).collect();
    map.yes(
        "promote_all_resource_attributes",
        config.promote_all_resource_attributes,
    );
    map.list("promote_resource_attributes", list(&config.promote_resource_attributes));
    map.list("ignore_resource_attributes", list(&config.ignore_resource_attributes));
    map.text(
        "translation_strategy",
        match config.translation_strategy {
            TranslationStrategy::UnderscoreEscapingWithSuffixes => "UnderscoreEscapingWithSuffixes",
            TranslationStrategy::NoUtf8EscapingWithSuffixes => "NoUTF8EscapingWithSuffixes",
            TranslationStrategy::UnderscoreEscapingWithoutSuffixes => "UnderscoreEscapingWithoutSuffixes",
            TranslationStrategy::NoTranslation => "NoTranslation",
        },
    );
    map.yes(
        "keep_identifying_resource_attributes",
        config.keep_identifying_resource_attributes,
    );
    map.yes("convert_histograms_to_nhcb", config.convert_histograms_to_nhcb);
    map.yes("promote_scope_metadata", config.promote_scope_metadata);
    // Upstream leaves these two out where they are off, as if they had their default.
    map.raw(
        "label_name_underscore_sanitization",
        config.label_name_underscore_sanitization,
    );
    map.raw(
        "label_name_preserve_multiple_underscores",
        config.label_name_preserve_multiple_underscores,
    );
    map
}

#[cfg(test)]
mod tests;
