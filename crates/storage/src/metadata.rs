//! What is said of a metric family.

use cupola_model::MetricType;

/// Type, unit and meaning of a metric family, as whoever exposes it says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Metadata {
    /// What kind of metric it is.
    pub kind: MetricType,
    /// What the metric means.
    pub help: String,
    /// Its unit; empty where none is told.
    pub unit: String,
}
