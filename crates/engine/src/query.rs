//! What is asked and what is answered.

use std::time::Duration;

use cupola_model::Labels;
use cupola_promql::Expr;
use cupola_storage::Samples;

use crate::cancel::Cancel;

/// One query. All times are milliseconds since the epoch.
#[derive(Debug, Clone)]
pub struct Query<'q> {
    /// The text the tree came from; warnings name places in it.
    pub text: &'q str,
    /// The parsed text.
    pub expr: &'q Expr,
    /// The first step.
    pub start: i64,
    /// The last step; of an instant query the same as `start`.
    pub end: i64,
    /// `None` for an instant query.
    pub step_ms: Option<i64>,
    /// Instead of the engine's lookback.
    pub lookback_delta_ms: Option<i64>,
    /// Stops the query from outside.
    pub cancel: Cancel,
}

impl<'q> Query<'q> {
    /// Evaluates at one time.
    #[must_use]
    pub fn instant(text: &'q str, expr: &'q Expr, at: i64) -> Self {
        Self {
            text,
            expr,
            start: at,
            end: at,
            step_ms: None,
            lookback_delta_ms: None,
            cancel: Cancel::new(),
        }
    }

    /// Evaluates at `start`, `start + step_ms`, ... up to `end`.
    #[must_use]
    pub fn range(text: &'q str, expr: &'q Expr, start: i64, end: i64, step_ms: i64) -> Self {
        Self {
            end,
            step_ms: Some(step_ms),
            ..Self::instant(text, expr, start)
        }
    }
}

/// The value of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryValue {
    /// A number and its time.
    Scalar(i64, f64),
    /// A text and its time.
    String(i64, String),
    /// Series with one value each at the same time; in label order, unless the query sorted them.
    Vector(Vec<(Labels, i64, f64)>),
    /// Series with values over time, in label order.
    Matrix(Vec<(Labels, Samples)>),
}

impl QueryValue {
    /// The name the API gives this type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Scalar(..) => "scalar",
            Self::String(..) => "string",
            Self::Vector(_) => "vector",
            Self::Matrix(_) => "matrix",
        }
    }
}

/// What a query used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples that took part, once for every step they took part in (`totalQueryableSamples`).
    pub total_queryable_samples: u64,
    /// Samples read from storage, each once (`samplesRead`).
    pub samples_read: u64,
    /// The most samples held at once (`peakSamples`).
    pub peak_samples: u64,
    /// How long it took.
    pub timings: QueryTimings,
}

/// How long the parts of a query took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryTimings {
    /// Waiting for a place (`execQueueTime`).
    pub queue: Duration,
    /// Looking at the tree (`queryPreparationTime`).
    pub preparation: Duration,
    /// Selecting, reading and computing (`innerEvalTime`).
    pub evaluation: Duration,
    /// Bringing the result into its final form and order (`resultSortTime`).
    pub result: Duration,
    /// All of it (`execTotalTime`).
    pub total: Duration,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryResult {
    /// The value.
    pub value: QueryValue,
    /// Warnings, each once, in the order they came up, with the place in the query.
    pub warnings: Vec<String>,
    /// Infos, likewise.
    pub infos: Vec<String>,
    /// What it used.
    pub stats: QueryStats,
}
