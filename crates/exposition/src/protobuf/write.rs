//! Families, written.

use cupola_histogram::{FloatHistogram, Histogram, Span};
use cupola_model::MetricType;
use cupola_wire::{Message, zigzag};

/// Writes `io.prometheus.client.MetricFamily` messages, each behind its length
/// ([`PROTOBUF_CONTENT_TYPE`](crate::PROTOBUF_CONTENT_TYPE)), as the Go client does.
///
/// A family's metrics follow its [`FamilyWriter::family`] call; a family that gets none leaves no trace. Since when
/// something counts is in milliseconds since the epoch.
#[derive(Debug, Default)]
pub struct FamilyWriter {
    out: Message,
    family: Message,
    kind: u8,
    has_metric: bool,
    // Of the next metric.
    time: Option<i64>,
}

// The fields of a metric that hold its value.
const GAUGE: u8 = 2;
const COUNTER: u8 = 3;
const SUMMARY: u8 = 4;
const UNTYPED: u8 = 5;
const HISTOGRAM: u8 = 7;

impl FamilyWriter {
    /// A writer with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a family. Its metrics must be of its kind; a kind that the format does not have becomes "untyped".
    pub fn family(&mut self, name: &str, help: &str, kind: MetricType) {
        self.end_family();
        let (number, field) = match kind {
            MetricType::Counter => (0, COUNTER),
            MetricType::Gauge => (1, GAUGE),
            MetricType::Summary => (2, SUMMARY),
            MetricType::Histogram => (4, HISTOGRAM),
            MetricType::GaugeHistogram => (5, HISTOGRAM),
            _ => (3, UNTYPED),
        };
        self.kind = field;
        self.family.bytes(1, name.as_bytes());
        self.family.bytes(2, help.as_bytes());
        self.family.number(3, number);
    }

    /// When the next metric was, in milliseconds since the epoch.
    pub fn time(&mut self, ms: i64) {
        self.time = Some(ms);
    }

    /// The value of a counter, a gauge or something untyped; `since_ms` is a counter's.
    pub fn number<N: AsRef<str>, V: AsRef<str>>(&mut self, labels: &[(N, V)], value: f64, since_ms: Option<i64>) {
        let mut message = Message::default();
        message.double(1, value);
        if let (COUNTER, Some(ms)) = (self.kind, since_ms) {
            message.time(3, ms);
        }
        self.metric(labels, &message);
    }

