//! The bytes of one chunk: a run of samples of one series, compressed.
//!
//! Today this is Prometheus's XOR chunk (encoding 1), bit for bit: [`XorAppender`] writes it sample by sample,
//! [`XorCursor`] reads it sample by sample, [`decode_into`] reads a whole chunk into two columns and is the form that
//! queries use. The other encodings have their names in [`Encoding`], so that whoever meets one can say which it is.
//!
//! *Invariant:* values only. No I/O, no clock; the same samples give the same bytes forever.
//! *Invariant:* a decoder never panics and never allocates more than 65,535 samples, whatever the bytes.

mod bits;
mod encoding;
mod error;
mod xor;

pub use encoding::Encoding;
pub use error::ChunkError;
pub use xor::{XorAppender, XorCursor, decode_into};

/// Decodes a chunk of any encoding that holds floats; see [`decode_into`] for the range and the buffers.
///
/// # Errors
/// [`ChunkError::Unsupported`] for the encodings that are only known by name, else as [`decode_into`].
pub fn decode(
    encoding: Encoding,
    bytes: &[u8],
    mint: i64,
    maxt: i64,
    ts: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    match encoding {
        Encoding::Xor => decode_into(bytes, mint, maxt, ts, values),
        other => Err(ChunkError::Unsupported(other)),
    }
}

/// The number of samples that a chunk says it holds; all encodings begin with it as a big-endian `u16`.
///
/// # Errors
/// [`ChunkError::Truncated`] where there are fewer than two bytes.
pub fn num_samples(bytes: &[u8]) -> Result<u16, ChunkError> {
    bytes
        .first_chunk::<2>()
        .map(|n| u16::from_be_bytes(*n))
        .ok_or(ChunkError::Truncated { bytes: bytes.len() })
}
