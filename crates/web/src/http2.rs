//! Connections that speak HTTP/2, which is agreed on in the handshake of TLS.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::serve::{Client, GRACE};

// How many requests of one connection are answered at once; RFC 9113 asks for no fewer.
const MOST_STREAMS: u32 = 100;
const MOST_HEADER_BYTES: u32 = 64 << 10;
// How often a client is asked whether it is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves one connection until the client has gone, nothing was asked for `read_timeout`, or `stop` is cancelled.
pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    (router, client): (Router, Client),
    read_timeout: Duration,
    stop: CancellationToken,
    abort: CancellationToken,
) {
    let activity = Activity::default();
    let inner = TowerToHyperService::new(router);
    let begins = activity.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client.clone());
        let busy = begins.begin();
        let answering = inner.call(with_host(request));
        async move {
            let (parts, body) = answering.await?.into_parts();
            let body = Body::new(Busy { body, _busy: busy });
            Ok::<_, Infallible>(Response::from_parts(parts, body))
        }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(MOST_HEADER_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut is_ending = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "a connection ended early");
                }
                return;
            }
            () = stop.cancelled(), if !is_ending => {
                is_ending = true;
                serving.as_mut().graceful_shutdown();
            }
            () = activity.idle(read_timeout), if !is_ending => {
                is_ending = true;
                serving.as_mut().graceful_shutdown();
            }
            // Who does not take leave is left.
            () = activity.idle(GRACE), if is_ending => return,
            () = abort.cancelled() => return,
        }
    }
}

// The host, where HTTP/1.1 has it: what looks at it finds it with both.
fn with_host(mut request: Request<Incoming>) -> Request<Incoming> {
    if !request.headers().contains_key(HOST)
        && let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    request
}

// What goes on in a connection.
#[derive(Clone)]
struct Activity(Arc<Mutex<State>>);

struct State {
    in_flight: usize,
    // When the last request began or ended.
    changed: Instant,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            in_flight: 0,
            changed: Instant::now(),
        })))
    }
}

impl Activity {
    fn begin(&self) -> InFlight {
        let mut state = self.0.lock();
        state.in_flight += 1;
        state.changed = Instant::now();
        InFlight(self.clone())
    }

    /// Returns once nothing has been asked or answered for `limit`.
    async fn idle(&self, limit: Duration) {
        loop {
            let wait = {
                let state = self.0.lock();
                let quiet = state.changed.elapsed();
                match state.in_flight {
                    0 if quiet >= limit => return,
                    0 => limit - quiet,
                    _ => limit,
                }
            };
            tokio::time::sleep(wait).await;
        }
    }
}

// One request, until its answer is sent or dropped.
struct InFlight(Activity);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.in_flight -= 1;
        state.changed = Instant::now();
    }
}

// An answer's body that knows its request.
struct Busy {
    body: Body,
    _busy: InFlight,
}

impl HttpBody for Busy {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::Request as Asked;
    use axum::routing::get;
    use hyper::client::conn::http2 as client;

    const LONGEST: Duration = Duration::from_secs(60);

    // A client that has nothing to say, or only the beginning, holds a place of the server's.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_nothing_is_left() {
        for said in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
            let (mut theirs, ours) = tokio::io::duplex(64 << 10);
            let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
            let serving = serve(
                ours,
                (Router::new(), Client::default()),
                Duration::from_millis(20),
                stop,
                abort,
            );
            tokio::io::AsyncWriteExt::write_all(&mut theirs, said).await.unwrap();
            tokio::time::timeout(LONGEST, serving)
                .await
                .expect("the connection is still served");
        }
    }

    #[tokio::test]
    async fn the_host_is_found_where_http1_has_it() {
        let host = async |request: Asked| format!("{:?}", request.headers().get(HOST));
        let router = Router::new().route("/", get(host));
        let (theirs, ours) = tokio::io::duplex(64 << 10);
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let serving = tokio::spawn(serve(ours, (router, Client::default()), LONGEST, stop.clone(), abort));
        let (mut sender, connection) = client::handshake(TokioExecutor::new(), TokioIo::new(theirs))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::get("https://cupola.example:9090/")
            .body(Body::empty())
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let body = http_body_util::BodyExt::collect(answer.into_body())
            .await
            .unwrap()
            .to_bytes();
        assert_eq!(&body[..], b"Some(\"cupola.example:9090\")");
        // Who is told to stop takes leave, and the client with it.
        stop.cancel();
        tokio::time::timeout(LONGEST, serving)
            .await
            .expect("it does not stop")
            .unwrap();
        assert!(sender.ready().await.is_err(), "the connection is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_without_requests() {
        let activity = Activity::default();
        let first = activity.begin();
        let second = activity.begin();
        drop(first);
        let limit = Duration::from_millis(1);
        let idle = || tokio::time::timeout(Duration::from_millis(20), activity.idle(limit));
        assert!(idle().await.is_err(), "an answer is on its way");
        drop(second);
        tokio::time::timeout(Duration::from_secs(60), activity.idle(limit))
            .await
            .expect("nothing goes on");
    }
}
