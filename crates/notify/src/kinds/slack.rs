//! Slack: incoming webhooks, and bot tokens against `chat.postMessage`.

use std::collections::BTreeMap;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use parking_lot::Mutex;
use serde::Serialize;

use super::chat::Field;
use super::{Message, is_empty};
use crate::integration::SendError;

const MAX_TITLE: usize = 1024;
const MAX_SENT: usize = 10_000;
// How the notification log of Alertmanager calls a message's time and channel.
const TIME: &str = "threadTs";
const CHANNEL: &str = "channelId";

/// The messages that `update_message` changes instead of writing another: time and channel by group. They are forgotten
/// when the group is over: then there is a new message. Whoever keeps the notification log keeps them over the process.
#[derive(Debug, Default)]
pub(super) struct Sent(Mutex<BTreeMap<String, (String, String)>>);

impl Sent {
    /// What is known of the group's message, as Alertmanager names it in its notification log; nothing where there is none.
    pub(super) fn notes(&self, group: &str) -> Vec<(String, String)> {
        let Some((ts, channel)) = self.get(group) else {
            return Vec::new();
        };
        vec![(CHANNEL.to_owned(), channel), (TIME.to_owned(), ts)]
    }

    /// Takes in what an earlier process knew; what is known already stays.
    pub(super) fn recall(&self, group: &str, notes: &[(String, String)]) {
        let note = |name| {
            notes
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
        };
        if let (Some(ts), Some(channel), None) = (note(TIME), note(CHANNEL), self.get(group)) {
            self.set(group.to_owned(), (ts, channel));
        }
    }

    fn get(&self, group: &str) -> Option<(String, String)> {
        self.0.lock().get(group).cloned()
    }

    fn set(&self, group: String, place: (String, String)) {
        let mut all = self.0.lock();
        if all.len() >= MAX_SENT && !all.contains_key(&group) {
            all.pop_first();
        }
        all.insert(group, place);
    }

    fn forget(&self, group: &str) {
        self.0.lock().remove(group);
    }
}

#[derive(Serialize)]
struct Body {
    #[serde(skip_serializing_if = "is_empty")]
    channel: String,
    #[serde(skip_serializing_if = "is_empty")]
    username: String,
    #[serde(skip_serializing_if = "is_empty")]
    icon_emoji: String,
    #[serde(skip_serializing_if = "is_empty")]
    icon_url: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    link_names: bool,
    #[serde(skip_serializing_if = "is_empty")]
    text: String,
    attachments: [Attachment; 1],
    #[serde(skip_serializing_if = "is_empty")]
    ts: String,
}

#[derive(Serialize)]
struct Attachment {
    title: String,
    #[serde(skip_serializing_if = "is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "is_empty")]
    pretext: String,
    text: String,
    fallback: String,
    callback_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
    #[serde(skip_serializing_if = "is_empty")]
    image_url: String,
    #[serde(skip_serializing_if = "is_empty")]
    thumb_url: String,
    footer: String,
    #[serde(skip_serializing_if = "is_empty")]
    color: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mrkdwn_in: Vec<String>,
}

#[derive(Serialize)]
struct Action {
    #[serde(rename = "type")]
    kind: String,
    text: String,
    #[serde(skip_serializing_if = "is_empty")]
    url: String,
    #[serde(skip_serializing_if = "is_empty")]
    style: String,
    #[serde(skip_serializing_if = "is_empty")]
    name: String,
    #[serde(skip_serializing_if = "is_empty")]
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm: Option<Confirm>,
}

#[derive(Serialize)]
struct Confirm {
    text: String,
    #[serde(skip_serializing_if = "is_empty")]
    title: String,
    #[serde(skip_serializing_if = "is_empty")]
    ok_text: String,
    #[serde(skip_serializing_if = "is_empty")]
    dismiss_text: String,
}

