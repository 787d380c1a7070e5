//! Records, decoded.

use cupola_histogram::{CounterResetHint, FloatHistogram, Histogram, NativeHistogram, Span};
use cupola_model::{Labels, MetricType, STALE_NAN, SeriesRef};
use proptest::prelude::*;

use super::write::{self, Enc};
use crate::bytes::Fault;
use crate::record::{LoggedHistogramSample, Record};
use crate::{ChunkRef, LoggedExemplar, LoggedMetadata, LoggedSample, LoggedSeries, LoggedTombstone, MmapMarker};

fn sample(series_ref: u64, ts: i64, value: f64) -> LoggedSample {
    LoggedSample {
        series_ref: SeriesRef(series_ref),
        start_ts: 0,
        ts,
        value,
    }
}

fn float_histogram() -> FloatHistogram {
    FloatHistogram {
        counter_reset_hint: CounterResetHint::Gauge,
        schema: -53,
        zero_threshold: 0.0,
        zero_count: 0.0,
        count: 2.5,
        sum: f64::INFINITY,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![1.0, 1.5],
        custom_values: vec![0.1, 10.0].into(),
        ..FloatHistogram::default()
    }
}

fn histogram_sample(series_ref: u64, ts: i64, histogram: NativeHistogram) -> LoggedHistogramSample {
    LoggedHistogramSample {
        series_ref: SeriesRef(series_ref),
        start_ts: 0,
        ts,
        histogram,
    }
}

/// One record of each kind, and what it says.
fn one_of_each() -> Vec<(Vec<u8>, Record)> {
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "a\u{fc}")]);
    let series_ref = SeriesRef(u64::MAX);
    let integers = vec![
        histogram_sample(7, 1_000, NativeHistogram::Integer(write::integer_histogram(3))),
        histogram_sample(2, -5, NativeHistogram::Integer(write::integer_histogram(9))),
    ];
    let custom = Histogram {
        schema: -53,
        custom_values: vec![0.5, 1.0, f64::NEG_INFINITY].into(),
        ..Histogram::default()
    };
    let custom = vec![histogram_sample(1, 1, NativeHistogram::Integer(custom))];
    let floats = vec![histogram_sample(8, 5, NativeHistogram::Float(float_histogram()))];
    let plain = FloatHistogram {
        schema: 8,
        ..FloatHistogram::default()
    };
    let plain = vec![histogram_sample(8, 5, NativeHistogram::Float(plain))];
    let known = |histograms: &Vec<LoggedHistogramSample>| Record::Histograms {
        histograms: histograms.clone(),
        unknown_schemas: 0,
    };
    vec![
        (
            write::series(&[(1, &labels), (u64::MAX, &Labels::empty())]),
            Record::Series(vec![
                LoggedSeries {
                    series_ref: SeriesRef(1),
                    labels: labels.clone(),
                },
                LoggedSeries {
                    series_ref,
                    labels: Labels::empty(),
                },
            ]),
        ),
        (
            write::samples(&[sample(5, 100, 1.0), sample(3, i64::MAX, -0.0)]),
            Record::Samples(vec![sample(5, 100, 1.0), sample(3, i64::MAX, -0.0)]),
        ),
        (vec![2], Record::Samples(vec![])),
        (
            Enc::new(3).be64(4).varint(i64::MIN).varint(i64::MAX).0,
            Record::Tombstones(vec![LoggedTombstone {
                series_ref: SeriesRef(4),
                mint: i64::MIN,
                maxt: i64::MAX,
            }]),
        ),
        (
            Enc::new(4)
                .be64(9)
                .be64(50)
                .varint(-1)
                .varint(2)
                .float(0.25)
                .labels(&labels)
                .0,
            Record::Exemplars(vec![LoggedExemplar {
                series_ref: SeriesRef(8),
                ts: 52,
                value: 0.25,
                labels: labels.clone(),
            }]),
        ),
        (vec![4], Record::Exemplars(vec![])),
        (
            Enc::new(5).be64(6).be64(3 << 32 | 40).0,
            Record::MmapMarkers(vec![MmapMarker {
                series_ref: SeriesRef(6),
                chunk_ref: ChunkRef(3 << 32 | 40),
            }]),
        ),
        (
            Enc::new(6)
                .uvarint(300)
                .byte(1)
                .uvarint(3)
                .text("UNIT")
                .text("bytes")
                .text("LATER")
                .text("?")
                .text("HELP")
                .text("All of it.")
                .uvarint(2)
                .byte(99)
                .uvarint(0)
                .0,
            Record::Metadata(vec![
                LoggedMetadata {
                    series_ref: SeriesRef(300),
                    metric_type: MetricType::Counter,
                    unit: "bytes".to_owned(),
                    help: "All of it.".to_owned(),
                },
                LoggedMetadata {
                    series_ref: SeriesRef(2),
                    metric_type: MetricType::Unknown,
                    unit: String::new(),
                    help: String::new(),
                },
            ]),
        ),
        (write::histograms(7, &integers), known(&integers)),
        (write::histograms(8, &plain), known(&plain)),
        (write::histograms(9, &custom), known(&custom)),
        (write::histograms(10, &floats), known(&floats)),
        (Enc::new(14).be64((-7_i64) as u64).0, Record::MinValidTime(-7)),
        (vec![99, 1, 2], Record::Unknown(99)),
    ]
}

