//! The bytes of one chunk: a run of samples of one series, compressed.
//!
//! They are Prometheus's, bit for bit. Floats are in XOR chunks (encoding 1): [`XorAppender`] writes one sample by
//! sample, [`XorCursor`] reads it sample by sample, [`decode_into`] reads a whole chunk into two columns and is the form
//! that queries use. Native histograms are in chunks of integers or floats (2 and 3): [`HistogramAppender`] writes
//! either, [`HistogramCursor`] and [`decode_histograms`] read them. The encodings with start timestamps (4, 5 and 6) are
//! read: by [`decode_xor2`] and as the other histograms.
//!
//! [`columnar`] is our own: a run of float samples that is complete.
//!
//! *Invariant:* values only. No I/O, no clock; the same samples give the same bytes forever.
//! *Invariant:* a decoder never panics and never allocates more than 65,535 samples, whatever the bytes.

mod bits;
pub mod columnar;
mod encoding;
mod error;
mod histogram;
mod native;
mod starts;
mod xor;
mod xor2;
#[cfg(test)]
mod xor2_tests;

pub use encoding::Encoding;
pub use error::ChunkError;
pub use histogram::{Appended, HistogramAppender, HistogramCursor, counter_reset_header, decode_histograms};
pub use native::{EncodedChunk, HistogramChunks, NativeValue, decode_native, remove_native, sort_native};
use starts::Starts;
pub use xor::{XorAppender, XorCursor, decode_into};
pub use xor2::decode_xor2;

/// Decodes a chunk of any encoding that holds floats; see [`decode_into`] for the range and the buffers. Start
/// timestamps are left out, [`decode_xor2`] gives them.
///
/// # Errors
/// [`ChunkError::Unsupported`] for chunks that hold histograms, else as [`decode_into`].
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
        Encoding::Xor2 => {
            let before = (ts.len(), values.len());
            let read = decode_xor2(bytes, mint, maxt, |t, value, _| {
                ts.push(t);
                values.push(value);
            });
            if read.is_err() {
                ts.truncate(before.0);
                values.truncate(before.1);
            }
            read
        }
        other => Err(ChunkError::Unsupported(other)),
    }
}

/// The number of samples that a chunk of `encoding` says it holds.
///
/// # Errors
/// [`ChunkError::Truncated`] where there are fewer than two bytes.
pub fn count_samples(encoding: Encoding, bytes: &[u8]) -> Result<u16, ChunkError> {
    let count = num_samples(bytes)?;
    Ok(match encoding {
        // The top two bits are the counter reset header.
        Encoding::HistogramSt | Encoding::FloatHistogramSt => count & 0x3fff,
        _ => count,
    })
}

/// The big-endian `u16` that all encodings begin with: the number of samples, but see [`count_samples`] for 5 and 6.
///
/// # Errors
/// [`ChunkError::Truncated`] where there are fewer than two bytes.
pub fn num_samples(bytes: &[u8]) -> Result<u16, ChunkError> {
    bytes
        .first_chunk::<2>()
        .map(|n| u16::from_be_bytes(*n))
        .ok_or(ChunkError::Truncated { bytes: bytes.len() })
}
