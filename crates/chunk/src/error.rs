//! What can be wrong with a chunk.

use thiserror::Error;

use crate::Encoding;

/// Why a chunk could not be read or grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// The bytes end before the samples they announce.
    #[error("chunk is truncated: its samples do not fit in {bytes} bytes")]
    Truncated {
        /// How many bytes there were.
        bytes: usize,
    },
    /// Bytes are left over after the last sample.
    #[error("chunk has {left} bytes after its last sample")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
    /// A field holds what no encoder writes.
    #[error("chunk is malformed: {what} in sample {sample}")]
    Malformed {
        /// Which field.
        what: &'static str,
        /// In which sample, the first is 0.
        sample: u16,
    },
    /// The chunk holds 65,535 samples, the most its header can count.
    #[error("chunk is full")]
    Full,
    /// A histogram's spans and buckets do not belong together, or it has a schema that does not exist.
    #[error("histogram cannot be encoded: its schema, spans and buckets do not belong together")]
    Layout,
    /// The encoding does not hold what was asked for: floats or histograms.
    #[error("{0} chunks do not hold samples of this kind")]
    Unsupported(Encoding),
    /// No encoding has this number.
    #[error("unknown chunk encoding {0}")]
    UnknownEncoding(u8),
}
