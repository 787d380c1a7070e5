//! `alerts/history`: what happened to alerts, until they were sent. Ours.

use cupola_model::Matcher;
use cupola_promql::{parse_selector, render_errors};
use cupola_rules::AlertEvent;

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, success, write_list};

// Events in one answer, unless the request says otherwise, and at most.
const SOME_EVENTS: usize = 1_000;
const MOST_EVENTS: usize = 100_000;
const LINES: &str = "application/x-ndjson";

/// The latest events of alerts that a selector matches, newest first; as lines the oldest comes first, for a file.
pub(super) fn history(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let params = ask.params;
    let mut selectors: Vec<Vec<Matcher>> = Vec::new();
    for text in params.all("match[]") {
        let selector = parse_selector(text).map_err(|e| ApiError::param("match[]", render_errors(text, &e)))?;
        selectors.push(selector);
    }
    let as_lines = match params.get("format") {
        "" | "json" => false,
        "jsonl" => true,
        _ => return Err(ApiError::param("format", "must be json or jsonl")),
    };
    let (start, end) = (params.time("start", i64::MIN)?, params.time("end", i64::MAX)?);
    let limit = match params.get("limit") {
        "" if as_lines => MOST_EVENTS,
        "" => SOME_EVENTS,
        _ => match params.limit()? {
            0 => MOST_EVENTS,
            limit => limit.min(MOST_EVENTS),
        },
    };
    let matches = |selector: &Vec<Matcher>, event: &AlertEvent| {
        let mut all = selector.iter();
        all.all(|matcher| matcher.matches_labels(&event.labels))
    };
    let wanted = |event: &AlertEvent| {
        (start..=end).contains(&event.at)
            && (selectors.is_empty() || selectors.iter().any(|selector| matches(selector, event)))
    };
    let events = ask.app.rules.history().latest(limit, wanted);
    if as_lines {
        let lines = events.iter().rev().map(|event| format!("{}\n", event.to_json()));
        return Ok(Answer::of(LINES, lines.collect::<String>().into_bytes()));
    }
    let mut data = String::from("{\"events\":");
    write_list(&mut data, &events, |out, event| {
        out.push_str(&event.to_json().to_string())
    });
    data.push('}');
    Ok(success(&data))
}
