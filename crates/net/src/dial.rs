//! Opening a connection: to the peer or through a proxy, with TLS where it is asked for, and which HTTP is then spoken.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::line::Stream;
use crate::proxy::{Kind, Proxies, ProxyServer};
use crate::{NetError, Tls};

// What a peer may send of a body before it was read; Go's client lets it send as much.
const HTTP2_WINDOW: u32 = 4 << 20;
// How long an address may take before the next one is tried beside it: Go's fallback delay (RFC 6555).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);

/// How connections are opened.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    pub tls: Option<Tls>,
    pub proxies: Arc<Proxies>,
    /// Whether HTTP/2 is offered, where TLS is spoken: as upstream, never in plain text.
    pub http2: bool,
    /// The Unix socket at which every host is.
    pub socket: Option<PathBuf>,
    /// Where connections are spread over the addresses of a name: the count of those that were opened so far.
    pub spread: Option<Arc<AtomicUsize>>,
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
            (None, None) => Box::new(connect_spread(host, port, self.spread.as_deref()).await?),
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

/// Tries the addresses of the name, one after the other; the next one also where the one before has not answered soon,
/// so that an address to which packets vanish does not keep the others from being tried.
pub(crate) async fn connect(name: &str, port: u16) -> Result<TcpStream, NetError> {
    connect_spread(name, port, None).await
}

// Each connection that is `spread` begins with the address after the one that the last began with.
async fn connect_spread(name: &str, port: u16, spread: Option<&AtomicUsize>) -> Result<TcpStream, NetError> {
    let lookup = tokio::net::lookup_host((name, port)).await;
    let addresses = lookup.map_err(|source| NetError::Resolve {
        host: name.to_owned(),
        source,
    })?;
    connect_any(name, addresses.collect(), spread).await
}

