//! Reading prometheus.yml and the scrape files that it names.

use std::path::{Path, PathBuf};

use cupola_model::go_quote;

use super::marshal::marshal;
use super::remote::{read_remote_reads, read_remote_writes};
use super::scrape::{Env, read_global, read_scrape_config};
use super::sections::{read_alerting, read_otlp, read_storage};
use super::tracing::read_tracing;
use super::{GlobalConfig, PrometheusConfig, ScrapeConfig, ServerMode};
use crate::error::ConfigErrors;
use crate::files::{Files, read_text};
use crate::read::{Reader, Section};
use crate::yaml::Pos;

/// Reads prometheus.yml from a text, without the files that `scrape_config_files` names. `path` is used in messages
/// and to resolve relative paths; `external_labels` are expanded from the process's environment.
///
/// # Errors
/// Every mistake in the text.
pub fn parse_prometheus(text: &str, path: &Path) -> Result<PrometheusConfig, ConfigErrors> {
    parse_prometheus_with_env(text, path, &|name| std::env::var(name).ok())
}

/// As [`parse_prometheus`], for a server or an agent.
///
/// # Errors
/// As [`parse_prometheus`], and for an agent each section that an agent cannot have.
pub fn parse_prometheus_as(mode: ServerMode, text: &str, path: &Path) -> Result<PrometheusConfig, ConfigErrors> {
    let reader = Reader::new(path);
    let config = read_main(&reader, text, (mode, false), &|name| std::env::var(name).ok());
    reader.result(config)
}

