//! Error texts and places, in Prometheus's words.

use cupola_promql::{ParseOptions, parse, parse_match_param, parse_selector, parse_with, render_errors};

#[track_caller]
fn check(promql: &str, expected: &str) {
    let errors = parse(promql).expect_err(promql);
    assert_eq!(render_errors(promql, &errors), expected, "{promql}\nall: {errors:?}");
}

#[track_caller]
fn check_all(cases: &[(&str, &str)]) {
    for (promql, expected) in cases {
        let errors = parse_with(promql, &ParseOptions::all()).expect_err(promql);
        let (position, message) = expected.split_once(' ').unwrap();
        let expected = format!("{position} parse error: {message}");
        assert_eq!(render_errors(promql, &errors), expected, "{promql}\nall: {errors:?}");
    }
}

#[test]
fn places_count_from_one_and_in_bytes() {
    check("", "1:1: parse error: no expression found in input");
    check("# nothing", "1:1: parse error: no expression found in input");
    check("sum(", "1:5: parse error: unclosed left parenthesis");
    check("x +\n  é", "2:3: parse error: unexpected character: 'é'");
    check("'é' $", "1:6: parse error: unexpected character: '$'");
}

#[test]
fn words_that_cannot_be_read() {
    check_all(&[
        ("(1))", "1:5: unexpected right parenthesis ')'"),
        ("((1)", "1:5: unclosed left parenthesis"),
        ("x[5m", "1:5: unclosed left bracket"),
        ("x[", "1:3: unexpected end of input in duration expression"),
        ("x{a=\"b\"", "1:8: unexpected end of input inside braces"),
        ("x{1}", "1:3: unexpected character inside braces: '1'"),
        ("x{a>1}", "1:4: unexpected character inside braces: '>'"),
        ("x{a!b}", "1:4: unexpected character after '!' inside braces: 'b'"),
        ("x{{", "1:3: unexpected left brace '{'"),
        ("x]", "1:2: unexpected right bracket ']'"),
        ("a =~ b", "1:3: unexpected character after '=': '~'"),
        ("a ! b", "1:3: unexpected character after '!': ' '"),
        ("1e", "1:1: bad number or duration syntax: \"1e\""),
        ("x[5mm]", "1:3: bad number or duration syntax: \"5mm\""),
        ("999999..", "1:1: bad number or duration syntax: \"999999..\""),
        ("1__0", "1:1: bad number or duration syntax: \"1__\""),
        ("'abc", "1:1: unterminated quoted string"),
        ("\"a\nb\"", "1:1: unterminated quoted string"),
        ("`abc", "1:1: unterminated raw string"),
        ("'\\q'", "1:1: unknown escape sequence U+0071 'q'"),
        ("'\\xg0'", "1:1: illegal character U+0067 'g' in escape sequence"),
        ("'\\777'", "1:1: escape sequence is an invalid Unicode code point"),
        ("'\\ud800'", "1:1: escape sequence is an invalid Unicode code point"),
        ("'\\x1", "1:1: escape sequence not terminated"),
        ("x[\"5m\"]", "1:3: unexpected character in duration expression: '\"'"),
        ("x[:1m]", "1:4: unexpected colon before duration in duration expression"),
        ("x[5m y]", "1:6: unexpected character: 'y', expected ':'"),
        ("x[5m:1m:1m]", "1:8: unexpected colon ':'"),
        ("x[5m[", "1:5: unexpected left bracket '['"),
        (
            "0x",
            "1:1: error parsing number: strconv.ParseFloat: parsing \"0x\": invalid syntax",
        ),
        (
            "1e999",
            "1:1: error parsing number: strconv.ParseFloat: parsing \"1e999\": value out of range",
        ),
        ("5hs", "1:1: not a valid duration string: \"5hs\""),
    ]);
}

