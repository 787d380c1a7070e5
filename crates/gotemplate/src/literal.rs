//! Go's literals: numbers, characters, quoted strings.

use cupola_model::go_quote;

/// What a number literal may stand for. A literal such as `1e3` is a float that prints as 1000, and an integer where
/// one is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Number {
    /// As written.
    pub text: String,
    pub int: Option<i64>,
    pub uint: Option<u64>,
    pub float: f64,
    /// Whether the literal is a float where nothing says what it is to be.
    pub is_float: bool,
}

/// Reads the number literal `text`.
pub(crate) fn parse_number(text: &str) -> Result<Number, String> {
    let (is_negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = magnitude.to_ascii_lowercase();
    let is_hex = lower.starts_with("0x");
    let looks_float = if is_hex {
        lower.contains(['.', 'p'])
    } else {
        lower.contains(['.', 'e', 'p'])
    };
    if !looks_float {
        let (radix, digits) = match lower.get(..2) {
            Some("0x") => (16, &lower[2..]),
            Some("0o") => (8, &lower[2..]),
            Some("0b") => (2, &lower[2..]),
            _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
            _ => (10, lower.as_str()),
        };
        let illegal = || format!("illegal number syntax: {}", go_quote(text));
        let digits = without_underscores(digits, radix != 10).ok_or_else(illegal)?;
        let Ok(size) = u64::from_str_radix(&digits, radix) else {
            let is_digits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            return Err(if is_digits {
                format!("integer overflow: {}", go_quote(text))
            } else {
                illegal()
            });
        };
        let int = if is_negative {
            0_i64.checked_sub_unsigned(size)
        } else {
            i64::try_from(size).ok()
        };
        if is_negative && int.is_none() {
            return Err(format!("integer overflow: {}", go_quote(text)));
        }
        let uint = (!is_negative || size == 0).then_some(size);
        let float = if is_negative { -(size as f64) } else { size as f64 };
        return Ok(Number {
            text: text.to_owned(),
            int,
            uint,
            float,
            is_float: false,
        });
    }
    let size = if is_hex {
        parse_hex_float(&lower)
    } else {
        parse_decimal_float(&lower)
    }
    .ok_or_else(|| format!("illegal number syntax: {}", go_quote(text)))?;
    let float = if is_negative { -size } else { size };
    let is_whole = float.fract() == 0.0 && float.abs() < 9.2e18;
    let int = is_whole.then_some(float as i64);
    let uint = (is_whole && float >= 0.0).then_some(float as u64);
    // Go holds a hexadecimal literal without a point or exponent to be whole; those never come here.
    Ok(Number {
        text: text.to_owned(),
        int,
        uint,
        float,
        is_float: true,
    })
}

// Underscores separate digits; one may also follow the base prefix.
fn without_underscores(digits: &str, may_lead: bool) -> Option<String> {
    let is_wrong =
        digits.is_empty() || digits.ends_with('_') || digits.contains("__") || (!may_lead && digits.starts_with('_'));
    (!is_wrong).then(|| digits.replace('_', ""))
}

fn parse_decimal_float(text: &str) -> Option<f64> {
    // Rust would also take "inf" and "nan"; the lexer gives only digits, points, signs and exponents.
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_digit);
    let is_between = |i: usize| is_digit(i.checked_sub(1)) && is_digit(Some(i + 1));
    if !text.match_indices('_').all(|(i, _)| is_between(i)) {
        return None;
    }
    text.replace('_', "").parse().ok().filter(|v: &f64| v.is_finite())
}

fn parse_hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.strip_prefix("0x")?.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    let size = u64::from_str_radix(&digits, 16).ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    let exponent = exponent.checked_sub(4 * i32::try_from(fraction.len()).ok()?)?;
    Some(size as f64 * 2_f64.powi(exponent)).filter(|v| v.is_finite())
}

/// Reads a character constant with its quotes; gives the code point as a number, as Go's runes are numbers.
pub(crate) fn parse_char(text: &str) -> Result<Number, String> {
    let malformed = || format!("malformed character constant: {text}");
    let inner = text
        .strip_prefix('\'')
        .and_then(|t| t.strip_suffix('\''))
        .ok_or_else(malformed)?;
    let mut out = String::new();
    let rest = unquote_one(inner, '\'', &mut out).ok_or_else(|| match inner {
        "" => format!("invalid syntax: {text}"),
        _ => "invalid syntax".to_owned(),
    })?;
    let c = out.chars().next().filter(|_| rest.is_empty()).ok_or_else(malformed)?;
    let code = u32::from(c);
    Ok(Number {
        text: text.to_owned(),
        int: Some(i64::from(code)),
        uint: Some(u64::from(code)),
        float: f64::from(code),
        is_float: false,
    })
}

