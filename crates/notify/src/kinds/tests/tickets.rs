//! Jira, SNS, and what is of any shape: PagerDuty's details, a webhook's payload.

use sha2::{Digest as _, Sha256};

use super::*;

fn json(got: &Got) -> Value {
    serde_json::from_str(&got.body).unwrap()
}

fn tos(got: &[Got]) -> Vec<&str> {
    got.iter().map(|got| got.to.as_str()).collect()
}

// By the path of the API: nothing known, an open issue, a closed one.
fn jira(path: &str) -> (&'static str, &'static str) {
    let of = |status: &'static str| match path {
        path if path.contains("/search") => ("200 OK", status),
        path if path.ends_with("/transitions") => (
            "200 OK",
            "{\"transitions\":[{\"id\":\"11\",\"name\":\"Open\"},{\"id\":\"31\",\"name\":\"Done\"}]}",
        ),
        _ => ("201 Created", "{\"key\":\"OPS-1\"}"),
    };
    match path {
        path if path.starts_with("/none/") => of("{\"issues\":[]}"),
        path if path.starts_with("/open/") => of(
            "{\"issues\":[{\"key\":\"OPS-7\",\"fields\":{\"status\":{\"name\":\"x\",\"statusCategory\":{\"key\":\"new\"}}}}]}",
        ),
        path if path.starts_with("/done/") => of(
            "{\"issues\":[{\"key\":\"OPS-8\",\"fields\":{\"status\":{\"name\":\"x\",\"statusCategory\":{\"key\":\"done\"}}}}]}",
        ),
        path if path.starts_with("/odd/") => of("{\"issues\":[{\"key\":\"../../admin\"}]}"),
        path if path.starts_with("/slow/") => ("429 Too Many Requests", ""),
        _ => ("200 OK", "garbage"),
    }
}

const JIRA: &str = "project: '{{ \"OPS\" }}', issue_type: Bug, labels: [zed, '{{ .Status }}'], priority: High, \
                    description: 'd', summary: '{{ .GroupLabels.alertname }}', reopen_transition: Open, \
                    resolve_transition: Done, reopen_duration: 2h, wont_fix_resolution: 'Won''t fix', \
                    fields: {customfield_1: {value: '{{ .Status }}'}, customfield_2: ['{{ 7 }}'], n: 5}";

async fn told(sink: &Sink, folder: &str, fields: &str, firing: bool) -> (Result<(), SendError>, Vec<Got>) {
    let url = format!("api_url: 'http://{}/{folder}/rest/api/2/'", sink.address);
    let integration = one("jira", &format!("{url}, {fields}"), "");
    let notification = crate::data::example(firing);
    let sent = integration.send(&notification, Duration::from_secs(20)).await;
    (sent, sink.take())
}

