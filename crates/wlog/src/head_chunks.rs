//! `chunks_head/`: full chunks of the head.
//!
//! `[u32 BE magic][u8 version][3 zeros]`, then chunks:
//! `[u64 BE series ref][u64 BE mint][u64 BE maxt][u8 encoding][uvarint length][data][u32 BE CRC32C of all before]`.
//! A file may end in zeros, because room is made for it beforehand.

use cupola_chunk::Encoding;
use cupola_model::SeriesRef;

use crate::bytes::{Dec, Fault, Parsed, Told};
use crate::frame::Broken;

pub(crate) const MAGIC: u32 = 0x0130_BC91;
pub(crate) const HEADER: usize = 8;

// Set in the encoding's byte for chunks of samples that came out of order.
const OUT_OF_ORDER: u8 = 0x80;

/// Names a head chunk: the file's number and the byte in it where the chunk begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkRef(pub u64);

impl ChunkRef {
    pub(crate) fn new(file: u64, at: usize) -> Self {
        Self(file << 32 | at as u64)
    }

    /// The number of the file in `chunks_head/`.
    #[must_use]
    pub fn file(self) -> u64 {
        self.0 >> 32
    }

    /// The byte in it.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }
}

/// A chunk of the head. Its checksum was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadChunk<'a> {
    /// Whose.
    pub series_ref: SeriesRef,
    /// How markers of the out-of-order log call it.
    pub chunk_ref: ChunkRef,
    /// The first sample's time, in milliseconds since the epoch.
    pub mint: i64,
    /// The last one's.
    pub maxt: i64,
    /// How `bytes` are to be read.
    pub encoding: Encoding,
    /// Whether the samples came out of order; among themselves they are sorted.
    pub is_out_of_order: bool,
    /// The chunk.
    pub bytes: &'a [u8],
}

/// What stands at a place of a file.
enum Found<'a> {
    End,
    Chunk(HeadChunk<'a>),
    Unknown,
}

/// Calls `each` with every chunk of one file; `Ok` is how many were left out because nobody knows their encoding.
///
/// # Errors
/// [`Broken`] where the bytes are not what the format allows; the chunks before were handed out. `E` as `each` says.
pub(crate) fn read<E>(
    bytes: &[u8],
    file: u64,
    each: &mut dyn FnMut(HeadChunk<'_>) -> Told<E>,
) -> Result<Result<u64, Broken>, E> {
    let broken = |at: usize, reason: String| Broken { at, from: at, reason };
    if let Err(Fault(reason)) = header(bytes) {
        return Ok(Err(broken(0, reason)));
    }
    let mut at = HEADER;
    let mut unknown = 0;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let told = match chunk(rest, ChunkRef::new(file, at)) {
            Ok((Found::End, _)) => break,
            Ok((Found::Chunk(chunk), len)) => each(chunk)?.map(|()| len),
            Ok((Found::Unknown, len)) => {
                unknown += 1;
                Ok(len)
            }
            Err(fault) => Err(fault),
        };
        match told {
            Ok(len) => at += len,
            Err(Fault(reason)) => return Ok(Err(broken(at, reason))),
        }
    }
    Ok(Ok(unknown))
}

fn header(bytes: &[u8]) -> Parsed<()> {
    let mut dec = Dec::new(bytes);
    let magic = dec.be32()?;
    if magic != MAGIC {
        return Err(Fault(format!("not a head chunk file: it begins with {magic:08x}")));
    }
    match dec.take(4)?.first() {
        Some(1) => Ok(()),
        other => Err(Fault(format!("head chunk format {} is not known", other.unwrap_or(&0)))),
    }
}

/// The chunk at the beginning of `rest`, and its bytes in the file.
fn chunk(rest: &[u8], chunk_ref: ChunkRef) -> Parsed<(Found<'_>, usize)> {
    let mut dec = Dec::new(rest);
    // As upstream: no series has the ref 0, so this is the room made beforehand.
    if rest.iter().take(24).all(|byte| *byte == 0) {
        return Ok((Found::End, rest.len()));
    }
    let (series_ref, mint, maxt) = (dec.be64()?, dec.be64_signed()?, dec.be64_signed()?);
    let encoding = dec.byte()?;
    let len = dec.uvarint()?;
    let bytes = dec.take(usize::try_from(len).unwrap_or(usize::MAX))?;
    let summed = rest.get(..rest.len() - dec.len()).unwrap_or_default();
    if crc32c::crc32c(summed) != dec.be32()? {
        return Err(Fault::new("checksum mismatch"));
    }
    let found = match Encoding::try_from(encoding & !OUT_OF_ORDER) {
        Err(_) => Found::Unknown,
        Ok(known) => Found::Chunk(HeadChunk {
            series_ref: SeriesRef(series_ref),
            chunk_ref,
            mint,
            maxt,
            encoding: known,
            is_out_of_order: encoding & OUT_OF_ORDER != 0,
            bytes,
        }),
    };
    Ok((found, rest.len() - dec.len()))
}
