//! Reading along with a log: what was acknowledged, in its order, for those who send it on.

use std::sync::Arc;

use cupola_histogram::NativeHistogram;
use cupola_model::Labels;

use crate::{Exemplar, Metadata, StorageError};

/// A place in a log. Later places are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct LogPosition {
    /// The segment's number.
    pub segment: u64,
    /// Bytes before it in the segment.
    pub offset: u64,
}

/// One record of a log: what was acknowledged at once, or a part of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogBatch {
    /// Where it begins.
    pub at: LogPosition,
    /// Series that are named here, by numbers which samples refer to. A number may come again, with other labels.
    pub series: Vec<(u64, Labels)>,
    /// The samples, those of one series in the order in which they came.
    pub samples: Vec<LogSample>,
    /// Exemplars, each with its series' number.
    pub exemplars: Vec<(u64, Exemplar)>,
    /// What is said of metric families, by name.
    pub metadata: Vec<(String, Metadata)>,
}

/// One sample of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSample {
    /// Its series' number.
    pub series: u64,
    /// Milliseconds since the epoch.
    pub ts: i64,
    /// Since when its counter counts, milliseconds since the epoch; 0 where that is not known.
    pub start: i64,
    /// What was measured; staleness markers included.
    pub value: LogValue,
}

/// The value of a sample of a log.
#[derive(Debug, Clone, PartialEq)]
pub enum LogValue {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<NativeHistogram>),
}

/// Reads a log record by record. Reading touches the disk.
pub trait LogTail: Send {
    /// The next record; `None` where everything was read that is there by now. Before the place it was opened for, records
    /// may come that only name series, and empty ones.
    ///
    /// # Errors
    /// Where the log cannot be read; asking again tries again.
    fn next(&mut self) -> Result<Option<LogBatch>, StorageError>;

    /// Where the next record begins. Never goes back.
    fn position(&self) -> LogPosition;

    /// The labels of a series that no record has named, as far as the storage still knows it.
    fn labels(&self, series: u64) -> Option<Labels>;

    /// Whether records to come may refer to this number although none names it again.
    fn is_alive(&self, series: u64) -> bool;

    /// Segments that were to be read and are gone or damaged, so far.
    fn lost_segments(&self) -> u64;
}

/// A storage with a log that can be read along.
pub trait Tailable: Send + Sync {
    /// Reads from `from` on; from what is acknowledged next where that is `None`.
    ///
    /// # Errors
    /// Where the log cannot be read.
    fn tail(&self, from: Option<LogPosition>) -> Result<Box<dyn LogTail>, StorageError>;

    /// Where the log of this process begins, and where it ends by now.
    fn log_bounds(&self) -> (LogPosition, LogPosition);

    /// Keeps the log from `from` on, however much of it is in blocks or checkpoints, up to the storage's own bound; `None`
    /// lets it go. What was said last counts.
    fn hold_log(&self, from: Option<LogPosition>);

    /// The newest sample's time, milliseconds, `None` where there is none.
    fn newest_ms(&self) -> Option<i64>;

    /// How many floats, exemplars and native histograms were acknowledged by this process.
    fn appended(&self) -> [f64; 3];
}
