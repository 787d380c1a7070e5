//! Reads and writes the text formats that metrics are exposed in: the Prometheus text format (0.0.4, and 1.0 with
//! quoted UTF-8 names), OpenMetrics 1.0, which is only read, and the protobuf format with native histograms.
//!
//! The parsers are as lenient as the reference server, not as strict as the documents: a target that Prometheus can
//! scrape must not be lost. They pull one [`Entry`] after the other out of a borrowed body and allocate nothing for a
//! line; a sample carries its series as the bytes that were sent, which a scrape cache can hash, and takes them apart
//! into labels only when asked.
//!
//! *Invariant:* values only. No clock, no network; the same bytes give the same entries forever.

mod accept;
mod cursor;
mod entry;
mod error;
mod labels;
mod layout;
mod negotiate;
pub mod nhcb;
mod number;
pub mod openmetrics;
mod parser;
pub mod protobuf;
mod protocol;
pub mod text;
mod writer;

#[cfg(test)]
mod tests;

pub use accept::{PROTOBUF_CONTENT_TYPE, accepted};
pub use cupola_model::MetricType;
pub use entry::{Entry, Exemplar, SampleEntry, Series};
pub use error::ParseError;
pub use labels::LabelPairs;
pub use layout::{Follower, Layout};
pub use negotiate::{Negotiated, NegotiationError, negotiate};
pub use number::{write_float, write_openmetrics_float};
pub use parser::Parser;
pub use protocol::{Format, ScrapeProtocol, accept_header};
pub use writer::{TEXT_CONTENT_TYPE, Writer};
