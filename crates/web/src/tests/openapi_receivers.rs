//! What `/api/v2/receivers/test` takes and answers, against its description.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use cupola_alert::Alertmanager;
use cupola_config::{MatcherMode, parse_alertmanager};
use serde_json::{Value, json};

use super::openapi::{full_with, hold};
use super::*;
use crate::api::openapi::document;

// Answers everything below `/bad` with 403, all else with 200. It ends with the process.
fn sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (mut request, mut part) = (Vec::new(), [0; 4096]);
            while !request.ends_with(b"}\n") {
                match stream.read(&mut part) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => request.extend_from_slice(&part[..n]),
                }
            }
            let status = if request.starts_with(b"POST /bad") {
                "403 Forbidden"
            } else {
                "200 OK"
            };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_of_a_receiver_is_asked_for_and_answered_as_described() {
    let address = sink();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        "route: {{receiver: all}}\nreceivers:\n- name: nobody\n- name: all\n  webhook_configs:\n\
         \x20 - url: 'http://{address}/good'\n  - url: 'http://{address}/bad'\n  - url: 'http://{closed}/'\n\
         \x20 email_configs: [{{to: a@b, from: a@b, smarthost: '{closed}', require_tls: false}}]\n"
    );
    let server = full_with(|app| {
        let config = parse_alertmanager(&text, Path::new("am.yml"), MatcherMode::default()).unwrap();
        let options = cupola_alert::Options::default();
        let stop = CancellationToken::new();
        let other = cupola_metrics::Registry::default();
        app.alertmanager = Some(Alertmanager::new(config, &[], options, app.clock.clone(), &other, stop).unwrap());
    });
    let document = document("0", "");
    let operation = &document["paths"]["/api/v2/receivers/test"]["post"];
    let asked = &operation["requestBody"]["content"]["application/json"]["schema"];
    let answered = &operation["responses"]["200"]["content"]["application/json"]["schema"];
    let ask = async |body: &Value| {
        let headers = [("content-type", "application/json")];
        server
            .request("POST", "/api/v2/receivers/test", &headers, &body.to_string())
            .await
    };
    let sent = |answer: &Value| -> Vec<bool> {
        let all = answer.as_array().unwrap().iter();
        all.map(|one| one["sent"].as_bool().unwrap()).collect()
    };
    for (body, expected) in [
        (json!({"receiver": "nobody"}), vec![]),
        (
            json!({"receiver": "all", "labels": {"team": "a"}, "annotations": {"summary": "s"}}),
            vec![true, false, false, false],
        ),
    ] {
        hold(asked, &body, "body").unwrap();
        let reply = ask(&body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer = reply.json();
        hold(answered, &answer, "answer").unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!(sent(&answer), expected, "{answer}");
    }
    // What is refused is not as described, or names nobody.
    for body in [
        json!({}),
        json!({"receiver": 1}),
        json!({"receiver": "all", "labels": {"a": 1}}),
        json!(null),
    ] {
        assert!(hold(asked, &body, "body").is_err(), "{body}");
        let status = ask(&body).await.status;
        assert!(status == 400 || status == 422, "{body}: {status}");
    }
    assert_eq!(ask(&json!({"receiver": "stranger"})).await.status, 404);
    // And what would not be an answer is told from one.
    for lacking in [
        json!([{"integration": "webhook[0]", "sent": false, "exchanges": []}]),
        json!([{"integration": "webhook[0]", "sent": true, "error": "no", "exchanges": []}]),
        json!([{"integration": "webhook[0]", "sent": true, "exchanges": [{"status": "200"}]}]),
    ] {
        assert!(hold(answered, &lacking, "answer").is_err(), "{lacking}");
    }
}
