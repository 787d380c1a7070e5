//! Compares what came out with what a script wants.

use std::collections::BTreeMap;

use cupola_model::{Labels, fmt_f64_g, is_stale_nan};
use cupola_storage::Samples;

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

/// Fails unless `rows` are the wanted ones, each with its first value; in order where `ordered`.
pub(crate) fn compare_rows(rows: &[(Labels, f64)], wanted: &[SeriesLine], ordered: bool) -> Result<(), String> {
    let mut wanted_by: BTreeMap<&Labels, (usize, f64)> = BTreeMap::new();
    for (at, line) in wanted.iter().enumerate() {
        match line.values.as_slice() {
            [Item::Float(value)] => {
                wanted_by.insert(&line.labels, (at, *value));
            }
            [Item::Missing] => {}
            [Item::Histogram(_)] => return Err(format!("{}: native histograms are not supported yet", line.labels)),
            _ => return Err(format!("{}: an instant query has one value per series", line.labels)),
        }
    }
    for (at, (labels, value)) in rows.iter().enumerate() {
        let Some((wanted_at, wanted)) = wanted_by.remove(labels) else {
            return Err(format!("unexpected series {labels} with value {}", fmt_f64_g(*value)));
        };
        if !same_value(*value, wanted) {
            return Err(format!(
                "{labels}: expected {}, got {}",
                fmt_f64_g(wanted),
                fmt_f64_g(*value)
            ));
        }
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

/// Fails unless `rows` are the wanted ones; position i is the time `start + i * step_ms`.
pub(crate) fn compare_matrix(
    rows: &[(Labels, Samples)],
    wanted: &[SeriesLine],
    start: i64,
    step_ms: i64,
) -> Result<(), String> {
    let mut wanted_by: BTreeMap<&Labels, BTreeMap<i64, f64>> = BTreeMap::new();
    for line in wanted {
        let mut points = BTreeMap::new();
        for (time, item) in (0..).map(|i| start + i * step_ms).zip(&line.values) {
            match item {
                Item::Missing => {}
                Item::Float(value) => {
                    points.insert(time, *value);
                }
                Item::Histogram(_) => return Err(format!("{}: native histograms are not supported yet", line.labels)),
            }
        }
        if !points.is_empty() {
            wanted_by.insert(&line.labels, points);
        }
    }
    if !rows.is_sorted_by(|a, b| a.0 < b.0) {
        return Err("the series are not sorted by labels".to_owned());
    }
    for (labels, samples) in rows {
        let Some(mut points) = wanted_by.remove(labels) else {
            return Err(format!("unexpected series {labels}: {:?}", samples.values));
        };
        for (time, value) in samples.ts.iter().zip(&samples.values) {
            match points.remove(time) {
                Some(wanted) if same_value(*value, wanted) => {}
                Some(wanted) => {
                    let (wanted, got) = (fmt_f64_g(wanted), fmt_f64_g(*value));
                    return Err(format!("{labels} at {time} ms: expected {wanted}, got {got}"));
                }
                None => return Err(format!("{labels} at {time} ms: unexpected value {}", fmt_f64_g(*value))),
            }
        }
        if let Some((time, wanted)) = points.into_iter().next() {
            return Err(format!(
                "{labels} at {time} ms: expected {}, got none",
                fmt_f64_g(wanted)
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
