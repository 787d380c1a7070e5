//! Trees as text over several lines, as `/api/v1/format_query` answers: what does not fit a line of 100 is split.

use std::fmt::{self, Formatter, Write};

use crate::printer::{write_aggregate_head, write_operator, write_subquery_suffix};
use crate::{Aggregate, Binary, Expr, ExprKind, Subquery};

const MAX_LINE: usize = 100;

impl Expr {
    /// The expression as Prometheus formats queries: two spaces per level, and every part that fits 100 characters on
    /// one line.
    #[must_use]
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        write_pretty(self, 0, &mut out);
        out
    }
}

fn write_pretty(expr: &Expr, level: usize, out: &mut String) {
    if fits(expr) {
        // Upstream does not indent a subquery that fits.
        if !matches!(expr.kind, ExprKind::Subquery(_)) {
            indent(level, out);
        }
        append(out, expr);
        return;
    }
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::VectorSelector(_) | ExprKind::MatrixSelector { .. } => {
            indent(level, out);
            append(out, expr);
        }
        ExprKind::Subquery(subquery) => {
            write_pretty(&subquery.expr, level, out);
            append(out, &SubquerySuffix(subquery));
        }
        ExprKind::Unary { op, expr } => {
            indent(level, out);
            out.push_str(op.as_str());
            let mut child = String::new();
            write_pretty(expr, level, &mut child);
            // The sign takes the place of the indentation.
            out.push_str(child.trim());
        }
        ExprKind::Binary(binary) => {
            write_pretty(&binary.lhs, level + 1, out);
            out.push('\n');
            indent(level, out);
            append(out, &Operator(binary));
            out.push('\n');
            write_pretty(&binary.rhs, level + 1, out);
        }
        ExprKind::Aggregate(aggregate) => {
            indent(level, out);
            append(out, &AggregateHead(aggregate));
            write_list(aggregate.param.iter().chain([&aggregate.expr]), level, out);
        }
        ExprKind::Call(call) => {
            indent(level, out);
            out.push_str(call.function.name);
            write_list(call.args.iter(), level, out);
        }
        ExprKind::Paren(inner) => {
            indent(level, out);
            write_list([&**inner], level, out);
        }
    }
}

fn write_list<'a>(items: impl IntoIterator<Item = &'a Expr>, level: usize, out: &mut String) {
    out.push('(');
    let mut separator = "\n";
    for item in items {
        out.push_str(separator);
        write_pretty(item, level + 1, out);
        separator = ",\n";
    }
    out.push('\n');
    indent(level, out);
    out.push(')');
}

fn indent(level: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", level));
}

fn append(out: &mut String, item: &dyn fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{item}");
}

fn fits(expr: &Expr) -> bool {
    write!(Limited { left: MAX_LINE }, "{expr}").is_ok()
}

// Counts bytes and stops the printer early, so that asking again at every level stays cheap.
struct Limited {
    left: usize,
}

impl Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left = self.left.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

struct SubquerySuffix<'a>(&'a Subquery);

impl fmt::Display for SubquerySuffix<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_subquery_suffix(self.0, f)
    }
}

struct Operator<'a>(&'a Binary);

impl fmt::Display for Operator<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_operator(self.0, f)
    }
}

struct AggregateHead<'a>(&'a Aggregate);

impl fmt::Display for AggregateHead<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_aggregate_head(self.0, f)
    }
}
