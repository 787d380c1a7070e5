//! Alertmanagers elsewhere: alerts are posted to them as Prometheus does (3.14, `notifier`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cupola_config::prometheus::{AlertmanagersConfig, GroupChange, TargetGroup};
use cupola_config::relabel;
use cupola_metrics::{CounterVec, Gauge, GaugeVec, HistogramVec, Registry, SummaryVec};
use cupola_model::{Alert, AlertSink, Labels, LabelsBuilder};
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

const MAX_ANSWER: usize = 64 << 10;

#[derive(Clone)]
struct Metrics {
    sent: CounterVec,
    errors: CounterVec,
    dropped: CounterVec,
    queue_length: GaugeVec,
    latency: SummaryVec,
    latency_buckets: HistogramVec,
    discovered: Gauge,
}

impl Metrics {
    // Addresses come and go with discovery; their series go with them, as upstream.
    fn forget(&self, name: &str) {
        for counters in [&self.sent, &self.errors, &self.dropped] {
            counters.remove(&[name]);
        }
        self.queue_length.remove(&[name]);
        self.latency.remove(&[name]);
        self.latency_buckets.remove(&[name]);
    }
}

/// How alerts wait to be posted, as Prometheus's flags `--alertmanager.*` say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostingOptions {
    /// So many alerts wait for one Alertmanager; the oldest go first where there are more.
    pub queue_capacity: usize,
    /// So many are posted at once; 0 is as many as by default.
    pub batch: usize,
    /// Whether what waits is posted all the same when posting ends.
    pub drain: bool,
}

const BATCH: usize = 256;
const NOT_DRAINED: &str = "posting ended (--alertmanager.drain-notification-queue-on-shutdown=false)";

impl Default for PostingOptions {
    fn default() -> Self {
        Self {
            queue_capacity: 10_000,
            batch: BATCH,
            drain: true,
        }
    }
}

/// An alert on its way, and what it is called where it comes from.
#[derive(Debug, Clone)]
pub struct Posted {
    /// The labels that its rule has made.
    pub known_as: Labels,
    /// As it is sent.
    pub alert: Alert,
}

