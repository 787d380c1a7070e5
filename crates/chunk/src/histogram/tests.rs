use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_histogram::{
    CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Histogram, HistogramRef, NativeHistogram, Span,
};
use cupola_model::STALE_NAN;
use proptest::prelude::*;

use super::*;
use crate::{ChunkError, Encoding, XorAppender, count_samples, num_samples};

type Sample = (i64, NativeHistogram);
/// See [`key`].
type Key = (bool, Vec<u64>, Vec<(i64, u64)>);

fn spans(list: &[(i32, u32)]) -> Vec<Span> {
    list.iter().map(|&(offset, length)| Span { offset, length }).collect()
}

fn integer(layout: &[(i32, u32)], deltas: &[i64]) -> Histogram {
    let populations = deltas.iter().scan(0, |sum, delta| {
        *sum += delta;
        Some(*sum as u64)
    });
    Histogram {
        count: populations.sum(),
        sum: 1.0,
        positive_spans: spans(layout),
        positive_buckets: deltas.to_vec(),
        ..Histogram::default()
    }
}

fn float(h: &Histogram) -> NativeHistogram {
    NativeHistogram::Float(h.to_float())
}

fn with_hint(mut h: NativeHistogram, hint: CounterResetHint) -> NativeHistogram {
    match &mut h {
        NativeHistogram::Integer(h) => h.counter_reset_hint = hint,
        NativeHistogram::Float(h) => h.counter_reset_hint = hint,
    }
    h
}

/// Cuts chunks as a head does.
fn encode(samples: &[Sample]) -> Vec<(Encoding, Vec<u8>)> {
    let mut chunks = Vec::new();
    let mut appender = HistogramAppender::new();
    for (ts, h) in samples {
        if let Appended::Cut(header) = appender.append(*ts, h).unwrap() {
            chunks.push((appender.encoding(), appender.cut(header)));
            assert_eq!(appender.append(*ts, h).unwrap(), Appended::InPlace);
        }
        assert_eq!(appender.last_ts(), Some(*ts));
        assert_eq!(key(&appender.last().unwrap()), key(h));
    }
    chunks.push((appender.encoding(), appender.into_bytes()));
    chunks
}

fn decode(encoding: Encoding, bytes: &[u8]) -> Result<Vec<Sample>, ChunkError> {
    let mut cursor = HistogramCursor::new(encoding, bytes)?;
    let mut samples = Vec::new();
    while let Some(ts) = cursor.next_sample()? {
        samples.push((ts, cursor.native()));
    }
    Ok(samples)
}

fn decode_all(chunks: &[(Encoding, Vec<u8>)]) -> Vec<Sample> {
    chunks
        .iter()
        .flat_map(|(encoding, bytes)| decode(*encoding, bytes).unwrap())
        .collect()
}

/// What a histogram says, whatever empty buckets it lists: scalars and populated buckets as bits. A stale one says
/// nothing else.
fn key(h: &NativeHistogram) -> Key {
    let (is_float, f) = match h {
        NativeHistogram::Integer(h) => (false, h.to_float()),
        NativeHistogram::Float(h) => (true, h.clone()),
    };
    if f.is_stale() {
        return (is_float, vec![f.sum.to_bits()], Vec::new());
    }
    let mut scalars = vec![
        f.schema as u64,
        f.zero_threshold.to_bits(),
        f.count.to_bits(),
        f.zero_count.to_bits(),
        f.sum.to_bits(),
    ];
    scalars.extend(f.custom_values.iter().map(|bound| bound.to_bits()));
    let mut buckets = Vec::new();
    for (side, spans, counts) in [
        (0, &f.positive_spans, &f.positive_buckets),
        (1 << 40, &f.negative_spans, &f.negative_buckets),
    ] {
        let mut index = side;
        let mut counts = counts.iter();
        for span in spans {
            index += i64::from(span.offset);
            for count in counts.by_ref().take(span.length as usize) {
                if *count != 0.0 {
                    buckets.push((index, count.to_bits()));
                }
                index += 1;
            }
        }
    }
    (is_float, scalars, buckets)
}

fn keys(samples: &[Sample]) -> Vec<(i64, Key)> {
    samples.iter().map(|(ts, h)| (*ts, key(h))).collect()
}

fn hints(samples: &[Sample]) -> Vec<CounterResetHint> {
    samples
        .iter()
        .map(|(_, h)| HistogramRef::from(h).counter_reset_hint())
        .collect()
}

