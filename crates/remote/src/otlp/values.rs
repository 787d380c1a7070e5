//! Attributes of OpenTelemetry: keys with values of any kind, as text.

use std::fmt::Write as _;

use cupola_wire::{Fields, Value, WireError};

const KEY: u64 = 1;
const VALUE: u64 = 2;
const STRING: u64 = 1;
const BOOL: u64 = 2;
const INT: u64 = 3;
const DOUBLE: u64 = 4;
const LIST: u64 = 5;
const MAP: u64 = 6;
const BYTES: u64 = 7;

// What is nested deeper is shown as null.
const DEEPEST: usize = 16;

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads a `KeyValue`.
pub(super) fn attribute(message: &[u8]) -> Result<(String, String), WireError> {
    let (key, value) = parts(message)?;
    Ok((key, shown(value)?))
}

fn parts(message: &[u8]) -> Result<(String, &[u8]), WireError> {
    let (mut key, mut value) = (String::new(), &[][..]);
    for field in Fields(message) {
        match field? {
            (KEY, Value::Bytes(bytes)) => key = text(bytes),
            (VALUE, Value::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((key, value))
}

// A text as it is, everything else as JSON.
fn shown(message: &[u8]) -> Result<String, WireError> {
    for field in Fields(message) {
        match field? {
            (STRING, Value::Bytes(bytes)) => return Ok(text(bytes)),
            (BYTES, Value::Bytes(bytes)) => return Ok(base64(bytes)),
            _ => {}
        }
    }
    let mut out = String::new();
    json(message, DEEPEST, &mut out)?;
    // Nothing at all is an empty text.
    Ok(if out == "null" { String::new() } else { out })
}

fn json(message: &[u8], deeper: usize, out: &mut String) -> Result<(), WireError> {
    let mut found = None;
    for field in Fields(message) {
        found = Some(field?);
    }
    match found {
        Some((STRING, Value::Bytes(bytes))) => quote(&text(bytes), out),
        Some((BYTES, Value::Bytes(bytes))) => quote(&base64(bytes), out),
        Some((BOOL, Value::Varint(value))) => out.push_str(if value == 0 { "false" } else { "true" }),
        Some((INT, Value::Varint(value))) => {
            let _ = write!(out, "{}", value as i64);
        }
        Some((DOUBLE, Value::Fixed64(bits))) => out.push_str(&number(f64::from_bits(bits))),
        Some((LIST, Value::Bytes(list))) if deeper > 0 => {
            out.push('[');
            for field in Fields(list) {
                if let (1, Value::Bytes(value)) = field? {
                    separate(out, '[');
                    json(value, deeper - 1, out)?;
                }
            }
            out.push(']');
        }
        Some((MAP, Value::Bytes(map))) if deeper > 0 => {
            let mut all = Vec::new();
            for field in Fields(map) {
                if let (1, Value::Bytes(pair)) = field? {
                    all.push(parts(pair)?);
                }
            }
            all.sort();
            out.push('{');
            for (key, value) in all {
                separate(out, '{');
                quote(&key, out);
                out.push(':');
                json(value, deeper - 1, out)?;
            }
            out.push('}');
        }
        _ => out.push_str("null"),
    }
    Ok(())
}

fn separate(out: &mut String, begin: char) {
    // Directly behind the beginning nothing is to be separated; a nested list ends with a bracket.
    if !out.ends_with(begin) {
        out.push(',');
    }
}

// As Go's encoding/json.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    if text.contains("e-") {
        text
    } else {
        text.replace('e', "e+")
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\0'..='\x1f' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let digit = DIGITS.get((word >> (18 - 6 * i) & 63) as usize).copied();
            out.push(if i > three.len() {
                '='
            } else {
                char::from(digit.unwrap_or(b'='))
            });
        }
    }
    out
}

/// Bytes as hexadecimal digits; nothing where all are 0, as for an id that is not there.
pub(super) fn id(bytes: &[u8]) -> Option<String> {
    if bytes.iter().all(|byte| *byte == 0) {
        return None;
    }
    let mut out = String::with_capacity(bytes.len() * 2);
    bytes.iter().for_each(|byte| {
        let _ = write!(out, "{byte:02x}");
    });
    Some(out)
}

#[cfg(test)]
mod tests {
    use cupola_testkit::protobuf::field;

    use super::*;

    #[test]
    fn values_of_every_kind_are_shown_as_go_does() {
        let double = |value: f64| [&[4 << 3 | 1][..], &value.to_le_bytes()].concat();
        let list = field(5, &[field(1, &field(1, b"a<\n")), field(1, &[3 << 3, 7])].concat());
        let pair = |key: &[u8], value: &[u8]| field(1, &[field(1, key), field(2, value)].concat());
        let map = field(
            6,
            &[pair(b"z", &list), pair(b"b", &[2 << 3, 1]), pair(b"e", &[])].concat(),
        );
        for (value, expected) in [
            (field(1, b"x"), "x"),
            (vec![2 << 3, 1], "true"),
            (vec![2 << 3, 0], "false"),
            (vec![3 << 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], "-1"),
            (double(2.0), "2"),
            (double(1.5e300), "1.5e+300"),
            (double(1e-9), "1e-9"),
            (field(7, b"ab"), "YWI="),
            (field(7, b"abc"), "YWJj"),
            (list, r#"["a\u003c\n",7]"#),
            (map, r#"{"b":true,"e":null,"z":["a\u003c\n",7]}"#),
            (vec![], ""),
        ] {
            assert_eq!(shown(&value).as_deref(), Ok(expected));
        }
        let mut deep = field(1, b"x");
        for _ in 0..DEEPEST + 2 {
            deep = field(5, &field(1, &deep));
        }
        assert!(shown(&deep).unwrap().contains("[null]"));
        assert_eq!(id(&[0, 0]), None);
        assert_eq!(id(&[0x0a, 0xff]).as_deref(), Some("0aff"));
    }
}
