//! The server: everything wired together, reloaded, and stopped in order.

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use arc_swap::ArcSwap;
use cupola_alert::{Alertmanager, AlertmanagerClients};
use cupola_engine::{Engine, EngineOptions, QueryLog};
use cupola_env::{Clock, RealFs, SystemClock};
use cupola_goregex::Regex;
use cupola_metrics::{Gauge, Registry};
use cupola_remote::{RemoteReads, RemoteWriter, Sources, WriteReceiver};
use cupola_rules::{Context, Parts, RuleManager};
use cupola_scrape::{LocalJob, ScrapeManager};
use cupola_storage::{Appendable, Queryable};
use cupola_tsdb::{DEFAULT_MAX_EXEMPLARS, LogOnly, Options, Tsdb};
use cupola_web::{App, ConfigView, FailedReload, QueryLogFile, Readiness, WebConfigFile};
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::alert_history;
use crate::auto_reload::{self, Checksum};
use crate::builtin;
use crate::cli::{Mode, Settings};
use crate::discovery::Discovery;
use crate::listen;
use crate::load::{self, Loaded};
use crate::machine;
use crate::reads;
use crate::sinks::{Outgoing, Sinks};

// How often the log is brought to the device: what a power cut may cost.
const SYNC_EVERY: Duration = Duration::from_secs(1);
// How often blocks are cut and old ones deleted.
const MAINTAIN_EVERY: Duration = Duration::from_secs(60);
// Threads besides those of queries: the web server computes 32 other answers at most, and as many are left.
const OTHER_THREADS: usize = 64;
const MOST_QUERY_THREADS: usize = 1024;
// What queries may use at least where it is left to the machine's memory, and what that is taken for where unknown.
const LEAST_QUERY_BYTES: u64 = 256 << 20;
const UNKNOWN_MEMORY: u64 = 4 << 30;
// So long at least an agent's memory holds samples.
const LEAST_AGENT_MS: i64 = 3_600_000;
// How long parts may take to end once they are told to.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Runs until a signal ends it.
pub(crate) fn run(settings: Settings) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let started_ms = clock.now_ms();
    for flag in &settings.ignored {
        warn!(flag = format!("--{flag}"), "flag has no effect in this version");
    }
    // What can be wrong is looked at before anything is touched: configuration, port, data folder.
    let loaded = load::load(&settings).map_err(|mistakes| anyhow!("the configuration cannot be used:\n{mistakes}"))?;
    let web = listen::web_config(settings.web_config_file.as_deref())?;
    let flag = match settings.mode {
        Mode::Up => "--listen",
        Mode::Prometheus => "--web.listen-address",
    };
    let listeners = listen::bind(&settings.listen, flag, "prometheus")?;
    let time = clock.clone();
    let registry = Registry::with_time(move || time.now_ms());
    let tsdb = open_storage(&settings, &loaded, clock.clone(), &registry)?;
    let workers = std::thread::available_parallelism()
        .map_or(2, std::num::NonZero::get)
        .div_ceil(2)
        .clamp(2, 8);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        // An idle thread gives its stack back soon; queries and scrapes come in bursts.
        .thread_keep_alive(Duration::from_secs(5))
        // Queries of users, other requests, and what is left for rules, scrapes and disk: none takes another's.
        .max_blocking_threads(settings.query_max_concurrency.min(MOST_QUERY_THREADS) + OTHER_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let front = Front { listeners, web };
    runtime.block_on(serve(settings, loaded, front, tsdb, registry, clock, started_ms))
}

// Where the server listens, and what stands before it.
struct Front {
    listeners: Vec<StdListener>,
    web: Option<WebConfigFile>,
}

