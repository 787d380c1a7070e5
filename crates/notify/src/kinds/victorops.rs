//! VictorOps (Splunk On-Call), by its generic REST endpoint.

use std::collections::BTreeMap;

use super::Message;
use crate::integration::SendError;

const MAX_STATE_MESSAGE: usize = 20_480;

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    let base = message.config.text("api_url").trim_end_matches('/');
    let (key, routing_key) = (message.secret("api_key")?, message.field("routing_key")?);
    let url = format!("{base}/{}/{routing_key}", key.trim());
    // The kinds that a firing alert may have; of others it is made critical.
    let kind = message.field("message_type")?.to_uppercase();
    let kind = match kind.as_str() {
        _ if !message.notification.is_firing() => "RECOVERY",
        "CRITICAL" | "WARNING" | "INFO" => kind.as_str(),
        _ => "CRITICAL",
    };
    let mut body = BTreeMap::new();
    for (name, text) in message.config.map("custom_fields").into_iter().flatten() {
        body.insert(name.clone(), message.expand(text)?);
    }
    for (name, text) in [
        ("message_type", kind.to_owned()),
        ("entity_id", message.id()),
        ("entity_display_name", message.field("entity_display_name")?),
        ("state_message", message.cut("state_message", MAX_STATE_MESSAGE)?),
        ("monitoring_tool", message.field("monitoring_tool")?),
    ] {
        body.insert(name.to_owned(), text);
    }
    message.post(&url, &body, &[]).await.map(drop)
}
