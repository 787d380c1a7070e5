use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::*;

/// What a server that speaks just enough of SMTP got: its commands, and the mail.
type Talk = Arc<Mutex<Vec<String>>>;

// Answers a line for each line of a script; a line `<` reads one of the client's, `<.` a whole mail, `<<` everything until the
// client goes.
fn server(script: &'static [&'static str]) -> (SocketAddr, Talk) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let talk = Talk::default();
    let kept = talk.clone();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for step in script {
            match *step {
                "<" => {
                    let mut line = String::new();
                    let _ = reader.read_line(&mut line);
                    kept.lock().push(line.trim_end().to_owned());
                }
                "<<" => drop(reader.read_to_end(&mut Vec::new())),
                "<." => {
                    let mut mail = String::new();
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == ".\r\n" {
                            break;
                        }
                        mail.push_str(line.strip_prefix('.').unwrap_or(&line));
                    }
                    kept.lock().push(mail);
                }
                line => drop((&stream).write_all(format!("{line}\r\n").as_bytes())),
            }
        }
    });
    (address, talk)
}

fn integration(address: SocketAddr, fields: &str, globals: &str) -> crate::Integration {
    integration_to(address, "b@example.org", fields, globals)
}

fn integration_to(address: SocketAddr, to: &str, fields: &str, globals: &str) -> crate::Integration {
    let yaml = format!(
        "global: {{smtp_smarthost: '{address}', smtp_from: 'a@example.org', {globals}}}\nroute: {{receiver: all}}\n\
         receivers:\n- name: all\n  email_configs: [{{to: '{to}', {fields}}}]\n"
    );
    let mode = cupola_config::MatcherMode::Fallback;
    let config = cupola_config::parse_alertmanager(&yaml, Path::new("a.yml"), mode).unwrap();
    let defaults = crate::templates::Templates::defaults();
    crate::Integration::of(&config.receivers[0], &defaults).remove(0)
}

async fn sent(integration: &crate::Integration) -> Result<(), SendError> {
    let seconds = std::time::Duration::from_secs(20);
    integration.send(&crate::data::example(true), seconds).await
}

const PLAIN: &str = "smtp_require_tls: false";

#[tokio::test]
async fn a_mail_goes_to_all_with_its_headers() {
    let (address, talk) = server(&[
        "220 hi",
        "<",
        "250-me",
        "250 8BITMIME",
        "<",
        "250 ok",
        "<",
        "250 ok",
        "<",
        "250 ok",
        "<",
        "354 go",
        "<.",
        "250 queued",
        "<",
        "221 bye",
    ]);
    let fields =
        "from: 'Alerts <x@example.org>', html: '', text: '.{{ .Status }}', headers: {X-Env: prod, To: someone}";
    let mut with_two = integration_to(address, "b@example.org, C <c@example.org>", fields, PLAIN);
    sent(&with_two).await.unwrap();
    let talk = talk.lock().clone();
    assert_eq!(
        talk[..5],
        [
            "EHLO localhost",
            "MAIL FROM:<x@example.org>",
            "RCPT TO:<b@example.org>",
            "RCPT TO:<c@example.org>",
            "DATA"
        ]
    );
    // Its first dot, doubled on the way, is one again.
    let mail = &talk[5];
    assert!(
        mail.contains("X-Env: prod\r\n") && mail.contains("\r\n.firing\r\n"),
        "{mail}"
    );
    assert!(
        mail.contains("To: someone\r\n") && mail.contains("From: Alerts <x@example.org>\r\n"),
        "{mail}"
    );
    assert_eq!(talk[6], "QUIT");
    // And an address that is none goes nowhere.
    with_two = integration_to(address, "b@example.org, nobody", fields, PLAIN);
    let error = sent(&with_two).await.unwrap_err();
    assert!(error.message.contains("no list of mail addresses"), "{error}");
}

