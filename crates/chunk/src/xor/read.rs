//! Reading a chunk.

use crate::bits::{PEEKED, peek, read, uvarint, varint};
use crate::{ChunkError, num_samples};

/// Where a decoder stands: everything the next sample builds on.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    /// Position in bits.
    pub(super) pos: usize,
    pub(super) ts: i64,
    pub(super) delta: u64,
    pub(super) value: u64,
    /// Leading and trailing zeros of the last window; `None` before the first.
    pub(super) window: Option<(u8, u8)>,
    // Of the window; the whole word before the first one, which upstream's resumed appenders rely on.
    trailing: u32,
    width: u32,
}

impl State {
    /// Reads a sample from the third on; `word` is what [`peek`] gives at `pos`. Positions past the end read zeros; the
    /// caller checks `pos`.
    #[inline(always)]
    fn advance(&mut self, bytes: &[u8], word: u64) -> Result<(), &'static str> {
        // Most scrapes come in time.
        if word >> 63 == 0 {
            self.ts = self.ts.wrapping_add(self.delta as i64);
            return self.advance_value(bytes, word << 1, 1);
        }
        self.advance_late(bytes, word)
    }

    /// [`State::advance`] where the interval changes.
    #[inline(always)]
    fn advance_late(&mut self, bytes: &[u8], word: u64) -> Result<(), &'static str> {
        let (dod, used) = match (!word).leading_zeros() {
            1 => (signed::<14>(word << 2), 16),
            2 => (signed::<17>(word << 3), 20),
            3 => (signed::<20>(word << 4), 24),
            _ => (read(bytes, self.pos + 4, 64) as i64, 68),
        };
        self.delta = self.delta.wrapping_add(dod as u64);
        self.ts = self.ts.wrapping_add(self.delta as i64);
        if used <= 24 {
            return self.advance_value(bytes, word << used, used);
        }
        self.pos += used as usize;
        let word = peek(bytes, self.pos);
        self.advance_value(bytes, word, 0)
    }

    /// Reads a value `used` bits behind `pos`; `word` holds the bits from there on, of which `57 - used` are real.
    #[inline(always)]
    fn advance_value(&mut self, bytes: &[u8], word: u64, used: u32) -> Result<(), &'static str> {
        if word >> 62 == 0b11 || used + 2 + self.width > PEEKED {
            return self.advance_window(bytes, word, used);
        }
        // The same value or one in the window: which of them cannot be foretold, so there is no branch.
        let is_changed = word >> 63;
        let bits = (word << 2) >> (64 - self.width);
        self.value ^= (bits << self.trailing) & is_changed.wrapping_neg();
        self.pos += (used + 1) as usize + (is_changed * u64::from(1 + self.width)) as usize;
        Ok(())
    }

    /// [`State::advance_value`] for every case.
    #[inline(always)]
    fn advance_window(&mut self, bytes: &[u8], word: u64, used: u32) -> Result<(), &'static str> {
        if word >> 63 == 0 {
            self.pos += used as usize + 1;
            return Ok(());
        }
        let head = if word >> 62 == 0b10 {
            2
        } else {
            let leading = (word >> 57) as u32 & 31;
            let width = match (word >> 51) as u32 & 63 {
                0 => 64,
                width => width,
            };
            self.trailing = 64_u32.checked_sub(leading + width).ok_or("impossible bit window")?;
            self.width = width;
            self.window = Some((leading as u8, self.trailing as u8));
            13
        };
        let at = self.pos + (used + head) as usize;
        self.value ^= read(bytes, at, self.width) << self.trailing;
        self.pos = at + self.width as usize;
        Ok(())
    }
}

/// The number in the top `BITS` bits of `word`, in upstream's off-by-one two's complement.
#[inline(always)]
fn signed<const BITS: u32>(word: u64) -> i64 {
    let raw = (word >> (64 - BITS)) as i64;
    if raw > 1 << (BITS - 1) { raw - (1 << BITS) } else { raw }
}

/// Walks an XOR chunk sample by sample.
#[derive(Debug, Clone)]
pub struct XorCursor<'a> {
    bytes: &'a [u8],
    total: u16,
    done: u16,
    state: State,
}

