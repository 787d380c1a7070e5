//! A receiver that is away for a day, with blocks, checkpoints and restarts meanwhile, and one that fails now and then.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cupola_config::parse_prometheus;
use cupola_env::{ManualClock, RealFs};
use cupola_metrics::{Registry, SeriesValue};
use cupola_model::Labels;
use cupola_remote::{Memory, RemoteWriter, Sources, WriteReceiver};
use cupola_storage::{Appendable as _, Queryable as _, Samples, Selection};
use cupola_tsdb::{Options, Tsdb};
use parking_lot::Mutex;

const MINUTE: i64 = 60_000;

type Stored = BTreeMap<Labels, Vec<(i64, u64)>>;

fn open(dir: &Path, clock: &Arc<ManualClock>, hold_log: bool) -> Tsdb {
    let mut options = Options::new(dir.to_path_buf());
    options.retention_ms = 0;
    options.hold_log = hold_log;
    Tsdb::open(options, clock.clone(), Arc::new(RealFs), &Registry::default()).unwrap()
}

fn dump(tsdb: &Tsdb) -> Stored {
    let all = Selection {
        matchers: &[],
        mint: i64::MIN,
        maxt: i64::MAX,
    };
    let mut out = Stored::new();
    for series in tsdb.select(&all).unwrap() {
        let mut samples = Samples::default();
        series.source.read(i64::MIN, i64::MAX, &mut samples).unwrap();
        let bits = samples.values.iter().map(|value| value.to_bits());
        out.insert(series.labels, samples.ts.iter().copied().zip(bits).collect());
    }
    out
}

// Series that stay, and each hour one that is there for that hour only.
fn scrape(tsdb: &Tsdb, minute: i64) {
    let mut appender = tsdb.appender();
    let hour = minute / 60;
    for (name, value) in (0..10)
        .map(|n| (format!("stays_{n}"), minute * n))
        .chain([(format!("short_{hour}"), minute)])
    {
        let labels = Labels::from_pairs([("__name__", name.as_str()), ("job", "j")]);
        appender.append(None, &labels, minute * MINUTE, value as f64).unwrap();
    }
    appender.commit().unwrap();
}

/// Answers what `answer` makes of each body.
struct Receiver {
    address: SocketAddr,
}

impl Receiver {
    fn start(answer: impl Fn(&[u8]) -> u16 + Send + Sync + 'static) -> Self {
        Self::telling(move |body| told(answer(body), "", ""))
    }

    // The same with whole answers; behind one that says so the connection is closed.
    fn telling(answer: impl Fn(&[u8]) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answer = answer.clone();
                std::thread::spawn(move || while serve(&stream, &*answer).is_some() {});
            }
        });
        Self { address }
    }
}

