//! One shard: a queue, and who sends what is in it, one message after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cupola_config::prometheus::{RemoteWriteConfig, RemoteWriteMessage};
use cupola_env::Clock;
use cupola_net::Peer;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::cursor::{Cursor, Place, Share};
use super::metrics::{Counts, KINDS, Kind, Metrics, Reason};
use super::post::{Outcome, Target, is_too_many};
use super::proto::{self, Value};
use super::reader::{Described, Item, What};

// While sending fails or is refused it is told so often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What all shards of a destination share.
pub(super) struct Shared {
    pub name: String,
    pub config: Arc<RemoteWriteConfig>,
    pub target: Target,
    pub metrics: Arc<Metrics>,
    pub described: Described,
    pub cursor: Arc<Mutex<Cursor>>,
    pub clock: Arc<dyn Clock>,
    /// Where what this process logs begins.
    pub begin: Place,
    /// How many refused messages may still be sent again in parts.
    pub splits: AtomicU64,
    /// Told whenever a queue has room again.
    pub room: Notify,
    /// Sent since they were looked at last, and how long that took, microseconds.
    pub sent: AtomicU64,
    pub sending_us: AtomicU64,
    /// Of the newest sample that was sent, milliseconds.
    pub highest_sent_ms: AtomicI64,
    /// Since when sending fails, and when that was told last.
    pub failing: Mutex<Option<Instant>>,
    /// Until when the number of shards stays, as a message is to be sent again.
    pub steady_until: Mutex<Option<Instant>>,
    /// When it was told last that samples are refused, and how many were since.
    pub refused: Mutex<Option<(Instant, u64)>>,
    /// Whether what is in queues is so old that nothing else can be put in: it does not wait for a message to fill.
    pub is_waited_for: AtomicBool,
    /// Nothing waits any more for a message to fill.
    pub hurry: CancellationToken,
    /// Whether everything in the log is sent, as far as was seen last.
    pub is_drained: AtomicBool,
    /// How many messages came to their end.
    pub ended: AtomicU64,
}

impl Shared {
    /// Whether the number of shards may change. What waits to be sent again would be mixed with others by that, though it must
    /// not go with them; and as upstream says, more shards may make worse what it waits for.
    pub(super) fn may_reshard(&self) -> bool {
        self.steady_until.lock().is_none_or(|until| Instant::now() >= until)
    }

    // As upstream: for twice as long as the message waits.
    fn keep_shards(&self, pause: Duration) {
        let mut until = self.steady_until.lock();
        *until = (*until).max(Some(Instant::now() + pause * 2));
    }
}

/// The end where items are put in.
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    capacity: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Item>,
    // When the first of those came that wait.
    since: Option<Instant>,
    // Of the first sample of the message that is on its way.
    sending: Option<(Place, i64)>,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            capacity: capacity.max(1),
        }
    }

    /// Gives the item back where there is no room.
    pub(super) fn push(&self, item: Item) -> Result<(), Item> {
        let mut state = self.state.lock();
        if state.waiting.len() >= self.capacity {
            return Err(item);
        }
        state.waiting.push_back(item);
        state.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// To be called after pushing.
    pub(super) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Of the oldest item that is not done, with its time.
    pub(super) fn oldest(&self) -> Option<(Place, i64)> {
        let state = self.state.lock();
        let first = || state.waiting.front().map(|item| (item.place, item.ts));
        state.sending.or_else(first)
    }

    // A message's worth: what can go together, if it is enough or has waited long enough.
    fn take(&self, most: usize, patience: Duration) -> Result<Vec<Item>, Option<Instant>> {
        let mut state = self.state.lock();
        let Some(first) = state.waiting.front() else {
            return Err(None);
        };
        let (doubt, sending) = (first.doubt, (first.place, first.ts));
        let together = state.waiting.iter().take(most).take_while(|item| item.doubt == doubt);
        let count = together.count();
        let due = state.since.unwrap_or_else(Instant::now) + patience;
        if count < most && count == state.waiting.len() && Instant::now() < due {
            return Err(Some(due));
        }
        let taken = state.waiting.drain(..count).collect();
        state.sending = Some(sending);
        state.since = (!state.waiting.is_empty()).then(Instant::now);
        Ok(taken)
    }

    fn done(&self) {
        self.state.lock().sending = None;
    }
}

