//! Tables of an asymmetric numeral system: symbols take fractions of bits, by how often they occur.
//!
//! A state is a number below the size of the table, a power of two. Each state belongs to one symbol, and to a symbol as
//! many as it has shares of the table. Reading gives the symbol of the state and, from a few bits, the state that comes
//! next; writing goes from the last symbol to the first.

/// The sizes that a table may have, as powers of two.
pub(super) const SIZES: std::ops::RangeInclusive<u32> = 5..=9;
/// The largest size.
pub(super) const MOST_STATES: usize = 1 << 9;

/// What comes after a state: `first` and a number of `bits` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) first: u16,
    pub(super) bits: u8,
}

/// Calls `visit` for each state with the number of its symbol in `shares` and what comes after it. `false`, and nothing
/// done, unless the shares make up the whole table of `1 << size` states.
pub(super) fn each_state(shares: &[u16], size: u32, mut visit: impl FnMut(usize, usize, Next)) -> bool {
    let states = 1_usize << size;
    if shares.iter().map(|share| usize::from(*share)).sum::<usize>() != states {
        return false;
    }
    // An odd step visits all states once and spreads those of a symbol over the table.
    let step = (states >> 1) + (states >> 3) + 3;
    let mut state = 0;
    for (symbol, share) in shares.iter().enumerate() {
        for nth in u32::from(*share)..2 * u32::from(*share) {
            let bits = size - nth.ilog2();
            let first = (nth << bits) - (1 << size);
            visit(
                state,
                symbol,
                Next {
                    first: first as u16,
                    bits: bits as u8,
                },
            );
            state = (state + step) & (states - 1);
        }
    }
    true
}

/// For writing: which state of a symbol leads to which next one.
#[derive(Debug)]
pub(super) struct Writer {
    size: u32,
    // Of each symbol its share, and where its states begin in `states`.
    symbols: Vec<(u16, u16)>,
    states: Vec<u16>,
}

impl Writer {
    /// `shares` make up the whole table.
    pub(super) fn new(shares: &[u16], size: u32) -> Self {
        let mut states = Vec::with_capacity(1 << size);
        // The states of a symbol are visited in the order of what comes after them.
        each_state(shares, size, |state, _, _| states.push(state as u16));
        let mut begin = 0;
        let symbols = shares.iter().map(|share| {
            let from = begin;
            begin += share;
            (*share, from)
        });
        Self {
            size,
            symbols: symbols.collect(),
            states,
        }
    }

    /// A state of `symbol` that may have any state after it.
    pub(super) fn last(&self, symbol: usize) -> u16 {
        let (_, begin) = self.symbols.get(symbol).copied().unwrap_or_default();
        self.states.get(usize::from(begin)).copied().unwrap_or_default()
    }

    /// The state of `symbol` after which `next` comes, and the bits that say so: their number and what they are.
    #[inline(always)]
    pub(super) fn before(&self, symbol: usize, next: u16) -> (u16, u32, u64) {
        let (share, begin) = self.symbols.get(symbol).copied().unwrap_or_default();
        let next = (1 << self.size) + u32::from(next);
        let share = u32::from(share).max(1);
        // As many bits as leave a number between the share and twice the share.
        let mut bits = self.size - share.ilog2();
        if next >> bits < share {
            bits -= 1;
        }
        let nth = (next >> bits) - share;
        let state = self.states.get(usize::from(begin) + nth as usize);
        let low = u64::from(next) & ((1 << bits) - 1);
        (state.copied().unwrap_or_default(), bits, low)
    }
}

/// Shares of a table of `1 << size` states for symbols that occur so often; each that occurs has one at least.
///
/// There are fewer symbols than states.
pub(super) fn shares_of(counts: &[u32], size: u32) -> Vec<u16> {
    let total = counts.iter().map(|n| u64::from(*n)).sum::<u64>().max(1);
    let states = 1_u64 << size;
    let mut left = states as i64;
    let mut shares: Vec<u16> = counts
        .iter()
        .map(|count| {
            if *count == 0 {
                return 0;
            }
            let share = (u64::from(*count) * states * 2 + total) / (2 * total);
            let share = share.max(1);
            left -= share as i64;
            share as u16
        })
        .collect();
    // Rounding leaves some over or takes too many; the largest feel it least.
    while left != 0 {
        let Some(largest) = shares.iter_mut().max() else { break };
        let change = if left > 0 {
            left
        } else {
            left.max(-i64::from(*largest / 2))
        };
        if change == 0 {
            break;
        }
        *largest = (i64::from(*largest) + change) as u16;
        left -= change;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_backwards_is_read_forwards() {
        for (counts, size) in [
            (vec![1, 1, 1], 5),
            (vec![1000, 1], 9),
            (vec![5, 0, 3, 900, 0, 0, 77], 9),
            (vec![7], 6),
            (vec![1; 31], 5),
            (vec![40, 30, 20, 10], 9),
        ] {
            let shares = shares_of(&counts, size);
            let mut table = vec![(0, Next { first: 0, bits: 0 }); 1 << size];
            assert!(each_state(&shares, size, |state, symbol, next| table[state] = (symbol, next)));
            let used: Vec<usize> = (0..counts.len()).filter(|n| counts[*n] > 0).collect();
            let symbols: Vec<usize> = (0..300).map(|n| used[n * n * 7 % used.len()]).collect();
            let writer = Writer::new(&shares, size);
            let mut state = writer.last(symbols[299]);
            let mut written = Vec::new();
            for symbol in symbols[..299].iter().rev() {
                let (before, bits, low) = writer.before(*symbol, state);
                written.push((bits, low));
                state = before;
            }
            for (n, symbol) in symbols.iter().enumerate() {
                let (found, next) = table[usize::from(state)];
                assert_eq!(found, *symbol, "{n} of {counts:?}");
                if let Some((bits, low)) = written.pop() {
                    assert_eq!(u32::from(next.bits), bits);
                    state = next.first + low as u16;
                }
            }
        }
    }

    #[test]
    fn shares_make_up_the_table() {
        for counts in [
            vec![1],
            vec![1, 1, 1],
            vec![0, 65_535, 1, 1],
            vec![3; 20],
            (0..300).collect(),
        ] {
            for size in SIZES.filter(|size| counts.len() < 1 << size) {
                let shares = shares_of(&counts, size);
                assert_eq!(
                    shares.iter().map(|s| usize::from(*s)).sum::<usize>(),
                    1 << size,
                    "{counts:?}"
                );
                let has_none: Vec<bool> = shares.iter().map(|share| *share == 0).collect();
                assert_eq!(has_none, counts.iter().map(|n| *n == 0).collect::<Vec<_>>());
            }
        }
    }
}
