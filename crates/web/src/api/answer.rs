//! From a request to its answer: reading parameters, computing on the blocking pool, stopping when nobody waits.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use cupola_engine::{Cancel, QueryError, Stage};
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use tracing::error;

use super::json::{Answer, ApiError, ErrorKind};
use super::params::Params;
use crate::app::App;
use crate::assets::accepts;
use crate::pages::not_ready;
use crate::router::Ctx;

// Go's http.Request.ParseForm reads no more of a form either.
const LARGEST_FORM: usize = 10 << 20;
const FORM_TIMEOUT: Duration = Duration::from_secs(300);

/// What is asked.
pub(crate) struct Ask<'a> {
    /// Who answers.
    pub app: &'a App,
    /// The same with the server's own parts.
    pub ctx: &'a Ctx,
    /// The URL's path as it came, still percent-encoded.
    pub path: &'a str,
    /// Query and form.
    pub params: &'a Params,
    /// Set when the client has gone away.
    pub cancel: &'a Cancel,
}

/// Computes an answer. It may block and take long.
pub(crate) type Handler = fn(&Ask<'_>) -> Result<Answer, ApiError>;

/// GET (and HEAD) to `handler`.
pub(crate) fn on_get(handler: Handler) -> MethodRouter<Arc<Ctx>> {
    get(move |State(ctx): State<Arc<Ctx>>, request: Request| answer(ctx, request, handler, Kind::Other))
}

/// As [`on_get`], also before the server is ready and while it stops.
pub(crate) fn on_get_always(handler: Handler) -> MethodRouter<Arc<Ctx>> {
    get(move |State(ctx): State<Arc<Ctx>>, request: Request| answer(ctx, request, handler, Kind::Always))
}

/// GET and POST with a form to `handler`.
pub(crate) fn on_get_or_post(handler: Handler) -> MethodRouter<Arc<Ctx>> {
    let run = move |State(ctx): State<Arc<Ctx>>, request: Request| answer(ctx, request, handler, Kind::Other);
    get(run).post(run)
}

/// As [`on_get_or_post`], for what is evaluated by the engine.
pub(crate) fn on_query(handler: Handler) -> MethodRouter<Arc<Ctx>> {
    let run = move |State(ctx): State<Arc<Ctx>>, request: Request| answer(ctx, request, handler, Kind::Query);
    get(run).post(run)
}

// Where an answer is computed, and when it may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Query,
    Other,
    Always,
}

// Cancels when it is dropped: hyper drops the answering future when its client goes away.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

async fn answer(ctx: Arc<Ctx>, request: Request, handler: Handler, kind: Kind) -> Response {
    if kind != Kind::Always && !ctx.app.ready.is_ready() {
        return not_ready(&ctx);
    }
    let (parts, body) = request.into_parts();
    let takes_gzip = accepts(&parts.headers, "gzip");
    let params = match read_params(&parts, body).await {
        Ok(params) => params,
        Err(error) => return Answer::from(error).into_response(false),
    };
    let cancel = Cancel::new();
    let _gone = CancelOnDrop(cancel.clone());
    let places = if kind == Kind::Query { &ctx.queries } else { &ctx.others };
    let longest = ctx.app.engine.options().timeout;
    let Ok(place) = tokio::time::timeout(longest, places.clone().acquire_owned()).await else {
        let message = QueryError::Timeout(Stage::Queue).to_string();
        return Answer::from(ApiError {
            kind: ErrorKind::Timeout,
            message,
        })
        .into_response(false);
    };
    let computed = tokio::task::spawn_blocking(move || {
        let _place = place;
        let ask = Ask {
            app: &ctx.app,
            ctx: &ctx,
            path: parts.uri.path(),
            params: &params,
            cancel: &cancel,
        };
        handler(&ask).unwrap_or_else(Answer::from).into_response(takes_gzip)
    });
    computed.await.unwrap_or_else(|panic| {
        error!(error = %panic, "an answer broke off");
        let message = "the server made a mistake while answering; its log says more".to_owned();
        Answer::from(ApiError {
            kind: ErrorKind::Internal,
            message,
        })
        .into_response(false)
    })
}

async fn read_params(parts: &Parts, body: Body) -> Result<Params, ApiError> {
    let query = parts.uri.query().unwrap_or("");
    if parts.method != Method::POST || !is_form(&parts.headers) {
        return Ok(Params::parse(query, ""));
    }
    let refused = |reason: &str| ApiError::bad_data(format!("error parsing form values: {reason}"));
    match tokio::time::timeout(FORM_TIMEOUT, axum::body::to_bytes(body, LARGEST_FORM)).await {
        Ok(Ok(form)) => Ok(Params::parse(query, &String::from_utf8_lossy(&form))),
        Ok(Err(_)) => Err(refused("http: request body too large or broken off")),
        Err(_) => Err(refused("the request body did not arrive in time")),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    kind.split(';')
        .next()
        .unwrap_or("")
        .trim()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
