//! All routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{HeaderValue, LOCATION};
use http::{StatusCode, Uri};
use tokio::sync::Semaphore;

use crate::api::costs::Costs;
use crate::app::App;
use crate::assets::Assets;
use crate::telemetry::Telemetry;
use crate::{alertmanager, api, guard, pages};

// Answers other than to queries that are computed at once.
const COMPUTE_AT_ONCE: usize = 32;

/// What every request has at hand.
pub(crate) struct Ctx {
    pub app: App,
    pub assets: Assets,
    pub telemetry: Telemetry,
    /// Places for queries, as many as the engine evaluates at once: the others wait without a thread.
    pub queries: Arc<Semaphore>,
    /// Places for everything else, so that a page of status does not wait for queries.
    pub others: Arc<Semaphore>,
    /// Places for other servers that read.
    pub reads: Arc<Semaphore>,
    /// Places for those who listen to notifications.
    pub listeners: Arc<Semaphore>,
    /// What answers have cost.
    pub costs: Costs,
}

/// The server as a tower service, without sockets. Registers its metrics in `app.registry`, so it is to be made once per
/// registry.
pub fn router(app: App) -> Router {
    let assets = Assets::embedded(&app.route_prefix);
    let assets = match &app.page_title {
        Some(title) => assets.titled(title),
        None => assets,
    };
    routes(Ctx::new(app, assets))
}

impl Ctx {
    pub(crate) fn new(app: App, assets: Assets) -> Arc<Self> {
        let telemetry = Telemetry::new(&app);
        let queries = Arc::new(Semaphore::new(
            app.engine.options().max_concurrency.clamp(1, Semaphore::MAX_PERMITS),
        ));
        let others = Arc::new(Semaphore::new(COMPUTE_AT_ONCE));
        let reads = match app.remote_read.concurrent {
            0 => Semaphore::MAX_PERMITS,
            some => some.min(Semaphore::MAX_PERMITS),
        };
        let listeners = Arc::new(Semaphore::new(app.max_listeners.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            app,
            assets,
            telemetry,
            queries,
            others,
            reads: Arc::new(Semaphore::new(reads)),
            listeners,
            costs: Costs::new(),
        })
    }
}

pub(crate) fn routes(ctx: Arc<Ctx>) -> Router {
    let prefix = ctx.app.route_prefix.trim_end_matches('/').to_owned();
    let mut v2 = Router::new();
    if let Some(within) = ctx.app.alertmanager.clone() {
        let within = alertmanager::V2::new(within, ctx.app.version.clone(), ctx.app.started_ms);
        v2 = alertmanager::routes(Arc::new(within));
    }
    let routes = Router::new()
        .merge(v2)
        .merge(api::prometheus_routes())
        .merge(api::ui_routes())
        .merge(pages::routes())
        .fallback(pages::fallback)
        .layer(from_fn_with_state(ctx.clone(), guard::guard))
        .with_state(ctx);
    if prefix.is_empty() {
        return routes;
    }
    let root = format!("{prefix}/");
    prefixed(routes, prefix, root)
}

/// The same routes below `prefix`; the root leads to `root`.
pub(crate) fn prefixed(routes: Router, prefix: String, root: String) -> Router {
    // The inner routes know nothing of the prefix, so that their names in metrics do not depend on it.
    let names: Arc<(String, String)> = Arc::new((prefix, root));
    Router::new()
        .fallback_service(routes)
        .layer(from_fn(move |request, next| below_prefix(names.clone(), request, next)))
}

async fn below_prefix(names: Arc<(String, String)>, mut request: Request, next: Next) -> Response {
    let (prefix, root) = &*names;
    let uri = request.uri().clone();
    let rest = match uri.path().strip_prefix(prefix.as_str()) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        // As Prometheus: only the root leads to where the pages are.
        _ if uri.path() == "/" => return redirect(root),
        _ => return (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
    };
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let Ok(inner) = format!("{rest}{query}").parse::<Uri>() else {
        return (StatusCode::BAD_REQUEST, "the address cannot be read\n").into_response();
    };
    *request.uri_mut() = inner;
    next.run(request).await
}

fn redirect(to: &str) -> Response {
    let mut response = StatusCode::FOUND.into_response();
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}
