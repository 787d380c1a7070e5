//! What the server serves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use cupola_alert::{Alertmanager, AlertmanagerClients};
use cupola_config::RelabelConfig;
use cupola_config::prometheus::{OtlpConfig, RemoteWriteMessage};
use cupola_discovery::DiscoveryManager;
use cupola_engine::Engine;
use cupola_env::Clock;
use cupola_goregex::Regex;
use cupola_metrics::Registry;
use cupola_model::Labels;
use cupola_net::BodyBudget;
use cupola_remote::{OtlpReceiver, WriteReceiver};
use cupola_rules::RuleManager;
use cupola_scrape::{LocalTarget, ScrapeManager};
use cupola_storage::Queryable;
use cupola_tsdb::Tsdb;
use tokio_util::sync::CancellationToken;

/// How the binary was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `cupola up`: everything in one.
    Up,
    /// `cupola prometheus`.
    Prometheus,
    /// `cupola prometheus --agent`: whatever asks samples, rules or alerts is refused.
    Agent,
}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Prometheus => "prometheus",
            Self::Agent => "agent",
        }
    }
}

/// What the pages and the API tell about the configuration in force; replaced as a whole at each reload.
#[derive(Debug, Clone, Default)]
pub struct ConfigView {
    /// The configuration as text, secrets hidden.
    pub yaml: String,
    /// The global scrape interval, milliseconds.
    pub scrape_interval_ms: i64,
    /// Labels for what leaves this server, here through `/federate`.
    pub external_labels: Labels,
    /// How the metrics of OpenTelemetry are translated.
    pub otlp: OtlpConfig,
    /// When it was loaded, milliseconds since the epoch.
    pub loaded_ms: i64,
    /// What became of the last attempt to load another one; `None` where none failed since this was loaded.
    pub failed_reload: Option<FailedReload>,
    /// How targets are relabelled, by scrape pool.
    pub relabel_configs: BTreeMap<String, Vec<RelabelConfig>>,
}

/// An attempt to load a configuration that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedReload {
    /// When it was, milliseconds since the epoch.
    pub at_ms: i64,
    /// What is wrong, as it was logged: file, line and column of each mistake.
    pub error: String,
}

/// Loads the configuration anew. It may read files; it is called on the blocking pool. The text of an error is shown.
pub type Reload = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Whether the server is starting, ready or stopping. Cloning shares it. A new one is starting.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

const READY: u8 = 1;
const STOPPING: u8 = 2;

impl Readiness {
    /// From now on the API answers.
    pub fn set_ready(&self) {
        self.0.store(READY, Ordering::Release);
    }

    /// From now on the API refuses; requests in flight go on.
    pub fn set_stopping(&self) {
        self.0.store(STOPPING, Ordering::Release);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) == READY
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.load(Ordering::Acquire) == STOPPING
    }
}

/// How much other servers may read at once by remote read.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Samples of one answer that is no stream (`--storage.remote.read-sample-limit`); 0 is any number.
    pub samples: usize,
    /// Answers at once (`--storage.remote.read-concurrent-limit`); 0 is any number.
    pub concurrent: usize,
    /// About how long a frame of a stream is (`--storage.remote.read-max-bytes-in-frame`).
    pub frame_bytes: usize,
}

impl Default for ReadLimits {
    /// Prometheus's.
    fn default() -> Self {
        Self {
            samples: 50_000_000,
            concurrent: 10,
            frame_bytes: 1 << 20,
        }
    }
}

/// Everything that the server shows. All times are milliseconds since the epoch.
pub struct App {
    /// How the binary was started.
    pub mode: Mode,
    /// Cupola's version.
    pub version: String,
    /// The machine's name.
    pub hostname: String,
    /// When the process started.
    pub started_ms: i64,
    /// How users reach the server (`--web.external-url`), without a slash at its end.
    pub external_url: String,
    /// What comes before every path (`--web.route-prefix`): empty, or `/prom` without a slash at its end.
    pub route_prefix: String,
    /// What the pages are called in a browser (`--web.page-title`); `None` leaves them their own name.
    pub page_title: Option<String>,
    /// What queries are asked of.
    pub storage: Arc<dyn Queryable>,
    /// The database, for its figures.
    pub tsdb: Tsdb,
    /// Evaluates queries.
    pub engine: Arc<Engine>,
    /// Knows the targets.
    pub scrape: ScrapeManager,
    /// Knows rules and alerts.
    pub rules: RuleManager,
    /// Sends alerts to the Alertmanagers outside this process.
    pub remote_alertmanagers: AlertmanagerClients,
    /// Find targets and Alertmanagers.
    pub discovery: Vec<DiscoveryManager>,
    /// The Alertmanager inside this process, if there is one.
    pub alertmanager: Option<Alertmanager>,
    /// Whether series may be deleted and snapshots made (`--web.enable-admin-api`).
    pub admin_api: bool,
    /// Takes remote write, where it is enabled (`--web.enable-remote-write-receiver`).
    pub remote_write: Option<Arc<WriteReceiver>>,
    /// Which of its messages are taken (`--web.remote-write-receiver.accepted-protobuf-messages`).
    pub remote_write_messages: Vec<RemoteWriteMessage>,
    /// Takes the metrics of OpenTelemetry, where it is enabled (`--web.enable-otlp-receiver`).
    pub otlp: Option<Arc<OtlpReceiver>>,
    /// What messages that others push may take together, as they came and unpacked.
    pub pushed: BodyBudget,
    /// How much others may read at once.
    pub remote_read: ReadLimits,
    /// Where requests are counted; all of it is what `/metrics` shows.
    pub registry: Registry,
    /// The host's own metrics, answered at `/metrics/node`, where this process collects them.
    pub host: Option<Arc<dyn LocalTarget>>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The configuration in force.
    pub config: Arc<ArcSwap<ConfigView>>,
    /// The flags in force, without dashes.
    pub flags: BTreeMap<String, String>,
    /// What `POST /-/reload` does; `None` where the lifecycle API is off.
    pub reload: Option<Reload>,
    /// What `POST /-/quit` cancels, to end the process; `None` where the lifecycle API is off.
    pub quit: Option<CancellationToken>,
    /// Whether the API may answer.
    pub ready: Readiness,
    /// Which other origins may read the API in a browser (`--web.cors.origin`, anchored; Prometheus's default is `.*`).
    /// `None` allows none, which is right for a server on loopback without login: else every page on the web could read
    /// it through its user's browser.
    pub cors_origin: Option<Regex>,
    /// Whether requests are refused whose `Host` is no address and no name of this machine. It stops DNS rebinding
    /// (a foreign page that points its own name at 127.0.0.1). To be set where the server listens on loopback only;
    /// behind a proxy or in a container network other names are usual.
    pub guard_host: bool,
    /// How many connections may be open at once (`--web.max-connections`); further ones wait.
    pub max_connections: usize,
    /// The longest wait for a request's head or its form, also on an idle connection (`--web.read-timeout`).
    pub read_timeout: Duration,
    /// How many may listen to notifications at once (`--web.max-notifications-subscribers`).
    pub max_listeners: usize,
}
