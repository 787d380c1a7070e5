//! `cupola amtool` says word for word what Debian's amtool says, of Debian's Alertmanager and of ours.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use cupola_tests::{
    Background, FakeServer, Finished, Home, Reply, Server, cupola, eventually, free_address, neighbour, run,
};

const CONFIG: &str = "\
route:
  receiver: r
  routes:
  - matchers: [service=db]
    receiver: db
    continue: true
  - matchers: ['team=~\"a|b\"']
    receiver: team
    group_by: [alertname]
receivers:
- name: r
- name: db
- name: team
inhibit_rules:
- source_matchers: [severity=critical]
  target_matchers: [severity=warning]
  equal: [alertname]
";

const TEMPLATE: &str = r#"{{ define "x" }}{{ range .Alerts.Firing }}{{ .Labels.alertname | toUpper }};{{ end }}{{ len .Alerts }}{{ end }}"#;

// What is asked, in turn. `$1` is the id of the first silence that was made; `<` is followed by what is read from.
const SCRIPT: &[&[&str]] = &[
    &[
        "alert",
        "add",
        "Down",
        "instance=i1",
        "severity=critical",
        "--annotation=summary=it is down",
        "--generator-url=http://p/g",
        "--start=2024-05-01T10:00:00Z",
        "--end=2034-05-01T10:00:00Z",
    ],
    &[
        "alert",
        "add",
        "alertname=Down",
        "instance=\"i 2\"",
        "severity=warning",
        "--start=2024-05-01T10:00:00Z",
        "--end=2034-05-01T10:00:00Z",
    ],
    &["alert", "add", "alertname!=Down"],
    &["alert", "add"],
    &["alert", "query", "-o", "simple"],
    &["alert", "query", "-o", "extended"],
    &["alert"],
    &["alert", "query", "Down"],
    &["alert", "query", "severity=~warn.*"],
    &["alert", "query", "-i"],
    &["alert", "query", "-s"],
    &["alert", "query", "-a"],
    &["alert", "query", "--receiver=r.*", "Down"],
    &["alert", "query", "--receiver=(", "Down"],
    &["alert", "query", "Nope"],
    &["alert", "query", "Nope", "-o", "json"],
    &[
        "silence",
        "add",
        "Down",
        "instance=i1",
        "--comment=maint",
        "--author=me",
        "--duration=2h",
    ],
    &["silence", "add", "Down", "--author=me"],
    &["silence", "add", "--comment=x"],
    &["silence", "add", "a=b", "-c", "x", "-d", "0s"],
    &["silence", "add", "a=b", "-c", "x", "-d", "soon"],
    &[
        "silence",
        "add",
        "a!~b.*",
        "c!=d",
        "-c",
        "neg",
        "-a",
        "me",
        "--start=2034-01-01T00:00:00Z",
        "--end=2034-01-02T00:00:00Z",
    ],
    &["silence", "query", "-o", "simple"],
    &["silence", "query", "-o", "extended"],
    &["silence", "query", "-q"],
    &["silence"],
    &["silence", "query", "alertname=Down"],
    &["silence", "query", "Down", "instance=~i.*"],
    &["silence", "query", "--created-by=me", "-q"],
    &["silence", "query", "--created-by=you", "-q"],
    &["silence", "query", "--within=3h", "-q"],
    &["silence", "query", "--expired"],
    &["silence", "query", "--expired", "--within=1h", "-q"],
    &["alert", "query", "-s"],
    &["silence", "update", "-d", "4h", "-c", "longer", "$1"],
    &["silence", "update", "-d", "0s", "$1"],
    &["silence", "update"],
    &["silence", "expire", "$1"],
    &["silence", "expire"],
    &["silence", "expire", "22222222-2222-2222-2222-222222222222"],
    &["silence", "query", "--expired", "-q"],
    &["silence", "import"],
    &["silence", "import", "sil.json"],
    &["silence", "query", "-o", "simple", "e=f"],
    &["silence", "import", "-f", "sil.json"],
    &["silence", "import", "not-there.json"],
    &["cluster", "-o", "simple"],
    &["cluster", "-o", "extended"],
    &["cluster", "-o", "json"],
    &["config", "routes"],
    &["config", "routes", "show", "--config.file=a.yml"],
    &["config", "routes", "test", "service=db", "team=a"],
    &["config", "routes", "test", "--tree", "service=db", "team=a"],
    &["config", "routes", "test", "--tree", "--config.file=a.yml", "team=c"],
    &[
        "config",
        "routes",
        "test",
        "--verify.receivers=db,team",
        "service=db",
        "team=a",
    ],
    &["config", "routes", "test", "--verify.receivers=x", "service=db"],
    &["check-config", "a.yml"],
    &["check-config", "nofile.yml"],
    &[
        "template",
        "render",
        "--template.glob=*.tmpl",
        "--template.text={{ template \"x\" . }}",
    ],
    &[
        "template",
        "render",
        "--template.glob=*.tmpl",
        "--template.text={{ template \"x\" . }}",
        "--template.data=data.json",
    ],
];

