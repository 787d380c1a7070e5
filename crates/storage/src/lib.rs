//! The traits between those who hold samples (`tsdb`, `block`, later remote storages) and those who ask (`engine`,
//! `web`) or write (`scrape`, `rules`, remote write).
//!
//! Reading is columnar: a selected series hands out whole runs of samples into buffers that the caller owns and
//! reuses. *Invariant:* no clock, no disk, no async, and no knowledge of PromQL.

mod changes;
mod exemplars;
mod merge;
mod metadata;
mod samples;
mod starts;
mod tail;
mod tiers;

use std::fmt;

use cupola_histogram::{Invalid, NativeHistogram};
use cupola_model::{Labels, Matcher, STALE_NAN, SeriesRef};
use thiserror::Error;

pub use changes::{ChangeLog, Changes, Version};
pub use exemplars::{Exemplar, ExemplarError, SeriesExemplars};
pub use merge::{CountedSource, Fanout, MergedSource, merge_series};
pub use metadata::Metadata;
pub use samples::{HistogramSamples, SampleValue, Samples};
pub use starts::Starts;
pub use tail::{LogBatch, LogPosition, LogSample, LogTail, LogValue, Tailable};
pub use tiers::{AGGREGATE_LABEL, Aggregate, Coarse, TierUse};

/// Why reading failed.
#[derive(Debug, Error)]
pub enum StorageError {
    /// Whoever asked does not want the answer any more.
    #[error("selecting was stopped")]
    Stopped,
    /// What is stored cannot be read; the text says where.
    #[error("{0}")]
    Corrupt(String),
    /// The disk or its driver failed.
    #[error("{what}: {source}")]
    Io {
        /// Which file, and what was done with it.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// What to select. Times are milliseconds since the epoch, both inclusive.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// All must hold.
    pub matchers: &'a [Matcher],
    /// Oldest sample of interest.
    pub mint: i64,
    /// Newest sample of interest.
    pub maxt: i64,
}

/// What else is known about a selection. It changes no answer but by what it says that nobody looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hints {
    /// Of each series only the newest sample of the range counts, and not since when; others may be left out.
    pub newest: bool,
    /// The same will be asked again soon, as rules do: what was found out may be kept. The matchers are those of a PromQL
    /// selector, so that the same text is the same matcher.
    pub repeats: bool,
}

/// Gives the samples of one series.
pub trait SampleSource: Send + Sync {
    /// Appends the samples with `mint <= ts <= maxt` to `out`, ascending in time, staleness markers included.
    ///
    /// # Errors
    /// [`StorageError`] where the stored bytes cannot be read; `out` may then hold a part.
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError>;

    /// Times that no sample lies outside, both inclusive, as far as they are known without reading. Sources of one
    /// series whose spans do not overlap are read one after the other without merging.
    fn span(&self) -> (i64, i64) {
        (i64::MIN, i64::MAX)
    }
}

/// One selected series.
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Where its samples come from.
    pub source: Box<dyn SampleSource>,
}

impl Series {
    /// The same series with a 1 in the place of each sample, staleness markers left out.
    #[must_use]
    pub fn counted(self) -> Self {
        Self {
            source: Box::new(CountedSource(self.source)),
            ..self
        }
    }
}

/// Answers selections. A reader sees a batch of one [`Appender`] either whole or not at all.
pub trait Queryable: Send + Sync {
    /// The series that satisfy all matchers and may have samples in the range, each once, in no particular order.
    ///
    /// # Errors
    /// [`StorageError`] where an index cannot be read.
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, StorageError>;

    /// As [`Queryable::select`], but gives up soon after `go_on` said `false`: for selections of a million series. It is
    /// asked now and then.
    ///
    /// # Errors
    /// [`StorageError::Stopped`] where it gave up, and as [`Queryable::select`].
    fn select_while(&self, selection: &Selection<'_>, go_on: &dyn Fn() -> bool) -> Result<Vec<Series>, StorageError> {
        if go_on() {
            self.select(selection)
        } else {
            Err(StorageError::Stopped)
        }
    }

