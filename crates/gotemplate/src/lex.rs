//! Template text to tokens.
//!
//! The whole text is read at once; the first mistake becomes a last token of kind [`Kind::Error`], so that the parser
//! meets it exactly where Go's lexer, which runs beside its parser, would have told of it.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Error,
    Eof,
    Text,
    LeftDelim,
    RightDelim,
    Space,
    Bool,
    Char,
    CharConstant,
    Number,
    Assign,
    Declare,
    Field,
    Identifier,
    LeftParen,
    RightParen,
    Pipe,
    RawString,
    Str,
    Variable,
    // Keywords from here on.
    Dot,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Kind {
    fn is_keyword(self) -> bool {
        self as u8 >= Self::Dot as u8
    }
}

/// One token: what it is, where it stands, how it is written (for [`Kind::Error`]: the message).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: Kind,
    /// Byte offset of the token's start.
    pub pos: usize,
    /// Line of the token's start, from 1.
    pub line: usize,
    pub text: String,
}

impl std::fmt::Display for Token {
    /// As Go shows a token inside an error.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::Eof => f.write_str("EOF"),
            Kind::Error => f.write_str(&self.text),
            kind if kind.is_keyword() => write!(f, "<{}>", self.text),
            _ if self.text.len() > 10 => {
                let short: String = self.text.chars().take(10).collect();
                write!(f, "{}...", cupola_model::go_quote(&short))
            }
            _ => f.write_str(&cupola_model::go_quote(&self.text)),
        }
    }
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Reads all of `text`. The last token is [`Kind::Eof`] or [`Kind::Error`].
pub(crate) fn lex(text: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        text,
        start: 0,
        pos: 0,
        line: 1,
        counted: 0,
        parens: 0,
        tokens: Vec::new(),
    };
    if let Err(message) = lexer.run() {
        let line = lexer.line_of(lexer.start);
        lexer.tokens.push(Token {
            kind: Kind::Error,
            pos: lexer.start,
            line,
            text: message,
        });
    }
    lexer.tokens
}

