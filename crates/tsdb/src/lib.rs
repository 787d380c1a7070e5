//! The time-series database: head, write-ahead log, blocks, retention.
//!
//! A batch goes to the log, then to the head. Every two hours the oldest two hours of the head become a block in
//! Prometheus's format, the head forgets them and a checkpoint replaces the log so far. Readers see blocks and head as
//! one.
//!
//! Downsampled tiers lie beside the blocks (`db/tiers.rs`), and answer where it is asked for something coarse.
//!
//! *Invariant:* knows no PromQL and reads no configuration file. *Invariant:* nothing is deleted to repair something;
//! only retention and operators delete. Blocks that were merged go once the block made of them is on the device.

mod by_slot;
mod db;
mod head;
mod lock;
mod metrics;
mod options;
mod pieces;
mod wal;

pub use db::{BlockInfo, Conversion, ConvertError, Converted, OpenError, ReadOnly, ReplayProgress, Tsdb, convert};
pub use head::{Cardinality, Counts, HeadStats, RefusedSeries};
pub use options::{
    DEFAULT_HELD_LOG_BYTES, DEFAULT_MAX_EXEMPLARS, LogOnly, Options, RetentionRule, SeriesLimits, TierOptions,
};
