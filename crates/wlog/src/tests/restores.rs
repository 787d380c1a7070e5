//! Whole data folders.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use cupola_chunk::{Encoding, XorAppender, decode};
use cupola_env::RealFs;
use cupola_histogram::NativeHistogram;
use cupola_model::{Labels, SeriesRef};
use proptest::prelude::*;
use tempfile::TempDir;

use super::write::{self, Chunk, Compression, Enc, Segment};
use crate::record::LoggedHistogramSample;
use crate::{Event, LoggedSample, Options, Replayed, Restored, Source, replay, restore};

/// Samples by series; what came out of order stands by itself.
#[derive(Debug, Default, Clone, PartialEq)]
struct Seen {
    in_order: BTreeMap<String, Vec<(i64, f64)>>,
    out_of_order: BTreeMap<String, Vec<(i64, f64)>>,
    /// Everything else, as text, by series.
    other: Vec<String>,
    labels: Vec<String>,
}

impl Seen {
    fn take(&mut self, source: Source, event: Event<'_>) {
        let name = |labels: &[String], series_ref: SeriesRef| labels[series_ref.0 as usize].clone();
        match event {
            Event::Series(series) => {
                for s in series {
                    assert_eq!(s.series_ref.0, self.labels.len() as u64, "refs have no gaps");
                    self.labels.push(s.labels.get("n").unwrap_or_default().to_owned());
                }
            }
            Event::HeadChunk(chunk) => {
                let (mut ts, mut values) = (Vec::new(), Vec::new());
                assert_eq!(chunk.encoding, Encoding::Xor);
                decode(chunk.encoding, chunk.bytes, i64::MIN, i64::MAX, &mut ts, &mut values).unwrap();
                assert_eq!((ts.first(), ts.last()), (Some(&chunk.mint), Some(&chunk.maxt)));
                let to = if chunk.is_out_of_order {
                    &mut self.out_of_order
                } else {
                    &mut self.in_order
                };
                let run = to.entry(name(&self.labels, chunk.series_ref)).or_default();
                run.extend(ts.into_iter().zip(values));
            }
            Event::Samples(samples) => {
                let to = if source == Source::Wbl {
                    &mut self.out_of_order
                } else {
                    &mut self.in_order
                };
                for s in samples {
                    to.entry(name(&self.labels, s.series_ref))
                        .or_default()
                        .push((s.ts, s.value));
                }
            }
            Event::Histograms(histograms) => {
                for h in histograms {
                    self.other
                        .push(format!("{} histogram {}", name(&self.labels, h.series_ref), h.ts));
                }
            }
            Event::Tombstones(tombstones) => {
                for t in tombstones {
                    self.other.push(format!(
                        "{} deleted {}..={}",
                        name(&self.labels, t.series_ref),
                        t.mint,
                        t.maxt
                    ));
                }
            }
            Event::Exemplars(exemplars) => {
                for e in exemplars {
                    self.other
                        .push(format!("{} exemplar {}", name(&self.labels, e.series_ref), e.ts));
                }
            }
            Event::Metadata(metadata) => {
                for m in metadata {
                    self.other
                        .push(format!("{} means {}", name(&self.labels, m.series_ref), m.help));
                }
            }
            Event::MmapMarkers(_) | Event::MinValidTime(_) => panic!("restore keeps these to itself"),
        }
    }
}

fn restored(dir: &Path, min_valid_time: i64) -> (Seen, Restored) {
    let mut seen = Seen::default();
    let restored = restore(
        &RealFs,
        dir,
        Options { min_valid_time },
        &|| true,
        &mut |source, event| {
            seen.take(source, event);
            Ok(())
        },
    );
    (seen, restored.unwrap())
}

fn replayed(dir: &Path) -> (Vec<String>, Replayed) {
    let mut seen = Vec::new();
    let replayed = replay(&RealFs, dir, &mut |source, event| {
        let text = match event {
            Event::Samples(samples) => format!("samples {:?}", samples.iter().map(|s| s.ts).collect::<Vec<_>>()),
            Event::Series(series) => format!("series {:?}", series.iter().map(|s| s.series_ref.0).collect::<Vec<_>>()),
            Event::HeadChunk(chunk) => format!("chunk {}", chunk.mint),
            Event::MmapMarkers(markers) => format!("marker {}", markers[0].chunk_ref.offset()),
            Event::MinValidTime(ts) => format!("valid from {ts}"),
            other => format!("{other:?}"),
        };
        seen.push(format!("{source:?} {text}"));
        Ok(())
    });
    (seen, replayed.unwrap())
}

fn labels(name: &str) -> Labels {
    Labels::from_pairs([("n", name)])
}

