//! Alertmanager's matchers as text: the classic syntax, the UTF-8 syntax of 0.27, and the rule that decides between
//! them.

use cupola_model::{MatchOp, Matcher, go_quote};
use thiserror::Error;

/// Which syntax is read (`--enable-feature=classic-mode`, `utf8-strict-mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MatcherMode {
    /// Both: the classic reading wins where both succeed; a warning tells where the UTF-8 syntax differs.
    #[default]
    Fallback,
    /// Only the syntax up to 0.26.
    Classic,
    /// Only the syntax since 0.27.
    Utf8,
}

/// Why a text is no list of matchers. Prints as Alertmanager tells it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct MatcherError(String);

/// What a text means.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedMatchers {
    /// In the text's order; regular expressions are anchored and their dot does not match newlines.
    pub matchers: Vec<Matcher>,
    /// Set where the classic reading was taken and the UTF-8 syntax refuses the text or reads it otherwise.
    pub warning: Option<String>,
}

/// Reads a list of matchers: `{a="b", c=~"d.*"}` or the same without braces. The empty text is the empty list.
///
/// # Errors
/// Where no allowed syntax can read the text; in fallback mode the classic reason.
pub fn parse_matchers(text: &str, mode: MatcherMode) -> Result<ParsedMatchers, MatcherError> {
    choose(text, mode, classic::parse_list, utf8::parse_list)
}

/// Reads one matcher, as API filters and amtool do: no braces around it.
///
/// # Errors
/// As [`parse_matchers`].
pub fn parse_matcher(text: &str, mode: MatcherMode) -> Result<ParsedMatchers, MatcherError> {
    if text.starts_with('{') || text.ends_with('}') {
        return Err(MatcherError(format!("unexpected open or close brace: {text}")));
    }
    choose(
        text,
        mode,
        |text| classic::parse_one(text).map(|one| vec![one]),
        utf8::parse_one,
    )
}

/// A matcher as Alertmanager writes it, also in the keys of routes and groups: the name is quoted only where it has
/// characters that mean something else, and in the value of any other only backslash, newline and quote are escaped.
#[must_use]
pub fn matcher_text(matcher: &Matcher) -> String {
    let (name, op, value) = (matcher.name(), matcher.op().as_str(), matcher.value());
    let is_reserved = |c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c);
    if name.contains(is_reserved) {
        return format!("{}{op}{}", go_quote(name), go_quote(value));
    }
    let value = value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
    format!("{name}{op}\"{value}\"")
}

type Parse = fn(&str) -> Result<Vec<Matcher>, MatcherError>;

fn choose(text: &str, mode: MatcherMode, classic: Parse, utf8: Parse) -> Result<ParsedMatchers, MatcherError> {
    let plain = |matchers| ParsedMatchers {
        matchers,
        warning: None,
    };
    match mode {
        MatcherMode::Classic => return classic(text).map(plain),
        MatcherMode::Utf8 => return utf8(text).map(plain),
        MatcherMode::Fallback => {}
    }
    match (classic(text), utf8(text)) {
        (Err(classic), Err(_)) => Err(classic),
        (Err(_), Ok(matchers)) => Ok(plain(matchers)),
        (Ok(matchers), Ok(other)) if matchers == other => Ok(plain(matchers)),
        (Ok(matchers), Ok(other)) => {
            let warning = format!(
                "matchers input has disagreement: {} is read the classic way as {}, the UTF-8 parser would read {}",
                go_quote(text),
                show(&matchers),
                show(&other)
            );
            Ok(ParsedMatchers {
                matchers,
                warning: Some(warning),
            })
        }
        (Ok(matchers), Err(error)) => {
            let warning = format!(
                "the UTF-8 parser refuses the matchers {} ({error}), so they are read the classic way; write {} instead",
                go_quote(text),
                show(&matchers)
            );
            Ok(ParsedMatchers {
                matchers,
                warning: Some(warning),
            })
        }
    }
}

