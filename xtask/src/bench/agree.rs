//! Whether two servers gave the same answer.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// How far two values may be apart, relative to the larger one.
pub(crate) const TOLERANCE: f64 = 1e-6;

/// An answer of the query API: for each set of labels its points, by time in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    series: BTreeMap<String, BTreeMap<i64, f64>>,
}

impl Outcome {
    pub(crate) fn parse(body: &[u8]) -> Result<Self> {
        let json: Value = serde_json::from_slice(body).context("the answer is no JSON")?;
        let result = json.pointer("/data/result").and_then(Value::as_array);
        let result = result.with_context(|| format!("the answer has no result: {json}"))?;
        let mut series = BTreeMap::new();
        for one in result {
            let labels = one
                .get("metric")
                .and_then(Value::as_object)
                .context("a series without labels")?;
            let labels: BTreeMap<&str, &str> = labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or("")))
                .collect();
            let points = match (one.get("value"), one.get("values").and_then(Value::as_array)) {
                (Some(value), _) => std::slice::from_ref(value),
                (None, Some(values)) => values.as_slice(),
                (None, None) => bail!("a series without values: {one}"),
            };
            let points = points.iter().map(point).collect::<Result<_>>()?;
            if series.insert(format!("{labels:?}"), points).is_some() {
                bail!("two series with the labels {labels:?}");
            }
        }
        Ok(Self { series })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The first difference to `other`; None where both say the same.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        if self.series.len() != other.series.len() {
            return Some(format!(
                "{} series instead of {}",
                self.series.len(),
                other.series.len()
            ));
        }
        for (labels, points) in &self.series {
            let Some(others) = other.series.get(labels) else {
                return Some(format!("one has {labels}"));
            };
            if points.len() != others.len() {
                return Some(format!(
                    "{} points instead of {} at {labels}",
                    points.len(),
                    others.len()
                ));
            }
            for ((ts, value), (other_ts, other)) in points.iter().zip(others) {
                if ts != other_ts {
                    return Some(format!("a point at {ts} instead of {other_ts} at {labels}"));
                }
                if !is_close(*value, *other) {
                    return Some(format!("{value} instead of {other} at {labels}"));
                }
            }
        }
        None
    }
}

fn point(point: &Value) -> Result<(i64, f64)> {
    let ts = point.get(0).and_then(Value::as_f64);
    let value = point.get(1).and_then(Value::as_str).and_then(|text| text.parse().ok());
    let (Some(ts), Some(value)) = (ts, value) else {
        bail!("not a point: {point}");
    };
    Ok(((ts * 1000.0).round() as i64, value))
}

fn is_close(a: f64, b: f64) -> bool {
    // Infinities are equal or not; NaN stands for NaN.
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(result: &str) -> Outcome {
        let text = format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{result}]}}}}");
        Outcome::parse(text.as_bytes()).unwrap()
    }

    #[track_caller]
    fn check(a: &str, b: &str, difference: Option<&str>) {
        let found = answer(a).difference(&answer(b));
        match difference {
            None => assert_eq!(found, None),
            Some(told) => assert!(found.as_deref().is_some_and(|f| f.contains(told)), "{found:?}"),
        }
    }

    #[test]
    fn the_same_in_another_order_is_the_same() {
        let a = r#"{"metric":{"a":"1","b":"2"},"values":[[1,"1"],[2.5,"NaN"]]},{"metric":{},"value":[1,"+Inf"]}"#;
        let b =
            r#"{"metric":{},"value":[1,"+Inf"]},{"metric":{"b":"2","a":"1"},"values":[[1,"1.0000001"],[2.5,"NaN"]]}"#;
        check(a, b, None);
    }

    #[test]
    fn differences_are_told() {
        let one = r#"{"metric":{"a":"1"},"values":[[1,"1"]]}"#;
        check(one, "", Some("1 series instead of 0"));
        check(one, r#"{"metric":{"a":"2"},"values":[[1,"1"]]}"#, Some("one has"));
        check(
            one,
            r#"{"metric":{"a":"1"},"values":[[1,"1.00001"]]}"#,
            Some("instead of 1.00001"),
        );
        check(
            one,
            r#"{"metric":{"a":"1"},"values":[[2,"1"]]}"#,
            Some("a point at 1000 instead of 2000"),
        );
        check(
            one,
            r#"{"metric":{"a":"1"},"values":[[1,"1"],[2,"1"]]}"#,
            Some("1 points instead of 2"),
        );
        check(one, r#"{"metric":{"a":"1"},"values":[[1,"NaN"]]}"#, Some("NaN"));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for body in [
            "",
            "{}",
            r#"{"data":{"result":[{"metric":{}}]}}"#,
            r#"{"data":{"result":[{"metric":{},"value":[1,2]}]}}"#,
        ] {
            assert!(Outcome::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
