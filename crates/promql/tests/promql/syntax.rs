//! What is accepted, and the tree it gives, shown as nested lists with the bytes of every node.

use cupola_promql::{Expr, ExprKind, ParseOptions, Span, ValueType, parse, parse_with};
use expect_test::{Expect, expect};

// `(+ x (* y z))`: how operators bind.
fn shape(expr: &Expr) -> String {
    let head = match &expr.kind {
        ExprKind::Unary { op, .. } => op.to_string(),
        ExprKind::Binary(binary) => binary.op.to_string(),
        ExprKind::Paren(_) => "paren".to_owned(),
        ExprKind::Call(call) => call.function.name.to_owned(),
        ExprKind::Aggregate(aggregate) => aggregate.op.to_string(),
        ExprKind::Subquery(_) => "subquery".to_owned(),
        _ => return expr.to_string(),
    };
    let children: Vec<String> = expr.children().map(shape).collect();
    format!("({head} {})", children.join(" "))
}

#[track_caller]
fn check(promql: &str, expected: Expect) {
    let expr = parse_with(promql, &ParseOptions::all()).unwrap_or_else(|e| panic!("{promql}: {e:?}"));
    expected.assert_eq(&shape(&expr));
}

#[test]
fn operators_bind_as_upstream_binds_them() {
    check("a + b * c", expect!["(+ a (* b c))"]);
    check("a * b + c", expect!["(+ (* a b) c)"]);
    check("a - b - c", expect!["(- (- a b) c)"]);
    check("a ^ b ^ c", expect!["(^ a (^ b c))"]);
    check("a or b and c unless d", expect!["(or a (unless (and b c) d))"]);
    check("a == b + c", expect!["(== a (+ b c))"]);
    check("a </ b + c", expect!["(</ a (+ b c))"]);
    check("a >/ b", expect!["(>/ a b)"]);
    check("a atan2 b * c", expect!["(* (atan2 a b) c)"]);
}

#[test]
fn signs_bind_like_multiplication() {
    check("-1^2", expect!["(- (^ 1 2))"]);
    check("-a * b", expect!["(* (- a) b)"]);
    check("-a ^ b", expect!["(- (^ a b))"]);
    check("2 ^ -3 * 4", expect!["(* (^ 2 -3) 4)"]);
    check("a ^ -b ^ c", expect!["(^ a (- (^ b c)))"]);
    check("- -x", expect!["(- (- x))"]);
    check("+x", expect!["(+ x)"]);
    check("-foo offset 5m", expect!["(- foo offset 5m)"]);
}

#[test]
fn signs_of_literals_are_folded() {
    check("-1", expect!["-1"]);
    check("+5m", expect!["5m"]);
    check("--1", expect!["1"]);
    check("-Inf", expect!["-Inf"]);
    check("-(1)", expect!["(- (paren 1))"]);
}

#[test]
fn offsets_end_at_the_literal() {
    check("foo offset -2^2", expect!["(^ foo offset -2s 2)"]);
    check("foo offset 100 + 2", expect!["(+ foo offset 1m40s 2)"]);
    check("foo offset (100 + 2)", expect!["foo offset (100 + 2)"]);
    check("foo offset step()*0", expect!["(* foo offset step() 0)"]);
    check(
        "foo offset -min_of(step(), 1s)^0",
        expect!["(^ foo offset -min_of(step(), 1s) 0)"],
    );
}

