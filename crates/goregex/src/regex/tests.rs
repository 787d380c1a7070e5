//! The language, shapes and errors.

use super::*;

#[track_caller]
fn check(pattern: &str, yes: &[&str], no: &[&str]) {
    let regex = Regex::anchored(pattern).unwrap();
    for text in yes {
        assert!(regex.is_match(text), "{pattern} must match {text:?}");
    }
    for text in no {
        assert!(!regex.is_match(text), "{pattern} must not match {text:?}");
    }
}

#[test]
fn simple_shapes_answer_as_the_engine_would() {
    check(".*", &["", "a\nb"], &[]);
    check(".+", &["a\nb"], &[""]);
    check("a|b|c", &["a", "c"], &["", "ab", "d"]);
    check("(a|b)", &["a", "b"], &["c"]);
    check("node.*", &["node", "node1"], &["anode", "nod"]);
    check("", &[""], &["a"]);
    check("a|", &["a", ""], &["b"]);
    check("a|b|c|d|e|f|g|h|i|j", &["j", "a"], &["k"]);
}

#[test]
fn classes_are_ascii_as_in_go() {
    check(r"\d+", &["12"], &["١٢"]);
    check(r"\w", &["a"], &["é"]);
    check(r"[\d\w]", &["a", "1"], &["é"]);
    check(r"\D", &["é", "a"], &["1"]);
    check(r"[^\d]", &["é", "a"], &["1"]);
    check(r".", &["é"], &["", "ab"]);
}

#[test]
fn braces_that_are_no_repetition_are_literal() {
    check("a{,3}", &["a{,3}"], &["aaa"]);
    check("a{2", &["a{2"], &[]);
    check("{", &["{"], &[]);
    check("{x}", &["{x}"], &[]);
    check("a{2}", &["aa"], &["a"]);
    check("a{2,}", &["aaa"], &["a"]);
}

#[test]
fn quoting_and_sets_mean_what_go_means() {
    check(r"\Qa.b\E+", &["a.b", "a.bb"], &["axb"]);
    check(r"\Qa.b", &["a.b"], &["axb"]);
    check("[a&&b]", &["a", "&", "b"], &[]);
    check("[[a]", &["[", "a"], &["b"]);
    check(r"\<x\>", &["<x>"], &["x"]);
    check("[a-]", &["a", "-"], &["b"]);
    check("[]a]", &["]", "a"], &[]);
}

#[test]
fn patterns_that_go_refuses_are_refused() {
    for pattern in [
        "(", "a**", "a{1001}", "[b-a]", "*a", "a)", r"\8", "[a--b]", "(?z)", "[a",
    ] {
        assert!(Regex::anchored(pattern).is_err(), "{pattern} must be refused");
    }
}

#[test]
fn expansion_follows_go() {
    let regex = Regex::anchored("(?P<host>.*):([0-9]+)").unwrap();
    let expand = |template: &str| {
        let mut out = String::new();
        regex.captures("a:80").unwrap().expand(template, &mut out);
        out
    };
    assert_eq!(expand("$1-$2"), "a-80");
    assert_eq!(expand("${host}/$host"), "a/a");
    assert_eq!(expand("$1x"), "");
    assert_eq!(expand("${1}x"), "ax");
    assert_eq!(expand("$$1 $"), "$1 $");
    assert_eq!(expand("$9"), "");
}

#[test]
fn replace_all_replaces_every_match() {
    let regex = Regex::unanchored("([a-z])[0-9]").unwrap();
    assert_eq!(regex.replace_all("a1 b2 c", "<$1>"), "<a> <b> c");
}

#[test]
fn no_pattern_and_no_text_makes_it_panic() {
    let corpus: Vec<Vec<u8>> = [
        r"(a|b)*[^c-d]{2,3}\d\Qx.\E",
        r"(?P<n>x+?)\pN[[:alpha:]]",
        r"a{,3}{}\x{10}\012",
    ]
    .map(|p| p.as_bytes().to_vec())
    .to_vec();
    cupola_testkit::fuzz(
        20_000,
        &corpus,
        &["(?i)", "[", "]", "{1000}", "\\", "||", "^"],
        |bytes| {
            let Ok(pattern) = std::str::from_utf8(bytes) else {
                return;
            };
            for regex in [
                Regex::anchored(pattern),
                Regex::unanchored(pattern),
                Regex::anchored_no_newline(pattern),
            ] {
                // Any answer will do; what counts is that there is one.
                let Ok(regex) = regex else { continue };
                let _ = regex.is_match(pattern);
                let _ = regex.replace_all(pattern, "$1${n}$$");
            }
        },
    );
}

