//! alertmanager.yml: upstream's cases, and our own.

use std::path::Path;
use std::time::Duration;

use cupola_config::alertmanager::{DISCORD_MESSAGE, GroupBy, IntegrationConfig, Route};
use cupola_config::common::{Auth, SecretSource};
use cupola_config::matchers::{MatcherMode, matcher_text, parse_matchers};
use cupola_config::{
    AlertmanagerConfig, DiskFiles, load_alertmanager, load_flags, load_http_config, parse_alertmanager,
};
use cupola_model::Labels;
use cupola_testkit::conformance_dir;
use serde_json::Value;

fn json(file: &str) -> Option<Value> {
    let dir = conformance_dir("alertmanager")?;
    let text = std::fs::read_to_string(dir.join(file)).expect("the file is there");
    Some(serde_json::from_str(&text).expect("the file is JSON"))
}

fn parse(text: &str) -> Result<AlertmanagerConfig, Vec<String>> {
    parse_alertmanager(text, Path::new("a.yml"), MatcherMode::Fallback)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn upstream_matchers() {
    let Some(cases) = json("matchers/cases.json") else {
        return;
    };
    let cases = cases["cases"].as_array().unwrap();
    for case in cases {
        let input = case["input"].as_str().unwrap();
        for (mode, name) in [
            (MatcherMode::Classic, "classic"),
            (MatcherMode::Utf8, "utf8"),
            (MatcherMode::Fallback, "fallback"),
        ] {
            let expected = case[name].as_array().map(|list| {
                let item = |m: &Value, at: usize| m[at].as_str().unwrap().to_owned();
                list.iter()
                    .map(|m| (item(m, 0), item(m, 1), item(m, 2)))
                    .collect::<Vec<_>>()
            });
            let parsed = parse_matchers(input, mode).ok().map(|parsed| {
                let item =
                    |m: &cupola_model::Matcher| (m.name().to_owned(), m.op().as_str().to_owned(), m.value().to_owned());
                parsed.matchers.iter().map(item).collect::<Vec<_>>()
            });
            assert_eq!(parsed, expected, "{name} {input:?}");
        }
    }
    eprintln!("matchers: {} cases in three modes", cases.len());
    assert!(cases.len() >= 70);
}

#[test]
fn upstream_inline_configurations() {
    let Some(cases) = json("config/inline.json") else {
        return;
    };
    let mut passed = 0;
    for case in cases["cases"].as_array().unwrap() {
        let (id, text) = (case["id"].as_str().unwrap(), case["yaml"].as_str().unwrap());
        let result = parse(text);
        match (case["ok"].as_bool().unwrap(), &result) {
            (true, Ok(_)) => {}
            (false, Err(errors)) => {
                let shown = errors.join("\n").to_lowercase();
                let reason = case["error_contains"].as_str().unwrap().to_lowercase();
                assert!(shown.contains(&reason), "{id}: {reason}: {shown}");
            }
            (ok, result) => panic!("{id}: ok is {ok}, but {result:?}"),
        }
        passed += 1;
    }
    eprintln!("alertmanager inline: {passed}");
    assert!(passed >= 24, "{passed}");
}

#[test]
fn upstream_files_get_upstream_verdicts() {
    let Some(table) = json("config/expectations.json") else {
        return;
    };
    let dir = conformance_dir("alertmanager").unwrap().join("config");
    let (mut loaded, mut refused) = (0, 0);
    for (file, expected) in table["files"].as_object().unwrap() {
        let result = load_alertmanager(&dir.join(file), MatcherMode::Fallback, &DiskFiles);
        match (expected["ok"].as_bool().unwrap(), result) {
            (true, Ok(_)) => loaded += 1,
            (true, Err(errors)) => panic!("{file}: {errors}"),
            (false, Err(errors)) => {
                let shown = errors.to_string();
                let reason = expected["error_contains"].as_str().unwrap();
                assert!(shown.contains(reason), "{file}: {reason}: {shown}");
                refused += 1;
            }
            (false, Ok(_)) => panic!("{file} must be refused"),
        }
    }
    eprintln!("alertmanager files: {loaded} loaded, {refused} refused");
    assert!(loaded >= 20 && refused >= 18, "{loaded} {refused}");
}

fn route<'r>(route: &'r Route, labels: &Labels, found: &mut Vec<&'r str>) -> bool {
    if !route.matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
        return false;
    }
    let before = found.len();
    for child in &route.routes {
        if self::route(child, labels, found) && !child.continue_matching {
            break;
        }
    }
    if found.len() == before {
        found.push(&route.receiver);
    }
    true
}

