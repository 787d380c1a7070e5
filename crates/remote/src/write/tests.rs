use cupola_histogram::NativeHistogram;
use cupola_metrics::SeriesValue;
use cupola_model::SeriesRef;
use cupola_storage::{SeriesLimit, SeriesScope};
use parking_lot::Mutex;

use super::*;

const NOW: i64 = 1_700_000_000_000;

// A storage that writes down what is committed, with room for so many series.
struct Recorder {
    lines: Mutex<Vec<String>>,
    series: Mutex<Vec<Labels>>,
    // How often labels had to be told.
    named: Mutex<usize>,
    room: usize,
}

struct Batch<'a>(&'a Recorder, Vec<String>);

impl Appendable for Recorder {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Batch(self, Vec::new()))
    }
}

impl Appender for Batch<'_> {
    fn append(&mut self, _: Option<SeriesRef>, labels: &Labels, ts: i64, value: f64) -> Result<SeriesRef, AppendError> {
        *self.0.named.lock() += 1;
        let at = {
            let mut series = self.0.series.lock();
            match series.iter().position(|known| known == labels) {
                Some(at) => at,
                None if series.len() == self.0.room => {
                    return Err(AppendError::TooManySeries(SeriesLimit {
                        scope: SeriesScope::All,
                        limit: self.0.room,
                    }));
                }
                None => {
                    series.push(labels.clone());
                    series.len() - 1
                }
            }
        };
        self.append_known(SeriesRef(at as u64), ts, value)?;
        Ok(SeriesRef(at as u64))
    }

    fn append_known(&mut self, series: SeriesRef, ts: i64, value: f64) -> Result<bool, AppendError> {
        if ts < 0 {
            return Err(AppendError::OutOfOrder);
        }
        let labels = self.0.series.lock()[series.0 as usize].clone();
        self.1.push(format!("{labels} {value} @{ts}"));
        Ok(true)
    }

    fn append_histogram(
        &mut self,
        _: Option<SeriesRef>,
        labels: &Labels,
        ts: i64,
        histogram: NativeHistogram,
    ) -> Result<SeriesRef, AppendError> {
        histogram
            .validate()
            .map_err(|invalid| AppendError::InvalidHistogram(Box::new(invalid)))?;
        let series = self.append(None, labels, ts, 0.0)?;
        self.1.pop();
        self.1.push(format!("{labels} {} @{ts}", histogram.to_float()));
        Ok(series)
    }

    fn describe(&mut self, metric: &str, metadata: &Metadata) {
        self.1.push(format!(
            "{metric}: {} {} {}",
            metadata.kind.name(),
            metadata.unit,
            metadata.help
        ));
    }

    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        self.0.lines.lock().extend(self.1);
        Ok(())
    }
}

struct Bench {
    recorder: Recorder,
    receiver: WriteReceiver,
    registry: Registry,
}

impl Bench {
    fn new(room: usize) -> Self {
        let registry = Registry::default();
        Self {
            recorder: Recorder {
                lines: Mutex::default(),
                series: Mutex::default(),
                named: Mutex::default(),
                room,
            },
            receiver: WriteReceiver::new(&registry),
            registry,
        }
    }

    fn write(&self, message: &[u8]) -> Result<Vec<String>, (String, Vec<String>)> {
        let packed = snap::raw::Encoder::new().compress_vec(message).unwrap();
        let outcome = self
            .receiver
            .write(&self.recorder, &packed, &mut Memory::unlimited(1 << 20), NOW);
        let lines = std::mem::take(&mut *self.recorder.lines.lock());
        match outcome {
            Ok(()) => Ok(lines),
            Err(error) => Err((error.to_string(), lines)),
        }
    }
}

fn put(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.extend([number << 3 | 2, bytes.len() as u8]);
    out.extend_from_slice(bytes);
}

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        put(&mut label, 1, name.as_bytes());
        put(&mut label, 2, value.as_bytes());
        put(&mut out, 1, &label);
    }
    for (ts, value) in samples {
        let mut sample = vec![1 << 3 | 1];
        sample.extend(value.to_le_bytes());
        sample.push(2 << 3);
        let mut rest = *ts as u64;
        while rest >= 0x80 {
            sample.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        sample.push(rest as u8);
        put(&mut out, 2, &sample);
    }
    out
}

fn request(all: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for series in all {
        put(&mut out, 1, series);
    }
    // Metadata, which is left out, and a field of the future.
    put(&mut out, 3, b"\x08\x01");
    out.extend([15 << 3, 1]);
    out
}

const UP: [(&str, &str); 2] = [("__name__", "up"), ("job", "a")];

