//! Questions of other servers, answered.

use cupola_chunk::{EncodedChunk, Encoding, HistogramChunks, XorAppender};
use cupola_histogram::NativeHistogram;
use cupola_model::{Labels, MatchOp, Matcher};
use cupola_storage::{Queryable, Samples, Selection, Series, StorageError};
use thiserror::Error;

use super::codec::{Query, Request, ResponseType, put_frame, read_request, write_series};
use crate::send::proto;

// As Prometheus cuts chunks.
const SAMPLES_PER_CHUNK: usize = 120;

/// Why a question is not answered.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It cannot be understood.
    #[error("{0}")]
    Question(String),
    /// There are more samples than may be sent at once.
    #[error("exceeded sample limit ({0})")]
    TooMany(usize),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What another server asks.
#[derive(Debug)]
pub struct ReadQuestion {
    request: Request,
    response: ResponseType,
}

impl ReadQuestion {
    /// Reads a `prometheus.ReadRequest`, compressed with snappy; `largest` is how many bytes it may have when it is not.
    ///
    /// # Errors
    /// [`ReadError::Question`].
    pub fn read(compressed: &[u8], largest: usize) -> Result<Self, ReadError> {
        let question = |error: &dyn std::fmt::Display| ReadError::Question(error.to_string());
        let length = snap::raw::decompress_len(compressed).map_err(|error| question(&error))?;
        if length > largest {
            let text = format!("the message takes {length} bytes, more than {largest} are not taken");
            return Err(ReadError::Question(text));
        }
        let message = snap::raw::Decoder::new().decompress_vec(compressed);
        let request = read_request(&message.map_err(|error| question(&error))?).map_err(ReadError::Question)?;
        let known = request.accepted.iter().find_map(|kind| match kind {
            0 => Some(ResponseType::Samples),
            1 => Some(ResponseType::Chunks),
            _ => None,
        });
        let response = match known {
            Some(response) => response,
            None if request.accepted.is_empty() => ResponseType::Samples,
            None => {
                let text = format!(
                    "server does not support any of the requested response types: {:?}; supported: [SAMPLES STREAMED_XOR_CHUNKS]",
                    request.accepted
                );
                return Err(ReadError::Question(text));
            }
        };
        Ok(Self { request, response })
    }

    /// Whether it is to be answered with [`ReadQuestion::stream`] rather than [`ReadQuestion::samples`].
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.response == ResponseType::Chunks
    }

    /// The answer with samples: a `prometheus.ReadResponse`, compressed with snappy. `external` are the labels that this
    /// server adds to what leaves it; `most` is how many samples there may be, 0 for any number. Given up soon after
    /// `go_on` said `false`. Native histograms are sent as such of floats.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn samples(
        &self,
        storage: &dyn Queryable,
        external: &Labels,
        most: usize,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, ReadError> {
        let mut response = Vec::new();
        let mut result = Vec::new();
        let mut samples = Samples::default();
        for query in &self.request.queries {
            result.clear();
            let mut count = 0;
            for series in select(storage, query, external, go_on)? {
                read(&series, query, &mut samples, go_on)?;
                count += samples.count();
                if most > 0 && count > most {
                    return Err(ReadError::TooMany(most));
                }
                write_series(&mut result, &with_external(&series.labels, external), &samples);
            }
            cupola_wire::bytes(&mut response, 1, &result);
        }
        snap::raw::Encoder::new()
            .compress_vec(&response)
            .map_err(|error| ReadError::Storage(StorageError::Corrupt(error.to_string())))
    }

    /// The answer with chunks: frames of `prometheus.ChunkedReadResponse`, each handed to `send` when it is made, until
    /// that says `false`. A frame holds chunks of one series, about `largest` bytes of them.
    ///
    /// # Errors
    /// [`ReadError`], [`StorageError::Stopped`] where `send` said `false`; what was sent before cannot be taken back, and that
    /// it is not all has to be told otherwise: the format has no end.
    pub fn stream(
        &self,
        storage: &dyn Queryable,
        external: &Labels,
        largest: usize,
        go_on: &dyn Fn() -> bool,
        send: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<(), ReadError> {
        let mut samples = Samples::default();
        for (number, query) in (0_u64..).zip(&self.request.queries) {
            for series in select(storage, query, external, go_on)? {
                read(&series, query, &mut samples, go_on)?;
                let mut begin = Vec::new();
                proto::put_labels(&mut begin, &with_external(&series.labels, external));
                let mut frame = begin.clone();
                let mut chunks = chunks(&samples)?.into_iter().peekable();
                while let Some(chunk) = chunks.next() {
                    put_chunk(&mut frame, &chunk);
                    if frame.len() < largest && chunks.peek().is_some() {
                        continue;
                    }
                    let mut message = Vec::with_capacity(frame.len() + 16);
                    cupola_wire::bytes(&mut message, 1, &frame);
                    cupola_wire::number(&mut message, 2, number);
                    let mut out = Vec::with_capacity(message.len() + 16);
                    put_frame(&mut out, &message);
                    if !send(out) {
                        return Err(ReadError::Storage(StorageError::Stopped));
                    }
                    frame.clone_from(&begin);
                }
            }
        }
        Ok(())
    }
}

