//! Texts in quotes as Go writes them.

use std::fmt::Write as _;

/// As Go's `strconv.Quote` (`%q`): double quotes, `\"`, `\\`, `\n`, control characters as `\x07` or `\u200b`.
#[must_use]
pub fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            // Writing to a String cannot fail.
            c if c < ' ' || c == '\x7f' => drop(write!(out, "\\x{:02x}", c as u32)),
            c if is_unprintable(c) && (c as u32) < 0x1_0000 => drop(write!(out, "\\u{:04x}", c as u32)),
            c if is_unprintable(c) => drop(write!(out, "\\U{:08x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

// Go prints letters, marks, numbers, punctuation, symbols and the plain space. What remains and occurs in practice:
// the C1 controls, other spaces, format characters, private use, non-characters.
fn is_unprintable(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{a0}' | '\u{ad}' | '\u{1680}' | '\u{180e}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}'
        | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}' | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go() {
        for (text, quoted) in [
            ("a", r#""a""#),
            ("a\"b\\c\n", r#""a\"b\\c\n""#),
            ("\x07\x00\x7f", r#""\a\x00\x7f""#),
            ("é☺", r#""é☺""#),
            ("\u{200b}\u{feff}", r#""\u200b\ufeff""#),
            ("it's", r#""it's""#),
        ] {
            assert_eq!(go_quote(text), quoted);
        }
    }
}
