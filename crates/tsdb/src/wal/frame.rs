//! Frames: how records lie in a file, so that a torn or damaged one is noticed.
//!
//! `[u32 LE stored length][u32 LE CRC32C of kind and payload][u8 kind][payload]`, kind 0 plain, 1 zstd.

use std::io;

/// Bytes before the payload.
pub(crate) const HEADER: usize = 9;
// A frame larger than this is not ours: refuse it before allocating.
const MAX_FRAME: usize = 256 << 20;
// Nor is a record: a batch is far smaller.
const MAX_RECORD: usize = 1 << 30;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
// Below this a frame's own header outweighs what compression saves.
const COMPRESS_FROM: usize = 128;
const LEVEL: i32 = 1;

// After a larger record the buffer is given back.
const KEPT: usize = 16 << 20;

/// Writes frames, with one compressor for all of them.
pub(crate) struct Writer {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    compressed: Vec<u8>,
    /// Bytes of the longest record that is taken; what is longer nobody would read.
    pub longest: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            zstd: None,
            compressed: Vec::new(),
            longest: MAX_FRAME,
        }
    }
}

impl Writer {
    /// Appends `record` as one frame to `out`.
    ///
    /// # Errors
    /// Where it is longer than what is read again.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, record: &[u8]) -> io::Result<()> {
        if record.len() > self.longest {
            let text = format!(
                "a batch takes {} bytes in the log, more than {} cannot be read again; send less at a time",
                record.len(),
                self.longest
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        put(out, record, self.compress(record));
        give_back(&mut self.compressed);
        Ok(())
    }

    // `None` where compressing does not make it shorter, or fails.
    fn compress(&mut self, record: &[u8]) -> Option<&[u8]> {
        if record.len() < COMPRESS_FROM {
            return None;
        }
        if self.zstd.is_none() {
            self.zstd = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(record.len()));
        let length = self.zstd.as_mut()?.compress_to_buffer(record, &mut self.compressed);
        length
            .is_ok_and(|length| length < record.len())
            .then_some(&*self.compressed)
    }
}

/// Empties a buffer for the next record, and frees it where it has become very large.
pub(crate) fn give_back(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT);
}

fn put(out: &mut Vec<u8>, record: &[u8], compressed: Option<&[u8]>) {
    let (kind, payload) = compressed.map_or((PLAIN, record), |small| (ZSTD, small));
    let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), payload);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(payload);
}

/// What lies at the start of `bytes`.
pub(crate) enum Frame {
    /// A whole record, and how many bytes its frame took.
    Record(Vec<u8>, usize),
    /// Nothing more.
    End,
    /// Something that is no whole frame: a torn write or damage.
    Broken(&'static str),
}

/// Reads frames, with one decompressor for all of them.
#[derive(Default)]
pub(crate) struct Reader {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Reader {
    /// Reads the frame at the start of `bytes`.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Frame {
        take(bytes, &mut |compressed| {
            let zstd = match &mut self.zstd {
                Some(zstd) => zstd,
                none => none.insert(zstd::bulk::Decompressor::new().ok()?),
            };
            zstd.decompress(compressed, MAX_RECORD).ok()
        })
    }
}

fn take(bytes: &[u8], decompress: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>) -> Frame {
    if bytes.is_empty() {
        return Frame::End;
    }
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else {
        return Frame::Broken("frame header is cut off");
    };
    let word = |at: usize| {
        header[at..at + 4]
            .iter()
            .rev()
            .fold(0_u32, |n, b| n << 8 | u32::from(*b))
    };
    let (len, crc, kind) = (word(0) as usize, word(4), header[8]);
    if len > MAX_FRAME {
        return Frame::Broken("frame length is not plausible");
    }
    let Some(payload) = rest.get(..len) else {
        return Frame::Broken("frame is cut off");
    };
    if crc32c::crc32c_append(crc32c::crc32c(&[kind]), payload) != crc {
        return Frame::Broken("checksum mismatch");
    }
    let record = match kind {
        PLAIN => payload.to_vec(),
        ZSTD => match decompress(payload) {
            Some(record) => record,
            None => return Frame::Broken("zstd data is damaged"),
        },
        _ => return Frame::Broken("unknown frame kind"),
    };
    Frame::Record(record, HEADER + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back() {
        let mut file = Vec::new();
        let mut writer = Writer::default();
        for record in [vec![1, 2, 3], vec![7; 5000], vec![]] {
            writer.put(&mut file, &record).unwrap();
        }
        let mut rest = file.as_slice();
        for expected in [vec![1, 2, 3], vec![7; 5000], vec![]] {
            let Frame::Record(record, used) = Reader::default().take(rest) else {
                panic!("no record")
            };
            assert_eq!(record, expected);
            rest = &rest[used..];
        }
        assert!(matches!(Reader::default().take(rest), Frame::End));
    }

    #[test]
    fn every_torn_end_and_every_flipped_byte_is_noticed() {
        let mut file = Vec::new();
        Writer::default().put(&mut file, &[9; 300]).unwrap();
        for len in 1..file.len() {
            assert!(
                matches!(Reader::default().take(&file[..len]), Frame::Broken(_)),
                "{len}"
            );
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert!(matches!(Reader::default().take(&damaged), Frame::Broken(_)), "{at}");
        }
    }
}
