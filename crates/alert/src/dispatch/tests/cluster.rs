//! Members of a cluster, whose links the test delays, breaks and cuts by a seeded schedule, with a clock that it turns.
//!
//! The model: whoever has alerts posts them to every member that lives. Each alert's beginning and end is told at least
//! once, whatever happens; exactly once where nothing does.

mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use cupola_cluster::{Cluster, ClusterOptions, Network, Pending, Stream};
use cupola_env::SimDisk;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{Notify, mpsc as channel};

use super::timing::{Sent, fakes};
use super::*;
use crate::SilenceRequest;

// xorshift64*: a schedule is told by its seed.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

type Incoming = channel::UnboundedSender<(Box<dyn Stream>, SocketAddr)>;

// A member's silences, its notification log, recurring silences and acknowledgements, as bytes.
type Known = [BTreeSet<Vec<u8>>; 4];

/// The links between hosts.
struct World {
    state: Mutex<Links>,
    changed: Notify,
}

struct Links {
    random: Seeded,
    // The process that listens at each host.
    listening: HashMap<u8, (u64, Incoming)>,
    // Nothing arrives between these, and nobody is told.
    cut: HashSet<(u8, u8)>,
    // Connections made before are broken.
    broken: HashMap<(u8, u8), u64>,
    // The longest that a piece is under way, in milliseconds.
    delay: u64,
}

fn pair(a: u8, b: u8) -> (u8, u8) {
    (a.min(b), a.max(b))
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 9094))
}

impl World {
    fn new(seed: u64, delay: u64) -> Arc<Self> {
        let state = Links {
            random: Seeded(seed.wrapping_mul(2).wrapping_add(1)),
            listening: HashMap::new(),
            cut: HashSet::new(),
            broken: HashMap::new(),
            delay,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Notify::new(),
        })
    }

    fn change(&self, change: impl FnOnce(&mut Links)) {
        change(&mut self.state.lock());
        self.changed.notify_waiters();
    }

    fn break_links(&self, of: u8) {
        self.change(|links| {
            for other in 1..=HOSTS {
                *links.broken.entry(pair(of, other)).or_default() += 1;
            }
        });
    }

    // Ends when the state is what `is_so` says.
    async fn until(&self, is_so: impl Fn(&Links) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is_so(&self.state.lock()) {
                return;
            }
            changed.await;
        }
    }

    // Carries one direction of a connection.
    async fn carry(
        self: Arc<Self>,
        mut from: tokio::io::ReadHalf<DuplexStream>,
        mut to: tokio::io::WriteHalf<DuplexStream>,
        link: (u8, u8),
    ) {
        let age = self.state.lock().broken.get(&link).copied();
        let carrying = async {
            let mut part = vec![0; 16 << 10];
            loop {
                let Ok(count) = from.read(&mut part).await else { return };
                let delay = {
                    let mut links = self.state.lock();
                    let limit = links.delay + 1;
                    links.random.below(limit)
                };
                tokio::time::sleep(Duration::from_millis(delay)).await;
                self.until(|links| !links.cut.contains(&link)).await;
                if count == 0 {
                    let _ = to.shutdown().await;
                    return;
                }
                if to.write_all(&part[..count]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = carrying => {}
            () = self.until(|links| links.broken.get(&link).copied() != age) => {}
        }
    }
}

/// What one process sees of the world.
struct Sight {
    world: Arc<World>,
    host: u8,
    process: u64,
    incoming: tokio::sync::Mutex<channel::UnboundedReceiver<(Box<dyn Stream>, SocketAddr)>>,
}

impl Sight {
    fn new(world: &Arc<World>, host: u8, process: u64) -> Self {
        let (sender, incoming) = channel::unbounded_channel();
        world.change(|links| {
            links.listening.insert(host, (process, sender));
        });
        Self {
            world: world.clone(),
            host,
            process,
            incoming: tokio::sync::Mutex::new(incoming),
        }
    }
}

impl Network for Sight {
    fn resolve<'a>(&'a self, peer: &'a str) -> Pending<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { peer.parse().map(|one| vec![one]).map_err(io::Error::other) })
    }

    fn connect(&self, to: SocketAddr) -> Pending<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let host = (1..=HOSTS)
                .find(|host| address(*host) == to)
                .ok_or(io::ErrorKind::HostUnreachable)?;
            let link = pair(self.host, host);
            self.world.until(|links| !links.cut.contains(&link)).await;
            let links = self.world.state.lock();
            // Of a process that was killed nothing reaches the world.
            let lives = links
                .listening
                .get(&self.host)
                .is_some_and(|(process, _)| *process == self.process);
            let Some((_, incoming)) = links.listening.get(&host).filter(|_| lives) else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            let (ours, near) = tokio::io::duplex(64 << 10);
            let (theirs, far) = tokio::io::duplex(64 << 10);
            let ((near_read, near_write), (far_read, far_write)) = (tokio::io::split(near), tokio::io::split(far));
            tokio::spawn(self.world.clone().carry(near_read, far_write, link));
            tokio::spawn(self.world.clone().carry(far_read, near_write, link));
            let from = SocketAddr::from(([10, 0, 0, self.host], 40_000));
            incoming
                .send((Box::new(theirs), from))
                .map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }

    fn accept(&self) -> Pending<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async {
            match self.incoming.lock().await.recv().await {
                Some(accepted) => Ok(accepted),
                None => std::future::pending().await,
            }
        })
    }
}