#[test]
fn upstream_routing_cases_find_their_receivers() {
    let Some(table) = json("routing/cases.json") else {
        return;
    };
    let mut passed = 0;
    for case in table["cases"].as_array().unwrap() {
        let name = case["config"].as_str().unwrap();
        let config = parse(table["configs"][name].as_str().unwrap()).unwrap();
        let labels = case["labels"].as_object().unwrap();
        let labels = Labels::from_pairs(labels.iter().map(|(name, value)| (name, value.as_str().unwrap())));
        let mut found = Vec::new();
        route(&config.route, &labels, &mut found);
        let expected: Vec<&str> = case["receivers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r.as_str().unwrap())
            .collect();
        assert_eq!(found, expected, "{case}");
        passed += 1;
    }
    eprintln!("routing: {passed}");
    assert!(passed >= 18, "{passed}");
}

fn with_interval(interval: &Value) -> Result<AlertmanagerConfig, Vec<String>> {
    // JSON is YAML.
    parse(&format!(
        "route: {{receiver: a}}\nreceivers: [{{name: a}}]\ntime_intervals: [{{name: x, time_intervals: [{interval}]}}]"
    ))
}

#[test]
fn upstream_time_intervals() {
    let (Some(bad), Some(good)) = (json("timeintervals/bad.json"), json("timeintervals/contains.json")) else {
        return;
    };
    for case in bad["cases"].as_array().unwrap() {
        let errors = with_interval(&case["time_interval"]).unwrap_err().join("\n");
        assert!(
            errors.contains(case["error_0_25"].as_str().unwrap()),
            "{case}: {errors}"
        );
    }
    let cases = good["cases"].as_array().unwrap();
    for case in cases {
        let config = with_interval(&case["time_interval"]).unwrap();
        let time: jiff::Timestamp = case["time"].as_str().unwrap().parse().unwrap();
        let inside = config.time_intervals[0].intervals[0].contains(time.as_second());
        assert_eq!(inside, case["contains"].as_bool().unwrap(), "{case}");
    }
    eprintln!("time intervals: {} instants", cases.len());
    assert!(cases.len() >= 45, "{}", cases.len());
}

const EXAMPLE: &str = "
global:
  resolve_timeout: 10m
  http_config: {authorization: {credentials: hunter-1}}
templates: ['t/*.tmpl']
route:
  receiver: team
  group_by: [namespace, alertname]
  group_wait: 0s
  repeat_interval: 12h
  labels: {team: infra}
  routes:
  - matchers: ['alertname = \"Watchdog\"', severity=~\"a|b\"]
    match: {x: y}
    match_re: {z: 'q.*'}
    receiver: 'null'
    continue: true
    mute_time_intervals: [night]
    routes:
    - group_by: []
      group_interval: 1m
      labels: {level: two}
  - group_by: ['...']
receivers:
- name: 'null'
- name: team
  webhook_configs:
  - url: http://user:hunter-2@hook/
    max_alerts: 5
    timeout: 1m30s
    send_resolved: false
  - url_file: hook
    http_config: {follow_redirects: false}
  discord_configs:
  - webhook_url: https://discord.example/hunter-3
    title: t
inhibit_rules:
- source_matchers: [severity=critical]
  target_match_re: {severity: warning|info}
  equal: [namespace]
-
mute_time_intervals:
- name: night
  time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}], location: Europe/Berlin}]
";