#[test]
fn words_in_the_wrong_place() {
    check_all(&[
        ("1 /", "1:4: unexpected end of input"),
        ("*1", "1:1: unexpected <op:*>"),
        ("-=", "1:2: unexpected \"=\""),
        ("++-++-+-+-<", "1:11: unexpected <op:<>"),
        ("a b", "1:3: unexpected identifier \"b\""),
        ("a b:c", "1:3: unexpected metric identifier \"b:c\""),
        ("a 123456789012", "1:3: unexpected number \"1234567890\"..."),
        ("a 'b'", "1:3: unexpected string \"'b'\""),
        ("a 5m", "1:3: unexpected duration \"5m\""),
        ("a:b(c)", "1:4: unexpected \"(\""),
        ("a + group_left b", "1:5: unexpected <group_left>"),
        ("a - on(b) ignoring(c) d", "1:11: unexpected <ignoring>"),
        ("a + fill(1) fill(2) b", "1:17: unexpected \"(\""),
        ("a + fill(x) b", "1:10: unexpected identifier \"x\""),
        ("a{b=\"c\"} {d=\"e\"}", "1:10: unexpected \"{\""),
        (
            "rate(x[5m],)",
            "1:11: trailing commas not allowed in function call args",
        ),
        ("rate(,)", "1:6: unexpected \",\""),
        (
            "topk(5, x,, y)",
            "1:10: trailing commas not allowed in function call args",
        ),
        ("atan2", "1:1: unexpected <op:atan2>"),
        ("x @", "1:4: unexpected end of input in @, expected timestamp"),
        ("x @ start", "1:10: unexpected end of input in @, expected timestamp"),
        ("x @ y", "1:5: unexpected identifier \"y\" in @, expected timestamp"),
        (
            "x offset",
            "1:9: unexpected end of input in offset, expected number, duration, step(), or range()",
        ),
        (
            "x offset y",
            "1:10: unexpected identifier \"y\" in offset, expected number, duration, step(), or range()",
        ),
        (
            "x[]",
            "1:3: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
        ),
        (
            "x[5m 5m]",
            "1:6: unexpected duration \"5m\" in subquery or range, expected \":\" or \"]\"",
        ),
        ("x[5m:)]", "1:7: unexpected right parenthesis ')'"),
        (
            "x[5m:*]",
            "1:6: unexpected <op:*> in subquery selector, expected number, duration, step(), range(), or \"]\"",
        ),
        (
            "x[5m:1m 2m]",
            "1:9: unexpected duration \"2m\" in subquery selector, expected \"]\"",
        ),
    ]);
}

#[test]
fn label_matchers() {
    check_all(&[
        (
            "x{a}",
            "1:4: unexpected \"}\" in label matching, expected label matching operator",
        ),
        ("x{a=}", "1:5: unexpected \"}\" in label matching, expected string"),
        (
            "x{a==\"b\"}",
            "1:5: unexpected \"=\" in label matching, expected string",
        ),
        (
            "x{a=b}",
            "1:5: unexpected identifier \"b\" in label matching, expected string",
        ),
        (
            "x{,}",
            "1:3: unexpected \",\" in label matching, expected identifier or \"}\"",
        ),
        (
            "x{a=\"b\" c}",
            "1:9: unexpected identifier \"c\" in label matching, expected \",\" or \"}\"",
        ),
        (
            "x{a=\"b\",,}",
            "1:9: unexpected \",\" in label matching, expected identifier or \"}\"",
        ),
        (
            "x{a=~\"*b\"}",
            "1:3: error parsing regexp: missing argument to repetition operator: `*`",
        ),
        ("{}", "1:1: vector selector must contain at least one non-empty matcher"),
        (
            "{a=\"\"}",
            "1:1: vector selector must contain at least one non-empty matcher",
        ),
        (
            "1 + {a=~\".*\"}[5m]",
            "1:5: vector selector must contain at least one non-empty matcher",
        ),
        (
            "x{__name__=\"y\"}",
            "1:1: metric name must not be set twice: \"x\" or \"y\"",
        ),
    ]);
}

