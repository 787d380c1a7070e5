//! Counters, gauges, histograms and summaries about Cupola itself.
//!
//! A [`Registry`] is made by the binary and handed down; each part registers its families once and keeps the handles.
//! Counting is one atomic addition. *Invariant:* no global state, no clock.

mod registry;
mod values;

pub use registry::{Family, Kind, Registry, SeriesList, SeriesValue, Snapshot};
pub use values::{Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, Summary, SummaryVec, Summed};
