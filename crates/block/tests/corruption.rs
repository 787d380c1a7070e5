//! Whatever happens to the files: an error or the right samples, never a panic, never wrong samples.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be unwrapped has failed")]

mod common;

use std::path::PathBuf;

use common::{Model, files, jittered, machine, read_all, spec, write, write_native};
use cupola_block::{Block, BlockMeta, Interval, Tombstones, list_blocks, write_tombstones};
use cupola_env::RealFs;

struct Written {
    _dir: tempfile::TempDir,
    path: PathBuf,
    meta: BlockMeta,
    content: Model,
}

/// A block of several segments with a tombstone.
fn written() -> Written {
    let dir = tempfile::tempdir().unwrap();
    let model = machine(12, 150, 1_700_000_000_000);
    let mut spec = spec(1, &model);
    spec.max_segment_bytes = 8_000;
    let (path, meta) = write(dir.path(), spec, &model, 50);
    with_tombstone(dir, path, meta, &model)
}

/// A native one.
fn native() -> Written {
    let dir = tempfile::tempdir().unwrap();
    let model = jittered(&machine(12, 150, 1_700_000_000_000));
    let (path, meta) = write_native(dir.path(), 1, &model, 3_000);
    with_tombstone(dir, path, meta, &model)
}

fn with_tombstone(dir: tempfile::TempDir, path: PathBuf, meta: BlockMeta, model: &Model) -> Written {
    let series = Block::open(&RealFs::shared(), &path)
        .unwrap()
        .iter()
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mut tombstones = Tombstones::default();
    tombstones.add(
        series.series_ref,
        Interval {
            mint: 0,
            maxt: 1_700_000_300_000,
        },
    );
    write_tombstones(&RealFs, &path, &tombstones).unwrap();
    let content = read_all(&Block::open(&RealFs::shared(), &path).unwrap()).unwrap();
    assert_ne!(content, *model);
    Written {
        _dir: dir,
        path,
        meta,
        content,
    }
}

/// Whether the block could be read; panics where it gives other samples.
fn check(written: &Written, what: &str) -> bool {
    let listed = list_blocks(&RealFs, written.path.parent().unwrap()).unwrap();
    assert_eq!(listed.blocks.len() + listed.broken.len(), 1, "{what}");
    let Ok(block) = Block::open(&RealFs::shared(), &written.path) else {
        return false;
    };
    // meta.json has no checksum: another digit in it is believed. Nothing but the block's range depends on it.
    if block.meta() != &written.meta {
        return true;
    }
    for series in block.iter().into_iter().flatten() {
        let _ = series;
    }
    match read_all(&block) {
        Ok(content) => {
            assert!(content == written.content, "{what}: other samples");
            true
        }
        Err(error) => {
            assert!(
                error.to_string().contains(&written.meta.ulid.to_string()),
                "{what}: {error}"
            );
            false
        }
    }
}

#[test]
fn a_changed_byte_gives_an_error_or_the_right_samples() {
    for (written, segments) in [(written(), ["chunks", "chunks"]), (native(), ["columns", "times"])] {
        let files = files(&written.path);
        assert!(files.len() >= 5, "several segments");
        for folder in segments {
            assert!(files.contains(&written.path.join(folder).join("000001")), "{folder}");
        }
        changed_bytes(&written, &files);
    }
}

fn changed_bytes(written: &Written, files: &[PathBuf]) {
    for file in files {
        let good = std::fs::read(file).unwrap();
        let mut detected = 0;
        let mut tried = 0;
        for start in [0, 5, 50] {
            for at in (start..good.len()).step_by(97) {
                let mut bad = good.clone();
                bad[at] ^= [0xff, 0x01, 0x80][at % 3];
                std::fs::write(file, &bad).unwrap();
                tried += 1;
                detected += usize::from(!check(written, &format!("byte {at} of {}", file.display())));
            }
        }
        std::fs::write(file, &good).unwrap();
        assert!(check(written, "restored"));
        // What is left undetected is padding, the label indices that nobody reads, and digits of the meta.
        assert!(
            detected * 2 > tried || file.ends_with("meta.json"),
            "{detected} of {tried} in {}",
            file.display()
        );
    }
}

#[test]
fn a_file_cut_short_gives_an_error_or_the_right_samples() {
    cut_short(&written());
    cut_short(&native());
}

fn cut_short(written: &Written) {
    for file in files(&written.path) {
        let good = std::fs::read(&file).unwrap();
        for len in (0..good.len()).step_by(97).chain([good.len() - 1]) {
            std::fs::write(&file, &good[..len]).unwrap();
            let what = format!("{} cut to {len}", file.display());
            assert!(!check(written, &what), "{what}: not noticed");
        }
        std::fs::write(&file, &good).unwrap();
    }
    assert!(check(written, "restored"));
}

#[test]
fn a_missing_segment_of_a_native_block_is_named() {
    let written = native();
    let ulid = written.meta.ulid;
    for (file, expected) in [
        ("columns/000002", "column segment 000002"),
        ("times/000001", "times segment 000001"),
    ] {
        let (path, away) = (written.path.join(file), written.path.join("away"));
        std::fs::rename(&path, &away).unwrap();
        let block = Block::open(&RealFs::shared(), &written.path).unwrap();
        let error = read_all(&block).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("block {ulid}: open {expected}: ")),
            "{error}"
        );
        std::fs::rename(&away, &path).unwrap();
    }
    std::fs::remove_dir_all(written.path.join("times")).unwrap();
    let error = Block::open(&RealFs::shared(), &written.path).unwrap_err().to_string();
    assert!(error.contains("list") && error.contains("times"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let written = written();
    let ulid = written.meta.ulid;
    for (file, expected) in [
        ("meta.json", format!("block {ulid}: meta.json: is missing")),
        ("index", format!("block {ulid}: open index: ")),
        ("chunks/000002", format!("block {ulid}: open chunk segment 000002: ")),
    ] {
        let (path, away) = (written.path.join(file), written.path.join("away"));
        std::fs::rename(&path, &away).unwrap();
        let error = match Block::open(&RealFs::shared(), &written.path) {
            Ok(block) => read_all(&block).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.starts_with(&expected), "{error}");
        std::fs::rename(&away, &path).unwrap();
    }
    // Upstream writes none where nothing is deleted in old versions.
    std::fs::remove_file(written.path.join("tombstones")).unwrap();
    assert!(
        Block::open(&RealFs::shared(), &written.path)
            .unwrap()
            .tombstones()
            .is_empty()
    );
    std::fs::remove_dir_all(written.path.join("chunks")).unwrap();
    let error = Block::open(&RealFs::shared(), &written.path).unwrap_err().to_string();
    assert!(error.contains("list") && error.contains("chunks"), "{error}");
}
