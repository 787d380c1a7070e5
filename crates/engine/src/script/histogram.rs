//! Native histograms as scripts write them: `{{schema:1 count:3 sum:5 buckets:[1 2]}}`.

use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FloatHistogram, Span};

use super::values::number;

/// A histogram of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Its value.
    pub value: Arc<FloatHistogram>,
    /// Whether the text said something about counter resets; only then that is compared.
    pub says_reset: bool,
}

/// Reads what stands between `{{` and `}}`.
///
/// # Errors
/// A text that names the key that could not be read.
pub(crate) fn parse_histogram(inside: &str) -> Result<Written, String> {
    let mut histogram = FloatHistogram::default();
    let (mut offset, mut n_offset) = (0, 0);
    let mut seen = Vec::new();
    let mut rest = inside.trim();
    while !rest.is_empty() {
        let (key, after) = rest
            .split_once(':')
            .ok_or_else(|| format!("expected key:value in a histogram, found {rest:?}"))?;
        if seen.contains(&key) {
            return Err(format!("{key:?} stands twice in a histogram"));
        }
        seen.push(key);
        let end = match after.strip_prefix('[') {
            Some(list) => list.find(']').ok_or_else(|| format!("{key}: list without end"))? + 2,
            None => after.find(char::is_whitespace).unwrap_or(after.len()),
        };
        let (value, after) = after.split_at(end);
        rest = after.trim_start();
        let bad = || format!("cannot read {key}:{value} of a histogram");
        match key {
            "schema" => histogram.schema = value.parse().map_err(|_| bad())?,
            "sum" => histogram.sum = number(value).ok_or_else(bad)?,
            "count" => histogram.count = number(value).ok_or_else(bad)?,
            "z_bucket" => histogram.zero_count = number(value).ok_or_else(bad)?,
            "z_bucket_w" => histogram.zero_threshold = number(value).ok_or_else(bad)?,
            "buckets" => histogram.positive_buckets = list(value).ok_or_else(bad)?,
            "n_buckets" => histogram.negative_buckets = list(value).ok_or_else(bad)?,
            "custom_values" => histogram.custom_values = list(value).ok_or_else(bad)?.into(),
            "offset" => offset = value.parse().map_err(|_| bad())?,
            "n_offset" => n_offset = value.parse().map_err(|_| bad())?,
            "counter_reset_hint" => {
                histogram.counter_reset_hint = match value {
                    "unknown" => CounterResetHint::Unknown,
                    "reset" => CounterResetHint::CounterReset,
                    "not_reset" => CounterResetHint::NotCounterReset,
                    "gauge" => CounterResetHint::Gauge,
                    _ => return Err(bad()),
                }
            }
            _ => return Err(format!("unknown key {key:?} in a histogram")),
        }
    }
    histogram.positive_spans = one_span(offset, &histogram.positive_buckets)?;
    histogram.negative_spans = one_span(n_offset, &histogram.negative_buckets)?;
    Ok(Written {
        value: Arc::new(histogram),
        says_reset: seen.contains(&"counter_reset_hint"),
    })
}

fn list(text: &str) -> Option<Vec<f64>> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    inside.split_whitespace().map(number).collect()
}

fn one_span(offset: i32, buckets: &[f64]) -> Result<Vec<Span>, String> {
    if buckets.is_empty() {
        return Ok(Vec::new());
    }
    let length = u32::try_from(buckets.len()).map_err(|_| "too many buckets in a histogram".to_owned())?;
    Ok(vec![Span { offset, length }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation_and_value_belong_together() {
        for text in [
            "",
            "count:3 sum:5",
            "schema:1 count:3 sum:-Inf offset:-2 buckets:[1 2]",
            "schema:-53 count:3 custom_values:[1 5] counter_reset_hint:gauge buckets:[1 0 2]",
            "z_bucket:1 z_bucket_w:0.5 n_offset:2 n_buckets:[1]",
        ] {
            let written = parse_histogram(text).unwrap();
            assert_eq!(written.says_reset, text.contains("hint"), "{text}");
            let printed = written.value.test_expression();
            let again = parse_histogram(printed.trim_start_matches('{').trim_end_matches('}')).unwrap();
            assert_eq!(again.value, written.value, "{text}: {printed}");
        }
    }

    #[test]
    fn mistakes_name_the_key() {
        for (text, named) in [
            ("sum", "key:value"),
            ("sum:x", "sum:x"),
            ("sum:1 sum:2", "twice"),
            ("buckets:[1 2", "without end"),
            ("cake:1", "cake"),
            ("counter_reset_hint:no", "counter_reset_hint:no"),
        ] {
            let error = parse_histogram(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
