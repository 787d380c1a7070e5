//! Floats as Go's `strconv` reads and writes them.

use std::fmt::Write as _;

// Rust prints the shortest digits that read back the same, as Go's precision -1 does; only the layout differs.
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

/// As `strconv.FormatFloat(v, 'f', -1, 64)`: never an exponent.
#[must_use]
pub fn fmt_f64(value: f64) -> String {
    special(value).map_or_else(|| format!("{value}"), str::to_owned)
}

/// As `strconv.FormatFloat(v, 'e', -1, 64)`: `1e+00`, `1.5e-07`.
#[must_use]
pub fn fmt_f64_e(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |rest| ("-", rest));
    format!("{digits}e{sign}{exponent:0>2}")
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
        // Writing to a String cannot fail.
        let _ = write!(out, "{value}");
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
