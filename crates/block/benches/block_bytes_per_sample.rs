//! What one sample takes in a block of either format, and what it costs to merge and to read it:
//! `cargo bench -p cupola-block --bench block_bytes_per_sample`.
//!
//! 10,000 series of ten targets, a day at 15 s, once with times that are exact and once with a few milliseconds of jitter;
//! merged from blocks of 2 h into 6 h and into 24 h. One run, the files in the page cache.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use cupola_block::{Block, BlockFormat, BlockMeta, BlockSpec, BlockWriter, NewChunk, Ulid, merge_blocks};
use cupola_chunk::{Encoding, XorAppender};
use cupola_env::RealFs;
use cupola_model::{Labels, Matcher};
use cupola_storage::{Queryable as _, Samples, Selection};
use cupola_testkit::Mutator;

const TARGETS: usize = 10;
const SERIES: usize = 1_000;
const HOUR: i64 = 3_600_000;
// A multiple of 6 h.
const START: i64 = 1_700_006_400_000;
const PER_BLOCK: usize = 480;

/// How one series goes on; the mix is that of a node with its pods: 44 % of the series never change.
struct Course {
    random: Mutator,
    kind: usize,
    whole: i64,
}

impl Course {
    fn next(&mut self) -> f64 {
        let below = |random: &mut Mutator, n: usize| random.below(n) as i64;
        match self.kind {
            0..44 => self.whole as f64,
            // Counters that mostly stand still.
            44..64 => {
                self.whole += i64::from(below(&mut self.random, 8) == 0);
                self.whole as f64
            }
            // Bytes and packets.
            64..76 => {
                self.whole += below(&mut self.random, 200_000);
                self.whole as f64
            }
            // CPU seconds.
            76..86 => {
                self.whole += 1_200 + below(&mut self.random, 60);
                self.whole as f64 / 100.0
            }
            // Memory in pages.
            86..94 => {
                self.whole += (below(&mut self.random, 401) - 200) * 4096;
                self.whole as f64
            }
            // Seconds of a summary.
            _ => {
                self.whole += below(&mut self.random, 1_000_000);
                self.whole as f64 * 0.000_123_4
            }
        }
    }
}

struct Series {
    labels: Labels,
    target: usize,
    course: Course,
}

fn series() -> Vec<Series> {
    let one = |i: usize| {
        let (target, n) = (i / SERIES, i % SERIES);
        let mut pairs = vec![
            ("__name__", format!("metric_{:03}_total", n / 8)),
            ("instance", format!("10.0.0.{target}:9100")),
            ("job", "node".to_owned()),
            ("mode", format!("m{}", n % 8)),
        ];
        for name in ["cluster", "namespace", "node", "pod"] {
            pairs.push((name, format!("{name}-{}", target % 4)));
        }
        Series {
            labels: Labels::from_pairs(pairs),
            target,
            course: Course {
                random: Mutator::new(i as u64),
                kind: (n * 37) % 100,
                whole: 1_000_000 + (n * 7919 % 100_000) as i64,
            },
        }
    };
    let mut all: Vec<Series> = (0..TARGETS * SERIES).map(one).collect();
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all
}

// The times of two hours of a target: its place in the interval, and how late each scrape is.
fn times(target: usize, block: usize, jitter: usize) -> Vec<i64> {
    let mut random = Mutator::new((target * 100 + block) as u64);
    let first = START + (block * PER_BLOCK) as i64 * 15_000 + target as i64 * 1_234;
    (0..PER_BLOCK)
        .map(|n| first + n as i64 * 15_000 + random.below(jitter) as i64)
        .collect()
}

fn write(dir: &Path, block: usize, all: &mut [Series], jitter: usize) -> Block {
    let begin = START + block as i64 * 2 * HOUR;
    let spec = BlockSpec::new(Ulid::new(begin, block as u128), begin, begin + 2 * HOUR);
    let mut writer = BlockWriter::create(&RealFs::shared(), dir, spec).expect("a writer");
    let times: Vec<Vec<i64>> = (0..TARGETS).map(|target| times(target, block, jitter)).collect();
    for series in all {
        let chunks: Vec<(i64, i64, Vec<u8>)> = times[series.target]
            .chunks(120)
            .map(|ts| {
                let mut appender = XorAppender::new();
                ts.iter()
                    .for_each(|ts| appender.append(*ts, series.course.next()).expect("fits"));
                (ts[0], ts[ts.len() - 1], appender.into_bytes())
            })
            .collect();
        let chunks = chunks.iter().map(|(mint, maxt, bytes)| NewChunk {
            mint: *mint,
            maxt: *maxt,
            encoding: Encoding::Xor,
            bytes,
        });
        writer.add_series(&series.labels, chunks).expect("in order");
    }
    opened(dir, &writer.finish().expect("finished"))
}

