//! That large answers are streamed, and that what nobody waits for ends.

use super::*;
use crate::serve::{Limits, serve_router};
use cupola_storage::{SampleSource, Samples, Selection, Series, StorageError};
use flate2::read::GzDecoder;
use parking_lot::Mutex;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const LIMITS: Limits = Limits {
    connections: 16,
    read_timeout: Duration::from_secs(300),
};

// Tests end by what they wait for; this only keeps a broken one from hanging.
const LONGEST: Duration = Duration::from_secs(60);

// `x` with so many series, each with a sample every second.
struct Wide(usize);

struct EverySecond;

impl SampleSource for EverySecond {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        for second in mint.div_euclid(1000) + 1..=maxt.div_euclid(1000) {
            out.push(second * 1000, second as f64 + 0.25);
        }
        Ok(())
    }
}

impl Queryable for Wide {
    fn select(&self, _: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        let series = (0..self.0).map(|n| Series {
            labels: Labels::from_pairs([("__name__", "x"), ("n", format!("{n:05}").as_str())]),
            source: Box::new(EverySecond),
        });
        Ok(series.collect())
    }

    fn label_names(&self, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }
}

fn over(series: usize) -> Server {
    start(|app| app.storage = Arc::new(Wide(series)))
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < LONGEST, "{what}");
        tokio::task::yield_now().await;
    }
}

