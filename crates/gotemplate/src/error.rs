//! Why a template cannot be parsed or executed, told as Go's text/template tells it.

use thiserror::Error;

/// A template text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("template: {name}:{line}: {message}")]
pub struct ParseError {
    /// The template's name; may be empty.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1: where the token stands that was not understood.
    pub column: usize,
    /// What is wrong, in Go's words: `unexpected "}" in command`.
    pub message: String,
}

/// A template that failed while it ran.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("template: {place}: executing {template:?} at <{context}>: {message}")]
pub struct ExecError {
    /// Name, line (from 1) and column (in bytes, from 0, as Go counts): `alerts.tmpl:3:12`.
    pub place: String,
    /// The template that was running.
    pub template: String,
    /// The piece of template that was running.
    pub context: String,
    /// What went wrong.
    pub message: String,
    /// Whether the template was stopped because it did too much, see [`crate::Budget`].
    pub is_over_budget: bool,
}

/// Why a text gave no output.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// The text is no template.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It failed while it ran.
    #[error(transparent)]
    Exec(#[from] Box<ExecError>),
    /// It is no HTML that values could be put into safely.
    #[error("html/template: {0}")]
    Html(String),
    /// No template has this name.
    #[error("template: no template {0:?} associated with this set")]
    NoSuchTemplate(String),
}
