//! Mattermost: incoming webhooks.

use serde_json::{Map, Value, json};

use super::Message;
use super::chat::Field;
use crate::integration::SendError;
use crate::text::truncate;

const MAX_TEXT: usize = 16_383;
const OF_ATTACHMENT: [&str; 13] = [
    "fallback",
    "color",
    "pretext",
    "text",
    "author_name",
    "author_link",
    "author_icon",
    "title",
    "title_link",
    "thumb_url",
    "footer",
    "footer_icon",
    "image_url",
];

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    message
        .post(&message.secret("webhook_url")?, &body(message)?, &[])
        .await
        .map(drop)
}

fn body(message: &Message<'_>) -> Result<Value, SendError> {
    let config = message.config;
    let mut body = Map::new();
    let mut put = |name: &str, text: String| {
        if !text.is_empty() {
            body.insert(name.to_owned(), text.into());
        }
    };
    for name in ["channel", "username", "icon_url", "icon_emoji", "type"] {
        put(name, message.field(name)?);
    }
    put("text", truncate(&message.field("text")?, MAX_TEXT));
    let mut attachments = Vec::new();
    for item in config.items("attachments") {
        let mut attachment = Map::new();
        for name in OF_ATTACHMENT {
            let text = message.part(item, name)?;
            if !text.is_empty() {
                attachment.insert(name.to_owned(), text.into());
            }
        }
        attachments.push(Value::Object(attachment));
    }
    if attachments.is_empty() {
        // The fields of the integration itself make one.
        let mut attachment = Map::new();
        for name in OF_ATTACHMENT.into_iter().filter(|name| *name != "text") {
            let text = message.field(name)?;
            if !text.is_empty() {
                attachment.insert(name.to_owned(), text.into());
            }
        }
        let fields = Field::all(message)?;
        if !fields.is_empty() {
            attachment.insert("fields".to_owned(), json!(fields));
        }
        attachments.push(Value::Object(attachment));
    }
    body.insert("attachments".to_owned(), attachments.into());
    let card = message.field("card")?;
    if !card.is_empty() {
        body.insert("props".to_owned(), json!({ "card": card }));
    }
    let priority = message.field("priority")?;
    if !priority.is_empty() {
        let priority = json!({
            "priority": priority,
            "requested_ack": config.flag("requested_ack"),
            "persistent_notifications": config.flag("persistent_notifications"),
        });
        body.insert("priority".to_owned(), priority);
    }
    Ok(Value::Object(body))
}
