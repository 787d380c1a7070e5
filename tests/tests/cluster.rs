//! Three Alertmanagers in network namespaces of their own that are cut apart and healed, killed and started again by a
//! seeded schedule: nothing is lost, and where they can reach each other everything is told once.
//!
//! The test runs itself a second time inside the namespace in the middle (`hub`), which reaches every member over one
//! bridge; over the other one the members reach each other, and it is that one which is cut.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use cupola_tests::{Background, FakeServer, Home, Reply, Request, binary, eventually, get, now_ms, request, run, skip};
use serde_json::{Value, json};

const INSIDE: &str = "CUPOLA_TEST_NAMESPACES";
const SEED: &str = "CUPOLA_CLUSTER_SEED";
const MEMBERS: usize = 3;
const HUB: Ipv4Addr = Ipv4Addr::new(10, 213, 2, 254);
// Members that are not first wait so long each. No pause of the machine may take as long, or something is told twice.
const PEER_TIMEOUT: u64 = 8;
const ROUNDS: usize = 9;

fn ip(args: &str) {
    let done = run(Command::new("ip").args(args.split(' ')), b"");
    assert_eq!(done.code, Some(0), "ip {args}: {}", done.stderr);
}

fn namespace(prefix: &str, member: usize) -> String {
    format!("{prefix}-{member}")
}

/// Namespaces of one run; they go with it.
struct Namespaces {
    prefix: String,
}

impl Namespaces {
    fn new() -> Self {
        let all = run(Command::new("ip").args(["netns", "list"]), b"").stdout;
        for left in all.lines().filter_map(|line| line.split(' ').next()) {
            // Of a run that was killed.
            let pid = left.strip_prefix("cupola-").and_then(|rest| rest.split('-').next());
            if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
                ip(&format!("netns delete {left}"));
            }
        }
        let this = Self {
            prefix: format!("cupola-{}", std::process::id()),
        };
        let hub = this.hub();
        ip(&format!("netns add {hub}"));
        ip(&format!("-n {hub} link set lo up"));
        for bridge in ["between", "control"] {
            ip(&format!("-n {hub} link add {bridge} type bridge"));
            ip(&format!("-n {hub} link set {bridge} up"));
        }
        ip(&format!("-n {hub} address add {HUB}/24 dev control"));
        for member in 0..MEMBERS {
            let own = namespace(&this.prefix, member);
            ip(&format!("netns add {own}"));
            ip(&format!("-n {own} link set lo up"));
            for (bridge, net) in [("between", 1), ("control", 2)] {
                ip(&format!(
                    "-n {hub} link add {bridge}{member} type veth peer name {bridge} netns {own}"
                ));
                ip(&format!("-n {hub} link set {bridge}{member} master {bridge}"));
                ip(&format!("-n {hub} link set {bridge}{member} up"));
                ip(&format!(
                    "-n {own} address add 10.213.{net}.{}/24 dev {bridge}",
                    member + 1
                ));
                ip(&format!("-n {own} link set {bridge} up"));
            }
        }
        this
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        let members = (0..MEMBERS).map(|member| namespace(&self.prefix, member));
        for name in members.chain([self.hub()]) {
            let _ = Command::new("ip").args(["netns", "delete", &name]).status();
        }
    }
}

#[test]
fn members_that_are_cut_apart_and_killed_lose_nothing() {
    if let Ok(prefix) = std::env::var(INSIDE) {
        return Schedule::new(prefix).run();
    }
    let may = Command::new("ip").args(["netns", "list"]).output();
    if !may.is_ok_and(|done| done.status.success()) || !rustix::process::geteuid().is_root() {
        return skip("network namespaces need root and iproute2");
    }
    let namespaces = Namespaces::new();
    let this = std::env::current_exe().unwrap();
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", &namespaces.hub()]).arg(this);
    inside.args([
        "--exact",
        "members_that_are_cut_apart_and_killed_lose_nothing",
        "--nocapture",
    ]);
    inside.env(INSIDE, &namespaces.prefix);
    let status = inside.status().unwrap();
    assert!(status.success(), "the schedule failed, see above");
}

/// As `Random` elsewhere: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

struct Schedule {
    prefix: String,
    home: Home,
    sink: FakeServer,
    members: Vec<Option<Background>>,
    is_cut: [bool; MEMBERS],
    random: Random,
    // Names of alerts: whether all members were there and reached each other when it came.
    posted: BTreeMap<String, bool>,
    started_at: String,
}

fn address(member: usize) -> SocketAddr {
    SocketAddr::from(([10, 213, 2, member as u8 + 1], 9093))
}

