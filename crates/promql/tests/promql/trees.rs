//! The tree as JSON: upstream's fields and values.

use cupola_promql::{MAX_NESTING, ParseOptions, parse_with};
use serde_json::{Value, json};

fn tree(promql: &str) -> Value {
    let expr = parse_with(promql, &ParseOptions::all()).unwrap();
    let compact: Value = serde_json::from_str(&expr.to_json()).unwrap();
    let pretty: Value = serde_json::from_str(&expr.to_json_pretty()).unwrap();
    assert_eq!(compact, pretty, "{promql}");
    compact
}

#[track_caller]
fn check(promql: &str, expected: &Value) {
    assert_eq!(tree(promql), *expected, "{promql}");
}

fn selector(name: &str) -> Value {
    json!({
        "type": "vectorSelector", "name": name, "offset": 0, "timestamp": null, "startOrEnd": null,
        "matchers": [{"name": "__name__", "type": "=", "value": name}], "anchored": false, "smoothed": false,
    })
}

#[test]
fn literals_are_texts() {
    check("1.5", &json!({"type": "numberLiteral", "val": "1.5"}));
    check("-Inf", &json!({"type": "numberLiteral", "val": "-Inf"}));
    check("NaN", &json!({"type": "numberLiteral", "val": "NaN"}));
    check("5m", &json!({"type": "numberLiteral", "val": "300"}));
    check(
        "\"a\\\"\\n\\x01\"",
        &json!({"type": "stringLiteral", "val": "a\"\n\u{1}"}),
    );
    check(
        "(1)",
        &json!({"type": "parenExpr", "expr": {"type": "numberLiteral", "val": "1"}}),
    );
    check("-x", &json!({"type": "unaryExpr", "op": "-", "expr": selector("x")}));
}

#[test]
fn selectors_say_what_they_select_and_when() {
    check("x", &selector("x"));
    check(
        r#"x{a!="b",c=~"d.*"} offset 1m @ 12.345"#,
        &json!({
            "type": "vectorSelector", "name": "x", "offset": 60_000, "timestamp": 12_345, "startOrEnd": null,
            "matchers": [
                {"name": "a", "type": "!=", "value": "b"},
                {"name": "c", "type": "=~", "value": "d.*"},
                {"name": "__name__", "type": "=", "value": "x"},
            ],
            "anchored": false, "smoothed": false,
        }),
    );
    check(
        "x[5m] smoothed @ end() offset -1s",
        &json!({
            "type": "matrixSelector", "name": "x", "range": 300_000, "offset": -1_000, "timestamp": null,
            "startOrEnd": "end", "matchers": [{"name": "__name__", "type": "=", "value": "x"}],
            "anchored": false, "smoothed": true,
        }),
    );
    check(
        "x[1h:] @ start()",
        &json!({
            "type": "subquery", "expr": selector("x"), "range": 3_600_000, "step": 0, "offset": 0, "timestamp": null,
            "startOrEnd": "start",
        }),
    );
    // Not known before the query's step is.
    assert_eq!(tree("x[step() * 2]")["range"], 0);
    assert_eq!(tree("x[1h:30s]")["step"], 30_000);
}

#[test]
fn operators_aggregations_and_calls_have_their_parts() {
    check(
        "x == bool on (a) group_left (b) fill_left(1) y",
        &json!({
            "type": "binaryExpr", "op": "==", "bool": true, "lhs": selector("x"), "rhs": selector("y"),
            "matching": {
                "card": "many-to-one", "on": true, "labels": ["a"], "include": ["b"],
                "fillValues": {"lhs": 1, "rhs": null},
            },
        }),
    );
    assert_eq!(tree("x and y")["matching"]["card"], "many-to-many");
    assert_eq!(tree("x * 2")["matching"], Value::Null);
    check(
        "topk without (a, b) (3, x)",
        &json!({
            "type": "aggregation", "op": "topk", "grouping": ["a", "b"], "without": true, "expr": selector("x"),
            "param": {"type": "numberLiteral", "val": "3"},
        }),
    );
    assert_eq!(tree("sum(x)")["param"], Value::Null);
    check(
        "round(x)",
        &json!({
            "type": "call", "args": [selector("x")],
            "func": {"name": "round", "argTypes": ["vector", "scalar"], "variadic": 1, "returnType": "vector"},
        }),
    );
    check(
        "time()",
        &json!({
            "type": "call", "args": [],
            "func": {"name": "time", "argTypes": [], "variadic": 0, "returnType": "scalar"},
        }),
    );
}

#[test]
fn pretty_trees_have_a_line_for_each_field() {
    let expr = parse_with("-(1)", &ParseOptions::default()).unwrap();
    expect_test::expect![[r#"
        {
          "type": "unaryExpr",
          "op": "-",
          "expr": {
            "type": "parenExpr",
            "expr": {
              "type": "numberLiteral",
              "val": "1"
            }
          }
        }"#]]
    .assert_eq(&expr.to_json_pretty());
}

#[test]
fn a_deep_tree_fits_a_small_stack() {
    let levels = MAX_NESTING - 1;
    let query = format!("{}x{}", "abs(".repeat(levels), ")".repeat(levels));
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let json = parse_with(&query, &ParseOptions::default()).unwrap().to_json();
        assert_eq!(json.matches("\"abs\"").count(), levels);
    });
    thread.unwrap().join().unwrap();
}
