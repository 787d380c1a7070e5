//! Sample values as text.

use std::io::Write as _;

use cupola_model::NORMAL_NAN_BITS;

/// Reads a sample value as Go's `ParseFloat` does, without hexadecimal floats and underscores; NaN becomes the normal
/// one. The error is the whole message.
#[inline]
pub(crate) fn parse_value(text: &[u8]) -> Result<f64, String> {
    match short_decimal(text) {
        Some(value) => Ok(value),
        None => long_value(text),
    }
}

// Exact powers: a mantissa below 2^53 divided or multiplied by one of these rounds once, so it rounds right.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

// The values exporters send nearly always: at most 2^53 without the point, with an exponent that 10^22 bridges.
#[inline]
fn short_decimal(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    // 17 digits, a point, an exponent: more is not short, and cannot overflow the mantissa below.
    if digits.len() > 24 {
        return None;
    }
    let mut mantissa = 0_u64;
    let mut seen = 0_usize;
    let mut fraction = None;
    let mut at = 0;
    while let Some(byte) = digits.get(at) {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
                seen += 1;
            }
            b'.' if fraction.is_none() => fraction = Some(seen),
            b'e' | b'E' => break,
            _ => return None,
        }
        at += 1;
    }
    if seen == 0 || mantissa > 1 << 53 {
        return None;
    }
    let mut exponent = -(fraction.map_or(0, |before| seen - before) as i32);
    if at < digits.len() {
        exponent += short_exponent(digits.get(at + 1..)?)?;
    }
    let value = mantissa as f64;
    let scaled = if exponent < 0 {
        value / POWERS.get(exponent.unsigned_abs() as usize)?
    } else {
        value * POWERS.get(exponent as usize)?
    };
    Some(if negative { -scaled } else { scaled })
}

#[inline]
fn short_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 3 {
        return None;
    }
    let mut value = 0;
    for byte in digits {
        value = value * 10 + i32::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    Some(if negative { -value } else { value })
}

#[cold]
fn long_value(bytes: &[u8]) -> Result<f64, String> {
    if bytes.iter().any(|b| matches!(b, b'p' | b'P' | b'_')) {
        return Err("unsupported character in float".to_owned());
    }
    let text = String::from_utf8_lossy(bytes);
    let fail = |why: &str| format!("strconv.ParseFloat: parsing {}: {why}", cupola_model::go_quote(&text));
    let value = cupola_model::parse_f64(&text).ok_or_else(|| fail("invalid syntax"))?;
    if value.is_nan() {
        return Ok(f64::from_bits(NORMAL_NAN_BITS));
    }
    // Rust reads 1e999 as infinite, Go refuses it.
    if value.is_infinite() && bytes.iter().any(u8::is_ascii_digit) {
        return Err(fail("value out of range"));
    }
    Ok(value)
}

/// Appends `value` as Go's `strconv.FormatFloat(v, 'g', -1, 64)`, which its client library prints samples with: the
/// shortest digits that read back the same, with an exponent below 1e-04 and from 1e+06 on.
pub fn write_float(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
        return;
    }
    if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let size = value.abs();
    let mut digits = [0_u8; 32];
    let (count, exponent) = shortest(size, &mut digits);
    let digits = digits.get(..count).unwrap_or(&[]);
    write_digits(out, digits, exponent);
}