impl<'a> XorCursor<'a> {
    /// A cursor before the first sample.
    ///
    /// # Errors
    /// [`ChunkError::Truncated`] where the bytes are too few for the samples they announce,
    /// [`ChunkError::TrailingBytes`] where they announce none and go on.
    pub fn new(bytes: &'a [u8]) -> Result<Self, ChunkError> {
        let total = num_samples(bytes)?;
        // A first sample takes 9 bytes at least, a second one 9 bits, each other one 2 bits.
        let least_bits = match total {
            0 => 16,
            1 => 88,
            n => 97 + (usize::from(n) - 2) * 2,
        };
        if bytes.len() * 8 < least_bits {
            return Err(ChunkError::Truncated { bytes: bytes.len() });
        }
        let state = State {
            pos: 16,
            ts: 0,
            delta: 0,
            value: 0,
            window: None,
            trailing: 0,
            width: 64,
        };
        let cursor = Self {
            bytes,
            total,
            done: 0,
            state,
        };
        if total == 0 {
            cursor.check_end()?;
        }
        Ok(cursor)
    }

    /// How many samples are still to come.
    #[must_use]
    pub fn remaining(&self) -> usize {
        usize::from(self.total - self.done)
    }

    /// The next sample, `None` after the last.
    ///
    /// # Errors
    /// [`ChunkError`] where the bytes are cut short or malformed, or go on after the last sample.
    #[inline]
    pub fn next_sample(&mut self) -> Result<Option<(i64, f64)>, ChunkError> {
        if self.done == self.total {
            return Ok(None);
        }
        match self.done {
            0 => self.read_first()?,
            1 => self.read_second()?,
            _ => self
                .state
                .advance(self.bytes, peek(self.bytes, self.state.pos))
                .map_err(|what| self.malformed(what))?,
        }
        self.check_pos()?;
        self.done += 1;
        if self.done == self.total {
            self.check_end()?;
        }
        Ok(Some((self.state.ts, f64::from_bits(self.state.value))))
    }

    /// Where the cursor stands, for an appender that goes on.
    pub(super) fn end(&self) -> State {
        self.state
    }

    fn read_first(&mut self) -> Result<(), ChunkError> {
        let (ts, len) = self.varint_at(varint)?;
        self.state.ts = ts;
        self.state.pos += len * 8;
        self.state.value = read(self.bytes, self.state.pos, 64);
        self.state.pos += 64;
        Ok(())
    }

    fn read_second(&mut self) -> Result<(), ChunkError> {
        let (delta, len) = self.varint_at(uvarint)?;
        self.state.delta = delta;
        self.state.ts = self.state.ts.wrapping_add(delta as i64);
        self.state.pos += len * 8;
        let word = peek(self.bytes, self.state.pos);
        self.state
            .advance_value(self.bytes, word, 0)
            .map_err(|what| self.malformed(what))
    }

    // The first two timestamps begin at a whole byte.
    fn varint_at<T>(&self, parse: impl Fn(&[u8]) -> Option<(T, usize)>) -> Result<(T, usize), ChunkError> {
        let rest = self.bytes.get(self.state.pos / 8..).unwrap_or_default();
        parse(rest).ok_or_else(|| match rest.len() {
            0..10 => self.truncated(),
            _ => self.malformed("timestamp of more than 64 bits"),
        })
    }

    fn check_pos(&self) -> Result<(), ChunkError> {
        if self.state.pos <= self.bytes.len() * 8 {
            Ok(())
        } else {
            Err(self.truncated())
        }
    }

    fn check_end(&self) -> Result<(), ChunkError> {
        let end = self.state.pos.div_ceil(8);
        match self.bytes.get(end..).unwrap_or_default() {
            [] => Ok(()),
            // Upstream's writer opens a byte ahead: see `bits::write`.
            [0] if self.state.pos.is_multiple_of(8) => Ok(()),
            rest => Err(ChunkError::TrailingBytes { left: rest.len() }),
        }
    }

    #[cold]
    fn truncated(&self) -> ChunkError {
        ChunkError::Truncated {
            bytes: self.bytes.len(),
        }
    }

    #[cold]
    fn malformed(&self, what: &'static str) -> ChunkError {
        ChunkError::Malformed {
            what,
            sample: self.done,
        }
    }
}

impl Iterator for XorCursor<'_> {
    type Item = Result<(i64, f64), ChunkError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_sample() {
            Ok(sample) => sample.map(Ok),
            Err(error) => {
                self.done = self.total;
                Some(Err(error))
            }
        }
    }
}

