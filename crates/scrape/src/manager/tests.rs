use std::path::Path;

use cupola_config::parse_prometheus;
use cupola_config::prometheus::TargetGroup;
use cupola_env::ManualClock;
use cupola_histogram::NativeHistogram;
use cupola_model::SeriesRef;
use cupola_storage::{AppendError, Appender, CommitError};

use super::*;

// A storage that takes everything and keeps nothing.
struct Nowhere;

impl Appendable for Nowhere {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Self)
    }
}

impl Appender for Nowhere {
    fn append(&mut self, _: Option<SeriesRef>, _: &Labels, _: i64, _: f64) -> Result<SeriesRef, AppendError> {
        Ok(SeriesRef(0))
    }

    fn append_known(&mut self, _: SeriesRef, _: i64, _: f64) -> Result<bool, AppendError> {
        Ok(true)
    }

    fn append_histogram(
        &mut self,
        _: Option<SeriesRef>,
        _: &Labels,
        _: i64,
        _: NativeHistogram,
    ) -> Result<SeriesRef, AppendError> {
        Ok(SeriesRef(0))
    }

    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        Ok(())
    }
}

fn manager() -> (ScrapeManager, CancellationToken, Registry) {
    let (stop, registry) = (CancellationToken::new(), Registry::default());
    let clock = Arc::new(ManualClock::new(1_000_000));
    (
        ScrapeManager::new(Arc::new(Nowhere), clock, &registry, stop.clone()),
        stop,
        registry,
    )
}

// Targets that are not scraped while a test runs.
fn jobs(more: &str) -> Vec<ScrapeConfig> {
    let yaml = format!("scrape_configs:\n- job_name: j\n  scrape_interval: 52w\n{more}");
    parse_prometheus(&yaml, Path::new("p.yml")).unwrap().scrape_configs
}

fn change(provider: u64, source: usize, addresses: &[String]) -> GroupChange {
    let group = TargetGroup::of_addresses(source.to_string(), addresses.to_vec(), Labels::empty());
    GroupChange {
        provider,
        source: source.to_string().into(),
        group: Some(Arc::new(group)),
    }
}

fn hundred(group: usize) -> Vec<String> {
    (0..100).map(|i| format!("h{group}-{i}:1")).collect()
}

fn synced(relabelled: usize, started: usize, ended: usize) -> Synced {
    Synced {
        relabelled,
        started,
        ended,
    }
}

#[tokio::test]
async fn a_changed_group_of_ten_thousand_targets_costs_one_group() {
    let (manager, stop, _registry) = manager();
    let jobs = jobs("  static_configs: [{targets: ['a:1']}]\n");
    manager.apply(&jobs, &[]);
    let all = (0..100).map(|group| change(1, group, &hundred(group))).collect();
    assert_eq!(manager.update("j", all), synced(10_000, 10_000, 0));
    assert_eq!(manager.targets().len(), 10_001);

    let mut addresses = hundred(7);
    addresses[3] = "new:1".to_owned();
    assert_eq!(manager.update("j", vec![change(1, 7, &addresses)]), synced(100, 1, 1));
    let has = |address: &str| manager.targets().iter().any(|t| t.labels.value("instance") == address);
    assert!(has("new:1") && !has("h7-3:1"));

    // What moves from one group to another, or from one provider to another, goes on.
    let gone = GroupChange {
        group: None,
        ..change(1, 7, &[])
    };
    assert_eq!(
        manager.update("j", vec![gone, change(2, 0, &addresses)]),
        synced(100, 0, 0)
    );
    // A reload that changes nothing about the job looks at nothing.
    manager.apply(&jobs, &[]);
    assert_eq!(manager.targets().len(), 10_001);
    // A target in two groups is there until both have lost it.
    let two = ["h0-0:1".to_owned()];
    assert_eq!(manager.update("j", vec![change(3, 0, &two)]), synced(1, 0, 0));
    assert_eq!(
        manager.update("j", vec![change(1, 0, &hundred(0)[1..])]),
        synced(99, 0, 0)
    );
    let gone = GroupChange {
        group: None,
        ..change(3, 0, &[])
    };
    assert_eq!(manager.update("j", vec![gone]), synced(0, 0, 1));
    assert_eq!(manager.update("nobody", vec![change(1, 0, &two)]), Synced::default());
    stop.cancel();
    manager.stopped().await;
}

