//! What an agent does not answer: it has no samples to ask for, no rules and no alerts (Prometheus 3.14, compared with 2.42).

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};

const UNAVAILABLE: &str = r#"{"status":"error","errorType":"execution","error":"unavailable with Prometheus Agent"}"#;
// Below `/api/v1/`; what ends with a slash stands for all below it.
const REFUSED: [&str; 14] = [
    "query",
    "query_range",
    "query_exemplars",
    "format_query",
    "parse_query",
    "series",
    "labels",
    "label/",
    "rules",
    "alerts",
    "alertmanagers",
    "status/tsdb",
    "status/tsdb/",
    "admin/tsdb/",
];

/// The answer to what is asked at `path`, where an agent has none of its own. `prefix` comes before all paths.
pub(crate) fn refusal(path: &str, prefix: &str) -> Option<Response> {
    // The overview is made of queries.
    if path == "/" {
        let to = HeaderValue::try_from(format!("{prefix}/targets")).ok()?;
        return Some((StatusCode::FOUND, [(LOCATION, to)]).into_response());
    }
    if path == "/federate" {
        let text = "unsupported operation with WAL-only storage\n";
        return Some((StatusCode::INTERNAL_SERVER_ERROR, text).into_response());
    }
    let route = path.strip_prefix("/api/v1/")?;
    let is_refused = REFUSED.iter().any(|refused| match refused.strip_suffix('/') {
        Some(_) => route.starts_with(refused),
        None => route == *refused,
    });
    is_refused.then(|| {
        let mut response = (StatusCode::UNPROCESSABLE_ENTITY, UNAVAILABLE).into_response();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    })
}
