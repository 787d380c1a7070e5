//! What it costs to write one number into an answer, by the numbers' shape: `cargo bench -p cupola-model`.
//!
//! The best of 15 rounds; beside it the standard library's way.

use std::hint::black_box;
use std::time::Instant;

use cupola_model::{push_f64, write_f64};

const COUNT: usize = 20_000;

fn best_ns(mut round: impl FnMut()) -> f64 {
    let time = |round: &mut dyn FnMut()| {
        let begin = Instant::now();
        round();
        begin.elapsed().as_nanos() as f64
    };
    let rounds = (0..15).map(|_| time(&mut round));
    rounds.fold(f64::INFINITY, f64::min) / COUNT as f64
}

fn main() {
    println!("{:12} {:>10} {:>10}", "shape", "ns quick", "ns std");
    for (shape, at) in [
        ("0 or 1", (|i| (i % 2) as f64) as fn(usize) -> f64),
        ("counter", |i| (123_456 + i * 17) as f64),
        ("bytes", |i| (8_000_000_000 + i * 4096) as f64),
        ("rate", |i| (i as f64 + 0.5) / 300.0),
        ("percent", |i| (i % 1000) as f64 / 10.0),
    ] {
        let values: Vec<f64> = (0..COUNT).map(at).collect();
        let mut bytes = Vec::with_capacity(COUNT * 24);
        let quick = best_ns(|| {
            bytes.clear();
            values.iter().for_each(|value| push_f64(&mut bytes, *value));
            black_box(&bytes);
        });
        let mut text = String::with_capacity(COUNT * 24);
        let std = best_ns(|| {
            text.clear();
            values.iter().for_each(|value| write_f64(&mut text, *value));
            black_box(&text);
        });
        println!("{shape:12} {quick:10.1} {std:10.1}");
    }
}
