//! `toJson`: values as Go's encoding/json writes them.

use super::MAX_TEXT;
use crate::value::Value;

/// The value as JSON.
///
/// # Errors
/// For NaN, infinities and functions, or where the text would be too long.
pub(crate) fn to_json(value: &Value) -> Result<String, String> {
    let mut out = String::new();
    write(value, &mut out, 0)?;
    Ok(out)
}

fn write(value: &Value, out: &mut String, depth: usize) -> Result<(), String> {
    if out.len() > MAX_TEXT || depth > 100 {
        return Err(format!("json: more than {MAX_TEXT} bytes of text"));
    }
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Uint(number) => out.push_str(&number.to_string()),
        Value::Float(number) if !number.is_finite() => {
            return Err(format!("json: unsupported value: {}", cupola_model::fmt_f64(*number)));
        }
        Value::Float(number) => out.push_str(&float(*number)),
        Value::Str(text) => string(text, out),
        Value::List(list) => {
            out.push('[');
            for (i, item) in list.items().iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out, depth + 1)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (i, (key, item)) in map.entries().iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                string(key, out);
                out.push(':');
                write(item, out, depth + 1)?;
            }
            out.push('}');
        }
        Value::Func(_) => return Err("json: unsupported type: func".to_owned()),
        Value::Object(object) => {
            if let Some(json) = object.json() {
                out.push_str(&json);
            } else if let Some(plain) = object.underlying() {
                write(&plain, out, depth + 1)?;
            } else {
                out.push('{');
                for (i, field) in object.fields().iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    string(field.json, out);
                    out.push(':');
                    write(&object.field(field.name).unwrap_or_default(), out, depth + 1)?;
                }
                out.push('}');
            }
        }
    }
    Ok(())
}

// As JavaScript writes numbers: an exponent below 1e-6 and from 1e21 on, without a leading zero.
fn float(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return cupola_model::fmt_f64(number);
    }
    let text = cupola_model::fmt_f64_e(number);
    match text.split_once("e-0") {
        Some((digits, exponent)) => format!("{digits}e-{exponent}"),
        None => text,
    }
}

/// Appends `text` in quotes; `<`, `>` and `&` are escaped, as Go does by default.
pub(crate) fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_json() {
        let value = Value::map([
            ("a", Value::list(vec![Value::Int(1), Value::Nil, Value::Bool(true)])),
            ("b", Value::from("<\"é\u{1}\n")),
            ("c", Value::Float(1e-9)),
            ("d", Value::Float(1.5)),
            ("e", Value::Float(1e21)),
        ]);
        assert_eq!(
            to_json(&value).unwrap(),
            "{\"a\":[1,null,true],\"b\":\"\\u003c\\\"é\\u0001\\n\",\"c\":1e-9,\"d\":1.5,\"e\":1e+21}"
        );
        assert!(to_json(&Value::Float(f64::NAN)).is_err());
    }
}
