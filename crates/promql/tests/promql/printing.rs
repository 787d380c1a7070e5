//! `Display` as `Expr.String()`, and the query formatter.

use cupola_promql::{ParseOptions, parse_with};
use expect_test::{Expect, expect};

#[track_caller]
fn check(promql: &str, printed: &str) {
    let expr = parse_with(promql, &ParseOptions::all()).unwrap();
    assert_eq!(expr.to_string(), printed);
    // What is printed reads back as the same.
    assert_eq!(parse_with(printed, &ParseOptions::all()).unwrap().to_string(), printed);
}

#[test]
fn prints_as_upstream() {
    for same in [
        r#"sum without () (x{job="s"})"#,
        "topk(5, x)",
        r#"count_values("value", x)"#,
        "a - on () c",
        "a - on (b) group_left (x, y) c",
        "a - ignoring (b) c",
        "up > bool 0",
        "a offset -7m",
        "a[12m] offset -3m",
        "a[1h:5m] offset 1m",
        "a[1h:]",
        r#"{__name__="a"}"#,
        "a @ end()",
        "a[1m] @ start()",
        "a </ 5",
        r#"sum by ("a.b", c) (x)"#,
        "a + fill (0) b",
        "a + on (x) fill_left (5) fill_right (7) b",
        "a[2 * 15m]",
        "a[(1 + 2) * 3s:step() / 2] offset -(step() + 1s)",
        "a[min_of(step() + 1, 1h)]",
        "info(a, {})",
        "a anchored",
        "a[5m] smoothed @ 1.000 offset 1m",
        "time()",
    ] {
        check(same, same);
    }
    for (promql, printed) in [
        ("sum by() (x)", "sum(x)"),
        ("sum(x) by (a)", "sum by (a) (x)"),
        ("a - on(b) group_left c", "a - on (b) group_left () c"),
        ("a - ignoring() c", "a - c"),
        ("a{}", "a"),
        ("a{c='d',b!~`e`}", r#"a{b!~"e",c="d"}"#),
        (r#"{"a.b","c d"="e"}"#, r#"{"c d"="e",__name__="a.b"}"#),
        ("a @ 10", "a @ 10.000"),
        ("a offset 1m @ 10.1234", "a @ 10.123 offset 1m"),
        ("a smoothed offset 1m @ 10", "a @ 10.000 smoothed offset 1m"),
        ("a[300]", "a[5m]"),
        ("a[90m]", "a[1h30m]"),
        ("a[((1m))+1]", "a[(1m) + 1]"),
        ("a offset +step()", "a offset step()"),
        ("1e21 + 1e-7", "1000000000000000000000 + 0.0000001"),
        ("-5m", "-5m"),
        ("'a\"\\n'", r#""a\"\n""#),
        ("a+fill(NaN)b", "a + fill (NaN) b"),
        (
            "a == bool on(x) fill_right(-Inf) b",
            "a == bool on (x) fill_right (-Inf) b",
        ),
        ("a # comment", "a"),
    ] {
        check(promql, printed);
    }
}

#[track_caller]
fn pretty(promql: &str, expected: Expect) {
    let expr = parse_with(promql, &ParseOptions::all()).unwrap();
    let shown = expr.pretty();
    expected.assert_eq(&shown);
    assert_eq!(
        parse_with(&shown, &ParseOptions::all()).unwrap().to_string(),
        expr.to_string()
    );
}

#[test]
fn formats_what_is_too_long_for_a_line() {
    pretty("sum by(a)(rate(x[5m]))", expect!["sum by (a) (rate(x[5m]))"]);
    pretty(
        r#"sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{job="kubelet", image!=""}[5m])) / on(namespace) group_left() kube_namespace_labels > 0.5"#,
        expect![[r#"
                sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{image!="",job="kubelet"}[5m]))
              / on (namespace) group_left ()
                kube_namespace_labels
            >
              0.5"#]],
    );
    pretty(
        r#"label_replace(histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m]))), "dst", "$1", "src", "(.*)")"#,
        expect![[r#"
            label_replace(
              histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m]))),
              "dst",
              "$1",
              "src",
              "(.*)"
            )"#]],
    );
    pretty(
        "topk(5, (aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa + bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb))",
        expect![[r#"
            topk(
              5,
              (
                  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
                +
                  bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
              )
            )"#]],
    );
    pretty(
        "-(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa + bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb)",
        expect![[r#"
            -(
                aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
              +
                bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
            )"#]],
    );
}
