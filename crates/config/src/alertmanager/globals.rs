//! `global` of alertmanager.yml: what receivers take where they say nothing of their own (Alertmanager 0.34).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::{HttpClientConfig, SecretSource, TlsConfig};
use crate::http::{read_http_config, read_tls};
use crate::read::Section;

use super::receivers::check_address;

/// Texts with their defaults.
pub(super) const TEXTS: [(&str, &str); 15] = [
    ("smtp_from", ""),
    ("smtp_smarthost", ""),
    ("smtp_hello", "localhost"),
    ("smtp_auth_username", ""),
    ("smtp_auth_identity", ""),
    ("slack_app_url", "https://slack.com/api/chat.postMessage"),
    ("pagerduty_url", "https://events.pagerduty.com/v2/enqueue"),
    ("opsgenie_api_url", "https://api.opsgenie.com/"),
    ("wechat_api_url", "https://qyapi.weixin.qq.com/cgi-bin/"),
    ("wechat_api_corp_id", ""),
    (
        "victorops_api_url",
        "https://alert.victorops.com/integrations/generic/20131114/alert/",
    ),
    ("telegram_api_url", "https://api.telegram.org"),
    ("webex_api_url", "https://webexapis.com/v1/messages"),
    ("rocketchat_api_url", "https://open.rocket.chat/"),
    ("jira_api_url", ""),
];

/// Secrets and the fields of their files.
const SECRETS: [(&str, &str); 11] = [
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
    ("mattermost_webhook_url", "mattermost_webhook_url_file"),
];

/// What `global` says.
#[derive(Debug)]
pub(super) struct Globals {
    pub resolve_timeout: Duration,
    pub http: HttpClientConfig,
    pub smtp_require_tls: bool,
    pub smtp_force_implicit_tls: Option<bool>,
    pub smtp_tls: TlsConfig,
    texts: BTreeMap<&'static str, String>,
    secrets: BTreeMap<&'static str, SecretSource>,
}

impl Globals {
    pub(super) fn text(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }

    pub(super) fn secret(&self, name: &str) -> Option<SecretSource> {
        self.secrets.get(name).cloned()
    }
}

pub(super) fn read_globals(section: Section<'_>) -> Globals {
    let reader = section.reader;
    let mut globals = Globals {
        resolve_timeout: section.duration("resolve_timeout").unwrap_or(Duration::from_secs(300)),
        http: section
            .get("http_config")
            .map(|node| read_http_config(reader, node))
            .unwrap_or_default(),
        smtp_require_tls: section.bool("smtp_require_tls").unwrap_or(true),
        smtp_force_implicit_tls: section.bool("smtp_force_implicit_tls"),
        smtp_tls: section
            .get("smtp_tls_config")
            .map_or_else(TlsConfig::default, |node| read_tls(reader, node)),
        texts: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    for (name, default) in TEXTS {
        globals
            .texts
            .insert(name, section.filled_text(name).unwrap_or_else(|| default.to_owned()));
    }
    for (name, file) in SECRETS {
        let both = format!("at most one of {name} & {file} must be configured");
        if let Some(source) = section.secret_source(name, file, &both) {
            globals.secrets.insert(name, source);
        }
    }
    let is_given = |names: [&'static str; 2]| names.into_iter().any(|name| section.filled_text(name).is_some());
    // Bot tokens used to be given with the app's address as the API's; both together are fine where they agree.
    let is_app = section
        .filled_text("slack_api_url")
        .is_some_and(|url| url == globals.text("slack_app_url"));
    if is_given(["slack_api_url", "slack_api_url_file"])
        && is_given(["slack_app_token", "slack_app_token_file"])
        && !is_app
    {
        let message = "at most one of slack_app_token/slack_app_token_file & slack_api_url/slack_api_url_file must be \
                       configured";
        section.error_at("slack_app_token", message);
    }
    check_smarthost(&section, "smtp_smarthost", globals.text("smtp_smarthost"));
    let names = TEXTS
        .map(|(name, _)| name)
        .into_iter()
        .chain(SECRETS.map(|(name, _)| name));
    for name in names.filter(|name| name.ends_with("_url")) {
        if let Some(url) = section.filled_text(name) {
            check_address(&section, name, &url);
        }
    }
    section.finish();
    globals
}

/// A mail server is a host and a port.
pub(super) fn check_smarthost(section: &Section<'_>, field: &'static str, host: &str) {
    if host.is_empty() {
        return;
    }
    // Behind the brackets of an IPv6 address, as Go's net.SplitHostPort.
    let behind = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(_, behind)| behind),
        None => host,
    };
    let reason = match behind.split_once(':') {
        Some((_, port)) if port.contains(':') => "too many colons in address",
        Some((_, port)) if !port.is_empty() => return,
        _ => "missing port in address",
    };
    section.error_at(field, format!("address {host}: {reason}"));
}
