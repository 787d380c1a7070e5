//! An open block.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_chunk::{ChunkError, Encoding};
use cupola_env::Vfs;
use cupola_model::{Labels, Matcher, SeriesRef};
use cupola_storage::{Queryable, SampleSource, SampleValue, Samples, Selection, Series, Starts, StorageError};
use parking_lot::Mutex;

use crate::chunks::ChunkMeta;
use crate::file::{Disk, Window};
use crate::index::matching::candidates;
use crate::index::read::Index;
use crate::index::series::Record;
use crate::list::read_meta;
use crate::starts::BlockStarts;
use crate::store::{self, Store, StoreReader, StoredChunk};
use crate::tombstones::{self, Tombstones, remove_deleted};
use crate::{BlockError, BlockMeta, file};

// Once per so many selected series it is asked whether selecting is to go on.
const ASK_EVERY: usize = 1024;

// Selected series that are no farther apart are read together: copying as much costs as much as asking the system again.
const NEAR_BYTES: u64 = 8 << 10;
// So much at once: a query over a month has as many of these buffers as there are blocks.
const AHEAD_BYTES: u64 = 32 << 10;

/// An open block. Cloning is one reference count; its files stay readable while a clone or a selected series lives,
/// even when the folder is removed.
#[derive(Debug, Clone)]
pub struct Block {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Disk,
    dir: PathBuf,
    name: Arc<str>,
    meta: BlockMeta,
    index: Index,
    store: Store,
    tombstones: Tombstones,
    starts: BlockStarts,
    size_bytes: u64,
}

/// A series of a block, for compaction.
#[derive(Debug, Clone)]
pub struct BlockSeries {
    /// Names it in this block, for tombstones.
    pub series_ref: SeriesRef,
    /// Its labels.
    pub labels: Labels,
    /// Its chunks, ascending in time; what tombstones delete is still in them.
    pub chunks: Vec<ChunkMeta>,
}

impl Block {
    /// Opens the block in `dir` and verifies headers, tables and tombstones. Series, postings and chunks are verified
    /// when they are read.
    ///
    /// # Errors
    /// [`BlockError`] that says which file and section is missing or broken.
    pub fn open(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Self, BlockError> {
        let disk = Disk::new(vfs);
        let meta = read_meta(&*disk, dir)?;
        let name: Arc<str> = meta.ulid.to_string().into();
        let index = Index::open(&*disk, &dir.join("index"), name.clone())?;
        let store = Store::open(meta.format(), &*disk, dir, name.clone())?;
        let tombstones = match file::read_if_there(&*disk, &dir.join(tombstones::FILE_NAME))? {
            Some(bytes) => Tombstones::parse(&bytes).map_err(|fault| BlockError::Corrupt {
                block: name.clone(),
                place: "tombstones".to_owned(),
                reason: fault.reason,
                offset: fault.at,
            })?,
            None => Tombstones::default(),
        };
        let starts = BlockStarts::open(&*disk, dir, &index, &name)?;
        let small = ["meta.json", tombstones::FILE_NAME].map(|file| file::len_if_there(&*disk, &dir.join(file)));
        let size_bytes = index.len() + store.len_bytes() + small.iter().sum::<u64>() + starts.len_bytes();
        let dir = dir.to_path_buf();
        Ok(Self {
            inner: Arc::new(Inner {
                disk,
                dir,
                name,
                meta,
                index,
                store,
                tombstones,
                starts,
                size_bytes,
            }),
        })
    }

    /// The block's meta.
    #[must_use]
    pub fn meta(&self) -> &BlockMeta {
        &self.inner.meta
    }

    /// The block's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    /// Bytes of all its files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.inner.size_bytes
    }

    /// How many series the index holds.
    ///
    /// # Errors
    /// [`BlockError`] where the list of all series cannot be read.
    pub fn series_count(&self) -> Result<usize, BlockError> {
        Ok(self.inner.index.all_series()?.len())
    }

    /// How many symbols the index holds.
    #[must_use]
    pub fn symbol_count(&self) -> usize {
        self.inner.index.symbols().len()
    }

    /// What is deleted.
    #[must_use]
    pub fn tombstones(&self) -> &Tombstones {
        &self.inner.tombstones
    }

    /// Since when the samples of a series count, where its chunks do not tell it themselves.
    pub(crate) fn starts(&self, series: SeriesRef) -> Option<Starts> {
        self.inner.starts.of(u32::try_from(series.0).ok()?)
    }