fn open_storage(settings: &Settings, loaded: &Loaded, clock: Arc<dyn Clock>, registry: &Registry) -> Result<Tsdb> {
    let mut options = Options::new(settings.data.clone());
    (options.retention_ms, options.retention_bytes, options.retention_percent) = retention(settings, loaded);
    options.retention_rules.clone_from(&settings.retention_rules);
    options.tiers.clone_from(&settings.tiers);
    options.block_ms = settings.min_block_ms;
    options.max_block_ms = settings.max_block_ms;
    options.block_format = settings.block_format;
    options.no_lockfile = settings.no_lockfile;
    options.limits = settings.series_limits;
    options.out_of_order_window_ms = loaded.prometheus.storage.out_of_order_time_window.as_millis() as i64;
    options.max_exemplars = max_exemplars(loaded);
    options.start_timestamps = settings.has_feature("st-storage");
    options.start_zeros = settings.has_feature("created-timestamp-zero-ingestion");
    options.hold_log = !loaded.prometheus.remote_write.is_empty();
    options.max_held_log_bytes = settings.max_backlog_bytes;
    if let Some(agent) = &settings.agent {
        // Less would make late scrapes come too late; it is little beside what series themselves take.
        let min_ms = agent.min_ms.max(LEAST_AGENT_MS);
        options.log_only = Some(LogOnly {
            min_ms,
            max_ms: agent.max_ms,
            checkpoint_every_ms: agent.truncate_every.as_millis() as i64,
        });
        // Half of it is how much older than the newest one a sample may be.
        options.block_ms = 2 * min_ms;
    }
    Ok(Tsdb::open_in_background(options, clock, Arc::new(RealFs), registry)?)
}

// Milliseconds, bytes and percent of the disk: as the file says, else as the flags do.
fn retention(settings: &Settings, loaded: &Loaded) -> (i64, u64, f64) {
    let retention = &loaded.prometheus.storage.retention;
    (
        retention.time.map_or(settings.retention_ms, |t| t.as_millis() as i64),
        retention.size.map_or(settings.retention_bytes, |s| s.0),
        retention.percentage.unwrap_or(settings.retention_percent),
    )
}

fn max_exemplars(loaded: &Loaded) -> usize {
    let max = loaded.prometheus.storage.max_exemplars;
    max.map_or(DEFAULT_MAX_EXEMPLARS, |max| usize::try_from(max).unwrap_or(usize::MAX))
}

// Everything that a reload changes.
struct Reloadable {
    settings: Settings,
    tsdb: Tsdb,
    engine: Arc<Engine>,
    scrape: ScrapeManager,
    rules: RuleManager,
    local: Option<Alertmanager>,
    remote: AlertmanagerClients,
    writer: RemoteWriter,
    reads: RemoteReads,
    discovery: Discovery,
    outgoing: Arc<ArcSwap<Outgoing>>,
    jobs: Vec<LocalJob>,
    view: Arc<ArcSwap<ConfigView>>,
    clock: Arc<dyn Clock>,
    reload_ok: Gauge,
    reload_time: Gauge,
    // One reload at a time.
    running: Mutex<()>,
    // Of the files that were last looked at, whatever came of them.
    seen: Mutex<Option<Checksum>>,
}