// The bytes were worked out by hand from the format, not printed by the encoder.
#[test]
fn bytes_are_those_of_the_format() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
    let mut appender = HistogramAppender::new();
    assert_eq!(hex(appender.bytes()), "00 00 00");
    let h = integer(&[(0, 1)], &[1]);
    appender.append(0, &h).unwrap();
    // Threshold 0 is a byte. Schema 0, 10001 span, of 10001 bucket at 0, 0 negative spans, time 0, count 10001, zero
    // count 0, 64 bits of 1.0, bucket 10001.
    assert_eq!(hex(appender.bytes()), "00 01 00 00 46 22 23 ff 00 00 00 00 00 00 08 80");
    // Time by 1: 10001, count by 1: 10001, zero count 0, same sum 0, bucket by 1: 10001; then the same deltas: all 0.
    for (ts, more) in [(1, 1), (2, 2)] {
        let mut h = integer(&[(0, 1)], &[1 + more]);
        h.sum = 1.0;
        appender.append(ts, &h).unwrap();
    }
    assert_eq!(
        hex(appender.bytes()),
        "00 03 00 00 46 22 23 ff 00 00 00 00 00 00 08 c6 24 40"
    );

    // Default threshold 2^-128 is 116; the header says gauge; a float's fields are whole words.
    let mut appender = HistogramAppender::new();
    let h = FloatHistogram {
        zero_threshold: 2_f64.powi(-128),
        counter_reset_hint: CounterResetHint::Gauge,
        count: 1.0,
        zero_count: 1.0,
        sum: -0.0,
        ..FloatHistogram::default()
    };
    appender.append(-1, &h).unwrap();
    // 0 schema, 0 and 0 spans, time -1 is 10111: 0001 0111.
    assert_eq!(
        hex(appender.bytes()),
        "00 01 c0 74 17 3f f0 00 00 00 00 00 00 3f f0 00 00 00 00 00 00 80 00 00 00 00 00 00 00 00"
    );
}

#[test]
fn thresholds_and_bounds_come_back() {
    for threshold in [
        0.0,
        2_f64.powi(-128),
        2_f64.powi(-243),
        2_f64.powi(-244),
        1024.0,
        2048.0,
        1.0,
        0.3,
        -1.0,
        f64::INFINITY,
        f64::MIN_POSITIVE / 2.0,
    ] {
        let mut h = integer(&[], &[]);
        h.zero_threshold = threshold;
        let chunks = encode(&[(0, NativeHistogram::Integer(h.clone()))]);
        assert_eq!(decode_all(&chunks), [(0, NativeHistogram::Integer(h))]);
        let is_short = threshold == 0.0 || (threshold > 0.0 && (2_f64.powi(-243)..=1024.0).contains(&threshold));
        // One byte for powers of two in range, else nine.
        let bytes = chunks[0].1.len();
        assert_eq!(bytes < 20, is_short && threshold != 0.3, "{threshold} takes {bytes}");
    }
    let bounds = [
        f64::NEG_INFINITY,
        -1.0,
        0.0,
        0.001,
        0.0015,
        0.1,
        0.25,
        1.0,
        33_554.43,
        33_554.431,
        1e300,
    ];
    let mut h = integer(&[(0, 2), (3, 1)], &[1, 0, 2]);
    h.schema = CUSTOM_BUCKETS_SCHEMA;
    h.custom_values = Arc::from(bounds);
    for h in [NativeHistogram::Integer(h.clone()), float(&h)] {
        assert_eq!(decode_all(&encode(&[(5, h.clone())])), [(5, h)]);
    }
}

/// What appending `next` to a chunk of `first` does: the outcome, and how the chunk's samples then look.
#[track_caller]
fn check(
    first: &NativeHistogram,
    next: &NativeHistogram,
    expected: Appended,
    layout: &[(i32, u32)],
    buckets: &[&[i64]],
) {
    for as_float in [false, true] {
        let kind = |h: &NativeHistogram| match h {
            NativeHistogram::Integer(i) if as_float => float(i),
            other => other.clone(),
        };
        let mut appender = HistogramAppender::new();
        appender.append(1, &kind(first)).unwrap();
        let before = appender.bytes().to_vec();
        assert_eq!(appender.append(2, &kind(next)).unwrap(), expected, "float: {as_float}");
        if matches!(expected, Appended::Cut(_)) {
            assert_eq!(appender.bytes(), before);
        }
        let samples = decode(appender.encoding(), appender.bytes()).unwrap();
        for ((_, h), deltas) in samples.iter().zip(buckets) {
            let mut sum = 0;
            let populations = deltas.iter().map(|delta| {
                sum += delta;
                sum as f64
            });
            let h = h.to_float();
            assert_eq!(
                (h.positive_spans, h.positive_buckets),
                (spans(layout), populations.collect())
            );
        }
        assert_eq!(samples.len(), buckets.len());
    }
}

