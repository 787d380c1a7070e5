//! Members on loopback.

use std::collections::BTreeSet;
use std::future::pending;
use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{Pending, Stream, TcpNetwork};

/// A set that only grows.
#[derive(Default)]
struct Words(Mutex<BTreeSet<String>>);

impl Words {
    fn all(&self) -> Vec<String> {
        self.0.lock().iter().cloned().collect()
    }
}

impl Replicated for Words {
    fn snapshot(&self) -> Vec<Vec<u8>> {
        self.0.lock().iter().map(|w| w.clone().into_bytes()).collect()
    }

    fn merge(&self, messages: &[Bytes]) -> Vec<usize> {
        let mut words = self.0.lock();
        let is_news = |message: &Bytes| words.insert(String::from_utf8_lossy(message).into_owned());
        let news: Vec<bool> = messages.iter().map(is_news).collect();
        (0..news.len()).filter(|n| news[*n]).collect()
    }
}

struct One {
    cluster: Cluster,
    words: Arc<Words>,
    address: SocketAddr,
    registry: Registry,
}

impl One {
    fn say(&self, word: &str) {
        self.words.0.lock().insert(word.to_owned());
        self.cluster.broadcast("w", word.as_bytes());
    }

    fn members(&self) -> Vec<String> {
        self.cluster.status().peers.into_iter().map(|p| p.0).collect()
    }

    fn counted(&self, name: &str) -> f64 {
        let snapshot = self.registry.snapshot();
        let family = snapshot.iter().find(|s| s.name == name).unwrap();
        family
            .series
            .iter()
            .map(|(_, value)| match value {
                cupola_metrics::SeriesValue::Number(n) => *n,
                _ => panic!("{name} is no number"),
            })
            .sum()
    }
}

fn quick(name: &str, address: SocketAddr, peers: &[SocketAddr]) -> ClusterOptions {
    ClusterOptions {
        peers: peers.iter().map(ToString::to_string).collect(),
        gossip_interval: Duration::from_millis(20),
        probe_interval: Duration::from_millis(100),
        probe_timeout: Duration::from_millis(100),
        reconnect_interval: Duration::from_millis(50),
        ..ClusterOptions::new(name.to_owned(), address)
    }
}

async fn start(name: &str, at: &str, peers: &[SocketAddr], change: impl FnOnce(&mut ClusterOptions)) -> One {
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut options = quick(name, address, peers);
    change(&mut options);
    let registry = Registry::default();
    let cluster = Cluster::new(options, Arc::new(TcpNetwork::new(listener)), &registry, &["w"]);
    let words = Arc::new(Words::default());
    cluster.join(vec![("w", words.clone())]);
    One {
        cluster,
        words,
        address,
        registry,
    }
}

const ANY: &str = "127.0.0.1:0";

