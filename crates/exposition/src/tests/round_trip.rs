//! What is written reads back, and no input makes a parser panic.

use proptest::prelude::*;

use super::parse;
use crate::{Entry, Format, LabelPairs, MetricType, Writer};

#[test]
fn a_writers_output_to_the_byte() {
    let mut writer = Writer::new();
    writer.single("up", "Is it\nup \\ \"there\"?", MetricType::Gauge, 1.0);
    writer.family("empty_total", "No sample, no trace.", MetricType::Counter);
    writer.family("lat", "", MetricType::Histogram);
    writer
        .sample_suffix("_bucket", &[("le", "+Inf")], 3e6)
        .sample_suffix::<&str, &str>("_sum", &[], 0.25);
    writer
        .family("a.b", "x", MetricType::Unknown)
        .sample(&[("c d", "e\"f\n")], f64::NAN)
        .value(1.5);
    writer.family("also_empty", "x", MetricType::Counter);
    expect_test::expect![[r#"
        # HELP up Is it\nup \\ "there"?
        # TYPE up gauge
        up 1
        # TYPE lat histogram
        lat_bucket{le="+Inf"} 3e+06
        lat_sum 0.25
        # HELP "a.b" x
        # TYPE "a.b" untyped
        {"a.b","c d"="e\"f\n"} NaN
        {"a.b"} 1.5
    "#]]
    .assert_eq(&String::from_utf8(writer.finish()).unwrap());
}

#[test]
fn a_reused_buffer_keeps_what_it_held() {
    let mut writer = Writer::with_buffer(b"# kept\n".to_vec());
    writer.family("a", "", MetricType::Gauge);
    assert_eq!(writer.finish(), b"# kept\n");
}

#[test]
fn duplicates_are_dropped_where_that_was_asked_for() {
    let mut writer = Writer::new();
    writer.refuse_duplicates();
    writer
        .family("a", "x", MetricType::Gauge)
        .sample(&[("b", "1")], 1.0)
        .sample(&[("b", "1")], 2.0);
    writer.family("b", "x", MetricType::Gauge).sample(&[("b", "1")], 3.0);
    writer.family("a", "x", MetricType::Gauge).sample(&[("b", "2")], 4.0);
    assert_eq!((writer.accept_duplicates(), writer.accept_duplicates()), (2, 0));
    writer.family("c", "", MetricType::Gauge).value(5.0).value(6.0);
    let body = String::from_utf8(writer.finish()).unwrap();
    let samples: Vec<&str> = body.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples, ["a{b=\"1\"} 1", "b{b=\"1\"} 3", "c 5", "c 6"]);
    assert_eq!(body.matches("# TYPE").count(), 3);
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        name in "[a-z_:][a-z0-9_:]{0,8}|\\PC{1,6}",
        help in "[^\\n]{1,12}|[\\\\n\n\"]{0,6}",
        labels in proptest::collection::btree_map("[a-z_]{1,6}|.{1,6}", "(?s).{1,12}", 0..5),
        bits: u64,
    ) {
        prop_assume!(!labels.contains_key("__name__"));
        let value = f64::from_bits(bits);
        let pairs: Vec<(String, String)> = labels.into_iter().collect();
        let mut writer = Writer::new();
        writer.family(&name, &help, MetricType::Gauge).sample(&pairs, value);
        let body = writer.finish();

        let (entries, error) = parse(Format::Text, &body);
        prop_assert_eq!(error, None, "{}", String::from_utf8_lossy(&body));
        let mut seen = LabelPairs::new();
        for entry in &entries {
            match entry {
                Entry::Help { name: n, text } => {
                    prop_assert_eq!(n.as_ref(), &name);
                    prop_assert_eq!(text.as_ref(), &help);
                }
                Entry::Type { name: n, kind } => {
                    prop_assert_eq!(n.as_ref(), &name);
                    prop_assert_eq!(*kind, MetricType::Gauge);
                }
                Entry::Sample(sample) => {
                    sample.series.labels_into(true, &mut seen);
                    let mut expected = vec![("__name__".to_owned(), name.clone())];
                    expected.extend(pairs.iter().cloned());
                    let got: Vec<(String, String)> =
                        seen.iter().map(|(n, v)| (n.clone().into_owned(), v.clone().into_owned())).collect();
                    prop_assert_eq!(got, expected);
                    prop_assert!(sample.value == value || (sample.value.is_nan() && value.is_nan()));
                }
                other => prop_assert!(false, "unexpected {other:?}"),
            }
        }
        prop_assert_eq!(seen.first().map(|(n, _)| n.as_ref()), Some("__name__"));
    }
}

#[test]
fn no_bytes_make_a_parser_panic() {
    let corpus: Vec<Vec<u8>> = [
        "# HELP a b\\n\n# TYPE a histogram\na_bucket{le=\"1\",x=\"\\\"\\\\\"} 1.5e3 12\n{\"a.b\",c=\"d\"} NaN\n",
        "# TYPE a counter\n# UNIT a_s s\na_total{b=\"c\"} 1 2.5 # {t=\"u\"} 0.5 3.5\n# EOF\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    let dictionary = [
        "# HELP ", "# TYPE ", "# EOF", "\"", "\\", "{", "}", " # {", "\n", "1e999", "\u{20ac}", ",",
    ];
    cupola_testkit::fuzz(20_000, &corpus, &dictionary, |input| {
        for format in [Format::Text, Format::OpenMetrics] {
            let (entries, error) = parse(format, input);
            for entry in &entries {
                if let Entry::Sample(sample) = entry {
                    // A sample that was accepted has a name.
                    let labels = sample.series.labels();
                    assert!(!labels.metric_name().is_empty(), "{:?}", sample.series);
                    let _ = sample.exemplar.map(|e| e.labels());
                }
            }
            if let Some(e) = error {
                assert!(e.line >= 1 && e.column >= 1 && !e.message.is_empty());
            }
        }
    });
}
