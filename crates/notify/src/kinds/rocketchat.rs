//! Rocket.Chat.

use http::header::HeaderName;
use serde::Serialize;

use super::chat::Field;
use super::{Message, is_empty, is_true};
use crate::integration::SendError;

#[derive(Serialize)]
struct Body {
    channel: String,
    #[serde(skip_serializing_if = "is_empty")]
    emoji: String,
    #[serde(skip_serializing_if = "is_empty")]
    avatar: String,
    attachments: [Attachment; 1],
}

#[derive(Serialize)]
struct Attachment {
    #[serde(skip_serializing_if = "is_empty")]
    title: String,
    #[serde(skip_serializing_if = "is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "is_empty")]
    text: String,
    #[serde(skip_serializing_if = "is_empty")]
    image_url: String,
    #[serde(skip_serializing_if = "is_empty")]
    thumb_url: String,
    #[serde(skip_serializing_if = "is_empty")]
    color: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
}

#[derive(Serialize)]
struct Action {
    #[serde(rename = "type")]
    kind: String,
    text: String,
    #[serde(skip_serializing_if = "is_empty")]
    url: String,
    #[serde(skip_serializing_if = "is_empty")]
    msg: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    msg_in_chat_window: bool,
}

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    let base = message.config.text("api_url").trim_end_matches('/');
    let headers = [
        (
            HeaderName::from_static("x-user-id"),
            message.secret("token_id")?.trim().to_owned(),
        ),
        (
            HeaderName::from_static("x-auth-token"),
            message.secret("token")?.trim().to_owned(),
        ),
    ];
    let response = message
        .post(&format!("{base}/api/v1/chat.postMessage"), &body(message)?, &headers)
        .await?;
    let answer: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    match answer.get("success").and_then(serde_json::Value::as_bool) {
        Some(false) => {
            let error = answer
                .get("error")
                .and_then(serde_json::Value::as_str)
                .unwrap_or("no reason given");
            Err(SendError::last(format!("Rocket.Chat refuses the message: {error}")))
        }
        _ => Ok(()),
    }
}

fn body(message: &Message<'_>) -> Result<Body, SendError> {
    let mut actions = Vec::new();
    for item in message.config.items("actions") {
        actions.push(Action {
            kind: message.part(item, "type")?,
            text: message.part(item, "text")?,
            url: message.part(item, "url")?,
            msg: message.part(item, "msg")?,
            msg_in_chat_window: item.get("msg_in_chat_window").is_some_and(|text| is_true(text)),
        });
    }
    Ok(Body {
        channel: message.field("channel")?,
        emoji: message.field("emoji")?,
        avatar: message.field("icon_url")?,
        attachments: [Attachment {
            title: message.field("title")?,
            title_link: message.field("title_link")?,
            text: message.field("text")?,
            image_url: message.field("image_url")?,
            thumb_url: message.field("thumb_url")?,
            color: message.field("color")?,
            fields: Field::all(message)?,
            actions,
        }],
    })
}
