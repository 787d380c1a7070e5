//! What an alerting rule gave, through the state machine that live alerts have.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cupola_config::rules::RuleKind;
use cupola_model::{ALERTNAME, Labels, STALE_NAN};
use cupola_storage::{SampleValue, Samples};

use super::{Given, Replay, Run};
use crate::alerting::{AlertState, Alerts, Hit};
use crate::group::{check_limit, ms};
use crate::template;

/// One alert from its first evaluation to its last. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertLife {
    /// The alert's labels.
    pub labels: Labels,
    /// The first evaluation that gave it.
    pub active_at: i64,
    /// When it began to fire; `None` where it never did.
    pub fired_at: Option<i64>,
    /// When it was resolved, or was pending no more; `None` where it still was so at the end.
    pub ended_at: Option<i64>,
    /// The expression's value when it began to fire, or else when it began.
    pub value: f64,
}

/// The alerts of a rule between two windows.
#[derive(Default)]
pub(super) struct AlertRun {
    alerts: Alerts,
    // Pending and firing ones, by their place in `lives`.
    open: HashMap<Labels, usize>,
    lives: Vec<AlertLife>,
    // Label sets of lives: one that comes again and again is held once.
    names: HashSet<Labels>,
    // What `ALERTS` the last evaluation gave.
    written: BTreeSet<Labels>,
}

impl AlertRun {
    // By their begin, and by labels where that is the same.
    pub(super) fn into_lives(mut self) -> Vec<AlertLife> {
        self.lives
            .sort_by(|a, b| (a.active_at, &a.labels).cmp(&(b.active_at, &b.labels)));
        self.lives
    }

    // Notes what the last evaluation changed.
    fn note(&mut self, ts: i64) {
        let mut ended: HashMap<Labels, usize> = std::mem::take(&mut self.open);
        for alert in self.alerts.active() {
            let known = ended.remove(&alert.labels);
            // An alert that was resolved and comes back at the next evaluation begins a new life.
            let known = known.filter(|place| {
                self.lives
                    .get(*place)
                    .is_some_and(|life| life.active_at == alert.active_at)
            });
            let place = known.unwrap_or_else(|| {
                let labels = self.names.get(&alert.labels).cloned().unwrap_or_else(|| {
                    self.names.insert(alert.labels.clone());
                    alert.labels.clone()
                });
                self.lives.push(AlertLife {
                    labels,
                    active_at: alert.active_at,
                    fired_at: None,
                    ended_at: None,
                    value: alert.value,
                });
                self.lives.len() - 1
            });
            if let Some(life) = self.lives.get_mut(place)
                && life.fired_at.is_none()
                && alert.state == AlertState::Firing
            {
                (life.fired_at, life.value) = (alert.fired_at, alert.value);
            }
            self.open.insert(alert.labels.clone(), place);
        }
        for place in ended.into_values() {
            if let Some(life) = self.lives.get_mut(place) {
                life.ended_at = Some(ts);
            }
        }
    }
}

// A label set with its values by time.
type Timeline = (Labels, BTreeMap<i64, f64>);

