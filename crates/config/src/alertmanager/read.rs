//! Reading alertmanager.yml.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use cupola_model::go_quote;

use super::receivers::read_receivers;
use super::route::{read_matchers, read_route_tree};
use super::{AlertmanagerConfig, InhibitRule, NamedTimeIntervals};
use crate::common::HttpClientConfig;
use crate::error::ConfigErrors;
use crate::files::{Files, read_text};
use crate::http::read_http_config;
use crate::matchers::MatcherMode;
use crate::read::{Reader, Section};
use crate::redact::show;
use crate::time_interval::read_time_interval;
use crate::yaml::{Node, Pos};

/// Reads alertmanager.yml from a text; `path` is used in messages and to resolve relative paths.
///
/// # Errors
/// Every mistake in the text.
pub fn parse_alertmanager(text: &str, path: &Path, mode: MatcherMode) -> Result<AlertmanagerConfig, ConfigErrors> {
    let reader = Reader::new(path);
    let document = reader.document(text);
    let config = match document.root.as_deref().filter(|root| !root.is_null()) {
        Some(root) => {
            let section = reader.section(root, "config.plain");
            let config = read_config(&section, root, mode);
            section.finish();
            config
        }
        None => {
            if reader.is_clean() {
                reader.error(Pos::START, "no route provided in config");
            }
            None
        }
    };
    reader.result(config)
}

/// Reads alertmanager.yml.
///
/// # Errors
/// As [`parse_alertmanager`], or why the file cannot be read.
pub fn load_alertmanager(
    path: &Path,
    mode: MatcherMode,
    files: &dyn Files,
) -> Result<AlertmanagerConfig, ConfigErrors> {
    parse_alertmanager(&read_text(files, path)?, path, mode)
}

struct Global {
    resolve_timeout: Duration,
    http: HttpClientConfig,
}

fn read_config(section: &Section<'_>, root: &Node, mode: MatcherMode) -> Option<AlertmanagerConfig> {
    let reader = section.reader;
    for name in ["tracing", "event_recorder"] {
        section.unsupported(name);
    }
    let global = read_global(
        section
            .get("global")
            .map_or_else(|| reader.no_section(), |node| reader.section(node, "config.plain")),
    );
    let templates = section
        .texts("templates")
        .iter()
        .map(|pattern| reader.resolve(pattern))
        .collect();
    let receivers = read_receivers(section, &global.http);
    let inhibit_rules = section.items("inhibit_rules", "[]config.InhibitRule", "");
    let inhibit_rules = inhibit_rules
        .into_iter()
        .map(|node| read_inhibit_rule(reader, node, mode))
        .collect();
    let time_intervals = read_named_intervals(section);
    let route = match section.get("route") {
        Some(node) => {
            let receivers: HashSet<&str> = receivers.iter().map(|receiver| receiver.name.as_str()).collect();
            let intervals = time_intervals.iter().map(|interval| interval.name.as_str()).collect();
            read_route_tree(reader, node, mode, &receivers, &intervals)
        }
        None => {
            reader.error(section.pos, "no route provided in config");
            None
        }
    };
    Some(AlertmanagerConfig {
        resolve_timeout: global.resolve_timeout,
        templates,
        route: route?,
        receivers,
        inhibit_rules,
        time_intervals,
        warnings: reader.take_warnings(),
        shown_text: show(root, reader),
    })
}

// Settings of `global` for receiver kinds that this version lacks: name, and whether it is a secret.
const UNUSED_GLOBALS: [(&str, bool); 37] = [
    ("smtp_from", false),
    ("smtp_smarthost", false),
    ("smtp_hello", false),
    ("smtp_auth_username", false),
    ("smtp_auth_password", true),
    ("smtp_auth_password_file", false),
    ("smtp_auth_secret", true),
    ("smtp_auth_secret_file", false),
    ("smtp_auth_identity", false),
    ("smtp_require_tls", false),
    ("smtp_force_implicit_tls", false),
    ("slack_api_url", true),
    ("slack_api_url_file", false),
    ("slack_app_token", true),
    ("slack_app_token_file", false),
    ("slack_app_url", false),
    ("pagerduty_url", false),
    ("opsgenie_api_url", false),
    ("opsgenie_api_key", true),
    ("opsgenie_api_key_file", false),
    ("wechat_api_url", false),
    ("wechat_api_secret", true),
    ("wechat_api_secret_file", false),
    ("wechat_api_corp_id", false),
    ("victorops_api_url", false),
    ("victorops_api_key", true),
    ("victorops_api_key_file", false),
    ("telegram_api_url", false),
    ("telegram_bot_token", true),
    ("telegram_bot_token_file", false),
    ("webex_api_url", false),
    ("rocketchat_api_url", false),
    ("rocketchat_token", true),
    ("rocketchat_token_file", false),
    ("rocketchat_token_id", true),
    ("rocketchat_token_id_file", false),
    ("jira_api_url", false),
];

