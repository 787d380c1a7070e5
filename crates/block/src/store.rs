//! The samples of a block, in either format: its segments, and chunks read from them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use cupola_chunk::{ChunkError, EncodedChunk, Encoding, columnar};
use cupola_env::Vfs;
use cupola_storage::Samples;

use crate::bytes::{Dec, Fault};
use crate::chunks::{CHUNKS, SegmentKind, Segments};
use crate::file::Window;
use crate::{BlockError, BlockFormat, native};

/// A chunk on its way into a block: the entry of a segment.
#[derive(Debug)]
pub struct Entry {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) tag: u8,
    pub(crate) bytes: Vec<u8>,
}

impl From<EncodedChunk> for Entry {
    /// A chunk in a Prometheus encoding, which a block of either format takes as it is.
    fn from(chunk: EncodedChunk) -> Self {
        Self {
            mint: chunk.mint,
            maxt: chunk.maxt,
            tag: chunk.encoding.as_byte(),
            bytes: chunk.bytes,
        }
    }
}

/// A chunk as it is stored in a block, its checksum verified.
#[derive(Debug, Clone, Copy)]
pub enum StoredChunk<'a> {
    /// As in a Prometheus block.
    Encoded(Encoding, &'a [u8]),
    /// Floats in columns.
    Columnar(ColumnarChunk<'a>),
}

/// A chunk of floats in columns.
#[derive(Debug, Clone, Copy)]
pub struct ColumnarChunk<'a> {
    count: u16,
    times: Times<'a>,
    // The column of values; that of times before it, where it is here.
    columns: &'a [u8],
    len: usize,
}

/// Where the times of a [`ColumnarChunk`] are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Times<'a> {
    /// Before its values.
    Own,
    /// In an entry of `times/`; and what they are.
    Shared(u64, &'a [i64]),
}

impl<'a> StoredChunk<'a> {
    /// The encoding and bytes of one that is as in a Prometheus block.
    #[must_use]
    pub fn encoded(self) -> Option<(Encoding, &'a [u8])> {
        match self {
            Self::Encoded(encoding, bytes) => Some((encoding, bytes)),
            Self::Columnar(_) => None,
        }
    }

    /// Whether it holds floats, and not native histograms.
    #[must_use]
    pub fn holds_floats(&self) -> bool {
        matches!(
            self,
            Self::Columnar(_) | Self::Encoded(Encoding::Xor | Encoding::Xor2, _)
        )
    }

    /// How many bytes it takes, without what it shares with others.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        match self {
            Self::Encoded(_, bytes) => bytes.len(),
            Self::Columnar(chunk) => chunk.len,
        }
    }

    /// The number of samples that it says it holds.
    ///
    /// # Errors
    /// [`ChunkError::Truncated`] for an encoded chunk of fewer than two bytes.
    pub fn num_samples(&self) -> Result<u16, ChunkError> {
        match self {
            Self::Encoded(encoding, bytes) => cupola_chunk::count_samples(*encoding, bytes),
            Self::Columnar(chunk) => Ok(chunk.count),
        }
    }
}

impl<'a> ColumnarChunk<'a> {
    /// How many samples it holds.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Appends the samples with `mint <= ts <= maxt` to the columns; the contract is that of [`cupola_chunk::decode`].
    ///
    /// # Errors
    /// [`ChunkError`] where the bytes are no columns of so many samples; `ts` and `values` are then as they were.
    pub fn decode(&self, mint: i64, maxt: i64, ts: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), ChunkError> {
        match self.times {
            Times::Own => columnar::decode_columns(self.count, self.columns, mint, maxt, ts, values),
            Times::Shared(_, times) => columnar::decode_with_times(times, self.columns, mint, maxt, ts, values),
        }
    }

    pub(crate) fn times(&self) -> Times<'a> {
        self.times
    }

    pub(crate) fn columns(&self) -> &'a [u8] {
        self.columns
    }
}

