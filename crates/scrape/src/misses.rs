//! Scrapes that brought nothing. Each leaves the same few samples behind, and where thousands of targets are down, they
//! come all the time: those of a quarter of a second make one batch, which is one write to the log and one hand-over to a
//! thread that may write. Their tasks do not wait for it.

use std::sync::Arc;
use std::time::Duration;

use cupola_config::prometheus::ScrapeConfig;
use cupola_storage::Appendable;
use http::Uri;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::failures;
use crate::ingest::{Counts, Ingester, batch};
use crate::metrics::Metrics;
use crate::runner::report;
use crate::status::StatusCell;

const GATHERED_FOR: Duration = Duration::from_millis(250);

/// A scrape that brought nothing.
pub(crate) struct Missed {
    pub config: Arc<ScrapeConfig>,
    pub url: Uri,
    pub ingester: Box<Ingester>,
    /// Where it is told.
    pub status: Arc<StatusCell>,
    /// When it was, in milliseconds.
    pub ts: i64,
    /// How long it took.
    pub seconds: f64,
    /// What `scrape_body_size_bytes` says.
    pub bytes: f64,
    /// What the targets page tells.
    pub error: String,
}

/// Those of all targets that wait for the next batch.
pub(crate) struct Misses {
    storage: Arc<dyn Appendable>,
    metrics: Metrics,
    tasks: TaskTracker,
    waiting: Mutex<Vec<(Missed, oneshot::Sender<Box<Ingester>>)>>,
}

impl Misses {
    pub(crate) fn new(storage: Arc<dyn Appendable>, metrics: Metrics, tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            storage,
            metrics,
            tasks,
            waiting: Mutex::default(),
        })
    }

    /// Ends the series of the target, reports the scrape and tells of it, with those of others. The target's ingester is given
    /// back then, unless that broke off.
    pub(crate) fn store(self: &Arc<Self>, missed: Missed) -> oneshot::Receiver<Box<Ingester>> {
        let (reply, stored) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting.lock();
            waiting.push((missed, reply));
            waiting.len() == 1
        };
        if is_first {
            let all = self.clone();
            self.tasks.spawn(async move {
                tokio::time::sleep(GATHERED_FOR).await;
                let done = tokio::task::spawn_blocking(move || all.flush()).await;
                if let Err(broken) = done {
                    error!(error = %broken, "reporting failed scrapes broke off");
                }
            });
        }
        stored
    }

    fn flush(&self) {
        let mut all = std::mem::take(&mut *self.waiting.lock());
        let stored = batch(&*self.storage, |appender| {
            for (missed, _) in &mut all {
                missed.ingester.end(missed.ts, appender);
                let (config, ts) = (missed.config.clone(), missed.ts);
                let what = (false, Counts::default(), missed.bytes, missed.seconds);
                report(&mut missed.ingester, &config, what, ts, appender);
            }
            Ok::<(), std::convert::Infallible>(())
        });
        let failed = stored.err().map(|error| {
            self.metrics.commit_failed.add(all.len() as f64);
            format!("the samples could not be stored: {error}")
        });
        for (missed, reply) in all {
            let error = failed.clone().unwrap_or(missed.error);
            let (config, url) = (missed.config, missed.url);
            failures::tell(&config, &url, missed.ts, &error, &self.metrics);
            // Once per change, not once per scrape.
            if missed.status.is_other(&error) {
                warn!(target = %url, pool = config.job_name, error, "scrape failed");
            }
            missed.status.fail(error, missed.ts, missed.seconds);
            // Nobody waits for it where the target has gone.
            let _ = reply.send(missed.ingester);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cupola_config::parse_prometheus;
    use cupola_histogram::NativeHistogram;
    use cupola_metrics::Registry;
    use cupola_model::{Labels, SeriesRef};
    use cupola_storage::{AppendError, Appender, CommitError};

    use super::*;
    use crate::target::Histograms;

    // Counts batches and writes down what is in them.
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<(usize, Vec<String>)>>);

    impl Appendable for Recorder {
        fn appender(&self) -> Box<dyn Appender + '_> {
            Box::new(self.clone())
        }
    }

    impl Appender for Recorder {
        fn append(
            &mut self,
            _: Option<SeriesRef>,
            labels: &Labels,
            ts: i64,
            value: f64,
        ) -> Result<SeriesRef, AppendError> {
            self.0.lock().1.push(format!("{labels} {value} @{ts}"));
            Ok(SeriesRef(0))
        }

        fn append_known(&mut self, _: SeriesRef, _: i64, _: f64) -> Result<bool, AppendError> {
            Ok(true)
        }

        fn append_histogram(
            &mut self,
            _: Option<SeriesRef>,
            _: &Labels,
            _: i64,
            _: NativeHistogram,
        ) -> Result<SeriesRef, AppendError> {
            Ok(SeriesRef(0))
        }

        fn commit(self: Box<Self>) -> Result<(), CommitError> {
            self.0.lock().0 += 1;
            Ok(())
        }
    }

    #[tokio::test]
    async fn targets_that_are_down_at_one_time_share_a_batch_and_each_is_told() {
        let yaml = "scrape_configs: [{job_name: j, extra_scrape_metrics: true}]\n";
        let config = parse_prometheus(yaml, Path::new("p.yml")).unwrap().scrape_configs;
        let config = Arc::new(config.into_iter().next().unwrap());
        let (storage, tasks) = (Recorder::default(), TaskTracker::new());
        let misses = Misses::new(
            Arc::new(storage.clone()),
            Metrics::new(&Registry::default()),
            tasks.clone(),
        );
        let statuses: Vec<Arc<StatusCell>> = (0..5).map(|_| Arc::default()).collect();
        let miss = |n: i64| {
            let labels = Labels::from_pairs([("instance", format!("t:{n}"))]);
            misses.store(Missed {
                config: config.clone(),
                url: "http://127.0.0.1:1/metrics".parse().unwrap(),
                ingester: Box::new(Ingester::new(labels, Histograms::of(&config), Arc::default())),
                status: statuses[n as usize].clone(),
                ts: 1000 + n,
                seconds: 0.5,
                bytes: -1.0,
                error: format!("down {n}"),
            })
        };
        let (a, b, c) = tokio::join!(miss(1), miss(2), miss(3));
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        let told = [1, 2, 3].map(|n: usize| statuses[n].get());
        assert_eq!(told.clone().map(|last| last.error), ["down 1", "down 2", "down 3"]);
        assert_eq!(told.map(|last| last.at), [Some(1001), Some(1002), Some(1003)]);
        let recorded = storage.0.lock().clone();
        assert_eq!(recorded.0, 1, "three targets make one batch");
        for line in [
            r#"{__name__="up", instance="t:2"} 0 @1002"#,
            r#"{__name__="scrape_duration_seconds", instance="t:3"} 0.5 @1003"#,
            r#"{__name__="scrape_body_size_bytes", instance="t:1"} -1 @1001"#,
        ] {
            assert!(recorded.1.iter().any(|l| l == line), "{line}: {:#?}", recorded.1);
        }
        // The next one begins a batch of its own.
        assert!(miss(4).await.is_ok());
        assert_eq!(storage.0.lock().0, 2);
        tasks.close();
        tasks.wait().await;
    }
}
