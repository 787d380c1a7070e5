//! Prometheus's answer envelope, written straight from what is at hand.

use std::fmt::Write as _;
use std::io;

use axum::body::Body;
use axum::response::Response;
use cupola_model::Labels;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};

use super::pack::{Coding, Packer};
use super::stream::{PIECE, Rest, Streamed};

/// A refusal in Prometheus's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub kind: ErrorKind,
    pub message: String,
}

/// Prometheus's `errorType`s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    BadData,
    Execution,
    Canceled,
    Timeout,
    Internal,
    NotFound,
    Unavailable,
}

impl ErrorKind {
    fn name(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // Go knows no 499; Prometheus sends it as nginx does.
            Self::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            // Prometheus gives what is switched off no status of its own.
            Self::Internal | Self::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

impl ApiError {
    pub(crate) fn bad_data(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::BadData,
            message: message.into(),
        }
    }

    /// A refusal that names the parameter at fault, as Prometheus words it.
    pub(crate) fn param(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {reason}"))
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Internal,
            message: message.into(),
        }
    }
}

/// An answer that is computed and not sent yet, so that it can be packed on the thread that computed it.
pub(crate) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
    // What comes behind `body`, where it is too much to have at hand.
    rest: Option<Rest>,
}

// An answer up to this size is sent in one piece.
const WHOLE: usize = 4 * PIECE;

// Below this a packed answer saves nothing that counts.
const WORTH_PACKING: usize = 1024;

impl Answer {
    /// JSON outside the envelope.
    pub(crate) fn json(body: String) -> Self {
        Self::of("application/json", body.into_bytes())
    }

    /// JSON that is written while it is sent, unless it is short. Sending ends at the deadline.
    pub(crate) fn json_in_pieces(mut rest: Rest) -> Self {
        let mut body = Vec::new();
        let goes_on = rest.pieces.write(&mut body, WHOLE);
        Self {
            rest: goes_on.then_some(rest),
            ..Self::of("application/json", body)
        }
    }

    /// Plain text.
    pub(crate) fn text(status: StatusCode, text: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: text.into(),
            rest: None,
        }
    }

    /// Any other content.
    pub(crate) fn of(content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body,
            rest: None,
        }
    }

    /// The same with another status.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The response; packed with `coding` where that is worth it. That computes, so it does not belong on a runtime
    /// thread.
    pub(crate) fn into_response(self, coding: Option<Coding>) -> Response {
        let (body, coding) = match self.rest {
            Some(rest) => {
                let (body, coding) = Streamed::new(self.body, rest, coding);
                (Body::new(body), coding)
            }
            None => match coding.filter(|_| self.body.len() > WORTH_PACKING) {
                // Where packing fails the plain body goes out.
                Some(coding) => match packed(coding, &self.body) {
                    Ok(packed) => (Body::from(packed), Some(coding)),
                    Err(_) => (Body::from(self.body), None),
                },
                None => (Body::from(self.body), None),
            },
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, coding.header());
        }
        response
    }
}

fn packed(coding: Coding, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut packer = Packer::new(coding, body.len() / 4)?;
    packer.write_all(body)?;
    packer.finish()
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        let mut body = String::from("{\"status\":\"error\",\"errorType\":\"");
        body.push_str(error.kind.name());
        body.push_str("\",\"error\":");
        write_str(&mut body, &error.message);
        body.push('}');
        Self::json(body).with_status(error.kind.status())
    }
}

/// An answer with `data`, which is JSON already.
pub(crate) fn success(data: &str) -> Answer {
    success_with(data, &[], &[])
}

/// An answer with `data`, which is JSON already, and what is to be said about it: at most ten warnings and ten infos.
pub(crate) fn success_with(data: &str, warnings: &[String], infos: &[String]) -> Answer {
    let mut body = String::with_capacity(data.len() + 64);
    body.push_str("{\"status\":\"success\",\"data\":");
    body.push_str(data);
    write_notes(&mut body, warnings, infos);
    body.push('}');
    Answer::json(body)
}

