//! Alerts go on waiting where they stood before a restart (Prometheus 3.14, `Group.RestoreForState`).

use cupola_config::rules::{Rule, RuleKind};
use cupola_model::{ALERTNAME, METRIC_NAME, Matcher, is_stale_nan};
use cupola_storage::{Samples, Selection};
use tracing::{info, warn};

use crate::alerting::{ActiveAlert, AlertState};
use crate::group::{Group, ms};
use crate::manager::Context;

/// Moves `active_at` of the group's alerts to where `ALERTS_FOR_STATE` says it was before the restart.
pub(crate) fn restore(ctx: &Context, group: &mut Group, ts: i64) {
    let name = group.source.name.clone();
    for (rule, alerts) in group.alerting() {
        let RuleKind::Alerting { alert, hold, .. } = &rule.kind else {
            continue;
        };
        let hold_ms = ms(*hold);
        // A short `for` is over sooner than restoring is worth.
        if hold_ms < ctx.grace_period_ms {
            continue;
        }
        for active in alerts.active_mut() {
            match before(ctx, rule, alert, active, ts) {
                Ok(Some((seen, since))) => {
                    active.active_at = resumed(ts, seen, since, hold_ms, ctx.grace_period_ms);
                    info!(group = name, alert, labels = %active.labels, "alert state restored");
                }
                Ok(None) => {}
                Err(error) => warn!(group = name, alert, error, "cannot restore the state of an alert"),
            }
        }
    }
}

// When the alert was last seen before the restart and since when it was active then, in milliseconds.
fn before(ctx: &Context, rule: &Rule, name: &str, active: &ActiveAlert, ts: i64) -> Result<Option<(i64, i64)>, String> {
    if active.state == AlertState::Inactive {
        return Ok(None);
    }
    let mut matchers = vec![
        Matcher::equal(METRIC_NAME, "ALERTS_FOR_STATE"),
        Matcher::equal(ALERTNAME, name),
    ];
    matchers.extend(
        rule.labels
            .iter()
            .filter(|(_, v)| !v.contains("{{"))
            .map(|(n, v)| Matcher::equal(n, v)),
    );
    let selection = Selection {
        matchers: &matchers,
        mint: ts - ctx.outage_tolerance_ms,
        maxt: ts,
    };
    let mut samples = Samples::default();
    for series in ctx.queryable.select(&selection).map_err(|e| e.to_string())? {
        if series.labels.without_name() != active.labels {
            continue;
        }
        series
            .source
            .read(selection.mint, selection.maxt, &mut samples)
            .map_err(|e| e.to_string())?;
    }
    Ok(match (samples.ts.last(), samples.values.last()) {
        (Some(seen), Some(since)) if !is_stale_nan(*since) => Some((*seen, (*since * 1000.0) as i64)),
        _ => None,
    })
}

// The time that was left when the alert was last seen is still left, but at least the grace period: the outage itself
// proves nothing.
fn resumed(ts: i64, seen: i64, since: i64, hold_ms: i64, grace_ms: i64) -> i64 {
    let left = hold_ms - (seen - since);
    if left <= 0 {
        since
    } else if left < grace_ms {
        ts + grace_ms - hold_ms
    } else {
        since + (ts - seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    // Minutes: `for` 30, grace 10, seen at 100, now 120. Answers when the alert fires.
    #[track_caller]
    fn check(since: i64, fires: i64) {
        let active_at = resumed(120 * MINUTE, 100 * MINUTE, since * MINUTE, 30 * MINUTE, 10 * MINUTE);
        assert_eq!((active_at + 30 * MINUTE) / MINUTE, fires);
    }

    #[test]
    fn an_alert_goes_on_where_it_stood() {
        // 5 of 30 minutes had passed: 25 are left from now.
        check(95, 145);
        // 25 had passed: 5 are left, the grace period is longer.
        check(75, 130);
        // It had fired already: at once.
        check(60, 90);
    }
}