#[tokio::test]
async fn a_group_is_one_issue() {
    let sink = Sink::start(jira);
    let (sent, got) = told(&sink, "none", JIRA, true).await;
    sent.unwrap();
    assert_eq!(
        tos(&got),
        ["POST /none/rest/api/2/search", "POST /none/rest/api/2/issue"]
    );
    let hash = Sha256::digest(crate::data::example(true).group_key.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let search = json(&got[0]);
    assert_eq!(
        search["jql"],
        format!(
            "(resolution is EMPTY or resolution != \"Won't fix\") and (resolutiondate is EMPTY OR resolutiondate >= -120m) and \
             project=\"OPS\" and labels=\"ALERT{{{hash}}}\" order by status ASC,resolutiondate DESC"
        )
    );
    assert_eq!(
        (&search["maxResults"], &search["fields"][0]),
        (&2.into(), &"status".into())
    );
    let expected = serde_json::json!({"fields": {
        "customfield_1": {"value": "firing"}, "customfield_2": [7], "description": "d", "issuetype": {"name": "Bug"},
        "labels": [format!("ALERT{{{hash}}}"), "firing", "zed"], "n": 5, "priority": {"name": "High"},
        "project": {"key": "OPS"}, "summary": "Down",
    }});
    assert_eq!(got[1].body.trim_end(), expected.to_string());

    // What is over needs no new issue.
    let (sent, got) = told(&sink, "none", JIRA, false).await;
    sent.unwrap();
    assert_eq!(tos(&got), ["POST /none/rest/api/2/search"]);
    assert!(
        json(&got[0])["jql"]
            .as_str()
            .unwrap()
            .contains("statusCategory != Done and ")
    );
}

#[tokio::test]
async fn issues_are_updated_closed_and_opened_again() {
    let sink = Sink::start(jira);
    let (sent, got) = told(&sink, "open", JIRA, true).await;
    sent.unwrap();
    assert_eq!(tos(&got)[1..], ["PUT /open/rest/api/2/issue/OPS-7"]);
    let (sent, got) = told(&sink, "open", JIRA, false).await;
    sent.unwrap();
    assert_eq!(
        tos(&got)[1..],
        [
            "PUT /open/rest/api/2/issue/OPS-7",
            "GET /open/rest/api/2/issue/OPS-7/transitions",
            "POST /open/rest/api/2/issue/OPS-7/transitions"
        ]
    );
    assert_eq!(got[3].body.trim_end(), "{\"transition\":{\"id\":\"31\"}}");
    let (sent, got) = told(&sink, "done", JIRA, true).await;
    sent.unwrap();
    assert_eq!(got[3].body.trim_end(), "{\"transition\":{\"id\":\"11\"}}");
    // Only what may be changed is; a transition that is not asked for is not made, one that is missing is told.
    let fields = "project: A, issue_type: B, summary: {template: s, enable_update: false}, \
                  description: {template: d, enable_update: false}";
    let (sent, got) = told(&sink, "open", fields, false).await;
    sent.unwrap();
    assert_eq!(got.len(), 2);
    let update = json(&got[1]);
    assert!(update["fields"].get("summary").is_none() && update["fields"].get("description").is_none());
    let (sent, _) = told(&sink, "open", &format!("{fields}, resolve_transition: Nowhere"), false).await;
    let error = sent.unwrap_err();
    assert!(
        error.message.contains("can't find transition Nowhere for issue OPS-7") && !error.retry,
        "{error}"
    );
}

#[tokio::test]
async fn jiras_odd_answers_do_no_harm() {
    let sink = Sink::start(jira);
    // A key that is none is no part of a path.
    let (sent, got) = told(&sink, "odd", JIRA, true).await;
    sent.unwrap();
    assert_eq!(tos(&got)[1..], ["POST /odd/rest/api/2/issue"]);
    let (sent, _) = told(&sink, "slow", JIRA, true).await;
    let error = sent.unwrap_err();
    assert!(error.retry && error.reason == "rateLimited", "{error}");
    let (sent, _) = told(&sink, "garbage", JIRA, true).await;
    let error = sent.unwrap_err();
    assert!(error.retry && error.message.starts_with("jira search: "), "{error}");
    // The third version takes documents.
    let url = format!("api_url: 'http://{}/none/rest/api/3'", sink.address);
    let of = |description: &str| {
        let fields = format!("{url}, api_type: cloud, project: A, issue_type: B, description: '{description}'");
        one("jira", &fields, "")
    };
    sent_ok(&of("{\"type\": \"doc\", \"version\": 1}")).await;
    let got = sink.take();
    assert_eq!(
        tos(&got),
        ["POST /none/rest/api/3/search/jql", "POST /none/rest/api/3/issue"]
    );
    assert_eq!(json(&got[1])["fields"]["description"]["type"], "doc");
    let error = super::sent(&of("plain")).await.unwrap_err();
    assert!(error.message.contains("Atlassian Document Format"), "{error}");
}

async fn sent_ok(integration: &Integration) {
    sent(integration).await.unwrap();
}

#[tokio::test]
async fn sns_is_asked_to_publish_with_a_signature() {
    let sink = Sink::start(|_| ("200 OK", "<PublishResponse/>"));
    let fields = format!(
        "api_url: 'http://{}', topic_arn: 'arn:aws:sns:us-east-2:1:t.fifo', subject: s, message: 'a b&{{{{ .Status }}}}', \
         attributes: {{k: '{{{{ .Status }}}}'}}, sigv4: {{region: us-east-2, access_key: AK, secret_key: hunter}}",
        sink.address
    );
    sent_ok(&one("sns", &fields, "")).await;
    let got = sink.take();
    let id: String = Sha256::digest(crate::data::example(true).group_key.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // What is another one for each message has a test of its own.
    let (begin, rest) = got[0].body.split_once("MessageDeduplicationId=").unwrap();
    assert_eq!(
        format!("{begin}{}", &rest[65..]),
        format!(
            "Action=Publish&MessageGroupId={id}&Message=a+b%26firing&Subject=s&\
             TopicArn=arn%3Aaws%3Asns%3Aus-east-2%3A1%3At.fifo&Version=2010-03-31&\
             MessageAttributes.entry.1.Name=k&MessageAttributes.entry.1.Value.DataType=String&\
             MessageAttributes.entry.1.Value.StringValue=firing"
        )
    );
    let authorization = &got[0].authorization;
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AK/") && authorization.contains("/us-east-2/sns/"),
        "{authorization}"
    );
    assert!(!authorization.contains("hunter"));
    // A text message is short, and says so.
    let fields = format!(
        "api_url: 'http://{}', phone_number: '+1', message: '{}', sigv4: {{region: r, access_key: AK, secret_key: k}}",
        sink.address,
        "x".repeat(2000)
    );
    sent_ok(&one("sns", &fields, "")).await;
    let body = sink.take().remove(0).body;
    assert!(body.contains(&format!("Message={}&", "x".repeat(1600))), "{body}");
    assert!(body.contains("entry.1.Name=truncated"), "{body}");
}

#[tokio::test]
async fn details_and_payloads_have_any_shape() {
    let sink = Sink::start(well);
    let fields = format!(
        "url: 'http://{}/pd', routing_key: k, details: {{a: {{b: ['{{{{ .Status }}}}', 1]}}, num_resolved: none}}",
        sink.address
    );
    sent_ok(&one("pagerduty", &fields, "")).await;
    let details = json(&sink.take()[0])["payload"]["custom_details"].clone();
    assert_eq!(details["a"], serde_json::json!({"b": ["firing", 1]}));
    assert_eq!(
        (&details["num_firing"], &details["num_resolved"], &details["resolved"]),
        (&1.into(), &"none".into(), &serde_json::json!([]))
    );
    assert_eq!(details["firing"][0]["labels"]["alertname"], "Down");
    assert_eq!(details["firing"][0]["startsAt"], "1970-01-01T00:00:01Z");

    let fields = format!(
        "url: 'http://{}/hook', payload: {{state: '{{{{ .Status }}}}', alerts: '{{{{ .Alerts | toJson }}}}', n: 1.5}}",
        sink.address
    );
    sent_ok(&one("webhook", &fields, "")).await;
    let body = json(&sink.take()[0]);
    assert_eq!((&body["state"], &body["n"]), (&"firing".into(), &1.5.into()));
    assert_eq!(body["alerts"][0]["annotations"]["summary"], "a is down");
    let broken = format!(
        "url: 'http://{}/hook', payload: {{a: '{{{{ .Nothing.x }}}}'}}",
        sink.address
    );
    let error = sent(&one("webhook", &broken, "")).await.unwrap_err();
    assert!(
        error.message.starts_with("template: ") && sink.take().is_empty(),
        "{error}"
    );
}

#[tokio::test]
async fn a_receiver_is_tried_out() {
    let sink = Sink::start(|path| match path {
        "/bad/hunter" => ("403 Forbidden", "go away"),
        path => well(path),
    });
    let address = sink.address;
    let yaml = format!(
        "route: {{receiver: all}}\nreceivers:\n- name: all\n  webhook_configs:\n  - url: 'http://{address}/hook/hunter'\n  \
         - url: 'http://{address}/bad/hunter'\n  slack_configs: [{{api_url: 'http://{address}/slack/hunter', channel: c}}]\n  \
         pagerduty_configs: [{{url: 'http://{address}/pd', routing_key: hunter}}]\n"
    );
    let receiver = receiver(&yaml);
    let templates = Templates::defaults();
    let second = Duration::from_secs(20);
    let tested = crate::try_receiver(
        &receiver,
        &templates,
        "http://am",
        crate::Saying::default(),
        1_000,
        second,
    )
    .await;
    let names: Vec<&str> = tested.iter().map(|one| one.integration.as_str()).collect();
    assert_eq!(names, ["webhook[0]", "webhook[1]", "pagerduty[0]", "slack[0]"]);
    assert!(
        tested[0].result.is_ok() && tested[2].result.is_ok() && tested[3].result.is_ok(),
        "{tested:?}"
    );
    assert!(
        tested[1]
            .result
            .as_ref()
            .is_err_and(|error| error.message.contains("go away"))
    );
    let seen = &tested[1].exchanges[0];
    assert_eq!(
        (seen.method.as_str(), seen.host.as_str(), seen.answer.0),
        ("POST", "127.0.0.1", 403)
    );
    assert!(seen.body.contains("CupolaReceiverTest"), "{seen:?}");
    assert_eq!(tested[3].exchanges[0].answer, (200, "ok".to_owned()));
    assert!(!format!("{tested:?}").contains("hunter"));
    assert_eq!(sink.take().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_message_of_many_requests_takes_no_longer_than_one_may() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    const LIMIT: Duration = Duration::from_secs(10);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Knows of an issue, and takes its time for every answer.
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut part = [0; 4096];
            let count = stream.read(&mut part).await.unwrap_or(0);
            let text = jira(&format!("/open/{}", String::from_utf8_lossy(&part[..count]))).1;
            tokio::time::sleep(LIMIT * 8 / 10).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                text.len()
            );
            let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
            open.push(stream);
        }
    });
    let fields = format!("api_url: 'http://{address}', project: p, issue_type: t");
    let begun = Instant::now();
    let sending = one("jira", &fields, "");
    let error = sending.send(&crate::data::example(true), LIMIT).await.unwrap_err();
    assert_eq!(
        (error.retry, error.reason),
        (true, "contextDeadlineExceeded"),
        "{error}"
    );
    assert!(error.message.ends_with("(no complete answer within 10s)"), "{error}");
    assert!(begun.elapsed() < LIMIT * 11 / 10, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn slacks_message_is_changed_until_the_group_is_over() {
    let sink = Sink::start(|path| match path {
        "/api/chat.postMessage" => ("200 OK", "{\"ok\":true,\"ts\":\"1.2\",\"channel\":\"C1\"}"),
        "/api/chat.update" => ("200 OK", "{\"ok\":true,\"ts\":\"1.2\",\"channel\":\"C1\"}"),
        _ => ("200 OK", "{\"ok\":false,\"error\":\"message_not_found\"}"),
    });
    let of = |fields: &str| {
        let url = format!("app_url: 'http://{}/api/chat.postMessage'", sink.address);
        one("slack", &format!("{url}, app_token: t, channel: c, {fields}"), "")
    };
    let told = async |integration: &Integration, firing: bool| {
        let notification = crate::data::example(firing);
        integration.send(&notification, Duration::from_secs(20)).await.unwrap();
    };
    let updating = of("update_message: true");
    for firing in [true, true, false, true] {
        told(&updating, firing).await;
    }
    let got = sink.take();
    let (new, change) = ("POST /api/chat.postMessage", "POST /api/chat.update");
    assert_eq!(tos(&got), [new, change, change, new]);
    assert_eq!(
        (&json(&got[1])["ts"], &json(&got[1])["channel"]),
        (&"1.2".into(), &"C1".into())
    );
    assert_eq!(
        (json(&got[3]).get("ts"), &json(&got[3])["channel"]),
        (None, &"c".into())
    );
    // Another process is told where the message is.
    let notes = updating.notes(&crate::data::example(true).group_key).unwrap();
    let names: Vec<&str> = notes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["channelId", "threadTs"]);
    let next = of("update_message: true");
    next.recall(&crate::data::example(true).group_key, &notes);
    told(&next, true).await;
    told(&next, false).await;
    assert_eq!(tos(&sink.take()), [change, change]);
    assert_eq!(next.notes(&crate::data::example(true).group_key), Some(Vec::new()));
    let plain = of("update_message: false");
    assert_eq!(plain.notes("{}:{}"), None);
    told(&plain, true).await;
    told(&plain, true).await;
    assert_eq!(tos(&sink.take()), [new, new]);
}

