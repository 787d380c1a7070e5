//! Messages of remote write, written: `prometheus.WriteRequest` and `io.prometheus.write.v2.Request`.

use cupola_histogram::{CounterResetHint, NativeHistogram, Span};
use cupola_model::Labels;
use cupola_storage::Metadata;
use cupola_wire::{bytes, number, number_of_choice, text, uvarint, zigzag};
use foldhash::HashMap;

fn double(out: &mut Vec<u8>, field: u8, value: f64) {
    if value.to_bits() != 0 {
        double_of_choice(out, field, value);
    }
}

fn double_of_choice(out: &mut Vec<u8>, field: u8, value: f64) {
    uvarint(out, u64::from(field) << 3 | 1);
    out.extend(value.to_bits().to_le_bytes());
}

/// Labels as fields of a series or an exemplar of the first version.
pub(crate) fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    let mut label = Vec::new();
    for (name, value) in labels {
        label.clear();
        text(&mut label, 1, name);
        text(&mut label, 2, value);
        bytes(out, 1, &label);
    }
}

// The start is 0 where it is not known, and in the first version.
pub(crate) fn sample(out: &mut Vec<u8>, value: f64, ts: i64, start: i64) {
    // Its length is one byte, which is known afterwards.
    out.extend([2 << 3 | 2, 0]);
    let begin = out.len();
    double(out, 1, value);
    number(out, 2, ts as u64);
    number(out, 3, start as u64);
    let length = (out.len() - begin) as u8;
    if let Some(place) = out.get_mut(begin - 1) {
        *place = length;
    }
}

fn spans(out: &mut Vec<u8>, field: u8, spans: &[Span]) {
    let mut span = Vec::new();
    for one in spans {
        span.clear();
        number(&mut span, 1, zigzag(one.offset.into()));
        number(&mut span, 2, one.length.into());
        bytes(out, field, &span);
    }
}

fn doubles(out: &mut Vec<u8>, field: u8, values: &[f64]) {
    if !values.is_empty() {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
        bytes(out, field, &packed);
    }
}

fn deltas(out: &mut Vec<u8>, field: u8, values: &[i64]) {
    if !values.is_empty() {
        let mut packed = Vec::with_capacity(values.len() * 2);
        values.iter().for_each(|value| uvarint(&mut packed, zigzag(*value)));
        bytes(out, field, &packed);
    }
}

/// Both versions have the same message for it, but for the start, which is 0 in the first one.
pub(crate) fn histogram(histogram: &NativeHistogram, ts: i64, start: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(200);
    let hint = |hint| match hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::CounterReset => 1,
        CounterResetHint::NotCounterReset => 2,
        CounterResetHint::Gauge => 3,
    };
    let (hint, custom_values) = match histogram {
        NativeHistogram::Integer(own) => {
            number_of_choice(&mut out, 1, own.count);
            double(&mut out, 3, own.sum);
            number(&mut out, 4, zigzag(own.schema.into()));
            double(&mut out, 5, own.zero_threshold);
            number_of_choice(&mut out, 6, own.zero_count);
            spans(&mut out, 8, &own.negative_spans);
            deltas(&mut out, 9, &own.negative_buckets);
            spans(&mut out, 11, &own.positive_spans);
            deltas(&mut out, 12, &own.positive_buckets);
            (hint(own.counter_reset_hint), &own.custom_values)
        }
        NativeHistogram::Float(own) => {
            double_of_choice(&mut out, 2, own.count);
            double(&mut out, 3, own.sum);
            number(&mut out, 4, zigzag(own.schema.into()));
            double(&mut out, 5, own.zero_threshold);
            double_of_choice(&mut out, 7, own.zero_count);
            spans(&mut out, 8, &own.negative_spans);
            doubles(&mut out, 10, &own.negative_buckets);
            spans(&mut out, 11, &own.positive_spans);
            doubles(&mut out, 13, &own.positive_buckets);
            (hint(own.counter_reset_hint), &own.custom_values)
        }
    };
    number(&mut out, 14, hint);
    number(&mut out, 15, ts as u64);
    doubles(&mut out, 16, custom_values);
    number(&mut out, 17, start as u64);
    out
}