#[tokio::test]
async fn labels_that_only_tell_where_a_target_was_found_do_not_begin_it_anew() {
    let (manager, stop, _registry) = manager();
    manager.apply(&jobs(""), &[]);
    let with = |tag: &str| GroupChange {
        provider: 1,
        source: "s".into(),
        group: Some(Arc::new(TargetGroup {
            targets: vec![Labels::from_pairs([("__address__", "a:1"), ("__meta_tag", tag)])],
            labels: Labels::from_pairs([("env", "prod"), ("job", "")]),
            source: "s".to_owned(),
        })),
    };
    assert_eq!(manager.update("j", vec![with("x")]), synced(1, 1, 0));
    assert_eq!(manager.update("j", vec![with("y")]), synced(1, 0, 0));
    let target = manager.targets().remove(0);
    assert_eq!(target.labels.to_string(), r#"{env="prod", instance="a:1", job="j"}"#);
    assert_eq!(target.discovered_labels.value("__meta_tag"), "y");
    // Other relabelling: discovered targets are derived anew, and those that are as before go on.
    manager.apply(
        &jobs("  relabel_configs: [{source_labels: [__meta_tag], action: drop, regex: y}]\n"),
        &[],
    );
    assert_eq!(manager.targets().len(), 0);
    assert_eq!(manager.dropped().len(), 1);
    assert_eq!(manager.update("j", vec![with("x")]), synced(1, 1, 0));
    assert_eq!(manager.dropped().len(), 0);
    stop.cancel();
    manager.stopped().await;
}

#[tokio::test]
async fn of_what_is_dropped_only_so_many_are_kept_and_all_are_counted() {
    let (manager, stop, _registry) = manager();
    let config =
        "  keep_dropped_targets: 5\n  relabel_configs: [{source_labels: [__address__], action: drop, regex: 'h.*'}]\n";
    manager.apply(&jobs(config), &[]);
    manager.update("j", vec![change(1, 0, &hundred(0)), change(1, 1, &hundred(1))]);
    assert_eq!(manager.dropped().len(), 5);
    assert_eq!(manager.dropped_counts(), BTreeMap::from([("j".to_owned(), 200)]));
    stop.cancel();
    manager.stopped().await;
}

// Answers each request with a body of `length` bytes.
fn target(length: usize) -> std::net::SocketAddr {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
    answering(head + &"a 1\n".repeat(length / 4))
}

// Answers each request with this.
fn answering(answer: String) -> std::net::SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

// What is known of these targets once each was scraped.
async fn scraped(manager: &ScrapeManager, addresses: &[std::net::SocketAddr]) -> Vec<TargetStatus> {
    let targets: Vec<String> = addresses.iter().map(|address| format!("'{address}'")).collect();
    let targets = targets.join(", ");
    let yaml = format!(
        "scrape_configs:\n- job_name: j\n  scrape_interval: 1s\n  static_configs: [{{targets: [{targets}]}}]\n"
    );
    let jobs = parse_prometheus(&yaml, Path::new("p.yml")).unwrap().scrape_configs;
    manager.apply(&jobs, &[]);
    let told = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        loop {
            let targets = manager.targets();
            if targets.iter().all(|t| t.health != crate::Health::Unknown) {
                return targets;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    told.await.unwrap()
}

fn told<'a>(told: &'a [TargetStatus], address: &std::net::SocketAddr) -> &'a TargetStatus {
    let instance = address.to_string();
    let found = told.iter().find(|t| t.labels.value("instance") == instance);
    found.unwrap()
}

#[tokio::test]
async fn an_empty_answer_is_a_scrape_without_samples_whatever_its_type() {
    let (manager, stop, _registry) = manager();
    let types = [
        "",
        "Content-Type: application/openmetrics-text\r\n",
        "Content-Type: text/html\r\n",
    ];
    let answer = |kind: &str| answering(format!("HTTP/1.1 200 OK\r\n{kind}Content-Length: 0\r\n\r\n"));
    let targets = types.map(answer);
    let all = scraped(&manager, &targets).await;
    for (target, kind) in targets.iter().zip(types) {
        let found = told(&all, target);
        assert_eq!((&*found.last_error, found.health), ("", crate::Health::Up), "{kind}");
    }
    stop.cancel();
    manager.stopped().await;
}

#[tokio::test]
async fn an_answer_with_another_status_than_200_is_none() {
    let (manager, stop, _registry) = manager();
    let head = "HTTP/1.1 202 Accepted\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n";
    let target = answering(format!("{head}a 1\n"));
    let all = scraped(&manager, &[target]).await;
    assert_eq!(
        told(&all, &target).last_error,
        "server returned HTTP status 202 Accepted"
    );
    stop.cancel();
    manager.stopped().await;
}

#[tokio::test]
async fn a_body_that_does_not_fit_in_the_memory_for_all_bodies_is_told() {
    let (manager, stop, registry) = manager();
    let manager = manager.with_body_budget(100_000, &registry);
    let (small, large) = (target(40_000), target(60_000));
    let all = scraped(&manager, &[small, large]).await;
    let error = |address| told(&all, address).last_error.clone();
    assert_eq!(error(&small), "");
    assert_eq!(
        error(&large),
        format!(
            "Get \"http://{large}/metrics\": the body takes more than 50000 bytes, half of what the bodies of all scrapes may take together (100000 bytes of memory)"
        )
    );
    stop.cancel();
    manager.stopped().await;
    let figure = |name: &str| {
        let families = registry.snapshot();
        let family = families.into_iter().find(|family| family.name == name).unwrap();
        match family.series.first().unwrap().1 {
            SeriesValue::Number(number) => number,
            _ => f64::NAN,
        }
    };
    assert!(figure("cupola_scrape_bodies_refused_total") >= 1.0);
    assert_eq!(figure("cupola_scrape_body_bytes"), 0.0);
    assert_eq!(figure("cupola_scrape_body_limit_bytes"), 100_000.0);
}