    /// As [`Queryable::select_while`], for whoever can say more about it.
    ///
    /// # Errors
    /// As [`Queryable::select_while`].
    fn select_hinted(
        &self,
        selection: &Selection<'_>,
        hints: Hints,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Series>, StorageError> {
        let _ = hints;
        self.select_while(selection, go_on)
    }

    /// The label sets of the series that `select` would give, sorted.
    ///
    /// # Errors
    /// As [`Queryable::select`].
    fn series(&self, selection: &Selection<'_>) -> Result<Vec<Labels>, StorageError> {
        let mut sets: Vec<Labels> = self
            .select(selection)?
            .into_iter()
            .map(|series| series.labels)
            .collect();
        sets.sort();
        Ok(sets)
    }

    /// All label names of matching series, sorted, each once.
    ///
    /// # Errors
    /// As [`Queryable::select`].
    fn label_names(&self, selection: &Selection<'_>) -> Result<Vec<String>, StorageError>;

    /// All values of the label `name` on matching series, sorted, each once.
    ///
    /// # Errors
    /// As [`Queryable::select`].
    fn label_values(&self, name: &str, selection: &Selection<'_>) -> Result<Vec<String>, StorageError>;

    /// The exemplars between two times, milliseconds, both inclusive, of each series that satisfies all matchers of one of
    /// `sets`, sorted by labels. None by default.
    ///
    /// # Errors
    /// Where what is stored cannot be read.
    fn exemplars(&self, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Result<Vec<SeriesExemplars>, StorageError> {
        let _ = (sets, mint, maxt);
        Ok(Vec::new())
    }

    /// What was said of metric families, by name, sorted. None by default.
    fn metadata(&self) -> Vec<(String, Metadata)> {
        Vec::new()
    }

    /// What of the times from `mint` to `maxt` [`Queryable::select_coarse`] would answer from downsampled tiers; `None`
    /// where it would answer nothing, as for storages that have no tiers.
    fn tiers(&self, mint: i64, maxt: i64, coarse: &Coarse) -> Option<TierUse> {
        let _ = (mint, maxt, coarse);
        None
    }

    /// As [`Queryable::select_while`], with samples of downsampled tiers in the place of samples where `coarse` allows it
    /// and where the samples are gone. The series have the same labels as without. To be asked only where
    /// [`Queryable::tiers`] says that there is something to it.
    ///
    /// # Errors
    /// As [`Queryable::select_while`].
    fn select_coarse(
        &self,
        selection: &Selection<'_>,
        coarse: &Coarse,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Series>, StorageError> {
        let series = self.select_while(selection, go_on)?;
        Ok(if coarse.aggregate == Aggregate::Count {
            series.into_iter().map(Series::counted).collect()
        } else {
            series
        })
    }

    /// What is missing in answers for the time being, as a warning to whoever reads them; `None` where nothing is.
    fn incomplete(&self) -> Option<String> {
        None
    }

    /// What changed since the state `since`, by appending, deleting, retention or whatever else. `None` where this
    /// storage does not know; nothing can be kept of its answers then.
    ///
    /// Whoever keeps an answer reads the version before selecting: what is committed in between is told as a change
    /// later, whether the selection saw it or not.
    fn changes(&self, since: &Version) -> Option<Changes> {
        let _ = since;
        None
    }
}

/// Why one sample was refused. The texts are Prometheus's.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum AppendError {
    /// Older than the series' newest sample.
    #[error("out of order sample")]
    OutOfOrder,
    /// Out of order, and older than the window for such samples.
    #[error("too old sample")]
    TooOld,
    /// Too old for the head.
    #[error("out of bounds")]
    OutOfBounds,
    /// The same timestamp came with another value.
    #[error("duplicate sample for timestamp")]
    Duplicate,
    /// The label set has no label or names none twice.
    #[error("invalid label set")]
    InvalidLabels,
    /// The parts of a native histogram do not belong together.
    #[error(transparent)]
    InvalidHistogram(Box<Invalid>),
    /// A native histogram cuts its buckets into so many empty spans that a chunk does not hold it. Ours; nobody sends
    /// such a thing.
    #[error("histogram has too many empty spans")]
    EmptySpans,
    /// The series is new, and there are as many as there may be. Ours; Prometheus has no such limit.
    #[error("{0}")]
    TooManySeries(SeriesLimit),
}

/// A limit on the number of series that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesLimit {
    /// Of what.
    pub scope: SeriesScope,
    /// How many there may be.
    pub limit: usize,
}

/// What a limit on series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeriesScope {
    /// All series in memory.
    All,
    /// Those of one metric name.
    Metric,
    /// Those with one value of the label `job`.
    Job,
}

impl fmt::Display for SeriesLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.scope {
            SeriesScope::All => "in memory",
            SeriesScope::Metric => "of one metric",
            SeriesScope::Job => "of one job",
        };
        write!(f, "limit of {} series {of} reached, new series are refused", self.limit)
    }
}

