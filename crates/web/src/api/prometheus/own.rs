//! What the server can do, and its own metrics as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cupola_goregex::Regex;
use cupola_metrics::{Kind, SeriesValue, Snapshot};
use cupola_model::fmt_f64;
use cupola_promql::FUNCTIONS;

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, success, write_list, write_str};

/// `features`: by part, each feature and whether it is on.
pub(super) fn features(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let app = ask.app;
    let options = app.engine.options();
    let parse = &options.parse;
    let functions = FUNCTIONS
        .iter()
        .map(|f| (f.name, !f.experimental || parse.experimental_functions));
    let enabled = app.flags.get("enable-feature").map_or("", String::as_str);
    let has_feature = |name: &str| enabled.split(',').any(|feature| feature == name);
    let all: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::from([
        (
            "api",
            BTreeMap::from([
                ("admin", app.admin_api),
                ("exclude_alerts", true),
                ("label_values_match", true),
                ("lifecycle", app.reload.is_some()),
                ("openapi_3.1", true),
                ("otlp_write_receiver", app.otlp.is_some()),
                ("query_stats", true),
                ("query_warnings", true),
                ("remote_write_receiver", app.remote_write.is_some()),
                ("rule_group_pagination", true),
                ("time_range_labels", true),
                ("time_range_series", true),
            ]),
        ),
        (
            "promql",
            BTreeMap::from([
                ("delayed_name_removal", options.delayed_name_removal),
                ("experimental_functions", parse.experimental_functions),
                ("per_step_stats", options.per_step_stats),
                ("type_and_unit_labels", options.type_and_unit_labels),
                ("use_start_timestamps", options.use_start_timestamps),
            ]),
        ),
        ("promql_functions", functions.collect()),
        (
            "scrape",
            BTreeMap::from([
                ("extra_scrape_metrics", true),
                (
                    "start_timestamp_zero_ingestion",
                    has_feature("created-timestamp-zero-ingestion"),
                ),
                ("type_and_unit_labels", options.type_and_unit_labels),
            ]),
        ),
        (
            "tsdb",
            BTreeMap::from([("exemplars", true), ("native_histograms", true)]),
        ),
    ]);
    let mut data = String::from("{");
    for (i, (part, features)) in all.iter().enumerate() {
        data.push_str(if i > 0 { "," } else { "" });
        write_str(&mut data, part);
        data.push_str(":{");
        for (i, (name, is_on)) in features.iter().enumerate() {
            data.push_str(if i > 0 { "," } else { "" });
            write_str(&mut data, name);
            let _ = write!(data, ":{is_on}");
        }
        data.push('}');
    }
    data.push('}');
    Ok(success(&data))
}

/// `status/self_metrics`: what `/metrics` says, as JSON; only the families whose name `metric_name_pattern` matches whole.
pub(super) fn self_metrics(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let pattern = match ask.params.get("metric_name_pattern") {
        "" => None,
        text => Some(Regex::anchored(text).map_err(|e| ApiError::param("metric_name_pattern", e))?),
    };
    let families = ask.app.registry.snapshot();
    let asked = families
        .iter()
        .filter(|family| pattern.as_ref().is_none_or(|p| p.is_match(&family.name)));
    let mut data = String::new();
    write_list(&mut data, asked, write_family);
    Ok(success(&data))
}

// As protocol buffers are written in JSON: 64-bit integers are texts, and so is what is no number in JSON.
fn write_family(out: &mut String, family: &Snapshot) {
    let (kind, field) = match family.kind {
        Kind::Counter => ("COUNTER", "counter"),
        Kind::Gauge => ("GAUGE", "gauge"),
        Kind::Histogram => ("HISTOGRAM", "histogram"),
        Kind::Summary => ("SUMMARY", "summary"),
    };
    out.push_str("{\"name\":");
    write_str(out, &family.name);
    out.push_str(",\"help\":");
    write_str(out, &family.help);
    let _ = write!(out, ",\"type\":\"{kind}\",\"metric\":");
    write_list(out, &family.series, |out, (labels, value)| {
        out.push_str("{\"label\":");
        write_list(out, labels, |out, (name, value)| {
            out.push_str("{\"name\":");
            write_str(out, name);
            out.push_str(",\"value\":");
            write_str(out, value);
            out.push('}');
        });
        let _ = write!(out, ",\"{field}\":{{");
        match value {
            SeriesValue::Number(value) | SeriesValue::Counted { value, .. } => {
                out.push_str("\"value\":");
                write_double(out, *value);
            }
            SeriesValue::Summary(all) => {
                let _ = write!(out, "\"sampleCount\":\"{}\",\"sampleSum\":", all.count);
                write_double(out, all.sum);
                out.push_str(",\"quantile\":");
                write_list(out, &all.quantiles, |out, (quantile, value)| {
                    out.push_str("{\"quantile\":");
                    write_double(out, *quantile);
                    out.push_str(",\"value\":");
                    write_double(out, *value);
                    out.push('}');
                });
            }
            SeriesValue::Histogram { buckets, sum, .. } => {
                let count = buckets.last().map_or(0, |(_, count)| *count);
                let _ = write!(out, "\"sampleCount\":\"{count}\",\"sampleSum\":");
                write_double(out, *sum);
                out.push_str(",\"bucket\":");
                write_list(out, buckets, |out, (bound, count)| {
                    let _ = write!(out, "{{\"cumulativeCount\":\"{count}\",\"upperBound\":");
                    write_double(out, *bound);
                    out.push('}');
                });
            }
        }
        out.push_str("}}");
    });
    out.push('}');
}

fn write_double(out: &mut String, value: f64) {
    match value {
        f64::INFINITY => out.push_str("\"Infinity\""),
        f64::NEG_INFINITY => out.push_str("\"-Infinity\""),
        value if value.is_nan() => out.push_str("\"NaN\""),
        value => out.push_str(&fmt_f64(value)),
    }
}
