//! All groups and their tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use cupola_config::rules::RuleGroup;
use cupola_engine::Engine;
use cupola_env::Clock;
use cupola_metrics::Registry;
use cupola_model::{AlertSink, Labels};
use cupola_promql::Expr;
use cupola_storage::{Appendable, Queryable, SampleValue};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use crate::group::{self, Group, GroupStatus, ms};
use crate::history::{AlertHistory, RuleName};
use crate::metrics::Metrics;
use crate::restore;
use crate::shared::Shared;
use crate::slots::{Slots, Step};

/// What rules need of the world.
pub struct Context {
    /// What expressions are asked of.
    pub queryable: Arc<dyn Queryable>,
    /// Where results go.
    pub storage: Arc<dyn Appendable>,
    /// Evaluates expressions.
    pub engine: Arc<Engine>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where alerts go.
    pub alerts: Arc<dyn AlertSink>,
    /// For links back, without a slash at its end.
    pub external_url: String,
    /// For templates; replaced at a reload.
    pub external_labels: ArcSwap<Labels>,
    /// A firing alert is sent again after this (`--rules.alert.resend-delay`), milliseconds.
    pub resend_delay_ms: i64,
    /// Alerts with a shorter `for` are not restored (`--rules.alert.for-grace-period`), milliseconds.
    pub grace_period_ms: i64,
    /// How far back restoring looks (`--rules.alert.for-outage-tolerance`), milliseconds.
    pub outage_tolerance_ms: i64,
    /// What happened to alerts.
    pub history: AlertHistory,
    pub(crate) metrics: Metrics,
}

/// What a [`Context`] is made of, besides the metrics that it registers.
pub struct Parts {
    /// See [`Context::queryable`].
    pub queryable: Arc<dyn Queryable>,
    /// See [`Context::storage`].
    pub storage: Arc<dyn Appendable>,
    /// See [`Context::engine`].
    pub engine: Arc<Engine>,
    /// See [`Context::clock`].
    pub clock: Arc<dyn Clock>,
    /// See [`Context::alerts`].
    pub alerts: Arc<dyn AlertSink>,
    /// See [`Context::external_url`].
    pub external_url: String,
    /// See [`Context::external_labels`].
    pub external_labels: Labels,
}

impl Context {
    /// A context with Prometheus's defaults: resend after 1 m, grace period 10 m, outage tolerance 1 h.
    #[must_use]
    pub fn new(parts: Parts, registry: &Registry) -> Self {
        Self {
            queryable: parts.queryable,
            storage: parts.storage,
            engine: parts.engine,
            clock: parts.clock,
            alerts: parts.alerts,
            external_url: parts.external_url,
            external_labels: ArcSwap::from_pointee(parts.external_labels),
            resend_delay_ms: 60_000,
            grace_period_ms: 600_000,
            outage_tolerance_ms: 3_600_000,
            history: AlertHistory::default(),
            metrics: Metrics::new(registry),
        }
    }

    /// The expression's value at `ts` as a vector; a scalar counts as one series without labels. It is `of` a rule.
    pub(crate) fn query(
        &self,
        of: &RuleName,
        text: &str,
        expr: &Expr,
        ts: i64,
    ) -> Result<Vec<(Labels, SampleValue)>, String> {
        let query = cupola_engine::Query {
            asked_by: cupola_engine::Asker::Rule,
            origin: cupola_engine::Origin::Rule {
                file: &of.file,
                group: &of.group,
            },
            ..cupola_engine::Query::instant(text, expr, ts)
        };
        let result = self.engine.query(&*self.queryable, &query).map_err(|e| e.to_string())?;
        match result.value {
            cupola_engine::QueryValue::Vector(series) => {
                Ok(series.into_iter().map(|(labels, _, value)| (labels, value)).collect())
            }
            cupola_engine::QueryValue::Scalar(_, value) => Ok(vec![(Labels::empty(), SampleValue::Float(value))]),
            _ => Err("rule result is not a vector or scalar".to_owned()),
        }
    }

