//! Durations in ranges and offsets: their grammar, and their value once the query's step and range are known.

use crate::error::ParseError;
use crate::parser::{Halt, Parsed, Parser, number_is_zero, precedence};
use crate::token::{Keyword, Token, TokenKind};
use crate::{BinaryOp, DurationExpr, DurationKind, Span};

/// Where a duration is read, for the error text when there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    pub(crate) place: &'static str,
    pub(crate) expected: &'static str,
}

pub(crate) const OFFSET: Context = Context {
    place: "offset",
    expected: "number, duration, step(), or range()",
};
pub(crate) const RANGE: Context = Context {
    place: "subquery or range selector",
    expected: "number, duration, step(), or range()",
};
pub(crate) const STEP: Context = Context {
    place: "subquery selector",
    expected: r#"number, duration, step(), range(), or "]""#,
};

// 2^63 ns in seconds: upstream keeps durations as nanoseconds.
const MAX_SECONDS: f64 = 9_223_372_036_854_775_808.0 / 1e9;

struct Built {
    expr: DurationExpr,
    height: usize,
}

impl Built {
    fn leaf(kind: DurationKind, span: Span) -> Self {
        Self {
            expr: DurationExpr { kind, span },
            height: 1,
        }
    }

    fn is_literal(&self) -> bool {
        matches!(self.expr.kind, DurationKind::Literal(_) | DurationKind::Seconds(_))
    }
}

