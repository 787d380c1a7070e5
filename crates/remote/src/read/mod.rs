//! Remote read: questions of other servers answered, and other servers asked. Written against Prometheus 3.14.

mod answer;
mod codec;
mod merged;
mod remote;

pub use answer::{ReadError, ReadQuestion};
pub use merged::{LocalStart, RemoteReads, read_mistakes};

#[cfg(test)]
mod tests;
