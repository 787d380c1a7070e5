//! From `Content-Type` to parser. Since Prometheus 3 a target that names no format fails unless a fallback is set.

use cupola_model::go_quote;
use thiserror::Error;

use crate::{Format, ScrapeProtocol};

/// The parser to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// What to parse the body as.
    pub format: Format,
    /// Why the fallback had to be taken, in Prometheus's words; worth a debug line.
    pub warning: Option<String>,
}

/// Why no parser fits, in Prometheus's words where it has some: they show on the targets page.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NegotiationError {
    /// No `Content-Type`, no fallback.
    #[error(
        "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
    )]
    Blank,
    /// A `Content-Type` that is none, no fallback.
    #[error("cannot parse Content-Type {} and no fallback_scrape_protocol for target\n{reason}", go_quote(.content_type))]
    Malformed {
        /// As received.
        content_type: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A media type that is no exposition format, no fallback.
    #[error(
        "received unsupported Content-Type {} and no fallback_scrape_protocol specified for target",
        go_quote(.content_type)
    )]
    Unsupported {
        /// As received.
        content_type: String,
    },
}

/// Picks the parser for a body that came with `content_type` (empty where the header is absent).
///
/// # Errors
/// [`NegotiationError`] where the type says nothing we can parse and `fallback` does not help. The scrape must fail.
pub fn negotiate(content_type: &str, fallback: Option<ScrapeProtocol>) -> Result<Negotiated, NegotiationError> {
    let received = || content_type.to_owned();
    let quoted = || go_quote(content_type);
    if content_type.is_empty() {
        let protocol = fallback.ok_or(NegotiationError::Blank)?;
        let warning = "non-compliant scrape target sending blank Content-Type".to_owned();
        return use_fallback(protocol, warning);
    }
    match media_type(content_type) {
        Err(reason) => {
            let malformed = || NegotiationError::Malformed {
                content_type: received(),
                reason: reason.to_owned(),
            };
            let protocol = fallback.ok_or_else(malformed)?;
            use_fallback(protocol, format!("could not parse received Content-Type {}", quoted()))
        }
        Ok(media_type) => match media_type.as_str() {
            "text/plain" => Ok(Negotiated {
                format: Format::Text,
                warning: None,
            }),
            "application/openmetrics-text" => Ok(Negotiated {
                format: Format::OpenMetrics,
                warning: None,
            }),
            "application/vnd.google.protobuf" => Ok(Negotiated {
                format: Format::Protobuf,
                warning: None,
            }),
            _ => {
                let unsupported = || NegotiationError::Unsupported {
                    content_type: received(),
                };
                let protocol = fallback.ok_or_else(unsupported)?;
                use_fallback(protocol, format!("received unsupported Content-Type {}", quoted()))
            }
        },
    }
}

fn use_fallback(protocol: ScrapeProtocol, why: String) -> Result<Negotiated, NegotiationError> {
    let media_type = protocol.media_type();
    let format = match protocol {
        ScrapeProtocol::PrometheusText0_0_4 | ScrapeProtocol::PrometheusText1_0_0 => Format::Text,
        ScrapeProtocol::OpenMetricsText0_0_1 | ScrapeProtocol::OpenMetricsText1_0_0 => Format::OpenMetrics,
        ScrapeProtocol::PrometheusProto => Format::Protobuf,
    };
    Ok(Negotiated {
        format,
        warning: Some(format!(
            "{why}, using fallback_scrape_protocol {}",
            go_quote(media_type)
        )),
    })
}

// The type in lower case, its parameters checked but not kept; the errors are Go's `mime` package's.
fn media_type(header: &str) -> Result<String, &'static str> {
    let (base, mut rest) = header.split_once(';').map_or((header, ""), |(base, rest)| (base, rest));
    let base = base.trim().to_ascii_lowercase();
    if base.is_empty() {
        return Err("mime: no media type");
    }
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
    match base.split_once('/') {
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => {}
        None if is_token(&base) => {}
        Some((kind, "")) if is_token(kind) => return Err("mime: expected token after slash"),
        Some((kind, subtype)) if is_token(kind) && subtype.bytes().next().is_some_and(is_token_byte) => {
            return Err("mime: unexpected content after media subtype");
        }
        _ => return Err("mime: expected slash after first token"),
    }
    let mut seen: Vec<String> = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return Ok(base);
        }
        let (name, after) = rest.split_once('=').ok_or("mime: invalid media parameter")?;
        let name = name.trim().to_ascii_lowercase();
        if !is_token(&name) {
            return Err("mime: invalid media parameter");
        }
        if seen.contains(&name) {
            return Err("mime: duplicate parameter name");
        }
        seen.push(name);
        let after = after.trim_start();
        rest = if let Some(quoted) = after.strip_prefix('"') {
            end_of_quoted(quoted).ok_or("mime: invalid media parameter")?
        } else {
            let end = after.bytes().position(|b| !is_token_byte(b)).unwrap_or(after.len());
            let (value, rest) = after.split_at(end);
            if value.is_empty() {
                return Err("mime: invalid media parameter");
            }
            rest
        };
        let next = rest.trim_start();
        if !next.is_empty() && !next.starts_with(';') {
            return Err("mime: invalid media parameter");
        }
    }
}

fn end_of_quoted(text: &str) -> Option<&str> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return text.get(at + 1..),
            _ => {}
        }
    }
    None
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_decides_whatever_its_parameters() {
        for (header, format) in [
            ("text/plain", Format::Text),
            ("text/plain; version=0.0.4; charset=utf-8", Format::Text),
            (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                Format::Protobuf,
            ),
            ("Text/Plain;charset=\"a;b\\\"c\" ; version=1.0.0;", Format::Text),
            (
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(
                negotiate(header, None),
                Ok(Negotiated { format, warning: None }),
                "{header}"
            );
        }
    }

    #[test]
    fn without_a_fallback_the_scrape_fails_and_says_why() {
        for (header, message) in [
            (
                "",
                "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for \
                 target",
            ),
            (
                "text/html",
                "received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol specified for target",
            ),
            (
                "text/plain; version",
                "cannot parse Content-Type \"text/plain; version\" and no fallback_scrape_protocol for target\nmime: \
                 invalid media parameter",
            ),
            (
                "text/plain;a=b;a=c",
                "cannot parse Content-Type \"text/plain;a=b;a=c\" and no fallback_scrape_protocol for target\nmime: \
                 duplicate parameter name",
            ),
            (
                "text//plain",
                "cannot parse Content-Type \"text//plain\" and no fallback_scrape_protocol for target\nmime: expected \
                 slash after first token",
            ),
        ] {
            assert_eq!(negotiate(header, None).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn the_fallback_helps_and_is_told() {
        let text = Some(ScrapeProtocol::PrometheusText0_0_4);
        for (header, warning) in [
            (
                "",
                "non-compliant scrape target sending blank Content-Type, using fallback_scrape_protocol \"text/plain\"",
            ),
            (
                "text/html",
                "received unsupported Content-Type \"text/html\", using fallback_scrape_protocol \"text/plain\"",
            ),
            (
                "text plain",
                "could not parse received Content-Type \"text plain\", using fallback_scrape_protocol \"text/plain\"",
            ),
        ] {
            let expected = Negotiated {
                format: Format::Text,
                warning: Some(warning.to_owned()),
            };
            assert_eq!(negotiate(header, text), Ok(expected), "{header}");
        }
        let openmetrics = negotiate("", Some(ScrapeProtocol::OpenMetricsText1_0_0)).unwrap();
        assert_eq!(openmetrics.format, Format::OpenMetrics);
    }
}
