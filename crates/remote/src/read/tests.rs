use std::sync::Arc;

use cupola_histogram::{FloatHistogram, NativeHistogram, Span};
use cupola_model::{Labels, METRIC_NAME, MatchOp, Matcher};
use cupola_storage::{Appendable as _, Queryable, Samples, Selection};

use super::answer::{ReadError, ReadQuestion};
use super::codec::{Hints, Query, write_request};
use super::remote::read_answer;
use crate::testing::open;

const NOW: i64 = 1_700_000_000_000;
const LARGEST: u64 = 1 << 20;

fn filled() -> (tempfile::TempDir, cupola_tsdb::Tsdb) {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), NOW);
    for n in 0..300_i64 {
        let mut appender = db.appender();
        let ts = NOW - 300_000 + n * 1000;
        for job in ["a", "b"] {
            let labels = Labels::from_pairs([(METRIC_NAME, "up"), ("job", job)]);
            appender.append(None, &labels, ts, n as f64 * 0.5).unwrap();
        }
        let histogram = FloatHistogram {
            count: n as f64 + 3.0,
            sum: 1.5,
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive_buckets: vec![1.0, n as f64 + 2.0],
            ..FloatHistogram::default()
        };
        let labels = Labels::from_pairs([(METRIC_NAME, "h"), ("job", "a")]);
        appender
            .append_histogram(None, &labels, ts, NativeHistogram::Float(histogram))
            .unwrap();
        appender.commit().unwrap();
    }
    (dir, db)
}

fn query(name: &str, more: &[(&str, &str)]) -> Query {
    let mut matchers = vec![Matcher::new(METRIC_NAME, MatchOp::Regex, name).unwrap()];
    for (name, value) in more {
        matchers.push(Matcher::new(*name, MatchOp::Equal, *value).unwrap());
    }
    Query {
        start: NOW - 200_000,
        end: NOW,
        matchers,
        hints: None,
    }
}

fn question(query: &Query, streamed: bool) -> ReadQuestion {
    let mut message = write_request(query);
    if !streamed {
        // The accepted types are the last two bytes, in the order of preference.
        let at = message.len() - 2;
        message[at..].copy_from_slice(&[0, 1]);
    }
    let packed = snap::raw::Encoder::new().compress_vec(&message).unwrap();
    ReadQuestion::read(&packed, 1 << 20).unwrap()
}

const SAMPLES: &str = "application/x-protobuf";
const CHUNKS: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

fn streamed(db: &dyn Queryable, query: &Query, external: &Labels, frame: usize) -> (usize, Vec<u8>) {
    let (mut frames, mut all) = (0, Vec::new());
    let mut send = |bytes: Vec<u8>| {
        frames += 1;
        all.extend(bytes);
        true
    };
    let question = question(query, true);
    assert!(question.is_streamed());
    question.stream(db, external, frame, &|| true, &mut send).unwrap();
    (frames, all)
}

