//! Sequences of values in scripts: `1 2x3 0+10x5 _ stale {{schema:0 count:1}}`.

use std::sync::Arc;

use super::histogram::{Written, parse_histogram};
use cupola_model::{NORMAL_NAN_BITS, STALE_NAN, parse_duration, parse_f64};

/// One position of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// No sample.
    Missing,
    /// A number, or a staleness marker.
    Float(f64),
    /// A native histogram.
    Histogram(Written),
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
    if let Some(inside) = item.strip_prefix("{{") {
        return push_histograms(inside, out);
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

// `h}}`, `h}}xN`, `h}}+{{d}}xN` or `h}}-{{d}}xN`.
fn push_histograms(text: &str, out: &mut Vec<Item>) -> Result<(), String> {
    let bad = || format!("cannot read the histogram {{{{{text}");
    let (first, after) = text.split_once("}}").ok_or_else(bad)?;
    let mut current = parse_histogram(first)?;
    out.push(Item::Histogram(current.clone()));
    if after.is_empty() {
        return Ok(());
    }
    if let Some(times) = after.strip_prefix('x') {
        out.extend(std::iter::repeat_n(Item::Histogram(current), repeat(times)?));
        return Ok(());
    }
    let (sign, operand) = after.split_once("{{").ok_or_else(bad)?;
    let (operand, times) = operand.split_once("}}x").ok_or_else(bad)?;
    let operand = parse_histogram(operand)?.value;
    if current.value.schema > operand.schema {
        return Err(format!(
            "the schema {} of the first histogram must not be finer than the {} of what is added",
            current.value.schema, operand.schema
        ));
    }
    for _ in 0..repeat(times)? {
        let next = Arc::make_mut(&mut current.value);
        let combined = match sign {
            "+" => next.add(&operand),
            "-" => next.sub(&operand),
            _ => return Err(bad()),
        };
        combined.map_err(|error| error.to_string())?;
        out.push(Item::Histogram(current.clone()));
    }
    Ok(())
}

/// Reads the start timestamps of a line `metric@st ...`: milliseconds relative to each sample's time.
///
/// # Errors
/// A text that names what could not be read.
pub(crate) fn parse_starts(text: &str) -> Result<Vec<Option<i64>>, String> {
    let mut out = Vec::new();
    for item in text.split_whitespace() {
        let bad = || format!("cannot read the start timestamp {item:?}");
        let (value, times) = match item.rsplit_once('x') {
            Some((value, times)) => (value, Some(repeat(times)?)),
            None => (item, None),
        };
        if value == "_" {
            out.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
            continue;
        }
        let step_at = value.rfind(['+', '-']).filter(|at| *at > 0);
        let (start, step) = value.split_at(step_at.unwrap_or(value.len()));
        let mut start = signed_duration(start).ok_or_else(bad)?;
        let step = if step.is_empty() {
            0
        } else {
            signed_duration(step).ok_or_else(bad)?
        };
        out.push(Some(start));
        for _ in 0..times.unwrap_or(0) {
            start = i64::saturating_add(start, step);
            out.push(Some(start));
        }
    }
    Ok(out)
}

// Milliseconds.
fn signed_duration(text: &str) -> Option<i64> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    Some(sign * parse_duration(unsigned).ok()?)
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

    #[test]
    fn start_timestamps() {
        let wanted = [None, None, Some(-30_000), Some(-90_000), Some(0), Some(1), Some(60_000)];
        assert_eq!(parse_starts("_x2 -30s-1mx1 -0ms 1ms +1m").unwrap(), wanted);
        assert_eq!(parse_starts("0-1mx1").unwrap(), [Some(0), Some(-60_000)]);
        assert!(parse_starts("cake").is_err());
    }

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
        assert_eq!(got[3], Item::Histogram(parse_histogram("count:1 sum:2").unwrap()));
        assert_eq!(got.len(), 6);
        let sum = parse_values("{{sum:1 count:2}}+{{sum:3}}x2 5").unwrap();
        assert_eq!(sum.len(), 4);
        assert_eq!(sum[2], Item::Histogram(parse_histogram("count:2 sum:7").unwrap()));
        for text in ["abc", "{{x", "1x", "1xx2", "{{schema:1}}+{{schema:0}}x1", "{{}}*{{}}x1"] {
            assert!(parse_values(text).is_err(), "{text}");
        }
    }
}
