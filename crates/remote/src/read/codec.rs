//! The messages: `prometheus.ReadRequest`, `ReadResponse` and `ChunkedReadResponse`.

use cupola_chunk::{Encoding, NativeValue, decode_native};
use cupola_histogram::NativeHistogram;
use cupola_model::{Labels, MatchOp, Matcher};
use cupola_storage::Samples;

use crate::histograms::read_histogram;
use crate::send::proto;
use cupola_wire::{Fields, Value, WireError, uints};

/// How an answer may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseType {
    Samples,
    Chunks,
}

/// One question. Times in milliseconds, both inclusive.
#[derive(Debug)]
pub(super) struct Query {
    pub start: i64,
    pub end: i64,
    pub matchers: Vec<Matcher>,
    pub hints: Option<Hints>,
}

/// What a question is for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Hints {
    pub start: i64,
    pub end: i64,
    pub func: String,
}

#[derive(Debug, Default)]
pub(super) struct Request {
    pub queries: Vec<Query>,
    /// Numbers as they were sent, in the order of preference.
    pub accepted: Vec<u64>,
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
}

fn told(error: WireError) -> String {
    error.to_string()
}

pub(super) fn read_request(message: &[u8]) -> Result<Request, String> {
    let mut request = Request::default();
    for field in Fields(message) {
        match field.map_err(told)? {
            (1, Value::Bytes(query)) => request.queries.push(read_query(query)?),
            (2, value) => uints(value, &mut request.accepted).map_err(told)?,
            _ => {}
        }
    }
    Ok(request)
}

fn read_query(message: &[u8]) -> Result<Query, String> {
    let mut query = Query {
        start: 0,
        end: 0,
        matchers: Vec::new(),
        hints: None,
    };
    for field in Fields(message) {
        match field.map_err(told)? {
            (1, Value::Varint(time)) => query.start = time as i64,
            (2, Value::Varint(time)) => query.end = time as i64,
            (3, Value::Bytes(matcher)) => {
                let (mut op, mut name, mut value) = (0, String::new(), String::new());
                for field in Fields(matcher) {
                    match field.map_err(told)? {
                        (1, Value::Varint(kind)) => op = kind,
                        (2, Value::Bytes(bytes)) => name = text(bytes)?,
                        (3, Value::Bytes(bytes)) => value = text(bytes)?,
                        _ => {}
                    }
                }
                let op = match op {
                    0 => MatchOp::Equal,
                    1 => MatchOp::NotEqual,
                    2 => MatchOp::Regex,
                    3 => MatchOp::NotRegex,
                    _ => return Err("invalid matcher type".to_owned()),
                };
                let matcher = Matcher::new(name, op, value).map_err(|error| error.to_string())?;
                query.matchers.push(matcher);
            }
            (4, Value::Bytes(message)) => {
                let mut hints = Hints::default();
                for field in Fields(message) {
                    match field.map_err(told)? {
                        (2, Value::Bytes(bytes)) => hints.func = text(bytes)?,
                        (3, Value::Varint(time)) => hints.start = time as i64,
                        (4, Value::Varint(time)) => hints.end = time as i64,
                        _ => {}
                    }
                }
                query.hints = Some(hints);
            }
            _ => {}
        }
    }
    Ok(query)
}

/// A request with one question, that takes either kind of answer, chunks rather than samples.
pub(super) fn write_request(query: &Query) -> Vec<u8> {
    let mut out = Vec::new();
    cupola_wire::number(&mut out, 1, query.start as u64);
    cupola_wire::number(&mut out, 2, query.end as u64);
    for matcher in &query.matchers {
        let mut one = Vec::new();
        let op = match matcher.op() {
            MatchOp::Equal => 0,
            MatchOp::NotEqual => 1,
            MatchOp::Regex => 2,
            MatchOp::NotRegex => 3,
        };
        cupola_wire::number(&mut one, 1, op);
        cupola_wire::text(&mut one, 2, matcher.name());
        cupola_wire::text(&mut one, 3, matcher.value());
        cupola_wire::bytes(&mut out, 3, &one);
    }
    if let Some(hints) = &query.hints {
        let mut one = Vec::new();
        cupola_wire::text(&mut one, 2, &hints.func);
        cupola_wire::number(&mut one, 3, hints.start as u64);
        cupola_wire::number(&mut one, 4, hints.end as u64);
        cupola_wire::bytes(&mut out, 4, &one);
    }
    let mut request = Vec::new();
    cupola_wire::bytes(&mut request, 1, &out);
    cupola_wire::bytes(&mut request, 2, &[1, 0]);
    request
}

/// A series as a field of a `QueryResult`.
pub(super) fn write_series(out: &mut Vec<u8>, labels: &Labels, samples: &Samples) {
    let mut series = Vec::new();
    proto::put_labels(&mut series, labels);
    for (ts, value) in samples.ts.iter().zip(&samples.values) {
        proto::sample(&mut series, *value, *ts, 0);
    }
    for (ts, value) in samples.histograms.ts.iter().zip(&samples.histograms.values) {
        let histogram = NativeHistogram::Float((**value).clone());
        cupola_wire::bytes(&mut series, 4, &proto::histogram(&histogram, *ts, 0));
    }
    cupola_wire::bytes(out, 1, &series);
}

type Selected = Vec<(Labels, Samples)>;

