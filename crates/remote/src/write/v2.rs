//! Remote write 2.0: `io.prometheus.write.v2.Request`, whose texts are written once each and named by number.

use std::collections::HashSet;

use cupola_histogram::NativeHistogram;
use cupola_model::{Labels, METRIC_NAME, MetricType, go_quote, is_valid_label_name, is_valid_legacy_label_name};
use cupola_storage::{AppendError, Appendable, Appender, Exemplar, Metadata};
use tracing::debug;

use super::{Allowance, MAX_AHEAD_MS, Memory, Noted, WriteError, WriteReceiver, memory, take_histogram, unpack};
use crate::histograms::histogram_start;
use crate::known::Cursor;
use cupola_wire::{Fields, Value, WireError, uints};

const REQUEST_SYMBOL: u64 = 4;
const REQUEST_SERIES: u64 = 5;
const SERIES_LABELS: u64 = 1;
const SERIES_SAMPLE: u64 = 2;
const SERIES_HISTOGRAM: u64 = 3;
const SERIES_EXEMPLAR: u64 = 4;
const SERIES_METADATA: u64 = 5;
const SAMPLE_VALUE: u64 = 1;
const SAMPLE_TIME: u64 = 2;
const SAMPLE_START: u64 = 3;
const EXEMPLAR_LABELS: u64 = 1;
const EXEMPLAR_VALUE: u64 = 2;
const EXEMPLAR_TIME: u64 = 3;
const METADATA_TYPE: u64 = 1;
const METADATA_HELP: u64 = 3;
const METADATA_UNIT: u64 = 4;

const TYPE: &str = "__type__";
const UNIT: &str = "__unit__";

// Upstream joins the mistakes of all series; the answer is to end nevertheless. With what is said of the rest it stays below
// the 64 KiB that senders read of it: earlier versions of this one took what is longer for no answer.
const LONGEST_TEXT: usize = (64 << 10) - 64;
// Of the labels of one series or exemplar, written out. A symbol comes once and may be named a million times: what is made
// of a message must not be larger than it by orders of magnitude.
const LONGEST_LABELS: usize = 1 << 20;
// A symbol may be as long as the message, and be named by each of its series.
const LONGEST_UNIT: usize = 1 << 10;
// What a text takes besides its bytes.
const PER_TEXT: usize = 24;

/// How much of a message of the second version is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Float samples.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

// What is read of one series before it is written. Texts are numbers of symbols.
#[derive(Default)]
struct Scratch<'a> {
    labels: Vec<u64>,
    // Time, value, start (0 where it is not told).
    samples: Vec<(i64, f64, i64)>,
    histograms: Vec<(i64, NativeHistogram, i64)>,
    exemplars: Vec<(Vec<u64>, f64, i64)>,
    metadata: Option<&'a [u8]>,
    // Labels that come from the metadata.
    told: Vec<(&'static str, String)>,
}

/// What one message comes to.
#[derive(Default)]
struct Outcome {
    written: Written,
    mistakes: Vec<String>,
    // Bytes of them.
    length: usize,
    left_out: usize,
}

impl Outcome {
    fn mistake(&mut self, mut text: String) {
        if self.mistakes.is_empty() {
            text.truncate(text.floor_char_boundary(LONGEST_TEXT - 1));
        }
        // With the end of its line.
        let length = self.length + text.len() + 1;
        if self.left_out > 0 || length > LONGEST_TEXT {
            self.left_out += 1;
            return;
        }
        self.length = length;
        self.mistakes.push(text);
    }

    fn result(self) -> Result<(), WriteError> {
        if self.mistakes.is_empty() {
            return Ok(());
        }
        let mut text = self.mistakes.join("\n");
        if self.left_out > 0 {
            text.push_str(&format!("\nand {} more", self.left_out));
        }
        Err(WriteError::Partial(text))
    }
}

struct Symbols<'a> {
    all: Vec<&'a [u8]>,
    name: Option<u64>,
}

