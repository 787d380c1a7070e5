//! Telegram bots.

use std::collections::BTreeMap;

use super::Message;
use crate::integration::SendError;
use crate::text::truncate;

const MAX_MESSAGE: usize = 4096;
// Cut HTML may be none any more (Alertmanager's text).
const TOO_LONG: &str = "Alert message too long, please check the alert in Alertmanager";

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    let config = message.config;
    let is_html = config.text("parse_mode") == "HTML";
    let text = match is_html {
        true => message
            .templates
            .render_html(config.text("message"), message.notification)?,
        false => message.field("message")?,
    };
    let text = match is_html && text.chars().count() > MAX_MESSAGE {
        true => TOO_LONG.to_owned(),
        false => truncate(&text, MAX_MESSAGE),
    };
    let chat = match config.text("chat_id_file") {
        "" => config.text("chat_id").to_owned(),
        file => std::fs::read_to_string(file)
            .map_err(|error| SendError {
                retry: true,
                ..SendError::last(format!("chat_id_file {file}: {error}"))
            })?
            .trim()
            .to_owned(),
    };
    let mut body = BTreeMap::from([
        ("chat_id", chat),
        ("disable_web_page_preview", "true".to_owned()),
        ("text", text),
    ]);
    if config.flag("disable_notifications") {
        body.insert("disable_notification", "true".to_owned());
    }
    for (name, text) in [
        ("parse_mode", config.text("parse_mode")),
        ("message_thread_id", config.text("message_thread_id")),
    ] {
        if !text.is_empty() {
            body.insert(name, text.to_owned());
        }
    }
    let token = message.secret("bot_token")?;
    let url = format!(
        "{}/bot{}/sendMessage",
        config.text("api_url").trim_end_matches('/'),
        token.trim()
    );
    message
        .post(&url, &body, &[])
        .await
        .map(drop)
        .map_err(|error| SendError {
            // As Alertmanager: whatever the bot's API says, it is asked again.
            retry: true,
            ..error
        })
}
