//! What Alertmanager answers where it does not do what was asked.

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::api::json::{Answer, write_str};

/// A refusal in one of Alertmanager's two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A handler refuses: its words as a JSON string.
    Text(StatusCode, String),
    /// The request is not what the description of the API says.
    Schema {
        /// What is wrong; below 600 also the HTTP status.
        code: u16,
        /// The same in words.
        message: String,
    },
}

impl Refusal {
    pub(super) fn schema(code: u16, message: impl Into<String>) -> Self {
        Self::Schema {
            code,
            message: message.into(),
        }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::Text(StatusCode::BAD_REQUEST, message.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut out = String::new();
        let status = match self {
            Self::Text(status, text) => {
                write_str(&mut out, &text);
                out.push('\n');
                status
            }
            Self::Schema { code, message } => {
                out = format!("{{\"code\":{code},\"message\":");
                write_str(&mut out, &message);
                out.push('}');
                let status = if code < 600 { code } else { 422 };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        };
        Answer::json(out).with_status(status).into_response(None)
    }
}
