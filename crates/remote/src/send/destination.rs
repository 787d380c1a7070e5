//! One destination: reads the log, spreads what it finds over shards, and notes how far it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cupola_env::Vfs;
use cupola_storage::{LogPosition, Tailable};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::cursor::{LANES, Place, Share};
use super::desired::{Rates, Seen};
use super::holds::Holds;
use super::reader::{Item, Read, Reader};
use super::shard::{Queue, Shard, Shared, pending};

// So many samples are read at once.
const READ_AT_ONCE: usize = 10_000;
// At its end the log is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOK_IN_A_HURRY: Duration = Duration::from_millis(20);
// After an error.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);
// No shard is so much ahead of another: a receiver refuses what is an hour older than its newest sample.
const DRIFT_MS: i64 = 10 * 60_000;
const NOTE_EVERY: Duration = Duration::from_secs(1);
const RESHARD_EVERY: Duration = Duration::from_secs(10);
const FORGET_EVERY: Duration = Duration::from_secs(300);
// Batches that broke off in this process have numbers from here on; those of an earlier one, their shard's number and one.
const FIRST_DOUBT: u64 = 1 << 16;

pub(super) struct Destination {
    pub key: String,
    pub shared: Arc<Shared>,
    pub log: Arc<dyn Tailable>,
    pub vfs: Arc<dyn Vfs>,
    pub holds: Arc<Holds>,
    pub stop: CancellationToken,
}

// The shards that run now.
struct Shards {
    queues: Vec<Arc<Queue>>,
    tasks: Vec<JoinHandle<Vec<Item>>>,
    leave: CancellationToken,
}