struct Lexer<'a> {
    text: &'a str,
    start: usize,
    pos: usize,
    // Lines are counted forwards only: `line` is the line of the byte at `counted`.
    line: usize,
    counted: usize,
    parens: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.pos..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn line_of(&mut self, pos: usize) -> usize {
        if let Some(between) = self.text.get(self.counted..pos) {
            self.line += between.bytes().filter(|b| *b == b'\n').count();
            self.counted = pos;
        }
        self.line
    }

    fn emit(&mut self, kind: Kind) {
        let line = self.line_of(self.start);
        let text = self.text.get(self.start..self.pos).unwrap_or("").to_owned();
        self.tokens.push(Token {
            kind,
            pos: self.start,
            line,
            text,
        });
        self.start = self.pos;
    }

    fn run(&mut self) -> Result<(), String> {
        loop {
            let Some(at) = self.rest().find(LEFT) else {
                self.pos = self.text.len();
                if self.pos > self.start {
                    self.emit(Kind::Text);
                }
                self.emit(Kind::Eof);
                return Ok(());
            };
            let delim = self.pos + at;
            let after = self.text.get(delim + LEFT.len()..).unwrap_or("");
            let is_trimmed = after.starts_with('-') && after[1..].starts_with(SPACES);
            let before = self.text.get(self.start..delim).unwrap_or("");
            let kept = if is_trimmed {
                before.trim_end_matches(SPACES)
            } else {
                before
            };
            self.pos = self.start + kept.len();
            if !kept.is_empty() {
                self.emit(Kind::Text);
            }
            self.start = delim;
            self.pos = delim + LEFT.len();
            let marker = if is_trimmed { 2 } else { 0 };
            if after.get(marker..).is_some_and(|a| a.starts_with("/*")) {
                self.pos += marker;
                self.comment()?;
            } else {
                self.emit(Kind::LeftDelim);
                self.pos += marker;
                self.start = self.pos;
                self.parens = 0;
                self.inside()?;
            }
        }
    }

    fn comment(&mut self) -> Result<(), String> {
        let inner = self.rest().get(2..).unwrap_or("");
        let end = inner.find("*/").ok_or("unclosed comment")?;
        self.pos += 2 + end + 2;
        if !self.right_delim(false) {
            return Err("comment ends before closing delimiter".to_owned());
        }
        Ok(())
    }

    // Takes `}}` or ` -}}` where one stands here; `is_token` says whether it becomes a token.
    fn right_delim(&mut self, is_token: bool) -> bool {
        let Some(is_trimmed) = at_right_delim(self.rest()) else {
            return false;
        };
        if is_trimmed {
            self.pos += 2;
            self.start = self.pos;
        }
        self.pos += RIGHT.len();
        if is_token {
            self.emit(Kind::RightDelim);
        }
        if is_trimmed {
            let rest = self.rest();
            self.pos += rest.len() - rest.trim_start_matches(SPACES).len();
        }
        self.start = self.pos;
        true
    }

    // Everything up to and with the closing delimiter.
    fn inside(&mut self) -> Result<(), String> {
        loop {
            if at_right_delim(self.rest()).is_some() {
                if self.parens > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                self.right_delim(true);
                return Ok(());
            }
            let Some(c) = self.next() else {
                return Err("unclosed action".to_owned());
            };
            match c {
                ' ' | '\t' | '\r' | '\n' => {
                    while self.peek().is_some_and(|c| SPACES.contains(&c)) {
                        // The last space may belong to a closing ` -}}`.
                        if at_right_delim(self.rest()) == Some(true) {
                            break;
                        }
                        self.next();
                    }
                    self.emit(Kind::Space);
                }
                '=' => self.emit(Kind::Assign),
                ':' if self.next() == Some('=') => self.emit(Kind::Declare),
                ':' => return Err("expected :=".to_owned()),
                '|' => self.emit(Kind::Pipe),
                '"' => self.quoted('"', "unterminated quoted string", Kind::Str)?,
                '\'' => self.quoted('\'', "unterminated character constant", Kind::CharConstant)?,
                '`' => {
                    let end = self.rest().find('`').ok_or("unterminated raw quoted string")?;
                    self.pos += end + 1;
                    self.emit(Kind::RawString);
                }
                '$' => self.name(Kind::Variable)?,
                '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) && self.peek().is_some() => {
                    self.name(Kind::Field)?;
                }
                '+' | '-' | '.' | '0'..='9' => self.number()?,
                '(' => {
                    self.emit(Kind::LeftParen);
                    self.parens += 1;
                }
                ')' => {
                    self.emit(Kind::RightParen);
                    // The parser meets the token before this error, as in Go.
                    self.parens = self.parens.checked_sub(1).ok_or("unexpected right paren")?;
                }
                c if is_alphanumeric(c) => self.identifier()?,
                '!'..='~' => self.emit(Kind::Char),
                c => return Err(format!("unrecognized character in action: {}", unicode_name(c))),
            }
        }
    }

    fn quoted(&mut self, quote: char, unterminated: &str, kind: Kind) -> Result<(), String> {
        loop {
            match self.next() {
                Some('\\') => match self.next() {
                    None | Some('\n') => return Err(unterminated.to_owned()),
                    Some(_) => {}
                },
                None | Some('\n') => return Err(unterminated.to_owned()),
                Some(c) if c == quote => {
                    self.emit(kind);
                    return Ok(());
                }
                Some(_) => {}
            }
        }
    }

    fn take_word(&mut self) {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
    }

    fn expect_terminator(&self) -> Result<(), String> {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => Ok(()),
            Some(_) if self.rest().starts_with(RIGHT) => Ok(()),
            Some(c) => Err(format!("bad character {}", unicode_name(c))),
        }
    }

    // `.Field`, `$name`, or only `.` and `$`.
    fn name(&mut self, kind: Kind) -> Result<(), String> {
        if self.expect_terminator().is_ok() {
            self.emit(if kind == Kind::Variable { kind } else { Kind::Dot });
            return Ok(());
        }
        self.take_word();
        self.expect_terminator()?;
        self.emit(kind);
        Ok(())
    }

    fn identifier(&mut self) -> Result<(), String> {
        self.take_word();
        self.expect_terminator()?;
        let word = self.text.get(self.start..self.pos).unwrap_or("");
        let kind = match word {
            "true" | "false" => Kind::Bool,
            "block" => Kind::Block,
            "break" => Kind::Break,
            "continue" => Kind::Continue,
            "define" => Kind::Define,
            "else" => Kind::Else,
            "end" => Kind::End,
            "if" => Kind::If,
            "nil" => Kind::Nil,
            "range" => Kind::Range,
            "template" => Kind::Template,
            "with" => Kind::With,
            _ => Kind::Identifier,
        };
        self.emit(kind);
        Ok(())
    }

    // Takes what looks like a number; `literal` later decides what it is.
    fn number(&mut self) -> Result<(), String> {
        self.pos = self.start;
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let is_decimal = digits.len() == 11;
        if (is_decimal && self.accept("eE")) || (digits.len() == 23 && self.accept("pP")) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        // A sign here would make it a complex number, which alerts have no use for.
        let is_complex = self.accept("+-");
        if is_complex {
            self.accept_run("0123456789_.i");
        }
        if is_complex || self.peek().is_some_and(is_alphanumeric) {
            if !is_complex {
                self.next();
            }
            let text = self.text.get(self.start..self.pos).unwrap_or("");
            return Err(format!("bad number syntax: {}", cupola_model::go_quote(text)));
        }
        self.emit(Kind::Number);
        Ok(())
    }

    fn accept(&mut self, set: &str) -> bool {
        let is_in = self.peek().is_some_and(|c| set.contains(c));
        if is_in {
            self.next();
        }
        is_in
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept(set) {}
    }
}