#[tokio::test]
async fn the_servers_first_usable_method_logs_in() {
    let user = "auth_username: user, html: '', text: x";
    // RFC 2195's example.
    let (address, talk) = server(&[
        "220 hi",
        "<",
        "250-me",
        "250 AUTH CRAM-MD5 PLAIN",
        "<",
        "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+",
        "<",
        "235 ok",
        "<",
        "250 ok",
        "<",
        "250 ok",
        "<",
        "354 go",
        "<.",
        "250 queued",
    ]);
    let fields = "auth_username: tim, auth_secret: tanstaaftanstaaf, html: '', text: x";
    sent(&integration(address, fields, PLAIN)).await.unwrap();
    assert_eq!(talk.lock()[2], "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw");
    let (address, talk) = server(&[
        "220 hi",
        "<",
        "250-me",
        "250 AUTH LOGIN PLAIN",
        "<",
        "334 VXNlcm5hbWU6",
        "<",
        "334 UGFzc3dvcmQ6",
        "<",
        "235 ok",
        "<",
        "250 ok",
        "<",
        "250 ok",
        "<",
        "354 go",
        "<.",
        "250 queued",
    ]);
    sent(&integration(address, &format!("{user}, auth_password: pass"), PLAIN))
        .await
        .unwrap();
    assert_eq!(talk.lock()[2..4], ["dXNlcg==", "cGFzcw=="]);
    let (address, _) = server(&["220 hi", "<", "250-me", "250 AUTH PLAIN", "<", "535 no such user"]);
    let error = sent(&integration(address, &format!("{user}, auth_password: hunter"), PLAIN))
        .await
        .unwrap_err();
    assert_eq!((error.reason, error.retry), ("authError", true));
    assert!(
        error.message.contains("535") && !error.message.contains("hunter"),
        "{error}"
    );
    // Name and password as they were sent.
    let (address, _) = server(&[
        "220 hi",
        "<",
        "250-me",
        "250 AUTH PLAIN",
        "<",
        "500 what is AHVzZXIAaHVudGVy",
    ]);
    let error = sent(&integration(address, &format!("{user}, auth_password: hunter"), PLAIN))
        .await
        .unwrap_err();
    assert!(error.message.contains("500 what is <secret>"), "{error}");
    let (address, _) = server(&["220 hi", "<", "250-me", "250 AUTH XOAUTH2"]);
    let error = sent(&integration(address, &format!("{user}, auth_password: p"), PLAIN))
        .await
        .unwrap_err();
    assert!(error.message.contains("unknown auth mechanism: XOAUTH2"), "{error}");
}

#[tokio::test]
async fn what_goes_wrong_is_told_and_tried_again() {
    let (address, _) = server(&["220 hi", "<", "250 me"]);
    let error = sent(&integration(address, "", "")).await.unwrap_err();
    assert!(
        error.retry && error.message.contains("does not advertise the STARTTLS extension"),
        "{error}"
    );
    let (address, _) = server(&["220 hi", "<", "250 me", "<", "250 ok", "<", "550 no such user here"]);
    let error = sent(&integration(address, "", PLAIN)).await.unwrap_err();
    assert!(
        error
            .message
            .contains("RCPT TO: the mail server answers 550 no such user here"),
        "{error}"
    );
    let (address, _) = server(&["HTTP/1.1 400 Bad Request"]);
    let error = sent(&integration(address, "", PLAIN)).await.unwrap_err();
    assert!(error.message.contains("which is no SMTP"), "{error}");
    let (address, _) = server(&["220 hi", "<"]);
    let error = sent(&integration(address, "", PLAIN)).await.unwrap_err();
    assert!(error.message.contains("closed the connection"), "{error}");
    let closed = cupola_testkit::free_address();
    let error = sent(&integration(closed, "", PLAIN)).await.unwrap_err();
    assert!(error.retry && error.message.contains("connect"), "{error}");
}

#[tokio::test]
async fn a_mail_that_was_taken_is_sent_although_the_server_does_not_say_goodbye() {
    let (address, talk) = server(&[
        "220 hi",
        "<",
        "250 me",
        "<",
        "250 ok",
        "<",
        "250 ok",
        "<",
        "354 go",
        "<.",
        "250 queued",
        "<",
        "<<",
    ]);
    sent(&integration(address, "html: '', text: x", PLAIN)).await.unwrap();
    assert_eq!(talk.lock().first().map(String::as_str), Some("EHLO localhost"));
}