#[test]
fn buckets_come_and_go_as_upstream_has_it() {
    use Appended::{Cut, InPlace, Recoded};
    use CounterResetHint::{CounterReset, Gauge, Unknown};
    let h = |layout: &[(i32, u32)], deltas: &[i64]| NativeHistogram::Integer(integer(layout, deltas));
    let gauge = |layout: &[(i32, u32)], deltas: &[i64]| with_hint(h(layout, deltas), Gauge);

    let first = h(&[(0, 2), (2, 1)], &[6, -3, 0]);
    check(
        &first,
        &h(&[(0, 2), (2, 1)], &[7, -4, 2]),
        InPlace,
        &[(0, 2), (2, 1)],
        &[&[6, -3, 0], &[7, -4, 2]],
    );
    // New buckets between, before and after: the chunk takes the spans of the sample.
    check(
        &first,
        &h(&[(-1, 4), (1, 1), (0, 1)], &[1, 5, -3, 0, 0, 1]),
        Recoded,
        &[(-1, 4), (1, 1), (0, 1)],
        &[&[0, 6, -3, -3, 3, -3], &[1, 5, -3, 0, 0, 1]],
    );
    // A bucket in use is gone, a population fell, the count fell.
    for next in [
        h(&[(0, 2)], &[9, 0]),
        h(&[(0, 2), (2, 1)], &[5, 5, 0]),
        h(&[(0, 2), (2, 1)], &[6, -6, 0]),
    ] {
        check(&first, &next, Cut(CounterReset), &[(0, 2), (2, 1)], &[&[6, -3, 0]]);
    }
    // An empty bucket may be gone: the sample gets it.
    let first = h(&[(0, 3)], &[2, -2, 3]);
    check(
        &first,
        &h(&[(0, 1), (1, 1)], &[2, 2]),
        InPlace,
        &[(0, 3)],
        &[&[2, -2, 3], &[2, -2, 4]],
    );
    // Gone and new at once: spans are built anew.
    check(
        &first,
        &h(&[(0, 1), (1, 1), (1, 1)], &[2, 2, -3]),
        Recoded,
        &[(0, 3), (1, 1)],
        &[&[2, -2, 3, -3], &[2, -2, 4, -3]],
    );
    // Gauges may fall, come and go.
    check(
        &gauge(&[(0, 2)], &[5, 0]),
        &gauge(&[(1, 2)], &[1, 0]),
        Recoded,
        &[(0, 3)],
        &[&[5, 0, -5], &[0, 1, 0]],
    );
    check(
        &gauge(&[(0, 2)], &[5, 0]),
        &gauge(&[(1, 1)], &[1]),
        InPlace,
        &[(0, 2)],
        &[&[5, 0], &[0, 1]],
    );
    // Kinds of chunk do not mix.
    check(
        &h(&[(0, 1)], &[1]),
        &gauge(&[(0, 1)], &[1]),
        Cut(Gauge),
        &[(0, 1)],
        &[&[1]],
    );
    let reset = with_hint(h(&[(0, 1)], &[2]), CounterReset);
    check(&h(&[(0, 1)], &[1]), &reset, Cut(CounterReset), &[(0, 1)], &[&[1]]);
    // Another resolution.
    let mut finer = integer(&[(0, 1)], &[3]);
    finer.schema = 1;
    check(
        &h(&[(0, 1)], &[1]),
        &NativeHistogram::Integer(finer.clone()),
        Cut(Unknown),
        &[(0, 1)],
        &[&[1]],
    );
    finer.counter_reset_hint = Gauge;
    check(
        &gauge(&[(0, 1)], &[1]),
        &NativeHistogram::Integer(finer),
        Cut(Gauge),
        &[(0, 1)],
        &[&[1]],
    );
}

#[test]
fn staleness_markers_close_a_chunk() {
    let h = integer(&[(0, 2)], &[3, 1]);
    let stale = Histogram {
        sum: STALE_NAN,
        ..integer(&[(7, 1)], &[1])
    };
    for as_float in [false, true] {
        let kind = |h: &Histogram| {
            if as_float {
                float(h)
            } else {
                NativeHistogram::Integer(h.clone())
            }
        };
        let mut appender = HistogramAppender::new();
        for (ts, h) in [(1, &h), (2, &h), (3, &stale), (4, &stale)] {
            assert_eq!(appender.append(ts, &kind(h)).unwrap(), Appended::InPlace);
        }
        assert!(appender.last().unwrap().is_stale());
        assert_eq!(
            appender.append(5, &kind(&h)).unwrap(),
            Appended::Cut(CounterResetHint::Unknown)
        );
        let read = decode(appender.encoding(), appender.bytes()).unwrap();
        let empty = kind(&Histogram {
            sum: STALE_NAN,
            ..Histogram::default()
        });
        assert!(read[2].1.equals(&empty) && read[3].1.equals(&empty), "{read:?}");
        assert_eq!(keys(&read[..2]), keys(&[(1, kind(&h)), (2, kind(&h))]));
        // A chunk may begin with a marker.
        let mut appender = HistogramAppender::new();
        appender.append(1, &kind(&stale)).unwrap();
        appender.append(2, &kind(&stale)).unwrap();
        assert!(matches!(appender.append(3, &kind(&h)), Ok(Appended::Cut(_))));
        assert_eq!(decode(appender.encoding(), appender.bytes()).unwrap().len(), 2);
    }
}

