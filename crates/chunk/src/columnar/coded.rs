//! Residuals of a column by how often they occur: the form for columns that are written once and kept for long.

use super::ints::Model;
use super::pack::{Cell, bits_of, peek};
use super::plan::{Plan, fill, given_bits, least_usual, usual, varint_bits};
use super::reader::{Reader, malformed, put_varint};
use super::states::{MOST_STATES, SIZES, Writer, each_state, shares_of};
use super::symbols::{MOST_DETAIL, MOST_LOW_BITS, SYMBOLS, Symbol, range_of, symbol_of};
use crate::ChunkError;

// How many states take turns, so that reading one need not wait for the other.
const LANES: usize = 4;
// Where the detail stands in the byte before the shares; below it the size of the table.
const DETAIL_AT: u8 = 4;
// Fewer residuals are not worth a table.
const LEAST_RESIDUALS: usize = 64;

// As many, spread over the column, decide from what residuals are told.
const SOME_RESIDUALS: usize = 256;
const SOME_DETAIL: u32 = 1;

/// How a column is going to be written.
#[derive(Debug)]
pub(super) struct Coding {
    pub(super) model: Model,
    /// Of a line, per place.
    pub(super) step: i64,
    /// What is taken off each residual.
    pub(super) reference: i64,
    symbols: Symbols,
    /// What it takes, in bits, about.
    pub(super) cost: usize,
}

impl Coding {
    /// The shortest coding of `ints`, of which the first is 0, by differences or by the model of `plan`; leaves its
    /// residuals in `left`.
    pub(super) fn best(plan: &Plan, ints: &[i64], left: &mut Vec<i64>) -> Option<Self> {
        if ints.len() < LEAST_RESIDUALS {
            return None;
        }
        let models = [
            Some(Model::Delta),
            Some(plan.model).filter(|model| *model != Model::Delta),
        ];
        let mut best = None::<(usize, Model, i64)>;
        let mut filled = Model::Delta;
        for model in models.into_iter().flatten() {
            fill(model, plan.step, ints, left);
            filled = model;
            let given = given_bits(model, plan.step, ints);
            // A part of them tells how the others are.
            let apart = left.len().div_ceil(SOME_RESIDUALS);
            let some: Vec<i64> = left.iter().step_by(apart).copied().collect();
            let (low, high) = usual(model, plan.step, ints);
            let least = least_usual(left, (low, high));
            let middle = low.wrapping_add(high.wrapping_sub(low) / 2);
            let zeros = some.iter().filter(|r| **r == 0).count();
            // Differences of 0 are best a symbol of their own; without them all lie around some number.
            let references = match model {
                Model::Delta if zeros < some.len() / 16 => [Some(0), Some(least), Some(middle)],
                Model::Delta => [Some(0), None, None],
                _ => [Some(least), Some(middle), None],
            };
            for reference in references.into_iter().flatten() {
                let Some(found) =
                    Counts::of(&some, reference).and_then(|counts| counts.symbols(SOME_DETAIL, some.len()))
                else {
                    continue;
                };
                let cost = found.coded_bits * apart + found.table_bits + given;
                if best.is_none_or(|(least, ..)| cost < least) {
                    best = Some((cost, model, reference));
                }
            }
        }
        let (_, model, reference) = best?;
        if model != filled {
            fill(model, plan.step, ints, left);
        }
        let counts = Counts::of(left, reference)?;
        let all = (0..=MOST_DETAIL).filter_map(|detail| counts.symbols(detail, left.len()));
        let symbols = all.min_by_key(Symbols::bits)?;
        let cost = symbols.bits() + varint_bits(reference) + given_bits(model, plan.step, ints);
        Some(Self {
            model,
            step: plan.step,
            reference,
            symbols,
            cost,
        })
    }

    /// Appends what follows the fields of the column: the table and the residuals.
    pub(super) fn put(&self, left: &[i64], out: &mut Vec<u8>) {
        let Symbols { size, detail, .. } = self.symbols;
        out.push(size as u8 | (detail as u8) << DETAIL_AT);
        let lowest = self.symbols.lowest();
        put_varint(out, i64::from(lowest));
        let shares = self.symbols.shares();
        let mut bits = Bits::default();
        put_shares(&shares, size, &mut bits, out);
        // From the last one to the first, as states have it.
        let writer = Writer::new(&shares, size);
        let mut written = Vec::with_capacity(left.len());
        let mut lanes = [None; LANES];
        for (place, r) in left.iter().enumerate().rev() {
            let int = r.wrapping_sub(self.reference);
            let (symbol, low_bits) = symbol_of(int, detail);
            let symbol = (symbol - lowest) as usize;
            let low = int as u64 & ((1 << low_bits) - 1);
            let Some(lane) = lanes.get_mut(place % LANES) else {
                continue;
            };
            let (state, state_bits, state_low) = match *lane {
                Some(next) => writer.before(symbol, next),
                None => (writer.last(symbol), 0, 0),
            };
            *lane = Some(state);
            written.push((low | state_low << low_bits, low_bits + state_bits));
        }
        for state in lanes.into_iter().flatten() {
            bits.put(u64::from(state), size, out);
        }
        for (word, len) in written.into_iter().rev() {
            bits.put(word, len, out);
        }
        bits.finish(out);
    }
}

