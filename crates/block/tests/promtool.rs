//! Blocks cross between us and Prometheus's own tool in both directions.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be unwrapped has failed")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use common::{Model, machine, promtool, read_all, spec, write};
use cupola_block::{Block, BlockSpec, BlockWriter, Interval, NewChunk, Tombstones, list_blocks, write_tombstones};
use cupola_env::RealFs;
use cupola_model::{Matcher, fmt_f64};

/// Labels as text, because that is what a dump gives; NaN as one value, because it prints as one.
type Dumped = BTreeMap<String, Vec<(i64, u64)>>;

fn one_nan(bits: u64) -> u64 {
    if f64::from_bits(bits).is_nan() {
        f64::NAN.to_bits()
    } else {
        bits
    }
}

fn dumped(model: &Model) -> Dumped {
    let samples = |run: &Vec<(i64, u64)>| run.iter().map(|(ts, bits)| (*ts, one_nan(*bits))).collect();
    model
        .iter()
        .map(|(labels, run)| (labels.to_string(), samples(run)))
        .collect()
}

fn parse_dump(text: &str) -> Dumped {
    let mut out = Dumped::new();
    for line in text.lines() {
        let mut parts = line.rsplitn(3, ' ');
        let (ts, value, labels) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let value: f64 = value.parse().unwrap();
        out.entry(labels.to_owned())
            .or_default()
            .push((ts.parse().unwrap(), one_nan(value.to_bits())));
    }
    out
}

/// The samples of a data folder as text; promtool wants to see a log, though it may be empty.
fn dump(db: &Path, args: &[&str]) -> Option<Dumped> {
    std::fs::create_dir_all(db.join("wal")).unwrap();
    let db = db.to_string_lossy();
    promtool(&[&["tsdb", "dump"], args, &[&*db]].concat()).map(|text| parse_dump(&text))
}

#[test]
fn promtool_reads_what_we_write() {
    let dir = tempfile::tempdir().unwrap();
    let model = machine(60, 500, 1_700_000_000_000);
    let (path, meta) = write(dir.path(), spec(1, &model), &model, 120);
    let db = dir.path().to_string_lossy();
    let Some(list) = promtool(&["tsdb", "list", &db]) else {
        return;
    };
    let row = list
        .lines()
        .find(|line| line.contains(&meta.ulid.to_string()))
        .expect("the block is listed");
    let columns: Vec<_> = row.split_whitespace().collect();
    // ULID, times, duration, samples, chunks, series, size.
    assert_eq!(columns[4..7], ["30000", "300", "60"], "{row}");

    let analysis = promtool(&["tsdb", "analyze", &db]).unwrap();
    assert!(
        analysis.contains("\nSeries: 60\n") && analysis.contains("Label names: 4\n"),
        "{analysis}"
    );

    assert_eq!(dump(dir.path(), &[]).unwrap(), dumped(&model));
    let some = dump(dir.path(), &["--match", "{__name__=~\"up|go_.*\",mode=\"\"}"]).unwrap();
    let matchers = [
        Matcher::new("__name__", cupola_model::MatchOp::Regex, "up|go_.*").unwrap(),
        Matcher::equal("mode", ""),
    ];
    let ours = common::select(
        &Block::open(&RealFs::shared(), &path).unwrap(),
        &matchers,
        (i64::MIN, i64::MAX),
    )
    .unwrap();
    assert_eq!(some, dumped(&ours));
    assert_eq!(ours.len(), 20);
}

#[test]
fn promtool_sees_our_tombstones() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = machine(5, 300, 0);
    let (path, _) = write(dir.path(), spec(1, &model), &model, 120);
    let block = Block::open(&RealFs::shared(), &path).unwrap();
    let mut tombstones = Tombstones::default();
    for (i, series) in block.iter().unwrap().enumerate() {
        let series = series.unwrap();
        let deleted = Interval {
            mint: i as i64 * 100_000,
            maxt: i as i64 * 500_000,
        };
        tombstones.add(series.series_ref, deleted);
        let run = model.get_mut(&series.labels).unwrap();
        run.retain(|(ts, _)| *ts < deleted.mint || *ts > deleted.maxt);
    }
    write_tombstones(&RealFs, &path, &tombstones).unwrap();
    assert_eq!(
        read_all(&Block::open(&RealFs::shared(), &path).unwrap()).unwrap(),
        model
    );
    let Some(seen) = dump(dir.path(), &[]) else { return };
    assert_eq!(seen, dumped(&model));
}