#[test]
fn headers_and_hints() {
    use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
    let h = NativeHistogram::Integer(integer(&[(0, 1)], &[5]));
    let smaller = NativeHistogram::Integer(integer(&[(0, 1)], &[4]));
    let mut appender = HistogramAppender::new();
    assert_eq!(appender.header_of_next(&h), Unknown);
    appender.append(1, &h).unwrap();
    assert_eq!(appender.header_of_next(&h), NotCounterReset);
    assert_eq!(appender.header_of_next(&smaller), CounterReset);
    assert_eq!(appender.header_of_next(&with_hint(h.clone(), Gauge)), Gauge);
    assert_eq!(appender.header_of_next(&float(&integer(&[], &[]))), Unknown);
    for header in [Unknown, NotCounterReset, CounterReset] {
        appender.cut(header);
        appender.append(2, &h).unwrap();
        appender.append(3, &h).unwrap();
        assert_eq!(appender.header(), header);
        let samples = decode(Encoding::Histogram, appender.bytes()).unwrap();
        assert_eq!(hints(&samples), [Unknown, NotCounterReset]);
    }
    appender.cut(NotCounterReset);
    appender.append(4, &with_hint(h.clone(), Gauge)).unwrap();
    assert_eq!(appender.header(), Gauge);
    assert_eq!(hints(&decode(Encoding::Histogram, appender.bytes()).unwrap()), [Gauge]);
    // A counter behind gauges; upstream's two kinds tell it differently.
    assert_eq!(appender.append(5, &h).unwrap(), Appended::Cut(NotCounterReset));
    let gauge = with_hint(float(&integer(&[(0, 1)], &[5])), Gauge);
    assert_eq!(appender.append(5, &gauge).unwrap(), Appended::Cut(Gauge));
    appender.cut(Gauge);
    appender.append(5, &gauge).unwrap();
    let counter = with_hint(gauge, Unknown);
    assert_eq!(appender.append(6, &counter).unwrap(), Appended::Cut(Unknown));
    assert_eq!(
        counter_reset_header(Encoding::Xor, &[0, 0, 0]),
        Err(ChunkError::Unsupported(Encoding::Xor))
    );
}

#[test]
fn what_cannot_be_encoded_is_refused() {
    let mut appender = HistogramAppender::new();
    for h in [
        integer(&[(0, 2)], &[1]),
        integer(&[], &[1]),
        integer(&[(0, 1), (-1, 1)], &[1, 1]),
    ] {
        assert_eq!(appender.append(0, &h), Err(ChunkError::Layout));
    }
    assert_eq!(
        appender.append(0, &integer(&[(0, 0); 65], &[])),
        Err(ChunkError::Layout)
    );
    let mut reserved = integer(&[(0, 1)], &[1]);
    reserved.schema = 53;
    assert_eq!(appender.append(0, &reserved), Err(ChunkError::Layout));
    // A schema of tomorrow is kept and read at the finest of today.
    reserved.schema = 10;
    appender.append(0, &reserved).unwrap();
    let mut schemas = Vec::new();
    decode_histograms(Encoding::Histogram, appender.bytes(), 0, 0, |_, h, _| {
        schemas.push(h.schema)
    })
    .unwrap();
    assert_eq!(schemas, [8]);
    assert_eq!(
        decode(Encoding::Histogram, appender.bytes()).unwrap(),
        [(0, NativeHistogram::Integer(reserved))]
    );
}

