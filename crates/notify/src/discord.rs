//! Discord (Alertmanager 0.34), with what people asked of it since: 429 is obeyed instead of dropping the message
//! (alertmanager#3310, #3460), a text that is too long for one embed goes on in the next ones, as far as Discord takes
//! them, instead of being cut after 4,096 characters, and what has no room is counted, with a link to all of it.

use std::sync::Arc;
use std::time::Duration;

use cupola_config::alertmanager::DiscordConfig;
use cupola_config::common::{HttpClientConfig, SecretSource};
use serde::Serialize;

use crate::data::{Notification, NotifiedAlert};
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
// A longer link to the alerts is left out.
const LONGEST_LINK: usize = 1000;
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

    pub(crate) fn url(&self) -> &SecretSource {
        &self.config.webhook_url
    }

    pub(crate) fn http(&self) -> &HttpClientConfig {
        &self.config.http
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
        let descriptions = self.descriptions(notification, MAX_CHARACTERS.saturating_sub(title.chars().count()))?;
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

    // The message as the descriptions of embeds, of at most `room` characters together. Where there is no room for all
    // alerts, those that fire come first, and the last line tells how many are left out and where they can be seen.
    fn descriptions(&self, notification: &Notification, room: usize) -> Result<Vec<String>, SendError> {
        let text = self.templates.render(&self.config.message, notification)?;
        if let (whole, false) = pieces(&text, room) {
            return Ok(whole);
        }
        let link = self
            .templates
            .render("{{ template \"__alertmanagerURL\" . }}", notification)?;
        let link = match link.chars().count() <= LONGEST_LINK {
            true => format!(": {link}"),
            false => String::new(),
        };
        let is_firing = |alert: &&NotifiedAlert| alert.ends_at.is_none();
        let (firing, resolved): (Vec<&NotifiedAlert>, Vec<_>) = notification.alerts.iter().partition(is_firing);
        let all = [firing, resolved].concat();
        let shortened = |shown: usize| -> Result<Option<Vec<String>>, SendError> {
            let (told, rest) = all.split_at(shown);
            let text = self.templates.render_some(&self.config.message, notification, told)?;
            let firing = rest.iter().filter(|alert| is_firing(alert)).count();
            let left: Vec<String> = [(firing, "firing"), (rest.len() - firing, "resolved")]
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, state)| format!("{count} more {state}"))
                .collect();
            let text = format!("{}\n…and {}{link}", text.trim_end(), left.join(" and "));
            Ok(Some(pieces(&text, room))
                .filter(|(_, is_cut)| !is_cut)
                .map(|(parts, _)| parts))
        };
        // The most alerts that fit; a text that does not grow with them is found to be too long at once.
        let (mut best, mut fits, mut fits_not) = (None, 0, all.len());
        while fits_not - fits > 1 {
            let shown = fits.midpoint(fits_not);
            match shortened(shown)? {
                Some(parts) => (best, fits) = (Some(parts), shown),
                None => fits_not = shown,
            }
        }
        if let Some(parts) = best {
            return Ok(parts);
        }
        // Not even one does.
        let note = format!("\n…shortened to what Discord takes{link}");
        let text = truncate(&text, room.saturating_sub(note.chars().count()));
        Ok(pieces(&format!("{text}{note}"), room).0)
    }
}

