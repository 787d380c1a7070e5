use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use cupola_config::common::{HttpClientConfig, Secret};
use http::{HeaderMap, Method};

use super::*;
use crate::{Peer, Request};

// A proxy that answers each connection with the next of `answers`; what it was sent comes out of the channel.
fn proxy(answers: Vec<&'static str>) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sent, received) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let _ = sent.send(String::from_utf8_lossy(&head).into_owned());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (port, received)
}

fn config(url: &str, no_proxy: &str) -> ProxyConfig {
    ProxyConfig {
        url: Some(Secret::new(url.to_owned())),
        no_proxy: no_proxy.to_owned(),
        from_environment: false,
        connect_header: BTreeMap::from([("X-Way".to_owned(), vec![Secret::new("in".to_owned())])]),
    }
}

async fn ask(proxy: ProxyConfig, url: &str) -> Result<Vec<u8>, NetError> {
    let config = HttpClientConfig {
        proxy,
        ..HttpClientConfig::default()
    };
    let request = Request {
        method: Method::GET,
        url: &url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        timeout: Duration::from_secs(10),
        max_body: 1000,
        gzip: false,
        follow_redirects: true,
    };
    Peer::new(&config).send(request).await.map(|answer| answer.body)
}

#[tokio::test]
async fn a_plain_request_goes_to_the_proxy_whole_and_with_its_password() {
    let (port, sent) = proxy(vec!["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nway"]);
    let url = format!("http://me:p%40ss@127.0.0.1:{port}");
    let body = ask(config(&url, ""), "http://nowhere.example:8080/metrics?a=b").await;
    assert_eq!(body.unwrap(), b"way");
    let sent = sent.recv().unwrap().to_ascii_lowercase();
    assert!(
        sent.starts_with("get http://nowhere.example:8080/metrics?a=b http/1.1\r\n"),
        "{sent}"
    );
    assert!(sent.contains("host: nowhere.example:8080\r\n"), "{sent}");
    // The base64 of `me:p@ss`, in small letters like everything here.
    assert!(sent.contains("proxy-authorization: basic bwu6cebzcw==\r\n"), "{sent}");
    assert!(!sent.contains("x-way"), "{sent}");
}

#[tokio::test]
async fn a_way_for_tls_is_asked_for_and_a_refusal_names_proxy_and_target() {
    let (port, sent) = proxy(vec!["HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"]);
    let url = format!("http://me:secret@127.0.0.1:{port}");
    let error = ask(config(&url, ""), "https://nowhere.example/metrics")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("proxy http://127.0.0.1:{port}: CONNECT nowhere.example:443: 403 Forbidden")
    );
    let sent = sent.recv().unwrap();
    assert_eq!(
        sent,
        "CONNECT nowhere.example:443 HTTP/1.1\r\nHost: nowhere.example:443\r\n\
         Proxy-Authorization: Basic bWU6c2VjcmV0\r\nX-Way: in\r\n\r\n"
    );
}

#[tokio::test]
async fn a_refusal_with_a_page_that_stays_open_is_told_at_once() {
    // The body never ends: whoever waits for its end waits for the deadline.
    let (port, _sent) = proxy(vec![
        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 90\r\n\r\n<html>",
        "HTTP/1.1 200 OK\r\n\r\nSSH-2.0",
    ]);
    for why in [
        "407 Proxy Authentication Required",
        "200, and more before anything was sent",
    ] {
        let error = ask(
            config(&format!("http://127.0.0.1:{port}"), ""),
            "https://nowhere.example/",
        )
        .await;
        assert_eq!(
            error.unwrap_err().to_string(),
            format!("proxy http://127.0.0.1:{port}: CONNECT nowhere.example:443: {why}")
        );
    }
}

// A SOCKS proxy for one connection: it must be sent each of `asked`, and answers with what stands beside it.
fn socks(talk: Vec<(Vec<u8>, Vec<u8>)>) -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let all = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for (asked, answer) in talk {
            let mut got = vec![0; asked.len()];
            stream.read_exact(&mut got).unwrap();
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&asked));
            stream.write_all(&answer).unwrap();
        }
    });
    (port, all)
}

#[tokio::test]
async fn a_socks_proxy_is_asked_for_a_way_and_looks_the_name_up() {
    let wanted = [
        b"\x05\x01\x00\x03\x0fnowhere.example".as_slice(),
        &8080_u16.to_be_bytes(),
    ]
    .concat();
    let (port, all) = socks(vec![
        (vec![5, 2, 0, 2], vec![5, 2]),
        (b"\x01\x02me\x04p@ss".to_vec(), vec![1, 0]),
        (wanted, vec![5, 0, 0, 1, 127, 0, 0, 1, 0, 80]),
        (
            b"GET /metrics HTTP/1.1\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nway".to_vec(),
        ),
    ]);
    let url = format!("socks5h://me:p%40ss@127.0.0.1:{port}");
    let body = ask(config(&url, ""), "http://nowhere.example:8080/metrics").await;
    assert_eq!(body.unwrap(), b"way");
    all.join().unwrap();
}

#[tokio::test]
async fn what_a_socks_proxy_refuses_is_told() {
    let hello = (vec![5, 1, 0], vec![5, 0]);
    let way = |reply: Vec<u8>| (vec![5, 1, 0, 1, 192, 0, 2, 1, 1, 187], reply);
    for (talk, why) in [
        (vec![hello.clone(), way(vec![5, 5, 0, 1])], "connection refused"),
        (vec![hello.clone(), way(vec![5, 77, 0, 1])], "unknown code: 77"),
        (
            vec![hello.clone(), way(vec![5, 0, 0, 9])],
            "an address of an unknown kind",
        ),
        (
            vec![(vec![5, 1, 0], vec![5, 0xff])],
            "a name and a password are asked for",
        ),
        (vec![(vec![5, 1, 0], b"HTTP".to_vec())], "no SOCKS 5"),
    ] {
        let (port, all) = socks(talk);
        let error = ask(config(&format!("socks5://127.0.0.1:{port}"), ""), "https://192.0.2.1/").await;
        assert_eq!(
            error.unwrap_err().to_string(),
            format!("proxy socks5://127.0.0.1:{port}: SOCKS 5 CONNECT 192.0.2.1:443: {why}")
        );
        all.join().unwrap();
    }
}

