//! Reading a block whole: everything that a query would find out about it one day, found out now.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use cupola_chunk::{ChunkError, Encoding, HistogramCursor};
use cupola_env::Vfs;
use cupola_model::Labels;

use crate::chunks::ChunkMeta;
use crate::error::Place;
use crate::file::{self, Window};
use crate::index::SERIES_ALIGN;
use crate::index::read::Index;
use crate::index::series::Record;
use crate::list::read_meta;
use crate::starts::BlockStarts;
use crate::store::{Store, StoreReader, StoredChunk};
use crate::tombstones::{self, Tombstones};
use crate::{BlockError, BlockMeta, BlockStats};

/// What was read of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Its meta, as it stands in the folder.
    pub meta: BlockMeta,
    /// What its index and chunks really hold, as far as it could be read.
    pub found: BlockStats,
    /// Chunks whose checksums are right, but whose samples this version cannot decode: how many of which encoding.
    pub undecoded: Vec<(Encoding, u64)>,
}

/// Reads the block in `dir` from the first byte to the last and hands each fault to `tell`: headers, checksums, order of
/// symbols, series, chunks and samples, that postings and series agree, and that `meta.json` tells the truth. Goes on
/// behind a fault wherever that is possible. `None` where there is nothing to go on with.
///
/// A fault names the file and the byte. Memory: the index's tables, and 32 bytes a label pair.
pub fn verify(vfs: &dyn Vfs, dir: &Path, tell: &mut dyn FnMut(BlockError)) -> Option<Verified> {
    let meta = match read_meta(vfs, dir) {
        Ok(meta) => meta,
        Err(error) => {
            tell(error);
            return None;
        }
    };
    let name: Arc<str> = meta.ulid.to_string().into();
    let tombstones = read_tombstones(vfs, dir, &name);
    let index = Index::open(vfs, &dir.join("index"), name.clone());
    let store = Store::open(meta.format(), vfs, dir, name.clone());
    let mut found = BlockStats::default();
    match tombstones {
        Ok(tombstones) => found.num_tombstones = tombstones.len() as u64,
        Err(error) => tell(error),
    }
    let starts = match &index {
        Ok(index) => BlockStarts::open(vfs, dir, index, &name).map(drop),
        Err(_) => Ok(()),
    };
    starts.err().into_iter().for_each(&mut *tell);
    let (index, store) = match (index, store) {
        (Ok(index), Ok(store)) => (index, store),
        (index, store) => {
            index.err().into_iter().chain(store.err()).for_each(tell);
            return None;
        }
    };
    let mut walk = Walk {
        name,
        meta: &meta,
        index: &index,
        store: &store,
        found,
        undecoded: HashMap::new(),
        pairs: HashMap::new(),
        is_whole: true,
        tell,
    };
    walk.symbols();
    walk.series();
    walk.postings();
    if walk.is_whole {
        walk.stats();
    }
    let (found, mut undecoded) = (walk.found, walk.undecoded.into_iter().collect::<Vec<_>>());
    undecoded.sort_unstable();
    Some(Verified { meta, found, undecoded })
}

fn read_tombstones(vfs: &dyn Vfs, dir: &Path, name: &Arc<str>) -> Result<Tombstones, BlockError> {
    let place = Place {
        block: name,
        file: tombstones::FILE_NAME,
        section: None,
    };
    match file::read_if_there(vfs, &dir.join(tombstones::FILE_NAME))? {
        Some(bytes) => Tombstones::parse(&bytes).map_err(|fault| place.corrupt(fault)),
        None => Ok(Tombstones::default()),
    }
}

/// The series of a label pair: how many, and the sum of a hash of each, which tells two sets of one size apart.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Set {
    count: u64,
    sum: u64,
}

impl Set {
    fn add(&mut self, series: u32) {
        self.count += 1;
        // A bijection that spreads (the finaliser of MurmurHash3), so that sums of different sets differ.
        let mut hash = u64::from(series) + 1;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        self.sum = self.sum.wrapping_add(hash ^ (hash >> 33));
    }
}

struct Walk<'a> {
    name: Arc<str>,
    meta: &'a BlockMeta,
    index: &'a Index,
    store: &'a Store,
    found: BlockStats,
    undecoded: HashMap<Encoding, u64>,
    // By the symbols of name and value.
    pairs: HashMap<(u32, u32), Set>,
    // Whether each series and each chunk could be read, so that counts mean something.
    is_whole: bool,
    tell: &'a mut dyn FnMut(BlockError),
}