fn show(matchers: &[Matcher]) -> String {
    matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn matcher(name: String, op: MatchOp, value: String) -> Result<Matcher, MatcherError> {
    Matcher::new_no_newline(name, op, value).map_err(|error| MatcherError(error.to_string()))
}

/// The syntax up to 0.26.
mod classic {
    use super::{MatchOp, Matcher, MatcherError, matcher};

    /// What Go's `\s` stands for.
    fn is_space(c: char) -> bool {
        matches!(c, ' ' | '\t' | '\n' | '\x0c' | '\r')
    }

    pub(super) fn parse_list(text: &str) -> Result<Vec<Matcher>, MatcherError> {
        let text = text.strip_prefix('{').unwrap_or(text);
        let text = text.strip_suffix('}').unwrap_or(text);
        let mut matchers = Vec::new();
        let (mut start, mut in_quotes, mut is_escaped) = (0, false, false);
        for (at, c) in text.char_indices() {
            if c == ',' && !in_quotes {
                matchers.push(parse_one(text.get(start..at).unwrap_or(""))?);
                start = at + 1;
                is_escaped = false;
                continue;
            }
            if c == '"' && !is_escaped {
                in_quotes = !in_quotes;
            }
            is_escaped = c == '\\' && !is_escaped;
        }
        match text.get(start..) {
            None | Some("") => {}
            Some(last) => matchers.push(parse_one(last)?),
        }
        Ok(matchers)
    }

    pub(super) fn parse_one(text: &str) -> Result<Matcher, MatcherError> {
        let malformed = || MatcherError(format!("bad matcher format: {text}"));
        let rest = text.trim_start_matches(is_space);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let len = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(len);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(malformed());
        }
        let rest = rest.trim_start_matches(is_space);
        let (op, rest) = [
            ("=~", MatchOp::Regex),
            ("=", MatchOp::Equal),
            ("!=", MatchOp::NotEqual),
            ("!~", MatchOp::NotRegex),
        ]
        .into_iter()
        .find_map(|(sign, op)| rest.strip_prefix(sign).map(|rest| (op, rest)))
        .ok_or_else(malformed)?;
        matcher(name.to_owned(), op, unquote(rest.trim_matches(is_space))?)
    }

    fn unquote(raw: &str) -> Result<String, MatcherError> {
        let stray = || MatcherError(format!("matcher value contains unescaped double quote: {raw}"));
        let (inner, mut is_open) = match raw.strip_prefix('"') {
            Some(inner) => (inner, true),
            None => (raw, false),
        };
        let mut value = String::with_capacity(inner.len());
        let mut chars = inner.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n') => value.push('\n'),
                    Some(c @ ('"' | '\\')) => value.push(c),
                    // Other escapes stay as they are, so that \d needs no second backslash.
                    Some(c) => value.extend(['\\', c]),
                    None => value.push('\\'),
                },
                '"' if is_open && chars.peek().is_none() => is_open = false,
                '"' => return Err(stray()),
                c => value.push(c),
            }
        }
        if is_open { Err(stray()) } else { Ok(value) }
    }
}

/// The syntax since 0.27.
mod utf8 {
    use super::{MatchOp, Matcher, MatcherError, go_quote, matcher};

    #[derive(Debug, Clone, PartialEq)]
    enum Token {
        Open,
        Close,
        Comma,
        Op(MatchOp),
        Text(String),
    }

    pub(super) fn parse_list(text: &str) -> Result<Vec<Matcher>, MatcherError> {
        let tokens = lex(text)?;
        let mut parser = Parser {
            tokens: tokens.into_iter().peekable(),
        };
        let has_open = parser.take(&Token::Open);
        let mut matchers = Vec::new();
        loop {
            match parser.tokens.peek() {
                None | Some(Token::Close) => break,
                Some(_) => matchers.push(parser.matcher()?),
            }
            match parser.tokens.peek() {
                None | Some(Token::Close) => break,
                Some(Token::Comma) => drop(parser.tokens.next()),
                Some(_) => return refuse("expected a comma or close brace"),
            }
        }
        match (has_open, parser.take(&Token::Close)) {
            (true, false) => refuse("expected close brace"),
            (false, true) => refuse("expected opening brace"),
            _ if parser.tokens.next().is_some() => refuse("expected end of input"),
            _ => Ok(matchers),
        }
    }

    pub(super) fn parse_one(text: &str) -> Result<Vec<Matcher>, MatcherError> {
        let mut parser = Parser {
            tokens: lex(text)?.into_iter().peekable(),
        };
        let matcher = parser.matcher()?;
        if parser.tokens.next().is_some() {
            refuse("expected end of input")
        } else {
            Ok(vec![matcher])
        }
    }

    fn refuse<T>(reason: &str) -> Result<T, MatcherError> {
        Err(MatcherError(reason.to_owned()))
    }

    struct Parser {
        tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    }

    impl Parser {
        fn take(&mut self, token: &Token) -> bool {
            self.tokens.next_if_eq(token).is_some()
        }

        fn matcher(&mut self) -> Result<Matcher, MatcherError> {
            let Some(Token::Text(name)) = self.tokens.next() else {
                return refuse("expected label name");
            };
            if name.is_empty() {
                return refuse("invalid label name: it is empty");
            }
            let Some(Token::Op(op)) = self.tokens.next() else {
                return refuse("expected an operator such as '=', '!=', '=~' or '!~'");
            };
            let Some(Token::Text(value)) = self.tokens.next() else {
                return refuse("expected label value");
            };
            matcher(name, op, value)
        }
    }