#[test]
fn a_full_chunk_refuses_one_more() {
    let mut appender = HistogramAppender::new();
    let h = integer(&[(0, 1)], &[1]);
    for ts in 0..i64::from(u16::MAX) {
        appender.append(ts, &h).unwrap();
    }
    let before = appender.bytes().to_vec();
    assert_eq!(appender.append(70_000, &h), Err(ChunkError::Full));
    assert_eq!(appender.bytes(), before);
    // Samples that repeat themselves share their memory; the first has another hint.
    let mut values = Vec::new();
    decode_histograms(Encoding::Histogram, &before, 0, i64::MAX, |_, h, _| values.push(h)).unwrap();
    assert_eq!(values.len(), 65_535);
    assert!(values.windows(2).skip(1).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
}

#[derive(Debug, Clone)]
enum Step {
    Observe { bucket: i32, count: u64 },
    Reset,
    Stale,
    Schema(i32),
    Gauge(bool),
    Hinted,
    Bounds(u8),
    Kind(bool),
    Drop,
    NanSum,
}

fn step() -> impl Strategy<Value = Step> {
    let observe = (-12_i32..12, prop_oneof![Just(0_u64), 1_u64..50, Just(1_u64 << 40)])
        .prop_map(|(bucket, count)| Step::Observe { bucket, count });
    prop_oneof![
        30 => observe,
        1 => Just(Step::Reset),
        1 => Just(Step::Stale),
        1 => (-4_i32..9).prop_map(Step::Schema),
        1 => any::<bool>().prop_map(Step::Gauge),
        1 => Just(Step::Hinted),
        1 => (0_u8..3).prop_map(Step::Bounds),
        1 => any::<bool>().prop_map(Step::Kind),
        3 => Just(Step::Drop),
        1 => Just(Step::NanSum),
    ]
}

fn side(buckets: &BTreeMap<i32, u64>, cut: usize) -> (Vec<Span>, Vec<i64>) {
    let (mut spans, mut deltas): (Vec<Span>, Vec<i64>) = (Vec::new(), Vec::new());
    let (mut end, mut last) = (0, 0);
    for (at, (&index, &count)) in buckets.iter().enumerate() {
        match spans.last_mut() {
            Some(span) if index == end && !(at + cut).is_multiple_of(5) => span.length += 1,
            _ => spans.push(Span {
                offset: index - end,
                length: 1,
            }),
        }
        end = index + 1;
        deltas.push(count as i64 - last);
        last = count as i64;
    }
    (spans, deltas)
}

/// A series as a program with a histogram makes it, with everything that can happen to one.
fn series() -> impl Strategy<Value = Vec<Sample>> {
    let ts = prop_oneof![5 => Just(15_000_i64), 3 => 14_990_i64..15_010, 1 => 1_i64..1 << 40];
    prop::collection::vec((ts, step()), 0..80).prop_map(|steps| {
        let (mut samples, mut now) = (Vec::new(), 1_700_000_000_000);
        let (mut positive, mut negative) = (BTreeMap::new(), BTreeMap::new());
        let (mut schema, mut bounds, mut zero, mut sum) = (0, 0, 0, 0.5);
        let (mut is_gauge, mut is_float) = (false, false);
        for (at, (ts, step)) in steps.into_iter().enumerate() {
            now += ts;
            let (mut this_sum, mut hinted) = (None, false);
            match step {
                Step::Observe { bucket: 0, count } => zero += count,
                Step::Observe { bucket, count } if bucket < -6 => *negative.entry(bucket + 20).or_insert(0) += count,
                Step::Observe { bucket, count } => *positive.entry(bucket).or_insert(0) += count,
                Step::Reset => {
                    positive.clear();
                    negative.clear();
                    zero = 0;
                }
                Step::Stale => this_sum = Some(STALE_NAN),
                Step::NanSum => this_sum = Some(f64::NAN),
                Step::Schema(s) => schema = s,
                Step::Gauge(gauge) => is_gauge = gauge,
                Step::Hinted => hinted = true,
                Step::Bounds(set) => bounds = set,
                Step::Kind(float) => is_float = float,
                // An empty bucket is no longer listed, or a full one where there is no empty one.
                Step::Drop => {
                    let empty = positive
                        .iter()
                        .find(|(_, count)| **count == 0)
                        .or(positive.iter().next());
                    if let Some(index) = empty.map(|(index, _)| *index) {
                        positive.remove(&index);
                    }
                }
            }
            sum += 0.25;
            let is_custom = bounds > 0;
            let shifted: BTreeMap<i32, u64> = positive.iter().map(|(i, n)| (i + 6, *n)).collect();
            let (positive_spans, positive_buckets) = side(if is_custom { &shifted } else { &positive }, at);
            let (negative_spans, negative_buckets) = match is_custom {
                true => (Vec::new(), Vec::new()),
                false => side(&negative, at / 2),
            };
            let total = |side: &BTreeMap<i32, u64>| side.values().sum::<u64>();
            let h = Histogram {
                counter_reset_hint: match (is_gauge, hinted) {
                    (true, _) => CounterResetHint::Gauge,
                    (_, true) => CounterResetHint::CounterReset,
                    _ => CounterResetHint::Unknown,
                },
                schema: if is_custom { CUSTOM_BUCKETS_SCHEMA } else { schema },
                zero_threshold: if is_custom { 0.0 } else { 0.001 },
                zero_count: if is_custom { 0 } else { zero },
                count: total(&positive) + if is_custom { 0 } else { zero + total(&negative) },
                sum: this_sum.unwrap_or(sum),
                positive_spans,
                negative_spans,
                positive_buckets,
                negative_buckets,
                custom_values: match is_custom {
                    true => (0..18).map(|i| f64::from(i) * f64::from(bounds) / 8.0).collect(),
                    false => Arc::default(),
                },
            };
            let h = NativeHistogram::Integer(h);
            samples.push((
                now,
                if is_float {
                    NativeHistogram::Float(h.to_float())
                } else {
                    h
                },
            ));
        }
        samples
    })
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0_u64..100,
        prop::sample::select(vec![0, u64::MAX, 1 << 63, i64::MAX as u64])
    ]
}

