//! The protobuf format: `io.prometheus.client.MetricFamily` messages, each behind its length.
//!
//! Everything but native histograms is written out as OpenMetrics, which the parser then reads: so a series has one
//! spelling whatever format it came in. Native histograms, which no text format has, stand beside the text.

use std::ops::Range;
use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FloatHistogram, Histogram, NativeHistogram};
use cupola_model::{MetricType, is_valid_legacy_label_name, is_valid_legacy_metric_name};
use thiserror::Error;

use self::wire::{Fields, Value, doubles, int, real, sints, spans, text};
use crate::number::{write_float, write_openmetrics_float};
use crate::writer::escape;
use crate::{Exemplar, Series};

mod wire;
mod write;

pub use write::FamilyWriter;

/// The text that a body may become: labels stand in the body once, but in the text once for each bucket.
const MAX_TEXT: usize = 256 << 20;

/// Why a body is not in the format.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("protobuf: family {family} {}: {message}", cupola_model::go_quote(.name))]
pub struct ProtobufError {
    /// The family's number in the body, from 1.
    pub family: usize,
    /// Its name, empty where it was not reached.
    pub name: String,
    /// What is wrong.
    pub message: &'static str,
}

/// What to make of histograms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Native ones as such (`scrape_native_histograms`); otherwise their classic buckets, if they have some.
    pub native: bool,
    /// Of native ones the classic buckets, too (`always_scrape_classic_histograms`).
    pub classic_too: bool,
}

/// A body as it was understood.
#[derive(Debug, Default)]
pub struct Decoded {
    pub(crate) text: Vec<u8>,
    // Series and exemplars' labels of the native histograms, as text.
    pub(crate) names: Vec<u8>,
    pub(crate) natives: Vec<Native>,
    // How many samples the text has, and since when those count of which it is told.
    pub(crate) samples: usize,
    pub(crate) starts: Vec<(usize, i64)>,
}

#[derive(Debug)]
pub(crate) struct Native {
    pub(crate) series: Range<usize>,
    pub(crate) kind: MetricType,
    pub(crate) histogram: NativeHistogram,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) start_ms: Option<i64>,
    pub(crate) exemplars: Vec<(Range<usize>, f64, i64)>,
}

/// A native histogram and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct NativeEntry<'a> {
    /// The series it belongs to.
    pub series: Series<'a>,
    /// The value, not validated.
    pub histogram: &'a NativeHistogram,
    /// The target's own time in milliseconds since the epoch, where it sent one.
    pub timestamp_ms: Option<i64>,
    /// Since when it counts, in milliseconds since the epoch, where the target told.
    pub start_ms: Option<i64>,
    /// Its exemplars; all of them have a time.
    pub exemplars: Vec<Exemplar<'a>>,
}

impl Decoded {
    /// All but the native histograms, in OpenMetrics, or in the format that classic ones were converted in.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Since when samples of the text count, in milliseconds since the epoch, by their numbers from 0 on, ascending; of
    /// those of which the target told.
    #[must_use]
    pub fn starts(&self) -> &[(usize, i64)] {
        &self.starts
    }

    /// All but the native histograms, which stay, as do the starts of the text.
    #[must_use]
    pub fn take_text(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }

    /// The native histograms, in the order they were sent.
    pub fn natives(&self) -> impl Iterator<Item = NativeEntry<'_>> {
        let named = |range: &Range<usize>| self.names.get(range.clone()).unwrap_or(&[]);
        self.natives.iter().map(move |native| NativeEntry {
            series: Series {
                raw: named(&native.series),
                kind: native.kind,
            },
            histogram: &native.histogram,
            timestamp_ms: native.timestamp_ms,
            start_ms: native.start_ms,
            exemplars: (native.exemplars.iter())
                .map(|(labels, value, ts)| Exemplar {
                    raw: named(labels),
                    value: *value,
                    timestamp_ms: Some(*ts),
                })
                .collect(),
        })
    }
}

