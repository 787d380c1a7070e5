//! From a scrape configuration to samples in the storage: targets, scrape loops, relabelling, staleness.
//!
//! [`ScrapeManager`] owns one task per target: those of the configuration, and those that discovery tells it of. A task fetches the target's text (over its own connection, or straight
//! from a [`LocalTarget`] in this process), hands it to the ingester, which knows every line of the last scrape, and
//! commits one batch. What happens to a target stays with that target.
//!
//! *Invariant:* writes through the storage traits only.

mod failures;
mod feed;
mod ingest;
mod manager;
mod metadata;
mod metrics;
mod misses;
mod pool;
mod runner;
mod status;
mod target;

pub use feed::Feed;
pub use manager::{LocalJob, LocalTarget, ScrapeManager, Synced};
pub use status::{Health, TargetStatus};
pub use target::{DroppedTarget, Histograms, Target, TargetError, TargetTrial};