fn opened(dir: &Path, meta: &BlockMeta) -> Block {
    Block::open(&RealFs::shared(), &meta.dir_in(dir)).expect("opens")
}

fn merged(dir: &Path, number: u128, sources: &[Block], format: BlockFormat) -> Block {
    let metas: Vec<&BlockMeta> = sources.iter().map(Block::meta).collect();
    let spec = BlockSpec::merged(Ulid::new(1, number), &metas).in_format(format);
    let sources: Vec<&Block> = sources.iter().collect();
    let meta = merge_blocks(&sources, &RealFs::shared(), dir, spec, &|| true).expect("merges");
    opened(dir, &meta.expect("has samples"))
}

fn bytes_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let files = entries.filter_map(|entry| entry.and_then(|e| e.metadata()).ok());
    files.filter(|m| m.is_file()).map(|m| m.len()).sum()
}

// Nanoseconds a sample (or, for a few samples, microseconds a series) of reading one metric in so many at once.
fn read(block: &Block, from: i64, to: i64) -> (f64, f64) {
    let mut best = (f64::INFINITY, f64::INFINITY);
    for _ in 0..5 {
        let (mut samples, mut count, mut series) = (Samples::default(), 0, 0);
        let begin = Instant::now();
        for n in (0..125).step_by(5) {
            let matchers = [Matcher::equal("__name__", format!("metric_{n:03}_total"))];
            let selection = Selection {
                matchers: &matchers,
                mint: from,
                maxt: to,
            };
            for found in block.select(&selection).expect("selects") {
                samples.clear();
                found.source.read(from, to, &mut samples).expect("reads");
                count += black_box(&samples).len();
                series += 1;
            }
        }
        let ns = begin.elapsed().as_nanos() as f64;
        best = (best.0.min(ns / count as f64), best.1.min(ns / 1e3 / f64::from(series)));
    }
    best
}

fn report(what: &str, block: &Block, merge_ns: f64) {
    let samples = block.meta().stats.num_samples as f64;
    let per = |bytes: u64| bytes as f64 / samples;
    let [index, chunks, columns, times] =
        ["", "chunks", "columns", "times"].map(|folder| bytes_of(&block.dir().join(folder)));
    let (all_ns, _) = read(block, i64::MIN, i64::MAX);
    let middle = i64::midpoint(block.meta().min_time, block.meta().max_time);
    let (_, few_us) = read(block, middle, middle + 300_000);
    println!(
        "{what:<34} {:>6.3} {:>6.3} {:>6.3} {:>6.3} {:>8.1} {all_ns:>8.2} {few_us:>9.2}",
        per(block.size_bytes()),
        per(index),
        per(chunks + columns),
        per(times),
        merge_ns,
    );
}

fn main() {
    println!(
        "{:<34} {:>6} {:>6} {:>6} {:>6} {:>8} {:>8} {:>9}",
        "bytes a sample", "all", "index", "values", "times", "merge ns", "read ns", "5 min us"
    );
    for (jitter, name) in [(1, "exact"), (6, "jitter of 5 ms")] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut all = series();
        let blocks: Vec<Block> = (0..12).map(|n| write(dir.path(), n, &mut all, jitter)).collect();
        if let Some(first) = blocks.first() {
            report(&format!("{name}, 2 h, prometheus"), first, 0.0);
        }
        for (f, format) in [BlockFormat::Prometheus, BlockFormat::Native].into_iter().enumerate() {
            let number = |n: usize| (f * 100 + n) as u128;
            let timed = |number: u128, sources: &[Block]| {
                let begin = Instant::now();
                let block = merged(dir.path(), number, sources, format);
                let ns = begin.elapsed().as_nanos() as f64 / block.meta().stats.num_samples as f64;
                (block, ns)
            };
            let mut six = Vec::new();
            let mut first_ns = 0.0;
            for (n, three) in blocks.chunks(3).enumerate() {
                let (block, ns) = timed(number(n), three);
                first_ns = ns;
                six.push(block);
            }
            report(&format!("{name}, 6 h, {format}"), &six[0], first_ns);
            let (day, ns) = timed(number(50), &six);
            report(&format!("{name}, 24 h, {format}"), &day, ns);
        }
    }
}
