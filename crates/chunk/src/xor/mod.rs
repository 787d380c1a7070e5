//! The XOR chunk, Prometheus's encoding 1 (after the Gorilla paper, VLDB 2015).
//!
//! ```text
//! u16 BE    number of samples
//! sample 0  varint ts, 64 bits value
//! sample 1  uvarint delta of ts, value
//! sample n  delta of delta, value
//! ```
//! A delta of delta is `0` (none), or `10`, `110`, `1110` before 14, 17, 20 bits, or `1111` before 64 bits. The bits
//! of a field of `n` bits mean `-(2^(n-1)-1) ..= 2^(n-1)`. A value is the XOR with the one before: `0` (the same), `10`
//! and the bits inside the last window, or `11`, 5 bits of leading zeros, 6 bits of width (0 is 64) and the bits.
//! Unused bits at the end are zero; a value of whole bytes that ends at a byte's end is followed by an empty byte.

mod append;
mod read;
#[cfg(test)]
mod tests;

pub use append::XorAppender;
pub use read::{XorCursor, decode_into};
