//! Host objects that templates of alerts know: times, durations, label sets, notification data.

mod data;
mod duration;
mod kv;
mod named;
mod safe;
mod time;

pub use data::{Alert, Alerts, Data};
pub use duration::Duration;
pub use kv::{Kv, Pairs};
pub(crate) use safe::SafeHtml;
pub use time::{Time, Zone};
