//! incident.io: the webhook's JSON with metadata.

use http::header::AUTHORIZATION;
use serde_json::Value;

use super::{Message, go_json};
use crate::integration::SendError;

const MAX_BYTES: usize = 512 << 10;

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    let headers = match message.config.secret("alert_source_token") {
        Some(_) => vec![(
            AUTHORIZATION,
            format!("Bearer {}", message.secret("alert_source_token")?.trim()),
        )],
        None => Vec::new(),
    };
    let body = body(message)?;
    message
        .request(http::Method::POST, &message.secret("url")?, Some(body), &headers)
        .await
        .map(drop)
}

// Alerts are left out until it is small enough; `truncatedAlerts` counts them.
fn body(message: &Message<'_>) -> Result<Vec<u8>, SendError> {
    let mut shown = message.notification.alerts.len();
    loop {
        let whole = message.notification.webhook_body(shown);
        let mut body: Value = serde_json::from_slice(&whole).map_err(|e| SendError::last(format!("message: {e}")))?;
        let mut metadata = serde_json::Map::new();
        for (name, text) in message.config.map("metadata").into_iter().flatten() {
            metadata.insert(name.clone(), message.expand(text)?.into());
        }
        if let Some(body) = body.as_object_mut() {
            body.insert("version".to_owned(), "1".into());
            if !metadata.is_empty() {
                body.insert("metadata".to_owned(), metadata.into());
            }
        }
        let bytes = go_json(&body)?;
        if bytes.len() <= MAX_BYTES || shown <= 1 {
            return Ok(bytes);
        }
        shown /= 2;
    }
}
