//! Writing an index.
//!
//! The symbols stand before the series that use them, but series come one by one. So each series is kept in a
//! temporary file as a record of label pair numbers and finished chunk metas; when all have come, symbols and pairs
//! are put in order and the records become the series section. Postings are gathered by reading the records again, as
//! many lists at a time as fit in a bounded buffer.

use std::path::PathBuf;
use std::sync::Arc;

use cupola_model::Labels;
use foldhash::{HashMap, HashMapExt as _};

use crate::BlockError;
use crate::bytes::{Dec, put_be32, put_text, put_uvarint, uvarint_len};
use crate::chunks::ChunkMeta;
use crate::error::Refusal;
use crate::file::{self, Disk, Growing, Sealed, Window};
use crate::index::series::put_chunks;
use crate::index::{MAGIC, SERIES_ALIGN, VERSION};

// Series refs gathered at once: 32 MiB.
const POSTINGS_AT_ONCE: u64 = 8 << 20;

/// Takes series in ascending order and writes the index of a block.
#[derive(Debug)]
pub(crate) struct IndexWriter {
    disk: Disk,
    block: Arc<str>,
    path: PathBuf,
    records_path: PathBuf,
    records: Growing,
    record: Vec<u8>,
    series: u64,
    symbols: HashMap<Box<str>, u32>,
    pairs: HashMap<(u32, u32), u32>,
    // By pair number: how many series have it.
    uses: Vec<u32>,
    postings_at_once: u64,
}

/// Label pairs in the order of the index.
struct Sorted {
    /// The texts, ascending.
    symbols: Vec<Box<str>>,
    /// By pair number: symbols of name and value, and place in `pairs`.
    by_number: Vec<(u32, u32, usize)>,
    /// Ascending by name and value: symbols of name and value, number of series.
    pairs: Vec<(u32, u32, u32)>,
}

impl IndexWriter {
    /// Writes to `path`, and to a temporary file beside it.
    pub(crate) fn create(disk: Disk, block: Arc<str>, path: PathBuf) -> Result<Self, BlockError> {
        let records_path = path.with_extension("series.tmp");
        let records = Growing::create(&*disk, records_path.clone())?;
        // Upstream's table holds the empty text as well.
        let mut symbols = HashMap::new();
        symbols.insert(Box::from(""), 0);
        Ok(Self {
            disk,
            block,
            path,
            records_path,
            records,
            record: Vec::new(),
            series: 0,
            symbols,
            pairs: HashMap::new(),
            uses: Vec::new(),
            postings_at_once: POSTINGS_AT_ONCE,
        })
    }

    /// As [`IndexWriter::create`], but gathers only so many series refs at once.
    #[cfg(test)]
    pub(crate) fn with_postings_at_once(mut self, refs: u64) -> Self {
        self.postings_at_once = refs;
        self
    }

    /// Adds a series; the caller has checked labels, order and chunks.
    pub(crate) fn add(&mut self, labels: &Labels, chunks: &[ChunkMeta]) -> Result<(), BlockError> {
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        put_uvarint(&mut record, labels.len() as u64);
        for (name, value) in labels {
            let key = (self.intern(name), self.intern(value));
            let next = self.uses.len() as u32;
            let pair = *self.pairs.entry(key).or_insert(next);
            if pair == next {
                self.uses.push(0);
            }
            if let Some(uses) = self.uses.get_mut(pair as usize) {
                *uses += 1;
            }
            put_uvarint(&mut record, u64::from(pair));
        }
        put_chunks(&mut record, chunks);
        let mut len = Vec::with_capacity(5);
        put_uvarint(&mut len, record.len() as u64);
        self.records.write(&len)?;
        self.records.write(&record)?;
        self.record = record;
        self.series += 1;
        let fits = u32::try_from(self.series).is_ok() && u32::try_from(self.symbols.len() + self.uses.len()).is_ok();
        if fits {
            Ok(())
        } else {
            Err(self.too_large("number of series or symbols"))
        }
    }

