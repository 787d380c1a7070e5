//! Since when samples count: kept for each sample from the batch to merged and converted blocks.

use std::collections::BTreeMap;

use cupola_block::{BlockFormat, list_blocks, verify};
use cupola_env::{ManualClock, RealFs};
use cupola_histogram::{Histogram, NativeHistogram};
use cupola_storage::{SampleValue, Samples};
use tempfile::TempDir;

use super::tests::{HOUR, MINUTE, all, name, open_with};
use super::*;

type Dump = BTreeMap<String, Vec<(i64, i64)>>;

fn open(dir: &TempDir, format: BlockFormat) -> Tsdb {
    open_with(dir, Arc::new(RealFs), |options| {
        options.start_timestamps = true;
        options.block_format = format;
        options.out_of_order_window_ms = 3 * HOUR;
        options.retention_ms = 0;
        options.max_block_ms = 18 * HOUR;
    })
    .unwrap()
}

fn write(tsdb: &Tsdb, series: &str, ts: i64, start: i64) {
    let mut appender = tsdb.appender();
    let series = appender.append(None, &name(series), ts, ts as f64).unwrap();
    appender.append_start(series, ts, start);
    appender.commit().unwrap();
}

// Each sample's time and start.
fn dump(tsdb: &Tsdb) -> Dump {
    let mut out = Dump::new();
    for series in tsdb.select(&all()).unwrap() {
        let mut samples = Samples::default();
        series.source.read(i64::MIN, i64::MAX, &mut samples).unwrap();
        let starts = samples.iter().map(|(ts, _, start)| (ts, start)).collect();
        out.insert(series.labels.value("__name__").to_owned(), starts);
    }
    out
}

#[test]
fn starts_survive_a_crash_a_checkpoint_a_block_merging_and_converting() {
    for format in [BlockFormat::Native, BlockFormat::Prometheus] {
        let dir = TempDir::new().unwrap();
        let mut tsdb = open(&dir, format);
        let mut model = Dump::new();
        let mut add = |tsdb: &Tsdb, series: &str, ts: i64, start: i64| {
            write(tsdb, series, ts, start);
            let samples = model.entry(series.to_owned()).or_default();
            samples.push((ts, start));
            samples.sort_unstable();
            model.clone()
        };
        let mut expected = Dump::new();
        for minute in 1..26 * 60 {
            let ts = minute * MINUTE;
            // One that was reset twice, one of which nobody knows it, one that is a delta, one that knows it now and then.
            add(
                &tsdb,
                "counter",
                ts,
                [1, 700 * MINUTE, 900 * MINUTE][usize::from(minute > 700) + usize::from(minute > 900)],
            );
            add(&tsdb, "unknown", ts, 0);
            add(&tsdb, "delta", ts, ts - MINUTE);
            expected = add(&tsdb, "sometimes", ts, if minute % 50 < 20 { 5 } else { 0 });
            if minute % 300 == 299 {
                // Behind the newest sample, and behind what blocks may have.
                add(&tsdb, "counter", ts - MINUTE / 2, 3);
                expected = add(&tsdb, "counter", ts - 170 * MINUTE + 7, 0);
                tsdb.maintain();
                if minute % 600 == 299 {
                    tsdb.close();
                }
                drop(tsdb);
                tsdb = open(&dir, format);
                assert_eq!(dump(&tsdb), expected, "{format:?} {minute}");
            }
        }
        tsdb.maintain();
        assert!(
            tsdb.blocks().iter().any(|block| block.maxt - block.mint > 3 * HOUR),
            "{:?}",
            tsdb.blocks()
        );
        assert_eq!(dump(&tsdb), expected);
        let snapshot = TempDir::new().unwrap();
        tsdb.snapshot(snapshot.path(), true).unwrap();
        assert_eq!(dump(&open(&snapshot, format)), expected);
        tsdb.close();
        drop(tsdb);
        let (vfs, clock) = (Arc::new(RealFs) as Arc<dyn Vfs>, ManualClock::new(0));
        for to in [BlockFormat::Prometheus, BlockFormat::Native] {
            let conversion = Conversion {
                dir: dir.path(),
                to,
                blocks: &[],
            };
            convert(conversion, &clock, &vfs, &mut |one| assert!(one.is_ok())).unwrap();
            for (block, _) in list_blocks(&RealFs, dir.path()).unwrap().blocks {
                verify(&RealFs, &block, &mut |fault| panic!("{fault}"));
            }
            let tsdb = open(&dir, to);
            assert_eq!(dump(&tsdb), expected, "{to:?}");
            tsdb.close();
        }
    }
}

