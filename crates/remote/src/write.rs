//! From a message to a batch.

use cupola_histogram::NativeHistogram;
use cupola_metrics::{Counter, Registry};
use cupola_model::{Labels, METRIC_NAME, MetricType, is_valid_label_name};
use cupola_storage::{AppendError, Appendable, Appender, CommitError, Exemplar, Metadata};
use parking_lot::Mutex;
use thiserror::Error;
use tracing::{debug, warn};

use crate::histograms::read_histogram;
use crate::known::{Cursor, Known, LabelsHash};
use cupola_wire::{Fields, Value, WireError};

/// Why a message was not written, or not all of it.
#[derive(Debug, Error)]
pub enum WriteError {
    /// It is not compressed as it has to be.
    #[error(transparent)]
    Compression(#[from] snap::Error),
    /// It would take more room than is allowed.
    #[error("the message takes {0} bytes, more than {1} are not taken")]
    TooLarge(usize, usize),
    /// There is no room now for what would be made of it, which takes at least so many bytes; nothing is written.
    #[error("the samples of the message take more than {0} bytes of memory, for which there is no room")]
    NoRoom(usize),
    /// It is no message of remote write.
    #[error("proto: {0}")]
    Message(String),
    /// A sample cannot be taken; nothing of the message is written. The text is Prometheus's.
    #[error("{0}")]
    Sample(AppendError),
    /// Samples of new series were refused; the others are written.
    #[error("{refused} samples were refused, the others are written: {error}")]
    Refused {
        /// How many.
        refused: usize,
        /// Why the first one was.
        error: AppendError,
    },
    /// Some series of a message of the second version cannot be taken; the others are written. One line for each, the
    /// texts are Prometheus's.
    #[error("{0}")]
    Partial(String),
    /// The storage failed; nothing of the message is written.
    #[error(transparent)]
    Storage(#[from] CommitError),
}

impl From<WireError> for WriteError {
    fn from(error: WireError) -> Self {
        Self::Message(error.to_string())
    }
}

impl WriteError {
    /// Whether the same message could be written later: the sender is to keep it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        match self {
            Self::NoRoom(_) => true,
            // Sent again it would be as long.
            Self::Storage(error) => !matches!(error, CommitError::TooLong(_)),
            _ => false,
        }
    }
}

/// Receives messages.
pub struct WriteReceiver {
    known: Known,
    // Where the last message lay, for the next one.
    spare: Mutex<Vec<u8>>,
    types: bool,
    invalid_labels: Counter,
    // For tests: see `Allowance`.
    texts: usize,
}

// What a message has written so far, and where its next series is looked for.
type Noted<'a> = (&'a mut Vec<(LabelsHash, cupola_model::SeriesRef)>, &'a mut Cursor);

// Prometheus's `maxAheadTime`: later samples are out of bounds.
const MAX_AHEAD_MS: i64 = 10 * 60_000;

// Fields of the messages of `prometheus.WriteRequest`.
const REQUEST_SERIES: u64 = 1;
const REQUEST_METADATA: u64 = 3;
const METADATA_TYPE: u64 = 1;
const METADATA_METRIC: u64 = 2;
const METADATA_HELP: u64 = 4;
const METADATA_UNIT: u64 = 5;
const SERIES_LABEL: u64 = 1;
const SERIES_SAMPLE: u64 = 2;
const SERIES_EXEMPLAR: u64 = 3;
const SERIES_HISTOGRAM: u64 = 4;
const LABEL_NAME: u64 = 1;
const LABEL_VALUE: u64 = 2;
const SAMPLE_VALUE: u64 = 1;
const SAMPLE_TIME: u64 = 2;
const EXEMPLAR_LABEL: u64 = 1;
const EXEMPLAR_VALUE: u64 = 2;
const EXEMPLAR_TIME: u64 = 3;

// What is read of one series before it is written.
#[derive(Default)]
struct Scratch<'a> {
    // The fields that it begins with, as far as they are labels: all of them, as senders write it.
    labels: &'a [u8],
    // Labels that stand behind something else.
    more_labels: Vec<&'a [u8]>,
    samples: Vec<(i64, f64)>,
    histograms: Vec<(i64, NativeHistogram)>,
    exemplars: Vec<Exemplar>,
}