    /// All series in ascending order of labels.
    ///
    /// # Errors
    /// [`BlockError`] where the list of all series cannot be read.
    pub fn iter(&self) -> Result<SeriesIter, BlockError> {
        let refs = self.inner.index.all_series()?.into_iter();
        Ok(SeriesIter {
            inner: self.inner.clone(),
            refs,
            window: Window::default(),
            record: Record::default(),
        })
    }

    /// Reads chunks as they are stored.
    #[must_use]
    pub fn chunk_reader(&self) -> ChunkReader {
        ChunkReader::new(self.inner.clone(), Window::default())
    }

    /// The series that satisfy `matchers`, whatever time they cover, for tombstones.
    ///
    /// # Errors
    /// [`BlockError`] where the index cannot be read.
    pub fn series_refs(&self, matchers: &[Matcher]) -> Result<Vec<SeriesRef>, BlockError> {
        let mut out = Vec::new();
        self.inner.for_each_match(matchers, |series, _| {
            out.push(SeriesRef(u64::from(series)));
            Ok(())
        })?;
        Ok(out)
    }

    /// Each series that satisfies all matchers, with its chunks.
    pub(crate) fn for_each_series(
        &self,
        matchers: &[Matcher],
        mut visit: impl FnMut(SeriesRef, &[ChunkMeta]),
    ) -> Result<(), BlockError> {
        self.inner.for_each_match(matchers, |series, record| {
            visit(SeriesRef(u64::from(series)), &record.chunks);
            Ok(())
        })
    }

    /// The error for a chunk of this block that is intact, but cannot be decoded.
    #[must_use]
    pub fn undecodable(&self, chunk: &ChunkMeta, source: ChunkError) -> BlockError {
        self.inner.undecodable(chunk, source)
    }

    fn overlaps(&self, selection: &Selection<'_>) -> bool {
        self.inner.meta.overlaps(selection.mint, selection.maxt)
    }
}

impl Inner {
    /// Reads each series that satisfies all matchers.
    fn for_each_match(
        &self,
        matchers: &[Matcher],
        mut visit: impl FnMut(u32, &mut Record) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        let found = candidates(&self.index, matchers)?;
        let deferred: Vec<_> = found
            .deferred
            .iter()
            .map(|m| (*m, self.index.symbols().find(m.name())))
            .collect();
        let mut window = Window::default();
        let mut record = Record::default();
        for series in found.series {
            self.index.series(series, &mut window, &mut record)?;
            let mut is_match = true;
            for (matcher, name) in &deferred {
                is_match &= matcher.matches(self.value_of(&record, *name));
            }
            if is_match {
                visit(series, &mut record)?;
            }
        }
        Ok(())
    }

    fn undecodable(&self, chunk: &ChunkMeta, source: cupola_chunk::ChunkError) -> BlockError {
        BlockError::Chunk {
            block: self.name.clone(),
            place: self.store.segment_name(chunk.chunk_ref),
            offset: chunk.chunk_ref & u64::from(u32::MAX),
            source,
        }
    }

    fn value_of(&self, record: &Record, name: Option<u32>) -> &str {
        let pair = record.labels.iter().find(|(n, _)| Some(*n) == name);
        pair.map_or("", |(_, value)| self.index.symbol(*value))
    }
}

