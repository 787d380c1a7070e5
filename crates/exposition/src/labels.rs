//! Label blocks: checking them while a line is scanned, and taking them apart later.

use std::borrow::Cow;

use crate::cursor::{Cursor, as_text, unescape};
use crate::error::Fault;

/// Names and values of a series, borrowed from the body where they hold no escape. Meant to be reused.
pub type LabelPairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// What one format allows in a label block and another does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    /// Text format: blanks anywhere, commas optional, values may span lines.
    Text,
    /// OpenMetrics: no blanks, a comma or `}` after each label.
    OpenMetrics,
    /// As OpenMetrics, but never with a metric name inside.
    Exemplar,
}

/// Steps over a label block whose `{` stands here. Returns whether the metric name is known afterwards: `has_name`,
/// or named within the braces.
#[inline]
pub(crate) fn skip_block(cur: &mut Cursor<'_>, block: Block, mut has_name: bool) -> Result<bool, Fault> {
    let blanks = |cur: &mut Cursor<'_>| {
        if block == Block::Text {
            cur.skip_blanks();
        }
    };
    cur.at += 1;
    loop {
        blanks(cur);
        if cur.eat(b'}') {
            return Ok(has_name);
        }
        let from = cur.at;
        let is_quoted = !cur.skip_label_name();
        if is_quoted {
            if !cur.skip_quoted(block == Block::Text) {
                return Err(Fault::expected("expected label name", cur.body, from));
            }
            cur.check_utf8(from, cur.at, "label name")?;
        }
        let to = cur.at;
        blanks(cur);
        if is_quoted && matches!(cur.peek(), Some(b',' | b'}')) {
            // A quoted text without a value is the metric name.
            if block == Block::Exemplar {
                return Err(Fault::expected("expected equal", cur.body, cur.at));
            }
            if has_name {
                return Err(Fault::new(from, "metric name already set"));
            }
            if to - from == 2 {
                return Err(Fault::new(from, "metric name is empty"));
            }
            has_name = true;
            cur.eat(b',');
            continue;
        }
        if !cur.eat(b'=') {
            return Err(Fault::expected("expected equal", cur.body, cur.at));
        }
        blanks(cur);
        let from = cur.at;
        if !cur.skip_quoted(block == Block::Text) {
            return Err(Fault::expected("expected label value", cur.body, from));
        }
        cur.check_utf8(from, cur.at, "label value")?;
        blanks(cur);
        // The text format does without commas between labels; nobody knows whether that was meant.
        if !cur.eat(b',') && block != Block::Text && cur.peek() != Some(b'}') {
            return Err(Fault::expected("expected comma or brace close", cur.body, cur.at));
        }
    }
}

/// Appends name and labels of a series, or the labels of an exemplar, that [`skip_block`] found to be well formed.
pub(crate) fn decode<'a>(raw: &'a [u8], out: &mut LabelPairs<'a>) {
    let mut cur = Cursor::new(raw);
    if cur.skip_metric_name() {
        out.push((Cow::Borrowed(cupola_model::METRIC_NAME), as_text(cur.slice(0, cur.at))));
    }
    cur.skip_blanks();
    if !cur.eat(b'{') {
        return;
    }
    loop {
        while matches!(cur.peek(), Some(b' ' | b'\t' | b',')) {
            cur.at += 1;
        }
        let from = cur.at;
        let name = if cur.skip_label_name() {
            as_text(cur.slice(from, cur.at))
        } else if cur.skip_quoted(true) {
            unescape(cur.slice(from + 1, cur.at - 1), true)
        } else {
            return;
        };
        cur.skip_blanks();
        if !cur.eat(b'=') {
            out.insert(0, (Cow::Borrowed(cupola_model::METRIC_NAME), name));
            continue;
        }
        cur.skip_blanks();
        let from = cur.at;
        if !cur.skip_quoted(true) {
            return;
        }
        out.push((name, unescape(cur.slice(from + 1, cur.at - 1), true)));
    }
}
