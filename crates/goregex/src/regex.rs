//! The compiled expression.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::translate::translate;

/// Why a pattern is no regular expression in Go's syntax.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("error parsing regexp: {reason}")]
pub struct RegexError {
    /// What is wrong, in Go's words where we know them: "missing closing ): `(a`".
    pub reason: String,
}

/// What a pattern comes to when it is simple; lets an index answer without trying every value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// `.*`: everything.
    Everything,
    /// `.+`: everything but the empty text.
    NonEmpty,
    /// `a|b|c`, or `a` alone: exactly these texts.
    Literals(Vec<String>),
    /// `a.*`: texts with this beginning.
    Prefix(String),
    /// Anything else.
    Other,
}

/// A compiled expression. Cloning is one reference count.
#[derive(Clone)]
pub struct Regex {
    inner: Arc<Inner>,
}

struct Inner {
    pattern: String,
    shape: Shape,
    engine: regex::Regex,
}

// What one expression may take when compiled; Go's limit of 1000 repetitions keeps honest patterns far below.
const SIZE_LIMIT: usize = 16 << 20;

impl Regex {
    /// Compiles `pattern` to match whole texts, its dot matching newlines: Prometheus's `^(?s:…)$`.
    ///
    /// # Errors
    /// [`RegexError`] where Go would refuse the pattern, or where it is too large.
    pub fn anchored(pattern: &str) -> Result<Self, RegexError> {
        let translated = translate(pattern)?;
        Self::compile(pattern, &format!("^(?s:{translated})$"), shape(pattern))
    }

    /// Compiles `pattern` to match whole texts, its dot not matching newlines: Alertmanager's `^(?:…)$`.
    ///
    /// # Errors
    /// As [`Regex::anchored`].
    pub fn anchored_no_newline(pattern: &str) -> Result<Self, RegexError> {
        let translated = translate(pattern)?;
        let shape = match shape(pattern) {
            literals @ Shape::Literals(_) => literals,
            _ => Shape::Other,
        };
        Self::compile(pattern, &format!("^(?:{translated})$"), shape)
    }

    /// Compiles `pattern` as it is: finds it anywhere in a text.
    ///
    /// # Errors
    /// As [`Regex::anchored`].
    pub fn unanchored(pattern: &str) -> Result<Self, RegexError> {
        let translated = translate(pattern)?;
        Self::compile(pattern, &translated, Shape::Other)
    }

    fn compile(pattern: &str, translated: &str, shape: Shape) -> Result<Self, RegexError> {
        let engine = regex::RegexBuilder::new(translated)
            .size_limit(SIZE_LIMIT)
            .build()
            .map_err(|e| RegexError {
                reason: reason(&e, pattern),
            })?;
        Ok(Self {
            inner: Arc::new(Inner {
                pattern: pattern.to_owned(),
                shape,
                engine,
            }),
        })
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.inner.pattern
    }

    /// What the pattern comes to when it is simple.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.inner.shape
    }

    /// Whether `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        match &self.inner.shape {
            Shape::Everything => true,
            Shape::NonEmpty => !text.is_empty(),
            Shape::Literals(literals) if literals.len() <= 8 => literals.iter().any(|l| l == text),
            Shape::Literals(literals) => literals.binary_search_by(|l| l.as_str().cmp(text)).is_ok(),
            Shape::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Shape::Other => self.inner.engine.is_match(text),
        }
    }

    /// The groups of the first match.
    #[must_use]
    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.inner.engine.captures(text).map(Captures)
    }

    /// Replaces every match by `template` with `$1`, `${name}` expanded as Go's `Regexp.ReplaceAllString` does.
    #[must_use]
    pub fn replace_all(&self, text: &str, template: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut last = 0;
        for captures in self.inner.engine.captures_iter(text) {
            let Some(whole) = captures.get(0) else { continue };
            out.push_str(text.get(last..whole.start()).unwrap_or(""));
            Captures(captures).expand(template, &mut out);
            last = whole.end();
        }
        out.push_str(text.get(last..).unwrap_or(""));
        out
    }
}