// A text as the descriptions of embeds, of at most `room` characters together, and whether it had to be cut: then it ends
// with `…`. It is parted between lines where they are not too long for that. There is at least one part, which may be
// empty.
fn pieces(text: &str, room: usize) -> (Vec<String>, bool) {
    let mut out = Vec::new();
    let (mut rest, mut room) = (text, room);
    loop {
        let limit = MAX_DESCRIPTION.min(room);
        let end = rest.char_indices().nth(limit).map_or(rest.len(), |(at, _)| at);
        let is_last = end == rest.len() || out.len() + 1 == MAX_EMBEDS || room <= MAX_DESCRIPTION;
        if is_last {
            let last = truncate(rest, limit);
            let is_cut = last != rest;
            out.push(last);
            return (out, is_cut);
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
        assert_eq!(pieces("", 6000), (vec![String::new()], false));
        assert_eq!(pieces("short", 6000), (vec!["short".to_owned()], false));
        let lines: String = (0..100).map(|n| format!("{n:03} {}\n", "ä".repeat(45))).collect();
        let (parts, _) = pieces(&lines, 6000);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts.join("\n"), lines, "parted between lines, and nothing is lost");
        for length in [4096, 4097, 5999, 6000, 6001, 20_000] {
            let (parts, is_cut) = pieces(&"x".repeat(length), 6000);
            assert_eq!(is_cut, length > 6000);
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
        let end = "y…\n…shortened to what Discord takes: http://localhost/#/alerts?receiver=team";
        assert!(embeds[1]["description"].as_str().unwrap().ends_with(end), "{json}");
    }

    // A group of so many alerts, of which every third is resolved.
    fn group(size: usize) -> Notification {
        let mut notification = example(true);
        let one = notification.alerts.remove(0);
        notification.alerts = (0..size)
            .map(|n| NotifiedAlert {
                labels: cupola_model::Labels::from_pairs([("alertname", "Down"), ("instance", &format!("i{n:04}"))]),
                ends_at: (n % 3 == 0).then_some(61_500),
                ..one.clone()
            })
            .collect();
        notification
    }

    // What the message shows of a group, and its last line.
    fn shown(discord: &Discord, notification: &Notification) -> (String, String) {
        let json: serde_json::Value = serde_json::from_slice(&discord.body(notification).unwrap()).unwrap();
        let embeds = json["embeds"].as_array().unwrap();
        let texts: Vec<&str> = embeds.iter().map(|e| e["description"].as_str().unwrap()).collect();
        let title = embeds[0]["title"].as_str().unwrap();
        let count = texts.iter().map(|text| text.chars().count()).sum::<usize>() + title.chars().count();
        assert!(count <= MAX_CHARACTERS && embeds.len() <= MAX_EMBEDS, "{count}");
        assert!(texts.iter().all(|text| text.chars().count() <= MAX_DESCRIPTION));
        let text = texts.join("\n");
        let last = text.lines().last().unwrap_or_default().to_owned();
        (text, last)
    }

    #[test]
    fn alerts_that_have_no_room_are_counted_with_a_link_instead_of_cut_off() {
        let discord = discord("");
        let (text, _) = shown(&discord, &group(9));
        assert_eq!(
            (text.matches("instance = i").count(), text.matches('…').count()),
            (9, 0)
        );
        for size in [60, 61, 200, 3_000] {
            let (text, last) = shown(&discord, &group(size));
            let told = text.matches("instance = i").count();
            let firing = size - size.div_ceil(3);
            assert!((30..60).contains(&told), "{told} of {size}");
            let expected = match told < firing {
                true => format!(
                    "…and {} more firing and {} more resolved",
                    firing - told,
                    size.div_ceil(3)
                ),
                false => format!("…and {} more resolved", size - told),
            };
            assert_eq!(last, format!("{expected}: http://localhost/#/alerts?receiver=team"));
            assert!(told >= firing || !text.contains("i0000"), "those that fire come first");
        }
    }

    #[test]
    fn what_all_alerts_share_is_said_of_all_also_where_some_are_left_out() {
        let mut discord = discord("");
        discord.config.message = "{{ range .Alerts }}{{ .Labels.instance }} ".to_owned()
            + &"z".repeat(100)
            + "\n{{ end }}{{ .Status }} {{ .CommonLabels }} {{ len .Alerts }}";
        let mut notification = group(100);
        for (n, alert) in notification.alerts.iter_mut().enumerate() {
            alert.ends_at = None;
            let team = if n == 99 { "b" } else { "a" };
            let labels = [("alertname", "Down"), ("instance", &format!("i{n:04}")), ("team", team)];
            alert.labels = cupola_model::Labels::from_pairs(labels);
        }
        let (text, last) = shown(&discord, &notification);
        let told = text.matches("i00").count();
        assert!(
            (40..60).contains(&told) && last.starts_with(&format!("…and {} more firing", 100 - told)),
            "{text}"
        );
        assert!(text.contains(&format!("firing alertname=Down {told}")), "{text}");
    }

    #[test]
    fn the_secret_url_is_in_no_debug_output() {
        assert!(!format!("{:?}", discord("")).contains("token"));
    }
}
