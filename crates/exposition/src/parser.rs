//! One parser for whatever format a target answered in.

use crate::cursor::Cursor;
use crate::{Entry, Format, ParseError, openmetrics, text};

/// The entries of a body in either format.
#[derive(Debug, Clone)]
pub enum Parser<'a> {
    /// The Prometheus text format.
    Text(text::Parser<'a>),
    /// OpenMetrics 1.0.
    OpenMetrics(openmetrics::Parser<'a>),
}

impl<'a> Parser<'a> {
    /// A parser of `body`, which is in `format`; for protobuf, the text that was made of it.
    #[must_use]
    pub fn new(format: Format, body: &'a [u8]) -> Self {
        match format {
            Format::Text => Self::Text(text::Parser::new(body)),
            Format::OpenMetrics | Format::Protobuf => {
                let parser = openmetrics::Parser::new(body);
                Self::OpenMetrics(parser.of_protobuf(format == Format::Protobuf))
            }
        }
    }

    /// As [`Parser::new`], without the check of the whole body.
    pub(crate) fn unchecked(format: Format, body: &'a [u8]) -> Self {
        match format {
            Format::Text => Self::Text(text::Parser::over(Cursor::unchecked(body))),
            Format::OpenMetrics | Format::Protobuf => {
                let parser = openmetrics::Parser::over(Cursor::unchecked(body));
                Self::OpenMetrics(parser.of_protobuf(format == Format::Protobuf))
            }
        }
    }

    #[inline]
    pub(crate) fn cursor(&mut self) -> &mut Cursor<'a> {
        match self {
            Self::Text(parser) => parser.cursor(),
            Self::OpenMetrics(parser) => parser.cursor(),
        }
    }

    /// The sample whose series stands between here and `end`, with one blank behind it.
    #[inline]
    pub(crate) fn known_sample(&mut self, end: usize) -> Result<Entry<'a>, ParseError> {
        match self {
            Self::Text(parser) => parser.known_sample(end),
            Self::OpenMetrics(parser) => parser.known_sample(end),
        }
    }
}

impl<'a> Iterator for Parser<'a> {
    type Item = Result<Entry<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Text(parser) => parser.next(),
            Self::OpenMetrics(parser) => parser.next(),
        }
    }
}
