//! What rules gave within the backtest, in front of what is stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cupola_config::rules::{Rule, RuleKind};
use cupola_model::{ALERTNAME, Labels, METRIC_NAME, MatchOp};
use cupola_storage::{Queryable, SampleSource, SampleValue, Samples, Selection, Series, StorageError, merge_series};
use parking_lot::RwLock;

use super::plan::allows;

/// The series that alerting rules make.
pub(super) const ALERT_SERIES: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];

type Held = Arc<RwLock<Samples>>;

/// Series by metric name.
pub(super) struct Overlay {
    // What is stored of these from here on is what other versions of the rules recorded.
    from: i64,
    recorded: BTreeSet<String>,
    alerts: BTreeSet<String>,
    /// Whether any rule looks at alerts.
    pub needs_alerts: bool,
    // Names at which rules look; `None` is all.
    wanted: Option<BTreeSet<String>>,
    series: RwLock<HashMap<String, BTreeMap<Labels, Held>>>,
}

impl Overlay {
    /// What rules give at which `wanted` says that nobody looks is not kept; `None` is that somebody may look at all.
    pub(super) fn new(rules: &[&Rule], wanted: Option<BTreeSet<String>>, from: i64) -> Self {
        let (mut recorded, mut alerts) = (BTreeSet::new(), BTreeSet::new());
        for rule in rules {
            match &rule.kind {
                RuleKind::Recording { record } => drop(recorded.insert(record.clone())),
                RuleKind::Alerting { alert, .. } => drop(alerts.insert(alert.clone())),
            }
        }
        let mut selectors = rules.iter().flat_map(|rule| rule.expr.selectors());
        let needs_alerts =
            selectors.any(|selector| ALERT_SERIES.iter().any(|name| allows(selector, METRIC_NAME, name)));
        Self {
            from,
            recorded,
            alerts,
            needs_alerts,
            wanted,
            series: RwLock::default(),
        }
    }

    /// Adds a sample behind the others of its series.
    pub(super) fn push(&self, labels: &Labels, ts: i64, value: SampleValue) {
        let name = labels.value(METRIC_NAME);
        if self.wanted.as_ref().is_some_and(|wanted| !wanted.contains(name)) {
            return;
        }
        let held = {
            let series = self.series.read();
            series.get(name).and_then(|of_name| of_name.get(labels)).cloned()
        };
        let held = held.unwrap_or_else(|| {
            let mut series = self.series.write();
            let of_name = series.entry(name.to_owned()).or_default();
            of_name.entry(labels.clone()).or_default().clone()
        });
        let mut samples = held.write();
        let last = samples.ts.last().max(samples.histograms.ts.last()).copied();
        if last.is_none_or(|last| last < ts) {
            samples.push_value(ts, value, 0);
        }
    }

    /// Forgets samples before the moment that is told of each name.
    pub(super) fn truncate(&self, mint: impl Fn(&str) -> i64) {
        let mut all = self.series.write();
        for (name, of_name) in all.iter_mut() {
            let mint = mint(name);
            of_name.retain(|_, held| {
                let mut samples = held.write();
                let floats = samples.ts.partition_point(|ts| *ts < mint);
                let histograms = samples.histograms.ts.partition_point(|ts| *ts < mint);
                if floats + histograms > 0 {
                    let kept = samples.split_off(floats, histograms);
                    *samples = kept;
                }
                !samples.is_empty()
            });
        }
        all.retain(|_, of_name| !of_name.is_empty());
    }

    // Whether a stored series is what a rule of the backtest makes itself.
    fn makes(&self, labels: &Labels) -> bool {
        let name = labels.value(METRIC_NAME);
        self.recorded.contains(name) || (ALERT_SERIES.contains(&name) && self.alerts.contains(labels.value(ALERTNAME)))
    }

    fn select(&self, selection: &Selection<'_>) -> Vec<Series> {
        let name = selection
            .matchers
            .iter()
            .find(|matcher| matcher.name() == METRIC_NAME && matcher.op() == MatchOp::Equal);
        let all = self.series.read();
        let of_names: Vec<_> = match name {
            Some(matcher) => all.get(matcher.value()).into_iter().collect(),
            None => all.values().collect(),
        };
        let matching = of_names
            .into_iter()
            .flatten()
            .filter(|(labels, _)| selection.matchers.iter().all(|matcher| matcher.matches_labels(labels)));
        matching
            .map(|(labels, held)| Series {
                labels: labels.clone(),
                source: Box::new(Given(held.clone())),
            })
            .collect()
    }
}

struct Given(Held);

impl SampleSource for Given {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let samples = self.0.read();
        let range = |ts: &[i64]| ts.partition_point(|ts| *ts < mint)..ts.partition_point(|ts| *ts <= maxt);
        let mut part = Samples::default();
        let floats = range(&samples.ts);
        part.ts
            .extend_from_slice(samples.ts.get(floats.clone()).unwrap_or_default());
        part.values
            .extend_from_slice(samples.values.get(floats).unwrap_or_default());
        let histograms = range(&samples.histograms.ts);
        let of = &samples.histograms;
        let times = of.ts.get(histograms.clone()).unwrap_or_default();
        for (ts, value) in times.iter().zip(of.values.get(histograms).unwrap_or_default()) {
            part.histograms.push(*ts, value.clone(), 0);
        }
        out.append(&part);
        Ok(())
    }
}

/// A source of which nothing from some moment on counts.
struct Before {
    source: Box<dyn SampleSource>,
    end: i64,
}

impl SampleSource for Before {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let maxt = maxt.min(self.end - 1);
        match mint <= maxt {
            true => self.source.read(mint, maxt, out),
            false => Ok(()),
        }
    }

    fn span(&self) -> (i64, i64) {
        let (first, last) = self.source.span();
        (first, last.min(self.end - 1))
    }
}

/// The storage as the rules of a backtest see it.
pub(super) struct Replayed {
    storage: Arc<dyn Queryable>,
    overlay: Arc<Overlay>,
}

impl Replayed {
    pub(super) fn new(storage: Arc<dyn Queryable>, overlay: Arc<Overlay>) -> Self {
        Self { storage, overlay }
    }

    fn layered(&self, stored: Vec<Series>, selection: &Selection<'_>) -> Vec<Series> {
        let stored = stored
            .into_iter()
            .map(|series| match self.overlay.makes(&series.labels) {
                true => Series {
                    source: Box::new(Before {
                        source: series.source,
                        end: self.overlay.from,
                    }),
                    labels: series.labels,
                },
                false => series,
            });
        merge_series(vec![stored.collect(), self.overlay.select(selection)])
    }
}

impl Queryable for Replayed {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        Ok(self.layered(self.storage.select(selection)?, selection))
    }

    fn select_while(&self, selection: &Selection<'_>, go_on: &dyn Fn() -> bool) -> Result<Vec<Series>, StorageError> {
        Ok(self.layered(self.storage.select_while(selection, go_on)?, selection))
    }

    fn label_names(&self, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        self.storage.label_names(selection)
    }

    fn label_values(&self, name: &str, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        self.storage.label_values(name, selection)
    }
}