impl Parser<'_> {
    /// A range or a step: any arithmetic, above zero where it is a literal.
    pub(crate) fn positive_duration(&mut self, context: Context) -> Parsed<DurationExpr> {
        let mut expr = standalone(self.duration(0, context)?.expr);
        if let DurationKind::Literal(ms) = expr.kind
            && ms <= 0
        {
            // Below a millisecond upstream sees a positive number of nanoseconds, which its engine then reads as 0.
            self.error(expr.span, "duration must be greater than 0");
            expr.kind = DurationKind::Literal(0);
        }
        Ok(expr)
    }

    /// What follows `offset`: a literal or a term. Arithmetic needs parentheses: `x offset 1m + 1` is a sum.
    pub(crate) fn offset_duration(&mut self) -> Parsed<DurationExpr> {
        Ok(standalone(self.signed_term(OFFSET)?.expr))
    }

    fn signed_term(&mut self, context: Context) -> Parsed<Built> {
        let token = self.peek();
        match token.kind {
            TokenKind::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.take();
                let operand = self.duration_term(context)?;
                Ok(signed(op, token, operand))
            }
            _ => self.duration_term(context),
        }
    }

    fn duration(&mut self, min: u8, context: Context) -> Parsed<Built> {
        self.enter()?;
        let token = self.peek();
        let mut left = match token.kind {
            TokenKind::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.take();
                // Binds like `*`: `-2^2` is -(2^2).
                let operand = self.duration(precedence(BinaryOp::Pow), context)?;
                signed(op, token, operand)
            }
            _ => self.duration_term(context)?,
        };
        while let TokenKind::Op(op) = self.peek().kind
            && is_arithmetic(op)
            && precedence(op) >= min
        {
            let op_token = self.take();
            let next = if op == BinaryOp::Pow {
                precedence(op)
            } else {
                precedence(op) + 1
            };
            let right = self.duration(next, context)?;
            left = self.duration_binary(op, op_token, left, right)?;
        }
        self.leave();
        Ok(left)
    }

    fn duration_binary(&mut self, op: BinaryOp, op_token: Token, left: Built, right: Built) -> Parsed<Built> {
        let span = Span {
            start: left.expr.span.start,
            end: right.expr.span.end,
        };
        let by_zero = match right.expr.kind {
            DurationKind::Literal(ms) => ms == 0,
            DurationKind::Seconds(seconds) => number_is_zero(seconds),
            _ => false,
        };
        if by_zero && matches!(op, BinaryOp::Div | BinaryOp::Mod) {
            let what = if op == BinaryOp::Div {
                "division by zero"
            } else {
                "modulo by zero"
            };
            self.error(op_token.span, what);
        }
        let height = 1 + left.height.max(right.height);
        self.check_height(height, op_token.span)?;
        let kind = DurationKind::Binary {
            op,
            lhs: Box::new(left.expr),
            rhs: Box::new(right.expr),
        };
        Ok(Built {
            expr: DurationExpr { kind, span },
            height,
        })
    }

    fn duration_term(&mut self, context: Context) -> Parsed<Built> {
        let token = self.peek();
        match token.kind {
            TokenKind::Number => {
                self.take();
                let seconds = self.number_value(token);
                let seconds = self.in_range(seconds, token.span);
                Ok(Built::leaf(DurationKind::Seconds(seconds), token.span))
            }
            TokenKind::Duration => {
                self.take();
                let ms = self.duration_ms(token);
                Ok(Built::leaf(DurationKind::Literal(ms), token.span))
            }
            TokenKind::Keyword(keyword @ (Keyword::Step | Keyword::Range)) => {
                self.take();
                self.expect(TokenKind::LeftParen, context)?;
                let close = self.expect(TokenKind::RightParen, context)?;
                let kind = if keyword == Keyword::Step {
                    DurationKind::Step
                } else {
                    DurationKind::Range
                };
                Ok(Built::leaf(
                    kind,
                    Span {
                        start: token.span.start,
                        end: close.span.end,
                    },
                ))
            }
            TokenKind::Keyword(keyword @ (Keyword::MinOf | Keyword::MaxOf)) => {
                self.take();
                self.expect(TokenKind::LeftParen, context)?;
                let lhs = self.duration(0, context)?;
                self.expect(TokenKind::Comma, context)?;
                let rhs = self.duration(0, context)?;
                let close = self.expect(TokenKind::RightParen, context)?;
                let height = 1 + lhs.height.max(rhs.height);
                let largest = keyword == Keyword::MaxOf;
                let kind = DurationKind::Choice {
                    largest,
                    lhs: Box::new(lhs.expr),
                    rhs: Box::new(rhs.expr),
                };
                let span = Span {
                    start: token.span.start,
                    end: close.span.end,
                };
                Ok(Built {
                    expr: DurationExpr { kind, span },
                    height,
                })
            }
            TokenKind::LeftParen => {
                self.take();
                let inner = self.duration(0, context)?;
                let close = self.expect(TokenKind::RightParen, context)?;
                let span = Span {
                    start: token.span.start,
                    end: close.span.end,
                };
                // Double parentheses are one, as upstream prints them.
                if matches!(inner.expr.kind, DurationKind::Paren(_)) {
                    return Ok(Built {
                        expr: DurationExpr { span, ..inner.expr },
                        ..inner
                    });
                }
                let height = 1 + inner.height;
                Ok(Built {
                    expr: DurationExpr {
                        kind: DurationKind::Paren(Box::new(inner.expr)),
                        span,
                    },
                    height,
                })
            }
            _ => Err(self.unexpected(context.place, context.expected)),
        }
    }

    fn in_range(&mut self, seconds: f64, span: Span) -> f64 {
        if seconds.abs() <= MAX_SECONDS {
            return seconds;
        }
        self.error(span, "duration out of range");
        0.0
    }

    fn expect(&mut self, kind: TokenKind, context: Context) -> Result<Token, Halt> {
        if self.peek().kind == kind {
            return Ok(self.take());
        }
        Err(self.unexpected(context.place, context.expected))
    }
}

fn signed(op: BinaryOp, token: Token, operand: Built) -> Built {
    let span = Span {
        start: token.span.start,
        end: operand.expr.span.end,
    };
    let is_literal = operand.is_literal();
    let Built { mut expr, height } = operand;
    if op == BinaryOp::Add {
        if is_literal {
            expr.span = span;
        }
        return Built { expr, height };
    }
    let kind = match expr.kind {
        DurationKind::Literal(ms) => DurationKind::Literal(-ms),
        DurationKind::Seconds(seconds) => DurationKind::Seconds(-seconds),
        _ => {
            let kind = DurationKind::Unary {
                op,
                expr: Box::new(expr),
            };
            return Built {
                expr: DurationExpr { kind, span },
                height: height + 1,
            };
        }
    };
    Built::leaf(kind, span)
}

fn is_arithmetic(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Pow
    )
}

// Outside arithmetic a plain number is a duration in seconds, kept to the millisecond.
fn standalone(mut expr: DurationExpr) -> DurationExpr {
    if let DurationKind::Seconds(seconds) = expr.kind {
        // Upstream rounds to nanoseconds and its engine cuts them to milliseconds.
        let nanoseconds = (seconds * 1e9).round();
        expr.kind = DurationKind::Literal((nanoseconds / 1e6) as i64);
    }
    expr
}

