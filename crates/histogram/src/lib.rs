//! Native histograms of Prometheus 3.14: the value, its arithmetic, and what PromQL asks of it.
//!
//! *Invariant:* values only; no storage, no queries, no clock.
//! *Invariant:* no histogram panics, also not one whose spans, buckets and bounds do not belong together.

mod arithmetic;
mod bound;
mod bound_table;
mod bucket;
mod classic;
mod combine;
mod compare;
mod finest;
mod float;
mod integer;
mod layout;
mod print;
mod quantile;
mod sum;
mod trim;
mod validate;

pub use arithmetic::{Incompatible, Reconciled};
pub use bucket::{ApiBucket, Bucket};
pub use finest::{COARSEST_SCHEMA, FINEST_SCHEMA};
pub use float::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span};
pub use integer::{Histogram, HistogramRef, NativeHistogram};
pub use quantile::{FractionNote, QuantileNote};
pub use sum::{HistogramMean, HistogramSum};
pub use validate::{Flaw, Invalid};