impl Reloadable {
    // Makes `loaded` the configuration in force. Only templates can still be wrong; then nothing has changed.
    fn apply(&self, loaded: Loaded) -> Result<(), String> {
        // Opened before anything is changed; the same file, too, since it may have been moved away.
        let queries = loaded.prometheus.global.query_log_file.as_deref();
        let queries = queries
            .map(|file| QueryLogFile::open(file, self.clock.clone()))
            .transpose()?;
        if let (Some(local), Some((config, templates))) = (&self.local, loaded.alertmanager.clone()) {
            local.reload(config, &templates).map_err(|e| e.to_string())?;
        }
        for warning in &loaded.warnings {
            warn!(warning, "configuration");
        }
        let global = &loaded.prometheus.global;
        self.outgoing.store(Arc::new(Outgoing {
            external_labels: global.external_labels.clone(),
            relabel: loaded.prometheus.alerting.alert_relabel_configs.clone(),
        }));
        let window = loaded.prometheus.storage.out_of_order_time_window;
        self.tsdb.set_out_of_order_window(window.as_millis() as i64);
        self.tsdb.set_max_exemplars(max_exemplars(&loaded));
        self.remote.apply(&loaded.prometheus.alerting.alertmanagers);
        self.reads
            .apply(&loaded.prometheus.remote_read, &global.external_labels)?;
        self.writer
            .apply(&loaded.prometheus.remote_write, &global.external_labels);
        self.scrape.apply(&loaded.prometheus.scrape_configs, &self.jobs);
        self.discovery.apply(&loaded.prometheus);
        self.rules.set_external_labels(global.external_labels.clone());
        self.engine
            .set_query_log(queries.map(|file| -> Arc<dyn QueryLog> { Arc::new(file) }));
        self.engine
            .set_default_subquery_step(loaded.evaluation_interval().as_millis() as i64);
        let (ms, bytes, percent) = retention(&self.settings, &loaded);
        self.tsdb.set_retention(ms, bytes, percent);
        self.rules.apply(
            loaded.rules.clone(),
            loaded.evaluation_interval(),
            global.rule_query_offset,
        );
        *self.seen.lock() = loaded.checksum;
        let now = self.clock.now_ms();
        self.view.store(Arc::new(ConfigView {
            yaml: loaded.prometheus.to_yaml().to_owned(),
            scrape_interval_ms: global.scrape_interval.as_millis() as i64,
            external_labels: global.external_labels.clone(),
            otlp: loaded.prometheus.otlp.clone(),
            loaded_ms: now,
            failed_reload: None,
            relabel_configs: self
                .jobs
                .iter()
                .map(|job| &job.config)
                .chain(&loaded.prometheus.scrape_configs)
                .map(|job| (job.job_name.clone(), job.relabel_configs.clone()))
                .collect(),
        }));
        self.reload_ok.set(1.0);
        self.reload_time.set((now / 1000) as f64);
        Ok(())
    }

    fn reload(&self) -> Result<(), String> {
        let _one = self.running.lock();
        let done = load::load(&self.settings).and_then(|loaded| self.apply(loaded));
        match &done {
            Ok(()) => info!("configuration loaded"),
            Err(mistakes) => {
                self.reload_ok.set(0.0);
                let mut view = ConfigView::clone(&self.view.load());
                view.failed_reload = Some(FailedReload {
                    at_ms: self.clock.now_ms(),
                    error: mistakes.clone(),
                });
                self.view.store(Arc::new(view));
                error!(mistakes, "the configuration cannot be used; the old one stays in force");
            }
        }
        done
    }

    // A change that cannot be used is told once, and not again before something has changed once more.
    fn reload_what_changed(&self) {
        let now = auto_reload::checksum(&self.settings);
        if self.seen.lock().replace(now) != Some(now) {
            info!("files of the configuration have changed");
            // Its outcome is logged and counted where it arises.
            let _ = self.reload();
        }
    }
}