#[test]
fn a_tree_inherits_downwards() {
    let config = parse_alertmanager(EXAMPLE, Path::new("/etc/am/a.yml"), MatcherMode::Fallback).unwrap();
    assert_eq!(config.resolve_timeout, Duration::from_secs(600));
    assert_eq!(config.templates, [Path::new("/etc/am/t/*.tmpl")]);
    let root = &config.route;
    assert_eq!(
        root.group_by,
        GroupBy::Labels(vec!["alertname".into(), "namespace".into()])
    );
    assert_eq!(
        (root.group_wait, root.group_interval),
        (Duration::ZERO, Duration::from_secs(300))
    );
    let child = &root.routes[0];
    let matchers: Vec<String> = child.matchers.iter().map(ToString::to_string).collect();
    assert_eq!(
        matchers,
        [
            r#"alertname="Watchdog""#,
            r#"severity=~"a|b""#,
            r#"x="y""#,
            r#"z=~"^(?:q.*)$""#
        ]
    );
    assert!(child.continue_matching && child.receiver == "null" && child.mute_time_intervals == ["night"]);
    let grandchild = &child.routes[0];
    assert_eq!(grandchild.receiver, "null");
    assert!(grandchild.matchers.is_empty() && !grandchild.continue_matching);
    assert!(grandchild.mute_time_intervals.is_empty());
    // As Alertmanager 0.25 groups: an empty list is none.
    assert_eq!(grandchild.group_by, root.group_by);
    assert_eq!(
        (grandchild.group_interval, grandchild.group_wait),
        (Duration::from_secs(60), Duration::ZERO)
    );
    assert_eq!(grandchild.repeat_interval, Duration::from_secs(12 * 3600));
    assert_eq!(grandchild.labels.len(), 2);
    assert_eq!(root.routes[1].group_by, GroupBy::All);
}

#[test]
fn receivers_are_complete() {
    let config = parse_alertmanager(EXAMPLE, Path::new("/etc/am/a.yml"), MatcherMode::Fallback).unwrap();
    let team = config.receiver("team").unwrap();
    let [first, second] = team.webhook_configs.as_slice() else {
        panic!("two webhooks")
    };
    let SecretSource::Inline(url) = &first.url else {
        panic!("{first:?}")
    };
    assert_eq!(url.expose(), "http://user:hunter-2@hook/");
    assert_eq!(
        (first.max_alerts, first.timeout, first.send_resolved),
        (5, Duration::from_secs(90), false)
    );
    assert!(first.http.auth.is_some(), "inherits global.http_config");
    assert_eq!(second.url, SecretSource::File("/etc/am/hook".into()));
    assert!(
        second.http.auth.is_none() && !second.http.follow_redirects,
        "its own http_config replaces the global one"
    );
    let discord = &team.discord_configs[0];
    assert_eq!(
        (discord.title.as_str(), discord.message.as_str()),
        ("t", DISCORD_MESSAGE)
    );
    assert!(discord.send_resolved && discord.content.is_empty());
    assert_eq!(config.inhibit_rules.len(), 2);
    assert_eq!(
        config.inhibit_rules[0].target[0].to_string(),
        r#"severity=~"^(?:warning|info)$""#
    );
}

#[test]
fn no_secret_is_shown() {
    let config = parse(EXAMPLE).unwrap();
    let shown = config.to_yaml();
    assert!(
        !shown.contains("hunter") && !format!("{config:?}").contains("hunter"),
        "{shown}"
    );
    assert_eq!(shown.matches("<secret>").count(), 3, "{shown}");
    let text = "global: {slack_api_url: 'https://hunter-1', smtp_auth_password: hunter-2, opsgenie_api_key: hunter-3}\n\
                route: {receiver: a}\nreceivers: [{name: a}]\n";
    let config = parse(text).unwrap();
    assert!(!config.to_yaml().contains("hunter"), "{}", config.to_yaml());
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let errors =
        parse("route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'ftp://hunter-4'}]}]").unwrap_err();
    assert_eq!(errors, ["a.yml:2:42: unsupported scheme \"ftp\" for URL"]);
}

// What 0.25 wrote, with what newer versions add.
#[test]
fn the_whole_configuration_is_written_as_by_alertmanager() {
    let Some(dir) = conformance_dir("alertmanager/recorded") else {
        return;
    };
    let recorded: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("api_v2.json")).unwrap()).unwrap();
    let pairs = recorded.as_array().or_else(|| recorded["pairs"].as_array()).unwrap();
    let status = pairs
        .iter()
        .find_map(|pair| pair["response"]["json"]["config"]["original"].as_str());
    let newer = [(
        "    url: http://127.0.0.1:19099/webhook\n    max_alerts: 0\n",
        "    url: <secret>\n    url_file: \"\"\n    max_alerts: 0\n    timeout: 0s\n",
    )];
    let mut expected = status.unwrap().to_owned();
    for (old, new) in newer {
        assert!(expected.contains(old), "{old}");
        expected = expected.replacen(old, new, 1);
    }
    let config = load_alertmanager(&dir.join("rec2.yml"), MatcherMode::Fallback, &DiskFiles);
    let shown = match config {
        Ok(config) => config.to_whole_yaml().to_owned(),
        // The last line was written to see a reload refused.
        Err(_) => {
            let text = std::fs::read_to_string(dir.join("rec2.yml")).unwrap();
            let text = text.replace("\nbogus: 1", "");
            parse(&text).unwrap().to_whole_yaml().to_owned()
        }
    };
    assert_eq!(shown, expected);
}

