//! Inflating a gzip body whole: the whole of it is there, so the fastest inflater applies.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use libdeflater::{DecompressionError, Decompressor};

use crate::NetError;

// Of a gzip member: its mark and the one method that there is.
const BEGIN: [u8; 3] = [0x1f, 0x8b, 8];

/// Inflates one or more gzip members; `limit` bounds the result.
pub(crate) fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, NetError> {
    if !body.starts_with(&BEGIN) {
        return Err(NetError::Gzip("invalid header"));
    }
    match may_have_members(body) {
        true => inflate_members(body, limit),
        false => inflate_one(body, limit),
    }
}

// Whether another member may begin behind the first one; by chance once in sixteen million bytes.
fn may_have_members(body: &[u8]) -> bool {
    let from = |at: usize| body.get(BEGIN.len() + at..).unwrap_or(&[]).iter();
    let all = from(0).zip(from(1)).zip(from(2));
    // Without stopping at the first, which takes sixteen bytes at a time.
    all.fold(false, |found, ((a, b), c)| found | ([*a, *b, *c] == BEGIN))
}

fn inflate_members(body: &[u8], limit: usize) -> Result<Vec<u8>, NetError> {
    let mut out = Vec::new();
    // One more tells that there is more.
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(body).take(most).read_to_end(&mut out);
    read.map_err(|_| NetError::Gzip("invalid data"))?;
    match out.len() > limit {
        true => Err(NetError::BodyLimit { limit }),
        false => Ok(out),
    }
}

// The inflater does not tell where it stopped.
fn inflate_one(body: &[u8], limit: usize) -> Result<Vec<u8>, NetError> {
    // The trailer tells the size modulo 2^32; it is a hint that a liar may set, so it is bounded.
    let hint = body.last_chunk::<4>().map_or(0, |n| u32::from_le_bytes(*n) as usize);
    let mut size = hint
        .clamp(4096, limit.max(4096))
        .min(body.len().saturating_mul(1032).max(4096));
    let mut decompressor = Decompressor::new();
    loop {
        let mut out = vec![0; size];
        match decompressor.gzip_decompress(body, &mut out) {
            Ok(len) if len > limit => return Err(NetError::BodyLimit { limit }),
            Ok(len) => {
                out.truncate(len);
                return Ok(out);
            }
            Err(DecompressionError::BadData) => return Err(NetError::Gzip("invalid data")),
            Err(DecompressionError::InsufficientSpace) if size > limit => return Err(NetError::BodyLimit { limit }),
            Err(DecompressionError::InsufficientSpace) => size = size.saturating_mul(2).min(limit.saturating_add(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libdeflater::{CompressionLvl, Compressor};

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(CompressionLvl::fastest());
        let mut out = vec![0; compressor.gzip_compress_bound(data.len())];
        let len = compressor.gzip_compress(data, &mut out).unwrap();
        out.truncate(len);
        out
    }

    #[test]
    fn bodies_inflate_up_to_the_limit() {
        let data = vec![b'a'; 100_000];
        let body = gzip(&data);
        assert_eq!(inflate(&body, 100_000).unwrap(), data);
        assert!(matches!(inflate(&body, 99_999), Err(NetError::BodyLimit { .. })));
    }

    #[test]
    fn all_members_of_a_body_are_read() {
        let (a, b) = (gzip(b"a 1\n"), gzip(b"b 2\n"));
        let read = |members: &[&[u8]]| inflate(&members.concat(), 1000).unwrap();
        assert_eq!(read(&[&a, &b]), b"a 1\nb 2\n");
        assert_eq!(read(&[&a, &a, &b, &a]), b"a 1\na 1\nb 2\na 1\n");
        assert_eq!(read(&[&a, &gzip(b"")]), b"a 1\n");
        let both = [a.clone(), b].concat();
        assert!(matches!(inflate(&both, 7), Err(NetError::BodyLimit { .. })));
        assert!(inflate(&both[..both.len() - 3], 1000).is_err());
        // A mark that is none lies in the data.
        let stored = [0x1f, 0x8b, 8].repeat(20);
        let mut compressor = Compressor::new(CompressionLvl::new(0).unwrap());
        let mut body = vec![0; compressor.gzip_compress_bound(stored.len())];
        let len = compressor.gzip_compress(&stored, &mut body).unwrap();
        assert_eq!(inflate(&body[..len], 1000).unwrap(), stored);
    }

    #[test]
    fn a_trailer_that_lies_about_the_size_changes_nothing() {
        let mut body = gzip(&vec![b'a'; 50_000]);
        let at = body.len() - 4;
        body[at..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(inflate(&body, 1 << 20).is_err());
        body[at..].copy_from_slice(&1_u32.to_le_bytes());
        assert!(inflate(&body, 1 << 20).is_err());
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(inflate(b"not gzip at all", 1000).is_err());
        assert!(inflate(b"", 1000).is_err());
    }

    #[test]
    fn no_body_makes_it_panic_or_grow_past_the_limit() {
        let corpus = vec![
            gzip(b"hello hello hello"),
            gzip(&vec![b'a'; 10_000]),
            [gzip(b"a"), gzip(b"b")].concat(),
        ];
        cupola_testkit::fuzz(5_000, &corpus, &[], |bytes| {
            if let Ok(out) = inflate(bytes, 20_000) {
                assert!(out.len() <= 20_000);
            }
        });
    }
}