async fn connect_any(
    name: &str,
    mut addresses: Vec<SocketAddr>,
    spread: Option<&AtomicUsize>,
) -> Result<TcpStream, NetError> {
    if let Some(opened) = spread {
        // Whatever order the resolver has: it may be another each time.
        addresses.sort_unstable();
        let nth = opened.fetch_add(1, Ordering::Relaxed);
        let first = nth.checked_rem(addresses.len()).unwrap_or(0);
        addresses.rotate_left(first);
    }
    let stream = match first_of(addresses.into_iter(), connect_to).await {
        Ok(stream) => stream,
        Err(Some((address, source))) => {
            return Err(NetError::Connect {
                address: address.to_string(),
                source,
            });
        }
        Err(None) => {
            return Err(NetError::Resolve {
                host: name.to_owned(),
                source: std::io::ErrorKind::NotFound.into(),
            });
        }
    };
    // Requests are small and each waits for its answer; a failure here costs only latency.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

// As `TcpStream::connect`, but whether this machine itself refuses is known once `connect` has returned: nothing has to be
// registered and waited for, and the socket is good for the next address. Where many targets are down that is a quarter of it.
async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let spare = if address.is_ipv4() { SPARE.lock().pop() } else { None };
    let socket = match spare {
        Some(socket) => socket,
        None => {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            socket_with(family, SocketType::STREAM, flags, None)?
        }
    };
    match rustix::net::connect(&socket, &address) {
        Err(Errno::INPROGRESS) => {
            if let Err(refused) = sockopt::socket_error(&socket)? {
                if address.is_ipv4() {
                    keep(socket);
                }
                return Err(refused.into());
            }
        }
        other => other?,
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

// Sockets for IPv4 that were refused, for the next addresses: making one and closing it takes longer than to be refused.
static SPARE: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());
const SPARE_SOCKETS: usize = 8;

fn keep(socket: OwnedFd) {
    // Takes it back to where it was before `connect`: connect(2).
    if rustix::net::connect_unspec(&socket).is_ok() {
        let mut spare = SPARE.lock();
        if spare.len() < SPARE_SOCKETS {
            spare.push(socket);
        }
    }
}

// The first that connects. Where none does it is the first one's error that is told, as Go's dialer tells it; nothing where
// there is no address.
async fn first_of<S: Send + 'static, C>(
    addresses: impl Iterator<Item = SocketAddr>,
    connect: impl Fn(SocketAddr) -> C,
) -> Result<S, Option<(SocketAddr, io::Error)>>
where
    C: Future<Output = io::Result<S>> + Send + 'static,
{
    let mut addresses = addresses.peekable();
    let Some(first) = addresses.next() else {
        return Err(None);
    };
    // Most names have one, which needs no task.
    if addresses.peek().is_none() {
        return connect(first).await.map_err(|error| Some((first, error)));
    }
    let mut next = Some(first);
    let mut failed: Option<(usize, SocketAddr, io::Error)> = None;
    let mut trying = JoinSet::new();
    let mut place = 0;
    loop {
        if let Some(address) = next.take() {
            let connecting = connect(address);
            trying.spawn(async move { (place, address, connecting.await) });
            place += 1;
        }
        let has_more = addresses.peek().is_some();
        tokio::select! {
            tried = trying.join_next() => match tried {
                Some(Ok((_, _, Ok(stream)))) => return Ok(stream),
                Some(Ok((place, address, Err(error)))) => {
                    if failed.as_ref().is_none_or(|(before, ..)| place < *before) {
                        failed = Some((place, address, error));
                    }
                    next = addresses.next();
                }
                // It panicked, which is told where it did.
                Some(Err(_)) => next = addresses.next(),
                None if has_more => next = addresses.next(),
                None => return Err(failed.map(|(_, address, error)| (address, error))),
            },
            () = tokio::time::sleep(NEXT_ADDRESS_AFTER), if has_more => next = addresses.next(),
        }
    }
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

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 1))
    }

    // Address 1 never answers, 2 refuses at once, 3 refuses after a second; the others connect at once.
    async fn connect(address: SocketAddr) -> io::Result<SocketAddr> {
        match address {
            one if one == at(1) => std::future::pending().await,
            two if two == at(2) => Err(io::ErrorKind::ConnectionRefused.into()),
            three if three == at(3) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Err(io::ErrorKind::HostUnreachable.into())
            }
            other => Ok(other),
        }
    }

    async fn tried(last: &[u8]) -> (Result<SocketAddr, Option<SocketAddr>>, u128) {
        let begun = Instant::now();
        let found = first_of(last.iter().map(|last| at(*last)), connect).await;
        let found = found.map_err(|failed| failed.map(|(address, _)| address));
        (found, begun.elapsed().as_millis())
    }

    #[tokio::test]
    async fn a_socket_that_was_refused_connects_to_the_next_address() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        use tokio::net::TcpListener;
        let closed = SocketAddr::from(([127, 0, 0, 1], 1));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut open = Vec::new();
        for _ in 0..3 {
            for _ in 0..2 {
                let refused = connect_to(closed).await.unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            }
            let (stream, taken) = tokio::join!(connect_to(address), listener.accept());
            let (mut stream, (mut taken, from)) = (stream.unwrap(), taken.unwrap());
            assert_eq!(stream.local_addr().unwrap(), from);
            stream.write_all(b"ping").await.unwrap();
            let mut heard = [0; 4];
            taken.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"ping");
            open.push((stream, taken));
        }
    }

    #[tokio::test]
    async fn connections_are_spread_over_the_addresses_that_answer() {
        use tokio::net::TcpListener;
        let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = one.local_addr().unwrap().port();
        let two = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let addresses = |last: &[u8]| -> Vec<SocketAddr> {
            last.iter()
                .map(|last| SocketAddr::from(([127, 0, 0, *last], port)))
                .collect()
        };
        let opened = AtomicUsize::new(0);
        let reached = async |last: &[u8], spread| {
            let stream = connect_any("n", addresses(last), spread).await.unwrap();
            match stream.peer_addr().unwrap() {
                SocketAddr::V4(address) => address.ip().octets()[3],
                SocketAddr::V6(_) => 0,
            }
        };
        // However the resolver has them; nobody listens at the third.
        let mut all = Vec::new();
        for last in [[1, 2, 3], [2, 3, 1], [3, 2, 1], [1, 2, 3], [2, 1, 3], [1, 3, 2]] {
            all.push(reached(&last, Some(&opened)).await);
        }
        assert_eq!(all, [1, 2, 1, 1, 2, 1]);
        // Who does not ask for it has the resolver's order.
        assert_eq!((reached(&[2, 1], None).await, reached(&[2, 1], None).await), (2, 2));
        drop((one, two));
        assert!(connect_any("n", addresses(&[1, 2]), Some(&opened)).await.is_err());
        let none = connect_any("n", Vec::new(), Some(&opened)).await;
        assert!(matches!(none, Err(NetError::Resolve { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_never_answers_does_not_hold_up_the_others() {
        assert_eq!(tried(&[1, 4]).await, (Ok(at(4)), 300));
        assert_eq!(tried(&[1, 2, 1, 4]).await, (Ok(at(4)), 600));
        assert_eq!(tried(&[2, 4]).await, (Ok(at(4)), 0));
        assert_eq!(tried(&[4, 1]).await, (Ok(at(4)), 0));
        // The first one's error, also where it comes last.
        assert_eq!(tried(&[3, 2, 2]).await, (Err(Some(at(3))), 1000));
        assert_eq!(tried(&[2]).await, (Err(Some(at(2))), 0));
        assert_eq!(tried(&[]).await, (Err(None), 0));
    }
}
