//! What an engine is set to.

use std::time::Duration;

use cupola_promql::ParseOptions;

/// Settings of an engine. The defaults are Prometheus's, without a limit of memory.
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
    /// The most bytes one query may use (`--query.max-memory`); `usize::MAX` for no limit.
    pub max_memory: usize,
    /// The most bytes all queries may use together (`--query.max-memory-total`), an eighth of it for rules only;
    /// `usize::MAX` for no limit.
    pub max_memory_total: usize,
    /// How many queries of users compute at the same time; the others that run wait for their turn. Usually the number
    /// of cores.
    pub cpu_slots: usize,
    /// How many bytes answers of range queries may occupy that are kept for the next refresh of a dashboard; 0 keeps
    /// none.
    pub result_cache_bytes: usize,
    /// The step of subqueries that name none: the global evaluation interval, in milliseconds.
    pub default_subquery_step_ms: i64,
    /// Which experimental parts of the language are allowed.
    pub parse: ParseOptions,
    /// Removes metric names only from the final result (feature promql-delayed-name-removal).
    pub delayed_name_removal: bool,
    /// Judges counters by their `__type__` label (feature type-and-unit-labels).
    pub type_and_unit_labels: bool,
    /// Lets `rate`, `increase`, `irate`, `resets` and `start_timestamp` know since when a counter counts (feature
    /// use-start-timestamps).
    pub use_start_timestamps: bool,
    /// Counts the samples of each step where a query asks for it (feature promql-per-step-stats).
    pub per_step_stats: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback_delta_ms: 300_000,
            timeout: Duration::from_secs(120),
            max_samples: 50_000_000,
            max_concurrency: 20,
            max_memory: usize::MAX,
            max_memory_total: usize::MAX,
            cpu_slots: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            result_cache_bytes: 32 << 20,
            default_subquery_step_ms: 60_000,
            parse: ParseOptions::default(),
            delayed_name_removal: false,
            type_and_unit_labels: false,
            use_start_timestamps: false,
            per_step_stats: false,
        }
    }
}