    /// As [`Context::query`]; a native histogram has the value 0, as for Prometheus's alerts and templates.
    pub(crate) fn query_floats(
        &self,
        of: &RuleName,
        text: &str,
        expr: &Expr,
        ts: i64,
    ) -> Result<Vec<(Labels, f64)>, String> {
        let all = self.query(of, text, expr, ts)?.into_iter();
        let floats = all.map(|(labels, value)| match value {
            SampleValue::Float(value) => (labels, value),
            SampleValue::Histogram(_) => (labels, 0.0),
        });
        Ok(floats.collect())
    }

    /// The page that shows `expr`, in the form Prometheus gives as an alert's generatorURL.
    pub(crate) fn generator_url(&self, expr: &str) -> String {
        format!(
            "{}/graph?g0.expr={}&g0.tab=1",
            self.external_url,
            cupola_model::query_escape(expr)
        )
    }
}

/// A group with the file it is from.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupSource {
    /// As shown to people: a path, or `built-in`.
    pub file: String,
    /// The group.
    pub group: RuleGroup,
}

struct Running {
    source: GroupSource,
    interval_ms: i64,
    offset_ms: i64,
    group: Arc<Shared>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    // How metrics call the group.
    fn key(&self) -> String {
        group::key(&self.source.file, &self.source.group.name)
    }
}

