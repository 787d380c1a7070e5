//! Native histograms through head, log, checkpoint and block: what comes out is what was put in.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cupola_block::{BlockFormat, StoredChunk, list_blocks};
use cupola_chunk::{Encoding, NativeValue, decode_native};
use cupola_env::RealFs;
use cupola_histogram::{CounterResetHint, FloatHistogram, Histogram, HistogramRef, NativeHistogram, Span};
use cupola_model::{STALE_NAN, is_stale_nan};
use cupola_storage::{AppendError, SampleValue, Samples};
use proptest::prelude::*;
use tempfile::TempDir;

use super::tests::{HOUR, MINUTE, all, name, open, open_with};
use super::*;

/// A sample as bits, whatever empty buckets it lists: a float; or a histogram's scalars and its populated buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Stale,
    Float(u64),
    Histogram(Vec<u64>, Vec<(i64, u64)>),
}

fn key_of(h: &FloatHistogram) -> Key {
    if h.is_stale() {
        return Key::Stale;
    }
    let mut scalars = vec![h.schema as u64];
    let floats = [h.zero_threshold, h.count, h.zero_count, h.sum];
    scalars.extend(floats.iter().chain(h.custom_values.iter()).map(|float| float.to_bits()));
    let mut buckets = Vec::new();
    for (side, spans, counts) in [
        (0, &h.positive_spans, &h.positive_buckets),
        (1 << 40, &h.negative_spans, &h.negative_buckets),
    ] {
        let (mut index, mut counts) = (side, counts.iter());
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
    Key::Histogram(scalars, buckets)
}

fn float_key(value: f64) -> Key {
    if is_stale_nan(value) {
        Key::Stale
    } else {
        Key::Float(value.to_bits())
    }
}

type Native = (Vec<Encoding>, Vec<(i64, NativeValue)>);
type Dump = BTreeMap<Labels, Vec<(i64, Key)>>;

fn dump(tsdb: &Tsdb) -> Dump {
    let mut out = Dump::new();
    for series in tsdb.select(&all()).unwrap() {
        let mut samples = Samples::default();
        series.source.read(i64::MIN, i64::MAX, &mut samples).unwrap();
        let key = |value: SampleValue| match value {
            SampleValue::Float(value) => float_key(value),
            SampleValue::Histogram(h) => key_of(&h),
        };
        let keys: Vec<_> = samples.iter().map(|(ts, value, _)| (ts, key(value))).collect();
        if !keys.is_empty() {
            out.insert(series.labels, keys);
        }
    }
    out
}

fn counter(count: u64) -> Histogram {
    let spans = if count.is_multiple_of(7) {
        vec![Span { offset: 0, length: 1 }]
    } else {
        vec![Span { offset: 0, length: 1 }, Span { offset: 3, length: 2 }]
    };
    let buckets = if spans.len() == 1 {
        vec![count as i64]
    } else {
        vec![count as i64, -(count as i64), 0]
    };
    Histogram {
        schema: 3,
        zero_threshold: 0.001,
        count,
        sum: count as f64 / 3.0,
        positive_spans: spans,
        positive_buckets: buckets,
        ..Histogram::default()
    }
}

fn write(tsdb: &Tsdb, labels: &Labels, ts: i64, value: NativeValue) -> Result<(), AppendError> {
    let mut appender = tsdb.appender();
    match value {
        NativeValue::Float(value) => appender.append(None, labels, ts, value)?,
        NativeValue::Histogram(h) => appender.append_histogram(None, labels, ts, h)?,
    };
    appender.commit().unwrap();
    Ok(())
}

fn integer(count: u64) -> NativeValue {
    NativeValue::Histogram(NativeHistogram::Integer(counter(count)))
}

fn float(count: u64) -> NativeValue {
    NativeValue::Histogram(NativeHistogram::Float(counter(count).to_float()))
}

// The chunks of all blocks: encodings, and every sample as it was written.
fn native(tsdb: &Tsdb) -> BTreeMap<Labels, Native> {
    let mut out: BTreeMap<Labels, Native> = BTreeMap::new();
    for block in tsdb.inner.blocks.load().iter() {
        let mut reader = block.chunk_reader();
        for series in block.iter().unwrap() {
            let series = series.unwrap();
            let entry = out.entry(series.labels).or_default();
            for chunk in &series.chunks {
                match reader.read(chunk).unwrap() {
                    StoredChunk::Encoded(encoding, bytes) => {
                        entry.0.push(encoding);
                        decode_native(encoding, bytes, &mut entry.1).unwrap();
                    }
                    StoredChunk::Columnar(chunk) => {
                        let (mut ts, mut values) = (Vec::new(), Vec::new());
                        chunk.decode(i64::MIN, i64::MAX, &mut ts, &mut values).unwrap();
                        let values = values.into_iter().map(NativeValue::Float);
                        entry.1.extend(ts.into_iter().zip(values));
                    }
                }
            }
        }
    }
    out
}

#[test]
fn a_float_series_does_not_pay_for_histograms() {
    assert_eq!(crate::head::series_bytes(), 112);
}

#[test]
fn histograms_survive_a_crash_a_checkpoint_and_the_way_into_a_block() {
    let dir = TempDir::new().unwrap();
    let mut tsdb = open(&dir);
    let (a, b) = (name("a"), name("b"));
    for minute in 0..200 {
        write(&tsdb, &a, minute * MINUTE, integer(minute as u64 + 1)).unwrap();
        write(&tsdb, &b, minute * MINUTE, float(minute as u64 + 1)).unwrap();
    }
    let before = dump(&tsdb);
    assert_eq!((before[&a].len(), before[&b].len()), (200, 200));
    assert_eq!(before[&a][9].1, key_of(&counter(10).to_float()));
    drop(tsdb);
    tsdb = open(&dir);
    assert_eq!(dump(&tsdb), before);
    tsdb.close();
    drop(tsdb);
    tsdb = open(&dir);
    assert_eq!(dump(&tsdb), before);

    write(&tsdb, &a, 4 * HOUR, integer(500)).unwrap();
    write(&tsdb, &b, 4 * HOUR, NativeValue::Float(1.0)).unwrap();
    let before = dump(&tsdb);
    tsdb.maintain();
    assert_eq!(dump(&tsdb), before);
    let stats = tsdb.inner.blocks.load()[0].meta().stats.clone();
    assert_eq!((stats.num_samples, stats.num_histogram_samples), (240, 240));
    let native = native(&tsdb);
    let in_block = |labels| {
        let (encodings, samples): &Native = &native[labels];
        (encodings[0], samples.len())
    };
    assert_eq!(in_block(&a), (Encoding::Histogram, 120));
    assert_eq!(in_block(&b), (Encoding::FloatHistogram, 120));
    drop(tsdb);
    assert_eq!(dump(&open(&dir)), before);
}

#[test]
fn a_series_changes_its_kind_within_a_batch() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    let a = name("a");
    let mut batch = tsdb.appender();
    let h = |count| NativeHistogram::Integer(counter(count));
    batch.append(None, &a, 1, 1.0).unwrap();
    batch.append_histogram(None, &a, 2, h(2)).unwrap();
    batch.append_histogram(None, &a, 3, h(3)).unwrap();
    batch.append(None, &a, 4, 4.0).unwrap();
    batch.append(None, &name("b"), 4, 4.0).unwrap();
    batch.append_histogram(None, &a, 5, h(5)).unwrap();
    // Behind a histogram it is one of histograms.
    batch.append(None, &a, 6, STALE_NAN).unwrap();
    assert!(dump(&tsdb).is_empty(), "nothing is seen before the batch is committed");
    batch.commit().unwrap();
    let expected = [
        (1, Key::Float(1_f64.to_bits())),
        (2, key_of(&counter(2).to_float())),
        (3, key_of(&counter(3).to_float())),
        (4, Key::Float(4_f64.to_bits())),
        (5, key_of(&counter(5).to_float())),
        (6, Key::Stale),
    ];
    assert_eq!(dump(&tsdb)[&a], expected);
    let mut samples = Samples::default();
    tsdb.select(&all())
        .unwrap()
        .iter()
        .find(|series| series.labels == a)
        .unwrap()
        .source
        .read(i64::MIN, i64::MAX, &mut samples)
        .unwrap();
    assert_eq!((samples.ts, samples.histograms.ts), (vec![1, 4], vec![2, 3, 5, 6]));
    drop(tsdb);
    assert_eq!(dump(&open(&dir))[&a], expected);
}