/// Reads a string literal with its quotes: `"…"` with escapes, or raw in backquotes. `None` where it is malformed.
pub(crate) fn unquote(text: &str) -> Option<String> {
    if let Some(raw) = text.strip_prefix('`') {
        // Go drops carriage returns from raw strings.
        return raw.strip_suffix('`').map(|r| r.replace('\r', ""));
    }
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::with_capacity(rest.len());
    while !rest.is_empty() {
        rest = unquote_one(rest, '"', &mut out)?;
    }
    Some(out)
}

// Appends the first (possibly escaped) character of `text`, gives the rest.
fn unquote_one<'a>(text: &'a str, quote: char, out: &mut String) -> Option<&'a str> {
    let mut chars = text.chars();
    let c = chars.next()?;
    if c != '\\' {
        if c == quote || c == '\n' {
            return None;
        }
        out.push(c);
        return Some(chars.as_str());
    }
    let escape = chars.next()?;
    let hex = |chars: std::str::Chars<'a>, len: usize| {
        let rest = chars.as_str();
        let digits = rest.get(..len).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some((u32::from_str_radix(digits, 16).ok()?, rest.get(len..)?))
    };
    let plain = match escape {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' => '\\',
        '\'' | '"' if escape == quote => escape,
        'x' | '0'..='7' => {
            // Escaped bytes may spell a character together: "\xc3\xa9" is é.
            let mut bytes = Vec::new();
            let mut rest = text;
            while let Some((byte, after)) = escaped_byte(rest) {
                bytes.push(byte);
                rest = after;
            }
            if bytes.is_empty() {
                return None;
            }
            out.push_str(&String::from_utf8_lossy(&bytes));
            return Some(rest);
        }
        'u' | 'U' => {
            let (code, rest) = hex(chars, if escape == 'u' { 4 } else { 8 })?;
            out.push(char::from_u32(code)?);
            return Some(rest);
        }
        _ => return None,
    };
    out.push(plain);
    Some(chars.as_str())
}

fn escaped_byte(text: &str) -> Option<(u8, &str)> {
    let rest = text.strip_prefix('\\')?;
    let (digits, radix) = match rest.strip_prefix('x') {
        Some(hex) => (hex.get(..2)?, 16),
        None => (rest.get(..3)?, 8),
    };
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let byte = u8::from_str_radix(digits, radix).ok()?;
    // Both forms take three characters after the backslash.
    rest.get(3..).map(|after| (byte, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_go_makes_of_them() {
        for (text, int, is_float) in [
            ("1", Some(1), false),
            ("-3", Some(-3), false),
            ("+4", Some(4), false),
            ("1_000", Some(1000), false),
            ("0x1F", Some(31), false),
            ("0x_1F", Some(31), false),
            ("017", Some(15), false),
            ("0o17", Some(15), false),
            ("0b101", Some(5), false),
            ("1e3", Some(1000), true),
            ("1.5", None, true),
            ("0x1p4", Some(16), true),
            (".1_000", None, true),
            ("1_0.5e1_0", Some(105_000_000_000), true),
            ("18446744073709551615", None, false),
            ("-9223372036854775808", Some(i64::MIN), false),
        ] {
            let number = parse_number(text).unwrap();
            assert_eq!((number.int, number.is_float), (int, is_float), "{text}");
        }
        for text in [
            "99999999999999999999",
            "1__0",
            "_1",
            "08",
            "0x",
            "1_.5",
            "1._5",
            "-",
            "-9223372036854775809",
            "1e999",
        ] {
            assert!(parse_number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn strings_are_unquoted_as_go_does() {
        for (text, expected) in [
            (r#""a\tb\n\"""#, Some("a\tb\n\"")),
            (r#""\x41\101\u00e9\U0001F642""#, Some("AAé🙂")),
            (r#""\xc3\xa9""#, Some("é")),
            ("`a\\b`", Some("a\\b")),
            (r#""\'""#, None),
            (r#""\q""#, None),
        ] {
            assert_eq!(unquote(text).as_deref(), expected, "{text}");
        }
        assert_eq!(parse_char("'a'").unwrap().int, Some(97));
        assert_eq!(parse_char(r"'\n'").unwrap().int, Some(10));
        assert_eq!(parse_char("'🙂'").unwrap().int, Some(128_578));
        assert!(parse_char("'ab'").is_err());
        assert!(parse_char("''").is_err());
    }
}
