//! Numbers for people, as Prometheus's `humanize…` functions write them.

use crate::fmt::format_float;
use crate::objects::{Duration, Time};
use crate::value::Value;

/// A number out of what templates give: numbers, texts that are numbers, durations (as seconds).
///
/// # Errors
/// Where the value is none of these.
pub(super) fn to_float(value: &Value) -> Result<f64, String> {
    if let Some(duration) = value.downcast::<Duration>() {
        return Ok(duration.seconds());
    }
    match value.plain() {
        Value::Float(number) => Ok(number),
        Value::Int(number) => Ok(number as f64),
        Value::Uint(number) => Ok(number as f64),
        Value::Str(text) => cupola_model::parse_f64(&text).ok_or_else(|| {
            format!(
                "strconv.ParseFloat: parsing {}: invalid syntax",
                cupola_model::go_quote(&text)
            )
        }),
        _ => Err(format!("can't convert {} to float", value.type_name())),
    }
}

// `%.4g`.
fn short(value: f64) -> String {
    format_float(value, 'g', Some(4))
}

const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

// Scales by thousands until the value is at least one.
fn small(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    (value, prefix)
}

fn large(mut value: f64, base: f64, prefixes: [&'static str; 8]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < base {
            break;
        }
        prefix = next;
        value /= base;
    }
    (value, prefix)
}

/// `humanize`: metric prefixes.
pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return short(value);
    }
    let (scaled, prefix) = if value.abs() >= 1.0 {
        large(value, 1000.0, ["k", "M", "G", "T", "P", "E", "Z", "Y"])
    } else {
        small(value)
    };
    format!("{}{prefix}", short(scaled))
}

/// `humanize1024`: binary prefixes.
pub(super) fn humanize1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return short(value);
    }
    let (scaled, prefix) = large(value, 1024.0, ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"]);
    format!("{}{prefix}", short(scaled))
}

/// `humanizePercentage`: a ratio as percent.
pub(super) fn humanize_percentage(ratio: f64) -> String {
    format!("{}%", short(ratio * 100.0))
}

/// `humanizeDuration`: seconds as days, hours, minutes and seconds.
pub(super) fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return short(seconds);
    }
    if seconds == 0.0 {
        return format!("{}s", short(seconds));
    }
    if seconds.abs() < 1.0 {
        let (scaled, prefix) = small(seconds);
        return format!("{}{prefix}s", short(scaled));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let size = seconds.abs();
    // Whole seconds; a float past 2^63 stays at the largest number, as good as any.
    let whole = size as i64;
    let (s, m, h, d) = (whole % 60, whole / 60 % 60, whole / 3600 % 24, whole / 86_400);
    if d != 0 {
        return format!("{sign}{d}d {h}h {m}m {s}s");
    }
    if h != 0 {
        return format!("{sign}{h}h {m}m {s}s");
    }
    if m != 0 {
        return format!("{sign}{m}m {s}s");
    }
    format!("{sign}{}s", short(size))
}

/// Seconds since the epoch as a time in UTC, to the millisecond (Prometheus's own resolution).
///
/// # Errors
/// Where the seconds do not fit nanoseconds in 64 bits; `Ok(None)` for NaN and the infinities.
pub(super) fn to_time(seconds: f64) -> Result<Option<Time>, String> {
    if !seconds.is_finite() {
        return Ok(None);
    }
    let nanos = seconds * 1e9;
    if nanos.abs() >= i64::MAX as f64 {
        let shown = format_float(seconds, 'g', None);
        return Err(format!(
            "{shown} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    // Cut towards the epoch, as Go divides.
    Ok(Some(Time::from_unix_ms(nanos as i64 / 1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, plain, binary) in [
            (0.0, "0", "0"),
            (1.0, "1", "1"),
            (1_234_567.0, "1.235M", "1.177Mi"),
            (0.12, "120m", "0.12"),
            (-1500.0, "-1.5k", "-1.465ki"),
            (1048576.0, "1.049M", "1Mi"),
            (1e27, "1000Y", "827.2Yi"),
            (1e-30, "1e-06y", "1e-30"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NAN, "NaN", "NaN"),
        ] {
            assert_eq!(
                (humanize(value).as_str(), humanize1024(value).as_str()),
                (plain, binary)
            );
        }
        assert_eq!(humanize_percentage(0.1234567), "12.35%");
    }

    #[test]
    fn durations_read_well() {
        for (seconds, expected) in [
            (0.0, "0s"),
            (1.0, "1s"),
            (1234.5, "20m 34s"),
            (1_234_567.0, "14d 6h 56m 7s"),
            (3600.0, "1h 0m 0s"),
            (0.00456, "4.56ms"),
            (-0.5, "-500ms"),
            (-1.5, "-1.5s"),
            (12.3456789, "12.35s"),
            (899.0, "14m 59s"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(humanize_duration(seconds), expected);
        }
    }
}
