//! One group: its rules, evaluated one after another at one timestamp.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use cupola_config::rules::{Rule, RuleGroup, RuleKind};
use cupola_histogram::NativeHistogram;
use cupola_model::{ALERTNAME, Labels, METRIC_NAME, STALE_NAN, SeriesRef};
use cupola_storage::{Appender, SampleValue};
use foldhash::fast::RandomState;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::alerting::{ActiveAlert, Alerts, Hit};
use crate::history::RuleName;
use crate::manager::Context;
use crate::template;

/// Label sets are hashed for each series of each evaluation.
type LabelMap<V> = HashMap<Labels, V, RandomState>;

/// Whether the last evaluation of a rule worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuleHealth {
    /// Not evaluated yet.
    #[default]
    Unknown,
    /// It worked.
    Ok,
    /// It failed.
    Err,
}

impl RuleHealth {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Err => "err",
        }
    }
}

/// One rule at one moment.
#[derive(Debug, Clone)]
pub struct RuleStatus {
    /// The name of the series or the alert.
    pub name: String,
    /// The expression as Prometheus would print it.
    pub query: String,
    /// The rule's own labels.
    pub labels: BTreeMap<String, String>,
    /// Whether the last evaluation worked.
    pub health: RuleHealth,
    /// Why not.
    pub last_error: Option<String>,
    /// Seconds the last evaluation took.
    pub evaluation_seconds: f64,
    /// When it began, milliseconds of the wall clock.
    pub last_evaluation: Option<i64>,
    /// What the rule makes.
    pub detail: RuleDetail,
}

/// What a rule makes.
#[derive(Debug, Clone)]
pub enum RuleDetail {
    /// A series.
    Recording,
    /// Alerts.
    Alerting {
        /// Milliseconds the expression must hold.
        hold_ms: i64,
        /// Milliseconds an alert fires on after it held no more.
        keep_firing_ms: i64,
        /// Templates of the annotations.
        annotations: BTreeMap<String, String>,
        /// Pending and firing alerts, firing and oldest first.
        alerts: Vec<ActiveAlert>,
    },
}

/// One group at one moment.
#[derive(Debug, Clone)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// The file it is from.
    pub file: String,
    /// Milliseconds between evaluations.
    pub interval_ms: i64,
    /// How many series or alerts one rule may give; 0 for no limit.
    pub limit: u64,
    /// Its rules, in the file's order.
    pub rules: Vec<RuleStatus>,
    /// Seconds the last evaluation took.
    pub evaluation_seconds: f64,
    /// When it began, milliseconds of the wall clock.
    pub last_evaluation: Option<i64>,
}

/// What a group knows between two evaluations.
pub(crate) struct Group {
    pub file: String,
    pub source: RuleGroup,
    pub interval_ms: i64,
    pub offset_ms: i64,
    rules: Vec<RuleState>,
    // Series of rules that are gone since the last evaluation: they end with the next one, unless another rule goes on with
    // them.
    left: LabelMap<Written>,
    // As the history names them.
    names: Vec<Arc<RuleName>>,
    last_seconds: f64,
    // When it began, by the wall clock.
    last_evaluation: Option<i64>,
    // The slot it was for.
    last_ts: Option<i64>,
    /// Evaluations still to be done before the state from before a restart is looked for; `None` once that is over.
    pub restore_in: Option<u32>,
    /// Once it is cancelled, an evaluation goes on with no further rule.
    pub stop: CancellationToken,
}

#[derive(Default)]
struct RuleState {
    alerts: Alerts,
    // What the last evaluation wrote; what is missing next time ends with a staleness marker.
    written: LabelMap<Written>,
    health: RuleHealth,
    error: Option<String>,
    seconds: f64,
    at: Option<i64>,
}

// One series that an evaluation wrote.
#[derive(Clone, Copy)]
struct Written {
    series: SeriesRef,
    // Whether the evaluation that goes on just now wrote it, too.
    is_new: bool,
}

impl Group {
    pub(crate) fn new(file: &str, source: RuleGroup, interval_ms: i64, offset_ms: i64) -> Self {
        let rules = source.rules.iter().map(|_| RuleState::default()).collect();
        let name = |rule: &Rule| RuleName {
            file: file.to_owned(),
            group: source.name.clone(),
            name: rule.name().to_owned(),
            query: rule.expr.to_string(),
        };
        Self {
            names: source.rules.iter().map(|rule| Arc::new(name(rule))).collect(),
            file: file.to_owned(),
            source,
            interval_ms,
            offset_ms,
            rules,
            left: LabelMap::default(),
            last_seconds: 0.0,
            last_evaluation: None,
            last_ts: None,
            restore_in: None,
            stop: CancellationToken::new(),
        }
    }