#[tokio::test]
async fn a_server_that_knows_only_the_old_greeting_gets_its_mail() {
    let old: &[&str] = &[
        "220 hi",
        "<",
        "502 what is that",
        "<",
        "250 me",
        "<",
        "250 ok",
        "<",
        "250 ok",
        "<",
        "354 go",
        "<.",
        "250 queued",
    ];
    let (address, talk) = server(old);
    // It offers no way to log in, so nobody does.
    let fields = "hello: am.example, html: '', text: x, auth_username: user, auth_password: hunter";
    sent(&integration(address, fields, PLAIN)).await.unwrap();
    let talk = talk.lock().clone();
    assert_eq!(
        talk[..3],
        ["EHLO am.example", "HELO am.example", "MAIL FROM:<a@example.org>"]
    );
    assert!(!talk.join("\n").contains("AUTH"), "{talk:?}");
    // It offers no TLS either, which must not be gone without where it is asked for.
    let (address, talk) = server(old);
    let error = sent(&integration(address, "", "")).await.unwrap_err();
    assert!(error.message.contains("does not advertise the STARTTLS"), "{error}");
    assert!(!talk.lock().join("\n").contains("MAIL"));
    // One that takes neither is tried again.
    let (address, _) = server(&["220 hi", "<", "502 no", "<", "421 go away"]);
    let error = sent(&integration(address, "", PLAIN)).await.unwrap_err();
    assert!(
        error.retry
            && error
                .message
                .contains("HELO localhost: the mail server answers 421 go away"),
        "{error}"
    );
}

// Headers by name, each part by its type, without what is new in each mail.
fn read(raw: &str) -> (BTreeMap<String, String>, Vec<String>) {
    let (head, body) = raw.split_once("\r\n\r\n").unwrap();
    let headers = head.split("\r\n").map(|line| line.split_once(": ").unwrap());
    let mut headers: BTreeMap<String, String> = headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let boundary = headers["Content-Type"].split_once("boundary=").unwrap().1.to_owned();
    for name in ["Message-Id", "Date", "Content-Type"] {
        assert!(headers.remove(name).is_some(), "{name}");
    }
    (headers, body.split(&boundary).map(str::to_owned).collect())
}

#[tokio::test]
async fn mails_are_those_of_alertmanager() {
    let Some(dir) = cupola_testkit::conformance_dir("alertmanager/recorded") else {
        return;
    };
    let text = std::fs::read_to_string(dir.join("email.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    // Both alerts end when they were said to.
    let ended = serde_json::json!({ "alerts": record["input"][0]["request"]["body"] });
    let yaml = std::fs::read_to_string(dir.join("rec1.yml")).unwrap();
    for (index, login, phase) in [(0, false, "firing"), (1, true, "firing"), (0, false, "resolved")] {
        let recorded = record[phase].as_array().unwrap();
        let (address, talk) = server(match login {
            false => &[
                "220 hi",
                "<",
                "250-me",
                "250 AUTH PLAIN",
                "<",
                "250 ok",
                "<",
                "250 ok",
                "<",
                "250 ok",
                "<",
                "354 go",
                "<.",
                "250 ok",
            ],
            true => &[
                "220 hi",
                "<",
                "250-me",
                "250 AUTH PLAIN",
                "<",
                "235 ok",
                "<",
                "250 ok",
                "<",
                "250 ok",
                "<",
                "354 go",
                "<.",
                "250 ok",
            ],
        });
        let yaml = yaml.replace("127.0.0.1:12525", &address.to_string());
        let mode = cupola_config::MatcherMode::Fallback;
        let config = cupola_config::parse_alertmanager(&yaml, Path::new("a.yml"), mode).unwrap();
        let defaults = crate::templates::Templates::defaults();
        let all = crate::Integration::of(&config.receivers[0], &defaults);
        let email = all
            .iter()
            .find(|one| one.kind() == "email" && one.index() == index)
            .unwrap();
        let told = super::super::tests::notification(&record, (phase == "resolved").then_some(&ended));
        email.send(&told, std::time::Duration::from_secs(20)).await.unwrap();
        let talk = talk.lock().clone();
        let expected = recorded.iter().find(|mail| mail["authenticated"] == login).unwrap();
        let (headers, parts) = read(&talk[talk.len() - 1]);
        let (their_headers, their_parts) = read(expected["raw"].as_str().unwrap());
        assert_eq!(headers, their_headers);
        assert_eq!(parts.len(), their_parts.len());
        for (ours, theirs) in parts.iter().zip(&their_parts) {
            // The golden texts, which are newer, have the schema's address with https.
            let theirs = theirs.replace("=3D\"http://schema.org", "=3D\"https://schema.org");
            let (ours, theirs) = (unfolded(ours), unfolded(&theirs));
            let differs = ours.lines().zip(theirs.lines()).find(|(a, b)| a != b);
            assert_eq!(differs, None);
            assert_eq!(ours.len(), theirs.len());
        }
    }
}

fn unfolded(text: &str) -> String {
    text.replace("=\r\n", "")
}
