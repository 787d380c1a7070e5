//! How many messages an Alertmanager's routes would have made of the alerts of a backtest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use cupola_alert::{PastAlert, rehearse};
use cupola_config::matchers::MatcherMode;
use cupola_config::{AlertmanagerConfig, load_alertmanager};
use cupola_model::Labels;
use serde_json::Value;

use super::{number, rules, seconds, text};
use crate::cli::promtool::Io;

pub(super) fn load(path: &Path, io: &Io<'_>) -> Result<AlertmanagerConfig, String> {
    load_alertmanager(path, MatcherMode::Fallback, io.files).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        all.join("\n")
    })
}

/// Adds to the reports, as the API gives them, what would have been told of their alerts.
pub(super) fn add(reports: &mut Value, config: &AlertmanagerConfig) -> Result<(), String> {
    let ms = |value: &Value, name: &str| seconds(value, name).map(|seconds| (seconds * 1000.0).round() as i64);
    let lives = rules(reports).flat_map(|rule| rule.get("alerts").and_then(Value::as_array).into_iter().flatten());
    let alerts: Vec<PastAlert> = lives
        .filter_map(|life| {
            let pairs = life.get("labels").and_then(Value::as_object)?.iter();
            Some(PastAlert {
                labels: Labels::from_pairs(pairs.map(|(name, value)| (name, value.as_str().unwrap_or_default()))),
                fired_at: ms(life, "firedAt")?,
                ended_at: ms(life, "endedAt"),
            })
        })
        .collect();
    let end = ms(reports, "end").unwrap_or(i64::MAX);
    let told = told(&alerts, config, end)?;
    if let Some(object) = reports.as_object_mut() {
        object.insert("notifications".to_owned(), told);
    }
    Ok(())
}

/// What would have been told of alerts, as the API gives it.
pub(super) fn told(alerts: &[PastAlert], config: &AlertmanagerConfig, end: i64) -> Result<Value, String> {
    let rehearsed = rehearse(config, alerts, end).map_err(|error| error.to_string())?;
    Ok(rehearsed.to_json())
}

fn integrations(reports: &Value) -> impl Iterator<Item = &Value> {
    let all = reports.get("notifications").and_then(|told| told.get("integrations"));
    all.and_then(Value::as_array).into_iter().flatten()
}

fn name(integration: &Value) -> String {
    match text(integration, "integration") {
        "" => format!("{} (tells nobody)", text(integration, "receiver")),
        kind => format!("{} by {kind}", text(integration, "receiver")),
    }
}

fn messages(count: u64) -> String {
    format!("{count} {}", if count == 1 { "message" } else { "messages" })
}

/// Empty where nobody asked.
pub(super) fn describe(reports: &Value) -> String {
    let Some(told) = reports.get("notifications") else {
        return String::new();
    };
    // Writing to a string cannot fail.
    let mut out = format!(
        "\nNotifications: {} of {} {}\n",
        messages(number(told, "messages")),
        number(told, "groups"),
        if number(told, "groups") == 1 { "group" } else { "groups" },
    );
    for integration in integrations(reports) {
        let _ = write!(
            out,
            "  {}: {}",
            name(integration),
            messages(number(integration, "messages"))
        );
        let reasons = integration
            .get("reasons")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let reasons: Vec<String> = reasons.map(|(reason, count)| format!("{count} {reason}")).collect();
        if !reasons.is_empty() {
            let _ = write!(out, " ({})", reasons.join(", "));
        }
        out.push('\n');
    }
    let never = number(told, "neverTold");
    if never > 0 {
        let _ = writeln!(
            out,
            "  alerts that nobody was told of: {never}, {} of them kept quiet by inhibition or time intervals",
            number(told, "keptQuiet")
        );
    }
    let busiest = told
        .get("busiestGroups")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for (index, group) in busiest.enumerate() {
        if index == 0 {
            out.push_str("  Groups with the most:\n");
        }
        let (key, receiver) = (text(group, "groupKey"), text(group, "receiver"));
        let _ = writeln!(out, "    {} to {receiver}: {key}", messages(number(group, "messages")));
    }
    out
}

/// The messages of two versions of the rules, by integration; empty where nobody asked.
pub(super) fn side_by_side(new: &Value, old: &Value) -> String {
    if new.get("notifications").is_none() {
        return String::new();
    }
    let mut counts: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for (side, reports) in [old, new].into_iter().enumerate() {
        for integration in integrations(reports) {
            if let Some(count) = counts.entry(name(integration)).or_default().get_mut(side) {
                *count += number(integration, "messages");
            }
        }
    }
    let mut out = "\nNotifications\n".to_owned();
    for (name, [against, new]) in counts {
        let _ = writeln!(
            out,
            "  {name}\n    against: {}\n        new: {}",
            messages(against),
            messages(new)
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn reports(alerts: &[(f64, f64)]) -> Value {
        let lives: Vec<Value> = alerts
            .iter()
            .map(|(from, to)| json!({"labels": {"alertname": "A", "i": from.to_string()}, "firedAt": from, "endedAt": to}))
            .collect();
        json!({"start": 0.0, "end": 7200.0, "rules": [{"name": "A", "type": "alerting", "alerts": lives}]})
    }

    fn told(alerts: &[(f64, f64)]) -> Value {
        let yaml = "route: {receiver: r, group_by: [alertname]}\n\
                    receivers: [{name: r, webhook_configs: [{url: 'http://x/'}]}, {name: nobody}]\n";
        let config = cupola_config::parse_alertmanager(yaml, Path::new("a.yml"), MatcherMode::Fallback).unwrap();
        let mut reports = reports(alerts);
        add(&mut reports, &config).unwrap();
        reports
    }

    #[test]
    fn messages_are_told_by_receiver() {
        expect![[r#"

            Notifications: 3 messages of 1 group
              r by webhook[0]: 3 messages (1 all alerts resolved, 1 first notification, 1 new alerts added)
              nobody (tells nobody): 0 messages
              alerts that nobody was told of: 1, 0 of them kept quiet by inhibition or time intervals
              Groups with the most:
                3 messages to r: {}:{alertname="A"}
        "#]]
        .assert_eq(&describe(&told(&[(0.0, 3000.0), (600.0, 3000.0), (4000.0, 4010.0)])));
        assert_eq!(describe(&reports(&[])), "");
    }

    #[test]
    fn messages_of_two_versions_stand_side_by_side() {
        expect![[r#"

            Notifications
              nobody (tells nobody)
                against: 0 messages
                    new: 0 messages
              r by webhook[0]
                against: 2 messages
                    new: 0 messages
        "#]]
        .assert_eq(&side_by_side(&told(&[]), &told(&[(0.0, 3000.0)])));
    }
}
