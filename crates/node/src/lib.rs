//! Host metrics with node_exporter's names, labels, types and help texts.
//!
//! [`Collectors`] reads `/proc` and `/sys` below configurable roots and writes what it finds into an
//! [`exposition::Writer`](cupola_exposition::Writer). One module per collector; the table in `registry` is the list
//! of them. A collector that fails takes nothing else down: it shows as `node_scrape_collector_success` 0.
//!
//! *Invariant:* synchronous, and a scrape ends: nothing waits on the outside world but `statfs`, which has helper
//! threads and a deadline. *Invariant:* reads only, and only below the roots, but for netlink and the clock.

mod collector;
mod error;
mod files;
mod netlink;
mod options;
mod parse;
mod registry;
mod state;

#[cfg(test)]
mod tests;

pub use error::{NodeError, SelectionError};
pub use options::NodeOptions;
pub use registry::{Collectors, Selection, collector_names};
