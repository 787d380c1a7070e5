//! `/api/v1/otlp/v1/metrics`: metrics of OpenTelemetry.

use std::io::Read as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use cupola_remote::{Memory, OtlpError, OtlpReceiver};
use cupola_storage::CommitError;
use flate2::read::MultiGzDecoder;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use tracing::error;

use super::pushed::Pushed;
use super::write::plain;
use crate::pages::not_ready;
use crate::router::Ctx;

// Collectors send batches of some thousand points.
const LARGEST_BODY: usize = 32 << 20;
const LARGEST_MESSAGE: usize = 128 << 20;
// For a message whose end says less than it has, because it is packed in parts.
const LEAST_ROOM: usize = 64 << 10;

// What is made of points is given so much from the start; what takes more is given more while there is some, else it waits.
const SOME_POINTS: usize = 1 << 20;

// JSON is some times as long as what it says, and what is made of it may be some times as long again.
const LARGEST_JSON: usize = 32 << 20;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

// How the body is written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Encoding {
    is_gzip: bool,
    is_json: bool,
}

/// Takes a message and answers when it is in the log. The texts are Prometheus 3.14's.
pub(super) async fn metrics(State(ctx): State<Arc<Ctx>>, request: Request) -> Response {
    if ctx.app.otlp.is_none() {
        let text = "otlp write receiver needs to be enabled with --web.enable-otlp-receiver";
        return plain(StatusCode::NOT_FOUND, text);
    }
    if !ctx.app.ready.is_ready() {
        return not_ready(&ctx);
    }
    let (parts, body) = request.into_parts();
    let encoding = match check_headers(&parts.headers) {
        Ok(encoding) => encoding,
        Err(text) => return plain(StatusCode::BAD_REQUEST, &text),
    };
    // A sender that is slow holds no place.
    let mut pushed = match Pushed::read(&ctx.app.pushed, body, LARGEST_BODY).await {
        Ok(pushed) => pushed,
        Err(refused) => return refused,
    };
    let mut inflated = if encoding.is_gzip {
        inflated_len(&pushed.body)
    } else {
        0
    };
    let mut points = 0_usize;
    let written = loop {
        // What is made of JSON is about as long once more.
        let read = if encoding.is_gzip { inflated } else { pushed.body.len() };
        let made = if encoding.is_json { read.min(LARGEST_JSON) } else { 0 };
        // Points mostly take less than what they were told in.
        let beside = points.max(read.min(SOME_POINTS));
        if let Err(refused) = pushed.grow(inflated + made + beside).await {
            return refused;
        }
        // Whoever has a place waits for nobody.
        let Ok(place) = ctx.others.clone().acquire_owned().await else {
            return not_ready(&ctx);
        };
        let shared = ctx.clone();
        let taken = tokio::task::spawn_blocking(move || {
            let _place = place;
            let room = (inflated + made + beside, beside);
            (take(&shared, &mut pushed, encoding, inflated, room), pushed)
        });
        match taken.await {
            // It is longer than it said.
            Ok((Ok(Taken::Longer), again)) if inflated < LARGEST_MESSAGE => {
                (pushed, inflated) = (again, (inflated * 8).clamp(LEAST_ROOM, LARGEST_MESSAGE));
            }
            // Its points take more than there was, how much is not known by then: it waits for that here.
            Ok((Err(OtlpError::NoRoom(bytes)), again)) => {
                (pushed, points) = (again, beside.max(bytes).saturating_mul(2));
            }
            Ok((result, _)) => break result,
            Err(panic) => {
                error!(error = %panic, "receiving OTLP metrics broke off");
                return plain(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the server made a mistake; its log says more",
                );
            }
        }
    };
    match written {
        Ok(Taken::All) => Response::new(Body::empty()),
        Ok(Taken::Longer) => {
            let text = format!("the message takes more than {LARGEST_MESSAGE} bytes");
            plain(StatusCode::BAD_REQUEST, &text)
        }
        Err(error) => {
            let status = match &error {
                OtlpError::Message(_) | OtlpError::Json(_) | OtlpError::Samples(_) => StatusCode::BAD_REQUEST,
                OtlpError::Storage(CommitError::TooLong(_)) => StatusCode::BAD_REQUEST,
                // Upstream says 500, which OTLP's exporters take for the end of the message; of 503 they try it again.
                OtlpError::Storage(_) | OtlpError::NoRoom(_) => StatusCode::SERVICE_UNAVAILABLE,
                OtlpError::Translation(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            error!(%error, "receiving OTLP metrics");
            plain(status, &error.to_string())
        }
    }
}

enum Taken {
    All,
    // Nothing: inflated it is longer than it may be.
    Longer,
}

// What gzip says at its end: how long what was packed last is.
fn inflated_len(packed: &[u8]) -> usize {
    let said = packed.last_chunk().map_or(0, |end| u32::from_le_bytes(*end));
    usize::try_from(said).map_or(LARGEST_MESSAGE, |said| said.min(LARGEST_MESSAGE))
}

// There is room for `all` bytes beside the message, of which `points` are for what is made of it.
fn take(
    ctx: &Ctx,
    pushed: &mut Pushed,
    encoding: Encoding,
    largest: usize,
    (mut all, points): (usize, usize),
) -> Result<Taken, OtlpError> {
    let Some(receiver) = &ctx.app.otlp else {
        return Ok(Taken::All);
    };
    let (body, mut room) = pushed.split();
    let mut inflated_to = Vec::new();
    let mut message = match encoding.is_gzip {
        false => body,
        true => {
            let mut inflated = MultiGzDecoder::new(body).take(largest as u64 + 1);
            inflated
                .read_to_end(&mut inflated_to)
                .map_err(|error| OtlpError::Message(format!("gzip: {error}")))?;
            if inflated_to.len() > largest {
                return Ok(Taken::Longer);
            }
            &inflated_to[..]
        }
    };
    let made;
    if encoding.is_json {
        if message.len() > LARGEST_JSON {
            let text = format!("the message takes more than {LARGEST_JSON} bytes");
            return Err(OtlpError::Json(text));
        }
        made = OtlpReceiver::from_json(message)?;
        message = &made;
    }
    let config = ctx.app.config.load();
    let mut more = |bytes: usize| {
        let grown = room.try_grow(all + bytes);
        all += if grown { bytes } else { 0 };
        grown
    };
    let mut memory = Memory::new(LARGEST_MESSAGE, points, &mut more);
    let now_ms = ctx.app.clock.now_ms();
    receiver.write(&ctx.app.tsdb, message, &config.otlp, &mut memory, now_ms)?;
    Ok(Taken::All)
}

fn check_headers(headers: &HeaderMap) -> Result<Encoding, String> {
    let header = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").trim();
    let kind = header(CONTENT_TYPE);
    let is_json = match kind.split(';').next().unwrap_or_default().trim() {
        PROTOBUF => false,
        JSON => true,
        _ => {
            return Err(format!(
                "unsupported content type: {kind}, supported: [{JSON}, {PROTOBUF}]"
            ));
        }
    };
    let is_gzip = match header(CONTENT_ENCODING) {
        "" => false,
        "gzip" => true,
        other => {
            return Err(format!(
                "unsupported compression: {other}. Only \"gzip\" or no compression supported"
            ));
        }
    };
    Ok(Encoding { is_gzip, is_json })
}
