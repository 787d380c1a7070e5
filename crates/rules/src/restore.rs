//! Alerts go on waiting where they stood before a restart (Prometheus 3.14, `Group.RestoreForState`), and go on firing for
//! as long as `keep_firing_for` says (ours: Prometheus forgets them).

use cupola_config::rules::{Rule, RuleKind};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use cupola_model::{ALERTNAME, Labels, METRIC_NAME, Matcher, is_stale_nan};
use cupola_storage::{Samples, Selection};
use tracing::{info, warn};

use crate::alerting::{Alerts, KEEP_FIRING_STATE, KeptTimes};
use crate::group::{self, Group, ms};
use crate::history::RuleName;
use crate::manager::Context;

/// Moves `active_at` of the group's alerts to where `ALERTS_FOR_STATE` says it was before the restart.
pub(crate) fn restore(ctx: &Arc<Context>, group: &mut Group, ts: i64) {
    let name = group.source.name.clone();
    let (interval_ms, offset_ms) = (group.interval_ms, group.offset_ms);
    for (rule, of, alerts) in group.alerting() {
        match restore_kept(ctx, (rule, of), alerts, ts, (interval_ms, offset_ms)) {
            Ok(0) => {}
            Ok(count) => info!(
                group = name,
                alert = rule.name(),
                count,
                "alerts go on firing as keep_firing_for says"
            ),
            Err(error) => warn!(
                group = name,
                alert = rule.name(),
                error,
                "cannot restore what keep_firing_for says"
            ),
        }
        let RuleKind::Alerting { alert, hold, .. } = &rule.kind else {
            continue;
        };
        let hold_ms = ms(*hold);
        // A short `for` is over sooner than restoring is worth.
        if hold_ms < ctx.grace_period_ms {
            continue;
        }
        // One look for all alerts of the rule, however many there are.
        let before = match last_of(ctx, rule, alert, "ALERTS_FOR_STATE", ts) {
            Ok(before) => before,
            Err(error) => {
                warn!(group = name, alert, error, "cannot restore the state of alerts");
                continue;
            }
        };
        for active in alerts.active_mut() {
            if let Some((seen, since)) = before.get(&active.labels) {
                let since = (*since * 1000.0) as i64;
                active.active_at = resumed(ts, *seen, since, hold_ms, ctx.grace_period_ms);
                ctx.history.restored(of, ts, &active.labels, active.active_at);
                info!(group = name, alert, labels = %active.labels, "alert state restored");
            }
        }
    }
}

// Lets alerts that fired before the restart, and that the expression does not give now, fire on; how many.
fn restore_kept(
    ctx: &Arc<Context>,
    (rule, of): (&Rule, &Arc<RuleName>),
    alerts: &mut Alerts,
    ts: i64,
    (interval_ms, offset_ms): (i64, i64),
) -> Result<usize, String> {
    let RuleKind::Alerting {
        alert,
        hold,
        keep_firing_for,
        ..
    } = &rule.kind
    else {
        return Ok(0);
    };
    let keep_ms = ms(*keep_firing_for);
    if keep_ms == 0 {
        return Ok(0);
    }
    let since = last_of(ctx, rule, alert, KEEP_FIRING_STATE, ts)?;
    let active = last_of(ctx, rule, alert, "ALERTS_FOR_STATE", ts)?;
    let mut firing = Vec::new();
    each_of(
        ctx,
        rule,
        alert,
        "ALERTS",
        Some(("alertstate", "firing")),
        ts,
        |labels, last, all| {
            // Since when the expression does not give it any more, where that was so at the last evaluation; and the two
            // evaluations before.
            let ended = since.get(&labels).filter(|(at, _)| *at == last.0);
            let ended = ended.map(|(_, since)| {
                let since = (since * 1000.0).round() as i64;
                let mut before = all.iter().rev().map(|at| *at + offset_ms).filter(|at| *at < since);
                let last = before.next().unwrap_or(since - interval_ms);
                (since, last, before.next())
            });
            firing.push((labels, last.0, ended));
        },
    )?;
    // What the expression last gave, by the evaluation that gave it: most alerts end at one moment.
    let mut given: HashMap<i64, HashMap<Labels, (Labels, f64)>> = HashMap::new();
    let mut restored = 0;
    for (labels, sample, ended) in firing {
        // Times that are still to come are of a clock that was turned back.
        let seen = ts.min(sample + offset_ms);
        if alerts.active().any(|active| active.labels == labels) {
            continue;
        }
        // Where it held to the last, it may have ended just after it was seen.
        let (since, last_given, earlier) = ended.map_or((seen, seen, None), |(since, last, earlier)| {
            (ts.min(since), last, earlier)
        });
        if ts - since >= keep_ms {
            continue;
        }
        let mut hit = None;
        // A sample that came late may hide what the last one gave.
        for at in [Some(last_given), earlier].into_iter().flatten() {
            let hits = match given.entry(at) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let hits = group::hits(ctx, (rule, of), alert, at, offset_ms)?.into_iter();
                    let hits = hits.map(|(labels, hit)| (labels, (hit.annotations, hit.value)));
                    new.insert(hits.collect())
                }
            };
            hit = hits.get(&labels).cloned();
            if hit.is_some() {
                break;
            }
        }
        // Where the expression did not give it then it is the alert of another rule of that name.
        let Some((annotations, value)) = hit else { continue };
        let active_at = active
            .get(&labels)
            .map_or(seen, |(_, at)| seen.min((*at * 1000.0) as i64));
        let times = KeptTimes {
            active_at,
            fired_at: active_at.saturating_add(ms(*hold)).min(seen),
            since,
        };
        ctx.history.restored(of, ts, &labels, active_at);
        alerts.keep_firing(labels, annotations, value, times);
        restored += 1;
    }
    Ok(restored)
}

