//! WeChat Work: a token is fetched, kept for two hours, and sent with each message.

use std::time::{Duration, Instant};

use cupola_model::query_escape;
use http::Method;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Message, is_empty};
use crate::integration::SendError;

// WeChat's own; Alertmanager's, too.
const TOKEN_AGE: Duration = Duration::from_secs(2 * 3600);
const TOKEN_EXPIRED: i64 = 42_001;

/// The access token, and when it was fetched.
#[derive(Default)]
pub(super) struct Token(Mutex<Option<(String, Instant)>>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    fn get(&self) -> Option<String> {
        let held = self.0.lock();
        let (token, at) = held.as_ref()?;
        (at.elapsed() < TOKEN_AGE).then(|| token.clone())
    }

    fn set(&self, token: Option<String>) {
        *self.0.lock() = token.map(|token| (token, Instant::now()));
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    access_token: String,
    errcode: i64,
    errmsg: String,
}

#[derive(Serialize)]
struct Body {
    text: Content,
    #[serde(skip_serializing_if = "is_empty")]
    touser: String,
    #[serde(skip_serializing_if = "is_empty")]
    toparty: String,
    #[serde(skip_serializing_if = "is_empty")]
    totag: String,
    #[serde(skip_serializing_if = "is_empty")]
    agentid: String,
    safe: &'static str,
    msgtype: &'static str,
    markdown: Content,
}

#[derive(Serialize, Default)]
struct Content {
    content: String,
}

pub(super) async fn send(message: &Message<'_>, token: &Token) -> Result<(), SendError> {
    let base = message.config.text("api_url").trim_end_matches('/');
    let access = match token.get() {
        Some(access) => access,
        None => {
            let access = fetch(message, base).await?;
            token.set(Some(access.clone()));
            access
        }
    };
    let content = Content {
        content: message.field("message")?,
    };
    let (msgtype, text, markdown) = match message.config.text("message_type") {
        "markdown" => ("markdown", Content::default(), content),
        _ => ("text", content, Content::default()),
    };
    let body = Body {
        text,
        touser: message.field("to_user")?,
        toparty: message.field("to_party")?,
        totag: message.field("to_tag")?,
        agentid: message.field("agent_id")?,
        safe: "0",
        msgtype,
        markdown,
    };
    let url = format!("{base}/message/send?access_token={}", query_escape(&access));
    let response = message.post(&url, &body, &[]).await?;
    let answer = read(&response.body)?;
    match answer.errcode {
        0 => Ok(()),
        TOKEN_EXPIRED => {
            token.set(None);
            Err(SendError {
                retry: true,
                ..SendError::last(answer.errmsg)
            })
        }
        _ => Err(SendError::last(answer.errmsg)),
    }
}

async fn fetch(message: &Message<'_>, base: &str) -> Result<String, SendError> {
    let (corp, secret) = (message.field("corp_id")?, message.secret("api_secret")?);
    let url = format!(
        "{base}/gettoken?corpid={}&corpsecret={}",
        query_escape(&corp),
        query_escape(&secret)
    );
    let response = message.request(Method::GET, &url, None, &[]).await?;
    let answer = read(&response.body)?;
    if answer.access_token.is_empty() {
        return Err(SendError::last(format!("invalid APISecret for CorpID: {corp}")));
    }
    Ok(answer.access_token)
}

fn read(body: &[u8]) -> Result<Answer, SendError> {
    serde_json::from_slice(body).map_err(|error| SendError {
        retry: true,
        ..SendError::last(format!("WeChat's answer is no JSON: {error}"))
    })
}
