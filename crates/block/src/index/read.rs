//! An open index.

use std::path::Path;
use std::sync::Arc;

use cupola_env::Vfs;
use cupola_model::Labels;

use crate::BlockError;
use crate::bytes::{Dec, Fault, Parsed};
use crate::file::{Sealed, Window};
use crate::index::series::Record;
use crate::index::symbols::Symbols;
use crate::index::table::{PostingsTable, Values};
use crate::index::{HEADER_BYTES, MAGIC, SERIES_ALIGN, TOC_BYTES, VERSION, postings};

/// An open index: its tables in memory, the rest read by position.
#[derive(Debug)]
pub(crate) struct Index {
    file: Sealed,
    symbols: Symbols,
    table: PostingsTable,
}

/// Where the sections begin; 0 is a section that is not there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Toc {
    pub(crate) symbols: u64,
    pub(crate) series: u64,
    pub(crate) label_indices: u64,
    pub(crate) label_table: u64,
    pub(crate) postings: u64,
    pub(crate) postings_table: u64,
}

impl Toc {
    /// Reads the last bytes of the file, which begin at `base`.
    pub(crate) fn parse(bytes: &[u8], base: u64) -> Parsed<Self> {
        let mut dec = Dec::new(bytes, base);
        let offsets = dec.take(48)?;
        if dec.be32()? != crc32c::crc32c(offsets) {
            return Err(Fault::new(base, "checksum mismatch"));
        }
        let mut dec = Dec::new(offsets, base);
        Ok(Self {
            symbols: dec.be64()?,
            series: dec.be64()?,
            label_indices: dec.be64()?,
            label_table: dec.be64()?,
            postings: dec.be64()?,
            postings_table: dec.be64()?,
        })
    }
}

impl Index {
    /// Opens the index file and reads its tables.
    pub(crate) fn open(vfs: &dyn Vfs, path: &Path, block: Arc<str>) -> Result<Self, BlockError> {
        let file = Sealed::open(vfs, path, block, "index".to_owned())?;
        let mut buf = Vec::new();

        file.read(0, HEADER_BYTES, Some("header"), &mut buf)?;
        check_header(&buf).map_err(|fault| file.place(Some("header")).corrupt(fault))?;

        let at = file.len().saturating_sub(TOC_BYTES);
        file.read(at, TOC_BYTES, Some("table of contents"), &mut buf)?;
        let toc = Toc::parse(&buf, at).map_err(|fault| file.place(Some("table of contents")).corrupt(fault))?;

        let mut symbols = Symbols::default();
        if toc.symbols != 0 {
            let body = read_section(&file, toc.symbols, "symbols", &mut buf)?;
            symbols =
                Symbols::parse(body, toc.symbols + 4).map_err(|fault| file.place(Some("symbols")).corrupt(fault))?;
        }
        let mut table = PostingsTable::default();
        if toc.postings_table != 0 {
            let body = read_section(&file, toc.postings_table, "postings offset table", &mut buf)?;
            table = PostingsTable::parse(body, toc.postings_table + 4, &symbols)
                .map_err(|fault| file.place(Some("postings offset table")).corrupt(fault))?;
        }
        Ok(Self { file, symbols, table })
    }

    pub(crate) fn len(&self) -> u64 {
        self.file.len()
    }

