//! Native blocks: what their files hold, and that they hold less.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: what cannot be unwrapped has failed"
)]

mod common;

use std::path::Path;

use common::{Model, files, jittered, machine, read_all, spec, verified, write, write_native};
use cupola_block::{
    Block, BlockFormat, BlockMeta, BlockSpec, BlockWriter, NewChunk, StoredChunk, Ulid, list_blocks, merge_blocks,
    verify,
};
use cupola_chunk::{Appended, Encoding, HistogramAppender};
use cupola_env::RealFs;
use cupola_histogram::{Histogram, Span};
use cupola_model::Labels;

const HOUR: i64 = 3_600_000;
// A multiple of 6 h.
const START: i64 = 1_700_006_400_000;
const SEGMENT_BYTES: u64 = 512 << 20;

fn opened(dir: &Path, meta: &BlockMeta) -> Block {
    Block::open(&RealFs::shared(), &meta.dir_in(dir)).unwrap()
}

fn merged(dir: &Path, number: u128, sources: &[&Block], format: BlockFormat) -> Block {
    let metas: Vec<&BlockMeta> = sources.iter().map(|block| block.meta()).collect();
    let spec = BlockSpec::merged(Ulid::new(9, number), &metas).in_format(format);
    let meta = merge_blocks(sources, &RealFs::shared(), dir, spec, &|| true).unwrap();
    opened(dir, &meta.unwrap())
}

// How many samples each chunk holds, series by series.
fn counts(block: &Block) -> Vec<Vec<u16>> {
    let mut reader = block.chunk_reader();
    let mut counts = |series: cupola_block::BlockSeries| {
        let count = |chunk| reader.read(chunk).unwrap().num_samples().unwrap();
        series.chunks.iter().map(count).collect()
    };
    block.iter().unwrap().map(|series| counts(series.unwrap())).collect()
}

fn bytes_of(dir: &Path) -> u64 {
    files(dir)
        .iter()
        .map(|file| std::fs::metadata(file).unwrap().len())
        .sum()
}

fn series(name: &str, ts: &[i64], value: impl Fn(usize) -> f64) -> (Labels, Vec<(i64, u64)>) {
    let run = ts.iter().enumerate().map(|(n, ts)| (*ts, value(n).to_bits()));
    (Labels::from_pairs([("__name__", name)]), run.collect())
}

#[test]
fn the_bytes_are_as_documented() {
    let dir = tempfile::tempdir().unwrap();
    // Times that no constant step tells, shared by two series; one that stands alone with a constant step.
    let ts: Vec<i64> = [0, 15_003, 29_999, 45_001, 60_002, 74_998, 90_000, 105_001]
        .map(|t| START + t)
        .into();
    let even: Vec<i64> = (0..4).map(|n| START + n * 15_000).collect();
    let model = Model::from([
        series("a", &ts, |n| n as f64),
        series("b", &ts, |_| 0.5),
        series("c", &even, |_| 1.0),
    ]);
    let (path, meta) = write_native(dir.path(), 1, &model, SEGMENT_BYTES);
    let hex = |file: &str| {
        let bytes = std::fs::read(path.join(file)).unwrap();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(
        hex("times/000001"),
        "4355505401000000101200086280c0b884fa62a8ea0103870b17e153c0c0"
    );
    assert_eq!(
        hex("columns/000001"),
        "4355504301000000071100080800220002ab130c79061100080801000ab2e66e320f1000043280c0b884fa6203a61d00000286a42915"
    );
    let json = String::from_utf8(std::fs::read(path.join("meta.json")).unwrap()).unwrap();
    assert!(
        json.contains("\"cupola\": {\n\t\t\"format\": \"columns\",\n\t\t\"version\": 2\n\t}"),
        "{json}"
    );
    assert_eq!(meta.format(), BlockFormat::Native);
    assert_eq!(path.parent().unwrap(), dir.path().join("cupola-blocks"));
}

#[test]
fn the_times_of_a_target_are_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let model = jittered(&machine(40, 5_760, START));
    let (path, meta) = write_native(dir.path(), 1, &model, SEGMENT_BYTES);
    let block = opened(dir.path(), &meta);
    assert_eq!(counts(&block), vec![vec![1_440; 4]; 40]);
    // Three bits of jitter for each of four runs, once and not forty times.
    let times = bytes_of(&path.join("times"));
    assert!((4 * 1_440 * 3 / 8..4 * 1_440 * 5 / 8).contains(&times), "{times}");
    assert_eq!(read_all(&block).unwrap(), model);
    assert_eq!(verified(&path), Vec::<String>::new());
    let (prometheus, _) = write(dir.path(), spec(2, &model), &model, 120);
    let ratio = bytes_of(&path.join("columns")) as f64 / bytes_of(&prometheus.join("chunks")) as f64;
    assert!(ratio < 0.6, "{ratio}");
}

