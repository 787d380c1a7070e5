//! Selectors, and what may follow an expression: `offset`, `@`, `anchored`, `smoothed`, ranges and subqueries.

use cupola_model::{METRIC_NAME, MatchOp, Matcher};

use crate::durations::{RANGE, STEP};
use crate::literals::unquote;
use crate::parser::{Halt, Node, Parsed, Parser, names_a_metric};
use crate::token::{Keyword, Token, TokenKind};
use crate::{
    At, BinaryOp, DurationExpr, DurationKind, Expr, ExprKind, ExtendedRange, Modifiers, Span, Subquery, VectorSelector,
};

// Compiling one takes up to a tenth of a millisecond and some kilobytes; no dashboard comes near the bound.
const MAX_REGEXES: usize = 1_000;

impl Parser<'_> {
    /// The whole text as one selector, as `match[]` parameters are.
    pub(crate) fn lone_selector(&mut self) -> Parsed<Vec<Matcher>> {
        let token = self.peek();
        let node = if token.kind == TokenKind::LeftBrace {
            self.vector_selector(None)?
        } else if names_a_metric(token.kind) {
            self.take();
            self.vector_selector(Some(token))?
        } else {
            return Err(self.unexpected("", ""));
        };
        self.end_of_input()?;
        match node.expr.kind {
            ExprKind::VectorSelector(selector) => Ok(selector.matchers),
            // `vector_selector` makes nothing else.
            _ => Err(Halt),
        }
    }

    /// A selector whose name, if it has one, is already taken.
    pub(crate) fn vector_selector(&mut self, name: Option<Token>) -> Parsed<Node> {
        let mut selector = VectorSelector::default();
        let next = self.peek();
        let mut span = name.map_or(next.span, |token| token.span);
        if next.kind == TokenKind::LeftBrace {
            self.take();
            selector.matchers = self.label_matchers()?;
            span.end = self.last_end;
        }
        if let Some(token) = name {
            let text = self.text(token);
            selector.matchers.push(Matcher::equal(METRIC_NAME, text));
            selector.name = Some(text.to_owned());
        }
        Ok(Node::leaf(ExprKind::VectorSelector(selector), span))
    }

    // `a="b", "c.d"=~"e", "name"}`; the opening brace is taken.
    fn label_matchers(&mut self) -> Parsed<Vec<Matcher>> {
        const PLACE: &str = "label matching";
        let mut matchers = Vec::new();
        if self.take_if(TokenKind::RightBrace).is_some() {
            return Ok(matchers);
        }
        loop {
            let label = self.peek();
            match label.kind {
                TokenKind::Identifier => {
                    self.take();
                    let Some(op) = self.match_op() else {
                        return Err(self.unexpected(PLACE, "label matching operator"));
                    };
                    let name = self.text(label).to_owned();
                    matchers.extend(self.matcher_value(label, name, op)?);
                }
                TokenKind::String => {
                    self.take();
                    let name = unquote(self.text(label));
                    match self.match_op() {
                        Some(op) => matchers.extend(self.matcher_value(label, name, op)?),
                        // A lone text is the metric's name.
                        None => matchers.push(Matcher::equal(METRIC_NAME, name)),
                    }
                }
                _ => return Err(self.unexpected(PLACE, r#"identifier or "}""#)),
            }
            let has_comma = self.take_if(TokenKind::Comma).is_some();
            if self.take_if(TokenKind::RightBrace).is_some() {
                return Ok(matchers);
            }
            if !has_comma {
                return Err(self.unexpected(PLACE, r#""," or "}""#));
            }
        }
    }

    fn match_op(&mut self) -> Option<MatchOp> {
        let op = match self.peek().kind {
            TokenKind::Eql => MatchOp::Equal,
            TokenKind::Op(BinaryOp::Ne) => MatchOp::NotEqual,
            TokenKind::EqlRegex => MatchOp::Regex,
            TokenKind::NeqRegex => MatchOp::NotRegex,
            _ => return None,
        };
        self.take();
        Some(op)
    }

    // `None` where the value is no regular expression, which is recorded.
    fn matcher_value(&mut self, label: Token, name: String, op: MatchOp) -> Parsed<Option<Matcher>> {
        let token = self.peek();
        if token.kind != TokenKind::String {
            return Err(self.unexpected("label matching", "string"));
        }
        self.take();
        if matches!(op, MatchOp::Regex | MatchOp::NotRegex) {
            self.regexes += 1;
            if self.regexes > MAX_REGEXES {
                self.error(
                    token.span,
                    format!("more than {MAX_REGEXES} regular expressions in one query"),
                );
                return Err(Halt);
            }
        }
        match Matcher::new(name, op, unquote(self.text(token))) {
            Ok(matcher) => Ok(Some(matcher)),
            Err(error) => {
                self.error(
                    Span {
                        start: label.span.start,
                        end: token.span.end,
                    },
                    error.to_string(),
                );
                Ok(None)
            }
        }
    }

    /// Everything that may follow an expression directly; binds tighter than any operator.
    pub(crate) fn postfix(&mut self, mut node: Node) -> Parsed<Node> {
        loop {
            match self.peek().kind {
                TokenKind::LeftBracket => node = self.brackets(node)?,
                TokenKind::At => self.at(&mut node.expr)?,
                TokenKind::Keyword(Keyword::Offset) => self.offset(&mut node.expr)?,
                TokenKind::Keyword(Keyword::Anchored) => self.extended(&mut node.expr, ExtendedRange::Anchored),
                TokenKind::Keyword(Keyword::Smoothed) => self.extended(&mut node.expr, ExtendedRange::Smoothed),
                _ => return Ok(node),
            }
        }
    }

    fn brackets(&mut self, node: Node) -> Parsed<Node> {
        let open = self.take();
        let range = self.positive_duration(RANGE)?;
        if let Some(close) = self.take_if(TokenKind::RightBracket) {
            return Ok(self.matrix_selector(
                node,
                range,
                Span {
                    start: open.span.start,
                    end: close.span.end,
                },
            ));
        }
        if self.take_if(TokenKind::Colon).is_none() {
            return Err(self.unexpected("subquery or range", r#"":" or "]""#));
        }
        let step = match self.peek().kind {
            TokenKind::RightBracket => None,
            _ => Some(self.positive_duration(STEP)?),
        };
        let Some(close) = self.take_if(TokenKind::RightBracket) else {
            return Err(self.unexpected("subquery selector", r#""]""#));
        };
        let height = node.height + 1;
        self.check_height(height, open.span)?;
        let span = Span {
            start: node.expr.span.start,
            end: close.span.end,
        };
        let subquery = Subquery {
            expr: *node.expr,
            range,
            step,
            modifiers: Modifiers::default(),
        };
        Ok(Node::new(ExprKind::Subquery(Box::new(subquery)), span, height))
    }

    fn matrix_selector(&mut self, node: Node, range: DurationExpr, brackets: Span) -> Node {
        let Node { expr, height } = node;
        let span = Span {
            start: expr.span.start,
            end: brackets.end,
        };
        match expr.kind {
            ExprKind::VectorSelector(selector) => {
                if selector.modifiers.offset.is_some() {
                    self.error(brackets, "no offset modifiers allowed before range");
                } else if matches!(selector.modifiers.at, Some(At::Time(_))) {
                    // Upstream lets `@ start()` and `@ end()` pass here.
                    self.error(brackets, "no @ modifiers allowed before range");
                }
                Node::leaf(
                    ExprKind::MatrixSelector {
                        selector,
                        selector_span: expr.span,
                        range,
                    },
                    span,
                )
            }
            kind => {
                self.error(brackets, "ranges only allowed for vector selectors");
                Node::new(kind, span, height)
            }
        }
    }

    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.take();
        let duration = self.offset_duration()?;
        let span = expr.span;
        let Some(modifiers) = modifiers_mut(expr) else {
            self.error(span, not_a_selector("offset"));
            return Ok(());
        };
        let is_zero = matches!(duration.kind, DurationKind::Literal(0));
        if modifiers.offset.is_some() {
            self.error(span, "offset may not be set multiple times");
        } else if !is_zero {
            modifiers.offset = Some(duration);
        }
        expr.span.end = self.last_end;
        Ok(())
    }

    fn at(&mut self, expr: &mut Expr) -> Parsed<()> {
        const PLACE: &str = "@";
        const EXPECTED: &str = "timestamp";
        self.take();
        let at = match self.peek().kind {
            TokenKind::Keyword(keyword @ (Keyword::Start | Keyword::End)) => {
                self.take();
                for kind in [TokenKind::LeftParen, TokenKind::RightParen] {
                    if self.take_if(kind).is_none() {
                        return Err(self.unexpected(PLACE, EXPECTED));
                    }
                }
                if keyword == Keyword::Start { At::Start } else { At::End }
            }
            _ => {
                let seconds = self.signed_number(PLACE, EXPECTED)?;
                self.timestamp(seconds, expr.span)
            }
        };
        let span = expr.span;
        let Some(modifiers) = modifiers_mut(expr) else {
            self.error(span, not_a_selector("@"));
            return Ok(());
        };
        if modifiers.at.is_some() {
            self.error(span, "@ <timestamp> may not be set multiple times");
        } else {
            modifiers.at = Some(at);
        }
        expr.span.end = self.last_end;
        Ok(())
    }

    fn timestamp(&mut self, seconds: f64, span: Span) -> At {
        // 2^63; NaN fails the comparison too.
        if seconds.abs() < 9_223_372_036_854_775_808.0 {
            return At::Time((seconds * 1000.0).round() as i64);
        }
        // As Go's `%f` prints it.
        let shown = if seconds.is_finite() {
            format!("{seconds:.6}")
        } else {
            cupola_model::fmt_f64(seconds)
        };
        self.error(span, format!("timestamp out of bounds for @ modifier: {shown}"));
        At::Time(0)
    }

    fn extended(&mut self, expr: &mut Expr, wanted: ExtendedRange) {
        self.take();
        let name = wanted.as_str();
        let span = expr.span;
        if !self.options.extended_range_selectors {
            self.error(span, format!("{name} modifier is experimental and not enabled"));
            return;
        }
        let selector = match &mut expr.kind {
            ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector { selector, .. } => selector,
            ExprKind::Subquery(_) => {
                self.error(span, format!("{name} modifier is not supported for subqueries"));
                return;
            }
            _ => {
                self.error(span, format!("{name} modifier not implemented"));
                return;
            }
        };
        if selector.extended.is_some_and(|set| set != wanted) {
            self.error(span, "anchored and smoothed modifiers cannot be used together");
        }
        selector.extended = Some(wanted);
        expr.span.end = self.last_end;
    }
}

impl ExtendedRange {
    /// The word as written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anchored => "anchored",
            Self::Smoothed => "smoothed",
        }
    }
}

fn modifiers_mut(expr: &mut Expr) -> Option<&mut Modifiers> {
    match &mut expr.kind {
        ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector { selector, .. } => Some(&mut selector.modifiers),
        ExprKind::Subquery(subquery) => Some(&mut subquery.modifiers),
        _ => None,
    }
}

fn not_a_selector(modifier: &str) -> String {
    let allowed = "an instant vector selector or range vector selector or a subquery";
    format!("{modifier} modifier must be preceded by {allowed}")
}
