//! From a request to its answer: reading parameters, computing (on the blocking pool, or in place what is known to be
//! cheap), stopping when nobody waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use cupola_engine::{Cancel, QueryError, Stage};
use http::header::{CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{Method, StatusCode};
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::error;

use super::costs::Question;
use super::json::{Answer, ApiError, ErrorKind};
use super::pack::Coding;
use super::params::Params;
use crate::app::App;
use crate::guard::is_foreign;
use crate::pages::not_ready;
use crate::router::Ctx;
use crate::serve::Client;

// Go's http.Request.ParseForm reads no more of a form either.
const LARGEST_FORM: usize = 10 << 20;

// Going to another thread and back costs 50 to 100 µs. What has cost no more than `CHEAP` the last time is computed by the
// thread that read the request; its other sockets move to another thread meanwhile, which costs 25 µs. What has cost no
// more than `TINY` is not worth that either: where it needs a page that is no longer in memory, the other sockets wait as
// long as the disk takes.
const CHEAP: Duration = Duration::from_millis(2);
const TINY: Duration = Duration::from_millis(1);
// A query that was cheap and takes longer now is asked anew where it hurts nobody.
const LONGEST_HERE: Duration = Duration::from_millis(10);

/// What is asked.
pub(crate) struct Ask<'a> {
    /// Who answers.
    pub app: &'a App,
    /// The same with the server's own parts.
    pub ctx: &'a Ctx,
    /// The URL's path as it came, still percent-encoded.
    pub path: &'a str,
    /// The request's method.
    pub method: &'a Method,
    /// Where the request came from; empty where that is not known.
    pub client: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// Query and form.
    pub params: &'a Params,
    /// Set when the client has gone away.
    pub cancel: &'a Cancel,
    /// Until when a query may be evaluated on this thread.
    pub here_until: Option<Instant>,
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

/// POST and PUT to `handler`, for what changes something.
pub(crate) fn on_post_or_put(handler: Handler) -> MethodRouter<Arc<Ctx>> {
    let run = move |State(ctx): State<Arc<Ctx>>, request: Request| answer(ctx, request, handler, Kind::Change);
    post(run).put(run)
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
    Change,
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
    // A browser lets a page of any site post a form.
    if kind == Kind::Change && is_foreign(&ctx.app, &parts.headers) {
        let text = "a page of another site may not change what is stored\n";
        return Answer::text(StatusCode::FORBIDDEN, text).into_response(None);
    }
    let coding = Coding::of(&parts.headers);
    let params = match read_params(&parts, body, ctx.app.read_timeout).await {
        Ok(params) => params,
        Err(error) => return Answer::from(error).into_response(None),
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
        .into_response(None);
    };
    let question = Question::new(parts.uri.path(), &params);
    let asked = Asked {
        ctx,
        parts,
        params,
        cancel,
        handler,
        question,
    };
    // What changes something may have more to do than the last time.
    if kind != Kind::Change
        && let Some(response) = asked.compute_here(coding)
    {
        return response;
    }
    let computed = tokio::task::spawn_blocking(move || {
        let _place = place;
        asked.compute(coding, None)
    });
    computed.await.unwrap_or_else(|panic| broken_off(&panic))
}

// A request that is read and has a place.
struct Asked {
    ctx: Arc<Ctx>,
    parts: Parts,
    params: Params,
    cancel: Cancel,
    handler: Handler,
    question: Question,
}

impl Asked {
    // Computes a cheap answer on the thread that read the request. `None` where the answer is not known to be cheap, or
    // proves to be dear.
    fn compute_here(&self, coding: Option<Coding>) -> Option<Response> {
        let cost = self.ctx.costs.of(self.question)?;
        if cost > CHEAP || Handle::current().runtime_flavor() != RuntimeFlavor::MultiThread {
            return None;
        }
        let until = Instant::now() + LONGEST_HERE;
        let compute = || catch_unwind(AssertUnwindSafe(|| self.compute(coding, Some(until))));
        let computed = if cost <= TINY {
            compute()
        } else {
            tokio::task::block_in_place(compute)
        };
        match computed {
            Ok(response) if response.status() == ErrorKind::Timeout.status() && Instant::now() >= until => None,
            Ok(response) => Some(response),
            Err(_) => Some(broken_off(&"it panicked")),
        }
    }

    fn compute(&self, coding: Option<Coding>, here_until: Option<Instant>) -> Response {
        let begin = Instant::now();
        let ask = Ask {
            app: &self.ctx.app,
            ctx: &self.ctx,
            path: self.parts.uri.path(),
            method: &self.parts.method,
            client: self.parts.extensions.get::<Client>().map_or("", |client| &client.0),
            headers: &self.parts.headers,
            params: &self.params,
            cancel: &self.cancel,
            here_until,
        };
        let response = (self.handler)(&ask).unwrap_or_else(Answer::from).into_response(coding);
        self.ctx.costs.note(self.question, begin.elapsed());
        response
    }
}

fn broken_off(panic: &dyn std::fmt::Display) -> Response {
    error!(error = %panic, "an answer broke off");
    let message = "the server made a mistake while answering; its log says more".to_owned();
    Answer::from(ApiError {
        kind: ErrorKind::Internal,
        message,
    })
    .into_response(None)
}

async fn read_params(parts: &Parts, body: Body, read_timeout: Duration) -> Result<Params, ApiError> {
    let query = parts.uri.query().unwrap_or("");
    // As Go's ParseForm.
    let may_have_form = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    if !may_have_form || !is_form(&parts.headers) {
        return Ok(Params::parse(query, ""));
    }
    let refused = |reason: &str| ApiError::bad_data(format!("error parsing form values: {reason}"));
    match tokio::time::timeout(read_timeout, axum::body::to_bytes(body, LARGEST_FORM)).await {
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
