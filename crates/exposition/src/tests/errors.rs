//! What is refused, where, and in which words.

use super::parse;
use crate::Format;

#[track_caller]
fn check(format: Format, body: &[u8], message: &str) {
    let (_, error) = parse(format, body);
    assert_eq!(
        error.map(|e| e.to_string()).as_deref(),
        Some(message),
        "{}",
        String::from_utf8_lossy(body)
    );
}

#[test]
fn text_errors_name_line_and_column() {
    for (body, message) in [
        (
            "a 1\nb\n",
            r#"line 2, column 2: expected value after metric, got "\n" in "b""#,
        ),
        (
            "a",
            r#"line 1, column 2: expected value after metric, got the end of the data in "a""#,
        ),
        (
            "a x\n",
            r#"line 1, column 3: strconv.ParseFloat: parsing "x": invalid syntax in "a x""#,
        ),
        (
            "a 1\r\n",
            r#"line 1, column 3: strconv.ParseFloat: parsing "1\r": invalid syntax in "a 1\r""#,
        ),
        (
            "a 1 -5\n",
            r#"line 1, column 5: expected timestamp or new record, got "-5" in "a 1 -5""#,
        ),
        (
            "a 1 5.5\n",
            r#"line 1, column 6: expected next entry after timestamp, got ".5" in "a 1 5.5""#,
        ),
        (
            "a 1 99999999999999999999\n",
            r#"line 1, column 5: timestamp "99999999999999999999" out of range in "a 1 99999999999999999999""#,
        ),
        (
            "1a 1\n",
            r#"line 1, column 1: expected a valid start token, got "1a" in "1a 1""#,
        ),
        (
            "\u{20ac} 1\n",
            "line 1, column 1: expected a valid start token, got \"\u{20ac}\" in \"\u{20ac} 1\"",
        ),
        (
            "a{1=\"b\"} 1\n",
            r#"line 1, column 3: expected label name, got "1" in "a{1=\"b\"} 1""#,
        ),
        (
            "a{b:c=\"d\"} 1\n",
            r#"line 1, column 4: expected equal, got ":c" in "a{b:c=\"d\"} 1""#,
        ),
        (
            "a{b=c} 1\n",
            r#"line 1, column 5: expected label value, got "c" in "a{b=c} 1""#,
        ),
        (
            "a{b=\"c} 1\n",
            r#"line 1, column 5: expected label value, got "\"" in "a{b=\"c} 1""#,
        ),
        (
            "a{b=\"c\",,} 1\n",
            r#"line 1, column 9: expected label name, got "," in "a{b=\"c\",,} 1""#,
        ),
        (
            "{b=\"c\"} 1\n",
            r#"line 1, column 1: metric name not set in "{b=\"c\"} 1""#,
        ),
        (
            "a{\"b\"} 1\n",
            r#"line 1, column 3: metric name already set in "a{\"b\"} 1""#,
        ),
        ("{\"\"} 1\n", r#"line 1, column 2: metric name is empty in "{\"\"} 1""#),
        (
            "# TYPE a bogus\n",
            r##"line 1, column 10: invalid metric type "bogus" in "# TYPE a bogus""##,
        ),
        (
            "# TYPE a\n",
            r##"line 1, column 9: invalid metric type "" in "# TYPE a""##,
        ),
        (
            "# HELP 1 x\n",
            r##"line 1, column 8: expected metric name after HELP, got "1" in "# HELP 1 x""##,
        ),
    ] {
        check(Format::Text, body.as_bytes(), message);
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_where_they_stand() {
    check(
        Format::Text,
        b"a{b=\"c\"} 1\na{b=\"\xff\"} 1\n",
        "line 2, column 6: invalid UTF-8 label value: \"\\\"\u{fffd}\\\"\" in \"a{b=\\\"\u{fffd}\\\"} 1\"",
    );
    check(
        Format::Text,
        b"# HELP a \xff\n",
        "line 1, column 10: invalid UTF-8 help text: \"\u{fffd}\" in \"# HELP a \u{fffd}\"",
    );
    // Where nobody reads the bytes they do no harm.
    assert_eq!(parse(Format::Text, b"# \xff\na 1\n").1, None);
}

#[test]
fn long_lines_are_shortened_around_the_fault() {
    let body = format!("a{{b=\"{}\"}} oops {}\n", "x".repeat(500), "y".repeat(500));
    let error = parse(Format::Text, body.as_bytes()).1.unwrap();
    assert_eq!(error.column, 509);
    assert!(
        error.excerpt.starts_with("...xxx") && error.excerpt.ends_with("yyy..."),
        "{error}"
    );
    assert!(error.excerpt.contains("oops") && error.excerpt.len() < 120, "{error}");
}

#[test]
fn openmetrics_errors() {
    for (body, message) in [
        ("a 1\n", r#"line 2, column 1: data does not end with # EOF in """#),
        ("a 1", r#"line 1, column 4: data does not end with # EOF in "a 1""#),
        (
            "# EOF\na 1\n",
            r#"line 2, column 1: unexpected data after # EOF in "a 1""#,
        ),
        (
            "a  1\n# EOF\n",
            r#"line 1, column 2: expected value after metric, got " " in "a  1""#,
        ),
        (
            "a{b=\"c\" d=\"e\"} 1\n# EOF\n",
            r#"line 1, column 8: expected comma or brace close, got " " in "a{b=\"c\" d=\"e\"} 1""#,
        ),
        (
            "a{b=\"c\nd\"} 1\n# EOF\n",
            r#"line 1, column 5: expected label value, got "\"" in "a{b=\"c""#,
        ),
        (
            "a 1 NaN\n# EOF\n",
            r#"line 1, column 5: invalid timestamp NaN in "a 1 NaN""#,
        ),
        (
            "a 1 # {b=\"c\"}\n# EOF\n",
            r##"line 1, column 14: expected value after exemplar labels, got "\n" in "a 1 # {b=\"c\"}""##,
        ),
        (
            "a 1 # {\"c\"} 1\n# EOF\n",
            r##"line 1, column 11: expected equal, got "}" in "a 1 # {\"c\"} 1""##,
        ),
        (
            "# TYPE a untyped\n# EOF\n",
            r##"line 1, column 10: invalid metric type "untyped" in "# TYPE a untyped""##,
        ),
        (
            "# UNIT a_s seconds\n# EOF\n",
            r##"line 1, column 8: unit "seconds" not a suffix of metric "a_s" in "# UNIT a_s seconds""##,
        ),
        (
            "# comment\n# EOF\n",
            r##"line 1, column 1: expected HELP, TYPE, UNIT or EOF after #, got "#" in "# comment""##,
        ),
        (
            "\n# EOF\n",
            r#"line 1, column 1: expected a valid start token, got "\n" in """#,
        ),
    ] {
        check(Format::OpenMetrics, body.as_bytes(), message);
    }
}

#[test]
fn nothing_follows_an_error() {
    let mut parser = crate::text::Parser::new(b"a\nb 1\n");
    assert!(parser.next().is_some_and(|entry| entry.is_err()));
    assert_eq!(parser.next(), None);
}
