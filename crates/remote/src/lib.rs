//! Prometheus remote write 1.0, received: a compressed message becomes one batch.
//!
//! Written against Prometheus 3.14's receiver: what it refuses, with which text, and what it writes all the same. The
//! message is read where it lies; a series that was written before is known by a hash of its labels' bytes, so that its
//! labels are not built again.
//!
//! *Invariant:* no bytes make it panic, or allocate more than they say in good faith: the limits are given by the caller.

mod histograms;
mod known;
mod wire;
mod write;

pub use write::{WriteError, WriteReceiver};
