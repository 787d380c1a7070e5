//! The file of `--web.config.file` (Prometheus's exporter-toolkit): TLS, passwords and headers of our own listeners.

mod bcrypt;
pub(crate) mod tls;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cupola_model::go_quote;

use crate::alertmanager::go_duration;
use crate::common::Secret;
use crate::error::{ConfigErrors, ConfigWarning};
use crate::files::{Files, read_text};
use crate::read::{Reader, Section};
use crate::yaml::{Node, Value, parse_int};

pub use tls::{CipherSuite, ClientAuth, Curve, WebPem, WebTls};

// The headers that may be set, and which values they may have; none named is any (exporter-toolkit, `extraHTTPHeaders`).
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];
// Beyond this cost one check of a password takes seconds, and they are done one after the other.
const HIGH_COST: u32 = 14;

/// What the file says; the default is that of an empty one: neither TLS nor passwords.
#[derive(Debug, Clone)]
pub struct WebConfig {
    /// `None` is plain HTTP.
    pub tls: Option<WebTls>,
    /// Whether HTTP/2 is offered, which takes TLS.
    pub http2: bool,
    /// Headers that every answer carries.
    pub headers: BTreeMap<String, String>,
    /// Names and what bcrypt made of their passwords; where there are none everybody may ask.
    pub users: BTreeMap<String, Secret>,
    /// How many requests are answered.
    pub rate_limit: Option<RateLimit>,
    /// What has no effect, or another one than may be expected.
    pub warnings: Vec<ConfigWarning>,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            tls: None,
            http2: true,
            headers: BTreeMap::new(),
            users: BTreeMap::new(),
            rate_limit: None,
            warnings: Vec::new(),
        }
    }
}

/// A bucket of permits for requests, whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How often a permit is added; more than zero.
    pub interval: Duration,
    /// How many the bucket holds at most.
    pub burst: u64,
}

/// Reads the file. Files that it names are not looked for.
///
/// # Errors
/// Every mistake, each with its place.
pub fn load_web_config(path: &Path, files: &dyn Files) -> Result<WebConfig, ConfigErrors> {
    parse_web_config(&read_text(files, path)?, path)
}

/// As [`load_web_config`] for a text; `path` is for messages, and relative paths begin in its folder.
///
/// # Errors
/// Every mistake, each with its place.
pub fn parse_web_config(text: &str, path: &Path) -> Result<WebConfig, ConfigErrors> {
    let reader = Reader::new(path);
    let document = reader.document(text);
    let mut config = match document.root.as_deref() {
        Some(root) => read(&reader, root),
        None => WebConfig::default(),
    };
    config.warnings = reader.take_warnings();
    reader.result(Some(config))
}

fn read(reader: &Reader<'_>, root: &Node) -> WebConfig {
    let section = reader.section(root, "web.Config");
    let mut config = WebConfig::default();
    if let Some(node) = section.get("http_server_config") {
        let http = reader.section(node, "web.HTTPConfig");
        config.http2 = http.bool("http2").unwrap_or(true);
        config.headers = http
            .get("headers")
            .map(|node| read_headers(reader, node))
            .unwrap_or_default();
        http.finish();
    }
    if let Some(node) = section.get("tls_server_config") {
        config.tls = tls::read(reader, section.key_pos("tls_server_config"), node, config.http2);
    }
    if let Some(node) = section.get("basic_auth_users") {
        config.users = read_users(reader, node);
    }
    if let Some(node) = section.get("rate_limit") {
        config.rate_limit = read_rate_limit(reader, node);
    }
    section.finish();
    config
}

fn read_headers(reader: &Reader<'_>, node: &Node) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for entry in reader.entries(node, "map[string]string") {
        let Some(value) = reader.text(&entry.value) else {
            continue;
        };
        let Some((name, allowed)) = HEADERS.iter().find(|(name, _)| *name == entry.key) else {
            let names: Vec<&str> = HEADERS.iter().map(|(name, _)| *name).collect();
            let message = format!("HTTP header {} can not be configured", go_quote(&entry.key));
            reader.error_hint(entry.key_pos, message, format!("one of {}", names.join(", ")));
            continue;
        };
        if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
            let quoted: Vec<String> = allowed.iter().map(|value| go_quote(value)).collect();
            let message = format!(
                "invalid value for {name}. Expected one of: [{}], but got: {}",
                quoted.join(" "),
                go_quote(&value)
            );
            reader.error(entry.value.pos, message);
        } else if value.chars().any(|c| c.is_control() || !c.is_ascii()) {
            reader.error(
                entry.value.pos,
                format!("the value of {name} must be one line of ASCII"),
            );
        } else if !value.is_empty() {
            headers.insert((*name).to_owned(), value);
        }
    }
    headers
}

fn read_users(reader: &Reader<'_>, node: &Node) -> BTreeMap<String, Secret> {
    let mut users = BTreeMap::new();
    for entry in reader.entries(node, "map[string]config.Secret") {
        reader.mark_secret(&entry.value);
        let Some(hash) = reader.text(&entry.value) else {
            continue;
        };
        if entry.key.contains(':') {
            reader.warn(entry.key_pos, "a name with a colon cannot be sent by any client");
        }
        match bcrypt::cost(&hash) {
            Ok(cost) if cost > HIGH_COST => reader.warn(
                entry.value.pos,
                format!("a bcrypt cost of {cost} makes the first request with this password take seconds or worse"),
            ),
            Ok(_) => {}
            Err(message) => {
                let hint = "make a hash with: htpasswd -nBC 10 \"\" | tr -d ':\\n'";
                reader.error_hint(entry.value.pos, message, hint);
            }
        }
        users.insert(entry.key.clone(), Secret::new(hash));
    }
    users
}

fn read_rate_limit(reader: &Reader<'_>, node: &Node) -> Option<RateLimit> {
    let section = reader.section(node, "web.RateLimiterConfig");
    let burst = section.count("burst").unwrap_or(0);
    let interval = read_interval(&section, "interval").unwrap_or_default();
    if interval.is_zero() && burst > 0 {
        reader.warn(section.key_pos("burst"), "burst has no effect without an interval");
    }
    if !interval.is_zero() && burst == 0 {
        reader.warn(
            section.key_pos("interval"),
            "without a burst of at least 1 every request is refused",
        );
    }
    section.finish();
    (!interval.is_zero()).then_some(RateLimit { interval, burst })
}

// Go's library takes a text such as 100ms, or a number of nanoseconds.
fn read_interval(section: &Section<'_>, name: &'static str) -> Option<Duration> {
    let node = section.get(name)?;
    let text = section.reader.text(node)?;
    let nanoseconds = match &node.value {
        Value::Scalar(scalar) if !scalar.is_text => parse_int(&scalar.text),
        _ => None,
    };
    let interval = match nanoseconds {
        Some(number) => u64::try_from(number).ok().map(Duration::from_nanos),
        None => go_duration(&text),
    };
    if interval.is_none() {
        let message = format!("time: invalid duration {}", go_quote(&text));
        section
            .reader
            .error_hint(node.pos, message, "write it like 100ms, 1s or 1m30s");
    }
    interval
}

#[cfg(test)]
mod tests;
