//! What Alertmanager does not have.

use serde_json::json;

use super::*;

async fn fire(server: &Server, names: &[&str]) {
    let alerts: Vec<Value> = names
        .iter()
        .map(|name| json!({"labels": {"alertname": name, "job": "api"}}))
        .collect();
    assert_eq!(server.post("/api/v2/alerts", &alerts.into()).await.status, 200);
}

#[tokio::test]
async fn a_recurring_silence_is_made_changed_and_deleted() {
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    // NOW is Wednesday, 2026-11-18 11:06:40 UTC.
    let wanted = json!({
        "matchers": [{"name": "job", "value": "backup.*", "isRegex": true}],
        "days": ["wednesday", "Saturday"], "from": "11:00", "to": "12:30", "timeZone": "UTC",
        "endsAt": "2027-01-01T00:00:00Z", "createdBy": "ada", "comment": "backup runs",
    });
    let made = server.post("/api/v2/recurring-silences", &wanted).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let made = made.json();
    assert_eq!(
        made["next"][0],
        json!({"startsAt": "2026-11-18T11:06:40.000Z", "endsAt": "2026-11-18T12:30:00.000Z"})
    );
    assert_eq!(made["days"], json!(["wednesday", "saturday"]));
    assert_eq!(
        (made["from"].as_str(), made["to"].as_str()),
        (Some("11:00"), Some("12:30"))
    );
    // What amtool sees: the one that is on and the next.
    let silences = server.get("/api/v2/silences").await.json();
    let states: Vec<&str> = silences
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["status"]["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["active", "pending"]);
    assert_eq!(silences[0]["annotations"]["recurring_silence"], made["id"]);
    assert_eq!(silences[1]["startsAt"], "2026-11-21T11:00:00.000Z");
    let mut changed = wanted.clone();
    changed["id"] = made["id"].clone();
    changed["from"] = json!("23:00");
    let changed = server.post("/api/v2/recurring-silences", &changed).await.json();
    assert_eq!(
        changed["next"][0],
        json!({"startsAt": "2026-11-18T23:00:00.000Z", "endsAt": "2026-11-19T12:30:00.000Z"})
    );
    let all = server.get("/api/v2/recurring-silences").await.json();
    assert_eq!(all, json!([changed]));
    let path = format!("/api/v2/recurring-silence/{}", made["id"].as_str().unwrap());
    assert_eq!(server.request("DELETE", &path, "", "").await.status, 204);
    assert_eq!(server.request("DELETE", &path, "", "").await.status, 404);
    assert_eq!(server.get("/api/v2/recurring-silences").await.text, "[]");
    assert_eq!(server.get("/api/v2/silences?expired=false").await.text, "[]");
    for (change, part) in [
        (json!({"from": "25:00"}), "25:00"),
        (json!({"to": "9:00"}), "9:00"),
        (json!({"days": ["funday"]}), "funday"),
        (json!({"timeZone": "Mars/Olympus"}), "Mars/Olympus"),
        (json!({"matchers": []}), "at least 1"),
        (
            json!({"matchers": [{"name": "a", "value": "(", "isRegex": true}]}),
            "regular expression",
        ),
        (json!({"endsAt": "yesterday"}), "yesterday"),
        (json!({"comment": ""}), "who makes it and why"),
        (json!({"id": "7"}), "not found"),
    ] {
        let mut bad = wanted.clone();
        for (name, value) in change.as_object().unwrap() {
            bad[name] = value.clone();
        }
        let reply = server.post("/api/v2/recurring-silences", &bad).await;
        assert!(
            reply.status >= 400 && reply.text.contains(part),
            "{change}: {} {}",
            reply.status,
            reply.text
        );
    }
    assert_eq!(server.get("/api/v2/recurring-silences").await.text, "[]");
}

#[tokio::test]
async fn an_alert_is_acknowledged_and_its_history_says_so() {
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    fire(&server, &["A", "B"]).await;
    let alerts = server.get("/api/v2/alerts?filter=alertname%3DA").await.json();
    let id = alerts[0]["fingerprint"].as_str().unwrap().to_owned();
    let body = json!({"fingerprint": id, "by": "ada", "note": "disk is ordered", "endsAt": "2026-11-18T12:00:00Z"});
    let made = server.post("/api/v2/acknowledgements", &body).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert_eq!(
        made.json(),
        json!({
            "fingerprint": id, "labels": {"alertname": "A", "job": "api"}, "by": "ada", "note": "disk is ordered",
            "at": "2026-11-18T11:06:40.000Z", "endsAt": "2026-11-18T12:00:00.000Z",
        })
    );
    assert_eq!(
        server.get("/api/v2/acknowledgements").await.json(),
        json!([made.json()])
    );
    let one = format!("/api/v2/acknowledgement/{id}");
    assert_eq!(
        server.request("DELETE", &format!("{one}?by=bob"), "", "").await.status,
        204
    );
    assert_eq!(server.request("DELETE", &one, "", "").await.status, 404);
    let events = server.get("/api/v2/history?filter=alertname%3DA").await.json();
    let said: Vec<(&str, &str)> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["event"].as_str().unwrap(), e["by"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(said[..2], [("unacknowledged", "bob"), ("acknowledged", "ada")]);
    for (body, status) in [
        (json!({"fingerprint": "x", "by": "ada"}), 400),
        (json!({"fingerprint": "0000000000000000", "by": "ada"}), 404),
        (json!({"fingerprint": id, "by": ""}), 400),
        (json!({"fingerprint": id}), 400),
        (
            json!({"fingerprint": id, "by": "ada", "endsAt": "2020-01-01T00:00:00Z"}),
            400,
        ),
    ] {
        assert_eq!(
            server.post("/api/v2/acknowledgements", &body).await.status,
            status,
            "{body}"
        );
    }
    assert_eq!(server.get("/api/v2/acknowledgements").await.text, "[]");
}

#[tokio::test]
async fn a_silence_can_be_looked_at_before_it_is_made() {
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    fire(&server, &["A", "B", "C"]).await;
    let body = json!({"matchers": [
        {"name": "job", "value": "api", "isRegex": false}, {"name": "team", "value": ".*", "isRegex": true},
    ]});
    let seen = server.post("/api/v2/silences/preview", &body).await.json();
    assert_eq!(
        (&seen["firing"], &seen["muted"], &seen["firedLately"]),
        (&json!(3), &json!(3), &json!(3))
    );
    assert_eq!(seen["alerts"].as_array().unwrap().len(), 3);
    assert_eq!(
        seen["matchers"][1],
        json!({"matched": 3, "matchesAbsent": true, "matcher": "team=~\".*\""})
    );
    assert_eq!(seen["warnings"].as_array().unwrap().len(), 2, "{seen}");
    let bad = json!({"matchers": [{"name": "a", "value": "(", "isRegex": true}]});
    let refused = server.post("/api/v2/silences/preview", &bad).await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        server
            .post("/api/v2/silences/preview", &json!({"matchers": []}))
            .await
            .status,
        422
    );
    assert_eq!(server.get("/api/v2/silences").await.text, "[]");
}

#[tokio::test]
async fn what_was_sent_is_asked_with_sense() {
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    assert_eq!(server.get("/api/v2/notifications").await.text, "[]");
    assert_eq!(
        server
            .get("/api/v2/notifications?receiver=r&outcome=failed&filter=a%3Db&limit=3")
            .await
            .text,
        "[]"
    );
    assert_eq!(server.get("/api/v2/notifications?outcome=lost").await.status, 400);
    assert_eq!(server.get("/api/v2/notifications?limit=-1").await.status, 422);
    assert_eq!(server.get("/api/v2/notifications?filter=%7B").await.status, 400);
}

#[tokio::test]
async fn the_pages_ask_who_it_is() {
    let server = start(YAML, MatcherMode::Fallback, "/am", Ok(()));
    let said = server.get("/am/api/ui/bootstrap").await.json();
    assert_eq!(
        (&said["mode"], &said["version"]),
        (&json!("alertmanager"), &json!("0.1.0"))
    );
    assert_eq!(
        said["alertmanager"],
        json!({"configured": false, "receivers": ["r"], "running": true})
    );
    // With or without pages in the binary that is tested, the root is an answer, and the pages are one page.
    assert!(server.get("/am/").await.status == 200);
    let pages = [
        server.get("/am/alertmanager").await,
        server.get("/am/alertmanager/silences/new").await,
    ];
    assert_eq!(pages[0].text, pages[1].text);
    assert_eq!(server.get("/am/assets/none.js").await.status, 404);
}

#[tokio::test]
async fn bad_bodies_never_panic() {
    let server = start(YAML, MatcherMode::Fallback, "", Ok(()));
    let corpus: Vec<Vec<u8>> = [
        r#"{"matchers":[{"name":"a","value":"b","isRegex":true}],"days":["monday"],"from":"10:00","to":"24:00","timeZone":"UTC","endsAt":"2027-01-01T00:00:00Z","createdBy":"a","comment":"b"}"#,
        r#"{"fingerprint":"00000000000000af","by":"a","note":"\u00e9","endsAt":"2027-01-01T00:00:00Z"}"#,
    ]
    .map(|s| s.as_bytes().to_vec())
    .to_vec();
    cupola_testkit::fuzz(5_000, &corpus, &["null", "\"", "99:99"], |bytes| {
        super::super::own::read_anything(bytes, NOW);
    });
    for path in ["recurring-silences", "acknowledgements", "silences/preview"] {
        let path = format!("/api/v2/{path}");
        assert_eq!(
            server.request("POST", &path, "application/json", "").await.status,
            422,
            "{path}"
        );
        assert_eq!(
            server.request("POST", &path, "application/json", "{").await.status,
            400,
            "{path}"
        );
        // A page of another site can send nothing else.
        assert_eq!(
            server.request("POST", &path, "text/plain", "{}").await.status,
            415,
            "{path}"
        );
    }
}
