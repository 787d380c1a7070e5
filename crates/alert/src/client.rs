//! Alertmanagers elsewhere: alerts are posted to them as Prometheus does (3.14, `notifier`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cupola_config::prometheus::AlertmanagersConfig;
use cupola_config::relabel;
use cupola_metrics::{CounterVec, Gauge, GaugeVec, Registry};
use cupola_model::{Alert, AlertSink};
use cupola_net::{Peer, Request};
use cupola_notify::{Pairs, rfc3339};
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Uri};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

// As Prometheus's flags are by default.
const QUEUE_CAPACITY: usize = 10_000;
const BATCH: usize = 256;
const MAX_ANSWER: usize = 64 << 10;

#[derive(Clone)]
struct Metrics {
    sent: CounterVec,
    errors: CounterVec,
    dropped: CounterVec,
    queue_length: GaugeVec,
    discovered: Gauge,
}

/// Posts alerts to all configured Alertmanagers. Cloning shares it.
#[derive(Clone)]
pub struct AlertmanagerClients {
    inner: Arc<Mutex<Vec<Client>>>,
    metrics: Metrics,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Client {
    url: Uri,
    config: AlertmanagersConfig,
    queue: Arc<Queue>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Queue {
    alerts: Mutex<Vec<Alert>>,
    filled: Notify,
}

impl AlertmanagerClients {
    /// Clients of nobody yet; all tasks end when `stop` is cancelled.
    #[must_use]
    pub fn new(registry: &Registry, stop: CancellationToken) -> Self {
        let vec = |name: &str, help: &str| {
            registry.counter_vec(&format!("prometheus_notifications_{name}"), help, &["alertmanager"])
        };
        let metrics = Metrics {
            sent: vec("sent_total", "Total number of alerts sent."),
            errors: vec("errors_total", "Total number of sent alerts affected by errors."),
            dropped: vec(
                "dropped_total",
                "Total number of alerts dropped due to errors when sending to Alertmanager.",
            ),
            queue_length: registry.gauge_vec(
                "prometheus_notifications_queue_length",
                "The number of alert notifications in the queue.",
                &["alertmanager"],
            ),
            discovered: registry.gauge(
                "prometheus_notifications_alertmanagers_discovered",
                "The number of alertmanagers discovered and active.",
            ),
        };
        Self {
            inner: Arc::default(),
            metrics,
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// Posts to exactly the Alertmanagers of `configs` from now on; those that stay keep their queue.
    pub fn apply(&self, configs: &[AlertmanagersConfig]) {
        let mut clients = self.inner.lock();
        let mut old = std::mem::take(&mut *clients);
        for config in configs {
            for url in urls(config) {
                if let Some(at) = old.iter().position(|c| c.url == url && c.config == *config) {
                    clients.push(old.swap_remove(at));
                    continue;
                }
                let client = Client {
                    url,
                    config: config.clone(),
                    queue: Arc::default(),
                    stop: self.stop.child_token(),
                };
                let name = client.url.to_string();
                for counters in [&self.metrics.sent, &self.metrics.errors, &self.metrics.dropped] {
                    // There from the start, so that the first error is an increase.
                    drop(counters.with(&[&name]));
                }
                self.tasks.spawn(run(
                    client.url.clone(),
                    client.config.clone(),
                    client.queue.clone(),
                    client.stop.clone(),
                    self.metrics.clone(),
                ));
                clients.push(client);
            }
        }
        for gone in old {
            gone.stop.cancel();
        }
        self.metrics.discovered.set(clients.len() as f64);
    }

    /// The URLs that alerts are posted to.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.inner.lock().iter().map(|c| c.url.to_string()).collect()
    }

    /// Ends when all tasks have ended; cancel the token given to [`AlertmanagerClients::new`] first.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl AlertSink for AlertmanagerClients {
    fn post(&self, alerts: &[Alert]) {
        for client in self.inner.lock().iter() {
            let mut queue = client.queue.alerts.lock();
            for alert in alerts {
                let mut labels = alert.labels.to_builder();
                if relabel(&client.config.alert_relabel_configs, &mut labels) {
                    queue.push(Alert {
                        labels: labels.build(),
                        ..alert.clone()
                    });
                }
            }
            // The oldest go first: what is newer says more.
            let over = queue.len().saturating_sub(QUEUE_CAPACITY);
            queue.drain(..over);
            let name = client.url.to_string();
            self.metrics.dropped.with(&[&name]).add(over as f64);
            self.metrics.queue_length.with(&[&name]).set(queue.len() as f64);
            client.queue.filled.notify_one();
        }
    }
}

fn urls(config: &AlertmanagersConfig) -> Vec<Uri> {
    let mut out = Vec::new();
    for group in &config.static_configs {
        for address in &group.targets {
            let mut labels = group.labels.to_builder();
            let prefix = config.path_prefix.trim_end_matches('/');
            labels
                .set("__address__", address)
                .set("__scheme__", config.scheme.as_str())
                .set("__alerts_path__", &format!("{prefix}/api/v2/alerts"));
            if !relabel(&config.relabel_configs, &mut labels) {
                continue;
            }
            let text = format!(
                "{}://{}{}",
                labels.get("__scheme__"),
                labels.get("__address__"),
                labels.get("__alerts_path__")
            );
            match text.parse() {
                Ok(url) => out.push(url),
                Err(_) => warn!(alertmanager = text, "the address of an Alertmanager makes no URL"),
            }
        }
    }
    out
}

async fn run(url: Uri, config: AlertmanagersConfig, queue: Arc<Queue>, stop: CancellationToken, metrics: Metrics) {
    let name = url.to_string();
    let mut peer = Peer::new(&config.http);
    let mut failing = false;
    loop {
        let batch: Vec<Alert> = {
            let mut alerts = queue.alerts.lock();
            let take = alerts.len().min(BATCH);
            metrics.queue_length.with(&[&name]).set((alerts.len() - take) as f64);
            alerts.drain(..take).collect()
        };
        if batch.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = queue.filled.notified() => continue,
            }
        }
        let sent = post(&mut peer, &url, config.timeout, &batch).await;
        metrics.sent.with(&[&name]).add(batch.len() as f64);
        match sent {
            Ok(()) => failing = false,
            Err(error) => {
                // Firing alerts come again by themselves, so nothing is queued anew, as upstream.
                metrics.errors.with(&[&name]).add(batch.len() as f64);
                metrics.dropped.with(&[&name]).add(batch.len() as f64);
                if !failing {
                    warn!(alertmanager = name, alerts = batch.len(), error, "cannot send alerts");
                }
                failing = true;
            }
        }
    }
}

async fn post(peer: &mut Peer, url: &Uri, timeout: Duration, alerts: &[Alert]) -> Result<(), String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("Prometheus/3.14.0 (Cupola/", env!("CARGO_PKG_VERSION"), ")")),
    );
    let body: Vec<PostedAlert<'_>> = alerts.iter().map(PostedAlert::of).collect();
    let body = serde_json::to_vec(&body).map_err(|e| e.to_string())?;
    let request = Request {
        method: Method::POST,
        url,
        headers,
        body: Bytes::from(body),
        timeout,
        max_body: MAX_ANSWER,
        gzip: false,
        follow_redirects: false,
    };
    let response = peer.send(request).await.map_err(|e| e.to_string())?;
    if response.status.is_success() {
        return Ok(());
    }
    let text: String = String::from_utf8_lossy(&response.body).chars().take(300).collect();
    Err(format!("bad response status {}: {}", response.status, text.trim()))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostedAlert<'a> {
    labels: Pairs<'a>,
    annotations: Pairs<'a>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

impl<'a> PostedAlert<'a> {
    fn of(alert: &'a Alert) -> Self {
        Self {
            labels: Pairs(&alert.labels),
            annotations: Pairs(&alert.annotations),
            starts_at: rfc3339(Some(alert.starts_at)),
            ends_at: rfc3339(alert.ends_at),
            generator_url: &alert.generator_url,
        }
    }
}
