//! What the database is told at start.

use std::path::PathBuf;

use cupola_block::BlockFormat;
use cupola_model::{Labels, Matcher};

/// Where data lies and how long it stays.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder; made where it is absent.
    pub dir: PathBuf,
    /// Blocks older than this are deleted; milliseconds, 0 keeps all.
    pub retention_ms: i64,
    /// Oldest blocks are deleted while all blocks together are larger than this; bytes, 0 keeps all.
    pub retention_bytes: u64,
    /// The same as a part of the disk, in percent, and in its place; 0 for none.
    pub retention_percent: f64,
    /// Series whose samples stay shorter or longer than others'; the first rule that a series satisfies counts.
    pub retention_rules: Vec<RetentionRule>,
    /// Downsampled tiers that are kept beside the samples.
    pub tiers: Vec<TierOptions>,
    /// The length of a block; milliseconds (Prometheus: 2 h).
    pub block_ms: i64,
    /// How long a merged block may become; milliseconds, 0 for a tenth of the retention, at most 31 days (Prometheus's
    /// default).
    pub max_block_ms: i64,
    /// The format of blocks. Where none are merged, as the longest may be no longer than `block_ms`, they are Prometheus's in
    /// any case: a sidecar ships them.
    pub block_format: BlockFormat,
    /// Whether to do without the lock file (`--storage.tsdb.no-lockfile`).
    pub no_lockfile: bool,
    /// How much older than the newest sample one that comes out of order may be; milliseconds, 0 refuses all
    /// (Prometheus's `out_of_order_time_window`). Where there is a sample of that time already, either may stay.
    pub out_of_order_window_ms: i64,
    /// How many series the head may have.
    pub limits: SeriesLimits,
    /// How many exemplars are kept, of all series together; 0 keeps none.
    pub max_exemplars: usize,
    /// Whether it is kept since when samples count (Prometheus's feature `st-storage`). What is there is read in any case.
    pub start_timestamps: bool,
    /// Whether a series gets a zero where it began to count, if a sample says so and nothing of it is as new (Prometheus's
    /// feature `created-timestamp-zero-ingestion`). One whose first sample comes while the log is read at the start gets none.
    pub start_zeros: bool,
    /// Whether the whole log stays until [`cupola_storage::Tailable::hold_log`] tells what is needed of it.
    pub hold_log: bool,
    /// Whether there is nothing but a log for those who send it on.
    pub log_only: Option<LogOnly>,
    /// How many bytes of the log stay at most because they are held; the oldest go first.
    pub max_held_log_bytes: u64,
}

/// How many exemplars are kept where nothing says so; Prometheus's.
pub const DEFAULT_MAX_EXEMPLARS: usize = 100_000;

/// What stays of samples where no blocks are made of them, as in Prometheus's agent mode; milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOnly {
    /// How much older than the newest one samples are that memory holds. Those of one series that are older than that are
    /// refused, as ones that come out of order.
    pub min_ms: i64,
    /// How long the log stays for those who have not read it.
    pub max_ms: i64,
    /// How often a checkpoint takes the place of the log.
    pub checkpoint_every_ms: i64,
}

/// How many bytes of the log stay at most because they are held, where nothing says so: about three billion samples.
pub const DEFAULT_HELD_LOG_BYTES: u64 = 16 << 30;

/// How long the samples of some series stay.
#[derive(Debug, Clone)]
pub struct RetentionRule {
    /// Which series: all must hold.
    pub matchers: Vec<Matcher>,
    /// How long; milliseconds, 0 for ever.
    pub retention_ms: i64,
}

impl RetentionRule {
    pub(crate) fn is_of(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches_labels(labels))
    }
}

/// A downsampled tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierOptions {
    /// How much time one sample stands for, milliseconds.
    pub resolution_ms: i64,
    /// How long its samples stay; milliseconds, 0 for ever.
    pub retention_ms: i64,
}

/// How many series there may be in the head; 0 for no limit. Those that have ended count until the head forgets them,
/// which takes up to three hours. None is refused while the log is read at the start: what is beyond the limits then stays
/// until it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeriesLimits {
    /// All of them.
    pub total: usize,
    /// Of one metric name.
    pub per_metric: usize,
    /// Of one value of the label `job`.
    pub per_job: usize,
}

impl Options {
    /// Prometheus's defaults for the folder `dir`: 15 days, blocks of two hours; merged ones are native.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            retention_ms: 15 * 24 * 3_600_000,
            retention_bytes: 0,
            retention_percent: 0.0,
            retention_rules: Vec::new(),
            tiers: Vec::new(),
            block_ms: 2 * 3_600_000,
            max_block_ms: 0,
            block_format: BlockFormat::Native,
            no_lockfile: false,
            out_of_order_window_ms: 0,
            limits: SeriesLimits::default(),
            max_exemplars: DEFAULT_MAX_EXEMPLARS,
            start_timestamps: false,
            start_zeros: false,
            hold_log: false,
            log_only: None,
            max_held_log_bytes: DEFAULT_HELD_LOG_BYTES,
        }
    }
}
