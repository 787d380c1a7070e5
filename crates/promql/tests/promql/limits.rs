//! Hostile input: nothing overflows the stack, and everything ends quickly with an answer or an error.

use cupola_promql::{MAX_HEIGHT, MAX_NESTING, ParseOptions, parse_match_param, parse_with};
use cupola_testkit::fuzz;

use crate::settled;

fn message(query: &str) -> Result<(), String> {
    parse_with(query, &ParseOptions::all())
        .map(drop)
        .map_err(|e| e[0].message.clone())
}

#[test]
fn deep_nesting_is_refused_where_it_gets_too_deep() {
    let too_deep = format!("expression is nested too deeply: more than {MAX_NESTING} levels");
    let n = 10_000;
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("abs(", "x", ")"),
        ("sum(", "x", ")"),
        ("-", "x", ""),
        ("1^", "1", ""),
    ] {
        let query = format!("{}{middle}{}", open.repeat(n), close.repeat(n));
        assert_eq!(message(&query), Err(too_deep.clone()), "{open}");
        // Unclosed ones end there too.
        assert_eq!(message(&open.repeat(n)), Err(too_deep.clone()), "{open}");
    }
    let query = format!("x[{}1m{}]", "(".repeat(n), ")".repeat(n));
    assert_eq!(message(&query), Err(too_deep.clone()));
    assert_eq!(message(&format!("x[{}1m]", "1^".repeat(n))), Err(too_deep));
}

#[test]
fn long_chains_are_refused_where_they_get_too_long() {
    let too_long = format!("expression is too long: more than {MAX_HEIGHT} operations in one chain");
    assert_eq!(message(&format!("x{}", " or x".repeat(100_000))), Err(too_long.clone()));
    assert_eq!(
        message(&format!("x[1s{}]", "+1s".repeat(100_000))),
        Err(too_long.clone())
    );
    assert_eq!(message(&format!("x{}", "[1m:]".repeat(100_000))), Err(too_long));
}

#[test]
fn the_largest_tree_can_be_checked_printed_and_dropped_on_a_small_stack() {
    let nested = |levels: usize| format!("{}x{}", "abs(".repeat(levels), ")".repeat(levels));
    let chain = format!("{}{}", nested(MAX_NESTING - 1), " + x".repeat(MAX_HEIGHT - MAX_NESTING));
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let expr = parse_with(&chain, &ParseOptions::all()).unwrap();
        assert!(expr.to_string().len() >= chain.len());
        assert!(expr.pretty().len() > chain.len());
        assert_eq!(expr.walk().count(), MAX_NESTING + 2 * (MAX_HEIGHT - MAX_NESTING));
        drop(expr.clone());
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn a_megabyte_of_anything_ends() {
    let size = 1 << 20;
    for piece in [
        "(",
        ")",
        "[",
        "{",
        "}",
        "x,",
        "1 ",
        "a=\"b\",",
        "-",
        "+",
        "^",
        "\\",
        "'",
        "`",
        "#",
        "\n",
        "é",
        "sum ",
        "x[5m] ",
        "by (",
        "{a=\"b\"} ",
        "0x",
        "1_",
        "5m",
        "@",
    ] {
        let query = piece.repeat(size / piece.len());
        assert!(message(&query).is_err(), "{piece}");
    }
    let long = |head: &str, piece: &str, tail: &str| format!("{head}{}{tail}", piece.repeat(size / piece.len()));
    assert_eq!(message(&long("x{", "a=\"b\",", "}")), Ok(()));
    assert_eq!(message(&long("sum by (", "a,", ") (x)")), Ok(()));
    assert_eq!(message(&long("'", "a", "'")), Ok(()));
    assert_eq!(message(&long("", "x", "")), Ok(()));
    assert_eq!(message(&long("", ":", "")), Ok(()), "a metric name");
    assert_eq!(message(&long("", "# c\n", "x")), Ok(()));
    assert_eq!(
        message(&long("x{", "a=~\"(b|c.*)d\",", "}")),
        Err("more than 1000 regular expressions in one query".to_owned())
    );
    assert_eq!(
        message(&long("label_join(x, 'a', 'b'", ", 'c'", ")")),
        Err("more than 1000 arguments in one call".to_owned())
    );
}

#[test]
fn a_megabyte_long_matcher_is_a_set_of_its_texts() {
    let on_small_stack = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
        let pods: Vec<String> = (0..100_000).map(|n| format!("pod-{n:06}")).collect();
        let query = format!("x{{pod=~\"{}\"}}", pods.join("|"));
        let expr = parse_with(&query, &ParseOptions::default()).unwrap();
        let matchers = &expr.selectors().next().unwrap().matchers;
        let texts = matchers[0].regex().and_then(|regex| regex.set_matches());
        assert_eq!(texts.map(<[String]>::len), Some(100_000));
        assert!(expr.to_string().len() > 1 << 20);
        let groups = format!("x{{pod=~\"{}{}\"}}", "(".repeat(500_000), ")".repeat(500_000));
        let message = message(&groups).unwrap_err();
        assert!(message.starts_with("error parsing regexp: expression nests too deeply"));
        let parts = format!("x{{pod=~\"{}\"}}", "(?:a|b)".repeat(150_000));
        assert!(parse_with(&parts, &ParseOptions::default()).is_ok());
    });
    on_small_stack.unwrap().join().unwrap();
}

