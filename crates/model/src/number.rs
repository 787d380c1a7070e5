//! Floats as Go's `strconv` reads and writes them.

use std::fmt::Write as _;

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("+Inf")
    } else if value == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

// Whether two decimals of the shortest length can be equally near to a finite `value`: `false` is certain. That takes at
// least 16 digits, and a value that is itself a decimal of at most 18: one with few binary places.
fn may_tie(value: f64) -> bool {
    const MOST_PLACES: u64 = 26;
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let exponent = (bits >> 52) & 0x7ff;
    // Binary places: 1075 - exponent for the last bit of the mantissa, fewer where it ends in zeros.
    let zeros = u64::from((fraction | (1 << 52)).trailing_zeros());
    exponent + zeros + MOST_PLACES >= 1075
}

// The digits of `value` where Rust and Go differ: both print the shortest that reads back the same, but of two equally near
// ones Go takes the even and Rust the upper (872871805743677.25 is ...677.2 in Go).
fn tied(value: f64) -> Option<String> {
    if !may_tie(value) {
        return None;
    }
    let text = format!("{value:e}");
    let (digits, _) = text.split_once('e')?;
    let decimals = digits.bytes().filter(u8::is_ascii_digit).count().saturating_sub(1);
    if decimals < 15 {
        return None;
    }
    let even = format!("{value:.decimals$e}");
    (even != text && even.parse() == Ok(value)).then_some(even)
}

/// The shortest decimal that reads back as the finite `value`, as Go chooses it: sign, digits with a point behind the
/// first (`-1.5`), and the power of ten.
#[must_use]
pub fn shortest_f64(value: f64) -> (String, i32) {
    let text = tied(value).unwrap_or_else(|| format!("{value:e}"));
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (digits.to_owned(), exponent.parse().unwrap_or(0))
}

