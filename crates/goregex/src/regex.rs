//! The compiled expression.

use std::fmt;
use std::sync::{Arc, OnceLock};

use thiserror::Error;

use crate::shape::{Shape, shape};
use crate::syntax::{Assertion, Node, Pattern, parse, print};

/// Why a pattern is no regular expression in Go's syntax.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("error parsing regexp: {reason}")]
pub struct RegexError {
    /// What is wrong, in Go's words: "missing closing ): `(a`".
    pub reason: String,
}

/// A compiled expression. Cloning is one reference count.
#[derive(Clone)]
pub struct Regex {
    inner: Arc<Inner>,
}

struct Inner {
    pattern: String,
    shape: Shape,
    // Every match begins with it; empty where nothing is known.
    prefix: String,
    // Of the capturing groups, in their order.
    names: Vec<Option<String>>,
    translated: String,
    // Compiled when first needed where the shape alone can tell what matches.
    engine: OnceLock<Option<regex::Regex>>,
}

// What one expression may take when compiled; Go's limit of 1000 repetitions keeps honest patterns far below.
const SIZE_LIMIT: usize = 16 << 20;
// Expressions with a shape, at most this many of Go's instructions and this height are far below the engine's limits, and
// may be compiled later.
const SMALL: u64 = 10_000;
const LOW: usize = 50;

impl Regex {
    /// Compiles `pattern` to match whole texts, its dot matching newlines, as a selector's matcher: Prometheus reads the
    /// pattern alone and puts `^(?s:…)$` around what it has read.
    ///
    /// # Errors
    /// [`RegexError`] where Go would refuse the pattern, or where it is too large.
    pub fn anchored(pattern: &str) -> Result<Self, RegexError> {
        let mut read = parse(pattern, true)?;
        read.node = Node::Concat(vec![
            Node::Assertion(Assertion::BeginText),
            read.node,
            Node::Assertion(Assertion::EndText),
        ]);
        Self::compile(pattern, read)
    }

    /// As [`Regex::anchored`], but the anchors are put around the text before it is read, as relabelling and
    /// `label_replace` do. Only errors tell the difference: they show `^(?s:…)$`.
    ///
    /// # Errors
    /// As [`Regex::anchored`].
    pub fn anchored_text(pattern: &str) -> Result<Self, RegexError> {
        Self::compile(pattern, parse(&format!("^(?s:{pattern})$"), false)?)
    }

    /// Compiles `pattern` to match whole texts, its dot not matching newlines: Alertmanager's `^(?:…)$`.
    ///
    /// # Errors
    /// As [`Regex::anchored`]; the anchors are part of the text that errors show.
    pub fn anchored_no_newline(pattern: &str) -> Result<Self, RegexError> {
        Self::compile(pattern, parse(&format!("^(?:{pattern})$"), false)?)
    }

    /// Compiles `pattern` as it is: finds it anywhere in a text.
    ///
    /// # Errors
    /// As [`Regex::anchored`].
    pub fn unanchored(pattern: &str) -> Result<Self, RegexError> {
        Self::compile(pattern, parse(pattern, false)?)
    }

    fn compile(pattern: &str, read: Pattern) -> Result<Self, RegexError> {
        let (shape, prefix) = shape(&read.node, pattern.len());
        let mut translated = String::with_capacity(2 * pattern.len());
        print(&read.node, &mut translated);
        let engine = OnceLock::new();
        let is_small = read.size <= SMALL && read.height <= LOW;
        let can_wait = shape != Shape::Other && (is_small || read.names.is_empty());
        if !can_wait {
            let compiled = build(&translated).map_err(|error| RegexError {
                reason: reason(&error, pattern),
            })?;
            // Nobody else has the cell yet.
            let _ = engine.set(Some(compiled));
        }
        Ok(Self {
            inner: Arc::new(Inner {
                pattern: pattern.to_owned(),
                shape,
                prefix,
                names: read.names,
                translated,
                engine,
            }),
        })
    }

    // `None` only where the shape and the absence of groups make it unnecessary.
    fn engine(&self) -> Option<&regex::Regex> {
        self.inner
            .engine
            .get_or_init(|| build(&self.inner.translated).ok())
            .as_ref()
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.inner.pattern
    }

