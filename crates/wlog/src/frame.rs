//! Records in pages: how a segment of the log is laid out.
//!
//! A segment is a row of pages of 32 KiB. A record is one *fragment*, or several where it did not fit in the rest of a
//! page: `[u8 kind][u16 BE length][u32 BE CRC32C of the data][data]`. The kind's lowest three bits say whole, first,
//! middle or last, the next two with what the record was compressed before it was cut up. A page is filled up with zeros.
//! A record never continues in another segment.

use std::io::Read as _;

use crate::bytes::{Fault, Parsed, Told};

/// The largest record that is read; upstream's writer makes a new segment for one of 128 MiB.
pub const MAX_RECORD_BYTES: usize = 256 << 20;

pub(crate) const PAGE: usize = 32 << 10;
pub(crate) const HEADER: usize = 7;

// What snappy can make of one byte: a copy of 64 bytes takes 3, and there is a header.
const SNAPPY_RATIO: usize = 32;

const PART: u8 = 0b0000_0111;
const SNAPPY: u8 = 0b0000_1000;
const ZSTD: u8 = 0b0001_0000;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// Where and why the reading of a segment ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Where in the segment: the fragment that is wrong.
    pub(crate) at: usize,
    /// Where the record begins that could not be read: nothing from there on was handed out.
    pub(crate) from: usize,
    pub(crate) reason: String,
}

/// Reads records, one segment after another; keeps the buffers.
pub(crate) struct Records {
    joined: Vec<u8>,
    plain: Vec<u8>,
    snappy: snap::raw::Decoder,
    zstd: zstd::zstd_safe::DCtx<'static>,
}

/// What stands at a place of a segment.
struct Fragment<'a> {
    kind: u8,
    data: &'a [u8],
    end: usize,
}

impl Records {
    pub(crate) fn new() -> Self {
        Self {
            joined: Vec::new(),
            plain: Vec::new(),
            snappy: snap::raw::Decoder::new(),
            zstd: zstd::zstd_safe::DCtx::create(),
        }
    }

    /// Calls `each` with every record of `segment`, uncompressed. A fault that `each` finds in a record ends the reading as
    /// damage of the frame would.
    ///
    /// # Errors
    /// [`Broken`] where the bytes are not what the format allows; the records before were handed out. `E` as `each` says.
    pub(crate) fn read<E>(
        &mut self,
        segment: &[u8],
        each: &mut dyn FnMut(&[u8]) -> Told<E>,
    ) -> Result<Result<(), Broken>, E> {
        // Where the record begins whose fragments are being joined, and how it is compressed.
        let mut open: Option<(usize, u8)> = None;
        let mut at = 0;
        let mut broken = None;
        while at < segment.len() {
            let fragment = match fragment(segment, at) {
                Ok(None) => {
                    at = (at + 1).next_multiple_of(PAGE).min(segment.len());
                    continue;
                }
                Ok(Some(fragment)) => fragment,
                Err(Fault(reason)) => {
                    broken = Some(reason);
                    break;
                }
            };
            let compression = fragment.kind & (SNAPPY | ZSTD);
            let whole = match (fragment.kind & PART, open) {
                (FULL, None) => self.plain(compression, Some(fragment.data)),
                (FIRST, None) => {
                    self.joined.clear();
                    self.joined.extend_from_slice(fragment.data);
                    open = Some((at, compression));
                    at = fragment.end;
                    continue;
                }
                (MIDDLE | LAST, Some((_, before))) if before != compression => {
                    Err(Fault::new("the parts of a record are compressed differently"))
                }
                (MIDDLE, Some(_)) if self.joined.len() <= MAX_RECORD_BYTES => {
                    self.joined.extend_from_slice(fragment.data);
                    at = fragment.end;
                    continue;
                }
                (MIDDLE, Some(_)) => Err(Fault::new("record is too long")),
                (LAST, Some(_)) => {
                    self.joined.extend_from_slice(fragment.data);
                    self.plain(compression, None)
                }
                (FULL | FIRST, Some(_)) => Err(Fault::new("a record begins before the one before it has ended")),
                (MIDDLE | LAST, None) => Err(Fault::new("a record continues that has not begun")),
                (other, _) => Err(Fault(format!("unknown kind of record part {other}"))),
            };
            let told = match whole {
                // An empty record says nothing.
                Ok([]) => Ok(()),
                Ok(record) => each(record)?,
                Err(fault) => Err(fault),
            };
            if let Err(Fault(reason)) = told {
                broken = Some(reason);
                break;
            }
            open = None;
            at = fragment.end;
        }
        if broken.is_none() && open.is_some() {
            broken = Some("last record is torn".to_owned());
        }
        Ok(match broken {
            Some(reason) => Err(Broken {
                at,
                from: open.map_or(at, |(from, _)| from),
                reason,
            }),
            None => Ok(()),
        })
    }

    /// The record in `data`, or in what was joined, uncompressed.
    fn plain<'a>(&'a mut self, compression: u8, data: Option<&'a [u8]>) -> Parsed<&'a [u8]> {
        let data = data.unwrap_or(&self.joined);
        if compression == 0 || data.is_empty() {
            return Ok(data);
        }
        if compression & SNAPPY != 0 {
            let len = snap::raw::decompress_len(data).map_err(|e| Fault(format!("snappy: {e}")))?;
            if len > data.len().saturating_mul(SNAPPY_RATIO).min(MAX_RECORD_BYTES) {
                return Err(Fault(format!("snappy: {} bytes cannot hold {len}", data.len())));
            }
            if self.plain.len() < len {
                self.plain.resize(len, 0);
            }
            let written = self
                .snappy
                .decompress(data, &mut self.plain)
                .map_err(|e| Fault(format!("snappy: {e}")))?;
            return Ok(self.plain.get(..written).unwrap_or_default());
        }
        self.plain.clear();
        let read = zstd::stream::read::Decoder::with_context(data, &mut self.zstd)
            .take(MAX_RECORD_BYTES as u64 + 1)
            .read_to_end(&mut self.plain)
            .map_err(|e| Fault(format!("zstd: {e}")))?;
        if read > MAX_RECORD_BYTES {
            return Err(Fault::new("record is too long"));
        }
        Ok(&self.plain)
    }
}

/// The fragment at `at`; `None` where the rest of the page, or of the file, is empty.
fn fragment(segment: &[u8], at: usize) -> Parsed<Option<Fragment<'_>>> {
    let rest = segment.get(at..).unwrap_or_default();
    let Some(kind) = rest.first().copied() else {
        return Ok(None);
    };
    if kind & PART == 0 {
        let page = (at + 1).next_multiple_of(PAGE) - at;
        let padding = rest.get(..page).unwrap_or(rest);
        return if padding.iter().all(|byte| *byte == 0) {
            Ok(None)
        } else {
            Err(Fault::new("the empty rest of a page is not empty"))
        };
    }
    let torn = || Fault::new("record is torn");
    let (header, data) = rest.split_first_chunk::<HEADER>().ok_or_else(torn)?;
    let [_, l0, l1, c0, c1, c2, c3] = *header;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    if len > PAGE - HEADER {
        return Err(Fault(format!("a record part of {len} bytes does not fit in a page")));
    }
    let data = data.get(..len).ok_or_else(torn)?;
    if crc32c::crc32c(data) != u32::from_be_bytes([c0, c1, c2, c3]) {
        return Err(Fault::new("checksum mismatch"));
    }
    Ok(Some(Fragment {
        kind,
        data,
        end: at + HEADER + len,
    }))
}
