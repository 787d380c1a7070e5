//! Trees as text on one line, exactly as Prometheus's `Expr.String()` prints them.

use std::fmt::{Display, Formatter, Result};

use cupola_model::{METRIC_NAME, MatchOp, fmt_f64, fmt_f64_g, format_duration, go_quote, is_valid_legacy_label_name};

use crate::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, DurationExpr, DurationKind, Expr, ExprKind, MatchCard, Modifiers,
    NumberLiteral, Subquery, ValueType, VectorMatching, VectorSelector,
};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            ExprKind::Number(number) => number.fmt(f),
            ExprKind::String(text) => f.write_str(&go_quote(text)),
            ExprKind::VectorSelector(selector) => selector.fmt(f),
            ExprKind::MatrixSelector { selector, range, .. } => {
                write_matchers(selector, f)?;
                write!(f, "[{range}]")?;
                // Behind brackets upstream prints `anchored` before `@`.
                if let Some(extended) = selector.extended {
                    write!(f, " {}", extended.as_str())?;
                }
                write_at(&selector.modifiers, f)?;
                write_offset(&selector.modifiers, f)
            }
            ExprKind::Subquery(subquery) => {
                subquery.expr.fmt(f)?;
                write_subquery_suffix(subquery, f)
            }
            ExprKind::Unary { op, expr } => {
                f.write_str(op.as_str())?;
                expr.fmt(f)
            }
            ExprKind::Binary(binary) => {
                binary.lhs.fmt(f)?;
                f.write_str(" ")?;
                write_operator(binary, f)?;
                f.write_str(" ")?;
                binary.rhs.fmt(f)
            }
            ExprKind::Aggregate(aggregate) => {
                write_aggregate_head(aggregate, f)?;
                f.write_str("(")?;
                if let Some(param) = &aggregate.param {
                    param.fmt(f)?;
                    f.write_str(", ")?;
                }
                aggregate.expr.fmt(f)?;
                f.write_str(")")
            }
            ExprKind::Call(call) => {
                f.write_str(call.function.name)?;
                f.write_str("(")?;
                for (i, arg) in call.args.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    arg.fmt(f)?;
                }
                f.write_str(")")
            }
            ExprKind::Paren(inner) => {
                f.write_str("(")?;
                inner.fmt(f)?;
                f.write_str(")")
            }
        }
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.is_duration {
            f.write_str(&format_duration((self.value * 1000.0).round() as i64))
        } else {
            f.write_str(&fmt_f64(self.value))
        }
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write_matchers(self, f)?;
        write_at(&self.modifiers, f)?;
        if let Some(extended) = self.extended {
            write!(f, " {}", extended.as_str())?;
        }
        write_offset(&self.modifiers, f)
    }
}

// Name and braces; matchers are sorted as printed, and the one that the name stands for is left out.
fn write_matchers(selector: &VectorSelector, f: &mut Formatter<'_>) -> Result {
    let name = selector.name.as_deref().unwrap_or_default();
    f.write_str(name)?;
    let is_the_name = |m: &&cupola_model::Matcher| {
        m.name() == METRIC_NAME && m.op() == MatchOp::Equal && m.value() == name && !name.is_empty()
    };
    let mut shown: Vec<String> = selector
        .matchers
        .iter()
        .filter(|m| !is_the_name(m))
        .map(ToString::to_string)
        .collect();
    // The second argument of info() may be empty braces.
    if shown.is_empty() && !name.is_empty() {
        return Ok(());
    }
    shown.sort();
    write!(f, "{{{}}}", shown.join(","))
}

