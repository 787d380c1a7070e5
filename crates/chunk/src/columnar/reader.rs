//! Fields of whole bytes, read one after the other.

use super::pack::{Packed, packed_len};
use crate::ChunkError;
use crate::bits::{uvarint, varint};

/// Where the decoder of a column stands.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn truncated(&self) -> ChunkError {
        ChunkError::Truncated {
            bytes: self.bytes.len(),
        }
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn byte(&mut self) -> Result<u8, ChunkError> {
        let byte = self.rest().first().copied().ok_or(self.truncated())?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn word(&mut self) -> Result<u64, ChunkError> {
        let word = *self.rest().first_chunk::<8>().ok_or(self.truncated())?;
        self.at += 8;
        Ok(u64::from_le_bytes(word))
    }

    pub(super) fn uvarint(&mut self) -> Result<u64, ChunkError> {
        let (value, len) = uvarint(self.rest()).ok_or(self.truncated())?;
        self.at += len;
        Ok(value)
    }

    pub(super) fn varint(&mut self) -> Result<i64, ChunkError> {
        let (value, len) = varint(self.rest()).ok_or(self.truncated())?;
        self.at += len;
        Ok(value)
    }

    /// A bit width of at most `max`.
    pub(super) fn width(&mut self, max: u32, what: &'static str) -> Result<u32, ChunkError> {
        let width = u32::from(self.byte()?);
        if width > max {
            return Err(malformed(what));
        }
        Ok(width)
    }

    /// Passes over `count` packed integers of `width` bits.
    pub(super) fn packed(&mut self, count: usize, width: u32) -> Result<Packed<'a>, ChunkError> {
        let packed = Packed {
            bytes: self.bytes,
            at: self.at,
        };
        self.section(packed_len(count, width))?;
        Ok(packed)
    }

    /// Passes over `len` bytes.
    pub(super) fn section(&mut self, len: usize) -> Result<&'a [u8], ChunkError> {
        let section = self.rest().get(..len).ok_or(self.truncated())?;
        self.at += len;
        Ok(section)
    }
}

/// The error for a field that no encoder writes.
pub(super) fn malformed(what: &'static str) -> ChunkError {
    ChunkError::Malformed { what, sample: 0 }
}

/// Appends a varint (zigzag).
pub(super) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a uvarint.
pub(super) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