// Of one tool: what it is and whom it asks.
struct Pane {
    home: Home,
    ours: bool,
    address: SocketAddr,
    ids: Vec<String>,
}

impl Pane {
    fn run(&mut self, args: &[&str]) -> Finished {
        let mut command = match self.ours {
            true => cupola(["amtool"]),
            false => Command::new("amtool"),
        };
        command
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .arg(format!("--alertmanager.url=http://{}", self.address));
        for arg in args {
            command.arg(match *arg {
                "$1" => self.ids.first().unwrap(),
                arg => arg,
            });
        }
        let done = run(&mut command, b"");
        for word in done.stdout.split_whitespace().filter(|word| is_id(word)) {
            if !self.ids.iter().any(|id| id == word) {
                self.ids.push(word.to_owned());
            }
        }
        done
    }

    // What differs between two that did the same: ids, addresses and times of these days.
    fn plain(&self, text: &str) -> String {
        let mut text = text.replace(&self.address.to_string(), "ADDRESS");
        for (i, id) in self.ids.iter().enumerate() {
            text = text.replace(id, &format!("{i:036}"));
        }
        // Debian's is of 0.25, we are of a later one.
        let is_of_versions = |line: &&str| line.starts_with("Warning: amtool version");
        of_other_days(
            &text
                .split_inclusive('\n')
                .filter(|line| !is_of_versions(line))
                .collect::<String>(),
        )
    }
}

fn is_id(word: &str) -> bool {
    word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

// The times of the script are of 2024 and 2034; all others are of now.
fn of_other_days(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for at in 0..bytes.len().saturating_sub(18) {
        let time = &bytes[at..at + 19];
        let like = b"0000-00-00 00:00:00";
        let fits = time.iter().zip(like).all(|(byte, like)| match like {
            b'0' => byte.is_ascii_digit(),
            like => byte == like,
        });
        if fits && !time.starts_with(b"2024") && !time.starts_with(b"2034") {
            bytes[at..at + 19].copy_from_slice(b"NOW+-NOW+-NOW+-NOW+");
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn home() -> Home {
    let home = Home::new();
    home.write("a.yml", CONFIG);
    home.write("x.tmpl", TEMPLATE);
    home.write(
        "sil.json",
        r#"[{"matchers":[{"name":"e","value":"f","isRegex":false,"isEqual":true}],"startsAt":"2034-03-01T00:00:00Z",
            "endsAt":"2034-03-02T00:00:00Z","createdBy":"me","comment":"brought along"}]"#,
    );
    home.write(
        "data.json",
        r#"{"receiver":"r","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"a"}},
            {"status":"resolved","labels":{"alertname":"b"}}],"externalURL":"http://am"}"#,
    );
    home
}

// Runs the script with both tools, each against a server of its own, and says where they differ.
fn differences(mut theirs: Pane, mut ours: Pane) -> Vec<String> {
    let mut differences = Vec::new();
    for args in SCRIPT {
        let (a, b) = (theirs.run(args), ours.run(args));
        let a = (a.code, theirs.plain(&a.stdout), theirs.plain(&a.stderr));
        let b = (b.code, ours.plain(&b.stdout), ours.plain(&b.stderr));
        // 0.25 does not know that a server since 0.27 says 404 of a silence that is not there.
        let unknown_to_it = a.2.contains("does not match any response statuses") && b.2.contains("[404]");
        if a != b && !(unknown_to_it && a.0 == b.0) {
            differences.push(format!("amtool {}\n  theirs: {a:?}\n  ours:   {b:?}\n", args.join(" ")));
        }
    }
    assert!(theirs.ids.len() >= 3, "{:?}", theirs.ids);
    differences
}

fn pane(home: Home, ours: bool, address: SocketAddr) -> Pane {
    Pane {
        home,
        ours,
        address,
        ids: Vec::new(),
    }
}

fn debians_alertmanager(program: &Path, home: &Home) -> (Background, SocketAddr) {
    let address = free_address();
    let mut command = Command::new(program);
    command.current_dir(home.path()).args([
        format!("--web.listen-address={address}"),
        "--config.file=a.yml".to_owned(),
        format!("--storage.path={}", home.data().display()),
        "--cluster.listen-address=".to_owned(),
    ]);
    let mut child = Background::start("prometheus-alertmanager", &mut command);
    eventually(30, "alertmanager is ready", || {
        assert!(child.ended().is_none(), "alertmanager ended");
        cupola_tests::get(address, "/-/ready").ok().filter(|r| r.status == 200)
    });
    (child, address)
}

fn our_alertmanager(home: &Home) -> Server {
    Server::alertmanager(home, "a.yml".as_ref(), &[])
}

