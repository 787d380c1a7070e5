//! Several blocks become one, and what tombstones delete goes for good.
//!
//! Series are walked in the order of their labels through all sources at once. A chunk that overlaps no other and lost
//! nothing is copied as it is; the others are decoded, merged and encoded anew. Where two sources have a sample of the
//! same moment, that of the first source stays, as when the blocks are read side by side: merging changes no answer.
//! (Upstream keeps either of them.)

use std::path::Path;
use std::sync::Arc;

use cupola_chunk::{ChunkError, Encoding, XorAppender};
use cupola_env::Vfs;
use cupola_model::Labels;
use cupola_storage::Samples;

use crate::block::{Mark, put_in_order};
use crate::tombstones::{Interval, remove_deleted};
use crate::{
    Block, BlockError, BlockMeta, BlockSeries, BlockSpec, BlockWriter, ChunkMeta, ChunkReader, NewChunk, SeriesIter,
};

// As upstream: samples of a chunk that is encoded anew.
const SAMPLES_PER_CHUNK: usize = 120;

// Once per so many series it is asked whether merging is to go on.
const ASK_EVERY: usize = 256;

/// Merges `sources` into one new block in the data folder `dir`. Their tombstones are applied and not carried over; the
/// sources themselves stay as they are. `None`, and no block, where no sample is left.
///
/// One source is allowed: the block is then rewritten without what its tombstones delete.
///
/// Costs the memory of a [`BlockWriter`] and of the chunks of one series in all sources. Reads every chunk and verifies
/// its checksum.
///
/// # Errors
/// [`BlockError::Stopped`] soon after `keep_going` said `false`; it is asked now and then. [`BlockError::Chunk`] also for
/// chunks of native histograms that overlap or lost a part, which is not supported yet. Else as [`BlockWriter`] and
/// [`Block::iter`]. No new block is there then.
pub fn merge_blocks(
    sources: &[&Block],
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    spec: BlockSpec,
    keep_going: &dyn Fn() -> bool,
) -> Result<Option<BlockMeta>, BlockError> {
    merge_blocks_with(sources, vfs, dir, spec, keep_going, &Merging::default())
}

/// What [`merge_blocks_with`] does beside merging.
pub struct Merging<'a> {
    /// Whether a series is in the new block.
    pub keeps: &'a dyn Fn(&Labels) -> bool,
    /// Whether chunks of floats that follow each other are joined into longer ones: for blocks of few samples a series.
    pub joins_chunks: bool,
}

impl Default for Merging<'_> {
    /// All series, chunks as they are.
    fn default() -> Self {
        Self {
            keeps: &|_| true,
            joins_chunks: false,
        }
    }
}

/// As [`merge_blocks`], leaving out series or joining chunks on the way.
///
/// # Errors
/// As [`merge_blocks`].
pub fn merge_blocks_with(
    sources: &[&Block],
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    spec: BlockSpec,
    keep_going: &dyn Fn() -> bool,
    merging: &Merging<'_>,
) -> Result<Option<BlockMeta>, BlockError> {
    let mut walks = Vec::with_capacity(sources.len());
    for block in sources {
        walks.push(Walk::begin(block)?);
    }
    let mut writer = BlockWriter::create(vfs, dir, spec)?;
    let mut pieces = Vec::new();
    let mut count = 0_usize;
    while let Some(labels) = walks.iter().filter_map(Walk::labels).min().cloned() {
        if count.is_multiple_of(ASK_EVERY) && !keep_going() {
            return Err(BlockError::Stopped);
        }
        count += 1;
        pieces.clear();
        for (source, walk) in walks.iter_mut().enumerate() {
            if walk.labels() == Some(&labels) {
                walk.take(source, &mut pieces)?;
            }
        }
        if !(merging.keeps)(&labels) {
            continue;
        }
        let joins = merging.joins_chunks && are_floats(&mut walks, &pieces)?;
        let merged = merge_pieces(&mut walks, &mut pieces, joins)?;
        if !merged.is_empty() {
            writer.add_series(&labels, merged.iter().map(Merged::as_new))?;
        }
    }
    if writer.series_count() == 0 {
        return Ok(None);
    }
    writer.finish().map(Some)
}

/// A walk through the series of one source.
struct Walk<'a> {
    block: &'a Block,
    series: SeriesIter,
    reader: ChunkReader,
    next: Option<BlockSeries>,
    // The intervals that are deleted of the series taken last.
    deleted: Vec<Interval>,
}

impl<'a> Walk<'a> {
    fn begin(block: &'a Block) -> Result<Self, BlockError> {
        let mut series = block.iter()?;
        let next = series.next().transpose()?;
        Ok(Self {
            block,
            series,
            reader: block.chunk_reader(),
            next,
            deleted: Vec::new(),
        })
    }

    fn labels(&self) -> Option<&Labels> {
        self.next.as_ref().map(|series| &series.labels)
    }