// What the question's hints leave of its times.
fn times(query: &Query) -> (i64, i64) {
    match &query.hints {
        Some(hints) if (hints.start, hints.end) != (0, 0) => (query.start.max(hints.start), query.end.min(hints.end)),
        _ => (query.start, query.end),
    }
}

// Sorted, as a streamed answer has to be.
fn select(
    storage: &dyn Queryable,
    query: &Query,
    external: &Labels,
    go_on: &dyn Fn() -> bool,
) -> Result<Vec<Series>, ReadError> {
    let mut matchers = Vec::with_capacity(query.matchers.len());
    for matcher in &query.matchers {
        // What the external labels say is not stored.
        let is_external = matcher.op() == MatchOp::Equal && external.value(matcher.name()) == matcher.value();
        matchers.push(match is_external {
            false => matcher.clone(),
            true => Matcher::new(matcher.name(), MatchOp::Equal, "")
                .map_err(|error| ReadError::Question(error.to_string()))?,
        });
    }
    let (mint, maxt) = times(query);
    let selection = Selection {
        matchers: &matchers,
        mint,
        maxt,
    };
    let mut series = storage.select_while(&selection, go_on)?;
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}

fn read(series: &Series, query: &Query, out: &mut Samples, go_on: &dyn Fn() -> bool) -> Result<(), ReadError> {
    if !go_on() {
        return Err(ReadError::Storage(StorageError::Stopped));
    }
    out.clear();
    // Whoever asks which series there are wants no samples.
    if query.hints.as_ref().is_some_and(|hints| hints.func == "series") {
        return Ok(());
    }
    let (mint, maxt) = times(query);
    Ok(series.source.read(mint, maxt, out)?)
}

fn with_external(labels: &Labels, external: &Labels) -> Labels {
    if external.is_empty() {
        return labels.clone();
    }
    let own = labels.iter();
    let more = external.iter().filter(|(name, _)| labels.value(name).is_empty());
    Labels::from_pairs(own.chain(more))
}

fn chunks(samples: &Samples) -> Result<Vec<EncodedChunk>, ReadError> {
    let broken = |error: cupola_chunk::ChunkError| ReadError::Storage(StorageError::Corrupt(error.to_string()));
    let mut all = Vec::new();
    let floats = samples
        .ts
        .chunks(SAMPLES_PER_CHUNK)
        .zip(samples.values.chunks(SAMPLES_PER_CHUNK));
    for (ts, values) in floats {
        let mut xor = XorAppender::new();
        for (ts, value) in ts.iter().zip(values) {
            xor.append(*ts, *value).map_err(broken)?;
        }
        all.push(EncodedChunk {
            mint: ts.first().copied().unwrap_or_default(),
            maxt: ts.last().copied().unwrap_or_default(),
            encoding: Encoding::Xor,
            bytes: xor.into_bytes(),
        });
    }
    let mut histograms = HistogramChunks::default();
    for (ts, value) in samples.histograms.ts.iter().zip(&samples.histograms.values) {
        let histogram = NativeHistogram::Float((**value).clone());
        histograms.push(*ts, &histogram).map_err(broken)?;
    }
    histograms.finish();
    all.append(&mut histograms.done);
    all.sort_by_key(|chunk| chunk.mint);
    Ok(all)
}

fn put_chunk(out: &mut Vec<u8>, chunk: &EncodedChunk) {
    let mut one = Vec::with_capacity(chunk.bytes.len() + 32);
    cupola_wire::number(&mut one, 1, chunk.mint as u64);
    cupola_wire::number(&mut one, 2, chunk.maxt as u64);
    cupola_wire::number(&mut one, 3, chunk.encoding.as_byte().into());
    cupola_wire::bytes(&mut one, 4, &chunk.bytes);
    cupola_wire::bytes(out, 2, &one);
}
