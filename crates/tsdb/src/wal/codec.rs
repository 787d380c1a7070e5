//! What one log record holds, byte for byte. `docs/format/wal.md` is the specification.

use cupola_model::Labels;
use thiserror::Error;

use crate::by_slot::BySlot;

/// Why a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum CodecError {
    #[error("record ends in the middle of {0}")]
    Short(&'static str),
    #[error("unknown entry kind {0}")]
    Kind(u8),
    #[error("{0} out of range")]
    Range(&'static str),
    #[error("label text is not UTF-8")]
    Utf8,
}

/// One sample as logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LoggedSample {
    pub series: u64,
    pub ts: i64,
    pub value: f64,
}

/// How a chunk of a checkpoint is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Prometheus's XOR chunk.
    Xor,
    /// `docs/format/columnar.md`.
    Columnar,
}

/// A sealed or open chunk of the head, as checkpoints keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedChunk {
    pub series: u64,
    pub packing: Packing,
    pub mint: i64,
    pub maxt: i64,
    pub bytes: Vec<u8>,
    /// Whether its samples came out of order.
    pub is_late: bool,
}

/// Samples of series that were deleted: those logged before this, between two times, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedDeletion {
    pub series: Vec<u64>,
    pub mint: i64,
    pub maxt: i64,
}

