//! OpsGenie: an alert is made under the group's name, perhaps updated, and closed.

use std::collections::BTreeMap;

use http::Method;
use http::header::AUTHORIZATION;
use serde::Serialize;

use super::{Message, go_json, is_empty};
use crate::integration::SendError;

const MAX_MESSAGE: usize = 130;

#[derive(Serialize)]
struct Create {
    alias: String,
    message: String,
    #[serde(skip_serializing_if = "is_empty")]
    description: String,
    details: BTreeMap<String, String>,
    source: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    responders: Vec<Responder>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "is_empty")]
    note: String,
    #[serde(skip_serializing_if = "is_empty")]
    priority: String,
    #[serde(skip_serializing_if = "is_empty")]
    entity: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<String>,
}

#[derive(Serialize)]
struct Responder {
    #[serde(skip_serializing_if = "is_empty")]
    id: String,
    #[serde(skip_serializing_if = "is_empty")]
    name: String,
    #[serde(skip_serializing_if = "is_empty")]
    username: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize)]
struct Close {
    source: String,
}

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    let alias = message.id();
    let base = message.field("api_url")?;
    let base = format!("{}/v2/alerts", base.trim_end_matches('/'));
    let key = [(AUTHORIZATION, format!("GenieKey {}", message.secret("api_key")?.trim()))];
    if !message.notification.is_firing() {
        let source = message.field("source")?;
        let url = format!("{base}/{alias}/close?identifierType=alias");
        return message.post(&url, &Close { source }, &key).await.map(drop);
    }
    let (text, description) = (message.cut("message", MAX_MESSAGE)?, message.field("description")?);
    let mut details: BTreeMap<String, String> = message
        .notification
        .common_labels()
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for (name, value) in message.config.map("details").into_iter().flatten() {
        details.insert(name.clone(), message.expand(value)?);
    }
    let create = Create {
        alias: alias.clone(),
        message: text.clone(),
        description: description.clone(),
        details,
        source: message.field("source")?,
        responders: responders(message)?,
        tags: listed(&message.field("tags")?),
        note: message.field("note")?,
        priority: message.field("priority")?,
        entity: message.field("entity")?,
        actions: listed(&message.field("actions")?),
    };
    message.post(&base, &create, &key).await?;
    if message.config.flag("update_alerts") {
        for (what, text) in [("message", text), ("description", description)] {
            let url = format!("{base}/{alias}/{what}?identifierType=alias");
            let body = go_json(&BTreeMap::from([(what, text)]))?;
            message.request(Method::PUT, &url, Some(body), &key).await?;
        }
    }
    Ok(())
}

// Between commas, as it stands there; nothing is no entry.
fn listed(text: &str) -> Vec<String> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

fn responders(message: &Message<'_>) -> Result<Vec<Responder>, SendError> {
    let mut all = Vec::new();
    for item in message.config.items("responders") {
        let responder = Responder {
            id: message.part(item, "id")?,
            name: message.part(item, "name")?,
            username: message.part(item, "username")?,
            kind: message.part(item, "type")?,
        };
        if responder.kind == "teams" {
            // Several teams in one entry.
            all.extend(listed(&responder.name).into_iter().map(|name| Responder {
                id: String::new(),
                name: name.trim().to_owned(),
                username: String::new(),
                kind: "team".to_owned(),
            }));
        } else if [&responder.id, &responder.name, &responder.username]
            .iter()
            .any(|text| !text.is_empty())
        {
            all.push(responder);
        }
    }
    Ok(all)
}
