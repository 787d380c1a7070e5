//! HTTP over a Unix socket, as a daemon on the same machine is asked.

use std::path::Path;
use std::pin::pin;

use http::header::{HOST, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::{NetError, Request, Response};

/// Sends one request over a connection of its own to the socket and reads the whole answer, as it came. Of the URL only
/// path and query count; nothing is inflated and no redirect is followed. Any status is an answer.
///
/// # Errors
/// [`NetError`]; [`NetError::Connect`] names the socket.
pub async fn send_to_socket(socket: &Path, request: &Request<'_>) -> Result<Response, NetError> {
    let answer = tokio::time::timeout(request.timeout, exchange(socket, request)).await;
    answer.unwrap_or(Err(NetError::Timeout(request.timeout)))
}

async fn exchange(socket: &Path, request: &Request<'_>) -> Result<Response, NetError> {
    let stream = UnixStream::connect(socket).await.map_err(|source| NetError::Connect {
        address: socket.display().to_string(),
        source,
    })?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(NetError::Http)?;
    // Ends by itself when the sender is dropped; what goes wrong in it the request reports.
    tokio::spawn(driver);
    let path = request.url.path_and_query().map_or("/", |p| p.as_str());
    let mut out = http::Request::builder()
        .method(request.method.clone())
        .uri(path)
        .body(Full::new(request.body.clone()))
        .map_err(|_| NetError::Url {
            url: request.url.to_string(),
            reason: "cannot be written as a request",
        })?;
    *out.headers_mut() = request.headers.clone();
    out.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    let (parts, body) = sender.send_request(out).await.map_err(NetError::Http)?.into_parts();
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(NetError::Http)?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > request.max_body {
            return Err(NetError::BodyLimit {
                limit: request.max_body,
            });
        }
        bytes.extend_from_slice(data);
    }
    Ok(Response {
        status: parts.status,
        headers: parts.headers,
        wire_bytes: bytes.len(),
        body: bytes,
    })
}
