//! The fields in the order of Alertmanager's structs, with what stands for those that are missing and are written all
//! the same.

/// A name, and YAML for where it is missing; empty leaves it out.
pub(super) type Field = (&'static str, &'static str);

pub(super) const TOP: &[Field] = &[
    ("global", ""),
    ("route", ""),
    ("inhibit_rules", ""),
    ("receivers", ""),
    ("templates", "[]"),
    ("mute_time_intervals", ""),
    ("time_intervals", ""),
    ("tracing", ""),
    ("event_recorder", ""),
];

// Three defaults of 0.34 are left out, namely those that amtool 0.25 does not know and refuses: `smtp_tls_config`,
// `slack_app_url` and `rocketchat_api_url`.
pub(super) const GLOBAL: &[Field] = &[
    ("resolve_timeout", "5m"),
    ("http_config", ""),
    ("jira_api_url", ""),
    ("smtp_from", ""),
    ("smtp_hello", "localhost"),
    ("smtp_smarthost", ""),
    ("smtp_auth_username", ""),
    ("smtp_auth_password", ""),
    ("smtp_auth_password_file", ""),
    ("smtp_auth_secret", ""),
    ("smtp_auth_secret_file", ""),
    ("smtp_auth_identity", ""),
    ("smtp_require_tls", "true"),
    ("smtp_tls_config", ""),
    ("smtp_force_implicit_tls", ""),
    ("slack_api_url", ""),
    ("slack_api_url_file", ""),
    ("slack_app_token", ""),
    ("slack_app_token_file", ""),
    ("slack_app_url", ""),
    ("pagerduty_url", "https://events.pagerduty.com/v2/enqueue"),
    ("opsgenie_api_url", "https://api.opsgenie.com/"),
    ("opsgenie_api_key", ""),
    ("opsgenie_api_key_file", ""),
    ("wechat_api_url", "https://qyapi.weixin.qq.com/cgi-bin/"),
    ("wechat_api_secret", ""),
    ("wechat_api_secret_file", ""),
    ("wechat_api_corp_id", ""),
    (
        "victorops_api_url",
        "https://alert.victorops.com/integrations/generic/20131114/alert/",
    ),
    ("victorops_api_key", ""),
    ("victorops_api_key_file", ""),
    ("telegram_api_url", "https://api.telegram.org"),
    ("telegram_bot_token", ""),
    ("telegram_bot_token_file", ""),
    ("webex_api_url", "https://webexapis.com/v1/messages"),
    ("rocketchat_api_url", ""),
    ("rocketchat_token", ""),
    ("rocketchat_token_file", ""),
    ("rocketchat_token_id", ""),
    ("rocketchat_token_id_file", ""),
    ("mattermost_webhook_url", ""),
    ("mattermost_webhook_url_file", ""),
];

pub(super) const HTTP: &[Field] = &[
    ("basic_auth", ""),
    ("authorization", ""),
    ("oauth2", ""),
    ("bearer_token", ""),
    ("bearer_token_file", ""),
    ("tls_config", ""),
    ("follow_redirects", "true"),
    ("enable_http2", "true"),
    ("proxy_url", ""),
    ("no_proxy", ""),
    ("proxy_from_environment", ""),
    ("proxy_connect_header", ""),
    ("http_headers", ""),
];

pub(super) const TLS: &[Field] = &[
    ("ca", ""),
    ("cert", ""),
    ("key", ""),
    ("ca_file", ""),
    ("cert_file", ""),
    ("key_file", ""),
    ("server_name", ""),
    ("insecure_skip_verify", "false"),
    ("min_version", ""),
    ("max_version", ""),
];

pub(super) const SIGV4: &[Field] = &[
    ("region", ""),
    ("access_key", ""),
    ("secret_key", ""),
    ("profile", ""),
    ("role_arn", ""),
    ("external_id", ""),
    ("use_fips_sts_endpoint", ""),
];

pub(super) const ROUTE: &[Field] = &[
    ("receiver", ""),
    ("group_by", ""),
    ("match", ""),
    ("match_re", ""),
    ("matchers", ""),
    ("mute_time_intervals", ""),
    ("active_time_intervals", ""),
    ("continue", "false"),
    ("routes", ""),
    ("group_wait", ""),
    ("group_interval", ""),
    ("repeat_interval", ""),
    ("labels", ""),
];

pub(super) const INHIBIT_RULE: &[Field] = &[
    ("name", ""),
    ("source_match", ""),
    ("source_match_re", ""),
    ("source_matchers", ""),
    ("target_match", ""),
    ("target_match_re", ""),
    ("target_matchers", ""),
    ("equal", ""),
];

const WEBHOOK_URL: [Field; 2] = [("webhook_url", ""), ("webhook_url_file", "")];

