//! What is known about an expression before any sample is read: which parts are the same at every step, and what its
//! durations come to.

use cupola_promql::{At, BinaryOp, DurationExpr, DurationKind, Expr, ExprKind, VectorSelector};
use hashbrown::HashSet;

use crate::error::QueryError;
use crate::grid::Grid;

/// The query's steps and its step-invariant nodes.
pub(crate) struct Plan {
    grid: Grid,
    end: i64,
    step_ms: i64,
    is_range: bool,
    invariant: HashSet<usize>,
    // Selectors whose histograms are asked for their count and sum only.
    counted: HashSet<usize>,
    height: usize,
}

// What is wanted of the histograms an expression has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Unknown,
    Counts,
    Buckets,
}

/// Functions that depend on the evaluation time even where their arguments do not.
const TIME_DEPENDENT: [&str; 11] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "time",
    "timestamp",
    "year",
];

// The tree is borrowed for as long as the plan lives, so a node's address names it.
fn key(expr: &Expr) -> usize {
    std::ptr::from_ref(expr).addr()
}

impl Plan {
    /// Looks at `expr`, which must stay where it is. `step_ms` is 0 for an instant query; `end` is the end that was
    /// asked for, which may lie after the last step.
    pub(crate) fn new(expr: &Expr, grid: Grid, step_ms: i64, is_range: bool, end: i64) -> Self {
        let mut plan = Self {
            grid,
            end,
            step_ms,
            is_range,
            invariant: HashSet::new(),
            counted: HashSet::new(),
            height: 0,
        };
        plan.visit(expr, 1);
        plan.find_counted(expr, Wanted::Unknown);
        plan
    }

    /// The query's start, also inside subqueries.
    pub(crate) fn start(&self) -> i64 {
        self.grid.start()
    }

