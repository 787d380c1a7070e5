//! A configuration as text for people, with secrets hidden.
//!
//! The text is written anew from the tree: comments, where old secrets like to stay, are gone, and a value is shown
//! only if no reader took it as a secret.

use crate::read::Reader;
use crate::yaml::{Node, Value, parse_bool, parse_float, parse_int};

pub(crate) const HIDDEN: &str = "<secret>";

/// The tree as YAML in block style; nodes that `reader` took as secrets show as `<secret>`.
pub(crate) fn show(root: &Node, reader: &Reader<'_>) -> String {
    let mut out = String::new();
    if !root.is_null() {
        write_node(&mut out, root, reader, 0, false);
    }
    out
}

// `is_inline`: the cursor stands behind `key:` or `-`, so that a scalar continues the line.
pub(crate) fn write_node(out: &mut String, node: &Node, reader: &Reader<'_>, indent: usize, is_inline: bool) {
    if reader.is_secret(node) {
        if is_inline {
            out.push(' ');
        }
        out.push_str(if node.is_null() { "\"\"" } else { HIDDEN });
        out.push('\n');
        return;
    }
    match &node.value {
        Value::Scalar(scalar) => {
            if is_inline && !node.is_null() {
                out.push(' ');
            }
            if !node.is_null() {
                write_scalar(out, &scalar.text, scalar.is_text);
            }
            out.push('\n');
        }
        Value::Seq(items) if items.is_empty() => out.push_str(if is_inline { " []\n" } else { "[]\n" }),
        Value::Map(entries) if entries.is_empty() => out.push_str(if is_inline { " {}\n" } else { "{}\n" }),
        Value::Seq(items) => {
            if is_inline {
                out.push('\n');
            }
            for item in items {
                push_indent(out, indent);
                out.push('-');
                match &item.value {
                    Value::Map(entries) if !entries.is_empty() && !reader.is_secret(item) => {
                        out.push(' ');
                        write_entries(out, item, reader, indent + 1, true);
                    }
                    _ => write_node(out, item, reader, indent + 1, true),
                }
            }
        }
        Value::Map(_) => {
            if is_inline {
                out.push('\n');
            }
            write_entries(out, node, reader, indent, false);
        }
    }
}

// `on_line`: the first key continues the line that `-` began.
fn write_entries(out: &mut String, node: &Node, reader: &Reader<'_>, indent: usize, on_line: bool) {
    let Value::Map(entries) = &node.value else { return };
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 || !on_line {
            push_indent(out, indent);
        }
        write_scalar(out, &entry.key, true);
        out.push(':');
        let is_list = matches!(&entry.value.value, Value::Seq(_));
        write_node(
            out,
            &entry.value,
            reader,
            if is_list { indent } else { indent + 1 },
            true,
        );
    }
}

pub(crate) fn push_indent(out: &mut String, indent: usize) {
    for _ in 0..indent {
        out.push_str("  ");
    }
}

pub(crate) fn write_scalar(out: &mut String, text: &str, is_text: bool) {
    // A text in quotes may look like something else; what was plain is plain again.
    let looks_like_another = || {
        matches!(text, "~" | "null" | "Null" | "NULL" | "<<")
            || parse_bool(text).is_some()
            || parse_int(text).is_some()
            || parse_float(text).is_some()
    };
    let is_plain = text.starts_with(|c: char| c.is_alphanumeric() || "/_.(+-".contains(c))
        && !text.starts_with("- ")
        && !text.starts_with("---")
        && !text.starts_with("...")
        && text != "-"
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && text
            .chars()
            .all(|c| !c.is_control() && c != '\u{feff}' && c != '\u{2028}' && c != '\u{2029}');
    if is_plain && !(is_text && looks_like_another()) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::yaml;

    fn shown(text: &str) -> String {
        let reader = Reader::new(Path::new("f.yml"));
        let document = reader.document(text);
        let root = document.root.unwrap();
        let section = reader.section(&root, "x");
        section.secret("password");
        show(&root, &reader)
    }

    fn same(a: &Node, b: &Node) -> bool {
        match (&a.value, &b.value) {
            (Value::Scalar(x), Value::Scalar(y)) => x.text == y.text || (a.is_null() && b.is_null()),
            (Value::Seq(x), Value::Seq(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
            (Value::Map(x), Value::Map(y)) => {
                x.len() == y.len() && x.iter().zip(y).all(|(x, y)| x.key == y.key && same(&x.value, &y.value))
            }
            _ => false,
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let out = shown(text);
        assert_eq!(out, expected, "{text}");
        let (before, after) = (
            yaml::parse(text).unwrap().root.unwrap(),
            yaml::parse(&out).unwrap().root.unwrap(),
        );
        assert!(text.contains("password") || same(&before, &after), "{out}");
    }

    #[test]
    fn a_tree_is_written_in_block_style() {
        check(
            "{a: 1, b: [x, {c: d, e: []}], f: {}, g: }",
            "a: 1\nb:\n- x\n- c: d\n  e: []\nf: {}\ng:\n",
        );
        check("a: {b: {c: d}}", "a:\n  b:\n    c: d\n");
        check("- - a\n  - b\n- c\n", "-\n  - a\n  - b\n- c\n");
        check(
            "a: 'yes'\nb: yes\nc: '1'\nd: ''\n",
            "a: \"yes\"\nb: yes\nc: \"1\"\nd: \"\"\n",
        );
        check(
            "a: |\n  x\n  y\nb: 'k: v'\nc: '# x'\n",
            "a: \"x\\ny\\n\"\nb: \"k: v\"\nc: \"# x\"\n",
        );
        check(
            "a: (.*)some-[regex]\nb: '*x'\nc: '{{ x }}'\n",
            "a: (.*)some-[regex]\nb: \"*x\"\nc: \"{{ x }}\"\n",
        );
    }

    #[test]
    fn secrets_and_comments_are_gone() {
        check(
            "# password: old\npassword: 'hunter2' # hunter2\nx: 1\n",
            "password: <secret>\nx: 1\n",
        );
        check("password: |\n  hunter2\n  more\n", "password: <secret>\n");
        check("password: &p hunter2\nx: *p\n", "password: <secret>\nx: <secret>\n");
    }
}
