//! JSON values as YAML in block style. Texts are quoted as JSON has them, which YAML reads alike.

use serde_json::Value;

/// `value` as a document.
pub(super) fn write(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

// Writes `value` on lines of its own, indented by `depth`.
fn block(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) => {
            for (i, (name, value)) in fields.iter().enumerate() {
                // The first one stands behind what its parent has begun its line with.
                if i > 0 {
                    indent(out, depth);
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                child(out, value, depth, false);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    indent(out, depth);
                }
                out.push('-');
                child(out, item, depth, true);
            }
        }
        scalar => out.push_str(&format!("{scalar}\n")),
    }
}

fn child(out: &mut String, value: &Value, depth: usize, is_item: bool) {
    let is_block = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if !is_block {
        out.push_str(&format!(" {value}\n"));
    } else if is_item {
        out.push(' ');
        block(out, value, depth + 1);
    } else {
        out.push('\n');
        indent(out, depth + 1);
        block(out, value, depth + 1);
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}
