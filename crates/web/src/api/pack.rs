//! Packing of answers, in the coding that the client takes.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{HeaderMap, HeaderValue};

use crate::assets::accepts;

// The fastest of the ordinary levels: answers are packed while somebody waits.
const ZSTD_LEVEL: i32 = 1;

/// A content coding. Prometheus has gzip and deflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Zstd,
    Gzip,
    Deflate,
}

impl Coding {
    /// The best that the client takes; `None` where it takes none.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        [Self::Zstd, Self::Gzip, Self::Deflate]
            .into_iter()
            .find(|coding| accepts(headers, coding.name()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// What `Content-Encoding` says.
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }
}

/// Packs what is written to it.
pub(crate) enum Packer {
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Deflate(Box<ZlibEncoder<Vec<u8>>>),
}

impl Packer {
    /// A packer whose output will be about `room` bytes.
    ///
    /// # Errors
    /// Where zstd gets no memory for its state.
    pub(crate) fn new(coding: Coding, room: usize) -> io::Result<Self> {
        let out = Vec::with_capacity(room);
        Ok(match coding {
            Coding::Zstd => Self::Zstd(Box::new(zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?)),
            Coding::Gzip => Self::Gzip(Box::new(GzEncoder::new(out, Compression::fast()))),
            // What HTTP calls deflate has zlib's header.
            Coding::Deflate => Self::Deflate(Box::new(ZlibEncoder::new(out, Compression::fast()))),
        })
    }

    /// Packs `bytes`; what is packed of them may come later.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Deflate(encoder) => encoder.write_all(bytes),
        }
    }

    /// What is packed and was not taken yet.
    pub(crate) fn packed(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Deflate(encoder) => encoder.get_mut(),
        }
    }

    /// The rest, with the end of the coding.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Deflate(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::read::{GzDecoder, ZlibDecoder};
    use http::header::ACCEPT_ENCODING;
    use std::io::Read as _;

    /// What was packed.
    pub(crate) fn unpacked(coding: Coding, packed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match coding {
            Coding::Zstd => plain = zstd::decode_all(packed).expect("zstd"),
            Coding::Gzip => drop(GzDecoder::new(packed).read_to_end(&mut plain).expect("gzip")),
            Coding::Deflate => drop(ZlibDecoder::new(packed).read_to_end(&mut plain).expect("zlib")),
        }
        plain
    }

    #[test]
    fn every_coding_gives_back_what_was_packed() {
        let text: Vec<u8> = (0..300_000_u64).map(|at| ((at * at) >> 9) as u8).collect();
        for coding in [Coding::Zstd, Coding::Gzip, Coding::Deflate] {
            let mut packer = Packer::new(coding, 16).unwrap();
            let mut packed = Vec::new();
            for part in text.chunks(70_000) {
                packer.write_all(part).unwrap();
                packed.append(packer.packed());
            }
            packed.append(&mut packer.finish().unwrap());
            assert!(packed.len() < text.len(), "{coding:?}");
            assert!(unpacked(coding, &packed) == text, "{coding:?}");
        }
    }

    #[test]
    fn the_client_chooses() {
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, deflate", Some(Coding::Gzip)),
            ("deflate", Some(Coding::Deflate)),
            ("zstd;q=0, gzip;q=0.1", Some(Coding::Gzip)),
            ("br", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(Coding::of(&headers), expected, "{accepted}");
        }
    }
}
