//! Alertmanager's API v2 (0.34), beside Prometheus's or as a server of its own.

mod ask;
mod own;
mod pages;
mod posted;
mod refusal;
mod server;
mod write;

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use cupola_alert::{Alertmanager, SilenceError, SilenceState};
use cupola_config::matchers::MatcherMode;
use cupola_net::{BodyBudget, Room};
use http::header::{ALLOW, CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri};
use tokio::sync::Semaphore;

use crate::api::json::{Answer, write_list, write_str};
use crate::api::pack::Coding;
use crate::api::params::Params;
use refusal::Refusal;

#[cfg(test)]
pub(crate) use write::event as write_event;

pub use server::{AlertmanagerApp, alertmanager_router, serve_alertmanager};

/// The Alertmanager whose API this is.
pub const ALERTMANAGER_VERSION: &str = "0.34.0";

// What one request may bring.
const LARGEST_BODY: usize = 64 << 20;
// What all of them may bring together, until they are handled.
const ALL_BODIES: usize = 256 << 20;
// In which it must have come, so that one that never does holds no connection for ever.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
// Of events in one answer, unless the request says otherwise, and at most.
const SOME_EVENTS: usize = 1_000;
const MOST_EVENTS: usize = 20_000;

/// What the handlers have at hand.
pub(crate) struct V2 {
    pub manager: Alertmanager,
    /// Cupola's version.
    pub version: String,
    pub started_ms: i64,
    pub matcher_mode: MatcherMode,
    /// How long a GET may take; zero is no limit.
    pub timeout: Duration,
    /// How many GETs are answered at once; further ones are refused.
    pub gets: usize,
    places: Arc<Semaphore>,
    bodies: BodyBudget,
}

impl V2 {
    pub(crate) fn new(manager: Alertmanager, version: String, started_ms: i64) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            manager,
            version,
            started_ms,
            matcher_mode: MatcherMode::Fallback,
            timeout: Duration::ZERO,
            gets: 0,
            places: Arc::new(Semaphore::new(0)),
            bodies: BodyBudget::new("posted bodies", ALL_BODIES),
        }
        .with_gets(cores.max(8))
    }

    pub(crate) fn with_gets(mut self, gets: usize) -> Self {
        self.gets = gets.min(Semaphore::MAX_PERMITS);
        self.places = Arc::new(Semaphore::new(self.gets));
        self
    }
}

/// All of `/api/v2`.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(v2: Arc<V2>) -> Router<S> {
    let on_alerts = || on_get(alerts).post(post_alerts).fallback(only("GET,POST"));
    let on_silences = || on_get(silences).post(post_silence).fallback(only("GET,POST"));
    // A slash behind the address changes nothing, as with upstream's generated server.
    let slashed = [
        ("/api/v2/status/", on_get(status)),
        ("/api/v2/receivers/", on_get(receivers)),
        ("/api/v2/alerts/", on_alerts()),
        ("/api/v2/alerts/groups/", on_get(groups)),
        ("/api/v2/silences/", on_silences()),
    ];
    let slashed = slashed
        .into_iter()
        .fold(Router::new(), |router, (path, on)| Router::route(router, path, on));
    slashed
        .route("/api/v2/status", on_get(status))
        .route("/api/v2/receivers", on_get(receivers))
        .route("/api/v2/alerts", on_alerts())
        .route("/api/v2/alerts/groups", on_get(groups))
        .route("/api/v2/silences", on_silences())
        .route(
            "/api/v2/silence/{id}",
            get(get_silence).delete(delete_silence).fallback(only("GET,DELETE")),
        )
        .route("/api/v2/history", on_get(history))
        .route("/api/v2/receivers/test", post(test_receiver).fallback(only("POST")))
        .merge(own::routes())
        .route("/api/v2/{*rest}", any(nothing))
        .with_state(v2)
}

type Handler = fn(&V2, &Params) -> Result<Answer, Refusal>;

fn on_get(handler: Handler) -> MethodRouter<Arc<V2>> {
    let run = move |State(v2): State<Arc<V2>>, uri: Uri, headers: HeaderMap| read(v2, uri, headers, handler);
    get(run).fallback(only("GET"))
}

fn only(allowed: &'static str) -> impl Fn(Method) -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    move |method| {
        let message = format!("method {method} is not allowed, but [{allowed}] are");
        let mut response = Refusal::schema(405, message).into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        std::future::ready(response)
    }
}

async fn nothing(uri: Uri) -> Response {
    Refusal::schema(404, format!("path {} was not found", uri.path())).into_response()
}

