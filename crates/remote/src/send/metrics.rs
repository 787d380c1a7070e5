//! What sending counts, under the names Prometheus 3.14 gives.

use cupola_metrics::{Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, Registry};

const LABELS: &[&str] = &["remote_name", "url"];
const WITH_REASON: &[&str] = &["remote_name", "url", "reason"];
const CONSUMER: &[&str] = &["consumer"];
// Prometheus's default bounds and four more.
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0,
];
/// Why something is not sent.
pub(super) const REASONS: [&str; 4] = [
    "too_old",
    "dropped_series",
    "unintentionally_dropped_series",
    "nhcb_in_rw1_not_supported",
];

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sample,
    Exemplar,
    Histogram,
}

pub(super) const KINDS: [Kind; 3] = [Kind::Sample, Kind::Exemplar, Kind::Histogram];

/// One for each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ByKind<T>([T; 3]);

impl<T> ByKind<T> {
    fn new(make: impl Fn(&str) -> T) -> Self {
        Self([make("samples"), make("exemplars"), make("histograms")])
    }

    pub(super) fn of(&self, kind: Kind) -> &T {
        let [sample, exemplar, histogram] = &self.0;
        match kind {
            Kind::Sample => sample,
            Kind::Exemplar => exemplar,
            Kind::Histogram => histogram,
        }
    }
}

/// How many of each kind.
pub(super) type Counts = ByKind<u64>;

impl Counts {
    pub(super) fn count(&mut self, kind: Kind) {
        let [sample, exemplar, histogram] = &mut self.0;
        *match kind {
            Kind::Sample => sample,
            Kind::Exemplar => exemplar,
            Kind::Histogram => histogram,
        } += 1;
    }

    pub(super) fn set(&mut self, kind: Kind, count: u64) {
        let [sample, exemplar, histogram] = &mut self.0;
        *match kind {
            Kind::Sample => sample,
            Kind::Exemplar => exemplar,
            Kind::Histogram => histogram,
        } = count;
    }

    pub(super) fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// All families.
pub(super) struct Families {
    sent: ByKind<CounterVec>,
    failed: ByKind<CounterVec>,
    retried: ByKind<CounterVec>,
    dropped: ByKind<CounterVec>,
    pending: ByKind<GaugeVec>,
    metadata: CounterVec,
    metadata_failed: CounterVec,
    metadata_retried: CounterVec,
    enqueue_retries: CounterVec,
    seconds: HistogramVec,
    highest_sent: GaugeVec,
    highest_read: GaugeVec,
    bytes: CounterVec,
    metadata_bytes: CounterVec,
    shards: GaugeVec,
    shards_desired: GaugeVec,
    shards_min: GaugeVec,
    shards_max: GaugeVec,
    capacity: GaugeVec,
    per_send: GaugeVec,
    segment: GaugeVec,
    lost: CounterVec,
}

impl Families {
    pub(super) fn new(registry: &Registry) -> Self {
        let name = |name: &str| format!("prometheus_remote_storage_{name}");
        let counters = |suffix: &str, what: &str, labels| {
            ByKind::new(|kind| {
                let help = format!("Total number of {kind} {what}");
                registry.counter_vec(&name(&format!("{kind}{suffix}_total")), &help, labels)
            })
        };
        let counter = |short: &str, help: &str| registry.counter_vec(&name(short), help, LABELS);
        let gauge = |short: &str, help: &str| registry.gauge_vec(&name(short), help, LABELS);
        Self {
            sent: counters("", "sent to remote storage.", LABELS),
            failed: counters(
                "_failed",
                "which failed on send to remote storage, non-recoverable errors.",
                LABELS,
            ),
            retried: counters(
                "_retried",
                "which failed on send to remote storage but were retried because the send error was recoverable.",
                LABELS,
            ),
            dropped: counters(
                "_dropped",
                "which were dropped after being read from the WAL before being sent via remote write, either via relabelling, due to being too old or unintentionally because of an unknown reference ID.",
                WITH_REASON,
            ),
            pending: ByKind::new(|kind| {
                let help =
                    format!("The number of {kind} pending in the queues shards to be sent to the remote storage.");
                gauge(&format!("{kind}_pending"), &help)
            }),
            metadata: counter(
                "metadata_total",
                "Total number of metadata entries sent to remote storage.",
            ),
            metadata_failed: counter(
                "metadata_failed_total",
                "Total number of metadata entries which failed on send to remote storage, non-recoverable errors.",
            ),
            metadata_retried: counter(
                "metadata_retried_total",
                "Total number of metadata entries which failed on send to remote storage but were retried because the send error was recoverable.",
            ),
            enqueue_retries: counter(
                "enqueue_retries_total",
                "Total number of times enqueue has failed because a shards queue was full.",
            ),
            seconds: registry.native_histogram_vec(
                &name("sent_batch_duration_seconds"),
                "Duration of send calls to the remote storage.",
                LABELS,
                SECONDS,
            ),
            highest_sent: gauge(
                "queue_highest_sent_timestamp_seconds",
                "Timestamp from a WAL sample, the highest timestamp successfully sent by this queue, in seconds since epoch. Initialized to 0 when no data has been sent yet.",
            ),
            highest_read: gauge(
                "queue_highest_timestamp_seconds",
                "Highest timestamp that was enqueued, in seconds since epoch. Initialized to 0 when no data has been received yet.",
            ),
            bytes: counter(
                "bytes_total",
                "The total number of bytes of data (not metadata) sent by the queue after compression.",
            ),
            metadata_bytes: counter(
                "metadata_bytes_total",
                "The total number of bytes of metadata sent by the queue after compression.",
            ),
            shards: gauge(
                "shards",
                "The number of shards used for parallel sending to the remote storage.",
            ),
            shards_desired: gauge(
                "shards_desired",
                "The number of shards that the queues shard calculation wants to run based on the rate of samples in vs. samples out.",
            ),
            shards_min: gauge(
                "shards_min",
                "The minimum number of shards that the queue is allowed to run.",
            ),
            shards_max: gauge(
                "shards_max",
                "The maximum number of shards that the queue is allowed to run.",
            ),
            capacity: gauge(
                "shard_capacity",
                "The capacity of each shard of the queue used for parallel sending to the remote storage.",
            ),
            per_send: gauge(
                "max_samples_per_send",
                "The maximum number of samples to be sent, in a single request, to the remote storage. Note that, when sending of exemplars over remote write is enabled, exemplars count towards this limt.",
            ),
            segment: registry.gauge_vec(
                "prometheus_wal_watcher_current_segment",
                "Current segment the WAL watcher is reading records from.",
                CONSUMER,
            ),
            lost: registry.counter_vec(
                "cupola_remote_storage_lost_segments_total",
                "Segments of the write-ahead log that were gone or damaged before they were read for remote write.",
                LABELS,
            ),
        }
    }

