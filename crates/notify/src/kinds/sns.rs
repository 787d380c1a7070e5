//! Amazon's Simple Notification Service: `Publish` of its query API, signed with keys of the configuration or of the
//! environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`).

use std::collections::BTreeMap;

use cupola_model::query_escape;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{Method, Uri};

use super::Message;
use crate::integration::SendError;
use crate::sigv4::{Keys, Signed};
use crate::text::truncate;

const MAX_BYTES: usize = 256 << 10;
const MAX_SMS_BYTES: usize = 1600;
// Amazon refuses a hundred.
const MAX_SUBJECT: usize = 99;

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    let region = region(message)?;
    let url = match message.field("api_url")? {
        url if url.is_empty() => {
            let end = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://sns.{region}.amazonaws.com{end}/")
        }
        url => url,
    };
    let uri = url.trim().parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::authority).map(ToString::to_string);
    let (Some(uri), Some(host)) = (uri, host) else {
        return Err(SendError::last("api_url is not a URL"));
    };
    let keys = keys(message)?;
    let body = form(message)?;
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let authorization = keys.sign(&Signed {
        method: "POST",
        host: &host,
        path: uri.path(),
        body: body.as_bytes(),
        region: &region,
        service: "sns",
        time: &time,
    });
    let mut headers = vec![
        (CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()),
        (HeaderName::from_static("x-amz-date"), time),
        (AUTHORIZATION, authorization),
    ];
    if !keys.session_token.is_empty() {
        headers.push((HeaderName::from_static("x-amz-security-token"), keys.session_token));
    }
    message
        .request(Method::POST, &url, Some(body.into_bytes()), &headers)
        .await
        .map(drop)
}

fn environment(names: &[&str]) -> Option<String> {
    let mut values = names.iter().filter_map(|name| std::env::var(name).ok());
    values.find(|value| !value.is_empty())
}

fn region(message: &Message<'_>) -> Result<String, SendError> {
    match message.config.text("region") {
        "" => environment(&["AWS_REGION", "AWS_DEFAULT_REGION"]).ok_or_else(|| {
            SendError::last("there is no region, neither in sns_configs.sigv4.region nor in AWS_REGION")
        }),
        region => Ok(region.to_owned()),
    }
}

fn keys(message: &Message<'_>) -> Result<Keys, SendError> {
    if !message.config.text("access_key").is_empty() {
        return Ok(Keys {
            access_key: message.config.text("access_key").to_owned(),
            secret_key: message.secret("secret_key")?,
            session_token: String::new(),
        });
    }
    let found = environment(&["AWS_ACCESS_KEY_ID"]).zip(environment(&["AWS_SECRET_ACCESS_KEY"]));
    let (access_key, secret_key) = found.ok_or_else(|| {
        let told = "there are no keys, neither in sns_configs.sigv4 nor in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
        SendError::last(told)
    })?;
    Ok(Keys {
        access_key,
        secret_key,
        session_token: environment(&["AWS_SESSION_TOKEN"]).unwrap_or_default(),
    })
}

fn form(message: &Message<'_>) -> Result<String, SendError> {
    let mut attributes = BTreeMap::new();
    for (name, text) in message.config.map("attributes").into_iter().flatten() {
        attributes.insert(message.expand(name)?, message.expand(text)?);
    }
    let mut fields = vec![("Action", "Publish".to_owned())];
    let topic = message.field("topic_arn")?;
    if topic.ends_with(".fifo") {
        fields.push(("MessageDeduplicationId", message.id()));
        fields.push(("MessageGroupId", message.id()));
    }
    let phone = message.field("phone_number")?;
    let limit = if phone.is_empty() { MAX_BYTES } else { MAX_SMS_BYTES };
    let mut text = message.field("message")?;
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        attributes.insert("truncated".to_owned(), "true".to_owned());
    }
    fields.push(("Message", text));
    for (name, text) in [
        ("PhoneNumber", phone),
        ("Subject", truncate(&message.field("subject")?, MAX_SUBJECT)),
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