#[track_caller]
fn fail(what: &str) -> ! {
    panic!("not within 30 s: {what}")
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        if Instant::now() > deadline {
            fail(what);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn members_find_each_other_through_one_and_share_what_they_have() {
    let a = start("a", ANY, &[], |_| {}).await;
    a.say("before");
    let b = start("b", ANY, &[a.address], |_| {}).await;
    let c = start("c", ANY, &[a.address], |_| {}).await;
    for one in [&a, &b, &c] {
        one.cluster.settled().await;
        eventually("all know all", || one.members() == ["a", "b", "c"]).await;
    }
    assert_eq!([&a, &b, &c].map(|one| one.cluster.position()), [0, 1, 2]);
    b.say("of b");
    c.say("of c");
    for one in [&a, &b, &c] {
        eventually("all have all", || one.words.all() == ["before", "of b", "of c"]).await;
    }
    assert!(b.cluster.status().is_ready);
    assert_eq!(b.counted("alertmanager_cluster_members"), 3.0);

    // Who leaves is gone at once, and nothing has failed.
    a.cluster.leave().await;
    drop(a);
    for (one, position) in [(&b, 0), (&c, 1)] {
        eventually("a is gone", || one.members() == ["b", "c"]).await;
        assert_eq!(one.cluster.position(), position);
        // It was named, so it is looked for; nobody is there.
        eventually("it is missed", || {
            one.counted("alertmanager_cluster_failed_peers") == 1.0
        })
        .await;
        assert_eq!(one.counted("alertmanager_cluster_peers_left_total"), 1.0);
    }
}

#[tokio::test]
async fn who_dies_fails_and_who_comes_back_has_what_was_said_meanwhile() {
    let a = start("a", ANY, &[], |_| {}).await;
    let b = start("b", ANY, &[a.address], |_| {}).await;
    eventually("b is there", || a.members() == ["a", "b"]).await;
    b.cluster.inner.stop.cancel();
    eventually("b has failed", || a.counted("alertmanager_cluster_failed_peers") == 1.0).await;
    assert_eq!(a.members(), ["a"]);
    a.say("meanwhile");
    let address = b.address.to_string();
    drop(b);
    eventually("b's port is free", || std::net::TcpListener::bind(&address).is_ok()).await;
    // Nobody names the other: a remembers where b was.
    let again = start("b", &address, &[], |_| {}).await;
    eventually("b is back", || {
        a.members() == ["a", "b"] && again.members() == ["a", "b"]
    })
    .await;
    eventually("it knows", || again.words.all() == ["meanwhile"]).await;
    assert_eq!(a.counted("alertmanager_cluster_failed_peers"), 0.0);
    assert_eq!(a.counted("alertmanager_cluster_reconnections_total"), 1.0);
}

#[tokio::test]
async fn strangers_are_refused_and_disturb_nobody() {
    let a = start("a", ANY, &[], |_| {}).await;
    let other = start("x", ANY, &[a.address], |o| o.label = "other".to_owned()).await;
    eventually("the label is refused", || {
        other.counted("alertmanager_cluster_failed_peers") == 1.0
            && a.counted("cupola_cluster_connections_refused_total") >= 1.0
    })
    .await;
    let namesake = start("a", ANY, &[a.address], |_| {}).await;
    eventually("the name is refused", || {
        namesake.counted("alertmanager_cluster_failed_peers") == 1.0
    })
    .await;
    let before = a.counted("cupola_cluster_connections_refused_total");
    let mut stranger = TcpStream::connect(a.address).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // It may see a reset in place of the end.
    let _ = stranger.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
    let refused = || a.counted("cupola_cluster_connections_refused_total") > before;
    eventually("HTTP is refused", refused).await;
    assert_eq!(a.members(), ["a"]);
    let b = start("b", ANY, &[a.address], |_| {}).await;
    eventually("b is welcome", || b.members() == ["a", "b"]).await;
}

#[tokio::test]
async fn an_address_that_leads_to_oneself_is_no_peer() {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    // As behind a load balancer: it does not know that the named address is its own.
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut options = quick("a", elsewhere, &[address]);
    options.settle_timeout = Duration::from_secs(3600);
    options.gossip_interval = Duration::from_secs(3600);
    let registry = Registry::default();
    let cluster = Cluster::new(options, Arc::new(TcpNetwork::new(listener)), &registry, &[]);
    cluster.join(Vec::new());
    // It has settled, as the one peer has answered, without having waited for it.
    cluster.settled().await;
    assert_eq!(cluster.status().peers.len(), 1);
    assert_eq!(cluster.inner.table.lock().failed(), 0);
}

#[tokio::test]
async fn what_is_more_than_a_queue_holds_arrives_all_the_same() {
    let a = start("a", ANY, &[], |_| {}).await;
    let b = start("b", ANY, &[a.address], |_| {}).await;
    eventually("b is there", || a.members() == ["a", "b"]).await;
    // Without a pause in between, so that nothing is sent meanwhile on this thread.
    for n in 0..12_000 {
        a.say(&format!("{n}"));
    }
    assert!(a.counted("alertmanager_cluster_messages_pruned_total") > 0.0);
    eventually("b has all", || b.words.0.lock().len() == 12_000).await;
}

/// Nobody is anywhere.
struct Nowhere;

impl Network for Nowhere {
    fn resolve<'a>(&'a self, _: &'a str) -> Pending<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Ok(vec![SocketAddr::from(([10, 0, 0, 9], 9094))]) })
    }

    fn connect(&self, _: SocketAddr) -> Pending<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }

    fn accept(&self) -> Pending<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(pending())
    }
}