    /// The value of a summary.
    pub fn summary<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        labels: &[(N, V)],
        (count, sum): (u64, f64),
        quantiles: &[(f64, f64)],
        since_ms: Option<i64>,
    ) {
        let mut message = Message::default();
        message.number(1, count);
        message.double(2, sum);
        for (quantile, value) in quantiles {
            let mut one = Message::default();
            one.double(1, *quantile);
            one.double(2, *value);
            message.message(3, &one.0);
        }
        if let Some(ms) = since_ms {
            message.time(4, ms);
        }
        self.metric(labels, &message);
    }

    /// The value of a histogram: upper bounds with cumulative counts, ascending, and native buckets beside them or
    /// instead of them.
    ///
    /// Where there are native buckets, the count is theirs: readers refuse a native histogram that contradicts itself.
    pub fn histogram<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        labels: &[(N, V)],
        (buckets, sum): (&[(f64, u64)], f64),
        native: Option<&Histogram>,
        since_ms: Option<i64>,
    ) {
        let mut message = Message::default();
        let classic = buckets.last().map_or(0, |(_, count)| *count);
        message.number(1, native.map_or(classic, |native| native.count));
        message.double(2, sum);
        // The last bucket is told by the count.
        for (bound, count) in buckets.iter().filter(|(bound, _)| *bound != f64::INFINITY) {
            let mut bucket = Message::default();
            bucket.number(1, *count);
            bucket.double(2, *bound);
            message.message(3, &bucket.0);
        }
        if let Some(native) = native {
            message.number(5, zigzag(native.schema.into()));
            message.double(6, native.zero_threshold);
            message.number(7, native.zero_count);
            side(&mut message, 9, &native.negative_spans, &native.negative_buckets);
            side(&mut message, 12, &native.positive_spans, &native.positive_buckets);
        }
        if let Some(ms) = since_ms {
            message.time(15, ms);
        }
        self.metric(labels, &message);
    }

    /// A native histogram of floats, without classic buckets. Bounds that are its own the format cannot tell.
    pub fn float_histogram<N: AsRef<str>, V: AsRef<str>>(&mut self, labels: &[(N, V)], histogram: &FloatHistogram) {
        let mut message = Message::default();
        message.double(2, histogram.sum);
        message.double(4, histogram.count);
        message.number(5, zigzag(histogram.schema.into()));
        message.double(6, histogram.zero_threshold);
        message.double(8, histogram.zero_count);
        for (field, spans, counts) in [
            (9, &histogram.negative_spans, &histogram.negative_buckets),
            (12, &histogram.positive_spans, &histogram.positive_buckets),
        ] {
            write_spans(&mut message, field, spans);
            counts.iter().for_each(|count| message.double(field + 2, *count));
        }
        self.metric(labels, &message);
    }

    fn metric<N: AsRef<str>, V: AsRef<str>>(&mut self, labels: &[(N, V)], value: &Message) {
        let mut metric = Message::default();
        for (name, value) in labels {
            metric.pair(1, name.as_ref(), value.as_ref());
        }
        if let Some(ms) = self.time.take() {
            metric.number(6, ms as u64);
        }
        metric.message(self.kind, &value.0);
        self.family.message(4, &metric.0);
        self.has_metric = true;
    }

    fn end_family(&mut self) {
        if self.has_metric {
            self.out.sized(&self.family.0);
        }
        self.family.0.clear();
        self.has_metric = false;
    }

    /// The body.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.end_family();
        self.out.0
    }
}

// Spans and the buckets' differences, in the field after theirs.
fn side(message: &mut Message, field: u8, spans: &[Span], deltas: &[i64]) {
    write_spans(message, field, spans);
    let deltas: Vec<u64> = deltas.iter().map(|delta| zigzag(*delta)).collect();
    message.packed(field + 1, &deltas);
}