#[test]
fn the_whole_configuration_says_the_same() {
    let text = "\
global: {slack_app_token: hunter-1, opsgenie_api_key_file: f, smtp_smarthost: 'h:25', smtp_from: a@b, http_config: {proxy_url: 'http://p/'}}
route: {receiver: a, routes: [{matchers: [' b =~ \"x\" ', a=b], match: {c: d}}]}
inhibit_rules: [{source_matchers: ['{z=1,y=2}'], equal: [n]}]
receivers:
- name: a
  labels: {team: x}
  slack_configs: [{channel: x}]
  opsgenie_configs: [{}]
  email_configs: [{to: c@d, headers: {x-env: prod}, auth_password: hunter-2}]
  pagerduty_configs: [{routing_key: hunter-3, details: {a: {b: [1, x]}}}]
  discord_configs: [{webhook_url: 'https://hunter-4/'}]
";
    let config = parse(text).unwrap();
    let shown = config.to_whole_yaml();
    assert!(!shown.contains("hunter"), "{shown}");
    for line in [
        "  - matchers:\n    - b=~\"x\"\n",
        "      a: \n",
        "    app_token: <secret>\n    app_url: https://slack.com/api/chat.postMessage\n    channel: x\n",
        "    short_fields: false\n",
        "      follow_redirects: true\n      enable_http2: true\n      proxy_url: http://p/\n",
        "    smarthost: h:25\n    auth_password: <secret>\n",
        "    require_tls: true\n    tls_config:\n      insecure_skip_verify: false\n",
        "    html: '{{ template \"email.default.html\" . }}'\n",
        "    webhook_url: <secret>\n",
    ] {
        let line = line.replace("      a: \n", "      a:\n        b:\n        - 1\n        - x\n");
        let line = line.replace(
            "  - matchers:\n    - b=~\"x\"\n",
            "    matchers:\n    - a=\"b\"\n    - b=~\"x\"\n",
        );
        assert!(shown.contains(&line), "{line}\n---\n{shown}");
    }
    assert!(shown.contains("api_key_file: f\n"), "{shown}");
    assert!(
        shown.contains("- source_matchers:\n  - y=\"2\"\n  - z=\"1\"\n  equal:\n  - n\n"),
        "{shown}"
    );
}

#[test]
fn a_receiver_takes_what_it_lacks_from_global() {
    let text = "\
global: {slack_app_token: hunter-1, opsgenie_api_key: global, smtp_smarthost: 'h:25', smtp_from: a@b, smtp_require_tls: false}
route: {receiver: a}
receivers:
- name: a
  slack_configs:
  - {channel: x}
  - {channel: y, api_url: 'https://hunter-2/'}
  opsgenie_configs: [{api_key_file: own}]
  email_configs: [{to: c@d, headers: {x-env: prod}}]
";
    let config = parse(text).unwrap();
    let of = |kind: &str| -> Vec<&IntegrationConfig> {
        let all = config.receivers[0].integrations.iter();
        all.filter(|one| one.kind == kind).collect()
    };
    let is_inline = |source: Option<&SecretSource>| matches!(source, Some(SecretSource::Inline(_)));
    let slack = of("slack");
    assert!(is_inline(slack[0].secret("app_token")) && slack[0].secret("api_url").is_none());
    assert!(is_inline(slack[1].secret("api_url")) && slack[1].secret("app_token").is_none());
    assert_eq!(slack[0].text("app_url"), "https://slack.com/api/chat.postMessage");
    assert!(matches!(of("opsgenie")[0].secret("api_key"), Some(SecretSource::File(path)) if path.ends_with("own")));
    let email = of("email")[0];
    assert_eq!(
        (email.text("from"), email.text("smarthost"), email.text("hello")),
        ("a@b", "h:25", "localhost")
    );
    assert!(!email.flag("require_tls") && !email.send_resolved);
    assert_eq!(email.map("headers").unwrap()["X-Env"], "prod");
    assert!(!config.to_yaml().contains("hunter") && !format!("{config:?}").contains("hunter"));
}