    /// How metrics call the group.
    pub(crate) fn key(&self) -> String {
        key(&self.file, &self.source.name)
    }

    /// Takes over the state of the rules that `old` has, too: same name and labels, in order.
    pub(crate) fn adopt(&mut self, old: &mut Group) {
        self.restore_in = old.restore_in;
        (self.last_seconds, self.last_evaluation, self.last_ts) = (old.last_seconds, old.last_evaluation, old.last_ts);
        let mut free: BTreeMap<_, VecDeque<RuleState>> = BTreeMap::new();
        for (rule, state) in old.source.rules.iter().zip(std::mem::take(&mut old.rules)) {
            free.entry(identity(rule)).or_default().push_back(state);
        }
        for (rule, state) in self.source.rules.iter().zip(&mut self.rules) {
            if let Some(same) = free.get_mut(&identity(rule)).and_then(VecDeque::pop_front) {
                *state = same;
            }
        }
        self.left = std::mem::take(&mut old.left);
        self.left
            .extend(free.into_values().flatten().flat_map(|state| state.written));
    }

    /// Evaluates all rules at `ts`. Returns the number of samples written.
    pub(crate) fn evaluate(&mut self, ctx: &Arc<Context>, ts: i64) -> usize {
        let started = Instant::now();
        self.last_evaluation = Some(ctx.clock.now_ms());
        self.follow_the_clock(ts);
        let key = self.key();
        let restored = self.restore_in.is_none();
        let mut samples = 0;
        for ((rule, state), name) in self.source.rules.iter().zip(&mut self.rules).zip(&self.names) {
            if self.stop.is_cancelled() {
                // Whoever goes on with the group, or the end of the server, waits no longer than for one rule, as upstream.
                return samples;
            }
            let (begun, at) = (Instant::now(), ctx.clock.now_ms());
            ctx.metrics.evaluations.with(&[&key]).inc();
            let result = match &rule.kind {
                RuleKind::Recording { record } => {
                    record_rule(ctx, (rule, name), record, self.source.limit, ts - self.offset_ms)
                }
                RuleKind::Alerting { .. } => alert_rule(
                    ctx,
                    (rule, name),
                    state,
                    self.source.limit,
                    ts,
                    self.offset_ms,
                    self.interval_ms,
                )
                .map(|series| {
                    let floats = series.into_iter();
                    floats
                        .map(|(labels, value)| (labels, SampleValue::Float(value)))
                        .collect()
                }),
            };
            let result = result.and_then(|mut series| {
                // Until the old state is read, nothing may be written over it.
                if !restored && is_alert(rule) {
                    series.clear();
                }
                let count = series.len();
                write(ctx, state, series, ts - self.offset_ms).map(|refused| (count, refused))
            });
            state.seconds = begun.elapsed().as_secs_f64();
            state.at = Some(at);
            ctx.metrics.rule_seconds.observe(state.seconds);
            // Samples that are refused are no failure of the rule, as upstream: two groups that write the same series do so.
            let (error, has_failed) = match result {
                Ok((count, refused)) => {
                    samples += count;
                    (refused, false)
                }
                Err(error) => (Some(error), true),
            };
            if has_failed {
                ctx.metrics.failures.with(&[&key]).inc();
            }
            // Once per change, not once per evaluation.
            if let Some(error) = &error
                && state.error.as_ref() != Some(error)
            {
                warn!(
                    file = self.file,
                    group = self.source.name,
                    rule = rule.name(),
                    error,
                    "rule failed"
                );
            }
            state.health = if error.is_none() {
                RuleHealth::Ok
            } else {
                RuleHealth::Err
            };
            state.error = error;
        }
        self.end_left(ctx, ts);
        self.last_seconds = started.elapsed().as_secs_f64();
        samples
    }

    // Where the clock was turned back since the last evaluation, the times of the alerts are turned back with it.
    fn follow_the_clock(&mut self, ts: i64) {
        if let Some(last) = self.last_ts.replace(ts)
            && ts <= last
        {
            let by_ms = last - ts + self.interval_ms;
            info!(
                file = self.file,
                group = self.source.name,
                seconds = by_ms / 1000,
                "the clock was turned back, and the times of alerts with it"
            );
            for state in &mut self.rules {
                state.alerts.turn_back(by_ms);
            }
        }
    }

    /// When the last evaluation began, by the wall clock.
    pub(crate) fn last_evaluation(&self) -> Option<i64> {
        self.last_evaluation
    }

    /// Seconds that all rules took in the last evaluation.
    pub(crate) fn rules_seconds(&self) -> f64 {
        self.rules.iter().map(|state| state.seconds).sum()
    }

    /// Seconds the last evaluation took.
    pub(crate) fn last_seconds(&self) -> f64 {
        self.last_seconds
    }