    /// Those of one destination.
    pub(super) fn of(&self, name: &str, url: &str) -> Metrics {
        let labels = [name, url];
        let pick = |all: &ByKind<CounterVec>| ByKind(KINDS.map(|kind| all.of(kind).with(&labels)));
        Metrics {
            sent: pick(&self.sent),
            failed: pick(&self.failed),
            retried: pick(&self.retried),
            dropped: REASONS.map(|reason| ByKind(KINDS.map(|kind| self.dropped.of(kind).with(&[name, url, reason])))),
            pending: ByKind(KINDS.map(|kind| self.pending.of(kind).with(&labels))),
            metadata: self.metadata.with(&labels),
            metadata_failed: self.metadata_failed.with(&labels),
            metadata_retried: self.metadata_retried.with(&labels),
            enqueue_retries: self.enqueue_retries.with(&labels),
            seconds: self.seconds.with(&labels),
            highest_sent: self.highest_sent.with(&labels),
            highest_read: self.highest_read.with(&labels),
            bytes: self.bytes.with(&labels),
            metadata_bytes: self.metadata_bytes.with(&labels),
            shards: self.shards.with(&labels),
            shards_desired: self.shards_desired.with(&labels),
            shards_min: self.shards_min.with(&labels),
            shards_max: self.shards_max.with(&labels),
            capacity: self.capacity.with(&labels),
            per_send: self.per_send.with(&labels),
            segment: self.segment.with(&[name]),
            lost: self.lost.with(&labels),
        }
    }

    /// Forgets a destination.
    pub(super) fn remove(&self, name: &str, url: &str) {
        let labels = [name, url];
        for kind in KINDS {
            for family in [&self.sent, &self.failed, &self.retried] {
                family.of(kind).remove(&labels);
            }
            for reason in REASONS {
                self.dropped.of(kind).remove(&[name, url, reason]);
            }
            self.pending.of(kind).remove(&labels);
        }
        for family in [
            &self.metadata,
            &self.metadata_failed,
            &self.metadata_retried,
            &self.enqueue_retries,
            &self.bytes,
            &self.metadata_bytes,
            &self.lost,
        ] {
            family.remove(&labels);
        }
        for family in [
            &self.highest_sent,
            &self.highest_read,
            &self.shards,
            &self.shards_desired,
            &self.shards_min,
            &self.shards_max,
            &self.capacity,
            &self.per_send,
        ] {
            family.remove(&labels);
        }
        self.seconds.remove(&labels);
        self.segment.remove(&[name]);
    }
}

/// Those of one destination.
pub(super) struct Metrics {
    pub sent: ByKind<Counter>,
    pub failed: ByKind<Counter>,
    pub retried: ByKind<Counter>,
    dropped: [ByKind<Counter>; 4],
    pub pending: ByKind<Gauge>,
    pub metadata: Counter,
    pub metadata_failed: Counter,
    pub metadata_retried: Counter,
    pub enqueue_retries: Counter,
    pub seconds: Histogram,
    pub highest_sent: Gauge,
    pub highest_read: Gauge,
    pub bytes: Counter,
    pub metadata_bytes: Counter,
    pub shards: Gauge,
    pub shards_desired: Gauge,
    pub shards_min: Gauge,
    pub shards_max: Gauge,
    pub capacity: Gauge,
    pub per_send: Gauge,
    pub segment: Gauge,
    pub lost: Counter,
}

/// In the order of [`REASONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    TooOld,
    DroppedSeries,
    UnknownSeries,
    CustomBuckets,
}

impl Metrics {
    /// Nothing waits yet.
    pub(super) fn begin(&self) {
        KINDS.iter().for_each(|kind| self.pending.of(*kind).set(0.0));
    }

    pub(super) fn dropped(&self, reason: Reason, kind: Kind) -> &Counter {
        let [too_old, dropped, unknown, custom] = &self.dropped;
        match reason {
            Reason::TooOld => too_old,
            Reason::DroppedSeries => dropped,
            Reason::UnknownSeries => unknown,
            Reason::CustomBuckets => custom,
        }
        .of(kind)
    }

    pub(super) fn add(counters: &ByKind<Counter>, counts: &Counts) {
        for kind in KINDS {
            counters.of(kind).add(*counts.of(kind) as f64);
        }
    }
}
