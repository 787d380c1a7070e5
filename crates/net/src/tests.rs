//! Peers as a configuration describes them, against servers on loopback.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use cupola_config::common::{Auth, HeaderValues, HttpClientConfig, PemSource, Secret, SecretSource, TlsConfig};
use http::header::LOCATION;
use http::{HeaderMap, Method, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{NetError, Peer, Request, Response};

/// What a server got.
pub(crate) struct Got {
    pub version: Version,
    pub method: Method,
    /// As it was asked for: with HTTP/2 a whole URL.
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub(crate) type Reply = Arc<dyn Fn(&Got) -> http::Response<Full<Bytes>> + Send + Sync>;

pub(crate) fn ok(body: &str) -> http::Response<Full<Bytes>> {
    http::Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())))
}

fn redirect(status: u16, to: &str) -> http::Response<Full<Bytes>> {
    let mut response = ok("moved");
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert(LOCATION, to.parse().unwrap());
    response
}

/// A server; with TLS it speaks what was agreed on. What it got comes out of the channel.
pub(crate) async fn serve(tls: Option<Arc<ServerConfig>>, reply: Reply) -> (u16, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sent, received) = channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, reply, sent) = (tls.clone(), reply.clone(), sent.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| take(request, reply.clone(), sent.clone()));
                let Some(tls) = tls else {
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    return;
                };
                let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else {
                    return;
                };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    let builder = http2::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                } else {
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                }
            });
        }
    });
    (port, received)
}

async fn take(
    request: http::Request<Incoming>,
    reply: Reply,
    sent: Sender<Got>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let got = Got {
        version: parts.version,
        method: parts.method,
        uri: parts.uri.to_string(),
        headers: parts.headers,
        body,
    };
    let response = reply(&got);
    let _ = sent.send(got);
    Ok(response)
}

async fn send(peer: &mut Peer, method: Method, url: &str, body: &str) -> Result<Response, NetError> {
    let request = Request {
        method,
        url: &url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        timeout: Duration::from_secs(10),
        max_body: 1 << 20,
        gzip: true,
        follow_redirects: true,
    };
    peer.send(request).await
}

#[tokio::test]
async fn credentials_stay_with_the_host_they_are_for_also_when_it_comes_back_to_it() {
    let seen: Reply = Arc::new(|got: &Got| match got.uri.as_str() {
        "/same" => redirect(301, "/away"),
        "/away" => redirect(
            302,
            &format!(
                "http://localhost:{}/back",
                got.headers["host"].to_str().unwrap()[10..].to_owned()
            ),
        ),
        "/back" => redirect(
            303,
            &format!(
                "http://127.0.0.1:{}/end",
                got.headers["host"].to_str().unwrap()[10..].to_owned()
            ),
        ),
        _ => ok("end"),
    });
    let (port, got) = serve(None, seen).await;
    let header = |value: &str| HeaderValues {
        values: vec![value.to_owned()],
        ..HeaderValues::default()
    };
    let config = HttpClientConfig {
        auth: Some(Auth::Authorization {
            kind: "Bearer".to_owned(),
            credentials: Some(SecretSource::Inline(Secret::new("hunter2"))),
        }),
        http_headers: BTreeMap::from([
            ("Cookie".to_owned(), header("c=1")),
            ("X-Team".to_owned(), header("blue")),
        ]),
        ..HttpClientConfig::default()
    };
    let mut peer = Peer::new(&config);
    let end = send(&mut peer, Method::GET, &format!("http://127.0.0.1:{port}/same"), "").await;
    assert_eq!(end.unwrap().body, b"end");
    for (uri, is_trusted) in [("/same", true), ("/away", true), ("/back", false), ("/end", false)] {
        let got = got.try_recv().unwrap();
        assert_eq!(got.uri, uri);
        assert_eq!(got.headers.contains_key("authorization"), is_trusted, "{uri}");
        assert_eq!(got.headers.contains_key("cookie"), is_trusted, "{uri}");
        assert_eq!(got.headers["x-team"], "blue", "{uri}");
    }
    let mut stays = Peer::new(&HttpClientConfig {
        follow_redirects: false,
        ..config
    });
    let answer = send(&mut stays, Method::GET, &format!("http://127.0.0.1:{port}/same"), "").await;
    assert_eq!(answer.unwrap().status, 301);
}

