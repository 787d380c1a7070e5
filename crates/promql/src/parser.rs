//! The grammar of expressions: a Pratt parser over words that are lexed on demand.
//!
//! It stops at the first mistake of syntax, as upstream does, and goes on after mistakes of meaning, so that all of
//! those are told at once. Selectors and what may follow them are in `selector`, durations in `durations`.

use cupola_model::parse_duration;

use crate::error::ParseError;
use crate::lexer::Lexer;
use crate::literals::{number, unquote};
use crate::token::{Keyword, Token, TokenKind, describe};
use crate::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Expr, ExprKind, MAX_HEIGHT, MAX_NESTING, MatchCard, NumberLiteral,
    ParseOptions, Span, VectorMatching, function,
};

// Functions take a handful of arguments; the bound keeps a hostile query's tree small.
const MAX_ARGUMENTS: usize = 1_000;

/// Parsing cannot go on; the error is recorded.
#[derive(Debug)]
pub(crate) struct Halt;

pub(crate) type Parsed<T> = Result<T, Halt>;

/// A part of the tree and how many nodes lie between it and its deepest leaf. Boxed, and built in functions of their
/// own, so that the frames of the recursive functions stay small.
pub(crate) struct Node {
    pub(crate) expr: Box<Expr>,
    pub(crate) height: usize,
}

impl Node {
    pub(crate) fn new(kind: ExprKind, span: Span, height: usize) -> Self {
        Self {
            expr: Box::new(Expr { kind, span }),
            height,
        }
    }

    pub(crate) fn leaf(kind: ExprKind, span: Span) -> Self {
        Self::new(kind, span, 1)
    }

    // Stands in where a mistake is recorded; the tree is thrown away.
    fn placeholder(span: Span) -> Self {
        Self::leaf(
            ExprKind::Number(NumberLiteral {
                value: 0.0,
                is_duration: false,
            }),
            span,
        )
    }
}

// What may stand between an operator and its right side.
struct BinaryModifiers {
    return_bool: bool,
    matching: VectorMatching,
}