#[test]
fn nothing_is_kept_where_it_is_not_asked_for() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with(&dir, Arc::new(RealFs), |_| {}).unwrap();
    write(&tsdb, "a", MINUTE, 1);
    assert_eq!(dump(&tsdb)["a"], [(MINUTE, 0)]);
    drop(tsdb);
    let tsdb = open(&dir, BlockFormat::Native);
    write(&tsdb, "a", 2 * MINUTE, 1);
    // A start behind its sample says nothing.
    write(&tsdb, "a", 3 * MINUTE, 4 * MINUTE);
    assert_eq!(dump(&tsdb)["a"], [(MINUTE, 0), (2 * MINUTE, 1), (3 * MINUTE, 0)]);
}

fn open_with_zeros(dir: &TempDir, window_ms: i64) -> Tsdb {
    open_with(dir, Arc::new(RealFs), |options| {
        options.start_zeros = true;
        options.out_of_order_window_ms = window_ms;
    })
    .unwrap()
}

// Each sample's time, and its value or the count of its histogram.
fn values(tsdb: &Tsdb, name: &str) -> Vec<(i64, f64)> {
    let mut out = Vec::new();
    for series in tsdb.select(&all()).unwrap() {
        let mut samples = Samples::default();
        series.source.read(i64::MIN, i64::MAX, &mut samples).unwrap();
        if series.labels.metric_name() == name {
            out.extend(samples.iter().map(|(ts, value, _)| match value {
                SampleValue::Float(value) => (ts, value),
                SampleValue::Histogram(histogram) => (ts, histogram.count),
            }));
        }
    }
    out
}

#[test]
fn a_zero_stands_where_a_series_begins_to_count_and_nothing_of_it_is_as_new() {
    for window_ms in [0, 30 * MINUTE] {
        let dir = TempDir::new().unwrap();
        let tsdb = open_with_zeros(&dir, window_ms);
        let mut expected = Vec::new();
        for (ts, start, zero) in [
            // More than an hour before: as old as no sample may be.
            (100, 30, None),
            (101, 30, None),
            (110, 105, Some(105)),
            (111, 105, None),
            // Before, at and behind the newest sample; at its own time, and behind it.
            (112, 110, None),
            (113, 112, None),
            (115, 114, Some(114)),
            (116, 116, None),
            (117, 118, None),
            (118, 0, None),
        ] {
            write(&tsdb, "a", ts * MINUTE, start * MINUTE);
            expected.extend(zero.map(|zero: i64| (zero * MINUTE, 0.0)));
            expected.push((ts * MINUTE, (ts * MINUTE) as f64));
        }
        assert_eq!(values(&tsdb, "a"), expected, "{window_ms}");
        // What comes late has no zero, whatever it says.
        if window_ms > 0 {
            write(&tsdb, "a", 109 * MINUTE, 108 * MINUTE);
            expected.push((109 * MINUTE, (109 * MINUTE) as f64));
            expected.sort_by_key(|(ts, _)| *ts);
        }
        assert_eq!(values(&tsdb, "a"), expected, "{window_ms}");
        // Nothing is said of the starts themselves.
        assert!(dump(&tsdb)["a"].iter().all(|(_, start)| *start == 0));
        drop(tsdb);
        let tsdb = open_with_zeros(&dir, window_ms);
        assert_eq!(values(&tsdb, "a"), expected, "{window_ms}");
        tsdb.close();
    }
}