/// How often residuals have which symbol of the most detail; with less, some of these are one.
struct Counts(Vec<(i64, u32)>);

impl Counts {
    /// `None` where one is too long.
    fn of(left: &[i64], reference: i64) -> Option<Self> {
        let mut counts = [0_u16; 2 * SYMBOLS];
        let (mut lowest, mut highest) = (2 * SYMBOLS, 0);
        for r in left {
            let (symbol, _) = symbol_of(r.wrapping_sub(reference), MOST_DETAIL);
            let place = (symbol + SYMBOLS as Symbol) as usize;
            *counts.get_mut(place)? += 1;
            lowest = lowest.min(place);
            highest = highest.max(place);
        }
        let used = counts.iter().enumerate().take(highest + 1).skip(lowest);
        let used = used.filter(|(_, count)| **count > 0);
        let ranges = used.map(|(place, count)| {
            let (first, _) = range_of(place as Symbol - SYMBOLS as Symbol, MOST_DETAIL)?;
            Some((first, u32::from(*count)))
        });
        ranges.collect::<Option<Vec<_>>>().map(Self)
    }

    /// The symbols of `detail`; `None` where there are too many or one is too long.
    fn symbols(&self, detail: u32, residuals: usize) -> Option<Symbols> {
        let mut all: Vec<(Symbol, u32, u32)> = Vec::with_capacity(self.0.len());
        for (first, count) in &self.0 {
            let (symbol, low_bits) = symbol_of(*first, detail);
            match all.last_mut() {
                Some(last) if last.0 == symbol => last.2 += count,
                _ if low_bits > MOST_LOW_BITS => return None,
                _ => all.push((symbol, low_bits, *count)),
            }
        }
        // About a state for three residuals, and room for the symbols.
        let wanted = bits_of(residuals as u64).saturating_sub(2);
        let size = wanted
            .clamp(*SIZES.start(), *SIZES.end())
            .max(bits_of(all.len() as u64) + 1);
        if !SIZES.contains(&size) {
            return None;
        }
        let total = log2_256(residuals as u32);
        let (mut coded, mut table, mut next) = (0, 0, None::<Symbol>);
        for (symbol, low_bits, count) in &all {
            coded += u64::from(*count) * u64::from(256 * low_bits + total - log2_256(*count));
            let share = (u64::from(*count) << size) / residuals as u64 + 1;
            let gap: Symbol = next.map_or(0, |next| symbol - next);
            table += 2 * share.ilog2() + 1 + if gap > 0 { 2 + 2 * gap.ilog2() } else { 0 };
            next = Some(symbol + 1);
        }
        Some(Symbols {
            detail,
            size,
            all,
            coded_bits: (coded / 256) as usize,
            // The table's byte and the lowest symbol; the first states; half a byte is left over at the end.
            table_bits: table as usize + 24 + LANES * size as usize + 4,
        })
    }
}

/// The symbols of a column, ascending.
#[derive(Debug)]
struct Symbols {
    detail: u32,
    size: u32,
    // With the number of their low bits and how often they occur.
    all: Vec<(Symbol, u32, u32)>,
    // What the residuals take, about,
    coded_bits: usize,
    // and what everything else does.
    table_bits: usize,
}

impl Symbols {
    fn bits(&self) -> usize {
        self.coded_bits + self.table_bits
    }

    fn lowest(&self) -> Symbol {
        self.all.first().map_or(0, |(symbol, ..)| *symbol)
    }

    // Of all from the lowest to the highest.
    fn shares(&self) -> Vec<u16> {
        let lowest = self.lowest();
        let highest = self.all.last().map_or(lowest, |(symbol, ..)| *symbol);
        let mut counts = vec![0; (highest - lowest) as usize + 1];
        for (symbol, _, count) in &self.all {
            if let Some(place) = counts.get_mut((symbol - lowest) as usize) {
                *place = *count;
            }
        }
        shares_of(&counts, self.size)
    }
}

