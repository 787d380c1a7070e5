//! Microsoft Teams: connectors (message cards) and workflows (adaptive cards).

use serde::Serialize;
use serde_json::json;

use super::Message;
use crate::integration::SendError;

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
    let body = MessageCard {
        context: "http://schema.org/extensions",
        kind: "MessageCard",
        title: message.field("title")?,
        summary: message.field("summary")?,
        text: message.field("text")?,
        theme_color: if message.notification.is_firing() {
            "8C1A1A"
        } else {
            "2DC72D"
        },
    };
    message
        .post(&message.secret("webhook_url")?, &body, &[])
        .await
        .map(drop)
}

pub(super) async fn send_card(message: &Message<'_>) -> Result<(), SendError> {
    let color = if message.notification.is_firing() {
        "Attention"
    } else {
        "Good"
    };
    let body = json!({
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
                        "text": message.field("title")?,
                        "weight": "Bolder",
                        "size": "Medium",
                        "wrap": true,
                        "style": "heading",
                        "color": color,
                    },
                    { "type": "TextBlock", "text": message.field("text")?, "wrap": true },
                ],
                "msteams": { "width": "full" },
            },
        }],
    });
    message
        .post(&message.secret("webhook_url")?, &body, &[])
        .await
        .map(drop)
}
