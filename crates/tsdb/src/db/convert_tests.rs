//! Converting blocks and merging into native ones changes no answer, whenever it is interrupted.

use std::fs;

use cupola_block::{BlockFormat, list_blocks};
use cupola_env::{ManualClock, RealFs};
use cupola_model::Matcher;
use tempfile::TempDir;

use super::compact_tests::{CopyingFs, HOUR, Model, Opened, dump, fill, folders, name};
use super::*;

// The formats of all blocks, oldest first.
fn formats(dir: &Path) -> Vec<BlockFormat> {
    let list = list_blocks(&RealFs, dir).unwrap();
    list.blocks.iter().map(|(_, meta)| meta.format()).collect()
}

fn converted(vfs: Arc<dyn Vfs>, dir: &Path, to: BlockFormat, blocks: &[Ulid]) -> Vec<Converted> {
    let mut out = Vec::new();
    let conversion = Conversion { dir, to, blocks };
    convert(conversion, &ManualClock::new(0), &vfs, &mut |one| {
        out.push(one.unwrap())
    })
    .unwrap();
    out
}

// Two days in blocks of several lengths.
fn two_days(dir: &Path, format: BlockFormat) -> Model {
    let mut model = Model::new();
    let opened = Opened::new(dir, |options| options.block_format = format);
    fill(&opened, &mut model, 0, 48);
    assert_eq!(opened.ranges()[..2], [(0, 18), (18, 36)]);
    assert_eq!(dump(&opened.tsdb), model);
    model
}

#[test]
fn blocks_are_native_unless_prometheus_is_asked_for_or_a_sidecar_ships_them() {
    use BlockFormat::{Native, Prometheus};
    let dir = TempDir::new().unwrap();
    two_days(dir.path(), Native);
    let found = formats(dir.path());
    assert!(found.len() > 3 && found.iter().all(|f| *f == Native), "{found:?}");
    // A Prometheus on this folder sees none of them.
    let seen: Vec<String> = RealFs.list(dir.path()).unwrap();
    assert!(seen.iter().all(|name| name.parse::<Ulid>().is_err()), "{seen:?}");
    let dir = TempDir::new().unwrap();
    two_days(dir.path(), Prometheus);
    assert!(formats(dir.path()).iter().all(|f| *f == Prometheus));
    assert!(!dir.path().join("cupola-blocks").exists());
    // The longest block is as long as the shortest: nothing is merged.
    let dir = TempDir::new().unwrap();
    let mut model = Model::new();
    let opened = Opened::new(dir.path(), |options| options.max_block_ms = options.block_ms);
    fill(&opened, &mut model, 0, 12);
    assert_eq!(opened.ranges()[..2], [(0, 2), (2, 4)]);
    assert_eq!(dump(&opened.tsdb), model);
    assert!(formats(dir.path()).iter().all(|f| *f == Prometheus));
}

#[test]
fn blocks_are_converted_both_ways_and_no_answer_changes() {
    let dir = TempDir::new().unwrap();
    let mut model = two_days(dir.path(), BlockFormat::Prometheus);
    let opened = Opened::new(dir.path(), |_| {});
    let deleted = [vec![Matcher::equal("__name__", "a")]];
    opened.tsdb.delete_series(&deleted, 3 * HOUR, 5 * HOUR).unwrap();
    model
        .get_mut(&name("a"))
        .unwrap()
        .retain(|ts, _| !(3 * HOUR..=5 * HOUR).contains(ts));
    let held = converted_error(dir.path(), &[]);
    assert!(held.contains("another process holds it"), "{held}");
    drop(opened);
    let count = formats(dir.path()).len();
    let all = folders(dir.path());
    let first: Ulid = all.first().unwrap().parse().unwrap();
    let missing = Ulid::new(1, 1);
    assert!(converted_error(dir.path(), &[first, missing]).contains(&format!("there is no block {missing}")));
    assert_eq!(folders(dir.path()), all);

    let vfs = RealFs::shared();
    let one = converted(vfs.clone(), dir.path(), BlockFormat::Native, &[first]);
    assert_eq!(one.iter().map(|c| c.from).collect::<Vec<_>>(), [first]);
    assert_eq!(
        formats(dir.path())
            .iter()
            .filter(|f| **f == BlockFormat::Native)
            .count(),
        1
    );
    for (to, expected) in [
        (BlockFormat::Native, count - 1),
        (BlockFormat::Prometheus, count),
        (BlockFormat::Native, count),
    ] {
        let done = converted(vfs.clone(), dir.path(), to, &[]);
        assert_eq!(done.len(), expected);
        assert!(done.iter().all(|c| c.from_bytes > 0 && c.into.is_some()));
        assert_eq!(formats(dir.path()), vec![to; count]);
        let opened = Opened::new(dir.path(), |_| {});
        assert_eq!(dump(&opened.tsdb), model);
        assert!(opened.ranges().is_sorted_by(|a, b| a.1 <= b.0));
    }
    assert_eq!(converted(vfs, dir.path(), BlockFormat::Native, &[]).len(), 0);
}

fn converted_error(dir: &Path, blocks: &[Ulid]) -> String {
    let to = BlockFormat::Native;
    let conversion = Conversion { dir, to, blocks };
    let done = convert(conversion, &ManualClock::new(0), &RealFs::shared(), &mut |_| {
        panic!("nothing is converted")
    });
    done.unwrap_err().to_string()
}

#[test]
fn a_crash_while_blocks_are_converted_loses_nothing() {
    let root = TempDir::new().unwrap();
    let (dir, copies) = (root.path().join("data"), root.path().join("copies"));
    let model = two_days(&dir, BlockFormat::Prometheus);
    fs::create_dir(&copies).unwrap();
    let count = formats(&dir).len();
    for to in [BlockFormat::Native, BlockFormat::Prometheus] {
        let vfs = CopyingFs::new(&dir, &copies);
        converted(Arc::new(vfs), &dir, to, &[]);
        let mut crashes = 0;
        for entry in fs::read_dir(&copies).unwrap() {
            let copy = entry.unwrap().path();
            // Either the server comes first after the crash, or the conversion is called again.
            if crashes % 2 == 0 {
                let crashed = Opened::flat(&copy);
                assert_eq!(dump(&crashed.tsdb), model);
                drop(crashed);
                assert_eq!(folders(&copy).len(), count);
            }
            converted(RealFs::shared(), &copy, to, &[]);
            let crashed = Opened::flat(&copy);
            assert_eq!(dump(&crashed.tsdb), model);
            drop(crashed);
            assert_eq!(folders(&copy).len(), count);
            assert_eq!(formats(&copy), vec![to; count]);
            fs::remove_dir_all(&copy).unwrap();
            crashes += 1;
        }
        assert!(crashes >= 3 * count, "{crashes} for {count} blocks");
    }
}
