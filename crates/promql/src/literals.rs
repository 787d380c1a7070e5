//! The values of literals: numbers as Go reads them, and texts between quotes.

use cupola_model::parse_f64;

/// Reads a number as upstream does: `strconv.ParseInt` with base 0 first (so `0x1f` is hexadecimal and `017` octal),
/// then `strconv.ParseFloat`; underscores may separate digits.
///
/// # Errors
/// Go's text, to be shown after `error parsing number: `.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    let invalid = || {
        format!(
            "strconv.ParseFloat: parsing {}: invalid syntax",
            cupola_model::go_quote(text)
        )
    };
    if !underscores_are_placed_well(text) {
        return Err(invalid());
    }
    let digits = text.replace('_', "");
    if let Some(value) = integer(&digits) {
        return Ok(value as f64);
    }
    let value = parse_f64(&digits).ok_or_else(invalid)?;
    if value.is_infinite() && text.bytes().any(|b| b.is_ascii_digit()) {
        return Err(format!(
            "strconv.ParseFloat: parsing {}: value out of range",
            cupola_model::go_quote(text)
        ));
    }
    Ok(value)
}

fn integer(digits: &str) -> Option<i64> {
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok();
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match digits.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => i64::from_str_radix(octal, 8).ok(),
        _ => digits.parse().ok(),
    }
}

// Go: an underscore stands between two digits, or between the base's prefix and a digit.
fn underscores_are_placed_well(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_hex = text.starts_with("0x") || text.starts_with("0X");
    let is_digit = |b: u8| b.is_ascii_digit() || (is_hex && b.is_ascii_hexdigit());
    bytes.iter().enumerate().filter(|(_, b)| **b == b'_').all(|(at, _)| {
        let before = at.checked_sub(1).and_then(|i| bytes.get(i)).copied();
        let after = bytes.get(at + 1).copied();
        let behind_prefix = is_hex && at == 2;
        after.is_some_and(is_digit) && (behind_prefix || before.is_some_and(is_digit))
    })
}

/// The text between the quotes of a string word that the lexer has accepted.
///
/// `\x` and octal escapes are bytes, as in Go; where the bytes are not UTF-8, the replacement character stands in
/// (Prometheus keeps them, but no label in its store can hold them either).
pub(crate) fn unquote(text: &str) -> String {
    let mut chars = text.chars();
    let quote = chars.next();
    let _ = chars.next_back();
    let inner = chars.as_str();
    if quote == Some('`') || !inner.contains('\\') {
        return inner.to_owned();
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c == '\\' {
            unescape(&mut rest, &mut out);
        } else {
            push_char(&mut out, c);
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

fn unescape(rest: &mut std::str::Chars<'_>, out: &mut Vec<u8>) {
    let Some(c) = rest.next() else { return };
    let mut value = |digits: usize, base: u32, first: u32| {
        (0..digits).fold(first, |sum, _| {
            let digit = rest.next().and_then(|c| c.to_digit(base)).unwrap_or(0);
            sum.wrapping_mul(base).wrapping_add(digit)
        })
    };
    match c {
        'a' => out.push(0x07),
        'b' => out.push(0x08),
        'f' => out.push(0x0c),
        'n' => out.push(b'\n'),
        'r' => out.push(b'\r'),
        't' => out.push(b'\t'),
        'v' => out.push(0x0b),
        // The lexer has refused values above 255 here.
        '0'..='7' => out.push(value(2, 8, c.to_digit(8).unwrap_or(0)) as u8),
        'x' => out.push(value(2, 16, 0) as u8),
        'u' => push_char(
            out,
            char::from_u32(value(4, 16, 0)).unwrap_or(char::REPLACEMENT_CHARACTER),
        ),
        'U' => push_char(
            out,
            char::from_u32(value(8, 16, 0)).unwrap_or(char::REPLACEMENT_CHARACTER),
        ),
        _ => push_char(out, c),
    }
}

fn push_char(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("0x1F", 31.0),
            ("0x_1f", 31.0),
            ("017", 15.0),
            ("089", 89.0),
            ("1_000.5", 1000.5),
            ("1_0e1_0", 1e11),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
            ("inf", f64::INFINITY),
        ] {
            assert_eq!(number(text), Ok(value), "{text}");
        }
        assert!(number("NaN").unwrap().is_nan());
        assert_eq!(
            number("1e999").unwrap_err(),
            r#"strconv.ParseFloat: parsing "1e999": value out of range"#
        );
        for text in ["0x", "1__0", "1_.5", "0x1_"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn strings_are_unquoted_as_go_does() {
        for (text, value) in [
            (r#""a\nb""#, "a\nb"),
            (r#"'it\'s "x"'"#, "it's \"x\""),
            (r"`\n raw`", r"\n raw"),
            (r#""\xc3\xa9""#, "é"),
            (r#""\u00e9\U0001F600""#, "é😀"),
            (r#""\101\\""#, "A\\"),
            (r#""\xff""#, "\u{fffd}"),
            ("\"\"", ""),
        ] {
            assert_eq!(unquote(text), value, "{text}");
        }
    }
}
