//! What the end-to-end tests stand on: the real binary as a child process, and the small world around it.
//!
//! The tests speak only public protocols: command line, signals, exit codes, HTTP, files. So nothing here depends on
//! another crate of the workspace.
//!
//! *Invariant:* no fixed sleeps. Whatever takes time is polled with [`eventually`] up to a generous deadline.
//! *Invariant:* a child process never outlives its test.
//!
//! `CUPOLA_BINARY` names the binary (otherwise the release build beside the tests), `CUPOLA_MISSING` the neighbour
//! programs that are known to be absent, and `CI=true` turns every skip into a failure.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

mod child;
mod clock;
mod fake;
mod http;
mod neighbours;
mod pages;
mod pki;
mod server;
mod wait;
mod world;

pub use cupola_testkit::free_address;

pub use child::{Background, Finished, run};
pub use clock::Clock;
pub use fake::{FakeServer, FakeTarget, Reply, Request};
pub use http::{Response, get, request, url_encode};
pub use neighbours::{
    Neighbour, NodeExporter, Prometheus, VictoriaMetrics, neighbour, otlp_python, python_client, skip, tell,
};
pub use pages::Browser;
pub use pki::Pki;
pub use server::{Sample, Server, alertmanager, cupola};
pub use wait::{eventually, now_ms};
pub use world::{Home, TinyDisk, binary, conformance, repository};
