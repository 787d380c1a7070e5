//! Merged blocks hold what their sources held together, compared with a naive store, and by Prometheus's own tool.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be unwrapped has failed")]

mod common;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use common::{Model, machine, promtool, read_all, select, spec, verified, write};
use cupola_block::{
    Block, BlockError, BlockFormat, BlockMeta, BlockSpec, BlockWriter, Interval, NewChunk, Tombstones, Ulid,
    list_blocks, merge_blocks, write_tombstones,
};
use cupola_chunk::{Appended, Encoding, HistogramAppender, NativeValue, decode_native};
use cupola_env::RealFs;
use cupola_histogram::{Histogram, NativeHistogram, Span};
use cupola_model::{Labels, MatchOp, Matcher};
use proptest::prelude::*;

fn merge(blocks: &[Block], dir: &Path) -> Result<Option<BlockMeta>, BlockError> {
    let metas: Vec<&BlockMeta> = blocks.iter().map(Block::meta).collect();
    let sources: Vec<&Block> = blocks.iter().collect();
    merge_blocks(
        &sources,
        &RealFs::shared(),
        dir,
        BlockSpec::merged(Ulid::new(77, 77), &metas),
        &|| true,
    )
}

fn opened(dir: &Path, meta: &BlockMeta) -> Block {
    Block::open(&RealFs::shared(), &meta.dir_in(dir)).unwrap()
}

fn tombstones_of(block: &Block, deletions: &[(usize, i64, i64)]) -> Tombstones {
    let all: Vec<_> = block.iter().unwrap().map(|series| series.unwrap()).collect();
    let mut out = Tombstones::default();
    for (i, mint, len) in deletions {
        let interval = Interval {
            mint: *mint,
            maxt: mint + len,
        };
        out.add(all[i % all.len()].series_ref, interval);
    }
    out
}

// What of a source is left, naively.
fn without(model: &Model, deletions: &[(usize, i64, i64)]) -> Model {
    let mut left = model.clone();
    let names: Vec<Labels> = model.keys().cloned().collect();
    for (i, mint, len) in deletions {
        let run = left.get_mut(&names[i % names.len()]).unwrap();
        run.retain(|(ts, _)| *ts < *mint || *ts > mint + len);
    }
    left.retain(|_, run| !run.is_empty());
    left
}

// The first source's sample stays where two have one of the same moment.
fn union(models: &[Model]) -> Model {
    let mut all: BTreeMap<Labels, BTreeMap<i64, u64>> = BTreeMap::new();
    for model in models {
        for (labels, run) in model {
            for (ts, bits) in run {
                all.entry(labels.clone()).or_default().entry(*ts).or_insert(*bits);
            }
        }
    }
    let flat = |run: BTreeMap<i64, u64>| run.into_iter().collect();
    all.into_iter().map(|(labels, run)| (labels, flat(run))).collect()
}