/// The kinds of a receiver; `send_resolved` and `http_config` come first in all of them.
#[rustfmt::skip]
pub(super) const RECEIVER: &[(&str, &[Field])] = &[
    ("discord_configs", &[
        WEBHOOK_URL[0], WEBHOOK_URL[1], ("content", ""), ("title", "'{{ template \"discord.default.title\" . }}'"),
        ("message", "'{{ template \"discord.default.message\" . }}'"), ("username", ""), ("avatar_url", ""),
    ]),
    ("email_configs", &[
        ("to", ""), ("from", ""), ("hello", ""), ("smarthost", ""), ("auth_username", ""), ("auth_password", ""),
        ("auth_password_file", ""), ("auth_secret", ""), ("auth_secret_file", ""), ("auth_identity", ""), ("headers", ""),
        ("html", ""), ("text", ""), ("require_tls", ""), ("tls_config", ""), ("force_implicit_tls", ""), ("threading", ""),
    ]),
    ("incidentio_configs", &[
        ("url", ""), ("url_file", ""), ("alert_source_token", ""), ("alert_source_token_file", ""), ("metadata", ""),
        ("timeout", "0s"),
    ]),
    ("pagerduty_configs", &[
        ("service_key", ""), ("service_key_file", ""), ("routing_key", ""), ("routing_key_file", ""), ("url", ""),
        ("client", ""), ("client_url", ""), ("description", ""), ("details", ""), ("images", ""), ("links", ""),
        ("source", ""), ("severity", ""), ("class", ""), ("component", ""), ("group", ""), ("timeout", "0s"),
    ]),
    ("slack_configs", &[
        ("api_url", ""), ("api_url_file", ""), ("app_token", ""), ("app_token_file", ""), ("app_url", ""), ("channel", ""),
        ("username", ""), ("color", ""), ("title", ""), ("title_link", ""), ("pretext", ""), ("text", ""),
        ("message_text", ""), ("fields", ""), ("short_fields", "false"), ("footer", ""), ("fallback", ""),
        ("callback_id", ""), ("icon_emoji", ""), ("icon_url", ""), ("image_url", ""), ("thumb_url", ""),
        ("link_names", "false"), ("mrkdwn_in", ""), ("actions", ""), ("update_message", "false"), ("timeout", "0s"),
    ]),
    ("webhook_configs", &[
        ("url", ""), ("url_file", "\"\""), ("max_alerts", "0"), ("timeout", "0s"), ("payload", ""),
    ]),
    ("opsgenie_configs", &[
        ("api_key", ""), ("api_key_file", ""), ("api_url", ""), ("message", ""), ("description", ""), ("source", ""),
        ("details", ""), ("entity", ""), ("responders", ""), ("actions", ""), ("tags", ""), ("note", ""), ("priority", ""),
        ("update_alerts", ""),
    ]),
    ("wechat_configs", &[
        ("api_secret", ""), ("api_secret_file", ""), ("corp_id", ""), ("message", ""), ("api_url", ""), ("to_user", ""),
        ("to_party", ""), ("to_tag", ""), ("agent_id", ""), ("message_type", ""),
    ]),
    ("pushover_configs", &[
        ("user_key", ""), ("user_key_file", ""), ("token", ""), ("token_file", ""), ("title", ""), ("message", ""),
        ("url", ""), ("url_title", ""), ("device", ""), ("sound", ""), ("priority", ""), ("retry", ""), ("expire", ""),
        ("ttl", ""), ("html", ""), ("monospace", ""),
    ]),
    ("victorops_configs", &[
        ("api_key", ""), ("api_key_file", ""), ("api_url", ""), ("routing_key", ""), ("message_type", ""),
        ("state_message", ""), ("entity_display_name", ""), ("monitoring_tool", ""), ("custom_fields", ""),
    ]),
    ("sns_configs", &[
        ("api_url", ""), ("sigv4", "{}"), ("topic_arn", ""), ("phone_number", ""), ("target_arn", ""), ("subject", ""),
        ("message", ""), ("attributes", ""), ("use_aws_http_client", ""),
    ]),
    ("telegram_configs", &[
        ("api_url", ""), ("bot_token", ""), ("bot_token_file", ""), ("chat_id", ""), ("chat_id_file", ""),
        ("message_thread_id", ""), ("message", ""), ("disable_notifications", ""), ("parse_mode", ""),
    ]),
    ("webex_configs", &[("api_url", ""), ("message", ""), ("room_id", "")]),
    ("msteams_configs", &[WEBHOOK_URL[0], WEBHOOK_URL[1], ("title", ""), ("summary", ""), ("text", "")]),
    ("msteamsv2_configs", &[WEBHOOK_URL[0], WEBHOOK_URL[1], ("title", ""), ("text", "")]),
    ("jira_configs", &[
        ("api_url", ""), ("api_type", ""), ("project", ""), ("summary", ""), ("description", ""), ("labels", ""),
        ("priority", ""), ("issue_type", ""), ("reopen_transition", ""), ("resolve_transition", ""),
        ("wont_fix_resolution", ""), ("reopen_duration", ""), ("fields", ""),
    ]),
    ("rocketchat_configs", &[
        ("api_url", ""), ("token_id", ""), ("token_id_file", ""), ("token", ""), ("token_file", ""), ("channel", ""),
        ("color", ""), ("title", ""), ("title_link", ""), ("text", ""), ("fields", ""), ("short_fields", "false"),
        ("emoji", ""), ("icon_url", ""), ("image_url", ""), ("thumb_url", ""), ("link_names", "false"), ("actions", ""),
    ]),
    ("mattermost_configs", &[
        WEBHOOK_URL[0], WEBHOOK_URL[1], ("channel", ""), ("username", ""), ("text", ""), ("fallback", ""), ("color", ""),
        ("pretext", ""), ("author_name", ""), ("author_link", ""), ("author_icon", ""), ("title", ""), ("title_link", ""),
        ("fields", ""), ("thumb_url", ""), ("footer", ""), ("footer_icon", ""), ("image_url", ""), ("icon_url", ""),
        ("icon_emoji", ""), ("attachments", ""), ("type", ""), ("props", ""), ("priority", ""),
    ]),
];