#[test]
fn each_kind_says_what_was_written() {
    for (bytes, expected) in one_of_each() {
        assert_eq!(Record::decode(&bytes), Ok(expected), "{bytes:?}");
    }
}

#[test]
fn a_record_cut_short_is_a_fault_or_says_less() {
    for (bytes, expected) in one_of_each() {
        for cut in 1..bytes.len() {
            let read = Record::decode(&bytes[..cut]);
            let is_unknown = matches!(expected, Record::Unknown(_));
            assert!(is_unknown || read.as_ref() != Ok(&expected), "{bytes:?} {cut}");
        }
    }
    assert!(Record::decode(&[]).is_err());
}

#[test]
fn faults_are_told() {
    let check = |bytes: Vec<u8>, reason: &str| assert_eq!(Record::decode(&bytes), Err(Fault::new(reason)));
    check(
        Enc::new(1).be64(1).uvarint(1 << 40).0,
        "record of kind 1: 1099511627776 entries expected, 0 bytes left",
    );
    check(
        Enc::new(2).be64(1).be64(1).varint(0).varint(0).0,
        "record of kind 2: 8 bytes expected, 0 left",
    );
    check(Enc::new(14).be64(1).byte(0).0, "record of kind 14: 1 bytes left over");
    check(
        vec![3, 0, 0, 0, 0, 0, 0, 0, 0, 0xff],
        "record of kind 3: number is cut short",
    );
    let mut long = vec![3; 9];
    long.resize(20, 0xff);
    check(long, "record of kind 3: number of more than 64 bits");
}

#[test]
fn a_histogram_of_a_schema_to_come_is_left_out_and_counted() {
    let mut later = write::integer_histogram(1);
    later.schema = 20;
    let list = [
        histogram_sample(1, 1, NativeHistogram::Integer(later)),
        histogram_sample(1, 2, NativeHistogram::Integer(write::integer_histogram(1))),
    ];
    let expected = Record::Histograms {
        histograms: list[1..].to_vec(),
        unknown_schemas: 1,
    };
    assert_eq!(Record::decode(&write::histograms(7, &list)), Ok(expected));
}

#[test]
fn labels_that_are_no_utf8_are_read_with_a_replacement() {
    let mut bytes = Enc::new(1).be64(1).uvarint(1).text("a").uvarint(2).0;
    bytes.extend_from_slice(&[b'x', 0xff]);
    let Ok(Record::Series(series)) = Record::decode(&bytes) else {
        panic!("no series")
    };
    assert_eq!(series[0].labels.get("a"), Some("x\u{fffd}"));
}

#[test]
fn staleness_is_seen_in_both_kinds_of_histograms() {
    let integer = Histogram {
        sum: STALE_NAN,
        ..Histogram::default()
    };
    let float = FloatHistogram {
        sum: STALE_NAN,
        ..FloatHistogram::default()
    };
    assert!(NativeHistogram::Integer(integer).is_stale() && NativeHistogram::Float(float).is_stale());
    assert!(!NativeHistogram::Float(float_histogram()).is_stale());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn samples_come_back(list in prop::collection::vec((any::<u64>(), any::<i64>(), any::<u64>()), 0..20)) {
        let list: Vec<_> = list.into_iter().map(|(r, ts, bits)| (r, ts, f64::from_bits(bits))).collect();
        let written: Vec<_> = list.iter().map(|(r, ts, v)| sample(*r, *ts, *v)).collect();
        let Ok(Record::Samples(read)) = Record::decode(&write::samples(&written)) else {
            return Err(TestCaseError::fail("no samples"));
        };
        prop_assert_eq!(read.len(), list.len());
        for (read, (series_ref, ts, value)) in read.iter().zip(&list) {
            prop_assert_eq!((read.series_ref.0, read.ts, read.value.to_bits()), (*series_ref, *ts, value.to_bits()));
        }
    }

    #[test]
    fn samples_with_start_times_come_back(
        list in prop::collection::vec((any::<u64>(), prop_oneof![Just(0), Just(5), any::<i64>()], any::<i64>()), 0..20),
    ) {
        let samples = write::chained(11, &list, |i, enc| enc.float(i as f64));
        let expected: Vec<_> = list.iter().enumerate().map(|(i, (series_ref, start_ts, ts))| LoggedSample {
            series_ref: SeriesRef(*series_ref), start_ts: *start_ts, ts: *ts, value: i as f64,
        }).collect();
        prop_assert_eq!(Record::decode(&samples), Ok(Record::Samples(expected)));

        for kind in [12, 13] {
            let value = |i: usize| match kind {
                12 => NativeHistogram::Integer(write::integer_histogram(i as u64)),
                _ => NativeHistogram::Float(float_histogram()),
            };
            let bytes = write::chained(kind, &list, |i, enc| enc.histogram(&value(i)));
            let histograms = list.iter().enumerate().map(|(i, (series_ref, start_ts, ts))| LoggedHistogramSample {
                series_ref: SeriesRef(*series_ref), start_ts: *start_ts, ts: *ts, histogram: value(i),
            }).collect();
            prop_assert_eq!(Record::decode(&bytes), Ok(Record::Histograms { histograms, unknown_schemas: 0 }));
        }
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let corpus: Vec<_> = one_of_each().into_iter().map(|(bytes, _)| bytes).collect();
    cupola_testkit::fuzz(30_000, &corpus, &["\u{7f}\u{7f}", "\0\0"], |bytes| {
        let _ = Record::decode(bytes);
    });
}
