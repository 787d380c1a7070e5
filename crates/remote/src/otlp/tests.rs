use std::sync::atomic::{AtomicUsize, Ordering};

use cupola_config::prometheus::OtlpConfig;
use cupola_storage::Queryable as _;

use super::*;
use crate::testing::{open, series};

const NOW: i64 = 1_700_000_000_000;

fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
    out
}

fn word(number: u8, bits: u64) -> Vec<u8> {
    [&[number << 3 | 1][..], &bits.to_le_bytes()].concat()
}

fn double(number: u8, value: f64) -> Vec<u8> {
    word(number, value.to_bits())
}

fn pair(number: u8, key: &str, value: &str) -> Vec<u8> {
    bytes(
        number,
        &[bytes(1, key.as_bytes()), bytes(2, &bytes(1, value.as_bytes()))].concat(),
    )
}

// Start and time, as all points have them.
fn times(ts: i64) -> Vec<u8> {
    let ns = |ms: i64| ms as u64 * 1_000_000;
    [word(2, ns(NOW - 60_000)), word(3, ns(ts))].concat()
}

fn metric(name: &str, unit: &str, kind: u8, data: &[Vec<u8>]) -> Vec<u8> {
    bytes(
        2,
        &[
            bytes(1, name.as_bytes()),
            bytes(2, b"What it is."),
            bytes(3, unit.as_bytes()),
            bytes(kind, &data.concat()),
        ]
        .concat(),
    )
}

fn request(metrics: &[Vec<u8>]) -> Vec<u8> {
    let resource = [
        pair(1, "service.name", "shop"),
        pair(1, "service.namespace", "eu"),
        pair(1, "service.instance.id", "i1"),
        pair(1, "host.name", "h"),
    ];
    let scope = [bytes(1, b"lib"), bytes(2, b"1.2"), pair(3, "k.x", "v")];
    let scope_metrics = [bytes(1, &scope.concat()), metrics.concat(), bytes(3, b"http://s")].concat();
    bytes(1, &[bytes(1, &resource.concat()), bytes(2, &scope_metrics)].concat())
}

fn gauge(ts: i64) -> Vec<u8> {
    let point = [times(ts), double(4, 2.5), pair(7, "a.b", "1"), pair(7, "a_b", "2")];
    metric("temp", "Cel", 5, &[bytes(1, &point.concat())])
}

fn sum(temporality: u8) -> Vec<u8> {
    let exemplar = [
        word(2, NOW as u64 * 1_000_000),
        double(3, 1.0),
        bytes(4, &[1; 8]),
        bytes(5, &[2; 16]),
        pair(7, "who", "me"),
    ];
    let point = [times(NOW), word(6, 7), bytes(5, &exemplar.concat())];
    let data = [bytes(1, &point.concat()), vec![2 << 3, temporality, 3 << 3, 1]];
    metric("sold.things", "1", 7, &data)
}

fn histogram() -> Vec<u8> {
    let counts = [1_u64, 0, 2].map(u64::to_le_bytes).concat();
    let bounds = [0.5_f64, 2.0].map(f64::to_le_bytes).concat();
    let exemplar = [word(2, NOW as u64 * 1_000_000), double(3, 1.5), bytes(5, &[2; 16])];
    let point = [
        times(NOW),
        word(4, 3),
        double(5, 9.5),
        bytes(6, &counts),
        bytes(7, &bounds),
        bytes(8, &exemplar.concat()),
    ];
    metric("took", "s", 9, &[bytes(1, &point.concat()), vec![2 << 3, 2]])
}

fn exponential(scale: u8) -> Vec<u8> {
    // Offset -1: 1, 0, 0, 0, 0, 3, 1.
    let positive = [vec![1 << 3, 1], bytes(2, &[1, 0, 0, 0, 0, 3, 1])].concat();
    let point = [
        times(NOW),
        word(4, 7),
        double(5, 4.5),
        vec![6 << 3, scale],
        word(7, 2),
        bytes(8, &positive),
    ];
    metric("sizes", "By", 10, &[bytes(1, &point.concat()), vec![2 << 3, 2]])
}

fn summary() -> Vec<u8> {
    let quantile = [double(1, 0.5), double(2, 1.25)].concat();
    let point = [times(NOW), word(4, 3), double(5, 4.0), bytes(6, &quantile)];
    metric("waits", "s", 11, &[bytes(1, &point.concat())])
}

