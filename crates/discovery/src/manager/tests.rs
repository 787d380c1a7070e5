use std::path::Path;

use cupola_config::parse_prometheus;
use cupola_env::ManualClock;
use cupola_metrics::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

mod broken;
mod clouds;
mod daemons;

const LONG: Duration = Duration::from_secs(3600);

// What a sink was told: the addresses of each set, as they are after all updates.
#[derive(Default)]
struct Seen {
    groups: BTreeMap<String, BTreeMap<Key, Arc<TargetGroup>>>,
    updates: usize,
    changes: usize,
}

#[derive(Clone)]
struct World {
    seen: Arc<Mutex<Seen>>,
    manager: DiscoveryManager,
    metrics: DiscoveryMetrics,
    stop: CancellationToken,
}

fn world(interval: Duration) -> World {
    world_at(interval, Arc::new(ManualClock::new(7_000)))
}

fn world_at(interval: Duration, clock: Arc<dyn Clock>) -> World {
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let told = seen.clone();
    let sink: Sink = Arc::new(move |updates| {
        let mut seen = told.lock();
        seen.updates += 1;
        for update in updates {
            seen.changes += update.changes.len();
            for change in update.changes {
                let groups = seen.groups.entry(update.set.clone()).or_default();
                let key = (change.provider, change.source);
                match change.group {
                    Some(group) => _ = groups.insert(key, group),
                    None => _ = groups.remove(&key),
                }
            }
        }
    });
    let metrics = DiscoveryMetrics::new(&Registry::default());
    let stop = CancellationToken::new();
    let manager = DiscoveryManager::new("scrape", metrics.clone(), clock, sink, stop.clone(), interval);
    World {
        seen,
        manager,
        metrics,
        stop,
    }
}

impl World {
    fn addresses(&self, set: &str) -> Vec<String> {
        let seen = self.seen.lock();
        let groups = seen.groups.get(set).into_iter().flat_map(BTreeMap::values);
        let mut addresses: Vec<String> = groups
            .flat_map(|group| &group.targets)
            .map(|target| target.value("__address__").to_owned())
            .collect();
        addresses.sort();
        addresses
    }

    async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        for _ in 0..6_000 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: {:?}", self.manager.status());
    }

    async fn end(self) {
        self.stop.cancel();
        self.manager.stopped().await;
    }
}

fn sets(yaml: &str) -> Vec<DiscoverySet> {
    let jobs = parse_prometheus(&format!("scrape_configs:\n{yaml}"), Path::new("/p.yml")).unwrap();
    let set = |job: cupola_config::prometheus::ScrapeConfig| DiscoverySet {
        name: job.job_name,
        configs: job.discovery,
    };
    jobs.scrape_configs.into_iter().map(set).collect()
}

