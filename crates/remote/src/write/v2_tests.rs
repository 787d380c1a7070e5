use cupola_model::MetricType;

use super::v2::{Written, family};
use super::*;
use crate::testing::samples;

const NOW: i64 = 1_700_000_000_000;

fn uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    out.push(field << 3 | 2);
    uvarint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn sample(ts: i64, value: f64, start: i64) -> Vec<u8> {
    let mut out = vec![1 << 3 | 1];
    out.extend(value.to_le_bytes());
    out.push(2 << 3);
    uvarint(&mut out, ts as u64);
    out.push(3 << 3);
    uvarint(&mut out, start as u64);
    out
}

// Labels as numbers of symbols, and the other fields of a series.
type Given<'a> = (&'a [u8], &'a [(u8, Vec<u8>)]);

// A request with symbols "", __name__, up, job, a, help, seconds, h_bucket, and series of these labels and fields.
fn request(all: &[Given<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for symbol in ["", "__name__", "up", "job", "a", "help", "seconds", "h_bucket"] {
        bytes(&mut out, 4, symbol.as_bytes());
    }
    for (labels, fields) in all {
        let mut series = Vec::new();
        bytes(&mut series, 1, labels);
        fields
            .iter()
            .for_each(|(field, value)| bytes(&mut series, *field, value));
        bytes(&mut out, 5, &series);
    }
    snap::raw::Encoder::new().compress_vec(&out).unwrap()
}

fn write(db: &cupola_tsdb::Tsdb, receiver: &WriteReceiver, message: &[u8]) -> (Written, Result<(), String>) {
    let (written, result) = receiver.write_v2(db, message, &mut Memory::unlimited(1 << 20), NOW);
    (written, result.map_err(|error| error.to_string()))
}

#[test]
fn symbols_that_are_named_again_and_again_do_not_fill_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let db = crate::testing::open(dir.path(), NOW);
    let receiver = WriteReceiver::new(&Registry::default());
    let many: Vec<u8> = [1, 2].into_iter().chain([3, 4].repeat(40_000)).collect();
    let (written, result) = write(&db, &receiver, &request(&[(&many, &[(2, sample(NOW, 1.0, 0))])]));
    assert_eq!(written, Written::default());
    let told = result.unwrap_err();
    assert!(
        told.starts_with("labels of ") && told.ends_with("more than 1048576 are not taken"),
        "{told}"
    );
    // An exemplar's are refused, too; its sample is written.
    let mut exemplar = Vec::new();
    bytes(&mut exemplar, 1, &many);
    exemplar.extend([3 << 3, 1]);
    let (written, result) = write(
        &db,
        &receiver,
        &request(&[(&[1, 2], &[(2, sample(NOW, 1.0, 0)), (4, exemplar)])]),
    );
    assert_eq!((written.samples, written.exemplars), (1, 0));
    assert!(result.unwrap_err().contains("labels of "));
}

#[test]
fn what_is_told_of_many_mistakes_is_no_longer_than_senders_read() {
    let dir = tempfile::tempdir().unwrap();
    let db = crate::testing::open(dir.path(), NOW);
    let receiver = WriteReceiver::new(&Registry::default());
    let old = [(2, sample(NOW + MAX_AHEAD_MS + 1, 1.0, 0))];
    let of_one: Given<'_> = (&[1, 2, 3, 4], &old);
    let (_, result) = write(&db, &receiver, &request(&vec![of_one; 5000]));
    let told = result.unwrap_err();
    assert!((64_000..65_536).contains(&told.len()), "{}", told.len());
    let lines: Vec<&str> = told.lines().collect();
    let (last, all) = lines.split_last().unwrap();
    let same = r#"out of bounds for series {__name__="up", job="a"}"#;
    assert!(all.iter().all(|line| *line == same));
    assert_eq!(*last, format!("and {} more", 5000 - all.len()));
    // One that is too long by itself is cut.
    let mut message = Vec::new();
    for symbol in ["", "__name__", "up", "a", &"\u{fc}".repeat(50_000)] {
        bytes(&mut message, 4, symbol.as_bytes());
    }
    for _ in 0..2 {
        let mut series = Vec::new();
        bytes(&mut series, 1, &[1, 2, 3, 4]);
        bytes(&mut series, 2, &old[0].1);
        bytes(&mut message, 5, &series);
    }
    let message = snap::raw::Encoder::new().compress_vec(&message).unwrap();
    let (_, result) = write(&db, &receiver, &message);
    let told = result.unwrap_err();
    assert!((64_000..65_536).contains(&told.len()), "{}", told.len());
    assert!(told.starts_with("out of bounds for series {") && told.ends_with("\u{fc}\nand 1 more"));
}

