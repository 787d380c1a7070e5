//! Requests through the router, over a small real database.

mod api;
mod errors;
mod fuzz;
mod fuzz_routes;
mod limits;
mod living;
mod openapi;
mod openapi_receivers;
mod openapi_upstream;
mod pushed;
mod server;
mod sockets;
mod state;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use cupola_alert::{AlertmanagerClients, PostingOptions};
use cupola_config::prometheus::RemoteWriteMessage;
use cupola_discovery::{DiscoveryManager, DiscoveryMetrics, UPDATE_EVERY};
use cupola_engine::{Engine, EngineOptions};
use cupola_env::{Clock, ManualClock, RealFs};
use cupola_goregex::Regex;
use cupola_metrics::Registry;
use cupola_model::{Alert, AlertSink, Labels, STALE_NAN};
use cupola_net::BodyBudget;
use cupola_rules::{Context, Parts, RuleManager};
use cupola_scrape::ScrapeManager;
use cupola_storage::{Appendable, Exemplar, Queryable};
use cupola_tsdb::{Options, Tsdb};
use expect_test::Expect;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::app::{App, ConfigView, Mode, Readiness};
use crate::assets::Assets;
use crate::router::{Ctx, routes};

/// The clock's time: 1,000,000 s after the epoch.
const NOW: i64 = 1_000_000_000;

const PAGE: &[(&str, &[u8])] = &[
    ("assets/app-1a2b.js", b"let page"),
    ("index.html", b"<!doctype html><base href=\"/\" /><title>Cupola</title>"),
    ("robots.txt", b"User-agent: *"),
];

struct NoAlerts;

impl AlertSink for NoAlerts {
    fn post(&self, _: &[Alert]) {}
}