fn series(series_ref: u64, name: &str) -> Vec<u8> {
    write::series(&[(series_ref, &labels(name))])
}

fn samples(series_ref: u64, times: impl IntoIterator<Item = i64>) -> Vec<u8> {
    let list: Vec<_> = times
        .into_iter()
        .map(|ts| LoggedSample {
            series_ref: SeriesRef(series_ref),
            start_ts: 0,
            ts,
            value: value(ts),
        })
        .collect();
    write::samples(&list)
}

fn value(ts: i64) -> f64 {
    ts as f64 * 0.5
}

fn run(times: impl IntoIterator<Item = i64>) -> Vec<(i64, f64)> {
    times.into_iter().map(|ts| (ts, value(ts))).collect()
}

fn chunk(series_ref: u64, times: impl IntoIterator<Item = i64>, is_out_of_order: bool) -> Chunk {
    let times: Vec<_> = times.into_iter().collect();
    let mut appender = XorAppender::new();
    for ts in &times {
        appender.append(*ts, value(*ts)).unwrap();
    }
    Chunk {
        series_ref,
        mint: times[0],
        maxt: *times.last().unwrap(),
        encoding: 1 | u8::from(is_out_of_order) << 7,
        bytes: appender.into_bytes(),
    }
}

/// A data folder that is being written.
struct Data(TempDir);

impl Data {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn log(&self, name: &str, records: &[Vec<u8>]) -> &Self {
        Segment::of(records).write(&self.path().join(name));
        self
    }

    fn chunks(&self, file: u64, chunks: &[Chunk]) -> Vec<usize> {
        let (bytes, places) = write::head_chunks(chunks);
        Segment(bytes).write(&self.path().join(format!("chunks_head/{file:06}")));
        places
    }

    fn cut(&self, name: &str, bytes: usize) {
        let path = self.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(path, &whole[..whole.len() - bytes]).unwrap();
    }

    fn only(&self, name: &str) -> Vec<(i64, f64)> {
        let (mut seen, restored) = restored(self.path(), i64::MIN);
        assert_eq!(restored.replayed.damage, []);
        seen.in_order.remove(name).unwrap_or_default()
    }
}

#[test]
fn a_folder_that_is_not_there_is_empty() {
    let data = Data::new();
    assert_eq!(replayed(data.path()), (vec![], Replayed::default()));
    assert_eq!(restored(data.path(), 0), (Seen::default(), Restored::default()));
}

#[test]
fn everything_is_handed_out_in_the_order_of_upstreams_start() {
    let data = Data::new();
    data.log(
        "wal/checkpoint.00000001/00000000",
        &[series(4, "a"), Enc::new(14).be64(5).0],
    )
    .log("wal/checkpoint.00000000/00000000", &[series(9, "older checkpoint")])
    .log(
        "wal/checkpoint.00000005.tmp/00000000",
        &[series(9, "unfinished checkpoint")],
    )
    .log("wal/00000001", &[series(9, "in the checkpoint")])
    .log("wal/00000002", &[samples(4, [20]), vec![200, 1]])
    .log("wal/00000003", &[samples(4, [30, 31])])
    .log(
        "wbl/00000007",
        &[samples(4, [3]), Enc::new(5).be64(4).be64(1 << 32 | 8).0],
    );
    data.chunks(1, &[chunk(4, 10..15, false)]);
    std::fs::write(data.path().join("chunks_head/000002"), b"").unwrap();
    std::fs::write(data.path().join("wal/notes.txt"), b"?").unwrap();
    let (seen, replayed) = replayed(data.path());
    assert_eq!(
        seen,
        [
            "HeadChunks chunk 10",
            "Checkpoint series [4]",
            "Checkpoint valid from 5",
            "Wal samples [20]",
            "Wal samples [30, 31]",
            "Wbl samples [3]",
            "Wbl marker 8",
        ]
    );
    let expected = Replayed {
        head_chunk_files: 1,
        head_chunks: 1,
        checkpoint: Some(1),
        segments: 3,
        wbl_segments: 1,
        records: 7,
        unknown_records: 1,
        ..Replayed::default()
    };
    assert_eq!(replayed, expected);
}

