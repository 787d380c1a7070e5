//! The files in `chunks/`: segments of encoded chunks.
//!
//! ```text
//! 85bd40dd  u8 version 1  000000  (uvarint len, u8 encoding, len bytes, u32 CRC32C of encoding and bytes)*
//! ```
//! A chunk's reference is its segment's number (counted from 0, while file names count from 1) in the upper 32 bits
//! and its offset in the lower.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_chunk::Encoding;
use cupola_env::Vfs;

use crate::BlockError;
use crate::bytes::{Dec, Fault, Parsed, put_uvarint};
use crate::file::{self, Disk, Growing, Sealed, Window};

const MAGIC: u32 = 0x85bd_40dd;
const VERSION: u8 = 1;
const HEADER_BYTES: u64 = 8;
// Length of at most 5 bytes, encoding, checksum.
const CHUNK_OVERHEAD: u64 = 5 + 1 + 4;
pub(crate) const SEGMENT_BYTES: u64 = 512 << 20;
pub(crate) const DIR_NAME: &str = "chunks";

/// Where a chunk is and what time it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Time of its first sample, in milliseconds since the epoch.
    pub mint: i64,
    /// Time of its last sample.
    pub maxt: i64,
    /// Segment and offset.
    pub chunk_ref: u64,
}

/// Writes segments.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    disk: Disk,
    dir: PathBuf,
    max_bytes: u64,
    number: u32,
    current: Option<Growing>,
}

impl SegmentWriter {
    /// `dir` must exist; a segment ends before `max_bytes`.
    pub(crate) fn new(disk: Disk, dir: PathBuf, max_bytes: u64) -> Self {
        Self {
            disk,
            dir,
            max_bytes: max_bytes.min(u64::from(u32::MAX)),
            number: 0,
            current: None,
        }
    }

    /// Whether a chunk of `len` bytes fits in a segment at all.
    pub(crate) fn fits(&self, len: usize) -> bool {
        HEADER_BYTES + CHUNK_OVERHEAD + len as u64 <= self.max_bytes
    }

    /// Writes a chunk that [`SegmentWriter::fits`]; gives its reference.
    pub(crate) fn write(&mut self, encoding: Encoding, bytes: &[u8]) -> Result<u64, BlockError> {
        let end = |segment: &Growing| segment.pos() + CHUNK_OVERHEAD + bytes.len() as u64;
        if self
            .current
            .as_ref()
            .is_none_or(|segment| end(segment) > self.max_bytes)
        {
            self.cut()?;
        }
        // `cut` has just made one where there was none.
        let Some(segment) = &mut self.current else { return Ok(0) };
        let chunk_ref = u64::from(self.number - 1) << 32 | segment.pos();
        let mut head = Vec::with_capacity(6);
        put_uvarint(&mut head, bytes.len() as u64);
        segment.write(&head)?;
        segment.begin_crc();
        segment.write(&[encoding.as_byte()])?;
        segment.write(bytes)?;
        segment.write_crc()?;
        Ok(chunk_ref)
    }

    fn cut(&mut self) -> Result<(), BlockError> {
        if let Some(full) = self.current.take() {
            full.finish()?;
        }
        self.number += 1;
        let mut segment = Growing::create(&*self.disk, self.dir.join(format!("{:06}", self.number)))?;
        segment.write(&MAGIC.to_be_bytes())?;
        segment.write(&[VERSION, 0, 0, 0])?;
        self.current = Some(segment);
        Ok(())
    }

    /// Waits until all segments are on the device.
    pub(crate) fn finish(self) -> Result<(), BlockError> {
        if let Some(last) = self.current {
            last.finish()?;
        }
        file::sync_dir(&*self.disk, &self.dir)
    }
}

/// The open segments of a block.
#[derive(Debug)]
pub(crate) struct Segments {
    block: Arc<str>,
    by_number: BTreeMap<u32, Sealed>,
}

impl Segments {
    /// Opens all segments in `dir` and checks their headers.
    pub(crate) fn open(vfs: &dyn Vfs, dir: &Path, block: Arc<str>) -> Result<Self, BlockError> {
        let mut by_number = BTreeMap::new();
        for (name, _) in file::list(vfs, dir)? {
            // Other programs leave their own files; upstream passes over them as well.
            let Some(number) = name.parse::<u32>().ok().and_then(|n| n.checked_sub(1)) else {
                continue;
            };
            let segment = Sealed::open(vfs, &dir.join(&name), block.clone(), format!("chunk segment {name}"))?;
            let mut head = Vec::new();
            segment.read(0, HEADER_BYTES, None, &mut head)?;
            check_header(&head).map_err(|fault| segment.place(None).corrupt(fault))?;
            by_number.insert(number, segment);
        }
        Ok(Self { block, by_number })
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.by_number.values().map(Sealed::len).sum()
    }

    /// The segment of a reference and the offset in it.
    pub(crate) fn locate(&self, chunk_ref: u64) -> Result<(&Sealed, u64), BlockError> {
        let number = (chunk_ref >> 32) as u32;
        let segment = self.by_number.get(&number).ok_or_else(|| BlockError::Io {
            what: format!("block {}: open chunk segment {:06}", self.block, u64::from(number) + 1),
            source: io::ErrorKind::NotFound.into(),
        })?;
        Ok((segment, chunk_ref & u64::from(u32::MAX)))
    }

    /// Reads a chunk through `window`, which must have been used for this segment only; `hint` is how many bytes
    /// behind its beginning will be wanted next.
    pub(crate) fn read<'w>(
        &self,
        chunk_ref: u64,
        hint: u64,
        window: &'w mut Window,
    ) -> Result<(Encoding, &'w [u8]), BlockError> {
        let (segment, at) = self.locate(chunk_ref)?;
        let corrupt = |fault| segment.place(None).corrupt(fault);
        let mut dec = Dec::new(window.get(segment, at, 6, hint, None)?, at);
        let len = dec.uvarint().map_err(corrupt)?;
        let head = dec.at() - at;
        let whole = len.checked_add(head + 5).filter(|whole| *whole <= segment.len());
        let whole = whole.ok_or_else(|| corrupt(Fault::new(at, format!("chunk of {len} bytes"))))?;
        let bytes = window.get(segment, at, whole, hint, None)?;
        parse_chunk(bytes, at, head as usize, len as usize).map_err(corrupt)
    }
}

fn check_header(bytes: &[u8]) -> Parsed<()> {
    let mut dec = Dec::new(bytes, 0);
    if dec.be32()? != MAGIC {
        return Err(Fault::new(0, "not a chunk segment"));
    }
    match dec.byte()? {
        VERSION => Ok(()),
        version => Err(Fault::new(4, format!("version {version} is not supported"))),
    }
}

fn parse_chunk(bytes: &[u8], at: u64, head: usize, len: usize) -> Parsed<(Encoding, &[u8])> {
    let mut dec = Dec::new(bytes, at);
    dec.take(head)?;
    let checked = dec.take(len + 1)?;
    if dec.be32()? != crc32c::crc32c(checked) {
        return Err(Fault::new(at, "checksum mismatch"));
    }
    let (encoding, data) = checked
        .split_first()
        .map_or((0, checked), |(first, rest)| (*first, rest));
    let encoding = Encoding::try_from(encoding).map_err(|e| Fault::new(at, e.to_string()))?;
    Ok((encoding, data))
}
