//! Sequences of values in scripts: `1 2x3 0+10x5 _ stale {{schema:0 count:1}}`.

use cupola_model::{NORMAL_NAN_BITS, STALE_NAN, parse_duration, parse_f64};

/// One position of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// No sample.
    Missing,
    /// A number, or a staleness marker.
    Float(f64),
    /// A native histogram as it was written; the engine does not know them yet.
    Histogram(String),
}

/// Reads a sequence.
///
/// # Errors
/// A text that names what could not be read.
pub(crate) fn parse_values(text: &str) -> Result<Vec<Item>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = item_end(rest)?;
        let (item, after) = rest.split_at(end);
        push_item(item, &mut out)?;
        rest = after.trim_start();
    }
    Ok(out)
}

// Items end at blanks, but not at those inside of {{ }}.
fn item_end(text: &str) -> Result<usize, String> {
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let blank = rest.find(char::is_whitespace).unwrap_or(rest.len());
        match rest.find("{{").filter(|open| *open < blank) {
            None => return Ok(at + blank),
            Some(open) => {
                let close = rest.get(open..).and_then(|r| r.find("}}"));
                at += open + close.ok_or_else(|| format!("histogram without end: {text}"))? + 2;
            }
        }
    }
}

fn push_item(item: &str, out: &mut Vec<Item>) -> Result<(), String> {
    let bad = || format!("cannot read the value {item:?}");
    if item.starts_with("{{") {
        let end = item.rfind("}}").ok_or_else(bad)? + 2;
        let (histogram, times) = item.split_at(end);
        let count = if times.is_empty() {
            1
        } else {
            repeat(times.strip_prefix('x').ok_or_else(bad)?)? + 1
        };
        out.extend(std::iter::repeat_n(Item::Histogram(histogram.to_owned()), count));
        return Ok(());
    }
    if let Some(times) = item.strip_prefix('_') {
        let count = if times.is_empty() {
            1
        } else {
            repeat(times.strip_prefix('x').ok_or_else(bad)?)?
        };
        out.extend(std::iter::repeat_n(Item::Missing, count));
        return Ok(());
    }
    if let Some(times) = item.strip_prefix("stale") {
        let count = if times.is_empty() {
            1
        } else {
            repeat(times.strip_prefix('x').ok_or_else(bad)?)? + 1
        };
        out.extend(std::iter::repeat_n(Item::Float(STALE_NAN), count));
        return Ok(());
    }
    // `0x10` is eleven zeros, but `0x1f` is a number: only decimal digits repeat.
    let repeated = item
        .rsplit_once('x')
        .filter(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let Some((value, times)) = repeated else {
        out.push(Item::Float(number(item).ok_or_else(bad)?));
        return Ok(());
    };
    let (mut value, step) = match number(value) {
        Some(value) => (value, None),
        None => {
            let (start, step) = split_step(value).ok_or_else(bad)?;
            (start, Some(step))
        }
    };
    for position in 0..=repeat(times)? {
        if let (Some(step), 1..) = (step, position) {
            value += step;
        }
        out.push(Item::Float(value));
    }
    Ok(())
}

fn repeat(text: &str) -> Result<usize, String> {
    // A script of more positions than this is a mistake.
    text.parse()
        .ok()
        .filter(|n| *n <= 10_000_000)
        .ok_or_else(|| format!("cannot read the repetition {text:?}"))
}

// `v+d` or `v-d`; the sign of an exponent does not count.
fn split_step(text: &str) -> Option<(f64, f64)> {
    let signs = text
        .bytes()
        .enumerate()
        .skip(1)
        .filter(|(_, b)| matches!(b, b'+' | b'-'));
    let mut parts = signs.filter_map(|(at, _)| {
        let (start, step) = text.split_at(at);
        Some((number(start)?, number(step)?))
    });
    parts.next()
}

/// A number as scripts write it: decimal, hexadecimal, `Inf`, `NaN`, or a duration in seconds.
pub(crate) fn number(text: &str) -> Option<f64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if unsigned.starts_with(['+', '-']) {
        return None;
    }
    let value = if unsigned.eq_ignore_ascii_case("nan") {
        f64::from_bits(NORMAL_NAN_BITS)
    } else if let Some(hex) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16).ok()? as f64
    } else if let Some(value) = parse_f64(unsigned) {
        value
    } else {
        parse_duration(unsigned).ok()? as f64 / 1000.0
    };
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[f64]) {
        let got: Vec<f64> = parse_values(text)
            .unwrap()
            .into_iter()
            .map(|item| if let Item::Float(value) = item { value } else { f64::NAN })
            .collect();
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn sequences() {
        check("1 2 3", &[1.0, 2.0, 3.0]);
        check("0x2 0x1f", &[0.0, 0.0, 0.0, 31.0]);
        check("0+10x2", &[0.0, 10.0, 20.0]);
        check("8-10x1 -1-1x1 -5x1", &[8.0, -2.0, -1.0, -2.0, -5.0, -5.0]);
        check("1e-2+1e+1x1 5m Inf", &[0.01, 10.01, 300.0, f64::INFINITY]);
    }

    #[test]
    fn gaps_and_histograms() {
        let got = parse_values("_ _x2 {{count:1 sum:2}}x1 stale").unwrap();
        assert_eq!(got.iter().filter(|item| **item == Item::Missing).count(), 3);
        assert_eq!(got[3], Item::Histogram("{{count:1 sum:2}}".to_owned()));
        assert_eq!(got.len(), 6);
        let sum = parse_values("{{a:1 b:2}}+{{a:3}}x2 5").unwrap();
        assert_eq!(sum.len(), 4);
        for text in ["abc", "{{x", "1x", "1xx2"] {
            assert!(parse_values(text).is_err(), "{text}");
        }
    }
}
