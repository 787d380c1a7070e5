//! What must hold beside the fields' types, with upstream's texts.

use std::collections::{BTreeMap, BTreeSet};

use cupola_model::go_quote;

use super::IntegrationConfig;
use crate::alertmanager::Anything;
use crate::alertmanager::globals::{Globals, check_smarthost};
use crate::common::{Auth, Secret, SecretSource};
use crate::read::Section;
use crate::yaml::Value;

fn missing(section: &Section<'_>, message: &str) {
    section.reader.error(section.pos, message);
}

/// Go's `textproto.CanonicalMIMEHeaderKey`.
fn canonical(name: &str) -> String {
    let mut at_start = true;
    let letter = |c: char| {
        let out = if at_start {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        };
        at_start = c == '-';
        out
    };
    name.chars().map(letter).collect()
}

pub(super) fn email(section: &Section<'_>, config: &mut IntegrationConfig, globals: &Globals) {
    if config.text("to").is_empty() {
        missing(section, "missing to address in email config");
    }
    if config.text("smarthost").is_empty() {
        missing(section, "no global SMTP smarthost set");
    }
    if config.text("from").is_empty() {
        missing(section, "no global SMTP from set");
    }
    check_smarthost(section, "smarthost", config.text("smarthost"));
    let mut headers = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (name, value) in config.maps.remove("headers").unwrap_or_default() {
        let name = canonical(&name);
        if !seen.insert(name.clone()) {
            section.error_at(
                "headers",
                format!("duplicate header {} in email config", go_quote(&name)),
            );
        }
        headers.insert(name, value);
    }
    config.maps.insert("headers", headers);
    config.flags.insert(
        "require_tls",
        section.bool("require_tls").unwrap_or(globals.smtp_require_tls),
    );
    // By the port where nothing is said.
    let implicit = section.bool("force_implicit_tls").or(globals.smtp_force_implicit_tls);
    if let Some(implicit) = implicit {
        config.flags.insert("force_implicit_tls", implicit);
    }
    if let Some(node) = section.get("threading") {
        let threading = section.reader.section(node, "config.plain");
        config
            .flags
            .insert("threading", threading.bool("enabled").unwrap_or(false));
        let by_date = threading
            .filled_text("thread_by_date")
            .unwrap_or_else(|| "daily".to_owned());
        if !matches!(by_date.as_str(), "daily" | "none") {
            let message = "threading.thread_by_date must be either 'none' or 'daily'";
            threading.error_at("thread_by_date", message);
        }
        for name in ["References", "In-Reply-To"] {
            if config.flag("threading") && config.map("headers").is_some_and(|map| map.contains_key(name)) {
                let message =
                    format!("conflicting configuration: threading.enabled conflicts with custom {name} header");
                section.error_at("headers", message);
            }
        }
        config.texts.insert("thread_by_date", by_date);
        threading.finish();
    }
}

pub(super) fn pagerduty(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    if config.secret("routing_key").is_none() && config.secret("service_key").is_none() {
        missing(section, "missing service or routing key in PagerDuty config");
    }
    let defaults = [
        ("firing", "{{ .Alerts.Firing | toJson }}"),
        ("resolved", "{{ .Alerts.Resolved | toJson }}"),
        ("num_firing", "{{ .Alerts.Firing | len }}"),
        ("num_resolved", "{{ .Alerts.Resolved | len }}"),
    ];
    let details = config.free.entry("details").or_default();
    for (name, value) in defaults {
        let details = details.entry(name.to_owned());
        details.or_insert_with(|| Anything::Text(value.to_owned()));
    }
    if config.text("source").is_empty() {
        let client = config.text("client").to_owned();
        config.texts.insert("source", client);
    }
    if config.text("severity").is_empty() {
        config.texts.insert("severity", "error".to_owned());
    }
}

pub(super) fn opsgenie(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    if config.secret("api_key").is_none() {
        missing(section, "no global OpsGenie API Key set either inline or in a file");
    }
    for responder in config.items("responders") {
        let part = |name| responder.get(name).map_or("", String::as_str);
        if ["id", "username", "name"].into_iter().all(|name| part(name).is_empty()) {
            let message = "opsGenieConfig responder has to have at least one of id, username or name specified";
            section.error_at("responders", message);
        }
        let kind = part("type");
        let is_known = ["team", "teams", "user", "escalation", "schedule"].contains(&kind.to_lowercase().as_str());
        if !is_known && !kind.contains("{{") {
            let message = format!(
                "opsGenieConfig responder type {} does not match valid options team, teams, user, escalation, schedule",
                go_quote(kind)
            );
            section.error_at("responders", message);
        }
    }
}