#[tokio::test]
async fn name_and_password_of_a_url_are_sent_and_not_told() {
    let (port, got) = serve(None, Arc::new(|_: &Got| ok("end"))).await;
    let url = format!("http://al%40ice:p%3Aw@127.0.0.1:{port}/hook");
    let mut peer = Peer::new(&HttpClientConfig::default());
    send(&mut peer, Method::POST, &url, "{}").await.unwrap();
    let got_one = got.try_recv().unwrap();
    assert_eq!(got_one.uri, "/hook");
    assert_eq!(got_one.headers["host"], format!("127.0.0.1:{port}"));
    // al@ice:p:w
    assert_eq!(got_one.headers["authorization"], "Basic YWxAaWNlOnA6dw==");
    // What is configured comes first, as with Go's client.
    let mut bearer = Peer::new(&HttpClientConfig {
        auth: Some(Auth::Authorization {
            kind: "Bearer".to_owned(),
            credentials: Some(SecretSource::Inline(Secret::new("hunter2"))),
        }),
        ..HttpClientConfig::default()
    });
    send(&mut bearer, Method::POST, &url, "{}").await.unwrap();
    assert_eq!(got.try_recv().unwrap().headers["authorization"], "Bearer hunter2");
    let url = format!("ftp://al:pw@127.0.0.1:{port}/services/T0KEN?key=T0KEN");
    let error = send(&mut peer, Method::POST, &url, "{}").await.unwrap_err().to_string();
    assert_eq!(error, "url \"ftp://127.0.0.1\": scheme must be http or https");
}

#[tokio::test]
async fn what_is_posted_goes_on_only_where_the_peer_asks_for_just_that() {
    let (port, got) = serve(
        None,
        Arc::new(|got: &Got| match got.uri.as_str() {
            "/307" => redirect(307, "/308"),
            "/308" => redirect(308, "/end"),
            "/302" => redirect(302, "/end"),
            _ => ok("end"),
        }),
    )
    .await;
    let mut peer = Peer::new(&HttpClientConfig::default());
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let end = send(&mut peer, Method::POST, &url("/307"), "alerts").await;
    assert_eq!(end.unwrap().status, 200);
    for uri in ["/307", "/308", "/end"] {
        let got = got.try_recv().unwrap();
        assert_eq!(
            (got.uri.as_str(), got.method, &got.body[..]),
            (uri, Method::POST, &b"alerts"[..])
        );
    }
    // A login page that answers a GET would look like a success.
    let answer = send(&mut peer, Method::POST, &url("/302"), "alerts").await;
    assert_eq!(answer.unwrap().status, 302);
}

