//! Members of a cluster on loopback: with TLS, beside Debian's programs, and while one of them hangs, is slow, has a disk
//! that is full or a clock that jumps. (`cluster.rs` has those that are cut apart and killed.)

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use cupola_tests::{
    Clock, FakeServer, FakeTarget, Home, Pki, Prometheus, Reply, Request, Response, Server, TinyDisk, binary, cupola,
    eventually, free_address, neighbour, request, run, skip,
};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

// Short enough that nobody waits long, and long enough for a machine that is busy with other tests.
const QUICK: &str = "--cluster.gossip-interval=50ms --cluster.pushpull-interval=1s --cluster.probe-interval=500ms \
                     --cluster.probe-timeout=1s --cluster.reconnect-interval=300ms --cluster.tcp-timeout=3s \
                     --cluster.settle-timeout=20s";

/// One member; `m0` comes first.
struct Member {
    server: Server,
    gossip: SocketAddr,
}

impl Member {
    fn get(&self, path: &str) -> Value {
        self.server.get(path).json()
    }

    fn metric(&self, name: &str) -> f64 {
        self.server.own_metric(name).unwrap_or(0.0)
    }

    fn post(&self, path: &str, body: &Value) -> Response {
        let headers = [("Content-Type", "application/json")];
        request(
            self.server.address(),
            "POST",
            path,
            &headers,
            body.to_string().as_bytes(),
        )
        .unwrap()
    }

    fn sees(&self) -> Option<Vec<String>> {
        let status = self.get("/api/v2/status");
        let peers = status["cluster"]["peers"].as_array()?.iter();
        let names: Vec<String> = peers
            .filter_map(|peer| Some(peer["name"].as_str()?.to_owned()))
            .collect();
        (status["cluster"]["status"] == "ready").then_some(names)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.server.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn log_has(&self, part: &str) -> bool {
        self.server.log().iter().any(|line| line.contains(part))
    }

    #[track_caller]
    fn tells(&self, part: &str) {
        eventually(30, &format!("the log has {part:?}"), || {
            self.log_has(part).then_some(())
        });
    }
}

/// Members that have one configuration and one receiver.
struct World {
    home: Home,
    sink: FakeServer,
    peers: Vec<SocketAddr>,
    flags: Vec<String>,
}

impl World {
    fn new(count: usize, timing: &str, flags: &[&str]) -> Self {
        Self::with(count, timing, flags, |_| Reply::status(200))
    }