pub(super) async fn send(message: &Message<'_>, sent: &Sent) -> Result<(), SendError> {
    let (url, headers) = match message.config.secret("app_token") {
        Some(_) => {
            let token = message.secret("app_token")?;
            let url = message.config.text("app_url").to_owned();
            (url, vec![(AUTHORIZATION, format!("Bearer {token}"))])
        }
        None => (message.secret("api_url")?, Vec::new()),
    };
    let (group, updates) = (message.id(), message.config.flag("update_message"));
    let mut body = body(message)?;
    let known = updates.then(|| sent.get(&group)).flatten();
    let url = match &known {
        Some((ts, channel)) => {
            (body.ts, body.channel) = (ts.clone(), channel.clone());
            url.replace("chat.postMessage", "chat.update")
        }
        None => url,
    };
    let response = message.post(&url, &body, &headers).await?;
    // Slack answers 200 also where it did not take the message.
    let text = String::from_utf8_lossy(&response.body);
    let kind = response
        .headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("");
    if kind.starts_with("application/json") {
        let answer: serde_json::Value = serde_json::from_slice(&response.body).map_err(|error| SendError {
            retry: true,
            ..SendError::last(format!("Slack's answer is no JSON: {error}"))
        })?;
        if answer.get("ok").and_then(serde_json::Value::as_bool) == Some(true) {
            if updates {
                match (answer["ts"].as_str(), answer["channel"].as_str()) {
                    (Some(ts), Some(channel)) if message.notification.is_firing() => {
                        sent.set(group, (ts.to_owned(), channel.to_owned()));
                    }
                    _ => sent.forget(&group),
                }
            }
            return Ok(());
        }
        // Somebody may have deleted it: the next attempt writes another.
        if known.is_some() {
            sent.forget(&group);
        }
        let error = answer
            .get("error")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("no reason given");
        return Err(SendError {
            retry: known.is_some(),
            ..SendError::last(format!("Slack refuses the message: {error}"))
        });
    }
    if text == "ok" {
        return Ok(());
    }
    let told: String = text.chars().take(300).collect();
    Err(SendError::last(format!("Slack refuses the message: {told}")))
}

fn body(message: &Message<'_>) -> Result<Body, SendError> {
    let config = message.config;
    let mut actions = Vec::new();
    for item in config.items("actions") {
        let confirm = match item.get("confirm.text") {
            Some(_) => Some(Confirm {
                text: message.part(item, "confirm.text")?,
                title: message.part(item, "confirm.title")?,
                ok_text: message.part(item, "confirm.ok_text")?,
                dismiss_text: message.part(item, "confirm.dismiss_text")?,
            }),
            None => None,
        };
        actions.push(Action {
            kind: message.part(item, "type")?,
            text: message.part(item, "text")?,
            url: message.part(item, "url")?,
            style: message.part(item, "style")?,
            name: message.part(item, "name")?,
            value: message.part(item, "value")?,
            confirm,
        });
    }
    let mrkdwn_in = config.list("mrkdwn_in").map(<[String]>::to_vec);
    let attachment = Attachment {
        title: message.cut("title", MAX_TITLE)?,
        title_link: message.field("title_link")?,
        pretext: message.field("pretext")?,
        text: message.field("text")?,
        fallback: message.field("fallback")?,
        callback_id: message.field("callback_id")?,
        fields: Field::all(message)?,
        actions,
        image_url: message.field("image_url")?,
        thumb_url: message.field("thumb_url")?,
        footer: message.field("footer")?,
        color: message.field("color")?,
        mrkdwn_in: mrkdwn_in.unwrap_or_else(|| ["fallback", "pretext", "text"].map(str::to_owned).to_vec()),
    };
    Ok(Body {
        channel: message.field("channel")?,
        username: message.field("username")?,
        icon_emoji: message.field("icon_emoji")?,
        icon_url: message.field("icon_url")?,
        link_names: config.flag("link_names"),
        text: message.field("message_text")?,
        attachments: [attachment],
        ts: String::new(),
    })
}
