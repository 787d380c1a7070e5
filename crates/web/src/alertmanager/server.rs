//! Alertmanager as a server of its own: API v2, health, reload, metrics.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use cupola_alert::Alertmanager;
use cupola_config::matchers::MatcherMode;
use cupola_metrics::{Counter, Gauge, HistogramVec, Kind, Registry, SeriesValue};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::pages::{self, Pages};
use super::{ALERTMANAGER_VERSION, V2};
use crate::app::{Readiness, Reload};
use crate::front::WebConfigFile;
use crate::pages::text;
use crate::router::prefixed;
use crate::serve::{Limits, serve_router};
use crate::telemetry::{exposed, process};

// Alertmanager's own bounds.
const SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.0, 5.0, 20.0, 60.0];
const BYTES: &[f64] = &[1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
const GONE: &str = concat!(
    "{\"status\":\"deprecated\",\"error\":\"The Alertmanager v1 API was deprecated in version 0.16.0 and is removed as of ",
    "version 0.27.0 - please use the equivalent route in the v2 API\"}\n"
);

/// What `cupola alertmanager` serves.
pub struct AlertmanagerApp {
    /// Who answers.
    pub alertmanager: Alertmanager,
    /// Cupola's version.
    pub version: String,
    /// When the process started, milliseconds since the epoch.
    pub started_ms: i64,
    /// What comes before every path (`--web.route-prefix`): empty, or `/am` without a slash at its end.
    pub route_prefix: String,
    /// How filters are read.
    pub matcher_mode: MatcherMode,
    /// All of it is what `/metrics` shows.
    pub registry: Registry,
    /// What `POST /-/reload` does.
    pub reload: Reload,
    /// Whether it may answer.
    pub ready: Readiness,
    /// How many GETs are answered at once (`--web.get-concurrency`); 0 leaves it to the number of cores.
    pub get_concurrency: usize,
    /// How long a request may take (`--web.timeout`); zero is no limit.
    pub timeout: Duration,
}

struct Server {
    app: AlertmanagerApp,
    telemetry: AlertmanagerTelemetry,
}

/// What is counted of requests, under Alertmanager's names.
struct AlertmanagerTelemetry {
    seconds: HistogramVec,
    bytes: HistogramVec,
    in_flight: Gauge,
    refused: Counter,
}

impl AlertmanagerTelemetry {
    fn new(registry: &Registry, version: &str, started_ms: i64) -> Self {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let labels = vec![
            pair("branch", ""),
            pair("goarch", std::env::consts::ARCH),
            pair("goos", std::env::consts::OS),
            pair("goversion", ""),
            pair("revision", &format!("cupola-{version}")),
            pair("tags", ""),
            pair("version", ALERTMANAGER_VERSION),
        ];
        registry.add(
            "alertmanager_build_info",
            "A metric with a constant '1' value labeled by version, revision, branch, goversion from which alertmanager was built, and the goos and goarch for the build.",
            Kind::Gauge,
            move || vec![(labels.clone(), SeriesValue::Number(1.0))],
        );
        process(registry, started_ms);
        let in_flight = registry.gauge_vec(
            "alertmanager_http_requests_in_flight",
            "Current number of HTTP requests being processed.",
            &["method"],
        );
        let refused = registry.counter_vec(
            "alertmanager_http_concurrency_limit_exceeded_total",
            "Total number of times an HTTP request failed because the concurrency limit was reached.",
            &["method"],
        );
        Self {
            seconds: registry.native_histogram_vec(
                "alertmanager_http_request_duration_seconds",
                "Histogram of latencies for HTTP requests.",
                &["handler", "method", "code"],
                SECONDS,
            ),
            bytes: registry.histogram_vec(
                "alertmanager_http_response_size_bytes",
                "Histogram of response size for HTTP requests.",
                &["handler", "method"],
                BYTES,
            ),
            in_flight: in_flight.with(&["get"]),
            refused: refused.with(&["get"]),
        }
    }
}

/// The server as a tower service, without sockets. Registers its metrics, so it is to be made once per registry.
pub fn alertmanager_router(app: AlertmanagerApp) -> Router {
    let telemetry = AlertmanagerTelemetry::new(&app.registry, &app.version, app.started_ms);
    let mut v2 = V2::new(app.alertmanager.clone(), app.version.clone(), app.started_ms);
    v2.matcher_mode = app.matcher_mode;
    v2.timeout = app.timeout;
    if app.get_concurrency > 0 {
        v2 = v2.with_gets(app.get_concurrency);
    }
    let prefix = app.route_prefix.trim_end_matches('/').to_owned();
    let own = Pages::new(&prefix, app.alertmanager.clone(), app.version.clone(), app.started_ms);
    let server = Arc::new(Server { app, telemetry });
    let routes = Router::new()
        .route("/-/healthy", get(async || text(StatusCode::OK, "OK")))
        .route("/-/ready", get(ready))
        .route("/-/reload", MethodRouter::new().post(reload).fallback(only_post))
        .route("/metrics", get(metrics))
        .route("/api/v1/{*rest}", any(gone))
        .merge(super::routes(Arc::new(v2)))
        .merge(pages::routes(Arc::new(own)))
        .fallback(async || text(StatusCode::NOT_FOUND, "404 page not found\n"))
        .layer(from_fn_with_state(server.clone(), around))
        .with_state(server);
    if prefix.is_empty() {
        return routes;
    }
    let to = prefix.clone();
    prefixed(routes, prefix, to)
}

/// Serves `app` on all `listeners` until `stop` is cancelled; requests in flight then get a few seconds. `web` is what
/// `--web.config.file` names.
///
/// # Errors
/// None at present: a connection that fails ends alone, and where accepting fails it is tried again.
pub fn serve_alertmanager(
    app: AlertmanagerApp,
    listeners: Vec<TcpListener>,
    web: Option<WebConfigFile>,
    stop: CancellationToken,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    let ready = app.ready.clone();
    let limits = Limits {
        connections: 512,
        read_timeout: Duration::from_secs(300),
    };
    let router = alertmanager_router(app);
    async move {
        serve_router(router, limits, listeners, web, stop, move || ready.set_stopping()).await;
        Ok(())
    }
}

async fn ready(State(server): State<Arc<Server>>) -> Response {
    if server.app.ready.is_ready() {
        return text(StatusCode::OK, "OK");
    }
    text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
}

async fn only_post() -> Response {
    text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
}

async fn gone() -> Response {
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (StatusCode::GONE, kind, GONE).into_response()
}

async fn metrics(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    let registry = server.app.registry.clone();
    let exposing = tokio::task::spawn_blocking(move || exposed(&registry, &headers));
    match exposing.await {
        Ok((kind, body)) => ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response(),
        Err(panic) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{panic}\n")),
    }
}

async fn reload(State(server): State<Arc<Server>>) -> Response {
    let reload = server.app.reload.clone();
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

// Counts, and what all answers carry.
async fn around(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let path = request.extensions().get::<MatchedPath>();
    let handler = path.map_or("other", MatchedPath::as_str).replace("{id}", "{silenceID}");
    let method = counted_method(request.method());
    let is_get = request.method() == Method::GET;
    let is_api = request.uri().path().starts_with("/api/v2/");
    let has_origin = request.headers().contains_key(header::ORIGIN);
    let telemetry = &server.telemetry;
    // Also where the client goes away, which ends this future.
    let in_flight = is_get.then(|| InFlight::begin(&telemetry.in_flight));
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_api && is_preflight {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let allowed = HeaderValue::from_static("GET, POST, HEAD");
        response
            .headers_mut()
            .insert(header::ACCESS_CONTROL_ALLOW_METHODS, allowed);
        response
    } else {
        next.run(request).await
    };
    drop(in_flight);
    if is_get && is_api && response.status() == StatusCode::SERVICE_UNAVAILABLE {
        telemetry.refused.inc();
    }
    harden(response.headers_mut(), is_api, has_origin);
    let code = response.status();
    telemetry
        .seconds
        .with(&[&handler, method, code.as_str()])
        .observe(began.elapsed().as_secs_f64());
    if let Some(size) = response.body().size_hint().exact() {
        telemetry.bytes.with(&[&handler, method]).observe(size as f64);
    }
    response
}

// As Go's client library names methods: whoever invents some makes no series.
fn counted_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "PUT" => "put",
        "HEAD" => "head",
        "POST" => "post",
        "DELETE" => "delete",
        "CONNECT" => "connect",
        "OPTIONS" => "options",
        "NOTIFY" => "notify",
        "TRACE" => "trace",
        "PATCH" => "patch",
        _ => "unknown",
    }
}

struct InFlight<'a>(&'a Gauge);

impl<'a> InFlight<'a> {
    fn begin(gauge: &'a Gauge) -> Self {
        gauge.add(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.add(-1.0);
    }
}

fn harden(headers: &mut HeaderMap, is_api: bool, has_origin: bool) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        HeaderName::from_static("x-frame-options"),
        HeaderValue::from_static("deny"),
    );
    if is_api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if has_origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
    }
}
