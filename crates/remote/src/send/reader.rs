//! From the log to what is sent: labels as the destination sees them, and what it gets of each record.

use std::collections::VecDeque;
use std::sync::Arc;

use cupola_config::prometheus::{RemoteWriteConfig, RemoteWriteMessage};
use cupola_config::relabel;
use cupola_histogram::NativeHistogram;
use cupola_model::Labels;
use cupola_storage::{Exemplar, LogBatch, LogPosition, LogTail, LogValue, Metadata, StorageError};
use foldhash::HashMap;
use parking_lot::RwLock;

use super::cursor::{LANES, Place, State};
use super::metrics::{Kind, Metrics, Reason};
use super::proto;

/// A series as the destination knows it.
pub(super) struct Series {
    pub lane: u16,
    /// As fields of a series of the first version; empty for the second one.
    pub encoded: Box<[u8]>,
    /// Empty for the first version.
    pub labels: Labels,
}

/// One sample or exemplar that is to be sent.
pub(super) struct Item {
    pub series: Arc<Series>,
    pub place: Place,
    /// 0, or the number of a batch that was on its way when it broke off: the other side may have it. It is sent only with
    /// others of that batch, since a receiver that has it may refuse all that comes with it.
    pub doubt: u32,
    pub ts: i64,
    /// Since when its counter counts, 0 where that is not known; only the second version has a place for it.
    pub start: i64,
    pub what: What,
}

pub(super) enum What {
    Float(f64),
    Histogram(Arc<NativeHistogram>),
    Exemplar(Box<Exemplar>),
}

impl Item {
    pub(super) fn kind(&self) -> Kind {
        match self.what {
            What::Float(_) => Kind::Sample,
            What::Histogram(_) => Kind::Histogram,
            What::Exemplar(_) => Kind::Exemplar,
        }
    }
}

/// What is known of metric families, for the second version.
pub(super) type Described = Arc<RwLock<HashMap<String, Metadata>>>;

/// What was read at once.
#[derive(Default)]
pub(super) struct Read {
    pub items: VecDeque<Item>,
    /// Samples read, and how many of them are not to be sent.
    pub read: u64,
    pub dropped: u64,
    /// Of the newest sample that is to be sent.
    pub newest_ms: Option<i64>,
    /// Whether there was more.
    pub is_more: bool,
}

// What an earlier process had sent or was about to send.
struct Before {
    done: Vec<Place>,
    tried: Vec<(Place, u16)>,
    newest: Place,
}

/// Reads for one destination.
pub(super) struct Reader {
    tail: Box<dyn LogTail>,
    config: Arc<RemoteWriteConfig>,
    external_labels: Labels,
    metrics: Arc<Metrics>,
    described: Described,
    // `None` where relabelling drops the series.
    series: HashMap<u64, Option<Arc<Series>>>,
    before: Option<Before>,
    // Series that the storage had forgotten when the log ended at that place.
    forgotten: Option<(LogPosition, Vec<u64>)>,
    lost: u64,
}

// Lanes must be the same after a restart, and for every version of this program.
fn lane(labels: &Labels) -> u16 {
    let crc = labels.iter().fold(0, |crc, (name, value)| {
        let crc = crc32c::crc32c_append(crc, name.as_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(crc, &[0xff]), value.as_bytes())
    });
    (crc.wrapping_mul(0x9e37_79b1) >> 16) as u16 % LANES as u16
}

impl Reader {
    pub(super) fn new(
        tail: Box<dyn LogTail>,
        config: Arc<RemoteWriteConfig>,
        external_labels: Labels,
        metrics: Arc<Metrics>,
        described: Described,
        state: &State,
    ) -> Self {
        Self {
            tail,
            config,
            external_labels,
            metrics,
            described,
            series: HashMap::default(),
            before: Some(Before {
                done: state.done.clone(),
                tried: state.tried.clone(),
                newest: state.newest(),
            }),
            forgotten: None,
            lost: 0,
        }
    }

    pub(super) fn position(&self) -> LogPosition {
        self.tail.position()
    }