#[test]
fn samples_become_one_batch_and_known_series_are_not_named_again() {
    let bench = Bench::new(10);
    for round in 0..3 {
        let message = request(&[
            series(&UP, &[(NOW + round, 1.5), (NOW + 10 + round, -0.0)]),
            series(
                &[("job", "b"), ("__name__", "up"), ("empty", "")],
                &[(NOW, f64::INFINITY)],
            ),
        ]);
        let expected = [
            format!(r#"{{__name__="up", job="a"}} 1.5 @{}"#, NOW + round),
            format!(r#"{{__name__="up", job="a"}} -0 @{}"#, NOW + 10 + round),
            format!(r#"{{__name__="up", job="b"}} inf @{NOW}"#),
        ];
        assert_eq!(bench.write(&message).unwrap(), expected);
    }
    assert_eq!(*bench.recorder.named.lock(), 2);
}

#[test]
fn labels_behind_samples_are_labels_too_and_cut_ones_are_told() {
    let bench = Bench::new(10);
    let whole = series(&UP, &[(NOW, 1.0)]);
    let mut parted = series(&UP[..1], &[(NOW + 1, 2.0)]);
    parted.extend(series(&UP[1..], &[]));
    let lines = bench.write(&request(&[whole.clone(), parted])).unwrap();
    assert_eq!(
        lines,
        [
            format!(r#"{{__name__="up", job="a"}} 1 @{NOW}"#),
            format!(r#"{{__name__="up", job="a"}} 2 @{}"#, NOW + 1)
        ]
    );
    for cut in 1..whole.len() {
        let (error, lines) = match bench.write(&request(&[whole[..cut].to_vec()])) {
            Ok(lines) => (String::new(), lines),
            Err(told) => told,
        };
        assert!(
            lines.is_empty() && (error.is_empty() || error.starts_with("proto: ")),
            "{cut}: {error} {lines:?}"
        );
    }
}

#[test]
fn invalid_labels_are_left_out_and_counted() {
    let bench = Bench::new(10);
    let message = request(&[
        series(&[("job", "a")], &[(NOW, 1.0)]),
        series(
            &[("__name__", "up"), ("a", "1"), ("a", "2")],
            &[(NOW, 1.0), (NOW + 1, 1.0)],
        ),
        series(&[("__name__", "up"), ("", "x")], &[(NOW, 1.0)]),
        series(&UP, &[(NOW, 1.0)]),
    ]);
    assert_eq!(bench.write(&message).unwrap().len(), 1);
    let families = bench.registry.snapshot();
    let counted: Vec<_> = families
        .iter()
        .flat_map(|f| f.series.iter().map(|(_, value)| value))
        .collect();
    assert!(matches!(counted[..], [SeriesValue::Number(4.0)]), "{counted:?}");
}

#[test]
fn a_sample_that_is_refused_takes_the_whole_message_with_it() {
    let good = || series(&UP, &[(NOW, 1.0)]);
    for (ts, text) in [(-1, "out of order sample"), (NOW + MAX_AHEAD_MS + 1, "out of bounds")] {
        let bench = Bench::new(10);
        let message = request(&[good(), series(&[("__name__", "x")], &[(ts, 1.0)]), good()]);
        assert_eq!(bench.write(&message).unwrap_err(), (text.to_owned(), vec![]));
    }
    let limit = request(&[good(), series(&[("__name__", "x")], &[(NOW, 1.0)]), good()]);
    let (error, lines) = Bench::new(1).write(&limit).unwrap_err();
    assert_eq!(
        error,
        "1 samples were refused, the others are written: limit of 1 series in memory reached, new series are refused"
    );
    assert_eq!(lines.len(), 2);
}

fn word(out: &mut Vec<u8>, number: u8, value: f64) {
    out.push(number << 3 | 1);
    out.extend(value.to_le_bytes());
}

fn varint(out: &mut Vec<u8>, number: u8, mut value: u64) {
    out.push(number << 3);
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

// Buckets of 1 and 3 observations at the indexes -1 and 0, one of 2 at -2 on the other side.
fn integer_histogram(count: u64, packed: bool) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, 1, count);
    word(&mut out, 3, 4.5);
    varint(&mut out, 4, 3 << 1);
    word(&mut out, 5, 0.001);
    varint(&mut out, 6, 1);
    put(&mut out, 8, &[1 << 3, 3, 2 << 3, 1]);
    put(&mut out, 9, &[4]);
    put(&mut out, 11, &[1 << 3, 1, 2 << 3, 2]);
    if packed {
        put(&mut out, 12, &[2, 4]);
    } else {
        out.extend([12 << 3, 2, 12 << 3, 4]);
    }
    varint(&mut out, 14, 3);
    varint(&mut out, 15, NOW as u64);
    out
}

fn custom_float_histogram() -> Vec<u8> {
    let mut out = Vec::new();
    word(&mut out, 2, 2.5);
    word(&mut out, 3, 4.5);
    varint(&mut out, 4, 53 * 2 - 1);
    put(&mut out, 11, &[2 << 3, 2]);
    put(&mut out, 13, &[0.5_f64.to_le_bytes(), 2_f64.to_le_bytes()].concat());
    out.extend([15 << 3, 1]);
    // Fields above 15 take two bytes for their number.
    out.extend([0x82, 0x01, 8]);
    out.extend(0.25_f64.to_le_bytes());
    out
}

#[test]
fn native_histograms_of_both_kinds_are_written() {
    for packed in [true, false] {
        let bench = Bench::new(10);
        let mut first = series(&UP, &[]);
        put(&mut first, 4, &integer_histogram(7, packed));
        let mut second = series(&[("__name__", "f")], &[(NOW - 5, 1.5)]);
        put(&mut second, 4, &custom_float_histogram());
        let lines = bench.write(&request(&[first, second])).unwrap();
        let expected = [
            format!(
                "{{__name__=\"up\", job=\"a\"}} {{count:7, sum:4.5, [-0.8408964152537144,-0.7711054127039704):2, \
                 [-0.001,0.001]:1, (0.8408964152537144,0.9170040432046711]:1, (0.9170040432046711,1]:3}} @{NOW}"
            ),
            format!(r#"{{__name__="f"}} 1.5 @{}"#, NOW - 5),
            r#"{__name__="f"} {count:2.5, sum:4.5, [-Inf,0.25]:0.5, (0.25,+Inf]:2} @1"#.to_owned(),
        ];
        assert_eq!(lines, expected);
    }
}

#[test]
fn a_histogram_that_contradicts_itself_is_refused_with_upstreams_text() {
    let bench = Bench::new(10);
    let mut wrong = series(&UP, &[]);
    put(&mut wrong, 4, &integer_histogram(6, true));
    let (error, lines) = bench.write(&request(&[series(&UP, &[(NOW, 1.0)]), wrong])).unwrap_err();
    assert_eq!(
        error,
        "7 observations found in buckets, but the Count field is 6: histogram's observation count should equal the \
         number of observations found in the buckets (in absence of NaN)"
    );
    assert!(lines.is_empty());
}

#[test]
fn what_is_no_message_is_told() {
    let bench = Bench::new(10);
    let write = |bytes: &[u8], largest| {
        let outcome = bench
            .receiver
            .write(&bench.recorder, bytes, &mut Memory::unlimited(largest), NOW);
        outcome.unwrap_err().to_string()
    };
    assert_eq!(write(b"", 100), "snappy: corrupt input (empty)");
    let packed = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    assert_eq!(
        write(&packed(&[0; 101]), 100),
        "the message takes 101 bytes, more than 100 are not taken"
    );
    assert_eq!(
        write(&packed(&[0x0a, 5]), 100),
        "proto: the message ends in the middle of a field"
    );
    let mut message = request(&[series(&UP, &[(NOW, 1.0)])]);
    let at = message.iter().position(|byte| *byte == b'u').unwrap();
    message[at] = 0xff;
    assert_eq!(write(&packed(&message), 100), "proto: a label is not UTF-8");
}

#[test]
fn garbage_never_panics() {
    let bench = Bench::new(1000);
    let mut histograms = series(&UP, &[(NOW, 1.0)]);
    put(&mut histograms, 4, &custom_float_histogram());
    let message = request(&[histograms, series(&[("__name__", "x")], &[(NOW, 1.0)])]);
    let packed = snap::raw::Encoder::new().compress_vec(&message).unwrap();
    cupola_testkit::fuzz(10_000, &[message, packed], &[], |bytes| {
        // Any answer will do; what counts is that there is one.
        let _ = bench
            .receiver
            .write(&bench.recorder, bytes, &mut Memory::unlimited(1 << 20), NOW);
        let _ = bench.write(bytes);
    });
}

#[test]
fn metadata_is_kept() {
    let recorder = Recorder {
        lines: Mutex::default(),
        series: Mutex::default(),
        named: Mutex::default(),
        room: 10,
    };
    let text = |number: u8, text: &str| [&[number << 3 | 2, text.len() as u8], text.as_bytes()].concat();
    let of = [&[8, 4][..], &text(2, "h"), &text(4, "what it is"), &text(5, "seconds")].concat();
    // One without a name says nothing of anything.
    let message = [&[0x1a, of.len() as u8][..], &of, &[0x1a, 2, 8, 1]].concat();
    let compressed = snap::raw::Encoder::new().compress_vec(&message).unwrap();
    let receiver = WriteReceiver::new(&Registry::default());
    receiver
        .write(&recorder, &compressed, &mut Memory::unlimited(1 << 20), NOW)
        .unwrap();
    assert_eq!(*recorder.lines.lock(), ["h: gaugehistogram seconds what it is"]);
}