#[test]
fn aggregations() {
    check_all(&[
        ("sum()", "1:1: no arguments for aggregate expression provided"),
        ("sum(1 +)", "1:8: unexpected \")\" in aggregation"),
        ("sum x by (y)", "1:5: unexpected identifier \"x\" in aggregation"),
        ("MIN (x) keep", "1:9: unexpected identifier \"keep\""),
        ("sum by (a) x", "1:12: unexpected identifier \"x\" in aggregation"),
        (
            "sum(x) by a",
            "1:11: unexpected identifier \"a\" in grouping opts, expected \"(\"",
        ),
        (
            "sum without(==)(x)",
            "1:13: unexpected <op:==> in grouping opts, expected label",
        ),
        (
            "sum without(,)(x)",
            "1:13: unexpected \",\" in grouping opts, expected label",
        ),
        (
            "sum by (a,,)(x)",
            "1:11: unexpected \",\" in grouping opts, expected label",
        ),
        (
            "sum by (a b)(x)",
            "1:11: unexpected identifier \"b\" in grouping opts, expected \",\" or \")\"",
        ),
        (
            "sum by (1)(x)",
            "1:9: unexpected number \"1\" in grouping opts, expected label",
        ),
        ("sum by ('')(x)", "1:9: invalid label name for grouping: \"\""),
        ("sum by (a) (x) by (b)", "1:16: unexpected <by>"),
        (
            "topk(x)",
            "1:1: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        (
            "1 + sum(x, y)",
            "1:5: wrong number of arguments for aggregate expression provided, expected 1, got 2",
        ),
        (
            "sum(1)",
            "1:5: expected type instant vector in aggregation expression, got scalar",
        ),
        (
            "topk('a', x)",
            "1:6: expected type scalar in aggregation parameter, got string",
        ),
        (
            "count_values(5, x)",
            "1:14: expected type string in aggregation parameter, got scalar",
        ),
    ]);
}

#[test]
fn binary_operations() {
    check_all(&[
        ("1 == 1", "1:3: comparisons between scalars must use BOOL modifier"),
        (
            "1 and 1",
            "1:1: set operator \"and\" not allowed in binary scalar expression",
        ),
        (
            "x or 1",
            "1:1: set operator \"or\" not allowed in binary scalar expression",
        ),
        (
            "x + bool y",
            "1:3: bool modifier can only be used on comparison operators",
        ),
        (
            "x </ bool y",
            "1:3: bool modifier can only be used on comparison operators",
        ),
        (
            "x + 'y'",
            "1:5: binary expression must contain only scalar and instant vector types",
        ),
        (
            "x[5m] + y",
            "1:1: binary expression must contain only scalar and instant vector types",
        ),
        (
            "x + on(a) 1",
            "1:1: vector matching only allowed between instant vectors",
        ),
        (
            "x + fill(0) 1",
            "1:1: filling in missing series only allowed between instant vectors",
        ),
        (
            "x and fill(0) y",
            "1:1: filling in missing series not allowed for set operators",
        ),
        (
            "x or on(a) group_left(b) y",
            "1:1: no grouping allowed for \"or\" operation",
        ),
        (
            "x + on(a) group_left(a) y",
            "1:3: label \"a\" must not occur in ON and GROUP clause at once",
        ),
        (
            "-'a'",
            "1:1: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
        ),
        (
            "-x[5m]",
            "1:1: unary expression only allowed on expressions of type scalar or instant vector, got \"range vector\"",
        ),
    ]);
}

#[test]
fn calls() {
    check_all(&[
        ("foo(x)", "1:1: unknown function with name \"foo\""),
        (
            "holt_winters(x[5m], 0.5, 0.5)",
            "1:1: unknown function with name \"holt_winters\"",
        ),
        ("rate()", "1:1: expected 1 argument(s) in call to \"rate\", got 0"),
        (
            "rate(1)",
            "1:6: expected type range vector in call to function \"rate\", got scalar",
        ),
        (
            "abs(1)",
            "1:5: expected type instant vector in call to function \"abs\", got scalar",
        ),
        ("time(x)", "1:1: expected 0 argument(s) in call to \"time\", got 1"),
        (
            "hour(x, y, z)",
            "1:1: expected at most 1 argument(s) in call to \"hour\", got 3",
        ),
        (
            "label_join()",
            "1:1: expected at least 3 argument(s) in call to \"label_join\", got 0",
        ),
        (
            "label_join(x, 'a', 'b', y)",
            "1:25: expected type string in call to function \"label_join\", got instant vector",
        ),
        (
            "info(x, y)",
            "1:9: expected label selectors only, got vector selector instead",
        ),
        ("info(x, (y))", "1:9: expected label selectors only"),
        (
            "1[5m:]",
            "1:1: subquery is only allowed on instant vector, got scalar instead",
        ),
    ]);
    assert!(parse_with("info(x, {})", &ParseOptions::all()).is_ok());
}

