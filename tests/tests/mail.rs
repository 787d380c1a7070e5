//! Mail goes out through a real mail server: Python's aiosmtpd, with TLS and each way to log in, and where it fails at first.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::process::Command;

use cupola_tests::{Background, Home, Server, eventually, neighbour, run};
use serde_json::{Value, json};

// Several mail servers in one process. The first line of its output says their ports, each other line is a mail.
const SERVERS: &str = r#"
import asyncio, hashlib, hmac, json, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

def password(server, session, envelope, mechanism, data):
    session.how = mechanism
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"user", b"hunter-1")
    return AuthResult(success=good, handled=False)

class Handler:
    def __init__(self, name):
        self.name = name

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 there is no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            "server": self.name, "from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": server.transport.get_extra_info("ssl_object") is not None,
            "how": getattr(session, "how", ""), "mail": envelope.content.decode("utf-8", "replace"),
        }), flush=True)
        return "250 OK queued"

class Cram(Handler):
    async def auth_CRAM__MD5(self, server, args):
        challenge = b"<1896.697170952@mail.example>"
        user, digest = (await server.challenge_auth(challenge)).split(b" ")
        server.session.how = "CRAM-MD5"
        good = hmac.new(b"hunter-2", challenge, hashlib.md5).hexdigest().encode()
        return AuthResult(success=(user, digest) == (b"user", good), handled=False)

class Silent(asyncio.Protocol):
    pass

class First(asyncio.Protocol):
    # What stands there instead of a mail server.
    def __init__(self, text):
        self.text = text

    def connection_made(self, transport):
        transport.write(self.text)
        transport.close()

class Fails(Handler):
    # Refuses the first of each.
    def __init__(self, name, rcpt=None, data=None):
        super().__init__(name)
        self.rcpt, self.data = rcpt, data

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer, self.rcpt = self.rcpt, None
        return answer or await super().handle_RCPT(server, session, envelope, address, options)

    async def handle_DATA(self, server, session, envelope):
        answer, self.data = self.data, None
        return answer or await super().handle_DATA(server, session, envelope)

class Late(Handler):
    # Takes the first mail and never says so.
    is_first = True

    async def handle_DATA(self, server, session, envelope):
        answer = await super().handle_DATA(server, session, envelope)
        if self.is_first:
            self.is_first = False
            await asyncio.Event().wait()
        return answer

class Old(SMTP):
    # Knows HELO alone.
    async def smtp_EHLO(self, hostname):
        await self.push("502 5.5.2 what is that")

def at_first(text, then):
    makers = [lambda: First(text)]
    return lambda: (makers.pop() if makers else then)()

