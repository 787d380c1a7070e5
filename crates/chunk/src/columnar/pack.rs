//! Integers of one width, packed bit after bit, lowest first.

/// A place for an integer: a time, or the bits of a value that is being put together.
pub(super) trait Cell: Copy {
    fn of(int: i64) -> Self;
    fn int(self) -> i64;
}

impl Cell for i64 {
    #[inline(always)]
    fn of(int: i64) -> Self {
        int
    }

    #[inline(always)]
    fn int(self) -> i64 {
        self
    }
}

impl Cell for f64 {
    #[inline(always)]
    fn of(int: i64) -> Self {
        Self::from_bits(int as u64)
    }

    #[inline(always)]
    fn int(self) -> i64 {
        self.to_bits() as i64
    }
}

/// How many bytes `count` integers of `width` bits take.
pub(super) fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// The low `width` bits set, of 0 to 64.
#[inline(always)]
pub(super) fn mask(width: u32) -> u64 {
    u64::MAX.checked_shr(64 - width).unwrap_or(0)
}

/// How many bits `value` needs.
#[inline(always)]
pub(super) fn bits_of(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Appends the low `width` bits of each of `ints`; `width` is 0 to 64.
pub(super) fn pack(ints: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let mask = mask(width);
    let (mut word, mut filled) = (0_u64, 0_u32);
    for int in ints {
        let int = int & mask;
        word |= int << filled;
        filled += width;
        if filled >= 64 {
            out.extend(word.to_le_bytes());
            filled -= 64;
            word = int.checked_shr(width - filled).unwrap_or(0);
        }
    }
    let rest = word.to_le_bytes();
    out.extend(rest.iter().take(filled.div_ceil(8) as usize));
}

/// Packed integers among the bytes of a column.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Packed<'a> {
    /// The whole column and what follows it, so that most integers are read as part of a whole word.
    pub(super) bytes: &'a [u8],
    /// Where the integers begin.
    pub(super) at: usize,
}

impl Packed<'_> {
    /// Fills `out` with integers of `width` bits, of 0 to 64; past the end of the bytes there are zeros.
    pub(super) fn unpack<C: Cell>(self, width: u32, out: &mut [C]) {
        macro_rules! by_width {
            ($($width:literal)*) => {
                match width {
                    0 => out.fill(C::of(0)),
                    $($width => self.unpack_narrow::<$width, C>(out),)*
                    _ => self.unpack_from(0, width, out),
                }
            };
        }
        // A loop per width knows its shifts and needs one check for eight integers.
        by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36
            37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57);
    }

    fn unpack_narrow<const WIDTH: usize, C: Cell>(self, out: &mut [C]) {
        let mask = mask(WIDTH as u32) as i64;
        let mut done = 0;
        let (groups, _) = out.as_chunks_mut::<8>();
        for group in groups {
            // Eight integers take as many bytes as one has bits.
            let start = self.at + done / 8 * WIDTH;
            let Some(part) = self.bytes.get(start..start + WIDTH + 8) else {
                break;
            };
            for (n, cell) in group.iter_mut().enumerate() {
                let bit = n * WIDTH;
                let word = part.get(bit / 8..bit / 8 + 8).and_then(|p| p.first_chunk::<8>());
                let word = word.map_or(0, |w| u64::from_le_bytes(*w));
                *cell = C::of((word >> (bit % 8)) as i64 & mask);
            }
            done += 8;
        }
        self.unpack_from(done, WIDTH as u32, out);
    }

    // From the integer `from` on, whatever the width.
    fn unpack_from<C: Cell>(self, from: usize, width: u32, out: &mut [C]) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let packed = match rest.len() {
            0..8 => self,
            _ => Self { bytes: rest, at: 0 },
        };
        for (nth, cell) in out.iter_mut().enumerate().skip(from) {
            *cell = C::of(packed.get(nth, width) as i64);
        }
    }

    /// The integer `nth` of those of `width` bits, of 0 to 64.
    #[inline(always)]
    pub(super) fn get(self, nth: usize, width: u32) -> u64 {
        let bit = nth * width as usize;
        let (at, shift) = (self.at + bit / 8, bit % 8);
        let mut word = load(self.bytes, at) >> shift;
        // More than 57 bits may reach into a ninth byte.
        if shift + width as usize > 64 {
            word |= u64::from(self.bytes.get(at + 8).copied().unwrap_or(0)) << (64 - shift);
        }
        word & mask(width)
    }
}

/// The bits from bit `at` on, at least 57 of them; past the end of the bytes there are zeros.
#[inline(always)]
pub(super) fn peek(bytes: &[u8], at: usize) -> u64 {
    load(bytes, at / 8) >> (at % 8)
}

#[inline(always)]
fn load(bytes: &[u8], at: usize) -> u64 {
    if let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        return u64::from_le_bytes(*word);
    }
    let Some(last) = bytes.last_chunk::<8>() else {
        return load_few(bytes, at);
    };
    let missing = (at + 8).saturating_sub(bytes.len()).min(8);
    u64::from_le_bytes(*last).checked_shr(8 * missing as u32).unwrap_or(0)
}

#[cold]
fn load_few(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_of_any_width_come_back(
            ints in proptest::collection::vec(any::<u64>(), 0..70), width in 0_u32..=64,
            at in 0_usize..12, behind in 0_usize..12,
        ) {
            let mut bytes = vec![0xff; at];
            pack(ints.iter().copied(), width, &mut bytes);
            prop_assert_eq!(bytes.len(), at + packed_len(ints.len(), width));
            bytes.resize(bytes.len() + behind, 0xff);
            let mut back = vec![7_i64; ints.len()];
            Packed { bytes: &bytes, at }.unpack(width, &mut back);
            let kept: Vec<_> = ints.iter().map(|int| (int & mask(width)) as i64).collect();
            prop_assert_eq!(back, kept);
        }
    }

    #[test]
    fn the_lowest_bit_comes_first() {
        let mut bytes = Vec::new();
        pack([1, 2, 3, 4].into_iter(), 3, &mut bytes);
        // 100 011 010 001 from the highest to the lowest.
        assert_eq!(bytes, [0b1101_0001, 0b0000_1000]);
    }
}
