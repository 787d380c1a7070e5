//! Segments: files of entries with a checksum each. Those in `chunks/` hold encoded chunks and are upstream's; those of
//! native blocks ([`crate::native`]) are laid out alike and begin with other numbers.
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

use cupola_env::Vfs;

use crate::BlockError;
use crate::bytes::{Dec, Fault, Parsed, put_uvarint};
use crate::file::{self, Disk, Growing, Sealed, Window};

const VERSION: u8 = 1;
const HEADER_BYTES: u64 = 8;
// Length of at most 5 bytes, encoding, checksum.
const CHUNK_OVERHEAD: u64 = 5 + 1 + 4;
pub(crate) const SEGMENT_BYTES: u64 = 512 << 20;

/// What the segments of one folder hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SegmentKind {
    /// The folder in the block's.
    pub(crate) folder: &'static str,
    /// As messages call one.
    pub(crate) name: &'static str,
    /// What it begins with.
    pub(crate) magic: u32,
}

pub(crate) const CHUNKS: SegmentKind = SegmentKind {
    folder: "chunks",
    name: "chunk segment",
    magic: 0x85bd_40dd,
};

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
    kind: &'static SegmentKind,
    disk: Disk,
    dir: PathBuf,
    max_bytes: u64,
    number: u32,
    current: Option<Growing>,
}

impl SegmentWriter {
    /// Makes the folder of these segments in the block's folder `dir`; a segment ends before `max_bytes`.
    pub(crate) fn create(
        kind: &'static SegmentKind,
        disk: Disk,
        dir: &Path,
        max_bytes: u64,
    ) -> Result<Self, BlockError> {
        let dir = dir.join(kind.folder);
        file::create_dir(&*disk, &dir)?;
        Ok(Self {
            kind,
            disk,
            dir,
            max_bytes: max_bytes.min(u64::from(u32::MAX)),
            number: 0,
            current: None,
        })
    }

    /// Whether an entry of `len` bytes fits in a segment at all.
    pub(crate) fn fits(&self, len: usize) -> bool {
        HEADER_BYTES + CHUNK_OVERHEAD + len as u64 <= self.max_bytes
    }

    /// Writes an entry that [`SegmentWriter::fits`]; gives its reference. `tag` says what it is: in `chunks/` the encoding.
    pub(crate) fn write(&mut self, tag: u8, bytes: &[u8]) -> Result<u64, BlockError> {
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
        segment.write(&[tag])?;
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
        segment.write(&self.kind.magic.to_be_bytes())?;
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
    kind: &'static SegmentKind,
    block: Arc<str>,
    by_number: BTreeMap<u32, Sealed>,
}

impl Segments {
    /// Opens all segments of a kind in the block's folder `dir` and checks their headers.
    pub(crate) fn open(
        kind: &'static SegmentKind,
        vfs: &dyn Vfs,
        dir: &Path,
        block: Arc<str>,
    ) -> Result<Self, BlockError> {
        let dir = dir.join(kind.folder);
        let mut by_number = BTreeMap::new();
        for (name, _) in file::list(vfs, &dir)? {
            // Other programs leave their own files; upstream passes over them as well.
            let Some(number) = name.parse::<u32>().ok().and_then(|n| n.checked_sub(1)) else {
                continue;
            };
            let segment = Sealed::open(vfs, &dir.join(&name), block.clone(), format!("{} {name}", kind.name))?;
            let mut head = Vec::new();
            segment.read(0, HEADER_BYTES, None, &mut head)?;
            check_header(&head, kind).map_err(|fault| segment.place(None).corrupt(fault))?;
            by_number.insert(number, segment);
        }
        Ok(Self { kind, block, by_number })
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.by_number.values().map(Sealed::len).sum()
    }

    /// The segment of a reference and the offset in it.
    pub(crate) fn locate(&self, chunk_ref: u64) -> Result<(&Sealed, u64), BlockError> {
        let number = (chunk_ref >> 32) as u32;
        let segment = self.by_number.get(&number).ok_or_else(|| BlockError::Io {
            what: format!("block {}: open {}", self.block, self.name_of(chunk_ref)),
            source: io::ErrorKind::NotFound.into(),
        })?;
        Ok((segment, chunk_ref & u64::from(u32::MAX)))
    }

    /// What messages call the segment of a reference.
    pub(crate) fn name_of(&self, chunk_ref: u64) -> String {
        format!("{} {:06}", self.kind.name, (chunk_ref >> 32) + 1)
    }

    /// Reads an entry, its tag first, through `window`, which must have been used for this segment only; `hint` is how
    /// many bytes behind its beginning will be wanted next.
    pub(crate) fn read<'w>(
        &self,
        chunk_ref: u64,
        hint: u64,
        window: &'w mut Window,
    ) -> Result<(u8, &'w [u8]), BlockError> {
        let (segment, at) = self.locate(chunk_ref)?;
        let corrupt = |fault| segment.place(None).corrupt(fault);
        let mut dec = Dec::new(window.get(segment, at, 6, hint, None)?, at);
        let len = dec.uvarint().map_err(corrupt)?;
        let head = dec.at() - at;
        let whole = len.checked_add(head + 5).filter(|whole| *whole <= segment.len());
        let whole = whole.ok_or_else(|| corrupt(Fault::new(at, format!("entry of {len} bytes"))))?;
        let bytes = window.get(segment, at, whole, hint, None)?;
        parse_entry(bytes, at, head as usize, len as usize).map_err(corrupt)
    }
}

fn check_header(bytes: &[u8], kind: &SegmentKind) -> Parsed<()> {
    let mut dec = Dec::new(bytes, 0);
    if dec.be32()? != kind.magic {
        return Err(Fault::new(0, format!("not a {}", kind.name)));
    }
    match dec.byte()? {
        VERSION => Ok(()),
        version => Err(Fault::new(4, format!("version {version} is not supported"))),
    }
}

fn parse_entry(bytes: &[u8], at: u64, head: usize, len: usize) -> Parsed<(u8, &[u8])> {
    let mut dec = Dec::new(bytes, at);
    dec.take(head)?;
    let checked = dec.take(len + 1)?;
    if dec.be32()? != crc32c::crc32c(checked) {
        return Err(Fault::new(at, "checksum mismatch"));
    }
    Ok(checked
        .split_first()
        .map_or((0, checked), |(first, rest)| (*first, rest)))
}
