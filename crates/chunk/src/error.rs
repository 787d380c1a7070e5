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
    /// The encoding is known by name, but this version cannot read it.
    #[error("{0} chunks are not supported yet")]
    Unsupported(Encoding),
    /// No encoding has this number.
    #[error("unknown chunk encoding {0}")]
    UnknownEncoding(u8),
}
