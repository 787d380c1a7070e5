//! `tracing:`

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_model::go_quote;

use crate::common::TlsConfig;
use crate::http::{is_reserved_header, read_tls};
use crate::read::{Reader, Section};
use crate::yaml::Node;

/// `tracing:`, where traces of this program go.
#[derive(Debug, Clone, PartialEq)]
pub struct TracingConfig {
    /// Default gRPC.
    pub client_type: TracingClient,
    /// `host:port`; never empty.
    pub endpoint: String,
    /// Share of traces that is sent, 0 to 1. Default 0.
    pub sampling_fraction: f64,
    /// Speak without TLS.
    pub insecure: bool,
    /// TLS towards the endpoint.
    pub tls: TlsConfig,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// Whether bodies are compressed with gzip.
    pub is_compressed: bool,
    /// For one delivery; default 10s.
    pub timeout: Duration,
}

/// How traces are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TracingClient {
    /// `grpc`
    #[default]
    Grpc,
    /// `http`
    Http,
}

/// Reads `tracing`.
pub(super) fn read_tracing(reader: &Reader<'_>, node: &Node) -> TracingConfig {
    let section = reader.section(node, "config.plain");
    let client_type = match section.filled_text("client_type").as_deref() {
        None | Some("grpc") => TracingClient::Grpc,
        Some("http") => TracingClient::Http,
        Some(other) => {
            let message = format!("expected tracing client type to be http or grpc, but got {other}");
            section.error_at("client_type", message);
            TracingClient::default()
        }
    };
    let endpoint = section.filled_text("endpoint");
    if endpoint.is_none() {
        section.error_at("endpoint", "tracing endpoint must be set");
    }
    let compression = section.filled_text("compression");
    if let Some(other) = compression.as_deref().filter(|name| *name != "gzip") {
        let message = format!("invalid compression type {other} provided, valid options: gzip");
        section.error_at("compression", message);
    }
    let sampling_fraction = section.float("sampling_fraction").unwrap_or(0.0);
    let config = TracingConfig {
        client_type,
        endpoint: endpoint.unwrap_or_default(),
        sampling_fraction,
        insecure: section.bool("insecure").unwrap_or(false),
        tls: section
            .get("tls_config")
            .map_or_else(TlsConfig::default, |node| read_tls(reader, node)),
        headers: read_headers(
            &section,
            "headers",
            "custom authorization header configuration is not yet supported",
        ),
        is_compressed: compression.is_some(),
        timeout: section.nonzero_duration("timeout").unwrap_or(Duration::from_secs(10)),
    };
    section.finish();
    config
}

/// Reads a map of headers; `authorization` is the error for the header that carries credentials.
pub(super) fn read_headers(section: &Section<'_>, name: &'static str, authorization: &str) -> BTreeMap<String, String> {
    let Some(node) = section.get(name) else {
        return BTreeMap::new();
    };
    let reader = section.reader;
    for entry in reader.entries(node, "map[string]string") {
        if entry.key.eq_ignore_ascii_case("authorization") {
            reader.error(entry.key_pos, authorization);
        } else if is_reserved_header(&entry.key) {
            let message = format!("{} is a reserved header. It must not be changed", entry.key);
            reader.error(entry.key_pos, message);
        } else if entry.key.is_empty() {
            reader.error(entry.key_pos, format!("{} is not a valid header name", go_quote("")));
        }
    }
    reader.text_map(node)
}