// `Some(whether it is trimmed)` where a closing delimiter stands at the start of `text`.
fn at_right_delim(text: &str) -> Option<bool> {
    if text.starts_with(RIGHT) {
        return Some(false);
    }
    let rest = text.strip_prefix(SPACES)?;
    rest.strip_prefix('-')?.starts_with(RIGHT).then_some(true)
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

// As Go's `%#U`: `U+003D '='`.
fn unicode_name(c: char) -> String {
    format!("U+{:04X} '{c}'", c as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let tokens: Vec<String> = lex(text).iter().map(|t| format!("{:?}:{}", t.kind, t.text)).collect();
        assert_eq!(tokens.join(" "), expected, "{text}");
    }

    #[test]
    fn texts_and_actions_alternate() {
        check("a{{.B}}c", "Text:a LeftDelim:{{ Field:.B RightDelim:}} Text:c Eof:");
        check("{{ 1 }}", "LeftDelim:{{ Space:  Number:1 Space:  RightDelim:}} Eof:");
    }

    #[test]
    fn trim_markers_need_a_space() {
        check(
            "a {{- 1 -}} b",
            "Text:a LeftDelim:{{ Number:1 RightDelim:}} Text:b Eof:",
        );
        check("{{-1}}", "LeftDelim:{{ Number:-1 RightDelim:}} Eof:");
        check(
            "{{ 1   -}}",
            "LeftDelim:{{ Space:  Number:1 Space:   RightDelim:}} Eof:",
        );
        check("x {{- /* c */ -}} y", "Text:x Text:y Eof:");
    }

    #[test]
    fn the_first_mistake_ends_the_tokens() {
        check("{{ \"a", "LeftDelim:{{ Space:  Error:unterminated quoted string");
        check("{{ $x=", "LeftDelim:{{ Space:  Error:bad character U+003D '='");
        check(
            "{{ (1 }}",
            "LeftDelim:{{ Space:  LeftParen:( Number:1 Space:  Error:unclosed left paren",
        );
        check("{{/* a", "Error:unclosed comment");
    }

    #[test]
    fn lines_are_those_of_the_token() {
        let tokens = lex("a\n{{ if\n .X }}");
        let lines: Vec<usize> = tokens.iter().map(|t| t.line).collect();
        assert_eq!(lines, [1, 2, 2, 2, 2, 3, 3, 3, 3]);
    }
}