#[test]
fn shapes_never_change_what_a_pattern_matches() {
    let corpus: Vec<Vec<u8>> = [
        "a|b|ab",
        "(?:x|y)",
        "pre.*",
        ".+",
        "",
        "a||b",
        "a(b|c)d?",
        "[ab]{1,2}x",
        "(?i)ab|k",
        "p.*a.+b",
        ".*a.*",
        "^a$|b",
        "(ab)+c",
        "(?-s:a.*)",
    ]
    .map(|p| p.as_bytes().to_vec())
    .to_vec();
    let words = [
        "|", ".*", ".+", "(", ")", "a", "b", "?", "[ab]", "{2}", "(?i)", "(?i:k)", "^", "$", "é", "\n", r"\d",
        "(?s:.)*",
    ];
    let texts = [
        "", "a", "b", "ab", "AB", "abd", "acd", "x", "pre", "prefix", "\n", "a\nb", "pab", "pxaxxb", "é", "aé", "aéb",
        "k", "K", "\u{212a}", "abab", "3",
    ];
    let mut shapes = std::collections::HashSet::new();
    cupola_testkit::fuzz(20_000, &corpus, &words, |bytes| {
        let Ok(pattern) = std::str::from_utf8(bytes) else {
            return;
        };
        let Ok(regex) = Regex::anchored(pattern) else { return };
        shapes.insert(std::mem::discriminant(regex.shape()));
        // Nothing but the tree as it is printed, asked without a look at the shape.
        let engine = build(&regex.inner.translated).unwrap();
        for text in texts.into_iter().chain([pattern]) {
            let wanted = engine.is_match(text);
            assert_eq!(regex.is_match(text), wanted, "{pattern:?} on {text:?}");
            assert_eq!(regex.captures(text).is_some(), wanted, "{pattern:?} on {text:?}");
            if wanted {
                assert!(text.starts_with(regex.prefix()), "{pattern:?} on {text:?}");
                let listed = regex.set_matches().is_none_or(|set| set.iter().any(|t| t == text));
                assert!(listed, "{pattern:?} on {text:?}");
            }
        }
        for text in regex.set_matches().unwrap_or_default() {
            assert!(engine.is_match(text), "{pattern:?} on {text:?}");
        }
    });
    assert_eq!(shapes.len(), 7, "every shape must have been met");
}