#[test]
fn errors_of_regular_expressions_are_worded_as_in_go() {
    assert_eq!(
        message(r#"x{a=~"(b"}"#),
        Err("error parsing regexp: missing closing ): `(b`".to_owned())
    );
    assert_eq!(
        message(r#"x{a!~"b**"}"#),
        Err("error parsing regexp: invalid nested repetition operator: `**`".to_owned())
    );
}

#[test]
fn fuzzed_queries_end_and_what_parses_prints_and_parses_again() {
    let corpus: Vec<Vec<u8>> = [
        r#"sum by (a, "b.c") (rate(x{l=~"v.*", m!="w"}[5m] offset -1m @ 12.5)) / on(a) group_left(z) y > bool 5"#,
        r#"{"utf8.name", "l l"='v\n'} or -x^-2 unless topk(3, count_values("v", z))"#,
        "max_over_time((a + fill_left(1) fill_right(-2) b)[1h30m:step()*2] @ end() offset (1m - 2 * range()))",
        "label_replace(x, 'a', '$1', `b`, \"(.*)\") </ 0x1f >/ 1_000 # comment\n and info(x, {k=\"v\"})",
        "histogram_quantile(.9, x[5m] anchored) + x smoothed atan2 Inf - NaN * 5m % 2",
    ]
    .iter()
    .map(|s| s.as_bytes().to_vec())
    .collect();
    let words = [
        "(", ")", "[", "]", "{", "}", ",", ":", "@", "offset ", "by ", "on(", "bool ", "5m", "1", "-", "^", "</", ">/",
        "start()", "step()", "min_of(", "sum(", "rate(", "\"", "'", "`", "\\x", "=~", "!~", "fill(", "#", "\n", "é",
    ];
    let options = ParseOptions::all();
    let mut parsed = 0;
    fuzz(20_000, &corpus, &words, |input| {
        let text = String::from_utf8_lossy(input);
        let _ = parse_match_param(&text);
        match parse_with(&text, &options) {
            Ok(expr) => {
                parsed += 1;
                let printed = expr.to_string();
                let again = parse_with(&printed, &options).unwrap_or_else(|e| panic!("{text} -> {printed}: {e:?}"));
                assert_eq!(settled(&again.to_string()), settled(&printed), "{text}");
                assert!(
                    expr.walk().all(|e| text.get(e.span.start..e.span.end).is_some()),
                    "{text}"
                );
            }
            Err(errors) => {
                assert!(!errors.is_empty(), "{text}");
                assert!(
                    errors
                        .iter()
                        .all(|e| e.span.start <= e.span.end && e.span.end <= text.len()),
                    "{text}: {errors:?}"
                );
            }
        }
    });
    assert!(parsed > 100, "only {parsed} inputs parsed");
}
