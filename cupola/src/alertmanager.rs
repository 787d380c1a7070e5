//! `cupola alertmanager`: Alertmanager alone, without a database.

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use cupola_alert::{Alertmanager, Options, SilenceLimits};
use cupola_config::{AlertmanagerConfig, ConfigErrors, DiskFiles, load_alertmanager};
use cupola_env::{Clock, RealFs, SystemClock};
use cupola_metrics::{Gauge, Registry};
use cupola_web::{AlertmanagerApp, Readiness, WebConfigFile};
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::cli::AlertmanagerSettings;
use crate::{cluster, listen, load};

// How long parts may take to end once they are told to.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Runs until a signal ends it.
pub(crate) fn run(settings: AlertmanagerSettings) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    for flag in &settings.ignored {
        warn!(flag = format!("--{flag}"), "flag has no effect in this version");
    }
    let loaded =
        Loaded::read(&settings).map_err(|mistakes| anyhow!("the configuration cannot be used:\n{mistakes}"))?;
    let web = listen::web_config(settings.web_config_file.as_deref())?;
    let cluster = cluster::Bound::new(settings.cluster.as_ref())?;
    let listeners = match settings.systemd_socket {
        true => listen::activated()?,
        false => listen::bind(&settings.listen, "--web.listen-address", "alertmanager")?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(Duration::from_secs(5))
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(settings, loaded, listeners, web, cluster, clock))
}

// A configuration with the templates that it names.
struct Loaded {
    config: AlertmanagerConfig,
    templates: Vec<(String, String)>,
    // As `alertmanager_config_hash` shows it.
    hash: f64,
}

impl Loaded {
    fn read(settings: &AlertmanagerSettings) -> Result<Self, String> {
        let file = &settings.config_file;
        let mut mistakes: Vec<String> = Vec::new();
        let mut collect = |errors: ConfigErrors| mistakes.extend(errors.iter().map(ToString::to_string));
        let config = load_alertmanager(file, settings.matcher_mode, &DiskFiles)
            .map_err(&mut collect)
            .ok();
        let not_yet = config.iter().flat_map(|c| c.not_yet.clone()).collect();
        if let Some(errors) = ConfigErrors::from_list(not_yet) {
            collect(errors);
        }
        let templates = load::templates(config.as_ref(), &mut collect);
        match config {
            Some(config) if mistakes.is_empty() => Ok(Self {
                templates,
                hash: std::fs::read(file).map_or(0.0, |bytes| hash(&bytes)),
                config,
            }),
            _ => Err(mistakes.join("\n")),
        }
    }
}

// The first six bytes of the file's MD5 as a number, which a float holds exactly.
fn hash(bytes: &[u8]) -> f64 {
    let digest = cupola_model::md5(bytes);
    let number = digest
        .iter()
        .take(6)
        .rev()
        .fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    number as f64
}

struct Reloadable {
    settings: AlertmanagerSettings,
    manager: Alertmanager,
    clock: Arc<dyn Clock>,
    hash: Gauge,
    reload_ok: Gauge,
    reload_time: Gauge,
    // One reload at a time.
    running: Mutex<()>,
}

impl Reloadable {
    fn in_force(&self, hash: f64) {
        self.hash.set(hash);
        self.reload_ok.set(1.0);
        self.reload_time.set(self.clock.now_ms() as f64 / 1000.0);
    }

    fn reload(&self) -> Result<(), String> {
        let _one = self.running.lock();
        let done = Loaded::read(&self.settings).and_then(|loaded| {
            warn_of(&loaded.config);
            self.manager
                .reload(loaded.config, &loaded.templates)
                .map_err(|e| e.to_string())?;
            self.in_force(loaded.hash);
            Ok(())
        });
        if let Err(mistakes) = &done {
            self.reload_ok.set(0.0);
            error!(mistakes, "the configuration cannot be used; the old one stays in force");
        }
        done
    }
}

fn warn_of(config: &AlertmanagerConfig) {
    for warning in &config.warnings {
        warn!(warning = %warning, "configuration");
    }
}

