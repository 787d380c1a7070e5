//! Reads the notation of PromQL test scripts: `{{schema:1 count:3 buckets:[1 2]}}`.

use cupola_histogram::{CounterResetHint, FloatHistogram, Span};

pub fn number(text: &str) -> Option<f64> {
    cupola_model::parse_f64(text.trim())
}

/// `text` without the braces.
pub fn histogram(text: &str) -> Option<FloatHistogram> {
    let mut h = FloatHistogram::default();
    let (mut offset, mut n_offset) = (0, 0);
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once(':')?;
        let (value, next) = match after.strip_prefix('[') {
            Some(list) => list.split_once(']')?,
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        let list = || value.split_whitespace().map(number).collect::<Option<Vec<f64>>>();
        match key.trim() {
            "schema" => h.schema = value.parse().ok()?,
            "sum" => h.sum = number(value)?,
            "count" => h.count = number(value)?,
            "z_bucket" => h.zero_count = number(value)?,
            "z_bucket_w" => h.zero_threshold = number(value)?,
            "buckets" => h.positive_buckets = list()?,
            "n_buckets" => h.negative_buckets = list()?,
            "offset" => offset = value.parse().ok()?,
            "n_offset" => n_offset = value.parse().ok()?,
            "custom_values" => h.custom_values = list()?.into(),
            "counter_reset_hint" => {
                h.counter_reset_hint = match value {
                    "unknown" => CounterResetHint::Unknown,
                    "reset" => CounterResetHint::CounterReset,
                    "not_reset" => CounterResetHint::NotCounterReset,
                    "gauge" => CounterResetHint::Gauge,
                    _ => return None,
                }
            }
            _ => return None,
        }
        rest = next.trim_start();
    }
    let span = |offset, buckets: &Vec<f64>| match u32::try_from(buckets.len()) {
        Ok(length) if length > 0 => vec![Span { offset, length }],
        _ => Vec::new(),
    };
    h.positive_spans = span(offset, &h.positive_buckets);
    h.negative_spans = span(n_offset, &h.negative_buckets);
    Some(h)
}

/// Whether two numbers are the same to the scripts: within a millionth.
pub fn close(a: f64, b: f64) -> bool {
    let size = (a.abs() + b.abs()).min(f64::MAX);
    (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() / size < 1e-6 || (a - b).abs() < 1e-6 * f64::MIN_POSITIVE
}

/// Whether two histograms are the same to the scripts, up to the hint.
pub fn close_histograms(a: &FloatHistogram, b: &FloatHistogram) -> bool {
    let (mut a, mut b) = (a.clone(), b.clone());
    a.compact(0);
    b.compact(0);
    let close_lists = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| close(a, b));
    a.schema == b.schema
        && a.zero_threshold == b.zero_threshold
        && a.custom_values == b.custom_values
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && close_lists(&[a.count, a.sum, a.zero_count], &[b.count, b.sum, b.zero_count])
        && close_lists(&a.positive_buckets, &b.positive_buckets)
        && close_lists(&a.negative_buckets, &b.negative_buckets)
}
