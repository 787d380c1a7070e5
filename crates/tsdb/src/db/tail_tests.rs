use std::collections::HashMap;

use cupola_env::RealFs;
use cupola_storage::{Exemplar, LogPosition, LogTail, LogValue, Tailable as _};
use tempfile::TempDir;

use super::tests::{HOUR, MINUTE, name, open, open_with, write};
use super::*;

// Reads along as a sender does: labels from the log, and from the storage where the log does not name them.
#[derive(Default)]
struct Reader {
    names: HashMap<u64, Labels>,
    got: Vec<(String, i64, f64)>,
    unknown: usize,
}

impl Reader {
    fn read(&mut self, tail: &mut dyn LogTail) {
        while let Some(batch) = tail.next().unwrap() {
            self.names.extend(batch.series);
            for sample in batch.samples {
                let known = self.names.get(&sample.series).cloned();
                let Some(labels) = known.or_else(|| tail.labels(sample.series)) else {
                    self.unknown += 1;
                    continue;
                };
                let LogValue::Float(value) = sample.value else { continue };
                self.got.push((labels.metric_name().to_owned(), sample.ts, value));
            }
        }
    }
}

fn expected(series: &str, minutes: std::ops::Range<i64>) -> Vec<(String, i64, f64)> {
    let one = |minute| (series.to_owned(), minute * MINUTE, minute as f64);
    minutes.map(one).collect()
}

fn write_some(tsdb: &Tsdb, series: &str, minutes: std::ops::Range<i64>) {
    for minute in minutes {
        write(tsdb, &name(series), minute * MINUTE, minute as f64).unwrap();
    }
}

fn hold(options: &mut Options) {
    options.hold_log = true;
}

#[test]
fn whoever_begins_now_gets_what_comes() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    write_some(&tsdb, "a", 0..10);
    let mut tail = tsdb.tail(None).unwrap();
    let mut reader = Reader::default();
    reader.read(&mut *tail);
    assert!(reader.got.is_empty());
    write_some(&tsdb, "a", 10..20);
    write_some(&tsdb, "b", 20..25);
    reader.read(&mut *tail);
    assert_eq!(reader.got, [expected("a", 10..20), expected("b", 20..25)].concat());
    assert!(tail.labels(u64::MAX).is_none() && !tail.is_alive(u64::MAX));
    assert_eq!(tail.position(), tsdb.log_bounds().1);
}

#[test]
fn a_reader_goes_on_where_it_was_through_checkpoints_and_restarts() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with(&dir, Arc::new(RealFs), hold).unwrap();
    // Cut and gone from the head, and from the log but for who holds it.
    write_some(&tsdb, "gone", 0..30);
    let from = {
        let mut tail = tsdb.tail(Some(LogPosition::default())).unwrap();
        for _ in 0..10 {
            tail.next().unwrap().unwrap();
        }
        tail.position()
    };
    tsdb.hold_log(Some(from));
    write_some(&tsdb, "a", 30..6 * 60);
    tsdb.maintain();
    assert!(!tsdb.blocks().is_empty());
    tsdb.close();
    drop(tsdb);
    let tsdb = open_with(&dir, Arc::new(RealFs), hold).unwrap();
    write_some(&tsdb, "a", 6 * 60..7 * 60);
    tsdb.maintain();
    let (mut tail, mut reader) = (tsdb.tail(Some(from)).unwrap(), Reader::default());
    reader.read(&mut *tail);
    let all = [expected("gone", 10..30), expected("a", 30..7 * 60)].concat();
    assert_eq!((reader.got.len(), reader.unknown), (all.len(), 0));
    assert_eq!(reader.got, all);
    assert_eq!(tail.lost_segments(), 0);
    // Once it is read it goes.
    let before = tsdb.log_bytes();
    tsdb.hold_log(Some(tail.position()));
    tsdb.maintain();
    assert!(tsdb.log_bytes() < before, "{} {before}", tsdb.log_bytes());
    write_some(&tsdb, "a", 7 * 60..8 * 60);
    let mut more = Reader {
        names: reader.names,
        ..Reader::default()
    };
    more.read(&mut *tail);
    assert_eq!(more.got, expected("a", 7 * 60..8 * 60));
}

#[test]
fn a_process_that_logs_nothing_costs_who_is_behind_no_segment() {
    let dir = TempDir::new().unwrap();
    let start = || open_with(&dir, Arc::new(RealFs), hold).unwrap();
    let from = LogPosition { segment: 1, offset: 0 };
    let tsdb = start();
    tsdb.hold_log(Some(from));
    write_some(&tsdb, "a", 0..10);
    tsdb.close();
    drop(tsdb);
    for _ in 0..2 {
        let tsdb = start();
        tsdb.hold_log(Some(from));
        tsdb.close();
    }
    let tsdb = start();
    write_some(&tsdb, "a", 10..20);
    let (mut tail, mut reader) = (tsdb.tail(Some(from)).unwrap(), Reader::default());
    reader.read(&mut *tail);
    assert_eq!(reader.got, expected("a", 0..20));
    assert_eq!(tail.lost_segments(), 0);
}

