//! Pages, files, and the few addresses that are neither API nor page.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use tracing::{error, info};

use crate::app::Mode;
use crate::guard::is_foreign;
use crate::router::Ctx;

// What the browser shows there, it decides itself.
const PAGES: [&str; 19] = [
    "/",
    "/dashboards",
    "/d/{uid}",
    "/d/{uid}/{slug}",
    "/explore",
    "/query",
    "/graph",
    "/alerts",
    "/targets",
    "/storage",
    "/alertmanager",
    "/alertmanager/{*page}",
    // Prometheus's addresses of such pages.
    "/tsdb-status",
    "/rules",
    "/service-discovery",
    "/alertmanager-discovery",
    "/status",
    "/config",
    "/flags",
];

pub(crate) fn routes() -> Router<Arc<Ctx>> {
    let mut router = Router::new();
    for path in PAGES {
        router = router.route(path, get(page));
    }
    router
        .route("/assets/{*filepath}", get(file))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route(
            "/-/reload",
            MethodRouter::new().post(reload).put(reload).fallback(only_post),
        )
        .route("/-/quit", MethodRouter::new().post(quit).put(quit).fallback(only_post))
        .route("/debug/pprof", get(no_profiles))
        .route("/debug/pprof/{*profile}", get(no_profiles))
        .route("/consoles/{*template}", get(no_consoles))
}

async fn page(State(ctx): State<Arc<Ctx>>, headers: HeaderMap) -> Response {
    ctx.assets.index(&headers, StatusCode::OK)
}

async fn file(State(ctx): State<Arc<Ctx>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let missing = || text(StatusCode::NOT_FOUND, "404 page not found\n");
    ctx.assets.file(path, request.headers()).unwrap_or_else(missing)
}

/// Everything without a route: a file, a mistaken address, or a page that does not exist.
pub(crate) async fn fallback(State(ctx): State<Arc<Ctx>>, request: Request) -> Response {
    let path = request.uri().path();
    let is_for_pages = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_for_pages || path.starts_with("/api/") || path == "/api" {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    }
    let file = ctx.assets.file(path.trim_start_matches('/'), request.headers());
    file.unwrap_or_else(|| ctx.assets.index(request.headers(), StatusCode::NOT_FOUND))
}

// As Prometheus calls itself.
fn own_name(ctx: &Ctx) -> &'static str {
    match ctx.app.mode {
        Mode::Agent => "Prometheus Agent",
        Mode::Up | Mode::Prometheus => "Prometheus Server",
    }
}

async fn healthy(State(ctx): State<Arc<Ctx>>) -> Response {
    text(StatusCode::OK, &format!("{} is Healthy.\n", own_name(&ctx)))
}

async fn ready(State(ctx): State<Arc<Ctx>>) -> Response {
    if ctx.app.ready.is_ready() {
        return text(StatusCode::OK, &format!("{} is Ready.\n", own_name(&ctx)));
    }
    not_ready(&ctx)
}

/// What is answered before the server is ready and while it stops.
pub(crate) fn not_ready(ctx: &Ctx) -> Response {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    let stopping = HeaderValue::from_static(if ctx.app.ready.is_stopping() { "true" } else { "false" });
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-prometheus-stopping"), stopping);
    response
}

async fn only_post() -> Response {
    text(StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed")
}

async fn reload(State(ctx): State<Arc<Ctx>>, headers: HeaderMap) -> Response {
    let Some(reload) = ctx.app.reload.clone() else {
        return text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.");
    };
    if is_foreign(&ctx.app, &headers) {
        return text(
            StatusCode::FORBIDDEN,
            "a page of another site may not reload the configuration\n",
        );
    }
    let done = tokio::task::spawn_blocking(move || reload()).await;
    match done.unwrap_or_else(|panic| Err(panic.to_string())) {
        Ok(()) => {
            info!("configuration reloaded on request");
            StatusCode::OK.into_response()
        }
        Err(reason) => {
            error!(error = reason, "cannot reload the configuration");
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("failed to reload config: {reason}\n"),
            )
        }
    }
}

async fn quit(State(ctx): State<Arc<Ctx>>, headers: HeaderMap) -> Response {
    let Some(quit) = &ctx.app.quit else {
        return text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.");
    };
    if is_foreign(&ctx.app, &headers) {
        return text(
            StatusCode::FORBIDDEN,
            "a page of another site may not stop the server\n",
        );
    }
    info!("stopping on request");
    quit.cancel();
    text(StatusCode::OK, "Requesting termination... Goodbye!")
}

async fn no_profiles() -> Response {
    let body =
        "Profiles of Go's runtime do not exist here: Cupola is no Go program. /metrics has process_* families.\n";
    text(StatusCode::NOT_FOUND, body)
}

async fn no_consoles() -> Response {
    let body = "Console templates are not served; dashboards are at /dashboards.\n";
    text(StatusCode::NOT_FOUND, body)
}

/// Plain text.
pub(crate) fn text(status: StatusCode, body: &str) -> Response {
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))];
    (status, headers, body.to_owned()).into_response()
}
