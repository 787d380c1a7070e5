//! YAML text to a tree whose nodes know their place.
//!
//! A tree instead of serde's visitors, because configuration needs what they cannot give: every mistake in one run,
//! the place of each value, and Go's rules for what a plain scalar is (`v: 1.10` is the text "1.10" where a text is
//! wanted, `null` means "not given").
//!
//! *Invariant:* the only module that names the YAML library.

use std::collections::HashMap;
use std::rc::Rc;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

/// A place in the text: line and column in characters, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pos {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Pos {
    /// The beginning of a file, for what has no place of its own.
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

/// A value and its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) pos: Pos,
    pub(crate) value: Value,
    // How many nodes this one is when aliases are written out, and how deep it nests.
    size: usize,
    depth: usize,
}

/// The kinds of value.
#[derive(Debug)]
pub(crate) enum Value {
    /// A scalar.
    Scalar(Scalar),
    /// A list.
    Seq(Vec<Rc<Node>>),
    /// A map; each key once, merge keys (`<<`) already applied.
    Map(Vec<Entry>),
}

/// A scalar and how it was written.
#[derive(Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Whether quotes or a block make it a text whatever it looks like.
    pub(crate) is_text: bool,
    /// How many lines of the file it takes.
    pub(crate) lines: usize,
    /// Whether it is a literal block (`|`): its lines stand in the file as they are in the text, indented by as much
    /// as the first of them that is not empty, which is the node's place.
    pub(crate) is_literal: bool,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_pos: Pos,
    pub(crate) value: Rc<Node>,
}

impl Node {
    /// Whether this is `null`, `~`, or nothing.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(s) if !s.is_text && matches!(s.text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What Go's YAML library would call this in an error: "!!str `abc`", "!!map".
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Seq(_) => "!!seq".to_owned(),
            Value::Map(_) => "!!map".to_owned(),
            Value::Scalar(scalar) => {
                let kind = if self.is_null() {
                    "!!null"
                } else if scalar.is_text {
                    "!!str"
                } else if parse_bool(&scalar.text).is_some() {
                    "!!bool"
                } else if parse_int(&scalar.text).is_some() {
                    "!!int"
                } else if parse_float(&scalar.text).is_some() {
                    "!!float"
                } else {
                    "!!str"
                };
                let mut chars = scalar.text.chars();
                let shown: String = chars.by_ref().take(10).collect();
                if chars.next().is_none() {
                    format!("{kind} `{shown}`")
                } else {
                    format!("{kind} `{shown}...`")
                }
            }
        }
    }
}

/// The words YAML 1.1 has for truth.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Integers of YAML 1.1: decimal, `0x`, `0b`, octal as `0o17` or `017`, `_` between digits.
pub(crate) fn parse_int(text: &str) -> Option<i128> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number = if let Some(hex) = digits.strip_prefix("0x") {
        i128::from_str_radix(hex, 16).ok()?
    } else if let Some(binary) = digits.strip_prefix("0b") {
        i128::from_str_radix(binary, 2).ok()?
    } else if let Some(octal) = digits.strip_prefix("0o") {
        i128::from_str_radix(octal, 8).ok()?
    } else {
        match digits.strip_prefix('0').filter(|rest| !rest.is_empty()) {
            Some(octal) => i128::from_str_radix(octal, 8).ok()?,
            None => digits.parse().ok()?,
        }
    };
    Some(if negative { -number } else { number })
}

/// Floats of YAML 1.1, `.inf` and `.nan` included.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    let plain = text.replace('_', "");
    let starts = plain.trim_start_matches(['-', '+']);
    if !starts.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    plain.parse().ok()
}

/// A problem at a place.
pub(crate) type Problem = (Pos, String);

/// The first document of a text.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// `None` where the text has no content.
    pub(crate) root: Option<Rc<Node>>,
    /// Keys given twice and the like; the tree is usable all the same.
    pub(crate) problems: Vec<Problem>,
    /// Where a second document starts. Go reads the first and ignores the rest.
    pub(crate) second: Option<Pos>,
}