    /// The query's end, also inside subqueries.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    pub(crate) fn step_ms(&self) -> i64 {
        self.step_ms
    }

    /// End minus start.
    pub(crate) fn range_ms(&self) -> i64 {
        self.end - self.grid.start()
    }

    /// Whether this is a range query, even one of a single step.
    pub(crate) fn is_range(&self) -> bool {
        self.is_range
    }

    /// How many nodes lie on the longest way down.
    pub(crate) fn height(&self) -> usize {
        self.height
    }

    /// Whether `expr` is the same at every step.
    pub(crate) fn is_invariant(&self, expr: &Expr) -> bool {
        self.invariant.contains(&key(expr))
    }

    /// Whether only counts and sums are wanted of the selector's histograms (upstream `detectHistogramStatsDecoding`):
    /// resets between them are found when they are read then.
    pub(crate) fn wants_counts(&self, selector: &VectorSelector) -> bool {
        self.counted.contains(&std::ptr::from_ref(selector).addr())
    }

    // What is wanted of an expression's histograms is decided by everything around it: buckets if any function needs
    // them, or a subquery, which must find resets itself; else counts if any function needs these.
    fn find_counted(&mut self, expr: &Expr, wanted: Wanted) {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector { selector, .. } => {
                if wanted == Wanted::Counts {
                    self.counted.insert(std::ptr::from_ref(selector).addr());
                }
            }
            ExprKind::Subquery(subquery) => self.find_counted(&subquery.expr, Wanted::Buckets),
            ExprKind::Unary { expr: inner, .. } | ExprKind::Paren(inner) => self.find_counted(inner, wanted),
            ExprKind::Binary(binary) => {
                let trims = matches!(binary.op, BinaryOp::TrimUpper | BinaryOp::TrimLower);
                let wanted = if trims { Wanted::Buckets } else { wanted };
                self.find_counted(&binary.lhs, wanted);
                self.find_counted(&binary.rhs, wanted);
            }
            ExprKind::Aggregate(aggregate) => {
                if let Some(param) = &aggregate.param {
                    self.find_counted(param, wanted);
                }
                self.find_counted(&aggregate.expr, wanted);
            }
            ExprKind::Call(call) => {
                let wanted = match call.function.name {
                    _ if wanted == Wanted::Buckets => wanted,
                    "histogram_count" | "histogram_sum" | "histogram_avg" => Wanted::Counts,
                    "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => Wanted::Buckets,
                    _ => wanted,
                };
                call.args.iter().for_each(|arg| self.find_counted(arg, wanted));
            }
        }
    }

    fn visit(&mut self, expr: &Expr, depth: usize) -> bool {
        self.height = self.height.max(depth);
        let next = depth + 1;
        let invariant = match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => true,
            ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector { selector, .. } => {
                selector.modifiers.at.is_some()
            }
            ExprKind::Subquery(subquery) => {
                self.visit(&subquery.expr, next);
                subquery.modifiers.at.is_some()
            }
            ExprKind::Unary { expr: inner, .. } | ExprKind::Paren(inner) => self.visit(inner, next),
            ExprKind::Binary(binary) => {
                let (lhs, rhs) = (self.visit(&binary.lhs, next), self.visit(&binary.rhs, next));
                lhs && rhs
            }
            ExprKind::Aggregate(aggregate) => {
                let param = aggregate.param.as_ref().is_none_or(|param| self.visit(param, next));
                self.visit(&aggregate.expr, next) && param
            }
            ExprKind::Call(call) => {
                let mut args = true;
                for arg in &call.args {
                    args &= self.visit(arg, next);
                }
                args && !TIME_DEPENDENT.contains(&call.function.name)
            }
        };
        if invariant {
            self.invariant.insert(key(expr));
        }
        invariant
    }

    /// The time of `@`, in milliseconds.
    pub(crate) fn fixed_time(&self, at: Option<At>) -> Option<i64> {
        at.map(|at| match at {
            At::Time(ms) => ms,
            At::Start => self.grid.start(),
            At::End => self.end,
        })
    }

    /// A duration of any sign, in milliseconds.
    pub(crate) fn offset_ms(&self, offset: Option<&DurationExpr>) -> Result<i64, QueryError> {
        offset.map_or(Ok(0), |duration| self.duration_ms(duration))
    }

    /// A duration above zero, in milliseconds.
    pub(crate) fn positive_ms(&self, duration: &DurationExpr) -> Result<i64, QueryError> {
        match self.duration_ms(duration)? {
            ms if ms > 0 => Ok(ms),
            _ => Err(QueryError::BadData("duration must be greater than 0".to_owned())),
        }
    }

    fn duration_ms(&self, duration: &DurationExpr) -> Result<i64, QueryError> {
        // Literals stay exact; everything else is computed in seconds, as upstream does.
        if let DurationKind::Literal(ms) = duration.kind {
            return Ok(ms);
        }
        let ms = self.seconds(duration)? * 1000.0;
        // 2^63 nanoseconds.
        if !ms.is_finite() || ms.abs() > 9_223_372_036_854.0 {
            return Err(QueryError::BadData("duration out of range".to_owned()));
        }
        Ok(ms as i64)
    }

    fn seconds(&self, duration: &DurationExpr) -> Result<f64, QueryError> {
        let bad = |text: &str| QueryError::BadData(text.to_owned());
        Ok(match &duration.kind {
            DurationKind::Literal(ms) => *ms as f64 / 1000.0,
            DurationKind::Seconds(seconds) => *seconds,
            DurationKind::Step => self.step_ms as f64 / 1000.0,
            DurationKind::Range => self.range_ms() as f64 / 1000.0,
            DurationKind::Unary { op, expr } => {
                let value = self.seconds(expr)?;
                if *op == BinaryOp::Sub { -value } else { value }
            }
            DurationKind::Binary { op, lhs, rhs } => {
                let (lhs, rhs) = (self.seconds(lhs)?, self.seconds(rhs)?);
                match op {
                    BinaryOp::Add => lhs + rhs,
                    BinaryOp::Sub => lhs - rhs,
                    BinaryOp::Mul => lhs * rhs,
                    BinaryOp::Div if rhs == 0.0 => return Err(bad("division by zero")),
                    BinaryOp::Div => lhs / rhs,
                    BinaryOp::Mod if rhs == 0.0 => return Err(bad("modulo by zero")),
                    BinaryOp::Mod => lhs % rhs,
                    BinaryOp::Pow => lhs.powf(rhs),
                    other => return Err(bad(&format!("unexpected operator {} in a duration", other.as_str()))),
                }
            }
            DurationKind::Choice { largest, lhs, rhs } => {
                let (lhs, rhs) = (self.seconds(lhs)?, self.seconds(rhs)?);
                if *largest { lhs.max(rhs) } else { lhs.min(rhs) }
            }
            DurationKind::Paren(inner) => self.seconds(inner)?,
        })
    }

    /// The steps at which `selector` looks, moved by its modifiers: one where `@` fixes the time.
    pub(crate) fn selection_grid(&self, selector: &VectorSelector, grid: Grid) -> Result<Grid, QueryError> {
        let offset = self.offset_ms(selector.modifiers.offset.as_ref())?;
        let grid = self.fixed_time(selector.modifiers.at).map_or(grid, Grid::single);
        Ok(grid.earlier(offset))
    }
}

/// Without parentheses around.
pub(crate) fn unwrap_parens(mut expr: &Expr) -> &Expr {
    while let ExprKind::Paren(inner) = &expr.kind {
        expr = inner;
    }
    expr
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_promql::Span;

    fn duration(kind: DurationKind) -> DurationExpr {
        DurationExpr {
            kind,
            span: Span::default(),
        }
    }

    fn literal(ms: i64) -> Box<DurationExpr> {
        Box::new(duration(DurationKind::Literal(ms)))
    }

    #[test]
    fn durations_are_computed_in_seconds() {
        let number = Expr {
            kind: ExprKind::String(String::new()),
            span: Span::default(),
        };
        let plan = Plan::new(&number, Grid::range(50_000, 60_000, 5_000), 5_000, true, 60_000);
        let binary = |op, lhs, rhs| duration(DurationKind::Binary { op, lhs, rhs });
        let ms = |d: &DurationExpr| plan.positive_ms(d).map_err(|e| e.to_string());
        assert_eq!(
            ms(&binary(BinaryOp::Mod, literal(5_400_000), literal(3_600_000))),
            Ok(1_800_000)
        );
        assert_eq!(ms(&binary(BinaryOp::Mul, literal(20_000), literal(500))), Ok(10_000));
        assert_eq!(ms(&duration(DurationKind::Range)), Ok(10_000));
        assert_eq!(ms(&duration(DurationKind::Step)), Ok(5_000));
        assert_eq!(
            ms(&binary(BinaryOp::Div, literal(1), literal(0))),
            Err("division by zero".to_owned())
        );
        assert_eq!(ms(&literal(0)), Err("duration must be greater than 0".to_owned()));
    }
}