    /// Every alerting rule with its name and its alerts, for restoring.
    pub(crate) fn alerting(&mut self) -> impl Iterator<Item = (&Rule, &Arc<RuleName>, &mut Alerts)> {
        let rules = self.source.rules.iter().zip(&self.names).zip(&mut self.rules);
        rules
            .filter(|((rule, _), _)| is_alert(rule))
            .map(|((rule, name), state)| (rule, name, &mut state.alerts))
    }

    /// Ends all series the group has written, as an evaluation at `ts` would that gives nothing.
    pub(crate) fn end(&mut self, ctx: &Arc<Context>, ts: i64) {
        let all = self.rules.iter_mut().flat_map(|state| state.written.drain());
        self.left.extend(all);
        self.end_left(ctx, ts);
    }

    // After the rules, so that what one of them goes on with does not end.
    fn end_left(&mut self, ctx: &Arc<Context>, ts: i64) {
        if self.left.is_empty() {
            return;
        }
        let mut appender = ctx.storage.appender();
        for (labels, written) in &self.left {
            append_end(&mut *appender, labels, *written, ts - self.offset_ms);
        }
        match appender.commit() {
            Ok(()) => self.left.clear(),
            Err(error) => warn!(
                file = self.file,
                group = self.source.name,
                %error,
                "cannot end the series of removed rules"
            ),
        }
    }

    pub(crate) fn status(&self) -> GroupStatus {
        let rules = self
            .source
            .rules
            .iter()
            .zip(&self.rules)
            .map(|(rule, state)| RuleStatus {
                name: rule.name().to_owned(),
                query: rule.expr.to_string(),
                labels: rule.labels.clone(),
                health: state.health,
                last_error: state.error.clone(),
                evaluation_seconds: state.seconds,
                last_evaluation: state.at,
                detail: match &rule.kind {
                    RuleKind::Recording { .. } => RuleDetail::Recording,
                    RuleKind::Alerting {
                        hold,
                        keep_firing_for,
                        annotations,
                        ..
                    } => {
                        let mut alerts: Vec<ActiveAlert> = state.alerts.active().cloned().collect();
                        alerts.sort_by(|a, b| {
                            b.state
                                .cmp(&a.state)
                                .then(a.active_at.cmp(&b.active_at))
                                .then_with(|| a.labels.cmp(&b.labels))
                        });
                        RuleDetail::Alerting {
                            hold_ms: ms(*hold),
                            keep_firing_ms: ms(*keep_firing_for),
                            annotations: annotations.clone(),
                            alerts,
                        }
                    }
                },
            });
        GroupStatus {
            name: self.source.name.clone(),
            file: self.file.clone(),
            interval_ms: self.interval_ms,
            limit: self.source.limit,
            rules: rules.collect(),
            evaluation_seconds: self.last_seconds,
            last_evaluation: self.last_evaluation,
        }
    }
}

/// How metrics call a group, as upstream.
pub(crate) fn key(file: &str, name: &str) -> String {
    format!("{file};{name}")
}

// By what a rule is known after a reload.
fn identity(rule: &Rule) -> (bool, &str, &BTreeMap<String, String>) {
    (is_alert(rule), rule.name(), &rule.labels)
}

fn is_alert(rule: &Rule) -> bool {
    matches!(rule.kind, RuleKind::Alerting { .. })
}