    fn intern(&mut self, text: &str) -> u32 {
        if let Some(id) = self.symbols.get(text) {
            return *id;
        }
        let id = self.symbols.len() as u32;
        self.symbols.insert(text.into(), id);
        id
    }

    fn too_large(&self, what: &'static str) -> BlockError {
        BlockError::Refused {
            block: self.block.clone(),
            refusal: Refusal::TooLarge(what),
        }
    }

    /// Writes the index, waits until it is on the device, and removes the temporary file.
    pub(crate) fn finish(mut self) -> Result<(), BlockError> {
        self.records.flush()?;
        let sorted = sort(
            std::mem::take(&mut self.symbols),
            std::mem::take(&mut self.pairs),
            &self.uses,
        );
        let mut out = Growing::create(&*self.disk, self.path.clone())?;
        out.write(&MAGIC.to_be_bytes())?;
        out.write(&[VERSION])?;

        let symbols = out.pos();
        self.write_symbols(&mut out, &sorted)?;
        let series = out.pos();
        let refs = self.write_series(&mut out, &sorted)?;
        let label_indices = out.pos();
        let label_offsets = write_label_indices(&mut out, &sorted)?;
        let postings = out.pos();
        out.pad(4)?;
        let first_list = out.pos();
        self.write_postings(&mut out, &sorted, &refs)?;
        let label_table = out.pos();
        write_label_table(&mut out, &sorted, &label_offsets)?;
        let postings_table = out.pos();
        self.write_postings_table(&mut out, &sorted, refs.len(), first_list)?;

        out.begin_crc();
        for offset in [symbols, series, label_indices, label_table, postings, postings_table] {
            out.write(&offset.to_be_bytes())?;
        }
        out.write_crc()?;
        out.finish()?;
        file::remove_file(&*self.disk, &self.records_path)
    }

    fn write_symbols(&self, out: &mut Growing, sorted: &Sorted) -> Result<(), BlockError> {
        let len = 4 + sorted
            .symbols
            .iter()
            .map(|s| uvarint_len(s.len() as u64) + s.len() as u64)
            .sum::<u64>();
        out.write(
            &u32::try_from(len)
                .map_err(|_| self.too_large("symbol table"))?
                .to_be_bytes(),
        )?;
        out.begin_crc();
        out.write(&(sorted.symbols.len() as u32).to_be_bytes())?;
        let mut buf = Vec::new();
        for symbol in &sorted.symbols {
            buf.clear();
            put_text(&mut buf, symbol);
            out.write(&buf)?;
        }
        out.write_crc()
    }

    /// Gives the refs of all series.
    fn write_series(&self, out: &mut Growing, sorted: &Sorted) -> Result<Vec<u32>, BlockError> {
        let mut refs = Vec::with_capacity(self.series as usize);
        let (mut body, mut len) = (Vec::new(), Vec::new());
        self.for_each_record(|labels, pairs, chunks| {
            out.pad(SERIES_ALIGN)?;
            let series = u32::try_from(out.pos() / SERIES_ALIGN).map_err(|_| self.too_large("series section"))?;
            refs.push(series);
            body.clear();
            put_uvarint(&mut body, labels);
            for pair in pairs {
                let (name, value, _) = sorted.by_number.get(*pair).copied().unwrap_or_default();
                put_uvarint(&mut body, u64::from(name));
                put_uvarint(&mut body, u64::from(value));
            }
            body.extend_from_slice(chunks);
            len.clear();
            put_uvarint(&mut len, body.len() as u64);
            out.write(&len)?;
            out.begin_crc();
            out.write(&body)?;
            out.write_crc()
        })?;
        Ok(refs)
    }

