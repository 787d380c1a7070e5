//! What chats have in common, and Webex, which has little else.

use serde::Serialize;

use super::{Message, is_true};
use crate::integration::SendError;
use crate::text::truncate_bytes;

/// A short text with its heading.
#[derive(Serialize)]
pub(super) struct Field {
    title: String,
    value: String,
    short: bool,
}

impl Field {
    pub(super) fn all(message: &Message<'_>) -> Result<Vec<Self>, SendError> {
        let mut fields = Vec::new();
        for item in message.config.items("fields") {
            fields.push(Self {
                title: message.part(item, "title")?,
                value: message.part(item, "value")?,
                short: item
                    .get("short")
                    .map_or_else(|| message.config.flag("short_fields"), |text| is_true(text)),
            });
        }
        Ok(fields)
    }
}

// Webex refuses more; what it adds in HTML is taken off (Alertmanager's figure).
const MAX_WEBEX_BYTES: usize = 7439;

#[derive(Serialize)]
struct Webex {
    markdown: String,
    #[serde(rename = "roomId")]
    room_id: String,
}

pub(super) async fn send_webex(message: &Message<'_>) -> Result<(), SendError> {
    let body = Webex {
        markdown: truncate_bytes(&message.field("message")?, MAX_WEBEX_BYTES),
        room_id: message.field("room_id")?,
    };
    message.post(message.config.text("api_url"), &body, &[]).await.map(drop)
}
