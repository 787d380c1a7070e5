//! What one log record holds, byte for byte. `docs/format/wal.md` is the specification.

use cupola_chunk::Encoding;
use cupola_histogram::NativeHistogram;
use cupola_model::{Labels, MetricType};
use cupola_storage::{Exemplar, Metadata};
use thiserror::Error;

use super::histograms::HistogramCodec;
use super::table::{self, SeriesTable};
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

/// One native histogram as logged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoggedHistogram {
    pub series: u64,
    pub ts: i64,
    pub value: NativeHistogram,
}

/// One exemplar as logged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoggedExemplar {
    pub series: u64,
    pub exemplar: Exemplar,
}

/// How a chunk of a checkpoint is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// One of Prometheus's encodings.
    Prometheus(Encoding),
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
    SeriesTable(&'a SeriesTable<'a>),
    Samples(&'a [LoggedSample]),
    Histograms(&'a [LoggedHistogram]),
    Exemplars(Vec<LoggedExemplar>),
    Metadata(Vec<(String, Metadata)>),
    LateSamples(&'a [LoggedSample]),
    LateHistograms(&'a [LoggedHistogram]),
    Chunk(LoggedChunk),
    Deletion(LoggedDeletion),
}

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const CHUNKS: u8 = 3;
const DELETION: u8 = 4;
const COLUMNAR_CHUNKS: u8 = 5;
const HISTOGRAMS: u8 = 6;
const ENCODED_CHUNKS: u8 = 7;
const EXEMPLARS: u8 = 8;
const SERIES_TABLE: u8 = 9;
const METADATA: u8 = 10;
const LATE_SAMPLES: u8 = 16;
const LATE_CHUNKS: u8 = 17;
const LATE_HISTOGRAMS: u8 = 18;

/// Remembers each series' last value within one segment: values are written as the XOR with it.
///
/// Writer and reader hold one each and both forget at a segment's start.
#[derive(Debug, Default)]
pub(crate) struct Codec {
    last: BySlot<u64>,
    samples: Vec<LoggedSample>,
    histograms: HistogramCodec,
}

impl Codec {
    pub(crate) fn reset(&mut self) {
        self.last.clear();
        self.histograms.clear();
    }

    pub(crate) fn encode_series<'a>(
        &mut self,
        out: &mut Vec<u8>,
        series: impl ExactSizeIterator<Item = (u64, &'a Labels)>,
    ) {
        if series.len() == 0 {
            return;
        }
        out.push(SERIES_TABLE);
        table::encode(out, series.inspect(|(id, _)| self.last.announce(*id)));
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

    pub(crate) fn encode_histograms(&mut self, out: &mut Vec<u8>, histograms: &[LoggedHistogram]) {
        self.encode_histogram_columns(out, HISTOGRAMS, histograms);
    }

    /// Those that came out of order.
    pub(crate) fn encode_late_histograms(&mut self, out: &mut Vec<u8>, histograms: &[LoggedHistogram]) {
        self.encode_histogram_columns(out, LATE_HISTOGRAMS, histograms);
    }

    fn encode_histogram_columns(&mut self, out: &mut Vec<u8>, kind: u8, histograms: &[LoggedHistogram]) {
        let Some(first) = histograms.first() else { return };
        out.push(kind);
        put_uvarint(out, histograms.len() as u64);
        put_varint(out, first.ts);
        self.histograms.encode(out, first.ts, histograms);
    }

    pub(crate) fn encode_exemplars(out: &mut Vec<u8>, exemplars: &[LoggedExemplar]) {
        let Some(first) = exemplars.first() else { return };
        out.push(EXEMPLARS);
        put_uvarint(out, exemplars.len() as u64);
        put_varint(out, first.exemplar.ts);
        let mut before = 0_u64;
        for LoggedExemplar { series, exemplar } in exemplars {
            put_varint(out, series.wrapping_sub(before) as i64);
            before = *series;
            put_varint(out, exemplar.ts.wrapping_sub(first.exemplar.ts));
            out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
            put_labels(out, &exemplar.labels);
        }
    }

    pub(crate) fn encode_metadata(out: &mut Vec<u8>, all: &[(String, Metadata)]) {
        if all.is_empty() {
            return;
        }
        out.push(METADATA);
        put_uvarint(out, all.len() as u64);
        for (metric, metadata) in all {
            put_text(out, metric);
            out.push(metadata.kind.number());
            put_text(out, &metadata.unit);
            put_text(out, &metadata.help);
        }
    }

    pub(crate) fn encode_chunk(out: &mut Vec<u8>, chunk: &LoggedChunk) {
        let packing = match chunk.packing {
            Packing::Prometheus(Encoding::Xor) => CHUNKS,
            Packing::Prometheus(_) => ENCODED_CHUNKS,
            Packing::Columnar => COLUMNAR_CHUNKS,
        };
        out.push(if chunk.is_late { LATE_CHUNKS } else { packing });
        put_uvarint(out, 1);
        if chunk.is_late {
            out.push(packing);
        }
        if let Packing::Prometheus(encoding) = chunk.packing
            && encoding != Encoding::Xor
        {
            out.push(encoding.as_byte());
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
                        let labels = rest.labels()?;
                        self.last.announce(id);
                        each(Entry::Series(id, labels));
                    }
                }
                SERIES_TABLE => {
                    let table = table::decode(count, &mut rest)?;
                    table.iter().for_each(|(id, _)| self.last.announce(id));
                    each(Entry::SeriesTable(&table));
                }
                SAMPLES => self.decode_samples(count, &mut rest, &mut |samples| each(Entry::Samples(samples)))?,
                LATE_SAMPLES => {
                    self.decode_samples(count, &mut rest, &mut |samples| each(Entry::LateSamples(samples)))?
                }
                HISTOGRAMS => {
                    let base = rest.varint("a time")?;
                    each(Entry::Histograms(&self.histograms.decode(count, base, &mut rest)?));
                }
                LATE_HISTOGRAMS => {
                    let base = rest.varint("a time")?;
                    each(Entry::LateHistograms(&self.histograms.decode(count, base, &mut rest)?));
                }
                EXEMPLARS => {
                    let base = rest.varint("a time")?;
                    let (mut exemplars, mut series) = (Vec::new(), 0_u64);
                    for _ in 0..count {
                        series = series.wrapping_add(rest.varint("a series id")? as u64);
                        let ts = base.wrapping_add(rest.varint("a time")?);
                        let value = f64::from_bits(rest.word("a value")?);
                        let labels = rest.labels()?;
                        let exemplar = Exemplar { labels, value, ts };
                        exemplars.push(LoggedExemplar { series, exemplar });
                    }
                    each(Entry::Exemplars(exemplars));
                }
                METADATA => {
                    let mut all = Vec::new();
                    for _ in 0..count {
                        let metric = rest.text()?.to_owned();
                        let kind = MetricType::of_number(rest.byte("a metric's type")?.into());
                        let (unit, help) = (rest.text()?.to_owned(), rest.text()?.to_owned());
                        all.push((metric, Metadata { kind, help, unit }));
                    }
                    each(Entry::Metadata(all));
                }
                CHUNKS | COLUMNAR_CHUNKS | ENCODED_CHUNKS | LATE_CHUNKS => {
                    for _ in 0..count {
                        let is_late = kind == LATE_CHUNKS;
                        let packing = match if is_late { rest.byte("a chunk's kind")? } else { kind } {
                            CHUNKS => Packing::Prometheus(Encoding::Xor),
                            COLUMNAR_CHUNKS => Packing::Columnar,
                            ENCODED_CHUNKS => {
                                let encoding = Encoding::try_from(rest.byte("an encoding")?);
                                Packing::Prometheus(encoding.map_err(|_| CodecError::Range("chunk encoding"))?)
                            }
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

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    put_uvarint(out, labels.len() as u64);
    for (name, value) in labels {
        put_text(out, name);
        put_text(out, value);
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self, what: &'static str) -> Result<u8, CodecError> {
        let (&first, rest) = self.0.split_first().ok_or(CodecError::Short(what))?;
        self.0 = rest;
        Ok(first)
    }

    pub(super) fn uvarint(&mut self, what: &'static str) -> Result<u64, CodecError> {
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

    pub(super) fn varint(&mut self, what: &'static str) -> Result<i64, CodecError> {
        let raw = self.uvarint(what)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// 8 bytes, lowest first.
    pub(super) fn word(&mut self, what: &'static str) -> Result<u64, CodecError> {
        let (word, rest) = self.0.split_first_chunk().ok_or(CodecError::Short(what))?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*word))
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

    fn labels(&mut self) -> Result<Labels, CodecError> {
        let count = self.uvarint("a label count")?;
        let mut labels = Vec::new();
        for _ in 0..count {
            labels.push((self.text()?, self.text()?));
        }
        Ok(Labels::from_pairs(labels))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, CodecError> {
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
        Histogram(LoggedHistogram),
        Exemplar(LoggedExemplar),
        Metadata(String, Metadata),
        Late(LoggedSample),
        LateHistogram(LoggedHistogram),
        Chunk(LoggedChunk),
        Deletion(LoggedDeletion),
    }

    fn decoded(codec: &mut Codec, record: &[u8]) -> Result<Vec<Decoded>, CodecError> {
        let mut all = Vec::new();
        codec.decode(record, &mut |entry| match entry {
            Entry::Series(id, labels) => all.push(Decoded::Series(id, labels)),
            Entry::SeriesTable(table) => all.extend(table.iter().map(|(id, places)| {
                let labels = places.iter().map(|place| table.pairs[*place as usize]);
                Decoded::Series(id, Labels::from_pairs(labels))
            })),
            Entry::Samples(samples) => all.extend(samples.iter().copied().map(Decoded::Sample)),
            Entry::Histograms(histograms) => all.extend(histograms.iter().cloned().map(Decoded::Histogram)),
            Entry::Exemplars(exemplars) => all.extend(exemplars.into_iter().map(Decoded::Exemplar)),
            Entry::Metadata(said) => all.extend(said.into_iter().map(|(m, metadata)| Decoded::Metadata(m, metadata))),
            Entry::LateSamples(samples) => all.extend(samples.iter().copied().map(Decoded::Late)),
            Entry::LateHistograms(late) => all.extend(late.iter().cloned().map(Decoded::LateHistogram)),
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
    fn metadata_comes_back() {
        let said = |kind, text: &str| Metadata {
            kind,
            help: format!("{text} is"),
            unit: text.to_owned(),
        };
        let all = vec![
            ("a".to_owned(), said(MetricType::Info, "")),
            ("b".to_owned(), said(MetricType::Counter, "\u{fc}")),
        ];
        let mut record = Vec::new();
        Codec::encode_metadata(&mut record, &all);
        let back = decoded(&mut Codec::default(), &record).unwrap();
        let expected = all
            .into_iter()
            .map(|(metric, metadata)| Decoded::Metadata(metric, metadata));
        assert_eq!(back, expected.collect::<Vec<_>>());
    }

    fn histogram() -> impl Strategy<Value = NativeHistogram> {
        let spans = || proptest::collection::vec((any::<i32>(), 0..4_u32), 0..3);
        let words = proptest::collection::vec(any::<u64>(), 24);
        let layout = (
            spans(),
            spans(),
            any::<u64>(),
            proptest::collection::vec(any::<f64>(), 0..3),
        );
        (any::<bool>(), 0..4_usize, -53..9_i32, layout, words).prop_map(|(is_float, hint, schema, layout, words)| {
            use cupola_histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
            let (positive, negative, threshold, bounds) = layout;
            let spans = |list: Vec<(i32, u32)>| -> Vec<Span> {
                list.into_iter()
                    .map(|(offset, length)| Span { offset, length })
                    .collect()
            };
            let count = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
            let (positive_spans, negative_spans) = (spans(positive), spans(negative));
            let (positives, negatives) = (count(&positive_spans), count(&negative_spans));
            let counter_reset_hint = [
                CounterResetHint::Unknown,
                CounterResetHint::CounterReset,
                CounterResetHint::NotCounterReset,
                CounterResetHint::Gauge,
            ][hint];
            let zero_threshold = f64::from_bits(threshold);
            let custom_values = if schema == -53 { bounds.into() } else { [].into() };
            let (head, rest) = words.split_at(3);
            let (positive, rest) = rest.split_at(positives);
            let negative = &rest[..negatives];
            if is_float {
                let floats = |words: &[u64]| words.iter().map(|word| f64::from_bits(*word)).collect();
                return NativeHistogram::Float(FloatHistogram {
                    counter_reset_hint,
                    schema,
                    zero_threshold,
                    zero_count: f64::from_bits(head[0]),
                    count: f64::from_bits(head[1]),
                    sum: f64::from_bits(head[2]),
                    positive_buckets: floats(positive),
                    negative_buckets: floats(negative),
                    positive_spans,
                    negative_spans,
                    custom_values,
                });
            }
            let integers = |words: &[u64]| words.iter().map(|word| *word as i64).collect();
            NativeHistogram::Integer(Histogram {
                counter_reset_hint,
                schema,
                zero_threshold,
                zero_count: head[0],
                count: head[1],
                sum: f64::from_bits(head[2]),
                positive_buckets: integers(positive),
                negative_buckets: integers(negative),
                positive_spans,
                negative_spans,
                custom_values,
            })
        })
    }

    // With NaN told by its bits, which `Debug` does not do: through the words of a second encoding.
    fn bits(histogram: &LoggedHistogram) -> Vec<u8> {
        let mut out = Vec::new();
        Codec::default().encode_histograms(&mut out, std::slice::from_ref(histogram));
        out
    }

    proptest! {
        #[test]
        fn histograms_come_back_bit_for_bit(
            all in proptest::collection::vec((0..3_u64, any::<i64>(), histogram(), any::<bool>()), 0..40),
        ) {
            let (mut writer, mut reader) = (Codec::default(), Codec::default());
            // Half of them with the layout of the one before, as a series has it.
            let mut last: Option<NativeHistogram> = None;
            let mut histograms = Vec::new();
            for (series, ts, value, again) in all {
                let value = last.filter(|_| again).unwrap_or(value);
                last = Some(value.clone());
                histograms.push(LoggedHistogram { series, ts, value });
            }
            for batch in histograms.chunks(3) {
                let mut record = Vec::new();
                writer.encode_histograms(&mut record, batch);
                let back = decoded(&mut reader, &record).unwrap();
                prop_assert_eq!(back.len(), batch.len());
                for (entry, histogram) in back.into_iter().zip(batch) {
                    let Decoded::Histogram(got) = entry else { panic!("not a histogram") };
                    prop_assert_eq!((got.series, got.ts), (histogram.series, histogram.ts));
                    prop_assert_eq!(bits(&got), bits(histogram));
                }
            }
        }
    }

    #[test]
    fn series_chunks_and_deletions_come_back() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a")]);
        let mut record = Vec::new();
        Codec::default().encode_series(&mut record, [(7, &labels)].into_iter());
        let histogram = Packing::Prometheus(Encoding::FloatHistogram);
        let xor = Packing::Prometheus(Encoding::Xor);
        let kinds = [
            (xor, false),
            (Packing::Columnar, false),
            (histogram, false),
            (xor, true),
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
        let exemplars = [7, 3].map(|series| LoggedExemplar {
            series,
            exemplar: Exemplar {
                labels: Labels::from_pairs([("trace_id", "x")]),
                value: -0.0,
                ts: 4 - series as i64,
            },
        });
        Codec::encode_exemplars(&mut record, &exemplars);
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
        expected.extend(exemplars.map(Decoded::Exemplar));
        expected.push(Decoded::Sample(sample(9)));
        expected.extend([sample(5), sample(6)].map(Decoded::Late));
        assert_eq!(decoded(&mut Codec::default(), &record).unwrap(), expected);
    }

    #[test]
    fn series_of_earlier_versions_are_read() {
        let record = [SERIES, 1, 7, 1, 1, b'a', 1, b'b'];
        let labels = Labels::from_pairs([("a", "b")]);
        assert_eq!(
            decoded(&mut Codec::default(), &record),
            Ok(vec![Decoded::Series(7, labels)])
        );
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
                packing: Packing::Prometheus(Encoding::Xor),
                mint: -5,
                maxt: 10,
                bytes: b"abc".to_vec(),
                is_late: true,
            },
        );
        let labels = Labels::from_pairs([("trace_id", "x")]);
        let exemplar = Exemplar {
            labels,
            value: 1.0,
            ts: 5,
        };
        Codec::encode_exemplars(&mut record, &[LoggedExemplar { series: 7, exemplar }]);
        let value = NativeHistogram::Integer(cupola_histogram::Histogram {
            count: 3,
            positive_spans: vec![cupola_histogram::Span { offset: 1, length: 2 }],
            positive_buckets: vec![1, 1],
            ..cupola_histogram::Histogram::default()
        });
        let histogram = LoggedHistogram {
            series: 7,
            ts: 5,
            value,
        };
        Codec::default().encode_histograms(&mut record, &[histogram.clone(), histogram]);
        cupola_testkit::fuzz(20_000, &[record], &[], |bytes| {
            // Any answer will do; what counts is that there is one.
            let _ = Codec::default().decode(bytes, &mut |_| {});
        });
    }
}
