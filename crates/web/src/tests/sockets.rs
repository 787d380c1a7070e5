//! Real connections.

use super::*;
use crate::api::answer::{Ask, on_get};
use crate::api::json::{Answer, ApiError};
use crate::serve::{Limits, serve_router};
use cupola_config::prometheus::RemoteWriteMessage;
use cupola_engine::Stage;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const LIMITS: Limits = Limits {
    connections: 16,
    read_timeout: Duration::from_secs(300),
};

const LONGEST: Duration = Duration::from_secs(60);

struct Listening {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

async fn listen(router: Router) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve_router(router, LIMITS, vec![listener], None, stop.clone(), || {}));
    Listening { address, stop, serving }
}

async fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let server = start(|_| {});
    let Listening { address, stop, serving } = listen(server.router.clone()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        stream
            .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"Healthy.\n") {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "closed early");
        }
        assert!(seen.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    stop.cancel();
    serving.await.unwrap();
    // The idle connection was closed, and nobody listens any more.
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

static ASKED: Semaphore = Semaphore::const_new(0);
static GO_ON: Semaphore = Semaphore::const_new(0);

// An answer that comes when the test says so.
fn gated(_: &Ask<'_>) -> Result<Answer, ApiError> {
    ASKED.add_permits(1);
    let began = Instant::now();
    while GO_ON.try_acquire().is_err() && began.elapsed() < LONGEST {
        std::thread::yield_now();
    }
    Ok(Answer::json("[\"finished\"]".into()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_is_finished_when_the_server_stops() {
    let server = start(|_| {});
    let router = Router::new()
        .route("/gated", on_get(gated))
        .with_state(server.ctx.clone());
    let Listening { address, stop, serving } = listen(router).await;
    let mut stream = ask(address, "/gated").await;
    ASKED.acquire().await.unwrap().forget();
    stop.cancel();
    GO_ON.add_permits(1);
    let mut seen = Vec::new();
    stream.read_to_end(&mut seen).await.unwrap();
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.ends_with("[\"finished\"]"), "{seen}");
    serving.await.unwrap();
}

#[tokio::test]
async fn where_all_places_are_taken_a_query_waits_and_a_status_page_does_not() {
    let one = EngineOptions {
        max_concurrency: 1,
        timeout: Duration::from_millis(20),
        ..EngineOptions::default()
    };
    let server = start(|app| app.engine = Arc::new(Engine::new(one)));
    let place = server.ctx.queries.acquire().await.unwrap();
    let waited = server.get("/api/v1/query?query=1").await;
    assert_eq!(waited.status, 503);
    assert_eq!(waited.json()["errorType"], "timeout");
    assert_eq!(waited.json()["error"], "query timed out in query queue");
    assert_eq!(server.get("/api/v1/status/flags").await.status, 200);
    drop(place);
    assert_eq!(server.get("/api/v1/format_query?query=1").await.status, 200);
}

static STARTED: Semaphore = Semaphore::const_new(0);
static CANCELLED: Semaphore = Semaphore::const_new(0);

// An answer that is never ready, as a query that takes too long.
fn endless(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    STARTED.add_permits(1);
    let began = Instant::now();
    while began.elapsed() < LONGEST {
        if ask.cancel.check(Stage::Evaluation).is_err() {
            CANCELLED.add_permits(1);
            return Err(ApiError::internal("cancelled"));
        }
        std::thread::yield_now();
    }
    Err(ApiError::internal("nobody cancelled"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_stops_its_query() {
    let server = start(|_| {});
    let router = Router::new()
        .route("/endless", on_get(endless))
        .with_state(server.ctx.clone());
    let Listening { address, stop, serving } = listen(router).await;
    let stream = ask(address, "/endless").await;
    STARTED.acquire().await.unwrap().forget();
    drop(stream);
    tokio::time::timeout(LONGEST, CANCELLED.acquire())
        .await
        .expect("the query was not cancelled")
        .unwrap()
        .forget();
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serving_ends_in_not_being_ready() {
    let server = start(|_| {});
    let app = App {
        storage: server.ctx.app.storage.clone(),
        tsdb: server.ctx.app.tsdb.clone(),
        engine: server.ctx.app.engine.clone(),
        scrape: server.ctx.app.scrape.clone(),
        rules: server.ctx.app.rules.clone(),
        remote_alertmanagers: server.ctx.app.remote_alertmanagers.clone(),
        discovery: Vec::new(),
        page_title: None,
        host: None,
        clock: server.ctx.app.clock.clone(),
        config: server.ctx.app.config.clone(),
        ready: server.ctx.app.ready.clone(),
        registry: Registry::default(),
        mode: Mode::Prometheus,
        version: String::new(),
        hostname: String::new(),
        started_ms: 0,
        external_url: String::new(),
        route_prefix: String::new(),
        alertmanager: None,
        admin_api: false,
        remote_write: None,
        remote_write_messages: vec![RemoteWriteMessage::V1, RemoteWriteMessage::V2],
        otlp: None,
        pushed: BodyBudget::new("messages that are pushed", 1 << 30),
        remote_read: Default::default(),
        flags: BTreeMap::new(),
        reload: None,
        quit: None,
        cors_origin: None,
        guard_host: false,
        max_connections: 1,
        read_timeout: Duration::from_secs(300),
        max_listeners: 1,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let registry = app.registry.clone();
    let serving = crate::serve(app, vec![listener], None, stop.clone());
    // The first scrape of itself missed it while that waited for the server's task to begin.
    let families = registry.snapshot();
    assert!(families.iter().any(|family| family.name == "prometheus_build_info"));
    let serving = tokio::spawn(serving);
    let mut stream = ask(address, "/api/v1/query?query=1").await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"}") {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "closed early");
    }
    assert!(server.ctx.app.ready.is_ready());
    stop.cancel();
    serving.await.unwrap().unwrap();
    assert!(server.ctx.app.ready.is_stopping());
}

#[tokio::test]
async fn several_listeners_share_their_places() {
    let server = start(|_| {});
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        listeners.push(listener);
    }
    let stop = CancellationToken::new();
    let limits = Limits {
        connections: 2,
        ..LIMITS
    };
    let router = server.router.clone();
    let serving = tokio::spawn(serve_router(router, limits, listeners, None, stop.clone(), || {}));
    let mut seen = [0; 15];
    let mut streams = Vec::new();
    for address in addresses.clone() {
        let mut stream = ask(address, "/-/healthy").await;
        stream.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"HTTP/1.1 200 OK");
        streams.push(stream);
    }
    // The third waits until one of them ends, whichever door it came by.
    let mut third = ask(addresses[1], "/-/healthy").await;
    let waiting = tokio::time::timeout(Duration::from_millis(50), third.read_exact(&mut seen)).await;
    assert!(waiting.is_err(), "there is no place for a third");
    streams.clear();
    tokio::time::timeout(LONGEST, third.read_exact(&mut seen))
        .await
        .unwrap()
        .unwrap();
    stop.cancel();
    drop(third);
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_come_ends_its_connection() {
    let server = start(|_| {});
    let (listener, stop) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        CancellationToken::new(),
    );
    let address = listener.local_addr().unwrap();
    let limits = Limits {
        read_timeout: Duration::from_millis(50),
        ..LIMITS
    };
    let serving = tokio::spawn(serve_router(
        server.router.clone(),
        limits,
        vec![listener],
        None,
        stop.clone(),
        || {},
    ));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHo").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection is still open");
    stop.cancel();
    serving.await.unwrap();
}
