//! One connection to one peer, opened when needed and kept for the next request.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HOST, HeaderValue, LOCATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::line::Stream;
use crate::proxy::{Kind, Proxies, ProxyServer};
use crate::{NetError, Tls, gzip};

// As Go's http.Client: a longer chain is a loop.
const MAX_REDIRECTS: usize = 10;

/// One request.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// Scheme, host, path and query.
    pub url: &'a Uri,
    /// Headers besides `Host` and `Accept-Encoding`.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// For the whole exchange, from the look-up of the name to the last byte.
    pub timeout: Duration,
    /// Bytes the answer's body may have, before and after inflating.
    pub max_body: usize,
    /// Whether to ask for gzip.
    pub gzip: bool,
    /// Whether to follow redirects (GET only, at most ten).
    pub follow_redirects: bool,
}

/// One answer.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, inflated.
    pub body: Vec<u8>,
    /// Bytes of the body as it came over the wire.
    pub wire_bytes: usize,
}

/// One connection to one peer.
#[derive(Debug, Default)]
pub struct Connection {
    tls: Option<Tls>,
    proxies: Arc<Proxies>,
    open: Option<(String, SendRequest<Full<Bytes>>)>,
}

impl Connection {
    /// A connection that opens with the first request; `tls` is needed for `https` URLs.
    #[must_use]
    pub fn new(tls: Option<Tls>) -> Self {
        Self { tls, ..Self::default() }
    }

    /// The same, through the proxies that are on the way.
    pub(crate) fn through(proxies: Proxies) -> Self {
        Self {
            proxies: Arc::new(proxies),
            ..Self::default()
        }
    }

    /// Whether TLS is spoken on the way to `url`, with the peer or with a proxy.
    pub(crate) fn needs_tls(&self, url: &Uri) -> bool {
        url.scheme_str() == Some("https") || self.proxies.need_tls()
    }

    /// Whether a connection is kept from an earlier request.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How to speak TLS from the next connection on.
    pub(crate) fn set_tls(&mut self, tls: Tls) {
        self.tls = Some(tls);
    }

    /// Sends one request and reads the whole answer. Any status is an answer.
    ///
    /// A kept connection that the peer has closed meanwhile is replaced once, without the caller noticing.
    ///
    /// # Errors
    /// [`NetError`]; the connection is then closed and the next request opens a new one.
    pub async fn send(&mut self, request: &Request<'_>) -> Result<Response, NetError> {
        let answer = tokio::time::timeout(request.timeout, self.exchange(request)).await;
        let answer = answer.unwrap_or(Err(NetError::Timeout(request.timeout)));
        if answer.is_err() {
            self.open = None;
        }
        answer
    }

