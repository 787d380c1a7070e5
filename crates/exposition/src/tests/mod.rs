//! The parsers against files and each other.

mod conformance;
mod errors;
mod grammar;
mod round_trip;

use crate::{Entry, Format, ParseError, Parser};

/// The entries up to the first error, and the error.
fn parse(format: Format, body: &[u8]) -> (Vec<Entry<'_>>, Option<ParseError>) {
    let mut entries = Vec::new();
    for entry in Parser::new(format, body) {
        match entry {
            Ok(entry) => entries.push(entry),
            Err(e) => return (entries, Some(e)),
        }
    }
    (entries, None)
}

/// One line an entry, as the tests write what they expect.
fn show(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Help { name, text } => format!("help {name} {text:?}"),
        Entry::Type { name, kind } => format!("type {name} {}", kind.name()),
        Entry::Unit { name, unit } => format!("unit {name} {unit}"),
        Entry::Comment(text) => format!("comment {:?}", String::from_utf8_lossy(text)),
        Entry::Sample(sample) => {
            let mut out = format!("{} = {}", sample.series.labels(), sample.value);
            if let Some(ts) = sample.timestamp_ms {
                out.push_str(&format!(" @{ts}"));
            }
            if let Some(exemplar) = sample.exemplar {
                out.push_str(&format!(" exemplar {} = {}", exemplar.labels(), exemplar.value));
                if let Some(ts) = exemplar.timestamp_ms {
                    out.push_str(&format!(" @{ts}"));
                }
            }
            out
        }
    }
}
