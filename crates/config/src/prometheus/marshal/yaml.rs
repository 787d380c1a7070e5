//! YAML as Go's yaml.v2 writes it: block style, two spaces, lists beneath their key without a step of their own.

use crate::yaml::{parse_bool, parse_float, parse_int};

/// A value to be written.
pub(super) enum Yaml {
    /// A text, put into quotes where it must be.
    Text(String),
    /// Written as it is.
    Raw(String),
    Map(Map),
    List(Vec<Yaml>),
    /// A list of texts on one line.
    Flow(Vec<String>),
}

impl Yaml {
    pub(super) fn texts<T: AsRef<str>>(all: impl IntoIterator<Item = T>) -> Self {
        Self::List(
            all.into_iter()
                .map(|text| Self::Text(text.as_ref().to_owned()))
                .collect(),
        )
    }
}

/// Fields in their order.
#[derive(Default)]
pub(super) struct Map(Vec<(String, Yaml)>);

impl Map {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn put(&mut self, name: &str, value: Yaml) -> &mut Self {
        self.0.push((name.to_owned(), value));
        self
    }

    pub(super) fn raw(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.put(name, Yaml::Raw(value.to_string()))
    }

    pub(super) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.put(name, Yaml::Text(value.to_owned()))
    }

    /// Left out where it is empty: Go's `omitempty`, as the others below.
    pub(super) fn filled(&mut self, name: &str, value: &str) -> &mut Self {
        if value.is_empty() { self } else { self.text(name, value) }
    }

    pub(super) fn count(&mut self, name: &str, value: u64) -> &mut Self {
        if value == 0 { self } else { self.raw(name, value) }
    }

    pub(super) fn yes(&mut self, name: &str, value: bool) -> &mut Self {
        if value { self.raw(name, true) } else { self }
    }

    pub(super) fn list(&mut self, name: &str, all: Vec<Yaml>) -> &mut Self {
        if all.is_empty() {
            self
        } else {
            self.put(name, Yaml::List(all))
        }
    }

    pub(super) fn map(&mut self, name: &str, map: Self) -> &mut Self {
        if map.is_empty() {
            self
        } else {
            self.put(name, Yaml::Map(map))
        }
    }

    /// The fields of another one, as if they were its own.
    pub(super) fn inline(&mut self, map: Self) -> &mut Self {
        self.0.extend(map.0);
        self
    }

    /// The whole document.
    pub(super) fn document(&self) -> String {
        let mut out = String::new();
        write_map(&mut out, self, 0, false);
        out
    }
}