#[test]
fn merging_makes_chunks_long_and_leaves_long_ones_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    // Nine blocks of 2 h, then three of 6 h, then one of 18 h, from a multiple of 18 h on.
    let start = START / (18 * HOUR) * 18 * HOUR;
    let blocks: Vec<Block> = (0..9)
        .map(|n| {
            let model = jittered(&machine(6, 480, start + n * 2 * HOUR));
            let (path, _) = write(dir.path(), spec(n as u64, &model), &model, 120);
            Block::open(&RealFs::shared(), &path).unwrap()
        })
        .collect();
    let all = |blocks: &[Block]| {
        let mut out = Model::new();
        for block in blocks {
            for (labels, run) in read_all(block).unwrap() {
                out.entry(labels).or_default().extend(run);
            }
        }
        out
    };
    let expected = all(&blocks);
    let six: Vec<Block> = blocks
        .chunks(3)
        .enumerate()
        .map(|(i, three)| {
            let sources: Vec<&Block> = three.iter().collect();
            merged(dir.path(), i as u128, &sources, BlockFormat::Native)
        })
        .collect();
    for block in &six {
        assert_eq!(counts(block), vec![vec![1_440]; 6]);
    }
    let eighteen = merged(dir.path(), 100, &six.iter().collect::<Vec<_>>(), BlockFormat::Native);
    assert_eq!(counts(&eighteen), vec![vec![1_440; 3]; 6]);
    assert_eq!(all(&six), expected);
    assert_eq!(read_all(&eighteen).unwrap(), expected);
    // Nothing was encoded anew: not a byte more or less than before but for longer references.
    let before: u64 = six.iter().map(|block| bytes_of(&block.dir().join("columns"))).sum();
    let after = bytes_of(&eighteen.dir().join("columns"));
    assert!(before.abs_diff(after) < 6 * 3 * 3 + 20, "{before} {after}");
    // And back: chunks of 120 samples, bit for bit.
    let back = merged(dir.path(), 101, &[&eighteen], BlockFormat::Prometheus);
    assert_eq!(counts(&back), vec![vec![120; 36]; 6]);
    assert_eq!(read_all(&back).unwrap(), expected);
    assert_eq!(list_blocks(&RealFs, dir.path()).unwrap().blocks.len(), 9 + 3 + 2);
}

fn histograms(from: i64) -> (i64, i64, Encoding, Vec<u8>) {
    let mut appender = HistogramAppender::new();
    for n in 0..50 {
        let histogram = Histogram {
            schema: 1,
            zero_threshold: 0.001,
            zero_count: n as u64,
            count: 3 * n as u64,
            sum: n as f64 * 0.1,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![n, 0],
            ..Histogram::default()
        };
        let appended = appender.append(from + n * 15_000, &histogram).unwrap();
        assert!(!matches!(appended, Appended::Cut(_)), "one chunk takes all");
    }
    (from, from + 49 * 15_000, Encoding::Histogram, appender.into_bytes())
}