/// Reads a body of delimited `MetricFamily` messages. Unknown fields are passed over.
///
/// # Errors
/// [`ProtobufError`] at the first family that is broken, or whose text would make 256 MiB.
pub fn decode(body: &[u8], wanted: Wanted) -> Result<Decoded, ProtobufError> {
    let mut out = Decoded::default();
    let mut rest = Fields(body);
    let mut number = 0;
    while !rest.0.is_empty() {
        number += 1;
        let mut name = "";
        let message = rest.sized().map_err(<&str>::from);
        let done = message.and_then(|message| family(message, wanted, &mut out, &mut name));
        done.map_err(|message| ProtobufError {
            family: number,
            name: name.chars().take(100).collect(),
            message,
        })?;
    }
    out.text.extend_from_slice(b"# EOF\n");
    Ok(out)
}

/// What the unit of a family stands at the end of: here a counter is called with `_total`, which OpenMetrics leaves out.
pub(crate) fn unit_stem(name: &str, kind: MetricType) -> &str {
    match kind {
        MetricType::Counter => name.strip_suffix("_total").unwrap_or(name),
        _ => name,
    }
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

fn family<'a>(message: &'a [u8], wanted: Wanted, out: &mut Decoded, name: &mut &'a str) -> Result<(), &'static str> {
    let (mut help, mut unit, mut kind) = ("", "", 0);
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(bytes)) => *name = text(bytes)?,
            (2, Value::Bytes(bytes)) => help = text(bytes)?,
            (3, Value::Varint(number)) => kind = number,
            (5, Value::Bytes(bytes)) => unit = text(bytes)?,
            _ => {}
        }
    }
    if name.is_empty() {
        return Err("invalid metric name");
    }
    let (kind, word) = match kind {
        0 => (MetricType::Counter, "counter"),
        1 => (MetricType::Gauge, "gauge"),
        2 => (MetricType::Summary, "summary"),
        4 => (MetricType::Histogram, "histogram"),
        5 => (MetricType::GaugeHistogram, "gaugehistogram"),
        _ => (MetricType::Unknown, "unknown"),
    };
    let mut says = |what: &str, text: &str| {
        out.text.extend_from_slice(what.as_bytes());
        metadata_name(&mut out.text, name);
        out.text.push(b' ');
        escape(&mut out.text, text, true);
        out.text.push(b'\n');
    };
    if !help.is_empty() {
        says("# HELP ", help);
    }
    says("# TYPE ", word);
    // A unit that the name does not end with is none, for the parser of the text.
    if !unit.is_empty() && unit_stem(name, kind).ends_with(unit) {
        says("# UNIT ", unit);
    }
    for field in Fields(message) {
        if let (4, Value::Bytes(bytes)) = field? {
            metric(bytes, name, kind, wanted, out)?;
        }
        if out.text.len() + out.names.len() > MAX_TEXT {
            return Err("the body's text would be longer than 256 MiB");
        }
    }
    Ok(())
}

fn metric(message: &[u8], name: &str, kind: MetricType, wanted: Wanted, out: &mut Decoded) -> Result<(), &'static str> {
    let field_of_kind = match kind {
        MetricType::Gauge => 2,
        MetricType::Counter => 3,
        MetricType::Summary => 4,
        MetricType::Histogram | MetricType::GaugeHistogram => 7,
        _ => 5,
    };
    let (mut labels, mut value, mut ts) = (Pairs::new(), &[][..], 0);
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(bytes)) => labels.push(label(bytes)?),
            (6, Value::Varint(ms)) => ts = ms as i64,
            (number, Value::Bytes(bytes)) if number == field_of_kind => value = bytes,
            _ => {}
        }
    }
    let mut line = Lines {
        out: &mut *out,
        name,
        labels: &labels,
        ts,
        start: None,
    };
    match kind {
        MetricType::Summary => summary(value, &mut line),
        MetricType::Histogram | MetricType::GaugeHistogram => histogram(value, name, &labels, ts, kind, wanted, out),
        _ => {
            let (mut number, mut exemplar) = (0.0, None);
            for field in Fields(value) {
                match field? {
                    (1, value) => number = real(value),
                    (2, Value::Bytes(bytes)) if kind == MetricType::Counter => exemplar = Some(bytes),
                    (3, Value::Bytes(bytes)) if kind == MetricType::Counter => {
                        line.start = Some(wire::timestamp(bytes)?);
                    }
                    _ => {}
                }
            }
            line.sample("", None, number, exemplar)
        }
    }
}

