//! Writing a chunk.

use crate::bits::{write, write_joined, write_uvarint, write_varint};
use crate::{ChunkError, XorCursor, num_samples};

/// No window of significant bits has been written yet.
const NO_WINDOW: u8 = 0xff;

// A sample takes at most 4 + 64 bits of time and 2 + 5 + 6 + 64 bits of value.
const LONGEST_SAMPLE: usize = 19;
const GROW_BYTES: usize = 32;
// The first sample takes most of what a step holds.
const FIRST_BYTES: usize = 48;

/// Grows an XOR chunk sample by sample. After every append [`XorAppender::bytes`] is a whole, valid chunk.
#[derive(Debug, Clone)]
pub struct XorAppender {
    bytes: Vec<u8>,
    ts: i64,
    delta: u64,
    value: u64,
    leading: u8,
    trailing: u8,
    // Unused low bits of the last byte; 8 where it is empty.
    free: u8,
    // Whether `ts` and `value` are those of a sample.
    any: bool,
}

impl Default for XorAppender {
    fn default() -> Self {
        Self::new()
    }
}

impl XorAppender {
    /// An empty chunk.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty chunk with room for `bytes` bytes; 120 scraped samples take 150 to 250 as a rule.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buf = Vec::with_capacity(bytes.max(2));
        buf.extend_from_slice(&[0, 0]);
        Self {
            bytes: buf,
            ..Self::unallocated()
        }
    }

    /// An empty chunk that takes no heap memory before its first sample.
    #[must_use]
    pub const fn unallocated() -> Self {
        Self {
            bytes: Vec::new(),
            ts: 0,
            delta: 0,
            value: 0,
            leading: NO_WINDOW,
            trailing: 0,
            free: 0,
            any: false,
        }
    }

    /// An empty chunk that follows another one: [`XorAppender::last_ts`] and [`XorAppender::last_value`] are its newest
    /// sample. Takes no heap memory before its first sample.
    #[must_use]
    pub fn after(ts: i64, value: f64) -> Self {
        Self {
            ts,
            value: value.to_bits(),
            any: true,
            ..Self::unallocated()
        }
    }

    /// An appender that goes on where the chunk `bytes` ends, as after a restart. It then writes what the appender
    /// that made `bytes` would have written.
    ///
    /// Costs one decoding of the chunk.
    ///
    /// # Errors
    /// [`ChunkError`] where `bytes` are no valid XOR chunk.
    pub fn resume(mut bytes: Vec<u8>) -> Result<Self, ChunkError> {
        let mut cursor = XorCursor::new(&bytes)?;
        while cursor.next_sample()?.is_some() {}
        let end = cursor.end();
        // Only bits behind the last sample are cleared; a valid chunk has zeros there anyway.
        let free = (bytes.len() * 8 - end.pos) as u8;
        let any = num_samples(&bytes)? > 0;
        if let Some(last) = bytes.last_mut() {
            *last &= (0xff_u16 << free) as u8;
        }
        let (leading, trailing) = end.window.unwrap_or((NO_WINDOW, 0));
        Ok(Self {
            bytes,
            ts: end.ts,
            delta: end.delta,
            value: end.value,
            leading,
            trailing,
            free,
            any,
        })
    }

    /// Adds one sample. `ts` is in milliseconds; the order is the caller's affair, and decoding a range relies on
    /// it. The value's bits are kept as they are: NaN payloads, the sign of zero.
    ///
    /// # Errors
    /// [`ChunkError::Full`] at 65,535 samples; the chunk is as before.
    pub fn append(&mut self, ts: i64, value: f64) -> Result<(), ChunkError> {
        let count = self.num_samples();
        let next = count.checked_add(1).ok_or(ChunkError::Full)?;
        let value = value.to_bits();
        if self.bytes.capacity() - self.bytes.len() < LONGEST_SAMPLE {
            // Open chunks are most of what a database keeps in memory: they grow in steps, not by doubling.
            self.bytes
                .reserve_exact(if count == 0 { FIRST_BYTES } else { GROW_BYTES });
        }
        match count {
            0 => {
                self.begin();
                write_varint(&mut self.bytes, &mut self.free, ts);
                self.write(value, 64);
            }
            1 => {
                self.delta = ts.wrapping_sub(self.ts) as u64;
                write_uvarint(&mut self.bytes, &mut self.free, self.delta);
                self.write_value(value, 0);
            }
            _ => {
                let delta = ts.wrapping_sub(self.ts) as u64;
                let dod = delta.wrapping_sub(self.delta) as i64;
                self.delta = delta;
                if dod == 0 {
                    self.write_value(value, 1);
                } else {
                    self.write_delta_of_delta(dod);
                    self.write_value(value, 0);
                }
            }
        }
        self.ts = ts;
        self.value = value;
        self.any = true;
        if let Some(head) = self.bytes.first_chunk_mut::<2>() {
            *head = next.to_be_bytes();
        }
        Ok(())
    }

    /// How many samples the chunk holds.
    #[must_use]
    pub fn num_samples(&self) -> u16 {
        num_samples(&self.bytes).unwrap_or(0)
    }

    // What a chunk starts with, whatever was written before.
    fn begin(&mut self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0, 0]);
        (self.leading, self.trailing, self.free) = (NO_WINDOW, 0, 0);
    }

    /// Time of the newest sample, `None` before the first; that of a chunk that was taken counts, too.
    #[must_use]
    pub fn last_ts(&self) -> Option<i64> {
        self.any.then_some(self.ts)
    }

    /// The newest value, as [`XorAppender::last_ts`].
    #[must_use]
    pub fn last_value(&self) -> Option<f64> {
        self.any.then(|| f64::from_bits(self.value))
    }

    /// Hands out the chunk so far and goes on with an empty one, without a heap allocation until its first sample.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// The chunk so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The finished chunk.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Begins a new chunk in the same memory.
    pub fn clear(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.extend_from_slice(&[0, 0]);
        *self = Self { bytes, ..Self::new() };
    }

    fn write(&mut self, value: u64, count: u32) {
        write(&mut self.bytes, &mut self.free, value, count);
    }

    fn write_delta_of_delta(&mut self, dod: i64) {
        // One more on the positive side: upstream's `bitRange`.
        let fits = |bits: u32| -(1_i64 << (bits - 1)) < dod && dod <= 1_i64 << (bits - 1);
        let field = |bits: u32| dod as u64 & ((1 << bits) - 1);
        if dod == 0 {
            self.write(0, 1);
        } else if fits(14) {
            self.write((0b10 << 14) | field(14), 16);
        } else if fits(17) {
            self.write((0b110 << 17) | field(17), 20);
        } else if fits(20) {
            self.write((0b1110 << 20) | field(20), 24);
        } else {
            self.write(0b1111, 4);
            self.write(dod as u64, 64);
        }
    }

    // With so many zeros before it, which belong to the time.
    fn write_value(&mut self, value: u64, zeros: u32) {
        let xor = value ^ self.value;
        if xor == 0 {
            self.write_joined(0, zeros, 0, 1);
            return;
        }
        // Five bits hold at most 31 leading zeros.
        let leading = xor.leading_zeros().min(31) as u8;
        let trailing = xor.trailing_zeros() as u8;
        let in_window = self.leading != NO_WINDOW && leading >= self.leading && trailing >= self.trailing;
        if in_window {
            let width = 64 - u32::from(self.leading) - u32::from(self.trailing);
            self.write_joined(0b10, zeros + 2, xor >> self.trailing, width);
            return;
        }
        self.leading = leading;
        self.trailing = trailing;
        let width = 64 - u32::from(leading) - u32::from(trailing);
        // A width of 64 does not fit in six bits and is written as 0; 0 itself cannot occur.
        let header = (0b11 << 11) | (u64::from(leading) << 6) | (u64::from(width) & 63);
        self.write_joined(header, zeros + 13, xor >> trailing, width);
    }

    // A header of some bits and a field of `width`, at once where a word holds both.
    fn write_joined(&mut self, header: u64, header_bits: u32, field: u64, width: u32) {
        if header_bits + width <= 64 {
            let both = (header << width) | field;
            write_joined(&mut self.bytes, &mut self.free, both, header_bits + width, width);
        } else {
            self.write(header, header_bits);
            self.write(field, width);
        }
    }
}
