//! The XOR2 chunk, Prometheus's encoding 4: floats with start timestamps. It is read, not written.
//!
//! ```text
//! u16 BE    number of samples
//! u8        where start timestamps begin, see `starts`
//! sample 0  varint ts, 64 bits value, start
//! sample 1  uvarint delta of ts, value, start
//! sample n  0      in time, same value
//!           10     in time, then 0 and bits inside the last window, or 1 and a new one
//!           110    13 bits delta of delta, value
//!           1110   20 bits delta of delta, value
//!           11110  64 bits delta of delta, value
//!           11111  in time, stale
//!           start
//! ```
//! A value is `0` (the same), `10` and bits inside the last window, `110` and a new window, `111` (stale). A staleness
//! marker does not count as the last value.

use cupola_model::STALE_NAN_BITS;

use crate::histogram::{Reader, Window};
use crate::{ChunkError, Encoding, Starts, count_samples};

const HEADER_BYTES: usize = 3;

/// Hands the samples of an XOR2 chunk with `mint <= ts <= maxt` to `push`: time, value, and since when its counter counts
/// (0 where that is not known).
///
/// Stops at the first sample behind `maxt`, so it expects a chunk ascending in time, as all stored ones are.
///
/// # Errors
/// [`ChunkError`] where the bytes are cut short or malformed, or go on after the last sample; samples that were handed
/// out before are to be forgotten.
pub fn decode_xor2(bytes: &[u8], mint: i64, maxt: i64, mut push: impl FnMut(i64, f64, i64)) -> Result<(), ChunkError> {
    let total = count_samples(Encoding::Xor2, bytes)?;
    let truncated = ChunkError::Truncated { bytes: bytes.len() };
    let flags = *bytes.get(HEADER_BYTES - 1).ok_or(truncated)?;
    let mut decoder = Decoder {
        from: Reader {
            bytes,
            pos: HEADER_BYTES * 8,
        },
        ts: 0,
        delta: 0,
        value: 0,
        last: 0,
        window: Window::NONE,
    };
    let mut starts = Starts::new(flags);
    for sample in 0..total {
        let before = decoder.ts;
        let read = decoder
            .read(sample)
            .and_then(|()| starts.read(&mut decoder.from, sample, decoder.ts, before));
        if decoder.from.is_past_end() {
            return Err(truncated);
        }
        read.map_err(|what| ChunkError::Malformed { what, sample })?;
        if decoder.ts > maxt {
            return Ok(());
        }
        if decoder.ts >= mint {
            push(decoder.ts, f64::from_bits(decoder.value), starts.start);
        }
    }
    match bytes.get(decoder.from.pos.div_ceil(8)..).unwrap_or_default() {
        [] => Ok(()),
        // Upstream's writer opens a byte ahead: see `bits::write`.
        [0] if decoder.from.pos.is_multiple_of(8) => Ok(()),
        rest => Err(ChunkError::TrailingBytes { left: rest.len() }),
    }
}

struct Decoder<'a> {
    from: Reader<'a>,
    ts: i64,
    delta: i64,
    // The sample's value, and the last one that was no staleness marker.
    value: u64,
    last: u64,
    window: Window,
}

impl Decoder<'_> {
    fn read(&mut self, sample: u16) -> Result<(), &'static str> {
        match sample {
            0 => {
                self.ts = self.from.varint()?;
                self.value = self.from.bits(64);
                if self.value != STALE_NAN_BITS {
                    self.last = self.value;
                }
                Ok(())
            }
            1 => {
                self.delta = self.from.uvarint()? as i64;
                self.ts = self.ts.wrapping_add(self.delta);
                self.read_value()
            }
            _ => self.read_joint(),
        }
    }

    fn read_joint(&mut self) -> Result<(), &'static str> {
        // At most five ones.
        let mut ones = 0;
        while ones < 5 && self.from.bits(1) == 1 {
            ones += 1;
        }
        let dod = match ones {
            2 => signed(self.from.bits(13), 13),
            3 => signed(self.from.bits(20), 20),
            4 => self.from.bits(64) as i64,
            _ => 0,
        };
        self.delta = self.delta.wrapping_add(dod);
        self.ts = self.ts.wrapping_add(self.delta);
        match ones {
            0 => {
                self.value = self.last;
                Ok(())
            }
            1 => {
                let is_new = self.from.bits(1) == 1;
                self.read_change(is_new)
            }
            2..=4 => self.read_value(),
            _ => {
                self.value = STALE_NAN_BITS;
                Ok(())
            }
        }
    }

    fn read_value(&mut self) -> Result<(), &'static str> {
        if self.from.bits(1) == 0 {
            self.value = self.last;
            return Ok(());
        }
        if self.from.bits(1) == 0 {
            return self.read_change(false);
        }
        if self.from.bits(1) == 0 {
            return self.read_change(true);
        }
        self.value = STALE_NAN_BITS;
        Ok(())
    }

    fn read_change(&mut self, is_new_window: bool) -> Result<(), &'static str> {
        if is_new_window {
            self.from.xor_in_new_window(&mut self.last, &mut self.window)?;
        } else {
            self.from.xor_in_window(&mut self.last, self.window);
        }
        self.value = self.last;
        Ok(())
    }
}

// Two's complement, unlike the varbit numbers.
fn signed(raw: u64, bits: u32) -> i64 {
    ((raw << (64 - bits)) as i64) >> (64 - bits)
}