    fn write_postings(&self, out: &mut Growing, sorted: &Sorted, refs: &[u32]) -> Result<(), BlockError> {
        write_list(out, refs)?;
        let mut from = 0;
        while from < sorted.pairs.len() {
            // As many lists as fit, one at least.
            let mut starts = vec![0_usize];
            let mut total = 0_u64;
            for (_, _, uses) in sorted.pairs.iter().skip(from) {
                if total > 0 && total + u64::from(*uses) > self.postings_at_once {
                    break;
                }
                total += u64::from(*uses);
                starts.push(total as usize);
            }
            let to = from + starts.len() - 1;
            let mut gathered = vec![0_u32; total as usize];
            let mut ends = starts.clone();
            let mut series = refs.iter();
            self.for_each_record(|_, pairs, _| {
                let Some(series) = series.next() else { return Ok(()) };
                for pair in pairs {
                    let place = sorted
                        .by_number
                        .get(*pair)
                        .map(|p| p.2)
                        .filter(|p| (from..to).contains(p));
                    let end = place.and_then(|place| ends.get_mut(place - from));
                    if let Some(slot) = end.and_then(|end| {
                        *end += 1;
                        gathered.get_mut(*end - 1)
                    }) {
                        *slot = *series;
                    }
                }
                Ok(())
            })?;
            for list in starts.windows(2) {
                if let [start, end] = list {
                    write_list(out, gathered.get(*start..*end).unwrap_or_default())?;
                }
            }
            from = to;
        }
        Ok(())
    }

    fn write_postings_table(
        &self,
        out: &mut Growing,
        sorted: &Sorted,
        all_series: usize,
        first_list: u64,
    ) -> Result<(), BlockError> {
        // The first walk only counts: the length stands before the entries.
        let mut len = 4;
        let mut buf = Vec::new();
        for_each_list(sorted, all_series, first_list, |entry| {
            put_entry(&mut buf, entry);
            len += buf.len() as u64;
            Ok(())
        })?;
        out.write(
            &u32::try_from(len)
                .map_err(|_| self.too_large("postings offset table"))?
                .to_be_bytes(),
        )?;
        out.begin_crc();
        out.write(&(sorted.pairs.len() as u32 + 1).to_be_bytes())?;
        for_each_list(sorted, all_series, first_list, |entry| {
            put_entry(&mut buf, entry);
            out.write(&buf)
        })?;
        out.write_crc()
    }

    /// Calls `visit` with each record in turn: number of labels, pair numbers, encoded chunk metas.
    fn for_each_record(
        &self,
        mut visit: impl FnMut(u64, &[usize], &[u8]) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        let file = Sealed::open(
            &*self.disk,
            &self.records_path,
            self.block.clone(),
            "temporary series file".to_owned(),
        )?;
        let corrupt = |fault| file.place(None).corrupt(fault);
        let mut window = Window::default();
        let mut pairs = Vec::new();
        let mut at = 0;
        while at < file.len() {
            let mut dec = Dec::new(window.get(&file, at, 10, 0, None)?, at);
            let len = dec.uvarint().map_err(corrupt)?;
            at = dec.at();
            let mut dec = Dec::new(window.get(&file, at, len, 0, None)?, at);
            let record = dec.take(len as usize).map_err(corrupt)?;
            let mut dec = Dec::new(record, at);
            let labels = dec.uvarint().map_err(corrupt)?;
            pairs.clear();
            for _ in 0..labels {
                pairs.push(dec.uvarint32().map_err(corrupt)? as usize);
            }
            visit(labels, &pairs, dec.rest())?;
            at += len;
        }
        Ok(())
    }
}

fn sort(symbols: HashMap<Box<str>, u32>, pairs: HashMap<(u32, u32), u32>, uses: &[u32]) -> Sorted {
    let mut texts: Vec<(Box<str>, u32)> = symbols.into_iter().collect();
    texts.sort_unstable();
    let mut rank = vec![0_u32; texts.len()];
    for (i, (_, id)) in texts.iter().enumerate() {
        if let Some(rank) = rank.get_mut(*id as usize) {
            *rank = i as u32;
        }
    }
    let ranked = |id: u32| rank.get(id as usize).copied().unwrap_or_default();
    let mut numbered: Vec<(u32, u32, u32)> = pairs
        .into_iter()
        .map(|((name, value), number)| (ranked(name), ranked(value), number))
        .collect();
    numbered.sort_unstable();
    let mut by_number = vec![(0, 0, 0); numbered.len()];
    for (place, (name, value, number)) in numbered.iter().enumerate() {
        if let Some(slot) = by_number.get_mut(*number as usize) {
            *slot = (*name, *value, place);
        }
    }
    let with_uses = |(name, value, number): (u32, u32, u32)| (name, value, uses.get(number as usize).copied());
    let pairs = numbered
        .into_iter()
        .map(with_uses)
        .map(|(n, v, uses)| (n, v, uses.unwrap_or_default()))
        .collect();
    Sorted {
        symbols: texts.into_iter().map(|(text, _)| text).collect(),
        by_number,
        pairs,
    }
}

