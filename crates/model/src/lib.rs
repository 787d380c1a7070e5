//! The values everything else speaks of: labels, matchers, samples, durations, and numbers as text.
//!
//! *Invariant:* no clock, no disk, no network, no async; the same input gives the same value forever.

mod alert;
mod digits;
mod duration;
mod label;
mod matcher;
mod md5;
mod metric_type;
mod number;
mod quote;
mod sample;
mod url;

pub use alert::{Alert, AlertSink};
pub use digits::{push_4_digits, push_f64, push_u64};
pub use duration::{DurationError, format_duration, parse_duration};
pub use label::{
    ALERTNAME, Label, Labels, LabelsBuilder, METRIC_NAME, is_valid_label_name, is_valid_legacy_label_name,
    is_valid_legacy_metric_name,
};
pub use matcher::{MatchOp, Matcher};
pub use md5::md5;
pub use metric_type::MetricType;
pub use number::{fmt_f64, fmt_f64_e, fmt_f64_g, parse_f64, shortest_f64, write_f64};
pub use quote::go_quote;
pub use sample::{NORMAL_NAN_BITS, STALE_NAN, STALE_NAN_BITS, Sample, SeriesRef, is_stale_nan};
pub use url::query_escape;