impl Queryable for Block {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        self.select_while(selection, &|| true)
    }

    fn select_while(&self, selection: &Selection<'_>, go_on: &dyn Fn() -> bool) -> Result<Vec<Series>, StorageError> {
        let mut count = 0_usize;
        let mut out = Vec::new();
        if !self.overlaps(selection) {
            return Ok(out);
        }
        let inner = &self.inner;
        let reader = Arc::new(Mutex::new(ChunkReader::new(
            inner.clone(),
            Window::new(NEAR_BYTES, AHEAD_BYTES),
        )));
        inner.for_each_match(selection.matchers, |series, record| {
            if count.is_multiple_of(ASK_EVERY) && !go_on() {
                return Err(BlockError::Stopped);
            }
            count += 1;
            let series_ref = SeriesRef(u64::from(series));
            let deleted = inner.tombstones.of(series_ref);
            record.chunks.retain(|chunk| {
                let is_deleted = deleted.iter().any(|d| d.mint <= chunk.mint && chunk.maxt <= d.maxt);
                chunk.mint <= selection.maxt && selection.mint <= chunk.maxt && !is_deleted
            });
            if !record.chunks.is_empty() {
                let follow = |(a, b): (&ChunkMeta, &ChunkMeta)| a.maxt < b.mint;
                let source = Box::new(BlockSource {
                    inner: inner.clone(),
                    reader: reader.clone(),
                    series_ref,
                    overlaps: !record.chunks.iter().zip(record.chunks.iter().skip(1)).all(follow),
                    span: span(&record.chunks),
                    chunks: record.chunks.as_slice().into(),
                });
                out.push(Series {
                    labels: inner.index.labels(record),
                    source,
                });
            }
            Ok(())
        })?;
        Ok(out)
    }

    fn label_names(&self, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        if !self.overlaps(selection) {
            return Ok(Vec::new());
        }
        let index = &self.inner.index;
        if selection.matchers.is_empty() {
            return Ok(index.names().map(str::to_owned).collect());
        }
        let mut symbols = Vec::new();
        // Neighbours have the same names as a rule.
        let mut last: Vec<u32> = Vec::new();
        self.inner.for_each_match(selection.matchers, |_, record| {
            let names = record.labels.iter().map(|(name, _)| *name);
            if !names.clone().eq(last.iter().copied()) {
                last.clear();
                last.extend(names);
                symbols.extend_from_slice(&last);
            }
            Ok(())
        })?;
        Ok(texts(index, symbols))
    }

    fn label_values(&self, name: &str, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        if !self.overlaps(selection) {
            return Ok(Vec::new());
        }
        let index = &self.inner.index;
        // Conditions on this label alone are answered by its values, without a look at any series.
        if selection.matchers.iter().all(|m| m.name() == name) {
            let values = index.values(name).iter().map(|(value, _)| value);
            let matching = values.filter(|value| selection.matchers.iter().all(|m| m.matches(value)));
            return Ok(matching.map(str::to_owned).collect());
        }
        let Some(name) = index.symbols().find(name) else {
            return Ok(Vec::new());
        };
        let mut symbols = Vec::new();
        self.inner.for_each_match(selection.matchers, |_, record| {
            let value = record.labels.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
            // Neighbours have the same value as a rule.
            symbols.extend(value.filter(|value| symbols.last() != Some(value)));
            Ok(())
        })?;
        Ok(texts(index, symbols))
    }
}

// Symbols ascend as their texts do.
fn texts(index: &Index, mut symbols: Vec<u32>) -> Vec<String> {
    symbols.sort_unstable();
    symbols.dedup();
    symbols.into_iter().map(|id| index.symbol(id).to_owned()).collect()
}

/// The samples of one selected series.
struct BlockSource {
    inner: Arc<Inner>,
    // Shared by all series of a selection: they lie behind each other and are read in this order, so one look at the file
    // is for many of them.
    reader: Arc<Mutex<ChunkReader>>,
    series_ref: SeriesRef,
    chunks: Box<[ChunkMeta]>,
    // Whether a chunk begins before the one before it has ended.
    overlaps: bool,
    span: (i64, i64),
}

impl SampleSource for BlockSource {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let start = Mark::of(out);
        let wanted = self.chunks.iter().filter(|c| c.mint <= maxt && mint <= c.maxt);
        let mut reader = self.reader.lock();
        let mut last_ref = wanted.clone().next_back().map_or(0, |c| c.chunk_ref);
        for chunk in wanted {
            // The chunks of a series lie behind each other: one read for all in the segment. The last one's size is
            // not known; most are smaller than 1 KiB.
            let in_segment = last_ref >> 32 == chunk.chunk_ref >> 32 && last_ref >= chunk.chunk_ref;
            if !in_segment {
                last_ref = chunk.chunk_ref;
            }
            let stored = reader.read_ahead(chunk.chunk_ref, last_ref - chunk.chunk_ref + 1024)?;
            store::decode(&stored, mint, maxt, out).map_err(|source| self.inner.undecodable(chunk, source))?;
        }
        if self.overlaps {
            put_in_order(out, start);
        }
        let series = u32::try_from(self.series_ref.0).ok();
        if let Some(starts) = series.and_then(|series| self.inner.starts.of(series)) {
            starts.fill(out, start.floats, start.histograms);
        }
        remove_deleted(out, start, self.inner.tombstones.of(self.series_ref));
        Ok(())
    }

    fn span(&self) -> (i64, i64) {
        self.span
    }
}

