//! A block gives back what was written, under every selection, compared with a naive store.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be unwrapped has failed")]

mod common;

use std::collections::BTreeSet;

use common::{Chunk, Model, chunks, machine, promtool, read_all, select, spec, write};
use cupola_block::{Block, BlockSpec, BlockWriter, Interval, Tombstones, Ulid, list_blocks, write_tombstones};
use cupola_chunk::Encoding;
use cupola_env::RealFs;
use cupola_model::{Labels, MatchOp, Matcher};
use cupola_storage::{Queryable, Selection};
use proptest::prelude::*;

fn model() -> impl Strategy<Value = Model> {
    let label = (
        prop::sample::select(vec!["__name__", "job", "instance", "le"]),
        "[a-c]{1,2}|0\\.5|é",
    );
    let labels = prop::collection::vec(label, 1..4).prop_map(Labels::from_pairs::<&str, String>);
    let steps = prop::collection::vec((1_i64..100_000, any::<u64>()), 1..60);
    let samples = (-1_000_000_i64..1_000_000, steps).prop_map(|(mut ts, steps)| {
        let step = |(step, bits): (i64, u64)| {
            ts += step;
            (ts, bits)
        };
        steps.into_iter().map(step).collect()
    });
    prop::collection::btree_map(labels, samples, 1..12)
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let name = prop::sample::select(vec!["__name__", "job", "instance", "le", "absent"]);
    let op = prop::sample::select(vec![
        MatchOp::Equal,
        MatchOp::NotEqual,
        MatchOp::Regex,
        MatchOp::NotRegex,
    ]);
    let value = prop::sample::select(vec!["", "a", "b", "aa", "a|b", "a.*", ".+", ".*", "[ab]+", "0.5", "é|"]);
    (name, op, value).prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_selection_gives_what_a_naive_store_gives(
        model in model(),
        per_chunk in 1_usize..30,
        segment_bytes in prop::sample::select(vec![1_000_u64, 4_000, 512 << 20]),
        queries in prop::collection::vec(
            (prop::collection::vec(matcher(), 0..3), -2_000_000_i64..3_000_000, 0_i64..3_000_000), 1..12),
        deletions in prop::collection::vec((0_usize..12, -1_000_000_i64..2_000_000, 0_i64..500_000), 0..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = spec(1, &model);
        spec.max_segment_bytes = segment_bytes;
        let (path, meta) = write(dir.path(), spec, &model, per_chunk);
        let block = Block::open(&RealFs::shared(), &path).unwrap();
        prop_assert_eq!(block.meta(), &meta);
        prop_assert_eq!(block.series_count().unwrap(), model.len());
        prop_assert_eq!(meta.stats.num_samples as usize, model.values().map(Vec::len).sum::<usize>());
        let walked: Vec<_> = block.iter().unwrap().map(|series| series.unwrap()).collect();
        prop_assert_eq!(walked.iter().map(|s| s.labels.clone()).collect::<Vec<_>>(), model.keys().cloned().collect::<Vec<_>>());

        // The chunks as they are stored.
        let mut reader = block.chunk_reader();
        for (series, samples) in walked.iter().zip(model.values()) {
            let written = chunks(samples, per_chunk);
            prop_assert_eq!(series.chunks.len(), written.len());
            for (chunk, written) in series.chunks.iter().zip(written) {
                prop_assert_eq!((chunk.mint, chunk.maxt), (written.mint, written.maxt));
                prop_assert_eq!(reader.read(chunk).unwrap().encoded(), Some((Encoding::Xor, &*written.bytes)));
            }
        }

        let mut tombstones = Tombstones::default();
        let mut left = model.clone();
        for (i, mint, len) in deletions {
            let series = &walked[i % walked.len()];
            let deleted = mint..=mint + len;
            tombstones.add(series.series_ref, Interval { mint, maxt: mint + len });
            left.get_mut(&series.labels).unwrap().retain(|(ts, _)| !deleted.contains(ts));
        }
        write_tombstones(&RealFs, &path, &tombstones).unwrap();
        let block = Block::open(&RealFs::shared(), &path).unwrap();
        prop_assert_eq!(block.tombstones(), &tombstones);

        for (matchers, mint, len) in queries {
            let range = (mint, mint + len);
            let is_match = |labels: &Labels| matchers.iter().all(|m| m.matches_labels(labels));
            let expected: Model = left.iter()
                .filter(|(labels, _)| is_match(labels))
                .map(|(labels, samples)| {
                    let inside = samples.iter().filter(|(ts, _)| range.0 <= *ts && *ts <= range.1);
                    (labels.clone(), inside.copied().collect::<Vec<_>>())
                })
                .filter(|(_, samples)| !samples.is_empty())
                .collect();
            // A series may be selected and turn out to have no sample in the range.
            let mut found = select(&block, &matchers, range).unwrap();
            prop_assert!(found.keys().all(is_match));
            found.retain(|_, samples| !samples.is_empty());
            prop_assert_eq!(found, expected, "{:?} {:?}", matchers, range);

            // Names and values are those of the index: deletions and times inside the block do not count.
            let everything = Selection { matchers: &matchers, mint: i64::MIN, maxt: i64::MAX };
            let matching: Vec<_> = model.keys().filter(|labels| is_match(labels)).collect();
            let names: BTreeSet<_> = matching.iter().flat_map(|l| l.iter().map(|(n, _)| n.to_owned())).collect();
            prop_assert_eq!(block.label_names(&everything).unwrap(), names.into_iter().collect::<Vec<_>>());
            for name in ["__name__", "job", "absent"] {
                let values: BTreeSet<_> = matching.iter().filter_map(|l| l.get(name)).map(str::to_owned).collect();
                prop_assert_eq!(block.label_values(name, &everything).unwrap(), values.into_iter().collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn a_selected_series_can_be_read_after_the_block_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let model = machine(3, 300, 0);
    let (path, _) = write(dir.path(), spec(1, &model), &model, 120);
    let block = Block::open(&RealFs::shared(), &path).unwrap();
    assert!(block.size_bytes() > 500);
    let everything = Selection {
        matchers: &[],
        mint: i64::MIN,
        maxt: i64::MAX,
    };
    let series = block.select(&everything).unwrap();
    drop(block);
    std::fs::remove_dir_all(&path).unwrap();
    for series in series {
        let mut samples = cupola_storage::Samples::default();
        series.source.read(0, i64::MAX, &mut samples).unwrap();
        assert_eq!(samples.len(), 300);
    }
}

#[test]
fn a_block_outside_of_the_asked_time_answers_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let model = machine(3, 10, 1_000_000);
    let (path, meta) = write(dir.path(), spec(1, &model), &model, 120);
    let block = Block::open(&RealFs::shared(), &path).unwrap();
    for (mint, maxt) in [(0, 999_999), (meta.max_time, i64::MAX)] {
        let selection = Selection {
            matchers: &[],
            mint,
            maxt,
        };
        assert!(block.select(&selection).unwrap().is_empty());
        assert!(block.label_names(&selection).unwrap().is_empty());
        assert!(block.label_values("n", &selection).unwrap().is_empty());
    }
}

#[test]
fn the_writer_refuses_what_a_block_cannot_hold() {
    let labels = |n: &str| Labels::from_pairs([("__name__", n)]);
    let ulid = Ulid::new(5, 7);
    let good = chunks(&[(10, 0), (20, 1)], 10);
    let later = chunks(&[(20, 0), (30, 1)], 10);
    let outside = chunks(&[(90, 0), (100, 1)], 10);
    let check = |series: &[(&str, Vec<&Chunk>)], expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = BlockWriter::create(&RealFs::shared(), dir.path(), BlockSpec::new(ulid, 0, 100)).unwrap();
        let mut add = |(name, chunks): &(&str, Vec<&Chunk>)| {
            let labels = if name.is_empty() { Labels::empty() } else { labels(name) };
            writer.add_series(&labels, chunks.iter().map(|c| c.as_new()))
        };
        let error = series
            .iter()
            .find_map(|series| add(series).err())
            .expect("one of them is refused");
        assert_eq!(error.to_string(), format!("block {ulid}: {expected}"));
        // After that nothing goes, and nothing is left behind.
        assert_eq!(
            add(&("z", vec![&good[0]])).unwrap_err().to_string(),
            format!("block {ulid}: an earlier write failed")
        );
        assert!(writer.finish().is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    };
    let good = &good[0];
    check(&[("", vec![good])], "invalid label set {}");
    check(&[("a", vec![])], "series {__name__=\"a\"} has no chunks");
    let order = |n: &str| format!("series {{__name__={n:?}}} does not come after the one before it");
    check(&[("b", vec![good]), ("a", vec![good])], &order("a"));
    check(&[("a", vec![good]), ("a", vec![good])], &order("a"));
    let chunk =
        |range: &str| format!("chunk {range} of series {{__name__=\"a\"}} is out of order or outside of the block");
    check(&[("a", vec![good, &later[0]])], &chunk("20..=30"));
    check(&[("a", vec![&outside[0]])], &chunk("90..=100"));
    let empty = Chunk {
        mint: 1,
        maxt: 2,
        bytes: vec![],
    };
    check(
        &[("a", vec![&empty])],
        "chunk of 0 bytes in series {__name__=\"a\"} cannot be stored",
    );
}

#[test]
fn a_block_is_not_written_over_another() {
    let dir = tempfile::tempdir().unwrap();
    let model = machine(2, 3, 0);
    let (path, _) = write(dir.path(), spec(1, &model), &model, 120);
    let mut writer = BlockWriter::create(&RealFs::shared(), dir.path(), spec(1, &model)).unwrap();
    let chunk = chunks(&[(0, 5)], 1);
    writer
        .add_series(&Labels::from_pairs([("a", "b")]), chunk.iter().map(Chunk::as_new))
        .unwrap();
    assert!(writer.finish().unwrap_err().to_string().contains("rename"));
    assert_eq!(
        read_all(&Block::open(&RealFs::shared(), &path).unwrap()).unwrap(),
        model
    );
    assert!(list_blocks(&RealFs, dir.path()).unwrap().leftovers.is_empty());
}

#[test]
fn a_data_folder_is_listed_without_being_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (early, late) = (machine(2, 3, 0), machine(2, 3, 9_000_000));
    let (late_path, _) = write(dir.path(), spec(1, &late), &late, 120);
    let (early_path, _) = write(dir.path(), spec(2, &early), &early, 120);
    let broken = [Ulid::new(1, 1), Ulid::new(1, 2), Ulid::new(1, 3)].map(|u| dir.path().join(u.to_string()));
    std::fs::create_dir(&broken[0]).unwrap();
    std::fs::create_dir(&broken[1]).unwrap();
    std::fs::write(broken[1].join("meta.json"), "{").unwrap();
    std::fs::create_dir(&broken[2]).unwrap();
    std::fs::copy(late_path.join("meta.json"), broken[2].join("meta.json")).unwrap();
    let left = [".tmp-for-creation", ".tmp-for-deletion"].map(|s| dir.path().join(format!("{}{s}", Ulid::new(1, 4))));
    left.iter().for_each(|path| std::fs::create_dir(path).unwrap());
    // Neither of these is a block.
    std::fs::create_dir(dir.path().join("wal")).unwrap();
    std::fs::write(dir.path().join(Ulid::new(1, 5).to_string()), "a file").unwrap();

    let list = list_blocks(&RealFs, dir.path()).unwrap();
    assert_eq!(
        list.blocks.iter().map(|(path, _)| path).collect::<Vec<_>>(),
        [&early_path, &late_path]
    );
    assert_eq!(list.leftovers, left);
    let errors: Vec<_> = list.broken.iter().map(|b| b.error.to_string()).collect();
    assert_eq!(
        list.broken.iter().map(|b| &b.dir).collect::<Vec<_>>(),
        broken.iter().collect::<Vec<_>>()
    );
    assert!(errors[0].ends_with("meta.json: is missing"), "{errors:?}");
    assert!(errors[1].contains("meta.json: EOF while parsing"), "{errors:?}");
    assert!(errors[2].contains("meta.json: belongs to block"), "{errors:?}");
    assert!(broken.iter().chain(&left).all(|path| path.exists()));
    assert!(list_blocks(&RealFs, &dir.path().join("absent")).is_err());
}

#[test]
fn merged_blocks_name_their_parents_and_sources() {
    let dir = tempfile::tempdir().unwrap();
    let (early, late) = (machine(2, 3, 0), machine(2, 3, 9_000_000));
    let (_, a) = write(dir.path(), spec(1, &early), &early, 120);
    let (_, b) = write(dir.path(), spec(2, &late), &late, 120);
    let merged = BlockSpec::merged(Ulid::new(3, 3), &[&a, &b]);
    assert_eq!((merged.min_time, merged.max_time), (a.min_time, b.max_time));
    assert_eq!(
        (merged.compaction.level, merged.compaction.sources),
        (2, vec![a.ulid, b.ulid])
    );
    assert_eq!(
        merged.compaction.parents.iter().map(|p| p.ulid).collect::<Vec<_>>(),
        [a.ulid, b.ulid]
    );
    // The neighbour reads both, and says so.
    if let Some(out) = promtool(&["tsdb", "list", &dir.path().to_string_lossy()]) {
        assert!(
            out.contains(&a.ulid.to_string()) && out.contains(&b.ulid.to_string()),
            "{out}"
        );
    }
}