/// Appends the samples of a stored chunk.
pub(crate) fn decode(chunk: &StoredChunk<'_>, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), ChunkError> {
    match chunk {
        StoredChunk::Encoded(encoding, bytes) => crate::block::decode(*encoding, bytes, mint, maxt, out),
        StoredChunk::Columnar(chunk) => {
            chunk.decode(mint, maxt, &mut out.ts, &mut out.values)?;
            // Where starts are known, they are a column as long as the others.
            if !out.starts.is_empty() {
                out.starts.resize(out.ts.len(), 0);
            }
            Ok(())
        }
    }
}

/// The open segments of a block.
#[derive(Debug)]
pub(crate) struct Store {
    chunks: Segments,
    // Only in native blocks.
    times: Option<Segments>,
}

impl Store {
    /// Opens all segments in the block's folder `dir` and checks their headers.
    pub(crate) fn open(format: BlockFormat, vfs: &dyn Vfs, dir: &Path, block: Arc<str>) -> Result<Self, BlockError> {
        Ok(match format {
            BlockFormat::Prometheus => Self {
                chunks: Segments::open(&CHUNKS, vfs, dir, block)?,
                times: None,
            },
            BlockFormat::Native => Self {
                chunks: Segments::open(&native::COLUMNS, vfs, dir, block.clone())?,
                times: Some(Segments::open(&native::TIMES, vfs, dir, block)?),
            },
        })
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.chunks.len_bytes() + self.times.as_ref().map_or(0, Segments::len_bytes)
    }

    /// What messages call the segment of a chunk.
    pub(crate) fn segment_name(&self, chunk_ref: u64) -> String {
        self.chunks.name_of(chunk_ref)
    }
}

/// The segments that a block of a format has.
pub(crate) fn segment_kinds(format: BlockFormat) -> &'static [&'static SegmentKind] {
    match format {
        BlockFormat::Prometheus => &[&CHUNKS],
        BlockFormat::Native => &[&native::COLUMNS, &native::TIMES],
    }
}

/// Reads chunks of one [`Store`], quickest in the order in which they are stored.
#[derive(Debug, Default)]
pub(crate) struct StoreReader {
    chunks: Cursor,
    times: TimesCache,
}

impl StoreReader {
    /// Reads chunks through a window of its own kind.
    pub(crate) fn new(window: Window) -> Self {
        Self {
            chunks: Cursor { segment: None, window },
            times: TimesCache::default(),
        }
    }

    /// Reads a chunk; `hint` is how many bytes from its beginning on will be wanted next.
    pub(crate) fn read(&mut self, store: &Store, chunk_ref: u64, hint: u64) -> Result<StoredChunk<'_>, BlockError> {
        let (tag, bytes) = self.chunks.read(&store.chunks, chunk_ref, hint)?;
        let corrupt = |reason: String| corrupt(&store.chunks, chunk_ref, reason);
        match (tag, &store.times) {
            (native::OWN_TIMES, Some(_)) => {
                let (count, columns) = counted(bytes).map_err(corrupt)?;
                Ok(StoredChunk::Columnar(ColumnarChunk {
                    count,
                    times: Times::Own,
                    columns,
                    len: bytes.len(),
                }))
            }
            (native::SHARED_TIMES, Some(all)) => {
                let (count, rest) = counted(bytes).map_err(corrupt)?;
                let mut dec = Dec::new(rest, 0);
                let times_ref = dec.uvarint().map_err(|fault| corrupt(fault.reason))?;
                let times = self.times.get(all, times_ref)?;
                if times.len() != usize::from(count) {
                    return Err(corrupt(format!("{count} samples have {} times", times.len())));
                }
                Ok(StoredChunk::Columnar(ColumnarChunk {
                    count,
                    times: Times::Shared(times_ref, times),
                    columns: dec.rest(),
                    len: bytes.len(),
                }))
            }
            _ => {
                let encoding = Encoding::try_from(tag).map_err(|e| corrupt(e.to_string()))?;
                Ok(StoredChunk::Encoded(encoding, bytes))
            }
        }
    }
}

fn corrupt(segments: &Segments, entry_ref: u64, reason: String) -> BlockError {
    match segments.locate(entry_ref) {
        Ok((segment, at)) => segment.place(None).corrupt(Fault::new(at, reason)),
        Err(error) => error,
    }
}

