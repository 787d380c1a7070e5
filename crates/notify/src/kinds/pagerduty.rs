//! PagerDuty: events of version 2 with a routing key, of version 1 with a service key.

use http::Method;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Message, go_json, is_empty};
use crate::anything::expand_map;
use crate::integration::SendError;
use crate::text::truncate;

const MAX_EVENT_BYTES: usize = 512_000;
const MAX_SUMMARY: usize = 1024;
const V1_URL: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";

#[derive(Serialize)]
struct Event {
    routing_key: String,
    dedup_key: String,
    event_action: &'static str,
    payload: Payload,
    #[serde(skip_serializing_if = "is_empty")]
    client: String,
    #[serde(skip_serializing_if = "is_empty")]
    client_url: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Image>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
}

#[derive(Serialize)]
struct Payload {
    summary: String,
    source: String,
    severity: String,
    #[serde(skip_serializing_if = "is_empty")]
    class: String,
    #[serde(skip_serializing_if = "is_empty")]
    component: String,
    #[serde(skip_serializing_if = "is_empty")]
    group: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    custom_details: Map<String, Value>,
}

#[derive(Serialize)]
struct Image {
    src: String,
    alt: String,
    href: String,
}

#[derive(Serialize)]
struct Link {
    href: String,
    text: String,
}

#[derive(Serialize)]
struct OldEvent {
    service_key: String,
    incident_key: String,
    event_type: &'static str,
    description: String,
    #[serde(skip_serializing_if = "is_empty")]
    client: String,
    #[serde(skip_serializing_if = "is_empty")]
    client_url: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    details: Map<String, Value>,
}

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    let action = if message.notification.is_firing() {
        "trigger"
    } else {
        "resolve"
    };
    let details = message.config.free("details").into_iter().flatten();
    let details = expand_map(details, &|text| message.expand(text))?;
    let (url, body, retried) = match message.config.secret("service_key") {
        Some(_) => (
            V1_URL.to_owned(),
            old_event(message, action, details)?,
            StatusCode::FORBIDDEN,
        ),
        None => (
            message.config.text("url").to_owned(),
            event(message, action, details)?,
            StatusCode::TOO_MANY_REQUESTS,
        ),
    };
    let response = message.exchange(Method::POST, &url, Some(body), &[]).await?;
    if response.status.is_success() {
        return Ok(());
    }
    let mut error = SendError::of_status(response.status, &response);
    error.retry |= response.status == retried;
    Err(error)
}

fn event(
    message: &Message<'_>,
    event_action: &'static str,
    custom_details: Map<String, Value>,
) -> Result<Vec<u8>, SendError> {
    let mut images = Vec::new();
    for item in message.config.items("images") {
        let src = message.part(item, "src")?;
        // One without a picture is refused.
        if !src.is_empty() {
            let (alt, href) = (message.part(item, "alt")?, message.part(item, "href")?);
            images.push(Image { src, alt, href });
        }
    }
    let mut links = Vec::new();
    for item in message.config.items("links") {
        let href = message.part(item, "href")?;
        if !href.is_empty() {
            let text = message.part(item, "text")?;
            links.push(Link { href, text });
        }
    }
    let mut event = Event {
        routing_key: message.secret("routing_key")?,
        dedup_key: message.id(),
        event_action,
        payload: Payload {
            summary: truncate(&message.field("description")?, MAX_SUMMARY),
            source: message.field("source")?,
            severity: message.field("severity")?,
            class: message.field("class")?,
            component: message.field("component")?,
            group: message.field("group")?,
            custom_details,
        },
        client: message.field("client")?,
        client_url: message.field("client_url")?,
        images,
        links,
    };
    let body = go_json(&event)?;
    if body.len() <= MAX_EVENT_BYTES {
        return Ok(body);
    }
    let told = format!(
        "Custom details have been removed because the original event exceeds the maximum size of {MAX_EVENT_BYTES} bytes"
    );
    event.payload.custom_details = Map::from_iter([("error".to_owned(), told.into())]);
    go_json(&event)
}

fn old_event(
    message: &Message<'_>,
    event_type: &'static str,
    details: Map<String, Value>,
) -> Result<Vec<u8>, SendError> {
    go_json(&OldEvent {
        service_key: message.secret("service_key")?,
        incident_key: message.id(),
        event_type,
        description: truncate(&message.field("description")?, MAX_SUMMARY),
        client: message.field("client")?,
        client_url: message.field("client_url")?,
        details,
    })
}
