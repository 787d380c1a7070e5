//! Connections: accepting, bounding, ending them.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::app::App;
use crate::front::{WebConfigFile, behind};
use crate::http2;
use crate::router::router;

// How long requests in flight may go on after `stop`.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
// Before the next attempt where no connection can be accepted, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
// How long a client may take for the handshake of TLS, where reading a request is not limited to less.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves `app` on all `listeners` until `stop` is cancelled; then accepts nothing more, lets requests in flight finish for
/// at most five seconds, and returns. `web` is what `--web.config.file` names. What the server tells of itself is registered
/// before this returns, and not only once it is awaited: the first scrape of itself is to find it.
///
/// # Errors
/// None at present: a connection that fails ends alone, and where accepting fails it is tried again.
pub fn serve(
    app: App,
    listeners: Vec<TcpListener>,
    web: Option<WebConfigFile>,
    stop: CancellationToken,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    let ready = app.ready.clone();
    let limits = Limits {
        connections: app.max_connections,
        read_timeout: app.read_timeout,
    };
    let router = router(app);
    async move {
        serve_router(router, limits, listeners, web, stop, move || ready.set_stopping()).await;
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

/// The address a request came from, without the port: an extension of the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client(pub Arc<str>);

// What all listeners share.
#[derive(Clone)]
struct Server {
    router: Router,
    web: Option<WebConfigFile>,
    // Of the connection that is served.
    client: Client,
    read_timeout: Duration,
    places: Arc<Semaphore>,
    connections: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
}

/// As [`serve`] with routes of the caller's choice; `stopping` is called before waiting for requests in flight.
pub(crate) async fn serve_router(
    router: Router,
    limits: Limits,
    listeners: Vec<TcpListener>,
    web: Option<WebConfigFile>,
    stop: CancellationToken,
    stopping: impl FnOnce(),
) {
    let server = Server {
        router: match &web {
            Some(file) => behind(router, file.clone()),
            None => router,
        },
        web,
        client: Client::default(),
        read_timeout: limits.read_timeout,
        places: Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS))),
        connections: TaskTracker::new(),
        stop,
        abort: CancellationToken::new(),
    };
    let mut accepting = JoinSet::new();
    for listener in listeners {
        server.tell(listener.local_addr().ok());
        accepting.spawn(server.clone().accept(listener));
    }
    while accepting.join_next().await.is_some() {}
    stopping();
    let Server { connections, abort, .. } = server;
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

impl Server {
    // In Prometheus's words.
    fn tell(&self, address: Option<SocketAddr>) {
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        let http2 = self.web.as_ref().is_some_and(WebConfigFile::is_http2);
        if self.web.as_ref().is_some_and(WebConfigFile::is_tls) {
            info!(http2, address, "TLS is enabled.");
        } else {
            info!(http2, address, "TLS is disabled.");
        }
    }

    // Until it is to stop; then nobody listens any more.
    async fn accept(self, listener: TcpListener) {
        loop {
            let stream = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match stream {
                Ok((stream, peer)) => {
                    // Only now: a listener to which nobody comes is not to hold a place that another one needs.
                    let place = tokio::select! {
                        () = self.stop.cancelled() => return,
                        place = self.places.clone().acquire_owned() => place,
                    };
                    let serving = self.clone().connection(stream, peer);
                    self.connections.spawn(async move {
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
    }

    async fn connection(mut self, stream: TcpStream, peer: SocketAddr) {
        self.client = Client(peer.ip().to_canonical().to_string().into());
        // Answers are written at once; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let tls = match &self.web {
            Some(file) => file.tls().await,
            None => None,
        };
        let Some(tls) = tls else {
            return self.http1(stream).await;
        };
        let stream = tokio::select! {
            () = self.stop.cancelled() => return,
            accepted = tokio::time::timeout(HANDSHAKE.min(self.read_timeout), tls.accept(stream)) => accepted,
        };
        match stream {
            Ok(Ok(stream)) if stream.is_http2() => {
                http2::serve(
                    stream,
                    (self.router, self.client),
                    self.read_timeout,
                    self.stop,
                    self.abort,
                )
                .await;
            }
            Ok(Ok(stream)) => self.http1(stream).await,
            Ok(Err(error)) => debug!(%peer, %error, "TLS handshake error"),
            Err(_) => debug!(%peer, error = "the client takes too long", "TLS handshake error"),
        }
    }

    async fn http1(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.read_timeout);
        let (inner, client) = (TowerToHyperService::new(self.router), self.client);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(client.clone());
            inner.call(request)
        });
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
                () = self.stop.cancelled(), if !is_ending => {
                    is_ending = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = self.abort.cancelled() => return,
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}
