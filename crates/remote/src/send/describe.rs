//! What is said of metric families, sent now and then: the first version has no place for it beside the samples.

use std::sync::Arc;
use std::time::Duration;

use cupola_storage::{Metadata, Queryable};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::metrics::Counts;
use super::post::{Outcome, is_too_many};
use super::proto;
use super::shard::{Shared, compress};

/// Sends until it is to stop.
pub(super) async fn run(shared: Arc<Shared>, storage: Arc<dyn Queryable>, stop: CancellationToken) {
    let every = shared.config.metadata.send_interval.max(Duration::from_millis(1));
    let mut tick = interval_at(Instant::now() + every, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let storage = storage.clone();
        let Ok(all) = tokio::task::spawn_blocking(move || storage.metadata()).await else {
            return;
        };
        let until = Instant::now() + every;
        tokio::select! {
            () = stop.cancelled() => return,
            () = send(&shared, &all, until) => {}
        }
    }
}

async fn send(shared: &Shared, all: &[(String, Metadata)], until: Instant) {
    let most = usize::try_from(shared.config.metadata.max_samples_per_send).unwrap_or(usize::MAX);
    let queue = &shared.config.queue;
    let metrics = &shared.metrics;
    let mut peer = shared.target.peer();
    for some in all.chunks(most.max(1)) {
        let mut request = proto::Request::default();
        some.iter()
            .for_each(|(metric, metadata)| request.describe(metric, metadata));
        let body = compress(&request.bytes);
        let count = some.len() as f64;
        let (mut attempt, mut backoff) = (0, queue.min_backoff);
        loop {
            let outcome = shared
                .target
                .post(&mut peer, body.clone(), &Counts::default(), attempt)
                .await;
            match outcome {
                Outcome::Taken(_) => {
                    metrics.metadata.add(count);
                    metrics.metadata_bytes.add(body.len() as f64);
                    break;
                }
                // The next round says the same and what is new.
                Outcome::Again(why, wait)
                    if (!is_too_many(&why) || queue.retry_on_http_429)
                        && Instant::now() + wait.unwrap_or(backoff) < until =>
                {
                    metrics.metadata_retried.add(count);
                    tokio::time::sleep(wait.unwrap_or(backoff)).await;
                    backoff = (backoff * 2).min(queue.max_backoff);
                    attempt += 1;
                }
                Outcome::Again(why, _) | Outcome::Refused(why, _) => {
                    metrics.metadata_failed.add(count);
                    warn!(
                        remote_name = shared.name,
                        url = shared.target.shown_url,
                        why,
                        "remote write: cannot send metadata"
                    );
                    break;
                }
            }
        }
    }
}