/// Sends what is in a queue.
pub(super) struct Shard {
    pub shared: Arc<Shared>,
    pub queue: Arc<Queue>,
    pub share: Share,
    /// Leave it, others go on.
    pub leave: CancellationToken,
    /// The process ends: send what there is once, and leave.
    pub stop: CancellationToken,
    /// A number for a batch that was on its way.
    pub next_doubt: Arc<AtomicU64>,
}

// How a message came to its end.
enum End {
    Done,
    // It may be there.
    Left,
    // It is to be sent in parts.
    Split,
}

impl Shard {
    /// Sends until it is to leave. What it has not sent, oldest first.
    pub(super) async fn run(self) -> Vec<Item> {
        let mut peer = self.shared.target.peer();
        let mut left = Vec::new();
        while let Some(mut batch) = self.next().await {
            self.shared.room.notify_one();
            match self.send_parts(&mut peer, &mut batch).await {
                End::Done => {
                    self.queue.done();
                    self.shared.room.notify_one();
                }
                End::Left | End::Split => {
                    left = batch;
                    break;
                }
            }
        }
        let mut state = self.queue.state.lock();
        left.extend(state.waiting.drain(..));
        left
    }

    async fn next(&self) -> Option<Vec<Item>> {
        let queue = &self.shared.config.queue;
        let most = usize::try_from(queue.max_samples_per_send).unwrap_or(usize::MAX);
        loop {
            if self.leave.is_cancelled() {
                return None;
            }
            let (stopping, hurrying) = (self.stop.is_cancelled(), self.shared.hurry.is_cancelled());
            let is_waited_for = self.shared.is_waited_for.load(Ordering::Relaxed);
            let patience = match stopping || hurrying || is_waited_for {
                true => Duration::ZERO,
                false => queue.batch_send_deadline,
            };
            let due = match self.queue.take(most, patience) {
                Ok(batch) => return Some(batch),
                Err(None) if stopping => return None,
                Err(due) => due,
            };
            let due_or_never = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.queue.filled.notified() => {}
                () = due_or_never => {}
                () = self.leave.cancelled() => {}
                () = self.stop.cancelled(), if !stopping => {}
                () = self.shared.hurry.cancelled(), if !hurrying => {}
            }
        }
    }

    // Sends a message; where it is refused perhaps only for what the receiver has already, in parts.
    async fn send_parts(&self, peer: &mut Peer, batch: &mut Vec<Item>) -> End {
        // The last one is the next.
        let mut parts = vec![std::mem::take(batch)];
        while let Some(mut part) = parts.pop() {
            let Some(last) = part.last().map(|item| item.place) else {
                continue;
            };
            match self.send(peer, &mut part, last).await {
                End::Done => {}
                End::Split => {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                End::Left => {
                    batch.append(&mut part);
                    parts.into_iter().rev().for_each(|mut part| batch.append(&mut part));
                    return End::Left;
                }
            }
        }
        End::Done
    }

    // After a power cut the cursor may be older than what was taken, and a message may begin with samples that the receiver
    // has: it refuses the new ones with them. That is so only for what an earlier process logged.
    fn may_split(&self, batch: &[Item], why: &str) -> bool {
        let is_of_earlier = |item: &Item| item.doubt == 0 && item.place < self.shared.begin;
        let splits = &self.shared.splits;
        why.starts_with("server returned HTTP status 400 ")
            && self.shared.config.message == RemoteWriteMessage::V1
            && batch.len() > 1
            && batch.first().is_some_and(is_of_earlier)
            && splits
                .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
    }

    async fn send(&self, peer: &mut Peer, batch: &mut Vec<Item>, last: Place) -> End {
        let Shared {
            config,
            metrics,
            target,
            cursor,
            ..
        } = &*self.shared;
        let mut backoff = config.queue.min_backoff;
        let mut attempt = 0;
        let mut body: Option<(Bytes, Counts)> = None;
        loop {
            if self.drop_old(batch) || body.is_none() {
                body = Some(self.message(batch));
            }
            let Some((bytes, counts)) = body.clone() else {
                return End::Done;
            };
            if batch.is_empty() {
                cursor.lock().done(self.share, last);
                return End::Done;
            }
            if attempt == 0 {
                cursor.lock().tried(self.share, last);
            }
            let began = Instant::now();
            let length = bytes.len();
            let outcome = target.post(peer, bytes, &counts, attempt).await;
            let took = began.elapsed();
            metrics.seconds.observe(took.as_secs_f64());
            let (why, wait) = match outcome {
                Outcome::Taken(missing) => {
                    metrics.bytes.add(length as f64);
                    self.recovered();
                    self.shared.sent.fetch_add(counts.total(), Ordering::Relaxed);
                    self.shared
                        .sending_us
                        .fetch_add(took.as_micros() as u64, Ordering::Relaxed);
                    self.end(batch, &counts, &missing, last);
                    if missing.total() > 0 {
                        warn!(
                            remote_name = self.shared.name,
                            url = target.shown_url,
                            samples = missing.total(),
                            "remote write: the receiver has taken a message and left samples out"
                        );
                    }
                    return End::Done;
                }
                Outcome::Again(why, wait) if !is_too_many(&why) || config.queue.retry_on_http_429 => (why, wait),
                Outcome::Again(why, _) => return self.refused(batch, &counts, &Counts::default(), &why, last),
                Outcome::Refused(why, _) if self.may_split(batch, &why) => return End::Split,
                Outcome::Refused(why, written) => return self.refused(batch, &counts, &written, &why, last),
            };
            Metrics::add(&metrics.retried, &counts);
            self.failed(&why);
            if self.stop.is_cancelled() {
                return self.left(batch);
            }
            let pause = wait.unwrap_or(backoff);
            self.shared.keep_shards(pause);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.leave.cancelled() => return self.left(batch),
                () = self.stop.cancelled() => return self.left(batch),
            }
            backoff = (pause.max(config.queue.min_backoff) * 2).min(config.queue.max_backoff);
            attempt += 1;
        }
    }

    // Nobody knows whether the other side has it.
    fn left(&self, batch: &mut [Item]) -> End {
        let doubt = self.next_doubt.fetch_add(1, Ordering::Relaxed) as u32;
        batch.iter_mut().for_each(|item| item.doubt = doubt);
        End::Left
    }

    fn refused(&self, batch: &[Item], counts: &Counts, written: &Counts, why: &str, last: Place) -> End {
        let doubtful = batch.first().is_some_and(|item| item.doubt > 0);
        let mut missing = Counts::default();
        for kind in KINDS {
            missing.set(kind, counts.of(kind).saturating_sub(*written.of(kind)));
        }
        if batch.len() == 1 && batch.iter().all(|item| item.place < self.shared.begin) {
            // As a rule one of many, which the receiver has.
            debug!(
                remote_name = self.shared.name,
                why, "remote write: a sample was refused"
            );
        } else if doubtful {
            // The receiver may have it already.
            info!(
                remote_name = self.shared.name,
                url = self.shared.target.shown_url,
                samples = missing.total(),
                why,
                "remote write: samples were refused that may have been taken before they were sent again"
            );
        } else if let Some(untold) = self.tells_refusal(missing.total()) {
            error!(
                remote_name = self.shared.name,
                url = self.shared.target.shown_url,
                samples = missing.total() + untold,
                why,
                "remote write: the receiver refuses samples; they are not sent again"
            );
        }
        self.end(batch, counts, &missing, last);
        End::Done
    }

    // A receiver that refuses everything is told of now and then: how many samples were refused since the last time.
    fn tells_refusal(&self, samples: u64) -> Option<u64> {
        let mut refused = self.shared.refused.lock();
        match &mut *refused {
            Some((told, untold)) if told.elapsed() < TELL_EVERY => {
                *untold += samples;
                None
            }
            told => Some(told.replace((Instant::now(), 0)).map_or(0, |(_, untold)| untold)),
        }
    }

    // A batch need not be sent any more.
    fn end(&self, batch: &[Item], counts: &Counts, missing: &Counts, last: Place) {
        let metrics = &self.shared.metrics;
        self.shared.cursor.lock().done(self.share, last);
        self.shared.ended.fetch_add(1, Ordering::Relaxed);
        let mut taken = Counts::default();
        for kind in KINDS {
            taken.set(kind, counts.of(kind).saturating_sub(*missing.of(kind)));
            metrics.pending.of(kind).add(-(*counts.of(kind) as f64));
        }
        Metrics::add(&metrics.sent, &taken);
        Metrics::add(&metrics.failed, missing);
        let newest = batch.iter().map(|item| item.ts).max();
        if let Some(newest) = newest.filter(|_| taken.total() > 0) {
            let before = self.shared.highest_sent_ms.fetch_max(newest, Ordering::Relaxed);
            metrics.highest_sent.set(newest.max(before) as f64 / 1000.0);
        }
    }

    // Whether something was too old.
    fn drop_old(&self, batch: &mut Vec<Item>) -> bool {
        let limit = self.shared.config.queue.sample_age_limit;
        if limit.is_zero() {
            return false;
        }
        let oldest = self.shared.clock.now_ms().saturating_sub(limit.as_millis() as i64);
        let before = batch.len();
        let metrics = &self.shared.metrics;
        batch.retain(|item| {
            let is_old = item.ts < oldest;
            if is_old {
                metrics.dropped(Reason::TooOld, item.kind()).inc();
                metrics.pending.of(item.kind()).add(-1.0);
            }
            !is_old
        });
        batch.len() < before
    }

    fn message(&self, batch: &[Item]) -> (Bytes, Counts) {
        let mut counts = Counts::default();
        batch.iter().for_each(|item| counts.count(item.kind()));
        let message = match self.shared.config.message {
            RemoteWriteMessage::V1 => {
                let mut request = proto::Request::default();
                for item in batch {
                    request.add(&item.series.encoded, item.ts, &value(&item.what));
                }
                request.bytes
            }
            RemoteWriteMessage::V2 => {
                let described = self.shared.described.read();
                let mut request = proto::RequestV2::new();
                for item in batch {
                    let labels = &item.series.labels;
                    let metadata = family(labels.metric_name(), |name| described.get(name));
                    request.add(labels, (item.ts, item.start), &value(&item.what), metadata);
                }
                request.into_bytes()
            }
        };
        (compress(&message), counts)
    }

    fn failed(&self, why: &str) {
        let mut failing = self.shared.failing.lock();
        if failing.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            *failing = Some(Instant::now());
            warn!(
                remote_name = self.shared.name,
                url = self.shared.target.shown_url,
                why,
                "remote write: cannot send; it is tried again, what waits stays in the write-ahead log"
            );
        }
    }

    fn recovered(&self) {
        if self.shared.failing.lock().take().is_some() {
            info!(
                remote_name = self.shared.name,
                url = self.shared.target.shown_url,
                "remote write: sending works again"
            );
        }
    }
}

