//! From a message to a batch.

use cupola_metrics::{Counter, Registry};
use cupola_model::{Labels, METRIC_NAME, is_valid_label_name};
use cupola_storage::{AppendError, Appendable, Appender, CommitError};
use thiserror::Error;
use tracing::warn;

use crate::known::{Cursor, Known, LabelsHash};
use crate::wire::{Fields, Value, WireError};

/// Why a message was not written, or not all of it.
#[derive(Debug, Error)]
pub enum WriteError {
    /// It is not compressed as it has to be.
    #[error(transparent)]
    Compression(#[from] snap::Error),
    /// It would take more room than is allowed.
    #[error("the message takes {0} bytes, more than {1} are not taken")]
    TooLarge(usize, usize),
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
        matches!(self, Self::Storage(_))
    }
}

/// Receives messages.
pub struct WriteReceiver {
    known: Known,
    invalid_labels: Counter,
}

// Prometheus's `maxAheadTime`: later samples are out of bounds.
const MAX_AHEAD_MS: i64 = 10 * 60_000;

// Fields of the messages of `prometheus.WriteRequest`.
const REQUEST_SERIES: u64 = 1;
const SERIES_LABEL: u64 = 1;
const SERIES_SAMPLE: u64 = 2;
const LABEL_NAME: u64 = 1;
const LABEL_VALUE: u64 = 2;
const SAMPLE_VALUE: u64 = 1;
const SAMPLE_TIME: u64 = 2;

// What is read of one series before it is written.
#[derive(Default)]
struct Scratch<'a> {
    labels: Vec<&'a [u8]>,
    samples: Vec<(i64, f64)>,
}

impl WriteReceiver {
    /// One for all senders.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            known: Known::default(),
            invalid_labels: registry.counter(
                "prometheus_api_remote_write_invalid_labels_samples_total",
                "The total number of received remote write samples and histogram samples which were rejected due to invalid labels.",
            ),
        }
    }

    /// Writes one message, a `prometheus.WriteRequest` compressed with snappy, as one batch. `largest` is how many bytes
    /// it may have when it is not compressed. Exemplars, native histograms and metadata are left out as yet.
    ///
    /// # Errors
    /// [`WriteError`]; nothing of the message is written then, but for [`WriteError::Refused`].
    pub fn write(
        &self,
        storage: &dyn Appendable,
        compressed: &[u8],
        largest: usize,
        now_ms: i64,
    ) -> Result<(), WriteError> {
        let length = snap::raw::decompress_len(compressed)?;
        if length > largest {
            return Err(WriteError::TooLarge(length, largest));
        }
        let message = snap::raw::Decoder::new().decompress_vec(compressed)?;
        let mut appender = storage.appender();
        let mut written = Vec::new();
        let mut next = Cursor::default();
        let mut scratch = Scratch::default();
        let mut refused: Option<(usize, AppendError)> = None;
        for field in Fields(&message) {
            let (REQUEST_SERIES, Value::Bytes(series)) = field? else {
                continue;
            };
            read_series(series, &mut scratch)?;
            match self.series(
                &scratch,
                &mut *appender,
                (&mut written, &mut next),
                now_ms.saturating_add(MAX_AHEAD_MS),
            )? {
                Ok(()) => {}
                Err(error @ AppendError::TooManySeries(_)) => {
                    refused.get_or_insert((0, error)).0 += scratch.samples.len();
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
        series: &Scratch<'_>,
        appender: &mut dyn Appender,
        (written, next): (&mut Vec<(LabelsHash, cupola_model::SeriesRef)>, &mut Cursor),
        latest: i64,
    ) -> Result<Result<(), AppendError>, WriteError> {
        let hash = self.known.hash(series.labels.iter().copied());
        let mut known = self.known.get(hash, next);
        // Built where the storage has to be told them.
        let mut labels = None;
        for &(ts, value) in &series.samples {
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
                labels = read_labels(&series.labels)?;
            }
            let Some(labels) = &labels else {
                self.invalid_labels.add(series.samples.len() as f64);
                return Ok(Ok(()));
            };
            match appender.append(None, labels, ts, value) {
                Ok(series) => known = Some(series),
                Err(error) => return Ok(Err(error)),
            }
        }
        written.extend(known.map(|series| (hash, series)));
        Ok(Ok(()))
    }
}

fn read_series<'a>(message: &'a [u8], out: &mut Scratch<'a>) -> Result<(), WriteError> {
    out.labels.clear();
    out.samples.clear();
    for field in Fields(message) {
        match field? {
            (SERIES_LABEL, Value::Bytes(label)) => out.labels.push(label),
            (SERIES_SAMPLE, Value::Bytes(sample)) => {
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
            _ => {}
        }
    }
    Ok(())
}

// `None` where the storage must not see them; told in the log then.
fn read_labels(messages: &[&[u8]]) -> Result<Option<Labels>, WriteError> {
    let mut pairs = Vec::with_capacity(messages.len());
    for message in messages {
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
        pairs.push((name, value));
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

#[cfg(test)]
mod tests;
