//! The answer to a query as JSON, written piece by piece from the engine's columns.

use std::fmt::Write as _;
use std::ops::Range;

use cupola_engine::{Memory, QueryResult, QueryStats, QueryValue};
use cupola_histogram::FloatHistogram;
use cupola_model::{Labels, push_4_digits, push_f64, push_u64};
use cupola_storage::{SampleValue, Samples};

use crate::api::json::{write_labels, write_notes, write_str};
use crate::api::stream::Pieces;

/// Writes `{"status":"success","data":{"resultType":…,"result":…,"stats":…},"warnings":…}`.
pub(super) struct ResultWriter {
    at: Place,
    kind: &'static str,
    series: SeriesLeft,
    // Written after the series.
    tail: String,
    points: Points,
    labels: String,
    // The columns' share of the ledger; they go, and it goes, when the answer is sent.
    _memory: Memory,
}

enum Place {
    Head,
    First,
    Next,
    Inside(Row),
    Tail,
    Done,
}

// A series of a matrix that is being written.
struct Row {
    samples: Samples,
    float: usize,
    histogram: usize,
}

enum SeriesLeft {
    Point(i64, Point),
    Vector(std::vec::IntoIter<(Labels, i64, SampleValue)>),
    Matrix(std::vec::IntoIter<(Labels, Samples)>),
}

enum Point {
    Number(f64),
    Text(String),
}

impl ResultWriter {
    /// `step_stats` are the start and the step of the query, in milliseconds, where statistics of each step are shown.
    pub(super) fn new(result: QueryResult, stats: Option<Stats>) -> Self {
        let mut tail = String::new();
        if let Some(stats) = stats {
            tail.push_str(",\"stats\":");
            write_stats(&mut tail, &result.stats, stats);
        }
        tail.push('}');
        write_notes(&mut tail, &result.warnings, &result.infos);
        tail.push('}');
        Self {
            at: Place::Head,
            kind: result.value.type_name(),
            series: match result.value {
                QueryValue::Scalar(at, value) => SeriesLeft::Point(at, Point::Number(value)),
                QueryValue::String(at, text) => SeriesLeft::Point(at, Point::Text(text)),
                QueryValue::Vector(rows) => SeriesLeft::Vector(rows.into_iter()),
                QueryValue::Matrix(rows) => SeriesLeft::Matrix(rows.into_iter()),
            },
            tail,
            points: Points::default(),
            labels: String::new(),
            _memory: result.memory,
        }
    }

    fn head(&mut self, out: &mut Vec<u8>) -> Place {
        out.extend_from_slice(b"{\"status\":\"success\",\"data\":{\"resultType\":\"");
        out.extend_from_slice(self.kind.as_bytes());
        out.extend_from_slice(b"\",\"result\":[");
        if let SeriesLeft::Point(at, point) = &self.series {
            self.points.seconds.push(out, *at);
            out.push(b',');
            match point {
                Point::Number(value) => quoted(out, *value),
                Point::Text(text) => {
                    self.labels.clear();
                    write_str(&mut self.labels, text);
                    out.extend_from_slice(self.labels.as_bytes());
                }
            }
            return Place::Tail;
        }
        Place::First
    }

    // Begins the next series, after a comma where it is not the first.
    fn next(&mut self, out: &mut Vec<u8>, comma: &[u8]) -> Place {
        match &mut self.series {
            SeriesLeft::Point(..) => Place::Tail,
            SeriesLeft::Vector(rows) => {
                let Some((labels, at, value)) = rows.next() else {
                    return Place::Tail;
                };
                out.extend_from_slice(comma);
                metric(out, &mut self.labels, &labels);
                match value {
                    SampleValue::Float(value) => {
                        out.extend_from_slice(b",\"value\":");
                        self.points.push(out, 0, at, value);
                    }
                    SampleValue::Histogram(value) => {
                        out.extend_from_slice(b",\"histogram\":");
                        histogram_sample(out, &mut self.points.seconds, at, &value);
                    }
                }
                out.push(b'}');
                Place::Next
            }
            SeriesLeft::Matrix(rows) => {
                let Some((labels, samples)) = rows.next() else {
                    return Place::Tail;
                };
                out.extend_from_slice(comma);
                metric(out, &mut self.labels, &labels);
                Place::Inside(Row {
                    samples,
                    float: 0,
                    histogram: 0,
                })
            }
        }
    }