/// Why a batch could not be acknowledged; nothing of it is visible then.
#[derive(Debug, Error)]
pub enum CommitError {
    /// The write-ahead log could not be written (disk full, read-only, failing).
    #[error("write-ahead log: {0}")]
    Log(#[source] std::io::Error),
    /// The batch is longer than the log takes at once; it would be each time. The text says how long it is and may be.
    #[error("write-ahead log: {0}")]
    TooLong(String),
    /// The storage is shutting down.
    #[error("storage is closed")]
    Closed,
}

/// Collects one batch, usually one scrape or one rule evaluation, and makes it durable and visible at once.
pub trait Appender: Send {
    /// Adds a sample to the batch; `known` is what an earlier call returned for the same labels and saves the look-up.
    ///
    /// A `known` that the storage has forgotten is ignored. A sample equal to the newest one (same time, same bits) is
    /// accepted and changes nothing.
    ///
    /// # Errors
    /// [`AppendError`] concerns this sample alone; the batch goes on.
    fn append(
        &mut self,
        known: Option<SeriesRef>,
        labels: &Labels,
        ts: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError>;

    /// Adds a sample of a series that an earlier call named. `false`, and nothing is added, where the storage has
    /// forgotten the series: it then takes [`Appender::append`] with its labels.
    ///
    /// # Errors
    /// As [`Appender::append`].
    fn append_known(&mut self, series: SeriesRef, ts: i64, value: f64) -> Result<bool, AppendError>;

    /// As [`Appender::append_known`] for several samples of one series, in this order. `false`, and nothing is added, where
    /// the storage has forgotten it.
    ///
    /// # Errors
    /// As [`Appender::append`], of the first sample that cannot be taken; those before it are in the batch, those behind it
    /// are not.
    fn append_run(&mut self, series: SeriesRef, samples: &[(i64, f64)]) -> Result<bool, AppendError> {
        for (ts, value) in samples {
            // A series of which the batch has a sample is not forgotten.
            if !self.append_known(series, *ts, *value)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Marks that a series has ended at `ts`, as [`Appender::append_known`] does with [`STALE_NAN`], but never behind a
    /// newer sample, also where samples may come late: whoever goes on with the series has not ended it (upstream's
    /// `DiscardOutOfOrder`).
    ///
    /// # Errors
    /// As [`Appender::append_known`]; [`AppendError::OutOfOrder`] where something newer is there.
    fn append_end(&mut self, series: SeriesRef, ts: i64) -> Result<bool, AppendError> {
        self.append_known(series, ts, STALE_NAN)
    }

    /// Says of the metric family `metric` what it is; what was said before is forgotten. Kept where the storage keeps
    /// such things, else nothing happens.
    fn describe(&mut self, metric: &str, metadata: &Metadata) {
        let _ = (metric, metadata);
    }

    /// As [`Appender::append`], for a native histogram; a series may change from floats to histograms and back.
    ///
    /// A float that marks staleness and follows a histogram is taken for a histogram that does, as upstream does it.
    ///
    /// # Errors
    /// As [`Appender::append`], and [`AppendError::InvalidHistogram`].
    fn append_histogram(
        &mut self,
        known: Option<SeriesRef>,
        labels: &Labels,
        ts: i64,
        histogram: NativeHistogram,
    ) -> Result<SeriesRef, AppendError>;

    /// Adds an exemplar of a series that an earlier call of this batch or another one named. One that is the series'
    /// newest already changes nothing, nor does any where none are kept.
    ///
    /// # Errors
    /// [`ExemplarError`] concerns this exemplar alone.
    fn append_exemplar(&mut self, series: SeriesRef, exemplar: Exemplar) -> Result<(), ExemplarError> {
        let _ = (series, exemplar);
        Ok(())
    }

    /// Says since when the sample counts that this batch has of `series` at `ts`: milliseconds, as Prometheus's start
    /// timestamps (`st-storage`). Kept where the storage keeps such things, else nothing happens, as it does for a start
    /// behind the sample. A sample of which nothing is said has none, but for staleness markers, of which nothing is kept.
    fn append_start(&mut self, series: SeriesRef, ts: i64, start: i64) {
        let _ = (series, ts, start);
    }

    /// Writes the batch to the log, then shows it to readers. Dropping an appender without this discards the batch.
    ///
    /// # Errors
    /// [`CommitError`]: nothing of the batch is visible or will be after a restart.
    fn commit(self: Box<Self>) -> Result<(), CommitError>;
}

/// Takes batches of samples.
pub trait Appendable: Send + Sync {
    /// Begins a batch.
    fn appender(&self) -> Box<dyn Appender + '_>;
}
