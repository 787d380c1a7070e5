use std::sync::atomic::{AtomicBool, AtomicI64};

use cupola_config::parse_prometheus;
use cupola_env::{ManualClock, RealFs};
use cupola_metrics::Registry;
use cupola_model::Labels;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::super::cursor::Cursor;
use super::super::metrics::{Families, Kind};
use super::super::post::Target;
use super::super::reader::{Described, Series, What};
use super::*;

// One that can send nothing, as a file with a password is not there. It does not wait for messages to fill.
fn destination(dir: &tempfile::TempDir, clock: &Arc<ManualClock>, queue: &str) -> Destination {
    let yaml = format!(
        "remote_write:\n- url: http://127.0.0.1:1/\n  basic_auth: {{username: u, password_file: /nowhere/password}}\n  \
         queue_config: {{{queue}}}\n"
    );
    let config = Arc::new(
        parse_prometheus(&yaml, std::path::Path::new("p.yml"))
            .unwrap()
            .remote_write
            .remove(0),
    );
    let vfs: Arc<dyn Vfs> = Arc::new(RealFs);
    let log: Arc<dyn Tailable> = Arc::new(crate::testing::open(dir.path(), 0));
    let (begin, end) = log.log_bounds();
    let cursor = Cursor::open(vfs.clone(), &dir.path().join("c"), begin, end).unwrap();
    let hurry = CancellationToken::new();
    hurry.cancel();
    let shared = Shared {
        name: "n".into(),
        target: Target::new(&config, clock.clone()).unwrap(),
        config,
        metrics: Arc::new(Families::new(&Registry::default()).of("n", "u")),
        described: Described::default(),
        cursor: Arc::new(Mutex::new(cursor)),
        clock: clock.clone(),
        begin: Place::of(begin, 0),
        splits: AtomicU64::new(0),
        room: Notify::new(),
        sent: AtomicU64::new(0),
        sending_us: AtomicU64::new(0),
        highest_sent_ms: AtomicI64::new(0),
        failing: Mutex::default(),
        steady_until: Mutex::default(),
        refused: Mutex::default(),
        is_waited_for: AtomicBool::new(false),
        hurry,
        is_drained: AtomicBool::new(false),
        ended: AtomicU64::new(0),
    };
    Destination {
        key: "k".into(),
        shared: Arc::new(shared),
        holds: Arc::new(Holds::new(log.clone())),
        log,
        vfs,
        stop: CancellationToken::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_of_shards_stays_while_a_message_is_sent_again() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new(0)));
    let queue = "min_shards: 1, min_backoff: 1m, max_backoff: 1m, sample_age_limit: 1h";
    let destination = destination(&dir, &clock, queue);
    let next_doubt = Arc::new(AtomicU64::new(FIRST_DOUBT));
    let mut running = Running {
        shards: destination.start(1, &next_doubt),
        waiting: VecDeque::new(),
        position: destination.log.log_bounds().0,
        reader: None,
        next_doubt,
        rates: Rates::default(),
        seen: Seen::default(),
        looked: Instant::now(),
    };
    let series = Series {
        lane: 0,
        encoded: Box::default(),
        labels: Labels::empty(),
    };
    let item = Item {
        series: Arc::new(series),
        place: Place::of(running.position, 1),
        doubt: 0,
        ts: 0,
        start: 0,
        what: What::Float(1.0),
    };
    assert!(running.shards.queues[0].push(item).is_ok());
    running.shards.queues[0].wake();
    let shared = destination.shared.clone();
    while shared.metrics.retried.of(Kind::Sample).get() == 0.0 {
        tokio::task::yield_now().await;
    }
    // By what others send there is work for more.
    let is_busy = |running: &mut Running| {
        shared.sent.store(1000, Ordering::Relaxed);
        shared.sending_us.store(40_000_000, Ordering::Relaxed);
        running.seen.read = 1000;
    };
    tokio::time::advance(Duration::from_secs(10)).await;
    is_busy(&mut running);
    destination.reshard(&mut running).await;
    assert_eq!(running.shards.queues.len(), 1);
    // It is given up at its next turn, as it is too old by then. As upstream nothing changes for as long again.
    clock.set(2 * 3_600_000);
    tokio::time::advance(Duration::from_secs(55)).await;
    while running.shards.queues[0].oldest().is_some() {
        tokio::task::yield_now().await;
    }
    is_busy(&mut running);
    destination.reshard(&mut running).await;
    assert_eq!(running.shards.queues.len(), 1);
    tokio::time::advance(Duration::from_secs(60)).await;
    is_busy(&mut running);
    destination.reshard(&mut running).await;
    assert!(running.shards.queues.len() > 1);
}
