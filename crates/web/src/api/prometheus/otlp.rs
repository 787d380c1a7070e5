//! `/api/v1/otlp/v1/metrics`: metrics of OpenTelemetry.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use cupola_remote::{OtlpError, OtlpReceiver};
use flate2::read::MultiGzDecoder;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use tracing::error;

use super::write::plain;
use crate::pages::not_ready;
use crate::router::Ctx;

// Collectors send batches of some thousand points.
const LARGEST_BODY: usize = 32 << 20;
const LARGEST_MESSAGE: u64 = 128 << 20;
// OpenTelemetry's exporters give up after 10 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

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
        take(&ctx, body, encoding)
    });
    match written.await {
        Ok(Ok(())) => Response::new(Body::empty()),
        Ok(Err(error)) => {
            let status = match &error {
                OtlpError::Message(_) | OtlpError::Json(_) | OtlpError::Samples(_) => StatusCode::BAD_REQUEST,
                OtlpError::Translation(_) | OtlpError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            error!(%error, "receiving OTLP metrics");
            plain(status, &error.to_string())
        }
        Err(panic) => {
            error!(error = %panic, "receiving OTLP metrics broke off");
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the server made a mistake; its log says more",
            )
        }
    }
}

fn take(ctx: &Ctx, body: Bytes, encoding: Encoding) -> Result<(), OtlpError> {
    let Some(receiver) = &ctx.app.otlp else {
        return Ok(());
    };
    let mut inflated_to = Vec::new();
    let mut message = match encoding.is_gzip {
        false => &body[..],
        true => {
            let mut inflated = MultiGzDecoder::new(&body[..]).take(LARGEST_MESSAGE + 1);
            inflated
                .read_to_end(&mut inflated_to)
                .map_err(|error| OtlpError::Message(format!("gzip: {error}")))?;
            if inflated_to.len() as u64 > LARGEST_MESSAGE {
                let text = format!("the message takes more than {LARGEST_MESSAGE} bytes");
                return Err(OtlpError::Message(text));
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
    receiver.write(&ctx.app.tsdb, message, &config.otlp, ctx.app.clock.now_ms())
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