/// As [`parse_prometheus`], with the environment given.
///
/// # Errors
/// As [`parse_prometheus`].
pub fn parse_prometheus_with_env(
    text: &str,
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<PrometheusConfig, ConfigErrors> {
    let reader = Reader::new(path);
    let config = read_main(&reader, text, (ServerMode::Server, false), env);
    reader.result(config)
}

/// Reads prometheus.yml and the files that its `scrape_config_files` name.
///
/// # Errors
/// Every mistake in all of these files, or why a file cannot be read.
pub fn load_prometheus(path: &Path, files: &dyn Files) -> Result<PrometheusConfig, ConfigErrors> {
    load_prometheus_as(ServerMode::Server, path, files)
}

/// As [`load_prometheus`], for a server or an agent.
///
/// # Errors
/// As [`load_prometheus`], and for an agent each section that an agent cannot have.
pub fn load_prometheus_as(mode: ServerMode, path: &Path, files: &dyn Files) -> Result<PrometheusConfig, ConfigErrors> {
    load_prometheus_with(mode, false, path, files)
}

/// As [`load_prometheus_as`]; with `protobuf_first`, targets are asked for protobuf first where the file does not say
/// what to ask them for, as with Prometheus's features `created-timestamp-zero-ingestion` and `st-storage`.
///
/// # Errors
/// As [`load_prometheus_as`].
pub fn load_prometheus_with(
    mode: ServerMode,
    protobuf_first: bool,
    path: &Path,
    files: &dyn Files,
) -> Result<PrometheusConfig, ConfigErrors> {
    let text = read_text(files, path)?;
    let reader = Reader::new(path);
    let mut config = read_main(&reader, &text, (mode, protobuf_first), &|name| std::env::var(name).ok());
    if let Some(config) = &mut config {
        include_scrape_files(&reader, config, files);
    }
    reader.result(config)
}

fn include_scrape_files(reader: &Reader<'_>, config: &mut PrometheusConfig, files: &dyn Files) {
    for pattern in config.scrape_config_files.clone() {
        let matches = match files.glob(&pattern) {
            Ok(matches) => matches,
            Err(error) => {
                let message = format!(
                    "error retrieving scrape config files for {:?}: {error}",
                    pattern.display()
                );
                reader.error(Pos::START, message);
                continue;
            }
        };
        for path in matches {
            let text = match read_text(files, &path) {
                Ok(text) => text,
                Err(errors) => {
                    reader.add_errors(errors);
                    continue;
                }
            };
            let included = Reader::new(&path);
            let known = config.scrape_configs.iter().map(|c| c.job_name.clone()).collect();
            let document = included.document(&text);
            if let Some(root) = &document.root {
                let section = included.section(root, "config.ScrapeConfigs");
                let jobs = read_scrape_configs(&section, &config.global, known);
                config.scrape_configs.extend(jobs.into_iter().map(|(job, _)| job));
                section.finish();
            }
            config.warnings.extend(included.take_warnings());
            config.not_yet.extend(included.take_not_yet());
            if let Err(errors) = included.result(Some(())) {
                reader.add_errors(errors);
            }
        }
    }
}

fn read_main(
    reader: &Reader<'_>,
    text: &str,
    (mode, protobuf_first): (ServerMode, bool),
    env: Env<'_>,
) -> Option<PrometheusConfig> {
    let document = reader.document(text);
    // An empty file is a valid configuration: all defaults.
    let root = document.root.as_deref();
    let section = root.map_or_else(|| reader.no_section(), |root| reader.section(root, "config.plain"));
    let mut config = read_sections(&section, env, protobuf_first);
    config.shown_text = marshal(&config);
    if mode == ServerMode::Agent {
        refuse_in_agent(&section, &config);
    }
    section.finish();
    // What the text is shown as is only right where everything was understood.
    reader.is_clean().then_some(config)
}

fn refuse_in_agent(section: &Section<'_>, config: &PrometheusConfig) {
    let alerting = &config.alerting;
    let forbidden = [
        (
            "alerting",
            !alerting.alertmanagers.is_empty() || !alerting.alert_relabel_configs.is_empty(),
        ),
        ("rule_files", !config.rule_files.is_empty()),
        ("remote_read", !config.remote_read.is_empty()),
    ];
    for (name, _) in forbidden.into_iter().filter(|(_, is_given)| *is_given) {
        section.error_at(name, format!("field {name} is not allowed in agent mode"));
    }
}

fn read_sections(section: &Section<'_>, env: Env<'_>, protobuf_first: bool) -> PrometheusConfig {
    let reader = section.reader;
    let open = |name: &'static str, type_name: &'static str| {
        section
            .get(name)
            .map_or_else(|| reader.no_section(), |node| reader.section(node, type_name))
    };
    section.warn_without_effect("tracing", "no traces are sent");
    let global = read_global(open("global", "config.plain"), env, protobuf_first);
    let runtime = open("runtime", "config.RuntimeConfig");
    let gogc = runtime.count("gogc").and_then(|n| u32::try_from(n).ok()).unwrap_or(75);
    runtime.finish();
    let scheme = global.scrape.name_scheme;
    let alerting = read_alerting(open("alerting", "config.plain"), scheme);
    let storage = read_storage(open("storage", "config.StorageConfig"));
    let otlp = read_otlp(open("otlp", "config.plain"), scheme);
    let rule_files = read_patterns(section, "rule_files", "invalid rule file path");
    let scrape_config_files = read_patterns(section, "scrape_config_files", "invalid scrape config file path");
    let jobs = read_scrape_configs(section, &global, Vec::new());
    let remote_write = read_remote_writes(section, scheme);
    let remote_read = read_remote_reads(section);
    let tracing = section.get("tracing").map(|node| read_tracing(reader, node));
    PrometheusConfig {
        gogc,
        rule_files,
        scrape_config_files,
        scrape_configs: jobs.into_iter().map(|(job, _)| job).collect(),
        alerting,
        storage,
        otlp,
        remote_write,
        remote_read,
        tracing,
        not_yet: reader.take_not_yet(),
        warnings: reader.take_warnings(),
        shown_text: String::new(),
        global,
    }
}

/// Reads `scrape_configs`; no job may be called as one in `known`.
fn read_scrape_configs(section: &Section<'_>, global: &GlobalConfig, known: Vec<String>) -> Vec<(ScrapeConfig, Pos)> {
    let reader = section.reader;
    let mut jobs: Vec<(ScrapeConfig, Pos)> = Vec::new();
    let items = section.items(
        "scrape_configs",
        "[]*config.ScrapeConfig",
        "empty or null scrape config section",
    );
    for node in items {
        let Some(job) = read_scrape_config(reader, node, global) else {
            continue;
        };
        let name = &job.job_name;
        let first = jobs
            .iter()
            .find(|(other, _)| other.job_name == *name)
            .map(|(_, pos)| *pos);
        if !name.is_empty() && (first.is_some() || known.contains(name)) {
            let message = format!("found multiple scrape configs with job name {}", go_quote(name));
            match first {
                Some(first) => reader.error_hint(node.pos, message, format!("the first is at line {}", first.line)),
                None => reader.error_hint(node.pos, message, "the first is in another file"),
            }
        }
        jobs.push((job, node.pos));
    }
    jobs
}

/// Reads glob patterns of files; only the last part of a path may hold a `*`.
fn read_patterns(section: &Section<'_>, name: &'static str, refusal: &str) -> Vec<PathBuf> {
    let reader = section.reader;
    let mut patterns = Vec::new();
    for item in section.items(name, "[]string", "") {
        let Some(text) = reader.text(item) else { continue };
        if text
            .split_once('*')
            .is_some_and(|(_, after)| after.contains('/') || after.contains('*'))
        {
            let message = format!("{refusal} {}", go_quote(&text));
            reader.error_hint(item.pos, message, "only one * is allowed, in the last part of the path");
        }
        patterns.push(reader.resolve(&text));
    }
    patterns
}
