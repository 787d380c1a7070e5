//! `promtool check config`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use cupola_config::PrometheusConfig;
use cupola_config::common::{Auth, HttpClientConfig, PemSource, SecretSource};
use cupola_config::prometheus::{
    DiscoveryConfig, ScrapeConfig, ServerMode, TargetGroup, load_prometheus_as, parse_prometheus_as,
};
use cupola_discovery::targets_of_file;
use cupola_model::go_quote;
use cupola_promql::ParseOptions;
use cupola_scrape::{TargetError, TargetTrial};

use super::rules::{Checker, Outcome};
use super::{FAILURE, Io};

/// What is checked, and how.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// The configuration files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Look only at the files' syntax, not at files that they name.
    #[arg(long)]
    syntax_only: bool,
    /// Check them as the configuration of an agent, which has neither rules nor queries.
    #[arg(long)]
    agent: bool,
    /// Checks beyond validity: all, duplicate-rules, too-long-scrape-interval, none. Several are separated by commas.
    #[arg(long, value_name = "CHECKS", default_value = "duplicate-rules")]
    lint: String,
    /// Exit with 3 where such a check fails.
    #[arg(long)]
    lint_fatal: bool,
    /// Accept fields of rule groups that Prometheus does not know, for rule files with metadata of one's own. Remove them
    /// before a server reads the files: it refuses them.
    #[arg(long)]
    ignore_unknown_fields: bool,
}

/// Checks all files, and the rule files that they name. `lookback` is how far the server's queries look back.
pub(super) fn check(args: &ConfigArgs, lookback: Duration, promql: ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
    if io.tell_missing(&args.files)? {
        return Ok(FAILURE);
    }
    let (rule_lint, lints_intervals) = lint_options(&args.lint);
    let mut checker = Checker::new(&rule_lint, promql, io)?;
    checker.options.ignore_unknown_fields = args.ignore_unknown_fields;
    let mut outcome = Outcome::default();
    for file in &args.files {
        writeln!(io.out, "Checking {}", file.display())?;
        let mut too_long = None;
        let rule_files = match read(file, args, io) {
            Ok((config, rule_files)) => {
                if lints_intervals && !args.syntax_only {
                    let mut jobs = config.scrape_configs.iter();
                    too_long = jobs
                        .find(|job| job.scrape_interval >= lookback && !lookback.is_zero())
                        .cloned();
                }
                for warning in &config.warnings {
                    writeln!(io.err, "  WARNING: {warning}")?;
                }
                if !rule_files.is_empty() {
                    writeln!(io.out, "  SUCCESS: {} rule files found", rule_files.len())?;
                }
                let name = file.display();
                writeln!(io.out, " SUCCESS: {name} is valid prometheus config file syntax")?;
                rule_files
            }
            Err(mistakes) => {
                outcome.is_invalid = true;
                writeln!(io.err, "  FAILED: {}", mistakes.join("\n"))?;
                Vec::new()
            }
        };
        writeln!(io.out)?;
        if let Some(job) = too_long {
            outcome.has_lint = true;
            let interval = cupola_model::format_duration(job.scrape_interval.as_millis() as i64);
            let what = "too long scrape interval found, data point will be marked as stale";
            writeln!(io.err, "  FAILED: {what} - job: {}, interval: {interval}", job.job_name)?;
        }
        checker.files(&rule_files, &mut outcome, io)?;
    }
    Ok(outcome.code(args.lint_fatal))
}

// Which of the checks are of rules, and whether scrape intervals are looked at.
fn lint_options(lint: &str) -> (String, bool) {
    let names: Vec<&str> = lint.split(',').collect();
    if names.contains(&"none") {
        return ("none".to_owned(), false);
    }
    let is_of_intervals = |name: &str| name == "too-long-scrape-interval";
    let of_rules: Vec<&str> = names.iter().copied().filter(|name| !is_of_intervals(name)).collect();
    let lints_intervals = names.iter().any(|name| *name == "all" || is_of_intervals(name));
    (of_rules.join(","), lints_intervals)
}

