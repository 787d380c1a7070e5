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

use axum::response::Response;

pub(crate) use prometheus::routes as prometheus_routes;
pub(crate) use ui::routes as ui_routes;

/// What an API address without an endpoint answers.
pub(crate) fn no_such_endpoint(path: &str) -> Response {
    let error = json::ApiError {
        kind: json::ErrorKind::NotFound,
        message: format!("no such endpoint: {path}"),
    };
    json::Answer::from(error).into_response(None)
}
