//! The shared scenarios (`scenarios.json`) that need whole processes: members of a cluster, amtool, addresses, and what a
//! webhook leaves out. All others are run with a clock that the test turns (`crates/alert/src/dispatch/tests/scenarios.rs`).
//!
//! Steps are taken one after the other, each when the one before has had its effect; the scenarios' seconds are not waited
//! for.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::SocketAddr;

use cupola_tests::{
    Background, FakeServer, Finished, Home, Reply, Request, Response, conformance, cupola, eventually, free_address,
    get, request, run,
};
use serde_json::{Value, json};

// Short enough that nobody waits long. No pause of the machine may take as long as the peer timeout, or something is told
// twice.
const QUICK: &str = "--cluster.gossip-interval=50ms --cluster.pushpull-interval=1s --cluster.probe-interval=500ms \
                     --cluster.probe-timeout=1s --cluster.reconnect-interval=300ms --cluster.tcp-timeout=3s \
                     --cluster.settle-timeout=20s --cluster.peer-timeout=6s";
const PEOPLE_WAIT: u64 = 90;

struct Member {
    process: Background,
    address: SocketAddr,
}

/// One scenario on its way.
struct Scenario<'a> {
    case: &'a Value,
    home: Home,
    sink: FakeServer,
    prefix: String,
    flags: Vec<String>,
    // Where members of a cluster reach each other; none where there is one process alone.
    gossip: Vec<SocketAddr>,
    // In the order of their names, which is that of their positions.
    members: Vec<Option<Member>>,
    silence: String,
}

impl<'a> Scenario<'a> {
    fn new(case: &'a Value) -> Self {
        let (home, sink) = (Home::new(), FakeServer::start(|_| Reply::status(200)));
        let yaml = case["config"].as_str().unwrap().replace("SINK1", &sink.url("/SINK1"));
        home.write("alertmanager.yml", &yaml);
        let steps = || case["steps"].as_array().unwrap().iter();
        let flags: Vec<String> = steps()
            .flat_map(|step| step["flags"].as_array().into_iter().flatten())
            .map(|flag| flag.as_str().unwrap().to_owned())
            .collect();
        let prefix = flags.iter().find_map(|flag| flag.strip_prefix("--web.route-prefix="));
        let count = |name: &str| steps().filter_map(|step| step[name].as_u64()).sum::<u64>();
        let mut this = Self {
            case,
            home,
            sink,
            prefix: prefix.unwrap_or("").to_owned(),
            flags,
            gossip: (0..count("cluster") + count("join")).map(|_| free_address()).collect(),
            members: Vec::new(),
            silence: String::new(),
        };
        this.start(count("cluster").max(1));
        this
    }

    fn start(&mut self, count: u64) {
        for _ in 0..count {
            let index = self.members.len();
            let address = free_address();
            let mut command = cupola(["alertmanager"]);
            command.current_dir(self.home.path()).args(&self.flags).args([
                format!("--web.listen-address={address}"),
                "--config.file=alertmanager.yml".to_owned(),
                format!("--storage.path=data{index}"),
            ]);
            match self.gossip.get(index) {
                None => command.arg("--cluster.listen-address="),
                Some(own) => command
                    .args(QUICK.split_whitespace())
                    .arg(format!("--cluster.listen-address={own}"))
                    .arg(format!("--cluster.peer-name=m{index}"))
                    .args(self.gossip.iter().map(|peer| format!("--cluster.peer={peer}"))),
            };
            let mut process = Background::start(&format!("m{index}"), &mut command);
            let ready = format!("{}/-/ready", self.prefix);
            eventually(30, "a member is ready", || {
                assert!(process.ended().is_none(), "a member ended");
                get(address, &ready).ok().filter(|answer| answer.status == 200)
            });
            self.members.push(Some(Member { process, address }));
        }
        self.is_whole();
    }

