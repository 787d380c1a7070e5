//! What a token server answers.

use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::Response;
use crate::proxy::percent_decode;

// So much of what a server says about an error is shown.
const SHOWN: usize = 200;

/// A token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fetched {
    /// What stands in `Authorization`: kind and token.
    pub value: String,
    /// Seconds; `None` where it does not expire.
    pub expires_in: Option<u64>,
}

/// Reads an answer: JSON, or the form that some servers send.
///
/// # Errors
/// The server's own words about an error, where it has some in the place for them; what else it sends is not shown, since
/// it may repeat what it was sent.
pub(super) fn read(response: &Response) -> Result<Fetched, String> {
    let content_type = response
        .headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let is_form = matches!(kind.as_str(), "application/x-www-form-urlencoded" | "text/plain");
    let is_ok = response.status.is_success();
    let fields = if is_form {
        of_form(&response.body)
    } else {
        of_json(&response.body)
    };
    let fields = match fields {
        Ok(fields) => fields,
        Err(_) if !is_ok => return Err(response.status.to_string()),
        Err(reason) => return Err(reason),
    };
    if !fields.error.is_empty() {
        let mut told = format!("{:?}", cut(&fields.error));
        if !fields.description.is_empty() {
            told.push_str(&format!(" {:?}", cut(&fields.description)));
        }
        return Err(told);
    }
    if !is_ok {
        return Err(response.status.to_string());
    }
    if fields.token.is_empty() {
        return Err("server response missing access_token".to_owned());
    }
    let kind = match fields.kind.to_ascii_lowercase().as_str() {
        "" | "bearer" => "Bearer",
        "mac" => "MAC",
        "basic" => "Basic",
        _ => &fields.kind,
    };
    Ok(Fetched {
        value: format!("{kind} {}", fields.token),
        expires_in: u64::try_from(fields.expires_in).ok().filter(|seconds| *seconds > 0),
    })
}

#[derive(Default)]
struct Fields {
    token: String,
    kind: String,
    expires_in: i64,
    error: String,
    description: String,
}

fn of_json(body: &[u8]) -> Result<Fields, String> {
    let json: Value = serde_json::from_slice(body).map_err(|_| "cannot parse json".to_owned())?;
    let text = |name: &str| match json.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("cannot parse json: {name} is no text")),
    };
    // Some servers write a number as text.
    let expires_in = match json.get("expires_in") {
        None | Some(Value::Null) => Some(0),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    Ok(Fields {
        token: text("access_token")?,
        kind: text("token_type")?,
        expires_in: expires_in.ok_or_else(|| "cannot parse json: expires_in is no number".to_owned())?,
        error: text("error")?,
        description: text("error_description")?,
    })
}

fn of_form(body: &[u8]) -> Result<Fields, String> {
    let text = std::str::from_utf8(body).map_err(|_| "cannot parse response".to_owned())?;
    let mut fields = Fields::default();
    for pair in text.trim().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode(&value.replace('+', " "));
        let value = String::from_utf8_lossy(&value).into_owned();
        match name {
            "access_token" => fields.token = value,
            "token_type" => fields.kind = value,
            "expires_in" => fields.expires_in = value.parse().unwrap_or(0),
            "error" => fields.error = value,
            "error_description" => fields.description = value,
            _ => {}
        }
    }
    Ok(fields)
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}
