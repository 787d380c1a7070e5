//! `promtool promql`: queries printed in other forms.

use std::io;

use clap::Subcommand;
use cupola_model::{MatchOp, Matcher};
use cupola_promql::{Expr, ExprKind, ParseError, ParseOptions, Position, parse_with};

use super::{FAILURE, Io};

/// What is done with a query.
#[derive(Debug, Subcommand)]
pub(super) enum Promql {
    /// Print a query in the form Prometheus gives it, over several lines where it is long.
    Format {
        /// The query, as one argument: put it in quotes.
        #[arg(value_name = "QUERY", required = true, allow_hyphen_values = true)]
        query: Vec<String>,
    },
    /// Print a query's tree as JSON, as /api/v1/parse_query answers it.
    Parse {
        /// The query, as one argument: put it in quotes.
        #[arg(value_name = "QUERY", required = true, allow_hyphen_values = true)]
        query: Vec<String>,
    },
    /// Change the conditions on a label in all selectors of a query.
    #[command(subcommand)]
    LabelMatchers(LabelMatchers),
}

/// Changes of a query's selectors.
#[derive(Debug, Subcommand)]
pub(super) enum LabelMatchers {
    /// Let every selector have this condition on the label; those it has on it are changed.
    Set {
        /// The condition's operator: =, !=, =~ or !~.
        #[arg(short = 't', long = "type", value_name = "OPERATOR", default_value = "=")]
        op: String,
        /// The query, as one argument: put it in quotes.
        #[arg(allow_hyphen_values = true)]
        query: String,
        /// The label.
        name: String,
        /// What it is compared with.
        value: String,
    },
    /// Take the conditions on the label away from every selector.
    Delete {
        /// The query, as one argument: put it in quotes.
        #[arg(allow_hyphen_values = true)]
        query: String,
        /// The label.
        name: String,
    },
}

/// Does what was asked for and gives the exit code.
pub(super) fn run(command: &Promql, options: &ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
    match command {
        Promql::Format { query } => format(query, options, io),
        Promql::Parse { query } => tree(query, options, io),
        Promql::LabelMatchers(matchers) => change(matchers, options, io),
    }
}

/// Prints the query as Prometheus formats it.
fn format(query: &[String], options: &ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
    print(query, options, io, "format", Expr::pretty)
}

/// Prints the query's tree as JSON.
fn tree(query: &[String], options: &ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
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
    let Some(expr) = parse(query, options, io)? else {
        return Ok(FAILURE);
    };
    writeln!(io.out, "{}", form(&expr))?;
    Ok(0)
}

// The query, or `None` where it is none and why has been told.
fn parse(query: &str, options: &ParseOptions, io: &mut Io<'_>) -> io::Result<Option<Expr>> {
    let errors = match parse_with(query, options) {
        Ok(expr) => return Ok(Some(expr)),
        Err(errors) => errors,
    };
    for error in &errors {
        tell(query, error, io)?;
    }
    if let Some(hint) = missing_feature(query, &errors, options) {
        writeln!(io.err, "{hint}")?;
    }
    Ok(None)
}

/// Changes the conditions of all selectors and prints the query as Prometheus formats it.
fn change(change: &LabelMatchers, options: &ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
    let (query, name, wanted) = match change {
        LabelMatchers::Delete { query, name } => (query, name, None),
        LabelMatchers::Set { op, query, name, value } => {
            let op = match op.as_str() {
                "=" => MatchOp::Equal,
                "!=" => MatchOp::NotEqual,
                "=~" => MatchOp::Regex,
                "!~" => MatchOp::NotRegex,
                _ => {
                    writeln!(io.err, "invalid label match type: {op}")?;
                    return Ok(FAILURE);
                }
            };
            match Matcher::new(name, op, value) {
                Ok(matcher) => (query, name, Some(matcher)),
                Err(error) => {
                    writeln!(io.err, "{error}")?;
                    return Ok(FAILURE);
                }
            }
        }
    };
    let Some(mut expr) = parse(query, options, io)? else {
        return Ok(FAILURE);
    };
    change_matchers(&mut expr, &mut |matchers| match &wanted {
        None => matchers.retain(|matcher| matcher.name() != name),
        Some(wanted) => {
            let mut is_new = true;
            for matcher in matchers.iter_mut().filter(|matcher| matcher.name() == name) {
                matcher.clone_from(wanted);
                is_new = false;
            }
            if is_new {
                matchers.push(wanted.clone());
            }
        }
    });
    writeln!(io.out, "{}", expr.pretty())?;
    Ok(0)
}

fn change_matchers(expr: &mut Expr, change: &mut dyn FnMut(&mut Vec<Matcher>)) {
    if let ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector { selector, .. } = &mut expr.kind {
        change(&mut selector.matchers);
    }
    for child in expr.children_mut() {
        change_matchers(child, change);
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
