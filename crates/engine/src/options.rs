//! What an engine is set to.

use std::time::Duration;

use cupola_promql::ParseOptions;

/// Settings of an engine. The defaults are Prometheus's.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How far back an instant selector looks for a sample (`--query.lookback-delta`), in milliseconds.
    pub lookback_delta_ms: i64,
    /// The longest a query may take, waiting included (`--query.timeout`).
    pub timeout: Duration,
    /// The most samples a query may hold at once (`--query.max-samples`).
    pub max_samples: usize,
    /// How many queries run at the same time (`--query.max-concurrency`); further ones wait.
    pub max_concurrency: usize,
    /// The step of subqueries that name none: the global evaluation interval, in milliseconds.
    pub default_subquery_step_ms: i64,
    /// Which experimental parts of the language are allowed.
    pub parse: ParseOptions,
    /// Removes metric names only from the final result (feature promql-delayed-name-removal).
    pub delayed_name_removal: bool,
    /// Judges counters by their `__type__` label (feature type-and-unit-labels).
    pub type_and_unit_labels: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback_delta_ms: 300_000,
            timeout: Duration::from_secs(120),
            max_samples: 50_000_000,
            max_concurrency: 20,
            default_subquery_step_ms: 60_000,
            parse: ParseOptions::default(),
            delayed_name_removal: false,
            type_and_unit_labels: false,
        }
    }
}
