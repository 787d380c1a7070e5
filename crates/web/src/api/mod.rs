//! The HTTP API: Prometheus's `/api/v1` in its own JSON, and the little that only our pages ask.

pub(crate) mod answer;
pub(crate) mod costs;
pub(crate) mod json;
pub(crate) mod openapi;
pub(crate) mod pack;
pub(crate) mod params;
mod prometheus;
pub(crate) mod stream;
mod ui;

pub(crate) use prometheus::routes as prometheus_routes;
pub(crate) use ui::routes as ui_routes;
