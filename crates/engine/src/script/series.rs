//! Lines of series: `metric{label="value"} 1 2 3`.

use std::sync::Arc;

use cupola_histogram::FloatHistogram;
use cupola_model::{
    Labels, LabelsBuilder, METRIC_NAME, is_stale_nan, is_valid_legacy_label_name, is_valid_legacy_metric_name,
};
use cupola_storage::{SampleValue, Samples};

use super::values::{Item, parse_starts, parse_values};

/// A series and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesLine {
    /// Its labels.
    pub labels: Labels,
    /// One item per position.
    pub values: Vec<Item>,
    /// Since when each position's counter counts, in milliseconds relative to the position's time; empty where the
    /// script says nothing of it.
    pub starts: Vec<Option<i64>>,
}

impl SeriesLine {
    /// Its samples, position i at `i * step_ms`.
    #[must_use]
    pub fn samples(&self, step_ms: i64) -> Samples {
        let mut samples = Samples::default();
        let mut last_is_histogram = false;
        let starts = self.starts.iter().copied().chain(std::iter::repeat(None));
        for ((time, item), start) in (0_i64..)
            .map(|i| i.saturating_mul(step_ms))
            .zip(&self.values)
            .zip(starts)
        {
            let start = start.map_or(0, |offset| time.saturating_add(offset));
            let value = match item {
                Item::Missing => continue,
                // A series of histograms ends with one that has the marker as its sum.
                Item::Float(value) if is_stale_nan(*value) && last_is_histogram => {
                    SampleValue::Histogram(Arc::new(FloatHistogram {
                        sum: *value,
                        ..FloatHistogram::default()
                    }))
                }
                Item::Float(value) => SampleValue::Float(*value),
                Item::Histogram(written) => SampleValue::Histogram(Arc::clone(&written.value)),
            };
            last_is_histogram = matches!(value, SampleValue::Histogram(_));
            samples.push_value(time, value, start);
        }
        samples
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    /// `metric 1 2 3`
    Series(SeriesLine),
    /// `metric@st -1m -2m`: of the series that follows.
    Starts(Labels, Vec<Option<i64>>),
}

/// Reads a series and, apart from it, its values, as unit tests of rules have them.
///
/// # Errors
/// A text that names what could not be read.
pub fn parse_series(series: &str, values: &str) -> Result<SeriesLine, String> {
    let (labels, rest) = parse_labels(series)?;
    if !rest.trim().is_empty() {
        return Err(format!("cannot read the series {series:?}"));
    }
    Ok(SeriesLine {
        labels,
        values: parse_values(values)?,
        starts: Vec::new(),
    })
}

/// Reads a line.
///
/// # Errors
/// A text that names what could not be read.
pub(crate) fn parse_line(line: &str) -> Result<Line, String> {
    let (labels, rest) = parse_labels(line)?;
    if let Some(starts) = rest.strip_prefix("@st") {
        return Ok(Line::Starts(labels, parse_starts(starts)?));
    }
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return Err(format!("cannot read the series {line:?}"));
    }
    Ok(Line::Series(SeriesLine {
        labels,
        values: parse_values(rest)?,
        starts: Vec::new(),
    }))
}

/// Reads `metric{l="v",...}`, `{l="v"}`, `{"metric", l="v"}` or a bare name; gives the labels and what follows.
///
/// # Errors
/// A text that names what could not be read.
pub fn parse_labels(text: &str) -> Result<(Labels, &str), String> {
    let bad = || format!("cannot read the series {text:?}");
    let end = text
        .find(|c: char| c == '{' || c == '@' || c.is_whitespace())
        .unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    if !name.is_empty() && !is_valid_legacy_metric_name(name) {
        return Err(bad());
    }
    let mut builder = LabelsBuilder::default();
    builder.set(METRIC_NAME, name);
    let Some(inside) = rest.strip_prefix('{') else {
        return if name.is_empty() {
            Err(bad())
        } else {
            Ok((builder.build(), rest))
        };
    };
    rest = inside.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((builder.build(), after));
        }
        let (name, after) = if rest.starts_with(['"', '\'', '`']) {
            unquote(rest).ok_or_else(bad)?
        } else {
            let end = rest.find(|c: char| c == '=' || c.is_whitespace()).ok_or_else(bad)?;
            let (name, after) = rest.split_at(end);
            if !is_valid_legacy_label_name(name) {
                return Err(bad());
            }
            (name.to_owned(), after)
        };
        let after = after.trim_start();
        rest = match after.strip_prefix('=') {
            Some(value) => {
                let (value, after) = unquote(value.trim_start()).ok_or_else(bad)?;
                builder.set(&name, &value);
                after
            }
            // A name in quotes alone is the metric's.
            None => {
                builder.set(METRIC_NAME, &name);
                after
            }
        };
        rest = rest.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if rest.starts_with('}') => rest,
            None => return Err(bad()),
        };
    }
}

/// Reads a quoted text with Go's escapes; gives it and what follows.
pub(crate) fn unquote(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let body = text.get(1..)?;
    if quote == '`' {
        let (inside, after) = body.split_once('`')?;
        return Some((inside.to_owned(), after));
    }
    let mut bytes = Vec::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((String::from_utf8_lossy(&bytes).into_owned(), body.get(at + 1..)?));
        }
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let (_, escape) = chars.next()?;
        let mut hex = |digits: usize| {
            let mut value = 0;
            for _ in 0..digits {
                value = value * 16 + chars.next()?.1.to_digit(16)?;
            }
            Some(value)
        };
        let simple = match escape {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '"' | '\'' => u8::try_from(escape).ok()?,
            'x' => u8::try_from(hex(2)?).ok()?,
            'u' | 'U' => {
                let c = char::from_u32(hex(if escape == 'u' { 4 } else { 8 })?)?;
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        };
        bytes.push(simple);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, labels: &str, rest: &str) {
        let (got, after) = parse_labels(text).unwrap();
        assert_eq!((got.to_string().as_str(), after), (labels, rest));
    }

    #[test]
    fn series() {
        check("up 1", r#"{__name__="up"}"#, " 1");
        check(r#"a:b{x="1", y='2',} 3"#, r#"{__name__="a:b", x="1", y="2"}"#, " 3");
        check("{} 1", "{}", " 1");
        check(r#"{"a.b", "l l"="v\n"}"#, r#"{__name__="a.b", "l l"="v\n"}"#, "");
        check(r#"series@st 1"#, r#"{__name__="series"}"#, "@st 1");
        for text in [
            "1 2",
            "a.b 1",
            r#"{a.b="1"}"#,
            "{",
            r#"a{b}"#,
            r#"a{b="1" c="2"}"#,
            r#"a{b="1}"#,
        ] {
            assert!(parse_labels(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quoted_texts() {
        assert_eq!(unquote(r#""a\x41\u00e9" b"#), Some(("aAé".to_owned(), " b")));
        assert_eq!(unquote("`a\\n`"), Some(("a\\n".to_owned(), "")));
        assert_eq!(unquote("\"open"), None);
    }
}