/// Gives where each label's index is, in order of names.
fn write_label_indices(out: &mut Growing, sorted: &Sorted) -> Result<Vec<u64>, BlockError> {
    let mut offsets = Vec::new();
    for values in sorted.pairs.chunk_by(|a, b| a.0 == b.0) {
        out.pad(4)?;
        offsets.push(out.pos());
        let mut body = Vec::with_capacity(values.len() * 4 + 8);
        put_be32(&mut body, 1);
        put_be32(&mut body, values.len() as u32);
        for (_, value, _) in values {
            put_be32(&mut body, *value);
        }
        write_section(out, &body)?;
    }
    Ok(offsets)
}

fn write_label_table(out: &mut Growing, sorted: &Sorted, offsets: &[u64]) -> Result<(), BlockError> {
    let mut body = Vec::new();
    put_be32(&mut body, offsets.len() as u32);
    for (values, offset) in sorted.pairs.chunk_by(|a, b| a.0 == b.0).zip(offsets) {
        let name = values
            .first()
            .and_then(|(name, _, _)| sorted.symbols.get(*name as usize));
        put_uvarint(&mut body, 1);
        put_text(&mut body, name.map_or("", |n| n));
        put_uvarint(&mut body, *offset);
    }
    write_section(out, &body)
}

fn write_list(out: &mut Growing, series: &[u32]) -> Result<(), BlockError> {
    out.pad(4)?;
    let mut body = Vec::with_capacity(series.len() * 4 + 4);
    put_be32(&mut body, series.len() as u32);
    for series in series {
        put_be32(&mut body, *series);
    }
    write_section(out, &body)
}

// The bodies written with this hold 4 bytes per series or value, and the caller has bounded their number.
fn write_section(out: &mut Growing, body: &[u8]) -> Result<(), BlockError> {
    out.write(&(body.len() as u32).to_be_bytes())?;
    out.begin_crc();
    out.write(body)?;
    out.write_crc()
}

/// Calls `visit` with name, value and offset of each postings list, in the order of the file.
fn for_each_list(
    sorted: &Sorted,
    all_series: usize,
    first_list: u64,
    mut visit: impl FnMut((&str, &str, u64)) -> Result<(), BlockError>,
) -> Result<(), BlockError> {
    // Length, count, refs, checksum: always a multiple of 4, so no padding comes between.
    let len = |series: u64| 4 + 4 + 4 * series + 4;
    let text = |symbol: u32| sorted.symbols.get(symbol as usize).map_or("", |s| s);
    let mut offset = first_list;
    visit(("", "", offset))?;
    offset += len(all_series as u64);
    for (name, value, uses) in &sorted.pairs {
        visit((text(*name), text(*value), offset))?;
        offset += len(u64::from(*uses));
    }
    Ok(())
}

fn put_entry(buf: &mut Vec<u8>, (name, value, offset): (&str, &str, u64)) {
    buf.clear();
    put_uvarint(buf, 2);
    put_text(buf, name);
    put_text(buf, value);
    put_uvarint(buf, offset);
}

/// Writes an index alone; for tests of the format.
#[cfg(test)]
pub(crate) fn write_index(
    path: &std::path::Path,
    series: &[(Labels, Vec<ChunkMeta>)],
    at_once: u64,
) -> Result<(), BlockError> {
    let mut writer = IndexWriter::create(
        Disk::new(&cupola_env::RealFs::shared()),
        "test".into(),
        path.to_path_buf(),
    )?
    .with_postings_at_once(at_once);
    for (labels, chunks) in series {
        writer.add(labels, chunks)?;
    }
    writer.finish()
}
