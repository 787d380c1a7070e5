//! `/api/v1/otlp/v1/metrics`: metrics of OpenTelemetry.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use cupola_remote::OtlpError;
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

const PROTOBUF: &str = "application/x-protobuf";

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
    let is_gzip = match check_headers(&parts.headers) {
        Ok(is_gzip) => is_gzip,
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
        take(&ctx, body, is_gzip)
    });
    match written.await {
        Ok(Ok(())) => Response::new(Body::empty()),
        Ok(Err(error)) => {
            let status = match &error {
                OtlpError::Message(_) | OtlpError::Samples(_) => StatusCode::BAD_REQUEST,
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

fn take(ctx: &Ctx, body: Bytes, is_gzip: bool) -> Result<(), OtlpError> {
    let Some(receiver) = &ctx.app.otlp else {
        return Ok(());
    };
    let mut message = Vec::new();
    let message = match is_gzip {
        false => &body[..],
        true => {
            let mut inflated = MultiGzDecoder::new(&body[..]).take(LARGEST_MESSAGE + 1);
            inflated
                .read_to_end(&mut message)
                .map_err(|error| OtlpError::Message(format!("gzip: {error}")))?;
            if message.len() as u64 > LARGEST_MESSAGE {
                let text = format!("the message takes more than {LARGEST_MESSAGE} bytes");
                return Err(OtlpError::Message(text));
            }
            &message[..]
        }
    };
    let config = ctx.app.config.load();
    receiver.write(&ctx.app.tsdb, message, &config.otlp, ctx.app.clock.now_ms())
}

// Whether the body is compressed.
fn check_headers(headers: &HeaderMap) -> Result<bool, String> {
    let header = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").trim();
    let kind = header(CONTENT_TYPE);
    if kind != PROTOBUF {
        return Err(format!("unsupported content type: {kind}, supported: [{PROTOBUF}]"));
    }
    match header(CONTENT_ENCODING) {
        "" => Ok(false),
        "gzip" => Ok(true),
        other => Err(format!(
            "unsupported compression: {other}. Only \"gzip\" or no compression supported"
        )),
    }
}