    pub(crate) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// All label names, ascending.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.table.names()
    }

    /// The values of a label, ascending.
    pub(crate) fn values(&self, name: &str) -> Values<'_> {
        self.table.values(name, &self.symbols)
    }

    /// Every series.
    pub(crate) fn all_series(&self) -> Result<Vec<u32>, BlockError> {
        let mut out = Vec::new();
        if let Some(offset) = self.table.all() {
            self.postings(offset, &mut Window::default(), &mut out)?;
        }
        Ok(out)
    }

    /// Adds the list at `offset` to `out`. The lists of a label's values lie behind each other: `window` is for all of
    /// them.
    pub(crate) fn postings(&self, offset: u64, window: &mut Window, out: &mut Vec<u32>) -> Result<(), BlockError> {
        let section = Some("postings");
        let corrupt = |fault| self.file.place(section).corrupt(fault);
        let mut dec = Dec::new(window.get(&self.file, offset, 4, 0, section)?, offset);
        let len = dec.be32().map_err(corrupt)?;
        let mut dec = Dec::new(window.get(&self.file, offset, u64::from(len) + 8, 0, section)?, offset);
        dec.take(4).map_err(corrupt)?;
        let body = dec.take(len as usize).map_err(corrupt)?;
        if dec.be32().map_err(corrupt)? != crc32c::crc32c(body) {
            return Err(corrupt(Fault::new(offset, "checksum mismatch")));
        }
        postings::parse(body, offset + 4, out).map_err(corrupt)
    }

    /// Reads a series into `record`.
    pub(crate) fn series(&self, series: u32, window: &mut Window, record: &mut Record) -> Result<(), BlockError> {
        let section = Some("series");
        let at = u64::from(series) * SERIES_ALIGN;
        let corrupt = |fault| self.file.place(section).corrupt(fault);
        let mut dec = Dec::new(window.get(&self.file, at, 10, 0, section)?, at);
        let len = dec.uvarint().map_err(corrupt)?;
        let head = dec.at() - at;
        let whole = len.checked_add(head + 4).filter(|whole| *whole <= self.file.len());
        let whole = whole.ok_or_else(|| corrupt(Fault::new(at, format!("entry of {len} bytes"))))?;
        let bytes = window.get(&self.file, at, whole, 0, section)?;
        let parsed = parse_entry(bytes, at, head as usize, len as usize, record);
        parsed.map_err(corrupt)?;
        let count = self.symbols.len();
        match record
            .labels
            .iter()
            .flat_map(|(name, value)| [*name, *value])
            .find(|id| *id as usize >= count)
        {
            Some(id) => Err(corrupt(Fault::new(
                at,
                format!("symbol {id} is named, but there are {count}"),
            ))),
            None => Ok(()),
        }
    }

    /// The label set of a record that [`Index::series`] has read.
    pub(crate) fn labels(&self, record: &Record) -> Labels {
        Labels::from_pairs(
            record
                .labels
                .iter()
                .map(|(name, value)| (self.symbol(*name), self.symbol(*value))),
        )
    }

    /// The text of a symbol of a record; `series` has checked that it exists.
    pub(crate) fn symbol(&self, id: u32) -> &str {
        self.symbols.get(id).unwrap_or_default()
    }
}

fn check_header(bytes: &[u8]) -> Parsed<()> {
    let mut dec = Dec::new(bytes, 0);
    if dec.be32()? != MAGIC {
        return Err(Fault::new(0, "not an index file"));
    }
    match dec.byte()? {
        VERSION => Ok(()),
        version => Err(Fault::new(4, format!("version {version} is not supported"))),
    }
}

fn parse_entry(bytes: &[u8], at: u64, head: usize, len: usize, record: &mut Record) -> Parsed<()> {
    let mut dec = Dec::new(bytes, at);
    dec.take(head)?;
    let base = dec.at();
    let body = dec.take(len)?;
    if dec.be32()? != crc32c::crc32c(body) {
        return Err(Fault::new(at, "checksum mismatch"));
    }
    record.parse(body, base)
}

/// Reads a section with its length before and its checksum behind; gives the body, which begins 4 bytes behind `at`.
fn read_section<'b>(
    file: &Sealed,
    at: u64,
    section: &'static str,
    buf: &'b mut Vec<u8>,
) -> Result<&'b [u8], BlockError> {
    file.read(at, 4, Some(section), buf)?;
    let corrupt = |fault| file.place(Some(section)).corrupt(fault);
    let len = Dec::new(buf, at).be32().map_err(corrupt)?;
    file.read(at + 4, u64::from(len) + 4, Some(section), buf)?;
    let mut dec = Dec::new(buf, at + 4);
    let body = dec.take(len as usize).map_err(corrupt)?;
    if dec.be32().map_err(corrupt)? != crc32c::crc32c(body) {
        return Err(corrupt(Fault::new(at, "checksum mismatch")));
    }
    Ok(body)
}
