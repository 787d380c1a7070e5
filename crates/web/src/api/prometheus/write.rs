//! `/api/v1/write`: remote write, 1.0 and 2.0, from other servers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use cupola_config::prometheus::RemoteWriteMessage;
use cupola_remote::{Memory, WriteError, WriteReceiver, Written, unpacked_len};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use tracing::error;

use super::pushed::Pushed;
use crate::api::json::Answer;
use crate::pages::not_ready;
use crate::router::Ctx;

// Senders send some hundred kilobytes at a time (Prometheus: 2,000 samples).
const LARGEST_BODY: usize = 32 << 20;
const LARGEST_MESSAGE: usize = 256 << 20;
// As upstream; a list of all its texts is kept while a message is read.
const LARGEST_MESSAGE_V2: usize = 32 << 20;

// Beside an unpacked message stand its samples until they are stored, which mostly take no more than twice as much. What takes more
// is given more while there is some, else it waits.
const WITH_SAMPLES: usize = 3;

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
    let message = match check_headers(&parts.headers, &ctx.app.remote_write_messages) {
        Ok(message) => message,
        Err(text) => return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text),
    };
    // A sender that is slow holds no place.
    let mut pushed = match Pushed::read(&ctx.app.pushed, body, LARGEST_BODY).await {
        Ok(pushed) => pushed,
        Err(refused) => return refused,
    };
    // What says that it is longer than one may be is refused by who unpacks it.
    let largest = largest(message);
    let unpacked = unpacked_len(&pushed.body).filter(|length| *length <= largest);
    let unpacked = unpacked.unwrap_or(0);
    let mut beside = unpacked * WITH_SAMPLES;
    let (written, result) = loop {
        if let Err(refused) = pushed.grow(beside).await {
            return refused;
        }
        // Whoever has a place waits for nobody.
        let Ok(place) = ctx.others.clone().acquire_owned().await else {
            return not_ready(&ctx);
        };
        let (shared, receiver) = (ctx.clone(), receiver.clone());
        let taken = tokio::task::spawn_blocking(move || {
            let _place = place;
            (
                take(&shared, &receiver, &mut pushed, (unpacked, beside), message),
                pushed,
            )
        });
        match taken.await {
            // It takes more than most do, and there was no more: it waits for that here. How much it is is not known by then.
            Ok(((_, Err(WriteError::NoRoom(samples))), again)) => {
                (pushed, beside) = (again, beside.max(unpacked.saturating_add(samples)).saturating_mul(2));
            }
            Ok((outcome, _)) => break outcome,
            Err(panic) => {
                error!(error = %panic, "receiving a remote write broke off");
                return plain(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the server made a mistake; its log says more",
                );
            }
        }
    };
    let mut response = match result {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(error) if error.is_ours() => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(error) => plain(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if let Some(written) = written {
        let headers = response.headers_mut();
        headers.insert(SAMPLES_WRITTEN, written.samples.into());
        headers.insert(HISTOGRAMS_WRITTEN, written.histograms.into());
        headers.insert(EXEMPLARS_WRITTEN, written.exemplars.into());
    }
    response
}

const SAMPLES_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

// How much is written is told of messages of the second version only. There is room for `beside` bytes, of which the message
// itself takes `unpacked`.
fn take(
    ctx: &Ctx,
    receiver: &WriteReceiver,
    pushed: &mut Pushed,
    (unpacked, beside): (usize, usize),
    message: RemoteWriteMessage,
) -> (Option<Written>, Result<(), WriteError>) {
    let now_ms = ctx.app.clock.now_ms();
    let (body, mut room) = pushed.split();
    let mut all = beside;
    let mut more = |bytes: usize| {
        let grown = room.try_grow(all + bytes);
        all += if grown { bytes } else { 0 };
        grown
    };
    let mut memory = Memory::new(largest(message), beside.saturating_sub(unpacked), &mut more);
    match message {
        RemoteWriteMessage::V1 => (None, receiver.write(&ctx.app.tsdb, body, &mut memory, now_ms)),
        RemoteWriteMessage::V2 => {
            let (written, result) = receiver.write_v2(&ctx.app.tsdb, body, &mut memory, now_ms);
            (Some(written), result)
        }
    }
}

fn largest(message: RemoteWriteMessage) -> usize {
    match message {
        RemoteWriteMessage::V1 => LARGEST_MESSAGE,
        RemoteWriteMessage::V2 => LARGEST_MESSAGE_V2,
    }
}

fn check_headers(headers: &HeaderMap, accepted: &[RemoteWriteMessage]) -> Result<RemoteWriteMessage, String> {
    let header = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").trim();
    // A client that names neither is taken for one of the first.
    let kind = header(CONTENT_TYPE);
    let mut parts = kind.split(';');
    if parts.next().is_some_and(|media| !media.is_empty() && media != PROTOBUF) {
        return Err(format!(
            "expected {PROTOBUF} as the first (media) part, got {kind} content-type"
        ));
    }
    let mut name = RemoteWriteMessage::V1.as_str();
    for part in parts {
        match part.trim().split_once('=') {
            Some(("proto", other)) => name = other,
            Some(_) => {}
            None => {
                return Err(format!(
                    "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, got {part} in {kind} content-type"
                ));
            }
        }
    }
    let Some(message) = accepted.iter().find(|message| message.as_str() == name) else {
        let accepted = accepted.iter().map(|message| message.as_str()).collect::<Vec<_>>();
        return Err(format!(
            "{name} protobuf message is not accepted by this server; accepted [{}]",
            accepted.join(", ")
        ));
    };
    let encoding = header(CONTENT_ENCODING);
    if encoding.is_empty() || encoding.eq_ignore_ascii_case("snappy") {
        Ok(*message)
    } else {
        Err(format!(
            "{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"
        ))
    }
}

// As Go's http.Error.
pub(super) fn plain(status: StatusCode, text: &str) -> Response {
    Answer::text(status, format!("{text}\n")).into_response(None)
}
