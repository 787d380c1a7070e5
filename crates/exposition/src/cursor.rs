//! A place in a body, and the scans that both formats share.

use std::borrow::Cow;

use crate::error::Fault;

/// A place in a body. Reading past the end gives `None`, never a panic.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) at: usize,
    // Up to here the body is known to be UTF-8: checked once for all, so that values need no check of their own.
    utf8_up_to: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        let mut cursor = Self::unchecked(body);
        cursor.check_rest();
        cursor
    }

    /// Without the check of the whole body: values are checked one by one, which is quicker where nearly nothing is read.
    pub(crate) fn unchecked(body: &'a [u8]) -> Self {
        Self {
            body,
            at: 0,
            utf8_up_to: 0,
        }
    }

    /// Checks what is still to be read, once for all.
    pub(crate) fn check_rest(&mut self) {
        self.utf8_up_to = self.at
            + match std::str::from_utf8(self.rest()) {
                Ok(text) => text.len(),
                Err(e) => e.valid_up_to(),
            };
    }

    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or(&[])
    }

    #[inline]
    pub(crate) fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        self.body.get(from..to).unwrap_or(&[])
    }

    /// Steps over `byte` if it stands here.
    #[inline]
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let is_here = self.peek() == Some(byte);
        self.at += usize::from(is_here);
        is_here
    }

    #[inline]
    pub(crate) fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// Steps over a metric name, `[a-zA-Z_:][a-zA-Z0-9_:]*`; false where none stands here.
    #[inline]
    pub(crate) fn skip_metric_name(&mut self) -> bool {
        self.skip_name(METRIC_START | LABEL_START, METRIC_START | LABEL_START | DIGIT)
    }

    /// Steps over a label name, `[a-zA-Z_][a-zA-Z0-9_]*`; false where none stands here.
    #[inline]
    pub(crate) fn skip_label_name(&mut self) -> bool {
        self.skip_name(LABEL_START, LABEL_START | DIGIT)
    }

    #[inline]
    fn skip_name(&mut self, first: u8, other: u8) -> bool {
        if self.peek().is_none_or(|b| class(b) & first == 0) {
            return false;
        }
        let rest = self.rest();
        self.at += rest.iter().position(|b| class(*b) & other == 0).unwrap_or(rest.len());
        true
    }

    /// Steps over a text in double quotes with `\` escapes; false, without a step, where none stands here whole.
    #[inline]
    pub(crate) fn skip_quoted(&mut self, may_span_lines: bool) -> bool {
        if self.peek() != Some(b'"') {
            return false;
        }
        let mut at = self.at + 1;
        loop {
            let rest = self.body.get(at..).unwrap_or(&[]);
            let Some(step) = find_special(rest, may_span_lines) else {
                return false;
            };
            match rest.get(step) {
                Some(b'"') => {
                    self.at = at + step + 1;
                    return true;
                }
                Some(b'\\') => at += step + 2,
                _ => return false,
            }
        }
    }

    /// Steps to the next line feed, or to the end.
    #[inline]
    pub(crate) fn skip_line(&mut self) {
        let rest = self.rest();
        self.at += find_byte(rest, b'\n').unwrap_or(rest.len());
    }

    /// Fails where the bytes are not UTF-8; free of cost for a body that is UTF-8 as a whole.
    #[inline]
    pub(crate) fn check_utf8(&self, from: usize, to: usize, what: &str) -> Result<(), Fault> {
        if to <= self.utf8_up_to {
            return Ok(());
        }
        match std::str::from_utf8(self.slice(from, to)) {
            Ok(_) => Ok(()),
            Err(e) => {
                let text = crate::error::quote(self.slice(from, to));
                Err(Fault::new(
                    from + e.valid_up_to(),
                    format!("invalid UTF-8 {what}: {text}"),
                ))
            }
        }
    }

    /// A metric name as metadata lines write it: bare, or quoted.
    pub(crate) fn metadata_name(&mut self, keyword: &str) -> Result<Cow<'a, str>, Fault> {
        let from = self.at;
        if self.skip_metric_name() {
            return Ok(as_text(self.slice(from, self.at)));
        }
        if self.skip_quoted(true) {
            self.check_utf8(from, self.at, "metric name")?;
            return Ok(unescape(self.slice(from + 1, self.at - 1), true));
        }
        Err(Fault::expected(
            &format!("expected metric name after {keyword}"),
            self.body,
            from,
        ))
    }
}