// The number of samples that an entry begins with, and the rest.
fn counted(bytes: &[u8]) -> Result<(u16, &[u8]), String> {
    match bytes.split_first_chunk::<2>() {
        Some((count, rest)) => Ok((u16::from_be_bytes(*count), rest)),
        None => Err(format!("entry of {} bytes", bytes.len())),
    }
}

#[derive(Debug, Default)]
struct Cursor {
    segment: Option<u64>,
    window: Window,
}

impl Cursor {
    fn read(&mut self, segments: &Segments, entry_ref: u64, hint: u64) -> Result<(u8, &[u8]), BlockError> {
        let segment = entry_ref >> 32;
        if self.segment != Some(segment) {
            self.window.clear();
            self.segment = Some(segment);
        }
        segments.read(entry_ref, hint, &mut self.window)
    }
}

// So many times are kept, twice: half a megabyte each.
const KEPT_TIMES: usize = 64 << 10;

/// Columns of times that were read last: all series of a target have the same, and a query reads one after the other.
#[derive(Debug, Default)]
struct TimesCache {
    cursor: Cursor,
    recent: HashMap<u64, Box<[i64]>>,
    // How many times are in `recent`; when it is full it becomes `older`.
    kept: usize,
    older: HashMap<u64, Box<[i64]>>,
}

impl TimesCache {
    fn get(&mut self, segments: &Segments, times_ref: u64) -> Result<&[i64], BlockError> {
        if !self.recent.contains_key(&times_ref) {
            let times = match self.older.remove(&times_ref) {
                Some(times) => times,
                None => self.load(segments, times_ref)?,
            };
            if self.kept + times.len() > KEPT_TIMES {
                self.older = std::mem::take(&mut self.recent);
                self.kept = 0;
            }
            self.kept += times.len();
            self.recent.insert(times_ref, times);
        }
        Ok(self.recent.get(&times_ref).map_or(&[], |times| times))
    }

