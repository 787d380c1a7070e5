//! A database without blocks, as an agent has it: the log, for those who send it on, and a head with the newest samples,
//! without which nobody could tell what comes out of order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cupola_metrics::{Kind, Registry, SeriesValue};
use parking_lot::Mutex;
use tracing::warn;

use super::Inner;
use crate::options::LogOnly;

/// When segments of the log were written.
#[derive(Default)]
pub(super) struct Ages {
    // A segment, and a time when it was the newest; both ascending.
    seen: Mutex<VecDeque<(u64, i64)>>,
    checkpoint_ms: Mutex<Option<i64>>,
}

impl Ages {
    /// Notes the newest segment. The one that was the newest at `oldest_ms`, the last time it was noted before that.
    fn note(&self, segment: u64, now_ms: i64, oldest_ms: i64) -> Option<u64> {
        let mut seen = self.seen.lock();
        if seen.back().is_none_or(|(last, _)| *last < segment) {
            seen.push_back((segment, now_ms));
        }
        while let [_, (_, next_ms), ..] = seen.make_contiguous()
            && *next_ms <= oldest_ms
        {
            seen.pop_front();
        }
        let first = seen.front().filter(|(_, ms)| *ms <= oldest_ms);
        first.map(|(segment, _)| *segment)
    }

    // Whether so much time is over since it was last so.
    fn is_checkpoint_due(&self, now_ms: i64, every_ms: i64) -> bool {
        let mut last = self.checkpoint_ms.lock();
        match *last {
            Some(last_ms) if (last_ms..last_ms.saturating_add(every_ms)).contains(&now_ms) => false,
            None => {
                *last = Some(now_ms);
                false
            }
            Some(_) => {
                *last = Some(now_ms);
                true
            }
        }
    }
}

/// What Prometheus's agent counts under names of its own.
pub(super) fn register(inner: &Arc<Inner>, registry: &Registry) {
    let computed = |name: &str, help: &str, kind, read: fn(&Inner) -> f64| {
        let inner = Arc::downgrade(inner);
        let name = format!("prometheus_agent_{name}");
        registry.computed(&name, help, kind, move || {
            inner.upgrade().map_or(f64::NAN, |inner| read(&inner))
        });
    };
    computed(
        "active_series",
        "Number of active series being tracked by the WAL storage",
        Kind::Gauge,
        |inner| inner.head.stats().series as f64,
    );
    computed(
        "out_of_order_samples_total",
        "Total number of out of order samples ingestion failed attempts.",
        Kind::Counter,
        |inner| inner.metrics.floats.out_of_order.get() + inner.metrics.histograms.out_of_order.get(),
    );
    computed(
        "exemplars_appended_total",
        "Total number of exemplars appended to the storage.",
        Kind::Counter,
        |inner| inner.metrics.exemplars_appended.get(),
    );
    computed(
        "data_replay_duration_seconds",
        "Time taken to replay the data on disk.",
        Kind::Gauge,
        |inner| inner.metrics.replay_seconds.get(),
    );
    let inner = Arc::downgrade(inner);
    registry.add(
        "prometheus_agent_samples_appended_total",
        "Total number of samples appended to the storage.",
        Kind::Counter,
        move || {
            let Some(inner) = inner.upgrade() else {
                return Vec::new();
            };
            let counters = [
                ("float", &inner.metrics.samples_appended),
                ("histogram", &inner.metrics.histograms_appended),
            ];
            let label = |kind: &str| vec![("type".to_owned(), kind.to_owned())];
            let series = counters.map(|(kind, counter)| (label(kind), SeriesValue::Number(counter.get())));
            series.into()
        },
    );
}

