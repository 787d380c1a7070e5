//! Reports as the API and the command give them.

use std::collections::BTreeMap;

use cupola_model::fmt_f64;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Value, json};

use super::{AlertLife, Made, RuleReport};

/// Reports as JSON: an object with `start` and `end` and a list of `rules`. Times are seconds since the epoch, with
/// milliseconds; values are texts, as everywhere in the API. It is made while it is written: a month of a large pack has
/// half a million alerts.
#[derive(Debug, Clone)]
pub struct ReportsJson<'a> {
    /// The rules.
    pub reports: &'a [RuleReport],
    /// The first moment that was replayed, milliseconds since the epoch.
    pub start: i64,
    /// The last one.
    pub end: i64,
    /// Of each rule only so many of the alerts that fired, the latest; `None` is all, those that never fired, too.
    pub latest: Option<usize>,
    /// What would have been told of the alerts, where somebody asks; `notifications`.
    pub notifications: Option<Value>,
    /// Another version of the rules: `against` and `againstNotifications`.
    pub against: Option<&'a ReportsJson<'a>>,
}

impl Serialize for ReportsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("start", &seconds(self.start))?;
        out.serialize_entry("end", &seconds(self.end))?;
        out.serialize_entry("rules", &Rules(self))?;
        if let Some(told) = &self.notifications {
            out.serialize_entry("notifications", told)?;
        }
        if let Some(against) = self.against {
            out.serialize_entry("against", &Rules(against))?;
            if let Some(told) = &against.notifications {
                out.serialize_entry("againstNotifications", told)?;
            }
        }
        out.end()
    }
}

struct Rules<'a>(&'a ReportsJson<'a>);

impl Serialize for Rules<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ReportsJson {
            reports, end, latest, ..
        } = *self.0;
        serializer.collect_seq(reports.iter().map(|report| OneRule { report, end, latest }))
    }
}

struct OneRule<'a> {
    report: &'a RuleReport,
    end: i64,
    latest: Option<usize>,
}

impl Serialize for OneRule<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        if let Value::Object(head) = head(self.report, self.end) {
            for (name, value) in &head {
                out.serialize_entry(name, value)?;
            }
        }
        if let Made::Alerting { lives, .. } = &self.report.made {
            out.serialize_entry("alerts", &Lives(lives, self.latest))?;
        }
        out.end()
    }
}

struct Lives<'a>(&'a [AlertLife], Option<usize>);

impl Serialize for Lives<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(lives, latest) = self;
        let Some(latest) = latest else {
            return serializer.collect_seq(lives.iter().map(OneLife));
        };
        let mut some: Vec<_> = lives
            .iter()
            .rev()
            .filter(|life| life.fired_at.is_some())
            .take(*latest)
            .collect();
        some.reverse();
        serializer.collect_seq(some.into_iter().map(OneLife))
    }
}

struct OneLife<'a>(&'a AlertLife);

impl Serialize for OneLife<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let life = self.0;
        let mut out = serializer.serialize_map(None)?;
        let labels: BTreeMap<&str, &str> = life.labels.iter().collect();
        out.serialize_entry("labels", &labels)?;
        out.serialize_entry("activeAt", &seconds(life.active_at))?;
        out.serialize_entry("value", &fmt_f64(life.value))?;
        if let Some(at) = life.fired_at {
            out.serialize_entry("firedAt", &seconds(at))?;
        }
        if let Some(at) = life.ended_at {
            out.serialize_entry("endedAt", &seconds(at))?;
        }
        out.end()
    }
}

fn seconds(ms: i64) -> Value {
    json!(ms as f64 / 1000.0)
}

// All but the alerts.
fn head(report: &RuleReport, end: i64) -> Value {
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
        }
    }
    out
}

fn firing_ms(life: &AlertLife, end: i64) -> i64 {
    life.fired_at.map_or(0, |at| life.ended_at.unwrap_or(end) - at)
}