fn model() -> impl Strategy<Value = Model> {
    let labels = ("[ab]", "[a-c]").prop_map(|(n, j)| Labels::from_pairs([("__name__", n), ("job", j)]));
    // Often the same moments in several blocks, with other values.
    let steps = prop::collection::vec((1_i64..4, any::<u64>()), 1..200);
    let samples = (0_i64..300, steps).prop_map(|(start, steps)| {
        let mut ts = start * 10;
        let step = |(step, bits): (i64, u64)| {
            ts += step * 10;
            (ts, bits)
        };
        steps.into_iter().map(step).collect()
    });
    prop::collection::btree_map(labels, samples, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_merged_block_holds_what_its_sources_held(
        sources in prop::collection::vec(
            (model(), 1_usize..150, prop::collection::vec((0_usize..6, -100_i64..6_000, 0_i64..3_000), 0..3)), 1..5),
        segment_bytes in prop::sample::select(vec![6_000_u64, 512 << 20]),
        is_native in any::<[bool; 6]>(),
        range in (-100_i64..3_000, 0_i64..3_000),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let format = |i: usize| if is_native[i] { BlockFormat::Native } else { BlockFormat::Prometheus };
        let mut blocks = Vec::new();
        let mut models = Vec::new();
        for (number, (model, per_chunk, deletions)) in sources.iter().enumerate() {
            let (mut path, meta) = write(dir.path(), spec(number as u64, model), model, *per_chunk);
            if is_native[number] {
                // Of the same name: the folders are two.
                let mut native = BlockSpec::new(meta.ulid, meta.min_time, meta.max_time).in_format(BlockFormat::Native);
                native.max_segment_bytes = segment_bytes;
                let block = Block::open(&RealFs::shared(), &path).unwrap();
                let meta = merge_blocks(&[&block], &RealFs::shared(), dir.path(), native, &|| true).unwrap().unwrap();
                std::fs::remove_dir_all(&path).unwrap();
                path = meta.dir_in(dir.path());
            }
            let tombstones = tombstones_of(&Block::open(&RealFs::shared(), &path).unwrap(), deletions);
            write_tombstones(&RealFs, &path, &tombstones).unwrap();
            let block = Block::open(&RealFs::shared(), &path).unwrap();
            let left = without(model, deletions);
            let mut read = read_all(&block).unwrap();
            read.retain(|_, run| !run.is_empty());
            prop_assert_eq!(&read, &left);
            blocks.push(block);
            models.push(left);
        }
        let expected = union(&models);
        let metas: Vec<&BlockMeta> = blocks.iter().map(Block::meta).collect();
        let mut merged = BlockSpec::merged(Ulid::new(77, 77), &metas).in_format(format(5));
        merged.max_segment_bytes = segment_bytes;
        let out = merge_blocks(&blocks.iter().collect::<Vec<_>>(), &RealFs::shared(), dir.path(), merged, &|| true).unwrap();
        prop_assert_eq!(out.is_none(), expected.is_empty());
        if let Some(meta) = out {
            let block = opened(dir.path(), &meta);
            prop_assert_eq!(block.meta(), &meta);
            prop_assert!(block.tombstones().is_empty());
            let count = expected.values().map(Vec::len).sum::<usize>() as u64;
            let stats = &meta.stats;
            prop_assert_eq!((stats.num_samples, stats.num_float_samples, stats.num_histogram_samples, stats.num_tombstones),
                (count, count, 0, 0));
            prop_assert_eq!(stats.num_series as usize, expected.len());
            prop_assert_eq!(read_all(&block).unwrap(), expected.clone());
            prop_assert_eq!(verified(block.dir()), Vec::<String>::new());
            // A part, and the whole in the other format and back again.
            let (mint, maxt) = (range.0, range.0 + range.1);
            let mut part = expected.clone();
            part.values_mut().for_each(|run| run.retain(|(ts, _)| mint <= *ts && *ts <= maxt));
            part.retain(|_, run| !run.is_empty());
            let mut read = select(&block, &[], (mint, maxt)).unwrap();
            read.retain(|_, run| !run.is_empty());
            prop_assert_eq!(read, part);
            let mut block = block;
            for (i, format) in [format(4), format(3), format(2)].into_iter().enumerate() {
                let spec = BlockSpec::rewritten(Ulid::new(78, i as u128), block.meta()).in_format(format);
                let meta = merge_blocks(&[&block], &RealFs::shared(), dir.path(), spec, &|| true).unwrap().unwrap();
                block = opened(dir.path(), &meta);
                prop_assert_eq!(block.meta().format(), format);
                prop_assert_eq!(read_all(&block).unwrap(), expected.clone());
            }
        }
        // The sources are as they were.
        prop_assert!(list_blocks(&RealFs, dir.path()).unwrap().leftovers.is_empty());
        for (block, left) in blocks.iter().zip(&models) {
            let mut read = read_all(&Block::open(&RealFs::shared(), block.dir()).unwrap()).unwrap();
            read.retain(|_, run| !run.is_empty());
            prop_assert_eq!(&read, left);
        }
    }

    #[test]
    fn deleting_in_two_steps_and_rewriting_leaves_what_a_naive_store_keeps(
        model in model(),
        per_chunk in 1_usize..150,
        deletions in prop::collection::vec(("[ab]|a\\|b", -100_i64..6_000, 0_i64..4_000), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (path, written) = write(dir.path(), spec(1, &model), &model, per_chunk);
        let mut block = Block::open(&RealFs::shared(), &path).unwrap();
        let mut left = model.clone();
        for (pattern, mint, len) in &deletions {
            let matcher = Matcher::new("__name__", MatchOp::Regex, pattern).unwrap();
            for (labels, run) in &mut left {
                if matcher.matches_labels(labels) {
                    run.retain(|(ts, _)| *ts < *mint || *ts > mint + len);
                }
            }
            // Two sets that mean the same series delete them once.
            let sets = [vec![matcher.clone()], vec![matcher, Matcher::equal("job", "a")]];
            if let Some(anew) = block.delete(&sets, *mint, mint + len).unwrap() {
                block = anew;
            }
        }
        left.retain(|_, run| !run.is_empty());
        let mut read = read_all(&block).unwrap();
        read.retain(|_, run| !run.is_empty());
        prop_assert_eq!(&read, &left);
        prop_assert_eq!(block.meta().stats.num_tombstones as usize, block.tombstones().len());

        let spec = BlockSpec::rewritten(Ulid::new(5, 5), block.meta());
        let out = merge_blocks(&[&block], &RealFs::shared(), dir.path(), spec, &|| true).unwrap();
        prop_assert_eq!(out.is_none(), left.is_empty());
        if let Some(meta) = out {
            prop_assert_eq!((meta.compaction.level, &meta.compaction.sources), (1, &written.compaction.sources));
            prop_assert_eq!(meta.compaction.parents[0].ulid, written.ulid);
            let rewritten = opened(dir.path(), &meta);
            prop_assert!(rewritten.tombstones().is_empty());
            prop_assert_eq!(read_all(&rewritten).unwrap(), left);
        }
    }
}

// All chunks of a block in the order of series, as they are stored.
fn stored(block: &Block) -> Vec<(i64, Vec<u8>)> {
    let mut reader = block.chunk_reader();
    let mut out = Vec::new();
    for series in block.iter().unwrap() {
        for chunk in series.unwrap().chunks {
            let (_, bytes) = reader.read(&chunk).unwrap().encoded().unwrap();
            out.push((chunk.mint, bytes.to_vec()));
        }
    }
    out
}

#[test]
fn chunks_that_follow_each_other_are_copied() {
    let dir = tempfile::tempdir().unwrap();
    let labels = |n: &str| Labels::from_pairs([("__name__", n)]);
    let run = |from: i64, to: i64| (from..to).map(|ts| (ts, 5)).collect::<Vec<_>>();
    let early = Model::from([(labels("a"), run(0, 100)), (labels("b"), run(0, 90))]);
    let late = Model::from([(labels("a"), run(100, 200)), (labels("c"), run(150, 160))]);
    let blocks: Vec<Block> = [(1, &early), (2, &late)]
        .map(|(number, model)| {
            Block::open(&RealFs::shared(), &write(dir.path(), spec(number, model), model, 33).0).unwrap()
        })
        .into();
    let merged = opened(dir.path(), &merge(&blocks, dir.path()).unwrap().unwrap());
    let mut of_sources: Vec<_> = blocks.iter().flat_map(stored).collect();
    let mut of_merged = stored(&merged);
    of_sources.sort();
    of_merged.sort();
    assert_eq!(of_merged, of_sources);
    assert_eq!(merged.meta().stats.num_chunks, 4 + 3 + 4 + 1);
    assert_eq!(merged.meta().compaction.level, 2);
}

#[test]
fn chunks_that_overlap_are_encoded_anew_and_identical_ones_become_one() {
    let dir = tempfile::tempdir().unwrap();
    let model = machine(3, 500, 0);
    let blocks: Vec<Block> = [(1, 90), (2, 70)]
        .map(|(number, per_chunk)| {
            Block::open(
                &RealFs::shared(),
                &write(dir.path(), spec(number, &model), &model, per_chunk).0,
            )
            .unwrap()
        })
        .into();
    let meta = merge(&blocks, dir.path()).unwrap().unwrap();
    assert_eq!(read_all(&opened(dir.path(), &meta)).unwrap(), model);
    assert_eq!((meta.stats.num_samples, meta.stats.num_chunks), (1500, 15));
}

// A block of one series that counts up, with a histogram each ten milliseconds of each of the ranges, a chunk each.
fn histograms(dir: &Path, number: u128, from: i64, ranges: &[(i64, i64)]) -> Block {
    let spec = BlockSpec::new(Ulid::new(9, number), from, from + 1000);
    let path = dir.join(spec.ulid.to_string());
    let mut writer = BlockWriter::create(&RealFs::shared(), dir, spec).unwrap();
    let chunks: Vec<_> = ranges
        .iter()
        .map(|(mint, maxt)| {
            let mut appender = HistogramAppender::new();
            for ts in (*mint..=*maxt).step_by(10) {
                let appended = appender.append(ts, &observed(ts, number as f64)).unwrap();
                assert_eq!(appended, Appended::InPlace);
            }
            (*mint, *maxt, appender.into_bytes())
        })
        .collect();
    let new = chunks.iter().map(|(mint, maxt, bytes)| NewChunk {
        mint: *mint,
        maxt: *maxt,
        encoding: Encoding::Histogram,
        bytes,
    });
    writer.add_series(&Labels::from_pairs([("a", "h")]), new).unwrap();
    writer.finish().unwrap();
    Block::open(&RealFs::shared(), &path).unwrap()
}

// What was observed at this time; the sum tells which block it is from.
fn observed(ts: i64, sum: f64) -> Histogram {
    Histogram {
        count: ts as u64,
        sum,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        positive_buckets: vec![ts],
        ..Histogram::default()
    }
}

// Times and sums of the histograms of a block's only series.
fn times_and_sums(block: &Block) -> Vec<(i64, f64)> {
    let (mut reader, mut native) = (block.chunk_reader(), Vec::new());
    for series in block.iter().unwrap() {
        for chunk in &series.unwrap().chunks {
            let (encoding, bytes) = reader.read(chunk).unwrap().encoded().unwrap();
            decode_native(encoding, bytes, &mut native).unwrap();
        }
    }
    let told = |(ts, value): (i64, NativeValue)| match value {
        NativeValue::Histogram(NativeHistogram::Integer(h)) => {
            assert!(h.equals(&observed(ts, h.sum)));
            (ts, h.sum)
        }
        // Equals nothing.
        _ => (ts, f64::NAN),
    };
    native.into_iter().map(told).collect()
}

#[test]
fn histogram_chunks_are_copied_where_they_follow_each_other_and_merged_where_they_overlap() {
    let dir = tempfile::tempdir().unwrap();
    let first = histograms(dir.path(), 1, 0, &[(0, 10), (900, 990)]);
    let second = histograms(dir.path(), 2, 500, &[(1000, 1010)]);
    let third = histograms(dir.path(), 3, 500, &[(950, 1020)]);
    let meta = merge(&[first.clone(), second.clone()], dir.path()).unwrap().unwrap();
    let stats = &meta.stats;
    assert_eq!(
        (stats.num_histogram_samples, stats.num_float_samples, stats.num_chunks),
        (14, 0, 3)
    );
    let kept = [stored(&first), stored(&second)].concat();
    assert_eq!(stored(&opened(dir.path(), &meta)), kept);

    std::fs::remove_dir_all(dir.path().join(meta.ulid.to_string())).unwrap();
    let meta = merge(&[first.clone(), third], dir.path()).unwrap().unwrap();
    let merged = opened(dir.path(), &meta);
    let expected = |(ts, source): (i64, i32)| (ts, f64::from(source));
    let times = [0, 10].into_iter().chain((900..=990).step_by(10)).map(|ts| (ts, 1));
    let times = times.chain((1000..=1020).step_by(10).map(|ts| (ts, 3)));
    assert_eq!(times_and_sums(&merged), times.map(expected).collect::<Vec<_>>());
    assert_eq!(meta.stats.num_histogram_samples, 15);
}

#[test]
fn what_is_deleted_of_a_histogram_chunk_goes_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let block = histograms(dir.path(), 1, 0, &[(0, 400)]);
    let tombstones = tombstones_of(&block, &[(0, 100, 200)]);
    write_tombstones(&RealFs, block.dir(), &tombstones).unwrap();
    let block = Block::open(&RealFs::shared(), block.dir()).unwrap();
    let meta = merge(&[block], dir.path()).unwrap().unwrap();
    let times: Vec<i64> = times_and_sums(&opened(dir.path(), &meta))
        .into_iter()
        .map(|(ts, _)| ts)
        .collect();
    let left: Vec<i64> = (0..=400).step_by(10).filter(|ts| !(100..=300).contains(ts)).collect();
    assert_eq!(times, left);
}

#[test]
fn merging_stops_when_it_is_told_to_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let model = machine(600, 2, 0);
    let (path, _) = write(dir.path(), spec(1, &model), &model, 120);
    let block = Block::open(&RealFs::shared(), &path).unwrap();
    let asked = Cell::new(0);
    let keep_going = || {
        asked.set(asked.get() + 1);
        asked.get() < 3
    };
    let merged = BlockSpec::merged(Ulid::new(77, 77), &[block.meta()]);
    let stopped = merge_blocks(&[&block], &RealFs::shared(), dir.path(), merged, &keep_going);
    assert!(matches!(stopped, Err(BlockError::Stopped)), "{stopped:?}");
    assert_eq!(asked.get(), 3);
    let list = list_blocks(&RealFs, dir.path()).unwrap();
    assert_eq!((list.blocks.len(), list.leftovers.len()), (1, 0));
}