fn receiver(deltas: OtlpDeltas) -> OtlpReceiver {
    let options = OtlpOptions {
        lookback_ms: 300_000,
        deltas,
        type_and_unit_labels: false,
    };
    OtlpReceiver::new(&Registry::default(), options)
}

struct Bench {
    _dir: tempfile::TempDir,
    db: cupola_tsdb::Tsdb,
    receiver: OtlpReceiver,
    config: OtlpConfig,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            db: open(dir.path(), NOW),
            _dir: dir,
            receiver: receiver(OtlpDeltas::Refused),
            config: OtlpConfig::default(),
        }
    }

    fn write(&self, message: &[u8]) -> Result<(), String> {
        let written = self
            .receiver
            .write(&self.db, message, &self.config, &mut Memory::unlimited(0), NOW);
        written.map_err(|error| format!("{error:?}"))
    }

    // Labels and the values of the floats.
    fn floats(&self, name: &str) -> Vec<String> {
        let show = |(labels, samples): (Labels, cupola_storage::Samples)| {
            format!("{labels} {:?} {:?}", samples.values, samples.starts)
        };
        series(&self.db, name).into_iter().map(show).collect()
    }
}

// Takes everything and counts the samples of `target_info`.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Appendable for Counted {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(CountedBatch(self))
    }
}

struct CountedBatch<'a>(&'a Counted);

impl Appender for CountedBatch<'_> {
    fn append(&mut self, _: Option<SeriesRef>, labels: &Labels, _: i64, _: f64) -> Result<SeriesRef, AppendError> {
        let is_info = labels.metric_name() == "target_info";
        self.0.0.fetch_add(usize::from(is_info), Ordering::Relaxed);
        Ok(SeriesRef(0))
    }

    fn append_known(&mut self, _: SeriesRef, _: i64, _: f64) -> Result<bool, AppendError> {
        Ok(true)
    }

    fn append_histogram(
        &mut self,
        _: Option<SeriesRef>,
        _: &Labels,
        _: i64,
        _: NativeHistogram,
    ) -> Result<SeriesRef, AppendError> {
        Ok(SeriesRef(0))
    }

    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        Ok(())
    }
}

const START: i64 = NOW - 60_000;