/// Text that was checked to be UTF-8; what was not is replaced rather than trusted.
pub(crate) fn as_text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Undoes the escapes `\\`, `\n` and, with `quotes`, `\"`; any other backslash stays, as the reference server has it.
pub(crate) fn unescape(bytes: &[u8], quotes: bool) -> Cow<'_, str> {
    let text = as_text(bytes);
    if !bytes.contains(&b'\\') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.as_str().chars().next() {
            Some('\\') => out.push('\\'),
            Some('n') => out.push('\n'),
            Some('"') if quotes => out.push('"'),
            _ => {
                out.push('\\');
                continue;
            }
        }
        chars.next();
    }
    Cow::Owned(out)
}

const LABEL_START: u8 = 1;
const METRIC_START: u8 = 2;
const DIGIT: u8 = 4;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        table[byte] = if c.is_ascii_alphabetic() || c == b'_' {
            LABEL_START
        } else if c == b':' {
            METRIC_START
        } else if c.is_ascii_digit() {
            DIGIT
        } else {
            0
        };
        byte += 1;
    }
    table
}

#[inline]
fn class(byte: u8) -> u8 {
    // A byte cannot leave a table of 256.
    CLASSES[usize::from(byte)]
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

// Bit 7 of each byte that equals `byte`; a byte above a hit may be marked too, never one below the first.
#[inline]
fn marks(word: u64, byte: u8) -> u64 {
    let x = word ^ (LOW * u64::from(byte));
    x.wrapping_sub(LOW) & !x & HIGH
}

/// The first quote or backslash, or line feed where a text must not span lines.
#[inline]
fn find_special(hay: &[u8], may_span_lines: bool) -> Option<usize> {
    let newline = if may_span_lines { b'"' } else { b'\n' };
    find(
        hay,
        |w| marks(w, b'"') | marks(w, b'\\') | marks(w, newline),
        |b| b == b'"' || b == b'\\' || b == newline,
    )
}

/// The first `byte`, eight at a time.
#[inline]
pub(crate) fn find_byte(hay: &[u8], byte: u8) -> Option<usize> {
    find(hay, |w| marks(w, byte), |b| b == byte)
}

#[inline]
fn find(hay: &[u8], word_marks: impl Fn(u64) -> u64, is_hit: impl Fn(u8) -> bool) -> Option<usize> {
    let (chunks, tail) = hay.as_chunks::<8>();
    for (i, chunk) in chunks.iter().enumerate() {
        let marked = word_marks(u64::from_le_bytes(*chunk));
        if marked != 0 {
            return Some(i * 8 + (marked.trailing_zeros() / 8) as usize);
        }
    }
    tail.iter().position(|b| is_hit(*b)).map(|i| chunks.len() * 8 + i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_wide_search_finds_what_the_plain_one_finds(hay in proptest::collection::vec(0_u8..=255, 0..60), byte: u8) {
            prop_assert_eq!(find_byte(&hay, byte), hay.iter().position(|b| *b == byte));
            let plain = hay.iter().position(|b| matches!(b, b'"' | b'\\' | b'\n'));
            prop_assert_eq!(find_special(&hay, false), plain);
        }
    }

    #[test]
    fn unknown_escapes_stay() {
        assert_eq!(unescape(br#"a\\b\n\"\x\"#, true), "a\\b\n\"\\x\\");
        assert_eq!(unescape(br#"a\"b"#, false), r#"a\"b"#);
    }
}
