//! Discord (Alertmanager 0.34), with what people asked of it since: 429 is obeyed instead of dropping the message
//! (alertmanager#3310, #3460).

use std::sync::Arc;
use std::time::Duration;

use cupola_config::alertmanager::DiscordConfig;
use serde::Serialize;

use crate::data::Notification;
use crate::integration::{SendError, expose, post_json, secret_url};
use crate::kinds::go_json;
use crate::templates::Templates;
use crate::text::truncate;

// Discord refuses longer ones.
const MAX_TITLE: usize = 256;
const MAX_DESCRIPTION: usize = 4096;
const MAX_CONTENT: usize = 2000;
const COLOR_FIRING: u32 = 10_038_562;
const COLOR_RESOLVED: u32 = 3_066_993;

#[derive(Debug)]
pub(crate) struct Discord {
    config: DiscordConfig,
    templates: Arc<Templates>,
}

#[derive(Serialize)]
struct Message<'a> {
    content: String,
    embeds: [Embed; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    avatar_url: &'a str,
}

#[derive(Serialize)]
struct Embed {
    title: String,
    description: String,
    color: u32,
}

impl Discord {
    pub(crate) fn new(config: DiscordConfig, templates: Arc<Templates>) -> Self {
        Self { config, templates }
    }

    pub(crate) async fn send(&self, notification: &Notification, timeout: Duration) -> Result<(), SendError> {
        let url = secret_url(&expose(&self.config.webhook_url)?)?;
        let body = self.body(notification)?;
        post_json(&self.config.http, &url, body, timeout).await
    }

    fn body(&self, notification: &Notification) -> Result<Vec<u8>, SendError> {
        let render = |text: &str, limit| Ok(truncate(&self.templates.render(text, notification)?, limit));
        let color = if notification.is_firing() {
            COLOR_FIRING
        } else {
            COLOR_RESOLVED
        };
        let message = Message {
            content: render(&self.config.content, MAX_CONTENT)?,
            embeds: [Embed {
                title: render(&self.config.title, MAX_TITLE)?,
                description: render(&self.config.message, MAX_DESCRIPTION)?,
                color,
            }],
            username: &self.config.username,
            avatar_url: &self.config.avatar_url,
        };
        go_json(&message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::example;
    use cupola_config::alertmanager::{DISCORD_MESSAGE, DISCORD_TITLE};
    use cupola_config::common::{HttpClientConfig, Secret, SecretSource};

    fn discord(content: &str) -> Discord {
        let config = DiscordConfig {
            send_resolved: true,
            webhook_url: SecretSource::Inline(Secret::new("http://127.0.0.1:1/token")),
            title: DISCORD_TITLE.to_owned(),
            message: DISCORD_MESSAGE.to_owned(),
            content: content.to_owned(),
            username: String::new(),
            avatar_url: String::new(),
            http: HttpClientConfig::default(),
        };
        Discord::new(config, Templates::defaults())
    }

    #[test]
    fn a_firing_group_is_red_and_says_how_many() {
        let body = discord("").body(&example(true)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["embeds"][0]["color"], COLOR_FIRING);
        assert!(
            json["embeds"][0]["title"].as_str().unwrap().starts_with("[FIRING:1]"),
            "{json}"
        );
        assert_eq!(json.get("username"), None);
    }

    #[test]
    fn a_resolved_group_is_green() {
        let body = discord("").body(&example(false)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["embeds"][0]["color"], COLOR_RESOLVED);
        assert!(
            json["embeds"][0]["title"].as_str().unwrap().starts_with("[RESOLVED]"),
            "{json}"
        );
    }

    #[test]
    fn texts_stay_within_discords_limits() {
        let body = discord(&"x".repeat(5000)).body(&example(true)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["content"].as_str().unwrap().chars().count(), MAX_CONTENT);
    }

    #[test]
    fn the_secret_url_is_in_no_debug_output() {
        assert!(!format!("{:?}", discord("")).contains("token"));
    }
}