    async fn exchange(&mut self, request: &Request<'_>) -> Result<Response, NetError> {
        let mut url = request.url.clone();
        let mut headers = request.headers.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&url, &headers, request).await?;
            let redirect = matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308);
            let location = response.headers.get(LOCATION).and_then(|v| v.to_str().ok());
            let (true, true, Some(location)) = (
                redirect && request.method == Method::GET,
                request.follow_redirects,
                location,
            ) else {
                return Ok(response);
            };
            let next = resolve(&url, location).ok_or_else(|| NetError::Redirect(format!("to {location:?}")))?;
            if next.authority() != url.authority() {
                // Credentials are for the host they were given for (Prometheus 3.13 drops them likewise).
                headers.remove(http::header::AUTHORIZATION);
            }
            url = next;
        }
        Err(NetError::Redirect(format!("stopped after {MAX_REDIRECTS} redirects")))
    }

    async fn ask(&mut self, url: &Uri, headers: &HeaderMap, request: &Request<'_>) -> Result<Response, NetError> {
        let bad = |reason| NetError::Url {
            url: url.to_string(),
            reason,
        };
        let host = url.host().ok_or_else(|| bad("has no host"))?;
        let https = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("scheme must be http or https")),
        };
        let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
        let peer = format!("{}://{host}:{port}", if https { "https" } else { "http" });

        let name = host.trim_start_matches('[').trim_end_matches(']');
        let proxies = self.proxies.clone();
        let proxy = proxies.on_the_way(https, name, port);

        let path = url.path_and_query().map_or("/", |p| p.as_str());
        let authority = url
            .authority()
            .map_or(host, |a| a.as_str().rsplit('@').next().unwrap_or(host));
        // A proxy that speaks HTTP passes on what it can read, and for the rest only makes a way.
        let asked_proxy = proxy.filter(|proxy| !https && proxy.kind != Kind::Socks5);
        let mut out = http::Request::builder().method(request.method.clone());
        out = match asked_proxy {
            Some(_) => out.uri(format!("http://{authority}{path}")),
            None => out.uri(path),
        };
        let mut out = out
            .body(Full::new(request.body.clone()))
            .map_err(|_| bad("cannot be written as a request"))?;
        *out.headers_mut() = headers.clone();
        if !out.headers().contains_key(HOST) {
            let value = HeaderValue::from_str(authority).map_err(|_| bad("host is no header value"))?;
            out.headers_mut().insert(HOST, value);
        }
        if let Some(value) = asked_proxy.and_then(|p| p.authorization.clone()) {
            out.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
        let encoding = if request.gzip { "gzip" } else { "identity" };
        out.headers_mut()
            .insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));

        if let Some((kept, mut sender)) = self.open.take().filter(|(kept, _)| *kept == peer)
            && sender.ready().await.is_ok()
        {
            match sender.send_request(out.clone()).await {
                Ok(response) => return self.read(kept, sender, response, request).await,
                // Closed by the peer between two requests: nothing was answered, a new connection may.
                Err(error) if error.is_canceled() || error.is_closed() || error.is_incomplete_message() => {}
                Err(error) => return Err(NetError::Http(error)),
            }
        }
        let mut sender = self.dial(name, port, https, proxy).await?;
        let response = sender.send_request(out).await.map_err(NetError::Http)?;
        self.read(peer, sender, response, request).await
    }

    async fn dial(
        &self,
        host: &str,
        port: u16,
        https: bool,
        proxy: Option<&ProxyServer>,
    ) -> Result<SendRequest<Full<Bytes>>, NetError> {
        let Some(proxy) = proxy else {
            let stream = connect(host, port).await?;
            if !https {
                return handshake(TokioIo::new(stream)).await;
            }
            return handshake(TokioIo::new(self.encrypt(host, true, stream).await?)).await;
        };
        let of_proxy = |source| NetError::Proxy {
            proxy: proxy.name(),
            source: Box::new(source),
        };
        let stream = connect(&proxy.host, proxy.port).await.map_err(of_proxy)?;
        let mut stream: Box<dyn Stream> = match proxy.kind {
            Kind::Https => Box::new(self.encrypt(&proxy.host, false, stream).await.map_err(of_proxy)?),
            Kind::Http | Kind::Socks5 => Box::new(stream),
        };
        if https || proxy.kind == Kind::Socks5 {
            proxy.connect(&mut stream, host, port).await?;
        }
        if !https {
            return handshake(TokioIo::new(stream)).await;
        }
        handshake(TokioIo::new(self.encrypt(host, true, stream).await?)).await
    }

    // `server_name` is about the peer and not about a proxy.
    async fn encrypt<S>(&self, host: &str, is_peer: bool, stream: S) -> Result<TlsStream<S>, NetError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None => Tls::new(&crate::TlsOptions::default())?,
        };
        let server = tls.server_name.as_deref().filter(|_| is_peer).unwrap_or(host);
        let server = ServerName::try_from(server.to_owned()).map_err(|_| NetError::Url {
            url: host.to_owned(),
            reason: "host is no TLS server name",
        })?;
        TlsConnector::from(tls.config)
            .connect(server, stream)
            .await
            .map_err(|source| NetError::Tls { source })
    }

    async fn read(
        &mut self,
        peer: String,
        sender: SendRequest<Full<Bytes>>,
        response: http::Response<hyper::body::Incoming>,
        request: &Request<'_>,
    ) -> Result<Response, NetError> {
        let (parts, body) = response.into_parts();
        let mut body = pin!(body);
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(NetError::Http)?;
            let Some(data) = frame.data_ref() else { continue };
            if bytes.len() + data.len() > request.max_body {
                return Err(NetError::BodyLimit {
                    limit: request.max_body,
                });
            }
            bytes.extend_from_slice(data);
        }
        self.open = Some((peer, sender));
        let wire_bytes = bytes.len();
        let gzipped = parts
            .headers
            .get(CONTENT_ENCODING)
            .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"gzip"));
        if gzipped && !bytes.is_empty() {
            bytes = gzip::inflate(&bytes, request.max_body)?;
        }
        Ok(Response {
            status: parts.status,
            headers: parts.headers,
            body: bytes,
            wire_bytes,
        })
    }
}

