//! Blocks, in Prometheus's format and in our own: an immutable folder of samples with its index, named by a ULID.
//!
//! [`BlockWriter`] makes one from series in label order; [`Block`] opens one and answers selections; [`list_blocks`]
//! says what lies in a data folder. Prometheus's format is written byte for byte (`meta.json` version 1, index version 2,
//! chunk segments version 1, tombstones version 1), so that Prometheus and promtool open what we write and we open
//! what they write. In a native block the samples lie in columns instead (`native`, `docs/format/block.md`); everything
//! here works on both.
//!
//! What is held in memory of an open block: the symbol table and the postings offset table (4 bytes a symbol and 12
//! bytes a label pair beside the texts themselves). Postings, series and chunks are read from disk by position when a
//! query needs them, in windows of 1 to 256 KiB; the system's page cache is the only cache. Each checksum is verified
//! at the moment its bytes are read: tables when the block is opened, everything else at each read.
//!
//! [`merge_blocks`] makes one block of several, or of one in another format ([`merge_blocks_with`] leaves series out on
//! the way); [`Block::delete`] notes samples as deleted, which merging drops.
//!
//! *Invariant:* nothing here deletes or repairs a block. A [`BlockWriter`] and [`Block::link_into`] remove their own
//! unfinished folder, no other.
//! *Invariant:* bytes from disk never make it panic; every error names the block, the section and the byte.
//! *Invariant:* all files are read and written through [`cupola_env::Vfs`], by `file` alone.

mod block;
mod bytes;
mod chunks;
mod compact;
mod delete;
mod error;
mod file;
mod index;
mod list;
mod meta;
mod native;
mod starts;
mod store;
mod tombstones;
mod ulid;
mod verify;
mod writer;

pub use block::{Block, BlockSeries, ChunkReader, SeriesIter};
pub use chunks::ChunkMeta;
pub use compact::{Merging, merge_blocks, merge_blocks_with};
pub use error::{BlockError, Refusal};
pub use list::{BlockList, Broken, list_blocks};
pub use meta::{BlockFormat, BlockFormatError, BlockMeta, BlockStats, Compaction, NativeFormat, ParentBlock};
pub use store::{ColumnarChunk, Entry, StoredChunk};
pub use tombstones::{Interval, Tombstones, write_tombstones};
pub use ulid::{Ulid, UlidError};
pub use verify::{Verified, verify};
pub use writer::{BlockSpec, BlockWriter, NewChunk};