// An alias stands for all it names; a few lines can so stand for millions of nodes.
const MAX_SIZE: usize = 4_000_000;
// The library bounds nesting in the text, aliases nest without bound.
const MAX_DEPTH: usize = 600;

/// Reads the first document of `source`.
///
/// # Errors
/// What the text breaks of YAML's grammar; reading ends there.
pub(crate) fn parse(source: &str) -> Result<Document, Problem> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    // As libyaml, and so Go: a block at the end of a file has a newline only where the file has one.
    options.block_scalar_eof_without_line_feed = true;
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(source, options) {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            (
                Pos {
                    line: mark.line(),
                    column: mark.col() + 1,
                },
                format!("yaml: {}", error.info()),
            )
        })?;
        let pos = pos(&span);
        match event {
            Event::DocumentStart(..) if builder.is_done => {
                builder.document.second = Some(pos);
                break;
            }
            Event::DocumentEnd => builder.is_done = true,
            Event::Alias(anchor) => {
                let node = builder.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| (pos, "yaml: an anchor must not contain itself".to_owned()))?;
                builder.add(node, 0)?;
            }
            Event::UnresolvedAlias(name) => return Err((pos, format!("yaml: unknown anchor '{name}' referenced"))),
            Event::Scalar(text, style, anchor, tag) => {
                let node = builder.scalar(&span, text.into_owned(), style, tag.as_deref());
                builder.add(node, anchor)?;
            }
            Event::SequenceStart(_, anchor, _) => builder.open.push(Open::Seq {
                pos,
                anchor,
                items: Vec::new(),
            }),
            Event::MappingStart(_, anchor, _) => {
                builder.open.push(Open::Map {
                    pos,
                    anchor,
                    entries: Vec::new(),
                    key: None,
                    seen: HashMap::new(),
                });
            }
            Event::SequenceEnd | Event::MappingEnd => builder.close()?,
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::Anchor(..) => {}
            _ => {}
        }
    }
    Ok(builder.document)
}