#[test]
fn ranges_offsets_and_times() {
    check_all(&[
        ("x[0m]", "1:3: duration must be greater than 0"),
        ("x[-1]", "1:3: duration must be greater than 0"),
        ("x[5m:0s]", "1:6: duration must be greater than 0"),
        ("x[5m/0]", "1:5: division by zero"),
        ("x[5m%0s]", "1:5: modulo by zero"),
        ("x offset 1e10", "1:10: duration out of range"),
        ("x offset 300y", "1:10: duration out of range"),
        ("(x + y)[5m]", "1:8: ranges only allowed for vector selectors"),
        ("x[5m][5m]", "1:6: ranges only allowed for vector selectors"),
        ("x offset 1m[5m]", "1:12: no offset modifiers allowed before range"),
        ("x @ 1 [5m]", "1:7: no @ modifiers allowed before range"),
        ("x offset 1m offset 2m", "1:1: offset may not be set multiple times"),
        ("x @ 1 @ 2", "1:1: @ <timestamp> may not be set multiple times"),
        ("x @ Inf", "1:1: timestamp out of bounds for @ modifier: +Inf"),
        (
            "x @ 1e30",
            "1:1: timestamp out of bounds for @ modifier: 1000000000000000019884624838656.000000",
        ),
        (
            "1 offset 1d",
            "1:1: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        (
            "sum(x) @ 5",
            "1:1: @ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        (
            "x[5m:] anchored",
            "1:1: anchored modifier is not supported for subqueries",
        ),
        ("1 smoothed", "1:1: smoothed modifier not implemented"),
        (
            "x anchored smoothed",
            "1:1: anchored and smoothed modifiers cannot be used together",
        ),
    ]);
}

#[test]
fn features_are_off_unless_asked_for() {
    check(
        "1 + max_of(1, 2)",
        "1:5: parse error: function \"max_of\" is not enabled",
    );
    check(
        "limitk(1, x)",
        "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
    );
    check(
        "x[5m] anchored",
        "1:1: parse error: anchored modifier is experimental and not enabled",
    );
    check(
        "x + fill(0) y",
        "1:1: parse error: binop fill modifiers are experimental and not enabled",
    );
    assert!(
        parse("x[5m + 1m] offset (1m * 2)").is_ok(),
        "duration expressions are stable"
    );
    assert!(parse("first_over_time(x[5m])").is_ok());
}

#[test]
fn every_mistake_of_meaning_is_told() {
    let errors = parse("rate(1) + abs('a') + (1 == 1)").unwrap_err();
    let starts: Vec<usize> = errors.iter().map(|e| e.span.start).collect();
    assert_eq!(starts, [5, 14, 24]);
}

#[test]
fn match_params() {
    assert_eq!(parse_match_param("up{job=\"x\"}").unwrap().len(), 2);
    assert_eq!(parse_selector("{a=\"\"}").unwrap().len(), 1);
    for (text, expected) in [
        ("{a=\"\"}", "match[] must contain at least one non-empty matcher"),
        ("{}", "match[] must contain at least one non-empty matcher"),
        ("", "1:1: parse error: unexpected end of input"),
        ("up{", "1:4: parse error: unexpected end of input inside braces"),
        ("1", "1:1: parse error: unexpected number \"1\""),
        ("up offset 5m", "1:4: parse error: unexpected <offset>"),
        ("rate(x[5m])", "1:5: parse error: unexpected \"(\""),
    ] {
        assert_eq!(parse_match_param(text).unwrap_err().to_string(), expected, "{text}");
    }
}
