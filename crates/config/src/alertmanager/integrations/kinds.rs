//! The table.

use super::checks;
use super::{KindRow, Part, SecretRow};
use Part::{Inner, Text};

const fn secret(name: &'static str, file: &'static str, global: Option<&'static str>) -> SecretRow {
    SecretRow { name, file, global }
}

const EMPTY: KindRow = KindRow {
    kind: "",
    field: "",
    empty: "",
    send_resolved: true,
    has_http: true,
    has_timeout: false,
    texts: &[],
    secrets: &[],
    flags: &[],
    maps: &[],
    free: &[],
    lists: &[],
    items: &[],
    check: |_, _, _| {},
};

const CHAT_FIELD: &[Part] = &[Text("title"), Text("value"), Text("short")];

/// In the order in which Alertmanager builds them.
#[rustfmt::skip]
pub(in crate::alertmanager) const KINDS: &[KindRow] = &[
    KindRow {
        kind: "email", field: "email_configs", empty: "missing email config", send_resolved: false, has_http: false,
        texts: &[
            ("to", ""), ("from", "global.smtp_from"), ("smarthost", "global.smtp_smarthost"), ("hello", "global.smtp_hello"),
            ("auth_username", "global.smtp_auth_username"), ("auth_identity", "global.smtp_auth_identity"),
            ("html", "{{ template \"email.default.html\" . }}"), ("text", ""),
        ],
        secrets: &[
            secret("auth_password", "auth_password_file", Some("smtp_auth_password")),
            secret("auth_secret", "auth_secret_file", Some("smtp_auth_secret")),
        ],
        maps: &["headers"],
        check: checks::email, ..EMPTY
    },
    KindRow {
        kind: "pagerduty", field: "pagerduty_configs", empty: "missing pagerduty config", has_timeout: true,
        texts: &[
            ("url", "global.pagerduty_url"), ("client", "{{ template \"pagerduty.default.client\" . }}"),
            ("client_url", "{{ template \"pagerduty.default.clientURL\" . }}"),
            ("description", "{{ template \"pagerduty.default.description\" .}}"),
            ("source", ""), ("severity", ""), ("class", ""), ("component", ""), ("group", ""),
        ],
        secrets: &[secret("routing_key", "routing_key_file", None), secret("service_key", "service_key_file", None)],
        free: &["details"],
        items: &[
            ("images", &[Text("src"), Text("alt"), Text("href")]),
            ("links", &[Text("href"), Text("text")]),
        ],
        check: checks::pagerduty, ..EMPTY
    },
    KindRow {
        kind: "opsgenie", field: "opsgenie_configs", empty: "missing opsgenie config",
        texts: &[
            ("api_url", "global.opsgenie_api_url"), ("message", "{{ template \"opsgenie.default.message\" . }}"),
            ("description", "{{ template \"opsgenie.default.description\" . }}"),
            ("source", "{{ template \"opsgenie.default.source\" . }}"),
            ("entity", ""), ("actions", ""), ("tags", ""), ("note", ""), ("priority", ""),
        ],
        secrets: &[secret("api_key", "api_key_file", Some("opsgenie_api_key"))],
        flags: &[("update_alerts", false)],
        maps: &["details"],
        items: &[("responders", &[Text("id"), Text("name"), Text("username"), Text("type")])],
        check: checks::opsgenie, ..EMPTY
    },
    KindRow {
        kind: "wechat", field: "wechat_configs", empty: "missing wechat config", send_resolved: false,
        texts: &[
            ("api_url", "global.wechat_api_url"), ("corp_id", "global.wechat_api_corp_id"),
            ("message", "{{ template \"wechat.default.message\" . }}"),
            ("to_user", "{{ template \"wechat.default.to_user\" . }}"),
            ("to_party", "{{ template \"wechat.default.to_party\" . }}"),
            ("to_tag", "{{ template \"wechat.default.to_tag\" . }}"),
            ("agent_id", "{{ template \"wechat.default.agent_id\" . }}"), ("message_type", "text"),
        ],
        secrets: &[secret("api_secret", "api_secret_file", Some("wechat_api_secret"))],
        check: checks::wechat, ..EMPTY
    },
    KindRow {
        kind: "slack", field: "slack_configs", empty: "missing slack config", send_resolved: false, has_timeout: true,
        texts: &[
            ("channel", ""), ("username", "{{ template \"slack.default.username\" . }}"),
            ("color", "{{ template \"slack.default.color\" . }}"),
            ("title", "{{ template \"slack.default.title\" . }}"),
            ("title_link", "{{ template \"slack.default.titlelink\" . }}"),
            ("pretext", "{{ template \"slack.default.pretext\" . }}"), ("text", "{{ template \"slack.default.text\" . }}"),
            ("message_text", ""), ("footer", "{{ template \"slack.default.footer\" . }}"),
            ("fallback", "{{ template \"slack.default.fallback\" . }}"),
            ("callback_id", "{{ template \"slack.default.callbackid\" . }}"),
            ("icon_emoji", "{{ template \"slack.default.iconemoji\" . }}"),
            ("icon_url", "{{ template \"slack.default.iconurl\" . }}"), ("image_url", ""), ("thumb_url", ""),
            ("app_url", "global.slack_app_url"),
        ],
        // What `global` gives is taken by the check: an own webhook excludes a global token.
        secrets: &[secret("api_url", "api_url_file", None), secret("app_token", "app_token_file", None)],
        flags: &[("short_fields", false), ("link_names", false), ("update_message", false)],
        lists: &["mrkdwn_in"],
        items: &[
            ("fields", CHAT_FIELD),
            ("actions", &[
                Text("type"), Text("text"), Text("url"), Text("style"), Text("name"), Text("value"),
                Inner("confirm", &[
                    ("text", "confirm.text"), ("title", "confirm.title"), ("ok_text", "confirm.ok_text"),
                    ("dismiss_text", "confirm.dismiss_text"),
                ]),
            ]),
        ],
        check: checks::slack, ..EMPTY
    },
    KindRow {
        kind: "victorops", field: "victorops_configs", empty: "missing victorops config",
        texts: &[
            ("api_url", "global.victorops_api_url"), ("routing_key", ""), ("message_type", "CRITICAL"),
            ("state_message", "{{ template \"victorops.default.state_message\" . }}"),
            ("entity_display_name", "{{ template \"victorops.default.entity_display_name\" . }}"),
            ("monitoring_tool", "{{ template \"victorops.default.monitoring_tool\" . }}"),
        ],
        secrets: &[secret("api_key", "api_key_file", Some("victorops_api_key"))],
        maps: &["custom_fields"],
        check: checks::victorops, ..EMPTY
    },
    KindRow {
        kind: "pushover", field: "pushover_configs", empty: "missing pushover config",
        texts: &[
            ("title", "{{ template \"pushover.default.title\" . }}"),
            ("message", "{{ template \"pushover.default.message\" . }}"),
            ("url", "{{ template \"pushover.default.url\" . }}"), ("url_title", ""), ("device", ""), ("sound", ""),
            ("priority", "{{ if eq .Status \"firing\" }}2{{ else }}0{{ end }}"),
            ("retry", "1m"), ("expire", "1h"), ("ttl", ""),
        ],
        secrets: &[secret("user_key", "user_key_file", None), secret("token", "token_file", None)],
        flags: &[("html", false), ("monospace", false)],
        check: checks::pushover, ..EMPTY
    },
    KindRow {
        kind: "sns", field: "sns_configs", empty: "missing sns config",
        texts: &[
            ("api_url", ""), ("topic_arn", ""), ("phone_number", ""), ("target_arn", ""),
            ("subject", "{{ template \"sns.default.subject\" . }}"), ("message", "{{ template \"sns.default.message\" .}}"),
        ],
        flags: &[("use_aws_http_client", false)],
        maps: &["attributes"],
        check: checks::sns, ..EMPTY
    },
    KindRow {
        kind: "telegram", field: "telegram_configs", empty: "missing telegram config",
        texts: &[
            ("api_url", "global.telegram_api_url"), ("chat_id", ""), ("chat_id_file", ""), ("message_thread_id", ""),
            ("message", "{{ template \"telegram.default.message\" . }}"), ("parse_mode", "HTML"),
        ],
        secrets: &[secret("bot_token", "bot_token_file", Some("telegram_bot_token"))],
        flags: &[("disable_notifications", false)],
        check: checks::telegram, ..EMPTY
    },
    KindRow {
        kind: "webex", field: "webex_configs", empty: "missing webex config",
        texts: &[
            ("api_url", "global.webex_api_url"), ("room_id", ""), ("message", "{{ template \"webex.default.message\" . }}"),
        ],
        check: checks::webex, ..EMPTY
    },
    KindRow {
        kind: "msteams", field: "msteams_configs", empty: "missing msteams config",
        texts: &[
            ("title", "{{ template \"msteams.default.title\" . }}"), ("summary", "{{ template \"msteams.default.summary\" . }}"),
            ("text", "{{ template \"msteams.default.text\" . }}"),
        ],
        secrets: &[secret("webhook_url", "webhook_url_file", None)],
        check: checks::webhook_url, ..EMPTY
    },
    KindRow {
        kind: "msteamsv2", field: "msteamsv2_configs", empty: "missing msteamsv2 config",
        texts: &[
            ("title", "{{ template \"msteamsv2.default.title\" . }}"), ("text", "{{ template \"msteamsv2.default.text\" . }}"),
        ],
        secrets: &[secret("webhook_url", "webhook_url_file", None)],
        check: checks::webhook_url, ..EMPTY
    },
    KindRow {
        kind: "jira", field: "jira_configs", empty: "missing jira config",
        texts: &[
            ("api_url", "global.jira_api_url"), ("api_type", "auto"), ("project", ""),
            ("priority", "{{ template \"jira.default.priority\" . }}"), ("issue_type", ""), ("reopen_transition", ""),
            ("resolve_transition", ""), ("wont_fix_resolution", ""),
        ],
        lists: &["labels"],
        free: &["fields"],
        check: checks::jira, ..EMPTY
    },
    KindRow {
        kind: "rocketchat", field: "rocketchat_configs", empty: "missing rocketchat config", send_resolved: false,
        texts: &[
            ("api_url", "global.rocketchat_api_url"), ("channel", ""),
            ("color", "{{ if eq .Status \"firing\" }}red{{ else }}green{{ end }}"),
            ("title", "{{ template \"rocketchat.default.title\" . }}"),
            ("title_link", "{{ template \"rocketchat.default.titlelink\" . }}"),
            ("text", "{{ template \"rocketchat.default.text\" . }}"), ("emoji", "{{ template \"rocketchat.default.emoji\" . }}"),
            ("icon_url", "{{ template \"rocketchat.default.iconurl\" . }}"), ("image_url", ""), ("thumb_url", ""),
        ],
        secrets: &[
            secret("token", "token_file", Some("rocketchat_token")),
            secret("token_id", "token_id_file", Some("rocketchat_token_id")),
        ],
        flags: &[("short_fields", false), ("link_names", false)],
        items: &[
            ("fields", CHAT_FIELD),
            ("actions", &[
                Text("type"), Text("text"), Text("url"), Text("msg"), Text("msg_in_chat_window"), Text("msg_processing_type"),
                Text("image_url"), Text("is_webview"), Text("webview_height_ratio"),
            ]),
        ],
        check: checks::rocketchat, ..EMPTY
    },
    KindRow {
        kind: "mattermost", field: "mattermost_configs", empty: "missing mattermost config",
        texts: &[
            ("channel", ""), ("username", "{{ template \"mattermost.default.username\" . }}"),
            ("text", "{{ template \"mattermost.default.text\" . }}"), ("icon_url", ""), ("icon_emoji", ""), ("type", ""),
            ("fallback", "{{ template \"mattermost.default.fallback\" . }}"),
            ("color", "{{ template \"mattermost.default.color\" . }}"), ("pretext", ""),
            ("title", "{{ template \"mattermost.default.title\" . }}"),
            ("title_link", "{{ template \"mattermost.default.titlelink\" . }}"),
            ("author_name", ""), ("author_link", ""), ("author_icon", ""), ("thumb_url", ""), ("image_url", ""),
            ("footer", ""), ("footer_icon", ""),
        ],
        secrets: &[secret("webhook_url", "webhook_url_file", Some("mattermost_webhook_url"))],
        items: &[
            ("fields", CHAT_FIELD),
            ("attachments", &[
                Text("fallback"), Text("color"), Text("pretext"), Text("text"), Text("author_name"), Text("author_link"),
                Text("author_icon"), Text("title"), Text("title_link"), Text("thumb_url"), Text("footer"),
                Text("footer_icon"), Text("image_url"),
            ]),
        ],
        check: checks::mattermost, ..EMPTY
    },
    KindRow {
        kind: "incidentio", field: "incidentio_configs", empty: "missing incidentio config", has_timeout: true,
        secrets: &[secret("url", "url_file", None), secret("alert_source_token", "alert_source_token_file", None)],
        maps: &["metadata"],
        check: checks::incidentio, ..EMPTY
    },
];
