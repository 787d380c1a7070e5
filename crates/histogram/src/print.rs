//! The two notations: the one people see, and the one of test scripts.

use std::fmt;

use cupola_model::fmt_f64_g;

use crate::float::{CounterResetHint, FloatHistogram};

impl fmt::Display for FloatHistogram {
    /// As upstream's `String`: `{count:4, sum:5, [-2,-1):1, [-0.001,0.001]:1, (1,2]:2}`, without empty buckets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", fmt_f64_g(self.count), fmt_f64_g(self.sum))?;
        let negative = self.negative_iter().rev();
        let zero = (!self.uses_custom_buckets()).then(|| self.zero_bucket());
        for bucket in negative.chain(zero).chain(self.positive_iter()) {
            if bucket.count != 0.0 {
                write!(f, ", {bucket}")?;
            }
        }
        f.write_str("}")
    }
}

fn list(values: &[f64]) -> String {
    let texts: Vec<String> = values.iter().copied().map(fmt_f64_g).collect();
    texts.join(" ")
}

impl FloatHistogram {
    /// The notation of PromQL test scripts and rule unit tests (upstream `TestExpression`):
    /// `{{schema:1 count:3 sum:5 offset:2 buckets:[1 2]}}`, parts of value 0 left out.
    #[must_use]
    pub fn test_expression(&self) -> String {
        let mut h = self.clone();
        // One span for each side, as the notation knows no gaps.
        h.compact(usize::MAX);
        let mut parts = Vec::new();
        if h.schema != 0 {
            parts.push(format!("schema:{}", h.schema));
        }
        for (name, value) in [
            ("count", h.count),
            ("sum", h.sum),
            ("z_bucket", h.zero_count),
            ("z_bucket_w", h.zero_threshold),
        ] {
            if value != 0.0 {
                parts.push(format!("{name}:{}", fmt_f64_g(value)));
            }
        }
        if h.uses_custom_buckets() {
            parts.push(format!("custom_values:[{}]", list(&h.custom_values)));
        }
        match h.counter_reset_hint {
            CounterResetHint::Unknown => {}
            CounterResetHint::CounterReset => parts.push("counter_reset_hint:reset".to_owned()),
            CounterResetHint::NotCounterReset => parts.push("counter_reset_hint:not_reset".to_owned()),
            CounterResetHint::Gauge => parts.push("counter_reset_hint:gauge".to_owned()),
        }
        for (offset, name, spans, buckets) in [
            ("offset", "buckets", &h.positive_spans, &h.positive_buckets),
            ("n_offset", "n_buckets", &h.negative_spans, &h.negative_buckets),
        ] {
            if let Some(span) = spans.first().filter(|span| span.offset != 0) {
                parts.push(format!("{offset}:{}", span.offset));
            }
            if !buckets.is_empty() {
                parts.push(format!("{name}:[{}]", list(buckets)));
            }
        }
        format!("{{{{{}}}}}", parts.join(" "))
    }
}
