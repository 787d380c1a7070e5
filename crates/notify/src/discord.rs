//! Discord (Alertmanager 0.34), with what people asked of it since: 429 is obeyed instead of dropping the message
//! (alertmanager#3310, #3460), and a text that is too long for one embed goes on in the next ones, as far as Discord takes
//! them, instead of being cut after 4,096 characters.

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
// Of a message: its embeds, and the characters of all their titles and descriptions.
const MAX_EMBEDS: usize = 10;
const MAX_CHARACTERS: usize = 6000;
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
    embeds: Vec<Embed>,
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    avatar_url: &'a str,
}

#[derive(Serialize)]
struct Embed {
    // The first one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
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
        let title = render(&self.config.title, MAX_TITLE)?;
        let text = self.templates.render(&self.config.message, notification)?;
        let descriptions = pieces(&text, MAX_CHARACTERS.saturating_sub(title.chars().count()));
        let mut title = Some(title);
        let embeds = descriptions.into_iter().map(|description| Embed {
            title: title.take(),
            description,
            color,
        });
        let message = Message {
            content: render(&self.config.content, MAX_CONTENT)?,
            embeds: embeds.collect(),
            username: &self.config.username,
            avatar_url: &self.config.avatar_url,
        };
        go_json(&message)
    }
}

// A text as the descriptions of embeds, of at most `room` characters together. It is parted between lines where they are
// not too long for that; what has no room ends with `…`. There is at least one, which may be empty.
fn pieces(text: &str, room: usize) -> Vec<String> {
    let mut out = Vec::new();
    let (mut rest, mut room) = (text, room);
    loop {
        let limit = MAX_DESCRIPTION.min(room);
        let end = rest.char_indices().nth(limit).map_or(rest.len(), |(at, _)| at);
        let is_last = end == rest.len() || out.len() + 1 == MAX_EMBEDS || room <= MAX_DESCRIPTION;
        if is_last {
            out.push(truncate(rest, limit));
            return out;
        }
        let (whole, _) = rest.split_at(end);
        let at = whole.rfind('\n').filter(|at| *at > end / 2).map_or(end, |at| at + 1);
        let (piece, behind) = rest.split_at(at);
        room -= piece.chars().count();
        out.push(piece.trim_end_matches('\n').to_owned());
        rest = behind;
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
    fn a_long_text_goes_on_in_further_embeds_within_discords_limits() {
        assert_eq!(pieces("", 6000), [""]);
        assert_eq!(pieces("short", 6000), ["short"]);
        let lines: String = (0..100).map(|n| format!("{n:03} {}\n", "ä".repeat(45))).collect();
        let parts = pieces(&lines, 6000);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts.join("\n"), lines, "parted between lines, and nothing is lost");
        for length in [4096, 4097, 5999, 6000, 6001, 20_000] {
            let parts = pieces(&"x".repeat(length), 6000);
            let count: usize = parts.iter().map(|part| part.chars().count()).sum();
            assert_eq!(count, length.min(6000), "{length}");
            assert_eq!(parts.iter().any(|part| part.ends_with('…')), length > 6000);
            assert!(parts.len() <= MAX_EMBEDS && parts.iter().all(|part| part.chars().count() <= MAX_DESCRIPTION));
        }
        let mut discord = discord("");
        discord.config.message = "y".repeat(9000);
        let json: serde_json::Value = serde_json::from_slice(&discord.body(&example(true)).unwrap()).unwrap();
        let embeds = json["embeds"].as_array().unwrap();
        let title = embeds[0]["title"].as_str().unwrap().chars().count();
        let texts: usize = embeds
            .iter()
            .map(|e| e["description"].as_str().unwrap().chars().count())
            .sum();
        assert_eq!((embeds.len(), title + texts), (2, MAX_CHARACTERS));
        assert_eq!(embeds[1].get("title"), None);
        assert_eq!(embeds[1]["color"], COLOR_FIRING);
    }

    #[test]
    fn the_secret_url_is_in_no_debug_output() {
        assert!(!format!("{:?}", discord("")).contains("token"));
    }
}