#[test]
fn what_cannot_follow_is_refused_as_upstream_does() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    let a = name("a");
    write(&tsdb, &a, 10_000, integer(14)).unwrap();
    // Again the same, also with buckets the chunk has by now.
    write(&tsdb, &a, 20_000, integer(15)).unwrap();
    write(&tsdb, &a, 20_000, integer(15)).unwrap();
    write(&tsdb, &a, 30_000, integer(21)).unwrap();
    write(&tsdb, &a, 30_000, integer(21)).unwrap();
    assert_eq!(write(&tsdb, &a, 30_000, integer(22)), Err(AppendError::Duplicate));
    assert_eq!(write(&tsdb, &a, 30_000, float(21)), Err(AppendError::Duplicate));
    assert_eq!(
        write(&tsdb, &a, 30_000, NativeValue::Float(1.0)),
        Err(AppendError::Duplicate)
    );
    assert_eq!(write(&tsdb, &a, 29_999, integer(22)), Err(AppendError::OutOfOrder));
    assert_eq!(
        write(&tsdb, &a, 29_999, NativeValue::Float(1.0)),
        Err(AppendError::OutOfOrder)
    );
    let invalid = NativeHistogram::Integer(Histogram {
        count: 1,
        ..Histogram::default()
    });
    let error = write(&tsdb, &a, 40_000, NativeValue::Histogram(invalid)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0 observations found in buckets, but the Count field is 1: histogram's observation count should equal the \
         number of observations found in the buckets (in absence of NaN)"
    );
    let empty = Histogram {
        positive_spans: vec![Span { offset: 1, length: 0 }; 65],
        ..Histogram::default()
    };
    let error = write(
        &tsdb,
        &a,
        40_000,
        NativeValue::Histogram(NativeHistogram::Integer(empty)),
    );
    assert_eq!(error, Err(AppendError::EmptySpans));
    assert_eq!(dump(&tsdb)[&a].len(), 3);
}