impl WriteReceiver {
    /// One for all senders.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            known: Known::default(),
            spare: Mutex::default(),
            types: false,
            texts: TEXTS,
            invalid_labels: registry.counter(
                "prometheus_api_remote_write_invalid_labels_samples_total",
                "The total number of received remote write samples and histogram samples which were rejected due to invalid labels.",
            ),
        }
    }

    /// Series of messages of the second version tell type and unit in the labels `__type__` and `__unit__` where `wanted`,
    /// as with Prometheus's feature `type-and-unit-labels`.
    #[must_use]
    pub fn with_types(mut self, wanted: bool) -> Self {
        self.types = wanted;
        self
    }

    /// Writes one message, a `prometheus.WriteRequest` compressed with snappy, as one batch. Metadata is kept, which upstream's receiver leaves
    /// out; an exemplar that is refused is told in the log and costs nothing else.
    ///
    /// # Errors
    /// [`WriteError`]; nothing of the message is written then, but for [`WriteError::Refused`].
    pub fn write(
        &self,
        storage: &dyn Appendable,
        compressed: &[u8],
        memory: &mut Memory<'_>,
        now_ms: i64,
    ) -> Result<(), WriteError> {
        let message = unpack(compressed, memory.largest(), &self.spare)?;
        let mut appender = storage.appender();
        let mut written = Vec::new();
        let mut next = Cursor::default();
        let mut scratch = Scratch::default();
        let mut refused: Option<(usize, AppendError)> = None;
        for field in Fields(message.bytes()) {
            let series = match field? {
                (REQUEST_SERIES, Value::Bytes(series)) => series,
                (REQUEST_METADATA, Value::Bytes(metadata)) => {
                    memory.take(memory::FAMILY + 2 * metadata.len())?;
                    describe(metadata, &mut *appender)?;
                    continue;
                }
                _ => continue,
            };
            read_series(series, &mut scratch, memory)?;
            let samples = scratch.samples.len() + scratch.histograms.len();
            match self.series(
                &mut scratch,
                &mut *appender,
                (&mut written, &mut next),
                now_ms.saturating_add(MAX_AHEAD_MS),
            )? {
                Ok(()) => {}
                Err(error @ AppendError::TooManySeries(_)) => {
                    refused.get_or_insert((0, error)).0 += samples;
                }
                Err(error) => return Err(WriteError::Sample(error)),
            }
        }
        appender.commit()?;
        self.known.note(&written);
        match refused {
            Some((refused, error)) => Err(WriteError::Refused { refused, error }),
            None => Ok(()),
        }
    }

    fn series(
        &self,
        series: &mut Scratch<'_>,
        appender: &mut dyn Appender,
        (written, next): Noted<'_>,
        latest: i64,
    ) -> Result<Result<(), AppendError>, WriteError> {
        let hash = self
            .known
            .hash([series.labels].into_iter().chain(series.more_labels.iter().copied()));
        let mut known = self.known.get(hash, next);
        // Built where the storage has to be told them.
        let mut labels = None;
        let mut samples = &*series.samples;
        if let Some(series) = known {
            let in_bounds = samples.iter().take_while(|(ts, _)| *ts <= latest).count();
            let (run, rest) = samples.split_at(in_bounds);
            match appender.append_run(series, run) {
                Ok(true) => samples = rest,
                Ok(false) => known = None,
                Err(error) => return Ok(Err(error)),
            }
        }
        for &(ts, value) in samples {
            if ts > latest {
                return Ok(Err(AppendError::OutOfBounds));
            }
            if let Some(series) = known {
                match appender.append_known(series, ts, value) {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => return Ok(Err(error)),
                }
            }
            if labels.is_none() {
                labels = read_labels(series)?;
            }
            let Some(labels) = &labels else {
                self.invalid_labels
                    .add((series.samples.len() + series.histograms.len()) as f64);
                return Ok(Ok(()));
            };
            match appender.append(None, labels, ts, value) {
                Ok(series) => known = Some(series),
                Err(error) => return Ok(Err(error)),
            }
        }
        let histograms = std::mem::take(&mut series.histograms);
        for (ts, histogram) in histograms {
            if ts > latest {
                return Ok(Err(AppendError::OutOfBounds));
            }
            if labels.is_none() {
                labels = read_labels(series)?;
            }
            let Some(labels) = &labels else {
                self.invalid_labels.inc();
                continue;
            };
            match appender.append_histogram(known, labels, ts, histogram) {
                Ok(series) => known = Some(series),
                Err(error) => return Ok(Err(error)),
            }
        }
        for exemplar in series.exemplars.drain(..).filter(|exemplar| exemplar.ts <= latest) {
            let appended = known.map(|known| appender.append_exemplar(known, exemplar));
            if let Some(Err(error)) = appended {
                debug!(%error, "remote write: exemplar refused");
            }
        }
        written.extend(known.map(|series| (hash, series)));
        Ok(Ok(()))
    }
}

