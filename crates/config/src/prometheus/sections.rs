//! Reading `alerting`, `storage` and `otlp`.

use std::time::Duration;

use cupola_model::go_quote;

use super::discovery::read_discovery;
use super::remote::read_sigv4;
use super::scrape::{read_scheme, read_static_configs};
use super::{
    AlertingConfig, AlertmanagersConfig, FloatChunkEncoding, OtlpConfig, RetentionConfig, StorageConfig,
    TranslationStrategy,
};
use crate::common::{Auth, NameScheme};
use crate::http::read_http_fields;
use crate::read::{Reader, Section};
use crate::relabel::read_relabel_configs;
use crate::yaml::Node;

const EMPTY_ALERT_RELABEL: &str = "empty or null alert relabeling rule";
const EMPTY_TARGET_RELABEL: &str = "empty or null Alertmanager target relabeling rule";

/// Reads `alerting`.
pub(super) fn read_alerting(section: Section<'_>, scheme: NameScheme) -> AlertingConfig {
    let alert_relabel_configs = read_relabel_configs(&section, "alert_relabel_configs", EMPTY_ALERT_RELABEL, scheme);
    let items = section.items(
        "alertmanagers",
        "[]*config.AlertmanagerConfig",
        "empty or null Alertmanager section",
    );
    let alertmanagers = items
        .into_iter()
        .map(|node| read_alertmanagers(section.reader, node, scheme))
        .collect();
    section.finish();
    AlertingConfig {
        alert_relabel_configs,
        alertmanagers,
    }
}

fn read_alertmanagers(reader: &Reader<'_>, node: &Node, scheme: NameScheme) -> AlertmanagersConfig {
    let section = reader.section(node, "config.plain");
    match section.filled_text("api_version").as_deref() {
        None | Some("v2") => {}
        Some(other) => {
            let message = format!("expected Alertmanager api version to be one of [v2] but got {other}");
            section.error_at("api_version", message);
        }
    }
    let mut http = read_http_fields(&section);
    if let Some(node) = section.get("sigv4") {
        let sigv4 = read_sigv4(section.reader, node);
        if http.auth.is_some() {
            let message = "at most one of basic_auth, authorization, oauth2, & sigv4 must be configured";
            section.error_at("sigv4", message);
        }
        http.auth = Some(Auth::SigV4(Box::new(sigv4)));
    }
    let discovery = read_discovery(&section);
    let relabel_configs = read_relabel_configs(&section, "relabel_configs", EMPTY_TARGET_RELABEL, scheme);
    let config = AlertmanagersConfig {
        scheme: read_scheme(&section),
        path_prefix: section.text("path_prefix").unwrap_or_default(),
        timeout: section.nonzero_duration("timeout").unwrap_or(Duration::from_secs(10)),
        http,
        static_configs: read_static_configs(&section, relabel_configs.is_empty()),
        discovery,
        relabel_configs,
        alert_relabel_configs: read_relabel_configs(&section, "alert_relabel_configs", EMPTY_ALERT_RELABEL, scheme),
    };
    section.finish();
    config
}

/// Reads `storage`.
pub(super) fn read_storage(section: Section<'_>) -> StorageConfig {
    let reader = section.reader;
    let exemplars = section.get("exemplars").map(|node| {
        let exemplars = reader.section(node, "config.ExemplarsConfig");
        let max = exemplars.count("max_exemplars");
        exemplars.finish();
        max.unwrap_or(100_000)
    });
    let tsdb = section
        .get("tsdb")
        .map_or_else(|| reader.no_section(), |node| reader.section(node, "config.TSDBConfig"));
    let float_chunk_encoding = tsdb.get("chunk_encoding").and_then(|node| {
        let encoding = reader.section(node, "config.ChunkEncodingConfig");
        let floats = match encoding.filled_text("floats").as_deref() {
            None => None,
            Some("xor") => Some(FloatChunkEncoding::Xor),
            Some("xor2") => Some(FloatChunkEncoding::Xor2),
            Some(other) => {
                let message = format!(
                    "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted \
                     entirely, got {}",
                    go_quote(other)
                );
                encoding.error_at("floats", message);
                None
            }
        };
        encoding.finish();
        floats
    });
    let threshold = tsdb.float("stale_series_compaction_threshold").unwrap_or(0.0);
    if !(0.0..=1.0).contains(&threshold) {
        let message = "'storage.tsdb.stale_series_compaction_threshold' must be in the range [0, 1]";
        tsdb.error_at("stale_series_compaction_threshold", message);
    }
    let config = StorageConfig {
        out_of_order_time_window: tsdb.duration("out_of_order_time_window").unwrap_or_default(),
        stale_series_compaction_threshold: threshold,
        float_chunk_encoding,
        retention: tsdb
            .get("retention")
            .map(|node| read_retention(reader, node))
            .unwrap_or_default(),
        max_exemplars: exemplars,
    };
    tsdb.finish();
    section.finish();
    config
}

