//! Parts that break off begin anew.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use super::daemons::{Catalogue, consul_server};
use super::*;

// A clock that breaks each of the calls of these numbers: what has worked asks it when that was.
struct Breaks {
    calls: AtomicUsize,
    broken: &'static [usize],
}

impl Breaks {
    fn at(broken: &'static [usize]) -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            broken,
        })
    }
}

impl Clock for Breaks {
    fn now_ms(&self) -> i64 {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        assert!(!self.broken.contains(&call), "call {call} breaks");
        7_000
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_panics_is_told_and_begins_anew() {
    let answer = Arc::new(Mutex::new((200, r#"[{"targets": ["a:1"]}]"#.to_owned())));
    let url = server(answer, Arc::default()).await;
    let world = world_at(Duration::from_millis(20), Breaks::at(&[0, 1, 3]));
    let yaml = format!("- job_name: a\n  http_sd_configs: [{{url: '{url}', refresh_interval: 20ms}}]\n");
    world.manager.apply(&sets(&yaml));
    world.until("the target", |w| w.addresses("a") == ["a:1"]).await;
    // What was found before it broke once more is still there, and so is who finds more.
    world
        .until("it works", |w| {
            let status = &w.manager.status()[0];
            status.failures == 3 && status.last_error.is_empty()
        })
        .await;
    assert_eq!(world.addresses("a"), ["a:1"]);
    assert!((world.metrics.refresh_failures.with(&["http", "a"]).get() - 3.0).abs() < f64::EPSILON);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_service_of_consul_that_panics_is_watched_again() {
    let (change, state) = watch::channel(Catalogue {
        index: 5,
        services: vec![("web", "t", "10.0.0.1")],
        ..Catalogue::default()
    });
    let address = consul_server(state, Arc::default()).await;
    // The list of services is the first call, its one service the second.
    let world = world_at(Duration::from_millis(20), Breaks::at(&[1]));
    let yaml = format!(
        "- job_name: a\n  consul_sd_configs: [{{server: '{address}', path_prefix: pre, datacenter: d, refresh_interval: 10ms}}]\n"
    );
    world.manager.apply(&sets(&yaml));
    world
        .until("the instance", |w| w.addresses("a") == ["10.0.0.1:80"])
        .await;
    assert_eq!(world.manager.status()[0].failures, 1);
    // It is the watcher that goes on.
    change.send_modify(|state| {
        state.index += 1;
        state.services = vec![("web", "t", "10.0.0.2")];
    });
    world
        .until("its new address", |w| w.addresses("a") == ["10.0.0.2:80"])
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_broke_is_told_by_name_while_it_waits() {
    // A provider that has nothing to say.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = world_at(Duration::from_millis(20), Breaks::at(&[]));
    let url = format!("http://{}/", silent.local_addr().unwrap());
    world.manager.apply(&sets(&format!(
        "- job_name: a\n  http_sd_configs: [{{url: '{url}'}}]\n"
    )));
    let updates = {
        let state = world.manager.0.state.lock();
        Updates::new(world.manager.0.clone(), &state.providers[0])
    };
    let begun = Arc::new(AtomicUsize::new(0));
    let count = begun.clone();
    let begin = move || {
        let nth = count.fetch_add(1, Ordering::SeqCst);
        // Broken once, ended once, then it goes on.
        async move {
            assert!(nth > 0, "the first breaks");
            if nth > 1 {
                std::future::pending::<()>().await;
            }
        }
    };
    let kept = tokio::spawn(keep_running(updates, "the thing".to_owned(), begin));
    world.until("both", |_| begun.load(Ordering::SeqCst) == 3).await;
    let error = world.manager.status()[0].last_error.clone();
    assert_eq!(error, "the thing broke off: it ended");
    kept.abort();
    assert!(kept.await.unwrap_err().is_cancelled());
    // The server waits for all of them.
    world.end().await;
}
