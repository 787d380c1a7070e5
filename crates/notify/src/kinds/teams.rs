//! Microsoft Teams: connectors (message cards) and workflows (adaptive cards).

use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::{Message, go_json};
use crate::integration::SendError;
use crate::text::truncate_bytes;

// Of a message, as Microsoft documents it (28 KB).
const MAX_BYTES: usize = 28_000;

#[derive(Serialize)]
struct MessageCard {
    #[serde(rename = "@context")]
    context: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    title: String,
    summary: String,
    text: String,
    #[serde(rename = "themeColor")]
    theme_color: &'static str,
}

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    let text = message.field("text")?;
    let mut card = MessageCard {
        context: "http://schema.org/extensions",
        kind: "MessageCard",
        title: message.field("title")?,
        summary: message.field("summary")?,
        text: String::new(),
        theme_color: if message.notification.is_firing() {
            "8C1A1A"
        } else {
            "2DC72D"
        },
    };
    let body = within_limit(&text, |text| {
        card.text = text;
        go_json(&card)
    })?;
    post(message, body).await
}

// Teams refuses what is larger, so that of a large group nothing would ever be told. (Alertmanager has no limit here.)
fn within_limit(text: &str, mut body: impl FnMut(String) -> Result<Vec<u8>, SendError>) -> Result<Vec<u8>, SendError> {
    let mut room = text.len().min(MAX_BYTES);
    loop {
        let bytes = body(truncate_bytes(text, room))?;
        let over = bytes.len().saturating_sub(MAX_BYTES);
        if over == 0 || room == 0 {
            return Ok(bytes);
        }
        // A character may take up to six bytes of JSON, so it may be cut several times, by too little rather than too much.
        room = room.saturating_sub(over.div_ceil(6).max(64));
    }
}

async fn post(message: &Message<'_>, body: Vec<u8>) -> Result<(), SendError> {
    let url = message.secret("webhook_url")?;
    let response = message.request(Method::POST, &url, Some(body), &[]).await?;
    // A connector answers 200 also where what stands behind it did not take the message, and says so in words.
    let text = String::from_utf8_lossy(&response.body);
    let Some((_, code)) = text.split_once("endpoint returned HTTP error ") else {
        return Ok(());
    };
    let digits = code.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let status = StatusCode::from_bytes(digits.as_bytes()).unwrap_or(StatusCode::BAD_GATEWAY);
    Err(SendError::of_status(status, &response))
}

pub(super) async fn send_card(message: &Message<'_>) -> Result<(), SendError> {
    let color = if message.notification.is_firing() {
        "Attention"
    } else {
        "Good"
    };
    let (title, text) = (message.field("title")?, message.field("text")?);
    let card = |text: String| {
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.2",
                    "body": [
                        {
                            "type": "TextBlock",
                            "text": title,
                            "weight": "Bolder",
                            "size": "Medium",
                            "wrap": true,
                            "style": "heading",
                            "color": color,
                        },
                        { "type": "TextBlock", "text": text, "wrap": true },
                    ],
                    "msteams": { "width": "full" },
                },
            }],
        })
    };
    let body = within_limit(&text, |text| go_json(&card(text)))?;
    post(message, body).await
}
