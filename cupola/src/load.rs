//! Reading everything that can be configured, all or nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cupola_config::matchers::MatcherMode;
use cupola_config::prometheus::{FloatChunkEncoding, ServerMode, load_prometheus_with};
use cupola_config::rules::RuleOptions;
use cupola_config::{
    AlertmanagerConfig, ConfigErrors, DiskFiles, Files as _, NameScheme, PrometheusConfig, load_alertmanager,
    load_rules, parse_alertmanager, parse_prometheus, parse_rules,
};
use cupola_promql::ParseOptions;
use cupola_rules::GroupSource;

use crate::auto_reload::{self, Checksum};
use crate::builtin;
use crate::cli::{Mode, Settings};

/// A whole configuration, checked: applying it cannot fail but for templates.
pub(crate) struct Loaded {
    pub prometheus: PrometheusConfig,
    pub rules: Vec<GroupSource>,
    pub alertmanager: Option<(AlertmanagerConfig, Vec<(String, String)>)>,
    pub warnings: Vec<String>,
    /// Of the files that were read; only where their changes are looked for.
    pub checksum: Option<Checksum>,
}

/// Reads all files that `settings` name, and what these name.
///
/// # Errors
/// One text with every mistake of every file, a line each: `FILE:LINE:COL: message`.
pub(crate) fn load(settings: &Settings) -> Result<Loaded, String> {
    let mut mistakes: Vec<String> = Vec::new();
    let mut collect = |errors: ConfigErrors| mistakes.extend(errors.iter().map(ToString::to_string));
    let mut warnings = Vec::new();
    // Before anything is read: what changes meanwhile is a change.
    let checksum = settings.auto_reload.map(|_| auto_reload::checksum(settings));

    let mode = match settings.agent {
        Some(_) => ServerMode::Agent,
        None => ServerMode::Server,
    };
    let prometheus = match &settings.config_file {
        Some(file) => load_prometheus_with(mode, settings.reads_starts(), file, &DiskFiles),
        None => parse_prometheus(builtin::PROMETHEUS_YML, Path::new("built-in")),
    };
    let prometheus = prometheus.map_err(&mut collect).ok();
    if let (Some(prometheus), Some(file)) = (&prometheus, &settings.config_file) {
        for mistake in cupola_remote::mistakes(&prometheus.remote_write) {
            collect(ConfigErrors::whole_file(file, mistake));
        }
    }
    if let (Some(prometheus), Some(file)) = (&prometheus, &settings.config_file) {
        for mistake in cupola_remote::read_mistakes(&prometheus.remote_read) {
            collect(ConfigErrors::whole_file(file, mistake));
        }
    }
    let not_yet = prometheus.iter().flat_map(|p| p.not_yet.clone()).collect();
    if let Some(errors) = ConfigErrors::from_list(not_yet) {
        collect(errors);
    }

    let mut rules = Vec::new();
    let options = RuleOptions {
        promql: parse_options(&settings.features),
        ..RuleOptions::default()
    };
    if settings.mode == Mode::Up {
        match parse_rules(builtin::HOST_RULES, Path::new("built-in"), options) {
            Ok(file) => add_groups(&mut rules, file),
            Err(errors) => collect(errors),
        }
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for pattern in prometheus.iter().flat_map(|p| &p.rule_files) {
        match DiskFiles.glob(pattern) {
            Ok(found) => files.extend(found),
            Err(error) => collect(ConfigErrors::whole_file(pattern, format!("rule_files: {error}"))),
        }
    }
    files.dedup();
    for file in files {
        match load_rules(&file, options, &DiskFiles) {
            Ok(file) => add_groups(&mut rules, file),
            Err(errors) => collect(errors),
        }
    }

    let alertmanager = match (&settings.alertmanager_config_file, settings.mode) {
        (Some(file), _) => load_alertmanager(file, MatcherMode::Fallback, &DiskFiles).map(Some),
        // Alerts are grouped and shown also where nobody is to be told.
        (None, Mode::Up) => {
            parse_alertmanager(builtin::ALERTMANAGER_YML, Path::new("built-in"), MatcherMode::Fallback).map(Some)
        }
        (None, Mode::Prometheus) => Ok(None),
    };
    let alertmanager = alertmanager.map_err(&mut collect).ok().flatten();
    let not_yet = alertmanager.iter().flat_map(|a| a.not_yet.clone()).collect();
    if let Some(errors) = ConfigErrors::from_list(not_yet) {
        collect(errors);
    }
    let templates = templates(alertmanager.as_ref(), &mut collect);

    match prometheus {
        Some(prometheus) if mistakes.is_empty() => {
            warnings.extend(prometheus.warnings.iter().map(ToString::to_string));
            warnings.extend(
                alertmanager
                    .iter()
                    .flat_map(|a| a.warnings.iter().map(ToString::to_string)),
            );
            warnings.extend(without_effect(&prometheus));
            Ok(Loaded {
                prometheus,
                rules,
                alertmanager: alertmanager.map(|a| (a, templates)),
                warnings,
                checksum,
            })
        }
        _ => Err(mistakes.join("\n")),
    }
}

/// Names and contents of the template files that a configuration names.
pub(crate) fn templates(
    config: Option<&AlertmanagerConfig>,
    collect: &mut impl FnMut(ConfigErrors),
) -> Vec<(String, String)> {
    let mut templates = Vec::new();
    for pattern in config.into_iter().flat_map(|a| &a.templates) {
        match DiskFiles.glob(pattern) {
            Ok(found) => {
                for file in found {
                    match DiskFiles.read(&file) {
                        Ok(text) => templates.push((file.display().to_string(), text)),
                        Err(error) => collect(ConfigErrors::whole_file(&file, error.to_string())),
                    }
                }
            }
            Err(error) => collect(ConfigErrors::whole_file(pattern, format!("templates: {error}"))),
        }
    }
    templates
}

fn add_groups(rules: &mut Vec<GroupSource>, file: cupola_config::RuleFile) {
    let path = file.path.display().to_string();
    rules.extend(file.groups.into_iter().map(|group| GroupSource {
        file: path.clone(),
        group,
    }));
}

/// What expressions may use, as `--enable-feature` says.
pub(crate) fn parse_options(features: &[String]) -> ParseOptions {
    let mut options = ParseOptions::default();
    for feature in features {
        // Features that are not about the language are somebody else's.
        options.enable_feature(feature);
    }
    options
}

/// Settings that are read and that this version does not act on, each as one text.
fn without_effect(config: &PrometheusConfig) -> Vec<String> {
    let storage = &config.storage;
    let scrape = std::iter::once(&config.global.scrape).chain(config.scrape_configs.iter().map(|c| &c.defaults));
    let legacy = scrape.into_iter().any(|d| d.name_scheme == NameScheme::Legacy);
    let all = [
        (
            storage.stale_series_compaction_threshold != 0.0,
            "storage.tsdb.stale_series_compaction_threshold",
        ),
        (
            storage.float_chunk_encoding == Some(FloatChunkEncoding::Xor2),
            "storage.tsdb.chunk_encoding.floats: xor2",
        ),
        (legacy, "metric_name_validation_scheme: legacy"),
    ];
    let told = all.into_iter().filter(|(is_set, _)| *is_set);
    told.map(|(_, name)| format!("{name} has no effect in this version"))
        .collect()
}

impl Loaded {
    pub(crate) fn evaluation_interval(&self) -> Duration {
        self.prometheus.global.evaluation_interval
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Command, parse};

    #[test]
    fn a_file_that_asks_for_what_is_not_done_yet_does_not_load() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.yml");
        std::fs::write(
            &file,
            "scrape_configs:\n- job_name: a\n  proxy_url: socks4://p\n  gce_sd_configs: [{project: p, zone: z}]\n",
        )
        .unwrap();
        let args = ["cupola", "prometheus", &format!("--config.file={}", file.display())].map(OsString::from);
        let Ok(Command::Serve(settings)) = parse(args) else {
            panic!("flags")
        };
        let name = file.display();
        assert_eq!(
            load(&settings).map(|_| ()).unwrap_err(),
            format!(
                "{name}:3:3: proxy_url is not supported by this version\n\
                 {name}:4:3: gce_sd_configs is not supported by this version"
            )
        );
    }
}