fn label(message: &[u8]) -> Result<(&str, &str), &'static str> {
    let mut pair = ("", "");
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(bytes)) => pair.0 = text(bytes)?,
            (2, Value::Bytes(bytes)) => pair.1 = text(bytes)?,
            _ => {}
        }
    }
    if pair.0.is_empty() {
        return Err("invalid label name");
    }
    Ok(pair)
}

fn summary(message: &[u8], line: &mut Lines<'_>) -> Result<(), &'static str> {
    let (mut count, mut sum) = (0, 0.0);
    for field in Fields(message) {
        match field? {
            (1, value) => count = int(value),
            (2, value) => sum = real(value),
            (4, Value::Bytes(bytes)) => line.start = Some(wire::timestamp(bytes)?),
            _ => {}
        }
    }
    line.sample("_count", None, count as f64, None)?;
    line.sample("_sum", None, sum, None)?;
    for field in Fields(message) {
        if let (3, Value::Bytes(bytes)) = field? {
            let (mut quantile, mut number) = (0.0, 0.0);
            for field in Fields(bytes) {
                match field? {
                    (1, value) => quantile = real(value),
                    (2, value) => number = real(value),
                    _ => {}
                }
            }
            line.sample("", Some(("quantile", quantile)), number, None)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Read<'a> {
    count: u64,
    count_float: f64,
    zero_count_float: f64,
    positive_counts: Vec<f64>,
    negative_counts: Vec<f64>,
    buckets: Vec<Bucket<'a>>,
    exemplars: Vec<&'a [u8]>,
    start_ms: Option<i64>,
    integer: Histogram,
}

#[derive(Default)]
struct Bucket<'a> {
    count: u64,
    count_float: f64,
    upper: f64,
    exemplar: Option<&'a [u8]>,
}

fn read_histogram(message: &[u8]) -> Result<Read<'_>, &'static str> {
    let mut read = Read::default();
    let h = &mut read.integer;
    for field in Fields(message) {
        match field? {
            (1, value) => read.count = int(value),
            (2, value) => h.sum = real(value),
            (3, Value::Bytes(bytes)) => {
                let mut bucket = Bucket::default();
                for field in Fields(bytes) {
                    match field? {
                        (1, value) => bucket.count = int(value),
                        (2, value) => bucket.upper = real(value),
                        (3, Value::Bytes(bytes)) => bucket.exemplar = Some(bytes),
                        (4, value) => bucket.count_float = real(value),
                        _ => {}
                    }
                }
                read.buckets.push(bucket);
            }
            (4, value) => read.count_float = real(value),
            (5, Value::Varint(raw)) => h.schema = wire::sint(raw) as i32,
            (6, value) => h.zero_threshold = real(value),
            (7, value) => h.zero_count = int(value),
            (8, value) => read.zero_count_float = real(value),
            (9, Value::Bytes(bytes)) => spans(bytes, &mut h.negative_spans)?,
            (10, value) => sints(value, &mut h.negative_buckets)?,
            (11, value) => doubles(value, &mut read.negative_counts)?,
            (12, Value::Bytes(bytes)) => spans(bytes, &mut h.positive_spans)?,
            (13, value) => sints(value, &mut h.positive_buckets)?,
            (14, value) => doubles(value, &mut read.positive_counts)?,
            (15, Value::Bytes(bytes)) => read.start_ms = Some(wire::timestamp(bytes)?),
            (16, Value::Bytes(bytes)) => read.exemplars.push(bytes),
            _ => {}
        }
    }
    h.count = read.count;
    Ok(read)
}

fn histogram(
    message: &[u8],
    name: &str,
    labels: &Pairs<'_>,
    ts: i64,
    kind: MetricType,
    wanted: Wanted,
    out: &mut Decoded,
) -> Result<(), &'static str> {
    let mut read = read_histogram(message)?;
    let h = &mut read.integer;
    // As upstream tells them from classic ones.
    let has_spans = !h.positive_spans.is_empty() || !h.negative_spans.is_empty();
    let is_native = has_spans || h.zero_threshold > 0.0 || h.zero_count > 0;
    let is_float = read.count_float > 0.0 || read.zero_count_float > 0.0;
    let is_taken = is_native && wanted.native;
    if !is_taken || (wanted.classic_too && !read.buckets.is_empty()) {
        let mut line = Lines {
            out: &mut *out,
            name,
            labels,
            ts,
            start: read.start_ms,
        };
        let count = if is_float { read.count_float } else { read.count as f64 };
        line.sample("_count", None, count, None)?;
        line.sample("_sum", None, h.sum, None)?;
        let mut has_infinity = false;
        for bucket in &read.buckets {
            has_infinity |= bucket.upper == f64::INFINITY;
            let count = if is_float {
                bucket.count_float
            } else {
                bucket.count as f64
            };
            line.sample("_bucket", Some(("le", bucket.upper)), count, bucket.exemplar)?;
        }
        if !has_infinity {
            line.sample("_bucket", Some(("le", f64::INFINITY)), count, None)?;
        }
    }
    if !is_taken {
        return Ok(());
    }
    if kind == MetricType::GaugeHistogram {
        h.counter_reset_hint = CounterResetHint::Gauge;
    }
    let from = out.names.len();
    series(&mut out.names, name, "", labels, None);
    let series = from..out.names.len();
    let mut exemplars = Vec::new();
    if read.exemplars.is_empty() {
        read.exemplars
            .extend(read.buckets.iter().filter_map(|bucket| bucket.exemplar));
    }
    for bytes in read.exemplars {
        let exemplar = read_exemplar(bytes)?;
        // One without a time is left out, as upstream does for native histograms.
        if let Some(ts) = exemplar.ts {
            let from = out.names.len();
            braces(&mut out.names, &exemplar.labels);
            exemplars.push((from..out.names.len(), exemplar.value, ts));
        }
    }
    let h = std::mem::take(h);
    let histogram = if is_float {
        NativeHistogram::Float(FloatHistogram {
            counter_reset_hint: h.counter_reset_hint,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            zero_count: read.zero_count_float,
            count: read.count_float,
            sum: h.sum,
            positive_spans: h.positive_spans,
            negative_spans: h.negative_spans,
            positive_buckets: read.positive_counts,
            negative_buckets: read.negative_counts,
            custom_values: Arc::default(),
        })
    } else {
        NativeHistogram::Integer(h)
    };
    out.natives.push(Native {
        series,
        kind,
        histogram,
        timestamp_ms: (ts != 0).then_some(ts),
        start_ms: read.start_ms,
        exemplars,
    });
    Ok(())
}

struct ReadExemplar<'a> {
    labels: Pairs<'a>,
    value: f64,
    ts: Option<i64>,
}