#[test]
fn what_the_consumer_cannot_take_ends_it() {
    let data = Data::new();
    data.log("wal/00000000", &[series(1, "a"), samples(1, [1])]);
    let error = replay(&RealFs, data.path(), &mut |_, event| match event {
        Event::Samples(_) => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
}

// SIGTERM during the first start on a large folder waited for all of it.
#[test]
fn restoring_ends_at_whatever_record_it_is_told_to() {
    let data = Data::new();
    data.chunks(1, &[chunk(1, 0..5, false)]);
    data.log("wal/00000000", &[series(1, "a"), samples(1, [10]), samples(1, [11])])
        .log(
            "wbl/00000000",
            &[samples(1, [3]), Enc::new(5).be64(1).be64(1 << 32 | 8).0],
        );
    let ask = |most: usize| {
        let asked = std::cell::Cell::new(0);
        let go_on = || {
            asked.set(asked.get() + 1);
            asked.get() <= most
        };
        let options = Options::default();
        let restored = restore(&RealFs, data.path(), options, &go_on, &mut |_, _| Ok(()));
        (restored.map_err(|error| error.kind()), asked.get())
    };
    // The chunk, the log and the out-of-order log, each twice.
    let (restored, asked) = ask(usize::MAX);
    assert_eq!((restored.unwrap().series, asked), (1, 2 * (1 + 3 + 2)));
    for most in 0..asked {
        assert_eq!(ask(most), (Err(io::ErrorKind::Interrupted), most + 1));
    }
}

#[test]
fn damage_ends_its_log_and_is_told() {
    let data = Data::new();
    data.log("wal/00000000", &[series(1, "a")])
        .log("wal/00000001", &[samples(1, [1]), samples(1, [2])])
        .log("wal/00000002", &[samples(1, [3])])
        .log("wbl/00000000", &[samples(1, [0])]);
    data.cut("wal/00000001", 1);
    let len = |name: &str| std::fs::metadata(data.path().join(name)).unwrap().len();
    let first = Segment::of(&[samples(1, [1])]).0.len() as u64;
    let (seen, read) = restored(data.path(), i64::MIN);
    assert_eq!((&seen.in_order["a"], &seen.out_of_order["a"]), (&run([1]), &run([0])));
    let [damage] = read.replayed.damage.as_slice() else {
        panic!("{read:?}")
    };
    assert_eq!((damage.byte, damage.reason.as_str()), (first, "record is torn"));
    assert_eq!(damage.unread_bytes, len("wal/00000001") - first + len("wal/00000002"));
    let text = format!(
        "00000001: record is torn at byte {first}; {} bytes from there on are not read",
        damage.unread_bytes
    );
    assert!(damage.to_string().ends_with(&text), "{damage}");

    // A record whose bytes are right and mean nothing is damage as well.
    data.log("wal/00000001", &[samples(1, [1]), vec![2, 1], samples(1, [2])]);
    let (seen, read) = restored(data.path(), i64::MIN);
    assert_eq!(seen.in_order["a"], run([1]));
    assert_eq!(
        read.replayed.damage[0].reason,
        "record of kind 2: 8 bytes expected, 1 left"
    );
}

#[test]
fn a_missing_segment_ends_its_log_and_is_told() {
    let check = |files: &[&str], seen: &[i64], gap: Option<&str>| {
        let data = Data::new();
        for (i, file) in files.iter().enumerate() {
            data.log(file, &[series(1, "a"), samples(1, [i as i64])]);
        }
        let (read, restored) = restored(data.path(), i64::MIN);
        let got = read.in_order.get("a").cloned().unwrap_or_default();
        assert_eq!(got, run(seen.iter().copied()), "{files:?}");
        let damage = restored.replayed.damage.first();
        let told = damage.map(|d| {
            assert!(d.unread_bytes > 0);
            format!("{} {}", d.file.file_name().unwrap().to_string_lossy(), d.reason)
        });
        assert_eq!(told.as_deref(), gap, "{files:?}");
    };
    // Somebody removed the beginning of the log: what there is, is read.
    check(&["wal/00000005", "wal/00000006"], &[0, 1], None);
    let gap = Some("00000003 number 2 is missing before it");
    check(&["wal/00000001", "wal/00000003", "wal/00000004"], &[0], gap);
    let after = Some("00000004 number 3 is missing before it");
    check(&["wal/checkpoint.00000002/00000000", "wal/00000004"], &[0], after);
    let first = Some("00000001 number 0 is missing before it");
    check(&["wal/checkpoint.00000002/00000001", "wal/00000003"], &[], first);
}

#[test]
fn samples_in_chunks_are_not_taken_from_the_log_again() {
    let data = Data::new();
    data.log(
        "wal/00000000",
        &[series(1, "a"), series(2, "b"), samples(1, 0..30), samples(2, 0..5)],
    );
    data.chunks(3, &[chunk(1, 5..10, false)]);
    data.chunks(4, &[chunk(1, 10..20, false), chunk(9, 0..3, false)]);
    let (seen, restored) = restored(data.path(), i64::MIN);
    assert_eq!(seen.in_order["a"], run((5..20).chain(0..5).chain(20..30)));
    assert_eq!(seen.in_order["b"], run(0..5));
    assert_eq!((restored.series, restored.chunks, restored.samples), (2, 2, 20));
    assert_eq!((restored.samples_in_chunks, restored.unknown_series), (15, 1));
    assert_eq!((restored.replayed.records, restored.replayed.head_chunks), (4, 3));
}

#[test]
fn what_is_older_than_the_blocks_is_left_out() {
    let data = Data::new();
    let histogram = |ts| {
        let histogram = NativeHistogram::Integer(write::integer_histogram(1));
        write::histograms(
            7,
            &[LoggedHistogramSample {
                series_ref: SeriesRef(1),
                start_ts: 0,
                ts,
                histogram,
            }],
        )
    };
    let deletion = |mint, maxt| Enc::new(3).be64(1).varint(mint).varint(maxt).0;
    let exemplar = |ts: i64| {
        Enc::new(4)
            .be64(1)
            .be64(ts as u64)
            .varint(0)
            .varint(0)
            .float(1.0)
            .uvarint(0)
            .0
    };
    let metadata = |r| Enc::new(6).uvarint(r).byte(2).uvarint(1).text("HELP").text("Heat.").0;
    data.log(
        "wal/00000000",
        &[
            series(1, "a"),
            samples(1, 0..30),
            histogram(49),
            histogram(50),
            deletion(1, 9),
            deletion(1, 10),
            exemplar(9),
            exemplar(10),
            metadata(1),
            metadata(77),
            samples(77, [40]),
        ],
    );
    data.log("wbl/00000000", &[samples(1, [2])]);
    data.chunks(
        1,
        &[chunk(1, 0..8, false), chunk(1, 8..20, false), chunk(1, 3..4, true)],
    );
    let (seen, restored) = restored(data.path(), 10);
    // The chunk that straddles the time is whole, and samples out of order are never too old.
    assert_eq!(
        (&seen.in_order["a"], &seen.out_of_order["a"]),
        (&run(8..30), &run([3, 2]))
    );
    let other = [
        "a histogram 49",
        "a histogram 50",
        "a deleted 1..=10",
        "a exemplar 10",
        "a means Heat.",
    ];
    assert_eq!(seen.other, other);
    assert_eq!((restored.too_old, restored.unknown_series), (1 + 10 + 1 + 1, 2));
}

#[test]
fn a_series_may_have_had_several_refs() {
    // Written under 1, chunked, gone from memory, and back under 5; then Prometheus started, called all of it 1, and wrote
    // a chunk of what was logged under 5.
    let data = Data::new();
    data.log("wal/00000000", &[series(1, "a"), samples(1, 0..10)])
        .log("wal/00000001", &[series(5, "a"), samples(5, 20..40)]);
    data.chunks(1, &[chunk(1, 0..10, false), chunk(1, 20..30, false)]);
    assert_eq!(data.only("a"), run((0..10).chain(20..40)));
    // And where both refs have chunks, what neither covers is still taken from the log.
    data.chunks(1, &[chunk(1, 0..8, false), chunk(5, 20..30, false)]);
    assert_eq!(data.only("a"), run((0..8).chain(20..30).chain(8..10).chain(30..40)));
}

#[test]
fn a_ref_may_mean_another_series_later() {
    let data = Data::new();
    data.log(
        "wal/00000000",
        &[series(1, "a"), samples(1, [1]), series(1, "b"), samples(1, [2])],
    );
    let (seen, _) = restored(data.path(), i64::MIN);
    assert_eq!((&seen.in_order["a"], &seen.in_order["b"]), (&run([1]), &run([2])));
}

#[test]
fn a_torn_chunk_file_hides_nothing() {
    let data = Data::new();
    data.log("wal/00000000", &[series(1, "a"), samples(1, 0..40)]);
    data.chunks(1, &[chunk(1, 0..10, false), chunk(1, 10..20, false)]);
    // Were it read, its range would cover what the torn chunk held.
    data.chunks(2, &[chunk(1, 20..30, false)]);
    data.cut("chunks_head/000001", 3);
    let (seen, restored) = restored(data.path(), i64::MIN);
    assert_eq!(seen.in_order["a"], run(0..40));
    assert_eq!((restored.chunks, restored.replayed.damage.len()), (1, 1));
}

#[test]
fn chunks_that_contradict_each_other_end_the_chunks() {
    let data = Data::new();
    data.log("wal/00000000", &[series(1, "a"), samples(1, 0..40)]);
    data.chunks(
        1,
        &[chunk(1, 0..10, false), chunk(1, 9..20, false), chunk(1, 20..30, false)],
    );
    let (seen, restored) = restored(data.path(), i64::MIN);
    assert_eq!(seen.in_order["a"], run(0..40));
    assert_eq!((restored.chunks, restored.samples), (1, 30));
    let reason = "chunk 9..=19 of series 1 comes after one that ends at 9";
    assert_eq!(restored.replayed.damage[0].reason, reason);
}

#[test]
fn markers_count_where_their_chunk_is_there() {
    let data = Data::new();
    data.log("wal/00000000", &[series(1, "a"), series(2, "b"), series(3, "c")]);
    let places = data.chunks(1, &[chunk(1, [4, 9], true), chunk(2, [5, 6], true)]);
    let marker = |series_ref, file: u64, at: usize| Enc::new(5).be64(series_ref).be64(file << 32 | at as u64).0;
    data.log(
        "wbl/00000000",
        &[
            samples(1, [9, 4]),
            samples(2, [6, 5]),
            samples(3, [1]),
            marker(1, 1, places[0]),
            marker(2, 1, places[1]),
        ],
    )
    .log(
        "wbl/00000001",
        &[
            samples(1, [3]),
            samples(2, [2]),
            marker(2, 2, 8),
            samples(2, [1]),
            marker(3, 0, 0),
        ],
    );
    let (seen, restored) = restored(data.path(), i64::MIN);
    assert_eq!(seen.out_of_order["a"], run([4, 9, 3]));
    // The second file of chunks was never written: its samples are only in the log.
    assert_eq!(seen.out_of_order["b"], run([5, 6, 2, 1]));
    // A marker without a chunk says that the samples went somewhere else.
    assert_eq!(seen.out_of_order.get("c"), None);
    assert_eq!((restored.samples, restored.samples_in_chunks), (3, 5));
}

#[test]
fn what_came_out_of_order_is_in_both_logs_and_taken_from_one() {
    let data = Data::new();
    data.log(
        "wal/00000000",
        &[series(1, "a"), samples(1, 10..20), samples(1, [5, 20, 19, 12])],
    )
    .log("wal/00000001", &[samples(1, [21, 7, 20])])
    .log("wbl/00000000", &[samples(1, [5, 7])]);
    data.chunks(1, &[chunk(1, 10..15, false)]);
    let (seen, restored) = restored(data.path(), i64::MIN);
    assert_eq!(
        (&seen.in_order["a"], &seen.out_of_order["a"]),
        (&run(10..22), &run([5, 7]))
    );
    assert_eq!((restored.samples_out_of_order, restored.samples_in_chunks), (5, 5));
}

#[test]
fn a_checkpoint_of_any_compression_is_read() {
    let data = Data::new();
    let mut segment = Segment::default();
    segment.put(&series(1, "a"), Compression::Zstd);
    segment.put(&samples(1, 0..5_000), Compression::None);
    segment.put(&samples(1, 5_000..9_000), Compression::Snappy);
    segment.write(&data.path().join("wal/checkpoint.00000004/00000000"));
    assert_eq!(data.only("a"), run(0..9_000));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// A head that logs samples, fills chunks and is cut off anywhere: each sample comes once, or is behind the damage.
    #[test]
    fn every_sample_comes_once(
        rounds in prop::collection::vec((0_usize..4, 1_i64..30), 1..60),
        per_chunk in 3_usize..20,
        flushed in 0_usize..100,
        lost in 0_usize..60,
    ) {
        let data = Data::new();
        let names = ["a", "b", "c", "d"];
        let mut records: Vec<_> = names.iter().zip(1..).map(|(n, r)| series(r, n)).collect();
        let mut written: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        let mut chunks = Vec::new();
        for (which, step) in rounds {
            let times = written.entry(which).or_default();
            let ts = times.last().copied().unwrap_or(0) + step;
            times.push(ts);
            records.push(samples(which as u64 + 1, [ts]));
            if times.len().is_multiple_of(per_chunk) {
                let full = times[times.len() - per_chunk..].iter().copied();
                chunks.push(chunk(which as u64 + 1, full, false));
            }
        }
        data.log("wal/00000000", &records);
        chunks.truncate(flushed);
        data.chunks(1, &chunks);
        data.cut("chunks_head/000001", lost.min(write::head_chunks(&chunks).0.len() - 8));
        let (seen, restored) = restored(data.path(), i64::MIN);
        for (which, times) in written {
            prop_assert_eq!(&seen.in_order[names[which]], &run(times));
        }
        prop_assert!(restored.replayed.damage.len() <= 1);
    }
}