struct Server {
    router: Router,
    ctx: Arc<Ctx>,
    clock: Arc<ManualClock>,
    stop: CancellationToken,
    _dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

// Ten minutes of samples until `NOW`, one each 15 s; `gone` ends with a staleness marker.
fn fill(tsdb: &Tsdb) {
    let requests =
        |instance: &str| Labels::from_pairs([("__name__", "requests_total"), ("job", "api"), ("instance", instance)]);
    let gone = Labels::from_pairs([("__name__", "gone"), ("job", "old")]);
    let utf8 = Labels::from_pairs([("__name__", "temp"), ("room.name", "hall")]);
    for step in 0..=40_i64 {
        let ts = NOW - 600_000 + step * 15_000;
        let mut batch = tsdb.appender();
        batch.append(None, &requests("a:1"), ts, step as f64).unwrap();
        batch.append(None, &requests("b:1"), ts, step as f64 * 2.0).unwrap();
        batch.append(None, &utf8, ts, 21.5).unwrap();
        batch
            .append(None, &gone, ts, if step == 40 { STALE_NAN } else { 1.0 })
            .unwrap();
        if step % 10 == 0 {
            let series = batch.append(None, &requests("a:1"), ts, step as f64).unwrap();
            let labels = Labels::from_pairs([("trace_id", format!("t{step}"))]);
            let value = step as f64 / 4.0;
            let ts = ts + 125;
            batch.append_exemplar(series, Exemplar { labels, value, ts }).unwrap();
        }
        batch.commit().unwrap();
    }
}

fn relabel_configs() -> BTreeMap<String, Vec<cupola_config::RelabelConfig>> {
    let yaml = "scrape_configs:\n- job_name: api\n  relabel_configs:\n  - {source_labels: [a, b], separator: '-', target_label: c}\n  \
                - {action: hashmod, source_labels: [a], modulus: 4, target_label: shard}\n  - {action: keep, source_labels: [c], regex: x.*}\n  \
                - {action: labeldrop, regex: a}\n";
    let config = cupola_config::parse_prometheus(yaml, std::path::Path::new("test.yml")).unwrap();
    config
        .scrape_configs
        .into_iter()
        .map(|job| (job.job_name, job.relabel_configs))
        .collect()
}

// One that is posted to and one that relabelling drops; they get no alerts.
fn alertmanagers(registry: &Registry, stop: CancellationToken) -> AlertmanagerClients {
    let yaml = "alerting:\n  alertmanagers:\n  - static_configs: [{targets: ['am:9093', 'old:9093']}]\n    \
                relabel_configs: [{source_labels: [__address__], action: drop, regex: 'old.*'}]\n";
    let config = cupola_config::parse_prometheus(yaml, std::path::Path::new("test.yml")).unwrap();
    let clients = AlertmanagerClients::new(registry, PostingOptions::default(), stop);
    clients.apply(&config.alerting.alertmanagers);
    clients
}

fn start(change: impl FnOnce(&mut App)) -> Server {
    let dir = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::new(NOW));
    let stop = CancellationToken::new();
    let registry = Registry::default();
    let now: Arc<dyn Clock> = clock.clone();
    let options = Options::new(PathBuf::from(dir.path()));
    let tsdb = Tsdb::open(options, now.clone(), Arc::new(RealFs), &registry).unwrap();
    fill(&tsdb);
    let storage: Arc<dyn Queryable> = Arc::new(tsdb.clone());
    let sink: Arc<dyn Appendable> = Arc::new(tsdb.clone());
    let engine = Arc::new(Engine::new(EngineOptions::default()));
    let parts = Parts {
        queryable: storage.clone(),
        storage: sink.clone(),
        engine: engine.clone(),
        clock: now.clone(),
        alerts: Arc::new(NoAlerts),
        external_url: "http://mon:9090".into(),
        external_labels: Labels::empty(),
    };
    let config = ConfigView {
        yaml: "global:\n  scrape_interval: 15s\n".into(),
        scrape_interval_ms: 15_000,
        otlp: Default::default(),
        external_labels: Labels::from_pairs([("dc", "eu")]),
        loaded_ms: NOW - 60_000,
        failed_reload: None,
        relabel_configs: relabel_configs(),
    };
    let ready = Readiness::default();
    ready.set_ready();
    let mut app = App {
        mode: Mode::Up,
        version: "0.1.0".into(),
        hostname: "db1.example.org".into(),
        started_ms: NOW - 3_600_000,
        external_url: "http://mon:9090".into(),
        route_prefix: String::new(),
        page_title: None,
        storage,
        tsdb,
        engine,
        scrape: ScrapeManager::new(sink, now.clone(), &registry, stop.clone()),
        rules: RuleManager::new(Context::new(parts, &registry), stop.clone()),
        remote_alertmanagers: alertmanagers(&registry, stop.clone()),
        discovery: vec![DiscoveryManager::new(
            "scrape",
            DiscoveryMetrics::new(&registry),
            now.clone(),
            Arc::new(|_| {}),
            stop.clone(),
            UPDATE_EVERY,
        )],
        alertmanager: None,
        admin_api: false,
        remote_write: None,
        remote_write_messages: vec![RemoteWriteMessage::V1, RemoteWriteMessage::V2],
        otlp: None,
        pushed: BodyBudget::new("messages that are pushed", 1 << 30),
        remote_read: Default::default(),
        registry,
        host: None,
        clock: now,
        config: Arc::new(ArcSwap::from_pointee(config)),
        flags: BTreeMap::from([("query.timeout".into(), "2m".into())]),
        reload: None,
        quit: None,
        ready,
        cors_origin: Some(Regex::anchored(".*").unwrap()),
        guard_host: false,
        max_connections: 16,
        read_timeout: std::time::Duration::from_secs(300),
        max_listeners: 16,
    };
    change(&mut app);
    let assets = Assets::of(PAGE, &app.route_prefix);
    let ctx = Ctx::new(app, assets);
    Server {
        router: routes(ctx.clone()),
        ctx,
        clock,
        stop,
        _dir: dir,
    }
}

impl Server {
    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    async fn get(&self, uri: &str) -> Reply {
        self.get_with(uri, &[]).await
    }

    async fn get_with(&self, uri: &str, headers: &[(&str, &str)]) -> Reply {
        self.request("GET", uri, headers, "").await
    }

    async fn request(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(encoded(uri));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn post_form(&self, uri: &str, form: &str) -> Reply {
        self.request(
            "POST",
            uri,
            &[("content-type", "application/x-www-form-urlencoded")],
            form,
        )
        .await
    }

    #[track_caller]
    fn check<'a>(&'a self, uri: &'a str, status: u16, expected: Expect) -> impl Future<Output = ()> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let reply = self.get(uri).await;
            assert_eq!(reply.status, status, "{place}: {uri}: {}", reply.text());
            expected.assert_eq(&reply.text());
        }
    }
}

// So that tests can write queries as people read them.
fn encoded(uri: &str) -> String {
    let mut out = String::new();
    for c in uri.chars() {
        match c {
            ' ' => out.push_str("%20"),
            '"' | '{' | '}' | '<' | '>' | '\\' | '^' | '`' | '|' => out.push_str(&format!("%{:02X}", c as u32)),
            c if c.is_ascii_graphic() => out.push(c),
            c => {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes)
                    .bytes()
                    .for_each(|b| out.push_str(&format!("%{b:02X}")));
            }
        }
    }
    out
}
