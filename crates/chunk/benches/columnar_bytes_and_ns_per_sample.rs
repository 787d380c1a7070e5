//! What one sample costs in XOR and in the columnar encoding, by shape of series: `cargo bench -p cupola-chunk`.
//!
//! Runs of 120 and of 1,024 samples, times included; nanoseconds are the best of 15 rounds.

use std::hint::black_box;
use std::time::Instant;

use cupola_chunk::{XorAppender, columnar, decode_into};
use cupola_testkit::Mutator;

const SAMPLES: usize = 24_576;

const SHAPES: [&str; 13] = [
    "constant gauge",
    "constant rate",
    "jittery integer rate",
    "slow requests",
    "bytes, random walk",
    "pages of 4 KiB",
    "2 to 3 decimals",
    "CPU seconds",
    "float sums",
    "full mantissas",
    "stale marker inside",
    "histogram bucket",
    "jittery times",
];

/// The values of a series from its birth on.
fn series(shape: &str) -> Vec<f64> {
    let mut random = Mutator::new(7);
    let mut whole = 0_i64;
    let mut sum = 0.0;
    let mut burst = 0;
    (0..SAMPLES)
        .map(|n| match shape {
            "constant gauge" | "jittery times" => 42.0,
            "constant rate" => n as f64 * 13.0,
            "jittery integer rate" => {
                whole += 900 + random.below(200) as i64;
                whole as f64
            }
            "slow requests" => {
                whole += i64::from(random.below(8) == 0);
                whole as f64
            }
            "bytes, random walk" => {
                whole += random.below(2_000_001) as i64 - 1_000_000;
                (8_000_000_000 + whole) as f64
            }
            "pages of 4 KiB" => {
                whole += (random.below(401) as i64 - 200) * 4096;
                (8_589_934_592 + whole) as f64
            }
            "2 to 3 decimals" => {
                whole += random.below(201) as i64 - 100;
                (23_450 + whole) as f64 / 1000.0
            }
            "CPU seconds" | "stale marker inside" => {
                if shape != "CPU seconds" && n % 120 == 60 {
                    return f64::from_bits(0x7ff0_0000_0000_0002);
                }
                whole += 1_200 + random.below(60) as i64;
                (12_345_678 + whole) as f64 / 100.0
            }
            "float sums" => {
                sum += (1 + random.below(1000)) as f64 * 0.000_123_4;
                sum
            }
            "full mantissas" => (n as f64 * 0.37).sin() * 1e6 + random.below(1000) as f64 / 7.0,
            _ => {
                if random.below(100) == 0 {
                    burst = 10;
                }
                if burst > 0 {
                    burst -= 1;
                    whole += random.below(50) as i64;
                }
                whole as f64
            }
        })
        .collect()
}

fn runs(shape: &str, len: usize) -> Vec<(Vec<i64>, Vec<f64>)> {
    let mut random = Mutator::new(9);
    let jitter = if shape == "jittery times" { 5 } else { 1 };
    let times: Vec<i64> = (0..SAMPLES)
        .map(|n| 1_700_000_000_000 + n as i64 * 15_000 + random.below(jitter) as i64)
        .collect();
    let values = series(shape);
    times
        .chunks(len)
        .zip(values.chunks(len))
        .map(|(ts, values)| (ts.to_vec(), values.to_vec()))
        .collect()
}

fn xor(ts: &[i64], values: &[f64], out: &mut Vec<u8>) {
    let mut appender = XorAppender::with_capacity(256);
    for (ts, value) in ts.iter().zip(values) {
        appender.append(*ts, *value).expect("the runs are short");
    }
    out.extend(appender.into_bytes());
}

fn best_ns_per_sample(mut round: impl FnMut()) -> f64 {
    let mut time = || {
        let begin = Instant::now();
        round();
        begin.elapsed().as_nanos() as f64
    };
    let best = (0..15).map(|_| time()).fold(f64::INFINITY, f64::min);
    best / SAMPLES as f64
}

type Encode = fn(&[i64], &[f64], &mut Vec<u8>);
type Decode = fn(&[u8], &mut Vec<i64>, &mut Vec<f64>);

fn measure(runs: &[(Vec<i64>, Vec<f64>)], encode: Encode, decode: Decode) -> [f64; 3] {
    let chunks: Vec<Vec<u8>> = runs
        .iter()
        .map(|(ts, values)| {
            let mut chunk = Vec::new();
            encode(ts, values, &mut chunk);
            chunk
        })
        .collect();
    let bytes = chunks.iter().map(Vec::len).sum::<usize>() as f64 / SAMPLES as f64;
    let mut out = Vec::new();
    let encode_ns = best_ns_per_sample(|| {
        for (ts, values) in runs {
            out.clear();
            encode(ts, values, &mut out);
            black_box(&out);
        }
    });
    let (mut ts, mut values) = (Vec::new(), Vec::new());
    let decode_ns = best_ns_per_sample(|| {
        for chunk in &chunks {
            ts.clear();
            values.clear();
            decode(black_box(chunk), &mut ts, &mut values);
            black_box((&ts, &values));
        }
    });
    [bytes, encode_ns, decode_ns]
}

fn main() {
    println!("                                  bytes/sample         encode ns         decode ns");
    println!("shape                   samples    XOR  columnar     XOR  columnar     XOR  columnar");
    for shape in SHAPES {
        for len in [120, 1024] {
            let runs = runs(shape, len);
            let xor = measure(&runs, xor, |bytes, ts, values| {
                decode_into(bytes, i64::MIN, i64::MAX, ts, values).expect("just encoded");
            });
            let columnar = measure(
                &runs,
                |ts, values, out| columnar::encode(ts, values, out).expect("the runs are short"),
                |bytes, ts, values| {
                    columnar::decode(bytes, i64::MIN, i64::MAX, ts, values).expect("just encoded");
                },
            );
            let columns = xor.iter().zip(columnar).map(|(x, c)| format!("{x:>8.2}{c:>10.2}"));
            println!("{shape:<22}{len:>9}{}", columns.collect::<String>());
        }
    }
}
