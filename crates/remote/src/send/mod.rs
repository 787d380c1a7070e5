//! Remote write, sent: the log's samples to every configured destination.
//!
//! Each destination reads the write-ahead log by itself and notes in a file how far it is, so that nothing which was
//! acknowledged is lost by a restart, or while the other side is away: the storage keeps what a destination has not sent.
//! What waits in memory is bounded by the queues' capacity; the rest waits in the log.

mod auth;
mod cursor;
mod describe;
mod desired;
mod destination;
mod holds;
mod message;
mod metrics;
pub(crate) mod post;
pub(crate) mod proto;
mod reader;
mod shard;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use cupola_config::prometheus::{RemoteWriteConfig, RemoteWriteMessage};
use cupola_env::{Clock, SystemClock, Vfs};
use cupola_metrics::{Kind, Registry};
use cupola_model::Labels;
use cupola_storage::{LogPosition, Queryable, StorageError, Tailable};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

pub use message::PushedMetrics;

use cursor::{Cursor, Place};
use destination::Destination;
use holds::Holds;
use metrics::Families;
use post::Target;
use reader::{Described, Reader};
use shard::Shared;

// How long a destination may take to end.
const FLUSH: Duration = Duration::from_secs(5);
// While the process ends: for so long one that sends nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
// Enough for what is sent in a second, and few beside a backlog of which everything is refused.
const MOST_SPLITS: u64 = 20_000;
const LOOK_EVERY: Duration = Duration::from_millis(20);
const FOLDER: &str = "cupola-remote-write";

/// What sending needs of the process it is part of.
#[derive(Clone)]
pub struct Sources {
    /// The log to send.
    pub log: Arc<dyn Tailable>,
    /// Who knows what is said of metric families.
    pub storage: Arc<dyn Queryable>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The files.
    pub vfs: Arc<dyn Vfs>,
    /// The data folder; what is noted lies below it, in `cupola-remote-write`.
    pub dir: PathBuf,
}

/// Sends to all destinations. Cloning shares it.
#[derive(Clone)]
pub struct RemoteWriter {
    inner: Arc<Inner>,
}

struct Inner {
    sources: Sources,
    families: Families,
    holds: Arc<Holds>,
    hurry: CancellationToken,
    stop: CancellationToken,
    running: Mutex<Vec<Running>>,
}

struct Running {
    key: String,
    config: Arc<RemoteWriteConfig>,
    external_labels: Labels,
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What of a configuration nothing can be sent with, as one text each. To be asked before [`RemoteWriter::apply`].
#[must_use]
pub fn mistakes(configs: &[RemoteWriteConfig]) -> Vec<String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let target = |config: &RemoteWriteConfig| Target::new(config, clock.clone()).err();
    let told = |(n, config)| target(config).map(|why| format!("remote_write[{n}]: {why}"));
    configs.iter().enumerate().filter_map(told).collect()
}

// Whatever else changes, a destination is known by its name or its URL.
fn keys(configs: &[RemoteWriteConfig]) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for config in configs {
        let own = match &config.name {
            Some(name) => format!("name {name}"),
            None => format!("url {}", config.url),
        };
        let mut key = own.clone();
        let mut n = 1;
        while keys.contains(&key) {
            n += 1;
            key = format!("{own} {n}");
        }
        keys.push(key);
    }
    keys
}

