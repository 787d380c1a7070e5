//! What is wrong with a query, and where.

use thiserror::Error;

use crate::Span;

/// One mistake in a query.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ParseError {
    /// The bytes of the query it is about; both ends at the query's length for "end of input".
    pub span: Span,
    /// What is wrong, in Prometheus's words where it has any.
    pub message: String,
}

impl ParseError {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
        }
    }

    /// The error as Prometheus prints it: `1:5: parse error: unclosed left parenthesis`. Line and column start at 1;
    /// the column counts bytes, as upstream's does.
    #[must_use]
    pub fn render(&self, query: &str) -> String {
        format!(
            "{}: parse error: {}",
            Position::of(query, self.span.start),
            self.message
        )
    }
}

/// The first error as Prometheus prints it; it shows only one even where there are several.
#[must_use]
pub fn render_errors(query: &str, errors: &[ParseError]) -> String {
    errors.first().map_or_else(
        || "error contains no error message".to_owned(),
        |error| error.render(query),
    )
}

/// A place in a query for people: line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in bytes.
    pub column: usize,
}

impl Position {
    /// The place of byte `offset`; past the end counts as the end.
    #[must_use]
    pub fn of(query: &str, offset: usize) -> Self {
        let bytes = query.as_bytes();
        let before = bytes.get(..offset).unwrap_or(bytes);
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        Self {
            line,
            column: before.len() - line_start + 1,
        }
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a `match[]` parameter selects nothing; the text is what the API answers after `invalid parameter "match[]": `.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// The text is no selector; the first mistake, rendered.
    #[error("{0}")]
    Syntax(String),
    /// All matchers match the empty text, so the selector would select everything.
    #[error("match[] must contain at least one non-empty matcher")]
    MatchesEverything,
}