    fn lex(text: &str) -> Result<Vec<Token>, MatcherError> {
        let is_reserved = |c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c);
        let mut tokens = Vec::new();
        let mut rest = text.trim_start();
        while let Some(c) = rest.chars().next() {
            let (token, len) = match c {
                '{' => (Token::Open, 1),
                '}' => (Token::Close, 1),
                ',' => (Token::Comma, 1),
                '=' if rest.starts_with("=~") => (Token::Op(MatchOp::Regex), 2),
                '=' => (Token::Op(MatchOp::Equal), 1),
                '!' if rest.starts_with("!=") => (Token::Op(MatchOp::NotEqual), 2),
                '!' if rest.starts_with("!~") => (Token::Op(MatchOp::NotRegex), 2),
                '"' => quoted(rest)?,
                c if is_reserved(c) => return refuse(&format!("{}: invalid input", go_quote(&c.to_string()))),
                _ => {
                    let len = rest.find(is_reserved).unwrap_or(rest.len());
                    (Token::Text(rest.get(..len).unwrap_or("").to_owned()), len)
                }
            };
            tokens.push(token);
            rest = rest.get(len..).unwrap_or("").trim_start();
        }
        Ok(tokens)
    }

    /// A Go string literal at the beginning of `text` and its length.
    fn quoted(text: &str) -> Result<(Token, usize), MatcherError> {
        let invalid = || MatcherError(format!("{text}: invalid input"));
        let mut bytes: Vec<u8> = Vec::new();
        let mut chars = text.char_indices().skip(1);
        // The digits of an escape, in base `radix`.
        let number =
            |chars: &mut dyn Iterator<Item = (usize, char)>, first: Option<char>, digits: usize, radix: u32| {
                let mut number = first.map_or(Some(0), |c| c.to_digit(radix))?;
                for _ in usize::from(first.is_some())..digits {
                    number = number
                        .checked_mul(radix)?
                        .checked_add(chars.next()?.1.to_digit(radix)?)?;
                }
                Some(number)
            };
        while let Some((at, c)) = chars.next() {
            let mut push = |c: char| bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            match c {
                '"' => {
                    let text = String::from_utf8(bytes).map_err(|_| invalid())?;
                    return Ok((Token::Text(text), at + 1));
                }
                '\n' => return Err(invalid()),
                '\\' => match chars.next().ok_or_else(invalid)?.1 {
                    'a' => push('\x07'),
                    'b' => push('\x08'),
                    'f' => push('\x0c'),
                    'n' => push('\n'),
                    'r' => push('\r'),
                    't' => push('\t'),
                    'v' => push('\x0b'),
                    c @ ('\\' | '"') => push(c),
                    'x' => bytes.push(number(&mut chars, None, 2, 16).ok_or_else(invalid)? as u8),
                    c @ '0'..='7' => {
                        let byte = number(&mut chars, Some(c), 3, 8).and_then(|n| u8::try_from(n).ok());
                        bytes.push(byte.ok_or_else(invalid)?);
                    }
                    c @ ('u' | 'U') => {
                        let digits = if c == 'u' { 4 } else { 8 };
                        let c = number(&mut chars, None, digits, 16).and_then(char::from_u32);
                        push(c.ok_or_else(invalid)?);
                    }
                    _ => return Err(invalid()),
                },
                c => push(c),
            }
        }
        // No closing quote: the value never came.
        refuse("expected label value: missing closing quote")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, mode: MatcherMode, expected: Result<&str, &str>) {
        let parsed = parse_matchers(text, mode)
            .map(|parsed| show(&parsed.matchers))
            .map_err(|e| e.to_string());
        match (&parsed, expected) {
            (Ok(shown), Ok(expected)) => assert_eq!(shown, expected, "{text}"),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{text}: {error}"),
            _ => panic!("{text}: {parsed:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn both_syntaxes() {
        use MatcherMode::{Classic, Fallback, Utf8};
        check("{foo=\"bar\",baz!=qux}", Classic, Ok(r#"foo="bar", baz!="qux""#));
        check("foo=~\"a{1,3}\"", Classic, Ok(r#"foo=~"a{1,3}""#));
        check("foo", Classic, Err("bad matcher format: foo"));
        check(
            "foo=\"a",
            Classic,
            Err("matcher value contains unescaped double quote: \"a"),
        );
        check("\"foo bar\"=baz,", Utf8, Ok(r#""foo bar"="baz""#));
        check("{foo=bar", Utf8, Err("expected close brace"));
        check("foo=\"\\101\\x42\\u0043\"", Utf8, Ok(r#"foo="ABC""#));
        check("foo=\"\\xff\"", Utf8, Err("invalid input"));
        check("foo=\"\\400\"", Utf8, Err("invalid input"));
        check("\"\"=x", Utf8, Err("label name"));
        check("foo=~(", Fallback, Err("error parsing regexp"));
    }

    #[test]
    fn the_fallback_warns_where_the_syntaxes_differ() {
        let parse = |text| parse_matchers(text, MatcherMode::Fallback).unwrap();
        assert_eq!(parse("foo=\"bar\"").warning, None);
        assert!(
            parse("foo=bar baz")
                .warning
                .unwrap()
                .contains("write foo=\"bar baz\" instead")
        );
        let disagreement = parse("foo=\"a\\tb\"");
        assert!(disagreement.warning.unwrap().contains("disagreement"));
        assert_eq!(disagreement.matchers[0].value(), "a\\tb");
        assert_eq!(parse("\"foo\"=bar").warning, None);
    }

    #[test]
    fn one_matcher_has_no_braces() {
        assert!(parse_matcher("foo=bar", MatcherMode::Fallback).is_ok());
        for text in ["{foo=bar", "foo=bar}", "", "foo=\"bar\",baz=\"x\""] {
            assert!(parse_matcher(text, MatcherMode::Fallback).is_err(), "{text}");
        }
    }
}