const LARGE: &str = "/api/v1/query_range?query=x&start=1000000&end=1002999&step=1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_is_streamed_whole_and_its_memory_given_back() {
    let server = over(100);
    let reply = server.get(LARGE).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-length"), "");
    let json = reply.json();
    assert_eq!(json["status"], "success");
    let series = json["data"]["result"].as_array().unwrap();
    assert_eq!(series.len(), 100);
    for (n, row) in series.iter().enumerate() {
        assert_eq!(row["metric"]["n"], format!("{n:05}"));
        let values = row["values"].as_array().unwrap();
        assert_eq!(values.len(), 3000);
        assert_eq!(values[2999], serde_json::json!([1_002_999, "1002999.25"]));
    }
    let packed = server.get_with(LARGE, &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut plain = Vec::new();
    GzDecoder::new(&*packed.body).read_to_end(&mut plain).unwrap();
    assert!(plain == reply.body);
    assert!(packed.body.len() < plain.len() / 4);
    let engine = &server.ctx.app.engine;
    until("the answers' memory is still reserved", || engine.status().memory == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_under_way_keeps_its_memory_reserved_until_the_client_goes_away() {
    let server = over(100);
    let request = Request::get(LARGE).body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    let engine = &server.ctx.app.engine;
    // 300,000 samples of 16 bytes.
    assert!(engine.status().memory >= 4_800_000);
    assert_eq!(engine.status().running, 0);
    drop(response);
    until("the answer's memory is still reserved", || engine.status().memory == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_ends_its_query() {
    // Minutes of work.
    let server = over(1_000_000);
    let engine = server.ctx.app.engine.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve_router(
        server.router.clone(),
        LIMITS,
        vec![listener],
        None,
        stop.clone(),
        || {},
    ));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let path = "/api/v1/query_range?query=sum(rate(x%5B5m%5D))&start=1000000&end=1010999&step=1";
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    until("the query does not run", || engine.status().running == 1).await;
    drop(stream);
    until("the query still runs", || engine.status().running == 0).await;
    assert_eq!(engine.status().memory, 0);
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_a_streamed_answer_ends_it() {
    let server = over(400);
    let engine = server.ctx.app.engine.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve_router(
        server.router.clone(),
        LIMITS,
        vec![listener],
        None,
        stop.clone(),
        || {},
    ));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {LARGE} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = [0; 1024];
    assert!(stream.read(&mut seen).await.unwrap() > 0);
    assert!(seen.starts_with(b"HTTP/1.1 200 OK\r\n"));
    drop(stream);
    until("the answer is still held", || engine.status().memory == 0).await;
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn statistics_of_each_step_are_told_where_asked_for() {
    let server = over(3);
    let path = "/api/v1/query_range?query=sum(x)&start=1000000&end=1000020&step=10";
    let samples = |reply: Reply| reply.json()["data"]["stats"]["samples"].clone();
    assert_eq!(server.get(path).await.json()["data"]["stats"], serde_json::Value::Null);
    let sums = samples(server.get(&format!("{path}&stats=1")).await);
    assert_eq!(sums["totalQueryableSamples"], 9);
    assert_eq!(sums["totalQueryableSamplesPerStep"], serde_json::Value::Null);
    // As upstream: without the feature promql-per-step-stats there are the sums.
    assert_eq!(samples(server.get(&format!("{path}&stats=all")).await), sums);
    let per_step = EngineOptions {
        per_step_stats: true,
        ..EngineOptions::default()
    };
    let server = start(|app| {
        app.storage = Arc::new(Wide(3));
        app.engine = Arc::new(Engine::new(per_step));
    });
    let all = samples(server.get(&format!("{path}&stats=all")).await);
    let expected = serde_json::json!([[1_000_000, 3], [1_000_010, 3], [1_000_020, 3]]);
    assert_eq!(all["totalQueryableSamplesPerStep"], expected);
}

#[tokio::test]
async fn a_query_over_its_memory_is_refused_and_counted() {
    let small = EngineOptions {
        max_memory: 1 << 20,
        ..EngineOptions::default()
    };
    let server = start(|app| {
        app.storage = Arc::new(Wide(100));
        app.engine = Arc::new(Engine::new(small));
    });
    let reply = server.get(LARGE).await;
    assert_eq!(reply.status, 422);
    assert_eq!(reply.json()["errorType"], "execution");
    let message = reply.json()["error"].as_str().unwrap().to_owned();
    assert!(
        message.contains("--query.max-memory") && message.contains("3,000 steps of x"),
        "{message}"
    );
    let metrics = server.get("/metrics").await.text();
    for line in [
        "cupola_engine_memory_refused_total{budget=\"query\"} 1",
        "cupola_engine_memory_refused_total{budget=\"total\"} 0",
        "cupola_engine_memory_limit_bytes{budget=\"query\"} 1.048576e+06",
        "cupola_engine_memory_bytes 0",
        "prometheus_engine_queries 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in {metrics}");
    }
}

// Answers at once; while it is slow, only when it is told to stop, which makes it quick again.
#[derive(Default)]
struct Moody {
    is_slow: AtomicBool,
    asked_by: Mutex<Vec<ThreadId>>,
}

impl Queryable for Moody {
    fn select(&self, _: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        Ok(Vec::new())
    }

    fn select_while(&self, selection: &Selection<'_>, go_on: &dyn Fn() -> bool) -> Result<Vec<Series>, StorageError> {
        self.asked_by.lock().push(std::thread::current().id());
        let began = Instant::now();
        while self.is_slow.load(Ordering::SeqCst) && began.elapsed() < LONGEST {
            if !go_on() {
                self.is_slow.store(false, Ordering::SeqCst);
            }
        }
        self.select(selection)
    }

    fn label_names(&self, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_was_cheap_and_is_not_goes_on_where_it_holds_up_nobody() {
    let storage = Arc::new(Moody::default());
    let server = start(|app| app.storage = storage.clone());
    let here = std::thread::current().id();
    // Unknown, cheap; then dear: begun here and ended elsewhere.
    for (is_slow, asked_here) in [(false, vec![false]), (false, vec![true]), (true, vec![true, false])] {
        storage.is_slow.store(is_slow, Ordering::SeqCst);
        let reply = server.get("/api/v1/query?query=x").await;
        assert_eq!(reply.json()["status"], "success");
        let asked: Vec<bool> = storage.asked_by.lock().drain(..).map(|by| by == here).collect();
        assert_eq!(asked, asked_here);
    }
}

// A sender needs twelve bytes to say that its message has a quarter of a gigabyte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_pushed_to_us_is_unpacked_only_where_there_is_memory_for_it() {
    let server = start(|app| {
        app.remote_write = Some(Arc::new(cupola_remote::WriteReceiver::new(&app.registry)));
        let options = cupola_remote::OtlpOptions {
            lookback_ms: 300_000,
            deltas: cupola_remote::OtlpDeltas::Refused,
            type_and_unit_labels: false,
        };
        app.otlp = Some(Arc::new(cupola_remote::OtlpReceiver::new(&app.registry, options)));
        app.pushed = BodyBudget::new("messages that are pushed", 1 << 20);
    });
    let post = async |path: &str, kind: &str, coding: &str, body: Vec<u8>| {
        let request = Request::post(path)
            .header("content-type", kind)
            .header("content-encoding", coding);
        server.send(request.body(Body::from(body)).unwrap()).await
    };
    let protobuf = "application/x-protobuf";
    // 2^28 as snappy begins with it, and then next to nothing.
    let claims = vec![0x80, 0x80, 0x80, 0x80, 0x01, 0, 0];
    let refused = post("/api/v1/write", protobuf, "snappy", claims).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(
        refused.text(),
        "the body takes more than 524288 bytes, half of what messages that are pushed may take together (1048576 bytes of memory)\n"
    );
    // Two megabytes of spaces, once told at the end, and once hidden behind an end that tells of two bytes.
    let gzip = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, bytes).unwrap();
        packed.finish().unwrap()
    };
    let told = gzip(&[b' '; 2 << 20]);
    let hidden = [told.clone(), gzip(b"{}")].concat();
    for body in [told, hidden] {
        let refused = post("/api/v1/otlp/v1/metrics", "application/json", "gzip", body).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains("half of what messages that are pushed"));
    }
    // What fits is taken, also where its end says less than it has, and gives its memory back.
    for parts in [
        &[&b"{\"resourceMetrics\":[]}"[..]][..],
        &[b"{\"resourceMetrics\":[]", b"}"],
    ] {
        let body = parts.iter().flat_map(|part| gzip(part)).collect();
        let taken = post("/api/v1/otlp/v1/metrics", "application/json", "gzip", body).await;
        assert_eq!(taken.status, 200, "{}", taken.text());
    }
    assert_eq!(server.ctx.app.pushed.used(), 0);
}

// A question for all that is stored of five seconds, to be answered with a stream.
fn streamed_read() -> Request<Body> {
    let matcher = [&[26, 5, 18, 1][..], b"a", &[26, 0]].concat();
    let query = [&[10, 12, 8, 0, 16, 0x88, 0x27][..], &matcher, &[16, 1]].concat();
    let body = fuzz_routes::snappy(&query);
    Request::post("/api/v1/read").body(Body::from(body)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_read_that_is_cut_at_the_query_timeout_does_not_look_whole() {
    let over = |timeout: Duration| {
        start(|app| {
            app.storage = Arc::new(Wide(20));
            app.remote_read.frame_bytes = 1;
            app.engine = Arc::new(Engine::new(EngineOptions {
                timeout,
                ..EngineOptions::default()
            }));
        })
    };
    let whole = over(LONGEST).send(streamed_read()).await;
    assert_eq!(whole.status, 200);
    let server = over(Duration::from_secs(1));
    let response = server.router.clone().oneshot(streamed_read()).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut length = body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    // The client reads on only when nobody sends any more.
    let reads = &server.ctx.telemetry.remote_reads;
    until("it is still answered", || reads.get() == 0.0).await;
    let cut = loop {
        match body.frame().await {
            Some(Ok(frame)) => length += frame.into_data().unwrap().len(),
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    assert!(length < whole.body.len());
    assert!(
        cut.is_some(),
        "{length} of {} bytes end as if they were all",
        whole.body.len()
    );
    assert!(body.frame().await.is_none());
}

// Breaks off whoever selects.
struct Broken;

impl Queryable for Broken {
    fn select(&self, _: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        panic!("a storage that makes a mistake")
    }

    fn label_names(&self, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_breaks_off_before_its_answer_is_not_answered_with_nothing() {
    let server = start(|app| app.storage = Arc::new(Broken));
    assert_eq!(server.send(streamed_read()).await.status, 500);
    // Where nothing is stored, that is an answer.
    let server = start(|app| app.storage = Arc::new(Wide(0)));
    let reply = server.send(streamed_read()).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
}
