//! Service discovery (Prometheus 3.14, `discovery/*`): from a configuration to groups of targets, kept up to date.
//!
//! [`DiscoveryManager`] runs one provider for each different configuration, however many jobs have it, and tells a
//! [`Sink`] which groups changed. A provider is one task that owns its connection; what goes wrong in it is kept for
//! [`DiscoveryManager::status`], counted, and touches nobody else: the targets found last stay.
//!
//! *Invariant:* what becomes of a target this crate does not know; whoever takes the groups relabels them.

mod consul;
mod dns;
mod docker;
mod ec2;
mod file;
mod groups;
mod http;
mod labels;
mod manager;
mod metrics;
mod moby;
mod openstack;
mod provider;
mod restart;
mod swarm;

pub use file::targets_of_file;
pub use manager::{DiscoveryManager, DiscoverySet, SetUpdate, Sink, UPDATE_EVERY};
pub use metrics::DiscoveryMetrics;
pub use provider::ProviderStatus;
