//! Writes what the crate reads, as upstream would.

use std::path::Path;

use cupola_histogram::{CounterResetHint, Histogram, NativeHistogram, Span};
use cupola_model::Labels;

use crate::frame::{HEADER, PAGE};
use crate::head_chunks::MAGIC;
use crate::{LoggedHistogramSample, LoggedSample};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Snappy,
    Zstd,
}

/// One segment that grows.
#[derive(Debug, Clone, Default)]
pub(super) struct Segment(pub(super) Vec<u8>);

impl Segment {
    pub(super) fn of(records: &[Vec<u8>]) -> Self {
        let mut out = Self::default();
        for record in records {
            out.put(record, Compression::Snappy);
        }
        out
    }

    pub(super) fn put(&mut self, record: &[u8], compression: Compression) {
        let (bits, stored) = match compression {
            Compression::None => (0, record.to_vec()),
            Compression::Snappy => (0x08, snap::raw::Encoder::new().compress_vec(record).unwrap()),
            Compression::Zstd => (0x10, zstd::bulk::compress(record, 1).unwrap()),
        };
        let mut rest = stored.as_slice();
        let mut is_first = true;
        loop {
            let room = PAGE - self.0.len() % PAGE;
            if room < HEADER {
                self.0.resize(self.0.len() + room, 0);
                continue;
            }
            let (part, left) = rest.split_at(rest.len().min(room - HEADER));
            let kind = match (is_first, left.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            self.fragment(kind | bits, part);
            rest = left;
            is_first = false;
            if rest.is_empty() {
                return;
            }
        }
    }

    pub(super) fn fragment(&mut self, kind: u8, part: &[u8]) {
        self.0.push(kind);
        self.0.extend_from_slice(&(part.len() as u16).to_be_bytes());
        self.0.extend_from_slice(&crc32c::crc32c(part).to_be_bytes());
        self.0.extend_from_slice(part);
    }

    pub(super) fn write(&self, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &self.0).unwrap();
    }
}

/// One record that grows.
#[derive(Debug, Clone)]
pub(super) struct Enc(pub(super) Vec<u8>);

impl Enc {
    pub(super) fn new(kind: u8) -> Self {
        Self(vec![kind])
    }

    pub(super) fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    pub(super) fn be64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn float(self, value: f64) -> Self {
        self.be64(value.to_bits())
    }