#[test]
fn keywords_name_metrics_and_labels() {
    for name in [
        "sum",
        "by",
        "without",
        "offset",
        "and",
        "or",
        "unless",
        "start",
        "end",
        "step",
        "range",
        "min_of",
        "max_of",
        "anchored",
        "smoothed",
        "fill",
        "fill_left",
        "fill_right",
        "topk",
        "limitk",
        "count_values",
        "SUM",
    ] {
        let expr = parse(name).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let ExprKind::VectorSelector(selector) = expr.kind else {
            panic!("{name}")
        };
        assert_eq!(selector.name.as_deref(), Some(name));
        parse(&format!("{name}{{a=\"b\"}} + {name} offset 5m")).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    }
    for name in ["on", "ignoring", "group_left", "group_right", "bool", "atan2"] {
        assert!(parse(name).is_err(), "{name}");
    }
    check(
        "sum by (on, bool, group_left, sum, by, atan2, offset, fill) (x)",
        expect!["(sum x)"],
    );
    check("fill + fill", expect!["(+ fill fill)"]);
    check("and and and", expect!["(and and and)"]);
    check("{on=\"x\", bool=~\"y\"}", expect![[r#"{bool=~"y",on="x"}"#]]);
}

#[test]
fn keywords_are_read_in_any_case() {
    check("SUM BY (a) (x) OR y", expect!["(or (sum x) y)"]);
    check("x OFFSET 5m", expect!["x offset 5m"]);
    check("x @ START()", expect!["x @ start()"]);
    check("INF + nan", expect!["(+ +Inf NaN)"]);
}

#[test]
fn modifiers_come_in_any_order() {
    check("x[5m] @ 1.5 offset -1m", expect!["x[5m] @ 1.500 offset -1m"]);
    check("x[5m] offset -1m @ 1.5", expect!["x[5m] @ 1.500 offset -1m"]);
    check("x @ -5m", expect!["x @ -300.000"]);
    check("(x)[5m:] @ end()", expect!["(subquery (paren x))"]);
    check("x[5m] smoothed @ 1", expect!["x[5m] smoothed @ 1.000"]);
    check("x anchored", expect!["x anchored"]);
    check("x offset 0s offset 1m", expect!["x offset 1m"]);
}

#[test]
fn quoted_names_and_trailing_commas() {
    check(r#"{"a.b", "l l"="v",}"#, expect![[r#"{"l l"="v",__name__="a.b"}"#]]);
    check(r#"sum by ("a.b", c,) (x)"#, expect!["(sum x)"]);
    check("x + on('a.b',) group_left(c,) y", expect!["(+ x y)"]);
    check("x{'a'!~`b`}", expect![[r#"x{a!~"b"}"#]]);
    check("a:b:c{}", expect!["a:b:c"]);
}

#[test]
fn numbers_strings_and_comments() {
    check("0x1F + 1_000 + 017", expect!["(+ (+ 31 1000) 15)"]);
    check(".5e1 # half\n + 1", expect!["(+ 5 1)"]);
    check("1h30m", expect!["1h30m"]);
    check("5m * 2", expect!["(* 5m 2)"]);
    check(r#"'it\'s \u00e9'"#, expect![[r#""it's é""#]]);
    check("# only\nx # end", expect!["x"]);
    check("x{a=\"b\" # why\n}", expect![[r#"x{a="b"}"#]]);
}

#[test]
fn types_settle_matching() {
    let matching = |promql: &str| match parse(promql).unwrap().kind {
        ExprKind::Binary(binary) => binary.matching.map(|m| m.card),
        _ => panic!("{promql}"),
    };
    assert_eq!(matching("a + 1"), None);
    assert_eq!(format!("{:?}", matching("a and b")), "Some(ManyToMany)");
    assert_eq!(format!("{:?}", matching("a + on(x) group_left b")), "Some(ManyToOne)");
}

#[test]
fn types_of_expressions() {
    for (promql, ty) in [
        ("1 + 2", ValueType::Scalar),
        ("(1 + x)", ValueType::Vector),
        ("-time()", ValueType::Scalar),
        ("x[5m]", ValueType::Matrix),
        ("x[5m:]", ValueType::Matrix),
        ("'a'", ValueType::String),
        ("rate(x[5m])", ValueType::Vector),
    ] {
        assert_eq!(parse(promql).unwrap().value_type(), ty, "{promql}");
    }
}

#[track_caller]
fn check_spans(promql: &str, expected: Expect) {
    let expr = parse_with(promql, &ParseOptions::all()).unwrap();
    let text = |span: Span| promql.get(span.start..span.end).unwrap();
    let shown: Vec<&str> = expr.walk().map(|e| text(e.span)).collect();
    expected.assert_eq(&shown.join(" | "));
}

#[test]
fn nodes_know_their_bytes() {
    check_spans(
        "sum by (a) (rate(x{b=\"c\"}[5m] offset 1m)) / -y",
        expect![[
            r#"sum by (a) (rate(x{b="c"}[5m] offset 1m)) / -y | sum by (a) (rate(x{b="c"}[5m] offset 1m)) | rate(x{b="c"}[5m] offset 1m) | x{b="c"}[5m] offset 1m | -y | y"#
        ]],
    );
}

#[test]
fn selectors_are_collected() {
    let expr = parse("sum(a) + rate(b[5m]) / (c offset 1m)[5m:]").map_err(|e| e.len());
    assert_eq!(expr, Err(1));
    let expr = parse("sum(a) + rate(b[5m]) / max_over_time((c offset 1m)[5m:])").unwrap();
    let names: Vec<&str> = expr.selectors().filter_map(|s| s.name.as_deref()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn children_can_be_changed() {
    let mut expr = parse("topk(5, x) + abs(y) - (z)").unwrap();
    fn rename(expr: &mut Expr) {
        if let ExprKind::VectorSelector(selector) = &mut expr.kind {
            *selector = cupola_promql::VectorSelector {
                name: Some("n".to_owned()),
                ..Default::default()
            };
        }
        expr.children_mut().for_each(rename);
    }
    rename(&mut expr);
    assert_eq!(expr.to_string(), "topk(5, n) + abs(n) - (n)");
}