#[test]
fn what_holds_no_floats_is_stored_as_it_is_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let name = Labels::from_pairs([("__name__", "mixed")]);
    let floats = |from: i64, count: i64| {
        let ts: Vec<i64> = (0..count).map(|n| from + n * 15_000).collect();
        common::chunks(&series("mixed", &ts, |n| n as f64).1, 120)
    };
    let (first, last) = (floats(START, 300), floats(START + 2 * HOUR, 400));
    let (mint, maxt, encoding, bytes) = histograms(START + HOUR + HOUR / 2);
    let mut writer = BlockWriter::create(
        &RealFs::shared(),
        dir.path(),
        BlockSpec::new(Ulid::new(1, 1), START, START + 6 * HOUR),
    )
    .unwrap();
    let middle = NewChunk {
        mint,
        maxt,
        encoding,
        bytes: &bytes,
    };
    let chunks = first.iter().map(common::Chunk::as_new).chain([middle]);
    writer
        .add_series(&name, chunks.chain(last.iter().map(common::Chunk::as_new)))
        .unwrap();
    let block = opened(dir.path(), &writer.finish().unwrap());
    let native = merged(dir.path(), 1, &[&block], BlockFormat::Native);
    assert_eq!(counts(&native), [[300, 50, 400]]);
    let stats = &native.meta().stats;
    assert_eq!((stats.num_float_samples, stats.num_histogram_samples), (700, 50));
    assert_eq!(verified(native.dir()), Vec::<String>::new());
    let read = verify(&RealFs, native.dir(), &mut |fault| panic!("{fault}")).unwrap();
    assert_eq!(
        (read.found.num_float_samples, read.found.num_histogram_samples),
        (700, 50)
    );
    let back = merged(dir.path(), 2, &[&native], BlockFormat::Prometheus);
    for (block, is_columnar) in [(&native, true), (&back, false)] {
        let mut reader = block.chunk_reader();
        let series = block.iter().unwrap().next().unwrap().unwrap();
        let found = series.chunks.iter().find(|chunk| chunk.mint == mint).unwrap();
        assert!(matches!(reader.read(found).unwrap(), StoredChunk::Encoded(Encoding::Histogram, b) if b == bytes));
        let first = reader.read(&series.chunks[0]).unwrap();
        assert_eq!(matches!(first, StoredChunk::Columnar(_)), is_columnar);
        assert!(first.holds_floats());
    }
    assert_eq!(read_all(&native).unwrap(), read_all(&block).unwrap());
    assert_eq!(read_all(&back).unwrap(), read_all(&block).unwrap());
}

#[test]
fn a_native_block_can_be_linked_elsewhere_and_deleted_from() {
    let dir = tempfile::tempdir().unwrap();
    let model = jittered(&machine(6, 200, START));
    let (_, meta) = write_native(dir.path(), 1, &model, SEGMENT_BYTES);
    let block = opened(dir.path(), &meta);
    let copies = dir.path().join("snapshot");
    block.link_into(&copies).unwrap();
    let (mint, maxt) = (START + 100_000, START + 900_000);
    let deleted = block.delete(&[vec![]], mint, maxt).unwrap().unwrap();
    let mut left = model.clone();
    left.values_mut()
        .for_each(|run| run.retain(|(ts, _)| *ts < mint || *ts > maxt));
    assert_eq!(read_all(&deleted).unwrap(), left);
    assert_eq!(read_all(&opened(&copies, &meta)).unwrap(), model);
    let rewritten = BlockSpec::rewritten(Ulid::new(3, 3), deleted.meta());
    assert_eq!(rewritten.format, BlockFormat::Native);
    let meta = merge_blocks(&[&deleted], &RealFs::shared(), dir.path(), rewritten, &|| true)
        .unwrap()
        .unwrap();
    let rewritten = opened(dir.path(), &meta);
    assert!(rewritten.tombstones().is_empty());
    assert_eq!(read_all(&rewritten).unwrap(), left);
}

#[test]
fn every_broken_byte_of_a_native_block_that_matters_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let model = jittered(&machine(5, 60, START));
    let (path, _) = write_native(dir.path(), 1, &model, SEGMENT_BYTES);
    for file in ["columns/000001", "times/000001"] {
        let file = path.join(file);
        let bytes = std::fs::read(&file).unwrap();
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x15;
            std::fs::write(&file, &broken).unwrap();
            // Three bytes of the header are reserved.
            assert_eq!(
                verified(&path).is_empty(),
                (5..8).contains(&at),
                "byte {at} of {}",
                file.display()
            );
        }
        std::fs::write(&file, &bytes).unwrap();
    }
    assert_eq!(verified(&path), Vec::<String>::new());
}
