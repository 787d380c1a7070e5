//! `promtool promql`: queries printed in other forms.

use std::io;

use cupola_promql::{Expr, ParseError, ParseOptions, Position, parse_with};

use super::{FAILURE, Io};

/// Prints the query as Prometheus formats it.
pub(super) fn format(query: &[String], options: &ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
    print(query, options, io, "format", Expr::pretty)
}

/// Prints the query's tree as JSON.
pub(super) fn tree(query: &[String], options: &ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
    print(query, options, io, "parse", Expr::to_json_pretty)
}

fn print(
    query: &[String],
    options: &ParseOptions,
    io: &mut Io<'_>,
    command: &str,
    form: fn(&Expr) -> String,
) -> io::Result<u8> {
    let [query] = query else {
        let joined = query.join(" ");
        writeln!(
            io.err,
            "promtool: error: a query is one argument, put it in quotes: promtool promql {command} '{joined}'"
        )?;
        return Ok(FAILURE);
    };
    match parse_with(query, options) {
        Ok(expr) => {
            writeln!(io.out, "{}", form(&expr))?;
            Ok(0)
        }
        Err(errors) => {
            for error in &errors {
                tell(query, error, io)?;
            }
            if let Some(hint) = missing_feature(query, &errors, options) {
                writeln!(io.err, "{hint}")?;
            }
            Ok(FAILURE)
        }
    }
}

// The message as upstream has it, and under it the line with the place marked.
fn tell(query: &str, error: &ParseError, io: &mut Io<'_>) -> io::Result<()> {
    // A line longer than this would not be seen as one line.
    const MAX_LINE: usize = 200;
    writeln!(io.err, "{}", error.render(query))?;
    let position = Position::of(query, error.span.start);
    let line = query.split('\n').nth(position.line - 1).unwrap_or_default();
    let before = line.get(..position.column - 1).unwrap_or(line);
    if line.len() > MAX_LINE {
        return Ok(());
    }
    let start = error.span.start - before.len().min(error.span.start);
    let to = error.span.end.saturating_sub(start).min(line.len());
    let marked = line.get(before.len()..to).unwrap_or_default();
    // A tab stays a tab, so that the mark stands under its place.
    let blank: String = before.chars().map(|c| if c == '\t' { c } else { ' ' }).collect();
    writeln!(io.err, "  {line}")?;
    writeln!(io.err, "  {blank}{}", "^".repeat(marked.chars().count().max(1)))
}

// What to switch on, where that is all that is wrong.
fn missing_feature(query: &str, errors: &[ParseError], options: &ParseOptions) -> Option<String> {
    const FEATURES: [&str; 3] = [
        "promql-experimental-functions",
        "promql-extended-range-selectors",
        "promql-binop-fill-modifiers",
    ];
    // The error of an aggregation names the flag itself.
    if errors.iter().any(|error| error.message.contains("--enable-feature")) {
        return None;
    }
    parse_with(query, &ParseOptions::all()).ok()?;
    // The fewest that are needed: each is left out where the query parses without it.
    let mut needed = FEATURES.to_vec();
    for feature in FEATURES {
        let mut fewer = *options;
        for name in needed.iter().filter(|name| **name != feature) {
            fewer.enable_feature(name);
        }
        if parse_with(query, &fewer).is_ok() {
            needed.retain(|name| *name != feature);
        }
    }
    let names = needed.join(",");
    Some(format!(
        "This query needs --enable-feature={names}, here and in the server."
    ))
}