/// `,"warnings":[…],"infos":[…]`, what is empty left out.
pub(crate) fn write_notes(out: &mut String, warnings: &[String], infos: &[String]) {
    for (name, kind, texts) in [("warnings", "warning", warnings), ("infos", "info", infos)] {
        if texts.is_empty() {
            continue;
        }
        let (shown, more) = texts.split_at(texts.len().min(MOST_NOTES));
        let more = (!more.is_empty()).then(|| format!("{} more {kind} annotations omitted", more.len()));
        let _ = write!(out, ",\"{name}\":");
        write_list(out, shown.iter().chain(&more), |out, text| write_str(out, text));
    }
}

const MOST_NOTES: usize = 10;

/// `"text"` with JSON's escapes.
pub(crate) fn write_str(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(text.get(from..at).unwrap_or(""));
        if escaped.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escaped);
        }
        from = at + 1;
    }
    out.push_str(text.get(from..).unwrap_or(""));
    out.push('"');
}

/// `["a","b"]`.
pub(crate) fn write_strs<S: AsRef<str>>(out: &mut String, texts: &[S]) {
    write_list(out, texts, |out, text| write_str(out, text.as_ref()));
}

/// `[…]` with whatever `write` writes for each item.
pub(crate) fn write_list<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// `{"name":"value"}`.
pub(crate) fn write_labels(out: &mut String, labels: &Labels) {
    write_pairs(out, labels);
}

/// A finite number as JSON has it; 0 for what JSON has no number for.
pub(crate) fn write_number(out: &mut String, value: f64) {
    let _ = write!(out, "{}", if value.is_finite() { value } else { 0.0 });
}

/// `{"name":"value"}` of any pairs.
pub(crate) fn write_pairs<'a>(out: &mut String, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
    out.push('{');
    for (i, (name, value)) in pairs.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_str(out, name);
        out.push(':');
        write_str(out, value);
    }
    out.push('}');
}

/// RFC 3339 with milliseconds in UTC; Go's zero time where there is none.
pub(crate) fn write_time(out: &mut String, ms: Option<i64>) {
    match ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
        Some(time) => drop(write!(out, "\"{time:.3}\"")),
        None => out.push_str("\"0001-01-01T00:00:00Z\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let mut out = String::new();
        write_str(&mut out, "a\"b\\c\n\u{1}é");
        assert_eq!(out, r#""a\"b\\c\n\u0001é""#);
    }

    #[test]
    fn at_most_ten_warnings_are_told() {
        let texts: Vec<String> = (0..12).map(|n| format!("w{n}")).collect();
        let answer = String::from_utf8(success_with("1", &texts, &texts[..1]).body).unwrap();
        let warnings = r#""w0","w1","w2","w3","w4","w5","w6","w7","w8","w9","2 more warning annotations omitted""#;
        assert_eq!(
            answer,
            format!(r#"{{"status":"success","data":1,"warnings":[{warnings}],"infos":["w0"]}}"#)
        );
    }

    #[test]
    fn large_answers_are_packed_where_the_client_takes_it() {
        let packed = |size: usize, coding| {
            let response = Answer::json("x".repeat(size)).into_response(coding);
            response.headers().get(CONTENT_ENCODING).cloned()
        };
        for coding in [Coding::Zstd, Coding::Gzip, Coding::Deflate] {
            assert_eq!(packed(5000, Some(coding)), Some(coding.header()));
            assert_eq!(packed(500, Some(coding)), None);
        }
        assert_eq!(packed(5000, None), None);
    }

    #[test]
    fn refusals_have_kind_and_status() {
        for (kind, status) in [
            (ErrorKind::BadData, 400),
            (ErrorKind::Execution, 422),
            (ErrorKind::Canceled, 499),
            (ErrorKind::Timeout, 503),
            (ErrorKind::Internal, 500),
            (ErrorKind::NotFound, 404),
        ] {
            let answer = Answer::from(ApiError {
                kind,
                message: "a \"b\"".into(),
            });
            assert_eq!(answer.status.as_u16(), status);
            let text = format!(
                r#"{{"status":"error","errorType":"{}","error":"a \"b\""}}"#,
                kind.name()
            );
            assert_eq!(String::from_utf8(answer.body).unwrap(), text);
        }
    }

    #[test]
    fn instants_are_rfc3339() {
        let mut out = String::new();
        write_time(&mut out, Some(1500));
        write_time(&mut out, None);
        assert_eq!(out, "\"1970-01-01T00:00:01.500Z\"\"0001-01-01T00:00:00Z\"");
    }
}