/// Lets promtool make blocks of `model`; gives their folder.
fn made_by_promtool(dir: &Path, model: &Model) -> Option<PathBuf> {
    let mut text = String::new();
    let mut last = "";
    // A family's series must stand together; the model is sorted by name first.
    for (labels, samples) in model {
        if last != labels.metric_name() {
            last = labels.metric_name();
            writeln!(text, "# TYPE {last} gauge").unwrap();
        }
        // The tool of this version reads the escapes that quoting makes here.
        let rest = labels.without_name().to_string().replace(", ", ",");
        for (ts, bits) in samples {
            writeln!(
                text,
                "{last}{rest} {} {}.{:03}",
                fmt_f64(f64::from_bits(*bits)),
                ts / 1000,
                ts % 1000
            )
            .unwrap();
        }
    }
    text.push_str("# EOF\n");
    let (input, output) = (dir.join("input.om"), dir.join("made"));
    std::fs::write(&input, text).unwrap();
    promtool(&[
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        &input.to_string_lossy(),
        &output.to_string_lossy(),
    ])?;
    Some(output)
}

#[test]
fn we_read_what_promtool_writes_and_write_it_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    // Six hours, so several blocks of two hours.
    let model = machine(40, 1440, 1_700_000_000_000);
    let Some(made) = made_by_promtool(dir.path(), &model) else {
        return;
    };
    let list = list_blocks(&RealFs, &made).unwrap();
    assert!(list.broken.is_empty() && list.blocks.len() >= 3, "{list:?}");

    let mut read = Dumped::new();
    let copies = dir.path().join("copies");
    for (path, meta) in &list.blocks {
        let block = Block::open(&RealFs::shared(), path).unwrap();
        let content = read_all(&block).unwrap();
        for (labels, samples) in dumped(&content) {
            read.entry(labels).or_default().extend(samples);
        }

        let spec = BlockSpec::new(meta.ulid, meta.min_time, meta.max_time);
        let mut writer = BlockWriter::create(&RealFs::shared(), &copies, spec).unwrap();
        let mut reader = block.chunk_reader();
        for series in block.iter().unwrap() {
            let series = series.unwrap();
            let mut chunks = Vec::new();
            for chunk in &series.chunks {
                let (encoding, bytes) = reader.read(chunk).unwrap().encoded().unwrap();
                chunks.push((*chunk, encoding, bytes.to_vec()));
            }
            let new = chunks.iter().map(|(chunk, encoding, bytes)| NewChunk {
                mint: chunk.mint,
                maxt: chunk.maxt,
                encoding: *encoding,
                bytes,
            });
            writer.add_series(&series.labels, new).unwrap();
        }
        assert_eq!(&writer.finish().unwrap(), meta);
        for file in ["meta.json", "index", "tombstones", "chunks/000001"] {
            let ours = std::fs::read(copies.join(meta.ulid.to_string()).join(file)).unwrap();
            assert!(
                ours == std::fs::read(path.join(file)).unwrap(),
                "{file} of {} differs",
                path.display()
            );
        }

        // The same samples encoded anew are the same chunks.
        let encoded = dir.path().join("encoded");
        let (again, _) = write(
            &encoded,
            BlockSpec::new(meta.ulid, meta.min_time, meta.max_time),
            &content,
            120,
        );
        assert_eq!(
            read_all(&Block::open(&RealFs::shared(), &again).unwrap()).unwrap(),
            content
        );
    }
    assert_eq!(read, dumped(&model));
}