fn write_spans(message: &mut Message, field: u8, spans: &[Span]) {
    for span in spans {
        let mut one = Message::default();
        one.number(1, zigzag(span.offset.into()));
        one.number(2, span.length.into());
        message.message(field, &one.0);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;
    use crate::protobuf::{Wanted, decode};

    fn native() -> Histogram {
        Histogram {
            schema: -1,
            zero_threshold: 0.001,
            zero_count: 1,
            count: 7,
            sum: 2.5,
            positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
            positive_buckets: vec![2, -1, 1],
            negative_spans: vec![Span { offset: 0, length: 1 }],
            negative_buckets: vec![1],
            ..Histogram::default()
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut writer = FamilyWriter::new();
        let none: [(&str, &str); 0] = [];
        writer.family("a_total", "he\nlp", MetricType::Counter);
        writer.number(&[("x", "\"ü\n")], 3.0, Some(1500));
        writer.number(&none, 0.0, None);
        writer.family("empty", "no series", MetricType::Gauge);
        writer.family("g", "", MetricType::Gauge);
        writer.number(&none, f64::NEG_INFINITY, None);
        writer.family("s", "", MetricType::Summary);
        writer.summary(&none, (4, 2.0), &[(0.5, f64::NAN)], Some(1));
        writer.family("h", "", MetricType::Histogram);
        let buckets = [(0.5, 1), (1.0, 2), (f64::INFINITY, 7)];
        writer.histogram(&[("a", "b")], (&buckets, 2.5), Some(&native()), Some(-1500));
        writer.histogram(&[("a", "c")], (&buckets, 2.5), None, None);
        writer.family("u", "", MetricType::Unknown);
        writer.number(&none, 1.0, Some(1));
        let body = writer.finish();
        let decoded = decode(
            &body,
            Wanted {
                native: true,
                classic_too: true,
            },
        )
        .unwrap();
        expect![[r#"
            # HELP a_total he\nlp
            # TYPE a_total counter
            a_total{x="\"ü\n"} 3
            a_total 0
            # TYPE g gauge
            g -Inf
            # TYPE s summary
            s_count 4
            s_sum 2
            s{quantile="0.5"} NaN
            # TYPE h histogram
            h_count{a="b"} 7
            h_sum{a="b"} 2.5
            h_bucket{a="b",le="0.5"} 1
            h_bucket{a="b",le="1.0"} 2
            h_bucket{a="b",le="+Inf"} 7
            h_count{a="c"} 7
            h_sum{a="c"} 2.5
            h_bucket{a="c",le="0.5"} 1
            h_bucket{a="c",le="1.0"} 2
            h_bucket{a="c",le="+Inf"} 7
            # TYPE u unknown
            u 1
            # EOF
        "#]]
        .assert_eq(std::str::from_utf8(decoded.text()).unwrap());
        // Whatever a metric is written as begins when it does.
        let starts: Vec<String> = decoded
            .starts()
            .iter()
            .map(|(at, start)| format!("{at}:{start}"))
            .collect();
        assert_eq!(
            starts.join(" "),
            "0:1500 3:1 4:1 5:1 6:-1500 7:-1500 8:-1500 9:-1500 10:-1500"
        );
        let natives: Vec<_> = decoded.natives().collect();
        assert_eq!(natives.len(), 1);
        assert_eq!(natives[0].series.raw, b"h{a=\"b\"}");
        assert_eq!(natives[0].start_ms, Some(-1500));
        assert_eq!(
            *natives[0].histogram,
            cupola_histogram::NativeHistogram::Integer(native())
        );
    }

    proptest! {
        #[test]
        fn any_float_histogram_comes_back(schema in -4..=8_i32, zero: f64, sum: f64, ts in 1..i64::MAX,
            positive in prop::collection::vec(any::<f64>(), 0..9), negative in prop::collection::vec(any::<f64>(), 1..9)) {
            let spans = |offset, counts: &[f64]| {
                let length = u32::try_from(counts.len()).unwrap_or(0);
                if counts.is_empty() { Vec::new() } else { vec![Span { offset, length }] }
            };
            let written = FloatHistogram {
                schema, zero_count: zero, count: 1.5, sum, zero_threshold: 1e-30,
                positive_spans: spans(-3, &positive), positive_buckets: positive,
                negative_spans: spans(7, &negative), negative_buckets: negative, ..FloatHistogram::default()
            };
            let mut writer = FamilyWriter::new();
            writer.family("h", "", MetricType::Histogram);
            writer.time(ts);
            writer.float_histogram::<&str, &str>(&[], &written);
            let decoded = decode(&writer.finish(), Wanted { native: true, classic_too: false }).unwrap();
            let read = decoded.natives().next().unwrap();
            prop_assert_eq!(read.timestamp_ms, Some(ts));
            prop_assert_eq!(format!("{:?}", read.histogram), format!("Float({written:?})"));
        }

        #[test]
        fn any_numbers_come_back(schema in -4..=8_i32, count: u64, zero: u64, sum: f64, since: Option<i32>,
            deltas in prop::collection::vec(any::<i64>(), 1..9), offset: i32) {
            let length = u32::try_from(deltas.len()).unwrap_or(0);
            let written = Histogram {
                schema, count, zero_count: zero, sum, zero_threshold: 1e-30,
                positive_spans: vec![Span { offset, length }], positive_buckets: deltas, ..Histogram::default()
            };
            let since = since.map(i64::from);
            let mut writer = FamilyWriter::new();
            writer.family("h", "", MetricType::Histogram);
            writer.histogram::<&str, &str>(&[], (&[], sum), Some(&written), since);
            let decoded = decode(&writer.finish(), Wanted { native: true, classic_too: false }).unwrap();
            let read = decoded.natives().next().unwrap();
            prop_assert_eq!(read.start_ms, since);
            prop_assert_eq!(format!("{:?}", read.histogram), format!("Integer({written:?})"));
        }
    }
}