#[test]
fn resolutions_of_the_future_are_kept_at_the_finest_of_today() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    let fine = Histogram {
        schema: 10,
        ..counter(8)
    };
    let mut expected = fine.to_float();
    expected.reduce_resolution(8);
    let both = [NativeHistogram::Float(fine.to_float()), NativeHistogram::Integer(fine)];
    for (minute, histogram) in (1..).zip(both) {
        write(&tsdb, &name("a"), minute * MINUTE, NativeValue::Histogram(histogram)).unwrap();
    }
    let samples = vec![(MINUTE, key_of(&expected)), (2 * MINUTE, key_of(&expected))];
    let expected = Dump::from([(name("a"), samples)]);
    assert_eq!(dump(&tsdb), expected);
    drop(tsdb);
    assert_eq!(dump(&open(&dir)), expected);
}

#[test]
fn deleting_takes_samples_out_of_chunks() {
    let dir = TempDir::new().unwrap();
    let tsdb = open(&dir);
    let a = name("a");
    for minute in 0..100 {
        write(&tsdb, &a, minute * MINUTE, integer(minute as u64)).unwrap();
    }
    let mut expected = dump(&tsdb);
    tsdb.delete_series(&[Vec::new()], 10 * MINUTE, 19 * MINUTE).unwrap();
    expected
        .get_mut(&a)
        .unwrap()
        .retain(|(ts, _)| !(10 * MINUTE..=19 * MINUTE).contains(ts));
    assert_eq!(dump(&tsdb), expected);
    drop(tsdb);
    let tsdb = open(&dir);
    assert_eq!(dump(&tsdb), expected);
    write(&tsdb, &a, 100 * MINUTE, integer(100)).unwrap();
    assert_eq!(dump(&tsdb)[&a].len(), 91);
}