#[test]
fn what_can_be_written_is_and_the_rest_is_told() {
    use cupola_storage::Queryable as _;
    let dir = tempfile::tempdir().unwrap();
    let db = crate::testing::open(dir.path(), NOW);
    let receiver = WriteReceiver::new(&Registry::default());
    let mut exemplar = vec![1 << 3 | 2, 2, 3, 4, 2 << 3 | 1];
    exemplar.extend(7_f64.to_le_bytes());
    exemplar.push(3 << 3);
    uvarint(&mut exemplar, NOW as u64);
    let good = |ts| {
        vec![
            (2, sample(ts, 1.5, NOW - 1000)),
            (4, exemplar.clone()),
            (5, vec![1 << 3, 2, 3 << 3, 5, 4 << 3, 6]),
        ]
    };
    let (written, result) = write(&db, &receiver, &request(&[(&[1, 2, 3, 4], &good(NOW - 1))]));
    assert_eq!((written.samples, written.exemplars, result), (1, 1, Ok(())));
    for round in 0..3 {
        let message = request(&[
            (&[1, 2, 3, 4], &good(NOW + round)),
            (&[1, 2, 3, 4], &[(2, sample(NOW - 2, 1.0, 0))]),
            (&[3, 4], &[(2, sample(NOW, 1.0, 0))]),
            (&[1, 0], &[(2, sample(NOW, 1.0, 0))]),
            (&[1, 2, 2, 4, 2, 4], &[(2, sample(NOW, 1.0, 0))]),
            (&[1, 2, 3], &[(2, sample(NOW, 1.0, 0))]),
            (&[1, 99], &[(2, sample(NOW, 1.0, 0))]),
            (&[1, 4], &[(4, exemplar.clone())]),
            (&[1, 2], &[(2, sample(NOW + MAX_AHEAD_MS + 1, 1.0, 0))]),
        ]);
        let (written, result) = write(&db, &receiver, &message);
        assert_eq!(
            result.unwrap_err().lines().collect::<Vec<_>>(),
            [
                r#"out of order sample for series {__name__="up", job="a"}"#,
                r#"invalid metric name or labels, got {job="a"}"#,
                r#"invalid metric name or labels, got {__name__=""}"#,
                r#"invalid labels for series, labels {__name__="up", up="a", up="a"}, duplicated label up"#,
                "parsing labels for series [1 2 3]: invalid labelRefs length 3",
                "parsing labels for series [1 99]: labelRefs 1 (name) = 99 (value) outside of symbols table (size 8)",
                r#"TimeSeries must contain at least one sample or histogram for series {__name__="a"}"#,
                r#"out of bounds for series {__name__="up"}"#,
            ],
            "round {round}"
        );
        assert_eq!((written.samples, written.histograms, written.exemplars), (1, 0, 1));
    }
    let all = samples(&db, "up");
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].ts, [NOW - 1, NOW, NOW + 1, NOW + 2]);
    assert_eq!(all[0].starts, [NOW - 1000; 4]);
    let (name, metadata) = db.metadata().remove(0);
    assert_eq!(
        (
            name.as_str(),
            metadata.kind,
            metadata.help.as_str(),
            metadata.unit.as_str()
        ),
        ("up", MetricType::Gauge, "help", "seconds")
    );
}

