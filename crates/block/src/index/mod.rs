//! The `index` file, version 2.
//!
//! ```text
//! baaad700 02              magic, version
//! symbols                  u32 len, u32 count, texts ascending, CRC32C
//! series                   each at a multiple of 16: uvarint len, label symbols, chunk metas, CRC32C
//! label indices            one per name: its values as symbols. Nobody reads them any more
//! postings                 one list per label pair, u32 len, u32 count, u32 series refs ascending, CRC32C
//! label offset table       where the label indices are
//! postings offset table    where the postings are, by name and value; ("", "") is all series
//! table of contents        6 x u64 offsets of the above, CRC32C
//! ```
//! A series ref is its offset divided by 16, so refs ascend as label sets do.

pub(crate) mod matching;
pub(crate) mod postings;
pub(crate) mod read;
pub(crate) mod series;
pub(crate) mod symbols;
pub(crate) mod table;
pub(crate) mod write;

#[cfg(test)]
mod tests;

pub(crate) const MAGIC: u32 = 0xbaaa_d700;
pub(crate) const VERSION: u8 = 2;
pub(crate) const HEADER_BYTES: u64 = 5;
pub(crate) const TOC_BYTES: u64 = 6 * 8 + 4;
pub(crate) const SERIES_ALIGN: u64 = 16;