async fn serve(
    settings: AlertmanagerSettings,
    loaded: Loaded,
    listeners: Vec<StdListener>,
    web: Option<WebConfigFile>,
    cluster: Option<cluster::Bound>,
    clock: Arc<dyn Clock>,
) -> Result<()> {
    let started_ms = clock.now_ms();
    let (listeners, addresses) = listen::within_runtime(listeners)?;
    let address = *addresses.first().context("there is no address to listen on")?;
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (external_url, route_prefix) = crate::server::external_urls(
        settings.external_url.as_deref(),
        settings.route_prefix.as_deref(),
        address,
        web.as_ref().is_some_and(WebConfigFile::is_tls),
        &hostname,
    )?;
    let time = clock.clone();
    let registry = Registry::with_time(move || time.now_ms());
    let stop = CancellationToken::new();
    let cluster = match cluster {
        Some(bound) => Some(bound.member(&*clock, &registry).await?),
        None => None,
    };
    let is_clustered = cluster.is_some();
    let options = Options {
        external_url: external_url.clone(),
        state: Some((Arc::new(RealFs), settings.storage.clone())),
        retention: settings.retention,
        maintenance_interval: settings.maintenance_interval,
        gc_interval: settings.gc_interval,
        silence_limits: SilenceLimits {
            count: settings.max_silences,
            bytes: settings.max_silence_bytes,
        },
        per_alertname_limit: settings.per_alertname_limit,
        start_delay: settings.start_delay,
        legacy_names: settings.matcher_mode == cupola_config::matchers::MatcherMode::Classic,
        history_retention: settings.history_retention,
        cluster,
        log_silences: settings.log_silences,
    };
    warn_of(&loaded.config);
    let manager = Alertmanager::new(
        loaded.config,
        &loaded.templates,
        options,
        clock.clone(),
        &registry,
        stop.child_token(),
    )?;
    let gauge = |name: &str, help: &str| registry.gauge(&format!("alertmanager_{name}"), help);
    let parts = Arc::new(Reloadable {
        settings: settings.clone(),
        manager: manager.clone(),
        clock,
        hash: gauge(
            "config_hash",
            "Hash of the currently loaded alertmanager configuration.",
        ),
        reload_ok: gauge(
            "config_last_reload_successful",
            "Whether the last configuration reload attempt was successful.",
        ),
        reload_time: gauge(
            "config_last_reload_success_timestamp_seconds",
            "Timestamp of the last successful configuration reload.",
        ),
        running: Mutex::new(()),
    });
    let enabled = gauge("cluster_enabled", "Indicates whether the clustering is enabled or not.");
    enabled.set(f64::from(u8::from(is_clustered)));
    parts.in_force(loaded.hash);
    let ready = Readiness::default();
    let reload = parts.clone();
    let app = AlertmanagerApp {
        alertmanager: manager.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_ms,
        route_prefix,
        matcher_mode: settings.matcher_mode,
        registry,
        reload: Arc::new(move || reload.reload()),
        ready: ready.clone(),
        get_concurrency: settings.get_concurrency,
        timeout: settings.timeout,
    };
    let serving = cupola_web::serve_alertmanager(app, listeners, web, stop.child_token());
    let served = tokio::spawn(serving);
    ready.set_ready();
    for address in addresses {
        info!(address = %address, external_url, "listening");
    }
    wait_for_end(&parts).await?;
    info!("stopping");
    ready.set_stopping();
    stop.cancel();
    let stopped = async {
        manager.stopped().await;
        // The task's own result was handled where it arose.
        let _ = served.await;
    };
    if tokio::time::timeout(STOP_GRACE, stopped).await.is_err() {
        warn!("some parts did not end in time");
    }
    Ok(())
}

// Returns on SIGINT or SIGTERM; SIGHUP reloads.
async fn wait_for_end(parts: &Arc<Reloadable>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => {
                let parts = parts.clone();
                // Its outcome is logged and counted where it arises.
                let _ = tokio::task::spawn_blocking(move || parts.reload()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_is_the_first_six_bytes_of_md5() {
        // d4 1d 8c d9 8f 00
        assert_eq!(super::hash(b""), 0x008f_d98c_1dd4_u64 as f64);
    }
}