#[tokio::test]
async fn an_answer_is_inflated_as_it_says() {
    let text = "up 1\n".repeat(1000);
    let whole = text.clone();
    let (port, got) = serve(
        None,
        Arc::new(move |got: &Got| {
            let mut response = ok("");
            let (encoding, body) = match got.uri.as_str() {
                "/zstd" => ("zstd", ::zstd::stream::encode_all(whole.as_bytes(), 1).unwrap()),
                "/broken" => ("zstd", b"no zstd".to_vec()),
                _ => ("identity", whole.clone().into_bytes()),
            };
            if got.uri == "/503" {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
                .headers_mut()
                .insert("content-encoding", encoding.parse().unwrap());
            *response.body_mut() = Full::new(body.into());
            response
        }),
    )
    .await;
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let asked = || {
        got.try_recv().unwrap().headers["accept-encoding"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    let mut peer = Peer::new(&HttpClientConfig::default());
    for _ in 0..2 {
        let response = send(&mut peer, Method::GET, &url("/zstd"), "").await.unwrap();
        assert_eq!(response.body, text.as_bytes());
        assert!(response.wire_bytes < 200, "{}", response.wire_bytes);
        assert_eq!(asked(), "zstd, gzip;q=0.9");
    }
    // What a peer does not compress, or not well, it is asked for as upstream does.
    for path in ["/plain", "/broken", "/503"] {
        let mut peer = Peer::new(&HttpClientConfig::default());
        for accept in ["zstd, gzip;q=0.9", "gzip", "gzip"] {
            match (path, send(&mut peer, Method::GET, &url(path), "").await) {
                ("/broken", result) => assert!(matches!(result, Err(NetError::Zstd(_))), "{result:?}"),
                (_, result) => assert_eq!(result.unwrap().body, text.as_bytes()),
            }
            assert_eq!(asked(), accept, "{path}");
        }
    }
}

/// A certificate for `localhost` and 127.0.0.1 that is its own authority; made by openssl.
struct Certificate {
    cert: PathBuf,
    key: PathBuf,
}

impl Certificate {
    // `None` where there is no openssl, which a run for a release must have.
    fn make(dir: &Path, name: &str) -> Option<Self> {
        let made = Self {
            cert: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
        };
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ]);
        command.args(["-days", "2", "-subj", "/CN=localhost", "-addext"]);
        command.args(["subjectAltName=DNS:localhost,IP:127.0.0.1", "-out"]);
        command.arg(&made.cert).arg("-keyout").arg(&made.key);
        match command.stderr(Stdio::null()).status() {
            Ok(status) => assert!(status.success(), "openssl: {status}"),
            Err(_) => {
                assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
                return None;
            }
        }
        Some(made)
    }

    fn server(&self, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        let cert = CertificateDer::from_pem_file(&self.cert).unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    fn client(&self) -> HttpClientConfig {
        HttpClientConfig {
            tls: TlsConfig {
                ca: Some(PemSource::File(self.cert.clone())),
                ..TlsConfig::default()
            },
            ..HttpClientConfig::default()
        }
    }
}

#[tokio::test]
async fn http_2_is_spoken_where_both_sides_have_it_and_it_is_not_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let Some(certificate) = Certificate::make(dir.path(), "server") else {
        return;
    };
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    for (protocols, enable_http2, version) in [
        (both, true, Version::HTTP_2),
        (both, false, Version::HTTP_11),
        (&[b"http/1.1".as_slice()], true, Version::HTTP_11),
        (&[], true, Version::HTTP_11),
    ] {
        let long = "x".repeat(200_000);
        let reply: Reply = Arc::new(move |got: &Got| match got.uri.ends_with("/redirected") {
            true => redirect(302, "/metrics"),
            false => ok(&long),
        });
        let (port, got) = serve(Some(certificate.server(protocols)), reply).await;
        let mut peer = Peer::new(&HttpClientConfig {
            enable_http2,
            ..certificate.client()
        });
        let url = format!("https://localhost:{port}");
        for path in ["/metrics?a=b", "/redirected"] {
            let response = send(&mut peer, Method::GET, &format!("{url}{path}"), "").await.unwrap();
            assert_eq!(response.body.len(), 200_000);
        }
        let response = send(&mut peer, Method::POST, &format!("{url}/write"), "body")
            .await
            .unwrap();
        assert_eq!(response.status, 200);
        let begin = if version == Version::HTTP_2 { url.as_str() } else { "" };
        for path in ["/metrics?a=b", "/redirected", "/metrics", "/write"] {
            let got = got.try_recv().unwrap();
            assert_eq!((got.version, got.uri), (version, format!("{begin}{path}")));
            assert_eq!(got.body, if path == "/write" { "body" } else { "" });
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_and_a_connection_that_was_closed_are_the_same_with_http_2() {
    let dir = tempfile::tempdir().unwrap();
    let Some(certificate) = Certificate::make(dir.path(), "server") else {
        return;
    };
    let reply: Reply = Arc::new(|got: &Got| match got.uri.ends_with("/long") {
        true => ok(&"x".repeat((1 << 20) + 1)),
        false => ok("short"),
    });
    let (port, _got) = serve(Some(certificate.server(&[b"h2"])), reply).await;
    let mut peer = Peer::new(&certificate.client());
    let url = |path: &str| format!("https://127.0.0.1:{port}{path}");
    for _ in 0..2 {
        assert_eq!(
            send(&mut peer, Method::GET, &url("/"), "").await.unwrap().body,
            b"short"
        );
        let error = send(&mut peer, Method::GET, &url("/long"), "").await.unwrap_err();
        assert!(matches!(error, NetError::BodyLimit { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_that_was_replaced_is_used_with_the_next_request() {
    let dir = tempfile::tempdir().unwrap();
    let Some(old) = Certificate::make(dir.path(), "old") else {
        return;
    };
    let new = Certificate::make(dir.path(), "new").unwrap();
    let (port, _got) = serve(Some(new.server(&[])), Arc::new(|_: &Got| ok("seen"))).await;
    let mut peer = Peer::new(&old.client());
    let url = format!("https://localhost:{port}/");
    let error = send(&mut peer, Method::GET, &url, "").await.unwrap_err();
    assert!(matches!(error, NetError::Tls { .. }), "{error}");
    std::fs::rename(&new.cert, &old.cert).unwrap();
    assert_eq!(send(&mut peer, Method::GET, &url, "").await.unwrap().body, b"seen");
    // The connection is kept; what is trusted now counts all the same.
    Certificate::make(dir.path(), "old").unwrap();
    let error = send(&mut peer, Method::GET, &url, "").await.unwrap_err();
    assert!(matches!(error, NetError::Tls { .. }), "{error}");
    std::fs::remove_file(&old.cert).unwrap();
    let error = send(&mut peer, Method::GET, &url, "").await.unwrap_err();
    assert!(matches!(error, NetError::Certificate { .. }), "{error}");
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_taken_for_its_names_only() {
    let dir = tempfile::tempdir().unwrap();
    let Some(certificate) = Certificate::make(dir.path(), "server") else {
        return;
    };
    let other = Certificate::make(dir.path(), "other").unwrap();
    let (port, _got) = serve(Some(certificate.server(&[])), Arc::new(|_: &Got| ok("seen"))).await;
    let with_name = |client: &HttpClientConfig, name: Option<&str>| {
        let mut client = client.clone();
        client.tls.server_name = name.map(str::to_owned);
        Peer::new(&client)
    };
    let url = format!("https://127.0.0.1:{port}/");
    for name in [None, Some("localhost")] {
        let response = send(&mut with_name(&certificate.client(), name), Method::GET, &url, "").await;
        assert_eq!(response.unwrap().body, b"seen");
    }
    for mut peer in [
        with_name(&certificate.client(), Some("elsewhere.example")),
        with_name(&other.client(), None),
        with_name(&HttpClientConfig::default(), None),
    ] {
        let error = send(&mut peer, Method::GET, &url, "").await.unwrap_err();
        assert!(matches!(error, NetError::Tls { .. }), "{error}");
    }
}

// A proxy that makes a way to any port of this machine, itself spoken to by TLS where `tls` says how.
async fn tunnel(tls: Option<Arc<ServerConfig>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let mut stream: Box<dyn crate::line::Stream> = match tls {
                    Some(tls) => Box::new(TlsAcceptor::from(tls).accept(stream).await.unwrap()),
                    None => Box::new(stream),
                };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.strip_prefix("CONNECT localhost:").unwrap();
                let target: u16 = target.split(' ').next().unwrap().parse().unwrap();
                let mut peer = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nVia: t\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut peer).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn tls_and_http_2_go_through_proxies_that_may_speak_tls_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let Some(certificate) = Certificate::make(dir.path(), "server") else {
        return;
    };
    let (port, got) = serve(Some(certificate.server(&[b"h2"])), Arc::new(|_: &Got| ok("far"))).await;
    let (plain, encrypted) = (tunnel(None).await, tunnel(Some(certificate.server(&[]))).await);
    for proxy in [
        format!("http://127.0.0.1:{plain}"),
        format!("https://127.0.0.1:{encrypted}"),
    ] {
        let mut config = certificate.client();
        config.proxy.url = Some(Secret::new(proxy));
        let mut peer = Peer::new(&config);
        for _ in 0..2 {
            let response = send(&mut peer, Method::GET, &format!("https://localhost:{port}/"), "").await;
            assert_eq!(response.unwrap().body, b"far");
            assert_eq!(got.try_recv().unwrap().version, Version::HTTP_2);
        }
    }
}

fn large(length: usize, encoding: &str) -> Bytes {
    // Compresses to less than a hundredth.
    let text = "a_metric{with=\"labels\"} 1\n".repeat(length / 26 + 1);
    let text = &text.as_bytes()[..length];
    match encoding {
        "zstd" => ::zstd::stream::encode_all(text, 1).unwrap().into(),
        "gzip" => {
            let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
            let mut out = vec![0; compressor.gzip_compress_bound(length)];
            let len = compressor.gzip_compress(text, &mut out).unwrap();
            out.truncate(len);
            out.into()
        }
        _ => Bytes::copy_from_slice(text),
    }
}

// Peers whose bodies share 512 KiB, and a server whose bodies are as long as their path says, in the coding it names.
async fn with_budget() -> (crate::BodyBudget, impl Fn() -> Peer, String) {
    let reply: Reply = Arc::new(|got: &Got| {
        let mut path = got.uri.trim_start_matches('/').split('/');
        let (encoding, length) = (path.next().unwrap().to_owned(), path.next().unwrap().parse().unwrap());
        let mut response = http::Response::new(Full::new(large(length, &encoding)));
        if encoding != "plain" {
            let value = encoding.parse().unwrap();
            response.headers_mut().insert(http::header::CONTENT_ENCODING, value);
        }
        response
    });
    let (port, _) = serve(None, reply).await;
    let budget = crate::BodyBudget::new("test bodies", 512 << 10);
    let shared = budget.clone();
    let peer = move || {
        let mut peer = Peer::new(&HttpClientConfig::default());
        peer.set_budget(shared.clone());
        peer
    };
    (budget, peer, format!("http://127.0.0.1:{port}"))
}

async fn get(peer: &mut Peer, url: &str, timeout: Duration) -> Result<Response, NetError> {
    let request = Request {
        method: Method::GET,
        url: &url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        timeout,
        max_body: 1 << 20,
        gzip: true,
        follow_redirects: true,
    };
    peer.send(request).await
}

#[tokio::test]
async fn bodies_share_memory_and_wait_for_it_within_their_time() {
    let (budget, peer, server) = with_budget().await;
    let (soon, long) = (Duration::from_millis(200), Duration::from_secs(20));
    for encoding in ["plain", "gzip", "zstd"] {
        let url = format!("{server}/{encoding}/200000");
        let (mut a, mut b, mut c) = (peer(), peer(), peer());
        // One has the shared half and one the other.
        let first = get(&mut a, &url, long).await.unwrap();
        let second = get(&mut b, &url, long).await.unwrap();
        assert_eq!((first.body.len(), second.body.len()), (200_000, 200_000), "{encoding}");
        let error = get(&mut c, &url, soon).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no memory for the body within 0.2s: test bodies may take 524288 bytes together, which are in use"
        );
        // Waits until the other one has gone.
        let (third, ()) = tokio::join!(get(&mut c, &url, long), async {
            tokio::task::yield_now().await;
            drop(second);
        });
        assert_eq!(third.unwrap().body.len(), 200_000);
        drop(first);
        // Who knows how much it takes gets it at once, and what is smaller gives back the rest.
        let again = get(&mut a, &url, long).await.unwrap();
        assert!((200_000..300_000).contains(&budget.used()), "{}", budget.used());
        drop(again);
        assert_eq!(budget.used(), 0);
        let short = get(&mut a, &format!("{server}/{encoding}/2000"), long).await.unwrap();
        assert!((2000..10_000).contains(&budget.used()), "{encoding}: {}", budget.used());
        drop(short);
    }
    assert_eq!(budget.refused(), 3);
}

#[tokio::test]
async fn a_body_larger_than_half_the_memory_is_refused_by_name() {
    let (budget, peer, server) = with_budget().await;
    let long = Duration::from_secs(20);
    for (n, encoding) in ["plain", "gzip", "zstd"].into_iter().enumerate() {
        let mut peer = peer();
        let fits = get(&mut peer, &format!("{server}/{encoding}/240000"), long).await;
        assert_eq!(fits.unwrap().body.len(), 240_000, "{encoding}");
        let error = get(&mut peer, &format!("{server}/{encoding}/270000"), long)
            .await
            .unwrap_err();
        assert!(matches!(error, NetError::OverBudget { .. }), "{encoding}: {error}");
        // What is larger than the request allows is told as ever where the memory would do.
        assert_eq!((budget.used(), budget.refused()), (0, n as u64 + 1));
    }
}

// Answers each connection with these bytes, and keeps it open for ever where they say so.
fn raw(answer: &'static [u8], stays: bool) -> u16 {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut part = [0; 4096];
            let _ = stream.read(&mut part);
            let _ = stream.write_all(answer);
            if stays {
                kept.push(stream);
            }
        }
    });
    port
}

#[tokio::test]
async fn where_the_head_is_enough_an_answer_may_be_long_or_break_off_or_never_end() {
    let begins = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\nbegins";
    let long = Arc::new(|_: &Got| ok(&"x".repeat(3 << 20)));
    let (long, _) = serve(None, long).await;
    for (port, least) in [(raw(begins, false), 6), (raw(begins, true), 6), (long, 1 << 20)] {
        let url = format!("http://127.0.0.1:{port}/");
        let mut peer = Peer::new(&HttpClientConfig::default());
        peer.cut_bodies();
        for _ in 0..2 {
            let answer = send(&mut peer, Method::POST, &url, "x").await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.body.len()), (200, least));
        }
    }
    // Whoever wants the body is told.
    let url = format!("http://127.0.0.1:{}/", raw(begins, false));
    let mut peer = Peer::new(&HttpClientConfig::default());
    assert!(send(&mut peer, Method::POST, &url, "x").await.is_err());
}

#[tokio::test]
async fn an_answer_whose_body_does_not_come_is_one_also_where_there_is_less_time_than_bodies_have() {
    let begins = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\nbegins";
    let url = format!("http://127.0.0.1:{}/", raw(begins, true)).parse().unwrap();
    let mut peer = Peer::new(&HttpClientConfig::default());
    peer.cut_bodies();
    let request = Request {
        method: Method::POST,
        url: &url,
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"x"),
        timeout: Duration::from_secs(1),
        max_body: 1 << 20,
        gzip: false,
        follow_redirects: false,
    };
    let answer = peer.send(request).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"begins"[..]));
}

#[tokio::test]
async fn where_the_head_is_enough_a_body_that_cannot_be_inflated_is_passed_over() {
    let broken = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain";
    let url = format!("http://127.0.0.1:{}/", raw(broken, false));
    let mut peer = Peer::new(&HttpClientConfig::default());
    assert!(send(&mut peer, Method::POST, &url, "x").await.is_err());
    peer.cut_bodies();
    let answer = send(&mut peer, Method::POST, &url, "x").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
}
