//! Prometheus's write-ahead log, checkpoints and head chunks, read: the newest hours of a Prometheus that was stopped.
//!
//! What lies in a data folder beside the blocks, and what each file stands for:
//!
//! | file | what |
//! |---|---|
//! | `chunks_head/%06d` | full chunks of the head, each with the *ref* of its series, but not the series' labels |
//! | `wal/checkpoint.%08d/` | what was still needed of the segments up to and including that number |
//! | `wal/%08d` | series (ref and labels), samples, histograms, exemplars, metadata, deletions, in the order of arrival |
//! | `wbl/%08d` | samples that came out of order, and markers: all of a series so far lie in head chunks |
//! | `chunk_snapshot.*` | a copy of the head that makes starting faster; everything in it is in the others, it is not read |
//!
//! [`replay`] hands out all of it as it stands there. [`restore`] puts it together as Prometheus does when it starts, and
//! is what a database wants that takes over a folder. The rules (upstream: `Head.Init`, `loadWAL`, `loadWBL`):
//!
//! - Refs are upstream's. One series can have had several of them, one after the other, and after restarts a ref can
//!   be given to another series: a record means the series that its ref had at that place of the log. `restore`
//!   numbers the series itself, by their labels.
//! - A series' chunks in order hold all of its samples between the first and the last of them. The log holds them
//!   too; `restore` gives each once, from the chunk. (Upstream drops all logged samples up to a series' last chunk, also
//!   where an earlier chunk file has gone.)
//! - What is older than the newest block's end is in the blocks: [`Options::min_valid_time`].
//! - Samples out of order are in chunks marked so, and in `wbl/` after the last marker whose chunk exists. `wal/` has
//!   them as well, because it is written before anybody knows; there, a sample that is no newer than one before is not
//!   taken.
//! - A deletion record takes effect on what came before it. One over all time (`i64::MIN..=i64::MAX`) says that the
//!   series was written to a block and forgotten.
//! - A float that marks staleness in a series whose newest sample is a histogram stands for a histogram that does.
//!
//! *Invariant:* nothing is written, and nothing "repaired": damage ends the reading of the log or of the head chunks it
//! is found in, as it does upstream, and is told ([`Damage`]). Head chunks behind a damage are not read although they may
//! be intact, because the log is complete without them, and a later chunk would hide what is missing.
//! *Invariant:* no bytes make it panic or allocate more than a file's size or [`MAX_RECORD_BYTES`]. One file is in memory
//! at a time.

mod bytes;
mod files;
mod frame;
mod head_chunks;
mod histograms;
mod record;
mod replay;
mod restore;

#[cfg(test)]
mod tests;

pub use frame::MAX_RECORD_BYTES;
pub use head_chunks::{ChunkRef, HeadChunk};
pub use record::{
    Event, LoggedExemplar, LoggedHistogramSample, LoggedMetadata, LoggedSample, LoggedSeries, LoggedTombstone,
    MmapMarker, Source,
};
pub use replay::{Damage, Replayed, replay};
pub use restore::{Options, Restored, restore};