// A server that answers every request with what stands in `answer`: status and body.
async fn server(answer: Arc<Mutex<(u16, String)>>, asked: Arc<Mutex<Vec<String>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            let (answer, asked) = (answer.clone(), asked.clone());
            tokio::spawn(async move {
                let mut text = Vec::new();
                let mut piece = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut piece).await {
                    text.extend_from_slice(&piece[..n]);
                    if !text.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    asked.lock().push(String::from_utf8_lossy(&text).into_owned());
                    text.clear();
                    let (status, body) = answer.lock().clone();
                    let reply = format!(
                        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if stream.write_all(reply.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("http://{address}/sd")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_lists_targets_and_its_failures_cost_nothing() {
    let answer = Arc::new(Mutex::new((
        200,
        r#"[{"targets": ["a:1"]}, {"targets": ["b:1"]}]"#.to_owned(),
    )));
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let url = server(answer.clone(), asked.clone()).await;
    let world = world(Duration::from_millis(20));
    let yaml = format!("- job_name: a\n  http_sd_configs: [{{url: '{url}', refresh_interval: 20ms}}]\n");
    world.manager.apply(&sets(&yaml));
    world.until("both groups", |w| w.addresses("a") == ["a:1", "b:1"]).await;
    let request = asked.lock()[0].to_lowercase();
    assert!(
        request.contains("x-prometheus-refresh-interval-seconds: 0.02\r\n"),
        "{request}"
    );
    assert!(request.contains("accept: application/json\r\n"), "{request}");
    {
        let seen = world.seen.lock();
        let group = seen.groups["a"].values().next().unwrap();
        assert_eq!(
            (group.labels.value("__meta_url"), &group.source),
            (url.as_str(), &format!("{url}:0"))
        );
    }
    *answer.lock() = (503, "[]".to_owned());
    world.until("a failure", |w| w.manager.status()[0].failures > 2).await;
    assert_eq!(world.addresses("a"), ["a:1", "b:1"]);
    let status = &world.manager.status()[0];
    assert_eq!(status.last_error, "server returned HTTP status 503 Service Unavailable");
    assert_eq!(
        (status.place.as_str(), status.targets, status.last_refresh),
        (url.as_str(), 2, Some(7_000))
    );
    assert!(world.metrics.refresh_failures.with(&["http", "a"]).get() > 2.0);
    *answer.lock() = (200, r#"[{"targets": ["a:1"]}]"#.to_owned());
    world.until("one group", |w| w.addresses("a") == ["a:1"]).await;
    world
        .until("no error", |w| w.manager.status()[0].last_error.is_empty())
        .await;
    // Only what changed was told: two groups, then that one is gone.
    assert_eq!(world.seen.lock().changes, 3);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_provider_goes_on_over_a_reload_and_is_shared() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.json");
    std::fs::write(&file, r#"[{"targets": ["a:1"]}]"#).unwrap();
    let world = world(Duration::from_millis(20));
    let one = format!("file_sd_configs: [{{files: ['{}']}}]\n", file.display());
    let two = one.replace("t.json", "*.json");
    world
        .manager
        .apply(&sets(&format!("- job_name: a\n  {one}- job_name: b\n  {one}")));
    world
        .until("both jobs", |w| {
            w.addresses("a") == ["a:1"] && w.addresses("b") == ["a:1"]
        })
        .await;
    assert_eq!(world.manager.status().len(), 1);
    let told = world.seen.lock().changes;
    // Another job gets what is known, at once; the provider is the same.
    world
        .manager
        .apply(&sets(&format!("- job_name: b\n  {one}- job_name: c\n  {one}")));
    world.until("the new job", |w| w.addresses("c") == ["a:1"]).await;
    assert_eq!(world.seen.lock().changes, told + 1);
    let first = *world.seen.lock().groups["b"]
        .keys()
        .next()
        .map(|(provider, _)| provider)
        .unwrap();
    // Another provider takes its place, in one update: nobody sees a moment without targets.
    let updates = world.seen.lock().updates;
    world.manager.apply(&sets(&format!("- job_name: c\n  {two}")));
    world
        .until("the other provider", |w| {
            let seen = w.seen.lock();
            seen.groups["c"].keys().all(|(provider, _)| *provider != first)
        })
        .await;
    assert_eq!(world.addresses("c"), ["a:1"]);
    assert_eq!(world.seen.lock().updates, updates + 1);
    // No provider any more: what it found is gone.
    world.manager.apply(&sets("- job_name: c\n"));
    world.until("nothing", |w| w.addresses("c").is_empty()).await;
    assert_eq!(world.manager.status(), []);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_answer_is_told_at_once_and_later_ones_are_gathered() {
    let answer = Arc::new(Mutex::new((200, r#"[{"targets": ["a:1"]}]"#.to_owned())));
    let url = server(answer.clone(), Arc::default()).await;
    let world = world(LONG);
    let yaml = format!("- job_name: a\n  http_sd_configs: [{{url: '{url}', refresh_interval: 10ms}}]\n");
    world.manager.apply(&sets(&yaml));
    world.until("the first answer", |w| w.addresses("a") == ["a:1"]).await;
    *answer.lock() = (200, r#"[{"targets": ["a:2"]}]"#.to_owned());
    world
        .until("a delay", |w| w.metrics.delayed.with(&["scrape"]).get() > 0.0)
        .await;
    assert_eq!(world.seen.lock().updates, 1);
    assert_eq!(world.addresses("a"), ["a:1"]);
    // A provider that is new is told at once all the same, and takes along what waits.
    let more = yaml.clone() + "- job_name: b\n  http_sd_configs: [{url: 'URL', refresh_interval: 1h}]\n";
    world
        .manager
        .apply(&sets(&more.replace("URL", &format!("{url}?other"))));
    world.until("the new one", |w| w.addresses("b") == ["a:2"]).await;
    assert_eq!(world.addresses("a"), ["a:2"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_hangs_holds_up_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.yml"), "- targets: ['a:1']\n").unwrap();
    let world = world(LONG);
    let yaml = format!(
        "- job_name: a\n  http_sd_configs: [{{url: 'http://{silent}/'}}]\n  file_sd_configs: [{{files: ['{}/*.yml']}}]\n",
        dir.path().display()
    );
    world.manager.apply(&sets(&yaml));
    world.until("the file's target", |w| w.addresses("a") == ["a:1"]).await;
    world.end().await;
}
