//! Opening a connection: to the peer or through a proxy, with TLS where it is asked for, and which HTTP is then spoken.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::line::Stream;
use crate::proxy::{Kind, Proxies, ProxyServer};
use crate::{NetError, Tls};

// What a peer may send of a body before it was read; Go's client lets it send as much.
const HTTP2_WINDOW: u32 = 4 << 20;

/// How connections are opened.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    pub tls: Option<Tls>,
    pub proxies: Arc<Proxies>,
    /// Whether HTTP/2 is offered, where TLS is spoken: as upstream, never in plain text.
    pub http2: bool,
    /// The Unix socket at which every host is.
    pub socket: Option<PathBuf>,
}

/// Sends requests over an open connection.
#[derive(Debug)]
pub(crate) enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    /// Whether the connection can take another request.
    pub(crate) async fn is_ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends a request as HTTP/1.1 has it, with `Host` and a path.
    pub(crate) async fn send(&mut self, request: http::Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(absolute(request)).await,
        }
    }
}

// HTTP/2 has the host in the request line, so to speak, and no `Host`.
fn absolute(mut request: http::Request<Full<Bytes>>) -> http::Request<Full<Bytes>> {
    let host = request.headers_mut().remove(HOST);
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = host.and_then(|host| host.to_str().ok()?.parse().ok());
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

impl Dialer {
    /// Opens a connection to `host` (without brackets), through `proxy` where one is given.
    pub(crate) async fn dial(
        &self,
        host: &str,
        port: u16,
        https: bool,
        proxy: Option<&ProxyServer>,
    ) -> Result<Sender, NetError> {
        let stream: Box<dyn Stream> = match (&self.socket, proxy) {
            (Some(path), _) => Box::new(connect_socket(path).await?),
            (None, None) => Box::new(connect(host, port).await?),
            (None, Some(proxy)) => self.connect_through(proxy, host, port, https).await?,
        };
        if !https {
            return speak_http1(stream).await;
        }
        let tls = self.tls()?;
        let config = if self.http2 { &tls.with_http2 } else { &tls.config };
        let name = tls.server_name.as_deref().unwrap_or(host);
        let stream = encrypt(config, name, stream).await?;
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => speak_http2(stream).await,
            _ => speak_http1(Box::new(stream)).await,
        }
    }

    async fn connect_through(
        &self,
        proxy: &ProxyServer,
        host: &str,
        port: u16,
        https: bool,
    ) -> Result<Box<dyn Stream>, NetError> {
        let of_proxy = |source| NetError::Proxy {
            proxy: proxy.name(),
            source: Box::new(source),
        };
        let mut stream: Box<dyn Stream> = Box::new(connect(&proxy.host, proxy.port).await.map_err(of_proxy)?);
        if proxy.kind == Kind::Https {
            // `server_name` is about the peer and not about a proxy.
            let encrypted = encrypt(&self.tls()?.config, &proxy.host, stream).await;
            stream = Box::new(encrypted.map_err(of_proxy)?);
        }
        if https || proxy.kind == Kind::Socks5 {
            proxy.connect(&mut stream, host, port).await?;
        }
        Ok(stream)
    }

    fn tls(&self) -> Result<Tls, NetError> {
        match &self.tls {
            Some(tls) => Ok(tls.clone()),
            None => Tls::new(&crate::TlsOptions::default()),
        }
    }
}

async fn connect_socket(path: &Path) -> Result<UnixStream, NetError> {
    UnixStream::connect(path).await.map_err(|source| NetError::Connect {
        address: path.display().to_string(),
        source,
    })
}

/// Tries one address of the name after the other.
pub(crate) async fn connect(name: &str, port: u16) -> Result<TcpStream, NetError> {
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

async fn encrypt(
    config: &Arc<ClientConfig>,
    name: &str,
    stream: Box<dyn Stream>,
) -> Result<TlsStream<Box<dyn Stream>>, NetError> {
    let server = ServerName::try_from(name.to_owned()).map_err(|_| NetError::Url {
        url: name.to_owned(),
        reason: "host is no TLS server name",
    })?;
    TlsConnector::from(config.clone())
        .connect(server, stream)
        .await
        .map_err(|source| NetError::Tls { source })
}

async fn speak_http1(stream: Box<dyn Stream>) -> Result<Sender, NetError> {
    let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(NetError::Http)?;
    // Ends by itself: when the sender is dropped or the peer closes.
    tokio::spawn(async move {
        // The sender's next request reports what went wrong here.
        let _ = driver.await;
    });
    Ok(Sender::Http1(sender))
}

async fn speak_http2(stream: TlsStream<Box<dyn Stream>>) -> Result<Sender, NetError> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(HTTP2_WINDOW)
        .initial_connection_window_size(HTTP2_WINDOW);
    let (sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(NetError::Http)?;
    tokio::spawn(async move {
        let _ = driver.await;
    });
    Ok(Sender::Http2(sender))
}
