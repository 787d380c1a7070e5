//! The cluster as its owner sees it, and the tasks that keep it together.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use cupola_metrics::Registry;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::link::{self, End};
use crate::members::{Refusal, Table};
use crate::metrics::{self, Metrics, OVERSIZED};
use crate::name::random;
use crate::network::Network;
use crate::outbox::Outbox;
use crate::wire::{self, Frame, Hello, Peer};

// How often the names of peers are looked up (Alertmanager's refresh interval).
const REFRESH_EVERY: Duration = Duration::from_secs(15);
// The same while a name is not known yet and the cluster has not settled.
const FIRST_REFRESH: Duration = Duration::from_secs(2);
// So many intervals without a word, besides the probe's timeout, and a member has failed (memberlist's suspicion).
const SUSPICION_PROBES: u32 = 4;
// After so many intervals and the probe's timeout a process that stood still counts on having been given up: the others count
// from its last sign of life, which was perhaps an interval before it stood still, and was under way for some time.
const STANDSTILL_PROBES: u32 = 2;
// So many looks at the members that do not change, ten gossip intervals apart, and the cluster has settled.
const SETTLED_LOOKS: u32 = 3;
// Connections of others at once.
const MOST_INBOUND: usize = 128;
// Refusals that were logged: addresses and reasons.
const MOST_REFUSED: usize = 64;
// How long leaving may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What members keep the same.
pub trait Replicated: Send + Sync + 'static {
    /// Everything, as messages.
    fn snapshot(&self) -> Vec<Vec<u8>>;

    /// Takes messages of another member, in any order and any number of times. Returns the places of those that were
    /// news, which are passed on. What cannot be read is left out and told in the log.
    fn merge(&self, messages: &[Bytes]) -> Vec<usize>;
}

/// `--cluster.*`, with Alertmanager's defaults.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Unique among the members; the order of the names is the order of the members.
    pub name: String,
    /// Only members of the same label talk to each other.
    pub label: String,
    /// Where others reach this member. An unspecified IP stands for the one where they see it.
    pub advertise: SocketAddr,
    /// `HOST:PORT` of others; each may stand for several.
    pub peers: Vec<String>,
    /// How long looking up the peers may take.
    pub resolve_timeout: Duration,
    /// A tenth of the time between two looks at the members while the cluster settles. What changes is sent at once.
    pub gossip_interval: Duration,
    /// How often everything is sent to every member.
    pub push_pull_interval: Duration,
    /// How long connecting, greeting and each write may take.
    pub tcp_timeout: Duration,
    /// How often a sign of life is sent.
    pub probe_interval: Duration,
    /// A member of which nothing was heard for this and four probe intervals has failed.
    pub probe_timeout: Duration,
    /// The longest time until the cluster counts as settled.
    pub settle_timeout: Duration,
    /// How often it is tried to reach members that are not connected.
    pub reconnect_interval: Duration,
    /// How long members that have failed are remembered; zero is for ever.
    pub reconnect_timeout: Duration,
    /// How much later a member acts than the one before it.
    pub peer_timeout: Duration,
}

impl ClusterOptions {
    /// Alertmanager's defaults, without peers.
    #[must_use]
    pub fn new(name: String, advertise: SocketAddr) -> Self {
        Self {
            name,
            label: String::new(),
            advertise,
            peers: Vec::new(),
            resolve_timeout: Duration::from_secs(15),
            gossip_interval: Duration::from_millis(200),
            push_pull_interval: Duration::from_secs(60),
            tcp_timeout: Duration::from_secs(10),
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            settle_timeout: Duration::from_secs(60),
            reconnect_interval: Duration::from_secs(10),
            reconnect_timeout: Duration::from_secs(6 * 3600),
            peer_timeout: Duration::from_secs(15),
        }
    }

    // A process that stood still for so long may have been taken for failed.
    fn standstill(&self) -> Duration {
        self.probe_timeout + self.probe_interval * STANDSTILL_PROBES
    }

    /// After this time without a word a member has failed.
    pub(crate) fn patience(&self) -> Duration {
        self.probe_timeout + self.probe_interval * SUSPICION_PROBES
    }
}

/// The cluster at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// This member's name.
    pub name: String,
    /// Whether it has settled.
    pub is_ready: bool,
    /// Names and addresses (`IP:PORT`) of all that are there, this one included, ascending.
    pub peers: Vec<(String, String)>,
}