// The shortest digits of a positive value and its decimal exponent: value = d.ddd * 10^exponent.
fn shortest(size: f64, digits: &mut [u8; 32]) -> (usize, i32) {
    // Counters are whole numbers, which need no search for the shortest form.
    if size < 9e15 && size.fract() == 0.0 {
        let mut rest = size as u64;
        let mut count = rest.ilog10() as usize + 1;
        let exponent = count as i32 - 1;
        while rest.is_multiple_of(10) && count > 1 {
            rest /= 10;
            count -= 1;
        }
        for slot in digits.iter_mut().take(count).rev() {
            *slot = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        return (count, exponent);
    }
    let mut text = [0_u8; 40];
    let mut cursor = text.as_mut_slice();
    // Twenty-four bytes at most: it fits.
    let _ = write!(cursor, "{size:e}");
    let left = cursor.len();
    let text = text.get(..text.len() - left).unwrap_or(&[]);
    let mut count = 0;
    let mut bytes = text.iter();
    for byte in bytes.by_ref() {
        match byte {
            b'e' => break,
            b'.' => {}
            digit => {
                if let Some(slot) = digits.get_mut(count) {
                    *slot = *digit;
                    count += 1;
                }
            }
        }
    }
    let exponent = std::str::from_utf8(bytes.as_slice())
        .ok()
        .and_then(|e| e.parse().ok())
        .unwrap_or(0);
    (count, exponent)
}

fn write_digits(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    let (first, others) = digits.split_at(digits.len().min(1));
    if !(-4..SHORTEST_PRECISION).contains(&exponent) {
        out.extend_from_slice(first);
        if !others.is_empty() {
            out.push(b'.');
            out.extend_from_slice(others);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        let size = exponent.unsigned_abs();
        if size >= 100 {
            out.push(b'0' + (size / 100) as u8);
        }
        out.push(b'0' + (size / 10 % 10) as u8);
        out.push(b'0' + (size % 10) as u8);
        return;
    }
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', exponent.unsigned_abs() as usize - 1));
        out.extend_from_slice(digits);
        return;
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', whole - digits.len()));
    } else {
        let (whole, fraction) = digits.split_at(whole);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}

// "If precision was the shortest possible, use precision 6 for this decision": the rule of Go's 'g'.
const SHORTEST_PRECISION: i32 = 6;

/// Appends `value` as OpenMetrics wants floats: as [`write_float`], but with `.0` behind a whole number.
pub fn write_openmetrics_float(out: &mut Vec<u8>, value: f64) {
    let from = out.len();
    write_float(out, value);
    let is_plain = out
        .get(from..)
        .is_some_and(|text| !text.iter().any(|b| matches!(b, b'.' | b'e' | b'N' | b'I')));
    if is_plain {
        out.extend_from_slice(b".0");
    }
}

/// The OpenMetrics form of a `le` or `quantile` value; `None` where it is no number or has that form already.
pub(crate) fn normalised_float(text: &str) -> Option<String> {
    // Unlike for values, Go's own reading counts here: no look at characters.
    let value = cupola_model::parse_f64(text)?;
    let mut out = Vec::with_capacity(text.len() + 2);
    write_openmetrics_float(&mut out, value);
    String::from_utf8(out).ok().filter(|normal| normal != text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn print(value: f64) -> String {
        let mut out = Vec::new();
        write_float(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_print_as_gos_shortest_g() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (185_209.0, "185209"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (2_097_152.0, "2.097152e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (123_456.789, "123456.789"),
            (0.0001, "0.0001"),
            (0.00012, "0.00012"),
            (0.000_043, "4.3e-05"),
            (1e21, "1e+21"),
            (1.8446744073709552e19, "1.8446744073709552e+19"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(print(value), text);
        }
    }

    #[test]
    fn bucket_bounds_take_their_openmetrics_form() {
        for (text, normal) in [
            ("1", Some("1.0")),
            ("0", Some("0.0")),
            ("-1", Some("-1.0")),
            ("0.5", None),
            ("00.50", Some("0.5")),
            ("+Inf", None),
            ("Inf", Some("+Inf")),
            ("1e6", Some("1e+06")),
            ("5000000", Some("5e+06")),
            ("1.0", None),
            ("many", None),
        ] {
            assert_eq!(normalised_float(text).as_deref(), normal, "{text}");
        }
    }

    #[test]
    fn values_are_read_as_go_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("+1", 1.0),
            ("-1.5e3", -1500.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("1e-7", 1e-7),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("0.1", 0.1),
            ("123456789012345678901234567890", 1.234_567_890_123_456_8e29),
            ("+Inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(parse_value(text.as_bytes()), Ok(value), "{text}");
        }
        assert_eq!(parse_value(b"nan").unwrap().to_bits(), NORMAL_NAN_BITS);
        assert_eq!(parse_value(b"-0").unwrap().to_bits(), (-0.0_f64).to_bits());
        for (text, message) in [
            ("0x1p4", "unsupported character in float"),
            ("1_0", "unsupported character in float"),
            ("abc", "strconv.ParseFloat: parsing \"abc\": invalid syntax"),
            ("1\r", "strconv.ParseFloat: parsing \"1\\r\": invalid syntax"),
            ("1e999", "strconv.ParseFloat: parsing \"1e999\": value out of range"),
            (".", "strconv.ParseFloat: parsing \".\": invalid syntax"),
            ("1e", "strconv.ParseFloat: parsing \"1e\": invalid syntax"),
            ("--1", "strconv.ParseFloat: parsing \"--1\": invalid syntax"),
        ] {
            assert_eq!(parse_value(text.as_bytes()), Err(message.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_float_comes_back_bit_for_bit(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(parse_value(print(value).as_bytes()).unwrap().to_bits(), bits);
        }

        #[test]
        fn the_short_way_reads_what_the_long_way_reads(text in "[-+]?[0-9]{0,20}\\.?[0-9]{0,8}(e[-+]?[0-9]{1,3})?") {
            if let Some(value) = short_decimal(text.as_bytes()) {
                prop_assert_eq!(Ok(value), text.parse::<f64>());
            }
        }

        #[test]
        fn whole_numbers_print_as_floats_do(n in 0_u64..9_000_000_000_000_000) {
            prop_assert_eq!(print(n as f64).parse::<f64>(), Ok(n as f64));
        }
    }
}