    // Goes on with a series until `full` bytes are there.
    fn inside(&mut self, out: &mut Vec<u8>, mut row: Row, full: usize) -> Place {
        let floats = row.samples.ts.iter().zip(&row.samples.values);
        for (at, value) in floats.skip(row.float) {
            if out.len() >= full {
                return Place::Inside(row);
            }
            if row.float == 0 {
                out.extend_from_slice(b",\"values\":[");
            }
            self.points.push(out, row.float, *at, *value);
            row.float += 1;
            if row.float == row.samples.len() {
                out.push(b']');
            }
        }
        let histograms = row.samples.histograms.ts.iter().zip(&row.samples.histograms.values);
        for (at, value) in histograms.skip(row.histogram) {
            if out.len() >= full {
                return Place::Inside(row);
            }
            out.extend_from_slice(if row.histogram == 0 { b",\"histograms\":[" } else { b"," });
            histogram_sample(out, &mut self.points.seconds, *at, value);
            row.histogram += 1;
            if row.histogram == row.samples.histograms.len() {
                out.push(b']');
            }
        }
        out.push(b'}');
        Place::Next
    }
}

impl Pieces for ResultWriter {
    fn write(&mut self, out: &mut Vec<u8>, length: usize) -> bool {
        let full = out.len().saturating_add(length);
        self.points.begin();
        loop {
            let next = match std::mem::replace(&mut self.at, Place::Done) {
                Place::Head => self.head(out),
                Place::First => self.next(out, b""),
                Place::Next => self.next(out, b","),
                Place::Inside(row) => self.inside(out, row, full),
                Place::Tail => {
                    out.push(b']');
                    out.extend_from_slice(self.tail.as_bytes());
                    Place::Done
                }
                Place::Done => return false,
            };
            self.at = next;
            if out.len() >= full {
                return !matches!(self.at, Place::Done);
            }
        }
    }
}

fn metric(out: &mut Vec<u8>, text: &mut String, labels: &Labels) {
    text.clear();
    write_labels(text, labels);
    out.extend_from_slice(b"{\"metric\":");
    out.extend_from_slice(text.as_bytes());
}

fn quoted(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    push_f64(out, value);
    out.push(b'"');
}