/// What of a series is sent.
pub(super) enum Value<'a> {
    Float(f64),
    Histogram(&'a NativeHistogram),
    Exemplar(f64, &'a Labels),
}

/// A `prometheus.WriteRequest`.
#[derive(Default)]
pub(super) struct Request {
    pub bytes: Vec<u8>,
    series: Vec<u8>,
}

impl Request {
    /// Adds one sample or exemplar; `labels` as [`put_labels`] writes them.
    pub(super) fn add(&mut self, labels: &[u8], ts: i64, value: &Value<'_>) {
        self.series.clear();
        self.series.extend_from_slice(labels);
        match value {
            Value::Float(value) => sample(&mut self.series, *value, ts, 0),
            Value::Exemplar(value, labels) => {
                let mut exemplar = Vec::new();
                put_labels(&mut exemplar, labels);
                double(&mut exemplar, 2, *value);
                number(&mut exemplar, 3, ts as u64);
                bytes(&mut self.series, 3, &exemplar);
            }
            Value::Histogram(value) => bytes(&mut self.series, 4, &histogram(value, ts, 0)),
        }
        bytes(&mut self.bytes, 1, &self.series);
    }

    /// Adds what is said of a metric family.
    pub(super) fn describe(&mut self, metric: &str, metadata: &Metadata) {
        let mut out = Vec::new();
        number(&mut out, 1, metadata.kind.number().into());
        text(&mut out, 2, metric);
        text(&mut out, 4, &metadata.help);
        text(&mut out, 5, &metadata.unit);
        bytes(&mut self.bytes, 3, &out);
    }
}

/// An `io.prometheus.write.v2.Request`: each text once.
pub(super) struct RequestV2<'a> {
    places: HashMap<&'a str, u32>,
    symbols: Vec<u8>,
    series: Vec<u8>,
    // Of one series, and of its labels' places.
    one: Vec<u8>,
    labels: Vec<u8>,
}

impl<'a> RequestV2<'a> {
    pub(super) fn new() -> Self {
        let mut symbols = Vec::new();
        // The first one is always empty.
        bytes(&mut symbols, 4, b"");
        Self {
            places: std::iter::once(("", 0)).collect(),
            symbols,
            series: Vec::new(),
            one: Vec::new(),
            labels: Vec::new(),
        }
    }

    fn place(&mut self, symbol: &'a str) -> u32 {
        let next = self.places.len() as u32;
        let symbols = &mut self.symbols;
        *self.places.entry(symbol).or_insert_with(|| {
            bytes(symbols, 4, symbol.as_bytes());
            next
        })
    }

    // As the first field of a message.
    fn put_places(&mut self, labels: &'a Labels, out: &mut Vec<u8>) {
        let mut places = std::mem::take(&mut self.labels);
        places.clear();
        for (name, value) in labels {
            for symbol in [name, value] {
                let place = self.place(symbol);
                uvarint(&mut places, place.into());
            }
        }
        bytes(out, 1, &places);
        self.labels = places;
    }

    /// Adds one sample or exemplar, its time and start, with what is known of its metric family.
    pub(super) fn add(
        &mut self,
        labels: &'a Labels,
        (ts, start): (i64, i64),
        value: &Value<'a>,
        metadata: Option<&'a Metadata>,
    ) {
        let mut series = std::mem::take(&mut self.one);
        series.clear();
        self.put_places(labels, &mut series);
        match value {
            Value::Float(value) => sample(&mut series, *value, ts, start),
            Value::Histogram(value) => bytes(&mut series, 3, &histogram(value, ts, start)),
            Value::Exemplar(value, labels) => {
                let mut exemplar = Vec::new();
                self.put_places(labels, &mut exemplar);
                double(&mut exemplar, 2, *value);
                number(&mut exemplar, 3, ts as u64);
                bytes(&mut series, 4, &exemplar);
            }
        }
        if let Some(metadata) = metadata {
            let mut out = Vec::new();
            number(&mut out, 1, metadata.kind.number().into());
            let help = self.place(&metadata.help);
            number(&mut out, 3, help.into());
            let unit = self.place(&metadata.unit);
            number(&mut out, 4, unit.into());
            bytes(&mut series, 5, &out);
        }
        bytes(&mut self.series, 5, &series);
        self.one = series;
    }