impl<'a> FromIterator<(&'a str, Yaml)> for Map {
    fn from_iter<I: IntoIterator<Item = (&'a str, Yaml)>>(all: I) -> Self {
        Self(all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

fn indentation(out: &mut String, depth: usize) {
    (0..depth).for_each(|_| out.push_str("  "));
}

// `continues`: the first field stands behind the dash of a list.
fn write_map(out: &mut String, map: &Map, depth: usize, continues: bool) {
    for (at, (name, value)) in map.0.iter().enumerate() {
        if at > 0 || !continues {
            indentation(out, depth);
        }
        out.push_str(&scalar(name));
        out.push(':');
        write_value(out, value, depth);
    }
}

// Behind a key whose line is `depth` steps in.
fn write_value(out: &mut String, value: &Yaml, depth: usize) {
    match value {
        Yaml::Raw(text) => out.push_str(&format!(" {text}\n")),
        Yaml::Text(text) => write_text(out, text, depth + 1),
        Yaml::Flow(all) => {
            let all: Vec<String> = all.iter().map(|text| flow_scalar(text)).collect();
            out.push_str(&format!(" [{}]\n", all.join(", ")));
        }
        Yaml::Map(map) if map.is_empty() => out.push_str(" {}\n"),
        Yaml::Map(map) => {
            out.push('\n');
            write_map(out, map, depth + 1, false);
        }
        Yaml::List(all) if all.is_empty() => out.push_str(" []\n"),
        Yaml::List(all) => {
            out.push('\n');
            for item in all {
                indentation(out, depth);
                out.push('-');
                match item {
                    Yaml::Map(map) if !map.is_empty() => {
                        out.push(' ');
                        write_map(out, map, depth + 1, true);
                    }
                    _ => write_value(out, item, depth),
                }
            }
        }
    }
}

fn write_text(out: &mut String, text: &str, depth: usize) {
    let is_printable = text.chars().all(|c| c == '\n' || is_printable(c));
    if !text.contains('\n') || !is_printable || text.starts_with([' ', '\n']) || text.trim().is_empty() {
        out.push_str(&format!(" {}\n", scalar(text)));
        return;
    }
    // Several lines stay several lines.
    let (body, mark) = match text.strip_suffix('\n') {
        None => (text, "|-"),
        Some(body) if body.ends_with('\n') => (text, "|+"),
        Some(body) => (body, "|"),
    };
    out.push_str(&format!(" {mark}\n"));
    for line in body.split('\n') {
        if !line.is_empty() {
            indentation(out, depth);
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{85}' | '\u{feff}' | '\u{2028}' | '\u{2029}')
}

// What a reader would not take for a text.
fn looks_like_another(text: &str) -> bool {
    let is_date = || {
        let mut parts = text.splitn(3, '-');
        let year = parts.next().unwrap_or_default();
        year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()) && parts.count() == 2
    };
    // Sexagesimal numbers of YAML 1.1.
    let is_base_60 = || {
        let mut parts = text.trim_start_matches(['-', '+']).split(':');
        let first = parts.next().unwrap_or_default();
        let mut rest = parts.peekable();
        first.starts_with(|c: char| c.is_ascii_digit())
            && first.bytes().all(|b| b.is_ascii_digit() || b == b'_')
            && rest.peek().is_some()
            && rest.all(|part| {
                let whole = part.split('.').next().unwrap_or_default();
                whole.parse::<u8>().is_ok_and(|number| number < 60)
            })
    };
    matches!(text, "" | "~" | "null" | "Null" | "NULL" | "<<" | "=")
        || parse_bool(text).is_some()
        || parse_int(text).is_some()
        || parse_float(text).is_some()
        || is_base_60()
        || is_date()
}

fn may_be_plain(text: &str, in_flow: bool) -> bool {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return false };
    let begins_well = match first {
        '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => false,
        '?' | ':' | '-' => !in_flow && chars.next().is_some_and(|next| next != ' '),
        _ => true,
    };
    let breaks_flow = in_flow && text.contains([',', '?', '[', ']', '{', '}', ':']);
    begins_well
        && !breaks_flow
        && text != "---"
        && !text.starts_with("--- ")
        && text != "..."
        && !text.starts_with("... ")
        && !text.starts_with(' ')
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
}

fn scalar(text: &str) -> String {
    quoted(text, may_be_plain(text, false))
}

fn flow_scalar(text: &str) -> String {
    quoted(text, may_be_plain(text, true))
}

fn quoted(text: &str, may_be_plain: bool) -> String {
    if looks_like_another(text) || !text.chars().all(is_printable) {
        return double_quoted(text);
    }
    match may_be_plain {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\0"),
            c if is_printable(c) => out.push(c),
            c if u32::from(c) <= 0xff => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_where_they_must_be() {
        for (text, written) in [
            ("a b", "a b"),
            ("$1", "$1"),
            ("(.*)", "(.*)"),
            (";", ";"),
            ("", "\"\""),
            ("y", "\"y\""),
            ("1", "\"1\""),
            ("1:30", "\"1:30\""),
            ("1.2.3.4:9093", "1.2.3.4:9093"),
            ("10:9093", "10:9093"),
            ("2001-01-01", "\"2001-01-01\""),
            ("b c: d", "'b c: d'"),
            ("it's: x", "'it''s: x'"),
            ("- a", "'- a'"),
            ("-a", "-a"),
            ("*", "'*'"),
            ("a #b", "'a #b'"),
            ("tab\t", "\"tab\\t\""),
            ("a:1", "a:1"),
        ] {
            assert_eq!(scalar(text), written, "{text:?}");
        }
        assert_eq!(flow_scalar("a:b"), "'a:b'");
        assert_eq!(flow_scalar("__meta"), "__meta");
    }
}