#[test]
fn a_broken_chunk_makes_no_block() {
    let dir = tempfile::tempdir().unwrap();
    let model = machine(3, 500, 0);
    let (path, _) = write(dir.path(), spec(1, &model), &model, 120);
    let segment = path.join("chunks/000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let error = merge(&[Block::open(&RealFs::shared(), &path).unwrap()], dir.path()).unwrap_err();
    assert!(error.to_string().contains("checksum mismatch"), "{error}");
    let list = list_blocks(&RealFs, dir.path()).unwrap();
    assert_eq!((list.blocks.len(), list.leftovers.len()), (1, 0));
}

#[test]
fn a_linked_block_stays_when_the_first_is_changed_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let model = machine(3, 300, 0);
    let (path, meta) = write(dir.path(), spec(1, &model), &model, 120);
    let block = Block::open(&RealFs::shared(), &path).unwrap();
    let copies = dir.path().join("snapshots/one");
    block.link_into(&copies).unwrap();
    assert!(block.link_into(&copies).unwrap_err().to_string().contains("rename"));
    let everything = [vec![Matcher::equal("absent", "")]];
    let emptied = block.delete(&everything, i64::MIN, i64::MAX).unwrap().unwrap();
    assert_eq!(emptied.meta().stats.num_tombstones, 3);
    assert!(read_all(&emptied).unwrap().values().all(Vec::is_empty));
    assert!(
        merge(&[emptied], dir.path()).unwrap().is_none(),
        "nothing is left of it"
    );
    std::fs::remove_dir_all(&path).unwrap();
    assert_eq!(read_all(&opened(&copies, &meta)).unwrap(), model);
    assert!(list_blocks(&RealFs, &copies).unwrap().leftovers.is_empty());
}