fn stored(db: &dyn Queryable, query: &Query) -> Vec<(Labels, Samples)> {
    let selection = Selection {
        matchers: &query.matchers,
        mint: query.start,
        maxt: query.end,
    };
    let read = |series: cupola_storage::Series| {
        let mut out = Samples::default();
        series.source.read(query.start, query.end, &mut out).unwrap();
        (series.labels, out)
    };
    let mut all: Vec<_> = db.select(&selection).unwrap().into_iter().map(read).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

// Chunks of histograms say of resets what they see, whatever was told.
fn without_hints(mut all: Vec<(Labels, Samples)>) -> Vec<(Labels, Samples)> {
    for (_, samples) in &mut all {
        for value in &mut samples.histograms.values {
            let mut histogram = (**value).clone();
            histogram.counter_reset_hint = Default::default();
            *value = Arc::new(histogram);
        }
    }
    all
}

#[test]
fn both_kinds_of_answers_say_what_is_stored() {
    let (_dir, db) = filled();
    let query = query("up|h", &[]);
    let expected = without_hints(stored(&db, &query));
    assert_eq!(expected.len(), 3);
    assert_eq!(expected[1].1.count(), 200);
    let none = Labels::empty();
    let question = question(&query, false);
    assert!(!question.is_streamed());
    let answer = question.samples(&db, &none, 600, &|| true).unwrap();
    let back = read_answer(SAMPLES, &answer, LARGEST, &[]).unwrap();
    assert_eq!(without_hints(back), expected);
    for (frame, frames) in [(1 << 20, 3), (1, 6)] {
        let (count, answer) = streamed(&db, &query, &none, frame);
        assert!(count >= frames, "{count} frames");
        let back = read_answer(CHUNKS, &answer, LARGEST, &[]).unwrap();
        assert_eq!(without_hints(back), expected);
    }
    let error = question.samples(&db, &none, 199, &|| true).unwrap_err();
    assert_eq!(error.to_string(), "exceeded sample limit (199)");
    assert!(matches!(
        question.samples(&db, &none, 0, &|| false),
        Err(ReadError::Storage(_))
    ));
}

#[test]
fn external_labels_are_added_and_not_asked_of_the_storage() {
    let (_dir, db) = filled();
    let external = Labels::from_pairs([("from", "x"), ("job", "other")]);
    let query = query("up", &[("from", "x")]);
    let (_, answer) = streamed(&db, &query, &external, 1 << 20);
    let back = read_answer(CHUNKS, &answer, LARGEST, &[]).unwrap();
    let shown: Vec<String> = back.iter().map(|(labels, _)| labels.to_string()).collect();
    // The series' own labels stay.
    assert_eq!(
        shown,
        [
            r#"{__name__="up", from="x", job="a"}"#,
            r#"{__name__="up", from="x", job="b"}"#
        ]
    );
    let back = read_answer(CHUNKS, &answer, LARGEST, &["from".to_owned()]).unwrap();
    assert_eq!(back[0].0.to_string(), r#"{__name__="up", job="a"}"#);
}

#[test]
fn hints_narrow_the_times_and_tell_who_wants_no_samples() {
    let (_dir, db) = filled();
    let mut query = query("up", &[("job", "a")]);
    query.hints = Some(Hints {
        start: NOW - 10_000,
        end: NOW - 5000,
        func: String::new(),
    });
    let none = Labels::empty();
    let count = |query: &Query| {
        let answer = question(query, false).samples(&db, &none, 0, &|| true).unwrap();
        let back = read_answer(SAMPLES, &answer, LARGEST, &[]).unwrap();
        back.iter().map(|(_, samples)| samples.count()).collect::<Vec<_>>()
    };
    assert_eq!(count(&query), [6]);
    query.hints = Some(Hints {
        func: "series".to_owned(),
        ..query.hints.unwrap()
    });
    assert_eq!(count(&query), [0]);
}

#[test]
fn what_is_broken_is_told() {
    let (_dir, db) = filled();
    let (_, mut answer) = streamed(&db, &query("up", &[]), &Labels::empty(), 1 << 20);
    let told = |kind: &str, bytes: &[u8], largest: u64| read_answer(kind, bytes, largest, &[]).unwrap_err();
    assert_eq!(
        told(CHUNKS, &answer[..10], LARGEST),
        "the answer ends in the middle of a frame"
    );
    assert!(told(CHUNKS, &answer, 5).starts_with("chunkedReader: message size exceeded the limit 5 bytes"));
    answer[9] ^= 1;
    assert_eq!(
        told(CHUNKS, &answer, LARGEST),
        "chunkedReader: corrupted frame; checksum mismatch"
    );
    assert_eq!(told("text/html", b"", LARGEST), "unsupported content type: text/html");
    let packed = snap::raw::Encoder::new().compress_vec(&[2 << 3, 9]).unwrap();
    let error = ReadQuestion::read(&packed, 100).unwrap_err().to_string();
    assert!(
        error.starts_with("server does not support any of the requested response types"),
        "{error}"
    );
    assert!(ReadQuestion::read(&packed, 1).is_err());
}

#[test]
fn garbage_never_panics() {
    let (_dir, db) = filled();
    let asked = query("up|h", &[]);
    let none = Labels::empty();
    let samples = question(&asked, false).samples(&db, &none, 0, &|| true).unwrap();
    let plain = snap::raw::Decoder::new().decompress_vec(&samples).unwrap();
    let (_, chunks) = streamed(&db, &asked, &none, 1 << 20);
    cupola_testkit::fuzz(500, &[write_request(&asked), plain, chunks], &[], |bytes| {
        let packed = snap::raw::Encoder::new().compress_vec(bytes).unwrap();
        // Any answer will do; what counts is that there is one.
        let _ = ReadQuestion::read(&packed, 1 << 20);
        let _ = read_answer(SAMPLES, &packed, LARGEST, &[]);
        let _ = read_answer(CHUNKS, bytes, LARGEST, &[]);
        // Frames with a good checksum, too.
        let mut framed = Vec::new();
        super::codec::put_frame(&mut framed, bytes);
        let _ = read_answer(CHUNKS, &framed, LARGEST, &[]);
    });
}
