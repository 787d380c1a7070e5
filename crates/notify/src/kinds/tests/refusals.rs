//! What receivers answer where they do not take a message, and what they would not take.

use super::*;

fn json(got: &Got) -> Value {
    serde_json::from_str(&got.body).unwrap()
}

fn tos(got: &[Got]) -> Vec<&str> {
    got.iter().map(|got| got.to.as_str()).collect()
}

#[tokio::test]
async fn what_a_receiver_repeats_of_its_address_is_not_told() {
    let sink = Sink::start(|_| ("404 Not Found", "Cannot POST /hooks/hunter-1?key=hunter-1 of hunter-1"));
    let url = format!("'http://{}/hooks/hunter-1?key=hunter-1'", sink.address);
    let host = format!("'http://{}/'", sink.address);
    for (kind, fields) in [
        ("webhook", format!("url: {url}")),
        ("discord", format!("webhook_url: {url}")),
        ("slack", format!("api_url: {url}, channel: c")),
        ("mattermost", format!("webhook_url: {url}")),
        ("msteams", format!("webhook_url: {url}")),
        ("msteamsv2", format!("webhook_url: {url}")),
        ("incidentio", format!("url: {url}, alert_source_token: hunter-1")),
        ("telegram", format!("api_url: {host}, bot_token: hunter-1, chat_id: 1")),
        (
            "victorops",
            format!("api_url: {host}, api_key: hunter-1, routing_key: r"),
        ),
        ("opsgenie", format!("api_url: {host}, api_key: hunter-1")),
        ("pagerduty", format!("url: {host}, routing_key: hunter-1")),
        (
            "rocketchat",
            format!("api_url: {host}, channel: c, token: hunter-1, token_id: i"),
        ),
        (
            "wechat",
            format!("api_url: {host}, api_secret: hunter-1, corp_id: c, to_user: u"),
        ),
        (
            "webex",
            format!("api_url: {host}, room_id: r, http_config: {{authorization: {{credentials: hunter-1}}}}"),
        ),
        (
            "jira",
            format!(
                "api_url: {host}, project: p, issue_type: t, http_config: {{basic_auth: {{username: u, password: hunter-1}}}}"
            ),
        ),
    ] {
        let error = sent(&one(kind, &fields, "")).await.unwrap_err();
        assert!(error.message.contains("404: Cannot POST"), "{kind}: {error}");
        assert!(!error.message.contains("hunter"), "{kind}: {error}");
    }
}

#[tokio::test]
async fn what_a_receiver_repeats_of_secret_headers_is_not_told() {
    let dir = std::env::temp_dir().join(format!("cupola-notify-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = |name: &str| {
        let path = dir.join(name);
        std::fs::write(&path, format!("hunter-{name}\n")).unwrap();
        path.display().to_string()
    };
    let sink = Sink::start(|_| {
        (
            "401 Unauthorized",
            "unknown: hunter-inline, hunter-file, hunter-name; plain",
        )
    });
    let fields = format!(
        "url: 'http://{}/', http_config: {{http_headers: {{X-Key: {{secrets: [hunter-inline], files: ['{}'], values: [plain]}}}}, \
         basic_auth: {{username_file: '{}', password: p}}}}",
        sink.address,
        file("file"),
        file("name")
    );
    let error = sent(&one("webhook", &fields, "")).await.unwrap_err();
    std::fs::remove_dir_all(&dir).unwrap();
    let expected = "unexpected status code 401: unknown: <secret>, <secret>, <secret>; plain";
    assert_eq!(error.message, expected);
}

#[tokio::test]
async fn a_receiver_is_told_once_whatever_becomes_of_its_answer() {
    // Longer than anybody reads it.
    let sink = Sink::start(|path| match path {
        "/refuses" => ("400 Bad Request", LONG.as_str()),
        _ => ("200 OK", LONG.as_str()),
    });
    let at = |path: &str| format!("url: 'http://{}/{path}'", sink.address);
    sent(&one("webhook", &at("takes"), "")).await.unwrap();
    let error = sent(&one("webhook", &at("refuses"), "")).await.unwrap_err();
    assert_eq!((error.retry, error.reason), (false, "clientError"), "{error}");
    assert!(error.message.len() < 400, "{error}");
}

static LONG: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| "x".repeat(1 << 20));

fn wechat(sink: &Sink, api: &str) -> Integration {
    let fields = format!(
        "api_url: 'http://{}/{api}/', api_secret: hunter-1, corp_id: corp, to_user: u",
        sink.address
    );
    one("wechat", &fields, "")
}