/// Appends the samples of an XOR chunk with `mint <= ts <= maxt` to the columns `ts` and `values`, which the caller
/// owns and reuses.
///
/// Stops at the first sample behind `maxt`, so it expects a chunk ascending in time, as all stored ones are. What
/// follows that sample is not looked at.
///
/// # Errors
/// [`ChunkError`] where the bytes are cut short or malformed, or go on after the last sample; the columns are then as
/// before.
pub fn decode_into(
    bytes: &[u8],
    mint: i64,
    maxt: i64,
    ts: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    debug_assert_eq!(ts.len(), values.len());
    let mut cursor = XorCursor::new(bytes)?;
    let (ts_start, values_start) = (ts.len(), values.len());
    // Room for all, then trimmed: the loop below has no growth to check. At most 65,535 samples, and `new` has
    // checked that the bytes can hold as many.
    ts.resize(ts_start + cursor.remaining(), 0);
    values.resize(values_start + cursor.remaining(), 0.0);
    let columns = (
        ts.get_mut(ts_start..).unwrap_or_default(),
        values.get_mut(values_start..).unwrap_or_default(),
    );
    match fill(&mut cursor, maxt, columns) {
        Ok(filled) => {
            ts.truncate(ts_start + filled);
            values.truncate(values_start + filled);
            let early = ts.iter().skip(ts_start).take_while(|t| **t < mint).count();
            if early > 0 {
                ts.drain(ts_start..ts_start + early);
                values.drain(values_start..values_start + early);
            }
            Ok(())
        }
        Err(error) => {
            ts.truncate(ts_start);
            values.truncate(values_start);
            Err(error)
        }
    }
}

// As many repeated samples at once are worth a loop of their own.
const MANY_REPEATS: u32 = 6;

// Fills the columns up to the first sample behind `maxt`; gives the number of samples.
fn fill(cursor: &mut XorCursor<'_>, maxt: i64, columns: (&mut [i64], &mut [f64])) -> Result<usize, ChunkError> {
    let bytes = cursor.bytes;
    let bits = bytes.len() * 8;
    let mut filled = 0;
    for (ts, value) in columns.0.iter_mut().zip(columns.1.iter_mut()).take(2) {
        let Some(sample) = cursor.next_sample()? else {
            return Ok(filled);
        };
        if sample.0 > maxt {
            return Ok(filled);
        }
        (*ts, *value) = sample;
        filled += 1;
    }
    // A local copy of the state stays in registers.
    let mut state = cursor.state;
    let (ts, values) = columns;
    while let (Some(ts_left), Some(values_left)) = (ts.get_mut(filled..), values.get_mut(filled..)) {
        let mut run = 0;
        for (ts, value) in ts_left.iter_mut().zip(values_left.iter_mut()) {
            let word = peek(bytes, state.pos);
            if word >> (64 - 2 * MANY_REPEATS) == 0 {
                run = (word.leading_zeros().min(PEEKED) / 2) as usize;
                break;
            }
            if let Err(what) = state.advance(bytes, word) {
                return Err(ChunkError::Malformed {
                    what,
                    sample: filled as u16,
                });
            }
            if state.pos > bits {
                return Err(cursor.truncated());
            }
            if state.ts > maxt {
                return Ok(filled);
            }
            *ts = state.ts;
            *value = f64::from_bits(state.value);
            filled += 1;
        }
        if run == 0 {
            break;
        }
        let end = filled + run.min(ts.len() - filled);
        let (Some(ts), Some(values)) = (ts.get_mut(filled..end), values.get_mut(filled..end)) else {
            break;
        };
        state.pos += 2 * ts.len();
        if state.pos > bits {
            return Err(cursor.truncated());
        }
        let first = state.ts;
        for (n, ts) in (1..).zip(ts.iter_mut()) {
            *ts = first.wrapping_add((state.delta as i64).wrapping_mul(n));
        }
        values.fill(f64::from_bits(state.value));
        state.ts = ts.last().copied().unwrap_or(first);
        if state.ts > maxt {
            return Ok(filled + ts.iter().take_while(|ts| **ts <= maxt).count());
        }
        filled = end;
    }
    cursor.state = state;
    cursor.check_end()?;
    Ok(filled)
}
