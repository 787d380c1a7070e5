//! Several blocks become one, and what tombstones delete goes for good.
//!
//! Series are walked in the order of their labels through all sources at once. A chunk that overlaps no other and lost
//! nothing is copied as it is, if the new block's format has such chunks; the others are decoded, merged and encoded anew,
//! in a native block together with their neighbours, so that chunks become long. Where two sources have a sample of the
//! same moment, that of the first source stays, as when the blocks are read side by side: merging changes no answer.
//! (Upstream keeps either of them.)

use std::path::Path;
use std::sync::Arc;

use cupola_chunk::{Encoding, HistogramChunks, NativeValue, decode_native, remove_native, sort_native};
use cupola_env::Vfs;
use cupola_model::Labels;
use cupola_storage::{Samples, Starts};

use crate::block::{Mark, put_in_order};
use crate::native::ENOUGH_SAMPLES;
use crate::store::{self, Entry, StoredChunk};
use crate::tombstones::{Interval, remove_deleted};
use crate::{
    Block, BlockError, BlockFormat, BlockMeta, BlockSeries, BlockSpec, BlockWriter, ChunkMeta, ChunkReader, SeriesIter,
};

// Once per so many series it is asked whether merging is to go on.
const ASK_EVERY: usize = 256;

/// Merges `sources`, of either format each, into one new block in the data folder `dir`. Their tombstones are applied and not carried over; the
/// sources themselves stay as they are. `None`, and no block, where no sample is left.
///
/// One source is allowed: the block is then rewritten without what its tombstones delete, perhaps in another format.
///
/// Costs the memory of a [`BlockWriter`] and of the chunks of one series in all sources. Reads every chunk and verifies
/// its checksum.
///
/// # Errors
/// [`BlockError::Stopped`] soon after `keep_going` said `false`; it is asked now and then. Else as [`BlockWriter`] and
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
        let merged = merge_pieces(&mut walks, &mut pieces, &mut writer, merging.joins_chunks)?;
        if !merged.is_empty() {
            writer.add_entries(&labels, &merged)?;
            if let Some(starts) = starts(&mut walks, &pieces)? {
                writer.add_starts(&starts);
            }
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
    // Since when its samples count, as the block says beside its chunks.
    starts: Option<Starts>,
    // Whether a chunk of it that told starts by itself was encoded anew without them.
    lost_starts: bool,
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
            starts: None,
            lost_starts: false,
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
        (self.starts, self.lost_starts) = (self.block.starts(series.series_ref), false);
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

    fn read(&mut self, meta: &ChunkMeta) -> Result<StoredChunk<'_>, BlockError> {
        self.reader.read(meta)
    }

    /// Adds the samples of a chunk of floats to `out`, without those that are deleted. `false` where it is of another
    /// encoding.
    fn decode_floats(&mut self, meta: &ChunkMeta, out: &mut Samples) -> Result<bool, BlockError> {
        let start = Mark::of(out);
        let decoded = match self.reader.read(meta)? {
            StoredChunk::Encoded(Encoding::Xor, bytes) => {
                cupola_chunk::decode(Encoding::Xor, bytes, i64::MIN, i64::MAX, &mut out.ts, &mut out.values)
            }
            StoredChunk::Columnar(chunk) => chunk.decode(i64::MIN, i64::MAX, &mut out.ts, &mut out.values),
            StoredChunk::Encoded(..) => return Ok(false),
        };
        decoded.map_err(|source| self.block.undecodable(meta, source))?;
        remove_deleted(out, start, &self.deleted);
        Ok(true)
    }

    /// Adds the samples of a chunk with their starts to `out`, without those that are deleted.
    fn decode_started(&mut self, meta: &ChunkMeta, out: &mut Samples) -> Result<(), BlockError> {
        let mark = Mark::of(out);
        let decoded = store::decode(&self.reader.read(meta)?, i64::MIN, i64::MAX, out);
        decoded.map_err(|source| self.block.undecodable(meta, source))?;
        if let Some(starts) = &self.starts {
            starts.fill(out, mark.floats, mark.histograms);
        }
        remove_deleted(out, mark, &self.deleted);
        Ok(())
    }

    /// Adds the samples of a chunk of either kind to `out`, without those that are deleted.
    fn decode_native(&mut self, meta: &ChunkMeta, out: &mut Vec<(i64, NativeValue)>) -> Result<(), BlockError> {
        let mut samples = Vec::new();
        let decoded = match self.reader.read(meta)? {
            StoredChunk::Encoded(encoding, bytes) => {
                self.lost_starts |= encoding.has_starts();
                decode_native(encoding, bytes, &mut samples)
            }
            StoredChunk::Columnar(chunk) => {
                let (mut ts, mut values) = (Vec::new(), Vec::new());
                let decoded = chunk.decode(i64::MIN, i64::MAX, &mut ts, &mut values);
                let values = values.into_iter().map(NativeValue::Float);
                samples.extend(ts.into_iter().zip(values));
                decoded
            }
        };
        decoded.map_err(|source| self.block.undecodable(meta, source))?;
        remove_native(&mut samples, |ts| {
            self.deleted.iter().any(|d| d.mint <= ts && ts <= d.maxt)
        });
        out.append(&mut samples);
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

/// Since when the samples of the merged series count, where the chunks that were made of `pieces` do not tell it.
fn starts(walks: &mut [Walk<'_>], pieces: &[Piece]) -> Result<Option<Starts>, BlockError> {
    let of_series = |walk: &Walk<'_>, source: usize| {
        let is_source = pieces.iter().any(|piece| piece.source == source);
        is_source && (walk.starts.is_some() || walk.lost_starts)
    };
    if !walks.iter().enumerate().any(|(source, walk)| of_series(walk, source)) {
        return Ok(None);
    }
    if let Some(first) = pieces.first()
        && pieces.iter().all(|piece| piece.source == first.source)
        && let Some(walk) = walks.get(first.source)
        && let Some(starts) = &walk.starts
    {
        // All of one block, where they stand beside the chunks.
        return Ok(Some(starts.clone()));
    }
    let mut all = Vec::new();
    let mut in_order: Vec<&Piece> = pieces.iter().collect();
    in_order.sort_by_key(|piece| piece.source);
    for piece in in_order {
        let mut samples = Samples::default();
        if let Some(walk) = walks.get_mut(piece.source) {
            walk.decode_started(&piece.meta, &mut samples)?;
        }
        all.extend(samples.iter().map(|(ts, _, start)| (ts, start)));
    }
    // Stable: of samples of one moment the first source's stays.
    all.sort_by_key(|(ts, _)| *ts);
    all.dedup_by_key(|(ts, _)| *ts);
    Ok(Some(Starts::of(all)))
}

/// The chunks that one series has in the new block; with `joins` those of floats are encoded anew.
fn merge_pieces(
    walks: &mut [Walk<'_>],
    pieces: &mut [Piece],
    writer: &mut BlockWriter,
    joins: bool,
) -> Result<Vec<Entry>, BlockError> {
    // Floats that belong together go on from one chunk to the next.
    let joins = joins || writer.format() == BlockFormat::Native;
    // Stable: what begins at one moment stays in the order of the sources.
    pieces.sort_by_key(|piece| piece.meta.mint);
    let mut out = Vec::with_capacity(pieces.len());
    // Decoded, and not yet in `out`; in a native block of several groups.
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
            && let Some((tag, bytes)) = copied(walk, piece, writer, joins)?
        {
            encode(&mut samples, writer, &mut out)?;
            out.push(Entry {
                mint: piece.meta.mint,
                maxt: piece.meta.maxt,
                tag,
                bytes,
            });
            continue;
        }
        // Of samples of one moment the first stays: those of the first source come first.
        group.sort_by_key(|piece| piece.source);
        let start = Mark::of(&samples);
        if merge_floats(walks, group, &mut samples)? {
            put_in_order(&mut samples, start);
        } else {
            // What was added of it before the first chunk that is no chunk of floats.
            samples.ts.truncate(start.floats);
            samples.values.truncate(start.floats);
            encode(&mut samples, writer, &mut out)?;
            merge_native(walks, group, writer, &mut out)?;
        }
        if !joins {
            encode(&mut samples, writer, &mut out)?;
        }
    }
    encode(&mut samples, writer, &mut out)?;
    Ok(out)
}

// The common case. `false` where a chunk is of another encoding; a part of the samples may be there then.
fn merge_floats(walks: &mut [Walk<'_>], group: &[Piece], samples: &mut Samples) -> Result<bool, BlockError> {
    for piece in group {
        if let Some(walk) = walks.get_mut(piece.source)
            && !walk.decode_floats(&piece.meta, samples)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

// As `merge_floats`, for native histograms, and floats between them.
fn merge_native(
    walks: &mut [Walk<'_>],
    group: &[Piece],
    writer: &mut BlockWriter,
    out: &mut Vec<Entry>,
) -> Result<(), BlockError> {
    let mut native = Vec::new();
    for piece in group {
        if let Some(walk) = walks.get_mut(piece.source) {
            walk.decode_native(&piece.meta, &mut native)?;
        }
    }
    sort_native(&mut native);
    let is_float = |value: &NativeValue| matches!(value, NativeValue::Float(_));
    for run in native.chunk_by(|a, b| is_float(&a.1) == is_float(&b.1)) {
        let (mut floats, mut histograms) = (Samples::default(), HistogramChunks::default());
        for (ts, value) in run {
            match value {
                NativeValue::Float(value) => floats.push(*ts, *value),
                NativeValue::Histogram(histogram) => {
                    let pushed = histograms.push(*ts, histogram);
                    debug_assert!(pushed.is_ok(), "what one chunk held is held by another");
                }
            }
        }
        encode(&mut floats, writer, out)?;
        histograms.finish();
        out.extend(histograms.done.into_iter().map(Entry::from));
    }
    Ok(())
}

/// The entry of a chunk that goes into the new block as it is: its tag and its bytes; `None` where it is to be encoded
/// anew.
fn copied(
    walk: &mut Walk<'_>,
    piece: &Piece,
    writer: &mut BlockWriter,
    joins: bool,
) -> Result<Option<(u8, Vec<u8>)>, BlockError> {
    match walk.read(&piece.meta)? {
        StoredChunk::Encoded(Encoding::Xor, _) if joins => Ok(None),
        StoredChunk::Encoded(encoding, bytes) => Ok(Some((encoding.as_byte(), bytes.to_vec()))),
        StoredChunk::Columnar(chunk) if usize::from(chunk.count()) >= ENOUGH_SAMPLES => {
            writer.copy(piece.source, &chunk)
        }
        StoredChunk::Columnar(_) => Ok(None),
    }
}

fn encode(samples: &mut Samples, writer: &mut BlockWriter, out: &mut Vec<Entry>) -> Result<(), BlockError> {
    writer.encode(&samples.ts, &samples.values, out)?;
    samples.clear();
    Ok(())
}