    /// What the pattern comes to when it is simple; always [`Shape::Other`] where it is not anchored.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.inner.shape
    }

    /// The only texts that match, ascending, where they can be listed: `a(b|c)d` is `abd` and `acd`.
    #[must_use]
    pub fn set_matches(&self) -> Option<&[String]> {
        match &self.inner.shape {
            Shape::Literals(texts) => Some(texts),
            _ => None,
        }
    }

    /// How every matching text begins; `""` where nothing is known, and where the texts can be listed.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
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
            Shape::Glob(glob) => glob.is_match(text),
            // Beyond ASCII some letters are the same as an ASCII one in another case (K and the Kelvin sign).
            Shape::AnyCase(literals) if text.is_ascii() || !self.has_engine() => is_any_case_of(literals, text),
            Shape::AnyCase(_) | Shape::Other => {
                text.starts_with(self.inner.prefix.as_str())
                    && self.engine().is_some_and(|engine| engine.is_match(text))
            }
        }
    }

    fn has_engine(&self) -> bool {
        self.engine().is_some()
    }

    /// The groups of the first match.
    #[must_use]
    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        let names = NameList(Arc::clone(&self.inner));
        let groups = if self.inner.shape != Shape::Other && self.inner.names.is_empty() {
            self.is_match(text).then_some(Groups::Whole(text))?
        } else {
            Groups::All(self.engine()?.captures(text)?)
        };
        Some(Captures { groups, names })
    }

    /// Replaces every match by `template` with `$1`, `${name}` expanded as Go's `Regexp.ReplaceAllString` does.
    #[must_use]
    pub fn replace_all(&self, text: &str, template: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut last = 0;
        for groups in self.engine().into_iter().flat_map(|engine| engine.captures_iter(text)) {
            let Some(whole) = groups.get(0) else { continue };
            let range = whole.range();
            out.push_str(text.get(last..range.start).unwrap_or(""));
            let names = NameList(Arc::clone(&self.inner));
            let groups = Groups::All(groups);
            Captures { groups, names }.expand(template, &mut out);
            last = range.end;
        }
        out.push_str(text.get(last..).unwrap_or(""));
        out
    }
}

fn build(translated: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(translated).size_limit(SIZE_LIMIT).build()
}

// `literals` are in small letters.
fn is_any_case_of(literals: &[String], text: &str) -> bool {
    let compare = |literal: &String| literal.bytes().cmp(text.bytes().map(|b| b.to_ascii_lowercase()));
    if literals.len() <= 8 {
        return literals.iter().any(|literal| literal.eq_ignore_ascii_case(text));
    }
    literals.binary_search_by(compare).is_ok()
}

/// The groups of one match.
pub struct Captures<'t> {
    groups: Groups<'t>,
    names: NameList,
}

enum Groups<'t> {
    // There are no groups, and the whole text matched.
    Whole(&'t str),
    All(regex::Captures<'t>),
}

// The names of the groups; the engine does not know them, as Go allows names that it would refuse.
struct NameList(Arc<Inner>);

impl<'t> Captures<'t> {
    /// The text of group `index`; `""` where the group took no part or does not exist.
    #[must_use]
    pub fn get(&self, index: usize) -> &'t str {
        self.group(index).unwrap_or("")
    }

    fn group(&self, index: usize) -> Option<&'t str> {
        match &self.groups {
            Groups::Whole(text) => (index == 0).then_some(*text),
            Groups::All(groups) => groups.get(index).map(|m| m.as_str()),
        }
    }

    /// The text of the first group called `name` that took part; `""` where there is none.
    #[must_use]
    pub fn name(&self, name: &str) -> &'t str {
        let names = self.names.0.names.iter().zip(1..);
        let mut called = names.filter(|(own, _)| own.as_deref() == Some(name));
        called.find_map(|(_, index)| self.group(index)).unwrap_or("")
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

fn reason(error: &regex::Error, pattern: &str) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => format!("expression too large: `{pattern}`"),
        // Everything else was settled when the pattern was read; the engine's own bound on nesting is lower than Go's.
        _ => format!("expression nests too deeply: `{pattern}`"),
    }
}

#[cfg(test)]
mod tests;
