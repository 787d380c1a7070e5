//! The pages of an Alertmanager that is a server of its own: the same files, told whose they are.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, header};

use crate::api::json::{Answer, write_str, write_strs};
use crate::assets::{Assets, CONTENT_SECURITY_POLICY};
use crate::pages::text;

use super::write;

/// What the pages are made of.
pub(super) struct Pages {
    assets: Assets,
    manager: cupola_alert::Alertmanager,
    version: String,
    started_ms: i64,
}

impl Pages {
    pub(super) fn new(prefix: &str, manager: cupola_alert::Alertmanager, version: String, started_ms: i64) -> Self {
        Self {
            assets: Assets::embedded(prefix).told("alertmanager"),
            manager,
            version,
            started_ms,
        }
    }
}

/// Pages, files, and what the pages ask first. The browser decides what it shows below `/alertmanager`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(pages: Arc<Pages>) -> Router<S> {
    Router::new()
        .route("/", get(root))
        .route("/alertmanager", get(page))
        .route("/alertmanager/{*rest}", get(page))
        .route("/assets/{*filepath}", get(file))
        .route("/api/ui/bootstrap", get(bootstrap))
        .with_state(pages)
}

async fn root(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response {
    if pages.assets.has_pages() {
        return hardened(pages.assets.index(&headers, StatusCode::OK));
    }
    let body =
        "This is Alertmanager, as Cupola is one. Its API is at api/v2, its metrics at metrics; amtool works with it.\n";
    text(StatusCode::OK, body)
}

async fn page(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response {
    hardened(pages.assets.index(&headers, StatusCode::OK))
}

async fn file(State(pages): State<Arc<Pages>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let found = pages.assets.file(path, request.headers());
    found.map_or_else(|| text(StatusCode::NOT_FOUND, "404 page not found\n"), hardened)
}

async fn bootstrap(State(pages): State<Arc<Pages>>) -> Response {
    let mut out = String::from("{\"version\":");
    write_str(&mut out, &pages.version);
    out.push_str(",\"hostname\":\"\",\"mode\":\"alertmanager\",\"startTime\":");
    write::time(&mut out, pages.started_ms);
    let configured = pages.manager.delivers();
    out.push_str(",\"scrapeInterval\":\"\",\"alertmanager\":{\"configured\":");
    out.push_str(if configured { "true" } else { "false" });
    out.push_str(",\"receivers\":");
    write_strs(&mut out, &pages.manager.receivers());
    out.push_str(",\"running\":true}}");
    Answer::json(out).into_response(None)
}

fn hardened(mut response: Response) -> Response {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