/// Any numbers at all in one layout, as gauges, so that no chunk is cut.
fn anything() -> impl Strategy<Value = Vec<Sample>> {
    let words = prop::collection::vec(number(), 7);
    (any::<bool>(), prop::collection::vec((any::<i64>(), words), 0..40)).prop_map(|(is_float, samples)| {
        let mut out = Vec::new();
        for (ts, w) in samples {
            if cupola_model::is_stale_nan(f64::from_bits(w[2])) {
                continue;
            }
            let f = |at: usize| f64::from_bits(w[at]);
            let (positive_spans, negative_spans) = (spans(&[(-3, 1), (0, 0), (70, 1)]), spans(&[(i32::MAX, 2)]));
            let counter_reset_hint = CounterResetHint::Gauge;
            out.push((
                ts,
                if is_float {
                    NativeHistogram::Float(FloatHistogram {
                        counter_reset_hint,
                        zero_count: f(0),
                        count: f(1),
                        sum: f(2),
                        positive_spans,
                        negative_spans,
                        positive_buckets: vec![f(3), f(4)],
                        negative_buckets: vec![f(5), f(6)],
                        ..FloatHistogram::default()
                    })
                } else {
                    NativeHistogram::Integer(Histogram {
                        counter_reset_hint,
                        zero_count: w[0],
                        count: w[1],
                        sum: f(2),
                        positive_spans,
                        negative_spans,
                        positive_buckets: vec![w[3] as i64, w[4] as i64],
                        negative_buckets: vec![w[5] as i64, w[6] as i64],
                        ..Histogram::default()
                    })
                },
            ));
        }
        out
    })
}