fn span(chunks: &[ChunkMeta]) -> (i64, i64) {
    let first = chunks.iter().map(|chunk| chunk.mint).min();
    let last = chunks.iter().map(|chunk| chunk.maxt).max();
    first.zip(last).unwrap_or((i64::MIN, i64::MAX))
}

/// Where a reader began to append.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    pub(crate) floats: usize,
    pub(crate) histograms: usize,
}

impl Mark {
    pub(crate) fn of(samples: &Samples) -> Self {
        Self {
            floats: samples.len(),
            histograms: samples.histograms.len(),
        }
    }
}

/// Appends the samples of a chunk of any encoding.
pub(crate) fn decode(
    encoding: Encoding,
    bytes: &[u8],
    mint: i64,
    maxt: i64,
    out: &mut Samples,
) -> Result<(), ChunkError> {
    match encoding {
        // Where starts are known, they are a column as long as the others.
        Encoding::Xor if out.starts.is_empty() => {
            cupola_chunk::decode(encoding, bytes, mint, maxt, &mut out.ts, &mut out.values)
        }
        Encoding::Xor => {
            let decoded = cupola_chunk::decode(encoding, bytes, mint, maxt, &mut out.ts, &mut out.values);
            out.starts.resize(out.ts.len(), 0);
            decoded
        }
        Encoding::Xor2 => {
            cupola_chunk::decode_xor2(bytes, mint, maxt, |ts, value, start| out.push_started(ts, value, start))
        }
        Encoding::Histogram | Encoding::FloatHistogram | Encoding::HistogramSt | Encoding::FloatHistogramSt => {
            let histograms = &mut out.histograms;
            cupola_chunk::decode_histograms(encoding, bytes, mint, maxt, |ts, value, start| {
                histograms.push(ts, value, start);
            })
        }
    }
}

// Chunks follow each other in every block written today. In old ones they may overlap; then the samples behind `mark`
// are sorted, and of those of one moment the first chunk's stays.
pub(crate) fn put_in_order(samples: &mut Samples, mark: Mark) {
    let floats = samples.ts.get(mark.floats..).unwrap_or_default();
    let histograms = samples.histograms.ts.get(mark.histograms..).unwrap_or_default();
    let ascends = |ts: &[i64]| ts.is_sorted_by(|a, b| a < b);
    if ascends(floats) && ascends(histograms) && (floats.is_empty() || histograms.is_empty()) {
        return;
    }
    let mut tail: Vec<(i64, SampleValue, i64)> = samples.split_off(mark.floats, mark.histograms).iter().collect();
    tail.sort_by_key(|(ts, _, _)| *ts);
    tail.dedup_by_key(|(ts, _, _)| *ts);
    for (ts, value, start) in tail {
        samples.push_value(ts, value, start);
    }
}

/// Walks all series of a block.
#[derive(Debug)]
pub struct SeriesIter {
    inner: Arc<Inner>,
    refs: std::vec::IntoIter<u32>,
    window: Window,
    record: Record,
}

impl Iterator for SeriesIter {
    type Item = Result<BlockSeries, BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        let series = self.refs.next()?;
        let read = self.inner.index.series(series, &mut self.window, &mut self.record);
        Some(read.map(|()| BlockSeries {
            series_ref: SeriesRef(u64::from(series)),
            labels: self.inner.index.labels(&self.record),
            chunks: self.record.chunks.clone(),
        }))
    }
}

/// Reads chunks one by one, quickest in the order in which they are stored.
#[derive(Debug)]
pub struct ChunkReader {
    inner: Arc<Inner>,
    reader: StoreReader,
}

impl ChunkReader {
    fn new(inner: Arc<Inner>, window: Window) -> Self {
        Self {
            inner,
            reader: StoreReader::new(window),
        }
    }

    /// A chunk as it is stored, its checksum verified.
    ///
    /// # Errors
    /// [`BlockError`] where the segment is missing or the bytes are broken.
    pub fn read(&mut self, chunk: &ChunkMeta) -> Result<StoredChunk<'_>, BlockError> {
        self.read_ahead(chunk.chunk_ref, 0)
    }

    fn read_ahead(&mut self, chunk_ref: u64, hint: u64) -> Result<StoredChunk<'_>, BlockError> {
        self.reader.read(&self.inner.store, chunk_ref, hint)
    }
}
