//! `/api/v1/write`: remote write 1.0 from other servers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use cupola_remote::{WriteError, WriteReceiver};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use tracing::error;

use crate::api::json::Answer;
use crate::pages::not_ready;
use crate::router::Ctx;

// Senders send some hundred kilobytes at a time (Prometheus: 2,000 samples).
const LARGEST_BODY: usize = 32 << 20;
const LARGEST_MESSAGE: usize = 256 << 20;
// Prometheus's senders give up after 30 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

const V1: &str = "prometheus.WriteRequest";
const PROTOBUF: &str = "application/x-protobuf";

/// Takes a message and answers when it is in the log. The texts are Prometheus 3.14's.
pub(super) async fn write(State(ctx): State<Arc<Ctx>>, request: Request) -> Response {
    let Some(receiver) = ctx.app.remote_write.clone() else {
        let text = "remote write receiver needs to be enabled with --web.enable-remote-write-receiver";
        return plain(StatusCode::NOT_FOUND, text);
    };
    if !ctx.app.ready.is_ready() {
        return not_ready(&ctx);
    }
    let (parts, body) = request.into_parts();
    if let Err(text) = check_headers(&parts.headers) {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text);
    }
    // A sender that is slow holds no place.
    let body = match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return plain(StatusCode::BAD_REQUEST, &format!("the message cannot be read: {error}")),
        Err(_) => return plain(StatusCode::BAD_REQUEST, "the message did not arrive in time"),
    };
    let Ok(place) = ctx.others.clone().acquire_owned().await else {
        return not_ready(&ctx);
    };
    let written = tokio::task::spawn_blocking(move || {
        let _place = place;
        take(&ctx, &receiver, &body)
    });
    match written.await {
        Ok(Ok(())) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Ok(Err(error)) if error.is_ours() => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Ok(Err(error)) => plain(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(panic) => {
            error!(error = %panic, "receiving a remote write broke off");
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the server made a mistake; its log says more",
            )
        }
    }
}

fn take(ctx: &Ctx, receiver: &WriteReceiver, body: &[u8]) -> Result<(), WriteError> {
    receiver.write(&ctx.app.tsdb, body, LARGEST_MESSAGE, ctx.app.clock.now_ms())
}

fn check_headers(headers: &HeaderMap) -> Result<(), String> {
    let header = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").trim();
    // A client that names neither is taken for one of the first.
    let kind = header(CONTENT_TYPE);
    let mut parts = kind.split(';');
    if parts.next().is_some_and(|media| !media.is_empty() && media != PROTOBUF) {
        return Err(format!(
            "expected {PROTOBUF} as the first (media) part, got {kind} content-type"
        ));
    }
    for part in parts {
        match part.trim().split_once('=') {
            Some(("proto", V1)) => {}
            Some(("proto", other)) => {
                return Err(format!(
                    "{other} protobuf message is not accepted by this server; accepted [{V1}]"
                ));
            }
            Some(_) => {}
            None => {
                return Err(format!(
                    "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, got {part} in {kind} content-type"
                ));
            }
        }
    }
    let encoding = header(CONTENT_ENCODING);
    if encoding.is_empty() || encoding.eq_ignore_ascii_case("snappy") {
        Ok(())
    } else {
        Err(format!(
            "{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"
        ))
    }
}

// As Go's http.Error.
fn plain(status: StatusCode, text: &str) -> Response {
    Answer::text(status, format!("{text}\n")).into_response(None)
}
