//! What one log record holds, byte for byte. `docs/format/wal.md` is the specification.

use cupola_chunk::Encoding;
use cupola_histogram::{HistogramRef, NativeHistogram};
use cupola_model::{Labels, MetricType, is_stale_nan};
use cupola_storage::{Exemplar, Metadata, Starts};
pub(crate) use cupola_wire::uvarint as put_uvarint;
use cupola_wire::{Fields, WireError, sint, zigzag};
use foldhash::HashMap;
use thiserror::Error;

use super::Part;
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

/// Since when a sample counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoggedStart {
    pub series: u64,
    pub ts: i64,
    /// Milliseconds; 0 where it is not known.
    pub start: i64,
}

/// Since when samples count, by series and time.
pub(crate) type ToldStarts = HashMap<(u64, i64), i64>;

/// Since when the samples of a series' chunks in a checkpoint count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedStarts {
    pub series: u64,
    /// Whether the samples came out of order.
    pub is_late: bool,
    pub starts: Starts,
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
pub(crate) enum Entry {
    Series(u64, Labels),
    SeriesTable(SeriesTable),
    Samples(Vec<LoggedSample>),
    Histograms(Vec<LoggedHistogram>),
    Exemplars(Vec<LoggedExemplar>),
    Metadata(Vec<(String, Metadata)>),
    /// Of the samples of the next entry, each that is known.
    Start(Vec<LoggedStart>),
    Starts(LoggedStarts),
    LateSamples(Vec<LoggedSample>),
    LateHistograms(Vec<LoggedHistogram>),
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
const STARTS: u8 = 11;
const STEPS: u8 = 12;
const LATE_SAMPLES: u8 = 16;
const LATE_CHUNKS: u8 = 17;
const LATE_HISTOGRAMS: u8 = 18;

/// Remembers each series' last value within one segment: values are written as the XOR with it.
///
/// Writer and reader hold one each and both forget at a segment's start.
#[derive(Debug, Default)]
pub(crate) struct Codec {
    last: BySlot<u64>,
    histograms: HistogramCodec,
    // Since when each series' last sample counts; those of which it is known.
    starts: HashMap<u64, i64>,
    // What the record that is read told of the samples that follow in it.
    told: ToldStarts,
}

impl Codec {
    pub(crate) fn reset(&mut self) {
        self.starts.clear();
        self.told.clear();
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

    /// Tells of the samples of `parts`, which are to follow in this order, since when they count, where that is not what was
    /// logged of their series' last sample.
    pub(crate) fn encode_starts(&mut self, out: &mut Vec<u8>, parts: &[Part<'_>], told: &ToldStarts) {
        if told.is_empty() && self.starts.is_empty() {
            return;
        }
        let mut news: Vec<LoggedStart> = Vec::new();
        let mut add = |series: u64, ts: i64, is_stale: bool| {
            let told = told.get(&(series, ts)).copied();
            // A marker counts nothing, and ends nothing.
            let Some(start) = told.or_else(|| (!is_stale).then_some(0)) else {
                return;
            };
            let last = self.starts.get(&series).copied().unwrap_or(0);
            if last != start {
                self.starts.insert(series, start);
                news.push(LoggedStart { series, ts, start });
            }
        };
        for part in parts {
            match part {
                Part::Samples(samples) | Part::Late(samples) => {
                    samples.iter().for_each(|s| add(s.series, s.ts, is_stale_nan(s.value)));
                }
                Part::Histograms(all) | Part::LateHistograms(all) => {
                    let is_stale = |h: &LoggedHistogram| HistogramRef::from(&h.value).is_stale();
                    all.iter().for_each(|h| add(h.series, h.ts, is_stale(h)));
                }
                Part::Exemplars(_) | Part::Metadata(_) => {}
            }
        }
        encode_news(out, &news);
    }

    pub(crate) fn encode_steps(out: &mut Vec<u8>, starts: &LoggedStarts) {
        let steps = starts.starts.steps();
        if steps.is_empty() {
            return;
        }
        out.push(STEPS);
        put_uvarint(out, steps.len() as u64);
        put_uvarint(out, starts.series);
        out.push(u8::from(starts.is_late));
        let mut before = (0_i64, 0_i64);
        for (ts, start) in steps {
            put_varint(out, ts.wrapping_sub(before.0));
            put_varint(out, start.wrapping_sub(before.1));
            before = (*ts, *start);
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
    pub(crate) fn decode(&mut self, record: &[u8], each: &mut dyn FnMut(Entry)) -> Result<(), CodecError> {
        let mut rest = Reader(record);
        self.told.clear();
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
                    each(Entry::SeriesTable(table));
                }
                SAMPLES => self.decode_samples(count, &mut rest, each, Entry::Samples)?,
                LATE_SAMPLES => self.decode_samples(count, &mut rest, each, Entry::LateSamples)?,
                HISTOGRAMS | LATE_HISTOGRAMS => {
                    let base = rest.varint("a time")?;
                    let all = self.histograms.decode(count, base, &mut rest)?;
                    self.tell_starts(all.iter().map(|h| (h.series, h.ts)), each);
                    each(match kind {
                        HISTOGRAMS => Entry::Histograms(all),
                        _ => Entry::LateHistograms(all),
                    });
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
                STARTS => {
                    let base = rest.varint("a time")?;
                    let (mut series, mut start) = (0_u64, 0_i64);
                    for _ in 0..count {
                        series = series.wrapping_add(rest.varint("a series id")? as u64);
                        let ts = base.wrapping_add(rest.varint("a time")?);
                        start = start.wrapping_add(rest.varint("a start")?);
                        self.told.insert((series, ts), start);
                    }
                }
                STEPS => {
                    let series = rest.uvarint("a series id")?;
                    let is_late = rest.byte("a kind of starts")? != 0;
                    let (mut steps, mut before) = (Vec::new(), (0_i64, 0_i64));
                    for _ in 0..count {
                        let ts = before.0.wrapping_add(rest.varint("a time")?);
                        let start = before.1.wrapping_add(rest.varint("a start")?);
                        before = (ts, start);
                        steps.push(before);
                    }
                    each(Entry::Starts(LoggedStarts {
                        series,
                        is_late,
                        starts: steps.into(),
                    }));
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
        each: &mut dyn FnMut(Entry),
        entry: impl FnOnce(Vec<LoggedSample>) -> Entry,
    ) -> Result<(), CodecError> {
        let base = rest.varint("a time")?;
        // Each sample takes at least four bytes; a count beyond that is garbage and must not allocate.
        let count = usize::try_from(count)
            .ok()
            .filter(|n| *n <= rest.0.len())
            .ok_or(CodecError::Range("sample count"))?;
        let samples = self.decode_columns(base, count, rest)?;
        self.tell_starts(samples.iter().map(|sample| (sample.series, sample.ts)), each);
        each(entry(samples));
        Ok(())
    }

    // Hands out since when samples count, those of which that is known, before they are handed out themselves.
    fn tell_starts(&mut self, samples: impl Iterator<Item = (u64, i64)>, each: &mut dyn FnMut(Entry)) {
        if self.told.is_empty() && self.starts.is_empty() {
            return;
        }
        let mut all = Vec::new();
        for (series, ts) in samples {
            if let Some(start) = self.told.get(&(series, ts)) {
                self.starts.insert(series, *start);
            }
            let start = self.starts.get(&series).copied().unwrap_or(0);
            if start != 0 {
                all.push(LoggedStart { series, ts, start });
            }
        }
        if !all.is_empty() {
            each(Entry::Start(all));
        }
    }

    fn decode_columns(
        &mut self,
        base: i64,
        count: usize,
        rest: &mut Reader<'_>,
    ) -> Result<Vec<LoggedSample>, CodecError> {
        let mut samples = Vec::with_capacity(count);
        let mut before = 0_u64;
        for _ in 0..count {
            before = before.wrapping_add(rest.varint("a series id")? as u64);
            samples.push(LoggedSample {
                series: before,
                ts: 0,
                value: 0.0,
            });
        }
        for sample in &mut samples {
            sample.ts = base.wrapping_add(rest.varint("a time")?);
        }
        for sample in &mut samples {
            let zeros = rest.byte("a value")?;
            let middle = rest.uvarint("a value")?;
            let xor = middle
                .checked_shl(u32::from(zeros))
                .ok_or(CodecError::Range("value shift"))?;
            let bits = self.last.get(sample.series) ^ xor;
            self.last.replace(sample.series, bits);
            sample.value = f64::from_bits(bits);
        }
        Ok(samples)
    }
}

fn encode_news(out: &mut Vec<u8>, news: &[LoggedStart]) {
    let Some(first) = news.first() else { return };
    out.push(STARTS);
    put_uvarint(out, news.len() as u64);
    put_varint(out, first.ts);
    let (mut series, mut start) = (0_u64, 0_i64);
    for told in news {
        put_varint(out, told.series.wrapping_sub(series) as i64);
        put_varint(out, told.ts.wrapping_sub(first.ts));
        put_varint(out, told.start.wrapping_sub(start));
        (series, start) = (told.series, told.start);
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, zigzag(value));
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
        let mut rest = Fields(self.0);
        let value = rest.varint().map_err(|error| match error {
            WireError::Short => CodecError::Short(what),
            _ => CodecError::Range(what),
        })?;
        self.0 = rest.0;
        Ok(value)
    }

    pub(super) fn varint(&mut self, what: &'static str) -> Result<i64, CodecError> {
        self.uvarint(what).map(sint)
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
mod tests;
