//! `rules/backtest`: what rules would have done. Ours.

use std::path::Path;

use cupola_alert::{PastAlert, Rehearsed, rehearse};
use cupola_config::matchers::MatcherMode;
use cupola_config::rules::RuleOptions;
use cupola_config::{parse_alertmanager, parse_rules};
use cupola_rules::{BacktestError, BacktestOptions, GroupSource, Made, ReportsJson, RuleReport, backtest};

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, ErrorKind, success};
use crate::api::params::parse_bool;

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
    let told = notifications(ask, &reports, end)?;
    let data = ReportsJson {
        reports: &reports,
        start,
        end,
        latest: None,
        notifications: told.map(|rehearsed| rehearsed.to_json()),
        against: None,
    };
    let data = serde_json::to_string(&data).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(success(&data))
}

// What the alerts would have become by an alertmanager.yml, or by our own Alertmanager's; `None` where nobody asks.
fn notifications(ask: &Ask<'_>, reports: &[RuleReport], end: i64) -> Result<Option<Rehearsed>, ApiError> {
    let text = ask.params.get("alertmanager_config");
    let wants_own = match ask.params.get("notifications") {
        "" => false,
        text => parse_bool(text).map_err(|e| ApiError::param("notifications", e))?,
    };
    if text.is_empty() && !wants_own {
        return Ok(None);
    }
    let external = &ask.app.config.load().external_labels;
    let lives = reports.iter().flat_map(|report| match &report.made {
        Made::Alerting { lives, .. } => lives.as_slice(),
        Made::Recording { .. } => &[],
    });
    let alerts: Vec<PastAlert> = lives
        .filter_map(|life| {
            let mut labels = life.labels.to_builder();
            for (name, value) in external {
                if labels.get(name).is_empty() {
                    labels.set(name, value);
                }
            }
            Some(PastAlert {
                labels: labels.build(),
                fired_at: life.fired_at?,
                ended_at: life.ended_at,
            })
        })
        .collect();
    let rehearsed = if text.is_empty() {
        let Some(own) = &ask.app.alertmanager else {
            let reason = "there is no Alertmanager in this process; send one's configuration as alertmanager_config";
            return Err(ApiError::param("notifications", reason));
        };
        own.rehearse(&alerts, end)
    } else {
        let config = parse_alertmanager(text, Path::new("alertmanager_config"), MatcherMode::Fallback);
        let config = config.map_err(|errors| {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            ApiError::param("alertmanager_config", all.join("\n"))
        })?;
        rehearse(&config, &alerts, end)
    };
    rehearsed
        .map(Some)
        .map_err(|error| ApiError::internal(error.to_string()))
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