// `[time,{"count":"1","sum":"2","buckets":[[0,"1","2","3"]]}]`; the first number of a bucket says which of its bounds
// belong to it.
fn histogram_sample(out: &mut Vec<u8>, seconds: &mut Seconds, ms: i64, histogram: &FloatHistogram) {
    out.push(b'[');
    seconds.push(out, ms);
    out.extend_from_slice(b",{\"count\":");
    quoted(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    quoted(out, histogram.sum);
    let mut separator: &[u8] = b",\"buckets\":[[";
    for bucket in histogram.api_buckets() {
        out.extend_from_slice(separator);
        separator = b"],[";
        push_u64(out, u64::from(bucket.boundaries));
        for value in [bucket.lower, bucket.upper, bucket.count] {
            out.push(b',');
            quoted(out, value);
        }
    }
    if separator == b"],[" {
        out.extend_from_slice(b"]]");
    }
    out.extend_from_slice(b"}]");
}

/// Writes the points of a series. Series of one answer have the same times as a rule, and many do not change for long:
/// what was written last is copied.
#[derive(Default)]
struct Points {
    seconds: Seconds,
    // Of the points of a series, one after the other.
    times: Vec<TimeText>,
    // The bits of the last value, and where it was written.
    bits: u64,
    written: Range<usize>,
}

// `,[time,"`
struct TimeText {
    ms: i64,
    // The longest has 19 digits, a sign, a point, and what is around.
    text: [u8; 32],
    len: usize,
}

impl TimeText {
    fn of(seconds: &mut Seconds, ms: i64) -> Self {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend_from_slice(b",[");
        seconds.push(&mut bytes, ms);
        bytes.extend_from_slice(b",\"");
        let mut text = [0; 32];
        for (to, from) in text.iter_mut().zip(&bytes) {
            *to = *from;
        }
        let len = bytes.len();
        Self { ms, text, len }
    }
}

impl Points {
    /// Begins a new buffer.
    fn begin(&mut self) {
        self.written = 0..0;
    }

    /// `,[time,"value"]` of the point at `index`; the first has no comma.
    fn push(&mut self, out: &mut Vec<u8>, index: usize, ms: i64, value: f64) {
        if self.times.get(index).is_none_or(|time| time.ms != ms) {
            let time = TimeText::of(&mut self.seconds, ms);
            match self.times.get_mut(index) {
                Some(slot) => *slot = time,
                // Points are written in their order.
                None => self.times.push(time),
            }
        }
        let Some(time) = self.times.get(index) else { return };
        let text = time.text.get(usize::from(index == 0)..time.len).unwrap_or_default();
        out.extend_from_slice(text);
        if self.bits == value.to_bits() && !self.written.is_empty() {
            out.extend_from_within(self.written.clone());
        } else {
            let start = out.len();
            push_f64(out, value);
            self.bits = value.to_bits();
            self.written = start..out.len();
        }
        out.extend_from_slice(b"\"]");
    }
}

/// Writes times in seconds with up to three decimals, as Prometheus does.
///
/// Times of one answer have their first digits in common; those are kept as text.
#[derive(Default)]
pub(crate) struct Seconds {
    // Seconds / 10,000, whose digits are in `text`.
    high: u64,
    text: Vec<u8>,
}

impl Seconds {
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, ms: i64) {
        if ms < 0 {
            out.push(b'-');
        }
        let ms = ms.unsigned_abs();
        let (seconds, rest) = (ms / 1000, ms % 1000);
        let high = seconds / 10_000;
        if high == 0 {
            push_u64(out, seconds);
        } else {
            if high != self.high {
                self.high = high;
                self.text.clear();
                push_u64(&mut self.text, high);
            }
            out.extend_from_slice(&self.text);
            push_4_digits(out, seconds);
        }
        if rest > 0 {
            let digit = |n: u64| b'0' + (n % 10) as u8;
            let digits = [b'.', digit(rest / 100), digit(rest / 10), digit(rest)];
            let zeros = if rest % 100 == 0 {
                2
            } else {
                usize::from(rest % 10 == 0)
            };
            out.extend_from_slice(digits.get(..digits.len() - zeros).unwrap_or_default());
        }
    }
}

/// Which statistics are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stats {
    /// Those of the whole query.
    Sums,
    /// Those of each step, too; the steps begin at `start` and are `step` apart, milliseconds.
    Steps { start: i64, step: i64 },
}

fn write_stats(out: &mut String, stats: &QueryStats, shown: Stats) {
    let times = &stats.timings;
    let evaluated = times.preparation + times.evaluation + times.result;
    for (i, (name, time)) in [
        ("evalTotalTime", evaluated),
        ("resultSortTime", times.result),
        ("queryPreparationTime", times.preparation),
        ("innerEvalTime", times.evaluation),
        ("execQueueTime", times.queue),
        ("execTotalTime", times.total),
    ]
    .into_iter()
    .enumerate()
    {
        out.push_str(if i == 0 { "{\"timings\":{" } else { "," });
        let _ = write!(out, "\"{name}\":{}", time.as_secs_f64());
    }
    out.push_str("},\"samples\":{");
    if let Stats::Steps { start, step } = shown
        && !stats.queryable_per_step.is_empty()
    {
        let (mut text, mut seconds) = (Vec::new(), Seconds::default());
        for (at, count) in (0_i64..).zip(&stats.queryable_per_step) {
            text.extend_from_slice(if at == 0 { b"[" } else { b",[" });
            seconds.push(&mut text, start.saturating_add(step.saturating_mul(at)));
            text.push(b',');
            push_u64(&mut text, *count);
            text.push(b']');
        }
        let _ = write!(
            out,
            "\"totalQueryableSamplesPerStep\":[{}],",
            String::from_utf8_lossy(&text)
        );
    }
    let _ = write!(
        out,
        "\"totalQueryableSamples\":{},\"samplesRead\":{},\"peakSamples\":{}}}}}",
        stats.total_queryable_samples, stats.samples_read, stats.peak_samples,
    );
}

#[cfg(test)]
mod tests;