// Debian's promtool reads the block that was cut, to the last byte.
#[test]
fn promtool_reads_a_block_of_histograms() {
    let dir = TempDir::new().unwrap();
    let tsdb = open_with(&dir, Arc::new(RealFs), |options| {
        options.block_format = BlockFormat::Prometheus;
    })
    .unwrap();
    for minute in 0..240 {
        write(&tsdb, &name("a"), minute * MINUTE, integer(minute as u64)).unwrap();
        write(&tsdb, &name("f"), minute * MINUTE, NativeValue::Float(minute as f64)).unwrap();
    }
    tsdb.maintain();
    tsdb.close();
    let list = list_blocks(&RealFs, dir.path()).unwrap();
    assert_eq!(list.blocks.len(), 1);
    let verified = cupola_block::verify(&RealFs, &list.blocks[0].0, &mut |fault| panic!("{fault}")).unwrap();
    assert_eq!(
        (verified.found.num_histogram_samples, verified.found.num_samples),
        (120, 240)
    );
    // It wants one, although nothing is in it.
    std::fs::create_dir(dir.path().join("wal")).unwrap();
    let Some(text) = promtool(&["tsdb", "dump"], dir.path()) else {
        return;
    };
    // This version prints floats only; an end-to-end test lets a server read histograms that we wrote.
    assert!(text.contains("{__name__=\"f\"} 119 7140000"), "{text}");
}

