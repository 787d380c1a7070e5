//! Files of head chunks.

use std::convert::Infallible;

use cupola_chunk::Encoding;

use super::write::{self, Chunk};
use crate::frame::Broken;
use crate::head_chunks;

/// What was read, as the writer is told of it.
fn read(bytes: &[u8]) -> (Vec<Chunk>, Result<u64, Broken>) {
    let mut out = Vec::new();
    let Ok(end) = head_chunks::read::<Infallible>(bytes, 7, &mut |chunk| {
        assert_eq!(chunk.chunk_ref.file(), 7);
        out.push(Chunk {
            series_ref: chunk.series_ref.0,
            mint: chunk.mint,
            maxt: chunk.maxt,
            encoding: chunk.encoding.as_byte() | u8::from(chunk.is_out_of_order) << 7,
            bytes: chunk.bytes.to_vec(),
        });
        Ok(Ok(()))
    });
    (out, end)
}

fn chunk(series_ref: u64, encoding: u8) -> Chunk {
    Chunk {
        series_ref,
        mint: -5,
        maxt: i64::MAX,
        encoding,
        bytes: vec![encoding; 200],
    }
}

fn three() -> [Chunk; 3] {
    let histogram = Encoding::Histogram.as_byte();
    [chunk(1, 1), chunk(u64::MAX, 1 | 0x80), chunk(3, histogram | 0x80)]
}

#[test]
fn chunks_come_back_and_the_room_behind_them_is_empty() {
    for zeros in [0, 1, 10, 24, 100_000] {
        let (mut bytes, _) = write::head_chunks(&three());
        bytes.resize(bytes.len() + zeros, 0);
        assert_eq!(read(&bytes), (three().to_vec(), Ok(0)), "{zeros}");
    }
}

#[test]
fn an_unknown_encoding_is_skipped_and_counted() {
    let (bytes, _) = write::head_chunks(&[chunk(1, 1), chunk(2, 77), chunk(3, 1)]);
    assert_eq!(read(&bytes), (vec![chunk(1, 1), chunk(3, 1)], Ok(1)));
}

#[test]
fn wherever_a_file_is_cut_or_flipped_the_chunks_before_are_there() {
    let (bytes, places) = write::head_chunks(&three());
    for cut in 0..bytes.len() {
        let (chunks, end) = read(&bytes[..cut]);
        let whole = places.iter().skip(1).filter(|place| **place <= cut).count();
        assert_eq!(chunks, three()[..whole], "{cut}");
        let from = if cut < 8 { 0 } else { places[whole] };
        // The first bytes of a small ref are zeros, as the room behind the last chunk is.
        if cut >= 8 && bytes[from..cut].iter().all(|byte| *byte == 0) {
            assert_eq!(end, Ok(0), "{cut}");
        } else {
            assert_eq!(end.unwrap_err().at, from, "{cut}");
        }
    }
    for at in (0..5).chain(8..bytes.len()) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        let (chunks, end) = read(&damaged);
        let whole = places.iter().skip(1).filter(|place| **place <= at).count();
        assert_eq!(chunks, three()[..whole], "{at}");
        assert!(end.is_err(), "{at}");
    }
}

#[test]
fn files_of_something_else_are_told() {
    let check = |bytes: &[u8], reason: &str| assert_eq!(read(bytes).1.unwrap_err().reason, reason);
    check(b"", "4 bytes expected, 0 left");
    check(
        b"\x85\xbd\x40\xdd\x01\0\0\0",
        "not a head chunk file: it begins with 85bd40dd",
    );
    check(b"\x01\x30\xbc\x91\x02\0\0\0", "head chunk format 2 is not known");
}

#[test]
fn no_bytes_make_it_panic() {
    let corpus = [write::head_chunks(&three()).0, write::head_chunks(&[chunk(1, 1)]).0];
    cupola_testkit::fuzz(10_000, &corpus, &["\0\0\0\0\0\0\0\0", "\u{7f}\u{7f}"], |bytes| {
        let _ = read(bytes);
    });
}