#[test]
fn fields_of_newer_versions_are_checked_as_theirs() {
    let of = |kind: &str, fields: &str| {
        let globals = "smtp_smarthost: 'h:25', smtp_from: a@b, jira_api_url: 'https://x.example/rest/api/2'";
        parse(&format!(
            "global: {{{globals}}}\nroute: {{receiver: a}}\nreceivers: [{{name: a, {kind}_configs: [{{{fields}}}]}}]\n"
        ))
    };
    for (kind, fields) in [
        (
            "sns",
            "topic_arn: a, phone_number: b, target_arn: c, use_aws_http_client: true",
        ),
        ("sns", "topic_arn: a, sigv4: {region: r, access_key: k, secret_key: s}"),
        (
            "jira",
            "project: a, issue_type: b, summary: {template: t, enable_update: false}, fields: {a: {b: [1]}}",
        ),
        ("pagerduty", "routing_key: k, details: {a: {b: c}}"),
        ("webhook", "url: 'http://x/', payload: {a: [b, {c: d}]}"),
        ("email", "to: a@b, threading: {enabled: true, thread_by_date: none}"),
    ] {
        let config = of(kind, fields).unwrap();
        assert!(config.not_yet.is_empty(), "{kind}: {:?}", config.not_yet);
        assert!(!config.to_yaml().contains("secret_key: s\n"));
    }
    for (kind, fields, told) in [
        (
            "sns",
            "topic_arn: a, target_arn: b",
            "must provide either a Target ARN, Topic ARN, or Phone Number",
        ),
        (
            "sns",
            "topic_arn: a, sigv4: {access_key: k}",
            "must provide a AWS SigV4 Access key and Secret Key",
        ),
        (
            "jira",
            "project: a, issue_type: b, summary: {text: t}",
            "field text not found",
        ),
        ("jira", "project: a, issue_type: b, fields: x", "fields must be a map"),
        ("pagerduty", "routing_key: k, details: [a]", "details must be a map"),
        (
            "email",
            "to: a@b, threading: {enabled: true}, headers: {references: x}",
            "threading.enabled conflicts with custom References header",
        ),
        (
            "email",
            "to: a@b, threading: {thread_by_date: x}",
            "must be either 'none' or 'daily'",
        ),
    ] {
        let errors = of(kind, fields).unwrap_err();
        assert!(
            errors.iter().any(|error| error.contains(told)),
            "{kind} {fields}: {errors:?}"
        );
    }
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let text = "\
route:
  receiver: nobody
  matchers: [a=b]
  continue: true
  routes:
  - receiver: b
    group_by: [x, x]
    repeat_interval: 0s
    active_time_intervals: [never]
  -
receivers:
- name: a
- name: a
- {}
";
    assert_eq!(
        parse(text).unwrap_err(),
        [
            "a.yml:2:3: undefined receiver \"nobody\" used in route",
            "a.yml:2:3: root route must not have any matchers",
            "a.yml:4:3: cannot have continue in root route",
            "a.yml:6:5: undefined receiver \"b\" used in route",
            "a.yml:7:19: duplicated label \"x\" in group_by",
            "a.yml:8:5: repeat_interval cannot be zero",
            "a.yml:9:29: undefined time interval \"never\" used in route",
            "a.yml:10:4: empty or null route",
            "a.yml:13:3: notification config name \"a\" is not unique",
            "a.yml:14:3: missing name in receiver",
        ]
    );
}

#[test]
fn old_spellings_are_warnings() {
    let config = parse("route: {receiver: a, routes: [{matchers: ['a=b c']}]}\nreceivers: [{name: a}]").unwrap();
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(
        config.warnings[0]
            .to_string()
            .starts_with("a.yml:1:43: the UTF-8 parser refuses"),
        "{:?}",
        config.warnings
    );
    assert_eq!(config.route.routes[0].matchers[0].value(), "b c");
}

