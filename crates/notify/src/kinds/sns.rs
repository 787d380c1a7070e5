//! Amazon's Simple Notification Service: `Publish` of its query API, signed.

use std::collections::BTreeMap;

use cupola_config::common::{Auth, HttpClientConfig, Secret, SigV4Config};
use cupola_model::query_escape;
use cupola_net::{Response, amazon_region};
use http::Method;
use http::header::CONTENT_TYPE;

use super::Message;
use crate::integration::{SendError, expose};
use crate::text::truncate;

const MAX_BYTES: usize = 256 << 10;
const MAX_SMS_BYTES: usize = 1600;
// Amazon refuses a hundred.
const MAX_SUBJECT: usize = 99;

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    let sigv4 = SigV4Config {
        region: message.config.text("region").to_owned(),
        access_key: message.config.text("access_key").to_owned(),
        secret_key: message
            .config
            .secret("secret_key")
            .map(expose)
            .transpose()?
            .map(Secret::new),
        profile: message.config.text("profile").to_owned(),
        role_arn: message.config.text("role_arn").to_owned(),
        external_id: message.config.text("external_id").to_owned(),
        use_fips_sts_endpoint: message.config.text("use_fips_sts_endpoint") == "true",
        service_name: "sns".to_owned(),
    };
    let url = match message.field("api_url")? {
        url if url.is_empty() => {
            // It is part of the URL, too.
            let region = amazon_region(&sigv4, message.left()).await;
            let region = region.map_err(|error| SendError::of_net(&error))?;
            let end = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://sns.{region}.amazonaws.com{end}/")
        }
        url => url,
    };
    let body = form(message)?;
    let headers = [(CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())];
    let http = HttpClientConfig {
        auth: Some(Auth::SigV4(Box::new(sigv4))),
        ..message.config.http.clone()
    };
    let response = message
        .exchange_with(&http, Method::POST, &url, Some(body.into_bytes()), &headers)
        .await?;
    match response.status.is_success() {
        true => Ok(()),
        false => Err(refused(&response)),
    }
}

// What of Amazon's XML says why. Who asks too often is told so with any status.
fn refused(response: &Response) -> SendError {
    let text = String::from_utf8_lossy(&response.body);
    let of = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (inside, _) = rest.split_once(&format!("</{name}>"))?;
        Some(inside.chars().take(300).collect::<String>())
    };
    let error = SendError::of_status(response.status, response);
    let Some(code) = of("Code") else { return error };
    let is_limited =
        code.starts_with("Throttl") || code == "RequestLimitExceeded" || code == "TooManyRequestsException";
    SendError {
        message: format!(
            "unexpected status code {}: {code}: {}",
            response.status.as_u16(),
            of("Message").unwrap_or_default()
        ),
        retry: error.retry || is_limited,
        reason: if is_limited { "rateLimited" } else { error.reason },
        ..error
    }
}

// Which alerts a message is about and since when, whatever of it the text shows.
fn told(message: &Message<'_>) -> String {
    let alerts = message.notification.alerts.iter();
    let one = |a: &crate::NotifiedAlert| format!("{:x} {} {:?};", a.labels.fingerprint(), a.starts_at, a.ends_at);
    alerts.map(one).collect()
}

// Amazon refuses a subject with line ends or other characters that are none.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn form(message: &Message<'_>) -> Result<String, SendError> {
    let mut attributes = BTreeMap::new();
    for (name, text) in message.config.map("attributes").into_iter().flatten() {
        let (name, text) = (message.expand(name)?, message.expand(text)?);
        // One without a value would cost the whole message, which Amazon refuses then.
        if !text.is_empty() {
            attributes.insert(name, text);
        }
    }
    let mut fields = vec![("Action", "Publish".to_owned())];
    let topic = message.field("topic_arn")?;
    let is_fifo = topic.ends_with(".fifo");
    let phone = message.field("phone_number")?;
    let limit = if phone.is_empty() { MAX_BYTES } else { MAX_SMS_BYTES };
    let mut text = message.field("message")?;
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        attributes.insert("truncated".to_owned(), "true".to_owned());
    }
    if is_fifo {
        // For five minutes Amazon drops what has an id that it has seen. In Alertmanager that is the group's, so that an end,
        // or a further alert, is lost if it comes that soon; here it is the message's, which only another attempt shares.
        let message_id = super::id_of(&format!(
            "{}\0{}\0{text}",
            message.notification.group_key,
            told(message)
        ));
        fields.push(("MessageDeduplicationId", message_id));
        fields.push(("MessageGroupId", message.id()));
    }
    fields.push(("Message", text));
    for (name, text) in [
        ("PhoneNumber", phone),
        ("Subject", truncate(&one_line(&message.field("subject")?), MAX_SUBJECT)),
        ("TargetArn", message.field("target_arn")?),
        ("TopicArn", topic),
    ] {
        if !text.is_empty() {
            fields.push((name, text));
        }
    }
    fields.push(("Version", "2010-03-31".to_owned()));
    let mut out = String::new();
    let mut push = |name: &str, text: &str| {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(&format!("{}={}", query_escape(name), query_escape(text)));
    };
    for (name, text) in &fields {
        push(name, text);
    }
    for (at, (name, text)) in attributes.iter().enumerate() {
        let entry = format!("MessageAttributes.entry.{}", at + 1);
        push(&format!("{entry}.Name"), name);
        push(&format!("{entry}.Value.DataType"), "String");
        push(&format!("{entry}.Value.StringValue"), text);
    }
    Ok(out)
}
