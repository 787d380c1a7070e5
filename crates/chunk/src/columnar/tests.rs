use proptest::prelude::*;

use super::*;

const EVERYTHING: (i64, i64) = (i64::MIN, i64::MAX);
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

fn encoded(ts: &[i64], values: &[f64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(ts, values, &mut bytes).unwrap();
    bytes
}

fn decoded(bytes: &[u8], range: (i64, i64)) -> Result<Vec<(i64, u64)>, ChunkError> {
    let (mut ts, mut values) = (Vec::new(), Vec::new());
    let read = decode(bytes, range.0, range.1, &mut ts, &mut values);
    assert_eq!(ts.len(), values.len());
    read.map(|()| ts.into_iter().zip(values.into_iter().map(f64::to_bits)).collect())
}

fn bits(ts: &[i64], values: &[f64]) -> Vec<(i64, u64)> {
    ts.iter().copied().zip(values.iter().map(|v| v.to_bits())).collect()
}

// What a column of values is in the form for columns that are kept, and what is read from it.
fn coded(values: &[f64]) -> (Vec<u8>, Vec<u64>) {
    let (mut bytes, mut back) = (Vec::new(), Vec::new());
    encode_values_coded(values, &mut bytes).unwrap();
    assert_eq!(
        decode_values(&bytes, values.len() as u16, &mut back).unwrap(),
        bytes.len()
    );
    (bytes, back.into_iter().map(f64::to_bits).collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn times(ts: &[i64], expected: &str) {
    let (mut bytes, mut back) = (Vec::new(), Vec::new());
    encode_times(ts, &mut bytes).unwrap();
    assert_eq!(hex(&bytes), expected);
    assert_eq!(decode_times(&bytes, ts.len() as u16, &mut back).unwrap(), bytes.len());
    assert_eq!(back, ts);
}

#[track_caller]
fn values(values: &[f64], expected: &str) {
    let (mut bytes, mut back) = (Vec::new(), Vec::new());
    encode_values(values, &mut bytes).unwrap();
    assert_eq!(hex(&bytes), expected);
    assert_eq!(
        decode_values(&bytes, values.len() as u16, &mut back).unwrap(),
        bytes.len()
    );
    let back: Vec<_> = back.into_iter().map(f64::to_bits).collect();
    assert_eq!(back, values.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
}

// The bytes follow from docs/format/columnar.md. In the first one: 0-1 model, 2-3 patches, 10 shift, 20 reference, 40 width.
#[test]
fn bytes_of_times_are_those_of_the_format() {
    times(&[], "");
    // Flat, nothing else: all are the first one. Varints are zigzag: 5 is 0a.
    times(&[5], "00 0a");
    times(&[7; 9], "00 0e");
    // Delta with a reference of 15 and no bits.
    times(&[1000, 1015, 1030, 1045], "22 d0 0f 1e");
    // Delta, reference 14,997, 3 bits: 4 5 0 5 2 5 0 4.
    times(
        &[0, 15001, 30003, 45000, 60002, 75001, 90003, 105_000, 120_001],
        "62 00 aa ea 01 03 2c aa 82",
    );
    // Delta of delta: first difference 1, reference 1, no bits.
    times(&[0, 1, 3, 6, 10, 15, 21, 28, 36, 45], "23 00 02 02");
    // Flat, 2 bits: 0 3 1 3, 0 2 1 0, 3 2 0 1.
    times(&[0, 3, 1, 3, 0, 2, 1, 0, 3, 2, 0, 1], "40 00 02 dc 18 4b");
    // A line with a step of 100, 1 bit: every third is late by 1.
    let late: Vec<i64> = (0..24).map(|n| n * 100 + i64::from(n % 3 == 1)).collect();
    times(&late, "41 00 c8 01 01 92 24 49");
    // A list of patches: 1 of them, position 12 in 5 bits, 8 bits: -113 is zigzag e1.
    let reset: Vec<i64> = (0..20).map(|n| if n < 13 { 100 + n } else { n - 13 }).collect();
    times(&reset, "26 c8 01 02 01 0c 08 e1");
    // A shift of 2 and a bitmap of patches: the differences 2, 5, 11, 17 and 19 are 175 << 2, zigzag 350 in 9 bits.
    let burst: Vec<i64> = (0..25)
        .map(|n| [3, 6, 12, 18, 20].iter().filter(|at| n >= **at).count() as i64 * 7 * 100)
        .collect();
    times(&burst, "1a 00 02 24 08 0a 09 5e bd 7a f5 ea 15");
    // A shift of 12: 0 1 0 3 2.
    times(&[4096, 8192, 4096, 16384, 12288], "50 80 40 0c 02 c4 02");
    times(
        &[i64::MIN, i64::MAX, 0],
        "23 ff ff ff ff ff ff ff ff ff 01 01 fb ff ff ff ff ff ff ff ff 01",
    );
}

// In the first byte: 0-4 exponent or 1f for patterns, 5-6 patches.
#[test]
fn bytes_of_values_are_those_of_the_format() {
    values(&[], "");
    values(&[42.0; 5], "00 00 54");
    // Hundredths: 50, 75, 125; delta of delta.
    values(&[0.5, 0.75, 1.25], "02 23 64 32 32");
    // Tenths with a bitmap of patches: place 1 has code 0; 15 20 25 30 is a delta of 5.
    values(&[1.5, STALE, 2.5, 3.0], "41 02 00 22 1e 0a");
    // The codes 2, raw, 3, 4, raw; then sixteen times 1.
    let mut odd = [1.0; 16];
    odd[1..6].copy_from_slice(&[
        -0.0,
        f64::from_bits(0x7ff8_0000_0000_0000),
        f64::INFINITY,
        f64::NEG_INFINITY,
        1.0 / 3.0,
    ]);
    values(
        &odd,
        "40 3e 00 02 ff 00 00 00 00 00 00 f8 7f 03 04 ff 55 55 55 55 55 55 d5 3f 00 02",
    );
    // A list: 1, place 40 of 64.
    let mut stale = [0.0; 64];
    stale[40] = STALE;
    values(&stale, "20 01 28 00 00 00");
    values(&[STALE; 3], "1f 00 84 80 80 80 80 80 80 f0 ff 01");
    values(
        &[-1.0 / 3.0, 1.0 / 3.0],
        "1f 22 ab d5 aa d5 aa d5 aa d5 7f d6 aa d5 aa d5 aa d5 aa ff 01",
    );
}

#[track_caller]
fn read_times(bytes: &[u8], count: u16) -> Result<Vec<i64>, String> {
    let mut back = Vec::new();
    let taken = decode_times(bytes, count, &mut back).map_err(|e| e.to_string())?;
    assert_eq!(taken, bytes.len());
    Ok(back)
}

// Made by hand from docs/format/columnar.md; 82 is delta and coded, c0 to c2 are runs.
#[test]
fn coded_columns_and_runs_are_read_as_the_format_has_them() {
    // 32 states, no detail, symbols 0 and 1 with 16 shares each, in nine bits; the states 24 16 16 0, and a bit to the next.
    let coded = [0x82, 0x14, 0x05, 0x00, 0x30, 0x60, 0x60, 0x08, 0x01];
    assert_eq!(read_times(&coded, 6), Ok(vec![10, 10, 11, 12, 12, 13]));
    // Two residuals need no bits behind their states, and none need no states.
    assert_eq!(read_times(&coded[..8], 3), Ok(vec![10, 10, 11]));
    assert_eq!(read_times(&coded[..7], 1), Ok(vec![10]));
    // A shift of 2 and a reference of 7: differences of 28 and 32.
    let shifted = [0xb2, 0x14, 0x02, 0x0e, 0x05, 0x00, 0x30, 0x60, 0x60, 0x08, 0x01];
    assert_eq!(read_times(&shifted, 6), Ok(vec![10, 38, 70, 102, 130, 162]));
    // Runs: no change, a list with the change to place 3, a bitmap with it.
    assert_eq!(read_times(&[0xc0, 0x00, 0x0a], 4), Ok(vec![5; 4]));
    assert_eq!(
        read_times(&[0xc1, 0x01, 0x02, 0x22, 0x0a, 0x08], 5),
        Ok(vec![5, 5, 5, 9, 9])
    );
    assert_eq!(read_times(&[0xc2, 0x04, 0x22, 0x0a, 0x08], 5), Ok(vec![5, 5, 5, 9, 9]));
    // Of coded ones.
    let runs = [&[0xc2, 0x97], coded.as_slice()].concat();
    assert_eq!(read_times(&runs, 9), Ok(vec![10, 10, 11, 12, 12, 12, 12, 12, 13]));
}

#[test]
fn coded_columns_that_no_writer_makes_are_refused() {
    let coded = |table: u8, rest: &[u8]| read_times(&[&[0x82, 0x14, table], rest].concat(), 6);
    let rest = [0x00, 0x30, 0x60, 0x60, 0x08, 0x01];
    assert!(coded(0x05, &rest).is_ok());
    let refused = |read: Result<Vec<i64>, String>, told: &str| {
        let error = read.expect_err(told);
        assert!(error.contains(told), "{error}");
    };
    refused(coded(0x04, &rest), "table of a column");
    refused(coded(0x0a, &rest), "table of a column");
    refused(coded(0x45, &rest), "table of a column");
    // The symbol 48 would have 47 low bits.
    refused(coded(0x05, &[0x60, 0x30, 0x60, 0x60, 0x08, 0x01]), "symbol of a column");
    refused(
        coded(0x05, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x02, 0x30]),
        "symbol of a column",
    );
    // Shares of 16 and 18, and a number of more than sixteen zeros.
    refused(coded(0x05, &[0x00, 0x30, 0xe0, 0x60, 0x08, 0x01]), "shares of a column");
    refused(coded(0x05, &[0x00, 0x00, 0x00, 0x00, 0x08]), "shares of a column");
    for len in 0..rest.len() {
        refused(coded(0x05, &rest[..len]), "bytes");
    }
    refused(read_times(&[0x86, 0x14, 0x05, 0, 0], 6), "kind of a column");
    refused(read_times(&[0xc3, 0, 0, 0], 6), "form of patches");
    refused(read_times(&[0xc4, 0, 0, 0], 6), "form of patches");
    refused(read_times(&[0xc0, 0xc0, 0x00, 0x0a], 6), "kind of a column");
    refused(
        read_times(&[0xc1, 0x02, 0x0a, 0x22, 0x0a, 0x08], 5),
        "position of a patch",
    );
}

fn shaped(most_samples: usize) -> impl Strategy<Value = Vec<f64>> {
    let special = prop::sample::select(vec![
        0.0,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
        f64::NAN,
        STALE,
        f64::from_bits(0x7ff8_0000_0000_0001),
        f64::from_bits(1),
        9_007_199_254_740_991.0,
        9_007_199_254_740_993.0,
        -9_007_199_254_740_992.0,
        4_503_599_627_370_497.0,
        2_251_799_813_685_249.0,
        1e22,
        1e-22,
        0.1 + 0.2,
    ]);
    let start = prop_oneof![-1_000_i64..1000, -(1_i64 << 50)..1 << 50, any::<i64>()];
    let most = prop::sample::select(vec![0_i64, 1, 7, 250, 100_000, 1 << 33, 1 << 52]);
    let seldom = prop::sample::select(vec![1_usize, 1, 9, 60]);
    let step = prop::sample::select(vec![0_i64, 0, 15, -3, 4096]);
    let power = prop::sample::select(vec![1.0, 1.0, 10.0, 100.0, 1e3, 1e9, 3.0, 1.0 / 4096.0]);
    let patches = prop_oneof![
        3 => Just(Vec::new()),
        3 => prop::collection::vec((any::<prop::sample::Index>(), special.clone()), 0..4),
        1 => prop::collection::vec((any::<prop::sample::Index>(), special), 0..200),
        1 => prop::collection::vec((any::<prop::sample::Index>(), any::<u64>().prop_map(f64::from_bits)), 0..200),
    ];
    let noise = prop::collection::vec(any::<u64>(), 1..most_samples);
    ((start, most, seldom, step), (power, any::<bool>()), patches, noise).prop_map(
        |((start, most, seldom, step), (power, is_counter), patches, noise)| {
            let mut int = start;
            let mut values: Vec<f64> = noise
                .iter()
                .enumerate()
                .map(|(n, noise)| {
                    let more = match n % seldom {
                        0 => (noise % (most as u64 + 1)) as i64 - if is_counter { 0 } else { most / 2 },
                        _ => 0,
                    };
                    int = int.wrapping_add(step).wrapping_add(more);
                    int as f64 / power
                })
                .collect();
            for (place, patch) in patches {
                *place.get_mut(&mut values) = patch;
            }
            values
        },
    )
}

fn scraped(len: usize) -> impl Strategy<Value = Vec<i64>> {
    let jitter = prop_oneof![
        3 => Just(0_i64..1), 3 => Just(0_i64..5), 1 => Just(-40_000_i64..40_000), 1 => Just(i64::MIN..i64::MAX),
    ];
    jitter.prop_flat_map(move |jitter| {
        (any::<i64>(), prop::collection::vec(jitter, len)).prop_map(|(start, jitter)| {
            (0_i64..)
                .zip(jitter)
                .map(|(n, jitter)| start.wrapping_add(n * 15_000).wrapping_add(jitter))
                .collect()
        })
    })
}

fn samples() -> impl Strategy<Value = (Vec<i64>, Vec<f64>)> {
    shaped(400).prop_flat_map(|values| (scraped(values.len()), Just(values)))
}

proptest! {
    #[test]
    fn samples_come_back_bit_for_bit((ts, values) in samples()) {
        let bytes = encoded(&ts, &values);
        prop_assert_eq!(num_samples(&bytes), Ok(ts.len() as u16));
        prop_assert_eq!(decoded(&bytes, EVERYTHING).unwrap(), bits(&ts, &values));
        // A column takes at most 64 bits each and its fields: two tags, three varints, shift and width.
        prop_assert!(bytes.len() <= 2 + 2 * (34 + 8 * ts.len()), "{} bytes for {}", bytes.len(), ts.len());
    }

    #[test]
    fn coded_columns_come_back_bit_for_bit(values in shaped(1500)) {
        let (bytes, back) = coded(&values);
        prop_assert_eq!(back, values.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        let mut packed = Vec::new();
        encode_values(&values, &mut packed).unwrap();
        prop_assert!(bytes.len() <= packed.len() + packed.len() / 16, "{} bytes, packed {}", bytes.len(), packed.len());
        for cut in 1..bytes.len().min(20) {
            prop_assert!(decode_values(&bytes[..bytes.len() - cut], values.len() as u16, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn any_bits_at_all_come_back(samples in prop::collection::vec((any::<i64>(), any::<u64>()), 0..300)) {
        let (ts, values): (Vec<_>, Vec<_>) = samples.into_iter().map(|(t, v)| (t, f64::from_bits(v))).unzip();
        prop_assert_eq!(decoded(&encoded(&ts, &values), EVERYTHING).unwrap(), bits(&ts, &values));
    }

    #[test]
    fn a_range_gives_what_xor_gives((ts, values) in samples(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let mut xor = crate::XorAppender::new();
        for (ts, value) in ts.iter().zip(&values) {
            xor.append(*ts, *value).unwrap();
        }
        for range in [(*a.get(&ts), *b.get(&ts)), (*b.get(&ts), i64::MAX), (i64::MIN, *a.get(&ts))] {
            let (mut xor_ts, mut xor_values) = (Vec::new(), Vec::new());
            crate::decode_into(xor.bytes(), range.0, range.1, &mut xor_ts, &mut xor_values).unwrap();
            let expected = bits(&xor_ts, &xor_values);
            prop_assert_eq!(decoded(&encoded(&ts, &values), range).unwrap(), expected.clone());
            let (mut column, mut read_ts, mut read_values) = (Vec::new(), vec![7], vec![7.0]);
            encode_values(&values, &mut column).unwrap();
            decode_with_times(&ts, &column, range.0, range.1, &mut read_ts, &mut read_values).unwrap();
            prop_assert_eq!(&bits(&read_ts, &read_values)[1..], &*expected);
            column.push(0);
            let longer = decode_with_times(&ts, &column, range.0, range.1, &mut read_ts, &mut read_values);
            prop_assert_eq!(longer.is_err(), !expected.is_empty());
            prop_assert_eq!(read_values.len(), 1 + expected.len());
        }
    }

    #[test]
    fn a_chunk_cut_short_or_too_long_is_refused((ts, values) in samples(), cut in 1_usize..20) {
        let mut bytes = encoded(&ts, &values);
        prop_assert!(decoded(&bytes[..bytes.len().saturating_sub(cut)], EVERYTHING).is_err());
        bytes.extend([0, 0]);
        prop_assert_eq!(decoded(&bytes, EVERYTHING), Err(ChunkError::TrailingBytes { left: 2 }));
    }
}

#[test]
fn decoding_adds_to_the_columns_and_an_error_leaves_them() {
    let bytes = encoded(&[1, 2, 3], &[1.0, 2.0, 3.5]);
    let (mut ts, mut values) = (vec![0], vec![0.5]);
    decode(&bytes, 2, 9, &mut ts, &mut values).unwrap();
    assert_eq!(
        (ts.as_slice(), values.as_slice()),
        ([0, 2, 3].as_slice(), [0.5, 2.0, 3.5].as_slice())
    );
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len], 0, 9, &mut ts, &mut values).is_err(), "{len}");
        assert_eq!((ts.len(), values.len()), (3, 3));
    }
}

#[test]
fn columns_of_all_lengths_come_back_and_too_long_ones_are_refused() {
    for len in [0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 1024, 65_535] {
        let ts: Vec<i64> = (0..len).map(|n| n * 15_000 + n * n % 5).collect();
        let values: Vec<f64> = (0..len).map(|n| (n * n % 1001) as f64 / 100.0).collect();
        assert_eq!(decoded(&encoded(&ts, &values), EVERYTHING).unwrap(), bits(&ts, &values));
    }
    let mut out = vec![1];
    assert_eq!(encode(&[0; 65_536], &[0.0; 65_536], &mut out), Err(ChunkError::Full));
    assert!(matches!(
        encode(&[0; 2], &[0.0; 3], &mut out),
        Err(ChunkError::Malformed { sample: 2, .. })
    ));
    assert_eq!(out, [1]);
}

// What is written of a column in the form for columns that are kept: packed (0), coded (80) or runs (c0), and bytes.
#[track_caller]
fn is_kept_as(values: &[f64], kind: u8, at_most: usize) {
    let (bytes, back) = coded(values);
    assert_eq!(back, values.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
    let found = if bytes[1] < 0x80 { 0 } else { bytes[1] & 0xc0 };
    assert_eq!(found, kind, "{}", hex(&bytes));
    assert!(bytes.len() <= at_most, "{} bytes", bytes.len());
}

#[test]
fn columns_that_are_kept_take_what_their_values_tell() {
    let mut random = cupola_testkit::Mutator::new(5);
    let mut below = |n: usize| random.below(n) as f64;
    let mut last = 0.0;
    // A gauge that stays as it is in half of the scrapes: a bit for each, and 14 for those that change.
    let gauge: Vec<f64> = (0..1000)
        .map(|_| {
            if below(2) == 0.0 {
                last = below(16_384);
            }
            last
        })
        .collect();
    let changed = gauge.windows(2).filter(|two| two[0] != two[1]).count();
    is_kept_as(&gauge, 0xc0, (1000 + 14 * (1 + changed)) / 8 + 10);
    // A counter of which an eighth of the scrapes sees one event: 0.54 bits each.
    let mut counter = |shares: usize, step: usize| -> Vec<f64> {
        let mut last = 1e6;
        let mut next = || {
            if below(shares) == 0.0 {
                last += 1.0 + below(step);
            }
            last
        };
        (0..1000).map(|_| next()).collect()
    };
    is_kept_as(&counter(8, 1), 0x80, 90);
    // A step of 1 to 100 in a third of them: 0.92 bits to know which, and 6.64 for a third.
    is_kept_as(&counter(3, 100), 0x80, 3132 / 8 + 40);
    // A reset costs some bytes and no more.
    let mut reset = counter(3, 100);
    let at_reset = reset[700];
    reset[700..].iter_mut().for_each(|value| *value -= at_reset);
    is_kept_as(&reset, 0x80, 3132 / 8 + 50);
    // Nothing is gained where all steps are as likely, or where there is nothing to tell.
    is_kept_as(&counter(1, 256), 0x00, 1020);
    is_kept_as(&[1.5; 1000], 0x00, 3);
}

// How many bytes a column of values takes without what it holds from the first: a limit that a worse choice breaks.
#[track_caller]
fn takes(values: &[f64], at_most: usize) {
    let mut bytes = Vec::new();
    encode_values(values, &mut bytes).unwrap();
    assert!(bytes.len() <= at_most, "{} bytes: {}", bytes.len(), hex(&bytes));
}

#[test]
fn one_that_does_not_fit_costs_a_patch_and_not_a_width() {
    let jitter = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
    let counted = |n: u64| (n * 1000 + jitter(n)) as f64 / 100.0;
    let counter: Vec<f64> = (0..120).map(counted).collect();
    // Three or four bits each.
    takes(&counter, 75);
    let reset: Vec<f64> = (0..120).map(|n| counted(if n < 70 { n } else { n - 70 })).collect();
    takes(&reset, 75 + 10);
    let mut stale = counter.clone();
    stale[30] = STALE;
    takes(&stale, 75 + 5);
    let mut odd = counter;
    odd[30] = 1.0 / 3.0;
    takes(&odd, 75 + 12);
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    let ts: Vec<i64> = (0..120).map(|n| n * 15_000 + n * n % 5).collect();
    let run = |value: fn(i64) -> f64| encoded(&ts, &(0..120).map(value).collect::<Vec<_>>());
    let kept = |value: fn(i64) -> f64| {
        let values: Vec<f64> = (0..120).map(value).collect();
        let mut chunk = 120_u16.to_be_bytes().to_vec();
        encode_times(&ts, &mut chunk).unwrap();
        chunk.extend(coded(&values).0);
        chunk
    };
    let corpus = [
        vec![],
        encoded(&[], &[]),
        encoded(&[5], &[1.0]),
        run(|n| n as f64),
        run(|n| (n as f64 * 0.37).sin()),
        run(|n| (n * n % 101) as f64 / 100.0),
        run(|n| (n / 9) as f64),
        run(|n| if n % 7 == 3 { STALE } else { (n * n) as f64 * 4096.0 }),
        run(|n| if n == 50 { 1.0 / 3.0 } else { -((n * n) as f64) }),
        // Coded with all kinds of symbols, with few, with an exponent and patches; runs of either.
        kept(|n| (n * n * n % 1009) as f64),
        kept(|n| (n + i64::from(n * n % 7 == 1)) as f64 * if n > 80 { 1e9 } else { 1.0 }),
        kept(|n| {
            if n == 9 {
                STALE
            } else {
                (n * 1200 + n * n % 59) as f64 / 100.0
            }
        }),
        kept(|n| ((n / 3) * (n / 3) % 1009) as f64),
        kept(|n| ((n / 16) % 3 * 1_000_000) as f64 * 1.1),
        encoded(&[i64::MIN, i64::MAX, 0, 3], &[f64::MAX, f64::MIN, 0.0, 1.0]),
    ];
    cupola_testkit::fuzz(40_000, &corpus, &["\0", "\u{7f}", "\u{1f}"], |bytes| {
        let (mut ts, mut values) = (Vec::new(), Vec::new());
        if decode(bytes, i64::MIN, i64::MAX, &mut ts, &mut values).is_ok() {
            // Whatever was read can be written.
            let back = decoded(&encoded(&ts, &values), EVERYTHING).unwrap();
            assert_eq!(back, bits(&ts, &values));
            assert_eq!(coded(&values).1, values.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        }
    });
}
