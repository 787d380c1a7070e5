//! HTTP as a client: one owned connection per peer, TLS, and bodies with a limit; and TLS of our own listeners, and among
//! the members of a cluster.
//!
//! A scrape target, a receiver and an Alertmanager are each one host that is asked again and again, so a pool buys
//! nothing: a [`Connection`] belongs to whoever talks to that host, is kept alive between requests and opened again when
//! the peer has closed it. Every request has a deadline and every body a limit.
//!
//! *Invariant:* the only crate that names rustls.

mod budget;
mod connection;
mod dial;
mod encrypted;
mod error;
mod gzip;
mod line;
mod member;
mod oauth;
mod peer;
mod proxy;
mod san;
mod server;
mod sigv4;
mod tls;
mod watch;
mod zstd;

pub use budget::{BodyBudget, Room};
pub use connection::{Connection, Request, Response};
pub use encrypted::Encrypted;
pub use error::NetError;
pub use line::LineConnection;
pub use member::MemberTls;
pub use peer::{Peer, expose, tls_of};
pub use server::{ReadFile, ServerTls};
pub use sigv4::amazon_region;
pub use tls::{ClientPem, Tls, TlsOptions};
pub use watch::{ReadInto, Snapshot, Told, Watched};

#[cfg(test)]
mod tests;