    // Every member that runs knows those that run, and no other.
    fn is_whole(&self) {
        let names: Vec<String> = (0..self.members.len())
            .filter(|index| self.members[*index].is_some())
            .map(|index| format!("m{index}"))
            .collect();
        for member in self.running().filter(|_| !self.gossip.is_empty()) {
            eventually(PEOPLE_WAIT, "the members know each other", || {
                let status = get(member.address, "/api/v2/status").ok()?.json();
                let peers = status["cluster"]["peers"].as_array()?.iter();
                let seen: Vec<&str> = peers.filter_map(|peer| peer["name"].as_str()).collect();
                (status["cluster"]["status"] == "ready" && seen == names).then_some(())
            });
        }
    }

    fn running(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().flatten()
    }

    // `member 1`, or the first.
    fn member(&self, name: &Value) -> &Member {
        let index = name.as_str().and_then(|name| name.rsplit(' ').next()?.parse().ok());
        self.members[index.unwrap_or(0)].as_ref().unwrap()
    }

    fn post(member: &Member, path: &str, body: &Value) -> Response {
        let headers = [("Content-Type", "application/json")];
        let answer = request(member.address, "POST", path, &headers, body.to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer
    }

    fn step(&mut self, step: &Value) {
        if let Some(alerts) = step["post"].as_array() {
            let alerts: Vec<Value> = alerts.iter().map(|alert| json!({"labels": alert["labels"]})).collect();
            let to_all = step["post_to"] == "all";
            for member in self.running().take(if to_all { usize::MAX } else { 1 }) {
                Self::post(member, "/api/v2/alerts", &alerts.clone().into());
            }
        }
        if let Some(silence) = step["silence"].as_object() {
            let (name, value) = silence["matchers"][0].as_str().unwrap().split_once('=').unwrap();
            let silence = json!({
                "matchers": [{"name": name, "value": value.trim_matches('"'), "isRegex": false, "isEqual": true}],
                "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z", "createdBy": "t", "comment": "t",
            });
            Self::post(self.member(&step["to"]), "/api/v2/silences", &silence);
        }
        if let Some(who) = step["kill"].as_str() {
            let index: usize = who.strip_prefix("member at position ").unwrap().parse().unwrap();
            self.members[index].take().unwrap().process.kill();
            self.is_whole();
        }
        if let Some(count) = step["join"].as_u64() {
            self.start(count);
        }
        if let Some(path) = step["get"].as_str() {
            self.check_get(path, step);
        }
        if step["amtool"].is_array() {
            self.amtool(step);
        }
    }

    fn check_get(&self, path: &str, step: &Value) {
        let (address, want) = (self.member(&step["to"]).address, &step["want"]);
        if let Some(count) = want["count"].as_u64() {
            // Silences that are over are listed, too, unless `expired=false` is asked for.
            let is_counted = |one: &&Value| one["status"]["state"] != "expired";
            return eventually(PEOPLE_WAIT, &step.to_string(), || {
                let listed = get(address, path).ok()?.json();
                let found = listed.as_array()?.iter().filter(is_counted).count();
                (found as u64 == count).then_some(())
            });
        }
        let answer = get(address, path).unwrap();
        assert_eq!(Value::from(answer.status), want["status"], "{step}");
        if let Some(location) = want["location"].as_str() {
            assert_eq!(answer.header("location").trim_end_matches('/'), location, "{step}");
        }
    }

    fn amtool(&mut self, step: &Value) {
        let mut command = cupola(["amtool"]);
        command.current_dir(self.home.path()).env("HOME", self.home.path());
        command.arg(format!(
            "--alertmanager.url=http://{}",
            self.member(&Value::Null).address
        ));
        let mut args: Vec<&str> = Vec::new();
        for arg in step["amtool"].as_array().unwrap() {
            args.push(match arg.as_str().unwrap() {
                "<id>" => &self.silence,
                "5 silences of which 2 end before they start" => {
                    self.home.write("F", &five_silences().to_string());
                    "F"
                }
                arg => arg,
            });
        }
        let want = &step["want"];
        let is_counted = want["count"].is_u64();
        if is_counted {
            args.extend(["-o", "json"]);
        }
        let done: Finished = run(command.args(&args), b"");
        let code = want["exit"].as_i64().unwrap_or(0);
        assert_eq!(done.code.map(i64::from), Some(code), "{step}: {}", done.stderr);
        if let Some(part) = want["contains"].as_str() {
            assert!(done.stderr.contains(part), "{step}: {}", done.stderr);
        }
        if is_counted {
            let listed: Vec<Value> = serde_json::from_str(&done.stdout).unwrap();
            assert_eq!(Value::from(listed.len()), want["count"], "{step}: {}", done.stdout);
        }
        if let Some(file) = step["save"].as_str() {
            self.home.write(file, &done.stdout);
        }
        match args[..2] {
            ["silence", "add"] => done.stdout.trim().clone_into(&mut self.silence),
            ["silence", "import"] if code == 0 => assert_ne!(done.stdout.trim(), self.silence, "a new id"),
            _ => {}
        }
    }

    fn messages(&self) -> Vec<Value> {
        self.sink.requests("/SINK1").iter().map(Request::json).collect()
    }

    // A message of exactly the alerts that are expected, and as many of them as are left out.
    fn fits(message: &Value, expected: &Value) -> bool {
        if let Some(count) = expected["alerts_len"].as_u64() {
            let shown = message["alerts"].as_array().unwrap().len() as u64;
            return shown == count && message["truncatedAlerts"] == expected["truncatedAlerts"];
        }
        let (told, wanted) = (
            message["alerts"].as_array().unwrap(),
            expected["alerts"].as_array().unwrap(),
        );
        let is_told = |wanted: &Value| {
            let mut told = told.iter();
            told.any(|one| one["labels"] == wanted["labels"] && one["status"] == wanted["status"])
        };
        told.len() == wanted.len() && wanted.iter().all(is_told)
    }

    fn run(mut self) {
        for step in self.case["steps"].as_array().unwrap() {
            self.step(step);
        }
        let expected = self.case["expect"].as_array().unwrap();
        for one in expected {
            eventually(PEOPLE_WAIT, &format!("{}: {one}", self.case["id"]), || {
                self.messages().iter().any(|told| Self::fits(told, one)).then_some(())
            });
        }
        if self.gossip.is_empty() || expected.is_empty() {
            return;
        }
        // A cluster says everything once. Who has still to speak has done so when nobody has anything left to tell.
        for member in self.running() {
            let listed = get(member.address, "/api/v2/alerts").unwrap().json();
            let over = |alert: &Value| json!({"labels": alert["labels"], "endsAt": "2020-01-01T00:00:00Z"});
            let over: Vec<Value> = listed.as_array().unwrap().iter().map(over).collect();
            Self::post(member, "/api/v2/alerts", &over.into());
        }
        for member in self.running() {
            eventually(PEOPLE_WAIT, "nobody has anything left to tell", || {
                let text = get(member.address, "/metrics").ok()?.text();
                let mut lines = text.lines();
                lines
                    .find(|line| *line == "alertmanager_dispatcher_aggregation_groups 0")
                    .map(drop)
            });
        }
        for one in expected {
            let total = self.messages().iter().filter(|told| Self::fits(told, one)).count();
            assert_eq!(total, 1, "{}: {one}", self.case["id"]);
        }
    }
}

fn five_silences() -> Value {
    let silence = |index: u64| {
        json!({
            "matchers": [{"name": "i", "value": index.to_string(), "isRegex": false, "isEqual": true}],
            "startsAt": "2090-01-01T00:00:00Z",
            "endsAt": if index % 2 == 1 { "2089-01-01T00:00:00Z" } else { "2091-01-01T00:00:00Z" },
            "createdBy": "t", "comment": "t",
        })
    };
    (0..5).map(silence).collect()
}

#[test]
fn the_scenarios_of_clusters_amtool_and_addresses_happen() {
    let Some(file) = conformance("alertmanager/scenarios.json") else {
        return;
    };
    let all: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let needs_processes = |case: &&Value| matches!(case["area"].as_str(), Some("ha" | "amtool" | "web" | "webhook"));
    let cases: Vec<&Value> = all["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(needs_processes)
        .collect();
    assert!(cases.len() >= 10, "only {} scenarios", cases.len());
    // Most of them wait for each other: together they take as long as the longest.
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || Scenario::new(case).run());
        }
    });
}