    fn load(&mut self, segments: &Segments, times_ref: u64) -> Result<Box<[i64]>, BlockError> {
        let (tag, bytes) = self.cursor.read(segments, times_ref, 0)?;
        let corrupt = |reason: String| corrupt(segments, times_ref, reason);
        if tag != native::TIMES_COLUMN {
            return Err(corrupt("not a column of times".to_owned()));
        }
        let (count, column) = counted(bytes).map_err(corrupt)?;
        let mut times = Vec::with_capacity(usize::from(count));
        let taken = columnar::decode_times(column, count, &mut times).map_err(|e| corrupt(e.to_string()))?;
        match column.len() - taken {
            0 => Ok(times.into_boxed_slice()),
            left => Err(corrupt(ChunkError::TrailingBytes { left }.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use cupola_env::RealFs;
    use cupola_testkit::Mutator;

    use super::*;

    const START: i64 = 1_700_000_000_000;

    fn segment(kind: &SegmentKind, dir: &Path, entries: &[(u8, Vec<u8>)]) -> Vec<u64> {
        let mut bytes = kind.magic.to_be_bytes().to_vec();
        bytes.extend([1, 0, 0, 0]);
        let mut refs = Vec::new();
        for (tag, content) in entries {
            refs.push(bytes.len() as u64);
            crate::bytes::put_uvarint(&mut bytes, content.len() as u64);
            let checked = bytes.len();
            bytes.push(*tag);
            bytes.extend(content);
            let sum = crc32c::crc32c(bytes.get(checked..).unwrap_or_default());
            bytes.extend(sum.to_be_bytes());
        }
        let dir = dir.join(kind.folder);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("000001"), bytes).unwrap();
        refs
    }

    fn counted_entry(count: u16, rest: &[u8]) -> Vec<u8> {
        [count.to_be_bytes().as_slice(), rest].concat()
    }

    #[test]
    fn whatever_an_entry_with_a_right_checksum_holds_it_is_read_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ts: Vec<i64> = (0..40).map(|n| START + n * 15_000 + n % 3).collect();
        let values: Vec<f64> = (0..40).map(|n| if n == 7 { f64::NAN } else { f64::from(n) }).collect();
        let (mut times, mut own, mut column) = (Vec::new(), Vec::new(), Vec::new());
        columnar::encode_times(&ts, &mut times).unwrap();
        columnar::encode(&ts, &values, &mut own).unwrap();
        columnar::encode_values(&values, &mut column).unwrap();
        // The entry of the times begins at byte 8 of its file.
        let shared = counted_entry(40, &[&[8], column.as_slice()].concat());
        let corpus = [counted_entry(40, &times), own, shared];
        let mut mutator = Mutator::new(11);
        let (mut read, mut refused) = (0, 0);
        for round in 0..2_000 {
            let mut entries = corpus.clone();
            let victim = round % 4;
            if let Some(entry) = entries.get_mut(victim) {
                *entry = mutator.mutate(&corpus, &[]);
            }
            let [times, own, shared] = entries;
            segment(&native::TIMES, dir.path(), &[(native::TIMES_COLUMN, times)]);
            let tags = [native::OWN_TIMES, native::SHARED_TIMES];
            let refs = segment(&native::COLUMNS, dir.path(), &[(tags[0], own), (tags[1], shared)]);
            let store = Store::open(BlockFormat::Native, &RealFs, dir.path(), "block".into()).unwrap();
            let mut reader = StoreReader::default();
            for chunk_ref in refs {
                let mut out = Samples::default();
                match reader.read(&store, chunk_ref, 0) {
                    Ok(chunk) => match decode(&chunk, i64::MIN, i64::MAX, &mut out) {
                        Ok(()) => {
                            assert_eq!(out.ts.len(), usize::from(chunk.num_samples().unwrap()));
                            read += 1;
                        }
                        Err(_) => refused += 1,
                    },
                    Err(error) => {
                        assert!(error.to_string().starts_with("block block: "), "{error}");
                        refused += 1;
                    }
                }
                assert_eq!(out.ts.len(), out.values.len());
            }
        }
        assert!(read > 1_000 && refused > 500, "{read} {refused}");
    }

    #[test]
    fn a_reference_to_what_is_no_column_of_times_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        segment(&native::TIMES, dir.path(), &[(native::OWN_TIMES, vec![0, 0])]);
        let entries = [8_u8, 9, 200].map(|at| (native::SHARED_TIMES, vec![0, 1, at & 0x7f, 0]));
        let refs = segment(&native::COLUMNS, dir.path(), &entries);
        let store = Store::open(BlockFormat::Native, &RealFs, dir.path(), "block".into()).unwrap();
        let mut reader = StoreReader::default();
        let errors: Vec<String> = refs
            .into_iter()
            .map(|chunk_ref| reader.read(&store, chunk_ref, 0).unwrap_err().to_string())
            .collect();
        assert_eq!(
            errors.first().map(String::as_str),
            Some("block block: times segment 000001: not a column of times at byte 8")
        );
        assert_eq!(errors.len(), 3);
    }

    #[test]
    fn columns_of_times_are_kept_while_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let column = |n: i64| {
            let ts: Vec<i64> = (0..2_000).map(|i| n * 100_000_000 + i * 15_000 + i % 5).collect();
            let mut bytes = Vec::new();
            columnar::encode_times(&ts, &mut bytes).unwrap();
            (native::TIMES_COLUMN, counted_entry(2_000, &bytes))
        };
        let entries: Vec<(u8, Vec<u8>)> = (0..100).map(column).collect();
        let refs = segment(&native::TIMES, dir.path(), &entries);
        let segments = Segments::open(&native::TIMES, &RealFs, dir.path(), "block".into()).unwrap();
        let mut cache = TimesCache::default();
        for round in 0..3 {
            for (n, times_ref) in refs.iter().enumerate() {
                let times = cache.get(&segments, *times_ref).unwrap();
                assert_eq!(times.first(), Some(&(n as i64 * 100_000_000)), "round {round}");
                let kept: usize = cache.recent.values().chain(cache.older.values()).map(|t| t.len()).sum();
                assert!(kept <= 2 * KEPT_TIMES, "{kept}");
            }
        }
    }
}
