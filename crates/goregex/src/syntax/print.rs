//! A tree in the words of the regex crate, without any flag set around it.

use std::fmt::Write as _;

use super::tree::{Assertion, Class, ClassItem, Node, Property};

/// Appends the expression for `node`. Groups come in their order and without names.
pub(crate) fn print(node: &Node, out: &mut String) {
    match node {
        Node::Empty => out.push_str("(?:)"),
        Node::Literal { c, fold } => match (char::from_u32(*c), fold) {
            // A surrogate is in no text.
            (None, _) => out.push_str(NOTHING),
            (Some(c), true) => {
                out.push_str("(?i:");
                character(c, out);
                out.push(')');
            }
            (Some(c), false) => character(c, out),
        },
        Node::Class(class) => print_class(class, out),
        Node::Any => out.push_str("(?s:.)"),
        Node::AnyButNewline => out.push_str("(?-s:.)"),
        Node::Assertion(assertion) => out.push_str(match assertion {
            Assertion::BeginText => r"\A",
            Assertion::EndText => r"\z",
            Assertion::BeginLine => "(?m:^)",
            Assertion::EndLine => "(?m:$)",
            Assertion::WordBoundary => r"(?-u:\b)",
            Assertion::NotWordBoundary => r"(?-u:\B)",
        }),
        Node::Capture(sub) => {
            out.push('(');
            print(sub, out);
            out.push(')');
        }
        Node::Repeat { min, max, greedy, sub } => {
            out.push_str("(?:");
            print(sub, out);
            out.push(')');
            match (min, max) {
                (0, None) => out.push('*'),
                (1, None) => out.push('+'),
                (0, Some(1)) => out.push('?'),
                (min, None) => write(out, format_args!("{{{min},}}")),
                (min, Some(max)) => write(out, format_args!("{{{min},{max}}}")),
            }
            if !greedy {
                out.push('?');
            }
        }
        Node::Concat(items) => {
            for item in items {
                // Only an alternation binds less.
                let grouped = matches!(item, Node::Alternate(_));
                out.push_str(if grouped { "(?:" } else { "" });
                print(item, out);
                out.push_str(if grouped { ")" } else { "" });
            }
        }
        Node::Alternate(branches) => {
            for (at, branch) in branches.iter().enumerate() {
                out.push_str(if at > 0 { "|" } else { "" });
                print(branch, out);
            }
        }
    }
}

const NOTHING: &str = "[a&&b]";

fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

fn character(c: char, out: &mut String) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        out.push(c);
    } else {
        write(out, format_args!("\\x{{{:X}}}", u32::from(c)));
    }
}

fn print_class(class: &Class, out: &mut String) {
    let mut items = String::new();
    for item in &class.items {
        print_item(item, &mut items);
    }
    match (items.is_empty(), class.negated) {
        (true, true) => out.push_str("(?s:.)"),
        (true, false) => out.push_str(NOTHING),
        (false, negated) => {
            out.push_str(if class.fold { "(?i:[" } else { "[" });
            out.push_str(if negated { "^" } else { "" });
            out.push_str(&items);
            out.push_str(if class.fold { "])" } else { "]" });
        }
    }
}

fn print_item(item: &ClassItem, out: &mut String) {
    match item {
        ClassItem::Range(low, high) => {
            // Surrogates are in no text; a range may reach over them.
            let low = char::from_u32(*low).unwrap_or('\u{e000}');
            let high = char::from_u32(*high).unwrap_or('\u{d7ff}');
            if low <= high {
                character(low, out);
                out.push('-');
                character(high, out);
            }
        }
        ClassItem::Perl(c) => out.push_str(match c {
            'd' => "0-9",
            'D' => "[^0-9]",
            's' => r"\t\n\x0C\r\x20",
            'S' => r"[^\t\n\x0C\r\x20]",
            'w' => "0-9A-Za-z_",
            _ => "[^0-9A-Za-z_]",
        }),
        ClassItem::Posix(name) => out.push_str(name),
        ClassItem::Unicode { property, negated } => {
            let p = if *negated { 'P' } else { 'p' };
            match property {
                Property::Any => write(out, format_args!("\\{p}{{any}}")),
                Property::Assigned => write(out, format_args!("\\{p}{{assigned}}")),
                Property::Ascii => write(out, format_args!("\\{p}{{ascii}}")),
                Property::Category(name) => write(out, format_args!("\\{p}{{gc={name}}}")),
                Property::Script(name) => write(out, format_args!("\\{p}{{sc={name}}}")),
                Property::Surrogate if *negated => out.push_str(r"\p{any}"),
                Property::Surrogate => {}
            }
        }
    }
}