    pub(super) fn uvarint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    pub(super) fn varint(self, value: i64) -> Self {
        self.uvarint(((value << 1) ^ (value >> 63)) as u64)
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        self = self.uvarint(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn labels(mut self, labels: &Labels) -> Self {
        self = self.uvarint(labels.len() as u64);
        for (name, value) in labels {
            self = self.text(name).text(value);
        }
        self
    }

    fn spans(mut self, spans: &[Span]) -> Self {
        self = self.uvarint(spans.len() as u64);
        for span in spans {
            self = self.varint(i64::from(span.offset)).uvarint(u64::from(span.length));
        }
        self
    }

    fn floats(mut self, values: &[f64]) -> Self {
        self = self.uvarint(values.len() as u64);
        for value in values {
            self = self.float(*value);
        }
        self
    }

    fn hint(self, hint: CounterResetHint) -> Self {
        self.byte(match hint {
            CounterResetHint::Unknown => 0,
            CounterResetHint::CounterReset => 1,
            CounterResetHint::NotCounterReset => 2,
            CounterResetHint::Gauge => 3,
        })
    }

    pub(super) fn histogram(mut self, histogram: &NativeHistogram) -> Self {
        match histogram {
            NativeHistogram::Integer(h) => {
                self = self.hint(h.counter_reset_hint).varint(i64::from(h.schema));
                self = self.float(h.zero_threshold).uvarint(h.zero_count).uvarint(h.count);
                self = self.float(h.sum).spans(&h.positive_spans).spans(&h.negative_spans);
                for deltas in [&h.positive_buckets, &h.negative_buckets] {
                    self = self.uvarint(deltas.len() as u64);
                    for delta in deltas {
                        self = self.varint(*delta);
                    }
                }
                if h.schema == -53 {
                    self.floats(&h.custom_values)
                } else {
                    self
                }
            }
            NativeHistogram::Float(h) => {
                self = self.hint(h.counter_reset_hint).varint(i64::from(h.schema));
                self = self.float(h.zero_threshold).float(h.zero_count).float(h.count);
                self = self.float(h.sum).spans(&h.positive_spans).spans(&h.negative_spans);
                self = self.floats(&h.positive_buckets).floats(&h.negative_buckets);
                if h.schema == -53 {
                    self.floats(&h.custom_values)
                } else {
                    self
                }
            }
        }
    }
}

pub(super) fn series(list: &[(u64, &Labels)]) -> Vec<u8> {
    let mut enc = Enc::new(1);
    for (series_ref, labels) in list {
        enc = enc.be64(*series_ref).labels(labels);
    }
    enc.0
}

pub(super) fn samples(list: &[LoggedSample]) -> Vec<u8> {
    let Some(first) = list.first() else { return vec![2] };
    let mut enc = Enc::new(2).be64(first.series_ref.0).be64(first.ts as u64);
    for s in list {
        enc = enc.varint(s.series_ref.0.wrapping_sub(first.series_ref.0) as i64);
        enc = enc.varint(s.ts.wrapping_sub(first.ts)).float(s.value);
    }
    enc.0
}

pub(super) fn histograms(kind: u8, list: &[LoggedHistogramSample]) -> Vec<u8> {
    let Some(first) = list.first() else { return vec![kind] };
    let mut enc = Enc::new(kind).be64(first.series_ref.0).be64(first.ts as u64);
    for s in list {
        enc = enc.varint(s.series_ref.0.wrapping_sub(first.series_ref.0) as i64);
        enc = enc.varint(s.ts.wrapping_sub(first.ts)).histogram(&s.histogram);
    }
    enc.0
}

/// The second version: each ref by its distance to the one before, times by that to the first, and start times.
pub(super) fn chained(kind: u8, list: &[(u64, i64, i64)], mut value: impl FnMut(usize, Enc) -> Enc) -> Vec<u8> {
    let mut enc = Enc::new(kind);
    let mut before: Option<(u64, i64)> = None;
    let first = list.first().copied().unwrap_or_default();
    for (i, (series_ref, start_ts, ts)) in list.iter().copied().enumerate() {
        enc = match before {
            None => enc.varint(series_ref as i64).varint(ts).varint(start_ts),
            Some((ref_before, start_before)) => {
                let enc = enc.varint(series_ref.wrapping_sub(ref_before) as i64);
                let enc = enc.varint(ts.wrapping_sub(first.2));
                if start_ts == 0 {
                    enc.byte(0)
                } else if start_ts == start_before {
                    enc.byte(1)
                } else {
                    enc.byte(2).varint(start_ts.wrapping_sub(first.1))
                }
            }
        };
        enc = value(i, enc);
        before = Some((series_ref, start_ts));
    }
    enc.0
}

/// A head chunk as the writer is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) series_ref: u64,
    pub(super) mint: i64,
    pub(super) maxt: i64,
    pub(super) encoding: u8,
    pub(super) bytes: Vec<u8>,
}

/// A file of head chunks, and where each chunk begins.
pub(super) fn head_chunks(chunks: &[Chunk]) -> (Vec<u8>, Vec<usize>) {
    let mut out = MAGIC.to_be_bytes().to_vec();
    out.extend_from_slice(&[1, 0, 0, 0]);
    let mut places = Vec::new();
    for chunk in chunks {
        places.push(out.len());
        let enc = Enc(Vec::new()).be64(chunk.series_ref);
        let enc = enc.be64(chunk.mint as u64).be64(chunk.maxt as u64);
        let mut enc = enc.byte(chunk.encoding).uvarint(chunk.bytes.len() as u64);
        enc.0.extend_from_slice(&chunk.bytes);
        let crc = crc32c::crc32c(&enc.0);
        out.extend_from_slice(&enc.0);
        out.extend_from_slice(&crc.to_be_bytes());
    }
    (out, places)
}

pub(super) fn integer_histogram(seed: u64) -> Histogram {
    Histogram {
        counter_reset_hint: CounterResetHint::NotCounterReset,
        schema: (seed % 13) as i32 - 4,
        zero_threshold: 0.001,
        zero_count: seed,
        count: seed.wrapping_mul(7),
        sum: seed as f64 * -1.5,
        positive_spans: vec![Span { offset: -3, length: 2 }, Span { offset: 5, length: 1 }],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        positive_buckets: vec![seed as i64, -1, 40],
        negative_buckets: vec![i64::MIN],
        custom_values: [].into(),
    }
}