fn write_at(modifiers: &Modifiers, f: &mut Formatter<'_>) -> Result {
    match modifiers.at {
        None => Ok(()),
        Some(At::Time(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
    }
}

fn write_offset(modifiers: &Modifiers, f: &mut Formatter<'_>) -> Result {
    match &modifiers.offset {
        None => Ok(()),
        Some(offset) => write!(f, " offset {offset}"),
    }
}

/// `[5m:1m] @ 0.000 offset 1m`.
pub(crate) fn write_subquery_suffix(subquery: &Subquery, f: &mut Formatter<'_>) -> Result {
    write!(f, "[{}:", subquery.range)?;
    if let Some(step) = &subquery.step {
        step.fmt(f)?;
    }
    f.write_str("]")?;
    write_at(&subquery.modifiers, f)?;
    write_offset(&subquery.modifiers, f)
}

/// `== bool on (a) group_left (b)`.
pub(crate) fn write_operator(binary: &Binary, f: &mut Formatter<'_>) -> Result {
    f.write_str(binary.op.as_str())?;
    if binary.return_bool {
        f.write_str(" bool")?;
    }
    match &binary.matching {
        Some(matching) => write_matching(matching, f),
        None => Ok(()),
    }
}

fn write_matching(matching: &VectorMatching, f: &mut Formatter<'_>) -> Result {
    let group = match matching.card {
        MatchCard::ManyToOne => Some("left"),
        MatchCard::OneToMany => Some("right"),
        MatchCard::OneToOne | MatchCard::ManyToMany => None,
    };
    if !matching.labels.is_empty() || matching.on || group.is_some() {
        f.write_str(if matching.on { " on (" } else { " ignoring (" })?;
        write_labels(&matching.labels, f)?;
        f.write_str(")")?;
    }
    if let Some(side) = group {
        write!(f, " group_{side} (")?;
        write_labels(&matching.include, f)?;
        f.write_str(")")?;
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left.to_bits() == right.to_bits() => write!(f, " fill ({})", fmt_f64_g(left)),
        (left, right) => {
            if let Some(left) = left {
                write!(f, " fill_left ({})", fmt_f64_g(left))?;
            }
            if let Some(right) = right {
                write!(f, " fill_right ({})", fmt_f64_g(right))?;
            }
            Ok(())
        }
    }
}

/// `sum by (a) `: everything before the parenthesis.
pub(crate) fn write_aggregate_head(aggregate: &Aggregate, f: &mut Formatter<'_>) -> Result {
    f.write_str(aggregate.op.as_str())?;
    // An empty `by` is as none, an empty `without` is not.
    if aggregate.without {
        f.write_str(" without (")?;
    } else if aggregate.grouping.is_empty() {
        return Ok(());
    } else {
        f.write_str(" by (")?;
    }
    write_labels(&aggregate.grouping, f)?;
    f.write_str(") ")
}

fn write_labels(labels: &[String], f: &mut Formatter<'_>) -> Result {
    for (i, label) in labels.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        if is_valid_legacy_label_name(label) {
            f.write_str(label)?;
        } else {
            f.write_str(&go_quote(label))?;
        }
    }
    Ok(())
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            DurationKind::Literal(ms) => f.write_str(&format_duration(*ms)),
            DurationKind::Seconds(seconds) => f.write_str(&fmt_f64(*seconds)),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::Unary { op, expr } => {
                f.write_str(op.as_str())?;
                expr.fmt(f)
            }
            DurationKind::Binary { op, lhs, rhs } => {
                lhs.fmt(f)?;
                write!(f, " {} ", op.as_str())?;
                rhs.fmt(f)
            }
            DurationKind::Choice { largest, lhs, rhs } => {
                f.write_str(if *largest { "max_of(" } else { "min_of(" })?;
                lhs.fmt(f)?;
                f.write_str(", ")?;
                rhs.fmt(f)?;
                f.write_str(")")
            }
            DurationKind::Paren(inner) => {
                f.write_str("(")?;
                inner.fmt(f)?;
                f.write_str(")")
            }
        }
    }
}

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.as_str())
    }
}

impl Display for AggregateOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.as_str())
    }
}

impl Display for ValueType {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.as_str())
    }
}