#[test]
fn deletions_outside_of_a_block_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let model = machine(3, 300, 1_000_000);
    let (path, meta) = write(dir.path(), spec(1, &model), &model, 120);
    let block = Block::open(&RealFs::shared(), &path).unwrap();
    let (everything, nothing) = ([vec![]], [vec![Matcher::equal("n", "absent")]]);
    for (sets, mint, maxt) in [
        (&everything, 0, 999_999),
        (&everything, meta.max_time, i64::MAX),
        (&everything, 2_000_000, 1_000_000),
        (&nothing, i64::MIN, i64::MAX),
    ] {
        assert!(block.delete(sets, mint, maxt).unwrap().is_none(), "{mint} {maxt}");
    }
    assert!(block.delete(&[], i64::MIN, i64::MAX).unwrap().is_none());
    // The tombstones are those of the samples there are, not of all times.
    let anew = block.delete(&everything, i64::MIN, 1_000_000).unwrap().unwrap();
    let series = anew.iter().unwrap().next().unwrap().unwrap();
    let interval = Interval {
        mint: 1_000_000,
        maxt: 1_000_000,
    };
    assert_eq!(anew.tombstones().of(series.series_ref), [interval]);
}

#[test]
fn promtool_reads_merged_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let (early, late) = (machine(20, 400, 0), machine(25, 400, 3_000_000));
    let blocks: Vec<Block> = [(1, &early), (2, &late)]
        .map(|(number, model)| {
            Block::open(&RealFs::shared(), &write(dir.path(), spec(number, model), model, 120).0).unwrap()
        })
        .into();
    let db = dir.path().join("merged");
    let meta = merge(&blocks, &db).unwrap().unwrap();
    std::fs::create_dir(db.join("wal")).unwrap();
    let expected = union(&[early, late]);
    let samples: usize = expected.values().map(Vec::len).sum();
    let at = db.to_string_lossy();
    let Some(list) = promtool(&["tsdb", "list", &at]) else {
        return;
    };
    let row = list
        .lines()
        .find(|line| line.contains(&meta.ulid.to_string()))
        .expect("the block is listed");
    let columns: Vec<_> = row.split_whitespace().collect();
    assert_eq!(
        columns[4..7],
        [&samples.to_string(), &meta.stats.num_chunks.to_string(), "25"],
        "{row}"
    );
    let analysis = promtool(&["tsdb", "analyze", &at]).unwrap();
    assert!(analysis.contains("\nSeries: 25\n"), "{analysis}");
    let dump = promtool(&["tsdb", "dump", &at]).unwrap();
    let mut seen: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for line in dump.lines() {
        let mut parts = line.rsplitn(3, ' ');
        let (ts, _, labels) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        seen.entry(labels.to_owned()).or_default().push(ts.parse().unwrap());
    }
    let times = |run: &Vec<(i64, u64)>| run.iter().map(|(ts, _)| *ts).collect::<Vec<_>>();
    let expected: BTreeMap<_, _> = expected.iter().map(|(l, run)| (l.to_string(), times(run))).collect();
    assert_eq!(seen, expected);
}
