//! What can go wrong with a block.

use std::io;
use std::sync::Arc;

use cupola_chunk::ChunkError;
use cupola_storage::StorageError;
use thiserror::Error;

use crate::bytes::Fault;

/// Why a block could not be read or written.
#[derive(Debug, Error)]
pub enum BlockError {
    /// The disk or its driver failed, or a file is missing.
    #[error("{what}: {source}")]
    Io {
        /// Which block and file, and what was done with it.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Whoever asked does not want the answer any more.
    #[error("selecting was stopped")]
    Stopped,
    /// The stored bytes are not what the format allows.
    #[error("block {block}: {place}: {reason} at byte {offset}")]
    Corrupt {
        /// The block's ULID.
        block: Arc<str>,
        /// File and section.
        place: String,
        /// What is wrong.
        reason: String,
        /// Where in the file.
        offset: u64,
    },
    /// `meta.json` is not what it should be.
    #[error("block {block}: meta.json: {reason}")]
    Meta {
        /// The folder's name.
        block: Arc<str>,
        /// What is wrong.
        reason: String,
    },
    /// A chunk's bytes are intact, but cannot be decoded.
    #[error("block {block}: {place}: chunk at byte {offset}: {source}")]
    Chunk {
        /// The block's ULID.
        block: Arc<str>,
        /// The segment.
        place: String,
        /// Where in the segment.
        offset: u64,
        /// What the decoder said.
        #[source]
        source: ChunkError,
    },
    /// The writer was given what a block cannot hold.
    #[error("block {block}: {refusal}")]
    Refused {
        /// The block's ULID.
        block: Arc<str>,
        /// What was wrong with it.
        #[source]
        refusal: Refusal,
    },
}

/// What a [`crate::BlockWriter`] does not take.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Series must come in ascending order, each once.
    #[error("series {0} does not come after the one before it")]
    SeriesOrder(String),
    /// A series without labels, or a label without a name.
    #[error("invalid label set {0}")]
    Labels(String),
    /// A series without chunks has no place in a block.
    #[error("series {0} has no chunks")]
    NoChunks(String),
    /// Chunks must be ascending in time, without overlap, inside the block's range, none ending before it begins.
    #[error("chunk {mint}..={maxt} of series {series} is out of order or outside of the block")]
    ChunkOrder {
        /// The series.
        series: String,
        /// First sample of the chunk.
        mint: i64,
        /// Last sample of the chunk.
        maxt: i64,
    },
    /// The chunk has no sample count, or is larger than a segment.
    #[error("chunk of {bytes} bytes in series {series} cannot be stored")]
    ChunkSize {
        /// The series.
        series: String,
        /// Size of the chunk.
        bytes: usize,
    },
    /// The format counts with 32 bits here.
    #[error("{0} exceeds what the index format can hold")]
    TooLarge(&'static str),
    /// An earlier call failed; what is on disk is not a block.
    #[error("an earlier write failed")]
    Failed,
}

impl From<BlockError> for StorageError {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::Io { what, source } => Self::Io { what, source },
            BlockError::Stopped => Self::Stopped,
            other => Self::Corrupt(other.to_string()),
        }
    }
}

/// Names a section of a block's file for error messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) block: &'a Arc<str>,
    pub(crate) file: &'a str,
    pub(crate) section: Option<&'static str>,
}

impl Place<'_> {
    pub(crate) fn corrupt(&self, fault: Fault) -> BlockError {
        let place = match self.section {
            Some(section) => format!("{} section {section:?}", self.file),
            None => self.file.to_owned(),
        };
        BlockError::Corrupt {
            block: self.block.clone(),
            place,
            reason: fault.reason,
            offset: fault.at,
        }
    }
}