const HOSTS: u8 = 3;
const YAML: &str = "route: {receiver: r, group_by: [alertname], group_wait: 1s, group_interval: 10s, repeat_interval: 1d}\n\
                    receivers:\n- name: r\n  webhook_configs: [{url: 'http://x/w'}]\n";
const PEER_TIMEOUT: Duration = Duration::from_secs(4);

// Wall time, some of it wrong.
struct Skewed {
    begin: Instant,
    skew_ms: i64,
}

impl Clock for Skewed {
    fn now_ms(&self) -> i64 {
        1_795_000_000_000 + ms(self.begin.elapsed()) + self.skew_ms
    }
}

struct Member {
    manager: Alertmanager,
    cluster: Cluster,
    sinks: BTreeMap<String, Sent>,
}

struct Run {
    yaml: &'static str,
    world: Arc<World>,
    begin: Instant,
    skews: [i64; HOSTS as usize],
    disks: Vec<SimDisk>,
    members: BTreeMap<u8, Member>,
    processes: u64,
    // What was told, by the alert's name and whether it had begun (+) or ended (-).
    told: BTreeMap<String, usize>,
    // The same, by whom and why.
    log: Vec<String>,
    // Beginning and, where it has come, end of each alert, in true time.
    alerts: BTreeMap<String, (i64, Option<i64>)>,
}

impl Run {
    fn new(seed: u64, delay: u64, skews: [i64; HOSTS as usize]) -> Self {
        Self::with(YAML, seed, delay, skews)
    }

    fn with(yaml: &'static str, seed: u64, delay: u64, skews: [i64; HOSTS as usize]) -> Self {
        let mut run = Self {
            yaml,
            world: World::new(seed, delay),
            begin: Instant::now(),
            skews,
            disks: (1..=HOSTS).map(|host| SimDisk::new(u64::from(host))).collect(),
            members: BTreeMap::new(),
            processes: 0,
            told: BTreeMap::new(),
            log: Vec::new(),
            alerts: BTreeMap::new(),
        };
        for host in 1..=HOSTS {
            run.start(host);
        }
        run
    }

    fn now(&self) -> i64 {
        1_795_000_000_000 + ms(self.begin.elapsed())
    }

