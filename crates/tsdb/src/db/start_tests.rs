//! Since when samples count: kept for each sample from the batch to merged and converted blocks.

use std::collections::BTreeMap;

use cupola_block::{BlockFormat, list_blocks, verify};
use cupola_env::{ManualClock, RealFs};
use cupola_storage::Samples;
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

// A record of Prometheus's log, as a fragment of its own.
fn fragment(record: &[u8]) -> Vec<u8> {
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