#[tokio::test]
async fn a_token_that_wechat_does_not_know_is_fetched_anew() {
    let sink = Sink::start(|path| match path {
        path if path.contains("gettoken") => ("200 OK", "{\"access_token\":\"tok-secret\",\"errcode\":0}"),
        path if path.starts_with("/expired/") => ("200 OK", "{\"errcode\":42001,\"errmsg\":\"access_token expired\"}"),
        path if path.starts_with("/unknown/") => (
            "200 OK",
            "{\"errcode\":40014,\"errmsg\":\"invalid access_token tok-secret\"}",
        ),
        path if path.starts_with("/busy/") => ("200 OK", "{\"errcode\":-1,\"errmsg\":\"system busy\"}"),
        path if path.starts_with("/missing/") => ("404 Not Found", "no /send?access_token=tok-secret"),
        _ => (
            "200 OK",
            "{\"errcode\":81013,\"errmsg\":\"user & party & tag all invalid\"}",
        ),
    });
    for (api, retry, fetched, part) in [
        ("expired", true, 2, "access_token expired (errcode 42001)"),
        ("unknown", true, 2, "(errcode 40014)"),
        ("busy", true, 1, "system busy (errcode -1)"),
        // As Alertmanager has it.
        ("missing", true, 1, "unexpected status code 404: no /send"),
        ("refused", false, 1, "user & party & tag all invalid (errcode 81013)"),
    ] {
        let integration = wechat(&sink, api);
        for _ in 0..2 {
            let error = sent(&integration).await.unwrap_err();
            assert_eq!(error.retry, retry, "{api}: {error}");
            assert!(error.message.contains(part), "{api}: {error}");
            assert!(!error.message.contains("tok-secret"), "{api}: {error}");
        }
        let got = sink.take();
        let fetches = tos(&got).iter().filter(|to| to.contains("gettoken")).count();
        assert_eq!((fetches, got.len() - fetches), (fetched, 2), "{api}");
    }
}

#[tokio::test]
async fn why_wechat_gives_no_token_is_told() {
    let sink = Sink::start(|path| match path {
        path if path.starts_with("/busy/") => ("200 OK", "{\"errcode\":-1,\"errmsg\":\"system busy\"}"),
        _ => ("200 OK", "{\"errcode\":40001,\"errmsg\":\"invalid credential\"}"),
    });
    let error = sent(&wechat(&sink, "wrong")).await.unwrap_err();
    assert!(!error.retry, "{error}");
    assert_eq!(
        error.message,
        "invalid APISecret for CorpID: corp: invalid credential (errcode 40001)"
    );
    assert!(sent(&wechat(&sink, "busy")).await.unwrap_err().retry);
}

fn sns(sink: &Sink, fields: &str) -> Integration {
    let fields = format!(
        "api_url: 'http://{}', {fields}, sigv4: {{region: r, access_key: AK, secret_key: hunter-1}}",
        sink.address
    );
    one("sns", &fields, "")
}

#[tokio::test]
async fn amazons_reasons_are_told_and_who_asks_too_often_asks_again() {
    let sink = Sink::start(|_| {
        let text = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidParameter</Code><Message>Invalid parameter: \
                    TopicArn</Message></Error></ErrorResponse>";
        ("400 Bad Request", text)
    });
    let error = sent(&sns(&sink, "topic_arn: t")).await.unwrap_err();
    assert_eq!(
        error.message,
        "unexpected status code 400: InvalidParameter: Invalid parameter: TopicArn"
    );
    assert_eq!((error.retry, error.reason), (false, "clientError"));
    let sink = Sink::start(|_| {
        let text =
            "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>";
        ("400 Bad Request", text)
    });
    let error = sent(&sns(&sink, "topic_arn: t")).await.unwrap_err();
    assert_eq!((error.retry, error.reason), (true, "rateLimited"), "{error}");
    let sink = Sink::start(|_| ("503 Service Unavailable", "no XML"));
    let error = sent(&sns(&sink, "topic_arn: t")).await.unwrap_err();
    assert_eq!((error.retry, error.reason), (true, "serverError"), "{error}");
}

#[tokio::test]
async fn what_amazon_would_refuse_or_drop_is_sent_otherwise() {
    let sink = Sink::start(well);
    let field = |got: &Got, name: &str| {
        let mut fields = got.body.split('&');
        fields.find_map(|field| field.strip_prefix(&format!("{name}=")).map(str::to_owned))
    };
    // A subject is one line, and an attribute has a value.
    let fields = "topic_arn: t, subject: \"a \\n\\tb\\x01c\\n\", message: m, attributes: {empty: '{{ .CommonLabels.nothing }}', full: v}";
    sent(&sns(&sink, fields)).await.unwrap();
    let got = sink.take().remove(0);
    assert_eq!(field(&got, "Subject").unwrap(), "a+b+c");
    assert!(
        got.body.contains("entry.1.Name=full") && !got.body.contains("entry.2"),
        "{}",
        got.body
    );
    // For five minutes a queue that keeps the order drops what has an id that it has seen: only another attempt has it.
    let fifo = sns(&sink, "topic_arn: t.fifo, message: '{{ .Status }}'");
    let mut ids = Vec::new();
    for firing in [true, true, false] {
        let notification = crate::data::example(firing);
        fifo.send(&notification, Duration::from_secs(20)).await.unwrap();
        let got = sink.take().remove(0);
        ids.push((
            field(&got, "MessageGroupId").unwrap(),
            field(&got, "MessageDeduplicationId").unwrap(),
        ));
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0].0, ids[2].0, "they stay in order");
    assert_ne!(ids[0].1, ids[2].1);
}