/// What became of alerts at one Alertmanager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posting<'a> {
    /// It has them.
    Taken,
    /// It has them perhaps not: why.
    Failed(&'a str),
    /// Its `alert_relabel_configs` dropped them.
    Dropped,
    /// They waited and were given up: why.
    Lost(&'a str),
}

/// Hears what became of alerts: the Alertmanager's URL and the alerts. Must not block.
pub type Observer = Arc<dyn Fn(&Arc<str>, &[Posted], Posting<'_>) + Send + Sync>;

/// Posts alerts to all Alertmanagers that are configured or discovered. Cloning shares it.
#[derive(Clone)]
pub struct AlertmanagerClients {
    inner: Arc<Mutex<State>>,
    observer: Arc<Mutex<Option<Observer>>>,
    metrics: Metrics,
    options: PostingOptions,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    groups: Vec<Group>,
    clients: Vec<Client>,
    // URLs of what relabelling dropped.
    dropped: Vec<String>,
    discovered: Option<GaugeVec>,
}

// One entry of `alertmanagers:`, with the groups of targets that were found for it. Those that stand in the
// configuration have the provider 0.
struct Group {
    config: AlertmanagersConfig,
    found: BTreeMap<(u64, Arc<str>), Arc<TargetGroup>>,
}

struct Client {
    url: Uri,
    name: Arc<str>,
    config: AlertmanagersConfig,
    queue: Arc<Queue>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Queue {
    alerts: Mutex<Vec<Posted>>,
    filled: Notify,
}

impl AlertmanagerClients {
    /// Clients of nobody yet; all tasks end when `stop` is cancelled.
    #[must_use]
    pub fn new(registry: &Registry, options: PostingOptions, stop: CancellationToken) -> Self {
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
            latency: registry.summary_vec(
                "prometheus_notifications_latency_seconds",
                "Latency quantiles for sending alert notifications.",
                &["alertmanager"],
                &[0.5, 0.9, 0.99],
            ),
            latency_buckets: registry.native_histogram_vec(
                "prometheus_notifications_latency_histogram_seconds",
                "Latency histogram for sending alert notifications.",
                &["alertmanager"],
                &[0.01, 0.1, 1.0, 10.0],
            ),
            discovered: registry.gauge(
                "prometheus_notifications_alertmanagers_discovered",
                "The number of alertmanagers discovered and active.",
            ),
        };
        let capacity = registry.gauge(
            "prometheus_notifications_queue_capacity",
            "The capacity of the alert notifications queue.",
        );
        capacity.set(options.queue_capacity as f64);
        Self {
            inner: Arc::default(),
            observer: Arc::default(),
            metrics,
            options,
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// Tells `observer` what becomes of alerts from now on.
    pub fn observe(&self, observer: Observer) {
        *self.observer.lock() = Some(observer);
    }

    /// Whether there is nobody to post to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.lock().clients.is_empty()
    }

    /// Counts what is found for each entry in `discovered` (labels `notify` and `config-N`) from now on.
    pub fn count_discovered(&self, discovered: GaugeVec) {
        self.inner.lock().discovered = Some(discovered);
    }

    /// The name by which discovery knows the entry `index` of `alertmanagers:`, as upstream names it.
    #[must_use]
    pub fn set_name(index: usize) -> String {
        format!("config-{index}")
    }

    /// Posts to exactly the Alertmanagers of `configs` from now on, and to those that discovery tells of for them; those
    /// that stay keep their queue.
    pub fn apply(&self, configs: &[AlertmanagersConfig]) {
        let mut state = self.inner.lock();
        let mut old = std::mem::take(&mut state.groups).into_iter();
        for config in configs {
            let mut found = old.next().map(|group| group.found).unwrap_or_default();
            found.retain(|(provider, _), _| *provider != 0);
            for group in &config.static_configs {
                found.insert((0, group.source.as_str().into()), Arc::new(group.clone()));
            }
            state.groups.push(Group {
                config: config.clone(),
                found,
            });
        }
        if let Some(discovered) = &state.discovered {
            for (index, _) in old.enumerate() {
                discovered.remove(&["notify", &Self::set_name(configs.len() + index)]);
            }
        }
        self.renew(&mut state);
    }

    /// Takes over what discovery found for the entry called `set` ([`AlertmanagerClients::set_name`]). One that is not
    /// there takes nothing over.
    pub fn update(&self, set: &str, changes: Vec<GroupChange>) {
        let mut state = self.inner.lock();
        let index = set
            .strip_prefix("config-")
            .and_then(|index| index.parse::<usize>().ok());
        let Some(group) = index.and_then(|index| state.groups.get_mut(index)) else {
            return;
        };
        for change in changes {
            let key = (change.provider, change.source);
            match change.group {
                Some(targets) => _ = group.found.insert(key, targets),
                None => _ = group.found.remove(&key),
            }
        }
        self.renew(&mut state);
    }

    // Begins and ends clients so that they are those of the groups.
    fn renew(&self, state: &mut State) {
        let mut old = std::mem::take(&mut state.clients);
        state.dropped.clear();
        for (index, group) in state.groups.iter().enumerate() {
            let addresses = addresses(group);
            if let Some(discovered) = &state.discovered {
                let count: usize = group.found.values().map(|found| found.targets.len()).sum();
                discovered.with(&["notify", &Self::set_name(index)]).set(count as f64);
            }
            state.dropped.extend(addresses.dropped);
            for url in addresses.active {
                if let Some(at) = old
                    .iter()
                    .position(|c| c.url == url && same_sending(&c.config, &group.config))
                {
                    state.clients.push(old.swap_remove(at));
                    continue;
                }
                let client = Client {
                    name: url.to_string().into(),
                    url,
                    config: group.config.clone(),
                    queue: Arc::default(),
                    stop: self.stop.child_token(),
                };
                let name = &*client.name;
                for counters in [&self.metrics.sent, &self.metrics.errors, &self.metrics.dropped] {
                    // There from the start, so that the first error is an increase.
                    drop(counters.with(&[name]));
                }
                let sender = Sender {
                    url: client.url.clone(),
                    name: client.name.clone(),
                    queue: client.queue.clone(),
                    stop: client.stop.clone(),
                    metrics: self.metrics.clone(),
                    options: self.options,
                    observer: self.observer.clone(),
                };
                self.tasks.spawn(sender.run(client.config.clone()));
                state.clients.push(client);
            }
        }
        for gone in old {
            gone.stop.cancel();
            if !state.clients.iter().any(|client| client.name == gone.name) {
                self.metrics.forget(&gone.name);
            }
        }
        self.metrics.discovered.set(state.clients.len() as f64);
    }

    /// The URLs that alerts are posted to.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.inner.lock().clients.iter().map(|c| c.url.to_string()).collect()
    }

    /// The URLs of Alertmanagers that were found and that relabelling dropped.
    #[must_use]
    pub fn dropped(&self) -> Vec<String> {
        self.inner.lock().dropped.clone()
    }

    /// Ends when all tasks have ended; cancel the token given to [`AlertmanagerClients::new`] first.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl AlertSink for AlertmanagerClients {
    fn post(&self, alerts: &[Alert]) {
        let posted = alerts.iter().map(|alert| Posted {
            known_as: alert.labels.clone(),
            alert: alert.clone(),
        });
        self.send(&posted.collect::<Vec<_>>());
    }
}

impl AlertmanagerClients {
    /// As [`AlertSink::post`], of alerts that have got other labels on their way.
    pub fn send(&self, alerts: &[Posted]) {
        let full = format!(
            "newer alerts filled the queue (--alertmanager.notification-queue-capacity={})",
            self.options.queue_capacity
        );
        let mut told: Vec<(Arc<str>, Vec<Posted>, Posting<'_>)> = Vec::new();
        for client in &self.inner.lock().clients {
            let mut unwanted = Vec::new();
            let mut queue = client.queue.alerts.lock();
            for posted in alerts {
                let mut labels = posted.alert.labels.to_builder();
                if !relabel(&client.config.alert_relabel_configs, &mut labels) {
                    unwanted.push(posted.clone());
                    continue;
                }
                queue.push(Posted {
                    known_as: posted.known_as.clone(),
                    alert: Alert {
                        labels: labels.build(),
                        ..posted.alert.clone()
                    },
                });
            }
            // The oldest go first: what is newer says more.
            let over = queue.len().saturating_sub(self.options.queue_capacity);
            let lost: Vec<Posted> = queue.drain(..over).collect();
            self.metrics.dropped.with(&[&client.name]).add(over as f64);
            self.metrics.queue_length.with(&[&client.name]).set(queue.len() as f64);
            client.queue.filled.notify_one();
            if over > 0 {
                warn!(alertmanager = %client.name, alerts = over, "the queue of notifications is full, the oldest are dropped");
            }
            for (alerts, posting) in [(unwanted, Posting::Dropped), (lost, Posting::Lost(&full))] {
                if !alerts.is_empty() {
                    told.push((client.name.clone(), alerts, posting));
                }
            }
        }
        for (name, alerts, posting) in told {
            tell(&self.observer, &name, &alerts, posting);
        }
    }
}

fn tell(observer: &Mutex<Option<Observer>>, name: &Arc<str>, alerts: &[Posted], posting: Posting<'_>) {
    let observer = observer.lock().clone();
    if let Some(observer) = observer {
        observer(name, alerts, posting);
    }
}

// Whether alerts are sent in the same way, whoever is found.
fn same_sending(a: &AlertmanagersConfig, b: &AlertmanagersConfig) -> bool {
    let without_targets = |config: &AlertmanagersConfig| AlertmanagersConfig {
        static_configs: Vec::new(),
        discovery: Vec::new(),
        relabel_configs: Vec::new(),
        ..config.clone()
    };
    without_targets(a) == without_targets(b)
}

#[derive(Default)]
struct Addresses {
    active: Vec<Uri>,
    dropped: Vec<String>,
}

fn addresses(group: &Group) -> Addresses {
    let config = &group.config;
    let mut out = Addresses::default();
    let prefix = config.path_prefix.trim_matches('/');
    let slash = if prefix.is_empty() { "" } else { "/" };
    let path = format!("{slash}{prefix}/api/v2/alerts");
    for found in group.found.values() {
        for target in &found.targets {
            let mut labels = found.labels.to_builder();
            for (name, value) in target {
                labels.set(name, value);
            }
            // What the group's labels say of these goes before the configuration, what the target's own say does not, as upstream.
            for (name, value) in [("__scheme__", config.scheme.as_str()), ("__alerts_path__", &path)] {
                if found.labels.get(name).is_none() || target.iter().any(|(own, _)| own == name) {
                    labels.set(name, value);
                }
            }
            let before = labels.clone();
            if !relabel(&config.relabel_configs, &mut labels) {
                out.dropped.push(url_text(&before));
                continue;
            }
            let text = url_text(&labels);
            match text.parse::<Uri>() {
                Ok(url) if labels.get("__address__").is_empty() || url.host().is_none() => {
                    warn!(alertmanager = text, "an Alertmanager without an address");
                }
                Ok(url) if out.active.contains(&url) => {}
                Ok(url) => out.active.push(url),
                Err(_) => warn!(alertmanager = text, "the address of an Alertmanager makes no URL"),
            }
        }
    }
    out
}

fn url_text(labels: &LabelsBuilder) -> String {
    format!(
        "{}://{}{}",
        labels.get("__scheme__"),
        labels.get("__address__"),
        labels.get("__alerts_path__")
    )
}

// Posts what is in one client's queue.
struct Sender {
    url: Uri,
    name: Arc<str>,
    queue: Arc<Queue>,
    stop: CancellationToken,
    metrics: Metrics,
    options: PostingOptions,
    observer: Arc<Mutex<Option<Observer>>>,
}

impl Sender {
    async fn run(self, config: AlertmanagersConfig) {
        let Self {
            url,
            name,
            queue,
            stop,
            metrics,
            options,
            observer,
        } = self;
        let most = match options.batch {
            0 => BATCH,
            some => some,
        };
        let mut peer = Peer::new(&config.http);
        // As upstream: its status says whether the alerts were taken, whatever becomes of the rest of an answer.
        peer.cut_bodies();
        let mut failing = false;
        loop {
            let batch: Vec<Posted> = {
                let mut alerts = queue.alerts.lock();
                if stop.is_cancelled() && !options.drain {
                    let left = std::mem::take(&mut *alerts);
                    drop(alerts);
                    if !left.is_empty() {
                        warn!(alertmanager = %name, alerts = left.len(), "alerts that waited are not sent any more");
                        tell(&observer, &name, &left, Posting::Lost(NOT_DRAINED));
                    }
                    return;
                }
                let take = alerts.len().min(most);
                if !stop.is_cancelled() {
                    metrics.queue_length.with(&[&name]).set((alerts.len() - take) as f64);
                }
                alerts.drain(..take).collect()
            };
            if batch.is_empty() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = queue.filled.notified() => continue,
                }
            }
            let begun = Instant::now();
            let sent = post(&mut peer, &url, config.timeout, &batch).await;
            let seconds = begun.elapsed().as_secs_f64();
            // For an Alertmanager that is gone nothing is counted any more; what was queued for it is sent all the same.
            let counts = !stop.is_cancelled();
            let posting = match &sent {
                Ok(()) => Posting::Taken,
                Err(error) => Posting::Failed(error),
            };
            tell(&observer, &name, &batch, posting);
            match sent {
                Ok(()) => {
                    if counts {
                        metrics.latency.with(&[&name]).observe(seconds);
                        metrics.latency_buckets.with(&[&name]).observe(seconds);
                        metrics.sent.with(&[&name]).add(batch.len() as f64);
                    }
                    failing = false;
                }
                Err(error) => {
                    // Firing alerts come again by themselves, so nothing is queued anew, as upstream.
                    if counts {
                        metrics.errors.with(&[&name]).add(batch.len() as f64);
                        metrics.dropped.with(&[&name]).add(batch.len() as f64);
                    }
                    if !failing {
                        warn!(alertmanager = %name, alerts = batch.len(), error, "cannot send alerts");
                    }
                    failing = true;
                }
            }
        }
    }
}

async fn post(peer: &mut Peer, url: &Uri, timeout: Duration, alerts: &[Posted]) -> Result<(), String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("Prometheus/3.14.0 (Cupola/", env!("CARGO_PKG_VERSION"), ")")),
    );
    let body: Vec<PostedAlert<'_>> = alerts.iter().map(|posted| PostedAlert::of(&posted.alert)).collect();
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use cupola_config::parse_prometheus;

    use super::*;

    #[tokio::test]
    async fn an_alertmanager_that_is_gone_leaves_no_series() {
        let (registry, stop) = (Registry::default(), CancellationToken::new());
        let clients = AlertmanagerClients::new(&registry, PostingOptions::default(), stop.clone());
        let apply = |targets: &str| {
            let yaml = format!("alerting:\n  alertmanagers:\n  - static_configs: [{{targets: [{targets}]}}]\n");
            let config = parse_prometheus(&yaml, Path::new("p.yml")).unwrap();
            clients.apply(&config.alerting.alertmanagers);
            clients.send(&[]);
        };
        let series = |address: &str| {
            let families = registry.snapshot();
            let series = families.iter().flat_map(|family| &family.series);
            let labels = series.flat_map(|(labels, _)| labels);
            labels.filter(|(_, value)| value.contains(address)).count()
        };
        apply("'a.invalid:1', 'b.invalid:1'");
        let of_one = series("//b.invalid:1/");
        assert!(of_one >= 4, "{of_one} series");
        apply("'b.invalid:1'");
        assert_eq!((series("//a.invalid:1/"), series("//b.invalid:1/")), (0, of_one));
        stop.cancel();
        clients.stopped().await;
        assert_eq!(series("//a.invalid:1/"), 0);
    }

    #[tokio::test]
    async fn labels_of_a_group_of_alertmanagers_say_where_they_are() {
        let stop = CancellationToken::new();
        let clients = AlertmanagerClients::new(&Registry::default(), PostingOptions::default(), stop.clone());
        let yaml = "alerting:\n  alertmanagers:\n  - path_prefix: /am\n    static_configs:\n    \
                    - {targets: ['a.invalid:1'], labels: {__scheme__: https, __alerts_path__: /there}}\n    \
                    - {targets: ['b.invalid:1']}\n";
        let config = parse_prometheus(yaml, Path::new("p.yml")).unwrap();
        clients.apply(&config.alerting.alertmanagers);
        assert_eq!(
            clients.urls(),
            ["https://a.invalid:1/there", "http://b.invalid:1/am/api/v2/alerts"]
        );
        stop.cancel();
        clients.stopped().await;
    }

    #[tokio::test]
    async fn only_alerts_that_were_taken_count_as_sent() {
        let (registry, stop) = (Registry::default(), CancellationToken::new());
        let clients = AlertmanagerClients::new(&registry, PostingOptions::default(), stop.clone());
        // Nobody listens there.
        let yaml = "alerting:\n  alertmanagers:\n  - static_configs: [{targets: ['127.0.0.1:1']}]\n";
        let config = parse_prometheus(yaml, Path::new("p.yml")).unwrap();
        clients.apply(&config.alerting.alertmanagers);
        let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
        clients.observe(Arc::new(move |_, _, posting| {
            let _ = sender.send(matches!(posting, Posting::Failed(_)));
        }));
        let alert = |name: &str| Alert {
            labels: Labels::from_pairs([("alertname", name)]),
            annotations: Labels::default(),
            starts_at: 0,
            ends_at: None,
            generator_url: String::new(),
        };
        // The second is told of after the first was counted.
        for name in ["a", "b"] {
            clients.post(&[alert(name)]);
            assert_eq!(told.recv().await, Some(true));
        }
        let url = ["http://127.0.0.1:1/api/v2/alerts"];
        let metrics = &clients.metrics;
        assert_eq!(metrics.sent.with(&url).get(), 0.0);
        assert!(metrics.errors.with(&url).get() >= 1.0);
        stop.cancel();
        clients.stopped().await;
    }

    #[tokio::test]
    async fn alerts_are_taken_although_the_answer_is_long_or_breaks_off() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        for length in [70_000, 9] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n{}", "x".repeat(length));
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let _ = stream.read(&mut [0; 16 << 10]).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
            let (told, _) = become_of(at, PostingOptions::default(), 1).await;
            assert_eq!(told, ["a0: taken"], "{length}");
        }
    }

    // What became of alerts called a0, a1, ... that are sent there at once, and whether they were counted as dropped.
    async fn become_of(at: SocketAddr, options: PostingOptions, count: usize) -> (Vec<String>, f64) {
        let (registry, stop) = (Registry::default(), CancellationToken::new());
        let clients = AlertmanagerClients::new(&registry, options, stop.clone());
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = told.clone();
        clients.observe(Arc::new(move |_, alerts, posting| {
            let names: Vec<&str> = alerts
                .iter()
                .filter_map(|posted| posted.known_as.get("alertname"))
                .collect();
            let what = match posting {
                Posting::Taken => "taken",
                Posting::Failed(_) => "failed",
                Posting::Dropped => "dropped",
                Posting::Lost(why) => why,
            };
            heard.lock().push(format!("{}: {what}", names.join(" ")));
        }));
        let yaml = format!("alerting:\n  alertmanagers:\n  - static_configs: [{{targets: ['{at}']}}]\n");
        let config = parse_prometheus(&yaml, Path::new("p.yml")).unwrap();
        clients.apply(&config.alerting.alertmanagers);
        let alerts: Vec<Alert> = (0..count)
            .map(|at| Alert {
                labels: Labels::from_pairs([("alertname", format!("a{at}"))]),
                annotations: Labels::default(),
                starts_at: 0,
                ends_at: None,
                generator_url: String::new(),
            })
            .collect();
        clients.post(&alerts);
        let dropped = clients
            .metrics
            .dropped
            .with(&[&format!("http://{at}/api/v2/alerts")])
            .get();
        stop.cancel();
        clients.stopped().await;
        let told = told.lock().clone();
        (told, dropped)
    }

    // Where nobody listens.
    fn nobody() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }

    #[tokio::test]
    async fn the_oldest_alerts_of_a_full_queue_are_counted_and_told() {
        let options = PostingOptions {
            queue_capacity: 2,
            batch: 1,
            ..PostingOptions::default()
        };
        let full = "a0 a1: newer alerts filled the queue (--alertmanager.notification-queue-capacity=2)";
        let (told, dropped) = become_of(nobody(), options, 4).await;
        // What waits is posted although posting ends, one by one.
        assert_eq!(told, [full, "a2: failed", "a3: failed"]);
        assert_eq!(dropped, 2.0);
    }

    #[tokio::test]
    async fn what_waits_is_given_up_where_the_queue_is_not_drained() {
        let options = PostingOptions {
            drain: false,
            ..PostingOptions::default()
        };
        let (told, dropped) = become_of(nobody(), options, 2).await;
        assert_eq!((told, dropped), (vec![format!("a0 a1: {NOT_DRAINED}")], 0.0));
    }
}