pub(super) fn wechat(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    if config.secret("api_secret").is_none() {
        missing(section, "no global Wechat Api Secret set either inline or in a file");
    }
    if config.text("corp_id").is_empty() {
        missing(section, "no global Wechat CorpID set");
    }
    let kind = config.text("message_type");
    if !matches!(kind, "text" | "markdown") {
        let message = format!(
            "weChat message type {} does not match valid options text, markdown",
            go_quote(kind)
        );
        section.error_at("message_type", message);
    }
}

pub(super) fn slack(section: &Section<'_>, config: &mut IntegrationConfig, globals: &Globals) {
    let app_url = config.text("app_url").to_owned();
    let is_app_url = |source: &SecretSource| matches!(source, SecretSource::Inline(url) if url.expose() == app_url);
    match (config.secret("api_url").cloned(), config.secret("app_token").cloned()) {
        (Some(url), Some(_)) if !is_app_url(&url) => {
            let message = "at most one of app_token/app_token_file & api_url/api_url_file must be configured";
            section.error_at("app_token", message);
        }
        (None, None) => {
            let has_own_auth = section.get("http_config").is_some() && config.http.auth.is_some();
            if has_own_auth {
                // How bot tokens were given before there was a field for them.
                let url = globals
                    .secret("slack_api_url")
                    .unwrap_or_else(|| SecretSource::Inline(Secret::new(app_url.clone())));
                config.secrets.insert("api_url", url);
            } else if let Some(token) = globals.secret("slack_app_token") {
                config.secrets.insert("app_token", token);
            } else if let Some(url) = globals.secret("slack_api_url") {
                config.secrets.insert("api_url", url);
            } else {
                missing(section, "no Slack API URL nor App token set either inline or in a file");
            }
        }
        _ => {}
    }
    let is_bot = config.secret("app_token").is_some() || config.secret("api_url").is_some_and(is_app_url);
    if config.flag("update_message") && !is_bot {
        let message = "update_message can only be used with bot tokens. api_url must be set to \
                       https://slack.com/api/chat.postMessage";
        section.error_at("update_message", message);
    }
    if config.secret("app_token").is_some() && section.get("http_config").is_some() && config.http.auth.is_some() {
        section.error_at(
            "http_config",
            "http authorization can't be set when using Slack App tokens",
        );
    }
    for field in config.items("fields") {
        for name in ["title", "value"] {
            if field.get(name).is_none_or(String::is_empty) {
                section.error_at("fields", format!("missing {name} in Slack field configuration"));
            }
        }
    }
    for action in config.items("actions") {
        let part = |name| action.get(name).is_some_and(|text| !text.is_empty());
        if !part("type") {
            section.error_at("actions", "missing type in Slack action configuration");
        }
        if !part("text") {
            section.error_at("actions", "missing text in Slack action configuration");
        }
        if !part("url") && !part("name") {
            section.error_at("actions", "missing name or url in Slack action configuration");
        }
        if action.contains_key("confirm") && !part("confirm.text") {
            section.error_at("actions", "missing text in Slack confirmation configuration");
        }
    }
}

pub(super) fn victorops(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    const RESERVED: [&str; 7] = [
        "routing_key",
        "message_type",
        "state_message",
        "entity_display_name",
        "monitoring_tool",
        "entity_id",
        "entity_state",
    ];
    if config.secret("api_key").is_none() {
        missing(section, "no global VictorOps API Key set");
    }
    if config.text("routing_key").is_empty() {
        missing(section, "missing Routing key in VictorOps config");
    }
    let fields = config.map("custom_fields").into_iter().flatten();
    for (name, _) in fields.filter(|(name, _)| RESERVED.contains(&name.as_str())) {
        let message = format!(
            "victorOps config contains custom field {name} which cannot be used as it conflicts with the fixed/static fields"
        );
        section.error_at("custom_fields", message);
    }
}

pub(super) fn pushover(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    for (name, file) in [("user_key", "user_key_file"), ("token", "token_file")] {
        if config.secret(name).is_none() {
            missing(section, &format!("one of {name} or {file} must be configured"));
        }
    }
    if config.flag("html") && config.flag("monospace") {
        section.error_at("monospace", "at most one of monospace & html must be configured");
    }
    for name in ["retry", "expire", "ttl"] {
        let text = config.text(name);
        if !text.is_empty() && crate::alertmanager::receivers::parse_go_duration(text).is_none() {
            section.error_at(name, format!("time: invalid duration {}", go_quote(text)));
        }
    }
}

pub(super) fn sns(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    // Upstream's own rule: one of them, or all.
    let targets = ["topic_arn", "phone_number", "target_arn"];
    let missing_targets = targets.iter().filter(|name| config.text(name).is_empty()).count();
    if missing_targets % 2 == 1 {
        missing(
            section,
            "must provide either a Target ARN, Topic ARN, or Phone Number for SNS config",
        );
    }
    if let Some(node) = section.get("sigv4") {
        let sigv4 = section.reader.section(node, "sigv4.plain");
        for name in ["region", "access_key", "profile", "role_arn", "external_id"] {
            config.texts.insert(name, sigv4.text(name).unwrap_or_default());
        }
        if sigv4.bool("use_fips_sts_endpoint") == Some(true) {
            config.texts.insert("use_fips_sts_endpoint", "true".to_owned());
        }
        if let Some(key) = sigv4.secret("secret_key") {
            config.secrets.insert("secret_key", SecretSource::Inline(key));
        }
        if config.text("access_key").is_empty() != config.secret("secret_key").is_none() {
            section.error_at(
                "sigv4",
                "must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 config",
            );
        }
        sigv4.finish();
    }
}