// Without an exponent; `value` is finite.
fn write_plain(out: &mut String, value: f64) {
    let Some(even) = tied(value) else {
        // Writing to a String cannot fail.
        let _ = write!(out, "{value}");
        return;
    };
    let (digits, exponent) = even.split_once('e').unwrap_or((&even, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    out.push_str(sign);
    // How many of the digits stand before the point.
    match usize::try_from(exponent + 1) {
        Ok(whole) if whole >= digits.len() => {
            out.push_str(&digits);
            out.extend(std::iter::repeat_n('0', whole - digits.len()));
        }
        Ok(whole) if whole > 0 => {
            let (before, behind) = digits.split_at(whole);
            out.push_str(before);
            out.push('.');
            out.push_str(behind);
        }
        _ => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', usize::try_from(-(exponent + 1)).unwrap_or(0)));
            out.push_str(&digits);
        }
    }
}

/// As `strconv.FormatFloat(v, 'f', -1, 64)`: never an exponent.
#[must_use]
pub fn fmt_f64(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let mut out = String::new();
    write_plain(&mut out, value);
    out
}

/// As `strconv.FormatFloat(v, 'e', -1, 64)`: `1e+00`, `1.5e-07`.
#[must_use]
pub fn fmt_f64_e(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (digits, exponent) = shortest_f64(value);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// As `strconv.FormatFloat(v, 'g', -1, 64)`: an exponent below 1e-4 and from 1e6 on.
#[must_use]
pub fn fmt_f64_g(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-4..1e6).contains(&size) || special(value).is_some() {
        fmt_f64(value)
    } else {
        fmt_f64_e(value)
    }
}

/// Appends `value` as Prometheus's JSON answers write samples: 'f' unless the size is below 1e-6 or from 1e21 on.
pub fn write_f64(out: &mut String, value: f64) {
    if let Some(text) = special(value) {
        out.push_str(text);
        return;
    }
    let size = value.abs();
    if value != 0.0 && !(1e-6..1e21).contains(&size) {
        out.push_str(&fmt_f64_e(value));
    } else {
        write_plain(out, value);
    }
}

/// Reads a float as the exposition formats allow it: decimal, exponent, `Inf`, `Infinity`, `NaN` in any case with a
/// sign, hexadecimal integers and underscores not.
///
/// `None` where the text is no number.
#[must_use]
pub fn parse_f64(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let first = *unsigned.as_bytes().first()?;
    if !(first.is_ascii_digit() || first == b'.') {
        let lower = unsigned.to_ascii_lowercase();
        return match lower.as_str() {
            "inf" | "infinity" if text.starts_with('-') => Some(f64::NEG_INFINITY),
            "inf" | "infinity" => Some(f64::INFINITY),
            // Go accepts a NaN only without a sign.
            "nan" if unsigned.len() == text.len() => Some(f64::from_bits(crate::NORMAL_NAN_BITS)),
            _ => None,
        };
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        for (value, f, e, g) in [
            (0.0, "0", "0e+00", "0"),
            (1.0, "1", "1e+00", "1"),
            (-0.0, "-0", "-0e+00", "-0"),
            (1.5, "1.5", "1.5e+00", "1.5"),
            (1e21, "1000000000000000000000", "1e+21", "1e+21"),
            (123_456_789.0, "123456789", "1.23456789e+08", "1.23456789e+08"),
            (185_209.0, "185209", "1.85209e+05", "185209"),
            (2_097_152.0, "2097152", "2.097152e+06", "2.097152e+06"),
            (1e-7, "0.0000001", "1e-07", "1e-07"),
            (0.0001, "0.0001", "1e-04", "0.0001"),
            (1e100, &format!("1{}", "0".repeat(100)), "1e+100", "1e+100"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf"),
            (f64::NAN, "NaN", "NaN", "NaN"),
        ] {
            assert_eq!((fmt_f64(value).as_str(), fmt_f64_e(value).as_str()), (f, e));
            assert_eq!(fmt_f64_g(value), g);
        }
    }

    // Recorded from Go 1.19.
    #[test]
    #[expect(
        clippy::excessive_precision,
        reason = "the exact values, which lie between two shorter ones"
    )]
    fn of_two_equally_near_decimals_the_even_one_is_printed() {
        for (value, f, e) in [
            (872_871_805_743_677.25, "872871805743677.2", "8.728718057436772e+14"),
            (-872_871_805_743_677.25, "-872871805743677.2", "-8.728718057436772e+14"),
            (872_871_805_743_677.75, "872871805743677.8", "8.728718057436778e+14"),
            (562_949_953_421_312.125, "562949953421312.1", "5.629499534213121e+14"),
            (562_949_953_421_312.375, "562949953421312.4", "5.629499534213124e+14"),
            (562_949_953_421_313.625, "562949953421313.6", "5.629499534213136e+14"),
            (4_503_599_627_370_497.5, "4503599627370498", "4.503599627370498e+15"),
            (18_014_398_509_481_985.0, "18014398509481984", "1.8014398509481984e+16"),
            (
                144_115_188_075_855_875.0,
                "144115188075855870",
                "1.4411518807585587e+17",
            ),
            (999_999_999_999.031_25, "999999999999.0312", "9.999999999990312e+11"),
            (134_217_727.001_953_125, "134217727.00195312", "1.3421772700195312e+08"),
            (1.125, "1.125", "1.125e+00"),
        ] {
            let mut json = String::new();
            write_f64(&mut json, value);
            assert_eq!(
                (fmt_f64(value).as_str(), fmt_f64_e(value).as_str(), json.as_str()),
                (f, e, f)
            );
        }
    }

    #[test]
    fn what_is_printed_reads_back_whatever_the_layout() {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Few binary places, so that ties occur; and any bits.
            let few = (bits >> 11) as f64 / f64::from(1 << (bits % 11));
            for value in [few, -few, f64::from_bits(bits)].into_iter().filter(|v| v.is_finite()) {
                for text in [fmt_f64(value), fmt_f64_e(value), fmt_f64_g(value)] {
                    assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()), "{text}");
                    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
                    assert!(digits(&fmt_f64_e(value)) <= digits(&format!("{value:e}")) + 1, "{text}");
                }
            }
        }
    }

    #[test]
    fn json_samples_switch_to_exponents_where_prometheus_does() {
        let text = |v| {
            let mut out = String::new();
            write_f64(&mut out, v);
            out
        };
        assert_eq!(text(0.000_001), "0.000001");
        assert_eq!(text(0.000_000_9), "9e-07");
        assert_eq!(text(1e20), "100000000000000000000");
        assert_eq!(text(1e21), "1e+21");
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        assert_eq!(parse_f64("+Inf"), Some(f64::INFINITY));
        assert_eq!(parse_f64("-inf"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_f64("1e3"), Some(1000.0));
        assert_eq!(parse_f64(".5"), Some(0.5));
        assert_eq!(parse_f64("NaN").map(f64::to_bits), Some(crate::NORMAL_NAN_BITS));
        for text in ["", "-", "-NaN", "1_0", "0x10", "1e", "abc", "1 "] {
            assert_eq!(parse_f64(text), None, "{text}");
        }
    }
}
