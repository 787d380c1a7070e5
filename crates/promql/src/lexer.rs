//! Cuts a query into words, on demand, each with its bytes.
//!
//! The lexer knows three places with rules of their own: between braces (keywords are plain identifiers), at the start
//! of brackets (only durations), and everywhere else. Errors have the texts and places of upstream's lexer.

use crate::error::ParseError;
use crate::token::{Token, TokenKind, duration_keyword, keyword, quote_char};
use crate::{BinaryOp, Span};

pub(crate) struct Lexer<'a> {
    src: &'a str,
    pos: usize,
    // First byte of the word being read; errors point here.
    start: usize,
    paren_depth: usize,
    brace_open: bool,
    bracket_open: bool,
    // From `[` to the first number: words are only those of durations.
    in_duration: bool,
    got_colon: bool,
    // Whether brackets had a number or a duration function so far; like upstream's never reset.
    got_duration: bool,
}

type Lexed = Result<Token, ParseError>;

impl<'a> Lexer<'a> {
    pub(crate) fn new(src: &'a str) -> Self {
        Self {
            src,
            pos: 0,
            start: 0,
            paren_depth: 0,
            brace_open: false,
            bracket_open: false,
            in_duration: false,
            got_colon: false,
            got_duration: false,
        }
    }

    /// The next word; `Eof` at the end, again and again.
    pub(crate) fn next(&mut self) -> Lexed {
        self.skip_blanks();
        self.start = self.pos;
        if self.brace_open {
            self.inside_braces()
        } else if self.in_duration {
            self.duration_word()
        } else {
            self.statement_word()
        }
    }

    fn peek(&self) -> Option<char> {
        self.src.get(self.pos..).and_then(|rest| rest.chars().next())
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, set: &str) -> bool {
        let found = self.peek().is_some_and(|c| set.contains(c));
        if found {
            self.bump();
        }
        found
    }

