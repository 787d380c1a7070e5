//! `promtool check service-discovery`: what discovery finds for a job, and what relabelling makes of it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use cupola_config::alertmanager::go_duration;
use cupola_config::load_prometheus;
use cupola_config::prometheus::{ScrapeConfig, TargetGroup};
use cupola_discovery::{DiscoveryManager, DiscoveryMetrics, DiscoverySet, ProviderStatus, SetUpdate, UPDATE_EVERY};
use cupola_env::SystemClock;
use cupola_metrics::Registry;
use cupola_model::Labels;
use cupola_scrape::TargetTrial;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{FAILURE, Io};

// How often it is looked whether all have told something.
const LOOK_EVERY: Duration = Duration::from_millis(100);
// After the first answers, for what comes right behind them.
const SETTLE: Duration = Duration::from_millis(300);

/// Which job, and how long to wait.
#[derive(Debug, Args)]
pub(super) struct DiscoveryArgs {
    /// The configuration file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The job.
    #[arg(value_name = "JOB")]
    job: String,
    /// How long to wait for results; with all there, it is not waited longer.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    go_duration(text).ok_or_else(|| "is not a duration such as 30s".to_owned())
}

/// Looks and prints a JSON list of what was found. What a provider could not do is told on the standard error; where
/// none found anything, that is a failure.
pub(super) fn check(args: &DiscoveryArgs, io: &mut Io<'_>) -> io::Result<u8> {
    if io.tell_missing(std::slice::from_ref(&args.file))? {
        return Ok(FAILURE);
    }
    let config = match load_prometheus(&args.file, io.files) {
        Ok(config) => config,
        Err(errors) => {
            writeln!(io.err, "Cannot load config {errors}")?;
            return Ok(FAILURE);
        }
    };
    let Some(job) = config.scrape_configs.iter().find(|job| job.job_name == args.job) else {
        writeln!(io.err, "Job {} not found. Select one of:", args.job)?;
        for job in &config.scrape_configs {
            writeln!(io.err, "\t{}", job.job_name)?;
        }
        return Ok(FAILURE);
    };
    // Kinds that this version does not have are told before anything is waited for.
    let lacks = config
        .not_yet
        .iter()
        .filter(|lack| lack.message.contains("_sd_configs"));
    for lack in lacks {
        writeln!(io.err, "{lack}")?;
    }
    let found = match discover(job, args.timeout) {
        Ok(found) => found,
        Err(error) => {
            writeln!(io.err, "Could not create new discoverer {error}")?;
            return Ok(FAILURE);
        }
    };
    for (provider, what) in &found.troubles {
        writeln!(io.err, "{provider}: {what}")?;
    }
    let mut results: Vec<Value> = Vec::new();
    for group in job.static_configs.iter().chain(found.groups.iter().map(AsRef::as_ref)) {
        for target in &group.targets {
            let result = shown(&TargetTrial::of(job, group, target));
            if !results.contains(&result) {
                results.push(result);
            }
        }
    }
    let is_silent = results.is_empty() && !found.troubles.is_empty();
    write!(io.out, "{:#}", Value::from(results))?;
    Ok(if is_silent { FAILURE } else { 0 })
}

fn shown(trial: &TargetTrial) -> Value {
    let labels = |labels: &Labels| {
        let pairs = labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
        Value::Object(pairs.collect::<Map<_, _>>())
    };
    match &trial.labels {
        Ok(after) => json!({
            "discoveredLabels": labels(&trial.discovered),
            "labels": labels(after.as_ref().unwrap_or(&Labels::empty())),
        }),
        Err(error) => json!({
            "discoveredLabels": labels(&trial.discovered),
            "labels": {},
            "error": error.to_string(),
        }),
    }
}

#[derive(Default)]
struct Found {
    groups: Vec<Arc<TargetGroup>>,
    // Providers with what they could not do.
    troubles: Vec<(String, String)>,
}

type Known = BTreeMap<(u64, Arc<str>), Arc<TargetGroup>>;

fn discover(job: &ScrapeConfig, timeout: Duration) -> Result<Found, String> {
    if job.discovery.is_empty() {
        return Ok(Found::default());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let known: Arc<Mutex<Known>> = Arc::default();
    let told = known.clone();
    let sink = move |updates: Vec<SetUpdate>| {
        let mut known = told.lock();
        for change in updates.into_iter().flat_map(|update| update.changes) {
            let key = (change.provider, change.source);
            match change.group {
                Some(group) => _ = known.insert(key, group),
                None => _ = known.remove(&key),
            }
        }
    };
    let statuses = runtime.block_on(async {
        let stop = CancellationToken::new();
        let metrics = DiscoveryMetrics::new(&Registry::default());
        let (clock, sink) = (Arc::new(SystemClock), Arc::new(sink));
        let manager = DiscoveryManager::new("scrape", metrics, clock, sink, stop.clone(), UPDATE_EVERY);
        manager.apply(&[DiscoverySet {
            name: job.job_name.clone(),
            configs: job.discovery.clone(),
        }]);
        let until = Instant::now() + timeout;
        let has_told = |status: &ProviderStatus| status.last_refresh.is_some();
        while Instant::now() < until && !manager.status().iter().all(has_told) {
            tokio::time::sleep(LOOK_EVERY.min(until - Instant::now())).await;
        }
        tokio::time::sleep(SETTLE.min(until.saturating_duration_since(Instant::now()))).await;
        let statuses = manager.status();
        stop.cancel();
        manager.stopped().await;
        statuses
    });
    let troubles = statuses.into_iter().filter_map(|status| {
        let what = match (status.last_error.is_empty(), status.last_refresh) {
            (false, _) => status.last_error,
            (true, None) => format!("nothing found within {}s", timeout.as_secs_f64()),
            (true, Some(_)) => return None,
        };
        Some((format!("{}_sd_configs {}", status.mechanism, status.place), what))
    });
    let troubles = troubles.collect();
    let groups = known.lock().values().cloned().collect();
    Ok(Found { groups, troubles })
}
