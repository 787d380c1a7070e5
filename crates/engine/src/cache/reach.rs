//! Which samples the value at a step depends on.

use cupola_promql::{DurationExpr, DurationKind, Expr, ExprKind, ExtendedRange, Modifiers, VectorSelector};

use crate::plan::Plan;

/// How much later than a step the newest sample may be that its value depends on, in milliseconds: 0 for most
/// queries, more with a negative offset or `smoothed`.
///
/// `None` where the answer is not to be kept, because a step depends on something else: on where the query starts or
/// ends (`start()`, `end()`, `range()`, also as durations and behind `@`), or on a fixed time (`@ 123`), which has
/// nothing to do with that of the step. Nor is it worth while without a selector.
pub(crate) fn look_ahead(expr: &Expr, plan: &Plan, lookback_ms: i64) -> Option<i64> {
    let mut found = None;
    // With each expression how much later than the step it is evaluated at most.
    let mut pending = vec![(expr, 0_i64)];
    while let Some((expr, later)) = pending.pop() {
        let mut inner = later;
        match &expr.kind {
            ExprKind::VectorSelector(selector) => {
                let ahead = selected(selector, plan, lookback_ms)?.saturating_add(later);
                found = found.max(Some(ahead));
            }
            ExprKind::MatrixSelector { selector, range, .. } => {
                whole_query_free(range)?;
                let ahead = selected(selector, plan, lookback_ms)?.saturating_add(later);
                found = found.max(Some(ahead));
            }
            ExprKind::Subquery(subquery) => {
                whole_query_free(&subquery.range)?;
                subquery.step.as_ref().map_or(Some(()), whole_query_free)?;
                inner = later.saturating_add(moved(&subquery.modifiers, plan)?);
            }
            ExprKind::Call(call) if matches!(call.function.name, "start" | "end" | "range") => return None,
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::Unary { .. }
            | ExprKind::Binary(_)
            | ExprKind::Aggregate(_)
            | ExprKind::Call(_)
            | ExprKind::Paren(_) => {}
        }
        pending.extend(expr.children().map(|child| (child, inner)));
    }
    // An expression that looks only backwards may also ask for the step itself (`time()`).
    found.map(|ahead| ahead.max(0))
}

fn selected(selector: &VectorSelector, plan: &Plan, lookback_ms: i64) -> Option<i64> {
    let moved = moved(&selector.modifiers, plan)?;
    match selector.extended {
        Some(ExtendedRange::Smoothed) => Some(moved.saturating_add(lookback_ms)),
        Some(ExtendedRange::Anchored) | None => Some(moved),
    }
}

// By how much modifiers look later; negative where they look earlier.
fn moved(modifiers: &Modifiers, plan: &Plan) -> Option<i64> {
    if modifiers.at.is_some() {
        return None;
    }
    modifiers.offset.as_ref().map_or(Some(()), whole_query_free)?;
    let offset = plan.offset_ms(modifiers.offset.as_ref()).ok()?;
    offset.checked_neg()
}

// Some where `range()` is not part of it; `step()` may be, as answers of different steps are kept apart.
fn whole_query_free(duration: &DurationExpr) -> Option<()> {
    match &duration.kind {
        DurationKind::Literal(_) | DurationKind::Seconds(_) | DurationKind::Step => Some(()),
        DurationKind::Range => None,
        DurationKind::Unary { expr, .. } | DurationKind::Paren(expr) => whole_query_free(expr),
        DurationKind::Binary { lhs, rhs, .. } | DurationKind::Choice { lhs, rhs, .. } => {
            whole_query_free(lhs)?;
            whole_query_free(rhs)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;
    use cupola_promql::{ParseOptions, parse_with};

    #[track_caller]
    fn check(text: &str, ahead: Option<i64>) {
        let expr = parse_with(text, &ParseOptions::all()).unwrap();
        let plan = Plan::new(&expr, Grid::range(0, 60_000, 5_000), 5_000, true, 60_000);
        assert_eq!(look_ahead(&expr, &plan, 300_000), ahead, "{text}");
    }

    #[test]
    fn most_queries_look_backwards() {
        check("x", Some(0));
        check("sum by (a) (rate(x[5m])) / ignoring (b) y", Some(0));
        check("x offset 5m", Some(0));
        check("max_over_time(rate(x[5m])[1h:1m])", Some(0));
        check("x * time() + step()", Some(0));
        check("rate(x[step()])", Some(0));
        check("topk(scalar(k), x)", Some(0));
        check("rate(x[5m] anchored)", Some(0));
        check("info(x, {a=\"b\"})", Some(0));
    }

    #[test]
    fn some_look_ahead() {
        check("x offset -1m", Some(60_000));
        check("x + y offset -1m + z offset -2m", Some(120_000));
        check("x offset -step()", Some(5_000));
        check("avg_over_time((x offset -1m)[5m:1m] offset -2m)", Some(180_000));
        check("avg_over_time((x offset -1m)[5m:1m] offset 1m)", Some(0));
        check("x smoothed", Some(300_000));
        check("rate(x[5m] smoothed offset 1m)", Some(240_000));
        check("topk(scalar(k offset -7s), x)", Some(7_000));
    }

    #[test]
    fn what_depends_on_more_is_not_kept() {
        for text in [
            "x @ 5",
            "x @ start()",
            "rate(x[5m] @ end())",
            "avg_over_time(x[5m:1m] @ end())",
            "x + start()",
            "x + end()",
            "sum(x) / range()",
            "rate(x[range()])",
            "x offset range()",
            "rate(x[max_of(step(), range() / 2)])",
            "avg_over_time(x[5m:range()])",
            "avg_over_time((x @ 5)[5m:1m])",
            "vector(1)",
            "time()",
        ] {
            check(text, None);
        }
    }
}