/// The groups of one match.
pub struct Captures<'t>(regex::Captures<'t>);

impl<'t> Captures<'t> {
    /// The text of group `index`; `""` where the group took no part or does not exist.
    #[must_use]
    pub fn get(&self, index: usize) -> &'t str {
        self.0.get(index).map_or("", |m| m.as_str())
    }

    /// The text of the group called `name`; `""` where there is none.
    #[must_use]
    pub fn name(&self, name: &str) -> &'t str {
        self.0.name(name).map_or("", |m| m.as_str())
    }

    /// Appends `template` with `$1`, `$name`, `${1}`, `${name}` and `$$` expanded as Go's `Regexp.Expand` does: a bare
    /// name is taken as long as possible (`$1x` is the group "1x"), unknown groups give nothing.
    pub fn expand(&self, template: &str, out: &mut String) {
        let mut rest = template;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
                continue;
            }
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let (name, after) = match rest.strip_prefix('{') {
                Some(inner) => match inner.split_once('}') {
                    Some((name, after)) if !name.is_empty() && name.chars().all(is_word) => (name, after),
                    _ => {
                        out.push('$');
                        continue;
                    }
                },
                None => rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            };
            if name.is_empty() {
                out.push('$');
                continue;
            }
            // A leading zero makes it a name, as in Go.
            let is_number = name.bytes().all(|b| b.is_ascii_digit()) && !(name.len() > 1 && name.starts_with('0'));
            match name.parse::<usize>() {
                Ok(index) if is_number => out.push_str(self.get(index)),
                _ => out.push_str(self.name(name)),
            }
            rest = after;
        }
        out.push_str(rest);
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.inner.pattern)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.inner.pattern == other.inner.pattern
    }
}

impl Eq for Regex {}

fn shape(pattern: &str) -> Shape {
    let literal = |text: &str| !text.contains(['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$']);
    match pattern {
        ".*" => return Shape::Everything,
        ".+" => return Shape::NonEmpty,
        _ => {}
    }
    if let Some(prefix) = pattern.strip_suffix(".*").filter(|p| literal(p)) {
        return Shape::Prefix(prefix.to_owned());
    }
    let inner = pattern
        .strip_prefix('(')
        .and_then(|p| p.strip_suffix(')'))
        .unwrap_or(pattern);
    let inner = inner.strip_prefix("?:").unwrap_or(inner);
    let mut parts: Vec<String> = inner.split('|').map(str::to_owned).collect();
    if parts.iter().all(|part| literal(part)) {
        parts.sort();
        parts.dedup();
        return Shape::Literals(parts);
    }
    Shape::Other
}

fn reason(error: &regex::Error, pattern: &str) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => format!("expression too large: `{pattern}`"),
        other => {
            // The engine draws a picture over several lines; its last line is the reason.
            let text = other.to_string();
            let last = text.lines().last().unwrap_or("").trim();
            format!("{}: `{pattern}`", last.strip_prefix("error: ").unwrap_or(last))
        }
    }
}

#[cfg(test)]
mod tests {
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
        let corpus: Vec<Vec<u8>> = ["a|b|ab", "(?:x|y)", "pre.*", ".+", "", "a||b"]
            .map(|p| p.as_bytes().to_vec())
            .to_vec();
        cupola_testkit::fuzz(5_000, &corpus, &["|", ".*", ".+", "(", ")", "a"], |bytes| {
            let Ok(pattern) = std::str::from_utf8(bytes) else {
                return;
            };
            let Ok(regex) = Regex::anchored(pattern) else { return };
            for text in ["", "a", "b", "ab", "x", "pre", "prefix", "\n", pattern] {
                assert_eq!(
                    regex.is_match(text),
                    regex.inner.engine.is_match(text),
                    "{pattern:?} on {text:?}"
                );
            }
        });
    }
}
