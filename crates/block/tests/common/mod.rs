//! What the tests of blocks share.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cupola_block::{Block, BlockFormat, BlockMeta, BlockSpec, BlockWriter, NewChunk, Ulid, merge_blocks};
use cupola_chunk::{Encoding, XorAppender};
use cupola_env::RealFs;
use cupola_model::{Labels, Matcher};
use cupola_storage::{Queryable, Samples, Selection, StorageError};

/// The naive store that a block is compared with. Values as bits: NaN equals itself, -0 is not 0.
pub type Model = BTreeMap<Labels, Vec<(i64, u64)>>;

/// A chunk, ready to be written.
pub struct Chunk {
    pub mint: i64,
    pub maxt: i64,
    pub bytes: Vec<u8>,
}

impl Chunk {
    pub fn as_new(&self) -> NewChunk<'_> {
        NewChunk {
            mint: self.mint,
            maxt: self.maxt,
            encoding: Encoding::Xor,
            bytes: &self.bytes,
        }
    }
}

pub fn chunks(samples: &[(i64, u64)], per_chunk: usize) -> Vec<Chunk> {
    let encode = |run: &[(i64, u64)]| {
        let mut appender = XorAppender::new();
        for (ts, bits) in run {
            appender.append(*ts, f64::from_bits(*bits)).unwrap();
        }
        Chunk {
            mint: run[0].0,
            maxt: run[run.len() - 1].0,
            bytes: appender.into_bytes(),
        }
    };
    samples.chunks(per_chunk).map(encode).collect()
}

pub fn spec(number: u64, model: &Model) -> BlockSpec {
    let times = || model.values().flatten().map(|s| s.0);
    let (min, max) = (times().min().unwrap_or(0), times().max().unwrap_or(0) + 1);
    BlockSpec::new(Ulid::new(max, u128::from(number)), min, max)
}

pub fn write(dir: &Path, spec: BlockSpec, model: &Model, per_chunk: usize) -> (PathBuf, BlockMeta) {
    let path = dir.join(spec.ulid.to_string());
    let mut writer = BlockWriter::create(&RealFs::shared(), dir, spec).unwrap();
    for (labels, samples) in model {
        let chunks = chunks(samples, per_chunk);
        writer.add_series(labels, chunks.iter().map(Chunk::as_new)).unwrap();
    }
    (path, writer.finish().unwrap())
}

pub fn select(block: &dyn Queryable, matchers: &[Matcher], range: (i64, i64)) -> Result<Model, StorageError> {
    let mut out = Model::new();
    for series in block.select(&Selection {
        matchers,
        mint: range.0,
        maxt: range.1,
    })? {
        let mut samples = Samples::default();
        series.source.read(range.0, range.1, &mut samples)?;
        let pairs = samples
            .ts
            .into_iter()
            .zip(samples.values.into_iter().map(f64::to_bits))
            .collect();
        assert!(out.insert(series.labels, pairs).is_none(), "each series once");
    }
    Ok(out)
}

/// What verifying finds.
pub fn verified(dir: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    cupola_block::verify(&RealFs, dir, &mut |fault| faults.push(fault.to_string()));
    faults
}

/// The model with the times as a scraper has them that is up to 8 ms late, all series alike.
pub fn jittered(model: &Model) -> Model {
    let late = |ts: i64| (ts as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
    let run = |run: &[(i64, u64)]| run.iter().map(|(ts, bits)| (ts + late(*ts) as i64, *bits)).collect();
    model
        .iter()
        .map(|(labels, samples)| (labels.clone(), run(samples)))
        .collect()
}

/// Writes the model as a native block; gives its folder.
pub fn write_native(dir: &Path, number: u64, model: &Model, max_segment_bytes: u64) -> (PathBuf, BlockMeta) {
    let (path, meta) = write(dir, spec(number, model), model, 120);
    let block = Block::open(&RealFs::shared(), &path).unwrap();
    let spec = BlockSpec {
        max_segment_bytes,
        ..BlockSpec::new(meta.ulid, meta.min_time, meta.max_time).in_format(BlockFormat::Native)
    };
    let meta = merge_blocks(&[&block], &RealFs::shared(), dir, spec, &|| true)
        .unwrap()
        .unwrap();
    std::fs::remove_dir_all(path).unwrap();
    (meta.dir_in(dir), meta)
}

/// All files below a folder.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(files(&path))
        } else {
            out.push(path)
        }
    }
    out.sort();
    out
}

pub fn read_all(block: &Block) -> Result<Model, StorageError> {
    select(block, &[], (i64::MIN, i64::MAX))
}

/// `series` metrics of several shapes over `samples` scrapes at 15 s, from `start` on.
pub fn machine(series: usize, samples: usize, start: i64) -> Model {
    let shape = |i: usize, n: usize| match i % 5 {
        0 => 1.0,
        1 => n as f64 * 17.0,
        2 => (n as f64 * 0.3 + i as f64).sin() * 1e9,
        3 => [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            0.0,
            1e-300,
            123_456_789.0,
        ][n % 7],
        _ => (n * i) as f64 / 1000.0,
    };
    let labels = |i: usize| {
        Labels::from_pairs([
            (
                "__name__",
                ["up", "node_cpu_seconds_total", "go_goroutines"][i % 3].to_owned(),
            ),
            ("instance", format!("host-{}:9100", i / 3)),
            (
                "mode",
                if i.is_multiple_of(2) {
                    "user \"é\"\n".to_owned()
                } else {
                    String::new()
                },
            ),
            ("n", i.to_string()),
        ])
    };
    let run = |i: usize| {
        (0..samples)
            .map(move |n| (start + n as i64 * 15_000, shape(i, n).to_bits()))
            .collect()
    };
    (0..series).map(|i| (labels(i), run(i))).collect()
}

/// Runs promtool; `None`, with a note, where it is not installed.
///
/// # Panics
/// Where it fails, and where it is missing although `CI=true`.
pub fn promtool(args: &[&str]) -> Option<String> {
    let output = match Command::new("promtool").args(args).output() {
        Ok(output) => output,
        Err(error) => {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "promtool missing in CI: {error}"
            );
            eprintln!("SKIPPED: promtool cannot be run: {error}");
            return None;
        }
    };
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "promtool {args:?}: {}\n{out}\n{err}",
        output.status
    );
    Some(out.into_owned())
}
