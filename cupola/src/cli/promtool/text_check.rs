//! What `promtool check metrics` is strict about and a scrape is not: it reads with another parser (`expfmt` of
//! Prometheus's common library) than the server does.

use std::collections::BTreeSet;

use cupola_model::go_quote;

/// The body with what only the strict parser takes put into a form that the scrape's parser takes, too: negative
/// timestamps and TYPE lines without a type are left out. Lines keep their numbers.
///
/// # Errors
/// The first mistake, as `line N: what`.
pub(super) fn checked(body: &[u8]) -> Result<Vec<u8>, String> {
    let mut known = Known::default();
    let mut out = Vec::with_capacity(body.len());
    for (at, line) in body.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let kept = known.line(line).map_err(|what| format!("line {}: {what}", at + 1))?;
        out.extend_from_slice(kept);
        out.push(b'\n');
    }
    Ok(out)
}

// What earlier lines said.
#[derive(Default)]
struct Known {
    helps: BTreeSet<Vec<u8>>,
    types: BTreeSet<Vec<u8>>,
    sampled: BTreeSet<Vec<u8>>,
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim_start(text: &[u8]) -> &[u8] {
    let begin = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    text.get(begin..).unwrap_or_default()
}

// The text up to the next blank, and what follows that.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = trim_start(text);
    let end = text.iter().position(is_blank).unwrap_or(text.len());
    text.split_at(end)
}

fn shown(text: &[u8]) -> String {
    go_quote(&String::from_utf8_lossy(text))
}

impl Known {
    // The part of the line that is to be read.
    fn line<'a>(&mut self, line: &'a [u8]) -> Result<&'a [u8], String> {
        let Some(text) = line.strip_suffix(b"\n") else {
            let is_empty = trim_start(line).is_empty();
            return if is_empty {
                Ok(&[])
            } else {
                Err("unexpected end of input stream".to_owned())
            };
        };
        let begun = trim_start(text);
        match begun.split_first() {
            None => Ok(text),
            Some((b'#', rest)) => self.comment(text, rest),
            Some(_) => self.sample(begun),
        }
    }

    fn comment<'a>(&mut self, text: &'a [u8], rest: &[u8]) -> Result<&'a [u8], String> {
        let (keyword, rest) = word(rest);
        let (name, rest) = word(rest);
        match keyword {
            b"HELP" if !name.is_empty() => {
                if !self.helps.insert(name.to_vec()) {
                    return Err(format!("second HELP line for metric name {}", shown(name)));
                }
                escapes(rest)?;
            }
            b"TYPE" if trim_start(rest).is_empty() => return Ok(&[]),
            b"TYPE" if self.sampled.contains(name) || !self.types.insert(name.to_vec()) => {
                let name = shown(name);
                return Err(format!(
                    "second TYPE line for metric name {name}, or TYPE reported after samples"
                ));
            }
            _ => {}
        }
        Ok(text)
    }

    fn sample<'a>(&mut self, line: &'a [u8]) -> Result<&'a [u8], String> {
        let name_end = line
            .iter()
            .position(|byte| *byte == b'{' || is_blank(byte))
            .unwrap_or(line.len());
        let (name, _) = line.split_at(name_end);
        if !self.sampled.contains(name) {
            self.sampled.insert(name.to_vec());
        }
        let braces = trim_start(line.get(name_end..).unwrap_or_default());
        let rest = match braces.strip_prefix(b"{") {
            Some(labels) => after_labels(labels)?,
            None => braces,
        };
        let (value, rest) = word(rest);
        if value.is_empty() || rest.is_empty() {
            return Ok(line);
        }
        let (time, behind) = word(rest);
        let is_time = std::str::from_utf8(time).is_ok_and(|time| time.parse::<i64>().is_ok());
        if !is_time {
            return Err(format!("expected integer as timestamp, got {}", shown(time)));
        }
        if !behind.is_empty() {
            return Err(format!("spurious string after timestamp: {}", shown(behind)));
        }
        Ok(line.get(..line.len() - rest.len()).unwrap_or(line))
    }
}

// What follows the closing brace. Texts in quotes end on their line, and know three escapes.
fn after_labels(labels: &[u8]) -> Result<&[u8], String> {
    let mut from = None;
    let mut is_escaped = false;
    for (at, byte) in labels.iter().enumerate() {
        match (from, byte) {
            (Some(_), b'\\' | b'n' | b'"') if is_escaped => is_escaped = false,
            (Some(_), other) if is_escaped => return Err(bad_escape(*other)),
            (Some(_), b'\\') => is_escaped = true,
            (Some(_), b'"') => from = None,
            (Some(_), _) => {}
            (None, b'"') => from = Some(at + 1),
            (None, b'}') => return Ok(labels.get(at + 1..).unwrap_or_default()),
            (None, _) => {}
        }
    }
    match from {
        Some(from) => Err(format!(
            "label value {} contains unescaped new-line",
            shown(labels.get(from..).unwrap_or_default())
        )),
        // The other parser says what is wrong.
        None => Ok(&[]),
    }
}

fn escapes(help: &[u8]) -> Result<(), String> {
    let mut is_escaped = false;
    for byte in help {
        match byte {
            b'\\' | b'n' | b'"' if is_escaped => is_escaped = false,
            other if is_escaped => return Err(bad_escape(*other)),
            other => is_escaped = *other == b'\\',
        }
    }
    Ok(())
}

fn bad_escape(byte: u8) -> String {
    format!("invalid escape sequence '\\{}'", char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_with_their_lines() {
        for (body, expected) in [
            ("a 1", "line 1: unexpected end of input stream"),
            ("a 1\nb 1 ", "line 2: unexpected end of input stream"),
            ("a 1 \n", "line 1: expected integer as timestamp, got \"\""),
            ("a 1 x\n", "line 1: expected integer as timestamp, got \"x\""),
            ("a 1 1 \n", "line 1: spurious string after timestamp: \" \""),
            (
                "# HELP a x\n# HELP a y\n",
                "line 2: second HELP line for metric name \"a\"",
            ),
            ("# HELP a \\x\n", "line 1: invalid escape sequence '\\x'"),
            ("a{b=\"\\x\"} 1\n", "line 1: invalid escape sequence '\\x'"),
            (
                "\na{b=\"c\n\"} 1\n",
                "line 2: label value \"c\" contains unescaped new-line",
            ),
            (
                "a 1\n# TYPE a gauge\n",
                "line 2: second TYPE line for metric name \"a\", or TYPE reported after samples",
            ),
            (
                "# TYPE a gauge\n# TYPE a gauge\n",
                "line 2: second TYPE line for metric name \"a\", or TYPE reported after samples",
            ),
        ] {
            assert_eq!(checked(body.as_bytes()), Err(expected.to_owned()), "{body}");
        }
    }

    #[test]
    fn what_is_in_order_stays_and_keeps_its_lines() {
        for (body, expected) in [
            ("", ""),
            ("  ", "\n"),
            ("a 1 -5\nb{c=\"}\\\"\"} 2\n", "a 1\nb{c=\"}\\\"\"} 2\n"),
            ("# TYPE a\n# foo\n\na 1\n", "\n# foo\n\na 1\n"),
            (
                "# HELP a \\\\ \\n\n# TYPE a gauge\n\ta 1\n",
                "# HELP a \\\\ \\n\n# TYPE a gauge\na 1\n",
            ),
            ("a{b=\n", "a{b=\n"),
        ] {
            let kept = checked(body.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(kept).unwrap(), expected, "{body}");
        }
    }
}