    fn start(&mut self, host: u8) {
        self.processes += 1;
        let network = Arc::new(Sight::new(&self.world, host, self.processes));
        let options = ClusterOptions {
            peers: (1..=HOSTS).map(|h| address(h).to_string()).collect(),
            reconnect_interval: Duration::from_secs(2),
            push_pull_interval: Duration::from_secs(20),
            peer_timeout: PEER_TIMEOUT,
            ..ClusterOptions::new(format!("m{host}"), address(host))
        };
        let registry = Registry::default();
        let cluster = Cluster::new(options, network, &registry, &crate::CLUSTER_KEYS);
        let place = usize::from(host) - 1;
        let options = Options {
            state: Some((self.disks[place].mount(), "/am".into())),
            cluster: Some(cluster.clone()),
            ..Options::default()
        };
        let clock = Arc::new(Skewed {
            begin: self.begin,
            skew_ms: self.skews[place],
        });
        let stop = CancellationToken::new();
        let manager = Alertmanager::new(parsed(self.yaml), &[], options, clock, &registry, stop).unwrap();
        let sinks = fakes(&manager);
        let member = Member {
            manager,
            cluster,
            sinks,
        };
        self.members.insert(host, member);
    }

    // As `kill -9`.
    fn kill(&mut self, host: u8) {
        let Some(member) = self.members.remove(&host) else {
            return;
        };
        self.world.change(|links| {
            links.listening.remove(&host);
        });
        self.world.break_links(host);
        self.disks[usize::from(host) - 1].kill();
        member.manager.inner.stop.cancel();
        self.collect(&member);
    }

    fn collect(&mut self, member: &Member) {
        for sink in member.sinks.values() {
            while let Ok((notification, _)) = sink.try_recv() {
                for alert in &notification.alerts {
                    let mark = if alert.ends_at.is_some() { "-" } else { "+" };
                    let name = format!("{mark}{}", alert.labels.value("alertname"));
                    let by = member.cluster.status().name;
                    self.log.push(format!("{by} {name}: {}", notification.reason));
                    *self.told.entry(name).or_default() += 1;
                }
            }
        }
    }

    // All alerts, to everybody who lives.
    fn post(&self) {
        for member in self.members.values() {
            let alerts: Vec<Alert> = self
                .alerts
                .iter()
                .map(|(name, (starts_at, ends_at))| Alert {
                    labels: Labels::from_pairs([("alertname", name.as_str())]),
                    annotations: Labels::empty(),
                    starts_at: *starts_at,
                    ends_at: Some(ends_at.unwrap_or(self.now() + 600_000)),
                    generator_url: String::new(),
                })
                .collect();
            member.manager.post(&alerts);
        }
    }