/// Reads a `ReadResponse` to one question.
pub(super) fn read_response(message: &[u8], out: &mut Selected) -> Result<(), String> {
    for field in Fields(message) {
        let (1, Value::Bytes(result)) = field.map_err(told)? else {
            continue;
        };
        for field in Fields(result) {
            if let (1, Value::Bytes(series)) = field.map_err(told)? {
                out.push(read_series(series)?);
            }
        }
    }
    Ok(())
}

fn read_label(message: &[u8]) -> Result<(String, String), String> {
    let (mut name, mut value) = (String::new(), String::new());
    for field in Fields(message) {
        match field.map_err(told)? {
            (1, Value::Bytes(bytes)) => name = text(bytes)?,
            (2, Value::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn read_series(message: &[u8]) -> Result<(Labels, Samples), String> {
    let (mut pairs, mut all) = (Vec::new(), Vec::new());
    for field in Fields(message) {
        match field.map_err(told)? {
            (1, Value::Bytes(label)) => pairs.push(read_label(label)?),
            (2, Value::Bytes(sample)) => {
                let (mut value, mut ts) = (0.0, 0);
                for field in Fields(sample) {
                    match field.map_err(told)? {
                        (1, Value::Fixed64(bits)) => value = f64::from_bits(bits),
                        (2, Value::Varint(time)) => ts = time as i64,
                        _ => {}
                    }
                }
                all.push((ts, NativeValue::Float(value)));
            }
            (4, Value::Bytes(histogram)) => {
                let (ts, histogram) = read_histogram(histogram).map_err(told)?;
                all.push((ts, NativeValue::Histogram(histogram)));
            }
            _ => {}
        }
    }
    Ok((Labels::from_pairs(pairs), samples(all)?))
}

// In the order of time, each time once; nothing is believed of the sender.
fn samples(mut all: Vec<(i64, NativeValue)>) -> Result<Samples, String> {
    all.sort_by_key(|(ts, _)| *ts);
    all.dedup_by_key(|(ts, _)| *ts);
    let mut out = Samples::default();
    for (ts, value) in all {
        match value {
            NativeValue::Float(value) => out.push(ts, value),
            NativeValue::Histogram(histogram) => {
                histogram.validate().map_err(|invalid| invalid.to_string())?;
                out.histograms.push(ts, histogram.to_float().into(), 0);
            }
        }
    }
    Ok(out)
}

/// Reads the message of one frame, a `ChunkedReadResponse`. A series may come in several frames, one after the other.
pub(super) fn read_frame(message: &[u8], out: &mut Vec<(Labels, Vec<(i64, NativeValue)>)>) -> Result<(), String> {
    for field in Fields(message) {
        let (1, Value::Bytes(series)) = field.map_err(told)? else {
            continue;
        };
        let (mut pairs, mut all) = (Vec::new(), Vec::new());
        for field in Fields(series) {
            match field.map_err(told)? {
                (1, Value::Bytes(label)) => pairs.push(read_label(label)?),
                (2, Value::Bytes(chunk)) => {
                    let (mut kind, mut data) = (0, &[][..]);
                    for field in Fields(chunk) {
                        match field.map_err(told)? {
                            (3, Value::Varint(value)) => kind = value,
                            (4, Value::Bytes(bytes)) => data = bytes,
                            _ => {}
                        }
                    }
                    let encoding = Encoding::ALL
                        .into_iter()
                        .find(|encoding| u64::from(encoding.as_byte()) == kind)
                        .ok_or_else(|| format!("chunks of type {kind} are not known"))?;
                    decode_native(encoding, data, &mut all).map_err(|error| error.to_string())?;
                }
                _ => {}
            }
        }
        let labels = Labels::from_pairs(pairs);
        match out.last_mut() {
            Some((last, samples)) if *last == labels => samples.append(&mut all),
            _ => out.push((labels, all)),
        }
    }
    Ok(())
}

/// Ends reading frames.
pub(super) fn whole(all: Vec<(Labels, Vec<(i64, NativeValue)>)>) -> Result<Selected, String> {
    all.into_iter()
        .map(|(labels, values)| Ok((labels, samples(values)?)))
        .collect()
}

/// Length, checksum and message, as they follow one another in a streamed answer.
pub(super) fn put_frame(out: &mut Vec<u8>, message: &[u8]) {
    cupola_wire::uvarint(out, message.len() as u64);
    out.extend(crc32c::crc32c(message).to_be_bytes());
    out.extend_from_slice(message);
}

/// The next frame's message.
pub(super) fn take_frame<'a>(rest: &mut &'a [u8], largest: u64) -> Result<Option<&'a [u8]>, String> {
    if rest.is_empty() {
        return Ok(None);
    }
    let cut = || "the answer ends in the middle of a frame".to_owned();
    let mut length = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first().ok_or_else(cut)?;
        *rest = behind;
        length |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            break;
        }
    }
    if length > largest {
        return Err(format!(
            "chunkedReader: message size exceeded the limit {largest} bytes; got: {length} bytes"
        ));
    }
    let (sum, behind) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let length = usize::try_from(length).map_err(|_| cut())?;
    let (message, behind) = behind.split_at_checked(length).ok_or_else(cut)?;
    if crc32c::crc32c(message) != u32::from_be_bytes(*sum) {
        return Err("chunkedReader: corrupted frame; checksum mismatch".to_owned());
    }
    *rest = behind;
    Ok(Some(message))
}
