//! Those who read along with the log, and what stays of it for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_metrics::{Counter, Gauge, Registry};
use cupola_model::Labels;
use cupola_storage::{LogBatch, LogPosition, LogTail, StorageError, Tailable};
use parking_lot::Mutex;
use tracing::{error, warn};

use super::{Inner, LOG_FOLDER, Tsdb};
use crate::head::Head;
use crate::options::Options;
use crate::wal::{Held, LogFolder, Released, Tail, release};

/// What is held of the log, and what that costs.
pub(super) struct Tails {
    // Where the log of this process begins.
    begin: LogPosition,
    max_bytes: u64,
    held: Mutex<Held>,
    // Segments before it are not kept, whoever reads them.
    oldest: AtomicU64,
    held_bytes: Gauge,
    lost: Counter,
}

impl Tails {
    pub(super) fn new(options: &Options, begin: LogPosition, registry: &Registry) -> Self {
        Self {
            begin,
            max_bytes: options.max_held_log_bytes,
            held: Mutex::new(if options.hold_log { Held::All } else { Held::Nothing }),
            oldest: AtomicU64::new(0),
            held_bytes: registry.gauge(
                "cupola_tsdb_wal_held_bytes",
                "Bytes of the write-ahead log that are kept only because remote write has not sent them yet.",
            ),
            lost: registry.counter(
                "cupola_tsdb_wal_held_segments_lost_total",
                "Segments of the write-ahead log that were removed although remote write had not sent them, because more is not kept.",
            ),
        }
    }

    pub(super) fn held(&self) -> Held {
        let oldest = LogPosition {
            segment: self.oldest.load(Ordering::Relaxed),
            offset: 0,
        };
        match *self.held.lock() {
            Held::From(from, max_bytes) => Held::From(from.max(oldest), max_bytes),
            held => held,
        }
    }

    /// Keeps no segment before this one.
    pub(super) fn expire(&self, oldest: u64) {
        self.oldest.fetch_max(oldest, Ordering::Relaxed);
    }

    pub(super) fn note(&self, released: Released) {
        self.held_bytes.set(released.held_bytes as f64);
        self.lost.add(released.lost_segments as f64);
        if released.lost_segments > 0 {
            error!(
                segments = released.lost_segments,
                limit_bytes = self.max_bytes,
                "more of the write-ahead log waits for remote write than is kept; the oldest segments are removed and their samples not sent"
            );
        }
    }
}

impl Inner {
    /// Removes what of the log is not held any more.
    pub(super) fn release_log(&self) {
        if self.head.log_end().is_none() {
            return;
        }
        match release(&*self.vfs, &self.options.dir.join(LOG_FOLDER), &self.tails.held()) {
            Ok(released) => self.tails.note(released),
            Err(error) => warn!(%error, "cannot remove what is not needed of the write-ahead log; it is tried again"),
        }
    }
}

impl Tailable for Tsdb {
    fn tail(&self, from: Option<LogPosition>) -> Result<Box<dyn LogTail>, StorageError> {
        let inner = &self.inner;
        let folder = LogFolder {
            vfs: inner.vfs.clone(),
            dir: inner.options.dir.join(LOG_FOLDER),
        };
        let dir = folder.dir.clone();
        let begin = inner.tails.begin;
        let mut from = from.unwrap_or_else(|| self.log_bounds().1);
        // Whatever comes after the begin of this process's log is named there. Nor has to be named what was read to its end.
        if from < begin && folder.is_empty_between(from, begin) {
            from = begin;
        }
        let tail = Tail::open(folder, from, from != begin).map_err(|source| StorageError::Io {
            what: format!("list {}", dir.display()),
            source,
        })?;
        let head = inner.head.clone();
        Ok(Box::new(OpenTail { head, tail }))
    }

    fn log_bounds(&self) -> (LogPosition, LogPosition) {
        let begin = self.inner.tails.begin;
        (begin, self.inner.head.log_end().unwrap_or(begin))
    }

    fn hold_log(&self, from: Option<LogPosition>) {
        let tails = &self.inner.tails;
        *tails.held.lock() = from.map_or(Held::Nothing, |from| Held::From(from, tails.max_bytes));
    }

    fn newest_ms(&self) -> Option<i64> {
        Some(self.inner.head.maxt()).filter(|newest| *newest > i64::MIN)
    }

    fn appended(&self) -> [f64; 3] {
        let metrics = &self.inner.metrics;
        let counters = [
            &metrics.samples_appended,
            &metrics.exemplars_appended,
            &metrics.histograms_appended,
        ];
        counters.map(|counter| counter.get())
    }
}

struct OpenTail {
    head: Arc<Head>,
    tail: Tail,
}

impl LogTail for OpenTail {
    fn next(&mut self) -> Result<Option<LogBatch>, StorageError> {
        let head = self.head.clone();
        self.tail.next(&|| head.wal_segment())
    }

    fn position(&self) -> LogPosition {
        self.tail.position()
    }

    fn labels(&self, series: u64) -> Option<Labels> {
        self.head.labels_of(series)
    }

    fn is_alive(&self, series: u64) -> bool {
        self.head.is_known(series)
    }

    fn lost_segments(&self) -> u64 {
        self.tail.lost()
    }
}