/// Runs groups. Cloning shares it.
#[derive(Clone)]
pub struct RuleManager {
    ctx: Arc<Context>,
    running: Arc<Mutex<Vec<Running>>>,
    applied: Arc<AtomicBool>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl RuleManager {
    /// A manager without groups; all its tasks end when `stop` is cancelled.
    #[must_use]
    pub fn new(ctx: Context, stop: CancellationToken) -> Self {
        Self {
            ctx: Arc::new(ctx),
            running: Arc::default(),
            applied: Arc::default(),
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// Gives templates these external labels from now on.
    pub fn set_external_labels(&self, labels: Labels) {
        self.ctx.external_labels.store(Arc::new(labels));
    }

    /// Runs exactly `groups`. A group that has not changed goes on undisturbed; a changed one keeps the alerts of rules
    /// with the same name and labels; the series of removed rules are ended.
    pub fn apply(&self, groups: Vec<GroupSource>, interval: Duration, query_offset: Duration) {
        let first = !self.applied.swap(true, Ordering::Relaxed);
        let mut running = self.running.lock();
        let mut old: Vec<Running> = std::mem::take(&mut *running);
        for source in groups {
            let interval_ms = ms(source.group.interval.unwrap_or(interval)).max(1);
            let offset_ms = ms(source.group.query_offset.unwrap_or(query_offset));
            let same = old
                .iter()
                .position(|r| r.source.file == source.file && r.source.group.name == source.group.name);
            let before = same.map(|at| old.swap_remove(at));
            match before {
                Some(r) if r.source == source && r.interval_ms == interval_ms && r.offset_ms == offset_ms => {
                    running.push(r);
                }
                before => {
                    let mut group = Group::new(&source.file, source.group.clone(), interval_ms, offset_ms);
                    group.restore_in = first.then_some(2);
                    if let Some(before) = before {
                        before.stop.cancel();
                        group.adopt(&mut before.group.lock());
                    }
                    running.push(self.start(source, group));
                }
            }
        }
        for removed in old {
            removed.stop.cancel();
            self.tasks.spawn(self.clone().end(removed));
        }
        running.sort_by(|a, b| (&a.source.file, &a.source.group.name).cmp(&(&b.source.file, &b.source.group.name)));
        info!(groups = running.len(), "rules loaded");
    }

    fn start(&self, source: GroupSource, mut group: Group) -> Running {
        let stop = self.stop.child_token();
        group.stop = stop.clone();
        let (interval_ms, offset_ms) = (group.interval_ms, group.offset_ms);
        let key = group.key();
        self.ctx.metrics.begin(&key);
        self.ctx.metrics.interval.with(&[&key]).set(interval_ms as f64 / 1000.0);
        self.ctx
            .metrics
            .rules
            .with(&[&key])
            .set(source.group.rules.len() as f64);
        let group = Arc::new(Shared::new(group));
        let slots = Slots::new(&key, interval_ms);
        let task = self
            .tasks
            .spawn(run(self.ctx.clone(), group.clone(), key, slots, stop.clone()));
        Running {
            source,
            interval_ms,
            offset_ms,
            group,
            stop,
            task,
        }
    }

    // Ends what a removed group was: its metrics once its last evaluation is over, its series at the moment at which it was
    // removed, but only after two intervals, as upstream: a group of another name or file that goes on with them has written
    // newer samples by then, and what it writes does not end. A server that stops ends nothing.
    async fn end(self, removed: Running) {
        let at = self.ctx.clock.now_ms();
        let wait = Duration::from_millis(removed.interval_ms.saturating_mul(2).unsigned_abs());
        let key = removed.key();
        if let Err(error) = removed.task.await {
            error!(group = key, %error, "a rule group broke off");
        }
        {
            // It may be there again by now.
            let running = self.running.lock();
            if !running.iter().any(|group| group.key() == key) {
                self.ctx.metrics.forget(&key);
            }
        }
        tokio::select! {
            () = self.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let (ctx, group) = (self.ctx, removed.group);
        let ended = tokio::task::spawn_blocking(move || group.lock().end(&ctx, at)).await;
        if let Err(error) = ended {
            error!(group = key, %error, "ending the series of a removed rule group broke off");
        }
    }

    /// What all groups are made of, each with the interval and the offset that are in force, by file and name.
    #[must_use]
    pub fn sources(&self) -> Vec<GroupSource> {
        let running = self.running.lock();
        let sources = running.iter().map(|running| {
            let mut source = running.source.clone();
            let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
            source.group.interval = Some(ms(running.interval_ms));
            source.group.query_offset = Some(ms(running.offset_ms));
            source
        });
        sources.collect()
    }

    /// All groups, by file and name.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupStatus> {
        // Whoever waits for a group holds up no reload.
        let groups: Vec<Arc<Shared>> = self.running.lock().iter().map(|r| r.group.clone()).collect();
        groups.iter().map(|group| group.status()).collect()
    }

    /// What happened to alerts.
    #[must_use]
    pub fn history(&self) -> &AlertHistory {
        &self.ctx.history
    }

    /// Ends when all tasks have ended; cancel the token given to [`RuleManager::new`] first.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn run(ctx: Arc<Context>, group: Arc<Shared>, key: String, slots: Slots, stop: CancellationToken) {
    let mut planned = slots.next(ctx.clock.now_ms());
    while !stop.is_cancelled() {
        let (ts, missed) = match slots.step(planned, ctx.clock.now_ms()) {
            Step::Evaluate { ts, missed } => (ts, missed),
            Step::Wait(ms) => tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(ms.unsigned_abs())) => continue,
            },
        };
        planned = slots.next(ts);
        if ctx.queryable.incomplete().is_some() {
            // A rule that misses the samples of the last hours would end alerts and record wrong values.
            continue;
        }
        ctx.metrics.missed.with(&[&key]).add(missed as f64);
        ctx.metrics.iterations.with(&[&key]).add(missed as f64 + 1.0);
        let (task_ctx, task_group, task_key) = (ctx.clone(), group.clone(), key.clone());
        let done = tokio::task::spawn_blocking(move || evaluate(&task_ctx, &task_group, &task_key, ts)).await;
        if let Err(error) = done {
            error!(group = key, %error, "evaluation of a rule group broke off");
        }
    }
}

fn evaluate(ctx: &Arc<Context>, shared: &Shared, key: &str, ts: i64) {
    let mut group = shared.lock();
    let samples = group.evaluate(ctx, ts);
    if group.stop.is_cancelled() {
        return;
    }
    match group.restore_in {
        // By the second evaluation the targets have been scraped again and alerts are active that may be restored.
        Some(0 | 1) => {
            let begun = Instant::now();
            restore::restore(ctx, &mut group, ts);
            let seconds = begun.elapsed().as_secs_f64();
            ctx.metrics.last_restore_seconds.with(&[key]).set(seconds);
            group.restore_in = None;
        }
        Some(n) => group.restore_in = Some(n - 1),
        None => {}
    }
    ctx.metrics.last_samples.with(&[key]).set(samples as f64);
    ctx.metrics.last_seconds.with(&[key]).set(group.last_seconds());
    ctx.metrics.last_rules_seconds.with(&[key]).set(group.rules_seconds());
    ctx.metrics.group_seconds.observe(group.last_seconds());
    let begun = group.last_evaluation().map_or(0.0, |at| at as f64 / 1000.0);
    ctx.metrics.last_evaluation.with(&[key]).set(begun);
    shared.evaluated(&group);
}
