//! Texts in URLs.

use std::fmt::Write as _;

/// As Go's `url.QueryEscape`: all but letters, digits and `-_.~` as `%XX`, a space as `+`.
#[must_use]
pub fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            // Writing to a String cannot fail.
            other => drop(write!(out, "%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_go() {
        assert_eq!(query_escape("a b+c/é{x=\"1\"}~"), "a+b%2Bc%2F%C3%A9%7Bx%3D%221%22%7D~");
    }
}
