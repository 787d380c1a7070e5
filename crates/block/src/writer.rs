//! Writing a block.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_chunk::{Encoding, XorAppender};
use cupola_env::Vfs;
use cupola_model::Labels;
use cupola_storage::Starts;

use crate::chunks::{CHUNKS, ChunkMeta, SEGMENT_BYTES, SegmentWriter};
use crate::error::Refusal;
use crate::file::Disk;
use crate::index::write::IndexWriter;
use crate::meta::{BlockFormat, BlockMeta, BlockStats, Compaction, ParentBlock};
use crate::starts::{self, StartsWriter};
use crate::store::{ColumnarChunk, Entry};
use crate::tombstones::{self, Tombstones};
use crate::{BlockError, Ulid, file, native};

// As upstream: samples of a chunk that is encoded anew.
const SAMPLES_PER_CHUNK: usize = 120;

/// What is known of a block before its series come.
#[derive(Debug, Clone)]
pub struct BlockSpec {
    /// The block's name.
    pub ulid: Ulid,
    /// Milliseconds since the epoch; no sample may be older.
    pub min_time: i64,
    /// Milliseconds since the epoch; every sample must be older than this.
    pub max_time: i64,
    /// How it came to be.
    pub compaction: Compaction,
    /// In which form samples are stored.
    pub format: BlockFormat,
    /// Where a chunk segment ends at the latest; 512 MiB, as upstream, unless a test says otherwise.
    pub max_segment_bytes: u64,
}

impl BlockSpec {
    /// A Prometheus block of level 1, its own source, as one cut from the head is.
    #[must_use]
    pub fn new(ulid: Ulid, min_time: i64, max_time: i64) -> Self {
        let compaction = Compaction {
            level: 1,
            sources: vec![ulid],
            ..Compaction::default()
        };
        Self {
            ulid,
            min_time,
            max_time,
            compaction,
            format: BlockFormat::Prometheus,
            max_segment_bytes: SEGMENT_BYTES,
        }
    }

    /// The same block in the same format without what is deleted: its level and its sources stay, and it is the parent.
    #[must_use]
    pub fn rewritten(ulid: Ulid, block: &BlockMeta) -> Self {
        let mut spec = Self::merged(ulid, &[block]);
        spec.compaction.level = block.compaction.level;
        spec.format = block.format();
        spec
    }

    /// The block in another format.
    #[must_use]
    pub fn in_format(mut self, format: BlockFormat) -> Self {
        self.format = format;
        self
    }

    /// A Prometheus block merged from `parents`: a level above the highest, all their sources, the hints that all of them have.
    #[must_use]
    pub fn merged(ulid: Ulid, parents: &[&BlockMeta]) -> Self {
        let mut sources: Vec<Ulid> = parents
            .iter()
            .flat_map(|p| p.compaction.sources.iter().copied())
            .collect();
        sources.sort_unstable();
        sources.dedup();
        let parent = |p: &&BlockMeta| ParentBlock {
            ulid: p.ulid,
            min_time: p.min_time,
            max_time: p.max_time,
        };
        // A block merged of out-of-order blocks alone is still one.
        let hints = parents.first().map_or(&[][..], |p| &p.compaction.hints);
        let shared = |hint: &&String| parents.iter().all(|p| p.compaction.hints.contains(hint));
        let compaction = Compaction {
            level: parents.iter().map(|p| p.compaction.level).max().unwrap_or(0) + 1,
            sources,
            parents: parents.iter().map(parent).collect(),
            hints: hints.iter().filter(shared).cloned().collect(),
            ..Compaction::default()
        };
        Self {
            ulid,
            min_time: parents.iter().map(|p| p.min_time).min().unwrap_or(0),
            // A block of one moment may say minTime == maxTime.
            max_time: parents
                .iter()
                .map(|p| p.max_time.max(p.min_time.saturating_add(1)))
                .max()
                .unwrap_or(0),
            compaction,
            format: BlockFormat::Prometheus,
            max_segment_bytes: SEGMENT_BYTES,
        }
    }
}

