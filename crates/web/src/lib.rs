//! The HTTP side: Prometheus's API, the little more that our pages ask, the pages themselves, and `/metrics`.
//!
//! [`serve`] accepts connections and hands requests to the [`router`], past the passwords of a [`WebConfigFile`]. Every answer that needs more than a look at
//! memory is computed on the blocking pool, a bounded number at once; a client that goes away stops its query. Results
//! are written to JSON straight from the engine's columns.
//!
//! *Invariant:* no state of its own: an answer is a view of what the other parts hold. *Invariant:* a request never
//! makes it panic; what a client got wrong is a 4xx with a text that says what.

mod agent;
mod alertmanager;
mod api;
mod app;
mod assets;
mod front;
mod guard;
mod http2;
mod pages;
mod query_log;
mod router;
mod serve;
mod telemetry;

#[cfg(test)]
mod tests;

pub use alertmanager::{ALERTMANAGER_VERSION, AlertmanagerApp, alertmanager_router, serve_alertmanager};
pub use app::{App, ConfigView, FailedReload, Mode, ReadLimits, Readiness, Reload};
pub use front::WebConfigFile;
pub use query_log::QueryLogFile;
pub use router::router;
pub use serve::serve;
pub use telemetry::self_metrics;

/// The Prometheus whose API this is. `/api/v1/status/buildinfo` says it, as clients (Grafana) choose by it what they may
/// ask.
pub const PROMETHEUS_VERSION: &str = "3.14.0";