type Channels = Vec<(&'static str, Arc<dyn Replicated>)>;

pub(crate) struct Inner {
    pub options: ClusterOptions,
    pub network: Arc<dyn Network>,
    pub table: Mutex<Table>,
    pub metrics: Metrics,
    pub stop: CancellationToken,
    // Nobody becomes a member's any more.
    leaving: CancellationToken,
    channels: OnceLock<Channels>,
    // Goes up with every change of the members.
    changes: watch::Sender<u64>,
    settled: watch::Sender<bool>,
    // When this process was last seen to run.
    pulse: Mutex<Instant>,
    refused: Mutex<HashSet<(IpAddr, String)>>,
    tasks: TaskTracker,
}

/// This process's membership. Cloning shares it.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

impl Cluster {
    /// A member that talks to nobody yet. `keys` are those that [`Cluster::join`] will be given.
    #[must_use]
    pub fn new(options: ClusterOptions, network: Arc<dyn Network>, registry: &Registry, keys: &[&'static str]) -> Self {
        let own = Peer {
            name: options.name.clone(),
            address: options.advertise,
        };
        let inner = Arc::new(Inner {
            table: Mutex::new(Table::new(own, random(), options.label.clone())),
            network,
            metrics: Metrics::new(registry, keys),
            stop: CancellationToken::new(),
            leaving: CancellationToken::new(),
            channels: OnceLock::new(),
            changes: watch::Sender::new(0),
            settled: watch::Sender::new(false),
            pulse: Mutex::new(Instant::now()),
            refused: Mutex::default(),
            tasks: TaskTracker::new(),
            options,
        });
        metrics::register(registry, &Arc::downgrade(&inner), &inner.options.name);
        Self { inner }
    }

    /// Begins to look for the others and to share `channels`, state by key, with them. Runs on the current tokio runtime
    /// until [`Cluster::leave`]; does nothing when called again.
    pub fn join(&self, channels: Vec<(&'static str, Arc<dyn Replicated>)>) {
        let inner = &self.inner;
        if inner.channels.set(channels).is_err() {
            return;
        }
        *inner.pulse.lock() = Instant::now();
        let tasks = &inner.tasks;
        tasks.spawn(inner.clone().until_stopped(accept(inner.clone())));
        tasks.spawn(inner.clone().until_stopped(refresh(inner.clone())));
        tasks.spawn(inner.clone().until_stopped(sweep(inner.clone())));
        tasks.spawn(inner.clone().until_stopped(settle(inner.clone())));
    }

    /// Sends a message of this key, which this member has taken already, to all others. Does not wait; who is not
    /// reached now gets it with everything else later.
    pub fn broadcast(&self, key: &'static str, message: &[u8]) {
        self.inner.broadcast(key, &[message], None);
    }

    /// How many members come before this one.
    #[must_use]
    pub fn position(&self) -> usize {
        self.inner.table.lock().position()
    }

    // How long a turn takes to come if no member goes.
    fn wait(&self) -> Duration {
        let position = u32::try_from(self.position()).unwrap_or(u32::MAX);
        self.inner.options.peer_timeout.saturating_mul(position)
    }

    /// Ends when it is this member's turn: a peer timeout after this call for each member before it. Where one of them
    /// goes meanwhile, the wait is that much shorter.
    pub async fn turn(&self) {
        let begin = Instant::now();
        let mut changes = self.inner.changes.subscribe();
        loop {
            let due = begin + self.wait();
            if Instant::now() >= due {
                // It may have been a long sleep, and whoever has noticed it first another task.
                self.inner.check_pulse();
                let is_joined = self.inner.channels.get().is_some();
                if !is_joined || *self.inner.settled.borrow() {
                    return;
                }
                self.settled().await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                // The sender lives as long as this handle.
                _ = changes.changed() => {}
            }
        }
    }

    /// Ends when the members are known and have sent what they have, at the latest after the settle timeout. That is so
    /// again after this process has stood still for so long that the others went on without it.
    pub async fn settled(&self) {
        self.inner.check_pulse();
        let mut settled = self.inner.settled.subscribe();
        // An error is impossible, as the sender lives as long as this handle.
        let _ = settled.wait_for(|is| *is).await;
    }

    /// The cluster now.
    #[must_use]
    pub fn status(&self) -> ClusterStatus {
        let alive = self.inner.table.lock().alive();
        ClusterStatus {
            name: self.inner.options.name.clone(),
            is_ready: *self.inner.settled.borrow(),
            peers: alive.into_iter().map(|p| (p.name, p.address.to_string())).collect(),
        }
    }

    /// Says goodbye, after what waits has been sent, and ends everything. Takes two seconds at most.
    pub async fn leave(&self) {
        let inner = &self.inner;
        inner.leaving.cancel();
        let boxes: Vec<Arc<Outbox>> = inner.table.lock().all_outboxes().cloned().collect();
        for outbox in boxes {
            outbox.close(Some(Frame::Bye.encode()));
        }
        let gone = async {
            let mut changes = inner.changes.subscribe();
            while inner.table.lock().outboxes().next().is_some() {
                let _ = changes.changed().await;
            }
        };
        let _ = timeout(FAREWELL, gone).await;
        inner.stop.cancel();
        inner.tasks.close();
        let _ = timeout(FAREWELL, inner.tasks.wait()).await;
    }
}

impl Inner {
    async fn until_stopped(self: Arc<Self>, work: impl Future<Output = ()>) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = work => {}
        }
    }

    pub(crate) fn channels(&self) -> &[(&'static str, Arc<dyn Replicated>)] {
        self.channels.get().map_or(&[], Vec::as_slice)
    }

    // Whether this process has stood still (it was stopped, or the machine was) for so long that the others may have
    // taken it for failed. Then what they have told meanwhile is asked for anew before anything else is told.
    fn check_pulse(self: &Arc<Self>) -> bool {
        let mut pulse = self.pulse.lock();
        let slept = pulse.elapsed();
        if slept < self.options.standstill() || self.channels.get().is_none() || self.leaving.is_cancelled() {
            return false;
        }
        // Whoever else looks after the pulse waits until it is known that nothing is settled.
        *pulse = Instant::now();
        self.settled.send_replace(false);
        let boxes = self.table.lock().begin_anew(Instant::now());
        drop(pulse);
        warn!("this process has stood still for {slept:?}; it asks the other members for what they have");
        for outbox in boxes {
            outbox.close(None);
        }
        self.changed();
        self.tasks.spawn(self.clone().until_stopped(settle_again(self.clone())));
        true
    }

    /// The members, or what is known of them, are others than before.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Counts what is sent.
    pub(crate) fn sent(&self, is_full: bool, bytes: usize) {
        let kind = [if is_full { "full_state" } else { "update" }];
        self.metrics.sent.with(&kind).inc();
        self.metrics.sent_bytes.with(&kind).add(bytes as f64);
    }

    /// Makes a connection a member's.
    pub(crate) fn take_in(
        self: &Arc<Self>,
        hello: &Hello,
        from: SocketAddr,
        outbox: &Arc<Outbox>,
    ) -> Result<u64, Refusal> {
        if self.leaving.is_cancelled() {
            return Err(Refusal::Leaving);
        }
        let name = &hello.own.name;
        let now = Instant::now();
        let (joined, known, replaced) = {
            let mut table = self.table.lock();
            let joined = table.join(hello, from, outbox.clone(), now)?;
            let address = table.alive().into_iter().find(|p| p.name == *name);
            (joined, address, table.take_replaced())
        };
        for gone in replaced {
            self.metrics.pings.remove(&[&gone]);
        }
        if joined.is_new {
            self.metrics.joined.inc();
            let address = known.as_ref().map(|p| p.address.to_string()).unwrap_or_default();
            info!(peer = name, address, "peer joined the cluster");
        }
        if joined.is_back {
            self.metrics.reconnections.inc();
        }
        // So that it is looked for once the connection breaks.
        self.learn(known.as_slice());
        self.changed();
        Ok(joined.link)
    }

    /// A connection has ended.
    pub(crate) fn let_go(&self, name: &str, link: u64, end: &End) {
        let mut table = self.table.lock();
        if let End::Left = end
            && table.leave(name, link)
        {
            self.metrics.left.inc();
            self.metrics.pings.remove(&[name]);
        } else {
            table.unlink(name, link);
        }
        drop(table);
        if !self.stop.is_cancelled() {
            link::tell(name, end);
        }
        self.changed();
    }

    /// Somebody else's connection was of no use.
    pub(crate) fn refused(&self, from: SocketAddr, reason: &str) {
        self.metrics.refused.inc();
        let mut refused = self.refused.lock();
        if refused.len() < MOST_REFUSED && refused.insert((from.ip(), reason.to_owned())) {
            warn!(from = %from, reason, "a connection to the cluster's port was refused; further ones from there for that reason are only counted");
        } else {
            debug!(from = %from, reason, "a connection to the cluster's port was refused");
        }
    }

    /// Looks after members that others know of.
    pub(crate) fn learn(self: &Arc<Self>, members: &[Peer]) {
        for member in members {
            if member.name != self.options.name {
                self.look_after(member.address, false);
            }
        }
    }

    fn look_after(self: &Arc<Self>, address: SocketAddr, is_named: bool) {
        if self.table.lock().add_candidate(address, is_named, Instant::now()) {
            self.tasks
                .spawn(self.clone().until_stopped(dial(self.clone(), address)));
        }
    }

    /// Takes what `from` has sent, and passes on what is news.
    pub(crate) async fn merge(self: &Arc<Self>, key: &str, is_full: bool, messages: Vec<Bytes>, from: &str) {
        let kind = [if is_full { "full_state" } else { "update" }];
        self.metrics.received.with(&kind).inc();
        let bytes: usize = messages.iter().map(Bytes::len).sum();
        self.metrics.received_bytes.with(&kind).add(bytes as f64);
        let Some((key, state)) = self.channels().iter().find(|(known, _)| *known == key) else {
            return;
        };
        let state = state.clone();
        // It may take regular expressions and the disk.
        let merged = tokio::task::spawn_blocking(move || {
            let news = state.merge(&messages);
            let news = news.into_iter().filter_map(|place| messages.get(place).cloned());
            news.collect::<Vec<_>>()
        });
        // A panic has been told where it happened.
        let news = merged.await.unwrap_or_default();
        self.broadcast(key, &news, Some(from));
    }

    fn broadcast<M: AsRef<[u8]>>(&self, key: &'static str, messages: &[M], except: Option<&str>) {
        if messages.is_empty() {
            return;
        }
        for message in messages {
            let length = message.as_ref().len();
            if length > wire::largest_message(key) {
                self.metrics.oversized_dropped.with(&[key]).inc();
            } else if length > OVERSIZED {
                self.metrics.oversized_sent.with(&[key]).inc();
            }
        }
        let frames: Vec<Bytes> = link::batches(key, false, messages).collect();
        let table = self.table.lock();
        for outbox in table.outboxes_but(except) {
            for frame in &frames {
                if outbox.push(frame.clone()) {
                    self.sent(false, frame.len());
                } else {
                    self.metrics.pruned.inc();
                }
            }
        }
    }
}

async fn accept(inner: Arc<Inner>) {
    let places = Arc::new(Semaphore::new(MOST_INBOUND));
    loop {
        let (stream, from) = match inner.network.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most often there are too many open files; the next moment may have one free.
                warn!(%error, "a connection to the cluster's port cannot be taken");
                tokio::time::sleep(inner.options.probe_interval).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            inner.refused(from, "there are too many connections");
            continue;
        };
        let task = inner.clone();
        let talk = async move {
            link::accepted(&task, stream, from).await;
            drop(place);
        };
        inner.tasks.spawn(inner.clone().until_stopped(talk));
    }
}

// Keeps a connection to whoever is at an address, as long as anybody may be.
async fn dial(inner: Arc<Inner>, address: SocketAddr) {
    let options = &inner.options;
    let mut changes = inner.changes.subscribe();
    let again = match options.reconnect_interval {
        Duration::ZERO => REFRESH_EVERY,
        interval => interval,
    };
    loop {
        changes.mark_unchanged();
        let (is_candidate, is_reached) = {
            let mut table = inner.table.lock();
            (table.is_dialled(address), table.is_reached(address))
        };
        if !is_candidate || inner.leaving.is_cancelled() {
            return;
        }
        if is_reached {
            let _ = timeout(again, changes.changed()).await;
            continue;
        }
        let begin = Instant::now();
        let end = match timeout(options.tcp_timeout, inner.network.connect(address)).await {
            Ok(Ok(stream)) => {
                let greeted = |name: &str| {
                    inner.table.lock().tried(address, Ok(name.to_owned()));
                    inner.changed();
                };
                link::dialled(&inner, stream, address, greeted).await
            }
            Ok(Err(error)) => End::Broken(error.to_string()),
            Err(_) => End::Broken(format!("no connection within {:?}", options.tcp_timeout)),
        };
        if inner.leaving.is_cancelled() {
            return;
        }
        if inner.table.lock().is_reached(address) {
            continue;
        }
        match end {
            End::Itself => inner.table.lock().is_itself(address),
            End::Broken(reason) => {
                inner.metrics.reconnections_failed.inc();
                if inner.table.lock().tried(address, Err(reason.clone())) {
                    warn!(address = %address, reason, "a peer cannot be reached; it is tried again");
                }
            }
            End::Left | End::Closed => {}
        }
        inner.changed();
        // While the cluster settles the others are most likely about to start.
        let is_settled = *inner.settled.borrow();
        let pause = if is_settled {
            again
        } else {
            again.min(options.probe_interval)
        };
        // A conversation that was one is taken up again without delay.
        let pause = if begin.elapsed() > options.patience() {
            again.min(options.probe_interval)
        } else {
            pause
        };
        tokio::time::sleep(pause).await;
    }
}

// Looks up the named peers, again and again.
async fn refresh(inner: Arc<Inner>) {
    let mut failing = false;
    for round in 0_u64.. {
        let mut named = Vec::new();
        let mut failed = None;
        for peer in &inner.options.peers {
            match timeout(inner.options.resolve_timeout, inner.network.resolve(peer)).await {
                Ok(Ok(addresses)) => named.extend(addresses),
                Ok(Err(error)) => failed = Some(format!("{peer}: {error}")),
                Err(_) => failed = Some(format!("{peer}: no answer within {:?}", inner.options.resolve_timeout)),
            }
        }
        match &failed {
            // Nobody is forgotten because a name server does not answer.
            None => inner.table.lock().set_named(&named),
            Some(reason) => {
                inner.metrics.refresh_failed.inc();
                if !failing {
                    warn!(reason, "a peer's name cannot be looked up; it is tried again");
                }
            }
        }
        failing = failed.is_some();
        for address in named {
            let was_known = inner.table.lock().is_candidate(address);
            inner.look_after(address, true);
            if !was_known && round > 0 && inner.table.lock().is_candidate(address) {
                inner.metrics.refreshed.inc();
            }
        }
        {
            let mut table = inner.table.lock();
            table.is_resolved = !failing;
            if round > 0 {
                table.look_again();
            }
        }
        inner.changed();
        let is_settled = *inner.settled.borrow();
        tokio::time::sleep(if failing && !is_settled {
            FIRST_REFRESH
        } else {
            REFRESH_EVERY
        })
        .await;
    }
}

// Notices who has failed.
async fn sweep(inner: Arc<Inner>) {
    let options = &inner.options;
    loop {
        tokio::time::sleep(options.probe_interval).await;
        if !inner.check_pulse() {
            *inner.pulse.lock() = Instant::now();
        }
        let swept = |table: &mut Table| table.sweep(Instant::now(), options.patience(), options.reconnect_timeout);
        let failed = swept(&mut inner.table.lock());
        for name in &failed {
            inner.metrics.left.inc();
            inner.metrics.pings.remove(&[name]);
            warn!(
                peer = name,
                "peer has failed: nothing was heard of it for {:?}",
                options.patience()
            );
        }
        if !failed.is_empty() {
            inner.changed();
        }
    }
}

// Waits until the members are known.
async fn settle(inner: Arc<Inner>) {
    let options = &inner.options;
    let begin = Instant::now();
    let look_every = options.gossip_interval * 10;
    let mut changes = inner.changes.subscribe();
    let settling = async {
        let (mut looks, mut members, mut look_at) = (0, 0, begin + look_every);
        // Without peers there is nobody to wait for; where all that were named have answered neither.
        while !options.peers.is_empty() && !inner.table.lock().is_complete() {
            if tokio::time::timeout_at(look_at, changes.changed()).await.is_ok() {
                continue;
            }
            look_at = Instant::now() + look_every;
            let table = inner.table.lock();
            let now = table.alive().len();
            // In Kubernetes the names of pods that have just started may come late.
            let is_known = table.is_resolved || begin.elapsed() >= options.resolve_timeout;
            let is_stable = now == members && is_known && table.is_synced();
            looks = if is_stable { looks + 1 } else { 0 };
            members = now;
            if looks >= SETTLED_LOOKS {
                break;
            }
        }
    };
    let elapsed = || format!("{:?}", begin.elapsed());
    if timeout(options.settle_timeout, settling).await.is_ok() {
        info!(
            members = inner.table.lock().alive().len(),
            elapsed = elapsed(),
            "gossip settled; proceeding"
        );
    } else {
        info!(elapsed = elapsed(), "gossip not settled but continuing anyway");
    }
    inner.settled.send_replace(true);
    inner.changed();
}

// Waits until whoever was there has sent what it has, or has failed.
async fn settle_again(inner: Arc<Inner>) {
    let mut changes = inner.changes.subscribe();
    let settling = async {
        while !inner.table.lock().is_whole() {
            // An error is impossible, as the sender lives as long as `inner`.
            let _ = changes.changed().await;
        }
    };
    let _ = timeout(inner.options.settle_timeout, settling).await;
    inner.settled.send_replace(true);
    inner.changed();
}

#[cfg(test)]
mod tests;