fn hex(key: &str) -> String {
    let hash = Sha256::digest(key.as_bytes());
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl RemoteWriter {
    /// A sender to nobody yet.
    #[must_use]
    pub fn new(sources: Sources, registry: &Registry) -> Self {
        for (n, kind) in ["samples", "exemplars", "histograms"].into_iter().enumerate() {
            // The registry outlives nothing of ours: the storage's lock must not live on in it.
            let log = Arc::downgrade(&sources.log);
            registry.computed(
                &format!("prometheus_remote_storage_{kind}_in_total"),
                &format!("Total number of {kind} in to remote storage, compare to {kind} out for queue managers."),
                Kind::Counter,
                move || {
                    log.upgrade()
                        .and_then(|log| log.appended().get(n).copied())
                        .unwrap_or(f64::NAN)
                },
            );
        }
        let log = Arc::downgrade(&sources.log);
        registry.computed(
            "prometheus_remote_storage_highest_timestamp_in_seconds",
            "Highest timestamp that has come into the remote storage via the Appender interface, in seconds since epoch. Initialized to 0 when no data has been received yet.",
            Kind::Gauge,
            move || log.upgrade().map_or(f64::NAN, |log| log.newest_ms().unwrap_or(0) as f64 / 1000.0),
        );
        Self {
            inner: Arc::new(Inner {
                families: Families::new(registry),
                holds: Arc::new(Holds::new(sources.log.clone())),
                sources,
                hurry: CancellationToken::new(),
                stop: CancellationToken::new(),
                running: Mutex::default(),
            }),
        }
    }

    /// Sends to exactly these destinations from now on. Those that have not changed go on undisturbed, changed ones go on
    /// where they were, new ones begin with what is acknowledged next. To be called within a runtime.
    pub fn apply(&self, configs: &[RemoteWriteConfig], external_labels: &Labels) {
        let inner = &self.inner;
        let mut running = inner.running.lock();
        let mut old = std::mem::take(&mut *running);
        let mut holds = Vec::new();
        let (begin, end) = inner.sources.log.log_bounds();
        if !configs.is_empty()
            && let Err(error) = inner.sources.vfs.create_dir_all(&inner.sources.dir.join(FOLDER))
        {
            error!(%error, "remote write: cannot make the folder for notes on how far it is");
        }
        for (config, key) in configs.iter().zip(keys(configs)) {
            let was = old.iter().position(|old| old.key == key).map(|at| old.swap_remove(at));
            let is_same = |was: &Running| *was.config == *config && was.external_labels == *external_labels;
            if was.as_ref().is_some_and(is_same) {
                holds.push((key, end));
                running.extend(was);
                continue;
            }
            let cursor = match &was {
                Some(was) => Ok(was.shared.cursor.clone()),
                None => self.cursor(&key, begin, end),
            };
            let cursor = match cursor {
                Ok(cursor) => cursor,
                Err(error) => {
                    let url = post::shown(&config.url);
                    error!(url, %error, "remote write: cannot read or write how far it is; nothing is sent there until the next reload");
                    holds.push((key, begin));
                    continue;
                }
            };
            holds.push((key.clone(), cursor.lock().state().low));
            match self.start(config, key, external_labels, cursor, was) {
                Ok(started) => running.push(started),
                Err(error) => error!(error, "remote write: a destination cannot be used"),
            }
        }
        inner.holds.replace(&holds);
        for gone in old {
            tokio::spawn(self.clone().forget(gone));
        }
    }

    fn cursor(&self, key: &str, begin: LogPosition, end: LogPosition) -> std::io::Result<Arc<Mutex<Cursor>>> {
        let cursor = Cursor::open(self.inner.sources.vfs.clone(), &self.path(key), begin, end)?;
        Ok(Arc::new(Mutex::new(cursor)))
    }

    fn path(&self, key: &str) -> PathBuf {
        self.inner.sources.dir.join(FOLDER).join(hex(key))
    }

    // Begins once `was`, the same destination before it was changed, has ended.
    fn start(
        &self,
        config: &RemoteWriteConfig,
        key: String,
        external_labels: &Labels,
        cursor: Arc<Mutex<Cursor>>,
        was: Option<Running>,
    ) -> Result<Running, String> {
        let Sources {
            log,
            storage,
            clock,
            vfs,
            ..
        } = self.inner.sources.clone();
        let config = Arc::new(config.clone());
        let target =
            Target::new(&config, clock.clone()).map_err(|why| format!("{}: {why}", post::shown(&config.url)))?;
        let name = config
            .name
            .clone()
            .unwrap_or_else(|| hex(&key).chars().take(6).collect());
        let shared = Arc::new(Shared {
            metrics: Arc::new(self.inner.families.of(&name, &target.shown_url)),
            name,
            config: config.clone(),
            target,
            described: Described::default(),
            cursor,
            clock,
            begin: Place::of(log.log_bounds().0, 0),
            splits: AtomicU64::new(MOST_SPLITS),
            room: Notify::new(),
            sent: AtomicU64::new(0),
            sending_us: AtomicU64::new(0),
            highest_sent_ms: AtomicI64::new(0),
            failing: Mutex::default(),
            steady_until: Mutex::default(),
            refused: Mutex::default(),
            is_waited_for: AtomicBool::new(false),
            hurry: self.inner.hurry.clone(),
            is_drained: AtomicBool::new(false),
            ended: AtomicU64::new(0),
        });
        let stop = self.inner.stop.child_token();
        let destination = Destination {
            key: key.clone(),
            shared: shared.clone(),
            log: log.clone(),
            vfs,
            holds: self.inner.holds.clone(),
            stop: stop.clone(),
        };
        let (writer, own, labels) = (self.clone(), shared.clone(), external_labels.clone());
        let task = async move {
            if let Some(was) = was {
                let before = was.shared.clone();
                was.end().await;
                let is_same = before.name == own.name && before.target.shown_url == own.target.shown_url;
                if !is_same {
                    writer.inner.families.remove(&before.name, &before.target.shown_url);
                }
            }
            own.metrics.begin();
            let (opening, known, stop) = (own.clone(), storage.clone(), destination.stop.clone());
            let reader = tokio::task::spawn_blocking(move || {
                if opening.config.message == RemoteWriteMessage::V2 {
                    opening.described.write().extend(known.metadata());
                }
                let state = opening.cursor.lock().state().clone();
                let tail = log.tail(Some(state.low))?;
                let (config, metrics) = (opening.config.clone(), opening.metrics.clone());
                let described = opening.described.clone();
                Ok::<_, StorageError>(Reader::new(tail, config, labels, metrics, described, &state))
            });
            match reader.await {
                Ok(Ok(reader)) => {
                    let describing = async {
                        if own.config.message == RemoteWriteMessage::V1 && own.config.metadata.send {
                            describe::run(own.clone(), storage, stop).await;
                        }
                    };
                    tokio::join!(destination.run(reader), describing);
                }
                Ok(Err(error)) => {
                    error!(remote_name = own.name, %error, "remote write: cannot read the write-ahead log; nothing is sent until the next reload");
                }
                Err(_) => error!(
                    remote_name = own.name,
                    "remote write: reading the write-ahead log broke off"
                ),
            }
        };
        Ok(Running {
            key,
            config,
            external_labels: external_labels.clone(),
            shared,
            stop,
            task: tokio::spawn(task),
        })
    }

    async fn forget(self, gone: Running) {
        let (key, shared) = (gone.key.clone(), gone.shared.clone());
        gone.end().await;
        let running = self.inner.running.lock();
        if running.iter().any(|other| other.key == key) {
            return;
        }
        // Where it comes back it begins anew: what it missed may be gone by then.
        if let Err(error) = self.inner.sources.vfs.remove_file(&self.path(&key)) {
            warn!(remote_name = shared.name, %error, "remote write: cannot remove the note on how far a destination was that is gone");
        }
        self.inner.families.remove(&shared.name, &shared.target.shown_url);
    }

    /// Sends what is acknowledged and not sent yet, as long as that gets on and for `flush` at most, and ends. The rest is sent
    /// by the next process.
    pub async fn stop(&self, flush: Duration) {
        let inner = &self.inner;
        let running = std::mem::take(&mut *inner.running.lock());
        inner.hurry.cancel();
        let deadline = Instant::now() + flush;
        let (mut ended, mut gets_on_until) = (0, Instant::now() + PATIENCE);
        loop {
            let is_done = |one: &Running| one.shared.is_drained.load(Ordering::Relaxed) || one.task.is_finished();
            let is_hopeless = |one: &Running| one.shared.failing.lock().is_some();
            if running.iter().all(|one| is_done(one) || is_hopeless(one)) {
                break;
            }
            let now_ended = running.iter().map(|one| one.shared.ended.load(Ordering::Relaxed)).sum();
            if now_ended != ended {
                (ended, gets_on_until) = (now_ended, Instant::now() + PATIENCE);
            }
            if Instant::now() >= deadline.min(gets_on_until) {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        inner.stop.cancel();
        let ends = running.into_iter().map(|one| tokio::spawn(one.end()));
        for end in ends.collect::<Vec<_>>() {
            // It has said itself what went wrong.
            let _ = end.await;
        }
    }
}

impl Running {
    // Ends it, and waits so long for what is on its way.
    async fn end(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(FLUSH, &mut self.task).await.is_err() {
            self.task.abort();
            let _ = self.task.await;
        }
    }
}

#[cfg(test)]
mod tests;
