//! OpenMetrics 1.0, as leniently as the reference server takes it.
//!
//! The syntax is strict (one blank between tokens, `# EOF` at the end), the meaning is not checked at all: families
//! may interleave, suffixes need not fit the type, buckets may come in any order. A parser that followed the standard
//! to the letter would lose targets.

use crate::cursor::{Cursor, as_text, unescape};
use crate::error::{Fault, quote};
use crate::labels::{self, Block};
use crate::number::parse_value;
use crate::protobuf::unit_stem;
use crate::{Entry, Exemplar, MetricType, ParseError, SampleEntry, Series};

const NO_EOF: &str = "data does not end with # EOF";

/// Pulls the entries out of a body in OpenMetrics. Ends after the first error; a missing `# EOF` is one.
#[derive(Debug, Clone)]
pub struct Parser<'a> {
    cur: Cursor<'a>,
    kind: MetricType,
    // Whether the text was made of protobuf.
    is_made: bool,
    done: bool,
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
            is_made: false,
            done: false,
        }
    }

    /// The same, for what was made of protobuf: its counters have their unit before `_total`.
    pub(crate) fn of_protobuf(self, is_made: bool) -> Self {
        Self { is_made, ..self }
    }

    fn entry(&mut self) -> Result<Option<Entry<'a>>, Fault> {
        match self.cur.peek() {
            None => Err(Fault::new(self.cur.at, NO_EOF)),
            Some(b'#') => self.metadata(),
            Some(_) => self.sample().map(Some),
        }
    }

    fn metadata(&mut self) -> Result<Option<Entry<'a>>, Fault> {
        let cur = &mut self.cur;
        let start = cur.at;
        let rest = cur.rest();
        if let Some(after) = rest.strip_prefix(b"# EOF") {
            let after = after.strip_prefix(b"\n").unwrap_or(after);
            if !after.is_empty() {
                return Err(Fault::new(cur.body.len() - after.len(), "unexpected data after # EOF"));
            }
            return Ok(None);
        }
        let keyword = match rest.get(..7) {
            Some(b"# HELP ") => "HELP",
            Some(b"# TYPE ") => "TYPE",
            Some(b"# UNIT ") => "UNIT",
            _ => {
                return Err(Fault::expected(
                    "expected HELP, TYPE, UNIT or EOF after #",
                    cur.body,
                    start,
                ));
            }
        };
        cur.at += 7;
        let name_from = cur.at;
        let name = cur.metadata_name(keyword)?;
        if !cur.eat(b' ') {
            return Err(Fault::expected(
                &format!("expected text in {keyword}"),
                cur.body,
                cur.at,
            ));
        }
        let from = cur.at;
        cur.skip_line();
        if cur.peek().is_none() {
            return Err(Fault::new(cur.at, NO_EOF));
        }
        let text = cur.slice(from, cur.at);
        cur.check_utf8(from, cur.at, "metadata text")?;
        cur.at += 1;
        Ok(Some(match keyword {
            "HELP" => Entry::Help {
                name,
                text: unescape(text, true),
            },
            "TYPE" => {
                let kind = MetricType::from_openmetrics(text)
                    .ok_or_else(|| Fault::new(from, format!("invalid metric type {}", quote(text))))?;
                self.kind = kind;
                Entry::Type { name, kind }
            }
            _ => {
                let unit = std::str::from_utf8(text).unwrap_or("");
                let stem: &str = match self.is_made {
                    true => unit_stem(&name, self.kind),
                    false => &name,
                };
                let has_suffix = stem.strip_suffix(unit).is_some_and(|front| front.ends_with('_'));
                if !unit.is_empty() && !has_suffix {
                    let message = format!("unit {} not a suffix of metric {}", quote(text), quote(name.as_bytes()));
                    return Err(Fault::new(name_from, message));
                }
                Entry::Unit { name, unit }
            }
        }))
    }

    fn sample(&mut self) -> Result<Entry<'a>, Fault> {
        let cur = &mut self.cur;
        let start = cur.at;
        let mut has_name = cur.skip_metric_name();
        if cur.peek() == Some(b'{') {
            has_name = labels::skip_block(cur, Block::OpenMetrics, has_name)?;
            if !has_name {
                return Err(Fault::new(start, "metric name not set"));
            }
        } else if !has_name {
            return Err(Fault::expected("expected a valid start token", cur.body, start));
        }
        self.after_series(start)
    }

    // What stands behind name and labels, which end here.
    fn after_series(&mut self, start: usize) -> Result<Entry<'a>, Fault> {
        let cur = &mut self.cur;
        let series = Series {
            raw: cur.slice(start, cur.at),
            kind: self.kind,
        };
        let value = Self::value(cur, "expected value after metric")?;

        let mut timestamp_ms = None;
        let mut exemplar = None;
        if cur.rest().starts_with(b" ") && !cur.rest().starts_with(b" # {") {
            timestamp_ms = Some(Self::timestamp(cur, "timestamp")?);
        }
        if cur.rest().starts_with(b" # {") {
            cur.at += 3;
            let from = cur.at;
            labels::skip_block(cur, Block::Exemplar, true)?;
            let raw = cur.slice(from, cur.at);
            let value = Self::value(cur, "expected value after exemplar labels")?;
            let has_time = cur.peek() == Some(b' ');
            let timestamp_ms = if has_time {
                Some(Self::timestamp(cur, "exemplar timestamp")?)
            } else {
                None
            };
            exemplar = Some(Exemplar {
                raw,
                value,
                timestamp_ms,
            });
        }
        match cur.peek() {
            Some(b'\n') => cur.at += 1,
            None => return Err(Fault::new(cur.at, NO_EOF)),
            Some(_) => {
                let expected = match (&exemplar, timestamp_ms) {
                    (Some(_), _) => "expected next entry after exemplar",
                    (None, Some(_)) => "expected next entry after timestamp",
                    (None, None) => "expected timestamp or # symbol",
                };
                return Err(Fault::expected(expected, cur.body, cur.at));
            }
        }
        Ok(Entry::Sample(SampleEntry {
            series,
            value,
            timestamp_ms,
            exemplar,
        }))
    }

    /// The sample whose series is known to stand between here and `end`, with one blank behind it.
    #[inline]
    pub(crate) fn known_sample(&mut self, end: usize) -> Result<Entry<'a>, ParseError> {
        let start = std::mem::replace(&mut self.cur.at, end);
        let entry = self.after_series(start);
        entry.map_err(|fault| {
            self.done = true;
            fault.place(self.cur.body)
        })
    }

    /// The place in the body.
    #[inline]
    pub(crate) fn cursor(&mut self) -> &mut Cursor<'a> {
        &mut self.cur
    }

    // A blank, then anything up to the next blank or line feed.
    fn token(cur: &mut Cursor<'a>, expected: &str) -> Result<(usize, &'a [u8]), Fault> {
        let blank = cur.at;
        let from = blank + 1;
        if cur.eat(b' ') {
            let rest = cur.rest();
            cur.at += rest
                .iter()
                .position(|b| matches!(b, b' ' | b'\n'))
                .unwrap_or(rest.len());
        }
        if cur.at <= from {
            return Err(Fault::expected(expected, cur.body, blank));
        }
        Ok((from, cur.slice(from, cur.at)))
    }

    fn value(cur: &mut Cursor<'a>, expected: &str) -> Result<f64, Fault> {
        let (at, text) = Self::token(cur, expected)?;
        parse_value(text).map_err(|message| Fault::new(at, message))
    }

    // Seconds with a fraction; kept as milliseconds.
    fn timestamp(cur: &mut Cursor<'a>, what: &str) -> Result<i64, Fault> {
        let (at, text) = Self::token(cur, "expected timestamp or # symbol")?;
        let seconds = parse_value(text).map_err(|message| Fault::new(at, message))?;
        if !seconds.is_finite() {
            return Err(Fault::new(at, format!("invalid {what} {}", as_text(text))));
        }
        Ok((seconds * 1000.0) as i64)
    }
}

impl<'a> Iterator for Parser<'a> {
    type Item = Result<Entry<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.entry() {
            Ok(Some(entry)) => Some(Ok(entry)),
            Ok(None) => {
                self.done = true;
                None
            }
            Err(fault) => {
                self.done = true;
                Some(Err(fault.place(self.cur.body)))
            }
        }
    }
}
