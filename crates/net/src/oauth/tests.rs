use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cupola_config::alertmanager::Anything;
use cupola_config::common::{Auth, SecretSource};

use super::*;
use crate::Response;

// Answers each connection with what `reply` says to its request; the requests come out of the channel.
pub(super) fn server(reply: impl Fn(&str) -> String + Send + 'static) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sent, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            let is_whole = |request: &[u8]| {
                let text = String::from_utf8_lossy(request);
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    return false;
                };
                let length = head
                    .lines()
                    .find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
                body.len() >= length.unwrap_or(0)
            };
            while !is_whole(&request) {
                match stream.read(&mut piece) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => request.extend_from_slice(&piece[..n]),
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let answer = reply(&request);
            // It is there once the answer is.
            if sent.send(request).is_err() {
                return;
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (port, received)
}

fn reply_with(status: &str, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(super) fn json(body: &str) -> String {
    reply_with("200 OK", "application/json", body)
}

fn config(port: u16) -> OAuth2Config {
    OAuth2Config {
        client_id: "me&you".to_owned(),
        client_secret: Some(SecretSource::Inline(Secret::new("hunter2"))),
        signature_algorithm: "RS256".to_owned(),
        scopes: vec!["a".to_owned(), "b".to_owned()],
        token_url: format!("http://127.0.0.1:{port}/token"),
        endpoint_params: BTreeMap::from([("resource".to_owned(), "x y".to_owned())]),
        ..OAuth2Config::default()
    }
}

async fn ask(oauth2: &OAuth2Config, port: u16) -> Result<Response, NetError> {
    let http = HttpClientConfig {
        auth: Some(Auth::OAuth2(Box::new(oauth2.clone()))),
        ..HttpClientConfig::default()
    };
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static("Tester/1"));
    let request = Request {
        method: Method::GET,
        url: &format!("http://127.0.0.1:{port}/").parse().unwrap(),
        headers,
        body: bytes::Bytes::new(),
        timeout: Duration::from_secs(10),
        max_body: 1000,
        gzip: false,
        follow_redirects: true,
    };
    Peer::new(&http).send(request).await
}

fn target() -> (u16, Receiver<String>) {
    server(|_| reply_with("200 OK", "text/plain", ""))
}

#[tokio::test]
async fn a_token_is_fetched_once_and_sent_by_all_that_have_the_section() {
    let (port, tokens) =
        server(|_| json(r#"{"access_token": "t0ken", "token_type": "bearer", "expires_in": "3600", "scope": "a"}"#));
    let (target, asked) = target();
    for _ in 0..3 {
        ask(&config(port), target).await.unwrap();
        assert!(asked.try_recv().unwrap().contains("authorization: Bearer t0ken\r\n"));
    }
    let request = tokens.try_recv().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /token HTTP/1.1\r\n"), "{head}");
    // The base64 of `me%26you:hunter2`.
    assert!(
        head.contains("authorization: Basic bWUlMjZ5b3U6aHVudGVyMg==\r\n"),
        "{head}"
    );
    assert!(
        head.contains("content-type: application/x-www-form-urlencoded\r\n"),
        "{head}"
    );
    assert!(head.contains("user-agent: Tester/1\r\n"), "{head}");
    assert_eq!(body, "grant_type=client_credentials&resource=x+y&scope=a+b");
    assert!(tokens.try_recv().is_err(), "a second token was fetched");
}

#[tokio::test]
async fn a_token_is_fetched_anew_before_it_expires_and_when_the_secret_changes() {
    let (port, tokens) = server(|_| json(r#"{"access_token": "short", "expires_in": 5}"#));
    let (target, asked) = target();
    for _ in 0..2 {
        ask(&config(port), target).await.unwrap();
        assert!(asked.try_recv().unwrap().contains("authorization: Bearer short\r\n"));
        tokens.try_recv().unwrap();
    }
    // Without an end it is kept; with another secret it is another.
    let (port, tokens) = server(|_| json(r#"{"access_token": "long"}"#));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let config = OAuth2Config {
        client_secret: Some(SecretSource::File(file.clone())),
        ..config(port)
    };
    for (secret, basic) in [("one", "bWUlMjZ5b3U6b25l"), ("two", "bWUlMjZ5b3U6dHdv")] {
        std::fs::write(&file, format!("{secret}\n")).unwrap();
        ask(&config, target).await.unwrap();
        ask(&config, target).await.unwrap();
        assert!(
            tokens
                .recv()
                .unwrap()
                .contains(&format!("authorization: Basic {basic}\r\n"))
        );
        assert!(tokens.try_recv().is_err(), "a second token was fetched");
    }
    std::fs::remove_file(&file).unwrap();
    let error = ask(&config, target).await.unwrap_err().to_string();
    assert!(
        error.contains("unable to read oauth2 client secret: ") && error.contains("secret"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_wants_the_secret_in_the_body_gets_it_there_from_then_on() {
    let (port, tokens) = server(|request| match request.contains("client_secret=hunter2") {
        true => json(r#"{"access_token": "t", "expires_in": 1}"#),
        false => reply_with("401 Unauthorized", "application/json", r#"{"error": "invalid_client"}"#),
    });
    let (target, _asked) = target();
    ask(&config(port), target).await.unwrap();
    ask(&config(port), target).await.unwrap();
    assert!(tokens.try_recv().unwrap().contains("authorization: Basic "));
    for _ in 0..2 {
        let request = tokens.try_recv().unwrap();
        assert!(!request.contains("authorization: "), "{request}");
        let body = "client_id=me%26you&client_secret=hunter2&grant_type=client_credentials&resource=x+y&scope=a+b";
        assert!(request.ends_with(body), "{request}");
    }
    assert!(tokens.try_recv().is_err(), "it was tried once more");
}

#[tokio::test]
async fn what_a_token_server_does_wrong_is_told_with_its_url_and_without_secrets() {
    for (reply, why) in [
        (json("{nonsense"), "cannot parse json"),
        (json(r#"{"token": "hunter2"}"#), "server response missing access_token"),
        (
            json(r#"{"access_token": 7}"#),
            "cannot parse json: access_token is no text",
        ),
        (json(r#"{"access_token": "a\nb"}"#), "the token is no header value"),
        (
            reply_with("500 Internal Server Error", "text/html", "<b>hunter2</b>"),
            "500 Internal Server Error",
        ),
        (
            reply_with(
                "400 Bad Request",
                "application/json; charset=utf-8",
                r#"{"error": "invalid_scope", "error_description": "no such scope"}"#,
            ),
            r#""invalid_scope" "no such scope""#,
        ),
        (
            reply_with("200 OK", "text/plain", "error=access_denied"),
            r#""access_denied""#,
        ),
    ] {
        let (port, _tokens) = server(move |_| reply.clone());
        let config = OAuth2Config {
            token_url: format!("http://user:hunter2@127.0.0.1:{port}/token?key=hunter2"),
            ..config(port)
        };
        let error = ask(&config, 1).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("oauth2: cannot fetch token from http://127.0.0.1:{port}/token: {why}")
        );
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = ask(&config(port), 1).await.unwrap_err().to_string();
    assert!(error.ends_with("connect: connection refused"), "{error}");
    let config = OAuth2Config {
        endpoint_params: BTreeMap::from([("scope".to_owned(), "c".to_owned())]),
        ..config(port)
    };
    let error = ask(&config, 1).await.unwrap_err().to_string();
    assert!(
        error.ends_with(r#"endpoint_params cannot overwrite "scope""#),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_server_that_says_nothing_runs_into_the_deadline_of_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = ask(&config(port), 1).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "oauth2: cannot fetch token from http://127.0.0.1:{port}/token: context deadline exceeded (no complete \
             answer within 10s)"
        )
    );
}

#[tokio::test]
async fn all_that_wait_for_one_try_get_its_end() {
    let (port, tokens) = server(|_| String::new());
    let source = TokenSource::shared(&config(port));
    let timeout = Duration::from_secs(10);
    let (one, two) = tokio::join!(source.token(None, timeout), source.token(None, timeout));
    assert_eq!(one.unwrap_err().to_string(), two.unwrap_err().to_string());
    tokens.try_recv().unwrap();
    assert!(tokens.try_recv().is_err(), "each has tried for itself");
    // The next one tries again.
    source.token(None, timeout).await.unwrap_err();
    tokens.try_recv().unwrap();
}

#[tokio::test]
async fn a_token_that_a_peer_refuses_is_fetched_anew_but_not_at_once() {
    let (port, tokens) = server(|_| json(r#"{"access_token": "t", "expires_in": 3600}"#));
    let (target, _asked) = server(|_| reply_with("401 Unauthorized", "text/plain", ""));
    let source = TokenSource::shared(&config(port));
    for _ in 0..2 {
        assert_eq!(ask(&config(port), target).await.unwrap().status.as_u16(), 401);
    }
    tokens.try_recv().unwrap();
    assert!(tokens.try_recv().is_err(), "it was fetched at once");
    let long_ago = Instant::now().checked_sub(BETWEEN_REFUSALS).unwrap();
    source.state.lock().token.as_mut().unwrap().fetched = long_ago;
    for _ in 0..2 {
        ask(&config(port), target).await.unwrap();
    }
    tokens.try_recv().unwrap();
}

#[tokio::test]
async fn another_host_gets_no_token() {
    let (port, _tokens) = server(|_| json(r#"{"access_token": "t"}"#));
    let (other, asked) = target();
    let (first, _first) = server(move |_| {
        format!("HTTP/1.1 302 Found\r\nLocation: http://localhost:{other}/\r\nContent-Length: 0\r\n\r\n")
    });
    ask(&config(port), first).await.unwrap();
    let request = asked.try_recv().unwrap();
    assert!(!request.contains("authorization"), "{request}");
}

// Runs openssl; `None` where it is not installed.
fn openssl(args: &[&str]) -> Option<Vec<u8>> {
    let run = Command::new("openssl").args(args).stderr(Stdio::null()).output();
    let out = run.ok()?;
    assert!(out.status.success(), "openssl {args:?}: {}", out.status);
    Some(out.stdout)
}

// A key and its public one in `dir`; `None` where openssl is not installed.
pub(super) fn rsa_key(dir: &Path) -> Option<String> {
    let path = |name: &str| dir.join(name).display().to_string();
    let key = path("key.pem");
    let args = [
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-out",
        &key,
    ];
    if openssl(&args).is_none() {
        assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
        return None;
    }
    openssl(&["pkey", "-in", &key, "-pubout", "-out", &path("public.pem")])?;
    Some(key)
}

// Header and claims of an assertion that the key in `dir` has signed, as openssl sees it.
pub(super) fn verify(assertion: &str, digest: &str, dir: &Path) -> (serde_json::Value, serde_json::Value) {
    let path = |name: &str| dir.join(name).display().to_string();
    let parts: Vec<&str> = assertion.split('.').collect();
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64");
    let value = |part: &str| -> serde_json::Value { serde_json::from_slice(&bytes(part)).expect("JSON") };
    let (public, signature, message) = (path("public.pem"), path("signature"), path("message"));
    std::fs::write(&message, format!("{}.{}", parts[0], parts[1])).expect("written");
    std::fs::write(&signature, bytes(parts[2])).expect("written");
    let verified = openssl(&["dgst", digest, "-verify", &public, "-signature", &signature, &message]);
    assert!(verified.is_some(), "openssl is gone");
    (value(parts[0]), value(parts[1]))
}

#[tokio::test]
async fn an_assertion_is_signed_with_the_clients_key() {
    let dir = tempfile::tempdir().unwrap();
    let Some(key) = rsa_key(dir.path()) else { return };
    let (port, tokens) = server(|_| json(r#"{"access_token": "t", "expires_in": 3600}"#));
    let (target, asked) = target();
    for (algorithm, digest) in [("RS256", "-sha256"), ("RS384", "-sha384"), ("RS512", "-sha512")] {
        let config = OAuth2Config {
            grant_type: GrantType::JwtBearer,
            client_certificate_key: Some(SecretSource::File(key.clone().into())),
            client_certificate_key_id: "k1".to_owned(),
            signature_algorithm: algorithm.to_owned(),
            iss: "issuer".to_owned(),
            claims: BTreeMap::from([
                ("team".to_owned(), Anything::Text("blue".to_owned())),
                (
                    "level".to_owned(),
                    Anything::List(vec![Anything::Int(5), Anything::Bool(true)]),
                ),
            ]),
            ..config(port)
        };
        ask(&config, target).await.unwrap();
        assert!(asked.try_recv().unwrap().contains("authorization: Bearer t\r\n"));
        let request = tokens.try_recv().unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("authorization"), "{head}");
        let assertion = body.strip_prefix("assertion=").unwrap();
        let grant = "&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&resource=x+y";
        let assertion = assertion.strip_suffix(grant).unwrap();
        let (header, claims) = verify(assertion, digest, dir.path());
        assert_eq!(header, serde_json::json!({"alg": algorithm, "typ": "JWT", "kid": "k1"}));
        assert_eq!((&claims["iss"], &claims["sub"]), (&"issuer".into(), &"me&you".into()));
        assert_eq!(claims["aud"], config.token_url);
        assert_eq!((&claims["scope"], &claims["team"]), (&"a b".into(), &"blue".into()));
        assert_eq!(claims["level"], serde_json::json!([5, true]));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    }
    let config = OAuth2Config {
        grant_type: GrantType::JwtBearer,
        client_certificate_key: Some(SecretSource::Inline(Secret::new("hunter2"))),
        ..config(port)
    };
    let error = ask(&config, target).await.unwrap_err().to_string();
    assert!(
        error.ends_with("client_certificate_key: holds no private key as PEM"),
        "{error}"
    );
}

#[tokio::test]
async fn azures_identities_are_asked_for_as_azure_wants() {
    let (port, tokens) = server(|_| json(r#"{"access_token": "t", "expires_in": "86399", "token_type": "Bearer"}"#));
    let (target, asked) = target();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "a.b.c\n").unwrap();
    let workload = OAuth2Config {
        grant_type: GrantType::ClientAssertion,
        client_secret: Some(SecretSource::File(file)),
        endpoint_params: BTreeMap::new(),
        ..config(port)
    };
    let machine = OAuth2Config {
        grant_type: GrantType::OfMachine,
        client_secret: None,
        scopes: Vec::new(),
        endpoint_params: BTreeMap::new(),
        token_url: format!("http://127.0.0.1:{port}/token?resource=r"),
        ..config(port)
    };
    let body = "client_assertion=a.b.c&\
                client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&\
                client_id=me%26you&grant_type=client_credentials&scope=a+b";
    for (config, begin, end) in [
        (workload, "POST /token HTTP/1.1\r\n", body),
        (
            machine,
            "GET /token?resource=r HTTP/1.1\r\nmetadata: true\r\n",
            "\r\n\r\n",
        ),
    ] {
        ask(&config, target).await.unwrap();
        assert!(asked.try_recv().unwrap().contains("authorization: Bearer t\r\n"));
        let request = tokens.try_recv().unwrap();
        assert!(request.starts_with(begin) && request.ends_with(end), "{request}");
        assert!(!request.contains("authorization"), "{request}");
    }
}

#[test]
fn no_answer_makes_it_panic() {
    let corpus = [
        (
            "application/json",
            br#"{"access_token": "t", "expires_in": "12", "error": null}"#.to_vec(),
        ),
        ("text/plain", b"access_token=%41&expires_in=-9&token_type=mac".to_vec()),
    ];
    for (content_type, body) in corpus {
        cupola_testkit::fuzz(3_000, &[body], &[], |bytes| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            let response = Response {
                status: http::StatusCode::OK,
                headers,
                body: bytes.to_vec(),
                wire_bytes: bytes.len(),
                room: crate::Room::default(),
            };
            if let Ok(fetched) = answer::read(&response) {
                assert!(fetched.expires_in != Some(0) && fetched.value.contains(' '));
            }
        });
    }
}
