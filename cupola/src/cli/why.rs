//! What happened to alerts, told in sentences: by a server's rules (`/api/v1/alerts/history`), and by an Alertmanager
//! (`/api/v2/history`). Where one process has both, an alert's life is one list.

use std::collections::HashMap;

use cupola_model::{Matcher, go_quote};
use serde_json::Value;

/// Writes a moment, milliseconds since the epoch, for people.
pub(crate) type Date<'a> = &'a dyn Fn(i64) -> String;

/// One alert and what happened to it.
pub(crate) struct Life<'a> {
    /// Its labels as JSON: those of its rule, where that is known.
    pub labels: &'a Value,
    /// When and what, in order. Times are milliseconds since the epoch.
    pub events: Vec<(i64, String)>,
}

/// Joins what happened, each list as the API answers it, newest first. The lives are in the order in which they began.
pub(crate) fn lives<'a>(by_rules: &'a [Value], by_alertmanager: &'a [Value], date: Date<'_>) -> Vec<Life<'a>> {
    // How the rules call what an Alertmanager knows by other labels.
    let known_as: HashMap<&str, &str> = by_rules
        .iter()
        .filter_map(|event| Some((event.get("sentAs")?.as_str()?, event.get("fingerprint")?.as_str()?)))
        .collect();
    let is_joined = !by_rules.is_empty();
    let rules = by_rules.iter().rev().map(|event| {
        let at = seconds(event, "at").unwrap_or(0);
        (at, text(event, "fingerprint"), event, by_rule(event, date))
    });
    let alertmanagers = by_alertmanager.iter().rev().map(|event| {
        let at = moment(text(event, "at")).unwrap_or(0);
        let id = text(event, "fingerprint");
        let told = happened(event, date);
        let told = if is_joined {
            format!("Alertmanager: {told}")
        } else {
            told
        };
        (at, known_as.get(id).copied().unwrap_or(id), event, told)
    });
    let mut all: Vec<_> = rules.chain(alertmanagers).collect();
    // Rules come first where both did something at the same moment: so it was.
    all.sort_by_key(|(at, ..)| *at);
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut lives: Vec<Life<'a>> = Vec::new();
    for (at, id, event, told) in all {
        let place = *places.entry(id).or_insert_with(|| {
            lives.push(Life {
                labels: &event["labels"],
                events: Vec::new(),
            });
            lives.len() - 1
        });
        if let Some(life) = lives.get_mut(place) {
            life.events.push((at, told));
        }
    }
    lives
}

/// A selector that these matchers make together.
pub(crate) fn selector(matchers: &[Matcher]) -> String {
    let all: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    format!("{{{}}}", all.join(","))
}

/// Labels as `name="value"`, the alert's name first.
pub(crate) fn pairs(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let mut pairs: Vec<(&str, &str)> = pairs
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort_by_key(|(name, _)| (*name != "alertname", *name));
    let shown: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", go_quote(value)))
        .collect();
    shown.join(" ")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn seconds(value: &Value, name: &str) -> Option<i64> {
    Some((value.get(name)?.as_f64()? * 1000.0).round() as i64)
}

fn moment(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond())
}

// What a rule did, as a sentence.
fn by_rule(event: &Value, date: Date<'_>) -> String {
    let of = |name| text(event, name);
    let since = || seconds(event, "since").map_or_else(String::new, date);
    match of("event") {
        "pending" => {
            let rule = event.get("rule").unwrap_or(&Value::Null);
            let (file, group, query) = (text(rule, "file"), text(rule, "group"), text(rule, "query"));
            format!("pending: {query} gives {} (group {group} in {file})", of("value"))
        }
        "firing" => format!("fires with value {}, pending since {}", of("value"), since()),
        "kept" => "its expression does not give it any more; it fires on for keep_firing_for".to_owned(),
        "given" => format!("its expression gives it again, with {}", of("value")),
        "resolved" => "resolved: its expression does not give it any more".to_owned(),
        "ended" => "ended before it fired".to_owned(),
        "restored" => format!("goes on after a restart, pending since {}", since()),
        "forgotten" => format!("forgotten with all alerts of its rule: {}", of("error")),
        "nobody" => "not sent: there is no Alertmanager".to_owned(),
        "dropped" => format!("not sent to {}: alert_relabel_configs drops it", of("alertmanager")),
        outcome @ ("sent" | "sendFailed" | "lost") => {
            let is_resolved = event.get("resolved").and_then(Value::as_bool) == Some(true);
            let what = if is_resolved { " as resolved" } else { "" };
            match outcome {
                "sent" => format!("sent to {}{what}", of("alertmanager")),
                "lost" => format!("lost on its way to {}{what}: {}", of("alertmanager"), of("error")),
                _ => format!("not taken by {}{what}: {}", of("alertmanager"), of("error")),
            }
        }
        other => other.to_owned(),
    }
}