fn status(member: usize) -> Option<Value> {
    let answer = get(address(member), "/api/v2/status").ok()?;
    (answer.status == 200).then(|| answer.json())
}

fn propagated(member: usize) -> f64 {
    let text = get(address(member), "/metrics").unwrap().text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("alertmanager_nflog_gossip_messages_propagated_total "));
    line.and_then(|value| value.parse().ok()).expect("the metric is there")
}

impl Schedule {
    fn new(prefix: String) -> Self {
        let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| now_ms().unsigned_abs());
        println!("{SEED}={seed} runs this schedule again");
        let home = Home::new();
        let sink = FakeServer::on(HUB, |_| Reply::status(200));
        home.write(
            "alertmanager.yml",
            &format!(
                "route: {{receiver: r, group_by: [alertname], group_wait: 100ms, group_interval: 1s, repeat_interval: 4h}}\n\
                 receivers:\n- name: r\n  webhook_configs: [{{url: '{}', send_resolved: false}}]\n",
                sink.url("/hook")
            ),
        );
        Self {
            prefix,
            home,
            sink,
            members: (0..MEMBERS).map(|_| None).collect(),
            is_cut: [false; MEMBERS],
            random: Random(seed),
            posted: BTreeMap::new(),
            started_at: rfc3339(now_ms()),
        }
    }

    fn start(&mut self, member: usize) {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &namespace(&self.prefix, member)])
            .arg(binary());
        command.args([
            "alertmanager".to_owned(),
            format!("--config.file={}", self.home.path().join("alertmanager.yml").display()),
            format!(
                "--storage.path={}",
                self.home.path().join(format!("data{member}")).display()
            ),
            format!("--web.listen-address={}", address(member)),
            format!("--cluster.listen-address=10.213.1.{}:9094", member + 1),
            format!("--cluster.peer-name=member-{member}"),
            format!("--cluster.peer-timeout={PEER_TIMEOUT}s"),
        ]);
        command.args(
            "--cluster.peer=10.213.1.1:9094 --cluster.peer=10.213.1.2:9094 --cluster.peer=10.213.1.3:9094 \
             --cluster.gossip-interval=50ms --cluster.pushpull-interval=1s --cluster.probe-interval=500ms \
             --cluster.probe-timeout=500ms --cluster.reconnect-interval=500ms --cluster.tcp-timeout=1s \
             --cluster.settle-timeout=5s"
                .split_whitespace(),
        );
        let child = Background::start(&format!("member {member}"), &mut command);
        if let Some(place) = self.members.get_mut(member) {
            *place = Some(child);
        }
        eventually(30, "a member answers", || status(member));
    }

    fn alive(&self) -> Vec<usize> {
        (0..MEMBERS).filter(|member| self.members[*member].is_some()).collect()
    }

    fn is_whole(&self) -> bool {
        self.alive().len() == MEMBERS && !self.is_cut.contains(&true)
    }

    fn cut(&mut self, member: usize, is_cut: bool) {
        let way = if is_cut { "down" } else { "up" };
        ip(&format!("-n {}-hub link set between{member} {way}", self.prefix));
        self.is_cut[member] = is_cut;
        if is_cut {
            self.is_noticed(member);
        }
    }

    // Everybody has what Prometheus has, and says it again and again.
    fn post(&self) {
        let alert = |name: &String| json!({"labels": {"alertname": name}, "startsAt": self.started_at});
        let all: Vec<Value> = self.posted.keys().map(alert).collect();
        let body = Value::from(all).to_string();
        for member in self.alive() {
            let headers = [("Content-Type", "application/json")];
            let answer = request(address(member), "POST", "/api/v2/alerts", &headers, body.as_bytes()).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }

    fn told(&self) -> BTreeMap<String, usize> {
        let mut told = BTreeMap::new();
        for message in self.sink.requests("/hook").iter().map(Request::json) {
            for alert in message["alerts"].as_array().unwrap() {
                let name = alert["labels"]["alertname"].as_str().unwrap().to_owned();
                *told.entry(name).or_default() += 1;
            }
        }
        told
    }

    fn whole(&self) {
        let names = |value: &Value| -> BTreeSet<String> {
            let peers = value["cluster"]["peers"].as_array().into_iter().flatten();
            peers
                .filter_map(|peer| Some(peer["name"].as_str()?.to_owned()))
                .collect()
        };
        for member in 0..MEMBERS {
            eventually(60, "every member knows the others", || {
                let status = status(member)?;
                (status["cluster"]["status"] == "ready" && names(&status).len() == MEMBERS).then_some(())
            });
        }
        for member in 0..MEMBERS {
            self.silence(member, &format!("nobody-{member}"));
        }
    }

    // Until then members count on somebody who is not there any more.
    fn is_noticed(&self, gone: usize) {
        let own = format!("member-{gone}");
        for member in self.alive().into_iter().filter(|member| *member != gone) {
            eventually(60, "the others notice that a member is gone", || {
                let status = status(member)?;
                let mut peers = status["cluster"]["peers"].as_array()?.iter();
                (!peers.any(|peer| peer["name"] == own.as_str())).then_some(())
            });
        }
    }

    fn round(&mut self, round: usize) {
        let member = self.random.below(MEMBERS as u64) as usize;
        let action = self.random.below(4);
        match action {
            0 if self.members[member].is_some() => {
                println!("round {round}: kill -9 of member {member}");
                self.members[member].take().unwrap().kill();
            }
            1 => {
                let second = (member + 1) % MEMBERS;
                let both = self.random.below(2) == 0;
                println!("round {round}: member {member} is cut off, and {second}: {both}");
                self.cut(member, true);
                if both {
                    self.cut(second, true);
                }
            }
            _ => {
                println!("round {round}: everything is well again");
                for member in 0..MEMBERS {
                    if self.is_cut[member] {
                        self.cut(member, false);
                    }
                    if self.members[member].is_none() {
                        self.start(member);
                    }
                }
                self.whole();
            }
        }
        let name = format!("round-{round}");
        let is_whole = self.is_whole();
        let before: f64 = if is_whole {
            (0..MEMBERS).map(propagated).sum()
        } else {
            0.0
        };
        self.posted.insert(name.clone(), is_whole);
        self.post();
        // A member that died a moment ago is still waited for.
        eventually(90, &format!("{name} is told"), || self.told().get(&name).copied());
        if is_whole {
            eventually(30, "the others know that it was told", || {
                let now: f64 = (0..MEMBERS).map(propagated).sum();
                (now >= before + (MEMBERS - 1) as f64).then_some(())
            });
        }
    }

    // A silence that is made on one member is on all. So are, then, the entries of the log from before: they go the same way.
    fn silence(&self, member: usize, matching: &str) {
        let silence = json!({
            "matchers": [{"name": "alertname", "value": matching, "isRegex": true, "isEqual": true}],
            "startsAt": rfc3339(now_ms() - 1000), "endsAt": rfc3339(now_ms() + 3_600_000),
            "createdBy": "test", "comment": "cluster",
        });
        let headers = [("Content-Type", "application/json")];
        let body = silence.to_string();
        let made = request(address(member), "POST", "/api/v2/silences", &headers, body.as_bytes()).unwrap();
        assert_eq!(made.status, 200, "{}", made.text());
        let id = made.json()["silenceID"].as_str().unwrap().to_owned();
        for other in 0..MEMBERS {
            eventually(60, "the silence is everywhere", || {
                let found = get(address(other), &format!("/api/v2/silence/{id}")).ok()?;
                (found.status == 200 && found.json()["status"]["state"] == "active").then_some(())
            });
        }
    }

    fn run(mut self) {
        for member in 0..MEMBERS {
            self.start(member);
        }
        self.whole();
        self.silence(1, "quiet.*");
        self.posted.insert("quiet-1".to_owned(), true);
        for round in 0..ROUNDS {
            self.round(round);
        }
        for member in 0..MEMBERS {
            if self.is_cut[member] {
                self.cut(member, false);
            }
            if self.members[member].is_none() {
                self.start(member);
            }
        }
        self.whole();
        self.post();
        // The last one in the row has had its turn for everything.
        self.posted.insert("last".to_owned(), true);
        self.post();
        eventually(30, "the last alert is told", || self.told().get("last").copied());
        let (begin, turns) = (
            Instant::now(),
            Duration::from_secs(PEER_TIMEOUT * (MEMBERS as u64 - 1) + 2),
        );
        eventually(90, "every member has had its turn", || {
            (begin.elapsed() > turns).then_some(())
        });
        let told = self.told();
        assert!(!told.contains_key("quiet-1"), "silenced on one member, silenced on all");
        for (name, was_whole) in self.posted.iter().filter(|(name, _)| *name != "quiet-1") {
            let times = told.get(name).copied().unwrap_or(0);
            assert!(times > 0, "{name} was never told");
            assert!(
                times == 1 || !was_whole,
                "{name} was told {times} times, though nothing was wrong"
            );
            assert!(times <= MEMBERS, "{name} was told {times} times by {MEMBERS} members");
        }
        println!("told: {told:?}");
    }
}

fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}
