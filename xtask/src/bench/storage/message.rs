//! Messages of Prometheus remote write 1.0 with the samples of synthetic targets.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use crate::bench::promql::pairs;
use crate::bench::series::{Random, Target};

/// A target that sends its samples instead of being scraped.
pub(in crate::bench) struct Source {
    target: Target,
    // Of each series, as the message has them.
    labels: Vec<Vec<u8>>,
    names: BTreeSet<String>,
    number: u64,
}

/// What a target showed at one time.
pub(in crate::bench) struct Tick {
    ts: i64,
    values: Vec<f64>,
}

impl Source {
    /// Target number `number` with `series` series.
    pub(in crate::bench) fn new(number: usize, series: usize) -> Self {
        Self::labelled(number, series, |mut pairs| {
            pairs.push(("instance".to_owned(), format!("node-{number:04}:9100")));
            pairs.push(("job".to_owned(), "bench".to_owned()));
            pairs
        })
    }

    /// The same, with labels that `complete` makes of name and labels of a line.
    pub(in crate::bench) fn labelled(
        number: usize,
        series: usize,
        complete: impl Fn(Vec<(String, String)>) -> Vec<(String, String)>,
    ) -> Self {
        let target = Target::new(number, series, 0);
        let mut labels = Vec::with_capacity(target.series());
        let mut names = BTreeSet::new();
        for (text, _, _) in target.values() {
            let pairs = pairs(text);
            names.extend(pairs.first().map(|(_, name)| name.clone()));
            labels.push(encoded_labels(complete(pairs)));
        }
        Self {
            target,
            labels,
            names,
            number: number as u64,
        }
    }

    pub(in crate::bench) fn series(&self) -> usize {
        self.labels.len()
    }

    /// The names of its metrics.
    pub(in crate::bench) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Goes on to tick `tick`, which is due at `due_ms`: at a moment of its own within 15 s, and once in a hundred
    /// times some milliseconds late, as scrapes are.
    pub(in crate::bench) fn tick(&mut self, tick: i64, due_ms: i64) -> Tick {
        self.target.advance(tick);
        let offset = Random(self.number).below(14_000) as i64;
        let mut random = Random(self.number << 32 ^ tick as u64);
        let late = if random.below(100) == 0 {
            3 + random.below(20)
        } else {
            0
        };
        Tick {
            ts: due_ms + offset + late as i64,
            values: self.target.values().map(|(_, _, value)| value).collect(),
        }
    }

    /// All series with their samples at `ticks`, which are in order of time.
    pub(in crate::bench) fn message(&self, ticks: &[Tick]) -> Result<Vec<u8>> {
        let mut message = Vec::with_capacity(self.labels.len() * (260 + 18 * ticks.len()));
        let mut series = Vec::new();
        for (index, labels) in self.labels.iter().enumerate() {
            series.clear();
            series.extend_from_slice(labels);
            for tick in ticks {
                let value = tick.values.get(index).copied().unwrap_or(0.0);
                put_sample(&mut series, tick.ts, value);
            }
            put_bytes(&mut message, 1, &series);
        }
        compressed(&message)
    }
}

/// Series `ack{job="ack",n="..."}`, all with the same sample.
pub(in crate::bench) fn acknowledged(series: usize, ts: i64) -> Result<Vec<u8>> {
    let mut message = Vec::new();
    for number in 0..series {
        let pairs = [
            ("__name__", "ack".to_owned()),
            ("job", "ack".to_owned()),
            ("n", number.to_string()),
        ];
        let mut one = encoded_labels(pairs.map(|(name, value)| (name.to_owned(), value)).to_vec());
        put_sample(&mut one, ts, ts as f64);
        put_bytes(&mut message, 1, &one);
    }
    compressed(&message)
}

/// Series `points{n="..."}`, each with a sample at each of `ticks`, a time and a number: half of the series as whole
/// numbers, half with all digits of a float.
pub(in crate::bench) fn points(series: usize, ticks: impl Iterator<Item = (i64, i64)> + Clone) -> Result<Vec<u8>> {
    let mut message = Vec::new();
    for number in 0..series {
        let pairs = vec![
            ("__name__".to_owned(), "points".to_owned()),
            ("n".to_owned(), format!("{number:03}")),
        ];
        let mut one = encoded_labels(pairs);
        for (ts, tick) in ticks.clone() {
            let whole = tick as f64 * 3.0 + number as f64;
            let value = if number % 2 == 0 { whole } else { whole.sqrt() };
            put_sample(&mut one, ts, value);
        }
        put_bytes(&mut message, 1, &one);
    }
    compressed(&message)
}

fn compressed(message: &[u8]) -> Result<Vec<u8>> {
    let compressed = snap::raw::Encoder::new().compress_vec(message);
    compressed.context("a message cannot be compressed")
}

// Receivers want them in order of their names.
fn encoded_labels(mut pairs: Vec<(String, String)>) -> Vec<u8> {
    pairs.sort();
    let mut out = Vec::new();
    let mut label = Vec::new();
    for (name, value) in pairs {
        label.clear();
        put_bytes(&mut label, 1, name.as_bytes());
        put_bytes(&mut label, 2, value.as_bytes());
        put_bytes(&mut out, 1, &label);
    }
    out
}

// A value of 0 is left out, as protobuf does it.
fn put_sample(out: &mut Vec<u8>, ts: i64, value: f64) {
    let mut sample = Vec::with_capacity(18);
    if value.to_bits() != 0 {
        sample.push(1 << 3 | 1);
        sample.extend_from_slice(&value.to_le_bytes());
    }
    sample.push(2 << 3);
    put_varint(&mut sample, ts as u64);
    put_bytes(out, 2, &sample);
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_written_as_protobuf_has_it() {
        let message = snap::raw::Decoder::new()
            .decompress_vec(&acknowledged(1, 300).unwrap())
            .unwrap();
        let mut expected = vec![0x0a, 50];
        expected.extend_from_slice(b"\x0a\x0f\x0a\x08__name__\x12\x03ack\x0a\x0a\x0a\x03job\x12\x03ack");
        expected.extend_from_slice(b"\x0a\x06\x0a\x01n\x12\x010\x12\x0c\x09");
        expected.extend_from_slice(&300.0_f64.to_le_bytes());
        expected.extend_from_slice(&[0x10, 0xac, 0x02]);
        expected[1] = (expected.len() - 2) as u8;
        assert_eq!(message, expected);
    }

    #[test]
    fn all_series_are_in_a_message_and_times_ascend() {
        let mut source = Source::new(3, 200);
        assert_eq!(source.series(), 200);
        assert!(source.names().contains("node_memory_MemFree_bytes"));
        let ticks: Vec<Tick> = (1..=200).map(|n| source.tick(n, n * 15_000)).collect();
        assert!(ticks.windows(2).all(|two| two[0].ts < two[1].ts));
        let ten = source.message(&ticks[..10]).unwrap();
        let one = source.message(&ticks[..1]).unwrap();
        assert!(ten.len() > one.len() && one.len() > 200);
    }
}
