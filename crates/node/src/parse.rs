//! Lines, words and numbers of the kernel's tables.

/// The lines of `text` without their line feeds; no empty one at the end.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

/// The words of `line`, divided by blanks and tabs.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| matches!(b, b' ' | b'\t'))
        .filter(|word| !word.is_empty())
}

/// A decimal number without a sign; `None` where it is none or too large.
pub(crate) fn uint(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A hexadecimal number without `0x`.
pub(crate) fn hex(word: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()
}

/// A number with a sign, decimal or with `0x`.
pub(crate) fn int(word: &[u8]) -> Option<i64> {
    let (negative, digits) = word.strip_prefix(b"-").map_or((false, word), |digits| (true, digits));
    let size = match digits.strip_prefix(b"0x") {
        Some(digits) => hex(digits)?,
        None => uint(digits)?,
    };
    let size = i64::try_from(size).ok()?;
    Some(if negative { -size } else { size })
}

/// A number as a metric's value: whole numbers beyond 2^53 round, as they do in Go.
pub(crate) fn float(word: &[u8]) -> Option<f64> {
    match uint(word) {
        Some(value) => Some(value as f64),
        None => cupola_model::parse_f64(std::str::from_utf8(word).ok()?),
    }
}

/// Text for a label; bytes that are no UTF-8 become U+FFFD.
pub(crate) fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_kernel() {
        assert_eq!(uint(b"18446744073709551615"), Some(u64::MAX));
        for word in [&b""[..], b"-1", b"18446744073709551616", b"1x"] {
            assert_eq!(uint(word), None);
        }
        assert_eq!((int(b"-1"), int(b"0x1303"), int(b"7")), (Some(-1), Some(4867), Some(7)));
        assert_eq!(hex(b"0000588a"), Some(0x588a));
        assert_eq!((float(b"0.21"), float(b"12")), (Some(0.21), Some(12.0)));
    }

    #[test]
    fn words_and_lines_skip_what_is_empty() {
        let table = b"a  b\tc\n\n d \n";
        let all: Vec<Vec<&[u8]>> = lines(table).map(|line| words(line).collect()).collect();
        assert_eq!(all, [vec![&b"a"[..], b"b", b"c"], vec![b"d"]]);
    }
}
