//! Pushover: everything in the query of one request.

use std::collections::BTreeMap;

use cupola_model::query_escape;
use http::Method;

use super::Message;
use crate::integration::SendError;
use crate::text::truncate;

const URL: &str = "https://api.pushover.net/1/messages.json";
const MAX_TITLE: usize = 250;
const MAX_MESSAGE: usize = 1024;
const MAX_URL: usize = 512;

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    let query = query(message)?;
    message
        .request(Method::POST, &format!("{URL}?{query}"), None, &[])
        .await
        .map(drop)
}

// Sorted by name, as Go encodes a form.
fn query(message: &Message<'_>) -> Result<String, SendError> {
    let config = message.config;
    let text = match config.flag("html") {
        true => message
            .templates
            .render_html(config.text("message"), message.notification)?,
        false => message.field("message")?,
    };
    let text = truncate(text.trim(), MAX_MESSAGE);
    let mut form = BTreeMap::from([
        ("token", message.secret("token")?.trim().to_owned()),
        ("user", message.secret("user_key")?.trim().to_owned()),
        ("title", message.cut("title", MAX_TITLE)?),
        // Pushover refuses an empty one.
        (
            "message",
            if text.is_empty() {
                "(no details)".to_owned()
            } else {
                text
            },
        ),
        ("url", message.cut("url", MAX_URL)?),
        ("url_title", message.field("url_title")?),
        ("priority", message.field("priority")?),
        ("retry", seconds(config.text("retry"))),
        ("expire", seconds(config.text("expire"))),
        ("device", message.field("device")?),
        ("sound", message.field("sound")?),
    ]);
    if !config.text("ttl").is_empty() {
        form.insert("ttl", seconds(config.text("ttl")));
    }
    for flag in ["html", "monospace"] {
        if config.flag(flag) {
            form.insert(flag, "1".to_owned());
        }
    }
    let pairs = form
        .into_iter()
        .map(|(name, value)| format!("{name}={}", query_escape(&value)));
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

// Of a duration as Go writes them, which was checked when it was read.
fn seconds(text: &str) -> String {
    let duration = cupola_config::alertmanager::go_duration(text).unwrap_or_default();
    duration.as_secs().to_string()
}
