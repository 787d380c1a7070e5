use std::sync::Arc;

use cupola_config::{PrometheusConfig, parse_prometheus};
use cupola_histogram::NativeHistogram;
use cupola_metrics::Registry;
use cupola_model::is_stale_nan;
use cupola_storage::CommitError;
use parking_lot::Mutex;

use super::*;

// A storage that writes down what is committed.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) samples: Arc<Mutex<Vec<String>>>,
    series: Mutex<Vec<Labels>>,
    is_forgetful: bool,
    // The families that were described, committed or not.
    pub(crate) described: Mutex<Vec<String>>,
    pub(crate) is_closed: bool,
}

struct Batch<'a> {
    recorder: &'a Recorder,
    lines: Vec<String>,
}

impl Appendable for Recorder {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Batch {
            recorder: self,
            lines: Vec::new(),
        })
    }
}

fn line(labels: &Labels, ts: i64, value: f64) -> String {
    let value = if is_stale_nan(value) {
        "stale".to_owned()
    } else {
        value.to_string()
    };
    format!("{labels} {value} @{ts}")
}

impl Appender for Batch<'_> {
    fn append(
        &mut self,
        known: Option<SeriesRef>,
        labels: &Labels,
        ts: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        let mut series = self.recorder.series.lock();
        let at = series.iter().position(|l| l == labels).unwrap_or_else(|| {
            series.push(labels.clone());
            series.len() - 1
        });
        assert!(
            known.is_none_or(|k| k.0 == at as u64),
            "a reference must name the series it came from"
        );
        self.lines.push(line(labels, ts, value));
        Ok(SeriesRef(at as u64))
    }

    fn append_known(&mut self, series: SeriesRef, ts: i64, value: f64) -> Result<bool, AppendError> {
        if self.recorder.is_forgetful {
            return Ok(false);
        }
        let known = self.recorder.series.lock();
        self.lines.push(line(&known[series.0 as usize], ts, value));
        Ok(true)
    }

    fn append_histogram(
        &mut self,
        known: Option<SeriesRef>,
        labels: &Labels,
        ts: i64,
        histogram: NativeHistogram,
    ) -> Result<SeriesRef, AppendError> {
        self.append(known, labels, ts, histogram.to_float().sum)
    }

    fn append_start(&mut self, series: SeriesRef, ts: i64, start: i64) {
        let known = self.recorder.series.lock();
        let labels = &known[series.0 as usize];
        self.lines.push(format!("{labels} since {start} @{ts}"));
    }

    fn describe(&mut self, metric: &str, metadata: &cupola_storage::Metadata) {
        let what = format!("{metric} is a {}", metadata.kind.name());
        self.recorder.described.lock().push(what);
    }

    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        if self.recorder.is_closed {
            return Err(CommitError::Closed);
        }
        self.recorder.samples.lock().extend(self.lines);
        Ok(())
    }
}

fn config(more: &str) -> ScrapeConfig {
    let yaml = format!("scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['t:1']}}]\n{more}");
    let parsed: PrometheusConfig = parse_prometheus(&yaml, std::path::Path::new("p.yml")).unwrap();
    parsed.scrape_configs.into_iter().next().unwrap()
}

pub(crate) struct Bench {
    pub(crate) config: ScrapeConfig,
    pub(crate) ingester: Ingester,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
}

impl Bench {
    pub(crate) fn new(more: &str) -> Self {
        let config = config(more);
        let target = Labels::from_pairs([("job", "j"), ("instance", "t:1")]);
        Self {
            ingester: Ingester::new(target, Histograms::of(&config), Arc::default()),
            config,
            recorder: Recorder::default(),
            metrics: Metrics::new(&Registry::default()),
        }
    }

    // How many lines are remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.ingester.lines.all.len()
    }

    // Ingests a body and gives what was committed.
    fn scrape(&mut self, ts: i64, body: &str) -> Result<Vec<String>, Refused> {
        self.recorder.samples.lock().clear();
        let Self {
            config,
            ingester,
            recorder,
            metrics,
        } = self;
        batch(recorder, |appender| {
            ingester.body(config, metrics, Format::Text, body.as_bytes(), ts, appender)
        })
        .unwrap()?;
        Ok(self.recorder.samples.lock().clone())
    }
}

