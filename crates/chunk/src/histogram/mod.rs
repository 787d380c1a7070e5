//! Chunks of native histograms, Prometheus's encodings 2 (integers) and 3 (floats), and 5 and 6, which are the same
//! with start timestamps.
//!
//! ```text
//! u16 BE    number of samples
//! u8        counter reset header in the top two bits
//! layout    zero threshold, schema, positive spans, negative spans, with schema -53 the bounds
//! sample 0  varbit ts, count, zero count, 64 bits sum, positive buckets, negative buckets
//! sample n  varbit delta of delta of ts, then the same fields as changes
//! ```
//! In an integer chunk, counts and buckets are varbit numbers, from the second sample on as deltas of deltas, and the
//! sum is an XOR as in a chunk of floats. In a float chunk all fields have 64 bits and then become XORs, each with a
//! window of its own. A stale sample has no buckets, and only stale ones may follow it.
//!
//! All samples of a chunk share its layout. Where a sample brings new buckets, [`HistogramAppender`] encodes the chunk
//! anew; where it lacks empty ones, it gets them. Encodings 5 and 6 keep the number of samples in the low 14 bits of
//! the `u16`, the counter reset header in its top two, and tell in the third byte where start timestamps begin; they
//! are read, not written.

mod append;
mod field;
mod layout;
mod read;
mod spans;
mod state;
#[cfg(test)]
mod tests;

pub use append::{Appended, HistogramAppender};
#[cfg(test)]
pub(crate) use field::Writer;
pub(crate) use field::{Reader, Window};
pub use read::{HistogramCursor, counter_reset_header, decode_histograms};