#[tokio::test]
async fn a_connector_that_says_200_and_means_429_is_asked_again() {
    let sink = Sink::start(|path| match path {
        "/well" => ("200 OK", "1"),
        "/limited" => (
            "200 OK",
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x",
        ),
        _ => ("200 OK", "Microsoft Teams endpoint returned HTTP error 403"),
    });
    let of = |path: &str| one("msteams", &format!("webhook_url: 'http://{}/{path}'", sink.address), "");
    sent(&of("well")).await.unwrap();
    let error = sent(&of("limited")).await.unwrap_err();
    assert_eq!((error.retry, error.reason), (true, "rateLimited"), "{error}");
    let error = sent(&of("refused")).await.unwrap_err();
    assert_eq!((error.retry, error.reason), (false, "clientError"), "{error}");
}

#[tokio::test]
async fn a_message_of_a_large_group_is_one_that_teams_takes() {
    let sink = Sink::start(|_| ("200 OK", "1"));
    let mut notification = crate::data::example(true);
    let alert = notification.alerts.remove(0);
    for i in 0..2_000 {
        let mut labels = alert.labels.to_builder();
        labels.set("instance", &format!("<ä \"{i}\">"));
        notification.alerts.push(NotifiedAlert {
            labels: labels.build(),
            ..alert.clone()
        });
    }
    for kind in ["msteams", "msteamsv2"] {
        let integration = one(kind, &format!("webhook_url: 'http://{}/x'", sink.address), "");
        integration.send(&notification, Duration::from_secs(20)).await.unwrap();
        let got = sink.take().remove(0);
        assert!(
            (20_000..=28_000).contains(&got.body.len()),
            "{kind}: {}",
            got.body.len()
        );
        let body = json(&got);
        let text = match kind {
            "msteams" => &body["text"],
            _ => &body["attachments"][0]["content"]["body"][1]["text"],
        };
        assert!(text.as_str().unwrap().ends_with('…'), "{kind}");
    }
}

#[tokio::test]
async fn a_text_that_fails_is_told_and_nobody_is_asked() {
    let sink = Sink::start(well);
    let url = format!("'http://{}/cgi-bin/'", sink.address);
    let smarthost = format!("smarthost: '{}', require_tls: false, to: a@b, from: a@b", sink.address);
    let http = format!("proxy_url: {url}");
    for (kind, fields) in [
        ("webhook", format!("url: {url}, payload: {{a: X}}")),
        ("discord", format!("webhook_url: {url}, title: X")),
        ("discord", format!("webhook_url: {url}, message: X")),
        ("email", format!("{smarthost}, html: X")),
        ("email", format!("{smarthost}, text: X")),
        ("email", format!("{smarthost}, headers: {{Subject: X}}")),
        (
            "incidentio",
            format!("url: {url}, alert_source_token: t, metadata: {{a: X}}"),
        ),
        ("jira", format!("api_url: {url}, project: X, issue_type: t")),
        ("mattermost", format!("webhook_url: {url}, text: X")),
        ("msteams", format!("webhook_url: {url}, text: X")),
        ("msteamsv2", format!("webhook_url: {url}, title: X")),
        ("opsgenie", format!("api_url: {url}, api_key: k, message: X")),
        ("pagerduty", format!("url: {url}, routing_key: k, description: X")),
        ("pagerduty", format!("url: {url}, routing_key: k, details: {{a: X}}")),
        (
            "pushover",
            format!("token: t, user_key: u, message: X, http_config: {{{http}}}"),
        ),
        (
            "rocketchat",
            format!("api_url: {url}, channel: c, token: t, token_id: i, title: X"),
        ),
        (
            "slack",
            format!("api_url: {url}, channel: c, fields: [{{title: t, value: X}}]"),
        ),
        (
            "sns",
            format!("api_url: {url}, topic_arn: t, message: X, sigv4: {{region: r, access_key: a, secret_key: s}}"),
        ),
        (
            "telegram",
            format!("api_url: {url}, bot_token: t, chat_id: 1, message: X"),
        ),
        (
            "victorops",
            format!("api_url: {url}, api_key: k, routing_key: r, state_message: X"),
        ),
        (
            "webex",
            format!("api_url: {url}, room_id: r, message: X, http_config: {{authorization: {{credentials: c}}}}"),
        ),
    ] {
        for broken in ["{{ .Nothing }}", "{{ template \"nothing\" . }}", "{{ range .Alerts }}"] {
            let integration = one(kind, &fields.replace('X', &format!("'{broken}'")), "");
            let error = sent(&integration).await.unwrap_err();
            assert!(error.message.contains("template: "), "{kind} {fields}: {error}");
            assert!(!error.retry, "{kind} {fields}: another attempt does not help");
        }
        assert!(sink.take().is_empty(), "{kind}");
    }
    // A token was fetched, but no message sent.
    let wechat = format!("api_url: {url}, api_secret: s, corp_id: c, to_user: u, message: '{{{{ .Nothing }}}}'");
    let error = sent(&one("wechat", &wechat, "")).await.unwrap_err();
    assert!(error.message.starts_with("template: ") && !error.retry, "{error}");
    assert!(sink.take().iter().all(|got| got.to.contains("gettoken")));
}