fn read_exemplar(message: &[u8]) -> Result<ReadExemplar<'_>, &'static str> {
    let mut read = ReadExemplar {
        labels: Vec::new(),
        value: 0.0,
        ts: None,
    };
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(bytes)) => read.labels.push(label(bytes)?),
            (2, value) => read.value = real(value),
            (3, Value::Bytes(bytes)) => read.ts = Some(wire::timestamp(bytes)?),
            _ => {}
        }
    }
    Ok(read)
}

/// Writes the lines of one metric.
struct Lines<'a> {
    out: &'a mut Decoded,
    name: &'a str,
    labels: &'a [(&'a str, &'a str)],
    ts: i64,
    // Since when the metric counts.
    start: Option<i64>,
}

impl Lines<'_> {
    fn sample(
        &mut self,
        suffix: &str,
        extra: Option<(&str, f64)>,
        value: f64,
        exemplar: Option<&[u8]>,
    ) -> Result<(), &'static str> {
        let out = &mut self.out.text;
        if out.len() > MAX_TEXT {
            return Err("the body's text would be longer than 256 MiB");
        }
        self.out
            .starts
            .extend(self.start.map(|start| (self.out.samples, start)));
        self.out.samples += 1;
        series(out, self.name, suffix, self.labels, extra);
        out.push(b' ');
        write_float(out, value);
        if self.ts != 0 {
            time(out, self.ts);
        }
        if let Some(bytes) = exemplar {
            let exemplar = read_exemplar(bytes)?;
            out.extend_from_slice(b" # ");
            braces(out, &exemplar.labels);
            out.push(b' ');
            write_float(out, exemplar.value);
            if let Some(ts) = exemplar.ts {
                time(out, ts);
            }
        }
        out.push(b'\n');
        Ok(())
    }
}

// Seconds, with half a millisecond more: the parser cuts off what is below a millisecond, and seconds as a float may lie
// a little below the whole one.
fn time(out: &mut Vec<u8>, ms: i64) {
    let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
    out.extend_from_slice(format!(" {sign}{}.{:03}5", ms / 1000, ms % 1000).as_bytes());
}