async fn serve(
    settings: Settings,
    loaded: Loaded,
    front: Front,
    tsdb: Tsdb,
    registry: Registry,
    clock: Arc<dyn Clock>,
    started_ms: i64,
) -> Result<()> {
    let Front { listeners, web } = front;
    let (listeners, addresses) = listen::within_runtime(listeners)?;
    let address = *addresses.first().context("there is no address to listen on")?;
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (external_url, route_prefix) = external_urls(
        settings.external_url.as_deref(),
        settings.route_prefix.as_deref(),
        address,
        web.as_ref().is_some_and(WebConfigFile::is_tls),
        &hostname,
    )?;
    let stop = CancellationToken::new();

    let own: Arc<dyn Queryable> = Arc::new(tsdb.clone());
    let merged = reads::reads(&tsdb, own.clone(), settings.min_block_ms);
    let storage: Arc<dyn Queryable> = Arc::new(merged.clone());
    let appendable: Arc<dyn Appendable> = Arc::new(tsdb.clone());
    let engine = Arc::new(Engine::new(engine_options(&settings, &loaded)));
    let types = settings.has_feature("type-and-unit-labels");
    let scrape = ScrapeManager::new(appendable.clone(), clock.clone(), &registry, stop.child_token())
        .with_body_budget(machine::bodies(), &registry)
        .with_types(types)
        .with_starts(settings.reads_starts())
        .with_timestamp_tolerance(settings.scrape_tolerance_ms);
    let local = match loaded.alertmanager.clone() {
        None => None,
        Some((config, templates)) => Some(Alertmanager::new(
            config,
            &templates,
            cupola_alert::Options {
                external_url: external_url.clone(),
                state: Some((Arc::new(RealFs), settings.data.join("alertmanager"))),
                ..cupola_alert::Options::default()
            },
            clock.clone(),
            &registry,
            stop.child_token(),
        )?),
    };
    // Posting ends after the rules, so that their last alerts are not forgotten in a queue.
    let end_of_posting = CancellationToken::new();
    let remote = AlertmanagerClients::new(&registry, settings.posting, end_of_posting.clone());
    let sources = Sources {
        log: Arc::new(tsdb.clone()),
        storage: own,
        clock: clock.clone(),
        vfs: Arc::new(RealFs),
        dir: settings.data.clone(),
    };
    let writer = RemoteWriter::new(sources, &registry);
    let discovery = Discovery::new(
        &registry,
        &clock,
        scrape.clone(),
        remote.clone(),
        &stop,
        settings.discovery_interval,
    );
    let finders = discovery.managers();
    let outgoing: Arc<ArcSwap<Outgoing>> = Arc::default();
    let history = alert_history::open(&settings).await;
    let sinks = Sinks {
        outgoing: outgoing.clone(),
        local: local.clone(),
        remote: remote.clone(),
        history: history.clone(),
        clock: clock.clone(),
    }
    .observe();
    let parts = Parts {
        queryable: Arc::new(merged.for_rules()),
        storage: appendable,
        engine: engine.clone(),
        clock: clock.clone(),
        alerts: Arc::new(sinks),
        external_url: external_url.clone(),
        external_labels: loaded.prometheus.global.external_labels.clone(),
    };
    let mut context = Context::new(parts, &registry);
    context.history = history.clone();
    context.resend_delay_ms = settings.resend_delay_ms;
    context.grace_period_ms = settings.grace_period_ms;
    context.outage_tolerance_ms = settings.outage_tolerance_ms;
    let rules = RuleManager::new(context, stop.child_token());
    let jobs = match settings.mode {
        Mode::Up => builtin::jobs(&hostname, &address.to_string(), &registry)?,
        Mode::Prometheus => Vec::new(),
    };
    let view: Arc<ArcSwap<ConfigView>> = Arc::default();
    let parts = Arc::new(Reloadable {
        settings: settings.clone(),
        tsdb: tsdb.clone(),
        engine: engine.clone(),
        scrape: scrape.clone(),
        rules: rules.clone(),
        local: local.clone(),
        remote: remote.clone(),
        writer: writer.clone(),
        reads: merged,
        discovery,
        outgoing,
        jobs,
        view: view.clone(),
        clock: clock.clone(),
        reload_ok: registry.gauge(
            "prometheus_config_last_reload_successful",
            "Whether the last configuration reload attempt was successful.",
        ),
        reload_time: registry.gauge(
            "prometheus_config_last_reload_success_timestamp_seconds",
            "Timestamp of the last successful configuration reload.",
        ),
        running: Mutex::new(()),
        seen: Mutex::new(None),
    });
    let reload = parts.clone();
    let ready = Readiness::default();
    let quit = CancellationToken::new();
    let loopback = addresses.iter().all(|address| address.ip().is_loopback());
    let cors_origin = settings
        .cors_origin
        .as_deref()
        .map(Regex::anchored)
        .transpose()
        .context("--web.cors.origin")?;
    let app = App {
        mode: match settings.mode {
            Mode::Up => cupola_web::Mode::Up,
            Mode::Prometheus if settings.agent.is_some() => cupola_web::Mode::Agent,
            Mode::Prometheus => cupola_web::Mode::Prometheus,
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname,
        started_ms,
        external_url: external_url.clone(),
        route_prefix,
        page_title: settings.page_title.clone(),
        storage,
        tsdb: tsdb.clone(),
        engine,
        scrape: scrape.clone(),
        rules: rules.clone(),
        remote_alertmanagers: remote.clone(),
        discovery: finders,
        alertmanager: local.clone(),
        admin_api: settings.admin_api,
        remote_write: settings
            .remote_write_receiver
            .then(|| Arc::new(WriteReceiver::new(&registry).with_types(types))),
        remote_write_messages: settings.remote.write_messages.clone(),
        otlp: reads::otlp(&settings, &registry),
        pushed: cupola_net::BodyBudget::new("messages that are pushed", machine::bodies()),
        remote_read: reads::limits(&settings),
        registry,
        host: parts
            .jobs
            .iter()
            .find(|job| job.config.job_name == builtin::HOST_JOB)
            .map(|job| job.target.clone()),
        clock,
        config: view,
        flags: settings.flags.clone(),
        reload: settings
            .enable_lifecycle
            .then(|| -> cupola_web::Reload { Arc::new(move || reload.reload()) }),
        quit: settings.enable_lifecycle.then(|| quit.clone()),
        ready: ready.clone(),
        cors_origin,
        guard_host: settings.mode == Mode::Up && loopback,
        max_connections: settings.max_connections,
        read_timeout: settings.read_timeout,
        max_listeners: settings.max_listeners,
    };
    let serving = cupola_web::serve(app, listeners, web, stop.child_token());
    parts.apply(loaded).map_err(|e| anyhow!(e))?;
    let served = tokio::spawn(serving);
    let keeper = tokio::spawn(keep(tsdb.clone(), stop.child_token()));
    let end_of_history = CancellationToken::new();
    let historian = tokio::spawn(alert_history::keep(
        history,
        parts.clock.clone(),
        end_of_history.clone(),
    ));
    ready.set_ready();
    for address in addresses {
        info!(address = %address, "listening");
    }
    if settings.mode == Mode::Up {
        println!("Cupola watches this machine: {external_url}");
    }

    wait_for_end(&parts, &quit).await?;
    info!("stopping");
    ready.set_stopping();
    stop.cancel();
    let stopped = async {
        parts.discovery.stopped().await;
        scrape.stopped().await;
        rules.stopped().await;
        if let Some(local) = &local {
            local.stopped().await;
        }
        end_of_posting.cancel();
        remote.stopped().await;
        // The tasks' own results were handled where they arose.
        let _ = served.await;
        let _ = keeper.await;
    };
    if tokio::time::timeout(STOP_GRACE, stopped).await.is_err() {
        warn!("some part did not stop in time");
    }
    end_of_posting.cancel();
    end_of_history.cancel();
    let _ = historian.await;
    // What the last scrapes and rules brought is sent, too.
    writer.stop(settings.flush_deadline).await;
    tokio::task::spawn_blocking(move || tsdb.close())
        .await
        .context("closing the storage broke off")?;
    info!("stopped");
    Ok(())
}

// A limit in bytes for the engine; 0 is none, and `auto` is what it is where nothing was said.
fn query_bytes(given: Option<u64>, auto: u64) -> usize {
    let bytes = match given {
        Some(0) => u64::MAX,
        Some(bytes) => bytes,
        None => auto.max(LEAST_QUERY_BYTES),
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn engine_options(settings: &Settings, loaded: &Loaded) -> EngineOptions {
    let memory = machine::memory().unwrap_or(UNKNOWN_MEMORY);
    let mut options = EngineOptions {
        lookback_delta_ms: settings.lookback_ms,
        timeout: settings.query_timeout,
        max_samples: settings.query_max_samples,
        max_concurrency: settings.query_max_concurrency,
        max_memory: query_bytes(settings.query_max_memory, memory / 4),
        max_memory_total: query_bytes(settings.query_max_memory_total, memory / 2),
        default_subquery_step_ms: loaded.evaluation_interval().as_millis() as i64,
        ..EngineOptions::default()
    };
    options.parse = load::parse_options(&settings.features);
    let has = |feature: &str| settings.features.iter().any(|f| f == feature);
    options.delayed_name_removal = has("promql-delayed-name-removal");
    options.type_and_unit_labels = has("type-and-unit-labels");
    options.per_step_stats = has("promql-per-step-stats");
    options.use_start_timestamps = has("use-start-timestamps");
    options
}

/// The URL that users reach the server by, and the prefix of all paths, as the flags give them; `is_tls` says which scheme
/// it has where it is not given.
pub(crate) fn external_urls(
    external_url: Option<&str>,
    route_prefix: Option<&str>,
    address: std::net::SocketAddr,
    is_tls: bool,
    hostname: &str,
) -> Result<(String, String)> {
    let scheme = if is_tls { "https" } else { "http" };
    let external = match external_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None if address.ip().is_unspecified() => format!("{scheme}://{hostname}:{}", address.port()),
        None => format!("{scheme}://{address}"),
    };
    let parsed: http::Uri = external
        .parse()
        .with_context(|| format!("--web.external-url={external}: not a URL"))?;
    if parsed.host().is_none() || !matches!(parsed.scheme_str(), Some("http" | "https")) {
        bail!("--web.external-url={external}: must begin with http:// or https://");
    }
    let prefix = route_prefix.unwrap_or(parsed.path()).trim_matches('/');
    Ok((
        external,
        if prefix.is_empty() {
            String::new()
        } else {
            format!("/{prefix}")
        },
    ))
}

// Syncs the log and looks after the blocks until `stop`.
async fn keep(tsdb: Tsdb, stop: CancellationToken) {
    let mut sync = tokio::time::interval(SYNC_EVERY);
    let mut maintain = tokio::time::interval(MAINTAIN_EVERY);
    sync.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    maintain.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut maintaining: Option<tokio::task::JoinHandle<()>> = None;
    loop {
        let tsdb = tsdb.clone();
        tokio::select! {
            () = stop.cancelled() => break,
            _ = sync.tick() => {
                // A slow disk holds up the next sync, nothing else.
                let _ = tokio::task::spawn_blocking(move || tsdb.sync()).await;
            }
            _ = maintain.tick() => {
                if maintaining.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
                    maintaining = Some(tokio::task::spawn_blocking(move || tsdb.maintain()));
                }
            }
        }
    }
    if let Some(maintaining) = maintaining {
        let _ = maintaining.await;
    }
}

// Returns on SIGINT, SIGTERM or where `quit` is cancelled; SIGHUP reloads, and so do changed files where that is asked for.
async fn wait_for_end(parts: &Arc<Reloadable>, quit: &CancellationToken) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let every = parts.settings.auto_reload;
    let mut look = tokio::time::interval(every.unwrap_or(STOP_GRACE));
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick(), if every.is_some() => {
                let parts = parts.clone();
                let _ = tokio::task::spawn_blocking(move || parts.reload_what_changed()).await;
            }
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            () = quit.cancelled() => return Ok(()),
            _ = hangup.recv() => {
                let parts = parts.clone();
                // Its outcome is logged and counted where it arises.
                let _ = tokio::task::spawn_blocking(move || parts.reload()).await;
            }
        }
    }
}
