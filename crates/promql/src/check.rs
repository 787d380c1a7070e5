//! Types and other meaning, checked once the syntax is known to be right. Collects every mistake.

use cupola_model::{METRIC_NAME, go_quote};

use crate::error::ParseError;
use crate::{Aggregate, AggregateOp, Binary, Call, Expr, ExprKind, MatchCard, Span, ValueType, VectorSelector};

/// Checks a tree and settles what depends on types: `matching` becomes `None` where a side is no vector, and set
/// operators become many-to-many.
pub(crate) fn check(expr: &mut Expr) -> Vec<ParseError> {
    let mut checker = Checker { errors: Vec::new() };
    checker.expr(expr);
    checker.errors
}

struct Checker {
    errors: Vec<ParseError>,
}

impl Checker {
    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError::new(span, message));
    }

    // Mistakes are told in upstream's order: those of operands before those of the operation.
    fn expr(&mut self, expr: &mut Expr) -> ValueType {
        let span = expr.span;
        match &mut expr.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::VectorSelector(selector) => {
                self.selector(selector, span);
                ValueType::Vector
            }
            ExprKind::MatrixSelector {
                selector,
                selector_span,
                ..
            } => {
                self.selector(selector, *selector_span);
                ValueType::Matrix
            }
            ExprKind::Subquery(subquery) => {
                let inner = self.expr(&mut subquery.expr);
                if inner != ValueType::Vector {
                    let name = inner.as_str();
                    self.error(
                        span,
                        format!("subquery is only allowed on instant vector, got {name} instead"),
                    );
                }
                ValueType::Matrix
            }
            ExprKind::Unary { expr, .. } => {
                let inner = self.expr(expr);
                if !is_scalar_or_vector(inner) {
                    let allowed = "unary expression only allowed on expressions of type scalar or instant vector";
                    self.error(span, format!("{allowed}, got {}", go_quote(inner.documented())));
                }
                inner
            }
            ExprKind::Binary(binary) => self.binary(binary, span),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate),
            ExprKind::Call(call) => self.call(call, span),
            ExprKind::Paren(inner) => self.expr(inner),
        }
    }

    fn expect(&mut self, expr: &mut Expr, wanted: ValueType, place: &str) {
        let got = self.expr(expr);
        if got != wanted {
            self.wrong_type(expr.span, wanted, place, got);
        }
    }

    fn wrong_type(&mut self, span: Span, wanted: ValueType, place: &str, got: ValueType) {
        let (wanted, got) = (wanted.documented(), got.documented());
        self.error(span, format!("expected type {wanted} in {place}, got {got}"));
    }

    fn aggregate(&mut self, aggregate: &mut Aggregate) -> ValueType {
        self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression");
        if let Some(param) = &mut aggregate.param {
            let wanted = if aggregate.op == AggregateOp::CountValues {
                ValueType::String
            } else {
                ValueType::Scalar
            };
            self.expect(param, wanted, "aggregation parameter");
        }
        ValueType::Vector
    }

    fn binary(&mut self, binary: &mut Binary, span: Span) -> ValueType {
        use ValueType::{Scalar, Vector};
        let left = self.expr(&mut binary.lhs);
        let right = self.expr(&mut binary.rhs);
        let op = binary.op;
        let at_op = binary.op_span;
        if binary.return_bool && !op.is_comparison() {
            self.error(at_op, "bool modifier can only be used on comparison operators");
        }
        if op.is_comparison() && !binary.return_bool && left == Scalar && right == Scalar {
            self.error(at_op, "comparisons between scalars must use BOOL modifier");
        }
        if let Some(matching) = &mut binary.matching {
            if op.is_set() && matching.card == MatchCard::OneToOne {
                matching.card = MatchCard::ManyToMany;
            }
            if matching.on {
                for label in matching.labels.iter().filter(|label| matching.include.contains(label)) {
                    let label = go_quote(label);
                    let message = format!("label {label} must not occur in ON and GROUP clause at once");
                    self.errors.push(ParseError::new(at_op, message));
                }
            }
        }
        for (ty, side) in [(left, &binary.lhs), (right, &binary.rhs)] {
            if !is_scalar_or_vector(ty) {
                self.error(
                    side.span,
                    "binary expression must contain only scalar and instant vector types",
                );
            }
        }
        self.matching(binary, left == Vector && right == Vector, span);
        if (left == Scalar || right == Scalar) && op.is_set() {
            let name = go_quote(op.as_str());
            self.error(
                span,
                format!("set operator {name} not allowed in binary scalar expression"),
            );
        }
        if left == Scalar && right == Scalar {
            Scalar
        } else {
            Vector
        }
    }

    fn matching(&mut self, binary: &mut Binary, both_are_vectors: bool, span: Span) {
        let Some(matching) = &binary.matching else { return };
        let has_fill = matching.fill_left.is_some() || matching.fill_right.is_some();
        if !both_are_vectors {
            if !matching.labels.is_empty() {
                self.error(span, "vector matching only allowed between instant vectors");
            }
            if has_fill {
                self.error(span, "filling in missing series only allowed between instant vectors");
            }
            binary.matching = None;
        } else if binary.op.is_set() {
            if matching.card != MatchCard::ManyToMany {
                let name = go_quote(binary.op.as_str());
                self.error(span, format!("no grouping allowed for {name} operation"));
                self.error(span, "set operations must always be many-to-many");
            }
            if has_fill {
                self.error(span, "filling in missing series not allowed for set operators");
            }
        }
    }

    fn call(&mut self, call: &mut Call, span: Span) -> ValueType {
        let function = call.function;
        let name = go_quote(function.name);
        let got = call.args.len();
        let min = function.min_args();
        let expected = match function.max_args() {
            _ if function.variadic == 0 && got != min => Some(format!("{min}")),
            _ if got < min => Some(format!("at least {min}")),
            Some(max) if got > max => Some(format!("at most {max}")),
            _ => None,
        };
        if let Some(expected) = expected {
            self.error(
                span,
                format!("expected {expected} argument(s) in call to {name}, got {got}"),
            );
        }
        let place = format!("call to function {name}");
        for (index, arg) in call.args.iter_mut().enumerate() {
            let Some(wanted) = function.arg_type(index) else { break };
            if function.name == "info" && index == 1 {
                self.info_labels(arg, &place);
            } else {
                self.expect(arg, wanted, &place);
            }
        }
        function.returns
    }

    // The second argument of info(): label matchers in braces, which may match everything.
    fn info_labels(&mut self, arg: &mut Expr, place: &str) {
        let span = arg.span;
        match &arg.kind {
            ExprKind::VectorSelector(selector) if selector.name.is_some() => {
                self.error(span, "expected label selectors only, got vector selector instead");
            }
            ExprKind::VectorSelector(_) => {}
            _ => {
                let got = self.expr(arg);
                if got != ValueType::Vector {
                    self.wrong_type(span, ValueType::Vector, place, got);
                }
                self.error(span, "expected label selectors only");
            }
        }
    }

    fn selector(&mut self, selector: &VectorSelector, span: Span) {
        let Some(name) = &selector.name else {
            // Else a typo would select everything.
            if selector.matchers.iter().all(cupola_model::Matcher::matches_empty) {
                self.error(span, "vector selector must contain at least one non-empty matcher");
            }
            return;
        };
        // The name written outside the braces is the last matcher.
        let inside = selector.matchers.split_last().map_or(&[][..], |(_, rest)| rest);
        for matcher in inside.iter().filter(|matcher| matcher.name() == METRIC_NAME) {
            let (name, again) = (go_quote(name), go_quote(matcher.value()));
            self.error(span, format!("metric name must not be set twice: {name} or {again}"));
        }
    }
}

fn is_scalar_or_vector(ty: ValueType) -> bool {
    matches!(ty, ValueType::Scalar | ValueType::Vector)
}