// Of 1 to 2, in 256ths.
const LOGARITHMS: [u8; 256] = {
    let mut all = [0; 256];
    let mut n = 0;
    while n < 256 {
        // Squaring doubles the logarithm.
        let (mut mantissa, mut fraction, mut bit) = ((256 + n as u64) << 23, 0, 0);
        while bit < 8 {
            mantissa = (mantissa * mantissa) >> 31;
            fraction <<= 1;
            if mantissa >> 32 != 0 {
                mantissa >>= 1;
                fraction |= 1;
            }
            bit += 1;
        }
        all[n] = fraction;
        n += 1;
    }
    all
};

// The logarithm to the base of two of a number that is not 0, in 256ths, rounded down.
fn log2_256(n: u32) -> u32 {
    let whole = n.max(1).ilog2();
    let mantissa = (u64::from(n) << 8 >> whole) as u8;
    whole << 8 | u32::from(LOGARITHMS.get(usize::from(mantissa)).copied().unwrap_or_default())
}

// Each share, and after a share of 0 how many more of them follow; the last ends with the table.
fn put_shares(shares: &[u16], size: u32, bits: &mut Bits, out: &mut Vec<u8>) {
    let mut left = 1_u32 << size;
    let mut rest = shares;
    while let Some((share, others)) = rest.split_first()
        && left > 0
    {
        rest = others;
        bits.put_gamma(u32::from(*share) + 1, out);
        left = left.saturating_sub(u32::from(*share));
        if *share == 0 {
            let zeros = rest.iter().take_while(|share| **share == 0).count();
            bits.put_gamma(zeros as u32 + 1, out);
            rest = rest.get(zeros..).unwrap_or_default();
        }
    }
}

/// Fills `out` with the residuals that `reader` stands at, the reference not yet added.
///
/// # Errors
/// [`ChunkError::Truncated`] or [`ChunkError::Malformed`]; what `out` then holds means nothing.
pub(super) fn decode<C: Cell>(reader: &mut Reader<'_>, out: &mut [C]) -> Result<(), ChunkError> {
    let head = reader.byte()?;
    let (size, detail) = (u32::from(head & ((1 << DETAIL_AT) - 1)), u32::from(head >> DETAIL_AT));
    if !SIZES.contains(&size) || detail > MOST_DETAIL {
        return Err(malformed("table of a column"));
    }
    let lowest = Symbol::try_from(reader.varint()?).map_err(|_| malformed("symbol of a column"))?;
    let bytes = reader.rest();
    let mut at = 0;
    let mut table = [Entry::default(); MOST_STATES];
    read_table(bytes, &mut at, (size, detail), lowest, &mut table)?;
    let mut states = [0_u16; LANES];
    for state in states.iter_mut().take(out.len()) {
        *state = (peek(bytes, at) & ((1 << size) - 1)) as u16;
        at += size as usize;
    }
    let mut residuals = Residuals {
        bytes,
        at,
        table: &table,
    };
    let with_next = out.len().saturating_sub(LANES);
    let (follow, end) = out.split_at_mut(with_next);
    let (groups, odd) = follow.as_chunks_mut::<LANES>();
    let [mut a, mut b, mut c, mut d] = states;
    for [to_a, to_b, to_c, to_d] in groups {
        *to_a = C::of(residuals.next(&mut a));
        *to_b = C::of(residuals.next(&mut b));
        *to_c = C::of(residuals.next(&mut c));
        *to_d = C::of(residuals.next(&mut d));
    }
    let mut states = [a, b, c, d];
    let odd_len = odd.len();
    for (cell, state) in odd.iter_mut().zip(&mut states) {
        *cell = C::of(residuals.next(state));
    }
    states.rotate_left(odd_len);
    for (cell, state) in end.iter_mut().zip(states) {
        *cell = C::of(residuals.last(state));
    }
    reader.section(residuals.at.div_ceil(8)).map(|_| ())
}

struct Residuals<'a> {
    bytes: &'a [u8],
    /// The bit that is read next.
    at: usize,
    table: &'a [Entry; MOST_STATES],
}

impl<'a> Residuals<'a> {
    // The residual of `state`, which becomes the one after it.
    #[inline(always)]
    fn next(&mut self, state: &mut u16) -> i64 {
        let entry = self.entry(*state);
        let word = peek(self.bytes, self.at);
        self.at += usize::from(entry.bits);
        let more = (word >> entry.low_bits) & u64::from(entry.next_mask);
        *state = entry.next + more as u16;
        entry.residual(word)
    }

