//! `rules/backtest`: what rules would have done. Ours.

use std::path::Path;

use cupola_config::parse_rules;
use cupola_config::rules::RuleOptions;
use cupola_rules::{BacktestError, BacktestOptions, GroupSource, backtest, reports_to_json};

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, ErrorKind, success};

// Of groups of a text that name none, where the server has no rules to take it from.
const INTERVAL_MS: i64 = 60_000;

/// Replays the rules of the text in `rules`, or those that are loaded, over what is stored.
pub(super) fn rules(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let (start, end) = (ask.params.needed_time("start")?, ask.params.needed_time("end")?);
    let interval_ms = ask
        .params
        .duration("interval")?
        .filter(|ms| *ms > 0)
        .unwrap_or(INTERVAL_MS);
    let names: Vec<&str> = ask.params.all("rule_name[]").collect();
    let mut groups = match ask.params.get("rules") {
        "" => ask.app.rules.sources(),
        text => parsed(ask, text)?,
    };
    if !names.is_empty() {
        for source in &mut groups {
            source.group.rules.retain(|rule| names.contains(&rule.name()));
        }
    }
    let options = BacktestOptions {
        start,
        end,
        interval_ms,
        query_offset_ms: 0,
        external_url: ask.app.external_url.trim_end_matches('/').to_owned(),
        external_labels: ask.app.config.load().external_labels.clone(),
        cancel: ask.cancel.clone(),
    };
    let reports = backtest(ask.app.storage.clone(), ask.app.engine.clone(), &groups, &options);
    let reports = reports.map_err(|error| match error {
        BacktestError::Times => ApiError::param("end", error),
        BacktestError::Stopped => ApiError {
            kind: ErrorKind::Canceled,
            message: error.to_string(),
        },
    })?;
    Ok(success(&reports_to_json(&reports, start, end).to_string()))
}

fn parsed(ask: &Ask<'_>, text: &str) -> Result<Vec<GroupSource>, ApiError> {
    let options = RuleOptions {
        promql: ask.app.engine.options().parse,
        ..RuleOptions::default()
    };
    let file = parse_rules(text, Path::new("rules"), options).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        ApiError::param("rules", all.join("\n"))
    })?;
    let groups = file.groups.into_iter();
    Ok(groups
        .map(|group| GroupSource {
            file: "rules".to_owned(),
            group,
        })
        .collect())
}
