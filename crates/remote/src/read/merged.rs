//! The own storage and other servers as one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use cupola_config::prometheus::RemoteReadConfig;
use cupola_model::{Labels, Matcher};
use cupola_storage::{
    Changes, Coarse, Hints, Metadata, Queryable, SampleSource, Samples, Selection, Series, SeriesExemplars,
    StorageError, TierUse, Version, merge_series,
};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tracing::warn;

use super::remote::{Answer, Remote};

// How soon a query that is not wanted any more is seen.
const PATIENCE: Duration = Duration::from_millis(5);

/// The time from which on the own storage has all samples, in milliseconds.
pub type LocalStart = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The own storage together with the servers of `remote_read`. Cloning shares it. Where there are none, it is the own
/// storage.
///
/// A server that fails costs its samples, not the answer: [`Queryable::incomplete`] tells of it until it answers again.
#[derive(Clone)]
pub struct RemoteReads {
    inner: Arc<Inner>,
    // Whether `incomplete` tells of servers that fail.
    tells: bool,
}

struct Inner {
    local: Arc<dyn Queryable>,
    start: LocalStart,
    handle: Handle,
    remotes: RwLock<Vec<Arc<Remote>>>,
    // By server: why its last question was not answered.
    failed: Mutex<BTreeMap<String, String>>,
}

impl RemoteReads {
    /// To be called inside of a runtime, which then asks the servers.
    #[must_use]
    pub fn new(local: Arc<dyn Queryable>, start: LocalStart) -> Self {
        Self {
            inner: Arc::new(Inner {
                local,
                start,
                handle: Handle::current(),
                remotes: RwLock::default(),
                failed: Mutex::default(),
            }),
            tells: true,
        }
    }

    /// The same for rules, which go on where a server fails.
    #[must_use]
    pub fn for_rules(&self) -> Self {
        Self {
            tells: false,
            ..self.clone()
        }
    }

