//! What one sample costs to encode and to decode, by shape of series: `cargo bench -p cupola-chunk`.
//!
//! Chunks of 120 samples, as the head cuts them; the best of 15 rounds.

use std::hint::black_box;
use std::time::Instant;

use cupola_chunk::{XorAppender, decode_into};

const CHUNKS: usize = 200;
const PER_CHUNK: usize = 120;

fn samples(shape: &str, chunk: usize) -> Vec<(i64, f64)> {
    let at = |n: usize| {
        let i = (chunk * PER_CHUNK + n) as f64;
        let jitter = if shape == "jitter" { (n * 7 % 5) as i64 } else { 0 };
        let value = match shape {
            "constant" => 42.0,
            "counter" | "jitter" => i * 13.0,
            // Grows now and then, unpredictably.
            "seldom" => {
                ((0..i as u64)
                    .filter(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62 == 0)
                    .count() as f64)
                    * 0.37
            }
            _ => (i * 0.37).sin() * 1e6,
        };
        (1_700_000_000_000 + i as i64 * 15_000 + jitter, value)
    };
    (0..PER_CHUNK).map(at).collect()
}

fn encode(samples: &[(i64, f64)]) -> Vec<u8> {
    let mut appender = XorAppender::with_capacity(256);
    for (ts, value) in samples {
        appender.append(*ts, *value).expect("120 samples fit");
    }
    appender.into_bytes()
}

fn best_ns_per_sample(mut round: impl FnMut()) -> f64 {
    let time = |round: &mut dyn FnMut()| {
        let begin = Instant::now();
        round();
        begin.elapsed().as_nanos() as f64
    };
    let best = (0..15).map(|_| time(&mut round)).fold(f64::INFINITY, f64::min);
    best / (CHUNKS * PER_CHUNK) as f64
}

fn main() {
    println!(
        "{:<10} {:>14} {:>10} {:>10}",
        "shape", "bytes/sample", "encode ns", "decode ns"
    );
    for shape in ["constant", "seldom", "counter", "jitter", "float"] {
        let input: Vec<_> = (0..CHUNKS).map(|i| samples(shape, i)).collect();
        let chunks: Vec<_> = input.iter().map(|s| encode(s)).collect();
        let bytes = chunks.iter().map(Vec::len).sum::<usize>() as f64 / (CHUNKS * PER_CHUNK) as f64;
        let encode_ns = best_ns_per_sample(|| input.iter().for_each(|s| drop(black_box(encode(s)))));
        let (mut ts, mut values) = (Vec::new(), Vec::new());
        let decode_ns = best_ns_per_sample(|| {
            for chunk in &chunks {
                ts.clear();
                values.clear();
                decode_into(black_box(chunk), i64::MIN, i64::MAX, &mut ts, &mut values).expect("just encoded");
                black_box((&ts, &values));
            }
        });
        println!("{shape:<10} {bytes:>14.2} {encode_ns:>10.2} {decode_ns:>10.2}");
    }
}