const EXCLUSIVE_GLOBALS: [(&str, &str); 10] = [
    ("smtp_auth_password", "smtp_auth_password_file"),
    ("smtp_auth_secret", "smtp_auth_secret_file"),
    ("slack_api_url", "slack_api_url_file"),
    ("slack_app_token", "slack_app_token_file"),
    ("opsgenie_api_key", "opsgenie_api_key_file"),
    ("wechat_api_secret", "wechat_api_secret_file"),
    ("victorops_api_key", "victorops_api_key_file"),
    ("telegram_bot_token", "telegram_bot_token_file"),
    ("rocketchat_token", "rocketchat_token_file"),
    ("rocketchat_token_id", "rocketchat_token_id_file"),
];

const SLACK_APP_URL: &str = "https://slack.com/api/chat.postMessage";

fn read_global(section: Section<'_>) -> Global {
    let reader = section.reader;
    let secrets = [("mattermost_webhook_url", true), ("mattermost_webhook_url_file", false)];
    for (name, is_secret) in UNUSED_GLOBALS.into_iter().chain(secrets) {
        let Some(node) = section.get(name) else { continue };
        if is_secret {
            reader.mark_secret(node);
        }
        if reader.text(node).is_some_and(|text| !text.is_empty()) {
            section.warn_without_effect(name, "it is for receivers that it does not have yet");
        }
    }
    if let Some(node) = section.get("smtp_tls_config") {
        crate::http::read_tls(reader, node);
    }
    let exclusive = EXCLUSIVE_GLOBALS
        .into_iter()
        .chain([("mattermost_webhook_url", "mattermost_webhook_url_file")]);
    for (inline, file) in exclusive {
        if section.filled_text(inline).is_some() && section.filled_text(file).is_some() {
            section.error_at(file, format!("at most one of {inline} & {file} must be configured"));
        }
    }
    let is_given = |names: [&'static str; 2]| names.into_iter().any(|name| section.filled_text(name).is_some());
    // Bot tokens used to be given with the app's address as the API's; both together are fine where they agree.
    let app_url = section
        .filled_text("slack_app_url")
        .unwrap_or_else(|| SLACK_APP_URL.to_owned());
    let is_app = section.filled_text("slack_api_url").is_some_and(|url| url == app_url);
    if is_given(["slack_api_url", "slack_api_url_file"])
        && is_given(["slack_app_token", "slack_app_token_file"])
        && !is_app
    {
        let message = "at most one of slack_app_token/slack_app_token_file & slack_api_url/slack_api_url_file must be \
                       configured";
        section.error_at("slack_app_token", message);
    }
    if let Some(host) = section.filled_text("smtp_smarthost")
        && host.rsplit_once(':').is_none_or(|(_, port)| port.is_empty())
    {
        section.error_at("smtp_smarthost", format!("address {host}: missing port in address"));
    }
    let http = section
        .get("http_config")
        .map(|node| read_http_config(reader, node))
        .unwrap_or_default();
    let resolve_timeout = section.duration("resolve_timeout").unwrap_or(Duration::from_secs(300));
    section.finish();
    Global { resolve_timeout, http }
}

fn read_inhibit_rule(reader: &Reader<'_>, node: &Node, mode: MatcherMode) -> InhibitRule {
    let section = reader.section(node, "config.plain");
    let equal = section.texts("equal");
    for name in equal.iter().filter(|name| name.is_empty()) {
        section.error_at("equal", format!("invalid label name {} in equal list", go_quote(name)));
    }
    let rule = InhibitRule {
        name: section.text("name").unwrap_or_default(),
        source: read_matchers(&section, ["source_match", "source_match_re", "source_matchers"], mode),
        target: read_matchers(&section, ["target_match", "target_match_re", "target_matchers"], mode),
        equal,
    };
    section.finish();
    rule
}

fn read_named_intervals(section: &Section<'_>) -> Vec<NamedTimeIntervals> {
    let reader = section.reader;
    let mut all: Vec<NamedTimeIntervals> = Vec::new();
    for field in ["mute_time_intervals", "time_intervals"] {
        for node in section.items(field, "[]config.TimeInterval", "") {
            let named = reader.section(node, "config.plain");
            let name = named.text("name").unwrap_or_default();
            if name.is_empty() {
                let kind = if field == "time_intervals" {
                    "time interval"
                } else {
                    "mute time interval"
                };
                reader.error(node.pos, format!("missing name in {kind}"));
            } else if all.iter().any(|other| other.name == name) {
                named.error_at("name", format!("time interval {} is not unique", go_quote(&name)));
            }
            let intervals = named.items("time_intervals", "[]timeinterval.TimeInterval", "");
            let intervals = intervals
                .into_iter()
                .map(|node| read_time_interval(reader, node))
                .collect();
            named.finish();
            all.push(NamedTimeIntervals { name, intervals });
        }
    }
    if section.get("mute_time_intervals").is_some() {
        reader.warn(
            section.key_pos("mute_time_intervals"),
            "mute_time_intervals is deprecated, use time_intervals",
        );
    }
    all
}