impl<'a> Symbols<'a> {
    fn get(&self, number: u64) -> Option<&'a [u8]> {
        self.all.get(usize::try_from(number).ok()?).copied()
    }

    // Bytes of these texts written out.
    fn length(&self, numbers: &[u64]) -> usize {
        let lengths = numbers.iter().map(|number| self.get(*number).map_or(0, <[u8]>::len));
        lengths.fold(0_usize, |sum, length| sum.saturating_add(length + PER_TEXT))
    }

    // Ours: upstream has no limit.
    fn check_length(&self, numbers: &[u64]) -> Result<(), String> {
        let length = self.length(numbers);
        match length > LONGEST_LABELS {
            true => Err(format!(
                "labels of {length} bytes, more than {LONGEST_LABELS} are not taken"
            )),
            false => Ok(()),
        }
    }

    // Numbers of names and values in turn, in the sender's order. `Err` is upstream's text.
    fn pairs(&self, numbers: &[u64]) -> Result<Vec<(String, String)>, String> {
        self.check_length(numbers)?;
        let (pairs, rest) = numbers.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(format!("invalid labelRefs length {}", numbers.len()));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pair = |&[name, value]: &[u64; 2]| match (self.get(name), self.get(value)) {
            (Some(name), Some(value)) => Ok((text(name), text(value))),
            _ => Err(format!(
                "labelRefs {name} (name) = {value} (value) outside of symbols table (size {})",
                self.all.len()
            )),
        };
        pairs.iter().map(pair).collect()
    }

    fn labels(&self, numbers: &[u64], told: &[(&'static str, String)]) -> Result<Labels, String> {
        let shown = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        let mut pairs = self
            .pairs(numbers)
            .map_err(|error| format!("parsing labels for series [{shown}]: {error}"))?;
        if !told.is_empty() {
            pairs.retain(|(name, _)| name != TYPE && name != UNIT);
            pairs.extend(told.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let has_name = pairs
            .iter()
            .any(|(name, value)| name == METRIC_NAME && !value.is_empty());
        let is_text = |number: &u64| {
            self.get(*number)
                .is_some_and(|bytes| std::str::from_utf8(bytes).is_ok())
        };
        if !has_name || !pairs.iter().all(|(name, _)| is_valid_label_name(name)) || !numbers.iter().all(is_text) {
            return Err(format!("invalid metric name or labels, got {}", show(&pairs)));
        }
        if let Some(two) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
            return Err(format!(
                "invalid labels for series, labels {}, duplicated label {}",
                show(&pairs),
                two[0].0
            ));
        }
        Ok(Labels::from_pairs(pairs))
    }
}

// As upstream shows labels, those without a value and those that are there twice, too.
fn show(pairs: &[(String, String)]) -> String {
    let one = |(name, value): &(String, String)| match is_valid_legacy_label_name(name) {
        true => format!("{name}={}", go_quote(value)),
        false => format!("{}={}", go_quote(name), go_quote(value)),
    };
    format!("{{{}}}", pairs.iter().map(one).collect::<Vec<_>>().join(", "))
}

impl WriteReceiver {
    /// As [`WriteReceiver::write`], for an `io.prometheus.write.v2.Request`. What can be written is written, as one
    /// batch, and the rest is told; the first value is how much that is. Start timestamps are handed on to the storage.
    ///
    /// # Errors
    /// [`WriteError::Partial`] where some of it is not written. With any other error nothing is.
    pub fn write_v2(
        &self,
        storage: &dyn Appendable,
        compressed: &[u8],
        memory: &mut Memory<'_>,
        now_ms: i64,
    ) -> (Written, Result<(), WriteError>) {
        let mut outcome = Outcome::default();
        match self.write_all(storage, compressed, memory, now_ms, &mut outcome) {
            Ok(()) => (outcome.written, outcome.result()),
            Err(error) => (Written::default(), Err(error)),
        }
    }

    fn write_all(
        &self,
        storage: &dyn Appendable,
        compressed: &[u8],
        memory: &mut Memory<'_>,
        now_ms: i64,
        outcome: &mut Outcome,
    ) -> Result<(), WriteError> {
        let message = unpack(compressed, memory.largest(), &self.spare)?;
        let mut symbols = Vec::new();
        for field in Fields(message.bytes()) {
            if let (REQUEST_SYMBOL, Value::Bytes(symbol)) = field? {
                memory.take(memory::PLACE)?;
                symbols.push(symbol);
            }
        }
        let name = symbols.iter().position(|symbol| *symbol == METRIC_NAME.as_bytes());
        let symbols = Symbols {
            all: symbols,
            name: name.map(|at| at as u64),
        };
        let mut allowance = Allowance::new(self.texts, message.bytes());
        let mut appender = storage.appender();
        let mut noted = (Vec::new(), Cursor::default());
        let mut described = HashSet::new();
        let mut scratch = Scratch::default();
        let latest = now_ms.saturating_add(MAX_AHEAD_MS);
        for field in Fields(message.bytes()) {
            let (REQUEST_SERIES, Value::Bytes(series)) = field? else {
                continue;
            };
            read_series(series, &mut scratch, memory)?;
            scratch.told.clear();
            if let (true, Some(metadata)) = (self.types, scratch.metadata) {
                scratch.told = type_and_unit(metadata, &symbols)?;
            }
            let is_taken = self.series_v2(
                &mut scratch,
                &symbols,
                &mut *appender,
                (&mut noted.0, &mut noted.1),
                latest,
                (outcome, &mut allowance),
            );
            if let (true, Some(metadata)) = (is_taken, scratch.metadata) {
                let known = (&mut described, &mut allowance);
                describe(metadata, &scratch.labels, &symbols, known, &mut *appender)?;
            }
        }
        appender.commit()?;
        self.known.note(&noted.0);
        Ok(())
    }

    // Whether its labels are good.
    fn series_v2(
        &self,
        series: &mut Scratch<'_>,
        symbols: &Symbols<'_>,
        appender: &mut dyn Appender,
        (noted, next): Noted<'_>,
        latest: i64,
        (outcome, allowance): (&mut Outcome, &mut Allowance),
    ) -> bool {
        if let Err(mistake) = symbols.check_length(&series.labels) {
            self.invalid_labels
                .add((series.samples.len() + series.histograms.len()) as f64);
            outcome.mistake(mistake);
            return false;
        }
        // A number outside of the table hashes as nothing, but is never noted, so that nothing is found by it.
        let is_whole = series.labels.iter().all(|number| symbols.get(*number).is_some());
        let texts = series
            .labels
            .iter()
            .map(|number| symbols.get(*number).unwrap_or_default());
        let told = series.told.iter();
        let told = told.flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let hash = self.known.hash(texts.chain(told));
        let mut known = match is_whole {
            true => self.known.get(hash, next),
            false => None,
        };
        // Built where the storage, or the sender in an error, has to be told them.
        let mut labels = None;
        if known.is_none() || (series.samples.is_empty() && series.histograms.is_empty()) {
            let allowed = allowance.take(symbols.length(&series.labels));
            match allowed.and_then(|()| symbols.labels(&series.labels, &series.told)) {
                Ok(built) => labels = Some(built),
                Err(mistake) => {
                    self.invalid_labels
                        .add((series.samples.len() + series.histograms.len()) as f64);
                    outcome.mistake(mistake);
                    return false;
                }
            }
        }
        if let (Some(labels), true, true) = (&labels, series.samples.is_empty(), series.histograms.is_empty()) {
            outcome.mistake(format!(
                "TimeSeries must contain at least one sample or histogram for series {labels}"
            ));
            return false;
        }
        let of = |labels: &mut Option<Labels>| match labels {
            Some(labels) => labels.clone(),
            // They were written before, so they are good.
            None => labels
                .insert(
                    symbols
                        .labels(&series.labels, &series.told)
                        .unwrap_or_else(|_| Labels::empty()),
                )
                .clone(),
        };
        for &(ts, value, start) in &series.samples {
            let appended = match known {
                _ if ts > latest => Err(AppendError::OutOfBounds),
                Some(series) => match appender.append_known(series, ts, value) {
                    Ok(true) => Ok(series),
                    Ok(false) => appender.append(None, &of(&mut labels), ts, value),
                    Err(error) => Err(error),
                },
                None => appender.append(None, &of(&mut labels), ts, value),
            };
            match appended {
                Ok(series) => {
                    known = Some(series);
                    outcome.written.samples += 1;
                    if start != 0 {
                        appender.append_start(series, ts, start);
                    }
                }
                Err(error) => outcome.mistake(format!("{error} for series {}", of(&mut labels))),
            }
        }
        for (ts, histogram, start) in series.histograms.drain(..) {
            let appended = match ts > latest {
                true => Err(AppendError::OutOfBounds),
                false => appender.append_histogram(known, &of(&mut labels), ts, histogram),
            };
            match appended {
                Ok(series) => {
                    known = Some(series);
                    outcome.written.histograms += 1;
                    if start != 0 {
                        appender.append_start(series, ts, start);
                    }
                }
                Err(error) => outcome.mistake(format!("{error} for series {}", of(&mut labels))),
            }
        }
        for (numbers, value, ts) in series.exemplars.drain(..) {
            let pairs = match symbols.pairs(&numbers) {
                Ok(pairs) => pairs,
                Err(error) => {
                    outcome.mistake(format!("parsing exemplar for series {}: {error}", of(&mut labels)));
                    continue;
                }
            };
            let exemplar = Exemplar {
                labels: Labels::from_pairs(pairs),
                value,
                ts,
            };
            match known
                .filter(|_| ts <= latest)
                .map(|known| appender.append_exemplar(known, exemplar))
            {
                Some(Ok(())) => outcome.written.exemplars += 1,
                Some(Err(error)) => debug!(%error, "remote write: exemplar refused"),
                None => {
                    debug!("remote write: exemplar refused, its series is not written or its time is out of bounds")
                }
            }
        }
        noted.extend(known.filter(|_| is_whole).map(|series| (hash, series)));
        true
    }
}

fn read_series<'a>(message: &'a [u8], out: &mut Scratch<'a>, memory: &mut Memory<'_>) -> Result<(), WriteError> {
    out.labels.clear();
    out.samples.clear();
    out.histograms.clear();
    out.exemplars.clear();
    out.metadata = None;
    for field in Fields(message) {
        match field? {
            (SERIES_LABELS, value) => {
                memory.take(match value {
                    Value::Bytes(packed) if packed.len() <= memory::SHORT => 0,
                    Value::Bytes(packed) => memory::TIMES * packed.len(),
                    _ => memory::TIMES,
                })?;
                uints(value, &mut out.labels)?;
            }
            (SERIES_SAMPLE, Value::Bytes(sample)) => {
                memory.take(memory::SAMPLE)?;
                let (mut ts, mut bits, mut start) = (0, 0, 0);
                for field in Fields(sample) {
                    match field? {
                        (SAMPLE_VALUE, Value::Fixed64(value)) => bits = value,
                        (SAMPLE_TIME, Value::Varint(value)) => ts = value as i64,
                        (SAMPLE_START, Value::Varint(value)) => start = value as i64,
                        _ => {}
                    }
                }
                out.samples.push((ts, f64::from_bits(bits), start));
            }
            (SERIES_HISTOGRAM, Value::Bytes(bytes)) => {
                let (ts, histogram) = take_histogram(bytes, memory)?;
                out.histograms.push((ts, histogram, histogram_start(bytes)?));
            }
            (SERIES_EXEMPLAR, Value::Bytes(exemplar)) => {
                memory.take(memory::EXEMPLAR + memory::TIMES * exemplar.len())?;
                let (mut labels, mut bits, mut ts) = (Vec::new(), 0, 0);
                for field in Fields(exemplar) {
                    match field? {
                        (EXEMPLAR_LABELS, value) => uints(value, &mut labels)?,
                        (EXEMPLAR_VALUE, Value::Fixed64(value)) => bits = value,
                        (EXEMPLAR_TIME, Value::Varint(value)) => ts = value as i64,
                        _ => {}
                    }
                }
                out.exemplars.push((labels, f64::from_bits(bits), ts));
            }
            (SERIES_METADATA, Value::Bytes(metadata)) => out.metadata = Some(metadata),
            _ => {}
        }
    }
    Ok(())
}

// Type, help and unit; the texts are numbers of symbols.
fn read_metadata(message: &[u8]) -> Result<(u64, u64, u64), WireError> {
    let (mut kind, mut help, mut unit) = (0, 0, 0);
    for field in Fields(message) {
        match field? {
            (METADATA_TYPE, Value::Varint(value)) => kind = value,
            (METADATA_HELP, Value::Varint(value)) => help = value,
            (METADATA_UNIT, Value::Varint(value)) => unit = value,
            _ => {}
        }
    }
    Ok((kind, help, unit))
}

// What the metadata tells, as labels.
fn type_and_unit(message: &[u8], symbols: &Symbols<'_>) -> Result<Vec<(&'static str, String)>, WireError> {
    let (kind, _, unit) = read_metadata(message)?;
    let kind = MetricType::of_number(kind);
    let kind = (kind != MetricType::Unknown).then(|| (TYPE, kind.name().to_owned()));
    let unit = symbols.get(unit).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let unit = unit.filter(|unit| !unit.is_empty() && unit.len() <= LONGEST_UNIT);
    let unit = unit.map(|unit| (UNIT, unit.to_owned()));
    Ok(kind.into_iter().chain(unit).collect())
}

// What a series says of its metric family: told to the storage once per name and message.
fn describe(
    message: &[u8],
    labels: &[u64],
    symbols: &Symbols<'_>,
    (described, allowance): (&mut HashSet<u64>, &mut Allowance),
    appender: &mut dyn Appender,
) -> Result<(), WireError> {
    let (pairs, _) = labels.as_chunks::<2>();
    let name = pairs.iter().find(|pair| symbols.name == Some(pair[0]));
    let Some(&[_, name]) = name else {
        return Ok(());
    };
    if !described.insert(name) {
        return Ok(());
    }
    let (kind, help, unit) = read_metadata(message)?;
    if (kind, help, unit) == (0, 0, 0) {
        return Ok(());
    }
    // A help text that a thousand names have would be kept a thousand times.
    if allowance.take(symbols.length(&[name, help, unit])).is_err() {
        return Ok(());
    }
    let text = |number| {
        symbols
            .get(number)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let metadata = Metadata {
        kind: MetricType::of_number(kind),
        help: text(help).unwrap_or_default(),
        unit: text(unit).unwrap_or_default(),
    };
    let name = text(name).unwrap_or_default();
    appender.describe(family(&name, metadata.kind), &metadata);
    Ok(())
}

/// The name of the family that a series of this name is of: classic histograms and summaries have several.
pub(crate) fn family(name: &str, kind: MetricType) -> &str {
    let suffixes: &[&str] = match kind {
        MetricType::Histogram | MetricType::GaugeHistogram => &["_bucket", "_sum", "_count"],
        MetricType::Summary => &["_sum", "_count"],
        _ => &[],
    };
    suffixes
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name)
}
