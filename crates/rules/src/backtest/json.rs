//! Reports as the API and the command give them.

use cupola_model::fmt_f64;
use serde_json::{Value, json};

use super::{AlertLife, Made, RuleReport};

/// Reports as JSON: an object with `start` and `end` and a list of `rules`. Times are seconds since the epoch, with
/// milliseconds; values are texts, as everywhere in the API.
#[must_use]
pub fn reports_to_json(reports: &[RuleReport], start: i64, end: i64) -> Value {
    let rules: Vec<Value> = reports.iter().map(|report| of_rule(report, end)).collect();
    json!({ "start": seconds(start), "end": seconds(end), "rules": rules })
}

fn seconds(ms: i64) -> Value {
    json!(ms as f64 / 1000.0)
}

fn of_rule(report: &RuleReport, end: i64) -> Value {
    let mut out = json!({
        "file": report.file,
        "group": report.group,
        "name": report.name,
        "query": report.query,
        "labels": report.labels,
        "evaluations": report.evaluations,
        "failures": report.failures,
    });
    if let Some((at, error)) = &report.first_failure {
        out["firstFailure"] = json!({ "time": seconds(*at), "error": error });
    }
    match &report.made {
        Made::Recording { series, samples } => {
            out["type"] = "recording".into();
            out["series"] = json!(series);
            out["samples"] = json!(samples);
        }
        Made::Alerting {
            hold_ms,
            keep_firing_ms,
            lives,
        } => {
            out["type"] = "alerting".into();
            out["duration"] = seconds(*hold_ms);
            out["keepFiringFor"] = seconds(*keep_firing_ms);
            let fired = || lives.iter().filter(|life| life.fired_at.is_some());
            let lengths = || fired().map(|life| firing_ms(life, end));
            out["fired"] = json!(fired().count());
            out["pendingOnly"] = json!(lives.len() - fired().count());
            out["firingSeconds"] = seconds(lengths().sum());
            out["longestSeconds"] = seconds(lengths().max().unwrap_or(0));
            out["alerts"] = lives.iter().map(of_life).collect();
        }
    }
    out
}

fn firing_ms(life: &AlertLife, end: i64) -> i64 {
    life.fired_at.map_or(0, |at| life.ended_at.unwrap_or(end) - at)
}

fn of_life(life: &AlertLife) -> Value {
    let labels: serde_json::Map<String, Value> = life
        .labels
        .iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let mut out = json!({
        "labels": labels,
        "activeAt": seconds(life.active_at),
        "value": fmt_f64(life.value),
    });
    if let Some(at) = life.fired_at {
        out["firedAt"] = seconds(at);
    }
    if let Some(at) = life.ended_at {
        out["endedAt"] = seconds(at);
    }
    out
}
