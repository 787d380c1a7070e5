//! What is asked and what is answered.

use std::time::{Duration, Instant};

use cupola_histogram::FloatHistogram;
use cupola_model::Labels;
use cupola_promql::Expr;
use cupola_storage::{SampleValue, Samples};

use crate::cancel::Cancel;
use crate::column::weight;
use crate::error::QueryError;
use crate::ledger::Memory;

/// Who asks: rules do not wait for users.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Asker {
    /// Somebody at a page or a program; waits for its turn.
    #[default]
    User,
    /// A rule: has places of its own and the first right to compute.
    Rule,
}

/// Whose a query is, for the log of queries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin<'q> {
    /// Nobody's who is named.
    #[default]
    Unnamed,
    /// A request's.
    Http {
        /// The address it came from, without the port; empty where that is not known.
        client: &'q str,
        /// `GET` or `POST`.
        method: &'q str,
        /// The URL's path.
        path: &'q str,
    },
    /// A rule's.
    Rule {
        /// The file of its group.
        file: &'q str,
        /// The group's name.
        group: &'q str,
    },
}

/// Is told of each query that was evaluated, or refused, on the thread that did so (`query_log_file`).
pub trait QueryLog: Send + Sync {
    /// `error` is why there is no answer; `stats` then tell only how long it took.
    ///
    /// # Errors
    /// Where it cannot be written down; the engine counts that.
    fn log(&self, query: &Query<'_>, stats: &QueryStats, error: Option<&QueryError>) -> std::io::Result<()>;
}

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
    /// Who asks.
    pub asked_by: Asker,
    /// Whose it is.
    pub origin: Origin<'q>,
    /// Until when it is only tried: that its time ran out by then is not logged, since it is asked anew.
    pub tried_until: Option<Instant>,
    /// Fills [`QueryStats::queryable_per_step`], where the engine's options allow it.
    pub per_step_stats: bool,
    /// Which downsampled tiers may stand for samples.
    pub source_resolution: SourceResolution,
}

/// Which downsampled tiers a query may be answered from (`max_source_resolution`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SourceResolution {
    /// Those that are fine enough for the step, and whatever is there where the samples are gone.
    #[default]
    Auto,
    /// Those up to this resolution, in milliseconds, whatever the step; of 0 none, also where the samples are gone.
    UpTo(i64),
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
            asked_by: Asker::User,
            origin: Origin::Unnamed,
            tried_until: None,
            per_step_stats: false,
            source_resolution: SourceResolution::Auto,
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
    Vector(Vec<(Labels, i64, SampleValue)>),
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

    /// How many bytes it occupies, about; labels, which are shared with the storage mostly, are not counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Scalar(..) => 0,
            Self::String(_, text) => text.capacity(),
            Self::Vector(rows) => {
                let histograms = rows.iter().filter_map(|(_, _, value)| match value {
                    SampleValue::Histogram(histogram) => Some(histogram_bytes(histogram)),
                    SampleValue::Float(_) => None,
                });
                rows.capacity() * size_of::<(Labels, i64, SampleValue)>() + histograms.sum::<usize>()
            }
            Self::Matrix(rows) => {
                let series = rows.iter().map(|(_, samples)| samples_bytes(samples));
                rows.capacity() * size_of::<(Labels, Samples)>() + series.sum::<usize>()
            }
        }
    }
}

/// How many bytes a buffer of samples occupies, the histograms in it included.
pub(crate) fn samples_bytes(samples: &Samples) -> usize {
    let histograms = &samples.histograms;
    let columns = samples.ts.capacity()
        + samples.values.capacity()
        + samples.starts.capacity()
        + histograms.ts.capacity()
        + histograms.values.capacity()
        + histograms.starts.capacity();
    columns * size_of::<f64>() + histograms.values.iter().map(|h| histogram_bytes(h)).sum::<usize>()
}

// As many as it counts as samples, which are 16 bytes each.
fn histogram_bytes(histogram: &FloatHistogram) -> usize {
    weight(histogram) * 16
}

/// What a query used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples that took part, once for every step they took part in (`totalQueryableSamples`).
    pub total_queryable_samples: u64,
    /// The same for each step, where asked for (`totalQueryableSamplesPerStep`).
    pub queryable_per_step: Vec<u64>,
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
    /// Keeps the value's memory reserved; to be dropped when the value is.
    pub memory: Memory,
}
