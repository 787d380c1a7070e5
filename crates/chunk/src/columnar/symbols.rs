//! What of a residual is coded by how often it occurs, and what is stored as it is.
//!
//! An integer of few bits is a symbol by itself. Of a longer one the symbol names the number of bits, the sign and the
//! bits below the highest one, as many as the column's `detail` says; the rest are its low bits.

use super::pack::bits_of;

/// A symbol: those of negative integers are negative, and larger integers have no smaller symbols.
pub(super) type Symbol = i32;

/// The most low bits of a symbol: together with the bits of a state they are read in one word.
pub(super) const MOST_LOW_BITS: u32 = 46;
/// The most detail that a column says.
pub(super) const MOST_DETAIL: u32 = 3;
/// Symbols are at least `-SYMBOLS` and below `SYMBOLS`.
pub(super) const SYMBOLS: usize = ((MOST_LOW_BITS as usize) << MOST_DETAIL) + (2 << MOST_DETAIL);

/// The symbol of an integer, and how many low bits it has.
#[inline(always)]
pub(super) fn symbol_of(int: i64, detail: u32) -> (Symbol, u32) {
    let sign = int >> 63;
    let magnitude = (int ^ sign) as u64;
    let low_bits = bits_of(magnitude).saturating_sub(1 + detail);
    let symbol = ((low_bits << detail) as u64 + (magnitude >> low_bits)) as i64;
    ((symbol ^ sign) as Symbol, low_bits)
}

/// The least integer of a symbol, and how many low bits are added to it. `None` where there is no such symbol.
pub(super) fn range_of(symbol: Symbol, detail: u32) -> Option<(i64, u32)> {
    let is_negative = symbol < 0;
    let class = u32::try_from(if is_negative { !symbol } else { symbol }).ok()?;
    let low_bits = (class >> detail).saturating_sub(1);
    if low_bits > MOST_LOW_BITS {
        return None;
    }
    let least = i64::from(class - (low_bits << detail)) << low_bits;
    let first = if is_negative { -least - (1 << low_bits) } else { least };
    Some((first, low_bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_integer_is_in_the_range_of_its_symbol() {
        let edges = (0..50).flat_map(|bits| (-3..=3).map(move |n| (1_i64 << bits) + n));
        for int in edges.flat_map(|int| [int, -int, 3 * int, 5 * int - 2]) {
            for detail in 0..=MOST_DETAIL {
                let (symbol, low_bits) = symbol_of(int, detail);
                match range_of(symbol, detail) {
                    Some((first, found)) => {
                        assert_eq!(found, low_bits, "{int}");
                        assert!(
                            first <= int && int - first < 1 << low_bits,
                            "{int}: {symbol} from {first}"
                        );
                        assert!(symbol.unsigned_abs() as usize <= SYMBOLS, "{int}");
                    }
                    None => assert!(low_bits > MOST_LOW_BITS, "{int}"),
                }
            }
        }
    }

    #[test]
    fn symbols_follow_each_other_without_a_gap() {
        for detail in 0..=MOST_DETAIL {
            let mut end = None;
            for symbol in -(SYMBOLS as Symbol)..=SYMBOLS as Symbol {
                let Some((first, low_bits)) = range_of(symbol, detail) else {
                    continue;
                };
                assert!(end.is_none_or(|end| end == first), "{symbol} of detail {detail}");
                end = Some(first + (1 << low_bits));
            }
        }
    }
}
