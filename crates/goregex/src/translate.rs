//! Go's syntax rewritten for the regex crate.

use crate::RegexError;

/// Rewrites `pattern` so that the regex crate reads it as Go's RE2 does.
///
/// # Errors
/// [`RegexError`] for what Go refuses and the regex crate would accept. The rest of the checking is left to the engine.
pub(crate) fn translate(pattern: &str) -> Result<String, RegexError> {
    let mut translator = Translator {
        rest: pattern,
        out: String::with_capacity(pattern.len() + 8),
        repeated: true,
    };
    translator.run()?;
    Ok(translator.out)
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
    // Whether a repetition may not follow: at the start, after another repetition.
    repeated: bool,
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), RegexError> {
        while let Some(c) = self.rest.chars().next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '{' => self.brace()?,
                '*' | '+' | '?' => self.repetition(1)?,
                '(' | '|' => {
                    self.push(1);
                    self.repeated = true;
                    if c == '(' {
                        self.group_flags();
                    }
                }
                // Go reads these as plain characters.
                '}' | ']' => self.literal(c),
                _ => {
                    self.push(c.len_utf8());
                    self.repeated = false;
                }
            }
        }
        Ok(())
    }

    // `(?flags:` and names pass to the engine unread.
    fn group_flags(&mut self) {
        if self.rest.starts_with('?') {
            let end = self.rest.find([':', '>', ')']).unwrap_or(self.rest.len());
            self.push(end);
            if !self.rest.starts_with(')') && !self.rest.is_empty() {
                self.push(1);
            }
        }
    }

    fn push(&mut self, bytes: usize) {
        let (head, tail) = self.rest.split_at(bytes);
        self.out.push_str(head);
        self.rest = tail;
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn literal(&mut self, c: char) {
        self.skip(c.len_utf8());
        push_literal(&mut self.out, c);
        self.repeated = false;
    }

    fn repetition(&mut self, bytes: usize) -> Result<(), RegexError> {
        if self.repeated {
            // The engine names a missing operand itself; `x**` it would accept.
            let op = &self.rest[..bytes];
            let kind = if self.out.is_empty() || self.out.ends_with(['(', '|']) {
                "missing argument to repetition operator"
            } else {
                "invalid nested repetition operator"
            };
            return Err(RegexError {
                reason: format!("{kind}: `{op}`"),
            });
        }
        self.push(bytes);
        if self.rest.starts_with('?') {
            self.push(1);
        }
        self.repeated = true;
        Ok(())
    }

    fn brace(&mut self) -> Result<(), RegexError> {
        match repetition_count(self.rest) {
            None => {
                self.literal('{');
                Ok(())
            }
            Some((len, min, max)) => {
                if min > 1000 || max.is_some_and(|max| max > 1000 || max < min) {
                    return Err(RegexError {
                        reason: format!("invalid repeat count: `{}`", &self.rest[..len]),
                    });
                }
                self.repetition(len)
            }
        }
    }

    fn escape(&mut self) -> Result<(), RegexError> {
        let mut chars = self.rest.chars();
        chars.next();
        let Some(c) = chars.next() else {
            return Err(RegexError {
                reason: "trailing backslash at end of expression: ``".to_owned(),
            });
        };
        self.repeated = false;
        match c {
            'Q' => {
                self.skip(2);
                let (quoted, after) = match self.rest.split_once("\\E") {
                    Some((quoted, after)) => (quoted, after),
                    None => (self.rest, ""),
                };
                for c in quoted.chars() {
                    push_literal(&mut self.out, c);
                }
                self.rest = after;
            }
            'E' => self.skip(2),
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                self.skip(2);
                self.out.push_str(ascii_class(c));
            }
            'b' => {
                self.skip(2);
                self.out.push_str(r"(?-u:\b)");
            }
            'B' => {
                self.skip(2);
                self.out.push_str(r"(?-u:\B)");
            }
            'C' => {
                self.skip(2);
                self.out.push_str("(?s:.)");
            }
            'A' | 'z' | 'p' | 'P' | 'x' | 'a' | 'f' | 't' | 'n' | 'r' | 'v' => self.push(2),
            '0'..='7' => self.octal(c)?,
            c if c.is_ascii_punctuation() => {
                self.skip(1);
                self.literal(c);
            }
            c => {
                return Err(RegexError {
                    reason: format!("invalid escape sequence: `\\{c}`"),
                });
            }
        }
        // `\p{Greek}` and `\x{10}` hold braces that are no repetition.
        if matches!(c, 'p' | 'P' | 'x') && self.rest.starts_with('{') {
            let end = self.rest.find('}').map_or(self.rest.len(), |at| at + 1);
            self.push(end);
        }
        Ok(())
    }

    // `\0`, `\012`; a single digit 1 to 7 would be a back-reference, which RE2 does not have.
    fn octal(&mut self, first: char) -> Result<(), RegexError> {
        let digits: String = self
            .rest
            .chars()
            .skip(1)
            .take(3)
            .take_while(|c| ('0'..='7').contains(c))
            .collect();
        let value = u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32);
        match value {
            Some(value) if first == '0' || digits.len() > 1 => {
                self.skip(1 + digits.len());
                push_literal(&mut self.out, value);
                Ok(())
            }
            _ => Err(RegexError {
                reason: format!("invalid escape sequence: `\\{first}`"),
            }),
        }
    }

    fn class(&mut self) -> Result<(), RegexError> {
        let whole = self.rest;
        let missing = || RegexError {
            reason: format!("missing closing ]: `{whole}`"),
        };
        self.push(1);
        self.repeated = false;
        if self.rest.starts_with('^') {
            self.push(1);
        }
        let mut first = true;
        loop {
            let c = self.rest.chars().next().ok_or_else(missing)?;
            match c {
                ']' if !first => {
                    self.push(1);
                    return Ok(());
                }
                '[' if self.rest.starts_with("[:") && self.rest.contains(":]") => {
                    let end = self.rest.find(":]").map_or(self.rest.len(), |at| at + 2);
                    self.push(end);
                }
                '\\' => self.class_escape().ok_or_else(missing)?,
                // Go refuses a dash that is neither first nor last nor part of a range.
                '-' if !first && !self.rest[1..].starts_with(']') => {
                    let reason = format!(
                        "invalid character class range: `{}`",
                        &whole[..whole.len() - self.rest.len() + 1]
                    );
                    return Err(RegexError { reason });
                }
                _ => {
                    self.skip(c.len_utf8());
                    push_literal(&mut self.out, c);
                }
            }
            first = false;
            // A range: its dash is the engine's dash, its end is read by the next turn.
            let ends = self.rest.strip_prefix('-').and_then(|after| after.chars().next());
            if let Some(end) = ends.filter(|end| *end != ']') {
                self.push(1);
                if end == '\\' {
                    self.class_escape().ok_or_else(missing)?;
                } else {
                    self.skip(end.len_utf8());
                    push_literal(&mut self.out, end);
                }
            }
        }
    }

    fn class_escape(&mut self) -> Option<()> {
        let c = self.rest.chars().nth(1)?;
        match c {
            'd' | 's' | 'w' | 'D' | 'S' | 'W' => {
                self.skip(2);
                self.out.push_str(ascii_class(c));
            }
            'p' | 'P' | 'x' => {
                self.push(2);
                if self.rest.starts_with('{') {
                    let end = self.rest.find('}').map_or(self.rest.len(), |at| at + 1);
                    self.push(end);
                }
            }
            'a' | 'f' | 't' | 'n' | 'r' | 'v' => self.push(2),
            c if c.is_ascii_punctuation() => {
                self.skip(2);
                push_literal(&mut self.out, c);
            }
            // The engine refuses the rest by itself.
            _ => self.push(1 + c.len_utf8()),
        }
        Some(())
    }
}

fn ascii_class(c: char) -> &'static str {
    match c {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\x0C\r ]",
        'S' => r"[^\t\n\x0C\r ]",
        'w' => "[0-9A-Za-z_]",
        _ => "[^0-9A-Za-z_]",
    }
}

fn push_literal(out: &mut String, c: char) {
    // A backslash before punctuation is always a literal; before letters like `<` it would mean something else.
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>' | '_') {
        out.push('\\');
    }
    out.push(c);
}

// `{n}`, `{n,}`, `{n,m}` at the start of `text`: its length, n, m. Anything else is no repetition to Go.
fn repetition_count(text: &str) -> Option<(usize, u32, Option<u32>)> {
    let end = text.find('}')?;
    let inner = text.get(1..end)?;
    let number = |t: &str| {
        let plain = !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()) && !(t.len() > 1 && t.starts_with('0'));
        plain.then(|| t.parse::<u32>().unwrap_or(u32::MAX))
    };
    match inner.split_once(',') {
        None => number(inner).map(|n| (end + 1, n, Some(n))),
        Some((min, "")) => number(min).map(|n| (end + 1, n, None)),
        Some((min, max)) => Some((end + 1, number(min)?, Some(number(max)?))),
    }
}