#[tokio::test]
async fn after_a_way_is_made_the_peer_is_spoken_to_by_tls() {
    // The stream ends there: it is the TLS handshake that fails, and not the proxy.
    let (port, _sent) = proxy(vec!["HTTP/1.1 200 Connection established\r\n\r\n"]);
    let error = ask(
        config(&format!("http://127.0.0.1:{port}"), ""),
        "https://nowhere.example/",
    )
    .await
    .unwrap_err();
    assert!(matches!(error, NetError::Tls { .. }), "{error}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_speaks_no_http_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = ask(
        config(&format!("http://u:hunter2@{address}"), ""),
        "http://nowhere.example/",
    )
    .await
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("proxy http://{address}: dial tcp {address}: connect: connection refused")
    );
    for (answer, why) in [
        ("SSH-2.0-OpenSSH\r\n", "no HTTP"),
        ("", "closed before the end of its answer"),
        ("HTTP/1.1 200 OK\r\n", "closed before the end of its answer"),
    ] {
        let (port, _sent) = proxy(vec![answer]);
        let error = ask(
            config(&format!("http://127.0.0.1:{port}"), ""),
            "https://nowhere.example/",
        )
        .await
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("proxy http://127.0.0.1:{port}: CONNECT nowhere.example:443: {why}")
        );
    }
    let error = ask(config("socks4://u:hunter2@127.0.0.1", ""), "http://nowhere.example/").await;
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("scheme of a proxy") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn no_answer_of_a_proxy_makes_it_panic_or_wait() {
    let http = (
        "http://p:1",
        vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'H'; 100_000]],
    );
    let socks = (
        "socks5://u:p@p:1",
        vec![vec![5, 2, 1, 0, 5, 0, 0, 3, 2, b'a', b'b', 0, 1], vec![5, 0, 5, 1, 0]],
    );
    for (url, corpus) in [http, socks] {
        let server = ProxyServer::parse(url, &[]).unwrap();
        cupola_testkit::fuzz(2_000, &corpus, &[], |bytes| {
            let mut stream = tokio::io::join(bytes, Vec::new());
            let mut asked = std::pin::pin!(server.connect(&mut stream, "x", 1));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(asked.as_mut().poll(&mut context).is_ready());
        });
    }
}

#[test]
fn exceptions_have_gos_meaning() {
    let list = "example.com, .sub.org ,*.wild.net,10.0.0.0/8,192.168.1.1,[fe80::1],port.com:8080,1.2.3.4:99,fd00::/8,";
    let proxies = Proxies::of(&config("http://p", list), |_| None).unwrap();
    let is_direct = |host, port| proxies.on_the_way(true, host, port).is_none();
    for (host, port) in [
        ("example.com", 443),
        ("EXAMPLE.com", 443),
        ("a.example.com", 443),
        ("a.sub.org", 443),
        ("a.wild.net", 443),
        ("10.255.0.1", 443),
        ("192.168.1.1", 443),
        ("fe80::1", 443),
        ("fd12::1", 443),
        ("port.com", 8080),
        ("a.port.com", 8080),
        ("1.2.3.4", 99),
        ("localhost", 443),
        ("127.0.0.9", 443),
        ("::1", 443),
    ] {
        assert!(is_direct(host, port), "{host}:{port}");
    }
    for (host, port) in [
        ("notexample.com", 443),
        ("sub.org", 443),
        ("wild.net", 443),
        ("11.0.0.1", 443),
        ("192.168.1.2", 443),
        ("fe80::2", 443),
        ("fe12::1", 443),
        ("port.com", 443),
        ("1.2.3.4", 98),
    ] {
        assert!(!is_direct(host, port), "{host}:{port}");
    }
    let all = Proxies::of(&config("http://p", "*"), |_| None).unwrap();
    assert!(all.on_the_way(false, "x", 80).is_none());
    let none = Proxies::of(&config("http://p", ""), |_| None).unwrap();
    assert!(none.on_the_way(false, "localhost", 80).is_some());
    let zero = Proxies::of(&config("http://p", "0.0.0.0/0"), |_| None).unwrap();
    assert!(zero.on_the_way(false, "8.8.8.8", 80).is_none());
}

#[test]
fn the_environment_is_asked_as_go_asks_it() {
    let from_environment = ProxyConfig {
        from_environment: true,
        ..ProxyConfig::default()
    };
    let of = |name: &str| match name {
        "HTTP_PROXY" => Some("plain:3128".to_owned()),
        "http_proxy" => Some("never:1".to_owned()),
        "https_proxy" => Some("https://secure".to_owned()),
        "NO_PROXY" => Some("near".to_owned()),
        _ => None,
    };
    let proxies = Proxies::of(&from_environment, of).unwrap();
    let on = |https, host| proxies.on_the_way(https, host, 1).map(ProxyServer::name);
    assert_eq!(on(false, "far").as_deref(), Some("http://plain:3128"));
    assert_eq!(on(true, "far").as_deref(), Some("https://secure:443"));
    assert_eq!(on(true, "near"), None);
    assert_eq!(on(false, "localhost"), None);
    assert!(proxies.need_tls());
    assert!(Proxies::of(&from_environment, |_| None).unwrap().http.is_none());
}
