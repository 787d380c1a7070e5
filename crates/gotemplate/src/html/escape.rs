//! The escapers (Go's html/template: `html.go`, `url.go`, `css.go`, `js.go`).

use std::fmt::Write as _;

use super::UNSAFE;

/// Between elements, in elements that hold text, and in quoted attributes.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            c => push_normal(&mut out, c),
        }
    }
    out
}

/// As [`html`], for what is HTML already: entities stay.
pub(super) fn normal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_normal(&mut out, c));
    out
}

fn push_normal(out: &mut String, c: char) {
    match c {
        '\0' => out.push('\u{fffd}'),
        '"' => out.push_str("&#34;"),
        '\'' => out.push_str("&#39;"),
        '+' => out.push_str("&#43;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        c => out.push(c),
    }
}

/// In an attribute without quotes.
pub(super) fn unquoted(text: &str, is_html: bool) -> String {
    // Else the attribute would take the one behind it for its value.
    if text.is_empty() {
        return UNSAFE.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push_str("&#xfffd;"),
            '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ' | '=' | '`' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '&' if !is_html => out.push_str("&amp;"),
            c => push_normal(&mut out, c),
        }
    }
    out
}

/// What is left of HTML without its elements.
pub(super) fn strip_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        out.push_str(rest.get(..at).unwrap_or_default());
        let tag = rest.get(at..).unwrap_or_default();
        let is_tag = tag
            .chars()
            .nth(1)
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '/' || c == '!');
        match tag.find('>').filter(|_| is_tag) {
            Some(end) => rest = tag.get(end + 1..).unwrap_or_default(),
            None => {
                out.push('<');
                rest = tag.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

/// The address, unless it has a scheme that may do something.
pub(super) fn filter_url(text: &str) -> String {
    let scheme = text
        .split_once(':')
        .map(|(scheme, _)| scheme)
        .filter(|scheme| !scheme.contains('/'));
    match scheme {
        Some(scheme) if !["http", "https", "mailto"].contains(&scheme.to_ascii_lowercase().as_str()) => {
            format!("#{UNSAFE}")
        }
        _ => text.to_owned(),
    }
}

/// Percent-encodes what may not stand in a URL; what is encoded already stays.
pub(super) fn normal_url(text: &str) -> String {
    url(text, true)
}

/// Percent-encodes all that means anything in a URL.
pub(super) fn query(text: &str) -> String {
    url(text, false)
}

fn url(text: &str, keeps_meaning: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    for (i, byte) in bytes.iter().enumerate() {
        let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
        let stays = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'#' | b'$' | b'&' | b'*' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' | b'[' | b']' => {
                keeps_meaning
            }
            b'%' => keeps_meaning && is_hex(i + 1) && is_hex(i + 2),
            _ => false,
        };
        match stays {
            true => out.push(char::from(*byte)),
            false => {
                let _ = write!(out, "%{byte:02x}");
            }
        }
    }
    out
}

/// A value of a style, if it is harmless.
pub(super) fn css(text: &str) -> String {
    let is_bad = |c: char| {
        matches!(
            c,
            '\0' | '"' | '\'' | '(' | ')' | '/' | ';' | '@' | '[' | '\\' | ']' | '`' | '{' | '}' | '<' | '>'
        )
    };
    let letters: String = text
        .chars()
        .filter(|c| c.is_alphanumeric())
        .collect::<String>()
        .to_lowercase();
    let calls = ["expression", "mozbinding"].iter().any(|word| letters.contains(word));
    if calls || text.contains("--") && text.starts_with('-') || text.chars().any(is_bad) {
        return UNSAFE.to_owned();
    }
    text.to_owned()
}

/// In a text of a script.
pub(super) fn js_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push_str("\\u0000"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\u000b"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '"' | '`' | '&' | '\'' | '+' | '<' | '>' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            '/' => out.push_str("\\/"),
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
    out
}