    fn accept_while(&mut self, belongs: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&belongs) {
            self.bump();
        }
    }

    fn text(&self) -> &'a str {
        self.src.get(self.start..self.pos).unwrap_or_default()
    }

    fn emit(&mut self, kind: TokenKind) -> Lexed {
        Ok(Token {
            kind,
            span: Span {
                start: self.start,
                end: self.pos,
            },
        })
    }

    fn error(&self, message: impl Into<String>) -> Lexed {
        Err(ParseError::new(
            Span {
                start: self.start,
                end: self.src.len(),
            },
            message,
        ))
    }

    // For words that upstream hands out before it notices the mistake: its error points behind them.
    fn error_behind(&mut self, message: impl Into<String>) -> Lexed {
        self.start = self.pos;
        self.error(message)
    }

    fn skip_blanks(&mut self) {
        loop {
            self.accept_while(is_space);
            // A `#` right after a bracket is a mistake, not a comment.
            if self.peek() != Some('#') || (self.in_duration && !self.brace_open) {
                return;
            }
            self.accept_while(|c| c != '\n' && c != '\r');
        }
    }

    fn statement_word(&mut self) -> Lexed {
        let Some(c) = self.bump() else {
            if self.paren_depth != 0 {
                return self.error("unclosed left parenthesis");
            }
            if self.bracket_open {
                return self.error("unclosed left bracket");
            }
            return self.emit(TokenKind::Eof);
        };
        match c {
            ',' => self.emit(TokenKind::Comma),
            '*' => self.emit(TokenKind::Op(BinaryOp::Mul)),
            '/' => self.emit(TokenKind::Op(BinaryOp::Div)),
            '%' => self.emit(TokenKind::Op(BinaryOp::Mod)),
            '+' => self.emit(TokenKind::Op(BinaryOp::Add)),
            '-' => self.emit(TokenKind::Op(BinaryOp::Sub)),
            '^' => self.emit(TokenKind::Op(BinaryOp::Pow)),
            '@' => self.emit(TokenKind::At),
            '=' if self.accept("=") => self.emit(TokenKind::Op(BinaryOp::Eq)),
            '=' if self.peek() == Some('~') => self.error("unexpected character after '=': '~'"),
            '=' => self.emit(TokenKind::Eql),
            '!' if self.accept("=") => self.emit(TokenKind::Op(BinaryOp::Ne)),
            '!' => self.error(format!("unexpected character after '!': {}", quote_char(self.peek()))),
            '<' if self.accept("=") => self.emit(TokenKind::Op(BinaryOp::Le)),
            '<' if self.accept("/") => self.emit(TokenKind::Op(BinaryOp::TrimUpper)),
            '<' => self.emit(TokenKind::Op(BinaryOp::Lt)),
            '>' if self.accept("=") => self.emit(TokenKind::Op(BinaryOp::Ge)),
            '>' if self.accept("/") => self.emit(TokenKind::Op(BinaryOp::TrimLower)),
            '>' => self.emit(TokenKind::Op(BinaryOp::Gt)),
            '"' | '\'' => self.quoted(c),
            '`' => self.raw_string(),
            '(' => self.left_paren(),
            ')' => self.right_paren(),
            '{' => {
                self.brace_open = true;
                self.emit(TokenKind::LeftBrace)
            }
            '[' if self.bracket_open => self.error("unexpected left bracket '['"),
            '[' => {
                self.bracket_open = true;
                self.in_duration = true;
                self.got_colon = false;
                self.emit(TokenKind::LeftBracket)
            }
            ']' if !self.bracket_open => self.error("unexpected right bracket ']'"),
            ']' => {
                self.bracket_open = false;
                self.emit(TokenKind::RightBracket)
            }
            _ if self.starts_number(c) => self.number_or_duration(),
            _ if is_alpha(c) || c == ':' => {
                if self.bracket_open {
                    self.word_in_brackets(c)
                } else {
                    self.keyword_or_identifier()
                }
            }
            _ => self.error(format!("unexpected character: {}", quote_char(Some(c)))),
        }
    }

    fn left_paren(&mut self) -> Lexed {
        self.paren_depth += 1;
        self.emit(TokenKind::LeftParen)
    }

    fn right_paren(&mut self) -> Lexed {
        let Some(depth) = self.paren_depth.checked_sub(1) else {
            return self.error_behind("unexpected right parenthesis ')'");
        };
        self.paren_depth = depth;
        self.emit(TokenKind::RightParen)
    }

    fn starts_number(&self, c: char) -> bool {
        c.is_ascii_digit() || (c == '.' && self.peek().is_some_and(|next| next.is_ascii_digit()))
    }

    // Behind the first number of brackets.
    fn word_in_brackets(&mut self, c: char) -> Lexed {
        if c == ':' {
            if self.got_colon {
                return self.error("unexpected colon ':'");
            }
            self.got_colon = true;
            return self.emit(TokenKind::Colon);
        }
        match self.duration_function() {
            Some(kind) => self.emit(kind),
            None => self.error(format!("unexpected character: {}, expected ':'", quote_char(Some(c)))),
        }
    }

    // Right after `[`.
    fn duration_word(&mut self) -> Lexed {
        let Some(c) = self.bump() else {
            return self.error("unexpected end of input in duration expression");
        };
        match c {
            ']' => {
                self.bracket_open = false;
                self.in_duration = false;
                self.got_colon = false;
                self.emit(TokenKind::RightBracket)
            }
            ':' if !self.got_duration => self.error_behind("unexpected colon before duration in duration expression"),
            ':' if self.got_colon => self.error_behind("unexpected repeated colon in duration expression"),
            ':' => {
                self.got_colon = true;
                self.emit(TokenKind::Colon)
            }
            '(' => self.left_paren(),
            ')' => self.right_paren(),
            '+' => self.emit(TokenKind::Op(BinaryOp::Add)),
            '-' => self.emit(TokenKind::Op(BinaryOp::Sub)),
            '*' => self.emit(TokenKind::Op(BinaryOp::Mul)),
            '/' => self.emit(TokenKind::Op(BinaryOp::Div)),
            '%' => self.emit(TokenKind::Op(BinaryOp::Mod)),
            '^' => self.emit(TokenKind::Op(BinaryOp::Pow)),
            ',' => self.emit(TokenKind::Comma),
            _ if self.starts_number(c) => self.number_or_duration(),
            _ => match self.duration_function() {
                Some(kind) => self.emit(kind),
                None => self.error(format!(
                    "unexpected character in duration expression: {}",
                    quote_char(Some(c))
                )),
            },
        }
    }

    // One letter has been read.
    fn duration_function(&mut self) -> Option<TokenKind> {
        self.accept_while(is_alpha);
        let kind = duration_keyword(&self.text().to_ascii_lowercase());
        self.got_duration |= kind.is_some();
        kind
    }

    fn inside_braces(&mut self) -> Lexed {
        let Some(c) = self.bump() else {
            return self.error("unexpected end of input inside braces");
        };
        match c {
            ',' => self.emit(TokenKind::Comma),
            '"' | '\'' => self.quoted(c),
            '`' => self.raw_string(),
            '=' if self.accept("~") => self.emit(TokenKind::EqlRegex),
            '=' => self.emit(TokenKind::Eql),
            '!' if self.accept("~") => self.emit(TokenKind::NeqRegex),
            '!' if self.accept("=") => self.emit(TokenKind::Op(BinaryOp::Ne)),
            '!' => self.error(format!(
                "unexpected character after '!' inside braces: {}",
                quote_char(self.peek())
            )),
            '{' => self.error("unexpected left brace '{'"),
            '}' => {
                self.brace_open = false;
                self.emit(TokenKind::RightBrace)
            }
            _ if is_alpha(c) => {
                self.accept_while(is_alphanumeric);
                self.emit(TokenKind::Identifier)
            }
            _ => self.error(format!("unexpected character inside braces: {}", quote_char(Some(c)))),
        }
    }

    fn keyword_or_identifier(&mut self) -> Lexed {
        self.accept_while(|c| is_alphanumeric(c) || c == ':');
        let word = self.text();
        let kind = match keyword(word) {
            // Upstream: `fill` and its kin stay usable as metric names unless a parenthesis follows.
            Some(TokenKind::Keyword(
                crate::token::Keyword::Fill | crate::token::Keyword::FillLeft | crate::token::Keyword::FillRight,
            )) if !self.paren_follows() => TokenKind::Identifier,
            Some(kind) => kind,
            None if word.contains(':') => TokenKind::MetricIdentifier,
            None => TokenKind::Identifier,
        };
        self.emit(kind)
    }

    fn paren_follows(&self) -> bool {
        self.src
            .get(self.pos..)
            .is_some_and(|rest| rest.trim_start_matches(is_space).starts_with('('))
    }

    // The first character, a digit or a dot, has been read.
    fn number_or_duration(&mut self) -> Lexed {
        self.pos = self.start;
        self.in_duration = false;
        if self.bracket_open {
            self.got_duration = true;
        }
        if self.scan_number() {
            return self.emit(TokenKind::Number);
        }
        if self.scan_duration_units() {
            return self.emit(TokenKind::Duration);
        }
        self.error(format!(
            "bad number or duration syntax: {}",
            cupola_model::go_quote(self.text())
        ))
    }

    // Reads what may be a number; leaves the cursor behind the digits where a duration's unit may follow.
    fn scan_number(&mut self) -> bool {
        if self.accept("0") && self.accept("xX") {
            self.accept_while(|c| c.is_ascii_hexdigit() || c == '_');
            return !self.text().ends_with('_') && !self.peek().is_some_and(|c| is_alphanumeric(c) || c == '.');
        }
        let mut has_dot = self.accept(".");
        let mut has_exponent = false;
        self.accept_while(|c| c.is_ascii_digit());
        loop {
            if self.accept(".") {
                if has_dot || self.accept("_.") {
                    return false;
                }
                has_dot = true;
            } else if self.accept("eE") {
                if has_exponent {
                    return false;
                }
                has_exponent = true;
                self.accept("+-");
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.accept("_") {
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.peek().is_some_and(|c| c.is_ascii_digit()) {
                self.accept_while(|c| c.is_ascii_digit());
            } else {
                break;
            }
        }
        !self.peek().is_some_and(is_alphanumeric)
    }

    fn scan_duration_units(&mut self) -> bool {
        if !self.accept("smhdwy") {
            return false;
        }
        // For ms; bad units such as hs are refused where the duration is computed.
        self.accept("s");
        while self.accept("0123456789") {
            self.accept_while(|c| c.is_ascii_digit());
            if !self.accept("smhdw") {
                return false;
            }
            self.accept("s");
        }
        if self.peek().is_some_and(is_alphanumeric) {
            // Shown in the error, as upstream shows it.
            self.bump();
            return false;
        }
        true
    }

    // The opening quote has been read.
    fn quoted(&mut self, quote: char) -> Lexed {
        loop {
            match self.bump() {
                None | Some('\n') => return self.error("unterminated quoted string"),
                Some('\\') => {
                    if let Err(message) = self.escape(quote) {
                        return self.error(message);
                    }
                }
                Some(c) if c == quote => return self.emit(TokenKind::String),
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self) -> Lexed {
        self.accept_while(|c| c != '`');
        if !self.accept("`") {
            return self.error("unterminated raw string");
        }
        self.emit(TokenKind::String)
    }

    // Checks one escape; the backslash has been read. `strings::unquote` computes its value later.
    fn escape(&mut self, quote: char) -> Result<(), String> {
        const UNFINISHED: &str = "escape sequence not terminated";
        let Some(c) = self.peek() else {
            return Err(UNFINISHED.to_owned());
        };
        let (digits, base, max) = match c {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => {
                self.bump();
                return Ok(());
            }
            _ if c == quote => {
                self.bump();
                return Ok(());
            }
            '0'..='7' => (3, 8, 255),
            'x' => (2, 16, 255),
            'u' => (4, 16, 0x10_ffff),
            'U' => (8, 16, 0x10_ffff),
            _ => return Err(format!("unknown escape sequence {}", unicode_name(c))),
        };
        if base == 16 {
            self.bump();
        }
        let mut value = 0_u32;
        for _ in 0..digits {
            let Some(c) = self.peek() else {
                return Err(UNFINISHED.to_owned());
            };
            let Some(digit) = c.to_digit(base) else {
                return Err(format!("illegal character {} in escape sequence", unicode_name(c)));
            };
            value = value.wrapping_mul(base).wrapping_add(digit);
            self.bump();
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }
}

// Go's `%#U`.
fn unicode_name(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}