fn told(status: u16, header: &str, text: &str) -> String {
    format!(
        "HTTP/1.1 {status} Told\r\n{header}Content-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

fn serve(mut stream: &TcpStream, answer: &dyn Fn(&[u8]) -> String) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    let answer = answer(&body);
    stream.write_all(answer.as_bytes()).ok()?;
    (!answer.contains("Connection: close")).then_some(())
}

fn writer(
    tsdb: &Tsdb,
    dir: &Path,
    clock: &Arc<ManualClock>,
    address: SocketAddr,
    shards: &str,
) -> (RemoteWriter, Registry) {
    let queue =
        format!("{shards}, max_samples_per_send: 50, capacity: 100, batch_send_deadline: 20ms, max_backoff: 50ms");
    writer_with(tsdb, dir, clock, address, &queue)
}

fn writer_with(
    tsdb: &Tsdb,
    dir: &Path,
    clock: &Arc<ManualClock>,
    address: SocketAddr,
    queue: &str,
) -> (RemoteWriter, Registry) {
    let sources = Sources {
        log: Arc::new(tsdb.clone()),
        storage: Arc::new(tsdb.clone()),
        clock: clock.clone(),
        vfs: Arc::new(RealFs),
        dir: dir.to_path_buf(),
    };
    let yaml = format!(
        "remote_write:\n- url: http://{address}/write\n  name: r\n  metadata_config: {{send: false}}\n  \
         queue_config: {{{queue}}}\n"
    );
    let configs = parse_prometheus(&yaml, Path::new("p.yml")).unwrap().remote_write;
    let registry = Registry::default();
    let writer = RemoteWriter::new(sources, &registry);
    writer.apply(&configs, &Labels::empty());
    (writer, registry)
}

// What `prometheus_remote_storage_...` is.
fn number(registry: &Registry, name: &str) -> f64 {
    let families = registry.snapshot();
    let name = format!("prometheus_remote_storage_{name}");
    let family = families.iter().find(|family| family.name == name).unwrap();
    family
        .series
        .iter()
        .map(|(_, value)| match value {
            SeriesValue::Number(value) | SeriesValue::Counted { value, .. } => *value,
            other => panic!("{name} is no number: {other:?}"),
        })
        .sum()
}

async fn eventually(what: &str, probe: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !probe() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_without_the_receiver_costs_nothing() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = Arc::new(ManualClock::new(0));
    let target = open(there.path(), &clock, false);
    let receiver = WriteReceiver::new(&Registry::default());
    // Away until it is said otherwise; then it fails each seventh message, half of those after it has taken them.
    let (asked, begin) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (count, is_back, into) = (asked.clone(), begin.clone(), target.clone());
    let now = clock.clone();
    let server = Receiver::start(move |body| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        if is_back.load(Ordering::SeqCst) == 0 || n % 14 == 3 {
            return 500;
        }
        let taken = receiver.write(
            &into,
            body,
            &mut Memory::unlimited(32 << 20),
            cupola_env::Clock::now_ms(&*now),
        );
        match taken {
            Ok(()) if n % 14 == 10 => 503,
            Ok(()) => 204,
            Err(_) => 400,
        }
    });
    let mut minute = 0;
    for round in 0..4 {
        let tsdb = open(here.path(), &clock, true);
        let (writer, _registry) = writer(&tsdb, here.path(), &clock, server.address, "min_shards: 4");
        let before = asked.load(Ordering::SeqCst);
        for _ in 0..6 * 60 {
            clock.set(minute * MINUTE);
            scrape(&tsdb, minute);
            minute += 1;
            if minute % 30 == 0 {
                let tsdb = tsdb.clone();
                tokio::task::spawn_blocking(move || tsdb.maintain()).await.unwrap();
            }
        }
        eventually("it is tried", || asked.load(Ordering::SeqCst) > before).await;
        writer.stop(Duration::ZERO).await;
        // Every other time as `kill -9` ends it.
        if round % 2 == 0 {
            tsdb.close();
        }
    }
    begin.store(1, Ordering::SeqCst);
    let tsdb = open(here.path(), &clock, true);
    let (writer, _registry) = writer(&tsdb, here.path(), &clock, server.address, "min_shards: 4");
    let expected = dump(&tsdb);
    assert_eq!(expected.values().map(Vec::len).sum::<usize>(), 24 * 60 * 11);
    eventually("all has arrived", || dump(&target) == expected).await;
    // Nothing of it is kept any longer than needed.
    let log = tsdb.log_bytes();
    writer.stop(Duration::from_secs(10)).await;
    tsdb.maintain();
    assert!(tsdb.log_bytes() < log, "{} of {log}", tsdb.log_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_just_before_a_power_cut_costs_nothing_that_was_not() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = Arc::new(ManualClock::new(0));
    let target = open(there.path(), &clock, false);
    let receiver = WriteReceiver::new(&Registry::default());
    let refused = Arc::new(AtomicU64::new(0));
    let (into, now, counted) = (target.clone(), clock.clone(), refused.clone());
    let server = Receiver::start(move |body| {
        match receiver.write(
            &into,
            body,
            &mut Memory::unlimited(32 << 20),
            cupola_env::Clock::now_ms(&*now),
        ) {
            Ok(()) => 204,
            Err(_) => {
                counted.fetch_add(1, Ordering::SeqCst);
                400
            }
        }
    });
    let mut tsdb = open(here.path(), &clock, true);
    let (first, _registry) = writer(&tsdb, here.path(), &clock, server.address, "min_shards: 2");
    let folder = here.path().join("cupola-remote-write");
    let cursor = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let mut then = Vec::new();
    for minute in 0..200 {
        clock.set(minute * MINUTE);
        scrape(&tsdb, minute);
        if minute == 120 {
            eventually("the first part has arrived", || dump(&target) == dump(&tsdb)).await;
            then = std::fs::read(&cursor).unwrap();
        }
    }
    first.stop(Duration::from_secs(10)).await;
    assert!(dump(&target) == dump(&tsdb));
    // The note is as it was on the device, and more is logged that nobody has sent.
    std::fs::write(&cursor, then).unwrap();
    drop((first, tsdb));
    tsdb = open(here.path(), &clock, true);
    for minute in 200..260 {
        clock.set(minute * MINUTE);
        scrape(&tsdb, minute);
    }
    drop(tsdb);
    let tsdb = open(here.path(), &clock, true);
    let (second, _registry) = writer(&tsdb, here.path(), &clock, server.address, "min_shards: 2");
    eventually("all has arrived", || dump(&target) == dump(&tsdb)).await;
    assert!(refused.load(Ordering::SeqCst) > 0);
    second.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_catches_up_it_gets_more_shards_and_mixes_nothing_up() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = Arc::new(ManualClock::new(0));
    let target = open(there.path(), &clock, false);
    let receiver = WriteReceiver::new(&Registry::default());
    let (into, now, refused) = (target.clone(), clock.clone(), Arc::new(AtomicU64::new(0)));
    let counted = refused.clone();
    let server = Receiver::start(move |body| {
        // A slow one, or one shard would do.
        std::thread::sleep(Duration::from_millis(60));
        match receiver.write(
            &into,
            body,
            &mut Memory::unlimited(32 << 20),
            cupola_env::Clock::now_ms(&*now),
        ) {
            Ok(()) => 204,
            Err(_) => {
                counted.fetch_add(1, Ordering::SeqCst);
                400
            }
        }
    });
    let tsdb = open(here.path(), &clock, true);
    let (writer, registry) = writer(
        &tsdb,
        here.path(),
        &clock,
        server.address,
        "min_shards: 1, max_shards: 8",
    );
    for minute in 0..24 * 60 {
        clock.set(minute * MINUTE);
        scrape(&tsdb, minute);
    }
    let shards = || number(&registry, "shards");
    let first = shards();
    let expected = dump(&tsdb);
    eventually("all has arrived", || dump(&target) == expected).await;
    assert_ne!(shards(), first);
    assert_eq!(refused.load(Ordering::SeqCst), 0);
    writer.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_long_or_breaks_off_is_one_and_nothing_is_sent_again() {
    let long = "x".repeat(70_000);
    let cut = "HTTP/1.1 200 Told\r\nConnection: close\r\nContent-Length: 100\r\n\r\nnot all of it";
    for (odd, taken, failed) in [
        (told(400, "", &long), 0.0, 11.0),
        (told(200, "", &long), 11.0, 0.0),
        (cut.to_owned(), 11.0, 0.0),
    ] {
        let (here, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new(0)));
        let is_odd = Arc::new(AtomicBool::new(true));
        let (asks, answer) = (is_odd.clone(), odd.clone());
        let server = Receiver::telling(move |_| match asks.load(Ordering::SeqCst) {
            true => answer.clone(),
            false => told(204, "", ""),
        });
        let tsdb = open(here.path(), &clock, true);
        let (writer, registry) = writer(&tsdb, here.path(), &clock, server.address, "max_shards: 1");
        let counted =
            || ["total", "failed_total", "retried_total"].map(|end| number(&registry, &format!("samples_{end}")));
        scrape(&tsdb, 0);
        eventually("the first came to an end", || counted().iter().sum::<f64>() >= 11.0).await;
        let about = odd.get(..60);
        assert_eq!(counted(), [taken, failed, 0.0], "{about:?}");
        is_odd.store(false, Ordering::SeqCst);
        scrape(&tsdb, 1);
        eventually("the next arrive", || counted() == [taken + 11.0, failed, 0.0]).await;
        writer.stop(Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_full_although_the_queues_capacity_is_less_than_one() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = Arc::new(ManualClock::new(0));
    let target = open(there.path(), &clock, false);
    let receiver = WriteReceiver::new(&Registry::default());
    let asked = Arc::new(AtomicU64::new(0));
    let (into, count) = (target.clone(), asked.clone());
    let server = Receiver::start(move |body| {
        count.fetch_add(1, Ordering::SeqCst);
        match receiver.write(&into, body, &mut Memory::unlimited(32 << 20), MINUTE * 100) {
            Ok(()) => 204,
            Err(_) => 400,
        }
    });
    let tsdb = open(here.path(), &clock, true);
    // One that is not full is not sent within this test.
    let queue = "capacity: 10, max_samples_per_send: 110, batch_send_deadline: 1h, min_shards: 1, max_shards: 1";
    let (writer, registry) = writer_with(&tsdb, here.path(), &clock, server.address, queue);
    for minute in 0..20 {
        scrape(&tsdb, minute);
    }
    eventually("all has arrived", || dump(&target) == dump(&tsdb)).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // What is configured is what is told, as upstream.
    assert_eq!(number(&registry, "shard_capacity"), 10.0);
    writer.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_to_come_again_at_once_is_asked_again_after_the_usual_pause() {
    let (here, clock) = (
        tempfile::tempdir().unwrap(),
        Arc::new(ManualClock::new(1_445_412_490_000)),
    );
    let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let log = asked.clone();
    let server = Receiver::telling(move |_| {
        let mut asked = log.lock();
        asked.push(Instant::now());
        match asked.len() {
            1 => told(503, "Retry-After: 0\r\n", ""),
            2 => told(503, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n", ""),
            _ => told(204, "", ""),
        }
    });
    let tsdb = open(here.path(), &clock, true);
    let queue = "max_shards: 1, batch_send_deadline: 20ms, min_backoff: 200ms, max_backoff: 200ms";
    let (writer, registry) = writer_with(&tsdb, here.path(), &clock, server.address, queue);
    scrape(&tsdb, 1_445_412_480_000 / MINUTE);
    eventually("all was taken", || number(&registry, "samples_total") == 11.0).await;
    let asked = asked.lock().clone();
    for pair in asked.windows(2).take(2) {
        let pause = pair[1] - pair[0];
        assert!(pause >= Duration::from_millis(200), "{pause:?}");
    }
    writer.stop(Duration::ZERO).await;
}
