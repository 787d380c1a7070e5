//! Property: any expression of the grammar parses, prints, and reads back as the same tree.

use cupola_promql::{ParseOptions, parse_with};
use proptest::prelude::*;

use crate::settled;

fn pick(options: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    prop::sample::select(options).prop_map(str::to_owned)
}

fn duration() -> impl Strategy<Value = String> {
    let leaf = pick(&["5m", "1h30m", "90", "2.5", "step()", "range()", "1ms"]);
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), pick(&["+", "-", "*", "^"]), inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("min_of({a}, {b})")),
        ]
    })
}

// In ranges and steps a lone literal must be above zero.
fn range() -> impl Strategy<Value = String> {
    prop_oneof![
        pick(&["5m", "90", "1h30m"]),
        duration().prop_map(|d| format!("step() + {d}"))
    ]
}

fn modifiers() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        1 => pick(&[" offset 5m", " offset -90", " @ 5", " @ start()", " @ -1.5 offset 1h", " offset 1m @ end()"]),
        1 => duration().prop_map(|d| format!(" offset ({d})")),
    ]
}

fn selector() -> impl Strategy<Value = String> {
    prop_oneof![
        pick(&["x", "sum", "a:b", "offset", "fill", "start"]),
        (
            pick(&["", "x", "by"]),
            pick(&[r#"{a="b"}"#, r#"{"n.m",c=~"d|e",}"#, r#"{f!="",__x!~'\'y'}"#])
        )
            // A name outside the braces excludes one inside.
            .prop_map(|(name, m)| if m.contains("n.m") { m } else { format!("{name}{m}") })
            .prop_filter("selects everything", |s| s != r#"{f!~"}"#),
    ]
}

fn vector() -> impl Strategy<Value = String> {
    let leaf = (selector(), modifiers(), pick(&["", " anchored", ""])).prop_map(|(s, m, e)| format!("{s}{m}{e}"));
    leaf.prop_recursive(5, 40, 3, |inner| {
        let op = pick(&["+", "-", "*", "/", "%", "^", "atan2", "</", ">/", "== bool", ">", "!="]);
        let set = pick(&["and", "or on(a)", "unless ignoring(b)"]);
        let matching = pick(&[
            "",
            "on(a)",
            "ignoring()",
            r#"on("x.y",) group_left(c)"#,
            "on() group_right fill(0)",
        ]);
        let scalar = pick(&[
            "1",
            "-5m",
            "0x1f",
            "NaN",
            "time()",
            "(1 < bool 2)",
            "-Inf ^ 2",
            "scalar(x)",
        ]);
        prop_oneof![
            (inner.clone(), op.clone(), matching, inner.clone())
                .prop_map(|(a, op, m, b)| format!("({a}) {op} {m} ({b})")),
            (inner.clone(), set, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (scalar.clone(), op.clone(), inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} ({b})")),
            // Without parentheses, so that operators of any two levels meet.
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.clone().prop_map(|a| format!("({a})")),
            (pick(&["sum", "max by (a)", "min without ('b c')"]), inner.clone())
                .prop_map(|(op, a)| format!("{op}({a})")),
            (scalar, inner.clone()).prop_map(|(k, a)| format!("topk({k}, {a}) by (z)")),
            inner.clone().prop_map(|a| format!("count_values('v', {a})")),
            (inner, range(), prop_oneof![Just(String::new()), range()], modifiers())
                .prop_map(|(a, r, s, m)| format!("max_over_time(({a})[{r}:{s}]{m})")),
            (selector(), range(), modifiers()).prop_map(|(s, r, m)| format!("rate({s}[{r}]{m})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printing_reads_back(text in vector()) {
        let options = ParseOptions::all();
        let expr = parse_with(&text, &options).map_err(|e| TestCaseError::fail(format!("{text}: {e:?}")))?;
        let printed = expr.to_string();
        let again = parse_with(&printed, &options)
            .map_err(|e| TestCaseError::fail(format!("{text} -> {printed}: {e:?}")))?;
        prop_assert_eq!(settled(&again.to_string()), settled(&printed));
        if !printed.contains("+Inf") {
            prop_assert_eq!(again.walk().count(), expr.walk().count());
        }
        let pretty = expr.pretty();
        let again = parse_with(&pretty, &options)
            .map_err(|e| TestCaseError::fail(format!("{text} -> {pretty}: {e:?}")))?;
        prop_assert_eq!(settled(&again.to_string()), settled(&printed));
    }
}