#[test]
fn finite_patterns_list_their_texts() {
    for (pattern, texts) in [
        ("", Some(&[""][..])),
        ("a", Some(&["a"])),
        ("b|a|b", Some(&["a", "b"])),
        ("a(b|c)d", Some(&["abd", "acd"])),
        ("(?:x|y)(1|2)?", Some(&["x", "x1", "x2", "y", "y1", "y2"])),
        ("^foo$", Some(&["foo"])),
        (r"foo\.bar", Some(&["foo.bar"])),
        (r"\Qa*\E", Some(&["a*"])),
        ("v[1-3]", Some(&["v1", "v2", "v3"])),
        (
            r"[a\d]x{0}",
            Some(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a"]),
        ),
        ("a{2,3}", Some(&["aa", "aaa"])),
        ("(?i)1.2", None),
        ("(?i)12", Some(&["12"])),
        ("(?i)a", None),
        ("a*", None),
        ("[^a]", None),
        (r"\pL", None),
        ("a$|b", None),
        ("[a-z]{3}", None),
    ] {
        let regex = Regex::anchored(pattern).unwrap();
        let found: Option<Vec<&str>> = regex.set_matches().map(|set| set.iter().map(String::as_str).collect());
        assert_eq!(found.as_deref(), texts, "{pattern}");
    }
    let many = (0..1_000).map(|n| format!("value-{n}")).collect::<Vec<_>>().join("|");
    assert_eq!(
        Regex::anchored(&many).unwrap().set_matches().map(<[String]>::len),
        Some(1_000)
    );
    assert_eq!(
        Regex::unanchored("a").unwrap().set_matches(),
        None,
        "it may be a part of a text"
    );
}

#[test]
fn every_match_begins_with_the_prefix() {
    for (pattern, prefix) in [
        ("node_.*", "node_"),
        ("node_.+_total", "node_"),
        ("node_(cpu|disk)_.*", "node_"),
        ("(node_cpu|node_disk)_.*", "node_"),
        ("node_(cpu|cache).*", "node_c"),
        ("(ab)+c", "ab"),
        ("a{2}.*", "a"),
        ("(?i)ab.*", ""),
        ("é.*", "é"),
        ("a?b.*", ""),
        (".*a", ""),
        ("^a[bc]+$", "a"),
    ] {
        assert_eq!(Regex::anchored(pattern).unwrap().prefix(), prefix, "{pattern}");
    }
}

#[test]
fn a_megabyte_of_alternatives_is_a_set() {
    let alternatives: Vec<String> = (0..100_000).map(|n| format!("pod-{n:06}")).collect();
    let regex = Regex::anchored(&alternatives.join("|")).unwrap();
    assert_eq!(regex.set_matches().map(<[String]>::len), Some(100_000));
    assert!(regex.is_match("pod-099999") && !regex.is_match("pod-1"));
    // No engine of that size can be made; a whole match needs none.
    assert_eq!(
        regex.captures("pod-000007").map(|found| found.get(0)),
        Some("pod-000007")
    );
}

#[test]
fn groups_may_have_names_that_only_go_allows() {
    let regex = Regex::anchored("(?P<1a>x)|(?P<n>y)|(?<n>z)").unwrap();
    let expand = |text: &str, template: &str| {
        let mut out = String::new();
        regex.captures(text).unwrap().expand(template, &mut out);
        out
    };
    assert_eq!(expand("x", "${1a}"), "x");
    assert_eq!(expand("y", "$n"), "y");
    // Of groups with one name the one that took part counts.
    assert_eq!(expand("z", "<$n>"), "<z>");
}

// Recorded from Go 1.19, whose Prometheus wraps the pattern before it is read.
#[test]
fn errors_are_worded_as_in_go() {
    for (pattern, reason) in [
        ("(a", "missing closing ): `^(?:(a)$`"),
        ("a)", "unexpected ): `^(?:a))$`"),
        ("(?i", "missing closing ): `^(?:(?i)$`"),
        ("(?i-)", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?z)", "invalid or unsupported Perl syntax: `(?z`"),
        ("(?P<n", "invalid named capture: `(?P<n)$`"),
        ("(?P<>a)", "invalid named capture: `(?P<>`"),
        ("(?P<n-m>a)", "invalid named capture: `(?P<n-m>`"),
        ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a|+", "missing argument to repetition operator: `+`"),
        ("(?i)*", "missing argument to repetition operator: `*`"),
        (r"\Q\E*", "missing argument to repetition operator: `*`"),
        ("{1000}?x", "missing argument to repetition operator: `{1000}?`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a???", "invalid nested repetition operator: `???`"),
        ("a*?*", "invalid nested repetition operator: `*?*`"),
        ("a{1}{2}", "invalid nested repetition operator: `{1}{2}`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("(a{1000}){2}", "invalid repeat count: `{2}`"),
        ("(a{32}){32}", "invalid repeat count: `{32}`"),
        (
            "a{99999999999999999999}",
            "invalid repeat count: `{99999999999999999999}`",
        ),
        ("x[a", "missing closing ]: `[a)$`"),
        ("[]a", "missing closing ]: `[]a)$`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("[a--b]", "invalid character class range: `a--`"),
        (r"[a-\d]", r"invalid escape sequence: `\d`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"[\p{Foo}]", r"invalid character class range: `\p{Foo}`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        (r"\p{Foo", r"invalid character class range: `\p{Foo)$`"),
        (r"\p{Alphabetic}", r"invalid character class range: `\p{Alphabetic}`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\x1g", r"invalid escape sequence: `\x1g`"),
        (r"\x{}", r"invalid escape sequence: `\x{}`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"\é", r"invalid escape sequence: `\é`"),
        (r"\Qa\E\E", r"invalid escape sequence: `\E`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
    ] {
        assert_eq!(
            Regex::anchored_no_newline(pattern).unwrap_err().to_string(),
            format!("error parsing regexp: {reason}"),
            "{pattern}"
        );
    }
    // Read alone, as selectors are.
    for (pattern, reason) in [
        ("(a", "missing closing ): `(a`"),
        ("a)(b", "unexpected ): `a)(b`"),
        ("x[a", "missing closing ]: `[a`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        (r"\x", r"invalid escape sequence: `\x`"),
        (r"\p", r"invalid character class range: `\p`"),
    ] {
        assert_eq!(Regex::anchored(pattern).unwrap_err().reason, reason, "{pattern}");
    }
    assert_eq!(
        Regex::anchored_text("(a").unwrap_err().reason,
        "missing closing ): `^(?s:(a)$`"
    );
    let deep = |levels: usize| format!("{}a{}", "(".repeat(levels), ")".repeat(levels));
    let nested = deep(10_000);
    assert_eq!(
        Regex::anchored(&nested).unwrap_err().reason,
        format!("expression nests too deeply: `{nested}`")
    );
    assert!(Regex::anchored(&deep(200)).is_ok());
    assert!(Regex::anchored(&format!("{}a{}", "(?:".repeat(10_000), ")".repeat(10_000))).is_ok());
    let large = format!("({}){{1000}}", "ab".repeat(2_000));
    assert_eq!(
        Regex::anchored(&large).unwrap_err().reason,
        format!("expression too large: `{large}`")
    );
}