#[test]
fn of_debians_alertmanager_it_says_what_debians_amtool_says() {
    let (Some(program), Some(_)) = (neighbour("prometheus-alertmanager"), neighbour("amtool")) else {
        return;
    };
    let (a, b) = (home(), home());
    let (_one, to_one) = debians_alertmanager(&program, &a);
    let (_two, to_two) = debians_alertmanager(&program, &b);
    let found = differences(pane(a, false, to_one), pane(b, true, to_two));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn of_our_alertmanager_it_says_what_debians_amtool_says() {
    if neighbour("amtool").is_none() {
        return;
    }
    let (a, b) = (home(), home());
    let (one, two) = (our_alertmanager(&a), our_alertmanager(&b));
    let found = differences(pane(a, false, one.address()), pane(b, true, two.address()));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn why_tells_an_alerts_life() {
    let sink = FakeServer::start(|_| Reply::status(204));
    let home = home();
    home.write(
        "a.yml",
        &format!(
            "route: {{receiver: r, group_by: [instance]}}\n\
             receivers:\n- name: r\n  webhook_configs: [{{url: '{}'}}]\n",
            sink.url("/hook")
        ),
    );
    let server = our_alertmanager(&home);
    let mut pane = pane(home, true, server.address());
    let nothing = pane.run(&["why", "Down"]);
    assert_eq!(nothing.code, Some(0), "{}", nothing.stderr);
    assert!(
        nothing.stdout.starts_with("Nothing is known of such an alert"),
        "{}",
        nothing.stdout
    );
    let silenced = pane.run(&["silence", "add", "instance=b", "-c", "x", "-a", "me"]);
    let id = silenced.stdout.trim();
    for instance in ["instance=a", "instance=b"] {
        pane.run(&["alert", "add", "Down", instance, "--start=2024-05-01T10:00:00Z"]);
    }
    let told = eventually(20, "both alerts were dealt with", || {
        let told = pane.run(&["why", r#"{alertname="Down",instance=~"a|b"}"#]);
        (told.stdout.contains("sent to r by webhook") && told.stdout.contains("kept quiet")).then_some(told)
    });
    assert!(
        told.stdout.contains("alertname=\"Down\" instance=\"a\"\n"),
        "{}",
        told.stdout
    );
    assert!(told.stdout.contains("  fired\n"), "{}", told.stdout);
    assert!(told.stdout.contains(&format!("by silence {id}\n")), "{}", told.stdout);
    let one = pane.run(&["why", "Down", "instance=a"]);
    assert!(!one.stdout.contains("instance=\"b\""), "{}", one.stdout);
}

#[test]
fn a_receiver_is_tested_without_an_alert() {
    let sink = FakeServer::start(|request| match request.path.as_str() {
        "/bad" => Reply::status(400),
        _ => Reply::status(204),
    });
    let home = home();
    home.write(
        "a.yml",
        &format!(
            "route: {{receiver: nobody}}\n\
             receivers:\n- name: nobody\n- name: r\n  webhook_configs: [{{url: '{}'}}, {{url: '{}'}}]\n",
            sink.url("/good"),
            sink.url("/bad")
        ),
    );
    let server = our_alertmanager(&home);
    let mut pane = pane(home, true, server.address());
    let tested = pane.run(&["receiver", "test", "r", "team=db"]);
    assert_eq!(tested.code, Some(1), "{}", tested.stderr);
    assert!(
        tested.stdout.starts_with("webhook[0]  sent\nwebhook[1]  failed: "),
        "{}",
        tested.stdout
    );
    assert!(tested.stdout.contains("400"), "{}", tested.stdout);
    let sent = sink.requests("/good");
    let alert = &sent[0].json()["alerts"][0];
    assert_eq!(sent.len(), 1);
    assert_eq!(alert["labels"]["alertname"], "CupolaReceiverTest");
    assert_eq!(alert["labels"]["team"], "db");
    assert_eq!(alert["status"], "firing");
    assert!(
        alert["annotations"]["summary"]
            .as_str()
            .unwrap()
            .contains("a test of a receiver")
    );
    let nobody = pane.run(&["receiver", "test", "nobody"]);
    assert_eq!(
        (nobody.code, nobody.stdout.as_str()),
        (Some(0), "nobody has no integrations: it tells nobody.\n")
    );
    let missing = pane.run(&["receiver", "test", "missing"]);
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("there is no receiver \\\"missing\\\"")
            || missing.stderr.contains("there is no receiver \"missing\""),
        "{}",
        missing.stderr
    );
    let extended = pane
        .run(&["receiver", "test", "r", "-o", "extended", "alertname=Mine"])
        .stdout;
    assert!(extended.contains("  POST to 127.0.0.1: {"), "{extended}");
    assert!(
        extended.contains("answered 400: ") && extended.contains("Mine"),
        "{extended}"
    );
    // It was no alert.
    assert!(pane.run(&["alert", "query", "-o", "json"]).stdout.starts_with("[]"));
}
