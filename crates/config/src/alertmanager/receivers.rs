//! Reading receivers.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_model::go_quote;

use super::globals::Globals;
use super::integrations::read_integrations;
use super::{Anything, DISCORD_MESSAGE, DISCORD_TITLE, DiscordConfig, Receiver, WebhookConfig};
use crate::common::{HttpClientConfig, SecretSource};
use crate::http::read_http_config;
use crate::read::{Reader, Section};
use crate::yaml::{Node, Pos};

/// Reads `receivers`.
pub(super) fn read_receivers(section: &Section<'_>, globals: &Globals) -> Vec<Receiver> {
    let mut receivers: Vec<Receiver> = Vec::new();
    for node in section.items("receivers", "[]config.Receiver", "missing name in receiver") {
        let receiver = section.reader.section(node, "config.plain");
        let read = read_receiver(&receiver, globals);
        if read.name.is_empty() {
            section.reader.error(node.pos, "missing name in receiver");
        } else if receivers.iter().any(|other| other.name == read.name) {
            receiver.error_at(
                "name",
                format!("notification config name {} is not unique", go_quote(&read.name)),
            );
        }
        receiver.finish();
        receivers.push(read);
    }
    receivers
}

fn read_receiver(section: &Section<'_>, globals: &Globals) -> Receiver {
    let (reader, http) = (section.reader, &globals.http);
    let webhooks = section.items("webhook_configs", "[]*config.WebhookConfig", "missing webhook config");
    let discords = section.items("discord_configs", "[]*config.DiscordConfig", "missing discord config");
    Receiver {
        name: section.text("name").unwrap_or_default(),
        labels: section
            .get("labels")
            .map_or_else(BTreeMap::new, |node| reader.text_map(node)),
        webhook_configs: webhooks
            .into_iter()
            .filter_map(|node| read_webhook(reader, node, http))
            .collect(),
        discord_configs: discords
            .into_iter()
            .filter_map(|node| read_discord(reader, node, http))
            .collect(),
        integrations: read_integrations(section, globals),
    }
}

pub(super) fn read_http(section: &Section<'_>, inherited: &HttpClientConfig) -> HttpClientConfig {
    // As a whole: a receiver's own http_config takes nothing from the global one.
    section
        .get("http_config")
        .map_or_else(|| inherited.clone(), |node| read_http_config(section.reader, node))
}

fn read_webhook(reader: &Reader<'_>, node: &Node, http: &HttpClientConfig) -> Option<WebhookConfig> {
    let section = reader.section(node, "config.plain");
    let both = "at most one of url & url_file must be configured";
    let url = section.secret_source("url", "url_file", both);
    match &url {
        None => reader.error(section.pos, "one of url or url_file must be configured"),
        Some(source) => check_url(&section, "url", source),
    }
    let config = url.map(|url| WebhookConfig {
        send_resolved: section.bool("send_resolved").unwrap_or(true),
        url,
        max_alerts: section.count("max_alerts").unwrap_or(0),
        timeout: read_go_duration(&section, "timeout").unwrap_or_default(),
        payload: read_anything(&section, "payload"),
        http: read_http(&section, http),
    });
    if config.is_some() {
        section.finish();
    }
    config
}

fn read_discord(reader: &Reader<'_>, node: &Node, http: &HttpClientConfig) -> Option<DiscordConfig> {
    let section = reader.section(node, "config.plain");
    let both = "at most one of webhook_url & webhook_url_file must be configured";
    let webhook_url = section.secret_source("webhook_url", "webhook_url_file", both);
    match &webhook_url {
        None => reader.error(section.pos, "one of webhook_url or webhook_url_file must be configured"),
        Some(source) => check_url(&section, "webhook_url", source),
    }
    let config = webhook_url.map(|webhook_url| DiscordConfig {
        send_resolved: section.bool("send_resolved").unwrap_or(true),
        webhook_url,
        title: section.text("title").unwrap_or_else(|| DISCORD_TITLE.to_owned()),
        message: section.text("message").unwrap_or_else(|| DISCORD_MESSAGE.to_owned()),
        content: section.text("content").unwrap_or_default(),
        username: section.text("username").unwrap_or_default(),
        avatar_url: section.text("avatar_url").unwrap_or_default(),
        http: read_http(&section, http),
    });
    if config.is_some() {
        section.finish();
    }
    config
}

/// An address in place must be http or https with a host; a template can only be checked when it is used.
fn check_url(section: &Section<'_>, field: &str, source: &SecretSource) {
    if let SecretSource::Inline(url) = source {
        check_address(section, field, url.expose());
    }
}

/// As [`check_url`], of a text.
pub(super) fn check_address(section: &Section<'_>, field: &str, url: &str) {
    // What an Alertmanager shows of itself is read by amtool.
    if url.contains("{{") || url == "<secret>" {
        return;
    }
    // The messages do not show the address: it is a secret.
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
        section.error_at(field, format!("unsupported scheme {} for URL", go_quote(scheme)));
        return;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = authority.rsplit('@').next().unwrap_or("");
    let behind = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(_, behind)| behind),
        None => Some(host.find(':').map_or("", |at| host.get(at..).unwrap_or_default())),
    };
    let is_port = |behind: &str| {
        behind
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
    };
    if host.is_empty() {
        section.error_at(field, "missing host for URL");
    } else if behind.is_none() {
        section.error_at(field, "missing ']' in host of URL");
    } else if behind.is_some_and(|behind| !behind.is_empty() && !is_port(behind)) {
        section.error_at(field, "invalid port after host of URL");
    } else if url.contains(|c: char| c.is_control() || c == ' ') {
        section.error_at(field, "invalid control character in URL");
    }
}

/// A field of any shape; `None` where it is missing or empty.
pub(super) fn read_anything(section: &Section<'_>, name: &'static str) -> Option<Anything> {
    let value = Anything::of(section.get(name)?);
    if value.is_none() {
        section.error_at(
            name,
            format!("{name} says more than anybody takes; aliases multiply it"),
        );
    }
    value.filter(|value| *value != Anything::Null)
}

pub(super) fn read_go_duration(section: &Section<'_>, name: &'static str) -> Option<Duration> {
    let text = section.filled_text(name)?;
    let duration = parse_go_duration(&text);
    if duration.is_none() {
        let message = format!("time: invalid duration {}", go_quote(&text));
        let pos: Pos = section.key_pos(name);
        section
            .reader
            .error_hint(pos, message, "write it like 10s, 1m30s or 1.5h");
    }
    duration
}

/// Go's `time.ParseDuration`, without negative ones; `None` where the text is none.
#[must_use]
pub fn parse_go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let unit_len = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        for (text, ms) in [
            ("0", 0),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("250ms", 250),
        ] {
            assert_eq!(parse_go_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "10", "s", "1d", "-1s", "1.2.3s", "1 s", "9999999999999999999999h"] {
            assert_eq!(parse_go_duration(text), None, "{text}");
        }
    }
}
