//! Exemplars: single events that stand for samples, as a rule traces.

use cupola_model::Labels;
use thiserror::Error;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// What names it, as a rule the id of a trace.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
    /// When it happened, in milliseconds since the epoch.
    pub ts: i64,
}

/// The exemplars of one series, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesExemplars {
    /// The series' labels.
    pub labels: Labels,
    /// At least one.
    pub exemplars: Vec<Exemplar>,
}

/// Why an exemplar was refused. The texts are Prometheus's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ExemplarError {
    /// Older than the series' newest one.
    #[error("out of order exemplar")]
    OutOfOrder,
    /// Its labels have too many characters.
    #[error("label length for exemplar exceeds maximum of 128 UTF-8 characters")]
    TooLong,
    /// The storage does not know the series.
    #[error("unknown series when trying to add exemplar")]
    UnknownSeries,
}
