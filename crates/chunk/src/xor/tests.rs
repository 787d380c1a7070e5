use proptest::prelude::*;

use super::*;
use crate::ChunkError;

const EVERYTHING: (i64, i64) = (i64::MIN, i64::MAX);

fn encode(samples: &[(i64, f64)]) -> Vec<u8> {
    let mut appender = XorAppender::new();
    for (ts, value) in samples {
        appender.append(*ts, *value).unwrap();
    }
    appender.into_bytes()
}

fn decode(bytes: &[u8], range: (i64, i64)) -> Result<Vec<(i64, u64)>, ChunkError> {
    let (mut ts, mut values) = (Vec::new(), Vec::new());
    decode_into(bytes, range.0, range.1, &mut ts, &mut values)?;
    assert_eq!(ts.len(), values.len());
    Ok(ts.into_iter().zip(values.into_iter().map(f64::to_bits)).collect())
}

fn bits(samples: &[(i64, f64)]) -> Vec<(i64, u64)> {
    samples.iter().map(|(ts, value)| (*ts, value.to_bits())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

// The bytes were worked out by hand from the format, not printed by the encoder.
#[track_caller]
fn golden(samples: &[(i64, f64)], expected: &str) {
    let bytes = encode(samples);
    assert_eq!(hex(&bytes), expected);
    assert_eq!(decode(&bytes, EVERYTHING).unwrap(), bits(samples));
}

#[test]
fn bytes_are_those_of_the_format() {
    golden(&[], "00 00");
    // varint 1000 is d0 0f, 1.0 is 3ff0...
    golden(&[(1000, 1.0)], "00 01 d0 0f 3f f0 00 00 00 00 00 00 00");
    golden(&[(-1, -0.0)], "00 01 01 80 00 00 00 00 00 00 00 00");
    // From a block that promtool 2.42 made.
    golden(
        &[(1_700_000_000_000, 3.0)],
        "00 01 80 a0 ab fe f9 62 40 08 00 00 00 00 00 00 00",
    );
    // Same distance, same value: one bit each for the value, then two bits a sample.
    golden(
        &[(1000, 1.0), (1015, 1.0), (1030, 1.0)],
        "00 03 d0 0f 3f f0 00 00 00 00 00 00 0f 00",
    );
    // 1.0 ^ 2.0 = 7ff0...: 1 leading zero, 11 bits: 11 00001 001011 11111111111.
    golden(
        &[(1000, 1.0), (1015, 2.0)],
        "00 02 d0 0f 3f f0 00 00 00 00 00 00 0f c2 5f ff",
    );
    // Back to 1.0 in the same window: 0, then 10 and the 11 bits.
    golden(
        &[(1000, 1.0), (1015, 2.0), (1030, 1.0)],
        "00 03 d0 0f 3f f0 00 00 00 00 00 00 0f c2 5f ff 5f fc",
    );
    // All 64 bits differ from 0: width 64 is written as 0: 11 00000 000000 and 64 ones.
    let ones = f64::from_bits(u64::MAX);
    golden(
        &[(0, 0.0), (1, ones)],
        "00 02 00 00 00 00 00 00 00 00 00 01 c0 07 ff ff ff ff ff ff ff f8",
    );
}

#[test]
fn deltas_of_deltas_switch_width_where_upstream_switches() {
    let head = "00 03 00 00 00 00 00 00 00 00 00";
    for (dod, tail) in [
        // 0 for the second value, 10 and 14 bits, 0 for the third value.
        (1, "40 00 80"),
        (-1, "5f ff 80"),
        (8192, "50 00 00"),
        (-8191, "50 00 80"),
        // 0, 110 and 17 bits, 0.
        (8193, "61 00 08"),
        (65536, "68 00 00"),
        // 0, 1110 and 20 bits, 0.
        (65537, "70 80 00 80"),
        (524_288, "74 00 00 00"),
        // 0, 1111 and 64 bits, 0.
        (524_289, "78 00 00 00 00 00 40 00 08"),
    ] {
        // 2^20 as a distance is the uvarint 80 80 40, so that the delta never goes below zero.
        let delta = 1 << 20;
        golden(
            &[(0, 0.0), (delta, 0.0), (2 * delta + dod, 0.0)],
            &format!("{head} 80 80 40 {tail}"),
        );
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<u64>().prop_map(f64::from_bits),
        4 => (-1_000_000_i64..1_000_000).prop_map(|n| n as f64),
        4 => (-1_000_000_i64..1_000_000).prop_map(|n| n as f64 / 1000.0),
        2 => Just(42.0),
        1 => prop::sample::select(vec![
            0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, f64::MAX, f64::MIN,
            f64::from_bits(0x7ff0_0000_0000_0002), f64::from_bits(0x7ff8_0000_0000_0001), f64::from_bits(1),
        ]),
    ]
}

fn ascending() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let step = prop_oneof![5 => Just(15_000_i64), 3 => 14_990_i64..15_010, 2 => 1_i64..10_000_000, 1 => 1_i64..1 << 45];
    (-(1_i64 << 40)..1 << 41, prop::collection::vec((step, value()), 0..300)).prop_map(|(mut ts, steps)| {
        let mut samples = Vec::new();
        for (step, value) in steps {
            ts += step;
            samples.push((ts, value));
        }
        samples
    })
}

proptest! {
    #[test]
    fn samples_come_back_bit_for_bit(samples in ascending()) {
        let bytes = encode(&samples);
        prop_assert_eq!(decode(&bytes, EVERYTHING).unwrap(), bits(&samples));
        let walked: Result<Vec<_>, _> = XorCursor::new(&bytes).unwrap().collect();
        prop_assert_eq!(bits(&walked.unwrap()), bits(&samples));
    }

    #[test]
    fn any_timestamps_at_all_come_back(samples in prop::collection::vec((any::<i64>(), value()), 0..50)) {
        let bytes = encode(&samples);
        prop_assert_eq!(decode(&bytes, EVERYTHING).unwrap(), bits(&samples));
    }

    #[test]
    fn a_range_gives_what_filtering_gives(samples in ascending(), a in 0_usize..300, b in 0_usize..300) {
        let at = |i: usize| samples.get(i).map_or(0, |s| s.0);
        for range in [(at(a), at(b)), (at(a) + 1, at(b) - 1), (i64::MIN, at(b)), (at(a), i64::MAX)] {
            let kept: Vec<_> = samples.iter().copied().filter(|s| range.0 <= s.0 && s.0 <= range.1).collect();
            prop_assert_eq!(decode(&encode(&samples), range).unwrap(), bits(&kept));
        }
    }

    #[test]
    fn a_resumed_appender_goes_on_as_if_nothing_had_happened(samples in ascending(), cut in 0_usize..300) {
        let (first, second) = samples.split_at(cut.min(samples.len()));
        let mut resumed = XorAppender::resume(encode(first)).unwrap();
        prop_assert_eq!(resumed.last_ts(), first.last().map(|s| s.0));
        for (ts, value) in second {
            resumed.append(*ts, *value).unwrap();
        }
        prop_assert_eq!(usize::from(resumed.num_samples()), samples.len());
        prop_assert_eq!(resumed.bytes(), encode(&samples));
    }

    #[test]
    fn a_chunk_cut_short_or_too_long_is_refused(samples in ascending(), cut in 1_usize..20) {
        let mut bytes = encode(&samples);
        let short = decode(&bytes[..bytes.len().saturating_sub(cut)], EVERYTHING);
        // Only the empty byte that may stand at the end can go unnoticed.
        prop_assert!(short.is_err() || (cut == 1 && short == decode(&bytes, EVERYTHING)));
        bytes.extend([0, 0]);
        let too_long = decode(&bytes, EVERYTHING);
        prop_assert!(matches!(too_long, Err(ChunkError::TrailingBytes { left: 2 | 3 })), "{:?}", too_long);
        prop_assert!(XorAppender::resume(bytes).is_err());
    }
}

#[test]
fn decoding_adds_to_the_columns_and_an_error_leaves_them() {
    let bytes = encode(&[(1, 1.0), (2, 2.0), (3, 3.0)]);
    let (mut ts, mut values) = (vec![0], vec![0.5]);
    decode_into(&bytes, 2, 9, &mut ts, &mut values).unwrap();
    assert_eq!(
        (ts.as_slice(), values.as_slice()),
        ([0, 2, 3].as_slice(), [0.5, 2.0, 3.0].as_slice())
    );
    assert!(decode_into(&bytes[..bytes.len() - 2], 0, 9, &mut ts, &mut values).is_err());
    assert_eq!((ts.len(), values.len()), (3, 3));
}

#[test]
fn a_chunk_that_upstreams_resumed_appender_wrote_is_read() {
    // Upstream forgets that there was no window yet and then writes `10` and all 64 bits.
    let mut bytes = encode(&[(0, 0.0), (1, 0.0)]);
    bytes[1] = 3;
    // Behind the second value's 0: 0 for the time, 10, and 64 bits of 1.0.
    let mut free = 7;
    for (value, count) in [(0, 1), (0b10, 2), (1.0_f64.to_bits(), 64)] {
        crate::bits::write(&mut bytes, &mut free, value, count);
    }
    assert_eq!(
        decode(&bytes, EVERYTHING).unwrap(),
        bits(&[(0, 0.0), (1, 0.0), (2, 1.0)])
    );
}

#[test]
fn a_full_chunk_refuses_one_more_and_stays() {
    let mut appender = XorAppender::new();
    for ts in 0..i64::from(u16::MAX) {
        appender.append(ts, 0.0).unwrap();
    }
    let before = appender.bytes().to_vec();
    assert_eq!(appender.append(70_000, 0.0), Err(ChunkError::Full));
    assert_eq!(appender.bytes(), before);
    assert_eq!(decode(&before, EVERYTHING).unwrap().len(), 65_535);
    appender.clear();
    assert_eq!(
        (appender.bytes(), appender.last_ts(), appender.last_value()),
        ([0, 0].as_slice(), None, None)
    );
}

#[test]
fn no_bytes_make_a_decoder_panic_and_both_forms_agree() {
    let jitter: Vec<_> = (0..120_i64)
        .map(|i| (i * 15_000 + i % 7, (i as f64 * 0.37).sin()))
        .collect();
    let counter: Vec<_> = (0..120_i64).map(|i| (i * 1_000_000_000, i as f64)).collect();
    let corpus = [
        vec![],
        encode(&[]),
        encode(&[(5, 1.0)]),
        encode(&jitter),
        encode(&counter),
    ];
    cupola_testkit::fuzz(20_000, &corpus, &["\0", "\u{7f}"], |bytes| {
        let whole = decode(bytes, EVERYTHING);
        let walked: Result<Vec<_>, _> = XorCursor::new(bytes).and_then(Iterator::collect);
        assert_eq!(whole, walked.map(|samples| bits(&samples)));
        if let (Ok(samples), Ok(mut appender)) = (whole, XorAppender::resume(bytes.to_vec()))
            && appender.append(i64::MAX, 1.0).is_ok()
        {
            assert_eq!(decode(appender.bytes(), EVERYTHING).unwrap().len(), samples.len() + 1);
        }
    });
}