    /// Adds what is left of the next series' chunks to `pieces`, and goes on to the one after it.
    fn take(&mut self, source: usize, pieces: &mut Vec<Piece>) -> Result<(), BlockError> {
        let following = self.series.next().transpose()?;
        let Some(series) = std::mem::replace(&mut self.next, following) else {
            return Ok(());
        };
        self.deleted.clear();
        self.deleted
            .extend_from_slice(self.block.tombstones().of(series.series_ref));
        for meta in series.chunks {
            let is_gone = self.deleted.iter().any(|d| d.mint <= meta.mint && meta.maxt <= d.maxt);
            if !is_gone {
                let is_cut = self.deleted.iter().any(|d| d.mint <= meta.maxt && meta.mint <= d.maxt);
                pieces.push(Piece { source, meta, is_cut });
            }
        }
        Ok(())
    }

    fn read(&mut self, meta: &ChunkMeta) -> Result<(Encoding, &[u8]), BlockError> {
        self.reader.read(meta)
    }

    /// Adds the samples of a chunk to `out`, without those that are deleted.
    fn decode(&mut self, meta: &ChunkMeta, out: &mut Samples) -> Result<(), BlockError> {
        let start = Mark::of(out);
        let (encoding, bytes) = self.reader.read(meta)?;
        let decoded = match encoding {
            Encoding::Xor => cupola_chunk::decode(encoding, bytes, i64::MIN, i64::MAX, &mut out.ts, &mut out.values),
            // The one place that has to learn of them when histograms can be decoded.
            other => Err(ChunkError::Unsupported(other)),
        };
        decoded.map_err(|source| self.block.undecodable(meta, source))?;
        remove_deleted(out, start, &self.deleted);
        Ok(())
    }
}

/// A chunk of one source of which something is left.
#[derive(Debug, Clone, Copy)]
struct Piece {
    source: usize,
    meta: ChunkMeta,
    // Whether a part of it is deleted.
    is_cut: bool,
}

/// A chunk of the new block.
struct Merged {
    mint: i64,
    maxt: i64,
    encoding: Encoding,
    bytes: Vec<u8>,
}

impl Merged {
    fn as_new(&self) -> NewChunk<'_> {
        NewChunk {
            mint: self.mint,
            maxt: self.maxt,
            encoding: self.encoding,
            bytes: &self.bytes,
        }
    }
}

fn are_floats(walks: &mut [Walk<'_>], pieces: &[Piece]) -> Result<bool, BlockError> {
    for piece in pieces {
        if let Some(walk) = walks.get_mut(piece.source)
            && walk.read(&piece.meta)?.0 != Encoding::Xor
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The chunks that one series has in the new block; with `joins` all of them encoded anew.
fn merge_pieces(walks: &mut [Walk<'_>], pieces: &mut [Piece], joins: bool) -> Result<Vec<Merged>, BlockError> {
    // Stable: what begins at one moment stays in the order of the sources.
    pieces.sort_by_key(|piece| piece.meta.mint);
    let mut out = Vec::with_capacity(pieces.len());
    let mut samples = Samples::default();
    let mut rest: &mut [Piece] = pieces;
    while let Some(first) = rest.first() {
        let mut end = first.meta.maxt;
        let mut len = 0;
        for piece in rest.iter() {
            if len > 0 && piece.meta.mint > end && !joins {
                break;
            }
            end = end.max(piece.meta.maxt);
            len += 1;
        }
        let (group, others) = rest.split_at_mut(len);
        rest = others;
        if let [piece] = &*group
            && !piece.is_cut
            && let Some(walk) = walks.get_mut(piece.source)
        {
            let (encoding, bytes) = walk.read(&piece.meta)?;
            out.push(Merged {
                mint: piece.meta.mint,
                maxt: piece.meta.maxt,
                encoding,
                bytes: bytes.to_vec(),
            });
            continue;
        }
        // Of samples of one moment the first stays: those of the first source come first.
        group.sort_by_key(|piece| piece.source);
        samples.clear();
        for piece in group.iter() {
            if let Some(walk) = walks.get_mut(piece.source) {
                walk.decode(&piece.meta, &mut samples)?;
            }
        }
        put_in_order(&mut samples, Mark::default());
        encode(&samples, &mut out);
    }
    Ok(out)
}

fn encode(samples: &Samples, out: &mut Vec<Merged>) {
    let runs = samples.ts.chunks(SAMPLES_PER_CHUNK);
    for (ts, values) in runs.zip(samples.values.chunks(SAMPLES_PER_CHUNK)) {
        let mut appender = XorAppender::new();
        for (ts, value) in ts.iter().zip(values) {
            let appended = appender.append(*ts, *value);
            debug_assert!(appended.is_ok(), "a chunk takes many more samples than these");
        }
        if let (Some(mint), Some(maxt)) = (ts.first(), ts.last()) {
            out.push(Merged {
                mint: *mint,
                maxt: *maxt,
                encoding: Encoding::Xor,
                bytes: appender.into_bytes(),
            });
        }
    }
}
