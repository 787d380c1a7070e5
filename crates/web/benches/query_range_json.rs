//! How fast an answer of `/api/v1/query_range` is written: `cargo bench -p cupola-web`.
//!
//! 100 series of 11,000 points, half of the values integers, the others with 17 digits. Asked a second time the points come from
//! the cache of results, so that what remains is writing them. The figures are of the best of nine runs, one request at
//! a time: the whole answer, and without the engine's own time, as its statistics tell it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::body::Body;
use cupola_alert::{AlertmanagerClients, PostingOptions};
use cupola_engine::{Engine, EngineOptions};
use cupola_env::{Clock, ManualClock, RealFs};
use cupola_metrics::Registry;
use cupola_model::{Alert, AlertSink, Labels};
use cupola_rules::{Context, Parts, RuleManager};
use cupola_scrape::ScrapeManager;
use cupola_storage::{Appendable, Queryable};
use cupola_tsdb::{Options, Tsdb};
use cupola_web::{App, ConfigView, Mode, Readiness, router};
use http::Request;
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

const SERIES: usize = 100;
const POINTS: i64 = 11_000;
const STEP_MS: i64 = 15_000;
const START: i64 = 1_700_000_000_000;
const RUNS: usize = 9;

struct Nobody;

impl AlertSink for Nobody {
    fn post(&self, _: &[Alert]) {}
}

fn fill(tsdb: &Tsdb) {
    let labels = |series: usize| Labels::from_pairs([("__name__", "m".to_owned()), ("series", format!("{series:03}"))]);
    let labels: Vec<Labels> = (0..SERIES).map(labels).collect();
    for step in 0..POINTS {
        let mut batch = tsdb.appender();
        for (series, labels) in labels.iter().enumerate() {
            let whole = step as f64 * 3.0 + series as f64;
            let value = if series % 2 == 0 { whole } else { whole.sqrt() };
            batch
                .append(None, labels, START + step * STEP_MS, value)
                .expect("in order");
        }
        batch.commit().expect("space on the disk");
    }
}

fn app(tsdb: &Tsdb, clock: Arc<dyn Clock>) -> App {
    let registry = Registry::default();
    let stop = CancellationToken::new();
    let storage: Arc<dyn Queryable> = Arc::new(tsdb.clone());
    let sink: Arc<dyn Appendable> = Arc::new(tsdb.clone());
    let engine = Arc::new(Engine::new(EngineOptions::default()));
    let parts = Parts {
        queryable: storage.clone(),
        storage: sink.clone(),
        engine: engine.clone(),
        clock: clock.clone(),
        alerts: Arc::new(Nobody),
        external_url: String::new(),
        external_labels: Labels::empty(),
    };
    let ready = Readiness::default();
    ready.set_ready();
    App {
        mode: Mode::Prometheus,
        version: String::new(),
        hostname: String::new(),
        started_ms: 0,
        external_url: String::new(),
        page_title: None,
        route_prefix: String::new(),
        storage,
        tsdb: tsdb.clone(),
        engine,
        scrape: ScrapeManager::new(sink, clock.clone(), &registry, stop.clone()),
        rules: RuleManager::new(Context::new(parts, &registry), stop.clone()),
        remote_alertmanagers: AlertmanagerClients::new(&registry, PostingOptions::default(), stop),
        discovery: Vec::new(),
        alertmanager: None,
        admin_api: false,
        remote_write: None,
        remote_write_messages: Vec::new(),
        otlp: None,
        pushed: cupola_net::BodyBudget::new("messages that are pushed", 0),
        remote_read: Default::default(),
        registry,
        host: None,
        clock,
        config: Arc::new(ArcSwap::from_pointee(ConfigView::default())),
        flags: BTreeMap::new(),
        reload: None,
        quit: None,
        ready,
        cors_origin: None,
        guard_host: false,
        max_connections: 1,
        read_timeout: Duration::from_secs(300),
        max_listeners: 1,
    }
}

#[tokio::main]
async fn main() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let end = START + (POINTS - 1) * STEP_MS;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(end));
    let options = Options::new(dir.path().to_owned());
    let tsdb = Tsdb::open(options, clock.clone(), Arc::new(RealFs), &Registry::default()).expect("an empty folder");
    fill(&tsdb);
    let router = router(app(&tsdb, clock));
    let uri = format!(
        "/api/v1/query_range?query=m&stats=sum&start={}&end={}&step={}",
        START / 1000,
        end / 1000,
        STEP_MS / 1000
    );
    let mut best = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..RUNS {
        let request = Request::builder().uri(&uri).body(Body::empty()).expect("a request");
        let began = Instant::now();
        let response = router.clone().oneshot(request).await.expect("an answer");
        let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
        let whole = began.elapsed();
        let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let rows = answer["data"]["result"].as_array().expect("a matrix");
        assert_eq!(rows.len(), SERIES);
        assert!(
            rows.iter()
                .all(|row| row["values"].as_array().is_some_and(|v| v.len() as i64 == POINTS))
        );
        let engine = answer["data"]["stats"]["timings"]["execTotalTime"]
            .as_f64()
            .expect("statistics");
        let written = whole.saturating_sub(Duration::from_secs_f64(engine));
        best = (best.0.min(whole), best.1.min(written), body.len());
    }
    let rate = |took: Duration| best.2 as f64 / 1e6 / took.as_secs_f64();
    println!("query_range_json: {:.1} MB", best.2 as f64 / 1e6);
    println!("query_range_json, whole answer: {:.0} MB/s", rate(best.0));
    println!("query_range_json, writing it: {:.0} MB/s", rate(best.1));
}