impl Inner {
    /// Forgets what is older than it has to be, in the head and in the log.
    pub(super) fn maintain_log(&self, only: &LogOnly) {
        let now_ms = self.clock.now_ms();
        let newest = self.head.wal_segment();
        if let Some(oldest) = self.ages.note(newest, now_ms, now_ms.saturating_sub(only.max_ms)) {
            self.tails.expire(oldest);
        }
        let keep = only.min_ms;
        if let Some(oldest) = self.head.mint()
            && self.head.maxt().saturating_sub(oldest) > keep + keep / 2
        {
            let until = self.head.maxt().saturating_sub(keep);
            self.head.open_from(until);
            self.head.freeze_late();
            self.truncate(until);
            if let Err(error) = self.head.thaw_late(i64::MIN, until) {
                warn!(%error, "samples that came out of order cannot be read; they stay in memory");
            }
        }
        let is_due = self.ages.is_checkpoint_due(now_ms, only.checkpoint_every_ms);
        let is_due = is_due || self.checkpoint_due.load(Ordering::Relaxed) || self.head.is_in_doubt();
        if is_due && !self.checkpoint() {
            self.checkpoint_due.store(true, Ordering::Relaxed);
        }
        self.release_log();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cupola_env::{ManualClock, RealFs};
    use cupola_metrics::Registry;
    use cupola_storage::{LogPosition, Queryable as _, Tailable as _};
    use tempfile::TempDir;

    use super::super::tests::{HOUR, MINUTE, all, name, write};
    use super::*;
    use crate::{Options, Tsdb};

    #[test]
    fn the_segment_of_a_time_is_known() {
        let ages = Ages::default();
        assert_eq!(ages.note(1, 100, 0), None);
        assert_eq!(ages.note(1, 200, 100), Some(1));
        assert_eq!(ages.note(3, 300, 200), Some(1));
        assert_eq!(ages.note(4, 400, 299), Some(1));
        assert_eq!(ages.note(4, 500, 300), Some(3));
        assert_eq!(ages.note(9, 900, 899), Some(4));
    }

    #[test]
    fn there_are_no_blocks_and_the_log_is_bounded_by_time_and_by_who_reads_it() {
        let dir = TempDir::new().unwrap();
        let mut options = Options::new(dir.path().to_path_buf());
        options.hold_log = true;
        options.block_ms = 2 * HOUR;
        options.log_only = Some(LogOnly {
            min_ms: HOUR,
            max_ms: 4 * HOUR,
            checkpoint_every_ms: 2 * HOUR,
        });
        let clock = Arc::new(ManualClock::new(0));
        let tsdb = Tsdb::open(options, clock.clone(), Arc::new(RealFs), &Registry::default()).unwrap();
        tsdb.hold_log(Some(LogPosition::default()));
        let mut most = 0;
        for minute in 0..30 * 60 {
            clock.set(minute * MINUTE);
            write(&tsdb, &name(&format!("short_{}", minute / 60)), minute * MINUTE, 1.0).unwrap();
            write(&tsdb, &name("long"), minute * MINUTE, minute as f64).unwrap();
            if minute % 10 == 0 {
                tsdb.maintain();
                most = most.max(tsdb.log_bytes());
            }
        }
        assert!(tsdb.blocks().is_empty());
        assert!(tsdb.head_stats().series <= 4, "{:?}", tsdb.head_stats());
        assert_eq!(tsdb.select(&all()).unwrap().len(), tsdb.head_stats().series);
        // Nobody has read anything: what is older than four hours and a checkpoint's time is gone all the same.
        let mut tail = tsdb.tail(Some(LogPosition::default())).unwrap();
        let mut oldest = i64::MAX;
        while let Some(batch) = tail.next().unwrap() {
            oldest = oldest.min(batch.samples.iter().map(|sample| sample.ts).min().unwrap_or(i64::MAX));
        }
        assert!((20 * HOUR..26 * HOUR).contains(&oldest), "{}", oldest / HOUR);
        let held = tsdb.log_bytes();
        tsdb.hold_log(Some(tsdb.log_bounds().1));
        tsdb.maintain();
        assert!(tsdb.log_bytes() < held, "{held} {most}");
    }
}