proptest! {
    #[test]
    fn samples_come_back(samples in series()) {
        for (_, h) in &samples {
            prop_assert!(h.is_stale() || h.validate().is_ok() || h.to_float().sum.is_nan(), "{:?}", h.validate());
        }
        let chunks = encode(&samples);
        let read = decode_all(&chunks);
        prop_assert_eq!(keys(&read), keys(&samples));
        // Between the samples of one chunk there is no reset, and gauges stay gauges.
        for (encoding, bytes) in &chunks {
            let chunk = decode(*encoding, bytes).unwrap();
            for pair in chunk.windows(2) {
                let hint = HistogramRef::from(&pair[1].1).counter_reset_hint();
                if hint == CounterResetHint::NotCounterReset && !pair[1].1.is_stale() {
                    let mut now = pair[1].1.to_float();
                    now.counter_reset_hint = CounterResetHint::Unknown;
                    prop_assert!(!now.detect_reset(&pair[0].1.to_float()));
                }
            }
        }
    }

    #[test]
    fn any_numbers_come_back_bit_for_bit(samples in anything()) {
        let chunks = encode(&samples);
        prop_assert_eq!(chunks.len(), 1);
        let read = decode_all(&chunks);
        prop_assert_eq!(read.len(), samples.len());
        for ((read_ts, read), (ts, h)) in read.iter().zip(&samples) {
            prop_assert_eq!(read_ts, ts);
            prop_assert!(read.equals(h), "{:?} came back as {:?}", h, read);
        }
    }

    #[test]
    fn a_range_gives_what_filtering_gives(samples in series(), a in 0_usize..80, b in 0_usize..80) {
        let at = |i: usize| samples.get(i).map_or(0, |s| s.0);
        for (mint, maxt) in [(at(a), at(b)), (at(a) + 1, at(b) - 1), (i64::MIN, at(b)), (at(a), i64::MAX)] {
            for (encoding, bytes) in encode(&samples) {
                let mut read = Vec::new();
                decode_histograms(encoding, &bytes, mint, maxt, |ts, h, start| read.push((ts, key(&NativeHistogram::Float(
                    h.as_ref().clone())), start))).unwrap();
                let kept: Vec<_> = decode(encoding, &bytes).unwrap().into_iter()
                    .filter(|s| mint <= s.0 && s.0 <= maxt)
                    .map(|(ts, h)| (ts, key(&NativeHistogram::Float(h.to_float())), 0)).collect();
                prop_assert_eq!(read, kept);
            }
        }
    }

    #[test]
    fn a_resumed_appender_goes_on_as_if_nothing_had_happened(samples in series(), cut in 0_usize..80) {
        let mut live = HistogramAppender::new();
        let mut resumed = HistogramAppender::new();
        for (at, (ts, h)) in samples.iter().enumerate() {
            if at == cut {
                resumed = HistogramAppender::resume(live.encoding(), live.bytes().to_vec()).unwrap();
            }
            let appended = live.append(*ts, h).unwrap();
            prop_assert_eq!(appended, resumed.append(*ts, h).unwrap());
            if let Appended::Cut(header) = appended {
                for appender in [&mut live, &mut resumed] {
                    appender.cut(header);
                    appender.append(*ts, h).unwrap();
                }
            }
            prop_assert_eq!(live.bytes(), resumed.bytes());
            prop_assert_eq!(live.encoding(), resumed.encoding());
        }
    }

    #[test]
    fn a_chunk_cut_short_or_too_long_is_refused(samples in series(), cut in 1_usize..20) {
        for (encoding, mut bytes) in encode(&samples) {
            let whole = decode(encoding, &bytes).unwrap();
            let short = decode(encoding, &bytes[..bytes.len().saturating_sub(cut)]);
            // Only the empty byte that may stand at the end can go unnoticed.
            prop_assert!(short.is_err() || (cut == 1 && keys(&short.unwrap()) == keys(&whole)));
            bytes.extend([0, 0]);
            let too_long = decode(encoding, &bytes);
            prop_assert!(matches!(too_long, Err(ChunkError::TrailingBytes { left: 2 | 3 })), "{:?}", too_long);
            prop_assert!(HistogramAppender::resume(encoding, bytes).is_err());
        }
    }

    #[test]
    fn start_timestamps_come_back(
        samples in series(), known in 0_usize..4, changes in prop::collection::vec((0_usize..80, 0_i64..1 << 41), 0..5),
        calm in any::<bool>()
    ) {
        // Repeated, so that the sample behind which changes are always told is reached.
        let h = integer(&[(0, 2)], &[1, 1]);
        let many = (0..200).map(|i| (i * 1000, NativeHistogram::Integer(h.clone()))).collect();
        for samples in [samples, many] {
            for (encoding, bytes) in encode(&samples) {
                let chunk = decode(encoding, &bytes).unwrap();
                let starts: Vec<i64> = (0..chunk.len()).map(|at| {
                    let first = if known > 1 { 5_000 } else { 0 };
                    changes.iter().filter(|c| !calm && c.0 <= at).map(|c| c.1).next_back().unwrap_or(first)
                }).collect();
                let (with_starts, bytes) = add_starts(encoding, &bytes, &starts);
                let mut read = Vec::new();
                decode_histograms(with_starts, &bytes, i64::MIN, i64::MAX, |ts, h, start| {
                    read.push((ts, key(&NativeHistogram::Float(h.as_ref().clone())), start));
                }).unwrap();
                let expected: Vec<_> = chunk.iter().zip(&starts)
                    .map(|((ts, h), start)| (*ts, key(&NativeHistogram::Float(h.to_float())), *start)).collect();
                prop_assert_eq!(read, expected);
                prop_assert_eq!(usize::from(count_samples(with_starts, &bytes).unwrap()), chunk.len());
                prop_assert_eq!(counter_reset_header(with_starts, &bytes), counter_reset_header(encoding, bytes_of(&chunk)));
            }
        }
    }
}

// The header of a chunk that holds these samples and nothing else is told from their hints: gauges or not.
fn bytes_of(chunk: &[Sample]) -> &'static [u8] {
    let is_gauge = chunk
        .first()
        .is_some_and(|(_, h)| HistogramRef::from(h).counter_reset_hint() == CounterResetHint::Gauge);
    if is_gauge { &[0, 0, 0xc0] } else { &[0, 0, 0] }
}