impl DurationExpr {
    /// The value in milliseconds for a query with this step and range (its end minus its start), in milliseconds.
    ///
    /// Arithmetic works on seconds as floats, as upstream's does. Ranges and steps must come out above zero; that is
    /// for [`DurationExpr::positive_ms`] to check.
    ///
    /// # Errors
    /// [`ParseError`] with the place of the part that divides by zero, or of the whole where it does not fit.
    pub fn eval_ms(&self, step_ms: i64, range_ms: i64) -> Result<i64, ParseError> {
        if let DurationKind::Literal(ms) = self.kind {
            return Ok(ms);
        }
        let seconds = self.seconds(step_ms as f64 / 1000.0, range_ms as f64 / 1000.0)?;
        if seconds.abs() <= MAX_SECONDS {
            Ok((seconds * 1000.0) as i64)
        } else {
            Err(ParseError::new(self.span, "duration is out of range"))
        }
    }

    /// As [`DurationExpr::eval_ms`], for ranges and steps.
    ///
    /// # Errors
    /// Also where the value is not above zero.
    pub fn positive_ms(&self, step_ms: i64, range_ms: i64) -> Result<i64, ParseError> {
        match self.eval_ms(step_ms, range_ms)? {
            ms if ms > 0 => Ok(ms),
            _ => Err(ParseError::new(self.span, "duration must be greater than 0")),
        }
    }

    fn seconds(&self, step: f64, range: f64) -> Result<f64, ParseError> {
        Ok(match &self.kind {
            DurationKind::Literal(ms) => *ms as f64 / 1000.0,
            DurationKind::Seconds(seconds) => *seconds,
            DurationKind::Step => step,
            DurationKind::Range => range,
            DurationKind::Paren(inner) => inner.seconds(step, range)?,
            DurationKind::Unary {
                op: BinaryOp::Sub,
                expr,
            } => -expr.seconds(step, range)?,
            DurationKind::Unary { expr, .. } => expr.seconds(step, range)?,
            DurationKind::Choice { largest, lhs, rhs } => {
                let (a, b) = (lhs.seconds(step, range)?, rhs.seconds(step, range)?);
                if *largest { a.max(b) } else { a.min(b) }
            }
            DurationKind::Binary { op, lhs, rhs } => {
                let (a, b) = (lhs.seconds(step, range)?, rhs.seconds(step, range)?);
                match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Mul => a * b,
                    BinaryOp::Div if number_is_zero(b) => return Err(ParseError::new(self.span, "division by zero")),
                    BinaryOp::Div => a / b,
                    BinaryOp::Mod if number_is_zero(b) => return Err(ParseError::new(self.span, "modulo by zero")),
                    BinaryOp::Mod => a % b,
                    BinaryOp::Pow => a.powf(b),
                    // The parser accepts no other operator in durations.
                    _ => f64::NAN,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{ExprKind, ParseOptions, parse_with};

    #[track_caller]
    fn check(range: &str, ms: Result<i64, &str>) {
        let expr = parse_with(&format!("x[{range}]"), &ParseOptions::all()).unwrap();
        let ExprKind::MatrixSelector { range, .. } = expr.kind else {
            panic!("{expr:?}")
        };
        assert_eq!(
            range.positive_ms(10_000, 60_000).map_err(|e| e.message),
            ms.map_err(str::to_owned)
        );
    }

    #[test]
    fn durations_are_computed_in_seconds() {
        check("5m", Ok(300_000));
        check("1800", Ok(1_800_000));
        check("0.25", Ok(250));
        check("2m*(10+5)", Ok(1_800_000));
        check("1h * 0.0005", Ok(1_800));
        check("24m+((1.5*2m)+2m)", Ok(1_740_000));
        check("-5m+35m", Ok(1_800_000));
        check("30m1s-30m1s % 1m", Ok(1_800_000));
        check("2^3^2s", Ok(512_000));
        check("1+(STep()-5)*2", Ok(11_000));
        check("max_of(min_of(step()+1,1h),1ms)", Ok(11_000));
        check("range()/2", Ok(30_000));
        check("step() - 10", Err("duration must be greater than 0"));
        check("1 / (step() - 10)", Err("division by zero"));
        check("1 % (step() - 10)", Err("modulo by zero"));
        check("10 ^ 60", Err("duration is out of range"));
    }
}