#[tokio::test]
async fn a_message_may_tell_only_what_is_new() {
    let sink = Sink::start(|_| ("200 OK", "ok"));
    let fields = format!(
        "app_url: 'http://{}/', app_token: t, channel: c, text: '{{{{ len .Alerts }}}} {{{{ range .NewAlerts.Firing }}}}{{{{ .Labels.i }}}}{{{{ end }}}} {{{{ len .NewAlerts.Resolved }}}}'",
        sink.address
    );
    let integration = one("slack", &fields, "");
    let mut notification = crate::data::example(true);
    let alert = notification.alerts.remove(0);
    for (i, is_new) in [("1", false), ("2", true), ("3", false)] {
        let mut labels = alert.labels.to_builder();
        labels.set("i", i);
        notification.alerts.push(crate::NotifiedAlert {
            labels: labels.build(),
            is_new,
            ..alert.clone()
        });
    }
    integration.send(&notification, Duration::from_secs(20)).await.unwrap();
    assert_eq!(json(&sink.take()[0])["attachments"][0]["text"], "3 2 0");
}

#[tokio::test]
async fn a_slack_message_that_was_deleted_is_written_anew() {
    let sink = Sink::start(|path| match path {
        "/api/chat.postMessage" => ("200 OK", "{\"ok\":true,\"ts\":\"1.2\",\"channel\":\"C1\"}"),
        _ => ("200 OK", "{\"ok\":false,\"error\":\"message_not_found\"}"),
    });
    let fields = format!(
        "app_url: 'http://{}/api/chat.postMessage', app_token: t, channel: c, update_message: true",
        sink.address
    );
    let integration = one("slack", &fields, "");
    sent_ok(&integration).await;
    let error = super::sent(&integration).await.unwrap_err();
    assert!(error.retry && error.message.contains("message_not_found"), "{error}");
    sent_ok(&integration).await;
    let (new, change) = ("POST /api/chat.postMessage", "POST /api/chat.update");
    assert_eq!(tos(&sink.take()), [new, change, new]);
}
