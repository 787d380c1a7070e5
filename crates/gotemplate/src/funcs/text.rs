//! Text functions that several tables share.

use cupola_goregex::Regex;
use cupola_model::go_quote;

use super::{Func, MAX_TEXT, Param, str_arg};
use crate::value::Value;

// A step is some tens of nanoseconds; compiling an expression is some tens of microseconds.
const REGEX_COST: u64 = 200;

/// A function of one string.
pub(super) fn of_str(body: impl Fn(&str) -> String + Send + Sync + 'static) -> Func {
    Func::new(&[Param::Str], move |args| Ok(Value::from(body(&str_arg(args, 0)))))
}

/// `reReplaceAll PATTERN REPLACEMENT TEXT`.
pub(super) fn re_replace_all() -> Func {
    let body = |args: &[Value]| {
        let (pattern, replacement, text) = (str_arg(args, 0), str_arg(args, 1), str_arg(args, 2));
        let regex = compile(&pattern)?;
        // Between any two characters there may be a match, and each reference may bring the whole text again.
        let references = replacement.matches('$').count();
        let most = (text.len() + 1)
            .saturating_mul(replacement.len() + 1)
            .saturating_add(text.len() * references);
        if most > 16 * MAX_TEXT {
            return Err("the text and its replacement are too long".to_owned());
        }
        Ok(Value::from(regex.replace_all(&text, &replacement)))
    };
    Func::new(&[Param::Str; 3], body).with_cost(REGEX_COST)
}

/// `match PATTERN TEXT`: found anywhere.
pub(super) fn matches() -> Func {
    let body = |args: &[Value]| {
        let regex = Regex::unanchored(&str_arg(args, 0)).map_err(|e| e.to_string())?;
        Ok(Value::Bool(regex.is_match(&str_arg(args, 1))))
    };
    Func::new(&[Param::Str; 2], body).with_cost(REGEX_COST)
}

fn compile(pattern: &str) -> Result<Regex, String> {
    // Go's MustCompile, whose panic templates show.
    let quoted = if pattern.contains('`') {
        go_quote(pattern)
    } else {
        format!("`{pattern}`")
    };
    Regex::unanchored(pattern).map_err(|e| format!("regexp: Compile({quoted}): {e}"))
}

/// Go's `strings.ToUpper`: character for character (ß stays ß).
pub(super) fn to_upper(text: &str) -> String {
    text.chars().map(|c| single(c, c.to_uppercase())).collect()
}

/// Go's `strings.ToLower`.
pub(super) fn to_lower(text: &str) -> String {
    text.chars().map(|c| single(c, c.to_lowercase())).collect()
}

fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Go's `strings.Title` (Prometheus): every letter that follows no letter, digit or underscore becomes a capital.
pub(super) fn strings_title(text: &str) -> String {
    let mut previous = ' ';
    text.chars()
        .map(|c| {
            let is_start = match previous {
                '_' => false,
                p if p.is_alphanumeric() => false,
                p if p.is_ascii() => true,
                p => p.is_whitespace(),
            };
            previous = c;
            if is_start { single(c, c.to_uppercase()) } else { c }
        })
        .collect()
}

/// Alertmanager's title: the first letter of every word a capital, the rest small; words end as Unicode's rules for
/// word boundaries say (`it's`, `a.b` and `l:k` are one word each, `foo-bar` is two).
pub(super) fn words_title(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or(' ');
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    let mut has_capital = false;
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map_or(' ', at);
        let after = at(i + 1);
        let joins_letters = matches!(c, '\'' | '\u{2019}' | '.' | '\u{2018}' | ':' | '\u{b7}');
        let joins_digits = matches!(c, '\'' | '.' | ',' | ';');
        let is_word = c == '_'
            || c.is_alphanumeric()
            || is_mark(c)
            || (joins_letters && before.is_alphabetic() && after.is_alphabetic())
            || (joins_digits && before.is_numeric() && after.is_numeric());
        if !is_word || !in_word {
            has_capital = false;
        }
        in_word = is_word;
        let is_cased = c.is_lowercase() || c.is_uppercase();
        if is_word && is_cased && !has_capital {
            has_capital = true;
            out.push(single(c, c.to_uppercase()));
        } else {
            out.push(single(c, c.to_lowercase()));
        }
    }
    out
}

// Combining marks belong to the letter before them.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}' | '\u{200d}')
}

/// Go's `template.HTMLEscapeString`.
pub(super) fn html_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

/// Go's `template.JSEscapeString`.
pub(super) fn js_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' | '\0'..='\x1f' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            // What Go would not print shows by its number; quoting finds those.
            c if !c.is_ascii() && go_quote(c.encode_utf8(&mut [0; 4])).contains('\\') => {
                out.push_str(&format!("\\u{:04X}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// Go's `url.QueryEscape`.
pub(crate) fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Go's `url.QueryUnescape`.
pub(super) fn query_unescape(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '%' {
            let hex = rest.get(1..3).filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
            let byte = hex.and_then(|h| u8::from_str_radix(h, 16).ok()).ok_or_else(|| {
                let shown: String = rest.chars().take(3).collect();
                format!("invalid URL escape {}", go_quote(&shown))
            })?;
            bytes.push(byte);
            rest = rest.get(3..).unwrap_or("");
            continue;
        }
        if c == '+' {
            bytes.push(b' ');
        } else {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        rest = &rest[c.len_utf8()..];
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    // The second from amtool 0.25, the first as Go documents strings.Title.
    #[test]
    fn two_titles() {
        assert_eq!(
            strings_title("it's FOO foo_bar a.b éa 3com"),
            "It'S FOO Foo_bar A.B Éa 3com"
        );
        assert_eq!(
            words_title("it's FOO foo_bar a.b x1y 3com l:k hello-WORLD ÉCOLE"),
            "It's Foo Foo_bar A.b X1y 3Com L:k Hello-World École"
        );
    }

    #[test]
    fn escapes_are_those_of_go() {
        assert_eq!(
            js_escape("a'\"<>=&é\n\\"),
            "a\\'\\\"\\u003C\\u003E\\u003D\\u0026é\\u000A\\\\"
        );
        assert_eq!(query_escape("a b/c~*é"), "a+b%2Fc~%2A%C3%A9");
        assert_eq!(query_unescape("a+b%2Fc%C3%A9").unwrap(), "a b/cé");
        assert_eq!(query_unescape("a%zz").unwrap_err(), "invalid URL escape \"%zz\"");
        assert_eq!(to_upper("ßé"), "ßÉ");
    }
}