/// What replay hands to the head.
#[derive(Debug, PartialEq)]
pub(crate) enum Entry<'a> {
    Series(u64, Labels),
    Samples(&'a [LoggedSample]),
    LateSamples(&'a [LoggedSample]),
    Chunk(LoggedChunk),
    Deletion(LoggedDeletion),
}

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const CHUNKS: u8 = 3;
const DELETION: u8 = 4;
const COLUMNAR_CHUNKS: u8 = 5;
const LATE_SAMPLES: u8 = 16;
const LATE_CHUNKS: u8 = 17;

/// Remembers each series' last value within one segment: values are written as the XOR with it.
///
/// Writer and reader hold one each and both forget at a segment's start.
#[derive(Debug, Default)]
pub(crate) struct Codec {
    last: BySlot<u64>,
    samples: Vec<LoggedSample>,
}

impl Codec {
    pub(crate) fn reset(&mut self) {
        self.last.clear();
    }

    pub(crate) fn encode_series<'a>(
        &mut self,
        out: &mut Vec<u8>,
        series: impl ExactSizeIterator<Item = (u64, &'a Labels)>,
    ) {
        if series.len() == 0 {
            return;
        }
        out.push(SERIES);
        put_uvarint(out, series.len() as u64);
        for (id, labels) in series {
            self.last.announce(id);
            put_uvarint(out, id);
            put_uvarint(out, labels.len() as u64);
            for (name, value) in labels {
                put_text(out, name);
                put_text(out, value);
            }
        }
    }

    /// Columns, so that the compressor sees like beside like: all series ids, all times, all values.
    pub(crate) fn encode_samples(&mut self, out: &mut Vec<u8>, samples: &[LoggedSample]) {
        self.encode_columns(out, SAMPLES, samples);
    }

    /// Those that came out of order.
    pub(crate) fn encode_late_samples(&mut self, out: &mut Vec<u8>, samples: &[LoggedSample]) {
        self.encode_columns(out, LATE_SAMPLES, samples);
    }

    fn encode_columns(&mut self, out: &mut Vec<u8>, kind: u8, samples: &[LoggedSample]) {
        let Some(first) = samples.first() else { return };
        out.push(kind);
        put_uvarint(out, samples.len() as u64);
        put_varint(out, first.ts);
        let mut before = 0_u64;
        for sample in samples {
            put_varint(out, sample.series.wrapping_sub(before) as i64);
            before = sample.series;
        }
        for sample in samples {
            put_varint(out, sample.ts.wrapping_sub(first.ts));
        }
        for sample in samples {
            let bits = sample.value.to_bits();
            let xor = bits ^ self.last.replace(sample.series, bits);
            // Neighbouring values share their leading bits and often end in zeros: keep the middle.
            let zeros = if xor == 0 { 0 } else { xor.trailing_zeros() as u8 };
            out.push(zeros);
            put_uvarint(out, xor >> zeros);
        }
    }

    pub(crate) fn encode_chunk(out: &mut Vec<u8>, chunk: &LoggedChunk) {
        let packing = match chunk.packing {
            Packing::Xor => CHUNKS,
            Packing::Columnar => COLUMNAR_CHUNKS,
        };
        out.push(if chunk.is_late { LATE_CHUNKS } else { packing });
        put_uvarint(out, 1);
        if chunk.is_late {
            out.push(packing);
        }
        put_uvarint(out, chunk.series);
        put_varint(out, chunk.mint);
        put_varint(out, chunk.maxt);
        put_uvarint(out, chunk.bytes.len() as u64);
        out.extend_from_slice(&chunk.bytes);
    }

    pub(crate) fn encode_deletion(out: &mut Vec<u8>, deletion: &LoggedDeletion) {
        out.push(DELETION);
        put_uvarint(out, deletion.series.len() as u64);
        put_varint(out, deletion.mint);
        put_varint(out, deletion.maxt);
        for series in &deletion.series {
            put_uvarint(out, *series);
        }
    }

    /// Reads all entries of one record and gives them to `each`.
    pub(crate) fn decode(&mut self, record: &[u8], each: &mut dyn FnMut(Entry<'_>)) -> Result<(), CodecError> {
        let mut rest = Reader(record);
        while let Some((&kind, after)) = rest.0.split_first() {
            rest.0 = after;
            let count = rest.uvarint("a count")?;
            match kind {
                SERIES => {
                    for _ in 0..count {
                        let id = rest.uvarint("a series id")?;
                        let pairs = rest.uvarint("a label count")?;
                        let mut labels = Vec::new();
                        for _ in 0..pairs {
                            labels.push((rest.text()?, rest.text()?));
                        }
                        self.last.announce(id);
                        each(Entry::Series(id, Labels::from_pairs(labels)));
                    }
                }
                SAMPLES => self.decode_samples(count, &mut rest, &mut |samples| each(Entry::Samples(samples)))?,
                LATE_SAMPLES => {
                    self.decode_samples(count, &mut rest, &mut |samples| each(Entry::LateSamples(samples)))?
                }
                CHUNKS | COLUMNAR_CHUNKS | LATE_CHUNKS => {
                    for _ in 0..count {
                        let is_late = kind == LATE_CHUNKS;
                        let packing = match if is_late { rest.byte("a chunk's kind")? } else { kind } {
                            CHUNKS => Packing::Xor,
                            COLUMNAR_CHUNKS => Packing::Columnar,
                            other => return Err(CodecError::Kind(other)),
                        };
                        let series = rest.uvarint("a series id")?;
                        let mint = rest.varint("a time")?;
                        let maxt = rest.varint("a time")?;
                        let bytes = rest.bytes()?.to_vec();
                        each(Entry::Chunk(LoggedChunk {
                            series,
                            packing,
                            mint,
                            maxt,
                            bytes,
                            is_late,
                        }));
                    }
                }
                DELETION => {
                    let mint = rest.varint("a time")?;
                    let maxt = rest.varint("a time")?;
                    let mut series = Vec::new();
                    for _ in 0..count {
                        series.push(rest.uvarint("a series id")?);
                    }
                    each(Entry::Deletion(LoggedDeletion { series, mint, maxt }));
                }
                other => return Err(CodecError::Kind(other)),
            }
        }
        Ok(())
    }

    fn decode_samples(
        &mut self,
        count: u64,
        rest: &mut Reader<'_>,
        each: &mut dyn FnMut(&[LoggedSample]),
    ) -> Result<(), CodecError> {
        let base = rest.varint("a time")?;
        // Each sample takes at least four bytes; a count beyond that is garbage and must not allocate.
        let count = usize::try_from(count)
            .ok()
            .filter(|n| *n <= rest.0.len())
            .ok_or(CodecError::Range("sample count"))?;
        let mut samples = std::mem::take(&mut self.samples);
        samples.clear();
        samples.reserve(count);
        let decoded = self.decode_columns(base, count, rest, &mut samples);
        if decoded.is_ok() {
            each(&samples);
        }
        self.samples = samples;
        decoded
    }

    fn decode_columns(
        &mut self,
        base: i64,
        count: usize,
        rest: &mut Reader<'_>,
        samples: &mut Vec<LoggedSample>,
    ) -> Result<(), CodecError> {
        let mut before = 0_u64;
        for _ in 0..count {
            before = before.wrapping_add(rest.varint("a series id")? as u64);
            samples.push(LoggedSample {
                series: before,
                ts: 0,
                value: 0.0,
            });
        }
        for sample in samples.iter_mut() {
            sample.ts = base.wrapping_add(rest.varint("a time")?);
        }
        for sample in samples {
            let zeros = rest.byte("a value")?;
            let middle = rest.uvarint("a value")?;
            let xor = middle
                .checked_shl(u32::from(zeros))
                .ok_or(CodecError::Range("value shift"))?;
            let bits = self.last.get(sample.series) ^ xor;
            self.last.replace(sample.series, bits);
            sample.value = f64::from_bits(bits);
        }
        Ok(())
    }
}

pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self, what: &'static str) -> Result<u8, CodecError> {
        let (&first, rest) = self.0.split_first().ok_or(CodecError::Short(what))?;
        self.0 = rest;
        Ok(first)
    }

    fn uvarint(&mut self, what: &'static str) -> Result<u64, CodecError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError::Range(what))
    }

    fn varint(&mut self, what: &'static str) -> Result<i64, CodecError> {
        let raw = self.uvarint(what)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let len = self.uvarint("a length")?;
        let len = usize::try_from(len)
            .ok()
            .filter(|n| *n <= self.0.len())
            .ok_or(CodecError::Short("a text"))?;
        let (head, tail) = self.0.split_at(len);
        self.0 = tail;
        Ok(head)
    }

    fn text(&mut self) -> Result<&'a str, CodecError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| CodecError::Utf8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq)]
    enum Decoded {
        Series(u64, Labels),
        Sample(LoggedSample),
        Late(LoggedSample),
        Chunk(LoggedChunk),
        Deletion(LoggedDeletion),
    }

    fn decoded(codec: &mut Codec, record: &[u8]) -> Result<Vec<Decoded>, CodecError> {
        let mut all = Vec::new();
        codec.decode(record, &mut |entry| match entry {
            Entry::Series(id, labels) => all.push(Decoded::Series(id, labels)),
            Entry::Samples(samples) => all.extend(samples.iter().copied().map(Decoded::Sample)),
            Entry::LateSamples(samples) => all.extend(samples.iter().copied().map(Decoded::Late)),
            Entry::Chunk(chunk) => all.push(Decoded::Chunk(chunk)),
            Entry::Deletion(deletion) => all.push(Decoded::Deletion(deletion)),
        })?;
        Ok(all)
    }

    proptest! {
        #[test]
        fn samples_come_back_bit_for_bit(
            samples in proptest::collection::vec((any::<u64>(), any::<i64>(), any::<u64>()), 0..200),
        ) {
            let samples: Vec<_> = samples
                .into_iter()
                .map(|(series, ts, bits)| LoggedSample { series: series % 20, ts, value: f64::from_bits(bits) })
                .collect();
            let (mut writer, mut reader) = (Codec::default(), Codec::default());
            for batch in samples.chunks(7) {
                let mut record = Vec::new();
                writer.encode_samples(&mut record, batch);
                let back = decoded(&mut reader, &record).unwrap();
                prop_assert_eq!(back.len(), batch.len());
                for (entry, sample) in back.into_iter().zip(batch) {
                    let Decoded::Sample(got) = entry else { panic!("not a sample") };
                    prop_assert_eq!((got.series, got.ts), (sample.series, sample.ts));
                    prop_assert_eq!(got.value.to_bits(), sample.value.to_bits());
                }
            }
        }
    }

    #[test]
    fn series_chunks_and_deletions_come_back() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a")]);
        let mut record = Vec::new();
        Codec::default().encode_series(&mut record, [(7, &labels)].into_iter());
        let kinds = [
            (Packing::Xor, false),
            (Packing::Columnar, false),
            (Packing::Xor, true),
            (Packing::Columnar, true),
        ];
        let chunks = kinds.map(|(packing, is_late)| LoggedChunk {
            series: 7,
            packing,
            mint: -5,
            maxt: 10,
            bytes: b"abc".to_vec(),
            is_late,
        });
        for chunk in &chunks {
            Codec::encode_chunk(&mut record, chunk);
        }
        let deletion = LoggedDeletion {
            series: vec![7, u64::MAX],
            mint: i64::MIN,
            maxt: 5,
        };
        Codec::encode_deletion(&mut record, &deletion);
        let sample = |ts| LoggedSample {
            series: 7,
            ts,
            value: 1.5,
        };
        let mut writer = Codec::default();
        writer.encode_samples(&mut record, &[sample(9)]);
        writer.encode_late_samples(&mut record, &[sample(5), sample(6)]);
        let mut expected = vec![Decoded::Series(7, labels)];
        expected.extend(chunks.map(Decoded::Chunk));
        expected.push(Decoded::Deletion(deletion));
        expected.push(Decoded::Sample(sample(9)));
        expected.extend([sample(5), sample(6)].map(Decoded::Late));
        assert_eq!(decoded(&mut Codec::default(), &record).unwrap(), expected);
    }

    #[test]
    fn garbage_never_panics() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a")]);
        let mut record = Vec::new();
        Codec::default().encode_series(&mut record, [(7, &labels)].into_iter());
        Codec::default().encode_samples(
            &mut record,
            &[LoggedSample {
                series: 7,
                ts: 5,
                value: 1.5,
            }],
        );
        Codec::encode_chunk(
            &mut record,
            &LoggedChunk {
                series: 7,
                packing: Packing::Xor,
                mint: -5,
                maxt: 10,
                bytes: b"abc".to_vec(),
                is_late: true,
            },
        );
        cupola_testkit::fuzz(20_000, &[record], &[], |bytes| {
            // Any answer will do; what counts is that there is one.
            let _ = Codec::default().decode(bytes, &mut |_| {});
        });
    }
}