pub(crate) fn ms(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn record_rule(
    ctx: &Arc<Context>,
    (rule, of): (&Rule, &Arc<RuleName>),
    record: &str,
    limit: u64,
    ts: i64,
) -> Result<Vec<(Labels, SampleValue)>, String> {
    let given = ctx.query(of, &rule.expr_text, &rule.expr, ts)?;
    let mut own: BTreeMap<&str, &str> = rule.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    own.insert(METRIC_NAME, record);
    let own: Vec<(&str, &str)> = own.into_iter().collect();
    let mut out: LabelMap<SampleValue> = HashMap::with_capacity_and_hasher(given.len(), RandomState::default());
    for (labels, value) in given {
        if out.insert(labels.overlaid(|_| true, &own), value).is_some() {
            return Err("vector contains metrics with the same labelset after applying rule labels".to_owned());
        }
    }
    check_limit(limit, out.len(), "series")?;
    Ok(out.into_iter().collect())
}

fn alert_rule(
    ctx: &Arc<Context>,
    (rule, of): (&Rule, &Arc<RuleName>),
    state: &mut RuleState,
    limit: u64,
    ts: i64,
    offset_ms: i64,
    interval_ms: i64,
) -> Result<Vec<(Labels, f64)>, String> {
    let RuleKind::Alerting {
        alert,
        hold,
        keep_firing_for,
        ..
    } = &rule.kind
    else {
        return Ok(Vec::new());
    };
    let hits = hits(ctx, (rule, of), alert, ts, offset_ms)?;
    let changes = state
        .alerts
        .step(ts, ms(*hold), ms(*keep_firing_for), hits.into_values().collect());
    ctx.history.changed(of, ts, changes);
    let active = state.alerts.active().count();
    if let Err(error) = check_limit(limit, active, "alerts") {
        ctx.history.forgotten(of, ts, state.alerts.active(), &error);
        state.alerts.clear();
        return Err(error);
    }
    let valid_ms = 4 * interval_ms.max(ctx.resend_delay_ms);
    let due = state.alerts.take_due(ts, ctx.resend_delay_ms, valid_ms, || {
        ctx.generator_url(&rule.expr.to_string())
    });
    if !due.is_empty() {
        ctx.alerts.post(&due);
    }
    Ok(state.alerts.series(alert))
}

/// What the expression of an alerting rule gives at `ts`, by the labels of the alerts.
pub(crate) fn hits(
    ctx: &Arc<Context>,
    (rule, of): (&Rule, &Arc<RuleName>),
    alert: &str,
    ts: i64,
    offset_ms: i64,
) -> Result<HashMap<Labels, Hit>, String> {
    let RuleKind::Alerting { annotations, .. } = &rule.kind else {
        return Ok(HashMap::new());
    };
    let mut hits = HashMap::new();
    // Templates ask for what is there at the evaluation, whatever `query_offset` says, as upstream.
    let expander = template::Expander::new(ctx, of, alert, ts);
    for (labels, value) in ctx.query_floats(of, &rule.expr_text, &rule.expr, ts - offset_ms)? {
        let series = labels.without_name();
        let expand = |text: &str| expander.expand(text, &series, value);
        let mut own: BTreeMap<&str, String> = BTreeMap::new();
        own.extend(rule.labels.iter().map(|(name, value)| (name.as_str(), expand(value))));
        own.insert(ALERTNAME, alert.to_owned());
        let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let labels = series.overlaid(|_| true, &own);
        let annotations = Labels::from_pairs(annotations.iter().map(|(name, text)| (name, expand(text))));
        if hits
            .insert(
                labels.clone(),
                Hit {
                    labels,
                    annotations,
                    value,
                },
            )
            .is_some()
        {
            return Err("vector contains metrics with the same labelset after applying alert labels".to_owned());
        }
    }
    Ok(hits)
}

pub(crate) fn check_limit(limit: u64, count: usize, what: &str) -> Result<(), String> {
    if limit > 0 && count as u64 > limit {
        return Err(format!("exceeded limit of {limit} with {count} {what}"));
    }
    Ok(())
}

// Writes what a rule gave, and a staleness marker for each series that it gave last time and not now. Returns what was
// refused of it.
fn write(
    ctx: &Arc<Context>,
    state: &mut RuleState,
    series: Vec<(Labels, SampleValue)>,
    ts: i64,
) -> Result<Option<String>, String> {
    let mut appender = ctx.storage.appender();
    let mut refused = 0_usize;
    let mut reason = None;
    for (labels, value) in series {
        // Where nothing comes or goes, a series costs one look-up.
        let before = state.written.get_mut(&labels);
        let known = before.as_ref().map(|before| before.series);
        let appended = match value {
            SampleValue::Float(value) => appender.append(known, &labels, ts, value),
            SampleValue::Histogram(histogram) => {
                let histogram = NativeHistogram::Float(Arc::unwrap_or_clone(histogram));
                appender.append_histogram(known, &labels, ts, histogram)
            }
        };
        let series = match appended {
            Ok(series) => series,
            // As if the rule had not given it, as upstream: a series that goes on elsewhere is not this rule's.
            Err(error) => {
                refused += 1;
                reason = Some(error);
                continue;
            }
        };
        let now = Written { series, is_new: true };
        match before {
            Some(before) => *before = now,
            None => drop(state.written.insert(labels, now)),
        }
    }
    state.written.retain(|labels, written| {
        let goes_on = std::mem::take(&mut written.is_new);
        if !goes_on {
            append_end(&mut *appender, labels, *written, ts);
        }
        goes_on
    });
    appender.commit().map_err(|e| format!("cannot write the result: {e}"))?;
    Ok(reason.map(|reason| format!("{refused} samples of the result were refused: {reason}")))
}

// Refused only where something is there already that is as new: then the series has not ended.
fn append_end(appender: &mut dyn Appender, labels: &Labels, written: Written, ts: i64) {
    if appender.append_end(written.series, ts) == Ok(false) {
        let _ = appender.append(None, labels, ts, STALE_NAN);
    }
}

#[cfg(test)]
mod tests;