    // Goes on, posting every ten seconds as a Prometheus would.
    async fn go_on(&mut self, seconds: u64) {
        for second in 0..seconds {
            if second % 10 == 0 {
                self.post();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let members = std::mem::take(&mut self.members);
        for member in members.values() {
            self.collect(member);
        }
        self.members = members;
    }

    fn fire(&mut self, name: &str) {
        let now = self.now();
        self.alerts.insert(name.to_owned(), (now, None));
        self.post();
    }

    fn resolve(&mut self, name: &str) {
        let now = self.now();
        if let Some(alert) = self.alerts.get_mut(name) {
            alert.1 = Some(now);
        }
        self.post();
    }

    fn count(&self, what: &str) -> usize {
        self.told.get(what).copied().unwrap_or(0)
    }

    // What every member knows, which has to be the same.
    fn states(&self) -> Vec<Known> {
        let of = |member: &Member| {
            let inner = &member.manager.inner;
            let all = [
                inner.silences.lock().snapshot(),
                inner.nflog.lock().snapshot(),
                inner.recurring.snapshot(),
                inner.acks.snapshot(),
            ];
            all.map(|messages| messages.into_iter().collect())
        };
        self.members.values().map(of).collect()
    }

    // All know the same.
    #[track_caller]
    fn assert_same(&self, when: &str) {
        let states = self.states();
        let kinds = ["silences", "entries", "recurring silences", "acknowledgements"];
        for two in states.windows(2) {
            for (kind, (a, b)) in kinds.iter().zip(two[0].iter().zip(&two[1])) {
                let others: Vec<_> = a.symmetric_difference(b).map(|m| String::from_utf8_lossy(m)).collect();
                assert!(others.is_empty(), "{when}: {kind} differ: {others:?}");
            }
        }
    }

    // What every member does twice a minute.
    fn sweep(&self) {
        for member in self.members.values() {
            member.manager.inner.sweep_acknowledgements();
            member.manager.inner.make_recurring();
        }
    }

    // A member that lives.
    fn any(&self, random: &mut Seeded) -> &Member {
        let place = random.below(self.members.len() as u64) as usize;
        self.members.values().nth(place).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn three_members_tell_everything_once() {
    for seed in 0..6 {
        // Up to half a second for every piece, and clocks that are up to two seconds apart.
        let mut run = Run::new(seed, 500, [0, 2_000, -1_500]);
        run.go_on(10).await;
        for n in 0..8 {
            run.fire(&format!("a{n}"));
            run.go_on(7).await;
        }
        run.go_on(40).await;
        for n in 0..8 {
            run.resolve(&format!("a{n}"));
            run.go_on(3).await;
        }
        run.go_on(60).await;
        let once: BTreeMap<String, usize> = (0..8)
            .flat_map(|n| [(format!("+a{n}"), 1), (format!("-a{n}"), 1)])
            .collect();
        assert_eq!(run.told, once, "seed {seed}");
        run.assert_same(&format!("seed {seed}"));
        assert_eq!(run.states()[0][1].len(), 8);
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_that_are_far_off_lose_nothing_and_contradict_each_other_only_so_long() {
    let mut run = Run::new(9, 100, [0, 90_000, -90_000]);
    run.go_on(10).await;
    for n in 0..4 {
        run.fire(&format!("a{n}"));
        run.go_on(20).await;
    }
    for n in 0..4 {
        run.resolve(&format!("a{n}"));
        run.go_on(20).await;
    }
    // One member takes for over what fires for another one by its clock.
    run.go_on(150).await;
    for n in 0..4 {
        let counts = [format!("+a{n}"), format!("-a{n}")].map(|what| run.count(&what));
        assert!(counts.iter().all(|count| *count >= 1), "{counts:?}: {:?}", run.log);
    }
    let before = run.log.len();
    run.go_on(60).await;
    assert_eq!(run.log.len(), before, "{:?}", run.log);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_whatever_happens_to_members_and_links() {
    let seeds = std::env::var("CUPOLA_CLUSTER_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(12);
    let (mut twice, mut acked, mut recurred) = (0, 0, 0);
    for seed in 0..seeds {
        let mut random = Seeded(seed * 7919 + 11);
        let mut run = Run::new(seed, 300, [0, 700, -700]);
        run.go_on(5).await;
        let mut made = 0_usize;
        for _ in 0..40 {
            match random.below(12) {
                0 => {
                    let (a, b) = (1 + random.below(3) as u8, 1 + random.below(3) as u8);
                    run.world.change(|links| {
                        links.cut.insert(pair(a, b));
                    });
                }
                1 => run.world.change(|links| {
                    let alone = 1 + links.random.below(3) as u8;
                    links.cut.extend((1..=HOSTS).map(|other| pair(alone, other)));
                }),
                2 | 3 => run.world.change(|links| links.cut.clear()),
                4 => run.world.break_links(1 + random.below(3) as u8),
                5 => {
                    let host = 1 + random.below(3) as u8;
                    if run.members.len() > 1 {
                        run.kill(host);
                    }
                }
                6 => {
                    for host in 1..=HOSTS {
                        if !run.members.contains_key(&host) {
                            run.start(host);
                        }
                    }
                }
                7 => acked += usize::from(shared::acknowledge_something(&run, &mut random)),
                8 => recurred += usize::from(shared::recur_somehow(&run, &mut random)),
                _ => {
                    run.fire(&format!("a{made}"));
                    made += 1;
                }
            }
            if random.below(4) == 0 {
                run.sweep();
            }
            run.go_on(1 + random.below(12)).await;
            if made > 3 && random.below(3) == 0 {
                let name = format!("a{}", random.below(made as u64));
                if run.alerts.get(&name).is_some_and(|alert| alert.1.is_none()) && run.count(&format!("+{name}")) > 0 {
                    run.resolve(&name);
                }
            }
        }
        run.world.change(|links| links.cut.clear());
        for host in 1..=HOSTS {
            if !run.members.contains_key(&host) {
                run.start(host);
            }
        }
        run.go_on(90).await;
        run.sweep();
        run.go_on(5).await;
        for (name, (_, ends_at)) in &run.alerts {
            assert!(
                run.count(&format!("+{name}")) > 0,
                "seed {seed}: {name} was not told: {:?}",
                run.told
            );
            if ends_at.is_some() {
                assert!(
                    run.count(&format!("-{name}")) > 0,
                    "seed {seed}: the end of {name} was not told: {:?}",
                    run.told
                );
            }
        }
        assert!(made > 0, "seed {seed} tests nothing");
        twice += run.told.values().filter(|count| **count > 1).count();
        // All know the same again, and from now on everything is told once.
        run.assert_same(&format!("seed {seed}"));
        shared::no_window_is_silenced_twice(&run);
        run.fire("last");
        run.go_on(60).await;
        assert_eq!(run.count("+last"), 1, "seed {seed}");
    }
    assert!(acked > 0 && recurred > 0, "{acked} {recurred}");
    // Otherwise nothing was ever cut.
    assert!(twice > 0, "no schedule led to anything being told twice");
}

#[tokio::test(start_paused = true)]
async fn a_silence_made_on_one_mutes_on_all_also_after_a_partition_and_a_restart() {
    let mut run = Run::new(3, 50, [0; 3]);
    run.go_on(5).await;
    let silence = |run: &Run, host: u8, name: &str| {
        let request = SilenceRequest {
            matchers: vec![("alertname".to_owned(), cupola_model::MatchOp::Equal, name.to_owned())],
            ends_at: run.now() + 3_600_000,
            created_by: "a".to_owned(),
            comment: "b".to_owned(),
            ..SilenceRequest::default()
        };
        run.members[&host].manager.set_silence(request).unwrap()
    };
    let id = silence(&run, 2, "quiet");
    run.go_on(1).await;
    for host in 1..=HOSTS {
        assert!(run.members[&host].manager.silence(&id).is_some(), "{host}");
    }
    // Alone, and told later.
    run.world.change(|links| links.cut.extend([pair(1, 3), pair(2, 3)]));
    run.go_on(10).await;
    assert_eq!(run.members[&3].cluster.position(), 0, "it believes to be alone");
    assert_eq!(run.members[&1].cluster.status().peers.len(), 2);
    let other = silence(&run, 3, "still");
    run.go_on(5).await;
    assert!(run.members[&1].manager.silence(&other).is_none());
    run.world.change(|links| links.cut.clear());
    run.go_on(20).await;
    assert!(run.members[&1].manager.silence(&other).is_some());
    // What came from elsewhere is on disk, too: the only one left still has it.
    for host in 1..=HOSTS {
        run.kill(host);
    }
    run.start(1);
    run.fire("quiet");
    run.fire("still");
    run.fire("loud");
    run.go_on(30).await;
    assert_eq!(run.told, BTreeMap::from([("+loud".to_owned(), 1)]));
    // An end on one is an end on all.
    run.start(2);
    run.go_on(10).await;
    run.members[&2].manager.expire_silence(&id).unwrap();
    run.go_on(30).await;
    assert_eq!(run.count("+quiet"), 1);
    assert_eq!(run.count("+still"), 0);
}

#[tokio::test(start_paused = true)]
async fn when_the_first_member_dies_the_next_one_tells() {
    let mut run = Run::new(1, 20, [0; 3]);
    run.go_on(5).await;
    // It goes while the others wait for it to tell.
    run.fire("a");
    run.kill(1);
    run.go_on(12).await;
    assert_eq!(run.count("+a"), 1);
    assert_eq!(run.members[&2].cluster.position(), 0);
    // One that stops in order leaves at once.
    let member = run.members.remove(&2).unwrap();
    member.manager.inner.stop.cancel();
    member.manager.stopped().await;
    run.world.change(|links| {
        links.listening.remove(&2);
    });
    run.go_on(1).await;
    assert_eq!(run.members[&3].cluster.status().peers.len(), 1);
    run.fire("b");
    run.go_on(3).await;
    assert_eq!(run.count("+b"), 1);
    assert_eq!(run.count("+a"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_has_not_heard_of_an_end_does_not_tell_again_what_has_ended() {
    let mut run = Run::new(4, 20, [0; 3]);
    run.go_on(5).await;
    run.fire("a");
    run.go_on(15).await;
    // The first member stood still when it was posted.
    let first = run.members.remove(&1).unwrap();
    run.resolve("a");
    run.members.insert(1, first);
    tokio::time::sleep(Duration::from_secs(60)).await;
    run.go_on(0).await;
    let once = BTreeMap::from([("+a".to_owned(), 1), ("-a".to_owned(), 1)]);
    assert_eq!(run.told, once, "{:?}", run.log);
    // It fires again, and that is posted to all.
    run.alerts.clear();
    run.fire("a");
    run.go_on(20).await;
    assert_eq!(run.count("+a"), 2, "{:?}", run.log);
    // Once more, and nobody says anything for as long as an alert lasts: at least once is the promise.
    let first = run.members.remove(&1).unwrap();
    run.resolve("a");
    run.members.insert(1, first);
    tokio::time::sleep(Duration::from_secs(200)).await;
    run.go_on(0).await;
    assert_eq!((run.count("+a"), run.count("-a")), (2, 2), "{:?}", run.log);
    tokio::time::sleep(Duration::from_secs(200)).await;
    run.go_on(0).await;
    assert_eq!(run.count("+a"), 3, "{:?}", run.log);
}

// A message that no member may send is no silence and no entry.
#[tokio::test]
async fn bytes_that_are_no_state_change_nothing() {
    let options = ClusterOptions::new("m".to_owned(), address(1));
    let world = World::new(1, 0);
    let registry = Registry::default();
    let cluster = Cluster::new(
        options,
        Arc::new(Sight::new(&world, 1, 1)),
        &registry,
        &crate::CLUSTER_KEYS,
    );
    let options = Options {
        cluster: Some(cluster),
        ..Options::default()
    };
    let manager = start_at(YAML, options, Instant::now());
    let inner = &manager.inner;
    let silence = SilenceRequest {
        matchers: vec![("a".to_owned(), cupola_model::MatchOp::Regex, "b|c".to_owned())],
        ends_at: manager.now_ms() + 3_600_000,
        ..SilenceRequest::default()
    };
    manager.set_silence(silence).unwrap();
    let corpus = inner.silences.lock().snapshot();
    let before = inner.metrics.silences.propagated.get();
    // Its regular expression is none.
    let broken = String::from_utf8_lossy(&corpus[0]).replace("b|c", "b(c");
    for message in [&b"\xff\xff"[..], broken.as_bytes()] {
        let news = inner.merge_silences(&[bytes::Bytes::copy_from_slice(message)]);
        assert!(news.is_empty(), "{message:?}");
    }
    assert_eq!(inner.metrics.silences.propagated.get(), before);
    cupola_testkit::fuzz(4_000, &corpus, &["b|c"], |message| {
        inner.merge_silences(&[bytes::Bytes::copy_from_slice(message)]);
        inner.merge_entries(&[bytes::Bytes::copy_from_slice(message)]);
        inner.merge_recurring(&[bytes::Bytes::copy_from_slice(message)]);
        inner.merge_acknowledgements(&[bytes::Bytes::copy_from_slice(message)]);
    });
}
