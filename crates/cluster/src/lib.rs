//! Members of a cluster that keep the same state: who is there, and what they tell each other.
//!
//! Every member holds a connection to every other one (a full mesh; it is meant for two to five). What changes at one is
//! sent to the others at once; when two connect, and every push-pull interval, each sends everything it has. So it does
//! not matter what was lost before: whoever can talk has the same state soon after. What the state is, this crate does
//! not know: it carries messages by key, and [`Replicated`] merges them, in any order and any number of times.
//!
//! The members that are there have an order, that of their names; [`Cluster::turn`] lets the first one act at once and
//! every further one a peer timeout later than the one before it, so that what one has done can be known to the next.
//! A cluster that falls apart goes on as several: everything is done, some of it more than once.
//!
//! Names, flags and metrics are those of Alertmanager 0.34; what goes over the wire is ours (`docs/format/cluster.md`).
//!
//! *Invariant:* bytes by key only; no clock but the runtime's; everything a peer sends is bounded.

mod address;
mod cluster;
mod link;
mod members;
mod metrics;
mod name;
mod network;
mod outbox;
mod wire;

pub use address::{AddressError, advertised};
pub use cluster::{Cluster, ClusterOptions, ClusterStatus, Replicated};
pub use name::random_name;
pub use network::{Network, Pending, Stream, TcpNetwork};
pub use wire::LONGEST_NAME;
