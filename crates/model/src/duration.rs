//! Durations in Prometheus's notation: `1h30m`, `15s`, `250ms`.

use std::fmt::Write as _;

use thiserror::Error;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// The text is empty.
    #[error("empty duration string")]
    Empty,
    /// The text is not a sequence of number and unit in the order y w d h m s ms.
    #[error("not a valid duration string: {0:?}")]
    Malformed(String),
    /// The value does not fit.
    #[error("duration out of range")]
    OutOfRange,
}

// Unit, milliseconds in it; in the only order they may be written.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Parses a duration into milliseconds (Prometheus: `model.ParseDuration`). `0` needs no unit.
///
/// # Errors
/// [`DurationError`] where the text is empty, malformed or past 2^63 ns (about 292 years), as upstream refuses it.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text == "0" {
        return Ok(0);
    }
    let malformed = || DurationError::Malformed(text.to_owned());
    let mut rest = text;
    let mut next_unit = 0;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let at = UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(malformed)?;
        if number.is_empty() || at < next_unit {
            return Err(malformed());
        }
        next_unit = at + 1;
        let amount: i64 = number.parse().map_err(|_| DurationError::OutOfRange)?;
        total = amount
            .checked_mul(UNITS[at].1)
            .and_then(|ms| total.checked_add(ms))
            .filter(|ms| *ms <= i64::MAX / 1_000_000)
            .ok_or(DurationError::OutOfRange)?;
        rest = after;
    }
    Ok(total)
}

/// Writes milliseconds as Prometheus does: the largest units that divide exactly for y, w and d, then h, m, s, ms.
#[must_use]
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    let mut rest = ms.unsigned_abs();
    if ms < 0 {
        out.push('-');
    }
    for (unit, size) in UNITS {
        let size = size.unsigned_abs();
        // Years, weeks and days only when nothing is left over: 10 days print as 10d, but 8d12h as 204h.
        let exact_only = matches!(unit, "y" | "w" | "d");
        if exact_only && !rest.is_multiple_of(size) {
            continue;
        }
        let amount = rest / size;
        if amount > 0 {
            // Writing to a String cannot fail.
            let _ = write!(out, "{amount}{unit}");
            rest -= amount * size;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, ms: i64) {
        assert_eq!(parse_duration(text), Ok(ms), "{text}");
    }

    #[test]
    fn durations_parse() {
        check("0", 0);
        check("0w", 0);
        check("1ms", 1);
        check("15s", 15_000);
        check("5m", 300_000);
        check("1h30m", 5_400_000);
        check("4d1h7m", 349_620_000);
        check("1y", 31_536_000_000);
    }

    #[test]
    fn malformed_durations_are_refused() {
        for text in [
            "1",
            "1y1m1d",
            "-1w",
            "1.5d",
            "d",
            "294y",
            "200y10400w",
            "1s1s",
            " 1s",
            "1 s",
            "é",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(parse_duration(""), Err(DurationError::Empty));
    }

    #[test]
    fn durations_print_as_upstream_prints_them() {
        for (ms, text) in [
            (0, "0s"),
            (15_000, "15s"),
            (5_400_000, "1h30m"),
            (864_000_000, "10d"),
            (734_400_000, "204h"),
            (604_800_000, "1w"),
            (31_536_000_000, "1y"),
            (1, "1ms"),
            (-60_000, "-1m"),
        ] {
            assert_eq!(format_duration(ms), text);
        }
    }
}