#[test]
fn a_batch_of_many_samples_has_each_zero_once_and_in_its_place() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with_zeros(&dir, 0);
    let histogram = |count: u64| {
        NativeHistogram::Integer(Histogram {
            count,
            zero_count: count,
            zero_threshold: 0.5,
            schema: 3,
            ..Histogram::default()
        })
    };
    let mut appender = tsdb.appender();
    for (ts, start) in [(10, 5), (11, 5), (14, 12)] {
        let a = appender.append(None, &name("a"), ts, 1.0).unwrap();
        appender.append_start(a, ts, start);
        let h = appender.append_histogram(None, &name("h"), ts, histogram(3)).unwrap();
        appender.append_start(h, ts, start);
        // One that changes from histograms to floats.
        let b = match ts {
            11 => appender.append(None, &name("b"), ts, 3.0).unwrap(),
            _ => appender.append_histogram(None, &name("b"), ts, histogram(3)).unwrap(),
        };
        // Told behind those of others, as lines of OpenMetrics do it.
        appender.append_start(b, ts, start);
    }
    appender.commit().unwrap();
    let expected = |value| vec![(5, 0.0), (10, value), (11, value), (12, 0.0), (14, value)];
    let check = |tsdb: &Tsdb| {
        assert_eq!(values(tsdb, "a"), expected(1.0));
        assert_eq!(values(tsdb, "h"), expected(3.0));
        assert_eq!(values(tsdb, "b"), expected(3.0));
    };
    check(&tsdb);
    let empty = tsdb.select(&all()).unwrap().into_iter().find_map(|series| {
        let mut samples = Samples::default();
        series.source.read(0, 5, &mut samples).unwrap();
        let of_h = series.labels.metric_name() == "h";
        samples.iter().find_map(|(_, value, _)| match value {
            SampleValue::Histogram(histogram) if of_h => Some(histogram),
            _ => None,
        })
    });
    let empty = empty.unwrap();
    assert_eq!((empty.schema, empty.zero_threshold, empty.count), (3, 0.5, 0.0));
    drop(tsdb);
    let tsdb = open_with_zeros(&dir, 0);
    check(&tsdb);
    tsdb.close();
}

// A record of Prometheus's log, as a fragment of its own.
pub(super) fn fragment(record: &[u8]) -> Vec<u8> {
    let (len, sum) = (record.len() as u16, crc32c::crc32c(record));
    [&[1][..], &len.to_be_bytes(), &sum.to_be_bytes(), record].concat()
}

#[test]
fn starts_in_a_stopped_prometheus_log_are_taken_over() {
    let dir = TempDir::new().unwrap();
    let wal = dir.path().join("wal");
    std::fs::create_dir(&wal).unwrap();
    // Two series, then three samples of the second version: ref, time and start, each with its value.
    let mut series = vec![1];
    for (series_ref, name) in [(1_u64, b'a'), (2, b'b')] {
        series.extend(series_ref.to_be_bytes());
        series.extend([1, 8]);
        series.extend(b"__name__");
        series.extend([1, name]);
    }
    let value = 1.0_f64.to_bits().to_be_bytes();
    let samples = [
        // Zigzag: ref 1 at 20 since 10; ref 2 at 20, unknown; ref 1 at 30 since 12.
        &[11, 2, 40, 20][..],
        &value,
        &[2, 0, 0],
        &value,
        &[1, 20, 2, 4],
        &value,
    ]
    .concat();
    std::fs::write(wal.join("00000000"), [fragment(&series), fragment(&samples)].concat()).unwrap();
    let tsdb = open(&dir, BlockFormat::Native);
    let expected = Dump::from([
        ("a".to_owned(), vec![(20, 10), (30, 12)]),
        ("b".to_owned(), vec![(20, 0)]),
    ]);
    assert_eq!(dump(&tsdb), expected);
}