#[test]
fn each_kind_of_metric_is_translated() {
    let bench = Bench::new();
    bench
        .write(&request(&[gauge(NOW), sum(2), histogram(), exponential(0), summary()]))
        .unwrap();
    let of = r#"instance="i1", job="eu/shop""#;
    assert_eq!(
        bench.floats("temp_celsius"),
        [format!(r#"{{__name__="temp_celsius", a_b="1;2", {of}}} [2.5] []"#)]
    );
    assert_eq!(
        bench.floats("sold_things_total"),
        [format!(r#"{{__name__="sold_things_total", {of}}} [7.0] [{START}]"#)]
    );
    let bucket =
        |le: &str, count: &str| format!(r#"{{__name__="took_seconds_bucket", {of}, le="{le}"}} [{count}] [{START}]"#);
    assert_eq!(
        bench.floats("took_seconds_bucket"),
        [bucket("+Inf", "3.0"), bucket("0.5", "1.0"), bucket("2", "1.0")]
    );
    assert!(bench.floats("took_seconds_sum")[0].contains("[9.5]"));
    assert!(bench.floats("took_seconds_count")[0].contains("[3.0]"));
    let native = &series(&bench.db, "sizes_bytes")[0].1.histograms;
    assert_eq!(
        native.values[0].to_string(),
        "{count:7, sum:4.5, [-1e-128,1e-128]:2, (0.5,1]:1, (16,32]:3, (32,64]:1}"
    );
    assert_eq!(native.starts, [START]);
    assert_eq!(
        bench.floats("waits_seconds"),
        [format!(
            r#"{{__name__="waits_seconds", {of}, quantile="0.5"}} [1.25] [{START}]"#
        )]
    );
    assert_eq!(
        bench.floats("target_info"),
        [r#"{__name__="target_info", host_name="h", instance="i1", job="eu/shop"} [1.0] []"#]
    );
    let metadata = bench.db.metadata();
    let found = metadata.iter().find(|(name, _)| name == "took_seconds").unwrap();
    assert_eq!(
        (found.1.kind, found.1.help.as_str(), found.1.unit.as_str()),
        (MetricType::Histogram, "What it is.", "seconds")
    );
    let all = [vec![]];
    let exemplars = bench.db.exemplars(&all, i64::MIN, i64::MAX).unwrap();
    let shown: Vec<String> = exemplars
        .iter()
        .map(|of| {
            format!(
                "{} {} {}",
                of.labels.value(METRIC_NAME),
                of.labels.value("le"),
                of.exemplars[0].labels
            )
        })
        .collect();
    let trace = "02".repeat(16);
    assert_eq!(
        shown,
        [
            format!(
                r#"sold_things_total  {{span_id="{}", trace_id="{trace}", who="me"}}"#,
                "01".repeat(8)
            ),
            format!(r#"took_seconds_bucket 2 {{trace_id="{trace}"}}"#),
        ]
    );
}

#[test]
fn the_configuration_changes_names_labels_and_histograms() {
    let mut bench = Bench::new();
    bench.config = OtlpConfig {
        promote_all_resource_attributes: true,
        ignore_resource_attributes: vec!["service.namespace".to_owned()],
        translation_strategy: TranslationStrategy::NoTranslation,
        keep_identifying_resource_attributes: true,
        convert_histograms_to_nhcb: true,
        promote_scope_metadata: true,
        ..OtlpConfig::default()
    };
    bench.write(&request(&[sum(2), histogram()])).unwrap();
    let labels = r#""host.name"="h", instance="i1", job="eu/shop", "otel_scope_k.x"="v", otel_scope_name="lib", otel_scope_schema_url="http://s", otel_scope_version="1.2", "service.instance.id"="i1", "service.name"="shop""#;
    assert_eq!(
        bench.floats("sold.things"),
        [format!(r#"{{__name__="sold.things", {labels}}} [7.0] [{START}]"#)]
    );
    let native = &series(&bench.db, "took")[0].1.histograms.values[0];
    assert_eq!((native.count, native.sum), (3.0, 9.5));
    assert_eq!(*native.custom_values, [0.5, 2.0]);
    assert_eq!(native.positive_buckets, [1.0, 0.0, 2.0]);
    assert!(bench.floats("target_info")[0].contains(r#""service.namespace"="eu""#));
    bench.config = OtlpConfig {
        promote_resource_attributes: vec!["host.name".to_owned()],
        ..OtlpConfig::default()
    };
    bench.write(&request(&[gauge(NOW + 1)])).unwrap();
    assert!(bench.floats("temp_celsius")[0].contains(r#"host_name="h""#));
}

#[test]
fn what_cannot_be_taken_takes_the_whole_message_with_it() {
    let bench = Bench::new();
    for (metrics, expected) in [
        (
            vec![gauge(NOW), sum(1)],
            r#"Translation("invalid temporality and type combination for metric \"sold.things\"")"#,
        ),
        (
            vec![gauge(NOW), exponential(9)],
            r#"Translation("cannot convert exponential to native histogram. Scale must be >= -4, was -5")"#,
        ),
        (
            vec![metric("x", "", 5, &[]), metric("", "", 5, &[])],
            r#"Translation("empty data points. x is dropped; normalization for metric \"\" resulted in empty name")"#,
        ),
        (
            vec![sum(2), gauge(NOW + MAX_AHEAD_MS + 1)],
            r#"Samples("out of bounds for series {__name__=\"temp_celsius\", a_b=\"1;2\", instance=\"i1\", job=\"eu/shop\"}")"#,
        ),
    ] {
        assert_eq!(bench.write(&request(&metrics)).unwrap_err(), expected);
    }
    for name in ["temp_celsius", "sold_things_total", "target_info"] {
        assert!(bench.floats(name).is_empty());
    }
    assert!(bench.write(&[0x0a, 5]).unwrap_err().starts_with("Message"));
}

#[test]
fn target_info_is_there_all_along_and_deltas_are_taken_where_they_may() {
    let mut bench = Bench::new();
    bench.receiver = receiver(OtlpDeltas::Native);
    bench.write(&request(&[gauge(NOW - 400_000), sum(1)])).unwrap();
    let info = &series(&bench.db, "target_info")[0].1;
    assert_eq!(info.ts, [NOW - 400_000, NOW - 250_000, NOW - 100_000, NOW]);
    assert_eq!(bench.floats("sold_things_total").len(), 1);
    // Points of all times do not make endless many of it.
    bench.write(&request(&[gauge(0), gauge(NOW + 1)])).unwrap_err();
    let metadata = bench.db.metadata();
    let kind = |name: &str| metadata.iter().find(|(other, _)| other == name).unwrap().1.kind;
    assert_eq!(kind("sold_things_total"), MetricType::Unknown);
}

// A monotonic sum since the point before, of the seconds given behind `START`.
fn delta(from: i64, to: i64, value: u64) -> Vec<u8> {
    let ns = |seconds: i64| (START + seconds * 1000) as u64 * 1_000_000;
    let point = [word(2, ns(from)), word(3, ns(to)), word(6, value), pair(7, "a", "b")];
    metric(
        "sold.things",
        "1",
        7,
        &[bytes(1, &point.concat()), vec![2 << 3, 1, 3 << 3, 1]],
    )
}

#[test]
fn deltas_are_summed_where_that_is_asked_for() {
    let mut bench = Bench::new();
    bench.receiver = receiver(OtlpDeltas::Summed);
    bench.write(&request(&[delta(0, 10, 5), delta(10, 20, 2)])).unwrap();
    // A message that is refused adds nothing to the sums.
    bench.write(&request(&[delta(20, 30, 100), sum(0)])).unwrap_err();
    bench.write(&request(&[delta(20, 30, 1), delta(20, 30, 1)])).unwrap();
    // Cumulative points go their own way.
    bench.write(&request(&[sum(2)])).unwrap();
    let sums = bench.floats("sold_things_total");
    let expected = format!("[5.0, 7.0, 8.0] [{START}, {START}, {START}]");
    assert!(sums.iter().any(|series| series.ends_with(&expected)), "{sums:?}");
    assert_eq!(sums.len(), 2);
    assert_eq!(bench.receiver.late_deltas.get(), 1.0);
    let metadata = bench.db.metadata();
    let kind = metadata
        .iter()
        .find(|(name, _)| name == "sold_things_total")
        .unwrap()
        .1
        .kind;
    assert_eq!(kind, MetricType::Counter);
}

#[test]
fn series_tell_type_and_unit_where_that_is_asked_for() {
    let mut bench = Bench::new();
    let options = OtlpOptions {
        type_and_unit_labels: true,
        ..bench.receiver.options
    };
    bench.receiver = OtlpReceiver::new(&Registry::default(), options);
    bench.write(&request(&[gauge(NOW), sum(2), histogram()])).unwrap();
    for (name, labels) in [
        ("temp_celsius", r#"__type__="gauge", __unit__="celsius""#),
        ("took_seconds_count", r#"__type__="histogram", __unit__="seconds""#),
        ("took_seconds_bucket", r#"__type__="histogram", __unit__="seconds""#),
        ("sold_things_total", r#"__type__="counter""#),
    ] {
        let found = bench.floats(name);
        assert!(found.iter().all(|series| series.contains(labels)), "{found:?}");
        assert!(!found.is_empty());
    }
    assert!(!bench.floats("target_info")[0].contains("__type__"));
}

#[test]
fn a_message_of_many_resources_does_not_make_a_thousand_target_infos_of_each() {
    let bench = Bench::new();
    let counted = Counted::default();
    let one = request(&[gauge(0), gauge(NOW)]);
    bench
        .receiver
        .write(
            &counted,
            &one.repeat(300),
            &bench.config,
            &mut Memory::unlimited(0),
            NOW,
        )
        .unwrap();
    assert_eq!(counted.0.load(Ordering::Relaxed), 100_300);
}

#[test]
fn exponential_histograms_are_made_coarser_and_gaps_become_spans() {
    let place = |down: u32| move |at: i64| ((at - 3) >> down) + 1;
    let (spans, deltas) = super::points::spans(&[1, 0, 0, 2, 0, 0, 0, 0, 5, 1], place(0)).unwrap();
    assert_eq!(
        spans.iter().map(|span| (span.offset, span.length)).collect::<Vec<_>>(),
        [(-2, 4), (4, 2)]
    );
    assert_eq!(deltas, [1, -1, 0, 2, 3, -4]);
    let (spans, deltas) = super::points::spans(&[1, 0, 0, 2, 0, 0, 0, 0, 5, 1], place(1)).unwrap();
    assert_eq!(
        spans.iter().map(|span| (span.offset, span.length)).collect::<Vec<_>>(),
        [(-1, 6)]
    );
    assert_eq!(deltas, [1, -1, 2, -2, 5, -4]);
}

#[test]
fn garbage_never_panics() {
    let mut bench = Bench::new();
    bench.receiver = receiver(OtlpDeltas::Native);
    let message = request(&[gauge(NOW), sum(2), histogram(), exponential(0), summary()]);
    let deltas = request(&[delta(0, 10, 5), sum(1), delta(10, 20, 2), exponential(0)]);
    let mut round = 0;
    cupola_testkit::fuzz(3_000, &[message, deltas], &[], |bytes| {
        if round == 1_500 {
            bench.receiver = receiver(OtlpDeltas::Summed);
        }
        round += 1;
        let config = OtlpConfig {
            convert_histograms_to_nhcb: round % 2 == 0,
            ..OtlpConfig::default()
        };
        // Any answer will do; what counts is that there is one.
        let _ = bench
            .receiver
            .write(&bench.db, bytes, &config, &mut Memory::unlimited(0), NOW);
    });
}

// A resource's attribute of a megabyte is a label of each of its million points.
#[test]
fn points_that_share_a_long_attribute_do_not_fill_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), NOW);
    let options = OtlpOptions {
        lookback_ms: 300_000,
        deltas: OtlpDeltas::Refused,
        type_and_unit_labels: false,
    };
    let mut receiver = OtlpReceiver::new(&Registry::default(), options);
    receiver.texts = 100_000;
    let message = |points: usize| {
        let points: Vec<_> = (0..points)
            .map(|n| bytes(1, &[times(NOW), double(4, 1.0), pair(7, "n", &n.to_string())].concat()))
            .collect();
        let resource = pair(1, "service.instance.id", &"x".repeat(5_000));
        let metrics = [metric("a", "", 5, &points), metric("b", "", 5, &points)].concat();
        bytes(1, &[bytes(1, &resource), bytes(2, &metrics)].concat())
    };
    let config = OtlpConfig::default();
    receiver
        .write(&db, &message(5), &config, &mut Memory::unlimited(0), NOW)
        .unwrap();
    let refused = receiver
        .write(&db, &message(500), &config, &mut Memory::unlimited(0), NOW)
        .unwrap_err();
    assert!(matches!(refused, OtlpError::Samples(_)), "{refused}");
    let refused = refused.to_string();
    assert!(
        refused.starts_with("the texts of the message take more than "),
        "{refused}"
    );
    assert_eq!(refused.matches("the texts").count(), 1, "{refused}");
}

#[test]
fn points_are_reckoned_as_what_they_become() {
    let bench = Bench::new();
    let points: Vec<_> = (0..5_000_i64)
        .map(|n| bytes(1, &[times(NOW - 60_000 + n), double(4, 1.0)].concat()))
        .collect();
    let message = request(&[metric("a", "", 5, &points)]);
    let write = |beside: usize, more: &mut dyn FnMut(usize) -> bool| {
        let mut memory = Memory::new(0, beside, more);
        let written = bench
            .receiver
            .write(&bench.db, &message, &bench.config, &mut memory, NOW);
        (written, memory.taken())
    };
    let (refused, taken) = write(100_000, &mut |_| false);
    assert!(
        matches!(refused, Err(OtlpError::NoRoom(bytes)) if bytes > 100_000),
        "{refused:?}"
    );
    assert!(taken <= 100_000);
    assert!(bench.floats("a").is_empty());
    let (written, taken) = write(100_000, &mut |_| true);
    written.unwrap();
    // Twenty-four bytes in the batch, more in the log.
    assert!(taken > 5_000 * 48, "{taken}");
}

#[test]
fn series_begin_with_a_zero_where_the_storage_makes_them() {
    let mut bench = Bench::new();
    let dir = tempfile::tempdir().unwrap();
    bench.db = crate::testing::open_with_zeros(dir.path(), NOW);
    let message = request(&[sum(2), histogram(), exponential(0), gauge(NOW)]);
    for _ in 0..2 {
        bench.write(&message).unwrap();
    }
    let begins = |name: &str| {
        let all = series(&bench.db, name).into_iter();
        let ts = all.map(|(_, samples)| [samples.ts, samples.histograms.ts].concat());
        ts.collect::<Vec<_>>()
    };
    let twice = vec![NOW - 60_000, NOW];
    assert_eq!(begins("sold_things_total"), vec![twice.clone()]);
    assert_eq!(begins("took_seconds_count"), vec![twice.clone()]);
    assert_eq!(begins("took_seconds_bucket"), vec![twice.clone(); 3]);
    assert_eq!(begins("sizes_bytes"), vec![twice]);
    let native = &series(&bench.db, "sizes_bytes")[0].1.histograms;
    assert_eq!((native.values[0].count, native.values[1].count), (0.0, 7.0));
    // A gauge counts nothing.
    assert_eq!(begins("temp_celsius"), [[NOW]]);
}