fn alone(peers: &[&str]) -> Cluster {
    let mut options = ClusterOptions::new("m".to_owned(), SocketAddr::from(([10, 0, 0, 1], 9094)));
    options.peers = peers.iter().map(|p| (*p).to_owned()).collect();
    Cluster::new(options, Arc::new(Nowhere), &Registry::default(), &[])
}

#[tokio::test(start_paused = true)]
async fn the_turn_comes_a_peer_timeout_after_each_member_before_and_sooner_when_one_goes() {
    let cluster = alone(&[]);
    let begin = Instant::now();
    cluster.turn().await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let mut links = Vec::new();
    for (name, host) in [("a", 2), ("b", 3), ("z", 4)] {
        let hello = Hello {
            label: String::new(),
            instance: host,
            own: Peer {
                name: name.to_owned(),
                address: SocketAddr::from(([10, 0, 0, host as u8], 9094)),
            },
            members: Vec::new(),
        };
        let from = hello.own.address;
        links.push(cluster.inner.take_in(&hello, from, &Arc::default()).unwrap());
    }
    cluster.turn().await;
    assert_eq!(begin.elapsed(), Duration::from_secs(30), "two are before it");
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.turn().await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.inner.let_go("a", links[0], &End::Left);
    waiting.await.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_secs(45));
}

#[tokio::test(start_paused = true)]
async fn who_has_stood_still_asks_anew_before_it_goes_on() {
    let cluster = alone(&[]);
    cluster.join(Vec::new());
    cluster.settled().await;
    let address = SocketAddr::from(([10, 0, 0, 2], 9094));
    let hello = Hello {
        label: String::new(),
        instance: 2,
        own: Peer {
            name: "a".to_owned(),
            address,
        },
        members: Vec::new(),
    };
    let outbox = Arc::<Outbox>::default();
    let link = cluster.inner.take_in(&hello, address, &outbox).unwrap();
    cluster.inner.table.lock().synced("a", link);
    // As long as the others would have waited for it.
    *cluster.inner.pulse.lock() -= cluster.inner.options.patience();
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.settled().await }
    });
    tokio::task::yield_now().await;
    assert!(!cluster.status().is_ready && !waiting.is_finished());
    // Of the old connection nothing more is expected, and the member is still one.
    assert_eq!(outbox.next().await, crate::outbox::Work::Last(None));
    assert_eq!(cluster.status().peers.len(), 2);
    cluster.inner.table.lock().synced("a", link);
    cluster.inner.changed();
    tokio::task::yield_now().await;
    assert!(
        !waiting.is_finished(),
        "what came over the old connection does not count"
    );
    let again = cluster.inner.take_in(&hello, address, &Arc::default()).unwrap();
    cluster.inner.table.lock().synced("a", again);
    cluster.inner.changed();
    waiting.await.unwrap();
    assert!(cluster.status().is_ready);

    // One that does not come back has failed after a while, and is not waited for.
    *cluster.inner.pulse.lock() -= cluster.inner.options.patience();
    let begin = Instant::now();
    cluster.settled().await;
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(cluster.status().peers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn settling_ends_by_itself() {
    let begin = Instant::now();
    let cluster = alone(&[]);
    cluster.join(Vec::new());
    cluster.settled().await;
    assert_eq!(begin.elapsed(), Duration::ZERO, "there is nobody to wait for");
    // Somebody was named and is not there: the members do not change for three looks after the first.
    let cluster = alone(&["peer:9094"]);
    cluster.join(Vec::new());
    assert!(!cluster.status().is_ready);
    cluster.settled().await;
    assert_eq!(begin.elapsed(), Duration::from_secs(8));
    assert!(cluster.status().is_ready);
    assert_eq!(cluster.inner.table.lock().failed(), 1);
}