    /// Asks these servers from now on.
    ///
    /// # Errors
    /// Which one cannot be asked; nothing has changed then.
    pub fn apply(&self, configs: &[RemoteReadConfig], external_labels: &Labels) -> Result<(), String> {
        let remotes = configs
            .iter()
            .map(|config| Remote::new(config, external_labels).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        *self.inner.remotes.write() = remotes;
        self.inner.failed.lock().clear();
        Ok(())
    }

    fn is_alone(&self) -> bool {
        self.inner.remotes.read().is_empty()
    }

    // What the servers have, one list for each that answered.
    fn ask(
        &self,
        selection: &Selection<'_>,
        func: &str,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Answer>, StorageError> {
        let remotes = self.inner.remotes.read().clone();
        if remotes.is_empty() {
            return Ok(Vec::new());
        }
        let start = (self.inner.start)();
        let (send, receive) = channel();
        let mut asked = Asked(Vec::new());
        for (at, remote) in remotes.iter().enumerate() {
            let Some(question) = remote.question(selection, start, func) else {
                continue;
            };
            let (remote, send) = (remote.clone(), send.clone());
            let task = self.inner.handle.spawn(async move {
                // Nobody waits any more: that is all right.
                let _ = send.send((at, remote.ask(&question).await));
            });
            asked.0.push(task.abort_handle());
        }
        drop(send);
        let mut answers: Vec<Option<Answer>> = remotes.iter().map(|_| None).collect();
        let mut missing = asked.0.len();
        while missing > 0 {
            match receive.recv_timeout(PATIENCE) {
                Ok((at, answer)) => {
                    missing -= 1;
                    self.note(remotes.get(at), &answer);
                    if let (Some(place), Ok(answer)) = (answers.get_mut(at), answer) {
                        *place = Some(answer);
                    }
                }
                Err(RecvTimeoutError::Timeout) if go_on() => {}
                Err(RecvTimeoutError::Timeout) => return Err(StorageError::Stopped),
                // A task broke off; its server has no answer.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    fn note(&self, remote: Option<&Arc<Remote>>, answer: &Result<Answer, String>) {
        let Some(remote) = remote else { return };
        let shown = remote.shown();
        let mut failed = self.inner.failed.lock();
        match answer {
            Ok(_) => {
                failed.remove(&shown);
            }
            Err(error) => {
                warn!(remote = shown, %error, "remote read failed");
                failed.insert(shown, error.clone());
            }
        }
    }
}

/// What of a configuration nothing can be read with, as one text each. To be asked before [`RemoteReads::apply`].
#[must_use]
pub fn read_mistakes(configs: &[RemoteReadConfig]) -> Vec<String> {
    let remote = |config| Remote::new(config, &Labels::empty()).err();
    let told = |(n, config)| remote(config).map(|why| format!("remote_read[{n}]: {why}"));
    configs.iter().enumerate().filter_map(told).collect()
}

// What is asked and not answered yet, given up with the query.
struct Asked(Vec<AbortHandle>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

// What a server answered.
struct Answered(Samples);

impl SampleSource for Answered {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let between = |all: &[i64]| {
            let begin = all.partition_point(|ts| *ts < mint);
            begin..all.partition_point(|ts| *ts <= maxt).max(begin)
        };
        let floats = between(&self.0.ts);
        for (ts, value) in self.0.ts.iter().zip(&self.0.values).take(floats.end).skip(floats.start) {
            out.push(*ts, *value);
        }
        let own = &self.0.histograms;
        let histograms = between(&own.ts);
        for (ts, value) in own
            .ts
            .iter()
            .zip(&own.values)
            .take(histograms.end)
            .skip(histograms.start)
        {
            out.histograms.push(*ts, value.clone(), 0);
        }
        Ok(())
    }
}

fn series(answer: Answer) -> Vec<Series> {
    let one = |(labels, samples)| Series {
        labels,
        source: Box::new(Answered(samples)) as Box<dyn SampleSource>,
    };
    answer.into_iter().map(one).collect()
}

impl Queryable for RemoteReads {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        self.select_while(selection, &|| true)
    }

    fn select_while(&self, selection: &Selection<'_>, go_on: &dyn Fn() -> bool) -> Result<Vec<Series>, StorageError> {
        self.select_hinted(selection, Hints::default(), go_on)
    }

    fn select_hinted(
        &self,
        selection: &Selection<'_>,
        hints: Hints,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Series>, StorageError> {
        let local = self.inner.local.select_hinted(selection, hints, go_on)?;
        let answers = self.ask(selection, "", go_on)?;
        let parts = std::iter::once(local).chain(answers.into_iter().map(series));
        Ok(merge_series(parts.collect()))
    }

    fn series(&self, selection: &Selection<'_>) -> Result<Vec<Labels>, StorageError> {
        let mut sets = self.inner.local.series(selection)?;
        let answers = self.ask(selection, "series", &|| true)?;
        if !answers.is_empty() {
            sets.extend(answers.into_iter().flatten().map(|(labels, _)| labels));
            sets.sort();
            sets.dedup();
        }
        Ok(sets)
    }

    // As upstream, servers are not asked for names and values.
    fn label_names(&self, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        self.inner.local.label_names(selection)
    }

    fn label_values(&self, name: &str, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        self.inner.local.label_values(name, selection)
    }

    fn exemplars(&self, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Result<Vec<SeriesExemplars>, StorageError> {
        self.inner.local.exemplars(sets, mint, maxt)
    }

    fn metadata(&self) -> Vec<(String, Metadata)> {
        self.inner.local.metadata()
    }

    fn tiers(&self, mint: i64, maxt: i64, coarse: &Coarse) -> Option<TierUse> {
        self.inner.local.tiers(mint, maxt, coarse)
    }

    fn select_coarse(
        &self,
        selection: &Selection<'_>,
        coarse: &Coarse,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Series>, StorageError> {
        let local = self.inner.local.select_coarse(selection, coarse, go_on)?;
        let answers = self.ask(selection, "", go_on)?;
        let counted = coarse.aggregate == cupola_storage::Aggregate::Count;
        let remote = answers.into_iter().map(|answer| {
            let all = series(answer).into_iter();
            all.map(|series| if counted { series.counted() } else { series })
                .collect()
        });
        Ok(merge_series(std::iter::once(local).chain(remote).collect()))
    }

    fn incomplete(&self) -> Option<String> {
        let local = self.inner.local.incomplete();
        if local.is_some() || !self.tells {
            return local;
        }
        let failed = self.inner.failed.lock();
        let all: Vec<_> = failed
            .iter()
            .map(|(remote, error)| format!("remote_read: {remote}: {error}"))
            .collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn changes(&self, since: &Version) -> Option<Changes> {
        // What other servers have changes without a word.
        self.is_alone().then(|| self.inner.local.changes(since)).flatten()
    }
}