    /// The whole message.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut out = self.symbols;
        out.extend_from_slice(&self.series);
        out
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cupola_histogram::{FloatHistogram, Histogram};
    use cupola_model::MetricType;

    use super::*;
    use crate::histograms::read_histogram;
    use cupola_wire::{Fields, Value as Field};

    #[test]
    fn histograms_come_back_as_they_were() {
        let span = |offset, length| Span { offset, length };
        let integer = Histogram {
            counter_reset_hint: CounterResetHint::Gauge,
            schema: -2,
            zero_threshold: 0.001,
            zero_count: 0,
            count: 9,
            sum: -3.5,
            positive_spans: vec![span(-3, 2), span(4, 1)],
            negative_spans: vec![span(1, 1)],
            positive_buckets: vec![3, -2, 1],
            negative_buckets: vec![3],
            custom_values: Arc::from([]),
        };
        let float = FloatHistogram {
            schema: -53,
            count: 4.5,
            sum: f64::from_bits(cupola_model::STALE_NAN.to_bits()),
            positive_spans: vec![span(0, 2)],
            positive_buckets: vec![1.5, 3.0],
            custom_values: Arc::from([0.5, 1.0]),
            ..FloatHistogram::default()
        };
        let (ts, back) = read_histogram(&histogram(&NativeHistogram::Integer(integer.clone()), -5, 0)).unwrap();
        assert_eq!((ts, back), (-5, NativeHistogram::Integer(integer)));
        let (ts, back) = read_histogram(&histogram(&NativeHistogram::Float(float.clone()), 5, 0)).unwrap();
        let NativeHistogram::Float(back) = back else {
            panic!("another kind")
        };
        assert_eq!((ts, back.sum.to_bits()), (5, float.sum.to_bits()));
        assert_eq!(
            FloatHistogram { sum: 0.0, ..back },
            FloatHistogram { sum: 0.0, ..float }
        );
        let empty = NativeHistogram::Float(FloatHistogram::default());
        assert_eq!(read_histogram(&histogram(&empty, 1, 0)).unwrap(), (1, empty));
    }

    #[test]
    fn each_text_of_the_second_version_is_there_once() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "up")]);
        let metadata = Metadata {
            kind: MetricType::Gauge,
            help: "job".to_owned(),
            unit: String::new(),
        };
        let mut request = RequestV2::new();
        request.add(&labels, (7, 5), &Value::Float(1.0), Some(&metadata));
        request.add(&labels, (8, 0), &Value::Exemplar(2.0, &labels), None);
        let bytes = request.into_bytes();
        let mut symbols = Vec::new();
        let mut series = Vec::new();
        for field in Fields(&bytes) {
            match field.unwrap() {
                (4, Field::Bytes(text)) => symbols.push(std::str::from_utf8(text).unwrap()),
                (5, Field::Bytes(one)) => series.push(Fields(one).map(|field| field.unwrap()).collect::<Vec<_>>()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(symbols, ["", "__name__", "up", "job"]);
        assert_eq!(series[0][0], (1, Field::Bytes(&[1, 2, 3, 2])));
        let Field::Bytes(sample) = series[0][1].1 else {
            panic!("no sample")
        };
        assert_eq!(Fields(sample).last(), Some(Ok((3, Field::Varint(5)))));
        assert_eq!(series[0][2], (5, Field::Bytes(&[1 << 3, 2, 3 << 3, 3])));
        assert_eq!(series[1][0], (1, Field::Bytes(&[1, 2, 3, 2])));
        assert_eq!(series[1][1].0, 4);
    }
}
