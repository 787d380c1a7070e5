//! `cupola alertmanager`: Alertmanager alone, without a database.

use std::net::TcpListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use cupola_alert::{Alertmanager, Options, SilenceLimits};
use cupola_config::{AlertmanagerConfig, ConfigErrors, DiskFiles, load_alertmanager};
use cupola_env::{Clock, RealFs, SystemClock};
use cupola_metrics::{Gauge, Registry};
use cupola_web::{AlertmanagerApp, Readiness};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::cli::AlertmanagerSettings;
use crate::load;

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
    if let Some(file) = &settings.web_config_file {
        check_web_config(file)?;
    }
    let listeners = settings.listen.iter().map(|address| {
        let listener = StdListener::bind(address).with_context(|| {
            format!(
                "cannot listen on {address} (is another cupola or alertmanager running there? choose another address \
                 with --web.listen-address)"
            )
        })?;
        listener
            .set_nonblocking(true)
            .context("cannot prepare the listening socket")?;
        Ok(listener)
    });
    let listeners = listeners.collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(Duration::from_secs(5))
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(settings, loaded, listeners, clock))
}

// Prometheus's operator always names a file, which asks for nothing unless somebody wants TLS or passwords.
fn check_web_config(file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("--web.config.file={}", file.display()))?;
    let asks = |line: &&str| !matches!(line.split('#').next().unwrap_or("").trim(), "" | "{}" | "---" | "null");
    if let Some((number, line)) = text.lines().enumerate().find(|(_, line)| asks(line)) {
        bail!(
            "--web.config.file={}:{}: {line:?} is not supported by this version; put a proxy with TLS and passwords \
             before it, or leave the file empty",
            file.display(),
            number + 1
        );
    }
    Ok(())
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
    clock: Arc<dyn Clock>,
) -> Result<()> {
    let started_ms = clock.now_ms();
    let listeners = listeners.into_iter().map(TcpListener::from_std);
    let listeners = listeners
        .collect::<std::io::Result<Vec<_>>>()
        .context("cannot use the listening socket")?;
    let addresses = listeners.iter().map(TcpListener::local_addr);
    let addresses = addresses
        .collect::<std::io::Result<Vec<_>>>()
        .context("cannot tell the listening address")?;
    let address = *addresses.first().context("there is no address to listen on")?;
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (external_url, route_prefix) = crate::server::external_urls(
        settings.external_url.as_deref(),
        settings.route_prefix.as_deref(),
        address,
        &hostname,
    )?;
    let registry = Registry::default();
    let stop = CancellationToken::new();
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
    gauge("cluster_enabled", "Indicates whether the clustering is enabled or not.").set(0.0);
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
    let web = tokio::spawn(cupola_web::serve_alertmanager(app, listeners, stop.child_token()));
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
        let _ = web.await;
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
    fn a_web_configuration_that_asks_for_nothing_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("web.yml");
        for (text, expected) in [
            ("", None),
            ("# nothing\n---\n{}\n", None),
            (
                "\ntls_server_config:\n",
                Some("web.yml:2: \"tls_server_config:\" is not supported"),
            ),
        ] {
            std::fs::write(&file, text).unwrap();
            let checked = super::check_web_config(&file).map_err(|e| e.to_string());
            match (&checked, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => assert!(error.contains(part), "{error}"),
                _ => panic!("{text:?}: {checked:?}"),
            }
        }
    }

    #[test]
    fn the_hash_is_the_first_six_bytes_of_md5() {
        // d4 1d 8c d9 8f 00
        assert_eq!(super::hash(b""), 0x008f_d98c_1dd4_u64 as f64);
    }
}