#[test]
fn series_of_an_old_process_are_named_by_the_checkpoint_before() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with(&dir, Arc::new(RealFs), hold).unwrap();
    write_some(&tsdb, "a", 0..10);
    // A checkpoint that knows the series; the segments after it do not name it.
    assert!(tsdb.inner.checkpoint());
    write_some(&tsdb, "a", 10..20);
    let mut tail = tsdb.tail(None).unwrap();
    assert!(tail.next().unwrap().is_none() || tail.position() <= tsdb.log_bounds().1);
    let from = tsdb.log_bounds().1;
    tsdb.hold_log(Some(from));
    write_some(&tsdb, "a", 20..30);
    drop((tsdb, tail));
    let tsdb = open_with(&dir, Arc::new(RealFs), hold).unwrap();
    let mut reader = Reader::default();
    reader.read(&mut *tsdb.tail(Some(from)).unwrap());
    assert_eq!((reader.got, reader.unknown), (expected("a", 20..30), 0));
}

#[test]
fn more_than_the_bound_is_not_held_and_that_is_told() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with(&dir, Arc::new(RealFs), |options| {
        options.hold_log = true;
        options.max_held_log_bytes = 100;
    })
    .unwrap();
    tsdb.hold_log(Some(LogPosition::default()));
    write_some(&tsdb, "a", 0..30);
    assert!(tsdb.inner.checkpoint());
    write_some(&tsdb, "a", 30..40);
    let (mut tail, mut reader) = (
        tsdb.tail(Some(LogPosition { segment: 1, offset: 0 })).unwrap(),
        Reader::default(),
    );
    reader.read(&mut *tail);
    assert_eq!(reader.got, expected("a", 30..40));
    assert_eq!(tail.lost_segments(), 1);
}

#[test]
fn histograms_exemplars_and_late_samples_are_read_along() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with(&dir, Arc::new(RealFs), |options| options.out_of_order_window_ms = HOUR).unwrap();
    let mut tail = tsdb.tail(None).unwrap();
    write_some(&tsdb, "a", 10..12);
    write_some(&tsdb, "a", 5..6);
    let mut appender = tsdb.appender();
    let histogram = cupola_histogram::NativeHistogram::Integer(cupola_histogram::Histogram::default());
    let series = appender
        .append_histogram(None, &name("h"), 12 * MINUTE, histogram.clone())
        .unwrap();
    let exemplar = Exemplar {
        labels: name("trace"),
        value: 1.5,
        ts: 12 * MINUTE,
    };
    appender.append_exemplar(series, exemplar.clone()).unwrap();
    appender.commit().unwrap();
    let mut floats = Vec::new();
    let (mut histograms, mut exemplars) = (Vec::new(), Vec::new());
    while let Some(batch) = tail.next().unwrap() {
        for sample in batch.samples {
            match sample.value {
                LogValue::Float(value) => floats.push((sample.ts, value)),
                LogValue::Histogram(value) => histograms.push((sample.ts, (*value).clone())),
            }
        }
        exemplars.extend(batch.exemplars);
    }
    assert_eq!(floats, [(10 * MINUTE, 10.0), (11 * MINUTE, 11.0), (5 * MINUTE, 5.0)]);
    assert_eq!(histograms, [(12 * MINUTE, histogram)]);
    assert_eq!(exemplars, [(series.0, exemplar)]);
}

#[test]
fn a_reader_beside_a_writer_misses_nothing() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with(&dir, Arc::new(RealFs), hold).unwrap();
    let (mut tail, mut reader) = (tsdb.tail(None).unwrap(), Reader::default());
    tsdb.hold_log(Some(tail.position()));
    let minutes = 20 * 60;
    let writing = tsdb.clone();
    let writer = std::thread::spawn(move || {
        for minute in 0..minutes {
            write(&writing, &name("a"), minute * MINUTE, minute as f64).unwrap();
            // Blocks are cut and checkpoints written meanwhile, and the head forgets.
            if minute % 100 == 0 {
                writing.maintain();
            }
        }
    });
    while !writer.is_finished() {
        reader.read(&mut *tail);
        tsdb.hold_log(Some(tail.position()));
    }
    writer.join().unwrap();
    reader.read(&mut *tail);
    assert_eq!(
        (reader.got.len(), reader.unknown, tail.lost_segments()),
        (minutes as usize, 0, 0)
    );
    assert_eq!(reader.got, expected("a", 0..minutes));
}

#[test]
fn no_block_goes_because_remote_write_is_behind() {
    let fill = |retention_bytes: u64, held: Option<LogPosition>| {
        let dir = TempDir::new().unwrap();
        let tsdb = open_with(&dir, Arc::new(RealFs), |options| {
            options.max_block_ms = options.block_ms;
            options.retention_bytes = retention_bytes;
        })
        .unwrap();
        tsdb.hold_log(held);
        let mut most = 0;
        for hour in 0..24 {
            write_some(&tsdb, "a", hour * 60..(hour + 1) * 60);
            tsdb.maintain();
            let blocks: u64 = tsdb.blocks().iter().map(|block| block.bytes).sum();
            most = most.max(blocks + tsdb.log_bytes());
        }
        (tsdb.blocks().len(), most)
    };
    let (all, most) = fill(0, None);
    let begin = LogPosition::default();
    assert!(
        fill(0, Some(begin)).1 > most + 10_000,
        "most of a day of the log is held"
    );
    assert_eq!(fill(most, Some(begin)).0, all);
    assert!(fill(most / 2, Some(begin)).0 < all);
}
