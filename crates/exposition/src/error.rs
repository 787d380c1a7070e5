//! Errors with a place, fit for a targets page.

use thiserror::Error;

/// Why a body is not in its format, and where.
///
/// Prints as `line 3, column 8: expected value after metric, got "x" in "up{} x"`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {message} in {}", cupola_model::go_quote(.excerpt))]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// The byte within the line, from 1.
    pub column: usize,
    /// What is wrong, in the reference server's words where it has some.
    pub message: String,
    /// The offending line, or the part of a long one around the column.
    pub excerpt: String,
}

// How much of a line is shown: enough to find it, little enough for one row of a table.
const EXCERPT_BEFORE: usize = 60;
const EXCERPT_AFTER: usize = 40;

/// An error before its place is worked out, which costs a walk over the body.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }

    /// "`expected`, got …" with what stands at `at`.
    pub(crate) fn expected(expected: &str, body: &[u8], at: usize) -> Self {
        let rest = body.get(at..).unwrap_or(&[]);
        let Some(first) = rest.first() else {
            return Self::new(at, format!("{expected}, got the end of the data"));
        };
        // A whole token says more than its first byte, and a whole character more than a part of it.
        let mut len = rest
            .iter()
            .take(20)
            .take_while(|b| !b" \t\n{}=,\"".contains(b))
            .count()
            .max(1);
        while *first >= 0x80 && len < 4 && rest.get(len).is_some_and(|b| b & 0xc0 == 0x80) {
            len += 1;
        }
        Self::new(
            at,
            format!("{expected}, got {}", quote(rest.get(..len).unwrap_or(rest))),
        )
    }

    #[cold]
    pub(crate) fn place(self, body: &[u8]) -> ParseError {
        let at = self.at.min(body.len());
        let before = body.get(..at).unwrap_or(body);
        let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let end = body
            .get(at..)
            .and_then(|rest| rest.iter().position(|b| *b == b'\n'))
            .map_or(body.len(), |i| at + i);
        let from = start.max(at.saturating_sub(EXCERPT_BEFORE));
        let to = end.min(at.saturating_add(EXCERPT_AFTER));
        let mut excerpt = String::new();
        if from > start {
            excerpt.push_str("...");
        }
        excerpt.push_str(&String::from_utf8_lossy(body.get(from..to).unwrap_or(&[])));
        if to < end {
            excerpt.push_str("...");
        }
        ParseError {
            line,
            column: at - start + 1,
            message: self.message,
            excerpt,
        }
    }
}

pub(crate) fn quote(bytes: &[u8]) -> String {
    cupola_model::go_quote(&String::from_utf8_lossy(bytes))
}
