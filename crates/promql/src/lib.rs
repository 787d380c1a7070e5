//! PromQL (Prometheus 3.14): text to a typed tree with the place of every node, and back.
//!
//! [`parse`] reads with the stable language, [`parse_with`] with experimental parts. A tree prints through `Display`
//! as Prometheus's `Expr.String()`, through [`Expr::pretty`] as its query formatter, and through [`Expr::to_json`] as its
//! tree view.
//!
//! *Invariant:* knows nothing of storage or time; the same text gives the same tree forever. *Invariant:* every error
//! carries the bytes it is about, so that an editor can underline them. *Invariant:* no query overflows the stack: a
//! tree is at most [`MAX_HEIGHT`] nodes high.

mod ast;
mod check;
mod durations;
mod error;
mod functions;
mod json;
mod lexer;
mod literals;
mod options;
mod parser;
mod pretty;
mod printer;
mod selector;
mod token;
mod walk;

use cupola_model::Matcher;

pub use ast::*;
pub use error::{ParseError, Position, SelectorError, render_errors};
pub use functions::{FUNCTIONS, Function, function};
pub use options::{MAX_HEIGHT, MAX_NESTING, ParseOptions};

/// Parses a query of the stable language and checks its types.
///
/// # Errors
/// At least one [`ParseError`]. Syntax stops at the first mistake; mistakes of types are all told. Prometheus shows the
/// first: [`render_errors`].
pub fn parse(query: &str) -> Result<Expr, Vec<ParseError>> {
    parse_with(query, &ParseOptions::default())
}

/// As [`parse`], with the features of `options`.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(query: &str, options: &ParseOptions) -> Result<Expr, Vec<ParseError>> {
    let mut parser = parser::Parser::new(query, *options);
    let parsed = parser.query();
    match parsed {
        Ok(mut expr) if parser.errors.is_empty() => {
            let errors = check::check(&mut expr);
            if errors.is_empty() { Ok(expr) } else { Err(errors) }
        }
        // Where parsing halted, it has recorded why.
        _ => Err(parser.errors),
    }
}

/// Parses one selector (`up{job="x"}`, `{a!=""}`) as `/federate` and the series endpoints read `match[]`. It may match
/// everything; see [`parse_match_param`].
///
/// # Errors
/// At least one [`ParseError`].
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, Vec<ParseError>> {
    let mut parser = parser::Parser::new(text, ParseOptions::default());
    match parser.lone_selector() {
        Ok(matchers) if parser.errors.is_empty() => Ok(matchers),
        _ => Err(parser.errors),
    }
}

/// As [`parse_selector`], for the endpoints that refuse to select everything (series, labels, label values, deletion).
///
/// # Errors
/// [`SelectorError`], whose text is what the API answers after `invalid parameter "match[]": `.
pub fn parse_match_param(text: &str) -> Result<Vec<Matcher>, SelectorError> {
    let matchers = parse_selector(text).map_err(|errors| SelectorError::Syntax(render_errors(text, &errors)))?;
    if matchers.iter().all(Matcher::matches_empty) {
        return Err(SelectorError::MatchesEverything);
    }
    Ok(matchers)
}