impl Walk<'_> {
    fn fault(&mut self, place: String, offset: u64, reason: String) {
        (self.tell)(BlockError::Corrupt {
            block: self.name.clone(),
            place,
            reason,
            offset,
        });
    }

    fn broken(&mut self, error: BlockError) {
        self.is_whole = false;
        (self.tell)(error);
    }

    fn symbols(&mut self) {
        let index = self.index;
        let symbols = index.symbols();
        let count = u32::try_from(symbols.len()).unwrap_or(u32::MAX);
        let mut last: Option<&str> = None;
        for id in 0..count {
            let text = symbols.get(id).unwrap_or_default();
            if last.is_some_and(|last| last >= text) {
                let reason = format!("symbol {id} ({text:?}) does not come after the one before it");
                self.fault("index section \"symbols\"".to_owned(), 0, reason);
            }
            last = Some(text);
        }
    }

    fn series(&mut self) {
        let refs = match self.index.all_series() {
            Ok(refs) => refs,
            Err(error) => return self.broken(error),
        };
        let (mut window, mut reader) = (Window::default(), StoreReader::default());
        let mut record = Record::default();
        let mut last: Option<Labels> = None;
        for series in refs {
            if let Err(error) = self.index.series(series, &mut window, &mut record) {
                self.broken(error);
                continue;
            }
            let at = u64::from(series) * SERIES_ALIGN;
            let labels = self.index.labels(&record);
            self.labels(at, &record, &labels, last.as_ref());
            for (name, value) in &record.labels {
                self.pairs.entry((*name, *value)).or_default().add(series);
            }
            if record.chunks.is_empty() {
                self.series_fault(at, format!("{labels} has no chunks"));
            }
            self.found.num_series += 1;
            let mut before: Option<&ChunkMeta> = None;
            for chunk in &record.chunks {
                if before.is_some_and(|before| before.maxt >= chunk.mint) {
                    let reason = format!("{labels}: the chunk at {} overlaps the one before it", chunk.mint);
                    self.series_fault(at, reason);
                }
                if chunk.mint < self.meta.min_time || chunk.maxt >= self.meta.max_time {
                    let (mint, maxt) = (chunk.mint, chunk.maxt);
                    let reason = format!("{labels}: chunk {mint}..={maxt} lies outside of the block's time range");
                    self.series_fault(at, reason);
                }
                self.chunk(chunk, &mut reader);
                before = Some(chunk);
            }
            last = Some(labels);
        }
    }

    fn series_fault(&mut self, at: u64, reason: String) {
        self.fault("index section \"series\"".to_owned(), at, reason);
    }

    fn labels(&mut self, at: u64, record: &Record, labels: &Labels, last: Option<&Labels>) {
        let names = || record.labels.iter().map(|(name, _)| self.index.symbol(*name));
        let is_sorted = names().is_sorted_by(|a, b| a < b);
        let is_named = !record.labels.is_empty() && names().all(|name| !name.is_empty());
        if !is_sorted || !is_named {
            self.series_fault(at, format!("{labels}: its label names do not ascend, or one is empty"));
        }
        if last.is_some_and(|last| last >= labels) {
            self.series_fault(at, format!("{labels} does not come after the series before it"));
        }
    }

    fn chunk(&mut self, chunk: &ChunkMeta, reader: &mut StoreReader) {
        let place = self.store.segment_name(chunk.chunk_ref);
        let offset = chunk.chunk_ref & u64::from(u32::MAX);
        let stored = match reader.read(self.store, chunk.chunk_ref, 0) {
            Ok(read) => read,
            Err(error) => return self.broken(error),
        };
        self.found.num_chunks += 1;
        let count = u64::from(stored.num_samples().unwrap_or(0));
        self.found.num_samples += count;
        if stored.holds_floats() {
            self.found.num_float_samples += count;
        } else {
            self.found.num_histogram_samples += count;
        }
        let times = match sample_times(&stored) {
            Ok(times) => times,
            // Its checksum is right; that is all that can be said of it.
            Err(ChunkError::Unsupported(encoding)) => {
                *self.undecoded.entry(encoding).or_default() += 1;
                return;
            }
            Err(source) => {
                return self.broken(BlockError::Chunk {
                    block: self.name.clone(),
                    place,
                    offset,
                    source,
                });
            }
        };
        if times.len() as u64 != count {
            let reason = format!("a chunk that says {count} samples holds {}", times.len());
            self.fault(place.clone(), offset, reason);
        }
        if !times.is_sorted_by(|a, b| a < b) {
            self.fault(place.clone(), offset, "its samples are not in order of time".to_owned());
        }
        let ends = times.first().copied().zip(times.last().copied());
        if ends != Some((chunk.mint, chunk.maxt)) {
            let (mint, maxt) = (chunk.mint, chunk.maxt);
            let held = ends.map_or_else(|| "no samples".to_owned(), |(first, last)| format!("{first}..={last}"));
            let reason = format!("a chunk that the index gives as {mint}..={maxt} holds {held}");
            self.fault(place, offset, reason);
        }
    }

    fn postings(&mut self) {
        let index = self.index;
        let mut window = Window::default();
        let mut refs = Vec::new();
        for name in index.names() {
            let name_symbol = index.symbols().find(name);
            for (value, offset) in index.values(name).iter() {
                refs.clear();
                if let Err(error) = index.postings(offset, &mut window, &mut refs) {
                    self.broken(error);
                    continue;
                }
                if !refs.is_sorted_by(|a, b| a < b) {
                    let reason = format!("the series of {name}={value:?} do not ascend");
                    self.postings_fault(offset, reason);
                }
                let mut listed = Set::default();
                refs.iter().for_each(|series| listed.add(*series));
                let key = name_symbol.zip(index.symbols().find(value));
                let held = key.and_then(|key| self.pairs.remove(&key)).unwrap_or_default();
                // Where a series could not be read, its pairs are missing here for that reason alone.
                if self.is_whole && held != listed {
                    let (listed, held) = (listed.count, held.count);
                    let reason = format!(
                        "the list of {name}={value:?} names {listed} series, but others, {held}, have the label"
                    );
                    self.postings_fault(offset, reason);
                }
            }
        }
        let mut unlisted: Vec<(u32, u32)> = self.pairs.keys().copied().collect();
        unlisted.sort_unstable();
        for (name, value) in unlisted {
            let (name, value) = (index.symbol(name), index.symbol(value));
            let reason = format!("there is no list for {name}={value:?}, which series have");
            self.fault("index section \"postings offset table\"".to_owned(), 0, reason);
        }
    }

    fn postings_fault(&mut self, at: u64, reason: String) {
        self.fault("index section \"postings\"".to_owned(), at, reason);
    }

    // What meta.json says against what is there. Counts of one kind of samples are only written by newer versions; that of
    // tombstones is not held against it, since deleting writes them one after the other.
    fn stats(&mut self) {
        let (told, found) = (&self.meta.stats, &self.found);
        let mut wrong = Vec::new();
        let mut compare = |what: &str, told: u64, found: u64, is_optional: bool| {
            if told != found && !(is_optional && told == 0) {
                wrong.push(format!("says {told} {what}, but there are {found}"));
            }
        };
        compare("series", told.num_series, found.num_series, false);
        compare("chunks", told.num_chunks, found.num_chunks, false);
        compare("samples", told.num_samples, found.num_samples, false);
        compare("float samples", told.num_float_samples, found.num_float_samples, true);
        compare(
            "histogram samples",
            told.num_histogram_samples,
            found.num_histogram_samples,
            true,
        );
        for reason in wrong {
            (self.tell)(BlockError::Meta {
                block: self.name.clone(),
                reason,
            });
        }
    }
}

fn sample_times(chunk: &StoredChunk<'_>) -> Result<Vec<i64>, ChunkError> {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    match chunk {
        StoredChunk::Encoded(encoding @ (Encoding::Xor | Encoding::Xor2), bytes) => {
            cupola_chunk::decode(*encoding, bytes, i64::MIN, i64::MAX, &mut times, &mut values)?;
        }
        StoredChunk::Encoded(encoding, bytes) => {
            let mut cursor = HistogramCursor::new(*encoding, bytes)?;
            while let Some(ts) = cursor.next_sample()? {
                times.push(ts);
            }
        }
        StoredChunk::Columnar(chunk) => chunk.decode(i64::MIN, i64::MAX, &mut times, &mut values)?,
    }
    Ok(times)
}
