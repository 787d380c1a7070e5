//! What each format allows.

use expect_test::{Expect, expect};

use super::{parse, show};
use crate::{Entry, Format, LabelPairs};

#[track_caller]
fn check(format: Format, body: &str, expected: Expect) {
    let (entries, error) = parse(format, body.as_bytes());
    let mut lines: Vec<String> = entries.iter().map(show).collect();
    lines.extend(error.map(|e| format!("error {e}")));
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn text_is_free_with_blanks_and_commas() {
    check(
        Format::Text,
        "\n \t\n  a  1\t\nb{x=\"1\" y = \"2\",}3 4\nc {} +Inf\nd{ }NaN\n{\"e.f\",\"x y\"=\"1\"} 1e3\n{a=\"b\",\"g\"}2",
        expect![[r#"
            {__name__="a"} = 1
            {__name__="b", x="1", y="2"} = 3 @4
            {__name__="c"} = inf
            {__name__="d"} = NaN
            {__name__="e.f", "x y"="1"} = 1000
            {__name__="g", a="b"} = 2"#]],
    );
}

#[test]
fn text_metadata_and_comments() {
    check(
        Format::Text,
        "# HELP a one\\ntwo \\\\ \\\"\n#  TYPE \t a counter\n# HELP b\n# TYPE \"c d\" untyped\n#HELP x\n# HELPS\n#\n# EOF",
        expect![[r##"
            help a "one\ntwo \\ \\\""
            type a counter
            help b ""
            type c d unknown
            comment "#HELP x"
            comment "# HELPS"
            comment "#"
            comment "# EOF""##]],
    );
}

#[test]
fn text_values_may_hold_anything_escaped_or_over_lines() {
    check(
        Format::Text,
        "a{b=\"x\\\\y\\\"z\\nw\\t\",c=\"two\nlines {}, # = \u{20ac}\"} 1\n",
        expect![[r#"{__name__="a", b="x\\y\"z\nw\\t", c="two\nlines {}, # = €"} = 1"#]],
    );
}

#[test]
fn openmetrics_has_seconds_and_exemplars() {
    check(
        Format::OpenMetrics,
        "# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n# HELP a_seconds x\\\"y\n\
         a_seconds_bucket{le=\"1\"} 4 1.5 # {trace_id=\"ab\\\"c\"} 0.67 1520879607.789\n\
         a_seconds_bucket{le=\"+Inf\"} 5 # {} 9\n# TYPE b info\nb_info 1\n# EOF\n",
        expect![[r#"
            type a_seconds histogram
            unit a_seconds seconds
            help a_seconds "x\"y"
            {__name__="a_seconds_bucket", le="1.0"} = 4 @1500 exemplar {trace_id="ab\"c"} = 0.67 @1520879607789
            {__name__="a_seconds_bucket", le="+Inf"} = 5 exemplar {} = 9
            type b info
            {__name__="b_info"} = 1"#]],
    );
}

#[test]
fn a_series_is_the_bytes_as_sent() {
    let body = b"# TYPE a histogram\n a {le=\"1\"}  2\na{le=\"1\"} 2\n{\"b\"}3\n";
    let (entries, error) = parse(Format::Text, body);
    assert_eq!(error, None);
    let raw: Vec<_> = entries
        .iter()
        .filter_map(|e| match e {
            Entry::Sample(sample) => Some(sample.series.raw()),
            _ => None,
        })
        .collect();
    assert_eq!(raw, [&b"a {le=\"1\"}"[..], b"a{le=\"1\"}", b"{\"b\"}"]);
}

#[test]
fn bounds_are_normalised_only_where_they_are_bounds_and_only_when_asked() {
    let body = b"# TYPE s summary\ns{quantile=\"1\",le=\"1\"} 1\n# TYPE g gauge\ng{quantile=\"1\",le=\"1\"} 1\n";
    let (entries, _) = parse(Format::Text, body);
    let mut pairs = LabelPairs::new();
    let mut seen = Vec::new();
    for entry in &entries {
        let Entry::Sample(sample) = entry else { continue };
        for normalise in [true, false] {
            sample.series.labels_into(normalise, &mut pairs);
            seen.push(
                pairs
                    .iter()
                    .map(|(n, v)| format!("{n}={v}"))
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
    }
    let plain = |name: &str| format!("__name__={name} quantile=1 le=1");
    assert_eq!(
        seen,
        [
            "__name__=s quantile=1.0 le=1".to_owned(),
            plain("s"),
            plain("g"),
            plain("g")
        ]
    );
}
