//! Verifying finds what reading would find, and nothing where there is nothing.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be unwrapped has failed")]

mod common;

use std::path::{Path, PathBuf};

use common::{machine, read_all, spec, write};
use cupola_block::{Block, Verified, verify};
use cupola_env::RealFs;

fn verified(dir: &Path) -> (Option<Verified>, Vec<String>) {
    let mut faults = Vec::new();
    let verified = verify(&RealFs, dir, &mut |fault| faults.push(fault.to_string()));
    (verified, faults)
}

struct Written {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn written(series: usize, samples: usize) -> Written {
    let dir = tempfile::tempdir().unwrap();
    let model = machine(series, samples, 1_700_000_000_000);
    let mut spec = spec(1, &model);
    spec.max_segment_bytes = 8_000;
    let (path, _) = write(dir.path(), spec, &model, 50);
    Written { _dir: dir, path }
}

// Puts `replaced` where `find` is in a file of the block.
fn replace(path: &Path, find: &[u8], replaced: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(find.len()).position(|window| window == find).unwrap();
    bytes.splice(at..at + find.len(), replaced.iter().copied());
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_whole_block_has_no_faults() {
    let block = written(30, 200);
    let (verified, faults) = verified(&block.path);
    assert_eq!(faults, Vec::<String>::new());
    let verified = verified.unwrap();
    let (told, found) = (&verified.meta.stats, &verified.found);
    assert_eq!(
        (found.num_series, found.num_chunks, found.num_samples),
        (30, 120, 6_000)
    );
    assert_eq!((told.num_series, told.num_samples), (30, 6_000));
    assert_eq!(verified.undecoded, []);
}

#[test]
fn every_broken_byte_that_matters_is_found() {
    let block = written(5, 120);
    let whole = read_all(&Block::open(&RealFs::shared(), &block.path).unwrap()).unwrap();
    let mut unfound = 0;
    for file in ["index", "tombstones", "meta.json", "chunks/000001"] {
        let path = block.path.join(file);
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x15;
            std::fs::write(&path, &broken).unwrap();
            let (_, faults) = verified(&block.path);
            if faults.is_empty() {
                // Padding, reserved bytes, sections that nobody reads.
                let read = read_all(&Block::open(&RealFs::shared(), &block.path).unwrap());
                assert_eq!(read.unwrap(), whole, "{file} byte {at}");
                unfound += 1;
            }
        }
        // Cut off anywhere, a file is no whole file.
        for len in (0..bytes.len()).step_by(7) {
            std::fs::write(&path, &bytes[..len]).unwrap();
            assert_ne!(verified(&block.path).1, Vec::<String>::new(), "{file} cut at {len}");
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(unfound < 1_000, "{unfound} bytes");
    assert_eq!(verified(&block.path).1, Vec::<String>::new());
}

#[test]
fn faults_say_file_and_byte_and_do_not_hide_each_other() {
    let block = written(20, 300);
    let segment = block.path.join("chunks/000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    let last = bytes.len() - 1;
    bytes[20] ^= 1;
    bytes[last] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (verified, faults) = verified(&block.path);
    assert_eq!(faults.len(), 2, "{faults:?}");
    for fault in &faults {
        assert!(
            fault.contains("chunk segment 000001: checksum mismatch at byte "),
            "{fault}"
        );
    }
    assert!(faults[0].ends_with("at byte 8"), "{}", faults[0]);
    assert_eq!(verified.unwrap().found.num_chunks, 20 * 6 - 2);
}

#[test]
fn lies_are_found_behind_right_checksums() {
    let block = written(6, 60);
    replace(
        &block.path.join("meta.json"),
        b"\"numSamples\": 360",
        b"\"numSamples\": 361",
    );
    // A list of one series, which is then another's.
    let index = block.path.join("index");
    let bytes = std::fs::read(&index).unwrap();
    let head = [0, 0, 0, 8, 0, 0, 0, 1];
    let at = bytes.windows(8).rposition(|window| window == head).unwrap();
    let list = bytes[at..at + 16].to_vec();
    let mut lie = list.clone();
    lie[11] += 4;
    let sum = crc32c::crc32c(&lie[4..12]).to_be_bytes();
    lie[12..].copy_from_slice(&sum);
    replace(&index, &list, &lie);

    let (_, faults) = verified(&block.path);
    let found = |text: &str| faults.iter().any(|fault| fault.contains(text));
    assert!(
        found("meta.json: says 361 samples, but there are 360") && found("index section \"postings\""),
        "{faults:?}"
    );
}

#[test]
fn what_is_no_block_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("01M887VKTP0WM0BFM118DR0KEQ");
    std::fs::create_dir(&path).unwrap();
    let (verified, faults) = verified(&path);
    assert!(verified.is_none());
    assert_eq!(faults, ["block 01M887VKTP0WM0BFM118DR0KEQ: meta.json: is missing"]);
}