    /// Reads records until about so many samples are found, or the log's end. What was read before an error is in `out`.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub(super) fn read(&mut self, most: usize, out: &mut Read) -> Result<(), StorageError> {
        // A long way without samples is gone step by step, too: whoever waits may want to stop.
        for _ in 0..256 {
            if out.items.len() >= most {
                break;
            }
            let Some(batch) = self.tail.next()? else {
                self.count_lost();
                return Ok(());
            };
            self.take(batch, out);
        }
        out.is_more = true;
        self.count_lost();
        self.metrics.segment.set(self.position().segment as f64);
        Ok(())
    }

    fn count_lost(&mut self) {
        let lost = self.tail.lost_segments();
        self.metrics.lost.add((lost - self.lost) as f64);
        self.lost = lost;
    }

    fn take(&mut self, batch: LogBatch, out: &mut Read) {
        for (id, labels) in batch.series {
            let prepared = self.prepare(&labels);
            self.series.insert(id, prepared);
        }
        let mut place = Place::of(batch.at, 0);
        for sample in batch.samples {
            place.index += 1;
            out.read += 1;
            let (kind, what) = match sample.value {
                LogValue::Float(value) => (Kind::Sample, What::Float(value)),
                LogValue::Histogram(_) if !self.config.send_native_histograms => continue,
                LogValue::Histogram(value) => (Kind::Histogram, What::Histogram(value)),
            };
            if let What::Histogram(value) = &what
                && self.config.message == RemoteWriteMessage::V1
                && has_custom_buckets(value)
            {
                self.metrics.dropped(Reason::CustomBuckets, kind).inc();
                continue;
            }
            match self.wanted(sample.series, kind) {
                Some(series) => self.push(series, place, (sample.ts, sample.start), what, out),
                None => out.dropped += 1,
            }
        }
        for (id, exemplar) in batch.exemplars {
            place.index += 1;
            if self.config.send_exemplars
                && let Some(series) = self.wanted(id, Kind::Exemplar)
            {
                let times = (exemplar.ts, 0);
                self.push(series, place, times, What::Exemplar(Box::new(exemplar)), out);
            }
        }
        if self.config.message == RemoteWriteMessage::V2 && !batch.metadata.is_empty() {
            self.described.write().extend(batch.metadata);
        }
        // What only names series may come from anywhere.
        if place.index > 0 && self.before.as_ref().is_some_and(|before| place > before.newest) {
            self.before = None;
        }
    }

    fn push(&self, series: Arc<Series>, place: Place, (ts, start): (i64, i64), what: What, out: &mut Read) {
        let mut doubt = 0;
        if let Some(before) = &self.before {
            let lane = usize::from(series.lane);
            if before.done.get(lane).is_some_and(|done| place <= *done) {
                return;
            }
            let tried = before.tried.get(lane).filter(|(tried, _)| place <= *tried);
            doubt = tried.map_or(0, |(_, shard)| u32::from(*shard) + 1);
        }
        if !matches!(what, What::Exemplar(_)) {
            out.newest_ms = out.newest_ms.max(Some(ts));
        }
        out.items.push_back(Item {
            series,
            place,
            doubt,
            ts,
            start,
            what,
        });
    }

    fn wanted(&mut self, id: u64, kind: Kind) -> Option<Arc<Series>> {
        let series = match self.series.get(&id) {
            Some(series) => series.clone(),
            None => {
                let Some(labels) = self.tail.labels(id) else {
                    self.metrics.dropped(Reason::UnknownSeries, kind).inc();
                    return None;
                };
                let prepared = self.prepare(&labels);
                self.series.insert(id, prepared.clone());
                prepared
            }
        };
        if series.is_none() {
            self.metrics.dropped(Reason::DroppedSeries, kind).inc();
        }
        series
    }

    fn prepare(&self, labels: &Labels) -> Option<Arc<Series>> {
        let mut builder = labels.to_builder();
        for (name, value) in &self.external_labels {
            if builder.get(name).is_empty() {
                builder.set(name, value);
            }
        }
        if !relabel(&self.config.write_relabel_configs, &mut builder) {
            return None;
        }
        // Of the labels as the log has them: a changed configuration does not move a series to another lane.
        let lane = lane(labels);
        let labels = builder.build();
        if labels.is_empty() {
            return None;
        }
        Some(Arc::new(match self.config.message {
            RemoteWriteMessage::V1 => {
                let mut encoded = Vec::with_capacity(256);
                proto::put_labels(&mut encoded, &labels);
                Series {
                    lane,
                    encoded: encoded.into(),
                    labels: Labels::empty(),
                }
            }
            RemoteWriteMessage::V2 => Series {
                lane,
                encoded: Box::default(),
                labels,
            },
        }))
    }

    /// Forgets series that the storage has forgotten and the log does not speak of any more. To be called now and then;
    /// `end` is where the log ends.
    pub(super) fn forget(&mut self, end: LogPosition) {
        match self.forgotten.take() {
            Some((mark, ids)) if self.position() >= mark => {
                for id in ids.into_iter().filter(|id| !self.tail.is_alive(*id)) {
                    self.series.remove(&id);
                }
                if self.series.len() * 4 < self.series.capacity() {
                    self.series.shrink_to_fit();
                }
            }
            Some(waiting) => self.forgotten = Some(waiting),
            None => {
                let ids = self.series.keys().copied();
                let ids: Vec<u64> = ids.filter(|id| !self.tail.is_alive(*id)).collect();
                self.forgotten = (!ids.is_empty()).then_some((end, ids));
            }
        }
    }
}

fn has_custom_buckets(value: &NativeHistogram) -> bool {
    let schema = match value {
        NativeHistogram::Integer(own) => own.schema,
        NativeHistogram::Float(own) => own.schema,
    };
    schema == cupola_histogram::CUSTOM_BUCKETS_SCHEMA
}
