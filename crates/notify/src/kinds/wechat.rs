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
// What it says of a token: expired, or none (any more). Alertmanager fetches another one for the first alone, and sends the
// other for two hours.
const TOKEN_USELESS: [i64; 2] = [42_001, 40_014];
const BUSY: i64 = -1;

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
    let told = |error: SendError| SendError {
        // As Alertmanager: whatever the status, it is asked again.
        retry: true,
        // An answer may repeat it.
        message: error.message.replace(&access, "<secret>"),
        ..error
    };
    let response = message.post(&url, &body, &[]).await.map_err(told)?;
    let answer = read(&response.body).map_err(told)?;
    if answer.errcode == 0 {
        return Ok(());
    }
    let is_useless = TOKEN_USELESS.contains(&answer.errcode);
    if is_useless {
        token.set(None);
    }
    Err(SendError {
        retry: is_useless || answer.errcode == BUSY,
        ..SendError::last(format!("WeChat refuses the message: {answer}").replace(&access, "<secret>"))
    })
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = self.errmsg.chars().take(300).collect();
        write!(f, "{text} (errcode {})", self.errcode)
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
        return Err(SendError {
            retry: answer.errcode == BUSY,
            ..SendError::last(format!("invalid APISecret for CorpID: {corp}: {answer}"))
        });
    }
    Ok(answer.access_token)
}

fn read(body: &[u8]) -> Result<Answer, SendError> {
    serde_json::from_slice(body).map_err(|error| SendError {
        retry: true,
        ..SendError::last(format!("WeChat's answer is no JSON: {error}"))
    })
}