pub(super) fn telegram(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    if config.secret("bot_token").is_none() {
        missing(section, "missing bot_token or bot_token_file on telegram_config");
    }
    let (chat, file) = (config.text("chat_id"), config.text("chat_id_file"));
    if chat.is_empty() && file.is_empty() {
        missing(section, "missing chat_id or chat_id_file on telegram_config");
    }
    if !chat.is_empty() && !file.is_empty() {
        section.error_at(
            "chat_id_file",
            "at most one of chat_id & chat_id_file must be configured",
        );
    }
    if !chat.is_empty() && chat.parse::<i64>().is_err() {
        section.error_at("chat_id", format!("cannot unmarshal {} into int64", go_quote(chat)));
    }
    if !matches!(config.text("parse_mode"), "" | "Markdown" | "MarkdownV2" | "HTML") {
        let message = "unknown parse_mode on telegram_config, must be Markdown, MarkdownV2, HTML or empty string";
        section.error_at("parse_mode", message);
    }
}

pub(super) fn webex(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    if config.text("room_id").is_empty() {
        missing(section, "missing room_id on webex_config");
    }
    if !matches!(config.http.auth, Some(Auth::Authorization { .. })) {
        missing(section, "missing webex_configs.http_config.authorization");
    }
}

pub(super) fn webhook_url(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    if config.secret("webhook_url").is_none() {
        missing(section, "one of webhook_url or webhook_url_file must be configured");
    }
}

pub(super) fn jira(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    for name in ["project", "issue_type"] {
        if config.text(name).is_empty() {
            missing(section, &format!("missing {name} in jira_config"));
        }
    }
    if config.text("api_url").is_empty() {
        missing(section, "no global Jira Cloud URL set");
    }
    // A template, or a template and whether it also changes issues that are there (0.29).
    for (name, updates, default) in [
        ("summary", "summary.update", "{{ template \"jira.default.summary\" . }}"),
        (
            "description",
            "description.update",
            "{{ template \"jira.default.description\" . }}",
        ),
    ] {
        let (mut text, mut update) = (None, None);
        match section.get(name) {
            Some(node) if matches!(node.value, Value::Map(_)) => {
                let own = section.reader.section(node, "config.plain");
                (text, update) = (own.text("template"), own.bool("enable_update"));
                own.finish();
            }
            _ => text = section.text(name).or(text),
        }
        config.texts.insert(name, text.unwrap_or_else(|| default.to_owned()));
        config.flags.insert(updates, update.unwrap_or(true));
    }
    let minutes = section.duration("reopen_duration").unwrap_or_default().as_secs() / 60;
    config.texts.insert("reopen_minutes", minutes.to_string());
    if !matches!(config.text("api_type"), "auto" | "cloud" | "datacenter") {
        section.error_at(
            "api_type",
            "unknown api_type on jira_config, must be auto, cloud or datacenter",
        );
    }
}

pub(super) fn rocketchat(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    if config.secret("token").is_none() {
        missing(section, "no global Rocketchat Token set either inline or in a file");
    }
    if config.secret("token_id").is_none() {
        missing(section, "no global Rocketchat TokenID set either inline or in a file");
    }
}

pub(super) fn mattermost(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    if config.secret("webhook_url").is_none() {
        missing(section, "missing webhook_url or webhook_url_file on mattermost_config");
    }
    if let Some(node) = section.get("props") {
        let props = section.reader.section(node, "config.plain");
        config.texts.insert("card", props.text("card").unwrap_or_default());
        props.finish();
    }
    if let Some(node) = section.get("priority") {
        let priority = section.reader.section(node, "config.plain");
        config
            .texts
            .insert("priority", priority.text("priority").unwrap_or_default());
        for name in ["requested_ack", "persistent_notifications"] {
            config.flags.insert(name, priority.bool(name).unwrap_or(false));
        }
        priority.finish();
    }
}

pub(super) fn incidentio(section: &Section<'_>, config: &mut IntegrationConfig, _: &Globals) {
    if config.secret("url").is_none() {
        missing(section, "one of url or url_file must be configured");
    }
    if config.secret("alert_source_token").is_none() && config.http.auth.is_none() {
        missing(
            section,
            "at least one of alert_source_token, alert_source_token_file or http_config.authorization must be configured",
        );
    }
}
