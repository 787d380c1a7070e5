//! How members reach each other: TCP, or what stands for it in a test.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Something that comes later.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The ways between members.
pub trait Network: Send + Sync + 'static {
    /// The addresses behind `HOST:PORT`, asked anew each time.
    fn resolve<'a>(&'a self, peer: &'a str) -> Pending<'a, io::Result<Vec<SocketAddr>>>;

    /// A connection to a member. Its caller sets the time it may take.
    fn connect(&self, to: SocketAddr) -> Pending<'_, io::Result<Box<dyn Stream>>>;

    /// The next connection that somebody makes, and from where.
    fn accept(&self) -> Pending<'_, io::Result<(Box<dyn Stream>, SocketAddr)>>;

    /// What has to be done with an accepted connection before anything is read from it; nothing, unless there is TLS.
    fn welcome(&self, stream: Box<dyn Stream>) -> Pending<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(std::future::ready(Ok(stream)))
    }
}

/// The real one.
#[derive(Debug)]
pub struct TcpNetwork {
    listener: TcpListener,
}

impl TcpNetwork {
    /// Accepts at `listener`.
    #[must_use]
    pub fn new(listener: TcpListener) -> Self {
        Self { listener }
    }
}

impl Network for TcpNetwork {
    fn resolve<'a>(&'a self, peer: &'a str) -> Pending<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host(peer).await?.collect()) })
    }

    fn connect(&self, to: SocketAddr) -> Pending<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn accept(&self) -> Pending<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as Box<dyn Stream>, from))
        })
    }
}