/// What the texts of a message may take together once they are written out for each series that has them. A message says a
/// text once, and a few bytes are enough to say that another series has it, too.
pub(crate) struct Allowance {
    most: usize,
    left: usize,
}

/// Bytes that each message is allowed.
pub(crate) const TEXTS: usize = 256 << 20;
// And so many times its own length.
const TIMES: usize = 16;

impl Allowance {
    pub(crate) fn new(texts: usize, message: &[u8]) -> Self {
        let most = texts.saturating_add(message.len().saturating_mul(TIMES));
        Self { most, left: most }
    }

    /// Takes so many bytes; an error where they are not left, and from then on.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), String> {
        match self.left.checked_sub(bytes).filter(|_| self.left > 0) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(format!(
                    "the texts of the message take more than {} bytes written out for each series; send less at a time",
                    self.most
                ))
            }
        }
    }

    /// Whether more was asked for than there was.
    pub(crate) fn is_used_up(&self) -> bool {
        self.left == 0
    }
}

// A message that is not compressed any more.
struct Unpacked<'a> {
    buffer: Vec<u8>,
    length: usize,
    spare: &'a Mutex<Vec<u8>>,
}

// A larger buffer is not kept.
const LARGEST_SPARE: usize = 1 << 20;

impl Unpacked<'_> {
    fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Unpacked<'_> {
    fn drop(&mut self) {
        if self.buffer.capacity() <= LARGEST_SPARE {
            *self.spare.lock() = std::mem::take(&mut self.buffer);
        }
    }
}

/// How many bytes a message says that it has when it is not compressed; `None` where it says nothing that can be true.
#[must_use]
pub fn unpacked_len(compressed: &[u8]) -> Option<usize> {
    snap::raw::decompress_len(compressed).ok()
}

// Into the buffer of the message before, where nobody else has it now.
fn unpack<'a>(compressed: &[u8], largest: usize, spare: &'a Mutex<Vec<u8>>) -> Result<Unpacked<'a>, WriteError> {
    let length = snap::raw::decompress_len(compressed)?;
    if length > largest {
        return Err(WriteError::TooLarge(length, largest));
    }
    let mut buffer = std::mem::take(&mut *spare.lock());
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    let written = snap::raw::Decoder::new().decompress(compressed, buffer.get_mut(..length).unwrap_or_default())?;
    Ok(Unpacked {
        buffer,
        length: written,
        spare,
    })
}

fn read_series<'a>(message: &'a [u8], out: &mut Scratch<'a>, memory: &mut Memory<'_>) -> Result<(), WriteError> {
    out.more_labels.clear();
    out.samples.clear();
    out.histograms.clear();
    out.exemplars.clear();
    let (labels, rest) = leading_labels(message);
    out.labels = labels;
    for field in Fields(rest) {
        match field? {
            (SERIES_LABEL, Value::Bytes(label)) => {
                memory.take(memory::PLACE)?;
                out.more_labels.push(label);
            }
            (SERIES_SAMPLE, Value::Bytes(sample)) => {
                memory.take(memory::SAMPLE)?;
                let (mut ts, mut bits) = (0, 0);
                for field in Fields(sample) {
                    match field? {
                        (SAMPLE_VALUE, Value::Fixed64(value)) => bits = value,
                        (SAMPLE_TIME, Value::Varint(value)) => ts = value as i64,
                        _ => {}
                    }
                }
                out.samples.push((ts, f64::from_bits(bits)));
            }
            (SERIES_EXEMPLAR, Value::Bytes(exemplar)) => {
                memory.take(memory::EXEMPLAR + memory::TIMES * exemplar.len())?;
                out.exemplars.push(read_exemplar(exemplar)?);
            }
            (SERIES_HISTOGRAM, Value::Bytes(bytes)) => {
                let (ts, histogram) = take_histogram(bytes, memory)?;
                out.histograms.push((ts, histogram));
            }
            _ => {}
        }
    }
    Ok(())
}