// Answers a GET on the blocking pool: listing thousands of alerts is work.
async fn read(v2: Arc<V2>, uri: Uri, headers: HeaderMap, handler: Handler) -> Response {
    let Ok(place) = v2.places.clone().try_acquire_owned() else {
        let text = format!(
            "Limit of concurrent GET requests reached ({}), try again later.\n",
            v2.gets
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let params = Params::parse(uri.query().unwrap_or(""), "");
    let coding = Coding::of(&headers);
    let timeout = v2.timeout;
    let computed = tokio::task::spawn_blocking(move || {
        let _place = place;
        match handler(&v2, &params) {
            Ok(answer) => answer.into_response(coding),
            Err(refusal) => refusal.into_response(),
        }
    });
    if timeout.is_zero() {
        return finished(computed.await);
    }
    match tokio::time::timeout(timeout, computed).await {
        Ok(computed) => finished(computed),
        Err(_) => {
            let text = format!("Exceeded configured timeout of {timeout:?}.\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

fn finished(computed: Result<Response, tokio::task::JoinError>) -> Response {
    computed.unwrap_or_else(|panic| {
        tracing::error!(error = %panic, "an answer broke off");
        let text = "the server made a mistake while answering; its log says more".to_owned();
        Refusal::Text(StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    })
}

fn status(v2: &V2, _: &Params) -> Result<Answer, Refusal> {
    let mut out = String::from("{\"cluster\":");
    write::cluster(&mut out, v2.manager.cluster().as_ref());
    out.push_str(",\"config\":{\"original\":");
    write_str(&mut out, &v2.manager.config_yaml());
    out.push_str("},\"uptime\":");
    write::time(&mut out, v2.started_ms);
    out.push_str(
        ",\"versionInfo\":{\"branch\":\"\",\"buildDate\":\"\",\"buildUser\":\"\",\"goVersion\":\"\",\"revision\":",
    );
    write_str(&mut out, &format!("cupola-{}", v2.version));
    out.push_str(",\"version\":");
    write_str(&mut out, ALERTMANAGER_VERSION);
    out.push_str("}}");
    Ok(Answer::json(out))
}

fn receivers(v2: &V2, params: &Params) -> Result<Answer, Refusal> {
    let matchers = ask::matchers(params, "receiver_matchers", v2.matcher_mode)?;
    let mut out = String::new();
    write_list(
        &mut out,
        &v2.manager.labelled_receivers(&matchers),
        |out, (name, labels)| {
            write::receiver(out, name, labels);
        },
    );
    Ok(Answer::json(out))
}

fn alerts(v2: &V2, params: &Params) -> Result<Answer, Refusal> {
    let filter = ask::filter(params, v2.matcher_mode)?;
    Ok(write::list(v2.manager.alert_statuses(&filter), write::alert))
}

fn groups(v2: &V2, params: &Params) -> Result<Answer, Refusal> {
    let filter = ask::filter(params, v2.matcher_mode)?;
    Ok(write::list(v2.manager.group_statuses(&filter), write::group))
}

fn silences(v2: &V2, params: &Params) -> Result<Answer, Refusal> {
    let matchers = ask::matchers(params, "filter", v2.matcher_mode)?;
    let is_wanted = |state: SilenceState| ask::switch(params, state.as_str());
    let now = v2.manager.now_ms();
    let all = v2.manager.silences(&matchers);
    let mut out = String::new();
    let wanted = all.iter().filter(|silence| is_wanted(silence.state(now)));
    write_list(&mut out, wanted, |out, silence| write::silence(out, silence, now));
    Ok(Answer::json(out))
}

fn history(v2: &V2, params: &Params) -> Result<Answer, Refusal> {
    let matchers = ask::matchers(params, "filter", v2.matcher_mode)?;
    let limit = limit(params, SOME_EVENTS)?;
    let events = v2.manager.events(&matchers, limit.min(MOST_EVENTS));
    Ok(write::list(events, write::event))
}

// How many are wanted.
fn limit(params: &Params, some: usize) -> Result<usize, Refusal> {
    match params.get("limit") {
        "" => Ok(some),
        text => text.parse().map_err(|_| {
            Refusal::schema(
                601,
                format!("limit in query must be of type int64: {}", cupola_model::go_quote(text)),
            )
        }),
    }
}

fn checked_id(id: &str) -> Result<(), Refusal> {
    if ask::is_uuid(id) {
        return Ok(());
    }
    let message = format!("silenceID in path must be of type uuid: {}", cupola_model::go_quote(id));
    Err(Refusal::schema(601, message))
}

async fn get_silence(State(v2): State<Arc<V2>>, Path(id): Path<String>) -> Response {
    if let Err(refusal) = checked_id(&id) {
        return refusal.into_response();
    }
    let Some(silence) = v2.manager.silence(&id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut out = String::new();
    write::silence(&mut out, &silence, v2.manager.now_ms());
    Answer::json(out).into_response(None)
}

async fn delete_silence(State(v2): State<Arc<V2>>, Path(id): Path<String>) -> Response {
    if let Err(refusal) = checked_id(&id) {
        return refusal.into_response();
    }
    let done = tokio::task::spawn_blocking(move || match v2.manager.expire_silence(&id) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(SilenceError::NotFound) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => Refusal::Text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    });
    finished(done.await)
}

async fn post_silence(State(v2): State<Arc<V2>>, request: Request) -> Response {
    changed(v2, request, "silence", |v2, body| {
        let request = posted::silence(body, v2.manager.now_ms())?;
        match v2.manager.set_silence(request) {
            Ok(id) => {
                let mut out = String::from("{\"silenceID\":");
                write_str(&mut out, &id);
                out.push('}');
                Ok(Answer::json(out).into_response(None))
            }
            Err(error) => {
                let status = match error {
                    SilenceError::NotFound => StatusCode::NOT_FOUND,
                    SilenceError::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
                    _ => StatusCode::BAD_REQUEST,
                };
                Err(Refusal::Text(status, error.to_string()))
            }
        }
    })
    .await
}

// Ours: sends a test message to a receiver and says what became of it.
async fn test_receiver(State(v2): State<Arc<V2>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let read = body_of(&v2.bodies, &parts, body, "test").await;
    let read = read.and_then(|(body, _room)| posted::receiver_test(&body, v2.matcher_mode == MatcherMode::Classic));
    let (receiver, saying) = match read {
        Ok(read) => read,
        Err(refusal) => return refusal.into_response(),
    };
    let Some(tested) = v2.manager.test_receiver(&receiver, saying).await else {
        let text = format!("there is no receiver {}", cupola_model::go_quote(&receiver));
        return Refusal::Text(StatusCode::NOT_FOUND, text).into_response();
    };
    let mut out = String::new();
    write_list(&mut out, &tested, write::tested);
    Answer::json(out).into_response(None)
}

async fn post_alerts(State(v2): State<Arc<V2>>, request: Request) -> Response {
    changed(v2, request, "alerts", |v2, body| {
        let legacy_names = v2.matcher_mode == MatcherMode::Classic;
        let posted = posted::alerts(body, v2.manager.now_ms(), legacy_names)?;
        v2.manager.receive(&posted.alerts, posted.refused.len());
        if posted.refused.is_empty() {
            return Ok(StatusCode::OK.into_response());
        }
        Err(Refusal::Text(StatusCode::BAD_REQUEST, posted.refused.join("; ")))
    })
    .await
}

// Reads a body of JSON and handles it on the blocking pool: what it changes is written to disk.
async fn changed(
    v2: Arc<V2>,
    request: Request,
    what: &'static str,
    handle: fn(&V2, &[u8]) -> Result<Response, Refusal>,
) -> Response {
    let (parts, body) = request.into_parts();
    let (body, room) = match body_of(&v2.bodies, &parts, body, what).await {
        Ok(body) => body,
        Err(refusal) => return refusal.into_response(),
    };
    let done = tokio::task::spawn_blocking(move || {
        let _room = room;
        handle(&v2, &body).unwrap_or_else(IntoResponse::into_response)
    });
    finished(done.await)
}

// The body, and its part of the memory that all of them share.
async fn body_of(budget: &BodyBudget, parts: &Parts, mut body: Body, what: &str) -> Result<(Vec<u8>, Room), Refusal> {
    if body.is_end_stream() {
        return Err(Refusal::schema(602, format!("{what} in body is required")));
    }
    let given = parts.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let given = given.unwrap_or("application/octet-stream");
    let kind = given.split(';').next().unwrap_or("").trim();
    // Whoever sends something else may be a page of another site, which a browser lets send only that.
    if !kind.eq_ignore_ascii_case("application/json") {
        let quoted = cupola_model::go_quote(kind);
        let message = format!("unsupported media type {quoted}, only [application/json] are allowed");
        return Err(Refusal::schema(415, message));
    }
    let reading = async {
        let (mut all, mut room) = (Vec::new(), budget.room());
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else {
                continue;
            };
            let length = all.len() + data.len();
            if length > LARGEST_BODY {
                return Err(format!("it has more than {LARGEST_BODY} bytes"));
            }
            room.grow(length).await.map_err(|error| error.to_string())?;
            all.extend_from_slice(&data);
        }
        Ok((all, room))
    };
    let reason = match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(read)) => return Ok(read),
        Ok(Err(reason)) => reason,
        Err(_) => format!("it did not come within {BODY_TIMEOUT:?}, or others took all memory for bodies"),
    };
    let message = format!("parsing {what} body from \"\" failed, because {reason}");
    Err(Refusal::schema(400, message))
}
