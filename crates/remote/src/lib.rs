//! Prometheus remote write: received, where a compressed message becomes one batch (1.0 and 2.0), and sent (1.0 and 2.0), where the
//! write-ahead log is read and every destination gets what it has not got yet.
//!
//! Receiving is written against Prometheus 3.14's receiver: what it refuses, with which text, and what it writes all the same. The
//! message is read where it lies; a series that was written before is known by a hash of its labels' bytes, so that its
//! labels are not built again.
//!
//! Beside it: remote read, answered and asked ([`RemoteReads`]), and the metrics of OpenTelemetry ([`OtlpReceiver`]).
//!
//! *Invariant:* no bytes make it panic, or allocate more than they say in good faith: the limits are given by the caller.

mod histograms;
mod known;
mod otlp;
mod read;
mod send;
#[cfg(test)]
mod testing;
mod write;

pub use otlp::{OtlpDeltas, OtlpError, OtlpOptions, OtlpReceiver};
pub use read::{LocalStart, ReadError, ReadQuestion, RemoteReads, read_mistakes};
pub use send::{PushedMetrics, RemoteWriter, Sources, mistakes};
pub use write::v2::Written;
pub use write::{Memory, WriteError, WriteReceiver, unpacked_len};
