//! What can go wrong on the way to a peer and back, in the words Prometheus's users know from Go.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// Why a request got no usable answer.
#[derive(Debug, Error)]
pub enum NetError {
    /// The URL cannot be asked.
    #[error("url {url:?}: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// The name has no address.
    #[error("lookup {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No connection.
    #[error("dial {} {address}: connect: {}", network(.address), io_reason(.source))]
    Connect {
        /// Address and port, or the path of a Unix socket.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("tls: {source}")]
    Tls {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate or key of the configuration cannot be used.
    #[error("{file}: {reason}")]
    Certificate {
        /// Which file or "system roots".
        file: String,
        /// Why.
        reason: String,
    },
    /// The peer broke off or broke the protocol.
    #[error("{}", http_reason(.0))]
    Http(#[source] hyper::Error),
    /// The whole exchange took too long.
    #[error("context deadline exceeded (no complete answer within {}s)", .0.as_secs_f64())]
    Timeout(Duration),
    /// The proxy on the way to the peer cannot be spoken to.
    #[error("proxy {proxy}: {source}")]
    Proxy {
        /// The proxy's URL, without its password.
        proxy: String,
        /// Why not.
        #[source]
        source: Box<NetError>,
    },
    /// The proxy makes no way to the peer.
    #[error("proxy {proxy}: {asked} {target}: {answer}")]
    ProxyRefused {
        /// The proxy's URL, without its password.
        proxy: String,
        /// What it was asked for: `CONNECT`, or the same by SOCKS.
        asked: &'static str,
        /// Host and port that were asked for.
        target: String,
        /// What it answered instead.
        answer: String,
    },
    /// The body is larger than allowed.
    #[error("body size limit exceeded ({limit} bytes)")]
    BodyLimit {
        /// Bytes allowed.
        limit: usize,
    },
    /// The memory that bodies share did not become free in time.
    #[error("no memory for the body within {}s: {what} may take {limit} bytes together, which are in use", .waited.as_secs_f64())]
    NoRoom {
        /// Whose bodies share it.
        what: &'static str,
        /// Bytes that they may take together.
        limit: usize,
        /// The whole exchange was given so long.
        waited: Duration,
    },
    /// The body is larger than one may be of those that share memory.
    #[error("the body takes more than {most} bytes, half of what {what} may take together ({limit} bytes of memory)")]
    OverBudget {
        /// Whose bodies share it.
        what: &'static str,
        /// Bytes that they may take together.
        limit: usize,
        /// Bytes that one may take.
        most: usize,
    },
    /// The body is not what its `Content-Encoding` says.
    #[error("gzip: {0}")]
    Gzip(&'static str),
    /// The same of zstd.
    #[error("zstd: {0}")]
    Zstd(String),
    /// No token to be sent was to be had.
    #[error("oauth2: cannot fetch token from {url}: {reason}")]
    Token {
        /// Where it was asked for, without user, password and query.
        url: String,
        /// Why there is none.
        reason: String,
    },
    /// The request cannot be signed.
    #[error("sigv4: {0}")]
    Sign(String),
    /// There are no credentials of Google's that can be used.
    #[error("google_iam: {0}")]
    Google(String),
    /// A redirect that cannot be followed.
    #[error("redirect: {0}")]
    Redirect(String),
}

// As Go names it; no address begins with a slash.
fn network(address: &str) -> &'static str {
    if address.starts_with('/') { "unix" } else { "tcp" }
}

// The system's words without the error number, as Go prints them.
fn io_reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text.get(..at).unwrap_or(&text).to_lowercase(),
        None => text,
    }
}

// hyper tells only what it was doing; what happened stands behind it. The words are Go's where it has some.
fn http_reason(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
                io::ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
                _ => format!("http: {}", io_reason(io)),
            };
        }
        source = cause.source();
    }
    format!("http: {error}")
}
