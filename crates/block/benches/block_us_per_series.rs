//! What one series costs to write, to select and to read: `cargo bench -p cupola-block`.
//!
//! 100,000 series of 11 labels, two hours at 15 s in four chunks each; one run, the files in the page cache.

use std::hint::black_box;
use std::time::Instant;

use cupola_block::{Block, BlockSpec, BlockWriter, NewChunk, Ulid};
use cupola_chunk::{Encoding, XorAppender};
use cupola_env::RealFs;
use cupola_model::{Labels, MatchOp, Matcher};
use cupola_storage::{Queryable, Samples, Selection};

const SERIES: usize = 100_000;

fn labels(i: usize) -> Labels {
    let mut pairs = vec![
        ("__name__", format!("metric_{:04}_total", i % 500)),
        ("instance", format!("10.0.{}.{}:9100", i / 50_000, i / 500)),
        ("job", "node".to_owned()),
        ("series", format!("{i:06}")),
    ];
    for name in [
        "cluster",
        "container",
        "endpoint",
        "namespace",
        "node",
        "pod",
        "service",
    ] {
        pairs.push((name, format!("{name}-{}", i % 20)));
    }
    Labels::from_pairs(pairs)
}

fn main() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut series: Vec<Labels> = (0..SERIES).map(labels).collect();
    series.sort();
    let chunks: Vec<(i64, i64, Vec<u8>)> = (0..4)
        .map(|c| {
            let mut appender = XorAppender::new();
            let ts = |n: i64| (c * 120 + n) * 15_000;
            (0..120).for_each(|n| appender.append(ts(n), (c * 120 + n) as f64 * 3.0).expect("fits"));
            (ts(0), ts(119), appender.into_bytes())
        })
        .collect();
    let report = |what: &str, begin: Instant, count: usize| {
        let took = begin.elapsed();
        println!(
            "{what:<44} {:>9.2} ms {:>8.3} us each",
            took.as_secs_f64() * 1e3,
            took.as_secs_f64() * 1e6 / count as f64
        );
    };

    let begin = Instant::now();
    let mut writer = BlockWriter::create(
        &RealFs::shared(),
        dir.path(),
        BlockSpec::new(Ulid::new(1, 1), 0, 7_200_000),
    )
    .expect("a writer");
    for labels in &series {
        let chunks = chunks.iter().map(|(mint, maxt, bytes)| NewChunk {
            mint: *mint,
            maxt: *maxt,
            encoding: Encoding::Xor,
            bytes,
        });
        writer.add_series(labels, chunks).expect("in order");
    }
    report("add series", begin, SERIES);
    let begin = Instant::now();
    let meta = writer.finish().expect("finished");
    report("finish, with fsync", begin, SERIES);

    let begin = Instant::now();
    let block = Block::open(&RealFs::shared(), &dir.path().join(meta.ulid.to_string())).expect("opens");
    report("open", begin, SERIES);
    println!("{:<44} {:>9} bytes", "size", block.size_bytes());

    for (name, op, value) in [
        ("job", MatchOp::Equal, "node"),
        ("__name__", MatchOp::Equal, "metric_0007_total"),
        ("series", MatchOp::Regex, ".*77"),
        ("series", MatchOp::NotEqual, "000007"),
    ] {
        let matchers = [Matcher::new(name, op, value).expect("valid")];
        let begin = Instant::now();
        let found = block
            .select(&Selection {
                matchers: &matchers,
                mint: 0,
                maxt: i64::MAX,
            })
            .expect("selects");
        report(
            &format!("select {:?}: {}", matchers[0], found.len()),
            begin,
            found.len(),
        );
        let begin = Instant::now();
        let mut samples = Samples::default();
        for series in &found {
            samples.clear();
            series.source.read(0, i64::MAX, &mut samples).expect("reads");
            black_box(&samples);
        }
        report("  read 480 samples of each", begin, found.len());
    }
}
