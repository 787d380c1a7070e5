//! The words of the language, and how error texts name them.

use cupola_model::go_quote;

use crate::{AggregateOp, BinaryOp, Span};

/// One word and its place. Its text is the query's bytes in `span`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Eof,
    /// The lexer failed here; its error is already recorded.
    Error,
    Identifier,
    /// An identifier with a colon: only a metric's name.
    MetricIdentifier,
    Number,
    Duration,
    String,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    LeftParen,
    RightParen,
    Comma,
    Colon,
    Eql,
    EqlRegex,
    NeqRegex,
    At,
    Op(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    Anchored,
    Bool,
    By,
    Fill,
    FillLeft,
    FillRight,
    GroupLeft,
    GroupRight,
    Ignoring,
    Offset,
    On,
    Smoothed,
    Without,
    // Upstream calls these preprocessors: they are also functions, and errors show them as plain text.
    End,
    MaxOf,
    MinOf,
    Range,
    Start,
    Step,
}

impl Keyword {
    /// `start`, `end`, `step`, `range`, `min_of`, `max_of`.
    pub(crate) fn names_a_function(self) -> bool {
        matches!(
            self,
            Self::End | Self::MaxOf | Self::MinOf | Self::Range | Self::Start | Self::Step
        )
    }
}

/// The keyword that `word` is in any case, or `None` where it is an identifier.
pub(crate) fn keyword(word: &str) -> Option<TokenKind> {
    // No keyword is longer; saves the copy for long metric names.
    if word.len() > 12 {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let kind = match lower.as_str() {
        "and" => TokenKind::Op(BinaryOp::And),
        "or" => TokenKind::Op(BinaryOp::Or),
        "unless" => TokenKind::Op(BinaryOp::Unless),
        "atan2" => TokenKind::Op(BinaryOp::Atan2),
        "anchored" => TokenKind::Keyword(Keyword::Anchored),
        "bool" => TokenKind::Keyword(Keyword::Bool),
        "by" => TokenKind::Keyword(Keyword::By),
        "fill" => TokenKind::Keyword(Keyword::Fill),
        "fill_left" => TokenKind::Keyword(Keyword::FillLeft),
        "fill_right" => TokenKind::Keyword(Keyword::FillRight),
        "group_left" => TokenKind::Keyword(Keyword::GroupLeft),
        "group_right" => TokenKind::Keyword(Keyword::GroupRight),
        "ignoring" => TokenKind::Keyword(Keyword::Ignoring),
        "offset" => TokenKind::Keyword(Keyword::Offset),
        "on" => TokenKind::Keyword(Keyword::On),
        "smoothed" => TokenKind::Keyword(Keyword::Smoothed),
        "without" => TokenKind::Keyword(Keyword::Without),
        "end" => TokenKind::Keyword(Keyword::End),
        "start" => TokenKind::Keyword(Keyword::Start),
        "inf" | "nan" => TokenKind::Number,
        _ => {
            return duration_keyword(&lower).or_else(|| {
                AggregateOp::ALL
                    .into_iter()
                    .find(|op| op.as_str() == lower)
                    .map(TokenKind::Aggregate)
            });
        }
    };
    Some(kind)
}

/// The keywords of duration expressions, in lower case.
pub(crate) fn duration_keyword(lower: &str) -> Option<TokenKind> {
    let keyword = match lower {
        "step" => Keyword::Step,
        "range" => Keyword::Range,
        "min_of" => Keyword::MinOf,
        "max_of" => Keyword::MaxOf,
        _ => return None,
    };
    Some(TokenKind::Keyword(keyword))
}

/// How an error text names a word: `identifier "foo"`, `<by>`, `<op:*>`, `"("`, `end of input`.
pub(crate) fn describe(kind: TokenKind, text: &str) -> String {
    match kind {
        TokenKind::Eof => "end of input".to_owned(),
        TokenKind::Error => "error".to_owned(),
        TokenKind::Identifier => format!("identifier {}", go_quote(text)),
        TokenKind::MetricIdentifier => format!("metric identifier {}", go_quote(text)),
        TokenKind::Number => format!("number {}", shortened(text)),
        TokenKind::Duration => format!("duration {}", shortened(text)),
        TokenKind::String => format!("string {}", shortened(text)),
        TokenKind::Op(_) | TokenKind::EqlRegex | TokenKind::NeqRegex | TokenKind::At => format!("<op:{text}>"),
        TokenKind::Aggregate(_) => format!("<aggr:{text}>"),
        TokenKind::Keyword(keyword) if !keyword.names_a_function() => format!("<{text}>"),
        _ => shortened(text),
    }
}

// Upstream quotes the first ten characters of anything longer than ten bytes.
fn shortened(text: &str) -> String {
    if text.len() <= 10 {
        return go_quote(text);
    }
    let head: String = text.chars().take(10).collect();
    format!("{}...", go_quote(&head))
}

/// A character as Go's `%q` prints a rune; the end of input prints as the replacement character.
pub(crate) fn quote_char(c: Option<char>) -> String {
    match c {
        Some('\'') => r"'\''".to_owned(),
        Some('"') => "'\"'".to_owned(),
        _ => {
            let quoted = go_quote(&c.unwrap_or(char::REPLACEMENT_CHARACTER).to_string());
            let inner = quoted
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .unwrap_or(&quoted);
            format!("'{inner}'")
        }
    }
}
