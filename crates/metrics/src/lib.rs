//! Counters, gauges, histograms and summaries about Cupola itself.
//!
//! A [`Registry`] is made by the binary and handed down; each part registers its families once and keeps the handles.
//! Counting is one atomic addition, but for histograms with native buckets, which take a lock for a moment. *Invariant:* no
//! global state, no clock: since when something counts is told where the binary says how to find the time.

mod native;
mod registry;
mod values;

pub use native::NativeBuckets;
pub use registry::{Family, Kind, Registry, SeriesList, SeriesValue, Snapshot};
pub use values::{Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, Summary, SummaryVec, Summed};