impl Drop for Shards {
    fn drop(&mut self) {
        // What was on its way is in doubt then; the cursor says so.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

// Everything that changes while it runs.
struct Running {
    shards: Shards,
    waiting: VecDeque<Item>,
    // `None` while it reads, on another thread.
    reader: Option<Reader>,
    position: LogPosition,
    next_doubt: Arc<AtomicU64>,
    rates: Rates,
    seen: Seen,
    looked: Instant,
}

impl Destination {
    /// Sends until it is to stop.
    pub(super) async fn run(self, reader: Reader) {
        let limits = self.limits();
        let before = u64::from(self.shared.cursor.lock().state().shards);
        let next_doubt = Arc::new(AtomicU64::new(FIRST_DOUBT));
        let mut running = Running {
            shards: self.start(before.clamp(limits.0, limits.1), &next_doubt),
            waiting: VecDeque::new(),
            position: reader.position(),
            reader: Some(reader),
            next_doubt,
            rates: Rates::default(),
            seen: Seen::default(),
            looked: Instant::now(),
        };
        let metrics = &self.shared.metrics;
        metrics.shards_min.set(limits.0 as f64);
        metrics.shards_max.set(limits.1 as f64);
        metrics.shards_desired.set(running.shards.queues.len() as f64);
        metrics.capacity.set(self.shared.config.queue.capacity as f64);
        metrics
            .per_send
            .set(self.shared.config.queue.max_samples_per_send as f64);
        self.work(&mut running).await;
        self.end(running).await;
    }

    async fn work(&self, running: &mut Running) {
        let tick = |every| {
            let mut tick = interval_at(Instant::now() + every, every);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tick
        };
        let (mut note, mut reshard, mut forget) = (tick(NOTE_EVERY), tick(RESHARD_EVERY), tick(FORGET_EVERY));
        let mut reading: Option<JoinHandle<(Reader, Read, bool)>> = None;
        let mut look_at = Instant::now();
        let hurry = &self.shared.hurry;
        let mut hurries = false;
        loop {
            self.put(running);
            if hurry.is_cancelled() {
                // Also when that was just seen.
                if !std::mem::replace(&mut hurries, true) {
                    look_at = Instant::now();
                }
                self.shared
                    .is_drained
                    .store(self.is_drained(running), Ordering::Relaxed);
            }
            if running.waiting.is_empty()
                && reading.is_none()
                && Instant::now() >= look_at
                && let Some(mut reader) = running.reader.take()
            {
                reading = Some(tokio::task::spawn_blocking(move || {
                    let mut read = Read::default();
                    let outcome = reader.read(READ_AT_ONCE, &mut read);
                    if let Err(error) = &outcome {
                        warn!(%error, "remote write: cannot read the write-ahead log; it is tried again");
                    }
                    (reader, read, outcome.is_ok())
                }));
            }
            let idle = reading.is_none() && running.waiting.is_empty();
            let read = async {
                match &mut reading {
                    Some(reading) => reading.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => break,
                read = read => {
                    reading = None;
                    let Ok((reader, read, is_well)) = read else {
                        warn!(remote_name = self.shared.name, "remote write: reading the log broke off; nothing more is sent until the next reload or start");
                        self.stop.cancelled().await;
                        return;
                    };
                    look_at = Instant::now() + match (is_well, read.is_more) {
                        (false, _) => LOOK_AGAIN_AFTER,
                        (true, true) => Duration::ZERO,
                        (true, false) if hurries => LOOK_IN_A_HURRY,
                        (true, false) => LOOK_EVERY,
                    };
                    running.position = reader.position();
                    running.reader = Some(reader);
                    self.take(running, read);
                }
                () = self.shared.room.notified(), if !running.waiting.is_empty() => {}
                () = hurry.cancelled(), if !hurries => {}
                () = tokio::time::sleep_until(look_at), if idle => {}
                _ = note.tick() => {
                    self.tell_newest(running);
                    self.note(self.low(running)).await;
                }
                _ = reshard.tick() => self.reshard(running).await,
                _ = forget.tick() => {
                    if let Some(mut reader) = running.reader.take() {
                        let end = self.log.log_bounds().1;
                        let forgetting = tokio::task::spawn_blocking(move || {
                            reader.forget(end);
                            reader
                        });
                        match forgetting.await {
                            Ok(reader) => running.reader = Some(reader),
                            Err(_) => return,
                        }
                    }
                }
            }
        }
        if let Some(reading) = reading
            && let Ok((reader, read, _)) = reading.await
        {
            running.position = reader.position();
            running.reader = Some(reader);
            self.take(running, read);
        }
    }

    fn limits(&self) -> (u64, u64) {
        let queue = &self.shared.config.queue;
        let max = queue.max_shards.clamp(1, LANES as u64);
        (queue.min_shards.clamp(1, max), max)
    }

    fn start(&self, count: u64, next_doubt: &Arc<AtomicU64>) -> Shards {
        let queue = &self.shared.config.queue;
        // As upstream there is room for one message, whatever the capacity: one that never fills waits for its deadline.
        let capacity = queue.capacity.max(queue.max_samples_per_send);
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        let leave = CancellationToken::new();
        let queues: Vec<Arc<Queue>> = (0..count).map(|_| Arc::new(Queue::new(capacity))).collect();
        let of = queues.len() as u16;
        let run = |(shard, queue): (u16, &Arc<Queue>)| {
            let shard = Shard {
                shared: self.shared.clone(),
                queue: queue.clone(),
                share: Share { shard, of },
                leave: leave.clone(),
                stop: self.stop.clone(),
                next_doubt: next_doubt.clone(),
            };
            tokio::spawn(shard.run())
        };
        let tasks = (0..).zip(&queues).map(run).collect();
        self.shared.metrics.shards.set(count as f64);
        Shards { queues, tasks, leave }
    }

    // Takes in what was read.
    fn take(&self, running: &mut Running, mut read: Read) {
        running.seen.read += read.read;
        running.seen.dropped += read.dropped;
        let metrics = &self.shared.metrics;
        pending(&read.items, metrics, 1.0);
        running.waiting.append(&mut read.items);
        if let Some(newest) = read.newest_ms {
            metrics
                .highest_read
                .set(metrics.highest_read.get().max(newest as f64 / 1000.0));
        }
    }

    // Puts what waits into the shards' queues, in its order, until one is full, or too far behind the others.
    fn put(&self, running: &mut Running) {
        if running.waiting.is_empty() {
            return;
        }
        let queues = &running.shards.queues;
        let mut touched = vec![false; queues.len()];
        let mut oldest: Vec<i64> = queues
            .iter()
            .map(|queue| queue.oldest().map_or(i64::MAX, |(_, ts)| ts))
            .collect();
        let mut least = oldest.iter().copied().min().unwrap_or(i64::MAX);
        let mut is_ahead = false;
        while let Some(item) = running.waiting.pop_front() {
            let shard = usize::from(item.series.lane) % queues.len().max(1);
            let Some(queue) = queues.get(shard) else { break };
            if item.ts > least.saturating_add(DRIFT_MS) {
                // What is in its own shard goes before it in any case.
                let others = (0..).zip(&oldest).filter(|(other, _)| *other != shard);
                is_ahead = others
                    .map(|(_, ts)| ts)
                    .min()
                    .is_some_and(|ts| item.ts > ts.saturating_add(DRIFT_MS));
                if is_ahead {
                    running.waiting.push_front(item);
                    break;
                }
            }
            least = least.min(item.ts);
            if let Some(oldest) = oldest.get_mut(shard).filter(|oldest| **oldest == i64::MAX) {
                *oldest = item.ts;
            }
            if let Err(item) = queue.push(item) {
                self.shared.metrics.enqueue_retries.inc();
                running.waiting.push_front(item);
                break;
            }
            if let Some(touched) = touched.get_mut(shard) {
                *touched = true;
            }
        }
        self.shared.is_waited_for.store(is_ahead, Ordering::Relaxed);
        for (queue, touched) in queues.iter().zip(touched) {
            if touched || is_ahead {
                queue.wake();
            }
        }
    }

    // Nothing before it is needed any more. What is being read just now lies behind the position from before.
    fn low(&self, running: &Running) -> LogPosition {
        let oldest = running.shards.queues.iter().filter_map(|queue| queue.oldest());
        let oldest = oldest.map(|(place, _)| place);
        let waiting = running.waiting.front().map(|item| item.place);
        let oldest = oldest.chain(waiting).min().map(Place::position);
        oldest.map_or(running.position, |oldest| oldest.min(running.position))
    }

    // While something waits in queues, what waits in the log behind it is as new as it can be.
    fn tell_newest(&self, running: &Running) {
        let waits = running.shards.queues.iter().any(|queue| queue.oldest().is_some());
        if waits
            && running.position < self.log.log_bounds().1
            && let Some(newest) = self.log.newest_ms()
        {
            let highest = &self.shared.metrics.highest_read;
            highest.set(highest.get().max(newest as f64 / 1000.0));
        }
    }

    fn is_drained(&self, running: &Running) -> bool {
        self.low(running) >= self.log.log_bounds().1
    }

    async fn note(&self, low: LogPosition) {
        let (shared, vfs) = (self.shared.clone(), self.vfs.clone());
        let noted = tokio::task::spawn_blocking(move || {
            let (low, unsynced) = {
                let mut cursor = shared.cursor.lock();
                cursor.low(low);
                (cursor.state().low, cursor.tidy())
            };
            match unsynced {
                Some(path) => vfs.open_append(&path).and_then(|mut file| file.sync()).map(|()| low),
                None => Ok(low),
            }
        });
        match noted.await {
            // The log before it may go only once that is on the device.
            Ok(Ok(low)) => self.holds.set(&self.key, low),
            Ok(Err(error)) => {
                warn!(remote_name = self.shared.name, %error, "remote write: cannot sync how far it is; the log stays until it can");
            }
            Err(_) => {}
        }
    }

    async fn reshard(&self, running: &mut Running) {
        let took = running.looked.elapsed();
        running.looked = Instant::now();
        let mut seen = std::mem::take(&mut running.seen);
        seen.sent = self.shared.sent.swap(0, Ordering::Relaxed);
        seen.sending = Duration::from_micros(self.shared.sending_us.swap(0, Ordering::Relaxed));
        let has_sent = seen.sent > 0;
        running.rates.note(seen, took);
        let newest = self.log.newest_ms().unwrap_or(0);
        let delay = newest.saturating_sub(self.shared.highest_sent_ms.load(Ordering::Relaxed));
        let delay = Duration::from_millis(u64::try_from(delay).unwrap_or(0));
        let now = running.shards.queues.len() as u64;
        let (min, max) = self.limits();
        let (desired, number) = running.rates.desired(now, delay, min, max);
        self.shared.metrics.shards_desired.set(desired);
        // While nothing gets through, more of the same does not help.
        if number == now || !has_sent || !self.shared.may_reshard() {
            return;
        }
        info!(
            remote_name = self.shared.name,
            from = now,
            to = number,
            "remote write: number of shards changes"
        );
        let mut left = self.leave(&mut running.shards).await;
        // Those of one series were all in one queue, in their order, and are again.
        left.sort_by_key(|item| item.place);
        let mut waiting: VecDeque<Item> = left.into();
        waiting.append(&mut running.waiting);
        running.waiting = waiting;
        running.shards = self.start(number, &running.next_doubt);
    }

    // Ends the shards. What they have not sent.
    async fn leave(&self, shards: &mut Shards) -> Vec<Item> {
        shards.leave.cancel();
        Self::left(shards).await
    }

    async fn left(shards: &mut Shards) -> Vec<Item> {
        let mut left = Vec::new();
        // They stay where they are aborted until all have ended.
        for task in &mut shards.tasks {
            left.append(&mut task.await.unwrap_or_default());
        }
        shards.tasks.clear();
        left
    }

    // Sends what is there once and notes how far that came. Whoever waits for it ends it where it takes too long.
    async fn end(&self, mut running: Running) {
        let mut left = Self::left(&mut running.shards).await;
        left.extend(running.waiting.drain(..));
        running.waiting = {
            left.sort_by_key(|item| item.place);
            left.into()
        };
        self.note(self.low(&running)).await;
    }
}

#[cfg(test)]
mod tests;
