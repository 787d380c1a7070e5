//! Floats as Go's strconv writes them.

/// As `strconv.FormatFloat(value, verb, precision, 64)` for the verbs e E f F g G x X; `None` is the shortest text that
/// reads back the same.
pub(crate) fn format_float(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    match verb {
        'e' => exponent_form(value, precision),
        'E' => exponent_form(value, precision).to_uppercase(),
        'f' | 'F' => match precision {
            None => cupola_model::fmt_f64(value),
            Some(p) => {
                let shown = p.min(MAX_DIGITS);
                format!("{value:.shown$}") + &"0".repeat(p - shown)
            }
        },
        'G' => general_form(value, precision).to_uppercase(),
        'b' => binary_form(value),
        'x' => hex_form(value, precision),
        'X' => hex_form(value, precision).to_uppercase(),
        _ => general_form(value, precision),
    }
}

// No float has more digits than this; Rust's formatting takes no more than 65,535.
const MAX_DIGITS: usize = 1100;

// Digits and exponent of `d.ddde±x`.
fn parts(value: f64, precision: Option<usize>) -> (String, i32) {
    let Some(p) = precision else {
        return cupola_model::shortest_f64(value);
    };
    let shown = p.min(MAX_DIGITS);
    let text = format!("{value:.shown$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (digits.to_owned(), exponent.parse().unwrap_or(0))
}

fn exponent_form(value: f64, precision: Option<usize>) -> String {
    let (mut digits, exponent) = parts(value, precision);
    digits.push_str(&"0".repeat(precision.unwrap_or(0).saturating_sub(MAX_DIGITS)));
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

fn general_form(value: f64, precision: Option<usize>) -> String {
    let significant = precision.map(|p| p.max(1));
    let (digits, exponent) = parts(value, significant.map(|p| p - 1));
    let trimmed = if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        &digits
    };
    let count = trimmed.bytes().filter(u8::is_ascii_digit).count();
    let point = exponent + 1;
    let count_i = i32::try_from(count).unwrap_or(i32::MAX);
    let threshold = match significant {
        // Go decides as if the precision were 6 where the text is the shortest: 1e+06, but 123456.5.
        None => 6,
        Some(p) if p > count && count_i >= point => count_i,
        Some(p) => i32::try_from(p).unwrap_or(i32::MAX),
    };
    if exponent < -4 || exponent >= threshold {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{trimmed}e{sign}{:02}", exponent.unsigned_abs());
    }
    let decimals = usize::try_from((count_i - point).max(0)).unwrap_or(0);
    format!("{value:.decimals$}")
}

// `4503599627370496p-52`: the mantissa as a whole number, and the power of two.
fn binary_form(value: f64) -> String {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let bits = value.to_bits();
    let raw = i64::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, exponent) = if raw == 0 {
        (fraction, -1074)
    } else {
        (fraction | (1 << 52), raw - 1075)
    };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{mantissa}p{exponent_sign}{}", exponent.unsigned_abs())
}

// `0x1.8p+01`: one hexadecimal digit before the point, the rest rounded to `precision` digits.
fn hex_form(value: f64, precision: Option<usize>) -> String {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let bits = value.to_bits();
    let raw = (bits >> 52) & 0x7ff;
    let mut fraction = bits & ((1 << 52) - 1);
    let mut exponent = i64::try_from(raw).unwrap_or(0) - 1023;
    let mut lead = 1_u64;
    if raw == 0 {
        if fraction == 0 {
            lead = 0;
            exponent = 0;
        } else {
            // A subnormal number is shifted until its leading bit is the digit before the point.
            let shift = fraction.leading_zeros() - 11;
            fraction = (fraction << shift) & ((1 << 52) - 1);
            exponent = -1022 - i64::from(shift);
        }
    }
    let mut digits = format!("{fraction:013x}");
    match precision {
        None => digits.truncate(digits.trim_end_matches('0').len()),
        Some(p) if p < 13 => {
            let drop = 4 * (13 - p);
            let whole = (lead << 52) | fraction;
            let (kept, rest, half) = (whole >> drop, whole & ((1 << drop) - 1), 1_u64 << (drop - 1));
            let mut kept = kept + u64::from(rest > half || (rest == half && kept & 1 == 1));
            if kept >> (52 - drop) > 1 {
                kept >>= 1;
                exponent += 1;
            }
            lead = kept >> (52 - drop);
            digits = format!("{:0p$x}", kept & ((1 << (52 - drop)) - 1));
            if p == 0 {
                digits.clear();
            }
        }
        Some(p) => digits.push_str(&"0".repeat(p - 13)),
    }
    let point = if digits.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!(
        "{sign}0x{lead}{point}{digits}p{exponent_sign}{:02}",
        exponent.unsigned_abs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    // Recorded from Go 1.19.
    #[test]
    fn floats_print_as_go_prints_them() {
        for (value, verb, precision, expected) in [
            (1_000_000.0, 'g', None, "1e+06"),
            (123_456.5, 'g', None, "123456.5"),
            (1_234_567.5, 'g', None, "1.2345675e+06"),
            (100_000.0, 'g', None, "100000"),
            (1e-5, 'g', None, "1e-05"),
            (0.00012, 'g', None, "0.00012"),
            (0.0, 'g', None, "0"),
            (872_871_805_743_677.2, 'g', None, "8.728718057436772e+14"),
            (17_896_150_245_799.312, 'g', None, "1.7896150245799312e+13"),
            (5e-324, 'g', None, "5e-324"),
            (f64::MAX, 'g', None, "1.7976931348623157e+308"),
            (123_456.0, 'g', Some(4), "1.235e+05"),
            (100_000.0, 'g', Some(4), "1e+05"),
            (1_234_567.5, 'g', Some(10), "1234567.5"),
            (0.0, 'g', Some(4), "0"),
            (999.95, 'g', Some(4), "1000"),
            (2.71959, 'f', Some(2), "2.72"),
            (2.5, 'f', Some(0), "2"),
            (12_345.678, 'e', Some(6), "1.234568e+04"),
            (1e-7, 'G', None, "1E-07"),
            (1.5, 'x', None, "0x1.8p+00"),
            (1.0, 'x', None, "0x1p+00"),
            (-2.25, 'b', None, "-5066549580791808p-51"),
            (f64::NEG_INFINITY, 'f', Some(1), "-Inf"),
        ] {
            assert_eq!(format_float(value, verb, precision), expected, "{value} %{verb}");
        }
        assert_eq!(format_float(1.999, 'x', Some(1)), "0x1.0p+01");
        assert_eq!(format_float(5e-324, 'x', None), "0x1p-1074");
    }
}
