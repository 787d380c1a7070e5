//! The fields of a chunk: varbit numbers and XORs.

use crate::bits::{peek, read, write};

/// No window of significant bits has been written yet.
const NO_WINDOW: u8 = 0xff;

/// How many bits a varbit number has behind its prefix of so many ones.
const VARBIT_BITS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/// Where the significant bits of the last XOR stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    leading: u8,
    trailing: u8,
}

impl Window {
    pub(crate) const NONE: Self = Self {
        leading: NO_WINDOW,
        trailing: 0,
    };

    pub(super) fn to_word(self) -> u64 {
        u64::from(self.leading) | u64::from(self.trailing) << 8
    }

    pub(super) fn from_word(word: u64) -> Self {
        Self {
            leading: word as u8,
            trailing: (word >> 8) as u8,
        }
    }
}

/// Bits at the end of a chunk that grows.
pub(crate) struct Writer<'a> {
    pub(crate) bytes: &'a mut Vec<u8>,
    /// As in [`write`].
    pub(crate) free: &'a mut u8,
}

impl Writer<'_> {
    pub(super) fn bits(&mut self, value: u64, count: u32) {
        write(self.bytes, self.free, value, count);
    }

    pub(crate) fn varbit_int(&mut self, value: i64) {
        // One more on the positive side: upstream's `bitRange`.
        let fits = |bits: u32| -(1_i64 << (bits - 1)) < value && value <= 1_i64 << (bits - 1);
        let ones = match value {
            0 => 0,
            _ => (1_u32..)
                .zip([3, 6, 9, 12, 18, 25, 56])
                .find(|(_, bits)| fits(*bits))
                .map_or(8, |(ones, _)| ones),
        };
        self.varbit(ones, value as u64);
    }

    pub(super) fn varbit_uint(&mut self, value: u64) {
        let needed = 64 - value.leading_zeros();
        let ones = (0_u32..)
            .zip(VARBIT_BITS)
            .find(|(_, bits)| needed <= *bits)
            .map_or(8, |(ones, _)| ones);
        self.varbit(ones, value);
    }

    // Prefix and number are separate fields, because whole bytes leave an empty one behind them: see `bits::write`.
    fn varbit(&mut self, ones: u32, value: u64) {
        match ones {
            8 => self.bits(0xff, 8),
            _ => self.bits((1 << (ones + 1)) - 2, ones + 1),
        }
        let bits = VARBIT_BITS.get(ones as usize).copied().unwrap_or(64);
        if bits > 0 {
            self.bits(value, bits);
        }
    }

    pub(super) fn xor(&mut self, before: u64, value: u64, window: &mut Window) {
        let xor = before ^ value;
        if xor == 0 {
            self.bits(0, 1);
            return;
        }
        // Five bits hold at most 31 leading zeros.
        let leading = xor.leading_zeros().min(31) as u8;
        let trailing = xor.trailing_zeros() as u8;
        if window.leading != NO_WINDOW && leading >= window.leading && trailing >= window.trailing {
            self.bits(0b10, 2);
            let width = 64 - u32::from(window.leading) - u32::from(window.trailing);
            self.bits(xor >> window.trailing, width);
            return;
        }
        *window = Window { leading, trailing };
        let width = 64 - u32::from(leading) - u32::from(trailing);
        // A width of 64 does not fit in six bits and is written as 0.
        let head = (0b11 << 11) | (u64::from(leading) << 6) | u64::from(width & 63);
        self.bits(head, 13);
        self.bits(xor >> trailing, width);
    }
}

/// Reads fields one after the other. Past the end it reads zeros; the caller checks [`Reader::is_past_end`].
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    /// In bits.
    pub(crate) pos: usize,
}

impl Reader<'_> {
    pub(crate) fn is_past_end(&self) -> bool {
        self.pos > self.bytes.len() * 8
    }

    /// How many bits are left.
    pub(crate) fn left(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.pos)
    }

    /// 1 to 64 bits.
    #[inline]
    pub(crate) fn bits(&mut self, count: u32) -> u64 {
        let bits = read(self.bytes, self.pos, count);
        self.pos += count as usize;
        bits
    }

    /// Gives the number and how many bits it has.
    #[inline]
    fn varbit(&mut self) -> (u64, u32) {
        let word = peek(self.bytes, self.pos);
        if word >> 63 == 0 {
            self.pos += 1;
            return (0, 0);
        }
        let ones = word.leading_ones().min(8);
        self.pos += (ones + 1).min(8) as usize;
        let bits = VARBIT_BITS.get(ones as usize).copied().unwrap_or(64);
        (self.bits(bits), bits)
    }

    #[inline]
    pub(crate) fn varbit_uint(&mut self) -> u64 {
        self.varbit().0
    }

    #[inline]
    pub(crate) fn varbit_int(&mut self) -> i64 {
        match self.varbit() {
            (raw, 0 | 64) => raw as i64,
            (raw, bits) if raw > 1 << (bits - 1) => raw as i64 - (1_i64 << bits),
            (raw, _) => raw as i64,
        }
    }

    /// Go's varint, which may begin inside a byte.
    pub(crate) fn varint(&mut self) -> Result<i64, &'static str> {
        let raw = self.uvarint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// Go's uvarint.
    pub(crate) fn uvarint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0_u64;
        for at in 0..10 {
            let byte = self.bits(8);
            if at == 9 && byte > 1 {
                break;
            }
            value |= (byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("number of more than 64 bits")
    }

    #[inline]
    pub(super) fn xor(&mut self, value: &mut u64, window: &mut Window) -> Result<(), &'static str> {
        if self.bits(1) == 0 {
            return Ok(());
        }
        if self.bits(1) == 1 {
            return self.xor_in_new_window(value, window);
        }
        self.xor_in_window(value, *window);
        Ok(())
    }

    /// The significant bits of an XOR in a window that was written before; all 64 where there is none yet, which
    /// upstream's resumed appenders rely on.
    #[inline]
    pub(crate) fn xor_in_window(&mut self, value: &mut u64, window: Window) {
        match window.leading {
            NO_WINDOW => *value ^= self.bits(64),
            leading => {
                let width = 64 - u32::from(leading) - u32::from(window.trailing);
                *value ^= self.bits(width) << window.trailing;
            }
        }
    }

    /// A new window and the bits in it.
    #[inline]
    pub(crate) fn xor_in_new_window(&mut self, value: &mut u64, window: &mut Window) -> Result<(), &'static str> {
        let leading = self.bits(5) as u8;
        let width = match self.bits(6) as u8 {
            0 => 64,
            width => width,
        };
        let trailing = 64_u8.checked_sub(leading + width).ok_or("impossible bit window")?;
        *window = Window { leading, trailing };
        self.xor_in_window(value, *window);
        Ok(())
    }
}