fn read_retention(reader: &Reader<'_>, node: &Node) -> RetentionConfig {
    let section = reader.section(node, "config.plain");
    let percentage = section.float("percentage");
    if percentage.is_some_and(|percentage| !(0.0..=100.0).contains(&percentage)) {
        section.error_at(
            "percentage",
            "'storage.tsdb.retention.percentage' must be in the range [0, 100]",
        );
    }
    let config = RetentionConfig {
        time: section.duration("time"),
        size: section.size("size"),
        percentage,
    };
    section.finish();
    config
}

/// Reads `otlp`.
pub(super) fn read_otlp(section: Section<'_>, scheme: NameScheme) -> OtlpConfig {
    let strategy = section.filled_text("translation_strategy");
    let translation_strategy = match strategy.as_deref() {
        None | Some("UnderscoreEscapingWithSuffixes") => TranslationStrategy::UnderscoreEscapingWithSuffixes,
        Some("NoUTF8EscapingWithSuffixes") => TranslationStrategy::NoUtf8EscapingWithSuffixes,
        Some("UnderscoreEscapingWithoutSuffixes") => TranslationStrategy::UnderscoreEscapingWithoutSuffixes,
        Some("NoTranslation") => TranslationStrategy::NoTranslation,
        Some(other) => {
            let message = format!("unsupported OTLP translation strategy {}", go_quote(other));
            section.error_at("translation_strategy", message);
            TranslationStrategy::default()
        }
    };
    let needs_utf8 = matches!(
        translation_strategy,
        TranslationStrategy::NoUtf8EscapingWithSuffixes | TranslationStrategy::NoTranslation
    );
    if needs_utf8 && scheme == NameScheme::Legacy {
        let name = go_quote(strategy.as_deref().unwrap_or_default());
        let message = format!("OTLP translation strategy {name} is not allowed when UTF8 is disabled");
        section.error_at("translation_strategy", message);
    }
    let promote_all = section.bool("promote_all_resource_attributes").unwrap_or(false);
    let promote = read_attributes(
        &section,
        "promote_resource_attributes",
        "promoted OTLP resource attributes",
    );
    let ignore = read_attributes(
        &section,
        "ignore_resource_attributes",
        "ignored OTLP resource attributes",
    );
    if promote_all && !promote.is_empty() {
        let message = "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured \
                       simultaneously";
        section.error_at("promote_resource_attributes", message);
    }
    if !promote_all && !ignore.is_empty() {
        let message = "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is \
                       true";
        section.error_at("ignore_resource_attributes", message);
    }
    let switch = |name: &'static str| section.bool(name).unwrap_or(false);
    let config = OtlpConfig {
        promote_resource_attributes: promote,
        promote_all_resource_attributes: promote_all,
        ignore_resource_attributes: ignore,
        translation_strategy,
        keep_identifying_resource_attributes: switch("keep_identifying_resource_attributes"),
        convert_histograms_to_nhcb: switch("convert_histograms_to_nhcb"),
        promote_scope_metadata: switch("promote_scope_metadata"),
        label_name_underscore_sanitization: section.bool("label_name_underscore_sanitization").unwrap_or(true),
        label_name_preserve_multiple_underscores: section
            .bool("label_name_preserve_multiple_underscores")
            .unwrap_or(true),
    };
    section.finish();
    config
}

fn read_attributes(section: &Section<'_>, name: &'static str, what: &str) -> Vec<String> {
    let mut attributes: Vec<String> = Vec::new();
    for attribute in section.texts(name) {
        let attribute = attribute.trim().to_owned();
        if attribute.is_empty() {
            section.error_at(name, format!("empty {what}"));
        } else if attributes.contains(&attribute) {
            section.error_at(name, format!("duplicated {} in {what}", go_quote(&attribute)));
        } else {
            attributes.push(attribute);
        }
    }
    attributes
}