/// One encoded chunk to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewChunk<'a> {
    /// Time of its first sample, in milliseconds since the epoch.
    pub mint: i64,
    /// Time of its last sample.
    pub maxt: i64,
    /// How `bytes` are encoded.
    pub encoding: Encoding,
    /// The chunk.
    pub bytes: &'a [u8],
}

/// Writes a block series by series into `<ULID>.tmp-for-creation`, which [`BlockWriter::finish`] renames.
///
/// Memory: the label texts, 24 bytes a label pair, 4 bytes a series, at most 32 MiB of postings at the end, and for a
/// native block 48 bytes for each column of times that series share.
/// Dropped before it is finished, it removes its folder; after a crash the folder stays and [`crate::list_blocks`]
/// reports it.
#[derive(Debug)]
pub struct BlockWriter {
    disk: Disk,
    block: Arc<str>,
    spec: BlockSpec,
    stats: BlockStats,
    temporary: PathBuf,
    target: PathBuf,
    last: Option<Labels>,
    metas: Vec<ChunkMeta>,
    starts: StartsWriter,
    // None once a write has failed or the block is finished.
    parts: Option<Parts>,
    is_finished: bool,
}

#[derive(Debug)]
struct Parts {
    segments: SegmentWriter,
    // Of a native block.
    native: Option<native::Encoder>,
    index: IndexWriter,
}

impl Parts {
    fn create(disk: Disk, block: Arc<str>, dir: &Path, spec: &BlockSpec) -> Result<Self, BlockError> {
        let max_bytes = spec.max_segment_bytes;
        let create = |kind| SegmentWriter::create(kind, disk.clone(), dir, max_bytes);
        let (segments, native) = match spec.format {
            BlockFormat::Prometheus => (create(&CHUNKS)?, None),
            BlockFormat::Native => {
                let encoder = native::Encoder::new(create(&native::TIMES)?);
                (create(&native::COLUMNS)?, Some(encoder))
            }
        };
        Ok(Self {
            segments,
            native,
            index: IndexWriter::create(disk, block, dir.join("index"))?,
        })
    }
}

impl BlockWriter {
    /// Begins a block in the data folder `dir`, which is made if it is not there; [`BlockMeta::dir_in`] tells where the
    /// block will be.
    ///
    /// # Errors
    /// [`BlockError::Io`], also where the block or its temporary folder is already there.
    pub fn create(vfs: &Arc<dyn Vfs>, dir: &Path, spec: BlockSpec) -> Result<Self, BlockError> {
        let name = spec.ulid.to_string();
        let block: Arc<str> = name.as_str().into();
        let home = spec.format.folder(dir);
        let (temporary, target) = (home.join(format!("{name}.tmp-for-creation")), home.join(name));
        let disk = Disk::new(vfs);
        file::create_dir_all(&*disk, &home)?;
        if spec.format == BlockFormat::Native {
            // Its folder's name may be new as well.
            file::sync_dir(&*disk, dir)?;
        }
        file::create_dir(&*disk, &temporary)?;
        let mut writer = Self {
            disk: disk.clone(),
            block: block.clone(),
            stats: BlockStats::default(),
            temporary: temporary.clone(),
            target,
            last: None,
            metas: Vec::new(),
            starts: StartsWriter::default(),
            parts: None,
            is_finished: false,
            spec,
        };
        // From here on an error drops the writer, and with it the folder.
        writer.parts = Some(Parts::create(disk, block, &temporary, &writer.spec)?);
        Ok(writer)
    }