fn pos(span: &Span) -> Pos {
    Pos {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

#[derive(Default)]
struct Builder {
    document: Document,
    is_done: bool,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
}

enum Open {
    Seq {
        pos: Pos,
        anchor: usize,
        items: Vec<Rc<Node>>,
    },
    Map {
        pos: Pos,
        anchor: usize,
        entries: Vec<Entry>,
        key: Option<Rc<Node>>,
        seen: HashMap<String, usize>,
    },
}

impl Builder {
    fn scalar(&mut self, span: &Span, text: String, style: ScalarStyle, tag: Option<&Tag>) -> Rc<Node> {
        let pos = pos(span);
        let mut scalar = Scalar {
            text,
            is_text: style != ScalarStyle::Plain,
            is_literal: style == ScalarStyle::Literal,
            lines: 1 + span.end.line().saturating_sub(span.start.line()),
        };
        match tag.map(|tag| (tag.handle(), tag.suffix())) {
            Some(("tag:yaml.org,2002:", "str") | ("!", "")) => scalar.is_text = true,
            Some(("tag:yaml.org,2002:", "binary")) => {
                scalar.is_text = true;
                match decode_base64(&scalar.text).map(String::from_utf8) {
                    Some(Ok(decoded)) => scalar.text = decoded,
                    Some(Err(_)) => self
                        .document
                        .problems
                        .push((pos, "!!binary value is not valid UTF-8".to_owned())),
                    None => {
                        self.document
                            .problems
                            .push((pos, "!!binary value contains invalid base64 data".to_owned()));
                    }
                }
            }
            _ => {}
        }
        Rc::new(Node {
            pos,
            value: Value::Scalar(scalar),
            size: 1,
            depth: 1,
        })
    }

    fn add(&mut self, node: Rc<Node>, anchor: usize) -> Result<(), Problem> {
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        match self.open.last_mut() {
            None => self.document.root = Some(node),
            Some(Open::Seq { items, .. }) => items.push(node),
            Some(Open::Map { key: key @ None, .. }) => *key = Some(node),
            Some(Open::Map { entries, key, seen, .. }) => {
                let Some(key) = key.take() else { return Ok(()) };
                let key_pos = key.pos;
                let Value::Scalar(scalar) = &key.value else {
                    return Err((key_pos, "yaml: a mapping key must be a scalar".to_owned()));
                };
                if scalar.text == "<<" && !scalar.is_text {
                    // Kept apart until the map is complete: own keys win over merged ones wherever they stand.
                    entries.push(Entry {
                        key: MERGE.to_owned(),
                        key_pos,
                        value: node,
                    });
                    return Ok(());
                }
                let key = scalar.text.clone();
                if let Some(line) = seen.get(&key) {
                    let message = format!(
                        "mapping key {} already defined at line {line}",
                        cupola_model::go_quote(&key)
                    );
                    self.document.problems.push((key_pos, message));
                } else {
                    seen.insert(key.clone(), key_pos.line);
                    entries.push(Entry {
                        key,
                        key_pos,
                        value: node,
                    });
                }
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let (pos, anchor, value) = match self.open.pop() {
            None => return Ok(()),
            Some(Open::Seq { pos, anchor, items }) => (pos, anchor, Value::Seq(items)),
            Some(Open::Map {
                pos, anchor, entries, ..
            }) => (pos, anchor, Value::Map(merge(entries)?)),
        };
        let (mut size, mut depth) = (1_usize, 0);
        let mut count = |node: &Node| {
            size = size.saturating_add(node.size);
            depth = depth.max(node.depth);
        };
        match &value {
            Value::Seq(items) => items.iter().for_each(|node| count(node)),
            Value::Map(entries) => entries.iter().for_each(|entry| count(&entry.value)),
            Value::Scalar(_) => {}
        }
        if size > MAX_SIZE {
            return Err((pos, "yaml: document contains excessive aliasing".to_owned()));
        }
        if depth >= MAX_DEPTH {
            return Err((pos, format!("yaml: nested deeper than {MAX_DEPTH} levels")));
        }
        self.add(
            Rc::new(Node {
                pos,
                value,
                size,
                depth: depth + 1,
            }),
            anchor,
        )
    }
}

// No text of a document can hold this as a key: NUL is refused by the library.
const MERGE: &str = "\0<<";

fn merge(entries: Vec<Entry>) -> Result<Vec<Entry>, Problem> {
    if entries.iter().all(|entry| entry.key != MERGE) {
        return Ok(entries);
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.key == MERGE);
    for merge in merges {
        let refuse = || {
            (
                merge.key_pos,
                "yaml: map merge requires map or sequence of maps as the value".to_owned(),
            )
        };
        let sources: Vec<&Rc<Node>> = match &merge.value.value {
            Value::Map(_) => vec![&merge.value],
            Value::Seq(items) => items.iter().collect(),
            Value::Scalar(_) => return Err(refuse()),
        };
        for source in sources {
            let Value::Map(entries) = &source.value else {
                return Err(refuse());
            };
            for entry in entries {
                if own.iter().all(|e| e.key != entry.key) {
                    own.push(entry.clone());
                }
            }
        }
    }
    Ok(own)
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count, mut padding) = (0_u32, 0, 0);
    for byte in text.bytes().filter(|b| !b.is_ascii_whitespace()) {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        bits = bits << 6 | u32::from(digit);
        count += 1;
        if count % 4 == 0 {
            out.extend_from_slice(bits.to_be_bytes().get(1..)?);
            bits = 0;
        }
    }
    match (count % 4, padding) {
        (0, 0) => {}
        (2, 2) => out.push((bits >> 4) as u8),
        (3, 1) => out.extend_from_slice(&[(bits >> 10) as u8, (bits >> 2) as u8]),
        _ => return None,
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Scalar(s) if s.is_text => format!("{:?}", s.text),
            Value::Scalar(s) => s.text.clone(),
            Value::Seq(items) => format!("[{}]", items.iter().map(|n| show(n)).collect::<Vec<_>>().join(", ")),
            Value::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|e| format!("{}: {}", e.key, show(&e.value)))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    #[track_caller]
    fn check(text: &str, shown: &str) {
        let document = parse(text).unwrap();
        assert_eq!(document.problems, [], "{text}");
        assert_eq!(document.root.map_or(String::new(), |root| show(&root)), shown, "{text}");
    }

    #[test]
    fn scalars_keep_their_text() {
        check("a: 1.10\nb: '1'\nc: yes\nd:\n", "{a: 1.10, b: \"1\", c: yes, d: ~}");
        check("a: !!str 1\nb: !!binary aGVq\n", "{a: \"1\", b: \"hej\"}");
        check("", "");
        check("# only a comment\n", "");
        check("\u{feff}a: 1\r\nb: 2\r\n", "{a: 1, b: 2}");
    }

    #[test]
    fn a_block_at_the_end_of_a_file_ends_as_the_file_does() {
        check("a: |\n  text", "{a: \"text\"}");
        check("a: |\n  text\n", "{a: \"text\\n\"}");
    }

    #[test]
    fn aliases_and_merge_keys_are_written_out() {
        check("a: &x {k: 1, l: 2}\nb: *x\n", "{a: {k: 1, l: 2}, b: {k: 1, l: 2}}");
        check(
            "a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\n",
            "{a: {k: 1, l: 2}, b: {k: 3, l: 2}}",
        );
        check(
            "- &x {k: 1}\n- &y {k: 2, l: 3}\n- <<: [*x, *y]\n",
            "[{k: 1}, {k: 2, l: 3}, {k: 1, l: 3}]",
        );
    }

    #[test]
    fn keys_given_twice_are_problems_with_a_place() {
        let document = parse("a: 1\nb: 2\na: 3\n").unwrap();
        assert_eq!(
            document.problems,
            [(
                Pos { line: 3, column: 1 },
                "mapping key \"a\" already defined at line 1".to_owned()
            )]
        );
    }

    #[test]
    fn broken_text_names_its_place() {
        let (pos, message) = parse("a: [1, 2\nb: 3\n").unwrap_err();
        assert_eq!(pos.line, 2, "{message}");
        assert!(message.starts_with("yaml: "), "{message}");
        assert!(parse("a: *x\n").is_err());
        assert!(parse("a: &x [*x]\n").is_err());
        assert!(parse("{a: {<<: 1}}").is_err());
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let list = vec![format!("*a{}", i - 1); 10].join(", ");
            text.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        assert!(parse(&text).unwrap_err().1.contains("excessive aliasing"));
        let mut text = "a0: &a0 [x]\n".to_owned();
        for i in 1..5000 {
            text.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
        }
        assert!(parse(&text).unwrap_err().1.contains("nested deeper"));
    }

    #[test]
    fn a_second_document_is_seen() {
        let document = parse("a: 1\n---\nb: 2\n").unwrap();
        assert_eq!(document.second.map(|pos| pos.line), Some(2));
        assert!(parse("---\na: 1\n...\n").unwrap().second.is_none());
    }

    #[test]
    fn numbers_follow_yaml_1_1() {
        for (text, number) in [
            ("0440", 288),
            ("0o17", 15),
            ("0x1f", 31),
            ("0b11", 3),
            ("1_000", 1000),
            ("-5", -5),
            ("0", 0),
        ] {
            assert_eq!(parse_int(text), Some(number), "{text}");
        }
        for text in ["", "x", "1.5", "09", "-", "+-1", "0x"] {
            assert_eq!(parse_int(text), None, "{text}");
        }
        assert_eq!(parse_float("1.5"), Some(1.5));
        assert_eq!(parse_float("inf"), None);
    }

    #[test]
    fn base64_is_strict() {
        assert_eq!(decode_base64("aGVqIQ=="), Some(b"hej!".to_vec()));
        assert_eq!(decode_base64("/w=="), Some(vec![0xff]));
        assert_eq!(decode_base64("/w==$1"), None);
    }
}
