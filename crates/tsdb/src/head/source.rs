//! What a reader of a series gets: its chunks as they were when it was selected.

use std::sync::Arc;

use cupola_chunk::{ChunkError, Encoding, NativeValue, columnar, decode_histograms, decode_native};
use cupola_storage::{SampleSource, Samples, Starts, StorageError};

use super::series::{BoxedChunk, Sealed, SealedChunk};
use super::times::SharedTimes;

/// The samples of one series as they were when it was selected.
pub(crate) struct HeadSource {
    pub(super) sealed: Vec<Sealed>,
    pub(super) open: Option<OpenCopy>,
    pub(super) starts: Option<Arc<Starts>>,
    // Samples older than this are a block's.
    pub(super) floor: i64,
}

pub(super) struct OpenCopy {
    pub(super) mint: i64,
    pub(super) maxt: i64,
    pub(super) encoding: Encoding,
    pub(super) bytes: Box<[u8]>,
}

/// The newest sample of a series, where nobody looks at others.
pub(super) struct Newest {
    pub(super) ts: i64,
    pub(super) value: f64,
}

impl SampleSource for Newest {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        if (mint..=maxt).contains(&self.ts) {
            out.push(self.ts, self.value);
        }
        Ok(())
    }

    fn span(&self) -> (i64, i64) {
        (self.ts, self.ts)
    }
}

/// A chunk of a [`HeadSource`].
pub(crate) enum ChunkRef<'a> {
    Columnar(&'a [u8]),
    SharedTimes(&'a SharedTimes),
    Prometheus(Encoding, &'a [u8]),
}

impl HeadSource {
    /// Samples older than this are a block's.
    pub(crate) fn floor(&self) -> i64 {
        self.floor
    }

    /// Since when its samples count, where that is known.
    pub(crate) fn starts(&self) -> Option<&Starts> {
        self.starts.as_deref()
    }

    /// Its chunks, oldest first, with the times of their first and last samples; samples before the floor are among
    /// them.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (i64, i64, ChunkRef<'_>)> {
        let sealed = self.sealed.iter().map(|c| (c.mint, c.maxt, c.chunk.as_ref()));
        let open = self.open.iter();
        sealed.chain(open.map(|c| (c.mint, c.maxt, ChunkRef::Prometheus(c.encoding, &c.bytes))))
    }

    /// Appends all samples of all chunks as they were written.
    pub(crate) fn read_native(&self, out: &mut Vec<(i64, NativeValue)>) -> Result<(), StorageError> {
        self.chunks().try_for_each(|(_, _, chunk)| chunk.read_native(out))
    }
}

impl SealedChunk {
    pub(super) fn as_ref(&self) -> ChunkRef<'_> {
        match self {
            Self::Floats(bytes) => ChunkRef::Columnar(bytes),
            Self::Boxed(chunk) => match &**chunk {
                BoxedChunk::SharedTimes(chunk) => ChunkRef::SharedTimes(chunk),
                BoxedChunk::Histograms(chunk) => ChunkRef::Prometheus(chunk.encoding, &chunk.bytes),
            },
        }
    }
}

impl ChunkRef<'_> {
    /// Appends the samples between the two times, both inclusive.
    pub(crate) fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        match self {
            Self::Columnar(bytes) => decode_columnar(bytes, mint, maxt, out),
            Self::SharedTimes(chunk) => chunk.read(mint, maxt, out),
            Self::Prometheus(encoding, bytes) => decode(*encoding, bytes, mint, maxt, out),
        }
    }

    /// Appends all samples as they were written.
    pub(crate) fn read_native(&self, out: &mut Vec<(i64, NativeValue)>) -> Result<(), StorageError> {
        match self {
            Self::Prometheus(encoding, bytes) if *encoding != Encoding::Xor => {
                decode_native(*encoding, bytes, out).map_err(|e| corrupt(&e))
            }
            _ => {
                let mut samples = Samples::default();
                self.read(i64::MIN, i64::MAX, &mut samples)?;
                let values = samples.values.into_iter().map(NativeValue::Float);
                out.extend(samples.ts.into_iter().zip(values));
                Ok(())
            }
        }
    }
}

impl SampleSource for HeadSource {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let mint = mint.max(self.floor);
        let mut wanted = self.chunks().filter(|(first, last, _)| *last >= mint && *first <= maxt);
        let (floats, histograms) = (out.len(), out.histograms.len());
        wanted.try_for_each(|(_, _, chunk)| chunk.read(mint, maxt, out))?;
        match &self.starts {
            Some(starts) => starts.fill(out, floats, histograms),
            None => out.level_starts(),
        }
        Ok(())
    }

    fn span(&self) -> (i64, i64) {
        let sealed = self.sealed.iter().map(|chunk| (chunk.mint, chunk.maxt));
        let all = sealed.chain(self.open.iter().map(|open| (open.mint, open.maxt)));
        let span = all.reduce(|(first, _), (_, last)| (first, last));
        let (first, last) = span.unwrap_or((self.floor, self.floor));
        (first.max(self.floor), last)
    }
}

pub(super) fn decode(
    encoding: Encoding,
    bytes: &[u8],
    mint: i64,
    maxt: i64,
    out: &mut Samples,
) -> Result<(), StorageError> {
    let decoded = match encoding {
        Encoding::Xor => cupola_chunk::decode_into(bytes, mint, maxt, &mut out.ts, &mut out.values),
        _ => decode_histograms(encoding, bytes, mint, maxt, |ts, value, start| {
            out.histograms.push(ts, value, start);
        }),
    };
    decoded.map_err(|e| corrupt(&e))
}

pub(super) fn decode_columnar(bytes: &[u8], mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
    columnar::decode(bytes, mint, maxt, &mut out.ts, &mut out.values).map_err(|e| corrupt(&e))
}

pub(super) fn corrupt(error: &ChunkError) -> StorageError {
    StorageError::Corrupt(format!("head chunk: {error}"))
}
