//! What rule evaluation counts, under the names Prometheus 3.14 gives. A group is called `file;name` there.

use cupola_metrics::{Counter, CounterVec, GaugeVec, Histogram, Registry, Summary};

#[derive(Clone)]
pub(crate) struct Metrics {
    pub evaluations: CounterVec,
    pub failures: CounterVec,
    pub iterations: CounterVec,
    pub missed: CounterVec,
    pub last_seconds: GaugeVec,
    pub last_evaluation: GaugeVec,
    pub last_samples: GaugeVec,
    pub last_rules_seconds: GaugeVec,
    pub last_restore_seconds: GaugeVec,
    pub interval: GaugeVec,
    pub rules: GaugeVec,
    pub rule_seconds: Seconds,
    pub group_seconds: Seconds,
    pub expansions: Counter,
    pub expansion_failures: Counter,
}

/// How long something took, as a summary and as a histogram.
#[derive(Clone)]
pub(crate) struct Seconds {
    quantiles: Summary,
    buckets: Histogram,
}

impl Seconds {
    // Called `prometheus_rule_{of}_duration_seconds` and `..._duration_histogram_seconds`.
    fn new(registry: &Registry, of: &str, help: &str, quantiles: &[f64]) -> Self {
        let name = |kind: &str| format!("prometheus_rule_{of}_duration_{kind}seconds");
        Self {
            quantiles: registry.summary(&name(""), help, quantiles),
            buckets: registry.native_histogram(&name("histogram_"), help, &[0.01, 0.1, 1.0, 10.0]),
        }
    }

    pub(crate) fn observe(&self, seconds: f64) {
        self.quantiles.observe(seconds);
        self.buckets.observe(seconds);
    }
}

const GROUP: &[&str] = &["rule_group"];

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| registry.counter_vec(&format!("prometheus_rule_{name}"), help, GROUP);
        let gauge = |name: &str, help: &str| registry.gauge_vec(&format!("prometheus_rule_{name}"), help, GROUP);
        Self {
            evaluations: counter("evaluations_total", "The total number of rule evaluations."),
            failures: counter(
                "evaluation_failures_total",
                "The total number of rule evaluation failures.",
            ),
            iterations: counter(
                "group_iterations_total",
                "The total number of scheduled rule group evaluations, whether executed or missed.",
            ),
            missed: counter(
                "group_iterations_missed_total",
                "The total number of rule group evaluations missed due to slow rule group evaluation.",
            ),
            last_seconds: gauge(
                "group_last_duration_seconds",
                "The duration of the last rule group evaluation.",
            ),
            last_evaluation: gauge(
                "group_last_evaluation_timestamp_seconds",
                "The timestamp of the last rule group evaluation in seconds.",
            ),
            last_samples: gauge(
                "group_last_evaluation_samples",
                "The number of samples returned during the last rule group evaluation.",
            ),
            last_rules_seconds: gauge(
                "group_last_rule_duration_sum_seconds",
                "The sum of time in seconds it took to evaluate each rule in the group regardless of concurrency. This should be \
                 higher than the group duration if rules are evaluated concurrently.",
            ),
            last_restore_seconds: gauge(
                "group_last_restore_duration_seconds",
                "The duration of the last alert rules alerts restoration using the `ALERTS_FOR_STATE` series.",
            ),
            interval: gauge("group_interval_seconds", "The interval of a rule group."),
            rules: gauge("group_rules", "The number of rules."),
            rule_seconds: Seconds::new(
                registry,
                "evaluation",
                "The duration for a rule to execute.",
                &[0.5, 0.9, 0.99],
            ),
            group_seconds: Seconds::new(
                registry,
                "group",
                "The duration of rule group evaluations.",
                &[0.01, 0.05, 0.5, 0.9, 0.99],
            ),
            expansions: registry.counter(
                "prometheus_template_text_expansions_total",
                "The total number of template text expansions.",
            ),
            expansion_failures: registry.counter(
                "prometheus_template_text_expansion_failures_total",
                "The total number of template text expansion failures.",
            ),
        }
    }

    /// A group's series are there from the start, so that the first failure is an increase; as upstream, what tells of the
    /// last evaluation is 0 until there was one.
    pub(crate) fn begin(&self, group: &str) {
        for counters in [&self.evaluations, &self.failures, &self.iterations, &self.missed] {
            drop(counters.with(&[group]));
        }
        for gauges in [
            &self.last_seconds,
            &self.last_evaluation,
            &self.last_samples,
            &self.last_rules_seconds,
        ] {
            drop(gauges.with(&[group]));
        }
    }

    pub(crate) fn forget(&self, group: &str) {
        for counters in [&self.evaluations, &self.failures, &self.iterations, &self.missed] {
            counters.remove(&[group]);
        }
        for gauges in [
            &self.last_seconds,
            &self.last_evaluation,
            &self.last_samples,
            &self.last_rules_seconds,
            &self.last_restore_seconds,
            &self.interval,
            &self.rules,
        ] {
            gauges.remove(&[group]);
        }
    }
}