    fn with(
        count: usize,
        timing: &str,
        flags: &[&str],
        reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (home, sink) = (Home::new(), FakeServer::start(reply));
        let yaml = format!(
            "route: {{receiver: r, group_by: [alertname], {timing}, repeat_interval: 1h}}\n\
             receivers:\n- name: r\n  webhook_configs: [{{url: '{}'}}]\n",
            sink.url("/hook")
        );
        home.write("alertmanager.yml", &yaml);
        Self {
            home,
            sink,
            peers: (0..count).map(|_| free_address()).collect(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        }
    }

    fn storage(&self, member: usize) -> PathBuf {
        self.home.path().join(format!("data{member}"))
    }

    fn member(&self, member: usize) -> Member {
        self.start(&format!("m{member}"), self.peers[member], &self.storage(member), &[])
    }

    fn all(&self) -> Vec<Member> {
        let members: Vec<Member> = (0..self.peers.len()).map(|member| self.member(member)).collect();
        self.are_whole(&members);
        members
    }

    fn start(&self, name: &str, gossip: SocketAddr, storage: &std::path::Path, flags: &[String]) -> Member {
        self.start_by(None, name, gossip, storage, flags)
    }

    // By a clock of its own, where there is one.
    fn start_by(
        &self,
        clock: Option<&Clock>,
        name: &str,
        gossip: SocketAddr,
        storage: &std::path::Path,
        flags: &[String],
    ) -> Member {
        let mut command = cupola(["alertmanager", "--web.listen-address=127.0.0.1:0"]);
        command.args(QUICK.split_whitespace()).args(&self.flags).args(flags);
        if let Some(clock) = clock {
            clock.give_to(&mut command);
        }
        command.args(self.peers.iter().map(|peer| format!("--cluster.peer={peer}")));
        command.args([
            format!("--cluster.listen-address={gossip}"),
            format!("--cluster.peer-name={name}"),
            format!("--config.file={}", self.home.path().join("alertmanager.yml").display()),
            format!("--storage.path={}", storage.display()),
        ]);
        let server = Server::start_reading(&mut command);
        Member { server, gossip }
    }

    fn are_whole(&self, members: &[Member]) {
        let names: Vec<String> = (0..members.len()).map(|member| format!("m{member}")).collect();
        for member in members {
            eventually(60, "every member knows the others", || {
                (member.sees()? == names).then_some(())
            });
        }
    }

    // How often the beginning (+) and the end (-) of alerts were told.
    fn told(&self, what: &str) -> usize {
        let mut count = 0;
        for message in self.sink.requests("/hook").iter().map(Request::json) {
            for alert in message["alerts"].as_array().unwrap() {
                let mark = if alert["status"] == "firing" { "+" } else { "-" };
                count += usize::from(format!("{mark}{}", alert["labels"]["alertname"].as_str().unwrap()) == what);
            }
        }
        count
    }

    fn is_told(&self, what: &str) {
        eventually(60, &format!("{what} is told"), || (self.told(what) > 0).then_some(()));
    }
}

// The members look several times, and tell nothing more.
fn are_calm(world: &World, members: &[Member]) {
    let looked = || -> Vec<f64> {
        let of = |member: &Member| member.metric("alertmanager_nflog_queries_total");
        members.iter().map(of).collect()
    };
    let mut before = (looked(), world.sink.requests("/hook").len());
    eventually(90, "nothing more is told", || {
        let now = looked();
        if now.iter().zip(&before.0).any(|(now, before)| *now < before + 4.0) {
            return None;
        }
        let told = world.sink.requests("/hook").len();
        let is_calm = told == before.1;
        before = (now, told);
        is_calm.then_some(())
    });
}

fn fire<'a>(members: impl IntoIterator<Item = &'a Member>, name: &str) {
    for member in members {
        let posted = member.post("/api/v2/alerts", &json!([{"labels": {"alertname": name}}]));
        assert_eq!(posted.status, 200, "{}", posted.text());
    }
}

// Everybody has told of the ends, or seen that somebody has: the groups are gone.
fn resolve(members: &[Member], names: &[&str]) {
    for member in members {
        let over = |name| json!({"labels": {"alertname": name}, "endsAt": "2020-01-01T00:00:00Z"});
        let over: Vec<Value> = names.iter().map(over).collect();
        assert_eq!(member.post("/api/v2/alerts", &Value::from(over)).status, 200);
    }
    are_idle(members);
}

fn are_idle(members: &[Member]) {
    for member in members {
        eventually(90, "nobody has anything left to tell", || {
            (member.metric("alertmanager_dispatcher_aggregation_groups") == 0.0).then_some(())
        });
    }
}

fn silence(member: &Member, name: &str) -> Response {
    let silence = json!({
        "matchers": [{"name": "alertname", "value": name, "isRegex": false, "isEqual": true}],
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z", "createdBy": "test", "comment": "cluster",
    });
    member.post("/api/v2/silences", &silence)
}

fn has_silence(member: &Member, id: &str) {
    eventually(30, "the silence is there", || {
        (member.server.get(&format!("/api/v2/silence/{id}")).status == 200).then_some(())
    });
}

fn id_of(made: &Response) -> String {
    assert_eq!(made.status, 200, "{}", made.text());
    made.json()["silenceID"].as_str().unwrap().to_owned()
}

// A file of `--cluster.tls-config` that shows the certificate of `server`, and as a client that of `client`.
fn tls(pki: &Pki, server: &str, client: Option<&str>) -> String {
    let pair = |name: &str| {
        let (cert, key) = (pki.path(&format!("{name}.crt")), pki.path(&format!("{name}.key")));
        format!("  cert_file: {cert}\n  key_file: {key}\n")
    };
    let ca = pki.path("ca.crt");
    let text = format!(
        "tls_server_config:\n{}  client_ca_file: {ca}\n  client_auth_type: RequireAndVerifyClientCert\n\
         tls_client_config:\n  ca_file: {ca}\n{}",
        pair(server),
        client.map(pair).unwrap_or_default()
    );
    pki.write(&format!("{server}-{}.yml", client.unwrap_or("none")), &text)
}

#[test]
fn members_with_certificates_find_each_other_and_nobody_else_becomes_one() {
    let Some(pki) = Pki::new() else { return };
    let good = format!("--cluster.tls-config={}", tls(&pki, "server", Some("server")));
    let world = World::new(2, "group_wait: 100ms, group_interval: 1s", &[&good]);
    let members = world.all();
    let id = id_of(&silence(&members[0], "quiet"));
    has_silence(&members[1], &id);
    let first = &members[0];
    assert!(first.log_has("tls=true"), "{:?}", first.server.log());
    let streams = "alertmanager_tls_transport_stream_connections_received_total";
    let all: f64 = members.iter().map(|member| member.metric(streams)).sum();
    assert!(all >= 1.0, "{all}");
    let refused = || first.metric("cupola_cluster_connections_refused_total");

    // Beside the flag that all have, the last one counts.
    let stranger =
        |name: &str, flags: &[String]| world.start(name, free_address(), &world.home.path().join(name), flags);
    let config = |server: &str, client| vec![format!("--cluster.tls-config={}", tls(&pki, server, client))];
    for (name, flags, at_first, at_stranger) in [
        (
            "no-certificate",
            config("server", None),
            "peer sent no certificates",
            "CertificateRequired",
        ),
        (
            "other-authority",
            config("renewed", Some("stranger")),
            "UnknownIssuer",
            "UnknownCA",
        ),
        (
            "no-tls",
            vec!["--cluster.tls-config=".to_owned()],
            "what comes is not TLS",
            "--cluster.tls-config",
        ),
    ] {
        let before = refused();
        let stranger = stranger(name, &flags);
        first.tells(at_first);
        stranger.tells(at_stranger);
        assert!(first.log_has("a connection to the cluster's port was refused"));
        eventually(30, "it is counted", || (refused() > before).then_some(()));
        let alone = eventually(60, "it has settled", || stranger.sees());
        assert_eq!(alone, [name]);
        assert!(stranger.metric("alertmanager_cluster_failed_peers") > 0.0);
        assert_eq!(first.sees().unwrap(), ["m0", "m1"], "{name}");
    }
    // Whoever only looks whether the port is open has done nothing wrong.
    let before = refused();
    drop(TcpStream::connect(first.gossip).unwrap());
    assert_eq!(id_of(&silence(&members[1], "later")).len(), 36);
    assert_eq!(refused(), before);
}

#[test]
fn a_cluster_without_tls_tells_a_member_with_it_what_is_wrong() {
    let Some(pki) = Pki::new() else { return };
    let world = World::new(1, "group_wait: 100ms, group_interval: 1s", &[]);
    let plain = world.member(0);
    let file = tls(&pki, "server", Some("server"));
    let flags = [format!("--cluster.tls-config={file}")];
    let encrypted = world.start("encrypted", free_address(), &world.home.path().join("e"), &flags);
    plain.tells("it speaks TLS, and this member has no --cluster.tls-config");
    encrypted.tells("a peer cannot be reached");
    let alone = eventually(60, "it has settled", || plain.sees());
    assert_eq!(alone, ["m0"]);
}

#[test]
fn a_tls_configuration_that_cannot_be_used_stops_the_start_with_its_places() {
    let Some(pki) = Pki::new() else { return };
    let home = Home::new();
    let config = home.write("alertmanager.yml", "route: {receiver: r}\nreceivers: [{name: r}]\n");
    let (cert, key) = (pki.path("server.crt"), pki.path("client.key"));
    let text = format!(
        "tls_server_config:\n  cert_file: {cert}\n  key_file: {key}\ntls_client_config:\n  ca_file: none.crt\n"
    );
    let file = pki.write("bad.yml", &text);
    let mut command = cupola(["alertmanager", "--web.listen-address=127.0.0.1:0"]);
    command.args([
        format!("--cluster.listen-address={}", free_address()),
        format!("--cluster.tls-config={file}"),
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", home.data().display()),
    ]);
    let done = run(&mut command, b"");
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    let none = pki.path("none.crt");
    for part in [
        format!("{file}:3:3: failed to load X509KeyPair: tls: private key does not match public key"),
        format!("{file}:5:3: open {none}: no such file or directory"),
    ] {
        assert!(done.stderr.contains(&part), "{part}: {}", done.stderr);
    }
    assert!(!home.data().exists(), "nothing was touched");
}

#[test]
fn debians_prometheus_posts_to_all_members_and_one_message_arrives() {
    let world = World::new(
        3,
        "group_wait: 100ms, group_interval: 1s",
        &["--cluster.peer-timeout=6s"],
    );
    let members = world.all();
    let target = FakeTarget::start("load 1\n");
    let home = Home::new();
    let rules = "groups:\n- name: g\n  interval: 250ms\n  rules:\n  - {alert: Load, expr: load > 10}\n";
    let rules = home.write("rules.yml", rules);
    let all: Vec<String> = members
        .iter()
        .map(|member| format!("'{}'", member.server.address()))
        .collect();
    let yaml = format!(
        "global: {{scrape_interval: 250ms, evaluation_interval: 250ms}}\nrule_files: ['{}']\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: [{}]}}]}}]}}\n\
         scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['{}']}}]\n",
        rules.display(),
        all.join(", "),
        target.address()
    );
    let Some(_prometheus) = Prometheus::with_config(home, &yaml, &["--rules.alert.resend-delay=1s"]) else {
        return;
    };
    target.set("load 20\n");
    world.is_told("+Load");
    for member in &members {
        eventually(30, "every member has the alert", || {
            let alerts = member.get("/api/v2/alerts");
            (alerts[0]["labels"]["alertname"] == "Load").then_some(())
        });
    }
    // Acknowledged at one, acknowledged at all.
    let fingerprint = members[2].get("/api/v2/alerts")[0]["fingerprint"]
        .as_str()
        .unwrap()
        .to_owned();
    let ack = json!({"fingerprint": fingerprint, "by": "ada", "note": "on it"});
    let done = members[2].post("/api/v2/acknowledgements", &ack);
    assert!(done.status < 300, "{}", done.text());
    for member in &members {
        eventually(30, "every member has the acknowledgement", || {
            (member.get("/api/v2/acknowledgements")[0]["by"] == "ada").then_some(())
        });
    }
    target.set("load 1\n");
    world.is_told("-Load");
    are_idle(&members);
    for member in &members {
        assert_eq!(member.get("/api/v2/acknowledgements"), json!([]));
    }
    assert_eq!((world.told("+Load"), world.told("-Load")), (1, 1));
    assert_eq!(world.sink.requests("/hook").len(), 2);

    // Who asks a member sees all of them, with Debian's amtool word for word as with ours.
    let Some(amtool) = neighbour("amtool") else { return };
    for output in ["simple", "extended", "json"] {
        let args = ["cluster", "show", "-o", output];
        let url = format!("--alertmanager.url={}", members[1].server.url());
        let theirs = run(Command::new(&amtool).arg(&url).args(args), b"");
        let ours = run(Command::new(binary()).args(["amtool", &url]).args(args), b"");
        assert_eq!(
            (theirs.code, ours.code),
            (Some(0), Some(0)),
            "{}{}",
            theirs.stderr,
            ours.stderr
        );
        assert_eq!(theirs.stdout, ours.stdout, "{output}");
        if output == "extended" {
            for (place, member) in members.iter().enumerate() {
                let line = format!("{}  m{place}", member.gossip);
                assert!(ours.stdout.contains(&line), "{line}: {}", ours.stdout);
            }
        }
    }
}

#[test]
fn a_first_member_that_hangs_is_not_waited_for_long_and_does_not_repeat_what_was_told_meanwhile() {
    let world = World::new(3, "group_wait: 2s, group_interval: 1s", &["--cluster.peer-timeout=10s"]);
    let members = world.all();
    // It has the alert already, and its group's timer runs out while it hangs.
    fire(&members, "hung");
    members[0].signal(Signal::STOP);
    world.is_told("+hung");
    for member in &members[1..] {
        eventually(30, "the others have noticed", || {
            (member.sees()? == ["m1", "m2"]).then_some(())
        });
    }
    members[0].signal(Signal::CONT);
    members[0].tells("stood still");
    world.are_whole(&members);
    resolve(&members, &["hung"]);
    assert_eq!((world.told("+hung"), world.told("-hung")), (1, 1));
    // It is the first again, and tells what comes now.
    let before = members[0].metric("alertmanager_notifications_total");
    fire(&members, "next");
    world.is_told("+next");
    assert!(members[0].metric("alertmanager_notifications_total") > before);
}

#[test]
fn members_that_stood_still_longer_than_the_others_wait_lose_nothing() {
    let world = World::new(
        3,
        "group_wait: 100ms, group_interval: 1s",
        &["--cluster.peer-timeout=4s"],
    );
    let members = world.all();
    fire(&members, "before");
    world.is_told("+before");
    for member in &members[..2] {
        member.signal(Signal::STOP);
    }
    let last = &members[2..];
    eventually(60, "the last one is alone", || {
        (last[0].sees()? == ["m2"]).then_some(())
    });
    // Meanwhile an alert begins, another ends, and one is silenced.
    fire(last, "during");
    let id = id_of(&silence(&last[0], "quiet"));
    let over = json!([{"labels": {"alertname": "before"}, "endsAt": "2020-01-01T00:00:00Z"}]);
    assert_eq!(last[0].post("/api/v2/alerts", &over).status, 200);
    world.is_told("+during");
    world.is_told("-before");
    for member in &members[..2] {
        member.signal(Signal::CONT);
    }
    for member in &members[..2] {
        member.tells("stood still");
    }
    world.are_whole(&members);
    // Who has alerts posts them again to all.
    for member in &members {
        has_silence(member, &id);
        assert_eq!(member.post("/api/v2/alerts", &over).status, 200);
    }
    fire(&members, "quiet");
    fire(&members, "during");
    fire(&members, "after");
    world.is_told("+after");
    are_calm(&world, &members);
    resolve(&members, &["during", "after", "quiet"]);
    // Those that stood still believe the log that it has ended, which is posted to them only now.
    for what in ["before", "during", "after"] {
        let (begin, end) = (world.told(&format!("+{what}")), world.told(&format!("-{what}")));
        assert_eq!((begin, end), (1, 1), "{what}");
    }
    assert_eq!(world.told("+quiet"), 0);
}

// A cluster of two, of which the clock of one is set.
fn with_clock(jumping: usize) -> Option<(World, Clock, Vec<Member>)> {
    let world = World::new(
        2,
        "group_wait: 100ms, group_interval: 1s",
        &["--cluster.peer-timeout=3s"],
    );
    let clock = Clock::new(&world.home)?;
    let start = |member: usize| {
        let clock = (member == jumping).then_some(&clock);
        let name = format!("m{member}");
        world.start_by(clock, &name, world.peers[member], &world.storage(member), &[])
    };
    let members: Vec<Member> = (0..2).map(start).collect();
    world.are_whole(&members);
    Some((world, clock, members))
}

// An alert begins and ends by each of these times, always of the same group.
fn tells_by_a_clock_that_jumps(jumping: usize) {
    let Some((world, clock, members)) = with_clock(jumping) else {
        return;
    };
    let (mut begins, mut ends) = (0, 0);
    for ahead in [120, -120, 240, 0] {
        clock.is_ahead_by(ahead);
        fire(&members, "alert");
        eventually(60, "its begin is told", || {
            (world.told("+alert") > begins).then_some(())
        });
        are_calm(&world, &members);
        resolve(&members, &["alert"]);
        let (began, ended) = (world.told("+alert") - begins, world.told("-alert") - ends);
        assert!((1..=2).contains(&began), "{ahead} s ahead: begin told {began} times");
        assert!((1..=2).contains(&ended), "{ahead} s ahead: end told {ended} times");
        (begins, ends) = (begins + began, ends + ended);
    }
}

#[test]
fn the_first_members_clock_jumps_and_every_begin_and_end_is_told_at_most_once_by_each() {
    tells_by_a_clock_that_jumps(0);
}

#[test]
fn the_second_members_clock_jumps_and_every_begin_and_end_is_told_at_most_once_by_each() {
    tells_by_a_clock_that_jumps(1);
}

#[test]
fn a_clock_that_jumps_beyond_the_end_of_alerts_is_calm_again_once_they_are_posted() {
    let Some((world, clock, members)) = with_clock(0) else {
        return;
    };
    fire(&members, "alert");
    world.is_told("+alert");
    are_calm(&world, &members);
    assert_eq!(world.told("+alert"), 1);
    // By the new time nobody has posted it for an hour.
    clock.is_ahead_by(3_600);
    world.is_told("-alert");
    fire(&members, "alert");
    are_calm(&world, &members);
    let last = world.sink.requests("/hook").last().map(Request::json).unwrap();
    assert_eq!(last["status"], "firing", "that it fires is what was said last");
    let ends = world.told("-alert");
    resolve(&members, &["alert"]);
    assert!((1..=2).contains(&(world.told("-alert") - ends)));
}

#[test]
fn a_receiver_that_is_slow_for_the_first_member_is_told_by_the_next_and_not_by_the_third() {
    // The first message is taken when the second one has come.
    let (arrived, second) = mpsc::channel();
    let (count, second) = (Mutex::new(0), Mutex::new(second));
    let world = World::with(
        3,
        "group_wait: 100ms, group_interval: 30s",
        &["--cluster.peer-timeout=4s"],
        move |_| {
            let place = {
                let mut count = count.lock();
                *count += 1;
                *count
            };
            match place {
                1 => drop(second.lock().recv_timeout(Duration::from_secs(60))),
                _ => drop(arrived.send(())),
            }
            Reply::status(200)
        },
    );
    let members = world.all();
    fire(&members, "slow");
    eventually(60, "the next one tells", || (world.told("+slow") == 2).then_some(()));
    // The third one knows of it before its turn comes.
    eventually(60, "the third one knows", || {
        let heard = members[2].metric("alertmanager_nflog_gossip_messages_propagated_total");
        (heard >= 1.0).then_some(())
    });
    // The third one's turn comes while its flush waits for it; when that is over it has told nothing.
    eventually(60, "the third one has looked", || {
        (members[2].metric("alertmanager_nflog_queries_total") >= 1.0).then_some(())
    });
    assert_eq!(members[2].metric("alertmanager_notifications_total"), 0.0);
    assert_eq!(world.told("+slow"), 2);
}

#[test]
fn a_member_whose_disk_is_full_tells_once_and_knows_what_the_others_know() {
    let Some(disk) = TinyDisk::mount(2048) else {
        return skip("mounting a file system needs root");
    };
    let world = World::new(
        2,
        "group_wait: 100ms, group_interval: 1s",
        &["--cluster.peer-timeout=5s"],
    );
    let full = world.start("m0", world.peers[0], &disk.path().join("data"), &[]);
    let members = [full, world.member(1)];
    world.are_whole(&members);
    disk.fill();
    // What somebody asks of it cannot be kept, and is refused.
    let refused = silence(&members[0], "mine");
    assert!(
        refused.status >= 400 && refused.text().contains("cannot be kept"),
        "{}",
        refused.text()
    );
    // What the other one has it has, too, in memory.
    let id = id_of(&silence(&members[1], "quiet"));
    has_silence(&members[0], &id);
    for name in ["quiet", "loud"] {
        fire(&members, name);
    }
    world.is_told("+loud");
    resolve(&members, &["loud", "quiet"]);
    assert_eq!(
        (world.told("+loud"), world.told("-loud"), world.told("+quiet")),
        (1, 1, 0)
    );
    assert!(
        members[0].metric("alertmanager_notifications_total") >= 2.0,
        "it is the first one all the same"
    );
    disk.free();
    assert_eq!(
        silence(&members[0], "mine").status,
        200,
        "it goes on once there is room"
    );
}

#[test]
fn a_recurring_silence_of_one_member_is_that_of_all_and_does_not_come_back_when_it_is_deleted() {
    let world = World::new(
        2,
        "group_wait: 100ms, group_interval: 1s",
        &["--cluster.peer-timeout=6s"],
    );
    let mut members = world.all();
    let recurring = json!({
        "matchers": [{"name": "alertname", "value": "muted", "isRegex": false}],
        "days": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
        "from": "00:00", "to": "00:00", "timeZone": "UTC", "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z",
        "createdBy": "ops", "comment": "every day",
    });
    let made = members[0].post("/api/v2/recurring-silences", &recurring);
    assert_eq!(made.status, 200, "{}", made.text());
    let path = format!("/api/v2/recurring-silence/{}", made.json()["id"].as_str().unwrap());
    // Each makes the silences, and they are the same.
    let silences = |member: &Member| {
        let all = member.get("/api/v2/silences?expired=false");
        let mut ids: Vec<String> = all.as_array().unwrap().iter().map(Value::to_string).collect();
        ids.sort();
        ids
    };
    let of_first = silences(&members[0]);
    assert_eq!(of_first.len(), 2, "{of_first:?}");
    eventually(30, "both have it", || {
        let is_there = members[1].get("/api/v2/recurring-silences")[0]["comment"] == "every day";
        (is_there && silences(&members[1]) == of_first).then_some(())
    });
    for name in ["muted", "loud"] {
        fire(&members, name);
    }
    world.is_told("+loud");
    // Who dies before it can say that it has told leaves that to the other one.
    eventually(30, "the other one knows that it was told", || {
        let heard = members[1].metric("alertmanager_nflog_gossip_messages_propagated_total");
        (heard >= 1.0).then_some(())
    });
    // It is deleted while the one that has it on its disk is away.
    members.remove(0).server.kill();
    let deleted = request(members[0].server.address(), "DELETE", &path, &[], b"").unwrap();
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    members.insert(0, world.member(0));
    world.are_whole(&members);
    for member in &members {
        eventually(30, "it is deleted", || {
            let is_gone = member.get("/api/v2/recurring-silences") == json!([]);
            (is_gone && silences(member).is_empty()).then_some(())
        });
    }
    fire(&members, "muted");
    world.is_told("+muted");
    resolve(&members, &["muted", "loud"]);
    assert_eq!(world.told("+loud"), 1);
}
