//! Keys that a program prints: `credential_process` of a profile, run and read as Amazon's own libraries do.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::Keys;

const MAX_ANSWER: u64 = 64 << 10;
const SHOWN: usize = 200;
// As Amazon's libraries.
const LONGEST: Duration = Duration::from_secs(60);

/// The keys that `command` prints, and when they expire, in milliseconds since the epoch: never, where it does not say.
/// Whoever gives up waiting ends the program.
///
/// # Errors
/// Why there are none: what the program says of it, but nothing of what it printed, which may be a key.
pub(super) async fn keys(command: &str, timeout: Duration) -> Result<(Keys, i64), String> {
    let timeout = timeout.min(LONGEST);
    let run = tokio::time::timeout(timeout, run(command)).await;
    let printed = run.map_err(|_| format!("it has not ended within {}s", timeout.as_secs_f64()))??;
    read(&printed)
}

async fn run(command: &str) -> Result<Vec<u8>, String> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("sh: {error}"))?;
    let (printed, told) = tokio::join!(all_of(child.stdout.take()), all_of(child.stderr.take()));
    let status = child.wait().await.map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(printed);
    }
    let told = String::from_utf8_lossy(&told);
    let told: String = told.trim().chars().take(SHOWN).collect();
    match told.is_empty() {
        true => Err(format!("it ended with {status}")),
        false => Err(format!("it ended with {status}: {told}")),
    }
}

async fn all_of(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What comes beyond it meets a closed pipe.
        _ = pipe.take(MAX_ANSWER).read_to_end(&mut bytes).await;
    }
    bytes
}

pub(super) fn read(printed: &[u8]) -> Result<(Keys, i64), String> {
    let answer: Value = serde_json::from_slice(printed).map_err(|_| "it printed no JSON".to_owned())?;
    if answer.get("Version").and_then(Value::as_u64) != Some(1) {
        return Err("it printed another Version than 1".to_owned());
    }
    let field = |name: &str| {
        let value = answer.get(name).and_then(Value::as_str);
        value.filter(|value| !value.is_empty())
    };
    let required = |name: &str| field(name).ok_or_else(|| format!("it printed no {name}"));
    let keys = Keys {
        access_key: required("AccessKeyId")?.to_owned(),
        secret_key: required("SecretAccessKey")?.to_owned(),
        session_token: field("SessionToken").unwrap_or_default().to_owned(),
    };
    let expires = match field("Expiration").map(str::parse::<jiff::Timestamp>) {
        None => i64::MAX,
        Some(Ok(time)) => time.as_millisecond(),
        Some(Err(_)) => return Err("it printed an Expiration that is no time".to_owned()),
    };
    Ok((keys, expires))
}