#[track_caller]
fn check(more: &str, body: &str, expected: &[&str]) {
    assert_eq!(Bench::new(more).scrape(1000, body).unwrap(), expected);
}

#[test]
fn samples_get_the_targets_labels() {
    check(
        "",
        "a{x=\"1\"} 5\n",
        &[r#"{__name__="a", instance="t:1", job="j", x="1"} 5 @1000"#],
    );
}

#[test]
fn a_series_that_the_storage_forgot_is_named_again() {
    let mut bench = Bench::new("  metric_relabel_configs: [{action: labeldrop, regex: x}]\n");
    for (ts, is_forgetful) in [(1000, false), (2000, true), (3000, false)] {
        bench.recorder.is_forgetful = is_forgetful;
        let lines = bench.scrape(ts, "a{x=\"1\"} 5\n").unwrap();
        assert_eq!(lines, [format!(r#"{{__name__="a", instance="t:1", job="j"}} 5 @{ts}"#)]);
    }
}

#[test]
fn labels_that_collide_are_kept_as_exported() {
    check(
        "",
        "a{job=\"x\",exported_job=\"y\"} 5\n",
        &[r#"{__name__="a", exported_exported_job="x", exported_job="y", instance="t:1", job="j"} 5 @1000"#],
    );
    check(
        "  honor_labels: true\n",
        "a{job=\"x\"} 5\n",
        &[r#"{__name__="a", instance="t:1", job="x"} 5 @1000"#],
    );
}

#[test]
fn a_label_sent_empty_is_none_where_labels_are_honoured() {
    check(
        "  honor_labels: true\n",
        "a{instance=\"\"} 5\n",
        &[r#"{__name__="a", job="j"} 5 @1000"#],
    );
    // Otherwise the target's label stands, and nothing is exported.
    check(
        "",
        "a{instance=\"\"} 5\n",
        &[r#"{__name__="a", instance="t:1", job="j"} 5 @1000"#],
    );
}

#[test]
fn own_timestamps_are_honoured_unless_told_otherwise() {
    check("", "a 5 900\n", &[r#"{__name__="a", instance="t:1", job="j"} 5 @900"#]);
    check(
        "  honor_timestamps: false\n",
        "a 5 900\n",
        &[r#"{__name__="a", instance="t:1", job="j"} 5 @1000"#],
    );
    check("", &format!("a 5 {}\n", 1000 + MAX_AHEAD_MS + 1), &[]);
}

#[test]
fn metric_relabelling_drops_and_renames() {
    let relabel = "  metric_relabel_configs:\n  - {source_labels: [__name__], regex: 'b.*', action: drop}\n  - {source_labels: [__name__], regex: 'c', target_label: __name__, replacement: d}\n";
    check(
        relabel,
        "a 1\nb1 2\nc 3\n",
        &[
            r#"{__name__="a", instance="t:1", job="j"} 1 @1000"#,
            r#"{__name__="d", instance="t:1", job="j"} 3 @1000"#,
        ],
    );
}

#[test]
fn a_series_that_is_missing_ends() {
    let mut bench = Bench::new("");
    bench.scrape(1000, "a 1\nb 2\n").unwrap();
    let series = |name, rest: &str| format!("{{__name__=\"{name}\", instance=\"t:1\", job=\"j\"}} {rest}");
    assert_eq!(
        bench.scrape(2000, "b 2\n").unwrap(),
        [series("b", "2 @2000"), series("a", "stale @2000")]
    );
    // Only once.
    assert_eq!(bench.scrape(3000, "b 2\n").unwrap(), [series("b", "2 @3000")]);
    assert_eq!(
        bench.scrape(4000, "a 1\nb 2\n").unwrap(),
        [series("a", "1 @4000"), series("b", "2 @4000")]
    );
}

#[test]
fn a_series_with_own_timestamps_is_not_ended() {
    let mut bench = Bench::new("");
    bench.scrape(1000, "a 1 900\n").unwrap();
    assert!(bench.scrape(2000, "").unwrap().is_empty());
}

#[test]
fn a_failed_scrape_ends_everything_once() {
    let mut bench = Bench::new("");
    bench.scrape(1000, "a 1\n").unwrap();
    for expected in [1, 0] {
        bench.recorder.samples.lock().clear();
        let Bench { ingester, recorder, .. } = &mut bench;
        batch(recorder, |appender| {
            ingester.end(2000, appender);
            Ok::<(), ()>(())
        })
        .unwrap()
        .unwrap();
        assert_eq!(bench.recorder.samples.lock().len(), expected);
    }
}

#[test]
fn a_series_that_comes_twice_counts_once() {
    let mut bench = Bench::new("");
    for ts in [1000, 2000] {
        assert_eq!(bench.scrape(ts, "a 1\na 2\n").unwrap().len(), 1, "at {ts}");
    }
}

#[test]
fn limits_fail_the_whole_scrape() {
    let error = |more: &str, body: &str| Bench::new(more).scrape(1000, body).unwrap_err().to_string();
    assert_eq!(
        error("  sample_limit: 1\n", "a 1\nb 1\n"),
        "sample limit exceeded (1 samples allowed)"
    );
    assert!(error("  label_limit: 3\n", "a{x=\"1\"} 1\n").starts_with("label_limit exceeded (metric: a, number of"));
    assert!(error("  label_value_length_limit: 3\n", "a{x=\"1234\"} 1\n").contains("label name: x, length: 4"));
    assert!(error("", "a 1\nb{ 2\n").contains('2'), "the line is named");
    assert_eq!(
        error("", "a{x=\"1\",x=\"2\"} 1\n"),
        "label name \"x\" is not unique: invalid sample"
    );
}

#[test]
fn a_label_told_twice_costs_nothing_where_relabelling_drops_or_repairs_the_line() {
    let relabel = |rule: &str| format!("  metric_relabel_configs: [{{{rule}}}]\n");
    let b = r#"{__name__="b", instance="t:1", job="j"} 1 @1000"#;
    let body = "a{x=\"1\",x=\"2\"} 1\nb 1\n";
    check(
        &relabel("source_labels: [__name__], regex: a, action: drop"),
        body,
        &[b],
    );
    let a = |labels: &str| format!("{{__name__=\"a\", instance=\"t:1\", job=\"j\"{labels}}} 1 @1000");
    check(&relabel("regex: x, action: labeldrop"), body, &[&a(""), b]);
    check(
        &relabel("target_label: x, replacement: y, source_labels: [x], regex: '1'"),
        body,
        &[&a(", x=\"y\""), b],
    );
    // The target's label stands in the place of both.
    check(
        "",
        "a{job=\"1\",job=\"2\"} 1\n",
        &[r#"{__name__="a", exported_job="1", instance="t:1", job="j"} 1 @1000"#],
    );
    let error = Bench::new("")
        .scrape(1000, "a{y=\"1\",x=\"1\",x=\"1\"} 1\n")
        .unwrap_err();
    assert_eq!(error.to_string(), "label name \"x\" is not unique: invalid sample");
}

#[test]
fn what_is_told_twice_counts_once_against_the_sample_limit() {
    let mut bench = Bench::new("  sample_limit: 1\n");
    for ts in [1000, 2000] {
        assert_eq!(bench.scrape(ts, "a 1\na 1\n").unwrap().len(), 1, "at {ts}");
    }
    let mut two = Bench::new("  sample_limit: 2\n");
    assert_eq!(two.scrape(1000, "a 1\na 1\nb 1\n").unwrap().len(), 2, "behind it, too");
    // What lies too far ahead counts, and what is dropped does not.
    let ahead = format!("a 1\nb 1 {}\n", 3000 + MAX_AHEAD_MS + 1);
    bench.scrape(3000, &ahead).unwrap_err();
    let drop = "  sample_limit: 1\n  metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]\n";
    assert!(Bench::new(drop).scrape(1000, "a 1\nb 1\n").is_ok());
}

#[test]
fn a_series_that_comes_back_is_added() {
    let mut bench = Bench::new("");
    let mut check = |ts, body: &str, added| {
        let Bench {
            config,
            ingester,
            recorder,
            metrics,
        } = &mut bench;
        let counts = batch(recorder, |appender| {
            ingester.body(config, metrics, Format::Text, body.as_bytes(), ts, appender)
        });
        assert_eq!(counts.unwrap().unwrap().added, added, "at {ts}");
    };
    check(1000, "a 1\nb 1\n", 2);
    check(2000, "a 1\nb 1\n", 0);
    check(3000, "a 1\n", 0);
    check(4000, "a 1\nb 1\n", 1);
    check(5000, "b 1\na 1\n", 0);
    // As upstream: an empty body is no reason to forget any.
    check(6000, "", 0);
    check(7000, "a 1\nb 1\nb 1\n", 0);
    // And what is not taken is not added.
    check(8000, &format!("a 1\nb 1\nc 1 {}\n", 8000 + MAX_AHEAD_MS + 1), 0);
    check(9000, "a 1\nb 1\nc 1\n", 1);
}

#[test]
fn what_a_target_says_about_its_families_is_kept_as_long_as_it_says_so() {
    let mut bench = Bench::new("");
    bench
        .scrape(1000, "# HELP a what it is\n# TYPE a counter\na 1\n")
        .unwrap();
    let known = bench.ingester.metadata.get();
    let expected = cupola_storage::Metadata {
        kind: cupola_exposition::MetricType::Counter,
        help: "what it is".into(),
        unit: String::new(),
    };
    assert_eq!(known, [("a".to_owned(), expected)]);
    for scrape in 2..=20 {
        bench.scrape(scrape * 1000, "a 1\n").unwrap();
    }
    assert!(bench.ingester.metadata.get().is_empty());
}

#[test]
fn an_ingester_that_begins_anew_keeps_what_is_told_of_families() {
    let mut bench = Bench::new("");
    for scrape in 1..20 {
        bench.scrape(scrape * 1000, "# TYPE a counter\na 1\n").unwrap();
    }
    // The one before was lost; this one counts scrapes from 1 on.
    let metadata = bench.ingester.metadata.clone();
    bench.ingester = Ingester::new(bench.ingester.target.clone(), Histograms::of(&bench.config), metadata);
    for scrape in 20..35 {
        bench.scrape(scrape * 1000, "a 1\n").unwrap();
    }
    assert_eq!(bench.ingester.metadata.get().len(), 1);
}

#[test]
fn a_body_that_breaks_off_ends_the_series_before_the_bad_line_too() {
    let mut bench = Bench::new("");
    bench.scrape(1000, "a 1\nb 2\n").unwrap();
    bench.scrape(2000, "a 1\nnew 1\nb{ 2\n").unwrap_err();
    bench.recorder.samples.lock().clear();
    let Bench { ingester, recorder, .. } = &mut bench;
    batch(recorder, |appender| {
        ingester.end(2000, appender);
        Ok::<(), ()>(())
    })
    .unwrap()
    .unwrap();
    let mut ended = bench.recorder.samples.lock().clone();
    ended.sort();
    let series = |name| format!("{{__name__=\"{name}\", instance=\"t:1\", job=\"j\"}} stale @2000");
    // "new" was never stored, so it has nothing to end.
    assert_eq!(ended, [series("a"), series("b")]);
}

#[test]
fn a_target_that_breaks_off_with_new_lines_each_time_does_not_fill_the_memory() {
    // A scrape that breaks off takes two numbers: with both an even and an odd one before.
    for good in [0, 1] {
        let mut bench = Bench::new("");
        for _ in 0..good {
            bench.scrape(500, "a 1\n").unwrap();
        }
        for scrape in 1..200 {
            bench
                .scrape(scrape * 1000, &format!("a{{n=\"{scrape}\"}} 1\nb{{ 2\n"))
                .unwrap_err();
            let Bench { ingester, recorder, .. } = &mut bench;
            batch(recorder, |appender| {
                ingester.end(scrape * 1000, appender);
                Ok::<(), ()>(())
            })
            .unwrap()
            .unwrap();
            assert!(bench.ingester.lines.all.len() <= 2 * FORGET_AFTER as usize);
        }
    }
}

// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

fn double(number: u8, value: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
}

// A counter and a histogram that is native and classic: three observations in bucket 1, of which one is at most 1.
fn families() -> Vec<u8> {
    let label = field(1, &[field(1, b"a"), field(2, b"x\"y")].concat());
    let counter = field(3, &double(1, 7.0));
    let time = [0x30, 0xe8, 0x07]; // 1000 ms
    let metric = [label, counter, time.to_vec()].concat();
    let first = [field(1, b"c_total"), vec![0x18, 0], field(4, &metric)].concat();
    let bucket = field(3, &[vec![0x08, 1], double(2, 1.0)].concat());
    let span = field(12, &[0x08, 2, 0x10, 1]);
    let native = [vec![0x28, 0], span, field(13, &[6])].concat();
    let histogram = field(7, &[vec![0x08, 3], double(2, 4.5), bucket, native].concat());
    let second = [field(1, b"h"), vec![0x18, 4], field(4, &histogram)].concat();
    let delimited = |message: Vec<u8>| [vec![u8::try_from(message.len()).unwrap()], message].concat();
    [delimited(first), delimited(second)].concat()
}

fn scrape_protobuf(more: &str, body: &[u8]) -> Result<Vec<String>, Refused> {
    let bench = &mut Bench::new(more);
    let (config, metrics) = (&bench.config, &bench.metrics);
    let ingester = &mut bench.ingester;
    batch(&bench.recorder, |appender| {
        ingester.body(config, metrics, Format::Protobuf, body, 1500, appender)
    })
    .unwrap()?;
    Ok(bench.recorder.samples.lock().clone())
}

#[test]
fn protobuf_says_since_when_each_sample_counts() {
    use cupola_exposition::MetricType;
    let none: [(&str, &str); 0] = [];
    let mut writer = cupola_exposition::protobuf::FamilyWriter::new();
    writer.family("g", "", MetricType::Gauge);
    writer.number(&none, 1.0, None);
    writer.family("c_total", "", MetricType::Counter);
    writer.number(&none, 2.0, Some(900));
    writer.number(&[("a", "b")], 3.0, None);
    writer.family("s", "", MetricType::Summary);
    writer.summary(&none, (4, 5.0), &[], Some(800));
    writer.family("h", "", MetricType::Histogram);
    writer.histogram(&none, (&[(f64::INFINITY, 6)], 7.0), None, Some(700));
    let body = writer.finish();
    let since = |scraped: Vec<String>| -> Vec<String> {
        let starts = scraped.into_iter().filter(|line| line.contains(" since "));
        starts
            .map(|line| line.replace(r#", instance="t:1", job="j""#, ""))
            .collect()
    };
    let expected = [
        r#"{__name__="c_total"} since 900 @1500"#,
        r#"{__name__="s_count"} since 800 @1500"#,
        r#"{__name__="s_sum"} since 800 @1500"#,
        r#"{__name__="h_count"} since 700 @1500"#,
        r#"{__name__="h_sum"} since 700 @1500"#,
        r#"{__name__="h_bucket", le="+Inf"} since 700 @1500"#,
    ];
    assert_eq!(since(scrape_protobuf("", &body).unwrap()), expected);
    // What is dropped on the way moves nobody's start.
    let dropped = "  metric_relabel_configs: [{source_labels: [__name__], regex: 'c_total|s_sum', action: drop}]\n";
    let left = [expected[1], expected[3], expected[4], expected[5]];
    assert_eq!(since(scrape_protobuf(dropped, &body).unwrap()), left);
}

#[test]
fn protobuf_brings_native_histograms_where_they_are_asked_for() {
    let target = r#"instance="t:1", job="j""#;
    let counter = format!(r#"{{__name__="c_total", a="x\"y", {target}}} 7 @1000"#);
    let native = format!(r#"{{__name__="h", {target}}} 4.5 @1500"#);
    let classic = [
        format!(r#"{{__name__="h_count", {target}}} 3 @1500"#),
        format!(r#"{{__name__="h_sum", {target}}} 4.5 @1500"#),
        format!(r#"{{__name__="h_bucket", {target}, le="1.0"}} 1 @1500"#),
        format!(r#"{{__name__="h_bucket", {target}, le="+Inf"}} 3 @1500"#),
    ];
    let all = |parts: &[&[String]]| parts.concat();
    let (counter, native) = (&[counter][..], &[native][..]);
    let body = families();
    assert_eq!(scrape_protobuf("", &body).unwrap(), all(&[counter, &classic]));
    let only = "  scrape_native_histograms: true\n";
    assert_eq!(scrape_protobuf(only, &body).unwrap(), all(&[counter, native]));
    let both = format!("{only}  always_scrape_classic_histograms: true\n");
    assert_eq!(
        scrape_protobuf(&both, &body).unwrap(),
        all(&[counter, &classic, native])
    );
    let error = scrape_protobuf("", &body[..body.len() - 1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "protobuf: family 2 \"\": the message ends in the middle of a field"
    );
}

// As upstream: buckets are merged until they fit, and where they cannot the whole scrape fails.
#[test]
fn native_histograms_are_made_as_coarse_as_the_configuration_wants() {
    let native = |more: &str| format!("  scrape_native_histograms: true\n{more}");
    let body = families();
    for (more, is_ok) in [
        ("  native_histogram_bucket_limit: 100\n", true),
        ("  native_histogram_bucket_limit: 1\n", true),
        ("  native_histogram_min_bucket_factor: 4\n", true),
    ] {
        assert_eq!(scrape_protobuf(&native(more), &body).is_ok(), is_ok, "{more}");
    }
    let nhcb = "  convert_classic_histograms_to_nhcb: true\n  native_histogram_bucket_limit: 1\n";
    let mut bench = Bench::new(nhcb);
    let error = bench.scrape(1000, LATENCY).unwrap_err();
    assert_eq!(error.to_string(), "histogram bucket limit exceeded");
    assert_eq!(bench.metrics.bucket_limit.get(), 1.0);
}

const LATENCY: &str =
    "# TYPE lat histogram\nlat_bucket{le=\"0.5\"} 1\nlat_bucket{le=\"+Inf\"} 4\nlat_sum 2.5\nlat_count 4\nother 1\n";

#[test]
fn classic_histograms_become_native_ones_and_end_like_them() {
    let mut bench = Bench::new("  convert_classic_histograms_to_nhcb: true\n");
    let line = |name: &str, rest: &str| format!("{{__name__=\"{name}\", instance=\"t:1\", job=\"j\"}} {rest}");
    assert_eq!(
        bench.scrape(1000, LATENCY).unwrap(),
        [line("other", "1 @1000"), line("lat", "2.5 @1000")]
    );
    assert_eq!(
        bench.scrape(2000, "other 2\n").unwrap(),
        [line("other", "2 @2000"), line("lat", "stale @2000")]
    );
    let both = "  convert_classic_histograms_to_nhcb: true\n  always_scrape_classic_histograms: true\n";
    assert_eq!(Bench::new(both).scrape(1000, LATENCY).unwrap().len(), 6);
}

#[test]
fn names_that_legacy_validation_does_not_know_fail_the_scrape() {
    let legacy = "  metric_name_validation_scheme: legacy\n";
    for body in ["{\"a.b\"} 1\n", "a{\"c.d\"=\"x\"} 1\n"] {
        assert!(Bench::new("").scrape(1000, body).is_ok());
        let error = Bench::new(legacy).scrape(1000, body).unwrap_err();
        assert!(
            error.to_string().starts_with("invalid metric name or label names: {"),
            "{error}"
        );
    }
    assert!(Bench::new(legacy).scrape(1000, "a:b{c=\"é\"} 1\n").is_ok());
    // Relabelling may make a name good.
    let renamed = "  metric_name_validation_scheme: legacy\n  metric_relabel_configs:\n  - {target_label: __name__, replacement: ab}\n";
    assert!(Bench::new(renamed).scrape(1000, "{\"a.b\"} 1\n").is_ok());
}

proptest::proptest! {
    #[test]
    fn a_known_layout_changes_nothing_but_the_cost(
        bodies in proptest::collection::vec(
            proptest::collection::vec("(a|b|c\\{x=\"[1-3]\"\\}|c\\{x=\"1\",\\}|d\\{) [1-3]( 9)?", 0..7), 1..8
        ),
    ) {
        let (mut quick, mut slow) = (Bench::new("  track_timestamps_staleness: true\n"), Bench::new("  track_timestamps_staleness: true\n"));
        for (n, body) in bodies.iter().enumerate() {
            let mut text = body.join("\n");
            text.push('\n');
            let ts = 1000 * (n as i64 + 1);
            slow.ingester.lines.forget_layout();
            let shown = [&mut quick, &mut slow].map(|bench| {
                let scraped = bench.scrape(ts, &text).map_err(|e| e.to_string());
                if scraped.is_err() {
                    batch(&bench.recorder, |appender| {
                        bench.ingester.end(ts, appender);
                        Ok::<(), std::convert::Infallible>(())
                    }).unwrap().unwrap();
                }
                let mut ended: Vec<String> = bench.recorder.samples.lock().clone();
                ended.sort();
                (scraped, ended, bench.metrics.duplicate.get())
            });
            proptest::prop_assert_eq!(&shown[0], &shown[1], "{}", text);
        }
    }
}

#[test]
fn series_tell_type_and_unit_where_that_is_asked_for() {
    let mut bench = Bench::new("");
    bench.ingester = bench.ingester.with_types(true);
    let mut scrape = |ts, body: &str| {
        let Bench {
            config,
            ingester,
            recorder,
            metrics,
        } = &mut bench;
        recorder.samples.lock().clear();
        let format = Format::OpenMetrics;
        batch(&*recorder, |appender| {
            ingester.body(config, metrics, format, body.as_bytes(), ts, appender)
        })
        .unwrap()
        .unwrap();
        recorder.samples.lock().clone()
    };
    let family = "# TYPE t_seconds gauge\n# UNIT t_seconds seconds\nt_seconds{__type__=\"mine\"} 1\n";
    let of_first = r#"{__name__="t_seconds", __type__="gauge", __unit__="seconds", instance="t:1", job="j"} 1"#;
    assert_eq!(
        scrape(
            1000,
            &format!("{family}# TYPE n counter\nn_total 2\n# TYPE p unknown\np 3\n# EOF\n")
        ),
        [
            format!("{of_first} @1000"),
            r#"{__name__="n_total", __type__="counter", instance="t:1", job="j"} 2 @1000"#.to_owned(),
            r#"{__name__="p", instance="t:1", job="j"} 3 @1000"#.to_owned(),
        ]
    );
    // Another type is another series, although the line is where it was.
    assert_eq!(
        scrape(
            2000,
            &format!("{family}# TYPE n gauge\nn_total 2\n# TYPE p unknown\np 3\n# EOF\n")
        ),
        [
            format!("{of_first} @2000"),
            r#"{__name__="n_total", __type__="gauge", instance="t:1", job="j"} 2 @2000"#.to_owned(),
            r#"{__name__="p", instance="t:1", job="j"} 3 @2000"#.to_owned(),
            r#"{__name__="n_total", __type__="counter", instance="t:1", job="j"} stale @2000"#.to_owned(),
        ]
    );
}

mod starts;