// Reads a histogram, and takes what it takes.
fn take_histogram(message: &[u8], memory: &mut Memory<'_>) -> Result<(i64, NativeHistogram), WriteError> {
    let before = match message.len() > memory::SHORT {
        true => memory::TIMES * message.len(),
        false => 0,
    };
    memory.take(before)?;
    let (ts, histogram) = read_histogram(message)?;
    memory.take(memory::of_histogram(&histogram).saturating_sub(before))?;
    Ok((ts, histogram))
}

// The labels at the start of a series, as they lie there, and what follows: mostly they need not be looked into.
fn leading_labels(message: &[u8]) -> (&[u8], &[u8]) {
    const KEY: u8 = (SERIES_LABEL << 3 | 2) as u8;
    let mut rest = Fields(message);
    while rest.0.first() == Some(&KEY) {
        let mut next = Fields(rest.0.get(1..).unwrap_or_default());
        if next.sized().is_err() {
            // Whoever reads on from here finds the error again.
            break;
        }
        rest = next;
    }
    message.split_at(message.len() - rest.0.len())
}

fn read_exemplar(message: &[u8]) -> Result<Exemplar, WriteError> {
    let (mut pairs, mut bits, mut ts) = (Vec::new(), 0, 0);
    for field in Fields(message) {
        match field? {
            (EXEMPLAR_LABEL, Value::Bytes(label)) => pairs.push(read_label(label)?),
            (EXEMPLAR_VALUE, Value::Fixed64(value)) => bits = value,
            (EXEMPLAR_TIME, Value::Varint(value)) => ts = value as i64,
            _ => {}
        }
    }
    let value = f64::from_bits(bits);
    let labels = Labels::from_pairs(pairs);
    Ok(Exemplar { labels, value, ts })
}

fn read_label(message: &[u8]) -> Result<(&str, &str), WriteError> {
    let (mut name, mut value) = ("", "");
    for field in Fields(message) {
        let (number, Value::Bytes(bytes)) = field? else {
            continue;
        };
        let text = || {
            let text = std::str::from_utf8(bytes);
            text.map_err(|_| WriteError::Message("a label is not UTF-8".to_owned()))
        };
        match number {
            LABEL_NAME => name = text()?,
            LABEL_VALUE => value = text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

// `None` where the storage must not see them; told in the log then.
fn read_labels(series: &Scratch<'_>) -> Result<Option<Labels>, WriteError> {
    let mut pairs = Vec::new();
    for field in Fields(series.labels) {
        if let (_, Value::Bytes(label)) = field? {
            pairs.push(read_label(label)?);
        }
    }
    for label in &series.more_labels {
        pairs.push(read_label(label)?);
    }
    pairs.sort_unstable_by_key(|(name, _)| *name);
    let is_twice = pairs.windows(2).any(|two| two[0].0 == two[1].0);
    let are_valid = pairs.iter().all(|(name, _)| is_valid_label_name(name));
    let labels = Labels::from_pairs(pairs);
    if is_twice || !are_valid || labels.value(METRIC_NAME).is_empty() {
        warn!(%labels, "remote write: invalid metric name or labels, the samples are left out");
        return Ok(None);
    }
    Ok(Some(labels))
}

// What a message says of a metric family.
fn describe(message: &[u8], appender: &mut dyn Appender) -> Result<(), WireError> {
    let (mut metric, mut metadata) = (String::new(), Metadata::default());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for field in Fields(message) {
        match field? {
            (METADATA_TYPE, Value::Varint(kind)) => metadata.kind = MetricType::of_number(kind),
            (METADATA_METRIC, Value::Bytes(bytes)) => metric = text(bytes),
            (METADATA_HELP, Value::Bytes(bytes)) => metadata.help = text(bytes),
            (METADATA_UNIT, Value::Bytes(bytes)) => metadata.unit = text(bytes),
            _ => {}
        }
    }
    if !metric.is_empty() {
        appender.describe(&metric, &metadata);
    }
    Ok(())
}

pub(crate) mod memory;
pub(crate) mod v2;

pub use memory::Memory;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod v2_tests;