// What an Alertmanager did, as a sentence.
fn happened(event: &Value, date: Date<'_>) -> String {
    let list = |name: &str| -> Option<String> {
        let all = event[name].as_array()?;
        Some(all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
    };
    let of = |name: &str| text(event, name);
    let flush = || moment(of("flushAt")).map_or_else(|| of("flushAt").to_owned(), date);
    let whom = || format!("{} by {}", of("receiver"), of("integration"));
    match of("event") {
        "fired" => "fired".to_owned(),
        "refused" => "refused, for there are too many alerts of its name".to_owned(),
        "resolved" => "resolved".to_owned(),
        "timedOut" => "resolved, because nobody has sent it again".to_owned(),
        "grouped" => format!(
            "grouped for {} in {}; next flush {}",
            of("receiver"),
            of("groupKey"),
            flush()
        ),
        "suppressed" => {
            let by = if let Some(ids) = list("silencedBy") {
                format!("by silence {ids}")
            } else if let Some(ids) = list("inhibitedBy") {
                match of("inhibitRule") {
                    "" => format!("by inhibition; the source alert is {ids}"),
                    rule => format!("by inhibition rule {rule}; the source alert is {ids}"),
                }
            } else if let Some(names) = list("mutedBy") {
                format!("by mute time interval {names}")
            } else {
                format!(
                    "outside of active time interval {}",
                    list("outsideOf").unwrap_or_default()
                )
            };
            format!("kept quiet in {} {by}", of("groupKey"))
        }
        "released" => format!("no longer kept quiet in {}", of("groupKey")),
        outcome @ ("sent" | "retrying" | "failed") => {
            let told = match outcome {
                "sent" => format!("sent to {}", whom()),
                "retrying" => format!("not yet sent to {}, will be tried again", whom()),
                _ => format!("not sent to {}, given up", whom()),
            };
            let attempts = match event["attempts"].as_u64() {
                None | Some(1) => String::new(),
                Some(attempts) => format!(", {attempts} attempts"),
            };
            let error = match of("error") {
                "" => String::new(),
                error => format!(": {error}"),
            };
            let answer = match of("answer") {
                "" => String::new(),
                answer => format!("; {answer}"),
            };
            format!("{told} ({}{attempts}{answer}){error}", of("reason"))
        }
        "acknowledged" => {
            let note = match of("note") {
                "" => String::new(),
                note => format!(": {note}"),
            };
            let until = match moment(of("endsAt")) {
                None => String::new(),
                Some(end) => format!(" until {}", date(end)),
            };
            format!("acknowledged by {}{until}{note}", of("by"))
        }
        "unacknowledged" => match of("by") {
            "" => "no longer acknowledged, as its time is up".to_owned(),
            by => format!("acknowledgement taken back by {by}"),
        },
        "held" => format!("not repeated in {}, as {} looks after it", of("groupKey"), of("by")),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn date(ms: i64) -> String {
        let time = jiff::Timestamp::from_millisecond(ms).unwrap();
        time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
    }

    #[test]
    fn every_event_is_a_sentence() {
        for (event, expected) in [
            (r#"{"event": "fired"}"#, "fired"),
            (r#"{"event": "timedOut"}"#, "resolved, because nobody has sent it again"),
            (
                r#"{"event": "grouped", "receiver": "r", "groupKey": "{}:{}", "flushAt": "2026-01-02T03:04:05.678Z"}"#,
                "grouped for r in {}:{}; next flush 2026-01-02 03:04:05 UTC",
            ),
            (
                r#"{"event": "suppressed", "groupKey": "{}:{}", "silencedBy": ["a", "b"]}"#,
                "kept quiet in {}:{} by silence a, b",
            ),
            (
                r#"{"event": "suppressed", "groupKey": "{}:{}", "inhibitedBy": ["0a"], "inhibitRule": ""}"#,
                "kept quiet in {}:{} by inhibition; the source alert is 0a",
            ),
            (
                r#"{"event": "suppressed", "groupKey": "{}:{}", "outsideOf": ["office hours"]}"#,
                "kept quiet in {}:{} outside of active time interval office hours",
            ),
            (
                r#"{"event": "sent", "receiver": "r", "integration": "webhook[0]", "reason": "firing", "attempts": 1}"#,
                "sent to r by webhook[0] (firing)",
            ),
            (
                r#"{"event": "failed", "receiver": "r", "integration": "email[1]", "reason": "firing", "attempts": 3,
                    "error": "refused"}"#,
                "not sent to r by email[1], given up (firing, 3 attempts): refused",
            ),
            (
                r#"{"event": "sent", "receiver": "r", "integration": "webhook[0]", "reason": "firing", "answer": "POST x: 200"}"#,
                "sent to r by webhook[0] (firing; POST x: 200)",
            ),
            (
                r#"{"event": "acknowledged", "by": "ada", "note": "on it", "endsAt": "2026-01-02T03:04:05.678Z"}"#,
                "acknowledged by ada until 2026-01-02 03:04:05 UTC: on it",
            ),
            (
                r#"{"event": "unacknowledged", "by": "bob"}"#,
                "acknowledgement taken back by bob",
            ),
            (
                r#"{"event": "unacknowledged", "by": ""}"#,
                "no longer acknowledged, as its time is up",
            ),
            (
                r#"{"event": "held", "groupKey": "{}:{}", "by": "ada"}"#,
                "not repeated in {}:{}, as ada looks after it",
            ),
            (r#"{"event": "of tomorrow"}"#, "of tomorrow"),
        ] {
            let event: Value = serde_json::from_str(event).unwrap();
            assert_eq!(happened(&event, &date), expected);
        }
    }

    #[test]
    fn one_life_is_one_list_from_the_rule_to_the_message() {
        let rule = json!({"file": "r.yml", "group": "g", "name": "A", "query": "load > 10"});
        let labels = json!({"alertname": "A", "host": "a"});
        let by = |at: f64, event: &str, more: Value| {
            let mut out = json!({"at": at, "fingerprint": "01", "labels": labels, "event": event});
            out.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            out
        };
        let mut rules = vec![
            by(1.0, "pending", json!({"rule": rule, "value": "20"})),
            by(61.0, "firing", json!({"value": "21", "since": 1.0})),
            by(
                61.5,
                "sent",
                json!({"alertmanager": "B", "resolved": false, "sentAs": "02"}),
            ),
            by(
                62.0,
                "sendFailed",
                json!({"alertmanager": "C", "resolved": true, "sentAs": "02", "error": "refused"}),
            ),
        ];
        rules.reverse();
        let sent_labels = json!({"alertname": "A", "host": "a", "region": "north"});
        let theirs = [
            json!({"at": "1970-01-01T00:01:01.500Z", "fingerprint": "02", "labels": sent_labels, "event": "fired"}),
            json!({"at": "1970-01-01T00:00:00Z", "fingerprint": "03", "labels": {"alertname": "B"}, "event": "fired"}),
        ];
        let told: Vec<(String, Vec<String>)> = lives(&rules, &theirs, &date)
            .into_iter()
            .map(|life| {
                (
                    pairs(life.labels),
                    life.events.into_iter().map(|(_, told)| told).collect(),
                )
            })
            .collect();
        let expected = [
            (r#"alertname="B""#, vec!["Alertmanager: fired"]),
            (
                r#"alertname="A" host="a""#,
                vec![
                    "pending: load > 10 gives 20 (group g in r.yml)",
                    "fires with value 21, pending since 1970-01-01 00:00:01 UTC",
                    "sent to B",
                    "Alertmanager: fired",
                    "not taken by C as resolved: refused",
                ],
            ),
        ];
        assert_eq!(told.len(), 2);
        for ((labels, told), (expected_labels, expected)) in told.iter().zip(expected) {
            assert_eq!(
                (labels.as_str(), told),
                (expected_labels, &expected.iter().map(ToString::to_string).collect())
            );
        }
    }

    #[test]
    fn matchers_make_a_selector() {
        let matchers = [Matcher::equal("alertname", "A"), Matcher::equal("host", "a\"b")];
        assert_eq!(selector(&matchers), r#"{alertname="A",host="a\"b"}"#);
    }
}