    // The residual of a state that has none after it.
    fn last(&mut self, state: u16) -> i64 {
        let entry = self.entry(state);
        let word = peek(self.bytes, self.at);
        self.at += usize::from(entry.low_bits);
        entry.residual(word)
    }

    #[inline(always)]
    fn entry(&self, state: u16) -> &'a Entry {
        // The table has a power of two of them, so that none is missing.
        let [first, ..] = self.table;
        self.table.get(usize::from(state) % MOST_STATES).unwrap_or(first)
    }
}

/// What a state says.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// The least residual of the symbol; the low bits are added to it.
    first: i64,
    low_bits: u8,
    /// The low bits and those that say which state is next.
    bits: u8,
    /// The first of the states that may be next,
    next: u16,
    /// and how many more there are.
    next_mask: u16,
}

impl Entry {
    #[inline(always)]
    fn residual(&self, word: u64) -> i64 {
        self.first.wrapping_add((word & ((1 << self.low_bits) - 1)) as i64)
    }
}

// Fills the table from the shares at bit `at`, which goes on behind them.
fn read_table(
    bytes: &[u8],
    at: &mut usize,
    (size, detail): (u32, u32),
    lowest: Symbol,
    table: &mut [Entry; MOST_STATES],
) -> Result<(), ChunkError> {
    let (mut shares, mut meanings) = (Vec::with_capacity(64), Vec::with_capacity(64));
    let mut left = 1_u32 << size;
    let mut symbol = lowest;
    while left > 0 {
        let share = gamma(bytes, at)? - 1;
        if share == 0 {
            symbol = symbol.saturating_add(gamma(bytes, at)? as Symbol);
            continue;
        }
        left = left.checked_sub(share).ok_or(malformed("shares of a column"))?;
        let (first, low_bits) = range_of(symbol, detail).ok_or(malformed("symbol of a column"))?;
        symbol += 1;
        shares.push(share as u16);
        meanings.push((first, low_bits as u8));
    }
    each_state(&shares, size, |state, symbol, next| {
        if let (Some(entry), Some((first, low_bits))) = (table.get_mut(state), meanings.get(symbol)) {
            *entry = Entry {
                first: *first,
                low_bits: *low_bits,
                bits: low_bits + next.bits,
                next: next.first,
                next_mask: (1 << next.bits) - 1,
            };
        }
    });
    Ok(())
}

// A number from 1 on: as many zeros as it has bits below the highest, a one, these bits.
fn gamma(bytes: &[u8], at: &mut usize) -> Result<u32, ChunkError> {
    let word = peek(bytes, *at);
    let below = word.trailing_zeros();
    if below > 16 {
        // More zeros than any number has, or there are no bytes any more.
        return match *at / 8 < bytes.len() {
            true => Err(malformed("shares of a column")),
            false => Err(ChunkError::Truncated { bytes: bytes.len() }),
        };
    }
    *at += 2 * below as usize + 1;
    let low = (word >> (below + 1)) as u32 & ((1 << below) - 1);
    Ok(1 << below | low)
}

/// Bits on their way into bytes, the lowest first.
#[derive(Debug, Default)]
struct Bits {
    word: u64,
    filled: u32,
}

impl Bits {
    /// Appends the low `len` bits of `bits`, at most 57 of them; those above are 0.
    #[inline(always)]
    fn put(&mut self, bits: u64, len: u32, out: &mut Vec<u8>) {
        self.word |= bits << self.filled;
        self.filled += len;
        if self.filled >= 64 {
            out.extend(self.word.to_le_bytes());
            self.filled -= 64;
            self.word = bits.checked_shr(len - self.filled).unwrap_or(0);
        }
    }

    fn put_gamma(&mut self, number: u32, out: &mut Vec<u8>) {
        let below = number.ilog2();
        let low = u64::from(number) & ((1 << below) - 1);
        self.put((low << 1 | 1) << below, 2 * below + 1, out);
    }

    fn finish(self, out: &mut Vec<u8>) {
        let rest = self.word.to_le_bytes();
        out.extend(rest.iter().take(self.filled.div_ceil(8) as usize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_right_to_a_256th() {
        for n in [1, 2, 3, 5, 7, 100, 511] {
            let exact = f64::from(n).log2() * 256.0;
            let found = f64::from(log2_256(n));
            assert!(found <= exact && exact < found + 1.0 + 1e-9, "{n}: {found} for {exact}");
        }
    }
}