fn metadata_name(out: &mut Vec<u8>, name: &str) {
    if is_valid_legacy_metric_name(name) {
        out.extend_from_slice(name.as_bytes());
    } else {
        quoted(out, &[name]);
    }
}

fn quoted(out: &mut Vec<u8>, parts: &[&str]) {
    out.push(b'"');
    for part in parts {
        escape(out, part, true);
    }
    out.push(b'"');
}

pub(crate) fn series(out: &mut Vec<u8>, name: &str, suffix: &str, labels: &[(&str, &str)], extra: Option<(&str, f64)>) {
    if is_valid_legacy_metric_name(name) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(suffix.as_bytes());
        if labels.is_empty() && extra.is_none() {
            return;
        }
        out.push(b'{');
    } else {
        out.push(b'{');
        quoted(out, &[name, suffix]);
        if !labels.is_empty() || extra.is_some() {
            out.push(b',');
        }
    }
    pairs(out, labels);
    if let Some((name, bound)) = extra {
        if !labels.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        write_openmetrics_float(out, bound);
        out.push(b'"');
    }
    out.push(b'}');
}

pub(crate) fn braces(out: &mut Vec<u8>, labels: &[(&str, &str)]) {
    out.push(b'{');
    pairs(out, labels);
    out.push(b'}');
}

fn pairs(out: &mut Vec<u8>, labels: &[(&str, &str)]) {
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if is_valid_legacy_label_name(name) {
            out.extend_from_slice(name.as_bytes());
        } else {
            quoted(out, &[name]);
        }
        out.push(b'=');
        quoted(out, &[value]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Format, Parser};

    #[test]
    fn a_counter_has_its_unit_before_total() {
        use cupola_testkit::protobuf::field;
        let unit_of = |name: &str, kind: u8, unit: &str| {
            let metric = field(4, &field(kind + 3 - 2 * u8::from(kind == 1), &[]));
            let family = [
                field(1, name.as_bytes()),
                vec![0x18, kind],
                metric,
                field(5, unit.as_bytes()),
            ]
            .concat();
            let body = [&[family.len() as u8][..], &family].concat();
            let decoded = decode(&body, Wanted::default()).unwrap();
            let entries: Result<Vec<Entry<'_>>, _> = Parser::new(Format::Protobuf, decoded.text()).collect();
            entries.unwrap().into_iter().find_map(|entry| match entry {
                Entry::Unit { name, unit } => Some(format!("{name} {unit}")),
                _ => None,
            })
        };
        let found = |name: &str, kind, unit| unit_of(name, kind, unit).unwrap_or_default();
        assert_eq!(found("x_bytes_total", 0, "bytes"), "x_bytes_total bytes");
        assert_eq!(found("x.y_bytes_total", 0, "bytes"), "x.y_bytes_total bytes");
        assert_eq!(found("x_bytes", 0, "bytes"), "x_bytes bytes");
        assert_eq!(found("x_bytes", 1, "bytes"), "x_bytes bytes");
        // Only counters have such a name.
        assert_eq!(found("x_bytes_total", 1, "bytes"), "");
        assert_eq!(found("x_total", 0, "bytes"), "");
        assert_eq!(found("x_total", 0, "total"), "");
    }

    #[test]
    fn no_bytes_panic_and_what_is_understood_is_good_openmetrics() {
        let counter = b"\x19\x0a\x01c\x18\x00\x22\x12\x0a\x05\x0a\x01a\x12\x00\x1a\x09\x09\0\0\0\0\0\0\0\x40".to_vec();
        let histogram =
            b"\x18\x0a\x01h\x18\x04\x22\x11\x3a\x0f\x08\x03\x28\x00\x62\x04\x08\x02\x10\x01\x6a\x01\x06\x1a\x00"
                .to_vec();
        let wanted = Wanted {
            native: true,
            classic_too: true,
        };
        assert_eq!(decode(&histogram, wanted).unwrap().natives().count(), 1);
        cupola_testkit::fuzz(5_000, &[counter, histogram], &[], |bytes| {
            let Ok(decoded) = decode(bytes, wanted) else { return };
            for entry in Parser::new(Format::Protobuf, decoded.text()) {
                assert!(entry.is_ok(), "{entry:?} of {bytes:?}");
            }
        });
    }
}
