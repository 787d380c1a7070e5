//! What a line of a scrape costs to read, with and without its labels, and to write: `cargo bench -p cupola-exposition`.
//!
//! A body as node-exporter and cAdvisor make it, HELP and TYPE lines included; the best of 50 rounds.

use std::hint::black_box;
use std::time::Instant;

use cupola_exposition::{Entry, Format, LabelPairs, MetricType, Parser, Writer};

const FAMILIES: usize = 200;
const SERIES: usize = 10;

fn body() -> Vec<u8> {
    let mut writer = Writer::new();
    for family in 0..FAMILIES {
        let name = format!("container_network_receive_bytes_{family}_total");
        writer.family(&name, "Cumulative count of bytes received.", MetricType::Counter);
        for series in 0..SERIES {
            let pod = format!("payments-api-7d9f8b6c5d-x{series}k2p");
            let labels = [
                ("interface", "eth0"),
                ("namespace", "payments"),
                ("pod", &pod),
                ("node", "worker-3"),
            ];
            writer.sample(&labels, (family * 7919 + series) as f64 * [1.0, 0.01, 1e6][series % 3]);
        }
    }
    writer.finish()
}

fn best_ns_per_sample(mut round: impl FnMut()) -> f64 {
    let time = |round: &mut dyn FnMut()| {
        let begin = Instant::now();
        round();
        begin.elapsed().as_nanos() as f64
    };
    let best = (0..50).map(|_| time(&mut round)).fold(f64::INFINITY, f64::min);
    best / (FAMILIES * SERIES) as f64
}

fn main() {
    let body = body();
    let samples = || {
        Parser::new(Format::Text, &body).filter_map(|entry| match entry {
            Ok(Entry::Sample(sample)) => Some(sample),
            _ => None,
        })
    };
    assert_eq!(samples().count(), FAMILIES * SERIES);
    let values = best_ns_per_sample(|| {
        black_box(samples().map(|sample| sample.value).sum::<f64>());
    });
    let mut pairs = LabelPairs::new();
    let labels = best_ns_per_sample(|| {
        for sample in samples() {
            sample.series.labels_into(true, &mut pairs);
            black_box(&pairs);
        }
    });
    let written = best_ns_per_sample(|| {
        black_box(self::body());
    });
    let bytes = body.len() as f64 / (FAMILIES * SERIES) as f64;
    println!("bytes/sample  read ns  read with labels ns  write ns");
    println!("{bytes:>12.0} {values:>8.1} {labels:>20.1} {written:>9.1}");
}