async def main(folder):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
    wanted = {"auth_required": True, "authenticator": password}
    makers = {
        "plain": (lambda: SMTP(Handler("plain")), None),
        "starttls": (lambda: SMTP(Handler("starttls"), tls_context=tls, require_starttls=True,
                                  auth_exclude_mechanism=["LOGIN"], **wanted), None),
        "implicit": (lambda: SMTP(Handler("implicit"), auth_require_tls=False, auth_exclude_mechanism=["PLAIN"], **wanted), tls),
        "cram": (lambda: SMTP(Cram("cram"), auth_require_tls=False, auth_required=True,
                              auth_exclude_mechanism=["PLAIN", "LOGIN"], authenticator=password), None),
        "silent": (Silent, None),
        "old": (lambda: Old(Handler("old")), None),
        "late": (lambda handler=Late("late"): SMTP(handler), None),
    }
    for name, first in {"garbled": b"\x00\xff\x16 this is no SMTP\r\n", "closed": b"", "busy": b"421 4.3.2 come back later\r\n"}.items():
        makers[name] = (at_first(first, lambda name=name: SMTP(Handler(name))), None)
    for name, how in {"grey": {"rcpt": "451 4.7.1 greylisted"}, "refused": {"rcpt": "550 5.1.1 there is no such mailbox"},
                      "full": {"data": "452 4.3.1 no space left"}}.items():
        handler = Fails(name, **how)
        makers[name] = (lambda handler=handler: SMTP(handler), None)
    ports, servers = {}, []
    for name, (maker, context) in makers.items():
        server = await asyncio.get_running_loop().create_server(maker, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        ports[name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"#;

fn mail_servers(home: &Home) -> Option<(Background, Value)> {
    neighbour("aiosmtpd")?;
    let made = run(
        Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(home.path()),
        b"",
    );
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let script = home.write("servers.py", SERVERS);
    // Debian's Python, which has Debian's packages.
    let mut command = Command::new("/usr/bin/python3");
    let servers = Background::start("aiosmtpd", command.arg(script).arg(home.path()));
    let ports = eventually(30, "the mail servers listen", || servers.stdout().first().cloned());
    let ports = serde_json::from_str(&ports).unwrap_or_else(|_| panic!("{ports}: {:?}", servers.stderr()));
    Some((servers, ports))
}

#[test]
fn mail_arrives_by_every_way_to_log_in_and_a_server_that_hangs_holds_up_nobody() {
    let home = Home::new();
    let Some((servers, ports)) = mail_servers(&home) else {
        return;
    };
    let at = |name: &str| format!("smarthost: '127.0.0.1:{}'", ports[name]);
    let open = "tls_config: {insecure_skip_verify: true}";
    let password = "auth_username: user, auth_password_file: password";
    home.write("password", "hunter-1\n");
    let yaml = format!(
        "global: {{smtp_from: 'Cupola <from@example.org>'}}\n\
         route: {{receiver: r, group_by: [alertname], group_wait: 100ms, group_interval: 1h, repeat_interval: 1d}}\n\
         receivers:\n- name: r\n  email_configs:\n\
         \x20 - {{to: hangs@example.org, {}, require_tls: false}}\n\
         \x20 - {{to: 'one@example.org, Two <two@example.org>', {}, require_tls: false, text: 'é {{{{ .Status }}}}'}}\n\
         \x20 - {{to: nobody@example.org, {}, require_tls: false}}\n\
         \x20 - {{to: starttls@example.org, {}, {open}, {password}}}\n\
         \x20 - {{to: untrusted@example.org, {}, {password}}}\n\
         \x20 - {{to: implicit@example.org, {}, {open}, {password}, force_implicit_tls: true}}\n\
         \x20 - {{to: cram@example.org, {}, require_tls: false, auth_username: user, auth_secret: hunter-2}}\n\
         \x20 - {{to: wrong@example.org, {}, require_tls: false, auth_username: user, auth_secret: hunter-3}}\n\
         \x20 - {{to: demanding@example.org, {}}}\n",
        at("silent"),
        at("plain"),
        at("plain"),
        at("starttls"),
        at("starttls"),
        at("implicit"),
        at("cram"),
        at("cram"),
        at("plain"),
    );
    let config = home.write("alertmanager.yml", &yaml);
    let server = Server::alertmanager(&home, &config, &[]);
    let alerts = json!([{
        "labels": {"alertname": "Disk", "host": "<b>a"},
        "annotations": {"summary": "90 % & more"},
    }]);
    server.post("/api/v2/alerts", &alerts);

    let mails = eventually(60, "four mails arrive", || {
        let lines = servers.stdout();
        let mails: Vec<Value> = lines
            .iter()
            .skip(1)
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (mails.len() >= 4).then_some(mails)
    });
    let of = |name: &str| {
        let mut found = mails.iter().filter(|mail| mail["server"] == name);
        found.next().unwrap_or_else(|| panic!("{name}: {mails:?}"))
    };
    for (name, tls, how) in [
        ("plain", false, ""),
        ("starttls", true, "PLAIN"),
        ("implicit", true, "LOGIN"),
        ("cram", false, "CRAM-MD5"),
    ] {
        let mail = of(name);
        assert_eq!((&mail["tls"], &mail["how"]), (&tls.into(), &how.into()), "{mail}");
        assert_eq!(mail["from"], "from@example.org");
        let text = mail["mail"].as_str().unwrap();
        assert!(text.contains("Subject: [FIRING:1] Disk (<b>a)"), "{text}");
        assert!(
            text.contains("&lt;b&gt;a") && text.contains("Content-Type: text/html"),
            "{text}"
        );
    }
    let plain = of("plain");
    assert_eq!(plain["to"], json!(["one@example.org", "two@example.org"]));
    let text = plain["mail"].as_str().unwrap();
    assert!(
        text.contains("=C3=A9 firing") && text.contains("multipart/alternative"),
        "{text}"
    );
    // The others are tried again and told, without what is secret.
    let log = eventually(20, "the failures are told", || {
        let log = server.log().join("\n");
        let told = ["there is no such mailbox", "535", "STARTTLS", "certificate"];
        told.iter().all(|part| log.contains(part)).then_some(log)
    });
    assert!(!log.contains("hunter"), "{log}");
    assert_eq!(servers.stdout().len(), 5, "{:?}", servers.stdout());
}

#[test]
fn mail_arrives_once_after_each_fault_of_its_server() {
    const FAULTS: [(&str, &str); 6] = [
        ("garbled", "which is no SMTP"),
        ("closed", "closed the connection"),
        ("busy", "421 4.3.2 come back later"),
        ("grey", "451 4.7.1 greylisted"),
        ("refused", "550 5.1.1 there is no such mailbox"),
        ("full", "452 4.3.1 no space left"),
    ];
    let home = Home::new();
    let Some((servers, ports)) = mail_servers(&home) else {
        return;
    };
    let (mut routes, mut receivers, mut alerts) = (String::new(), String::new(), Vec::new());
    for name in FAULTS.map(|(name, _)| name).into_iter().chain(["old"]) {
        routes.push_str(&format!("  - {{receiver: {name}, matchers: ['team={name}']}}\n"));
        receivers.push_str(&format!(
            "- name: {name}\n  email_configs: [{{to: a@example.org, smarthost: '127.0.0.1:{}', require_tls: false}}]\n",
            ports[name]
        ));
        alerts.push(json!({"labels": {"alertname": "Disk", "team": name}}));
    }
    let yaml = format!(
        "global: {{smtp_from: from@example.org}}\n\
         route:\n  receiver: old\n  group_wait: 50ms\n  group_interval: 10s\n  routes:\n{routes}receivers:\n{receivers}"
    );
    let config = home.write("alertmanager.yml", &yaml);
    let server = Server::alertmanager(&home, &config, &[]);
    server.post("/api/v2/alerts", &Value::from(alerts));
    let events = |name: &str| {
        eventually(60, &format!("{name} has its mail"), || {
            let events = server.get(&format!("/api/v2/history?filter=team%3D{name}")).json();
            let events: Vec<Value> = events.as_array()?.iter().rev().cloned().collect();
            events.iter().any(|event| event["event"] == "sent").then_some(events)
        })
    };
    let names = |events: &[Value]| -> Vec<String> {
        let names = events.iter().filter_map(|event| event["event"].as_str());
        names.map(str::to_owned).collect()
    };
    for (name, part) in FAULTS {
        let events = events(name);
        assert_eq!(
            names(&events),
            ["fired", "grouped", "retrying", "sent"],
            "{name}: {events:#?}"
        );
        assert!(
            events[2]["error"].as_str().unwrap().contains(part),
            "{name}: {}",
            events[2]
        );
    }
    // One that knows only the old greeting has not even failed.
    assert_eq!(names(&events("old")), ["fired", "grouped", "sent"]);
    // The first line says the ports.
    let mut arrived: Vec<String> = servers.stdout()[1..]
        .iter()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["server"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    arrived.sort();
    let mut all: Vec<&str> = FAULTS.map(|(name, _)| name).into_iter().chain(["old"]).collect();
    all.sort_unstable();
    assert_eq!(arrived, all);
}

#[test]
fn a_mail_that_a_killed_process_had_sent_and_not_noted_arrives_once_more_and_not_twice_more() {
    let home = Home::new();
    let Some((servers, ports)) = mail_servers(&home) else {
        return;
    };
    let yaml = format!(
        "route: {{receiver: r, group_wait: 50ms, group_interval: 1s}}\n\
         receivers:\n- name: r\n  email_configs: [{{to: a@example.org, from: b@example.org, \
         smarthost: '127.0.0.1:{}', require_tls: false, send_resolved: true}}]\n",
        ports["late"]
    );
    let config = home.write("alertmanager.yml", &yaml);
    let start = || Server::alertmanager(&home, &config, &[]);
    let post = |server: &Server, alert: Value| server.post("/api/v2/alerts", &json!([alert]));
    let subjects = || -> Vec<String> {
        let mails = servers.stdout();
        let of = |line: &String| {
            let mail: Value = serde_json::from_str(line).unwrap();
            let lines: Vec<String> = mail["mail"].as_str().unwrap().lines().map(str::to_owned).collect();
            lines
                .into_iter()
                .find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned))
        };
        mails[1..].iter().filter_map(of).collect()
    };
    let mut server = start();
    post(&server, json!({"labels": {"alertname": "Disk"}}));
    eventually(30, "the mail has arrived", || (!subjects().is_empty()).then_some(()));
    server.kill();
    let server = start();
    eventually(30, "it arrives once more", || (subjects().len() == 2).then_some(()));
    eventually(30, "that is noted", || {
        let events = server.get("/api/v2/history").json();
        let events = events.as_array()?.iter();
        events.map(|event| event["event"] == "sent").find(|sent| *sent)
    });
    post(
        &server,
        json!({"labels": {"alertname": "Disk"}, "endsAt": "2020-01-01T00:00:00Z"}),
    );
    eventually(30, "the end arrives", || (subjects().len() > 2).then_some(()));
    let all = subjects();
    let begins: Vec<&str> = all.iter().filter_map(|subject| subject.split(' ').next()).collect();
    assert_eq!(begins, ["[FIRING:1]", "[FIRING:1]", "[RESOLVED]"], "{all:?}");
}