#[test]
fn matchers_are_written_as_alertmanager_writes_them_although_prometheus_quotes_more() {
    for (read, written) in [
        ("a=b", r#"a="b""#),
        ("a:b=c", r#"a:b="c""#),
        ("ä-ö=c", r#"ä-ö="c""#),
        (r#""a b"!="c""#, r#""a b"!="c""#),
        ("a=\"x\ty\\\\z\\n\\\"\"", "a=\"x\ty\\\\z\\n\\\"\""),
    ] {
        let parsed = parse_matchers(read, MatcherMode::Fallback).unwrap().matchers;
        assert_eq!(matcher_text(&parsed[0]), written, "{read}");
    }
}

#[test]
fn addresses_of_receivers_and_of_global_that_are_no_urls_were_taken() {
    let of = |global: &str, receiver: &str| {
        parse(&format!(
            "global: {{{global}}}\nroute: {{receiver: a}}\nreceivers: [{{name: a, {receiver}}}]\n"
        ))
    };
    for (global, receiver, told) in [
        ("slack_api_url: x", "", "unsupported scheme \"\" for URL"),
        ("slack_api_url: 'ftp://x'", "", "unsupported scheme \"ftp\" for URL"),
        ("opsgenie_api_url: 'http://'", "", "missing host for URL"),
        (
            "smtp_smarthost: 'x:25:3'",
            "",
            "address x:25:3: too many colons in address",
        ),
        ("smtp_smarthost: '::1:25'", "", "too many colons in address"),
        ("smtp_smarthost: '[::1]'", "", "missing port in address"),
        ("", "slack_configs: [{api_url: x, channel: c}]", "unsupported scheme"),
        (
            "",
            "pagerduty_configs: [{routing_key: a, url: x}]",
            "unsupported scheme",
        ),
        (
            "",
            "telegram_configs: [{bot_token: a, chat_id: 1, api_url: q}]",
            "unsupported scheme",
        ),
        ("", "webhook_configs: [{url: 'http://x:a'}]", "invalid port"),
        ("", "webhook_configs: [{url: 'http://[::1'}]", "missing ']' in host"),
        (
            "",
            "slack_configs: [{api_url: 'http://x', actions: [{type: b, text: t, name: n, confirm: {}}]}]",
            "missing text in Slack confirmation configuration",
        ),
    ] {
        let errors = of(global, receiver).unwrap_err().join("\n");
        assert!(errors.contains(told), "{global} {receiver}: {errors}");
    }
    for (global, receiver) in [
        (
            "smtp_smarthost: '[::1]:25', slack_api_url: 'http://u:p@[::1]:80/x?y#z'",
            "",
        ),
        (
            "",
            "webhook_configs: [{url: 'HTTP://x:99999'}, {url: 'http://{{ .Receiver }}/'}, {url: <secret>}]",
        ),
        ("", "pushover_configs: [{user_key: b, token: a, url: x}]"),
        ("", "sns_configs: [{topic_arn: a, api_url: x}]"),
    ] {
        of(global, receiver).unwrap();
    }
}

#[test]
fn fingerprints_are_alertmanagers() {
    let Some(table) = json("fingerprints/cases.json") else {
        return;
    };
    let cases = table["cases"].as_array().unwrap();
    for case in cases {
        let labels = case["labels"].as_object().unwrap();
        let labels = Labels::from_pairs(labels.iter().map(|(name, value)| (name, value.as_str().unwrap())));
        assert_eq!(
            format!("{:016x}", labels.fingerprint()),
            case["fingerprint"].as_str().unwrap(),
            "{case}"
        );
    }
    assert!(cases.len() >= 10, "{}", cases.len());
}

#[test]
fn amtools_own_files_get_amtools_verdicts() {
    let Some(dir) = conformance_dir("alertmanager/config/amtool") else {
        return;
    };
    let flags = |name: &str| load_flags(&dir.join(name), &DiskFiles);
    for (name, id) in [
        ("amtool.good1.yml", ("id", "id1")),
        ("amtool.good2.yml", ("old-id", "id2")),
    ] {
        let found = flags(name).unwrap();
        assert_eq!(found.get(id.0).map(String::as_str), Some(id.1), "{name}: {found:?}");
        assert!(found["url"].starts_with("url"), "{name}: {found:?}");
    }
    assert!(flags("amtool.bad.yml").is_err());
    let http = |name: &str| load_http_config(&dir.join(name), &DiskFiles);
    for (name, is_basic) in [
        ("http_config.good.yml", false),
        ("http_config.basic_auth.good.yml", true),
    ] {
        let config = http(name).unwrap();
        let is_right = match &config.auth {
            Some(Auth::Basic { .. }) => is_basic,
            Some(Auth::Authorization { .. }) => !is_basic,
            _ => false,
        };
        assert!(is_right, "{name}: {config:?}");
    }
    let errors = http("http_config.bad.yml").unwrap_err().to_string();
    assert!(
        errors.contains("authorization type cannot be set to \"basic\""),
        "{errors}"
    );
}