/// The chunk in encoding 5 or 6, as upstream's writer of these does it: a start stands behind each sample. The header
/// keeps nothing but whether it holds gauges.
fn add_starts(encoding: Encoding, bytes: &[u8], starts: &[i64]) -> (Encoding, Vec<u8>) {
    let mut cursor = HistogramCursor::new(encoding, bytes).unwrap();
    let (mut out, mut free) = (vec![0; 3], 0);
    let (mut flags, mut distance, mut before, mut pos) = (0_u8, 0_i64, 0_i64, 24);
    for (at, start) in starts.iter().enumerate() {
        let ts = cursor.next_sample().unwrap().unwrap();
        let end = cursor.clone().into_end().1;
        while pos < end {
            crate::bits::write(&mut out, &mut free, crate::bits::read(bytes, pos, 1), 1);
            pos += 1;
        }
        let last = if at == 0 { 0 } else { starts[at - 1] };
        let new = before.wrapping_sub(*start);
        let mut to = super::field::Writer {
            bytes: &mut out,
            free: &mut free,
        };
        if at == 0 {
            if *start != 0 {
                crate::bits::write_varint(to.bytes, to.free, ts.wrapping_sub(*start));
                flags = 0x80;
            }
        } else if flags & 0x7f != 0 {
            to.varbit_int(new.wrapping_sub(distance));
            distance = new;
        } else if *start != last || at == 0x7f {
            to.varbit_int(new);
            flags |= at as u8;
            distance = new;
        }
        before = ts;
    }
    let header = counter_reset_header(encoding, bytes).unwrap();
    let gauge = if header == CounterResetHint::Gauge { 0xc0 } else { 0 };
    out[0] = gauge | (starts.len() >> 8) as u8;
    out[1] = starts.len() as u8;
    out[2] = flags;
    let with_starts = match encoding {
        Encoding::Histogram => Encoding::HistogramSt,
        _ => Encoding::FloatHistogramSt,
    };
    (with_starts, out)
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    let mut samples = Vec::new();
    for i in 0..120_i64 {
        let mut h = integer(&[(0, 2), (1, 3)], &[i, 1, i, -i, 2]);
        h.negative_spans = spans(&[(-4, 2)]);
        h.negative_buckets = vec![i / 2, 0];
        h.sum = i as f64 * 0.37;
        samples.push((i * 15_000 + i % 7, NativeHistogram::Integer(h)));
    }
    let floats: Vec<Sample> = samples
        .iter()
        .map(|(ts, h)| (*ts, NativeHistogram::Float(h.to_float())))
        .collect();
    let mut custom = integer(&[(0, 2)], &[1, 1]);
    custom.schema = CUSTOM_BUCKETS_SCHEMA;
    custom.custom_values = Arc::from([0.1, 0.5, 1.0 / 3.0]);
    let mut corpus = vec![
        vec![],
        vec![0; 3],
        encode(&[(5, NativeHistogram::Integer(custom))])[0].1.clone(),
    ];
    for samples in [samples, floats] {
        let (encoding, bytes) = encode(&samples).swap_remove(0);
        assert_eq!(num_samples(&bytes), Ok(120));
        let starts: Vec<i64> = (0..120).map(|i| i / 40 * 1000).collect();
        corpus.push(add_starts(encoding, &bytes, &starts).1);
        corpus.push(bytes);
    }
    let mut xor = XorAppender::new();
    xor.append(1, 1.0).unwrap();
    corpus.push(xor.into_bytes());
    cupola_testkit::fuzz(8_000, &corpus, &["\0", "\u{7f}"], |bytes| {
        for encoding in Encoding::ALL {
            let Ok(samples) = decode(encoding, bytes) else { continue };
            assert!(samples.len() <= 65_535);
            // Each sample takes bits of its own, and so does each bucket.
            let buckets: usize = samples.iter().map(|(_, h)| h.to_float().positive_buckets.len()).sum();
            assert!(buckets <= bytes.len() * 8 && samples.len() <= bytes.len() * 8);
            if let Ok(mut appender) = HistogramAppender::resume(encoding, bytes.to_vec()) {
                let stale = Histogram {
                    sum: STALE_NAN,
                    counter_reset_hint: match appender.header() {
                        CounterResetHint::Gauge => CounterResetHint::Gauge,
                        _ => CounterResetHint::Unknown,
                    },
                    ..Histogram::default()
                };
                let next = match appender.encoding() {
                    Encoding::FloatHistogram => float(&stale),
                    _ => NativeHistogram::Integer(stale),
                };
                if appender.append(i64::MAX, &next) == Ok(Appended::InPlace) {
                    let read = decode(appender.encoding(), appender.bytes()).unwrap();
                    assert_eq!(read.len(), samples.len() + 1);
                }
                // Whatever the buckets were, one more can be told apart from them or makes a new layout.
                let _ = appender.append(i64::MAX, &integer(&[(100, 1)], &[1]));
            }
        }
    });
}