#[test]
fn histograms_of_both_kinds_come_with_their_start() {
    let dir = tempfile::tempdir().unwrap();
    let db = crate::testing::open(dir.path(), NOW);
    let receiver = WriteReceiver::new(&Registry::default());
    // An integer histogram with custom buckets: 2 and 1 observations.
    let mut histogram = vec![1 << 3, 3, 3 << 3 | 1];
    histogram.extend(4.5_f64.to_le_bytes());
    histogram.extend([4 << 3, 105]);
    bytes(&mut histogram, 11, &[2 << 3, 2]);
    bytes(&mut histogram, 12, &[4, 1]);
    histogram.push(15 << 3);
    uvarint(&mut histogram, NOW as u64);
    histogram.extend([0x82, 0x01, 8]);
    histogram.extend(0.25_f64.to_le_bytes());
    histogram.extend([0x88, 0x01]);
    uvarint(&mut histogram, NOW as u64 - 5);
    let wrong = [&[1 << 3, 4][..], &histogram[2..]].concat();
    let message = request(&[
        (&[1, 2], &[(3, histogram.clone())]),
        (&[1, 4], &[(3, wrong)]),
        (&[1, 7, 3, 4], &[(3, histogram), (5, vec![1 << 3, 3, 3 << 3, 5])]),
    ]);
    let (written, result) = write(&db, &receiver, &message);
    assert_eq!((written.samples, written.histograms), (0, 2));
    let error = result.unwrap_err();
    assert!(error.ends_with(r#" for series {__name__="a"}"#), "{error}");
    let all = samples(&db, "up");
    assert_eq!(all[0].histograms.starts, [NOW - 5]);
    assert_eq!(all[0].histograms.values[0].count, 3.0);
    assert_eq!(*all[0].histograms.values[0].custom_values, [0.25]);
    use cupola_storage::Queryable as _;
    assert_eq!(db.metadata().remove(0).0, "h");
    assert_eq!(family("h_sum", MetricType::Summary), "h");
    assert_eq!(family("h_sum", MetricType::Gauge), "h_sum");
}

#[test]
fn garbage_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    let db = crate::testing::open(dir.path(), NOW);
    let receiver = WriteReceiver::new(&Registry::default());
    let message = request(&[
        (
            &[1, 2, 3, 4],
            &[(2, sample(NOW, 1.5, NOW)), (5, vec![1 << 3, 2, 3 << 3, 5])],
        ),
        (
            &[1, 2],
            &[(3, vec![1 << 3, 3, 15 << 3, 1]), (4, vec![1 << 3 | 2, 2, 1, 2])],
        ),
    ]);
    let plain = snap::raw::Decoder::new().decompress_vec(&message).unwrap();
    cupola_testkit::fuzz(5_000, &[message, plain], &[], |bytes| {
        // Any answer will do; what counts is that there is one.
        let _ = receiver.write_v2(&db, bytes, &mut Memory::unlimited(1 << 20), NOW);
        let packed = snap::raw::Encoder::new().compress_vec(bytes).unwrap();
        let _ = receiver.write_v2(&db, &packed, &mut Memory::unlimited(1 << 20), NOW);
    });
}

#[test]
fn series_tell_type_and_unit_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let db = crate::testing::open(dir.path(), NOW);
    let receiver = WriteReceiver::new(&Registry::default()).with_types(true);
    // The same labels as gauge of seconds, as counter, and without metadata.
    let gauge = vec![1 << 3, 2, 4 << 3, 6];
    let counter = vec![1 << 3, 1];
    for ts in [NOW, NOW + 1] {
        let given: [Vec<(u8, Vec<u8>)>; 3] = [
            vec![(2, sample(ts, 1.0, 0)), (5, gauge.clone())],
            vec![(2, sample(ts, 2.0, 0)), (5, counter.clone())],
            vec![(2, sample(ts, 3.0, 0))],
        ];
        let all: Vec<Given<'_>> = given.iter().map(|fields| (&[1, 2][..], &fields[..])).collect();
        let (written, result) = write(&db, &receiver, &request(&all));
        assert_eq!((written.samples, result), (3, Ok(())));
    }
    let all = crate::testing::series(&db, "up");
    let found: std::collections::BTreeSet<String> = all.iter().map(|(labels, _)| labels.to_string()).collect();
    let expected = [
        r#"{__name__="up", __type__="counter"}"#,
        r#"{__name__="up", __type__="gauge", __unit__="seconds"}"#,
        r#"{__name__="up"}"#,
    ];
    assert!(found.iter().map(String::as_str).eq(expected), "{found:?}");
}

// A symbol of a megabyte, named by a million series in a few bytes each.
#[test]
fn series_that_share_a_long_text_do_not_fill_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let db = crate::testing::open(dir.path(), NOW);
    let mut receiver = WriteReceiver::new(&Registry::default());
    receiver.texts = 100_000;
    let mut message = Vec::new();
    let long = "x".repeat(20_000);
    for symbol in ["", "__name__", "up", "job", &long] {
        bytes(&mut message, 4, symbol.as_bytes());
    }
    for n in 0_u8..100 {
        bytes(&mut message, 4, n.to_string().as_bytes());
    }
    for n in 0_u8..100 {
        let mut series = Vec::new();
        bytes(&mut series, 1, &[1, 5 + n, 3, 4]);
        bytes(&mut series, 2, &sample(NOW, 1.0, 0));
        // A counter, whose help is the long text again.
        bytes(&mut series, 5, &[1 << 3, 1, 3 << 3, 4]);
        bytes(&mut message, 5, &series);
    }
    let allowed = 100_000 + 16 * message.len() as u64;
    let message = snap::raw::Encoder::new().compress_vec(&message).unwrap();
    let (written, result) = write(&db, &receiver, &message);
    let told = result.unwrap_err();
    let first = told.lines().next().unwrap();
    assert!(
        first.starts_with(&format!("the texts of the message take more than {allowed} bytes")),
        "{told}"
    );
    assert!((1..allowed / 40_000 + 2).contains(&written.samples), "{written:?}");
    // What is known takes nothing any more.
    let (again, _) = write(&db, &receiver, &message);
    assert!(again.samples > written.samples, "{again:?}");
}

#[test]
fn series_begin_with_a_zero_where_the_storage_makes_them() {
    let dir = tempfile::tempdir().unwrap();
    let db = crate::testing::open_with_zeros(dir.path(), NOW);
    let receiver = WriteReceiver::new(&Registry::default());
    // Each sample tells its start, as senders do it: a reset between the second and the third one.
    let of = |ts: i64, value: f64, start: i64| (2, sample(NOW + ts, value, NOW + start));
    let first = request(&[(&[1, 2], &[of(0, 5.0, -900), of(10, 6.0, -900), of(20, 1.0, 15)])]);
    assert_eq!(write(&db, &receiver, &first).1, Ok(()));
    let second = request(&[(&[1, 2], &[of(30, 2.0, 15)])]);
    assert_eq!(write(&db, &receiver, &second).1, Ok(()));
    let all = samples(&db, "up");
    let ts: Vec<i64> = all[0].ts.iter().map(|ts| ts - NOW).collect();
    assert_eq!(ts, [-900, 0, 10, 15, 20, 30]);
    assert_eq!(all[0].values, [0.0, 5.0, 6.0, 0.0, 1.0, 2.0]);
}