// The last sample of each alert of the rule in the series called `metric`, by the alert's labels; see `each_of`.
fn last_of(
    ctx: &Context,
    rule: &Rule,
    alert: &str,
    metric: &str,
    ts: i64,
) -> Result<HashMap<Labels, (i64, f64)>, String> {
    let mut found = HashMap::new();
    each_of(ctx, rule, alert, metric, None, ts, |labels, last, _| {
        found.insert(labels, last);
    })?;
    Ok(found)
}

// Hands on, of each alert in the series called `metric` that may be the rule's, its labels, the last sample and the times of
// all, within the outage that is tolerated; ended series are left out.
fn each_of(
    ctx: &Context,
    rule: &Rule,
    alert: &str,
    metric: &str,
    also: Option<(&str, &str)>,
    ts: i64,
    mut take: impl FnMut(Labels, (i64, f64), &[i64]),
) -> Result<(), String> {
    let mut matchers = matchers(rule, alert, metric);
    matchers.extend(also.map(|(name, value)| Matcher::equal(name, value)));
    let selection = Selection {
        matchers: &matchers,
        mint: ts - ctx.outage_tolerance_ms,
        maxt: ts,
    };
    for series in ctx.queryable.select(&selection).map_err(|e| e.to_string())? {
        let mut samples = Samples::default();
        let read = series.source.read(selection.mint, selection.maxt, &mut samples);
        read.map_err(|e| e.to_string())?;
        if let (Some(at), Some(value)) = (samples.ts.last(), samples.values.last())
            && !is_stale_nan(*value)
        {
            let mut labels = series.labels.without_name().to_builder();
            if let Some((name, _)) = also {
                labels.remove(name);
            }
            take(labels.build(), (*at, *value), &samples.ts);
        }
    }
    Ok(())
}

fn matchers(rule: &Rule, alert: &str, metric: &str) -> Vec<Matcher> {
    let mut matchers = vec![Matcher::equal(METRIC_NAME, metric), Matcher::equal(ALERTNAME, alert)];
    let fixed = rule.labels.iter().filter(|(_, value)| !value.contains("{{"));
    matchers.extend(fixed.map(|(name, value)| Matcher::equal(name, value)));
    matchers
}

// The time that was left when the alert was last seen is still left, but at least the grace period: the outage itself
// proves nothing. Never more than all of `for` is left, as Prometheus has it where the clock was turned back meanwhile.
fn resumed(ts: i64, seen: i64, since: i64, hold_ms: i64, grace_ms: i64) -> i64 {
    let since = since.min(seen);
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
        // Noted before the clock was turned back: all of it is left.
        check(500, 150);
    }
}
