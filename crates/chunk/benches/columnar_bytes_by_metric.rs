//! Where the bytes of a day are: what a sample's value takes packed and coded, and what that costs, metric by metric:
//! `cargo bench -p cupola-chunk --bench columnar_bytes_by_metric`.
//!
//! First the series of two synthetic targets, as `make bench` scrapes them; then shapes as a real host has them: values that
//! depend on the ones before, and steps of which few are far larger than most. A day at 15 s, in columns of 6 h;
//! nanoseconds are the best of five rounds.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use cupola_chunk::{ChunkError, columnar};

#[path = "../../../xtask/src/bench/series.rs"]
#[expect(dead_code, unused_imports, reason = "the harness needs more of it, and its tests")]
mod series;

use series::{Random, Target, rounded};

const SAMPLES: i64 = 5_760;
const COLUMN: usize = 1_440;

type Encode = fn(&[f64], &mut Vec<u8>) -> Result<(), ChunkError>;

/// What one sample takes: bytes, nanoseconds to write, nanoseconds to read.
fn measure(columns: &[&[f64]], encode: Encode) -> [f64; 3] {
    let samples = columns.iter().map(|column| column.len()).sum::<usize>() as f64;
    let mut out = Vec::new();
    let mut written = Vec::new();
    for column in columns {
        out.clear();
        encode(column, &mut out).expect("columns are short");
        written.push(out.clone());
    }
    let best_ns = |round: &mut dyn FnMut()| {
        let mut time = || {
            let begin = Instant::now();
            round();
            begin.elapsed().as_nanos() as f64
        };
        (0..5).map(|_| time()).fold(f64::INFINITY, f64::min) / samples
    };
    let write_ns = best_ns(&mut || {
        for column in columns {
            out.clear();
            encode(column, &mut out).expect("columns are short");
            black_box(&out);
        }
    });
    let mut values = Vec::new();
    let read_ns = best_ns(&mut || {
        for (bytes, column) in written.iter().zip(columns) {
            values.clear();
            columnar::decode_values(black_box(bytes), column.len() as u16, &mut values).expect("just encoded");
            black_box(&values);
        }
    });
    let bytes = written.iter().map(Vec::len).sum::<usize>() as f64;
    [bytes / samples, write_ns, read_ns]
}

fn targets() -> BTreeMap<String, Vec<Vec<f64>>> {
    let mut all: BTreeMap<String, Vec<Vec<f64>>> = BTreeMap::new();
    for number in 0..2 {
        let mut target = Target::new(number, 1_000, 0);
        let mut columns = vec![Vec::new(); target.series()];
        for tick in 1..=SAMPLES {
            target.advance(tick);
            for (column, (_, _, value)) in columns.iter_mut().zip(target.values()) {
                column.push(value);
            }
        }
        for (column, (series, _, _)) in columns.into_iter().zip(target.values()) {
            let name = series.split('{').next().unwrap_or_default();
            all.entry(name.to_owned()).or_default().push(column);
        }
    }
    all
}

// A step of which few are far larger than most.
fn skewed(random: &mut Random, typical: f64) -> f64 {
    let unit = random.unit();
    typical * unit / (1.02 - unit)
}

/// How a host's value goes on, from the one before, its place in the day and a random source.
type Shape = fn(f64, f64, &mut Random) -> f64;

const SHAPES: [(&str, f64, Shape); 9] = [
    ("bytes, few large steps", 1e9, |last, _, random| {
        (last + skewed(random, 3_000.0)).round()
    }),
    ("packets, bursts", 1e6, |last, day, random| {
        let is_burst = (day * 400.0) as i64 % 5 == 0;
        last + skewed(random, if is_burst { 400.0 } else { 2.0 }).round()
    }),
    ("CPU seconds, mostly idle", 5e4, |last, _, random| {
        rounded(last + 14.2 + rounded(skewed(random, 0.05), 2), 2)
    }),
    ("context switches", 1e9, |last, day, random| {
        last + (9_000.0 * (1.2 + (day * 6.0).sin()) + skewed(random, 300.0)).round()
    }),
    ("memory, slow", 8e9, |last, _, random| {
        let pages = random.below(9) as f64 - 4.0;
        if random.below(3) == 0 {
            last + pages * 4096.0
        } else {
            last
        }
    }),
    ("temperature", 41.0, |last, day, random| {
        let wanted = 41.0 + 6.0 * (day * 12.0).sin();
        rounded(last + (wanted - last) / 20.0 + random.unit() - 0.5, 1)
    }),
    ("load average", 0.8, |last, _, random| {
        rounded(last * 0.92 + 0.08 * skewed(random, 0.3), 2)
    }),
    ("seconds since the start", 1e5, |last, _, random| {
        last.trunc() + 15.0 + rounded(random.unit() * 0.004, 3)
    }),
    ("goroutines", 200.0, |last, _, random| {
        let to = random.below(7) as f64;
        (last + (200.0 - last) / 10.0 + to - 3.0).round()
    }),
];

fn main() {
    println!(
        "{:<50}{:>6} {:>13} {:>15} {:>15}",
        "", "series", "bytes", "write ns", "read ns"
    );
    println!(
        "{:<50}{:>6} {:>6} {:>6} {:>7} {:>7} {:>7} {:>7}",
        "one sample's value", "", "packed", "coded", "packed", "coded", "packed", "coded"
    );
    let mut total = [[0.0; 3]; 2];
    let mut series = 0;
    let report = |name: &str, all: &[Vec<f64>]| -> [[f64; 3]; 2] {
        let columns: Vec<&[f64]> = all.iter().flat_map(|column| column.chunks(COLUMN)).collect();
        let measured = [columnar::encode_values as Encode, columnar::encode_values_coded].map(|e| measure(&columns, e));
        let [packed, coded] = measured;
        let figures = packed.iter().zip(coded).skip(1);
        let times: String = figures
            .map(|(packed, coded)| format!(" {packed:>7.2} {coded:>7.2}"))
            .collect();
        println!("{name:<50}{:>6} {:>6.3} {:>6.3}{times}", all.len(), packed[0], coded[0]);
        measured
    };
    for (name, all) in targets() {
        let measured = report(&name, &all);
        series += all.len();
        for (sums, figures) in total.iter_mut().zip(measured) {
            for (sum, figure) in sums.iter_mut().zip(figures) {
                *sum += figure * all.len() as f64;
            }
        }
    }
    let [packed, coded] = total.map(|figures| figures.map(|sum| sum / series as f64));
    println!(
        "{:<50}{series:>6} {:>6.3} {:>6.3} {:>7.2} {:>7.2} {:>7.2} {:>7.2}\n",
        "all of them", packed[0], coded[0], packed[1], coded[1], packed[2], coded[2]
    );
    for (name, first, shape) in SHAPES {
        let mut random = Random(first as u64);
        let all: Vec<Vec<f64>> = (0..4)
            .map(|_| {
                let mut value = first;
                let mut next = |n: i64| {
                    value = shape(value, n as f64 / SAMPLES as f64, &mut random);
                    value
                };
                (0..SAMPLES).map(&mut next).collect()
            })
            .collect();
        report(name, &all);
    }
}