pub(crate) struct Parser<'a> {
    src: &'a str,
    lexer: Lexer<'a>,
    pub(crate) options: ParseOptions,
    peeked: Option<Token>,
    pub(crate) errors: Vec<ParseError>,
    // Aggregations around the place being read: upstream names them in errors.
    aggregations: usize,
    nesting: usize,
    pub(crate) regexes: usize,
    // End of the last word taken.
    pub(crate) last_end: usize,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(src: &'a str, options: ParseOptions) -> Self {
        Self {
            src,
            lexer: Lexer::new(src),
            options,
            peeked: None,
            errors: Vec::new(),
            aggregations: 0,
            nesting: 0,
            regexes: 0,
            last_end: 0,
        }
    }

    /// The whole query as one expression.
    pub(crate) fn query(&mut self) -> Parsed<Expr> {
        if self.peek().kind == TokenKind::Eof {
            self.error(Span::default(), "no expression found in input");
            return Err(Halt);
        }
        let node = self.expression(0)?;
        self.end_of_input()?;
        Ok(*node.expr)
    }

    pub(crate) fn end_of_input(&mut self) -> Parsed<()> {
        if self.peek().kind == TokenKind::Eof {
            Ok(())
        } else {
            Err(self.unexpected("", ""))
        }
    }

    // Words.

    /// The next word, which stays where it is. Read no earlier than needed: errors are told in upstream's order.
    pub(crate) fn peek(&mut self) -> Token {
        if let Some(token) = self.peeked {
            return token;
        }
        let token = self.lexer.next().unwrap_or_else(|error| {
            let span = error.span;
            self.errors.push(error);
            Token {
                kind: TokenKind::Error,
                span,
            }
        });
        self.peeked = Some(token);
        token
    }

    pub(crate) fn take(&mut self) -> Token {
        let token = self.peek();
        // An error stays in front, so that nothing is read beyond it.
        if token.kind != TokenKind::Error {
            self.peeked = None;
            self.last_end = token.span.end;
        }
        token
    }

    pub(crate) fn take_if(&mut self, kind: TokenKind) -> Option<Token> {
        (self.peek().kind == kind).then(|| self.take())
    }

    pub(crate) fn text(&self, token: Token) -> &'a str {
        self.src.get(token.span.start..token.span.end).unwrap_or_default()
    }

    // Errors.

    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError::new(span, message));
    }

    /// Records that the next word cannot stand here. Where no place is named, the innermost aggregation is.
    pub(crate) fn unexpected(&mut self, place: &str, expected: &str) -> Halt {
        let token = self.peek();
        if token.kind != TokenKind::Error {
            let mut message = format!("unexpected {}", describe(token.kind, self.text(token)));
            let place = if place.is_empty() && self.aggregations > 0 {
                "aggregation"
            } else {
                place
            };
            if !place.is_empty() {
                message.push_str(" in ");
                message.push_str(place);
            }
            if !expected.is_empty() {
                message.push_str(", expected ");
                message.push_str(expected);
            }
            self.error(token.span, message);
        }
        Halt
    }

    /// Goes one level down in the grammar; the bound keeps the stack small whatever the query.
    pub(crate) fn enter(&mut self) -> Parsed<()> {
        self.nesting += 1;
        if self.nesting <= MAX_NESTING {
            return Ok(());
        }
        let span = self.peek().span;
        self.error(
            span,
            format!("expression is nested too deeply: more than {MAX_NESTING} levels"),
        );
        Err(Halt)
    }

    pub(crate) fn leave(&mut self) {
        self.nesting -= 1;
    }

    /// Bounds the tree, which long chains of operators make high without nesting.
    pub(crate) fn check_height(&mut self, height: usize, span: Span) -> Parsed<()> {
        if height <= MAX_HEIGHT {
            return Ok(());
        }
        self.error(
            span,
            format!("expression is too long: more than {MAX_HEIGHT} operations in one chain"),
        );
        Err(Halt)
    }

    // Expressions.

    fn expression(&mut self, min: u8) -> Parsed<Node> {
        self.enter()?;
        let mut left = match self.peek().kind {
            TokenKind::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) => self.unary(op)?,
            _ => {
                let primary = self.primary()?;
                self.postfix(primary)?
            }
        };
        while let TokenKind::Op(op) = self.peek().kind
            && precedence(op) >= min
        {
            left = self.binary(left, op)?;
        }
        self.leave();
        Ok(left)
    }

    fn unary(&mut self, op: BinaryOp) -> Parsed<Node> {
        let sign = self.take();
        // A sign binds like `*`, so only `^` goes before it.
        let operand = self.expression(precedence(BinaryOp::Pow))?;
        self.signed(op, sign.span, operand)
    }

    fn signed(&mut self, op: BinaryOp, sign: Span, operand: Node) -> Parsed<Node> {
        let span = Span {
            start: sign.start,
            end: operand.expr.span.end,
        };
        // Upstream folds the sign of a literal.
        if let ExprKind::Number(literal) = operand.expr.kind {
            let value = if op == BinaryOp::Sub {
                -literal.value
            } else {
                literal.value
            };
            return Ok(Node::leaf(ExprKind::Number(NumberLiteral { value, ..literal }), span));
        }
        let height = operand.height + 1;
        self.check_height(height, sign)?;
        Ok(Node::new(ExprKind::Unary { op, expr: operand.expr }, span, height))
    }

    fn binary(&mut self, left: Node, op: BinaryOp) -> Parsed<Node> {
        let op_span = self.take().span;
        let modifiers = self.binary_modifiers()?;
        let next = if op == BinaryOp::Pow {
            precedence(op)
        } else {
            precedence(op) + 1
        };
        let right = self.expression(next)?;
        self.operation(op, op_span, *modifiers, left, right)
    }

    fn operation(
        &mut self,
        op: BinaryOp,
        op_span: Span,
        modifiers: BinaryModifiers,
        left: Node,
        right: Node,
    ) -> Parsed<Node> {
        let span = Span {
            start: left.expr.span.start,
            end: right.expr.span.end,
        };
        let BinaryModifiers { return_bool, matching } = modifiers;
        let has_fill = matching.fill_left.is_some() || matching.fill_right.is_some();
        if has_fill && !self.options.binop_fill_modifiers {
            self.error(span, "binop fill modifiers are experimental and not enabled");
        }
        let height = 1 + left.height.max(right.height);
        self.check_height(height, op_span)?;
        let matching = Some(matching);
        let binary = Binary {
            op,
            op_span,
            return_bool,
            matching,
            lhs: *left.expr,
            rhs: *right.expr,
        };
        Ok(Node::new(ExprKind::Binary(Box::new(binary)), span, height))
    }

    fn binary_modifiers(&mut self) -> Parsed<Box<BinaryModifiers>> {
        let mut matching = VectorMatching {
            card: MatchCard::OneToOne,
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let return_bool = self.take_keyword(Keyword::Bool);
        let keyword = self.peek().kind;
        if let TokenKind::Keyword(Keyword::On | Keyword::Ignoring) = keyword {
            self.take();
            matching.on = keyword == TokenKind::Keyword(Keyword::On);
            matching.labels = self.grouping_labels()?;
            let card = match self.peek().kind {
                TokenKind::Keyword(Keyword::GroupLeft) => Some(MatchCard::ManyToOne),
                TokenKind::Keyword(Keyword::GroupRight) => Some(MatchCard::OneToMany),
                _ => None,
            };
            if let Some(card) = card {
                self.take();
                matching.card = card;
                if self.peek().kind == TokenKind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        match self.peek().kind {
            TokenKind::Keyword(Keyword::Fill) => {
                let value = self.fill_value()?;
                matching.fill_left = Some(value);
                matching.fill_right = Some(value);
            }
            TokenKind::Keyword(Keyword::FillLeft) => {
                matching.fill_left = Some(self.fill_value()?);
                if self.peek().kind == TokenKind::Keyword(Keyword::FillRight) {
                    matching.fill_right = Some(self.fill_value()?);
                }
            }
            TokenKind::Keyword(Keyword::FillRight) => {
                matching.fill_right = Some(self.fill_value()?);
                if self.peek().kind == TokenKind::Keyword(Keyword::FillLeft) {
                    matching.fill_left = Some(self.fill_value()?);
                }
            }
            _ => {}
        }
        Ok(Box::new(BinaryModifiers { return_bool, matching }))
    }

    fn take_keyword(&mut self, keyword: Keyword) -> bool {
        self.take_if(TokenKind::Keyword(keyword)).is_some()
    }

    // `fill(0)`; the keyword is next.
    fn fill_value(&mut self) -> Parsed<f64> {
        self.take();
        self.take_if(TokenKind::LeftParen)
            .ok_or_else(|| self.unexpected("", ""))?;
        let value = self.signed_number("", "")?;
        self.take_if(TokenKind::RightParen)
            .ok_or_else(|| self.unexpected("", ""))?;
        Ok(value)
    }

    fn primary(&mut self) -> Parsed<Node> {
        match self.peek().kind {
            TokenKind::Number | TokenKind::Duration | TokenKind::String => Ok(self.literal()),
            TokenKind::LeftParen => self.paren(),
            TokenKind::LeftBrace => self.vector_selector(None),
            TokenKind::Aggregate(op) => self.aggregate_or_metric(op),
            TokenKind::Identifier => self.call_or_metric(),
            TokenKind::Keyword(keyword) if keyword.names_a_function() => self.call_or_metric(),
            kind if names_a_metric(kind) => {
                let name = self.take();
                self.vector_selector(Some(name))
            }
            _ => Err(self.unexpected("", "")),
        }
    }

    fn literal(&mut self) -> Node {
        let token = self.take();
        let kind = match token.kind {
            TokenKind::String => ExprKind::String(unquote(self.text(token))),
            TokenKind::Duration => {
                let value = self.duration_ms(token) as f64 / 1000.0;
                ExprKind::Number(NumberLiteral {
                    value,
                    is_duration: true,
                })
            }
            _ => ExprKind::Number(NumberLiteral {
                value: self.number_value(token),
                is_duration: false,
            }),
        };
        Node::leaf(kind, token.span)
    }

    fn paren(&mut self) -> Parsed<Node> {
        let open = self.take();
        let inner = self.expression(0)?;
        let close = self
            .take_if(TokenKind::RightParen)
            .ok_or_else(|| self.unexpected("", ""))?;
        let height = inner.height + 1;
        self.check_height(height, open.span)?;
        let span = Span {
            start: open.span.start,
            end: close.span.end,
        };
        Ok(Node::new(ExprKind::Paren(inner.expr), span, height))
    }

    fn call_or_metric(&mut self) -> Parsed<Node> {
        let name = self.take();
        if self.peek().kind != TokenKind::LeftParen {
            return self.vector_selector(Some(name));
        }
        let args = self.arguments()?;
        self.call(name, args)
    }

    fn call(&mut self, name: Token, (args, height): (Vec<Expr>, usize)) -> Parsed<Node> {
        let span = Span {
            start: name.span.start,
            end: self.last_end,
        };
        let text = self.text(name);
        let Some(function) = function(text) else {
            self.error(
                name.span,
                format!("unknown function with name {}", cupola_model::go_quote(text)),
            );
            return Ok(Node::placeholder(span));
        };
        if function.experimental && !self.options.experimental_functions {
            self.error(
                name.span,
                format!("function {} is not enabled", cupola_model::go_quote(text)),
            );
        }
        self.check_height(height + 1, name.span)?;
        Ok(Node::new(ExprKind::Call(Call { function, args }), span, height + 1))
    }

    // `(a, b)`; gives the arguments and the height of the highest. The opening parenthesis is next.
    fn arguments(&mut self) -> Parsed<(Vec<Expr>, usize)> {
        self.take_if(TokenKind::LeftParen)
            .ok_or_else(|| self.unexpected("", ""))?;
        let mut args = Vec::new();
        let mut height = 0;
        if self.take_if(TokenKind::RightParen).is_some() {
            return Ok((args, height));
        }
        loop {
            let node = self.expression(0)?;
            height = height.max(node.height);
            if args.len() >= MAX_ARGUMENTS {
                self.error(
                    node.expr.span,
                    format!("more than {MAX_ARGUMENTS} arguments in one call"),
                );
                return Err(Halt);
            }
            args.push(*node.expr);
            let mut comma = self.take_if(TokenKind::Comma);
            while let Some(extra) = comma
                && !starts_expression(self.peek().kind)
            {
                self.error(extra.span, "trailing commas not allowed in function call args");
                comma = self.take_if(TokenKind::Comma);
            }
            if comma.is_none() {
                self.take_if(TokenKind::RightParen)
                    .ok_or_else(|| self.unexpected("", ""))?;
                return Ok((args, height));
            }
        }
    }

    fn aggregate_or_metric(&mut self, op: AggregateOp) -> Parsed<Node> {
        let name = self.take();
        match self.peek().kind {
            TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without) => {}
            kind if may_follow_a_metric(kind) => return self.vector_selector(Some(name)),
            _ => return Err(self.unexpected("aggregation", "")),
        }
        self.aggregations += 1;
        let mut modifier = self.aggregate_modifier()?;
        let args = self.arguments()?;
        let mut end = self.last_end;
        if modifier.is_none() {
            modifier = self.aggregate_modifier()?;
            if modifier.is_some() {
                end = self.last_end;
            }
        }
        self.aggregations -= 1;
        self.aggregate(
            op,
            Span {
                start: name.span.start,
                end,
            },
            modifier,
            args,
        )
    }

    fn aggregate(
        &mut self,
        op: AggregateOp,
        span: Span,
        modifier: Option<(bool, Vec<String>)>,
        (mut args, height): (Vec<Expr>, usize),
    ) -> Parsed<Node> {
        let (without, grouping) = modifier.unwrap_or_default();
        let wanted = if op.has_param() { 2 } else { 1 };
        let got = args.len();
        let (expr, param) = (args.pop(), args.pop());
        let Some(expr) = expr else {
            self.error(span, "no arguments for aggregate expression provided");
            return Ok(Node::placeholder(span));
        };
        if op.is_experimental() && !self.options.experimental_functions {
            let flag = "--enable-feature=promql-experimental-functions";
            self.error(
                span,
                format!("{}() is experimental and must be enabled with {flag}", op.as_str()),
            );
            return Ok(Node::placeholder(span));
        }
        if got != wanted {
            let what = "wrong number of arguments for aggregate expression provided";
            self.error(span, format!("{what}, expected {wanted}, got {got}"));
            return Ok(Node::placeholder(span));
        }
        self.check_height(height + 1, span)?;
        let aggregate = Aggregate {
            op,
            param,
            expr,
            grouping,
            without,
        };
        Ok(Node::new(ExprKind::Aggregate(Box::new(aggregate)), span, height + 1))
    }

    fn aggregate_modifier(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        let without = match self.peek().kind {
            TokenKind::Keyword(Keyword::By) => false,
            TokenKind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.take();
        Ok(Some((without, self.grouping_labels()?)))
    }

    // `(a, "b.c",)`.
    fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        const PLACE: &str = "grouping opts";
        if self.take_if(TokenKind::LeftParen).is_none() {
            return Err(self.unexpected(PLACE, r#""(""#));
        }
        let mut labels = Vec::new();
        loop {
            // Ends an empty list and a list with a trailing comma; a lone comma is no list.
            if self.take_if(TokenKind::RightParen).is_some() {
                return Ok(labels);
            }
            let token = self.peek();
            let label = match token.kind {
                TokenKind::String => unquote(self.text(token)),
                kind if names_a_label(kind) => self.text(token).to_owned(),
                _ => return Err(self.unexpected(PLACE, "label")),
            };
            self.take();
            if !cupola_model::is_valid_label_name(&label) {
                let quoted = cupola_model::go_quote(&label);
                self.error(token.span, format!("invalid label name for grouping: {quoted}"));
            }
            labels.push(label);
            if self.take_if(TokenKind::Comma).is_none() && self.peek().kind != TokenKind::RightParen {
                return Err(self.unexpected(PLACE, r#""," or ")""#));
            }
        }
    }

    // Literals.

    /// `5`, `-5`, `+5m` as a number.
    pub(crate) fn signed_number(&mut self, place: &str, expected: &str) -> Parsed<f64> {
        let sign = match self.peek().kind {
            TokenKind::Op(BinaryOp::Add) => Some(1.0),
            TokenKind::Op(BinaryOp::Sub) => Some(-1.0),
            _ => None,
        };
        if sign.is_some() {
            self.take();
        }
        let token = self.peek();
        let value = match token.kind {
            TokenKind::Number => self.number_value(token),
            TokenKind::Duration => self.duration_ms(token) as f64 / 1000.0,
            _ => return Err(self.unexpected(place, expected)),
        };
        self.take();
        Ok(sign.unwrap_or(1.0) * value)
    }

    pub(crate) fn number_value(&mut self, token: Token) -> f64 {
        number(self.text(token)).unwrap_or_else(|reason| {
            self.error(token.span, format!("error parsing number: {reason}"));
            0.0
        })
    }

    pub(crate) fn duration_ms(&mut self, token: Token) -> i64 {
        parse_duration(self.text(token)).unwrap_or_else(|error| {
            self.error(token.span, error.to_string());
            0
        })
    }
}

/// How tightly an operator binds; more is tighter. A sign binds as tightly as `*`.
pub(crate) fn precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
        BinaryOp::Pow => 6,
    }
}

pub(crate) fn number_is_zero(value: f64) -> bool {
    value.abs() <= 0.0
}

/// Whether the word may be a metric's name: all keywords but those of matching, `bool` and `atan2`.
pub(crate) fn names_a_metric(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Identifier | TokenKind::MetricIdentifier | TokenKind::Aggregate(_) => true,
        TokenKind::Op(op) => op.is_set(),
        TokenKind::Keyword(keyword) => !matches!(
            keyword,
            Keyword::On | Keyword::Ignoring | Keyword::GroupLeft | Keyword::GroupRight | Keyword::Bool
        ),
        _ => false,
    }
}

// In by, without, on, ignoring and group lists. Upstream leaves out `without`.
fn names_a_label(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Identifier | TokenKind::MetricIdentifier | TokenKind::Aggregate(_) => true,
        TokenKind::Op(op) => op.is_set() || op == BinaryOp::Atan2,
        TokenKind::Keyword(keyword) => keyword != Keyword::Without,
        _ => false,
    }
}

fn starts_expression(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Number
            | TokenKind::Duration
            | TokenKind::String
            | TokenKind::LeftParen
            | TokenKind::LeftBrace
            | TokenKind::Op(BinaryOp::Add | BinaryOp::Sub)
            // Its error is already told; reading on only ends the list.
            | TokenKind::Error
    ) || names_a_metric(kind)
}

// Tells `sum` the metric from `sum` the aggregation.
fn may_follow_a_metric(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Eof
            | TokenKind::Op(_)
            | TokenKind::LeftBrace
            | TokenKind::LeftBracket
            | TokenKind::RightParen
            | TokenKind::Comma
            | TokenKind::At
            | TokenKind::Keyword(Keyword::Offset | Keyword::Anchored | Keyword::Smoothed)
    )
}