// One address of the name after the other.
async fn connect(name: &str, port: u16) -> Result<TcpStream, NetError> {
    let lookup = tokio::net::lookup_host((name, port)).await;
    let addresses = lookup.map_err(|source| NetError::Resolve {
        host: name.to_owned(),
        source,
    })?;
    let mut failed = NetError::Resolve {
        host: name.to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    };
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and each waits for its answer; a failure here costs only latency.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(source) => {
                failed = NetError::Connect {
                    address: address.to_string(),
                    source,
                }
            }
        }
    }
    Err(failed)
}

async fn handshake<S>(io: S) -> Result<SendRequest<Full<Bytes>>, NetError>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, driver) = http1::handshake(io).await.map_err(NetError::Http)?;
    // Ends by itself: when the sender is dropped or the peer closes.
    tokio::spawn(async move {
        // The sender's next request reports what went wrong here.
        let _ = driver.await;
    });
    Ok(sender)
}

// A redirect's target: absolute, from the root, or beside the current path.
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return location.parse().ok();
    }
    let origin = format!("{}://{}", base.scheme_str()?, base.authority()?);
    if location.starts_with('/') {
        return format!("{origin}{location}").parse().ok();
    }
    let (folder, _) = base.path().rsplit_once('/')?;
    format!("{origin}{folder}/{location}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    // A peer that answers each connection with the next of `answers`, then closes it.
    fn peer(answers: Vec<&'static str>) -> Uri {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        url
    }

    fn request(url: &Uri) -> Request<'_> {
        Request {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(5),
            max_body: 100,
            gzip: true,
            follow_redirects: true,
        }
    }

    #[tokio::test]
    async fn a_connection_that_the_peer_closed_is_opened_again() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let url = peer(vec![ok, ok, ok]);
        let mut connection = Connection::new(None);
        for _ in 0..3 {
            assert_eq!(connection.send(&request(&url)).await.unwrap().body, b"ok");
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let url = peer(vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n.....................................................................................................",
        ]);
        let error = Connection::new(None).send(&request(&url)).await.unwrap_err();
        assert_eq!(error.to_string(), "body size limit exceeded (100 bytes)");
    }

    #[tokio::test]
    async fn redirects_are_followed() {
        let url = peer(vec![
            "HTTP/1.1 302 Found\r\nLocation: other\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        ]);
        assert_eq!(Connection::new(None).send(&request(&url)).await.unwrap().body, b"x");
    }

    #[tokio::test]
    async fn a_closed_port_is_told_as_go_tells_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let url = format!("http://{address}/").parse().unwrap();
        let error = Connection::new(None).send(&request(&url)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("dial tcp {address}: connect: connection refused")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_runs_into_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let error = Connection::new(None).send(&request(&url)).await.unwrap_err();
        assert!(matches!(error, NetError::Timeout(_)), "{error}");
    }
}