// The configuration and the rule files it names, or every mistake. With `syntax_only` no other file is looked for.
fn read(path: &Path, args: &ConfigArgs, io: &mut Io<'_>) -> Result<(PrometheusConfig, Vec<PathBuf>), Vec<String>> {
    let mode = if args.agent {
        ServerMode::Agent
    } else {
        ServerMode::Server
    };
    let config = if args.syntax_only {
        let text = super::read(path, io).map_err(|error| vec![error])?;
        parse_prometheus_as(mode, &text, path)
    } else {
        load_prometheus_as(mode, path, io.files)
    };
    let config = config.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    if args.syntax_only {
        return Ok((config, Vec::new()));
    }
    let mut mistakes = Vec::new();
    let mut rule_files = Vec::new();
    for pattern in &config.rule_files {
        match io.files.glob(pattern) {
            // A pattern may match nothing yet; a name stands for a file (upstream tells them apart by the star).
            Ok(found) if found.is_empty() && !pattern.to_string_lossy().contains('*') => {
                let name = go_quote(&pattern.to_string_lossy());
                mistakes.push(format!("{name} does not point to an existing file"));
            }
            Ok(found) => rule_files.extend(found),
            Err(error) => mistakes.push(format!("rule_files: {}: {error}", pattern.display())),
        }
    }
    for job in &config.scrape_configs {
        let missing = named_files(&job.http)
            .into_iter()
            .filter(|(_, file)| !io.files.exists(file));
        mistakes.extend(missing.map(|(what, file)| {
            let name = go_quote(&file.to_string_lossy());
            format!("error checking {what} {name} of job {}: no such file", job.job_name)
        }));
        let name = format!("scrape job {}", go_quote(&job.job_name));
        let found = target_files(&job.discovery, &name, &mut mistakes, io);
        mistakes.extend(
            job.static_configs
                .iter()
                .chain(&found)
                .filter_map(|group| bad_target(job, group)),
        );
    }
    for config in &config.alerting.alertmanagers {
        target_files(&config.discovery, "alertmanagers", &mut mistakes, io);
    }
    if mistakes.is_empty() {
        Ok((config, rule_files))
    } else {
        Err(mistakes)
    }
}

// The groups in the files of `file_sd_configs`. A file that is not there yet is told and is no mistake.
fn target_files(
    configs: &[DiscoveryConfig],
    whose: &str,
    mistakes: &mut Vec<String>,
    io: &mut Io<'_>,
) -> Vec<TargetGroup> {
    let mut groups = Vec::new();
    let patterns = configs.iter().flat_map(|config| match config {
        DiscoveryConfig::File(config) => config.files.as_slice(),
        _ => &[],
    });
    for pattern in patterns {
        let files = match io.files.glob(pattern) {
            Ok(files) => files,
            Err(error) => {
                mistakes.push(format!("file_sd_configs: {}: {error}", pattern.display()));
                continue;
            }
        };
        if files.is_empty() {
            let name = go_quote(&pattern.to_string_lossy());
            // Where the output cannot be written, the next line fails, too.
            let _ = writeln!(io.out, "  WARNING: file {name} for file_sd in {whose} does not exist");
        }
        for file in files {
            let read = super::read(&file, io).and_then(|text| targets_of_file(&file, &text));
            match read {
                Ok(found) => groups.extend(found),
                Err(error) => mistakes.push(format!(
                    "checking SD file {}: {error}",
                    go_quote(&file.to_string_lossy())
                )),
            }
        }
    }
    groups
}

// The first target of a group that relabelling makes none of.
fn bad_target(job: &ScrapeConfig, group: &TargetGroup) -> Option<String> {
    let tried = group.targets.iter().enumerate();
    let mut bad = tried.filter_map(|(index, found)| {
        let error = TargetTrial::of(job, group, found).labels.err()?;
        // Prometheus finds out that an address makes no URL when it scrapes it.
        if matches!(error, TargetError::Url(_)) {
            return None;
        }
        let (job, source) = (&job.job_name, &group.source);
        Some(format!(
            "job {}: instance {index} in group {source}: {error}",
            go_quote(job)
        ))
    });
    bad.next()
}

// The files that must be there before a target can be asked, each with upstream's word for it. Upstream does not look for
// passwords and roots.
fn named_files(http: &HttpClientConfig) -> Vec<(&'static str, &Path)> {
    let mut named: Vec<(&'static str, &Path)> = Vec::new();
    if let Some(Auth::Authorization {
        credentials: Some(SecretSource::File(file)),
        ..
    }) = &http.auth
    {
        named.push(("authorization credentials or bearer token file", file));
    }
    if let Some(PemSource::File(file)) = &http.tls.cert {
        named.push(("client cert file", file));
    }
    if let Some(SecretSource::File(file)) = &http.tls.key {
        named.push(("client key file", file));
    }
    named
}
