//! Flags of agent mode: which only an agent has, and which it does not have.

use std::time::Duration;

use super::Exit;

/// How long an agent keeps what it has not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agent {
    /// Samples are not forgotten before; milliseconds.
    pub min_ms: i64,
    /// And after that in any case.
    pub max_ms: i64,
    /// How often the log is cut.
    pub truncate_every: Duration,
}

const ONLY_AGENT: &str = "storage.agent.";
const ONLY_SERVER: [&str; 5] = [
    "storage.tsdb.",
    "storage.remote.read-",
    "query.",
    "rules.",
    "alertmanager.",
];

/// Refuses flags that the mode does not have, with Prometheus's words and exit code.
pub(super) fn check<'a>(is_agent: bool, given: impl Iterator<Item = &'a str>) -> Result<(), Exit> {
    let is_wrong = |name: &&str| match is_agent {
        true => ONLY_SERVER.iter().any(|begin| name.starts_with(begin)),
        false => name.starts_with(ONLY_AGENT),
    };
    let wrong: Vec<String> = given.filter(is_wrong).map(|name| format!("\"--{name}\"")).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let which = if is_agent { "not be used" } else { "only be used" };
    Err(Exit {
        text: format!(
            "The following flag(s) can {which} in agent mode: [{}]\n",
            wrong.join(" ")
        ),
        code: 3,
        to_stdout: false,
    })
}
