//! Connections: accepting, bounding, ending them.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::app::App;
use crate::router::router;

// How long requests in flight may go on after `stop`.
const GRACE: Duration = Duration::from_secs(5);
// Before the next attempt where no connection can be accepted, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Serves `app` on `listener` until `stop` is cancelled; then accepts nothing more, lets requests in flight finish for
/// at most five seconds, and returns. What the server tells of itself is registered before this returns, and not only once
/// it is awaited: the first scrape of itself is to find it.
///
/// # Errors
/// None at present: a connection that fails ends alone, and where accepting fails it is tried again.
pub fn serve(
    app: App,
    listener: TcpListener,
    stop: CancellationToken,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    let ready = app.ready.clone();
    let limits = Limits {
        connections: app.max_connections,
        read_timeout: app.read_timeout,
    };
    let router = router(app);
    async move {
        serve_router(router, limits, listener, stop, move || ready.set_stopping()).await;
        Ok(())
    }
}

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How many there may be at once.
    pub connections: usize,
    /// The longest wait for a request's head, also on an idle connection.
    pub read_timeout: Duration,
}

/// As [`serve`] with routes of the caller's choice; `stopping` is called before waiting for requests in flight.
pub(crate) async fn serve_router(
    router: Router,
    limits: Limits,
    listener: TcpListener,
    stop: CancellationToken,
    stopping: impl FnOnce(),
) {
    let places = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let abort = CancellationToken::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match stream {
            Ok((stream, _)) => {
                let serving = connection(stream, router.clone(), limits.read_timeout, stop.clone(), abort.clone());
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) if is_of_the_peer(&error) => debug!(%error, "a connection ended before it was accepted"),
            Err(error) => {
                warn!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    stopping();
    drop(listener);
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        info!(
            connections = connections.len(),
            "ending connections whose requests take too long"
        );
        abort.cancel();
        connections.wait().await;
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

async fn connection(
    stream: TcpStream,
    router: Router,
    read_timeout: Duration,
    stop: CancellationToken,
    abort: CancellationToken,
) {
    // Answers are written at once; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(read_timeout);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
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
            () = abort.cancelled() => return,
        }
    }
}
