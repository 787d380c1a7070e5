//! Records in pages.

use std::convert::Infallible;

use proptest::prelude::*;

use super::write::{Compression, Segment};
use crate::frame::{Broken, HEADER, PAGE, Records};

pub(super) fn read(segment: &[u8]) -> (Vec<Vec<u8>>, Result<(), Broken>) {
    let mut out = Vec::new();
    let Ok(end) = Records::new().read::<Infallible>(segment, &mut |record| {
        out.push(record.to_vec());
        Ok(Ok(()))
    });
    (out, end)
}

// Bytes that neither are all the same nor compress to nothing.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut mutator = cupola_testkit::Mutator::new(seed);
    (0..len).map(|_| mutator.next_u64() as u8).collect()
}

const ALL: [Compression; 3] = [Compression::None, Compression::Snappy, Compression::Zstd];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_come_back_whatever_their_length(
        list in prop::collection::vec((0_usize..3, prop_oneof![1_usize..60, PAGE - 40..PAGE + 40, 2 * PAGE..4 * PAGE], any::<u64>(), any::<bool>()), 0..12),
    ) {
        let mut segment = Segment::default();
        let mut expected = Vec::new();
        for (compression, len, seed, is_noise) in list {
            let record = if is_noise { noise(seed, len) } else { vec![seed as u8; len] };
            segment.put(&record, ALL[compression]);
            expected.push(record);
        }
        let (records, end) = read(&segment.0);
        prop_assert_eq!(&records, &expected);
        prop_assert_eq!(end, Ok(()));
    }
}

#[test]
fn records_end_just_before_at_and_after_the_end_of_a_page() {
    // The second record begins in what the first leaves of its page: nothing, too little for a header, a header only.
    for len in PAGE - 3 * HEADER..PAGE + 3 {
        let mut segment = Segment::default();
        let expected = vec![noise(len as u64, len), noise(1, 300), noise(2, 3 * PAGE)];
        for record in &expected {
            segment.put(record, Compression::None);
        }
        assert_eq!(read(&segment.0), (expected, Ok(())), "{len}");
    }
}

#[test]
fn the_empty_rest_of_a_page_is_skipped() {
    let mut segment = Segment::default();
    segment.put(b"one", Compression::None);
    segment.0.resize(2 * PAGE, 0);
    segment.put(b"two", Compression::Snappy);
    segment.0.resize(segment.0.len() + 50, 0);
    let expected = vec![b"one".to_vec(), b"two".to_vec()];
    assert_eq!(read(&segment.0), (expected, Ok(())));
    segment.0[PAGE + 3] = 1;
    let (records, end) = read(&segment.0);
    assert_eq!(records, [b"one"]);
    let broken = end.unwrap_err();
    assert_eq!((broken.at, broken.from), (PAGE, PAGE));
    assert_eq!(broken.reason, "the empty rest of a page is not empty");
}

#[test]
fn an_empty_record_says_nothing() {
    let mut segment = Segment::default();
    for kind in [0x01, 0x09, 0x11] {
        segment.fragment(kind, &[]);
    }
    segment.put(b"x", Compression::None);
    assert_eq!(read(&segment.0), (vec![b"x".to_vec()], Ok(())));
}

#[test]
fn wherever_a_segment_is_cut_the_records_before_are_there() {
    let expected: Vec<_> = [30, PAGE + 500, 20, 90].into_iter().map(|len| noise(9, len)).collect();
    for compression in ALL {
        let mut segment = Segment::default();
        let mut ends = vec![0];
        for record in &expected {
            segment.put(record, compression);
            ends.push(segment.0.len());
        }
        let cuts = (0..200)
            .chain(PAGE - 100..PAGE + 100)
            .chain(PAGE + 400..segment.0.len());
        for cut in cuts.filter(|cut| *cut <= segment.0.len()) {
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let (records, end) = read(&segment.0[..cut]);
            assert_eq!(records, expected[..whole], "{compression:?} {cut}");
            match end {
                Ok(()) => assert!(ends.contains(&cut), "{compression:?} {cut}"),
                Err(broken) => assert_eq!(broken.from, ends[whole], "{compression:?} {cut}"),
            }
        }
    }
}

#[test]
fn every_flipped_byte_is_noticed() {
    let expected: Vec<_> = [3, 300].into_iter().map(|len| noise(4, len)).collect();
    let mut segment = Segment::default();
    for record in &expected {
        segment.put(record, Compression::None);
    }
    for at in 0..segment.0.len() {
        let mut damaged = segment.0.clone();
        damaged[at] ^= 0x41;
        let (records, end) = read(&damaged);
        assert!(end.is_err(), "{at}");
        assert_eq!(records, expected[..records.len()], "{at}");
        assert_eq!(records.len(), usize::from(at >= 3 + HEADER), "{at}");
    }
}

#[track_caller]
fn check(parts: &[(u8, &[u8])], reason: &str, at: usize, from: usize) {
    let mut segment = Segment::default();
    segment.fragment(1, b"before");
    for (kind, part) in parts {
        segment.fragment(*kind, part);
    }
    let (records, end) = read(&segment.0);
    assert_eq!(records, [b"before"]);
    let broken = end.unwrap_err();
    let begin = 6 + HEADER;
    assert_eq!(broken.reason, reason);
    assert_eq!((broken.at, broken.from), (begin + at, begin + from));
}

#[test]
fn what_no_writer_writes_is_told() {
    let part = 1 + HEADER;
    check(&[(2, b"a")], "last record is torn", part, 0);
    check(&[(2, b"a"), (3, b"b")], "last record is torn", 2 * part, 0);
    let early = "a record begins before the one before it has ended";
    check(&[(2, b"a"), (1, b"b")], early, part, 0);
    check(&[(2, b"a"), (2, b"b")], early, part, 0);
    let late = "a record continues that has not begun";
    check(&[(3, b"a")], late, 0, 0);
    check(&[(4, b"a")], late, 0, 0);
    check(&[(5, b"a")], "unknown kind of record part 5", 0, 0);
    let mixed = "the parts of a record are compressed differently";
    check(&[(2, b"a"), (0x0c, b"b")], mixed, part, 0);
    check(&[(0x09, &[200, 1, 0])], "snappy: 3 bytes cannot hold 200", 0, 0);
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    check(&[(0x09, &huge)], "snappy: 6 bytes cannot hold 4294967295", 0, 0);
    let mut segment = Segment::default();
    segment.fragment(0x11, b"not zstd");
    let (records, end) = read(&segment.0);
    assert!(records.is_empty() && end.unwrap_err().reason.starts_with("zstd: "));
    let mut long = vec![1, 0x7f, 0xfa];
    long.resize(PAGE, 1);
    let reason = "a record part of 32762 bytes does not fit in a page";
    assert_eq!(read(&long).1.unwrap_err().reason, reason);
}

#[test]
fn no_bytes_make_it_panic() {
    let mut corpus = Vec::new();
    for compression in ALL {
        let mut segment = Segment::default();
        for len in [5, 100, 400] {
            segment.put(&vec![len as u8; len], compression);
        }
        corpus.push(segment.0);
    }
    cupola_testkit::fuzz(4000, &corpus, &["\0\0\0\0\0\0\0\0", "\u{1}", "\u{a}"], |bytes| {
        let (_, end) = read(bytes);
        if let Err(broken) = end {
            assert!(broken.from <= broken.at && broken.at <= bytes.len());
        }
    });
}