fn promtool(args: &[&str], dir: &Path) -> Option<String> {
    match Command::new("promtool").args(args).arg(dir).output() {
        Ok(output) => {
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "promtool {args:?}: {err}");
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(error) => {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "promtool missing in CI: {error}"
            );
            eprintln!("SKIPPED: promtool cannot be run: {error}");
            None
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Observe {
        series: usize,
        bucket: i32,
        count: u64,
    },
    Float {
        series: usize,
        bits: u64,
    },
    Stale {
        series: usize,
    },
    // Out of order.
    Late {
        series: usize,
        minutes_back: i64,
        count: u8,
        is_float: bool,
    },
    // What a target does when it starts anew, or its instrumentation changes.
    Shape {
        series: usize,
        schema: i32,
        is_float: bool,
        is_gauge: bool,
        bounds: usize,
    },
    Delete {
        from: i64,
        to: i64,
    },
    Crash,
    Close,
    Maintain,
}

fn step() -> impl Strategy<Value = Step> {
    let series = 0..3_usize;
    prop_oneof![
        60 => (series.clone(), -8..8_i32, 0..1000_u64).prop_map(|(series, bucket, count)| Step::Observe { series, bucket, count }),
        6 => (series.clone(), any::<u64>()).prop_map(|(series, bits)| Step::Float { series, bits }),
        2 => series.clone().prop_map(|series| Step::Stale { series }),
        15 => (series.clone(), 0..900_i64, 1..12_u8, any::<bool>()).prop_map(
            |(series, minutes_back, count, is_float)| Step::Late { series, minutes_back, count, is_float: is_float && count == 1 }),
        4 => (series, -4..9_i32, any::<bool>(), any::<bool>(), 0..3_usize).prop_map(
            |(series, schema, is_float, is_gauge, bounds)| Step::Shape { series, schema, is_float, is_gauge, bounds }),
        2 => (0..100_i64, 0..40_i64).prop_map(|(from, len)| Step::Delete { from, to: from + len }),
        2 => Just(Step::Crash),
        1 => Just(Step::Close),
        1 => Just(Step::Maintain),
    ]
}

#[derive(Debug, Clone, Default)]
struct Instrument {
    schema: i32,
    is_float: bool,
    is_gauge: bool,
    bounds: usize,
    positive: BTreeMap<i32, u64>,
    negative: BTreeMap<i32, u64>,
}

impl Instrument {
    fn histogram(&self) -> NativeHistogram {
        let side = |buckets: &BTreeMap<i32, u64>| {
            let (mut spans, mut deltas): (Vec<Span>, Vec<i64>) = (Vec::new(), Vec::new());
            let (mut end, mut last) = (0, 0);
            for (index, count) in buckets {
                match spans.last_mut() {
                    Some(span) if *index == end => span.length += 1,
                    _ => spans.push(Span {
                        offset: index - end,
                        length: 1,
                    }),
                }
                end = index + 1;
                deltas.push(*count as i64 - last);
                last = *count as i64;
            }
            (spans, deltas)
        };
        let is_custom = self.bounds > 0;
        let (positive_spans, positive_buckets) = side(&self.positive);
        let (negative_spans, negative_buckets) = side(&self.negative);
        let histogram = Histogram {
            counter_reset_hint: if self.is_gauge {
                CounterResetHint::Gauge
            } else {
                CounterResetHint::Unknown
            },
            schema: if is_custom { -53 } else { self.schema },
            zero_threshold: if is_custom { 0.0 } else { 0.001 },
            count: self.positive.values().chain(self.negative.values()).sum(),
            sum: self.positive.len() as f64 - 0.5,
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            custom_values: (0..10 * self.bounds).map(|bound| bound as f64 / 8.0).collect(),
            ..Histogram::default()
        };
        if self.is_float {
            NativeHistogram::Float(histogram.to_float())
        } else {
            NativeHistogram::Integer(histogram)
        }
    }
}

fn open_late(dir: &TempDir) -> Tsdb {
    open_with(dir, Arc::new(RealFs), |options| {
        options.out_of_order_window_ms = 1000 * HOUR
    })
    .expect("a database")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_run_with_crashes_keeps_exactly_what_was_acknowledged(steps in proptest::collection::vec(step(), 1..250)) {
        let dir = TempDir::new().unwrap();
        let mut tsdb = Some(open_late(&dir));
        let mut model = Dump::new();
        let mut instruments: Vec<Instrument> = vec![Instrument::default(); 3];
        let mut now = 0;
        for step in steps {
            now += 2 * MINUTE;
            let this = tsdb.as_ref().unwrap();
            let mut put = |series: usize, value: NativeValue, key: Key| {
                let labels = name(&format!("m{series}"));
                write(this, &labels, now, value).unwrap();
                // Late ones may be of times that are to come.
                let run = model.entry(labels).or_default();
                run.insert(run.partition_point(|(ts, _)| *ts < now), (now, key));
            };
            match step {
                Step::Observe { series, bucket, count } => {
                    let instrument = &mut instruments[series];
                    if bucket < 0 && instrument.bounds == 0 {
                        *instrument.negative.entry(-bucket).or_default() += count;
                    } else {
                        *instrument.positive.entry(bucket.abs()).or_default() += count;
                    }
                    let h = instrument.histogram();
                    prop_assert_eq!(h.validate(), Ok(()));
                    let key = key_of(&h.to_float());
                    put(series, NativeValue::Histogram(h), key);
                }
                Step::Float { series, bits } => {
                    let value = f64::from_bits(bits);
                    put(series, NativeValue::Float(value), float_key(value));
                }
                Step::Stale { series } => put(series, NativeValue::Float(STALE_NAN), Key::Stale),
                Step::Late { series, minutes_back, count, is_float } => {
                    let labels = name(&format!("m{series}"));
                    let histogram = instruments[series].histogram();
                    for n in 0..i64::from(count) {
                        let ts = now - (minutes_back / 2 * 2 - n) * MINUTE - 1;
                        let run = model.entry(labels.clone()).or_default();
                        let Err(place) = run.binary_search_by_key(&ts, |(ts, _)| *ts) else { continue };
                        let (value, key) = if is_float {
                            (NativeValue::Float(n as f64), float_key(n as f64))
                        } else {
                            let key = key_of(&histogram.to_float());
                            (NativeValue::Histogram(histogram.clone()), key)
                        };
                        run.insert(place, (ts, key));
                        write(this, &labels, ts, value).unwrap();
                    }
                }
                Step::Shape { series, schema, is_float, is_gauge, bounds } => {
                    instruments[series] = Instrument { schema, is_float, is_gauge, bounds, ..Instrument::default() };
                }
                Step::Delete { from, to } => {
                    let (from, to) = (now * from / 100, now * to / 100);
                    this.delete_series(&[Vec::new()], from, to).unwrap();
                    model.values_mut().for_each(|run| run.retain(|(ts, _)| *ts < from || *ts > to));
                    model.retain(|_, run| !run.is_empty());
                }
                Step::Crash => {
                    drop(tsdb.take());
                    tsdb = Some(open_late(&dir));
                }
                Step::Close => {
                    tsdb.take().unwrap().close();
                    tsdb = Some(open_late(&dir));
                }
                Step::Maintain => this.maintain(),
            }
        }
        prop_assert_eq!(&dump(tsdb.as_ref().unwrap()), &model);
        drop(tsdb.take());
        let tsdb = open_late(&dir);
        prop_assert_eq!(&dump(&tsdb), &model);
        for (_, (_, samples)) in native(&tsdb) {
            for (_, value) in samples {
                let NativeValue::Histogram(h) = value else { continue };
                prop_assert!(h.is_stale() || h.validate().is_ok(), "{:?}", HistogramRef::from(&h));
            }
        }
    }
}