    /// Adds a series with its chunks, which are stored as they are. Series come in ascending order of labels, chunks
    /// ascending in time.
    ///
    /// # Errors
    /// [`BlockError::Refused`] for what a block cannot hold, [`BlockError::Io`] where it cannot be written. The writer
    /// is then only good for being dropped.
    pub fn add_series<'a>(
        &mut self,
        labels: &Labels,
        chunks: impl IntoIterator<Item = NewChunk<'a>>,
    ) -> Result<(), BlockError> {
        self.add(
            labels,
            chunks
                .into_iter()
                .map(|chunk| (chunk.mint, chunk.maxt, chunk.encoding.as_byte(), chunk.bytes)),
        )
    }

    /// As [`BlockWriter::add_series`], with chunks that [`BlockWriter::encode`] made or that are [`Entry`] by themselves.
    ///
    /// # Errors
    /// As [`BlockWriter::add_series`].
    pub fn add_entries(&mut self, labels: &Labels, entries: &[Entry]) -> Result<(), BlockError> {
        self.add(labels, entries.iter().map(|e| (e.mint, e.maxt, e.tag, &*e.bytes)))
    }

    /// Says since when the samples of the series that was added last count. To be called once for a series.
    pub fn add_starts(&mut self, starts: &Starts) {
        if let Some(number) = self.stats.num_series.checked_sub(1) {
            self.starts.add(number, starts);
        }
    }

    /// Makes entries of floats, ascending in time, as the block's format has them.
    ///
    /// # Errors
    /// [`BlockError::Io`] where times that series share cannot be written.
    pub fn encode(&mut self, ts: &[i64], values: &[f64], out: &mut Vec<Entry>) -> Result<(), BlockError> {
        match self.parts.as_mut().and_then(|parts| parts.native.as_mut()) {
            Some(native) => native.encode(ts, values, out),
            None => {
                encode_xor(ts, values, out);
                Ok(())
            }
        }
    }

    /// Makes the entry of a chunk in columns that stays as it is, of the source with this number; `None` where the
    /// block's format has no such chunks.
    pub(crate) fn copy(
        &mut self,
        source: usize,
        chunk: &ColumnarChunk<'_>,
    ) -> Result<Option<(u8, Vec<u8>)>, BlockError> {
        let native = self.parts.as_mut().and_then(|parts| parts.native.as_mut());
        native.map(|native| native.copy(source, chunk)).transpose()
    }

    /// In which form the block holds its samples.
    pub(crate) fn format(&self) -> BlockFormat {
        self.spec.format
    }

    // Of each chunk: first and last time, tag, bytes.
    fn add<'a>(
        &mut self,
        labels: &Labels,
        chunks: impl Iterator<Item = (i64, i64, u8, &'a [u8])>,
    ) -> Result<(), BlockError> {
        // Taken out, so that an error on the way leaves a writer that refuses everything.
        let Some(mut parts) = self.parts.take() else {
            return Err(self.refused(Refusal::Failed));
        };
        if labels.is_empty() || labels.iter().any(|(name, _)| name.is_empty()) {
            return Err(self.refused(Refusal::Labels(labels.to_string())));
        }
        if self.last.as_ref().is_some_and(|last| last >= labels) {
            return Err(self.refused(Refusal::SeriesOrder(labels.to_string())));
        }
        self.metas.clear();
        let mut samples = 0;
        for (mint, maxt, tag, bytes) in chunks {
            self.check(labels, (mint, maxt), bytes, &parts.segments)?;
            let count = match Encoding::try_from(tag) {
                Ok(encoding) => cupola_chunk::count_samples(encoding, bytes),
                Err(_) => cupola_chunk::num_samples(bytes),
            };
            let count = u64::from(count.unwrap_or(0));
            samples += count;
            if !native::holds_floats(tag) {
                self.stats.num_histogram_samples += count;
            } else if !self.spec.compaction.parents.is_empty() {
                // Older Prometheus versions, whose level 1 blocks ours equal byte for byte, do not know this count.
                self.stats.num_float_samples += count;
            }
            let chunk_ref = parts.segments.write(tag, bytes)?;
            self.metas.push(ChunkMeta { mint, maxt, chunk_ref });
        }
        if self.metas.is_empty() {
            return Err(self.refused(Refusal::NoChunks(labels.to_string())));
        }
        parts.index.add(labels, &self.metas)?;
        self.stats.num_series += 1;
        self.stats.num_chunks += self.metas.len() as u64;
        self.stats.num_samples += samples;
        self.last = Some(labels.clone());
        self.parts = Some(parts);
        Ok(())
    }

    fn check(
        &self,
        labels: &Labels,
        (mint, maxt): (i64, i64),
        bytes: &[u8],
        segments: &SegmentWriter,
    ) -> Result<(), BlockError> {
        let is_after = self.metas.last().is_none_or(|last| last.maxt < mint);
        let is_inside = self.spec.min_time <= mint && maxt < self.spec.max_time;
        if !is_after || !is_inside || maxt < mint {
            let series = labels.to_string();
            return Err(self.refused(Refusal::ChunkOrder { series, mint, maxt }));
        }
        if bytes.len() < 2 || !segments.fits(bytes.len()) {
            let series = labels.to_string();
            let bytes = bytes.len();
            return Err(self.refused(Refusal::ChunkSize { series, bytes }));
        }
        Ok(())
    }

    fn refused(&self, refusal: Refusal) -> BlockError {
        BlockError::Refused {
            block: self.block.clone(),
            refusal,
        }
    }

    /// How many series were added; a block without any is valid, but nobody wants it.
    #[must_use]
    pub fn series_count(&self) -> u64 {
        self.stats.num_series
    }

    /// Writes the index and the meta, waits until all is on the device, and gives the folder its name. Either the
    /// whole block is there afterwards, also after a power cut, or nothing.
    ///
    /// # Errors
    /// As [`BlockWriter::add_series`].
    pub fn finish(mut self) -> Result<BlockMeta, BlockError> {
        let Some(parts) = self.parts.take() else {
            return Err(self.refused(Refusal::Failed));
        };
        parts.segments.finish()?;
        let is_native = parts.native.is_some();
        if let Some(native) = parts.native {
            native.finish()?;
        }
        parts.index.finish()?;
        let meta = BlockMeta {
            ulid: self.spec.ulid,
            min_time: self.spec.min_time,
            max_time: self.spec.max_time,
            stats: self.stats.clone(),
            compaction: self.spec.compaction.clone(),
            version: 1,
            cupola: is_native.then(native::format),
            other: serde_json::Map::new(),
        };
        let json = meta.to_json().map_err(|e| BlockError::Meta {
            block: self.block.clone(),
            reason: format!("cannot be written: {e}"),
        })?;
        file::write_whole(&*self.disk, &self.temporary.join("meta.json"), &json)?;
        file::write_whole(
            &*self.disk,
            &self.temporary.join(tombstones::FILE_NAME),
            &Tombstones::default().encode(),
        )?;
        if let Some(bytes) = std::mem::take(&mut self.starts).finish() {
            file::write_whole(&*self.disk, &self.temporary.join(starts::FILE_NAME), &bytes)?;
        }
        file::sync_dir(&*self.disk, &self.temporary)?;
        if let Err(error) = file::rename(&*self.disk, &self.temporary, &self.target) {
            // It may have its name all the same. Nobody knows of it then, until somebody lists the folder.
            if self.disk.is_dir(&self.target) && !self.disk.is_dir(&self.temporary) {
                let _ = file::rename(&*self.disk, &self.target, &self.temporary);
            }
            return Err(error);
        }
        self.is_finished = true;
        Ok(meta)
    }
}

fn encode_xor(ts: &[i64], values: &[f64], out: &mut Vec<Entry>) {
    let runs = ts.chunks(SAMPLES_PER_CHUNK);
    for (ts, values) in runs.zip(values.chunks(SAMPLES_PER_CHUNK)) {
        let mut appender = XorAppender::new();
        for (ts, value) in ts.iter().zip(values) {
            let appended = appender.append(*ts, *value);
            debug_assert!(appended.is_ok(), "a chunk takes many more samples than these");
        }
        if let (Some(mint), Some(maxt)) = (ts.first(), ts.last()) {
            out.push(Entry {
                mint: *mint,
                maxt: *maxt,
                tag: Encoding::Xor.as_byte(),
                bytes: appender.into_bytes(),
            });
        }
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            // The folder is ours and unfinished. Where it cannot be removed it is reported as left over later.
            let _ = file::remove_dir_all(&*self.disk, &self.temporary);
        }
    }
}
