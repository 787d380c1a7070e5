//! The Alertmanager's pages in headless Chromium: `ui/e2e/alertmanager.mjs` against `cupola alertmanager` with something
//! of everything: told, failed, inhibited, muted, silenced, coming back.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use cupola_tests::{Browser, FakeServer, Home, Reply, Server, eventually};
use serde_json::{Value, json};

fn alert(name: &str, labels: &Value, summary: &str) -> Value {
    let mut all = labels.clone();
    all["alertname"] = json!(name);
    json!({
        "labels": all, "startsAt": "2026-11-26T10:00:00Z", "endsAt": "2099-01-01T00:00:00Z", "generatorURL": "http://prometheus.example/graph",
        "annotations": {"summary": summary, "description": "It is as it is.", "runbook_url": "https://example.org/book"},
    })
}

#[test]
fn every_page_of_the_alertmanager_works_in_chromium() {
    let Some(browser) = Browser::here() else {
        return;
    };
    let sink = FakeServer::sink();
    let broken = FakeServer::start(|_| Reply::status(500));
    let home = Home::new();
    let yaml = format!(
        "route:\n  receiver: on-call\n  group_by: [alertname]\n  group_wait: 100ms\n  group_interval: 1s\n  routes:\n\
         \x20 - {{receiver: night, matchers: ['team=night'], mute_time_intervals: [always]}}\n\
         \x20 - {{receiver: broken, matchers: ['team=lost']}}\n\
         time_intervals:\n- name: always\n  time_intervals: [{{times: [{{start_time: '00:00', end_time: '24:00'}}]}}]\n\
         inhibit_rules:\n- {{source_matchers: ['severity=critical'], target_matchers: ['severity=warning'], equal: [instance]}}\n\
         receivers:\n- name: on-call\n  webhook_configs: [{{url: '{}'}}]\n- name: night\n\
         - name: broken\n  webhook_configs: [{{url: '{}'}}]\n",
        sink.url("/hook"),
        broken.url("/hook")
    );
    let config = home.write("alertmanager.yml", &yaml);
    let server = Server::alertmanager(&home, &config, &[]);
    let of =
        |job: &str, instance: &str, severity: &str| json!({"job": job, "instance": instance, "severity": severity});
    let mut night = of("batch", "n", "info");
    night["team"] = json!("night");
    let mut lost = of("mail", "m", "info");
    lost["team"] = json!("lost");
    let alerts = json!([
        alert("DiskFull", &of("node", "a", "warning"), "The disk of a is 96 % full"),
        alert("DiskFull", &of("node", "b", "warning"), "The disk of b is 91 % full"),
        alert("NodeDown", &of("node", "c", "critical"), "c does not answer"),
        alert("NodeWarning", &of("node", "c", "warning"), "c is loaded"),
        alert("NightNoise", &night, "The batch is late"),
        alert("MailLost", &lost, "A mail did not arrive"),
        alert(
            "BackupOld",
            &of("backup", "d", "info"),
            "The backup of d is three days old"
        ),
    ]);
    server.post("/api/v2/alerts", &alerts);
    let matcher = |name: &str, value: &str| json!([{"name": name, "value": value, "isRegex": false, "isEqual": true}]);
    server.post(
        "/api/v2/silences",
        &json!({
            "matchers": matcher("alertname", "BackupOld"), "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "2098-01-01T00:00:00Z", "createdBy": "bob", "comment": "the tape robot is being repaired",
        }),
    );
    server.post(
        "/api/v2/recurring-silences",
        &json!({
            "matchers": matcher("job", "backup"), "days": ["saturday", "sunday"], "from": "01:00", "to": "05:30",
            "timeZone": "Europe/Berlin", "endsAt": "2098-01-01T00:00:00Z", "createdBy": "bob",
            "comment": "backups run at the weekend",
        }),
    );
    eventually(60, "the receivers were told", || {
        let told = server.ask("/api/v2/notifications", &[]).text();
        (told.contains("\"sent\"") && told.contains("NodeDown") && told.contains("500")).then_some(())
    });

    let _ = browser.look_at(&server, "alertmanager.mjs", env!("CARGO_TARGET_TMPDIR"));
}
