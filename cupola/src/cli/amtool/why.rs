//! `amtool why`, which is ours: what happened to alerts, and why somebody was told or was not.

use clap::Args;
use cupola_config::matchers::parse_matchers;
use serde_json::Value;

use super::{Env, Failure, Output, alerts, text};

#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// At most so many of the latest events.
    #[arg(long, default_value_t = 1000, value_name = "NUMBER")]
    limit: usize,
    /// Which alerts: `{a="b",c=~"d"}`, or matchers as `alert query` takes them.
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
}

pub(super) fn run(args: &WhyArgs, env: &mut Env<'_>) -> Result<(), Failure> {
    let matchers = match args.matchers.as_slice() {
        [one] if one.trim_start().starts_with('{') => {
            parse_matchers(one, env.mode)
                .map_err(|error| error.to_string())?
                .matchers
        }
        several => env.matchers(several)?,
    };
    let mut asked = vec![("limit", args.limit.to_string())];
    asked.extend(matchers.iter().map(|matcher| ("filter", matcher.to_string())));
    let body = env
        .client
        .get("/history", &asked)
        .map_err(|error| match error.contains("404") {
            true => format!("{error}\nThis Alertmanager keeps no history; Cupola's does."),
            false => error,
        })?;
    if env.output == Output::Json {
        writeln!(env.out, "{}", body.trim_end())?;
        return Ok(());
    }
    let answer: Value = serde_json::from_str(&body).map_err(|error| format!("the history is no JSON: {error}"))?;
    // The newest comes first; a life is read from its beginning.
    let events: Vec<&Value> = answer.as_array().into_iter().flatten().rev().collect();
    if events.is_empty() {
        writeln!(
            env.out,
            "Nothing is known of such an alert: none has arrived, or it is longer ago than the history goes."
        )?;
        return Ok(());
    }
    let mut seen: Vec<&str> = Vec::new();
    for event in &events {
        let fingerprint = event["fingerprint"].as_str().unwrap_or_default();
        if seen.contains(&fingerprint) {
            continue;
        }
        if !seen.is_empty() {
            writeln!(env.out)?;
        }
        seen.push(fingerprint);
        writeln!(env.out, "{}", alerts::pairs(&event["labels"]))?;
        for event in events.iter().filter(|e| e["fingerprint"] == event["fingerprint"]) {
            let at = env.date(&text(&event["at"]));
            let happened = happened(event, env);
            writeln!(env.out, "  {at}  {happened}")?;
        }
    }
    Ok(())
}

// One event as a sentence.
fn happened(event: &Value, env: &Env<'_>) -> String {
    let list = |name: &str| -> Option<String> {
        let all = event[name].as_array()?;
        Some(all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
    };
    let of = |name: &str| text(&event[name]);
    let whom = || format!("{} by {}", of("receiver"), of("integration"));
    match event["event"].as_str().unwrap_or_default() {
        "fired" => "fired".to_owned(),
        "refused" => "refused, for there are too many alerts of its name".to_owned(),
        "resolved" => "resolved".to_owned(),
        "timedOut" => "resolved, because nobody has sent it again".to_owned(),
        "grouped" => format!(
            "grouped for {} in {}; next flush {}",
            of("receiver"),
            of("groupKey"),
            env.date(&of("flushAt"))
        ),
        "suppressed" => {
            let by = if let Some(ids) = list("silencedBy") {
                format!("by silence {ids}")
            } else if let Some(ids) = list("inhibitedBy") {
                match of("inhibitRule").as_str() {
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
            let error = match of("error").as_str() {
                "" => String::new(),
                error => format!(": {error}"),
            };
            let answer = match of("answer").as_str() {
                "" => String::new(),
                answer => format!("; {answer}"),
            };
            format!("{told} ({}{attempts}{answer}){error}", of("reason"))
        }
        "acknowledged" => {
            let note = match of("note").as_str() {
                "" => String::new(),
                note => format!(": {note}"),
            };
            let until = match event["endsAt"].as_str() {
                None => String::new(),
                Some(end) => format!(" until {}", env.date(end)),
            };
            format!("acknowledged by {}{until}{note}", of("by"))
        }
        "unacknowledged" => match of("by").as_str() {
            "" => "no longer acknowledged, as its time is up".to_owned(),
            by => format!("acknowledgement taken back by {by}"),
        },
        "held" => format!("not repeated in {}, as {} looks after it", of("groupKey"), of("by")),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_a_sentence() {
        let (mut input, mut out, mut err) = (std::io::empty(), Vec::new(), Vec::new());
        let env = Env::for_test(&mut input, &mut out, &mut err);
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
            assert_eq!(happened(&event, &env), expected);
        }
    }
}
