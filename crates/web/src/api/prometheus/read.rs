//! `/api/v1/read`: other servers read from this one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use cupola_metrics::Gauge;
use cupola_remote::{ReadError, ReadQuestion};
use cupola_storage::StorageError;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::error;

use super::write::plain;
use crate::pages::not_ready;
use crate::router::Ctx;

// A question is a few matchers.
const LARGEST_BODY: usize = 1 << 20;
const LARGEST_MESSAGE: usize = 4 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
// However long a query may take.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
// Frames that wait for a client.
const WAITING: usize = 2;

const SAMPLES: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const CHUNKS: HeaderValue =
    HeaderValue::from_static("application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");

type Piece = Result<Bytes, ReadError>;

// A question that waits or is answered.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.add(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.add(-1.0);
    }
}

/// Answers a question with samples or with a stream of chunks. The texts are Prometheus 3.14's.
pub(super) async fn read(State(ctx): State<Arc<Ctx>>, request: Request) -> Response {
    if !ctx.app.ready.is_ready() {
        return not_ready(&ctx);
    }
    let counted = Counted::new(&ctx.telemetry.remote_reads);
    let Ok(place) = ctx.reads.clone().acquire_owned().await else {
        return not_ready(&ctx);
    };
    let body = axum::body::to_bytes(request.into_body(), LARGEST_BODY);
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return plain(StatusCode::BAD_REQUEST, &format!("the message cannot be read: {error}")),
        Err(_) => return plain(StatusCode::BAD_REQUEST, "the message did not arrive in time"),
    };
    let question = match ReadQuestion::read(&body, LARGEST_MESSAGE) {
        Ok(question) => question,
        Err(error) => return refused(&error),
    };
    let is_streamed = question.is_streamed();
    let (send, mut pieces) = mpsc::channel(WAITING);
    let is_wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let wanted = is_wanted.0.clone();
    let is_whole = Arc::new(AtomicBool::new(false));
    let whole = is_whole.clone();
    tokio::task::spawn_blocking(move || {
        whole.store(answer(&ctx, &question, &wanted, &send, place), Ordering::Release);
        drop((send, counted));
    });
    // What goes wrong before the first piece can still be told.
    let first = match pieces.recv().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => return refused(&error),
        None if is_whole.load(Ordering::Acquire) => Bytes::new(),
        None => return refused(&cut_off()),
    };
    let mut response = Response::new(Body::new(Answer {
        first: Some(first),
        pieces,
        is_whole,
        _is_wanted: is_wanted,
    }));
    let headers = response.headers_mut();
    if is_streamed {
        headers.insert(CONTENT_TYPE, CHUNKS);
    } else {
        headers.insert(CONTENT_TYPE, SAMPLES);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    }
    response
}

fn refused(error: &ReadError) -> Response {
    let status = match error {
        ReadError::Question(_) | ReadError::TooMany(_) => StatusCode::BAD_REQUEST,
        ReadError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    plain(status, &error.to_string())
}

fn cut_off() -> ReadError {
    ReadError::Storage(StorageError::Stopped)
}

// Whether all of it was handed over.
fn answer(
    ctx: &Ctx,
    question: &ReadQuestion,
    wanted: &AtomicBool,
    send: &mpsc::Sender<Piece>,
    _place: OwnedSemaphorePermit,
) -> bool {
    let app = &ctx.app;
    let until = tokio::time::Instant::now() + app.engine.options().timeout.min(LONGEST);
    let go_on = || wanted.load(Ordering::Relaxed) && tokio::time::Instant::now() < until;
    let handle = tokio::runtime::Handle::current();
    // A client that reads slowly holds this thread, but not longer than a query may take.
    let push = |piece: Piece| {
        let sent = handle.block_on(tokio::time::timeout_at(until, send.send(piece)));
        matches!(sent, Ok(Ok(())))
    };
    let external = app.config.load().external_labels.clone();
    let limits = &app.remote_read;
    let done = if question.is_streamed() {
        let mut push = |frame: Vec<u8>| push(Ok(Bytes::from(frame)));
        question.stream(&*app.storage, &external, limits.frame_bytes, &go_on, &mut push)
    } else {
        let all = question.samples(&*app.storage, &external, limits.samples, &go_on);
        all.and_then(|all| match push(Ok(Bytes::from(all))) {
            true => Ok(()),
            false => Err(cut_off()),
        })
    };
    let Err(error) = done else { return true };
    if wanted.load(Ordering::Relaxed) {
        error!(%error, "answering a remote read");
        push(Err(error));
    }
    false
}

// Tells the thread that makes an answer that nobody wants it any more.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

struct Answer {
    first: Option<Bytes>,
    pieces: mpsc::Receiver<Piece>,
    // Whether the pieces are all there are, once no more come. Nothing in a stream of chunks tells its end.
    is_whole: Arc<AtomicBool>,
    _is_wanted: Wanted,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.pieces.poll_recv(cx).map(|piece| match piece {
            Some(piece) => Some(piece.map(Frame::data)),
            // An error breaks the connection; it is told once.
            None if self.is_whole.swap(true, Ordering::AcqRel) => None,
            None => Some(Err(cut_off())),
        })
    }
}