fn value(what: &What) -> Value<'_> {
    match what {
        What::Float(value) => Value::Float(*value),
        What::Histogram(value) => Value::Histogram(value),
        What::Exemplar(exemplar) => Value::Exemplar(exemplar.value, &exemplar.labels),
    }
}

/// What is said of the family that a series is of: by its name, or by that without what histograms, summaries and counters
/// put behind theirs.
fn family<'a, T>(series: &str, get: impl Fn(&str) -> Option<&'a T>) -> Option<&'a T> {
    get(series).or_else(|| {
        let suffixes = ["_bucket", "_count", "_sum", "_total", "_created", "_info"];
        let mut families = suffixes.iter().filter_map(|suffix| series.strip_suffix(suffix));
        families.find_map(get)
    })
}

/// Snappy's block format. A message longer than that format takes is not made.
pub(super) fn compress(message: &[u8]) -> Bytes {
    let compressed = snap::raw::Encoder::new().compress_vec(message);
    // It fails only beyond four gigabytes.
    compressed.map_or_else(|_| Bytes::new(), Bytes::from)
}

/// How many of each kind.
pub(super) fn pending<'a>(items: impl IntoIterator<Item = &'a Item>, metrics: &Metrics, sign: f64) {
    let mut counts = Counts::default();
    items.into_iter().for_each(|item| counts.count(item.kind()));
    for kind in [Kind::Sample, Kind::Exemplar, Kind::Histogram] {
        metrics.pending.of(kind).add(sign * *counts.of(kind) as f64);
    }
}
