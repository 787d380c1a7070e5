//! Compares what came out with what a script wants.

use std::collections::BTreeMap;
use std::fmt::Display;

use cupola_histogram::FloatHistogram;
use cupola_model::{Labels, fmt_f64_g, is_stale_nan};
use cupola_storage::{SampleValue, Samples};

use super::series::SeriesLine;
use super::values::Item;
use crate::QueryValue;

// Values may differ by this, relative to their size.
const TOLERANCE: f64 = 1e-6;

/// Whether two values are equal as far as scripts care.
pub(crate) fn same_value(a: f64, b: f64) -> bool {
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b {
        return true;
    }
    let diff = (a - b).abs();
    let size = a.abs() + b.abs();
    if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
        return diff < TOLERANCE * f64::MIN_POSITIVE;
    }
    diff / size.min(f64::MAX) < TOLERANCE
}

/// Fails unless `value` is the wanted number.
pub(crate) fn compare_scalar(value: &QueryValue, wanted: f64) -> Result<(), String> {
    match value {
        QueryValue::Scalar(_, got) if same_value(*got, wanted) => Ok(()),
        QueryValue::Scalar(_, got) => Err(format!("expected {}, got {}", fmt_f64_g(wanted), fmt_f64_g(*got))),
        other => Err(format!("expected a scalar, got a {}", other.type_name())),
    }
}

fn show(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => fmt_f64_g(*value),
        SampleValue::Histogram(histogram) => histogram.test_expression(),
    }
}

fn show_item(item: &Item) -> String {
    match item {
        Item::Missing => "none".to_owned(),
        Item::Float(value) => fmt_f64_g(*value),
        Item::Histogram(wanted) => wanted.value.test_expression(),
    }
}

fn is_wanted(value: &SampleValue, wanted: &Item) -> bool {
    match (value, wanted) {
        (SampleValue::Float(value), Item::Float(wanted)) => same_value(*value, *wanted),
        (SampleValue::Histogram(histogram), Item::Histogram(wanted)) => {
            let hints = (histogram.counter_reset_hint, wanted.value.counter_reset_hint);
            same_histogram(histogram, &wanted.value) && (!wanted.says_reset || hints.0 == hints.1)
        }
        _ => false,
    }
}

fn same_histogram(a: &FloatHistogram, b: &FloatHistogram) -> bool {
    let (mut a, mut b) = (a.clone(), b.clone());
    a.compact(0);
    b.compact(0);
    let same_buckets = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(*a, *b));
    a.schema == b.schema
        && a.zero_threshold == b.zero_threshold
        && a.custom_values == b.custom_values
        && same_value(a.count, b.count)
        && same_value(a.sum, b.sum)
        && same_value(a.zero_count, b.zero_count)
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && same_buckets(&a.positive_buckets, &b.positive_buckets)
        && same_buckets(&a.negative_buckets, &b.negative_buckets)
}

fn check_value(value: &SampleValue, wanted: &Item, place: impl Display) -> Result<(), String> {
    if is_wanted(value, wanted) {
        return Ok(());
    }
    Err(format!("{place}: expected {}, got {}", show_item(wanted), show(value)))
}

/// Fails unless `rows` are the wanted ones, each with its first value; in order where `ordered`.
pub(crate) fn compare_rows(rows: &[(Labels, SampleValue)], wanted: &[SeriesLine], ordered: bool) -> Result<(), String> {
    let mut wanted_by: BTreeMap<&Labels, (usize, &Item)> = BTreeMap::new();
    for (at, line) in wanted.iter().enumerate() {
        match line.values.as_slice() {
            [Item::Missing] => {}
            [item] => {
                wanted_by.insert(&line.labels, (at, item));
            }
            _ => return Err(format!("{}: an instant query has one value per series", line.labels)),
        }
    }
    for (at, (labels, value)) in rows.iter().enumerate() {
        let Some((wanted_at, wanted)) = wanted_by.remove(labels) else {
            return Err(format!("unexpected series {labels} with value {}", show(value)));
        };
        check_value(value, wanted, labels)?;
        if ordered && at != wanted_at {
            return Err(format!(
                "{labels}: expected at place {}, is at {}",
                wanted_at + 1,
                at + 1
            ));
        }
    }
    match wanted_by.into_keys().next() {
        Some(labels) => Err(format!("missing series {labels}")),
        None => Ok(()),
    }
}

/// Fails unless the rows of a matrix ascend by labels.
pub(crate) fn check_sorted(rows: &[(Labels, Samples)]) -> Result<(), String> {
    if rows.is_sorted_by(|a, b| a.0 < b.0) {
        Ok(())
    } else {
        Err("the series are not sorted by labels".to_owned())
    }
}

/// Fails unless `rows` are the wanted ones; position i is the time `start + i * step_ms`.
pub(crate) fn compare_matrix(
    rows: &[(Labels, Samples)],
    wanted: &[SeriesLine],
    start: i64,
    step_ms: i64,
) -> Result<(), String> {
    let mut wanted_by: BTreeMap<&Labels, BTreeMap<i64, &Item>> = BTreeMap::new();
    for line in wanted {
        let times = (0_i64..)
            .map(|i| start.saturating_add(i.saturating_mul(step_ms)))
            .zip(&line.values);
        let points: BTreeMap<i64, &Item> = times.filter(|(_, item)| !matches!(item, Item::Missing)).collect();
        if !points.is_empty() {
            wanted_by.insert(&line.labels, points);
        }
    }
    check_sorted(rows)?;
    for (labels, samples) in rows {
        let Some(mut points) = wanted_by.remove(labels) else {
            let values: Vec<String> = samples.iter().map(|(_, value, _)| show(&value)).collect();
            return Err(format!("unexpected series {labels}: {}", values.join(" ")));
        };
        for (time, value, _) in samples.iter() {
            let wanted = points.remove(&time).unwrap_or(&Item::Missing);
            check_value(&value, wanted, format_args!("{labels} at {time} ms"))?;
        }
        if let Some((time, wanted)) = points.into_iter().next() {
            return Err(format!(
                "{labels} at {time} ms: expected {}, got none",
                show_item(wanted)
            ));
        }
    }
    match wanted_by.into_keys().next() {
        Some(labels) => Err(format!("missing series {labels}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_model::STALE_NAN;

    #[test]
    fn values_are_equal_within_a_millionth() {
        for (a, b, equal) in [
            (1.0, 1.000_000_1, true),
            (1.0, 1.000_01, false),
            (f64::NAN, f64::NAN, true),
            (f64::NAN, STALE_NAN, false),
            (0.0, 1e-300, false),
            (f64::INFINITY, f64::INFINITY, true),
            (f64::INFINITY, 1.0, false),
        ] {
            assert_eq!(same_value(a, b), equal, "{a} {b}");
        }
    }
}
