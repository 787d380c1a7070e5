//! The Prometheus text format: 0.0.4, and 1.0 with names in quotes.
//!
//! What is allowed follows the reference server's parser, which is looser than the format's description: blanks and
//! tabs between any two tokens, blank lines, commas between labels left out, label values over several lines, a last
//! line without its line feed, `#` with anything behind it.

use crate::cursor::{Cursor, unescape};
use crate::error::{Fault, quote};
use crate::labels::{self, Block};
use crate::number::parse_value;
use crate::{Entry, MetricType, ParseError, SampleEntry, Series};

/// Pulls the entries out of a body in the text format. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Parser<'a> {
    cur: Cursor<'a>,
    kind: MetricType,
    failed: bool,
}

impl<'a> Parser<'a> {
    /// A parser of `body`. Costs one walk over it, which checks that it is UTF-8.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self::over(Cursor::new(body))
    }

    pub(crate) fn over(cur: Cursor<'a>) -> Self {
        Self {
            cur,
            kind: MetricType::Unknown,
            failed: false,
        }
    }

    fn entry(&mut self) -> Result<Option<Entry<'a>>, Fault> {
        loop {
            self.cur.skip_blanks();
            match self.cur.peek() {
                None => return Ok(None),
                Some(b'\n') => self.cur.at += 1,
                Some(b'#') => return self.comment().map(Some),
                Some(_) => return self.sample().map(Some),
            }
        }
    }

    fn sample(&mut self) -> Result<Entry<'a>, Fault> {
        let cur = &mut self.cur;
        let start = cur.at;
        let mut has_name = cur.skip_metric_name();
        let mut end = cur.at;
        cur.skip_blanks();
        if cur.peek() == Some(b'{') {
            has_name = labels::skip_block(cur, Block::Text, has_name)?;
            end = cur.at;
            cur.skip_blanks();
            if !has_name {
                return Err(Fault::new(start, "metric name not set"));
            }
        } else if !has_name {
            return Err(Fault::expected("expected a valid start token", cur.body, start));
        }
        self.after_series(start, end)
    }

    // What stands behind name and labels.
    fn after_series(&mut self, start: usize, end: usize) -> Result<Entry<'a>, Fault> {
        let cur = &mut self.cur;
        let series = Series {
            raw: cur.slice(start, end),
            kind: self.kind,
        };
        let from = cur.at;
        let rest = cur.rest();
        cur.at += rest
            .iter()
            .position(|b| matches!(b, b' ' | b'\t' | b'\n' | b'{'))
            .unwrap_or(rest.len());
        if cur.at == from {
            return Err(Fault::expected("expected value after metric", cur.body, from));
        }
        let value = parse_value(cur.slice(from, cur.at)).map_err(|message| Fault::new(from, message))?;

        cur.skip_blanks();
        let timestamp_ms = if matches!(cur.peek(), None | Some(b'\n')) {
            None
        } else {
            Some(Self::timestamp(cur)?)
        };
        cur.at += 1;
        Ok(Entry::Sample(SampleEntry {
            series,
            value,
            timestamp_ms,
            exemplar: None,
        }))
    }

    /// The sample whose series is known to stand between here and `end`, with one blank behind it.
    #[inline]
    pub(crate) fn known_sample(&mut self, end: usize) -> Result<Entry<'a>, ParseError> {
        let start = std::mem::replace(&mut self.cur.at, end + 1);
        let entry = self.after_series(start, end);
        entry.map_err(|fault| {
            self.failed = true;
            fault.place(self.cur.body)
        })
    }

    /// The place in the body.
    #[inline]
    pub(crate) fn cursor(&mut self) -> &mut Cursor<'a> {
        &mut self.cur
    }

    // Digits only: the reference server knows no sign here.
    fn timestamp(cur: &mut Cursor<'_>) -> Result<i64, Fault> {
        let from = cur.at;
        let mut ts = Some(0_i64);
        while let Some(digit @ b'0'..=b'9') = cur.peek() {
            ts = ts.and_then(|ts| ts.checked_mul(10)?.checked_add(i64::from(digit - b'0')));
            cur.at += 1;
        }
        if cur.at == from {
            return Err(Fault::expected("expected timestamp or new record", cur.body, from));
        }
        let digits_end = cur.at;
        cur.skip_blanks();
        if !matches!(cur.peek(), None | Some(b'\n')) {
            return Err(Fault::expected("expected next entry after timestamp", cur.body, cur.at));
        }
        ts.ok_or_else(|| {
            Fault::new(
                from,
                format!("timestamp {} out of range", quote(cur.slice(from, digits_end))),
            )
        })
    }

    fn comment(&mut self) -> Result<Entry<'a>, Fault> {
        let cur = &mut self.cur;
        let start = cur.at;
        cur.at += 1;
        let has_blank = matches!(cur.peek(), Some(b' ' | b'\t'));
        cur.skip_blanks();
        let word = cur.slice(cur.at, cur.at + 4);
        let is_keyword =
            has_blank && (word == b"HELP" || word == b"TYPE") && matches!(cur.body.get(cur.at + 4), Some(b' ' | b'\t'));
        if !is_keyword {
            cur.skip_line();
            let text = cur.slice(start, cur.at);
            cur.at += 1;
            return Ok(Entry::Comment(text));
        }
        let is_help = word == b"HELP";
        cur.at += 4;
        cur.skip_blanks();
        let name = cur.metadata_name(if is_help { "HELP" } else { "TYPE" })?;
        // One byte divides name and text, whatever it is.
        let from = cur.at + usize::from(!matches!(cur.peek(), None | Some(b'\n')));
        cur.skip_line();
        let text = cur.slice(from, cur.at);
        if is_help {
            cur.check_utf8(from, cur.at, "help text")?;
            cur.at += 1;
            return Ok(Entry::Help {
                name,
                text: unescape(text, false),
            });
        }
        let kind = MetricType::from_text(text)
            .ok_or_else(|| Fault::new(from, format!("invalid metric type {}", quote(text))))?;
        self.kind = kind;
        cur.at += 1;
        Ok(Entry::Type { name, kind })
    }
}

impl<'a> Iterator for Parser<'a> {
    type Item = Result<Entry<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.entry() {
            Ok(entry) => entry.map(Ok),
            Err(fault) => {
                self.failed = true;
                Some(Err(fault.place(self.cur.body)))
            }
        }
    }
}