pub(super) fn take(run: &mut Run<'_>, first: i64, last: i64, mut given: Given, replay: &Replay<'_>) {
    let RuleKind::Alerting {
        alert,
        hold,
        keep_firing_for,
        ..
    } = &run.rule.kind
    else {
        return;
    };
    let (hold_ms, keep_ms) = (ms(*hold), ms(*keep_firing_for));
    let timelines = timelines(run, alert, &mut given, replay);
    // Where a label set comes or goes.
    let mut changes: BTreeMap<i64, Vec<(usize, bool)>> = BTreeMap::new();
    for (at, (_, values)) in timelines.iter().enumerate() {
        let mut before = None;
        for ts in values.keys() {
            if before != Some(ts - run.interval_ms) {
                changes.entry(*ts).or_default().push((at, true));
                if let Some(before) = before {
                    changes.entry(before + run.interval_ms).or_default().push((at, false));
                }
            }
            before = Some(*ts);
        }
        if let Some(before) = before {
            changes.entry(before + run.interval_ms).or_default().push((at, false));
        }
    }
    let writes = replay.overlay.needs_alerts;
    let limit = run.source.group.limit;
    let mut present: BTreeSet<usize> = BTreeSet::new();
    // The first evaluation of a window is always taken, and each that changes something.
    let mut due = Some(first);
    let mut ts = first;
    while ts <= last {
        let mut is_changed = false;
        // In between nothing happens: it is gone over in one step.
        while let Some(entry) = changes.first_entry()
            && *entry.key() <= ts
        {
            for (at, comes) in entry.remove() {
                is_changed = true;
                match comes {
                    true => drop(present.insert(at)),
                    false => drop(present.remove(&at)),
                }
            }
        }
        let is_failed = given.failed.contains(&ts);
        if is_failed {
            // As in a server: alerts stay as they are, and the next evaluation that works sees what has changed.
            due = Some(ts + run.interval_ms);
        } else if is_changed || due.is_some_and(|due| due <= ts) {
            let hits = present
                .iter()
                .filter_map(|at| timelines.get(*at))
                .map(|(labels, values)| Hit {
                    labels: labels.clone(),
                    annotations: Labels::empty(),
                    value: values.get(&ts).copied().unwrap_or(f64::NAN),
                });
            run.alerts.alerts.step(ts, hold_ms, keep_ms, hits.collect());
            if let Err(error) = check_limit(limit, run.alerts.alerts.active().count(), "alerts") {
                run.alerts.alerts.clear();
                run.failed(ts, 1, &error);
            }
            run.alerts.note(ts);
            due = run.alerts.alerts.next_due(hold_ms, keep_ms);
            if limit > 0 {
                // One that is over its limit begins anew each time.
                due = Some(ts + run.interval_ms);
            }
        }
        if writes && !is_failed {
            write(run, alert, ts, replay);
        }
        let next = [
            changes.keys().next().copied(),
            due,
            given.failed.range(ts + 1..).next().copied(),
        ];
        let next = next
            .into_iter()
            .flatten()
            .filter(|_| !writes)
            .min()
            .unwrap_or(if writes { ts } else { i64::MAX });
        // On to the evaluation at which it is due, or the one after it.
        let steps = (next.saturating_sub(ts).saturating_add(run.interval_ms - 1) / run.interval_ms).max(1);
        ts = ts.saturating_add(steps.saturating_mul(run.interval_ms));
    }
}

// The alerts that the expression's results are, each with its values; what cannot be is told as failed.
fn timelines(run: &mut Run<'_>, alert: &str, given: &mut Given, replay: &Replay<'_>) -> Vec<Timeline> {
    let mut all: BTreeMap<Labels, BTreeMap<i64, f64>> = BTreeMap::new();
    let mut twice = BTreeSet::new();
    let has_templates = run.rule.labels.values().any(|value| value.contains("{{"));
    let named = |series: &Labels, expand: &dyn Fn(&str) -> String| {
        let mut labels = series.to_builder();
        for (name, value) in &run.rule.labels {
            labels.set(name, &expand(value));
        }
        labels.set(ALERTNAME, alert);
        labels.build()
    };
    for (labels, samples) in std::mem::take(&mut given.rows) {
        let series = labels.without_name();
        if !has_templates {
            let values = all.entry(named(&series, &str::to_owned)).or_default();
            for (ts, value) in floats(&samples) {
                if values.insert(ts, value).is_some() {
                    twice.insert(ts);
                }
            }
            continue;
        }
        for (ts, value) in floats(&samples) {
            let expand = |text: &str| expand(replay, alert, text, &series, value, ts);
            if all
                .entry(named(&series, &expand))
                .or_default()
                .insert(ts, value)
                .is_some()
            {
                twice.insert(ts);
            }
        }
    }
    for ts in twice {
        if given.failed.insert(ts) {
            let error = "vector contains metrics with the same labelset after applying alert labels";
            run.failed(ts, 1, error);
        }
    }
    all.into_iter().collect()
}

fn floats(samples: &Samples) -> impl Iterator<Item = (i64, f64)> + '_ {
    samples.iter().map(|(ts, value, _)| match value {
        SampleValue::Float(value) => (ts, value),
        SampleValue::Histogram(_) => (ts, 0.0),
    })
}

fn expand(replay: &Replay<'_>, alert: &str, text: &str, series: &Labels, value: f64, ts: i64) -> String {
    if !text.contains("{{") {
        return text.to_owned();
    }
    let asker = replay.asker.clone();
    let world = template::World {
        external_url: &replay.options.external_url,
        external_labels: &replay.options.external_labels,
        query: Arc::new(move |text: &str| Ok(template::samples(asker.ask(text, ts)?))),
    };
    template::expand_in(&world, alert, text, series, value, ts)
}

// The series `ALERTS` and `ALERTS_FOR_STATE`, for rules that look at them.
fn write(run: &mut Run<'_>, alert: &str, ts: i64, replay: &Replay<'_>) {
    let at = ts - run.offset_ms;
    let mut ended = std::mem::take(&mut run.alerts.written);
    for (labels, value) in run.alerts.alerts.series(alert) {
        replay.overlay.push(&labels, at, SampleValue::Float(value));
        ended.remove(&labels);
        run.alerts.written.insert(labels);
    }
    for labels in ended {
        replay.overlay.push(&labels, at, SampleValue::Float(STALE_NAN));
    }
}
